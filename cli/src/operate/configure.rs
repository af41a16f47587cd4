//! `threads-auth configure`: the two secrets of a stack, written once it is deployed.
//!
//! Owns that the app's id and secret are tried at Meta before they are kept, and that a keyring is made where there is none. Refuses to
//! replace a keyring, which would lose every token, and to change the app of a stack unasked.

use anyhow::{Context, Result};
use clap::Args;
use serde_json::json;
use threads_graph::AppId;
use zeroize::Zeroizing;

use crate::operate::secrets::{put, value};
use crate::operate::stored_keyring;
use crate::operate::target::{TARGETS, Target};
use crate::shell::exit::usage;
use crate::shell::inputs::{Inputs, SECRETS};
use crate::shell::interrupt::Interrupt;
use crate::shell::output::table;
use crate::shell::surroundings::Surroundings;

/// Write the app's id and secret to a stack, after Meta has confirmed them, and make its keyring if it has none.
#[derive(Args)]
#[command(after_help = format!("Examples:
  threads-auth configure --stack threads-auth --region eu-central-1
                                      asks for the app's id and secret
  pass show threads/secret | threads-auth configure --app-id 9876543210987654 --app-secret -
                                      for scripts; again with a new secret when Meta has given one

It is the last step of a deployment, and prints the three addresses that Meta's dashboard wants. Functions take a changed secret up
within five minutes. The keyring is never replaced.

{SECRETS}

{TARGETS}"))]
pub(crate) struct Configure {
    /// The Threads app id of Meta's dashboard; `THREADS_APP_ID`
    #[arg(long, value_name = "ID")]
    app_id: Option<String>,

    /// Its secret; `THREADS_APP_SECRET`
    #[arg(long, value_name = "SECRET")]
    app_secret: Option<String>,

    /// Change to another app: the accounts of the one before it are lost
    #[arg(long)]
    replace_app: bool,

    #[command(flatten)]
    target: Target,
}

impl Configure {
    pub(crate) async fn run(self, surroundings: &Surroundings) -> Result<()> {
        let output = self.target.output;
        let mut interrupt = Interrupt::listen()?;
        let stack = interrupt.or(self.target.open(surroundings)).await?;
        let inputs = Inputs::new(surroundings, output);
        let app = inputs.app(self.app_id.as_deref(), self.app_secret.as_deref(), &mut interrupt).await?;
        let client = stack.secrets_manager();
        let config = stack.service.config();
        let before = value(&client, &config.app_secret_id).await?.map(|value| value.text);
        // What a later version keeps there beside the two stays.
        let mut secret: serde_json::Map<String, serde_json::Value> =
            before.as_ref().and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
        if let Some(before) = secret.get("app_id").and_then(|id| id.as_str())
            && let Ok(before) = before.parse::<AppId>()
            && before != app.app_id
            && !self.replace_app
        {
            return usage(format!(
                "{} works for the app {before}, and its accounts are bound to that: --replace-app gives them up for {}",
                stack.name, app.app_id
            ));
        }
        output.note("Asking Meta whether the app id and the secret belong together …");
        let graph = stack.graph();
        interrupt
            .or(async {
                graph
                    .app_token(&app)
                    .await
                    .context("Meta does not take the app id with this secret, and nothing was written")
            })
            .await?;
        secret.insert("app_id".to_owned(), json!(app.app_id));
        secret.insert("app_secret".to_owned(), app.app_secret.expose().into());
        let text = Zeroizing::new(serde_json::Value::from(secret).to_string());
        let changed = before.is_none_or(|before| before != text);
        if changed {
            put(&client, &config.app_secret_id, &text, None).await?;
        }
        let made = stored_keyring::make(&stack, &client).await?;
        let (uninstall, delete) = (stack.address("deauthorize"), stack.address("data-deletion"));
        let callback = config.redirect_uri().context("the address of the service is none")?.to_string();
        let json = json!({
            "app_id": app.app_id,
            "app_secret_written": changed,
            "keyring_made": made,
            "redirect_callback_url": callback,
            "uninstall_callback_url": uninstall,
            "delete_callback_url": delete,
        });
        let plain = format!(
            "The app's id and secret belong together, and {}. The keyring {}.\n\nIn Meta's dashboard, under the use case \"Access the Threads API\" > Settings, all three before you save:\n{}\n\n`threads-auth doctor` checks the rest.",
            if changed { "are written" } else { "were there already" },
            if made { "was made" } else { "was there already, and stays" },
            table(&[
                ("Redirect Callback URLs", callback),
                ("Uninstall Callback URL", uninstall),
                ("Delete Callback URL", delete),
            ])
        );
        output.result(&json, &plain)
    }
}
