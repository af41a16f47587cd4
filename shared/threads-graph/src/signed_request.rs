//! The message that Meta posts when a person removes the app or requests deletion.
//!
//! Owns the check of a `signed_request`. Refuses to read one byte of the payload before its
//! signature is verified, and accepts only one spelling of a message. It has no clock and no
//! history: the caller passes `now`, and acts idempotently, because a fresh message can be replayed
//! within its window.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use ring::hmac;
use serde::Deserialize;

use crate::ids::UserId;
use crate::secret::AppSecret;

/// The longest message that is parsed, in bytes. Meta's have about 250.
const MAX_LENGTH: usize = 4096;

/// Maximum time by which Meta's clock may be ahead of ours. A clock that is wrong by minutes must
/// not lose a person's request; the signature is the protection.
const MAX_SKEW: Duration = Duration::from_hours(1);

/// A message that Meta has signed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SignedRequest {
    /// The person it is about.
    pub user_id: UserId,
    /// The time at which Meta made it.
    pub issued_at: Timestamp,
}

/// The reason why a `signed_request` was refused. Holds nothing of the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignedRequestError {
    /// Not `signature.payload` in base64url without padding, or longer than 4096 bytes.
    #[error("the signed request is malformed")]
    Malformed,
    /// Not signed with this app secret.
    #[error("the signed request has a wrong signature")]
    Signature,
    /// Signed, but the payload names another algorithm than HMAC-SHA256.
    #[error("the signed request names another algorithm")]
    Algorithm,
    /// Signed, but the payload lacks a user id or a time.
    #[error("the payload of the signed request is not as documented")]
    Payload,
    /// Older than the maximum age.
    #[error("the signed request is too old")]
    TooOld,
    /// Issued more than an hour after `now`.
    #[error("the signed request comes from the future")]
    FromTheFuture,
}

#[derive(Deserialize)]
struct Payload {
    algorithm: String,
    issued_at: i64,
    user_id: UserId,
}

/// Verifies the `signed_request` of a deauthorization or of a data deletion request, and reads it.
///
/// It takes the secret alone: after a reset at Meta an app has two for a while.
///
/// The shape is `base64url(signature).base64url(payload)` without padding; the signature is
/// HMAC-SHA256 over the *encoded* payload with the Threads app secret, compared in constant time;
/// the payload is `{"algorithm":"HMAC-SHA256","issued_at":1700000000,"user_id":"…"}`. `issued_at`
/// may be `max_age` before `now`, and an hour after it.
///
/// Source: Meta, "Data Deletion Request Callback" and "Parsing the signed request".
///
/// # Errors
///
/// Returns a [`SignedRequestError`] if the message is malformed, not signed with this secret, too
/// old, or from the future.
pub fn verify_signed_request(
    secret: &AppSecret,
    signed_request: &str,
    now: Timestamp,
    max_age: Duration,
) -> Result<SignedRequest, SignedRequestError> {
    if signed_request.len() > MAX_LENGTH {
        return Err(SignedRequestError::Malformed);
    }
    let (signature, payload) = signed_request.split_once('.').ok_or(SignedRequestError::Malformed)?;
    // The strict decoder refuses padding, a second dot, and unused bits that are not zero: one
    // message, one spelling.
    let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| SignedRequestError::Malformed)?;
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.expose().as_bytes());
    hmac::verify(&key, payload.as_bytes(), &signature).map_err(|_| SignedRequestError::Signature)?;

    let payload = URL_SAFE_NO_PAD.decode(payload).map_err(|_| SignedRequestError::Malformed)?;
    // serde would take a list for the fields in their order.
    if !payload.trim_ascii_start().starts_with(b"{") {
        return Err(SignedRequestError::Payload);
    }
    let payload: Payload = serde_json::from_slice(&payload).map_err(|_| SignedRequestError::Payload)?;
    if payload.algorithm != "HMAC-SHA256" {
        return Err(SignedRequestError::Algorithm);
    }
    let issued_at = Timestamp::from_second(payload.issued_at).map_err(|_| SignedRequestError::Payload)?;
    let age = now.duration_since(issued_at);
    if age.is_negative() && age.unsigned_abs() > MAX_SKEW {
        return Err(SignedRequestError::FromTheFuture);
    }
    if age.is_positive() && age.unsigned_abs() > max_age {
        return Err(SignedRequestError::TooOld);
    }
    Ok(SignedRequest { user_id: payload.user_id, issued_at })
}

#[cfg(test)]
mod tests {
    use super::SignedRequestError::{Algorithm, FromTheFuture, Malformed, Payload, Signature, TooOld};
    use super::*;

    const ISSUED: i64 = 1_760_000_000;
    const HOUR: Duration = Duration::from_hours(1);

    fn secret() -> AppSecret {
        AppSecret::new("0123456789abcdef0123456789abcdef").unwrap()
    }

    fn signed(payload: &str) -> String {
        signed_encoded(&URL_SAFE_NO_PAD.encode(payload))
    }

    fn signed_encoded(payload: &str) -> String {
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret().expose().as_bytes());
        let signature = hmac::sign(&key, payload.as_bytes());
        format!("{}.{payload}", URL_SAFE_NO_PAD.encode(signature))
    }

    fn payload() -> String {
        format!(r#"{{"algorithm":"HMAC-SHA256","issued_at":{ISSUED},"user_id":"17841405793187218"}}"#)
    }

    fn verify(message: &str, seconds_later: i64) -> Result<SignedRequest, SignedRequestError> {
        let now = Timestamp::from_second(ISSUED + seconds_later).unwrap();
        verify_signed_request(&secret(), message, now, HOUR)
    }

    #[test]
    fn the_documented_shape_is_accepted_with_a_string_or_a_number() {
        let number = payload().replace("\"17841405793187218\"", "17841405793187218");
        for payload in [payload(), number, payload().replace('{', r#"{"expires":0,"#)] {
            let request = verify(&signed(&payload), 5).unwrap();
            assert_eq!(request.user_id.as_str(), "17841405793187218");
            assert_eq!(request.issued_at.as_second(), ISSUED);
        }
    }

    #[test]
    fn it_agrees_with_a_known_vector() {
        // Computed with Python's hmac module.
        let message = include_str!("../testdata/signed_request.txt").trim();
        assert_eq!(message, signed(&payload()));
        assert!(verify(message, 0).is_ok());
    }

    #[test]
    fn every_bit_flip_is_refused() {
        let message = signed(&payload());
        let mut refused = 0;
        for position in 0..message.len() {
            for bit in 0..8 {
                let mut bytes = message.clone().into_bytes();
                bytes[position] ^= 1 << bit;
                if let Ok(flipped) = String::from_utf8(bytes) {
                    assert!(verify(&flipped, 0).is_err(), "byte {position}, bit {bit}");
                }
                refused += 1;
            }
        }
        assert_eq!(refused, message.len() * 8);

        // And of the decoded signature, encoded again.
        let (signature, payload) = message.split_once('.').unwrap();
        let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
        for flip in 0..256 {
            let mut forged = signature.clone();
            forged[flip / 8] ^= 1 << (flip % 8);
            let forged = format!("{}.{payload}", URL_SAFE_NO_PAD.encode(forged));
            assert_eq!(verify(&forged, 0), Err(Signature), "bit {flip}");
        }
    }

    #[test]
    fn every_other_spelling_is_refused() {
        let message = signed(&payload());
        let (signature, encoded) = message.split_once('.').unwrap();
        let short = URL_SAFE_NO_PAD.encode(&URL_SAFE_NO_PAD.decode(signature).unwrap()[..16]);
        for (forged, expected) in [
            (String::new(), Malformed),
            (".".to_owned(), Signature),
            (signature.to_owned(), Malformed),
            (format!("{signature}={}", &message[signature.len()..]), Malformed),
            (format!("{message}="), Signature),
            (format!("{message}."), Signature),
            (format!("{message}.{encoded}"), Signature),
            (format!(".{message}"), Signature),
            (format!(".{encoded}"), Signature),
            (format!("{short}.{encoded}"), Signature),
            (format!("{signature}."), Signature),
            (format!(" {message}"), Malformed),
            (format!("{message}\n"), Signature),
            (format!("{encoded}.{signature}"), Signature),
            ("a".repeat(5000), Malformed),
            (signed_encoded(&format!("{}=", URL_SAFE_NO_PAD.encode(payload()))), Malformed),
            (signed_encoded(&format!("{}.x", URL_SAFE_NO_PAD.encode(payload()))), Malformed),
        ] {
            assert_eq!(verify(&forged, 0), Err(expected), "{forged}");
        }
        let other = AppSecret::new("fedcba9876543210fedcba9876543210").unwrap();
        let now = Timestamp::from_second(ISSUED).unwrap();
        assert_eq!(verify_signed_request(&other, &message, now, HOUR), Err(Signature));
    }

    #[test]
    fn the_algorithm_and_the_payload_are_checked_although_they_are_signed() {
        for algorithm in ["hmac-sha256", "HMAC-SHA1", "none", "", "HMAC-SHA256 "] {
            let payload = payload().replace("HMAC-SHA256", algorithm);
            assert_eq!(verify(&signed(&payload), 0), Err(Algorithm), "{algorithm}");
        }
        for payload in [
            "",
            "{}",
            "[]",
            r#"["HMAC-SHA256",1760000000,"17841405793187218"]"#,
            "not json",
            r#"{"algorithm":"HMAC-SHA256","issued_at":1760000000}"#,
            r#"{"algorithm":"HMAC-SHA256","user_id":"1"}"#,
            r#"{"algorithm":"HMAC-SHA256","issued_at":1760000000,"user_id":"1","user_id":"2"}"#,
            r#"{"algorithm":"HMAC-SHA256","issued_at":1760000000,"user_id":"../1"}"#,
            r#"{"algorithm":"HMAC-SHA256","issued_at":1760000000,"user_id":-1}"#,
            r#"{"algorithm":"HMAC-SHA256","issued_at":1760000000.5,"user_id":"1"}"#,
            r#"{"algorithm":"HMAC-SHA256","issued_at":9223372036854775807,"user_id":"1"}"#,
            r#"{"algorithm":"HMAC-SHA256","issued_at":null,"user_id":"1"}"#,
        ] {
            assert_eq!(verify(&signed(payload), 0), Err(Payload), "{payload}");
        }
    }

    #[test]
    fn the_window_has_exact_edges() {
        let message = signed(&payload());
        assert!(verify(&message, 3600).is_ok());
        assert_eq!(verify(&message, 3601), Err(TooOld));
        assert!(verify(&message, -3600).is_ok());
        assert_eq!(verify(&message, -3601), Err(FromTheFuture));
    }
}
