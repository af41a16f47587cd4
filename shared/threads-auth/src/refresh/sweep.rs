//! The sweep that keeps every token alive.
//! Owns the choice of grants, their concurrency and the end of a sweep. Each grant is leased,
//! refreshed and committed by itself, so a broken row, a dead token or a failing call concerns that
//! grant only.

use std::collections::{BTreeMap, VecDeque};
use std::ops::ControlFlow;
use std::pin::pin;
use std::sync::OnceLock;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use futures_util::stream::{self, FuturesUnordered, StreamExt, TryStreamExt};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use threads_auth_model::rules::LeaseReason;
use threads_auth_model::schedule::Part;
use threads_auth_model::seal::SealError;
use threads_auth_model::{Key, Pause, error_chain, schedule};
use threads_auth_store::{QUERIES_AT_ONCE, SecretsError, StoreError};

use super::attempt::{Answer, Attempt, Trend, Trial, Verdict};
use super::catch_up::{self, may_wait};
use super::outcome::RefreshOutcome;
use super::pace::{Admission, Stored};
use super::refresher::{Refresher, UNKNOWN_OVERDUE_SECONDS};
use crate::clients::Clients;
use crate::drift;
use crate::stopwatch::Stopwatch;

/// Circuit breaker: after this many consecutive failures that are Meta's, stop the sweep.
const BREAKER: u32 = 20;

/// A wave: Meta refuses at least this many tokens, and more than it accepts. People remove an app
/// one by one, so a fleet loses a few percent of its accounts each month. If most due tokens are
/// refused, the fault is Meta's or the app's. In a small fleet a few refusals are normal.
const WAVE: u64 = 10;

/// Maximum number of pending verdicts. They wait for the end of the sweep, or until there are this
/// many: by then a wave would be known.
const MAX_PENDING_VERDICTS: usize = 1_000;
const SETTLED_AT_ONCE: usize = 16;

/// Maximum number of new tokens that wait for their trial. Any other is tried by the next call with
/// it.
const MAX_TRIALS: usize = 1_000;

/// Maximum number of rows in one DynamoDB batch read, and of such reads in flight.
const LOOKED_AT_ONCE: usize = 100;
const LOOKS: usize = 4;

/// Calls to Meta are counted in blocks of this size, since each count is a write.
const COUNTED_AT_ONCE: u64 = 1_000;

/// The result of a sweep.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct SweepReport {
    /// Grants by outcome.
    pub outcomes: BTreeMap<RefreshOutcome, u64>,
    /// Longest delay of a due refresh, in seconds; 0 if none is due. A refresh that failed and was
    /// deferred counts too, and an unreadable row counts as 60 days. Those that the sweep has
    /// `left` do not count.
    pub oldest_overdue_seconds: u64,
    /// Number of due tokens that live for more than ten days, and that are left for later sweeps,
    /// after an outage or in a wave of refusals.
    #[serde(skip_serializing_if = "is_zero")]
    pub left: u64,
    /// Whole days until the first token expires, of those processed and still alive.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weakest_token_days: Option<u64>,
    /// True if Meta refused so many tokens that the refusals do not count.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub wave: bool,
    /// The pause that an operator has set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub paused: Option<Pause>,
    /// Number of inspections that Meta refused to every caller, if any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused_inspections: Option<u64>,
    /// Drift of Meta's API, a sentence each, if this sweep has checked for it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub drift: Vec<String>,
    /// Reason for ending before all due grants were processed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stopped: Option<Stopped>,
    /// Number of partitions of the due index that could not be read. Their grants wait for the next
    /// sweep.
    pub unreadable_shards: u32,
    /// Error of the last of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unreadable_because: Option<String>,
}

threads_graph::names! {
    /// Reason for ending a sweep early.
    pub enum Stopped {
        /// The function's time was nearly over.
        Deadline => "deadline",
        /// The circuit breaker opened: Meta failed or throttled many consecutive calls.
        Threads => "threads",
        /// The caller requested the end.
        Asked => "asked",
        /// An operator has paused the sweeps.
        Paused => "paused",
        /// The hour's budget of calls to Meta was spent.
        Budget => "budget",
        /// The store failed and stayed down.
        Store => "store",
        /// The secrets have no value yet.
        Unconfigured => "unconfigured",
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl SweepReport {
    /// Returns the number of grants with this outcome.
    #[must_use]
    pub fn count(&self, outcome: RefreshOutcome) -> u64 {
        self.outcomes.get(&outcome).copied().unwrap_or(0)
    }
}

/// Error of a sweep as a whole.
#[derive(Debug, thiserror::Error)]
pub enum SweepError {
    /// A secret has no value, and no account lives that would show that it had one.
    #[error("nobody has configured the stack yet")]
    Unconfigured(#[source] SecretsError),
    /// The secrets could not be read.
    #[error("the sweep has no secrets")]
    Secrets(#[from] SecretsError),
    /// The system's random generator failed.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// No partition of the due index could be read. This is the last error.
    #[error(transparent)]
    Unreadable(StoreError),
}

impl SweepError {
    /// Returns true if the stack is not configured yet, which is not a failure of the sweep.
    #[must_use]
    pub fn is_unconfigured(&self) -> bool {
        matches!(self, Self::Unconfigured(_))
    }
}

/// Processes every grant of `part` that is due at `now`, for at most `budget`. `watch` receives
/// each outcome. After its `Break` no other grant is begun.
pub(crate) async fn sweep(
    clients: &Clients,
    part: Part,
    now: Timestamp,
    budget: Duration,
    watch: impl FnMut(RefreshOutcome) -> ControlFlow<()>,
) -> Result<SweepReport, SweepError> {
    let time = Stopwatch::start(now, budget);
    let vault = match clients.vault(now).await {
        // A stack with accounts has had secrets. They were lost, which is a failure.
        Err(error) if error.is_unwritten() && !may_have_accounts(clients).await => {
            return Err(SweepError::Unconfigured(error));
        }
        vault => vault?,
    };
    let mut refresher = Refresher::new(clients, vault, time)?;
    refresher.ends_unclaimed = true;
    let pause = clients.store.pause().await.unwrap_or_else(|error| {
        tracing::error!(error = error_chain(&error), "the pause could not be read: the sweep continues");
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
    let are_deletions_seen = finish_deletions(&refresher, now, &mut report).await;
    let unreadable = process_due(&refresher, part, now, &stopped, &mut report, watch).await;
    clients.count_calls(1, time.now()).await;
    let refused = clients.callers.refused() - refused_before;
    report.refused_inspections = (refused > 0).then_some(refused);
    report.stopped = stopped.get().copied();
    report.weakest_token_days = refresher.weakest_days();
    // A sweep that has seen all due grants knows that the others wait on purpose, and has counted
    // the delay of those that it leaves due. A sweep of a part looks at the others, too: nobody may
    // sweep them.
    let has_seen_all = report.stopped.is_none() && unreadable.is_none();
    let is_settled = part.is_whole()
        && has_seen_all
        && are_deletions_seen
        && !report.outcomes.keys().any(|outcome| outcome.may_stay_due());
    let waiting = if is_settled {
        0
    } else {
        oldest_overdue_seconds(clients, report.left > 0 && has_seen_all, time.now()).await
    };
    report.oldest_overdue_seconds = refresher.overdue_seconds().max(waiting);
    report.unreadable_because = unreadable.as_ref().map(|error| error_chain(error));
    match unreadable {
        Some(error) if report.unreadable_shards as usize >= part.shards().count() => {
            Err(SweepError::Unreadable(error))
        }
        _ => Ok(report),
    }
}

/// Continues interrupted deletions, in spite of a pause or a spent budget of calls. Returns true if
/// time was left for all of them.
async fn finish_deletions(refresher: &Refresher<'_>, now: Timestamp, report: &mut SweepReport) -> bool {
    let (clients, time) = (refresher.clients, refresher.time);
    let mut due = pin!(clients.store.due(schedule::DELETIONS, now));
    while time.leaves(clients.config.work_time()) {
        let Some(key) = due.next().await else { return true };
        let outcome = match key {
            Ok(key) => refresher.deletion(&key, now).await,
            Err(error) => {
                tracing::error!(error = error_chain(&error), "the unfinished deletions could not be read");
                RefreshOutcome::StoreFailed
            }
        };
        *report.outcomes.entry(outcome).or_default() += 1;
    }
    false
}

/// Processes every grant of `part` that is due at `now`, and fills the report. Returns the last
/// error of reading the due index, if there was one.
async fn process_due(
    refresher: &Refresher<'_>,
    part: Part,
    now: Timestamp,
    stopped: &OnceLock<Stopped>,
    report: &mut SweepReport,
    mut watch: impl FnMut(RefreshOutcome) -> ControlFlow<()>,
) -> Option<StoreError> {
    let clients = refresher.clients;
    let mut due = pin!(clients.store.due_in_turn(part, now));
    let process = async |key: Key, may_be_left| {
        if may_be_left
            && let Ok(Some(grant)) = clients.store.grant_at(&key).await
            && may_wait(&grant, now)
        {
            return None;
        }
        let mut attempt = refresher.one(&key, LeaseReason::Due).await;
        if let Some(verdict) = &attempt.verdict {
            attempt.failure = refresher.mark(verdict).await.err();
        }
        Some(attempt)
    };
    let mut round = Round::new(refresher, part, stopped);
    let mut attempts = FuturesUnordered::new();
    let (mut next, mut is_all_read, mut is_all_seen) = (None, false, false);
    // Keys of rows to be read together, since most of these grants can wait.
    let mut unseen = Vec::new();
    let mut unreadable = None;
    loop {
        let mut pause = None;
        next = next.or_else(|| round.urgent.pop_front());
        if next.is_some() {
            match round.admit(attempts.len()) {
                Admission::Now => {
                    let may_be_left = round.begin();
                    attempts.extend(next.take().map(|key| process(key, may_be_left)));
                }
                Admission::Wait(longest) => pause = longest,
                Admission::Never => {
                    stopped.get_or_init(|| Stopped::Store);
                    (next, is_all_read) = (None, true);
                    unseen.clear();
                    round.urgent.clear();
                }
            }
        }
        if unseen.len() >= LOOKED_AT_ONCE || (is_all_read && !unseen.is_empty()) {
            let keys = std::mem::take(&mut unseen);
            if round.is_over() {
                is_all_read = true;
            } else {
                round.look(keys, now);
            }
        }
        let is_idle = next.is_none() && attempts.is_empty() && round.looks == 0;
        if is_all_read && is_idle && !is_all_seen {
            // Verdicts need not wait for the last trials.
            is_all_seen = true;
            round.settle();
        }
        round.begin_trials();
        let mut outcomes = Vec::new();
        tokio::select! {
            Some(done) = round.beside.next() => match done {
                Beside::Done => {}
                Beside::Settled(settled) => outcomes = settled,
                Beside::Quota(found) => round.quota = Quota::Known(found),
                Beside::Looked(looked) => {
                    round.looks -= 1;
                    report.left += looked.left;
                    round.urgent.extend(looked.urgent);
                }
            },
            key = due.next(), if next.is_none() && !is_all_read && round.looks < LOOKS => match key {
                Some(Ok(key)) if round.is_full() => unseen.push(key),
                Some(Ok(key)) => next = Some(key),
                Some(Err(error)) => {
                    tracing::error!(error = error_chain(&error), "a part of the due index could not be read");
                    report.unreadable_shards += 1;
                    unreadable = Some(error);
                }
                None => is_all_read = true,
            },
            () = refresher.pace.closed(), if next.is_some() => {}
            () = tokio::time::sleep(pause.unwrap_or_default()), if pause.is_some() => {}
            Some(attempt) = attempts.next() => match attempt {
                None => {
                    round.end(Stored::Nothing, None);
                    report.left += 1;
                }
                Some(attempt) => outcomes.extend(round.record(attempt)),
            },
            else => break,
        }
        for outcome in outcomes {
            *report.outcomes.entry(outcome).or_default() += 1;
            if watch(outcome).is_break() {
                stopped.get_or_init(|| Stopped::Asked);
            }
        }
    }
    report.wave = round.pending.is_wave();
    unreadable
}

/// The state of a sweep over its due grants.
struct Round<'a> {
    refresher: &'a Refresher<'a>,
    part: Part,
    stopped: &'a OnceLock<Stopped>,
    /// Number of consecutive failures that are Meta's.
    breaker: u32,
    /// Number of refreshes that were begun.
    begun: u64,
    quota: Quota,
    /// Number of batch reads in flight, of grants that may be left to a later sweep.
    looks: usize,
    /// Keys of rows that have been read, and whose grants cannot wait.
    urgent: VecDeque<Key>,
    pending: PendingVerdicts,
    trials: VecDeque<Trial>,
    /// Slow extra work runs concurrently with the refreshes. The refreshes are polled all the time:
    /// otherwise one could miss Meta's response, and lose the token in it.
    beside: FuturesUnordered<BoxFuture<'a, Beside>>,
}

impl<'a> Round<'a> {
    fn new(refresher: &'a Refresher<'a>, part: Part, stopped: &'a OnceLock<Stopped>) -> Self {
        Self {
            refresher,
            part,
            stopped,
            breaker: 0,
            begun: 0,
            quota: Quota::Unknown,
            looks: 0,
            urgent: VecDeque::new(),
            pending: PendingVerdicts::default(),
            trials: VecDeque::new(),
            beside: FuturesUnordered::new(),
        }
    }

    /// Returns true if no other grant may begin, and records the reason.
    fn is_over(&self) -> bool {
        let (clients, time, pace) = (self.refresher.clients, self.refresher.time, &self.refresher.pace);
        // A grant is begun only with time left for its calls to Meta and its writes.
        if !time.leaves(clients.config.work_time()) {
            self.stopped.get_or_init(|| if pace.is_failing() { Stopped::Store } else { Stopped::Deadline });
        } else if clients.are_calls_spent(time.now()) {
            self.stopped.get_or_init(|| Stopped::Budget);
        } else if self.breaker >= BREAKER {
            self.stopped.get_or_init(|| Stopped::Threads);
        }
        self.stopped.get().is_some()
    }

    /// Decides if another grant is begun beside those in flight, or ends the sweep.
    fn admit(&self, in_flight: usize) -> Admission {
        let Refresher { clients, time, pace, .. } = self.refresher;
        match (self.is_over(), self.quota) {
            (true, _) => Admission::Never,
            (false, Quota::Counting) if self.begun >= clients.config.sweep_least => Admission::Wait(None),
            (false, _) => pace.admit(in_flight, time.elapsed()),
        }
    }

    /// Returns true if a further grant may be left: enough refreshes have begun, or there is a
    /// wave, in which each further refusal would only make one more token suspected.
    fn is_full(&self) -> bool {
        self.pending.is_wave() || matches!(self.quota, Quota::Known(quota) if self.begun >= quota)
    }

    /// Begins to read rows whose grants may be left.
    fn look(&mut self, keys: Vec<Key>, now: Timestamp) {
        self.looks += 1;
        self.beside.push(catch_up::look(self.refresher.clients, keys, now).map(Beside::Looked).boxed());
    }

    /// Counts a refresh that begins. Returns true if it may be left for a later sweep.
    fn begin(&mut self) -> bool {
        let clients = self.refresher.clients;
        let may_be_left = self.is_full();
        self.begun += 1;
        // The count starts early, so that its result is known in time and no grant has to wait for
        // it.
        let soon = self.begun.saturating_add(clients.config.sweep_concurrency as u64);
        if self.quota == Quota::Unknown && soon >= clients.config.sweep_least {
            self.quota = Quota::Counting;
            self.beside.push(catch_up::quota(clients, self.part).map(Beside::Quota).boxed());
        }
        may_be_left
    }

    /// Records the end of a grant, which was refreshed if it has such an outcome.
    fn end(&mut self, stored: Stored, outcome: Option<RefreshOutcome>) {
        self.refresher.pace.ended(stored, self.refresher.time.elapsed());
        self.begun -= u64::from(!outcome.is_some_and(RefreshOutcome::is_of_refresh));
    }

    /// Records an attempt. Returns its outcome, if that is not pending.
    fn record(&mut self, attempt: Attempt) -> Option<RefreshOutcome> {
        let (clients, now) = (self.refresher.clients, self.refresher.time.now());
        self.end(attempt.stored(), Some(attempt.outcome));
        match attempt.answer {
            Answer::Trouble => self.breaker += 1,
            Answer::Healthy => self.breaker = 0,
            Answer::Refused | Answer::Nothing => {}
        }
        self.pending.count(attempt.answer);
        if clients.config.graph_calls_per_hour.is_some() {
            let counted = clients.count_calls(COUNTED_AT_ONCE, now);
            self.beside.push(counted.map(|()| Beside::Done).boxed());
        }
        if let Some(trial) = attempt.trial
            && self.trials.len() < MAX_TRIALS
            && !clients.are_calls_scarce(now)
        {
            self.trials.push_back(*trial);
        }
        let Some(verdict) = attempt.verdict else { return Some(attempt.outcome) };
        self.pending.verdicts.push(*verdict);
        if self.pending.verdicts.len() >= MAX_PENDING_VERDICTS {
            self.settle();
        }
        None
    }

    /// Begins to carry out the pending verdicts.
    fn settle(&mut self) {
        self.beside.push(self.pending.settle(self.refresher).map(Beside::Settled).boxed());
    }

    fn begin_trials(&mut self) {
        let (refresher, clients) = (self.refresher, self.refresher.clients);
        while self.beside.len() < clients.config.sweep_concurrency
            && let Some(trial) = self.trials.pop_front()
        {
            let tried = async move {
                // A trial that would outlast the function is skipped: the next call with the token
                // will show its state.
                if refresher.time.leaves(clients.config.extras_time()) {
                    refresher.try_out(&trial).await;
                }
                Beside::Done
            };
            self.beside.push(tried.boxed());
        }
    }
}

/// The number of refreshes after which a sweep leaves what can wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Quota {
    /// Few refreshes have begun, and none is left yet.
    Unknown,
    /// The accounts are being counted.
    Counting,
    Known(u64),
}

/// The result of work beside the refreshes.
enum Beside {
    Done,
    /// Verdicts were carried out, with these outcomes.
    Settled(Vec<RefreshOutcome>),
    /// After this many refreshes the sweep leaves what can wait.
    Quota(u64),
    /// Rows were read, to leave those that can wait.
    Looked(catch_up::Looked),
}

/// The pending verdicts of a sweep, and the counts that reveal a wave.
#[derive(Default)]
struct PendingVerdicts {
    verdicts: Vec<Verdict>,
    refused: u64,
    taken: u64,
}

impl PendingVerdicts {
    fn count(&mut self, answer: Answer) {
        match answer {
            Answer::Refused => self.refused += 1,
            Answer::Healthy => self.taken += 1,
            Answer::Trouble | Answer::Nothing => {}
        }
    }

    fn is_wave(&self) -> bool {
        self.refused >= WAVE && self.refused > self.taken
    }

    fn trend(&self) -> Trend {
        if self.is_wave() {
            Trend::Refusing
        } else if self.taken > self.refused {
            Trend::Accepting
        } else {
            Trend::Unknown
        }
    }

    /// Carries out the verdicts that count.
    fn settle<'a>(
        &mut self,
        refresher: &'a Refresher<'_>,
    ) -> impl Future<Output = Vec<RefreshOutcome>> + Send + use<'a> {
        let trend = self.trend();
        if trend == Trend::Refusing {
            let (refused, taken) = (self.refused, self.taken);
            tracing::error!(refused, taken, "a wave of refusals: none of them counts yet");
        }
        stream::iter(std::mem::take(&mut self.verdicts))
            .map(move |verdict| async move { refresher.decide(&verdict, trend).await })
            .buffer_unordered(SETTLED_AT_ONCE)
            .collect()
    }
}

/// Returns true if there is a live account, or if the table does not respond. Every live account
/// has a due time.
async fn may_have_accounts(clients: &Clients) -> bool {
    stream::iter(schedule::shards().chain([schedule::DELETIONS.to_owned()]))
        .map(|shard| async move { clients.store.oldest_due(&shard, Timestamp::MAX).await })
        .buffer_unordered(QUERIES_AT_ONCE)
        .any(|oldest| std::future::ready(!matches!(oldest, Ok(None))))
        .await
}

/// Returns the number of grants that are due at `now`.
pub(crate) async fn count_due(clients: &Clients, now: Timestamp) -> Result<u64, StoreError> {
    stream::iter(schedule::shards())
        .map(|shard| async move { clients.store.count_due(&shard, now).await })
        .buffer_unordered(usize::from(schedule::DUE_SHARDS))
        .try_fold(0, |sum, count| std::future::ready(Ok(sum + count)))
        .await
}

/// Returns the delay of the deletion or grant that has been due longest. If the remaining grants
/// `are_left` for later, only deletions count.
async fn oldest_overdue_seconds(clients: &Clients, are_left: bool, now: Timestamp) -> u64 {
    let shards = schedule::shards().filter(|_| !are_left).chain([schedule::DELETIONS.to_owned()]);
    let oldest = stream::iter(shards)
        .map(|shard| async move {
            let oldest = clients.store.oldest_due(&shard, now).await;
            oldest.unwrap_or_else(|_| Some(schedule::add(now, -UNKNOWN_OVERDUE_SECONDS)))
        })
        .buffer_unordered(QUERIES_AT_ONCE)
        .filter_map(std::future::ready)
        .fold(now, |oldest, due| std::future::ready(oldest.min(due)))
        .await;
    let seconds = now.as_second().saturating_sub(oldest.as_second());
    seconds.max(0).unsigned_abs()
}
