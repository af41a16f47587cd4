//! Failures, and the exit code of each.

use std::process::Stdio;
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;

use serde_json::{Value, json};
use threads_sandbox::{FaultAction, SandboxCall};

use crate::support::{
    APP_ID, APP_SECRET, REDIRECT_URI, Running, USER, World, meta_that, run, run_with, text,
};

fn respond(status: u16, body: &Value) -> FaultAction {
    FaultAction::Respond { status, body: body.to_string(), headers: Vec::new() }
}

/// An error of Meta's with these words.
fn said(status: u16, code: u64, message: &str) -> FaultAction {
    respond(status, &json!({"error": {"message": message, "type": "OAuthException", "code": code}}))
}

fn moved(status: u16) -> FaultAction {
    let location = "https://graph.example/refresh_access_token?access_token=CANARY".to_owned();
    FaultAction::Respond { status, body: String::new(), headers: vec![("location".to_owned(), location)] }
}

fn graph_error(code: u64, subcode: Option<u64>) -> FaultAction {
    FaultAction::GraphError { code, subcode, is_transient: false, status: 400 }
}

#[test]
fn every_failure_of_meta_has_its_code_and_its_advice() {
    let world = World::new();
    let old = world.old_token();
    let person = "threads-auth login";
    let later = "Try again later";
    for (action, code, kind, advice) in [
        (graph_error(190, Some(463)), 3, "needs_reauthorization", person),
        (graph_error(190, Some(458)), 3, "needs_reauthorization", person),
        (graph_error(190, None), 3, "needs_reauthorization", person),
        (graph_error(10, None), 3, "permission", "--scope"),
        (graph_error(2, None), 4, "transient", later),
        (graph_error(4, None), 4, "throttled", later),
        (FaultAction::Throttle { retry_after: Some(30) }, 4, "throttled", "Try again in 30 s"),
        (FaultAction::Drop, 4, "transient", later),
        (FaultAction::Truncate, 4, "transient", later),
        (FaultAction::Html, 4, "transient", later),
        (FaultAction::Empty, 4, "transient", later),
        // About the app, and no account's fault.
        (graph_error(101, None), 4, "configuration", "nothing is known to be wrong with the account"),
        (
            said(400, 190, "Application has been deleted"),
            4,
            "configuration",
            "Try again when the app is back",
        ),
        (said(403, 200, "API access blocked."), 4, "configuration", "Meta has blocked or deleted the app"),
        (moved(301), 1, "configuration", "it redirects to the host graph.example (HTTP 301)"),
        (moved(308), 1, "configuration", "Set THREADS_GRAPH_URL"),
        (moved(307), 4, "transient", later),
        (graph_error(999_999, None), 1, "rejected", ""),
    ] {
        world.fault(SandboxCall::Refresh, 1, action.clone());
        let mut command = world.command(&["refresh_token", "--json"]);
        command.env("THREADS_ACCESS_TOKEN", &old);
        let ended = run(command);
        let failure = ended.failure(code);
        assert_eq!(text(&failure, "/error/kind"), kind, "{action:?}");
        ended.says(code, &[advice]).hides(&[&old, "CANARY"]);
    }
    let young = world.sandbox.issue_long_lived(USER);
    let ended = run_with(world.command(&["refresh_token", "-token", "-", "--json"]), &young);
    assert_eq!(text(&ended.failure(4), "/error/kind"), "too_young");
    ended.says(4, &["a day old"]).hides(&[&young]);
}

#[test]
fn every_failure_of_a_login_has_its_code() {
    let world = World::new();
    let arguments = ["access_token", "-code", "-", "-r", REDIRECT_URI, "--json"];
    let with = |app: (&str, &str), code: &str| {
        let mut command = world.command(&arguments);
        command.env("THREADS_APP_ID", app.0).env("THREADS_APP_SECRET", app.1);
        run_with(command, code)
    };
    let code = world.code();
    for (app, code, exit, kind) in [
        ((APP_ID, APP_SECRET), "spent", 3, "code_unusable"),
        ((APP_ID, "another"), code.as_str(), 1, "configuration"),
        (("1", APP_SECRET), code.as_str(), 1, "configuration"),
        ((APP_SECRET, APP_ID), code.as_str(), 2, "usage"),
        ((APP_ID, "two words"), code.as_str(), 2, "usage"),
    ] {
        let ended = with(app, code);
        assert_eq!(text(&ended.failure(exit), "/error/kind"), kind);
        ended.hides(&[code, app.1]);
    }
    let other = world.sandbox.issue_code(USER, "https://other.example/", &[]);
    let ended = with((APP_ID, APP_SECRET), &other);
    ended.says(1, &["letter for letter"]);
    world.fault(SandboxCall::ExchangeCode, 1, FaultAction::Drop);
    let ended = with((APP_ID, APP_SECRET), &code);
    ended.says(4, &["it was spent on this attempt"]);
    // The code was not spent in this case.
    with((APP_ID, APP_SECRET), &code).json();
}

#[test]
fn whose_a_token_is_meta_may_leave_out_but_not_contradict() {
    let world = World::new();
    let arguments = ["access_token", "-code", "-", "-r", REDIRECT_URI, "--json"];
    let long = json!({"access_token": "THQVJlong", "token_type": "bearer", "expires_in": null});
    let exchange = |body: Value| {
        world.fault(SandboxCall::ExchangeCode, 1, respond(200, &body));
        world.fault(SandboxCall::ExchangeLongLived, 1, respond(200, &long));
        let ended = run_with(world.with_app(&arguments), "AQBcode");
        world.sandbox.clear_faults();
        ended
    };
    let token = world.sandbox.issue_long_lived(USER);
    for body in [
        json!({"access_token": token, "user_id": USER}),
        json!({"access_token": token}),
        json!({"access_token": token, "user_id": 0}),
        json!({"access_token": token, "user_id": null}),
        json!({"data": [{"access_token": token, "user_id": USER, "permissions": "threads_basic"}]}),
    ] {
        let got = exchange(body).json();
        assert_eq!(text(&got, "/user_id"), USER);
        assert_eq!(text(&got, "/tokens/long_lived/access_token"), "THQVJlong");
        assert_eq!(got["tokens"]["long_lived"]["expires_in"], Value::Null);
    }
    let ended = exchange(json!({"access_token": token, "user_id": 1}));
    ended.says(1, &["Meta contradicts itself", "log in again"]).hides(&[&token]);
    // The tokens are printed even if no answer has the user id.
    let got = exchange(json!({"access_token": "THQVJunknown"})).json();
    assert_eq!(got["user_id"], Value::Null);
    assert_eq!(text(&got, "/tokens/short_lived/access_token"), "THQVJunknown");
}

#[test]
fn a_person_who_is_no_tester_is_told_what_to_click() {
    let world = World::new();
    let refused =
        json!({"error_type": "OAuthException", "code": 400, "error_message": "Insufficient developer role"});
    world.fault(SandboxCall::ExchangeCode, 1, respond(400, &refused));
    let arguments = ["access_token", "-code", "-", "-r", REDIRECT_URI, "--json"];
    let ended = run_with(world.with_app(&arguments), "AQBcode");
    assert_eq!(text(&ended.failure(1), "/error/kind"), "configuration");
    ended.says(1, &["App roles > Roles > Threads Testers", "Website permissions > Invites"]);
}

#[test]
fn a_second_step_that_fails_is_tried_again() {
    let world = World::new();
    world.fault(SandboxCall::ExchangeLongLived, 2, FaultAction::Html);
    let code = world.code();
    let arguments = ["access_token", "-code", "-", "-r", REDIRECT_URI, "--json"];
    run_with(world.with_app(&arguments), &code).json();
    assert_eq!(world.calls(SandboxCall::ExchangeLongLived), 3);
    // A failure that is not transient is not retried.
    world.fault(SandboxCall::ExchangeLongLived, 1, graph_error(10, None));
    run_with(world.with_app(&arguments), &world.code()).expect(3);
    assert_eq!(world.calls(SandboxCall::ExchangeLongLived), 4);
}

#[test]
fn what_a_spent_code_gave_is_not_lost() {
    let world = World::new();
    world.fault(SandboxCall::ExchangeLongLived, 3, FaultAction::Html);
    let arguments = ["access_token", "-code", "-", "-r", REDIRECT_URI, "--json"];
    let ended = run_with(world.with_app(&arguments), &world.code());
    ended.says(4, &["The code is spent", "--short-lived-token -", "threads-auth-recovered-"]);
    let (path, content) = world.recovered();
    assert_eq!(mode(&path), 0o600);
    let token =
        content.strip_prefix("short_lived_token='").and_then(|rest| rest.strip_suffix("'\n")).unwrap();
    ended.hides(&[token]);
    // And it completes the login.
    let mut command =
        world.with_app(&["access_token", "--short-lived-token", "-", "--json", "-p", ".env", "-v", "T"]);
    command.env_remove("THREADS_APP_ID");
    let got = run_with(command, token).json();
    assert_eq!(text(&got, "/user_id"), USER);
    assert!(world.read(".env").contains(text(&got, "/tokens/long_lived/access_token")));
}

#[test]
fn a_token_that_nobody_reads_is_saved() {
    let world = World::new();
    let old = world.old_token();
    for json in [false, true] {
        let mut command = world.command(&["refresh_token"]);
        command
            .args(json.then_some("--json"))
            .env("THREADS_ACCESS_TOKEN", &old)
            // A disk that is full.
            .stdout(Stdio::from(std::fs::File::options().write(true).open("/dev/full").unwrap()));
        let ended = Running::start_with_stdout(command).end();
        ended.says(5, &["could not be printed", "threads-auth-recovered-"]);
        let (path, content) = world.recovered();
        assert_eq!(mode(&path), 0o600);
        assert!(content.starts_with("long_lived_token='THQVJ"), "{content}");
        std::fs::remove_file(path).unwrap();
    }
}

/// A refresh of the token in `.env` that waits for Meta, and how Meta answers it.
fn refresh_under_way(world: &World) -> (Running, Sender<()>, JoinHandle<()>) {
    let (asked, is_asked) = channel();
    let (go_on, may_go_on) = channel::<()>();
    let wait = move || {
        asked.send(()).unwrap();
        may_go_on.recv().unwrap();
    };
    let (url, served) = meta_that(wait, "THQVJnew");
    let mut command = world.command(&["refresh_token", "-auto", "-p", ".env", "-v", "T"]);
    command.env("THREADS_GRAPH_URL", url);
    let running = Running::start(command);
    is_asked.recv_timeout(crate::support::HANG).unwrap();
    (running, go_on, served)
}

#[test]
fn a_signal_waits_for_the_answer_of_meta() {
    let world = World::new();
    for signal in ["INT", "TERM", "HUP"] {
        world.write(".env", "T=old\n");
        let (mut running, go_on, served) = refresh_under_way(&world);
        running.signal(signal);
        running.line("Meta has been called");
        go_on.send(()).unwrap();
        let ended = running.end();
        let number = match signal {
            "INT" => 2,
            "TERM" => 15,
            _ => 1,
        };
        ended.expect(128 + number);
        assert_eq!(world.read(".env"), "T=THQVJnew\n", "{signal}");
        served.join().unwrap();
    }
}

#[test]
fn a_second_signal_does_not_wait() {
    let world = World::new();
    world.write(".env", "T=old\n");
    let (mut running, go_on, served) = refresh_under_way(&world);
    running.signal("INT");
    running.line("a second Ctrl-C gives it up");
    running.end_by("INT").expect(130);
    assert_eq!(world.read(".env"), "T=old\n");
    assert_eq!(world.names(), [".env"]);
    go_on.send(()).unwrap();
    served.join().unwrap();
}

#[test]
fn hosts_are_checked_before_anything_is_sent() {
    let world = World::new();
    for (variable, value) in [
        ("THREADS_GRAPH_URL", "http://graph.example"),
        ("THREADS_GRAPH_URL", "nonsense"),
        ("THREADS_AUTHORIZE_URL", "https://user@threads.example/"),
        ("THREADS_API_VERSION", "1"),
    ] {
        let mut command = world.command(&["refresh_token", "-token", "THQVJnone", "--json", "-s"]);
        command.env(variable, value);
        let failure: Value = run(command).failure(2);
        assert!(text(&failure, "/message").contains(variable), "{failure}");
    }
    // A file that happens to be in the folder does not redirect secrets.
    world.write(".env", "THREADS_GRAPH_URL=https://evil.example\n");
    let old = world.old_token();
    run(world.command(&["refresh_token", "-token", &old, "--json"])).json();
}

fn mode(path: &std::path::Path) -> u32 {
    use std::os::unix::fs::PermissionsExt;
    path.metadata().unwrap().permissions().mode() & 0o7777
}
