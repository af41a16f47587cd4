//! The function behind the grants table's stream: a batch of changes in, events on the bus.
//!
//! Lambda hands a batch over until it is told that all of it is done, so what is written to the table is announced, whatever dies
//! in between; and at least once, so each event has an id that stays the same. It is a function and not an EventBridge
//! Pipe because a Pipe's filter and template see one image of a row, and what happened is the difference of two. Reads no
//! secret: the tokens in the images stay sealed.

use std::collections::{HashMap, HashSet, VecDeque};
use std::mem;
use std::sync::{Mutex, PoisonError};

use aws_sdk_eventbridge::primitives::DateTime;
use aws_sdk_eventbridge::types::PutEventsRequestEntry;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_dynamo::AttributeValue;
use serde_json::Value;
use threads_auth::{Config, EVENT_SOURCE, Event, RowChange, StartError, aws, error_chain};
use threads_graph::UserId;

/// The most that EventBridge takes at once.
const ENTRIES: usize = 10;

/// How many events are remembered that were announced ahead of a refused one: more than a batch
/// has, because batches of several shards take turns.
const REMEMBERED: usize = 1_000;

/// Turns changes into events.
pub struct Announcer {
    client: aws_sdk_eventbridge::Client,
    bus: String,
    table: String,
    /// The ids of events that the bus has taken and that Lambda will hand over again all the same,
    /// because it repeats all that follows a refused one.
    ahead: Mutex<VecDeque<String>>,
}

/// A batch under way.
#[derive(Default)]
struct Round {
    /// What is put next, each with the sequence number of its change.
    waiting: Vec<(String, Event)>,
    /// The first change of which the bus has refused an event.
    refused: Option<String>,
    /// Whose event was refused: the later ones must not overtake it.
    held: HashSet<UserId>,
    announced: usize,
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

/// The bus took nothing of a call, as far as is known.
#[derive(Debug, thiserror::Error)]
#[error("EventBridge did not answer or refused")]
struct PutError(
    #[source]
    Box<aws_sdk_eventbridge::error::SdkError<aws_sdk_eventbridge::operation::put_events::PutEventsError>>,
);

impl Announcer {
    /// Builds the client. Makes no request.
    ///
    /// # Errors
    /// When there is no bus, or TLS cannot be set up.
    pub fn new(config: &Config) -> Result<Self, StartError> {
        let bus = config.event_bus()?.to_owned();
        let client = aws_sdk_eventbridge::Client::from_conf(eventbridge_config(config)?);
        Ok(Self { client, bus, table: config.grants_table.clone(), ahead: Mutex::default() })
    }

    /// Announces one batch: each account's events in order, and all but those that the bus refuses
    /// and what follows them in the same account.
    pub async fn handle(&self, batch: &Value, now: Timestamp) -> Handled {
        let Ok(Batch { records }) = Batch::deserialize(batch) else {
            tracing::error!(outcome = "malformed", "expected a batch of a DynamoDB stream");
            return Handled::from_first(String::new());
        };
        let mut round = Round::default();
        let done = self.announce(records, &mut round, now).await;
        if round.announced > 0 {
            tracing::info!(outcome = "announced", events = round.announced);
        }
        // Without an answer nothing is known of those that were put last.
        let first = match done {
            Ok(()) => round.refused,
            Err(_) => round.refused.or_else(|| round.waiting.into_iter().next().map(|(number, _)| number)),
        };
        if let Err(error) = done {
            tracing::error!(
                outcome = "not_announced",
                error = error_chain(&error),
                "changes wait to be announced"
            );
        }
        first.map_or_else(Handled::default, Handled::from_first)
    }

    async fn announce(
        &self,
        records: Vec<Record>,
        round: &mut Round,
        now: Timestamp,
    ) -> Result<(), PutError> {
        for record in records {
            let sequence_number = record.change.sequence_number.clone();
            for event in self.events(record, now) {
                // Of two events of an account in one call, the second may be taken without the
                // first.
                let is_next = round.waiting.iter().any(|(_, other)| other.user_id == event.user_id);
                if is_next || round.waiting.len() == ENTRIES {
                    self.put(round).await?;
                }
                if !round.held.contains(&event.user_id) && !self.is_ahead(&event) {
                    round.waiting.push((sequence_number.clone(), event));
                }
            }
        }
        self.put(round).await
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

    /// Puts what waits.
    async fn put(&self, round: &mut Round) -> Result<(), PutError> {
        if round.waiting.is_empty() {
            return Ok(());
        }
        let entries = round.waiting.iter().map(|(_, event)| {
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
            .map_err(|error| PutError(Box::new(error)))?;
        let mut taken = Vec::new();
        for (n, (sequence_number, event)) in mem::take(&mut round.waiting).into_iter().enumerate() {
            match answer.entries().get(n).map(|entry| entry.error_code()) {
                Some(None) => taken.push(event.id),
                refusal => {
                    let code = refusal.flatten().unwrap_or("no answer");
                    tracing::error!(outcome = "refused", code, "the bus refused an event; it is put again");
                    round.refused.get_or_insert(sequence_number);
                    round.held.insert(event.user_id);
                }
            }
        }
        round.announced += taken.len();
        if round.refused.is_some() {
            let mut ahead = self.ahead.lock().unwrap_or_else(PoisonError::into_inner);
            ahead.extend(taken);
            let excess = ahead.len().saturating_sub(REMEMBERED);
            ahead.drain(..excess);
        }
        Ok(())
    }

    /// Whether the event was announced ahead of one that was refused.
    fn is_ahead(&self, event: &Event) -> bool {
        self.ahead.lock().unwrap_or_else(PoisonError::into_inner).contains(&event.id)
    }
}

impl Handled {
    fn from_first(item_identifier: String) -> Self {
        Self { batch_item_failures: vec![Failed { item_identifier }] }
    }
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
