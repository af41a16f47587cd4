//! Requests of the app's backend: their caller, their parameters and their errors.
//! Owns the second check behind API Gateway's. A route that was deployed without IAM authorization
//! refuses every request, and so does a path that does not match the route that IAM has authorized.

use std::error::Error;

use http::{Method, Response};
use serde::de::DeserializeOwned;
use threads_auth::{RemovalError, StoreError, error_chain};
use url::form_urlencoded;

use crate::error_code::ErrorCode;
use crate::failures::unavailable;
use crate::json::json_error;
use crate::request::HttpRequest;

/// Maximum size of a request's body, in bytes.
const MAX_BODY: usize = 8_192;

/// A request whose caller IAM has authenticated.
pub struct Call<'a> {
    /// The request.
    pub request: &'a HttpRequest,
    caller: &'a str,
    path: Vec<&'a str>,
}

/// An invalid request. The text names the expected form.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{0}")]
pub struct BadRequest(pub String);

/// Answers a request with `handle`, if IAM has authenticated its caller. Logs an invalid request
/// once.
pub async fn backend<'a, R>(request: &'a HttpRequest, handle: impl FnOnce(Call<'a>) -> R) -> Response<String>
where
    R: Future<Output = Result<Response<String>, BadRequest>>,
{
    let request_id = request.request_id.as_str();
    let Some(caller) = request.caller.as_deref() else {
        tracing::error!(
            request_id,
            outcome = "unsigned",
            "this route has no IAM authorization, so it refuses every request"
        );
        let what = "this route needs IAM authorization: the request is not signed, or the route is deployed without it";
        return json_error(ErrorCode::Forbidden, what);
    };
    if !request.is_of_its_route() {
        tracing::warn!(request_id, caller, outcome = "not_found", "the path does not match the route");
        return no_route();
    }
    let call = Call { request, caller, path: request.path.split('/').skip(1).collect() };
    handle(call).await.unwrap_or_else(|bad| {
        tracing::warn!(request_id, caller, outcome = "bad_request", error = %bad);
        json_error(ErrorCode::BadRequest, &bad.0)
    })
}

impl Call<'_> {
    /// Returns API Gateway's id of the request and the caller, for the log.
    #[must_use]
    pub fn who(&self) -> (&str, &str) {
        (&self.request.request_id, self.caller)
    }

    /// Returns the method and the segments of the path.
    #[must_use]
    pub fn route(&self) -> (&Method, &[&str]) {
        (&self.request.method, &self.path)
    }

    /// Returns the response for an account that could not be read or written.
    #[must_use]
    pub fn failed(&self, error: &StoreError) -> Response<String> {
        match error {
            StoreError::Inconsistent(_) => self.unreadable(None, error),
            StoreError::DynamoDb(_) => unavailable(self.request, error),
        }
    }

    /// Returns the response for an account that could not be disconnected.
    #[must_use]
    pub fn disconnect_failed(&self, error: &RemovalError) -> Response<String> {
        match error {
            RemovalError::Store(error) => self.failed(error),
            error => unavailable(self.request, error),
        }
    }

    /// Returns the response for an account whose row is inconsistent, or whose token does not open.
    /// The error of an inconsistent row names the account itself.
    #[must_use]
    pub fn unreadable(&self, pseudonym: Option<&str>, error: &(dyn Error + 'static)) -> Response<String> {
        let (request_id, caller) = self.who();
        tracing::error!(request_id, caller, outcome = "unreadable", pseudonym, error = error_chain(error));
        let what = "the stored account is unreadable; the log names the cause";
        json_error(ErrorCode::Unreadable, what)
    }
}

/// Returns the response for an unknown route.
#[must_use]
pub fn no_route() -> Response<String> {
    json_error(ErrorCode::NotFound, "there is no such route")
}

/// Parses the body as a JSON object.
///
/// # Errors
/// Returns [`BadRequest`] if the body is not a JSON object of this type.
pub fn object<T: DeserializeOwned>(request: &HttpRequest) -> Result<T, BadRequest> {
    if request.body.len() > MAX_BODY {
        return Err(BadRequest(format!("the body is longer than {MAX_BODY} bytes")));
    }
    let bad = |error: serde_json::Error| BadRequest(format!("expected a JSON object: {}", unquoted(&error)));
    // Serde would accept a list as the fields in order.
    if !request.body.trim_ascii_start().starts_with(b"{") {
        return Err(BadRequest("expected a JSON object".to_owned()));
    }
    // Parsed directly: with a map in between, a duplicate field would not be noticed.
    serde_json::from_slice(&request.body).map_err(bad)
}

/// Returns the message of an error without the value that serde quotes in it, because the message
/// gets into the log too.
fn unquoted(error: &serde_json::Error) -> String {
    let message = error.to_string();
    let is_quoting = message.starts_with("invalid ");
    match message.rfind(", expected ").filter(|_| is_quoting) {
        Some(at) => message[at + 2..].to_owned(),
        None => message,
    }
}

/// The parameters of a query, each known and at most once.
#[derive(Debug, Default)]
pub struct Query(Vec<(String, String)>);

impl Query {
    /// Parses a query whose parameters may have the names `known`.
    ///
    /// # Errors
    /// Returns [`BadRequest`] if a parameter is unknown or repeated.
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

    /// Returns the value of a parameter.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Returns a parameter that is a whole number from `least` to `most`, or `default` if it is
    /// absent.
    ///
    /// # Errors
    /// Returns [`BadRequest`] if the value is not such a number.
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
