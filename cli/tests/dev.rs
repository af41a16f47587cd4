//! `threads-auth dev`, driven as its user would: started, called over HTTP, ended by a signal.
//!
//! Nothing here sleeps. The waits have a limit only so that a hang becomes a failure.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "the helpers of tests fail as tests do")]

#[path = "commands/sign.rs"]
mod sign;

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use aws_credential_types::Credentials;
use jiff::{SignedDuration, Timestamp};
use reqwest::header::{HeaderMap, LOCATION, SET_COOKIE};
use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};
use tempfile::tempdir;
use threads_auth::Setting;
use threads_auth_client::{Client as Backend, ErrorCode, NewSession, Session};
use threads_graph::{HttpClient, HttpTimeouts};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::{Child, ChildStdout, Command};
use tokio::task::JoinHandle;
use url::Url;

use sign::Signer;

const DAY: u64 = 86_400;
const HANG: Duration = Duration::from_mins(10);

/// The sandbox's app secret, and how each of its tokens begins.
const SECRETS: [&str; 3] = ["sandbox-app-secret", "THQVJ", "TH|"];

/// The command in `folder`, for scripts.
fn command(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = for_people(folder, &["--json"]);
    command.args(arguments);
    command
}

/// The command in `folder`, which is also its place for temporary files.
fn for_people(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_threads-auth"));
    command
        .arg("dev")
        .args(arguments)
        .current_dir(folder)
        .env("TMPDIR", folder)
        // A user may have set it to debug another program: it must not make ours print more.
        .env("RUST_LOG", "trace")
        .env_remove("THREADS_APP_ID")
        .env_remove("THREADS_APP_SECRET")
        .env_remove("LOG_LEVEL")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    for setting in Setting::ALL {
        command.env_remove(setting.as_str());
    }
    command
}

/// Runs a command that has to fail, and returns its output.
async fn complaint(command: Command) -> String {
    complaint_of(1, "failed", command).await
}

/// Runs a command that has to fail with this code, and returns its standard error. The JSON has the
/// same.
async fn complaint_of(code: i32, kind: &str, mut command: Command) -> String {
    let output = tokio::time::timeout(HANG, command.output()).await.unwrap().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{said}");
    let failure: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(failure["error"]["kind"], kind, "{failure}");
    assert!(said.contains(failure["message"].as_str().unwrap()), "{failure} {said}");
    assert_no_secret(&said, &SECRETS);
    assert_no_secret(&failure.to_string(), &SECRETS);
    said
}

#[track_caller]
fn assert_no_secret(output: &str, secrets: &[impl AsRef<str>]) {
    for secret in secrets {
        let secret = secret.as_ref();
        assert!(!output.contains(secret), "{secret} was printed: {output}");
    }
}

/// A running `threads-auth dev`.
struct Dev {
    child: Child,
    stdout: BufReader<ChildStdout>,
    stderr: JoinHandle<String>,
    urls: Value,
    http: Client,
}

struct Reply {
    status: StatusCode,
    headers: HeaderMap,
    body: String,
}

impl Reply {
    fn json(&self) -> Value {
        assert_eq!(self.status, StatusCode::OK, "{}", self.body);
        serde_json::from_str(&self.body).unwrap()
    }

    fn location(&self) -> &str {
        self.headers[LOCATION].to_str().unwrap()
    }

    fn cookie(&self) -> &str {
        let set = self.headers[SET_COOKIE].to_str().unwrap();
        set.split_once(';').unwrap().0
    }
}

impl Dev {
    async fn start(folder: &Path, arguments: &[&str]) -> Self {
        let mut command = command(folder, arguments);
        command.args(["--port", "0"]);
        Self::ready(command).await
    }

    /// Starts, and waits for the line with every address.
    async fn ready(mut command: Command) -> Self {
        let mut child = command.spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut pipe = child.stderr.take().unwrap();
        let stderr = tokio::spawn(async move {
            let mut text = String::new();
            pipe.read_to_string(&mut text).await.unwrap();
            text
        });
        let mut line = String::new();
        tokio::time::timeout(HANG, stdout.read_line(&mut line)).await.unwrap().unwrap();
        assert!(!line.is_empty(), "it did not start: {}", stderr.await.unwrap());
        let dev = Self {
            child,
            stdout,
            stderr,
            urls: serde_json::from_str(&line).unwrap(),
            http: HttpClient::new(HttpTimeouts { connect: HANG, request: HANG }).unwrap().inner().clone(),
        };
        // It sweeps as it starts. Let that pass, so that it cannot get in the way of a test's own
        // sweep.
        let first_sweep = async { while dev.dashboard().await["sweeps"] == json!([]) {} };
        tokio::time::timeout(HANG, first_sweep).await.unwrap();
        dev
    }

    fn url(&self, key: &str) -> &str {
        self.urls[key].as_str().unwrap()
    }

    #[expect(clippy::disallowed_methods, reason = "a test's own requests")]
    async fn send(&self, method: Method, url: &str, headers: &[(&str, &str)], body: &str) -> Reply {
        let mut request = self.http.request(method, url).body(body.to_owned());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = request.send().await.unwrap();
        Reply {
            status: response.status(),
            headers: response.headers().clone(),
            body: response.text().await.unwrap(),
        }
    }

    async fn get(&self, key: &str, path: &str) -> Reply {
        let url = format!("{}{path}", self.url(key));
        self.send(Method::GET, &url, &[], "").await
    }

    async fn post(&self, key: &str, path: &str, body: &Value) -> Reply {
        let url = format!("{}{path}", self.url(key));
        self.send(Method::POST, &url, &[], &body.to_string()).await
    }

    /// A session that an app's backend starts, with this address to return to.
    async fn session(&self, return_to: &str) -> Result<Session, threads_auth_client::Error> {
        let (key, secret) = (self.url("access_key_id"), self.url("secret_access_key"));
        let credentials = Credentials::new(key, secret, None, None, "test");
        let client = Backend::new(self.url("service_url"), self.url("region"), credentials).unwrap();
        client.timeout(HANG).start_session(&NewSession::new("user-7", return_to)).await
    }

    /// Those of these addresses that a session may return to.
    async fn returns_to<'a>(&self, addresses: &[&'a str]) -> Vec<&'a str> {
        let mut taken = Vec::new();
        for address in addresses {
            match self.session(address).await {
                Ok(_) => taken.push(*address),
                Err(error) => assert_eq!(error.code(), Some(&ErrorCode::ReturnToRefused), "{error}"),
            }
        }
        taken
    }

    async fn dashboard(&self) -> Value {
        self.get("service_url", "/dev/grants").await.json()
    }

    /// The only grant there is.
    async fn grant(&self) -> Value {
        let dashboard = self.dashboard().await;
        let grants = dashboard["grants"].as_array().unwrap();
        assert_eq!(grants.len(), 1, "{dashboard}");
        grants[0].clone()
    }

    async fn advance(&self, seconds: u64) {
        let by = json!({"advance_seconds": seconds});
        self.post("service_url", "/dev/clock", &by).await.json();
    }

    /// Makes a sweep, and returns how many grants had each outcome.
    async fn sweep(&self) -> Value {
        let report = self.post("service_url", "/dev/sweep", &json!(null)).await.json();
        report["outcomes"].clone()
    }

    /// Returns the clock's offset, in seconds.
    async fn clock_offset(&self) -> Value {
        let clock = self.get("threads_url", "/control/clock").await.json();
        clock["offset_seconds"].clone()
    }

    /// The sandbox's accounts, as their user ids and names.
    async fn accounts(&self) -> BTreeSet<(String, String)> {
        let answer = self.get("threads_url", "/control/accounts").await.json();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        answer["accounts"]
            .as_array()
            .unwrap()
            .iter()
            .map(|account| (text(&account["user_id"]), text(&account["username"])))
            .collect()
    }

    async fn user_id(&self, username: &str) -> String {
        let accounts = self.accounts().await;
        accounts.into_iter().find(|(_, name)| name == username).unwrap().0
    }

    /// Connects an account as its person would, and returns the secrets that went through the
    /// browser.
    async fn connect(&self, username: &str) -> Vec<String> {
        let user_id = self.user_id(username).await;
        let started = self.get("service_url", "/authorize").await;
        let mut consent = Url::parse(started.location()).unwrap();
        consent.query_pairs_mut().append_pair("auto_approve", &user_id);
        let agreed = self.send(Method::GET, consent.as_str(), &[], "").await;
        let mut back = Url::parse(agreed.location()).unwrap();
        back.set_fragment(None);
        let cookie = started.cookie();
        let returned = self.send(Method::GET, back.as_str(), &[("cookie", cookie)], "").await;
        assert_eq!(returned.status, StatusCode::SEE_OTHER, "{}", returned.body);
        let end = back.join(returned.location()).unwrap();
        let connected = self.send(Method::GET, end.as_str(), &[], "").await;
        assert_eq!(connected.status, StatusCode::OK, "{}", connected.body);
        let mut secrets: Vec<_> = back.query_pairs().map(|(_, value)| value.into_owned()).collect();
        secrets.push(cookie.split_once('=').unwrap().1.to_owned());
        assert_eq!(secrets.len(), 3, "a code, a state and a cookie");
        secrets
    }

    fn signal(&self, name: &str) {
        let id = self.child.id().unwrap().to_string();
        let sent = std::process::Command::new("sh").args(["-c", "kill -s \"$0\" \"$1\"", name, &id]).status();
        assert!(sent.unwrap().success());
    }

    /// Ends it in an orderly way, and returns all that it wrote to standard error.
    async fn end(mut self, signal: &str) -> String {
        self.signal(signal);
        let status = tokio::time::timeout(HANG, self.child.wait()).await.unwrap().unwrap();
        let log = self.stderr.await.unwrap();
        assert_eq!(status.code(), Some(0), "{signal}: {log}");
        let mut rest = String::new();
        self.stdout.read_to_string(&mut rest).await.unwrap();
        assert_eq!(rest, "", "more than one line for scripts");
        assert_no_secret(&log, &SECRETS);
        log
    }
}

/// Fills a data folder by a start, for the tests that damage it.
async fn used_data_folder(folder: &Path) {
    let dev = Dev::start(folder, &["--data-dir", "data"]).await;
    dev.connect("ada").await;
    dev.advance(DAY).await;
    dev.end("TERM").await;
}

fn names_in(folder: &Path) -> BTreeSet<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[tokio::test]
async fn a_script_finds_everything_by_the_line_of_json() {
    let folder = tempdir().unwrap();
    let dev = Dev::start(folder.path(), &["--ephemeral"]).await;
    // Scripts depend on these names: new ones may be added, but none removed.
    let expected = [
        "access_key_id",
        "app_secret_id",
        "dynamodb_url",
        "event_bus",
        "eventbridge_url",
        "grants_table",
        "keyring_secret_id",
        "region",
        "secret_access_key",
        "secrets_manager_url",
        "service_url",
        "short_lived_table",
        "threads_url",
    ];
    let mut keys: Vec<_> = dev.urls.as_object().unwrap().keys().collect();
    keys.sort();
    assert_eq!(keys, expected);

    let page = dev.get("service_url", "/").await;
    assert_eq!(page.status, StatusCode::OK);
    assert!(page.body.contains("No account is connected yet"), "{}", page.body);
    assert_eq!(dev.accounts().await.len(), 2);

    let aws = async |key: &str, service: &str, target: &str| {
        let signer = Signer {
            access_key_id: dev.url("access_key_id"),
            secret_access_key: dev.url("secret_access_key"),
            region: dev.url("region"),
            service,
        };
        let named = [("x-amz-target", target), ("content-type", "application/x-amz-json-1.0")];
        let added = signer.sign(dev.url(key), &named, b"{}");
        let headers: Vec<_> = named
            .into_iter()
            .chain(added.iter().map(|(name, value)| (name.as_str(), value.as_str())))
            .collect();
        let reply = dev.send(Method::POST, dev.url(key), &headers, "{}").await;
        assert_eq!(reply.status, StatusCode::OK, "{}", reply.body);
        let unsigned = dev.send(Method::POST, dev.url(key), &named, "{}").await;
        assert_eq!(unsigned.status, StatusCode::FORBIDDEN, "{}", unsigned.body);
        assert!(unsigned.body.contains(service), "it says what to sign for: {}", unsigned.body);
        reply.body
    };
    let tables = aws("dynamodb_url", "dynamodb", "DynamoDB_20120810.ListTables").await;
    assert!(tables.contains(dev.url("grants_table")), "{tables}");
    assert!(tables.contains(dev.url("short_lived_table")), "{tables}");
    let secrets = aws("secrets_manager_url", "secretsmanager", "secretsmanager.ListSecrets").await;
    assert!(secrets.contains(dev.url("app_secret_id")), "{secrets}");
    assert!(secrets.contains(dev.url("keyring_secret_id")), "{secrets}");
    dev.end("TERM").await;
}

#[tokio::test]
async fn everything_is_there_again_after_a_restart() {
    let folder = tempdir().unwrap();
    // The default folder, in the folder where the command was called.
    let dev = Dev::start(folder.path(), &[]).await;
    dev.connect("ada").await;
    dev.post("threads_url", "/control/accounts", &json!({"username": "someone_new"})).await;
    dev.advance(10 * DAY).await;
    let before = (dev.grant().await, dev.accounts().await, dev.clock_offset().await);
    assert_eq!(before.1.len(), 3);
    assert_eq!(before.2, 10 * DAY);
    dev.end("TERM").await;
    assert_eq!(names_in(folder.path()), BTreeSet::from([".threads-auth".to_owned()]));

    let dev = Dev::start(folder.path(), &[]).await;
    let after = (dev.grant().await, dev.accounts().await, dev.clock_offset().await);
    assert_eq!(after, before);
    // The keys and the sandbox's tokens are the same too, or this could not be done.
    dev.advance(41 * DAY).await;
    assert_eq!(dev.sweep().await, json!({"refreshed": 1}));
    dev.end("TERM").await;
}

#[tokio::test]
async fn ephemeral_leaves_nothing() {
    let folder = tempdir().unwrap();
    let dev = Dev::start(folder.path(), &["--ephemeral"]).await;
    dev.connect("ada").await;
    dev.advance(41 * DAY).await;
    assert_eq!(dev.sweep().await, json!({"refreshed": 1}));
    dev.end("TERM").await;
    assert_eq!(names_in(folder.path()), BTreeSet::new());
}

#[tokio::test]
async fn an_account_lives_through_a_year() {
    let folder = tempdir().unwrap();
    let dev = Dev::start(folder.path(), &["--ephemeral"]).await;
    dev.connect("ada").await;
    let mut refreshes = 0;
    for _ in 0..25 {
        dev.advance(15 * DAY).await;
        refreshes += dev.sweep().await["refreshed"].as_u64().unwrap_or(0);
        assert_eq!(dev.grant().await["status"], "active");
    }
    let grant = dev.grant().await;
    let moment = |name: &str| grant[name].as_str().unwrap().parse::<Timestamp>().unwrap();
    let lived = moment("expires_at").duration_since(moment("created_at"));
    assert!(lived > SignedDuration::from_hours(25 * 15 * 24), "{grant} {lived}");
    // No more often than a token's life requires.
    assert!((7..=13).contains(&refreshes), "{refreshes}");
    dev.end("TERM").await;
}

#[tokio::test]
async fn a_revoked_account_says_why_it_needs_its_person() {
    let folder = tempdir().unwrap();
    let dev = Dev::start(folder.path(), &["--ephemeral"]).await;
    dev.connect("ada").await;
    let revoke = format!("/dev/accounts/{}/revoke", dev.user_id("ada").await);
    dev.post("service_url", &revoke, &json!(null)).await.json();
    // Meta notifies nobody: the next due sweep finds it.
    assert_eq!(dev.grant().await["status"], "active");
    dev.advance(41 * DAY).await;
    dev.sweep().await;
    let grant = dev.grant().await;
    assert_eq!(grant["status"], "needs_reauthorization");
    assert_eq!(grant["cause"], "app_removed");
    let page = dev.get("service_url", "/").await.body;
    assert!(page.contains("Needs re-authorization"), "{page}");
    assert!(page.contains("The person has removed the app at Threads."), "{page}");
    dev.end("TERM").await;
}

#[tokio::test]
async fn other_websites_cannot_press_the_buttons() {
    let folder = tempdir().unwrap();
    let dev = Dev::start(folder.path(), &["--ephemeral"]).await;
    let clock = format!("{}/dev/clock", dev.url("service_url"));
    let by_a_second = async |headers: &[(&str, &str)]| {
        let reply = dev.send(Method::POST, &clock, headers, r#"{"advance_seconds":1}"#).await;
        reply.status
    };
    for foreign in [
        ("host", "evil.example"),
        ("host", "127.0.0.1.evil.example"),
        ("origin", "https://evil.example"),
        // Another server on this machine is another website.
        ("origin", "http://127.0.0.1:1"),
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "same-site"),
        // A tunnel may rewrite the host.
        ("x-forwarded-host", "my-tunnel.example.com"),
        ("cf-connecting-ip", "203.0.113.7"),
    ] {
        assert_eq!(by_a_second(&[foreign]).await, StatusCode::FORBIDDEN, "{foreign:?}");
    }
    assert_eq!(dev.clock_offset().await, 0);
    // A name that merely resolves to this machine may not read either.
    let page = format!("{}/dev/grants", dev.url("service_url"));
    let read = dev.send(Method::GET, &page, &[("host", "evil.example")], "").await;
    assert_eq!(read.status, StatusCode::FORBIDDEN);

    // The page's own forms, whose origin is hidden because the page disables the referrer, and a
    // script's.
    let own_form = [("origin", "null"), ("sec-fetch-site", "same-origin")];
    assert_eq!(by_a_second(&own_form).await, StatusCode::OK);
    assert_eq!(by_a_second(&[("origin", dev.url("service_url"))]).await, StatusCode::OK);
    assert_eq!(dev.clock_offset().await, 2);
    dev.end("TERM").await;
}

#[tokio::test]
async fn both_signals_end_it_in_an_orderly_way() {
    let folder = tempdir().unwrap();
    for signal in ["INT", "TERM"] {
        // The second start shows that the first left the folder free.
        let dev = Dev::start(folder.path(), &[]).await;
        let log = dev.end(signal).await;
        assert!(log.contains("stopping"), "{log}");
        let lock = std::fs::File::open(folder.path().join(".threads-auth/lock")).unwrap();
        lock.try_lock().unwrap();
    }
}

#[tokio::test]
async fn a_request_that_never_ends_does_not_keep_it_alive() {
    let folder = tempdir().unwrap();
    let dev = Dev::start(folder.path(), &["--ephemeral"]).await;
    let address = dev.url("service_url").strip_prefix("http://").unwrap();
    let mut client = TcpStream::connect(address).unwrap();
    let half =
        b"POST /dev/clock HTTP/1.1\r\nhost: localhost\r\ncontent-length: 9\r\nexpect: 100-continue\r\n\r\n";
    std::io::Write::write_all(&mut client, half).unwrap();
    // The server requests the body, so the request is under way, and stays so.
    let mut asked = [0; 12];
    std::io::Read::read_exact(&mut client, &mut asked).unwrap();
    assert_eq!(&asked, b"HTTP/1.1 100");
    let log = dev.end("INT").await;
    assert!(log.contains("requests that did not end were cut off"), "{log}");
}

const HERE: [&str; 4] =
    ["http://localhost:5173/done", "http://127.0.0.1:8000/", "http://[::1]:3001/x", "http://localhost/"];
const THERE: &str = "https://app.example.com/threads";

#[tokio::test]
async fn an_app_at_any_port_of_this_machine_may_be_returned_to() {
    let folder = tempdir().unwrap();
    let dev = Dev::start(folder.path(), &["--ephemeral"]).await;
    let hostile = [
        "http://localhost.evil.example:5173/",
        "http://localhost:5173@evil.example/",
        "http://192.168.0.1:5173/",
    ];
    assert_eq!(dev.returns_to(&[&HERE[..], &hostile[..], &[THERE]].concat()).await, HERE);
    // The advice names what there is here, and can be followed.
    let refused = dev.session(THERE).await.unwrap_err().to_string();
    assert!(refused.contains("--return-to URL") && refused.contains("RETURN_TO_ALLOWLIST"), "{refused}");
    dev.end("TERM").await;
    let dev = Dev::start(folder.path(), &["--ephemeral", "--return-to", "https://app.example.com/"]).await;
    assert_eq!(dev.returns_to(&[HERE[0], THERE]).await, [HERE[0], THERE]);
    dev.end("TERM").await;
}

#[tokio::test]
async fn the_environments_allowlist_replaces_that_of_development() {
    let folder = tempdir().unwrap();
    let start = |arguments: &[&str], allowlist: &str| {
        let mut command = command(folder.path(), &["--ephemeral", "--port", "0"]);
        command.args(arguments).env("RETURN_TO_ALLOWLIST", allowlist);
        Dev::ready(command)
    };
    let addresses = [HERE[0], HERE[1], THERE];
    let dev = start(&[], "http://localhost:5173/").await;
    assert_eq!(dev.returns_to(&addresses).await, [HERE[0]]);
    dev.end("TERM").await;
    let more = ["--return-to", "https://app.example.com/threads", "--return-to", "http://127.0.0.1:*/"];
    let dev = start(&more, "http://localhost:5173/").await;
    assert_eq!(dev.returns_to(&addresses).await, addresses);
    dev.end("TERM").await;
}

#[tokio::test]
async fn live_returns_to_what_it_is_told_alone() {
    let folder = tempdir().unwrap();
    let start = |arguments: &[&str]| {
        let mut command = command(folder.path(), &["--ephemeral", "--port", "0", "--threads", "live"]);
        command.args(["--public-url", "https://tunnel.example.com"]).args(arguments);
        command.env("THREADS_APP_ID", "1234567890").env("THREADS_APP_SECRET", "0123456789abcdef");
        Dev::ready(command)
    };
    let addresses = [HERE[0], HERE[1], THERE];
    let dev = start(&[]).await;
    assert_eq!(dev.returns_to(&addresses).await, [""; 0]);
    dev.end("TERM").await;
    let dev = start(&["--return-to", "http://localhost:5173/"]).await;
    assert_eq!(dev.returns_to(&addresses).await, [HERE[0]]);
    dev.end("TERM").await;
}

#[tokio::test]
async fn the_environment_has_the_settings_of_an_operator() {
    let folder = tempdir().unwrap();
    let mut command = command(folder.path(), &["--ephemeral", "--port", "0"]);
    let settings = [
        ("ACCENT_COLOR", "#0a4fb3"),
        ("APP_NAME", "Planner"),
        ("AUTHORIZE_ACCESS", "session"),
        ("CHECK_EVERY_DAYS", "7"),
        ("GRAPH_CALLS_PER_HOUR", "1000"),
        ("HOME_URL", "https://app.example.com/"),
        ("PRIVACY_URL", "https://app.example.com/privacy"),
        ("REDIRECT_TRAILING_SLASH", "true"),
        ("REQUEST_SECONDS", "29"),
        ("RETURN_TO_ALLOWLIST", "http://localhost:5173/"),
        ("SECRETS_TTL_SECONDS", "60"),
        ("SUPPORT_URL", "https://app.example.com/help"),
        ("SWEEP_CONCURRENCY", "8"),
        ("THREADS_SCOPES", "threads_basic,threads_content_publish"),
        ("UNCLAIMED_HOURS", "2"),
    ];
    assert_eq!(settings.map(|(name, _)| name), Setting::ALL.map(Setting::as_str));
    command.envs(settings).env("LOG_LEVEL", "warn");
    // The stack's own tables and endpoint are not theirs to set here.
    command.env("GRANTS_TABLE", "theirs").env("AWS_ENDPOINT_URL", "http://127.0.0.1:9");
    let dev = Dev::ready(command).await;
    let stack = dev.get("service_url", "/dev/stack").await.json();
    for (name, value) in settings {
        assert_eq!(stack["variables"][name], value);
    }
    assert_eq!(stack["variables"]["GRANTS_TABLE"], dev.url("grants_table"));
    assert_eq!(dev.get("service_url", "/authorize").await.status, StatusCode::FORBIDDEN);
    let session = dev.session("http://localhost:5173/").await.unwrap();
    let begun = dev.send(Method::GET, &session.url, &[], "").await;
    let consent = Url::parse(begun.location()).unwrap();
    let asked = |name: &str| consent.query_pairs().find(|(found, _)| found == name).unwrap().1.into_owned();
    assert_eq!(asked("scope"), "threads_basic,threads_content_publish");
    assert!(asked("redirect_uri").ends_with("/callback/"), "{consent}");
    let log = dev.end("TERM").await;
    assert!(!log.contains("INFO"), "{log}");
}

#[tokio::test]
async fn a_bad_setting_is_named_before_anything_is_made() {
    let folder = tempdir().unwrap();
    let names = Setting::ALL.map(Setting::as_str).into_iter().chain(["LOG_LEVEL"]);
    for name in names {
        let mut command = command(folder.path(), &["--port", "0"]);
        command.env(name, "no such\u{7}value");
        let said = complaint_of(2, "usage", command).await;
        assert!(said.contains(&format!("{name}: ")), "{said}");
    }
    let said = complaint_of(
        2,
        "usage",
        command(folder.path(), &["--port", "0", "--return-to", "http://app.example.com:*/"]),
    );
    let said = said.await;
    assert!(said.contains("--return-to") && said.contains("on loopback only"), "{said}");
    assert_eq!(names_in(folder.path()), BTreeSet::new());
}

/// Reads what is printed for people, up to its last line.
async fn printed(command: &mut Command) -> (Child, String) {
    let mut child = command.spawn().unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut text = String::new();
    while let Some(line) = tokio::time::timeout(HANG, stdout.next_line()).await.unwrap().unwrap() {
        text += &line;
        text.push('\n');
        if line == "Ctrl-C stops it." {
            break;
        }
    }
    (child, text)
}

#[tokio::test]
async fn a_paste_prepares_a_shell_for_the_first_call() {
    let folder = tempdir().unwrap();
    let odd = folder.path().join("it's $HOME, \"quoted\" and `more`");
    std::fs::create_dir(&odd).unwrap();
    let mut plain = for_people(&odd, &["--port", "0"]);
    plain.stderr(Stdio::null());
    let (mut child, text) = printed(&mut plain).await;
    let secret = std::fs::read_to_string(odd.join(".threads-auth/secret-access-key")).unwrap();
    assert_no_secret(&text, &[secret.trim()]);
    let lines: Vec<_> = text
        .lines()
        .map(str::trim)
        .filter(|line| line.starts_with("export ") || line.starts_with("unset "))
        .collect();
    assert_eq!(lines.len(), 5, "{text}");
    let show = "printf '%s\\n' \"$THREADS_AUTH_URL\" \"$AWS_REGION\" \"$AWS_DEFAULT_REGION\" \"$AWS_ACCESS_KEY_ID\" \"$AWS_SECRET_ACCESS_KEY\" \"${AWS_SESSION_TOKEN-none}\"";
    for shell in ["sh", "bash"] {
        let shown = std::process::Command::new(shell)
            .args(["-euc", &format!("{}\n{show}", lines.join("\n"))])
            .env("AWS_SESSION_TOKEN", "of another account")
            .output();
        let shown = shown.unwrap();
        assert!(shown.status.success(), "{shown:?}");
        let values = String::from_utf8(shown.stdout).unwrap();
        let values: Vec<_> = values.lines().collect();
        assert!(text.contains(&format!("  Open             {}/\n", values[0])), "{text} {}", values[0]);
        assert_eq!(values[1..], ["us-east-1", "us-east-1", "AKIATHREADSAUTHDEV00", secret.trim(), "none"]);
    }
    child.kill().await.unwrap();
}

#[tokio::test]
async fn git_ignores_the_data_folder() {
    let folder = tempdir().unwrap();
    let git = |arguments: &[&str]| {
        let git = std::process::Command::new("git").args(arguments).current_dir(folder.path()).output();
        git.ok().map(|output| String::from_utf8(output.stdout).unwrap())
    };
    let has_git = git(&["init", "--quiet"]).is_some();
    let ignore = |data: &str| std::fs::read_to_string(folder.path().join(data).join(".gitignore"));
    // A new one, one that an earlier version has made, and one with files of somebody's.
    used_data_folder(folder.path()).await;
    assert_eq!(ignore("data").unwrap(), "*\n");
    std::fs::remove_file(folder.path().join("data/.gitignore")).unwrap();
    used_data_folder(folder.path()).await;
    assert_eq!(ignore("data").unwrap(), "*\n");
    if has_git {
        assert_eq!(git(&["status", "--porcelain"]).unwrap(), "");
    }
    std::fs::write(folder.path().join("data/.gitignore"), "# mine\n").unwrap();
    used_data_folder(folder.path()).await;
    assert_eq!(ignore("data").unwrap(), "# mine\n");
    std::fs::create_dir(folder.path().join("theirs")).unwrap();
    std::fs::write(folder.path().join("theirs/notes.txt"), "").unwrap();
    let dev = Dev::start(folder.path(), &["--data-dir", "theirs"]).await;
    dev.end("TERM").await;
    assert!(ignore("theirs").is_err(), "their own files would not be seen any more");
}

#[tokio::test]
async fn a_taken_port_says_what_to_do() {
    let folder = tempdir().unwrap();
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let said = complaint(command(folder.path(), &["--ephemeral", "--port", &port])).await;
    assert!(said.contains(&format!("port {port}")) && said.contains("--port 0"), "{said}");
}

#[tokio::test]
async fn a_data_folder_belongs_to_one_at_a_time() {
    let folder = tempdir().unwrap();
    let arguments = ["--data-dir", "data", "--port", "0"];
    let first = Dev::ready(command(folder.path(), &arguments)).await;
    let said = complaint(command(folder.path(), &arguments)).await;
    assert!(said.contains("data is in use by another process; stop it"), "{said}");
    // The second one took nothing from the first.
    first.connect("ada").await;
    first.end("TERM").await;
}

#[tokio::test]
async fn an_unusable_data_folder_says_what_to_do() {
    let folder = tempdir().unwrap();
    // Permissions would not stop root; a file in place of a folder does.
    std::fs::write(folder.path().join("file"), "").unwrap();
    let said = complaint(command(folder.path(), &["--port", "0", "--data-dir", "file/data"])).await;
    for part in ["file/data", "--data-dir", "--ephemeral"] {
        assert!(said.contains(part), "{part}: {said}");
    }
}

#[tokio::test]
async fn damaged_files_are_named_and_stay() {
    let folder = tempdir().unwrap();
    used_data_folder(folder.path()).await;
    let data = folder.path().join("data");
    let names = names_in(&data);
    for name in ["dynamodb.sqlite", "secrets.json", "sandbox.json", "clock.json"] {
        let file = data.join(name);
        let whole = std::fs::read(&file).unwrap();
        // Cut off, and of another shape, which must not make the complaint quote a secret.
        for damaged in [&whole[..whole.len() / 2], br#""sandbox-app-secret""#] {
            if name == "dynamodb.sqlite" && damaged.starts_with(b"SQLite") {
                continue; // SQLite opens a cut file; what is lost shows only where it is read.
            }
            std::fs::write(&file, damaged).unwrap();
            let said = complaint(command(folder.path(), &["--port", "0", "--data-dir", "data"])).await;
            assert!(said.contains(&format!("data/{name} is damaged")), "{said}");
            assert!(said.contains("move it away"), "{said}");
            assert_eq!(std::fs::read(&file).unwrap(), damaged);
            assert_eq!(names_in(&data), names);
        }
        std::fs::write(&file, &whole).unwrap();
    }
    // Whole again, nothing was lost.
    let dev = Dev::start(folder.path(), &["--data-dir", "data"]).await;
    assert_eq!(dev.grant().await["username"], "ada");
    dev.end("TERM").await;
}

#[tokio::test]
async fn live_says_what_is_missing() {
    let folder = tempdir().unwrap();
    let live = |arguments: &[&str]| {
        let mut command = command(folder.path(), &["--ephemeral", "--port", "0", "--threads", "live"]);
        command.args(arguments);
        command
    };
    let said = complaint(live(&[])).await;
    assert!(said.contains("needs --public-url"), "{said}");
    let said = complaint(live(&["--public-url", "http://tunnel.example.com"])).await;
    assert!(said.contains("Meta sends nobody back to plain http"), "{said}");

    let tunnel = ["--public-url", "https://tunnel.example.com"];
    let said = complaint(live(&tunnel)).await;
    assert!(said.contains("THREADS_APP_ID and THREADS_APP_SECRET"), "{said}");
    assert!(said.contains("https://tunnel.example.com/callback  "), "{said}");
    let said = complaint(live(&[&tunnel[..], &["--trailing-slash"]].concat())).await;
    assert!(said.contains("https://tunnel.example.com/callback/  "), "{said}");

    let secret = "0123456789abcdef-of-a-real-app";
    let with = |id: &str, secret: &str| {
        let mut command = live(&tunnel);
        command.env("THREADS_APP_ID", id).env("THREADS_APP_SECRET", secret);
        command
    };
    // The two are easily swapped.
    let said = complaint(with(secret, "1234567890")).await;
    assert!(said.contains("THREADS_APP_ID is not an app id: expected digits"), "{said}");
    assert_no_secret(&said, &[secret]);
    let said = complaint(with("1234567890", &format!("{secret}\n"))).await;
    assert!(said.contains("THREADS_APP_SECRET is not an app secret"), "{said}");
    assert_no_secret(&said, &[secret]);

    // Complete, it sends people to Meta. Nobody goes there here.
    let dev = Dev::ready(with("1234567890", secret)).await;
    let started = dev.get("service_url", "/authorize").await;
    let consent = Url::parse(started.location()).unwrap();
    assert!(consent.as_str().starts_with(dev.url("threads_url")), "{consent}");
    let back = ("redirect_uri", "https://tunnel.example.com/callback");
    assert!(consent.query_pairs().any(|(name, value)| (&*name, &*value) == back), "{consent}");
    // Meta's clock runs by itself.
    let by_a_day = json!({"advance_seconds": DAY});
    assert_eq!(dev.post("service_url", "/dev/clock", &by_a_day).await.status, StatusCode::FORBIDDEN);
    assert!(!dev.get("service_url", "/").await.body.contains("/dev/clock"));
    // The tunnel opens the service to the world, but not the development controls.
    for path in ["/", "/dev/grants"] {
        let url = format!("{}{path}", dev.url("service_url"));
        let through = dev.send(Method::GET, &url, &[("host", "tunnel.example.com")], "").await;
        assert_eq!(through.status, StatusCode::FORBIDDEN, "{path}");
    }
    let key = dev.url("secret_access_key").to_owned();
    let log = dev.end("TERM").await;
    assert_no_secret(&log, &[secret, &key]);
}

#[tokio::test]
async fn no_secret_is_printed() {
    let folder = tempdir().unwrap();
    let dev = Dev::start(folder.path(), &["--data-dir", "data"]).await;
    let mut secrets = dev.connect("ada").await;
    // Failures are where secrets would slip into a log.
    for action in [json!("drop"), json!("truncate"), json!("html"), json!({"graph_error": {"code": 190}})] {
        dev.post("threads_url", "/control/faults", &json!({"call": "refresh", "action": action})).await;
        dev.advance(41 * DAY / 4).await;
        dev.sweep().await;
    }
    let forged = format!("/callback?code={}&state=forged", secrets[0]);
    dev.get("service_url", &forged).await;
    let log = dev.end("TERM").await;
    let saved: Value =
        serde_json::from_slice(&std::fs::read(folder.path().join("data/secrets.json")).unwrap()).unwrap();
    secrets.extend(keys_in(&saved["secrets"]["threads-auth/keyring"]));
    assert_eq!(secrets.len(), 5, "three of the browser and two keys");
    assert!(log.contains("refresh"), "nothing was logged: {log}");
    assert_no_secret(&log, &secrets);
}

/// The keys of a saved keyring: of all its texts, those that are as long as 32 bytes in Base64.
fn keys_in(keyring: &Value) -> Vec<String> {
    let versions = keyring["versions"].as_object().unwrap();
    let text = versions.values().next().unwrap()["secret_string"].as_str().unwrap();
    text.split('"').filter(|part| part.len() == 44).map(ToOwned::to_owned).collect()
}
