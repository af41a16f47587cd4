//! The app's credentials and the keyring, from Secrets Manager, cached.
//!
//! Owns when a secret is read: once per TTL, by one caller while the others wait, and the last good
//! value goes on while Secrets Manager is briefly unreachable. A read that failed is not repeated
//! for some seconds, so that nobody can make us ask by asking us. AWS's own
//! `aws_secretsmanager_caching` crate is not used because it depends on `aws-config` and the SDK
//! with their default features, which link a second TLS stack.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::Deserialize;
use threads_auth_model::seal::Keyring;
use threads_auth_model::{App, PreviousSecret};
use threads_graph::{AppCredentials, AppId, AppSecret, UserId};
use tokio::sync::Mutex;
use zeroize::Zeroizing;

use crate::{AwsError, SecretsError};

/// After a failed read the old value serves this long before the next attempt, so that an outage is
/// not hammered. Nor is a secret read again sooner because a key is unknown.
const RETRY_AFTER: Duration = Duration::from_secs(10);

/// A failed read is the answer for this long. Whoever has written a secret for the first time waits
/// no longer for it to be used.
const FAILURE_SERVES: Duration = Duration::from_secs(5);

/// A wrong signature makes nobody read the app's secret more often than this: anybody can send one.
const DOUBTED_AGAIN_AFTER: Duration = Duration::from_mins(1);

/// The two secrets, read when they are first asked for.
pub struct Secrets {
    client: aws_sdk_secretsmanager::Client,
    ttl: Duration,
    app: Cached<App>,
    /// When the app's secret was last read because of a signature.
    doubted_at: Mutex<Option<Timestamp>>,
    keyring: Cached<Keyring>,
}

struct Cached<T> {
    id: String,
    last: Mutex<Last<T>>,
}

/// What the last reads came to.
struct Last<T> {
    value: Option<Read<T>>,
    failure: Option<Failed>,
}

/// A value that was read, and how long it serves.
struct Read<T> {
    value: Arc<T>,
    at: Timestamp,
    until: Timestamp,
}

/// A read that failed, and when.
struct Failed {
    error: SecretsError,
    at: Timestamp,
}

#[derive(Deserialize)]
struct AppSecretText {
    app_id: AppId,
    app_secret: Zeroizing<String>,
    inspector: Option<UserId>,
    /// Read leniently: nobody has to do without the rest for it.
    previous: Option<serde_json::Value>,
}

#[derive(Deserialize)]
struct PreviousText {
    app_secret: Zeroizing<String>,
    until: Timestamp,
}

impl Secrets {
    /// Reads the secrets `app_secret_id` and `keyring_secret_id` through `client`, each at most
    /// once per `ttl`.
    #[must_use]
    pub fn new(
        client: aws_sdk_secretsmanager::Client,
        app_secret_id: &str,
        keyring_secret_id: &str,
        ttl: Duration,
    ) -> Self {
        let (app, keyring) = (Cached::new(app_secret_id), Cached::new(keyring_secret_id));
        Self { client, ttl, app, doubted_at: Mutex::default(), keyring }
    }

    /// The app, from a secret `{"app_id":"…","app_secret":"…","inspector":"…","previous":{"app_secret":
    /// "…","until":"…"}}`, the last two of which are optional. Other fields are a later version's,
    /// and ignored.
    ///
    /// # Errors
    /// When the secret was never read and cannot be now, or is malformed.
    pub async fn app(&self, now: Timestamp) -> Result<Arc<App>, SecretsError> {
        self.get(&self.app, now, Read::serves, parse_app).await
    }

    /// The app, read again though its time is not over, unless that was done within a minute: for a
    /// signature that is not of the secret at hand.
    ///
    /// # Errors
    /// As [`Self::app`].
    pub async fn app_again(&self, now: Timestamp) -> Result<Arc<App>, SecretsError> {
        // Whoever comes meanwhile waits, and finds what was read.
        let mut doubted_at = self.doubted_at.lock().await;
        if doubted_at.is_some_and(|at| now < later(at, DOUBTED_AGAIN_AFTER)) {
            return self.app(now).await;
        }
        *doubted_at = Some(now);
        self.get(&self.app, now, |_, _| false, parse_app).await
    }

    /// The keyring.
    ///
    /// # Errors
    /// When the secret was never read and cannot be now, or is malformed.
    pub async fn keyring(&self, now: Timestamp) -> Result<Arc<Keyring>, SecretsError> {
        self.get(&self.keyring, now, Read::serves, parse_keyring).await
    }

    /// The keyring, read again unless that was done a moment ago: for a value that names a key
    /// which the keyring at hand does not hold.
    ///
    /// # Errors
    /// As [`Self::keyring`].
    pub async fn keyring_again(&self, now: Timestamp) -> Result<Arc<Keyring>, SecretsError> {
        self.get(&self.keyring, now, Read::is_fresh, parse_keyring).await
    }

    async fn get<T>(
        &self,
        cached: &Cached<T>,
        now: Timestamp,
        will_do: impl Fn(&Read<T>, Timestamp) -> bool,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Result<Arc<T>, SecretsError> {
        // Holding the lock while reading is the single flight: whoever comes meanwhile finds the
        // fresh value.
        let mut last = cached.last.lock().await;
        if let Some(read) = &last.value
            && will_do(read, now)
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
            // Only what may be different on the next try. A secret that is missing or forbidden
            // stays so, and must not hide behind an old value.
            (Err(error), Some(read)) if error.is_transient() => {
                tracing::warn!(secret = cached.id, "Secrets Manager is unreachable; the last value goes on");
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
    /// Not before it happened either: a clock that was put right must not make it last.
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
