//! Connect sessions: each leads one user of a backend through one connect.
//!
//! Owns the states of a session. Stores only the hash of a completion code.

use jiff::{SignedDuration, Timestamp};
use threads_graph::{Scopes, UserId};

/// Number of failures that close a session. The limit keeps a browser with one cookie from causing
/// calls to Meta, or writes, without end.
pub const MOST_FAILURES: u32 = 10;

/// The reason of a session that reached [`MOST_FAILURES`].
pub const TOO_MANY_FAILURES: &str = "too_many_failures";

/// Minimum time to complete a session after an account was connected. After the completion, the
/// same call gets the same response for as long.
pub const TIME_TO_COMPLETE: SignedDuration = SignedDuration::from_mins(10);

/// The session of one user of the app's backend.
#[derive(Clone, Debug)]
pub struct Session {
    /// Its id: random, and part of the URL that the person opens.
    pub id: String,
    /// The backend's own name for its user.
    pub reference: String,
    /// The requested scopes, if not the default ones.
    pub scopes: Option<Scopes>,
    /// The URL to which the person returns. Sessions of the first release may lack it.
    pub return_to: Option<String>,
    /// The languages that the person prefers, as BCP 47 tags with spaces between.
    pub ui_locales: Option<String>,
    /// The only account that may be connected, if the session names one.
    pub user_id: Option<UserId>,
    /// Expiry of the session.
    pub expires_at: Timestamp,
    /// Number of failed code exchanges, and of ends that differed from the one before.
    pub failures: u32,
    /// The state.
    pub state: SessionState,
}

/// The end of an attempt that connected no account.
#[derive(Clone, Copy, Debug)]
pub struct Attempt<'a> {
    /// [`SessionStatus::Denied`] or [`SessionStatus::Failed`].
    pub status: SessionStatus,
    /// The reason.
    pub reason: &'a str,
    /// True if a code exchange with Meta failed.
    pub is_failed_exchange: bool,
}

/// The state of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SessionState {
    /// Nobody has returned yet.
    Open,
    /// The person refused, for this reason. They may change their mind while the session lasts.
    Denied(Option<String>),
    /// The last attempt failed, for this reason. Another may be made while the session lasts.
    Failed(Option<String>),
    /// An account was connected.
    Connected {
        /// The Threads user id of the account.
        user_id: UserId,
        /// The hash of the completion code. Only the browser that finished the connect got the
        /// code.
        completion_hash: String,
    },
    /// The completion code was redeemed.
    Completed {
        /// The Threads user id of the account.
        user_id: UserId,
        /// The hash of the code. Rows of the first release do not keep it.
        completion_hash: Option<String>,
        /// The call that redeemed the code: a random text.
        by: String,
        /// Time of the completion.
        at: Timestamp,
    },
}

threads_graph::names! {
    /// The status of a session, by its name in the table and in responses.
    pub enum SessionStatus {
        /// Nobody has returned yet.
        Open => "open",
        /// An account was connected. Its browser got the completion code, with which the backend
        /// learns the account.
        Connected => "connected",
        /// The person refused.
        Denied => "denied",
        /// The last attempt failed.
        Failed => "failed",
        /// The session can no longer be used. Only responses contain this status; a row keeps the
        /// one it had.
        Expired => "expired",
    }
}

impl Session {
    /// Returns the status at `now` for the backend: a session that can no longer be used is
    /// expired.
    #[must_use]
    pub fn status_at(&self, now: Timestamp) -> SessionStatus {
        let is_over = self.expires_at <= now;
        match self.state {
            SessionState::Open | SessionState::Connected { .. } if is_over => SessionStatus::Expired,
            _ => self.state.status(),
        }
    }

    /// Returns the hash of the completion code, once an account was connected.
    #[must_use]
    pub fn completion_hash(&self) -> Option<&str> {
        match &self.state {
            SessionState::Connected { completion_hash, .. } => Some(completion_hash),
            SessionState::Completed { completion_hash, .. } => completion_hash.as_deref(),
            SessionState::Open | SessionState::Denied(_) | SessionState::Failed(_) => None,
        }
    }

    /// Returns true if no further attempt is possible: an account was connected, or too many
    /// attempts failed.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        match self.state {
            SessionState::Connected { .. } | SessionState::Completed { .. } => true,
            SessionState::Open | SessionState::Denied(_) | SessionState::Failed(_) => {
                self.failures >= MOST_FAILURES
            }
        }
    }

    /// Returns the reason of a denied or failed session.
    #[must_use]
    pub fn reason(&self) -> Option<&str> {
        match &self.state {
            SessionState::Denied(_) | SessionState::Failed(_) if self.is_closed() => Some(TOO_MANY_FAILURES),
            SessionState::Denied(reason) | SessionState::Failed(reason) => reason.as_deref(),
            SessionState::Open | SessionState::Connected { .. } | SessionState::Completed { .. } => None,
        }
    }
}

impl SessionState {
    /// Returns the name of the state in the table.
    #[must_use]
    pub fn status(&self) -> SessionStatus {
        match self {
            Self::Open => SessionStatus::Open,
            Self::Denied(_) => SessionStatus::Denied,
            Self::Failed(_) => SessionStatus::Failed,
            Self::Connected { .. } | Self::Completed { .. } => SessionStatus::Connected,
        }
    }
}
