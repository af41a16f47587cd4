//! `threads-auth doctor`: finds what is wrong with a stack, and names the next step.
//!
//! The checks are independent, so one run finds everything. Changes nothing except the state of an
//! alarm with `--test-alarm`; shows no secret.

mod address;
pub(super) mod alarms;
pub(super) mod aws;
mod data;
pub(super) mod delivery;
pub(super) mod finding;
mod meta;
pub(super) mod resources;
mod secrets;

use anyhow::Result;
use clap::Args;
use serde_json::json;
use threads_auth::{FailureKind, Pause, StoreError};
use threads_auth_model::error_chain;

use self::finding::{Finding, Level, denied, of_store, ok, warn};
use self::resources::Resources;
use crate::operate::target::{Deployed, StackArgs, StackHandle, TARGETS};
use crate::shell::env::Env;
use crate::shell::exit::{Stopped, usage};

/// Check a stack from end to end, and print the next step for each problem.
#[derive(Args)]
#[command(after_help = format!("Examples:
  threads-auth doctor --local
  threads-auth doctor --profile prod --stack threads-auth-prod
  threads-auth doctor --json | jq '.checks[] | select(.level != \"ok\")'
  threads-auth doctor --test-alarm --profile prod
                                      lets an alarm ring, to see whether a message arrives

It changes nothing. At Meta it inspects one token, and with an inspector requests that account's profile. Exit code 1 means that a check \
has failed; warnings alone leave it at 0. On AWS it reads the stack and the list of its resources, both secrets, the table of grants and \
its protection, the schedule, the events' mapping and bus, the queues of dead letters, the alarms, and the key with its policy. If your \
credentials may not read something, a warning names the permission.

With --test-alarm one quiet alarm of the stack is set to ALARM and back, with a reason that contains TEST. Its subscribers get that \
message.

{TARGETS}"))]
pub(crate) struct Doctor {
    /// Let one alarm ring for a moment, so that its subscribers get a message
    #[arg(long)]
    test_alarm: bool,

    #[command(flatten)]
    target: StackArgs,
}

impl Doctor {
    pub(crate) async fn run(self, env: &Env) -> Result<()> {
        let (mut interrupt, stack) = self.target.begin(env).await?;
        if self.test_alarm && stack.deployed.is_none() {
            return usage(format!("{} has no alarms: --test-alarm is for a stack on AWS", stack.name));
        }
        let findings = interrupt.or(Box::pin(async { Ok(examine(&stack, self.test_alarm).await) })).await?;
        let failed = findings.iter().any(|finding| finding.level == Level::Fail);
        let plain: Vec<_> = findings.iter().map(Finding::plain).collect();
        let json = json!({"ok": !failed, "checks": findings});
        self.target.output.result(&json, &plain.join("\n"))?;
        Stopped::reported(u8::from(failed))
    }
}

/// Makes every check. With `tests_alarm`, one alarm rings for a moment.
pub(super) async fn examine(stack: &StackHandle, tests_alarm: bool) -> Vec<Finding> {
    let mut findings = vec![aws::stands(stack)];
    findings.push(secrets::app_secret(stack).await);
    findings.push(secrets::keyring(stack).await);
    findings.push(meta::belong_together(stack).await);
    findings.push(meta::scopes(stack));
    findings.push(secrets::tokens(stack).await);
    findings.push(sessions(stack).await);
    findings.push(meta::inspections(stack).await);
    findings.push(meta::drift(stack).await);
    findings.push(pause(stack).await);
    findings.extend(address::reachable(stack).await);
    findings.push(meta::redirect_uri(stack).await);
    if let Some(deployed) = &stack.deployed {
        Box::pin(examine_aws(deployed, stack.service.store().grants_table(), tests_alarm, &mut findings))
            .await;
    }
    findings
}

/// Checks the parts that only a stack on AWS has.
async fn examine_aws(deployed: &Deployed, table: &str, tests_alarm: bool, findings: &mut Vec<Finding>) {
    let resources = Resources::of(deployed).await;
    findings.push(aws::version(deployed));
    findings.push(aws::schedule(deployed).await);
    let (described, of_table) = data::table(deployed, table).await;
    findings.extend(of_table);
    findings.push(data::backups(deployed, table).await);
    findings.push(data::key(deployed).await);
    findings.push(aws::key_policy(deployed).await);
    findings.push(data::protection(deployed, table).await);
    findings.extend(delivery::mapping(deployed, &resources, &described).await);
    findings.push(delivery::bus(deployed).await);
    findings.push(delivery::letters(deployed, &resources).await);
    let (finding, made) = alarms::alarms(deployed, &resources).await;
    findings.push(finding);
    if tests_alarm {
        findings.push(alarms::test(deployed, &made).await);
    }
}

/// Checks that the table of sessions responds.
async fn sessions(stack: &StackHandle) -> Finding {
    const CHECK: &str = "sessions";
    match stack.service.store().session("none").await {
        Ok(_) => ok(CHECK, "their table responds"),
        Err(error) => of_store(CHECK, &error, &stack.service.config().short_lived_table, "dynamodb:GetItem"),
    }
}

/// Reports the pause that an operator has set, which also raises an alarm.
pub(super) async fn pause(stack: &StackHandle) -> Finding {
    const CHECK: &str = "pause";
    const NEXT: &str = "`threads-auth resume` ends the pause.";
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
            warn(CHECK, "is unknown without the table of grants", "See the tokens above first.")
        }
        Err(error) => warn(CHECK, format!("could not be read: {}", error_chain(&error)), "Try again later."),
    }
}
