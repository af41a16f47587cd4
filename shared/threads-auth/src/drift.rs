//! What an app lives on at Meta, looked at once a day with the inspector's account: the
//! authorization page, `me`, `debug_token`, and the fields of their answers.
//!
//! Meta moves hosts and changes answers, and most of it is felt only weeks later, when tokens end.
//! Whether a token works is not looked at here: sweeps do that.

use std::collections::BTreeSet;

use futures_util::future::join3;
use jiff::Timestamp;
use threads_auth_model::{Vault, error_chain};
use threads_graph::{AccessToken, Call, ConfigurationProblem, ErrorKind, State};

use crate::clients::Clients;
use crate::inspection::inspector;

/// The names of an answer's fields.
type Answer = Result<BTreeSet<String>, threads_graph::Error>;

/// What an answer must have for an app to live on, and what else it is known to have.
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

/// Looks for drift if nobody has today: what is not as it was, in words.
pub(crate) async fn once_a_day(clients: &Clients, vault: &Vault, now: Timestamp) -> Vec<String> {
    if vault.app.inspector.is_none() || clients.are_calls_scarce(now) {
        return Vec::new();
    }
    match clients.store.take_drift_turn(now).await {
        Ok(true) => look(clients, vault, now).await.unwrap_or_default(),
        Ok(false) => Vec::new(),
        Err(error) => {
            tracing::warn!(error = error_chain(&error), "nobody looks for drift");
            Vec::new()
        }
    }
}

/// Looks for drift now: nothing without an inspector whose token opens.
pub(crate) async fn look(clients: &Clients, vault: &Vault, now: Timestamp) -> Option<Vec<String>> {
    let token = inspector(clients, vault, now).await?;
    let (page, me, info) =
        join3(page(clients, vault), clients.graph.fields_of_me(&token), info(clients, vault, &token)).await;
    // A page that does not answer keeps everybody out, and no other call of ours would tell.
    let mut found: Vec<_> = page.err().iter().map(ToString::to_string).collect();
    found.extend(ME.drift(me));
    found.extend(DEBUG_TOKEN.drift(info));
    for drift in &found {
        tracing::error!(drift, "Meta is not as it was");
    }
    Some(found)
}

/// One failure may be chance; two tell that people do not get through.
async fn page(clients: &Clients, vault: &Vault) -> Result<(), threads_graph::Error> {
    let Ok(state) = State::random() else { return Ok(()) };
    let (app_id, scopes) = (&vault.app.credentials.app_id, &clients.config.scopes);
    let url = clients.graph.authorization_url(app_id, &clients.redirect_uri, scopes, &state);
    let page = match clients.graph.authorization_page(url.clone()).await {
        Err(error) if error.kind() == ErrorKind::Transient => clients.graph.authorization_page(url).await,
        first => first,
    };
    page.map(drop)
}

/// Asks about the inspector's token by itself, as Meta documents it, or else by the app's.
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
    /// What an answer lacks, or says of Meta. What it has beside that is for whoever reads the log.
    fn drift(&self, answer: Answer) -> Vec<String> {
        let call = self.call;
        let fields = match answer {
            Ok(fields) => fields,
            Err(error) => {
                tracing::warn!(error = error_chain(&error), "Meta was not looked at for drift");
                return if self.is_drift(error.kind()) { vec![error.to_string()] } else { Vec::new() };
            }
        };
        let is_known =
            |name: &&String| self.needed.iter().chain(self.known).any(|known| *known == name.as_str());
        for name in fields.iter().filter(|name| !is_known(name)) {
            tracing::info!(%call, field = name, "Meta answers with a field that is not known here");
        }
        let missing = self.needed.iter().filter(|name| !fields.contains(**name));
        missing.map(|name| format!("{call}: the answer lacks {name}")).collect()
    }

    /// Whether a failure says that Meta has changed, and not that it is in trouble. A refusal of
    /// `debug_token` is about who may ask.
    fn is_drift(&self, kind: ErrorKind) -> bool {
        match kind {
            ErrorKind::Configuration(ConfigurationProblem::Moved) => true,
            ErrorKind::Rejected => self.call == Call::Me,
            _ => false,
        }
    }
}
