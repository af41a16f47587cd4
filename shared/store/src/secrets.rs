//! The app's credentials, the keyring and the webhooks' secret, cached from Secrets Manager.
//!
//! Owns the times at which a secret is read: once per TTL, by one caller while the others wait. The
//! last good value stays in use for an hour after it was read, unless the secret was deleted. A
//! failed read is not repeated for some seconds, so that requests to us cannot cause as many
//! requests to AWS. AWS's own `aws_secretsmanager_caching` crate is not used because it depends on
//! `aws-config` and the SDK with their default features, which link a second TLS stack.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::Deserialize;
use threads_auth_model::seal::Keyring;
use threads_auth_model::webhook::WebhookSecret;
use threads_auth_model::{App, PreviousSecret, error_chain};
use threads_graph::{AppCredentials, AppId, AppSecret, UserId};
use tokio::sync::Mutex;
use zeroize::Zeroizing;

use crate::{AwsError, SecretsError};

/// Minimum time for which a value stays in use after its last successful read. It is bounded
/// because `keyring prune` removes a key only when no function can seal with it any more.
const OUTLASTS_FAILURES: Duration = Duration::from_hours(1);

/// Time after which a failed read is repeated while the last value is used, so that an outage
/// causes few requests. An unknown key does not cause a read sooner after a successful one either.
const RETRY_AFTER: Duration = Duration::from_secs(10);

/// Time after which a failed read is repeated without a value. A secret that was written for the
/// first time is used after this time at the latest.
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
    /// The last read, if it failed.
    failure: Option<Failed>,
}

/// A value that was read, and its time.
struct Read<T> {
    value: Arc<T>,
    at: Timestamp,
}

/// A read that failed, and its time.
struct Failed {
    error: SecretsError,
    at: Timestamp,
}

/// The value that a caller accepts.
#[derive(Clone, Copy)]
enum Accepts {
    /// The last good value, if the secret cannot be read.
    LastGood,
    /// A value that was read at this time or later.
    ReadSince(Timestamp),
    /// A value that is read now.
    ReadNow,
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
    /// Returns [`SecretsError`] if the secret cannot be read, and was deleted or not read for
    /// [`Self::usable_for`].
    pub async fn app(&self, now: Timestamp) -> Result<Arc<App>, SecretsError> {
        self.reader.get(&self.app, now, Accepts::LastGood, parse_app).await
    }

    /// Returns the app after another read of its secret, unless there was one within the last
    /// minute. For a signature that does not match the secret in use.
    ///
    /// # Errors
    /// Returns [`SecretsError`] if the secret cannot be read: the signature can then be neither
    /// accepted nor rejected.
    pub async fn reread_app(&self, now: Timestamp) -> Result<Arc<App>, SecretsError> {
        // Concurrent callers wait, and use the value that was read.
        let mut doubted_at = self.doubted_at.lock().await;
        let accepts = match *doubted_at {
            Some(at) if now < later(at, DOUBTED_AGAIN_AFTER) => Accepts::ReadSince(at),
            _ => Accepts::ReadNow,
        };
        if let Accepts::ReadNow = accepts {
            *doubted_at = Some(now);
        }
        self.reader.get(&self.app, now, accepts, parse_app).await
    }

    /// Returns the keyring.
    ///
    /// # Errors
    /// Returns [`SecretsError`] if the secret cannot be read, and was deleted or not read for
    /// [`Self::usable_for`].
    pub async fn keyring(&self, now: Timestamp) -> Result<Arc<Keyring>, SecretsError> {
        self.reader.get(&self.keyring, now, Accepts::LastGood, parse_keyring).await
    }

    /// Returns the keyring after another read of its secret, unless there was one a few seconds
    /// ago. For a value that names a key which the keyring in use does not hold.
    ///
    /// # Errors
    /// Returns [`SecretsError`] if the secret cannot be read: the key may exist or not.
    pub async fn reread_keyring(&self, now: Timestamp) -> Result<Arc<Keyring>, SecretsError> {
        let accepts = Accepts::ReadSince(earlier(now, RETRY_AFTER));
        self.reader.get(&self.keyring, now, accepts, parse_keyring).await
    }

    /// Returns the time for which a secret is used after its last successful read, while it cannot
    /// be read again.
    #[must_use]
    pub fn usable_for(&self) -> Duration {
        self.reader.usable_for()
    }

    /// Returns the time since the last successful read of the older secret, among those in use
    /// whose latest read failed.
    pub async fn stale_for(&self, now: Timestamp) -> Option<Duration> {
        self.app.stale_for(now).await.max(self.keyring.stale_for(now).await)
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
    /// Returns [`SecretsError`] if the secret cannot be read, and was deleted or not read for
    /// [`Secrets::usable_for`].
    pub async fn secret(&self, now: Timestamp) -> Result<Arc<WebhookSecret>, SecretsError> {
        let parse = |text: &str| WebhookSecret::from_json(text).map_err(|error| error.to_string());
        self.reader.get(&self.secret, now, Accepts::LastGood, parse).await
    }

    /// Does the same as [`Secrets::stale_for`].
    pub async fn stale_for(&self, now: Timestamp) -> Option<Duration> {
        self.secret.stale_for(now).await
    }
}

impl Reader {
    async fn get<T>(
        &self,
        cached: &Cached<T>,
        now: Timestamp,
        accepts: Accepts,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Result<Arc<T>, SecretsError> {
        // The lock is held during the read, so that concurrent callers share it and find the fresh
        // value.
        let mut last = cached.last.lock().await;
        if let Some(read) = &last.value
            && self.is_fresh(read, now, accepts)
        {
            return Ok(Arc::clone(&read.value));
        }
        let retry_after = if last.value.is_some() { RETRY_AFTER } else { FAILURE_SERVES };
        let error = match &last.failure {
            Some(failed) if failed.is_within(retry_after, now) => failed.error.clone(),
            _ => match self.read(&cached.id).await.and_then(|text| cached.parsed(&text, parse)) {
                Ok(value) => {
                    let value = Arc::new(value);
                    *last = Last { value: Some(Read { value: Arc::clone(&value), at: now }), failure: None };
                    return Ok(value);
                }
                Err(error) => {
                    last.note(&cached.id, &error, now);
                    error
                }
            },
        };
        match (&last.value, accepts) {
            (Some(read), Accepts::LastGood) if now < later(read.at, self.usable_for()) => {
                Ok(Arc::clone(&read.value))
            }
            _ => Err(error),
        }
    }

    /// Returns true if a value needs no read.
    fn is_fresh<T>(&self, read: &Read<T>, now: Timestamp, accepts: Accepts) -> bool {
        match accepts {
            Accepts::LastGood => now < later(read.at, self.ttl),
            Accepts::ReadSince(time) => time <= read.at,
            Accepts::ReadNow => false,
        }
    }

    /// Returns the time for which a value is used after it was read. If it is read less often than
    /// every half hour, one failed read must not end its use either.
    fn usable_for(&self) -> Duration {
        OUTLASTS_FAILURES.max(self.ttl * 2)
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

impl Failed {
    /// Returns true until `time` has passed since the failure. A time before the failure does not
    /// count, so that a corrected clock cannot prolong the pause.
    fn is_within(&self, time: Duration, now: Timestamp) -> bool {
        self.at <= now && now < later(self.at, time)
    }
}

impl<T> Last<T> {
    /// Records and logs a failed read. If the secret was deleted, its last value is dropped too,
    /// because its deletion revokes it.
    fn note(&mut self, id: &str, error: &SecretsError, now: Timestamp) {
        if error.is_deleted() {
            self.value = None;
        }
        if let Some(read) = &self.value {
            let (error, age_seconds) = (error_chain(error), read.age(now).as_secs());
            tracing::error!(
                secret = id,
                error,
                age_seconds,
                "a secret cannot be read; its last value is in use"
            );
        }
        self.failure = Some(Failed { error: error.clone(), at: now });
    }
}

impl<T> Read<T> {
    fn age(&self, now: Timestamp) -> Duration {
        now.duration_since(self.at).try_into().unwrap_or_default()
    }
}

impl<T> Cached<T> {
    fn new(id: &str) -> Self {
        Self { id: id.to_owned(), last: Mutex::new(Last { value: None, failure: None }) }
    }

    fn parsed(&self, text: &str, parse: impl Fn(&str) -> Result<T, String>) -> Result<T, SecretsError> {
        parse(text).map_err(|expected| SecretsError::Malformed { id: self.id.clone(), expected })
    }

    async fn stale_for(&self, now: Timestamp) -> Option<Duration> {
        let last = self.last.lock().await;
        last.value.as_ref().filter(|_| last.failure.is_some()).map(|read| read.age(now))
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

fn earlier(now: Timestamp, duration: Duration) -> Timestamp {
    now.checked_sub(duration).unwrap_or(Timestamp::MIN)
}
