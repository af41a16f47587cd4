//! The environment and the time, read once by `main`, and where Meta is according to them.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::{Context, Result};
use jiff::Timestamp;
use threads_auth::{Config, ConfigError, Setting};
use threads_auth_web::telemetry::LOG_LEVEL;
use threads_graph::{Endpoints, Graph, HttpClient, HttpTimeouts};
use tracing::Level;

use crate::shell::exit::Stopped;

/// How long Meta may take. Longer than a function can wait: an answer that is not awaited may hold a token.
const TIMEOUTS: HttpTimeouts =
    HttpTimeouts { connect: Duration::from_secs(10), request: Duration::from_mins(1) };

/// For the help of every command that talks to Meta.
pub(crate) const HOSTS: &str = "\
Environment:
  THREADS_AUTHORIZE_URL, THREADS_GRAPH_URL, THREADS_API_VERSION
      other hosts than Meta's, such as those of `threads-auth sandbox`";

/// The environment and the time.
pub(crate) struct Env {
    /// The variables whose name and value are text.
    pub(crate) variables: HashMap<String, String>,
    /// When the command was started.
    pub(crate) now: Timestamp,
}

impl Env {
    /// A variable that is set, and not to nothing. It is taken as it is: a secret with a line end is not one.
    pub(crate) fn variable(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str).filter(|text| !text.trim().is_empty())
    }

    /// The service's settings that the environment has, each of them looked at.
    pub(crate) fn settings(&self) -> Result<HashMap<String, String>> {
        let named = |name: &'static str| Some((name.to_owned(), self.variable(name)?.to_owned()));
        let settings = Setting::ALL.into_iter().filter_map(|setting| named(setting.as_str())).collect();
        Config::check_settings(&settings).map_err(|ConfigError(problems)| {
            let told: Vec<_> =
                problems.iter().map(|problem| format!("{}: {}", problem.variable, problem.problem)).collect();
            Stopped::Usage(told.join("; "))
        })?;
        Ok(settings)
    }

    /// The least level that the service logs here.
    pub(crate) fn log_level(&self) -> Result<Level> {
        let Some(text) = self.variable(LOG_LEVEL) else {
            return Ok(Level::INFO);
        };
        let expected = || format!("{LOG_LEVEL}: expected trace, debug, info, warn or error");
        text.trim().parse().map_err(|_| Stopped::Usage(expected()).into())
    }

    /// Where Meta is. Only the environment says so: a `.env` that happens to be in a folder must not redirect secrets.
    pub(crate) fn endpoints(&self) -> Result<Endpoints> {
        let usual = Endpoints::default();
        Endpoints::new(
            self.variable("THREADS_AUTHORIZE_URL").unwrap_or(usual.authorize.as_str()),
            self.variable("THREADS_GRAPH_URL").unwrap_or(usual.graph.as_str()),
            self.variable("THREADS_API_VERSION").unwrap_or(&usual.api_version),
        )
        .map_err(|error| {
            let names = "THREADS_AUTHORIZE_URL, THREADS_GRAPH_URL or THREADS_API_VERSION";
            Stopped::Usage(format!("{names}: {error}")).into()
        })
    }

    /// The API there.
    pub(crate) fn graph(&self) -> Result<Graph> {
        let endpoints = self.endpoints()?;
        let http = HttpClient::new(TIMEOUTS).context("no connection can be made")?;
        Ok(Graph::new(http, endpoints))
    }
}
