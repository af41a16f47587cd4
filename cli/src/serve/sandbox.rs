//! `threads-auth sandbox`: runs the sandbox alone.

use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, ValueHint};
use serde_json::json;
use threads_sandbox::{Clock, ExchangeAnswer, Inspection, NewAccount, Sandbox, SandboxOptions};
use url::Url;

use crate::serve::inspection::inspections;
use crate::shell::interrupt::Interrupt;
use crate::shell::output::table;
use crate::shell::server::{announce, listen, wind_down};

/// The default app of the sandbox. The secret opens nothing.
const APP_ID: &str = "9876543210987654";
const APP_SECRET: &str = "sandbox-app-secret";

/// Run the sandbox alone, in the place of Meta: Threads' OAuth pages and token calls, with a clock
/// that can be moved and faults that can be scripted, for apps in any language.
#[derive(Args)]
#[command(after_help = "Examples:
  threads-auth sandbox                               on http://127.0.0.1:3100, keeps nothing
  threads-auth sandbox --state-file sandbox.json     accounts and tokens survive a restart
  threads-auth sandbox --port 0 --json               for scripts: one line of JSON with every address
  threads-auth sandbox --redirect-uri https://example.com/callback
                                                     refuses every other redirect URI, as Meta does

Every call, every error and every control is described at /control of the sandbox, such as
  curl -d '{\"advance_seconds\":86400}' -H 'content-type: application/json' http://127.0.0.1:3100/control/clock
It answers this machine only, and contacts nobody.")]
pub(crate) struct SandboxCommand {
    /// The port on 127.0.0.1; 0 picks a free one
    #[arg(long, default_value_t = 3100, value_name = "N")]
    port: u16,

    /// File in which accounts, tokens (as hashes) and the clock survive a restart
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    state_file: Option<PathBuf>,

    /// The app id that clients must send
    #[arg(long, default_value = APP_ID, value_name = "ID")]
    app_id: String,

    /// The app secret that clients must send. It protects nothing: do not use a real one
    #[arg(long, default_value = APP_SECRET, value_name = "SECRET")]
    app_secret: String,

    /// A redirect URI of the "dashboard"; may be repeated. Without one, any https address is
    /// accepted, and http on this machine
    #[arg(long, value_name = "URL")]
    redirect_uri: Vec<String>,

    /// An account to begin with; may be repeated
    #[arg(long, default_values = ["ada", "grace"], value_name = "NAME")]
    account: Vec<String>,

    /// A Threads tester of the app, whose token may inspect others; may be repeated
    #[arg(long, value_name = "NAME")]
    tester: Vec<String>,

    /// Accounts whose tokens may inspect others; as in the state file, or else `testers_and_app`
    #[arg(long, value_name = "WHOSE", value_parser = inspections())]
    inspection: Option<Inspection>,

    /// The response to the exchange of a code; as in the state file, or else `documented`.
    /// `with_token_type` adds a field that Meta omits, for libraries that require it
    #[arg(long, value_name = "ANSWER", value_parser = exchanges())]
    exchange: Option<ExchangeAnswer>,

    /// A public address that is forwarded to this machine: OAuth and Graph respond under its name
    /// too, the control endpoint does not
    #[arg(long, value_name = "URL")]
    public_url: Option<Url>,

    /// Print one JSON object with every address when ready; logs go to standard error either way
    #[arg(long)]
    json: bool,
}

impl SandboxCommand {
    pub(crate) async fn run(self) -> Result<()> {
        let mut interrupt = Interrupt::listen()?;
        let _lock = self.state_file.as_deref().map(lock).transpose()?;
        let sandbox = Sandbox::new(SandboxOptions {
            app_id: self.app_id.clone(),
            app_secret: self.app_secret.clone(),
            clock: Clock::system(),
            redirect_uris: self.redirect_uri.clone(),
            state_file: self.state_file.clone(),
            accounts: self.accounts(),
            inspection: self.inspection,
            exchange: self.exchange,
        })?;
        let listener = listen(self.port).await?;
        let url = format!("http://{}", listener.local_addr()?);
        self.announce(&url)?;
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let public_host = self.public_url.as_ref().and_then(Url::host_str).map(str::to_owned);
        let serving = tokio::spawn(sandbox.serve_as(public_host, listener, async {
            // An error means that the sender was dropped, which stops the server as well.
            let _ = stopped.await;
        }));
        interrupt.next().await;
        // The server may have ended by itself.
        let _ = stop.send(());
        match wind_down(serving).await {
            Some(served) => served?.context("the sandbox stopped"),
            None => Ok(()),
        }
    }

    fn accounts(&self) -> Vec<NewAccount> {
        let account =
            |name: &String, tester| NewAccount { username: name.clone(), tester, ..NewAccount::default() };
        // Testers come first, in case an account is named as both.
        let testers = self.tester.iter().map(|name| account(name, true));
        testers.chain(self.account.iter().map(|name| account(name, false))).collect()
    }

    fn announce(&self, url: &str) -> Result<()> {
        // Our secret is public; a given one is not printed.
        let secret = (self.app_secret == APP_SECRET).then_some(APP_SECRET);
        let authorize = format!("{url}/oauth/authorize");
        let control = format!("{url}/control");
        let text = if self.json {
            json!({
                "threads_url": url,
                "authorize_url": authorize,
                "graph_url": url,
                "control_url": control,
                "app_id": self.app_id,
                "app_secret": secret,
            })
            .to_string()
        } else {
            let kept = self
                .state_file
                .as_ref()
                .map_or_else(|| "in memory only".to_owned(), |file| format!("in {}", file.display()));
            let rows = table(&[
                ("App id", self.app_id.clone()),
                ("App secret", secret.unwrap_or("as you gave it").to_owned()),
                ("Control", control),
                ("Kept", kept),
            ]);
            let rows = rows.replace('\n', "\n  ");
            format!(
                "The sandbox is ready.\n\n  {rows}\n\n\
                 For threads-auth and for the functions:\n\n  \
                 export THREADS_AUTHORIZE_URL={authorize}\n  \
                 export THREADS_GRAPH_URL={url}\n\n\
                 Ctrl-C stops it."
            )
        };
        announce(&text)
    }
}

/// Every response by its name.
fn exchanges() -> impl TypedValueParser<Value = ExchangeAnswer> {
    PossibleValuesParser::new(ExchangeAnswer::ALL.map(ExchangeAnswer::as_str)).try_map(|text| text.parse())
}

/// Prevents a second sandbox from using the same state. The lock is a separate file, because the
/// state file itself is replaced.
fn lock(state_file: &Path) -> Result<File> {
    let mut name = state_file.as_os_str().to_owned();
    name.push(".lock");
    // An existing file of this name must not be truncated.
    let lock = File::options()
        .write(true)
        .create(true)
        .truncate(false)
        .open(&name)
        .with_context(|| format!("the state file {} cannot be written", state_file.display()))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(std::fs::TryLockError::WouldBlock) => bail!(
            "the state file {} is in use by another sandbox; stop it, or choose another with --state-file",
            state_file.display()
        ),
        Err(std::fs::TryLockError::Error(error)) => {
            Err(error).with_context(|| format!("the state file {} cannot be locked", state_file.display()))
        }
    }
}
