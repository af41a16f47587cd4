//! IAM authorization at the gateway: who may call the API for the app's backend.

use std::time::SystemTime;

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use devstack::{Clock, Stack, Urls};
use jiff::Timestamp;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, StatusCode};

use crate::fixture::{Browser, DAY, Reply, stack};

/// Calls the API for the app's backend, signed as requested.
pub(crate) async fn call(stack: &Stack, method: Method, path: &str, body: &str) -> Reply {
    call_at(stack, method, path, body, Clock::system().now()).await
}

async fn call_at(stack: &Stack, method: Method, path: &str, body: &str, at: Timestamp) -> Reply {
    let url = format!("{}{path}", stack.urls().service_url);
    let headers = signed(stack.urls(), "execute-api", &method, &url, &[], body, at);
    Browser::new().send(method, &url, headers, body.to_owned()).await
}

/// The signature of a request to one of a stack's services, over `headers` too, which are not among
/// those that it gives.
pub(crate) fn signed(
    urls: &Urls,
    service: &str,
    method: &Method,
    url: &str,
    headers: &[(&str, &str)],
    body: &str,
    at: Timestamp,
) -> HeaderMap {
    let identity = Credentials::new(&urls.access_key_id, &urls.secret_access_key, None, None, "test").into();
    let params = v4::SigningParams::builder()
        .identity(&identity)
        .region(&urls.region)
        .name(service)
        .time(SystemTime::try_from(at).unwrap())
        .settings(SigningSettings::default())
        .build()
        .unwrap()
        .into();
    let signable = SignableBody::Bytes(body.as_bytes());
    let signable = SignableRequest::new(method.as_str(), url, headers.iter().copied(), signable).unwrap();
    let (signed, _) = sign(signable, &params).unwrap().into_parts();
    signed
        .headers()
        .map(|(name, value)| {
            let name: HeaderName = name.parse().unwrap();
            (name, HeaderValue::from_str(value).unwrap())
        })
        .collect()
}

fn is_gateways(reply: &Reply, status: StatusCode, message: &str) {
    assert_eq!(reply.status, status);
    assert_eq!(reply.body, format!(r#"{{"message":"{message}"}}"#));
    assert_eq!(reply.headers["content-type"], "application/json");
    assert!(!reply.headers["apigw-requestid"].is_empty());
}

#[tokio::test]
async fn only_signed_requests_reach_the_private_api() {
    let stack = stack().await;
    let unsigned = async |method: Method, path: &str| {
        let url = format!("{}{path}", stack.urls().service_url);
        Browser::new().send(method, &url, HeaderMap::new(), String::new()).await
    };
    for (method, path) in [
        (Method::POST, "/sessions"),
        (Method::GET, "/sessions/a"),
        (Method::POST, "/sessions/a/complete"),
        (Method::GET, "/users?d=e%2Ff&d=g"),
        (Method::GET, "/users/a"),
        (Method::DELETE, "/users/a"),
        (Method::GET, "/users/a/token"),
    ] {
        is_gateways(&unsigned(method.clone(), path).await, StatusCode::FORBIDDEN, "Forbidden");
        let signed = call(&stack, method, path, "{}").await;
        assert!(!signed.headers.contains_key("apigw-requestid"), "{path}: {}", signed.body);
    }
}

#[tokio::test]
async fn signatures_are_judged_by_the_real_time() {
    let stack = stack().await;
    stack.clock().advance(DAY);
    let signed = call(&stack, Method::GET, "/users", "").await;
    assert_eq!(signed.status, StatusCode::OK);
    let now = stack.clock().now();
    let virtually = call_at(&stack, Method::GET, "/users", "", now).await;
    is_gateways(&virtually, StatusCode::FORBIDDEN, "Forbidden");
}
