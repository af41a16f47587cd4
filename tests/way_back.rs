//! The way back: after every outcome of a known flow its person is led to the app, and the address
//! holds only hints.

use std::collections::BTreeSet;
use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use devstack::Stack;
use jiff::SignedDuration;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue, LOCATION};
use reqwest::{Method, StatusCode};
use threads_auth::{Config, ConnectOutcome, ReturnStatus, ThreadsAuth};
use threads_auth_model::{Session, SessionStatus};
use threads_graph::DenialReason;
use threads_sandbox::{FaultAction, SandboxCall};

use crate::connect::new_session;
use crate::fixture::{
    Browser, Reply, account, calls, delete_data, fail, http, parameter, respond, rows, stack,
};
use crate::proxy::{Fault, Proxy};
use crate::threats::common::{cookies, invoke_at};

const APP: &str = "http://127.0.0.1:4000/done";
const HOUR: Duration = Duration::from_hours(1);
const DENIED: &str = "error=access_denied&error_reason=user_denied";

/// The exact text of a redirect's address, before any parser changes it.
fn led(reply: &Reply) -> String {
    assert_eq!(reply.status, StatusCode::SEE_OTHER, "{reply:?}");
    assert!(reply.body.is_empty(), "{reply:?}");
    reply.headers[LOCATION].to_str().unwrap().to_owned()
}

async fn session(stack: &Stack) -> Session {
    stack.service().create_session(new_session("user-7"), stack.clock().now()).await.unwrap()
}

/// A flow of one browser: in a session, or with an address of its own.
struct Visit {
    browser: Browser,
    /// By which Meta sends the person back.
    back: String,
    state: String,
    /// `session_id=…&`, or nothing.
    who: String,
    session: Option<Session>,
}

impl Visit {
    async fn start(stack: &Stack, is_session: bool, expected: Option<&str>) -> Self {
        let mut new = new_session("user-7");
        new.user_id = expected.map(|id| id.parse().unwrap());
        let session = if is_session {
            Some(stack.service().create_session(new, stack.clock().now()).await.unwrap())
        } else {
            None
        };
        let query = match &session {
            Some(session) => format!("session={}", session.id),
            None => format!("return_to={APP}"),
        };
        let mut browser = Browser::new();
        let back = browser.consent(stack, &query, &account(stack, "ada")).await;
        let who = session.as_ref().map_or_else(String::new, |session| format!("session_id={}&", session.id));
        Self { browser, state: parameter(&back, "state"), back: back.into(), who, session }
    }

    async fn ask(&self, url: &str) -> Reply {
        self.browser.send(Method::GET, url, HeaderMap::new(), String::new()).await
    }

    /// Follows Meta's redirect to the callback.
    async fn finish(&self) -> Reply {
        self.ask(&self.back).await
    }

    /// Meta sends the person back with these parameters and the state.
    async fn comes_back(&self, stack: &Stack, query: &str) -> Reply {
        self.ask(&format!("{}/callback?{query}&state={}", stack.urls().service_url, self.state)).await
    }

    /// The address that leads back with this hint.
    fn told(&self, status: &str, reason: &str) -> String {
        format!("{APP}?{}status={status}&reason={reason}#", self.who)
    }
}

/// Every hint, both with a session and without one. What is added to the service has to be added
/// here.
#[tokio::test]
#[expect(clippy::too_many_lines, reason = "a table of all ends")]
async fn every_outcome_of_a_known_flow_leads_back_to_the_app() {
    let mut told = BTreeSet::new();
    for is_session in [true, false] {
        let stack = stack().await;
        let ada = account(&stack, "ada");
        let sandbox = stack.sandbox().unwrap();
        let mut expect = |visit: &Visit, reply: &Reply, status: &str, reason: &str| {
            assert_eq!(led(reply), visit.told(status, reason));
            told.insert((status.to_owned(), reason.to_owned()));
        };
        let start = async || Visit::start(&stack, is_session, None).await;

        // Before the call to Meta.
        let visit = start().await;
        for (query, status, reason) in [
            (DENIED, "denied", "user_denied"),
            ("error=access_denied", "denied", "user_denied"),
            ("error=access_denied&error_reason=abuse", "denied", "other"),
            ("error=server_error&error_description=x", "failed", "threads_failed"),
            ("error_code=1349168&error_message=x", "failed", "threads_failed"),
        ] {
            let reply = visit.comes_back(&stack, query).await;
            expect(&visit, &reply, status, reason);
            if let Some(session) = &visit.session {
                let noted = stack.service().store().session(&session.id).await.unwrap().unwrap();
                assert_eq!((noted.state.status().as_str(), noted.reason()), (status, Some(reason)));
            }
        }
        assert_eq!(calls(&stack), 0);

        // Meta answers, or does not.
        let role =
            r#"{"error_type":"OAuthException","code":400,"error_message":"Insufficient developer role"}"#;
        for (action, reason) in [
            (FaultAction::Html, "threads_unavailable"),
            (FaultAction::Throttle { retry_after: None }, "threads_unavailable"),
            (respond(400, role), "misconfigured"),
        ] {
            let visit = start().await;
            fail(&stack, SandboxCall::ExchangeCode, 2, action);
            expect(&visit, &visit.finish().await, "failed", reason);
            sandbox.clear_faults();
        }
        let visit = start().await;
        let reply = visit.comes_back(&stack, "code=AQBunknown").await;
        expect(&visit, &reply, "failed", "code_refused");
        if is_session {
            let visit = Visit::start(&stack, true, Some(&account(&stack, "grace"))).await;
            expect(&visit, &visit.finish().await, "failed", "wrong_account");
        }

        // The account is ended meanwhile.
        let visit = start().await;
        stack.clock().advance(Duration::from_mins(1));
        delete_data(&stack, &ada).await;
        expect(&visit, &visit.finish().await, "failed", "ended");

        // Our own store does not answer.
        let visit = start().await;
        let (lossy, service) = Proxy::start(&stack).await;
        lossy.fail(Fault::DENIED, "GetItem", 0);
        let query = visit.back.split_once('?').unwrap().1;
        let now = stack.clock().now();
        let reply = invoke_at(&service, now, "/callback", query, &cookies(&visit.browser)).await;
        expect(&visit, &reply, "failed", "unavailable");

        // Too late for good, whatever Meta's answer.
        for minutes in [10, 69] {
            let visit = start().await;
            stack.clock().advance(Duration::from_mins(minutes));
            let made = calls(&stack);
            let before = rows(&stack).await;
            expect(&visit, &visit.finish().await, "expired", "expired");
            let reply = visit.comes_back(&stack, DENIED).await;
            expect(&visit, &reply, "expired", "expired");
            assert_eq!((calls(&stack), rows(&stack).await), (made, before));
        }

        // A second time.
        let visit = start().await;
        let first = led(&visit.finish().await);
        if let Some(session) = &visit.session {
            let code = parameter(&first.parse().unwrap(), "completion");
            assert_eq!(first, format!("{APP}?session_id={}&completion={code}#", session.id));
            assert_eq!(led(&visit.finish().await), first, "the same code, until it is redeemed");
            let now = stack.clock().now();
            stack.service().complete_session(&session.id, &code, "user-7", now).await.unwrap();
        } else {
            assert_eq!(first, format!("{APP}?status=connected#"));
        }
        for _ in 0..2 {
            let made = calls(&stack);
            expect(&visit, &visit.finish().await, "connected", "replayed");
            assert_eq!(calls(&stack), made);
            // A page that is loaded again an hour later does not undo the first outcome.
            stack.clock().advance(HOUR);
        }

        // The long-lived exchange is still to come.
        let visit = start().await;
        fail(&stack, SandboxCall::ExchangeLongLived, 2, respond(500, ""));
        let finishing = led(&visit.finish().await);
        assert_eq!(finishing.contains("completion="), is_session);
        assert_eq!(finishing.contains("status=finishing#"), !is_session, "{finishing}");
    }

    // The session ends meanwhile.
    let stack = stack().await;
    let mut expect = |visit: &Visit, reply: &Reply, status: &str, reason: &str| {
        assert_eq!(led(reply), visit.told(status, reason));
        told.insert((status.to_owned(), reason.to_owned()));
    };
    let mut visit = Visit::start(&stack, true, None).await;
    let query = format!("session={}", visit.session.as_ref().unwrap().id);
    let other = visit.browser.consent(&stack, &query, &account(&stack, "grace")).await;
    visit.browser.get(other.as_str()).await;
    expect(&visit, &visit.finish().await, "failed", "session_closed");
    let mut new = new_session("user-7");
    new.lifetime = SignedDuration::from_mins(1);
    let short = stack.service().create_session(new, stack.clock().now()).await.unwrap();
    let mut visit = Visit::start(&stack, true, None).await;
    let query = format!("session={}", short.id);
    visit.back = visit.browser.consent(&stack, &query, &account(&stack, "ada")).await.into();
    visit.who = format!("session_id={}&", short.id);
    stack.clock().advance(Duration::from_mins(2));
    expect(&visit, &visit.finish().await, "expired", "session_expired");
    let visit = Visit::start(&stack, true, None).await;
    let id = &visit.session.as_ref().unwrap().id;
    delete_row(&stack, &format!("session#{id}")).await;
    expect(&visit, &visit.finish().await, "failed", "session_unknown");

    let outcomes = ConnectOutcome::ALL.into_iter();
    let reasons: BTreeSet<(String, String)> = outcomes
        .filter(|outcome| {
            !matches!(outcome, ConnectOutcome::Connected | ConnectOutcome::Finishing | ConnectOutcome::Denied)
        })
        .filter_map(|outcome| Some((outcome.return_status()?.to_string(), outcome.to_string())))
        .chain(DenialReason::ALL.map(|reason| (ReturnStatus::Denied.to_string(), reason.to_string())))
        .collect();
    assert_eq!(told, reasons);
    println!("{} hints, each in a redirect to the app", told.len());
}

async fn delete_row(stack: &Stack, pk: &str) {
    let config = stack.service().config();
    let deleted = threads_auth_store::aws::dynamodb(&config.aws, &http())
        .delete_item()
        .table_name(&config.short_lived_table)
        .key("pk", AttributeValue::S(pk.to_owned()))
        .return_values(aws_sdk_dynamodb::types::ReturnValue::AllOld)
        .send();
    assert!(deleted.await.unwrap().attributes.is_some(), "there was no row {pk}");
}

/// Meta's own form of a denial: without a state it belongs to no flow. It only leads back, if the
/// browser has one live flow.
#[tokio::test]
async fn a_denial_without_a_state_leads_back_from_the_only_flow() {
    let stack = stack().await;
    let service = &stack.urls().service_url;
    let forms = [
        (DENIED, "denied", "user_denied"),
        ("error=access_denied&error_reason=abuse", "denied", "other"),
        ("error_code=1349168&error_message=x", "failed", "threads_failed"),
    ];
    for is_session in [true, false] {
        let visit = Visit::start(&stack, is_session, None).await;
        let before = (rows(&stack).await, calls(&stack));
        for (query, status, reason) in forms {
            let reply = visit.ask(&format!("{service}/callback?{query}")).await;
            assert_eq!(led(&reply), visit.told(status, reason));
        }
        assert_eq!((rows(&stack).await, calls(&stack)), before);
        if let Some(session) = &visit.session {
            let now = stack.service().store().session(&session.id).await.unwrap().unwrap();
            assert_eq!(now.state.status(), SessionStatus::Open);
        }
        // Another browser has no flow, and two flows are not one.
        let denied = format!("{service}/callback?{DENIED}");
        assert!(Browser::new().get(&denied).await.is_page("denied"));
        let mut two = visit.browser.clone();
        let started = two.get(&format!("{service}/authorize?return_to={APP}")).await;
        assert_eq!(started.status, StatusCode::FOUND);
        assert!(two.get(&denied).await.is_page("denied"));
        // One that has come to its end is no longer under way: the other is the only one.
        visit.finish().await;
        let reply = two.get(&denied).await;
        assert_eq!(led(&reply), format!("{APP}?status=denied&reason=user_denied#"));
        // Neither is one that has expired.
        let mut later = visit.browser.clone();
        stack.clock().advance(Duration::from_mins(10));
        assert!(later.get(&denied).await.is_page("denied"));
        later.get(&format!("{service}/authorize?return_to={APP}?later=1")).await;
        assert_eq!(
            led(&later.get(&denied).await),
            format!("{APP}?later=1&status=denied&reason=user_denied#")
        );
    }
}

/// A page that is loaded again after ten minutes leads to the same place as before them, as long as
/// nobody has redeemed its code; and a late denial does not undo what was connected.
#[tokio::test]
async fn a_late_reload_has_the_same_code_until_that_is_redeemed() {
    let stack = stack().await;
    let visit = Visit::start(&stack, true, None).await;
    let landed = led(&visit.finish().await);
    stack.clock().advance(Duration::from_mins(11));
    stack.sandbox().unwrap().clear_calls();
    assert_eq!(led(&visit.finish().await), landed);
    assert_eq!(led(&visit.comes_back(&stack, DENIED).await), visit.told("connected", "replayed"));
    let code = parameter(&landed.parse().unwrap(), "completion");
    let (id, now) = (&visit.session.as_ref().unwrap().id, stack.clock().now());
    stack.service().complete_session(id, &code, "user-7", now).await.unwrap();
    assert_eq!(led(&visit.finish().await), visit.told("connected", "replayed"));
    assert_eq!(calls(&stack), 0);
}

/// A person who declines, tries again and declines again has two live flows: the app gets each
/// denial, in whichever form Meta sends it, and either flow can still be finished.
#[tokio::test]
async fn who_says_no_again_is_led_back_again() {
    let stack = stack().await;
    let service = &stack.urls().service_url;
    let denied = format!("{service}/callback?{DENIED}");
    let mut browser = Browser::new();
    let mut flows = Vec::new();
    for form in [denied.clone(), format!("{denied}&state="), denied.clone()] {
        let session = session(&stack).await;
        let back = browser.consent(&stack, &format!("session={}", session.id), &account(&stack, "ada")).await;
        let state = if form.ends_with('=') { parameter(&back, "state") } else { String::new() };
        let reply = browser.get(&format!("{form}{state}")).await;
        let told = format!("{APP}?session_id={}&status=denied&reason=user_denied#", session.id);
        assert_eq!(led(&reply), told);
        let cookie = reply.headers["set-cookie"].to_str().unwrap();
        assert!(cookie.contains("HttpOnly; SameSite=Lax; Path=/; Max-Age=4200"), "{cookie}");
        flows.push((back, session));
    }
    // All have led back with an end, so none of them is the only one. The page has a button that
    // leads back.
    let page = browser.get(&denied).await;
    assert!(page.is_page("denied"));
    assert!(page.body.contains(&format!("{APP}?status=denied&amp;reason=user_denied\"")), "{page:?}");
    assert_eq!(page.body.matches("<a ").count(), 1, "{page:?}");
    // A link that is opened twice makes two flows of one session.
    let session = session(&stack).await;
    for _ in 0..2 {
        browser.get(&format!("{service}/authorize?session={}", session.id)).await;
    }
    let told = format!("{APP}?session_id={}&status=denied&reason=user_denied#", session.id);
    assert_eq!(led(&browser.get(&denied).await), told);
    for (back, session) in flows {
        assert!(led(&browser.get(back.as_str()).await).contains("&completion="), "{}", session.id);
    }
}

/// The flow stays valid, whatever a callback without a state claims, or one with it by its own
/// browser.
#[tokio::test]
async fn a_forged_denial_ends_nothing() {
    let stack = stack().await;
    let visit = Visit::start(&stack, true, None).await;
    let denied = format!("{}/callback?{DENIED}", stack.urls().service_url);
    assert_eq!(led(&visit.ask(&denied).await), visit.told("denied", "user_denied"));
    let landed = led(&visit.finish().await);
    let id = &visit.session.as_ref().unwrap().id;
    let code = parameter(&landed.parse().unwrap(), "completion");
    let now = stack.clock().now();
    stack.service().complete_session(id, &code, "user-7", now).await.unwrap();
    // Afterwards there is no flow that it could be of.
    assert!(visit.ask(&denied).await.is_page("denied"));
    let lie = format!("{denied}&state={}", visit.state);
    assert_eq!(led(&visit.ask(&lie).await), visit.told("denied", "user_denied"), "which moves nothing");
    let shown = stack.service().store().session(id).await.unwrap().unwrap();
    assert_eq!(shown.state.status(), SessionStatus::Connected);
}

/// A hint consists of our words, whatever the query; and nothing leads to what another browser
/// began.
#[tokio::test]
async fn nothing_of_a_hostile_callback_reaches_the_way_back() {
    let stack = stack().await;
    let visit = Visit::start(&stack, true, None).await;
    let jar = cookies(&visit.browser);
    let allowed = [
        visit.told("denied", "user_denied"),
        visit.told("denied", "other"),
        visit.told("failed", "threads_failed"),
    ];
    let hostile = [
        "zq9x",
        "user_denied&completion=zq9x",
        "zq9x\r\nSet-Cookie: zq9x=1",
        "https://evil.example/#zq9x",
        "//evil.example",
        "\u{202e}zq9x",
        "connected#zq9x",
    ];
    let (mut tried, mut led_back) = (0, 0);
    for text in hostile {
        for name in ["error", "error_reason", "error_description", "error_code", "return_to", "session_id"] {
            for state in [None, Some(&visit.state)] {
                let mut query = url::form_urlencoded::Serializer::new(String::new());
                if name != "error" {
                    query.append_pair("error", "access_denied");
                }
                query.append_pair(name, text);
                if let Some(state) = state {
                    query.append_pair("state", state);
                }
                let query = query.finish();
                let now = stack.clock().now();
                let reply = invoke_at(stack.service(), now, "/callback", &query, &jar).await;
                assert!(!format!("{reply:?}").contains("zq9x") && !format!("{reply:?}").contains("evil"));
                // A malformed callback leads nowhere.
                if !reply.is_page("bad_link") {
                    assert!(allowed.contains(&led(&reply)), "{query}: {reply:?}");
                    led_back += 1;
                }
                // The same without the cookie, and with that of another flow.
                let other = Visit::start(&stack, false, None).await;
                for jar in [vec![], cookies(&other.browser)] {
                    let reply = invoke_at(stack.service(), now, "/callback", &query, &jar).await;
                    assert!(!format!("{reply:?}").contains(&visit.who), "{query}: {reply:?}");
                    let leads = reply.headers.get(LOCATION).map(|to| to.to_str().unwrap().to_owned());
                    assert!(leads.is_none_or(|to| state.is_none() && to.starts_with(APP)), "{query}");
                    tried += 1;
                }
            }
        }
    }
    assert_eq!(calls(&stack), 0);
    println!(
        "{led_back} hostile callbacks of the own browser led to 3 addresses; {tried} of others to none of it"
    );
}

/// Nobody is sent to an address that has left the list while the person was at Meta, or to one that
/// an older version allowed although it has our own parameters.
#[tokio::test]
async fn an_address_that_is_not_allowed_any_more_gets_nobody() {
    let stack = stack().await;
    let mut variables = stack.variables().clone();
    variables.insert("RETURN_TO_ALLOWLIST".to_owned(), "http://127.0.0.1:4000/elsewhere".to_owned());
    let narrowed = ThreadsAuth::new(Config::from_vars(&variables, None).unwrap()).unwrap();
    for is_session in [true, false] {
        let visit = Visit::start(&stack, is_session, None).await;
        let jar = cookies(&visit.browser);
        let ask = async |query: &str, minutes: u64| {
            let now = stack.clock().now() + Duration::from_mins(minutes);
            invoke_at(&narrowed, now, "/callback", query, &jar).await
        };
        let state = format!("&state={}", visit.state);
        let granted = visit.back.split_once('?').unwrap().1;
        for (reply, page) in [
            (ask(DENIED, 0).await, "denied"),
            (ask(&format!("{DENIED}{state}"), 0).await, "denied"),
            (ask(&format!("error_code=1{state}"), 0).await, "threads_failed"),
            (ask(granted, 10).await, "expired"),
            (
                ask(&format!("code=AQBunknown{state}"), 0).await,
                if is_session { "return_to_refused" } else { "code_refused" },
            ),
        ] {
            assert!(reply.is_page(page), "not {page}: {reply:?}");
            assert!(reply.headers.get(LOCATION).is_none());
            // Another start would end at the same refusal.
            assert!(!reply.body.contains("<a "), "{}", reply.body);
        }
    }
    // With the address on the list, all is well.
    let visit = Visit::start(&stack, true, None).await;
    assert!(led(&visit.finish().await).contains("completion="));
}

#[tokio::test]
async fn what_is_loaded_ahead_leads_nowhere() {
    let stack = stack().await;
    let visit = Visit::start(&stack, true, None).await;
    stack.clock().advance(Duration::from_mins(10));
    let ahead = (HeaderName::from_static("sec-purpose"), HeaderValue::from_static("prefetch"));
    for url in [visit.back.clone(), format!("{}/callback?{DENIED}", stack.urls().service_url)] {
        let headers = HeaderMap::from_iter([ahead.clone()]);
        let reply = visit.browser.send(Method::GET, &url, headers, String::new()).await;
        assert_eq!((reply.status, reply.is_page("prefetch")), (StatusCode::SERVICE_UNAVAILABLE, true));
        assert!(reply.headers.get(LOCATION).is_none());
    }
}

/// Our pages keep the way back: their link has the hint, too.
#[tokio::test]
async fn a_session_that_is_over_has_a_page_that_leads_back() {
    let stack = stack().await;
    let url = |session: &Session| stack.service().config().session_url(&session.id);
    let leads = |reply: &Reply, session: &Session, status: &str, reason: &str| {
        let href =
            format!("href=\"{APP}?session_id={}&amp;status={status}&amp;reason={reason}\"", session.id);
        assert!(reply.body.contains(&href), "{}", reply.body);
        assert_eq!(reply.body.matches("<a ").count(), 1, "nothing to start again: {}", reply.body);
    };
    let closed = session(&stack).await;
    let mut browser = Browser::new();
    let back = browser.consent(&stack, &format!("session={}", closed.id), &account(&stack, "ada")).await;
    browser.get(back.as_str()).await;
    let expired = session(&stack).await;
    let reply = Browser::new().get(&url(&closed)).await;
    assert_eq!((reply.status, reply.is_page("session_closed")), (StatusCode::CONFLICT, true), "{reply:?}");
    leads(&reply, &closed, "failed", "session_closed");
    stack.clock().advance(Duration::from_mins(30));
    let reply = Browser::new().get(&url(&expired)).await;
    assert_eq!((reply.status, reply.is_page("session_expired")), (StatusCode::GONE, true), "{reply:?}");
    leads(&reply, &expired, "expired", "session_expired");
    // For an unknown session there is no hint, and the allowlist applies here as well.
    let unknown = format!("{}/authorize?session={}", stack.urls().service_url, "A".repeat(32));
    let reply = Browser::new().get(&unknown).await;
    assert!(reply.is_page("session_unknown") && !reply.body.contains("<a "), "{reply:?}");
    let mut variables = stack.variables().clone();
    variables.insert("RETURN_TO_ALLOWLIST".to_owned(), String::new());
    let closed_list = ThreadsAuth::new(Config::from_vars(&variables, None).unwrap()).unwrap();
    let now = stack.clock().now();
    let reply = invoke_at(&closed_list, now, "/authorize", &format!("session={}", expired.id), &[]).await;
    assert!(reply.is_page("session_expired") && !reply.body.contains("<a "), "{reply:?}");
}

/// A start that fails names the session, so that another try is one of the same session.
#[tokio::test]
async fn a_start_that_fails_can_be_made_again_in_its_session() {
    let stack = stack().await;
    let session = session(&stack).await;
    let query = format!("session={}", session.id);
    let (lossy, service) = Proxy::start(&stack).await;
    lossy.fail(Fault::DENIED, "GetItem", 0);
    let now = stack.clock().now();
    let reply = invoke_at(&service, now, "/authorize", &query, &[]).await;
    assert!(reply.is_page("unavailable"), "{reply:?}");
    assert!(reply.body.contains(&format!("href=\"/authorize?{query}\"")), "{}", reply.body);
    // The second one has read the session, and not the secrets.
    let mut variables = stack.variables().clone();
    variables.insert("APP_SECRET_ID".to_owned(), "threads-auth/none".to_owned());
    let unready = ThreadsAuth::new(Config::from_vars(&variables, None).unwrap()).unwrap();
    let reply = invoke_at(&unready, now, "/authorize", &query, &[]).await;
    assert!(reply.is_page("unavailable"), "{reply:?}");
    let href = format!("href=\"{APP}?session_id={}&amp;status=failed&amp;reason=unavailable\"", session.id);
    assert!(reply.body.contains(&href), "{}", reply.body);
    assert!(reply.body.contains(&format!("href=\"/authorize?{query}\"")), "{}", reply.body);
}
