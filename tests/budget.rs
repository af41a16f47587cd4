//! The calls to Meta that an hour may have.

use std::time::Duration;

use devstack::Stack;
use threads_auth::{RefreshOutcome, Stopped};
use threads_sandbox::SandboxCall;

use crate::fixture::{DAY, calls, calls_of, connect_people, grant, stack_with};

/// A stack in which an hour has so many calls and eight people's tokens are due. None of its calls
/// were in this hour.
async fn due(most: &str) -> (Stack, Vec<String>) {
    let stack = stack_with(&[("GRAPH_CALLS_PER_HOUR", most), ("SWEEP_CONCURRENCY", "1")]).await;
    let people = connect_people(&stack, 8).await;
    // The calls of connecting count for another hour.
    stack.sweep().await.unwrap();
    stack.clock().advance(41 * DAY);
    stack.sandbox().unwrap().clear_calls();
    (stack, people)
}

/// Returns the calls that the stack has counted in this hour.
async fn counted(stack: &Stack) -> u64 {
    stack.service().store().count_calls(0, stack.clock().now()).await.unwrap()
}

#[tokio::test]
async fn a_sweep_ends_when_the_hour_is_used_up() {
    let (stack, people) = due("10").await;
    let report = stack.sweep().await.unwrap();
    let refreshed = report.count(RefreshOutcome::Refreshed);
    assert_eq!(report.stopped, Some(Stopped::Budget), "{report:?}");
    assert!((4..8).contains(&refreshed), "{report:?}");
    let made = calls(&stack);
    assert!((10..=12).contains(&made), "{made}");
    assert_eq!(counted(&stack).await, made as u64);
    // For the rest of the hour, no sweep calls Meta.
    stack.clock().advance(Duration::from_mins(30));
    let report = stack.sweep().await.unwrap();
    assert_eq!((report.stopped, report.outcomes.len()), (Some(Stopped::Budget), 0));
    assert_eq!(calls(&stack), made);
    // A caller who needs a token gets it, and the call counts.
    let mut waiting = Vec::new();
    for person in people {
        let due_at = grant(&stack, &person).await.due_at.unwrap();
        waiting.extend((due_at <= stack.clock().now()).then_some(person));
    }
    let path = format!("/users/{}/token", waiting[0]);
    let reply = crate::iam::call(&stack, reqwest::Method::GET, &path, "").await;
    assert_eq!(reply.status, reqwest::StatusCode::OK, "{reply:?}");
    assert_eq!(calls_of(&stack, SandboxCall::Refresh) as u64, refreshed + 1);
    assert_eq!(counted(&stack).await, calls(&stack) as u64);
    // The next hour is another one.
    stack.clock().advance(Duration::from_mins(30));
    assert_eq!(counted(&stack).await, 0);
    let report = stack.sweep().await.unwrap();
    assert_eq!(report.stopped, None);
    assert_eq!(refreshed + 1 + report.count(RefreshOutcome::Refreshed), 8);
}

#[tokio::test]
async fn the_last_tenth_is_for_refreshes() {
    let (stack, _) = due("100").await;
    // Other functions have made them.
    stack.service().store().count_calls(91, stack.clock().now()).await.unwrap();
    let report = stack.sweep().await.unwrap();
    assert_eq!((report.stopped, report.count(RefreshOutcome::Refreshed)), (None, 8), "{report:?}");
    assert_eq!((calls_of(&stack, SandboxCall::Refresh), calls(&stack)), (8, 8));
    assert_eq!(counted(&stack).await, 99);
}

#[tokio::test]
async fn without_a_limit_nothing_is_counted() {
    let (stack, _) = due("").await;
    let rows = crate::fixture::rows(&stack).await.len();
    let before = stack.service().graph_calls();
    let report = stack.sweep().await.unwrap();
    assert_eq!((report.stopped, report.count(RefreshOutcome::Refreshed)), (None, 8));
    assert_eq!(crate::fixture::rows(&stack).await.len(), rows);
    assert_eq!(stack.service().graph_calls() - before, calls(&stack) as u64);
}

#[tokio::test]
async fn many_count_at_once_and_lose_nothing() {
    let stack = stack_with(&[]).await;
    let (store, now) = (stack.service().store(), stack.clock().now());
    let count = |n| store.count_calls(n, now);
    let totals = futures_util::future::try_join_all((1..=20).map(count)).await.unwrap();
    assert_eq!(totals.into_iter().max(), Some(210));
    assert_eq!(store.count_calls(0, now).await.unwrap(), 210);
}
