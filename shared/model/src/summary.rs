//! The public view of a grant, for the app's operators and programs.

use jiff::Timestamp;
use serde::Serialize;
use threads_graph::{Scopes, UserId};

use crate::{Cause, Grant, RevokedBy, ScopesSource, State, Status};

/// Everything about a grant except its tokens.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    /// The Threads user id.
    pub user_id: UserId,
    /// The profile's username, if Meta reported it.
    pub username: Option<String>,
    /// The status.
    pub status: Status,
    /// The cause for which the grant needs the person's consent again, or the party that revoked
    /// it.
    pub cause: Option<&'static str>,
    /// The granted scopes, as far as `scopes_source` knows them.
    pub scopes: Scopes,
    /// The source of the scopes.
    pub scopes_source: ScopesSource,
    /// Time at which Meta issued the token.
    pub issued_at: Option<Timestamp>,
    /// Expiry of the token.
    pub expires_at: Option<Timestamp>,
    /// End of the app's access to the person's data, if Meta reported it.
    pub data_access_expires_at: Option<Timestamp>,
    /// Time at which a sweep next processes the grant.
    pub due_at: Option<Timestamp>,
    /// Time of the last refresh.
    pub refreshed_at: Option<Timestamp>,
    /// Time of the person's last consent.
    pub connected_at: Timestamp,
    /// Time of the person's first consent.
    pub created_at: Timestamp,
    /// Consecutive failures.
    pub failures: u32,
    /// The class of the last failure.
    pub last_error: Option<String>,
    /// True if a consent is waiting for its long-lived token.
    pub pending: bool,
    /// The user who claimed the account, by the backend's own name.
    pub reference: Option<String>,
    /// Time at which the account ends if nobody claims it.
    pub unclaimed_until: Option<Timestamp>,
    /// Time of Meta's first refusal of the token, if it is not confirmed yet.
    pub suspected_at: Option<Timestamp>,
}

impl From<Grant> for Summary {
    fn from(grant: Grant) -> Self {
        let live = grant.live();
        Self {
            status: grant.status(),
            cause: match grant.state {
                State::Revoked(by, _) => by.map(RevokedBy::as_str),
                _ => grant.cause().map(Cause::as_str),
            },
            issued_at: live.map(|live| live.issued_at),
            expires_at: live.map(|live| live.expires_at),
            data_access_expires_at: live.and_then(|live| live.data_access_expires_at),
            refreshed_at: live.and_then(|live| live.refreshed_at),
            pending: grant.consent().is_some(),
            suspected_at: live.and_then(|live| live.suspicion).map(|suspicion| suspicion.since),
            reference: grant.claim.owner().map(|owner| owner.reference.clone()),
            unclaimed_until: grant.claim.until(),
            user_id: grant.user_id,
            username: grant.username,
            scopes: grant.scopes,
            scopes_source: grant.scopes_source,
            due_at: grant.due_at,
            connected_at: grant.connected_at,
            created_at: grant.created_at,
            failures: grant.failures,
            last_error: grant.last_error,
        }
    }
}
