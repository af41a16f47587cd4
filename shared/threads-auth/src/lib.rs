//! Connects people's Threads accounts to an app and keeps their tokens alive.
//!
//! Everything between Meta's protocol ([`threads_graph`]) and the functions that AWS Lambda runs: configuration, secrets, the
//! sealed state of a connect flow, the store of grants, connecting, and refreshing. [`ThreadsAuth`] holds the clients; its
//! methods are the operations. Time is an argument of each: nothing below a `main.rs` reads a clock.
//!
//! **Architecture invariant:** nothing here knows of Lambda, API Gateway or an environment other than production. Development and
//! tests differ in the endpoints of [`Config`], and in nothing else.

pub mod aws;
pub mod config;
pub mod connect;
pub mod events;
pub mod flow;
pub mod grant;
pub mod import;
pub mod refresh;
pub mod removal;
pub mod restore;
pub mod return_to;
pub mod schedule;
pub mod seal;
pub mod secrets;
pub mod sessions;
pub mod store;
mod vault;
pub mod vending;

use std::error::Error as StdError;

use jiff::Timestamp;
use threads_graph::{Graph, HttpClient, RedirectUri};

pub use config::{AuthorizeAccess, Config, ConfigError};

use crate::flow::CookieKind;
use crate::secrets::Secrets;
use crate::store::Store;

/// The service: its configuration and its clients.
pub struct ThreadsAuth {
    config: Config,
    redirect_uri: RedirectUri,
    graph: Graph,
    secrets: Secrets,
    store: Store,
}

/// Why the service did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The environment is incomplete.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The redirect URI that follows from `PUBLIC_URL` is none.
    #[error("PUBLIC_URL gives no usable redirect URI")]
    RedirectUri(#[from] threads_graph::InvalidRedirectUri),
    /// TLS could not be set up.
    #[error("the HTTP client could not be built")]
    Http(#[from] threads_graph::HttpClientError),
}

impl ThreadsAuth {
    /// Builds the clients. Makes no request.
    ///
    /// # Errors
    /// When the configuration gives no usable redirect URI, or TLS cannot be set up.
    pub fn new(config: Config) -> Result<Self, StartError> {
        let http = HttpClient::new(config.call_timeouts())?;
        let secrets = Secrets::new(
            aws::secrets_manager(&config.aws, &http),
            &config.app_secret_id,
            &config.keyring_secret_id,
            config.secrets_ttl,
        );
        let store = Store::new(
            aws::dynamodb(&config.aws, &http),
            &config.grants_table,
            &config.short_lived_table,
        );
        let redirect_uri = config.redirect_uri()?;
        let graph = Graph::new(http, config.endpoints.clone());
        Ok(Self {
            config,
            redirect_uri,
            graph,
            secrets,
            store,
        })
    }

    /// Reads the secrets ahead of the first request: a cold start has the processor to itself, a first request has not. A failure
    /// is left for that request to meet and to report.
    pub async fn warm(&self, now: Timestamp) {
        if let Err(error) = self.vault(now).await {
            tracing::warn!(error = error_chain(&error), "secrets could not be read ahead");
        }
    }

    /// The configuration.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The tables.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The secrets.
    #[must_use]
    pub fn secrets(&self) -> &Secrets {
        &self.secrets
    }

    fn cookie_kind(&self) -> CookieKind {
        if self.config.public_url.scheme() == "https" {
            CookieKind::Host
        } else {
            CookieKind::Loopback
        }
    }
}

/// An error and its causes, in one line for a log.
#[must_use]
pub fn error_chain(error: &dyn StdError) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
