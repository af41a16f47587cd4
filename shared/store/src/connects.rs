//! The commit of a connect, in one transaction: the state is spent, the grant is stored, the
//! session is closed; or nothing is.

use jiff::Timestamp;
use threads_auth_model::rules::{self, NewConsent, NewGrant};
use threads_auth_model::{Attribute, Change, Condition, Key, Row, SessionState};
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
    /// The connect session that it closes, and the hash of the completion code that only the
    /// browser gets.
    pub session: Option<(&'a str, &'a str)>,
    /// Now.
    pub now: Timestamp,
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

    fn change(&self, now: Timestamp) -> Change {
        match self {
            Self::Grant(grant) => rules::connect(grant, now),
            Self::Consent(consent) => rules::consent(consent, now),
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
            .update(&connected.change(now))?
            .check(commit.tombstone, &rules::not_deleted_since(commit.began_at))?;
        if let Some((id, completion_hash)) = commit.session {
            let user_id = connected.user_id();
            transaction = transaction.update(&SessionState::connect(id, user_id, completion_hash, now))?;
        }
        Ok(match transaction.commit().await? {
            Committed::Done => CommitOutcome::Committed,
            // The answer to our own commit may have been lost: then what lies there is ours.
            Committed::Refused(0, spent) if spent.text(Attribute::GrantId) == Some(connected.grant_id()) => {
                CommitOutcome::Committed
            }
            Committed::Refused(0 | 1, _) => CommitOutcome::Replayed,
            Committed::Refused(2, _) => CommitOutcome::Deleted,
            Committed::Refused(..) => CommitOutcome::SessionClosed,
        })
    }

    /// Whether a state was spent.
    ///
    /// # Errors
    /// When DynamoDB fails.
    pub async fn is_spent(&self, state_hash: &str) -> Result<bool, StoreError> {
        Ok(self.read(&Key::state(state_hash), "read a state").await?.is_some())
    }
}
