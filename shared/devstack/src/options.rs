//! How to start a stack.

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Duration;

use threads_graph::AppCredentials;
use threads_sandbox::Clock;
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

/// How to start a stack.
#[derive(Clone, Debug)]
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
}

impl Default for StackOptions {
    /// A free port, in memory, against the sandbox, with no sweeps of its own: what a test wants.
    fn default() -> Self {
        Self {
            port: 0,
            data_dir: None,
            clock: None,
            threads: Threads::Sandbox,
            public_url: None,
            sweep_every: None,
            announce_every: None,
            events_file: None,
            variables: HashMap::new(),
        }
    }
}
