//! Meta's word on a token, beside it. All of it is good to have, and nothing fails for the lack
//! of it.

use threads_auth_model::{Access, error_chain};
use threads_graph::{AccessToken, Graph, Scopes};

/// Meta's word on a new token.
pub(crate) struct Inspection {
    pub(crate) username: Option<String>,
    pub(crate) access: Access,
}

impl Inspection {
    /// Without a word of Meta's: the requested scopes count as granted.
    pub(crate) fn assumed(requested: &Scopes) -> Self {
        Self { username: None, access: Access { scopes: requested.clone(), data_access_expires_at: None } }
    }

    /// Asks for the profile and the access of a token at once.
    pub(crate) async fn of(graph: &Graph, token: &AccessToken, requested: &Scopes) -> Self {
        let (profile, access) = futures_util::future::join(graph.me(token), access(graph, token)).await;
        let profile = profile.inspect_err(|error| {
            tracing::warn!(error = error_chain(error), "the profile could not be read");
        });
        Self {
            username: profile.ok().and_then(|profile| profile.username),
            access: access.unwrap_or_else(|| Self::assumed(requested).access),
        }
    }
}

/// The access that a token gives: nothing, if Meta does not tell, or if it says that the token is
/// no good, which is for a refresh to find out.
pub(crate) async fn access(graph: &Graph, token: &AccessToken) -> Option<Access> {
    let info = graph.debug_token(token, token).await.inspect_err(|error| {
        tracing::warn!(error = error_chain(error), "a token could not be inspected");
    });
    let info = info.ok()?;
    let scopes = info.granted();
    let is_told = !scopes.is_empty() && (info.is_valid || info.data_access_expires_at.is_some());
    is_told.then_some(Access { scopes, data_access_expires_at: info.data_access_expires_at })
}
