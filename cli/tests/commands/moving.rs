//! Moving accounts in from Nango, Postiz or a table of one's own, and out again.

use std::collections::HashMap;

use devstack::{LiveApp, Stack, StackOptions, Threads};
use serde_json::{Value, json};
use threads_sandbox::{FaultAction, SandboxCall};

use crate::stack::Local;
use crate::support::{DAY, text};

const ADA: &str = "17841405793187219";
const BEN: &str = "17841400000000002";
const EVE: &str = "17841400000000003";

fn reference(local: &Local, user_id: &str) -> Option<String> {
    local.grant(user_id).unwrap().claim.owner().map(|owner| owner.reference.clone())
}

fn counts(json: &Value) -> [Option<u64>; 4] {
    ["imported", "present", "rejected", "failed"].map(|count| json[count].as_u64())
}

/// The lines that were not taken over, each with its reason.
fn reasons(local: &Local, file: &str) -> Vec<(u64, String)> {
    let line = |line: &str| {
        let line: Value = serde_json::from_str(line).unwrap();
        (line["line"].as_u64().unwrap(), text(&line, "/reason").to_owned())
    };
    let mut reasons: Vec<_> = local.read(file).lines().map(line).collect();
    reasons.sort();
    reasons
}

/// An answer of Nango's `GET /connections/{id}`, as its formatters/connection.ts makes it.
fn nango(id: &str, provider: &str, credentials: &Value, tags: &Value) -> Value {
    json!({
        "id": 1, "connection_id": id, "provider_config_key": "threads-prod", "provider": provider,
        "errors": [], "end_user": null, "tags": tags, "metadata": null, "connection_config": {},
        "webhook_url_override": null, "created_at": "2040-12-01T00:00:00.000+00:00",
        "updated_at": "2040-12-01T00:00:00.000+00:00", "last_fetched_at": null, "credentials": credentials,
    })
}

#[test]
fn connections_of_nango_are_taken_as_its_api_answers_them() {
    let local = Local::new();
    let (ada, ben, eve) = (local.token(ADA), local.token(BEN), local.token(EVE));
    let oauth = |token: &str, user_id: Value| {
        json!({
            "type": "OAUTH2", "access_token": token, "expires_at": "2041-03-01T23:59:04.000Z",
            "raw": {"access_token": token, "token_type": "bearer", "expires_in": 5_183_944, "user_id": user_id},
        })
    };
    let mut before_tags = nango("3", "threads", &oauth(&eve, Value::Null), &json!({}));
    before_tags["end_user"] = json!({"id": "user-3", "email": null, "organization": null});
    let lines = [
        // JavaScript made another number of the id.
        nango(
            "1",
            "threads",
            &oauth(&ada, json!(17_841_405_793_187_220_u64)),
            &json!({"end_user_id": "user-1"}),
        ),
        nango("2", "threads", &oauth(&ben, Value::Null), &json!({})),
        before_tags,
        nango("4", "slack", &oauth("xoxb-CANARY", Value::Null), &json!({"end_user_id": "user-4"})),
        // For a key that may not read credentials.
        nango("5", "threads", &json!({}), &json!({})),
        nango("6", "threads", &oauth(&ada, Value::Null), &json!({"end_user_id": "user-6"})),
    ];
    // As the guide writes them: each answer on a line, and a line without one.
    local.write("nango.jsonl", lines.map(|line| format!("{line}\n")).concat() + "\n");
    let ended = local.run(&["accounts", "import", "nango.jsonl", "--concurrency", "1", "--json"]);
    ended.expect(1).hides(&[&ada, "CANARY"]);
    let json: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(counts(&json), [Some(3), Some(0), Some(3), Some(0)], "{json}");
    assert_eq!(reference(&local, ADA).as_deref(), Some("user-1"));
    assert_eq!(reference(&local, BEN), None);
    assert_eq!(reference(&local, EVE).as_deref(), Some("user-3"));
    let told = reasons(&local, "nango.jsonl.rejected");
    let expected = [(4, "not one of Threads"), (5, "no access_token"), (6, "for another reference")];
    for ((line, reason), (number, part)) in told.iter().zip(expected) {
        assert!(*line == number && reason.contains(part), "{told:?}");
    }
    // Another provider's token is kept as it came, so that no later run shows it to Meta.
    let again = local.run(&["accounts", "import", "nango.jsonl.rejected", "--json"]);
    let json: Value = serde_json::from_str(&again.expect(1).stdout).unwrap();
    assert_eq!(counts(&json), [Some(0), Some(0), Some(3), Some(0)], "{json}");
    assert!(local.read("nango.jsonl.rejected").contains("CANARY"));
}

#[test]
fn a_table_of_ones_own_brings_times_and_references() {
    let local = Local::new();
    let [ada, ben, eve] = [ADA, BEN, EVE].map(|user_id| local.token(user_id));
    // The forms in which PostgreSQL, SQLite and people write times. Meta reports none, so these
    // count.
    local.fault(SandboxCall::DebugToken, 1_000, FaultAction::Html);
    let long = "x".repeat(129);
    local.write(
        "own.csv",
        format!(
            "threads_id,access_token,expires_at,reference\n\
             {ADA},{ada},2041-02-27 00:00:00+00,user-1\n\
             {BEN},{ben},2041-02-27 01:30:00.123456+01:30,\"user, 2\"\n\
             {EVE},{eve},2041-02-27 00:00:00,\n\
             {EVE},{eve},,{long}\n\
             {EVE},{eve},{},\n",
            "2041-02-27T00:00:00Z".parse::<jiff::Timestamp>().unwrap().as_second()
        ),
    );
    let ended = local.run(&["accounts", "import", "own.csv", "--concurrency", "1", "--json"]);
    let json: Value = serde_json::from_str(&ended.expect(1).stdout).unwrap();
    assert_eq!(counts(&json), [Some(3), Some(0), Some(2), Some(0)], "{json}");
    for user_id in [ADA, BEN, EVE] {
        let ends = local.grant(user_id).unwrap().live().unwrap().expires_at;
        assert_eq!(ends.to_string(), "2041-02-27T00:00:00Z", "{user_id}");
    }
    assert_eq!(reference(&local, BEN).as_deref(), Some("user, 2"));
    let told = reasons(&local, "own.csv.rejected");
    assert!(told[0].0 == 4 && told[0].1.contains("expires_at is neither"), "{told:?}");
    assert!(told[1].0 == 5 && told[1].1.contains("1 to 128 bytes"), "{told:?}");

    // A second import with the missing references. The stored ones take precedence.
    let more = format!("token,reference\n{ada},user-1\n{ben},somebody else\n{eve},user-3\n");
    local.write("more.csv", more);
    let ended = local.run(&["accounts", "import", "more.csv", "--json"]);
    let json: Value = serde_json::from_str(&ended.expect(1).stdout).unwrap();
    assert_eq!(counts(&json), [Some(0), Some(2), Some(1), Some(0)], "{json}");
    let references = [ADA, BEN, EVE].map(|user_id| reference(&local, user_id).unwrap());
    assert_eq!(references, ["user-1", "user, 2", "user-3"]);
    // A disconnected account has no owner.
    local.run(&["accounts", "disconnect", EVE, "--yes"]).expect(0);
    local.write("more.csv", format!("token,reference\n{eve},user-9\n"));
    local.run(&["accounts", "import", "more.csv"]).expect(0);
    assert_eq!(reference(&local, EVE).as_deref(), Some("user-3"));
}

/// Another stack of the same app.
fn beside(local: &Local) -> Local {
    let now = local.stack.clock().now();
    let app = local.runtime.block_on(local.stack.service().secrets().app(now)).unwrap();
    let variables = HashMap::from([
        ("THREADS_GRAPH_URL".to_owned(), local.stack.urls().threads_url.clone()),
        ("REQUEST_SECONDS".to_owned(), "300".to_owned()),
    ]);
    let options = StackOptions {
        clock: Some(local.stack.clock().clone()),
        threads: Threads::Live(LiveApp { credentials: app.credentials.clone() }),
        variables,
        ..StackOptions::default()
    };
    Local::of(|runtime| runtime.block_on(Stack::start(options)).unwrap())
}

#[test]
fn what_is_exported_with_tokens_is_imported_elsewhere() {
    let local = Local::new();
    let [ada, ben, eve] = [ADA, BEN, EVE].map(|user_id| local.token(user_id));
    local.write("in.csv", format!("token,reference\n{ada},user-1\n{ben},\n{eve},user-3\n"));
    local.run(&["accounts", "import", "in.csv"]).expect(0);
    local.stack.clock().advance(3 * DAY);
    local.run(&["accounts", "refresh", ADA]).expect(0);
    local.run(&["accounts", "disconnect", EVE, "--yes"]).expect(0);
    for (format, file) in [("jsonl", "out.jsonl"), ("csv", "out.csv")] {
        let export = ["accounts", "export", "--with-tokens", "--yes-with-tokens"];
        local.run(&[&export[..], &["--format", format, "--output", file]].concat()).expect(0);
        let other = beside(&local);
        other.write(file, local.read(file));
        let ended = other.run(&["accounts", "import", file, "--json"]);
        // A disconnected account has no token to take along.
        let json: Value = serde_json::from_str(&ended.expect(1).stdout).unwrap();
        assert_eq!(counts(&json), [Some(2), Some(0), Some(1), Some(0)], "{json}");
        assert!(reasons(&other, &format!("{file}.rejected"))[0].1.contains("no access_token"));
        assert_eq!((reference(&other, ADA).as_deref(), reference(&other, BEN)), (Some("user-1"), None));
        for user_id in [ADA, BEN] {
            let [here, there] = [&local, &other].map(|stack| stack.grant(user_id).unwrap());
            let life = |grant: &threads_auth_model::Grant| {
                let live = grant.live().unwrap();
                (live.issued_at, live.expires_at)
            };
            assert_eq!((here.scopes.clone(), life(&here)), (there.scopes.clone(), life(&there)), "{user_id}");
        }
    }
}
