//! The threats to connecting: each proof runs the real stack, and prints its figure.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use devstack::Stack;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use reqwest::header::{HeaderMap, LOCATION, SET_COOKIE};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use threads_auth::store::Session;
use threads_auth_web::HttpRequest;
use threads_auth_web::telemetry;
use threads_sandbox::{FaultAction, SandboxCall};
use tokio::task::JoinSet;
use tracing::Level;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use url::Url;

use crate::connect::new_session;
use crate::fixture::{
    Browser, Reply, account, calls, fail, find_grant, grant, parameter, respond, rows, secret_text, stack,
    stack_with,
};
use crate::iam;

/// Invokes a function in this process, past the gateway: what hostile bytes become at API Gateway is one char each.
async fn invoke(stack: &Stack, path: &str, raw_query: &str, cookies: &[String]) -> Reply {
    let request = HttpRequest {
        method: Method::GET,
        path: path.to_owned(),
        raw_query: raw_query.to_owned(),
        cookies: cookies.to_vec(),
        body: Vec::new(),
        request_id: "test".to_owned(),
        caller: None,
    };
    let (service, now) = (stack.service(), stack.clock().now());
    let response = match path {
        "/authorize" => authorize::handle(service, &request, now).await,
        _ => callback::handle(service, &request, now).await,
    };
    let (parts, body) = response.into_parts();
    Reply {
        status: parts.status,
        headers: parts.headers,
        body,
    }
}

fn cookies(browser: &Browser) -> Vec<String> {
    browser
        .jar
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect()
}

fn hex_free(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '_' })
        .collect()
}

/// Nobody was asked, and nothing was written.
async fn assert_untouched(stack: &Stack) {
    assert_eq!(calls(stack), 0);
    assert_eq!(rows(stack).await, []);
}

#[tokio::test]
async fn threat_1_forged_callbacks() {
    let stack = stack().await;
    let (ada, grace) = (account(&stack, "ada"), account(&stack, "grace"));
    let (mut victim, mut attacker) = (Browser::new(), Browser::new());
    let victims = victim.consent(&stack, "", &ada).await;
    let attackers = attacker.consent(&stack, "", &grace).await;
    let mut tried = 0;
    let mut refused = async |query: &str, jar: &[String]| {
        let reply = invoke(&stack, "/callback", query, jar).await;
        assert!(reply.status.is_client_error(), "{query} with {jar:?}: {reply:?}");
        assert_eq!(calls(&stack), 0, "{query} with {jar:?}: {reply:?}");
        tried += 1;
    };
    let query = victims.query().unwrap();
    let (name, value) = victim.jar.first_key_value().unwrap();
    let (other_name, other_value) = attacker.jar.first_key_value().unwrap();
    refused(query, &[]).await;
    refused(query, &cookies(&attacker)).await;
    refused(attackers.query().unwrap(), &cookies(&victim)).await;
    // Names and values exchanged, and both at once.
    refused(
        query,
        &[format!("{name}={other_value}"), format!("{other_name}={value}")],
    )
    .await;
    refused(query, &[format!("{name}={other_value}")]).await;
    refused(query, &[format!("{name}=")]).await;
    refused(query, &[format!("{other_name}={value}")]).await;
    refused(query, &[format!("{name}{value}")]).await;
    refused(query, &[format!("__Host-{name}={value}")]).await;
    for at in 0..value.len() {
        refused(query, &[format!("{name}={}", &value[..at])]).await;
    }
    for flipped in flips(value) {
        refused(query, &[format!("{name}={flipped}")]).await;
    }
    let state = parameter(&victims, "state");
    for flipped in flips(&state) {
        refused(&query.replace(&state, &flipped), &cookies(&victim)).await;
    }
    // Both tell the same lie: the cookie's name is public knowledge, its content is not.
    refused(
        &query.replace(&state, &parameter(&attackers, "state")),
        &[format!("{other_name}={value}")],
    )
    .await;
    // What another stack has sealed is foreign, although it is well formed.
    let elsewhere = crate::fixture::stack().await;
    let mut foreign = Browser::new();
    let back = foreign.consent(&elsewhere, "", &account(&elsewhere, "ada")).await;
    refused(back.query().unwrap(), &cookies(&foreign)).await;
    stack.clock().advance(Duration::from_mins(10));
    refused(query, &cookies(&victim)).await;
    assert_untouched(&stack).await;
    println!("threat 1: {tried} forged callbacks, 0 calls to Meta, 0 grants");

    // The same callback, unforged, is good: it is the forgery that was refused.
    let back = victim.consent(&stack, "", &ada).await;
    assert_eq!(
        invoke(&stack, "/callback", back.query().unwrap(), &cookies(&victim))
            .await
            .status,
        StatusCode::SEE_OTHER
    );
}

/// Every text that differs in one bit, as API Gateway would hand it on.
fn flips(text: &str) -> impl Iterator<Item = String> {
    let bytes = text.as_bytes();
    (0..bytes.len() * 8).map(move |bit| {
        let flip = |(n, byte): (usize, &u8)| {
            char::from(if n == bit / 8 {
                byte ^ (1 << (bit % 8))
            } else {
                *byte
            })
        };
        bytes.iter().enumerate().map(flip).collect()
    })
}

#[tokio::test]
async fn threat_1_the_cookie_is_bound() {
    let start = async |public_url: &str| {
        let stack = stack_with(&[("PUBLIC_URL", public_url)]).await;
        let reply = invoke(&stack, "/authorize", "", &[]).await;
        reply.headers[SET_COOKIE].to_str().unwrap().to_owned()
    };
    let cookie = start("https://auth.example.com/").await;
    let attributes: BTreeSet<_> = cookie.split("; ").skip(1).collect();
    assert!(cookie.starts_with("__Host-threads-auth-"), "{cookie}");
    assert_eq!(
        attributes,
        BTreeSet::from(["HttpOnly", "SameSite=Lax", "Secure", "Path=/", "Max-Age=600"])
    );
    println!("threat 1: __Host- cookie with {attributes:?}");
}

/// The host app's backend: it links an account to the user who is logged in, if the session is that user's.
async fn link(stack: &Stack, logged_in: &str, id: &str, completion: &str) -> Option<(String, String)> {
    let body = json!({"completion": completion}).to_string();
    let reply = iam::call(stack, Method::POST, &format!("/sessions/{id}/complete"), &body).await;
    assert!(
        reply.status.is_success() || reply.status.is_client_error(),
        "{reply:?}"
    );
    let answer: Value = serde_json::from_str(&reply.body).unwrap();
    let (reference, user_id) = (answer["reference"].as_str()?, answer["user_id"].as_str()?);
    (reference == logged_in).then(|| (reference.to_owned(), user_id.to_owned()))
}

async fn session(stack: &Stack, reference: &str) -> Session {
    stack
        .service()
        .create_session(new_session(reference), stack.clock().now())
        .await
        .unwrap()
}

#[tokio::test]
async fn threat_2_a_victim_finishes_the_attackers_session() {
    let stack = stack().await;
    let grace = account(&stack, "grace");
    let (mut victim, mut attacker) = (Browser::new(), Browser::new());
    let (mut tried, mut links) = (0, 0);
    let mut attempt = async |logged_in: &str, id: &str, completion: &str| {
        tried += 1;
        links += usize::from(link(&stack, logged_in, id, completion).await.is_some());
    };

    let trap = session(&stack, "attacker").await;
    let back = victim
        .consent(&stack, &format!("session={}", trap.id), &grace)
        .await;
    // The attacker knows the session, has seen its page too, and may even have seen the callback.
    attacker.get(&stack.service().session_url(&trap)).await;
    let reply = attacker.get(back.as_str()).await;
    assert!(reply.is_page("wrong_browser"), "{reply:?}");
    assert_eq!(calls(&stack), 0);
    let returned = victim.get(back.as_str()).await.location();
    assert_eq!(parameter(&returned, "session_id"), trap.id);
    let completion = parameter(&returned, "completion");
    assert_eq!(returned.origin().ascii_serialization(), "http://127.0.0.1:4000");

    // The attacker has no completion code: guesses, parts and other things that are known do not do.
    for guess in [
        "",
        "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        &trap.id,
        &parameter(&back, "state"),
        "connected",
    ] {
        attempt("attacker", &trap.id, guess).await;
    }
    attempt("attacker", &trap.id, &completion[..completion.len() - 1]).await;
    let stored = rows(&stack).await;
    let hash = stored
        .iter()
        .find_map(|row| row.get("completion_hash"))
        .unwrap()
        .as_s()
        .unwrap();
    attempt("attacker", &trap.id, hash).await;
    for flipped in flips(&completion) {
        attempt("attacker", &trap.id, &flipped).await;
    }
    attempt("attacker", "unknown", &completion).await;
    // Another session's code, of the attacker's own.
    let own = session(&stack, "attacker").await;
    let back = attacker
        .consent(&stack, &format!("session={}", own.id), &account(&stack, "ada"))
        .await;
    let own_completion = parameter(&attacker.get(back.as_str()).await.location(), "completion");
    attempt("attacker", &trap.id, &own_completion).await;
    attempt("attacker", &own.id, &completion).await;
    // The victim's browser hands the code over, as the victim: the session is not the victim's.
    attempt("victim", &trap.id, &completion).await;
    // And that was its only use.
    attempt("attacker", &trap.id, &completion).await;
    println!("threat 2: {tried} attempts at a tricked session, {links} links");
    assert_eq!(links, 0);
}

#[tokio::test]
async fn threat_2_sessions_and_codes_work_once_and_in_time() {
    let stack = stack().await;
    let service = stack.service();
    let (ada, grace) = (account(&stack, "ada"), account(&stack, "grace"));
    let mut browser = Browser::new();
    let opened = session(&stack, "user-1").await;
    let url = service.session_url(&opened);
    let query = format!("session={}", opened.id);
    // Two tabs of one session: the first to finish closes it.
    let (first, second) = (
        browser.consent(&stack, &query, &ada).await,
        browser.consent(&stack, &query, &grace).await,
    );
    let returned = browser.get(first.as_str()).await.location();
    let late = browser.get(second.as_str()).await;
    assert_eq!(
        (late.status, late.is_page("session_closed")),
        (StatusCode::CONFLICT, true),
        "{late:?}"
    );
    assert!(
        find_grant(&stack, &grace).await.is_none(),
        "a closed session stores nothing"
    );
    let again = browser.get(&url).await;
    assert_eq!(
        (again.status, again.is_page("session_closed")),
        (StatusCode::CONFLICT, true),
        "{again:?}"
    );
    let completion = parameter(&returned, "completion");
    assert_eq!(
        link(&stack, "user-1", &opened.id, &completion).await,
        Some(("user-1".to_owned(), ada.clone()))
    );
    assert_eq!(
        link(&stack, "user-1", &opened.id, &completion).await,
        None,
        "a code works once"
    );

    // A code that comes after the session's end.
    let slow = session(&stack, "user-1").await;
    let back = browser
        .consent(&stack, &format!("session={}", slow.id), &ada)
        .await;
    let completion = parameter(&browser.get(back.as_str()).await.location(), "completion");
    stack.clock().advance(Duration::from_mins(30));
    assert_eq!(link(&stack, "user-1", &slow.id, &completion).await, None);

    // A session that ends before its page is opened, and one that ends while the person is at Meta.
    let unused = session(&stack, "user-1").await;
    stack.clock().advance(Duration::from_mins(30));
    let expired = browser.get(&service.session_url(&unused)).await;
    assert_eq!(
        (expired.status, expired.is_page("session_expired")),
        (StatusCode::GONE, true),
        "{expired:?}"
    );
    let ending = session(&stack, "user-2").await;
    stack.clock().advance(Duration::from_mins(29));
    let back = browser
        .consent(&stack, &format!("session={}", ending.id), &grace)
        .await;
    stack.clock().advance(Duration::from_mins(2));
    let late = browser.get(back.as_str()).await;
    assert!(late.status.is_client_error(), "{late:?}");
    assert!(find_grant(&stack, &grace).await.is_none());
    println!("threat 2: 1 link of 1 finished session; 0 from used, late and expired ones");
}

#[tokio::test]
async fn threat_6_another_account_than_the_session_names() {
    let stack = stack().await;
    let (ada, grace) = (account(&stack, "ada"), account(&stack, "grace"));
    let mut new = new_session("user-1");
    new.user_id = Some(ada.parse().unwrap());
    let session = stack
        .service()
        .create_session(new, stack.clock().now())
        .await
        .unwrap();
    let mut before = rows(&stack).await;
    let mut browser = Browser::new();
    let back = browser
        .consent(&stack, &format!("session={}", session.id), &grace)
        .await;
    let reply = browser.get(back.as_str()).await;
    assert_eq!(
        (reply.status, reply.is_page("wrong_account")),
        (StatusCode::FORBIDDEN, true),
        "{reply:?}"
    );
    let mut after = rows(&stack).await;
    for (name, value) in [("status", "failed"), ("reason", "wrong_account")] {
        assert_eq!(after[0].remove(name).unwrap().as_s().unwrap(), value);
    }
    before[0].remove("status").unwrap();
    assert_eq!(
        after, before,
        "nothing is stored but how it went, for the app's backend"
    );
    // The right account still can.
    let back = browser
        .consent(&stack, &format!("session={}", session.id), &ada)
        .await;
    assert_eq!(browser.get(back.as_str()).await.status, StatusCode::SEE_OTHER);
    assert!(find_grant(&stack, &grace).await.is_none());
    println!("threat 6: another account came back: 403, 0 rows changed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn threat_3_a_hundred_callbacks_with_one_state() {
    let stack = stack().await;
    let ada = account(&stack, "ada");
    let mut browser = Browser::new();
    let back = browser.consent(&stack, "", &ada).await;
    // Meta is made to take a code twice, so that it is our transaction alone which decides.
    let mut race = JoinSet::new();
    for n in 0..100 {
        let (browser, mut url) = (browser.clone(), back.clone());
        if n % 2 == 1 {
            let code = stack.sandbox().unwrap().issue_code(
                &ada,
                &format!("{}/callback", stack.urls().service_url),
                &[],
            );
            url.query_pairs_mut()
                .clear()
                .append_pair("code", &code)
                .append_pair("state", &parameter(&back, "state"));
        }
        race.spawn(async move {
            browser
                .send(Method::GET, url.as_str(), HeaderMap::new(), String::new())
                .await
        });
    }
    let mut statuses: BTreeMap<u16, usize> = BTreeMap::new();
    for reply in race.join_all().await {
        *statuses.entry(reply.status.as_u16()).or_default() += 1;
    }
    println!("threat 3: 100 callbacks with one state (50 with codes of their own): {statuses:?}");
    assert_eq!(statuses.get(&303), Some(&1), "{statuses:?}");
    assert!(statuses.keys().all(|status| *status < 500), "{statuses:?}");
    let grant = grant(&stack, &ada).await;
    let stored = rows(&stack).await;
    assert_eq!(stored.len(), 2, "one grant and one spent state");
    let spent = stored
        .iter()
        .find(|row| row["pk"].as_s().unwrap().starts_with("state#"))
        .unwrap();
    assert_eq!(spent["grant_id"].as_s().unwrap(), &grant.grant_id);
}

#[tokio::test]
async fn threat_4_eight_tabs() {
    let stack = stack().await;
    let ada = account(&stack, "ada");
    // The worst that a link can ask for: every scope, and the longest way back.
    let scopes = "threads_basic,threads_content_publish,threads_read_replies,threads_manage_replies,\
                  threads_manage_insights,threads_keyword_search,threads_manage_mentions,threads_delete,\
                  threads_location_tagging,threads_profile_discovery";
    let return_to = format!(
        "http://127.0.0.1:4000/{}",
        "a".repeat(512 - "http://127.0.0.1:4000/".len())
    );
    let query = format!("scopes={scopes}&return_to={return_to}");
    let mut largest = 0;
    for order in [
        [0, 1, 2, 3, 4, 5, 6, 7],
        [7, 6, 5, 4, 3, 2, 1, 0],
        [3, 0, 7, 5, 1, 6, 2, 4],
    ] {
        let mut browser = Browser::new();
        let mut tabs = Vec::new();
        for _ in 0..8 {
            tabs.push(browser.consent(&stack, &query, &ada).await);
            stack.clock().advance(Duration::from_secs(1));
            assert!(browser.jar.len() <= 5);
        }
        for tab in order {
            let target = tabs[tab].query().unwrap().len() + "GET /callback? HTTP/1.1\r\n".len();
            let cookie = cookies(&browser).join("; ").len() + "cookie: \r\n".len();
            largest = largest.max(target + cookie);
            let reply = browser.get(tabs[tab].as_str()).await;
            if tab < 3 {
                assert!(reply.is_page("wrong_browser"), "{reply:?}");
                assert!(reply.body.contains("href=\"/authorize\""));
            } else {
                assert_eq!(
                    reply.status,
                    StatusCode::SEE_OTHER,
                    "tab {tab} of {order:?}: {reply:?}"
                );
            }
        }
    }
    println!("threat 4: 8 tabs in 3 orders; request line and cookies at most {largest} of 10,240 bytes");
    // The browser's own headers need their room.
    assert!(largest < 10_240 - 2_048, "{largest}");
}

/// What may stand in a query, good and bad. The state and the code are a real flow's.
fn segments(code: &str, state: &str) -> Vec<String> {
    let mut segments: Vec<String> = [
        "code=x",
        "state=x",
        "code=",
        "state=",
        "code",
        "state",
        "error=access_denied",
        "error=",
        "error_reason=user_denied",
        "error_description=x",
        "error_code=1",
        "error_message=x",
        "%63ode=x",
        "c%6Fde=x",
        "sta%74e=x",
        "%73tate=x",
        "code%00=x",
        "code[]=x",
        "code[0]=x",
        "Code=x",
        "CODE=x",
        "code=%00",
        "code=%0d%0aset-cookie:a",
        "code=%ff",
        "code=%c3%28",
        "code=%",
        "code=%4",
        "code=%zz",
        "state=%00",
        "state=%ff",
        "+code=x",
        "code+=x",
        "%20code=x",
        ";code=x",
        "a;code=x",
        "é=1",
        "code=é",
        "\u{0}",
        "\u{7f}",
        "#",
        "?",
        "?code=x",
        "=",
        "==",
        "",
        "&",
        "%",
        "%%",
        "\r\n",
        " ",
        "a=b",
        "__proto__=x",
        "code=x;state=y",
    ]
    .map(str::to_owned)
    .into();
    for (name, value) in [("code", code), ("state", state)] {
        segments.push(format!("{name}={value}"));
        segments.push(format!("{name}={value}%00"));
        segments.push(format!("{name}={value}%20"));
        segments.push(format!("{name}={value}\u{0}"));
        segments.push(format!(" {name}={value}"));
    }
    segments
}

/// Whether every parser, however it resolves doubts, reads exactly one code and one state here: the only queries that may
/// reach Meta. An independent reading, and a crude one.
fn is_plain(query: &str) -> bool {
    let names: Vec<String> = query
        .split(['&', ';', '?'])
        .map(|pair| pair.split('=').next().unwrap().replace('+', " "))
        .map(|name| {
            url::form_urlencoded::parse(name.as_bytes())
                .next()
                .map(|(n, _)| n.into_owned())
                .unwrap_or_default()
        })
        .collect();
    let known = |wanted: &str| names.iter().filter(|name| *name == wanted).count();
    known("code") == 1 && known("state") == 1 && !names.iter().any(|name| name.starts_with("error"))
}

#[tokio::test]
async fn threat_7_parameter_pollution() {
    let stack = stack().await;
    let ada = account(&stack, "ada");
    let mut browser = Browser::new();
    let back = browser.consent(&stack, "", &ada).await;
    let (code, state) = (parameter(&back, "code"), parameter(&back, "state"));
    let jar = cookies(&browser);
    let plain = format!("code={code}&state={state}");
    assert!(is_plain(&plain));

    // One pollution at a time, at each place of a query that is good otherwise.
    let mut hostile: BTreeSet<String> = BTreeSet::new();
    for segment in segments(&code, &state) {
        for query in [
            format!("{segment}&{plain}"),
            format!("{plain}&{segment}"),
            format!("code={code}&{segment}&state={state}"),
            format!("code={code}&{segment}"),
            format!("{segment}&state={state}"),
            segment.clone(),
        ] {
            hostile.insert(query);
        }
    }
    hostile.insert(format!("{plain}&{}", "a=b&".repeat(4_000)));
    hostile.insert(format!("code={}&state={state}", "a".repeat(2_049)));
    hostile.insert(format!("code={code}&state={}", state.repeat(12)));
    let corpus = hostile.len();

    // And at random: segments in any order, and any text at all.
    let segment = proptest::sample::select(segments(&code, &state));
    let strategy = prop_oneof![
        proptest::collection::vec(segment.clone(), 0..6).prop_map(|parts| parts.join("&")),
        proptest::collection::vec(prop_oneof![segment, any::<String>()], 0..6)
            .prop_map(|parts| parts.join("&")),
        any::<String>(),
        "[ -~]{0,300}",
    ];
    let mut runner = TestRunner::default();
    for _ in 0..3_000 {
        hostile.insert(strategy.new_tree(&mut runner).unwrap().current());
    }
    let mut ambiguous = 0;
    for query in hostile.iter().filter(|query| !is_plain(query)) {
        let reply = invoke(&stack, "/callback", query, &jar).await;
        assert!(reply.status.is_client_error(), "{query:?}: {reply:?}");
        assert_eq!(calls(&stack), 0, "{query:?} was accepted");
        ambiguous += 1;
    }
    // Those that every parser reads alike may be accepted; none of them is the good one made to look bad.
    assert_untouched(&stack).await;
    assert!(ambiguous > corpus / 2 + 1_000, "{ambiguous}");
    println!("threat 7: {ambiguous} ambiguous or malformed queries: 0 accepted, 0 calls to Meta, 0 panics");
    assert_eq!(
        invoke(&stack, "/callback", &plain, &jar).await.status,
        StatusCode::SEE_OTHER
    );
}

#[tokio::test]
async fn threat_8_open_redirects() {
    let stack = stack().await;
    let service = &stack.urls().service_url;
    let hostile = [
        "https://evil.example/",
        "//evil.example/",
        "/\\evil.example",
        "http:evil.example",
        "http://127.0.0.1:4000@evil.example/",
        "http://127.0.0.1:4000.evil.example/",
        "http://127.0.0.1:40000/",
        "http://127.0.0.1/",
        "https://127.0.0.1:4000/",
        "http://127.0.0.1:4000\\@evil.example/",
        "http://user@127.0.0.1:4000/",
        "http://127.0.0.1:4000/#x",
        "http://127.0.0.1:4000/..%2f",
        "http://127.0.0.1:4000/%2e%2e/",
        "http://127.0.0.1:4000//evil.example",
        "http://127.0.0.1:4000/\r\nLocation: https://evil.example",
        "http://127.0.0.1:4000/\u{0}",
        "http://127.0.0.1:4000\t/",
        " http://127.0.0.1:4000/",
        "http://127.1:4000/",
        "http://0x7f000001:4000/",
        "http://2130706433:4000/",
        "http://localhost.:4000/",
        "http://[::1]:4000/",
        "http://１２７.0.0.1:4000/",
        "javascript:alert(1)",
        "data:text/html,x",
        "",
    ];
    for return_to in hostile {
        let mut url = Url::parse(&format!("{service}/authorize")).unwrap();
        url.query_pairs_mut().append_pair("return_to", return_to);
        let reply = Browser::new().get(url.as_str()).await;
        assert_eq!(reply.status, StatusCode::BAD_REQUEST, "{return_to:?}: {reply:?}");
        assert!(reply.is_page("return_to_refused"), "{return_to:?}: {reply:?}");
        assert!(reply.headers.get(LOCATION).is_none() && reply.headers.get(SET_COOKIE).is_none());
        assert!(!reply.body.contains("evil"));
    }
    println!(
        "threat 8: {} hostile destinations over HTTP, 0 left the list",
        hostile.len()
    );
}

fn assert_secure(reply: &Reply) {
    for (name, expected) in [
        ("cache-control", "no-store"),
        ("referrer-policy", "no-referrer"),
        ("strict-transport-security", "max-age=63072000; includeSubDomains"),
        ("x-content-type-options", "nosniff"),
        ("x-frame-options", "DENY"),
    ] {
        let values: Vec<_> = reply.headers.get_all(name).iter().collect();
        assert_eq!(values, [expected], "{name}: {reply:?}");
    }
    let policy = reply.headers["content-security-policy"].to_str().unwrap();
    assert!(
        policy.starts_with("default-src 'none';") && policy.contains("frame-ancestors 'none'"),
        "{policy}"
    );
    assert!(!policy.contains("unsafe"));
}

#[tokio::test]
async fn threat_9_headers_on_every_response() {
    let stack = stack().await;
    let (service, ada) = (stack.urls().service_url.clone(), account(&stack, "ada"));
    let mut browser = Browser::new();
    let mut replies = Vec::new();
    for path in [
        "/authorize",
        "/authorize?return_to=https://evil.example",
        "/authorize?session=abcdefghijklmnopqrstuvwxyz012345",
        "/authorize?x",
        "/callback",
        "/callback?code=a&state=b",
        "/callback?error=access_denied",
        "/connected",
        "/finishing",
        "/nowhere",
        "/favicon.ico",
        "/robots.txt",
        "/authorize/",
        "//callback",
    ] {
        replies.push(browser.get(&format!("{service}{path}")).await);
    }
    for method in [
        Method::POST,
        Method::PUT,
        Method::DELETE,
        Method::OPTIONS,
        Method::HEAD,
    ] {
        for path in ["/authorize", "/callback"] {
            replies.push(
                browser
                    .send(
                        method.clone(),
                        &format!("{service}{path}"),
                        HeaderMap::new(),
                        String::new(),
                    )
                    .await,
            );
        }
    }
    let back = browser.consent(&stack, "", &ada).await;
    replies.push(browser.get(back.as_str()).await);
    replies.push(browser.get(back.as_str()).await);
    let late = browser.consent(&stack, "", &ada).await;
    stack.clock().advance(Duration::from_mins(11));
    replies.push(browser.get(late.as_str()).await);
    fail(&stack, SandboxCall::ExchangeCode, 2, FaultAction::Html);
    replies.push(browser.connect(&stack, &ada).await);
    let mut huge = HeaderMap::new();
    huge.insert("x-padding", "x".repeat(11_000).parse().unwrap());
    replies.push(
        browser
            .send(Method::GET, &format!("{service}/callback"), huge, String::new())
            .await,
    );
    replies.iter().for_each(assert_secure);
    let statuses: BTreeSet<_> = replies.iter().map(|reply| reply.status.as_u16()).collect();
    println!(
        "threat 9: {0} of {0} responses with all headers, statuses {statuses:?}",
        replies.len()
    );
    for status in [200, 302, 303, 400, 403, 404, 409, 410, 431, 503] {
        assert!(statuses.contains(&status), "{status} is not among {statuses:?}");
    }
}

#[tokio::test]
async fn threat_10_hostile_errors_are_not_reflected() {
    let stack = stack().await;
    let ada = account(&stack, "ada");
    let mut browser = Browser::new();
    let back = browser.consent(&stack, "", &ada).await;
    let (state, jar) = (parameter(&back, "state"), cookies(&browser));
    let hostile = [
        "zq9x",
        "<script>zq9x</script>",
        "\"><img src=x onerror=zq9x>",
        "'-alert(zq9x)-'",
        "javascript:zq9x",
        "{{zq9x}}",
        "zq9x\r\nSet-Cookie: zq9x=1",
        "</style><b>zq9x",
        "%3Cb%3Ezq9x",
        "access_denied zq9x",
        "\u{202e}zq9x",
        "zq9x https://evil.example",
    ];
    let (mut tried, mut reflected) = (0, 0);
    for text in hostile {
        for name in [
            "error",
            "error_reason",
            "error_description",
            "error_code",
            "error_message",
            "code",
            "state",
            "x",
        ] {
            for own in [None, Some(&state)] {
                let mut query = url::form_urlencoded::Serializer::new(String::new());
                if name != "error" && name != "code" {
                    query.append_pair("error", "access_denied");
                }
                query.append_pair(name, text);
                if let Some(state) = own.filter(|_| name != "state" && name != "code") {
                    query.append_pair("state", state);
                }
                let query = query.finish();
                let jar = if own.is_some() { jar.as_slice() } else { &[] };
                for path in ["/callback", "/authorize"] {
                    let reply = invoke(&stack, path, &query, jar).await;
                    assert!(reply.status.is_client_error(), "{query}: {reply:?}");
                    tried += 1;
                    reflected += usize::from(format!("{reply:?}").contains("zq9x"));
                }
            }
        }
    }
    println!("threat 10: {tried} hostile errors, {reflected} reflected");
    assert_eq!(reflected, 0);
    assert_untouched(&stack).await;
    // A forged denial ends nothing: the flow is still good.
    assert_eq!(
        invoke(&stack, "/callback", back.query().unwrap(), &jar)
            .await
            .status,
        StatusCode::SEE_OTHER
    );
}

/// Where the whole test process's log goes, at TRACE.
#[derive(Clone)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn log() -> &'static Log {
    static LOG: OnceLock<Log> = OnceLock::new();
    LOG.get_or_init(|| {
        let log = Log(Arc::default());
        let writer = log.clone();
        let lines = tracing_subscriber::fmt::layer()
            .json()
            .with_writer(move || writer.clone());
        tracing_subscriber::registry()
            .with(lines)
            .with(telemetry::filter(Level::TRACE))
            .init();
        log
    })
}

/// What must not be seen, and where it was.
#[derive(Default)]
struct Canaries {
    planted: BTreeMap<String, &'static str>,
    found: Vec<String>,
    scanned: usize,
}

impl Canaries {
    /// The stack's own secrets, planted.
    async fn of(stack: &Stack) -> Self {
        let mut canaries = Self::default();
        let (app, keyring) = (&stack.urls().app_secret_id, &stack.urls().keyring_secret_id);
        let [app, keyring] = [secret_text(stack, app).await, secret_text(stack, keyring).await]
            .map(|text| serde_json::from_str::<serde_json::Value>(&text).unwrap());
        canaries.plant("the app secret", app["app_secret"].as_str().unwrap());
        canaries.plant("the tombstone key", keyring["tombstone"].as_str().unwrap());
        for key in keyring["keys"].as_object().unwrap().values() {
            canaries.plant("a sealing key", key.as_str().unwrap());
        }
        canaries
    }

    fn plant(&mut self, what: &'static str, secret: &str) {
        assert!(secret.len() >= 8, "{what} is too short to look for");
        self.planted.insert(secret.to_owned(), what);
    }

    fn look(&mut self, place: &str, text: &str) {
        self.scanned += text.len();
        for (secret, what) in &self.planted {
            if text.contains(secret.as_str()) {
                self.found.push(format!("{what} in {place}"));
            }
        }
    }

    /// Everything of an answer but the cookie, and the way to Meta or to the app, which carry the state and the completion code.
    fn look_at(&mut self, place: &str, reply: &Reply) {
        let mut headers = reply.headers.clone();
        headers.remove(SET_COOKIE);
        if reply.status == StatusCode::FOUND {
            headers.remove(LOCATION);
        }
        self.look(place, &format!("{headers:?} {}", reply.body));
    }

    async fn look_at_rows(&mut self, stack: &Stack) {
        for row in rows(stack).await {
            for (name, value) in row {
                // A blob's Debug is numbers: it is looked at as text.
                let blob = value
                    .as_b()
                    .map(|blob| String::from_utf8_lossy(blob.as_ref()).into_owned());
                let text = blob.unwrap_or_else(|_| format!("{value:?}"));
                self.look(&format!("the row's {name}"), &text);
            }
        }
    }
}

/// Every way a connection can go: well, and each kind of failure at each of the three calls to Meta.
fn ways_to_connect(
    short: &str,
    long: &str,
    ada: &str,
) -> Vec<(&'static str, Vec<(SandboxCall, FaultAction)>)> {
    let code_answer = || respond(200, format!(r#"{{"access_token":"{short}","user_id":{ada}}}"#));
    let long_answer = || {
        respond(
            200,
            format!(r#"{{"access_token":"{long}","token_type":"bearer","expires_in":5184000}}"#),
        )
    };
    let echo = |status| {
        let text = format!("client_secret=sandbox-app-secret {short} {long}");
        let body = serde_json::json!({"error": {"message": text, "type": text, "code": 190, "error_subcode": 1, "fbtrace_id": short},
            "access_token": short, "error_message": text, "error_type": text});
        respond(status, body.to_string())
    };
    let cut = |token: &str| respond(200, format!(r#"{{"access_token":"{token}","user_id":"#));
    let redirect = FaultAction::Respond {
        status: 302,
        body: String::new(),
        headers: vec![(
            "location".to_owned(),
            format!("http://127.0.0.1:1/?access_token={short}"),
        )],
    };
    let mut paths: Vec<(&str, Vec<(SandboxCall, FaultAction)>)> = vec![
        (
            "success",
            vec![
                (SandboxCall::ExchangeCode, code_answer()),
                (SandboxCall::ExchangeLongLived, long_answer()),
                (
                    SandboxCall::Me,
                    respond(200, format!(r#"{{"id":"{ada}","username":"ada"}}"#)),
                ),
            ],
        ),
        ("really", vec![]),
    ];
    let failures = || {
        let graph = |code, status| FaultAction::GraphError {
            code,
            subcode: None,
            is_transient: false,
            status,
        };
        [
            FaultAction::Html,
            FaultAction::Drop,
            FaultAction::DropAfter,
            FaultAction::Truncate,
            FaultAction::Empty,
            FaultAction::Throttle { retry_after: Some(5) },
            graph(190, 400),
            graph(1, 400),
            graph(101, 400),
            graph(200, 403),
            graph(2, 500),
            echo(200),
            echo(400),
            echo(500),
            cut(short),
            redirect.clone(),
        ]
    };
    for action in failures() {
        paths.push(("code", vec![(SandboxCall::ExchangeCode, action)]));
    }
    for action in failures() {
        paths.push((
            "long-lived",
            vec![
                (SandboxCall::ExchangeCode, code_answer()),
                (SandboxCall::ExchangeLongLived, action),
            ],
        ));
    }
    for action in failures() {
        paths.push((
            "profile",
            vec![
                (SandboxCall::ExchangeCode, code_answer()),
                (SandboxCall::ExchangeLongLived, long_answer()),
                (SandboxCall::Me, action),
            ],
        ));
    }
    paths
}

/// The backend's calls: a session with its completion code, and a token, which is seen in the one answer that is for it.
async fn vend_under_watch(stack: &Stack, ada: &str, canaries: &mut Canaries) {
    let session = session(stack, "user-1").await;
    let mut browser = Browser::new();
    let back = browser
        .consent(stack, &format!("session={}", session.id), ada)
        .await;
    let completion = parameter(&browser.get(back.as_str()).await.location(), "completion");
    canaries.plant("a completion code", &completion);
    let body = json!({"completion": completion}).to_string();
    for body in [&body, &body.replace('"', ""), &body] {
        let path = format!("/sessions/{}/complete", session.id);
        let reply = iam::call(stack, Method::POST, &path, body).await;
        canaries.look_at("a completion", &reply);
    }
    let path = format!("/users/{ada}/token");
    let vended = iam::call(stack, Method::GET, &path, "").await;
    let vended: Value = serde_json::from_str(&vended.body).unwrap();
    canaries.plant("a vended token", vended["access_token"].as_str().unwrap());
    let key = stack.urls().secret_access_key.clone();
    canaries.plant("the key that requests are signed with", &key);
    for path in [
        "/users".to_owned(),
        format!("/users/{ada}"),
        format!("{path}?min_valid=no"),
    ] {
        let reply = iam::call(stack, Method::GET, &path, "").await;
        canaries.look_at("the backend's API", &reply);
    }
    stack.announce().await.unwrap();
    canaries.look("the events", &format!("{:?}", stack.events()));
}

#[tokio::test]
async fn threat_11_canaries() {
    let captured = log();
    let stack = stack().await;
    let ada = account(&stack, "ada");
    let mut canaries = Canaries::of(&stack).await;
    let (short, long) = (
        "THQVJcanaryShort0123456789abcdefghijk",
        "THQVJcanaryLong0123456789abcdefghijkl",
    );
    canaries.plant("a short-lived token", short);
    canaries.plant("a long-lived token", long);
    let paths = ways_to_connect(short, long, &ada);

    let mut outcomes = BTreeSet::new();
    for (name, faults) in &paths {
        // Over HTTP for what people and logs see, and as a call for what an error's Debug would show.
        for over_http in [true, false] {
            let mut browser = Browser::new();
            let back = browser.consent(&stack, "", &ada).await;
            canaries.plant("a code", &parameter(&back, "code"));
            canaries.plant("a state", &parameter(&back, "state"));
            for value in browser.jar.values() {
                canaries.plant("a cookie", value);
            }
            for (call, action) in faults {
                fail(&stack, *call, u32::MAX, action.clone());
            }
            if over_http {
                let reply = browser.get(back.as_str()).await;
                outcomes.insert(reply.status.as_u16());
                canaries.look_at(name, &reply);
                let replayed = browser.get(back.as_str()).await;
                canaries.look_at("a replay", &replayed);
                canaries.look_at("another browser", &Browser::new().get(back.as_str()).await);
                canaries.look_at(
                    "a denial",
                    &browser.get(&format!("{back}&error=access_denied")).await,
                );
            } else {
                let jar = cookies(&browser);
                let jar: Vec<&str> = jar.iter().map(String::as_str).collect();
                let result = stack
                    .service()
                    .finish(back.query().unwrap(), &jar, stack.clock().now())
                    .await;
                canaries.look("Debug", &format!("{result:?} {result:#?}"));
                if let Err(error) = result {
                    canaries.look(
                        "an error's text",
                        &format!("{error} {}", threads_auth::error_chain(&error)),
                    );
                }
            }
            stack.sandbox().unwrap().clear_faults();
        }
    }
    vend_under_watch(&stack, &ada, &mut canaries).await;
    let sweep = stack.sweep().await;
    canaries.look("a sweep's report", &format!("{sweep:?}"));
    let now = stack.clock().now();
    let (app, keyring) = (
        stack.service().secrets().app(now).await,
        stack.service().secrets().keyring(now).await,
    );
    canaries.look(
        "Debug of the secrets",
        &format!("{app:?} {keyring:?} {:?}", stack.service().config()),
    );
    canaries.look_at_rows(&stack).await;
    let logged = String::from_utf8(captured.0.lock().unwrap().clone()).unwrap();
    canaries.look("the log", &logged);

    // The search finds what is there, and the log has what it should.
    assert!(
        logged.contains(r#""outcome":"connected""#) && logged.contains("the second exchange failed"),
        "no log"
    );
    assert!(logged.contains(&ada));
    let caller = r#""caller":"arn:aws:iam::123456789012:user/development""#;
    assert!(logged.contains(caller), "who called is in the log");
    assert!(
        outcomes.is_superset(&BTreeSet::from([303, 400, 500, 503])),
        "{outcomes:?}"
    );
    let mut check = Canaries::default();
    check.plant("a line", "the second exchange failed");
    check.look("the log", &logged);
    assert_eq!(check.found.len(), 1);
    println!(
        "threat 11: {} canaries through {} paths, {} bytes of pages, rows, errors and TRACE logs: {} occurrences",
        canaries.planted.len(),
        paths.len() * 2,
        canaries.scanned,
        canaries.found.len()
    );
    assert_eq!(canaries.found, Vec::<String>::new());
}

#[tokio::test]
async fn threat_27_junk_costs_nothing() {
    let stack = stack().await;
    let mut browser = Browser::new();
    // A real flow is open, so that junk has something to be mistaken for.
    let back = browser.consent(&stack, "", &account(&stack, "ada")).await;
    let (state, value) = (
        parameter(&back, "state"),
        browser.jar.values().next().unwrap().clone(),
    );
    let junk = |n: usize| {
        let text = threads_auth::seal::random_text::<32>().unwrap();
        match n % 10 {
            0 => ("/callback", format!("code={text}&state={text}"), vec![]),
            1 => ("/callback", format!("code={text}&state={state}"), vec![]),
            2 => (
                "/callback",
                format!("code={text}&state={state}"),
                vec![format!("threads-auth-{}={value}", &text[..8])],
            ),
            3 => ("/callback", format!("error={text}&state={text}"), vec![]),
            4 => (
                "/callback",
                "error=access_denied".to_owned(),
                vec![format!("threads-auth-{}={text}", &text[..8])],
            ),
            5 => ("/callback", text, vec![]),
            6 => ("/authorize", format!("session={}", &text[..32]), vec![]),
            7 => (
                "/authorize",
                format!("return_to=https://{}.example/", hex_free(&text)),
                vec![],
            ),
            8 => (
                "/authorize",
                String::new(),
                vec![format!("threads-auth-{}={text}", &text[..8])],
            ),
            _ => ("/connected", text, vec![]),
        }
    };
    let mut statuses: BTreeMap<u16, usize> = BTreeMap::new();
    for n in 0..10_000 {
        let (path, query, jar) = junk(n);
        *statuses
            .entry(invoke(&stack, path, &query, &jar).await.status.as_u16())
            .or_default() += 1;
    }
    for n in 0..300 {
        let (path, query, jar) = junk(n);
        let jar = jar
            .iter()
            .filter_map(|cookie| cookie.split_once('='))
            .map(|(n, v)| (n.to_owned(), v.to_owned()))
            .collect();
        let url = format!("{}{path}?{query}", stack.urls().service_url);
        let mut browser = Browser::new();
        browser.jar = jar;
        let status = browser.get(&url).await.status;
        *statuses.entry(status.as_u16()).or_default() += 1;
    }
    assert_untouched(&stack).await;
    assert!(statuses.keys().all(|status| *status < 500), "{statuses:?}");
    println!("threat 27: 10,300 junk requests {statuses:?}: 0 writes, 0 calls to Meta");
}
