//! `threads-auth console`: a stack's accounts, its coming work and its troubles, as pages for the
//! operator's own browser.
//!
//! Built from the parts of the development page ([`devstack::look`]), behind its loopback layer.
//! `entrance.rs` defines who else is refused. Changes nothing without `--write`. The pages get
//! summaries, which have no token.

mod entrance;
mod find;
mod page;
mod panels;
mod server;
mod state;
mod writes;

use std::sync::Arc;

use anyhow::{Context, Result};
use clap::Args;
use serde_json::json;

use self::state::Console;
use crate::operate::target::{StackArgs, TARGETS};
use crate::shell::env::Env;
use crate::shell::exit::Stopped;
use crate::shell::interrupt::Interrupt;
use crate::shell::output::say;
use crate::shell::server::{announce, listen, log_to_stderr, wind_down};

/// Show a stack in your browser: its accounts, the coming refreshes, alarms, metrics, checks and
/// dead letters.
#[derive(Args)]
#[command(after_help = format!("Examples:
  threads-auth console --local
  threads-auth console --profile prod --stack threads-auth-prod
  threads-auth console --profile prod --write
                                      with buttons that refresh, disconnect, delete, pause and resume
  threads-auth console --local --json --port 3200
                                      for scripts: one line of JSON with the link

It prints a link that opens the console once, in the browser that takes it first, and serves on 127.0.0.1 until Ctrl-C. The link is a \
password: give it to nobody. With --json it is the field \"link\".

It reads what `doctor`, `accounts list` and `dead-letters show` read, and CloudWatch's metrics (cloudwatch:GetMetricData). What your \
credentials may not read is said in its place, and the rest works. A page of accounts reads 50 rows, a search at most 10,000; the \
coming refreshes are one reading of the index \"due\" and are kept for a minute. Tokens are never shown.

Environment:
  LOG_LEVEL
      how much it logs to standard error: trace, debug, info, warn or error

{TARGETS}"))]
pub(crate) struct ConsoleCommand {
    /// The port on 127.0.0.1; 0 picks a free one
    #[arg(long, default_value_t = 0, value_name = "N")]
    port: u16,

    /// Let the pages change things: each change is a button, and what destroys asks first
    #[arg(long)]
    write: bool,

    #[command(flatten)]
    target: StackArgs,
}

impl ConsoleCommand {
    pub(crate) async fn run(self, env: &Env) -> Result<()> {
        log_to_stderr(env.log_level()?);
        let mut interrupt = Interrupt::listen()?;
        let stack = interrupt.or(self.target.open(env)).await?;
        let listener = listen(self.port).await?;
        let origin = format!("http://{}", listener.local_addr()?);
        let console = Arc::new(Console::new(stack, self.write)?);
        self.announce(&console, &origin)?;
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let router = server::routes(Arc::clone(&console));
        let serving = tokio::spawn(async {
            let stopped = async {
                // An error means that the sender was dropped, which stops the server as well.
                let _ = stopped.await;
            };
            axum::serve(listener, router).with_graceful_shutdown(stopped).await
        });
        interrupt.next().await;
        // The server may have ended by itself.
        let _ = stop.send(());
        // A running change is completed in any case: a token that Meta issues for it exists nowhere
        // else.
        if console.is_working() {
            say(
                "Ending the change that is under way; a second Ctrl-C gives it up, and perhaps a token with it.",
            );
            tokio::select! {
                () = console.idle() => {}
                signal = interrupt.next() => return Err(Stopped::Interrupted(signal).into()),
            }
        }
        match wind_down(serving).await {
            Some(served) => served?.context("the console stopped"),
            None => Ok(()),
        }
    }

    fn announce(&self, console: &Console, origin: &str) -> Result<()> {
        let link = console.entrance.link(origin);
        let name = &console.stack.name;
        if self.target.output.json {
            let told = json!({"link": link, "url": origin, "stack": name, "write": self.write});
            return announce(&told.to_string());
        }
        let may = if self.write { "It may change things." } else { "It changes nothing (--write lets it)." };
        announce(&format!(
            "The console of {name} is ready. {may}\n\n  {link}\n\n\
             The link works once, in the browser that opens it first. Ctrl-C stops the console."
        ))
    }
}
