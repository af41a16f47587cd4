//! `threads-auth dead-letters`: shows, replays or deletes what a deployed stack has given up.

mod letter;
mod on_aws;
mod queue;
mod replay;
mod stream;

use std::cell::Cell;

use anyhow::Result;
use clap::{Args, Subcommand};
use jiff::Timestamp;
use serde_json::{Value, json};

use self::letter::Letter;
use self::on_aws::deployed;
pub(in crate::operate) use self::queue::letters_in;
use self::queue::{Queue, Which};
use crate::operate::target::{Deployed, StackArgs, TARGETS};
use crate::shell::env::Env;
use crate::shell::exit::stopped_early;
use crate::shell::prompt::Confirmation;

/// Show, replay or delete dead letters.
#[derive(Args)]
#[command(after_help = format!("Examples:
  threads-auth dead-letters show --profile prod
  threads-auth dead-letters replay --profile prod
  threads-auth dead-letters purge --queue sweep --yes --profile prod

A stack has two queues: events that the bus did not accept for an hour, and sweeps that did not run. If it posts its events, it has a third, for those that the receiver did not accept. Letters are kept for two weeks, and an alarm rings while there are any. Each command takes --json.

{TARGETS}"))]
pub(crate) struct DeadLetters {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Show(Show),
    Replay(replay::Replay),
    Purge(Purge),
}

/// List the letters of all queues: their age, their reason, and the accounts they are about.
#[derive(Args)]
#[command(after_help = format!("Examples:
  threads-auth dead-letters show --profile prod
  threads-auth dead-letters show --stack threads-auth-prod --json

While the command runs, the letters are hidden from others. It needs sqs:ReceiveMessage, sqs:ChangeMessageVisibility and sqs:GetQueueAttributes on the queues.

{TARGETS}"))]
struct Show {
    #[command(flatten)]
    target: StackArgs,
}

/// Delete all letters, irrevocably.
#[derive(Args)]
#[command(after_help = format!("Examples:
  threads-auth dead-letters purge --profile prod
  threads-auth dead-letters purge --queue sweep --yes --json

The next sweep does the work of one that was given up, so its letter can be deleted. A deleted event is never announced. It needs sqs:GetQueueAttributes and sqs:PurgeQueue on the queues.

{TARGETS}"))]
struct Purge {
    /// One queue only
    #[arg(long, value_name = "QUEUE")]
    queue: Option<Which>,

    #[command(flatten)]
    sure: Confirmation,

    #[command(flatten)]
    target: StackArgs,
}

impl DeadLetters {
    pub(crate) async fn run(self, env: &Env) -> Result<()> {
        match self.command {
            Command::Show(command) => command.run(env).await,
            Command::Replay(command) => command.run(env).await,
            Command::Purge(command) => command.run(env).await,
        }
    }
}

impl Show {
    async fn run(self, env: &Env) -> Result<()> {
        let (mut interrupt, stack) = on_aws::open(&self.target, env).await?;
        let deployed = deployed(&stack)?;
        let came = Cell::new(None);
        let words = "Returning the received letters to their queues; a second Ctrl-C does not wait.";
        let look = Box::pin(look(deployed, stack.now(), || came.get().is_some()));
        let (seen, hidden) = interrupt.noting(&came, words, look).await?;
        stopped_early(None, came.get())?;
        let (mut letters, mut lines) = (Vec::new(), Vec::new());
        for Seen { which, age, what, whose, why, json } in seen {
            letters.push(json);
            lines.push(format!("{which}  {age}  {what}  {}  {why}", whose.join(" ")));
        }
        if hidden > 0 {
            lines.push(replay::hidden(hidden));
        }
        let plain = if lines.is_empty() { replay::NONE.to_owned() } else { lines.join("\n") };
        self.target.output.result(&json!({"letters": letters, "hidden": hidden}), &plain)
    }
}

/// A letter, for people.
pub(in crate::operate) struct Seen {
    pub(in crate::operate) which: Which,
    pub(in crate::operate) age: String,
    pub(in crate::operate) what: String,
    /// The accounts that it is about.
    pub(in crate::operate) whose: Vec<String>,
    pub(in crate::operate) why: String,
    json: Value,
}

/// Reads every letter, and makes them visible again. Also returns the number of letters that
/// another command has received.
pub(in crate::operate) async fn look(
    deployed: &Deployed,
    now: Timestamp,
    stops: impl Fn() -> bool,
) -> Result<(Vec<Seen>, u64)> {
    let (mut seen, mut hidden) = (Vec::new(), 0);
    for which in Which::of(deployed) {
        let queue = Queue::of(deployed, which)?;
        let (messages, is_whole) = queue.take(&stops).await;
        hidden += queue.hidden_beside(messages.len()).await;
        queue.give_back(&messages.iter().collect::<Vec<_>>()).await;
        is_whole?;
        seen.extend(messages.iter().map(|message| {
            let letter = Letter::read(message);
            let (what, why) = (letter.what(), letter.why().to_owned());
            let age = replay::age(message.sent_at, now);
            Seen { which, age, what, whose: letter.about(), why, json: letter.json(message) }
        }));
    }
    Ok((seen, hidden))
}

impl Purge {
    async fn run(self, env: &Env) -> Result<()> {
        let (mut interrupt, stack) = on_aws::open(&self.target, env).await?;
        let deployed = deployed(&stack)?;
        let (mut queues, mut counts) = (Vec::new(), Vec::new());
        for which in Which::of(deployed).filter(|which| self.queue.is_none_or(|wanted| wanted == *which)) {
            let queue = Queue::of(deployed, which)?;
            let count = interrupt.or(queue.count()).await?.all();
            counts.push((which, count));
            if count > 0 {
                queues.push(queue);
            }
        }
        let json: serde_json::Map<_, _> =
            counts.iter().map(|(which, count)| (which.to_string(), json!(count))).collect();
        let json = json!({"purged": json});
        if queues.is_empty() {
            let of = self.queue.map_or_else(String::new, |which| format!(" of {which}"));
            return self.target.output.result(&json, &format!("There are no dead letters{of} to delete."));
        }
        let told =
            counts.iter().filter_map(|(which, count)| told(*which, *count)).collect::<Vec<_>>().join(" and ");
        let name = &stack.name;
        let question = format!("Delete about {told} that {name} has given up? Nothing brings them back.");
        self.sure.ask(&question).await?;
        for queue in &queues {
            interrupt.or(queue.purge()).await?;
        }
        let plain = format!("Deleted: about {told}. SQS may show them for another minute.");
        self.target.output.result(&json, &plain)
    }
}

/// Describes the letters of a queue as text, if there are any.
fn told(which: Which, count: u64) -> Option<String> {
    let what = match which {
        Which::Events => "event",
        Which::Sweep => "sweep",
        Which::Webhook => "undelivered event",
    };
    let plural = if count == 1 { "" } else { "s" };
    (count > 0).then(|| format!("{count} {what}{plural}"))
}
