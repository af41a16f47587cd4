//! `threads-auth login`: a person agrees in a browser, and the command gets both tokens.
//!
//! The state is random, lives for one login, and is in no process's arguments. Refuses an answer
//! with another state or none, except a code that the person at this terminal pastes: they vouch
//! for it. Refuses an answer from any browser except the one that began here.

mod answer;
mod callback;
mod page;
mod peer;
mod start;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use clap::Args;
use threads_graph::{PastedCallback, RedirectUri, State, parse_pasted};
use url::{Host, Url};

use self::answer::{Answer, NOT_OURS, judge};
use self::callback::Callback;
use self::start::Start;
use crate::person::consent::{SCOPES, check, ended_by_meta, scopes};
use crate::person::env_slot::Keep;
use crate::person::tokens;
use crate::shell::env::{Env, HOSTS};
use crate::shell::exit::{Stopped, usage};
use crate::shell::inputs::{Inputs, REDIRECT_URI, SECRETS, interval, redirect_uri};
use crate::shell::interrupt::Interrupt;
use crate::shell::output::{Output, can_ask, complain, say};
use crate::shell::prompt;

/// Connect a Threads account: open the browser, wait for the person to agree, and get both tokens.
#[derive(Args)]
#[command(after_help = format!("Examples:
  threads-auth login --app-id 123 --scope basic,publish
                            prompts for the app secret, and prints the tokens
  threads-auth login --env-path .env --env-variable LONG_LIVED_TOKEN
                            THREADS_APP_ID and THREADS_APP_SECRET are in .env, and the token is stored beside them
  threads-auth login --no-browser --redirect-uri https://example.com/callback
                            open the address elsewhere, and paste the one that the browser ends on

Meta accepts https only, and only what the dashboard lists under \"Redirect Callback URLs\": list \
https://127.0.0.1:8080/callback there. The browser will warn, because no authority can vouch for this machine; the \
printed fingerprint identifies this command. With --paste there is no warning: the browser ends on an address that \
does not load, and that address is what to paste. This also works with a browser on another machine.

The browser begins at a single-use address of this machine, which sets a cookie: only that browser can bring \
the answer. So no program's arguments contain the state.

{SECRETS}

{SCOPES}

{HOSTS}
  BROWSER
      the program to open the address with"))]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
pub(crate) struct Login {
    /// The Threads app id; `THREADS_APP_ID`
    #[arg(long, alias = "app_id", value_name = "ID")]
    app_id: Option<String>,

    /// The Threads app secret; `THREADS_APP_SECRET`
    #[arg(long, alias = "app_secret", value_name = "SECRET")]
    app_secret: Option<String>,

    /// The redirect URI; `THREADS_REDIRECT_URI`, or `https://127.0.0.1:8080/callback`
    #[arg(long, alias = "redirect_uri", value_name = "URL")]
    redirect_uri: Option<String>,

    /// Another port for `https://127.0.0.1:8080/callback`; 0 picks a free one
    #[arg(long, value_name = "N", conflicts_with = "redirect_uri")]
    port: Option<u16>,

    /// Scopes to request, separated by commas or spaces; may be repeated; `THREADS_SCOPES`, or
    /// basic
    #[arg(long, value_name = "SCOPES")]
    scope: Vec<String>,

    /// Print the address, and open no browser
    #[arg(long)]
    no_browser: bool,

    /// Do not listen for the browser: the person pastes the address that it ends on
    #[arg(long)]
    paste: bool,

    /// Time to wait for the person
    #[arg(long, value_name = "TIME", default_value = "15m", value_parser = interval)]
    wait: Duration,

    #[command(flatten)]
    keep: Keep,

    /// Print neither notes nor warnings
    #[arg(long, short)]
    silent: bool,

    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

impl Login {
    pub(crate) async fn run(self, env: &Env) -> Result<()> {
        let output = Output { json: self.json, silent: self.silent };
        let mut interrupt = Interrupt::listen()?;
        let graph = env.graph()?;
        let inputs = self.keep.inputs(env, output)?;
        let scopes = scopes(&self.scope, env, output)?;
        let (redirect_uri, callback) = self.callback(&inputs, env).await?;
        check(&redirect_uri, output)?;
        let (app_id, app_secret) = (self.app_id.as_deref(), self.app_secret.as_deref());
        let app = inputs.app(app_id, app_secret, &mut interrupt).await?;
        // Checked first, because nobody should agree to a token that cannot be stored. The file is
        // not locked while the person decides.
        drop(self.keep.reserve(output, &mut interrupt).await?);

        let state = State::random().context("no random state can be created")?;
        let url = graph.authorization_url(&app.app_id, &redirect_uri, &scopes, &state);
        let start = self.start(&redirect_uri, callback.is_some()).await?;
        self.invite(&url, &redirect_uri, start.as_ref(), callback.as_ref(), output);
        let answered = self.answer(start, callback, &url, &redirect_uri, &state, output);
        let answer = interrupt.or(answered).await?;
        let code = match answer {
            Answer::Code(code) => code,
            Answer::Denied => {
                let text = "the person did not agree, so there is no token";
                return Err(Stopped::Unauthorized(text.to_owned()).into());
            }
            Answer::Failed(code) => return Err(ended_by_meta(code)),
        };
        let slot = self.keep.reserve(output, &mut interrupt).await?;
        interrupt.after(tokens::exchange(&graph, &app, &code, &redirect_uri, slot, output)).await
    }

    /// Returns the redirect URI, and its listener if it leads to this command.
    async fn callback(&self, inputs: &Inputs<'_>, env: &Env) -> Result<(RedirectUri, Option<Callback>)> {
        let given = match (&self.redirect_uri, self.port) {
            (Some(given), _) => Some(given.clone()),
            (None, Some(_)) => None,
            (None, None) => inputs.configured(&REDIRECT_URI)?,
        };
        let Some(given) = given else {
            let port = self.port.unwrap_or(8080);
            let here = |port| redirect_uri(&format!("https://127.0.0.1:{port}/callback"));
            if self.paste {
                return Ok((here(port)?, None));
            }
            let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
            let callback = Callback::listen(address, true, env.now).await?;
            return Ok((here(callback.port()?)?, Some(callback)));
        };
        let given = redirect_uri(&given)?;
        let callback = match loopback(given.as_str()) {
            Some((address, is_secure)) if !self.paste => {
                Some(Callback::listen(address, is_secure, env.now).await?)
            }
            _ => None,
        };
        Ok((given, callback))
    }

    /// Returns the browser's first address, unless the person opens Meta's in a browser of their
    /// own.
    async fn start(&self, redirect_uri: &RedirectUri, is_answered_here: bool) -> Result<Option<Start>> {
        if !is_answered_here && self.no_browser {
            return Ok(None);
        }
        let here = loopback(redirect_uri.as_str()).filter(|_| is_answered_here);
        let address = here.map_or(Ipv4Addr::LOCALHOST.into(), |(address, _)| address.ip());
        let url = Url::parse(redirect_uri.as_str())?;
        let host = url.host_str().filter(|_| is_answered_here).unwrap_or("127.0.0.1");
        Start::listen(host, address).await.map(Some)
    }

    /// Sends the person to Meta.
    fn invite(
        &self,
        url: &Url,
        redirect_uri: &RedirectUri,
        start: Option<&Start>,
        callback: Option<&Callback>,
        output: Output,
    ) {
        // With a listener, only a browser that began here is accepted.
        let shown = start.filter(|_| callback.is_some()).map_or(url.as_str(), Start::address);
        say(&format!("Log in to Threads and agree at\n\n  {shown}\n"));
        if let Some(start) = start.filter(|_| !self.no_browser) {
            let address = start.address().to_owned();
            // The call may return only when the browser is closed.
            std::thread::spawn(move || {
                if webbrowser::open(&address).is_err() {
                    say("No browser could be opened: open the address yourself.");
                }
            });
        }
        if let Some(fingerprint) = callback.and_then(Callback::fingerprint) {
            output.note(&format!(
                "Then Meta sends the browser to {}, where this command answers. The browser will warn, because no\n\
                 authority can vouch for this machine. Go on if the certificate's SHA-256 fingerprint is\n\n  {fingerprint}\n",
                redirect_uri.as_str()
            ));
        }
        if callback.is_none() {
            say(&format!(
                "Then the browser goes to {}. Paste the whole address that it ends on:",
                redirect_uri.as_str()
            ));
        } else if can_ask() {
            output.note("Waiting. If the browser does not return, paste the address that it ends on:");
        } else {
            output.note("Waiting.");
        }
    }

    async fn answer(
        &self,
        start: Option<Start>,
        callback: Option<Callback>,
        url: &Url,
        redirect_uri: &RedirectUri,
        state: &State,
        output: Output,
    ) -> Result<Answer> {
        let listens = callback.is_some();
        let path = Url::parse(redirect_uri.as_str()).map(|url| url.path().to_owned())?;
        let pass = start.as_ref().map(Start::pass);
        let begun = async {
            match start {
                Some(start) => start.send_on(url).await,
                None => std::future::pending().await,
            }
        };
        let answered = async {
            match callback.zip(pass) {
                Some((callback, pass)) => callback.answer(&path, state, pass, output).await,
                None => std::future::pending().await,
            }
        };
        let pasted = async {
            // Without a terminal, standard input is read only if there is no other way.
            if listens && !can_ask() {
                std::future::pending().await
            } else {
                paste(state, listens, output).await
            }
        };
        let answer = async {
            tokio::select! {
                answer = answered => answer,
                answer = pasted => answer,
                ended = begun => Err(ended.err().unwrap_or_else(|| anyhow!("the listener has stopped"))),
            }
        };
        tokio::time::timeout(self.wait, answer).await.unwrap_or_else(|_| {
            let text = "no answer arrived in time; run it again, or wait longer with --wait";
            Err(Stopped::Unauthorized(text.to_owned()).into())
        })
    }
}

/// Reads pasted lines until one is an answer. Without a terminal there is one attempt.
async fn paste(state: &State, listens: bool, output: Output) -> Result<Answer> {
    loop {
        let Some(line) = prompt::line().await? else {
            if listens {
                // The browser may still return.
                return std::future::pending().await;
            }
            return usage("nothing was pasted");
        };
        if line.trim().is_empty() {
            continue;
        }
        let problem = match parse_pasted(&line) {
            Ok(PastedCallback::Code(code)) => {
                output.warn(
                    "a code without a state does not show which login it belongs to; the whole address does",
                );
                return Ok(Answer::Code(code));
            }
            Ok(PastedCallback::Callback(params)) => match judge(params, state) {
                Some(answer) => return Ok(answer),
                None => NOT_OURS.to_owned(),
            },
            Err(error) => error.to_string(),
        };
        let problem = format!("what was pasted cannot be used: {problem}");
        if !can_ask() {
            return usage(problem);
        }
        complain(&format!("{problem}. Paste the whole address:"));
    }
}

/// Returns the address to listen at for a redirect URI, and true for TLS; `None` for one that leads
/// to another machine.
fn loopback(redirect_uri: &str) -> Option<(SocketAddr, bool)> {
    let url = Url::parse(redirect_uri).ok()?;
    let address: IpAddr = match url.host()? {
        Host::Domain("localhost") => Ipv4Addr::LOCALHOST.into(),
        Host::Ipv4(address) if address.is_loopback() => address.into(),
        Host::Ipv6(Ipv6Addr::LOCALHOST) => Ipv6Addr::LOCALHOST.into(),
        _ => return None,
    };
    let is_secure = url.scheme() == "https";
    Some(((address, url.port_or_known_default()?).into(), is_secure))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listens_only_on_this_machine() {
        for (uri, expected) in [
            ("https://127.0.0.1:8080/callback", Some(("127.0.0.1:8080", true))),
            ("https://localhost/", Some(("127.0.0.1:443", true))),
            ("http://[::1]:3000/x", Some(("[::1]:3000", false))),
            ("https://app.example/callback", None),
            ("https://127.0.0.1.example:8080/", None),
        ] {
            let expected = expected.map(|(address, tls)| (address.parse().unwrap(), tls));
            assert_eq!(loopback(uri), expected, "{uri}");
        }
    }
}
