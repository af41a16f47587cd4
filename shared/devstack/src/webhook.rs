//! The webhooks' queue in development. The function's own code posts the events that are due.
//!
//! Owns the part of SQS and Lambda in a deployed stack: the waits, which are short here, and the
//! letters. Everything is in memory: waiting events are lost when the process ends.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};
use threads_auth::{Config, StartError};
use webhook::{Death, Delivery, Message, Verdict};

use crate::environment::WEBHOOK_SECRET_ID;

/// The waits after failures. They are short, because a receiver's developer should not wait for
/// hours.
const WAITS: &[Duration] = &[Duration::from_secs(1), Duration::from_secs(2), Duration::from_secs(5)];

/// The number of remembered deliveries and letters each.
const REMEMBERED: usize = 1_000;

/// The queue, and what posts its events.
pub(crate) struct Webhooks {
    delivery: Delivery,
    kept: Mutex<Kept>,
    /// Held during deliveries, so that no event is posted twice at once.
    turn: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Kept {
    /// The events that were not delivered yet, by their place in the queue.
    waiting: VecDeque<Waiting>,
    /// The letters, newest first.
    dead: VecDeque<(Death, Message)>,
    /// The ids of delivered events, newest first, with the number of their last attempt.
    delivered: VecDeque<(String, u32)>,
}

struct Waiting {
    message: Message,
    due_at: Timestamp,
}

/// A delivery, for scripts.
#[derive(Serialize)]
struct Told {
    event_id: Option<String>,
    attempts: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    due_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<Death>,
}

impl Webhooks {
    /// Returns the queue of the configuration's receiver, if there is one.
    pub(crate) fn of(config: &Config) -> Result<Option<Self>, StartError> {
        if config.webhook().is_err() {
            return Ok(None);
        }
        let delivery = Delivery::new(config, WAITS)?;
        Ok(Some(Self { delivery, kept: Mutex::default(), turn: tokio::sync::Mutex::default() }))
    }

    /// Takes `events`, and makes an attempt for each event that is due at `now`. Receivers check
    /// the timestamp by a clock that nobody moves: they get `real`.
    pub(crate) async fn deliver(&self, events: Vec<String>, real: Timestamp, now: Timestamp) {
        for event in events {
            self.queue(event, now);
        }
        let _turn = self.turn.lock().await;
        let due = self.due(now);
        for message in due {
            let verdict = self.delivery.attempt(&message, real, now).await;
            self.with(|kept| kept.settle(message, verdict, now));
        }
    }

    /// Queues an event.
    pub(crate) fn queue(&self, body: String, now: Timestamp) {
        let message = Message { body, sent_at: now, attempt: 1 };
        self.with(|kept| kept.waiting.push_back(Waiting { message, due_at: now }));
    }

    /// Returns the waiting, the abandoned and the delivered events.
    pub(crate) fn state(&self) -> Value {
        let told = |message: &Message| Told {
            event_id: message.id(),
            attempts: message.attempt,
            due_at: None,
            why: None,
        };
        self.with(|kept| {
            let waiting: Vec<_> = kept
                .waiting
                .iter()
                .map(|Waiting { message, due_at }| Told {
                    attempts: message.attempt - 1,
                    due_at: Some(*due_at),
                    ..told(message)
                })
                .collect();
            let dead: Vec<_> =
                kept.dead.iter().map(|(why, message)| Told { why: Some(*why), ..told(message) }).collect();
            let delivered: Vec<_> = kept
                .delivered
                .iter()
                .map(|(id, attempts)| HashMap::from([("event_id", json!(id)), ("attempts", json!(attempts))]))
                .collect();
            json!({"secret_id": WEBHOOK_SECRET_ID, "waiting": waiting, "dead_letters": dead, "delivered": delivered})
        })
    }

    fn due(&self, now: Timestamp) -> Vec<Message> {
        self.with(|kept| {
            let (due, waiting) = std::mem::take(&mut kept.waiting)
                .into_iter()
                .partition::<VecDeque<_>, _>(|waiting| waiting.due_at <= now);
            kept.waiting = waiting;
            due.into_iter().map(|waiting| waiting.message).collect()
        })
    }

    fn with<T>(&self, work: impl FnOnce(&mut Kept) -> T) -> T {
        work(&mut self.kept.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Kept {
    fn settle(&mut self, message: Message, verdict: Verdict, now: Timestamp) {
        match verdict {
            Verdict::Delivered => {
                self.delivered.push_front((message.id().unwrap_or_default(), message.attempt));
                self.delivered.truncate(REMEMBERED);
            }
            Verdict::Later(wait) => {
                let due_at = now.checked_add(wait).unwrap_or(Timestamp::MAX);
                let message = Message { attempt: message.attempt + 1, ..message };
                self.waiting.push_back(Waiting { message, due_at });
            }
            Verdict::Dead(death) => {
                self.dead.push_front((death, message));
                self.dead.truncate(REMEMBERED);
            }
        }
    }
}
