//! ThreadsPipe's command lines, and the shapes of what they print.

use std::process::Command;

use serde_json::{Value, json};
use threads_sandbox::{FaultAction, SandboxCall};

use crate::support::{APP_ID, APP_SECRET, REDIRECT_URI, USER, World, run, run_with, text};

/// The guide's commands, letter for letter. Only the placeholders are filled in, and the program's
/// name is ours.
const GUIDE_ACCESS_TOKEN: &str = "\
threadspipepy access_token \\
  --app_id=your-app-id \\
  --app_secret=your-app-secret \\
  --auth_code=ABC123def456GHI... \\
  --redirect_uri=https://example.com/callback \\
  --env_path=./.env \\
  --env_variable=long_lived_token \\
  --silent
";
const GUIDE_REFRESH_TOKEN: &str = "\
threadspipepy refresh_token \\
  --access_token=your-current-long-token \\
  --env_path=./.env \\
  --env_variable=long_lived_token \\
  --auto_mode=true \\
  --silent
";

/// Runs a line of the guide in a shell.
fn shell(world: &World, line: &str) -> Command {
    let program = env!("CARGO_BIN_EXE_threads-auth");
    let mut command = Command::new("sh");
    command.args(["-c", &line.replace("threadspipepy", &format!("'{program}'"))]);
    world.surround(&mut command);
    command
}

fn stored(world: &World) -> String {
    let env = world.read(".env");
    let (_, value) = env.split_once("long_lived_token='").unwrap();
    value.split_once('\'').unwrap().0.to_owned()
}

#[test]
fn the_guides_commands_run_as_they_stand() {
    let world = World::new();
    let code = world.sandbox.issue_code(USER, "https://example.com/callback", &[]);
    let line = GUIDE_ACCESS_TOKEN
        .replace("your-app-id", APP_ID)
        .replace("your-app-secret", APP_SECRET)
        .replace("ABC123def456GHI...", &code);
    let ended = run(shell(&world, &line));
    ended.expect(0);
    // Silent is silent, in spite of the secrets among the arguments.
    assert_eq!(ended.stderr, "");
    assert!(ended.stdout.contains(USER) && !ended.stdout.contains('\u{1b}'), "{ended:?}");
    let first = stored(&world);
    assert!(first.starts_with("THQVJ"), "{first}");

    world.sandbox.clock().advance(2 * crate::support::DAY);
    // With auto mode the token in .env counts, not the argument.
    let line = GUIDE_REFRESH_TOKEN.replace("your-current-long-token", "not-a-token");
    let ended = run(shell(&world, &line));
    ended.expect(0);
    assert_eq!(ended.stderr, "");
    assert_ne!(stored(&world), first);
    ended.hides(&[&stored(&world), &first]);
}

#[test]
fn every_flag_works_in_every_spelling() {
    let world = World::new();
    let kept = ["--env_path", ".env", "--env_variable", "T"];
    for spelling in [
        ["-id", "-secret", "-code", "-r", "-p", "-v", "-s"],
        [
            "--app_id",
            "--app_secret",
            "--auth_code",
            "--redirect_uri",
            "--env_path",
            "--env_variable",
            "--silent",
        ],
        [
            "--app-id",
            "--app-secret",
            "--auth-code",
            "--redirect-uri",
            "--env-path",
            "--env-variable",
            "--silent",
        ],
    ] {
        for equals in [false, true] {
            let code = world.code();
            let values = [APP_ID, APP_SECRET, &code, REDIRECT_URI, ".env", "T", "true"];
            let mut arguments = vec!["access-token".to_owned()];
            for (flag, value) in spelling.iter().zip(values) {
                if equals {
                    arguments.push(format!("{flag}={value}"));
                } else {
                    arguments.extend([(*flag).to_owned(), value.to_owned()]);
                }
            }
            let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
            let ended = run(world.command(&arguments));
            ended.expect(0);
            assert_eq!(ended.stderr, "", "{arguments:?}");
            assert!(world.read(".env").starts_with("T='THQVJ"), "{arguments:?}");
            std::fs::remove_file(world.path(".env")).unwrap();
        }
    }
    for token in ["-token", "--access_token", "--access-token"] {
        let old = world.old_token();
        let ended = run(world.command(&["refresh_token", token, &old, "--json"]));
        assert!(text(&ended.json(), "/access_token").starts_with("THQVJ"));
        for auto in ["-auto", "--auto_mode", "--auto-mode"] {
            let old = world.old_token();
            for yes in [
                vec![auto.to_owned(), "true".to_owned()],
                vec![format!("{auto}=True")],
                vec![auto.to_owned()],
            ] {
                world.write(".env", format!("T={old}\n"));
                let mut arguments = vec!["refresh_token"];
                arguments.extend(yes.iter().map(String::as_str));
                arguments.extend(kept);
                run(world.command(&arguments)).expect(0);
                assert!(!world.read(".env").contains(&old), "{arguments:?}");
            }
        }
    }
}

#[test]
fn a_false_auto_mode_is_false() {
    let world = World::new();
    let (given, kept) = (world.old_token(), world.old_token());
    for no in ["--auto_mode=false", "-auto=0", "--auto-mode=No"] {
        world.write(".env", format!("T={kept}\n"));
        let calls = world.sandbox.calls().len();
        let arguments = ["refresh_token", no, "-p", ".env", "-v", "T", "-token", &given, "--json"];
        run(world.command(&arguments)).expect(0);
        assert_eq!(world.sandbox.calls().len(), calls + 1);
        // The token that was given was refreshed: the other one would have another tag.
        let tags: Vec<_> = world.sandbox.calls().iter().map(|call| call.credential_tag.clone()).collect();
        assert_eq!(tags.last(), tags.first(), "{no}");
    }
    // Without a token there is nothing to refresh, for all that .env holds one.
    let ended = run(world.command(&["refresh_token", "--auto_mode=false", "-p", ".env", "-v", "T"]));
    ended.says(2, &["--access-token is missing"]);
    let ended = run(world.command(&["refresh_token", "--auto_mode=flase", "-p", ".env", "-v", "T"]));
    ended.says(2, &["expected true or false"]);
}

#[test]
fn the_results_have_threadspipes_shape() {
    let world = World::new();
    let code = world.code();
    let arguments = ["access_token", "--auth_code", &code, "-r", REDIRECT_URI, "--json"];
    let got = run(world.with_app(&arguments)).json();
    let shape = json!({
        "user_id": USER,
        "tokens": {
            "short_lived": {
                "access_token": text(&got, "/tokens/short_lived/access_token"),
                "user_id": USER,
                "expires_in": 3600,
            },
            "long_lived": {
                "access_token": text(&got, "/tokens/long_lived/access_token"),
                "token_type": "bearer",
                "expires_in": 5_183_944,
            },
        },
    });
    assert_eq!(got, shape);

    let token = text(&got, "/tokens/long_lived/access_token");
    world.sandbox.clock().advance(2 * crate::support::DAY);
    let refreshed = run(world.command(&["refresh_token", "-token", token, "--json"])).json();
    let keys: Vec<_> = refreshed.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["access_token", "expires_in", "token_type"]);
}

#[test]
fn failures_have_threadspipes_words() {
    let world = World::new();
    let message = |ended: &Value| text(ended, "/message").to_owned();
    let spent = ["access_token", "--auth_code=spent", "-r", REDIRECT_URI, "--json"];
    let failure = run(world.with_app(&spent)).failure(3);
    assert_eq!(message(&failure), "Could not generate short lived token");
    assert_eq!(failure["error"]["kind"], "code_unusable");
    assert_eq!(failure["error"]["status"], 400);

    world.fault(SandboxCall::ExchangeLongLived, 3, FaultAction::Html);
    let code = world.code();
    let arguments = ["access_token", "--auth_code", &code, "-r", REDIRECT_URI, "--json"];
    let ended = run(world.with_app(&arguments));
    assert_eq!(message(&ended.failure(4)), "Could not generate long lived token");

    let failure = run(world.command(&["refresh_token", "-token", "THQVJnone", "--json"])).failure(3);
    assert_eq!(message(&failure), "An error occured could not refresh access token");
    assert_eq!(failure["error"]["code"], 190);
}

#[test]
fn one_env_flag_without_the_other_is_a_mistake() {
    let world = World::new();
    for command in ["access_token", "refresh_token"] {
        let ended = run(world.with_app(&[command, "-p", ".env"]));
        ended.says(2, &["You must also provide the env variable"]);
        let ended = run(world.with_app(&[command, "-v", "T"]));
        ended.says(2, &["You must also provide the path to the .env file"]);
    }
    let ended = run(world.command(&["refresh_token", "--auto_mode=true"]));
    ended.says(2, &["--auto-mode needs --env-path and --env-variable"]);
    let ended = run(world.command(&["refresh_token", "-auto", "-p", ".env", "-v", "no name"]));
    ended.says(2, &["--env-variable must be a name"]);
    let ended = run(world.command(&["refresh_token", "-auto", "-p", ".env", "-v", "T"]));
    ended.says(2, &[".env does not define T", "threads-auth login"]);
    assert!(world.sandbox.calls().is_empty());
}

#[test]
fn flags_of_the_other_command_are_taken_and_told() {
    let world = World::new();
    let old = world.old_token();
    let arguments = ["refresh_token", "-token", &old, "-id", "1", "-code", "x", "--json"];
    let ended = run(world.command(&arguments));
    ended.says(0, &["refresh_token does not use --app-id", "does not use --auth-code"]);
    // The command's name need not come first.
    run(world.command(&["-token", &old, "refresh_token", "--json"])).json();
}

#[test]
fn secrets_come_from_wherever_they_are() {
    let world = World::new();
    let check = |command, input: &str, warns: bool| {
        let ended = run_with(command, input);
        ended.expect(0).hides(&[APP_SECRET]);
        assert_eq!(ended.stderr.contains("is a secret"), warns, "{ended:?}");
    };
    let exchange = |more: &[&str]| {
        let mut arguments = vec!["access_token", "-code", "-", "-r", REDIRECT_URI, "--json"];
        arguments.extend(more);
        world.command(&arguments)
    };
    let line = || format!("{}\n", world.code());
    // As an argument, with a warning that --silent takes away.
    check(exchange(&["-id", APP_ID, "-secret", APP_SECRET]), &line(), true);
    check(exchange(&["-id", APP_ID, "-secret", APP_SECRET, "-s"]), &line(), false);
    // On standard input, one line each.
    let both = format!("{APP_SECRET}\r\n{}", line());
    check(exchange(&["-id", APP_ID, "-secret", "-"]), &both, false);
    // In the environment.
    let mut command = exchange(&["-id", APP_ID]);
    command.env("THREADS_APP_SECRET", APP_SECRET);
    check(command, &line(), false);
    // In the file that the token goes to, or in .env. The environment comes first, and that file
    // before the other.
    let app = format!(
        "export THREADS_APP_ID={APP_ID}\nTHREADS_APP_SECRET='{APP_SECRET}'\nTHREADS_REDIRECT_URI={REDIRECT_URI}\n"
    );
    world.write("other.env", &app);
    world.write(".env", "THREADS_APP_ID=1\nTHREADS_APP_SECRET=wrong\n");
    check(exchange(&["-p", "other.env", "-v", "T"]), &line(), false);
    world.write(".env", &app);
    check(exchange(&[]), &line(), false);
    let arguments = ["access_token", "--auth_code=-"];
    check(world.command(&arguments), &line(), false);
    // Nowhere, and nobody to ask.
    std::fs::remove_file(world.path(".env")).unwrap();
    let calls = world.sandbox.calls().len();
    let ended = run(world.command(&["access_token", "-id", APP_ID]));
    ended.says(2, &["--app-secret is missing", "THREADS_APP_SECRET", "`--app-secret -`"]);
    let ended = run(exchange(&["-id", APP_ID, "-secret", "-"]));
    ended.says(2, &["which has none left"]);
    assert_eq!(world.sandbox.calls().len(), calls);
}

#[test]
fn a_code_may_be_pasted_as_it_came() {
    let world = World::new();
    for pasted in [
        format!("{}#_", world.code()),
        format!("{REDIRECT_URI}?code={}&state=any#_", world.code()),
        format!("code={}&state=any", world.code()),
        format!("{REDIRECT_URI}?code={}#_=_", world.code()),
        format!("{REDIRECT_URI}/?code={}%23_", world.code()),
    ] {
        let arguments = ["access_token", "--auth_code", &pasted, "-r", REDIRECT_URI, "--json"];
        run(world.with_app(&arguments)).json();
    }
    let denied = format!("{REDIRECT_URI}?error=access_denied&error_reason=user_denied");
    let ended = run(world.with_app(&["access_token", "-code", &denied, "-r", REDIRECT_URI]));
    ended.says(3, &["did not agree"]);
    let failed = format!("{REDIRECT_URI}?error_code=1349168&error_message=Blocked");
    let ended = run(world.with_app(&["access_token", "-code", &failed, "-r", REDIRECT_URI]));
    ended.says(1, &["Meta ended the login with error 1349168"]).hides(&["Blocked"]);
    let ended = run(world.with_app(&["access_token", "-code", "a b", "-r", REDIRECT_URI]));
    ended.says(2, &["the parameter code is malformed"]);
}
