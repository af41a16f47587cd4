//! The commit of a connect, in one transaction: the state is spent, the grant is stored, the
//! session is closed; or nothing is.

use jiff::Timestamp;
use threads_auth_model::rules::{self, Commit, NewConsent, NewGrant};
use threads_auth_model::{Attribute, Change, Ends, Key};
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

    fn change(&self, now: Timestamp) -> Change {
        match self {
            Self::Grant(grant, doubt) => rules::connect(grant, *doubt, now),
            Self::Consent(consent) => rules::consent(consent, now),
        }
    }
}

impl Store {
    /// Commits a connect: all of it or nothing. An older consent than the one that lies there
    /// changes nothing of the grant.
    ///
    /// # Errors
    /// When DynamoDB fails; trying again with the same values is safe, and finds an own earlier
    /// success.
    pub async fn commit_connect(
        &self,
        commit: Commit<'_>,
        connected: Connected<'_>,
    ) -> Result<CommitOutcome, StoreError> {
        let user_id = connected.user_id();
        let mut outcome = CommitOutcome::Superseded;
        for grant in [Some(connected.change(commit.now)), None] {
            outcome = match self.transact(&rules::commit(commit, user_id, grant)).await? {
                Committed::Done => CommitOutcome::Committed,
                // The answer to our own commit may have been lost: then what lies there is ours.
                Committed::Refused(0, spent) if spent.text(Attribute::GrantId) == Some(commit.grant_id) => {
                    CommitOutcome::Committed
                }
                Committed::Refused(0, _) => CommitOutcome::Replayed,
                Committed::Refused(1, _) => CommitOutcome::Superseded,
                Committed::Refused(2, _) => CommitOutcome::Ended(self.ends(commit.tombstone).await?),
                Committed::Refused(..) => CommitOutcome::SessionClosed,
            };
            if outcome != CommitOutcome::Superseded {
                break;
            }
        }
        Ok(outcome)
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
