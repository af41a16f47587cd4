//! `threads-auth dead-letters replay`: processes dead letters again.

use std::cell::Cell;
use std::collections::HashSet;
use std::fmt::Write;
use std::mem;

use anyhow::Result;
use clap::Args;
use jiff::Timestamp;
use serde_json::{Value, json};
use threads_auth::Stopped as SweepStopped;

use super::letter::{Letter, Place};
use super::on_aws::{deployed, open};
use super::queue::{ENTRIES, Message, Queue, Which};
use super::stream::{self, Replayed};
use crate::operate::aws_failure::failed;
use crate::operate::sweep;
use crate::operate::target::{Deployed, StackArgs, StackHandle, TARGETS};
use crate::shell::env::Env;
use crate::shell::exit::{self, Stopped};
use crate::shell::output::say;

/// The result if there are no letters.
pub(super) const NONE: &str = "There are no dead letters.";

const CUT_OFF: &str = "Letters that were received and not replayed become visible again within 15 minutes.";
const OVERTAKES: &str = "an earlier event of this account was not accepted";
const MAY_OVERTAKE: &str =
    "an earlier part of the stream, which may have this account's events, was not replayed";
const LOST: &str = "this took too long, and another command may have the letter";
const GONE: &str = "the stream keeps a change for 24 hours: the app can list its accounts";
const FOREIGN: &str = "it names the stream of another table";

/// Put dead events on the bus again, post undelivered ones again, and run a sweep if one did not
/// run.
#[derive(Args)]
#[command(after_help = format!("Examples:
  threads-auth dead-letters replay --profile prod
  threads-auth dead-letters replay --stack threads-auth-prod --json
  threads-auth dead-letters replay --queue webhook
                                      only what the receiver of webhooks did not take
  threads-auth dead-letters replay --id 8f4d1a:account.refreshed
                                      one event, by the id that `show` has

An event is put on the bus unchanged, with its id and its time, and its letter is deleted once the bus has accepted it. A refused event stays, and so do the later events of its account. The events of an account are put in the order in which they happened, but the app may already have newer ones: it compares their \"time\", or reads the account. It may also get an event twice: it compares the \"id\".

A letter that Lambda wrote has only a position in the table's stream: within 24 hours of the change, the records are read there, and passed to the events function. For all sweeps that did not run, the deployed function runs one, and their letters are deleted if it succeeds. An event that could not be posted goes back into its queue, and is posted like a new one, with its id. Delivered events are not kept, so a replay reaches dead letters only. The command can be repeated. Ctrl-C ends it after the letters or the sweep under way. Two replays at once share the letters, and keep no order between them.

Exit codes: 1 if a letter cannot be replayed any more, 4 if the rest has to be tried again later.

It needs sqs:ReceiveMessage, sqs:ChangeMessageVisibility, sqs:DeleteMessage and sqs:GetQueueAttributes on the queues, sqs:SendMessage on the queue of webhooks, events:PutEvents on the bus, and lambda:InvokeFunction on the refresh function; for letters that Lambda wrote also lambda:InvokeFunction on the events function, dynamodb:GetShardIterator and dynamodb:GetRecords on the stream, and kms:Decrypt through DynamoDB.

{TARGETS}"))]
pub(super) struct Replay {
    /// One queue only
    #[arg(long, value_name = "QUEUE")]
    queue: Option<Which>,

    /// The event with this id only; may be repeated
    #[arg(long, value_name = "ID")]
    id: Vec<String>,

    #[command(flatten)]
    target: StackArgs,
}

threads_graph::names! {
    /// The outcome of a letter.
    enum Outcome {
        /// It was replayed and deleted.
        Replayed => "replayed",
        /// It was refused again, and stays.
        Refused => "refused",
        /// The stream no longer has its records.
        Gone => "gone",
        /// It is not a letter of this service.
        Unknown => "unknown",
    }
}

/// The letters that were processed so far.
#[derive(Default)]
struct Done {
    letters: Vec<Value>,
    plain: String,
    /// The error that stopped the command early.
    failure: Option<anyhow::Error>,
    outcomes: Vec<Outcome>,
    /// The ids of the messages that were replayed.
    replayed: HashSet<String>,
    /// The ids of the events that were looked for and found.
    met: HashSet<String>,
    /// The number of letters that were not processed.
    left: usize,
    /// The approximate number of letters that another command has received.
    hidden: u64,
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
        if outcome == Outcome::Replayed {
            self.replayed.insert(message.id.clone());
        }
        self.outcomes.push(outcome);
    }
}

impl Replay {
    pub(super) async fn run(self, env: &Env) -> Result<()> {
        let (mut interrupt, stack) = open(&self.target, env).await?;
        let deployed = deployed(&stack)?;
        let came = Cell::new(None);
        let words = "Ending after the letters or the sweep under way; a second Ctrl-C does not wait.";
        let work = Box::pin(async { Ok(self.replay(&stack, deployed, &came).await) });
        let mut done = interrupt.noting(&came, words, work).await.inspect_err(|_| say(CUT_OFF))?;
        let failure = match done.failure.take() {
            Some(error) if done.letters.is_empty() => return Err(error),
            failure => failure,
        };
        let why = failure.as_ref().map(|error| format!("{error:#}"));
        let mut plain = mem::take(&mut done.plain);
        if done.left > 0 {
            let _ = writeln!(plain, "Left for the next replay: {}", done.left);
        }
        if done.hidden > 0 {
            let _ = writeln!(plain, "{}", hidden(done.hidden));
        }
        for id in self.id.iter().filter(|id| failure.is_none() && !done.met.contains(*id)) {
            let _ = writeln!(plain, "unknown  {id}  no letter that could be taken has this id");
            done.outcomes.push(Outcome::Unknown);
        }
        if plain.is_empty() && failure.is_none() && came.get().is_none() {
            plain.push_str(NONE);
        }
        let json = json!({"letters": done.letters, "left": done.left, "hidden": done.hidden, "error": why});
        self.target.output.result(&json, &plain)?;
        exit::stopped_early(failure, came.get())?;
        let any = |wanted: &[Outcome]| done.outcomes.iter().any(|outcome| wanted.contains(outcome));
        Stopped::reported(if any(&[Outcome::Gone, Outcome::Unknown]) {
            1
        } else if any(&[Outcome::Refused]) || done.hidden > 0 {
            4
        } else {
            0
        })
    }
}

impl Replay {
    async fn replay(&self, stack: &StackHandle, deployed: &Deployed, came: &Cell<Option<u8>>) -> Done {
        let mut done = Done::default();
        for which in Which::of(deployed).filter(|which| self.queue.is_none_or(|wanted| wanted == *which)) {
            if came.get().is_none() && done.failure.is_none() {
                done.failure = replay_queue(stack, deployed, which, &self.id, came, &mut done).await.err();
            }
        }
        done
    }
}

async fn replay_queue(
    stack: &StackHandle,
    deployed: &Deployed,
    which: Which,
    ids: &[String],
    came: &Cell<Option<u8>>,
    done: &mut Done,
) -> Result<()> {
    let queue = Queue::of(deployed, which)?;
    // Received completely first, because SQS has no order.
    let (taken, is_whole) = queue.take(|| came.get().is_some()).await;
    done.hidden += queue.hidden_beside(taken.len()).await;
    let mut letters: Vec<_> = taken.iter().map(|message| (Letter::read(message), message)).collect();
    let unwanted = letters.len();
    letters.retain(|(letter, _)| {
        let id = letter.event_id();
        let wanted = ids.iter().find(|wanted| id == wanted.as_str());
        done.met.extend(wanted.cloned());
        ids.is_empty() || wanted.is_some()
    });
    let unwanted = unwanted - letters.len();
    letters.sort_by(|(one, _), (other, _)| one.order().cmp(&other.order()));
    let told_before = done.letters.len();
    let mut round = Round {
        stack,
        deployed,
        queue: &queue,
        came,
        done,
        held: HashSet::new(),
        is_place_lost: false,
        put: HashSet::new(),
    };
    let worked = match (is_whole, which) {
        (Err(error), _) => Err(error),
        (Ok(()), Which::Events) => round.events(&letters).await,
        (Ok(()), Which::Sweep) => round.sweeps(&letters).await,
        (Ok(()), Which::Webhook) => round.webhooks(&letters).await,
    };
    done.left += taken.len() - unwanted - (done.letters.len() - told_before);
    let left: Vec<_> = taken.iter().filter(|message| !done.replayed.contains(&message.id)).collect();
    queue.give_back(&left).await;
    worked
}

/// A letter and its message.
type One<'a> = (&'a Letter, &'a Message);

/// The letters of a queue while they are replayed.
struct Round<'a> {
    stack: &'a StackHandle,
    deployed: &'a Deployed,
    queue: &'a Queue,
    came: &'a Cell<Option<u8>>,
    done: &'a mut Done,
    /// Accounts with a refused event: their later events must not overtake it.
    held: HashSet<String>,
    /// True if a range of the stream was neither replayed nor read: nobody knows whose changes it
    /// has, so no later letter may overtake it.
    is_place_lost: bool,
    /// The ids of the events that the bus has accepted: SQS may deliver a letter twice.
    put: HashSet<String>,
}

impl Round<'_> {
    /// Puts each account's events in the order of the stream.
    async fn events(&mut self, letters: &[(Letter, &Message)]) -> Result<()> {
        let mut waiting: Vec<One<'_>> = Vec::new();
        for (letter, message) in letters {
            // One event per account and call: of two, the second may be accepted without the first.
            let is_next = waiting.iter().any(|(other, _)| other.about() == letter.about());
            if is_next || waiting.len() == ENTRIES || !matches!(letter, Letter::Event(_)) {
                self.put(mem::take(&mut waiting)).await?;
            }
            if self.came.get().is_some() {
                return Ok(());
            }
            match letter {
                Letter::Event(_) | Letter::Place(_) if self.is_place_lost => {
                    self.done.note(message, letter, Outcome::Refused, MAY_OVERTAKE);
                }
                Letter::Event(_) if letter.about().iter().any(|user_id| self.held.contains(user_id)) => {
                    self.done.note(message, letter, Outcome::Refused, OVERTAKES);
                }
                Letter::Event(_) if letter.event_id().as_str().is_some_and(|id| self.put.contains(id)) => {
                    self.done.note(message, letter, Outcome::Replayed, "");
                    self.queue.delete(&[*message]).await?;
                }
                Letter::Event(_) => waiting.push((letter, message)),
                Letter::Place(place) => self.place(letter, place, message).await?,
                Letter::Sweep(..) | Letter::Webhook(_) | Letter::Unknown => {
                    self.done.note(message, letter, Outcome::Unknown, letter.why());
                }
            }
        }
        self.put(waiting).await
    }

    /// Puts undelivered events back into the queue that the webhook function reads.
    async fn webhooks(&mut self, letters: &[(Letter, &Message)]) -> Result<()> {
        let url = self.deployed.output("WebhookQueueUrl")?;
        for (letter, message) in letters {
            let Letter::Webhook(undelivered) = letter else {
                self.done.note(message, letter, Outcome::Unknown, letter.why());
                continue;
            };
            if self.came.get().is_some() {
                return Ok(());
            }
            if !self.queue.keep(&[*message]).await?.is_empty() {
                self.done.note(message, letter, Outcome::Refused, LOST);
                continue;
            }
            self.queue.send(url, &undelivered.body).await?;
            self.done.note(message, letter, Outcome::Replayed, "");
            self.queue.delete(&[*message]).await?;
        }
        Ok(())
    }

    /// Puts up to ten events of as many accounts on the bus.
    async fn put(&mut self, waiting: Vec<One<'_>>) -> Result<()> {
        let messages: Vec<_> = waiting.iter().map(|(_, message)| *message).collect();
        let lost = self.queue.keep(&messages).await?;
        let (lost, ours): (Vec<_>, Vec<_>) =
            waiting.into_iter().partition(|(_, message)| lost.contains(&message.id));
        for one in lost {
            self.refuse(one, LOST);
        }
        if ours.is_empty() {
            return Ok(());
        }
        let bus = self.deployed.output("EventBusName")?;
        let entries = ours.iter().filter_map(|(letter, _)| match letter {
            Letter::Event(letter) => Some(letter.entry.request(bus)),
            _ => None,
        });
        let client = aws_sdk_eventbridge::Client::new(&self.deployed.sdk);
        let answer = client.put_events().set_entries(Some(entries.collect())).send().await;
        let answer = answer.map_err(|error| failed(&error, "EventBridge does not accept the events"))?;
        let mut put = Vec::new();
        for (n, (letter, message)) in ours.into_iter().enumerate() {
            match answer.entries().get(n).map(|entry| (entry.error_code(), entry.error_message())) {
                Some((None, _)) => {
                    // Recorded first: the event was put, even if its letter cannot be deleted.
                    self.done.note(message, letter, Outcome::Replayed, "");
                    self.put.extend(letter.event_id().as_str().map(str::to_owned));
                    put.push(message);
                }
                Some((Some(code), words)) => {
                    let why = format!("{code}: {}", words.unwrap_or("no reason given"));
                    self.refuse((letter, message), &why);
                }
                None => self.refuse((letter, message), "no answer"),
            }
        }
        self.queue.delete(&put).await
    }

    fn refuse(&mut self, (letter, message): One<'_>, why: &str) {
        self.done.note(message, letter, Outcome::Refused, why);
        self.held.extend(letter.about());
    }

    /// Reads the records that a letter of Lambda's refers to, and invokes the events function with
    /// them.
    async fn place(&mut self, letter: &Letter, place: &Place, message: &Message) -> Result<()> {
        if !self.queue.keep(&[message]).await?.is_empty() {
            self.done.note(message, letter, Outcome::Refused, LOST);
            self.is_place_lost = true;
            return Ok(());
        }
        let (outcome, why) = match stream::replay(self.deployed, place, &self.held, self.stack.now()).await? {
            Replayed::Done => (Outcome::Replayed, String::new()),
            Replayed::Gone => (Outcome::Gone, GONE.to_owned()),
            Replayed::Foreign => (Outcome::Unknown, format!("{FOREIGN}: {}", place.stream_arn)),
            Replayed::Refused(why, whose) => {
                self.held.extend(whose);
                (Outcome::Refused, why)
            }
        };
        self.done.note(message, letter, outcome, &why);
        if outcome == Outcome::Replayed { self.queue.delete(&[message]).await } else { Ok(()) }
    }

    /// Runs one sweep for all that did not run.
    async fn sweeps(&mut self, letters: &[(Letter, &Message)]) -> Result<()> {
        let (sweeps, others): (Vec<_>, Vec<_>) =
            letters.iter().partition(|(letter, _)| matches!(letter, Letter::Sweep(..)));
        for (letter, message) in others {
            self.done.note(message, letter, Outcome::Unknown, letter.why());
        }
        if sweeps.is_empty() || self.came.get().is_some() {
            return Ok(());
        }
        let report = sweep::by_function(self.stack, self.deployed, self.stack.now()).await?;
        let (outcome, why) = match report.stopped {
            Some(SweepStopped::Unconfigured) => {
                (Outcome::Refused, "the stack is not configured: run `threads-auth configure`")
            }
            Some(SweepStopped::Paused) => (Outcome::Refused, "sweeps are paused: `threads-auth resume`"),
            _ => (Outcome::Replayed, ""),
        };
        for (letter, message) in &sweeps {
            self.done.note(message, letter, outcome, why);
        }
        if outcome != Outcome::Replayed {
            return Ok(());
        }
        let messages: Vec<_> = sweeps.iter().map(|(_, message)| *message).collect();
        self.queue.delete(&messages).await
    }
}

/// Reports the letters that another command has received.
pub(super) fn hidden(count: u64) -> String {
    format!(
        "About {count} more are hidden: another command has received them, or one was cut off. They become visible again within 15 minutes."
    )
}

/// Formats the age of a letter.
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
