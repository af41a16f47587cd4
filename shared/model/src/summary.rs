//! A grant as it is shown to the app's people and programs.

use jiff::Timestamp;
use serde::Serialize;
use threads_graph::{Scopes, UserId};

use crate::{Cause, Grant, RevokedBy, ScopesSource, State, Status};

/// Everything of a grant but its tokens.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    /// Whose it is.
    pub user_id: UserId,
    /// The profile's username, if Meta told it.
    pub username: Option<String>,
    /// Where it stands.
    pub status: Status,
    /// Why it needs the person again, or who revoked it.
    pub cause: Option<&'static str>,
    /// The granted scopes, as far as `scopes_source` knows them.
    pub scopes: Scopes,
    /// Who says so.
    pub scopes_source: ScopesSource,
    /// When Meta issued the token.
    pub issued_at: Option<Timestamp>,
    /// When the token expires.
    pub expires_at: Option<Timestamp>,
    /// When the app loses access to the person's data, if Meta told it.
    pub data_access_expires_at: Option<Timestamp>,
    /// When the next sweep looks at it.
    pub due_at: Option<Timestamp>,
    /// When the token was last refreshed.
    pub refreshed_at: Option<Timestamp>,
    /// When the person last consented.
    pub connected_at: Timestamp,
    /// When the person first consented.
    pub created_at: Timestamp,
    /// Failures in a row.
    pub failures: u32,
    /// The class of the last failure.
    pub last_error: Option<String>,
    /// Whether a consent waits for its long-lived token.
    pub pending: bool,
    /// The user of the app who claimed the account, by the backend's own name.
    pub reference: Option<String>,
    /// When the account ends if nobody claims it.
    pub unclaimed_until: Option<Timestamp>,
    /// Since when Meta has refused the token in a way that is not believed yet.
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
