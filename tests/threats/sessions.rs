//! Nobody links an account that is not theirs, whatever happens to a connect session.

use std::time::Duration;

use devstack::Stack;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::common::{flips, session};
use crate::connect::new_session;
use crate::fixture::{Browser, account, calls, find_grant, grant, parameter, rows, stack};
use crate::iam;

/// The host app's backend: it links an account to the user who is logged in.
async fn link(stack: &Stack, logged_in: &str, id: &str, completion: &str) -> Option<(String, String)> {
    let body = json!({"completion": completion, "reference": logged_in}).to_string();
    let reply = iam::call(stack, Method::POST, &format!("/sessions/{id}/complete"), &body).await;
    assert!(reply.status.is_success() || reply.status.is_client_error(), "{reply:?}");
    let answer: Value = serde_json::from_str(&reply.body).unwrap();
    Some((logged_in.to_owned(), answer["user_id"].as_str()?.to_owned()))
}

#[tokio::test]
async fn threat_a_victim_finishes_the_attackers_session() {
    let stack = stack().await;
    let grace = account(&stack, "grace");
    let (mut victim, mut attacker) = (Browser::new(), Browser::new());
    let (mut tried, mut links) = (0, 0);
    let mut attempt = async |logged_in: &str, id: &str, completion: &str| {
        tried += 1;
        links += usize::from(link(&stack, logged_in, id, completion).await.is_some());
    };

    let trap = session(&stack, "attacker").await;
    let back = victim.consent(&stack, &format!("session={}", trap.id), &grace).await;
    // The attacker knows the session, has seen its page too, and may even have seen the callback.
    attacker.get(&stack.service().config().session_url(&trap.id)).await;
    let reply = attacker.get(back.as_str()).await;
    assert!(reply.is_page("wrong_browser"), "{reply:?}");
    assert_eq!(calls(&stack), 0);
    let returned = victim.get(back.as_str()).await.location();
    assert_eq!(parameter(&returned, "session_id"), trap.id);
    let completion = parameter(&returned, "completion");
    assert_eq!(returned.origin().ascii_serialization(), "http://127.0.0.1:4000");

    // The attacker has no completion code: guesses, parts and other things that are known do not
    // do.
    for guess in
        ["", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", &trap.id, &parameter(&back, "state"), "connected"]
    {
        attempt("attacker", &trap.id, guess).await;
    }
    attempt("attacker", &trap.id, &completion[..completion.len() - 1]).await;
    let stored = rows(&stack).await;
    let hash = stored.iter().find_map(|row| row.get("completion_hash")).unwrap().as_s().unwrap();
    attempt("attacker", &trap.id, hash).await;
    for flipped in flips(&completion) {
        attempt("attacker", &trap.id, &flipped).await;
    }
    attempt("attacker", "unknown", &completion).await;
    // Another session's code, of the attacker's own.
    let own = session(&stack, "attacker").await;
    let back = attacker.consent(&stack, &format!("session={}", own.id), &account(&stack, "ada")).await;
    let own_completion = parameter(&attacker.get(back.as_str()).await.location(), "completion");
    attempt("attacker", &trap.id, &own_completion).await;
    attempt("attacker", &own.id, &completion).await;
    // The victim's browser hands the code over, as the victim: the session is not the victim's.
    attempt("victim", &trap.id, &completion).await;
    println!("threat lured-user: {tried} attempts at a tricked session, {links} links");
    assert_eq!(links, 0);
    // Nothing of it has made the account the attacker's, and nothing has spent the code.
    assert_eq!(grant(&stack, &grace).await.claim.owner(), None);
    assert!(
        link(&stack, "attacker", &trap.id, &completion).await.is_some(),
        "it was the code that he lacked"
    );
}

#[tokio::test]
async fn threat_lured_user_sessions_and_codes_work_once_and_in_time() {
    let stack = stack().await;
    let service = stack.service();
    let (ada, grace) = (account(&stack, "ada"), account(&stack, "grace"));
    let mut browser = Browser::new();
    let opened = session(&stack, "user-1").await;
    let url = service.config().session_url(&opened.id);
    let query = format!("session={}", opened.id);
    // Two tabs of one session: the first to finish closes it.
    let (first, second) =
        (browser.consent(&stack, &query, &ada).await, browser.consent(&stack, &query, &grace).await);
    let returned = browser.get(first.as_str()).await.location();
    let late = browser.get(second.as_str()).await;
    assert_eq!(parameter(&late.location(), "reason"), "session_closed");
    assert!(find_grant(&stack, &grace).await.is_none(), "a closed session stores nothing");
    let again = browser.get(&url).await;
    assert_eq!((again.status, again.is_page("session_closed")), (StatusCode::CONFLICT, true), "{again:?}");
    let completion = parameter(&returned, "completion");
    assert_eq!(
        link(&stack, "user-1", &opened.id, &completion).await,
        Some(("user-1".to_owned(), ada.clone()))
    );
    stack.clock().advance(Duration::from_mins(10));
    assert_eq!(link(&stack, "user-1", &opened.id, &completion).await, None, "a code works once");

    // A code that comes after the session's end.
    let slow = session(&stack, "user-1").await;
    let back = browser.consent(&stack, &format!("session={}", slow.id), &ada).await;
    let completion = parameter(&browser.get(back.as_str()).await.location(), "completion");
    stack.clock().advance(Duration::from_mins(30));
    assert_eq!(link(&stack, "user-1", &slow.id, &completion).await, None);

    // A session that ends before its page is opened, and one that ends while the person is at Meta.
    let unused = session(&stack, "user-1").await;
    stack.clock().advance(Duration::from_mins(30));
    let expired = browser.get(&service.config().session_url(&unused.id)).await;
    assert_eq!((expired.status, expired.is_page("session_expired")), (StatusCode::GONE, true), "{expired:?}");
    let ending = session(&stack, "user-2").await;
    stack.clock().advance(Duration::from_mins(29));
    let back = browser.consent(&stack, &format!("session={}", ending.id), &grace).await;
    stack.clock().advance(Duration::from_mins(2));
    let late = browser.get(back.as_str()).await;
    assert_eq!(parameter(&late.location(), "reason"), "session_expired");
    assert!(find_grant(&stack, &grace).await.is_none());
    println!("threat lured-user: 1 link of 1 finished session; 0 from used, late and expired ones");
}

/// Three backends that do not check who is logged in: each links by a response, an event or a list.
#[tokio::test]
async fn threat_careless_backends_link_nobody_wrongly() {
    let stack = stack().await;
    let (ada, grace) = (account(&stack, "ada"), account(&stack, "grace"));
    // Grace is lured into the attacker's session, and comes back to the app, logged in as herself.
    let trap = session(&stack, "attacker").await;
    let mut victim = Browser::new();
    let back = victim.consent(&stack, &format!("session={}", trap.id), &grace).await;
    let returned = victim.get(back.as_str()).await.location();
    // Ada connects her own account, and completes it.
    let own = session(&stack, "user-ada").await;
    let mut browser = Browser::new();
    let back = browser.consent(&stack, &format!("session={}", own.id), &ada).await;
    let completion = parameter(&browser.get(back.as_str()).await.location(), "completion");
    assert!(link(&stack, "user-ada", &own.id, &completion).await.is_some());
    let ask = async |method: Method, path: &str, body: &Value| -> Value {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        serde_json::from_str(&iam::call(&stack, method, path, &body).await.body).unwrap()
    };
    let mut links = Vec::new();
    let mut note = |by: &'static str, reference: &Value, user_id: &Value| {
        if let (Some(reference), Some(user_id)) = (reference.as_str(), user_id.as_str()) {
            links.push((by, reference.to_owned(), user_id.to_owned()));
        }
    };
    // The return handler, with the session's own reference, and with that of the answer.
    let path = format!("/sessions/{}", trap.id);
    let shown = ask(Method::GET, &path, &Value::Null).await;
    let mut body = json!({"completion": parameter(&returned, "completion")});
    if !shown["reference"].is_null() {
        body["reference"] = shown["reference"].clone();
    }
    let answer = ask(Method::POST, &format!("{path}/complete"), &body).await;
    note("return handler", &shown["reference"], &answer["user_id"]);
    note("return handler", &answer["reference"], &answer["user_id"]);
    // The events, for as long as the account is there.
    for _ in 0..30 {
        stack.clock().advance(Duration::from_hours(1));
        stack.sweep().await.unwrap();
    }
    stack.announce().await.unwrap();
    for event in stack.events() {
        note("events", &event["detail"]["reference"], &event["detail"]["user_id"]);
        note("events", &event["detail"]["account"]["reference"], &event["detail"]["user_id"]);
    }
    // The list.
    for user in ask(Method::GET, "/users", &Value::Null).await["users"].as_array().unwrap() {
        note("list", &user["reference"], &user["user_id"]);
    }
    let wrong =
        links.iter().filter(|(_, reference, user_id)| (reference.as_str(), user_id) != ("user-ada", &ada));
    let wrong = wrong.count();
    println!("threat careless-backend: three careless backends: {} links, {wrong} wrong", links.len());
    assert_eq!(wrong, 0, "{links:?}");
    assert_eq!(links.len(), 2, "an event and the list name who has claimed: {links:?}");
    // Nobody's account is gone, and the other one is as it was.
    assert_eq!(grant(&stack, &grace).await.status().as_str(), "revoked");
    assert_eq!(grant(&stack, &ada).await.status().as_str(), "active");
}

#[tokio::test]
async fn threat_another_account_than_the_session_names() {
    let stack = stack().await;
    let (ada, grace) = (account(&stack, "ada"), account(&stack, "grace"));
    let mut new = new_session("user-1");
    new.user_id = Some(ada.parse().unwrap());
    let session = stack.service().create_session(new, stack.clock().now()).await.unwrap();
    let mut before = rows(&stack).await;
    let mut browser = Browser::new();
    let back = browser.consent(&stack, &format!("session={}", session.id), &grace).await;
    let reply = browser.get(back.as_str()).await;
    let told = format!("session_id={}&status=failed&reason=wrong_account", session.id);
    assert_eq!(reply.location().query(), Some(&*told), "{reply:?}");
    let mut after = rows(&stack).await;
    for (name, value) in [("status", "failed"), ("reason", "wrong_account")] {
        assert_eq!(after[0].remove(name).unwrap().as_s().unwrap(), value);
    }
    before[0].remove("status").unwrap();
    assert_eq!(after, before, "nothing is stored but how it went, for the app's backend");
    // The right account still can.
    let back = browser.consent(&stack, &format!("session={}", session.id), &ada).await;
    assert_eq!(browser.get(back.as_str()).await.status, StatusCode::SEE_OTHER);
    assert!(find_grant(&stack, &grace).await.is_none());
    println!("threat injected-code: another account came back: failed, 0 rows changed");
}
