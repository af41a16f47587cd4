//! References: whose an account is, by the app's own name for its user. They are set by a
//! completion and by the backend, found through an index, and told in events.

use aws_sdk_dynamodb::types::{AttributeValue, DeleteGlobalSecondaryIndexAction, GlobalSecondaryIndexUpdate};
use devstack::{Stack, StackOptions};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use threads_auth::{Import, RestoreReport};
use threads_auth_store::REFERENCE_INDEX;
use threads_graph::AccessToken;

use crate::backend::{completion, finished, new};
use crate::fixture::{
    Browser, DAY, Reply, START, account, connect_people, delete_data, grant, options, post_signed, rows,
    stack,
};
use crate::formats::copied;
use crate::iam;
use crate::operations::dynamodb;

const LONG_AGO: &str = "a reference of former times, ";

async fn call(stack: &Stack, method: Method, path: &str, body: Value) -> (StatusCode, Value, Reply) {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let reply = iam::call(stack, method, path, &body).await;
    (reply.status, serde_json::from_str(&reply.body).unwrap_or(Value::Null), reply)
}

async fn assign(stack: &Stack, user_id: &str, body: Value) -> (StatusCode, Value) {
    let (status, answer, _) = call(stack, Method::PATCH, &format!("/users/{user_id}"), body).await;
    (status, answer)
}

/// The accounts of a list, in order, and its cursor.
async fn listed(stack: &Stack, query: &str) -> (Vec<String>, Value) {
    let (status, page, _) = call(stack, Method::GET, &format!("/users?{query}"), Value::Null).await;
    assert_eq!(status, StatusCode::OK, "{page}");
    let users = page["users"].as_array().unwrap().iter();
    let mut ids: Vec<_> = users.map(|user| user["user_id"].as_str().unwrap().to_owned()).collect();
    ids.sort();
    (ids, page["cursor"].clone())
}

/// Connects an account in a session, and completes it for its user.
async fn claim(stack: &Stack, user_id: &str, reference: &str) {
    let (id, code) = finished(stack, new(reference), user_id).await;
    let path = format!("/sessions/{id}/complete");
    let (status, answer, _) = call(stack, Method::POST, &path, completion(&code, reference)).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
}

/// Sets an attribute of a row, past all rules.
async fn write(stack: &Stack, table: &str, key: &str, attribute: &str, value: AttributeValue) {
    let update = dynamodb(stack).update_item().table_name(table);
    let update = update.key("pk", AttributeValue::S(key.to_owned()));
    let update = update.update_expression("SET #a = :v").expression_attribute_names("#a", attribute);
    update.expression_attribute_values(":v", value).send().await.unwrap();
}

async fn drop_index(stack: &Stack) {
    let delete = DeleteGlobalSecondaryIndexAction::builder().index_name(REFERENCE_INDEX).build().unwrap();
    let update = GlobalSecondaryIndexUpdate::builder().delete(delete).build();
    let request = dynamodb(stack).update_table().table_name(&stack.urls().grants_table);
    request.global_secondary_index_updates(update).send().await.unwrap();
}

fn text(value: &str) -> AttributeValue {
    AttributeValue::S(value.to_owned())
}

async fn announced(stack: &Stack, seen: &mut usize) -> Vec<Value> {
    stack.announce().await.unwrap();
    let all = stack.events();
    let new = all.len() - *seen;
    *seen = all.len();
    all.into_iter().take(new).rev().map(|event| event["detail"].clone()).collect()
}

#[tokio::test]
async fn accounts_are_found_by_their_reference() {
    let stack = stack().await;
    let mut people = connect_people(&stack, 7).await;
    people.sort();
    for (n, user_id) in people.iter().enumerate() {
        let reference = if n < 5 { "user-7" } else { "user-8" };
        assert_eq!(assign(&stack, user_id, json!({"reference": reference})).await.0, StatusCode::OK);
    }
    let ada = account(&stack, "ada");
    claim(&stack, &ada, "user & 9/é").await;
    assert_eq!(listed(&stack, "reference=user-7").await, (people[..5].to_vec(), Value::Null));
    assert_eq!(listed(&stack, "reference=user-8").await, (people[5..].to_vec(), Value::Null));
    assert_eq!(listed(&stack, "reference=user+%26%209%2F%C3%A9").await, (vec![ada], Value::Null));
    assert_eq!(listed(&stack, "reference=user").await, (vec![], Value::Null));

    // By pages, and of one status only.
    let (mut seen, mut query) = (Vec::new(), "reference=user-7&limit=2".to_owned());
    while let (page, Value::String(cursor)) = listed(&stack, &query).await {
        assert_eq!(page.len(), 2);
        seen.extend(page);
        query = format!("reference=user-7&limit=2&cursor={cursor}");
    }
    seen.extend(listed(&stack, &query).await.0);
    seen.sort();
    assert_eq!(seen, people[..5]);
    iam::call(&stack, Method::DELETE, &format!("/users/{}", people[0]), "").await;
    let revoked = listed(&stack, "reference=user-7&status=revoked").await;
    assert_eq!(revoked, (people[..1].to_vec(), Value::Null));

    // The index only suggests: a row that belongs to nobody is left out, and a broken one counted.
    let grants = &stack.urls().grants_table;
    let remove = dynamodb(&stack).update_item().table_name(grants).update_expression("REMOVE claimed_at");
    remove.key("pk", text(&format!("user#{}", people[5]))).send().await.unwrap();
    assert_eq!(listed(&stack, "reference=user-8").await.0, people[6..]);
    write(&stack, grants, &format!("user#{}", people[6]), "status", text("unheard of")).await;
    let (_, page, _) = call(&stack, Method::GET, "/users?reference=user-8", Value::Null).await;
    assert_eq!((&page["users"], &page["unreadable"]), (&json!([]), &json!(1)));
    delete_data(&stack, &people[1]).await;
    assert_eq!(listed(&stack, "reference=user-7&status=active").await.0, people[2..5]);
    for query in [String::new(), "x".repeat(257)] {
        let (status, answer, _) =
            call(&stack, Method::GET, &format!("/users?reference={query}"), Value::Null).await;
        assert_eq!((status, &answer["error"]["code"]), (StatusCode::BAD_REQUEST, &json!("bad_request")));
    }
}

#[tokio::test]
async fn a_backend_assigns_what_is_claimed_and_nothing_else() {
    let (stack, mut seen) = (stack().await, 0);
    let ada = account(&stack, "ada");
    let (id, code) = finished(&stack, new("user-7"), &ada).await;
    let refused = assign(&stack, &ada, json!({"reference": "user-8"})).await;
    assert_eq!((refused.0, &refused.1["error"]["code"]), (StatusCode::CONFLICT, &json!("account_unclaimed")));
    let path = format!("/sessions/{id}/complete");
    assert_eq!(call(&stack, Method::POST, &path, completion(&code, "user-7")).await.0, StatusCode::OK);
    announced(&stack, &mut seen).await;

    let given = json!({"reference": "user-8"});
    let (status, account) = assign(&stack, &ada, given.clone()).await;
    assert_eq!((status, &account["reference"]), (StatusCode::OK, &json!("user-8")));
    let (_, shown, _) = call(&stack, Method::GET, &format!("/users/{ada}"), Value::Null).await;
    assert_eq!(account, shown);
    let events = announced(&stack, &mut seen).await;
    assert_eq!(events.len(), 1, "{events:?}");
    assert_eq!((&events[0]["type"], &events[0]["reference"]), (&json!("account.claimed"), &json!("user-8")));

    // The answer was lost: the same again changes nothing, and nobody is told twice.
    let before = rows(&stack).await;
    stack.clock().advance(DAY);
    assert_eq!(assign(&stack, &ada, given).await, (StatusCode::OK, account));
    assert_eq!(rows(&stack).await, before);
    assert!(announced(&stack, &mut seen).await.is_empty());

    // To nobody, as an import leaves it, and to somebody again.
    let (status, free) = assign(&stack, &ada, json!({"reference": null})).await;
    assert_eq!((status, &free["reference"]), (StatusCode::OK, &Value::Null));
    assert_eq!(listed(&stack, "reference=user-8").await.0, Vec::<String>::new());
    assert!(announced(&stack, &mut seen).await.is_empty());
    assert_eq!(assign(&stack, &ada, json!({"reference": null})).await, (StatusCode::OK, free));
    assert_eq!(assign(&stack, &ada, json!({"reference": "é".repeat(64)})).await.0, StatusCode::OK);

    for body in [
        json!({}),
        json!({"reference": ""}),
        json!({"reference": "é".repeat(65)}),
        json!({"reference": 7}),
        json!({"reference": "user-7", "username": "ada"}),
        json!([null]),
        Value::Null,
    ] {
        let (status, answer) = assign(&stack, &ada, body.clone()).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{body}: {answer}");
    }
    let unknown = assign(&stack, "17841499999999999", json!({"reference": "user-7"})).await;
    assert_eq!((unknown.0, &unknown.1["error"]["code"]), (StatusCode::NOT_FOUND, &json!("unknown_user")));
    // A disconnected account still belongs to somebody.
    iam::call(&stack, Method::DELETE, &format!("/users/{ada}"), "").await;
    assert_eq!(assign(&stack, &ada, json!({"reference": "user-9"})).await.1["status"], "revoked");
}

/// Former versions took references of up to 256 bytes.
#[tokio::test]
async fn a_long_reference_of_former_times_stays() {
    let stack = stack().await;
    let long = format!("{LONG_AGO}{}", "x".repeat(256 - LONG_AGO.len()));
    let (ada, grace) = (account(&stack, "ada"), account(&stack, "grace"));
    let (status, answer, _) = call(&stack, Method::POST, "/sessions", new(&long)).await;
    let message = answer["error"]["message"].as_str().unwrap();
    assert_eq!((status, message), (StatusCode::BAD_REQUEST, "reference must be 1 to 128 bytes long"));

    // A session of before is completed, and its account found, shown and kept.
    let (id, code) = finished(&stack, new("user-7"), &ada).await;
    let table = &stack.urls().short_lived_table;
    write(&stack, table, &format!("session#{id}"), "reference", text(&long)).await;
    let path = format!("/sessions/{id}/complete");
    assert_eq!(call(&stack, Method::POST, &path, completion(&code, &long)).await.0, StatusCode::OK);
    claim(&stack, &grace, "user-8").await;
    let query = long.replace(' ', "+").replace(',', "%2C");
    assert_eq!(listed(&stack, &format!("reference={query}")).await.0, std::slice::from_ref(&ada));
    stack.clock().advance(41 * DAY);
    stack.sweep().await.unwrap();
    Browser::new().connect(&stack, &ada).await;
    assert_eq!(grant(&stack, &ada).await.claim.owner().unwrap().reference, long);
}

/// An operator has deployed the functions, and not yet the stack of the data.
#[tokio::test]
async fn without_the_index_all_else_works() {
    let stack = stack().await;
    let ada = account(&stack, "ada");
    drop_index(&stack).await;
    claim(&stack, &ada, "user-7").await;
    assert_eq!(assign(&stack, &ada, json!({"reference": "user-8"})).await.0, StatusCode::OK);
    assert_eq!(listed(&stack, "status=active").await.0, [ada]);
    let (status, answer, reply) = call(&stack, Method::GET, "/users?reference=user-8", Value::Null).await;
    let code = &answer["error"]["code"];
    assert_eq!((status, code), (StatusCode::SERVICE_UNAVAILABLE, &json!("no_reference_index")));
    assert_eq!(reply.headers["retry-after"], "60");
    assert!(answer["error"]["message"].as_str().unwrap().contains("UPGRADING.md"), "{answer}");
}

/// The data folder of a development stack may be older than the index.
#[tokio::test]
async fn an_older_data_folder_gets_the_index() {
    let folder = tempfile::tempdir().unwrap();
    let with_folder = || StackOptions {
        data_dir: Some(folder.path().join("data")),
        ..options(START.parse().unwrap(), &[])
    };
    let stack = Stack::start(with_folder()).await.unwrap();
    let ada = account(&stack, "ada");
    drop_index(&stack).await;
    claim(&stack, &ada, "user-7").await;
    drop(stack);
    let stack = Stack::start(with_folder()).await.unwrap();
    assert_eq!(listed(&stack, "reference=user-7").await.0, [ada]);
}

#[tokio::test]
async fn a_reference_stays_through_connects_restores_and_imports() {
    let stack = stack().await;
    let ada = account(&stack, "ada");
    claim(&stack, &ada, "user-7").await;
    let whose = async || listed(&stack, "reference=user-7").await.0;
    let pseudonym = grant(&stack, &ada).await.pseudonym;
    assert!(pseudonym.is_some());
    // Somebody else is lured into connecting it, and does not get it.
    finished(&stack, new("user-8"), &ada).await;
    assert_eq!(whose().await, std::slice::from_ref(&ada));
    Browser::new().connect(&stack, &ada).await;
    assert_eq!(whose().await, std::slice::from_ref(&ada));
    post_signed(&stack, "/deauthorize", &stack.sandbox().unwrap().signed_request(&ada)).await;
    stack.clock().advance(DAY);
    let token = AccessToken::new(stack.sandbox().unwrap().issue_long_lived(&ada)).unwrap();
    let now = stack.clock().now();
    assert!(stack.service().import(Import::of(&token), now).await.unwrap().is_new);
    assert_eq!(whose().await, std::slice::from_ref(&ada));
    assert_eq!(grant(&stack, &ada).await.pseudonym, pseudonym);

    copied(&stack, "backup").await;
    let delete = dynamodb(&stack).delete_item().table_name(&stack.urls().grants_table);
    delete.key("pk", text(&format!("user#{ada}"))).send().await.unwrap();
    assert_eq!(whose().await, Vec::<String>::new());
    let report = stack.service().restore("backup", false, now, |_: &RestoreReport, _| {}).await.unwrap();
    assert_eq!((report.restored, whose().await), (1, vec![ada.clone()]));
    assert_eq!(grant(&stack, &ada).await.pseudonym, pseudonym);
    // Deleted, and back: nothing leads from one to the other.
    delete_data(&stack, &ada).await;
    stack.clock().advance(DAY);
    Browser::new().connect(&stack, &ada).await;
    let again = grant(&stack, &ada).await;
    assert_eq!((again.claim.owner(), again.pseudonym == pseudonym), (None, false));
}

/// Events come late, twice and in any order: a backend that keeps the greatest order of each
/// account ends as the account did, even where all of it happened within one second.
#[tokio::test]
async fn the_greatest_order_is_the_newest_event() {
    let (stack, mut seen) = (stack().await, 0);
    let ada = account(&stack, "ada");
    claim(&stack, &ada, "user-7").await;
    assign(&stack, &ada, json!({"reference": "user-8"})).await;
    iam::call(&stack, Method::DELETE, &format!("/users/{ada}"), "").await;
    stack.clock().advance(std::time::Duration::from_secs(1));
    Browser::new().connect(&stack, &ada).await;
    iam::call(&stack, Method::DELETE, &format!("/users/{ada}"), "").await;
    delete_data(&stack, &ada).await;
    let events = announced(&stack, &mut seen).await;
    let told: Vec<_> = events
        .iter()
        .map(|event| (event["type"].as_str().unwrap(), event["reference"].as_str().unwrap_or_default()))
        .collect();
    assert_eq!(
        told,
        [
            ("account.connected", ""),
            ("account.claimed", "user-7"),
            ("account.claimed", "user-8"),
            ("account.disconnected", "user-8"),
            ("account.connected", "user-8"),
            ("account.disconnected", "user-8"),
            ("account.deleted", "user-8"),
        ]
    );
    let order = |event: &Value| {
        let order = event["order"].as_str().unwrap().to_owned();
        assert!(!order.starts_with('0') && order.bytes().all(|byte| byte.is_ascii_digit()), "{order}");
        (order.len(), order)
    };
    let orders: Vec<_> = events.iter().map(order).collect();
    assert!(orders.is_sorted_by(|a, b| a < b), "{orders:?}");
    let times: std::collections::BTreeSet<_> = events.iter().map(|event| event["time"].to_string()).collect();
    assert!(times.len() < events.len(), "the times alone would not do");
    // In every rotation, and backwards, each twice.
    for turn in 0..events.len() {
        let mut late = events.clone();
        late.rotate_left(turn);
        for late in [late.clone(), late.into_iter().rev().collect()] {
            let mut newest: Option<&Value> = None;
            for event in late.iter().chain(&late) {
                if newest.is_none_or(|newest| order(newest) <= order(event)) {
                    newest = Some(event);
                }
            }
            assert_eq!(newest.unwrap()["type"], "account.deleted");
        }
    }
}

/// Somebody was cut off from an account. Its person connects it again for another user of the app,
/// who never completes: the first user gets nothing, and the account ends.
#[tokio::test]
async fn a_new_consent_is_not_for_the_user_who_was_cut_off() {
    let stack = stack().await;
    let ada = account(&stack, "ada");
    claim(&stack, &ada, "user-7").await;
    iam::call(&stack, Method::DELETE, &format!("/users/{ada}"), "").await;
    stack.clock().advance(DAY / 2);
    finished(&stack, new("user-8"), &ada).await;
    assert_eq!(listed(&stack, "reference=user-7").await.0, Vec::<String>::new());
    let (_, shown, _) = call(&stack, Method::GET, &format!("/users/{ada}"), Value::Null).await;
    assert_eq!((&shown["status"], &shown["reference"]), (&json!("active"), &Value::Null), "{shown}");
    assert!(!shown["unclaimed_until"].is_null(), "{shown}");
    let connected = announced(&stack, &mut 0).await.pop().unwrap();
    assert_eq!((&connected["type"], &connected["reference"]), (&json!("account.connected"), &Value::Null));
    // Back with their own session, they are who they were.
    iam::call(&stack, Method::DELETE, &format!("/users/{ada}"), "").await;
    claim(&stack, &ada, "user-7").await;
    iam::call(&stack, Method::DELETE, &format!("/users/{ada}"), "").await;
    stack.clock().advance(DAY / 2);
    finished(&stack, new("user-7"), &ada).await;
    assert_eq!(listed(&stack, "reference=user-7").await.0, std::slice::from_ref(&ada));
}

/// The account was given to another user before the call was repeated.
#[tokio::test]
async fn a_repeated_completion_does_not_link_what_has_changed_hands() {
    let stack = stack().await;
    let ada = account(&stack, "ada");
    let (id, code) = finished(&stack, new("user-7"), &ada).await;
    let path = format!("/sessions/{id}/complete");
    let complete = async || call(&stack, Method::POST, &path, completion(&code, "user-7")).await.0;
    assert_eq!([complete().await, complete().await], [StatusCode::OK; 2]);
    assert_eq!(assign(&stack, &ada, json!({"reference": "user-8"})).await.0, StatusCode::OK);
    assert_eq!(complete().await, StatusCode::CONFLICT);
}
