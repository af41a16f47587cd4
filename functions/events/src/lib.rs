//! The function behind the grants table's stream: a batch of changes in, events on the bus.
//!
//! Lambda hands a batch over until it is told that all of it is done, so what is written to the table is announced, whatever dies
//! in between; and at least once, so each event has an id that stays the same. It is a function and not an EventBridge
//! Pipe because a Pipe's filter and template see one image of a row, and what happened is the difference of two. Reads no
//! secret: the tokens in the images stay sealed.

use std::collections::HashMap;

use aws_sdk_eventbridge::primitives::DateTime;
use aws_sdk_eventbridge::types::PutEventsRequestEntry;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_dynamo::AttributeValue;
use serde_json::Value;
use threads_auth::{Config, EVENT_SOURCE, Event, RowChange, StartError, aws, error_chain};

/// The most that EventBridge takes at once.
const ENTRIES: usize = 10;

/// Turns changes into events.
pub struct Announcer {
    client: aws_sdk_eventbridge::Client,
    bus: String,
    table: String,
}

/// A batch, as far as it is of use. The names are the stream's own.
#[derive(Deserialize)]
struct Batch {
    #[serde(rename = "Records")]
    records: Vec<Record>,
}

#[derive(Deserialize)]
struct Record {
    #[serde(rename = "eventID")]
    id: String,
    #[serde(rename = "eventName", default)]
    name: String,
    #[serde(rename = "dynamodb")]
    change: Change,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Change {
    sequence_number: String,
    #[serde(default)]
    keys: Image,
    old_image: Option<Image>,
    new_image: Option<Image>,
}

type Image = HashMap<String, AttributeValue>;

/// What Lambda is told: from which change on the batch has to be handed over again.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Handled {
    /// The first change that was not announced, if any.
    pub batch_item_failures: Vec<Failed>,
}

/// One change.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Failed {
    /// Its sequence number; empty means the whole batch.
    pub item_identifier: String,
}

/// The bus did not take an event.
#[derive(Debug, thiserror::Error)]
enum PutError {
    #[error("EventBridge did not answer or refused")]
    Call(
        #[source]
        Box<
            aws_sdk_eventbridge::error::SdkError<aws_sdk_eventbridge::operation::put_events::PutEventsError>,
        >,
    ),
    #[error("EventBridge refused an event ({0})")]
    Entry(String),
}

impl Announcer {
    /// Builds the client. Makes no request.
    ///
    /// # Errors
    /// When there is no bus, or TLS cannot be set up.
    pub fn new(config: &Config) -> Result<Self, StartError> {
        let bus = config.event_bus()?.to_owned();
        let client = aws_sdk_eventbridge::Client::from_conf(eventbridge_config(config)?);
        Ok(Self { client, bus, table: config.grants_table.clone() })
    }

    /// Announces one batch, in order, up to the first change that cannot be announced now.
    pub async fn handle(&self, batch: &Value, now: Timestamp) -> Handled {
        let Ok(Batch { records }) = Batch::deserialize(batch) else {
            tracing::error!(outcome = "malformed", "expected a batch of a DynamoDB stream");
            return Handled::from_first(String::new());
        };
        let mut announced = 0;
        // Whole changes, as many as fit: what is put together fails together.
        let mut waiting: Vec<Event> = Vec::new();
        let mut first_waiting = None;
        for record in records {
            let sequence_number = record.change.sequence_number.clone();
            let happened = self.events(record, now);
            if waiting.len() + happened.len() > ENTRIES {
                if let Err(error) = self.put(&waiting).await {
                    return failed(&error, first_waiting);
                }
                announced += waiting.len();
                waiting.clear();
                first_waiting = None;
            }
            if !happened.is_empty() {
                first_waiting.get_or_insert(sequence_number);
                waiting.extend(happened);
            }
        }
        if let Err(error) = self.put(&waiting).await {
            return failed(&error, first_waiting);
        }
        announced += waiting.len();
        if announced > 0 {
            tracing::info!(outcome = "announced", events = announced);
        }
        Handled::default()
    }

    fn events(&self, record: Record, now: Timestamp) -> Vec<Event> {
        let change = record.change;
        let Some(AttributeValue::S(key)) = change.keys.get("pk") else {
            return Vec::new();
        };
        let item = |image: Image| image.into_iter().map(|(name, value)| (name, value.into())).collect();
        let change = RowChange {
            key: key.clone().into(),
            id: record.id,
            is_removed: record.name == "REMOVE",
            old: change.old_image.map(item),
            new: change.new_image.map(item),
        };
        change.events(&self.table, now)
    }

    async fn put(&self, events: &[Event]) -> Result<(), PutError> {
        if events.is_empty() {
            return Ok(());
        }
        let entries = events.iter().map(|event| {
            PutEventsRequestEntry::builder()
                .event_bus_name(&self.bus)
                .source(EVENT_SOURCE)
                .detail_type(event.kind.as_str())
                .resources(event.user_id.as_str())
                .time(DateTime::from_secs(event.time.as_second()))
                // Our own types always serialize.
                .detail(serde_json::to_string(event).unwrap_or_default())
                .build()
        });
        let answer = self
            .client
            .put_events()
            .set_entries(Some(entries.collect()))
            .send()
            .await
            .map_err(|error| PutError::Call(Box::new(error)))?;
        // Ids stay the same, so those that were taken do no harm when all of them are put again.
        let refused = answer.entries().iter().find_map(|entry| entry.error_code());
        match refused {
            Some(code) => Err(PutError::Entry(code.to_owned())),
            None => Ok(()),
        }
    }
}

impl Handled {
    fn from_first(item_identifier: String) -> Self {
        Self { batch_item_failures: vec![Failed { item_identifier }] }
    }
}

fn failed(error: &PutError, first: Option<String>) -> Handled {
    tracing::error!(outcome = "not_announced", error = error_chain(error), "changes wait to be announced");
    Handled::from_first(first.unwrap_or_default())
}

fn eventbridge_config(config: &Config) -> Result<aws_sdk_eventbridge::Config, StartError> {
    let http = threads_graph::HttpClient::new(config.call_timeouts())?;
    let mut builder = aws_sdk_eventbridge::Config::builder()
        .behavior_version(aws_sdk_eventbridge::config::BehaviorVersion::v2026_01_12())
        .region(aws_sdk_eventbridge::config::Region::new(config.aws.region.clone()))
        .credentials_provider(config.aws.credentials.clone())
        .timeout_config(config.aws.timeouts.clone())
        .http_client(aws::http_client(&http));
    builder.set_endpoint_url(config.aws.eventbridge_url.clone());
    Ok(builder.build())
}
