//! `configure --inspector`, the findings of `doctor` on inspections, and on a Meta that has moved.

use serde_json::{Value, json};
use threads_sandbox::{FaultAction, Inspection, SandboxCall};

use crate::stack::Local;
use crate::support::{DAY, REDIRECT_URI, World, run, run_with, text};

const ADA: &str = "17841400000000001";
const BEN: &str = "17841400000000002";

fn secret(local: &Local) -> Value {
    serde_json::from_str(&local.secret(&local.stack.urls().app_secret_id)).unwrap()
}

fn checks(local: &Local) -> Vec<Value> {
    let examined: Value = serde_json::from_str(&local.run(&["doctor", "--json"]).stdout).unwrap();
    examined["checks"].as_array().unwrap().clone()
}

fn check(local: &Local, name: &str) -> (String, String) {
    let checks = checks(local);
    let found = checks.iter().find(|finding| finding["check"] == name);
    let found = found.unwrap_or_else(|| panic!("no {name}: {checks:?}"));
    (found["level"].as_str().unwrap().to_owned(), format!("{} {}", found["detail"], found["next"]))
}

#[test]
fn a_connected_account_becomes_the_inspector() {
    let local = Local::new();
    local.account(ADA);
    let before = secret(&local);
    assert!(before.get("inspector").is_none());
    for wrong in ["me", "", "-1"] {
        local.run(&["configure", "--inspector", wrong]).expect(2);
    }
    local
        .run(&["configure", "--inspector", BEN])
        .says(2, &["not a connected account", "connect it first", "nothing was written"]);
    local.run(&["configure", "--inspector", ADA, "--replace-app"]).expect(2);
    assert_eq!(secret(&local), before);

    // The id and the secret are read from where they are stored.
    let configured = local.run(&["configure", "--inspector", ADA, "--json"]);
    configured.hides(&[before["app_secret"].as_str().unwrap()]);
    let configured = configured.json();
    assert_eq!((&configured["inspector"], &configured["app_secret_written"]), (&json!(ADA), &json!(true)));
    let mut expected = before.clone();
    expected["inspector"] = json!(ADA);
    assert_eq!(secret(&local), expected);
    let app = local.runtime.block_on(local.stack.service().secrets().app(local.stack.clock().now())).unwrap();
    assert_eq!(app.credentials.app_id.as_str(), before["app_id"]);

    // A new secret keeps the inspector. A given one is verified at Meta.
    let app_id = before["app_id"].as_str().unwrap();
    let again = ["configure", "--app-id", app_id, "--app-secret", "-", "--json"];
    let again = run_with(local.command(&again), &format!("{}\n", before["app_secret"].as_str().unwrap()));
    assert_eq!(again.json()["inspector"], ADA);
    let mut wrong = local.command(&["configure", "--inspector", ADA]);
    wrong.env("THREADS_APP_ID", app_id).env("THREADS_APP_SECRET", "another-secret");
    run(wrong).says(1, &["nothing was written"]).hides(&["another-secret"]);
    local.run(&["configure", "--app-id", app_id, "--inspector", ADA]).says(2, &["--app-secret is missing"]);
    assert_eq!(secret(&local), expected);

    // An account that has ended cannot ask.
    local.account(BEN);
    local.run(&["accounts", "disconnect", BEN, "--yes"]).expect(0);
    local.run(&["configure", "--inspector", BEN]).says(2, &["connect it first"]);

    let removed = local.run(&["configure", "--inspector", "none"]);
    assert!(removed.expect(0).stdout.contains("There is no inspector"), "{removed:?}");
    assert_eq!(secret(&local), before);
}

/// Without a stored secret there is nothing to take.
#[test]
fn an_inspector_alone_does_not_configure_a_stack() {
    let local = Local::new();
    local.account(ADA);
    local.put_secret(&local.stack.urls().app_secret_id, "{}");
    local.run(&["configure", "--inspector", ADA]).says(2, &["--app-id is missing"]);
    assert_eq!(secret(&local), json!({}));
}

#[test]
fn another_app_has_another_inspector() {
    let local = Local::new();
    let id = &local.stack.urls().app_secret_id;
    let before = secret(&local);
    local.put_secret(id, &json!({"app_id": "1", "app_secret": "x", "inspector": ADA}).to_string());
    let app_id = before["app_id"].as_str().unwrap();
    let replace = ["configure", "--app-id", app_id, "--app-secret", "-", "--replace-app", "--json"];
    let replaced =
        run_with(local.command(&replace), &format!("{}\n", before["app_secret"].as_str().unwrap()));
    assert_eq!(replaced.json()["inspector"], Value::Null);
    assert_eq!(secret(&local), before);
}

#[test]
fn the_doctor_says_who_may_ask_meta() {
    let local = Local::new();
    let sandbox = local.stack.sandbox().unwrap();
    let found = || check(&local, "inspection");
    assert!(found().1.contains("no token to inspect"), "{:?}", found());
    local.account(ADA);
    for (allow, level, words) in [
        (Inspection::App, "ok", "lets the app"),
        (Inspection::Anybody, "ok", "lets the app"),
        (Inspection::Testers, "warn", "configure --inspector USER_ID"),
        (Inspection::Nobody, "warn", "configure --inspector USER_ID"),
    ] {
        sandbox.set_inspection(allow);
        let found = found();
        assert!(found.0 == level && found.1.contains(words), "{allow:?} {found:?}");
    }
    sandbox.set_inspection(Inspection::Testers);
    sandbox.set_tester(ADA, true);
    let itself = found();
    assert!(itself.0 == "warn" && itself.1.contains("lets each token inspect only itself"), "{itself:?}");
    local.run(&["configure", "--inspector", ADA]).expect(0);
    let asked = found();
    assert!(asked.0 == "ok" && asked.1.contains("lets the inspector"), "{asked:?}");
    assert!(check(&local, "drift").1.contains("unchanged"));
    let body = json!({"id": ADA}).to_string();
    local.fault(SandboxCall::Me, 1, FaultAction::Respond { status: 200, body, headers: Vec::new() });
    let drifted = check(&local, "drift");
    assert!(drifted.0 == "warn" && drifted.1.contains("me: the answer lacks username"), "{drifted:?}");
    local.fault(SandboxCall::DebugToken, 3, FaultAction::Html);
    let shy = found();
    assert!(shy.0 == "warn" && shy.1.contains("Try again later"), "{shy:?}");

    local.run(&["accounts", "disconnect", ADA, "--yes"]).expect(0);
    let ended = found();
    assert!(ended.0 == "warn" && ended.1.contains(ADA) && ended.1.contains("connect again"), "{ended:?}");
    let mut named = secret(&local);
    named["inspector"] = json!(BEN);
    local.put_secret(&local.stack.urls().app_secret_id, &named.to_string());
    let gone = found();
    assert!(gone.0 == "warn" && gone.1.contains("not connected"), "{gone:?}");
    local.put_secret(&local.stack.urls().app_secret_id, "{}");
    assert!(found().1.contains("See the secrets above first"), "{:?}", found());
}

fn moved(status: u16) -> FaultAction {
    let location = "https://new.example/somewhere?access_token=CANARY&client_secret=CANARY".to_owned();
    FaultAction::Respond { status, body: String::new(), headers: vec![("location".to_owned(), location)] }
}

#[test]
fn the_doctor_names_the_host_that_meta_has_moved_to() {
    let local = Local::new();
    for (call, variable) in
        [(SandboxCall::AppToken, "THREADS_GRAPH_URL"), (SandboxCall::Authorize, "THREADS_AUTHORIZE_URL")]
    {
        for status in [301, 308] {
            local.fault(call, 1, moved(status));
            let ended = local.run(&["doctor"]);
            ended.expect(1).hides(&["CANARY", "somewhere"]);
            let said = "FAIL  Meta's address: Meta has moved: it redirects to the host new.example";
            assert!(ended.stdout.contains(said) && ended.stdout.contains(variable), "{ended:?}");
        }
        // A temporary redirect is no finding.
        local.fault(call, 1, moved(302));
        local.run(&["doctor"]).expect(0);
    }
}

fn said(status: u16, code: u64, message: &str) -> FaultAction {
    let error = json!({"error": {"message": message, "type": "OAuthException", "code": code}});
    FaultAction::Respond { status, body: error.to_string(), headers: Vec::new() }
}

/// Meta keeps the whole app out: no account is to blame, and all of it is tried again later.
#[test]
fn a_refusal_of_the_app_is_for_another_time() {
    let local = Local::new();
    local.account(ADA);
    let token = local.token(BEN);
    local.write("ben.jsonl", json!({"access_token": token}).to_string());
    local.stack.clock().advance(45 * DAY);
    for (status, code, words) in [
        (403, 200, "API access blocked."),
        (400, 190, "Application has been deleted"),
        (400, 101, "Error validating application. Cannot get application info due to a system error."),
    ] {
        let refusal = said(status, code, words);
        for call in [SandboxCall::Refresh, SandboxCall::Me, SandboxCall::DebugToken, SandboxCall::AppToken] {
            local.fault(call, u32::MAX, refusal.clone());
        }
        let refreshed = local.run(&["accounts", "refresh", ADA, "--json"]);
        let told: Value = serde_json::from_str(&refreshed.expect(4).stdout).unwrap();
        assert_eq!(told["outcome"], "misconfigured", "{words}");
        let imported = local.run(&["accounts", "import", "ben.jsonl", "--tries", "1", "--json"]);
        let told: Value = serde_json::from_str(&imported.expect(4).stdout).unwrap();
        assert_eq!((&told["failed"], &told["rejected"]), (&json!(1), &json!(0)), "{words}: {told}");
        assert!(local.read("ben.jsonl.rejected").contains("Meta has blocked or deleted the app"));
        local.stack.clock().advance(DAY / 4);
        let swept = local.run(&["sweep", "--json"]);
        let told: Value = serde_json::from_str(&swept.expect(4).stdout).unwrap();
        assert_eq!(told["outcomes"], json!({"misconfigured": 1}), "{words}");
        let (level, found) = check(&local, "app id and secret");
        // For the call that verifies them, 101 means that there is no such app.
        let advice = if code == 101 { "App settings > Basic" } else { "nothing is known to be wrong" };
        assert!(level == "fail" && found.contains(advice), "{found}");
        let (level, _) = check(&local, "inspection");
        assert_eq!(level, "warn");
        assert_eq!(local.grant(ADA).unwrap().status().as_str(), "active");
        local.stack.sandbox().unwrap().clear_faults();
        local.stack.clock().advance(DAY / 4);
    }
    assert_eq!(local.run(&["accounts", "refresh", ADA, "--json"]).json()["outcome"], "refreshed");
    assert_eq!(local.run(&["accounts", "import", "ben.jsonl", "--json"]).json()["imported"], 1);
}

#[test]
fn a_login_waits_until_the_app_is_back() {
    let world = World::new();
    let arguments = ["access_token", "--auth-code", "-", "--redirect-uri", REDIRECT_URI, "--json"];
    for (status, code, words) in
        [(403, 200, "API access blocked."), (400, 190, "Application has been deleted")]
    {
        world.fault(SandboxCall::ExchangeCode, 1, said(status, code, words));
        let ended = run_with(world.with_app(&arguments), &world.code());
        assert_eq!(text(&ended.failure(4), "/error/kind"), "configuration");
        ended.says(4, &["Meta has blocked or deleted the app", "Try again when the app is back"]);
        // By then the code is spent, and the short-lived token is kept for its hour.
        world.fault(SandboxCall::ExchangeLongLived, u32::MAX, said(status, code, words));
        let ended = run_with(world.with_app(&arguments), &world.code());
        ended.says(4, &["Meta has blocked or deleted the app", "--short-lived-token -"]);
        let (path, _) = world.recovered();
        std::fs::remove_file(path).unwrap();
        world.sandbox.clear_faults();
    }
}
