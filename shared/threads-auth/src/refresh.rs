//! Refreshing: the sweep that keeps every token alive.
//!
//! Owns what follows from each answer of Meta's. Each grant is taken by lease, refreshed and committed by itself; a broken row, a
//! dead token or a failing call concerns that grant only. A grant is declared dead for one reason alone: Meta says so of the
//! token that is stored.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};
use std::time::Duration;

use futures_util::stream::{self, Stream, StreamExt, TryStreamExt};
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use threads_graph::{AccessToken, ErrorKind, LongLivedToken, ReauthorizationCause};
use tokio::time::Instant;

use crate::connect::{expiry, new_grant, persist};
use crate::grant::{Cause, Grant, PendingToken, SealedToken};
use crate::schedule;
use crate::seal::{Purpose, SealError, random, random_text};
use crate::secrets::SecretsError;
use crate::store::{Access, Deferral, DueKey, Lease, LeaseOutcome, Refreshed, StoreError, Wanted, Written};
use crate::vault::Vault;
use crate::{ThreadsAuth, error_chain};

/// A lease outlives the slowest grant: two calls to Meta and the writes.
const LEASE_SECONDS: i64 = 120;

/// So many failures in a row, none of them the token's fault, and the sweep leaves Meta alone until the next one.
const BREAKER: u32 = 20;

/// A row or token that we cannot read is looked at again this much later.
const UNREADABLE_SECONDS: i64 = 6 * 3_600;

/// Meta's "too young" puts a token off for as long as Meta's rule says.
const TOO_YOUNG: SignedDuration = SignedDuration::from_hours(24);

const PAGE: i32 = 100;

/// What became of one due grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Swept {
    /// The token is refreshed and stored.
    Refreshed,
    /// A pending connect is complete.
    Completed,
    /// The short-lived token of a pending connect expired or was refused.
    PendingLost,
    /// Meta says that the token is dead, and the grant is marked.
    NeedsReauthorization(Cause),
    /// It failed for a reason that may pass, and will be tried again.
    Deferred(&'static str),
    /// Its token is not due; Meta was asked about it, and it goes on.
    Checked,
    /// It is younger than 24 hours.
    TooYoung,
    /// Something newer was stored meanwhile.
    Superseded,
    /// Somebody else is at it, or it is no longer due.
    NotOurs,
    /// It was deleted meanwhile.
    Gone,
    /// The row does not make sense.
    BrokenRow,
    /// The token does not open with the keyring.
    Undecryptable,
    /// The store failed. If Meta had answered, only the previous token is kept.
    StoreFailed,
}

impl Swept {
    /// The name in reports, logs and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Refreshed => "refreshed",
            Self::Completed => "completed",
            Self::PendingLost => "pending_lost",
            Self::NeedsReauthorization(_) => "needs_reauthorization",
            Self::Deferred(_) => "deferred",
            Self::Checked => "checked",
            Self::TooYoung => "too_young",
            Self::Superseded => "superseded",
            Self::NotOurs => "not_ours",
            Self::Gone => "gone",
            Self::BrokenRow => "broken_row",
            Self::Undecryptable => "undecryptable",
            Self::StoreFailed => "store_failed",
        }
    }

    /// Whether it speaks against Meta rather than against the grant.
    fn counts_against_meta(self) -> Option<bool> {
        match self {
            Self::Deferred(class) => Some(matches!(class, "transient" | "throttled")),
            Self::Refreshed | Self::Completed | Self::Checked | Self::NeedsReauthorization(_) => Some(false),
            _ => None,
        }
    }
}

/// What a sweep did.
#[derive(Clone, Debug, Default, Serialize)]
pub struct SweepReport {
    /// Grants by outcome.
    pub outcomes: BTreeMap<&'static str, u64>,
    /// For how long the oldest grant that is still due has been waiting, in seconds; 0 when none is.
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

/// Why a sweep ended early.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Stopped {
    /// The function's time was nearly over.
    Deadline,
    /// Meta failed or throttled many calls in a row.
    Threads,
    /// Whoever watched it asked for that.
    Asked,
}

impl SweepReport {
    /// How many grants had this outcome.
    #[must_use]
    pub fn count(&self, outcome: &str) -> u64 {
        self.outcomes.get(outcome).copied().unwrap_or(0)
    }
}

/// Why a sweep could not be made at all.
#[derive(Debug, thiserror::Error)]
pub enum SweepError {
    /// The secrets are not to be had.
    #[error("the sweep has no secrets")]
    Secrets(#[from] SecretsError),
    /// The system has no randomness to give.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// No partition of the due index could be read.
    #[error("the due index could not be read")]
    Unreadable,
}

/// Works on grants one by one, each under a lease of its own: for a sweep, or for one caller who needs a token.
pub(crate) struct Refresher<'a> {
    service: &'a ThreadsAuth,
    pub(crate) vault: Vault,
    owner: String,
    now: Timestamp,
    pub(crate) began: Instant,
    deadline: Instant,
    /// The seconds that are left to the token that ends first.
    weakest: AtomicI64,
}

impl ThreadsAuth {
    /// Looks at every grant that is due at `now`, for at most `budget`.
    ///
    /// # Errors
    /// When there are no secrets to do it with, or nothing could be read. What concerns single grants is in the report.
    pub async fn sweep(&self, now: Timestamp, budget: Duration) -> Result<SweepReport, SweepError> {
        self.sweep_watched(now, budget, |_| ControlFlow::Continue(()))
            .await
    }

    /// The same, and `watch` sees each outcome as it comes. After its `Break` no other grant is begun.
    ///
    /// # Errors
    /// As [`Self::sweep`].
    pub async fn sweep_watched(
        &self,
        now: Timestamp,
        budget: Duration,
        mut watch: impl FnMut(Swept) -> ControlFlow<()>,
    ) -> Result<SweepReport, SweepError> {
        let began = Instant::now();
        let refresher = Refresher::new(self, self.vault(now).await?, now, began, budget)?;
        let mut report = SweepReport::default();
        // What is begun has time for three calls to Meta, each at its timeout, and for the writes.
        let last_start = began + budget.saturating_sub(self.config.work_time());
        let breaker = AtomicU32::new(0);
        let stopped = OnceLock::new();
        let goes_on = || {
            if Instant::now() >= last_start {
                stopped.get_or_init(|| Stopped::Deadline);
            } else if breaker.load(Ordering::Relaxed) >= BREAKER {
                stopped.get_or_init(|| Stopped::Threads);
            }
            stopped.get().is_none()
        };
        // Every partition in turn, so that no one of them starves behind a long one.
        let due = stream::select_all(schedule::shards().map(|shard| Box::pin(self.due_keys(shard, now))));
        let mut swept = due
            .take_while(|_| std::future::ready(goes_on()))
            .map(|key| async {
                match key {
                    Ok(key) => Some(refresher.one(&key, Wanted::Due).await),
                    Err(error) => {
                        tracing::error!(
                            error = error_chain(&error),
                            "a part of the due index could not be read"
                        );
                        None
                    }
                }
            })
            .buffer_unordered(self.config.sweep_concurrency);
        while let Some(outcome) = swept.next().await {
            let Some(outcome) = outcome else {
                report.unreadable_shards += 1;
                continue;
            };
            *report.outcomes.entry(outcome.as_str()).or_default() += 1;
            match outcome.counts_against_meta() {
                Some(true) => _ = breaker.fetch_add(1, Ordering::Relaxed),
                Some(false) => breaker.store(0, Ordering::Relaxed),
                None => {}
            }
            if watch(outcome).is_break() {
                stopped.get_or_init(|| Stopped::Asked);
            }
        }
        drop(swept);
        report.stopped = stopped.get().copied();
        report.weakest_token_days = refresher.weakest_days();
        report.oldest_overdue_seconds = self.oldest_overdue_seconds(refresher.time()).await;
        if report.unreadable_shards >= u32::from(schedule::DUE_SHARDS) {
            return Err(SweepError::Unreadable);
        }
        Ok(report)
    }

    /// How many grants are due at `now`: what a sweep has before it.
    ///
    /// # Errors
    /// When a partition of the due index cannot be read.
    pub async fn count_due(&self, now: Timestamp) -> Result<u64, StoreError> {
        stream::iter(schedule::shards())
            .map(|shard| async move { self.store.count_due(&shard, now).await })
            .buffer_unordered(usize::from(schedule::DUE_SHARDS))
            .try_fold(0, |sum, count| std::future::ready(Ok(sum + count)))
            .await
    }

    fn due_keys(&self, shard: String, now: Timestamp) -> impl Stream<Item = Result<DueKey, StoreError>> + '_ {
        enum Next {
            Page(Option<crate::grant::Item>),
            End,
        }
        stream::unfold((shard, Next::Page(None)), move |(shard, next)| async move {
            let Next::Page(start) = next else { return None };
            let (keys, next) = match self.store.due(&shard, now, PAGE, start).await {
                Ok(page) => {
                    let next = page.next.map_or(Next::End, |start| Next::Page(Some(start)));
                    (page.keys.into_iter().map(Ok).collect(), next)
                }
                Err(error) => (vec![Err(error)], Next::End),
            };
            Some((stream::iter(keys), (shard, next)))
        })
        .flatten()
    }

    async fn oldest_overdue_seconds(&self, now: Timestamp) -> u64 {
        let oldest = stream::iter(schedule::shards())
            .map(|shard| async move { self.store.oldest_due(&shard, now).await.ok().flatten() })
            .buffer_unordered(usize::from(schedule::DUE_SHARDS))
            .filter_map(std::future::ready)
            .fold(now, |oldest, due| std::future::ready(oldest.min(due)))
            .await;
        now.as_second()
            .saturating_sub(oldest.as_second())
            .max(0)
            .unsigned_abs()
    }
}

impl<'a> Refresher<'a> {
    /// Works at `now`, which was at `began`, for at most `budget` from then.
    pub(crate) fn new(
        service: &'a ThreadsAuth,
        vault: Vault,
        now: Timestamp,
        began: Instant,
        budget: Duration,
    ) -> Result<Self, SealError> {
        Ok(Self {
            service,
            vault,
            owner: random_text::<16>()?,
            now,
            began,
            deadline: began + budget,
            weakest: AtomicI64::new(i64::MAX),
        })
    }

    /// Now, while the work goes on.
    pub(crate) fn time(&self) -> Timestamp {
        schedule::add(
            self.now,
            i64::try_from(self.began.elapsed().as_secs()).unwrap_or(0),
        )
    }

    fn lives_until(&self, expires_at: Timestamp) {
        let left = expires_at.as_second() - self.time().as_second();
        self.weakest.fetch_min(left, Ordering::Relaxed);
    }

    fn weakest_days(&self) -> Option<u64> {
        let left = self.weakest.load(Ordering::Relaxed);
        (left < i64::MAX).then(|| u64::try_from(left / 86_400).unwrap_or(0))
    }

    /// Takes the row of `key`, if it is still as `wanted`, and does what it needs.
    pub(crate) async fn one(&self, key: &DueKey, wanted: Wanted) -> Swept {
        let now = self.time();
        let lease = Lease {
            owner: &self.owner,
            until: schedule::add(now, LEASE_SECONDS),
        };
        let outcome = match self.service.store.lease(key, wanted, lease, now).await {
            Ok(LeaseOutcome::Leased(grant)) => self.refresh(&grant, wanted, lease).await,
            Ok(LeaseOutcome::NotOurs) => Ok(Swept::NotOurs),
            Ok(LeaseOutcome::Broken(inconsistency)) => {
                tracing::error!(error = %inconsistency, "a row is broken; the others go on");
                let later = schedule::add(now, UNREADABLE_SECONDS);
                let put_off = self
                    .service
                    .store
                    .defer(
                        key,
                        lease,
                        Deferral {
                            due_at: later,
                            failures: 1,
                            class: Some("broken_row"),
                            warning: None,
                            had_pending: true,
                        },
                        now,
                    )
                    .await;
                put_off.map(|_| Swept::BrokenRow)
            }
            Err(error) => Err(error),
        };
        outcome.unwrap_or_else(|error| {
            tracing::error!(
                key = key.as_str(),
                error = error_chain(&error),
                "the store failed for a grant"
            );
            Swept::StoreFailed
        })
    }

    async fn refresh(&self, grant: &Grant, wanted: Wanted, lease: Lease<'_>) -> Result<Swept, StoreError> {
        if let Some(pending) = &grant.pending {
            return self.complete(grant, pending, lease).await;
        }
        let now = self.time();
        let Some(token) = &grant.token else {
            tracing::error!(user.id = %grant.user_id, "a due grant has no token");
            return self
                .put_off(
                    grant,
                    lease,
                    schedule::add(now, UNREADABLE_SECONDS),
                    "broken_row",
                    Swept::BrokenRow,
                )
                .await;
        };
        if now >= token.expires_at && !grant.expiry_assumed {
            let cause = Cause::Threads(ReauthorizationCause::Expired);
            return self.mark(grant, lease, cause).await;
        }
        let Ok(current) = self
            .vault
            .open(Purpose::AccessToken, &grant.user_id, &token.sealed)
        else {
            tracing::error!(user.id = %grant.user_id, "a token does not open with the keyring");
            let later = schedule::add(now, UNREADABLE_SECONDS);
            return self
                .put_off(grant, lease, later, "undecryptable", Swept::Undecryptable)
                .await;
        };
        if let Wanted::Doubted(_) = wanted {
            return self.confirm(grant, token, &current, lease).await;
        }
        let ended = grant.data_access_expires_at.is_some_and(|end| end <= now);
        let token_due = schedule::due_at(&grant.user_id, token.issued_at, token.expires_at);
        if ended || (wanted == Wanted::Due && now < token_due) {
            return self.check(grant, token, &current, lease).await;
        }
        let old_enough = token.issued_at.saturating_add(schedule::MIN_AGE).unwrap_or(now);
        if now < old_enough {
            let key = DueKey::of(&grant.user_id);
            let store = &self.service.store;
            if wanted == Wanted::Due {
                let deferral = Deferral {
                    due_at: old_enough,
                    failures: grant.failures,
                    class: None,
                    warning: None,
                    had_pending: false,
                };
                store.defer(&key, lease, deferral, now).await?;
            } else {
                store.release(&key, lease).await?;
            }
            return Ok(Swept::TooYoung);
        }
        match self.service.graph.refresh(&current).await {
            Ok(new) => self.store(grant, &current, &new, now).await,
            Err(error) => self.refused(grant, token, lease, error).await,
        }
    }

    /// Asks Meta about a token of which somebody says that Meta refuses it. Their word alone changes nothing.
    async fn confirm(
        &self,
        grant: &Grant,
        token: &SealedToken,
        current: &AccessToken,
        lease: Lease<'_>,
    ) -> Result<Swept, StoreError> {
        let outcome = match self.service.graph.me(current).await {
            Ok(_) => Swept::Checked,
            Err(error) if matches!(error.kind(), ErrorKind::NeedsReauthorization(_)) => {
                return self.refused(grant, token, lease, error).await;
            }
            Err(error) => {
                tracing::warn!(user.id = %grant.user_id, error = error_chain(&error), "a doubted token could not be looked at");
                Swept::Deferred(error.kind().as_str())
            }
        };
        let result = self
            .service
            .store
            .release(&DueKey::of(&grant.user_id), lease)
            .await?;
        Ok(written(result, outcome))
    }

    /// What follows when Meta refuses the current token, or fails.
    async fn refused(
        &self,
        grant: &Grant,
        token: &SealedToken,
        lease: Lease<'_>,
        mut error: threads_graph::Error,
    ) -> Result<Swept, StoreError> {
        // Meta may never have made the current token valid; the one before it is kept for this.
        if *error.kind() == ErrorKind::NeedsReauthorization(ReauthorizationCause::Invalid)
            && let Some(previous) = self.previous(grant)
        {
            let asked_at = self.time();
            match self.service.graph.refresh(&previous).await {
                Ok(new) => return self.store(grant, &previous, &new, asked_at).await,
                // No answer about the previous token must not bury both.
                Err(second) if second.kind().is_retryable() => error = second,
                Err(_) => {}
            }
        }
        self.failed(grant, token, lease, &error).await
    }

    /// Looks at the end of data access: it moved, it comes near, or it is there. Only Meta's word ends a grant.
    async fn check(
        &self,
        grant: &Grant,
        token: &SealedToken,
        current: &AccessToken,
        lease: Lease<'_>,
    ) -> Result<Swept, StoreError> {
        let (graph, now) = (&self.service.graph, self.time());
        let is_over = |end: Option<Timestamp>| end.is_some_and(|end| end <= now);
        let told = self.service.access(current).await;
        if told.is_none() && is_over(grant.data_access_expires_at) {
            // Then a call with the token tells: whether it is refused for this, or is answered after all.
            match graph.me(current).await {
                Err(error) if *error.kind() == ErrorKind::Permission => {
                    return self.mark(grant, lease, Cause::DataAccessExpired).await;
                }
                Err(error) => return self.failed(grant, token, lease, &error).await,
                Ok(_) => {}
            }
        } else if told
            .as_ref()
            .is_some_and(|told| is_over(told.data_access_expires_at))
        {
            return self.mark(grant, lease, Cause::DataAccessExpired).await;
        }
        let access = told.unwrap_or_else(|| Access {
            scopes: grant.scopes.clone(),
            // What Meta's own answer has just disproved is forgotten.
            data_access_expires_at: grant.data_access_expires_at.filter(|end| *end > now),
        });
        let result = self
            .store_access(grant, token.issued_at, token.expires_at, &access)
            .await?;
        self.lives_until(token.expires_at);
        Ok(written(result, Swept::Checked))
    }

    async fn store_access(
        &self,
        grant: &Grant,
        issued_at: Timestamp,
        expires_at: Timestamp,
        access: &Access,
    ) -> Result<Written, StoreError> {
        let (now, end) = (self.time(), access.data_access_expires_at);
        let token_due = schedule::due_at(&grant.user_id, issued_at, expires_at);
        let due_at = schedule::next_look(token_due, end, now);
        let warning = schedule::warning(expires_at, end, now);
        self.service
            .store
            .store_access(grant, expires_at, access, due_at, warning, now)
            .await
    }

    /// What follows from a refusal or failure of Meta's.
    async fn failed(
        &self,
        grant: &Grant,
        token: &SealedToken,
        lease: Lease<'_>,
        error: &threads_graph::Error,
    ) -> Result<Swept, StoreError> {
        tracing::warn!(user.id = %grant.user_id, failures = grant.failures, error = error_chain(error), "a token was not refreshed");
        let now = self.time();
        let retry_after = match error.kind() {
            ErrorKind::NeedsReauthorization(cause) => {
                return self.mark(grant, lease, Cause::Threads(*cause)).await;
            }
            ErrorKind::TooYoung => {
                let later = now.saturating_add(TOO_YOUNG).unwrap_or(now).min(token.expires_at);
                return self
                    .put_off(grant, lease, later, "too_young", Swept::TooYoung)
                    .await;
            }
            ErrorKind::Throttled { retry_after } => *retry_after,
            ErrorKind::Transient
            | ErrorKind::Malformed
            | ErrorKind::Permission
            | ErrorKind::Configuration(_)
            | ErrorKind::CodeUnusable
            | ErrorKind::Rejected => None,
        };
        let later = schedule::retry_at(
            now,
            token.expires_at,
            grant.failures + 1,
            retry_after,
            random_number(),
        );
        let class = error.kind().as_str();
        self.put_off(grant, lease, later, class, Swept::Deferred(class))
            .await
    }

    async fn complete(
        &self,
        grant: &Grant,
        pending: &PendingToken,
        lease: Lease<'_>,
    ) -> Result<Swept, StoreError> {
        let now = self.time();
        let opened = self
            .vault
            .open(Purpose::PendingToken, &grant.user_id, &pending.sealed);
        let (Ok(short), true) = (opened, now < pending.expires_at) else {
            return self.drop_pending(grant, pending, now).await;
        };
        let service = self.service;
        let long = match service
            .graph
            .exchange_long_lived(&self.vault.app.app_secret, &short)
            .await
        {
            Ok(long) => long,
            Err(error) if matches!(error.kind(), ErrorKind::NeedsReauthorization(_)) => {
                tracing::warn!(user.id = %grant.user_id, error = error_chain(&error), "a pending connect is lost");
                return self.drop_pending(grant, pending, now).await;
            }
            Err(error) => {
                tracing::warn!(user.id = %grant.user_id, error = error_chain(&error), "a pending connect is not complete yet");
                let later = schedule::retry_pending_at(now, random_number());
                let class = error.kind().as_str();
                return self
                    .put_off(grant, lease, later, class, Swept::Deferred(class))
                    .await;
            }
        };
        let told = service.told(&long.access_token, &pending.scopes).await;
        let Ok(grant_id) = random_text::<16>() else {
            return Ok(Swept::StoreFailed);
        };
        let Ok(new) = new_grant(&self.vault, &grant.user_id, &grant_id, &long, &told, now) else {
            return Ok(Swept::StoreFailed);
        };
        let write = || service.store.complete_pending(&new, &pending.sealed, self.time());
        Ok(written(persist(self.deadline, write).await?, Swept::Completed))
    }

    async fn drop_pending(
        &self,
        grant: &Grant,
        pending: &PendingToken,
        now: Timestamp,
    ) -> Result<Swept, StoreError> {
        // A grant that was alive before the failed reconnect goes on as it was.
        let alive = grant
            .token
            .as_ref()
            .filter(|_| grant.status == crate::grant::Status::Active);
        let due_at = alive.map(|token| {
            let token_due = schedule::due_at(&grant.user_id, token.issued_at, token.expires_at);
            schedule::next_look(token_due, grant.data_access_expires_at, now)
        });
        let result = self
            .service
            .store
            .drop_pending(grant, &pending.sealed, due_at, now)
            .await?;
        Ok(written(result, Swept::PendingLost))
    }

    /// Stores what Meta has just issued, until it is stored or the function's time is over.
    async fn store(
        &self,
        grant: &Grant,
        used: &AccessToken,
        new: &LongLivedToken,
        issued_at: Timestamp,
    ) -> Result<Swept, StoreError> {
        let user_id = &grant.user_id;
        let sealed = self.vault.seal(Purpose::AccessToken, user_id, &new.access_token);
        let previous = self.vault.seal(Purpose::PreviousToken, user_id, used);
        let (Ok(sealed), Ok(previous)) = (sealed, previous) else {
            return Ok(Swept::StoreFailed);
        };
        let expires_at = expiry(issued_at, new);
        let token_due = schedule::due_at(user_id, issued_at, expires_at);
        let refreshed = Refreshed {
            sealed: &sealed,
            previous: &previous,
            issued_at,
            expires_at,
            due_at: schedule::next_look(token_due, grant.data_access_expires_at, issued_at),
            warning: schedule::warning(expires_at, grant.data_access_expires_at, issued_at),
        };
        let write = || self.service.store.store_refreshed(grant, refreshed, self.time());
        let result = persist(self.deadline, write).await?;
        self.lives_until(expires_at);
        // The token is safe. What else there is to know of it can wait, if it must.
        if result == Written::Stored
            && Instant::now() + self.service.config.extras_time() < self.deadline
            && let Some(access) = self.service.access(&new.access_token).await
            && (access.scopes != grant.scopes
                || access.data_access_expires_at != grant.data_access_expires_at)
            && let Err(error) = self.store_access(grant, issued_at, expires_at, &access).await
        {
            tracing::warn!(user.id = %user_id, error = error_chain(&error), "what Meta told of a grant was not stored");
        }
        Ok(written(result, Swept::Refreshed))
    }

    async fn mark(&self, grant: &Grant, lease: Lease<'_>, cause: Cause) -> Result<Swept, StoreError> {
        let result = self
            .service
            .store
            .needs_reauthorization(grant, lease, cause, self.time())
            .await?;
        Ok(written(result, Swept::NeedsReauthorization(cause)))
    }

    async fn put_off(
        &self,
        grant: &Grant,
        lease: Lease<'_>,
        until: Timestamp,
        class: &str,
        outcome: Swept,
    ) -> Result<Swept, StoreError> {
        let (key, now) = (DueKey::of(&grant.user_id), self.time());
        let mut warning = None;
        if let Some(token) = &grant.token {
            self.lives_until(token.expires_at);
            warning = schedule::warning(token.expires_at, grant.data_access_expires_at, now);
        }
        let deferral = Deferral {
            due_at: until,
            failures: grant.failures + 1,
            class: Some(class),
            warning: warning.filter(|warning| grant.warning != Some(*warning)),
            had_pending: grant.pending.is_some(),
        };
        let result = self.service.store.defer(&key, lease, deferral, now).await?;
        Ok(written(result, outcome))
    }

    fn previous(&self, grant: &Grant) -> Option<AccessToken> {
        let sealed = grant.previous_token.as_deref()?;
        self.vault
            .open(Purpose::PreviousToken, &grant.user_id, sealed)
            .ok()
    }
}

fn written(result: Written, stored: Swept) -> Swept {
    match result {
        Written::Stored => stored,
        Written::Superseded => Swept::Superseded,
        Written::Gone => Swept::Gone,
    }
}

/// Jitter. Without randomness it is none, and the backoff alone spreads the load.
fn random_number() -> u64 {
    random::<8>().map_or(0, u64::from_be_bytes)
}
