//! `threads-auth-client` against the service and its document: the words and fields are the same,
//! and an app's calls do what they say.

use std::collections::BTreeSet;
use std::time::Duration;

use aws_credential_types::Credentials;
use devstack::Stack;
use jiff::Timestamp;
use reqwest::StatusCode;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use threads_auth_client::{
    Account, AccountPage, AccountStatus, Cause, Change, Client, ConnectedAccount, ConnectedStatus, Deadline,
    Disconnected, Error, ErrorCode, Event, FailureClass, NewSession, ScopesSource, Session, SessionId,
    SessionProgress, SessionReason, SessionStatus, Tokens, UserId, VendedToken,
};
use threads_graph::{Endpoints, Graph};
use threads_sandbox::{FaultAction, SandboxCall};

use crate::contract::{CONTRACT, examples};
use crate::fixture::{Browser, DAY, account, calls_of, connect_people, fail, http, parameter, stack, token};

#[path = "../shared/threads-auth-client/examples/post.rs"]
#[expect(dead_code, reason = "its main is for `cargo run`")]
mod post;

use self::post::{App, Outcome};

const RETURN_TO: &str = "http://127.0.0.1:4000/done";

/// A client that waits for as long as a busy machine takes.
pub(crate) fn client(stack: &Stack) -> Client {
    let urls = stack.urls();
    let credentials = Credentials::new(&urls.access_key_id, &urls.secret_access_key, None, None, "test");
    let client = Client::new(&urls.service_url, &urls.region, credentials).unwrap();
    client.timeout(Duration::from_mins(10))
}

/// A person who follows a session's link and consents: the session and the completion code.
async fn consent(stack: &Stack, session: &Session, user_id: &str) -> (SessionId, String) {
    let mut browser = Browser::new();
    let query = session.url.split_once('?').unwrap().1;
    let back = browser.consent(stack, query, user_id).await;
    let location = browser.get(back.as_str()).await.location();
    (parameter(&location, "session_id").parse().unwrap(), parameter(&location, "completion"))
}

/// Reads the service's own bodies, and gives them back as they were: no field is lost.
fn assert_keeps<T: DeserializeOwned + Serialize>(bodies: &[Value]) {
    for body in bodies {
        let read: T = serde_json::from_value(body.clone()).unwrap();
        assert_eq!(serde_json::to_value(read).unwrap(), *body);
    }
}

/// Writes each of the document's fields, as the document has it.
fn assert_keeps_all(bodies: &[Value; 2], written: [impl Serialize; 2]) {
    for (body, written) in bodies.iter().zip(written) {
        let written = serde_json::to_value(written).unwrap();
        for (field, value) in body.as_object().unwrap() {
            assert_eq!(written[field], *value, "{field}");
        }
    }
}

/// Makes the examples' ids real ones, which the client insists on.
fn with_ids(mut body: Value) -> Value {
    if let Some(id) = body.get_mut("id") {
        *id = "A".repeat(32).into();
    }
    body
}

#[test]
fn the_client_knows_each_field_of_the_document() {
    for ((operation, part), bodies) in examples() {
        let bodies = bodies.map(with_ids);
        match (operation, part) {
            ("createSession", "201") => assert_keeps::<Session>(&bodies),
            ("getSession", "200") => assert_keeps::<SessionProgress>(&bodies),
            ("completeSession", "200") => assert_keeps::<ConnectedAccount>(&bodies),
            ("listAccounts", "200") => assert_keeps::<AccountPage>(&bodies),
            ("assignAccount" | "getAccount", "200") => assert_keeps::<Account>(&bodies),
            ("disconnectAccount", "200") => assert_keeps::<Disconnected>(&bodies),
            ("createSession", "body") => {
                let new = NewSession::new("a text", "a text");
                let all =
                    new.clone().scopes(["threads_basic", "threads_new_permission"]).ui_locales("a text");
                let all = all.only("17841405793187218".parse().unwrap()).expires_in(Duration::from_mins(1));
                assert_keeps_all(&bodies, [all, new]);
            }
            ("vendToken", "200") => {
                // It cannot be serialized, so its fields are counted.
                let vended: VendedToken = serde_json::from_value(bodies[0].clone()).unwrap();
                let VendedToken {
                    user_id, access_token, token_type, expires_at, scopes, scopes_source, ..
                } = vended;
                let all = json!({"user_id": user_id, "access_token": access_token.expose(),
                    "token_type": token_type, "expires_at": expires_at, "scopes": scopes,
                    "scopes_source": scopes_source});
                assert_eq!(all, bodies[0]);
            }
            // The reading of errors is tested below, and Meta's routes are not an app's.
            ("assignAccount" | "completeSession", "body")
            | ("vendToken", "409")
            | ("*", "error")
            | ("deauthorize" | "requestDeletion", _) => {}
            _ => panic!("{operation} {part}"),
        }
    }
}

#[test]
fn the_client_knows_each_word_of_the_document() {
    let schemas = CONTRACT["components"]["schemas"].as_object().unwrap();
    let known: BTreeSet<_> = schemas.keys().filter_map(|name| name.strip_prefix("Known")).collect();
    let here = [
        ("AccountStatus", AccountStatus::KNOWN),
        ("Cause", Cause::KNOWN),
        ("ConnectedStatus", ConnectedStatus::KNOWN),
        ("ErrorCode", ErrorCode::KNOWN),
        ("FailureClass", FailureClass::KNOWN),
        ("ScopesSource", ScopesSource::KNOWN),
        ("SessionReason", SessionReason::KNOWN),
        ("SessionStatus", SessionStatus::KNOWN),
    ];
    assert_eq!(here.map(|(name, _)| name).into_iter().collect::<BTreeSet<_>>(), known);
    for (name, words) in here {
        let document = schemas[&format!("Known{name}")]["enum"].as_array().unwrap();
        let unknown: Vec<_> =
            document.iter().filter(|word| !words.contains(&word.as_str().unwrap())).collect();
        assert!(unknown.is_empty(), "{name}: {unknown:?}");
    }
    for word in ErrorCode::KNOWN {
        let code: ErrorCode = serde_json::from_value(json!(word)).unwrap();
        assert!(code.as_str() == *word && !matches!(code, ErrorCode::Other(_)), "{word}");
    }
    assert_eq!(ErrorCode::from("of_a_later_version").to_string(), "of_a_later_version");
}

#[test]
fn the_client_knows_each_kind_of_event() {
    let schema: Value = serde_json::from_str(include_str!("../functions/events/schema.json")).unwrap();
    let deadlines = &schema["properties"]["detail"]["oneOf"][8]["properties"]["deadline"]["enum"];
    assert_eq!(json!(Deadline::KNOWN), *deadlines);
    for kind in schema["$defs"]["type"]["enum"].as_array().unwrap() {
        let all = json!({"version": "1", "id": "1", "type": kind, "time": "2026-01-01T00:10:00Z", "user_id": "1",
            "reconnected": true, "reference": "user-7", "cause": "expired", "lost": [], "gained": [],
            "by": null, "deadline": "token", "days": 3});
        let event = Event::parse(all.to_string().as_bytes()).unwrap();
        assert!(!matches!(event.change, Change::Other { .. }), "{kind}");
    }
}

#[tokio::test]
async fn an_app_connects_vends_lists_and_disconnects() {
    let stack = stack().await;
    let client = client(&stack);
    let ada = account(&stack, "ada");
    let new = NewSession::new("user 7/ü+&", RETURN_TO).scopes(["threads_delete", "threads_new"]);
    let session = client.start_session(&new).await.unwrap();
    assert_eq!(
        (&session.status, session.unknown_scopes.as_slice()),
        (&SessionStatus::Open, &["threads_new".to_owned()][..])
    );
    let (id, completion) = consent(&stack, &session, &ada).await;
    assert_eq!(id, session.id);
    let other = client.complete(&id, &completion, "user-8").await.unwrap_err();
    assert_eq!(other.code(), Some(&ErrorCode::WrongReference));
    let connected = client.complete(&id, &completion, "user 7/ü+&").await.unwrap();
    assert_eq!((connected.user_id.as_str(), &connected.status), (ada.as_str(), &ConnectedStatus::Connected));
    let progress = client.session(&id).await.unwrap();
    assert_eq!((progress.status, progress.reason), (SessionStatus::Connected, None));

    let shown = client.user(&connected.user_id).await.unwrap();
    assert_eq!((shown.status, shown.reference.as_deref()), (AccountStatus::Active, Some("user 7/ü+&")));
    let vended = client.token(&connected.user_id, Duration::from_hours(1), None).await.unwrap();
    assert_eq!(vended.access_token.expose(), token(&stack, &ada).await);
    let text = format!("{client:?} {vended:?}");
    assert!(!text.contains(vended.access_token.expose()) && !text.contains(&stack.urls().secret_access_key));

    let people: BTreeSet<String> = connect_people(&stack, 4).await.into_iter().chain([ada.clone()]).collect();
    let mut users = client.users().status(AccountStatus::Active).limit(2);
    let (mut found, mut pages) = (BTreeSet::new(), 0);
    while let Some(page) = users.next_page().await.unwrap() {
        pages += 1;
        found.extend(page.users.into_iter().map(|user| user.user_id.to_string()));
    }
    assert_eq!((found, pages >= 3), (people, true));
    let page = client.users().limit(2).next_page().await.unwrap().unwrap();
    let rest = client.users().after(page.cursor.unwrap()).next_page().await.unwrap().unwrap();
    assert_eq!(rest.users.len(), 3);

    let ended = client.delete_user(&connected.user_id).await.unwrap();
    assert_eq!(ended.status, AccountStatus::Revoked);
    let Err(Error::ReconnectNeeded(needed)) = client.token(&connected.user_id, Duration::ZERO, None).await
    else {
        panic!("a token of who was disconnected");
    };
    assert_eq!((&needed.code, &needed.cause), (&ErrorCode::Revoked, &Cause::App));
    let again = client.start_session(&NewSession::again(&needed, "user-7", RETURN_TO)).await.unwrap();
    let (id, completion) = consent(&stack, &again, &ada).await;
    assert_eq!(client.complete(&id, &completion, "user-7").await.unwrap().scopes, connected.scopes);
}

#[tokio::test]
async fn what_the_service_refuses_is_typed() {
    let stack = stack().await;
    let client = client(&stack);
    let nobody: UserId = "17841499999999999".parse().unwrap();
    let refused = client.user(&nobody).await.unwrap_err();
    assert_eq!(
        (refused.to_string().as_str(), refused.is_passing()),
        ("the service refuses the call: HTTP 404, unknown_user: no account with this id is connected", false)
    );
    let refused =
        client.start_session(&NewSession::new("user-7", "https://elsewhere.example/")).await.unwrap_err();
    assert_eq!(refused.code(), Some(&ErrorCode::ReturnToRefused));
    // API Gateway's own answer.
    let urls = stack.urls();
    let wrong = Credentials::new(&urls.access_key_id, "CANARY", None, None, "test");
    let refused =
        Client::new(&urls.service_url, &urls.region, wrong).unwrap().user(&nobody).await.unwrap_err();
    let Error::Refused(gateway) = &refused else { panic!("{refused:?}") };
    assert_eq!((gateway.status, &gateway.code, gateway.message.as_str()), (403, &None, "Forbidden"));
    assert!(gateway.request_id.is_some() && !format!("{refused:?}").contains("CANARY"));
    // A consent whose long-lived token is still to come.
    let ada = account(&stack, "ada");
    fail(&stack, SandboxCall::ExchangeLongLived, 4, FaultAction::Html);
    Browser::new().connect(&stack, &ada).await;
    let later = client.token(&ada.parse().unwrap(), Duration::ZERO, None).await.unwrap_err();
    assert_eq!((later.code(), later.is_passing()), (Some(&ErrorCode::Pending), true));
    assert!((1..=60).contains(&later.retry_after().unwrap().as_secs()));
    // Nothing listens there.
    let credentials = Credentials::new("key", "CANARY", None, None, "test");
    let away = Client::new("http://127.0.0.1:9", "eu-central-1", credentials)
        .unwrap()
        .user(&nobody)
        .await
        .unwrap_err();
    assert!(matches!(away, Error::Unreachable(_)) && away.is_passing(), "{away:?}");
    assert!(!format!("{away:?}").contains("17841499999999999"), "the URL is left out: {away:?}");
}

/// The whole of `examples/post.rs`: a person changes the password, and comes back.
#[tokio::test]
async fn an_app_calls_meta_until_the_person_is_needed_and_returns() {
    let stack = stack().await;
    let client = client(&stack);
    let ada = account(&stack, "ada");
    Browser::new().connect(&stack, &ada).await;
    let endpoints = Endpoints::new(
        format!("{}/oauth/authorize", stack.urls().threads_url),
        stack.urls().threads_url.clone(),
        "v1.0",
    );
    let app = App {
        tokens: Tokens::new(client.clone()),
        client: client.clone(),
        graph: Graph::new(http(), endpoints.unwrap()),
    };
    let user_id: UserId = ada.parse().unwrap();
    let call = async || app.profile(&user_id, "user-7", stack.clock().now()).await.unwrap();
    assert!(matches!(call().await, Outcome::Done(profile) if profile.id.as_str() == ada));

    // Meta refuses the token of the cache, and takes the one that has replaced it.
    let first = app.tokens.get(&user_id, stack.clock().now()).await.unwrap();
    stack.clock().advance(41 * DAY);
    stack.sandbox().unwrap().set_old_token_behaviour(threads_sandbox::OldToken::NewTokenOldDead);
    let slow = app.tokens.clone().ask_every(365 * DAY);
    stack.sweep().await.unwrap();
    assert_eq!(
        slow.get(&user_id, stack.clock().now()).await.unwrap().access_token.expose(),
        token(&stack, &ada).await,
        "41 days later it is asked for again"
    );
    let second = app.tokens.refused(&user_id, &first.access_token, stack.clock().now()).await.unwrap();
    assert_eq!(second.access_token.expose(), token(&stack, &ada).await);
    assert!(matches!(call().await, Outcome::Done(_)));

    stack.sandbox().unwrap().change_password(&ada);
    let url = match call().await {
        Outcome::AskThePerson(url) => url,
        other => panic!("{other:?}"),
    };
    let session: SessionId = url.split_once("session=").unwrap().1.parse().unwrap();
    let mut browser = Browser::new();
    let back = browser.consent(&stack, &format!("session={session}"), &ada).await;
    let reply = browser.get(back.as_str()).await;
    assert_eq!(reply.status, StatusCode::SEE_OTHER);
    client.complete(&session, &parameter(&reply.location(), "completion"), "user-7").await.unwrap();
    assert!(matches!(call().await, Outcome::Done(profile) if profile.id.as_str() == ada));
}

/// Many callers want a token that is due, over several processes: Meta is asked once.
#[tokio::test]
async fn caches_share_the_services_one_refresh() {
    let stack = stack().await;
    let ada = account(&stack, "ada");
    Browser::new().connect(&stack, &ada).await;
    stack.clock().advance(41 * DAY);
    stack.sandbox().unwrap().clear_calls();
    let user_id: UserId = ada.parse().unwrap();
    let caches: Vec<Tokens> = (0..4).map(|_| Tokens::new(client(&stack))).collect();
    let now: Timestamp = stack.clock().now();
    let callers = (0..100).map(|n| {
        let (cache, user_id) = (caches[n % 4].clone(), user_id.clone());
        async move { cache.get(&user_id, now).await.unwrap().access_token.expose().to_owned() }
    });
    let tokens: BTreeSet<String> = futures_util::future::join_all(callers).await.into_iter().collect();
    assert_eq!((tokens.len(), calls_of(&stack, SandboxCall::Refresh)), (1, 1));
}
