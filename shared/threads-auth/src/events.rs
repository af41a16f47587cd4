//! What changed of an account, as events for the app's backend.
//!
//! Owns the events' shapes and when each happens: they follow from a row as it was and as it is, and from nothing else, so that
//! whoever reads the table's stream can tell them, and none is lost when a process dies after its write. Refuses to hold a secret.

use jiff::Timestamp;
use serde::Serialize;
use threads_graph::{Scope, UserId};

use crate::grant::{Cause, Deadline, Grant, RevokedBy, Status};

/// `source` of our events on EventBridge.
pub const SOURCE: &str = "threads-auth";

/// The version of [`Event`]'s shape. Fields may be added within one; a new one is for what would break a reader.
pub const VERSION: &str = "1";

/// What happened, with what belongs to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "type")]
pub enum Happened {
    /// A person connected their account.
    #[serde(rename = "account.connected")]
    Connected {
        /// Whether it was connected before, and worked.
        reconnected: bool,
    },
    /// The token was refreshed.
    #[serde(rename = "account.refreshed")]
    Refreshed,
    /// The token is dead; only the person can bring the account back.
    #[serde(rename = "account.needs_reauthorization")]
    NeedsReauthorization {
        /// Why.
        cause: &'static str,
    },
    /// The person came back, and the account works again.
    #[serde(rename = "account.recovered")]
    Recovered,
    /// The person grants more or less than before.
    #[serde(rename = "account.scopes_changed")]
    ScopesChanged {
        /// What was taken back.
        lost: Vec<Scope>,
        /// What was added.
        gained: Vec<Scope>,
    },
    /// The grant was ended, and its tokens are destroyed.
    #[serde(rename = "account.disconnected")]
    Disconnected {
        /// By whom: the person at Threads, or the app.
        by: Option<RevokedBy>,
    },
    /// Everything about the person is erased.
    #[serde(rename = "account.deleted")]
    Deleted,
    /// The token, or the access to the person's data, is about to end.
    #[serde(rename = "account.expiring_soon")]
    ExpiringSoon {
        /// Which of the two.
        deadline: Deadline,
        /// Fewer days than this are left: 14, and later 3.
        days: u8,
    },
}

impl Happened {
    /// `detail-type` on EventBridge.
    #[must_use]
    pub fn detail_type(&self) -> &'static str {
        match self {
            Self::Connected { .. } => "account.connected",
            Self::Refreshed => "account.refreshed",
            Self::NeedsReauthorization { .. } => "account.needs_reauthorization",
            Self::Recovered => "account.recovered",
            Self::ScopesChanged { .. } => "account.scopes_changed",
            Self::Disconnected { .. } => "account.disconnected",
            Self::Deleted => "account.deleted",
            Self::ExpiringSoon { .. } => "account.expiring_soon",
        }
    }
}

/// How an account stands after what happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Account {
    /// The profile's username, if Meta told it.
    pub username: Option<String>,
    /// [`Status::as_str`].
    pub status: &'static str,
    /// What the person grants.
    pub scopes: Vec<Scope>,
    /// When the token expires, if there is one.
    pub expires_at: Option<Timestamp>,
    /// When the app loses access to the person's data, if Meta told it.
    pub data_access_expires_at: Option<Timestamp>,
}

/// One event: `detail` on EventBridge.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Event {
    /// [`VERSION`].
    pub version: &'static str,
    /// The same whenever this event is delivered again, and different from every other's.
    pub id: String,
    /// When it happened.
    pub time: Timestamp,
    /// Whose account it is.
    pub user_id: UserId,
    /// What happened.
    #[serde(flatten)]
    pub happened: Happened,
    /// How the account stands; absent when it is deleted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account: Option<Account>,
}

/// The events that a change of a row means: from none to three. `id` is the change's own; `now` is when it is read, which counts
/// for a deletion only, since what is deleted has no time.
#[must_use]
pub fn events(id: &str, old: Option<&Grant>, new: Option<&Grant>, now: Timestamp) -> Vec<Event> {
    let (happened, grant, time) = match (old, new) {
        (_, Some(new)) => (changed(old, new), new, new.updated_at),
        (Some(old), None) => (vec![Happened::Deleted], old, whole_second(now)),
        (None, None) => return Vec::new(),
    };
    let account = new.map(|grant| Account {
        username: grant.username.clone(),
        status: grant.status.as_str(),
        scopes: grant.scopes.iter().collect(),
        expires_at: grant.token.as_ref().map(|token| token.expires_at),
        data_access_expires_at: grant.data_access_expires_at,
    });
    happened
        .into_iter()
        .map(|happened| Event {
            version: VERSION,
            id: format!("{id}:{}", happened.detail_type()),
            time,
            user_id: grant.user_id.clone(),
            happened,
            account: account.clone(),
        })
        .collect()
}

/// The event of a deletion of which only the key is left to read.
#[must_use]
pub fn deleted(id: &str, user_id: UserId, now: Timestamp) -> Event {
    Event {
        version: VERSION,
        id: format!("{id}:{}", Happened::Deleted.detail_type()),
        time: whole_second(now),
        user_id,
        happened: Happened::Deleted,
        account: None,
    }
}

/// As the tables keep every other time.
fn whole_second(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}

fn changed(old: Option<&Grant>, new: &Grant) -> Vec<Happened> {
    let was = old.map(|old| old.status);
    let same_grant = old.filter(|old| old.grant_id == new.grant_id);
    let mut happened = Vec::new();
    match new.status {
        Status::Active if was != Some(Status::Active) || same_grant.is_none() => happened.push(match was {
            Some(Status::NeedsReauthorization(_)) => Happened::Recovered,
            was => Happened::Connected {
                reconnected: was == Some(Status::Active),
            },
        }),
        Status::Active => {
            if same_grant.is_some_and(|old| old.refreshed_at != new.refreshed_at) {
                happened.push(Happened::Refreshed);
            }
        }
        Status::NeedsReauthorization(cause) if was != Some(new.status) => {
            happened.push(Happened::NeedsReauthorization {
                cause: Cause::as_str(cause),
            });
        }
        Status::Revoked if was != Some(Status::Revoked) => {
            happened.push(Happened::Disconnected { by: new.revoked_by });
        }
        Status::Pending | Status::NeedsReauthorization(_) | Status::Revoked => {}
    }
    // Compared with what a token was good for, whoever brought the new one; a grant that is ended grants nothing to compare.
    let granted = old.filter(|old| old.token.is_some() && new.token.is_some());
    if let Some(old) = granted.filter(|old| old.scopes != new.scopes) {
        happened.push(Happened::ScopesChanged {
            lost: old
                .scopes
                .iter()
                .filter(|scope| !new.scopes.contains(*scope))
                .collect(),
            gained: new
                .scopes
                .iter()
                .filter(|scope| !old.scopes.contains(*scope))
                .collect(),
        });
    }
    if let Some(warning) = new.warning
        && new.status == Status::Active
        && old.is_none_or(|old| old.warning != new.warning)
    {
        let (deadline, days) = (warning.of, warning.days);
        happened.push(Happened::ExpiringSoon { deadline, days });
    }
    happened
}
