//! `threads-auth keyring`: the keys that seal the tokens of a stack.
//!
//! Owns the order of a rotation and of an upgrade: every function can read a new key or format
//! before anything is sealed with it. Refuses to remove a key that still seals something or may be
//! about to, to overwrite a keyring that somebody else has changed since it was read, and to print
//! a key.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::{Args, Subcommand};
use jiff::Timestamp;
use serde_json::json;
use threads_auth_model::Vault;
use threads_auth_model::seal::{Format, KeyringChange, Purpose, SealError, change_keyring};

use crate::operate::reseal::{self, Reseal, reseal};
use crate::operate::stored_keyring::{StoredKeyring, free_id};
use crate::operate::target::{StackArgs, StackHandle, TARGETS};
use crate::shell::env::Env;
use crate::shell::exit::{Stopped, later, usage};
use crate::shell::interrupt::Interrupt;
use crate::shell::output::Output;
use crate::shell::prompt::Confirmation;

/// Show, rotate, upgrade and prune the keys that seal the tokens of a stack.
#[derive(Args)]
#[command(after_help = format!("Examples:
  threads-auth keyring show --local
  threads-auth keyring rotate --profile prod
  threads-auth keyring prune 2026-11-25 --profile prod

Each command takes --json. A rotation reseals everything at its end, so the old key is unused some minutes later.

{TARGETS}"))]
pub(crate) struct KeyringCommand {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Show(Show),
    Rotate(Rotate),
    Reseal(Reseal),
    Upgrade(Upgrade),
    Prune(Prune),
}

/// List the keys by their ids, with the number of values that each has sealed.
#[derive(Args)]
#[command(after_help = format!("Examples:
  threads-auth keyring show --local --json

{TARGETS}"))]
struct Show {
    #[command(flatten)]
    target: StackArgs,
}

/// Add a key, wait until every function can read it, seal with it from then on, and reseal
/// everything with it.
#[derive(Args)]
#[command(after_help = format!("Examples:
  threads-auth keyring rotate --profile prod
  threads-auth keyring rotate --key-id 2026-11-25 --profile prod
                                      resumes a rotation that was stopped

The service keeps running, and no token is lost: the old key stays, and opens what it has sealed. At the end every token is resealed with \
the new key, those of dead accounts too. Values that do not open are reported, and left as they are. If somebody else changes the keyring \
at the same moment, one of the two commands ends with exit code 4, and can be repeated.

{TARGETS}"))]
struct Rotate {
    /// The new key's id [default: today's date]
    #[arg(long, value_name = "ID")]
    key_id: Option<String>,

    #[command(flatten)]
    wait: Wait,

    #[command(flatten)]
    target: StackArgs,
}

/// Enable the second format of sealed tokens, once every function can read it.
#[derive(Args)]
#[command(after_help = format!("Examples:
  threads-auth keyring upgrade --profile prod

Run this once, after the deployment of a version that has this command. Until then nothing is written that the previous version cannot \
read, so you can roll back. In the second format each purpose has a key of its own, and a token is bound to the keyring instead of the \
table's name: a table that was restored from a backup can become the table in use. The keyring remembers the table's name, so older tokens \
open as well, and `keyring reseal` reseals them.

If the table had another name when its tokens were sealed, give that name with --table.

{TARGETS}"))]
struct Upgrade {
    /// The table's name when its tokens were sealed [default: its present name]
    #[arg(long, value_name = "NAME")]
    table: Option<String>,

    #[command(flatten)]
    wait: Wait,

    #[command(flatten)]
    target: StackArgs,
}

/// The time in which every function reads the current keyring.
#[derive(Args)]
struct Wait {
    /// Seconds to wait [default: as long as functions cache a secret, and half a minute]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(0..=86_400))]
    wait: Option<u64>,
}

/// Remove a key that no longer seals anything.
#[derive(Args)]
#[command(after_help = format!("Examples:
  threads-auth keyring prune 2026-11-25 --yes --profile prod

It is refused while the key seals a token (`keyring reseal` reseals it), and for a while after a change of the keyring: a function that \
cannot read the keyring uses its last one for an hour, and a sweep or a login that is under way for up to a quarter of an hour more.

{TARGETS}"))]
struct Prune {
    /// The key's id
    #[arg(value_name = "KEY_ID")]
    key_id: String,

    /// Seconds for which the keyring must be unchanged [default: an hour and a quarter, because
    /// functions that cannot read it use their last one for an hour]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(0..=31_536_000))]
    unchanged_for: Option<u64>,

    #[command(flatten)]
    sure: Confirmation,

    #[command(flatten)]
    target: StackArgs,
}

/// The time that functions need in addition to the time for which they cache a secret.
const SLACK: Duration = Duration::from_secs(30);

/// The number of accounts that are tried before a keyring remembers a table's name.
const SAMPLE: u32 = 200;

/// The longest time for which a sweep, or a login with its cookie, uses a keyring that it has read.
const UNDER_WAY: Duration = Duration::from_mins(15);

impl KeyringCommand {
    pub(crate) async fn run(self, env: &Env) -> Result<()> {
        match self.command {
            Command::Show(command) => command.run(env).await,
            Command::Rotate(command) => command.run(env).await,
            Command::Reseal(command) => command.run(env).await,
            Command::Upgrade(command) => Box::pin(command.run(env)).await,
            Command::Prune(command) => command.run(env).await,
        }
    }
}

impl Show {
    async fn run(self, env: &Env) -> Result<()> {
        let stack = self.target.open(env).await?;
        let keyring = StoredKeyring::read(&stack).await?.keyring;
        let used = stack.service.keys_in_use().await?;
        let mut keys: BTreeMap<&str, u64> = keyring.key_ids().map(|id| (id, 0)).collect();
        keys.extend(used.iter().map(|(id, count)| (id.as_str(), *count)));
        let missing: Vec<_> = used.keys().filter(|id| keyring.key_ids().all(|known| known != *id)).collect();
        let lines: Vec<_> = keys
            .iter()
            .map(|(id, count)| {
                let role = if missing.iter().any(|missing| missing == id) {
                    "  MISSING: what it seals does not open"
                } else if *id == keyring.writing() {
                    "  seals and opens"
                } else {
                    "  opens"
                };
                format!("{id}  {count} values{role}")
            })
            .collect();
        let format = keyring.format() as u8;
        let json = json!({"writing": keyring.writing(), "format": format, "keys": keys, "missing": missing});
        self.target.output.result(&json, &lines.join("\n"))?;
        Stopped::reported(u8::from(!missing.is_empty()))
    }
}

impl Rotate {
    async fn run(self, env: &Env) -> Result<()> {
        let output = self.target.output;
        let (mut interrupt, stack) = self.target.begin(env).await?;
        let ring = StoredKeyring::read(&stack).await?;
        let keyring = &ring.keyring;
        let before = keyring.writing().to_owned();
        let new = match self.key_id {
            Some(id) => id,
            None => free_id(keyring, stack.now()),
        };
        if new == before {
            return usage(format!("{new} is the sealing key already: choose another --key-id"));
        }
        if keyring.key_ids().all(|known| known != new) {
            let text = change_keyring(&ring.text, KeyringChange::Add(&new))
                .map_err(|error| Stopped::Usage(error.to_string()))?;
            ring.replace(&stack, &text).await?;
            output.note(&format!("The key {new} was added, and opens."));
        } else {
            output.note(&format!("The key {new} exists already, and opens."));
        }
        let goes_on = format!("keyring rotate --key-id {new}");
        self.wait.out(&stack, output, &goes_on, &mut interrupt).await?;
        // Read again, because somebody else may have changed it meanwhile.
        let ring = StoredKeyring::read(&stack).await?;
        let text = change_keyring(&ring.text, KeyringChange::Write(&new))
            .with_context(|| format!("the key {new} was removed meanwhile"))?;
        ring.replace(&stack, &text).await?;
        output.note(&format!(
            "{new} seals from now on. Everything that {before} and others have sealed is resealed."
        ));
        let report = reseal(&stack, output, &mut interrupt).await?;
        output.result(
            &json!({"writing": new, "before": before, "resealed": report}),
            &format!(
                "{}\n{new} seals. {before} stays until `keyring prune {before}`, because a function may still be sealing with it.",
                reseal::plain(&report)
            ),
        )?;
        Stopped::reported(reseal::code(&report))
    }
}

impl Upgrade {
    async fn run(self, env: &Env) -> Result<()> {
        let output = self.target.output;
        let (mut interrupt, stack) = self.target.begin(env).await?;
        let mut ring = StoredKeyring::read(&stack).await?;
        let upgraded = ring.keyring.format() == Format::First;
        if upgraded {
            if ring.keyring.id().is_none() {
                let table = self.table.as_deref().unwrap_or(stack.service.store().grants_table());
                interrupt.or(Box::pin(are_of_table(&stack, table))).await?;
                let text = change_keyring(&ring.text, KeyringChange::Identify(table))?;
                ring.replace(&stack, &text).await?;
                output.note("The keyring has an id: both formats open with it.");
            }
            self.wait.out(&stack, output, "keyring upgrade", &mut interrupt).await?;
            // Read again, because somebody else may have changed it meanwhile.
            ring = StoredKeyring::read(&stack).await?;
            let text = change_keyring(&ring.text, KeyringChange::Upgrade)
                .context("somebody has put another keyring in place meanwhile")?;
            ring.replace(&stack, &text).await?;
        }
        let plain = if upgraded {
            "The second format is written from now on. `keyring reseal` reseals the stored values."
        } else {
            "The second format is written already."
        };
        output.result(&json!({"format": Format::Second as u8, "upgraded": upgraded}), plain)
    }
}

impl Wait {
    /// Waits until it is over. `goes_on` is the command that resumes after a stop.
    async fn out(
        &self,
        stack: &StackHandle,
        output: Output,
        goes_on: &str,
        interrupt: &mut Interrupt,
    ) -> Result<()> {
        let usual = stack.service.config().secrets_ttl + SLACK;
        let wait = self.wait.map_or(usual, Duration::from_secs);
        output.note(&format!(
            "Waiting {} s, until every function has read it. `{goes_on}` resumes if this is stopped.",
            wait.as_secs()
        ));
        interrupt
            .or(async {
                tokio::time::sleep(wait).await;
                Ok(())
            })
            .await
    }
}

/// Checks with some accounts that tokens are bound to this table name, because the keyring
/// remembers it for ever.
async fn are_of_table(stack: &StackHandle, table: &str) -> Result<()> {
    let vault = Vault { table: table.to_owned(), ..stack.service.vault(stack.now()).await? };
    let page = stack.service.list_grants(None, SAMPLE, None).await?;
    let opened = page.items.into_iter().flatten().filter_map(|grant| {
        let live = grant.live()?;
        Some(vault.open(Purpose::AccessToken, &grant.user_id, &live.token))
    });
    let (opened, refused): (Vec<_>, Vec<_>) = opened
        .filter(|opened| !matches!(opened, Err(SealError::UnknownKey | SealError::Malformed)))
        .partition(Result::is_ok);
    if opened.is_empty() && !refused.is_empty() {
        return usage(format!(
            "no token of {} is sealed for a table {table}, and the keyring was left as it is: with --table, give the name that the table had when its tokens were sealed",
            stack.name
        ));
    }
    Ok(())
}

impl Prune {
    async fn run(self, env: &Env) -> Result<()> {
        let stack = self.target.open(env).await?;
        let key_id = &self.key_id;
        let mut ring = self.check(&stack, env.now).await?;
        if !self.sure.yes {
            self.sure.ask(&format!("Remove the key {key_id} from {}, for good?", stack.name)).await?;
            ring = self.check(&stack, env.now).await?;
        }
        let text = change_keyring(&ring.text, KeyringChange::Remove(key_id))?;
        ring.replace(&stack, &text).await?;
        self.target
            .output
            .result(&json!({"removed": key_id}), &format!("{key_id} was removed from the keyring"))
    }

    /// Returns the keyring, if the key seals nothing and no function can be about to seal with it.
    /// A secret's own times are real ones, whatever the clock of a development stack shows.
    async fn check(&self, stack: &StackHandle, now: Timestamp) -> Result<StoredKeyring> {
        let key_id = &self.key_id;
        let ring = StoredKeyring::read(stack).await?;
        if ring.keyring.key_ids().all(|known| known != key_id) {
            return usage(format!("there is no key {key_id} in the keyring"));
        }
        if ring.keyring.writing() == key_id {
            return usage(format!("{key_id} is the sealing key: run `keyring rotate` first"));
        }
        // A function that cannot read the secret goes on with a keyring from before.
        let usual = stack.service.secrets().usable_for() + UNDER_WAY;
        let unchanged_for = self.unchanged_for.map_or(usual, Duration::from_secs);
        let settled = ring.made_at.checked_add(unchanged_for)?;
        if now < settled {
            return later(format!(
                "the keyring was changed at {}, and something under way may still seal with {key_id}: try again at {settled}",
                ring.made_at
            ));
        }
        if let Some(count) = stack.service.keys_in_use().await?.get(key_id) {
            return later(format!(
                "{key_id} still seals {count} values, which would be lost: run `keyring reseal`, and try again"
            ));
        }
        Ok(ring)
    }
}
