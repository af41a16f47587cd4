//! The environment and the time, read once by `main`, and the endpoints of Meta that they name.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::{Context, Result};
use jiff::Timestamp;
use threads_auth::{Config, ConfigError, Setting};
use threads_auth_web::telemetry::LOG_LEVEL;
use threads_graph::{Endpoints, Graph, HttpClient, HttpTimeouts};
use tracing::Level;

use crate::shell::exit::Stopped;

/// The timeouts for Meta. They are longer than a function's: a response that is abandoned may hold
/// a token.
const TIMEOUTS: HttpTimeouts =
    HttpTimeouts { connect: Duration::from_secs(10), request: Duration::from_mins(1) };

/// Help text of every command that calls Meta.
pub(crate) const HOSTS: &str = "\
Environment:
  THREADS_AUTHORIZE_URL, THREADS_GRAPH_URL, THREADS_API_VERSION
      other hosts than Meta's, such as those of `threads-auth sandbox`";

/// The environment variables, and the time at which the command was started.
pub(crate) struct Env {
    /// The variables whose name and value are text.
    pub(crate) variables: HashMap<String, String>,
    /// The time at which the command was started.
    pub(crate) now: Timestamp,
}

impl Env {
    /// Returns a variable that is set and not blank. Its value is not trimmed, so a secret with a
    /// line end is refused later.
    pub(crate) fn variable(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str).filter(|text| !text.trim().is_empty())
    }

    /// Returns the service's settings in the environment, after checking each of them.
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

    /// Returns the service's log level.
    pub(crate) fn log_level(&self) -> Result<Level> {
        let Some(text) = self.variable(LOG_LEVEL) else {
            return Ok(Level::INFO);
        };
        let expected = || format!("{LOG_LEVEL}: expected trace, debug, info, warn or error");
        text.trim().parse().map_err(|_| Stopped::Usage(expected()).into())
    }

    /// Returns Meta's endpoints. Only the environment is read: a `.env` file that happens to be in
    /// a folder must not redirect secrets.
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

    /// Returns a client of Meta's API with these endpoints.
    pub(crate) fn graph(&self) -> Result<Graph> {
        let endpoints = self.endpoints()?;
        let http = HttpClient::new(TIMEOUTS).context("the HTTP client cannot be set up")?;
        Ok(Graph::new(http, endpoints))
    }
}
