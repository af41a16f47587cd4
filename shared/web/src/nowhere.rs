//! The response to a request that matches no route, by its path or its method.

use http::Response;
use threads_auth::Config;

use crate::backend::no_route;
use crate::pages::{Notice, Page, Reader, respond};
use crate::request::HttpRequest;

/// Returns a page, or an error in JSON below the paths of the app's backend. The response is fixed,
/// so it requires no signature.
#[must_use]
pub fn nowhere(config: &Config, request: &HttpRequest) -> Response<String> {
    let notice = Notice::NotFound;
    tracing::info!(request_id = request.request_id, outcome = notice.as_str());
    if request.is_for_programs() {
        no_route()
    } else {
        respond(&Page::new(notice), &Reader::of(config, request))
    }
}
