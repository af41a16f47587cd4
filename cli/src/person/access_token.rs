//! `threads-auth access_token`: exchanges a code for a short-lived and a long-lived token.

use anyhow::Result;
use clap::Args;
use threads_graph::{AccessToken, AuthorizationCode, CallbackParams, PastedCallback, parse_pasted};

use crate::person::consent::ended_by_meta;
use crate::person::env_slot::Keep;
use crate::person::legacy::{Answer, UnusedByAccessToken, warn_unused};
use crate::person::tokens;
use crate::shell::env::{Env, HOSTS};
use crate::shell::exit::{Stopped, usage};
use crate::shell::inputs::{AUTH_CODE, SECRETS, SHORT_LIVED_TOKEN};
use crate::shell::interrupt::Interrupt;

/// Exchange an authorization code for a short-lived and a long-lived token.
#[derive(Args)]
#[command(name = "access_token", visible_alias = "access-token", after_help = format!("Examples:
  threads-auth access_token --app_id=123 --auth_code='AQD…#_' --redirect_uri=https://example.com/callback
                            prompts for the app secret, and prints the tokens
  threads-auth access_token -r https://example.com/callback -p .env -v long_lived_token
                            THREADS_APP_ID and THREADS_APP_SECRET are in .env; prompts for the code
  pass show threads | threads-auth access_token -id 123 -secret - -code AQD… -r https://example.com/callback --json
                            reads the secret from a password manager, and prints JSON

{SECRETS}

ThreadsPipe's short names work too: -id, -secret, -code, -r, -p, -v, -s.

{HOSTS}"))]
pub(crate) struct AccessTokenCommand {
    /// The Threads app id; `THREADS_APP_ID` [-id]
    #[arg(long, visible_alias = "app_id", value_name = "ID")]
    app_id: Option<String>,

    /// The Threads app secret; `THREADS_APP_SECRET` [-secret]
    #[arg(long, visible_alias = "app_secret", value_name = "SECRET")]
    app_secret: Option<String>,

    /// The code, or the whole address that the browser returned to: a trailing #_ or #_=_ is
    /// removed [-code]
    #[arg(long, visible_alias = "auth_code", value_name = "CODE")]
    auth_code: Option<String>,

    /// The redirect URI of the authorization, letter for letter; `THREADS_REDIRECT_URI`
    #[arg(long, short = 'r', visible_alias = "redirect_uri", value_name = "URL")]
    redirect_uri: Option<String>,

    /// Complete a login whose second step failed, with the short-lived token that it left
    #[arg(long, value_name = "TOKEN", conflicts_with_all = ["auth_code", "redirect_uri"])]
    short_lived_token: Option<String>,

    #[command(flatten)]
    keep: Keep,

    #[command(flatten)]
    answer: Answer,

    #[command(flatten)]
    unused: UnusedByAccessToken,
}

impl AccessTokenCommand {
    pub(crate) async fn run(self, env: &Env) -> Result<()> {
        let output = self.answer.output();
        warn_unused(output, "access_token", &self.unused.given());
        let mut interrupt = Interrupt::listen()?;
        let graph = env.graph()?;
        let inputs = self.keep.inputs(env, output)?;
        if let Some(given) = self.short_lived_token.as_deref() {
            let secret = inputs.app_secret(self.app_secret.as_deref(), &mut interrupt).await?;
            let token = inputs.get(&SHORT_LIVED_TOKEN, Some(given), &mut interrupt).await?;
            let token = AccessToken::new(token.trim()).map_err(|error| Stopped::Usage(error.to_string()))?;
            let slot = self.keep.reserve(output, &mut interrupt).await?;
            return interrupt
                .after(async {
                    // The user id is useful, but its absence is no reason to fail.
                    let user_id = graph.me(&token).await.ok().map(|profile| profile.id);
                    tokens::complete(&graph, &secret, token, user_id, slot, output).await
                })
                .await;
        }
        let app = inputs.app(self.app_id.as_deref(), self.app_secret.as_deref(), &mut interrupt).await?;
        let redirect_uri = inputs.redirect_uri(self.redirect_uri.as_deref(), &mut interrupt).await?;
        let pasted = inputs.get(&AUTH_CODE, self.auth_code.as_deref(), &mut interrupt).await?;
        let code = code(&pasted)?;
        let slot = self.keep.reserve(output, &mut interrupt).await?;
        interrupt.after(tokens::exchange(&graph, &app, &code, &redirect_uri, slot, output)).await
    }
}

/// Extracts the code from the argument. There is no state to compare, because this command did not
/// send the person.
fn code(pasted: &str) -> Result<AuthorizationCode> {
    match parse_pasted(pasted) {
        Ok(PastedCallback::Code(code) | PastedCallback::Callback(CallbackParams::Granted { code, .. })) => {
            Ok(code)
        }
        Ok(PastedCallback::Callback(CallbackParams::Denied { .. })) => Err(Stopped::Unauthorized(
            "the address shows that the person did not agree: ask them again, with `threads-auth login`"
                .to_owned(),
        )
        .into()),
        Ok(PastedCallback::Callback(CallbackParams::Failed { code, .. })) => Err(ended_by_meta(code)),
        Err(error) => usage(format!("the code cannot be used: {error}")),
    }
}
