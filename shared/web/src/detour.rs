//! Requests for public routes that have bypassed CloudFront and its WAF. The API's own address is
//! open, because CloudFront and the app's backend call it.
//! Owns the check for them, which comes before any other work on a request.

use http::Response;
use threads_auth::Config;

use crate::error_code::ErrorCode;
use crate::json::json_error;
use crate::pages::{Notice, Page, Reader, respond};
use crate::request::HttpRequest;

/// Refuses a request for a public route that did not come through CloudFront, if that is required.
/// Signed requests are exempt: their signature covers the API's own host, and IAM has authorized
/// them.
#[must_use]
pub fn refuse_detour(config: &Config, request: &HttpRequest) -> Option<Response<String>> {
    let refused = refuse_programs_detour(config, request)?;
    Some(if request.is_of_browser() {
        respond(&Page::new(Notice::Detour), &Reader::of(config, request))
    } else {
        refused
    })
}

/// Refuses such a request in JSON, for the functions that link no pages.
#[must_use]
pub(crate) fn refuse_programs_detour(config: &Config, request: &HttpRequest) -> Option<Response<String>> {
    let secrets = config.origin_secrets.as_ref()?;
    let came_through = request.origin.as_ref().is_some_and(|proof| secrets.contains(proof));
    if came_through || request.caller.is_some() {
        return None;
    }
    tracing::info!(request_id = request.request_id, outcome = Notice::Detour.as_str());
    Some(json_error(ErrorCode::Forbidden, "this address is not public: use the service's public address"))
}
