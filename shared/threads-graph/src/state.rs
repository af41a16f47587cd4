//! The `state` of one login.
//!
//! Owns the creation, parsing and comparison of a state. Has no `==`, because its time would show
//! how much of a guess was right.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::{SecureRandom as _, SystemRandom};
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq as _;

/// The `state` that is sent to Meta with a person and returned with them.
///
/// 1 to 512 bytes of visible ASCII. Bind it to the browser that begins the login, and compare it
/// when that browser returns: Meta documents no PKCE, so nothing else distinguishes a callback from
/// a forged one (RFC 6749, section 10.12). `Debug` does not show it.
///
/// ```
/// use threads_graph::State;
///
/// let sent = State::random()?;
/// assert_eq!(sent.as_str().len(), 43);
/// let returned: State = sent.as_str().parse()?;
/// assert!(sent.matches(&returned));
/// assert!(!sent.matches(&State::random()?));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct State(String);

/// The text is not a state. The error does not hold it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the state must be 1 to {} visible ASCII characters", State::MAX)]
pub struct InvalidState;

/// The system's random number generator failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the system's random number generator failed")]
pub struct NoRandomness;

impl State {
    /// The longest state, in bytes.
    pub const MAX: usize = 512;

    /// Makes a state of 32 random bytes: 43 characters of base64url.
    ///
    /// # Errors
    ///
    /// Returns [`NoRandomness`] if the system's generator fails.
    pub fn random() -> Result<Self, NoRandomness> {
        let mut bytes = [0; 32];
        SystemRandom::new().fill(&mut bytes).map_err(|_| NoRandomness)?;
        Ok(Self(URL_SAFE_NO_PAD.encode(bytes)))
    }

    /// The exact text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Compares with the state that came back, in a time that depends on the lengths alone.
    #[must_use]
    pub fn matches(&self, returned: &Self) -> bool {
        self.0.as_bytes().ct_eq(returned.0.as_bytes()).into()
    }
}

impl TryFrom<String> for State {
    type Error = InvalidState;

    fn try_from(text: String) -> Result<Self, InvalidState> {
        let is_visible = text.bytes().all(|byte| byte.is_ascii_graphic());
        if is_visible && (1..=Self::MAX).contains(&text.len()) { Ok(Self(text)) } else { Err(InvalidState) }
    }
}

impl FromStr for State {
    type Err = InvalidState;

    fn from_str(text: &str) -> Result<Self, InvalidState> {
        Self::try_from(text.to_owned())
    }
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("State(redacted)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_matches_itself_alone() {
        let state: State = "CANARY".parse().unwrap();
        for (other, expected) in
            [("CANARY", true), ("CANARy", false), ("CANAR", false), ("CANARYY", false), ("x", false)]
        {
            assert_eq!(state.matches(&other.parse().unwrap()), expected, "{other}");
        }
        assert_eq!(format!("{state:?} {state:#?}"), "State(redacted) State(redacted)");
    }

    #[test]
    fn random_states_differ() {
        let (one, other) = (State::random().unwrap(), State::random().unwrap());
        assert!(!one.matches(&other));
        assert!(URL_SAFE_NO_PAD.decode(one.as_str()).is_ok_and(|bytes| bytes.len() == 32));
    }

    #[test]
    fn a_state_is_visible_ascii_of_bounded_length() {
        assert!("~".repeat(512).parse::<State>().is_ok());
        for text in ["", " ", "a b", "a\n", "ä", "a\0", &"a".repeat(513)] {
            assert_eq!(text.parse::<State>().unwrap_err(), InvalidState, "{text:?}");
            assert!(serde_json::from_value::<State>(text.into()).is_err(), "{text:?}");
        }
        let stored = serde_json::to_string(&"AbC".parse::<State>().unwrap()).unwrap();
        assert_eq!(stored, "\"AbC\"");
        assert_eq!(serde_json::from_str::<State>(&stored).unwrap().as_str(), "AbC");
    }
}
