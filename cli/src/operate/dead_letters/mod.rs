//! `threads-auth dead-letters`: what a deployed stack has given up, and what to do with it.

mod letter;
mod on_aws;
mod queue;
mod replay;
mod stream;

use anyhow::Result;
use clap::{Args, Subcommand};
use serde_json::json;

use self::letter::Letter;
use self::on_aws::deployed;
pub(in crate::operate) use self::queue::letters_in;
use self::queue::{Queue, Which};
use crate::operate::target::{TARGETS, Target};
use crate::shell::interrupt::Interrupt;
use crate::shell::prompt::confirm;
use crate::shell::surroundings::Surroundings;

/// Look at what was given up, do it once more, or drop it.
#[derive(Args)]
#[command(after_help = format!("Examples:
  threads-auth dead-letters show --profile prod
  threads-auth dead-letters replay --profile prod
  threads-auth dead-letters purge --queue sweep --yes --profile prod

A stack has two queues: events that the bus did not take for an hour, and sweeps that were not made. Letters stay for two weeks, and an alarm rings while there are any. Each of them takes --json.

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

/// List the letters of both queues: their age, their reason, and whom they are about.
#[derive(Args)]
#[command(after_help = format!("Examples:
  threads-auth dead-letters show --profile prod
  threads-auth dead-letters show --stack threads-auth-prod --json

For the moment of the look the letters are hidden from others. It needs sqs:ReceiveMessage and sqs:ChangeMessageVisibility on both queues.

{TARGETS}"))]
struct Show {
    #[command(flatten)]
    target: Target,
}

/// Delete all letters, which nothing brings back.
#[derive(Args)]
#[command(after_help = format!("Examples:
  threads-auth dead-letters purge --profile prod
  threads-auth dead-letters purge --queue sweep --yes --json

A sweep that was given up was made up for by the next one; an event that is dropped is never announced. It needs sqs:GetQueueAttributes and sqs:PurgeQueue on the queues.

{TARGETS}"))]
struct Purge {
    /// One queue only
    #[arg(long, value_name = "QUEUE")]
    queue: Option<Which>,

    /// Do not ask
    #[arg(long)]
    yes: bool,

    #[command(flatten)]
    target: Target,
}

impl DeadLetters {
    pub(crate) async fn run(self, surroundings: &Surroundings) -> Result<()> {
        match self.command {
            Command::Show(command) => command.run(surroundings).await,
            Command::Replay(command) => command.run(surroundings).await,
            Command::Purge(command) => command.run(surroundings).await,
        }
    }
}

impl Show {
    async fn run(self, surroundings: &Surroundings) -> Result<()> {
        let mut interrupt = Interrupt::listen()?;
        let stack = on_aws::open(&self.target, surroundings, &mut interrupt).await?;
        let deployed = deployed(&stack)?;
        let (mut letters, mut lines) = (Vec::new(), Vec::new());
        for which in Which::ALL {
            let queue = Queue::of(deployed, which)?;
            let messages = interrupt.or(queue.take()).await?;
            for message in &messages {
                queue.give_back(message).await;
                let letter = Letter::read(message);
                letters.push(letter.json(message));
                let age = replay::age(message.sent_at, stack.now());
                let whose = letter.about().join(" ");
                lines.push(format!("{which}  {age}  {}  {whose}  {}", letter.what(), letter.why()));
            }
        }
        let plain = if lines.is_empty() { "There are no dead letters.".to_owned() } else { lines.join("\n") };
        self.target.output.result(&json!({"letters": letters}), &plain)
    }
}

impl Purge {
    async fn run(self, surroundings: &Surroundings) -> Result<()> {
        let mut interrupt = Interrupt::listen()?;
        let stack = on_aws::open(&self.target, surroundings, &mut interrupt).await?;
        let deployed = deployed(&stack)?;
        let (mut queues, mut counts) = (Vec::new(), Vec::new());
        for which in Which::ALL.into_iter().filter(|which| self.queue.is_none_or(|wanted| wanted == *which)) {
            let queue = Queue::of(deployed, which)?;
            let count = interrupt.or(queue.count()).await?;
            counts.push((which, count));
            if count > 0 {
                queues.push(queue);
            }
        }
        let told = |(which, count): &(Which, u64)| format!("{count} of {which}");
        let told = counts.iter().map(told).collect::<Vec<_>>().join(" and ");
        if !self.yes && !queues.is_empty() {
            let question = format!(
                "Delete about {told}, the letters of {}? Nothing brings them back. Type yes",
                stack.name
            );
            confirm(&question, "yes", "--yes").await?;
        }
        for queue in &queues {
            interrupt.or(queue.purge()).await?;
        }
        let json: serde_json::Map<_, _> =
            counts.iter().map(|(which, count)| (which.to_string(), json!(count))).collect();
        self.target.output.result(&json!({"purged": json}), &format!("Deleted: {told}"))
    }
}
