//! The sources of a command's values: its arguments, standard input, the environment, `.env`, or
//! the person.
//!
//! Error messages never contain a value, because people confuse secrets with public values.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;
use jiff::SignedDuration;
use threads_graph::{AppCredentials, AppId, AppSecret, RedirectUri};
use zeroize::Zeroizing;

use crate::shell::env::Env;
use crate::shell::env_file;
use crate::shell::exit::{Stopped, usage};
use crate::shell::interrupt::Interrupt;
use crate::shell::output::{Output, can_ask};
use crate::shell::prompt;

/// Help text of every command that needs a secret.
pub(crate) const SECRETS: &str = "\
Missing values are read from the environment, then from the file of --env-path, then from .env in this folder, and \
a terminal prompts for the rest. `-` as a value reads one line of standard input. A secret as an argument works, but \
other users of the machine can see it.";

/// A value that a command needs.
pub(crate) struct Input {
    flag: &'static str,
    variable: Option<&'static str>,
    /// The name that people know.
    name: &'static str,
    is_secret: bool,
}

pub(crate) const APP_ID: Input =
    Input { flag: "--app-id", variable: Some("THREADS_APP_ID"), name: "Threads app id", is_secret: false };
pub(crate) const APP_SECRET: Input = Input {
    flag: "--app-secret",
    variable: Some("THREADS_APP_SECRET"),
    name: "Threads app secret",
    is_secret: true,
};
pub(crate) const REDIRECT_URI: Input = Input {
    flag: "--redirect-uri",
    variable: Some("THREADS_REDIRECT_URI"),
    name: "Redirect URI",
    is_secret: false,
};
pub(crate) const AUTH_CODE: Input = Input {
    flag: "--auth-code",
    variable: None,
    name: "Authorization code, or the address it came in",
    is_secret: true,
};
pub(crate) const ACCESS_TOKEN: Input = Input {
    flag: "--access-token",
    variable: Some("THREADS_ACCESS_TOKEN"),
    name: "Long-lived access token",
    is_secret: true,
};
pub(crate) const SHORT_LIVED_TOKEN: Input =
    Input { flag: "--short-lived-token", variable: None, name: "Short-lived access token", is_secret: true };

/// Reads the values of one command.
pub(crate) struct Inputs<'a> {
    pub(crate) env: &'a Env,
    pub(crate) output: Output,
    /// The file of `--env-path`, which may define more than the token.
    pub(crate) env_path: Option<PathBuf>,
}

impl<'a> Inputs<'a> {
    /// Creates the inputs of a command without `--env-path`.
    pub(crate) fn new(env: &'a Env, output: Output) -> Self {
        Self { env, output, env_path: None }
    }

    /// Returns the value from the first source that has one.
    pub(crate) async fn get(
        &self,
        input: &Input,
        given: Option<&str>,
        interrupt: &mut Interrupt,
    ) -> Result<Zeroizing<String>> {
        let Input { flag, name, .. } = input;
        match given {
            Some("-") => {
                return interrupt.or(prompt::line()).await?.ok_or_else(|| {
                    Stopped::Usage(format!("{flag} - reads a line of standard input, which has none left"))
                        .into()
                });
            }
            Some(value) => {
                if input.is_secret {
                    self.output.warn(&format!(
                        "{flag} is a secret, and other users of this machine can see arguments. Better: {}",
                        better(input)
                    ));
                }
                return Ok(Zeroizing::new(value.to_owned()));
            }
            None => {}
        }
        if let Some(value) = self.configured(input)? {
            return Ok(Zeroizing::new(value));
        }
        if can_ask() {
            let answer = prompt::ask(name, input.is_secret, interrupt).await?;
            if let Some(answer) = answer.filter(|answer| !answer.is_empty()) {
                return Ok(answer);
            }
        }
        usage(format!("{flag} is missing. Give it, or use {}", better(input)))
    }

    /// Returns the value, if the environment or a `.env` file has one.
    pub(crate) fn configured(&self, input: &Input) -> Result<Option<String>> {
        let Some(variable) = input.variable else {
            return Ok(None);
        };
        if let Some(value) = self.env.variable(variable) {
            return Ok(Some(value.to_owned()));
        }
        for path in self.env_path.as_deref().into_iter().chain([Path::new(".env")]) {
            let value = env_file::read(path, variable, &self.env.variables)?;
            if let Some(value) = value.filter(|value| !value.is_empty()) {
                return Ok(Some(value));
            }
        }
        Ok(None)
    }

    /// Reads the app's id.
    pub(crate) async fn app_id(&self, given: Option<&str>, interrupt: &mut Interrupt) -> Result<AppId> {
        let text = self.get(&APP_ID, given, interrupt).await?;
        let app_id = text.parse();
        app_id.map_err(|error| Stopped::Usage(format!("the Threads app id is {error}")).into())
    }

    /// Reads the app's id and secret.
    pub(crate) async fn app(
        &self,
        app_id: Option<&str>,
        app_secret: Option<&str>,
        interrupt: &mut Interrupt,
    ) -> Result<AppCredentials> {
        Ok(AppCredentials {
            app_id: self.app_id(app_id, interrupt).await?,
            app_secret: self.app_secret(app_secret, interrupt).await?,
        })
    }

    /// Reads the app's secret.
    pub(crate) async fn app_secret(
        &self,
        given: Option<&str>,
        interrupt: &mut Interrupt,
    ) -> Result<AppSecret> {
        let text = self.get(&APP_SECRET, given, interrupt).await?;
        AppSecret::new(text.as_str()).map_err(|error| Stopped::Usage(error.to_string()).into())
    }

    /// Reads the redirect URI.
    pub(crate) async fn redirect_uri(
        &self,
        given: Option<&str>,
        interrupt: &mut Interrupt,
    ) -> Result<RedirectUri> {
        redirect_uri(&self.get(&REDIRECT_URI, given, interrupt).await?)
    }
}

/// Parses a redirect URI.
pub(crate) fn redirect_uri(text: &str) -> Result<RedirectUri> {
    text.parse().map_err(|error: threads_graph::InvalidRedirectUri| Stopped::Usage(error.to_string()).into())
}

/// Parses a duration of at least a second, such as `15m`, for clap.
pub(crate) fn interval(text: &str) -> Result<Duration, String> {
    let parsed: Result<SignedDuration, _> = text.parse();
    match parsed.map(Duration::try_from) {
        Ok(Ok(every)) if every >= Duration::from_secs(1) => Ok(every),
        _ => Err("expected a time of at least a second, such as 15m or 1h".to_owned()),
    }
}

fn better(input: &Input) -> String {
    let Input { flag, variable, .. } = input;
    match variable {
        Some(variable) => {
            format!("`{flag} -` with a line of standard input, or {variable} in the environment or .env")
        }
        None => format!("`{flag} -` with a line of standard input"),
    }
}
