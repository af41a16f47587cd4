//! The commit of a connect, in one transaction: the state is spent, the grant is stored, the
//! session is closed; or nothing is.

use jiff::Timestamp;
use threads_auth_model::rules::{self, NewConsent, NewGrant};
use threads_auth_model::{Attribute, Change, Condition, Key, Row, Session, claiming};
use threads_graph::UserId;

use crate::StoreError;
use crate::item::item;
use crate::table::Store;
use crate::transaction::Committed;

/// Spent states outlive the codes that came with them, which Meta accepts for an hour.
const SPENT_SECONDS: i64 = 2 * 3_600;

/// The result of a connect, to be stored.
#[derive(Clone, Copy, Debug)]
pub enum Connected<'a> {
    /// The long-lived token is there.
    Grant(&'a NewGrant<'a>),
    /// Only the short-lived one is; a sweep completes it.
    Consent(&'a NewConsent<'a>),
}

/// Which connect is committed.
#[derive(Clone, Copy, Debug)]
pub struct ConnectCommit<'a> {
    /// The [hash](threads_auth_model::seal::hash) of its state.
    pub state_hash: &'a str,
    /// When it began: a deletion since then refuses it.
    pub began_at: Timestamp,
    /// The tombstone of its user.
    pub tombstone: &'a Key,
    /// The connect session that it closes, if it came through one.
    pub session: Option<ClosedSession<'a>>,
    /// Now.
    pub now: Timestamp,
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
    /// Everything is stored.
    Committed,
    /// The state was spent before.
    Replayed,
    /// The user's data was deleted while the person was at Meta.
    Deleted,
    /// The session was closed or expired before.
    SessionClosed,
}

impl Connected<'_> {
    fn user_id(&self) -> &UserId {
        match self {
            Self::Grant(grant) => grant.user_id,
            Self::Consent(consent) => consent.user_id,
        }
    }

    fn grant_id(&self) -> &str {
        match self {
            Self::Grant(grant) => grant.grant_id,
            Self::Consent(consent) => consent.grant_id,
        }
    }

    /// The change of the row, in the forms that it has for an account that is nobody's yet and for
    /// one that is somebody's: the one whose condition holds is right.
    fn changes(&self, session: Option<ClosedSession<'_>>, now: Timestamp) -> Vec<Change> {
        let change = match self {
            Self::Grant(grant) => rules::connect(grant, now),
            Self::Consent(consent) => rules::consent(consent, now),
        };
        let Some(ClosedSession { session, unclaimed_until, .. }) = session else {
            return vec![claiming::without_session(change)];
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
    /// Commits a connect: all of it or nothing.
    ///
    /// # Errors
    /// When DynamoDB fails; trying again with the same values is safe, and finds an own earlier
    /// success.
    pub async fn commit_connect(
        &self,
        commit: ConnectCommit<'_>,
        connected: Connected<'_>,
    ) -> Result<CommitOutcome, StoreError> {
        let mut outcome = CommitOutcome::Replayed;
        for change in connected.changes(commit.session, commit.now) {
            outcome = match self.commit_change(commit, connected, &change).await? {
                Committed::Done => return Ok(CommitOutcome::Committed),
                // The answer to our own commit may have been lost: then what lies there is ours.
                Committed::Refused(0, spent)
                    if spent.text(Attribute::GrantId) == Some(connected.grant_id()) =>
                {
                    return Ok(CommitOutcome::Committed);
                }
                Committed::Refused(0, _) => return Ok(CommitOutcome::Replayed),
                Committed::Refused(1, _) => CommitOutcome::Replayed,
                Committed::Refused(2, _) => return Ok(CommitOutcome::Deleted),
                Committed::Refused(..) => return Ok(CommitOutcome::SessionClosed),
            };
        }
        Ok(outcome)
    }

    async fn commit_change(
        &self,
        commit: ConnectCommit<'_>,
        connected: Connected<'_>,
        change: &Change,
    ) -> Result<Committed, StoreError> {
        let ConnectCommit { now, .. } = commit;
        let state = Key::state(commit.state_hash);
        let spent: Row = [
            (Attribute::Pk, state.as_str().into()),
            (Attribute::GrantId, connected.grant_id().into()),
            (Attribute::Ttl, (now.as_second() + SPENT_SECONDS).into()),
        ]
        .into_iter()
        .collect();
        let mut transaction = self
            .transaction("commit a connect")
            .put(&state, item(spent), &Condition::Absent(Attribute::Pk))?
            .update(change)?
            .check(commit.tombstone, &rules::not_deleted_since(commit.began_at))?;
        if let Some(ClosedSession { session, completion_hash, unclaimed_until }) = commit.session {
            let user_id = connected.user_id();
            transaction =
                transaction.update(&session.connect(user_id, completion_hash, unclaimed_until, now))?;
        }
        transaction.commit().await
    }

    /// Whether a state was spent.
    ///
    /// # Errors
    /// When DynamoDB fails.
    pub async fn is_spent(&self, state_hash: &str) -> Result<bool, StoreError> {
        Ok(self.read(&Key::state(state_hash), "read a state").await?.is_some())
    }
}
