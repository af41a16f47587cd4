//! The functions as Lambda runs them: the executables themselves, under a Runtime API.

use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode as Status;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use devstack::Stack;
use jiff::Timestamp;
use reqwest::StatusCode;
use serde_json::{Value, json};
use threads_auth::RefreshOutcome;
use threads_auth_model::schedule;
use threads_sandbox::SandboxCall;
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinHandle;
use url::Url;

use crate::fixture::{
    Browser, DAY, HOLD, LEASE, account, calls, fail, faults_struck, grant, http, is_usable, options, record,
    respond, secret_text, token,
};

const AUTHORIZE: &str = env!("CARGO_BIN_EXE_bootstrap-authorize");
pub(crate) const CALLBACK: &str = env!("CARGO_BIN_EXE_bootstrap-callback");
pub(crate) const EVENTS: &str = env!("CARGO_BIN_EXE_bootstrap-events");
pub(crate) const TOKEN: &str = env!("CARGO_BIN_EXE_bootstrap-token");
pub(crate) const REFRESH: &str = env!("CARGO_BIN_EXE_bootstrap-refresh");
pub(crate) const DEAUTHORIZE: &str = env!("CARGO_BIN_EXE_bootstrap-deauthorize");
pub(crate) const DELETION: &str = env!("CARGO_BIN_EXE_bootstrap-deletion");
pub(crate) const SESSIONS: &str = env!("CARGO_BIN_EXE_bootstrap-sessions");
pub(crate) const WEBHOOK: &str = env!("CARGO_BIN_EXE_bootstrap-webhook");

/// A guard against tests that never end, not a measure of anything.
pub(crate) const HANG: Duration = Duration::from_mins(10);

/// A function's answer to an event.
#[derive(Debug, PartialEq)]
pub(crate) enum Outcome {
    Response(Value),
    Error(Value),
}

/// One function's process, and the Runtime API that it talks to.
pub(crate) struct Function {
    child: Child,
    output: JoinHandle<String>,
    events: mpsc::Sender<Value>,
    outcomes: mpsc::Receiver<Outcome>,
    api: JoinHandle<()>,
}

struct RuntimeApi {
    events: Mutex<mpsc::Receiver<Value>>,
    outcomes: mpsc::Sender<Outcome>,
    deadline: Timestamp,
}

async fn next(State(api): State<Arc<RuntimeApi>>) -> Response {
    let Some(event) = api.events.lock().await.recv().await else {
        return Status::GONE.into_response();
    };
    let headers = [
        ("lambda-runtime-aws-request-id", "8476a536-e9f4-11e8-9739-2dfe598c3fcd".to_owned()),
        ("lambda-runtime-deadline-ms", api.deadline.as_millisecond().to_string()),
        (
            "lambda-runtime-invoked-function-arn",
            "arn:aws:lambda:eu-central-1:123456789012:function:threads-auth".to_owned(),
        ),
        ("lambda-runtime-trace-id", "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700".to_owned()),
    ];
    (headers, event.to_string()).into_response()
}

async fn ended(
    State(api): State<Arc<RuntimeApi>>,
    Path((_, kind)): Path<(String, String)>,
    body: Bytes,
) -> Status {
    let body = serde_json::from_slice(&body).unwrap();
    let outcome = match kind.as_str() {
        "response" => Outcome::Response(body),
        _ => Outcome::Error(body),
    };
    api.outcomes.send(outcome).await.unwrap();
    Status::ACCEPTED
}

impl Function {
    async fn start(executable: &str, stack: &Stack) -> Self {
        Self::start_with(executable, stack, &[]).await
    }

    /// The same, with other values for some variables.
    pub(crate) async fn start_with(executable: &str, stack: &Stack, variables: &[(&str, &str)]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (events, queue) = mpsc::channel(8);
        let (results, outcomes) = mpsc::channel(8);
        let api = RuntimeApi {
            events: Mutex::new(queue),
            outcomes: results,
            deadline: now() + Duration::from_mins(15),
        };
        let router = Router::new()
            .route("/2018-06-01/runtime/invocation/next", get(next))
            .route("/2018-06-01/runtime/invocation/{id}/{kind}", post(ended))
            .with_state(Arc::new(api));
        let api = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        let mut command = command(executable);
        command
            .envs(stack.variables())
            .env("AWS_LAMBDA_RUNTIME_API", address)
            .env("METRICS_SERVICE", "test")
            .env("LOG_LEVEL", "trace")
            .envs(variables.iter().copied());
        let mut child = command.spawn().unwrap();
        let (mut stdout, mut stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        let output = tokio::spawn(async move {
            let (mut out, mut err) = (String::new(), String::new());
            let (a, b) = tokio::join!(stdout.read_to_string(&mut out), stderr.read_to_string(&mut err));
            a.and(b).unwrap();
            out + &err
        });
        Self { child, output, events, outcomes, api }
    }

    pub(crate) async fn invoke(&mut self, event: Value) -> Outcome {
        self.begin(event).await;
        self.outcome().await
    }

    pub(crate) async fn outcome(&mut self) -> Outcome {
        let outcome = tokio::time::timeout(HANG, self.outcomes.recv()).await;
        outcome.unwrap().unwrap()
    }

    /// Invokes it, and does not wait for its answer.
    pub(crate) async fn begin(&self, event: Value) {
        self.events.send(event).await.unwrap();
    }

    /// Answers a request as API Gateway would hand it on.
    pub(crate) async fn request(&mut self, event: Value) -> Value {
        match self.invoke(event).await {
            Outcome::Response(answer) => answer,
            Outcome::Error(error) => panic!("{error}"),
        }
    }

    /// Ends it between two instructions, as a machine that fails does.
    pub(crate) async fn kill(mut self) {
        self.child.kill().await.unwrap();
        self.api.abort();
        self.output.await.unwrap();
    }

    /// Ends it as Lambda does. Nothing waits in memory that would have to be written first, so it
    /// ends at once.
    async fn terminate(mut self) -> String {
        use std::os::unix::process::ExitStatusExt;
        const SIGTERM: i32 = 15;
        let id = self.child.id().unwrap().to_string();
        let kill = Command::new("sh").args(["-c", "kill -s TERM \"$0\"", &id]).status().await;
        assert!(kill.unwrap().success());
        let status = tokio::time::timeout(HANG, self.child.wait()).await.unwrap().unwrap();
        assert_eq!(status.signal(), Some(SIGTERM), "{status}");
        self.api.abort();
        self.output.await.unwrap()
    }
}

fn command(executable: &str) -> Command {
    let mut command = Command::new(executable);
    command
        .env_clear()
        .env("AWS_LAMBDA_FUNCTION_NAME", "threads-auth")
        .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256")
        .env("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST")
        .env("AWS_LAMBDA_LOG_GROUP_NAME", "/aws/lambda/threads-auth")
        .env("AWS_LAMBDA_LOG_STREAM_NAME", "2026/01/01/[$LATEST]0")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

#[expect(clippy::disallowed_methods, reason = "the executables read the machine's clock")]
pub(crate) fn now() -> Timestamp {
    Timestamp::now()
}

/// A stack whose clock stands `ago` before the machine's.
async fn stack_of(ago: Duration) -> Stack {
    Stack::start(options(now() - ago, &[])).await.unwrap()
}

/// A request's event in payload format 2.0.
pub(crate) fn event(path: &str, query: &str, cookies: &[String]) -> Value {
    json!({
        "version": "2.0",
        "routeKey": format!("GET {path}"),
        "rawPath": path,
        "rawQueryString": query,
        "cookies": cookies,
        "headers": {"host": "threads.example.com", "user-agent": "test"},
        "requestContext": {
            "accountId": "123456789012",
            "apiId": "api-id",
            "domainName": "threads.example.com",
            "domainPrefix": "threads",
            "http": {"method": "GET", "path": path, "protocol": "HTTP/1.1", "sourceIp": "192.0.2.1", "userAgent": "test"},
            "requestId": "request",
            "routeKey": format!("GET {path}"),
            "stage": "$default",
            "time": "01/Jan/2026:00:00:00 +0000",
            "timeEpoch": 1_767_225_600_000_i64
        },
        "isBase64Encoded": false
    })
}

/// Returns the event that EventBridge Scheduler sends for a target without an input of its own.
pub(crate) fn scheduled() -> Value {
    json!({
        "version": "0",
        "id": "53dc4d37-cffa-4f76-80c9-8b7d4a4d2eaa",
        "detail-type": "Scheduled Event",
        "source": "aws.scheduler",
        "account": "123456789012",
        "time": "2026-01-01T00:00:00Z",
        "region": "eu-central-1",
        "resources": ["arn:aws:scheduler:eu-central-1:123456789012:schedule/default/sweep"],
        "detail": "{}"
    })
}

/// The secrets of a stack that no output may hold.
async fn secrets(stack: &Stack) -> Vec<String> {
    let text = |secret: &Value| secret.as_str().unwrap().to_owned();
    let (app, keyring) = (&stack.urls().app_secret_id, &stack.urls().keyring_secret_id);
    let app: Value = serde_json::from_str(&secret_text(stack, app).await).unwrap();
    let keyring: Value = serde_json::from_str(&secret_text(stack, keyring).await).unwrap();
    let mut secrets = vec![text(&app["app_secret"]), text(&keyring["tombstone"])];
    secrets.extend(keyring["keys"].as_object().unwrap().values().map(text));
    secrets
}

#[track_caller]
fn assert_no_secret(output: &str, secrets: &[String]) {
    for secret in secrets {
        assert!(!output.contains(secret.as_str()), "{secret} in {output}");
    }
}

/// Queries that break what reads them as a URI, as a map or as UTF-8.
fn hostile_queries() -> Vec<String> {
    let mut queries: Vec<String> = [
        "%",
        "code=%zz&state=%",
        "code=\u{0}&state=\u{0}",
        "code=\u{ff}\u{fe}&state=a b",
        "code=1;state=2",
        "state=%ff%fe&code=%00",
        "\u{1F980}=\u{1F980}&return_to=\r\nset-cookie: a=b",
        "scope[]=1&scope=2&scope=3",
        "?#&=&&",
    ]
    .map(str::to_owned)
    .to_vec();
    queries.push("code=".to_owned() + &"a".repeat(200_000));
    queries
}

/// Hostile requests are answered with a page, and malformed invocations with an error; the function
/// continues after both.
async fn assert_survives(function: &mut Function, path: &str) {
    for query in hostile_queries() {
        let answer = function.request(event(path, &query, &[])).await;
        let head: String = query.chars().take(40).collect();
        assert_eq!(answer["statusCode"], 400, "{head}: {answer}");
        let body = answer["body"].as_str().unwrap();
        assert!(body.starts_with("<!DOCTYPE html>"), "{head}: {body}");
    }
    for no_request in [json!({"CANARY": "CANARY"}), json!("CANARY"), json!([])] {
        let outcome = function.invoke(no_request).await;
        let Outcome::Error(error) = outcome else { panic!("{outcome:?}") };
        assert!(!error.to_string().contains("CANARY"), "{error}");
        assert_eq!(error["errorType"], "threads_auth_web::request::NotARequest", "{error}");
    }
}

#[tokio::test]
async fn authorize_starts_flows() {
    let stack = stack_of(Duration::ZERO).await;
    let mut function = Function::start(AUTHORIZE, &stack).await;
    for _ in 0..2 {
        let answer = function.request(event("/authorize", "", &[])).await;
        assert_eq!(answer["statusCode"], 302, "{answer}");
        let consent = answer["headers"]["location"].as_str().unwrap();
        assert!(consent.starts_with(&stack.urls().threads_url), "{consent}");
        assert_eq!(answer["cookies"].as_array().unwrap().len(), 1, "{answer}");
        assert_survives(&mut function, "/authorize").await;
    }
    let output = function.terminate().await;
    assert!(output.contains(r#""outcome":"started""#), "{output}");
    assert_no_secret(&output, &secrets(&stack).await);
}

/// The executable itself requires the origin secret, and its output contains neither secret.
#[tokio::test]
async fn authorize_answers_only_what_came_through_cloudfront() {
    let secrets =
        ["canary-sent-0123456789abcdefghijklm", "canary-next-0123456789abcdefghijklm"].map(str::to_owned);
    let given = [("ORIGIN_SECRETS", secrets.join(","))];
    let given: Vec<(&str, &str)> = given.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let stack = Stack::start(options(now(), &given)).await.unwrap();
    let mut function = Function::start(AUTHORIZE, &stack).await;
    let refused = function.request(event("/authorize", "", &[])).await;
    assert_eq!(refused["statusCode"], 403, "{refused}");
    for secret in &secrets {
        let mut through = event("/authorize", "", &[]);
        through["headers"]["x-threads-auth-origin"] = json!(secret);
        let answer = function.request(through).await;
        assert_eq!(answer["statusCode"], 302, "{answer}");
    }
    let output = function.terminate().await;
    assert!(output.contains(r#""outcome":"detour""#), "{output}");
    assert_no_secret(&output, &secrets);
}

#[tokio::test]
async fn callback_stores_the_grant() {
    let stack = stack_of(Duration::ZERO).await;
    let ada = account(&stack, "ada");
    let mut browser = Browser::new();
    let back = browser.consent(&stack, "", &ada).await;
    let (name, value) = browser.jar.first_key_value().unwrap();
    let cookie = format!("{name}={value}");

    let mut function = Function::start(CALLBACK, &stack).await;
    assert_survives(&mut function, "/callback").await;
    assert_eq!(calls(&stack), 0);
    let good = event("/callback", back.query().unwrap(), &[cookie]);
    let answer = function.request(good).await;
    assert_eq!(answer["statusCode"], 303, "{answer}");
    let landed = Url::parse(&stack.urls().service_url)
        .unwrap()
        .join(answer["headers"]["location"].as_str().unwrap())
        .unwrap();
    let page = function.request(event(landed.path(), "", &[])).await;
    assert_eq!(page["statusCode"], StatusCode::OK.as_u16(), "{page}");

    let token = token(&stack, &ada).await;
    assert!(is_usable(&stack, &token).await);
    let output = function.terminate().await;
    assert!(output.contains(r#""outcome":"connected""#), "{output}");
    let mut secrets = secrets(&stack).await;
    secrets.extend(back.query_pairs().map(|(_, value)| value.into_owned()));
    secrets.extend([token, value.clone()]);
    assert_no_secret(&output, &secrets);
}

/// The id that a page shows leads to each line about its request, those of deeper layers included.
#[tokio::test]
async fn each_line_about_a_request_has_its_id() {
    let stack = stack_of(Duration::ZERO).await;
    let ada = account(&stack, "ada");
    let mut browser = Browser::new();
    let back = browser.consent(&stack, "", &ada).await;
    let (name, value) = browser.jar.first_key_value().unwrap();
    let cookies = [format!("{name}={value}")];
    fail(&stack, SandboxCall::ExchangeLongLived, 2, respond(500, ""));

    let mut function = Function::start_with(CALLBACK, &stack, &[("LOG_LEVEL", "warn")]).await;
    for (id, path, query, status) in [
        ("id-1", "/callback", back.query().unwrap(), 303),
        ("id-2", "/callback", "code=a&state=b", 400),
        ("id-3", "/nowhere", "", 404),
    ] {
        let mut event = event(path, query, &cookies);
        event["requestContext"]["requestId"] = json!(id);
        let answer = function.request(event).await;
        assert_eq!(answer["statusCode"], status, "{answer}");
        let shown = answer["body"].as_str().unwrap().contains(&format!("dir=\"ltr\">{id}</code>"));
        assert_eq!(shown, status >= 400, "{answer}");
    }
    let output = function.terminate().await;
    let lines = output.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let lines: Vec<_> = lines.filter(|line| line.get("level").is_some()).collect();
    let ids: Vec<_> =
        lines.iter().map(|line| line["span"]["request_id"].as_str().unwrap_or_default()).collect();
    assert_eq!(ids, ["id-1", "id-2"], "{output}");
    assert!(lines[0]["message"].as_str().unwrap().starts_with("the long-lived exchange failed"), "{output}");
    // A line of the edge has it beside its outcome, too.
    assert_eq!((&lines[1]["request_id"], &lines[1]["outcome"]), (&json!("id-2"), &json!("wrong_browser")));
}

#[tokio::test]
async fn refresh_sweeps() {
    let (stack, ada) = due().await;
    let before = token(&stack, &ada).await;
    let mut function = Function::start(REFRESH, &stack).await;
    let no_parts = [json!({"part": 0}), json!({"parts": 4}), json!({"part": 4, "parts": 4})];
    let no_events = [json!({"max_seconds": "CANARY"}), json!("CANARY"), json!([1])];
    for no_event in no_events.into_iter().chain(no_parts) {
        let outcome = function.invoke(no_event).await;
        let Outcome::Error(error) = outcome else { panic!("{outcome:?}") };
        assert!(!error.to_string().contains("CANARY"), "{error}");
        assert!(error.to_string().contains("max_seconds"), "{error}");
        assert_eq!(error["errorType"], "refresh::RefreshError", "{error}");
    }
    let refreshed = function.invoke(scheduled()).await;
    let report = json!({"outcomes": {"refreshed": 1}, "oldest_overdue_seconds": 0, "weakest_token_days": 59,
        "unreadable_shards": 0});
    assert_eq!(refreshed, Outcome::Response(report));
    let nothing = function.invoke(json!({"max_seconds": 60})).await;
    let report = json!({"outcomes": {}, "oldest_overdue_seconds": 0, "unreadable_shards": 0});
    assert_eq!(nothing, Outcome::Response(report));

    let after = token(&stack, &ada).await;
    assert_ne!(before, after);
    let output = function.terminate().await;
    assert!(output.contains(r#""outcome":"swept""#), "{output}");
    let metrics = metrics(&output);
    assert_eq!(metrics[0]["ColdStarts"], 1.0);
    // As the release's number is spelled: the workspace has one for all.
    assert!(metrics.iter().all(|line| line["Version"] == env!("CARGO_PKG_VERSION")), "{metrics:?}");
    let counted: Vec<_> = metrics.iter().filter(|line| line.get("Refreshes").is_some()).collect();
    assert_eq!((counted.len(), &counted[0]["Outcome"]), (1, &json!("refreshed")));
    let sweeps: Vec<_> = metrics.iter().filter(|line| line.get("SweepSeconds").is_some()).collect();
    assert_eq!(sweeps.len(), 2);
    assert_eq!(
        (&sweeps[0]["WeakestTokenDays"], &sweeps[0]["OldestOverdueSeconds"]),
        (&json!(59.0), &json!(0.0))
    );
    // The refresh, and the trial of what it gave.
    let calls: Vec<_> = sweeps.iter().map(|sweep| (&sweep["GraphCalls"], &sweep["Drift"])).collect();
    assert_eq!(calls, [(&json!(2.0), &json!(0.0)), (&json!(0.0), &json!(0.0))]);
    let mut secrets = secrets(&stack).await;
    secrets.extend([before, after]);
    assert_no_secret(&output, &secrets);
}

/// Lambda and dead letters get the error of a failed sweep, with its causes.
#[tokio::test]
async fn a_sweep_that_fails_is_named_with_its_causes() {
    let (stack, ada) = due().await;
    let before = token(&stack, &ada).await;
    let mut function = Function::start_with(REFRESH, &stack, &[("GRANTS_TABLE", "nowhere")]).await;
    let outcome = function.invoke(scheduled()).await;
    let Outcome::Error(error) = outcome else { panic!("{outcome:?}") };
    assert_eq!(error["errorType"], "refresh::RefreshError", "{error}");
    let message = error["errorMessage"].as_str().unwrap();
    for part in ["could not read the due index", "ResourceNotFoundException", ": "] {
        assert!(message.contains(part), "{part}: {message}");
    }
    let output = function.terminate().await;
    let mut secrets = secrets(&stack).await;
    secrets.push(before);
    for said in [&output, message] {
        assert_no_secret(said, &secrets);
    }
}

/// Before `configure` there is nothing to refresh, and neither a retry nor a dead letter would
/// help. A deleted secret is a failure.
#[tokio::test]
async fn a_sweep_of_a_stack_that_nobody_has_configured_is_no_failure() {
    let stack = stack_of(Duration::ZERO).await;
    let client = threads_auth_store::aws::secrets_manager(&stack.service().config().aws, &http());
    client.create_secret().name("empty").send().await.unwrap();
    for variable in ["APP_SECRET_ID", "KEYRING_SECRET_ID"] {
        let mut function = Function::start_with(REFRESH, &stack, &[(variable, "empty")]).await;
        for _ in 0..2 {
            let outcome = function.invoke(scheduled()).await;
            let Outcome::Response(report) = outcome else { panic!("{outcome:?}") };
            assert_eq!(report["stopped"], "unconfigured", "{report}");
        }
        let output = function.terminate().await;
        assert!(output.contains(r#""outcome":"unconfigured""#), "{output}");
        let metrics = metrics(&output);
        assert_eq!(metrics.iter().filter(|line| line["Unconfigured"] == 1.0).count(), 2);
        // It does not count as a sweep, so the alarm on missed sweeps rings if it stays so.
        assert!(metrics.iter().all(|line| line.get("SweepSeconds").is_none()));

        let mut function = Function::start_with(REFRESH, &stack, &[(variable, "gone")]).await;
        let outcome = function.invoke(scheduled()).await;
        let Outcome::Error(error) = outcome else { panic!("{outcome:?}") };
        assert!(error["errorMessage"].as_str().unwrap().contains("the sweep has no secrets"), "{error}");
        function.terminate().await;
    }
}

/// An emptied secret does not mean a fresh stack: live accounts wait for it.
#[tokio::test]
async fn a_sweep_without_the_secrets_of_its_accounts_is_a_failure() {
    let (stack, _) = due().await;
    let client = threads_auth_store::aws::secrets_manager(&stack.service().config().aws, &http());
    client.create_secret().name("empty").send().await.unwrap();
    for variable in ["APP_SECRET_ID", "KEYRING_SECRET_ID"] {
        let mut function = Function::start_with(REFRESH, &stack, &[(variable, "empty")]).await;
        let outcome = function.invoke(scheduled()).await;
        let Outcome::Error(error) = outcome else { panic!("{outcome:?}") };
        assert!(error["errorMessage"].as_str().unwrap().contains("the sweep has no secrets"), "{error}");
        let metrics = metrics(&function.terminate().await);
        assert!(metrics.iter().all(|line| line.get("Unconfigured").is_none()));
    }
}

/// The outcomes of the answers of 500 and more that output counts.
fn server_errors(output: &str) -> Vec<Value> {
    let lines = metrics(output).into_iter().filter(|line| line.get("ServerErrors").is_some());
    lines
        .map(|line| {
            assert_eq!((&line["ServerErrors"], &line["Service"]), (&json!(1.0), &json!("test")));
            line["Outcome"].clone()
        })
        .collect()
}

/// Responses that are unavailable by design are counted apart from failures, and others not at all.
#[tokio::test]
async fn answers_of_500_and_more_are_counted_by_what_they_mean() {
    let (stack, ada) = due().await;
    let nowhere = [("GRANTS_TABLE", "nowhere"), ("SHORT_LIVED_TABLE", "nowhere")];
    for (executable, path) in [(AUTHORIZE, "/authorize"), (CALLBACK, "/callback")] {
        let mut ahead = event(path, "", &[]);
        ahead["headers"]["sec-purpose"] = json!("prefetch");
        let mut function = Function::start_with(executable, &stack, &[("APP_SECRET_ID", "gone")]).await;
        assert_eq!(function.request(ahead).await["statusCode"], 503);
        let failed = function.request(event(path, "code=1&state=2", &[])).await;
        let status = failed["statusCode"].as_u64().unwrap();
        let fine = function.request(event("/nowhere", "", &[])).await;
        assert!(executable == AUTHORIZE || fine["statusCode"] == 404, "{fine}");
        let mut expected = vec![json!("later")];
        expected.extend((status >= 500).then(|| json!("unexpected")));
        expected.extend((fine["statusCode"].as_u64() >= Some(500)).then(|| json!("unexpected")));
        assert!(expected.len() > 1 || executable == CALLBACK, "{failed}");
        assert_eq!(server_errors(&function.terminate().await), expected);
    }
    let mut request = event(&format!("/users/{ada}"), "", &[]);
    request["requestContext"]["authorizer"] = json!({"iam": {"userArn": "arn:aws:iam::123456789012:user/a"}});
    let mut function = Function::start_with(TOKEN, &stack, &nowhere).await;
    assert_eq!(function.request(request.clone()).await["statusCode"], 503);
    assert_eq!(server_errors(&function.terminate().await), [json!("unexpected")]);
    let mut function = Function::start(TOKEN, &stack).await;
    assert_eq!(function.request(request).await["statusCode"], 200);
    assert!(server_errors(&function.terminate().await).is_empty());
}

/// The lines of output that are metrics.
fn metrics(output: &str) -> Vec<Value> {
    let lines = output.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.filter(|line| line.get("_aws").is_some()).collect()
}

#[tokio::test]
async fn token_answers_who_is_proven_to_call() {
    let (stack, ada) = due().await;
    let before = token(&stack, &ada).await;
    let mut function = Function::start(TOKEN, &stack).await;
    let mut request = event(&format!("/users/{ada}/token"), "", &[]);
    assert_eq!(function.request(request.clone()).await["statusCode"], 403);
    request["requestContext"]["authorizer"] = json!({"iam": {"userArn": "arn:aws:sts::123456789012:assumed-role/backend/i-1", "accessKey": "ASIA"}});
    let answer = function.request(request).await;
    assert_eq!(answer["statusCode"], 200, "{answer}");
    let body: Value = serde_json::from_str(answer["body"].as_str().unwrap()).unwrap();
    let after = token(&stack, &ada).await;
    assert_eq!(body["access_token"], after);
    assert_ne!(before, after, "it was due");
    let output = function.terminate().await;
    assert!(
        output.contains("assumed-role/backend/i-1") && output.contains(r#""outcome":"vended""#),
        "{output}"
    );
    let mut secrets = secrets(&stack).await;
    secrets.extend([before, after]);
    assert_no_secret(&output, &secrets);
}

/// It has no secret, reads none, and announces the records of the stream, or requests a retry.
#[tokio::test]
async fn events_are_announced() {
    let stack = stack_of(Duration::ZERO).await;
    let ada = account(&stack, "ada");
    Browser::new().connect(&stack, &ada).await;
    let batch = json!({"Records": [record(&stack, &ada, "1", 1_767_225_600).await]});
    let mut function = Function::start(EVENTS, &stack).await;
    let done = json!({"batchItemFailures": []});
    assert_eq!(function.invoke(batch.clone()).await, Outcome::Response(done.clone()));
    assert_eq!(function.invoke(json!({"Records": []})).await, Outcome::Response(done));
    let events = stack.events();
    assert_eq!((events.len(), &events[0]["detail"]["id"]), (1, &json!("e1:account.connected")));
    // An event that is not a batch is not acknowledged.
    let again = json!({"batchItemFailures": [{"itemIdentifier": ""}]});
    assert_eq!(function.invoke(json!({"CANARY": 1})).await, Outcome::Response(again));
    let output = function.terminate().await;
    assert_no_secret(&output, &secrets(&stack).await);
    assert_no_secret(&output, &[token(&stack, &ada).await]);
}

/// Threat cut-off-sweep: Lambda ends a function in the middle of a refresh. The next sweep after
/// the lease does it again.
#[tokio::test]
async fn a_refresh_that_is_killed_is_done_again() {
    let (stack, ada) = due().await;
    let function = Function::start(REFRESH, &stack).await;
    stack.sandbox().unwrap().clear_calls();
    fail(&stack, SandboxCall::Refresh, 1, HOLD);
    function.begin(scheduled()).await;
    let asked = async {
        faults_struck(&stack).await;
    };
    tokio::time::timeout(HANG, asked).await.unwrap();
    function.terminate().await;

    let leased = grant(&stack, &ada).await;
    assert_eq!(leased.failures, 0);
    // The lease is the dead function's.
    assert_eq!(stack.sweep().await.unwrap().count(RefreshOutcome::Refreshed), 0);
    // The lease is by the machine's clock, which has gone on.
    let behind = now().duration_since(stack.clock().now());
    stack.clock().advance(Duration::try_from(behind).unwrap() + LEASE);
    assert_eq!(stack.sweep().await.unwrap().count(RefreshOutcome::Refreshed), 1);
    let after = grant(&stack, &ada).await;
    assert!(after.live().unwrap().expires_at > leased.live().unwrap().expires_at);
    assert!(is_usable(&stack, &token(&stack, &ada).await).await);
}

#[tokio::test]
async fn what_is_missing_is_said_at_once() {
    for executable in [AUTHORIZE, CALLBACK, EVENTS, REFRESH, TOKEN] {
        let mut command = command(executable);
        command.env("AWS_LAMBDA_RUNTIME_API", "127.0.0.1:1");
        let output = tokio::time::timeout(HANG, command.output()).await.unwrap().unwrap();
        assert!(!output.status.success());
        let said = String::from_utf8(output.stderr).unwrap();
        for name in ["PUBLIC_URL", "GRANTS_TABLE", "SHORT_LIVED_TABLE", "APP_SECRET_ID", "KEYRING_SECRET_ID"]
        {
            assert!(said.contains(name), "{name}: {said}");
        }
    }
}

/// An account that is due at the machine's time.
async fn due() -> (Stack, String) {
    let ago = 41 * DAY;
    let stack = stack_of(ago).await;
    let ada = account(&stack, "ada");
    Browser::new().connect(&stack, &ada).await;
    stack.clock().advance(ago);
    assert!(grant(&stack, &ada).await.due_at.unwrap() < schedule::add(stack.clock().now(), 0));
    (stack, ada)
}
