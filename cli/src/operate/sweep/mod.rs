//! `threads-auth sweep`: runs the scheduled sweep now.
//!
//! Shows an operator a sweep's progress and result. It runs in this process, or in the deployed
//! function.

mod invoke;
mod progress;

use std::cell::Cell;
use std::fmt::Write;
use std::ops::ControlFlow;
use std::time::Duration;

use anyhow::Result;
use clap::Args;
use jiff::Timestamp;
use threads_auth::{Pause, RefreshOutcome, SweepReport};

use self::progress::Progress;
use crate::operate::target::{Deployed, StackArgs, StackHandle, TARGETS};
use crate::shell::env::Env;
use crate::shell::exit::{Stopped, stopped_early, usage};

/// Refresh every token that is due, now.
#[derive(Args)]
#[command(after_help = format!("Examples:
  threads-auth sweep --local
  threads-auth sweep --profile prod --json
  threads-auth sweep --profile prod --invoke

From this machine it needs the permissions of the refresh function: on both secrets and the table of grants. With --invoke that function \
sweeps, and your credentials need lambda:InvokeFunction on it; with dynamodb:Query on the index \"due\" the command also shows its progress.

The schedule's own sweeps may run at the same time: each token is refreshed once. Exit code 4 means that something is left for the next \
sweep, or that sweeps are paused (`threads-auth resume`). Ctrl-C ends it after the accounts that are under way.

{TARGETS}"))]
pub(crate) struct Sweep {
    /// Invoke the deployed refresh function instead of sweeping from here
    #[arg(long)]
    invoke: bool,

    /// Seconds that the sweep may take [default: 600, or with --invoke as long as the function may]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(30..=86_400))]
    budget: Option<u32>,

    #[command(flatten)]
    target: StackArgs,
}

const BUDGET: u32 = 600;

/// Runs one sweep by the deployed function, which reports no progress. The caller handles signals.
pub(super) async fn by_function(
    stack: &StackHandle,
    deployed: &Deployed,
    now: Timestamp,
) -> Result<SweepReport> {
    let progress = Progress::begin(stack, now, true).await;
    Box::pin(invoke::invoke(stack, deployed, None, now, &progress)).await
}

impl Sweep {
    pub(crate) async fn run(self, env: &Env) -> Result<()> {
        if self.invoke && self.target.is_local() {
            let text = "a development stack has no function to invoke: omit --invoke to sweep it from here, or name a stack on AWS with --stack";
            return usage(text);
        }
        let (mut interrupt, stack) = self.target.begin(env).await?;
        let now = stack.now();
        let mut progress = interrupt
            .or(Box::pin(async { Ok(Progress::begin(&stack, now, self.target.output.json).await) }))
            .await?;
        let came = Cell::new(None);
        let made = if let (true, Some(deployed)) = (self.invoke, &stack.deployed) {
            let sweep = Box::pin(invoke::invoke(&stack, deployed, self.budget, now, &progress));
            invoke::until_interrupted(deployed, sweep, &mut interrupt).await
        } else {
            let budget = Duration::from_secs(self.budget.unwrap_or(BUDGET).into());
            let watch = |outcome| {
                progress.saw(outcome);
                if came.get().is_none() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            };
            let words = "Ending after the accounts that are under way; a second Ctrl-C gives them up, and perhaps a token with them.";
            let work = Box::pin(async {
                let report = stack.service.sweep_watched(now, budget, watch).await?;
                Ok(report)
            });
            interrupt.noting(&came, words, work).await
        };
        progress.bar.finish_and_clear();
        self.report(&stack, &made?, came.get()).await
    }

    async fn report(&self, stack: &StackHandle, told: &SweepReport, came: Option<u8>) -> Result<()> {
        let mut plain = String::new();
        for (outcome, count) in &told.outcomes {
            let _ = writeln!(plain, "{count:>8}  {outcome}");
        }
        if told.stopped == Some(threads_auth::Stopped::Unconfigured) {
            let text = "The secrets of the stack have no value yet, and there is nothing to refresh: `threads-auth configure` writes them.\n";
            self.target.output.result(&serde_json::to_value(told)?, text)?;
            return Stopped::reported(1);
        }
        if told.outcomes.is_empty() && told.stopped.is_none() {
            plain.push_str("Nothing was due.\n");
        }
        if let Some(days) = told.weakest_token_days {
            let _ = writeln!(plain, "The one that ends first lives for {days} more days.");
        }
        match told.paused {
            Some(Pause::Sweeps) => {
                plain.push_str(
                    "Sweeps are paused, and nothing was looked at. `threads-auth resume` ends the pause.\n",
                );
            }
            Some(Pause::Verdicts) => {
                plain.push_str("Verdicts are paused: no account is marked as dead on Meta's word. `threads-auth resume` ends it.\n");
            }
            None => {}
        }
        if told.stopped == Some(threads_auth::Stopped::Budget) {
            plain.push_str("The calls to Meta of this hour are used up (GRAPH_CALLS_PER_HOUR).\n");
        }
        if told.stopped == Some(threads_auth::Stopped::Store) {
            plain.push_str(
                "DynamoDB keeps failing, and Meta was asked for no token that could not be stored.\n",
            );
        }
        if told.left > 0 {
            let _ = writeln!(
                plain,
                "{} tokens that live for more than ten days are left for the next sweeps, so that Meta is not asked for all at once.",
                told.left
            );
        }
        if told.stopped.is_some() && !self.target.output.json {
            let _ = match Box::pin(stack.service.count_due(stack.now())).await {
                Ok(left) => writeln!(plain, "It ended early; {left} are left for the next sweep."),
                Err(_) => writeln!(plain, "It ended early; the rest waits for the next sweep."),
            };
        }
        if told.unreadable_shards > 0 {
            let why = told.unreadable_because.as_deref().unwrap_or("the log has the reason");
            let _ = writeln!(plain, "{} parts of the index could not be read: {why}", told.unreadable_shards);
        }
        for drift in &told.drift {
            let _ = writeln!(plain, "Meta has changed: {drift}.");
        }
        if told.wave {
            let _ = writeln!(
                plain,
                "Meta refused most tokens in this sweep. No account is marked as dead for it; they are tried again."
            );
        }
        self.target.output.result(&serde_json::to_value(told)?, &plain)?;
        let any =
            |outcomes: &[RefreshOutcome]| outcomes.iter().any(|outcome| told.outcomes.contains_key(outcome));
        stopped_early(None, came)?;
        let is_unfinished = any(&[
            RefreshOutcome::Deferred,
            RefreshOutcome::DeletionUnfinished,
            RefreshOutcome::Misconfigured,
            RefreshOutcome::NotExtended,
            RefreshOutcome::StoreFailed,
            RefreshOutcome::Suspected,
        ]) || told.stopped.is_some()
            || told.left > 0
            || told.unreadable_shards > 0;
        Stopped::reported(if any(&[RefreshOutcome::Undecryptable, RefreshOutcome::BrokenRow]) {
            1
        } else if is_unfinished {
            4
        } else {
            0
        })
    }
}
