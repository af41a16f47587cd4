//! The faults of single calls: every kind that Meta documents or that people report of it, and
//! every class of AWS's errors.

use axum::body::{Body, Bytes};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderValue, Response, StatusCode};
use futures_util::stream;

use crate::chance::Chance;

/// The fault of one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// This answer, and nothing is done.
    Answer(u16, &'static str),
    /// The connection breaks, and nothing is done.
    Gone,
    /// It is done, and the answer is cut off.
    Lost,
    /// It is done twice, and the second answer is returned.
    Twice,
}

const HTML: &str = "<!doctype html><title>Sorry, something went wrong.</title>";

macro_rules! graph_error {
    ($code:literal) => {
        graph_error!($code, "An error occurred")
    };
    ($code:literal, $message:literal) => {
        concat!(
            r#"{"error":{"message":""#,
            $message,
            r#"","type":"OAuthException","code":"#,
            $code,
            r#","fbtrace_id":"AbC"}}"#
        )
    };
}

/// Answers of Meta's to a call that nothing is wrong with.
const THREADS: [Fault; 26] = [
    Fault::Gone,
    Fault::Lost,
    Fault::Answer(500, graph_error!("1", "An unknown error occurred")),
    Fault::Answer(400, graph_error!("2", "Service temporarily unavailable")),
    Fault::Answer(400, graph_error!("-1")),
    Fault::Answer(400, graph_error!("803")),
    Fault::Answer(400, graph_error!("452")),
    Fault::Answer(400, graph_error!("101", "Error validating application")),
    Fault::Answer(400, graph_error!("100", "Unsupported get request")),
    Fault::Answer(
        400,
        r#"{"error":{"message":"(#24) x","type":"OAuthException","code":24,"error_subcode":2207006}}"#,
    ),
    Fault::Answer(400, graph_error!("10", "(#10) Application does not have permission for this action")),
    Fault::Answer(400, graph_error!("200", "API access blocked.")),
    Fault::Answer(400, graph_error!("190", "Application has been deleted")),
    Fault::Answer(400, graph_error!("190", "Invalid OAuth access token - Cannot parse access token")),
    Fault::Answer(429, graph_error!("4", "Application request limit reached")),
    Fault::Answer(400, graph_error!("613", "Calls to this api have exceeded the rate limit.")),
    Fault::Answer(400, graph_error!("368", "The action attempted has been deemed abusive")),
    Fault::Answer(400, r#"{"error":"a text"}"#),
    Fault::Answer(200, ""),
    Fault::Answer(200, "[]"),
    Fault::Answer(200, r#"{"error":null}"#),
    Fault::Answer(401, HTML),
    Fault::Answer(403, ""),
    Fault::Answer(502, HTML),
    Fault::Answer(503, ""),
    Fault::Answer(301, ""),
];

/// DynamoDB's faults. It refuses no single item, since that does not happen by accident.
const DYNAMODB: [Fault; 12] = [
    Fault::Gone,
    Fault::Lost,
    Fault::Twice,
    Fault::Answer(
        400,
        r#"{"__type":"com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException"}"#,
    ),
    Fault::Answer(400, r#"{"__type":"com.amazon.coral.availability#ThrottlingException"}"#),
    Fault::Answer(400, r#"{"__type":"com.amazonaws.dynamodb.v20120810#RequestLimitExceeded"}"#),
    Fault::Answer(500, r#"{"__type":"com.amazonaws.dynamodb.v20120810#InternalServerError"}"#),
    Fault::Answer(503, r#"{"__type":"com.amazon.coral.availability#ServiceUnavailable"}"#),
    Fault::Answer(400, r#"{"__type":"com.amazon.coral.service#AccessDeniedException"}"#),
    Fault::Answer(400, r#"{"__type":"com.amazon.coral.service#ExpiredTokenException"}"#),
    Fault::Answer(400, r#"{"__type":"com.amazon.coral.service#UnrecognizedClientException"}"#),
    Fault::Answer(400, r#"{"__type":"com.amazon.coral.service#InvalidSignatureException"}"#),
];

/// An index that is throttled.
pub(crate) const THROTTLED: Fault = DYNAMODB[3];

/// Refusals that no client retries, so that a long outage of the store takes no time.
pub(crate) const DOWN: [Fault; 3] = [DYNAMODB[8], DYNAMODB[10], DYNAMODB[11]];

pub(crate) const SECRETS_DENIED: Fault = Fault::Answer(400, r#"{"__type":"AccessDeniedException"}"#);
pub(crate) const SECRETS_EXPIRED: Fault = Fault::Answer(400, r#"{"__type":"ExpiredTokenException"}"#);
pub(crate) const SECRETS_SIGNATURE: Fault = Fault::Answer(400, r#"{"__type":"InvalidSignatureException"}"#);
pub(crate) const SECRETS_INTERNAL: Fault = Fault::Answer(500, r#"{"__type":"InternalServiceError"}"#);
pub(crate) const SECRETS_MALFORMED: Fault = Fault::Answer(
    200,
    r#"{"ARN":"arn:aws:secretsmanager:us-east-1:123456789012:secret:x","Name":"x","VersionId":"1","SecretString":"not it"}"#,
);

const SECRETS: [Fault; 7] = [
    Fault::Gone,
    Fault::Lost,
    SECRETS_DENIED,
    SECRETS_EXPIRED,
    SECRETS_INTERNAL,
    Fault::Answer(400, r#"{"__type":"DecryptionFailure"}"#),
    Fault::Answer(400, r#"{"__type":"LimitExceededException"}"#),
];

/// A service that the product calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Upstream {
    Threads,
    DynamoDb,
    SecretsManager,
}

impl Upstream {
    /// Returns one of its faults.
    pub(crate) fn fault(self, chance: Chance, what: &str, person: u64, nth: u64) -> Fault {
        match self {
            Self::Threads => chance.pick(&THREADS, what, person, nth),
            Self::DynamoDb => chance.pick(&DYNAMODB, what, person, nth),
            Self::SecretsManager => chance.pick(&SECRETS, what, person, nth),
        }
    }

    fn content_type(self) -> &'static str {
        match self {
            Self::Threads => "application/json",
            Self::DynamoDb => "application/x-amz-json-1.0",
            Self::SecretsManager => "application/x-amz-json-1.1",
        }
    }

    pub(crate) fn answer(self, status: u16, body: &'static str) -> Response<Body> {
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = StatusCode::from_u16(status).unwrap_or_default();
        let content_type = if body == HTML { "text/html" } else { self.content_type() };
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        if status == 301 {
            response.headers_mut().insert("location", HeaderValue::from_static("https://moved.invalid/"));
        }
        response
    }
}

/// Returns a response whose body ends early, so that the client sees a broken connection.
pub(crate) fn broken() -> Response<Body> {
    let pieces = [Ok(Bytes::from_static(b"{")), Err(std::io::Error::other("the connection broke"))];
    Response::new(Body::from_stream(stream::iter(pieces)))
}
