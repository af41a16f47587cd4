//! The command in a terminal: its questions, its hidden input, and the terminal's state afterwards.

use std::num::NonZeroU16;
use std::process::Command;

use rexpect::session::{PtySession, spawn_command};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};
use threads_sandbox::{FaultAction, SandboxCall};

use crate::stack::Local;
use crate::support::{APP_ID, APP_SECRET, DAY, HANG, REDIRECT_URI, USER, World, meta_that, run, sent_on};

/// Starts the command in a terminal that shows what is typed, as a person's does. (That of
/// `rexpect` does not.)
fn terminal(world: &World, arguments: &[&str], variables: &[(&str, &str)]) -> PtySession {
    let mut command = in_terminal(arguments);
    world.surround(&mut command);
    command.envs(variables.iter().copied());
    start(command)
}

fn in_terminal(arguments: &[&str]) -> Command {
    in_terminal_that("stty echo", arguments)
}

fn in_terminal_that(is: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", &format!("{is}; exec \"$0\" \"$@\""), env!("CARGO_BIN_EXE_threads-auth")]);
    command.args(arguments);
    command
}

fn start(command: Command) -> PtySession {
    spawn_command(command, u64::try_from(HANG.as_millis()).ok()).unwrap()
}

/// The same against a development stack.
fn stack_terminal(local: &Local, arguments: &[&str]) -> PtySession {
    let at = local.local();
    let arguments: Vec<_> = arguments.iter().copied().chain([at.as_str()]).collect();
    let mut command = in_terminal(&arguments);
    local.surround(&mut command);
    start(command)
}

/// A terminal of a size, and what a person sees on it.
struct Seen {
    session: PtySession,
    terminal: vt100::Parser,
}

impl Seen {
    fn start(local: &Local, rows: u16, columns: u16, arguments: &[&str]) -> Self {
        let at = local.local();
        let arguments: Vec<_> = arguments.iter().copied().chain([at.as_str()]).collect();
        let is = format!("echo what was there before; stty echo rows {rows} cols {columns}");
        let mut command = in_terminal_that(&is, &arguments);
        local.surround(&mut command);
        Self { session: start(command), terminal: vt100::Parser::new(cells(rows), cells(columns), 0) }
    }

    /// Reads on until this was written.
    fn read(&mut self, written: &str) {
        let before = self.session.exp_string(written).unwrap();
        self.show(&before);
        self.show(written);
    }

    /// `rexpect` makes a character of every byte.
    fn show(&mut self, read: &str) {
        let bytes: Vec<_> = read.chars().map(|byte| u8::try_from(byte).unwrap()).collect();
        self.terminal.process(&bytes);
    }

    /// Draws on until a whole picture shows this. Each line of it ends where the terminal does, or
    /// before.
    #[track_caller]
    fn picture(&mut self, part: &str) -> String {
        for _ in 0..60 {
            self.read("\u{1b}[J");
            self.assert_nothing_wraps();
            let screen = self.terminal.screen();
            assert!(screen.alternate_screen() && screen.hide_cursor());
            if screen.contents().contains(part) {
                return screen.contents();
            }
        }
        panic!("it never showed {part:?}: {}", self.terminal.screen().contents());
    }

    #[track_caller]
    fn assert_nothing_wraps(&self) {
        let screen = self.terminal.screen();
        let (rows, _) = screen.size();
        let wraps = (0..rows.get()).any(|row| screen.row_wrapped(row));
        assert!(!wraps, "{}", screen.contents());
    }

    fn resize(&mut self, rows: u16, columns: u16) {
        self.terminal.screen_mut().set_size(cells(rows), cells(columns));
        let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(self.session.process().get_file_handle().unwrap(), size).unwrap();
    }

    /// Returns the rest of the terminal's text, and the exit code.
    fn end(mut self) -> (String, i32) {
        let rest = self.session.exp_eof().unwrap();
        self.show(&rest);
        let screen = self.terminal.screen();
        assert!(!screen.alternate_screen() && !screen.hide_cursor());
        assert!(shows_what_is_typed(&self.session));
        (screen.contents(), code(&self.session))
    }
}

fn cells(count: u16) -> NonZeroU16 {
    NonZeroU16::new(count).unwrap()
}

fn shows_what_is_typed(session: &PtySession) -> bool {
    let handle = session.process().get_file_handle().unwrap();
    tcgetattr(handle).unwrap().local_modes.contains(LocalModes::ECHO)
}

/// The exit code. `rexpect` does not name the type that holds it, so it is read as it is shown:
/// `Exited(Pid(1), 0)`.
fn code(session: &PtySession) -> i32 {
    let status = format!("{:?}", session.process().wait().unwrap());
    let code = status.strip_prefix("Exited(").and_then(|rest| rest.strip_suffix(')'));
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

    // And at the end of the input, which is not an answer.
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
    session.exp_string("could not be stored in .env; it is printed above").unwrap();
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
    assert!(shown.contains("threads-auth:") && !shown.contains('\u{1b}'), "{shown:?}");
    let ended = run(world.command(&["refresh_token", "-token", "x y"]));
    assert!(!ended.stderr.contains('\u{1b}'), "{ended:?}");
}

#[test]
fn a_login_is_followed_and_a_wrong_paste_asked_again() {
    let world = World::new();
    let app = [("THREADS_APP_ID", APP_ID), ("THREADS_APP_SECRET", APP_SECRET)];
    let mut session = terminal(&world, &["login", "--no-browser", "--port", "0"], &app);
    session.exp_string("Log in to Threads and agree at").unwrap();
    let (_, start) = session.exp_regex(r"http://127\.0\.0\.1:[0-9]+/[^\s]+").unwrap();
    session.exp_string("The browser will warn").unwrap();
    session.exp_string("paste the address that it ends on:").unwrap();
    let address = sent_on(&start);
    let param = |name: &str| {
        let (_, value) = address.query_pairs().find(|(key, _)| key == name).unwrap();
        value.into_owned()
    };
    let uri = param("redirect_uri");
    assert!(uri.starts_with("https://127.0.0.1:"), "{uri}");
    let issued = world.sandbox.issue_code(USER, &uri, &[]);
    session.send_line(&format!("{uri}?code={issued}&state=another")).unwrap();
    session.exp_string("it belongs to another login").unwrap();
    session.exp_string("Paste the whole address:").unwrap();
    session.send_line(&format!("{uri}?code={issued}&state={}#_", param("state"))).unwrap();
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
        assert!(local.grant(ADA).unwrap().live().is_some());
        session.send_line(answer).unwrap();
        session.exp_eof().unwrap();
        assert_eq!(code(&session), code_expected);
    }
    assert!(local.grant(ADA).unwrap().live().is_none());

    let token = local.account("17841400000000002");
    for (answer, is_written) in [("yes", false), ("export tokens", true)] {
        let mut session =
            stack_terminal(&local, &["accounts", "export", "--with-tokens", "--output", "tokens.jsonl"]);
        session.exp_string("Type \"export tokens\": ").unwrap();
        session.send_line(answer).unwrap();
        assert!(!session.exp_eof().unwrap().contains(&token));
        assert_eq!(
            local.path("tokens.jsonl").exists() && local.read("tokens.jsonl").contains(&token),
            is_written
        );
    }
    // On a terminal they would stay for whoever scrolls up.
    let mut session = stack_terminal(&local, &["accounts", "export", "--with-tokens", "--yes-with-tokens"]);
    session.exp_string("--output FILE").unwrap();
    assert!(!session.exp_eof().unwrap().contains(&token));
    assert_eq!(code(&session), 2);
}

#[test]
fn a_list_fits_the_terminal() {
    let local = Local::new();
    local.account("17841400000000001");
    for (columns, fits) in [(60, false), (200, true)] {
        let mut seen = Seen::start(&local, 24, columns, &["accounts", "list"]);
        seen.read("1 account");
        seen.assert_nothing_wraps();
        let (left, code) = seen.end();
        assert!(left.contains(" 17841400000000001  person"), "{left}");
        assert_eq!((left.contains("LAST FAILURE"), code), (fits, 0), "{left}");
    }
}

#[test]
fn a_stack_is_configured_by_hand() {
    const ID: &str = "9876543210987654";
    const SECRET: &str = "sandbox-app-secret";
    let local = Local::new();
    let secret = local.stack.urls().app_secret_id.clone();
    // An older secret of the same app's.
    let before = format!("{{\"app_id\":\"{ID}\",\"app_secret\":\"the-one-before\"}}");
    local.put_secret(&secret, &before);

    for prompts in [1, 2] {
        let mut session = stack_terminal(&local, &["configure"]);
        session.exp_string("Threads app id: ").unwrap();
        if prompts == 2 {
            session.send_line(ID).unwrap();
            session.exp_string("Threads app secret: ").unwrap();
            assert!(!shows_what_is_typed(&session));
            session.send("half-a-secret").unwrap();
        }
        session.send_control('c').unwrap();
        let shown = session.exp_eof().unwrap();
        assert!(shows_what_is_typed(&session) && !shown.contains("half"), "{shown}");
        assert_eq!(code(&session), 130);
    }
    for (typed, said, expected) in [("another-secret", "nothing was written", 1), (SECRET, "were written", 0)]
    {
        assert_eq!(local.secret(&secret), before);
        let mut session = stack_terminal(&local, &["configure"]);
        session.exp_string("Threads app id: ").unwrap();
        assert!(shows_what_is_typed(&session));
        session.send_line(ID).unwrap();
        // The typed text can be seen.
        session.exp_string(ID).unwrap();
        session.exp_string("Threads app secret: ").unwrap();
        assert!(!shows_what_is_typed(&session));
        session.send_line(typed).unwrap();
        let shown = session.exp_eof().unwrap();
        assert!(shown.contains(said) && !shown.contains(typed), "{shown}");
        assert!(shows_what_is_typed(&session));
        assert_eq!(code(&session), expected);
    }
    assert!(local.secret(&secret).contains(SECRET));
}

#[test]
fn a_list_is_watched_in_its_terminal() {
    let local = Local::new();
    local.account("17841400000000001");
    let mut seen = Seen::start(&local, 24, 60, &["accounts", "list", "--watch=3600"]);
    let narrow = seen.picture("1 account");
    assert!(narrow.contains("17841400000000001") && !narrow.contains("before"), "{narrow}");
    // It is redrawn for another size, with the present content.
    for n in 2..=7 {
        local.account(&format!("1784140000000000{n}"));
    }
    seen.resize(24, 200);
    let wide = seen.picture("7 accounts");
    assert!(wide.contains("2041-02-") && wide.contains("LAST FAILURE"), "{wide}");
    seen.resize(5, 60);
    let low = seen.picture("7 accounts");
    let lines: Vec<_> = low.lines().collect();
    assert!(lines.len() == 5 && lines[0].starts_with(" ACCOUNT") && lines[3] == "…", "{low}");
    seen.session.send_control('c').unwrap();
    let (left, code) = seen.end();
    assert_eq!((left.trim(), code), ("what was there before", 130));
}

#[test]
fn a_watched_list_changes_by_itself() {
    let local = Local::new();
    local.account("17841400000000001");
    let mut seen = Seen::start(&local, 24, 200, &["accounts", "list", "--watch=1"]);
    seen.picture("1 account");
    local.account("17841400000000002");
    seen.picture("2 accounts");
    local.run(&["accounts", "disconnect", "17841400000000002", "--yes"]).expect(0);
    let changed = seen.picture("revoked");
    assert!(changed.contains("active"), "{changed}");
    seen.session.send_control('c').unwrap();
    assert_eq!(seen.end().1, 130);
}

#[test]
fn what_moves_is_for_terminals_and_leaves_nothing_behind() {
    let local = Local::new();
    local.account("17841400000000001");
    for (arguments, moves) in [
        (&["accounts", "import", "one.jsonl"][..], " %  0 taken over, 1 connected already"),
        (&["sweep"], "looking at every token that is due"),
        (&["restore", "--from", "nothing", "--yes"], "reading the backup"),
    ] {
        let mut seen = Seen::start(&local, 24, 100, arguments);
        seen.read(moves);
        let (left, _) = seen.end();
        assert!(!left.contains(moves) && left.contains("what was there before"), "{left}");

        let piped = local.run(arguments);
        for trace in [moves, "\r", "\u{1b}"] {
            assert!(!piped.stderr.contains(trace) && !piped.stdout.contains(trace), "{piped:?}");
        }
    }
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
    assert!(serde_json::from_str::<serde_json::Value>(&shown).is_ok(), "{shown:?}");
}
