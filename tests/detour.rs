//! Requests that walk around CloudFront, to the API's own address.

use jiff::Timestamp;
use reqwest::header::{HeaderMap, HeaderValue};
use reqwest::{Method, StatusCode};
use serde_json::Value;

use devstack::Stack;

use crate::fixture::{Browser, Reply, account, calls, options, rows, stack};
use crate::iam;

const HEADER: &str = "x-threads-auth-origin";
const SENT: &str = "canary-sent-0123456789abcdefghijklm";
const ACCEPTED: &str = "canary-next-0123456789abcdefghijklm";

/// A stack behind CloudFront, amid a change of its secret.
async fn stack_with_edge() -> Stack {
    let secrets = format!("{SENT},{ACCEPTED}");
    let start: Timestamp = stack().await.clock().now();
    Stack::start(options(start, &[("ORIGIN_SECRETS", &secrets)])).await.unwrap()
}

/// The routes of the template as requests, each with true if it requires a signature.
fn routes() -> Vec<(Method, String, bool)> {
    let template = include_str!("../infra/template.yaml");
    let mut lines = template.lines().map(str::trim);
    let mut routes = Vec::new();
    while let Some(line) = lines.next() {
        let Some(key) = line.strip_prefix("RouteKey: ") else { continue };
        let is_signed = match lines.next().unwrap() {
            "AuthorizationType: AWS_IAM" => true,
            "AuthorizationType: NONE" => false,
            other => panic!("{other}"),
        };
        let (method, path) = key.split_once(' ').unwrap_or(("PUT", "/nowhere"));
        let path = path.replace("{proxy+}", "").replace(['{', '}'], "");
        routes.push((method.parse().unwrap(), path, is_signed));
    }
    routes
}

async fn ask(stack: &Stack, method: &Method, path: &str, headers: &[&str]) -> Reply {
    let url = format!("{}{path}", stack.urls().service_url);
    let headers: HeaderMap = headers
        .iter()
        .map(|value| (HEADER.parse().unwrap(), HeaderValue::from_str(value).unwrap()))
        .collect();
    Browser::new().send(method.clone(), &url, headers, String::new()).await
}

/// A fixed response, without a link or a cookie.
fn assert_refused(reply: &Reply, method: &Method, path: &str) {
    assert_eq!(reply.status, StatusCode::FORBIDDEN, "{method} {path}: {reply:?}");
    assert!(
        !reply.headers.contains_key("set-cookie") && !reply.headers.contains_key("location"),
        "{reply:?}"
    );
    assert_eq!(reply.headers["cache-control"], "no-store");
    assert!(!reply.body.contains("canary") && !reply.body.contains("<a "), "{reply:?}");
    if reply.headers["content-type"] == "text/html; charset=utf-8" {
        assert!(method == Method::HEAD || reply.is_page("detour"), "{reply:?}");
    } else {
        let body: Value = serde_json::from_str(&reply.body).unwrap();
        assert_eq!(body["error"]["code"], "forbidden", "{method} {path}");
    }
}

#[tokio::test]
async fn public_routes_answer_only_what_came_through_cloudfront() {
    let (stack, plain) = (stack_with_edge().await, stack().await);
    let before = rows(&stack).await;
    let wrong = [vec![], vec![""], vec!["-"], vec!["x"], vec![&SENT[1..]], vec!["x", SENT], vec![SENT, SENT]];
    let (mut refused, mut public) = (0, 0);
    for (method, path, is_signed) in routes() {
        if is_signed {
            continue;
        }
        public += 1;
        for headers in &wrong {
            assert_refused(&ask(&stack, &method, &path, headers).await, &method, &path);
            refused += 1;
        }
        let expected = ask(&plain, &method, &path, &[]).await;
        for secret in [SENT, ACCEPTED] {
            let reply = ask(&stack, &method, &path, &[secret]).await;
            assert_eq!(reply.status, expected.status, "{method} {path}: {reply:?}");
            assert!(!reply.is_page("detour"), "{method} {path}");
        }
    }
    assert_eq!((rows(&stack).await, calls(&stack), public), (before, 0, 9));
    println!(
        "threat way-around-the-edge: {refused} requests around CloudFront: 403, 0 writes, 0 calls to Meta"
    );
}

#[tokio::test]
async fn signed_routes_are_called_at_the_apis_own_address() {
    let (stack, plain) = (stack_with_edge().await, stack().await);
    let mut signed = 0;
    for (method, path, is_signed) in routes() {
        if !is_signed {
            continue;
        }
        signed += 1;
        let body = if method == Method::POST { "{}" } else { "" };
        let reply = iam::call(&stack, method.clone(), &path, body).await;
        let expected = iam::call(&plain, method.clone(), &path, body).await;
        assert_ne!(reply.status, StatusCode::FORBIDDEN, "{method} {path}");
        assert_eq!((reply.status, reply.body), (expected.status, expected.body), "{method} {path}");
        // The secret is not a signature.
        let unsigned = ask(&stack, &method, &path, &[SENT]).await;
        assert_eq!(unsigned.status, StatusCode::FORBIDDEN, "{method} {path}");
    }
    assert_eq!(signed, 8);
}

#[tokio::test]
async fn a_login_that_has_begun_cannot_be_finished_around_cloudfront() {
    let stack = stack_with_edge().await;
    let through = [SENT];
    let begun = ask(&stack, &Method::GET, "/authorize", &through).await;
    assert_eq!(begun.status, StatusCode::FOUND, "{begun:?}");
    let cookie = begun.headers["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned();
    let consent =
        format!("{}&auto_approve={}", begun.headers["location"].to_str().unwrap(), account(&stack, "ada"));
    let approved = Browser::new().send(Method::GET, &consent, HeaderMap::new(), String::new()).await;
    let back = approved.headers["location"].to_str().unwrap().split('#').next().unwrap().to_owned();
    let mut headers = HeaderMap::new();
    headers.insert("cookie", HeaderValue::from_str(&cookie).unwrap());
    let before = (rows(&stack).await, calls(&stack));
    let around = Browser::new().send(Method::GET, &back, headers.clone(), String::new()).await;
    assert_refused(&around, &Method::GET, "/callback");
    assert_eq!((rows(&stack).await, calls(&stack)), before);
    headers.insert(HEADER, HeaderValue::from_static(ACCEPTED));
    let finished = Browser::new().send(Method::GET, &back, headers, String::new()).await;
    assert_eq!(finished.status, StatusCode::SEE_OTHER, "{finished:?}");
}
