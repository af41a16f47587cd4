//! Answers of 500 and more: each function classifies its own as by design or not.

use devstack::{Stack, StackOptions};
use http::{Method, Response};
use jiff::Timestamp;
use threads_auth::{Config, ThreadsAuth};
use threads_auth_web::{HttpRequest, ServerError};
use threads_sandbox::{FaultAction, SandboxCall};

use crate::fixture::{Browser, DAY, START, account, fail, options};

/// A request of the app's backend, of Meta's or of a browser.
pub(crate) fn request(method: &Method, path: &str, body: &str) -> HttpRequest {
    HttpRequest {
        method: method.clone(),
        path: path.to_owned(),
        route: format!("{method} {path}"),
        raw_query: String::new(),
        cookies: Vec::new(),
        body: body.as_bytes().to_vec(),
        request_id: "request".to_owned(),
        is_prefetch: false,
        accept_language: String::new(),
        origin: None,
        caller: Some("arn:aws:iam::123456789012:user/backend".to_owned()),
    }
}

/// The service of a stack, some of whose parts have other names.
fn service(stack: &Stack, variables: &[(&str, &str)]) -> ThreadsAuth {
    let mut all = stack.variables().clone();
    all.extend(variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    ThreadsAuth::new(Config::from_vars(&all, None).unwrap()).unwrap()
}

/// The functions, each with a request that needs the store or the secrets.
async fn all(service: &ThreadsAuth, ada: &str, now: Timestamp) -> [(&'static str, Response<String>); 8] {
    let (get, post) = (&Method::GET, &Method::POST);
    let session = r#"{"reference":"user-1","return_to":"https://app.example/"}"#;
    let signed = "signed_request=a.b";
    let code = "0".repeat(32);
    let with_query =
        |path: &str, query: &str| HttpRequest { raw_query: query.to_owned(), ..request(get, path, "") };
    [
        ("authorize", authorize::handle(service, &request(get, "/authorize", ""), now).await),
        ("callback", callback::handle(service, &with_query("/callback", "code=a&state=b"), now).await),
        ("deauthorize", deauthorize::handle(service, &request(post, "/deauthorize", signed), now).await),
        ("deletion", deletion::handle(service, &request(post, "/data-deletion", signed), now).await),
        (
            "deletion's page",
            deletion::handle(service, &request(get, &format!("/data-deletion/{code}"), ""), now).await,
        ),
        ("sessions", sessions::handle(service, &request(post, "/sessions", session), now).await),
        ("token", token::handle(service, &request(get, &format!("/users/{ada}/token"), ""), now).await),
        ("token's list", token::handle(service, &request(get, "/users", ""), now).await),
    ]
}

async fn stack() -> Stack {
    let variables = [("RETURN_TO_ALLOWLIST", "https://app.example/")];
    Stack::start(StackOptions { ..options(START.parse().unwrap(), &variables) }).await.unwrap()
}

#[tokio::test]
async fn what_has_failed_is_unexpected_in_each_function() {
    let stack = stack().await;
    let ada = account(&stack, "ada");
    Browser::new().connect(&stack, &ada).await;
    let now = stack.clock().now();
    let gone = [
        ("APP_SECRET_ID", "gone"),
        ("KEYRING_SECRET_ID", "gone"),
        ("GRANTS_TABLE", "gone"),
        ("SHORT_LIVED_TABLE", "gone"),
    ];
    for (name, answer) in all(&service(&stack, &gone), &ada, now).await {
        assert_eq!(ServerError::of(&answer), Some(ServerError::Unexpected), "{name}: {answer:?}");
    }
    for (name, answer) in all(&service(&stack, &[]), &ada, now).await {
        assert_eq!(ServerError::of(&answer), None, "{name}: {answer:?}");
    }
}

#[tokio::test]
async fn what_is_put_off_by_design_is_later() {
    let stack = stack().await;
    let ada = account(&stack, "ada");
    Browser::new().connect(&stack, &ada).await;
    // Meta fails just when the token has to be extended.
    stack.clock().advance(50 * DAY);
    fail(&stack, SandboxCall::Refresh, u32::MAX, FaultAction::Html);
    let (service, now) = (service(&stack, &[]), stack.clock().now());
    let ahead = |path: &str| HttpRequest { is_prefetch: true, ..request(&Method::GET, path, "") };
    let not_extended = HttpRequest {
        raw_query: "min_valid=2592000".to_owned(),
        ..request(&Method::GET, &format!("/users/{ada}/token"), "")
    };
    for answer in [
        authorize::handle(&service, &ahead("/authorize"), now).await,
        callback::handle(&service, &ahead("/callback"), now).await,
        token::handle(&service, &not_extended, now).await,
    ] {
        assert_eq!(answer.status(), 503, "{answer:?}");
        assert!(answer.headers().contains_key("retry-after"), "{answer:?}");
        assert_eq!(ServerError::of(&answer), Some(ServerError::Later), "{answer:?}");
    }
}
