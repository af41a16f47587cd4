//! Tools to make an attack, and to see that it has done nothing.

use devstack::Stack;
use jiff::Timestamp;
use reqwest::Method;
use threads_auth::ThreadsAuth;
use threads_auth_model::Session;
use threads_auth_web::HttpRequest;

use crate::connect::new_session;
use crate::fixture::{Browser, Reply, calls, invoke_function, rows};

/// Invokes a function in this process, past the gateway: what hostile bytes become at API Gateway
/// is one char each.
pub(super) async fn invoke(stack: &Stack, path: &str, raw_query: &str, cookies: &[String]) -> Reply {
    invoke_at(stack.service(), stack.clock().now(), path, raw_query, cookies).await
}

/// The same of another service, at another time.
pub(crate) async fn invoke_at(
    service: &ThreadsAuth,
    now: Timestamp,
    path: &str,
    raw_query: &str,
    cookies: &[String],
) -> Reply {
    let request = HttpRequest {
        method: Method::GET,
        path: path.to_owned(),
        route: String::new(),
        raw_query: raw_query.to_owned(),
        cookies: cookies.to_vec(),
        body: Vec::new(),
        request_id: "test".to_owned(),
        is_prefetch: false,
        accept_language: String::new(),
        origin: None,
        caller: None,
    };
    invoke_function(service, now, &request).await
}

pub(crate) fn cookies(browser: &Browser) -> Vec<String> {
    browser.jar.iter().map(|(name, value)| format!("{name}={value}")).collect()
}

/// Every text that differs in one bit, as API Gateway would hand it on.
pub(super) fn flips(text: &str) -> impl Iterator<Item = String> {
    let bytes = text.as_bytes();
    (0..bytes.len() * 8).map(move |bit| {
        let flip =
            |(n, byte): (usize, &u8)| char::from(if n == bit / 8 { byte ^ (1 << (bit % 8)) } else { *byte });
        bytes.iter().enumerate().map(flip).collect()
    })
}

pub(super) async fn session(stack: &Stack, reference: &str) -> Session {
    stack.service().create_session(new_session(reference), stack.clock().now()).await.unwrap()
}

/// Nobody was asked, and nothing was written.
pub(super) async fn assert_untouched(stack: &Stack) {
    assert_eq!(calls(stack), 0);
    assert_eq!(rows(stack).await, []);
}
