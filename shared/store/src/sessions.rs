//! Connect sessions, in the table of short-lived rows.

use jiff::Timestamp;
use threads_auth_model::{Attribute, Key, Session, SessionState};

use crate::StoreError;
use crate::item::item;
use crate::table::{Changed, Store};

impl Store {
    /// Creates a session.
    ///
    /// # Errors
    /// When DynamoDB fails.
    pub async fn create_session(&self, session: &Session) -> Result<(), StoreError> {
        // Ids are random: a session of this one is our own first attempt, whose answer was lost.
        self.put_if_absent(&self.short_lived, item(session.to_row()), "create a session").await.map(drop)
    }

    /// A session, if there is one of that id.
    ///
    /// # Errors
    /// When DynamoDB fails, or the row does not make sense.
    pub async fn session(&self, id: &str) -> Result<Option<Session>, StoreError> {
        let row = self.read(&Key::session(id), "read a session").await?;
        Ok(row.map(|row| Session::from_row(&self.short_lived, &row)).transpose()?)
    }

    /// Redeems the completion code of a connected session, once, for `call`, a random text: whether
    /// it did. Not if the code is not its own, was redeemed before, or comes too late.
    ///
    /// # Errors
    /// When DynamoDB fails.
    pub async fn complete_session(
        &self,
        id: &str,
        completion_hash: &str,
        call: &str,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let change = SessionState::complete(id, completion_hash, call, now);
        Ok(match self.change(&change).await? {
            Changed::Done(_) => true,
            // The answer to our own first attempt may have been lost: then it was this call that
            // redeemed the code.
            Changed::Refused(row) => change.is_made_in(&row, Attribute::CompletedBy),
            Changed::Gone => false,
        })
    }
}
