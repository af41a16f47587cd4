//! Whether Meta takes the app and its redirect URI, and what to click if it does not.

use anyhow::Error;
use serde_json::Value;
use threads_auth::{Caller, Inspections};
use threads_auth_model::error_chain;
use threads_auth_model::seal::random_text;
use threads_graph::{ConfigurationProblem, ErrorKind, Scopes, page_moved_to, redacted};
use url::Url;

use super::finding::{Finding, fail, ok, warn};
use crate::operate::target::Opened;
use crate::shell::exit;

const DASHBOARD: &str = "in Meta's dashboard, under the use case \"Access the Threads API\" > Settings";

pub(super) async fn belong_together(stack: &Opened) -> Finding {
    const CHECK: &str = "app id and secret";
    let Ok(app) = stack.service.secrets().app(stack.now()).await else {
        return warn(CHECK, "cannot be tried without the secret", "First the app secret, see above.");
    };
    match stack.graph().app_token(&app.credentials).await {
        Ok(_) => ok(CHECK, "belong together, says Meta"),
        Err(error) => {
            if let Some(host) = error.moved_to() {
                return moved(host, "THREADS_GRAPH_URL", "ThreadsGraphUrl");
            }
            let is_blocked = *error.kind() == ErrorKind::Configuration(ConfigurationProblem::AppBlocked);
            let error = Error::from(error);
            let advice = exit::advice(&error);
            let detail = format!("Meta does not take them: {error:#}");
            match exit::code(&error) {
                4 if !is_blocked => {
                    warn(CHECK, format!("Meta does not answer: {error:#}"), "Try again later.")
                }
                _ => fail(
                    CHECK,
                    detail,
                    advice.unwrap_or_else(|| "`threads-auth configure` writes them anew.".to_owned()),
                ),
            }
        }
    }
}

/// Meta leads to this host for good, which the setting of these two names does not say yet.
fn moved(host: &str, variable: &str, parameter: &str) -> Finding {
    fail(
        "Meta's address",
        format!("Meta has moved: it redirects to the host {host}"),
        format!(
            "If Meta has announced that host, deploy the stack with the parameter {parameter} set to its address ({variable} for `threads-auth dev` and the other commands). If not, do not: whoever answers there gets every token."
        ),
    )
}

/// Who may ask Meta about tokens. Without anybody, the end of data access is found out only when it
/// has come.
pub(super) async fn inspections(stack: &Opened) -> Finding {
    const CHECK: &str = "inspection";
    const NAME_ONE: &str = "Connect the account of a Threads tester of the app, and name it: `threads-auth configure --inspector USER_ID`.";
    if stack.service.vault(stack.now()).await.is_err() {
        return warn(CHECK, "cannot be tried without the secrets", "First the secrets, see above.");
    }
    match stack.service.inspections(stack.now()).await {
        Inspections::TakenBy(Caller::App) => ok(CHECK, "Meta tells the app about its tokens"),
        Inspections::TakenBy(Caller::Inspector) => {
            ok(CHECK, "Meta tells the inspector about the app's tokens")
        }
        Inspections::TakenBy(Caller::Itself) => warn(
            CHECK,
            "Meta answers only about the token that asks, and documents that for testers only",
            NAME_ONE,
        ),
        Inspections::NothingToAsk => ok(CHECK, "there is no token to ask about yet"),
        Inspections::RefusedToAll => warn(
            CHECK,
            "Meta tells nobody about tokens: when access to a private profile ends is found out only when it has ended",
            NAME_ONE,
        ),
        Inspections::NoInspector(user_id) => {
            warn(CHECK, format!("the inspector {user_id} is not connected"), NAME_ONE)
        }
        Inspections::EndedInspector(user_id) => warn(
            CHECK,
            format!("the account of the inspector {user_id} has ended"),
            "Its person has to connect again. Or name another one: `threads-auth configure --inspector USER_ID`.",
        ),
        Inspections::Unreadable => {
            warn(CHECK, "cannot be tried without the accounts", "First the tokens, see above.")
        }
        Inspections::Unknown => warn(CHECK, "Meta did not say who may ask about tokens", "Try again later."),
    }
}

/// Drift at Meta, if there is an inspector to look with.
pub(super) async fn drift(stack: &Opened) -> Finding {
    const CHECK: &str = "drift";
    let app = stack.service.secrets().app(stack.now()).await;
    if app.as_ref().is_ok_and(|app| app.inspector.is_none()) {
        return ok(CHECK, "is looked for with an inspector only, and there is none");
    }
    let found = match stack.service.drift(stack.now()).await {
        Ok(Some(found)) => found,
        Ok(None) => {
            let detail = "cannot be looked for: the inspector's token cannot be used";
            return warn(CHECK, detail, "First the inspection, see above.");
        }
        Err(_) => {
            let detail = "cannot be looked for without the secrets";
            return warn(CHECK, detail, "First the secrets, see above.");
        }
    };
    if found.is_empty() {
        return ok(CHECK, "Meta's page and its answers are as they were");
    }
    let next =
        "Look whether Meta has announced a change, and whether there is a newer version of this service.";
    warn(CHECK, found.join("; "), next)
}

/// Whether all that is asked for is known here. What is not may be new at Meta, or misspelt.
pub(super) fn scopes(stack: &Opened) -> Finding {
    scopes_of(&stack.service.config().scopes)
}

fn scopes_of(scopes: &Scopes) -> Finding {
    const CHECK: &str = "scopes";
    let unknown: Vec<_> = scopes.unknown().map(|scope| scope.to_string()).collect();
    if unknown.is_empty() {
        return ok(CHECK, format!("all are known: {scopes}"));
    }
    warn(
        CHECK,
        format!("not known to this version: {}", unknown.join(", ")),
        "Compare the spelling with the permissions of the use case in Meta's dashboard. If Meta has them, nothing is wrong.",
    )
}

/// The words of Meta's page to a person who comes with our address.
pub(super) async fn redirect_uri(stack: &Opened) -> Finding {
    const CHECK: &str = "redirect URI";
    let config = stack.service.config();
    let (Ok(app), Ok(uri)) = (stack.service.secrets().app(stack.now()).await, config.redirect_uri()) else {
        return warn(CHECK, "cannot be tried without the app id", "First the app secret, see above.");
    };
    let state = random_text::<16>().unwrap_or_default();
    let url = stack.graph().authorization_url(&app.credentials.app_id, &uri, &config.scopes, &state);
    let (status, body) = match page(stack, url).await {
        Ok(Page::Body(status, body)) => (status, body),
        Ok(Page::MovedTo(host)) => return moved(&host, "THREADS_AUTHORIZE_URL", "ThreadsAuthorizeUrl"),
        Err(problem) => {
            return warn(CHECK, format!("Meta's page does not answer: {problem}"), "Try again later.");
        }
    };
    match refusal(&body) {
        None if status >= 400 => warn(
            CHECK,
            format!("Meta's page answers {status}, and does not say whether it takes {uri}"),
            "Try again later.",
        ),
        None => ok(
            CHECK,
            format!(
                "Meta's page does not refuse {uri}; some of what is wrong it says only after a person has logged in"
            ),
        ),
        Some((code, message)) => {
            let message = redacted(&message);
            let detail = format!("Meta's page refuses {uri}: {message} ({code})");
            match what_to_click(code, uri.as_str()) {
                Some(next) => fail(CHECK, detail, next),
                None => fail(
                    CHECK,
                    detail,
                    format!(
                        "This number is not known here. Compare what is {DASHBOARD} with `threads-auth configure`."
                    ),
                ),
            }
        }
    }
}

/// Meta's page with its status, or the host that it is at now.
enum Page {
    Body(u16, String),
    MovedTo(String),
}

#[expect(
    clippy::disallowed_methods,
    reason = "Meta's public page, as a browser opens it: its address carries no secret"
)]
async fn page(stack: &Opened, url: Url) -> Result<Page, String> {
    let answer = stack.http.inner().get(url.clone()).header("accept", "text/html").send().await;
    let answer = answer.map_err(|error| error_chain(&error.without_url()))?;
    let location = answer.headers().get("location").and_then(|location| location.to_str().ok());
    let status = answer.status().as_u16();
    if let Some(host) = page_moved_to(&url, status, location) {
        return Ok(Page::MovedTo(host));
    }
    let body = answer.text().await.map_err(|error| error_chain(&error.without_url()))?;
    Ok(Page::Body(status, body))
}

/// Meta's code and words, if a page is its `{"error_message":…,"error_code":…}`, alone or in HTML.
fn refusal(body: &str) -> Option<(u64, String)> {
    let number = |value: &Value| value.as_u64().or_else(|| value.as_str()?.parse().ok());
    if let Ok(answer) = serde_json::from_str::<Value>(body.trim()) {
        let code = number(answer.get("error_code")?)?;
        let message = answer.get("error_message").and_then(Value::as_str).unwrap_or("no reason given");
        return Some((code, message.to_owned()));
    }
    let known = [1_349_168, 1_349_245, 1_349_026, 4_476_002, 1_349_187];
    let after = body.split_once("error_code")?.1;
    let digits: String =
        after.chars().skip_while(|c| !c.is_ascii_digit()).take_while(char::is_ascii_digit).collect();
    let code = digits.parse().ok().filter(|code| known.contains(code))?;
    Some((code, "an error page".to_owned()))
}

fn what_to_click(code: u64, uri: &str) -> Option<String> {
    Some(match code {
        1_349_168 => format!(
            "The address is not in the list: {DASHBOARD}, add {uri} to \"Redirect Callback URLs\", letter for letter and with or without a final slash as it is here, press Enter so that it becomes a tag, fill the other two fields, and save. If the dashboard adds a slash that is not here, set the parameter RedirectTrailingSlash to true."
        ),
        1_349_245 => "The account is an invited tester who has not accepted: in Threads > Settings > Account > Website permissions > Invites, accept the app. (To invite: App roles > Roles > Add People > Threads Tester.)".to_owned(),
        1_349_026 | 4_476_002 => "The app id is not the *Threads* app id: take \"Threads App ID\" and \"Threads App secret\" of App settings > Basic, not the plain \"App ID\", and run `threads-auth configure` with them.".to_owned(),
        1_349_187 => "Meta sends nobody back to http: the public address has to be https (parameter DomainName, or a tunnel with --public-url for `threads-auth dev`).".to_owned(),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_found_in_what_meta_answers() {
        let found = |body| refusal(body).map(|(code, _)| code);
        assert_eq!(found(r#"{"error_message":"Blocked","error_code":1349168}"#), Some(1_349_168));
        assert_eq!(found(r#" {"error_message":"Blocked","error_code":"1349187"} "#), Some(1_349_187));
        let html = r"<html><pre>{&quot;error_code&quot;:4476002}</pre></html>";
        assert_eq!(found(html), Some(4_476_002));
        for page in ["", "<html>Log in</html>", "{}", "<html>error_code 17</html>"] {
            assert_eq!(found(page), None, "{page}");
        }
    }

    #[test]
    fn a_scope_that_is_not_known_is_named() {
        let found = |scopes: &str| scopes_of(&scopes.parse().unwrap()).plain();
        assert!(found("all").contains("all are known: threads_basic,threads_content_publish"));
        let new = found("publish,threads_new_permission,threads_basci");
        assert!(new.contains("not known to this version: threads_basci, threads_new_permission"), "{new}");
        assert!(new.contains("warn") && new.contains("nothing is wrong"), "{new}");
    }

    #[test]
    fn every_number_of_metas_has_words() {
        for code in [1_349_168, 1_349_245, 1_349_026, 4_476_002, 1_349_187] {
            assert!(what_to_click(code, "https://app.example/callback").is_some(), "{code}");
        }
        assert!(what_to_click(100, "").is_none());
    }
}
