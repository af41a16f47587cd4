//! How a session lies in its row, and its writes: the only place that looks at absent attributes of
//! a session.

use jiff::Timestamp;
use threads_graph::UserId;

use crate::Attribute as A;
use crate::Condition::{Above, All, Exists, Is, IsNot};
use crate::{Change, Condition, Inconsistency, Key, Row, Session, SessionState, SessionStatus, Value};

/// A session's row stays this long after it closed, for the backend to look at.
const KEPT_SECONDS: i64 = 86_400;

impl Session {
    /// Reads a row of `table`.
    ///
    /// # Errors
    /// When something that its state needs is missing or malformed.
    pub fn from_row(table: &str, row: &Row) -> Result<Self, Inconsistency> {
        let row = row.reader(table);
        let state = match row.needed(A::Status)? {
            SessionStatus::Open => SessionState::Open,
            SessionStatus::Denied => SessionState::Denied(row.optional(A::Reason)),
            SessionStatus::Failed => SessionState::Failed(row.optional(A::Reason)),
            SessionStatus::Connected => {
                let user_id = row.needed(A::ConnectedUserId)?;
                match row.time(A::CompletedAt) {
                    Some(at) => SessionState::Completed { user_id, by: row.needed(A::CompletedBy)?, at },
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
            user_id: match row.row.get(A::UserId) {
                None => None,
                Some(_) => Some(row.needed(A::UserId)?),
            },
            expires_at: row.needed_time(A::ExpiresAt)?,
            state,
        })
    }

    /// The row of a session that was just created.
    #[must_use]
    pub fn to_row(&self) -> Row {
        let mut row: Row = [
            (A::Pk, Key::session(&self.id).as_str().into()),
            (A::Id, self.id.as_str().into()),
            (A::Reference, self.reference.as_str().into()),
            (A::ExpiresAt, self.expires_at.into()),
            (A::Status, self.state.status().as_str().into()),
            (A::Ttl, (self.expires_at.as_second() + KEPT_SECONDS).into()),
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
        if let Some(user_id) = &self.user_id {
            row.set(A::UserId, user_id.as_str());
        }
        row
    }
}

impl SessionState {
    /// Notes how the last attempt ended, unless an account was connected.
    #[must_use]
    pub fn note(id: &str, status: SessionStatus, reason: &str) -> Change {
        Change::of(Key::session(id), "note how a session ended", open())
            .set(A::Status, status.as_str())
            .set(A::Reason, reason)
    }

    /// Closes an open session with the account that was connected in it.
    #[must_use]
    pub fn connect(id: &str, user_id: &UserId, completion_hash: &str, now: Timestamp) -> Change {
        Change::of(Key::session(id), "connect a session", open().and(Above(A::ExpiresAt, now.into())))
            .set(A::Status, SessionStatus::Connected.as_str())
            .set(A::ConnectedUserId, user_id.as_str())
            .set(A::CompletionHash, completion_hash)
            .remove(&[A::Reason])
    }

    /// Redeems the completion code with this hash for `call`, a random text.
    #[must_use]
    pub fn complete(id: &str, completion_hash: &str, call: &str, now: Timestamp) -> Change {
        let when = All(vec![
            Is(A::Status, SessionStatus::Connected.as_str().into()),
            Is(A::CompletionHash, completion_hash.into()),
            Above(A::ExpiresAt, now.into()),
        ]);
        Change::of(Key::session(id), "complete a session", when)
            .set(A::CompletedAt, now)
            .set(A::CompletedBy, call)
            .remove(&[A::CompletionHash])
    }
}

fn open() -> Condition {
    Exists(A::Pk).and(IsNot(A::Status, SessionStatus::Connected.as_str().into()))
}
