//! Resealing what former keys have sealed: a command of its own, and the end of a rotation.

use anyhow::{Context, Result};
use clap::Args;
use serde_json::json;
use threads_auth::{ResealReport, Unopened};

use crate::operate::target::{StackArgs, StackHandle, TARGETS};
use crate::shell::env::Env;
use crate::shell::exit::Stopped;
use crate::shell::interrupt::Interrupt;
use crate::shell::output::{Output, table};
use crate::shell::progress::spinner;

/// Reseal everything that is not sealed with the keyring's current key and format.
#[derive(Args)]
#[command(after_help = format!("Examples:
  threads-auth keyring reseal --profile prod

`keyring rotate` does this at its end. A refresh reseals its own token, but a dead account is never refreshed, so its key could never be \
removed. The tokens do not change, and a concurrent write of an account takes precedence. The command can be stopped at any time, and \
continues when it is run again. Values that do not open are reported, and left as they are.

{TARGETS}"))]
pub(super) struct Reseal {
    #[command(flatten)]
    target: StackArgs,
}

impl Reseal {
    pub(super) async fn run(self, env: &Env) -> Result<()> {
        let (mut interrupt, stack) = self.target.begin(env).await?;
        let report = reseal(&stack, self.target.output, &mut interrupt).await?;
        self.target.output.result(&json!(report), &plain(&report))?;
        Stopped::reported(code(&report))
    }
}

/// Reseals everything, and names the values that do not open.
pub(super) async fn reseal(
    stack: &StackHandle,
    output: Output,
    interrupt: &mut Interrupt,
) -> Result<ResealReport> {
    let bar = spinner("reading the accounts");
    let progress = |report: &ResealReport, unopened: &[Unopened]| {
        bar.set_message(format!("{} resealed, {} current already", report.resealed, report.current));
        for Unopened { key, attribute, error } in unopened {
            bar.suspend(|| output.note(&format!("{key}: {attribute} {error}")));
        }
    };
    let resealed = interrupt
        .or(Box::pin(async {
            let resealed = stack.service.reseal(stack.now(), progress).await;
            resealed.context("not everything was resealed; `threads-auth keyring reseal` continues")
        }))
        .await;
    bar.finish_and_clear();
    resealed
}

pub(super) fn plain(report: &ResealReport) -> String {
    table(&[
        ("Resealed", report.resealed.to_string()),
        ("Current already", report.current.to_string()),
        ("Changed by others meanwhile, and left for the next run", report.changing.to_string()),
        ("Do not open, and left as they are", report.unopened.to_string()),
    ])
}

pub(super) fn code(report: &ResealReport) -> u8 {
    match (report.unopened, report.changing) {
        (0, 0) => 0,
        (0, _) => 4,
        _ => 1,
    }
}
