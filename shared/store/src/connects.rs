//! The commit of a connect, in one transaction: the state is spent, the grant is stored, the
//! session is closed; or nothing is.

use jiff::Timestamp;
use threads_auth_model::rules::{self, Commit, NewConsent, NewGrant};
use threads_auth_model::{Attribute, Change, Ends, Key, Session, claiming};
use threads_graph::UserId;

use crate::StoreError;
use crate::table::Store;
use crate::transaction::Committed;

/// The result of a connect, to be stored.
#[derive(Clone, Copy, Debug)]
pub enum Connected<'a> {
    /// The long-lived token is there. With a time it is doubtful, and looked at then.
    Grant(&'a NewGrant<'a>, Option<Timestamp>),
    /// Only the short-lived one is; a sweep completes it.
    Consent(&'a NewConsent<'a>),
}

/// A session that ends with a connect.
#[derive(Clone, Copy, Debug)]
pub struct ClosedSession<'a> {
    /// The session, as it was read.
    pub session: &'a Session,
    /// The hash of the completion code that only the browser gets.
    pub completion_hash: &'a str,
    /// When an account ends that is new and that nobody claims. None if nobody can: then it counts
    /// as claimed.
    pub unclaimed_until: Option<Timestamp>,
}

/// The outcome of a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommitOutcome {
    /// Everything is stored, or the newer consent that lies there stays.
    Committed,
    /// The state was spent before.
    Replayed,
    /// The user's consents have ended since the flow began, or may have: these are the ends.
    Ended(Ends),
    /// A newer consent has ended.
    Superseded,
    /// The session was closed or expired before.
    SessionClosed,
}

impl Connected<'_> {
    fn user_id(&self) -> &UserId {
        match self {
            Self::Grant(grant, _) => grant.user_id,
            Self::Consent(consent) => consent.user_id,
        }
    }

    /// The change of the row, in the forms that it has for an account that is nobody's yet and for
    /// one that is somebody's: the one whose condition holds is right.
    fn changes(&self, closed: Option<ClosedSession<'_>>, now: Timestamp) -> Vec<Change> {
        let change = match self {
            Self::Grant(grant, doubt) => rules::connect(grant, *doubt, now),
            Self::Consent(consent) => rules::consent(consent, now),
        };
        let Some(ClosedSession { session, unclaimed_until, .. }) = closed else {
            return vec![rules::without_session(change)];
        };
        let id = &session.id;
        match unclaimed_until {
            Some(until) => vec![
                claiming::connect_unclaimed(change.clone(), id, until, now),
                claiming::connect_claimed(change, id),
            ],
            None => vec![change.set(Attribute::SessionId, id.as_str())],
        }
    }
}

impl Store {
    /// Commits a connect, and closes the session that it came through: all of it or nothing. An
    /// older consent than the one that lies there changes nothing of the grant.
    ///
    /// # Errors
    /// When DynamoDB fails; trying again with the same values is safe, and finds an own earlier
    /// success.
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
        let changes = connected.changes(closed, now).into_iter().map(Some);
        for grant in changes.chain([None]) {
            match self.transact(&rules::commit(commit, user_id, grant)).await? {
                Committed::Done => return Ok(CommitOutcome::Committed),
                // The answer to our own commit may have been lost: then what lies there is ours.
                Committed::Refused(0, spent) if spent.text(Attribute::GrantId) == Some(commit.grant_id) => {
                    return Ok(CommitOutcome::Committed);
                }
                Committed::Refused(0, _) => return Ok(CommitOutcome::Replayed),
                Committed::Refused(1, _) => {}
                Committed::Refused(2, _) => {
                    return Ok(CommitOutcome::Ended(self.ends(commit.tombstone).await?));
                }
                Committed::Refused(..) => return Ok(CommitOutcome::SessionClosed),
            }
        }
        Ok(CommitOutcome::Superseded)
    }

    /// The last ends of a user's consents.
    ///
    /// # Errors
    /// When DynamoDB fails.
    pub async fn ends(&self, tombstone: &Key) -> Result<Ends, StoreError> {
        let row = self.read(tombstone, "read an end").await?;
        Ok(row.map_or_else(Ends::default, |row| Ends::of(&row)))
    }

    /// Whether a state was spent.
    ///
    /// # Errors
    /// When DynamoDB fails.
    pub async fn is_spent(&self, state_hash: &str) -> Result<bool, StoreError> {
        Ok(self.read(&Key::state(state_hash), "read a state").await?.is_some())
    }
}
