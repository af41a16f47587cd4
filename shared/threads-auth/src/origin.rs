//! The origin secrets. CloudFront sends one of them to prove that a request came through it, so
//! that nobody bypasses it through the API's own address.
//! Holds digests only. They have one length and are compared in constant time.

use std::fmt;
use std::str::FromStr;

use ring::digest;
use subtle::{Choice, ConstantTimeEq};

/// The shortest secret, in characters: long enough that nobody can guess it.
const MIN_LENGTH: usize = 32;
/// The longest secret, in characters: all variables of a Lambda function share 4 KB.
const MAX_LENGTH: usize = 64;
/// Placeholder of an absent secret.
const NONE: &str = "-";

/// The digest of a request's secret, valid or not.
#[derive(Clone)]
pub struct OriginProof(digest::Digest);

impl OriginProof {
    /// Digests the value of the header.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(digest::digest(&digest::SHA256, text.as_bytes()))
    }
}

impl fmt::Debug for OriginProof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OriginProof(redacted)")
    }
}

/// The accepted secrets: one, or two during a rotation.
#[derive(Clone, Debug)]
pub struct OriginSecrets(Vec<OriginProof>);

/// Error of parsing [`OriginSecrets`]. It names the expected form, and no part of a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected secrets of {MIN_LENGTH} to {MAX_LENGTH} visible ASCII characters, separated by commas, with `-` for an absent one"
)]
pub struct BadOriginSecrets;

impl OriginSecrets {
    /// Returns true if `proof` is one of the secrets. Takes constant time.
    #[must_use]
    pub fn contains(&self, proof: &OriginProof) -> bool {
        let found = self.0.iter().fold(Choice::from(0), |found, OriginProof(secret)| {
            found | secret.as_ref().ct_eq(proof.0.as_ref())
        });
        found.into()
    }
}

impl FromStr for OriginSecrets {
    type Err = BadOriginSecrets;

    fn from_str(text: &str) -> Result<Self, BadOriginSecrets> {
        let texts: Vec<&str> = text.split(',').filter(|text| *text != NONE).collect();
        let is_good = |text: &&str| {
            (MIN_LENGTH..=MAX_LENGTH).contains(&text.len())
                && text.bytes().all(|byte| byte.is_ascii_graphic())
        };
        if texts.is_empty() || !texts.iter().all(is_good) {
            return Err(BadOriginSecrets);
        }
        Ok(Self(texts.into_iter().map(OriginProof::new).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = "canary-0123456789abcdefghijklmnopqr";
    const NEW: &str = "canary-ABCDEFGHIJKLMNOPQRSTUVWXYZ01";

    fn know(secrets: &str, text: &str) -> bool {
        secrets.parse::<OriginSecrets>().unwrap().contains(&OriginProof::new(text))
    }

    #[test]
    fn each_secret_is_known_and_nothing_else_is() {
        for secrets in [format!("{OLD},{NEW}"), format!("{NEW},{OLD}")] {
            for (text, expected) in
                [(OLD, true), (NEW, true), ("", false), (&secrets, false), (&OLD[1..], false)]
            {
                assert_eq!(know(&secrets, text), expected, "{text}");
            }
        }
    }

    #[test]
    fn a_place_without_a_secret_lets_nobody_through() {
        for secrets in [format!("{OLD},-"), format!("-,{OLD}"), OLD.to_owned()] {
            let known = [OLD, NEW, "-", ""].map(|text| know(&secrets, text));
            assert_eq!(known, [true, false, false, false], "{secrets}");
        }
    }

    /// CloudFormation may fill in an empty or truncated value, which must never be accepted.
    #[test]
    fn what_could_be_guessed_is_no_secret() {
        let with_space = format!("{OLD} x");
        let empty_second = format!("{OLD},");
        for secrets in ["-", "-,-", ",", "short", "canary,-", &with_space, &empty_second] {
            let error = secrets.parse::<OriginSecrets>().unwrap_err();
            assert!(!error.to_string().contains("canary"), "{secrets}");
        }
    }

    #[test]
    fn neither_secrets_nor_proofs_can_be_shown() {
        let secrets: OriginSecrets = format!("{OLD},{NEW}").parse().unwrap();
        assert!(!format!("{secrets:?} {:?}", OriginProof::new(OLD)).contains("canary"));
    }
}
