//! Pseudonyms: the names of accounts in logs.

use std::fmt;
use std::str::FromStr;

use crate::seal::{SealError, random_text};

const PREFIX: &str = "p_";

/// Length of the random part: 96 bits in URL-safe base64.
const RANDOM: usize = 16;

/// The name of an account in logs: random, and stored in the account's row only, so that nothing
/// leads from a log to a person once the row is gone. The prefix distinguishes it from a Threads
/// user id.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Pseudonym(String);

/// The text is not a pseudonym.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a pseudonym is `p_` and 16 letters, digits, hyphens or underscores")]
pub struct InvalidPseudonym;

impl Pseudonym {
    /// Creates a random pseudonym.
    ///
    /// # Errors
    /// Returns [`SealError`] if the random generator fails.
    pub fn random() -> Result<Self, SealError> {
        Ok(Self(format!("{PREFIX}{}", random_text::<12>()?)))
    }

    /// Returns the text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Pseudonym {
    type Err = InvalidPseudonym;

    fn from_str(text: &str) -> Result<Self, InvalidPseudonym> {
        let random = text.strip_prefix(PREFIX).ok_or(InvalidPseudonym)?;
        let is_valid = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        if random.len() != RANDOM || !random.bytes().all(is_valid) {
            return Err(InvalidPseudonym);
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for Pseudonym {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pseudonym_is_random_and_no_user_id() {
        let one = Pseudonym::random().unwrap();
        assert_ne!(one, Pseudonym::random().unwrap());
        assert_eq!(one.as_str().parse(), Ok(one.clone()));
        assert_eq!(one.as_str().len(), 18);
        for wrong in ["", "p_", "17841405793187218", "p_short", "p_with a space 123", "q_AAAAAAAAAAAAAAAA"] {
            assert_eq!(wrong.parse::<Pseudonym>(), Err(InvalidPseudonym), "{wrong}");
        }
    }
}
