//! The queues of dead letters.
//!
//! SQS hides a message for a while after it is received, so a command that only looks makes it
//! visible again.

use std::collections::{HashMap, HashSet};

use anyhow::{Context, Result, bail};
use aws_sdk_sqs::Client;
use aws_sdk_sqs::error::SdkError;
use aws_sdk_sqs::operation::get_queue_attributes::GetQueueAttributesError;
use aws_sdk_sqs::operation::purge_queue::PurgeQueueError;
use aws_sdk_sqs::types::{
    ChangeMessageVisibilityBatchRequestEntry, DeleteMessageBatchRequestEntry, MessageSystemAttributeName,
    QueueAttributeName,
};
use jiff::Timestamp;

use crate::operate::aws_failure::failed;
use crate::operate::target::Deployed;
use crate::shell::exit::later;

/// The time in seconds for which letters are hidden from others after they were received or kept.
/// If a command is cut off, they become visible again after that.
const HIDDEN: i32 = 900;

/// The maximum of SQS and EventBridge for one batch.
pub(super) const ENTRIES: usize = 10;
/// The maximum number of messages that SQS returns at once.
const TOGETHER: i32 = 10;

const NOT_DELETED: &str = "letters were replayed, and SQS does not delete them";

/// Long polling: SQS queries all its servers, so an empty response means that the queue is empty.
const LOOK: i32 = 1;

threads_graph::names! {
    /// A queue of dead letters.
    #[derive(clap::ValueEnum)]
    pub(in crate::operate) enum Which {
        /// Events that the bus did not accept.
        Events => "events",
        /// Sweeps that did not run.
        Sweep => "sweep",
        /// Events that the receiver of webhooks did not take.
        Webhook => "webhook",
    }
}

impl Which {
    /// The output with the queue's URL.
    fn output(self) -> &'static str {
        match self {
            Self::Events => "EventsDeadLettersUrl",
            Self::Sweep => "SweepDeadLettersUrl",
            Self::Webhook => "WebhookDeadLettersUrl",
        }
    }

    /// Returns the queues of a stack, which has the last one only if it posts its events.
    pub(super) fn of(deployed: &Deployed) -> impl Iterator<Item = Self> {
        let has_webhook = deployed.output(Self::Webhook.output()).is_ok();
        Self::ALL.into_iter().filter(move |which| has_webhook || *which != Self::Webhook)
    }
}

/// A queue.
pub(super) struct Queue {
    client: Client,
    pub(super) which: Which,
    url: String,
}

/// A message that is hidden from others for now.
pub(super) struct Message {
    pub(super) which: Which,
    pub(super) id: String,
    pub(super) receipt: String,
    pub(super) body: String,
    pub(super) sent_at: Option<Timestamp>,
    /// The error code and message of the Scheduler or EventBridge, if it did not deliver.
    pub(super) not_delivered: Option<(String, String)>,
    /// The webhook function's reason for giving up.
    pub(super) given_up: Option<String>,
}

/// The approximate number of letters in a queue.
pub(in crate::operate) struct Count {
    /// Letters that can be received.
    pub(super) visible: u64,
    /// Letters that another command has received.
    pub(super) hidden: u64,
}

impl Count {
    pub(in crate::operate) fn all(&self) -> u64 {
        self.visible + self.hidden
    }
}

impl Queue {
    pub(super) fn of(deployed: &Deployed, which: Which) -> Result<Self> {
        let url = deployed.output(which.output())?.to_owned();
        Ok(Self { client: Client::new(&deployed.sdk), which, url })
    }

    /// Receives letters until `stops` returns true or none is left. A failure keeps those received
    /// before.
    pub(super) async fn take(&self, stops: impl Fn() -> bool) -> (Vec<Message>, Result<()>) {
        let (mut taken, mut seen) = (Vec::new(), HashMap::new());
        while !stops() {
            let before = taken.len();
            let asked = self
                .client
                .receive_message()
                .queue_url(&self.url)
                .max_number_of_messages(TOGETHER)
                .message_system_attribute_names(MessageSystemAttributeName::SentTimestamp)
                .message_attribute_names("All")
                .visibility_timeout(HIDDEN)
                .wait_time_seconds(LOOK);
            let messages = match asked.send().await {
                Ok(answer) => answer.messages.unwrap_or_default(),
                Err(error) => {
                    let what = format!("SQS does not return the letters of {}", self.which);
                    return (taken, Err(failed(&error, &what).into()));
                }
            };
            for message in messages.into_iter().filter_map(|message| self.read(message)) {
                // A letter that was received long ago arrives again: only the newest receipt is
                // valid.
                let place = *seen.entry(message.id.clone()).or_insert(taken.len());
                if let Some(older) = taken.get_mut(place) {
                    *older = message;
                } else {
                    taken.push(message);
                }
            }
            if taken.len() == before {
                break;
            }
        }
        (taken, Ok(()))
    }

    fn read(&self, message: aws_sdk_sqs::types::Message) -> Option<Message> {
        let attribute = |name: &str| {
            message.message_attributes.as_ref()?.get(name)?.string_value.as_deref().map(str::to_owned)
        };
        let words = attribute("ERROR_MESSAGE").unwrap_or_default();
        let not_delivered = attribute("ERROR_CODE").map(|code| (code, words));
        let given_up = attribute(webhook::WHY);
        let sent_at = message
            .attributes
            .as_ref()
            .and_then(|all| all.get(&MessageSystemAttributeName::SentTimestamp))
            .and_then(|millis| Timestamp::from_millisecond(millis.parse().ok()?).ok());
        Some(Message {
            which: self.which,
            id: message.message_id?,
            receipt: message.receipt_handle?,
            body: message.body.unwrap_or_default(),
            sent_at,
            not_delivered,
            given_up,
        })
    }

    /// Makes letters visible again, except those that another command has received since.
    pub(super) async fn give_back(&self, messages: &[&Message]) {
        for some in messages.chunks(ENTRIES) {
            // If SQS fails, they become visible by themselves.
            let _ = self.hide(some, 0).await;
        }
    }

    /// Extends the time for which letters are hidden, before they are replayed. Returns the ids of
    /// those whose time was over: another command may have them.
    pub(super) async fn keep(&self, messages: &[&Message]) -> Result<HashSet<String>> {
        let mut lost = HashSet::new();
        for some in messages.chunks(ENTRIES) {
            for n in self.hide(some, HIDDEN).await? {
                lost.extend(some.get(n).map(|message| message.id.clone()));
            }
        }
        Ok(lost)
    }

    /// Hides letters from others from now on. Returns the indexes of those for which SQS refuses.
    async fn hide(&self, messages: &[&Message], seconds: i32) -> Result<Vec<usize>> {
        let entries = messages.iter().enumerate().filter_map(|(n, message)| {
            let entry = ChangeMessageVisibilityBatchRequestEntry::builder().id(n.to_string());
            entry.receipt_handle(&message.receipt).visibility_timeout(seconds).build().ok()
        });
        let asked = self.client.change_message_visibility_batch().queue_url(&self.url);
        let answer = asked.set_entries(Some(entries.collect())).send().await;
        let answer = answer
            .map_err(|error| failed(&error, &format!("SQS does not keep the letters of {}", self.which)))?;
        Ok(answer.failed().iter().filter_map(|failed| failed.id().parse().ok()).collect())
    }

    /// Deletes replayed letters. A letter that stays would be replayed again, under the same event
    /// id.
    pub(super) async fn delete(&self, messages: &[&Message]) -> Result<()> {
        for some in messages.chunks(ENTRIES) {
            let entries = some.iter().enumerate().filter_map(|(n, message)| {
                let entry = DeleteMessageBatchRequestEntry::builder().id(n.to_string());
                entry.receipt_handle(&message.receipt).build().ok()
            });
            let asked = self.client.delete_message_batch().queue_url(&self.url);
            let answer = asked.set_entries(Some(entries.collect())).send().await;
            let answer = answer.map_err(|error| failed(&error, NOT_DELETED))?;
            if let Some(refused) = answer.failed().first() {
                bail!("{NOT_DELETED} ({})", refused.code());
            }
        }
        Ok(())
    }

    /// Sends a body to another queue.
    pub(super) async fn send(&self, url: &str, body: &str) -> Result<()> {
        let sent = self.client.send_message().queue_url(url).message_body(body).send().await;
        sent.map(drop).map_err(|error| failed(&error, "SQS does not take the event back").into())
    }

    /// Returns the approximate number of letters.
    pub(super) async fn count(&self) -> Result<Count> {
        let which = self.which;
        let count = letters_in(&self.client, &self.url).await;
        let count =
            count.map_err(|error| failed(&error, &format!("SQS does not count the letters of {which}")))?;
        count.with_context(|| format!("SQS does not report the number of letters of {which}"))
    }

    /// Returns the approximate number of letters that others have received. Without the permission
    /// it is zero.
    pub(super) async fn hidden_beside(&self, ours: usize) -> u64 {
        let hidden = self.count().await.map_or(0, |count| count.hidden);
        hidden.saturating_sub(u64::try_from(ours).unwrap_or(u64::MAX))
    }

    /// Deletes all letters.
    pub(super) async fn purge(&self) -> Result<()> {
        let Err(error) = self.client.purge_queue().queue_url(&self.url).send().await else {
            return Ok(());
        };
        if error.as_service_error().is_some_and(PurgeQueueError::is_purge_queue_in_progress) {
            return later(format!(
                "the letters of {} were purged a moment ago: SQS allows one purge a minute",
                self.which
            ));
        }
        Err(failed(&error, &format!("SQS does not purge the letters of {}", self.which)).into())
    }
}

/// Returns the approximate number of letters in a queue, or `None` if SQS omits a number.
pub(in crate::operate) async fn letters_in(
    client: &Client,
    url: &str,
) -> Result<Option<Count>, SdkError<GetQueueAttributesError>> {
    let (visible, hidden) = (
        QueueAttributeName::ApproximateNumberOfMessages,
        QueueAttributeName::ApproximateNumberOfMessagesNotVisible,
    );
    let asked = client
        .get_queue_attributes()
        .queue_url(url)
        .attribute_names(visible.clone())
        .attribute_names(hidden.clone());
    let answer = asked.send().await?;
    let number = |name| answer.attributes()?.get(&name)?.parse::<u64>().ok();
    Ok(number(visible).zip(number(hidden)).map(|(visible, hidden)| Count { visible, hidden }))
}
