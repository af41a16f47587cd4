//! The caller whose token inspections Meta accepts, without which data access ends unnoticed.

use futures_util::{TryStreamExt, future};
use jiff::Timestamp;
use threads_auth_model::seal::Purpose;
use threads_auth_model::{Grant, State, Status, error_chain};
use threads_auth_store::StoreError;
use threads_graph::UserId;

use crate::callers::Caller;
use crate::clients::Clients;
use crate::inspection::inspect;

/// The caller whose token inspections Meta accepts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Inspections {
    /// Meta accepts this caller.
    TakenBy(Caller),
    /// Meta refuses every caller.
    RefusedToAll,
    /// No account is connected, so there is no token to inspect.
    NothingToAsk,
    /// The inspector is not connected.
    NoInspector(UserId),
    /// The inspector's person has to connect again.
    EndedInspector(UserId),
    /// The accounts could not be read.
    Unreadable,
    /// The inspection failed for another reason.
    Unknown,
}

/// Inspects the inspector's token, or else the token of any account.
pub(crate) async fn inspections(clients: &Clients, now: Timestamp) -> Inspections {
    let Ok(vault) = clients.vault(now).await else { return Inspections::Unknown };
    let found = match &vault.app.inspector {
        Some(user_id) => match clients.store.grant(user_id).await {
            Ok(None) => return Inspections::NoInspector(user_id.clone()),
            Ok(Some(grant)) if grant.status() != Status::Active => {
                return Inspections::EndedInspector(user_id.clone());
            }
            found => found,
        },
        None => any_active(clients).await,
    };
    let grant = match found {
        Ok(Some(grant)) => grant,
        Ok(None) => return Inspections::NothingToAsk,
        Err(error) => {
            tracing::warn!(error = error_chain(&error), "no account to inspect could be read");
            return Inspections::Unreadable;
        }
    };
    let Some(live) = grant.live() else { return Inspections::Unknown };
    let opened = clients.open(&vault, Purpose::AccessToken, &grant.user_id, &live.token, now).await;
    let Ok(token) = opened else { return Inspections::Unknown };
    match inspect(clients, &vault, &token, now).await {
        Some(inspected) => Inspections::TakenBy(inspected.caller),
        None if clients.callers.to_try(now).is_empty() => Inspections::RefusedToAll,
        None => Inspections::Unknown,
    }
}

/// Returns any grant with a live token.
async fn any_active(clients: &Clients) -> Result<Option<Grant>, StoreError> {
    let active = clients
        .store
        .all_grants()
        .try_filter_map(|row| future::ok(row.ok().filter(|grant| matches!(grant.state, State::Active(..)))));
    std::pin::pin!(active).try_next().await
}
