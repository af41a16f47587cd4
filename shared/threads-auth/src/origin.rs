//! The origin secrets: by one of them CloudFront shows that a request has come through it, so that
//! nobody walks around it to the API's own address.
//!
//! Refuses to hold one: they are kept as digests, of one length, which are compared in constant
//! time.

use std::fmt;
use std::str::FromStr;

use ring::digest;
use subtle::{Choice, ConstantTimeEq};

/// Nobody can guess a secret of so many characters.
const MIN_LENGTH: usize = 32;
/// Lambda's environment is small.
const MAX_LENGTH: usize = 64;
/// The place of a secret that is not there.
const NONE: &str = "-";

/// A text that is one of the secrets, or is not. It cannot be told from this.
#[derive(Clone)]
pub struct OriginProof(digest::Digest);

impl OriginProof {
    /// Takes the text of a header.
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

/// The secrets that are taken: one, or two while one takes the place of the other.
#[derive(Clone, Debug)]
pub struct OriginSecrets(Vec<OriginProof>);

/// The form that these secrets have to have. No part of them is in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected secrets of {MIN_LENGTH} to {MAX_LENGTH} visible characters, with commas between, `-` for one that is not there"
)]
pub struct BadOriginSecrets;

impl OriginSecrets {
    /// Whether this is one of them. It takes as long for one as for another.
    #[must_use]
    pub fn know(&self, proof: &OriginProof) -> bool {
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
        secrets.parse::<OriginSecrets>().unwrap().know(&OriginProof::new(text))
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

    /// CloudFormation may fill in nothing, or less than was meant: that never opens a door.
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
