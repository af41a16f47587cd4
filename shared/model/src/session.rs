//! Connect sessions: one backend's user, sent through one connect.
//!
//! Owns the states of a session. Refuses to tell a completion code's hash from its text: it only
//! keeps the hash.

use jiff::{SignedDuration, Timestamp};
use threads_graph::{Scopes, UserId};

/// So many failures close a session: a browser that has one cookie is no reason to ask Meta, or to
/// write, without end.
pub const MOST_FAILURES: u32 = 10;

/// The reason of a session that this has closed.
pub const TOO_MANY_FAILURES: &str = "too_many_failures";

/// From the moment that an account was connected, its session can be completed for at least this
/// long; and once it is, the same call has the same answer for as long.
pub const TIME_TO_COMPLETE: SignedDuration = SignedDuration::from_mins(10);

/// One user of an app's backend, on the way through one connect.
#[derive(Clone, Debug)]
pub struct Session {
    /// Its id: random, in the URL that the person opens.
    pub id: String,
    /// The backend's own name for its user.
    pub reference: String,
    /// The requested scopes, if not the usual ones.
    pub scopes: Option<Scopes>,
    /// Where the person goes afterwards. Sessions of the first release can do without.
    pub return_to: Option<String>,
    /// The only account that may come back.
    pub user_id: Option<UserId>,
    /// When it can no longer be used.
    pub expires_at: Timestamp,
    /// How many exchanges of a code have failed in it, and how often its end was another than
    /// before.
    pub failures: u32,
    /// Where it stands.
    pub state: SessionState,
}

/// The end of an attempt that connected nothing.
#[derive(Clone, Copy, Debug)]
pub struct Attempt<'a> {
    /// [`SessionStatus::Denied`] or [`SessionStatus::Failed`].
    pub status: SessionStatus,
    /// Why.
    pub reason: &'a str,
    /// Whether Meta was asked to exchange a code, in vain.
    pub is_failed_exchange: bool,
}

/// Where a session stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SessionState {
    /// Nobody has come back yet.
    Open,
    /// The person refused, for this reason. They may change their mind while the session lives.
    Denied(Option<String>),
    /// The last attempt failed in this way. Another may be made while the session lives.
    Failed(Option<String>),
    /// An account was connected.
    Connected {
        /// Whose account it is.
        user_id: UserId,
        /// The hash of the completion code, which only the browser that finished was given.
        completion_hash: String,
    },
    /// The completion code was redeemed.
    Completed {
        /// Whose account it is.
        user_id: UserId,
        /// The hash of the code. Rows of the first release do not keep it.
        completion_hash: Option<String>,
        /// The call that redeemed it: a random text.
        by: String,
        /// When.
        at: Timestamp,
    },
}

threads_graph::names! {
    /// Where a session stands, by the name in the table and in answers.
    pub enum SessionStatus {
        /// Nobody has come back yet.
        Open => "open",
        /// An account was connected; the completion code that its browser got tells which.
        Connected => "connected",
        /// The person refused.
        Denied => "denied",
        /// The last attempt failed.
        Failed => "failed",
        /// Nobody can use it any more. Only answers say so; a row keeps the status that it had.
        Expired => "expired",
    }
}

impl Session {
    /// Where it stands at `now`, as programs see it: a session that nobody can use any more is
    /// expired.
    #[must_use]
    pub fn status_at(&self, now: Timestamp) -> SessionStatus {
        let is_over = self.expires_at <= now;
        match self.state {
            SessionState::Open | SessionState::Connected { .. } if is_over => SessionStatus::Expired,
            _ => self.state.status(),
        }
    }

    /// Whether no other attempt can be made in it: an account was connected, or too many attempts
    /// have failed.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        match self.state {
            SessionState::Connected { .. } | SessionState::Completed { .. } => true,
            SessionState::Open | SessionState::Denied(_) | SessionState::Failed(_) => {
                self.failures >= MOST_FAILURES
            }
        }
    }

    /// Why it was denied, or the class of its failure.
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
    /// The name of the state in the table.
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
