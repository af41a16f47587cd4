//! The development page's data.

use std::pin::pin;

use futures_util::TryStreamExt;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;
use threads_auth_model::Summary;
use threads_sandbox::AccountStatus;

use crate::shared::{PastSweep, Shared};

const EVENTS_SHOWN: usize = 20;

/// All data of the page: no token, and nothing that a token could be derived from.
#[derive(Serialize)]
pub(crate) struct Dashboard {
    pub(crate) now: Timestamp,
    pub(crate) grants: Vec<GrantView>,
    pub(crate) broken_rows: Vec<String>,
    pub(crate) sweeps: Vec<PastSweep>,
    /// The last events, newest first.
    pub(crate) events: Vec<Value>,
    pub(crate) sandboxed: bool,
    /// The whole URL, because cookies belong to a host: a login that starts under another host
    /// would not be recognized on its return.
    pub(crate) connect_url: String,
}

/// A grant, as the app's backend sees it, with the sandbox's own state.
#[derive(Serialize)]
pub(crate) struct GrantView {
    #[serde(flatten)]
    pub(crate) summary: Summary,
    /// True if the person has removed the app at the sandbox, even if the grant does not show it
    /// yet.
    pub(crate) revoked_at_threads: bool,
}

impl std::ops::Deref for GrantView {
    type Target = Summary;

    fn deref(&self) -> &Summary {
        &self.summary
    }
}

impl Dashboard {
    /// Reads every grant of the service.
    pub(crate) async fn read(shared: &Shared) -> anyhow::Result<Self> {
        let (mut grants, mut broken_rows) = (Vec::new(), Vec::new());
        let mut rows = pin!(shared.service.store().all_grants());
        while let Some(row) = rows.try_next().await? {
            match row {
                Ok(grant) => grants.push(GrantView {
                    revoked_at_threads: shared
                        .sandbox
                        .as_ref()
                        .and_then(|sandbox| sandbox.account(grant.user_id.as_str()))
                        .is_some_and(|account| account.status == AccountStatus::Revoked),
                    summary: grant.into(),
                }),
                Err(inconsistency) => broken_rows.push(inconsistency.named()),
            }
        }
        grants.sort_by(|a, b| (a.created_at, &a.user_id).cmp(&(b.created_at, &b.user_id)));
        let (now, sandboxed) = (shared.clock.now(), shared.sandbox.is_some());
        Ok(Self {
            now,
            grants,
            broken_rows,
            sweeps: shared.sweeps(),
            events: shared.bus.events().into_iter().take(EVENTS_SHOWN).collect(),
            sandboxed,
            connect_url: format!("{}authorize", shared.public_url),
        })
    }
}
