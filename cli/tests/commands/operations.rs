//! `configure`, `keyring`, `sweep`, `restore` and `doctor` on a development stack.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::{
    AttributeDefinition, AttributeValue, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType,
};
use jiff::Timestamp;
use serde_json::{Value, json};
use threads_sandbox::{FaultAction, SandboxCall};

use crate::stack::Local;
use crate::support::{DAY, Ended, HOLD, Running, run, run_with, text};

const ADA: &str = "17841400000000001";
const BEN: &str = "17841400000000002";

/// The app of a development stack's sandbox.
const APP_ID: &str = "9876543210987654";
const APP_SECRET: &str = "sandbox-app-secret";

fn configure(local: &Local, app_id: &str, secret: &str, more: &[&str]) -> Ended {
    let arguments: Vec<_> =
        ["configure", "--app-id", app_id, "--app-secret", "-"].iter().chain(more).copied().collect();
    run_with(local.command(&arguments), &format!("{secret}\n"))
}

#[test]
fn an_app_is_configured_once_meta_has_confirmed_it() {
    let local = Local::new();
    let (app, keyring) =
        (local.stack.urls().app_secret_id.clone(), local.stack.urls().keyring_secret_id.clone());
    let before = (local.secret(&app), local.secret(&keyring));
    configure(&local, APP_ID, "another-secret", &[])
        .says(1, &["nothing was written", "Threads App secret"])
        .hides(&["another-secret"]);
    assert_eq!(
        configure(&local, APP_ID, "another-secret", &["--json"]).failure(1)["error"]["kind"],
        "configuration"
    );
    local.fault(SandboxCall::AppToken, 1, FaultAction::Html);
    configure(&local, APP_ID, APP_SECRET, &[]).expect(4);
    // Accounts are bound to their app.
    configure(&local, "1111111111111111", APP_SECRET, &[]).says(2, &["--replace-app", APP_ID]);
    configure(&local, "1111111111111111", APP_SECRET, &["--replace-app"]).says(1, &["nothing was written"]);
    configure(&local, "x", APP_SECRET, &[]).says(2, &["app id"]);
    run(local.command(&["configure", "--app-id", APP_ID])).says(2, &["--app-secret is missing"]);
    assert_eq!((local.secret(&app), local.secret(&keyring)), before);

    let same = configure(&local, APP_ID, APP_SECRET, &["--json"]);
    same.hides(&[APP_SECRET]);
    let json = same.json();
    assert_eq!(json["keyring_made"], false);
    let service = &local.stack.urls().service_url;
    assert_eq!(text(&json, "/redirect_callback_url"), format!("{service}/callback"));
    assert_eq!(text(&json, "/uninstall_callback_url"), format!("{service}/deauthorize"));
    assert_eq!(text(&json, "/delete_callback_url"), format!("{service}/data-deletion"));
    assert_eq!(local.secret(&keyring), before.1);

    // A malformed keyring may be in use, and stays.
    local.put_secret(&keyring, "{\"mine\":1}");
    configure(&local, APP_ID, APP_SECRET, &[]).says(1, &["left as it is"]).hides(&["mine"]);
    assert_eq!(local.secret(&keyring), "{\"mine\":1}");
}

#[test]
fn a_fresh_stack_gets_its_secrets() {
    let local = Local::new();
    let (client, urls) = (local.secrets(), local.stack.urls());
    let ids = [urls.app_secret_id.clone(), urls.keyring_secret_id.clone()];
    // As CloudFormation makes them: there, and without a value.
    for id in &ids {
        let delete = client.delete_secret().secret_id(id).force_delete_without_recovery(true);
        local.runtime.block_on(delete.send()).unwrap();
        local.runtime.block_on(client.create_secret().name(id).send()).unwrap();
    }
    local.run(&["doctor"]).expect(1);
    local.run(&["keyring", "show"]).says(1, &["no keyring yet", "`threads-auth configure`"]);
    let mut command = local.command(&["configure"]);
    command.env("THREADS_APP_ID", APP_ID).env("THREADS_APP_SECRET", APP_SECRET);
    let made = run(command);
    made.expect(0).hides(&[APP_SECRET]);
    assert!(
        made.stdout.contains("Redirect Callback URLs") && made.stdout.contains("The keyring was created"),
        "{made:?}"
    );
    let app: Value = serde_json::from_str(&local.secret(&ids[0])).unwrap();
    assert_eq!(app, json!({"app_id": APP_ID, "app_secret": APP_SECRET}));
    let keyring = local.secret(&ids[1]);
    configure(&local, APP_ID, APP_SECRET, &[]).expect(0);
    assert_eq!(local.secret(&ids[1]), keyring);
    local.account(ADA);
    local.run(&["doctor"]).expect(0);

    local
        .runtime
        .block_on(client.delete_secret().secret_id(&ids[0]).force_delete_without_recovery(true).send())
        .unwrap();
    configure(&local, APP_ID, APP_SECRET, &[])
        .says(1, &["did not find the secret", "ResourceNotFoundException"]);
}

/// A later version may keep more in the two secrets. A rewrite by this version removes nothing.
#[test]
fn what_a_later_version_keeps_in_a_secret_stays() {
    let local = Local::new();
    let urls = local.stack.urls();
    let ids = [urls.app_secret_id.clone(), urls.keyring_secret_id.clone()];
    let later = json!({"of": ["a", "later version"]});
    let secret = |id: &str| serde_json::from_str::<Value>(&local.secret(id)).unwrap();
    for id in &ids {
        let mut secret = secret(id);
        secret["later"] = later.clone();
        local.put_secret(id, &secret.to_string());
    }
    let old = text(&secret(&ids[1]), "/writing").to_owned();
    // The fields of this version are written, and the rest is as it was.
    let mut app = secret(&ids[0]);
    app["app_secret"] = json!("an-older-secret");
    local.put_secret(&ids[0], &app.to_string());
    let configured = configure(&local, APP_ID, APP_SECRET, &["--json"]).json();
    assert_eq!(configured["app_secret_written"], true);
    assert_eq!(secret(&ids[0])["app_secret"], APP_SECRET);
    let rotate = ["keyring", "rotate", "--wait", "0", "--key-id", "new"];
    local.run(&rotate).expect(0);
    assert_eq!(secret(&ids[1])["writing"], "new");
    let prune = ["keyring", "prune", &old, "--yes", "--unchanged-for", "0"];
    local.run(&prune).expect(0);
    assert_eq!(secret(&ids[1])["keys"].as_object().unwrap().len(), 1);
    for id in &ids {
        assert_eq!(secret(id)["later"], later, "{id}");
    }
    local.account(ADA);
}

#[test]
fn a_key_is_rotated_and_leaves_when_it_seals_nothing() {
    let local = Local::with(HashMap::from([("SECRETS_TTL_SECONDS".to_owned(), "1".to_owned())]));
    let id = local.stack.urls().keyring_secret_id.clone();
    let first: Value = serde_json::from_str(&local.secret(&id)).unwrap();
    let old = text(&first, "/writing").to_owned();
    local.account(ADA);
    local.account(BEN);
    let shown = local.run(&["keyring", "show", "--json"]).json();
    assert_eq!(shown, json!({"writing": old, "format": 1, "keys": {old.as_str(): 2}, "missing": []}));
    for secret in [text(&first, "/tombstone"), text(&first, &format!("/keys/{old}"))] {
        local.run(&["keyring", "show"]).expect(0).hides(&[secret]);
    }

    local.run(&["keyring", "prune", &old, "--yes"]).says(2, &["`keyring rotate` first"]);
    local.run(&["keyring", "prune", "nothing", "--yes"]).says(2, &["there is no key nothing"]);
    local.run(&["keyring", "rotate", "--key-id", &old]).says(2, &["sealing key already"]);
    local.run(&["keyring", "rotate", "--key-id", &"x".repeat(33)]).says(2, &["32 bytes"]);
    // It is stopped between its two steps, and resumed.
    let sealed = local.grant(ADA).unwrap().live().unwrap().token.clone();
    let mut running = Running::start(local.command(&["keyring", "rotate"]));
    running.line("Waiting 31 s");
    running.end_by("INT").expect(130);
    let between: Value = serde_json::from_str(&local.secret(&id)).unwrap();
    assert_eq!(text(&between, "/writing"), old);
    assert!(between["keys"]["2041-01-01"].is_string());
    let rotated = local.run(&["keyring", "rotate", "--key-id", "2041-01-01", "--wait", "0", "--json"]).json();
    let resealed = json!({"resealed": 2, "current": 0, "changing": 0, "unopened": 0});
    assert_eq!(rotated, json!({"writing": "2041-01-01", "before": old, "resealed": resealed}));
    let after: Value = serde_json::from_str(&local.secret(&id)).unwrap();
    assert_eq!(after["keys"][&old], first["keys"][&old]);
    assert_eq!(after["tombstone"], first["tombstone"]);
    // Another one on the same day has a name of its own.
    local.run(&["keyring", "rotate", "--wait", "0"]).says(0, &["The key 2041-01-01.2 was added"]);

    // A function that cannot read the keyring may seal with the old key for an hour, and work under
    // way for a quarter more.
    let early = local.run(&["keyring", "prune", &old, "--yes"]);
    early.says(4, &["may still seal with", "try again at"]);
    let times = early.stderr.split_whitespace().map(|word| word.trim_matches(|c| c == ',' || c == ':'));
    let times: Vec<Timestamp> = times.filter_map(|word| word.parse().ok()).collect();
    assert_eq!(times[1].duration_since(times[0]).as_secs(), 75 * 60, "{early:?}");
    let prune = ["keyring", "prune", &old, "--unchanged-for", "0"];
    // This value was sealed with it too, and then the account died.
    local.spoil(ADA, "token", AttributeValue::B(sealed.into()));
    let still = ["still seals 1 values", "`keyring reseal`"];
    local.run(&[&prune[..], &["--yes"]].concat()).says(4, &still);
    let resealed = local.run(&["keyring", "reseal", "--json"]).json();
    assert_eq!(resealed, json!({"resealed": 1, "current": 1, "changing": 0, "unopened": 0}));
    assert!(local.run(&["keyring", "reseal"]).stdout.contains("Current already"), "{resealed}");
    local.run(&prune).says(2, &["--yes"]);
    assert_eq!(local.run(&[&prune[..], &["--yes", "--json"]].concat()).json(), json!({"removed": old}));
    local.run(&["keyring", "prune", "2041-01-01", "--unchanged-for", "0", "--yes"]).expect(0);
    let last = local.run(&["keyring", "show", "--json"]).json();
    assert_eq!(last["keys"], json!({"2041-01-01.2": 2}));
    local.run(&["doctor"]).expect(0);

    // Somebody has taken away a key that is in use.
    local.put_secret(&id, &first.to_string());
    local.run(&["keyring", "show"]).expect(1);
    assert!(local.run(&["keyring", "show"]).stdout.contains("2041-01-01.2  2 values  MISSING"));
    let left = local.run(&["keyring", "reseal"]);
    left.says(1, &["user#17841400000000001: token is sealed with a key that is not in the keyring"]);
}

/// A person whose token is dead never comes back, and its key goes all the same.
#[test]
fn a_rotation_ends_though_an_account_is_dead() {
    let local = Local::new();
    let old = text(
        &serde_json::from_str(&local.secret(&local.stack.urls().keyring_secret_id)).unwrap(),
        "/writing",
    )
    .to_owned();
    local.account(ADA);
    local.account(BEN);
    local.stack.sandbox().unwrap().change_password(ADA);
    let rotated = local.run(&["keyring", "rotate", "--wait", "0", "--key-id", "new"]);
    assert!(rotated.expect(0).stdout.contains("Resealed"), "{rotated:?}");
    let prune = ["keyring", "prune", &old, "--yes", "--unchanged-for", "0"];
    local.run(&prune).expect(0);
    for _ in 0..10 {
        local.stack.clock().advance(41 * DAY);
        local.run(&["sweep"]).expect(0);
    }
    assert!(local.grant(BEN).unwrap().live().is_some());
    assert!(local.grant(ADA).unwrap().live().is_none());
    assert_eq!(local.run(&["keyring", "show", "--json"]).json()["missing"], json!([]));
}

#[test]
fn the_second_format_is_written_after_an_upgrade() {
    let local = Local::with(HashMap::from([("SECRETS_TTL_SECONDS".to_owned(), "1".to_owned())]));
    let (id, table) = (local.stack.urls().keyring_secret_id.clone(), local.stack.urls().grants_table.clone());
    let ring = || serde_json::from_str::<Value>(&local.secret(&id)).unwrap();
    let format = |user| local.grant(user).unwrap().live().unwrap().token[0];
    let first = ring();
    local.account(ADA);
    assert_eq!(local.run(&["keyring", "show", "--json"]).json()["format"], 1);
    assert!(local.run(&["doctor"]).stdout.contains("in format 1; `threads-auth keyring upgrade`"));
    // A stored table name is never replaced.
    let upgrade = ["keyring", "upgrade", "--wait", "0"];
    local.run(&[&upgrade[..], &["--table", "another"]].concat()).says(2, &["no token", "--table"]);
    assert_eq!(ring(), first);
    // It is stopped between its two steps: everything reads both by then, and nothing writes the
    // second.
    let mut running = Running::start(local.command(&["keyring", "upgrade"]));
    running.line("Waiting 31 s");
    running.end_by("INT").expect(130);
    let between = ring();
    assert_eq!((&between["format"], &between["table"]), (&Value::Null, &json!(table)));
    local.account(BEN);
    assert_eq!((format(ADA), format(BEN)), (1, 1));
    let done = local.run(&[&upgrade[..], &["--json"]].concat()).json();
    assert_eq!(done, json!({"format": 2, "upgraded": true}));
    let last = ring();
    assert_eq!((&last["format"], &last["id"]), (&json!(2), &between["id"]));
    for field in ["writing", "keys", "tombstone"] {
        assert_eq!(last[field], first[field], "{field}");
    }
    assert_eq!(local.run(&upgrade).stdout, "The second format is written already.\n");
    assert_eq!(ring(), last);
    // Old values open, and new ones have the second.
    local.stack.clock().advance(45 * DAY);
    local.run(&["accounts", "refresh", ADA]).expect(0);
    assert_eq!((format(ADA), format(BEN)), (2, 1));
    local.run(&["doctor"]).expect(0);
    local.run(&["keyring", "reseal"]).expect(0);
    assert_eq!(format(BEN), 2);
    // A rotation stays with it.
    local.run(&["keyring", "rotate", "--wait", "0"]).expect(0);
    assert_eq!((format(ADA), format(BEN)), (2, 2));
    assert_eq!(local.run(&["keyring", "show", "--json"]).json()["format"], 2);
    local.run(&["doctor"]).says(0, &[]);
}

/// Meta has given the app another secret. What it signed with the one before may still be on its
/// way.
#[test]
fn the_secret_before_is_accepted_for_a_day_unless_it_has_leaked() {
    let local = Local::new();
    let id = local.stack.urls().app_secret_id.clone();
    let app = || serde_json::from_str::<Value>(&local.secret(&id)).unwrap();
    let former =
        |secret: &str| local.put_secret(&id, &json!({"app_id": APP_ID, "app_secret": secret}).to_string());
    former("an-older-secret");
    let configured = configure(&local, APP_ID, APP_SECRET, &["--json"]);
    configured.hides(&["an-older-secret", APP_SECRET]);
    assert_eq!(configured.json()["previous_accepted_until"], "2041-01-02T00:00:00Z");
    let previous = json!({"app_secret": "an-older-secret", "until": "2041-01-02T00:00:00Z"});
    assert_eq!(app()["previous"], previous);
    let doctor = local.run(&["doctor"]);
    doctor.expect(0).hides(&["an-older-secret"]);
    assert!(doctor.stdout.contains("the previous one is accepted until 2041-01-02T00:00:00Z"), "{doctor:?}");
    // The same again neither prolongs it nor takes it away, before its end.
    local.stack.clock().advance(DAY / 2);
    configure(&local, APP_ID, APP_SECRET, &[]).expect(0);
    assert_eq!(app()["previous"], previous);
    local.stack.clock().advance(DAY / 2);
    assert!(!local.run(&["doctor"]).stdout.contains("previous"));
    configure(&local, APP_ID, APP_SECRET, &[]).expect(0);
    assert_eq!(app(), json!({"app_id": APP_ID, "app_secret": APP_SECRET}));
    // After a leak none is kept, whether that is known at once or later.
    former("an-older-secret");
    let told = configure(&local, APP_ID, APP_SECRET, &["--compromised", "--json"]).json();
    assert_eq!((&told["previous_accepted_until"], app().get("previous")), (&Value::Null, None));
    former("an-older-secret");
    configure(&local, APP_ID, APP_SECRET, &[]).expect(0);
    assert!(app()["previous"].is_object());
    configure(&local, APP_ID, APP_SECRET, &["--compromised"]).expect(0);
    assert_eq!(app().get("previous"), None);
    // Another app's secret signs nothing for this one.
    local
        .put_secret(&id, &json!({"app_id": "1111111111111111", "app_secret": "an-older-secret"}).to_string());
    configure(&local, APP_ID, APP_SECRET, &["--replace-app"]).expect(0);
    assert_eq!(app(), json!({"app_id": APP_ID, "app_secret": APP_SECRET}));
}

#[test]
fn a_sweep_is_made_now() {
    let local = Local::new();
    assert_eq!(local.run(&["sweep"]).stdout, "Nothing was due.\n");
    local.account(ADA);
    local.account(BEN);
    local.stack.clock().advance(45 * DAY);
    local.fault(SandboxCall::Refresh, 1, FaultAction::Html);
    let part = local.run(&["sweep", "--json"]);
    part.expect(4);
    let part: Value = serde_json::from_str(&part.stdout).unwrap();
    assert_eq!(part["outcomes"], json!({"deferred": 1, "refreshed": 1}));
    local.stack.clock().advance(DAY);
    let rest = local.run(&["sweep"]);
    rest.expect(0);
    assert!(rest.stdout.contains("1  refreshed"), "{rest:?}");
    local.stack.clock().advance(45 * DAY);
    local.spoil(ADA, "token", AttributeValue::B(b"nothing".to_vec().into()));
    local.run(&["sweep"]).expect(1);
    local.run(&["sweep", "--budget", "1"]).says(2, &["--budget"]);
    local.put_secret(&local.stack.urls().keyring_secret_id, "{}");
    local.run(&["sweep"]).says(1, &["the sweep has no secrets"]);
}

#[test]
fn a_sweep_that_is_stopped_says_what_is_left() {
    let local = Local::with(HashMap::from([("SWEEP_CONCURRENCY".to_owned(), "1".to_owned())]));
    local.account(ADA);
    local.account(BEN);
    local.stack.clock().advance(45 * DAY);
    let sandbox = local.stack.sandbox().unwrap();
    sandbox.clear_calls();
    local.fault(SandboxCall::Refresh, 1, HOLD);
    let mut running = Running::start(local.command(&["sweep"]));
    while !sandbox.faults().is_empty() {
        std::thread::yield_now();
    }
    running.signal("INT");
    running.line("Ending after the accounts that are under way");
    sandbox.clear_faults();
    let ended = running.end();
    ended.expect(130);
    assert!(ended.stdout.contains("1  refreshed") && ended.stdout.contains("1 are left"), "{ended:?}");
    assert_eq!(local.run(&["sweep", "--json"]).json()["outcomes"], json!({"refreshed": 1}));
}

/// Copies the table of grants to another, as a backup of it would be.
fn backup(local: &Local) {
    let (client, table) = (local.dynamodb(), local.stack.urls().grants_table.clone());
    let key = KeySchemaElement::builder().attribute_name("pk").key_type(KeyType::Hash).build().unwrap();
    let attribute = AttributeDefinition::builder()
        .attribute_name("pk")
        .attribute_type(ScalarAttributeType::S)
        .build()
        .unwrap();
    local.runtime.block_on(async {
        let create = client
            .create_table()
            .table_name("backup")
            .billing_mode(BillingMode::PayPerRequest)
            .attribute_definitions(attribute)
            .key_schema(key);
        create.send().await.unwrap();
        for row in client.scan().table_name(&table).send().await.unwrap().items() {
            client.put_item().table_name("backup").set_item(Some(row.clone())).send().await.unwrap();
        }
    });
}

#[test]
fn a_backup_comes_back_without_the_deleted() {
    let local = Local::new();
    local.account(ADA);
    local.account(BEN);
    backup(&local);
    let (client, table) = (local.dynamodb(), local.stack.urls().grants_table.clone());
    let gone = AttributeValue::S(format!("user#{ADA}"));
    let gone = client.delete_item().table_name(&table).key("pk", gone);
    local.runtime.block_on(gone.send()).unwrap();
    local.run(&["restore", "--from", "backup"]).says(2, &["--yes"]);
    local.run(&["restore", "--from", &table, "--yes"]).says(2, &["is the table in use"]);
    local.run(&["restore", "--from", "nothing", "--yes"]).says(1, &["nothing was not restored completely"]);
    assert!(local.grant(ADA).is_none());
    let report = local.run(&["restore", "--from", "backup", "--yes", "--json"]).json();
    let told = |present, replaced, spoilt| {
        json!({"restored": 2 - present - replaced - spoilt, "present": present, "replaced": replaced,
               "spoilt": spoilt, "deleted": 0, "unreadable": 0, "tombstones": 0, "left": []})
    };
    assert_eq!(report, told(1, 0, 0));
    assert!(local.grant(ADA).is_some());
    let again = local.run(&["restore", "--from", "backup", "--yes"]);
    assert!(again.stdout.contains("Present already") && again.stdout.contains("  2\n"), "{again:?}");

    // An unusable row is reported, with the next step, until it is replaced.
    local.spoil(ADA, "issued_at", AttributeValue::Bool(true));
    let named = local.run(&["restore", "--from", "backup", "--yes", "--json"]);
    named.says(1, &[ADA, "attribute issued_at is malformed", "--replace-unreadable"]);
    let named: Value = serde_json::from_str(&named.stdout).unwrap();
    assert_eq!((&named["present"], &named["spoilt"]), (&json!(1), &json!(1)));
    assert_eq!(text(&named, "/left/0/user_id"), ADA);
    assert!(text(&named, "/left/0/next").contains("--replace-unreadable"), "{named}");
    let replaces = ["restore", "--from", "backup", "--replace-unreadable", "--yes", "--json"];
    assert_eq!(local.run(&replaces).json(), told(1, 1, 0));
    assert!(local.grant(ADA).unwrap().live().is_some());
    assert_eq!(local.run(&replaces).json(), told(2, 0, 0));

    // Unusable here, and not in the backup.
    local.spoil(BEN, "token", AttributeValue::S("garbage".to_owned()));
    let gone = AttributeValue::S(format!("user#{BEN}"));
    let gone = client.delete_item().table_name("backup").key("pk", gone);
    local.runtime.block_on(gone.send()).unwrap();
    local.run(&replaces).says(1, &[BEN, "its person has to connect again"]);
}

#[test]
fn a_named_account_becomes_the_backups() {
    let local = Local::new();
    local.account(ADA);
    backup(&local);
    let user = ["restore", "--from", "backup", "--user"];
    let with = |more: &[&'static str]| local.run(&[&user[..], more].concat());
    with(&[ADA, "--replace-unreadable"]).says(2, &["cannot be used with"]);
    with(&["x", "--yes"]).says(2, &["--user"]);
    with(&[ADA, "--json"]).says(0, &["the backup has the same"]);
    with(&[BEN, "--yes"]).says(1, &[BEN, "the backup does not have it"]);
    let old = local.grant(ADA).unwrap().live().unwrap().issued_at;
    local.stack.clock().advance(2 * DAY);
    local.run(&["accounts", "refresh", ADA]).expect(0);
    let newer = local.grant(ADA).unwrap().live().unwrap().issued_at;
    // The loss is shown before the confirmation, and nothing happens without one.
    with(&[ADA]).says(2, &["This loses: the token of", &newer.to_string(), "--yes"]);
    assert_eq!(local.grant(ADA).unwrap().live().unwrap().issued_at, newer);
    let report = with(&[ADA, "--user", BEN, "--yes", "--json"]);
    report.expect(1);
    let report: Value = serde_json::from_str(&report.stdout).unwrap();
    assert_eq!(text(&report, "/replaced/0/user_id"), ADA);
    assert!(text(&report, "/replaced/0/lost/0").starts_with("the token of"), "{report}");
    assert_eq!(text(&report, "/left/0/user_id"), BEN);
    assert_eq!(local.grant(ADA).unwrap().live().unwrap().issued_at, old);
    // An account that has ended stays so.
    local.run(&["accounts", "disconnect", ADA, "--yes"]).expect(0);
    with(&[ADA, "--yes"]).says(1, &["it was disconnected since, and stays so"]);
    local.run(&["accounts", "delete", ADA, "--yes"]).expect(0);
    with(&[ADA, "--yes"]).says(1, &["had their data deleted since"]);
    assert!(local.grant(ADA).is_none());
}

fn level(examined: &Value, check: &str) -> String {
    let checks = examined["checks"].as_array().unwrap();
    let found = checks.iter().find(|finding| finding["check"] == check);
    text(found.unwrap_or_else(|| panic!("no {check} in {examined}")), "/level").to_owned()
}

fn examined(ended: &Ended) -> Value {
    serde_json::from_str(&ended.stdout).unwrap_or_else(|error| panic!("{error}: {ended:?}"))
}

#[test]
fn the_doctor_finds_what_is_wrong_and_says_what_to_do() {
    let local = Local::new();
    local.account(ADA);
    let well = local.run(&["doctor", "--json"]).json();
    assert_eq!(well["ok"], true);
    let checks = [
        "stack",
        "app secret",
        "keyring",
        "app id and secret",
        "scopes",
        "tokens",
        "sessions",
        "inspection",
        "drift",
        "pause",
        "public address",
        "redirect URI",
    ];
    for check in checks {
        assert_eq!(level(&well, check), "ok", "{well}");
    }
    assert_eq!(well["checks"].as_array().unwrap().len(), checks.len());

    // Each of Meta's numbers, in its own words.
    for (code, click) in [
        (1_349_168, "Redirect Callback URLs"),
        (1_349_245, "Website permissions"),
        (1_349_026, "not the plain \"App ID\""),
        (4_476_002, "not the plain \"App ID\""),
        (1_349_187, "has to be https"),
        (99, "error code is not known"),
    ] {
        let body = json!({"error_message": "Blocked", "error_code": code}).to_string();
        let respond = FaultAction::Respond { status: 400, body, headers: Vec::new() };
        local.fault(SandboxCall::Authorize, 1, respond);
        let ended = local.run(&["doctor"]);
        ended.expect(1);
        let said = format!("Blocked ({code})");
        assert!(ended.stdout.contains("FAIL  redirect URI") && ended.stdout.contains(&said), "{ended:?}");
        assert!(ended.stdout.contains(click), "{ended:?}");
    }
    local.fault(SandboxCall::Authorize, 1, FaultAction::Drop);
    let shy = local.run(&["doctor", "--json"]);
    assert_eq!(level(&examined(shy.expect(0)), "redirect URI"), "warn");
    let body = json!({"error_message": "TH|123|5ecret", "error_code": 99}).to_string();
    local.fault(SandboxCall::Authorize, 1, FaultAction::Respond { status: 400, body, headers: Vec::new() });
    let ended = local.run(&["doctor"]);
    ended.expect(1).hides(&["5ecret"]);
    let blocked = json!({"error": {"message": "API access blocked.", "code": 200}}).to_string();
    let blocked = FaultAction::Respond { status: 403, body: blocked, headers: Vec::new() };
    local.fault(SandboxCall::AppToken, 1, blocked);
    let ended = local.run(&["doctor", "--json"]);
    assert_eq!(level(&examined(ended.expect(1)), "app id and secret"), "fail");
    local.fault(SandboxCall::AppToken, 1, FaultAction::Html);
    let shy = local.run(&["doctor", "--json"]);
    assert_eq!(level(&examined(shy.expect(0)), "app id and secret"), "warn");

    local.spoil(ADA, "issued_at", AttributeValue::S("x".to_owned()));
    let odd = local.run(&["doctor"]);
    assert!(odd.expect(1).stdout.contains("FAIL  tokens: 1 rows are malformed"), "{odd:?}");
    local.account(BEN);
    local.spoil(BEN, "token", AttributeValue::B(b"nothing".to_vec().into()));
    let odd = local.run(&["doctor"]);
    assert!(odd.expect(1).stdout.contains("FAIL  tokens: 1 of 1 do not open"), "{odd:?}");

    let urls = local.stack.urls();
    local.put_secret(
        &urls.app_secret_id,
        &json!({"app_id": APP_ID, "app_secret": "another-secret"}).to_string(),
    );
    let wrong = local.run(&["doctor", "--json"]);
    wrong.hides(&["another-secret"]);
    assert_eq!(level(&examined(wrong.expect(1)), "app id and secret"), "fail");
    local.put_secret(&urls.app_secret_id, "{}");
    local.put_secret(&urls.keyring_secret_id, "{}");
    let wrong = local.run(&["doctor", "--json"]);
    let wrong = examined(wrong.expect(1));
    for (check, expected) in
        [("app secret", "fail"), ("keyring", "fail"), ("tokens", "warn"), ("redirect URI", "warn")]
    {
        assert_eq!(level(&wrong, check), expected, "{wrong}");
    }
}
