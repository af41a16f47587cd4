//! A refresh by an operator.

use jiff::Timestamp;
use threads_auth_model::Key;
use threads_auth_model::rules::LeaseReason;
use threads_graph::UserId;

use crate::clients::Clients;
use crate::refresh::refresher::Refresher;
use crate::refresh::{RefreshOutcome, VendError};
use crate::stopwatch::Stopwatch;

/// Refreshes the token of one account now, due or not.
pub(crate) async fn refresh_now(
    clients: &Clients,
    user_id: &UserId,
    now: Timestamp,
) -> Result<RefreshOutcome, VendError> {
    let time = Stopwatch::start(now, clients.config.work_time());
    let refresher = Refresher::new(clients, clients.vault(now).await?, time)?;
    let grant = clients.store.grant(user_id).await?.ok_or(VendError::Unknown)?;
    let reason = match grant.live() {
        Some(live) if grant.due_at.is_none_or(|due| due > now) => LeaseReason::Expiring(&grant, live),
        _ => LeaseReason::Due,
    };
    Ok(refresher.one_now(&Key::grant(user_id), reason).await.outcome)
}
