//! `threads-auth accounts show`: one account, without its token.

use anyhow::Result;
use clap::Args;
use jiff::Timestamp;
use threads_auth_model::{ScopesSource, Summary};
use threads_graph::UserId;

use super::lookup::{days_left, grant};
use crate::operate::target::{StackArgs, TARGETS};
use crate::shell::env::Env;
use crate::shell::output::table;

/// Show everything about one account except its token.
#[derive(Args)]
#[command(after_help = format!("Examples:
  threads-auth accounts show 17841405793187218 --local
  threads-auth accounts show 17841405793187218 --json | jq -r .expires_at

{TARGETS}"))]
pub(super) struct Show {
    /// The account's Threads user id
    #[arg(value_name = "USER_ID")]
    user_id: UserId,

    #[command(flatten)]
    target: StackArgs,
}

impl Show {
    pub(super) async fn run(self, env: &Env) -> Result<()> {
        let stack = self.target.open(env).await?;
        let summary = Summary::from(grant(&stack, &self.user_id).await?);
        let json = serde_json::to_value(&summary)?;
        self.target.output.result(&json, &plain(&summary, stack.now()))
    }
}

fn plain(summary: &Summary, now: Timestamp) -> String {
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
        ("Claimed by", summary.reference.clone().unwrap_or_else(|| "-".to_owned())),
        ("Ends unclaimed", time(summary.unclaimed_until)),
    ];
    table(&rows)
}
