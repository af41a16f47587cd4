//! The write-ahead note: a refresh that is cut off between Meta's answer and the write, in a sweep
//! and for a caller, whatever Meta does with the old token.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Response};
use devstack::Stack;
use jiff::SignedDuration;
use reqwest::Client;
use threads_auth::{Config, RefreshOutcome as Outcome, ThreadsAuth, TokenHash};
use threads_auth_model::{Cause, Status};
use threads_sandbox::{BadAnswer, BadHours, FaultAction, Inspection, OldToken, SandboxCall};
use tokio::sync::Notify;

use crate::backend::refused;
use crate::fixture::{
    Browser, DAY, HOLD, connect_people, connected_ada, fail, faults_struck, grant, http, is_usable, respond,
    rows, serve, set_attribute, stack, token,
};

const BEHAVIOURS: [OldToken; 3] =
    [OldToken::SameTokenExtended, OldToken::NewTokenOldAlive, OldToken::NewTokenOldDead];

/// The template's schedule of sweeps.
const SCHEDULE: Duration = Duration::from_mins(15);

/// A caller comes at some time between two sweeps.
const BETWEEN: Duration = Duration::from_mins(7);

/// Stands before DynamoDB. Once closed, it holds every write of a new token for good.
#[derive(Clone)]
struct Gate {
    http: Client,
    upstream: String,
    is_closed: Arc<AtomicBool>,
    held: Arc<Notify>,
}

impl Gate {
    /// The service behind a gate, with leases of four minutes.
    async fn start(stack: &Stack) -> (Self, ThreadsAuth) {
        let gate = Self {
            http: http().inner().clone(),
            upstream: stack.variables()["AWS_ENDPOINT_URL_DYNAMODB"].clone(),
            is_closed: Arc::default(),
            held: Arc::default(),
        };
        let url = serve(Router::new().fallback(Self::forward).with_state(gate.clone())).await;
        let mut variables: HashMap<_, _> = stack.variables().clone();
        variables.insert("AWS_ENDPOINT_URL_DYNAMODB".to_owned(), url);
        variables.insert("REQUEST_SECONDS".to_owned(), "60".to_owned());
        (gate, ThreadsAuth::new(Config::from_vars(&variables, None).unwrap()).unwrap())
    }

    #[expect(clippy::disallowed_methods, reason = "a test's own requests")]
    async fn forward(State(gate): State<Self>, headers: HeaderMap, body: Bytes) -> Response<Body> {
        let is_store = String::from_utf8_lossy(&body).contains("#refreshed_at =");
        if is_store && gate.is_closed.load(Ordering::Relaxed) {
            gate.held.notify_one();
            std::future::pending::<()>().await;
        }
        let answer = gate.http.post(&gate.upstream).headers(headers).body(body).send().await.unwrap();
        let (status, headers) = (answer.status(), answer.headers().clone());
        let mut response = Response::new(Body::from(answer.bytes().await.unwrap()));
        (*response.status_mut(), *response.headers_mut()) = (status, headers);
        response
    }
}

/// The worker whose refresh is cut off.
#[derive(Clone, Copy, Debug, PartialEq)]
enum By {
    Sweep,
    Vend,
}

/// The event that cuts it off.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Cut {
    /// Killed before Meta has done anything.
    KilledBefore,
    /// Killed after Meta's answer, before the write.
    KilledAfter,
    /// Meta has issued a token, and its answer is lost.
    AnswerLost,
}

async fn work(stack: &Stack, service: &ThreadsAuth, by: By, user_id: &str) {
    let now = stack.clock().now();
    match by {
        By::Sweep => {
            let report = service.sweep(now, Duration::from_mins(15)).await.unwrap();
            assert_eq!(report.count(Outcome::Deferred), 1, "{report:?}");
        }
        By::Vend => {
            let min_valid = SignedDuration::from_hours(30 * 24);
            service.vend(&user_id.parse().unwrap(), min_valid, None, now).await.unwrap_err();
        }
    }
}

/// A refresh that is cut off.
async fn cut_off(stack: &Stack, by: By, cut: Cut, user_id: &str) {
    let (gate, service) = Gate::start(stack).await;
    match cut {
        Cut::KilledBefore => fail(stack, SandboxCall::Refresh, 1, HOLD),
        Cut::KilledAfter => gate.is_closed.store(true, Ordering::Relaxed),
        Cut::AnswerLost => fail(stack, SandboxCall::Refresh, 1, FaultAction::DropAfter),
    }
    tokio::select! {
        () = work(stack, &service, by, user_id) => assert_eq!(cut, Cut::AnswerLost),
        () = faults_struck(stack), if cut == Cut::KilledBefore => {}
        () = gate.held.notified(), if cut == Cut::KilledAfter => {}
    }
}

/// Returns the causes of the ends that were announced.
async fn ended(stack: &Stack) -> Vec<String> {
    stack.announce().await.unwrap();
    let events = stack.events().into_iter().map(|event| event["detail"].clone());
    let ends = events.filter(|event| event["type"] == "account.needs_reauthorization");
    ends.map(|event| event["cause"].as_str().unwrap().to_owned()).collect()
}

async fn notes(stack: &Stack) -> usize {
    rows(stack).await.iter().filter(|row| row.contains_key("asked_at")).count()
}

/// Threat killed-refresh: each cut of each refresher under each behaviour. A token is lost only if
/// the old one dies and nobody has the new one; then that is announced with the next sweep.
#[tokio::test]
async fn a_refresh_that_is_cut_off_loses_nothing_or_is_announced_within_minutes() {
    let (mut cuts, mut lost) = (0, 0);
    for behaviour in BEHAVIOURS {
        for by in [By::Sweep, By::Vend] {
            for cut in [Cut::KilledBefore, Cut::KilledAfter, Cut::AnswerLost] {
                let (stack, ada) = connected_ada().await;
                stack.sandbox().unwrap().set_old_token_behaviour(behaviour);
                // For a caller, a token that is not due is refreshed: the next sweep that looks by
                // itself is days away.
                let (due, passed) =
                    if by == By::Sweep { (41 * DAY, Duration::ZERO) } else { (31 * DAY, BETWEEN) };
                stack.clock().advance(due + passed);
                cut_off(&stack, by, cut, &ada).await;
                assert_eq!(notes(&stack).await, 1, "{behaviour:?} {by:?} {cut:?}");
                stack.clock().advance(SCHEDULE.saturating_sub(passed));
                let report = stack.sweep().await.unwrap();
                let is_lost = behaviour == OldToken::NewTokenOldDead && cut != Cut::KilledBefore;
                let case = format!("{behaviour:?} {by:?} {cut:?}: {report:?}");
                let after = grant(&stack, &ada).await;
                if is_lost {
                    assert_eq!(report.count(Outcome::NeedsReauthorization), 1, "{case}");
                    assert_eq!(after.cause(), Some(Cause::TokenLost), "{case}");
                    assert_eq!(ended(&stack).await, ["token_lost"], "{case}");
                    let minutes = SCHEDULE.saturating_sub(passed).as_secs() / 60;
                    println!("{behaviour:?}, {by:?}, {cut:?}: lost, announced after {minutes} minutes");
                    Browser::new().connect(&stack, &ada).await;
                } else {
                    assert_eq!(report.count(Outcome::NeedsReauthorization), 0, "{case}");
                    assert_eq!(ended(&stack).await, [""; 0], "{case}");
                    println!("{behaviour:?}, {by:?}, {cut:?}: not lost");
                }
                let after = grant(&stack, &ada).await;
                assert_eq!((after.status(), after.is_settled()), (Status::Active, true), "{case}");
                assert_eq!(notes(&stack).await, 0, "{case}");
                assert!(after.due_at.unwrap() > stack.clock().now(), "{case}");
                assert!(is_usable(&stack, &token(&stack, &ada).await).await, "{case}");
                (cuts, lost) = (cuts + 1, lost + u32::from(is_lost));
            }
        }
    }
    println!("threat killed-refresh: {cuts} cuts, {lost} tokens lost, all announced with the next sweep");
    assert_eq!((cuts, lost), (18, 4));
}

/// Threat bad-hour-at-meta: a note beside a token that works, and Meta refuses everybody. No note
/// makes a bad hour worse, with a witness or without.
#[tokio::test]
async fn a_bad_hour_beside_notes_kills_nobody() {
    const PEOPLE: u64 = 12;
    for inspection in [Inspection::TestersAndApp, Inspection::Nobody] {
        let stack = stack().await;
        let sandbox = stack.sandbox().unwrap();
        sandbox.set_inspection(inspection);
        sandbox.set_old_token_behaviour(OldToken::NewTokenOldAlive);
        let people = connect_people(&stack, PEOPLE).await;
        stack.clock().advance(41 * DAY);
        for person in &people {
            let (gate, service) = Gate::start(&stack).await;
            gate.is_closed.store(true, Ordering::Relaxed);
            let user_id = person.parse().unwrap();
            tokio::select! {
                done = service.refresh_now(&user_id, stack.clock().now()) => panic!("{done:?}"),
                () = gate.held.notified() => {}
            }
        }
        assert_eq!(notes(&stack).await, people.len());
        let from = stack.clock().now();
        let until = from + Duration::from_hours(3);
        sandbox.add_bad_hours(BadHours { from, until, answer: BadAnswer::Bare190 });
        let mut dead = 0;
        for _ in 0..5 * 4 {
            stack.clock().advance(SCHEDULE);
            dead += stack.sweep().await.unwrap().count(Outcome::NeedsReauthorization);
        }
        // The last look may be hours after the bad one.
        stack.clock().advance(DAY);
        stack.sweep().await.unwrap();
        let mut alive = 0;
        for person in &people {
            let grant = grant(&stack, person).await;
            let is_alive = grant.status() == Status::Active && grant.live().unwrap().suspicion.is_none();
            alive += u64::from(is_alive && is_usable(&stack, &token(&stack, person).await).await);
        }
        println!("{inspection:?}: {PEOPLE} notes in a bad hour: {dead} dead, {alive} alive");
        assert_eq!((dead, alive, notes(&stack).await), (0, PEOPLE, 0), "{inspection:?}");
    }
}

/// Nobody may inspect: a lost token is known at the second look, if Meta accepts others meanwhile.
#[tokio::test]
async fn without_a_witness_a_lost_token_is_known_once_meta_accepts_others() {
    let stack = stack().await;
    let sandbox = stack.sandbox().unwrap();
    sandbox.set_inspection(Inspection::Nobody);
    sandbox.set_old_token_behaviour(OldToken::NewTokenOldDead);
    let people = connect_people(&stack, 3).await;
    stack.clock().advance(41 * DAY);
    let (gate, service) = Gate::start(&stack).await;
    gate.is_closed.store(true, Ordering::Relaxed);
    let user_id = people[0].parse().unwrap();
    tokio::select! {
        done = service.refresh_now(&user_id, stack.clock().now()) => panic!("{done:?}"),
        () = gate.held.notified() => {}
    }
    // The others are due at the second look and at the third.
    for (person, look) in [(&people[1], 2), (&people[2], 3)] {
        let due_at = (stack.clock().now() + SCHEDULE * look).as_second().to_string();
        set_attribute(&stack, person, "due_at", AttributeValue::N(due_at)).await;
    }
    let mut outcomes = Vec::new();
    for _ in 0..4 {
        stack.clock().advance(SCHEDULE);
        let report = stack.sweep().await.unwrap();
        outcomes.push((report.count(Outcome::Suspected), report.count(Outcome::NeedsReauthorization)));
    }
    assert_eq!(outcomes.iter().map(|(_, dead)| dead).sum::<u64>(), 1, "{outcomes:?}");
    assert_eq!(outcomes[0], (1, 0), "one refusal is not enough");
    assert_eq!(ended(&stack).await, ["token_lost"]);
    assert_eq!(grant(&stack, &people[0]).await.cause(), Some(Cause::TokenLost));
}

/// A doubt does not make an account due. Before the token from before is refreshed for it, the
/// account is suspected, so that somebody looks if the process dies.
#[tokio::test]
async fn a_doubt_that_is_cut_off_is_looked_at_within_minutes() {
    let (stack, ada) = connected_ada().await;
    stack.clock().advance(41 * DAY);
    assert_eq!(stack.sweep().await.unwrap().count(Outcome::Refreshed), 1);
    stack.clock().advance(2 * DAY);
    let stored = token(&stack, &ada).await;
    let bare = r#"{"error":{"message":"Invalid","type":"OAuthException","code":190}}"#;
    fail(&stack, SandboxCall::Me, 1, respond(400, bare));
    let (gate, service) = Gate::start(&stack).await;
    gate.is_closed.store(true, Ordering::Relaxed);
    let query = refused(&stored);
    let hash: TokenHash = query.split_once('=').unwrap().1.parse().unwrap();
    let (user_id, now) = (ada.parse().unwrap(), stack.clock().now());
    tokio::select! {
        done = service.vend(&user_id, SignedDuration::ZERO, Some(&hash), now) => panic!("{done:?}"),
        () = gate.held.notified() => {}
    }
    let cut = grant(&stack, &ada).await;
    assert!(cut.live().unwrap().suspicion.is_some());
    assert!(cut.due_at.unwrap() <= stack.clock().now() + Duration::from_mins(20), "{:?}", cut.due_at);
    stack.clock().advance(Duration::from_mins(30));
    stack.sweep().await.unwrap();
    let after = grant(&stack, &ada).await;
    assert!(after.status() == Status::Active && after.is_settled());
    assert!(after.live().unwrap().suspicion.is_none());
}
