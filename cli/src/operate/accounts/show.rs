//! `threads-auth accounts show`: one account, without its token.

use anyhow::Result;
use clap::Args;
use jiff::Timestamp;
use threads_auth_model::{Pseudonym, ScopesSource, Summary};
use threads_graph::UserId;

use super::lookup::{days_left, grant, named};
use crate::operate::target::{StackArgs, TARGETS};
use crate::shell::env::Env;
use crate::shell::output::table;

/// Show everything about one account except its token.
#[derive(Args)]
#[command(after_help = format!("Examples:
  threads-auth accounts show 17841405793187218 --local
  threads-auth accounts show 17841405793187218 --json | jq -r .expires_at
  threads-auth accounts show p_Xb2kQ9vLr0-aTz_1 --profile prod
                                      whose pseudonym a log has; this reads all accounts

{TARGETS}"))]
pub(super) struct Show {
    /// The account's Threads user id, or its pseudonym in logs
    #[arg(value_name = "USER_ID|PSEUDONYM", value_parser = name)]
    name: Name,

    #[command(flatten)]
    target: StackArgs,
}

/// The name by which an operator asks for an account.
#[derive(Clone)]
enum Name {
    Id(UserId),
    Pseudonym(Pseudonym),
}

impl Show {
    pub(super) async fn run(self, env: &Env) -> Result<()> {
        let stack = self.target.open(env).await?;
        let grant = match &self.name {
            Name::Id(user_id) => grant(&stack, user_id).await?,
            Name::Pseudonym(pseudonym) => named(&stack, pseudonym).await?,
        };
        let pseudonym = grant.pseudonym.clone();
        let summary = Summary::from(grant);
        let mut json = serde_json::to_value(&summary)?;
        json["pseudonym"] = pseudonym.as_ref().map(Pseudonym::as_str).into();
        self.target.output.result(&json, &plain(&summary, pseudonym.as_ref(), stack.now()))
    }
}

fn name(text: &str) -> Result<Name, String> {
    if let Ok(pseudonym) = text.parse() {
        return Ok(Name::Pseudonym(pseudonym));
    }
    let user_id = text.parse().map(Name::Id);
    user_id.map_err(|error| format!("{error}, or a pseudonym: `p_` and 16 characters"))
}

fn plain(summary: &Summary, pseudonym: Option<&Pseudonym>, now: Timestamp) -> String {
    let time = |at: Option<Timestamp>| at.map_or_else(|| "-".to_owned(), |at| at.to_string());
    let status = match summary.cause {
        Some(cause) => format!("{} ({cause})", summary.status),
        None => summary.status.to_string(),
    };
    let scopes = match summary.scopes_source {
        ScopesSource::Granted => summary.scopes.to_string(),
        ScopesSource::Requested => format!("{} (as requested: Meta did not report them)", summary.scopes),
    };
    let days = days_left(summary, now).map_or_else(|| "-".to_owned(), |days| days.to_string());
    let rows = [
        ("Account", summary.user_id.to_string()),
        ("Username", summary.username.clone().unwrap_or_else(|| "-".to_owned())),
        ("Name in logs", pseudonym.map_or_else(|| "none yet".to_owned(), Pseudonym::to_string)),
        ("Status", status),
        ("Scopes", scopes),
        ("Days left", days),
        ("Token issued", time(summary.issued_at)),
        ("Token ends", time(summary.expires_at)),
        ("Data access ends", time(summary.data_access_expires_at)),
        ("Next check", time(summary.due_at)),
        ("Last refresh", time(summary.refreshed_at)),
        ("Consented", time(Some(summary.connected_at))),
        ("First connected", time(Some(summary.created_at))),
        ("Consecutive failures", summary.failures.to_string()),
        ("Last failure", summary.last_error.clone().unwrap_or_else(|| "-".to_owned())),
        ("Suspected since", time(summary.suspected_at)),
        ("Belongs to", summary.reference.clone().unwrap_or_else(|| "-".to_owned())),
        ("Ends unclaimed", time(summary.unclaimed_until)),
    ];
    table(&rows)
}
