//! Bad hours: a time in which every call is refused in the same way.
//!
//! A fault counts calls. Bad hours last by the clock, as Meta's incidents do.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// A period by the sandbox's clock, and the answer to every call in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BadHours {
    /// The first moment.
    pub from: Timestamp,
    /// The first moment after them.
    pub until: Timestamp,
    /// The answer.
    pub answer: BadAnswer,
}

/// The answer of bad hours. Nothing is done, and no token, code or account changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BadAnswer {
    /// To calls with a person's token: 190 without a subcode, as for a token that was never issued.
    #[serde(rename = "bare_190")]
    Bare190,
    /// To calls with a person's token: 10.
    Permission,
    /// To all calls: 500 with code 1.
    ServerError,
    /// To all calls: 429 with code 4.
    Throttled,
    /// To all calls: 200, "API access blocked".
    AppBlocked,
    /// To all calls: 190, "Application has been deleted".
    AppDeleted,
    /// To all calls: 101.
    AppUnknown,
}

impl BadAnswer {
    /// Returns true if it is about a person's token, and not about the app or the server.
    pub(crate) const fn is_about_tokens(self) -> bool {
        matches!(self, Self::Bare190 | Self::Permission)
    }
}

impl BadHours {
    /// Refuses a period that could never strike.
    pub(crate) fn check(&self) -> Result<(), String> {
        if self.from < self.until { Ok(()) } else { Err("until: a time after `from` is needed".to_owned()) }
    }

    pub(crate) fn contain(&self, now: Timestamp) -> bool {
        (self.from..self.until).contains(&now)
    }
}
