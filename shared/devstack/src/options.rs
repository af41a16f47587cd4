//! How to start a stack, and why one did not start.

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Duration;

use threads_graph::AppCredentials;
use threads_sandbox::{Clock, Inspection};
use url::Url;

/// Which Threads the stack talks to.
#[derive(Clone, Debug, Default)]
pub enum Threads {
    /// Our stand-in, in the same process.
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

/// How to start a stack. The default is for tests: a free port, in memory, against the sandbox, with
/// no sweeps of its own.
#[derive(Clone, Debug, Default)]
pub struct StackOptions {
    /// The service's port on loopback; 0 picks a free one.
    pub port: u16,
    /// Where everything is kept; `None` keeps it in memory.
    pub data_dir: Option<PathBuf>,
    /// The clock of the functions and of the sandbox. With a data folder, what it was advanced by
    /// is kept there.
    pub clock: Option<Clock>,
    /// Which Threads to talk to.
    pub threads: Threads,
    /// Whose token may inspect others at the sandbox; `None` as it was, or as Meta documents.
    pub inspection: Option<Inspection>,
    /// Where people reach the service, if not on loopback: an https origin that is forwarded here.
    pub public_url: Option<Url>,
    /// How often a sweep is made; `None` never.
    pub sweep_every: Option<Duration>,
    /// How often changes are announced; `None` only by `Stack::announce`.
    pub announce_every: Option<Duration>,
    /// A file to which each event is appended, as a line of JSON.
    pub events_file: Option<PathBuf>,
    /// Variables of [`Config`](threads_auth::Config) that differ from development's.
    pub variables: HashMap<String, String>,
    /// Addresses that people may be sent back to as well: more entries for the allowlist.
    pub return_to: Vec<String>,
}

/// Why a stack did not start.
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
    /// A file in the data folder is not what it should be.
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
    /// For a part that cannot use what it finds in `file`, if it has one.
    pub(crate) fn damaged(file: Option<PathBuf>, error: anyhow::Error) -> Self {
        match file {
            Some(path) => Self::Damaged { path, source: error.into() },
            None => Self::Other(error.into()),
        }
    }
}
