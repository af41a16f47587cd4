//! The two queues of dead letters.
//!
//! Owns the way to look at a letter: SQS hides what it gives for a while, so whoever only looks
//! gives it back.

use std::cell::Cell;
use std::collections::{HashMap, HashSet};

use anyhow::{Result, bail};
use aws_sdk_sqs::Client;
use aws_sdk_sqs::operation::purge_queue::PurgeQueueError;
use aws_sdk_sqs::types::{
    ChangeMessageVisibilityBatchRequestEntry, DeleteMessageBatchRequestEntry, MessageSystemAttributeName,
    QueueAttributeName,
};
use jiff::Timestamp;

use crate::operate::aws_failure::failed;
use crate::operate::target::Deployed;
use crate::shell::exit::later;

/// How long letters are hidden from others, in seconds, from when they were taken or kept. If a
/// command is cut off, they are there again after that.
const HIDDEN: i32 = 900;

/// The most that SQS and EventBridge take at once.
pub(super) const ENTRIES: usize = 10;
/// The most that SQS gives at once.
const TOGETHER: i32 = 10;

const NOT_DELETED: &str = "letters were replayed, and SQS does not delete them";

/// SQS looks at all its machines if it may take its time, so that an answer without letters means
/// that there are none.
const LOOK: i32 = 1;

threads_graph::names! {
    /// A queue of dead letters.
    #[derive(clap::ValueEnum)]
    pub(super) enum Which {
        /// Events that the bus did not take.
        Events => "events",
        /// Sweeps that were not made.
        Sweep => "sweep",
    }
}

/// A queue.
pub(super) struct Queue {
    client: Client,
    pub(super) which: Which,
    url: String,
}

/// A message that is ours until it is visible again.
pub(super) struct Message {
    pub(super) which: Which,
    pub(super) id: String,
    pub(super) receipt: String,
    pub(super) body: String,
    pub(super) sent_at: Option<Timestamp>,
    /// The Scheduler's code and words, where it has not delivered.
    pub(super) not_delivered: Option<(String, String)>,
}

/// About how many letters a queue has.
pub(super) struct Count {
    /// Those that a look would give.
    pub(super) visible: u64,
    /// Those that another command has taken.
    pub(super) hidden: u64,
}

impl Queue {
    pub(super) fn of(deployed: &Deployed, which: Which) -> Result<Self> {
        let output = match which {
            Which::Events => "EventsDeadLettersUrl",
            Which::Sweep => "SweepDeadLettersUrl",
        };
        let url = deployed.output(output)?.to_owned();
        Ok(Self { client: Client::new(&deployed.sdk), which, url })
    }

    /// Takes every letter, until a signal came. Gives what was taken in any case.
    pub(super) async fn take(&self, came: &Cell<Option<u8>>) -> (Vec<Message>, Result<()>) {
        let (mut taken, mut seen) = (Vec::new(), HashMap::new());
        while came.get().is_none() {
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
                    let what = format!("SQS does not give the letters of {}", self.which);
                    return (taken, Err(failed(&error, &what).into()));
                }
            };
            for message in messages.into_iter().filter_map(|message| self.read(message)) {
                // It comes again if it was taken long ago: only the newest receipt is good.
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
        })
    }

    /// Gives letters back, but for those that are somebody else's by now.
    pub(super) async fn give_back(&self, messages: &[&Message]) {
        for some in messages.chunks(ENTRIES) {
            // If SQS does not do it, they come back by themselves.
            let _ = self.hide(some, 0).await;
        }
    }

    /// Keeps letters for another while, before they are worked on. Gives the ids of those that are
    /// not ours any more: their time was over, and another command may be at them.
    pub(super) async fn keep(&self, messages: &[&Message]) -> Result<HashSet<String>> {
        let mut lost = HashSet::new();
        for some in messages.chunks(ENTRIES) {
            for n in self.hide(some, HIDDEN).await? {
                lost.extend(some.get(n).map(|message| message.id.clone()));
            }
        }
        Ok(lost)
    }

    /// Hides letters from others from now on. Gives the places of those for which SQS refuses.
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

    /// Deletes letters that were replayed. Each goes, or a second replay puts its event once more,
    /// under the same id.
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

    /// About how many letters there are.
    pub(super) async fn count(&self) -> Result<Count> {
        let (visible, hidden) = (
            QueueAttributeName::ApproximateNumberOfMessages,
            QueueAttributeName::ApproximateNumberOfMessagesNotVisible,
        );
        let asked = self
            .client
            .get_queue_attributes()
            .queue_url(&self.url)
            .attribute_names(visible.clone())
            .attribute_names(hidden.clone());
        let answer = asked
            .send()
            .await
            .map_err(|error| failed(&error, &format!("SQS does not count the letters of {}", self.which)))?;
        let number = |name| answer.attributes()?.get(&name)?.parse::<u64>().ok();
        Ok(Count { visible: number(visible).unwrap_or(0), hidden: number(hidden).unwrap_or(0) })
    }

    /// About how many letters others have taken, beside ours. Who may not count is told of none.
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
                "the letters of {} were purged a moment ago: once a minute will do",
                self.which
            ));
        }
        Err(failed(&error, &format!("SQS does not purge the letters of {}", self.which)).into())
    }
}
