//! Events: every change that a backend cares about is announced, from the table's stream, and
//! nothing else is.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use axum::Router;
use axum::body::Bytes;
use axum::extract::Json;
use devstack::{Stack, StackOptions};
use events::{EventPublisher, Letter};
use jiff::Timestamp;
use reqwest::StatusCode;
use serde_json::{Value, json};
use threads_auth::{Config, Import, RefreshOutcome};
use threads_auth_client::{Change, Event};
use threads_auth_model::{Cause, Status};
use threads_auth_web::{Failed, Handled};
use threads_graph::AccessToken;
use threads_sandbox::{FaultAction, SandboxCall};

use crate::backend::{finished, new};
use crate::client::client;
use crate::fixture::{
    Browser, DAY, START, account, calls_of, connect_people, connect_private, connected_ada, delete_data,
    fail, find_grant, grant, http, options, post_signed, record, serve, stack, stack_of_ada, stack_with,
    token,
};

/// Returns the details of the events announced since the last time, oldest first.
pub(crate) async fn announced(stack: &Stack, seen: &mut usize) -> Vec<Value> {
    stack.announce().await.unwrap();
    let all = stack.events();
    let new = all.len() - *seen;
    *seen = all.len();
    all.into_iter().take(new).rev().map(|event| read(&event)["detail"].clone()).collect()
}

/// Asserts that an app's client knows the event.
fn read(event: &Value) -> &Value {
    let read = Event::parse(event.to_string().as_bytes()).unwrap();
    assert!(!matches!(read.change, Change::Other { .. }), "{read:?}");
    assert_eq!(event["resources"], json!([read.user_id]));
    event
}

/// Makes a user's row senseless.
async fn break_row(stack: &Stack, user_id: &str) {
    let client = threads_auth_store::aws::dynamodb(&stack.service().config().aws, &http());
    client
        .update_item()
        .table_name(&stack.urls().grants_table)
        .key("pk", AttributeValue::S(format!("user#{user_id}")))
        .update_expression("REMOVE issued_at")
        .send()
        .await
        .unwrap();
}

pub(crate) fn types(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| event["type"].as_str().unwrap()).collect()
}

/// An account's whole life in its events.
#[tokio::test]
async fn a_life_is_told_in_events() {
    let (stack, mut seen) = (stack().await, 0);
    let ada = account(&stack, "ada");
    let mut secrets = Vec::new();
    let query = "scopes=threads_basic,threads_content_publish";

    let mut browser = Browser::new();
    let back = browser.consent(&stack, query, &ada).await;
    browser.get(back.as_str()).await;
    secrets.push(token(&stack, &ada).await);
    let events = announced(&stack, &mut seen).await;
    let expires_at = grant(&stack, &ada).await.live().unwrap().expires_at;
    let id = events[0]["id"].clone();
    assert!(id.as_str().unwrap().ends_with(":account.connected"));
    assert_eq!(
        events,
        [
            json!({"version": "1", "id": id, "type": "account.connected", "time": START, "order": events[0]["order"], "user_id": ada,
            "reconnected": false, "account": {"username": "ada", "status": "active", "expires_at": expires_at,
                "scopes": ["threads_basic", "threads_content_publish"], "scopes_source": "granted",
                "data_access_expires_at": null}})
        ]
    );

    // A failed attempt that is retried causes no event; the refresh causes one, with its result.
    stack.clock().advance(41 * DAY);
    fail(&stack, SandboxCall::Refresh, 1, FaultAction::Html);
    stack.sweep().await.unwrap();
    assert!(announced(&stack, &mut seen).await.is_empty());
    stack.clock().advance(Duration::from_hours(1));
    stack.sweep().await.unwrap();
    secrets.push(token(&stack, &ada).await);
    assert_eq!(types(&announced(&stack, &mut seen).await), ["account.refreshed"]);

    // The person takes a permission back, which the next refresh finds out.
    stack.sandbox().unwrap().withdraw(&ada, "threads_content_publish");
    stack.clock().advance(41 * DAY);
    stack.sweep().await.unwrap();
    let events = announced(&stack, &mut seen).await;
    assert_eq!(types(&events), ["account.refreshed", "account.scopes_changed"]);
    assert_eq!((&events[1]["lost"], &events[1]["gained"]), (&json!(["threads_content_publish"]), &json!([])));
    assert_eq!(events[1]["account"]["scopes"], json!(["threads_basic"]));

    stack.sandbox().unwrap().change_password(&ada);
    stack.clock().advance(41 * DAY);
    stack.sweep().await.unwrap();
    let events = announced(&stack, &mut seen).await;
    assert_eq!(types(&events), ["account.needs_reauthorization"]);
    assert_eq!(events[0]["cause"], "password_changed");
    Browser::new().connect(&stack, &ada).await;
    assert_eq!(types(&announced(&stack, &mut seen).await), ["account.recovered"]);
    Browser::new().connect(&stack, &ada).await;
    let events = announced(&stack, &mut seen).await;
    assert_eq!((types(&events), &events[0]["reconnected"]), (vec!["account.connected"], &json!(true)));

    client(&stack).delete_user(&ada.parse().unwrap()).await.unwrap();
    let events = announced(&stack, &mut seen).await;
    assert_eq!((types(&events), &events[0]["by"]), (vec!["account.disconnected"], &json!("app")));
    Browser::new().connect(&stack, &ada).await;
    announced(&stack, &mut seen).await;
    let message = stack.sandbox().unwrap().signed_request(&ada);
    for _ in 0..2 {
        post_signed(&stack, "/deauthorize", &message).await;
    }
    let events = announced(&stack, &mut seen).await;
    assert_eq!((types(&events), &events[0]["by"]), (vec!["account.disconnected"], &json!("threads")));
    delete_data(&stack, &ada).await;
    let events = announced(&stack, &mut seen).await;
    assert_eq!(types(&events), ["account.deleted"]);
    assert_eq!((&events[0]["user_id"], events[0].get("account")), (&json!(ada), None));

    let envelopes = stack.events();
    let text = serde_json::to_string(&envelopes).unwrap();
    assert!(secrets.iter().all(|secret| !text.contains(secret)));
    for word in ["access_token", "sealed", "pending_token", "previous", "lease"] {
        assert!(!text.contains(word), "{word}");
    }
    assert!(envelopes.iter().all(|event| event["source"] == "threads-auth"
        && event["detail-type"] == event["detail"]["type"]
        && event["resources"] == json!([ada])));
    println!("events: {} in a life, 0 secrets", envelopes.len());
}

fn kept(folder: &std::path::Path, variables: &[(&str, &str)]) -> StackOptions {
    StackOptions {
        data_dir: Some(folder.to_owned()),
        events_file: Some(folder.join("events.jsonl")),
        ..options(START.parse().unwrap(), variables)
    }
}

/// The process dies between the write and its announcement, or the bus is away; and announces it
/// when it is back, once.
#[tokio::test]
async fn no_event_is_lost_between_a_write_and_its_announcement() {
    let folder = tempfile::tempdir().unwrap();
    let nowhere = "http://127.0.0.1:9";
    let stack =
        Stack::start(kept(folder.path(), &[("AWS_ENDPOINT_URL_EVENTBRIDGE", nowhere)])).await.unwrap();
    let (ada, grace) = (account(&stack, "ada"), account(&stack, "grace"));
    Browser::new().connect(&stack, &ada).await;
    assert!(stack.announce().await.is_err());
    Browser::new().connect(&stack, &grace).await;
    stack.stop().await;

    let lines = || {
        let text = std::fs::read_to_string(folder.path().join("events.jsonl")).unwrap();
        text.lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap()["detail"].clone())
            .collect::<Vec<_>>()
    };
    assert!(lines().is_empty());
    let stack = Stack::start(kept(folder.path(), &[])).await.unwrap();
    stack.announce().await.unwrap();
    assert_eq!(types(&lines()), ["account.connected"; 2]);
    let users: Vec<_> = lines().iter().map(|event| event["user_id"].clone()).collect();
    assert_eq!(users, [json!(ada), json!(grace)]);
    let ids: Vec<_> = lines().iter().map(|event| event["id"].clone()).collect();
    stack.stop().await;

    // An event is announced again only if its first success is not known, and then under the same
    // id.
    let stack = Stack::start(kept(folder.path(), &[])).await.unwrap();
    stack.announce().await.unwrap();
    assert_eq!(lines().len(), 2);
    stack.stop().await;
    std::fs::remove_file(folder.path().join("stream.json")).unwrap();
    let stack = Stack::start(kept(folder.path(), &[])).await.unwrap();
    stack.announce().await.unwrap();
    let again: Vec<_> = lines()[2..].iter().map(|event| event["id"].clone()).collect();
    assert_eq!(again, ids);
    stack.stop().await;
}

/// A private profile's 90 days end whatever becomes of its token: it is announced 14 and 3 days
/// ahead, and then it ends.
#[tokio::test]
async fn the_end_of_data_access_is_told_ahead_and_marked() {
    let (stack, mut seen) = (stack().await, 0);
    let user_id = connect_private(&stack).await;
    announced(&stack, &mut seen).await;
    let mut told = Vec::new();
    for day in 1..=91 {
        stack.clock().advance(DAY);
        stack.sweep().await.unwrap();
        for event in announced(&stack, &mut seen).await {
            let what = match event["type"].as_str().unwrap() {
                "account.expiring_soon" => {
                    format!("{} {}", event["deadline"].as_str().unwrap(), event["days"])
                }
                "account.needs_reauthorization" => event["cause"].as_str().unwrap().to_owned(),
                other => other.to_owned(),
            };
            told.push((day, what));
        }
    }
    // The token itself is still refreshed, which does not extend the access.
    let (refreshed, told): (Vec<_>, Vec<_>) =
        told.into_iter().partition(|(_, what)| what == "account.refreshed");
    assert_eq!(refreshed.len(), 2);
    let expected = [(77, "data_access 14"), (88, "data_access 3"), (90, "data_access_expired")];
    assert_eq!(told, expected.map(|(day, what)| (day, what.to_owned())));
    let marked = grant(&stack, &user_id).await;
    assert_eq!(
        (marked.status(), marked.cause()),
        (Status::NeedsReauthorization, Some(Cause::DataAccessExpired))
    );
    assert_eq!(calls_of(&stack, SandboxCall::Refresh), 2);
    // A consent begins it again.
    Browser::new().connect(&stack, &user_id).await;
    assert_eq!(types(&announced(&stack, &mut seen).await), ["account.recovered"]);
    assert!(grant(&stack, &user_id).await.live().unwrap().warning.is_none());
}

/// A refresh extends a public profile's access: two years pass without a word of it.
#[tokio::test]
async fn a_public_profile_is_never_warned_of() {
    let ((stack, _), mut seen) = (connected_ada().await, 0);
    announced(&stack, &mut seen).await;
    for _ in 0..146 {
        stack.clock().advance(5 * DAY);
        stack.sweep().await.unwrap();
    }
    let events = announced(&stack, &mut seen).await;
    assert!(events.iter().all(|event| event["type"] == "account.refreshed"), "{events:?}");
    assert!((18..=21).contains(&events.len()), "{}", events.len());
}

/// Meta never reports anything about a token: accounts connect and live on all the same.
#[tokio::test]
async fn an_inspection_that_fails_stops_nothing() {
    let (stack, mut seen) = (stack().await, 0);
    let ada = account(&stack, "ada");
    fail(&stack, SandboxCall::DebugToken, 2, FaultAction::Html);
    Browser::new().connect(&stack, &ada).await;
    let connected = grant(&stack, &ada).await;
    assert_eq!(
        (connected.status(), connected.live().unwrap().data_access_expires_at),
        (Status::Active, None)
    );
    stack.clock().advance(41 * DAY);
    assert_eq!(stack.sweep().await.unwrap().count(RefreshOutcome::Refreshed), 1);
    assert_eq!(grant(&stack, &ada).await.live().unwrap().data_access_expires_at, None);
    // Once reported, it is kept.
    stack.sandbox().unwrap().set_private(&ada, true);
    stack.clock().advance(41 * DAY);
    assert_eq!(stack.sweep().await.unwrap().count(RefreshOutcome::Refreshed), 1);
    assert!(grant(&stack, &ada).await.live().unwrap().data_access_expires_at.is_some());
    assert_eq!(
        types(&announced(&stack, &mut seen).await),
        ["account.connected", "account.refreshed", "account.refreshed"]
    );
}

/// Data access has ended, but Meta does not report it: only a refusal of the token itself marks the
/// grant.
#[tokio::test]
async fn silence_ends_no_access() {
    let stack = stack().await;
    let user_id = connect_private(&stack).await;
    stack.clock().advance(41 * DAY);
    stack.sweep().await.unwrap();
    fail(&stack, SandboxCall::DebugToken, u32::MAX, FaultAction::Html);
    fail(&stack, SandboxCall::Me, 3, FaultAction::Html);
    stack.clock().advance(50 * DAY);
    for _ in 0..3 {
        assert_eq!(stack.sweep().await.unwrap().count(RefreshOutcome::Deferred), 1);
        assert_eq!(grant(&stack, &user_id).await.status(), Status::Active);
        stack.clock().advance(Duration::from_hours(2));
    }
    // Now the profile is refused for lack of permission.
    assert_eq!(stack.sweep().await.unwrap().count(RefreshOutcome::NeedsReauthorization), 1);
    let marked = grant(&stack, &user_id).await;
    assert_eq!(
        (marked.status(), marked.cause()),
        (Status::NeedsReauthorization, Some(Cause::DataAccessExpired))
    );
}

/// A token that is not refreshed for long is warned of too, before it is lost.
#[tokio::test]
async fn a_token_that_nobody_can_refresh_is_warned_of() {
    let ((stack, _), mut seen) = (connected_ada().await, 0);
    announced(&stack, &mut seen).await;
    fail(&stack, SandboxCall::Refresh, u32::MAX, FaultAction::Html);
    let mut told = Vec::new();
    for _ in 0..61 * 2 {
        stack.clock().advance(Duration::from_hours(12));
        stack.sweep().await.unwrap();
        told.extend(announced(&stack, &mut seen).await);
    }
    assert_eq!(
        types(&told),
        ["account.expiring_soon", "account.expiring_soon", "account.needs_reauthorization"]
    );
    let warned: Vec<_> = told[..2].iter().map(|event| (&event["deadline"], &event["days"])).collect();
    assert_eq!(warned, [(&json!("token"), &json!(14)), (&json!("token"), &json!(3))]);
    assert_eq!(told[2]["cause"], "expired");
}

/// A backup's row can announce both ends at once: an app that remembers ids takes neither for a
/// repeat.
#[tokio::test]
async fn two_deadlines_of_one_change_have_ids_of_their_own() {
    let (stack, ada) = stack_of_ada().await;
    finished(&stack, new("user-7"), &ada).await;
    let mut seen = 0;
    announced(&stack, &mut seen).await;
    let client = threads_auth_store::aws::dynamodb(&stack.service().config().aws, &http());
    let update = client
        .update_item()
        .table_name(&stack.urls().grants_table)
        .key("pk", AttributeValue::S(format!("user#{ada}")))
        .update_expression("SET warned_of = :token, warned_days = :days, unclaimed_warned = :one")
        .expression_attribute_values(":token", AttributeValue::S("token".to_owned()))
        .expression_attribute_values(":days", AttributeValue::N("3".to_owned()))
        .expression_attribute_values(":one", AttributeValue::N("1".to_owned()));
    update.send().await.unwrap();
    let events = announced(&stack, &mut seen).await;
    assert_eq!(types(&events), ["account.expiring_soon"; 2]);
    assert_eq!([&events[0]["deadline"], &events[1]["deadline"]], ["token", "claim"]);
    assert_ne!(events[0]["id"], events[1]["id"]);
    assert!(events[0]["id"].as_str().unwrap().ends_with(":account.expiring_soon"));
}

/// A malformed row is not announced, and delays nothing after it.
#[tokio::test]
async fn a_broken_row_holds_up_no_event() {
    let (stack, mut seen) = (stack().await, 0);
    let (ada, grace) = (account(&stack, "ada"), account(&stack, "grace"));
    Browser::new().connect(&stack, &ada).await;
    break_row(&stack, &ada).await;
    Browser::new().connect(&stack, &grace).await;
    let events = announced(&stack, &mut seen).await;
    let users: Vec<_> = events.iter().map(|event| event["user_id"].as_str().unwrap()).collect();
    assert_eq!(users, [ada.as_str(), grace.as_str()]);
    assert!(find_grant(&stack, &grace).await.is_some());
    // A recovery or an end is announced, whatever the former state.
    Browser::new().connect(&stack, &ada).await;
    let events = announced(&stack, &mut seen).await;
    assert_eq!((types(&events), &events[0]["user_id"]), (vec!["account.connected"], &json!(ada)));
}

/// A malformed row is deleted: the backend gets the event all the same.
#[tokio::test]
async fn the_deletion_of_a_broken_row_is_told() {
    let ((stack, ada), mut seen) = (connected_ada().await, 0);
    break_row(&stack, &ada).await;
    announced(&stack, &mut seen).await;
    delete_data(&stack, &ada).await;
    let events = announced(&stack, &mut seen).await;
    assert_eq!((types(&events), &events[0]["user_id"]), (vec!["account.deleted"], &json!(ada)));
}

/// A person who connects again, and grants less, causes both events.
#[tokio::test]
async fn a_reconnect_that_grants_less_says_so() {
    let (stack, mut seen) = (stack().await, 0);
    let ada = account(&stack, "ada");
    let mut browser = Browser::new();
    let back = browser.consent(&stack, "scopes=threads_content_publish", &ada).await;
    browser.get(back.as_str()).await;
    announced(&stack, &mut seen).await;
    browser.connect(&stack, &ada).await;
    let events = announced(&stack, &mut seen).await;
    assert_eq!(types(&events), ["account.connected", "account.scopes_changed"]);
    assert_eq!(events[1]["lost"], json!(["threads_content_publish"]));
}

/// A bus that refuses every event of one account, or those of one type, as long as there is one to
/// refuse, or that says nothing of any.
#[derive(Clone, Default)]
struct Picky {
    refused: Arc<Mutex<Option<String>>>,
    refused_type: Arc<Mutex<Option<&'static str>>>,
    is_silent: Arc<Mutex<bool>>,
    taken: Arc<Mutex<Vec<Value>>>,
}

impl Picky {
    async fn start(&self) -> String {
        let bus = self.clone();
        serve(Router::new().fallback(move |body: Bytes| async move { Json(bus.put(&body)) })).await
    }

    fn put(&self, body: &[u8]) -> Value {
        let put: Value = serde_json::from_slice(body).unwrap();
        let refused = self.refused.lock().unwrap().clone();
        let of_type = *self.refused_type.lock().unwrap();
        if *self.is_silent.lock().unwrap() {
            return json!({"FailedEntryCount": 0, "Entries": []});
        }
        let entries = put["Entries"].as_array().unwrap();
        assert!(entries.len() <= 10, "EventBridge takes ten at once, not {}", entries.len());
        let answers = entries.iter().map(|entry| {
            let event: Value = serde_json::from_str(entry["Detail"].as_str().unwrap()).unwrap();
            let is_of_type = of_type.is_none_or(|of_type| event["type"] == of_type);
            if event["user_id"].as_str() == refused.as_deref() && is_of_type {
                return json!({"ErrorCode": "ThrottlingException", "ErrorMessage": "not now"});
            }
            let answer = json!({"EventId": event["id"]});
            self.taken.lock().unwrap().push(event);
            answer
        });
        let answers: Vec<_> = answers.collect();
        let failed = answers.iter().filter(|answer| answer.get("ErrorCode").is_some()).count();
        json!({"FailedEntryCount": failed, "Entries": answers})
    }

    fn types_of(&self, user_id: &str) -> Vec<String> {
        let taken = self.taken.lock().unwrap();
        let those = taken.iter().filter(|event| event["user_id"] == user_id);
        those.map(|event| event["type"].as_str().unwrap().to_owned()).collect()
    }
}

/// The bus refuses one account's event for as long as Lambda tries: nobody else's is announced
/// twice or held up, and no later event of that account overtakes it.
#[tokio::test]
async fn a_refused_event_is_repeated_alone() {
    let bus = Picky::default();
    let stack = stack_with(&[("AWS_ENDPOINT_URL_EVENTBRIDGE", &bus.start().await)]).await;
    let people = connect_people(&stack, 25).await;
    let (refused, others) = (&people[3], people.iter().filter(|id| **id != people[3]));
    client(&stack).delete_user(&refused.parse().unwrap()).await.unwrap();
    *bus.refused.lock().unwrap() = Some(refused.clone());
    for _ in 0..=20 {
        assert!(stack.announce().await.is_err());
    }
    let mut announced = 0;
    for user_id in others {
        announced += bus.types_of(user_id).len();
        assert_eq!(bus.types_of(user_id), ["account.connected"], "{user_id}");
    }
    assert!(bus.types_of(refused).is_empty());

    *bus.refused.lock().unwrap() = None;
    stack.announce().await.unwrap();
    assert_eq!(bus.types_of(refused), ["account.connected", "account.disconnected"]);
    let taken = bus.taken.lock().unwrap().len();
    assert_eq!(taken, announced + 2);
    println!("events: one refused 21 times, {announced} others announced once each, {} repeated", taken - 26);
}

/// The bus refuses an account's first event only: its second one waits behind it.
#[tokio::test]
async fn no_event_overtakes_one_of_its_account_that_was_refused() {
    let bus = Picky::default();
    let stack = stack_with(&[("AWS_ENDPOINT_URL_EVENTBRIDGE", &bus.start().await)]).await;
    let people = connect_people(&stack, 3).await;
    client(&stack).delete_user(&people[1].parse().unwrap()).await.unwrap();
    *bus.refused.lock().unwrap() = Some(people[1].clone());
    *bus.refused_type.lock().unwrap() = Some("account.connected");
    for _ in 0..3 {
        assert!(stack.announce().await.is_err());
        assert!(bus.types_of(&people[1]).is_empty());
    }
    assert_eq!((bus.types_of(&people[0]).len(), bus.types_of(&people[2]).len()), (1, 1));
    *bus.refused.lock().unwrap() = None;
    stack.announce().await.unwrap();
    assert_eq!(bus.types_of(&people[1]), ["account.connected", "account.disconnected"]);
}

/// A queue that accepts letters, unless the test disables it.
#[derive(Clone, Default)]
struct Queue {
    is_closed: Arc<Mutex<bool>>,
    letters: Arc<Mutex<Vec<Letter>>>,
}

impl Queue {
    async fn start(&self) -> String {
        let queue = self.clone();
        serve(Router::new().fallback(move |body: Bytes| async move { queue.send(&body) })).await
    }

    fn send(&self, body: &[u8]) -> (StatusCode, Json<Value>) {
        let sent: Value = serde_json::from_slice(body).unwrap();
        assert_eq!(sent["QueueUrl"], "https://sqs.eu-central-1.amazonaws.com/123456789012/letters");
        if *self.is_closed.lock().unwrap() {
            return (StatusCode::FORBIDDEN, Json(json!({"__type": "AccessDenied"})));
        }
        let letter = serde_json::from_str(sent["MessageBody"].as_str().unwrap()).unwrap();
        self.letters.lock().unwrap().push(letter);
        (StatusCode::OK, Json(json!({"MessageId": "m", "MD5OfMessageBody": "x"})))
    }

    fn take(&self) -> Vec<Letter> {
        std::mem::take(&mut self.letters.lock().unwrap())
    }
}

/// A backend keeps the newest time that it has seen, so a late announcement must not look new.
#[tokio::test]
async fn a_deletion_has_the_time_of_its_change_however_late_it_is_announced() {
    let (stack, ada) = connected_ada().await;
    stack.announce().await.unwrap();
    let seen = stack.events().len();
    let now = stack.clock().now();
    let removed_at = now.as_second() - 1_200;
    let mut removed = record(&stack, &ada, "1", removed_at).await;
    removed["eventName"] = json!("REMOVE");
    removed["dynamodb"]["OldImage"] = removed["dynamodb"]["NewImage"].take();
    let publisher = EventPublisher::new(stack.service().config()).unwrap();
    assert_eq!(publisher.handle(&json!({"Records": [removed]}), now).await, Handled::default());
    let events = stack.events();
    assert_eq!(events.len(), seen + 1);
    assert_eq!(events[0]["detail-type"], "account.deleted");
    let time: Timestamp = events[0]["detail"]["time"].as_str().unwrap().parse().unwrap();
    assert_eq!(time.as_second(), removed_at);
    // The stack's own feed goes by the stack's clock.
    stack.clock().advance(30 * DAY);
    let now = stack.clock().now();
    delete_data(&stack, &ada).await;
    stack.announce().await.unwrap();
    let time: Timestamp = stack.events()[0]["detail"]["time"].as_str().unwrap().parse().unwrap();
    assert_eq!(time.as_second(), now.as_second());
}

/// An event that the bus has not taken for an hour becomes a letter that holds all of it, and holds
/// up nobody's any more.
#[tokio::test]
async fn an_event_is_given_up_by_age_and_kept_whole() {
    let (bus, queue) = (Picky::default(), Queue::default());
    let stack = stack_with(&[]).await;
    let people = connect_people(&stack, 2).await;
    let secrets = [token(&stack, &people[0]).await, token(&stack, &people[1]).await];
    let mut variables = stack.variables().clone();
    let url = "https://sqs.eu-central-1.amazonaws.com/123456789012/letters";
    for (name, value) in [
        ("AWS_ENDPOINT_URL_EVENTBRIDGE", bus.start().await.as_str()),
        ("AWS_ENDPOINT_URL_SQS", queue.start().await.as_str()),
        ("EVENTS_DEAD_LETTERS", url),
    ] {
        variables.insert(name.to_owned(), value.to_owned());
    }
    let publisher = |variables: &HashMap<String, String>| {
        EventPublisher::new(&Config::from_vars(variables, None).unwrap()).unwrap()
    };
    let now: Timestamp = START.parse().unwrap();
    let batch = async |ages: [i64; 2]| {
        let mut records = Vec::new();
        for (n, (user_id, age)) in people.iter().zip(ages).enumerate() {
            records.push(record(&stack, user_id, &n.to_string(), now.as_second() - age).await);
        }
        json!({"Records": records})
    };
    let failed = |number: &str| vec![Failed { item_identifier: number.to_owned() }];

    // Old events that the bus takes are announced: the bus is tried first.
    let old = batch([7_200, 3_600]).await;
    let whole = publisher(&variables);
    assert_eq!(whole.handle(&old, now).await, Handled::default());
    assert_eq!((bus.types_of(&people[0]).len(), bus.types_of(&people[1]).len()), (1, 1));
    let event = bus.taken.lock().unwrap()[0].clone();

    // A second before its hour it is put again; then it is a letter.
    *bus.refused.lock().unwrap() = Some(people[0].clone());
    assert_eq!(whole.handle(&batch([3_599, 0]).await, now).await.batch_item_failures, failed("0"));
    assert!(queue.take().is_empty());
    assert_eq!(whole.handle(&batch([3_600, 0]).await, now).await, Handled::default());
    let letters = queue.take();
    assert_eq!(letters.len(), 1);
    let Letter { given_up_at, why, number, nth, entry } = &letters[0];
    assert_eq!((given_up_at, why.as_str()), (&now, "ThrottlingException"));
    assert_eq!((number.as_str(), *nth), ("0", 0));
    assert_eq!(
        (entry.detail_type.as_str(), &entry.resources),
        ("account.connected", &vec![people[0].clone()])
    );
    assert_eq!(serde_json::from_str::<Value>(&entry.detail).unwrap(), event);
    let text = serde_json::to_string(&letters).unwrap();
    for word in ["access_token", "sealed", "pending_token", "previous", "lease"] {
        assert!(!text.contains(word), "{word}");
    }
    assert!(secrets.iter().all(|secret| !text.contains(secret)));

    // The queue does not take it: it is Lambda's again.
    *queue.is_closed.lock().unwrap() = true;
    assert_eq!(whole.handle(&old, now).await.batch_item_failures, failed("0"));
    *queue.is_closed.lock().unwrap() = false;

    // A bus that says nothing of an event has not taken it, and no batch is read in part.
    *bus.is_silent.lock().unwrap() = true;
    assert_eq!(whole.handle(&batch([0, 0]).await, now).await.batch_item_failures, failed("0"));
    *bus.is_silent.lock().unwrap() = false;
    assert_eq!(whole.handle(&json!({"Records": [{}]}), now).await.batch_item_failures, failed(""));

    // The bus is away: the old are letters, and the young wait.
    variables.insert("AWS_ENDPOINT_URL_EVENTBRIDGE".to_owned(), "http://127.0.0.1:9".to_owned());
    let away = publisher(&variables);
    assert_eq!(away.handle(&batch([3_600, 3_599]).await, now).await.batch_item_failures, failed("1"));
    assert_eq!(queue.take().len(), 1);
    assert_eq!(away.handle(&batch([3_599, 3_599]).await, now).await.batch_item_failures, failed("0"));

    // Without a queue everything waits for the bus.
    variables.remove("EVENTS_DEAD_LETTERS");
    assert_eq!(publisher(&variables).handle(&old, now).await.batch_item_failures, failed("0"));
}

/// An import that names the user: the app hears that somebody has come, and whose account it is.
#[tokio::test]
async fn an_import_with_a_reference_is_a_connect_and_a_claim() {
    let stack = stack().await;
    let mut seen = 0;
    let (ada, grace) = (account(&stack, "ada"), account(&stack, "grace"));
    for (user_id, reference) in [(&ada, Some("user-7")), (&grace, None)] {
        let token = AccessToken::new(stack.sandbox().unwrap().issue_long_lived(user_id)).unwrap();
        let import = Import { reference, ..Import::of(&token) };
        for is_new in [true, false] {
            let imported = stack.service().import(import, stack.clock().now()).await.unwrap();
            assert_eq!(imported.is_new, is_new);
        }
        let events = announced(&stack, &mut seen).await;
        if let Some(reference) = reference {
            assert_eq!(types(&events), ["account.connected", "account.claimed"]);
            assert_eq!(events[1]["reference"], json!(reference));
        } else {
            assert_eq!(types(&events), ["account.connected"]);
        }
    }
}
