//! Deliveries of events by HTTP, signed as [Standard Webhooks](https://www.standardwebhooks.com)
//! has it.
//!
//! Owns their verification. Refuses a clock, and to say which part of a signature was wrong.

use std::fmt;
use std::time::Duration;

use base64::prelude::{BASE64_STANDARD, Engine};
use jiff::Timestamp;
use ring::hmac;
use zeroize::Zeroizing;

/// The prefix of a secret.
const PREFIX: &str = "whsec_";
/// The version of a signature by HMAC-SHA256.
const VERSION: &str = "v1,";
/// The most signatures of a delivery that are checked.
const MAX_SIGNATURES: usize = 8;
/// The greatest difference between a delivery's time and the receiver's.
pub const TOLERANCE: Duration = Duration::from_mins(5);

/// The secrets that sign deliveries: one, or two while it is replaced.
///
/// ```
/// use threads_auth_client::{Delivery, Webhook};
///
/// // The example of Standard Webhooks.
/// let webhook = Webhook::new(["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"])?;
/// let delivery = Delivery {
///     id: "msg_p5jXN8AQM9LWM0D4loKWxJek",
///     timestamp: "1614265330",
///     signature: "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
///     body: br#"{"test": 2432232314}"#,
/// };
/// let now = jiff::Timestamp::from_second(1_614_265_330)?;
/// let body = webhook.verify(&delivery, now)?;
/// // let event = threads_auth_client::Event::parse(body)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Webhook {
    keys: Vec<hmac::Key>,
}

/// A delivery as it came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delivery<'a> {
    /// The header `webhook-id`: the same for each attempt to deliver an event.
    pub id: &'a str,
    /// The header `webhook-timestamp`.
    pub timestamp: &'a str,
    /// The header `webhook-signature`.
    pub signature: &'a str,
    /// The body, byte for byte.
    pub body: &'a [u8],
}

/// The text is no secret of a webhook. It is not repeated here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected `whsec_` and 24 to 64 bytes in base64")]
pub struct InvalidWebhookSecret;

/// The delivery is not to be believed: answer 400 or 401, and do nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DeliveryError {
    /// `webhook-timestamp` is not a number of seconds.
    #[error("webhook-timestamp is not a number of seconds")]
    Timestamp,
    /// It was signed more than five minutes ago, or in the future: somebody repeats it, or one of
    /// the clocks is wrong.
    #[error("it was signed more than five minutes before or after now")]
    Untimely,
    /// None of its signatures is by one of the secrets.
    #[error("none of its signatures is by this secret")]
    Signature,
}

impl Webhook {
    /// Takes the secrets as the service has them: `whsec_…`.
    ///
    /// # Errors
    ///
    /// If one of them is no secret.
    pub fn new<'a>(secrets: impl IntoIterator<Item = &'a str>) -> Result<Self, InvalidWebhookSecret> {
        let key = |secret: &str| {
            let text = secret.strip_prefix(PREFIX).ok_or(InvalidWebhookSecret)?;
            let bytes = Zeroizing::new(BASE64_STANDARD.decode(text).map_err(|_| InvalidWebhookSecret)?);
            // The bounds are those of the specification.
            let is_long = (24..=64).contains(&bytes.len());
            is_long.then(|| hmac::Key::new(hmac::HMAC_SHA256, &bytes)).ok_or(InvalidWebhookSecret)
        };
        Ok(Self { keys: secrets.into_iter().map(key).collect::<Result<_, _>>()? })
    }

    /// Returns the body, if one of the secrets has signed the delivery at about `now`.
    ///
    /// # Errors
    ///
    /// If it has not.
    pub fn verify<'a>(&self, delivery: &Delivery<'a>, now: Timestamp) -> Result<&'a [u8], DeliveryError> {
        let Delivery { id, timestamp, signature, body } = *delivery;
        let signed_at = timestamp.parse().ok().and_then(|second| Timestamp::from_second(second).ok());
        let distance = now.duration_since(signed_at.ok_or(DeliveryError::Timestamp)?).unsigned_abs();
        if distance > TOLERANCE {
            return Err(DeliveryError::Untimely);
        }
        let content = [id.as_bytes(), b".", timestamp.as_bytes(), b".", body].concat();
        // Other versions may stand beside ours. There are two at most, during a rotation; a sender
        // of thousands would have the body hashed as often.
        let signatures: Vec<Vec<u8>> = signature
            .split(' ')
            .filter_map(|signature| BASE64_STANDARD.decode(signature.strip_prefix(VERSION)?).ok())
            .filter(|signature| signature.len() == hmac::HMAC_SHA256.digest_algorithm().output_len())
            .take(MAX_SIGNATURES)
            .collect();
        let is_by = |key| signatures.iter().any(|signature| hmac::verify(key, &content, signature).is_ok());
        if self.keys.iter().any(is_by) { Ok(body) } else { Err(DeliveryError::Signature) }
    }
}

impl fmt::Debug for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Webhook").field("keys", &self.keys.len()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const OTHER: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
    const SIGNED_AT: i64 = 1_614_265_330;
    const SIGNATURE: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";

    fn vector() -> Delivery<'static> {
        Delivery {
            id: "msg_p5jXN8AQM9LWM0D4loKWxJek",
            timestamp: "1614265330",
            signature: SIGNATURE,
            body: br#"{"test": 2432232314}"#,
        }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn verified(delivery: Delivery) -> Result<(), DeliveryError> {
        Webhook::new([SECRET]).unwrap().verify(&delivery, at(SIGNED_AT)).map(drop)
    }

    #[test]
    fn the_vectors_of_the_specification_hold() {
        assert_eq!(verified(vector()), Ok(()));
        let several = format!("v1,Ceo5qEr07ixe2NLpvHk3FH9bwy/WavXrAFQ/9tdO6mc= v2,AAAA {SIGNATURE}");
        assert_eq!(verified(Delivery { signature: &several, ..vector() }), Ok(()));
        // Either secret does while one replaces the other.
        for secrets in [[SECRET, OTHER], [OTHER, SECRET]] {
            assert!(Webhook::new(secrets).unwrap().verify(&vector(), at(SIGNED_AT)).is_ok());
        }
        assert!(Webhook::new([OTHER]).unwrap().verify(&vector(), at(SIGNED_AT)).is_err());
        assert!(Webhook::new([]).unwrap().verify(&vector(), at(SIGNED_AT)).is_err());
    }

    #[test]
    fn a_delivery_that_differs_anywhere_is_refused() {
        let v2 = SIGNATURE.replace("v1,", "v2,");
        let upper = SIGNATURE.replace("v1,", "V1,");
        let short = &SIGNATURE[..SIGNATURE.len() - 5];
        for delivery in [
            Delivery { id: "msg_p5jXN8AQM9LWM0D4loKWxJeK", ..vector() },
            Delivery { id: "", ..vector() },
            Delivery { timestamp: "1614265331", ..vector() },
            Delivery { timestamp: "01614265330", ..vector() },
            Delivery { body: br#"{"test": 2432232315}"#, ..vector() },
            Delivery { body: b"", ..vector() },
            Delivery { signature: "", ..vector() },
            Delivery { signature: "v1,", ..vector() },
            Delivery { signature: &SIGNATURE[3..], ..vector() },
            Delivery { signature: &v2, ..vector() },
            Delivery { signature: &upper, ..vector() },
            Delivery { signature: short, ..vector() },
            // The parts are the same bytes in another place.
            Delivery { id: "msg_p5jXN8AQM9LWM0D4loKWxJek.1614265330", timestamp: "1614265330", ..vector() },
        ] {
            assert_eq!(verified(delivery), Err(DeliveryError::Signature), "{delivery:?}");
        }
        for timestamp in ["", "now", "1614265330.5", "99999999999999999999", "9223372036854775807"] {
            assert_eq!(verified(Delivery { timestamp, ..vector() }), Err(DeliveryError::Timestamp));
        }
    }

    #[test]
    fn a_delivery_counts_for_five_minutes() {
        let webhook = Webhook::new([SECRET]).unwrap();
        for (seconds, is_timely) in [(-301, false), (-300, true), (300, true), (301, false)] {
            let verified = webhook.verify(&vector(), at(SIGNED_AT + seconds));
            assert_eq!(verified.map(drop), if is_timely { Ok(()) } else { Err(DeliveryError::Untimely) });
        }
    }

    #[test]
    fn a_secret_is_whole_and_shows_nothing() {
        let short = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2Ja";
        for text in
            ["", "whsec_", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", &SECRET[..SECRET.len() - 1], short, "whsec_ä"]
        {
            let error = Webhook::new([text]).unwrap_err();
            assert!(!error.to_string().contains("MfKQ"), "{text}");
        }
        assert_eq!(format!("{:?}", Webhook::new([SECRET]).unwrap()), "Webhook { keys: 1 }");
    }
}
