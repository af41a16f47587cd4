//! Answers where something failed: each is logged once, and says no more than its reader needs.

use std::error::Error;

use http::Response;
use threads_auth::{RemovalError, error_chain};

use crate::error_code::ErrorCode;
use crate::json::{json_error, json_later};
use crate::request::HttpRequest;

/// Seconds after which it is worth asking again, when our own store or secrets are out of reach.
const RETRY_AFTER_SECONDS: u32 = 5;

/// The answer where our own store or secrets have failed. It is worth asking again soon.
#[must_use]
pub fn unavailable(request: &HttpRequest, error: &(dyn Error + 'static)) -> Response<String> {
    tracing::error!(
        request_id = request.request_id,
        caller = request.caller,
        outcome = "unavailable",
        error = error_chain(error)
    );
    json_later(
        ErrorCode::Unavailable,
        "the store or the secrets are out of reach for a moment; ask again",
        RETRY_AFTER_SECONDS,
    )
}

/// The answer to a request of Meta's that was not carried out.
#[must_use]
pub fn not_removed(request: &HttpRequest, error: &RemovalError) -> Response<String> {
    match error {
        RemovalError::Form | RemovalError::SignedRequest(_) => {
            let request_id = &request.request_id;
            tracing::warn!(request_id, outcome = "refused", error = error_chain(error));
            json_error(ErrorCode::BadSignedRequest, &error.to_string())
        }
        RemovalError::Secrets(_) | RemovalError::Store(_) => unavailable(request, error),
    }
}
