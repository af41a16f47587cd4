//! Makes tokens, codes and ids that look like Meta's, and the hashes they are kept by.
//!
//! All randomness comes from the system: a token of the sandbox is as hard to guess as a real one,
//! because development servers end up on shared networks.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::{SecureRandom, SystemRandom};
use ring::{digest, hmac};

/// `LEN` random bytes in base64url.
///
/// The system's generator does not fail on a system that started; if it did, an all-zero token
/// would be a silent weakness, so this panics, which ends one request.
fn random_text<const LEN: usize>() -> String {
    URL_SAFE_NO_PAD.encode(random_bytes::<LEN>())
}

fn random_bytes<const LEN: usize>() -> [u8; LEN] {
    let mut bytes = [0; LEN];
    assert!(SystemRandom::new().fill(&mut bytes).is_ok(), "the system's random generator failed");
    bytes
}

/// An access token of a person.
pub(crate) fn access_token() -> String {
    format!("THQVJ{}", random_text::<96>())
}

/// An authorization code.
pub(crate) fn code() -> String {
    format!("AQB{}", random_text::<120>())
}

/// An account's id: seventeen digits, above 2^53 so that a client which reads it as a double
/// corrupts it.
pub(crate) fn user_id() -> String {
    let random = u64::from_le_bytes(random_bytes());
    (17_841_400_000_000_000 + random % 99_999_999_999).to_string()
}

/// An error's `fbtrace_id`.
pub(crate) fn trace_id() -> String {
    format!("A{}", random_text::<16>())
}

/// The app's own token. Derived rather than random, so that it is the same on each call and after a
/// restart, as Meta's is, without being kept.
pub(crate) fn app_token(app_id: &str, app_secret: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, app_secret.as_bytes());
    let tag = hmac::sign(&key, b"threads-sandbox app token");
    format!("TH|{app_id}|{}", &URL_SAFE_NO_PAD.encode(tag)[..27])
}

/// The hash by which a token or code is kept.
pub(crate) fn hash(secret: &str) -> String {
    URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, secret.as_bytes()))
}

/// Meta's `signed_request`: base64url signature, dot, base64url payload, the signature over the
/// *encoded* payload.
pub(crate) fn signed_request(app_secret: &str, payload: &str) -> String {
    let payload = URL_SAFE_NO_PAD.encode(payload);
    let key = hmac::Key::new(hmac::HMAC_SHA256, app_secret.as_bytes());
    let signature = URL_SAFE_NO_PAD.encode(hmac::sign(&key, payload.as_bytes()));
    format!("{signature}.{payload}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_made_looks_like_metas_and_never_repeats() {
        assert!(access_token().starts_with("THQVJ") && access_token() != access_token());
        assert!(code().starts_with("AQB") && code() != code());
        let id: u64 = user_id().parse().unwrap();
        assert!(id > 1 << 53 && id.to_string().len() == 17, "{id}");
    }

    #[test]
    fn the_app_token_is_stable_and_belongs_to_its_secret() {
        assert_eq!(app_token("12", "s"), app_token("12", "s"));
        assert_ne!(app_token("12", "s"), app_token("12", "t"));
        assert!(app_token("12", "s").starts_with("TH|12|"));
    }

    /// Facebook's published example of a signed request, which tests the format against an
    /// independent source.
    #[test]
    fn a_signed_request_is_signed_over_the_encoded_payload() {
        let request = signed_request("secret", r#"{"algorithm":"HMAC-SHA256","0":"payload"}"#);
        assert_eq!(
            request,
            "vlXgu64BQGFSQrY0ZcJBZASMvYvTHu9GQ0YM9rjPSso.eyJhbGdvcml0aG0iOiJITUFDLVNIQTI1NiIsIjAiOiJwYXlsb2FkIn0"
        );
    }
}
