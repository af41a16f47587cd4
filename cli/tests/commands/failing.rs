//! A stack that lacks something, or refuses everybody: every command prints the cause once, and the
//! next step.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Json, Response};
use serde_json::{Value, json};

use crate::stack::Local;
use crate::support::{Ended, run, text};

const ADA: &str = "17841400000000001";

/// Every command that works with the tables.
pub(crate) const COMMANDS: [&[&str]; 13] = [
    &["accounts", "import", "tokens.jsonl"],
    &["accounts", "list"],
    &["accounts", "show", ADA],
    &["accounts", "refresh", ADA],
    &["accounts", "disconnect", ADA, "--yes"],
    &["accounts", "delete", ADA, "--yes"],
    &["accounts", "export"],
    &["accounts", "export", ADA, "--personal"],
    &["sweep"],
    &["pause"],
    &["resume"],
    &["keyring", "show"],
    &["configure", "--inspector", ADA],
];

/// A stack with tokens to import.
fn stack() -> (Local, String) {
    let local = Local::new();
    let token = local.token(ADA);
    let line = format!("{{\"token\":\"{token}\"}}\n");
    local.write("tokens.jsonl", line.repeat(3));
    (local, token)
}

/// Asserts that the cause is printed once, in one line, and then what to do.
#[track_caller]
fn says_once(called: &[&str], ended: &Ended, code: &str, next: &str) {
    let said = ended.stderr.as_str();
    assert_eq!(said.matches(code).count(), 1, "{called:?}: {said}");
    let mut lines = said.lines();
    let cause = lines.next().unwrap().strip_prefix("threads-auth: ").unwrap_or_else(|| panic!("{said}"));
    let mut parts: Vec<_> = cause.split(": ").collect();
    assert!(parts.last().unwrap().len() > 10, "{called:?} gives no reason: {said}");
    parts.sort_unstable();
    let count = parts.len();
    parts.dedup();
    assert_eq!(parts.len(), count, "{called:?} repeats itself: {said}");
    assert!(lines.next().is_some_and(|line| line.contains(next)), "{called:?} says nothing to do: {said}");
    assert_eq!(lines.next(), None, "{called:?}");
}

/// All commands with their exit codes, of which there is one.
fn all_say_once(local: &Local, run: impl Fn(&[&str]) -> Ended, code: &str, kind: &str, next: &str) -> i32 {
    let mut codes = Vec::new();
    for called in COMMANDS {
        let ended = run(called);
        says_once(called, &ended, code, next);
        codes.push(ended.code);
        let json: Vec<_> = called.iter().copied().chain(["--json"]).collect();
        let ended = run(&json);
        says_once(&json, &ended, code, next);
        let failure = ended.failure(ended.code);
        assert_eq!(text(&failure, "/error/kind"), kind, "{called:?} {failure}");
        assert!(text(&failure, "/error/next").contains(next), "{called:?} {failure}");
    }
    assert!(!local.path("tokens.jsonl.rejected").exists(), "no line is to blame");
    codes.dedup();
    assert_eq!(codes.len(), 1, "{codes:?}");
    codes[0]
}

#[test]
fn a_table_that_is_gone_is_said_once_by_every_command() {
    let (local, token) = stack();
    let table = &local.stack.urls().grants_table;
    local.runtime.block_on(local.dynamodb().delete_table().table_name(table).send()).unwrap();
    let gone = "ResourceNotFoundException";
    let run = |called: &[&str]| local.run(called);
    let exit = all_say_once(&local, run, gone, "missing", "`threads-auth doctor` finds out which");
    assert_eq!(exit, 1);
    println!("no table: {} commands say so once, exit code {exit}", COMMANDS.len());
    local.run(COMMANDS[0]).hides(&[&token]);
    let doctor = local.run(&["doctor"]);
    doctor.expect(1);
    assert_eq!(doctor.stdout.matches(gone).count(), 1, "{}", doctor.stdout);
    assert!(
        doctor.stdout.contains(&format!("FAIL  tokens: there is no table {table} ({gone})")),
        "{doctor:?}"
    );
    assert_eq!(doctor.stdout.matches("See the tokens above first.").count(), 2, "{}", doctor.stdout);

    let (local, _) = stack();
    let table = &local.stack.urls().short_lived_table;
    local.runtime.block_on(local.dynamodb().delete_table().table_name(table).send()).unwrap();
    let doctor = local.run(&["doctor"]);
    doctor.expect(1);
    assert!(
        doctor.stdout.contains(&format!("FAIL  sessions: there is no table {table} ({gone})")),
        "{doctor:?}"
    );
}

/// The server before DynamoDB here refuses everything, and counts. The stack itself continues.
#[test]
fn credentials_that_may_nothing_are_refused_at_once() {
    let (local, _) = stack();
    let asked = Arc::new(AtomicUsize::new(0));
    let listener = local.runtime.block_on(tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let mut variables = local.stack.variables().clone();
    variables.insert("AWS_ENDPOINT_URL_DYNAMODB".to_owned(), url.clone());
    let (key_file, now) = (local.stack.key_file(), local.stack.clock().now());
    let development = json!({"variables": variables, "key_file": key_file, "now": now});
    let counted = Arc::clone(&asked);
    let router = Router::new().fallback(move |uri: Uri, headers: HeaderMap| {
        let (development, counted) = (development.clone(), Arc::clone(&counted));
        async move { refuse(&uri, &headers, &development, &counted) }
    });
    local.runtime.spawn(async { axum::serve(listener, router).await });
    let run = |called: &[&str]| {
        asked.store(0, Ordering::Relaxed);
        let mut command = local.bare(called);
        let ended = run({
            command.arg(format!("--local={url}"));
            command
        });
        let requests = asked.load(Ordering::Relaxed);
        // A sweep queries each of sixteen partitions twice, for the due rows and the oldest, and
        // makes a few more requests.
        assert!(requests <= if called[0] == "sweep" { 40 } else { 4 }, "{called:?}: {requests} requests");
        ended
    };
    let exit = all_say_once(&local, run, "AccessDeniedException", "denied", "`threads-auth doctor` names");
    assert_eq!(exit, 1);
    println!("no permission: {} commands say so once and at once, exit code {exit}", COMMANDS.len());
}

fn refuse(uri: &Uri, headers: &HeaderMap, development: &Value, asked: &AtomicUsize) -> Response {
    if uri.path() == "/dev/stack" {
        return Json(development.clone()).into_response();
    }
    assert!(headers["x-amz-target"].to_str().unwrap().starts_with("DynamoDB_"));
    asked.fetch_add(1, Ordering::Relaxed);
    let refusal = json!({"__type": "AccessDeniedException", "message": "the operator may do nothing here"});
    (StatusCode::BAD_REQUEST, Json(refusal)).into_response()
}

#[test]
fn secrets_that_are_gone_are_said_once() {
    let (local, _) = stack();
    let secrets = local.secrets();
    let id = &local.stack.urls().app_secret_id;
    let delete = secrets.delete_secret().secret_id(id).force_delete_without_recovery(true);
    local.runtime.block_on(delete.send()).unwrap();
    for called in [COMMANDS[0], &["sweep"], &["accounts", "delete", ADA, "--yes"]] {
        let ended = local.run(called);
        ended.expect(1);
        says_once(called, &ended, "ResourceNotFoundException", "`threads-auth doctor` finds out which");
        assert_eq!(ended.stderr.matches(id.as_str()).count(), 1, "{ended:?}");
    }
}
