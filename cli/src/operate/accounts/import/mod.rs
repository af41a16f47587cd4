//! `threads-auth accounts import`: imports tokens that were obtained elsewhere.
//!
//! Reads a file of any length as a stream, limits the number of concurrent requests to Meta, and
//! loses no line: rejected lines are written to a file with the reason.

mod lines;
mod record;
mod run;
mod take_over;

use std::fs::File;
use std::io::Read;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result};
use clap::{Args, ValueHint};

use self::lines::reader;
use self::record::Record;
use self::run::Run;
use crate::operate::accounts::private_file::check_replaceable;
use crate::operate::target::{StackArgs, TARGETS};
use crate::shell::env::Env;
use crate::shell::exit::{Stopped, usage};

/// Import tokens that were obtained elsewhere, from a CSV file or a file of JSON lines.
#[derive(Args)]
#[command(after_help = format!("Examples:
  threads-auth accounts import tokens.csv --local
  threads-auth accounts import tokens.jsonl --profile prod --stack threads-auth-prod
  my-export | threads-auth accounts import - --rejected rejected.jsonl --json

A CSV file has a first line with names: access_token (or token) and, if they are known, user_id, expires_at and reference. A JSON line is an object \
with the same names, or a connection as Nango's API answers. reference is the app's own name for its user, and makes the account theirs, as \
completing a session does. expires_at is a time such as 2026-11-25T08:00:00Z, or seconds since 1970. A line, or a CSV record of several lines, has at most 64 KiB; one \
that makes no sense is rejected, and the next one is read. Meta is asked of each token whose it is and how old. It can be repeated: an account that is connected already keeps its token, unless the new one lives longer.

Lines that are not taken over are written to FILE.rejected with the reason, as JSON lines. That file HOLDS TOKENS: only you can read \
it, and it should be deleted. It can be imported in its turn, and each run on FILE begins it anew.

Exit codes: 1 if a line was rejected for good, 4 if lines are to be tried again later.

{TARGETS}"))]
pub(super) struct Import {
    /// The file, or - for standard input
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    file: PathBuf,

    /// File for rejected lines [default: FILE.rejected]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    rejected: Option<PathBuf>,

    /// Start at this line of the file, where an earlier run stopped
    #[arg(long, value_name = "N", default_value_t = 1)]
    from_line: u64,

    /// Number of tokens that are checked at Meta at the same time
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=1024))]
    concurrency: u16,

    /// Attempts per token when Meta or AWS fails
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u8).range(1..=10))]
    tries: u8,

    #[command(flatten)]
    target: StackArgs,
}

impl Import {
    pub(super) async fn run(self, env: &Env) -> Result<()> {
        let from_stdin = self.file.as_os_str() == "-";
        let rejected = match (&self.rejected, from_stdin) {
            (Some(path), _) => path.clone(),
            (None, true) => {
                return usage(
                    "with standard input --rejected says where rejected lines go: they hold tokens",
                );
            }
            (None, false) => {
                let mut name = self.file.clone().into_os_string();
                name.push(".rejected");
                name.into()
            }
        };
        if rejected == self.file {
            return usage("--rejected is the file that is read");
        }
        check_replaceable(&rejected)?;
        // Standard input is read once, so an earlier run's rejected lines exist only in that file.
        if from_stdin && rejected.exists() {
            let text =
                format!("{} exists: move it away, or name another file with --rejected", rejected.display());
            return usage(text);
        }
        let (source, length) = self.source(from_stdin)?;
        let stack = self.target.open(env).await?;
        // Checked once, because otherwise every line would report it.
        stack
            .service
            .secrets()
            .app(stack.now())
            .await
            .and(stack.service.secrets().keyring(stack.now()).await)
            .with_context(|| {
                format!("the secrets of {} are not ready; `threads-auth configure` writes them", stack.name)
            })?;
        let bytes = Arc::default();
        let most = usize::from(self.concurrency);
        let lines = reader(source, self.from_line, Arc::clone(&bytes), most);
        Run::new(stack, Record::new(length, bytes, rejected), self.from_line)
            .finish(lines, most, self.tries, self.target.output)
            .await
    }

    fn source(&self, from_stdin: bool) -> Result<(Box<dyn Read + Send>, Option<u64>)> {
        if from_stdin {
            return Ok((Box::new(std::io::stdin()), None));
        }
        let unreadable = |error| Stopped::Usage(format!("{} cannot be read: {error}", self.file.display()));
        let file = File::open(&self.file).map_err(unreadable)?;
        let about = file.metadata().map_err(unreadable)?;
        if about.is_dir() {
            return usage(format!("{} is a folder", self.file.display()));
        }
        Ok((Box::new(file), about.is_file().then_some(about.len())))
    }
}
