//! The response to a request that matches no route, by its path or its method.

use http::{Method, Response};
use threads_auth::Config;

use crate::backend::no_route;
use crate::pages::{Notice, Page, Reader, respond};
use crate::request::HttpRequest;

/// The first segments of the paths that programs call.
const API_PATHS: [&str; 2] = ["sessions", "users"];

/// Returns a page, or an error in JSON below the paths of the app's backend. The response is fixed,
/// so it requires no signature.
#[must_use]
pub fn nowhere(config: &Config, request: &HttpRequest) -> Response<String> {
    let notice = Notice::NotFound;
    tracing::info!(request_id = request.request_id, outcome = notice.as_str());
    if is_api_path(request) { no_route() } else { respond(&Page::new(notice), &Reader::of(config, request)) }
}

/// Returns true if a person's browser may have sent the request.
pub(crate) fn is_of_browser(request: &HttpRequest) -> bool {
    matches!(request.method, Method::GET | Method::HEAD) && !is_api_path(request)
}

/// Returns true if the path is one for programs.
fn is_api_path(request: &HttpRequest) -> bool {
    let first = request.path.split('/').nth(1).unwrap_or_default();
    API_PATHS.contains(&first)
}
