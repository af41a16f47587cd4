//! A dead letter: its writer, its reason, and the way to replay it.

use events::Letter as EventLetter;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use super::queue::{Message, Which};

/// A parsed message of one of the queues.
pub(super) enum Letter {
    /// A whole event, written by the events function.
    Event(EventLetter),
    /// A range of the table's stream, written by Lambda.
    Place(Place),
    /// A sweep that did not run, and the reason; written by Lambda or the Scheduler.
    Sweep(&'static str, String),
    /// An event that could not be posted.
    Webhook(Undelivered),
    /// Anything else.
    Unknown,
}

/// The range of stream records that the function did not process.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Place {
    pub(super) stream_arn: String,
    pub(super) shard_id: String,
    pub(super) start_sequence_number: String,
    pub(super) end_sequence_number: String,
    pub(super) approximate_arrival_of_first_record: Timestamp,
    #[serde(skip)]
    pub(super) why: String,
}

/// An event that the receiver of webhooks did not take.
pub(super) struct Undelivered {
    by: &'static str,
    why: String,
    /// The event, as it is posted.
    pub(super) body: String,
    event: Value,
}

impl Letter {
    pub(super) fn read(message: &Message) -> Self {
        match message.which {
            Which::Events => Self::of_events(&message.body),
            Which::Sweep => Self::of_sweep(message),
            Which::Webhook => Self::of_webhook(message),
        }
    }

    /// A letter is the event itself; one of EventBridge's has the whole of what the bus delivers.
    fn of_webhook(message: &Message) -> Self {
        let mut event: Value = serde_json::from_str(&message.body).unwrap_or_default();
        let (by, why, body) = match (&message.given_up, &message.not_delivered) {
            (Some(why), _) => ("webhook", why.clone(), message.body.clone()),
            (None, Some((code, words))) => {
                event = event["detail"].take();
                ("eventbridge", format!("{code}: {words}"), event.to_string())
            }
            (None, None) => ("sqs", "the function failed again and again".to_owned(), message.body.clone()),
        };
        if event["id"].is_string() {
            Self::Webhook(Undelivered { by, why, body, event })
        } else {
            Self::Unknown
        }
    }

    fn of_events(body: &str) -> Self {
        if let Ok(letter) = serde_json::from_str(body) {
            return Self::Event(letter);
        }
        let body: Value = serde_json::from_str(body).unwrap_or_default();
        match Place::deserialize(&body["DDBStreamBatchInfo"]) {
            Ok(place) => Self::Place(Place { why: condition(&body), ..place }),
            Err(_) => Self::Unknown,
        }
    }

    fn of_sweep(message: &Message) -> Self {
        if let Some((code, words)) = &message.not_delivered {
            return Self::Sweep("scheduler", format!("{code}: {words}"));
        }
        let body: Value = serde_json::from_str(&message.body).unwrap_or_default();
        if body.get("requestContext").is_none() {
            return Self::Unknown;
        }
        let said = |field: &str| body["responsePayload"][field].as_str().unwrap_or_default();
        let why = match (said("errorType"), said("errorMessage")) {
            ("", "") => condition(&body),
            (name, words) => format!("{name}: {words}"),
        };
        Self::Sweep("lambda", why)
    }

    /// Returns the writer of the letter.
    pub(super) fn by(&self) -> &'static str {
        match self {
            Self::Event(_) => "events",
            Self::Place(_) => "lambda",
            Self::Sweep(by, _) => by,
            Self::Webhook(letter) => letter.by,
            Self::Unknown => "unknown",
        }
    }

    pub(super) fn why(&self) -> &str {
        match self {
            Self::Event(letter) => &letter.why,
            Self::Place(place) => &place.why,
            Self::Sweep(_, why) => why,
            Self::Webhook(letter) => &letter.why,
            Self::Unknown => "not a letter of this service",
        }
    }

    /// Returns the ARNs or ids that the letter is about, if it names them.
    pub(super) fn about(&self) -> Vec<String> {
        match self {
            Self::Event(letter) => letter.entry.resources.clone(),
            Self::Webhook(letter) => {
                letter.event["user_id"].as_str().map(str::to_owned).into_iter().collect()
            }
            Self::Place(_) | Self::Sweep(..) | Self::Unknown => Vec::new(),
        }
    }

    /// Returns the letter's position in the order of changes. Sequence numbers have many digits.
    pub(super) fn order(&self) -> (usize, &str, usize) {
        let (number, nth) = match self {
            Self::Event(letter) => (letter.number.as_str(), letter.nth),
            Self::Place(place) => (place.start_sequence_number.as_str(), 0),
            Self::Webhook(letter) => (letter.event["order"].as_str().unwrap_or_default(), 0),
            Self::Sweep(..) | Self::Unknown => ("", 0),
        };
        let (digits, number) = magnitude(number);
        (digits, number, nth)
    }

    /// Describes the content as text.
    pub(super) fn what(&self) -> String {
        match self {
            Self::Event(letter) => letter.entry.detail_type.clone(),
            Self::Place(place) => {
                format!("changes from {} in the stream", place.approximate_arrival_of_first_record)
            }
            Self::Sweep(..) => "a sweep".to_owned(),
            Self::Webhook(letter) => letter.event["type"].as_str().unwrap_or("?").to_owned(),
            Self::Unknown => "?".to_owned(),
        }
    }

    /// Returns the event's id, by which an app recognizes duplicates.
    pub(super) fn event_id(&self) -> Value {
        match self {
            Self::Event(letter) => {
                let event: Value = serde_json::from_str(&letter.entry.detail).unwrap_or_default();
                event["id"].clone()
            }
            Self::Webhook(letter) => letter.event["id"].clone(),
            Self::Place(_) | Self::Sweep(..) | Self::Unknown => Value::Null,
        }
    }

    /// The letter as JSON. The event itself is left to `replay`.
    pub(super) fn json(&self, message: &Message) -> Value {
        json!({
            "queue": message.which,
            "id": message.id,
            "sent_at": message.sent_at,
            "by": self.by(),
            "what": self.what(),
            "event_id": self.event_id(),
            "user_ids": self.about(),
            "reason": self.why(),
        })
    }
}

/// A number of many digits, in a form that compares numerically.
pub(super) fn magnitude(number: &str) -> (usize, &str) {
    let number = number.trim_start_matches('0');
    (number.len(), number)
}

/// Lambda's reason for giving up.
fn condition(body: &Value) -> String {
    body["requestContext"]["condition"].as_str().unwrap_or("no reason given").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(which: Which, body: &Value) -> Message {
        Message {
            which,
            id: "m".to_owned(),
            receipt: "r".to_owned(),
            body: body.to_string(),
            sent_at: None,
            not_delivered: None,
            given_up: None,
        }
    }

    #[test]
    fn numbers_of_the_stream_are_compared_as_numbers() {
        assert!(magnitude("1000") > magnitude("999") && magnitude("7") == magnitude("007"));
        assert!(magnitude("00000000000000000000010") > magnitude("9"));
    }

    #[test]
    fn a_letter_says_who_wrote_it_and_why() {
        let of_lambda = json!({
            "requestContext": {"condition": "RetriesExhausted"},
            "responsePayload": {"errorType": "refresh::RefreshError", "errorMessage": "could not read the due index"},
        });
        let letter = Letter::read(&message(Which::Sweep, &of_lambda));
        assert_eq!(
            (letter.by(), letter.why()),
            ("lambda", "refresh::RefreshError: could not read the due index")
        );
        let expired = json!({"requestContext": {"condition": "EventAgeExceeded"}});
        assert_eq!(Letter::read(&message(Which::Sweep, &expired)).why(), "EventAgeExceeded");
        let mut of_scheduler = message(Which::Sweep, &json!({}));
        of_scheduler.not_delivered = Some(("AWS.Scheduler.X".to_owned(), "no such role".to_owned()));
        let letter = Letter::read(&of_scheduler);
        assert_eq!((letter.by(), letter.why()), ("scheduler", "AWS.Scheduler.X: no such role"));
        let place = json!({
            "requestContext": {"condition": "RetryAttemptsExhausted"},
            "DDBStreamBatchInfo": {"shardId": "s", "startSequenceNumber": "1", "endSequenceNumber": "2",
                "approximateArrivalOfFirstRecord": "2026-01-01T00:00:00Z", "batchSize": 2,
                "approximateArrivalOfLastRecord": "2026-01-01T00:00:00Z", "streamArn": "arn"},
        });
        let letter = Letter::read(&message(Which::Events, &place));
        assert_eq!((letter.by(), letter.why()), ("lambda", "RetryAttemptsExhausted"));
        for which in Which::ALL {
            assert_eq!(Letter::read(&message(which, &json!("?"))).by(), "unknown");
        }
    }
}
