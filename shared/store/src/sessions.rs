//! Connect sessions, in the table of short-lived rows.

use jiff::Timestamp;
use threads_auth_model::{Attempt, Change, Key, Part, Session, SessionState, Transaction};

use crate::StoreError;
use crate::item::item;
use crate::table::{Changed, Store};
use crate::transaction::Committed;

/// After so many lost races the end of an attempt is not noted: others have noted theirs.
const MOST_NOTES: u32 = 20;

/// The outcome of a completion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CompletionOutcome {
    /// The code is redeemed, and the account is claimed.
    Completed,
    /// The session is not as it was: somebody else has redeemed the code, or it is too late.
    NotOpen,
    /// The account is gone.
    Gone,
}

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

    /// Notes in a session how an attempt ended, if that is news.
    ///
    /// # Errors
    /// When DynamoDB fails, or the row does not make sense.
    pub async fn note_attempt(&self, id: &str, attempt: Attempt<'_>) -> Result<(), StoreError> {
        for _ in 0..MOST_NOTES {
            let Some(note) = self.session(id).await?.and_then(|session| session.note(attempt)) else {
                return Ok(());
            };
            if let Changed::Done(_) = self.change(&note).await? {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Redeems the completion code of a connected session, once, for `call`, a random text, and
    /// claims its account by the first of `claims` that is right.
    ///
    /// # Errors
    /// When DynamoDB fails. Trying again with the same values is safe.
    pub async fn complete_session(
        &self,
        id: &str,
        completion_hash: &str,
        call: &str,
        claims: &[Change],
        now: Timestamp,
    ) -> Result<CompletionOutcome, StoreError> {
        let redeemed = SessionState::complete(id, completion_hash, call, now);
        for claim in claims {
            let parts = vec![Part::Update(redeemed.clone()), Part::Update(claim.clone())];
            match self.transact(&Transaction { operation: "complete a session", parts }).await? {
                Committed::Done => return Ok(CompletionOutcome::Completed),
                Committed::Refused(0, _) => return Ok(CompletionOutcome::NotOpen),
                Committed::Refused(..) => {}
            }
        }
        Ok(CompletionOutcome::Gone)
    }
}
