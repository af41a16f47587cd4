//! The sweep that keeps every token alive.
//!
//! Owns which grants are looked at, how many at once, and when a sweep ends. Each grant is taken by
//! lease, refreshed and committed by itself; a broken row, a dead token or a failing call concerns
//! that grant only.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use futures_util::stream::{self, StreamExt, TryStreamExt};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use threads_auth_model::rules::LeaseReason;
use threads_auth_model::seal::SealError;
use threads_auth_model::{error_chain, schedule};
use threads_auth_store::{SecretsError, StoreError};

use super::outcome::RefreshOutcome;
use super::refresher::Refresher;
use crate::clients::Clients;
use crate::stopwatch::Stopwatch;

/// Circuit breaker: after this many consecutive failures that are Meta's, stop the sweep.
const BREAKER: u32 = 20;

/// The result of a sweep.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct SweepReport {
    /// Grants by outcome.
    pub outcomes: BTreeMap<RefreshOutcome, u64>,
    /// For how long the oldest grant that is still due has been waiting, in seconds; 0 when none
    /// is.
    pub oldest_overdue_seconds: u64,
    /// Whole days until the first token ends, of those that were looked at and live on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weakest_token_days: Option<u64>,
    /// Why it ended before everything that was due was looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stopped: Option<Stopped>,
    /// Partitions of the due index that could not be read. Their grants wait for the next sweep.
    pub unreadable_shards: u32,
}

threads_graph::names! {
    /// Why a sweep ended early.
    pub enum Stopped {
        /// The function's time was nearly over.
        Deadline => "deadline",
        /// Meta failed or throttled many calls in a row.
        Threads => "threads",
        /// It was asked for.
        Asked => "asked",
    }
}

impl SweepReport {
    /// How many grants had this outcome.
    #[must_use]
    pub fn count(&self, outcome: RefreshOutcome) -> u64 {
        self.outcomes.get(&outcome).copied().unwrap_or(0)
    }
}

/// Why a sweep could not be made at all.
#[derive(Debug, thiserror::Error)]
pub enum SweepError {
    /// The secrets could not be read.
    #[error("the sweep has no secrets")]
    Secrets(#[from] SecretsError),
    /// The system has no randomness to give.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// No partition of the due index could be read, the last of them for this reason.
    #[error("the due index could not be read")]
    Unreadable(#[source] StoreError),
}

/// Looks at every grant that is due at `now`, for at most `budget`. `watch` sees each outcome as it
/// comes. After its `Break` no other grant is begun.
pub(crate) async fn sweep(
    clients: &Clients,
    now: Timestamp,
    budget: Duration,
    mut watch: impl FnMut(RefreshOutcome) -> ControlFlow<()>,
) -> Result<SweepReport, SweepError> {
    let time = Stopwatch::start(now, budget);
    let refresher = Refresher::new(clients, clients.vault(now).await?, time)?;
    let mut report = SweepReport::default();
    let breaker = AtomicU32::new(0);
    let stopped = OnceLock::new();
    let goes_on = || {
        // A grant that is begun has time for three calls to Meta, each at its timeout, and for the
        // writes.
        if !time.leaves(clients.config.work_time()) {
            stopped.get_or_init(|| Stopped::Deadline);
        } else if breaker.load(Ordering::Relaxed) >= BREAKER {
            stopped.get_or_init(|| Stopped::Threads);
        }
        stopped.get().is_none()
    };
    // Every partition in turn, so that no one of them starves behind a long one.
    let due = stream::select_all(schedule::shards().map(|shard| Box::pin(clients.store.due(&shard, now))));
    let mut looked_at = due
        .take_while(|_| std::future::ready(goes_on()))
        .map(|key| async { Ok::<_, StoreError>(refresher.one(&key?, LeaseReason::Due).await) })
        .buffer_unordered(clients.config.sweep_concurrency);
    let mut unreadable = None;
    while let Some(attempt) = looked_at.next().await {
        let attempt = match attempt {
            Ok(attempt) => attempt,
            Err(error) => {
                tracing::error!(error = error_chain(&error), "a part of the due index could not be read");
                report.unreadable_shards += 1;
                unreadable = Some(error);
                continue;
            }
        };
        *report.outcomes.entry(attempt.outcome).or_default() += 1;
        match attempt.is_metas_failure {
            Some(true) => _ = breaker.fetch_add(1, Ordering::Relaxed),
            Some(false) => breaker.store(0, Ordering::Relaxed),
            None => {}
        }
        if watch(attempt.outcome).is_break() {
            stopped.get_or_init(|| Stopped::Asked);
        }
    }
    drop(looked_at);
    report.stopped = stopped.get().copied();
    report.weakest_token_days = refresher.weakest_days();
    report.oldest_overdue_seconds = oldest_overdue_seconds(clients, time.now()).await;
    match unreadable {
        Some(error) if report.unreadable_shards >= u32::from(schedule::DUE_SHARDS) => {
            Err(SweepError::Unreadable(error))
        }
        _ => Ok(report),
    }
}

/// How many grants are due at `now`: what a sweep has before it.
pub(crate) async fn count_due(clients: &Clients, now: Timestamp) -> Result<u64, StoreError> {
    stream::iter(schedule::shards())
        .map(|shard| async move { clients.store.count_due(&shard, now).await })
        .buffer_unordered(usize::from(schedule::DUE_SHARDS))
        .try_fold(0, |sum, count| std::future::ready(Ok(sum + count)))
        .await
}

async fn oldest_overdue_seconds(clients: &Clients, now: Timestamp) -> u64 {
    let oldest = stream::iter(schedule::shards())
        .map(|shard| async move { clients.store.oldest_due(&shard, now).await.ok().flatten() })
        .buffer_unordered(usize::from(schedule::DUE_SHARDS))
        .filter_map(std::future::ready)
        .fold(now, |oldest, due| std::future::ready(oldest.min(due)))
        .await;
    let seconds = now.as_second().saturating_sub(oldest.as_second());
    seconds.max(0).unsigned_abs()
}
