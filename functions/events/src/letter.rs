//! Dead letters: whole events that the bus did not accept for an hour, in a queue that keeps them
//! for two weeks.
//!
//! Lambda's own letters refer to a range of the stream, which is trimmed after a day. `threads-auth
//! dead-letters replay` puts these letters' events on the bus again.

use aws_sdk_sqs::config::{BehaviorVersion, Region};
use aws_sdk_sqs::error::SdkError;
use aws_sdk_sqs::operation::send_message::SendMessageError;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use threads_auth::{Config, aws};
use threads_graph::HttpClient;

use crate::entry::Entry;

/// A dead letter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Letter {
    /// The time at which the event was given up.
    pub given_up_at: Timestamp,
    /// EventBridge's code for its last refusal.
    pub why: String,
    /// The sequence number of its change in the table's stream. An account's events are replayed in
    /// this order, because their times are whole seconds.
    pub number: String,
    /// Its index among the events of that change.
    pub nth: usize,
    /// The event.
    pub entry: Entry,
}

/// The queue did not accept a letter, as far as is known.
#[derive(Debug, thiserror::Error)]
#[error("SQS did not answer or refused")]
pub(crate) struct LetterError(#[source] Box<SdkError<SendMessageError>>);

/// The queue of dead letters.
pub(crate) struct Letters {
    client: aws_sdk_sqs::Client,
    queue: String,
}

impl Letters {
    /// Returns the queue that the configuration names, if any.
    pub(crate) fn new(config: &Config, http: &HttpClient) -> Option<Self> {
        let queue = config.events_dead_letters.clone()?;
        let mut builder = aws_sdk_sqs::Config::builder()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .region(Region::new(config.aws.region.clone()))
            .credentials_provider(config.aws.credentials.clone())
            .timeout_config(config.aws.timeouts.clone())
            .stalled_stream_protection(aws::no_stalls())
            .http_client(aws::http_client(http));
        builder.set_endpoint_url(config.aws.sqs_url.clone());
        Some(Self { client: aws_sdk_sqs::Client::from_conf(builder.build()), queue })
    }

    /// Sends a letter. An event has a few hundred bytes, and a message may have 256 KiB.
    pub(crate) async fn send(&self, letter: &Letter) -> Result<(), LetterError> {
        // Our own types always serialize.
        let body = serde_json::to_string(letter).unwrap_or_default();
        let sent = self.client.send_message().queue_url(&self.queue).message_body(body).send().await;
        sent.map(drop).map_err(|error| LetterError(Box::new(error)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The queue keeps letters for two weeks, across deployments, so the format must stay readable.
    #[test]
    fn a_letter_is_read_as_it_was_written() {
        let letter = Letter {
            given_up_at: "2026-01-02T03:04:05Z".parse().unwrap(),
            why: "ThrottlingException".to_owned(),
            number: "4".to_owned(),
            nth: 1,
            entry: Entry {
                source: "threads-auth".to_owned(),
                detail_type: "account.refreshed".to_owned(),
                resources: vec!["1784".to_owned()],
                time: "2026-01-02T02:04:05Z".parse().unwrap(),
                detail: "{}".to_owned(),
            },
        };
        let text = concat!(
            r#"{"given_up_at":"2026-01-02T03:04:05Z","why":"ThrottlingException","number":"4","nth":1,"entry":{"#,
            r#""source":"threads-auth","detail_type":"account.refreshed","resources":["1784"],"time":"2026-01-02T02:04:05Z","detail":"{}"}}"#,
        );
        assert_eq!(serde_json::to_string(&letter).unwrap(), text);
        assert_eq!(serde_json::from_str::<Letter>(text).unwrap(), letter);
        let request = letter.entry.request("bus");
        assert_eq!(
            (request.detail_type(), request.event_bus_name()),
            (Some("account.refreshed"), Some("bus"))
        );
    }
}
