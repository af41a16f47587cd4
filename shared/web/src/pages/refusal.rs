//! The answer to a connect that did not start or finish, with the ways on that are open to the person.

use http::Response;
use threads_auth::connect::{Reason, Refused};
use threads_auth::flow::Flow;
use threads_auth::{AuthorizeAccess, Config, error_chain};
use url::form_urlencoded;

use super::look::respond;
use super::page::Page;
use crate::request::HttpRequest;

/// Logs why a connect was refused, and answers with its page.
#[must_use]
pub fn refuse(config: &Config, request: &HttpRequest, refused: &Refused) -> Response<String> {
    tracing::warn!(
        request_id = request.request_id,
        outcome = refused.reason.outcome().as_str(),
        error = error_chain(&refused.reason)
    );
    respond(&page_of(config, refused))
}

/// The page for a refusal, with the ways on that are open to the person.
fn page_of(config: &Config, refused: &Refused) -> Page {
    let page = Page::new(refused.reason.outcome());
    let flow = refused.flow.as_deref();
    let back = flow
        .and_then(|flow| flow.return_to.as_deref())
        .and_then(|return_to| config.return_to.check(return_to).ok());
    let page = match back {
        Some(return_to) => {
            let session = flow.and_then(|flow| flow.session_id.as_deref());
            page.with_back(return_to.with(session.map(|id| ("session_id", id)).as_slice()))
        }
        None => page,
    };
    let restart = match (&refused.reason, flow) {
        // What would only fail again has no "try again".
        (
            Reason::SessionRequired
            | Reason::SessionUnknown
            | Reason::SessionClosed
            | Reason::SessionExpired
            | Reason::ReturnTo,
            _,
        ) => None,
        (_, Some(flow)) => Some(restart_path(flow)),
        (_, None) => (config.authorize_access == AuthorizeAccess::Open).then(|| "/authorize".to_owned()),
    };
    match restart {
        Some(path) => page.with_restart(path),
        None => page,
    }
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
