//! The events of an account, which the app's backend receives.
//!
//! Owns the events' shapes and the rules that create them. Events follow only from a row's old and
//! new image. A reader of the table's stream can therefore derive them, and none is lost if a
//! process dies after its write. Refuses to hold a secret.

use jiff::Timestamp;
use serde::Serialize;
use threads_graph::{Scope, UserId};

use crate::{
    Attribute, Cause, Claim, Deadline, FailureClass, Grant, RevokedBy, Row, ScopesSource, State, Status,
    Warning,
};

/// `source` of our events on EventBridge.
pub const SOURCE: &str = "threads-auth";

/// The version of [`Event`]'s shape. Fields may be added within a version; a change that breaks a
/// reader gets a new version.
pub const VERSION: &str = "1";

threads_graph::names! {
    /// The kinds of events: `type` in an event, `detail-type` on EventBridge.
    pub enum EventKind {
        /// A person connected their account.
        Connected => "account.connected",
        /// The account belongs to a user of the app from now on: that user has completed the
        /// session that connected it, or the app's backend has assigned it.
        Claimed => "account.claimed",
        /// The token was refreshed.
        Refreshed => "account.refreshed",
        /// The token is dead. Only the person can bring the account back, unless Meta accepts the
        /// token again (`account.recovered`).
        NeedsReauthorization => "account.needs_reauthorization",
        /// The account works again: the person came back, or Meta accepts its token again.
        Recovered => "account.recovered",
        /// The person granted more or fewer scopes than before.
        ScopesChanged => "account.scopes_changed",
        /// The grant ended, and its tokens were destroyed.
        Disconnected => "account.disconnected",
        /// Everything about the person was erased.
        Deleted => "account.deleted",
        /// The token, the access to the person's data, or an unclaimed account is about to end.
        ExpiringSoon => "account.expiring_soon",
        /// The account's row is inconsistent, so its token is not refreshed. An operator must
        /// repair it.
        Unreadable => "account.unreadable",
    }
}

/// The data of an event, by its kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum EventData {
    /// [`EventKind::Connected`].
    Connected {
        /// True if the account was connected before, and worked.
        reconnected: bool,
        /// The connect session, if the connect came through one. It does not identify the account's
        /// owner.
        #[serde(skip_serializing_if = "Option::is_none")]
        session_id: Option<String>,
    },
    /// [`EventKind::Claimed`].
    Claimed {},
    /// [`EventKind::Refreshed`].
    Refreshed {},
    /// [`EventKind::NeedsReauthorization`].
    NeedsReauthorization {
        /// The cause, by its name.
        cause: &'static str,
    },
    /// [`EventKind::Recovered`].
    Recovered {},
    /// [`EventKind::ScopesChanged`].
    ScopesChanged {
        /// The scopes that the person no longer grants.
        lost: Vec<Scope>,
        /// The scopes that the person newly grants.
        gained: Vec<Scope>,
    },
    /// [`EventKind::Disconnected`].
    Disconnected {
        /// The person at Threads or the app; or `unclaimed` if nobody claimed the account.
        by: Option<RevokedBy>,
    },
    /// [`EventKind::Deleted`].
    Deleted {},
    /// [`EventKind::ExpiringSoon`].
    ExpiringSoon {
        /// The deadline that is near.
        deadline: Deadline,
        /// The deadline is fewer than this many days away: 14, later 3; 1 for an unclaimed account.
        days: u8,
    },
    /// [`EventKind::Unreadable`].
    Unreadable {},
}

impl EventData {
    /// Returns its kind.
    #[must_use]
    pub fn kind(&self) -> EventKind {
        match self {
            Self::Connected { .. } => EventKind::Connected,
            Self::Claimed {} => EventKind::Claimed,
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

/// The state of an account after an event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Account {
    /// The profile's username, if Meta reported it.
    pub username: Option<String>,
    /// The status.
    pub status: Status,
    /// The granted scopes, as far as `scopes_source` knows them.
    pub scopes: Vec<Scope>,
    /// The source of the scopes.
    pub scopes_source: ScopesSource,
    /// Expiry of the token, if there is one.
    pub expires_at: Option<Timestamp>,
    /// End of the app's access to the person's data, if Meta reported it.
    pub data_access_expires_at: Option<Timestamp>,
}

/// One event: `detail` on EventBridge.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Event {
    /// [`VERSION`].
    pub version: &'static str,
    /// The same id at each delivery of this event, and different from all other events'.
    pub id: String,
    /// Time of the event.
    pub time: Timestamp,
    /// Position of its change among those of the same account: the sequence number of the table's
    /// stream, without leading zeros. Compare two positions by length first, then as text.
    pub order: String,
    /// The account's Threads user id.
    pub user_id: UserId,
    /// The app's own name for the user to whom the account belongs, if it is known. For an ended or
    /// deleted account, its last owner.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    /// The kind of [`data`](Self::data).
    #[serde(rename = "type")]
    pub kind: EventKind,
    /// The data, which depends on the kind.
    #[serde(flatten)]
    pub data: EventData,
    /// The state of the account; absent if it is deleted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account: Option<Account>,
}

/// A change of a row, as the table's stream names it.
#[derive(Clone, Copy, Debug)]
pub struct ChangeId<'a> {
    /// The id.
    pub id: &'a str,
    /// The sequence number: digits.
    pub number: &'a str,
}

impl ChangeId<'_> {
    /// Returns the number in its shortest form: only that form can be compared by length.
    fn order(self) -> String {
        match self.number.trim_start_matches('0') {
            "" => "0".to_owned(),
            digits => digits.to_owned(),
        }
    }

    fn event(self, time: Timestamp, user_id: &UserId, data: EventData) -> Event {
        let kind = data.kind();
        Event {
            version: VERSION,
            id: format!("{}:{kind}", self.id),
            time,
            order: self.order(),
            user_id: user_id.clone(),
            reference: None,
            kind,
            data,
            account: None,
        }
    }
}

/// Returns the events that follow from a change of a row: zero to four. `now` is the time of a
/// deletion, since a deleted row has none.
#[must_use]
pub fn events(change: ChangeId<'_>, old: Option<&Grant>, new: Option<&Grant>, now: Timestamp) -> Vec<Event> {
    let owned = |grant: Option<&Grant>| grant.and_then(|grant| reference(&grant.claim));
    let Some(new) = new else {
        let deletion =
            old.map(|old| Event { reference: owned(Some(old)), ..erased(change, &old.user_id, now) });
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
    // A backup's row may end an account, and lack its claim.
    let before = owned(old).filter(|_| matches!(new.state, State::Revoked(..)));
    let reference = owned(Some(new)).or(before);
    let event = |data| Event {
        reference: reference.clone(),
        account: Some(account.clone()),
        ..change.event(new.updated_at, &new.user_id, data)
    };
    let mut events = Vec::<Event>::new();
    for mut event in changed(old, new).into_iter().map(event) {
        // One change may announce two deadlines.
        if events.iter().any(|other| other.id == event.id) {
            event.id.push_str(":2");
        }
        events.push(event);
    }
    events
}

/// Returns the events of a row that was inconsistent and no longer is. If its generation is
/// unchanged, nobody has connected: the account has recovered.
#[must_use]
pub fn mended(change: ChangeId<'_>, was: &Row, new: &Grant, now: Timestamp) -> Vec<Event> {
    let mut events = events(change, None, Some(new), now);
    if was.text(Attribute::GrantId) != Some(&new.grant_id) {
        return events;
    }
    let known = was.text(Attribute::Reference);
    events.retain(|event| event.kind != EventKind::Claimed || event.reference.as_deref() != known);
    for event in &mut events {
        if event.kind == EventKind::Connected {
            let Event { reference, account, .. } = event.clone();
            let recovered = change.event(event.time, &new.user_id, EventData::Recovered {});
            *event = Event { reference, account, ..recovered };
        }
    }
    events
}

/// Returns the event of a deletion whose row was inconsistent, so that only its key and its claim
/// may be left to read.
#[must_use]
pub fn deleted(change: ChangeId<'_>, user_id: &UserId, old: &Row, now: Timestamp) -> Event {
    Event { reference: reference(&Claim::of(old)), ..erased(change, user_id, now) }
}

/// Returns the event of a row that a sweep has newly marked as inconsistent.
#[must_use]
pub fn unreadable(
    change: ChangeId<'_>,
    user_id: &UserId,
    old: &Row,
    new: &Row,
    now: Timestamp,
) -> Option<Event> {
    let is_marked = |row: &Row| row.text(Attribute::LastError) == Some(FailureClass::BrokenRow.as_str());
    let is_news = is_marked(new) && !is_marked(old);
    let event = || Event {
        reference: reference(&Claim::of(new)),
        ..change.event(in_seconds(now), user_id, EventData::Unreadable {})
    };
    is_news.then(event)
}

fn erased(change: ChangeId<'_>, user_id: &UserId, now: Timestamp) -> Event {
    change.event(in_seconds(now), user_id, EventData::Deleted {})
}

fn reference(claim: &Claim) -> Option<String> {
    claim.owner().map(|owner| owner.reference.clone())
}

/// Truncates to seconds, like all times in the tables.
fn in_seconds(now: Timestamp) -> Timestamp {
    Timestamp::from_second(now.as_second()).unwrap_or(now)
}

fn changed(old: Option<&Grant>, new: &Grant) -> Vec<EventData> {
    let was = old.map(Grant::status);
    let same_grant = old.filter(|old| old.grant_id == new.grant_id);
    let refreshed_at = |grant: &Grant| grant.live().and_then(|live| live.refreshed_at);
    let mut data = Vec::new();
    match &new.state {
        State::Active(..) if was != Some(Status::Active) || same_grant.is_none() => {
            data.push(match was {
                Some(Status::NeedsReauthorization) => EventData::Recovered {},
                was => EventData::Connected {
                    reconnected: was == Some(Status::Active),
                    session_id: new.session_id.clone(),
                },
            });
        }
        State::Active(..) => {
            if same_grant.is_some_and(|old| refreshed_at(old) != refreshed_at(new)) {
                data.push(EventData::Refreshed {});
            }
        }
        State::Final(cause, _) | State::Appealable(cause, ..) => {
            if old.and_then(Grant::cause) != Some(*cause) {
                data.push(EventData::NeedsReauthorization { cause: Cause::as_str(*cause) });
            }
        }
        State::Revoked(by, _) if was != Some(Status::Revoked) => {
            data.push(EventData::Disconnected { by: *by });
        }
        State::New(_) | State::Revoked(..) => {}
    }
    // The scopes are compared only while a token is held: an ended grant has none to compare.
    let granted = old.filter(|old| old.has_granted() && new.has_granted());
    if let Some(old) = granted.filter(|old| old.scopes != new.scopes) {
        let beyond = |some: &Grant, other: &Grant| {
            let scopes = some.scopes.iter();
            scopes.filter(|scope| !other.scopes.contains(*scope)).collect()
        };
        data.push(EventData::ScopesChanged { lost: beyond(old, new), gained: beyond(new, old) });
    }
    if let State::Active(live, _) = &new.state
        && let Some(Warning { of, days }) = live.warning
        && old.and_then(Grant::live).and_then(|live| live.warning) != live.warning
    {
        data.push(EventData::ExpiringSoon { deadline: of, days });
    }
    if let Claim::Unclaimed { is_announced: true, .. } = new.claim
        && old.is_some_and(|old| matches!(old.claim, Claim::Unclaimed { is_announced: false, .. }))
    {
        data.push(EventData::ExpiringSoon { deadline: Deadline::Claim, days: 1 });
    }
    if let Some(owner) = new.claim.owner()
        && old.and_then(|old| old.claim.owner()) != Some(owner)
    {
        data.push(EventData::Claimed {});
    }
    data
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_is_compared_by_its_length_and_then_as_text() {
        let order = |number| ChangeId { id: "id", number }.order();
        assert_eq!(order("000000000000000000123"), "123");
        assert_eq!((order("0"), order("000"), order("7")), ("0".to_owned(), "0".to_owned(), "7".to_owned()));
        let key = |number| {
            let order = order(number);
            (order.len(), order)
        };
        let mut numbers = ["10", "9", "000100", "00011", "2"];
        numbers.sort_by_key(|number| key(*number));
        assert_eq!(numbers, ["2", "9", "10", "00011", "000100"]);
    }
}
