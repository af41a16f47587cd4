//! The formats of sealed tokens: reads and writes of the previous version meanwhile, a table of
//! another name, and reseals.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_dynamodb::types::{
    AttributeDefinition, AttributeValue, BillingMode, GlobalSecondaryIndex, KeySchemaElement, KeyType,
    Projection, ProjectionType, ScalarAttributeType,
};
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD, Engine};
use devstack::Stack;
use jiff::SignedDuration;
use reqwest::StatusCode;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use serde_json::Value;
use threads_auth::{RefreshOutcome, ResealReport, RestoreReport, ThreadsAuth, Unopened};
use threads_auth_model::seal::{KeyringChange, Purpose, SealError, key_id};
use threads_auth_model::{Attribute, Key, Status};
use threads_auth_store::{DUE_INDEX, REFERENCE_INDEX};
use threads_sandbox::{FaultAction, SandboxCall};

use crate::fixture::{
    Browser, DAY, HOLD, SHORT_WAIT, account, connect_people, delete_data, fail, faults_struck, find_grant,
    grant, is_usable, rows, secret_text, set_attribute, stack, stack_with, token,
};
use crate::operations::{change_secret, dynamodb};

/// Longer than any function uses a secret without looking again.
const READ_BY_ALL: Duration = Duration::from_secs(301);

const SEALED: [(&str, &str); 3] =
    [("token", "access_token"), ("previous_token", "previous_token"), ("pending_token", "pending_token")];

/// The reader and writer of keyrings and sealed bytes in version 0.1.0 and those after it, copied
/// and not called: the only format that they know.
struct Former {
    writing: String,
    keys: BTreeMap<String, LessSafeKey>,
}

impl Former {
    fn read(text: &str) -> Self {
        let text: Value = serde_json::from_str(text).unwrap();
        let key = |encoded: &Value| {
            let key = BASE64_STANDARD.decode(encoded.as_str().unwrap()).unwrap();
            LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &key).unwrap())
        };
        let keys = text["keys"].as_object().unwrap();
        Self {
            writing: text["writing"].as_str().unwrap().to_owned(),
            keys: keys.iter().map(|(id, encoded)| (id.clone(), key(encoded))).collect(),
        }
    }

    fn associated(purpose: &str, table: &str, subject: &str, key_id: &str) -> Vec<u8> {
        let mut data = vec![1];
        for part in [purpose, table, "9876543210987654", subject, key_id] {
            data.extend_from_slice(&(part.len() as u64).to_be_bytes());
            data.extend_from_slice(part.as_bytes());
        }
        data
    }

    fn seal(&self, purpose: &str, table: &str, subject: &str, text: &str) -> Vec<u8> {
        let nonce: [u8; 12] = threads_auth_model::seal::random().unwrap();
        let associated = Self::associated(purpose, table, subject, &self.writing);
        let mut body = text.as_bytes().to_vec();
        self.keys[&self.writing]
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(associated), &mut body)
            .unwrap();
        let id = self.writing.as_bytes();
        [&[1, u8::try_from(id.len()).unwrap()], id, &nonce[..], &body].concat()
    }

    fn open(&self, purpose: &str, table: &str, subject: &str, sealed: &[u8]) -> Option<String> {
        let ([1, length], rest) = sealed.split_first_chunk()? else { return None };
        let (id, rest) = rest.split_at_checked(usize::from(*length))?;
        let (nonce, ciphertext) = rest.split_first_chunk()?;
        let id = std::str::from_utf8(id).ok()?;
        let (mut body, associated) = (ciphertext.to_vec(), Self::associated(purpose, table, subject, id));
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let opened = self.keys.get(id)?.open_in_place(nonce, Aad::from(associated), &mut body).ok()?;
        Some(String::from_utf8(opened.to_vec()).unwrap())
    }
}

/// The sealed values of all accounts: whose each is, its purpose, and its bytes.
async fn sealed(stack: &Stack) -> Vec<(String, &'static str, Vec<u8>)> {
    let mut all = Vec::new();
    for row in rows(stack).await {
        let Some(user_id) = row["pk"].as_s().unwrap().strip_prefix("user#") else { continue };
        for (attribute, purpose) in SEALED {
            if let Some(AttributeValue::B(bytes)) = row.get(attribute) {
                all.push((user_id.to_owned(), purpose, bytes.clone().into_inner()));
            }
        }
    }
    all
}

/// The bytes that are marked with this format.
async fn in_format(stack: &Stack, format: u8) -> usize {
    sealed(stack).await.iter().filter(|(_, _, bytes)| bytes[0] == format).count()
}

async fn vended(service: &ThreadsAuth, stack: &Stack, user_id: &str) -> Option<String> {
    let user_id = user_id.parse().unwrap();
    let vended = service.vend(&user_id, SignedDuration::ZERO, None, stack.clock().now()).await;
    vended.ok().map(|vended| vended.access_token.expose().to_owned())
}

async fn upgrade(stack: &Stack) {
    for change in [KeyringChange::Identify(&stack.urls().grants_table), KeyringChange::Upgrade] {
        change_secret(stack, change).await;
        stack.clock().advance(READ_BY_ALL);
    }
}

async fn reseal(stack: &Stack) -> (ResealReport, Vec<Unopened>) {
    let mut left = Vec::new();
    let now = stack.clock().now();
    let report = stack.service().reseal(now, |_, unopened| left.extend_from_slice(unopened)).await.unwrap();
    (report, left)
}

/// Ada with a token and the one before it, and Grace with a short-lived one that waits.
async fn every_kind(stack: &Stack) -> [String; 2] {
    let people = [account(stack, "ada"), account(stack, "grace")];
    Browser::new().connect(stack, &people[0]).await;
    stack.clock().advance(41 * DAY);
    assert_eq!(stack.sweep().await.unwrap().count(RefreshOutcome::Refreshed), 1);
    fail(stack, SandboxCall::ExchangeLongLived, u32::MAX, FaultAction::Html);
    Browser::new().connect(stack, &people[1]).await;
    stack.sandbox().unwrap().clear_faults();
    assert_eq!(sealed(stack).await.len(), 3);
    people
}

/// Until the upgrade, the previous version reads everything that this one writes, including
/// cookies, and this one reads everything that the previous one writes in between.
#[tokio::test]
async fn a_roll_back_before_the_upgrade_loses_nothing() {
    let stack = stack().await;
    let (urls, table) = (stack.urls().clone(), stack.urls().grants_table.clone());
    let [ada, _] = every_kind(&stack).await;
    let text = secret_text(&stack, &urls.keyring_secret_id).await;
    let fields: BTreeSet<_> =
        serde_json::from_str::<BTreeMap<String, Value>>(&text).unwrap().into_keys().collect();
    // Version 0.1.0 calls a keyring malformed that has any other.
    assert_eq!(fields, ["keys", "tombstone", "writing"].map(str::to_owned).into());
    let (mut opened, mut taken) = (0, 0);
    for step in [None, Some(KeyringChange::Identify(&table))] {
        if let Some(change) = step {
            change_secret(&stack, change).await;
            stack.clock().advance(READ_BY_ALL);
        }
        let former = Former::read(&secret_text(&stack, &urls.keyring_secret_id).await);
        let mut browser = Browser::new();
        let back = browser.consent(&stack, "", &ada).await;
        for cookie in browser.jar.values() {
            let bytes = BASE64_URL_SAFE_NO_PAD.decode(cookie).unwrap();
            opened += usize::from(former.open("flow", "", "", &bytes).is_some());
        }
        browser.get(back.as_str()).await;
        for (user_id, purpose, bytes) in sealed(&stack).await {
            let text = former.open(purpose, &table, &user_id, &bytes).unwrap();
            opened += 1;
            if purpose == "access_token" {
                assert_eq!(text, token(&stack, &user_id).await);
                // The version before seals the row, and this one is back.
                let resealed = former.seal(purpose, &table, &user_id, &text);
                set_attribute(&stack, &user_id, "token", AttributeValue::B(resealed.into())).await;
                assert_eq!(vended(stack.service(), &stack, &user_id).await, Some(text));
                taken += 1;
            }
        }
    }
    println!(
        "roll-back before an upgrade: {opened} values opened by the former reader, {taken} of its own read"
    );
    assert_eq!((opened, taken), (6, 2));
    change_secret(&stack, KeyringChange::Upgrade).await;
    stack.clock().advance(READ_BY_ALL);
    Browser::new().connect(&stack, &ada).await;
    let former = Former::read(&secret_text(&stack, &urls.keyring_secret_id).await);
    for (user_id, purpose, bytes) in sealed(&stack).await {
        let is_former = former.open(purpose, &table, &user_id, &bytes).is_some();
        assert_eq!(is_former, user_id != ada, "{user_id} {purpose}");
    }
}

/// A value sealed for one row, purpose or keyring opens in no other, in either format, and none
/// opens with one bit changed.
#[tokio::test]
async fn sealed_values_cannot_be_moved_in_either_format() {
    let stack = stack().await;
    let people = connect_people(&stack, 2).await;
    let (mut moved, mut flipped) = (0, 0);
    for format in [1, 2] {
        if format == 2 {
            upgrade(&stack).await;
            assert_eq!(reseal(&stack).await.0.resealed, 2);
        }
        assert_eq!(in_format(&stack, format).await, 2);
        let values = sealed(&stack).await;
        let vault = stack.service().vault(stack.clock().now()).await.unwrap();
        let (user_id, _, bytes) = &values[0];
        let opens = |purpose, user_id: &str, bytes: &[u8]| {
            vault.open(purpose, &user_id.parse().unwrap(), bytes).is_ok()
        };
        assert!(opens(Purpose::AccessToken, user_id, bytes));
        for (purpose, of, bytes) in [
            (Purpose::PreviousToken, user_id, bytes),
            (Purpose::PendingToken, user_id, bytes),
            (Purpose::Flow, user_id, bytes),
            (Purpose::AccessToken, user_id, &values[1].2),
            (Purpose::AccessToken, &values[1].0, bytes),
        ] {
            assert!(!opens(purpose, of, bytes), "{format} {purpose:?}");
            moved += 1;
        }
        for bit in 0..bytes.len() * 8 {
            let mut bytes = bytes.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(!opens(Purpose::AccessToken, user_id, &bytes), "{format} bit {bit}");
            flipped += 1;
        }
        // Swapped in the table, neither is vended.
        for ((user_id, ..), (.., bytes)) in values.iter().zip(values.iter().rev()) {
            set_attribute(&stack, user_id, "token", AttributeValue::B(bytes.clone().into())).await;
        }
        for person in &people {
            assert_eq!(vended(stack.service(), &stack, person).await, None, "{format}");
        }
        for (user_id, _, bytes) in values {
            set_attribute(&stack, &user_id, "token", AttributeValue::B(bytes.into())).await;
        }
    }
    println!("sealed values: {moved} moved, {flipped} with one bit flipped, in both formats: 0 opened");
}

/// A table like that of grants, with all its rows.
pub(crate) async fn copied(stack: &Stack, name: &str) {
    let key =
        |name: &str, kind| KeySchemaElement::builder().attribute_name(name).key_type(kind).build().unwrap();
    let attribute = |name: &str, kind| {
        AttributeDefinition::builder().attribute_name(name).attribute_type(kind).build().unwrap()
    };
    let keys_only = Projection::builder().projection_type(ProjectionType::KeysOnly).build();
    let index = |name, keys| {
        let index = GlobalSecondaryIndex::builder().index_name(name).set_key_schema(Some(keys));
        index.projection(keys_only.clone()).build().unwrap()
    };
    let due = vec![key("due_shard", KeyType::Hash), key("due_at", KeyType::Range)];
    let reference = vec![key("reference", KeyType::Hash)];
    let client = dynamodb(stack);
    let create = client
        .create_table()
        .table_name(name)
        .billing_mode(BillingMode::PayPerRequest)
        .attribute_definitions(attribute("pk", ScalarAttributeType::S))
        .attribute_definitions(attribute("due_shard", ScalarAttributeType::S))
        .attribute_definitions(attribute("due_at", ScalarAttributeType::N))
        .attribute_definitions(attribute("reference", ScalarAttributeType::S))
        .key_schema(key("pk", KeyType::Hash))
        .global_secondary_indexes(index(DUE_INDEX, due))
        .global_secondary_indexes(index(REFERENCE_INDEX, reference));
    create.send().await.unwrap();
    for row in client.scan().table_name(&stack.urls().grants_table).send().await.unwrap().items() {
        client.put_item().table_name(name).set_item(Some(row.clone())).send().await.unwrap();
    }
}

/// The functions, with another table in use.
fn with_table(stack: &Stack, name: &str) -> ThreadsAuth {
    let mut config = stack.service().config().clone();
    name.clone_into(&mut config.grants_table);
    ThreadsAuth::new(config).unwrap()
}

#[tokio::test]
async fn a_restored_table_becomes_the_table_in_use() {
    let stack = stack().await;
    let people = connect_people(&stack, 6).await;
    copied(&stack, "restored-too-early").await;
    let early = with_table(&stack, "restored-too-early");
    assert_eq!(vended(&early, &stack, &people[0]).await, None);
    upgrade(&stack).await;
    // Half of them have a token of either format.
    for person in &people[..3] {
        Browser::new().connect(&stack, person).await;
    }
    assert_eq!((in_format(&stack, 1).await, in_format(&stack, 2).await), (3, 3));
    let mut expected = Vec::new();
    for person in &people {
        expected.push(token(&stack, person).await);
    }
    copied(&stack, "restored").await;
    // One is deleted after the backup, one comes back after that, one is disconnected, and one is
    // new.
    stack.clock().advance(DAY);
    delete_data(&stack, &people[0]).await;
    delete_data(&stack, &people[1]).await;
    stack.service().disconnect(&people[5].parse().unwrap(), stack.clock().now()).await.unwrap();
    stack.clock().advance(DAY);
    Browser::new().connect(&stack, &people[1]).await;
    let newcomer = account(&stack, "ada");
    Browser::new().connect(&stack, &newcomer).await;

    let restored = with_table(&stack, "restored");
    for (person, expected) in people.iter().zip(&expected) {
        assert_eq!(vended(&restored, &stack, person).await.as_ref(), Some(expected));
    }
    // The additional ends in the table before it come over: nobody is there who was deleted or
    // disconnected.
    let (before, now) = (stack.urls().grants_table.clone(), stack.clock().now());
    let report = restored.restore(&before, false, now, |_, _| ()).await.unwrap();
    let expected_report =
        RestoreReport { restored: 2, present: 4, deleted: 2, tombstones: 4, ..RestoreReport::default() };
    assert_eq!(report, expected_report);
    for person in [&people[0], &people[5]] {
        assert_eq!(vended(&restored, &stack, person).await, None);
    }
    for person in people[1..5].iter().chain([&newcomer]) {
        let token = vended(&restored, &stack, person).await.unwrap();
        assert!(is_usable(&stack, &token).await);
    }
    // It is kept alive there.
    stack.clock().advance(41 * DAY);
    let swept = restored.sweep(stack.clock().now(), Duration::from_mins(15)).await.unwrap();
    assert_eq!(swept.count(RefreshOutcome::Refreshed), 5);
    println!("a restored table in use: 6 tokens of both formats vended, 5 refreshed, 2 ends since kept");
}

#[tokio::test]
async fn a_reseal_is_repeatable_and_leaves_what_does_not_open() {
    let stack = stack().await;
    let [ada, grace] = every_kind(&stack).await;
    let before = [grant(&stack, &ada).await, grant(&stack, &grace).await];
    let token_before = token(&stack, &ada).await;
    assert_eq!(reseal(&stack).await.0, ResealReport { current: 3, ..ResealReport::default() });
    change_secret(&stack, KeyringChange::Add("k2")).await;
    change_secret(&stack, KeyringChange::Write("k2")).await;
    stack.clock().advance(READ_BY_ALL);
    let broken = b"nothing".to_vec();
    set_attribute(&stack, &ada, "previous_token", AttributeValue::B(broken.clone().into())).await;
    let expected = ResealReport { resealed: 2, unopened: 1, ..ResealReport::default() };
    let (report, left) = reseal(&stack).await;
    assert_eq!(report, expected);
    let key = Key::grant(&ada.parse().unwrap());
    let unopened = Unopened { key, attribute: Attribute::PreviousToken, error: SealError::Malformed };
    assert_eq!(left, [unopened]);
    let again = ResealReport { current: 2, unopened: 1, ..ResealReport::default() };
    assert_eq!(reseal(&stack).await.0, again);
    for (_, purpose, bytes) in sealed(&stack).await {
        if purpose == "previous_token" {
            assert_eq!(bytes, broken);
        } else {
            assert_eq!(key_id(&bytes), Some("k2"), "{purpose}");
        }
    }
    // The same token under the same name, and nothing else of the rows has changed.
    let after = [grant(&stack, &ada).await, grant(&stack, &grace).await];
    for (before, after) in before.iter().zip(&after) {
        assert_eq!(before.updated_at, after.updated_at);
        let ids = [before, after].map(|grant| grant.live().map(|live| live.token_id.clone()));
        assert_eq!(ids[0], ids[1]);
    }
    assert_eq!(token(&stack, &ada).await, token_before);
    assert_eq!(stack.sweep().await.unwrap().count(RefreshOutcome::Completed), 1);
    assert_eq!(grant(&stack, &grace).await.status(), Status::Active);
    // A row that a refresh cannot read is resealed all the same, and a key without a user is not.
    let broken = "17841400000000000x";
    set_attribute(&stack, broken, "token", AttributeValue::B(b"nothing".to_vec().into())).await;
    let (report, left) = reseal(&stack).await;
    assert_eq!((report.unopened, left.len()), (2, 2), "{left:?}");
}

/// Everything is resealed during a call to Meta: its result is stored.
#[tokio::test]
async fn a_reseal_during_a_refresh_loses_nothing() {
    let stack = Arc::new(stack_with(&SHORT_WAIT).await);
    let [ada, grace] = every_kind(&stack).await;
    stack.clock().advance(41 * DAY);
    // Grace's consent has expired by then, and is repeated.
    stack.sweep().await.unwrap();
    stack.clock().advance(41 * DAY);
    fail(&stack, SandboxCall::ExchangeLongLived, 2, FaultAction::Html);
    Browser::new().connect(&stack, &grace).await;
    assert!(grant(&stack, &grace).await.consent().is_some());
    upgrade(&stack).await;
    let before = token(&stack, &ada).await;
    for call in [SandboxCall::Refresh, SandboxCall::ExchangeLongLived] {
        fail(&stack, call, 1, HOLD);
    }
    let resealing = async {
        faults_struck(&stack).await;
        let report = reseal(&stack).await.0;
        stack.sandbox().unwrap().clear_faults();
        report
    };
    // Both are in flight from the start.
    let mut config = stack.service().config().clone();
    config.sweep_start = 2;
    let service = ThreadsAuth::new(config).unwrap();
    let sweep = service.sweep(stack.clock().now(), Duration::from_mins(15));
    let (swept, report) = tokio::join!(sweep, resealing);
    let swept = swept.unwrap();
    assert_eq!(report, ResealReport { resealed: 3, ..ResealReport::default() });
    assert_eq!(swept.count(RefreshOutcome::Refreshed), 1, "{swept:?}");
    assert_eq!(swept.count(RefreshOutcome::Completed), 1, "{swept:?}");
    for person in [&ada, &grace] {
        let kept = grant(&stack, person).await;
        assert_eq!((kept.status(), kept.consent().is_some()), (Status::Active, false));
        assert!(is_usable(&stack, &token(&stack, person).await).await);
    }
    assert_ne!(token(&stack, &ada).await, before);
}

/// Sweeps and reseals at once, over and over: every token that Meta has issued last is there.
#[tokio::test]
async fn reseals_and_sweeps_at_once_lose_no_token() {
    let stack = Arc::new(stack().await);
    let people = connect_people(&stack, 30).await;
    let mut resealed = 0;
    for round in 0..4 {
        let id = format!("k{round}");
        change_secret(&stack, KeyringChange::Add(&id)).await;
        change_secret(&stack, KeyringChange::Write(&id)).await;
        stack.clock().advance(41 * DAY);
        let (swept, one, another) = tokio::join!(stack.sweep(), reseal(&stack), reseal(&stack));
        assert_eq!(swept.unwrap().count(RefreshOutcome::Refreshed), 30);
        resealed += one.0.resealed + another.0.resealed;
        assert_eq!(one.0.unopened + another.0.unopened, 0);
        reseal(&stack).await;
        let keys: BTreeSet<_> =
            sealed(&stack).await.iter().map(|(_, _, bytes)| key_id(bytes).unwrap().to_owned()).collect();
        assert_eq!(keys, [id].into());
        for person in &people {
            assert!(is_usable(&stack, &token(&stack, person).await).await, "{person}");
        }
    }
    println!("reseals beside sweeps: 120 refreshes, {resealed} values sealed anew, 0 tokens lost");
}

/// A rotation ends although an account is dead whose token is kept, and its person never comes.
#[tokio::test]
async fn a_rotation_ends_though_accounts_are_dead() {
    let stack = stack().await;
    let people = connect_people(&stack, 2).await;
    let old = stack.service().secrets().keyring(stack.clock().now()).await.unwrap().writing().to_owned();
    stack.sandbox().unwrap().change_password(&people[0]);
    change_secret(&stack, KeyringChange::Add("k2")).await;
    change_secret(&stack, KeyringChange::Write("k2")).await;
    stack.clock().advance(READ_BY_ALL);
    assert_eq!(reseal(&stack).await.0.resealed, 2);
    let in_use = stack.service().keys_in_use().await.unwrap();
    assert_eq!(in_use.keys().collect::<Vec<_>>(), ["k2"]);
    change_secret(&stack, KeyringChange::Remove(&old)).await;
    for _ in 0..10 {
        stack.clock().advance(41 * DAY);
        stack.sweep().await.unwrap();
    }
    assert!(is_usable(&stack, &token(&stack, &people[1]).await).await);
    assert!(find_grant(&stack, &people[0]).await.unwrap().live().is_none());
    let reply = Browser::new().connect(&stack, &people[0]).await;
    assert_eq!(reply.status, StatusCode::SEE_OTHER);
}
