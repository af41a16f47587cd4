//! The answer to a connect that did not start or finish, with the ways on that are open to the
//! person.

use http::Response;
use threads_auth::{AuthorizeAccess, Config, ConnectError, ConnectRefusal, Flow, error_chain};
use url::form_urlencoded;

use super::look::respond;
use super::notice::Notice;
use super::page::Page;
use crate::request::HttpRequest;

/// Logs why a connect was refused, and answers with its page.
#[must_use]
pub fn refuse(config: &Config, request: &HttpRequest, refused: &ConnectRefusal) -> Response<String> {
    tracing::warn!(
        request_id = request.request_id,
        outcome = refused.reason.outcome().as_str(),
        error = error_chain(&refused.reason)
    );
    respond(&page_of(config, refused))
}

/// Answers a request that a browser makes ahead of its person, if it is one: nothing is done, and
/// the person's own comes.
#[must_use]
pub fn refuse_prefetch(request: &HttpRequest) -> Option<Response<String>> {
    if !request.is_prefetch {
        return None;
    }
    let notice = Notice::Ahead;
    tracing::info!(request_id = request.request_id, outcome = notice.as_str());
    Some(respond(&Page::new(notice)))
}

/// The page for a refusal, with the ways on that are open to the person.
fn page_of(config: &Config, refused: &ConnectRefusal) -> Page {
    let flow = refused.flow.as_deref();
    let back = flow.and_then(|flow| {
        let return_to = config.return_to.check(flow.return_to.as_deref()?).ok()?;
        let session = flow.session_id.as_deref().map(|id| ("session_id", id));
        Some(return_to.with(session.as_slice()))
    });
    let restart = match (&refused.reason, flow) {
        // What would only fail again has no "try again".
        (
            ConnectError::SessionRequired
            | ConnectError::SessionUnknown
            | ConnectError::SessionClosed
            | ConnectError::SessionExpired
            | ConnectError::ReturnTo,
            _,
        ) => None,
        (_, Some(flow)) => Some(restart_path(flow)),
        (_, None) => (config.authorize_access == AuthorizeAccess::Open).then(|| "/authorize".to_owned()),
    };
    Page { restart, back, ..Page::new(refused.reason.outcome()) }
}

/// The path by which the same flow starts again.
fn restart_path(flow: &Flow) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    if let Some(id) = &flow.session_id {
        query.append_pair("session", id);
    } else {
        query.append_pair("scopes", &flow.scopes.to_string());
        if let Some(return_to) = &flow.return_to {
            query.append_pair("return_to", return_to);
        }
    }
    format!("/authorize?{}", query.finish())
}
