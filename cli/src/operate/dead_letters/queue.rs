//! The two queues of dead letters.
//!
//! Owns the way to look at a letter: SQS hides what it gives for a while, so whoever only looks
//! gives it back.

use std::collections::HashSet;

use anyhow::{Context, Result};
use aws_sdk_sqs::Client;
use aws_sdk_sqs::error::SdkError;
use aws_sdk_sqs::operation::get_queue_attributes::GetQueueAttributesError;
use aws_sdk_sqs::types::{MessageSystemAttributeName, QueueAttributeName};
use jiff::Timestamp;

use crate::operate::aws_failure::failed;
use crate::operate::target::Deployed;

/// How long letters are hidden from others, in seconds: as long as a replay of thousands may take,
/// ten at a time. If it is cut off, they are there again.
const HIDDEN: i32 = 900;

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

impl Queue {
    pub(super) fn of(deployed: &Deployed, which: Which) -> Result<Self> {
        let output = match which {
            Which::Events => "EventsDeadLettersUrl",
            Which::Sweep => "SweepDeadLettersUrl",
        };
        let url = deployed.output(output)?.to_owned();
        Ok(Self { client: Client::new(&deployed.sdk), which, url })
    }

    /// Takes every letter.
    pub(super) async fn take(&self) -> Result<Vec<Message>> {
        let (mut taken, mut seen) = (Vec::new(), HashSet::new());
        loop {
            let before = taken.len();
            let answer = self
                .client
                .receive_message()
                .queue_url(&self.url)
                .max_number_of_messages(10)
                .message_system_attribute_names(MessageSystemAttributeName::SentTimestamp)
                .message_attribute_names("All")
                .visibility_timeout(HIDDEN)
                .wait_time_seconds(LOOK)
                .send()
                .await
                .map_err(|error| {
                    failed(&error, &format!("SQS does not give the letters of {}", self.which))
                })?;
            let messages = answer.messages.unwrap_or_default();
            taken.extend(
                messages
                    .into_iter()
                    .filter_map(|message| self.read(message))
                    .filter(|message| seen.insert(message.id.clone())),
            );
            // A letter comes again if it was taken so long ago that it is visible again.
            if taken.len() == before {
                return Ok(taken);
            }
        }
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

    /// Gives a letter back.
    pub(super) async fn give_back(&self, message: &Message) {
        // If it is not taken, the letter comes back by itself.
        let _ = self
            .client
            .change_message_visibility()
            .queue_url(&self.url)
            .receipt_handle(&message.receipt)
            .visibility_timeout(0)
            .send()
            .await;
    }

    /// Deletes a letter.
    pub(super) async fn delete(&self, message: &Message) -> Result<()> {
        let delete = self.client.delete_message().queue_url(&self.url).receipt_handle(&message.receipt);
        delete.send().await.map_err(|error| {
            failed(&error, &format!("a letter was replayed, and SQS does not delete it ({})", message.id))
        })?;
        Ok(())
    }

    /// About how many letters there are.
    pub(super) async fn count(&self) -> Result<u64> {
        let which = self.which;
        let count = letters_in(&self.client, &self.url).await;
        let count =
            count.map_err(|error| failed(&error, &format!("SQS does not count the letters of {which}")))?;
        count.with_context(|| format!("SQS does not say how many letters of {which} there are"))
    }

    /// Deletes all letters.
    pub(super) async fn purge(&self) -> Result<()> {
        let purge = self.client.purge_queue().queue_url(&self.url).send().await;
        purge
            .map_err(|error| failed(&error, &format!("SQS does not purge the letters of {}", self.which)))?;
        Ok(())
    }
}

/// About how many letters are in a queue, those that somebody looks at just now too, if SQS says.
pub(in crate::operate) async fn letters_in(
    client: &Client,
    url: &str,
) -> Result<Option<u64>, SdkError<GetQueueAttributesError>> {
    let counted = [
        QueueAttributeName::ApproximateNumberOfMessages,
        QueueAttributeName::ApproximateNumberOfMessagesNotVisible,
    ];
    let asked = client.get_queue_attributes().queue_url(url).set_attribute_names(Some(counted.to_vec()));
    let answer = asked.send().await?;
    let number = |name| answer.attributes()?.get(name)?.parse::<u64>().ok();
    Ok(counted.iter().map(number).sum())
}
