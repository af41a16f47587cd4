//! The `threads-auth` command.

mod dev;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Connects Threads accounts to your app, and keeps their tokens alive.
#[derive(Parser)]
#[command(name = "threads-auth", version, about, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Dev(dev::Dev),
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Dev(dev) => dev.run(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::debug!(?error);
            complain(&error);
            ExitCode::FAILURE
        }
    }
}

#[expect(clippy::print_stderr, reason = "a command's errors belong on standard error")]
fn complain(error: &anyhow::Error) {
    eprintln!("threads-auth: {error:#}");
}
