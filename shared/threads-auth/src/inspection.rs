//! Meta's word on a token, beside it: whether it is good, what it grants, and when data access
//! ends. All of it is good to have, and nothing fails for the lack of it.
//!
//! Owns by whose token Meta is asked: each [`Caller`] is tried, and which one Meta takes is
//! remembered.

use jiff::Timestamp;
use threads_auth_model::seal::Purpose;
use threads_auth_model::{Access, ScopesSource, Vault, error_chain};
use threads_graph::{AccessToken, ConfigurationProblem, ErrorKind, Scopes, TokenInfo, UserId};

use crate::callers::Caller;
use crate::clients::Clients;

/// Meta's answer about a token.
pub(crate) struct Inspected {
    pub(crate) caller: Caller,
    pub(crate) info: TokenInfo,
}

/// Meta's word on a new token.
pub(crate) struct Inspection {
    /// Whose it is, if Meta told.
    pub(crate) user_id: Option<UserId>,
    pub(crate) username: Option<String>,
    pub(crate) access: Access,
    /// When it expires, if Meta told.
    pub(crate) expires_at: Option<Timestamp>,
}

impl Inspected {
    /// The access that the token gives: nothing, if Meta says that the token is no good, which is
    /// for a refresh to find out.
    pub(crate) fn access(&self) -> Option<Access> {
        let TokenInfo { is_valid, data_access_expires_at, .. } = self.info;
        let scopes = self.info.granted();
        let is_told = !scopes.is_empty() && (is_valid || data_access_expires_at.is_some());
        is_told.then_some(Access { scopes, source: ScopesSource::Granted, data_access_expires_at })
    }

    /// Whether somebody other than the token itself said so.
    pub(crate) fn is_witness(&self) -> bool {
        self.caller != Caller::Itself
    }
}

impl Inspection {
    /// Without a word of Meta's: the requested scopes are all that is known.
    pub(crate) fn assumed(requested: &Scopes) -> Self {
        Self {
            user_id: None,
            username: None,
            expires_at: None,
            access: Access {
                scopes: requested.clone(),
                source: ScopesSource::Requested,
                data_access_expires_at: None,
            },
        }
    }

    /// Asks for the profile and the access of a token at once.
    pub(crate) async fn of(
        clients: &Clients,
        vault: &Vault,
        token: &AccessToken,
        requested: &Scopes,
        now: Timestamp,
    ) -> Self {
        let inspected = inspect(clients, vault, token, now);
        let (profile, inspected) = futures_util::future::join(clients.graph.me(token), inspected).await;
        let profile = profile.inspect_err(|error| {
            tracing::warn!(error = error_chain(error), "the profile could not be read");
        });
        let mut inspection = Self::assumed(requested);
        if let Ok(profile) = profile {
            (inspection.user_id, inspection.username) = (Some(profile.id), profile.username);
        }
        if let Some(inspected) = inspected {
            inspection.expires_at = inspected.info.expires_at;
            if let Some(access) = inspected.access() {
                inspection.access = access;
            }
        }
        inspection
    }
}

/// Asks Meta about `token`, by whichever caller it takes.
pub(crate) async fn inspect(
    clients: &Clients,
    vault: &Vault,
    token: &AccessToken,
    now: Timestamp,
) -> Option<Inspected> {
    let callers = &clients.callers;
    if clients.are_calls_scarce(now) {
        return None;
    }
    let to_try = callers.to_try(now);
    let is_known = to_try.is_empty();
    let mut all_refused = true;
    for caller in to_try {
        let by = match caller {
            Caller::App => Some(vault.app.credentials.app_token()),
            Caller::Inspector => inspector(clients, vault, now).await,
            Caller::Itself => Some(token.clone()),
        };
        let Some(by) = by else { continue };
        match clients.graph.debug_token(token, &by).await {
            Ok(info) => {
                callers.remember(caller);
                return Some(Inspected { caller, info });
            }
            Err(error) => {
                tracing::warn!(%caller, error = error_chain(&error), "a token could not be inspected");
                if caller == Caller::Inspector {
                    callers.forget_inspector();
                }
                match error.kind() {
                    // Meta itself is in trouble, or busy: another caller would only add to it.
                    ErrorKind::Transient
                    | ErrorKind::Throttled { .. }
                    | ErrorKind::Configuration(ConfigurationProblem::AppBlocked) => return None,
                    // The token is refused itself: that says nothing about who may ask.
                    ErrorKind::NeedsReauthorization(_) if caller == Caller::Itself => all_refused = false,
                    _ => {}
                }
            }
        }
    }
    if all_refused {
        callers.count_refused();
        if !is_known {
            callers.remember_refusal(now);
        }
    }
    None
}

/// The inspector's own token, which the same sweeps keep alive.
pub(crate) async fn inspector(clients: &Clients, vault: &Vault, now: Timestamp) -> Option<AccessToken> {
    let user_id = vault.app.inspector.as_ref()?;
    if let Some(token) = clients.callers.inspector(now) {
        return Some(token);
    }
    let grant = clients.store.grant(user_id).await.inspect_err(|error| {
        tracing::warn!(error = error_chain(error), "the inspector's account could not be read");
    });
    let grant = grant.ok().flatten()?;
    let sealed = &grant.live()?.token;
    let token = clients.open(vault, Purpose::AccessToken, user_id, sealed, now).await.ok()?;
    clients.callers.remember_inspector(&token, now);
    Some(token)
}

/// Meta's word on a token, by a call with it: none, if Meta does not answer, or has trouble of its
/// own.
pub(crate) async fn is_taken(clients: &Clients, token: &AccessToken) -> Option<bool> {
    match clients.graph.me(token).await {
        Ok(_) => Some(true),
        Err(error) if matches!(error.kind(), ErrorKind::NeedsReauthorization(_)) => Some(false),
        Err(_) => None,
    }
}
