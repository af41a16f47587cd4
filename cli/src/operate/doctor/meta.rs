//! Checks that Meta accepts the app and its redirect URI, and names the setting to change if not.

use anyhow::Error;
use threads_auth::{Caller, Inspections, Remedy};
use threads_auth_model::error_chain;
use threads_graph::{ConfigurationProblem, DialogError, ErrorKind, Scopes, State};

use super::finding::{Finding, fail, ok, warn};
use crate::operate::target::StackHandle;
use crate::shell::exit;

pub(super) async fn belong_together(stack: &StackHandle) -> Finding {
    const CHECK: &str = "app id and secret";
    let Ok(app) = stack.service.secrets().app(stack.now()).await else {
        return warn(CHECK, "cannot be checked without the secret", "See the app secret above first.");
    };
    match stack.graph().app_token(&app.credentials).await {
        Ok(_) => ok(CHECK, "belong together, as Meta confirms"),
        Err(error) => {
            if let Some(host) = error.moved_to() {
                return moved(host, "THREADS_GRAPH_URL", "ThreadsGraphUrl");
            }
            let is_blocked = error.kind() == ErrorKind::Configuration(ConfigurationProblem::AppBlocked);
            let error = Error::from(error);
            let advice = exit::advice(&error);
            let detail = format!("Meta does not accept them: {error:#}");
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

/// Meta redirects to this host permanently, but these two settings do not name it yet.
fn moved(host: &str, variable: &str, parameter: &str) -> Finding {
    fail(
        "Meta's address",
        format!("Meta has moved: it redirects to the host {host}"),
        format!(
            "If Meta has announced that host, deploy the stack with the parameter {parameter} set to its address ({variable} for `threads-auth dev` and the other commands). If not, do not: whoever answers there gets every token."
        ),
    )
}

/// Checks who may inspect tokens at Meta. Without an inspector, the end of data access is noticed
/// only after it.
pub(super) async fn inspections(stack: &StackHandle) -> Finding {
    const CHECK: &str = "inspection";
    const NAME_ONE: &str = "Connect the account of a Threads tester of the app, and name it: `threads-auth configure --inspector USER_ID`.";
    if stack.service.vault(stack.now()).await.is_err() {
        return warn(CHECK, "cannot be checked without the secrets", "See the secrets above first.");
    }
    match stack.service.inspections(stack.now()).await {
        Inspections::TakenBy(Caller::App) => ok(CHECK, "Meta lets the app inspect its tokens"),
        Inspections::TakenBy(Caller::Inspector) => {
            ok(CHECK, "Meta lets the inspector inspect the app's tokens")
        }
        Inspections::TakenBy(Caller::Itself) => warn(
            CHECK,
            "Meta lets each token inspect only itself, and documents that for testers only",
            NAME_ONE,
        ),
        Inspections::NothingToAsk => ok(CHECK, "there is no token to inspect yet"),
        Inspections::RefusedToAll => warn(
            CHECK,
            "Meta lets nobody inspect tokens: the end of access to a private profile is noticed only after it",
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
            warn(CHECK, "cannot be checked without the accounts", "See the tokens above first.")
        }
        Inspections::Unknown => warn(CHECK, "Meta did not report who may inspect tokens", "Try again later."),
    }
}

/// Checks for drift at Meta, if there is an inspector.
pub(super) async fn drift(stack: &StackHandle) -> Finding {
    const CHECK: &str = "drift";
    let app = stack.service.secrets().app(stack.now()).await;
    if app.as_ref().is_ok_and(|app| app.inspector.is_none()) {
        return ok(CHECK, "is looked for with an inspector only, and there is none");
    }
    let found = match stack.service.drift(stack.now()).await {
        Ok(Some(found)) => found,
        Ok(None) => {
            let detail = "cannot be looked for: the inspector's token cannot be used";
            return warn(CHECK, detail, "See the inspection above first.");
        }
        Err(_) => {
            let detail = "cannot be looked for without the secrets";
            return warn(CHECK, detail, "See the secrets above first.");
        }
    };
    if found.is_empty() {
        return ok(CHECK, "Meta's page and its responses are unchanged");
    }
    let next =
        "Check whether Meta has announced a change, and whether there is a newer version of this service.";
    warn(CHECK, found.join("; "), next)
}

/// Checks that all requested scopes are known. An unknown one may be new at Meta, or misspelt.
pub(super) fn scopes(stack: &StackHandle) -> Finding {
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

/// Checks the page that Meta shows to a person who arrives with our redirect URI.
pub(super) async fn redirect_uri(stack: &StackHandle) -> Finding {
    const CHECK: &str = "redirect URI";
    let config = stack.service.config();
    let (Ok(app), Ok(uri)) = (stack.service.secrets().app(stack.now()).await, config.redirect_uri()) else {
        return warn(CHECK, "cannot be checked without the app id", "See the app secret above first.");
    };
    let Ok(state) = State::random() else {
        return warn(CHECK, "cannot be checked: this system has no randomness", "Try again later.");
    };
    let url = stack.graph().authorization_url(&app.credentials.app_id, &uri, &config.scopes, &state);
    let refusal = match stack.graph().authorization_page(url).await {
        Ok(refusal) => refusal,
        Err(error) => {
            return match error.moved_to() {
                Some(host) => moved(host, "THREADS_AUTHORIZE_URL", "ThreadsAuthorizeUrl"),
                None => warn(
                    CHECK,
                    format!("Meta's page does not show whether it accepts {uri}: {}", error_chain(&error)),
                    "Try again later.",
                ),
            };
        }
    };
    let Some(refusal) = refusal else {
        return ok(
            CHECK,
            format!(
                "Meta's page does not refuse {uri}; Meta reports some problems only after a person has logged in"
            ),
        );
    };
    let (code, message) = (refusal.code, refusal.message.as_deref().unwrap_or("no reason given"));
    fail(
        CHECK,
        format!("Meta's page refuses {uri}: {message} ({code})"),
        Remedy::of_dialog(DialogError::from_code(code)).operator,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_that_is_not_known_is_named() {
        let found = |scopes: &str| scopes_of(&scopes.parse().unwrap()).plain();
        assert!(found("all").contains("all are known: threads_basic,threads_content_publish"));
        let new = found("publish,threads_new_permission,threads_basci");
        assert!(new.contains("not known to this version: threads_basci, threads_new_permission"), "{new}");
        assert!(new.contains("warn") && new.contains("nothing is wrong"), "{new}");
    }
}
