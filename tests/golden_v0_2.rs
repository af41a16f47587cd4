//! This version's data, frozen in `golden/v0.2`: the second format of sealed values and the keyring
//! that writes it, token names, suspicions, claims, ends, an inspector. One test here writes it
//! again and compares the forms; the others read the frozen data.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD, Engine};
use devstack::Stack;
use jiff::{SignedDuration, Timestamp};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use threads_auth::{Import, Progress, RefreshOutcome};
use threads_auth_model::Key;
use threads_auth_model::rules::{Deletion, Fate};
use threads_auth_model::seal::{Context, Keyring, KeyringChange, Purpose, hash, key_id};
use threads_auth_store::Item;
use threads_graph::AccessToken;
use threads_sandbox::{ExpiresIn, FaultAction, NewAccount, Sandbox, SandboxCall};

use crate::backend::{finished, new};
use crate::fixture::{
    Browser, DAY, delete_data, fail, find_grant, options, parameter, post_signed, respond, rows, secret_text,
    token,
};
use crate::iam;
use crate::operations::{change_secret, dynamodb};

/// All but the events of a version is as of one moment.
const AT: &str = "2100-01-01T00:00:00Z";

/// The tokens that Meta returns to a call for a fixture.
const REFRESHED: &str = "THQ-golden-from-a-later-refresh";
const COMPLETED: &str = "THQ-golden-from-a-later-exchange";

const PURPOSES: [(&str, Purpose); 3] = [
    ("token", Purpose::AccessToken),
    ("previous_token", Purpose::PreviousToken),
    ("pending_token", Purpose::PendingToken),
];

thread_local! {
    /// Folder in which the fixtures are written again, and read, in place of the repository's.
    static WRITTEN: RefCell<Option<PathBuf>> = const { RefCell::new(None) };
}

fn frozen() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/v0.2")
}

fn folder() -> PathBuf {
    WRITTEN.with_borrow(Clone::clone).unwrap_or_else(frozen)
}

fn golden_text(path: &str) -> String {
    std::fs::read_to_string(folder().join(path)).unwrap()
}

fn golden(path: &str) -> Value {
    serde_json::from_str(&golden_text(path)).unwrap()
}

/// The files of one folder, by their names.
fn all(kind: &str) -> BTreeMap<String, Value> {
    let files = std::fs::read_dir(folder().join(kind)).unwrap();
    let name = |file: std::io::Result<std::fs::DirEntry>| file.unwrap().file_name().into_string().unwrap();
    files
        .map(name)
        .map(|name| (name.trim_end_matches(".json").to_owned(), golden(&format!("{kind}/{name}"))))
        .collect()
}

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    let found = value.pointer(pointer).and_then(Value::as_str);
    found.unwrap_or_else(|| panic!("no {pointer} in {value}"))
}

fn item(row: &Value) -> Item {
    let row: HashMap<String, serde_dynamo::AttributeValue> = serde_json::from_value(row.clone()).unwrap();
    row.into_iter().map(|(name, value)| (name, value.into())).collect()
}

async fn get(stack: &Stack, path: &str) -> (u16, Value) {
    let reply = iam::call(stack, Method::GET, path, "").await;
    (reply.status.as_u16(), serde_json::from_str(&reply.body).unwrap())
}

/// Meta gives one token for whatever is refreshed, another for what is exchanged, and reports
/// nothing else.
fn meta_refreshes(stack: &Stack) {
    let token = |token| respond(200, json!({"access_token": token, "expires_in": 5_183_944}).to_string());
    fail(stack, SandboxCall::Refresh, u32::MAX, token(REFRESHED));
    fail(stack, SandboxCall::ExchangeLongLived, u32::MAX, token(COMPLETED));
    fail(stack, SandboxCall::Me, u32::MAX, FaultAction::Html);
    fail(stack, SandboxCall::DebugToken, u32::MAX, FaultAction::Html);
}

/// A stack at the moment of the fixtures, with their secrets and rows, whose table of grants may
/// have another name.
async fn golden_stack(grants_table: Option<&str>) -> Stack {
    let variables: Vec<_> = grants_table.map(|name| ("GRANTS_TABLE", name)).into_iter().collect();
    let stack = Stack::start(options(AT.parse().unwrap(), &variables)).await.unwrap();
    let config = stack.service().config();
    let secrets = threads_auth_store::aws::secrets_manager(&config.aws, &crate::fixture::http());
    for (id, file) in [(&config.app_secret_id, "app"), (&config.keyring_secret_id, "keyring")] {
        let put = secrets
            .put_secret_value()
            .secret_id(id)
            .secret_string(golden_text(&format!("secrets/{file}.json")));
        put.send().await.unwrap();
    }
    for kind in ["grants", "removal"] {
        for file in all(kind).values() {
            let put = dynamodb(&stack).put_item().table_name(&config.grants_table);
            put.set_item(Some(item(&file["row"]))).send().await.unwrap();
        }
    }
    stack
}

#[test]
fn every_golden_value_opens_where_it_belongs() {
    let keyring = Keyring::from_json(&golden_text("secrets/keyring.json")).unwrap();
    let of = golden("stack.json");
    let app_id = text(&of, "/app_id").parse().unwrap();
    let (mut opened, mut kinds) = (0, BTreeMap::<_, u32>::new());
    for (name, file) in all("grants") {
        for (attribute, purpose) in PURPOSES {
            let Some(sealed) = file["row"][attribute]["B"].as_str() else {
                assert!(file["sealed"].get(attribute).is_none(), "{name}");
                continue;
            };
            let sealed = BASE64_STANDARD.decode(sealed).unwrap();
            *kinds.entry((sealed[0], key_id(&sealed).unwrap().to_owned())).or_default() += 1;
            // The table may have any name: the keyring has the former one.
            for table in [text(&of, "/grants_table"), "restored"] {
                for (_, other) in PURPOSES {
                    let subject = text(&file, "/row/user_id/S");
                    let context = Context { purpose: other, table, app_id: &app_id, subject };
                    let plain = keyring.open(&context, &sealed).ok();
                    let plain = plain.map(|plain| String::from_utf8(plain.to_vec()).unwrap());
                    let expected =
                        (other == purpose).then(|| text(&file["sealed"], &format!("/{attribute}")));
                    assert_eq!(plain.as_deref(), expected, "{name}: {attribute}");
                    opened += u32::from(plain.is_some());
                }
            }
        }
    }
    for (name, file) in all("cookies") {
        let context = Context { purpose: Purpose::Flow, table: "", app_id: &app_id, subject: "" };
        let sealed = BASE64_URL_SAFE_NO_PAD.decode(text(&file, "/value")).unwrap();
        let flow: Value = serde_json::from_slice(&keyring.open(&context, &sealed).unwrap()).unwrap();
        assert_eq!(flow, file["sealed"], "{name}");
        opened += 1;
    }
    println!("golden values of v0.2: {opened} opened; by format and key: {kinds:?}");
    let forms =
        [(1, "golden-1"), (2, "golden-1"), (2, "golden-2")].map(|(format, id)| (format, id.to_owned()));
    assert!(kinds.into_keys().eq(forms));
}

#[tokio::test]
async fn every_golden_grant_is_shown_and_vended_as_it_was_from_any_table() {
    for table in [None, Some("restored")] {
        let stack = golden_stack(table).await;
        let mut vends = 0;
        for reseal in [false, true] {
            if reseal {
                let report = stack.service().reseal(stack.clock().now(), |_, _| ()).await.unwrap();
                assert_eq!((report.unopened, report.changing), (0, 0));
                assert!(report.resealed > 0);
            }
            for (name, file) in all("grants") {
                let user_id = text(&file, "/row/user_id/S");
                let (status, shown) = get(&stack, &format!("/users/{user_id}")).await;
                assert_eq!(status, 200, "{name}: {shown}");
                for (field, value) in file["shown"].as_object().unwrap() {
                    assert_eq!(shown[field], *value, "{name}: {field}");
                }
            }
        }
        meta_refreshes(&stack);
        for (name, file) in all("grants") {
            let (status, vended) =
                get(&stack, &format!("/users/{}/token", text(&file, "/row/user_id/S"))).await;
            assert_eq!(file["vended"]["status"], status, "{name}: {vended}");
            assert_eq!(file["vended"]["access_token"], vended["access_token"], "{name}");
            vends += u32::from(status == 200);
        }
        println!("golden grants of v0.2: {vends} vended, sealed anew, from the table {table:?}");
    }
}

#[tokio::test]
async fn sweeps_keep_golden_grants_alive() {
    let stack = golden_stack(None).await;
    meta_refreshes(&stack);
    for _ in 0..24 {
        stack.sweep().await.unwrap();
        stack.clock().advance(3 * DAY);
    }
    for (name, file) in all("grants") {
        let user_id = text(&file, "/row/user_id/S");
        let (status, vended) = get(&stack, &format!("/users/{user_id}/token")).await;
        let lives = file["lives"].as_bool().unwrap();
        assert_eq!(status == 200, lives, "{name}: {vended}");
        if lives {
            assert_eq!(vended["access_token"], REFRESHED, "{name}");
        }
    }
}

#[tokio::test]
async fn a_login_under_way_ends_and_the_deleted_stay_forgotten() {
    let stack = golden_stack(None).await;
    let (cookie, deletion) = (golden("cookies/open.json"), golden("removal/deletion.json"));
    let (user_id, code) = (text(&deletion, "/user_id"), text(&deletion, "/confirmation_code"));
    let page = Browser::new().get(&format!("{}/data-deletion/{code}", stack.urls().service_url)).await;
    assert_eq!(page.status, StatusCode::OK);
    assert!(page.body.contains("2099-12-31T23:57:00Z"), "{}", page.body);
    let come_back = async |cookie: &Value, user_id: &str| {
        stack.sandbox().unwrap().clear_faults();
        let exchanged = json!({"access_token": "THQ-golden-short", "user_id": user_id}).to_string();
        fail(&stack, SandboxCall::ExchangeCode, 1, respond(200, exchanged));
        meta_refreshes(&stack);
        let mut browser = Browser::new();
        browser.jar.insert(text(cookie, "/name").to_owned(), text(cookie, "/value").to_owned());
        let (service, state) = (&stack.urls().service_url, text(cookie, "/state"));
        browser.get(&format!("{service}/callback?code=THQ-golden-code&state={state}")).await
    };
    let refused = come_back(&golden("cookies/from-before-the-deletion.json"), user_id).await;
    assert!(refused.is_page("ended"), "{refused:?}");
    assert!(find_grant(&stack, user_id).await.is_none());
    let taken = come_back(&cookie, "17841400000000777").await;
    assert_eq!(taken.status, StatusCode::SEE_OTHER, "{taken:?}");
    // A message that Meta signed with the secret before is accepted, and repeats nothing.
    let repeated = post_signed(&stack, "/data-deletion", text(&deletion, "/signed_request")).await;
    let repeated: Value = serde_json::from_str(&repeated.body).unwrap();
    assert_eq!(repeated["confirmation_code"], code);
}

/// Ends are known under the keyring's names, and a sweep finishes what was cut off.
#[tokio::test]
async fn ends_are_known_and_a_deletion_goes_on() {
    let stack = golden_stack(None).await;
    let vault = stack.service().vault(stack.clock().now()).await.unwrap();
    for (name, is_disconnected) in [("ended", false), ("disconnected", true)] {
        let file = golden(&format!("removal/{name}.json"));
        let tombstone = vault.tombstone(&text(&file, "/user_id").parse().unwrap());
        assert_eq!(tombstone.as_str(), text(&file, "/row/pk/S"));
        let ends = stack.service().store().ends(&tombstone).await.unwrap();
        assert!(ends.ended_at.is_some() && ends.deleted_at.is_none(), "{name}: {ends:?}");
        assert_eq!(ends.disconnected_at.is_some(), is_disconnected, "{name}: {ends:?}");
    }
    let (kept, unfinished) = (golden("removal/kept.json"), golden("removal/unfinished.json"));
    let progress = async |file: &Value| {
        stack.service().find_deletion(text(file, "/confirmation_code")).await.unwrap().unwrap()
    };
    assert!(matches!(progress(&kept).await, Progress::Kept(_)));
    assert!(matches!(progress(&unfinished).await, Progress::Unfinished(_)));
    let report = stack.sweep().await.unwrap();
    assert_eq!(report.count(RefreshOutcome::DeletionFinished), 1);
    assert_eq!(progress(&unfinished).await, Progress::Done(stack.clock().now()));
    let traces = format!("{:?}", rows(&stack).await).matches(text(&unfinished, "/user_id")).count();
    assert_eq!(traces, 0);
}

fn write(path: &str, value: &Value) {
    let path = folder().join(path);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, serde_json::to_string_pretty(value).unwrap() + "\n").unwrap();
}

fn as_json(row: &Item) -> Value {
    let row =
        row.iter().map(|(name, value)| (name.clone(), serde_dynamo::AttributeValue::from(value.clone())));
    serde_json::to_value(row.collect::<BTreeMap<_, _>>()).unwrap()
}

/// People with an account each, named after what becomes of it.
struct People<'a> {
    stack: &'a Stack,
    ids: BTreeMap<String, String>,
}

impl People<'_> {
    fn id(&mut self, name: &str) -> String {
        if let Some(id) = self.ids.get(name) {
            return id.clone();
        }
        let id = (17_841_402_000_000_000 + self.ids.len() as u64).to_string();
        let account = NewAccount::new(format!("golden.{}", name.replace('-', "_")), &id);
        self.stack.sandbox().unwrap().add_account(account);
        self.ids.insert(name.to_owned(), id.clone());
        id
    }

    async fn connect(&mut self, names: &[&str]) {
        for name in names {
            let id = self.id(name);
            let reply = Browser::new().connect(self.stack, &id).await;
            assert_eq!(reply.status, StatusCode::SEE_OTHER, "{name}: {reply:?}");
        }
    }

    /// Connects in a session of the app's backend, and lets the user of the app claim the account
    /// if there is one.
    async fn connect_for(&mut self, name: &str, claims: bool) {
        let id = self.id(name);
        let (session, completion) = finished(self.stack, new("golden-user-7"), &id).await;
        if claims {
            let (service, now) = (self.stack.service(), self.stack.clock().now());
            service.complete_session(&session, &completion, "golden-user-7", now).await.unwrap();
        }
    }

    async fn refresh(&mut self, name: &str) {
        let (id, now) = (self.id(name).parse().unwrap(), self.stack.clock().now());
        // Its result is in the row.
        let _ = self.stack.service().refresh_now(&id, now).await;
    }
}

/// A cookie of a login that begins now.
async fn begin(stack: &Stack) -> Value {
    let mut browser = Browser::new();
    let started = browser.get(&format!("{}/authorize", stack.urls().service_url)).await;
    let state = parameter(&started.location(), "state");
    let (name, value) = browser.jar.into_iter().next().unwrap();
    let vault = stack.service().vault(stack.clock().now()).await.unwrap();
    let context = Context { purpose: Purpose::Flow, table: "", app_id: vault.app_id(), subject: "" };
    let sealed = vault.keyring.open(&context, &BASE64_URL_SAFE_NO_PAD.decode(&value).unwrap()).unwrap();
    let sealed: Value = serde_json::from_slice(&sealed).unwrap();
    json!({"name": name, "value": value, "state": state, "sealed": sealed})
}

/// Gives a secret another text, and waits until everybody has read it.
async fn put_secret(stack: &Stack, id: &str, value: &Value) {
    let client =
        threads_auth_store::aws::secrets_manager(&stack.service().config().aws, &crate::fixture::http());
    client.put_secret_value().secret_id(id).secret_string(value.to_string()).send().await.unwrap();
    stack.clock().advance(Duration::from_secs(301));
}

/// The keyring is upgraded, and then rotated. People connect before, between and after; one of them
/// inspects from then on.
async fn from_one_format_to_the_other(people: &mut People<'_>) {
    let (stack, clock, urls) = (people.stack, people.stack.clock(), people.stack.urls());
    let key = |text: &str| BASE64_STANDARD.encode(text);
    let keys = json!({
        "golden-1": key("THQ-golden-key-1-of-v0.2-no-secr"),
        "golden-2": key("THQ-golden-key-2-of-v0.2-no-secr"),
    });
    let tombstone = key("THQ-golden-tombstone-of-v0.2-non");
    put_secret(
        stack,
        &urls.keyring_secret_id,
        &json!({"writing": "golden-1", "keys": keys, "tombstone": tombstone}),
    )
    .await;

    people.connect(&["active-of-the-first-format", "active-refreshed-in-the-first-format"]).await;
    clock.advance(2 * DAY);
    people.refresh("active-refreshed-in-the-first-format").await;
    for change in [KeyringChange::Identify(&urls.grants_table), KeyringChange::Upgrade] {
        change_secret(stack, change).await;
        clock.advance(Duration::from_secs(301));
    }
    people.connect(&["active-of-an-older-key"]).await;
    change_secret(stack, KeyringChange::Write("golden-2")).await;
    clock.advance(Duration::from_secs(301));
    people.connect(&["inspector", "active-due"]).await;
    let inspector = people.id("inspector");
    let mut app: Value = serde_json::from_str(&secret_text(stack, &urls.app_secret_id).await).unwrap();
    app["inspector"] = json!(inspector);
    put_secret(stack, &urls.app_secret_id, &app).await;
}

/// The fates of accounts in the month before.
async fn come_to_all_ends(people: &mut People<'_>) {
    let (stack, clock, sandbox) = (people.stack, people.stack.clock(), people.stack.sandbox().unwrap());
    clock.advance(18 * DAY);
    people
        .connect(&[
            "active",
            "active-refreshed",
            "active-not-extended",
            "active-suspected",
            "active-vouched",
            "active-with-a-pending-consent",
            "needs-reauthorization-app-removed",
            "needs-reauthorization-password-changed",
            "needs-reauthorization-with-a-pending-consent",
            "needs-reauthorization-invalid",
            "revoked-by-app",
            "revoked-by-threads",
            "deleted",
            "deleted-in-part",
        ])
        .await;
    people.connect_for("claimed", true).await;
    sandbox.set_expires_in(ExpiresIn::Missing);
    fail(stack, SandboxCall::DebugToken, u32::MAX, FaultAction::Html);
    people.connect(&["active-of-which-nothing-is-told"]).await;
    sandbox.set_expires_in(ExpiresIn::Documented);
    let imported = people.id("active-imported");
    let import = AccessToken::new(sandbox.issue_long_lived(&imported)).unwrap();
    stack.service().import(Import::of(&import), clock.now()).await.unwrap();
    sandbox.clear_faults();

    clock.advance(28 * DAY);
    people.refresh("active-refreshed").await;
    let slow = people.id("active-not-extended");
    sandbox.set_extends(&slow, false);
    people.refresh("active-not-extended").await;
    for (name, change) in [
        ("needs-reauthorization-app-removed", Sandbox::revoke as fn(&_, &str) -> bool),
        ("needs-reauthorization-password-changed", Sandbox::change_password),
        ("needs-reauthorization-with-a-pending-consent", Sandbox::change_password),
        ("needs-reauthorization-invalid", Sandbox::invalidate),
    ] {
        assert!(change(sandbox, &people.id(name)));
        people.refresh(name).await;
    }
    // A second witness, hours later.
    clock.advance(Duration::from_hours(13));
    people.refresh("needs-reauthorization-invalid").await;
    clock.advance(Duration::from_hours(30));
    people.refresh("needs-reauthorization-invalid").await;
    let gone = people.id("revoked-by-app").parse().unwrap();
    stack.service().disconnect(&gone, clock.now()).await.unwrap();
    let signed = sandbox.signed_request(&people.id("revoked-by-threads"));
    post_signed(stack, "/deauthorize", &signed).await;
}

/// A request as far as it is carried out: to the sessions, or past a newer consent.
async fn wish(people: &mut People<'_>, name: &str, requested_at: Timestamp, fate: Fate) -> Value {
    let (stack, user_id) = (people.stack, people.id(name).parse().unwrap());
    let now = stack.clock().now();
    let vault = stack.service().vault(now).await.unwrap();
    let (tombstone, code) = (vault.tombstone(&user_id), vault.confirmation_code(&user_id, requested_at));
    let record = Key::deletion(&hash(&code));
    let deletion = Deletion { user_id: &user_id, tombstone: &tombstone, record: &record, requested_at };
    assert!(stack.service().store().delete(deletion, fate, now).await.unwrap());
    json!({"user_id": user_id, "confirmation_code": code, "row": {"pk": {"S": record.as_str()}}})
}

/// The attributes of each file's row, by the file's path.
fn forms(folder: &Path) -> BTreeMap<String, Vec<String>> {
    let mut forms = BTreeMap::new();
    for kind in ["cookies", "grants", "removal", "secrets"] {
        for file in std::fs::read_dir(folder.join(kind)).unwrap() {
            let file = file.unwrap();
            let value: Value = serde_json::from_slice(&std::fs::read(file.path()).unwrap()).unwrap();
            let row = value.get("row").unwrap_or(&value).as_object().unwrap();
            let name = file.file_name().into_string().unwrap();
            forms.insert(format!("{kind}/{name}"), row.keys().cloned().collect());
        }
    }
    forms
}

/// Writes the folder again, elsewhere: today's data has the frozen forms. Until the version is
/// released, the new folder takes the place of the old one where it has not. `tests/previous` names
/// an empty folder, for an earlier version to read.
#[tokio::test]
async fn what_is_written_today_has_the_frozen_forms() {
    let temporary = tempfile::tempdir().unwrap();
    let named = std::env::var_os("TEST_GOLDEN_FOLDER").map(PathBuf::from);
    let folder = named.unwrap_or_else(|| temporary.path().to_owned());
    WRITTEN.set(Some(folder.clone()));
    write_all().await;
    if forms(&folder) != forms(&frozen()) {
        let (_, frozen) = (temporary.keep(), frozen());
        panic!("other forms than those of {}: see {}", frozen.display(), folder.display());
    }
}

async fn write_all() {
    let at: Timestamp = AT.parse().unwrap();
    let start = at - SignedDuration::from_hours(24 * 50);
    let stack = Stack::start(options(start, &[])).await.unwrap();
    let (clock, sandbox, urls) = (stack.clock(), stack.sandbox().unwrap(), stack.urls());
    let mut people = People { stack: &stack, ids: BTreeMap::new() };
    from_one_format_to_the_other(&mut people).await;
    come_to_all_ends(&mut people).await;

    // The last minutes.
    let soon = at - SignedDuration::from_mins(4);
    clock.advance(soon.duration_since(clock.now()).unsigned_abs());
    let invalid = people.id("active-suspected");
    sandbox.invalidate(&invalid);
    people.refresh("active-suspected").await;
    let vouched = people.id("active-vouched");
    let doubted = BASE64_URL_SAFE_NO_PAD.decode(hash(&token(&stack, &vouched).await)).unwrap();
    let doubted = doubted.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"));
    let (status, _) = get(&stack, &format!("/users/{vouched}/token?refused={doubted}")).await;
    assert_eq!(status, 200);
    let before = begin(&stack).await;
    clock.advance(Duration::from_mins(1));
    let deleted = people.id("deleted");
    let signed_request = sandbox.signed_request(&deleted);
    let answer = delete_data(&stack, &deleted).await;
    clock.advance(Duration::from_mins(1));
    people.connect_for("unclaimed", false).await;
    let kept = wish(&mut people, "active", soon - SignedDuration::from_hours(24 * 40), Fate::Kept).await;
    let now = clock.now();
    let unfinished = wish(&mut people, "deleted-in-part", now, Fate::Gone(now)).await;
    fail(&stack, SandboxCall::ExchangeLongLived, u32::MAX, FaultAction::Html);
    people
        .connect(&[
            "active-with-a-pending-consent",
            "pending",
            "needs-reauthorization-with-a-pending-consent",
        ])
        .await;
    sandbox.clear_faults();
    // Another secret since: the one that signed is the one before.
    let mut app: Value = serde_json::from_str(&secret_text(&stack, &urls.app_secret_id).await).unwrap();
    let previous = json!({"app_secret": app["app_secret"], "until": at + SignedDuration::from_hours(23)});
    app["app_secret"] = json!("golden-app-secret-after-a-reset");
    app["previous"] = previous;
    clock.advance(at.duration_since(clock.now()).unsigned_abs());
    assert_eq!(clock.now(), at);
    let open = begin(&stack).await;

    write("stack.json", &json!({"app_id": app["app_id"], "at": AT, "grants_table": urls.grants_table}));
    write("secrets/app.json", &app);
    let keyring: Value = serde_json::from_str(&secret_text(&stack, &urls.keyring_secret_id).await).unwrap();
    write("secrets/keyring.json", &keyring);
    write("cookies/open.json", &open);
    write("cookies/from-before-the-deletion.json", &before);
    let deletion = json!({
        "user_id": deleted,
        "confirmation_code": answer["confirmation_code"],
        "signed_request": signed_request,
    });
    write_rows(&people, &deletion).await;
    write_ends(&mut people, [("unfinished", unfinished), ("kept", kept)]).await;
    write_what_readers_see().await;
}

/// Writes each row with what is sealed in it and how it is shown.
async fn write_rows(people: &People<'_>, deletion: &Value) {
    let stack = people.stack;
    let vault = stack.service().vault(stack.clock().now()).await.unwrap();
    let names: BTreeMap<_, _> = people.ids.iter().map(|(name, id)| (id.as_str(), name.as_str())).collect();
    for row in rows(stack).await {
        let pk = row["pk"].as_s().unwrap().clone();
        let code = deletion["confirmation_code"].as_str().unwrap();
        if pk == vault.tombstone(&deletion["user_id"].as_str().unwrap().parse().unwrap()).as_str() {
            write("removal/tombstone.json", &json!({"user_id": deletion["user_id"], "row": as_json(&row)}));
        } else if pk == Key::deletion(&hash(code)).as_str() {
            let mut file = deletion.clone();
            file["row"] = as_json(&row);
            write("removal/deletion.json", &file);
        }
        let Some(user_id) = pk.strip_prefix("user#") else { continue };
        let sealed: serde_json::Map<_, _> = PURPOSES
            .into_iter()
            .filter_map(|(attribute, purpose)| {
                let Some(AttributeValue::B(bytes)) = row.get(attribute) else { return None };
                let opened = vault.open(purpose, &user_id.parse().unwrap(), bytes.as_ref()).unwrap();
                Some((attribute.to_owned(), opened.expose().into()))
            })
            .collect();
        let (_, shown) = get(stack, &format!("/users/{user_id}")).await;
        let file = json!({"row": as_json(&row), "sealed": sealed, "shown": shown});
        write(&format!("grants/{}.json", names[user_id]), &file);
    }
}

/// Writes the rows of ends, and the records of deletions that are not simply done.
async fn write_ends(people: &mut People<'_>, records: [(&str, Value); 2]) {
    let stack = people.stack;
    let vault = stack.service().vault(stack.clock().now()).await.unwrap();
    let rows = rows(stack).await;
    let row = |pk: &str| as_json(rows.iter().find(|row| row["pk"].as_s().unwrap() == pk).unwrap());
    for (name, person) in [("ended", "revoked-by-threads"), ("disconnected", "revoked-by-app")] {
        let user_id = people.id(person);
        let file =
            json!({"user_id": user_id, "row": row(vault.tombstone(&user_id.parse().unwrap()).as_str())});
        write(&format!("removal/{name}.json"), &file);
    }
    for (name, mut file) in records {
        file["row"] = row(text(&file, "/row/pk/S"));
        write(&format!("removal/{name}.json"), &file);
    }
}

/// Adds to each account what is vended of it, and whether it lives on, on stacks that have the
/// fixtures.
async fn write_what_readers_see() {
    let reader = golden_stack(None).await;
    meta_refreshes(&reader);
    let mut files = all("grants");
    for file in files.values_mut() {
        let (status, vended) = get(&reader, &format!("/users/{}/token", text(file, "/row/user_id/S"))).await;
        file["vended"] = json!({"status": status, "access_token": vended["access_token"]});
    }
    let reader = golden_stack(None).await;
    meta_refreshes(&reader);
    for _ in 0..24 {
        reader.sweep().await.unwrap();
        reader.clock().advance(3 * DAY);
    }
    for (name, file) in &mut files {
        let (status, _) = get(&reader, &format!("/users/{}/token", text(file, "/row/user_id/S"))).await;
        file["lives"] = json!(status == 200);
        write(&format!("grants/{name}.json"), file);
    }
}
