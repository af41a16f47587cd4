//! The state of a running stack.

use std::collections::{HashMap, VecDeque};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Context;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::json;
use threads_auth::{SweepReport, ThreadsAuth};
use threads_sandbox::{Clock, Sandbox};
use url::Url;

use crate::bus::Bus;
use crate::data_folder::KeptValue;
use crate::feed::Feed;
use crate::webhook::Webhooks;

/// The maximum duration of a sweep, as on Lambda.
const SWEEP_BUDGET: Duration = Duration::from_mins(15);
const SWEEPS_REMEMBERED: usize = 20;

/// A past sweep, for the development page.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct PastSweep {
    pub(crate) at: Timestamp,
    pub(crate) result: Result<SweepReport, String>,
}

/// The state that the gateway, the development page and the schedule share.
#[derive(Clone)]
pub(crate) struct Shared {
    pub(crate) service: Arc<ThreadsAuth>,
    pub(crate) clock: Clock,
    pub(crate) sandbox: Option<Sandbox>,
    pub(crate) public_url: Url,
    pub(crate) variables: Arc<HashMap<String, String>>,
    /// The file with the secret of the key.
    pub(crate) key_file: Arc<Path>,
    pub(crate) bus: Bus,
    pub(crate) feed: Arc<Feed>,
    /// Present if events are posted somewhere.
    pub(crate) webhooks: Option<Arc<Webhooks>>,
    pub(crate) sweeps: Arc<Mutex<VecDeque<PastSweep>>>,
    pub(crate) clock_offset: KeptValue,
}

impl Shared {
    /// Invokes the refresh function, and records the sweep.
    pub(crate) async fn sweep(&self) -> Result<SweepReport, refresh::RefreshError> {
        let at = self.clock.now();
        let result = refresh::handle(&self.service, json!({}), at, SWEEP_BUDGET).await;
        if let Ok(mut sweeps) = self.sweeps.lock() {
            let result = result.as_ref().map_err(|e| threads_auth_model::error_chain(e));
            sweeps.push_front(PastSweep { at, result: result.cloned() });
            sweeps.truncate(SWEEPS_REMEMBERED);
        }
        result
    }

    /// Returns the last sweeps, newest first.
    pub(crate) fn sweeps(&self) -> Vec<PastSweep> {
        self.sweeps.lock().map(|sweeps| sweeps.iter().cloned().collect()).unwrap_or_default()
    }

    /// Advances the clock that the service and the sandbox share.
    pub(crate) fn advance(&self, by: Duration) -> anyhow::Result<()> {
        self.clock.advance(by);
        let offset = self.clock.offset().as_secs();
        self.clock_offset.write(offset).context("the clock could not be saved")
    }

    /// Announces the changes since the last call.
    pub(crate) async fn announce(&self) -> anyhow::Result<()> {
        self.feed.drain(self.clock.now()).await
    }

    /// Posts the events that are due.
    pub(crate) async fn deliver(&self) {
        if let Some(webhooks) = &self.webhooks {
            webhooks.deliver(self.bus.outgoing(), self.clock.unmoved(), self.clock.now()).await;
        }
    }
}
