//! Assigns an account to a user of the app, for the app's backend.
//! Owns the rule that a repeated request changes nothing, and that an unclaimed account is claimed
//! by the completion of its session only: nothing else shows whose it is.

use jiff::Timestamp;
use threads_auth_model::{Claim, Grant, InvalidReference, check_reference};
use threads_auth_store::{AssignOutcome, StoreError};
use threads_graph::UserId;

use crate::clients::Clients;

/// Error of assigning an account.
#[derive(Debug, thiserror::Error)]
pub enum AssignError {
    /// The reference is empty or too long.
    #[error(transparent)]
    Reference(#[from] InvalidReference),
    /// No account with this id is connected.
    #[error("no account with this id is connected")]
    Unknown,
    /// Nobody has claimed the account yet.
    #[error("nobody has claimed the account yet: complete its connect session, which does that")]
    Unclaimed,
    /// DynamoDB failed, or the row is inconsistent.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Assigns a claimed account to the user whom the app calls `reference`, or to none. If it belongs
/// to that user already, nothing is written.
pub(crate) async fn assign(
    clients: &Clients,
    user_id: &UserId,
    reference: Option<&str>,
    now: Timestamp,
) -> Result<Grant, AssignError> {
    reference.map(check_reference).transpose()?;
    let grant = clients.store.grant(user_id).await?.ok_or(AssignError::Unknown)?;
    let owner = match &grant.claim {
        Claim::Unclaimed { .. } => return Err(AssignError::Unclaimed),
        Claim::Claimed(owner) => owner.as_ref(),
    };
    if owner.map(|owner| owner.reference.as_str()) == reference {
        return Ok(grant);
    }
    match clients.store.assign(user_id, reference, now).await? {
        AssignOutcome::Assigned(grant) => Ok(*grant),
        AssignOutcome::Unclaimed => Err(AssignError::Unclaimed),
        AssignOutcome::Gone => Err(AssignError::Unknown),
    }
}
