//! `threads-auth configure`: writes the two secrets of a stack after its deployment.
//!
//! Verifies the app's id and secret at Meta before it stores them, checks that the inspector is an
//! account of the stack, and creates a keyring if there is none. Refuses to replace a keyring,
//! which would lose every token, and to change the app of a stack without `--replace-app`.

use std::str::FromStr;

use anyhow::{Context, Result};
use clap::Args;
use jiff::Timestamp;
use serde_json::{Map, Value, json};
use threads_auth::Status;
use threads_graph::{AppCredentials, AppId, UserId};
use zeroize::Zeroizing;

use crate::operate::secrets::{put, stored, value};
use crate::operate::stored_keyring;
use crate::operate::target::{StackArgs, StackHandle, TARGETS};
use crate::shell::env::Env;
use crate::shell::exit::usage;
use crate::shell::inputs::{APP_ID, APP_SECRET, Inputs, SECRETS};
use crate::shell::interrupt::Interrupt;
use crate::shell::output::table;

/// The inspector's field in the app's secret.
const INSPECTOR: &str = "inspector";

/// The field of the previous app secret.
const PREVIOUS: &str = "previous";

/// The time for which the previous app secret is accepted, in seconds: as long as Meta's requests
/// are.
const OVERLAP_SECONDS: i64 = 24 * 3_600;

/// Write the app's id and secret to a stack, after Meta has confirmed them, and create its keyring
/// if it has none.
#[derive(Args)]
#[command(after_help = format!("Examples:
  threads-auth configure --stack threads-auth --region eu-central-1
                                      prompts for the app's id and secret
  pass show threads/secret | threads-auth configure --app-id 9876543210987654 --app-secret -
                                      for scripts; run it again when Meta has issued a new secret
  threads-auth configure --compromised
                                      after a leak: rejects everything that was signed with the previous secret
  threads-auth configure --inspector 17841405793187218
                                      names the account whose token inspects the others

This is the last step of a deployment. It prints the three addresses that Meta's dashboard needs. Functions read a changed secret within \
five minutes, and at once for a request that Meta has signed with it. For a day they still accept requests that were signed with the \
previous secret, because some may be on their way; with --compromised they do not. The keyring is never replaced.

Meta documents that only a Threads tester of the app may inspect tokens, which shows when access to a person's data ends and which scopes \
were granted. Connect the account of a tester, and name it with --inspector; the stored id and secret are used then.

{SECRETS}

{TARGETS}"))]
pub(crate) struct Configure {
    /// The Threads app id from Meta's dashboard; `THREADS_APP_ID`
    #[arg(long, value_name = "ID")]
    app_id: Option<String>,

    /// The Threads app secret; `THREADS_APP_SECRET`
    #[arg(long, value_name = "SECRET")]
    app_secret: Option<String>,

    /// A connected account of a Threads tester, with whose token the other tokens are inspected at
    /// Meta; `none` for nobody
    #[arg(long, value_name = "USER_ID", conflicts_with = "replace_app")]
    inspector: Option<Inspector>,

    /// The app secret has leaked: reject everything that was signed with the previous one
    #[arg(long)]
    compromised: bool,

    /// Change to another app: the accounts of the previous one are lost
    #[arg(long)]
    replace_app: bool,

    #[command(flatten)]
    target: StackArgs,
}

/// The new inspector.
#[derive(Clone)]
enum Inspector {
    Nobody,
    Account(UserId),
}

impl FromStr for Inspector {
    type Err = threads_graph::InvalidId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "none" { Ok(Self::Nobody) } else { text.parse().map(Self::Account) }
    }
}

impl Configure {
    pub(crate) async fn run(self, env: &Env) -> Result<()> {
        let output = self.target.output;
        let (mut interrupt, stack) = self.target.begin(env).await?;
        let client = stack.secrets_manager();
        let config = stack.service.config();
        let before = value(&client, &config.app_secret_id).await?.map(|value| value.text);
        // Fields that a later version has added are kept.
        let mut secret: Map<String, Value> =
            before.as_ref().and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
        if let Some(Inspector::Account(user_id)) = &self.inspector {
            interrupt.or(is_connected(&stack, user_id)).await?;
        }
        let app = self.app(&secret, env, &mut interrupt).await?;
        if let Some(before) = secret.get("app_id").and_then(|id| id.as_str())
            && let Ok(before) = before.parse::<AppId>()
            && before != app.app_id
        {
            if !self.replace_app {
                return usage(format!(
                    "{} works for the app {before}, and its accounts are bound to that: --replace-app gives them up for {}",
                    stack.name, app.app_id
                ));
            }
            // The inspector was an account of the other app.
            secret.remove(INSPECTOR);
            // The secret signs for the other app.
            secret.remove("app_secret");
            secret.remove(PREVIOUS);
        }
        output.note("Checking with Meta whether the app id and the secret belong together …");
        let graph = stack.graph();
        interrupt
            .or(async {
                graph
                    .app_token(&app)
                    .await
                    .context("Meta does not accept the app id with this secret, and nothing was written")
            })
            .await?;
        let accepted_until = self.keep_previous(&mut secret, &app, stack.now());
        secret.insert("app_id".to_owned(), json!(app.app_id));
        secret.insert("app_secret".to_owned(), app.app_secret.expose().into());
        match &self.inspector {
            Some(Inspector::Account(user_id)) => _ = secret.insert(INSPECTOR.to_owned(), json!(user_id)),
            Some(Inspector::Nobody) => _ = secret.remove(INSPECTOR),
            None => {}
        }
        let inspector = secret.get(INSPECTOR).and_then(Value::as_str).map(str::to_owned);
        let text = Zeroizing::new(Value::from(secret).to_string());
        let changed = before.is_none_or(|before| before != text);
        if changed {
            put(&client, &config.app_secret_id, &text, None).await?;
        }
        let made = stored_keyring::make(&stack, &client).await?;
        let (uninstall, delete) = (stack.address("deauthorize"), stack.address("data-deletion"));
        let callback =
            config.redirect_uri().context("the service's address is not a redirect URI")?.to_string();
        let json = json!({
            "app_id": app.app_id,
            "app_secret_written": changed,
            "previous_accepted_until": accepted_until,
            "keyring_made": made,
            "inspector": inspector,
            "redirect_callback_url": callback,
            "uninstall_callback_url": uninstall,
            "delete_callback_url": delete,
        });
        let inspector = inspector.map_or_else(
            || "There is no inspector".to_owned(),
            |user_id| format!("The inspector is {user_id}"),
        );
        let previous = accepted_until.map_or_else(String::new, |until| {
            format!(" Requests that were signed with the previous secret are accepted until {until}.")
        });
        let plain = format!(
            "The app's id and secret belong together, and {}.{previous} The keyring {}. {inspector}.\n\nIn Meta's dashboard, under the use case \"Access the Threads API\" > Settings, all three before you save:\n{}\n\n`threads-auth doctor` checks the rest.",
            if changed { "were written" } else { "were stored already" },
            if made { "was created" } else { "existed already, and stays" },
            table(&[
                ("Redirect Callback URLs", callback),
                ("Uninstall Callback URL", uninstall),
                ("Delete Callback URL", delete),
            ])
        );
        output.result(&json, &plain)
    }

    /// Keeps the previous secret in the secret's text for a while, and returns when that ends.
    fn keep_previous(
        &self,
        secret: &mut Map<String, Value>,
        app: &AppCredentials,
        now: Timestamp,
    ) -> Option<Timestamp> {
        let replaced = stored(secret).filter(|before| before.app_secret.expose() != app.app_secret.expose());
        if self.compromised {
            secret.remove(PREVIOUS);
            return None;
        }
        if let Some(before) = replaced {
            let until = Timestamp::from_second(now.as_second() + OVERLAP_SECONDS).unwrap_or(now);
            let previous = json!({"app_secret": before.app_secret.expose(), "until": until});
            secret.insert(PREVIOUS.to_owned(), previous);
            return Some(until);
        }
        let until = secret.get(PREVIOUS)?.get("until")?.as_str()?.parse().ok();
        let until = until.filter(|until| now < *until);
        if until.is_none() {
            secret.remove(PREVIOUS);
        }
        until
    }

    /// Reads the app's id and secret. With `--inspector` the stored ones are the default.
    async fn app(
        &self,
        secret: &Map<String, Value>,
        env: &Env,
        interrupt: &mut Interrupt,
    ) -> Result<AppCredentials> {
        let inputs = Inputs::new(env, self.target.output);
        let (app_id, app_secret) = (self.app_id.as_deref(), self.app_secret.as_deref());
        let is_given = app_id.is_some()
            || app_secret.is_some()
            || inputs.configured(&APP_ID)?.is_some()
            || inputs.configured(&APP_SECRET)?.is_some();
        match stored(secret) {
            Some(app) if self.inspector.is_some() && !is_given => Ok(app),
            _ => inputs.app(app_id, app_secret, interrupt).await,
        }
    }
}

/// The inspector's token is refreshed like any other, so the inspector has to be a connected
/// account.
async fn is_connected(stack: &StackHandle, user_id: &UserId) -> Result<()> {
    let grant = stack.service.find_grant(user_id).await?;
    if grant.is_some_and(|grant| grant.status() == Status::Active) {
        return Ok(());
    }
    usage(format!(
        "{user_id} is not a connected account of {}, and nothing was written: connect it first, like any other account. It has to be a Threads tester of the app",
        stack.name
    ))
}
