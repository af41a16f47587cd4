//! `threads-auth accounts list`: the accounts of a stack, those that end first at the top.

use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use comfy_table::{ColumnConstraint, ContentArrangement, Row, Table, presets};
use jiff::Timestamp;
use serde_json::{Value, json};
use threads_auth_model::{Status, Summary};
use tokio::signal::unix::{SignalKind, signal};

use super::lookup::{days_left, each_account};
use crate::operate::target::{StackArgs, StackHandle, TARGETS};
use crate::shell::env::Env;
use crate::shell::interrupt::Interrupt;
use crate::shell::output::{Screen, terminal_size};

/// List the accounts of a stack, those that end first at the top.
#[derive(Args)]
#[command(after_help = format!("Examples:
  threads-auth accounts list --local
  threads-auth accounts list --local --watch
  threads-auth accounts list --days-left-under 7 --profile prod
  threads-auth accounts list --reference user-7 --profile prod
  threads-auth accounts list --status needs-reauthorization --json | jq -r '.accounts[].user_id'

Days left count to the end of the token or of the access to the person's data, whichever comes first.

{TARGETS}"))]
pub(super) struct List {
    /// Only accounts in this state
    #[arg(long, value_name = "STATUS", value_parser = statuses())]
    status: Option<Status>,

    /// Only accounts that belong to this user of the app
    #[arg(long, value_name = "NAME")]
    reference: Option<String>,

    /// Only accounts with fewer days left than this
    #[arg(long, value_name = "N")]
    days_left_under: Option<u32>,

    /// Refresh the list at this interval in seconds, until Ctrl-C
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, require_equals = true, default_missing_value = "2",
          value_parser = clap::value_parser!(u64).range(1..=3600))]
    watch: Option<u64>,

    #[command(flatten)]
    target: StackArgs,
}

/// Every status, by its name and as people type it.
fn statuses() -> impl TypedValueParser<Value = Status> {
    let values = Status::ALL.map(|status| match status {
        Status::NeedsReauthorization => PossibleValue::new(status.as_str()).alias("needs-reauthorization"),
        _ => PossibleValue::new(status.as_str()),
    });
    PossibleValuesParser::new(values).try_map(|text| text.replace('-', "_").parse())
}

/// The accounts, as JSON and as text, and the errors of rows that could not be read.
struct Seen {
    json: Value,
    plain: String,
    broken: Vec<String>,
}

impl List {
    pub(super) async fn run(self, env: &Env) -> Result<()> {
        let stack = self.target.open(env).await?;
        match self.watch {
            Some(seconds) => {
                let mut interrupt = Interrupt::listen()?;
                interrupt.or(self.watch(&stack, Duration::from_secs(seconds))).await
            }
            None => self.print(&self.look(&stack, stack.now()).await?),
        }
    }

    /// Shows the list again and again until a signal: on a terminal in place, and at once when its
    /// size changes.
    async fn watch(&self, stack: &StackHandle, every: Duration) -> Result<()> {
        let mut resized =
            signal(SignalKind::window_change()).context("the signal handler cannot be installed")?;
        let screen =
            (!self.target.output.json && terminal_size().is_some()).then(Screen::open).transpose()?;
        loop {
            let seen = self.look(stack, stack.time().await?).await?;
            match &screen {
                Some(screen) => {
                    let lines: Vec<_> = seen.broken.iter().chain([&seen.plain]).map(String::as_str).collect();
                    screen.draw(&lines.join("\n"))?;
                }
                None => self.print(&seen)?,
            }
            tokio::select! {
                () = tokio::time::sleep(every) => {}
                _ = resized.recv(), if screen.is_some() => {}
            }
        }
    }

    fn print(&self, seen: &Seen) -> Result<()> {
        self.target.output.print(&seen.json, &seen.plain)?;
        for problem in &seen.broken {
            self.target.output.warn(problem);
        }
        Ok(())
    }

    async fn look(&self, stack: &StackHandle, now: Timestamp) -> Result<Seen> {
        let (mut accounts, mut broken) = (Vec::new(), Vec::new());
        each_account(stack, self.status, |row| {
            match row.map(Summary::from) {
                Ok(summary) if self.is_wanted(&summary, now) => accounts.push(summary),
                Ok(_) => {}
                Err(inconsistency) => broken.push(inconsistency.named()),
            }
            Ok(())
        })
        .await?;
        accounts.sort_by_cached_key(|summary| {
            let days = days_left(summary, now);
            (days.is_none(), days, summary.user_id.to_string())
        });
        let json = json!({"now": now, "accounts": accounts, "broken_rows": broken});
        let plain = if accounts.is_empty() {
            "There are no such accounts.".to_owned()
        } else {
            let total = accounts.len();
            let counted = if total == 1 { "1 account".to_owned() } else { format!("{total} accounts") };
            format!("{}\n{counted}", grid(&accounts, now))
        };
        Ok(Seen { json, plain, broken })
    }

    fn is_wanted(&self, summary: &Summary, now: Timestamp) -> bool {
        let is_theirs =
            self.reference.as_ref().is_none_or(|wanted| summary.reference.as_ref() == Some(wanted));
        let is_near = |limit| days_left(summary, now).is_some_and(|days| days < i64::from(limit));
        is_theirs && self.days_left_under.is_none_or(is_near)
    }
}

/// A line for each account, cut at the terminal's width.
fn grid(accounts: &[Summary], now: Timestamp) -> String {
    let mut grid = Table::new();
    grid.load_style(presets::NOTHING);
    if let Some((width, _)) = terminal_size() {
        grid.set_content_arrangement(ContentArrangement::Dynamic).set_width(width);
    }
    // If the app assigns no accounts, the other columns need the width.
    let is_assigned = accounts.iter().any(|summary| summary.reference.is_some());
    let mut names = vec!["ACCOUNT", "USERNAME", "STATUS", "DAYS", "NEXT CHECK", "LAST FAILURE"];
    if is_assigned {
        names.insert(2, "REFERENCE");
    }
    let mut header = Row::from(names);
    header.max_height(1);
    grid.set_header(header);
    // Half an id is useless, so the other columns are shortened first.
    if terminal_size().is_none_or(|(width, _)| width >= 50)
        && let Some(ids) = grid.column_mut(0)
    {
        ids.set_constraint(ColumnConstraint::ContentWidth);
    }
    for summary in accounts {
        let status = match summary.cause {
            Some(cause) => format!("{}: {cause}", summary.status),
            None => summary.status.to_string(),
        };
        let days = days_left(summary, now).map_or_else(|| "-".to_owned(), |days| days.to_string());
        let look =
            summary.due_at.map_or_else(|| "-".to_owned(), |at| at.strftime("%Y-%m-%d %H:%M").to_string());
        let mut cells = vec![
            summary.user_id.to_string(),
            summary.username.clone().unwrap_or_default(),
            status,
            days,
            look,
            summary.last_error.clone().unwrap_or_default(),
        ];
        if is_assigned {
            cells.insert(2, summary.reference.clone().unwrap_or_default());
        }
        let mut row = Row::from(cells);
        row.max_height(1);
        grid.add_row(row);
    }
    grid.trim_fmt()
}
