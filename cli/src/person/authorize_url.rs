//! `threads-auth authorize-url`: prints the URL at which a person agrees.

use anyhow::{Context, Result};
use clap::Args;
use serde_json::json;
use threads_graph::{State, authorization_url};

use crate::person::consent::{SCOPES, check, scopes};
use crate::shell::env::{Env, HOSTS};
use crate::shell::exit::usage;
use crate::shell::inputs::Inputs;
use crate::shell::interrupt::Interrupt;
use crate::shell::output::Output;

/// Print the address at which a person agrees. Makes no request.
#[derive(Args)]
#[command(after_help = format!("Examples:
  threads-auth authorize-url --app-id 123 --redirect-uri https://example.com/callback --scope basic,publish
  threads-auth authorize-url --json                         with the values of .env; prints the state beside the address

The state is random. Meta returns it in the address that it sends the browser to: compare it there. \
`threads-auth login` does all of this, and the rest.

{SCOPES}

{HOSTS}"))]
pub(crate) struct AuthorizeUrl {
    /// The Threads app id; `THREADS_APP_ID`
    #[arg(long, alias = "app_id", value_name = "ID")]
    app_id: Option<String>,

    /// The redirect URI; `THREADS_REDIRECT_URI`
    #[arg(long, alias = "redirect_uri", value_name = "URL")]
    redirect_uri: Option<String>,

    /// Scopes to request, separated by commas or spaces; may be repeated; `THREADS_SCOPES`, or
    /// basic
    #[arg(long, value_name = "SCOPES")]
    scope: Vec<String>,

    /// Your own state, instead of a random one
    #[arg(long, value_name = "TEXT")]
    state: Option<String>,

    /// Print {"url", "state"}
    #[arg(long)]
    json: bool,
}

impl AuthorizeUrl {
    pub(crate) async fn run(self, env: &Env) -> Result<()> {
        let output = Output::new(self.json);
        let mut interrupt = Interrupt::listen()?;
        let inputs = Inputs::new(env, output);
        let endpoints = env.endpoints()?;
        let scopes = scopes(&self.scope, env, output)?;
        let app_id = inputs.app_id(self.app_id.as_deref(), &mut interrupt).await?;
        let redirect_uri = inputs.redirect_uri(self.redirect_uri.as_deref(), &mut interrupt).await?;
        check(&redirect_uri, output)?;
        let state: State = match self.state {
            Some(state) => match state.try_into() {
                Ok(state) => state,
                Err(_) => return usage("--state must be 1 to 512 visible ASCII characters"),
            },
            None => State::random().context("no random state can be created")?,
        };
        let url = authorization_url(&endpoints, &app_id, &redirect_uri, &scopes, &state);
        output
            .result(&json!({"url": url.as_str(), "state": state.as_str()}), url.as_str())
            .context("standard output is closed")
    }
}
