//! `threads-auth restore-secret`: restores a secret that was deleted, overwritten, or lacks a key.
//!
//! Finds the right version of the keyring by trying each on the stored values. Refuses to remove a
//! key that opens anything, to overwrite a concurrent change, and to print a key or the app's
//! secret.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use std::sync::Arc;

use anyhow::{Context, Result};
use clap::{Args, Subcommand};
use futures_util::TryStreamExt;
use jiff::Timestamp;
use serde_json::{Map, Value, json};
use threads_auth::Config;
use threads_auth_model::seal::{Keyring, KeyringChange, change_keyring};
use threads_auth_model::{Ends, Key};
use threads_auth_store::row;
use threads_graph::AppCredentials;
use zeroize::Zeroizing;

use crate::operate::secret_versions::{Opens, SealedValues, Version, Versions};
use crate::operate::secrets::{self, refused, stored};
use crate::operate::stored_keyring::make_current;
use crate::operate::target::{StackArgs, StackHandle, TARGETS};
use crate::shell::env::Env;
use crate::shell::exit::{DoneBefore, Stopped, later, usage};
use crate::shell::interrupt::Interrupt;
use crate::shell::output::Output;
use crate::shell::prompt::Confirmation;

/// The problem of a version of the app's secret.
const NO_APP: &str = "does not hold an app's id and secret";

/// An id that no user of Threads has.
const PROBE: &str = "1";

/// Restore a secret of a stack that was deleted or overwritten, or a key that is lost.
#[derive(Args)]
#[command(after_help = format!("Examples:
  threads-auth restore-secret show --profile prod
  threads-auth restore-secret keyring --profile prod
  threads-auth restore-secret app --profile prod

Secrets Manager keeps former versions of a secret: the previous one as AWSPREVIOUS, older ones without a label for at least a day, and up \
to a hundred. A deleted secret can be restored until its recovery window ends, by default after 30 days. Each command takes --json, and \
none shows a key.

{TARGETS}"))]
pub(crate) struct RestoreSecret {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Show(Show),
    Keyring(RestoreKeyring),
    App(RestoreApp),
}

/// List the versions of both secrets, with the number of stored values that each opens.
#[derive(Args)]
#[command(after_help = format!("Examples:
  threads-auth restore-secret show --profile prod --json

It changes nothing. Every sealed token is tried with every version. Exit code 1 means that the current versions do not open all of them.

{TARGETS}"))]
struct Show {
    #[command(flatten)]
    target: StackArgs,
}

/// Restore missing keys of the keyring from its former versions.
#[derive(Args)]
#[command(after_help = format!("Examples:
  threads-auth restore-secret keyring --profile prod

If the secret is scheduled for deletion, that is cancelled first. Every sealed token is tried with every version. The new keyring is the \
version that opens most by itself, with every key of the current one, and with each key of another version that still seals something. A \
key that opens anything is never removed. If tombstones have other names under that version, the command reports how many are stored under \
the current names and would be forgotten. Functions read the keyring within five minutes. If somebody else changes it at the same moment, \
this ends with exit code 4.

{TARGETS}"))]
struct RestoreKeyring {
    #[command(flatten)]
    options: Options,
}

/// Restore a former version of the app's id and secret.
#[derive(Args)]
#[command(after_help = format!("Examples:
  threads-auth restore-secret app --profile prod
  threads-auth restore-secret app --version 8b8ae1c6-2f2c-4f6b-9c0a-3e1d5c0f4a77 --profile prod

If the secret is scheduled for deletion, that is cancelled first, and a well-formed current version stays. Otherwise the newest \
well-formed version before it becomes current, or the one that you name, once Meta has confirmed that its id and its secret belong \
together. The command refuses an app for which fewer of the stored tokens open than for another, with any former keyring, and any app if there are \
tokens and none opens.

{TARGETS}"))]
struct RestoreApp {
    /// The version [default: the one before]
    #[arg(long, value_name = "VERSION_ID")]
    version: Option<String>,

    #[command(flatten)]
    options: Options,
}

/// The options of both restores.
#[derive(Args)]
struct Options {
    #[command(flatten)]
    sure: Confirmation,

    #[command(flatten)]
    target: StackArgs,
}

/// A version that is a keyring, and the values that it opens by itself.
struct Ring<'a> {
    version: &'a Version,
    text: &'a str,
    keyring: Arc<Keyring>,
    opens: Opens,
    /// The tombstone name of a probe, which is equal in keyrings of one origin.
    names: String,
}

impl RestoreSecret {
    pub(crate) async fn run(self, env: &Env) -> Result<()> {
        match self.command {
            Command::Show(command) => Box::pin(command.run(env)).await,
            Command::Keyring(command) => Box::pin(command.run(env)).await,
            Command::App(command) => Box::pin(command.run(env)).await,
        }
    }
}

impl Show {
    async fn run(self, env: &Env) -> Result<()> {
        let (mut interrupt, stack) = self.target.begin(env).await?;
        let work = async {
            let client = stack.secrets_manager();
            let config = stack.service.config();
            let keyrings = Versions::of(&client, &config.keyring_secret_id).await?;
            let apps = Versions::of(&client, &config.app_secret_id).await?;
            Ok((keyrings, apps, SealedValues::of(&stack).await?))
        };
        let (keyrings, apps, values) = interrupt.or(Box::pin(work)).await?;
        // The other secret may be lost too: then its newest well-formed version counts.
        let app = apps.current().and_then(credentials).or_else(|| apps.all.iter().find_map(credentials));
        let rings = app.as_ref().map(|app| rings(&keyrings, &values, app)).unwrap_or_default();
        let best = rings.iter().max_by_key(|ring| (ring.version.is_current(), ring.opens.count()));
        let of_keyring = keyrings.all.iter().map(|version| {
            let ring = rings.iter().find(|ring| ring.version.id == version.id);
            let keys: Vec<_> = ring.iter().flat_map(|ring| ring.keyring.key_ids()).collect();
            let why = keyring_of(version).err();
            told(version, json!({"keys": keys}), ring.map(|ring| ring.opens.count()), &values, why)
        });
        let of_app = apps.all.iter().map(|version| {
            let of = credentials(version);
            let opens = of.as_ref().zip(best).map(|(app, ring)| values.opened(app, &ring.keyring).count());
            let why = of
                .is_none()
                .then(|| version.text.as_ref().err().cloned().unwrap_or_else(|| NO_APP.to_owned()));
            told(version, json!({"app_id": of.map(|app| app.app_id)}), opens, &values, why)
        });
        let json = json!({
            "values": values.count(),
            "keyring": {"deleted": keyrings.deleted, "versions": of_keyring.collect::<Vec<_>>()},
            "app": {"deleted": apps.deleted, "versions": of_app.collect::<Vec<_>>()},
        });
        let plain = format!(
            "{} values are sealed.\n\n{}\n\n{}",
            values.count(),
            plain("keyring", &json),
            plain("app", &json)
        );
        self.target.output.result(&json, &plain)?;
        let opens_all =
            rings.iter().any(|ring| ring.version.is_current() && ring.opens.count() == values.count())
                && apps.current().and_then(credentials).is_some();
        Stopped::reported(u8::from(!opens_all || keyrings.deleted || apps.deleted))
    }
}

impl RestoreKeyring {
    async fn run(self, env: &Env) -> Result<()> {
        let rest =
            async |stack: &_, undeleted, interrupt: &mut _| self.put_back(stack, undeleted, interrupt).await;
        self.options.undeleting(env, |config| &config.keyring_secret_id, rest).await
    }

    async fn put_back(&self, stack: &StackHandle, undeleted: bool, interrupt: &mut Interrupt) -> Result<()> {
        let (output, id) = (self.options.target.output, &stack.service.config().keyring_secret_id);
        let work = async {
            let versions = Versions::of(&stack.secrets_manager(), id).await?;
            versions.know_current()?;
            let app = stack.service.secrets().app(stack.now()).await;
            let app = app.context(
                "tokens are bound to the app, whose secret comes first: `threads-auth restore-secret app`",
            )?;
            Ok((versions, app, SealedValues::of(stack).await?))
        };
        let (versions, app, values) = interrupt.or(Box::pin(work)).await?;
        let unread = versions.all.iter().filter_map(|version| Some((version, version.text.as_ref().err()?)));
        for (version, why) in unread.clone() {
            output.warn(&format!("the version {} could not be read, and is not tried: {why}", version.id));
        }
        let rings = rings(&versions, &values, &app.credentials);
        let current = rings.iter().find(|ring| ring.version.is_current());
        let before = current.map_or(0, |ring| ring.opens.count());
        let chosen = choose(&rings, current, &values, &app.credentials)?;
        let most = chosen.as_ref().map_or(before, |chosen| chosen.opens.count());
        let renamed = renamed(stack, &rings, current, chosen.as_ref()).await?;
        let mut json = json!({
            "undeleted": undeleted,
            "deletions_forgotten": renamed.map_or(0, |(_, count)| count),
            "put_back": [],
            "opened_before": before,
            "opens": most,
            "does_not_open": values.count() - most,
        });
        let opens = chosen.as_ref().map(|chosen| &chosen.opens).or(current.map(|current| &current.opens));
        if let Some(rest) = unopened(&rings, opens, values.count() - most, unread.count()) {
            output.warn(&rest);
        }
        let code = u8::from(most < values.count());
        let Some(chosen) = chosen else {
            let back = if undeleted { "The keyring is back. " } else { "" };
            let plain = if current.is_none() {
                format!(
                    "{back}The current version is not a keyring, and no version opens any of {} values, so every version stays where it is. Check that the table and the app belong to this stack.",
                    values.count()
                )
            } else {
                format!(
                    "{back}No version has a key that is missing: {before} of {} values open.",
                    values.count()
                )
            };
            output.result(&json, &plain)?;
            return Stopped::reported(code);
        };
        let keys = chosen.put_back.join(", ");
        let base = if chosen.is_current {
            String::new()
        } else {
            format!(
                " Its id, its format and its tombstone names become those of the version {}.",
                chosen.base
            )
        };
        output.note(&format!(
            "{before} of {} values open now, and {most} with {keys} put back.{base}",
            values.count()
        ));
        if let Some((since, count)) = renamed.filter(|(_, count)| *count > 0) {
            output.warn(&format!(
                "{count} deletions and ends since {since} are recorded under names that only the present keyring gives. They would be forgotten, so that a backup would bring these people back: repeat the deletions with `threads-auth accounts delete`, by the lists that Meta mails."
            ));
        }
        self.options.sure.ask(&format!("Put {keys} back into the keyring of {}?", stack.name)).await?;
        let version = versions.current().map(|version| version.id.as_str());
        make_current(stack, version, &chosen.text).await?;
        json["put_back"] = json!(chosen.put_back);
        output.result(
            &json,
            &format!(
                "{keys} put back: {most} of {} values open. Functions read it within five minutes.",
                values.count()
            ),
        )?;
        Stopped::reported(code)
    }
}

impl RestoreApp {
    async fn run(self, env: &Env) -> Result<()> {
        let rest =
            async |stack: &_, undeleted, interrupt: &mut _| self.put_back(stack, undeleted, interrupt).await;
        self.options.undeleting(env, |config| &config.app_secret_id, rest).await
    }

    async fn put_back(&self, stack: &StackHandle, undeleted: bool, interrupt: &mut Interrupt) -> Result<()> {
        let (output, id) = (self.options.target.output, &stack.service.config().app_secret_id);
        let client = stack.secrets_manager();
        let versions = interrupt.or(Box::pin(Versions::of(&client, id))).await?;
        if self.version.is_none() {
            versions.know_current()?;
        }
        let current = versions.current();
        if undeleted
            && self.version.is_none()
            && let Some(app) = current.and_then(credentials)
        {
            let json = json!({"undeleted": true, "version": null, "app_id": app.app_id});
            return output.result(&json, &format!("The secret of the app {} is back.", app.app_id));
        }
        let (wanted, app) = match &self.version {
            Some(wanted) => named(&versions, wanted)?,
            None => former(&versions, output)?,
        };
        interrupt.or(Box::pin(refuse_another_app(stack, &versions, &app))).await?;
        output.note("Checking with Meta whether the app id and the secret belong together …");
        let asked = stack.graph();
        let asked = async { Ok(asked.app_token(&app).await?) };
        let asked = interrupt.or(asked).await;
        asked.context(
            "Meta does not accept the app id with the secret of this version, and the current version stays",
        )?;
        let (made_at, app_id, name) = (wanted.made_at, &app.app_id, &stack.name);
        let question = format!("Make the version of {made_at} of the app {app_id} current in {name}?");
        self.options.sure.ask(&question).await?;
        let from = current.map(|version| version.id.as_str());
        if !secrets::make_current(&client, id, from, &wanted.id).await? {
            return later(
                "somebody else changed the app's secret at the same moment, and it is as they left it: look at `restore-secret show`, and try again",
            );
        }
        let json = json!({"undeleted": undeleted, "version": wanted.id, "app_id": app.app_id});
        output.result(
            &json,
            &format!(
                "The secret of the app {} is that of {} again. Functions read it within five minutes.",
                app.app_id, wanted.made_at
            ),
        )
    }
}

/// Accounts are bound to their app. An app is refused if another version's app opens more tokens,
/// with any keyring of the past.
async fn refuse_another_app(stack: &StackHandle, versions: &Versions, wanted: &AppCredentials) -> Result<()> {
    let apps = versions.all.iter().filter_map(credentials).map(|app| (app.app_id.clone(), app));
    let apps: BTreeMap<_, _> = apps.collect();
    let values = SealedValues::of(stack).await?;
    if values.count() == 0 && apps.len() < 2 {
        return Ok(());
    }
    let keyrings = Versions::of(&stack.secrets_manager(), &stack.service.config().keyring_secret_id).await?;
    let keyrings = keyrings.all.iter().filter_map(|version| keyring_of(version).ok());
    let keyrings: Vec<_> = keyrings.map(|(_, keyring)| Arc::new(keyring)).collect();
    let opens = |app: &AppCredentials| {
        let opened = keyrings.iter().map(|keyring| values.opened(app, keyring));
        opened.reduce(|one, other| one.and(&other)).map_or(0, |opens| opens.count())
    };
    let best = apps.values().map(|app| (opens(app), &app.app_id)).max();
    match best {
        Some((most, best)) if most > 0 => {
            if opens(wanted) < most {
                return usage(format!(
                    "{most} of {} tokens open for the app {best}, and fewer for {}: the current version stays",
                    values.count(),
                    wanted.app_id
                ));
            }
            Ok(())
        }
        _ if keyrings.is_empty() => usage(
            "without a keyring it is unknown which app the accounts belong to: `threads-auth restore-secret keyring` comes first, and brings it back if it was deleted",
        ),
        _ => usage(format!(
            "none of {} tokens opens for the app of any version, so it is unknown which app the accounts belong to: the current version stays. If you know it, `threads-auth configure --replace-app` writes the app's id and secret",
            values.count()
        )),
    }
}

/// The content that becomes the keyring.
struct Chosen {
    text: Zeroizing<String>,
    opens: Opens,
    /// The version that it is based on, and whether that is the current one.
    base: String,
    is_current: bool,
    /// The ids of its keys that the current keyring lacks.
    put_back: Vec<String>,
    /// The probe's tombstone name with it.
    names: String,
}

/// Returns the keyring that opens most, without removing a key that opens anything, if it opens
/// more than the current one. Of two that open as many, prefers the tombstone names of the version
/// that opens most.
fn choose(
    rings: &[Ring<'_>],
    current: Option<&Ring<'_>>,
    values: &SealedValues,
    app: &AppCredentials,
) -> Result<Option<Chosen>> {
    let used = values.key_ids();
    let mut best: Option<(usize, Chosen)> = None;
    for base in rings {
        let text = merged(base, current, rings, &used)?;
        let keyring = Arc::new(Keyring::from_json(&text).context("the keys do not make a keyring")?);
        let opens = values.opened(app, &keyring);
        let is_current = base.version.is_current();
        let keeps = current.is_none_or(|current| opens.has_all_of(&current.opens));
        let gains = opens.count() > current.map_or(0, |current| current.opens.count())
            || current.is_none() && values.count() == 0;
        // The counts of the versions with the same tombstone names.
        let alike = rings.iter().filter(|ring| ring.names == base.names).map(|ring| ring.opens.count());
        let rank = (opens.count(), alike.max().unwrap_or(0), is_current);
        let is_better =
            best.as_ref().is_none_or(|(alike, best)| rank > (best.opens.count(), *alike, best.is_current));
        if keeps && gains && is_better {
            let known: BTreeSet<_> = current.iter().flat_map(|ring| ring.keyring.key_ids()).collect();
            let new =
                keyring.key_ids().filter(|id| !known.contains(id)).map(str::to_owned).collect::<Vec<_>>();
            // Another key has the same id.
            let own = base.keyring.key_ids().filter(|id| used.contains(id)).map(str::to_owned);
            let put_back = if new.is_empty() { own.collect() } else { new };
            let (base, names) = (base.version.id.clone(), base.names.clone());
            best = Some((rank.1, Chosen { text, opens, base, is_current, put_back, names }));
        }
    }
    Ok(best.map(|(_, chosen)| chosen))
}

/// Returns the keyring `base` with every key of the current one and every other key in use, except
/// for ids that it already has.
fn merged(
    base: &Ring<'_>,
    current: Option<&Ring<'_>>,
    rings: &[Ring<'_>],
    used: &BTreeSet<&str>,
) -> Result<Zeroizing<String>> {
    let mut known: BTreeSet<&str> = base.keyring.key_ids().collect();
    let mut text = Zeroizing::new(base.text.to_owned());
    let mut others: Vec<_> = rings.iter().collect();
    others.sort_by_key(|ring| std::cmp::Reverse((ring.version.is_current(), ring.opens.count())));
    for ring in others {
        for id in ring.keyring.key_ids() {
            if (ring.version.is_current() || used.contains(id)) && known.insert(id) {
                text = change_keyring(&text, KeyringChange::Take(id, ring.text))?;
            }
        }
    }
    // The writing key stays, so that functions that have read the present keyring agree.
    if let Some(writing) = current.map(|current| current.keyring.writing()).filter(|id| known.contains(id)) {
        text = change_keyring(&text, KeyringChange::Write(writing))?;
    }
    Ok(text)
}

impl Options {
    /// Cancels the deletion of a secret if it is scheduled, and does the rest. If that fails, the
    /// error adds that the secret stays.
    async fn undeleting(
        &self,
        env: &Env,
        secret: fn(&Config) -> &String,
        rest: impl AsyncFnOnce(&StackHandle, bool, &mut Interrupt) -> Result<()>,
    ) -> Result<()> {
        let (mut interrupt, stack) = self.target.begin(env).await?;
        let id = secret(stack.service.config());
        let undeleted = undelete(&stack, id, &self.sure, self.target.output).await?;
        rest(&stack, undeleted, &mut interrupt).await.map_err(|error| {
            if !undeleted {
                return error;
            }
            let said = format!("the deletion of the secret {id} was cancelled, but the rest was not done");
            error.context(DoneBefore { said, field: "undeleted" })
        })
    }
}

/// Cancels the deletion of a secret. Returns true if it was scheduled for deletion.
async fn undelete(stack: &StackHandle, id: &str, sure: &Confirmation, output: Output) -> Result<bool> {
    let client = stack.secrets_manager();
    let is_deleted = async || {
        let told = client.describe_secret().secret_id(id).send().await;
        anyhow::Ok(told.map_err(|error| refused(&error, "find", id))?.deleted_date.is_some())
    };
    if !is_deleted().await? {
        return Ok(false);
    }
    sure.ask(&format!("The secret {id} is scheduled for deletion. Cancel that?")).await?;
    if let Err(error) = client.restore_secret().secret_id(id).send().await
        // A retry after a lost response is refused.
        && is_deleted().await?
    {
        return Err(refused(&error, "restore", id));
    }
    output.note(&format!("The deletion of the secret {id} was cancelled."));
    Ok(true)
}

/// Returns the number of tombstones and other ends that are stored under names that only the
/// present keyring gives, and since when, if the chosen keyring gives other names.
async fn renamed(
    stack: &StackHandle,
    rings: &[Ring<'_>],
    current: Option<&Ring<'_>>,
    chosen: Option<&Chosen>,
) -> Result<Option<(Timestamp, u64)>> {
    let (Some(current), Some(chosen)) = (current, chosen) else { return Ok(None) };
    if chosen.names == current.names {
        return Ok(None);
    }
    let alike = rings.iter().filter(|ring| ring.names == current.names);
    let since = alike.map(|ring| ring.version.made_at).min().unwrap_or(current.version.made_at);
    let store = stack.service.store();
    let mut items = pin!(store.items(store.grants_table(), false));
    let mut count = 0;
    while let Some(item) = items.try_next().await.context("the deletions could not be read")? {
        let row = row(&item);
        let ends = Ends::of(&row);
        let last = ends.deleted_at.max(ends.disconnected_at).max(ends.ended_at);
        let is_noted = row.key().is_some_and(|key| Key::is_tombstone(&key));
        count += u64::from(is_noted && last.is_some_and(|last| last >= since));
    }
    Ok(Some((since, count)))
}

/// Returns the reason why some values do not open, if any.
fn unopened(rings: &[Ring<'_>], opens: Option<&Opens>, left: usize, unread: usize) -> Option<String> {
    let other = rings.iter().find(|ring| opens.is_none_or(|opens| !opens.has_all_of(&ring.opens)));
    let why = match other {
        Some(ring) => format!(
            "some would with the version {}, which has another key of the same id as one in use",
            ring.version.id
        ),
        None => {
            "no version that was tried opens them, and `threads-auth keyring reseal` names them".to_owned()
        }
    };
    let next = if unread > 0 {
        "One that could not be read may: try again first."
    } else {
        "Their people have to connect again."
    };
    (left > 0).then(|| format!("{left} values do not open: {why}. {next}"))
}

fn keyring_of(version: &Version) -> Result<(&str, Keyring), String> {
    let text = version.text.as_ref().map_err(Clone::clone)?;
    Keyring::from_json(text)
        .map(|keyring| (text.as_str(), keyring))
        .map_err(|_| "is not a keyring".to_owned())
}

fn rings<'a>(versions: &'a Versions, values: &SealedValues, app: &AppCredentials) -> Vec<Ring<'a>> {
    let of = |version: &'a Version| {
        let (text, keyring) = keyring_of(version).ok()?;
        let keyring = Arc::new(keyring);
        let opens = values.opened(app, &keyring);
        let names = PROBE.parse().map(|probe| keyring.tombstone(&app.app_id, &probe)).unwrap_or_default();
        Some(Ring { version, text, keyring, opens, names })
    };
    versions.all.iter().filter_map(of).collect()
}

fn credentials(version: &Version) -> Option<AppCredentials> {
    let text = version.text.as_ref().ok()?;
    let secret: Map<String, Value> = serde_json::from_str(text).ok()?;
    stored(&secret)
}

/// Returns the version with this id.
fn named<'a>(versions: &'a Versions, wanted: &str) -> Result<(&'a Version, AppCredentials)> {
    let Some(version) = versions.all.iter().find(|version| version.id == wanted) else {
        return usage(
            "there is no such version of the app's secret: `threads-auth restore-secret show` lists them",
        );
    };
    if version.is_current() {
        return usage("this version is the current one already");
    }
    match (credentials(version), &version.text) {
        (Some(app), _) => Ok((version, app)),
        (None, Err(why)) => later(format!("the version {wanted} could not be read: {why}")),
        (None, Ok(_)) => usage(format!("the version {wanted} {NO_APP}")),
    }
}

/// Returns the version before the current one, by its label or else by its time. A malformed one is
/// skipped with a warning.
fn former(versions: &Versions, output: Output) -> Result<(&Version, AppCredentials)> {
    let mut others: Vec<_> = versions.all.iter().filter(|version| !version.is_current()).collect();
    // The others keep their order, the newest first.
    others.sort_by_key(|version| !version.labels.iter().any(|label| label == "AWSPREVIOUS"));
    for version in others {
        match (credentials(version), &version.text) {
            (Some(app), _) => return Ok((version, app)),
            (None, Err(why)) => {
                return later(format!(
                    "the version {} could not be read, and may be the one: name another with --version, or try again ({why})",
                    version.id
                ));
            }
            (None, Ok(_)) => output
                .warn(&format!("the version {} of {} {NO_APP}, and is skipped", version.id, version.made_at)),
        }
    }
    usage(
        "no version before the current one holds an app's id and secret: `threads-auth configure` writes those of Meta's dashboard",
    )
}

/// A version as JSON.
fn told(
    version: &Version,
    more: Value,
    opens: Option<usize>,
    values: &SealedValues,
    why: Option<String>,
) -> Value {
    let mut told = json!({
        "version": version.id,
        "made_at": version.made_at,
        "labels": version.labels,
        "opens": opens,
        "does_not_open": opens.map(|opens| values.count() - opens),
    });
    if let (Value::Object(told), Value::Object(more)) = (&mut told, more) {
        told.extend(more);
        told.extend(why.map(|why| ("why".to_owned(), json!(why))));
    }
    told
}

/// The versions of a secret as text.
fn plain(name: &str, json: &Value) -> String {
    let deleted = json[name]["deleted"] == true;
    let mut lines = vec![format!("{name}{}", if deleted { ", scheduled for deletion" } else { "" })];
    for version in json[name]["versions"].as_array().into_iter().flatten() {
        let text = |field: &str| version.get(field).and_then(Value::as_str).unwrap_or_default();
        let list = |field: &str| {
            let list = version.get(field).and_then(Value::as_array).into_iter().flatten();
            list.filter_map(Value::as_str).collect::<Vec<_>>().join(", ")
        };
        let is = if version["why"].is_string() {
            text("why").to_owned()
        } else {
            format!(
                "{}{} opens {}, not {}",
                text("app_id"),
                list("keys"),
                version["opens"],
                version["does_not_open"]
            )
        };
        lines.push(format!("  {}  {}  [{}]  {is}", text("version"), text("made_at"), list("labels")));
    }
    lines.join("\n")
}
