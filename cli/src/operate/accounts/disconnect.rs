//! `threads-auth accounts disconnect`: ends one account, after a confirmation.

use anyhow::Result;
use clap::Args;
use serde_json::json;
use threads_graph::UserId;

use super::lookup::{grant, unknown};
use crate::operate::target::{StackArgs, TARGETS};
use crate::shell::env::Env;
use crate::shell::prompt::Confirmation;

/// Destroy the token of one account. Only its person can bring it back, by connecting again.
#[derive(Args)]
#[command(after_help = format!("Examples:
  threads-auth accounts disconnect 17841405793187218 --local
  threads-auth accounts disconnect 17841405793187218 --yes --json

{TARGETS}"))]
pub(super) struct Disconnect {
    /// The account's Threads user id
    #[arg(value_name = "USER_ID")]
    user_id: UserId,

    #[command(flatten)]
    sure: Confirmation,

    #[command(flatten)]
    target: StackArgs,
}

impl Disconnect {
    pub(super) async fn run(self, env: &Env) -> Result<()> {
        let stack = self.target.open(env).await?;
        let user_id = &self.user_id;
        let account = grant(&stack, user_id).await?;
        let name = account.username.as_deref().map_or_else(String::new, |name| format!(" (@{name})"));
        let question = format!(
            "Disconnect {user_id}{name} of {}? Its token is destroyed, and only its person can come back.",
            stack.name
        );
        self.sure.ask(&question).await?;
        if stack.service.disconnect(user_id, stack.now()).await?.is_none() {
            return Err(unknown(&stack, user_id));
        }
        self.target.output.result(
            &json!({"user_id": user_id, "disconnected": true}),
            &format!("{user_id} is disconnected, and its token is destroyed"),
        )
    }
}
