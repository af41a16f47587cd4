//! The bill: each operation's requests to DynamoDB, counted on the wire, and all of it in dollars.
//!
//! `cargo test --workspace --test integration costs -- --nocapture` prints the table of
//! `infra/README.md`, which has to be the same.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, Response};
use devstack::{Clock, Stack};
use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};
use threads_auth::{RefreshOutcome, ThreadsAuth};
use threads_auth_store::Item;
use threads_sandbox::{NewAccount, SandboxCall};

use crate::backend::{completion, finished, new};
use crate::fixture::{
    Browser, DAY, HOLD, account, calls, connect_people, connect_private, delete_data, fail, faults_struck,
    http, post_signed, respond, rows, serve_counting, stack, stack_with,
};
use crate::iam;

/// AWS's list prices in dollars, of us-east-1, for one of each.
mod price {
    /// <https://aws.amazon.com/api-gateway/pricing/>: a request of an HTTP API.
    pub(super) const HTTP_API: f64 = 1.00e-6;
    /// <https://aws.amazon.com/lambda/pricing/>: an invocation, and a gigabyte for a second (x86).
    pub(super) const INVOCATION: f64 = 0.20e-6;
    pub(super) const GIGABYTE_SECOND: f64 = 0.000_016_666_7;
    /// <https://aws.amazon.com/dynamodb/pricing/on-demand/>: a unit; a function reads a stream for
    /// nothing.
    pub(super) const WRITE: f64 = 0.625e-6;
    pub(super) const READ: f64 = 0.125e-6;
    /// The same page: a gigabyte of a table for a month, beyond the first 25.
    pub(super) const STORAGE: f64 = 0.25;
    /// <https://aws.amazon.com/cloudwatch/pricing/>: a gigabyte of logs, and in a month each metric
    /// that an alarm looks at.
    pub(super) const LOGS: f64 = 0.50;
    pub(super) const ALARM_METRIC: f64 = 0.10;
    /// <https://aws.amazon.com/secrets-manager/pricing/>: a secret for a month, and a call.
    pub(super) const SECRET: f64 = 0.40;
    pub(super) const SECRET_CALL: f64 = 0.05 / 10_000.0;
    /// <https://aws.amazon.com/kms/pricing/>: a key for a month, and a request.
    pub(super) const KEY: f64 = 1.00;
    pub(super) const KEY_REQUEST: f64 = 0.03 / 10_000.0;
}

/// Nothing here measures these: no function has run on AWS.
mod assumed {
    /// Billed duration of an invocation, in milliseconds: itself, each request to DynamoDB, and
    /// each call to Meta.
    pub(super) const INVOCATION: f64 = 5.0;
    pub(super) const DYNAMODB: f64 = 5.0;
    pub(super) const META: f64 = 100.0;
    /// The log of one invocation, by Lambda, the function and API Gateway, in gigabytes.
    pub(super) const LOGS: f64 = 1.5e-6;
    /// Number of tokens due in one sweep, which works at 16 of them side by side.
    pub(super) const DUE_AT_ONCE: f64 = 8.0;
    /// Hours of a month.
    pub(super) const MONTH: f64 = 730.0;
    /// Meta's time for a refresh, in seconds, as reported.
    pub(super) const REFRESH: f64 = 0.2;
    /// Hours from an account's refresh to the next.
    pub(super) const REST: f64 = 37.0 * 24.0;
    /// The load after an outage, as a multiple of the mean.
    pub(super) const CATCH_UP: f64 = 8.0;
    /// Bytes of a row and of its entry in the index.
    pub(super) const ROW: f64 = 1_200.0;
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Spent {
    write: f64,
    read: f64,
    requests: f64,
}

/// A proxy before a stack's DynamoDB, which requests the consumed capacity of each request. Its
/// figures are those of DynamoDB's own rules: by the larger of both images of an item, twice in a
/// transaction, and with what an index takes.
#[derive(Clone)]
struct Meter {
    http: Client,
    upstream: Arc<Stack>,
    spent: Arc<Mutex<Spent>>,
    connections: Arc<AtomicUsize>,
}

impl Meter {
    /// A stack whose tables are behind a meter.
    async fn start() -> (Self, Stack) {
        let upstream = Arc::new(stack().await);
        let http = http().inner().clone();
        let meter = Self { http, upstream, spent: Arc::default(), connections: Arc::default() };
        let router = Router::new().fallback(Self::forward).with_state(meter.clone());
        let url = serve_counting(router, Arc::clone(&meter.connections)).await;
        let variables =
            [("AWS_ENDPOINT_URL_DYNAMODB", &*url), ("AUTHORIZE_ACCESS", "open"), ("CHECK_EVERY_DAYS", "7")];
        (meter, stack_with(&variables).await)
    }

    #[expect(clippy::disallowed_methods, reason = "a test's own requests")]
    async fn forward(State(meter): State<Self>, headers: HeaderMap, body: Bytes) -> Response<Body> {
        let target = headers["x-amz-target"].to_str().unwrap();
        let operation = target.rsplit('.').next().unwrap();
        let is_read = ["GetItem", "Query", "Scan"].contains(&operation);
        let is_write = ["PutItem", "UpdateItem", "DeleteItem", "TransactWriteItems"].contains(&operation);
        let mut question: Value = serde_json::from_slice(&body).unwrap();
        if is_read || is_write {
            question["ReturnConsumedCapacity"] = "TOTAL".into();
        } else {
            assert!(operation.contains("Table") || operation.contains("TimeToLive"), "{operation}");
        }
        let question = question.to_string();
        let url = format!("{}/", meter.upstream.variables()["AWS_ENDPOINT_URL_DYNAMODB"]);
        let kept = ["x-amz-target", "content-type"].map(|name| (name, headers[name].to_str().unwrap()));
        let (urls, at) = (meter.upstream.urls(), Clock::system().now());
        let mut signed = iam::signed(urls, "dynamodb", &Method::POST, &url, &kept, &question, at);
        signed.extend(
            ["x-amz-target", "content-type"]
                .map(|name| (Some(HeaderName::from_static(name)), headers[name].clone())),
        );
        let answer = meter.http.post(&url).headers(signed).body(question).send().await.unwrap();
        let (status, headers) = (answer.status(), answer.headers().clone());
        let answer = answer.text().await.unwrap();
        // A refused request costs too, and its capacity is not reported.
        assert_eq!(status, StatusCode::OK, "{operation}: {answer}");
        if is_read || is_write {
            let consumed = serde_json::from_str::<Value>(&answer).unwrap()["ConsumedCapacity"].take();
            let each = if let Value::Array(tables) = consumed { tables } else { vec![consumed] };
            let units: f64 = each.iter().map(|table| table["CapacityUnits"].as_f64().unwrap()).sum();
            let mut spent = meter.spent.lock().unwrap();
            *(if is_write { &mut spent.write } else { &mut spent.read }) += units;
            spent.requests += 1.0;
        }
        let mut response = Response::new(Body::from(answer));
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        response.headers_mut().remove("content-length");
        response
    }

    /// The units that were spent since the last call.
    fn read(&self) -> Spent {
        std::mem::take(&mut *self.spent.lock().unwrap())
    }
}

const A_SWEEP: Duration = Duration::from_mins(15);

/// An operation, and the resources that it takes.
struct Row {
    /// The unit of which a million is priced.
    of: &'static str,
    /// The functions that are invoked for it, behind the API or not.
    invoked: &'static [&'static str],
    kind: Kind,
    spent: Spent,
    meta: f64,
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    /// Each function answers a request of its own.
    Http,
    /// A function that a schedule invokes.
    Scheduled,
    /// A share of such an invocation.
    Share,
}

impl Row {
    /// Dollars for a million, in whole cents: the API's, Lambda's, DynamoDB's, and the logs'.
    #[expect(clippy::cast_precision_loss, reason = "a handful of invocations")]
    fn dollars(&self, template: &str) -> [f64; 4] {
        let functions = self.invoked.len() as f64;
        let memory = self.invoked.iter().map(|name| memory(template, name)).sum::<f64>() / functions;
        let waits = self.spent.requests * assumed::DYNAMODB + self.meta * assumed::META;
        let (invocations, milliseconds) = match self.kind {
            Kind::Share => (0.0, waits / assumed::DUE_AT_ONCE),
            Kind::Http | Kind::Scheduled => (functions, functions * assumed::INVOCATION + waits),
        };
        [
            if self.kind == Kind::Http { invocations * price::HTTP_API } else { 0.0 },
            invocations * price::INVOCATION + milliseconds / 1_000.0 * memory * price::GIGABYTE_SECOND,
            self.spent.write * price::WRITE + self.spent.read * price::READ,
            invocations * assumed::LOGS * price::LOGS,
        ]
        .map(|dollars| (dollars * 1e8).round() / 100.0)
    }

    fn line(&self, template: &str) -> String {
        let dollars = self.dollars(template);
        let mut parts = Vec::new();
        for (name, part) in ["HTTP API", "Lambda", "DynamoDB", "logs"].iter().zip(dollars) {
            if part > 0.0 {
                parts.push(format!("{name} {part:.2}"));
            }
        }
        let total: f64 = dollars.iter().sum();
        let Spent { write, read, .. } = self.spent;
        format!("| {} | {write} | {read} | {} | {total:.2} ({}) |", self.of, self.meta, parts.join(", "))
    }
}

/// Gigabytes of a function.
fn memory(template: &str, function: &str) -> f64 {
    let (_, resource) = template.split_once(&format!("\n  {function}Function:\n")).unwrap();
    let (_, size) = resource.split_once("MemorySize: ").unwrap();
    size.lines().next().unwrap().parse::<f64>().unwrap() / 1024.0
}

/// Alarms, and the metrics that they look at.
fn alarms(template: &str) -> (usize, usize) {
    let alarms = template.split("    Type: AWS::CloudWatch::Alarm\n").skip(1);
    let metrics = |alarm: &str| {
        alarm
            .split("\n  ")
            .take_while(|line| line.is_empty() || line.starts_with(' ') || line.starts_with('#'))
            .filter(|line| line.contains("MetricName:"))
            .count()
    };
    // Those of webhooks exist only with a receiver.
    let alarms = alarms.filter(|alarm| !alarm.starts_with("    Condition: HasWebhook\n"));
    alarms.fold((0, 0), |(count, all), alarm| (count + 1, all + metrics(alarm)))
}

fn file(path: &str) -> String {
    std::fs::read_to_string(format!("{}/../{path}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

/// Takes one step after another, and writes down what each has spent.
struct Bill {
    stack: Stack,
    meter: Meter,
    rows: Vec<Row>,
    called: usize,
}

impl Bill {
    fn add(&mut self, of: &'static str, invoked: &'static [&'static str]) {
        let (spent, called) = (self.meter.read(), calls(&self.stack));
        let meta = f64::from(u32::try_from(called - self.called).unwrap());
        self.called = called;
        self.rows.push(Row { of, invoked, kind: Kind::Http, spent, meta });
    }

    async fn logins(&mut self) -> String {
        let (ada, grace) = (account(&self.stack, "ada"), account(&self.stack, "grace"));
        self.meter.read();
        let done = Browser::new().connect(&self.stack, &grace).await;
        assert_eq!(done.status, StatusCode::SEE_OTHER);
        self.add("logins that anybody may begin", &["Authorize", "Callback"]);
        let (id, code) = finished(&self.stack, new("user-1"), &ada).await;
        self.add("logins with a session, which is begun too", &["Sessions", "Authorize", "Callback"]);
        let body = completion(&code, "user-1").to_string();
        let reply = iam::call(&self.stack, Method::POST, &format!("/sessions/{id}/complete"), &body).await;
        assert_eq!(reply.status, StatusCode::OK, "{reply:?}");
        self.add("sessions completed", &["Sessions"]);
        ada
    }

    /// A sweep that finds nothing, and what is added to it by a look at an account whose token is
    /// not due, and by a refresh: the first of a token that came with a login, and one that has a
    /// token before it.
    async fn sweeps(&mut self) -> Spent {
        self.stack.sweep().await.unwrap();
        // A new process has no connection yet.
        let service = ThreadsAuth::new(self.stack.service().config().clone()).unwrap();
        self.meter.read();
        let before = self.meter.connections.load(Ordering::Relaxed);
        let report = service.sweep(self.stack.clock().now(), A_SWEEP).await.unwrap();
        let empty = self.meter.read();
        let connections = self.meter.connections.load(Ordering::Relaxed) - before;
        // The pause, the deletions and each partition are read once.
        let figures = format!("{} requests over {connections} connections", empty.requests);
        assert_eq!(figures, "18 requests over 4 connections", "{report:?}");
        for (of, days, outcome) in [
            ("looks, with `CheckEveryDays`", 7, RefreshOutcome::Checked),
            ("first refreshes, by sweeps", 41, RefreshOutcome::Refreshed),
            ("later refreshes, by sweeps", 41, RefreshOutcome::Refreshed),
        ] {
            self.stack.clock().advance(days * DAY);
            self.called = calls(&self.stack);
            // The first grant of each sweep rehearses a write, which is no part of a refresh.
            let mut config = self.stack.service().config().clone();
            config.sweep_start = 2;
            let service = ThreadsAuth::new(config).unwrap();
            let report = service.sweep(self.stack.clock().now(), A_SWEEP).await.unwrap();
            assert_eq!(report.count(outcome), 2, "{report:?}");
            let both = self.meter.read();
            let half = |of: fn(&Spent) -> f64| (of(&both) - of(&empty)) / 2.0;
            let spent =
                Spent { write: half(|s| s.write), read: half(|s| s.read), requests: half(|s| s.requests) };
            let meta = f64::from(u32::try_from(calls(&self.stack) - self.called).unwrap()) / 2.0;
            self.rows.push(Row { of, invoked: &["Refresh"], kind: Kind::Share, spent, meta });
        }
        self.called = calls(&self.stack);
        empty
    }

    async fn backends(&mut self, ada: &str) {
        self.get(&format!("/users/{ada}/token")).await;
        self.add("tokens handed out", &["Token"]);
        let body = serde_json::json!({"reference": "user-2"}).to_string();
        let reply = iam::call(&self.stack, Method::PATCH, &format!("/users/{ada}"), &body).await;
        assert_eq!(reply.status, StatusCode::OK, "{reply:?}");
        self.add("accounts that change hands", &["Token"]);
        let page = self.get("/users?reference=user-2").await;
        assert_eq!(page["users"].as_array().map(Vec::len), Some(1), "{page}");
        self.add("lookups of a user's account, if it is one", &["Token"]);
        connect_people(&self.stack, 100).await;
        self.called = calls(&self.stack);
        self.meter.read();
        let page = self.get("/users?limit=100").await;
        assert_eq!(page["users"].as_array().map(Vec::len), Some(100), "{page}");
        self.add("pages of a list, each with 100 accounts", &["Token"]);
    }

    async fn get(&self, path: &str) -> Value {
        let reply = iam::call(&self.stack, Method::GET, path, "").await;
        assert_eq!(reply.status, StatusCode::OK, "{reply:?}");
        serde_json::from_str(&reply.body).unwrap()
    }

    async fn ends(&mut self, ada: &str) {
        let grace = account(&self.stack, "grace");
        let signed = self.stack.sandbox().unwrap().signed_request(&grace);
        let reply = post_signed(&self.stack, "/deauthorize", &signed).await;
        assert_eq!(reply.status, StatusCode::OK);
        self.add("people who remove the app", &["Deauthorize"]);
        delete_data(&self.stack, ada).await;
        self.add("people who have their data deleted", &["Deletion"]);
        let nowhere = format!("{}/nowhere", self.stack.urls().service_url);
        assert_eq!(Browser::new().get(&nowhere).await.status, StatusCode::NOT_FOUND);
        self.add("requests that no route takes", &["Callback"]);
    }
}

/// The costs of a month without anybody.
fn months(template: &str, empty: Spent) -> Vec<String> {
    let sweeps = assumed::MONTH * 4.0;
    let one = Row { of: "", invoked: &["Refresh"], kind: Kind::Scheduled, spent: empty, meta: 0.0 };
    let sweep: f64 = one.dollars(template).iter().sum::<f64>() / 1e6;
    let (count, metrics) = alarms(template);
    let watched = f64::from(u32::try_from(metrics).unwrap()) * price::ALARM_METRIC;
    // Two secrets, each once in SECRETS_TTL_SECONDS.
    let reads = assumed::MONTH * 3_600.0 / 300.0 * 2.0;
    [
        ("key and two secrets".to_owned(), price::KEY + 2.0 * price::SECRET),
        (format!("{count} alarms over {metrics} metrics"), watched),
        (format!("sweeps that find nothing, each with {} read units", empty.read), sweeps * sweep),
        (
            "a process that is busy all the time, reading the secrets".to_owned(),
            reads * (price::SECRET_CALL + price::KEY_REQUEST),
        ),
    ]
    .map(|(of, dollars)| format!("| {of} | {dollars:.2} |"))
    .into()
}

/// Returns the load and the cost of large fleets, if a refresh costs `dollars` a million. An outage
/// of ten days is made up for with a multiple of the mean load.
fn growth(dollars: f64) -> String {
    let mut table =
        "| accounts | refreshes an hour | a sweep's time, 16 in flight | after an outage | 64 in flight | after an \
         outage | writes of an index partition | GB | dollars a month |\n|---|---|---|---|---|---|---|---|---|\n"
            .to_owned();
    for (name, accounts) in [("100,000", 1e5), ("1 million", 1e6), ("10 million", 1e7), ("100 million", 1e8)]
    {
        let hourly = accounts / assumed::REST;
        let share = |in_flight: f64| hourly / 3_600.0 * assumed::REFRESH / in_flight * 100.0;
        let both =
            |in_flight| format!("{:.2} % | {:.1} %", share(in_flight), share(in_flight) * assumed::CATCH_UP);
        // An entry is removed at one time and put in at another.
        let writes =
            hourly / 3_600.0 * assumed::CATCH_UP * 2.0 / f64::from(threads_auth_model::schedule::DUE_SHARDS);
        let stored = accounts * assumed::ROW / 1e9;
        let month = hourly * assumed::MONTH / 1e6 * dollars + (stored - 25.0).max(0.0) * price::STORAGE;
        let (few, many) = (both(16.0), both(64.0));
        writeln!(table, "| {name} | {hourly:.0} | {few} | {many} | {writes:.2} | {stored:.1} | {month:.2} |")
            .unwrap();
    }
    table
}

/// Write and read units of each row. More of them is a rise of costs: note it in the changelog.
const UNITS: [(f64, f64); 13] = [
    (7.0, 2.0),
    (8.0, 3.0),
    (7.0, 2.0),
    (4.0, 0.0),
    (4.0, 0.0),
    (4.0, 0.0),
    (0.0, 1.0),
    (3.0, 1.0),
    (0.0, 1.5),
    (0.0, 6.5),
    (3.0, 0.0),
    (12.0, 5.0),
    (0.0, 0.0),
];

/// The figures are today's, and the README has the same: a change shows in both.
#[tokio::test]
async fn costs_are_what_the_readme_says() {
    let (meter, stack) = Meter::start().await;
    let mut bill = Bill { stack, meter, rows: Vec::new(), called: 0 };
    let ada = bill.logins().await;
    let empty = bill.sweeps().await;
    bill.backends(&ada).await;
    bill.ends(&ada).await;

    let template = file("infra/template.yaml");
    let mut table =
        "| a million | write units | read units | calls to Meta | dollars |\n|---|---|---|---|---|\n"
            .to_owned();
    for row in &bill.rows {
        writeln!(table, "{}", row.line(&template)).unwrap();
    }
    table += "\n| a month | dollars |\n|---|---|\n";
    for line in months(&template, empty) {
        writeln!(table, "{line}").unwrap();
    }
    println!("{table}");
    let units: Vec<_> = bill.rows.iter().map(|row| (row.spent.write, row.spent.read)).collect();
    assert_eq!(units, UNITS, "{table}");
    let readme = file("infra/README.md");
    for line in table.lines() {
        assert!(readme.contains(line), "infra/README.md does not say\n{line}\nThe table is\n{table}");
    }
    let refresh = bill.rows.iter().find(|row| row.of.starts_with("later refreshes")).unwrap();
    let growth = growth(refresh.dollars(&template).iter().sum());
    println!("{growth}");
    let page = file("docs/PERFORMANCE.md");
    for line in growth.lines() {
        assert!(page.contains(line), "docs/PERFORMANCE.md does not say\n{line}\nThe table is\n{growth}");
    }
}

/// Returns the write units of one refresh by a sweep, without the rehearsal.
async fn refresh_units(meter: &Meter, stack: &Stack) -> String {
    let mut config = stack.service().config().clone();
    // Looks are set from the second of each write, and the trial may write a second later.
    (config.sweep_start, config.check_every) = (2, None);
    meter.read();
    let report = ThreadsAuth::new(config).unwrap().sweep(stack.clock().now(), A_SWEEP).await.unwrap();
    assert_eq!(report.count(RefreshOutcome::Refreshed), 1, "{report:?}");
    meter.read().write.to_string()
}

/// A refresh writes the lease, the row, and the row's place in the index, which is two writes. The
/// look at the new token writes only if Meta says something new: here, another scope.
#[tokio::test]
async fn a_refresh_costs_four_units_and_one_more_for_news() {
    let (meter, stack) = Meter::start().await;
    connect_private(&stack).await;
    stack.clock().advance(41 * DAY);
    let mut units = vec![refresh_units(&meter, &stack).await];

    let (meter, stack) = Meter::start().await;
    let ada = account(&stack, "ada");
    Browser::new().connect(&stack, &ada).await;
    let info = json!({"data": {"is_valid": true, "user_id": ada, "data_access_expires_at": 0,
        "scopes": ["threads_basic", "threads_delete"]}});
    for _ in 0..2 {
        stack.clock().advance(41 * DAY);
        fail(&stack, SandboxCall::DebugToken, 1, respond(200, info.to_string()));
        units.push(refresh_units(&meter, &stack).await);
    }
    println!("write units of refreshes: private, with news and without: {units:?}");
    assert_eq!(units, ["4", "5", "4"]);
}

/// Returns the bytes for which DynamoDB charges a write of a row:
/// <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/CapacityUnitCalculations.html>.
fn bytes(row: &Item) -> usize {
    let value = |value: &AttributeValue| match value {
        AttributeValue::S(text) => text.len(),
        AttributeValue::N(digits) => digits.len().div_ceil(2) + 1,
        AttributeValue::B(bytes) => bytes.as_ref().len(),
        other => panic!("{other:?}"),
    };
    row.iter().map(|(name, held)| name.len() + value(held)).sum()
}

/// Returns the bytes of an account's row while a sweep waits for its second refresh: with the token
/// before, a lease and a note. Tokens are longer than the sandbox's, and key ids shorter than those
/// of `dev`.
async fn largest(stack: &Stack, user_id: &str) -> usize {
    const LONGER: usize = 46 - 3;
    stack.clock().advance(41 * DAY);
    stack.sweep().await.unwrap();
    stack.clock().advance(41 * DAY);
    fail(stack, SandboxCall::Refresh, 1, HOLD);
    let waiting = async {
        faults_struck(stack).await;
        let key = AttributeValue::S(format!("user#{user_id}"));
        let row = rows(stack).await.into_iter().find(|row| row.get("pk") == Some(&key)).unwrap();
        stack.sandbox().unwrap().clear_faults();
        for name in ["previous_token", "lease_owner", "asked_at"] {
            assert!(row.contains_key(name), "{name}");
        }
        bytes(&row) + 2 * LONGER
    };
    let (report, bytes) = tokio::join!(stack.sweep(), waiting);
    assert_eq!(report.unwrap().count(RefreshOutcome::Refreshed), 1);
    bytes
}

/// Each kilobyte of a row, even one that has only begun, is a unit of each of its writes. Here are
/// Threads' longest name and an end of access. A row of all scopes takes one unit, unless it has
/// the attributes of a session too.
#[tokio::test]
async fn the_largest_rows_take_one_unit_for_a_write() {
    const THREADSPIPE: &str = "basic,publish,read_replies,manage_replies,insights";
    const REFERENCE: &str = "6f1e9f5c-2a3b-4c1d-9e8f-0a1b2c3d4e5f";
    for (access, scopes, private, expected) in [
        ("open", "all", true, 1_024),
        ("session", THREADSPIPE, false, 1_007),
        ("session", THREADSPIPE, true, 1_035),
        ("session", "all", true, 1_127),
    ] {
        let stack = stack_with(&[("AUTHORIZE_ACCESS", access), ("THREADS_SCOPES", scopes)]).await;
        let user_id = "17841400000000042";
        let account = NewAccount { private, ..NewAccount::new("a".repeat(30), user_id) };
        stack.sandbox().unwrap().add_account(account);
        if access == "open" {
            Browser::new().connect(&stack, user_id).await;
        } else {
            let (id, code) = finished(&stack, new(REFERENCE), user_id).await;
            let body = completion(&code, REFERENCE).to_string();
            let path = format!("/sessions/{id}/complete");
            let reply = iam::call(&stack, Method::POST, &path, &body).await;
            assert_eq!(reply.status, StatusCode::OK, "{reply:?}");
        }
        let bytes = largest(&stack, user_id).await;
        println!("row: {bytes} bytes, access {access}, scopes {scopes}, private {private}");
        assert_eq!(bytes, expected);
    }
}
