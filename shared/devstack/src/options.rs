//! The options of a stack, and the errors of its start.

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Duration;

use threads_graph::AppCredentials;
use threads_sandbox::{Clock, Inspection};
use url::Url;

/// The Threads API that the stack calls.
#[derive(Clone, Debug, Default)]
pub enum Threads {
    /// The sandbox, in the same process.
    #[default]
    Sandbox,
    /// Meta's own servers, with a real app.
    Live(LiveApp),
}

/// A real app.
#[derive(Clone, Debug)]
pub struct LiveApp {
    /// Its id and secret.
    pub credentials: AppCredentials,
}

/// The options of a stack. The default is for tests: a free port, in memory, with the sandbox and
/// without scheduled sweeps.
#[derive(Clone, Debug, Default)]
pub struct StackOptions {
    /// The service's port on loopback; 0 picks a free one.
    pub port: u16,
    /// The data folder; `None` keeps everything in memory.
    pub data_dir: Option<PathBuf>,
    /// The clock of the functions and of the sandbox. A data folder stores by how much it was
    /// advanced.
    pub clock: Option<Clock>,
    /// The Threads API to call.
    pub threads: Threads,
    /// Accounts whose tokens may inspect others at the sandbox; `None` keeps the stored setting, or
    /// Meta's documented one.
    pub inspection: Option<Inspection>,
    /// The https origin that is forwarded here, if people do not reach the service on loopback.
    pub public_url: Option<Url>,
    /// The interval of scheduled sweeps; `None` for none.
    pub sweep_every: Option<Duration>,
    /// The interval at which changes are announced, and events posted; `None` to do so only by
    /// `Stack::announce` and `Stack::deliver`.
    pub announce_every: Option<Duration>,
    /// A file to which each event is appended, as a line of JSON.
    pub events_file: Option<PathBuf>,
    /// The URL that events are posted to, if any.
    pub webhook: Option<Url>,
    /// Variables of [`Config`](threads_auth::Config) that differ from development's.
    pub variables: HashMap<String, String>,
    /// Additional entries for the allowlist of return addresses.
    pub return_to: Vec<String>,
}

/// The error of a stack that did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StackError {
    /// The port is taken.
    #[error("port {port} cannot be used; choose another with --port, or --port 0 for a free one")]
    Port {
        /// The port.
        port: u16,
        /// The system's error.
        #[source]
        source: std::io::Error,
    },
    /// The data folder cannot be written.
    #[error("the data folder {path} cannot be used; choose another with --data-dir, or --ephemeral for none")]
    DataDir {
        /// The folder.
        path: PathBuf,
        /// The system's error.
        #[source]
        source: std::io::Error,
    },
    /// The file for events cannot be written.
    #[error("the file for events, {path}, cannot be written; choose another with --json-events")]
    EventsFile {
        /// The file.
        path: PathBuf,
        /// The system's error.
        #[source]
        source: std::io::Error,
    },
    /// Another stack uses the data folder.
    #[error(
        "the data folder {path} is in use by another process; stop it, or choose another folder with --data-dir"
    )]
    InUse {
        /// The folder.
        path: PathBuf,
    },
    /// A file in the data folder is damaged.
    #[error("{path} is damaged or not ours; move it away to start afresh without what it holds")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The reason.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Something else.
    #[error("the stack did not start")]
    Other(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl From<anyhow::Error> for StackError {
    fn from(error: anyhow::Error) -> Self {
        Self::Other(error.into())
    }
}

impl StackError {
    /// Builds the error of a part that cannot use the content of `file`, if it has one.
    pub(crate) fn damaged(file: Option<PathBuf>, error: anyhow::Error) -> Self {
        match file {
            Some(path) => Self::Damaged { path, source: error.into() },
            None => Self::Other(error.into()),
        }
    }
}
