//! The headers and the body of a delivered event, as a receiver gets them.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use jiff::Timestamp;
use ring::hmac;
use threads_auth_client::{Delivery, TOLERANCE, Webhook};

use crate::text::{assert_hides, lines};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const NOW: i64 = 1_760_000_000;

pub(crate) fn run(data: &[u8]) {
    let Some(([id, timestamp, signature, secret], body)) = lines::<4>(data) else { return };
    let now = Timestamp::from_second(NOW).unwrap();
    let webhook = Webhook::new([SECRET]).unwrap();
    let genuine = genuine(id, timestamp, body);
    let delivery = Delivery { id, timestamp, signature, body: body.as_bytes() };
    if webhook.verify(&delivery, now).is_ok() {
        assert!(signature.split(' ').any(|one| one == genuine), "{signature}");
        assert_timely(timestamp);
    }
    // Beside the genuine one there may be anything.
    let among = format!("{signature} {genuine}");
    match webhook.verify(&Delivery { signature: &among, ..delivery }, now) {
        Ok(verified) => {
            assert_eq!(verified, body.as_bytes());
            assert_timely(timestamp);
            let other = [body.as_bytes(), b"."].concat();
            assert!(webhook.verify(&Delivery { signature: &genuine, body: &other, ..delivery }, now).is_err());
        }
        Err(error) => assert_hides(&format!("{error} {error:?}"), &among),
    }
    match Webhook::new([secret]) {
        Ok(other) => {
            assert_hides(&format!("{other:?}"), secret);
            let is_same = secret == SECRET;
            assert!(is_same || other.verify(&Delivery { signature: &genuine, ..delivery }, now).is_err());
        }
        Err(error) => assert_hides(&format!("{error} {error:?}"), secret),
    }
}

fn assert_timely(timestamp: &str) {
    let distance = timestamp.parse::<i64>().unwrap().abs_diff(NOW);
    assert!(distance <= TOLERANCE.as_secs(), "{timestamp}");
}

fn genuine(id: &str, timestamp: &str, body: &str) -> String {
    let key = BASE64_STANDARD.decode(&SECRET["whsec_".len()..]).unwrap();
    let content = format!("{id}.{timestamp}.{body}");
    let signature = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &key), content.as_bytes());
    format!("v1,{}", BASE64_STANDARD.encode(signature))
}
