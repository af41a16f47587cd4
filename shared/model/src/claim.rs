//! Whose an account is, as far as the app has said.
//!
//! A connect session leads a person through a connect, and its completion says which user of the
//! app that person is. Until then the account is nobody's, and it ends if nobody claims it.

use jiff::Timestamp;

/// Whose an account is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claim {
    /// Somebody's, which a completed session has told. Without one the app itself knows: the
    /// account came without a session, or before there was such a mark.
    Claimed(Option<Owner>),
    /// Nobody's: its first connect came through a session that was not completed.
    Unclaimed {
        /// When it ends.
        until: Timestamp,
        /// Whether that was announced.
        is_announced: bool,
    },
}

/// The user of the app who claimed an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The backend's own name for its user.
    pub reference: String,
    /// When the user claimed it last.
    pub claimed_at: Timestamp,
}

impl Claim {
    /// The user who claimed the account, if a session told.
    #[must_use]
    pub fn owner(&self) -> Option<&Owner> {
        match self {
            Self::Claimed(owner) => owner.as_ref(),
            Self::Unclaimed { .. } => None,
        }
    }

    /// When the account ends if nobody claims it.
    #[must_use]
    pub fn until(&self) -> Option<Timestamp> {
        match self {
            Self::Claimed(_) => None,
            Self::Unclaimed { until, .. } => Some(*until),
        }
    }
}
