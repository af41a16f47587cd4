//! Clocks that differ: ours from Meta's, and those of functions from each other.
//!
//! AWS refuses a function whose clock differs by more than five minutes from its own, so two
//! functions differ by ten at most. Meta's clock can differ by any time.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use devstack::Stack;
use jiff::SignedDuration;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use threads_auth_model::Status;
use threads_auth_web::HttpRequest;
use threads_sandbox::OldToken;

use crate::backend::new;
use crate::fixture::{
    Browser, DAY, Reply, connected_ada, find_grant, grant, invoke_function, is_usable, keep_cookies,
    parameter, secret_text, stack_of_ada, token,
};
use crate::removal::signed;
use crate::server_errors::request;

/// The clocks of three functions, in seconds from the right time.
const CLOCKS: [[i64; 3]; 8] = [
    [0, 0, 0],
    [1, 0, 0],
    [0, 0, 1],
    [150, -149, 0],
    [-150, 149, 0],
    [0, 150, -149],
    [149, 149, -149],
    [-1, 1, -1],
];

/// The functions of a stack, each with a clock of its own.
struct Functions<'a> {
    stack: &'a Stack,
    jar: BTreeMap<String, String>,
}

impl Functions<'_> {
    async fn ask(&mut self, clock: i64, method: Method, url: &str, body: &str) -> Reply {
        let (path, raw_query) = url.split_once('?').unwrap_or((url, ""));
        let cookies = self.jar.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let request =
            HttpRequest { raw_query: raw_query.to_owned(), cookies, ..request(&method, path, body) };
        let now = self.stack.clock().now() + SignedDuration::from_secs(clock);
        let service = Arc::clone(self.stack.service());
        let reply = invoke_function(&service, now, &request).await;
        keep_cookies(&mut self.jar, &reply.headers);
        reply
    }
}

/// A person connects, and the backend completes, vends and disconnects, each step by another clock.
#[tokio::test]
async fn functions_whose_clocks_differ_turn_nobody_away() {
    let (mut ways, mut away) = (0, Vec::new());
    for clocks in CLOCKS {
        let (stack, ada) = stack_of_ada().await;
        let mut functions = Functions { stack: &stack, jar: BTreeMap::new() };
        let [start, back, api] = clocks;
        let created = functions.ask(api, Method::POST, "/sessions", &new("user-1").to_string()).await;
        let id = json_of(&created)["id"].as_str().unwrap().to_owned();
        let started = functions.ask(start, Method::GET, &format!("/authorize?session={id}"), "").await;
        let (to, sandbox) = (started.location(), stack.sandbox().unwrap());
        let code = sandbox.issue_code(&ada, &parameter(&to, "redirect_uri"), &[]);
        let url = format!("/callback?code={code}&state={}", parameter(&to, "state"));
        let finished = functions.ask(back, Method::GET, &url, "").await;
        ways += 1;
        let location = finished.headers.get("location").map(|_| finished.location());
        let Some(location) =
            location.filter(|location| location.query_pairs().any(|(name, _)| name == "completion"))
        else {
            away.push((clocks, finished.status));
            continue;
        };
        let body =
            json!({"completion": parameter(&location, "completion"), "reference": "user-1"}).to_string();
        for _ in 0..2 {
            let completed =
                functions.ask(api, Method::POST, &format!("/sessions/{id}/complete"), &body).await;
            assert_eq!(completed.status, StatusCode::OK, "{clocks:?}: {completed:?}");
        }
        for clock in clocks {
            let vended = functions.ask(clock, Method::GET, &format!("/users/{ada}/token"), "").await;
            assert_eq!(vended.status, StatusCode::OK, "{clocks:?}: {vended:?}");
            assert!(is_usable(&stack, json_of(&vended)["access_token"].as_str().unwrap()).await);
        }
        let ended = functions.ask(start, Method::DELETE, &format!("/users/{ada}"), "").await;
        assert!(ended.status.is_success(), "{clocks:?}: {ended:?}");
        assert!(grant(&stack, &ada).await.live().is_none(), "{clocks:?}: it goes on");
    }
    println!("clocks of functions: {ways} ways, turned away by {away:?}");
    assert_eq!(away, []);
}

/// Sweeps by clocks that are minutes apart take turns for four months.
#[tokio::test]
async fn sweeps_whose_clocks_differ_lose_no_token() {
    for behaviour in [OldToken::SameTokenExtended, OldToken::NewTokenOldAlive, OldToken::NewTokenOldDead] {
        let (stack, ada) = connected_ada().await;
        stack.sandbox().unwrap().set_old_token_behaviour(behaviour);
        for sweep in 0..9 {
            stack.clock().advance(14 * DAY);
            for clock in if sweep % 2 == 0 { [299, -299] } else { [-299, 299] } {
                let now = stack.clock().now() + SignedDuration::from_secs(clock);
                stack.service().sweep(now, Duration::from_mins(15)).await.unwrap();
            }
        }
        assert_eq!(grant(&stack, &ada).await.status(), Status::Active, "{behaviour:?}");
        assert!(is_usable(&stack, &token(&stack, &ada).await).await, "{behaviour:?}");
    }
}

/// A message of Meta's counts if it is a day old at most, or an hour ahead; and it ends no consent
/// that is later by our own clock.
#[tokio::test]
async fn messages_count_from_a_day_back_to_an_hour_ahead() {
    const HOUR: i64 = 3_600;
    // Seconds by which Meta's clock is ahead when it signs, and true if the message counts.
    let table = [
        (-61 * 24 * HOUR, false),
        (-24 * HOUR - 1, false),
        (-24 * HOUR, true),
        (-HOUR, true),
        (-600, true),
        (0, true),
        (600, true),
        (HOUR, true),
        (HOUR + 1, false),
        (24 * HOUR, false),
        (61 * 24 * HOUR, false),
    ];
    for path in ["/deauthorize", "/data-deletion"] {
        for (ahead, counts) in table {
            let (stack, ada) = connected_ada().await;
            // A message of yesterday is about the consent of the day before.
            stack.clock().advance(2 * DAY);
            let now = stack.clock().now();
            let message = dated(&stack, &ada, now.as_second() + ahead).await;
            let mut functions = Functions { stack: &stack, jar: BTreeMap::new() };
            let told = functions.ask(0, Method::POST, path, &format!("signed_request={message}")).await;
            let expected = if counts { StatusCode::OK } else { StatusCode::BAD_REQUEST };
            assert_eq!(told.status, expected, "{path} {ahead}: {told:?}");
            let is_ended = find_grant(&stack, &ada).await.is_none_or(|grant| grant.live().is_none());
            assert_eq!(is_ended, counts, "{path} {ahead}");
            stack.clock().advance(Duration::from_secs(1));
            Browser::new().connect(&stack, &ada).await;
            assert_eq!(
                grant(&stack, &ada).await.status(),
                Status::Active,
                "{path} {ahead}: the next consent"
            );
            // Meta repeats the message, and nothing that is newer ends: except by a clock that is
            // ahead, whose message is as new as its last delivery.
            if ahead <= 0 {
                functions.ask(0, Method::POST, path, &format!("signed_request={message}")).await;
                let is_there = find_grant(&stack, &ada).await.is_some_and(|grant| grant.live().is_some());
                assert!(is_there, "{path} {ahead}: the repeated message");
            }
        }
    }
}

/// A message that Meta's clock has dated.
async fn dated(stack: &Stack, user_id: &str, issued_at: i64) -> String {
    let app = secret_text(stack, &stack.urls().app_secret_id).await;
    let app: Value = serde_json::from_str(&app).unwrap();
    let payload = json!({"algorithm": "HMAC-SHA256", "issued_at": issued_at, "user_id": user_id});
    signed(app["app_secret"].as_str().unwrap(), &payload)
}

fn json_of(reply: &Reply) -> Value {
    serde_json::from_str(&reply.body).unwrap()
}
