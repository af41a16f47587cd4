//! The last step of a session: a connected account finds its user, or ends, and nobody else gets
//! it.

use std::time::Duration;

use devstack::Stack;
use reqwest::header::{CACHE_CONTROL, HeaderMap, HeaderName, HeaderValue, SET_COOKIE};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use threads_auth::{RefreshOutcome, RevokedBy, State};
use threads_auth_model::seal::hash;
use threads_auth_model::{Claim, SessionState, SessionStatus, Status};
use threads_auth_store::WriteOutcome;
use threads_sandbox::SandboxCall;
use tokio::task::JoinSet;
use url::Url;

use crate::backend::{completion, finished, new};
use crate::fixture::{
    Browser, Reply, account, calls, calls_of, fail, find_grant, grant, parameter, respond, rows, stack,
    stack_of_ada, stack_with,
};
use crate::iam;
use crate::proxy::Proxy;

const HOUR: Duration = Duration::from_hours(1);

async fn post(stack: &Stack, path: &str, body: &Value) -> (StatusCode, Value) {
    let reply = iam::call(stack, Method::POST, path, &body.to_string()).await;
    (reply.status, serde_json::from_str(&reply.body).unwrap())
}

async fn get(stack: &Stack, path: &str) -> Value {
    serde_json::from_str(&iam::call(stack, Method::GET, path, "").await.body).unwrap()
}

async fn complete(stack: &Stack, id: &str, code: &str, logged_in: &str) -> (StatusCode, Value) {
    post(stack, &format!("/sessions/{id}/complete"), &completion(code, logged_in)).await
}

/// A new session of the app's user, and the address with its own query that leads to it.
async fn session(stack: &Stack, body: &Value) -> (String, String) {
    let (status, session) = post(stack, "/sessions", body).await;
    assert_eq!(status, StatusCode::CREATED, "{session}");
    let id = session["id"].as_str().unwrap().to_owned();
    (id.clone(), format!("session={id}"))
}

/// Returns the events announced so far, oldest first.
async fn events(stack: &Stack) -> Vec<Value> {
    stack.announce().await.unwrap();
    stack.events().into_iter().rev().map(|event| event["detail"].clone()).collect()
}

fn types(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| event["type"].as_str().unwrap()).collect()
}

fn with(url: &Url, name: &str, value: &str) -> String {
    let mut url = url.clone();
    let pairs: Vec<(String, String)> = url.query_pairs().into_owned().collect();
    url.query_pairs_mut().clear().extend_pairs(
        pairs.into_iter().map(|(key, old)| if key == name { (key, value.to_owned()) } else { (key, old) }),
    );
    url.into()
}

#[tokio::test]
async fn the_same_browser_is_led_to_the_same_place_until_the_code_is_redeemed() {
    let (stack, ada) = stack_of_ada().await;
    let (id, query) = session(&stack, &new("user-7")).await;
    let mut browser = Browser::new();
    let back = browser.consent(&stack, &query, &ada).await;
    let first = browser.get(back.as_str()).await;
    assert_eq!(first.status, StatusCode::SEE_OTHER);
    let made = calls(&stack);
    // Loaded again, and with Meta's other code after the back button.
    let code =
        stack.sandbox().unwrap().issue_code(&ada, &format!("{}/callback", stack.urls().service_url), &[]);
    for url in [back.to_string(), back.to_string(), with(&back, "code", &code)] {
        let again = browser.get(&url).await;
        assert_eq!((again.status, again.location()), (StatusCode::SEE_OTHER, first.location()));
        assert!(again.headers.get(SET_COOKIE).is_none());
    }
    assert_eq!(calls(&stack), made, "Meta is not asked again");
    // Another browser gets nothing, nor does another flow of this one.
    assert!(Browser::new().get(back.as_str()).await.is_page("wrong_browser"));
    let code = parameter(&first.location(), "completion");
    assert_eq!(complete(&stack, &id, &code, "user-7").await.0, StatusCode::OK);
    let late = browser.get(back.as_str()).await;
    assert_eq!(parameter(&late.location(), "reason"), "replayed");
    assert!(!late.location().as_str().contains("completion"), "{late:?}");
    assert_eq!(calls(&stack), made);
    println!("a callback repeated 3 times: 1 code, 0 calls to Meta; in another browser: nothing");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_page_that_is_loaded_twice_at_once_leads_to_one_place() {
    let (stack, ada) = stack_of_ada().await;
    let (_, query) = session(&stack, &new("user-7")).await;
    let mut browser = Browser::new();
    let back = browser.consent(&stack, &query, &ada).await;
    let mut tabs = JoinSet::new();
    for _ in 0..8 {
        let (browser, back) = (browser.clone(), back.clone());
        tabs.spawn(async move {
            browser.send(Method::GET, back.as_str(), HeaderMap::new(), String::new()).await.location()
        });
    }
    let places = tabs.join_all().await;
    assert!(places.iter().all(|place| *place == places[0]), "{places:?}");
    assert_eq!(parameter(&places[0], "completion").len(), 43);
}

#[tokio::test]
async fn what_a_browser_loads_ahead_changes_nothing() {
    let (stack, ada) = stack_of_ada().await;
    let (id, query) = session(&stack, &new("user-7")).await;
    let url = format!("{}/authorize?{query}", stack.urls().service_url);
    let mut browser = Browser::new();
    let ahead = [
        ("sec-purpose", "prefetch"),
        ("sec-purpose", "prefetch;prerender"),
        ("sec-purpose", "prefetch;anonymous-client-ip"),
        ("purpose", "prefetch"),
        ("purpose", "Preview"),
        ("x-moz", "prefetch"),
        ("x-purpose", "preview"),
    ];
    let load = async |browser: &Browser, url: &str, (name, value): (&'static str, &'static str)| -> Reply {
        let header = (HeaderName::from_static(name), HeaderValue::from_static(value));
        browser.send(Method::GET, url, HeaderMap::from_iter([header]), String::new()).await
    };
    let before = rows(&stack).await;
    let assert_nothing = async |reply: Reply| {
        assert_eq!(reply.status, StatusCode::SERVICE_UNAVAILABLE, "{reply:?}");
        assert_eq!(reply.headers[CACHE_CONTROL], "no-store");
        assert!(reply.headers.get(SET_COOKIE).is_none() && reply.is_page("prefetch"), "{reply:?}");
        assert_eq!((calls(&stack), rows(&stack).await), (0, before.clone()));
    };
    for header in ahead {
        assert_nothing(load(&browser, &url, header).await).await;
    }
    let back = browser.consent(&stack, &query, &ada).await;
    for header in ahead {
        assert_nothing(load(&browser, back.as_str(), header).await).await;
        let denied = format!(
            "{}/callback?error=access_denied&state={}",
            stack.urls().service_url,
            parameter(&back, "state")
        );
        assert_nothing(load(&browser, &denied, header).await).await;
    }
    // The person's own navigation then works. Its headers have other purposes.
    let header = (HeaderName::from_static("sec-fetch-dest"), HeaderValue::from_static("document"));
    let real = browser.send(Method::GET, back.as_str(), HeaderMap::from_iter([header]), String::new()).await;
    let code = parameter(&real.location(), "completion");
    assert_eq!(complete(&stack, &id, &code, "user-7").await.0, StatusCode::OK);
    println!("{} kinds of loading ahead: 0 calls, 0 writes", ahead.len());
}

#[tokio::test]
async fn whoever_finishes_in_the_last_second_has_ten_minutes() {
    let (stack, ada) = stack_of_ada().await;
    let mut body = new("user-7");
    body["expires_in"] = 60.into();
    let (id, query) = session(&stack, &body).await;
    let mut browser = Browser::new();
    let back = browser.consent(&stack, &query, &ada).await;
    stack.clock().advance(Duration::from_secs(58));
    let code = parameter(&browser.get(back.as_str()).await.location(), "completion");
    stack.clock().advance(Duration::from_secs(599));
    // A reload has the same time, as long as its cookie lives.
    assert_eq!(get(&stack, &format!("/sessions/{id}")).await["status"], "connected");
    assert_eq!(complete(&stack, &id, &code, "user-7").await.0, StatusCode::OK);
    // The next one is a second too late.
    let (id, query) = session(&stack, &body).await;
    let back = browser.consent(&stack, &query, &ada).await;
    stack.clock().advance(Duration::from_secs(58));
    let code = parameter(&browser.get(back.as_str()).await.location(), "completion");
    stack.clock().advance(Duration::from_mins(10));
    assert_eq!(complete(&stack, &id, &code, "user-7").await.0, StatusCode::GONE);
    assert_eq!(get(&stack, &format!("/sessions/{id}")).await["status"], "expired");
}

#[tokio::test]
async fn a_shared_link_may_carry_more_than_its_session() {
    let stack = stack_with(&[("AUTHORIZE_ACCESS", "session")]).await;
    let (_, query) = session(&stack, &new("user-7")).await;
    let open = async |query: &str| {
        Browser::new().get(&format!("{}/authorize?{query}", stack.urls().service_url)).await.status
    };
    for query in [
        format!("{query}&fbclid=IwAR0abc"),
        format!("utm_source=mail&{query}&utm_source=again&gclid="),
        format!("%ff=%00&{query}"),
    ] {
        assert_eq!(open(&query).await, StatusCode::FOUND, "{query}");
    }
    for more in ["return_to=http%3A%2F%2F127.0.0.1%3A4000%2F", "scopes=threads_basic", &query] {
        assert_eq!(open(&format!("{query}&{more}")).await, StatusCode::BAD_REQUEST, "{more}");
    }
}

#[tokio::test]
async fn a_denial_without_a_state_speaks_for_nobody() {
    let stack = stack().await;
    let (id, query) = session(&stack, &new("user-7")).await;
    let url = format!("{}/authorize?{query}", stack.urls().service_url);
    let mut browser = Browser::new();
    browser.get(&url).await;
    let before = rows(&stack).await;
    for error in ["error=x", "error=access_denied&error_reason=user_denied", "error_code=1349168"] {
        // Any page can send the browser here.
        let reply = browser.get(&format!("{}/callback?{error}", stack.urls().service_url)).await;
        assert_eq!(parameter(&reply.location(), "session_id"), id);
        assert_eq!(rows(&stack).await, before, "{error}");
    }
    assert_eq!(get(&stack, &format!("/sessions/{id}")).await["status"], "open");
}

#[tokio::test]
async fn ten_failed_exchanges_close_a_session_and_a_status_is_written_once() {
    let (stack, ada) = stack_of_ada().await;
    let (watched, service) = Proxy::start(&stack).await;
    let now = stack.clock().now();
    let callback = async |browser: &Browser, query: &str| {
        let jar: Vec<String> = browser.jar.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let jar: Vec<&str> = jar.iter().map(String::as_str).collect();
        service.finish_connect(query, &jar, now).await
    };
    let exchanges = || calls_of(&stack, SandboxCall::ExchangeCode);
    // Fifty denials of one state.
    let (id, query) = session(&stack, &new("user-7")).await;
    let mut browser = Browser::new();
    let back = browser.consent(&stack, &query, &ada).await;
    let state = parameter(&back, "state");
    for _ in 0..50 {
        callback(&browser, &format!("error=access_denied&state={state}")).await.unwrap_err();
    }
    let denials = watched.writes();
    assert_eq!(denials, 1);
    // One that changes its mind all the time is not written without end either.
    for n in 0..50 {
        let error = ["access_denied", "server_error"][n % 2];
        callback(&browser, &format!("error={error}&state={state}")).await.unwrap_err();
    }
    let undecided = watched.writes() - denials;
    assert_eq!(undecided, 10);
    assert_eq!(get(&stack, &format!("/sessions/{id}")).await["reason"], "too_many_failures");
    // Three hundred codes that Meta does not know.
    let (id, query) = session(&stack, &new("user-7")).await;
    let back = browser.consent(&stack, &query, &ada).await;
    let state = parameter(&back, "state");
    let before = watched.writes();
    for n in 0..300 {
        callback(&browser, &format!("code=junk{n}&state={state}")).await.unwrap_err();
    }
    let (asked, written) = (exchanges(), watched.writes() - before);
    println!(
        "300 junk codes in a session: {asked} exchanges, {written} writes; 50 denials: {denials} write; 50 in turn: {undecided}"
    );
    assert_eq!((asked, written), (10, 10));
    let shown = get(&stack, &format!("/sessions/{id}")).await;
    assert_eq!((&shown["status"], &shown["reason"]), (&json!("failed"), &json!("too_many_failures")));
    let closed = browser.get(&format!("{}/authorize?{query}", stack.urls().service_url)).await;
    assert!(closed.is_page("session_closed"), "{closed:?}");
    let closed = browser.get(back.as_str()).await;
    assert_eq!(parameter(&closed.location(), "reason"), "session_closed", "a good code comes too late");
    // Nine are not too many.
    let (_, query) = session(&stack, &new("user-7")).await;
    let back = browser.consent(&stack, &query, &ada).await;
    for n in 0..9 {
        let junk = format!("code=junk{n}&state={}", parameter(&back, "state"));
        callback(&browser, &junk).await.unwrap_err();
    }
    let before = watched.writes();
    callback(&browser, back.query().unwrap()).await.unwrap();
    assert_eq!(watched.writes() - before, 1, "success is one write");
    // Without a session a failure writes nothing.
    let back = browser.consent(&stack, "", &ada).await;
    let before = watched.writes();
    for n in 0..20 {
        let junk = format!("code=junk{n}&state={}", parameter(&back, "state"));
        callback(&browser, &junk).await.unwrap_err();
    }
    assert_eq!(watched.writes(), before);
}

/// The completion of an older version has not claimed the account: the sweep does.
#[tokio::test]
async fn an_account_whose_session_an_older_version_completed_lives_on() {
    let (stack, ada) = stack_of_ada().await;
    let (id, code) = finished(&stack, new("user-7"), &ada).await;
    let store = stack.service().store();
    let completed = SessionState::complete(&id, &hash(&code), "of an older version", stack.clock().now());
    assert_eq!(store.write(&completed).await.unwrap(), WriteOutcome::Stored);
    stack.clock().advance(HOUR * 25);
    stack.sweep().await.unwrap();
    let left = grant(&stack, &ada).await;
    assert_eq!(left.status(), Status::Active);
    assert_eq!(left.claim.owner().map(|owner| owner.reference.as_str()), Some("user-7"));
}

/// Nobody completes a first connect: it is announced, and it ends.
#[tokio::test]
async fn an_account_that_nobody_claims_ends() {
    let (stack, ada) = stack_of_ada().await;
    let (id, code) = finished(&stack, new("user-7"), &ada).await;
    let connected = grant(&stack, &ada).await;
    assert!(matches!(connected.claim, Claim::Unclaimed { .. }));
    let told = events(&stack).await;
    assert_eq!((types(&told), &told[0]["session_id"]), (vec!["account.connected"], &json!(id)));
    assert!(!serde_json::to_string(&stack.events()).unwrap().contains("user-7"));
    let shown = get(&stack, &format!("/users/{ada}")).await;
    assert_eq!(
        (&shown["reference"], &shown["unclaimed_until"]),
        (&Value::Null, &json!("2041-01-02T00:00:00Z"))
    );
    // The app may use it meanwhile: only its owner is unknown.
    assert_eq!(get(&stack, &format!("/users/{ada}/token")).await["token_type"], "bearer");
    let mut asked = calls(&stack);
    for (hours, outcome, kind) in [
        (11, None, None),
        (1, Some(RefreshOutcome::Checked), Some("account.expiring_soon")),
        (11, None, None),
        (1, Some(RefreshOutcome::Unclaimed), Some("account.disconnected")),
        (24, None, None),
    ] {
        stack.clock().advance(HOUR * hours);
        let seen = events(&stack).await.len();
        let report = stack.sweep().await.unwrap();
        assert_eq!(report.outcomes.keys().next().copied(), outcome, "{report:?}");
        let told = events(&stack).await.split_off(seen);
        assert_eq!(types(&told), kind.into_iter().collect::<Vec<_>>());
        match kind {
            Some("account.expiring_soon") => {
                assert_eq!((&told[0]["deadline"], &told[0]["days"]), (&json!("claim"), &json!(1)));
            }
            Some(_) => assert_eq!(told[0]["by"], "unclaimed"),
            None => {}
        }
        assert_eq!(calls(&stack), asked, "Meta is not asked");
    }
    let ended = grant(&stack, &ada).await;
    assert!(matches!(ended.state, State::Revoked(Some(RevokedBy::Unclaimed), None)), "{ended:?}");
    assert!(!format!("{:?}", rows(&stack).await).contains("\"token\""));
    assert_eq!(complete(&stack, &id, &code, "user-7").await.0, StatusCode::GONE);
    // The next connect is a first one again, with a time of its own.
    finished(&stack, new("user-7"), &ada).await;
    asked = calls(&stack);
    assert_eq!(grant(&stack, &ada).await.claim.until(), Some(stack.clock().now() + HOUR * 24));
    // Without a sweep in time, it is announced and ended in one look.
    stack.clock().advance(HOUR * 25);
    let seen = events(&stack).await.len();
    assert_eq!(stack.sweep().await.unwrap().count(RefreshOutcome::Unclaimed), 1);
    let told = events(&stack).await.split_off(seen);
    assert_eq!(types(&told), ["account.expiring_soon", "account.disconnected"]);
    assert_eq!(calls(&stack), asked);
}

#[tokio::test]
async fn a_claimed_account_lives_on_and_has_its_user() {
    let (stack, ada) = stack_of_ada().await;
    let (id, code) = finished(&stack, new("user-7"), &ada).await;
    let refused = complete(&stack, &id, &code, "user-8").await;
    assert_eq!((refused.0, &refused.1["error"]["code"]), (StatusCode::FORBIDDEN, &json!("wrong_reference")));
    assert!(grant(&stack, &ada).await.claim.until().is_some(), "nothing is claimed by it");
    assert_eq!(complete(&stack, &id, &code, "user-7").await.0, StatusCode::OK);
    let told = events(&stack).await;
    assert_eq!(types(&told), ["account.connected", "account.claimed"]);
    assert_eq!((&told[1]["reference"], told[0].get("reference")), (&json!("user-7"), None));
    let shown = get(&stack, &format!("/users/{ada}")).await;
    assert_eq!((&shown["reference"], &shown["unclaimed_until"]), (&json!("user-7"), &Value::Null));
    assert!(grant(&stack, &ada).await.due_at.unwrap() > stack.clock().now() + HOUR * 24 * 30);
    let asked = calls(&stack);
    stack.clock().advance(HOUR * 48);
    assert!(stack.sweep().await.unwrap().outcomes.is_empty());
    assert_eq!((grant(&stack, &ada).await.status(), calls(&stack)), (Status::Active, asked));
}

/// Somebody is lured into the attacker's session with an account that is claimed, and nobody
/// completes it.
#[tokio::test]
async fn an_attackers_session_over_a_claimed_account_changes_nothing() {
    for first in ["a completed session", "no session"] {
        let stack = stack().await;
        let ada = account(&stack, "ada");
        if first == "no session" {
            Browser::new().connect(&stack, &ada).await;
        } else {
            let (id, code) = finished(&stack, new("victim"), &ada).await;
            assert_eq!(complete(&stack, &id, &code, "victim").await.0, StatusCode::OK);
        }
        let before = grant(&stack, &ada).await.claim;
        let shown = get(&stack, &format!("/users/{ada}")).await["reference"].clone();
        stack.clock().advance(HOUR);
        let (lure, _) = finished(&stack, new("attacker"), &ada).await;
        let after = grant(&stack, &ada).await;
        assert_eq!(
            (after.claim, after.session_id.as_deref()),
            (before.clone(), Some(lure.as_str())),
            "{first}"
        );
        for _ in 0..60 {
            stack.clock().advance(HOUR * 24);
            stack.sweep().await.unwrap();
        }
        let alive = grant(&stack, &ada).await;
        assert_eq!((alive.status(), alive.claim), (Status::Active, before), "{first}");
        assert_eq!(get(&stack, &format!("/users/{ada}")).await["reference"], shown);
        let told = events(&stack).await;
        assert!(!serde_json::to_string(&told).unwrap().contains("attacker"), "{first}");
        let connected = told.iter().rfind(|event| event["type"] == "account.connected").unwrap();
        assert_eq!((&connected["reconnected"], &connected["session_id"]), (&json!(true), &json!(lure)));
    }
}

/// The long-lived token is still to come when the session is completed, or is not completed.
#[tokio::test]
async fn a_consent_that_is_completed_later_is_claimed_or_ends_as_any() {
    for is_claimed in [true, false] {
        let stack = stack().await;
        let ada = account(&stack, "ada");
        fail(&stack, SandboxCall::ExchangeLongLived, 2, respond(500, ""));
        let (id, code) = finished(&stack, new("user-7"), &ada).await;
        assert_eq!(grant(&stack, &ada).await.status(), Status::Pending);
        if is_claimed {
            assert_eq!(complete(&stack, &id, &code, "user-7").await.0, StatusCode::OK);
        }
        assert_eq!(stack.sweep().await.unwrap().count(RefreshOutcome::Completed), 1);
        let told = events(&stack).await;
        let connected = told.iter().find(|event| event["type"] == "account.connected").unwrap();
        assert_eq!(connected["session_id"], json!(id));
        stack.clock().advance(HOUR * 25);
        let report = stack.sweep().await.unwrap();
        assert_eq!(report.count(RefreshOutcome::Unclaimed), u64::from(!is_claimed), "{report:?}");
        let status = if is_claimed { Status::Active } else { Status::Revoked };
        assert_eq!(grant(&stack, &ada).await.status(), status);
    }
}

#[tokio::test]
async fn the_time_to_claim_is_a_setting_and_never_shorter_than_the_session() {
    let stack = stack_with(&[("UNCLAIMED_HOURS", "1")]).await;
    let ada = account(&stack, "ada");
    let mut body = new("user-7");
    body["expires_in"] = (6 * 3_600).into();
    let (id, code) = finished(&stack, body, &ada).await;
    stack.clock().advance(HOUR * 5);
    stack.sweep().await.unwrap();
    assert_eq!(complete(&stack, &id, &code, "user-7").await.0, StatusCode::OK);
    let grace = account(&stack, "grace");
    finished(&stack, new("user-8"), &grace).await;
    stack.clock().advance(HOUR);
    assert_eq!(stack.sweep().await.unwrap().count(RefreshOutcome::Unclaimed), 1);
    assert_eq!(grant(&stack, &ada).await.status(), Status::Active);
}

/// A session is open in two tabs: the first to finish has it, and the other learns that without a
/// call to Meta.
#[tokio::test]
async fn two_tabs_of_one_session_cost_one_exchange() {
    let stack = stack().await;
    let (ada, grace) = (account(&stack, "ada"), account(&stack, "grace"));
    let (id, query) = session(&stack, &new("user-7")).await;
    let mut browser = Browser::new();
    let (first, second) =
        (browser.consent(&stack, &query, &ada).await, browser.consent(&stack, &query, &grace).await);
    let landed = browser.get(first.as_str()).await.location();
    let late = browser.get(second.as_str()).await;
    assert_eq!(
        late.location().query(),
        Some(&*format!("session_id={id}&status=failed&reason=session_closed"))
    );
    assert_eq!(calls_of(&stack, SandboxCall::ExchangeCode), 1);
    assert!(find_grant(&stack, &grace).await.is_none());
    // The first one still leads where it led.
    assert_eq!(browser.get(first.as_str()).await.location(), landed);
    let session = stack.service().store().session(&id).await.unwrap().unwrap();
    assert_eq!(session.state.status(), SessionStatus::Connected);
}
