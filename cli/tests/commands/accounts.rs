//! `accounts`: an operator lists people's accounts, imports tokens, and ends accounts.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write as _};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};
use std::time::Instant;

use aws_sdk_dynamodb::types::AttributeValue;
use serde_json::{Value, json};
use threads_sandbox::{FaultAction, SandboxCall};

use crate::stack::Local;
use crate::support::{DAY, Ended, HOLD, NOWHERE, Running, run, run_with, text};

const ADA: &str = "17841400000000001";
const BEN: &str = "17841400000000002";
const EVE: &str = "17841400000000003";

fn ids(listed: &Value) -> Vec<&str> {
    let accounts = listed["accounts"].as_array().unwrap();
    accounts.iter().map(|account| text(account, "/user_id")).collect()
}

#[test]
fn accounts_are_listed_weakest_first_and_filtered() {
    let local = Local::new();
    local.run(&["accounts", "list"]).expect(0);
    assert_eq!(local.run(&["accounts", "list"]).stdout, "There are no such accounts.\n");
    let ada = local.account(ADA);
    local.stack.clock().advance(5 * DAY);
    local.account(BEN);
    local.account(EVE);
    local.run(&["accounts", "disconnect", EVE, "--yes"]).expect(0);

    let listed = local.run(&["accounts", "list", "--json"]).json();
    assert_eq!(ids(&listed), [ADA, BEN, EVE]);
    assert!(text(&listed, "/now").starts_with("2041-01-06T"));
    let weak = local.run(&["accounts", "list", "--days-left-under", "56", "--json"]).json();
    assert_eq!(ids(&weak), [ADA]);
    let revoked = local.run(&["accounts", "list", "--status", "revoked", "--json"]).json();
    assert_eq!(ids(&revoked), [EVE]);
    let none = local.run(&["accounts", "list", "--status", "needs_reauthorization", "--json"]).json();
    assert!(ids(&none).is_empty());

    let plain = local.run(&["accounts", "list"]);
    plain.expect(0).hides(&[&ada]);
    let lines: Vec<_> = plain.stdout.lines().collect();
    assert!(lines[0].trim_start().starts_with("ACCOUNT"), "{lines:?}");
    assert!(lines[1].contains(ADA) && lines[1].contains("active") && lines[1].contains(" 54 "), "{lines:?}");
    assert!(lines[3].contains("revoked: app"), "{lines:?}");
    assert_eq!(lines[4], "3 accounts");

    // A malformed row is reported, and hides nothing else.
    local.spoil(BEN, "issued_at", AttributeValue::S("long ago".to_owned()));
    let listed = local.run(&["accounts", "list", "--json"]);
    listed.says(0, &["warning:", BEN, "issued_at"]);
    assert_eq!(ids(&listed.json()), [ADA, EVE]);
    assert!(text(&listed.json(), "/broken_rows/0").contains(BEN));
}

#[test]
fn accounts_are_found_by_their_user_and_by_their_name_in_logs() {
    let local = Local::new();
    for user_id in [ADA, BEN, EVE] {
        local.account(user_id);
    }
    let at = AttributeValue::N("2240611200".to_owned());
    for (user_id, reference) in [(ADA, "user-7"), (BEN, "user-8")] {
        local.spoil(user_id, "reference", AttributeValue::S(reference.to_owned()));
        local.spoil(user_id, "claimed_at", at.clone());
    }
    let theirs = local.run(&["accounts", "list", "--reference", "user-7", "--json"]).json();
    assert_eq!((ids(&theirs), text(&theirs, "/accounts/0/reference")), (vec![ADA], "user-7"));
    let plain = local.run(&["accounts", "list"]);
    plain.expect(0);
    assert!(["REFERENCE", "user-7", "user-8"].iter().all(|word| plain.stdout.contains(word)), "{plain:?}");

    let shown = local.run(&["accounts", "show", BEN, "--json"]).json();
    let pseudonym = text(&shown, "/pseudonym").to_owned();
    assert!(pseudonym.starts_with("p_"), "{pseudonym}");
    assert_eq!(local.run(&["accounts", "show", &pseudonym, "--json"]).json(), shown);
    let plain = local.run(&["accounts", "show", BEN]);
    plain.expect(0);
    let words = ["Name in logs", &pseudonym, "Belongs to", "user-8"];
    assert!(words.iter().all(|word| plain.stdout.contains(word)), "{plain:?}");
    local.spoil(BEN, "issued_at", AttributeValue::S("long ago".to_owned()));
    local.run(&["accounts", "show", &pseudonym]).says(1, &[BEN, "issued_at"]);
    local.run(&["accounts", "show", "p_0000000000000000"]).says(1, &["no account", "p_0000000000000000"]);
    local.run(&["accounts", "show", "p_short"]).says(2, &["a pseudonym"]);
}

#[test]
fn a_list_is_watched_until_it_is_stopped() {
    let local = Local::new();
    local.account(ADA);
    let mut command = local.command(&["accounts", "list", "--watch=1", "--json"]);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let first: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
    local.stack.clock().advance(DAY);
    // The clock was advanced while it waited, or while it asked for the first time again.
    let moved = lines.any(|line| {
        let seen: Value = serde_json::from_str(&line.unwrap()).unwrap();
        text(&seen, "/now").starts_with("2041-01-02T")
    });
    assert!(text(&first, "/now").starts_with("2041-01-01T") && moved);
    crate::support::signal(child.id(), "INT");
    assert_eq!(child.wait().unwrap().code(), Some(130));
}

/// Runs a command whose standard output nobody reads.
fn unread(mut command: Command) -> Ended {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    command.stdout(writer);
    Running::start_with_stdout(command).end()
}

#[test]
fn whoever_reads_may_stop_when_they_have_seen_enough() {
    let local = Local::new();
    for user_id in [ADA, BEN, EVE] {
        local.account(user_id);
    }
    for arguments in [
        &["accounts", "list"][..],
        &["accounts", "list", "--json"],
        &["accounts", "list", "--watch=1"],
        &["accounts", "list", "--watch=1", "--json"],
        &["accounts", "show", ADA],
        &["accounts", "show", ADA, "--json"],
        &["accounts", "export"],
        &["accounts", "export", "--format", "csv"],
        &["accounts", "export", ADA, "--personal"],
        &["doctor"],
        &["doctor", "--json"],
        &["keyring", "show"],
        &["keyring", "reseal", "--json"],
        &["sweep"],
        &["pause"],
        &["resume", "--json"],
    ] {
        let ended = unread(local.command(arguments));
        ended.expect(0);
        assert!(!ended.stderr.contains("threads-auth:"), "{arguments:?}: {ended:?}");
    }
    for arguments in [&["completions", "bash"][..], &["man"], &["man", "--json"], &["--help"], &["--version"]]
    {
        let ended = unread(local.bare(arguments));
        assert_eq!(ended.expect(0).stderr, "", "{arguments:?}");
    }
    // A failure still has its exit code, and a change that has begun is completed.
    unread(local.command(&["accounts", "show", "17841400000000009", "--json"])).says(1, &["threads-auth:"]);
    unread(local.command(&["accounts", "delete", ADA, BEN, EVE, "--yes"])).expect(0);
    assert!([ADA, BEN, EVE].iter().all(|user_id| local.grant(user_id).is_none()));
    // As a shell does it.
    let mut shell = Command::new("bash");
    let line = "set -o pipefail; for way in '' --json; do \"$0\" accounts list $way \"$1\" | head -c 1; done";
    shell.args(["-c", line, env!("CARGO_BIN_EXE_threads-auth"), &local.local()]);
    local.surround(&mut shell);
    assert_eq!(run(shell).expect(0).stdout, "T{");
}

#[test]
fn one_account_is_shown_refreshed_and_ended() {
    let local = Local::new();
    let token = local.account(ADA);
    let grant = local.grant(ADA).unwrap();
    let stored = grant.live().unwrap();
    // Meta's reported life, counted from the command's call.
    assert_eq!(stored.expires_at.duration_since(stored.issued_at).as_secs(), 5_183_944);
    let shown = local.run(&["accounts", "show", ADA]);
    shown.expect(0).hides(&[&token]);
    assert!(
        shown.stdout.contains("person00001") && shown.stdout.contains(&stored.expires_at.to_string()),
        "{shown:?}"
    );
    let json = local.run(&["accounts", "show", ADA, "--json"]).json();
    assert_eq!(text(&json, "/status"), "active");

    let young = local.run(&["accounts", "refresh", ADA, "--json"]);
    young.expect(4);
    let young: Value = serde_json::from_str(&young.stdout).unwrap();
    assert_eq!(text(&young, "/outcome"), "too_young");
    local.stack.clock().advance(2 * DAY);
    let refreshed = local.run(&["accounts", "refresh", ADA]);
    refreshed.expect(0);
    assert!(
        refreshed.stdout.starts_with("refreshed: ") && refreshed.stdout.contains("2041-03-03T"),
        "{refreshed:?}"
    );
    local.stack.clock().advance(2 * DAY);
    local.fault(SandboxCall::Refresh, 1, FaultAction::Html);
    local.run(&["accounts", "refresh", ADA]).expect(4);

    local.account(BEN);
    local.stack.clock().advance(2 * DAY);
    local.stack.sandbox().unwrap().revoke(BEN);
    local.run(&["accounts", "refresh", BEN]).expect(3);
    local.run(&["accounts", "refresh", BEN]).says(3, &["needs_reauthorization", "connecting again"]);

    local.run(&["accounts", "disconnect", ADA]).says(2, &["--yes"]);
    assert!(local.grant(ADA).unwrap().live().is_some());
    let ended = local.run(&["accounts", "disconnect", ADA, "--yes", "--json"]).json();
    assert_eq!(ended["disconnected"], true);
    assert!(local.grant(ADA).unwrap().live().is_none());
    local.run(&["accounts", "refresh", ADA]).says(3, &["revoked"]);

    for command in [&["show"][..], &["refresh"], &["disconnect", "--yes"]] {
        let arguments: Vec<_> = ["accounts"].iter().chain(command).chain(&[EVE]).copied().collect();
        local
            .run(&arguments)
            .says(1, &["no account 17841400000000003 is connected to the development stack"]);
        let mut bad = arguments.clone();
        *bad.last_mut().unwrap() = "@ada";
        local.run(&bad).says(2, &["@ada"]);
    }
    local.spoil(BEN, "status", AttributeValue::S("odd".to_owned()));
    local.run(&["accounts", "show", BEN]).says(1, &["attribute status is malformed"]);
}

#[test]
fn tokens_are_taken_over_from_csv_and_json() {
    let local = Local::new();
    let (ada, ben, eve) = (local.token(ADA), local.token(BEN), local.token(EVE));
    // As a spreadsheet writes it: a mark, CRLF, quotes, another order, and a column of its own.
    local.write(
        "tokens.csv",
        format!("\u{feff}Name,USER_ID,Token,expires_at\r\n\"A, B\",{ADA},\"{ada}\",2041-02-01T00:00:00Z\r\n,,{ben},\r\n"),
    );
    let first = local.run(&["accounts", "import", "tokens.csv", "--json"]);
    let json = first.json();
    assert_eq!((json["read"].as_u64(), json["imported"].as_u64()), (Some(2), Some(2)), "{json}");
    assert_eq!(json["rejected_file"], Value::Null);
    first.hides(&[&ada, &ben]);
    assert!(!local.path("tokens.csv.rejected").exists());
    assert!(local.grant(ADA).is_some() && local.grant(BEN).is_some());
    let again = local.run(&["accounts", "import", "tokens.csv"]);
    again.expect(0);
    assert_eq!(again.stdout, "2 lines: 0 taken over, 2 connected already, 0 rejected, 0 to be tried again\n");

    let lines =
        format!("\n{{\"access_token\":\"{eve}\",\"user_id\":{EVE},\"expires_at\":2245708800,\"more\":1}}\n");
    let piped = run_with(local.command(&["accounts", "import", "-", "--rejected", "r", "--json"]), &lines);
    assert_eq!(piped.json()["imported"], 1);
    // From a later line on.
    let rest = local.run(&["accounts", "import", "tokens.csv", "--from-line", "3", "--json"]).json();
    assert_eq!((rest["read"].as_u64(), rest["present"].as_u64()), (Some(1), Some(1)));
}

#[test]
fn what_is_not_taken_over_is_kept_with_its_reason() {
    let local = Local::new();
    let (ada, ben) = (local.token(ADA), local.token(BEN));
    local.stack.sandbox().unwrap().revoke(BEN);
    let lines = [
        format!("{{\"token\":\"{ada}\",\"user_id\":\"{ADA}\"}}"),
        format!("{{\"token\":\"{ben}\"}}"),
        format!("{{\"token\":\"{ada}\",\"user_id\":\"{BEN}\"}}"),
        format!("{{\"token\":\"{ada}\",\"expires_at\":\"tomorrow\"}}"),
        format!("not JSON, but {ada}"),
        "{\"user_id\":\"1\"}".to_owned(),
        "{\"token\":\"a b\"}".to_owned(),
        format!("{{\"token\":\"{ada}\",\"user_id\":\"x\"}}"),
    ];
    local.write("tokens.jsonl", lines.join("\n"));
    local.write("tokens.jsonl.rejected", "of an earlier run");
    let ended = local.run(&["accounts", "import", "tokens.jsonl", "--json"]);
    ended.says(1, &["tokens.jsonl.rejected", "It holds tokens"]).hides(&[&ada, &ben]);
    let json: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(
        (json["imported"].as_u64(), json["rejected"].as_u64(), json["failed"].as_u64()),
        (Some(1), Some(7), Some(0))
    );
    let mode = std::fs::metadata(local.path("tokens.jsonl.rejected")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let mut kept: Vec<Value> =
        local.read("tokens.jsonl.rejected").lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    kept.sort_by_key(|line| line["line"].as_u64());
    let reasons: Vec<_> = kept.iter().map(|line| text(line, "/reason")).collect();
    for (reason, part) in reasons.iter().zip([
        "Meta refuses the token",
        "another account",
        "expires_at is neither",
        "not a JSON object",
        "no access_token",
        "token",
        "user_id is no",
    ]) {
        assert!(reason.contains(part), "{reason} / {part}");
    }
    assert_eq!(text(&kept[0], "/access_token"), ben);
    assert!(text(&kept[3], "/text").contains(&ada));
}

#[test]
fn what_fails_is_tried_again_and_kept_for_later() {
    let local = Local::new();
    let ada = local.token(ADA);
    local.write("tokens.csv", format!("access_token\n{ada}\n"));
    local.fault(SandboxCall::Me, 1, FaultAction::Html);
    local.run(&["accounts", "import", "tokens.csv"]).expect(0);

    let ben = local.token(BEN);
    local.write("tokens.csv", format!("access_token\n{ben}\n"));
    local.fault(SandboxCall::Me, 1, FaultAction::Drop);
    let ended = local.run(&["accounts", "import", "tokens.csv", "--tries", "1", "--json"]);
    ended.says(4, &["tokens.csv.rejected"]);
    let json: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!((json["rejected"].as_u64(), json["failed"].as_u64()), (Some(0), Some(1)));
    assert!(local.read("tokens.csv.rejected").contains("\"try_again\":true"));
    // The file of rejected lines can be imported itself.
    let later = local.run(&["accounts", "import", "tokens.csv.rejected", "--json"]).json();
    assert_eq!(later["imported"], 1);
    assert!(local.grant(BEN).is_some());

    // Meta is down: the remaining lines are not tried, and the line to resume from is printed.
    let mut lines = "token\n".to_owned();
    for _ in 0..500 {
        lines.push_str(&ben);
        lines.push('\n');
    }
    local.write("tokens.csv", lines);
    local.fault(SandboxCall::Me, 1_000, FaultAction::Html);
    let ended =
        local.run(&["accounts", "import", "tokens.csv", "--tries", "1", "--concurrency", "4", "--json"]);
    ended.says(4, &["in a row failed", "--from-line 1"]);
    let json: Value = serde_json::from_str(&ended.stdout).unwrap();
    let (read, next) = (json["read"].as_u64().unwrap(), json["next_line"].as_u64().unwrap());
    assert!((100..=103).contains(&read), "{json}");
    assert_eq!(next, read + 2, "the first line holds the names");
}

#[test]
fn an_import_that_is_stopped_says_where_to_go_on() {
    let local = Local::new();
    let ada = local.token(ADA);
    let mut running =
        Running::start(local.command(&["accounts", "import", "-", "--rejected", "r", "--concurrency", "1"]));
    // The first call waits at Meta until the test clears its faults; there is no second one yet.
    local.fault(SandboxCall::Me, 1, HOLD);
    write!(running.stdin.as_mut().unwrap(), "token\n{ada}\n").unwrap();
    let sandbox = local.stack.sandbox().unwrap();
    while !sandbox.faults().is_empty() {
        std::thread::yield_now();
    }
    running.signal("INT");
    running.line("Ending after the lines that are under way");
    sandbox.clear_faults();
    running.line("--from-line 3 goes on");
    let ended = running.end();
    ended.expect(130);
    assert_eq!(ended.stdout, "1 lines: 1 taken over, 0 connected already, 0 rejected, 0 to be tried again\n");
    assert!(local.grant(ADA).is_some());
}

#[test]
fn a_file_that_cannot_be_imported_is_refused_before_anything_is_sent() {
    let local = Local::new();
    local.write("names.csv", "name,email\na,b\n");
    local.write("long", format!("{{{}", "x".repeat(70_000)));
    local.write("there", "");
    std::fs::create_dir(local.path("folder")).unwrap();
    for (arguments, said) in [
        (&["nowhere.csv"][..], "nowhere.csv cannot be read"),
        (&["folder"], "folder is a folder"),
        (&["names.csv"], "names no column access_token"),
        (&["long"], "longer than"),
        (&["-"], "--rejected says where"),
        (&["-", "--rejected", "there"], "there exists"),
        (&["names.csv", "--rejected", "names.csv"], "is the file that is read"),
        (&["names.csv", "--concurrency", "0"], "--concurrency"),
    ] {
        let arguments: Vec<_> = ["accounts", "import"].iter().chain(arguments).copied().collect();
        local.run(&arguments).says(2, &[said]);
    }
    assert!(local.stack.sandbox().unwrap().calls().is_empty());
    local.put_secret(&local.stack.urls().keyring_secret_id, "{}");
    local.write("tokens.csv", format!("token\n{}\n", local.token(ADA)));
    local.run(&["accounts", "import", "tokens.csv"]).says(1, &["`threads-auth configure` writes them"]);
}

/// Prints its duration and its peak of memory, for as many tokens as `THREADS_AUTH_IMPORT_LINES`
/// has, by `cargo test -p threads-auth-cli --test commands many_tokens -- --nocapture`.
#[test]
fn many_tokens_are_taken_over_with_little_memory() {
    let lines = std::env::var_os("THREADS_AUTH_IMPORT_LINES");
    let lines: u64 = lines.map_or(1_000, |lines| lines.to_str().unwrap().parse().unwrap());
    let local = Local::new();
    let sandbox = local.stack.sandbox().unwrap();
    let mut file = "user_id,access_token\n".to_owned();
    for n in 0..lines {
        let user_id = (17_841_400_000_000_000 + n).to_string();
        let token = sandbox.issue_long_lived(&user_id);
        writeln!(file, "{user_id},{token}").unwrap();
    }
    local.write("many.csv", file);
    let began = Instant::now();
    let mut child =
        local.command(&["accounts", "import", "many.csv", "--json"]).stdout(Stdio::piped()).spawn().unwrap();
    let status = format!("/proc/{}/status", child.id());
    let mut peak = 0_u64;
    let ended = loop {
        // The kernel reports the peak until the process ends.
        let seen = std::fs::read_to_string(&status).unwrap_or_default();
        let most = seen.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        peak = most.and_then(|most| most.trim().strip_suffix(" kB")?.parse().ok()).unwrap_or(peak);
        if let Some(ended) = child.try_wait().unwrap() {
            break ended;
        }
        std::thread::park_timeout(std::time::Duration::from_millis(20));
    };
    let mut said = String::new();
    std::io::Read::read_to_string(&mut child.stdout.take().unwrap(), &mut said).unwrap();
    assert!(ended.success(), "{said}");
    let json: Value = serde_json::from_str(&said).unwrap();
    assert_eq!((json["read"].as_u64(), json["imported"].as_u64()), (Some(lines), Some(lines)));
    println!("import: {lines} lines in {:.1} s, at most {peak} KiB of memory", began.elapsed().as_secs_f64());
    assert!(peak < 128 * 1_024, "{peak} KiB");
}

#[test]
fn an_export_has_no_tokens_unless_it_is_asked_for_twice() {
    let local = Local::new();
    let (ada, ben) = (local.account(ADA), local.account(BEN));
    local.run(&["accounts", "disconnect", BEN, "--yes"]).expect(0);
    let plain = local.run(&["accounts", "export"]);
    plain.says(0, &["2 accounts were written, without tokens"]).hides(&[&ada, &ben, "access_token"]);
    assert_eq!(plain.stdout.lines().count(), 2);
    let csv = local.run(&["accounts", "export", "--format", "csv", "--output", "out.csv"]);
    csv.says(0, &["to out.csv"]);
    let written = local.read("out.csv");
    let mut lines = written.lines();
    assert!(lines.next().unwrap().starts_with("user_id,username,status,"), "{written}");
    assert!(!written.contains(&ada) && written.contains(&format!("{ADA},person00001,active,,")), "{written}");
    let mode = std::fs::metadata(local.path("out.csv")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    let calls = |arguments: &[&str]| {
        let arguments: Vec<_> = ["accounts", "export"].iter().chain(arguments).copied().collect();
        local.run(&arguments)
    };
    calls(&["--output", "out.csv"]).says(2, &["out.csv exists"]);
    // Standard output has only the accounts, or their outcomes.
    let lines = calls(&["--json"]);
    assert_eq!(lines.expect(0).stdout, plain.stdout);
    assert_eq!(
        calls(&["--json", "--output", "out.jsonl"]).json(),
        json!({"written": 2, "file": "out.jsonl", "with_tokens": false, "broken_rows": 0, "unopened_tokens": 0})
    );
    assert_eq!(local.read("out.jsonl"), plain.stdout);
    let both = calls(&["--json", "--format", "csv"]);
    assert!(text(&both.failure(2), "/message").contains("--output FILE"), "{both:?}");
    assert_eq!(calls(&["--json", "--format", "csv", "--output", "2.csv"]).json()["file"], "2.csv");
    calls(&["--with-tokens"]).says(2, &["--yes-with-tokens"]).hides(&[&ada]);
    calls(&["--yes-with-tokens"]).says(2, &["--with-tokens"]).hides(&[&ada]);
    calls(&["--with-tokens", "--yes-with-tokens", "--output", "all.jsonl"])
        .says(0, &["2 accounts were written to all.jsonl\n"]);
    assert!(local.read("all.jsonl").contains(&format!("\"access_token\":\"{ada}\"")));
    calls(&["--with-tokens", "--yes-with-tokens", "--format", "csv", "--output", "all.csv"]).expect(0);
    assert!(local.read("all.csv").lines().any(|line| line.ends_with(&format!(",{ada}"))));

    // A shell may have made a file that others can read.
    for (mode, code) in [(0o644, 2), (0o640, 2), (0o600, 0)] {
        let file = std::fs::File::create(local.path("redirected")).unwrap();
        file.set_permissions(std::fs::Permissions::from_mode(mode)).unwrap();
        let mut command = local.command(&["accounts", "export", "--with-tokens", "--yes-with-tokens"]);
        command.stdout(file);
        Running::start_with_stdout(command).end().expect(code);
        assert_eq!(local.read("redirected").contains(&ada), code == 0, "{mode:o}");
    }

    // In another stack it is imported again.
    let other = Local::new();
    other.write("all.jsonl", local.read("all.jsonl"));
    other.run(&["accounts", "import", "all.jsonl"]).says(1, &["all.jsonl.rejected"]);

    local.spoil(ADA, "token", AttributeValue::B(b"nothing".to_vec().into()));
    calls(&["--with-tokens", "--yes-with-tokens"]).says(1, &["the token of 17841400000000001 does not open"]);
}

#[test]
fn without_a_stack_it_says_how_to_start_one() {
    let local = Local::new();
    let failure =
        run(local.bare(&["accounts", "list", &format!("--local=http://{NOWHERE}"), "--json"])).failure(4);
    assert!(text(&failure, "/error/message").contains("`threads-auth dev`"), "{failure}");
    // Another server listens there.
    let sandbox = &local.stack.urls().threads_url;
    run(local.bare(&["accounts", "list", &format!("--local={sandbox}")]))
        .says(4, &["there is no development stack"]);
    run(local.bare(&["accounts", "list", "--local=there"])).says(2, &["--local"]);
    run(local.bare(&["accounts", "list", "--local", "--profile", "x"])).says(2, &["cannot be used with"]);
}

/// Links at the path of a file with tokens: none is followed, whatever its target.
#[test]
fn a_file_with_tokens_is_a_new_file() {
    use std::os::unix::fs::{MetadataExt, symlink};
    let local = Local::new();
    let ada = local.account(ADA);
    local.write("precious", "keep me");
    symlink("precious", local.path("to-a-file")).unwrap();
    symlink("elsewhere", local.path("to-nothing")).unwrap();
    for name in ["to-a-file", "to-nothing", "precious"] {
        let export = ["accounts", "export", "--with-tokens", "--yes-with-tokens", "--output", name];
        local.run(&export).says(2, &[name, "exists: choose another name"]);
    }
    local.write("tokens.csv", "token\nnone\n");
    let calls = local.stack.sandbox().unwrap().calls().len();
    for name in ["to-a-file", "to-nothing", "/dev/null"] {
        let import = ["accounts", "import", "tokens.csv", "--rejected", name];
        local.run(&import).says(2, &[name, "not a regular file"]);
    }
    symlink("precious", local.path("tokens.csv.rejected")).unwrap();
    local.run(&["accounts", "import", "tokens.csv"]).says(2, &["tokens.csv.rejected", "not a regular file"]);
    assert_eq!(local.stack.sandbox().unwrap().calls().len(), calls, "Meta is not asked first");
    assert!(!local.path("elsewhere").exists());

    // The file of an earlier run is replaced, and no other name of it is written.
    std::fs::hard_link(local.path("precious"), local.path("r")).unwrap();
    local.run(&["accounts", "import", "tokens.csv", "--rejected", "r"]).expect(1);
    assert_eq!(local.read("precious"), "keep me");
    assert!(local.read("r").contains("\"access_token\":\"none\""));
    assert_eq!(std::fs::metadata(local.path("r")).unwrap().mode() & 0o777, 0o600);
    local.run(&["accounts", "export", "--with-tokens", "--yes-with-tokens", "--output", "new"]).expect(0);
    assert_eq!(std::fs::metadata(local.path("new")).unwrap().mode() & 0o777, 0o600);
    assert!(local.read("new").contains(&ada));
}

#[test]
fn a_stray_quote_costs_one_line() {
    let local = Local::new();
    let (ada, ben, eve) = (local.token(ADA), local.token(BEN), local.token(EVE));
    let long = "x".repeat(70_000);
    local.write(
        "tokens.csv",
        format!("token,user_id,note\n{ada},{ADA},a\n{ben},\"{BEN},b\n{ben},{BEN},b\n{eve},{EVE},\"{long}\"\n{eve},{EVE},\"two\nlines\"\n"),
    );
    let ended = local.run(&["accounts", "import", "tokens.csv", "--json"]);
    ended.expect(1);
    let json: Value = serde_json::from_str(&ended.stdout).unwrap();
    let counts = ["read", "imported", "rejected"].map(|count| json[count].as_u64());
    assert_eq!(counts, [Some(5), Some(3), Some(2)], "{json}");
    let kept: Vec<Value> =
        local.read("tokens.csv.rejected").lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let mut told: Vec<_> = kept.iter().map(|line| (line["line"].as_u64(), text(line, "/reason"))).collect();
    told.sort_unstable();
    assert_eq!(told[0], (Some(3), "a quote in the line is never closed"));
    assert!(told[1].0 == Some(5) && told[1].1.contains("longer than 65536 bytes"), "{told:?}");
}
