//! `threads-auth dead-letters replay`: what was given up, done once more.

use std::cell::Cell;

use anyhow::Result;
use clap::Args;
use jiff::Timestamp;
use serde_json::{Value, json};
use threads_auth::Stopped as SweepStopped;

use super::letter::Letter;
use super::on_aws::{deployed, open};
use super::queue::{Message, Queue, Which};
use super::stream::{self, Replayed};
use crate::operate::aws_failure::failed;
use crate::operate::sweep;
use crate::operate::target::{Deployed, Opened, TARGETS, Target};
use crate::shell::exit::{self, Stopped};
use crate::shell::interrupt::Interrupt;
use crate::shell::surroundings::Surroundings;

/// The most that EventBridge takes at once.
const ENTRIES: usize = 10;

/// Put events on the bus that were given up, and make a sweep if one was.
#[derive(Args)]
#[command(after_help = format!("Examples:
  threads-auth dead-letters replay --profile prod
  threads-auth dead-letters replay --stack threads-auth-prod --json

An event is put on the bus as it was, under the id that it had, and its letter is deleted once the bus has taken it; what is refused stays. A letter of Lambda's has only a place in the table's stream: the records are read there, within 24 hours of the change, and handed to the events function. For sweeps, one sweep is made by the deployed function, and the letters are deleted if it is made. It can be repeated.

Exit codes: 1 if a letter cannot be replayed any more, 4 if the rest is to be tried again later.

It needs sqs:ReceiveMessage, sqs:ChangeMessageVisibility and sqs:DeleteMessage on both queues, events:PutEvents on the bus, and lambda:InvokeFunction on the refresh function; for letters of Lambda's also lambda:InvokeFunction on the events function, dynamodb:GetShardIterator and dynamodb:GetRecords on the stream, and kms:Decrypt through DynamoDB.

{TARGETS}"))]
pub(super) struct Replay {
    #[command(flatten)]
    target: Target,
}

threads_graph::names! {
    /// The end of a letter.
    enum Outcome {
        /// It is done, and the letter is deleted.
        Replayed => "replayed",
        /// It was refused again, and stays.
        Refused => "refused",
        /// The records that it points at are not there any more.
        Gone => "gone",
        /// Nobody here knows what it is.
        Unknown => "unknown",
    }
}

/// The letters that were worked on so far.
#[derive(Default)]
struct Done {
    letters: Vec<Value>,
    plain: String,
    /// Why the rest was left alone.
    failure: Option<anyhow::Error>,
    outcomes: Vec<Outcome>,
}

impl Done {
    fn note(&mut self, message: &Message, letter: &Letter, outcome: Outcome, why: &str) {
        let mut told = letter.json(message);
        told["outcome"] = json!(outcome);
        if !why.is_empty() {
            told["error"] = json!(why);
        }
        self.letters.push(told);
        let whose = letter.about().join(" ");
        let parts = [outcome.as_str(), &letter.what(), &whose, why];
        let line: Vec<_> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        self.plain.push_str(&line.join("  "));
        self.plain.push('\n');
        self.outcomes.push(outcome);
    }
}

impl Replay {
    pub(super) async fn run(self, surroundings: &Surroundings) -> Result<()> {
        let mut interrupt = Interrupt::listen()?;
        let stack = open(&self.target, surroundings, &mut interrupt).await?;
        let deployed = deployed(&stack)?;
        let came = Cell::new(None);
        let words = "Ending after the letters that are under way; a second Ctrl-C does not wait.";
        let work = Box::pin(async { replay(&stack, deployed, &came).await });
        let done = interrupt.noting(&came, words, work).await?;
        let failure = match done.failure {
            Some(error) if done.letters.is_empty() => return Err(error),
            failure => failure,
        };
        let why = failure.as_ref().map(|error| format!("{error:#}"));
        let nothing = if why.is_none() { "There are no dead letters." } else { "" };
        let plain = if done.letters.is_empty() { nothing } else { &done.plain };
        self.target.output.result(&json!({"letters": done.letters, "error": why}), plain)?;
        if let Some(error) = failure {
            exit::tell(&error);
            return Stopped::told(exit::code(&error));
        }
        if let Some(signal) = came.get() {
            return Err(Stopped::Interrupted(signal).into());
        }
        let any = |wanted: &[Outcome]| done.outcomes.iter().any(|outcome| wanted.contains(outcome));
        Stopped::told(if any(&[Outcome::Gone, Outcome::Unknown]) {
            1
        } else if any(&[Outcome::Refused]) {
            4
        } else {
            0
        })
    }
}

async fn replay(stack: &Opened, deployed: &Deployed, came: &Cell<Option<u8>>) -> Result<Done> {
    let mut done = Done::default();
    for which in Which::ALL {
        let taken = async {
            let queue = Queue::of(deployed, which)?;
            let taken = queue.take().await?;
            anyhow::Ok((queue, taken))
        };
        let (queue, taken) = match taken.await {
            Ok(taken) => taken,
            // The other queue's letters are told of all the same.
            Err(error) => {
                done.failure = Some(error);
                break;
            }
        };
        let mut letters: Vec<_> =
            taken.into_iter().map(|message| (Letter::read(&message), message)).collect();
        // As they happened.
        letters.sort_by_key(|(letter, message)| match letter {
            Letter::Event(letter) => Some(letter.entry.time),
            Letter::Place(place) => Some(place.approximate_arrival_of_first_record),
            Letter::Sweep(..) | Letter::Unknown => message.sent_at,
        });
        let (events, others): (Vec<_>, Vec<_>) =
            letters.into_iter().partition(|(letter, _)| matches!(letter, Letter::Event(_)));
        let worked = async {
            for chunk in events.chunks(ENTRIES) {
                if came.get().is_none() {
                    put(deployed, &queue, chunk, &mut done).await?;
                }
            }
            work_on(stack, deployed, &queue, &others, came, &mut done).await
        };
        let worked = worked.await;
        for (_, message) in events.iter().chain(&others) {
            let id = json!(message.id);
            let is_done = |told: &Value| told["id"] == id && told["outcome"] == "replayed";
            if !done.letters.iter().any(is_done) {
                queue.give_back(message).await;
            }
        }
        if let Err(error) = worked {
            done.failure = Some(error);
            break;
        }
    }
    Ok(done)
}

/// Puts up to ten events on the bus.
async fn put(
    deployed: &Deployed,
    queue: &Queue,
    letters: &[(Letter, Message)],
    done: &mut Done,
) -> Result<()> {
    let bus = deployed.output("EventBusName")?;
    let entries = letters.iter().filter_map(|(letter, _)| match letter {
        Letter::Event(letter) => Some(letter.entry.request(bus)),
        _ => None,
    });
    let client = aws_sdk_eventbridge::Client::new(&deployed.sdk);
    let answer = client.put_events().set_entries(Some(entries.collect())).send().await;
    let answer = answer.map_err(|error| failed(&error, "EventBridge does not take the events"))?;
    let mut put = Vec::new();
    for (n, (letter, message)) in letters.iter().enumerate() {
        match answer.entries().get(n).map(|entry| (entry.error_code(), entry.error_message())) {
            Some((None, _)) => {
                // Noted first: it was put, whatever becomes of its letter.
                done.note(message, letter, Outcome::Replayed, "");
                put.push(message);
            }
            Some((Some(code), words)) => {
                let why = format!("{code}: {}", words.unwrap_or("no reason given"));
                done.note(message, letter, Outcome::Refused, &why);
            }
            None => done.note(message, letter, Outcome::Refused, "no answer"),
        }
    }
    let mut deleted = Ok(());
    for message in put {
        deleted = deleted.and(queue.delete(message).await);
    }
    deleted
}

/// Reads what letters of Lambda's point at, and makes one sweep for those that were not made.
async fn work_on(
    stack: &Opened,
    deployed: &Deployed,
    queue: &Queue,
    letters: &[(Letter, Message)],
    came: &Cell<Option<u8>>,
    done: &mut Done,
) -> Result<()> {
    let mut swept = None;
    for (letter, message) in letters {
        if came.get().is_some() {
            break;
        }
        let (outcome, why) = match letter {
            Letter::Place(place) => match stream::replay(deployed, place, stack.now()).await? {
                Replayed::Done => (Outcome::Replayed, ""),
                Replayed::Refused => (Outcome::Refused, "the bus does not take it"),
                Replayed::Gone => {
                    (Outcome::Gone, "the stream keeps a change for 24 hours: the app can list its accounts")
                }
            },
            Letter::Sweep(..) => {
                if swept.is_none() {
                    swept = Some(sweep::by_function(stack, deployed, stack.now()).await?);
                }
                match swept.as_ref().and_then(|report| report.stopped) {
                    Some(SweepStopped::Unconfigured) => {
                        (Outcome::Refused, "nobody has configured the stack: `threads-auth configure`")
                    }
                    Some(SweepStopped::Paused) => {
                        (Outcome::Refused, "sweeps are paused: `threads-auth resume`")
                    }
                    _ => (Outcome::Replayed, ""),
                }
            }
            Letter::Event(_) | Letter::Unknown => (Outcome::Unknown, letter.why()),
        };
        done.note(message, letter, outcome, why);
        if outcome == Outcome::Replayed {
            queue.delete(message).await?;
        }
    }
    Ok(())
}

/// The age of a letter, in words.
pub(super) fn age(sent_at: Option<Timestamp>, now: Timestamp) -> String {
    let Some(sent_at) = sent_at else {
        return "?".to_owned();
    };
    let minutes = now.duration_since(sent_at).as_mins().max(0);
    match minutes {
        0..=119 => format!("{minutes} min"),
        120..=2_879 => format!("{} h", minutes / 60),
        _ => format!("{} d", minutes / 1_440),
    }
}
