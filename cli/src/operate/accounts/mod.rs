//! `threads-auth accounts`: the accounts of a stack. Only `export --with-tokens` writes a token.

mod delete;
mod disconnect;
mod export;
mod import;
mod list;
mod lookup;
mod private_file;
mod refresh;
mod show;

use anyhow::Result;
use clap::{Args, Subcommand};

pub(super) use self::delete::told as told_of_deletion;
pub(super) use self::refresh::{ended, outcome};
use crate::operate::target::TARGETS;
use crate::shell::env::Env;

/// List, inspect and manage the accounts of a stack, on AWS or on this machine.
#[derive(Args)]
#[command(after_help = format!("Examples:
  threads-auth accounts list --local
  threads-auth accounts list --status needs-reauthorization --json
  threads-auth accounts import tokens.csv --stack threads-auth-prod --profile prod

Each command takes --json.

{TARGETS}"))]
pub(crate) struct Accounts {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    List(list::List),
    Show(show::Show),
    Refresh(refresh::Refresh),
    Disconnect(disconnect::Disconnect),
    Delete(delete::Delete),
    Import(import::Import),
    Export(export::Export),
}

impl Accounts {
    pub(crate) async fn run(self, env: &Env) -> Result<()> {
        match self.command {
            Command::List(command) => command.run(env).await,
            Command::Show(command) => command.run(env).await,
            Command::Refresh(command) => command.run(env).await,
            Command::Disconnect(command) => command.run(env).await,
            Command::Delete(command) => command.run(env).await,
            Command::Import(command) => command.run(env).await,
            Command::Export(command) => command.run(env).await,
        }
    }
}
