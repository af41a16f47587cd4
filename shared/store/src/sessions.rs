//! Connect sessions in the table of short-lived rows.

use jiff::Timestamp;
use threads_auth_model::{Attempt, Change, Key, Part, Session, SessionState, Transaction};

use crate::StoreError;
use crate::item::item;
use crate::table::{Changed, Store};
use crate::transaction::Committed;

/// Number of lost races after which the end of an attempt is not recorded: other ends were recorded
/// instead.
const MAX_RECORD_TRIES: u32 = 20;

/// The outcome of a completion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CompletionOutcome {
    /// The code is redeemed, and the account is claimed.
    Completed,
    /// The session has changed: another call has redeemed the code, or the session has expired.
    NotOpen,
    /// The account no longer exists.
    Gone,
}

impl Store {
    /// Creates a session.
    ///
    /// # Errors
    /// Returns [`StoreError`] if DynamoDB fails.
    pub async fn create_session(&self, session: &Session) -> Result<(), StoreError> {
        // Ids are random. An existing session with this id comes from our own first attempt, whose
        // response was lost.
        self.put_if_absent(&self.short_lived, item(session.to_row()), "create a session").await.map(drop)
    }

    /// Reads the session with this id, if there is one.
    ///
    /// # Errors
    /// Returns [`StoreError`] if DynamoDB fails, or the row is inconsistent.
    pub async fn session(&self, id: &str) -> Result<Option<Session>, StoreError> {
        let row = self.read(&Key::session(id), "read a session").await?;
        Ok(row.map(|row| Session::from_row(&self.short_lived, &row)).transpose()?)
    }

    /// Records the end of an attempt in its session, as [`Session::note`] describes.
    ///
    /// # Errors
    /// Returns [`StoreError`] if DynamoDB fails, or the row is inconsistent.
    pub async fn note_attempt(&self, id: &str, attempt: Attempt<'_>) -> Result<(), StoreError> {
        for _ in 0..MAX_RECORD_TRIES {
            let Some(note) = self.session(id).await?.and_then(|session| session.note(attempt)) else {
                return Ok(());
            };
            if let Changed::Done(_) = self.change(&note).await? {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Redeems the completion code of a connected session once, for `call`, a random text, and
    /// claims its account by the first of `claims` whose condition holds.
    ///
    /// # Errors
    /// Returns [`StoreError`] if DynamoDB fails. A retry with the same values is safe.
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
