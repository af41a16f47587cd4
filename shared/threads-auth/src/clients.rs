//! The clients of Meta and AWS, and the configuration that they were built from.

use jiff::Timestamp;
use threads_auth_model::Vault;
use threads_auth_model::seal::{Purpose, SealError};
use threads_auth_store::{Secrets, SecretsError, Store, aws};
use threads_graph::{AccessToken, Graph, HttpClient, RedirectUri, UserId};

use crate::callers::Callers;
use crate::calls::Calls;
use crate::config::{Config, ConfigError};

pub(crate) struct Clients {
    pub(crate) config: Config,
    pub(crate) redirect_uri: RedirectUri,
    pub(crate) graph: Graph,
    pub(crate) secrets: Secrets,
    pub(crate) store: Store,
    pub(crate) callers: Callers,
    pub(crate) calls: Calls,
}

/// Error of [`ThreadsAuth::new`](crate::ThreadsAuth::new).
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The environment is incomplete or invalid.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// `PUBLIC_URL` gives no redirect URI.
    #[error("PUBLIC_URL gives no usable redirect URI")]
    RedirectUri(#[from] threads_graph::InvalidRedirectUri),
    /// TLS could not be set up.
    #[error("the HTTP client could not be built")]
    Http(#[from] threads_graph::HttpClientError),
}

/// Error of opening a sealed value.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenError {
    /// The value does not open with the newest keyring.
    #[error(transparent)]
    Sealed(#[from] SealError),
    /// The value names a key that the keyring in use lacks, and the keyring cannot be read again.
    #[error(transparent)]
    Keyring(#[from] SecretsError),
}

impl Clients {
    pub(crate) fn new(config: Config) -> Result<Self, StartError> {
        let http = HttpClient::new(config.call_timeouts())?;
        let secrets = Secrets::new(
            aws::secrets_manager(&config.aws, &http),
            &config.app_secret_id,
            &config.keyring_secret_id,
            config.secrets_ttl,
        );
        let dynamodb = aws::dynamodb(&config.aws, &http);
        Ok(Self {
            store: Store::new(dynamodb, &config.grants_table, &config.short_lived_table)
                .looking_every(config.check_every),
            redirect_uri: config.redirect_uri()?,
            graph: Graph::new(http, config.endpoints.clone()),
            secrets,
            callers: Callers::default(),
            calls: Calls::new(config.graph_calls_per_hour),
            config,
        })
    }

    /// Builds the vault, which seals and opens tokens, from the two secrets.
    pub(crate) async fn vault(&self, now: Timestamp) -> Result<Vault, SecretsError> {
        // Read concurrently, so that a cold start waits for the slower one only.
        let (app, keyring) =
            futures_util::future::try_join(self.secrets.app(now), self.secrets.keyring(now)).await?;
        Ok(Vault { app, keyring, table: self.store.grants_table().to_owned() })
    }

    /// Adds this process's calls to Meta to the shared count, if there is a limit and at least
    /// `least` calls are not counted yet.
    pub(crate) async fn count_calls(&self, least: u64, now: Timestamp) {
        self.calls.count(least, &self.graph, &self.store, now).await;
    }

    /// Returns true if no call to Meta is left in this hour.
    pub(crate) fn are_calls_spent(&self, now: Timestamp) -> bool {
        self.calls.are_spent(&self.graph, now)
    }

    /// Returns true if few calls are left, so that optional ones are dropped.
    pub(crate) fn are_calls_scarce(&self, now: Timestamp) -> bool {
        self.calls.are_scarce(&self.graph, now)
    }

    /// Opens a token of a user's row. If `vault` lacks the key, the keyring is read again first:
    /// the key may be newer than the cached keyring.
    pub(crate) async fn open(
        &self,
        vault: &Vault,
        purpose: Purpose,
        user_id: &UserId,
        sealed: &[u8],
        now: Timestamp,
    ) -> Result<AccessToken, OpenError> {
        self.with_newest(vault, now, |vault| vault.open(purpose, user_id, sealed)).await
    }

    /// Runs `work`, and runs it again with a freshly read keyring if `vault` lacks the key.
    pub(crate) async fn with_newest<T>(
        &self,
        vault: &Vault,
        now: Timestamp,
        work: impl Fn(&Vault) -> Result<T, SealError>,
    ) -> Result<T, OpenError> {
        match work(vault) {
            Err(SealError::UnknownKey) => {}
            done => return Ok(done?),
        }
        let keyring = self.secrets.reread_keyring(now).await?;
        Ok(work(&Vault { keyring, ..vault.clone() })?)
    }
}
