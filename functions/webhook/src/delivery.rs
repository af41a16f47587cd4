//! One attempt to post an event to the app's backend.
//!
//! Owns the request and the meaning of its response. Refuses to follow a redirect, which would send
//! an event to a place that nobody has configured, and to read the response's body.

use std::time::Duration;

use jiff::Timestamp;
use serde::Deserialize;
use threads_auth::{Config, SecretsError, StartError, WebhookConfig, WebhookSecretCache, aws, error_chain};
use threads_graph::HttpClient;

use crate::wait::{TRIED_FOR, retry_after, wait};

/// Maximum wait while the secret is unavailable.
const SECRET_AGAIN_AFTER: Duration = Duration::from_mins(30);

/// `410 Gone`: the receiver wants no more events.
const GONE: u16 = 410;

/// An event on its way to the backend.
#[derive(Clone, Debug)]
pub struct Message {
    /// The event as JSON, byte for byte.
    pub body: String,
    /// The time at which the event came from the bus.
    pub sent_at: Timestamp,
    /// The number of this attempt, from one.
    pub attempt: u32,
}

/// The part of an event that a delivery needs.
#[derive(Deserialize)]
struct Identified {
    id: String,
}

impl Message {
    /// Returns the event's id.
    #[must_use]
    pub fn id(&self) -> Option<String> {
        let id = serde_json::from_str::<Identified>(&self.body).ok()?.id;
        // It becomes a header.
        (!id.is_empty() && id.bytes().all(|byte| byte.is_ascii_graphic())).then_some(id)
    }
}

/// The outcome of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The receiver accepted it.
    Delivered,
    /// It is retried after this time.
    Later(Duration),
    /// It becomes a dead letter.
    Dead(Death),
}

threads_graph::names! {
    /// The reason why a message is not tried again.
    pub enum Death {
        /// The receiver answered 410: it wants no events.
        Gone => "gone",
        /// It was tried for three days.
        TriedForLong => "tried_for_long",
        /// It is not an event.
        Malformed => "malformed",
    }
}

/// The reason why an attempt failed.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("the secret that signs webhooks cannot be used")]
    Secret(#[from] SecretsError),
    #[error("the receiver did not answer: {0}")]
    NoAnswer(String),
    #[error("the receiver answered {status}")]
    Status {
        status: u16,
        /// The time that the receiver asked for.
        retry_after: Option<Duration>,
    },
}

impl Failure {
    fn status(&self) -> Option<u16> {
        match self {
            Self::Status { status, .. } => Some(*status),
            Self::Secret(_) | Self::NoAnswer(_) => None,
        }
    }

    fn asked(&self) -> Option<Duration> {
        match self {
            Self::Status { retry_after, .. } => *retry_after,
            Self::Secret(_) | Self::NoAnswer(_) => None,
        }
    }
}

/// Posts events to the receiver.
pub struct Delivery {
    http: HttpClient,
    webhook: WebhookConfig,
    secret: WebhookSecretCache,
    timeout: Duration,
    waits: &'static [Duration],
}

impl Delivery {
    /// Builds the clients. Makes no request. Failed deliveries are retried after `waits`, the last
    /// of which repeats.
    ///
    /// # Errors
    /// Returns [`StartError`] if there is no receiver, or if TLS cannot be set up.
    pub fn new(config: &Config, waits: &'static [Duration]) -> Result<Self, StartError> {
        let webhook = config.webhook()?.clone();
        let http = HttpClient::new(config.call_timeouts())?;
        let client = aws::secrets_manager(&config.aws, &http);
        let secret = WebhookSecretCache::new(client, &webhook.secret_id, config.secrets_ttl);
        Ok(Self { http, webhook, secret, timeout: config.webhook_timeout(), waits })
    }

    pub(crate) async fn stale_for(&self, now: Timestamp) -> Option<Duration> {
        self.secret.stale_for(now).await
    }

    /// Makes one attempt, and logs its outcome. `timestamp` is the receiver's time, which equals
    /// `now` except in development, where the clock can be moved.
    pub async fn attempt(&self, message: &Message, timestamp: Timestamp, now: Timestamp) -> Verdict {
        let attempt = message.attempt;
        let Some(id) = message.id() else {
            tracing::error!(outcome = Death::Malformed.as_str(), attempt, "a message is no event");
            return Verdict::Dead(Death::Malformed);
        };
        let failure = match self.post(&id, &message.body, timestamp, now).await {
            Ok(status) => {
                tracing::info!(outcome = "delivered", event_id = id, status, attempt);
                return Verdict::Delivered;
            }
            Err(failure) => failure,
        };
        let (status, error) = (failure.status(), error_chain(&failure));
        let death = if status == Some(GONE) {
            Some(Death::Gone)
        } else {
            (now.duration_since(message.sent_at) >= TRIED_FOR).then_some(Death::TriedForLong)
        };
        if let Some(death) = death {
            let outcome = death.as_str();
            tracing::error!(outcome, event_id = id, status, attempt, error, "an event was given up");
            return Verdict::Dead(death);
        }
        let wait = match failure {
            // No request was sent, so the receiver's waits have not begun.
            Failure::Secret(_) => self.waits.last().copied().unwrap_or_default().min(SECRET_AGAIN_AFTER),
            _ => wait(self.waits, attempt, &id, failure.asked()),
        };
        let seconds = wait.as_secs();
        tracing::warn!(outcome = "not_delivered", event_id = id, status, attempt, error, wait = seconds);
        Verdict::Later(wait)
    }

    /// Posts an event. Returns the status of a success.
    #[expect(
        clippy::disallowed_methods,
        reason = "the send path to the receiver: it has a timeout, follows nothing, and keeps the URL out of errors"
    )]
    async fn post(&self, id: &str, body: &str, timestamp: Timestamp, now: Timestamp) -> Result<u16, Failure> {
        let secret = self.secret.secret(now).await?;
        let request = self
            .http
            .inner()
            .post(self.webhook.url.clone())
            .timeout(self.timeout)
            .header("content-type", "application/json")
            .header("user-agent", concat!("threads-auth/", env!("CARGO_PKG_VERSION")))
            .header("webhook-id", id)
            .header("webhook-timestamp", timestamp.as_second())
            .header("webhook-signature", secret.signatures(id, body, timestamp, now))
            .body(body.to_owned());
        // The body of the answer is not read: dropping it closes the connection, unless it is
        // empty.
        let answer = request.send().await.map_err(|error| {
            let error = error.without_url();
            let late = if error.is_timeout() { "it took too long: " } else { "" };
            Failure::NoAnswer(format!("{late}{}", error_chain(&error)))
        })?;
        let status = answer.status();
        if status.is_success() {
            return Ok(status.as_u16());
        }
        let asked = answer.headers().get("retry-after").and_then(|value| value.to_str().ok());
        let retry_after = asked.and_then(|text| retry_after(text, timestamp));
        Err(Failure::Status { status: status.as_u16(), retry_after })
    }
}
