//! A request, parsed from API Gateway's event.
//! Owns the event's format (HTTP API, payload format 2.0). `lambda_http`'s conversion to an
//! `http::Request` is not used: it panics on a query that is not a valid URI, and its query map
//! drops all but one of repeated parameters.

use std::collections::HashMap;

use base64::prelude::{BASE64_STANDARD, Engine};
use http::Method;
use serde::Deserialize;
use threads_auth::OriginProof;

/// A request as API Gateway received it.
#[derive(Clone, Debug)]
pub struct HttpRequest {
    /// The method.
    pub method: Method,
    /// The path as API Gateway passes it on: decoded, including `%2F`.
    pub path: String,
    /// The route that API Gateway has matched, with parameters in braces, such as `GET
    /// /users/{user_id}`.
    pub route: String,
    /// The query, undecoded, without the question mark.
    pub raw_query: String,
    /// The cookies, each `name=value`.
    pub cookies: Vec<String>,
    /// The body, decoded if API Gateway has encoded it in base64.
    pub body: Vec<u8>,
    /// API Gateway's id of the request.
    pub request_id: String,
    /// True if the browser prefetches a page that the person has not opened yet.
    pub is_prefetch: bool,
    /// The header `Accept-Language`, empty if there is none.
    pub accept_language: String,
    /// The secret by which CloudFront proves that the request came through it.
    pub origin: Option<OriginProof>,
    /// ARN of the IAM identity that signed the request, if API Gateway has verified the signature.
    pub caller: Option<String>,
}

/// The first segments of the paths that programs call.
const API_PATHS: [&str; 2] = ["sessions", "users"];

/// The headers by which browsers mark a prefetch.
const PREFETCH_HEADERS: [&str; 4] = ["sec-purpose", "purpose", "x-purpose", "x-moz"];
/// The values of these headers that mark a prefetch.
const PREFETCH_WORDS: [&str; 3] = ["prefetch", "prerender", "preview"];

/// The header with the origin secret. CloudFront replaces a viewer's own.
pub(crate) const ORIGIN: &str = "x-threads-auth-origin";

/// The used part of the event. No request that a person can send may fail to parse, since that
/// would count as our error.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Event {
    #[serde(default)]
    route_key: String,
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

/// The event is not a request. Contains nothing of the event, since the runtime logs this error.
#[derive(Debug, thiserror::Error)]
#[error("expected an event of API Gateway's HTTP API, payload format 2.0")]
pub struct NotARequest;

impl HttpRequest {
    /// Parses an event.
    ///
    /// # Errors
    /// Returns [`NotARequest`] if the event is not one of API Gateway's HTTP API.
    pub fn from_event(event: serde_json::Value) -> Result<Self, NotARequest> {
        let event: Event = serde_json::from_value(event).map_err(|_| NotARequest)?;
        let context = event.request_context;
        let body = if event.is_base64_encoded {
            // An invalid encoding counts as an empty body.
            BASE64_STANDARD.decode(event.body).unwrap_or_default()
        } else {
            event.body.into_bytes()
        };
        Ok(Self {
            method: context.http.method.parse().map_err(|_| NotARequest)?,
            path: event.raw_path,
            route: event.route_key,
            raw_query: event.raw_query_string,
            cookies: event.cookies,
            body,
            is_prefetch: is_prefetch(&event.headers),
            accept_language: named(&event.headers, "accept-language").unwrap_or_default().to_owned(),
            origin: origin(&event.headers),
            request_id: context.request_id,
            caller: context.authorizer.and_then(|by| by.iam).and_then(|iam| iam.user_arn),
        })
    }

    /// Returns true if the path matches the route. IAM has authorized the route that API Gateway
    /// matched before decoding: for `/users/1%2Ftoken` the decoded path would match another one.
    #[must_use]
    pub fn is_of_its_route(&self) -> bool {
        let Some((_, route)) = self.route.split_once(' ') else {
            return false;
        };
        let mut parts = self.path.split('/');
        let is_same = |part: &str| {
            let is_parameter = part.starts_with('{');
            parts.next().is_some_and(|given| is_parameter || given == part)
        };
        route.split('/').all(is_same) && parts.next().is_none()
    }

    /// Returns true if the path is one for programs.
    pub(crate) fn is_for_programs(&self) -> bool {
        let first = self.path.split('/').nth(1).unwrap_or_default();
        API_PATHS.contains(&first)
    }

    /// Returns true if a person's browser may have sent it.
    pub(crate) fn is_of_browser(&self) -> bool {
        matches!(self.method, Method::GET | Method::HEAD) && !self.is_for_programs()
    }

    /// Returns the span of the request, which gives its id to each line of the log. Its level is
    /// the highest, so that no `LOG_LEVEL` drops it.
    #[must_use]
    pub fn span(&self) -> tracing::Span {
        tracing::error_span!("request", request_id = self.request_id)
    }

    /// Returns the cookies in the form that the operations take.
    #[must_use]
    pub fn cookies(&self) -> Vec<&str> {
        self.cookies.iter().map(String::as_str).collect()
    }
}

fn origin(headers: &HashMap<String, String>) -> Option<OriginProof> {
    named(headers, ORIGIN).map(OriginProof::new)
}

fn named<'a>(headers: &'a HashMap<String, String>, wanted: &str) -> Option<&'a str> {
    let (_, text) = headers.iter().find(|(name, _)| name.eq_ignore_ascii_case(wanted))?;
    Some(text)
}

fn is_prefetch(headers: &HashMap<String, String>) -> bool {
    headers.iter().any(|(name, value)| {
        let value = value.to_ascii_lowercase();
        PREFETCH_HEADERS.iter().any(|header| name.eq_ignore_ascii_case(header))
            && PREFETCH_WORDS.iter().any(|word| value.contains(word))
    })
}
