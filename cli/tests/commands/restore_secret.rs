//! `restore-secret`: a secret that was deleted, overwritten or lacks a key is restored without a
//! loss.

use serde_json::{Value, json};
use threads_auth_model::seal::Keyring;

use crate::stack::Local;
use crate::support::{Ended, text};

const ADA: &str = "17841400000000001";
const BEN: &str = "17841400000000002";
const CARA: &str = "17841400000000003";
const DORA: &str = "17841400000000004";

struct Stack {
    local: Local,
    keyring: String,
    app: String,
}

impl Stack {
    fn new() -> Self {
        let local = Local::new();
        let urls = local.stack.urls();
        let (keyring, app) = (urls.keyring_secret_id.clone(), urls.app_secret_id.clone());
        local.account(ADA);
        Self { local, keyring, app }
    }

    /// Overwrites the keyring, and lets the time pass until every function has read it.
    fn overwrite(&self, text: &str) {
        self.local.put_secret(&self.keyring, text);
        self.local.stack.clock().advance(std::time::Duration::from_mins(6));
    }

    /// Its answer, which shows no key of these keyrings.
    #[track_caller]
    fn restore(&self, arguments: &[&str], secrets: &[&str]) -> Ended {
        let ended = self.local.run(&[&["restore-secret"], arguments, &["--json"]].concat());
        for keyring in secrets {
            let keyring: Value = serde_json::from_str(keyring).unwrap();
            let keys = keyring["keys"].as_object().unwrap().values();
            let keys: Vec<_> = keys.chain([&keyring["tombstone"]]).map(|key| key.as_str().unwrap()).collect();
            ended.hides(&keys);
        }
        ended
    }

    fn ring(&self) -> Value {
        serde_json::from_str(&self.local.secret(&self.keyring)).unwrap()
    }

    fn missing(&self) -> Value {
        let shown = self.local.run(&["keyring", "show", "--json"]);
        serde_json::from_str::<Value>(&shown.stdout).unwrap()["missing"].clone()
    }
}

fn answer(ended: &Ended) -> Value {
    serde_json::from_str(&ended.stdout).unwrap_or_else(|error| panic!("{error}: {ended:?}"))
}

#[test]
fn a_lost_key_is_put_back_and_none_that_is_of_no_use() {
    let stack = Stack::new();
    let first = stack.local.secret(&stack.keyring);
    // A key that was pruned on purpose seals nothing: it does not come back.
    for id in ["pruned", "lost"] {
        stack.local.run(&["keyring", "rotate", "--wait", "0", "--key-id", id]).expect(0);
    }
    let second = stack.local.secret(&stack.keyring);
    stack.restore(&["show"], &[&first, &second]).expect(0);
    let nothing = stack.restore(&["keyring"], &[&first, &second]);
    assert_eq!(nothing.json()["put_back"], json!([]));
    stack.overwrite(&first);
    assert_eq!(stack.missing(), json!(["lost"]));

    let shown = answer(stack.restore(&["show"], &[&first, &second]).expect(1));
    let versions = shown["keyring"]["versions"].as_array().unwrap();
    let current = versions.iter().find(|one| one["labels"][0] == "AWSCURRENT").unwrap();
    assert_eq!((&current["opens"], &current["does_not_open"]), (&json!(0), &shown["values"]));
    assert!(versions.iter().any(|one| one["opens"] == shown["values"]), "{shown}");
    assert_eq!(shown["app"]["deleted"], false);
    let plain = stack.local.run(&["restore-secret", "show"]);
    assert!(plain.stdout.contains("[AWSCURRENT]") && plain.stdout.contains("opens 0, not"), "{plain:?}");

    stack.restore(&["keyring"], &[&first, &second]).says(2, &["--yes"]);
    assert_eq!(stack.local.secret(&stack.keyring), first);
    let done = stack.restore(&["keyring", "--yes"], &[&first, &second]);
    assert_eq!((&done.json()["put_back"], &done.json()["does_not_open"]), (&json!(["lost"]), &json!(0)));
    assert_eq!(stack.missing(), json!([]));
    let (ring, first) = (stack.ring(), serde_json::from_str::<Value>(&first).unwrap());
    assert_eq!(ring["writing"], first["writing"]);
    assert_eq!(ring["keys"].as_object().unwrap().len(), 2);
}

#[test]
fn a_keyring_in_place_of_which_another_was_made_comes_back_with_the_keys_of_both() {
    let stack = Stack::new();
    stack.local.account(CARA);
    let first = stack.local.secret(&stack.keyring);
    stack.overwrite("{}");
    // No malformed value is kept.
    let shown = answer(stack.restore(&["show"], &[&first]).expect(1));
    assert_eq!(text(&shown, "/keyring/versions/0/why"), "is not a keyring");
    let other = Keyring::generate("other").unwrap();
    stack.overwrite(&other);
    stack.local.account(BEN);
    stack.local.account(DORA);
    stack.local.run(&["accounts", "delete", DORA, "--yes"]).expect(0);
    let done = stack.restore(&["keyring", "--yes"], &[&first, &other]);
    assert_eq!(done.json()["does_not_open"], 0, "{done:?}");
    // The entries under the other keyring's names are reported.
    assert_eq!(done.json()["deletions_forgotten"], 1, "{done:?}");
    done.says(0, &["They would be forgotten", "accounts delete"]);
    let (ring, first) = (stack.ring(), serde_json::from_str::<Value>(&first).unwrap());
    // The deleted are named as they were.
    assert_eq!(ring["tombstone"], first["tombstone"]);
    assert_eq!((&ring["writing"], ring["keys"].as_object().unwrap().len()), (&json!("other"), 2));
    assert_eq!(stack.missing(), json!([]));
}

#[test]
fn a_key_gives_way_to_another_of_its_id_only_if_it_opens_nothing() {
    let stack = Stack::new();
    let first = stack.local.secret(&stack.keyring);
    let id = text(&serde_json::from_str(&first).unwrap(), "/writing").to_owned();
    let other = Keyring::generate(&id).unwrap();
    stack.overwrite(&other);
    let done = stack.restore(&["keyring", "--yes"], &[&first, &other]);
    assert_eq!(done.json()["does_not_open"], 0, "{done:?}");
    assert_eq!(stack.ring()["keys"][&id], serde_json::from_str::<Value>(&first).unwrap()["keys"][&id]);

    stack.overwrite(&other);
    stack.local.account(BEN);
    let refused = stack.restore(&["keyring", "--yes"], &[&first, &other]);
    let refused = answer(refused.says(1, &["another key of the same id"]));
    assert_eq!((&refused["put_back"], &refused["does_not_open"]), (&json!([]), &json!(1)));
    assert_eq!(stack.local.secret(&stack.keyring), *other);
}

#[test]
fn a_deleted_secret_is_not_deleted_any_more() {
    let stack = Stack::new();
    let (first, app) = (stack.local.secret(&stack.keyring), stack.local.secret(&stack.app));
    for id in [&stack.keyring, &stack.app] {
        let delete = stack.local.secrets();
        stack.local.runtime.block_on(delete.delete_secret().secret_id(id).send()).unwrap();
    }
    let shown = answer(stack.restore(&["show"], &[&first]).expect(1));
    assert_eq!((&shown["keyring"]["deleted"], &shown["app"]["deleted"]), (&json!(true), &json!(true)));
    stack.restore(&["app"], &[]).says(2, &["--yes"]);
    // Tokens are bound to the app.
    stack.restore(&["keyring", "--yes"], &[&first]).says(1, &["restore-secret app"]);
    let back = stack.restore(&["app", "--yes"], &[&first]).json();
    assert_eq!((&back["undeleted"], &back["version"]), (&json!(true), &Value::Null));
    let back = stack.restore(&["keyring", "--yes"], &[&first]).json();
    assert_eq!((&back["put_back"], &back["does_not_open"]), (&json!([]), &json!(0)));
    assert_eq!((stack.local.secret(&stack.keyring), stack.local.secret(&stack.app)), (first, app));
    stack.restore(&["show"], &[]).expect(0);
}

#[test]
fn the_secret_of_the_app_becomes_the_one_before_if_meta_takes_it() {
    let stack = Stack::new();
    let good = stack.local.secret(&stack.app);
    let with = |name: &str, value: &str| {
        let mut secret: Value = serde_json::from_str(&good).unwrap();
        secret[name] = json!(value);
        secret.to_string()
    };
    let wrong = with("app_secret", "another-secret");
    stack.local.put_secret(&stack.app, &wrong);
    stack.restore(&["app"], &[]).says(2, &["--yes"]);
    assert_eq!(stack.local.secret(&stack.app), wrong);
    let done = stack.restore(&["app", "--yes"], &[]);
    done.hides(&["another-secret", "sandbox-app-secret"]);
    assert_eq!(done.json()["app_id"], serde_json::from_str::<Value>(&good).unwrap()["app_id"]);
    assert_eq!(stack.local.secret(&stack.app), good);
    // Now the wrong one is the one before, and Meta does not take it.
    stack.restore(&["app", "--yes"], &[]).says(1, &["the current version stays"]);
    // One of another app opens no token.
    stack.local.put_secret(&stack.app, &with("app_id", "1111111111111111"));
    stack.local.put_secret(&stack.app, &good);
    let refused = stack.restore(&["app", "--yes"], &[]);
    refused.says(2, &["fewer for 1111111111111111"]);
    stack.restore(&["app", "--yes", "--version", "none"], &[]).says(2, &["no such version"]);
    let current = answer(&stack.restore(&["show"], &[]));
    let versions = current["app"]["versions"].as_array().unwrap();
    let current = versions.iter().find(|one| one["labels"][0] == "AWSCURRENT").unwrap();
    stack
        .restore(&["app", "--yes", "--version", text(current, "/version")], &[])
        .says(2, &["current one already"]);
    assert_eq!(stack.local.secret(&stack.app), good);
}

#[test]
fn the_secret_of_another_app_does_not_come_back_for_one_that_makes_no_sense() {
    let stack = Stack::new();
    let good = stack.local.secret(&stack.app);
    let mut other: Value = serde_json::from_str(&good).unwrap();
    other["app_id"] = json!("1111111111111111");
    stack.local.put_secret(&stack.app, &other.to_string());
    stack.local.put_secret(&stack.app, "{}");
    // The present one opens nothing; the first of all does, and by a keyring of before.
    let keyring = stack.local.secret(&stack.keyring);
    stack.overwrite("{}");
    let refused = stack.restore(&["app", "--yes"], &[&keyring]);
    refused.says(2, &["fewer for 1111111111111111", "the current version stays"]);
    let shown = answer(&stack.restore(&["show"], &[&keyring]));
    let versions = shown["app"]["versions"].as_array().unwrap();
    let first = versions.iter().find(|one| one["labels"] == json!([])).unwrap();
    let done = stack.restore(&["app", "--yes", "--version", text(first, "/version")], &[&keyring]);
    assert_eq!(done.json()["version"], first["version"]);
    assert_eq!(stack.local.secret(&stack.app), good);

    // Without sealed values the app is unknown.
    stack.local.put_secret(&stack.keyring, &keyring);
    stack.local.stack.clock().advance(std::time::Duration::from_mins(6));
    stack.local.run(&["accounts", "delete", ADA, "--yes"]).expect(0);
    stack.local.put_secret(&stack.app, &other.to_string());
    stack.restore(&["app", "--yes"], &[&keyring]).says(2, &["it is unknown which app", "--replace-app"]);
}

#[test]
fn an_app_of_which_nothing_opens_does_not_come_back() {
    let stack = Stack::new();
    let keyring = stack.local.secret(&stack.keyring);
    let good = stack.local.secret(&stack.app);
    let other_app = good.replace("\"app_id\":\"", "\"app_id\":\"9");
    assert_ne!(good, other_app);
    // All that the secrets have held is of another app.
    let client = stack.local.secrets();
    let made_anew = async {
        client
            .delete_secret()
            .secret_id(&stack.app)
            .force_delete_without_recovery(true)
            .send()
            .await
            .unwrap();
        client.create_secret().name(&stack.app).secret_string(&other_app).send().await.unwrap();
    };
    stack.local.runtime.block_on(made_anew);
    stack.local.put_secret(&stack.app, "{}");
    let refused = stack.restore(&["app", "--yes"], &[&keyring]);
    refused.says(2, &["none of 1 tokens opens", "it is unknown which app"]);
    assert_eq!(stack.local.secret(&stack.app), "{}");
}

#[test]
fn a_former_version_that_makes_no_sense_is_passed_over() {
    let stack = Stack::new();
    stack.restore(&["app", "--yes"], &[]).says(2, &["no version before the current one", "configure"]);
    let good = stack.local.secret(&stack.app);
    stack.local.put_secret(&stack.app, "{}");
    let wrong = good.replace("sandbox-app-secret", "another-secret");
    stack.local.put_secret(&stack.app, &wrong);
    let done = stack.restore(&["app", "--yes"], &[]);
    done.says(0, &["does not hold an app's id and secret, and is skipped"]).hides(&["another-secret"]);
    assert_eq!(stack.local.secret(&stack.app), good);
}

#[test]
fn an_error_after_a_secret_came_back_says_that_it_did() {
    let stack = Stack::new();
    let good = stack.local.secret(&stack.app);
    stack.local.put_secret(&stack.app, &good.replace("sandbox-app-secret", "another-secret"));
    stack.local.put_secret(&stack.app, "{}");
    let delete = |id: &String| {
        let client = stack.local.secrets();
        stack.local.runtime.block_on(client.delete_secret().secret_id(id).send()).unwrap();
    };
    delete(&stack.app);
    let refused = stack.restore(&["app", "--yes"], &[]);
    refused.says(1, &["was cancelled, but the rest was not done", "Meta does not accept"]);
    let failure = answer(&refused);
    assert_eq!((&failure["undeleted"], refused.stderr.contains("nothing was")), (&json!(true), false));
    assert_eq!(text(&failure, "/error/call"), "app_token", "{failure}");
    // Only completed steps are reported.
    let refused = stack.restore(&["app", "--yes"], &[]);
    assert_eq!(answer(refused.says(1, &["Meta does not accept"])).get("undeleted"), None);
    delete(&stack.keyring);
    let refused = answer(stack.restore(&["keyring", "--yes"], &[]).says(1, &["restore-secret app"]));
    assert_eq!(refused["undeleted"], true);
}
