//! Deletion of a person's data by an operator: Meta also mails lists of people to delete.

use jiff::Timestamp;
use threads_auth_store::StoreError;
use threads_graph::UserId;

use crate::clients::Clients;
use crate::removal::{self, Deleted, RemovalError};

/// The result of a deletion by an operator.
#[derive(Debug)]
pub struct PersonDeleted {
    /// The result, as in the response to Meta.
    pub deleted: Deleted,
    /// True if there was an account.
    pub was_known: bool,
}

/// Deletes the data of a person, who requested it at `requested_at`, by default now. A person who
/// was deleted before keeps their confirmation code, so a list can be processed again.
pub(crate) async fn delete_person(
    clients: &Clients,
    user_id: &UserId,
    requested_at: Option<Timestamp>,
    now: Timestamp,
) -> Result<PersonDeleted, RemovalError> {
    let vault = clients.vault(now).await?;
    let was_known = match clients.store.grant(user_id).await {
        Ok(grant) => grant.is_some(),
        // The key of an inconsistent row still identifies the person.
        Err(StoreError::Inconsistent(_)) => true,
        Err(error) => return Err(error.into()),
    };
    let requested_at = match requested_at {
        Some(at) => at.min(now),
        None if was_known => now,
        None => {
            let before = clients.store.ends(&vault.tombstone(user_id)).await?.deleted_at;
            let code = before.map(|before| (before, vault.confirmation_code(user_id, before)));
            match code {
                Some((before, code)) if removal::find(clients, &code).await?.is_some() => before,
                _ => now,
            }
        }
    };
    let deleted = removal::delete_person(clients, &vault, user_id, requested_at, now).await?;
    Ok(PersonDeleted { deleted, was_known })
}
