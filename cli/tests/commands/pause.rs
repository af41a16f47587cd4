//! `pause` and `resume`, and the output of other commands meanwhile.

use serde_json::{Value, json};
use threads_sandbox::{FaultAction, SandboxCall};

use crate::stack::Local;
use crate::support::DAY;

const ADA: &str = "17841400000000001";

fn check(local: &Local, name: &str) -> Value {
    let examined = local.run(&["doctor", "--json"]).json();
    let checks = examined["checks"].as_array().unwrap();
    checks.iter().find(|finding| finding["check"] == name).unwrap_or_else(|| panic!("{examined}")).clone()
}

#[test]
fn sweeps_stop_until_they_are_resumed() {
    let local = Local::new();
    local.account(ADA);
    local.stack.clock().advance(45 * DAY);
    assert_eq!(check(&local, "pause")["level"], "ok");
    assert_eq!(local.run(&["pause", "--json"]).json(), json!({"paused": "sweeps"}));
    let swept = local.run(&["sweep"]);
    swept.expect(4);
    assert!(swept.stdout.contains("Sweeps are paused") && swept.stdout.contains("resume"), "{swept:?}");
    assert!(swept.stdout.contains("1 are left for the next sweep"), "{swept:?}");
    let report = local.run(&["sweep", "--json"]);
    let report: Value = serde_json::from_str(&report.expect(4).stdout).unwrap();
    assert_eq!((&report["stopped"], &report["paused"]), (&json!("paused"), &json!("sweeps")));
    assert_eq!(report["outcomes"], json!({}));
    let found = check(&local, "pause");
    assert_eq!(found["level"], "warn");
    assert!(found["next"].as_str().unwrap().contains("threads-auth resume"), "{found}");

    let resumed = local.run(&["resume"]);
    assert!(resumed.expect(0).stdout.contains("Nothing of the development stack"), "{resumed:?}");
    assert_eq!(local.run(&["resume", "--json"]).json(), json!({"paused": null}));
    assert_eq!(check(&local, "pause")["level"], "ok");
    assert_eq!(local.run(&["sweep", "--json"]).json()["outcomes"], json!({"refreshed": 1}));
}

#[test]
fn verdicts_alone_can_be_paused() {
    let local = Local::new();
    local.account(ADA);
    local.stack.clock().advance(45 * DAY);
    let paused = local.run(&["pause", "--verdicts"]);
    assert!(paused.expect(0).stdout.contains("The verdicts of the development stack"), "{paused:?}");
    assert!(check(&local, "pause")["detail"].as_str().unwrap().contains("verdicts are paused"));
    let removed = FaultAction::GraphError { code: 190, subcode: Some(458), is_transient: false, status: 400 };
    local.fault(SandboxCall::Refresh, 1, removed.clone());
    let swept = local.run(&["sweep"]);
    swept.expect(4);
    assert!(
        swept.stdout.contains("1  suspected") && swept.stdout.contains("Verdicts are paused"),
        "{swept:?}"
    );
    assert_eq!(local.grant(ADA).unwrap().status().as_str(), "active");
    local.run(&["resume"]).expect(0);
    // The next look finds it well.
    local.stack.clock().advance(DAY);
    assert_eq!(local.run(&["sweep", "--json"]).json()["outcomes"], json!({"refreshed": 1}));
}

/// Sweeps stop acting on verdicts by themselves when Meta refuses nearly everybody.
#[test]
fn a_wave_of_refusals_is_told() {
    let local = Local::new();
    let line = |n| format!("{{\"token\":\"{}\"}}\n", local.token(&format!("178414000000000{n:02}")));
    local.write("all.jsonl", (1..=10).map(line).collect::<String>());
    local.run(&["accounts", "import", "all.jsonl"]).expect(0);
    local.stack.clock().advance(45 * DAY);
    let removed = FaultAction::GraphError { code: 190, subcode: Some(458), is_transient: false, status: 400 };
    local.fault(SandboxCall::Refresh, 10, removed);
    let swept = local.run(&["sweep"]);
    swept.expect(4);
    assert!(swept.stdout.contains("10  suspected"), "{swept:?}");
    assert!(swept.stdout.contains("Meta refused most tokens in this sweep"), "{swept:?}");
}

/// Reports that nothing has changed if nothing can be written.
#[test]
fn a_pause_that_is_not_written_is_told() {
    let local = Local::new();
    let gone = local.dynamodb().delete_table().table_name(&local.stack.urls().grants_table);
    local.runtime.block_on(gone.send()).unwrap();
    for command in ["pause", "resume"] {
        local.run(&[command]).says(1, &["is unchanged", "ResourceNotFoundException"]);
    }
}
