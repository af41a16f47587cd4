//! The app's credentials, the keyring and the webhooks' secret, cached from Secrets Manager.
//!
//! Owns the times at which a secret is read: once per TTL, by one caller while the others wait. The
//! last good value stays in use while Secrets Manager is briefly unreachable. A failed read is not
//! repeated for some seconds, so that requests to us cannot cause as many requests to AWS. AWS's
//! own `aws_secretsmanager_caching` crate is not used because it depends on `aws-config` and the
//! SDK with their default features, which link a second TLS stack.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::Deserialize;
use threads_auth_model::seal::Keyring;
use threads_auth_model::webhook::WebhookSecret;
use threads_auth_model::{App, PreviousSecret};
use threads_graph::{AppCredentials, AppId, AppSecret, UserId};
use tokio::sync::Mutex;
use zeroize::Zeroizing;

use crate::{AwsError, SecretsError};

/// Time for which the old value is used after a failed read, so that an outage causes few requests.
/// An unknown key does not cause an earlier read either.
const RETRY_AFTER: Duration = Duration::from_secs(10);

/// Time for which a failed read is returned again. A secret that was written for the first time is
/// used after this time at the latest.
const FAILURE_SERVES: Duration = Duration::from_secs(5);

/// Minimum time between two reads of the app's secret that are caused by a wrong signature, since
/// anybody can send one.
const DOUBTED_AGAIN_AFTER: Duration = Duration::from_mins(1);

/// The two secrets, each read at its first use.
pub struct Secrets {
    reader: Reader,
    app: Cached<App>,
    /// Time of the last read of the app's secret that was caused by a signature.
    doubted_at: Mutex<Option<Timestamp>>,
    keyring: Cached<Keyring>,
}

/// The secret of webhooks, read at its first use.
pub struct WebhookSecretCache {
    reader: Reader,
    secret: Cached<WebhookSecret>,
}

struct Reader {
    client: aws_sdk_secretsmanager::Client,
    ttl: Duration,
}

struct Cached<T> {
    id: String,
    last: Mutex<Last<T>>,
}

/// The results of the last reads.
struct Last<T> {
    value: Option<Read<T>>,
    failure: Option<Failed>,
}

/// A value that was read, and the time until which it is used.
struct Read<T> {
    value: Arc<T>,
    at: Timestamp,
    until: Timestamp,
}

/// A read that failed, and its time.
struct Failed {
    error: SecretsError,
    at: Timestamp,
}

#[derive(Deserialize)]
struct AppSecretText {
    app_id: AppId,
    app_secret: Zeroizing<String>,
    inspector: Option<UserId>,
    /// Parsed separately, so that an error in it does not affect the other fields.
    previous: Option<serde_json::Value>,
}

#[derive(Deserialize)]
struct PreviousText {
    app_secret: Zeroizing<String>,
    until: Timestamp,
}

impl Secrets {
    /// Creates the cache of the secrets `app_secret_id` and `keyring_secret_id`, each read through
    /// `client` at most once per `ttl`.
    #[must_use]
    pub fn new(
        client: aws_sdk_secretsmanager::Client,
        app_secret_id: &str,
        keyring_secret_id: &str,
        ttl: Duration,
    ) -> Self {
        let (app, keyring) = (Cached::new(app_secret_id), Cached::new(keyring_secret_id));
        Self { reader: Reader { client, ttl }, app, doubted_at: Mutex::default(), keyring }
    }

    /// Returns the app, from a secret of the form
    /// `{"app_id":"…","app_secret":"…","inspector":"…","previous":{"app_secret":"…","until":"…"}}`.
    /// The last two fields are optional. Other fields belong to a later version, and are ignored.
    ///
    /// # Errors
    /// Returns [`SecretsError`] if the secret is malformed, or was never read and cannot be read
    /// now.
    pub async fn app(&self, now: Timestamp) -> Result<Arc<App>, SecretsError> {
        self.reader.get(&self.app, now, Read::serves, parse_app).await
    }

    /// Returns the app after another read of its secret, unless there was one within the last
    /// minute. For a signature that does not match the secret in use.
    ///
    /// # Errors
    /// Returns the errors of [`Self::app`].
    pub async fn reread_app(&self, now: Timestamp) -> Result<Arc<App>, SecretsError> {
        // Concurrent callers wait, and use the value that was read.
        let mut doubted_at = self.doubted_at.lock().await;
        if doubted_at.is_some_and(|at| now < later(at, DOUBTED_AGAIN_AFTER)) {
            return self.app(now).await;
        }
        *doubted_at = Some(now);
        self.reader.get(&self.app, now, |_, _| false, parse_app).await
    }

    /// Returns the keyring.
    ///
    /// # Errors
    /// Returns [`SecretsError`] if the secret is malformed, or was never read and cannot be read
    /// now.
    pub async fn keyring(&self, now: Timestamp) -> Result<Arc<Keyring>, SecretsError> {
        self.reader.get(&self.keyring, now, Read::serves, parse_keyring).await
    }

    /// Returns the keyring after another read of its secret, unless there was one a few seconds
    /// ago. For a value that names a key which the keyring in use does not hold.
    ///
    /// # Errors
    /// Returns the errors of [`Self::keyring`].
    pub async fn reread_keyring(&self, now: Timestamp) -> Result<Arc<Keyring>, SecretsError> {
        self.reader.get(&self.keyring, now, Read::is_fresh, parse_keyring).await
    }
}

impl WebhookSecretCache {
    /// Creates the cache of the secret `id`, read through `client` at most once per `ttl`.
    #[must_use]
    pub fn new(client: aws_sdk_secretsmanager::Client, id: &str, ttl: Duration) -> Self {
        Self { reader: Reader { client, ttl }, secret: Cached::new(id) }
    }

    /// Returns the secret.
    ///
    /// # Errors
    /// Returns [`SecretsError`] if the secret is malformed, or was never read and cannot be read
    /// now.
    pub async fn secret(&self, now: Timestamp) -> Result<Arc<WebhookSecret>, SecretsError> {
        let parse = |text: &str| WebhookSecret::from_json(text).map_err(|error| error.to_string());
        self.reader.get(&self.secret, now, Read::serves, parse).await
    }
}

impl Reader {
    async fn get<T>(
        &self,
        cached: &Cached<T>,
        now: Timestamp,
        is_usable: impl Fn(&Read<T>, Timestamp) -> bool,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Result<Arc<T>, SecretsError> {
        // The lock is held during the read, so that concurrent callers share it and find the fresh
        // value.
        let mut last = cached.last.lock().await;
        if let Some(read) = &last.value
            && is_usable(read, now)
        {
            return Ok(Arc::clone(&read.value));
        }
        if let Some(failed) = &last.failure
            && failed.serves(now)
        {
            return Err(failed.error.clone());
        }
        last.failure = None;
        let read = self.read(&cached.id).await.and_then(|text| {
            let malformed = |expected| SecretsError::Malformed { id: cached.id.clone(), expected };
            parse(&text).map_err(malformed)
        });
        match (read, &mut last.value) {
            (Ok(value), slot) => {
                let value = Arc::new(value);
                *slot = Some(Read { value: Arc::clone(&value), at: now, until: later(now, self.ttl) });
                Ok(value)
            }
            // Only a transient failure may be covered by the old value. A missing or forbidden
            // secret stays so, and must be reported.
            (Err(error), Some(read)) if error.is_transient() => {
                tracing::warn!(secret = cached.id, "Secrets Manager is unreachable; using the last value");
                (read.at, read.until) = (now, later(now, RETRY_AFTER));
                Ok(Arc::clone(&read.value))
            }
            (Err(error), _) => {
                last.failure = Some(Failed { error: error.clone(), at: now });
                Err(error)
            }
        }
    }

    async fn read(&self, id: &str) -> Result<Zeroizing<String>, SecretsError> {
        let answer = self.client.get_secret_value().secret_id(id).send().await.map_err(|error| {
            let operation = format!("read the secret {id}");
            SecretsError::SecretsManager(AwsError::new("Secrets Manager", operation, error))
        })?;
        answer.secret_string.map(Zeroizing::new).ok_or_else(|| SecretsError::Malformed {
            id: id.to_owned(),
            expected: "expected text, found none".to_owned(),
        })
    }
}

impl<T> Read<T> {
    fn serves(&self, now: Timestamp) -> bool {
        now < self.until
    }

    fn is_fresh(&self, now: Timestamp) -> bool {
        now < later(self.at, RETRY_AFTER)
    }
}

impl Failed {
    /// Returns true while the failure is returned again. It is not before its own time, so that a
    /// corrected clock cannot prolong it.
    fn serves(&self, now: Timestamp) -> bool {
        self.at <= now && now < later(self.at, FAILURE_SERVES)
    }
}

impl<T> Cached<T> {
    fn new(id: &str) -> Self {
        Self { id: id.to_owned(), last: Mutex::new(Last { value: None, failure: None }) }
    }
}

fn parse_keyring(text: &str) -> Result<Keyring, String> {
    Keyring::from_json(text).map_err(|error| error.to_string())
}

fn parse_app(text: &str) -> Result<App, String> {
    const EXPECTED: &str = "expected {\"app_id\":\"DIGITS\",\"app_secret\":\"…\"}, \
        with the Threads app's id and secret; \"inspector\":\"USER_ID\" is optional";
    let text: AppSecretText = serde_json::from_str(text).map_err(|_| EXPECTED.to_owned())?;
    let app_secret = AppSecret::new(text.app_secret.as_str()).map_err(|_| EXPECTED.to_owned())?;
    let credentials = AppCredentials { app_id: text.app_id, app_secret };
    let previous = text.previous.and_then(|previous| {
        let previous: PreviousText = serde_json::from_value(previous).ok()?;
        let secret = AppSecret::new(previous.app_secret.as_str()).ok()?;
        Some(PreviousSecret { secret, until: previous.until })
    });
    Ok(App { credentials, inspector: text.inspector, previous })
}

fn later(now: Timestamp, duration: Duration) -> Timestamp {
    now.checked_add(duration).unwrap_or(Timestamp::MAX)
}
