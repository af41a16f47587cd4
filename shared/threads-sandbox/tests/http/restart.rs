//! The contents of a state file, and the refusal of one that cannot be used.

use std::fs;
use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::json;
use threads_sandbox::{
    BadAnswer, BadHours, Clock, ExchangeAnswer, ExpiresIn, Inspection, NewAccount, OldToken, RedirectEnding,
    Sandbox, SandboxError, SandboxOptions,
};

use crate::support::{ADA, DAY, SECRET, Server, options};

fn kept_in(path: &Path, clock: &Clock) -> SandboxOptions {
    SandboxOptions { state_file: Some(path.to_owned()), clock: clock.clone(), ..options() }
}

#[tokio::test]
async fn a_restart_keeps_accounts_grants_codes_and_tokens() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state.json");
    let clock = options().clock;
    let (before, code, short, live, replaced, removed, refreshed) = {
        let server = Server::start_with(kept_in(&path, &clock)).await;
        server.sandbox.set_old_token_behaviour(OldToken::NewTokenOldDead);
        let replaced = server.sandbox.issue_long_lived(ADA);
        let removed = server.sandbox.issue_long_lived("17841400000000001");
        server.advance(DAY);
        let refreshed = server.refresh(&replaced).await.token();
        let short = server.exchange_code(&server.code()).await.token();
        let live = server.exchange(&short).await.token();
        assert!(server.sandbox.revoke("17841400000000001"));
        let code = server.code();
        (server.sandbox.accounts(), code, short, live, replaced, removed, refreshed)
    };

    let text = fs::read_to_string(&path).unwrap();
    for secret in [SECRET, &code, &short, &live, &refreshed] {
        assert!(!text.contains(secret), "a secret is in the state file");
    }

    let server = Server::start_with(kept_in(&path, &clock)).await;
    assert_eq!(server.sandbox.accounts(), before);
    assert_eq!(server.me(&live).await.status, 200);
    assert_eq!(server.me(&refreshed).await.status, 200);
    assert_eq!(server.me(&replaced).await.error(), (190, Some(467)));
    assert_eq!(server.me(&removed).await.error(), (190, Some(458)));
    assert_eq!(server.exchange_code(&code).await.status, 200);
    // Names still find their accounts, and the behaviour is still the chosen one.
    let ada = server.sandbox.add_account(NewAccount { username: "ada".to_owned(), ..Default::default() });
    assert_eq!(ada.user_id, ADA);
    server.advance(DAY);
    server.refresh(&live).await.token();
    assert_eq!(server.me(&live).await.error(), (190, Some(467)));
}

#[tokio::test]
async fn a_restart_keeps_the_switches_unless_it_is_told_another() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state.json");
    let clock = options().clock;
    let shown = async |server: &Server| server.get("/control/state", &[]).await.json();
    let before = {
        let server = Server::start_with(kept_in(&path, &clock)).await;
        server.sandbox.set_inspection(Inspection::Nobody);
        server.sandbox.set_expires_in(ExpiresIn::Missing);
        server.sandbox.set_exchange(ExchangeAnswer::WithTokenType);
        server.sandbox.set_redirect_ending(RedirectEnding::Encoded);
        let (from, until) = (Timestamp::UNIX_EPOCH, clock.now());
        server.sandbox.add_bad_hours(BadHours { from, until, answer: BadAnswer::AppBlocked });
        assert!(server.sandbox.set_tester(ADA, true) && server.sandbox.set_extends(ADA, false));
        shown(&server).await
    };
    let server = Server::start_with(kept_in(&path, &clock)).await;
    assert_eq!(shown(&server).await, before);
    let told = SandboxOptions {
        inspection: Some(Inspection::Anybody),
        exchange: Some(ExchangeAnswer::ZeroUserId),
        ..kept_in(&path, &clock)
    };
    for options in [told, kept_in(&path, &clock)] {
        let server = Server::start_with(options).await;
        let shown = shown(&server).await;
        assert_eq!((&shown["inspection"], &shown["exchange"]), (&json!("anybody"), &json!("zero_user_id")));
    }
}

/// A state that was written before there were testers and switches.
#[tokio::test]
async fn a_state_without_switches_is_read() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state.json");
    let old = json!({
        "version": "1",
        "clock_offset": { "secs": 0, "nanos": 0 },
        "world": {
            "accounts": { ADA: {
                "user_id": ADA, "username": "ada", "private": false, "tester_pending": false,
                "status": "active", "authorized_at": null, "data_access_expires_at": null, "ended_grants": [],
            } },
            "codes": {},
            "tokens": {},
            "old_token": "new_token_old_dead",
        },
    });
    fs::write(&path, old.to_string()).unwrap();
    let server = Server::start_with(kept_in(&path, &options().clock)).await;
    let state = server.get("/control/state", &[]).await.json();
    assert_eq!(
        (&state["old_token"], &state["inspection"]),
        (&json!("new_token_old_dead"), &json!("testers_and_app"))
    );
    let ada = server.sandbox.account(ADA).unwrap();
    assert!(ada.extends && !ada.tester);
}

#[cfg(unix)]
#[test]
fn the_state_file_is_its_owners_alone_and_leaves_nothing_beside_it() {
    use std::os::unix::fs::PermissionsExt as _;

    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state.json");
    // A left-over of a killed process, readable by all.
    fs::write(directory.path().join("state.json.unfinished"), "half").unwrap();
    let sandbox = Sandbox::new(kept_in(&path, &options().clock)).unwrap();
    let _token = sandbox.issue_long_lived(ADA);
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
}

#[tokio::test]
async fn a_clock_that_follows_the_real_time_is_put_back_where_it_was() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state.json");
    let server = Server::start_with(kept_in(&path, &Clock::system())).await;
    server.control("clock", json!({ "advance_seconds": 5 * DAY })).await;
    let restarted = Sandbox::new(kept_in(&path, &Clock::system())).unwrap();
    assert_eq!(restarted.clock().offset(), Duration::from_secs(5 * DAY));
}

#[test]
fn a_file_that_is_not_a_state_is_refused_and_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state.json");
    for text in ["", "{", r#"{"version":"2","clock_offset":{"secs":0,"nanos":0},"world":{}}"#] {
        fs::write(&path, text).unwrap();
        let error = Sandbox::new(kept_in(&path, &options().clock)).unwrap_err();
        assert!(matches!(error, SandboxError::ParseState { .. }), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
    }
}

#[test]
fn what_cannot_work_is_said_at_the_start() {
    let directory = tempfile::tempdir().unwrap();
    let nowhere = directory.path().join("missing").join("state.json");
    let unwritable = Sandbox::new(kept_in(&nowhere, &options().clock)).unwrap_err();
    assert!(matches!(unwritable, SandboxError::WriteState { .. }));
    let nameless = SandboxOptions { app_id: String::new(), ..options() };
    assert!(matches!(Sandbox::new(nameless).unwrap_err(), SandboxError::NoApp));
    let account = NewAccount { username: "a b".to_owned(), ..NewAccount::default() };
    let odd = SandboxOptions { accounts: vec![account], ..options() };
    assert!(matches!(Sandbox::new(odd).unwrap_err(), SandboxError::BadAccount { .. }));
}
