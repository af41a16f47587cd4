//! `threads-auth accounts refresh`: refreshes the token of one account now.

use anyhow::Result;
use clap::Args;
use serde_json::json;
use threads_auth::RefreshOutcome;
use threads_auth_model::{Grant, State, Summary};
use threads_graph::UserId;

use super::lookup::grant;
use crate::operate::target::{StackArgs, TARGETS};
use crate::shell::env::Env;
use crate::shell::exit::Stopped;
use crate::shell::interrupt::Interrupt;

/// Refresh the token of one account now, due or not.
#[derive(Args)]
#[command(after_help = format!("Examples:
  threads-auth accounts refresh 17841405793187218 --local

The outcome is one word, such as refreshed, too_young (exit code 4: Meta refreshes no token in its first 24 hours), deferred (4: the sweep \
retries it) or needs_reauthorization (3: the person has to connect again).

{TARGETS}"))]
pub(super) struct Refresh {
    /// The account's Threads user id
    #[arg(value_name = "USER_ID")]
    user_id: UserId,

    #[command(flatten)]
    target: StackArgs,
}

impl Refresh {
    pub(super) async fn run(self, env: &Env) -> Result<()> {
        let stack = self.target.open(env).await?;
        let user_id = &self.user_id;
        let grant = grant(&stack, user_id).await?;
        if let Some(text) = ended(&grant) {
            return Err(Stopped::Unauthorized(text).into());
        }
        let mut interrupt = Interrupt::listen()?;
        let swept = interrupt
            .after(Box::pin(async { Ok(stack.service.refresh_now(user_id, stack.now()).await?) }))
            .await?;
        let (code, said) = outcome(swept);
        let account = stack.service.find_grant(user_id).await?.map(Summary::from);
        let json =
            json!({"user_id": user_id, "outcome": swept.as_str(), "message": said, "account": account});
        let expires_at = account.and_then(|account| account.expires_at);
        let expiry = expires_at.map_or_else(String::new, |at| format!("; the token lives until {at}"));
        self.target.output.result(&json, &format!("{}: {said}{expiry}", swept.as_str()))?;
        Stopped::reported(code)
    }
}

/// Returns the sentence about a grant that no refresh can bring back, if it is one.
pub(in crate::operate) fn ended(grant: &Grant) -> Option<String> {
    let is_ended = match &grant.state {
        State::Revoked(..) => true,
        State::Final(_, consent) => consent.is_none(),
        // Meta may accept its token again.
        State::Appealable(_, _, consent) => consent.is_none() && grant.due_at.is_none(),
        State::Active(..) | State::New(_) => false,
    };
    is_ended.then(|| {
        let (user_id, status) = (&grant.user_id, grant.status());
        format!("{user_id} is {status}: only its person can bring it back, by connecting again")
    })
}

/// Returns an outcome's exit code and its description.
pub(in crate::operate) fn outcome(swept: RefreshOutcome) -> (u8, &'static str) {
    match swept {
        RefreshOutcome::Refreshed => (0, "the token was refreshed"),
        RefreshOutcome::Completed => (0, "the connect that was pending is complete"),
        RefreshOutcome::Checked => (0, "nothing was due"),
        RefreshOutcome::Recovered => (0, "Meta accepts the account's token again"),
        RefreshOutcome::NotExtended => {
            (4, "Meta answered, but the token does not live longer; the sweep retries it")
        }
        RefreshOutcome::Suspected => {
            (4, "Meta refused the token in a way that may be Meta's own fault; the sweep retries it")
        }
        RefreshOutcome::Misconfigured => {
            (4, "Meta refuses the app itself, or has moved: `threads-auth doctor` reports more")
        }
        RefreshOutcome::StillEnded => (3, "Meta still refuses the token: the person has to connect again"),
        RefreshOutcome::Superseded => (0, "something newer was stored meanwhile"),
        RefreshOutcome::TooYoung => {
            (4, "Meta refreshes no token in its first 24 hours; the sweep refreshes it later")
        }
        RefreshOutcome::Unclaimed => (3, "nobody claimed the account in time, and it has ended"),
        RefreshOutcome::NotOurs => (4, "another process is working on it right now"),
        RefreshOutcome::Deferred => (4, "it failed for a transient reason, and the sweep retries it"),
        RefreshOutcome::StoreFailed => (4, "DynamoDB failed, and the sweep retries it"),
        RefreshOutcome::PendingLost => {
            (3, "the connect was never completed, and its short-lived token has expired")
        }
        RefreshOutcome::NeedsReauthorization => {
            (3, "Meta reports that the token is dead: the person has to connect again")
        }
        RefreshOutcome::Gone | RefreshOutcome::DeletionFinished | RefreshOutcome::DeletionUnfinished => {
            (1, "the account was deleted meanwhile")
        }
        RefreshOutcome::BrokenRow => (1, "the account's row is malformed"),
        RefreshOutcome::Undecryptable => {
            (1, "the token does not open with the keyring: `threads-auth doctor` reports more")
        }
    }
}
