//! The command in a terminal: what it asks, what it hides, and what it leaves behind.

use std::process::Command;

use rexpect::session::{PtySession, spawn_command};
use rustix::termios::{LocalModes, tcgetattr};
use threads_sandbox::{FaultAction, SandboxCall};

use crate::stack::Local;
use crate::support::{APP_ID, APP_SECRET, DAY, HANG, REDIRECT_URI, USER, World, meta_that, run};

/// Starts the command in a terminal that shows what is typed, as a person's does. (That of `rexpect` does not.)
fn terminal(world: &World, arguments: &[&str], variables: &[(&str, &str)]) -> PtySession {
    let mut command = in_terminal(arguments);
    world.surround(&mut command);
    command.envs(variables.iter().copied());
    spawn_command(command, u64::try_from(HANG.as_millis()).ok()).unwrap()
}

fn in_terminal(arguments: &[&str]) -> Command {
    let mut command = Command::new("sh");
    command.args([
        "-c",
        "stty echo; exec \"$0\" \"$@\"",
        env!("CARGO_BIN_EXE_threads-auth"),
    ]);
    command.args(arguments);
    command
}

/// The same against a development stack.
fn stack_terminal(local: &Local, arguments: &[&str]) -> PtySession {
    let at = local.local();
    let arguments: Vec<_> = arguments.iter().copied().chain([at.as_str()]).collect();
    let mut command = in_terminal(&arguments);
    local.surround(&mut command);
    spawn_command(command, u64::try_from(HANG.as_millis()).ok()).unwrap()
}

fn shows_what_is_typed(session: &PtySession) -> bool {
    let handle = session.process().get_file_handle().unwrap();
    tcgetattr(handle).unwrap().local_modes.contains(LocalModes::ECHO)
}

/// The exit code. `rexpect` does not name the type that holds it, so it is read as it is shown: `Exited(Pid(1), 0)`.
fn code(session: &PtySession) -> i32 {
    let status = format!("{:?}", session.process().wait().unwrap());
    let code = status
        .strip_prefix("Exited(")
        .and_then(|rest| rest.strip_suffix(')'));
    let (_, code) = code.and_then(|rest| rest.rsplit_once(", ")).expect(&status);
    code.parse().unwrap()
}

#[test]
fn what_is_missing_is_asked_for_and_secrets_are_not_shown() {
    let world = World::new();
    let pasted = world.code();
    let mut session = terminal(&world, &["access_token", "-r", REDIRECT_URI], &[]);
    session.exp_string("Threads app id: ").unwrap();
    assert!(shows_what_is_typed(&session));
    session.send_line(APP_ID).unwrap();
    session.exp_string(APP_ID).unwrap();
    let mut shown = session.exp_string("Threads app secret: ").unwrap();
    assert!(!shows_what_is_typed(&session));
    session.send_line(APP_SECRET).unwrap();
    shown += &session.exp_string("or the address it came in: ").unwrap();
    session.send_line(&pasted).unwrap();
    shown += &session.exp_string("User id").unwrap();
    session.exp_string(USER).unwrap();
    session.exp_eof().unwrap();
    assert!(!shown.contains(APP_SECRET) && !shown.contains(&pasted), "{shown}");
    assert_eq!(code(&session), 0);
}

#[test]
fn the_terminal_is_given_back_when_a_question_is_stopped() {
    let world = World::new();
    let arguments = ["refresh_token", "-p", ".env", "-v", "T"];
    let mut session = terminal(&world, &arguments, &[]);
    session.exp_string("Long-lived access token: ").unwrap();
    assert!(!shows_what_is_typed(&session));
    session.send_control('c').unwrap();
    session.exp_eof().unwrap();
    assert!(shows_what_is_typed(&session));
    assert_eq!(code(&session), 130);

    // And at the end of the input, which is no answer.
    let mut session = terminal(&world, &arguments, &[]);
    session.exp_string("Long-lived access token: ").unwrap();
    session.send_control('d').unwrap();
    session.exp_string("--access-token is missing").unwrap();
    session.exp_eof().unwrap();
    assert!(shows_what_is_typed(&session));
    assert_eq!(code(&session), 2);
    assert!(world.sandbox.calls().is_empty());
}

#[test]
fn a_token_that_cannot_be_stored_is_shown() {
    let world = World::new();
    let path = world.write(".env", "T=old\n");
    let (url, served) = meta_that(
        move || {
            std::fs::remove_file(&path).unwrap();
            std::fs::create_dir(&path).unwrap();
        },
        "THQVJnew",
    );
    let arguments = ["refresh_token", "-auto", "-p", ".env", "-v", "T"];
    let mut session = terminal(&world, &arguments, &[("THREADS_GRAPH_URL", &url)]);
    session.exp_string("T='THQVJnew'").unwrap();
    session
        .exp_string("could not be stored in .env; it is printed above")
        .unwrap();
    session.exp_eof().unwrap();
    assert_eq!(code(&session), 5);
    served.join().unwrap();
    assert_eq!(world.names(), [".env"], "it is not in a file as well");
}

#[test]
fn colour_is_for_terminals() {
    let world = World::new();
    let mut session = terminal(&world, &["refresh_token", "-token", "x y"], &[]);
    let shown = session.exp_eof().unwrap();
    assert!(shown.contains("\u{1b}[1m\u{1b}[31mthreads-auth:"), "{shown:?}");
    assert!(shown.contains("\u{1b}[1m\u{1b}[33mwarning:"), "{shown:?}");
    let mut session = terminal(&world, &["refresh_token", "-token", "x y"], &[("NO_COLOR", "1")]);
    let shown = session.exp_eof().unwrap();
    assert!(
        shown.contains("threads-auth:") && !shown.contains('\u{1b}'),
        "{shown:?}"
    );
    let ended = run(world.command(&["refresh_token", "-token", "x y"]));
    assert!(!ended.stderr.contains('\u{1b}'), "{ended:?}");
}

#[test]
fn a_login_is_followed_and_a_wrong_paste_asked_again() {
    let world = World::new();
    let app = [("THREADS_APP_ID", APP_ID), ("THREADS_APP_SECRET", APP_SECRET)];
    let mut session = terminal(&world, &["login", "--no-browser", "--port", "0"], &app);
    session.exp_string("Log in to Threads and agree at").unwrap();
    let (_, address) = session
        .exp_regex(r"http://[^\s]+/oauth/authorize\?[^\s]+")
        .unwrap();
    session.exp_string("The browser will warn").unwrap();
    session.exp_string("paste the address that it ends on:").unwrap();
    let address: url::Url = address.parse().unwrap();
    let param = |name: &str| {
        let (_, value) = address.query_pairs().find(|(key, _)| key == name).unwrap();
        value.into_owned()
    };
    let uri = param("redirect_uri");
    assert!(uri.starts_with("https://127.0.0.1:"), "{uri}");
    let issued = world.sandbox.issue_code(USER, &uri, &[]);
    session
        .send_line(&format!("{uri}?code={issued}&state=another"))
        .unwrap();
    session.exp_string("it belongs to another login").unwrap();
    session.exp_string("Paste the whole address:").unwrap();
    session
        .send_line(&format!("{uri}?code={issued}&state={}#_", param("state")))
        .unwrap();
    session.exp_string("Long-lived").unwrap();
    session.exp_eof().unwrap();
    assert_eq!(code(&session), 0);

    let mut session = terminal(&world, &["login", "--no-browser", "--port", "0"], &app);
    session.exp_string("paste the address").unwrap();
    session.send_control('c').unwrap();
    session.exp_eof().unwrap();
    assert_eq!(code(&session), 130);
}

#[test]
fn what_cannot_be_undone_is_asked_first() {
    const ADA: &str = "17841400000000001";
    let local = Local::new();
    local.account(ADA);
    for (answer, code_expected) in [("no", 2), ("yes", 0)] {
        let mut session = stack_terminal(&local, &["accounts", "disconnect", ADA]);
        session.exp_string("Its token is destroyed").unwrap();
        session.exp_string("Type yes: ").unwrap();
        assert!(local.grant(ADA).unwrap().token.is_some());
        session.send_line(answer).unwrap();
        session.exp_eof().unwrap();
        assert_eq!(code(&session), code_expected);
    }
    assert!(local.grant(ADA).unwrap().token.is_none());

    let token = local.account("17841400000000002");
    for (answer, shown) in [("yes", false), ("export tokens", true)] {
        let mut session = stack_terminal(&local, &["accounts", "export", "--with-tokens"]);
        session.exp_string("Type \"export tokens\": ").unwrap();
        session.send_line(answer).unwrap();
        assert_eq!(session.exp_eof().unwrap().contains(&token), shown);
    }
}

#[test]
fn a_list_fits_the_terminal_and_an_import_shows_how_far_it_is() {
    let local = Local::new();
    local.account("17841400000000001");
    let at = local.local();
    let mut command = Command::new("sh");
    let script = "stty cols 60; \"$0\" accounts list \"$1\"; \"$0\" accounts import one.jsonl \"$1\"";
    command.args(["-c", script, env!("CARGO_BIN_EXE_threads-auth"), &at]);
    local.surround(&mut command);
    let mut session = spawn_command(command, u64::try_from(HANG.as_millis()).ok()).unwrap();
    let shown = session.exp_string("1 account").unwrap();
    let widest = shown
        .lines()
        .map(|line| line.trim_end().chars().count())
        .max()
        .unwrap();
    assert!(widest <= 60 && shown.contains("ACCOUNT"), "{shown}");
    let progress = session.exp_eof().unwrap();
    assert!(
        progress.contains(" %  0 taken over, 1 connected already, 0 not"),
        "{progress:?}"
    );
}

#[test]
fn a_sweep_shows_how_far_it_is() {
    let local = Local::new();
    for user_id in ["17841400000000001", "17841400000000002"] {
        local.account(user_id);
    }
    local.stack.clock().advance(45 * DAY);
    local.fault(SandboxCall::Refresh, 1, FaultAction::Html);
    let mut session = stack_terminal(&local, &["sweep"]);
    let progress = session.exp_eof().unwrap();
    for part in ["2 of 2", "/s, ", " left  1 deferred, 1 refreshed"] {
        assert!(progress.contains(part), "{part}: {progress:?}");
    }
    assert_eq!(code(&session), 4);
    // Programs read no bars.
    let mut session = stack_terminal(&local, &["sweep", "--json"]);
    let shown = session.exp_eof().unwrap();
    assert!(
        serde_json::from_str::<serde_json::Value>(&shown).is_ok(),
        "{shown:?}"
    );
}
