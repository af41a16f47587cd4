//! A person's consent: the scopes to request, and a safe redirect URI.

use anyhow::{Result, anyhow};
use threads_auth::Remedy;
use threads_graph::{DialogError, ErrorKind, InvalidScopes, RedirectUri, Scopes};

use crate::shell::env::Env;
use crate::shell::exit::{Stopped, usage};
use crate::shell::output::Output;

/// Help text of the commands that request scopes.
pub(crate) const SCOPES: &str = "\
Scopes, by short name or by Meta's:
  basic, publish, read_replies, manage_replies, insights    ThreadsPipe's names
  keyword_search, manage_mentions, delete, location_tagging, profile_discovery, share_to_instagram
  all                                                       all of these; Meta has to allow each to the app
  threads_...                                               scopes that Meta has added since, by their own names
threads_basic is always included.";

/// Returns the scopes to request: the arguments, or `THREADS_SCOPES`, or the minimum. Warns about
/// unknown ones.
pub(crate) fn scopes(given: &[String], env: &Env, output: Output) -> Result<Scopes> {
    let text = if given.is_empty() {
        env.variable("THREADS_SCOPES").unwrap_or("basic").to_owned()
    } else {
        given.join(",")
    };
    let scopes: Scopes = text.parse().map_err(|error: InvalidScopes| Stopped::Usage(error.to_string()))?;
    let unknown: Vec<_> = scopes.unknown().map(|scope| scope.to_string()).collect();
    if !unknown.is_empty() {
        output.warn(&format!(
            "not known to this version, and refused by Meta if misspelt: {}",
            unknown.join(", ")
        ));
    }
    Ok(scopes)
}

/// Returns the error for a login that Meta ended, with Meta's error code and its meaning.
pub(crate) fn ended_by_meta(code: Option<u64>) -> anyhow::Error {
    let number = code.map_or_else(String::new, |code| format!(" with error {code}"));
    let meaning = code.and_then(DialogError::from_code).map_or_else(String::new, |error| {
        let remedy = Remedy::of_dialog(Some(error)).operator;
        format!(": {}. {remedy}", ErrorKind::Configuration(error.problem()))
    });
    anyhow!("Meta ended the login{number}{meaning}")
}

/// Refuses a redirect URI whose code could be read in transit, and warns about one that Meta
/// refuses.
pub(crate) fn check(redirect_uri: &RedirectUri, output: Output) -> Result<()> {
    if !redirect_uri.is_secure_or_loopback() {
        return usage("the redirect URI must be https: Meta sends nobody back to plain http");
    }
    if redirect_uri.as_str().starts_with("http:") {
        output.warn(
            "Meta refuses redirect URIs of plain http, this machine's included. The sandbox takes them.",
        );
    }
    Ok(())
}
