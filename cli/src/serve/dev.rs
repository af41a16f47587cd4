//! `threads-auth dev`: runs the whole product on this machine.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use clap::{Args, ValueEnum, ValueHint};
use devstack::{Inspection, LiveApp, Stack, StackOptions, Threads, Urls};
use threads_auth::{ReturnToAllowlist, Setting, WebhookConfig};
use threads_graph::{AppCredentials, AppId, AppSecret};
use url::Url;

use crate::serve::inspection::inspections;
use crate::shell::env::Env;
use crate::shell::inputs::{APP_ID, APP_SECRET, Inputs, interval};
use crate::shell::interrupt::Interrupt;
use crate::shell::output::Output;
use crate::shell::server::{announce, wind_down};

/// Run everything on this machine: the functions behind a local gateway, an embedded DynamoDB and
/// Secrets Manager, and a sandbox in the place of Meta.
#[derive(Args)]
#[command(after_help = "Examples:
  threads-auth dev                          everything on http://127.0.0.1:3000, kept in .threads-auth
  threads-auth dev --ephemeral --port 0     nothing is kept, on a free port
  threads-auth dev --ephemeral --json       for scripts: one line of JSON with every address
  threads-auth dev --json-events events.jsonl
                                            with every event in a file
  threads-auth dev --webhook http://127.0.0.1:8000/threads
                            with every event posted to your app, signed
  threads-auth dev --threads live --public-url https://my-tunnel.example.com
                                            with your own app at Meta, through a tunnel that ends here
  threads-auth dev --return-to https://app.example.test/threads
                                            people may also be sent back there

Without --json it prints lines to paste into a shell, in which your app's backend then signs its calls.

Environment:
  ACCENT_COLOR, APP_NAME, AUTHORIZE_ACCESS, CHECK_EVERY_DAYS, GRAPH_CALLS_PER_HOUR, HOME_URL, PRIVACY_URL, REDIRECT_TRAILING_SLASH, \
REQUEST_SECONDS, RETURN_TO_ALLOWLIST, SECRETS_TTL_SECONDS, SUPPORT_URL, SWEEP_CONCURRENCY, THREADS_SCOPES, UNCLAIMED_HOURS, LOG_LEVEL
      the service's settings, as in a deployment. RETURN_TO_ALLOWLIST replaces the default list: every port of this machine with the \
sandbox, nothing with --threads live")]
pub(crate) struct Dev {
    /// The port of the service on 127.0.0.1; 0 picks a free one
    #[arg(long, default_value_t = 3000, value_name = "N")]
    port: u16,

    /// Folder for all data
    #[arg(long, default_value = ".threads-auth", value_name = "DIR", conflicts_with = "ephemeral", value_hint = ValueHint::DirPath)]
    data_dir: PathBuf,

    /// Keep everything in memory only
    #[arg(long)]
    ephemeral: bool,

    /// The Threads API to use: the sandbox, or Meta with your own app
    #[arg(long, value_enum, default_value_t = Which::Sandbox)]
    threads: Which,

    /// Accounts whose tokens may inspect others at the sandbox; Meta documents
    /// `testers`, and people report `app`
    #[arg(long, value_name = "WHOSE", value_parser = inspections())]
    inspection: Option<Inspection>,

    /// The https address that is forwarded to this machine; Meta redirects people there
    #[arg(long, value_name = "URL")]
    public_url: Option<Url>,

    /// Another address that people may be returned to: an origin, optionally with a path, such as
    /// `http://localhost:5173/`; may be repeated
    #[arg(long, value_name = "URL", value_parser = entry)]
    return_to: Vec<String>,

    /// The redirect URL at Meta ends with a slash: the dashboard is known to have added one
    #[arg(long)]
    trailing_slash: bool,

    /// Interval of the sweeps, such as 15m or 1h
    #[arg(long, default_value = "15m", value_name = "TIME", value_parser = interval)]
    sweep_every: Duration,

    /// Append each event to this file, as one line of JSON
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    json_events: Option<PathBuf>,

    /// Post each event to this URL, signed as Standard Webhooks has it, and again until it is
    /// taken: https, or http on this machine. `threads-auth webhook secret --local` prints the
    /// secret
    #[arg(long, value_name = "URL", value_hint = ValueHint::Url, value_parser = receiver)]
    webhook: Option<Url>,

    /// Print one JSON object with every address when ready; logs go to standard error either way
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Which {
    /// The sandbox, on this machine
    Sandbox,
    /// Meta: reads `THREADS_APP_ID` and `THREADS_APP_SECRET` from the environment or `.env`
    Live,
}

/// The delay before a change is announced. On AWS it is at most a second.
const ANNOUNCE_EVERY: Duration = Duration::from_millis(200);

/// The settings of Meta's dashboard that a live login needs.
const LIVE_NEEDS: &str = "\
In Meta's dashboard, under your app's use case \"Access the Threads API\" > Settings:
  Redirect Callback URLs   {callback}       (exactly this, and https: Meta refuses http)
  Uninstall Callback URL   {origin}/deauthorize    (the dashboard saves nothing until all three are filled)
  Delete Callback URL      {origin}/data-deletion
If it has added a slash to the first, start with --trailing-slash.
  Threads Testers          invite your account, and accept it in Threads > Settings > Account > Website permissions
THREADS_APP_ID and THREADS_APP_SECRET are \"Threads App ID\" and \"Threads App secret\" of App settings > Basic,
not the plain \"App ID\" there.";

/// Parses one entry of the allowlist, for clap.
fn entry(text: &str) -> Result<String> {
    let list: ReturnToAllowlist = text.parse()?;
    ensure!(list.count() == 1, "expected one URL; give --return-to once for each");
    Ok(text.to_owned())
}

/// Parses the URL of a receiver of webhooks, for clap.
fn receiver(text: &str) -> Result<Url> {
    WebhookConfig::url(text).map_err(anyhow::Error::msg)
}

/// Quotes any text as one word of a shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

impl Dev {
    pub(crate) async fn run(mut self, env: &Env) -> Result<()> {
        const SLASH: Setting = Setting::RedirectTrailingSlash;
        let mut settings = env.settings()?;
        if self.trailing_slash {
            settings.insert(SLASH.to_string(), true.to_string());
        }
        self.trailing_slash = settings.get(SLASH.as_str()).is_some_and(|text| text.trim() == "true");
        // Signals are listened for before there is anything to end, so that none is missed.
        let mut interrupt = Interrupt::listen()?;
        let threads = match self.threads {
            Which::Sandbox => Threads::Sandbox,
            Which::Live => Threads::Live(self.live_app(env)?),
        };
        let stack = Stack::start(StackOptions {
            port: self.port,
            data_dir: (!self.ephemeral).then(|| self.data_dir.clone()),
            threads,
            inspection: self.inspection,
            public_url: self.public_url.clone(),
            sweep_every: Some(self.sweep_every),
            announce_every: Some(ANNOUNCE_EVERY),
            events_file: self.json_events.clone(),
            webhook: self.webhook.clone(),
            variables: settings,
            return_to: self.return_to.clone(),
            ..StackOptions::default()
        })
        .await?;
        self.announce(&stack)?;
        interrupt.next().await;
        wind_down(stack.stop()).await;
        Ok(())
    }

    fn announce(&self, stack: &Stack) -> Result<()> {
        let urls = stack.urls();
        let text = if self.json {
            serde_json::to_string(urls)?
        } else {
            let Urls { service_url, threads_url, dynamodb_url, secrets_manager_url, eventbridge_url, .. } =
                urls;
            let Urls { region, access_key_id, .. } = urls;
            let key_file = quoted(&stack.key_file().display().to_string());
            let public =
                self.public_url.as_ref().map_or(service_url.as_str(), Url::as_str).trim_end_matches('/');
            let kept = if self.ephemeral {
                "in memory only".to_owned()
            } else {
                format!("in {}", self.data_dir.display())
            };
            let threads = match self.threads {
                Which::Sandbox => format!("the sandbox, {threads_url}"),
                Which::Live => format!("Meta, live\n\n{}", self.live_needs(public)),
            };
            let webhook = self.webhook.as_ref().map_or_else(String::new, |_| {
                format!(
                    "Webhook          as you gave it, signed with what this prints:\n                   \
                         threads-auth webhook secret --local={service_url}\n  "
                )
            });
            format!(
                "Threads Auth is ready.\n\n  \
                 Open             {service_url}/\n  \
                 Connect          {public}/authorize\n  \
                 DynamoDB         {dynamodb_url}\n  \
                 Secrets Manager  {secrets_manager_url}\n  \
                 EventBridge      {eventbridge_url}\n  \
                 {webhook}\
                 Kept             {kept}\n  \
                 Threads          {threads}\n\n\
                 For your app's backend, and AWS's own tools, in another shell:\n\n  \
                 unset AWS_PROFILE AWS_SESSION_TOKEN\n  \
                 export THREADS_AUTH_URL={service_url}\n  \
                 export AWS_REGION={region} AWS_DEFAULT_REGION={region}\n  \
                 export AWS_ACCESS_KEY_ID={access_key_id}\n  \
                 export AWS_SECRET_ACCESS_KEY=\"$(cat {key_file})\"\n\n\
                 Ctrl-C stops it."
            )
        };
        announce(&text)
    }

    fn live_needs(&self, origin: &str) -> String {
        let slash = if self.trailing_slash { "/" } else { "" };
        LIVE_NEEDS.replace("{callback}", &format!("{origin}/callback{slash}")).replace("{origin}", origin)
    }

    fn live_app(&self, env: &Env) -> Result<LiveApp> {
        let public_url = self.public_url.as_ref();
        let origin = public_url.map_or("https://YOUR-PUBLIC-URL", Url::as_str).trim_end_matches('/');
        let needs = self.live_needs(origin);
        if public_url.is_none_or(|url| url.scheme() != "https") {
            bail!(
                "--threads live needs --public-url with the https address of a tunnel that ends here: Meta sends nobody back to plain http.\n\n{needs}"
            );
        }
        let inputs = Inputs::new(env, Output::new(false));
        let (Some(id), Some(secret)) = (inputs.configured(&APP_ID)?, inputs.configured(&APP_SECRET)?) else {
            bail!(
                "--threads live needs THREADS_APP_ID and THREADS_APP_SECRET in the environment or in .env.\n\n{needs}"
            );
        };
        let app_id: AppId = id.parse().context("THREADS_APP_ID is not an app id: expected digits only")?;
        let app_secret = AppSecret::new(secret).context("THREADS_APP_SECRET is not an app secret")?;
        Ok(LiveApp { credentials: AppCredentials { app_id, app_secret } })
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        dev: Dev,
    }

    #[test]
    fn each_setting_is_in_the_help_and_in_the_documentation() {
        let help = Command::command().render_long_help().to_string();
        let page = include_str!("../../../docs/DEVELOPMENT.md");
        for name in Setting::ALL.map(Setting::as_str).into_iter().chain(["LOG_LEVEL"]) {
            assert!(help.contains(name), "{name} in the help");
            assert!(page.contains(&format!("`{name}`")), "{name} in the page");
        }
    }
}
