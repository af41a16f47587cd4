//! Connecting: what a person and an app's backend see.

use std::time::Duration;

use devstack::Stack;
use jiff::SignedDuration;
use reqwest::StatusCode;
use threads_auth::NewSession;
use threads_auth_model::seal::Purpose;
use threads_auth_model::{SessionStatus, Status};
use threads_sandbox::{ExpiresIn, FaultAction, SandboxCall};

use crate::fixture::{
    Browser, Reply, account, calls, connected_ada, delete_data, fail, find_grant, grant, http, is_usable,
    parameter, respond, rows, stack, stack_of_ada, stack_with, token, unsealed,
};

const FOREVER: u32 = u32::MAX;

fn assert_page(reply: &Reply, status: StatusCode, name: &str) {
    assert_eq!(reply.status, status, "{reply:?}");
    assert!(reply.is_page(name), "not {name}: {reply:?}");
}

/// Returns the number of calls of one operation.
fn count(stack: &Stack, call: SandboxCall) -> usize {
    stack.sandbox().unwrap().calls().iter().filter(|record| record.call == call).count()
}

#[tokio::test]
async fn a_person_connects() {
    let (stack, ada) = stack_of_ada().await;
    let mut browser = Browser::new();
    let reply = browser.connect(&stack, &ada).await;
    assert_eq!(reply.status, StatusCode::SEE_OTHER, "{reply:?}");
    assert_eq!(reply.location().path(), "/connected");
    assert_eq!(reply.location().query(), None);
    assert!(reply.body.is_empty());
    let page = browser.get(&format!("{}/connected", stack.urls().service_url)).await;
    assert_eq!(page.status, StatusCode::OK);
    let grant = grant(&stack, &ada).await;
    assert_eq!(grant.status(), Status::Active);
    assert_eq!(grant.username.as_deref(), Some("ada"));
    assert!(grant.consent().is_none());
    assert_eq!(grant.failures, 0);
    assert_eq!(grant.created_at, stack.clock().now());
    assert!(grant.due_at.unwrap() > stack.clock().now());
    assert!(is_usable(&stack, &token(&stack, &ada).await).await);
    assert_eq!(
        calls(&stack),
        5,
        "code, long-lived, profile, inspection, and the profile that the test asked for"
    );
}

#[tokio::test]
async fn the_person_returns_to_the_app() {
    let (stack, ada) = stack_of_ada().await;
    let mut browser = Browser::new();
    let back = browser
        .consent(&stack, "return_to=http%3A%2F%2F127.0.0.1%3A4000%2Fsettings%3Ftab%3Da%2526b", &ada)
        .await;
    let reply = browser.get(back.as_str()).await;
    assert_eq!(reply.status, StatusCode::SEE_OTHER, "{reply:?}");
    assert_eq!(reply.location().as_str(), "http://127.0.0.1:4000/settings?tab=a%26b&status=connected#");
}

#[tokio::test]
async fn a_return_address_outside_the_list_starts_nothing() {
    let stack = stack().await;
    let url = format!("{}/authorize?return_to=https%3A%2F%2Fevil.example%2F", stack.urls().service_url);
    let reply = Browser::new().get(&url).await;
    assert_page(&reply, StatusCode::BAD_REQUEST, "return_to_refused");
    assert!(!reply.body.contains("evil.example"));
    assert!(reply.headers.get("set-cookie").is_none());
}

#[tokio::test]
async fn scopes_are_asked_for_and_kept() {
    let (stack, ada) = stack_of_ada().await;
    let mut browser = Browser::new();
    let query = "scopes=threads_basic,threads_manage_insights";
    let started = browser.get(&format!("{}/authorize?{query}", stack.urls().service_url)).await.location();
    let asked = parameter(&started, "scope");
    assert_eq!(asked, "threads_basic,threads_manage_insights");
    let back = browser.consent(&stack, query, &ada).await;
    browser.get(back.as_str()).await;
    assert_eq!(grant(&stack, &ada).await.scopes.to_string(), "threads_basic,threads_manage_insights");
}

#[tokio::test]
async fn a_link_that_is_malformed_starts_nothing() {
    let stack = stack().await;
    for query in [
        "scopes=nonsense",
        "returnto=x",
        "scopes=threads_basic&scopes=threads_basic",
        "return_to=http%3A%2F%2F127.0.0.1%3A4000%2F&return_to=http%3A%2F%2F127.0.0.1%3A4000%2F",
        "session=short",
        "session=abcdefghijklmnopqrstuvwxyz012345&scopes=threads_basic",
    ] {
        let reply = Browser::new().get(&format!("{}/authorize?{query}", stack.urls().service_url)).await;
        assert_page(&reply, StatusCode::BAD_REQUEST, "bad_link");
        assert!(reply.headers.get("set-cookie").is_none(), "{query}");
    }
}

#[tokio::test]
async fn a_person_refuses() {
    let stack = stack().await;
    let service = &stack.urls().service_url;
    let mut browser = Browser::new();
    let mut at_meta = browser.get(&format!("{service}/authorize")).await.location();
    let state = parameter(&at_meta, "state");
    at_meta.query_pairs_mut().append_pair("auto_deny", "1");
    // Meta's own form, which has no state.
    let back = Browser::new().get(at_meta.as_str()).await.location();
    assert!(!back.query().unwrap().contains("state="));
    for url in [back.to_string(), format!("{back}&state={state}")] {
        let reply = browser.get(&url).await;
        assert_page(&reply, StatusCode::FORBIDDEN, "denied");
        assert!(reply.body.contains("href=\"/authorize?scopes="), "no restart: {}", reply.body);
    }
    // Without a cookie nothing is known of the flow, and with a state it is somebody else's.
    let stranger = Browser::new().get(back.as_str()).await;
    assert_page(&stranger, StatusCode::FORBIDDEN, "denied");
    assert!(!stranger.body.contains("scopes="));
    let forged = Browser::new().get(&format!("{back}&state={state}")).await;
    assert_page(&forged, StatusCode::BAD_REQUEST, "wrong_browser");
    assert_eq!(calls(&stack), 0);
    assert!(rows(&stack).await.is_empty());
}

#[tokio::test]
async fn a_failure_of_metas_on_the_way_back_is_no_denial() {
    let stack = stack().await;
    let service = &stack.urls().service_url;
    let session = stack.service().create_session(new_session("user-1"), stack.clock().now()).await.unwrap();
    let mut browser = Browser::new();
    let at_meta = browser.get(&stack.service().config().session_url(&session.id)).await.location();
    let state = parameter(&at_meta, "state");
    for query in [
        format!("error_code=1349168&error_message=CANARY&state={state}"),
        "error_code=1349168&error_message=CANARY".to_owned(),
        format!("error=server_error&error_description=CANARY&state={state}%23_"),
    ] {
        let reply = browser.get(&format!("{service}/callback?{query}")).await;
        assert_eq!(reply.status, StatusCode::SEE_OTHER, "{reply:?}");
        let told = format!("?session_id={}&status=failed&reason=threads_failed#", session.id);
        assert_eq!(reply.location().as_str(), format!("http://127.0.0.1:4000/done{told}"));
        let noted = stack.service().store().session(&session.id).await.unwrap().unwrap();
        assert_eq!(noted.state.status(), SessionStatus::Failed, "{query}");
        assert_eq!(noted.reason(), Some("threads_failed"));
    }
    let unknown = Browser::new().get(&format!("{service}/callback?error_code=1&error_message=CANARY")).await;
    assert_page(&unknown, StatusCode::BAD_REQUEST, "threads_failed");
    assert!(!unknown.body.contains("CANARY") && unknown.body.contains("not your doing"), "{}", unknown.body);
    let forged = Browser::new().get(&format!("{service}/callback?error_code=1&state={state}")).await;
    assert_page(&forged, StatusCode::BAD_REQUEST, "wrong_browser");
    assert_eq!(calls(&stack), 0);
    // The session can still be connected.
    let back = browser.consent(&stack, &format!("session={}", session.id), &account(&stack, "ada")).await;
    assert_eq!(browser.get(back.as_str()).await.status, StatusCode::SEE_OTHER);
}

#[tokio::test]
async fn an_encoded_fragment_is_no_part_of_the_state_or_the_code() {
    let stack = stack().await;
    let (ada, service) = (account(&stack, "ada"), &stack.urls().service_url);
    for (after_code, after_state) in [("", "%23_"), ("", "%23_%3D_"), ("%23_", ""), ("%23_%3D_", "%23_")] {
        let mut browser = Browser::new();
        let back = browser.consent(&stack, "", &ada).await;
        let (code, state) = (parameter(&back, "code"), parameter(&back, "state"));
        let url = format!("{service}/callback?code={code}{after_code}&state={state}{after_state}");
        assert_eq!(browser.get(&url).await.location().path(), "/connected", "{url}");
    }
}

#[tokio::test]
async fn the_redirect_uri_may_end_with_a_slash() {
    for setting in ["true", "false"] {
        let stack = stack_with(&[("REDIRECT_TRAILING_SLASH", setting)]).await;
        let (ada, service) = (account(&stack, "ada"), &stack.urls().service_url);
        let mut browser = Browser::new();
        let back = browser.consent(&stack, "", &ada).await;
        let path = if setting == "true" { "/callback/" } else { "/callback" };
        assert_eq!(back.path(), path);
        assert_eq!(browser.get(back.as_str()).await.location().path(), "/connected");
        // Either address is answered.
        for path in ["/callback", "/callback/"] {
            let back = browser.consent(&stack, "", &ada).await;
            let query = back.query().unwrap();
            let reply = browser.get(&format!("{service}{path}?{query}")).await;
            assert_eq!(reply.location().path(), "/connected", "{setting} {path}");
        }
        for path in ["/callback/x", "/callback//", "/callback/connected"] {
            let reply = browser.get(&format!("{service}{path}")).await;
            assert_page(&reply, StatusCode::NOT_FOUND, "not_found");
        }
    }
}

#[tokio::test]
async fn a_person_who_is_no_tester_hears_that_it_is_the_app() {
    let stack = stack().await;
    let body = r#"{"error_type":"OAuthException","code":400,"error_message":"Insufficient developer role"}"#;
    fail(&stack, SandboxCall::ExchangeCode, FOREVER, respond(400, body));
    let reply = Browser::new().connect(&stack, &account(&stack, "ada")).await;
    assert_page(&reply, StatusCode::INTERNAL_SERVER_ERROR, "misconfigured");
    assert_eq!(count(&stack, SandboxCall::ExchangeCode), 1);
}

#[tokio::test]
async fn a_person_takes_too_long() {
    let (stack, ada) = stack_of_ada().await;
    let mut browser = Browser::new();
    let back = browser.consent(&stack, "", &ada).await;
    stack.clock().advance(Duration::from_mins(11));
    let reply = browser.get(back.as_str()).await;
    assert_page(&reply, StatusCode::GONE, "expired");
    assert!(reply.body.contains("href=\"/authorize"));
    assert_eq!(calls(&stack), 0);
    assert!(rows(&stack).await.is_empty());
}

#[tokio::test]
async fn ten_minutes_are_enough_to_the_second() {
    let (stack, ada) = stack_of_ada().await;
    let mut browser = Browser::new();
    let back = browser.consent(&stack, "", &ada).await;
    stack.clock().advance(Duration::from_secs(599));
    assert_eq!(browser.get(back.as_str()).await.status, StatusCode::SEE_OTHER);
    let back = browser.consent(&stack, "", &ada).await;
    stack.clock().advance(Duration::from_mins(10));
    assert_page(&browser.get(back.as_str()).await, StatusCode::GONE, "expired");
}

#[tokio::test]
async fn the_back_button_does_not_connect_again() {
    let (stack, ada) = stack_of_ada().await;
    let mut browser = Browser::new();
    let back = browser.consent(&stack, "", &ada).await;
    assert_eq!(browser.get(back.as_str()).await.status, StatusCode::SEE_OTHER);
    let (before, made) = (grant(&stack, &ada).await, calls(&stack));
    assert_page(&browser.get(back.as_str()).await, StatusCode::CONFLICT, "replayed");
    assert_eq!(calls(&stack), made);
    assert_eq!(grant(&stack, &ada).await.grant_id, before.grant_id);
}

#[tokio::test]
async fn another_browser_comes_back() {
    let stack = stack().await;
    let back = Browser::new().consent(&stack, "", &account(&stack, "ada")).await;
    let reply = Browser::new().get(back.as_str()).await;
    assert_page(&reply, StatusCode::BAD_REQUEST, "wrong_browser");
    assert!(reply.body.contains("href=\"/authorize\""), "no restart: {}", reply.body);
    assert_eq!(calls(&stack), 0);
    println!("threat another-browser: a callback in another browser made {} calls", calls(&stack));
}

#[tokio::test]
async fn threads_is_down_at_the_code() {
    let (stack, ada) = stack_of_ada().await;
    for action in [
        FaultAction::Html,
        FaultAction::Drop,
        FaultAction::Empty,
        FaultAction::Throttle { retry_after: None },
    ] {
        fail(&stack, SandboxCall::ExchangeCode, FOREVER, action.clone());
        let reply = Browser::new().connect(&stack, &ada).await;
        assert_page(&reply, StatusCode::SERVICE_UNAVAILABLE, "threads_unavailable");
        assert_eq!(reply.headers["retry-after"], "30");
        stack.sandbox().unwrap().clear_faults();
    }
    assert!(rows(&stack).await.is_empty());
}

#[tokio::test]
async fn a_passing_failure_at_the_code_is_not_noticed() {
    let (stack, ada) = stack_of_ada().await;
    fail(&stack, SandboxCall::ExchangeCode, 1, FaultAction::Html);
    assert_eq!(Browser::new().connect(&stack, &ada).await.location().path(), "/connected");
    assert_eq!(count(&stack, SandboxCall::ExchangeCode), 2);
}

#[tokio::test]
async fn a_code_whose_answer_was_lost_is_told_as_an_outage() {
    let (stack, ada) = stack_of_ada().await;
    fail(&stack, SandboxCall::ExchangeCode, 1, FaultAction::DropAfter);
    let reply = Browser::new().connect(&stack, &ada).await;
    assert_page(&reply, StatusCode::SERVICE_UNAVAILABLE, "threads_unavailable");
    assert!(rows(&stack).await.is_empty());
}

#[tokio::test]
async fn threads_refuses_the_code() {
    let (stack, ada) = stack_of_ada().await;
    let mut browser = Browser::new();
    let mut back = browser.consent(&stack, "", &ada).await;
    let pairs: Vec<_> = back.query_pairs().into_owned().collect();
    let changed = pairs
        .into_iter()
        .map(|(name, value)| if name == "code" { (name, "AQBunknown".into()) } else { (name, value) });
    let pairs: Vec<(String, String)> = changed.collect();
    back.query_pairs_mut().clear().extend_pairs(pairs);
    assert_page(&browser.get(back.as_str()).await, StatusCode::BAD_REQUEST, "code_refused");
    assert_eq!(count(&stack, SandboxCall::ExchangeCode), 1, "a refusal is not repeated");
    assert!(rows(&stack).await.is_empty());
}

/// Threads answers a code with something that is no token: the code is spent.
#[tokio::test]
async fn a_malformed_answer_to_a_code_is_not_asked_for_again() {
    let (stack, ada) = stack_of_ada().await;
    let mut browser = Browser::new();
    let back = browser.consent(&stack, "", &ada).await;
    fail(&stack, SandboxCall::ExchangeCode, 1, respond(200, "{}"));
    assert!(browser.get(back.as_str()).await.is_page("threads_unavailable"));
    assert_eq!(count(&stack, SandboxCall::ExchangeCode), 1);
}

#[tokio::test]
async fn the_app_secret_is_wrong() {
    let stack = stack().await;
    let secrets = threads_auth_store::aws::secrets_manager(&stack.service().config().aws, &http());
    let id = &stack.urls().app_secret_id;
    let put = |text: &str| secrets.put_secret_value().secret_id(id).secret_string(text).send();
    put("not json").await.unwrap();
    let url = format!("{}/authorize", stack.urls().service_url);
    assert_page(&Browser::new().get(&url).await, StatusCode::SERVICE_UNAVAILABLE, "unavailable");
    stack.clock().advance(Duration::from_secs(5));
    put(r#"{"app_id":"9876543210987654","app_secret":"mistyped"}"#).await.unwrap();
    let reply = Browser::new().connect(&stack, &account(&stack, "ada")).await;
    assert_page(&reply, StatusCode::INTERNAL_SERVER_ERROR, "misconfigured");
    assert!(rows(&stack).await.is_empty());
}

#[tokio::test]
async fn a_connect_does_not_fail_for_the_profile() {
    let (stack, ada) = stack_of_ada().await;
    for action in [FaultAction::Html, FaultAction::Drop, respond(200, r#"{"username":"ada"}"#)] {
        fail(&stack, SandboxCall::Me, FOREVER, action);
        assert_eq!(Browser::new().connect(&stack, &ada).await.location().path(), "/connected");
        stack.sandbox().unwrap().clear_faults();
        let grant = grant(&stack, &ada).await;
        assert_eq!(grant.status(), Status::Active);
        assert_eq!(grant.username, None);
    }
}

/// The short-lived token is the one that is inspected, and its end is another.
#[tokio::test]
async fn an_end_that_the_exchange_leaves_out_is_asked_for() {
    for (shape, calls) in [(ExpiresIn::Documented, 1), (ExpiresIn::Missing, 2), (ExpiresIn::Zero, 2)] {
        let (stack, ada) = stack_of_ada().await;
        stack.sandbox().unwrap().set_expires_in(shape);
        Browser::new().connect(&stack, &ada).await;
        let live = grant(&stack, &ada).await.live().unwrap().clone();
        let end = stack.clock().now() + SignedDuration::from_secs(5_183_944);
        assert_eq!((live.expires_at, live.expiry_assumed), (end, false), "{shape:?}");
        assert_eq!(count(&stack, SandboxCall::DebugToken), calls, "{shape:?}");
    }
}

/// A failed exchange leaves a consent, whatever Meta answers about the short-lived token. The sweep
/// that completes it asks again.
#[tokio::test]
async fn a_failed_exchange_leaves_a_consent_whatever_the_inspection_says() {
    let (stack, ada) = stack_of_ada().await;
    let other = r#"{"id":"17841499999999999","username":"other"}"#;
    for profile in [FaultAction::Html, respond(200, other)] {
        fail(&stack, SandboxCall::ExchangeLongLived, FOREVER, FaultAction::Html);
        fail(&stack, SandboxCall::Me, FOREVER, profile);
        fail(&stack, SandboxCall::DebugToken, FOREVER, FaultAction::Html);
        assert_eq!(Browser::new().connect(&stack, &ada).await.location().path(), "/finishing");
        assert!(grant(&stack, &ada).await.consent().is_some());
        stack.sandbox().unwrap().clear_faults();
        stack.clock().advance(Duration::from_mins(2));
        stack.sweep().await.unwrap();
        let done = grant(&stack, &ada).await;
        assert_eq!((done.status(), done.username.as_deref()), (Status::Active, Some("ada")));
    }
}

#[tokio::test]
async fn a_failed_long_lived_exchange_is_finished_by_a_sweep() {
    let failures = [
        FaultAction::Html,
        FaultAction::Drop,
        FaultAction::Truncate,
        FaultAction::GraphError { code: 2, subcode: None, is_transient: true, status: 500 },
        respond(200, r#"{"token_type":"bearer"}"#),
    ];
    for action in failures {
        let stack = stack().await;
        let ada = account(&stack, "ada");
        fail(&stack, SandboxCall::ExchangeLongLived, FOREVER, action.clone());
        let reply = Browser::new().connect(&stack, &ada).await;
        assert_eq!(reply.status, StatusCode::SEE_OTHER, "{action:?}: {reply:?}");
        assert_eq!((reply.location().path(), reply.location().query()), ("/finishing", None));
        let pending = grant(&stack, &ada).await;
        assert_eq!(pending.status(), Status::Pending, "{action:?}");
        assert!(pending.live().is_none(), "a short-lived token must not pass for a long-lived one");
        let sealed = pending.consent().unwrap();
        assert_eq!(sealed.expires_at, stack.clock().now() + SignedDuration::from_hours(1));
        assert_eq!(unsealed(&stack, Purpose::AccessToken, &ada, &sealed.token).await, None);
        let short = unsealed(&stack, Purpose::PendingToken, &ada, &sealed.token).await.unwrap();

        stack.sandbox().unwrap().clear_faults();
        stack.sweep().await.unwrap();
        let done = grant(&stack, &ada).await;
        assert_eq!(done.status(), Status::Active, "{action:?}");
        assert!(done.consent().is_none());
        let long = token(&stack, &ada).await;
        assert_ne!(long, short);
        assert!(is_usable(&stack, &long).await);
    }
}

#[tokio::test]
async fn a_long_lived_answer_that_was_lost_is_asked_for_again() {
    for times in [1, 2] {
        let stack = stack().await;
        let ada = account(&stack, "ada");
        fail(&stack, SandboxCall::ExchangeLongLived, times, FaultAction::DropAfter);
        let reply = Browser::new().connect(&stack, &ada).await;
        assert_eq!(reply.location().path(), if times == 1 { "/connected" } else { "/finishing" });
        stack.sweep().await.unwrap();
        assert_eq!(grant(&stack, &ada).await.status(), Status::Active);
        assert!(is_usable(&stack, &token(&stack, &ada).await).await);
    }
}

#[tokio::test]
async fn reconnecting_replaces_the_grant() {
    let (stack, ada) = connected_ada().await;
    let (first, first_token) = (grant(&stack, &ada).await, token(&stack, &ada).await);
    stack.clock().advance(Duration::from_hours(1));
    let mut browser = Browser::new();
    let back = browser.consent(&stack, "scopes=threads_basic", &ada).await;
    browser.get(back.as_str()).await;
    let second = grant(&stack, &ada).await;
    assert_ne!(second.grant_id, first.grant_id);
    assert_ne!(token(&stack, &ada).await, first_token);
    assert_eq!(second.status(), Status::Active);
    assert_eq!(second.scopes.to_string(), "threads_basic");
    assert_eq!(second.created_at, first.created_at);
    assert_eq!(second.live().unwrap().issued_at, stack.clock().now());
    let grants = rows(&stack).await.iter().filter(|row| row.contains_key("token")).count();
    assert_eq!(grants, 1);
}

#[tokio::test]
async fn a_failing_reconnect_leaves_the_working_grant() {
    let (stack, ada) = connected_ada().await;
    let (first, first_token) = (grant(&stack, &ada).await, token(&stack, &ada).await);
    fail(&stack, SandboxCall::ExchangeCode, FOREVER, FaultAction::Html);
    Browser::new().connect(&stack, &ada).await;
    stack.sandbox().unwrap().clear_faults();
    let after = grant(&stack, &ada).await;
    assert!(after.consent().is_none());
    assert_eq!((after.status(), after.grant_id), (Status::Active, first.grant_id.clone()));

    fail(&stack, SandboxCall::ExchangeLongLived, FOREVER, FaultAction::Html);
    assert_eq!(Browser::new().connect(&stack, &ada).await.location().path(), "/finishing");
    stack.sandbox().unwrap().clear_faults();
    let beside = grant(&stack, &ada).await;
    assert_eq!((beside.status(), &beside.grant_id), (Status::Active, &first.grant_id));
    assert!(beside.consent().is_some());
    assert_eq!(token(&stack, &ada).await, first_token);
    assert!(is_usable(&stack, &first_token).await);

    stack.sweep().await.unwrap();
    let done = grant(&stack, &ada).await;
    assert_eq!(done.status(), Status::Active);
    assert!(done.consent().is_none());
    assert_ne!(token(&stack, &ada).await, first_token);
}

#[tokio::test]
async fn a_deletion_while_the_person_is_at_meta_wins() {
    let (stack, ada) = stack_of_ada().await;
    let mut browser = Browser::new();
    Browser::new().connect(&stack, &ada).await;
    let back = browser.consent(&stack, "", &ada).await;
    stack.clock().advance(Duration::from_mins(1));
    delete_data(&stack, &ada).await;
    stack.clock().advance(Duration::from_mins(1));
    assert_page(&browser.get(back.as_str()).await, StatusCode::GONE, "ended");
    assert!(find_grant(&stack, &ada).await.is_none());
    // A flow that begins after the deletion is a new consent.
    Browser::new().connect(&stack, &ada).await;
    assert_eq!(grant(&stack, &ada).await.status(), Status::Active);
}

#[tokio::test]
async fn only_a_backend_starts_flows_where_that_is_asked_for() {
    let stack = stack_with(&[("AUTHORIZE_ACCESS", "session")]).await;
    let url = format!("{}/authorize", stack.urls().service_url);
    let mut browser = Browser::new();
    let reply = browser.get(&url).await;
    assert_page(&reply, StatusCode::FORBIDDEN, "session_required");
    assert!(browser.jar.is_empty());
    assert!(!reply.body.contains("href=\"/authorize"), "a restart would only fail again");
    let unknown = browser.get(&format!("{url}?session=abcdefghijklmnopqrstuvwxyz012345")).await;
    assert_page(&unknown, StatusCode::NOT_FOUND, "session_unknown");
    let session = stack.service().create_session(new_session("user-1"), stack.clock().now()).await.unwrap();
    let back = browser.consent(&stack, &format!("session={}", session.id), &account(&stack, "ada")).await;
    assert_eq!(browser.get(back.as_str()).await.status, StatusCode::SEE_OTHER);
}

#[tokio::test]
async fn a_denied_session_can_still_be_connected() {
    let (stack, ada) = stack_of_ada().await;
    let mut browser = Browser::new();
    let session = stack.service().create_session(new_session("user-1"), stack.clock().now()).await.unwrap();
    let mut at_meta = browser.get(&stack.service().config().session_url(&session.id)).await.location();
    at_meta.query_pairs_mut().append_pair("auto_deny", "1");
    let state = parameter(&at_meta, "state");
    let back = Browser::new().get(at_meta.as_str()).await.location();
    let denied = browser.get(&format!("{back}&state={state}")).await;
    let told = format!("?session_id={}&status=denied&reason=user_denied#", session.id);
    assert_eq!(denied.location().as_str(), format!("http://127.0.0.1:4000/done{told}"));
    let status = async || stack.service().store().session(&session.id).await.unwrap().unwrap().state.status();
    assert_eq!(status().await, SessionStatus::Denied);
    let back = browser.consent(&stack, &format!("session={}", session.id), &ada).await;
    assert_eq!(browser.get(back.as_str()).await.status, StatusCode::SEE_OTHER);
    assert_eq!(status().await, SessionStatus::Connected);
    // A late denial of another tab does not undo it.
    let late = browser.get(&format!("{}&state={state}", denied_url(&stack))).await;
    assert_eq!(late.location(), denied.location());
    assert_eq!(status().await, SessionStatus::Connected);
}

fn denied_url(stack: &Stack) -> String {
    format!("{}/callback?error=access_denied&error_reason=user_denied", stack.urls().service_url)
}

/// A session of the app's backend for one of its users.
pub(crate) fn new_session(reference: &str) -> NewSession {
    NewSession {
        reference: reference.to_owned(),
        scopes: None,
        return_to: "http://127.0.0.1:4000/done".to_owned(),
        ui_locales: None,
        user_id: None,
        lifetime: SignedDuration::from_mins(30),
    }
}
