//! Meta at its unkindest: what it issues is stored, and no account is dead or blind by mistake.

use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use devstack::Stack;
use reqwest::StatusCode;
use serde_json::{Value, json};
use threads_auth::{Import, RefreshOutcome as Outcome};
use threads_auth_model::rules::{Lease, LeaseReason};
use threads_auth_model::{Cause, Key, Pause, ScopesSource, Status};
use threads_auth_store::LeaseOutcome;
use threads_graph::{AccessToken, ReauthorizationCause};
use threads_sandbox::{
    BadAnswer, BadHours, ExchangeAnswer, ExpiresIn, Fault, FaultAction, Inspection, NewAccount, OldToken,
    SandboxCall,
};

use crate::backend::{finished, new, refused};
use crate::fixture::{
    Browser, DAY, HOLD, LEASE, account, calls_of, connect_people, connect_private, fail, faults_struck,
    grant, http, is_usable, post_signed, respond, set_attribute, stack, stack_of_ada, stack_with, token,
};
use crate::iam;

const FOREVER: u32 = u32::MAX;
const QUARTER: Duration = Duration::from_mins(20);
const BEHAVIOURS: [OldToken; 3] =
    [OldToken::SameTokenExtended, OldToken::NewTokenOldAlive, OldToken::NewTokenOldDead];

const SHAPES: [ExpiresIn; 13] = [
    ExpiresIn::Documented,
    ExpiresIn::Missing,
    ExpiresIn::Null,
    ExpiresIn::Zero,
    ExpiresIn::Negative,
    ExpiresIn::Float,
    ExpiresIn::Fraction,
    ExpiresIn::Text,
    ExpiresIn::Word,
    ExpiresIn::Milliseconds,
    ExpiresIn::TenYears,
    ExpiresIn::Huge,
    ExpiresIn::Remaining,
];

/// Meta's answer to a dead token and in a bad hour: no subcode distinguishes them.
fn bare_190() -> FaultAction {
    let message = "Invalid OAuth access token - Cannot parse access token";
    let error = json!({"message": message, "type": "OAuthException", "code": 190, "fbtrace_id": "AbC"});
    respond(400, json!({"error": error}).to_string())
}

async fn vend(stack: &Stack, user_id: &str, query: &str) -> (StatusCode, Value) {
    let reply = iam::call(stack, reqwest::Method::GET, &format!("/users/{user_id}/token{query}"), "").await;
    (reply.status, serde_json::from_str(&reply.body).unwrap())
}

async fn sweep(stack: &Stack) -> threads_auth::SweepReport {
    stack.sweep().await.unwrap()
}

/// Sweeps until nothing is due for so long, as a schedule would.
async fn sweep_for(stack: &Stack, time: Duration, step: Duration) -> u64 {
    let (mut dead, mut passed) = (0, Duration::ZERO);
    while passed < time {
        dead += sweep(stack).await.count(Outcome::NeedsReauthorization);
        stack.clock().advance(step);
        passed += step;
    }
    dead
}

async fn connected(stack: &Stack) -> String {
    let ada = account(stack, "ada");
    let reply = Browser::new().connect(stack, &ada).await;
    assert_eq!(reply.status, StatusCode::SEE_OTHER, "{}", reply.body);
    ada
}

async fn announced(stack: &Stack) -> Vec<Value> {
    stack.announce().await.unwrap();
    stack.events().into_iter().rev().map(|event| event["detail"].clone()).collect()
}

/// The new token is stored, whatever life Meta reports for it and whatever happens to the old one,
/// and half a year later it works.
#[tokio::test]
async fn a_token_is_stored_whatever_its_answer_says_of_its_life() {
    let mut lives = 0;
    for behaviour in BEHAVIOURS {
        // If the old token dies, an answer that is thrown away is a lost account.
        let is_deadly = behaviour == OldToken::NewTokenOldDead;
        for shape in SHAPES.into_iter().filter(|shape| is_deadly || *shape == ExpiresIn::Missing) {
            let stack = stack().await;
            let sandbox = stack.sandbox().unwrap();
            sandbox.set_old_token_behaviour(behaviour);
            sandbox.set_expires_in(shape);
            let ada = connected(&stack).await;
            let life = grant(&stack, &ada).await.live().unwrap().clone();
            assert!(life.expires_at > stack.clock().now() + 59 * DAY, "{shape:?}: {life:?}");
            let due = grant(&stack, &ada).await.due_at.unwrap();
            assert!(due <= stack.clock().now() + 40 * DAY, "{shape:?}");
            for _ in 0..10 {
                stack.clock().advance(18 * DAY);
                sweep(&stack).await;
                let (status, vended) = vend(&stack, &ada, "").await;
                assert_eq!(status, StatusCode::OK, "{behaviour:?} {shape:?}: {vended}");
                let vended = vended["access_token"].as_str().unwrap();
                assert!(is_usable(&stack, vended).await, "{behaviour:?} {shape:?}");
            }
            lives += 1;
        }
    }
    println!("{lives} lives of half a year, 0 tokens lost");
    assert_eq!(lives, SHAPES.len() + 2);
}

/// A connected account whose token each refresh replaces, and none extends.
async fn never_extended(behaviour: OldToken) -> (Stack, String) {
    let stack = stack().await;
    let sandbox = stack.sandbox().unwrap();
    sandbox.set_old_token_behaviour(behaviour);
    let ada = connected(&stack).await;
    sandbox.set_extends(&ada, false);
    (stack, ada)
}

/// A refresh that does not extend is stored all the same, and announced in time.
#[tokio::test]
async fn a_token_that_does_not_live_longer_is_stored_and_announced() {
    for behaviour in BEHAVIOURS {
        let (stack, ada) = never_extended(behaviour).await;
        stack.clock().advance(42 * DAY);
        assert_eq!(sweep(&stack).await.count(Outcome::NotExtended), 1);
        let after = grant(&stack, &ada).await;
        assert_eq!((after.failures, after.last_error.as_deref()), (1, Some("not_extended")));
        assert!(after.leased_until.is_none());
        let (status, vended) = vend(&stack, &ada, "").await;
        assert_eq!(status, StatusCode::OK);
        assert!(is_usable(&stack, vended["access_token"].as_str().unwrap()).await, "{behaviour:?}");
        sweep_for(&stack, 16 * DAY, Duration::from_hours(12)).await;
        let events = announced(&stack).await;
        let warned: Vec<_> = events
            .iter()
            .filter(|event| event["type"] == "account.expiring_soon")
            .map(|event| event["days"].as_u64().unwrap())
            .collect();
        assert_eq!(warned, [14, 3], "{behaviour:?}");
        // Meta extends again, and the account lives on.
        stack.sandbox().unwrap().set_extends(&ada, true);
        sweep_for(&stack, 2 * DAY, Duration::from_hours(12)).await;
        assert!(grant(&stack, &ada).await.live().unwrap().expires_at > stack.clock().now() + 50 * DAY);
    }
}

/// Two refreshers at once, and one of them late: the fence is the token that was used, and nothing
/// is lost.
#[tokio::test]
async fn of_two_refreshers_one_is_stored_and_none_is_lost() {
    for behaviour in BEHAVIOURS {
        let stack = stack().await;
        let sandbox = stack.sandbox().unwrap();
        sandbox.set_old_token_behaviour(behaviour);
        let ada = connected(&stack).await;
        stack.clock().advance(41 * DAY);
        fail(&stack, SandboxCall::Refresh, 1, HOLD);
        let other = async {
            faults_struck(&stack).await;
            // The lease of the one that waits for Meta runs out.
            stack.clock().advance(LEASE);
            assert_eq!(sweep(&stack).await.count(Outcome::Refreshed), 1);
            let stored = token(&stack, &ada).await;
            sandbox.clear_faults();
            stored
        };
        let (late, stored) = tokio::join!(sweep(&stack), other);
        assert_eq!((late.count(Outcome::Refreshed), late.count(Outcome::NeedsReauthorization)), (0, 0));
        assert_eq!(token(&stack, &ada).await, stored, "{behaviour:?}");
        assert!(is_usable(&stack, &stored).await, "{behaviour:?}");
        let grant = grant(&stack, &ada).await;
        assert!(grant.leased_until.is_none() && grant.live().unwrap().suspicion.is_none());
        assert_eq!(vend(&stack, &ada, "").await.0, StatusCode::OK);
    }
}

/// A lease outlasts the calls of its holder: nobody else works on the account meanwhile.
#[tokio::test]
async fn a_holder_that_still_waits_for_meta_is_not_joined() {
    let stack = stack().await;
    let ada = connected(&stack).await;
    stack.clock().advance(41 * DAY);
    stack.sandbox().unwrap().clear_calls();
    fail(&stack, SandboxCall::Refresh, 1, HOLD);
    let other = async {
        faults_struck(&stack).await;
        stack.clock().advance(LEASE.saturating_sub(Duration::from_mins(2)));
        assert_eq!(sweep(&stack).await.count(Outcome::NotOurs), 1);
        assert!(grant(&stack, &ada).await.leased_until.is_some(), "it has left the lease alone");
        stack.sandbox().unwrap().clear_faults();
    };
    let (held, ()) = tokio::join!(sweep(&stack), other);
    assert_eq!((held.count(Outcome::Refreshed), calls_of(&stack, SandboxCall::Refresh)), (1, 1));
}

/// A worker whose write is refused while it holds its lease gives the lease back: the person has
/// connected anew, and callers need not wait for the lease's end.
#[tokio::test]
async fn a_worker_that_comes_too_late_gives_its_lease_back() {
    for is_dead in [false, true] {
        let stack = stack_with(&[("SWEEP_CONCURRENCY", "1")]).await;
        let sandbox = stack.sandbox().unwrap();
        let people = connect_people(&stack, 2).await;
        for person in people.iter().filter(|_| is_dead) {
            sandbox.change_password(person);
        }
        stack.clock().advance(41 * DAY);
        // Dead, the first one waits for its verdict until the second one is through.
        let after = u32::from(is_dead);
        let action = HOLD;
        sandbox.inject(Fault { call: Some(SandboxCall::Refresh), times: 1, after, action, user_id: None });
        let anew = async {
            faults_struck(&stack).await;
            for person in &people {
                Browser::new().connect(&stack, person).await;
            }
            sandbox.clear_faults();
        };
        tokio::join!(sweep(&stack), anew);
        for person in &people {
            let grant = grant(&stack, person).await;
            assert_eq!((grant.status(), grant.leased_until), (Status::Active, None), "{is_dead}");
            assert!(is_usable(&stack, &token(&stack, person).await).await);
        }
    }
}

/// Somebody else has the lease by the time that Meta answers: the token is stored, and the lease
/// stays with its holder.
#[tokio::test]
async fn a_token_that_comes_after_its_lease_is_stored() {
    let stack = stack().await;
    let sandbox = stack.sandbox().unwrap();
    sandbox.set_old_token_behaviour(OldToken::NewTokenOldDead);
    let ada = connected(&stack).await;
    let key = Key::grant(&ada.parse().unwrap());
    stack.clock().advance(41 * DAY);
    fail(&stack, SandboxCall::Refresh, 1, HOLD);
    let another = async {
        faults_struck(&stack).await;
        stack.clock().advance(LEASE);
        let now = stack.clock().now();
        let lease = Lease { owner: "another", until: now + DAY };
        let leased = stack.service().store().lease(&key, LeaseReason::Due, lease, now).await;
        assert!(matches!(leased, Ok(LeaseOutcome::Leased(_))), "{leased:?}");
        sandbox.clear_faults();
    };
    let (report, ()) = tokio::join!(sweep(&stack), another);
    assert_eq!(report.count(Outcome::Refreshed), 1, "{report:?}");
    assert!(grant(&stack, &ada).await.leased_until.is_some());
    assert!(is_usable(&stack, &token(&stack, &ada).await).await);
}

/// A consent that came while Meta was asked keeps no worker from storing Meta's answer.
#[tokio::test]
async fn a_token_is_stored_beside_a_consent_that_came_meanwhile() {
    let stack = stack().await;
    let ada = connected(&stack).await;
    let before = token(&stack, &ada).await;
    stack.clock().advance(41 * DAY);
    fail(&stack, SandboxCall::Refresh, 1, HOLD);
    let consent = async {
        faults_struck(&stack).await;
        fail(&stack, SandboxCall::ExchangeLongLived, 2, FaultAction::Html);
        Browser::new().connect(&stack, &ada).await;
        stack.sandbox().unwrap().clear_faults();
    };
    let (report, ()) = tokio::join!(sweep(&stack), consent);
    assert_eq!(report.count(Outcome::Refreshed), 1, "{report:?}");
    assert_ne!(token(&stack, &ada).await, before);
    assert!(grant(&stack, &ada).await.consent().is_some());
}

/// The same for the token of a consent.
#[tokio::test]
async fn a_consent_that_is_completed_after_its_lease_is_stored() {
    let (stack, ada) = stack_of_ada().await;
    fail(&stack, SandboxCall::ExchangeLongLived, 2, FaultAction::Html);
    Browser::new().connect(&stack, &ada).await;
    let key = Key::grant(&ada.parse().unwrap());
    stack.clock().advance(Duration::from_mins(2));
    fail(&stack, SandboxCall::ExchangeLongLived, 1, HOLD);
    let another = async {
        faults_struck(&stack).await;
        stack.clock().advance(LEASE);
        let now = stack.clock().now();
        let lease = Lease { owner: "another", until: now + DAY };
        let leased = stack.service().store().lease(&key, LeaseReason::Due, lease, now).await;
        assert!(matches!(leased, Ok(LeaseOutcome::Leased(_))), "{leased:?}");
        stack.sandbox().unwrap().clear_faults();
    };
    let (report, ()) = tokio::join!(sweep(&stack), another);
    assert_eq!(report.count(Outcome::Completed), 1, "{report:?}");
    assert!(is_usable(&stack, &token(&stack, &ada).await).await);
}

/// No answer but the refusal of the token itself ends an account: neither at once, nor when it is
/// repeated.
#[tokio::test]
async fn no_answer_but_a_refusal_of_the_token_ends_an_account() {
    let error = |code: u32, message: &str| {
        respond(
            400,
            json!({"error": {"message": message, "code": code, "type": "OAuthException"}}).to_string(),
        )
    };
    let stack = stack().await;
    let ada = connected(&stack).await;
    stack.clock().advance(41 * DAY);
    for (action, outcome) in [
        (respond(200, "{}"), Outcome::Deferred),
        (FaultAction::Html, Outcome::Deferred),
        (respond(503, ""), Outcome::Deferred),
        (FaultAction::Throttle { retry_after: None }, Outcome::Deferred),
        (error(10, "Application does not have permission"), Outcome::Deferred),
        (error(100, "Invalid parameter"), Outcome::Deferred),
        (error(1, "An unknown error occurred"), Outcome::Deferred),
        (error(1, "Error validating client secret"), Outcome::Misconfigured),
        (error(200, "API access blocked"), Outcome::Misconfigured),
        (error(190, "The token is younger than 24 hours"), Outcome::Checked),
    ] {
        fail(&stack, SandboxCall::Refresh, 1, action.clone());
        assert_eq!(sweep(&stack).await.count(outcome), 1, "{action:?}");
        let left = grant(&stack, &ada).await;
        assert_eq!((left.status(), left.live().unwrap().suspicion), (Status::Active, None), "{action:?}");
        assert_eq!(vend(&stack, &ada, "").await.0, StatusCode::OK, "{action:?}");
        stack.clock().advance(Duration::from_hours(13));
    }
    // Meta has extended the token, and its answer was lost: the next refresh finds out its life.
    assert!(grant(&stack, &ada).await.live().unwrap().expiry_assumed);
    stack.clock().advance(DAY);
    assert_eq!(sweep(&stack).await.count(Outcome::Refreshed), 1);
}

/// Meta has to name the token's person without contradiction.
#[tokio::test]
async fn a_user_id_that_is_missing_is_asked_for_and_one_that_differs_is_refused() {
    let stack = stack().await;
    let sandbox = stack.sandbox().unwrap();
    let ada = account(&stack, "ada");
    for answer in [
        ExchangeAnswer::WithoutUserId,
        ExchangeAnswer::ZeroUserId,
        ExchangeAnswer::Wrapped,
        ExchangeAnswer::Documented,
    ] {
        sandbox.clear_calls();
        sandbox.set_exchange(answer);
        connected(&stack).await;
        assert_eq!(calls_of(&stack, SandboxCall::ExchangeCode), 1, "a code is sent once: {answer:?}");
        assert_eq!(grant(&stack, &ada).await.user_id.as_str(), ada);
    }
    // Another account's than that of the exchange.
    fail(&stack, SandboxCall::Me, 1, respond(200, r#"{"id":"17841499999999999","username":"other"}"#));
    let reply = Browser::new().connect(&stack, &ada).await;
    assert!(reply.is_page("threads_unavailable"), "{}", reply.body);
    // The person is not a tester: the app's team has to invite them, and the code is not the cause.
    sandbox.set_exchange(ExchangeAnswer::InsufficientRole);
    assert!(Browser::new().connect(&stack, &ada).await.is_page("misconfigured"));
    sandbox.set_exchange(ExchangeAnswer::Documented);
    let users: Vec<_> = stack.service().list_grants(None, 10, None).await.unwrap().items;
    assert_eq!(users.len(), 1);
    // If nobody reports its owner, nothing is stored.
    fail(&stack, SandboxCall::ExchangeCode, 1, respond(200, r#"{"access_token":"SHORT","user_id":0}"#));
    let reply = Browser::new().connect(&stack, &account(&stack, "grace")).await;
    assert_ne!(reply.status, StatusCode::SEE_OTHER);
    assert_eq!(stack.service().list_grants(None, 10, None).await.unwrap().items.len(), 1);
}

/// The token of a consent that is completed later has to be of the same person, too.
#[tokio::test]
async fn a_consent_that_gives_the_token_of_another_account_is_dropped() {
    let (stack, ada) = stack_of_ada().await;
    fail(&stack, SandboxCall::ExchangeLongLived, 2, FaultAction::Html);
    let reply = Browser::new().connect(&stack, &ada).await;
    assert_eq!(reply.location().path(), "/finishing");
    stack.clock().advance(Duration::from_mins(2));
    fail(&stack, SandboxCall::Me, 1, respond(200, r#"{"id":"17841499999999999","username":"other"}"#));
    assert_eq!(sweep(&stack).await.count(Outcome::PendingLost), 1);
    let left = grant(&stack, &ada).await;
    assert_eq!((left.cause(), left.live().is_some()), (Some(Cause::NotCompleted), false));
}

/// A failure now and then does not stop a sweep, however many there are.
#[tokio::test]
async fn failures_between_successes_do_not_open_the_breaker() {
    let stack = stack_with(&[("SWEEP_CONCURRENCY", "1")]).await;
    let people = connect_people(&stack, 75).await;
    for person in people.iter().step_by(3) {
        stack.sandbox().unwrap().inject(Fault {
            call: Some(SandboxCall::Refresh),
            times: FOREVER,
            after: 0,
            action: FaultAction::Html,
            user_id: Some(person.clone()),
        });
    }
    stack.clock().advance(41 * DAY);
    let report = sweep(&stack).await;
    assert_eq!(report.stopped, None);
    assert_eq!((report.count(Outcome::Refreshed), report.count(Outcome::Deferred)), (50, 25));
}

/// A token that Meta has just refused is not handed out while the sweep still goes on, and before
/// its verdict counts.
#[tokio::test]
async fn a_refused_token_is_suspected_before_its_verdict() {
    let stack = stack_with(&[("SWEEP_CONCURRENCY", "1")]).await;
    let sandbox = stack.sandbox().unwrap();
    let people = connect_people(&stack, 2).await;
    for person in &people {
        sandbox.change_password(person);
    }
    stack.clock().advance(41 * DAY);
    let second = Fault { call: Some(SandboxCall::Refresh), times: 1, after: 1, action: HOLD, user_id: None };
    sandbox.inject(second);
    let meanwhile = async {
        faults_struck(&stack).await;
        let mut suspected = 0;
        for person in &people {
            let grant = grant(&stack, person).await;
            assert_eq!(grant.status(), Status::Active);
            suspected += u32::from(grant.live().unwrap().suspicion.is_some());
        }
        sandbox.clear_faults();
        suspected
    };
    let (report, suspected) = tokio::join!(sweep(&stack), meanwhile);
    assert_eq!((suspected, report.count(Outcome::NeedsReauthorization)), (1, 2));
}

/// One bad hour, in which Meta refuses everybody's token: each sweep asks for few, nobody is
/// marked, and everybody lives on.
#[tokio::test]
async fn a_bad_hour_kills_nobody() {
    const PEOPLE: u64 = 100;
    /// The tenth refusal shows the wave. By then four refreshes have begun for each that ended.
    const ASKED: u64 = 41;
    let stack = stack().await;
    let sandbox = stack.sandbox().unwrap();
    let people = connect_people(&stack, PEOPLE).await;
    stack.clock().advance(41 * DAY);
    let from = stack.clock().now();
    sandbox.add_bad_hours(BadHours {
        from,
        until: from + Duration::from_hours(1),
        answer: BadAnswer::Bare190,
    });
    let report = sweep(&stack).await;
    let suspected = report.count(Outcome::Suspected);
    assert!((10..=ASKED).contains(&suspected), "{report:?}");
    assert_eq!((report.wave, report.left), (true, PEOPLE - suspected));
    // A token that Meta has just refused is not vended, and nobody is sent to connect again.
    let (status, answer) = vend(&stack, &people[0], "").await;
    assert_eq!((status, &answer["error"]["code"]), (StatusCode::SERVICE_UNAVAILABLE, &json!("suspected")));
    let dead = sweep_for(&stack, Duration::from_hours(4), QUARTER).await;
    let mut alive = 0;
    for person in &people {
        let grant = grant(&stack, person).await;
        alive += u64::from(grant.status() == Status::Active && grant.live().unwrap().suspicion.is_none());
        assert_eq!(vend(&stack, person, "").await.0, StatusCode::OK);
    }
    println!("a bad hour: {suspected} of {PEOPLE} suspected at first, {dead} dead, {alive} alive");
    assert_eq!((dead, alive), (0, PEOPLE));
}

/// The refused token itself is no witness, even if Meta takes it as the caller.
#[tokio::test]
async fn a_token_does_not_testify_against_itself() {
    let stack = stack().await;
    let sandbox = stack.sandbox().unwrap();
    sandbox.set_inspection(Inspection::Nobody);
    let ada = connected(&stack).await;
    stack.clock().advance(41 * DAY);
    let info = json!({"data": {"is_valid": false, "user_id": ada, "scopes": ["threads_basic"]}});
    // The app is refused before the token itself is tried.
    let action = respond(200, info.to_string());
    let call = Some(SandboxCall::DebugToken);
    sandbox.inject(Fault { call, times: FOREVER, after: 1, action, user_id: None });
    fail(&stack, SandboxCall::Refresh, FOREVER, bare_190());
    assert_eq!(sweep_for(&stack, Duration::from_hours(2), QUARTER).await, 0);
    assert_eq!(grant(&stack, &ada).await.status(), Status::Active);
    sandbox.clear_faults();
    assert_eq!(sweep_for(&stack, DAY, QUARTER).await, 0);
    assert_eq!(vend(&stack, &ada, "").await.0, StatusCode::OK);
}

/// A verdict that a witness has confirmed counts in the middle of a wave, which holds back the
/// others.
#[tokio::test]
async fn a_wave_does_not_hold_back_what_a_witness_has_confirmed() {
    let stack = stack().await;
    let sandbox = stack.sandbox().unwrap();
    let people = connect_people(&stack, 13).await;
    sandbox.invalidate(&people[0]);
    stack.clock().advance(41 * DAY);
    let user_id = people[0].parse().unwrap();
    let first = stack.service().refresh_now(&user_id, stack.clock().now()).await.unwrap();
    assert_eq!(first, Outcome::Suspected);
    for person in &people[1..] {
        sandbox.change_password(person);
    }
    stack.clock().advance(QUARTER);
    let report = sweep(&stack).await;
    assert!(report.wave, "{report:?}");
    assert_eq!((report.count(Outcome::NeedsReauthorization), report.count(Outcome::Suspected)), (1, 12));
}

/// A call that is refused once for a missing permission ends nothing.
#[tokio::test]
async fn one_refusal_of_a_call_does_not_end_the_access() {
    let stack = stack().await;
    let ada = connected(&stack).await;
    let query = refused(&token(&stack, &ada).await);
    let error = json!({"error": {"message": "Application does not have permission", "code": 10}});
    fail(&stack, SandboxCall::Me, 1, respond(403, error.to_string()));
    let (status, answer) = vend(&stack, &ada, &query).await;
    assert_eq!((status, &answer["error"]["code"]), (StatusCode::SERVICE_UNAVAILABLE, &json!("suspected")));
    stack.clock().advance(QUARTER);
    assert_eq!(vend(&stack, &ada, &query).await.0, StatusCode::OK);
}

/// Ten days of it, and no witness to ask: nobody is marked before their token's own end.
#[tokio::test]
async fn bad_days_without_a_witness_kill_nobody() {
    let stack = stack().await;
    let sandbox = stack.sandbox().unwrap();
    sandbox.set_inspection(Inspection::Nobody);
    let people = connect_people(&stack, 5).await;
    stack.clock().advance(41 * DAY);
    let from = stack.clock().now();
    let until = from + 10 * DAY;
    sandbox.add_bad_hours(BadHours { from, until, answer: BadAnswer::Bare190 });
    assert_eq!(sweep_for(&stack, 12 * DAY, Duration::from_hours(3)).await, 0);
    for person in &people {
        let (status, vended) = vend(&stack, person, "").await;
        assert_eq!(status, StatusCode::OK, "{vended}");
    }
}

/// A token that is dead, for which Meta reports no more than in a bad hour, counts once a second
/// witness agrees.
#[tokio::test]
async fn a_death_without_a_reason_counts_with_a_second_witness() {
    for inspection in [Inspection::TestersAndApp, Inspection::Nobody] {
        let stack = stack().await;
        let sandbox = stack.sandbox().unwrap();
        sandbox.set_inspection(inspection);
        let ada = connected(&stack).await;
        sandbox.invalidate(&ada);
        stack.clock().advance(41 * DAY);
        assert_eq!(sweep(&stack).await.count(Outcome::Suspected), 1);
        let dead_within = if inspection == Inspection::Nobody { 20 * DAY } else { Duration::from_hours(1) };
        let step = if inspection == Inspection::Nobody { DAY / 4 } else { QUARTER };
        assert_eq!(sweep_for(&stack, dead_within, step).await, 1, "{inspection:?}");
        let ended = grant(&stack, &ada).await;
        let cause = match inspection {
            Inspection::Nobody => Cause::EXPIRED,
            _ => Cause::Threads(ReauthorizationCause::Invalid),
        };
        assert_eq!((ended.status(), ended.cause()), (Status::NeedsReauthorization, Some(cause)));
        let events = announced(&stack).await;
        assert!(events.iter().any(|event| event["type"] == "account.needs_reauthorization"));
    }
}

/// A wave holds verdicts back, and no refresh that is urgent: 30 % are dead beside 70 % in their
/// last day.
#[tokio::test]
async fn a_wave_holds_back_verdicts_and_nothing_urgent() {
    let stack = stack().await;
    let sandbox = stack.sandbox().unwrap();
    let people = connect_people(&stack, 40).await;
    let (dead, healthy) = people.split_at(12);
    for person in dead {
        sandbox.change_password(person);
    }
    stack.clock().advance(59 * DAY);
    let report = sweep(&stack).await;
    assert_eq!((report.count(Outcome::Refreshed), report.count(Outcome::NeedsReauthorization)), (28, 12));
    for person in healthy {
        assert_eq!(vend(&stack, person, "").await.0, StatusCode::OK);
    }
    // Refusals of nearly everybody, with any reason, do not count at once.
    for person in &healthy[..20] {
        sandbox.change_password(person);
    }
    stack.clock().advance(58 * DAY);
    let report = sweep(&stack).await;
    assert!(report.wave, "{report:?}");
    assert_eq!((report.count(Outcome::Refreshed), report.count(Outcome::Suspected)), (8, 20));
    // A second witness agrees on each of them.
    assert_eq!(sweep_for(&stack, DAY, QUARTER).await, 20);
    let events = announced(&stack).await;
    let ended = events.iter().filter(|event| event["type"] == "account.needs_reauthorization").count();
    assert_eq!(ended, 32);
}

/// The end of a trouble at Meta is found out without the person.
#[tokio::test]
async fn an_account_whose_token_works_again_recovers_by_itself() {
    let stack = stack().await;
    let sandbox = stack.sandbox().unwrap();
    let ada = connected(&stack).await;
    sandbox.checkpoint(&ada);
    stack.clock().advance(41 * DAY);
    assert_eq!(sweep(&stack).await.count(Outcome::NeedsReauthorization), 1);
    for _ in 0..3 {
        stack.clock().advance(DAY);
        assert_eq!(sweep(&stack).await.count(Outcome::StillEnded), 1);
        assert_eq!(vend(&stack, &ada, "").await.0, StatusCode::CONFLICT);
    }
    let events = announced(&stack).await;
    let ends = events.iter().filter(|event| event["type"] == "account.needs_reauthorization").count();
    assert_eq!(ends, 1, "it is announced once, however often it is looked at");
    sandbox.restore(&ada);
    stack.clock().advance(DAY);
    assert_eq!(sweep(&stack).await.count(Outcome::Recovered), 1);
    assert_eq!(vend(&stack, &ada, "").await.0, StatusCode::OK);
    let events = announced(&stack).await;
    assert!(events.iter().any(|event| event["type"] == "account.recovered"));
    // One that stays refused is given up at its token's end, and not looked at any more.
    sandbox.checkpoint(&ada);
    sweep_for(&stack, 120 * DAY, 2 * DAY).await;
    let closed = grant(&stack, &ada).await;
    assert_eq!((closed.status(), closed.due_at), (Status::NeedsReauthorization, None));
    assert!(closed.live().is_none());
}

/// The answer to a refresh is lost, twelve hours before the end by our record: Meta has extended
/// the token, and calls it too young.
#[tokio::test]
async fn our_own_clock_ends_nobody() {
    let stack = stack().await;
    let sandbox = stack.sandbox().unwrap();
    sandbox.set_old_token_behaviour(OldToken::SameTokenExtended);
    let ada = connected(&stack).await;
    stack.clock().advance(59 * DAY + Duration::from_hours(11));
    fail(&stack, SandboxCall::Refresh, 1, FaultAction::DropAfter);
    assert_eq!(sweep(&stack).await.count(Outcome::Deferred), 1);
    assert_eq!(sweep_for(&stack, 30 * DAY, Duration::from_hours(12)).await, 0);
    assert_eq!(vend(&stack, &ada, "").await.0, StatusCode::OK);
    // By a clock that is a day ahead, the token has expired: it is tried at Meta, which accepts it.
    let ahead = stack.clock().now() + 61 * DAY;
    let user_id = ada.parse().unwrap();
    let vended = stack.service().vend(&user_id, jiff::SignedDuration::from_mins(5), None, ahead).await;
    assert!(vended.is_ok(), "{vended:?}");
}

/// A consent is dropped by the end of its hour, and by nothing else.
#[tokio::test]
async fn a_pending_consent_lives_for_its_hour() {
    let (stack, ada) = stack_of_ada().await;
    fail(&stack, SandboxCall::ExchangeLongLived, 8, bare_190());
    let reply = Browser::new().connect(&stack, &ada).await;
    assert_eq!(reply.location().path(), "/finishing");
    for _ in 0..10 {
        stack.clock().advance(Duration::from_mins(2));
        assert_eq!(sweep(&stack).await.count(Outcome::PendingLost), 0);
    }
    assert_eq!(grant(&stack, &ada).await.status(), Status::Active);
}

/// Nobody may ask about tokens: a private profile's end is found within a day, and a public one is
/// let alone.
#[tokio::test]
async fn without_inspection_the_end_of_data_access_is_found_within_a_day() {
    let stack = stack().await;
    let sandbox = stack.sandbox().unwrap();
    sandbox.set_inspection(Inspection::Nobody);
    let public = connected(&stack).await;
    let private = connect_private(&stack).await;
    assert_eq!(grant(&stack, &private).await.scopes_source, ScopesSource::Requested);
    let began = stack.clock().now();
    let mut ended_after = None;
    for hours in std::iter::repeat_n(5 * 24, 17).chain(std::iter::repeat_n(6, 20 * 4)) {
        stack.clock().advance(Duration::from_hours(hours));
        sweep(&stack).await;
        let is_ended = grant(&stack, &private).await.status() == Status::NeedsReauthorization;
        if is_ended && ended_after.is_none() {
            ended_after = Some(stack.clock().now().duration_since(began).as_hours());
        }
    }
    let ended = grant(&stack, &private).await;
    assert_eq!(ended.cause(), Some(Cause::DataAccessExpired));
    let hours = ended_after.unwrap() - 90 * 24;
    println!("the end of data access was found {hours} hours after it");
    assert!((0..=24).contains(&hours), "{hours}");
    let kinds: Vec<_> = announced(&stack)
        .await
        .iter()
        .filter(|event| event["user_id"] == *public)
        .map(|event| event["type"].as_str().unwrap().to_owned())
        .collect();
    assert!(kinds.iter().all(|kind| kind == "account.connected" || kind == "account.refreshed"), "{kinds:?}");
}

/// An inspector's token is as good as an app's, and is remembered: no refresh wastes a call.
#[tokio::test]
async fn a_tester_of_the_team_may_ask_about_everybody() {
    let stack = stack().await;
    let sandbox = stack.sandbox().unwrap();
    sandbox.set_inspection(Inspection::Testers);
    let inspector =
        sandbox.add_account(NewAccount { tester: true, ..NewAccount::new("team", "17841400000000077") });
    Browser::new().connect(&stack, &inspector.user_id).await;
    let id = &stack.service().config().app_secret_id;
    let mut secret: Value = serde_json::from_str(&crate::fixture::secret_text(&stack, id).await).unwrap();
    secret["inspector"] = json!(inspector.user_id);
    threads_auth_store::aws::secrets_manager(&stack.service().config().aws, &http())
        .put_secret_value()
        .secret_id(id)
        .secret_string(secret.to_string())
        .send()
        .await
        .unwrap();
    stack.clock().advance(Duration::from_hours(2));
    let private = connect_private(&stack).await;
    let told = grant(&stack, &private).await;
    assert_eq!(told.scopes_source, ScopesSource::Granted);
    assert!(told.live().unwrap().data_access_expires_at.is_some());
    let people = connect_people(&stack, 5).await;
    stack.clock().advance(41 * DAY);
    sandbox.clear_calls();
    sweep(&stack).await;
    // One who is refused, then the inspector; from then on the inspector alone.
    let asked = calls_of(&stack, SandboxCall::DebugToken);
    assert!(asked <= people.len() + 2 + people.len(), "{asked}");
    sandbox.clear_calls();
    stack.clock().advance(Duration::from_hours(1));
    let user_id = people[0].parse().unwrap();
    stack.service().refresh_now(&user_id, stack.clock().now()).await.unwrap();
    assert!(calls_of(&stack, SandboxCall::DebugToken) <= 1);
}

/// A refusal of the app affects no account.
#[tokio::test]
async fn an_app_that_is_blocked_loses_nobody() {
    for answer in [BadAnswer::AppBlocked, BadAnswer::AppDeleted, BadAnswer::AppUnknown] {
        let stack = stack_with(&[("SWEEP_CONCURRENCY", "4")]).await;
        let sandbox = stack.sandbox().unwrap();
        let people = connect_people(&stack, 30).await;
        let private = connect_private(&stack).await;
        stack.clock().advance(41 * DAY);
        let from = stack.clock().now();
        sandbox.add_bad_hours(BadHours { from, until: from + 3 * DAY, answer });
        let report = sweep(&stack).await;
        assert!(report.count(Outcome::Misconfigured) >= 20, "{answer:?}: {report:?}");
        assert_eq!(report.stopped, Some(threads_auth::Stopped::Threads), "the breaker opens");
        let token = AccessToken::new("THQVJfromelsewhere").unwrap();
        let import = stack.service().import(Import::of(&token), stack.clock().now()).await;
        assert!(import.unwrap_err().is_retryable(), "{answer:?}");
        assert_eq!(sweep_for(&stack, 4 * DAY, Duration::from_hours(6)).await, 0);
        for person in people.iter().chain([&private]) {
            assert_eq!(vend(&stack, person, "").await.0, StatusCode::OK, "{answer:?}");
        }
    }
}

/// A token that is put off for a failure is overdue all the same.
#[tokio::test]
async fn nineteen_days_of_failures_are_seen() {
    let stack = stack().await;
    let ada = connected(&stack).await;
    let headers =
        vec![("location".to_owned(), "https://graph.elsewhere.example/x?access_token=y".to_owned())];
    let moved = FaultAction::Respond { status: 301, body: String::new(), headers };
    fail(&stack, SandboxCall::Refresh, FOREVER, moved);
    stack.clock().advance(41 * DAY);
    let mut most = 0;
    for _ in 0..37 {
        most = most.max(sweep(&stack).await.oldest_overdue_seconds);
        stack.clock().advance(Duration::from_hours(12));
    }
    println!("overdue after 18 days of failures: {} days", most / 86_400);
    assert!(most >= 18 * 86_400, "{most}");
    assert_eq!(grant(&stack, &ada).await.status(), Status::Active);
}

/// A row that cannot be read is the worst case, and announced once.
#[tokio::test]
async fn a_damaged_row_is_overdue_and_announced_once() {
    let stack = stack().await;
    let people = connect_people(&stack, 3).await;
    set_attribute(&stack, &people[0], "lease_until", AttributeValue::S("soon".to_owned())).await;
    set_attribute(&stack, &people[1], "expires_at", AttributeValue::S("soon".to_owned())).await;
    stack.clock().advance(41 * DAY);
    let report = sweep(&stack).await;
    assert_eq!((report.count(Outcome::Refreshed), report.count(Outcome::BrokenRow)), (2, 1));
    assert_eq!(report.oldest_overdue_seconds, 60 * 86_400);
    for _ in 0..5 {
        stack.clock().advance(Duration::from_hours(7));
        sweep(&stack).await;
    }
    let events = announced(&stack).await;
    let unreadable: Vec<_> = events.iter().filter(|event| event["type"] == "account.unreadable").collect();
    assert_eq!(unreadable.len(), 1, "{events:?}");
    assert_eq!(unreadable[0]["user_id"], *people[1]);
}

/// Many callers doubt a token at once: Meta is asked once, and vouches for a while.
#[tokio::test]
async fn doubts_have_an_end() {
    let stack = stack().await;
    let ada = connected(&stack).await;
    let stored = token(&stack, &ada).await;
    let query = refused(&stored);
    stack.sandbox().unwrap().clear_calls();
    let callers = (0..60).map(|_| vend(&stack, &ada, &query));
    for (status, vended) in futures_util::future::join_all(callers).await {
        assert_eq!((status, &vended["access_token"]), (StatusCode::OK, &json!(stored)));
    }
    assert_eq!(calls_of(&stack, SandboxCall::Me), 1);
    // In a bad hour their doubts end nothing, and no doubtful token is vended.
    stack.clock().advance(Duration::from_hours(1));
    fail(&stack, SandboxCall::Me, 1, bare_190());
    let (status, answer) = vend(&stack, &ada, &query).await;
    assert_eq!((status, &answer["error"]["code"]), (StatusCode::SERVICE_UNAVAILABLE, &json!("suspected")));
    stack.clock().advance(QUARTER);
    assert_eq!(vend(&stack, &ada, &query).await.0, StatusCode::OK);
}

/// An operator stops sweeps, or verdicts only.
#[tokio::test]
async fn what_is_paused_waits() {
    let stack = stack().await;
    let sandbox = stack.sandbox().unwrap();
    let people = connect_people(&stack, 2).await;
    sandbox.change_password(&people[0]);
    stack.clock().advance(41 * DAY);
    stack.service().store().set_pause(Some(Pause::Sweeps)).await.unwrap();
    let report = sweep(&stack).await;
    assert_eq!((report.stopped, report.outcomes.len()), (Some(threads_auth::Stopped::Paused), 0));
    assert_eq!(report.paused, Some(Pause::Sweeps));
    stack.service().store().set_pause(Some(Pause::Verdicts)).await.unwrap();
    let report = sweep(&stack).await;
    assert_eq!((report.count(Outcome::Refreshed), report.count(Outcome::Suspected)), (1, 1));
    assert_eq!(grant(&stack, &people[0]).await.status(), Status::Active);
    // The person's own act at Threads is not held back.
    let signed = sandbox.signed_request(&people[1]);
    assert_eq!(post_signed(&stack, "/deauthorize", &signed).await.status, StatusCode::OK);
    assert_eq!(grant(&stack, &people[1]).await.status(), Status::Revoked);
    stack.service().store().set_pause(None).await.unwrap();
    assert_eq!(sweep_for(&stack, DAY, QUARTER).await, 1);
}

/// Faults by account, for the new token of one person only: it is tried once, and the one before it
/// brings it back.
#[tokio::test]
async fn a_new_token_is_tried_while_the_old_one_lives() {
    let stack = stack().await;
    let people = connect_people(&stack, 2).await;
    stack.clock().advance(41 * DAY);
    let answer = json!({"access_token": "THQVJneverbecamevalid0123456789", "expires_in": 5_183_944});
    stack.sandbox().unwrap().inject(Fault {
        call: Some(SandboxCall::Refresh),
        times: 1,
        after: 0,
        action: respond(200, answer.to_string()),
        user_id: Some(people[0].clone()),
    });
    assert_eq!(sweep(&stack).await.count(Outcome::Refreshed), 2);
    assert!(grant(&stack, &people[0]).await.live().unwrap().suspicion.is_some());
    sweep_for(&stack, Duration::from_hours(1), QUARTER).await;
    for person in &people {
        assert!(is_usable(&stack, &token(&stack, person).await).await);
    }
}

/// There is no witness, and most due tokens are dead: a wave is held back, but not for ever.
#[tokio::test]
async fn a_wave_without_a_witness_is_believed_in_the_end() {
    let stack = stack().await;
    let sandbox = stack.sandbox().unwrap();
    sandbox.set_inspection(Inspection::Nobody);
    let people = connect_people(&stack, 20).await;
    for person in &people[..15] {
        sandbox.change_password(person);
    }
    stack.clock().advance(41 * DAY);
    let report = sweep(&stack).await;
    assert!(report.wave, "{report:?}");
    assert_eq!((report.count(Outcome::Suspected), report.count(Outcome::Refreshed)), (15, 5));
    assert_eq!(sweep_for(&stack, 2 * DAY, Duration::from_hours(1)).await, 15);
    // The same for private profiles whose data access ends in one hour.
    let stack = crate::fixture::stack().await;
    stack.sandbox().unwrap().set_inspection(Inspection::Nobody);
    let people = connect_people(&stack, 12).await;
    for person in &people {
        stack.sandbox().unwrap().set_private(person, true);
    }
    for _ in 0..18 {
        stack.clock().advance(5 * DAY);
        sweep(&stack).await;
    }
    assert_eq!(sweep_for(&stack, DAY, Duration::from_hours(1)).await, 12);
}

/// Meta answers each refresh, and never extends: the account ends when its token does, no later.
#[tokio::test]
async fn a_token_that_is_never_extended_ends_when_it_says() {
    for behaviour in BEHAVIOURS {
        let (stack, ada) = never_extended(behaviour).await;
        stack.clock().advance(40 * DAY);
        assert_eq!(sweep_for(&stack, 21 * DAY, DAY / 4).await, 1, "{behaviour:?}");
        let ended = grant(&stack, &ada).await;
        assert_eq!((ended.status(), ended.cause()), (Status::NeedsReauthorization, Some(Cause::EXPIRED)));
        assert_eq!(vend(&stack, &ada, "").await.0, StatusCode::CONFLICT);
    }
}

/// The same in its last hours: by Meta's rule it is too young to be refreshed, and it is tried all
/// the same once its time is over.
#[tokio::test]
async fn a_token_that_was_refreshed_in_its_last_hours_ends_when_it_says() {
    let (stack, _) = never_extended(OldToken::NewTokenOldAlive).await;
    stack.clock().advance(59 * DAY + Duration::from_hours(19));
    assert_eq!(sweep(&stack).await.count(Outcome::NotExtended), 1);
    stack.clock().advance(Duration::from_hours(6));
    assert_eq!(sweep(&stack).await.count(Outcome::NeedsReauthorization), 1);
}

/// The current token is refused, and Meta does not report on the previous one: neither is given up
/// or vended.
#[tokio::test]
async fn trouble_with_the_token_before_does_not_speak_for_the_current_one() {
    for trouble in [FaultAction::Html, FaultAction::Throttle { retry_after: None }] {
        let stack = stack().await;
        let ada = connected(&stack).await;
        stack.clock().advance(41 * DAY);
        sweep(&stack).await;
        let stored = token(&stack, &ada).await;
        let query = refused(&stored);
        fail(&stack, SandboxCall::Me, 1, bare_190());
        fail(&stack, SandboxCall::Refresh, 1, trouble);
        for query in [query.as_str(), ""] {
            let (status, answer) = vend(&stack, &ada, query).await;
            let expected = (StatusCode::SERVICE_UNAVAILABLE, &json!("suspected"));
            assert_eq!((status, &answer["error"]["code"]), expected);
        }
        stack.clock().advance(QUARTER);
        assert_eq!(vend(&stack, &ada, "").await.0, StatusCode::OK);
    }
}

/// The current token never became valid, a witness agrees, and Meta is silent about the previous
/// one: that one is tried until Meta answers.
#[tokio::test]
async fn a_previous_token_is_tried_until_meta_answers() {
    let stack = stack().await;
    let sandbox = stack.sandbox().unwrap();
    let ada = connected(&stack).await;
    stack.clock().advance(41 * DAY);
    let answer = json!({"access_token": "THQVJneverbecamevalid0123456789", "expires_in": 5_183_944});
    fail(&stack, SandboxCall::Refresh, 1, respond(200, answer.to_string()));
    assert_eq!(sweep(&stack).await.count(Outcome::Refreshed), 1);
    // The sandbox knows no owner of the new token, so this concerns the previous one alone.
    sandbox.inject(Fault {
        call: Some(SandboxCall::Refresh),
        times: FOREVER,
        after: 0,
        action: FaultAction::Html,
        user_id: Some(ada.clone()),
    });
    assert_eq!(sweep_for(&stack, Duration::from_hours(6), QUARTER).await, 0);
    assert_eq!(grant(&stack, &ada).await.status(), Status::Active);
    sandbox.clear_faults();
    assert_eq!(sweep_for(&stack, DAY, QUARTER).await, 0);
    assert!(is_usable(&stack, &token(&stack, &ada).await).await);
}

/// The access to a person's data has ended, and the token is due: it is looked at, and not
/// refreshed first.
#[tokio::test]
async fn a_token_without_access_is_not_refreshed_first() {
    let stack = stack().await;
    let private = connect_private(&stack).await;
    stack.clock().advance(41 * DAY);
    assert_eq!(sweep(&stack).await.count(Outcome::Refreshed), 1);
    // Nobody sweeps from before the next refresh until the end of the access is over.
    stack.clock().advance(50 * DAY);
    stack.sandbox().unwrap().clear_calls();
    assert_eq!(sweep(&stack).await.count(Outcome::NeedsReauthorization), 1);
    assert_eq!(calls_of(&stack, SandboxCall::Refresh), 0);
    assert_eq!(grant(&stack, &private).await.cause(), Some(Cause::DataAccessExpired));
}

/// The same for a caller, before any sweep has looked at it.
#[tokio::test]
async fn a_token_without_access_is_not_handed_out() {
    let stack = stack().await;
    let private = connect_private(&stack).await;
    stack.clock().advance(41 * DAY);
    sweep(&stack).await;
    stack.clock().advance(50 * DAY);
    let tomorrow = (stack.clock().now() + DAY).as_second().to_string();
    set_attribute(&stack, &private, "due_at", AttributeValue::N(tomorrow)).await;
    let (status, answer) = vend(&stack, &private, "").await;
    let expected = (StatusCode::CONFLICT, &json!("data_access_expired"));
    assert_eq!((status, &answer["error"]["cause"]), expected);
}

/// Nobody may inspect: that is found out once an hour, and not once for each account.
#[tokio::test]
async fn callers_whom_meta_refuses_are_not_asked_about_everybody() {
    let stack = stack_with(&[("SWEEP_CONCURRENCY", "1")]).await;
    stack.sandbox().unwrap().set_inspection(Inspection::Nobody);
    connect_people(&stack, 6).await;
    stack.clock().advance(41 * DAY);
    stack.sandbox().unwrap().clear_calls();
    let report = sweep(&stack).await;
    assert_eq!(report.count(Outcome::Refreshed), 6);
    // The app and the token itself are tried for the first account.
    assert_eq!(calls_of(&stack, SandboxCall::DebugToken), 2);
}

/// Meta adds a permission: it is requested, granted, kept, and still refreshed.
#[tokio::test]
async fn a_permission_that_is_new_at_meta_is_as_good_as_any() {
    let (stack, ada) = stack_of_ada().await;
    let mut session = new("r");
    session["scopes"] = json!(["threads_basic", "threads_new_permission"]);
    let (id, code) = finished(&stack, session, &ada).await;
    let now = stack.clock().now();
    stack.service().complete_session(&id, &code, "r", now).await.unwrap();
    let connected = grant(&stack, &ada).await;
    assert_eq!(connected.scopes.to_string(), "threads_basic,threads_new_permission");
    assert_eq!(connected.scopes_source, ScopesSource::Granted);
    stack.clock().advance(41 * DAY);
    assert_eq!(sweep(&stack).await.count(Outcome::Refreshed), 1);
    let (status, vended) = vend(&stack, &ada, "").await;
    let scopes = json!(["threads_basic", "threads_new_permission"]);
    assert_eq!((status, &vended["scopes"]), (StatusCode::OK, &scopes));
}
