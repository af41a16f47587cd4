//! The function behind the webhooks' queue: receives a batch of events, and posts each to the app's
//! backend.
//!
//! EventBridge cannot sign a body, so a function posts it, in the form of Standard Webhooks:
//! `webhook-id` is the event's id, and the same at each attempt; `webhook-timestamp` is the time of
//! the attempt; `webhook-signature` covers both and the body. Lambda's own two retries would not
//! outlive an outage of an hour. So a failed event goes back into its queue, and is hidden until
//! its next attempt; the delivered events of its batch are not repeated. A queue with retries does
//! not keep the order of events, so each event carries its own.

mod delivery;
mod wait;

use std::collections::HashMap;
use std::time::{Duration, Instant};

use aws_sdk_sqs::config::{BehaviorVersion, Region};
use aws_sdk_sqs::error::SdkError;
use aws_sdk_sqs::types::MessageAttributeValue;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;
use threads_auth::{Config, StartError, aws, error_chain};
use threads_auth_web::{Failed, Handled};
use threads_graph::HttpClient;

pub use crate::delivery::{Death, Delivery, Message, Verdict};
pub use crate::wait::WAITS;

/// The attribute of a dead letter that contains the reason.
pub const WHY: &str = "why";

/// Delivers the queue's events.
pub struct WebhookFunction {
    delivery: Delivery,
    client: aws_sdk_sqs::Client,
    queue: Option<String>,
    dead_letters: Option<String>,
}

/// The used part of a batch. The names are the queue's own.
#[derive(Deserialize)]
struct Batch {
    #[serde(rename = "Records")]
    records: Vec<Record>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Record {
    message_id: String,
    receipt_handle: String,
    body: String,
    #[serde(default)]
    attributes: HashMap<String, String>,
}

/// A request to the queue failed, as far as is known.
#[derive(Debug, thiserror::Error)]
#[error("SQS did not answer or refused")]
struct QueueError(#[source] Box<dyn std::error::Error + Send + Sync>);

impl WebhookFunction {
    /// Builds the clients. Makes no request.
    ///
    /// # Errors
    /// Returns [`StartError`] if there is no receiver, or if TLS cannot be set up.
    pub fn new(config: &Config) -> Result<Self, StartError> {
        let webhook = config.webhook()?;
        let http = HttpClient::new(config.call_timeouts())?;
        let mut builder = aws_sdk_sqs::Config::builder()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .region(Region::new(config.aws.region.clone()))
            .credentials_provider(config.aws.credentials.clone())
            .timeout_config(config.aws.timeouts.clone())
            .stalled_stream_protection(aws::no_stalls())
            .http_client(aws::http_client(&http));
        builder.set_endpoint_url(config.aws.sqs_url.clone());
        Ok(Self {
            delivery: Delivery::new(config, WAITS)?,
            client: aws_sdk_sqs::Client::from_conf(builder.build()),
            queue: webhook.queue.clone(),
            dead_letters: webhook.dead_letters.clone(),
        })
    }

    /// Delivers one batch, one event after the other, so that each process makes one request to the
    /// receiver at a time.
    pub async fn handle(&self, batch: &Value, now: Timestamp) -> Handled {
        let Ok(Batch { records }) = Batch::deserialize(batch) else {
            tracing::error!(outcome = "malformed", "expected a batch of an SQS queue");
            return Handled::nothing();
        };
        let (began, mut handled) = (Instant::now(), Handled::default());
        for record in records {
            let at = now.checked_add(began.elapsed()).unwrap_or(now);
            // Boxed, because the compiler limits the depth of the futures that it lays out.
            let verdict = Box::pin(self.delivery.attempt(&record.message(at), at, at)).await;
            let settled = match verdict {
                Verdict::Delivered => Ok(true),
                Verdict::Later(wait) => Box::pin(self.put_off(&record, wait)).await.map(|()| false),
                Verdict::Dead(death) => Box::pin(self.give_up(&record, death)).await.map(|()| true),
            };
            let is_done = settled.unwrap_or_else(|error| {
                // The message stays, and SQS delivers it again after its visibility timeout.
                tracing::error!(outcome = "queue_away", error = error_chain(&error));
                false
            });
            if !is_done {
                handled.batch_item_failures.push(Failed { item_identifier: record.message_id });
            }
        }
        handled
    }

    /// Returns the age of the secret that signs, if it is in use although it cannot be read.
    pub async fn stale_for(&self, now: Timestamp) -> Option<Duration> {
        self.delivery.stale_for(now).await
    }

    /// Hides a message until its next attempt.
    async fn put_off(&self, record: &Record, wait: Duration) -> Result<(), QueueError> {
        let seconds = i32::try_from(wait.as_secs()).unwrap_or(i32::MAX);
        let asked = self
            .client
            .change_message_visibility()
            .set_queue_url(self.queue.clone())
            .receipt_handle(&record.receipt_handle)
            .visibility_timeout(seconds);
        asked.send().await.map(drop).map_err(QueueError::of)
    }

    /// Makes a dead letter of a message.
    async fn give_up(&self, record: &Record, death: Death) -> Result<(), QueueError> {
        let why = MessageAttributeValue::builder().data_type("String").string_value(death.as_str()).build();
        let sent = self
            .client
            .send_message()
            .set_queue_url(self.dead_letters.clone())
            .message_body(&record.body)
            .message_attributes(WHY, why.map_err(|error| QueueError(error.into()))?);
        sent.send().await.map(drop).map_err(QueueError::of)
    }
}

impl QueueError {
    fn of<E: std::error::Error + Send + Sync + 'static>(error: SdkError<E>) -> Self {
        Self(error.into())
    }
}

impl Record {
    /// Returns the event, with the progress of its delivery. A missing number counts as a first
    /// attempt at `now`.
    fn message(&self, now: Timestamp) -> Message {
        let number = |name: &str| self.attributes.get(name)?.parse::<i64>().ok();
        let sent_at = number("SentTimestamp").and_then(|millis| Timestamp::from_millisecond(millis).ok());
        let attempt = number("ApproximateReceiveCount").and_then(|count| u32::try_from(count).ok());
        Message { body: self.body.clone(), sent_at: sent_at.unwrap_or(now), attempt: attempt.unwrap_or(1) }
    }
}
