//! A callback counts in its own browser, in its time, and once.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use devstack::Stack;
use reqwest::header::{HeaderMap, SET_COOKIE};
use reqwest::{Method, StatusCode};
use threads_auth_model::SessionStatus;
use tokio::task::JoinSet;
use url::Url;

use super::common::{assert_untouched, cookies, flips, invoke, session};
use crate::fixture::{
    Browser, Reply, account, calls, grant, is_usable, parameter, rows, stack, stack_of_ada, stack_with, token,
};

#[tokio::test]
async fn threat_forged_callbacks() {
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
    refused(query, &[format!("{name}={other_value}"), format!("{other_name}={value}")]).await;
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
    refused(&query.replace(&state, &parameter(&attackers, "state")), &[format!("{other_name}={value}")])
        .await;
    // A cookie that another stack has sealed is foreign, although it is well formed.
    let elsewhere = crate::fixture::stack().await;
    let mut foreign = Browser::new();
    let back = foreign.consent(&elsewhere, "", &account(&elsewhere, "ada")).await;
    refused(back.query().unwrap(), &cookies(&foreign)).await;
    stack.clock().advance(Duration::from_mins(10));
    refused(query, &cookies(&victim)).await;
    assert_untouched(&stack).await;
    println!("threat forged-callback: {tried} forged callbacks, 0 calls to Meta, 0 grants");

    // The same callback, unforged, is good: it is the forgery that was refused.
    let back = victim.consent(&stack, "", &ada).await;
    assert_eq!(
        invoke(&stack, "/callback", back.query().unwrap(), &cookies(&victim)).await.status,
        StatusCode::SEE_OTHER
    );
}

#[tokio::test]
async fn threat_forged_callback_the_cookie_is_bound() {
    let start = async |public_url: &str| {
        let stack = stack_with(&[("PUBLIC_URL", public_url)]).await;
        let reply = invoke(&stack, "/authorize", "", &[]).await;
        reply.headers[SET_COOKIE].to_str().unwrap().to_owned()
    };
    let cookie = start("https://auth.example.com/").await;
    let attributes: BTreeSet<_> = cookie.split("; ").skip(1).collect();
    assert!(cookie.starts_with("__Host-threads-auth-"), "{cookie}");
    assert_eq!(attributes, BTreeSet::from(["HttpOnly", "SameSite=Lax", "Secure", "Path=/", "Max-Age=4200"]));
    println!("threat forged-callback: __Host- cookie with {attributes:?}");
}

/// Sends a hundred callbacks of one flow at once, every other one with a code of its own: so our
/// transaction alone decides, as if Meta took a code twice.
async fn race(stack: &Stack, browser: &Browser, back: &Url, user_id: &str) -> Vec<Reply> {
    let mut race = JoinSet::new();
    for n in 0..100 {
        let (browser, mut url) = (browser.clone(), back.clone());
        if n % 2 == 1 {
            let redirect_uri = format!("{}/callback", stack.urls().service_url);
            let code = stack.sandbox().unwrap().issue_code(user_id, &redirect_uri, &[]);
            url.query_pairs_mut()
                .clear()
                .append_pair("code", &code)
                .append_pair("state", &parameter(back, "state"));
        }
        race.spawn(
            async move { browser.send(Method::GET, url.as_str(), HeaderMap::new(), String::new()).await },
        );
    }
    race.join_all().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn threat_a_hundred_callbacks_with_one_state() {
    let (stack, ada) = stack_of_ada().await;
    let mut browser = Browser::new();
    let back = browser.consent(&stack, "", &ada).await;
    let mut statuses: BTreeMap<u16, usize> = BTreeMap::new();
    for reply in race(&stack, &browser, &back, &ada).await {
        *statuses.entry(reply.status.as_u16()).or_default() += 1;
    }
    println!(
        "threat repeated-callback: 100 callbacks with one state (50 with codes of their own): {statuses:?}"
    );
    assert_eq!(statuses.get(&303), Some(&1), "{statuses:?}");
    assert!(statuses.keys().all(|status| *status < 500), "{statuses:?}");
    let grant = grant(&stack, &ada).await;
    let stored = rows(&stack).await;
    assert_eq!(stored.len(), 2, "one grant and one spent state");
    let spent = stored.iter().find(|row| row["pk"].as_s().unwrap().starts_with("state#")).unwrap();
    assert_eq!(spent["grant_id"].as_s().unwrap(), &grant.grant_id);
}

/// In a session the closed session stands for the spent state.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn threat_a_hundred_callbacks_with_one_state_of_a_session() {
    let (stack, ada) = stack_of_ada().await;
    let session = session(&stack, "user-1").await;
    let mut browser = Browser::new();
    let back = browser.consent(&stack, &format!("session={}", session.id), &ada).await;
    let replies = race(&stack, &browser, &back, &ada).await;
    assert!(replies.iter().all(|reply| reply.status == StatusCode::SEE_OTHER), "{replies:?}");
    let places: BTreeSet<_> = replies
        .iter()
        .map(|reply| reply.location().to_string())
        .filter(|place| place.contains("completion="))
        .collect();
    assert_eq!(places.len(), 1, "{places:?}");
    let stored = rows(&stack).await;
    assert_eq!(stored.len(), 2, "one grant and one session: {stored:?}");
    let changed = stack.service().store().session(&session.id).await.unwrap().unwrap();
    assert_eq!(changed.state.status(), SessionStatus::Connected);
    assert!(is_usable(&stack, &token(&stack, &ada).await).await);
}

#[tokio::test]
async fn threat_eight_tabs() {
    let (stack, ada) = stack_of_ada().await;
    // The worst that a link can ask for: every scope, and the longest way back.
    let scopes = "threads_basic,threads_content_publish,threads_read_replies,threads_manage_replies,\
                  threads_manage_insights,threads_keyword_search,threads_manage_mentions,threads_delete,\
                  threads_location_tagging,threads_profile_discovery";
    let return_to = format!("http://127.0.0.1:4000/{}", "a".repeat(512 - "http://127.0.0.1:4000/".len()));
    let query = format!("scopes={scopes}&return_to={return_to}");
    let mut largest = 0;
    for order in [[0, 1, 2, 3, 4, 5, 6, 7], [7, 6, 5, 4, 3, 2, 1, 0], [3, 0, 7, 5, 1, 6, 2, 4]] {
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
                assert_eq!(reply.status, StatusCode::SEE_OTHER, "tab {tab} of {order:?}: {reply:?}");
            }
        }
    }
    println!(
        "threat many-tabs: 8 tabs in 3 orders; request line and cookies at most {largest} of 10,240 bytes"
    );
    // The browser's own headers need their room.
    assert!(largest < 10_240 - 2_048, "{largest}");
}
