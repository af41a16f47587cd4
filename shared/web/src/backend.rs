//! Requests of the app's own backend: what is in them, and what is not signed.
//!
//! Owns the check that stands behind the one of API Gateway: a route that was deployed without IAM authorization answers nobody.

use std::error::Error;

use http::{Response, StatusCode};
use serde::de::DeserializeOwned;
use url::form_urlencoded;

use threads_auth::error_chain;

use crate::json::{json_error, json_later};
use crate::request::HttpRequest;

/// No request of a backend is longer.
const MAX_BODY: usize = 8_192;

/// Seconds after which it is worth asking again, when our own store or secrets are out of reach.
const RETRY_AFTER_SECONDS: u32 = 5;

/// A request that does not make sense. Its text says what does.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{0}")]
pub struct BadRequest(pub String);

impl BadRequest {
    /// The answer to it.
    #[must_use]
    pub fn respond(&self) -> Response<String> {
        json_error(StatusCode::BAD_REQUEST, "bad_request", &self.0)
    }
}

/// The answer to a request that nobody has signed.
#[must_use]
pub fn unsigned(request: &HttpRequest) -> Response<String> {
    tracing::error!(
        request_id = request.request_id,
        outcome = "unsigned",
        "this route has no IAM authorization, so it answers nobody"
    );
    json_error(
        StatusCode::FORBIDDEN,
        "forbidden",
        "this route needs IAM authorization: the request is not signed, or the route is deployed without it",
    )
}

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
        "unavailable",
        "the store or the secrets are out of reach for a moment; ask again",
        RETRY_AFTER_SECONDS,
    )
}

/// The body as a JSON object.
///
/// # Errors
/// When it is none, or not of this shape.
pub fn object<T: DeserializeOwned>(request: &HttpRequest) -> Result<T, BadRequest> {
    if request.body.len() > MAX_BODY {
        return Err(BadRequest(format!("the body is longer than {MAX_BODY} bytes")));
    }
    let bad = |error: serde_json::Error| BadRequest(format!("expected a JSON object: {error}"));
    let value: serde_json::Value = serde_json::from_slice(&request.body).map_err(bad)?;
    // Not only for the type: a list would pass as the fields in order.
    if !value.is_object() {
        return Err(BadRequest("expected a JSON object".to_owned()));
    }
    serde_json::from_value(value).map_err(bad)
}

/// The parameters of a query, each known and there once at most.
#[derive(Debug, Default)]
pub struct Query(Vec<(String, String)>);

impl Query {
    /// Reads a query whose parameters may have these names.
    ///
    /// # Errors
    /// When there is another parameter, or one twice.
    pub fn of(request: &HttpRequest, known: &[&str]) -> Result<Self, BadRequest> {
        let mut parameters: Vec<(String, String)> = Vec::new();
        for (name, value) in form_urlencoded::parse(request.raw_query.as_bytes()) {
            if !known.contains(&name.as_ref()) {
                return Err(BadRequest(if known.is_empty() {
                    "this route takes no query".to_owned()
                } else {
                    format!("the query may have {} only", known.join(", "))
                }));
            }
            if parameters.iter().any(|(known, _)| *known == name) {
                return Err(BadRequest(format!("the query has {name} twice")));
            }
            parameters.push((name.into_owned(), value.into_owned()));
        }
        Ok(Self(parameters))
    }

    /// The text of a parameter.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }

    /// A parameter that is a whole number between `least` and `most`, or `default` if it is not there.
    ///
    /// # Errors
    /// When it is none.
    pub fn number(&self, name: &str, default: u32, least: u32, most: u32) -> Result<u32, BadRequest> {
        let Some(text) = self.get(name) else {
            return Ok(default);
        };
        text.parse()
            .ok()
            .filter(|number| (least..=most).contains(number) && text.bytes().all(|b| b.is_ascii_digit()))
            .ok_or_else(|| BadRequest(format!("{name} must be a whole number from {least} to {most}")))
    }
}
