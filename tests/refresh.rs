//! Refreshing: what a sweep does to every kind of grant.

use std::ops::ControlFlow;
use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use devstack::Stack;
use jiff::Timestamp;
use reqwest::StatusCode;
use serde_json::json;
use threads_auth::{RefreshOutcome, Stopped, SweepReport};
use threads_auth_model::rules::{Lease, LeaseReason, Refreshed};
use threads_auth_model::schedule::Life;
use threads_auth_model::{Cause, Grant, Key, Status};
use threads_auth_store::{LeaseOutcome, WriteOutcome};
use threads_graph::ReauthorizationCause;
use threads_sandbox::{Fault, FaultAction, OldToken, SandboxCall};

use crate::fixture::{
    Browser, DAY, HOLD, LEASE, account, calls, calls_of, connect_people, connected_ada, delete_data,
    faults_struck, find_grant, grant, is_usable, set_attribute, stack, stack_of_ada, stack_with, token,
};

/// A stack where ada is connected, and her token due.
async fn due() -> (Stack, String) {
    let (stack, ada) = connected_ada().await;
    stack.clock().advance(41 * DAY);
    (stack, ada)
}

fn fault(stack: &Stack, call: SandboxCall, times: u32, action: FaultAction) {
    let fault = Fault { call: Some(call), times, after: 0, action, user_id: None };
    stack.sandbox().unwrap().inject(fault);
}

async fn expires_at(stack: &Stack, user_id: &str) -> Timestamp {
    grant(stack, user_id).await.live().unwrap().expires_at
}

#[tokio::test]
async fn two_accounts_live_for_years() {
    let stack = stack().await;
    let people = [account(&stack, "ada"), account(&stack, "grace")];
    for person in &people {
        Browser::new().connect(&stack, person).await;
    }
    stack.clock().advance(41 * DAY);
    let report = stack.sweep().await.unwrap();
    assert_eq!(report.count(RefreshOutcome::Refreshed), 2, "{report:?}");
    for _ in 0..2 * 52 {
        stack.clock().advance(7 * DAY);
        stack.sweep().await.unwrap();
    }
    for person in &people {
        let grant = grant(&stack, person).await;
        assert_eq!(grant.status(), Status::Active);
        assert!(grant.live().unwrap().expires_at > stack.clock().now());
    }
}

#[tokio::test]
async fn a_sweep_is_watched_counted_and_ended_in_order() {
    let stack = stack_with(&[("SWEEP_CONCURRENCY", "1")]).await;
    let people = connect_people(&stack, 5).await;
    let service = stack.service();
    assert_eq!(service.count_due(stack.clock().now()).await.unwrap(), 0);
    stack.clock().advance(41 * DAY);
    let now = stack.clock().now();
    assert_eq!(service.count_due(now).await.unwrap(), 5, "{people:?}");
    let mut seen = Vec::new();
    let watch = |outcome| {
        seen.push(outcome);
        if seen.len() < 2 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    };
    let budget = Duration::from_mins(15);
    let report = service.sweep_watched(now, budget, watch).await.unwrap();
    assert_eq!(seen, [RefreshOutcome::Refreshed; 2]);
    assert_eq!((report.count(RefreshOutcome::Refreshed), report.stopped), (2, Some(Stopped::Asked)));
    assert_eq!(service.count_due(now).await.unwrap(), 3);
    // The next sweep takes the rest.
    assert_eq!(stack.sweep().await.unwrap().count(RefreshOutcome::Refreshed), 3);
}

#[tokio::test]
async fn tokens_live_on_whatever_becomes_of_the_old_one() {
    for behaviour in [OldToken::SameTokenExtended, OldToken::NewTokenOldAlive, OldToken::NewTokenOldDead] {
        let stack = stack().await;
        stack.sandbox().unwrap().set_old_token_behaviour(behaviour);
        let ada = account(&stack, "ada");
        Browser::new().connect(&stack, &ada).await;
        for _ in 0..10 {
            stack.clock().advance(41 * DAY);
            assert_eq!(stack.sweep().await.unwrap().count(RefreshOutcome::Refreshed), 1, "{behaviour:?}");
        }
    }
}

#[tokio::test]
async fn a_token_is_left_alone_until_it_is_due() {
    let (stack, _) = connected_ada().await;
    stack.sandbox().unwrap().clear_calls();
    stack.clock().advance(33 * DAY);
    assert!(stack.sweep().await.unwrap().outcomes.is_empty());
    assert_eq!(calls(&stack), 0);
}

#[tokio::test]
async fn what_the_person_did_at_threads_is_marked_with_its_cause() {
    type Act = fn(&threads_sandbox::Sandbox, &str) -> bool;
    let acts: [(Act, ReauthorizationCause); 4] = [
        (threads_sandbox::Sandbox::revoke, ReauthorizationCause::AppRemoved),
        (threads_sandbox::Sandbox::change_password, ReauthorizationCause::PasswordChanged),
        (threads_sandbox::Sandbox::checkpoint, ReauthorizationCause::Checkpoint),
        (threads_sandbox::Sandbox::invalidate, ReauthorizationCause::Invalid),
    ];
    for (act, cause) in acts {
        let (stack, ada) = due().await;
        assert!(act(stack.sandbox().unwrap(), &ada));
        if !cause.is_telling() {
            assert_eq!(stack.sweep().await.unwrap().count(RefreshOutcome::Suspected), 1);
            assert_eq!(grant(&stack, &ada).await.status(), Status::Active);
            stack.clock().advance(Duration::from_mins(20));
        }
        assert_eq!(stack.sweep().await.unwrap().count(RefreshOutcome::NeedsReauthorization), 1);
        let marked = grant(&stack, &ada).await;
        assert_eq!(
            (marked.status(), marked.cause()),
            (Status::NeedsReauthorization, Some(Cause::Threads(cause)))
        );
        // A token that Meta may accept again is looked at the next day.
        let looks_at = Cause::Threads(cause).is_appealable().then(|| stack.clock().now() + DAY);
        assert_eq!(marked.due_at, looks_at);
        // The person comes back, and everything is as new.
        let reply = Browser::new().connect(&stack, &ada).await;
        assert_eq!(reply.status, StatusCode::SEE_OTHER, "{}", reply.body);
        assert_eq!(grant(&stack, &ada).await.status(), Status::Active);
    }
}

#[tokio::test]
async fn an_expired_token_is_marked_once_meta_confirms_it() {
    let (stack, ada) = due().await;
    stack.clock().advance(30 * DAY);
    stack.sandbox().unwrap().clear_calls();
    assert_eq!(stack.sweep().await.unwrap().count(RefreshOutcome::NeedsReauthorization), 1);
    assert_eq!(calls(&stack), 1);
    let cause = Cause::Threads(ReauthorizationCause::Expired);
    let marked = grant(&stack, &ada).await;
    assert_eq!((marked.status(), marked.cause()), (Status::NeedsReauthorization, Some(cause)));
}

/// A token that has expired by our record is refused in words that say nothing of it: another call
/// shows if it is dead.
#[tokio::test]
async fn a_vague_refusal_of_an_expired_token_is_looked_into() {
    let (stack, ada) = due().await;
    stack.clock().advance(30 * DAY);
    let vague = FaultAction::GraphError { code: 100, subcode: None, is_transient: false, status: 400 };
    fault(&stack, SandboxCall::Refresh, 1, vague);
    assert_eq!(stack.sweep().await.unwrap().count(RefreshOutcome::NeedsReauthorization), 1);
    assert_eq!(grant(&stack, &ada).await.status(), Status::NeedsReauthorization);
}

/// Threat false-death: ten days in which Meta fails in every way it can.
#[tokio::test]
async fn an_outage_of_ten_days_kills_no_token() {
    let (stack, ada) = due().await;
    let failures = [
        FaultAction::Html,
        FaultAction::Drop,
        FaultAction::Empty,
        FaultAction::Throttle { retry_after: Some(60) },
        FaultAction::GraphError { code: 2, subcode: None, is_transient: true, status: 400 },
        FaultAction::GraphError { code: 10, subcode: None, is_transient: false, status: 403 },
        FaultAction::GraphError { code: 368, subcode: None, is_transient: false, status: 400 },
        FaultAction::Respond { status: 400, body: "{}".to_owned(), headers: Vec::new() },
    ];
    let mut deaths = 0;
    for hour in 0..240 {
        stack.sandbox().unwrap().clear_faults();
        fault(&stack, SandboxCall::Refresh, u32::MAX, failures[hour % failures.len()].clone());
        stack.clock().advance(Duration::from_hours(1));
        deaths += stack.sweep().await.unwrap().count(RefreshOutcome::NeedsReauthorization);
    }
    let suffering = grant(&stack, &ada).await;
    println!("outage: {} failures in a row, {deaths} false deaths", suffering.failures);
    assert!(suffering.failures > 5);
    assert_eq!((deaths, suffering.status()), (0, Status::Active));
    stack.sandbox().unwrap().clear_faults();
    stack.clock().advance(DAY);
    assert_eq!(stack.sweep().await.unwrap().count(RefreshOutcome::Refreshed), 1);
    assert_eq!(grant(&stack, &ada).await.failures, 0);
}

/// Threat failed-long-lived-exchange: the long-lived exchange fails, and the code is spent.
#[tokio::test]
async fn a_failed_long_lived_exchange_is_completed_within_the_hour() {
    for failures in 1..=5 {
        let stack = stack().await;
        let ada = account(&stack, "ada");
        fault(&stack, SandboxCall::ExchangeLongLived, failures, FaultAction::Html);
        let reply = Browser::new().connect(&stack, &ada).await;
        let expected = if failures == 1 { "/connected" } else { "/finishing" };
        assert_eq!(reply.location().path(), expected);
        if failures > 1 {
            let pending = grant(&stack, &ada).await;
            assert_eq!(pending.status(), Status::Pending);
            assert!(pending.live().is_none(), "a short-lived token is no token");
        }
        let mut minutes = 0;
        while grant(&stack, &ada).await.status() != Status::Active {
            stack.clock().advance(Duration::from_mins(5));
            minutes += 5;
            stack.sweep().await.unwrap();
            assert!(minutes < 60, "{failures} failures");
        }
        println!("pending: {failures} failures, complete after {minutes} minutes");
    }
}

#[tokio::test]
async fn a_pending_grant_that_is_never_completed_needs_the_person() {
    let (stack, ada) = stack_of_ada().await;
    fault(&stack, SandboxCall::ExchangeLongLived, u32::MAX, FaultAction::Html);
    Browser::new().connect(&stack, &ada).await;
    stack.clock().advance(Duration::from_mins(61));
    assert_eq!(stack.sweep().await.unwrap().count(RefreshOutcome::PendingLost), 1);
    let marked = grant(&stack, &ada).await;
    assert_eq!((marked.status(), marked.cause()), (Status::NeedsReauthorization, Some(Cause::NotCompleted)));
}

#[tokio::test]
async fn a_failing_reconnect_leaves_the_grant_as_it_was() {
    let (stack, ada) = connected_ada().await;
    let before = grant(&stack, &ada).await;
    fault(&stack, SandboxCall::ExchangeLongLived, u32::MAX, FaultAction::Html);
    let reply = Browser::new().connect(&stack, &ada).await;
    assert_eq!(reply.location().path(), "/finishing");
    let during = grant(&stack, &ada).await;
    assert_eq!((during.status(), &during.grant_id), (Status::Active, &before.grant_id));
    assert!(during.consent().is_some());
    stack.clock().advance(Duration::from_mins(61));
    stack.sweep().await.unwrap();
    let after = grant(&stack, &ada).await;
    assert_eq!((after.status(), after.due_at), (Status::Active, before.due_at));
    assert!(after.consent().is_none());
}

/// Threat resurrection: a deletion between lease and write.
#[tokio::test]
async fn a_refresh_does_not_bring_back_the_deleted() {
    let (stack, ada) = due().await;
    fault(&stack, SandboxCall::Refresh, 1, HOLD);
    let deletion = async {
        faults_struck(&stack).await;
        delete_data(&stack, &ada).await;
        stack.sandbox().unwrap().clear_faults();
    };
    let (report, ()) = tokio::join!(stack.sweep(), deletion);
    assert_eq!(report.unwrap().count(RefreshOutcome::Gone), 1);
    assert!(find_grant(&stack, &ada).await.is_none());
}

/// Threat irregular-sweeps: two sweeps at once do the work of one.
#[tokio::test]
async fn two_sweeps_at_once_refresh_once() {
    let (stack, ada) = due().await;
    stack.sandbox().unwrap().clear_calls();
    let (one, two) = tokio::join!(stack.sweep(), stack.sweep());
    assert_eq!(
        one.unwrap().count(RefreshOutcome::Refreshed) + two.unwrap().count(RefreshOutcome::Refreshed),
        1
    );
    assert_eq!(calls_of(&stack, SandboxCall::Refresh), 1);
    assert!(expires_at(&stack, &ada).await > stack.clock().now());
}

/// Threat irregular-sweeps: four schedules share the accounts. Together they do the work of one,
/// and each reports what nobody sweeps.
#[tokio::test]
async fn four_schedules_share_the_accounts() {
    const PEOPLE: usize = 48;
    let stack = stack().await;
    let people = connect_people(&stack, PEOPLE as u64).await;
    stack.clock().advance(41 * DAY);
    stack.sandbox().unwrap().clear_calls();
    let of_part = async |part: usize| {
        let (event, now) = (json!({"part": part, "parts": 4}), stack.clock().now());
        refresh::handle(stack.service(), event, now, Duration::from_mins(15)).await.unwrap()
    };
    // The last one's schedule is missing at first.
    let reports = futures_util::future::join_all((0..3).map(of_part)).await;
    let refreshed = |report: &SweepReport| report.count(RefreshOutcome::Refreshed);
    let of_three: u64 = reports.iter().map(refreshed).sum();
    assert!(reports.iter().all(|report| refreshed(report) > 0), "{reports:?}");
    assert!(reports.iter().all(|report| report.oldest_overdue_seconds > 0), "{reports:?}");
    let reports = futures_util::future::join_all((0..4).map(of_part)).await;
    let shares: Vec<u64> = reports.iter().map(refreshed).collect();
    assert_eq!(shares[..3], [0, 0, 0]);
    let all = of_three + shares[3];
    assert_eq!((all, calls_of(&stack, SandboxCall::Refresh)), (PEOPLE as u64, PEOPLE));
    for person in &people {
        assert!(expires_at(&stack, person).await > stack.clock().now() + 59 * DAY);
    }
    assert_eq!(of_part(0).await.oldest_overdue_seconds, 0);
    println!(
        "threat irregular-sweeps: four schedules at once, one of them late: {all} of {PEOPLE} refreshed, each once"
    );
}

/// Threat irregular-sweeps: a schedule that fails for as long as a token allows loses none, and the
/// next function reports for how long.
#[tokio::test]
async fn a_schedule_that_stops_for_weeks_loses_no_token() {
    let stack = stack().await;
    let people = connect_people(&stack, 5).await;
    // Due on day 40 at the latest. Of its 60 days each has one left.
    stack.clock().advance(59 * DAY);
    let no_time = Duration::from_secs(10);
    let late = stack.service().sweep(stack.clock().now(), no_time).await.unwrap();
    let days = late.oldest_overdue_seconds / DAY.as_secs();
    assert!((19..60).contains(&days), "{days} days");
    // Then three runs at once, as if all that was missed were made up for.
    stack.sandbox().unwrap().clear_calls();
    let (one, two, three) = tokio::join!(stack.sweep(), stack.sweep(), stack.sweep());
    let reports = [one.unwrap(), two.unwrap(), three.unwrap()];
    let refreshed: u64 = reports.iter().map(|report| report.count(RefreshOutcome::Refreshed)).sum();
    assert_eq!((refreshed, calls_of(&stack, SandboxCall::Refresh)), (5, 5));
    for person in &people {
        assert!(expires_at(&stack, person).await > stack.clock().now() + 59 * DAY);
    }
    assert_eq!(stack.sweep().await.unwrap().oldest_overdue_seconds, 0);
    println!(
        "threat irregular-sweeps: {days} days without a sweep, then three at once: 5 of 5 tokens live, each refreshed once"
    );
}

/// Threat cut-off-sweep: a function without time begins nothing, and the next run takes it all.
#[tokio::test]
async fn without_time_nothing_is_begun() {
    let (stack, ada) = due().await;
    let before = expires_at(&stack, &ada).await;
    stack.sandbox().unwrap().clear_calls();
    let report = stack.service().sweep(stack.clock().now(), Duration::from_secs(10)).await.unwrap();
    assert!(report.stopped.is_some() && report.outcomes.is_empty(), "{report:?}");
    assert!(report.oldest_overdue_seconds > 0);
    assert_eq!(calls(&stack), 0);
    assert_eq!(stack.sweep().await.unwrap().count(RefreshOutcome::Refreshed), 1);
    assert!(expires_at(&stack, &ada).await > before);
}

/// Threat cut-off-sweep: Lambda cuts a sweep off at any of its grants. Each is committed by itself,
/// so that nothing is lost and little repeated.
#[tokio::test]
async fn a_sweep_that_is_cut_off_loses_nothing() {
    const PEOPLE: u64 = 8;
    const AT_ONCE: usize = 3;
    let stack = stack_with(&[("SWEEP_CONCURRENCY", &AT_ONCE.to_string())]).await;
    let people = connect_people(&stack, PEOPLE).await;
    let mut most_repeats = 0;
    for cut in 0..PEOPLE {
        stack.clock().advance(41 * DAY);
        stack.sandbox().unwrap().clear_calls();
        stack.sandbox().unwrap().inject(Fault {
            call: Some(SandboxCall::Refresh),
            times: 1,
            after: u32::try_from(cut).unwrap(),
            action: HOLD,
            user_id: None,
        });
        let reached = async {
            faults_struck(&stack).await;
        };
        tokio::select! {
            report = stack.sweep() => panic!("it was not cut: {report:?}"),
            () = reached => {}
        }
        // The next run, after the leases of the first.
        stack.clock().advance(LEASE);
        let report = stack.sweep().await.unwrap();
        assert_eq!(report.oldest_overdue_seconds, 0, "cut at {cut}: {report:?}");
        for person in &people {
            let expires_at = expires_at(&stack, person).await;
            assert!(expires_at > stack.clock().now() + 59 * DAY, "cut at {cut}");
            assert!(is_usable(&stack, &token(&stack, person).await).await);
        }
        let refreshes = stack.sandbox().unwrap().calls().into_iter();
        let refreshes = refreshes.filter(|call| call.call == SandboxCall::Refresh).count();
        most_repeats = most_repeats.max(refreshes - people.len());
    }
    println!(
        "threat cut-off-sweep: cut at each of {PEOPLE} grants: 0 lost, at most {most_repeats} refreshed twice"
    );
    // The database's pace decides how many that were under way had Meta's answer and no row yet.
    assert!(most_repeats <= AT_ONCE, "{most_repeats}");
}

/// An event that can meet another one of the same grant.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Step {
    Lease,
    Store,
    Delete,
    Connect,
}

/// Threat resurrection: every order in which a refresh, a deletion and a new connection can happen,
/// against the store itself.
#[tokio::test]
async fn no_order_of_events_brings_back_the_deleted() {
    use Step::{Connect, Delete, Lease, Store};
    let (mut orders, mut resurrected) = (0, 0);
    for order in permutations(&[Lease, Store, Delete, Connect]) {
        let place = |step| order.iter().position(|other| *other == step);
        if place(Lease) > place(Store) {
            continue;
        }
        let (stack, ada) = due().await;
        let mut leased = None;
        for step in &order {
            match step {
                Lease => leased = lease(&stack, &ada).await,
                Store => {
                    if let Some(grant) = &leased {
                        let written = store_refreshed(&stack, grant).await;
                        let undisturbed = place(Delete) < place(Lease) && place(Connect) < place(Lease)
                            || place(Delete) > place(Store) && place(Connect) > place(Store);
                        assert_eq!(written == WriteOutcome::Stored, undisturbed, "{order:?}");
                    }
                }
                Delete => {
                    delete_data(&stack, &ada).await;
                }
                Connect => {
                    // A connection after the deletion is the person's new will. It begins after it,
                    // by a second.
                    stack.clock().advance(Duration::from_secs(1));
                    let reply = Browser::new().connect(&stack, &ada).await;
                    assert_eq!(reply.status, StatusCode::SEE_OTHER);
                }
            }
        }
        orders += 1;
        let there = find_grant(&stack, &ada).await.is_some();
        assert!(there || place(Connect) < place(Delete), "{order:?}: the connection was lost");
        resurrected += u32::from(there && place(Delete) > place(Connect));
    }
    println!(
        "threat resurrection: {orders} orders of lease, store, deletion and connection: {resurrected} resurrected"
    );
    assert_eq!((orders, resurrected), (12, 0));
}

fn permutations(steps: &[Step]) -> Vec<Vec<Step>> {
    let Some((first, rest)) = steps.split_first() else {
        return vec![Vec::new()];
    };
    let with_first = |order: Vec<Step>| {
        (0..=order.len()).map(move |at| {
            let mut order = order.clone();
            order.insert(at, *first);
            order
        })
    };
    permutations(rest).into_iter().flat_map(with_first).collect()
}

async fn lease(stack: &Stack, user_id: &str) -> Option<Grant> {
    let now = stack.clock().now();
    let key = Key::grant(&user_id.parse().unwrap());
    match stack.service().store().lease(&key, LeaseReason::Due, by_a_sweep(now), now).await.unwrap() {
        LeaseOutcome::Leased(grant) => Some(*grant),
        LeaseOutcome::NotOurs => None,
        LeaseOutcome::Broken(problem, _) => panic!("{problem}"),
    }
}

fn by_a_sweep(now: Timestamp) -> Lease<'static> {
    Lease { owner: "a sweep", until: now + Duration::from_mins(2) }
}

async fn store_refreshed(stack: &Stack, grant: &Grant) -> WriteOutcome {
    let now = stack.clock().now();
    let life = Life { issued_at: now, expires_at: now + 60 * DAY, is_assumed: false };
    let refreshed = Refreshed {
        sealed: b"new",
        token_id: "new",
        previous: Some(b"old"),
        pseudonym: "p_AAAAAAAAAAAAAAAA",
        life,
        retry_at: None,
    };
    let (store, used) = (stack.service().store(), grant.live().unwrap());
    store.store_refreshed(grant, used, refreshed, by_a_sweep(now), now).await.unwrap()
}

/// Such a count is damage, and concerns only itself.
#[tokio::test]
async fn the_largest_count_of_failures_stops_nothing() {
    let (stack, ada) = due().await;
    set_attribute(&stack, &ada, "failures", AttributeValue::N(u32::MAX.to_string())).await;
    fault(&stack, SandboxCall::Refresh, 1, FaultAction::Html);
    stack.sweep().await.unwrap();
    assert_eq!(grant(&stack, &ada).await.failures, u32::MAX);
    stack.clock().advance(DAY);
    let report = stack.sweep().await.unwrap();
    assert_eq!(report.count(RefreshOutcome::Refreshed), 1, "{report:?}");
    assert_eq!(grant(&stack, &ada).await.failures, 0);
}
