//! The `threads-auth` command.
//!
//! Each module holds one command. `person`, `operate` and `serve` group them, and do not depend on
//! each other; `shell` holds everything that they share. `operate` is the feature `aws`.

#[cfg(feature = "aws")]
mod operate;
mod person;
mod serve;
#[cfg_attr(not(feature = "aws"), expect(dead_code, reason = "some of it serves operators only"))]
mod shell;

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{ArgMatches, CommandFactory, FromArgMatches, Parser, Subcommand};
use jiff::Timestamp;
use threads_graph::redacted;
use tokio::runtime::Builder;
use tracing::Level;

use crate::person::{access_token, authorize_url, legacy, login, refresh_token};
use crate::serve::{dev, sandbox};
use crate::shell::env::Env;
use crate::shell::server::log_to_stderr;
use crate::shell::{completions, exit, left_out, man, output};

/// Connects Threads accounts to your app, and keeps their tokens alive.
#[derive(Parser)]
#[command(name = "threads-auth", version, max_term_width = 100, after_help = exit::CODES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Login(login::Login),
    AuthorizeUrl(authorize_url::AuthorizeUrl),
    #[command(name = "access_token")]
    AccessToken(access_token::AccessTokenCommand),
    #[command(name = "refresh_token")]
    RefreshToken(refresh_token::RefreshTokenCommand),
    #[cfg(feature = "aws")]
    #[command(flatten)]
    Operate(operate::Command),
    Dev(dev::Dev),
    Sandbox(sandbox::SandboxCommand),
    Completions(completions::Completions),
    Man(man::Manual),
}

#[expect(
    clippy::disallowed_methods,
    reason = "this is the edge that reads the clock for everything behind it"
)]
fn main() -> ExitCode {
    let arguments = legacy::translate(std::env::args_os());
    let matches = Cli::command()
        .try_get_matches_from(&arguments)
        .unwrap_or_else(|error| used_wrongly(&left_out::explained(error, &mut Cli::command()), &arguments));
    let command = match Cli::from_arg_matches(&matches) {
        Ok(cli) => cli.command,
        Err(error) => used_wrongly(&error, &arguments),
    };
    let env = Env {
        variables: std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect(),
        now: Timestamp::now(),
    };
    let answers_in_json = answers_in_json(&matches);
    match command.run(&env) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::debug!(?error);
            report(&error, answers_in_json);
            ExitCode::from(exit::code(&error))
        }
    }
}

/// Prints clap's message, which repeats arguments, and ends.
fn used_wrongly(error: &clap::Error, arguments: &[OsString]) -> ! {
    // Help and the version were requested, and are printed unredacted.
    if error.use_stderr() && exit::ask_for_json(arguments) {
        // Standard error and the exit code report it too.
        let _ = output::Output::new(true).result(&exit::misuse_json(error), "");
    }
    let text = error.render().to_string();
    if redacted(&text) == text {
        error.exit();
    }
    output::say(&text);
    std::process::exit(error.exit_code())
}

impl Command {
    fn run(self, env: &Env) -> Result<()> {
        match self {
            Self::Login(login) => block_on(login.run(env)),
            Self::AuthorizeUrl(command) => block_on(command.run(env)),
            Self::AccessToken(command) => block_on(command.run(env)),
            Self::RefreshToken(command) => block_on(command.run(env)),
            #[cfg(feature = "aws")]
            Self::Operate(command) => block_on(command.run(env)),
            Self::Dev(dev) => serve(env.log_level()?, dev.run(env)),
            Self::Sandbox(sandbox) => serve(Level::INFO, sandbox.run()),
            Self::Completions(completions) => completions.run(Cli::command()),
            Self::Man(manual) => manual.run(Cli::command()),
        }
    }
}

/// Returns true if the failure has to be printed as JSON too. Every command has the flag.
fn answers_in_json(mut matches: &ArgMatches) -> bool {
    while let Some((_, below)) = matches.subcommand() {
        matches = below;
    }
    matches.get_flag("json")
}

/// Runs a command that ends by itself.
fn block_on(work: impl Future<Output = Result<()>>) -> Result<()> {
    run_on(Builder::new_current_thread(), work)
}

/// Runs a server, which logs.
fn serve(level: Level, work: impl Future<Output = Result<()>>) -> Result<()> {
    log_to_stderr(level);
    run_on(Builder::new_multi_thread(), work)
}

fn run_on(mut builder: Builder, work: impl Future<Output = Result<()>>) -> Result<()> {
    let runtime = builder.enable_all().build();
    runtime.context("the runtime does not start")?.block_on(work)
}

/// Reports the failure of a command: to people, and as JSON if that was requested.
fn report(error: &anyhow::Error, in_json: bool) {
    if exit::is_silent(error) {
        return;
    }
    exit::report(error);
    if in_json {
        // Standard error and the exit code report it already.
        let _ = output::Output::new(true).result(&exit::json(error), "");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All commands with their full names.
    fn all(command: &clap::Command, called: &str, found: &mut Vec<(String, clap::Command)>) {
        found.push((called.to_owned(), command.clone()));
        for below in command.get_subcommands() {
            all(below, &format!("{called} {}", below.get_name()), found);
        }
    }

    #[test]
    #[cfg(feature = "aws")]
    fn all_commands_that_a_build_may_lack_are_named() {
        let all = operate::Command::augment_subcommands(clap::Command::new("threads-auth"));
        let names: Vec<_> = all.get_subcommands().map(clap::Command::get_name).collect();
        assert_eq!(names, left_out::COMMANDS);
    }

    #[test]
    fn every_command_takes_json_and_shows_examples() {
        let mut found = Vec::new();
        all(&Cli::command(), "threads-auth", &mut found);
        assert!(found.len() > 20);
        for (called, mut command) in found {
            let help = command.render_long_help().to_string();
            assert!(command.get_about().is_some(), "{called} does not say what it does");
            if called == "threads-auth" {
                // Its help is the list of the other commands and the exit codes.
                assert!(help.contains(exit::CODES));
                continue;
            }
            let examples = help.split_once("\nExamples:\n").map(|(_, examples)| examples);
            assert!(
                examples.is_some_and(|examples| examples.contains(&called)),
                "{called} shows no example: {help}"
            );
            assert!(help.contains("--json"), "{called} is silent on --json: {help}");
            let takes_json = command.get_arguments().any(|argument| argument.get_long() == Some("json"));
            assert!(takes_json || command.has_subcommands(), "{called} takes no --json");
        }
    }
}
