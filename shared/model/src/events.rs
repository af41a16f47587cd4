//! The events of an account, for the app's backend.
//!
//! Owns the events' shapes and when each happens: they follow from a row as it was and as it is,
//! and from nothing else, so that whoever reads the table's stream can tell them, and none is lost
//! when a process dies after its write. Refuses to hold a secret.

use jiff::Timestamp;
use serde::Serialize;
use threads_graph::{Scope, UserId};

use crate::{
    Attribute, Cause, Claim, Deadline, FailureClass, Grant, RevokedBy, Row, ScopesSource, State, Status,
    Warning,
};

/// `source` of our events on EventBridge.
pub const SOURCE: &str = "threads-auth";

/// The version of [`Event`]'s shape. Fields may be added within one; a new one is for what would
/// break a reader.
pub const VERSION: &str = "1";

threads_graph::names! {
    /// The kinds of events: `type` in an event, `detail-type` on EventBridge.
    pub enum EventKind {
        /// A person connected their account.
        Connected => "account.connected",
        /// A user of the app has claimed the account: the session that brought it was completed.
        Claimed => "account.claimed",
        /// The token was refreshed.
        Refreshed => "account.refreshed",
        /// The token is dead; only the person can bring the account back, unless Meta takes the
        /// token again (`account.recovered`).
        NeedsReauthorization => "account.needs_reauthorization",
        /// The account works again: the person came back, or Meta takes its token again.
        Recovered => "account.recovered",
        /// The person grants more or less than before.
        ScopesChanged => "account.scopes_changed",
        /// The grant was ended, and its tokens are destroyed.
        Disconnected => "account.disconnected",
        /// Everything about the person is erased.
        Deleted => "account.deleted",
        /// The token, the access to the person's data, or an account that nobody has claimed is
        /// about to end.
        ExpiringSoon => "account.expiring_soon",
        /// The account's row does not make sense, so that its token is not kept alive. An operator
        /// has to see to it.
        Unreadable => "account.unreadable",
    }
}

/// The change that an event tells, with its details.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Happened {
    /// [`EventKind::Connected`].
    Connected {
        /// Whether it was connected before, and worked.
        reconnected: bool,
        /// The connect session, if it came through one. It does not say whose the account is.
        #[serde(skip_serializing_if = "Option::is_none")]
        session_id: Option<String>,
    },
    /// [`EventKind::Claimed`].
    Claimed {
        /// The backend's own name for its user.
        reference: String,
    },
    /// [`EventKind::Refreshed`].
    Refreshed {},
    /// [`EventKind::NeedsReauthorization`].
    NeedsReauthorization {
        /// Why.
        cause: &'static str,
    },
    /// [`EventKind::Recovered`].
    Recovered {},
    /// [`EventKind::ScopesChanged`].
    ScopesChanged {
        /// The scopes that were taken back.
        lost: Vec<Scope>,
        /// The scopes that were added.
        gained: Vec<Scope>,
    },
    /// [`EventKind::Disconnected`].
    Disconnected {
        /// By whom: the person at Threads, or the app; or nobody has claimed it.
        by: Option<RevokedBy>,
    },
    /// [`EventKind::Deleted`].
    Deleted {},
    /// [`EventKind::ExpiringSoon`].
    ExpiringSoon {
        /// Which of them.
        deadline: Deadline,
        /// Fewer days than this are left: 14, and later 3; 1 for an account that nobody has
        /// claimed.
        days: u8,
    },
    /// [`EventKind::Unreadable`].
    Unreadable {},
}

impl Happened {
    /// Its kind.
    #[must_use]
    pub fn kind(&self) -> EventKind {
        match self {
            Self::Connected { .. } => EventKind::Connected,
            Self::Claimed { .. } => EventKind::Claimed,
            Self::Refreshed {} => EventKind::Refreshed,
            Self::NeedsReauthorization { .. } => EventKind::NeedsReauthorization,
            Self::Recovered {} => EventKind::Recovered,
            Self::ScopesChanged { .. } => EventKind::ScopesChanged,
            Self::Disconnected { .. } => EventKind::Disconnected,
            Self::Deleted {} => EventKind::Deleted,
            Self::ExpiringSoon { .. } => EventKind::ExpiringSoon,
            Self::Unreadable {} => EventKind::Unreadable,
        }
    }
}

/// How an account stands after what happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Account {
    /// The profile's username, if Meta told it.
    pub username: Option<String>,
    /// Where it stands.
    pub status: Status,
    /// The granted scopes, as far as `scopes_source` knows them.
    pub scopes: Vec<Scope>,
    /// Who says so.
    pub scopes_source: ScopesSource,
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
    /// The kind of [`happened`](Self::happened).
    #[serde(rename = "type")]
    pub kind: EventKind,
    /// The change.
    #[serde(flatten)]
    pub happened: Happened,
    /// How the account stands; absent when it is deleted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account: Option<Account>,
}

impl Event {
    /// The event of what happened in the change named `change_id`.
    fn of(
        change_id: &str,
        time: Timestamp,
        user_id: &UserId,
        happened: Happened,
        account: Option<Account>,
    ) -> Self {
        let kind = happened.kind();
        Self {
            version: VERSION,
            id: format!("{change_id}:{kind}"),
            time,
            user_id: user_id.clone(),
            kind,
            happened,
            account,
        }
    }
}

/// The events that a change of a row means: from none to four. `id` is the change's own; `now` is
/// when it is read, which counts for a deletion only, since a deleted row has no time.
#[must_use]
pub fn events(id: &str, old: Option<&Grant>, new: Option<&Grant>, now: Timestamp) -> Vec<Event> {
    let Some(new) = new else {
        let deletion = old.map(|old| deleted(id, &old.user_id, now));
        return deletion.into_iter().collect();
    };
    let live = new.live();
    let account = Account {
        username: new.username.clone(),
        status: new.status(),
        scopes: new.scopes.iter().collect(),
        scopes_source: new.scopes_source,
        expires_at: live.map(|live| live.expires_at),
        data_access_expires_at: live.and_then(|live| live.data_access_expires_at),
    };
    changed(old, new)
        .into_iter()
        .map(|happened| Event::of(id, new.updated_at, &new.user_id, happened, Some(account.clone())))
        .collect()
}

/// The events of a row that made no sense, and does now. If it is of the same generation, nobody
/// has connected: the account works again.
#[must_use]
pub fn mended(id: &str, was: &Row, new: &Grant, now: Timestamp) -> Vec<Event> {
    let mut told = events(id, None, Some(new), now);
    if was.text(Attribute::GrantId) != Some(&new.grant_id) {
        return told;
    }
    let reference = was.text(Attribute::Reference);
    told.retain(|event| {
        !matches!(&event.happened, Happened::Claimed { reference: of } if Some(of.as_str()) == reference)
    });
    for event in &mut told {
        if event.kind == EventKind::Connected {
            let account = event.account.take();
            *event = Event::of(id, event.time, &new.user_id, Happened::Recovered {}, account);
        }
    }
    told
}

/// The event of a deletion, of which perhaps only the key is left to read.
#[must_use]
pub fn deleted(id: &str, user_id: &UserId, now: Timestamp) -> Event {
    Event::of(id, in_seconds(now), user_id, Happened::Deleted {}, None)
}

/// The event of a row that does not make sense, once: when a sweep has found that.
#[must_use]
pub fn unreadable(id: &str, user_id: &UserId, old: &Row, new: &Row, now: Timestamp) -> Option<Event> {
    let is_marked = |row: &Row| row.text(Attribute::LastError) == Some(FailureClass::BrokenRow.as_str());
    let is_news = is_marked(new) && !is_marked(old);
    is_news.then(|| Event::of(id, in_seconds(now), user_id, Happened::Unreadable {}, None))
}

/// As the tables keep every time.
fn in_seconds(now: Timestamp) -> Timestamp {
    Timestamp::from_second(now.as_second()).unwrap_or(now)
}

fn changed(old: Option<&Grant>, new: &Grant) -> Vec<Happened> {
    let was = old.map(Grant::status);
    let same_grant = old.filter(|old| old.grant_id == new.grant_id);
    let refreshed_at = |grant: &Grant| grant.live().and_then(|live| live.refreshed_at);
    let mut happened = Vec::new();
    match &new.state {
        State::Active(..) if was != Some(Status::Active) || same_grant.is_none() => {
            happened.push(match was {
                Some(Status::NeedsReauthorization) => Happened::Recovered {},
                was => Happened::Connected {
                    reconnected: was == Some(Status::Active),
                    session_id: new.session_id.clone(),
                },
            });
        }
        State::Active(..) => {
            if same_grant.is_some_and(|old| refreshed_at(old) != refreshed_at(new)) {
                happened.push(Happened::Refreshed {});
            }
        }
        State::Final(cause, _) | State::Appealable(cause, ..) => {
            if old.and_then(Grant::cause) != Some(*cause) {
                happened.push(Happened::NeedsReauthorization { cause: Cause::as_str(*cause) });
            }
        }
        State::Revoked(by, _) if was != Some(Status::Revoked) => {
            happened.push(Happened::Disconnected { by: *by });
        }
        State::New(_) | State::Revoked(..) => {}
    }
    // Compared with the scopes of a token, whoever brought the new one; a grant that is ended
    // grants nothing to compare.
    let granted = old.filter(|old| old.has_granted() && new.has_granted());
    if let Some(old) = granted.filter(|old| old.scopes != new.scopes) {
        let beyond = |some: &Grant, other: &Grant| {
            let scopes = some.scopes.iter();
            scopes.filter(|scope| !other.scopes.contains(*scope)).collect()
        };
        happened.push(Happened::ScopesChanged { lost: beyond(old, new), gained: beyond(new, old) });
    }
    if let State::Active(live, _) = &new.state
        && let Some(Warning { of, days }) = live.warning
        && old.and_then(Grant::live).and_then(|live| live.warning) != live.warning
    {
        happened.push(Happened::ExpiringSoon { deadline: of, days });
    }
    if let Claim::Unclaimed { is_announced: true, .. } = new.claim
        && old.is_some_and(|old| matches!(old.claim, Claim::Unclaimed { is_announced: false, .. }))
    {
        happened.push(Happened::ExpiringSoon { deadline: Deadline::Claim, days: 1 });
    }
    if let Some(owner) = new.claim.owner()
        && old.and_then(|old| old.claim.owner()) != Some(owner)
    {
        happened.push(Happened::Claimed { reference: owner.reference.clone() });
    }
    happened
}
