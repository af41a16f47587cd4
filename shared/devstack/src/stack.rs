//! The running product: its handles for tests and commands, and its shutdown.

use std::collections::HashMap;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use tempfile::TempPath;
use threads_auth::{SweepReport, ThreadsAuth};
use threads_sandbox::{Clock, Sandbox};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::environment::Urls;
use crate::shared::Shared;

/// The running product. Dropping it stops everything at once; [`Stack::stop`] lets running requests
/// finish.
pub struct Stack {
    pub(crate) urls: Urls,
    pub(crate) shared: Shared,
    pub(crate) stop: watch::Sender<bool>,
    pub(crate) tasks: JoinSet<()>,
    pub(crate) _lock: Option<File>,
    /// Without a data folder, the key's file is deleted with the stack.
    pub(crate) _key: Option<TempPath>,
}

impl Stack {
    /// Returns all addresses.
    #[must_use]
    pub fn urls(&self) -> &Urls {
        &self.urls
    }

    /// Returns the environment in which a function of this stack runs.
    #[must_use]
    pub fn variables(&self) -> &HashMap<String, String> {
        &self.shared.variables
    }

    /// Returns the file with the secret of the key, which only this stack's owner can read.
    #[must_use]
    pub fn key_file(&self) -> &Path {
        &self.shared.key_file
    }

    /// Returns the service that the functions call.
    #[must_use]
    pub fn service(&self) -> &Arc<ThreadsAuth> {
        &self.shared.service
    }

    /// Returns the clock of the functions and of the sandbox.
    #[must_use]
    pub fn clock(&self) -> &Clock {
        &self.shared.clock
    }

    /// Returns the sandbox, unless the stack calls Meta.
    #[must_use]
    pub fn sandbox(&self) -> Option<&Sandbox> {
        self.shared.sandbox.as_ref()
    }

    /// Invokes the refresh function, as the schedule does.
    ///
    /// # Errors
    /// Returns an error if the sweep could not run at all.
    pub async fn sweep(&self) -> Result<SweepReport, refresh::RefreshError> {
        self.shared.sweep().await
    }

    /// Announces the changes since the last call, as Lambda does by itself.
    ///
    /// # Errors
    /// Returns an error if the bus does not accept them. They are kept for the next call.
    pub async fn announce(&self) -> anyhow::Result<()> {
        self.shared.announce().await
    }

    /// Posts the events that are due, as the webhook function does by itself.
    pub async fn deliver(&self) {
        self.shared.deliver().await;
    }

    /// Returns the last events on the bus, newest first, as EventBridge delivers them.
    #[must_use]
    pub fn events(&self) -> Vec<serde_json::Value> {
        self.shared.bus.events()
    }

    /// Stops everything, after the running requests.
    pub async fn stop(mut self) {
        // An error means that the receiver is gone, and the server stopped.
        let _ = self.stop.send(true);
        while self.tasks.join_next().await.is_some() {}
    }
}
