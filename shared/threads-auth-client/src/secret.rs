//! An access token.
//!
//! Owns its memory, which is overwritten on drop. Refuses to be shown: there is no `Display`, no
//! `Serialize`, no `Deref` and no `==`, and `Debug` prints a placeholder.

use std::fmt;

use ring::digest::{SHA256, digest};
use serde::Deserialize;
use zeroize::Zeroizing;

/// A person's access token for the Threads API.
#[derive(Clone, Deserialize)]
#[serde(transparent)]
pub struct AccessToken(Zeroizing<String>);

impl AccessToken {
    /// The token itself. Call it only where the token leaves for Meta.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Its SHA-256, by which the service is told of a refused token.
    pub(crate) fn digest(&self) -> Digest {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(digest(&SHA256, self.0.as_bytes()).as_ref());
        Digest(bytes)
    }
}

impl From<String> for AccessToken {
    fn from(token: String) -> Self {
        Self(Zeroizing::new(token))
    }
}

impl fmt::Debug for AccessToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AccessToken(redacted)")
    }
}

/// The SHA-256 of a token. Displayed as hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Digest([u8; 32]);

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_shows_nothing_and_has_a_digest() {
        let token: AccessToken = serde_json::from_str("\"abc\"").unwrap();
        assert_eq!((token.expose(), format!("{token:?}").as_str()), ("abc", "AccessToken(redacted)"));
        // FIPS 180-2, B.1.
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(token.digest().to_string(), expected);
    }
}
