//! A request: API Gateway's event, taken apart.
//!
//! Owns the event's shape (HTTP API, payload format 2.0). It is read as it came: `lambda_http`'s
//! own conversion to an `http::Request` panics on a query that is no valid URI, and its query map
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
    /// The path, as API Gateway hands it on: decoded, slashes that were written `%2F` included.
    pub path: String,
    /// The route that API Gateway found, with its parameters in braces, such as
    /// `GET /users/{user_id}`.
    pub route: String,
    /// The query, undecoded, without the question mark.
    pub raw_query: String,
    /// The cookies, each `name=value`.
    pub cookies: Vec<String>,
    /// The body, decoded from base64 where API Gateway encoded it.
    pub body: Vec<u8>,
    /// API Gateway's id of the request.
    pub request_id: String,
    /// Whether the browser only loads ahead what the person may open.
    pub is_prefetch: bool,
    /// The header by which CloudFront shows that the request came through it.
    pub origin: Option<OriginProof>,
    /// Who signed the request, by IAM's name: only where API Gateway has checked it.
    pub caller: Option<String>,
}

/// The headers by which browsers say that nobody has opened the page yet, and their words for it.
const AHEAD: [&str; 4] = ["sec-purpose", "purpose", "x-purpose", "x-moz"];
const AHEAD_WORDS: [&str; 3] = ["prefetch", "prerender", "preview"];

/// CloudFront puts this header on what it hands on, in place of a viewer's own.
pub(crate) const ORIGIN: &str = "x-threads-auth-origin";

/// The event, as far as it is of use. What a person can send must never fail to fit: that would be
/// an error of ours.
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
        Ok(Self {
            method: context.http.method.parse().map_err(|_| NotARequest)?,
            path: event.raw_path,
            route: event.route_key,
            raw_query: event.raw_query_string,
            cookies: event.cookies,
            body,
            is_prefetch: is_prefetch(&event.headers),
            origin: origin(&event.headers),
            request_id: context.request_id,
            caller: context.authorizer.and_then(|by| by.iam).and_then(|iam| iam.user_arn),
        })
    }

    /// Whether the path has the form of the route. IAM has judged the route that API Gateway found:
    /// of `/users/1%2Ftoken` that is another one than the path says once it is decoded.
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

    /// The cookies, as the operations take them.
    #[must_use]
    pub fn cookies(&self) -> Vec<&str> {
        self.cookies.iter().map(String::as_str).collect()
    }
}

fn origin(headers: &HashMap<String, String>) -> Option<OriginProof> {
    let (_, text) = headers.iter().find(|(name, _)| name.eq_ignore_ascii_case(ORIGIN))?;
    Some(OriginProof::new(text))
}

fn is_prefetch(headers: &HashMap<String, String>) -> bool {
    headers.iter().any(|(name, value)| {
        let value = value.to_ascii_lowercase();
        AHEAD.iter().any(|ahead| name.eq_ignore_ascii_case(ahead))
            && AHEAD_WORDS.iter().any(|word| value.contains(word))
    })
}
