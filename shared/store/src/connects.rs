//! The commit of a connect in one transaction: it stores the grant, and closes the session or
//! spends the state, or does nothing.

use jiff::Timestamp;
use threads_auth_model::rules::{self, Commit, NewConsent, NewGrant};
use threads_auth_model::{Attribute, Change, Ends, Key, Session, claiming};
use threads_graph::UserId;

use crate::StoreError;
use crate::table::Store;
use crate::transaction::Committed;

/// The result of a connect that is stored.
#[derive(Clone, Copy, Debug)]
pub enum Connected<'a> {
    /// A grant with its long-lived token. With a time, the token is doubtful and tried then.
    Grant(&'a NewGrant<'a>, Option<Timestamp>),
    /// A consent with only a short-lived token. A sweep completes it.
    Consent(&'a NewConsent<'a>),
}

/// The session that a connect closes.
#[derive(Clone, Copy, Debug)]
pub struct ClosedSession<'a> {
    /// The session, as it was read.
    pub session: &'a Session,
    /// The hash of the completion code that only the browser gets.
    pub completion_hash: &'a str,
    /// Time at which a new account ends if nobody claims it. None if accounts cannot be claimed:
    /// the account then counts as claimed.
    pub unclaimed_until: Option<Timestamp>,
}

/// The outcome of a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommitOutcome {
    /// Everything is stored, or the row holds a newer consent, which stays.
    Committed,
    /// The state was spent before.
    Replayed,
    /// The user's consents have ended since the flow began, or may have ended, by these ends.
    Ended(Ends),
    /// The row held a newer consent, which has ended.
    Superseded,
    /// The session was closed or expired before, perhaps by an earlier attempt of this commit.
    SessionClosed,
}

impl Connected<'_> {
    fn user_id(&self) -> &UserId {
        match self {
            Self::Grant(grant, _) => grant.user_id,
            Self::Consent(consent) => consent.user_id,
        }
    }

    /// Returns the possible changes of the row, for an unclaimed account and for a claimed one. At
    /// most one of their conditions holds.
    fn changes(&self, closed: Option<ClosedSession<'_>>, now: Timestamp) -> Vec<Change> {
        let change = match self {
            Self::Grant(grant, doubt) => rules::connect(grant, *doubt, now),
            Self::Consent(consent) => rules::consent(consent, now),
        };
        let Some(ClosedSession { session, unclaimed_until, .. }) = closed else {
            return vec![rules::without_session(change)];
        };
        match unclaimed_until {
            Some(until) => vec![
                claiming::connect_unclaimed(change.clone(), session, until, now),
                claiming::connect_claimed(change, session),
            ],
            None => vec![change.set(Attribute::SessionId, session.id.as_str())],
        }
    }
}

impl Store {
    /// Commits a connect and closes its session, or does nothing. An older consent than the stored
    /// one leaves the grant unchanged.
    ///
    /// # Errors
    /// Returns [`StoreError`] if DynamoDB fails. A retry with the same values is safe. It
    /// recognizes an earlier success, or finds the session closed, with the hash of our code.
    pub async fn commit_connect(
        &self,
        commit: Commit<'_>,
        connected: Connected<'_>,
        closed: Option<ClosedSession<'_>>,
    ) -> Result<CommitOutcome, StoreError> {
        let (user_id, now) = (connected.user_id(), commit.now);
        let close = closed.map(|ClosedSession { session, completion_hash, unclaimed_until }| {
            session.connect(user_id, completion_hash, unclaimed_until, now)
        });
        let commit = Commit { session: close.as_ref(), ..commit };
        // A connect without a session spends its state, which is the first part.
        let parts_before = usize::from(close.is_none());
        let changes = connected.changes(closed, now).into_iter().map(Some);
        for grant in changes.chain([None]) {
            match self.transact(&rules::commit(commit, user_id, grant)).await? {
                Committed::Done => return Ok(CommitOutcome::Committed),
                Committed::Refused(0, spent) if parts_before == 1 => {
                    // The response to our own commit may have been lost. The state then holds our
                    // generation.
                    let is_ours = spent.text(Attribute::GrantId) == Some(commit.grant_id);
                    return Ok(if is_ours { CommitOutcome::Committed } else { CommitOutcome::Replayed });
                }
                Committed::Refused(part, _) => match part - parts_before {
                    0 => {}
                    1 => return Ok(CommitOutcome::Ended(self.ends(commit.tombstone).await?)),
                    _ => return Ok(CommitOutcome::SessionClosed),
                },
            }
        }
        Ok(CommitOutcome::Superseded)
    }

    /// Returns the last ends of a user's consents.
    ///
    /// # Errors
    /// Returns [`StoreError`] if DynamoDB fails.
    pub async fn ends(&self, tombstone: &Key) -> Result<Ends, StoreError> {
        let row = self.read(tombstone, "read an end").await?;
        Ok(row.map_or_else(Ends::default, |row| Ends::of(&row)))
    }

    /// Returns true if a state was spent.
    ///
    /// # Errors
    /// Returns [`StoreError`] if DynamoDB fails.
    pub async fn is_spent(&self, state_hash: &str) -> Result<bool, StoreError> {
        Ok(self.read(&Key::state(state_hash), "read a state").await?.is_some())
    }
}
