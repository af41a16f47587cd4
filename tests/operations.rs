//! An operator's work: takes tokens over, rotates keys, restores a backup.

use std::sync::Arc;
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::AttributeValue;
use devstack::Stack;
use jiff::SignedDuration;
use reqwest::StatusCode;
use threads_auth::{Import, ImportError, Imported, RefreshOutcome, RestoreReport};
use threads_auth_model::Status;
use threads_auth_model::seal::{KeyringChange, change_keyring, key_id};
use threads_graph::{AccessToken, ReauthorizationCause};
use threads_sandbox::{FaultAction, SandboxCall};

use crate::fixture::{
    Browser, DAY, account, connect_people, connected_ada, delete_data, fail, find_grant, grant, http,
    is_usable, rows, secret_text, stack, stack_of_ada, token,
};

async fn import(stack: &Stack, token: &str) -> Result<Imported, ImportError> {
    let token = AccessToken::new(token).unwrap();
    stack.service().import(Import::of(&token), stack.clock().now()).await
}

fn from_elsewhere(stack: &Stack, user_id: &str) -> String {
    stack.sandbox().unwrap().issue_long_lived(user_id)
}

#[tokio::test]
async fn a_token_from_elsewhere_is_kept_alive_from_then_on() {
    let (stack, ada) = stack_of_ada().await;
    let old = from_elsewhere(&stack, &ada);
    stack.clock().advance(50 * DAY);
    let imported = import(&stack, &old).await.unwrap();
    assert_eq!((imported.user_id.as_str(), imported.is_new), (ada.as_str(), true));
    // Meta reported its age: it is due at once, and lives on.
    assert_eq!(stack.sweep().await.unwrap().count(RefreshOutcome::Refreshed), 1);
    let kept = grant(&stack, &ada).await;
    assert_eq!((kept.status(), kept.username.as_deref()), (Status::Active, Some("ada")));
    assert!(kept.scopes.to_string().contains("threads_content_publish"));
    // A repeated import changes nothing: the stored token is better.
    assert!(!import(&stack, &old).await.unwrap().is_new);
    assert_ne!(token(&stack, &ada).await, old);
}

/// Meta does not report its age: it waits a day, and is refreshed then.
#[tokio::test]
async fn a_token_of_unknown_age_waits_a_day() {
    let (stack, ada) = stack_of_ada().await;
    let old = from_elsewhere(&stack, &ada);
    fail(&stack, SandboxCall::DebugToken, u32::MAX, FaultAction::Html);
    for is_new in [true, false] {
        assert_eq!(import(&stack, &old).await.unwrap().is_new, is_new);
    }
    assert!(stack.sweep().await.unwrap().outcomes.is_empty());
    stack.clock().advance(Duration::from_hours(33));
    assert_eq!(stack.sweep().await.unwrap().count(RefreshOutcome::Refreshed), 1);
    let left = grant(&stack, &ada).await.live().unwrap().expires_at - stack.clock().now();
    assert!(left.as_hours() > 59 * 24);
}

/// Meta refuses it without a cause after the end that was only assumed, and nobody may inspect: the
/// refusal does not count.
#[tokio::test]
async fn an_assumed_expiry_is_no_witness() {
    let (stack, ada) = stack_of_ada().await;
    let old = from_elsewhere(&stack, &ada);
    fail(&stack, SandboxCall::DebugToken, u32::MAX, FaultAction::Html);
    import(&stack, &old).await.unwrap();
    let refusal = FaultAction::GraphError { code: 190, subcode: None, is_transient: false, status: 400 };
    fail(&stack, SandboxCall::Refresh, u32::MAX, refusal);
    stack.clock().advance(DAY);
    for _ in 0..8 {
        stack.clock().advance(DAY / 2);
        stack.sweep().await.unwrap();
        assert_eq!(grant(&stack, &ada).await.status(), Status::Active);
    }
    stack.sandbox().unwrap().clear_faults();
    stack.clock().advance(DAY);
    assert_eq!(stack.sweep().await.unwrap().count(RefreshOutcome::Refreshed), 1);
}

/// Its end is unknown, and Meta is away for longer than was assumed: only Meta's refusal ends it.
#[tokio::test]
async fn an_assumed_expiry_buries_no_token() {
    let (stack, ada) = stack_of_ada().await;
    let old = from_elsewhere(&stack, &ada);
    fail(&stack, SandboxCall::DebugToken, u32::MAX, FaultAction::Html);
    import(&stack, &old).await.unwrap();
    fail(&stack, SandboxCall::Refresh, u32::MAX, FaultAction::Html);
    for _ in 0..6 {
        stack.clock().advance(DAY);
        stack.sweep().await.unwrap();
        assert_eq!(grant(&stack, &ada).await.status(), Status::Active);
    }
    stack.sandbox().unwrap().clear_faults();
    stack.clock().advance(DAY);
    assert_eq!(stack.sweep().await.unwrap().count(RefreshOutcome::Refreshed), 1);
    assert!(!grant(&stack, &ada).await.live().unwrap().expiry_assumed);
}

/// An import is repeated after some of its accounts were disconnected: they stay so.
#[tokio::test]
async fn an_import_reconnects_nobody_who_was_disconnected() {
    for told in [true, false] {
        let stack = stack().await;
        let ada = account(&stack, "ada");
        let old = from_elsewhere(&stack, &ada);
        if !told {
            fail(&stack, SandboxCall::DebugToken, u32::MAX, FaultAction::Html);
        }
        assert!(import(&stack, &old).await.unwrap().is_new);
        stack.clock().advance(DAY);
        let user_id = ada.parse().unwrap();
        stack.service().disconnect(&user_id, stack.clock().now()).await.unwrap();
        assert!(!import(&stack, &old).await.unwrap().is_new, "{told}");
        assert_eq!(grant(&stack, &ada).await.status(), Status::Revoked);
        stack.clock().advance(DAY);
        // A consent since then counts, if Meta accepts it.
        let newer = from_elsewhere(&stack, &ada);
        assert_eq!(import(&stack, &newer).await.unwrap().is_new, told);
    }
}

#[tokio::test]
async fn what_is_not_worth_keeping_is_refused() {
    let stack = stack().await;
    let (ada, grace) = (account(&stack, "ada"), account(&stack, "grace"));
    let dead = from_elsewhere(&stack, &ada);
    stack.sandbox().unwrap().change_password(&ada);
    let cause = ReauthorizationCause::PasswordChanged;
    assert!(matches!(import(&stack, &dead).await, Err(ImportError::Dead(c)) if c == cause));
    assert!(find_grant(&stack, &ada).await.is_none());

    let good = from_elsewhere(&stack, &grace);
    let (token, expected) = (AccessToken::new(good.as_str()).unwrap(), ada.parse().unwrap());
    let now = stack.clock().now();
    let expecting = Import { user_id: Some(&expected), ..Import::of(&token) };
    let another = stack.service().import(expecting, now).await;
    assert!(matches!(another, Err(ImportError::AnotherAccount)), "{another:?}");
    fail(&stack, SandboxCall::Me, 1, FaultAction::Html);
    assert!(import(&stack, &good).await.unwrap_err().is_retryable());

    let graph = threads_graph::Graph::new(http(), stack.service().config().endpoints.clone());
    let uri = "https://app.example/callback";
    let code = stack.sandbox().unwrap().issue_code(&grace, uri, &[]);
    let app = stack.service().secrets().app(now).await.unwrap();
    let code = threads_graph::AuthorizationCode::new(code.as_str()).unwrap();
    let short = graph.exchange_code(&app.credentials, &code, &uri.parse().unwrap()).await.unwrap();
    let short = import(&stack, short.access_token.expose()).await;
    assert!(matches!(short, Err(ImportError::ShortLived)), "{short:?}");

    // A person who was deleted stays so, and comes back by consent only.
    import(&stack, &good).await.unwrap();
    stack.clock().advance(DAY);
    delete_data(&stack, &grace).await;
    assert!(matches!(import(&stack, &good).await, Err(ImportError::Deleted)));
    assert!(find_grant(&stack, &grace).await.is_none());
    stack.clock().advance(DAY);
    let newer = from_elsewhere(&stack, &grace);
    assert!(import(&stack, &newer).await.unwrap().is_new);
}

pub(crate) fn dynamodb(stack: &Stack) -> Client {
    threads_auth_store::aws::dynamodb(&stack.service().config().aws, &http())
}

/// Changes the keyring, as the command line does.
pub(crate) async fn change_secret(stack: &Stack, change: KeyringChange<'_>) {
    let id = &stack.urls().keyring_secret_id;
    let text = change_keyring(&secret_text(stack, id).await, change).unwrap();
    let client = threads_auth_store::aws::secrets_manager(&stack.service().config().aws, &http());
    client.put_secret_value().secret_id(id).secret_string(text.as_str()).send().await.unwrap();
}

/// A function that has not read the newest keyring yet reads it again for a token whose key it does
/// not know, and calls nothing undecryptable before.
#[tokio::test]
async fn an_unknown_key_is_looked_for_in_a_keyring_that_is_read_again() {
    let (stack, ada) = connected_ada().await;
    let another = threads_auth::ThreadsAuth::new(stack.service().config().clone()).unwrap();
    let user_id = ada.parse().unwrap();
    let vend = async || {
        another.vend(&user_id, jiff::SignedDuration::ZERO, None, stack.clock().now()).await.map(drop)
    };
    vend().await.unwrap();
    stack.clock().advance(std::time::Duration::from_mins(4));
    change_secret(&stack, KeyringChange::Add("new")).await;
    change_secret(&stack, KeyringChange::Write("new")).await;
    // Read by the others, whose cached keyring is as old, in a minute.
    stack.clock().advance(std::time::Duration::from_secs(59));
    let fresh = threads_auth::ThreadsAuth::new(stack.service().config().clone()).unwrap();
    let mut browser = Browser::new();
    let back = browser.consent(&stack, "", &ada).await;
    let cookies: Vec<_> = browser.jar.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let cookies: Vec<_> = cookies.iter().map(String::as_str).collect();
    fresh.finish_connect(back.query().unwrap(), &cookies, stack.clock().now()).await.unwrap();
    let sealed = grant(&stack, &ada).await.live().unwrap().token.clone();
    assert_eq!(key_id(&sealed), Some("new"));
    vend().await.unwrap();
}

/// Threat stolen-table: the key is rotated while people connect, sweeps run and tokens are vended.
/// Nobody is refused, and at last the old key seals nothing and goes.
#[tokio::test]
async fn threat_a_rotation_under_load_loses_no_token() {
    let stack = Arc::new(stack().await);
    let people = connect_people(&stack, 20).await;
    let old = stack.service().secrets().keyring(stack.clock().now()).await.unwrap().writing().to_owned();
    let client = crate::client::client(&stack);
    let mut vended = 0;
    let mut connected = 0;
    for step in ["add", "wait", "write", "wait", "end"] {
        match step {
            "add" => change_secret(&stack, KeyringChange::Add("k2")).await,
            "write" => change_secret(&stack, KeyringChange::Write("k2")).await,
            // Longer than any function uses a secret without looking again.
            _ => stack.clock().advance(Duration::from_secs(301)),
        }
        let mut browsers = Vec::new();
        for person in people.iter().take(3) {
            let mut browser = Browser::new();
            let back = browser.consent(&stack, "", person).await;
            browsers.push((browser, back));
        }
        for person in &people {
            client.token(&person.parse().unwrap(), Duration::ZERO, None).await.expect(step);
            vended += 1;
        }
        for (mut browser, back) in browsers {
            assert_eq!(browser.get(back.as_str()).await.status, StatusCode::SEE_OTHER, "{step}");
            connected += 1;
        }
    }
    let in_use = stack.service().keys_in_use().await.unwrap();
    assert!(in_use[&old] > 0 && in_use["k2"] > 0, "{in_use:?}");
    for _ in 0..2 {
        stack.clock().advance(41 * DAY);
        stack.sweep().await.unwrap();
    }
    let in_use = stack.service().keys_in_use().await.unwrap();
    assert_eq!(in_use.keys().collect::<Vec<_>>(), ["k2"], "every refresh seals anew");
    change_secret(&stack, KeyringChange::Remove(&old)).await;
    stack.clock().advance(Duration::from_secs(301));
    let mut usable = 0;
    for person in &people {
        usable += usize::from(is_usable(&stack, &token(&stack, person).await).await);
    }
    println!(
        "threat stolen-table: a rotation under load, {vended} vends and {connected} connects: {usable} of 20 tokens live"
    );
    assert_eq!(usable, 20);
    for row in rows(&stack).await {
        for value in row.values().filter_map(|value| value.as_b().ok()) {
            assert_eq!(key_id(value.as_ref()), Some("k2"));
        }
    }
}

/// Threat restored-deletion: a backup is restored in which people are who had their data deleted
/// since.
#[tokio::test]
async fn threat_a_restore_brings_back_nobody_who_was_deleted() {
    let stack = stack().await;
    let people = connect_people(&stack, 10).await;
    let client = dynamodb(&stack);
    // A backup of DynamoDB becomes a table of another name.
    let backup = "restored-from-backup";
    let key = |name: &str| {
        aws_sdk_dynamodb::types::KeySchemaElement::builder()
            .attribute_name(name)
            .key_type(aws_sdk_dynamodb::types::KeyType::Hash)
            .build()
            .unwrap()
    };
    let attribute = aws_sdk_dynamodb::types::AttributeDefinition::builder()
        .attribute_name("pk")
        .attribute_type(aws_sdk_dynamodb::types::ScalarAttributeType::S)
        .build()
        .unwrap();
    client
        .create_table()
        .table_name(backup)
        .billing_mode(aws_sdk_dynamodb::types::BillingMode::PayPerRequest)
        .attribute_definitions(attribute)
        .key_schema(key("pk"))
        .send()
        .await
        .unwrap();
    let grants = |rows: Vec<threads_auth_store::Item>| {
        rows.into_iter().filter(|row| row["pk"].as_s().unwrap().starts_with("user#")).collect::<Vec<_>>()
    };
    for mut row in grants(rows(&stack).await) {
        if row["pk"].as_s().unwrap().ends_with(&people[9]) {
            row.insert("issued_at".to_owned(), AttributeValue::Bool(true));
        }
        client.put_item().table_name(backup).set_item(Some(row)).send().await.unwrap();
    }
    // Since then: two were deleted, of whom one came back; one connected again; and seven were
    // lost.
    stack.clock().advance(DAY);
    for person in &people[..2] {
        delete_data(&stack, person).await;
    }
    stack.clock().advance(DAY);
    for person in &people[1..3] {
        Browser::new().connect(&stack, person).await;
    }
    let newer = token(&stack, &people[2]).await;
    for person in &people[3..] {
        let pk = AttributeValue::S(format!("user#{person}"));
        client.delete_item().table_name(&stack.urls().grants_table).key("pk", pk).send().await.unwrap();
    }
    // An end is not a deletion, so the row is restored; but it has ended.
    let lost: threads_graph::UserId = people[3].parse().unwrap();
    stack.service().disconnect(&lost, stack.clock().now()).await.unwrap();
    let now = stack.clock().now();
    let mut pages = 0;
    let report = stack.service().restore(backup, false, now, |_, _| pages += 1).await.unwrap();
    let expected =
        RestoreReport { restored: 6, present: 2, deleted: 1, unreadable: 1, ..RestoreReport::default() };
    assert_eq!(report, expected);
    assert!(pages > 0);
    println!(
        "threat restored-deletion: restored {}, kept forgotten {}, resurrected 0",
        report.restored, report.deleted
    );
    assert!(find_grant(&stack, &people[0]).await.is_none());
    assert_eq!(token(&stack, &people[2]).await, newer);
    assert_eq!(grant(&stack, &people[3]).await.status(), Status::Revoked);
    // Its event must be newer than that of the loss.
    assert_eq!(grant(&stack, &people[4]).await.updated_at.as_second(), now.as_second());
    for person in &people[4..9] {
        assert!(is_usable(&stack, &token(&stack, person).await).await);
    }
    let again = stack.service().restore(backup, false, now, |_, _| ()).await.unwrap();
    assert_eq!((again.restored, again.present, again.deleted), (0, 8, 1));
}

#[tokio::test]
async fn an_operator_refreshes_one_account_now() {
    let (stack, ada) = connected_ada().await;
    let (user_id, now) = (ada.parse().unwrap(), stack.clock().now());
    assert_eq!(stack.service().refresh_now(&user_id, now).await.unwrap(), RefreshOutcome::TooYoung);
    let before = token(&stack, &ada).await;
    stack.clock().advance(2 * DAY);
    let now = stack.clock().now();
    assert_eq!(stack.service().refresh_now(&user_id, now).await.unwrap(), RefreshOutcome::Refreshed);
    assert_ne!(token(&stack, &ada).await, before);
    let due = grant(&stack, &ada).await.due_at.unwrap();
    assert!(due - now > SignedDuration::from_hours(33 * 24));
}
