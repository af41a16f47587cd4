//! The conversion between a session and its row, and its writes: the only place that handles a
//! session's absent attributes.

use jiff::Timestamp;
use threads_graph::UserId;

use crate::Attribute as A;
use crate::Condition::{Above, Absent, All, Exists, Is, IsNot};
use crate::session::TIME_TO_COMPLETE;
use crate::{
    Attempt, Change, Condition, Inconsistency, Key, Row, Session, SessionState, SessionStatus, Value,
    schedule,
};

/// Seconds for which a session's row is kept after its expiry, for the backend to read.
const KEPT_SECONDS: i64 = 86_400;

impl Session {
    /// Reads a row of `table`.
    ///
    /// # Errors
    /// Returns [`Inconsistency`] if an attribute that the session's state needs is missing or
    /// malformed.
    pub fn from_row(table: &str, row: &Row) -> Result<Self, Inconsistency> {
        let row = row.reader(table);
        let state = match row.needed(A::Status)? {
            SessionStatus::Open => SessionState::Open,
            SessionStatus::Denied => SessionState::Denied(row.optional(A::Reason)),
            SessionStatus::Failed => SessionState::Failed(row.optional(A::Reason)),
            SessionStatus::Connected => {
                let user_id = row.needed(A::ConnectedUserId)?;
                match row.time(A::CompletedAt) {
                    Some(at) => SessionState::Completed {
                        user_id,
                        completion_hash: row.optional(A::CompletionHash),
                        by: row.needed(A::CompletedBy)?,
                        at,
                    },
                    None => {
                        SessionState::Connected { user_id, completion_hash: row.needed(A::CompletionHash)? }
                    }
                }
            }
            SessionStatus::Expired => return Err(row.inconsistency(A::Status)),
        };
        let scopes = match row.row.get(A::Scopes) {
            None => None,
            Some(Value::List(words)) => Some(words.iter().filter_map(|word| word.parse().ok()).collect()),
            Some(_) => return Err(row.inconsistency(A::Scopes)),
        };
        Ok(Self {
            id: row.needed(A::Id)?,
            reference: row.needed(A::Reference)?,
            scopes,
            return_to: row.optional(A::ReturnTo),
            ui_locales: row.optional(A::UiLocales),
            user_id: match row.row.get(A::UserId) {
                None => None,
                Some(_) => Some(row.needed(A::UserId)?),
            },
            expires_at: row.needed_time(A::ExpiresAt)?,
            failures: row.optional(A::Failures).unwrap_or(0),
            state,
        })
    }

    /// Returns the row of a session that was just created.
    #[must_use]
    pub fn to_row(&self) -> Row {
        let mut row: Row = [
            (A::Pk, Key::session(&self.id).as_str().into()),
            (A::Id, self.id.as_str().into()),
            (A::Reference, self.reference.as_str().into()),
            (A::ExpiresAt, self.expires_at.into()),
            (A::Status, self.state.status().as_str().into()),
            (A::Ttl, ttl(self.expires_at)),
        ]
        .into_iter()
        .collect();
        if let Some(scopes) = &self.scopes {
            let words = scopes.iter().map(|scope| scope.to_string()).collect();
            row.set(A::Scopes, Value::List(words));
        }
        if let Some(return_to) = &self.return_to {
            row.set(A::ReturnTo, return_to.as_str());
        }
        if let Some(ui_locales) = &self.ui_locales {
            row.set(A::UiLocales, ui_locales.as_str());
        }
        if let Some(user_id) = &self.user_id {
            row.set(A::UserId, user_id.as_str());
        }
        row
    }

    /// Returns the change that records the end of an attempt, unless the session already holds the
    /// same end or is closed. Every end after the first is counted, so that the number of writes is
    /// limited. The change is refused if the session has changed since it was read.
    #[must_use]
    pub fn note(&self, attempt: Attempt<'_>) -> Option<Change> {
        let Attempt { status, reason, is_failed_exchange } = attempt;
        let is_first = self.state == SessionState::Open;
        let is_news = self.state.status() != status || self.reason() != Some(reason);
        if self.is_closed() || !(is_news || is_failed_exchange) {
            return None;
        }
        let unchanged = match self.failures {
            0 => Absent(A::Failures),
            failures => Is(A::Failures, i64::from(failures).into()),
        };
        let when = open().and(Is(A::Status, self.state.status().as_str().into())).and(unchanged);
        let change = Change::of(Key::session(&self.id), "record a session's end", when)
            .set(A::Status, status.as_str())
            .set(A::Reason, reason);
        let counts = is_failed_exchange || !is_first;
        Some(if counts { change.set(A::Failures, i64::from(self.failures) + 1) } else { change })
    }

    /// Closes the session with the account that was connected in it. The account ends at
    /// `unclaimed_until` if nobody claims it. The time to complete the session starts now, even if
    /// the person came late.
    #[must_use]
    pub fn connect(
        &self,
        user_id: &UserId,
        completion_hash: &str,
        unclaimed_until: Option<Timestamp>,
        now: Timestamp,
    ) -> Change {
        let expires_at = self.completable_until(now);
        Change::of(Key::session(&self.id), "connect a session", open().and(Above(A::ExpiresAt, now.into())))
            .set(A::Status, SessionStatus::Connected.as_str())
            .set(A::ConnectedUserId, user_id.as_str())
            .set(A::CompletionHash, completion_hash)
            .set(A::ExpiresAt, expires_at)
            .set(A::Ttl, ttl(unclaimed_until.map_or(expires_at, |until| until.max(expires_at))))
            // An open session has no completion, unless its row is damaged.
            .remove(&[A::Reason, A::CompletedAt, A::CompletedBy])
    }

    /// Returns the deadline for the completion, if an account is connected in the session now.
    #[must_use]
    pub fn completable_until(&self, now: Timestamp) -> Timestamp {
        self.expires_at.max(schedule::add(now, TIME_TO_COMPLETE.as_secs()))
    }
}

impl SessionState {
    /// Redeems the completion code with this hash for `call`, a random text. The hash is kept, so
    /// that a repeated call gets the same response.
    #[must_use]
    pub fn complete(id: &str, completion_hash: &str, call: &str, now: Timestamp) -> Change {
        let when = All(vec![
            Is(A::Status, SessionStatus::Connected.as_str().into()),
            Is(A::CompletionHash, completion_hash.into()),
            Absent(A::CompletedAt),
            Above(A::ExpiresAt, now.into()),
        ]);
        Change::of(Key::session(id), "complete a session", when)
            .set(A::CompletedAt, now)
            .set(A::CompletedBy, call)
    }
}

fn ttl(over_at: Timestamp) -> Value {
    (over_at.as_second() + KEPT_SECONDS).into()
}

fn open() -> Condition {
    Exists(A::Pk).and(IsNot(A::Status, SessionStatus::Connected.as_str().into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A caller reads the row before it writes, so only the condition detects a write in between.
    #[test]
    fn a_sessions_row_changes_once_and_in_time() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let user_id = "17841400000000001".parse().unwrap();
        let session = Session {
            id: "session".to_owned(),
            reference: "user-7".to_owned(),
            scopes: None,
            return_to: None,
            ui_locales: None,
            user_id: None,
            expires_at: at(3_600),
            failures: 0,
            state: SessionState::Open,
        };
        let open = session.to_row();
        let connect = |now| session.connect(&user_id, "hash", None, at(now));
        let holds = |now: i64| connect(now).apply(open.clone()).is_some();
        assert_eq!([0, 3_599, 3_600].map(holds), [true, true, false]);

        let connected = connect(0).apply(open.clone()).unwrap();
        assert_eq!(connect(1).apply(connected.clone()), None);
        let complete = |row: &Row, hash, now| {
            SessionState::complete("session", hash, "call", at(now)).apply(row.clone())
        };
        let redeems = |(hash, now)| complete(&connected, hash, now).is_some();
        let tried = [("hash", 3_599), ("hash", 3_600), ("other", 1)];
        assert_eq!(tried.map(redeems), [true, false, false]);
        let completed = complete(&connected, "hash", 1).unwrap();
        assert_eq!(complete(&completed, "hash", 2), None);

        let failed =
            Attempt { status: SessionStatus::Failed, reason: "code_refused", is_failed_exchange: true };
        let note = session.note(failed).unwrap();
        let noted = note.apply(open).unwrap();
        for later in [connected, completed, noted] {
            assert_eq!(note.apply(later), None);
        }
    }

    #[test]
    fn an_open_session_whose_row_says_completed_connects_and_is_read_back() {
        let user_id = "17841400000000001".parse().unwrap();
        let row: Row = [
            (A::Pk, Key::session("session").as_str().into()),
            (A::Id, "session".into()),
            (A::Reference, "user-7".into()),
            (A::ExpiresAt, 3_600_i64.into()),
            (A::Status, SessionStatus::Open.as_str().into()),
            (A::CompletedAt, 7_i64.into()),
        ]
        .into_iter()
        .collect();
        let session = Session::from_row("short-lived", &row).unwrap();
        let connect = session.connect(&user_id, "hash", None, Timestamp::UNIX_EPOCH);
        let connected = Session::from_row("short-lived", &connect.apply(row).unwrap()).unwrap();
        assert_eq!(connected.state.status(), SessionStatus::Connected);
        assert!(matches!(connected.state, SessionState::Connected { .. }));
    }
}
