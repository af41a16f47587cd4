//! The secret that signs webhooks, in the form and with the signature of Standard Webhooks.
//!
//! Owns the secret's text in Secrets Manager, its rotation and the signature. During a rotation a
//! delivery carries a signature of each secret, so that a receiver changes its own in its own time.
//! <https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md>

use std::fmt;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use jiff::Timestamp;
use ring::hmac;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use zeroize::Zeroizing;

use crate::seal::{SealError, random};

/// The prefix by which a receiver's library recognizes a secret.
const PREFIX: &str = "whsec_";

/// The lengths of a secret, in bytes: at least 192 bits, at most 512.
const MIN_BYTES: usize = 24;
const MAX_BYTES: usize = 64;

/// One secret: base64, and the key that it stands for.
#[derive(Clone)]
struct SigningKey {
    text: Zeroizing<String>,
    key: hmac::Key,
}

impl SigningKey {
    fn new(text: &str) -> Result<Self, BadWebhookSecret> {
        let text = text.strip_prefix(PREFIX).unwrap_or(text);
        let bytes = Zeroizing::new(BASE64_STANDARD.decode(text).map_err(|_| BadWebhookSecret)?);
        if !(MIN_BYTES..=MAX_BYTES).contains(&bytes.len()) {
            return Err(BadWebhookSecret);
        }
        let key = hmac::Key::new(hmac::HMAC_SHA256, &bytes);
        Ok(Self { text: Zeroizing::new(text.to_owned()), key })
    }

    fn generate() -> Result<Self, SealError> {
        let bytes = Zeroizing::new(random::<32>()?);
        let key = hmac::Key::new(hmac::HMAC_SHA256, bytes.as_slice());
        Ok(Self { text: Zeroizing::new(BASE64_STANDARD.encode(bytes.as_slice())), key })
    }
}

/// The current secret, and the previous one for as long as it also signs.
#[derive(Clone)]
pub struct WebhookSecret {
    current: SigningKey,
    previous: Option<Previous>,
}

#[derive(Clone)]
struct Previous {
    key: SigningKey,
    /// Time from which it no longer signs.
    until: Timestamp,
}

/// The text is no secret for webhooks. Names the expected form, and no part of a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected {{\"secret\":\"…\"}}, with base64 of {MIN_BYTES} to {MAX_BYTES} bytes; \"previous\":{{\"secret\":\"…\",\"until\":\"…\"}} is optional"
)]
pub struct BadWebhookSecret;

#[derive(Serialize, Deserialize)]
struct Text {
    secret: Zeroizing<String>,
    /// Parsed separately, so that an error in it does not affect the current secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    previous: Option<Value>,
}

#[derive(Serialize, Deserialize)]
struct PreviousText {
    secret: Zeroizing<String>,
    until: Timestamp,
}

impl WebhookSecret {
    /// Makes a secret of 32 random bytes.
    ///
    /// # Errors
    /// Returns [`SealError::NoRandomness`] if the system's random number generator fails.
    pub fn generate() -> Result<Self, SealError> {
        Ok(Self { current: SigningKey::generate()?, previous: None })
    }

    /// Reads the text that Secrets Manager holds.
    ///
    /// # Errors
    /// Returns [`BadWebhookSecret`] if it has no secret of the expected form.
    pub fn from_json(text: &str) -> Result<Self, BadWebhookSecret> {
        let Text { secret, previous } = serde_json::from_str(text).map_err(|_| BadWebhookSecret)?;
        let previous = previous.and_then(|previous| {
            let PreviousText { secret, until } = serde_json::from_value(previous).ok()?;
            Some(Previous { key: SigningKey::new(&secret).ok()?, until })
        });
        Ok(Self { current: SigningKey::new(&secret)?, previous })
    }

    /// Returns the text for Secrets Manager.
    #[must_use]
    pub fn to_json(&self) -> Zeroizing<String> {
        let previous = self
            .previous
            .as_ref()
            .map(|previous| PreviousText { secret: previous.key.text.clone(), until: previous.until });
        let previous = previous.and_then(|previous| serde_json::to_value(previous).ok());
        // Our own types always serialize.
        Zeroizing::new(
            serde_json::to_string(&Text { secret: self.current.text.clone(), previous }).unwrap_or_default(),
        )
    }

    /// Returns a new secret. The current one also signs until `until`; without that it stops at
    /// once.
    ///
    /// # Errors
    /// Returns [`SealError::NoRandomness`] if the system's random number generator fails.
    pub fn rotated(&self, until: Option<Timestamp>) -> Result<Self, SealError> {
        let previous = until.map(|until| Previous { key: self.current.clone(), until });
        Ok(Self { current: SigningKey::generate()?, previous })
    }

    /// Returns the time until which the previous secret also signs, if it does at `now`.
    #[must_use]
    pub fn previous_until(&self, now: Timestamp) -> Option<Timestamp> {
        self.previous.as_ref().map(|previous| previous.until).filter(|until| now < *until)
    }

    /// Returns the secret in the form in which a receiver's library takes it. For the receiver
    /// only: never for a log, an error or a URL.
    #[must_use]
    pub fn expose(&self) -> Zeroizing<String> {
        Zeroizing::new(format!("{PREFIX}{}", self.current.text.as_str()))
    }

    /// Returns the value of `webhook-signature` for an attempt with this `timestamp`: a signature
    /// of each secret that signs at `now`, the current one's first.
    ///
    /// The signed parts are separated by full stops, which an `id` contains too. Nobody outside can
    /// choose an id: it consists of the change's id and the event's type.
    #[must_use]
    pub fn signatures(&self, id: &str, body: &str, timestamp: Timestamp, now: Timestamp) -> String {
        let content = format!("{id}.{}.{body}", timestamp.as_second());
        let previous = self.previous.as_ref().filter(|previous| now < previous.until);
        let keys = [&self.current].into_iter().chain(previous.map(|previous| &previous.key));
        let signature = |key: &SigningKey| {
            format!("v1,{}", BASE64_STANDARD.encode(hmac::sign(&key.key, content.as_bytes())))
        };
        keys.map(signature).collect::<Vec<_>>().join(" ")
    }
}

impl fmt::Debug for WebhookSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WebhookSecret(redacted)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the libraries of Standard Webhooks.
    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const SIGNATURE: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
    /// A secret of 44 letters and digits, as CloudFormation makes it.
    const MADE: &str = "canary0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZab";

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn signs_as_the_libraries_do() {
        let secret = WebhookSecret::from_json(&format!(r#"{{"secret":"{SECRET}"}}"#)).unwrap();
        let signed = secret.signatures(
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            r#"{"test": 2432232314}"#,
            at(1_614_265_330),
            at(0),
        );
        assert_eq!(signed, SIGNATURE);
        assert_eq!(secret.expose().as_str(), SECRET);
    }

    #[test]
    fn what_cloudformation_makes_is_a_secret() {
        let secret = WebhookSecret::from_json(&format!(r#"{{"secret":"{MADE}"}}"#)).unwrap();
        assert_eq!(secret.expose().as_str(), format!("whsec_{MADE}"));
    }

    #[test]
    fn both_secrets_sign_until_the_first_has_ended() {
        let old = WebhookSecret::generate().unwrap();
        let new = old.rotated(Some(at(1_000))).unwrap();
        let both = WebhookSecret::from_json(&new.to_json()).unwrap();
        let by = |secret: &WebhookSecret, now| secret.signatures("id", "{}", at(now), at(now));
        let alone = new.rotated(None).unwrap();
        assert_eq!(by(&alone, 999).split(' ').count(), 1);
        assert_eq!(both.previous_until(at(999)), Some(at(1_000)));
        let signed = by(&both, 999);
        let (first, second) = signed.split_once(' ').unwrap();
        assert_eq!(second, by(&old, 999));
        assert_ne!(first, second);
        assert_eq!((both.previous_until(at(1_000)), by(&both, 1_000).split(' ').count()), (None, 1));
    }

    #[test]
    fn what_is_no_secret_is_refused_without_showing_it() {
        let long = "canary".repeat(20);
        for text in [
            "",
            "canary",
            "{}",
            r#"{"secret":"canary"}"#,
            r#"{"secret":"canary!!canary!!canary!!canary!!"}"#,
            r#"{"secret":["canary"]}"#,
            &format!(r#"{{"secret":"{long}"}}"#),
        ] {
            let error = WebhookSecret::from_json(text).unwrap_err();
            assert!(!error.to_string().contains("canary"), "{text}");
        }
        let half = format!(r#"{{"secret":"{MADE}","previous":{{"secret":"canary","until":"?"}}}}"#);
        let secret = WebhookSecret::from_json(&half).unwrap();
        assert_eq!(secret.previous_until(Timestamp::MIN), None);
        assert!(!format!("{secret:?}").contains("canary"));
    }
}
