//! The start of a connect: redirects from a link to Meta's authorization page. Writes nothing.

use jiff::Timestamp;
use threads_graph::{Scope, Scopes};
use url::{Url, form_urlencoded};

use super::error::{ConnectError, ConnectRefusal};
use super::flow::Flow;
use super::session::{admit, is_session_id, read};
use crate::clients::Clients;
use crate::config::AuthorizeAccess;
use crate::language::UiLocales;

/// The redirect that starts a flow.
#[derive(Debug)]
pub struct Begun {
    /// Meta's authorization page.
    pub location: Url,
    /// The `Set-Cookie` headers.
    pub cookies: Vec<String>,
}

/// The parameters of `/authorize`.
#[derive(Debug, Default)]
struct BeginParams {
    session: Option<String>,
    return_to: Option<String>,
    scopes: Option<Scopes>,
    ui_locales: Option<UiLocales>,
}

impl BeginParams {
    /// Parses the query, in which each parameter may occur once. Without a session unknown
    /// parameters are refused, because a misspelt `return_to` should not go unnoticed.
    fn parse(raw_query: &str) -> Result<Self, ConnectError> {
        let mut params = Self::default();
        let mut is_misspelt = false;
        for (name, value) in form_urlencoded::parse(raw_query.as_bytes()) {
            let value = value.into_owned();
            let repeated = match name.as_ref() {
                "session" if is_session_id(&value) => params.session.replace(value).is_some(),
                "session" => return Err(ConnectError::BadLink),
                "return_to" => params.return_to.replace(value).is_some(),
                "scopes" => {
                    let scopes = value.parse().map_err(|_| ConnectError::BadLink)?;
                    params.scopes.replace(scopes).is_some()
                }
                "ui_locales" => {
                    let locales = value.parse().map_err(|_| ConnectError::BadLink)?;
                    params.ui_locales.replace(locales).is_some()
                }
                _ => {
                    is_misspelt = true;
                    false
                }
            };
            if repeated {
                return Err(ConnectError::BadLink);
            }
        }
        // Sharing adds parameters such as `fbclid` to links. They are ignored with a session, which
        // needs no other parameter.
        if is_misspelt && params.session.is_none() {
            return Err(ConnectError::BadLink);
        }
        // The session fixes both values: the holder of its URL must not change them. The person may
        // still choose the language of the pages.
        if params.session.is_some() && (params.return_to.is_some() || params.scopes.is_some()) {
            return Err(ConnectError::BadLink);
        }
        Ok(params)
    }
}

/// Begins a flow: the request `GET /authorize?raw_query` from a browser with these `Cookie`
/// headers.
pub(crate) async fn begin(
    clients: &Clients,
    raw_query: &str,
    cookies: &[&str],
    now: Timestamp,
) -> Result<Begun, ConnectRefusal> {
    let params = BeginParams::parse(raw_query)?;
    let config = &clients.config;
    if params.session.is_none() && config.authorize_access == AuthorizeAccess::Session {
        return Err(ConnectError::SessionRequired.into());
    }
    if let Some(return_to) = &params.return_to {
        let checked = config.return_to.check(return_to);
        checked.map_err(|_| ConnectError::ReturnTo)?;
    }
    // A link may request only scopes that this version or the configuration knows.
    let is_known = |scope: Scope| scope.is_known() || config.scopes.contains(scope);
    if params.scopes.as_ref().is_some_and(|scopes| !scopes.iter().all(is_known)) {
        return Err(ConnectError::BadLink.into());
    }
    let scopes = params.scopes.unwrap_or_else(|| config.scopes.clone());
    let mut flow = Flow::begin(scopes, now).map_err(ConnectError::Seal)?;
    flow.return_to = params.return_to;
    flow.language = params.ui_locales.and_then(|locales| locales.language());
    if let Some(id) = params.session {
        flow.session_id = Some(id.clone());
        let session = read(clients, &id).await.map_err(|error| error.in_flow(&flow))?;
        flow.return_to.clone_from(&session.return_to);
        let locales = session.ui_locales.as_deref().and_then(|list| list.parse::<UiLocales>().ok());
        flow.language = locales.and_then(|locales| locales.language()).or(flow.language);
        admit(clients, &session, now).map_err(|error| error.in_flow(&flow))?;
        flow.scopes = session.scopes.unwrap_or(flow.scopes);
        flow.user_id = session.user_id;
    }
    let vault = clients.vault(now).await.map_err(|error| ConnectError::Secrets(error).in_flow(&flow))?;
    let (app_id, kind) = (vault.app_id(), config.cookie_kind());
    let cookies = flow.set_cookies(kind, &vault.keyring, app_id, cookies);
    let location = clients.graph.authorization_url(app_id, &clients.redirect_uri, &flow.scopes, &flow.state);
    Ok(Begun { location, cookies: cookies.map_err(|error| ConnectError::Seal(error).in_flow(&flow))? })
}
