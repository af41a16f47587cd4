//! Tokens from Meta: their JSON and text, and their delivery.
//!
//! A token from Meta is never lost: if it cannot be stored or printed as requested, it is printed
//! to the terminal or saved in a separate file.

use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use threads_graph::{
    AccessToken, AppCredentials, AppSecret, AuthorizationCode, Graph, LongLivedToken, RedirectUri,
    ShortLivedToken, UserId,
};

use crate::person::env_slot::Slot;
use crate::person::recovered::{Place, recover};
use crate::shell::env_file;
use crate::shell::exit::Stopped;
use crate::shell::output::{Output, say, table};

/// The life of a short-lived token. Meta documents it, but its response does not contain it.
const SHORT_LIFE: Duration = Duration::from_hours(1);

/// The delays before retries of the second step. The first cannot be retried: the code is spent.
const PAUSES: [Duration; 2] = [Duration::from_millis(500), Duration::from_secs(2)];

/// Exchanges the code for a short-lived token, and that for a long-lived one, and delivers it. If
/// the second step fails, the short-lived token is saved.
pub(crate) async fn exchange(
    graph: &Graph,
    app: &AppCredentials,
    code: &AuthorizationCode,
    redirect_uri: &RedirectUri,
    slot: Option<Slot>,
    output: Output,
) -> Result<()> {
    let ShortLivedToken { access_token, user_id, .. } =
        graph.exchange_code(app, code, redirect_uri).await.context("Could not generate short lived token")?;
    let user_id = whose(graph, &access_token, user_id).await?;
    complete(graph, &app.app_secret, access_token, user_id, slot, output).await
}

/// Returns the user id of a token, if Meta reports it: the exchange may omit it. Two responses that
/// differ are an error.
async fn whose(graph: &Graph, token: &AccessToken, told: Option<UserId>) -> Result<Option<UserId>> {
    let asked = graph.me(token).await.ok().map(|profile| profile.id);
    if let (Some(told), Some(asked)) = (&told, &asked)
        && told != asked
    {
        bail!(
            "Meta contradicts itself: the code was exchanged for a token of the account {told}, and the token belongs to the account {asked}. It is not kept; log in again"
        );
    }
    Ok(told.or(asked))
}

/// Runs the second step alone. If it fails, the short-lived token is saved.
pub(crate) async fn complete(
    graph: &Graph,
    secret: &AppSecret,
    short_lived: AccessToken,
    user_id: Option<UserId>,
    slot: Option<Slot>,
    output: Output,
) -> Result<()> {
    let mut pauses = PAUSES.into_iter();
    let long_lived = loop {
        match graph.exchange_long_lived(secret, &short_lived).await {
            Ok(token) => break token,
            Err(error) => match pauses.next() {
                Some(pause) if error.kind().is_retryable() => tokio::time::sleep(pause).await,
                _ => return Err(unfinished(error, &short_lived, slot.as_ref())),
            },
        }
    };
    deliver_both(user_id.as_ref(), &short_lived, &long_lived, slot, output)
}

/// Reports that the second step failed: the code is spent, and only the short-lived token is left.
fn unfinished(error: threads_graph::Error, short_lived: &AccessToken, slot: Option<&Slot>) -> anyhow::Error {
    let place = rescue("short_lived_token", short_lived, slot.map(Slot::parent), None);
    say(&format!(
        "The code is spent, but the short-lived token it gave works for an hour, and is {place}.\n\
         Within that hour, `threads-auth access_token --short-lived-token -` completes the login with it."
    ));
    anyhow::Error::new(error).context("Could not generate long lived token")
}

/// Delivers both tokens of a person. `user_id` is `None` if Meta did not report it.
fn deliver_both(
    user_id: Option<&UserId>,
    short_lived: &AccessToken,
    long_lived: &LongLivedToken,
    slot: Option<Slot>,
    output: Output,
) -> Result<()> {
    let json = json!({
        "user_id": user_id,
        "tokens": {
            "short_lived": {
                "access_token": short_lived.expose(),
                "user_id": user_id,
                "expires_in": SHORT_LIFE.as_secs(),
            },
            "long_lived": long_lived_json(long_lived),
        },
    });
    let user = ("User id", user_id.map_or_else(|| "not known".to_owned(), ToString::to_string));
    let short = ("Short-lived", shown(short_lived, Some(SHORT_LIFE)));
    let rows = match &slot {
        Some(slot) => vec![user, stored(slot, long_lived)],
        None => vec![user, short, long(long_lived)],
    };
    deliver(&json, &table(&rows), long_lived, slot, output)
}

/// Delivers a refreshed token, or saves it elsewhere.
pub(crate) fn deliver_refreshed(token: &LongLivedToken, slot: Option<Slot>, output: Output) -> Result<()> {
    let row = match &slot {
        Some(slot) => stored(slot, token),
        None => long(token),
    };
    deliver(&long_lived_json(token), &table(&[row]), token, slot, output)
}

/// Meta's response to the refresh and to the second step.
fn long_lived_json(token: &LongLivedToken) -> Value {
    json!({
        "access_token": token.access_token.expose(),
        "token_type": "bearer",
        "expires_in": token.expires_in.map(|life| life.as_secs()),
    })
}

fn long(token: &LongLivedToken) -> (&'static str, String) {
    ("Long-lived", shown(&token.access_token, token.expires_in))
}

fn stored(slot: &Slot, token: &LongLivedToken) -> (&'static str, String) {
    let (variable, path, life) = (slot.variable(), slot.path().display(), lifetime(token.expires_in));
    ("Long-lived", format!("stored as {variable} in {path} ({life})"))
}

fn shown(token: &AccessToken, life: Option<Duration>) -> String {
    format!("{} ({})", token.expose(), lifetime(life))
}

/// Formats a lifetime, such as `lives 59 days and 23 hours`.
fn lifetime(life: Option<Duration>) -> String {
    let Some(life) = life else {
        return "Meta does not report its lifetime".to_owned();
    };
    let minutes = life.as_secs() / 60;
    let parts = [(minutes / 1440, "day"), (minutes / 60 % 24, "hour"), (minutes % 60, "minute")];
    let mut words = parts
        .iter()
        .skip_while(|(count, _)| *count == 0)
        .take(2)
        .filter(|(count, _)| *count > 0)
        .map(|(count, unit)| format!("{count} {unit}{}", if *count == 1 { "" } else { "s" }));
    match (words.next(), words.next()) {
        (Some(more), Some(less)) => format!("lives {more} and {less}"),
        (Some(only), None) => format!("lives {only}"),
        (None, _) => "lives less than a minute".to_owned(),
    }
}

/// Stores the token, or prints it. If that fails, the token is saved elsewhere.
fn deliver(
    json: &Value,
    plain: &str,
    token: &LongLivedToken,
    slot: Option<Slot>,
    output: Output,
) -> Result<()> {
    let Some(slot) = slot else {
        return output.print(json, plain).map_err(|error| {
            let place = rescue("long_lived_token", &token.access_token, None, None);
            error.context(Stopped::NotStored(format!("the new token could not be printed; it is {place}")))
        });
    };
    let (path, variable) = (slot.path().to_owned(), slot.variable().to_owned());
    let (folder, belongs) = (slot.parent().to_owned(), slot.place());
    if let Err(error) = slot.store(&token.access_token) {
        let place = rescue(&variable, &token.access_token, Some(&folder), Some(&belongs));
        return Err(error.context(Stopped::NotStored(format!(
            "the new token could not be stored in {}; it is {place}",
            path.display()
        ))));
    }
    output.note(&format!("Updated the {variable} variable in {}", path.display()));
    output.result(json, plain).context("standard output is closed")
}

/// Puts a token where its owner finds it: on the terminal, or in a new file. Returns the place in
/// words.
fn rescue(variable: &str, token: &AccessToken, folder: Option<&Path>, belongs: Option<&Place>) -> String {
    let line = env_file::line(variable, token.expose());
    let mut out = io::stdout();
    if out.is_terminal() && out.write_all(&line).and_then(|()| out.flush()).is_ok() {
        return "printed above".to_owned();
    }
    let elsewhere = std::env::temp_dir();
    let folders = folder.into_iter().chain([Path::new("."), &elsewhere]);
    if let Some(path) = recover(folders, belongs, variable, token) {
        return format!("in the file {}", path.display());
    }
    // This is the last resort. A token in a log is bad, but a log can be cleaned.
    say(&String::from_utf8_lossy(&line));
    "printed above".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lifetimes_are_told_in_two_units_at_most() {
        for (seconds, told) in [
            (59, "lives less than a minute"),
            (60, "lives 1 minute"),
            (3600, "lives 1 hour"),
            (3660, "lives 1 hour and 1 minute"),
            (86_400 + 120, "lives 1 day"),
            (5_183_944, "lives 59 days and 23 hours"),
            (5_184_000, "lives 60 days"),
        ] {
            assert_eq!(lifetime(Some(Duration::from_secs(seconds))), told);
        }
        assert_eq!(lifetime(None), "Meta does not report its lifetime");
    }
}
