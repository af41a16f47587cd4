//! `threads-auth sweep`: what the schedule does, done now.

use std::fmt::Write;
use std::time::Duration;

use anyhow::Result;
use clap::Args;

use crate::accounts::output;
use crate::exit::Stopped;
use crate::interrupt::Interrupt;
use crate::progress::spinner;
use crate::surroundings::Surroundings;
use crate::target::{TARGETS, Target};

/// Refresh every token that is due, now, from this machine.
#[derive(Args)]
#[command(after_help = format!("Examples:
  threads-auth sweep --local
  threads-auth sweep --profile prod --json

The schedule's own sweeps may run at the same time: each token is refreshed once. Exit code 4 means that something is left for the next
sweep.

{TARGETS}"))]
pub(crate) struct Sweep {
    /// How long it may take
    #[arg(long, value_name = "SECONDS", default_value_t = 600, value_parser = clap::value_parser!(u64).range(30..=86_400))]
    budget: u64,

    #[command(flatten)]
    target: Target,

    /// Print the result as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

impl Sweep {
    pub(crate) async fn run(self, surroundings: &Surroundings) -> Result<()> {
        let mut interrupt = Interrupt::listen()?;
        let stack = interrupt.or(self.target.open(surroundings)).await?;
        let bar = spinner("looking at every token that is due");
        let budget = Duration::from_secs(self.budget);
        let report = interrupt
            .after(Box::pin(async {
                Ok(stack.service.sweep(stack.now(), budget).await?)
            }))
            .await;
        bar.finish_and_clear();
        let report = report?;
        let mut plain = String::new();
        for (outcome, count) in &report.outcomes {
            let _ = writeln!(plain, "{count:>8}  {outcome}");
        }
        if report.outcomes.is_empty() {
            plain.push_str("Nothing was due.\n");
        }
        if let Some(days) = report.weakest_token_days {
            let _ = writeln!(plain, "The weakest of them lives for {days} more days.");
        }
        if report.stopped.is_some() {
            plain.push_str("It ended early; the rest waits for the next sweep.\n");
        }
        if report.unreadable_shards > 0 {
            let _ = writeln!(
                plain,
                "{} parts of the index could not be read.",
                report.unreadable_shards
            );
        }
        output(self.json).result(&serde_json::to_value(&report)?, &plain)?;
        let ours = ["undecryptable", "broken_row"]
            .iter()
            .any(|outcome| report.count(outcome) > 0);
        let later = ["deferred", "store_failed"]
            .iter()
            .any(|outcome| report.count(outcome) > 0);
        if ours {
            return Err(Stopped::Told(1).into());
        }
        if later || report.stopped.is_some() || report.unreadable_shards > 0 {
            return Err(Stopped::Told(4).into());
        }
        Ok(())
    }
}
