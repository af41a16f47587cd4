//! The function behind the grants table's stream: receives a batch of changes, puts events on the
//! bus.
//!
//! Lambda repeats a batch until the function reports it done, so every change in the table is
//! announced, even if a process dies in between. Events are therefore delivered at least once, and
//! each has an id that stays the same. This is a function and not an EventBridge Pipe, because a
//! Pipe's filter and template see one image of a row, and an event is the difference of two. Reads
//! no secret: the tokens in the images stay sealed.

mod entry;
mod letter;

use std::collections::{HashMap, HashSet, VecDeque};
use std::mem;
use std::sync::{Mutex, PoisonError};

use aws_sdk_eventbridge::error::ProvideErrorMetadata;
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_dynamo::AttributeValue;
use serde_json::Value;
use threads_auth::{Config, Event, RowChange, StartError, aws, error_chain};
use threads_auth_web::Handled;
use threads_graph::{HttpClient, UserId};

pub use crate::entry::Entry;
pub use crate::letter::Letter;
use crate::letter::Letters;

/// EventBridge's maximum of entries per request.
const ENTRIES: usize = 10;

/// The number of remembered events that were announced ahead of a refused one: more than a batch
/// has, because batches of several shards take turns.
const REMEMBERED: usize = 1_000;

/// The time for which an event is retried. Then it becomes a dead letter, so that its shard
/// continues.
const TRIED_FOR: SignedDuration = SignedDuration::from_hours(1);

/// The code of an event that was put, but is missing in EventBridge's response.
const NO_ANSWER: &str = "no answer";

/// Turns changes into events.
pub struct EventPublisher {
    client: aws_sdk_eventbridge::Client,
    bus: String,
    table: String,
    /// Present in a deployed stack only.
    letters: Option<Letters>,
    /// The ids of events that the bus has accepted, but that Lambda will pass again, because it
    /// repeats everything after a refused one.
    ahead: Mutex<VecDeque<String>>,
}

/// The state of a batch.
#[derive(Default)]
struct Round {
    /// The events of the next call.
    waiting: Vec<Waiting>,
    /// The first change with an event that the bus has refused.
    refused: Option<String>,
    /// AWS's code if a whole request failed. The bus is not called again in this batch, because the
    /// function's time would end before old events have become letters.
    away: Option<String>,
    /// True if the queue of dead letters did not respond.
    is_queue_away: bool,
    /// Accounts with a refused event: their later events must not overtake it.
    held: HashSet<UserId>,
    announced: usize,
}

/// An event that is about to be put.
struct Waiting {
    /// The sequence number of its change.
    number: String,
    /// Its index among the events of that change.
    nth: usize,
    event: Event,
    /// True if it was retried for long enough.
    is_old: bool,
}

/// The used part of a batch. The names are the stream's own.
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
    /// The time of the change, in seconds since 1970.
    approximate_creation_date_time: Option<f64>,
    #[serde(default)]
    keys: Image,
    old_image: Option<Image>,
    new_image: Option<Image>,
}

type Image = HashMap<String, AttributeValue>;

/// A request to the bus failed, as far as is known.
#[derive(Debug, thiserror::Error)]
#[error("EventBridge did not answer or refused")]
struct PutError(
    #[source]
    Box<aws_sdk_eventbridge::error::SdkError<aws_sdk_eventbridge::operation::put_events::PutEventsError>>,
);

impl EventPublisher {
    /// Builds the client. Makes no request.
    ///
    /// # Errors
    /// Returns [`StartError`] if there is no bus, or if TLS cannot be set up.
    pub fn new(config: &Config) -> Result<Self, StartError> {
        let bus = config.event_bus()?.to_owned();
        let http = HttpClient::new(config.call_timeouts())?;
        let client = aws_sdk_eventbridge::Client::from_conf(eventbridge_config(config, &http));
        let letters = Letters::new(config, &http);
        Ok(Self { client, bus, table: config.grants_table.clone(), letters, ahead: Mutex::default() })
    }

    /// Announces one batch, each account's events in order. If the bus refuses an event, the later
    /// events of its account wait; all others are announced. An event that was refused for
    /// `TRIED_FOR` becomes a dead letter, and counts as done.
    pub async fn handle(&self, batch: &Value, now: Timestamp) -> Handled {
        let Ok(Batch { records }) = Batch::deserialize(batch) else {
            tracing::error!(outcome = "malformed", "expected a batch of a DynamoDB stream");
            return Handled::nothing();
        };
        let mut round = Round::default();
        for record in records {
            let number = record.change.sequence_number.clone();
            let is_old = record.change.is_old(now);
            for (nth, event) in self.events(record, now).into_iter().enumerate() {
                // One event per account and request: of two, the second may be accepted without the
                // first.
                let is_next = round.waiting.iter().any(|other| other.event.user_id == event.user_id);
                if is_next || round.waiting.len() == ENTRIES {
                    self.put(&mut round, now).await;
                }
                if !round.held.contains(&event.user_id) && !self.is_ahead(&event) {
                    round.waiting.push(Waiting { number: number.clone(), nth, event, is_old });
                }
            }
        }
        self.put(&mut round, now).await;
        if round.announced > 0 {
            tracing::info!(outcome = "announced", events = round.announced);
        }
        round.refused.map_or_else(Handled::default, Handled::all_but)
    }

    fn events(&self, record: Record, now: Timestamp) -> Vec<Event> {
        let change = record.change;
        // A deletion has no time except the stream's, and events are distinguished by their times.
        let made_at = change.made_at().map_or(now, |made| made.min(now));
        let Some(AttributeValue::S(key)) = change.keys.get("pk") else {
            return Vec::new();
        };
        let item = |image: Image| image.into_iter().map(|(name, value)| (name, value.into())).collect();
        let change = RowChange {
            key: key.clone().into(),
            id: record.id,
            number: change.sequence_number,
            is_removed: record.name == "REMOVE",
            old: change.old_image.map(item),
            new: change.new_image.map(item),
        };
        change.events(&self.table, made_at)
    }

    /// Puts the waiting events, and gives up those that were retried for long enough.
    async fn put(&self, round: &mut Round, now: Timestamp) {
        let waiting = mem::take(&mut round.waiting);
        if waiting.is_empty() {
            return;
        }
        let refusals = self.ask(&waiting, round).await;
        let kept = self.give_up(&waiting, &refusals, round, now).await;
        let mut taken = Vec::new();
        for (Waiting { number, event, .. }, refusal) in waiting.into_iter().zip(refusals) {
            match refusal {
                None => taken.push(event.id),
                Some(_) if kept.contains(&event.id) => {}
                Some(code) => {
                    tracing::error!(outcome = "refused", code, "the bus refused an event; it is put again");
                    round.refused.get_or_insert(number);
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
    }

    /// Puts events on the bus. Returns for each the code of its refusal, if it was refused.
    async fn ask(&self, waiting: &[Waiting], round: &mut Round) -> Vec<Option<String>> {
        if round.away.is_some() {
            return vec![round.away.clone(); waiting.len()];
        }
        let entries = waiting.iter().map(|waiting| Entry::from(&waiting.event).request(&self.bus));
        let put = self.client.put_events().set_entries(Some(entries.collect()));
        match put.send().await {
            Ok(answer) => {
                let entries = answer.entries();
                let missing = || Some(NO_ANSWER.to_owned());
                let code = |n: usize| {
                    entries.get(n).map_or_else(missing, |entry| entry.error_code().map(str::to_owned))
                };
                (0..waiting.len()).map(code).collect()
            }
            Err(error) => {
                round.away = Some(error.code().unwrap_or(NO_ANSWER).to_owned());
                let error = error_chain(&PutError(Box::new(error)));
                tracing::error!(outcome = "not_announced", error, "changes wait to be announced");
                vec![round.away.clone(); waiting.len()]
            }
        }
    }

    /// Turns old refused events into dead letters. Returns the ids of the events that are in the
    /// queue.
    async fn give_up(
        &self,
        waiting: &[Waiting],
        refusals: &[Option<String>],
        round: &mut Round,
        now: Timestamp,
    ) -> HashSet<String> {
        let mut kept = HashSet::new();
        let Some(queue) = &self.letters else {
            return kept;
        };
        for (Waiting { number, nth, event, is_old }, why) in waiting.iter().zip(refusals) {
            let Some(why) = why.clone().filter(|_| *is_old && !round.is_queue_away) else {
                continue;
            };
            let (number, nth, entry) = (number.clone(), *nth, event.into());
            match queue.send(&Letter { given_up_at: now, why, number, nth, entry }).await {
                Ok(()) => {
                    tracing::error!(
                        outcome = "given_up",
                        id = event.id,
                        "the bus did not take an event for an hour: it is a dead letter now"
                    );
                    kept.insert(event.id.clone());
                }
                Err(error) => {
                    let error = error_chain(&error);
                    tracing::error!(outcome = "not_given_up", error, "a dead letter could not be sent");
                    round.is_queue_away = true;
                }
            }
        }
        kept
    }

    /// Returns true if the event was announced ahead of a refused one.
    fn is_ahead(&self, event: &Event) -> bool {
        self.ahead.lock().unwrap_or_else(PoisonError::into_inner).contains(&event.id)
    }
}

impl Change {
    /// Returns true if its events were retried for long enough. A change of unknown age is never
    /// given up.
    fn is_old(&self, now: Timestamp) -> bool {
        self.made_at().is_some_and(|made| now.duration_since(made) >= TRIED_FOR)
    }

    /// Returns the time of the change, as far as the stream reports one.
    fn made_at(&self) -> Option<Timestamp> {
        let age = SignedDuration::try_from_secs_f64(self.approximate_creation_date_time?).ok()?;
        Timestamp::UNIX_EPOCH.checked_add(age).ok()
    }
}

fn eventbridge_config(config: &Config, http: &HttpClient) -> aws_sdk_eventbridge::Config {
    let mut builder = aws_sdk_eventbridge::Config::builder()
        .behavior_version(aws_sdk_eventbridge::config::BehaviorVersion::v2026_01_12())
        .region(aws_sdk_eventbridge::config::Region::new(config.aws.region.clone()))
        .credentials_provider(config.aws.credentials.clone())
        .timeout_config(config.aws.timeouts.clone())
        .stalled_stream_protection(aws::no_stalls())
        .http_client(aws::http_client(http));
    builder.set_endpoint_url(config.aws.eventbridge_url.clone());
    builder.build()
}
