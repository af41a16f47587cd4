//! `threads-auth doctor`: what is wrong with a stack, and what to do about it.
//!
//! Each check stands alone, so that one look finds everything. Changes nothing, shows no secret.

mod address;
mod aws;
mod finding;
mod meta;
mod secrets;

use anyhow::Result;
use clap::Args;
use serde_json::json;
use threads_auth::{FailureKind, Pause, StoreError};
use threads_auth_model::error_chain;

use self::finding::{Finding, Level, denied, ok, unreadable, warn};
use crate::operate::target::{Opened, TARGETS, Target};
use crate::shell::exit::Stopped;
use crate::shell::interrupt::Interrupt;
use crate::shell::surroundings::Surroundings;

/// Check a stack from end to end, and say what to do about what is wrong.
#[derive(Args)]
#[command(after_help = format!("Examples:
  threads-auth doctor --local
  threads-auth doctor --profile prod --stack threads-auth-prod
  threads-auth doctor --json | jq '.checks[] | select(.level != \"ok\")'

It changes nothing. Meta is asked about one token, and with an inspector for that account's profile. Exit code 1 means that a check has \
failed; warnings alone leave it at 0. On AWS it reads the stack and the list of its resources, both secrets, the table of grants, the \
schedule, the alarms and the key's policy; what your credentials may not read is a warning.

{TARGETS}"))]
pub(crate) struct Doctor {
    #[command(flatten)]
    target: Target,
}

impl Doctor {
    pub(crate) async fn run(self, surroundings: &Surroundings) -> Result<()> {
        let mut interrupt = Interrupt::listen()?;
        let stack = interrupt.or(self.target.open(surroundings)).await?;
        let findings = interrupt.or(Box::pin(async { Ok(examine(&stack).await) })).await?;
        let failed = findings.iter().any(|finding| finding.level == Level::Fail);
        let plain: Vec<_> = findings.iter().map(Finding::plain).collect();
        let json = json!({"ok": !failed, "checks": findings});
        self.target.output.result(&json, &plain.join("\n"))?;
        Stopped::told(u8::from(failed))
    }
}

async fn examine(stack: &Opened) -> Vec<Finding> {
    let mut findings = vec![aws::stands(stack)];
    findings.push(secrets::app_secret(stack).await);
    findings.push(secrets::keyring(stack).await);
    findings.push(meta::belong_together(stack).await);
    findings.push(meta::scopes(stack));
    findings.push(secrets::tokens(stack).await);
    findings.push(sessions(stack).await);
    findings.push(meta::inspections(stack).await);
    findings.extend(meta::drift(stack).await);
    findings.push(pause(stack).await);
    findings.extend(address::reachable(stack).await);
    findings.push(meta::redirect_uri(stack).await);
    if let Some(deployed) = &stack.deployed {
        findings.push(aws::schedule(deployed).await);
        findings.push(aws::alarms(deployed).await);
        findings.push(aws::key_policy(deployed).await);
    }
    findings
}

/// Whether the table of sessions answers.
async fn sessions(stack: &Opened) -> Finding {
    const CHECK: &str = "sessions";
    match stack.service.store().session("none").await {
        Ok(_) => ok(CHECK, "their table answers"),
        Err(StoreError::DynamoDb(error)) => {
            unreadable(CHECK, &error, &stack.service.config().short_lived_table, "dynamodb:GetItem")
        }
        Err(error) => warn(CHECK, error_chain(&error), "Try again later."),
    }
}

/// The pause that an operator has set, which an alarm tells too.
async fn pause(stack: &Opened) -> Finding {
    const CHECK: &str = "pause";
    const NEXT: &str = "`threads-auth resume` lets it go on.";
    match stack.service.store().pause().await {
        Ok(None) => ok(CHECK, "nothing is paused"),
        Ok(Some(Pause::Sweeps)) => warn(CHECK, "sweeps are paused: no sweep refreshes anything", NEXT),
        Ok(Some(Pause::Verdicts)) => {
            warn(CHECK, "verdicts are paused: no account is marked as dead on Meta's word", NEXT)
        }
        Err(StoreError::DynamoDb(error)) if error.kind == FailureKind::Denied => {
            denied(CHECK, &error.code, "dynamodb:GetItem on the table of grants")
        }
        Err(error) if error.kind() == FailureKind::Missing => {
            warn(CHECK, "cannot be told without the table of grants", "First the tokens, see above.")
        }
        Err(error) => warn(CHECK, format!("could not be read: {}", error_chain(&error)), "Try again later."),
    }
}
