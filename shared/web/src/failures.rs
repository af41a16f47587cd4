//! Responses to failures. Each failure is logged once, and the response has no more detail than its
//! reader needs.

use std::error::Error;

use http::Response;
use threads_auth::{Config, ConnectOutcome, RemovalError, error_chain};

use crate::error_code::ErrorCode;
use crate::json::{json_error, json_later};
use crate::pages::{Page, Reader, respond};
use crate::request::HttpRequest;

/// Value of `Retry-After`, in seconds, if the store or the secrets are unavailable.
const RETRY_AFTER_SECONDS: u32 = 5;

/// Returns the response for a failure of the store or the secrets, which asks for a retry.
#[must_use]
pub fn unavailable(request: &HttpRequest, error: &(dyn Error + 'static)) -> Response<String> {
    tracing::error!(
        request_id = request.request_id,
        caller = request.caller,
        outcome = "unavailable",
        error = error_chain(error)
    );
    later()
}

/// The reason why a request's work did not end.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Unfinished {
    /// The function panicked. The message is not repeated, because it may quote anything.
    Panicked,
    /// Lambda would have ended the function.
    OutOfTime,
}

/// Returns the page for a request whose work did not end.
pub(crate) fn unfinished_page(config: &Config, request: &HttpRequest, why: Unfinished) -> Response<String> {
    log_unfinished(request, why);
    if request.is_of_browser() {
        respond(&Page::new(ConnectOutcome::Unavailable), &Reader::of(config, request))
    } else {
        later()
    }
}

/// Returns the response to such a request of a program.
pub(crate) fn unfinished(request: &HttpRequest, why: Unfinished) -> Response<String> {
    log_unfinished(request, why);
    later()
}

fn log_unfinished(request: &HttpRequest, why: Unfinished) {
    let (outcome, what) = match why {
        Unfinished::Panicked => ("panicked", "this is a bug of the function"),
        Unfinished::OutOfTime => ("out_of_time", "AWS or Meta took longer than the function may"),
    };
    tracing::error!(request_id = request.request_id, caller = request.caller, outcome, "{what}");
}

fn later() -> Response<String> {
    json_later(
        ErrorCode::Unavailable,
        "the store or the secrets are temporarily unavailable; retry",
        RETRY_AFTER_SECONDS,
    )
}

/// Returns the response to a failed request of Meta.
#[must_use]
pub fn removal_failed(request: &HttpRequest, error: &RemovalError) -> Response<String> {
    match error {
        RemovalError::Form | RemovalError::SignedRequest(_) => {
            let request_id = &request.request_id;
            tracing::warn!(request_id, outcome = "refused", error = error_chain(error));
            json_error(ErrorCode::BadSignedRequest, &error.to_string())
        }
        RemovalError::Secrets(_) | RemovalError::Store(_) => unavailable(request, error),
    }
}
