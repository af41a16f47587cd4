//! The sweep that keeps every token alive.
//!
//! Owns which grants are looked at, how many at once, and when a sweep ends. Each grant is taken by
//! lease, refreshed and committed by itself; a broken row, a dead token or a failing call concerns
//! that grant only.

use std::collections::{BTreeMap, VecDeque};
use std::ops::ControlFlow;
use std::pin::pin;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use futures_util::stream::{self, FuturesUnordered, StreamExt, TryStreamExt};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use threads_auth_model::rules::LeaseReason;
use threads_auth_model::seal::SealError;
use threads_auth_model::{Pause, error_chain, schedule};
use threads_auth_store::{SecretsError, StoreError};

use super::attempt::{Answer, Verdict};
use super::outcome::RefreshOutcome;
use super::refresher::{Refresher, UNKNOWN_OVERDUE_SECONDS};
use crate::clients::Clients;
use crate::drift;
use crate::stopwatch::Stopwatch;

/// Circuit breaker: after this many consecutive failures that are Meta's, stop the sweep.
const BREAKER: u32 = 20;

/// A wave: Meta refuses at least this many tokens, and more than it takes. People remove an app one
/// by one, so a fleet loses a few accounts in a hundred each month; where most of what is due is
/// refused, the trouble is Meta's or the app's. In a small fleet a few deaths are no sign of
/// anything.
const WAVE: u64 = 10;

/// Verdicts wait for the end of the sweep, or until so many wait: then enough has been seen to know
/// a wave.
const DOCKET: usize = 1_000;
const SETTLED_AT_ONCE: usize = 16;

/// New tokens that wait to be tried. More than these are left to the next call with them.
const MOST_TRIALS: usize = 1_000;

/// Calls to Meta are counted in blocks: each is a write, which the sweep waits for.
const COUNTED_AT_ONCE: u64 = 1_000;

/// The result of a sweep.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct SweepReport {
    /// Grants by outcome.
    pub outcomes: BTreeMap<RefreshOutcome, u64>,
    /// For how long the refresh that was wanted first has been waiting, in seconds; 0 when none is.
    /// What was put off for a failure is waiting all the same, and what cannot be read counts as 60
    /// days.
    pub oldest_overdue_seconds: u64,
    /// Whole days until the first token ends, of those that were looked at and live on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weakest_token_days: Option<u64>,
    /// Whether Meta refused so many tokens that its refusals were not believed.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub wave: bool,
    /// The pause that an operator had set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub paused: Option<Pause>,
    /// Inspections that Meta refused to every caller, if it did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused_inspections: Option<u64>,
    /// Drift at Meta, in words, if this sweep has looked.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub drift: Vec<String>,
    /// Why it ended before everything that was due was looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stopped: Option<Stopped>,
    /// Partitions of the due index that could not be read. Their grants wait for the next sweep.
    pub unreadable_shards: u32,
    /// Why the last of them could not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unreadable_because: Option<String>,
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
        /// An operator has paused the sweeps.
        Paused => "paused",
        /// The hour's calls to Meta were used up.
        Budget => "budget",
        /// Nobody has written the secrets yet.
        Unconfigured => "unconfigured",
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
    /// A secret has never had a value, as far as the table tells: no account lives.
    #[error("nobody has configured the stack yet")]
    Unconfigured(#[source] SecretsError),
    /// The secrets could not be read.
    #[error("the sweep has no secrets")]
    Secrets(#[from] SecretsError),
    /// The system has no randomness to give.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// No partition of the due index could be read, the last of them for this reason.
    #[error(transparent)]
    Unreadable(StoreError),
}

impl SweepError {
    /// Whether nobody has configured the stack yet, which is no failure of a sweep's.
    #[must_use]
    pub fn is_unconfigured(&self) -> bool {
        matches!(self, Self::Unconfigured(_))
    }
}

/// Looks at every grant that is due at `now`, for at most `budget`. `watch` sees each outcome as it
/// comes. After its `Break` no other grant is begun.
pub(crate) async fn sweep(
    clients: &Clients,
    now: Timestamp,
    budget: Duration,
    watch: impl FnMut(RefreshOutcome) -> ControlFlow<()>,
) -> Result<SweepReport, SweepError> {
    let time = Stopwatch::start(now, budget);
    let vault = match clients.vault(now).await {
        // Whoever has accounts has had secrets: those were lost, and that is a failure.
        Err(error) if error.is_unwritten() && !may_have_accounts(clients).await => {
            return Err(SweepError::Unconfigured(error));
        }
        vault => vault?,
    };
    let mut refresher = Refresher::new(clients, vault, time)?;
    refresher.ends_unclaimed = true;
    let pause = clients.store.pause().await.unwrap_or_else(|error| {
        tracing::error!(error = error_chain(&error), "what is paused could not be read: the sweep goes on");
        None
    });
    let mut report = SweepReport { paused: pause, ..SweepReport::default() };
    clients.count_calls(0, now).await;
    let refused_before = clients.callers.refused();
    let stopped = OnceLock::new();
    if pause == Some(Pause::Sweeps) {
        stopped.get_or_init(|| Stopped::Paused);
    } else {
        report.drift = drift::once_a_day(clients, &refresher.vault, now).await;
    }
    finish_deletions(&refresher, now, &mut report).await;
    let unreadable = look_at_due(&refresher, now, &stopped, &mut report, watch).await;
    clients.count_calls(1, time.now()).await;
    let refused = clients.callers.refused() - refused_before;
    report.refused_inspections = (refused > 0).then_some(refused);
    report.stopped = stopped.get().copied();
    report.weakest_token_days = refresher.weakest_days();
    report.oldest_overdue_seconds =
        refresher.overdue_seconds().max(oldest_overdue_seconds(clients, time.now()).await);
    report.unreadable_because = unreadable.as_ref().map(|error| error_chain(error));
    match unreadable {
        Some(error) if report.unreadable_shards >= u32::from(schedule::DUE_SHARDS) => {
            Err(SweepError::Unreadable(error))
        }
        _ => Ok(report),
    }
}

/// Goes on with the deletions that were cut off. A person's wish waits for no pause, and for no
/// limit of Meta's.
async fn finish_deletions(refresher: &Refresher<'_>, now: Timestamp, report: &mut SweepReport) {
    let (clients, time) = (refresher.clients, refresher.time);
    let mut due = pin!(clients.store.due(schedule::DELETIONS, now));
    while time.leaves(clients.config.work_time())
        && let Some(key) = due.next().await
    {
        let outcome = match key {
            Ok(key) => refresher.deletion(&key, now).await,
            Err(error) => {
                tracing::error!(error = error_chain(&error), "the unfinished deletions could not be read");
                RefreshOutcome::StoreFailed
            }
        };
        *report.outcomes.entry(outcome).or_default() += 1;
    }
}

/// Looks at every grant that is due at `now`, and fills the report. Returns why a part of the due
/// index could not be read, if one could not.
async fn look_at_due(
    refresher: &Refresher<'_>,
    now: Timestamp,
    stopped: &OnceLock<Stopped>,
    report: &mut SweepReport,
    mut watch: impl FnMut(RefreshOutcome) -> ControlFlow<()>,
) -> Option<StoreError> {
    let (clients, time) = (refresher.clients, refresher.time);
    let breaker = AtomicU32::new(0);
    let goes_on = || {
        // A grant that is begun has time for a few calls to Meta, and for the writes.
        if !time.leaves(clients.config.work_time()) {
            stopped.get_or_init(|| Stopped::Deadline);
        } else if clients.are_calls_spent(time.now()) {
            stopped.get_or_init(|| Stopped::Budget);
        } else if breaker.load(Ordering::Relaxed) >= BREAKER {
            stopped.get_or_init(|| Stopped::Threads);
        }
        stopped.get().is_none()
    };
    // Every partition in turn, so that no one of them starves behind a long one.
    let due = stream::select_all(schedule::shards().map(|shard| Box::pin(clients.store.due(&shard, now))));
    let mut looked_at = due
        .take_while(|_| std::future::ready(goes_on()))
        .map(|key| async {
            let attempt = refresher.one(&key?, LeaseReason::Due).await;
            if let Some(verdict) = &attempt.verdict {
                refresher.mark(verdict).await;
            }
            Ok::<_, StoreError>(attempt)
        })
        .buffer_unordered(clients.config.sweep_concurrency);
    let mut unreadable = None;
    let mut docket = Docket::default();
    // Whatever else takes time is done beside the refreshes. These are polled always: one that is
    // not would miss Meta's answer, and the token in it.
    let mut beside = FuturesUnordered::<BoxFuture<'_, Vec<RefreshOutcome>>>::new();
    let (mut trials, mut is_all_seen) = (VecDeque::new(), false);
    loop {
        while beside.len() < clients.config.sweep_concurrency
            && let Some(trial) = trials.pop_front()
        {
            beside.push(
                async move {
                    // A trial that would outlast the function is left out: the next call tells.
                    if time.leaves(clients.config.extras_time()) {
                        refresher.try_out(&trial).await;
                    }
                    Vec::new()
                }
                .boxed(),
            );
        }
        let (settled, attempt) = tokio::select! {
            Some(settled) = beside.next() => (settled, None),
            attempt = looked_at.next(), if !is_all_seen => (Vec::new(), Some(attempt)),
            else => break,
        };
        let mut outcomes = settled;
        match attempt.map(Option::transpose) {
            None => {}
            // Verdicts do not wait for the last trials.
            Some(Ok(None)) => {
                is_all_seen = true;
                beside.push(docket.settle(refresher).boxed());
            }
            Some(Err(error)) => {
                tracing::error!(error = error_chain(&error), "a part of the due index could not be read");
                report.unreadable_shards += 1;
                unreadable = Some(error);
            }
            Some(Ok(Some(attempt))) => {
                match attempt.answer {
                    Answer::Trouble => _ = breaker.fetch_add(1, Ordering::Relaxed),
                    Answer::Well => breaker.store(0, Ordering::Relaxed),
                    Answer::Refused | Answer::Nothing => {}
                }
                docket.count(attempt.answer);
                if clients.config.graph_calls_per_hour.is_some() {
                    let now = time.now();
                    let counted = clients.count_calls(COUNTED_AT_ONCE, now);
                    beside.push(counted.map(|()| Vec::new()).boxed());
                }
                if let Some(trial) = attempt.trial
                    && trials.len() < MOST_TRIALS
                    && !clients.are_calls_scarce(time.now())
                {
                    trials.push_back(*trial);
                }
                match attempt.verdict {
                    None => outcomes.push(attempt.outcome),
                    Some(verdict) => docket.verdicts.push(*verdict),
                }
                if docket.verdicts.len() >= DOCKET {
                    beside.push(docket.settle(refresher).boxed());
                }
            }
        }
        for outcome in outcomes {
            *report.outcomes.entry(outcome).or_default() += 1;
            if watch(outcome).is_break() {
                stopped.get_or_init(|| Stopped::Asked);
            }
        }
    }
    report.wave = docket.is_wave();
    unreadable
}

/// The verdicts of a sweep that wait, and what they are weighed by.
#[derive(Default)]
struct Docket {
    verdicts: Vec<Verdict>,
    refused: u64,
    taken: u64,
}

impl Docket {
    fn count(&mut self, answer: Answer) {
        match answer {
            Answer::Refused => self.refused += 1,
            Answer::Well => self.taken += 1,
            Answer::Trouble | Answer::Nothing => {}
        }
    }

    fn is_wave(&self) -> bool {
        self.refused >= WAVE && self.refused > self.taken
    }

    /// Carries out the verdicts; in a wave only those on which a second witness has agreed.
    fn settle<'a>(
        &mut self,
        refresher: &'a Refresher<'_>,
    ) -> impl Future<Output = Vec<RefreshOutcome>> + Send + use<'a> {
        let is_wave = self.is_wave();
        if is_wave {
            let (refused, taken) = (self.refused, self.taken);
            tracing::error!(refused, taken, "a wave of refusals: none of them counts yet");
        }
        stream::iter(std::mem::take(&mut self.verdicts))
            .map(move |verdict| async move {
                if is_wave && !verdict.is_confirmed {
                    refresher.hold_back(&verdict).await
                } else {
                    refresher.settle(&verdict).await
                }
            })
            .buffer_unordered(SETTLED_AT_ONCE)
            .collect()
    }
}

/// Whether an account lives, or the table does not tell: each that does will be due.
async fn may_have_accounts(clients: &Clients) -> bool {
    stream::iter(schedule::shards().chain([schedule::DELETIONS.to_owned()]))
        .map(|shard| async move { clients.store.oldest_due(&shard, Timestamp::MAX).await })
        .buffer_unordered(usize::from(schedule::DUE_SHARDS))
        .any(|oldest| std::future::ready(!matches!(oldest, Ok(None))))
        .await
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
    let oldest = stream::iter(schedule::shards().chain([schedule::DELETIONS.to_owned()]))
        .map(|shard| async move {
            let oldest = clients.store.oldest_due(&shard, now).await;
            oldest.unwrap_or_else(|_| Some(schedule::add(now, -UNKNOWN_OVERDUE_SECONDS)))
        })
        .buffer_unordered(usize::from(schedule::DUE_SHARDS))
        .filter_map(std::future::ready)
        .fold(now, |oldest, due| std::future::ready(oldest.min(due)))
        .await;
    let seconds = now.as_second().saturating_sub(oldest.as_second());
    seconds.max(0).unsigned_abs()
}
