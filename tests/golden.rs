//! This version reads the data of released ones: the rows, secrets, cookies and events in `golden`,
//! whose README describes them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::time::Duration;

use ::events::EventPublisher;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD, Engine};
use devstack::Stack;
use jiff::Timestamp;
use reqwest::header::HeaderMap;
use reqwest::{Method, StatusCode};
use ring::digest::{Context as Digest, SHA256};
use serde_json::{Value, json};
use threads_auth_model::seal::{Context, Keyring, KeyringChange, Purpose, key_id};
use threads_auth_store::aws;
use threads_graph::{HttpClient, HttpTimeouts};
use threads_sandbox::{FaultAction, SandboxCall};

use crate::fixture::{
    Browser, DAY, Reply, fail, find_grant, parameter, post_signed, respond, rows, stack_with,
};
use crate::iam;
use crate::operations::change_secret;

const ALWAYS: u32 = u32::MAX;

/// The tokens that the sandbox answered with when the fixtures were made, and answers with here.
const REFRESHED: &str = "THQ-golden-from-a-later-refresh";
const COMPLETED: &str = "THQ-golden-from-a-later-exchange";

/// A file of v0.1.
fn golden(path: &str) -> Value {
    serde_json::from_str(&golden_text(path)).unwrap()
}

fn golden_text(path: &str) -> String {
    std::fs::read_to_string(folder().join(path)).unwrap()
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/v0.1")
}

/// The files of one folder of v0.1, by their names.
fn all(kind: &str) -> BTreeMap<String, Value> {
    let files = std::fs::read_dir(folder().join(kind)).unwrap();
    files
        .map(|file| {
            let name = file.unwrap().file_name().into_string().unwrap();
            (name.trim_end_matches(".json").to_owned(), golden(&format!("{kind}/{name}")))
        })
        .collect()
}

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    let found = value.pointer(pointer).and_then(Value::as_str);
    found.unwrap_or_else(|| panic!("no {pointer} in {value}"))
}

/// A stack at the moment of the fixtures, with their two secrets, and all of their rows.
async fn golden_stack(variables: &[(&str, &str)]) -> Stack {
    golden_stack_with(variables, |secret| secret).await
}

async fn golden_stack_with(variables: &[(&str, &str)], secret: impl Fn(String) -> String) -> Stack {
    let stack = stack_with(variables).await;
    let (config, http) = (stack.service().config(), HttpClient::new(HttpTimeouts::default()).unwrap());
    let secrets = aws::secrets_manager(&config.aws, &http);
    for (id, file) in [(&config.app_secret_id, "app"), (&config.keyring_secret_id, "keyring")] {
        let text = secret(golden_text(&format!("secrets/{file}.json")));
        let put = secrets.put_secret_value().secret_id(id).secret_string(text);
        put.send().await.unwrap();
    }
    let dynamodb = aws::dynamodb(&config.aws, &http);
    let of = golden("stack.json");
    for kind in ["grants", "removal", "short-lived"] {
        let table = text(&of, if kind == "short-lived" { "/short_lived_table" } else { "/grants_table" });
        for file in all(kind).values() {
            let row: HashMap<String, serde_dynamo::AttributeValue> =
                serde_json::from_value(file["row"].clone()).unwrap();
            let item = row.into_iter().map(|(name, value)| (name, value.into())).collect();
            dynamodb.put_item().table_name(table).set_item(Some(item)).send().await.unwrap();
        }
    }
    let at: Timestamp = text(&of, "/at").parse().unwrap();
    stack.clock().advance(at.duration_since(stack.clock().now()).unsigned_abs());
    assert_eq!(stack.clock().now(), at);
    stack
}

/// Meta gives the same token for whatever is refreshed, another for what is exchanged, and reports
/// for each as much as `told`.
fn meta_refreshes(stack: &Stack, told: FaultAction) {
    let token = |token| respond(200, json!({"access_token": token, "expires_in": 5_183_944}).to_string());
    fail(stack, SandboxCall::Refresh, ALWAYS, token(REFRESHED));
    fail(stack, SandboxCall::ExchangeLongLived, ALWAYS, token(COMPLETED));
    fail(stack, SandboxCall::Me, ALWAYS, FaultAction::Html);
    fail(stack, SandboxCall::DebugToken, ALWAYS, told);
}

/// Makes a signed call to the API, and returns its status and body.
async fn call(stack: &Stack, method: Method, path: &str, body: &Value) -> (u16, Value) {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let reply = iam::call(stack, method, path, &body).await;
    (reply.status.as_u16(), serde_json::from_str(&reply.body).unwrap())
}

async fn get(stack: &Stack, path: &str) -> (u16, Value) {
    call(stack, Method::GET, path, &Value::Null).await
}

/// Everything of `before` is in `now`. Answers may have grown.
#[track_caller]
fn still(name: &str, before: &Value, now: &Value) {
    match (before, now) {
        (Value::Object(before), Value::Object(of_now)) => {
            for (key, value) in before {
                // Since then, a token that is dead for good is dropped, and its times are not shown
                // any more.
                if is_dropped(now) && TIMES.contains(&key.as_str()) {
                    assert_eq!(of_now[key], Value::Null, "{name}: {key}");
                    continue;
                }
                // Since then, a session's user is not disclosed, so that nobody else's account is
                // linked to it.
                if key == "reference" {
                    assert_eq!(of_now.get(key), None, "{name}");
                    continue;
                }
                still(&format!("{name}: {key}"), value, of_now.get(key).unwrap_or(&Value::Null));
            }
        }
        _ => assert_eq!(before, now, "{name}"),
    }
}

/// Expired by our clock alone. Since then these are tried at Meta too, and here it accepts them.
const ASKED_AT_THEIR_END: [&str; 2] = ["active-past-its-end", "pending-past-its-end"];

/// The times of a token.
const TIMES: [&str; 4] = ["issued_at", "expires_at", "refreshed_at", "data_access_expires_at"];

fn is_dropped(account: &Value) -> bool {
    account["status"] == "needs_reauthorization" && account["expires_at"].is_null()
}

/// The fixtures are what people have in their tables: a change of one would hide that it is not
/// read any more.
#[test]
fn golden_fixtures_are_never_changed() {
    fn add(folder: &Path, digest: &mut Digest, count: &mut usize) {
        let mut entries: Vec<_> =
            std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        entries.sort();
        for path in entries {
            if path.is_dir() {
                add(&path, digest, count);
            } else {
                digest.update(path.file_name().unwrap().as_encoded_bytes());
                digest.update(&std::fs::read(&path).unwrap());
                *count += 1;
            }
        }
    }
    for (version, files, expected) in [
        ("v0.1", 107, "qMC8krWuhAOlXyHDGR7GsDHyRd4E1V490xnYGevt3DE="),
        ("v0.2", 33, "yUiMZJs3a4UV+dOSUG8Dpl2XVpk4hApxhklAlLqQl6Q="),
    ] {
        let (mut digest, mut count) = (Digest::new(&SHA256), 0);
        add(&folder().with_file_name(version), &mut digest, &mut count);
        let digest = BASE64_STANDARD.encode(digest.finish());
        assert_eq!((count, digest.as_str()), (files, expected), "{version}");
    }
}

#[test]
fn every_golden_value_opens_where_it_belongs() {
    let keyring = Keyring::from_json(&golden_text("secrets/keyring.json")).unwrap();
    let of = golden("stack.json");
    let app_id = text(&of, "/app_id").parse().unwrap();
    let purposes = [
        ("token", Purpose::AccessToken),
        ("previous_token", Purpose::PreviousToken),
        ("pending_token", Purpose::PendingToken),
    ];
    let mut opened = BTreeMap::new();
    for (name, file) in all("grants") {
        for (attribute, purpose) in purposes {
            let Some(sealed) = file["row"][attribute]["B"].as_str() else {
                assert!(file["sealed"].get(attribute).is_none(), "{name}");
                continue;
            };
            let sealed = BASE64_STANDARD.decode(sealed).unwrap();
            for (_, other) in purposes {
                let context = Context {
                    purpose: other,
                    table: text(&of, "/grants_table"),
                    app_id: &app_id,
                    subject: text(&file, "/row/user_id/S"),
                };
                let plain = keyring.open(&context, &sealed).ok();
                let plain = plain.map(|plain| String::from_utf8(plain.to_vec()).unwrap());
                let expected = (other == purpose).then(|| text(&file["sealed"], &format!("/{attribute}")));
                assert_eq!(plain.as_deref(), expected, "{name}: {attribute}");
            }
            *opened.entry(attribute).or_insert(0) += 1;
        }
    }
    for (name, file) in all("cookies") {
        let context = Context { purpose: Purpose::Flow, table: "", app_id: &app_id, subject: "" };
        let sealed = BASE64_URL_SAFE_NO_PAD.decode(text(&file, "/value")).unwrap();
        let flow: Value = serde_json::from_slice(&keyring.open(&context, &sealed).unwrap()).unwrap();
        assert_eq!(flow, file["sealed"], "{name}");
        *opened.entry("cookie").or_insert(0) += 1;
    }
    println!("golden values that open: {opened:?}");
}

/// Dead accounts of the first release keep their tokens, and nobody ever refreshes those: a key
/// that seals them can go all the same.
#[tokio::test]
async fn every_golden_value_is_sealed_anew() {
    let stack = golden_stack(&[]).await;
    let table = stack.urls().grants_table.clone();
    let steps = [
        KeyringChange::Identify(&table),
        KeyringChange::Upgrade,
        KeyringChange::Add("new"),
        KeyringChange::Write("new"),
    ];
    for change in steps {
        change_secret(&stack, change).await;
    }
    let now = stack.clock().now();
    let report = stack.service().reseal(now, |_, _| ()).await.unwrap();
    let (grants, mut opened) = (all("grants"), 0);
    let vault = stack.service().vault(now).await.unwrap();
    for row in rows(&stack).await {
        let Some(user_id) = row["pk"].as_s().unwrap().strip_prefix("user#") else { continue };
        let file = grants.values().find(|file| text(file, "/row/user_id/S") == user_id).unwrap();
        for (attribute, purpose) in [
            ("token", Purpose::AccessToken),
            ("previous_token", Purpose::PreviousToken),
            ("pending_token", Purpose::PendingToken),
        ] {
            let Some(sealed) = row.get(attribute).map(|value| value.as_b().unwrap().as_ref()) else {
                continue;
            };
            assert_eq!((sealed[0], key_id(sealed)), (2, Some("new")), "{user_id} {attribute}");
            let token = vault.open(purpose, &user_id.parse().unwrap(), sealed).unwrap();
            assert_eq!(token.expose(), file["sealed"][attribute], "{user_id} {attribute}");
            opened += 1;
        }
    }
    assert_eq!((report.resealed, report.current, report.unopened, report.changing), (opened, 0, 0, 0));
    println!("golden values sealed anew: {opened} of {opened}");
}

#[tokio::test]
async fn every_golden_grant_is_shown_and_vended_as_it_was() {
    let stack = golden_stack(&[]).await;
    let grants = all("grants");
    let (mut by_status, mut dropped) = (BTreeMap::<&str, Vec<&str>>::new(), BTreeSet::new());
    for (name, file) in &grants {
        let user_id = text(file, "/row/user_id/S");
        let (status, shown) = get(&stack, &format!("/users/{user_id}")).await;
        assert_eq!(status, 200, "{name}: {shown}");
        still(name, &file["shown"], &shown);
        if is_dropped(&shown) && !file["shown"]["expires_at"].is_null() {
            dropped.insert(text(&shown, "/cause").to_owned());
        }
        by_status.entry(text(file, "/shown/status")).or_default().push(user_id);
    }
    assert_eq!(dropped.into_iter().collect::<Vec<_>>(), ["app_removed", "password_changed"]);
    assert_eq!(
        by_status.keys().copied().collect::<Vec<_>>(),
        ["active", "needs_reauthorization", "pending", "revoked"]
    );
    for (status, mut expected) in by_status {
        let (_, listed) = get(&stack, &format!("/users?status={status}")).await;
        let users = listed["users"].as_array().unwrap();
        let mut users: Vec<_> = users.iter().map(|user| text(user, "/user_id")).collect();
        users.sort_unstable();
        expected.sort_unstable();
        assert_eq!(users, expected, "{status}");
        assert_eq!(listed["unreadable"], 0);
    }
    meta_refreshes(&stack, FaultAction::Html);
    for (name, file) in &grants {
        if file["vended"].is_null() {
            continue;
        }
        let path = format!("/users/{}/token", text(file, "/row/user_id/S"));
        let (status, vended) = get(&stack, &path).await;
        if ASKED_AT_THEIR_END.contains(&name.as_str()) {
            assert_eq!((status, &file["vended"]["status"]), (200, &json!(409)), "{name}: {vended}");
            continue;
        }
        assert_eq!(status, file["vended"]["status"], "{name}: {vended}");
        still(name, &file["vended"]["body"], &vended);
    }
}

#[tokio::test]
async fn sweeps_keep_golden_grants_alive() {
    let stack = golden_stack(&[]).await;
    let grants = all("grants");
    meta_refreshes(
        &stack,
        respond(
            200,
            json!({"data": {
                "is_valid": true,
                "scopes": ["threads_basic"],
                "data_access_expires_at": stack.clock().now().as_second() + 10 * 365 * 86_400,
            }})
            .to_string(),
        ),
    );
    let sweep = async || {
        let url = format!("{}/dev/sweep", stack.urls().service_url);
        let browser = Browser::new();
        let reply = browser.send(Method::POST, &url, HeaderMap::new(), String::new()).await;
        serde_json::from_str::<Value>(&reply.body).unwrap()["outcomes"].clone()
    };
    let vended = |token: &str| {
        let tokens = grants.values().map(|file| &file["vended"]["body"]["access_token"]);
        tokens.filter(|vended| *vended == token).count()
    };
    let outcomes = json!({
        // With one of those that are asked about at their end.
        "refreshed": vended(REFRESHED) + 1,
        "completed": vended(COMPLETED) + 1,
        // Past the end of its data access, which has moved meanwhile.
        "checked": 1,
        // Leased.
        "not_ours": 2,
    });
    assert_eq!(sweep().await, outcomes);
    // A lease is kept to, and is over two minutes later; what was put off for a minute is due as
    // well.
    stack.clock().advance(Duration::from_secs(121));
    assert_eq!(sweep().await["completed"], 3);
    stack.clock().advance(Duration::from_mins(10));
    sweep().await;
    for _ in 0..24 {
        stack.clock().advance(3 * DAY);
        sweep().await;
    }
    let mut alive = 0;
    for (name, file) in &grants {
        let had_nothing = file["vended"]["status"] == 409 && !ASKED_AT_THEIR_END.contains(&name.as_str());
        let (_, now) = get(&stack, &format!("/users/{}/token", text(file, "/row/user_id/S"))).await;
        if had_nothing {
            still(name, &file["vended"]["body"], &now);
        } else {
            assert_eq!(now["access_token"], REFRESHED, "{name}: {now}");
            alive += 1;
        }
    }
    println!("golden grants: {alive} of {} live on for 72 days", grants.len());
}

#[tokio::test]
async fn golden_sessions_answer_and_complete_as_they_did() {
    let stack = golden_stack(&[]).await;
    for (name, file) in all("short-lived") {
        let Some(id) = file["row"]["id"]["S"].as_str() else {
            continue;
        };
        let (status, shown) = get(&stack, &format!("/sessions/{id}")).await;
        assert_eq!(status, 200, "{name}");
        still(&name, &file["shown"], &shown);
        // A session that is open still lets its person through.
        let url = format!("{}/authorize?session={id}", stack.urls().service_url);
        let entered = Browser::new().get(&url).await;
        match (text(&file, "/row/status/S"), text(&shown, "/status")) {
            ("connected", _) => assert!(entered.is_page("session_closed"), "{name}: {entered:?}"),
            (_, "expired") => assert!(entered.is_page("session_expired"), "{name}: {entered:?}"),
            _ => assert_eq!(entered.status, StatusCode::FOUND, "{name}"),
        }
        let path = format!("/sessions/{id}/complete");
        let wrong = call(
            &stack,
            Method::POST,
            &path,
            &json!({"completion": "another", "reference": "golden-user-7"}),
        )
        .await;
        assert_ne!(wrong.0, 200, "{name}");
        let body = json!({"completion": file["completion"], "reference": "golden-user-7"});
        let (status, completed) = call(&stack, Method::POST, &path, &body).await;
        assert_eq!(status, file["completed"]["status"], "{name}: {completed}");
        still(&name, &file["completed"]["body"], &completed);
        if status == 200 {
            let (status, again) = call(&stack, Method::POST, &path, &body).await;
            assert_eq!((status, again), (200, completed), "{name}");
        }
    }
}

/// The browser of a golden cookie comes back from Meta, which vouches for `user_id`.
async fn comes_back(stack: &Stack, cookie: &Value, state: &str, user_id: &str) -> Reply {
    let exchanged = json!({"access_token": "THQ-golden-short", "user_id": user_id}).to_string();
    stack.sandbox().unwrap().clear_faults();
    fail(stack, SandboxCall::ExchangeCode, 1, respond(200, exchanged));
    meta_refreshes(stack, FaultAction::Html);
    let mut browser = Browser::new();
    browser.jar.insert(text(cookie, "/name").to_owned(), text(cookie, "/value").to_owned());
    let service = &stack.urls().service_url;
    browser.get(&format!("{service}/callback?code=THQ-golden-code&state={state}")).await
}

#[tokio::test]
async fn logins_that_are_under_way_come_to_their_end() {
    let (cookies, stack) = (all("cookies"), golden_stack(&[]).await);
    let somebody = "17841400000000001";
    let open = &cookies["open"];
    let reply = comes_back(&stack, open, text(open, "/state"), somebody).await;
    assert_eq!(reply.location().as_str(), "http://127.0.0.1:4000/done?status=connected#");
    let (_, shown) = get(&stack, &format!("/users/{somebody}")).await;
    assert_eq!((&shown["status"], &shown["scopes"]), (&json!("active"), &open["sealed"]["c"]));
    let again = comes_back(&stack, open, text(open, "/state"), somebody).await;
    assert_eq!(again.location().query(), Some("status=connected&reason=replayed"), "{again:?}");
    // The same is true of a state that was spent before.
    let spent = golden("short-lived/spent-state.json");
    let reply = comes_back(&stack, &spent["cookie"], text(&spent, "/state"), somebody).await;
    assert!(reply.is_page("replayed"), "{reply:?}");

    // On https, in a session that lets one account in only.
    let stack = golden_stack(&[("PUBLIC_URL", "https://auth.example.com")]).await;
    let cookie = &cookies["in-a-session-on-https"];
    let state = text(cookie, "/state");
    let another = comes_back(&stack, cookie, state, somebody).await;
    assert_eq!(parameter(&another.location(), "reason"), "wrong_account", "{another:?}");
    let reply = comes_back(&stack, cookie, state, text(cookie, "/sealed/u")).await;
    let (back, session) = (reply.location(), text(cookie, "/sealed/i"));
    assert_eq!((back.path(), parameter(&back, "session_id").as_str()), ("/done", session));
    let body = json!({"completion": parameter(&back, "completion"), "reference": "golden-user-7"});
    let (status, completed) =
        call(&stack, Method::POST, &format!("/sessions/{session}/complete"), &body).await;
    assert_eq!((status, &completed["user_id"]), (200, &cookie["sealed"]["u"]));
}

#[tokio::test]
async fn the_deleted_of_the_past_stay_forgotten() {
    let (cookies, stack) = (all("cookies"), golden_stack(&[]).await);
    let deletion = golden("removal/deletion.json");
    let (user_id, code) = (text(&deletion, "/user_id"), text(&deletion, "/confirmation_code"));
    let page = Browser::new().get(&format!("{}/data-deletion/{code}", stack.urls().service_url)).await;
    assert_eq!(page.status, StatusCode::OK);
    assert!(page.body.contains("2099-12-31T23:56:40Z"), "{}", page.body);
    // A consent from before it is refused, and one from after it is not.
    let [before, after] = ["from-before-the-deletion", "from-after-the-deletion"].map(|name| &cookies[name]);
    let refused = comes_back(&stack, before, text(before, "/state"), user_id).await;
    assert!(refused.is_page("ended"), "{refused:?}");
    assert!(find_grant(&stack, user_id).await.is_none());
    let taken = comes_back(&stack, after, text(after, "/state"), user_id).await;
    assert_eq!(taken.status, StatusCode::SEE_OTHER, "{taken:?}");
    assert!(find_grant(&stack, user_id).await.is_some());
    // Meta repeats the request: it has the same code, and does not affect a later consent.
    let repeated = post_signed(&stack, "/data-deletion", text(&deletion, "/signed_request")).await;
    let repeated: Value = serde_json::from_str(&repeated.body).unwrap();
    assert_eq!(repeated["confirmation_code"], code);
    assert!(find_grant(&stack, user_id).await.is_some());
}

/// In the minutes of a deploy, and after a roll-back, this version reads what a later one may have
/// put into the secrets.
#[tokio::test]
async fn a_secret_may_hold_more_than_is_known() {
    let more = |text: String| text.replacen('{', r#"{"later":{"of":["a","later version"]},"#, 1);
    let stack = golden_stack_with(&[], more).await;
    let grant = golden("grants/active-fresh.json");
    let (status, vended) = get(&stack, &format!("/users/{}/token", text(&grant, "/row/user_id/S"))).await;
    assert_eq!((status, &vended["access_token"]), (200, &grant["sealed"]["token"]));
}

#[tokio::test]
async fn golden_changes_are_announced_as_they_were() {
    let stack = golden_stack(&[]).await;
    let publisher = EventPublisher::new(stack.service().config()).unwrap();
    let mut kinds = BTreeSet::new();
    for (name, file) in all("events") {
        let at: Timestamp = text(&file, "/at").parse().unwrap();
        let seen = stack.events().len();
        // A deletion has the time of its change since v0.2. These stacks had a clock of their own,
        // which their database did not go by.
        let mut record = file["record"].clone();
        record["dynamodb"]["ApproximateCreationDateTime"] = json!(at.as_second());
        let handled = publisher.handle(&json!({"Records": [record]}), at).await;
        assert!(handled.batch_item_failures.is_empty(), "{name}");
        let mut new = stack.events();
        new.truncate(new.len() - seen);
        new.reverse();
        let before = file["published"].as_array().unwrap();
        assert_eq!(before.len(), new.len(), "{name}");
        for (before, now) in before.iter().zip(&new) {
            // The envelope's own id is the bus's.
            let before: Value = before
                .as_object()
                .unwrap()
                .iter()
                .filter(|(key, _)| *key != "id")
                .map(|(key, value)| (key.clone(), value.clone()))
                .collect();
            still(&name, &before, now);
            kinds.insert(text(now, "/detail-type").to_owned());
        }
    }
    assert_eq!(kinds.len(), 8, "{kinds:?}");
}
