//! The API for the app's backend: connect sessions, accounts and their tokens, called with real
//! signatures.

use std::collections::BTreeSet;
use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine};
use devstack::Stack;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use threads_auth::RefreshOutcome;
use threads_auth_model::rules::{Lease, LeaseReason};
use threads_auth_model::{Key, Status};
use threads_auth_store::PageRequest;
use threads_auth_web::HttpRequest;
use threads_sandbox::{FaultAction, OldToken, SandboxCall};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::fixture::{
    Browser, DAY, HOLD, LEASE, Reply, SHORT_WAIT, account, calls, calls_of, connect_people, connect_private,
    connected_ada, fail, faults_struck, grant, is_usable, parameter, respond, set_attribute, stack,
    stack_of_ada, stack_with, token,
};
use crate::iam;

/// Calls the API, and reads its answer.
async fn api(stack: &Stack, method: Method, path: &str, body: &Value) -> (StatusCode, Value, Reply) {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let reply = iam::call(stack, method, path, &body).await;
    let answer = serde_json::from_str(&reply.body).unwrap_or_else(|_| panic!("{path}: no JSON: {reply:?}"));
    (reply.status, answer, reply)
}

async fn get(stack: &Stack, path: &str) -> (StatusCode, Value, Reply) {
    api(stack, Method::GET, path, &Value::Null).await
}

async fn post(stack: &Stack, path: &str, body: Value) -> (StatusCode, Value) {
    let (status, answer, _) = api(stack, Method::POST, path, &body).await;
    (status, answer)
}

async fn vend(stack: &Stack, user_id: &str, query: &str) -> (StatusCode, Value, Reply) {
    get(stack, &format!("/users/{user_id}/token{query}")).await
}

/// A session for one of the backend's users, entered and finished by a browser: its id and the
/// completion code.
pub(crate) async fn finished(stack: &Stack, body: Value, user_id: &str) -> (String, String) {
    let (status, session) = post(stack, "/sessions", body).await;
    assert_eq!(status, StatusCode::CREATED, "{session}");
    let id = session["id"].as_str().unwrap().to_owned();
    let mut browser = Browser::new();
    let back = browser.consent(stack, &format!("session={id}"), user_id).await;
    let location = browser.get(back.as_str()).await.location();
    assert_eq!(parameter(&location, "session_id"), id);
    (id, parameter(&location, "completion"))
}

pub(crate) fn new(reference: &str) -> Value {
    json!({"reference": reference, "return_to": "http://127.0.0.1:4000/done"})
}

/// The body of a completion for the user who is logged in.
pub(crate) fn completion(code: &str, logged_in: &str) -> Value {
    json!({"completion": code, "reference": logged_in})
}

fn of_account(reference: &str, user_id: &str) -> Value {
    let mut body = new(reference);
    body["user_id"] = user_id.into();
    body
}

fn lasting(seconds: i64) -> Value {
    let mut body = new("r");
    body["expires_in"] = seconds.into();
    body
}

fn retry_after(reply: &Reply) -> u64 {
    reply.headers["retry-after"].to_str().unwrap().parse().unwrap()
}

#[tokio::test]
async fn a_scope_that_is_not_known_is_asked_for_and_named() {
    let new = "threads_new_permission";
    let stack = stack_with(&[("THREADS_SCOPES", "threads_basic,threads_of_the_service")]).await;
    let asked = |scopes: Value| {
        let mut body = crate::backend::new("x");
        body["scopes"] = scopes;
        body
    };
    let body = asked(json!([new, "threads_basic", "threads_delete"]));
    let (status, session) = post(&stack, "/sessions", body).await;
    assert_eq!((status, &session["unknown_scopes"]), (StatusCode::CREATED, &json!([new])));
    let at_meta = Browser::new().get(session["url"].as_str().unwrap()).await.location();
    assert_eq!(parameter(&at_meta, "scope"), "threads_basic,threads_delete,threads_new_permission");
    // Scopes that the service requests by itself are named as well.
    let (_, session) = post(&stack, "/sessions", crate::backend::new("x")).await;
    assert_eq!(session["unknown_scopes"], json!(["threads_of_the_service"]));
    let many = |count: u8| {
        let names = (0..count).map(|n| format!("threads_{}", "x".repeat(usize::from(n) + 1)));
        asked(json!(names.collect::<Vec<_>>()))
    };
    assert_eq!(post(&stack, "/sessions", many(31)).await.0, StatusCode::CREATED);
    for (refused, said) in [
        (many(32), "more than 32 scopes"),
        (asked(json!(["threads_New"])), ""),
        (asked(json!(["new_permission"])), ""),
        (asked(json!([format!("threads_{}", "x".repeat(49))])), ""),
    ] {
        let (status, answer) = post(&stack, "/sessions", refused).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{answer}");
        assert!(answer["error"]["message"].as_str().unwrap().contains(said), "{answer}");
    }
    // An open link may request known scopes, and those of the configuration.
    for (scopes, expected) in [
        ("threads_delete", StatusCode::FOUND),
        ("threads_of_the_service", StatusCode::FOUND),
        (new, StatusCode::BAD_REQUEST),
        ("threads_basic,threads_new_permission", StatusCode::BAD_REQUEST),
    ] {
        let url = format!("{}/authorize?scopes={scopes}", stack.urls().service_url);
        assert_eq!(Browser::new().get(&url).await.status, expected, "{scopes}");
    }
}

#[tokio::test]
async fn a_row_with_a_scope_that_is_not_known_is_vended_and_refreshed() {
    let (stack, ada) = connected_ada().await;
    let scopes = "threads_basic,threads_new_permission";
    set_attribute(&stack, &ada, "scopes", AttributeValue::S(scopes.to_owned())).await;
    let (status, vended, _) = vend(&stack, &ada, "").await;
    assert_eq!((status, &vended["scopes"]), (StatusCode::OK, &json!(scopes.split(',').collect::<Vec<_>>())));
    // Meta's answer to an inspection counts, and it may have the name as well.
    fail(&stack, SandboxCall::DebugToken, u32::MAX, FaultAction::Html);
    let before = token(&stack, &ada).await;
    stack.clock().advance(45 * DAY);
    stack.sweep().await.unwrap();
    assert_ne!(token(&stack, &ada).await, before);
    assert_eq!(grant(&stack, &ada).await.scopes.to_string(), scopes);
}

#[tokio::test]
async fn a_session_from_its_start_to_its_completion() {
    let (stack, ada) = stack_of_ada().await;
    let body = json!({"reference": "user-7", "return_to": "http://127.0.0.1:4000/done", "expires_in": 600,
        "scopes": ["threads_content_publish"]});
    let (status, session) = post(&stack, "/sessions", body).await;
    assert_eq!(status, StatusCode::CREATED);
    let id = session["id"].as_str().unwrap();
    assert_eq!(
        session,
        json!({"id": id, "url": format!("{}/authorize?session={id}", stack.urls().service_url),
            "expires_at": "2041-01-01T00:10:00Z", "status": "open", "unknown_scopes": []})
    );
    let path = format!("/sessions/{id}");
    let view = |status: &str| json!({"id": id, "status": status, "reason": null, "expires_at": "2041-01-01T00:10:00Z"});
    assert_eq!(get(&stack, &path).await.1, view("open"));
    let early = post(&stack, &format!("{path}/complete"), completion("x", "user-7")).await;
    assert_eq!(early.0, StatusCode::CONFLICT);
    assert_eq!(early.1["error"]["code"], "session_not_connected");

    let mut browser = Browser::new();
    let back = browser.consent(&stack, &format!("session={id}"), &ada).await;
    let location = browser.get(back.as_str()).await.location();
    let code = parameter(&location, "completion");
    // The session shows that somebody came back, but not who.
    let (_, shown, reply) = get(&stack, &path).await;
    assert_eq!(shown, view("connected"));
    assert!(!reply.body.contains(&ada) && !reply.body.contains("ada\""));

    let complete = format!("{path}/complete");
    let wrong = post(&stack, &complete, completion(&"A".repeat(43), "user-7")).await;
    assert_eq!((wrong.0, &wrong.1["error"]["code"]), (StatusCode::FORBIDDEN, &json!("wrong_completion")));
    // Another user is logged in: the code stays valid.
    let other = post(&stack, &complete, completion(&code, "user-8")).await;
    assert_eq!((other.0, &other.1["error"]["code"]), (StatusCode::FORBIDDEN, &json!("wrong_reference")));
    assert!(!other.1.to_string().contains(&ada), "{}", other.1);
    let done = post(&stack, &complete, completion(&code, "user-7")).await;
    let expires_at = grant(&stack, &ada).await.live().unwrap().expires_at;
    assert_eq!(
        done,
        (
            StatusCode::OK,
            json!({"status": "connected", "user_id": ada, "username": "ada",
                "scopes": ["threads_basic", "threads_content_publish"], "expires_at": expires_at})
        )
    );
    // The response may have been lost: for ten minutes the same call, and no other, gets it again.
    for _ in 0..3 {
        assert_eq!(post(&stack, &complete, completion(&code, "user-7")).await, done);
    }
    assert_eq!(post(&stack, &complete, completion(&code, "user-8")).await.0, StatusCode::FORBIDDEN);
    assert_eq!(post(&stack, &complete, completion("x", "user-7")).await.0, StatusCode::FORBIDDEN);
    stack.clock().advance(Duration::from_secs(599));
    assert_eq!(post(&stack, &complete, completion(&code, "user-7")).await, done);
    stack.clock().advance(Duration::from_secs(1));
    let again = post(&stack, &complete, completion(&code, "user-7")).await;
    assert_eq!(
        (again.0, &again.1["error"]["code"]),
        (StatusCode::CONFLICT, &json!("session_completed_before"))
    );
    // A settled session stays so.
    stack.clock().advance(Duration::from_mins(1));
    assert_eq!(get(&stack, &path).await.1["status"], "connected");
    let endless = get(&stack, &format!("/sessions/{}", "A".repeat(4_000))).await;
    assert_eq!(endless.0, StatusCode::NOT_FOUND);
    let unknown = get(&stack, "/sessions/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA").await;
    assert_eq!((unknown.0, &unknown.1["error"]["code"]), (StatusCode::NOT_FOUND, &json!("session_unknown")));
}

/// A completion that is repeated within its ten minutes does not show an account that belongs to
/// another user by now.
#[tokio::test]
async fn a_repeated_completion_shows_no_account_of_another_user() {
    let (stack, ada) = stack_of_ada().await;
    let (id, code) = finished(&stack, new("user-7"), &ada).await;
    let path = format!("/sessions/{id}/complete");
    assert_eq!(post(&stack, &path, completion(&code, "user-7")).await.0, StatusCode::OK);
    let now = stack.clock().now();
    stack.service().assign(&ada.parse().unwrap(), Some("user-8"), now).await.unwrap();
    let (status, answer) = post(&stack, &path, completion(&code, "user-7")).await;
    assert_eq!(
        (status, &answer["error"]["code"]),
        (StatusCode::CONFLICT, &json!("session_completed_before"))
    );
    assert!(!answer.to_string().contains(&ada), "{answer}");
}

#[tokio::test]
async fn a_session_tells_how_it_went() {
    let stack = stack().await;
    let (ada, grace) = (account(&stack, "ada"), account(&stack, "grace"));
    let (_, session) = post(&stack, "/sessions", of_account("r", &ada)).await;
    let id = session["id"].as_str().unwrap();
    let path = format!("/sessions/{id}");
    let standing = async || {
        let (_, view, _) = get(&stack, &path).await;
        (view["status"].as_str().unwrap().to_owned(), view["reason"].as_str().map(str::to_owned))
    };
    let is = |status: &str, reason: &str| (status.to_owned(), Some(reason.to_owned()));
    let query = format!("session={id}");

    let mut browser = Browser::new();
    let started = browser.get(&format!("{}/authorize?{query}", stack.urls().service_url)).await;
    let mut at_meta = started.location();
    let state = parameter(&at_meta, "state");
    at_meta.query_pairs_mut().append_pair("auto_deny", "1");
    let denied = Browser::new().get(at_meta.as_str()).await.location();
    browser.get(&format!("{denied}&state={state}")).await;
    assert_eq!(standing().await, is("denied", "user_denied"));

    let back = browser.consent(&stack, &query, &grace).await;
    browser.get(back.as_str()).await;
    assert_eq!(standing().await, is("failed", "wrong_account"));

    fail(&stack, SandboxCall::ExchangeCode, 2, FaultAction::Html);
    let back = browser.consent(&stack, &query, &ada).await;
    browser.get(back.as_str()).await;
    assert_eq!(standing().await, is("failed", "threads_unavailable"));

    // None of it keeps the right person from connecting after all.
    let back = browser.consent(&stack, &query, &ada).await;
    assert_eq!(browser.get(back.as_str()).await.status, StatusCode::SEE_OTHER);
    assert_eq!(standing().await, ("connected".to_owned(), None));
    // A late callback changes nothing.
    let late = browser.get(&format!("{denied}&state={}", parameter(&back, "state"))).await;
    assert_eq!(parameter(&late.location(), "status"), "denied");
    assert_eq!(standing().await, ("connected".to_owned(), None));
    // Nobody redeemed it in time.
    stack.clock().advance(Duration::from_mins(31));
    assert_eq!(standing().await.0, "expired");

    let (_, session) = post(&stack, "/sessions", new("r")).await;
    stack.clock().advance(Duration::from_mins(31));
    let path = format!("/sessions/{}", session["id"].as_str().unwrap());
    assert_eq!(get(&stack, &path).await.1["status"], "expired");
    let late = post(&stack, &format!("{path}/complete"), completion("x", "r")).await;
    assert_eq!((late.0, &late.1["error"]["code"]), (StatusCode::GONE, &json!("session_expired")));
}

#[tokio::test]
async fn a_consent_whose_token_is_still_to_come_is_said_to_be() {
    let (stack, ada) = stack_of_ada().await;
    fail(&stack, SandboxCall::ExchangeLongLived, 3, FaultAction::Html);
    let (id, code) = finished(&stack, new("r"), &ada).await;
    let (status, done) = post(&stack, &format!("/sessions/{id}/complete"), completion(&code, "r")).await;
    assert_eq!((status, &done["status"], &done["user_id"]), (StatusCode::OK, &json!("pending"), &json!(ada)));
    // A request for its token completes it at once: in vain, and then it is not retried at once.
    let (status, answer, reply) = vend(&stack, &ada, "").await;
    assert_eq!((status, &answer["error"]["code"]), (StatusCode::SERVICE_UNAVAILABLE, &json!("pending")));
    assert!((1..=60).contains(&retry_after(&reply)));
    let tried = calls_of(&stack, SandboxCall::ExchangeLongLived);
    assert_eq!(vend(&stack, &ada, "").await.1["error"]["code"], "pending");
    assert_eq!(calls_of(&stack, SandboxCall::ExchangeLongLived), tried);
    stack.clock().advance(Duration::from_mins(2));
    let (status, vended, _) = vend(&stack, &ada, "").await;
    assert_eq!(status, StatusCode::OK, "{vended}");
    assert_eq!(grant(&stack, &ada).await.status(), Status::Active);
    assert!(is_usable(&stack, vended["access_token"].as_str().unwrap()).await);
}

#[tokio::test]
async fn a_deletion_forgets_the_session_of_who_came_back() {
    let (stack, ada) = stack_of_ada().await;
    let (id, code) = finished(&stack, new("r"), &ada).await;
    crate::fixture::delete_data(&stack, &ada).await;
    let path = format!("/sessions/{id}/complete");
    // The deletion forgot the session too, because it names who came back.
    assert_eq!(post(&stack, &path, completion(&code, "r")).await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn what_makes_no_sense_is_told_what_would() {
    let stack = stack().await;
    let cases = [
        ("/sessions", json!([]), "expected a JSON object"),
        ("/sessions", json!({}), "reference"),
        ("/sessions", json!({"reference": "r"}), "return_to is required: the app's page"),
        ("/sessions", json!({"reference": "r", "return_to": null}), "return_to is required"),
        ("/sessions", new(""), "1 to 128 bytes"),
        ("/sessions", new(&"é".repeat(65)), "1 to 128 bytes"),
        ("/sessions", json!({"reference": 7}), "expected a string"),
        ("/sessions", of_account("r", "ada"), "1 to 32 ASCII digits"),
        ("/sessions", json!({"reference": "r", "user_id": 17_841_400_000_000_001_u64}), "expected a string"),
        ("/sessions", json!({"reference": "r", "scopes": ["everything"]}), "unknown scope"),
        ("/sessions", lasting(59), "one minute to one day"),
        ("/sessions", lasting(86_401), "one minute to one day"),
        ("/sessions", json!({"reference": "r", "return_to": "https://evil.example/"}), "RETURN_TO_ALLOWLIST"),
        (
            "/sessions",
            json!({"reference": "r", "return_to": "http://127.0.0.1:4000/?completion=x"}),
            "a parameter of ours",
        ),
        ("/sessions", json!({"reference": "r", "returnto": "https://app.example/"}), "unknown field"),
        ("/sessions?reference=r", json!({"reference": "r"}), "takes no query"),
        ("/sessions", json!({"reference": "r", "more": "x".repeat(9_000)}), "longer than 8192 bytes"),
        ("/sessions/x/complete", json!({}), "completion"),
        ("/sessions/x/complete", json!({"completion": "x"}), "reference"),
    ];
    for (path, body, expected) in cases {
        let (status, answer) = post(&stack, path, body).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{answer}");
        assert!(answer["error"]["message"].as_str().unwrap().contains(expected), "{answer}");
    }
    // Two fields of one name are ambiguous.
    for (path, body, expected) in [
        (
            "/sessions",
            r#"{"reference":"a","reference":"b","return_to":"http://127.0.0.1:4000/"}"#,
            "duplicate field `reference`",
        ),
        (
            "/sessions",
            r#"{"reference":"a","return_to":"http://127.0.0.1:4000/","return\u005fto":"x"}"#,
            "duplicate field `return_to`",
        ),
        (
            "/sessions/x/complete",
            r#"{"completion":"x","reference":"a","reference":"a"}"#,
            "duplicate field `reference`",
        ),
        ("/sessions/x/complete", r#" ["x","a"]"#, "expected a JSON object"),
    ] {
        let reply = iam::call(&stack, Method::POST, path, body).await;
        assert_eq!(reply.status, StatusCode::BAD_REQUEST, "{reply:?}");
        assert!(reply.body.contains(expected), "{reply:?}");
    }
    for (path, expected) in [
        ("/users/ada/token", "1 to 32 digits"),
        ("/users/1/token?min_valid=soon", "whole number"),
        ("/users/1/token?min_valid=-1", "whole number"),
        ("/users/1/token?min_valid=%2B1", "whole number"),
        ("/users/1/token?min_valid=2592001", "0 to 2592000"),
        ("/users/1/token?min_valid=1&min_valid=2", "twice"),
        ("/users/1/token?minvalid=1", "min_valid, refused only"),
        ("/users/1/token?refused=THQVJtoken", "64 hexadecimal digits"),
        ("/users/1?a=1", "takes no query"),
        ("/users?status=dead", "status must be one of"),
        ("/users?limit=0", "1 to 1000"),
        ("/users?cursor=!", "cursor"),
        ("/users?cursor=", "cursor"),
    ] {
        let (status, answer, _) = get(&stack, path).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{path} {answer}");
        assert!(answer["error"]["message"].as_str().unwrap().contains(expected), "{path} {answer}");
    }
    assert_eq!(calls(&stack), 0);
}

/// A route that was deployed without IAM authorization answers nobody: the functions check the
/// proof themselves.
#[tokio::test]
async fn without_proof_of_a_caller_there_is_no_answer() {
    let (stack, ada) = connected_ada().await;
    for (method, path, body) in [
        (Method::POST, "/sessions".to_owned(), new("r").to_string()),
        (Method::GET, "/users".to_owned(), String::new()),
        (Method::GET, format!("/users/{ada}/token"), String::new()),
        (Method::DELETE, format!("/users/{ada}"), String::new()),
    ] {
        let request = HttpRequest {
            method,
            path: path.clone(),
            route: String::new(),
            raw_query: String::new(),
            cookies: Vec::new(),
            body: body.into_bytes(),
            request_id: "test".to_owned(),
            is_prefetch: false,
            accept_language: String::new(),
            origin: None,
            caller: None,
        };
        let (service, now) = (stack.service(), stack.clock().now());
        let response = if path.starts_with("/sessions") {
            sessions::handle(service, &request, now).await
        } else {
            token::handle(service, &request, now).await
        };
        assert_eq!(response.status(), StatusCode::FORBIDDEN, "{path}");
        assert!(response.body().contains("IAM authorization"), "{path}");
    }
    assert_eq!(grant(&stack, &ada).await.status(), Status::Active);
}

/// API Gateway decodes the path and matches the route before it does: `/users/1%2Ftoken` is
/// `GET /users/{user_id}` for IAM, and `/users/1/token` here.
#[tokio::test]
async fn a_path_that_is_not_of_its_route_has_no_answer() {
    let (stack, ada) = connected_ada().await;
    let vend = "GET /users/{user_id}/token";
    let token = format!("/users/{ada}/token");
    for (route, path, expected) in [
        (vend, token.as_str(), 200),
        ("GET /users/{user_id}", &token, 404),
        ("GET /users", &token, 404),
        ("GET /sessions/{id}", &token, 404),
        ("$default", &token, 404),
        ("", &token, 404),
        (vend, &format!("/users/{ada}"), 404),
        ("GET /users/{user_id}", &format!("/users/{ada}"), 200),
        ("GET /users/{user_id}", "/users", 404),
        ("GET /users", "/users", 200),
    ] {
        let request = HttpRequest {
            method: Method::GET,
            path: path.to_owned(),
            route: route.to_owned(),
            raw_query: String::new(),
            cookies: Vec::new(),
            body: Vec::new(),
            request_id: "test".to_owned(),
            is_prefetch: false,
            accept_language: String::new(),
            origin: None,
            caller: Some("arn:aws:iam::123456789012:role/reader".to_owned()),
        };
        let response = token::handle(stack.service(), &request, stack.clock().now()).await;
        assert_eq!(response.status(), expected, "{route} {path}");
        assert_eq!(response.body().contains("access_token"), route == vend && expected == 200, "{route}");
    }
}

/// The same through the gateway: a caller who may only read accounts gets no token by another
/// spelling of its path.
#[tokio::test]
async fn an_encoded_slash_leads_to_no_other_route() {
    let (stack, ada) = connected_ada().await;
    let stored = token(&stack, &ada).await;
    for slash in ["%2F", "%2f"] {
        let path = format!("/users/{ada}{slash}token");
        let (status, answer, reply) = get(&stack, &path).await;
        assert_eq!(
            (status, &answer["error"]["code"]),
            (StatusCode::NOT_FOUND, &json!("not_found")),
            "{path}"
        );
        assert!(!reply.body.contains(&stored), "{path}");
    }
    // A path with needless percent-encoding is the same path.
    assert_eq!(get(&stack, &format!("/users/%31{}", &ada[1..])).await.0, StatusCode::OK);
}

#[tokio::test]
async fn a_token_is_handed_out_as_long_as_it_lives_long_enough() {
    let (stack, ada) = connected_ada().await;
    let (status, vended, reply) = vend(&stack, &ada, "").await;
    let stored = token(&stack, &ada).await;
    let expires_at = grant(&stack, &ada).await.live().unwrap().expires_at;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(
        vended,
        json!({"user_id": ada, "access_token": stored, "token_type": "bearer", "expires_at": expires_at,
            "scopes": ["threads_basic"], "scopes_source": "granted"})
    );
    assert_eq!(reply.headers["cache-control"], "no-store");
    // 33 days on it is not due; it lives 27 days more, and for 28 it has to be refreshed.
    stack.clock().advance(33 * DAY);
    stack.sandbox().unwrap().clear_calls();
    assert_eq!(vend(&stack, &ada, "?min_valid=2246400").await.1["access_token"], stored);
    assert_eq!(calls(&stack), 0);
    let (status, vended, _) = vend(&stack, &ada, "?min_valid=2419200").await;
    assert_eq!(status, StatusCode::OK, "{vended}");
    assert_ne!(vended["access_token"], stored);
    assert_eq!(calls_of(&stack, SandboxCall::Refresh), 1);
    assert_eq!(vend(&stack, &ada, "?min_valid=2592000").await.1, vended);
    assert_eq!(calls_of(&stack, SandboxCall::Refresh), 1);
}

/// All callers get the token that works, after one call to Meta, whatever happens to the old one.
#[tokio::test]
async fn hundreds_of_callers_cause_one_refresh() {
    for behaviour in [OldToken::SameTokenExtended, OldToken::NewTokenOldAlive, OldToken::NewTokenOldDead] {
        let stack = std::sync::Arc::new(stack().await);
        let ada = account(&stack, "ada");
        Browser::new().connect(&stack, &ada).await;
        stack.clock().advance(41 * DAY);
        stack.sandbox().unwrap().set_old_token_behaviour(behaviour);
        stack.sandbox().unwrap().clear_calls();
        let mut callers = JoinSet::new();
        for n in 0..300 {
            let (stack, ada) = (std::sync::Arc::clone(&stack), ada.clone());
            callers.spawn(async move {
                if n == 150 {
                    stack.sweep().await.unwrap();
                }
                let (status, vended, _) = vend(&stack, &ada, "").await;
                assert_eq!(status, StatusCode::OK, "{vended}");
                vended["access_token"].as_str().unwrap().to_owned()
            });
        }
        let tokens: BTreeSet<String> = callers.join_all().await.into_iter().collect();
        assert_eq!(tokens.len(), 1, "{behaviour:?}");
        assert!(is_usable(&stack, tokens.first().unwrap()).await, "{behaviour:?}");
        let refreshes = calls_of(&stack, SandboxCall::Refresh);
        println!("vending: 300 callers and a sweep at once, {behaviour:?}: {refreshes} refresh");
        assert_eq!(refreshes, 1, "{behaviour:?}");
    }
}

#[tokio::test]
async fn a_young_token_is_not_asked_to_live_longer() {
    let (stack, ada) = stack_of_ada().await;
    // A token that lives for two days only.
    let short = |token: &str| {
        respond(200, format!(r#"{{"access_token":"{token}","token_type":"bearer","expires_in":172800}}"#))
    };
    fail(&stack, SandboxCall::ExchangeLongLived, 1, short("THQVJshortlivedlonglived0123456789"));
    Browser::new().connect(&stack, &ada).await;
    assert_eq!(vend(&stack, &ada, "").await.0, StatusCode::OK);
    stack.sandbox().unwrap().clear_calls();
    let (status, answer, reply) = vend(&stack, &ada, "?min_valid=259200").await;
    assert_eq!((status, &answer["error"]["code"]), (StatusCode::SERVICE_UNAVAILABLE, &json!("too_young")));
    assert_eq!(retry_after(&reply), 3_600, "at most an hour");
    assert_eq!(calls(&stack), 0);
}

#[tokio::test]
async fn an_outage_of_threads_leaves_what_is_at_hand() {
    let (stack, ada) = connected_ada().await;
    let stored = token(&stack, &ada).await;
    stack.clock().advance(41 * DAY);
    fail(&stack, SandboxCall::Refresh, u32::MAX, FaultAction::Html);
    stack.sandbox().unwrap().clear_calls();
    for _ in 0..5 {
        let (status, vended, _) = vend(&stack, &ada, "").await;
        assert_eq!((status, &vended["access_token"]), (StatusCode::OK, &json!(stored)));
    }
    assert_eq!(calls_of(&stack, SandboxCall::Refresh), 1, "the first caller tried, and the others know");
    let (status, answer, reply) = vend(&stack, &ada, "?min_valid=2592000").await;
    assert_eq!(
        (status, &answer["error"]["code"]),
        (StatusCode::SERVICE_UNAVAILABLE, &json!("not_refreshed"))
    );
    assert!((1..=300).contains(&retry_after(&reply)));
    assert_eq!(calls_of(&stack, SandboxCall::Refresh), 1);
    stack.sandbox().unwrap().clear_faults();
    stack.clock().advance(Duration::from_mins(6));
    let (status, vended, _) = vend(&stack, &ada, "?min_valid=2592000").await;
    assert_eq!(status, StatusCode::OK);
    assert_ne!(vended["access_token"], stored);
}

/// The holder of the lease has died. After a while callers get the stored token.
#[tokio::test]
async fn a_lease_of_the_dead_holds_up_nobody_for_long() {
    let stack = stack_with(&SHORT_WAIT).await;
    let ada = account(&stack, "ada");
    Browser::new().connect(&stack, &ada).await;
    stack.clock().advance(41 * DAY);
    let now = stack.clock().now();
    // Until a second before callers wait no longer: nothing is begun so late.
    let until = now + Duration::from_secs(9);
    let lease = Lease { owner: "the dead", until };
    let key = Key::grant(&ada.parse().unwrap());
    stack.service().store().lease(&key, LeaseReason::Due, lease, now).await.unwrap();
    let (status, vended, _) = vend(&stack, &ada, "").await;
    assert_eq!((status, &vended["access_token"]), (StatusCode::OK, &json!(token(&stack, &ada).await)));
    assert_eq!(calls_of(&stack, SandboxCall::Refresh), 0);
}

#[tokio::test]
async fn a_refusal_says_why_and_how_to_come_back() {
    type Act = fn(&threads_sandbox::Sandbox, &str) -> bool;
    let acts: [(Act, &str); 4] = [
        (threads_sandbox::Sandbox::revoke, "app_removed"),
        (threads_sandbox::Sandbox::change_password, "password_changed"),
        (threads_sandbox::Sandbox::checkpoint, "checkpoint"),
        (threads_sandbox::Sandbox::invalidate, "invalid"),
    ];
    for (act, cause) in acts {
        let stack = stack_with(&[("AUTHORIZE_ACCESS", "session")]).await;
        let ada = account(&stack, "ada");
        let (id, code) = finished(&stack, new("r"), &ada).await;
        post(&stack, &format!("/sessions/{id}/complete"), completion(&code, "r")).await;
        act(stack.sandbox().unwrap(), &ada);
        stack.clock().advance(41 * DAY);
        // Found at once, by a caller who needs the token. A refusal without a reason is checked
        // twice.
        if cause == "invalid" {
            let (status, answer, reply) = vend(&stack, &ada, "").await;
            let expected = (StatusCode::SERVICE_UNAVAILABLE, &json!("suspected"));
            assert_eq!((status, &answer["error"]["code"]), expected);
            assert!((900..=1_200).contains(&retry_after(&reply)), "{answer}");
            stack.clock().advance(std::time::Duration::from_mins(20));
        }
        let (status, answer, _) = vend(&stack, &ada, "").await;
        assert_eq!(status, StatusCode::CONFLICT, "{answer}");
        assert_eq!(answer["error"]["code"], "needs_reauthorization");
        assert_eq!(answer["error"]["cause"], cause);
        assert_eq!(grant(&stack, &ada).await.status().as_str(), "needs_reauthorization");
        // The way back is complete, except for the values that only the backend has.
        let way = &answer["reconnect"];
        assert_eq!((&way["method"], &way["path"]), (&json!("POST"), &json!("/sessions")));
        assert!(way.get("authorize_url").is_none());
        let mut body = way["body"].clone();
        body["reference"] = "r".into();
        body["return_to"] = "http://127.0.0.1:4000/done".into();
        let (id, code) = finished(&stack, body, &ada).await;
        let (status, done) = post(&stack, &format!("/sessions/{id}/complete"), completion(&code, "r")).await;
        assert_eq!((status, &done["status"]), (StatusCode::OK, &json!("connected")));
        assert_eq!(vend(&stack, &ada, "").await.0, StatusCode::OK);
    }
    let stack = stack().await;
    let (status, answer, _) = vend(&stack, "17841499999999999", "").await;
    assert_eq!((status, &answer["error"]["code"]), (StatusCode::NOT_FOUND, &json!("unknown_user")));
    let ada = account(&stack, "ada");
    Browser::new().connect(&stack, &ada).await;
    stack.clock().advance(61 * DAY);
    let (status, answer, _) = vend(&stack, &ada, "").await;
    assert_eq!((status, &answer["error"]["cause"]), (StatusCode::CONFLICT, &json!("expired")));
    let url = format!("{}/authorize", stack.urls().service_url);
    assert_eq!(answer["reconnect"]["authorize_url"], url);
}

/// `?refused=` of a token.
pub(crate) fn refused(token: &str) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, token.as_bytes());
    digest.as_ref().iter().fold("?refused=".to_owned(), |text, byte| text + &format!("{byte:02x}"))
}

#[tokio::test]
async fn a_token_that_threads_refuses_is_not_handed_out_again() {
    let (stack, ada) = connected_ada().await;
    let token = crate::fixture::token(&stack, &ada).await;
    stack.sandbox().unwrap().change_password(&ada);
    // There was no notice, and its next look is forty days away.
    assert_eq!(vend(&stack, &ada, "").await.1["access_token"], token);
    // An outage is not a proof, and a doubted token is not vended meanwhile.
    fail(&stack, SandboxCall::Me, 1, FaultAction::Html);
    let (status, answer, reply) = vend(&stack, &ada, &refused(&token)).await;
    assert_eq!(
        (status, &answer["error"]["code"], retry_after(&reply)),
        (StatusCode::SERVICE_UNAVAILABLE, &json!("not_refreshed"), 5)
    );
    let unharmed = grant(&stack, &ada).await;
    assert_eq!((unharmed.status().as_str(), unharmed.failures), ("active", 0));
    let (status, answer, _) = vend(&stack, &ada, &refused(&token)).await;
    assert_eq!((status, &answer["error"]["cause"]), (StatusCode::CONFLICT, &json!("password_changed")));
    assert_eq!(vend(&stack, &ada, "").await.0, StatusCode::CONFLICT);
}

#[tokio::test]
async fn a_caller_alone_ends_no_account() {
    let (stack, ada) = connected_ada().await;
    let token = crate::fixture::token(&stack, &ada).await;
    stack.sandbox().unwrap().clear_calls();
    // A token other than the stored one causes no call to Meta.
    let (status, vended, _) = vend(&stack, &ada, &refused("another")).await;
    assert_eq!((status, &vended["access_token"], calls(&stack)), (StatusCode::OK, &json!(token), 0));
    let upper = refused(&token).to_ascii_uppercase().replace("REFUSED", "refused");
    for (n, query) in [refused(&token), upper].iter().enumerate() {
        let (status, vended, _) = vend(&stack, &ada, query).await;
        assert_eq!(
            (status, &vended["access_token"], calls_of(&stack, SandboxCall::Me)),
            (StatusCode::OK, &json!(token), n + 1)
        );
        // Meta has just vouched for it.
        for _ in 0..60 {
            assert_eq!(vend(&stack, &ada, query).await.1["access_token"], token);
        }
        stack.clock().advance(std::time::Duration::from_mins(1));
    }
    assert_eq!(calls(&stack), 2);
    assert!(grant(&stack, &ada).await.leased_until.is_none());
    // A due token is refreshed anyway.
    stack.clock().advance(41 * DAY);
    let (status, vended, _) = vend(&stack, &ada, &refused(&token)).await;
    assert_eq!(status, StatusCode::OK);
    assert_ne!(vended["access_token"], token);
}

/// Meta never made the new token valid, and the one before it still works.
#[tokio::test]
async fn what_threads_refuses_is_replaced_by_the_one_before() {
    let (stack, ada) = connected_ada().await;
    stack.clock().advance(41 * DAY);
    let broken = "THQVJneverbecamevalid0123456789";
    let answer = format!(r#"{{"access_token":"{broken}","token_type":"bearer","expires_in":5183944}}"#);
    fail(&stack, SandboxCall::Refresh, 1, respond(200, answer));
    // It was tried at once, and is vended to nobody.
    let (status, answer, _) = vend(&stack, &ada, "").await;
    assert_eq!((status, &answer["error"]["code"]), (StatusCode::SERVICE_UNAVAILABLE, &json!("suspected")));
    stack.clock().advance(std::time::Duration::from_mins(20));
    let (status, vended, _) = vend(&stack, &ada, "").await;
    assert_eq!(status, StatusCode::OK, "{vended}");
    assert!(is_usable(&stack, vended["access_token"].as_str().unwrap()).await);
}

#[tokio::test]
async fn disconnecting_destroys_the_token_and_can_be_repeated() {
    let (stack, ada) = connected_ada().await;
    let path = format!("/users/{ada}");
    for _ in 0..2 {
        let (status, answer, _) = api(&stack, Method::DELETE, &path, &Value::Null).await;
        assert_eq!((status, answer), (StatusCode::OK, json!({"user_id": ada, "status": "revoked"})));
        let left = grant(&stack, &ada).await;
        assert!(left.live().is_none() && left.due_at.is_none());
    }
    let (status, answer, _) = vend(&stack, &ada, "").await;
    assert_eq!(status, StatusCode::CONFLICT);
    assert_eq!((&answer["error"]["code"], &answer["error"]["cause"]), (&json!("revoked"), &json!("app")));
    let (status, ..) = api(&stack, Method::DELETE, "/users/17841499999999999", &Value::Null).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    // The person may come back.
    Browser::new().connect(&stack, &ada).await;
    assert_eq!(vend(&stack, &ada, "").await.0, StatusCode::OK);
}

/// The app disconnects, or Meta reports that the person left, while a caller's refresh waits for
/// Meta's response.
#[tokio::test]
async fn what_ends_an_account_wins_over_a_vend_under_way() {
    for path in ["", "/deauthorize", "/data-deletion"] {
        let (stack, ada) = connected_ada().await;
        stack.clock().advance(41 * DAY);
        fail(&stack, SandboxCall::Refresh, 1, HOLD);
        let ending = async {
            faults_struck(&stack).await;
            let ended = if path.is_empty() {
                api(&stack, Method::DELETE, &format!("/users/{ada}"), &Value::Null).await.0
            } else {
                let message = stack.sandbox().unwrap().signed_request(&ada);
                crate::fixture::post_signed(&stack, path, &message).await.status
            };
            stack.sandbox().unwrap().clear_faults();
            ended
        };
        let ((status, answer, _), ended) = tokio::join!(vend(&stack, &ada, ""), ending);
        assert_eq!(ended, StatusCode::OK);
        let expected = if path == "/data-deletion" { StatusCode::NOT_FOUND } else { StatusCode::CONFLICT };
        assert_eq!(status, expected, "{path} {answer}");
        let left = crate::fixture::find_grant(&stack, &ada).await;
        assert!(left.is_none_or(|grant| grant.live().is_none()), "{path}");
    }
}

#[tokio::test]
async fn accounts_are_listed_without_tokens() {
    let stack = stack().await;
    let people = connect_people(&stack, 7).await;
    api(&stack, Method::DELETE, &format!("/users/{}", people[0]), &Value::Null).await;
    crate::fixture::delete_data(&stack, &people[1]).await;
    let secrets = [token(&stack, &people[2]).await, token(&stack, &people[3]).await];
    let (mut seen, mut path) = (Vec::new(), "/users?limit=2".to_owned());
    let mut pages = 0;
    loop {
        let (status, page, reply) = get(&stack, &path).await;
        assert_eq!(status, StatusCode::OK);
        assert!(secrets.iter().all(|secret| !reply.body.contains(secret)));
        let users = page["users"].as_array().unwrap();
        assert_eq!(users.len(), 2, "a page is full: {page}");
        seen.extend(users.iter().map(|user| user["user_id"].as_str().unwrap().to_owned()));
        pages += 1;
        match page["cursor"].as_str() {
            Some(cursor) => path = format!("/users?limit=2&cursor={cursor}"),
            None => break,
        }
    }
    seen.sort();
    let mut expected = people.clone();
    expected.remove(1);
    assert_eq!(seen, expected);
    assert_eq!(pages, 3);
    let (_, page, _) = get(&stack, "/users?status=revoked").await;
    assert_eq!(page["users"].as_array().unwrap().len(), 1);
    assert_eq!(page["users"][0]["cause"], "app");
    let (status, one, reply) = get(&stack, &format!("/users/{}", people[2])).await;
    assert_eq!(
        (status, &one["status"], &one["username"]),
        (StatusCode::OK, &json!("active"), &json!("person2"))
    );
    assert!(one["expires_at"].is_string() && !reply.body.contains(&secrets[0]));
}

/// The accounts of all pages, each page by how many it has. None without a filter is empty while
/// there is a cursor.
async fn pages(stack: &Stack, wanted: impl Fn(Option<Key>) -> PageRequest) -> (Vec<usize>, usize) {
    let (mut pages, mut unreadable, mut after) = (Vec::new(), 0, None);
    loop {
        let page = stack.service().store().grants(wanted(after)).await.unwrap();
        let readable = page.items.iter().filter(|grant| grant.is_ok()).count();
        pages.push(readable);
        unreadable += page.items.len() - readable;
        after = page.next;
        if after.is_none() {
            return (pages, unreadable);
        }
    }
}

#[tokio::test]
async fn a_page_is_full_whatever_lies_between_its_accounts() {
    let stack = stack().await;
    let people = connect_people(&stack, 9).await;
    for person in &people[..3] {
        crate::fixture::delete_data(&stack, person).await;
    }
    let soon = AttributeValue::S("soon".to_owned());
    set_attribute(&stack, &people[3], "expires_at", soon).await;
    let until = Instant::now() + DAY;
    let unfiltered = |grants| move |after| PageRequest { status: None, grants, after, rows: u32::MAX, until };
    assert_eq!(pages(&stack, unfiltered(1)).await, (vec![1; 5], 1));
    assert_eq!(pages(&stack, unfiltered(2)).await, (vec![2, 2, 1], 1));
    assert_eq!(pages(&stack, unfiltered(5)).await, (vec![5], 1));
    // From any key, such as one of a page of an earlier version.
    let from = BASE64_URL_SAFE_NO_PAD.encode("tombstone#AAAA");
    let (status, page, _) = get(&stack, &format!("/users?limit=1&cursor={from}")).await;
    assert_eq!(status, StatusCode::OK, "{page}");
}

#[tokio::test]
async fn a_page_costs_no_more_than_its_bounds() {
    let stack = stack().await;
    let people = connect_people(&stack, 7).await;
    for person in [&people[1], &people[4]] {
        api(&stack, Method::DELETE, &format!("/users/{person}"), &Value::Null).await;
    }
    // Few of many have the status: each page looks at three rows.
    let (status, until) = (Some(Status::Revoked), Instant::now() + DAY);
    let (found, _) = pages(&stack, |after| PageRequest { status, grants: 5, after, rows: 3, until }).await;
    assert!(found.len() > 2 && found.iter().sum::<usize>() == 2, "{found:?}");
    // The time is over: each page is one read, and loses nothing.
    let until = Instant::now();
    let (found, _) =
        pages(&stack, |after| PageRequest { status: None, grants: 2, after, rows: 9, until }).await;
    assert!(found.iter().all(|count| *count <= 2) && found.iter().sum::<usize>() == 7, "{found:?}");
}

/// A caller requested more than the token's remaining life, and Meta failed once: the next caller
/// is served normally.
#[tokio::test]
async fn one_failure_on_demand_does_not_last() {
    let (stack, ada) = connected_ada().await;
    stack.clock().advance(33 * DAY);
    fail(&stack, SandboxCall::Refresh, 1, FaultAction::Html);
    assert_eq!(vend(&stack, &ada, "?min_valid=2592000").await.1["error"]["code"], "not_refreshed");
    stack.clock().advance(Duration::from_mins(6));
    // Meta may have issued a token with that answer, so the refresh is made again, though early.
    assert_eq!(stack.sweep().await.unwrap().count(RefreshOutcome::Refreshed), 1);
    assert_eq!(grant(&stack, &ada).await.failures, 0);
    assert_eq!(vend(&stack, &ada, "?min_valid=2592000").await.0, StatusCode::OK);
}

/// A row is due for a look at its data access only, and a caller needs a token that lives longer
/// than this one.
#[tokio::test]
async fn a_look_that_is_due_does_not_keep_a_caller_from_a_longer_token() {
    let stack = stack().await;
    let user_id = connect_private(&stack).await;
    stack.clock().advance(41 * DAY);
    stack.sweep().await.unwrap();
    // 77 days after consent: a warning is due, and the token, refreshed on day 41, lives 24 days
    // more.
    stack.clock().advance(36 * DAY);
    let (status, vended, _) = vend(&stack, &user_id, "?min_valid=2592000").await;
    assert_eq!(status, StatusCode::OK, "{vended}");
}

/// A person who was disconnected comes back, the long-lived exchange fails, and they are
/// disconnected again. The second disconnect is final.
#[tokio::test]
async fn a_pending_reconnect_is_ended_too() {
    for path in ["", "/deauthorize"] {
        let (stack, ada) = connected_ada().await;
        let user = format!("/users/{ada}");
        api(&stack, Method::DELETE, &user, &Value::Null).await;
        fail(&stack, SandboxCall::ExchangeLongLived, 2, FaultAction::Html);
        Browser::new().connect(&stack, &ada).await;
        let waiting = grant(&stack, &ada).await;
        assert!(waiting.consent().is_some() && waiting.status() == Status::Revoked);
        if path.is_empty() {
            api(&stack, Method::DELETE, &user, &Value::Null).await;
        } else {
            let message = stack.sandbox().unwrap().signed_request(&ada);
            crate::fixture::post_signed(&stack, path, &message).await;
        }
        stack.clock().advance(Duration::from_mins(2));
        assert!(stack.sweep().await.unwrap().outcomes.is_empty());
        let left = grant(&stack, &ada).await;
        assert!(left.consent().is_none() && left.live().is_none());
    }
}

/// Without that, the caller who waits completes it on the spot.
#[tokio::test]
async fn a_pending_reconnect_of_a_revoked_account_is_vended() {
    let (stack, ada) = connected_ada().await;
    api(&stack, Method::DELETE, &format!("/users/{ada}"), &Value::Null).await;
    fail(&stack, SandboxCall::ExchangeLongLived, 2, FaultAction::Html);
    let (id, code) = finished(&stack, new("r"), &ada).await;
    let (_, done) = post(&stack, &format!("/sessions/{id}/complete"), completion(&code, "r")).await;
    assert_eq!((&done["status"], &done["expires_at"]), (&json!("pending"), &Value::Null));
    assert_eq!(vend(&stack, &ada, "").await.0, StatusCode::OK);
}

/// A consent comes, with its token still to follow, while a refresh of the old token waits for
/// Meta: whatever Meta's response for that one, the consent stays due.
#[tokio::test]
async fn a_refresh_under_way_orphans_no_consent() {
    for outcome in ["dead", "deferred", "refreshed"] {
        let wait = if outcome == "deferred" { &SHORT_WAIT[..] } else { &[] };
        let stack = stack_with(wait).await;
        let ada = account(&stack, "ada");
        Browser::new().connect(&stack, &ada).await;
        stack.clock().advance(41 * DAY);
        fail(&stack, SandboxCall::Refresh, 1, HOLD);
        let coming = async {
            faults_struck(&stack).await;
            if outcome == "dead" {
                stack.sandbox().unwrap().change_password(&ada);
            }
            fail(&stack, SandboxCall::ExchangeLongLived, 2, FaultAction::Html);
            Browser::new().connect(&stack, &ada).await;
            // Else Meta answers too late.
            if outcome != "deferred" {
                stack.sandbox().unwrap().clear_faults();
            }
        };
        tokio::join!(async { stack.sweep().await.unwrap() }, coming);
        let waiting = grant(&stack, &ada).await;
        assert!(waiting.consent().is_some(), "{outcome}");
        assert!(waiting.due_at.is_some_and(|due| due <= stack.clock().now()), "{outcome}");
        stack.clock().advance(LEASE);
        assert_eq!(stack.sweep().await.unwrap().count(RefreshOutcome::Completed), 1, "{outcome}");
        assert_eq!(vend(&stack, &ada, "").await.0, StatusCode::OK, "{outcome}");
    }
}
