//! Inspection of a token at Meta: its validity, scopes and the end of data access. All of it is
//! optional: no operation fails if an inspection does.
//! Owns the choice of the caller: each [`Caller`] is tried, and the accepted one is remembered.

use jiff::Timestamp;
use threads_auth_model::seal::Purpose;
use threads_auth_model::{Access, ScopesSource, Vault, error_chain};
use threads_graph::{AccessToken, ConfigurationProblem, ErrorKind, Scopes, TokenInfo, UserId};

use crate::callers::Caller;
use crate::clients::Clients;

/// The result of `debug_token`.
pub(crate) struct Inspected {
    pub(crate) caller: Caller,
    pub(crate) info: TokenInfo,
}

/// The profile and the access of a new token.
pub(crate) struct Inspection {
    /// The account's id, if Meta returned it.
    pub(crate) user_id: Option<UserId>,
    pub(crate) username: Option<String>,
    pub(crate) access: Access,
    /// Expiry, if Meta returned it.
    pub(crate) expires_at: Option<Timestamp>,
}

impl Inspected {
    /// Returns the token's access. Returns `None` if Meta calls the token invalid: a refresh has to
    /// confirm that.
    pub(crate) fn access(&self) -> Option<Access> {
        let TokenInfo { is_valid, data_access_expires_at, .. } = self.info;
        let scopes = self.info.granted();
        let is_known = !scopes.is_empty() && (is_valid || data_access_expires_at.is_some());
        is_known.then_some(Access { scopes, source: ScopesSource::Granted, data_access_expires_at })
    }

    /// Returns true if the caller was not the token itself.
    pub(crate) fn is_witness(&self) -> bool {
        self.caller != Caller::Itself
    }
}

impl Inspection {
    /// Returns the inspection to assume without a response of Meta: only the requested scopes are
    /// known.
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

    /// Requests the profile and the access of a token concurrently.
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

/// Inspects `token` with the first caller that Meta accepts.
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
                    // An outage or a throttle of Meta: another caller would only add to the load.
                    ErrorKind::Transient
                    | ErrorKind::Throttled { .. }
                    | ErrorKind::Configuration(ConfigurationProblem::AppBlocked) => return None,
                    // Meta refuses the token itself, so the caller may be acceptable.
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

/// Returns the inspector's token, which sweeps keep alive like all others.
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

/// Returns true if Meta accepts a call with the token, and false if Meta refuses the token. Returns
/// `None` after any other failure.
pub(crate) async fn is_accepted(clients: &Clients, token: &AccessToken) -> Option<bool> {
    match clients.graph.me(token).await {
        Ok(_) => Some(true),
        Err(error) if matches!(error.kind(), ErrorKind::NeedsReauthorization(_)) => Some(false),
        Err(_) => None,
    }
}
