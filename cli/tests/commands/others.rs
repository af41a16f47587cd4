//! The commands beside the token calls: addresses, the sandbox, completions, the manual, and the
//! help of each.

use std::collections::BTreeSet;

use serde_json::Value;
use url::Url;

use crate::support::{APP_ID, World, run, text};

/// Each command's help is tested where the commands are put together, in `src/main.rs`.
#[test]
fn the_help_is_printed() {
    let world = World::new();
    let main = run(world.command(&["--help"]));
    main.expect(0);
    for line in ["\n  login ", "\n  accounts ", "\n  0  done", "\n  5  Meta issued a token"] {
        assert!(main.stdout.contains(line), "{}", main.stdout);
    }
    let help = run(world.command(&["accounts", "export", "--help"]));
    help.expect(0);
    assert!(help.stdout.contains("\nExamples:\n  threads-auth accounts export "), "{}", help.stdout);
    assert!(!help.stdout.contains('\u{1b}'), "colour in a pipe");
}

#[test]
fn mistakes_in_usage_exit_with_2() {
    let world = World::new();
    for arguments in [
        &["nonsense"][..],
        &[],
        &["login", "--nonsense"],
        &["access_token", "--a", "1"],
        &["refresh_token", "-p"],
        &["completions", "tcsh"],
        &["sandbox", "--port", "99999"],
    ] {
        let ended = run(world.command(arguments));
        ended.expect(2);
        assert!(ended.stdout.is_empty() && !ended.stderr.is_empty(), "{arguments:?}: {ended:?}");
    }
    // The repeated part is not a secret.
    let ended = run(world.command(&["doctor", "TH|1234567890|5ecret"]));
    ended.says(2, &["'TH|(redacted)'", "Usage:"]).hides(&["5ecret"]);
}

#[test]
fn the_address_is_complete_and_encoded() {
    let world = World::new();
    let uri = "https://app.example/call back?x=1&y=ü";
    let refused = run(world.with_app(&["authorize-url", "-r", uri]));
    refused.says(2, &["unexpected argument"]);
    let uri = "https://app.example/callback?x=1&y=%C3%BC";
    let arguments = [
        "authorize-url",
        "--redirect-uri",
        uri,
        "--scope",
        "publish insights",
        "--scope",
        "delete",
        "--json",
    ];
    let got = run(world.with_app(&arguments)).json();
    let url: Url = text(&got, "/url").parse().unwrap();
    let expected = [
        ("client_id", APP_ID),
        ("redirect_uri", uri),
        ("response_type", "code"),
        ("scope", "threads_basic,threads_content_publish,threads_manage_insights,threads_delete"),
        ("state", text(&got, "/state")),
    ];
    let pairs: Vec<_> = url.query_pairs().collect();
    let pairs: Vec<_> = pairs.iter().map(|(name, value)| (&**name, &**value)).collect();
    assert_eq!(pairs, expected);
    assert!(text(&got, "/state").len() >= 43, "{got}");
    // Without --json it is the address alone, for `open "$(…)"`.
    let plain = run(world.with_app(&["authorize-url", "--redirect-uri", uri, "--state", "mine"]));
    plain.expect(0);
    assert_eq!(plain.stderr, "");
    let url: Url = plain.stdout.trim().parse().unwrap();
    assert!(url.query_pairs().any(|pair| pair == ("state".into(), "mine".into())));
    assert!(url.query_pairs().any(|pair| pair == ("scope".into(), "threads_basic".into())));
    // The scopes come from the environment, too.
    let mut command = world.with_app(&["authorize-url", "--redirect-uri", uri, "--json"]);
    command.env("THREADS_SCOPES", "all");
    let all: Url = text(&run(command).json(), "/url").parse().unwrap();
    let (_, scopes) = all.query_pairs().find(|(name, _)| name == "scope").unwrap();
    assert_eq!(scopes.split(',').count(), 11);
    assert!(world.sandbox.calls().is_empty());

    for (more, said) in [
        (&["--scope", "x"][..], "unknown scope"),
        (&["--state", "a b"], "--state must be"),
        (&["--redirect-uri", "http://app.example/"], "must be https"),
    ] {
        let mut command = world.with_app(&["authorize-url", "--json"]);
        command.args(more).env("THREADS_REDIRECT_URI", uri);
        let ended = run(command);
        assert_eq!(ended.failure(2)["error"]["kind"], "usage");
        ended.says(2, &[said]);
    }
}

#[test]
fn the_sandbox_runs_alone() {
    let world = World::new();
    let arguments = [
        "sandbox",
        "--port",
        "0",
        "--json",
        "--state-file",
        "state.json",
        "--app-secret",
        "of-my-own",
        "--app-id",
        "77",
        "--redirect-uri",
        "https://app.example/callback",
        "--account",
        "joan",
        "--tester",
        "jean",
        "--inspection",
        "testers",
        "--exchange",
        "with_token_type",
    ];
    let accounts = |start: &mut Sandbox| -> BTreeSet<String> {
        let answer: Value = serde_json::from_str(&start.get("/control/accounts")).unwrap();
        let accounts = answer["accounts"].as_array().unwrap().iter();
        accounts.map(|account| text(account, "/user_id").to_owned()).collect()
    };
    let mut first = Sandbox::start(&world, &arguments);
    let keys: Vec<_> = first.urls.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["app_id", "app_secret", "authorize_url", "control_url", "graph_url", "threads_url"]);
    assert_eq!(first.urls["app_secret"], Value::Null, "somebody's own secret is not repeated");
    assert!(first.get("/control").contains("A stand-in for Meta"));
    let before = accounts(&mut first);
    assert_eq!(before.len(), 2);
    let state: Value = serde_json::from_str(&first.get("/control/state")).unwrap();
    let testers: Vec<_> = state["accounts"].as_array().unwrap().iter().map(|one| &one["tester"]).collect();
    assert_eq!(testers, [true, false]);
    assert_eq!(state["inspection"], "testers");
    assert_eq!(state["exchange"], "with_token_type");
    let second = run(world.command(&arguments));
    second.says(1, &["state.json is in use by another sandbox", "--state-file"]);
    assert_eq!(text(&second.failure(1), "/error/kind"), "failed");
    let refused = first.get("/oauth/authorize?client_id=77&response_type=code&scope=threads_basic&redirect_uri=https%3A%2F%2Fother.example%2F");
    assert!(refused.contains("1349168"), "{refused}");
    first.end();
    let mut again = Sandbox::start(&world, &arguments);
    assert_eq!(accounts(&mut again), before);
    again.end();

    let mut plain = Sandbox::start(&world, &["sandbox", "--port", "0", "--json"]);
    assert_eq!(plain.urls["app_secret"], "sandbox-app-secret");
    assert_eq!(accounts(&mut plain).len(), 2);
    plain.end();
}

#[test]
fn a_sandbox_that_cannot_run_says_why() {
    let world = World::new();
    let taken = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let ended = run(world.command(&["sandbox", "--port", &port, "--json"]));
    ended.says(1, &[&format!("port {port} cannot be used"), "--port 0"]);
    assert!(text(&ended.failure(1), "/message").contains(&port), "{ended:?}");
    world.write("damaged.json", "\"of-my-own\"");
    let ended = run(world.command(&["sandbox", "--port", "0", "--state-file", "damaged.json"]));
    ended.says(1, &["damaged.json", "move it away"]).hides(&["of-my-own"]);
    assert_eq!(world.read("damaged.json"), "\"of-my-own\"");
    let ended = run(world.command(&["sandbox", "--port", "0", "--state-file", "none/state.json"]));
    ended.says(1, &["none/state.json cannot be written"]);
    let ended = run(world.command(&["sandbox", "--port", "0", "--account", "no name"]));
    ended.says(1, &["letters, digits"]);
    let ended = run(world.command(&["sandbox", "--port", "0", "--app-secret", ""]));
    ended.says(1, &["an app id and an app secret"]);
}

#[test]
fn shells_complete_the_commands() {
    let world = World::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let plain = run(world.command(&["completions", shell]));
        plain.expect(0);
        for word in ["refresh_token", "authorize-url", "--env-variable", "--no-browser"] {
            // fish names options without their dashes.
            assert!(plain.stdout.contains(word.trim_start_matches('-')), "{shell}: {word}");
        }
        let json = run(world.command(&["completions", shell, "--json"])).json();
        assert_eq!(text(&json, "/shell"), shell);
        assert_eq!(text(&json, "/script").trim_end(), plain.stdout.trim_end());
    }
    // A shell reads it.
    let script = world.write("script", run(world.command(&["completions", "bash"])).stdout);
    let read = std::process::Command::new("bash").arg("-n").arg(script).output();
    if let Ok(read) = read {
        assert!(read.status.success() && read.stderr.is_empty(), "{read:?}");
    }
}

#[test]
fn bash_completes_at_every_depth() {
    let world = World::new();
    let script = world.write("script", run(world.command(&["completions", "bash"])).stdout);
    // As bash calls it: the words, the one that is being typed, and the one before.
    let lines = |line: &str| -> Vec<String> {
        let ask = r#"source "$0"; compopt() { :; }; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
            _threads__auth "$1" "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
            printf '%s\n' "${COMPREPLY[@]}""#;
        let mut bash = std::process::Command::new("bash");
        bash.args(["--norc", "-c", ask]).arg(&script).args(line.split(' ')).current_dir(world.path(""));
        let output = bash.output().unwrap();
        assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
        String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
    };
    let complete = |line: &str| -> Vec<String> {
        lines(line).iter().flat_map(|line| line.split_whitespace()).map(str::to_owned).collect()
    };
    for (line, expected) in [
        ("threads-auth acc", &["access_token", "access-token", "accounts"][..]),
        ("threads-auth accounts li", &["list"]),
        ("threads-auth accounts list --js", &["--json"]),
        ("threads-auth accounts list --status refr", &[]),
        ("threads-auth accounts export --form", &["--format"]),
        ("threads-auth keyring ro", &["rotate"]),
        ("threads-auth keyring rotate --key", &["--key-id"]),
        ("threads-auth refresh_token --env-", &["--env-path", "--env-variable"]),
        ("threads-auth access_token --auth-", &["--auth-code"]),
        ("threads-auth access-token --auth-", &["--auth-code"]),
        ("threads-auth authorize-url --sco", &["--scope"]),
        ("threads-auth dev --threads li", &["live"]),
        ("threads-auth dev --return", &["--return-to"]),
    ] {
        assert_eq!(complete(line), expected, "{line}");
    }
    // A shell breaks these into words before and behind the sign.
    assert_eq!(complete("threads-auth accounts export --format = j"), ["jsonl"]);
    assert_eq!(complete("threads-auth accounts export --format ="), ["jsonl", "csv"]);
    assert!(complete("threads-auth accounts list --status ").contains(&"active".to_owned()));
    // A file is one candidate, whatever is in its name.
    world.write("a file", "");
    for line in [
        "threads-auth sandbox --state-file a",
        "threads-auth refresh_token --env_path a",
        "threads-auth accounts export --output a",
        "threads-auth dev --json-events a",
    ] {
        assert_eq!(lines(line), ["a file"], "{line}");
    }
}

/// The longest line that could be broken: one with a space behind its indentation.
fn longest_line(text: &str) -> usize {
    let breakable = text.lines().filter(|line| line.trim().contains(' '));
    breakable.map(|line| line.chars().count()).max().unwrap()
}

#[test]
fn help_is_as_wide_as_the_terminal() {
    let world = World::new();
    let pages = run(world.command(&["man", "--json"])).json();
    let mut count = 0;
    for page in pages["pages"].as_object().unwrap().keys() {
        let called = page.strip_prefix("threads-auth").unwrap().strip_suffix(".1").unwrap();
        // A dash stands between the words of a command, and in some of the names.
        let names = ["authorize-url", "dead-letters", "restore-secret"];
        let called =
            names.iter().fold(called.to_owned(), |text, name| text.replace(name, &name.replace('-', "=")));
        let called = called.replace('-', " ").replace('=', "-");
        for (columns, most) in [("", 100), ("72", 72), ("200", 100)] {
            let mut command = world.command(&[]);
            command.args(called.split_whitespace()).arg("--help").env("COLUMNS", columns);
            let help = run(command);
            let longest = longest_line(&help.expect(0).stdout);
            assert!(longest <= most, "{called} at {columns}: {longest}\n{}", help.stdout);
            count += 1;
        }
    }
    assert!(count > 80, "{count}");
}

#[test]
fn mistakes_in_usage_are_told_to_programs_too() {
    let world = World::new();
    for (arguments, message) in [
        (&["accounts", "list", "--bogus", "--json"][..], "unexpected argument '--bogus' found"),
        (&["accounts", "list", "--json", "--bogus"], "unexpected argument '--bogus' found"),
        (&["--json", "--bogus"], "unexpected argument '--json' found"),
        (&["--json"], "unexpected argument '--json' found"),
        (&["accounts", "--json"], "unexpected argument '--json' found"),
        (&["nonsense", "--json"], "unrecognized subcommand 'nonsense'"),
        (&["accounts", "nonsense", "--json"], "unrecognized subcommand 'nonsense'"),
        (&["accounts", "show", "--json"], "the following required arguments were not provided"),
        (&["accounts", "list", "--json", "--watch=soon"], "invalid value 'soon' for '--watch[=<SECONDS>]'"),
        (&["dev", "--json", "--port", "99999"], "invalid value '99999' for '--port <N>'"),
        (&["sandbox", "--port", "x", "--json"], "invalid value 'x' for '--port <N>'"),
        (&["completions", "tcsh", "--json"], "invalid value 'tcsh' for '<SHELL>'"),
        (&["accounts", "list", "--json", "--local", "--stack", "x"], "cannot be used with"),
        (&["refresh_token", "-p", "--json"], "a value is required for '--env-path"),
    ] {
        let ended = run(world.command(arguments));
        let failure = ended.failure(2);
        assert_eq!(failure["error"]["kind"], "usage", "{failure}");
        assert!(text(&failure, "/message").contains(message), "{failure}");
        assert!(text(&failure, "/error/next").contains("--help"), "{failure}");
        assert!(ended.stderr.contains("--help"), "{ended:?}");
    }
    // The app's token is not repeated, and a word after `--` is not a flag.
    let token = "TH|1234567890|canary";
    run(world.command(&["accounts", "show", "--json", "--bogus", token])).hides(&[token]);
    run(world.command(&["accounts", "list", "--json", "--days-left-under", token]))
        .hides(&[token])
        .failure(2);
    assert_eq!(run(world.command(&["accounts", "list", "--", "--json"])).expect(2).stdout, "");
    // A request for help is not an error.
    assert!(
        run(world.command(&["accounts", "list", "--json", "--help"])).expect(0).stdout.contains("Usage:")
    );
}

#[test]
fn the_manual_has_a_page_for_each_command() {
    let world = World::new();
    let main = run(world.command(&["man"]));
    main.expect(0);
    assert!(main.stdout.contains(".TH threads-auth 1"), "{}", main.stdout);
    let pages = run(world.command(&["man", "--json"])).json();
    let pages = pages["pages"].as_object().unwrap();
    let names: Vec<_> = pages.keys().map(String::as_str).collect();
    let expected = [
        "threads-auth-access_token.1",
        "threads-auth-accounts-delete.1",
        "threads-auth-accounts-disconnect.1",
        "threads-auth-accounts-export.1",
        "threads-auth-accounts-import.1",
        "threads-auth-accounts-list.1",
        "threads-auth-accounts-refresh.1",
        "threads-auth-accounts-show.1",
        "threads-auth-accounts.1",
        "threads-auth-authorize-url.1",
        "threads-auth-completions.1",
        "threads-auth-configure.1",
        "threads-auth-console.1",
        "threads-auth-dead-letters-purge.1",
        "threads-auth-dead-letters-replay.1",
        "threads-auth-dead-letters-show.1",
        "threads-auth-dead-letters.1",
        "threads-auth-dev.1",
        "threads-auth-doctor.1",
        "threads-auth-keyring-prune.1",
        "threads-auth-keyring-reseal.1",
        "threads-auth-keyring-rotate.1",
        "threads-auth-keyring-show.1",
        "threads-auth-keyring-upgrade.1",
        "threads-auth-keyring.1",
        "threads-auth-login.1",
        "threads-auth-man.1",
        "threads-auth-pause.1",
        "threads-auth-refresh_token.1",
        "threads-auth-restore-secret-app.1",
        "threads-auth-restore-secret-keyring.1",
        "threads-auth-restore-secret-show.1",
        "threads-auth-restore-secret.1",
        "threads-auth-restore.1",
        "threads-auth-resume.1",
        "threads-auth-sandbox.1",
        "threads-auth-sweep.1",
        "threads-auth-webhook-rotate.1",
        "threads-auth-webhook-secret.1",
        "threads-auth-webhook.1",
        "threads-auth.1",
    ];
    assert_eq!(names, expected);
    assert!(pages["threads-auth-login.1"].as_str().unwrap().contains("Examples:"));
    let written = run(world.command(&["man", "--dir", "man/man1", "--json"])).json();
    assert_eq!(written["files"].as_array().unwrap().len(), expected.len());
    for name in expected {
        assert_eq!(world.read(&format!("man/man1/{name}")), pages[name].as_str().unwrap());
    }
    world.write("file", "");
    run(world.command(&["man", "--dir", "file/man1"])).says(1, &["file/man1 cannot be created"]);
}

/// A `threads-auth sandbox` that runs.
struct Sandbox {
    child: std::process::Child,
    urls: Value,
}

impl Sandbox {
    fn start(world: &World, arguments: &[&str]) -> Self {
        use std::io::{BufRead, BufReader};
        let mut command = world.command(arguments);
        let mut child =
            command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::null()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        let urls = serde_json::from_str(&line).unwrap();
        Self { child, urls }
    }

    /// One request, by hand.
    fn get(&mut self, path: &str) -> String {
        use std::io::{Read, Write};
        let address = text(&self.urls, "/threads_url").strip_prefix("http://").unwrap();
        let mut stream = std::net::TcpStream::connect(address).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer.split_once("\r\n\r\n").unwrap().1.to_owned()
    }

    fn end(mut self) {
        crate::support::signal(self.child.id(), "TERM");
        assert_eq!(self.child.wait().unwrap().code(), Some(0));
    }
}

impl Drop for Sandbox {
    /// After a test that failed.
    fn drop(&mut self) {
        let _ = self.child.kill();
    }
}
