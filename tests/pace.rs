//! The pace of a sweep: what becomes of tokens while the store fails.

use std::collections::{HashMap, HashSet};
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Response, StatusCode};
use devstack::Stack;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use jiff::SignedDuration;
use reqwest::Client;
use serde_json::Value;
use threads_auth::{Config, Part, RefreshOutcome, Stopped, ThreadsAuth};
use threads_auth_model::rules::{self, NewGrant};
use threads_auth_model::schedule::{self, Life};
use threads_auth_model::seal::Purpose;
use threads_auth_model::{Access, Pseudonym, ScopesSource};
use threads_graph::{AccessToken, Scopes, UserId};
use threads_sandbox::{BadAnswer, BadHours, Fault, NewAccount, OldToken, SandboxCall};

use crate::fixture::{
    DAY, HOLD, LEASE, calls_of, grant, http, is_usable, rows, serve, set_attribute, stack, token,
};
use crate::proxy::{self, Proxy};

/// Connects so many people at once, by a write of each row, and returns their user ids.
async fn seed(stack: &Stack, count: u64) -> Vec<String> {
    seed_from(stack, 0, count).await
}

async fn seed_from(stack: &Stack, first: u64, count: u64) -> Vec<String> {
    let (sandbox, service, now) = (stack.sandbox().unwrap(), stack.service(), stack.clock().now());
    let vault = service.vault(now).await.unwrap();
    let people: Vec<_> = (first..first + count).map(|n| (17_841_400_000_000_000 + n).to_string()).collect();
    stream::iter(&people)
        .for_each_concurrent(16, async |person| {
            sandbox.add_account(NewAccount::new(format!("p{person}"), person.clone()));
            let user_id: UserId = person.parse().unwrap();
            let token = AccessToken::new(sandbox.issue_long_lived(person)).unwrap();
            let scopes: Scopes = "threads_basic,threads_content_publish".parse().unwrap();
            let grant = NewGrant {
                user_id: &user_id,
                grant_id: &format!("grant-of-{person}"),
                begun_at: None,
                sealed: vault.seal(Purpose::AccessToken, &user_id, &token).unwrap(),
                access: Access { scopes, source: ScopesSource::Granted, data_access_expires_at: None },
                username: None,
                pseudonym: Pseudonym::random().unwrap(),
                life: Life::new(now, Some(60 * DAY)),
            };
            service.store().write(&rules::connect(&grant, None, now)).await.unwrap();
        })
        .await;
    people
}

/// A write of one row, as DynamoDB gets it.
struct Update {
    /// The key.
    key: String,
    /// The attributes that are set.
    sets: Vec<String>,
}

impl Update {
    fn of(target: &str, body: &[u8]) -> Option<Self> {
        if !target.ends_with(".UpdateItem") {
            return None;
        }
        let body: Value = serde_json::from_slice(body).unwrap();
        let set = body["UpdateExpression"].as_str().unwrap().split("REMOVE").next().unwrap();
        let sets = set.split(['#', ' ']).filter(|word| !word.is_empty()).map(str::to_owned).collect();
        Some(Self { key: body["Key"]["pk"]["S"].as_str().unwrap().to_owned(), sets })
    }

    /// Returns true if this sets the attribute.
    fn sets(&self, attribute: &str) -> bool {
        self.sets.iter().any(|set| set == attribute)
    }

    /// Returns true if this stores a token that Meta has just issued.
    fn is_new_token(&self) -> bool {
        self.sets("refreshed_at")
    }
}

/// Returns the error code for a write that fails.
type Rule = dyn FnMut(&Update) -> Option<&'static str> + Send;

/// Stands before DynamoDB, and refuses the writes that a rule names.
#[derive(Clone)]
struct Gate {
    http: Client,
    upstream: String,
    rule: Arc<Mutex<Box<Rule>>>,
}

impl Gate {
    /// Starts a gate, and a service that reaches DynamoDB through it.
    async fn start(stack: &Stack, variables: &[(&str, &str)]) -> (Self, ThreadsAuth) {
        let gate = Self {
            http: http().inner().clone(),
            upstream: stack.variables()["AWS_ENDPOINT_URL_DYNAMODB"].clone(),
            rule: Arc::new(Mutex::new(Box::new(|_| None))),
        };
        let url = serve(Router::new().fallback(Self::forward).with_state(gate.clone())).await;
        let mut all: HashMap<_, _> = stack.variables().clone();
        all.insert("AWS_ENDPOINT_URL_DYNAMODB".to_owned(), url);
        all.extend(variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        let mut config = Config::from_vars(&all, None).unwrap();
        config.sweep_least = u64::MAX;
        (gate, ThreadsAuth::new(config).unwrap())
    }

    fn refuse(&self, rule: impl FnMut(&Update) -> Option<&'static str> + Send + 'static) {
        *self.rule.lock().unwrap() = Box::new(rule);
    }

    #[expect(clippy::disallowed_methods, reason = "a test's own requests")]
    async fn forward(State(gate): State<Self>, headers: HeaderMap, body: Bytes) -> Response<Body> {
        let target = headers["x-amz-target"].to_str().unwrap();
        let update = Update::of(target, &body);
        let code = update.and_then(|update| (gate.rule.lock().unwrap())(&update));
        if let Some(code) = code {
            let mut response = Response::new(format!(r#"{{"__type":"{code}"}}"#).into());
            *response.status_mut() = StatusCode::BAD_REQUEST;
            return response;
        }
        let answer = gate.http.post(&gate.upstream).headers(headers).body(body).send().await.unwrap();
        let (status, headers) = (answer.status(), answer.headers().clone());
        let mut response = Response::new(Body::from(answer.bytes().await.unwrap()));
        (*response.status_mut(), *response.headers_mut()) = (status, headers);
        response
    }
}

/// Returns the number of people whose stored token Meta refuses.
async fn lost(stack: &Stack, people: &[String]) -> usize {
    let usable = stream::iter(people)
        .map(async |person| is_usable(stack, &token(stack, person).await).await)
        .buffer_unordered(16);
    usable.filter(|is_usable| std::future::ready(!is_usable)).count().await
}

const A_SWEEP: Duration = Duration::from_mins(15);

/// AWS's code for a refusal that its SDK does not repeat by itself.
const DENIED: &str = "AccessDeniedException";

/// Threat failing-store: the three rows that have been due longest accept no token, each for
/// another reason. All others are refreshed.
#[tokio::test]
async fn rows_that_cannot_be_written_hold_up_nobody() {
    const PEOPLE: usize = 1_000;
    let stack = stack().await;
    let people = seed(&stack, 1_000).await;
    let (gate, service) = Gate::start(&stack, &[]).await;
    stack.clock().advance(41 * DAY);
    let (mut poison, mut others) = (Vec::new(), HashSet::new());
    gate.refuse(move |update| {
        if update.sets("token") && poison.len() < 3 && !poison.contains(&update.key) {
            poison.push(update.key.clone());
        }
        match poison.iter().position(|key| *key == update.key) {
            Some(0) if update.sets("token") => Some("ValidationException"),
            Some(1) if update.is_new_token() => Some("ItemCollectionSizeLimitExceededException"),
            // Until all others are refreshed.
            Some(2) if update.is_new_token() => (others.len() < PEOPLE - 3).then_some(DENIED),
            None if update.is_new_token() => {
                others.insert(update.key.clone());
                None
            }
            _ => None,
        }
    });
    let report = service.sweep(stack.clock().now(), A_SWEEP).await.unwrap();
    let refreshed = report.count(RefreshOutcome::Refreshed);
    println!("threat failing-store: 3 of {PEOPLE} rows take no token: {refreshed} refreshed");
    assert_eq!((refreshed, report.stopped), (998, None), "{report:?}");
    assert_eq!(report.count(RefreshOutcome::StoreFailed), 2, "{report:?}");
    // Two are put off, and not refreshed by each sweep.
    stack.sandbox().unwrap().clear_calls();
    assert!(service.sweep(stack.clock().now(), A_SWEEP).await.unwrap().outcomes.is_empty());
    assert_eq!(calls_of(&stack, SandboxCall::Refresh), 0);
    gate.refuse(|_| None);
    stack.clock().advance(DAY);
    assert_eq!(
        service.sweep(stack.clock().now(), A_SWEEP).await.unwrap().count(RefreshOutcome::Refreshed),
        2
    );
    assert_eq!(lost(&stack, &people[..20]).await, 0);
}

/// Threat failing-store: leases succeed, and writes that change the index do not, as while an index
/// is throttled. The old token dies at once.
#[tokio::test]
async fn a_store_that_takes_no_token_is_fed_with_none() {
    const PEOPLE: u64 = 220;
    let stack = stack().await;
    stack.sandbox().unwrap().set_old_token_behaviour(OldToken::NewTokenOldDead);
    let people = seed(&stack, PEOPLE).await;
    let (gate, service) = Gate::start(&stack, &[("REQUEST_SECONDS", "6")]).await;
    stack.clock().advance(41 * DAY);
    gate.refuse(|update| update.sets("due_at").then_some(DENIED));
    for _ in 0..3 {
        let report = service.sweep(stack.clock().now(), A_SWEEP).await.unwrap();
        assert_eq!(
            (report.count(RefreshOutcome::Refreshed), report.stopped),
            (0, Some(Stopped::Store)),
            "{report:?}"
        );
        stack.clock().advance(LEASE);
    }
    let asked = calls_of(&stack, SandboxCall::Refresh);
    gate.refuse(|_| None);
    let report = stack.sweep().await.unwrap();
    let lost = lost(&stack, &people).await;
    println!(
        "threat failing-store: writes down for three sweeps of {PEOPLE}: {asked} tokens spent, {lost} lost"
    );
    assert_eq!((asked, lost, report.count(RefreshOutcome::Refreshed)), (0, 0, PEOPLE));
}

/// Threat failing-store: writes fail in the middle of a sweep. What is in flight is kept, and
/// nothing new is begun until the store works again.
#[tokio::test]
async fn what_is_in_flight_when_the_store_fails_is_kept() {
    const PEOPLE: u64 = 220;
    const AT_ONCE: usize = 8;
    let stack = stack().await;
    stack.sandbox().unwrap().set_old_token_behaviour(OldToken::NewTokenOldDead);
    let people = seed(&stack, PEOPLE).await;
    let at_once = AT_ONCE.to_string();
    let (gate, service) =
        Gate::start(&stack, &[("REQUEST_SECONDS", "30"), ("SWEEP_CONCURRENCY", &at_once)]).await;
    stack.clock().advance(41 * DAY);
    let held = Arc::new(Mutex::new(HashSet::new()));
    let failed = Arc::clone(&held);
    let (mut stored, mut refused) = (0, 0);
    gate.refuse(move |update| {
        stored += usize::from(update.is_new_token());
        // They are down after the 50th token, until three were refused.
        if stored <= 50 || refused >= 3 || !(update.is_new_token() || update.sets("due_at")) {
            return None;
        }
        if update.is_new_token() {
            refused += 1;
            failed.lock().unwrap().insert(update.key.clone());
        }
        Some(DENIED)
    });
    let report = service.sweep(stack.clock().now(), A_SWEEP).await.unwrap();
    assert_eq!(report.stopped, None, "{report:?}");
    // The next sweep does those that were tried meanwhile.
    let later = service.sweep(stack.clock().now() + LEASE, A_SWEEP).await.unwrap();
    let refreshed = [&report, &later].map(|report| report.count(RefreshOutcome::Refreshed));
    assert_eq!(refreshed.iter().sum::<u64>(), PEOPLE, "{report:?} {later:?}");
    let held = held.lock().unwrap().len();
    println!("threat failing-store: writes down in the middle of a sweep: {held} tokens waited, 0 lost");
    assert!((1..=AT_ONCE).contains(&held), "{held}");
    assert_eq!(lost(&stack, &people).await, 0);

    // They stay down, and the sweep is killed.
    stack.clock().advance(41 * DAY);
    let (mut stored, refused) = (0, Arc::new(Mutex::new(0)));
    let count = Arc::clone(&refused);
    gate.refuse(move |update| {
        stored += usize::from(update.is_new_token());
        if stored <= 50 || !(update.is_new_token() || update.sets("due_at")) {
            return None;
        }
        *count.lock().unwrap() += 1;
        Some(DENIED)
    });
    let killed = async {
        while *refused.lock().unwrap() < 12 {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        report = service.sweep(stack.clock().now(), A_SWEEP) => panic!("{report:?}"),
        () = killed => {}
    }
    let lost = lost(&stack, &people).await;
    println!(
        "threat failing-store: killed while writes are down: {lost} of {PEOPLE} lost, {AT_ONCE} in flight"
    );
    assert!(lost <= AT_ONCE, "{lost}");
}

/// Threat failing-store: a caller asks for a token again and again. Meta is asked for none that the
/// store would not take.
#[tokio::test]
async fn callers_feed_no_token_to_a_failing_store() {
    let stack = stack().await;
    stack.sandbox().unwrap().set_old_token_behaviour(OldToken::NewTokenOldDead);
    let people = seed(&stack, 1).await;
    let (gate, service) = Gate::start(&stack, &[("REQUEST_SECONDS", "9")]).await;
    stack.clock().advance(41 * DAY);
    gate.refuse(|update| update.sets("token").then_some(DENIED));
    let user_id: UserId = people[0].parse().unwrap();
    for _ in 0..5 {
        let vended = service.vend(&user_id, SignedDuration::ZERO, None, stack.clock().now()).await.unwrap();
        assert!(is_usable(&stack, vended.access_token.expose()).await);
        stack.clock().advance(Duration::from_mins(5));
    }
    assert_eq!(calls_of(&stack, SandboxCall::Refresh), 0);
    gate.refuse(|_| None);
    service.vend(&user_id, SignedDuration::ZERO, None, stack.clock().now()).await.unwrap();
    assert_eq!((calls_of(&stack, SandboxCall::Refresh), lost(&stack, &people).await), (1, 0));
}

/// Connects six people a day for 37 days, the usual time between two refreshes. Returns a service
/// whose sweeps count every account, and the people.
async fn fleet(stack: &Stack) -> (ThreadsAuth, Vec<String>) {
    const A_DAY: u64 = 6;
    let mut people = Vec::new();
    for day in 0..37 {
        people.extend(seed_from(stack, day * A_DAY, A_DAY).await);
        stack.clock().advance(DAY);
    }
    let mut config = stack.service().config().clone();
    config.sweep_least = 1;
    (ThreadsAuth::new(config).unwrap(), people)
}

/// Makes hourly sweeps after an outage until nothing is left for later, and returns the refreshes
/// of each.
async fn make_up(stack: &Stack, service: &ThreadsAuth) -> Vec<u64> {
    let (mut loads, mut left) = (Vec::new(), u64::MAX);
    while left > 0 {
        let now = stack.clock().now();
        let report = service.sweep(now, A_SWEEP).await.unwrap();
        assert_eq!((report.stopped, report.oldest_overdue_seconds), (None, 0), "{report:?}");
        // Nothing that ends soon waits, but for the retry of what has failed.
        let soon = (now + 10 * DAY).as_second();
        let number = |row: &HashMap<String, AttributeValue>, name: &str| {
            row.get(name).and_then(|value| value.as_n().ok()?.parse::<i64>().ok())
        };
        let waits = |row: &HashMap<String, AttributeValue>| {
            let is_retried = row.contains_key("asked_at")
                && number(row, "due_at").is_some_and(|due| due > now.as_second());
            !is_retried && number(row, "expires_at").is_some_and(|end| end <= soon)
        };
        assert_eq!(rows(stack).await.iter().filter(|row| waits(row)).count(), 0, "{loads:?}");
        loads.push(report.count(RefreshOutcome::Refreshed));
        left = report.left;
        stack.clock().advance(Duration::from_hours(1));
    }
    loads
}

/// After an outage of ten days, hourly sweeps refresh two mean hours' load each, and leave tokens
/// that live for ten days more. Those that have waited longest come first.
#[tokio::test]
async fn an_outage_of_ten_days_is_made_up_for_slowly() {
    let stack = stack().await;
    let (service, people) = fleet(&stack).await;
    stack.clock().advance(10 * DAY);
    let loads = make_up(&stack, &service).await;
    let (hours, most) = (loads.len(), loads.iter().max().unwrap());
    println!(
        "after ten days without sweeps: {hours} hourly sweeps, at most {most} refreshes, 0.25 in the mean hour"
    );
    // One in an hour, and what has reached its last ten days behind others of its partition.
    assert!(*most <= 2 && hours <= 100, "{loads:?}");
    assert_eq!(lost(&stack, &people).await, 0);
}

/// Every refresh that failed in an outage of Meta's leaves a note that Meta may have issued a
/// token. These wait like the others.
#[tokio::test]
async fn an_outage_of_metas_is_made_up_for_slowly() {
    let stack = stack().await;
    let (service, people) = fleet(&stack).await;
    let from = stack.clock().now();
    let until = from + 10 * DAY;
    stack.sandbox().unwrap().add_bad_hours(BadHours { from, until, answer: BadAnswer::ServerError });
    while stack.clock().now() < until {
        stack.service().sweep(stack.clock().now(), A_SWEEP).await.unwrap();
        stack.clock().advance(Duration::from_hours(8));
    }
    let noted = rows(&stack).await.iter().filter(|row| row.contains_key("asked_at")).count();
    assert!(noted > 50, "{noted}");
    let loads = make_up(&stack, &service).await;
    let (hours, most) = (loads.len(), loads.iter().max().unwrap());
    println!(
        "after ten days without Meta: {noted} notes, {hours} hourly sweeps, at most {most} refreshes, 0.25 in \
         the mean hour"
    );
    assert!(*most <= 2 && hours <= 100, "{loads:?}");
    assert_eq!(lost(&stack, &people).await, 0);
}

/// A grant whose worker was killed waits behind nobody. Its lease was never released.
#[tokio::test]
async fn a_killed_refresh_does_not_wait() {
    let stack = stack().await;
    seed(&stack, 40).await;
    let mut config = stack.service().config().clone();
    config.sweep_least = 1;
    let service = ThreadsAuth::new(config).unwrap();
    stack.clock().advance(41 * DAY);
    let now = stack.clock().now();
    let due: Vec<_> = stack.service().store().due_in_turn(Part::WHOLE, now).try_collect().await.unwrap();
    let last: Vec<_> = due.iter().rev().take(2).map(|key| key.user_id().unwrap()).collect();
    let past = AttributeValue::N((now.as_second() - 60).to_string());
    for user_id in &last {
        set_attribute(&stack, user_id.as_str(), "asked_at", past.clone()).await;
    }
    set_attribute(&stack, last[0].as_str(), "lease_owner", AttributeValue::S("killed".to_owned())).await;
    set_attribute(&stack, last[0].as_str(), "lease_until", past).await;
    let report = service.sweep(now, A_SWEEP).await.unwrap();
    // The first of all, and the killed one.
    assert_eq!((report.count(RefreshOutcome::Refreshed), report.left), (2, 38), "{report:?}");
    let refreshed = async |user_id: &UserId| {
        let grant = grant(&stack, user_id.as_str()).await;
        grant.live().is_some_and(|live| live.refreshed_at.is_some())
    };
    assert_eq!((refreshed(&last[0]).await, refreshed(&last[1]).await), (true, false));
}

/// The partitions are read in turn, so that none starves behind a long one, and each from its
/// oldest on.
#[tokio::test]
async fn due_grants_are_read_in_turn() {
    const PARTITIONS: usize = 16;
    let stack = stack().await;
    let people = seed(&stack, 2_000).await;
    stack.clock().advance(41 * DAY);
    let mut due = pin!(stack.service().store().due_in_turn(Part::WHOLE, stack.clock().now()));
    let mut read = Vec::new();
    while let Some(key) = due.try_next().await.unwrap() {
        read.push(key.user_id().unwrap());
    }
    assert_eq!(read.iter().collect::<HashSet<_>>().len(), people.len());
    let mut times = HashMap::new();
    for row in rows(&stack).await {
        let due_at: i64 = row["due_at"].as_n().unwrap().parse().unwrap();
        times.insert(row["user_id"].as_s().unwrap().clone(), due_at);
    }
    let mut last = HashMap::new();
    for turn in read.chunks(PARTITIONS).take(90) {
        let partitions: HashSet<_> = turn.iter().map(schedule::shard).collect();
        assert_eq!(partitions.len(), PARTITIONS);
        for user_id in turn {
            let due_at = times[user_id.as_str()];
            let before = last.insert(schedule::shard(user_id), due_at);
            assert!(before.is_none_or(|before| before <= due_at));
        }
    }
}

/// A refresh takes one call to Meta in its place among those in flight. New tokens are tried beside
/// them: while Meta answers no inspection, all others are refreshed at full width. Each token is
/// tried before the sweep ends.
#[tokio::test]
async fn refreshes_wait_for_no_trial() {
    const AT_ONCE: u32 = 64;
    const PEOPLE: u64 = 400;
    // Of one, four and sixteen, by which a sweep widens.
    const BEFORE: u32 = 21;
    let stack = stack().await;
    seed(&stack, PEOPLE).await;
    let (proxy, mut config) = Proxy::before(&stack, &[("SWEEP_CONCURRENCY", "64")]).await;
    config.sweep_least = u64::MAX;
    let service = ThreadsAuth::new(config).unwrap();
    stack.clock().advance(41 * DAY);
    let sandbox = stack.sandbox().unwrap();
    let hold = |call, after| {
        let fault = Fault { call: Some(call), times: 1_000_000, after, action: HOLD, user_id: None };
        sandbox.inject(fault);
    };
    let waiting = |call| {
        let faults = sandbox.faults().into_iter();
        faults.filter(|fault| fault.call == Some(call)).map(|fault| 1_000_000 - fault.times).sum::<u32>()
    };
    hold(SandboxCall::DebugToken, 0);
    hold(SandboxCall::Refresh, BEFORE);
    let watch = async {
        while waiting(SandboxCall::Refresh) < AT_ONCE || waiting(SandboxCall::DebugToken) < BEFORE {
            tokio::task::yield_now().await;
        }
        let in_flight = (waiting(SandboxCall::Refresh), waiting(SandboxCall::DebugToken));
        sandbox.clear_faults();
        hold(SandboxCall::DebugToken, 0);
        while calls_of(&stack, SandboxCall::Refresh) < 400 {
            tokio::task::yield_now().await;
        }
        let tried = calls_of(&stack, SandboxCall::DebugToken);
        sandbox.clear_faults();
        (in_flight, tried)
    };
    let (report, (in_flight, tried)) = tokio::join!(service.sweep(stack.clock().now(), A_SWEEP), watch);
    let report = report.unwrap();
    assert_eq!(report.count(RefreshOutcome::Refreshed), PEOPLE, "{report:?}");
    assert_eq!((in_flight, tried), ((AT_ONCE, BEFORE), BEFORE as usize));
    assert_eq!(calls_of(&stack, SandboxCall::DebugToken), 400);
    // A lease and a row each, and one rehearsal.
    let updates = proxy.calls().into_iter().filter(|call| call == "UpdateItem").count();
    println!(
        "a sweep at {AT_ONCE}: {in_flight:?} refreshes and trials in flight, {updates} writes for {PEOPLE}"
    );
    assert_eq!(updates, 801);
}

/// The accounts are counted before the number is needed, so that no place in flight stays empty.
#[tokio::test]
async fn accounts_are_counted_while_refreshes_begin() {
    const LEAST: u64 = 40;
    const AT_ONCE: usize = 8;
    let stack = stack().await;
    seed(&stack, 100).await;
    let at_once = AT_ONCE.to_string();
    let (proxy, mut config) = Proxy::before(&stack, &[("SWEEP_CONCURRENCY", &at_once)]).await;
    config.sweep_least = LEAST;
    let service = ThreadsAuth::new(config).unwrap();
    stack.clock().advance(41 * DAY);
    let report = service.sweep(stack.clock().now(), A_SWEEP).await.unwrap();
    assert_eq!((report.count(RefreshOutcome::Refreshed), report.left), (LEAST, 100 - LEAST), "{report:?}");
    let calls = proxy.calls();
    // Before it, the deletions and each partition are read.
    let (counted_at, _) = calls.iter().enumerate().filter(|(_, call)| *call == "Query").nth(17).unwrap();
    let refreshes = calls[..counted_at].iter().filter(|call| *call == "/refresh_access_token").count();
    assert!(refreshes < 40 - AT_ONCE, "{refreshes}");
}

/// If the accounts cannot be counted, a sweep refreshes few and leaves what can wait.
#[tokio::test]
async fn accounts_that_cannot_be_counted_are_not_refreshed_at_once() {
    const LEAST: u64 = 40;
    let stack = stack().await;
    seed(&stack, 100).await;
    let (proxy, mut config) = Proxy::before(&stack, &[]).await;
    config.sweep_least = LEAST;
    let service = ThreadsAuth::new(config).unwrap();
    stack.clock().advance(41 * DAY);
    // Before it, the deletions and each partition are read.
    proxy.fail(proxy::Fault::DENIED, "Query", 17);
    let report = service.sweep(stack.clock().now(), A_SWEEP).await.unwrap();
    assert!(proxy.has_failed());
    assert_eq!((report.count(RefreshOutcome::Refreshed), report.left), (LEAST, 100 - LEAST), "{report:?}");
}

/// The rows of tokens that wait are read a hundred at a time, or one by one if that is refused.
#[tokio::test]
async fn rows_that_wait_are_read_together() {
    const LEAST: u64 = 40;
    for is_refused in [false, true] {
        let stack = stack().await;
        seed(&stack, 300).await;
        let (proxy, mut config) = Proxy::before(&stack, &[]).await;
        config.sweep_least = LEAST;
        let service = ThreadsAuth::new(config).unwrap();
        stack.clock().advance(41 * DAY);
        if is_refused {
            proxy.fail_on(proxy::Fault::DENIED, "BatchGetItem", 0);
        }
        let report = service.sweep(stack.clock().now(), A_SWEEP).await.unwrap();
        let left = 300 - LEAST;
        assert_eq!((report.count(RefreshOutcome::Refreshed), report.left), (LEAST, left), "{report:?}");
        let calls = proxy.calls();
        let count = |name| calls.iter().filter(|call| *call == name).count() as u64;
        let reads = (count("BatchGetItem"), count("GetItem"));
        println!("{left} rows that wait: {} reads of many, {} of one", reads.0, reads.1);
        assert_eq!(reads.0, 3);
        assert!(if is_refused { reads.1 >= left } else { reads.1 < 10 }, "{reads:?}");
    }
}

/// Measurements, which take minutes: `.ci/full pace`.
#[cfg(feature = "measures")]
mod measures {
    use threads_sandbox::FaultAction;

    use super::*;

    /// Returns the median and the extremes.
    fn spread(mut figures: Vec<f64>) -> String {
        figures.sort_by(f64::total_cmp);
        let last = figures.len() - 1;
        format!("{:.2} ({:.2}-{:.2})", figures[last / 2], figures[0], figures[last])
    }

    /// Makes all due while Meta answers after 200 ms, and treats old tokens as dead.
    async fn slow_stack(people: u64) -> (Stack, Vec<String>) {
        let stack = stack().await;
        let people = seed(&stack, people).await;
        let action = FaultAction::Delay { millis: 200 };
        let sandbox = stack.sandbox().unwrap();
        sandbox.inject(Fault {
            call: Some(SandboxCall::Refresh),
            times: u32::MAX,
            after: 0,
            action,
            user_id: None,
        });
        sandbox.set_old_token_behaviour(OldToken::NewTokenOldDead);
        (stack, people)
    }

    /// Measures the cost of the slow start: the same sweep with and without it, in turns.
    #[tokio::test]
    #[expect(clippy::cast_precision_loss, reason = "a few thousand")]
    async fn the_slow_start_is_measured() {
        const PEOPLE: u64 = 4_000;
        const ROUNDS: usize = 3;
        for at_once in [8, 16, 32, 64, 128] {
            let (stack, _) = slow_stack(PEOPLE).await;
            let rate = async |sweep_start| {
                stack.clock().advance(41 * DAY);
                let mut config = stack.service().config().clone();
                (config.sweep_start, config.sweep_concurrency) = (sweep_start, at_once);
                config.sweep_least = u64::MAX;
                let service = ThreadsAuth::new(config).unwrap();
                let began = std::time::Instant::now();
                let report = service.sweep(stack.clock().now(), A_SWEEP).await.unwrap();
                assert_eq!(report.count(RefreshOutcome::Refreshed), PEOPLE, "{report:?}");
                PEOPLE as f64 / began.elapsed().as_secs_f64()
            };
            let (mut slow, mut full, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
            for _ in 0..ROUNDS {
                let rates = (rate(1).await, rate(at_once).await);
                slow.push(rates.0);
                full.push(rates.1);
                ratios.push(rates.0 / rates.1);
            }
            let [slow, full, ratio] = [slow, full, ratios].map(spread);
            println!(
                "{at_once} in flight: {slow} tokens a second with the slow start, {full} without, ratio {ratio}"
            );
        }
    }

    /// Measures the tokens that a killed sweep loses: at any moment, and while the store fails.
    #[tokio::test]
    #[expect(clippy::cast_precision_loss, reason = "a few hundred")]
    async fn losses_of_killed_sweeps_are_measured() {
        const PEOPLE: u64 = 600;
        const KILLS: u64 = 8;
        for at_once in [8, 16, 32, 64, 128] {
            let mut losses = [0, 0];
            for kill in 0..KILLS {
                for (n, fails) in [false, true].into_iter().enumerate() {
                    let (stack, people) = slow_stack(PEOPLE).await;
                    let (gate, service) =
                        Gate::start(&stack, &[("SWEEP_CONCURRENCY", &at_once.to_string())]).await;
                    stack.clock().advance(41 * DAY);
                    let (seen, after) = (Arc::new(Mutex::new(0)), 200 + 13 * kill);
                    let count = Arc::clone(&seen);
                    gate.refuse(move |update| {
                        let mut seen = count.lock().unwrap();
                        *seen += u64::from(update.is_new_token());
                        let is_down =
                            fails && *seen > after && (update.is_new_token() || update.sets("due_at"));
                        is_down.then_some(DENIED)
                    });
                    // A kill while the store fails comes after all that were in flight have tried.
                    let until = if fails { after + 2 * at_once as u64 } else { after };
                    let killed = async {
                        while *seen.lock().unwrap() < until {
                            tokio::task::yield_now().await;
                        }
                    };
                    tokio::select! {
                        report = service.sweep(stack.clock().now(), A_SWEEP) => panic!("{report:?}"),
                        () = killed => {}
                    }
                    stack.sandbox().unwrap().clear_faults();
                    losses[n] += lost(&stack, &people).await;
                }
            }
            let [killed, failed] = losses.map(|lost| lost as f64 / KILLS as f64);
            println!(
                "{at_once} in flight: {killed:.2} tokens lost by a kill, {failed:.2} by one while the store fails"
            );
        }
    }
}
