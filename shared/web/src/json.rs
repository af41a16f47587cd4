//! Responses to programs, as JSON.

use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, Response, StatusCode};
use serde::Serialize;

use crate::api;
use crate::error_code::ErrorCode;
use crate::headers::secure;

/// Returns `body` as JSON, with the security headers, which forbid caching.
#[must_use]
pub fn json(status: StatusCode, body: &impl Serialize) -> Response<String> {
    // Our own types always serialize.
    let mut response = Response::new(serde_json::to_string(body).unwrap_or_default());
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    secure(response)
}

/// Returns an error: a stable code for programs, and a sentence for people.
#[must_use]
pub fn json_error(code: ErrorCode, message: &str) -> Response<String> {
    let standing = code.standing();
    let mut response = json(standing.status(), &api::Error { error: api::Problem { code, message } });
    standing.mark(&mut response);
    response
}

/// Returns an error with `Retry-After: {seconds}`.
#[must_use]
pub fn json_later(code: ErrorCode, message: &str, seconds: u32) -> Response<String> {
    let mut response = json_error(code, message);
    response.headers_mut().insert(RETRY_AFTER, seconds.into());
    response
}
