//! A deletion that an operator makes: Meta also mails lists of people whose data has to go.

use jiff::Timestamp;
use threads_auth_store::StoreError;
use threads_graph::UserId;

use crate::clients::Clients;
use crate::removal::{self, Deleted, RemovalError};

/// A deletion that an operator has made.
#[derive(Debug)]
pub struct PersonDeleted {
    /// What came of it, as Meta would be told.
    pub deleted: Deleted,
    /// Whether there was an account.
    pub was_known: bool,
}

/// Deletes what is held about a person, who asked for it at `requested_at`, or else now. Whoever is
/// gone already stays so under the code that they have: a list may be gone through again.
pub(crate) async fn delete_person(
    clients: &Clients,
    user_id: &UserId,
    requested_at: Option<Timestamp>,
    now: Timestamp,
) -> Result<PersonDeleted, RemovalError> {
    let vault = clients.vault(now).await?;
    let was_known = match clients.store.grant(user_id).await {
        Ok(grant) => grant.is_some(),
        // Whose row it is says its key.
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
