//! The daily check for drift of Meta's API. With the inspector's account it calls the authorization
//! page, `me` and `debug_token`, and compares the fields of the responses.
//! Meta moves hosts and changes responses, which would otherwise show only weeks later, when tokens
//! expire. The check does not validate tokens: sweeps do.

use std::collections::BTreeSet;

use futures_util::future::join3;
use jiff::Timestamp;
use threads_auth_model::{Vault, error_chain};
use threads_graph::{AccessToken, Call, ConfigurationProblem, ErrorKind, State};

use crate::clients::Clients;
use crate::inspection::inspector;

/// The names of a response's fields.
type Answer = Result<BTreeSet<String>, threads_graph::Error>;

/// The required and the other known fields of a response.
struct Shape {
    call: Call,
    needed: &'static [&'static str],
    known: &'static [&'static str],
}

const ME: Shape = Shape { call: Call::Me, needed: &["id", "username"], known: &[] };
const DEBUG_TOKEN: Shape = Shape {
    call: Call::DebugToken,
    needed: &["data_access_expires_at", "expires_at", "is_valid", "issued_at", "scopes", "user_id"],
    known: &["app_id", "application", "error", "granular_scopes", "metadata", "profile_id", "type"],
};

/// Checks for drift unless that was done today. Returns a sentence for each difference.
pub(crate) async fn once_a_day(clients: &Clients, vault: &Vault, now: Timestamp) -> Vec<String> {
    if vault.app.inspector.is_none() || clients.are_calls_scarce(now) {
        return Vec::new();
    }
    match clients.store.take_drift_turn(now).await {
        Ok(true) => check(clients, vault, now).await.unwrap_or_default(),
        Ok(false) => Vec::new(),
        Err(error) => {
            tracing::warn!(error = error_chain(&error), "the check for drift was skipped");
            Vec::new()
        }
    }
}

/// Checks for drift now. Returns `None` without an inspector whose token opens.
pub(crate) async fn check(clients: &Clients, vault: &Vault, now: Timestamp) -> Option<Vec<String>> {
    let token = inspector(clients, vault, now).await?;
    let (page, me, info) =
        join3(page(clients, vault), clients.graph.fields_of_me(&token), info(clients, vault, &token)).await;
    // If the page fails, nobody can log in, and no other call would show it.
    let mut found: Vec<_> = page.err().iter().map(ToString::to_string).collect();
    found.extend(ME.drift(me));
    found.extend(DEBUG_TOKEN.drift(info));
    for drift in &found {
        tracing::error!(drift, "Meta's API has changed");
    }
    Some(found)
}

/// Requests the authorization page, and once more after a transient failure.
async fn page(clients: &Clients, vault: &Vault) -> Result<(), threads_graph::Error> {
    let Ok(state) = State::random() else { return Ok(()) };
    let (app_id, scopes) = (&vault.app.credentials.app_id, &clients.config.scopes);
    let url = clients.graph.authorization_url(app_id, &clients.redirect_uri, scopes, &state);
    let page = match clients.graph.authorization_page(url.clone()).await {
        Err(error) if error.kind() == ErrorKind::Transient => clients.graph.authorization_page(url).await,
        first => first,
    };
    match page {
        // The page is for browsers and may refuse other clients, so a refusal is no drift.
        Err(error) if error.kind() == ErrorKind::Rejected => Ok(()),
        page => page.map(drop),
    }
}

/// Inspects the inspector's token with itself, as Meta documents, or else with the app's token.
async fn info(clients: &Clients, vault: &Vault, token: &AccessToken) -> Answer {
    match clients.graph.fields_of_debug_token(token, token).await {
        Err(error) if matches!(error.kind(), ErrorKind::Permission | ErrorKind::Rejected) => {
            let app = vault.app.credentials.app_token();
            clients.graph.fields_of_debug_token(token, &app).await
        }
        answer => answer,
    }
}

impl Shape {
    /// Returns the missing fields, or the error that shows drift. Unknown fields are logged only.
    fn drift(&self, answer: Answer) -> Vec<String> {
        let call = self.call;
        let fields = match answer {
            Ok(fields) => fields,
            Err(error) => {
                tracing::warn!(error = error_chain(&error), "a call of the check for drift failed");
                return if self.is_drift(error.kind()) { vec![error.to_string()] } else { Vec::new() };
            }
        };
        let is_known =
            |name: &&String| self.needed.iter().chain(self.known).any(|known| *known == name.as_str());
        for name in fields.iter().filter(|name| !is_known(name)) {
            tracing::info!(%call, field = name, "a response of Meta has an unknown field");
        }
        let missing = self.needed.iter().filter(|name| !fields.contains(**name));
        missing.map(|name| format!("{call}: the answer lacks {name}")).collect()
    }

    /// Returns true if a failure shows a change of Meta's API rather than an outage. A refusal of
    /// `debug_token` concerns the caller only.
    fn is_drift(&self, kind: ErrorKind) -> bool {
        match kind {
            ErrorKind::Configuration(ConfigurationProblem::Moved) => true,
            ErrorKind::Rejected => self.call == Call::Me,
            _ => false,
        }
    }
}
