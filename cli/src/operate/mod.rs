//! Commands that an operator runs on a stack, on AWS or on this machine.

mod accounts;
mod aws_failure;
mod configure;
mod console;
mod dead_letters;
mod doctor;
mod keyring;
mod pause;
mod reseal;
mod restore;
mod restore_secret;
mod secret_versions;
mod secrets;
mod stored_keyring;
mod sweep;
mod target;
mod unseal;
mod webhook;

use anyhow::Result;
use clap::Subcommand;

use crate::shell::env::Env;

/// All operator commands.
#[derive(Subcommand)]
pub(crate) enum Command {
    Configure(configure::Configure),
    Doctor(doctor::Doctor),
    Console(console::ConsoleCommand),
    Accounts(accounts::Accounts),
    Sweep(sweep::Sweep),
    Pause(pause::PauseCommand),
    Resume(pause::Resume),
    Keyring(keyring::KeyringCommand),
    Restore(restore::Restore),
    RestoreSecret(restore_secret::RestoreSecret),
    DeadLetters(dead_letters::DeadLetters),
    Webhook(webhook::WebhookCommand),
}

impl Command {
    pub(crate) async fn run(self, env: &Env) -> Result<()> {
        match self {
            Self::Configure(command) => Box::pin(command.run(env)).await,
            Self::Doctor(command) => Box::pin(command.run(env)).await,
            Self::Console(command) => Box::pin(command.run(env)).await,
            Self::Accounts(command) => Box::pin(command.run(env)).await,
            Self::Sweep(command) => Box::pin(command.run(env)).await,
            Self::Pause(command) => Box::pin(command.run(env)).await,
            Self::Resume(command) => Box::pin(command.run(env)).await,
            Self::Keyring(command) => Box::pin(command.run(env)).await,
            Self::Restore(command) => Box::pin(command.run(env)).await,
            Self::RestoreSecret(command) => Box::pin(command.run(env)).await,
            Self::DeadLetters(command) => Box::pin(command.run(env)).await,
            Self::Webhook(command) => Box::pin(command.run(env)).await,
        }
    }
}
