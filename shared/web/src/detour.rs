//! Requests for public routes that have walked around CloudFront, and with it around WAF: the API's
//! own address is open, because CloudFront and the app's backend call it.
//!
//! Owns the one check, before anything is read for a request.

use http::{Method, Response};
use threads_auth::Config;

use crate::error_code::ErrorCode;
use crate::json::json_error;
use crate::nowhere::is_of_programs;
use crate::pages::{Notice, Page, respond};
use crate::request::HttpRequest;

/// Answers a request for a public route that has not come through CloudFront, where it has to.
/// A signed one names its host, so it cannot come that way, and IAM has let it through.
#[must_use]
pub fn refuse_detour(config: &Config, request: &HttpRequest) -> Option<Response<String>> {
    let secrets = config.origin_secrets.as_ref()?;
    let came_through = request.origin.as_ref().is_some_and(|proof| secrets.know(proof));
    if came_through || request.caller.is_some() {
        return None;
    }
    let notice = Notice::Detour;
    tracing::info!(request_id = request.request_id, outcome = notice.as_str());
    let is_browsers = matches!(request.method, Method::GET | Method::HEAD) && !is_of_programs(request);
    Some(if is_browsers {
        respond(&Page::new(notice))
    } else {
        json_error(ErrorCode::Forbidden, "this address is not public: use the service's public one")
    })
}
