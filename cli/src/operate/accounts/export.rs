//! `threads-auth accounts export`: writes the accounts of a stack to a file, for other programs.
//!
//! Refuses to write a token without two confirmations: an option, and a typed word or a second
//! option.

use std::fs::File;
use std::io::{IsTerminal, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum, ValueHint};
use serde_json::{Map, Value, json};
use threads_auth_model::{Grant, Summary};
use threads_graph::{AccessToken, UserId};
use zeroize::Zeroizing;

use super::lookup::each_account;
use super::private_file::private;
use crate::operate::target::{StackArgs, StackHandle, TARGETS};
use crate::operate::unseal::Tokens;
use crate::shell::env::Env;
use crate::shell::exit::{Stopped, usage};
use crate::shell::output::Printed;
use crate::shell::prompt::confirm;

/// Write all accounts as JSON lines or CSV, without their tokens; or all data of one person.
#[derive(Args)]
#[command(after_help = format!("Examples:
  threads-auth accounts export --local > accounts.jsonl
  threads-auth accounts export --format csv --output accounts.csv --profile prod
  threads-auth accounts export --with-tokens --output everything.jsonl
                                      after a typed confirmation; the file can be imported elsewhere
  threads-auth accounts export 17841405793187218 --personal --output ada.json
                                      for that person: account, sessions, the record of an end

Standard output gets one line of JSON for each account, with or without --json. With --output, --json prints a summary instead: \
{{\"written\": 2, \"file\": \"accounts.jsonl\", …}}. Only you can read such a file. \
Tokens are written there or into a pipe, and never to a terminal.

{TARGETS}"))]
pub(super) struct Export {
    /// The person, with --personal
    #[arg(value_name = "USER_ID", requires = "personal")]
    user_id: Option<UserId>,

    /// All data of one person, as JSON, without tokens
    #[arg(long, requires = "user_id", conflicts_with_all = ["with_tokens", "yes_with_tokens", "format"])]
    personal: bool,

    /// The format of the output
    #[arg(long, value_enum, default_value_t = Format::Jsonl)]
    format: Format,

    /// Write to this new file instead of standard output
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    output: Option<PathBuf>,

    /// Include the tokens, after a typed confirmation
    #[arg(long)]
    with_tokens: bool,

    /// Include the tokens without a confirmation, for scripts
    #[arg(long, requires = "with_tokens")]
    yes_with_tokens: bool,

    #[command(flatten)]
    target: StackArgs,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// One JSON object in each line
    Jsonl,
    /// A line of column names, and a line for each account
    Csv,
}

const COLUMNS: [&str; 18] = [
    "user_id",
    "username",
    "status",
    "cause",
    "scopes",
    "issued_at",
    "expires_at",
    "data_access_expires_at",
    "due_at",
    "refreshed_at",
    "connected_at",
    "created_at",
    "failures",
    "last_error",
    "scopes_source",
    "suspected_at",
    "reference",
    "unclaimed_until",
];
const TOKEN: &str = "access_token";

/// The destination.
enum Sink {
    Jsonl(Box<dyn Write>),
    Csv(Box<csv::Writer<Box<dyn Write>>>),
}

impl Export {
    pub(super) async fn run(self, env: &Env) -> Result<()> {
        let output = self.target.output;
        if output.json && self.format == Format::Csv && self.output.is_none() {
            let text = "--json and --format csv cannot be combined on standard output: omit one, or give --output FILE for the CSV";
            return usage(text);
        }
        if self.with_tokens && self.output.is_none() && !is_private(&std::io::stdout())? {
            let text = "tokens go into a pipe, or into a file that you alone can read: name a new one with --output FILE";
            return usage(text);
        }
        let stack = self.target.open(env).await?;
        if let Some(user_id) = &self.user_id {
            return self.personal(&stack, user_id).await;
        }
        if self.with_tokens && !self.yes_with_tokens {
            let question = format!(
                "This writes the tokens of all accounts of {} in the clear: whoever has them can act as these people. Type \"export tokens\"",
                stack.name
            );
            confirm(&question, "export tokens", "--yes-with-tokens").await?;
        }
        let mut sink = self.sink()?;
        let (mut written, mut broken, mut sealed) = (0_u64, 0_u64, 0_u64);
        let tokens = if self.with_tokens { Some(Tokens::of(&stack).await?) } else { None };
        each_account(&stack, None, |row| {
            let grant = match row {
                Ok(grant) => grant,
                Err(inconsistency) => {
                    broken += 1;
                    output.warn(&inconsistency.named());
                    return Ok(());
                }
            };
            let token = tokens.as_ref().and_then(|tokens| tokens.token(&grant));
            if token.as_ref().is_some_and(Result::is_err) {
                sealed += 1;
                output.warn(&format!("the token of {} does not open with the keyring", grant.user_id));
            }
            let token = token.and_then(Result::ok);
            sink.write(grant, token.as_ref().map(AccessToken::expose), self.with_tokens)?;
            written += 1;
            Ok(())
        })
        .await?;
        sink.end()?;
        let without = if self.with_tokens { "" } else { ", without tokens" };
        match &self.output {
            None => output.note(&format!("{written} accounts were written{without}")),
            Some(path) if output.json => {
                let json = json!({"written": written, "file": path.display().to_string(), "with_tokens": self.with_tokens, "broken_rows": broken, "unopened_tokens": sealed});
                output.result(&json, "")?;
            }
            Some(path) => {
                output.note(&format!("{written} accounts were written to {}{without}", path.display()));
            }
        }
        Stopped::reported(u8::from(broken + sealed > 0))
    }

    /// Prints all data of one person.
    async fn personal(&self, stack: &StackHandle, user_id: &UserId) -> Result<()> {
        let data = stack.service.personal_data(user_id, stack.now()).await?;
        let Some(data) = data else {
            bail!("{} holds nothing about {user_id}", stack.name);
        };
        let mut out = self.out()?;
        serde_json::to_writer_pretty(&mut out, &data)?;
        writeln!(out).and_then(|()| out.flush()).context("the output could not be written completely")?;
        let output = self.target.output;
        match &self.output {
            Some(path) if output.json => {
                output.result(&json!({"user_id": user_id, "file": path.display().to_string()}), "")
            }
            Some(path) => {
                output.note(&format!("all data of {user_id} was written to {}", path.display()));
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// Opens the destination: standard output, or a new file that only its owner can read.
    fn out(&self) -> Result<Box<dyn Write>> {
        Ok(match &self.output {
            None => Box::new(std::io::BufWriter::new(Printed(std::io::stdout()))),
            Some(path) => Box::new(std::io::BufWriter::new(private(path)?)),
        })
    }

    fn sink(&self) -> Result<Sink> {
        let out = self.out()?;
        Ok(match self.format {
            Format::Jsonl => Sink::Jsonl(out),
            Format::Csv => {
                let mut writer = Box::new(csv::Writer::from_writer(out));
                let token = self.with_tokens.then_some(TOKEN);
                writer.write_record(COLUMNS.into_iter().chain(token))?;
                Sink::Csv(writer)
            }
        })
    }
}

impl Sink {
    fn write(&mut self, grant: Grant, token: Option<&str>, with_tokens: bool) -> Result<()> {
        let Value::Object(mut fields) = serde_json::to_value(Summary::from(grant))? else {
            return Ok(());
        };
        fields.remove("pending");
        // Elsewhere scopes are a list; here they are one field.
        match self {
            Self::Jsonl(out) => {
                if with_tokens {
                    fields.insert(TOKEN.to_owned(), json!(token));
                }
                let line = Zeroizing::new(Value::Object(fields).to_string());
                writeln!(out, "{}", *line)?;
            }
            Self::Csv(writer) => {
                for column in COLUMNS {
                    writer.write_field(text(&fields, column))?;
                }
                if with_tokens {
                    writer.write_field(token.unwrap_or_default())?;
                }
                writer.write_record(None::<&[u8]>)?;
            }
        }
        Ok(())
    }

    fn end(self) -> Result<()> {
        match self {
            Self::Jsonl(mut out) => out.flush(),
            Self::Csv(mut writer) => writer.flush(),
        }
        .context("the output could not be written completely")
    }
}

/// Returns true if nobody else sees what is written there: it is no terminal, and no file that
/// others can read.
fn is_private(out: &(impl AsFd + IsTerminal)) -> Result<bool> {
    let about = File::from(out.as_fd().try_clone_to_owned()?).metadata()?;
    // The last six bits are for the group and the others.
    Ok(!out.is_terminal() && (!about.is_file() || about.mode().trailing_zeros() >= 6))
}

fn text(fields: &Map<String, Value>, column: &str) -> String {
    match fields.get(column) {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(items)) => items.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" "),
        Some(other) => other.to_string(),
    }
}
