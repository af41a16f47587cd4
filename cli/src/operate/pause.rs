//! `threads-auth pause` and `resume`: an operator pauses the sweeps, or only the verdicts, and
//! resumes them.

use anyhow::{Context, Result};
use clap::Args;
use serde_json::json;
use threads_auth::Pause;

use crate::operate::target::{StackArgs, TARGETS};
use crate::shell::env::Env;

/// Pause the sweeps of a stack, or only their verdicts on dead accounts.
#[derive(Args)]
#[command(after_help = format!("Examples:
  threads-auth pause --verdicts --profile prod
                                      while Meta refuses tokens that are alive
  threads-auth pause --profile prod   no sweep refreshes anything

Every sweep honours the pause, and one under way does so at its next verdict. Tokens are vended all the same, and refreshed then if they \
must be. Meta's callbacks when a person leaves, and `accounts disconnect`, are never held back. Tokens keep ageing meanwhile, so an alarm \
rings while anything is paused; `threads-auth resume` ends the pause.

{TARGETS}"))]
pub(crate) struct PauseCommand {
    /// Verdicts only: tokens are refreshed, and those that Meta refuses are suspected and retried
    #[arg(long)]
    verdicts: bool,

    #[command(flatten)]
    target: StackArgs,
}

/// Resume sweeps and verdicts.
#[derive(Args)]
#[command(after_help = format!("Examples:
  threads-auth resume --profile prod

The next scheduled sweep continues; `threads-auth sweep` runs one now.

{TARGETS}"))]
pub(crate) struct Resume {
    #[command(flatten)]
    target: StackArgs,
}

impl PauseCommand {
    pub(crate) async fn run(self, env: &Env) -> Result<()> {
        let pause = if self.verdicts { Pause::Verdicts } else { Pause::Sweeps };
        set(&self.target, Some(pause), env).await
    }
}

impl Resume {
    pub(crate) async fn run(self, env: &Env) -> Result<()> {
        set(&self.target, None, env).await
    }
}

async fn set(target: &StackArgs, pause: Option<Pause>, env: &Env) -> Result<()> {
    let stack = target.open(env).await?;
    let set = stack.service.store().set_pause(pause).await;
    set.with_context(|| format!("the pause of {} is unchanged", stack.name))?;
    let plain = match pause {
        Some(pause) => format!("The {pause} of {} are paused, until `threads-auth resume`", stack.name),
        None => format!("Nothing of {} is paused", stack.name),
    };
    target.output.result(&json!({"paused": pause}), &plain)
}
