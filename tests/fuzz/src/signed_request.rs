//! Meta's messages: a whole message, and the payload of one that is signed.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use ring::hmac;
use serde_json::Value;
use threads_graph::{AppSecret, SignedRequest, SignedRequestError, verify_signed_request};

use crate::text::assert_hides;

const SECRET: &str = "0123456789abcdef0123456789abcdef";
const NOW: i64 = 1_760_000_000;
const BACK: i64 = 24 * 3_600;
const AHEAD: i64 = 3_600;

pub(crate) fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if verify(text).is_ok() {
        let (_, payload) = text.split_once('.').unwrap();
        assert_eq!(text, signed(payload), "only this spelling is signed");
    }
    let message = signed(&URL_SAFE_NO_PAD.encode(text));
    match verify(&message) {
        Ok(request) => assert_said(text, &request),
        Err(error) => {
            assert_hides(&format!("{error} {error:?}"), text);
            assert_ne!(error, SignedRequestError::Signature);
        }
    }
}

fn assert_said(payload: &str, request: &SignedRequest) {
    let read: Value = serde_json::from_str(payload).unwrap();
    assert!(read.is_object(), "{payload}");
    assert_eq!(read["algorithm"], "HMAC-SHA256");
    let user_id = &read["user_id"];
    let digits = user_id.as_str().map_or_else(|| user_id.to_string(), str::to_owned);
    assert_eq!(request.user_id.as_str(), digits);
    assert!((1..=32).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit()));
    assert_eq!(read["issued_at"], request.issued_at.as_second());
    assert!((NOW - BACK..=NOW + AHEAD).contains(&request.issued_at.as_second()));
}

fn verify(message: &str) -> Result<SignedRequest, SignedRequestError> {
    let secret = AppSecret::new(SECRET).unwrap();
    let now = Timestamp::from_second(NOW).unwrap();
    verify_signed_request(&secret, message, now, Duration::from_secs(BACK.unsigned_abs()))
}

fn signed(payload: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
    let signature = hmac::sign(&key, payload.as_bytes());
    format!("{}.{payload}", URL_SAFE_NO_PAD.encode(signature))
}
