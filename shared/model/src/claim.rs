//! Claims: the link between an account and a user of the app.
//!
//! A connect session leads a person through a connect, and the session's completion names the user
//! of the app who that person is. Until then the account is unclaimed, and it ends if nobody claims
//! it.

use jiff::Timestamp;

/// The claim on an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claim {
    /// The account is claimed. A completed session, an import with a reference or the app's backend
    /// names the owner.
    Claimed(Option<Owner>),
    /// The account is unclaimed: its first connect came through a session that was not completed.
    Unclaimed {
        /// Time at which the account ends.
        until: Timestamp,
        /// True if that end was announced.
        is_announced: bool,
    },
}

/// The user of the app who claimed an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The backend's own name for its user.
    pub reference: String,
    /// Time of the last claim.
    pub claimed_at: Timestamp,
}

/// Maximum length of a reference that is set now, in bytes.
pub const MAX_REFERENCE: usize = 128;

/// Maximum length of a reference that former versions have set, in bytes. Such rows keep it.
pub const LONGEST_REFERENCE: usize = 256;

/// A reference is empty or too long to be set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("reference must be 1 to {MAX_REFERENCE} bytes long")]
pub struct InvalidReference;

/// Checks the length of a reference that is to be set.
///
/// # Errors
/// Returns [`InvalidReference`] if it is empty or too long.
pub fn check_reference(reference: &str) -> Result<(), InvalidReference> {
    if (1..=MAX_REFERENCE).contains(&reference.len()) { Ok(()) } else { Err(InvalidReference) }
}

impl Claim {
    /// Returns the user of the app whom the account belongs to, if any is named.
    #[must_use]
    pub fn owner(&self) -> Option<&Owner> {
        match self {
            Self::Claimed(owner) => owner.as_ref(),
            Self::Unclaimed { .. } => None,
        }
    }

    /// Returns the time at which the account ends if nobody claims it.
    #[must_use]
    pub fn until(&self) -> Option<Timestamp> {
        match self {
            Self::Claimed(_) => None,
            Self::Unclaimed { until, .. } => Some(*until),
        }
    }
}
