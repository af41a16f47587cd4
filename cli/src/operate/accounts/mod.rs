//! `threads-auth accounts`: the accounts of a stack, for whoever runs it.
//!
//! Owns what is shown of an account, which is never its token. Refuses to end one without being told so twice.

mod export;
mod import;
mod list;

use anyhow::{Context, Result};
use clap::{Args, Subcommand};
use jiff::Timestamp;
use serde_json::json;
use threads_auth::grant::{Status, Summary};
use threads_auth::refresh::Swept;
use threads_graph::UserId;

pub(crate) use self::export::Tokens;
use crate::operate::target::{Opened, TARGETS, Target};
use crate::shell::exit::Stopped;
use crate::shell::interrupt::Interrupt;
use crate::shell::output::{Output, table};
use crate::shell::prompt;
use crate::shell::surroundings::Surroundings;

/// List, inspect and manage the accounts of a stack, on AWS or on this machine.
#[derive(Args)]
#[command(after_help = format!("Examples:
  threads-auth accounts list --local
  threads-auth accounts list --status needs-reauthorization --json
  threads-auth accounts import tokens.csv --stack threads-auth-prod --profile prod

Each of them takes --json.

{TARGETS}"))]
pub(crate) struct Accounts {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    List(list::List),
    Show(Show),
    Refresh(Refresh),
    Disconnect(Disconnect),
    Import(import::Import),
    Export(export::Export),
}

/// Show all that is known of one account, but its token.
#[derive(Args)]
#[command(after_help = format!("Examples:
  threads-auth accounts show 17841405793187218 --local
  threads-auth accounts show 17841405793187218 --json | jq -r .expires_at

{TARGETS}"))]
struct Show {
    /// The account's Threads user id
    #[arg(value_name = "USER_ID")]
    user_id: UserId,

    #[command(flatten)]
    target: Target,

    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

/// Refresh the token of one account now, due or not.
#[derive(Args)]
#[command(after_help = format!("Examples:
  threads-auth accounts refresh 17841405793187218 --local

The outcome is a word: refreshed, too_young (exit code 4: Meta refreshes no token in its first 24 hours), deferred (4: tried again by
itself), needs_reauthorization (3: only the person can bring it back) and others.

{TARGETS}"))]
struct Refresh {
    /// The account's Threads user id
    #[arg(value_name = "USER_ID")]
    user_id: UserId,

    #[command(flatten)]
    target: Target,

    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

/// Destroy the token of one account. Only its person can bring it back, by connecting again.
#[derive(Args)]
#[command(after_help = format!("Examples:
  threads-auth accounts disconnect 17841405793187218 --local
  threads-auth accounts disconnect 17841405793187218 --yes --json

{TARGETS}"))]
struct Disconnect {
    /// The account's Threads user id
    #[arg(value_name = "USER_ID")]
    user_id: UserId,

    /// Do not ask
    #[arg(long)]
    yes: bool,

    #[command(flatten)]
    target: Target,

    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

impl Accounts {
    pub(crate) async fn run(self, surroundings: &Surroundings) -> Result<()> {
        match self.command {
            Command::List(command) => command.run(surroundings).await,
            Command::Show(command) => command.run(surroundings).await,
            Command::Refresh(command) => command.run(surroundings).await,
            Command::Disconnect(command) => command.run(surroundings).await,
            Command::Import(command) => command.run(surroundings).await,
            Command::Export(command) => command.run(surroundings).await,
        }
    }
}

impl Show {
    async fn run(self, surroundings: &Surroundings) -> Result<()> {
        let stack = self.target.open(surroundings).await?;
        let summary = summary(&stack, &self.user_id).await?;
        let json = serde_json::to_value(&summary)?;
        output(self.json).result(&json, &plain(&summary, stack.now()))?;
        Ok(())
    }
}

impl Refresh {
    async fn run(self, surroundings: &Surroundings) -> Result<()> {
        let stack = self.target.open(surroundings).await?;
        let user_id = &self.user_id;
        let grant = stack
            .service
            .store()
            .get(user_id)
            .await?
            .ok_or_else(|| unknown(&stack, user_id))?;
        let ended = match grant.status {
            Status::Revoked => true,
            Status::NeedsReauthorization(_) => grant.pending.is_none(),
            Status::Active | Status::Pending => false,
        };
        if ended {
            let text = format!(
                "{user_id} is {}: only its person can bring it back, by connecting again",
                grant.status.as_str()
            );
            return Err(Stopped::Unauthorized(text).into());
        }
        let mut interrupt = Interrupt::listen()?;
        let swept = interrupt
            .after(Box::pin(async {
                Ok(stack.service.refresh_now(user_id, stack.now()).await?)
            }))
            .await?;
        let (code, said) = outcome(swept);
        let account = stack.service.store().get(user_id).await?.map(Summary::from);
        let json =
            json!({"user_id": user_id, "outcome": swept.as_str(), "message": said, "account": account});
        let expires_at = account.and_then(|account| account.expires_at);
        let expiry = expires_at.map_or_else(String::new, |at| format!("; the token lives until {at}"));
        output(self.json).result(&json, &format!("{}: {said}{expiry}", swept.as_str()))?;
        if code == 0 {
            Ok(())
        } else {
            Err(Stopped::Told(code).into())
        }
    }
}

/// What an outcome means to whoever asked for it.
fn outcome(swept: Swept) -> (u8, &'static str) {
    match swept {
        Swept::Refreshed => (0, "the token was refreshed"),
        Swept::Completed => (0, "the connect that was pending is complete"),
        Swept::Checked => (0, "nothing was due"),
        Swept::Superseded => (0, "something newer was stored meanwhile"),
        Swept::TooYoung => (
            4,
            "Meta refreshes no token in its first 24 hours; it is done by itself later",
        ),
        Swept::NotOurs => (4, "somebody else is at it right now"),
        Swept::Deferred(_) => (
            4,
            "it failed for a reason that may pass, and is tried again by itself",
        ),
        Swept::StoreFailed => (4, "DynamoDB failed, and it is tried again by itself"),
        Swept::PendingLost => (
            3,
            "the connect was never completed, and its short-lived token is over",
        ),
        Swept::NeedsReauthorization(_) => (
            3,
            "Meta says that the token is dead: the person has to connect again",
        ),
        Swept::Gone => (1, "the account was deleted meanwhile"),
        Swept::BrokenRow => (1, "the account's row does not make sense"),
        Swept::Undecryptable => (
            1,
            "the token does not open with the keyring: `threads-auth doctor` says more",
        ),
    }
}

impl Disconnect {
    async fn run(self, surroundings: &Surroundings) -> Result<()> {
        let stack = self.target.open(surroundings).await?;
        let user_id = &self.user_id;
        let account = summary(&stack, user_id).await?;
        if !self.yes {
            let mut interrupt = Interrupt::listen()?;
            let name = account
                .username
                .as_deref()
                .map_or_else(String::new, |name| format!(" (@{name})"));
            let question = format!(
                "Disconnect {user_id}{name} of {}? Its token is destroyed, and only its person can come back. Type yes",
                stack.name
            );
            confirm(&question, "yes", "--yes", &mut interrupt).await?;
        }
        if !stack.service.disconnect(user_id, stack.now()).await? {
            return Err(unknown(&stack, user_id));
        }
        output(self.json).result(
            &json!({"user_id": user_id, "disconnected": true}),
            &format!("{user_id} is disconnected, and its token is destroyed"),
        )?;
        Ok(())
    }
}

/// Asks for a word. Where nobody can be asked, `flag` says it instead.
pub(crate) async fn confirm(question: &str, word: &str, flag: &str, interrupt: &mut Interrupt) -> Result<()> {
    if !crate::shell::output::can_ask() {
        let text = format!("nobody can be asked here whether to do this: give {flag} if it is meant");
        return Err(Stopped::Usage(text).into());
    }
    let answer = prompt::ask(question, false, interrupt).await?;
    if answer.is_none_or(|answer| answer.as_str() != word) {
        return Err(Stopped::Usage("nothing was changed".to_owned()).into());
    }
    Ok(())
}

pub(crate) fn output(json: bool) -> Output {
    Output { json, silent: false }
}

async fn summary(stack: &Opened, user_id: &UserId) -> Result<Summary> {
    let grant = stack.service.store().get(user_id).await?;
    Ok(grant.ok_or_else(|| unknown(stack, user_id))?.into())
}

fn unknown(stack: &Opened, user_id: &UserId) -> anyhow::Error {
    anyhow::anyhow!("no account {user_id} is connected to {}", stack.name)
}

/// Every account, page by page; `each` gets what could be read, and what is wrong with a row that could not.
async fn each_page(
    stack: &Opened,
    status: Option<&str>,
    mut each: impl FnMut(
        Vec<Result<threads_auth::grant::Grant, threads_auth::grant::Inconsistency>>,
    ) -> Result<()>,
) -> Result<()> {
    let mut after = None;
    loop {
        let (rows, next) = stack
            .service
            .store()
            .scan(status, None, after)
            .await
            .with_context(|| format!("the accounts of {} cannot be listed", stack.name))?;
        each(rows)?;
        match next {
            Some(key) => after = Some(key),
            None => return Ok(()),
        }
    }
}

/// Whole days until the earlier of its two ends; negative when it is past, and none when there is nothing left to end.
fn days_left(summary: &Summary, now: Timestamp) -> Option<i64> {
    if summary.status == Status::Revoked.as_str() {
        return None;
    }
    let ends = [summary.expires_at, summary.data_access_expires_at];
    let end = ends.into_iter().flatten().min()?;
    Some((end.as_second() - now.as_second()).div_euclid(86_400))
}

fn plain(summary: &Summary, now: Timestamp) -> String {
    let time = |at: Option<Timestamp>| at.map_or_else(|| "-".to_owned(), |at| at.to_string());
    let status = match summary.cause {
        Some(cause) => format!("{} ({cause})", summary.status),
        None => summary.status.to_owned(),
    };
    let days = days_left(summary, now).map_or_else(|| "-".to_owned(), |days| days.to_string());
    let rows = [
        ("Account", summary.user_id.to_string()),
        (
            "Username",
            summary.username.clone().unwrap_or_else(|| "-".to_owned()),
        ),
        ("Status", status),
        ("Scopes", summary.scopes.to_string()),
        ("Days left", days),
        ("Token issued", time(summary.issued_at)),
        ("Token ends", time(summary.expires_at)),
        ("Data access ends", time(summary.data_access_expires_at)),
        ("Next look", time(summary.due_at)),
        ("Last refresh", time(summary.refreshed_at)),
        ("Consented", time(Some(summary.connected_at))),
        ("First connected", time(Some(summary.created_at))),
        ("Failures in a row", summary.failures.to_string()),
        (
            "Last failure",
            summary.last_error.clone().unwrap_or_else(|| "-".to_owned()),
        ),
    ];
    table(&rows)
}
