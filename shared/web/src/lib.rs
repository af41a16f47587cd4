//! What every function does at its edge: start, take an event apart, answer, read the time.
//!
//! Owns the shapes of API Gateway's HTTP API (payload format 2.0). The event is read as it came: `lambda_http`'s own conversion to an
//! `http::Request` panics on a query that is no valid URI, and its query map drops all but one of repeated parameters.

mod backend;
mod json;
mod metrics;

use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

use base64::prelude::{BASE64_STANDARD, Engine};
use http::header::{HeaderName, SET_COOKIE};
use http::{HeaderMap, HeaderValue, Method, Response};
use jiff::Timestamp;
use lambda_http::aws_lambda_events::apigw::ApiGatewayV2httpResponse;
use lambda_http::{LambdaEvent, lambda_runtime, service_fn};
use serde::Deserialize;
use threads_auth::{Config, StartError, ThreadsAuth, error_chain};

pub use backend::{BadRequest, Query, object, unavailable, unsigned};
pub use json::{json, json_error, json_later};
pub use lambda_http::Body;
pub use lambda_http::aws_lambda_events::apigw;
pub use metrics::{Metric, emit};

/// A request as API Gateway received it.
#[derive(Clone, Debug)]
pub struct HttpRequest {
    /// The method.
    pub method: Method,
    /// The path, undecoded.
    pub path: String,
    /// The query, undecoded, without the question mark.
    pub raw_query: String,
    /// The cookies, each `name=value`.
    pub cookies: Vec<String>,
    /// The headers, but for the cookies.
    pub headers: HeaderMap,
    /// The body, decoded from base64 where API Gateway encoded it.
    pub body: Vec<u8>,
    /// API Gateway's id of the request.
    pub request_id: String,
    /// Who signed the request, by IAM's name: only where API Gateway has checked it.
    pub caller: Option<String>,
}

/// The event, as far as it is of use. What a person can send must never fail to fit: that would be an error of ours.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Event {
    raw_path: String,
    #[serde(default)]
    raw_query_string: String,
    #[serde(default)]
    cookies: Vec<String>,
    #[serde(default)]
    headers: HashMap<String, String>,
    #[serde(default)]
    body: String,
    #[serde(default)]
    is_base64_encoded: bool,
    request_context: RequestContext,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RequestContext {
    http: Http,
    #[serde(default)]
    request_id: String,
    authorizer: Option<Authorizer>,
}

#[derive(Deserialize)]
struct Authorizer {
    iam: Option<Iam>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Iam {
    user_arn: Option<String>,
}

#[derive(Deserialize)]
struct Http {
    method: String,
}

/// The event is not a request. Says nothing of what it was, since the runtime logs this.
#[derive(Debug, thiserror::Error)]
#[error("expected an event of API Gateway's HTTP API, payload format 2.0")]
pub struct NotARequest;

impl HttpRequest {
    /// Takes an event apart.
    ///
    /// # Errors
    /// When it is not of API Gateway's HTTP API.
    pub fn from_event(event: serde_json::Value) -> Result<Self, NotARequest> {
        let event: Event = serde_json::from_value(event).map_err(|_| NotARequest)?;
        let context = event.request_context;
        let body = if event.is_base64_encoded {
            // What is not base64 has no body that anybody could mean.
            BASE64_STANDARD.decode(event.body).unwrap_or_default()
        } else {
            event.body.into_bytes()
        };
        // A header that is none is left out, like one that was not sent.
        let headers = event
            .headers
            .iter()
            .filter_map(|(name, value)| Some((name.parse::<HeaderName>().ok()?, value.parse().ok()?)))
            .collect();
        Ok(Self {
            method: context.http.method.parse().map_err(|_| NotARequest)?,
            path: event.raw_path,
            raw_query: event.raw_query_string,
            cookies: event.cookies,
            headers,
            body,
            request_id: context.request_id,
            caller: context
                .authorizer
                .and_then(|by| by.iam)
                .and_then(|iam| iam.user_arn),
        })
    }

    /// The cookies, as the operations take them.
    #[must_use]
    pub fn cookies(&self) -> Vec<&str> {
        self.cookies.iter().map(String::as_str).collect()
    }
}

/// The answer in API Gateway's form: one value a header, and the cookies apart.
#[must_use]
pub fn answer(response: Response<String>) -> ApiGatewayV2httpResponse {
    let (parts, body) = response.into_parts();
    let mut answer = ApiGatewayV2httpResponse::default();
    answer.status_code = i64::from(parts.status.as_u16());
    let cookies = parts.headers.get_all(SET_COOKIE).iter();
    answer.cookies = cookies
        .filter_map(|value| value.to_str().ok().map(str::to_owned))
        .collect();
    answer.headers = parts.headers;
    answer.headers.remove(SET_COOKIE);
    answer.body = Some(Body::Text(body));
    answer
}

/// Puts `Set-Cookie` headers on a response.
#[must_use]
pub fn with_cookies(mut response: Response<String>, cookies: &[String]) -> Response<String> {
    let values = cookies
        .iter()
        .filter_map(|cookie| HeaderValue::from_str(cookie).ok());
    response
        .headers_mut()
        .extend(values.map(|value| (SET_COOKIE, value)));
    response
}

/// A header's text.
#[must_use]
pub fn header<'a>(request: &'a HttpRequest, name: &HeaderName) -> Option<&'a str> {
    request.headers.get(name)?.to_str().ok()
}

/// Why a function did not start. Prints as a sentence, because the runtime prints it with `Debug`.
pub struct Failure(String);

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<StartError> for Failure {
    fn from(error: StartError) -> Self {
        Self(error_chain(&error))
    }
}

impl From<lambda_http::Error> for Failure {
    fn from(error: lambda_http::Error) -> Self {
        Self(error_chain(error.as_ref()))
    }
}

/// Begins a function: logs and configuration, and a count of its cold starts under its `name`.
///
/// # Errors
/// When the configuration is incomplete.
#[expect(
    clippy::disallowed_methods,
    reason = "the level of logs must be known before the configuration is read"
)]
pub fn configure(name: &str) -> Result<Config, Failure> {
    threads_auth::telemetry::init(std::env::var("LOG_LEVEL").ok().as_deref());
    let config = Config::from_env().map_err(StartError::from)?;
    emit(
        &config,
        now(),
        Some(("Function", name)),
        &[Metric::count("ColdStarts", 1)],
    );
    Ok(config)
}

/// Starts a function that works with grants: logs, configuration, clients, secrets.
///
/// # Errors
/// When the configuration is incomplete.
pub async fn start(name: &str) -> Result<ThreadsAuth, Failure> {
    let service = ThreadsAuth::new(configure(name)?)?;
    service.warm(now()).await;
    Ok(service)
}

/// Serves an HTTP function until Lambda ends the process.
///
/// # Errors
/// When the Runtime API cannot be reached.
pub async fn serve_http<F, R>(handle: F) -> Result<(), Failure>
where
    F: Fn(HttpRequest, Timestamp) -> R,
    R: Future<Output = Response<String>>,
{
    let handle = &handle;
    let handler = move |event: LambdaEvent<serde_json::Value>| async move {
        let request = HttpRequest::from_event(event.payload)?;
        Ok::<_, lambda_http::Error>(answer(handle(request, now()).await))
    };
    Ok(lambda_runtime::run(service_fn(handler)).await?)
}

/// Serves a function that a schedule invokes: its event as JSON, the time, and how much of it there is.
///
/// # Errors
/// When the Runtime API cannot be reached.
pub async fn serve_event<F, R, T>(handle: F) -> Result<(), Failure>
where
    F: Fn(serde_json::Value, Timestamp, Duration) -> R,
    R: Future<Output = Result<T, lambda_http::Error>>,
    T: serde::Serialize,
{
    let handle = &handle;
    let handler = move |event: LambdaEvent<serde_json::Value>| async move {
        let now = now();
        let deadline = i64::try_from(event.context.deadline).unwrap_or(i64::MAX);
        let left = u64::try_from(deadline.saturating_sub(now.as_millisecond())).unwrap_or(0);
        handle(event.payload, now, Duration::from_millis(left)).await
    };
    Ok(lambda_runtime::run(service_fn(handler)).await?)
}

#[expect(
    clippy::disallowed_methods,
    reason = "this is where a function reads the clock, once for each event"
)]
fn now() -> Timestamp {
    Timestamp::now()
}
