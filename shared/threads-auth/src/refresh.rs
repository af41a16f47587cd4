//! Refreshing: the sweep that keeps every token alive.
//!
//! Owns what follows from each answer of Meta's. Each grant is taken by lease, refreshed and committed by itself; a broken row, a
//! dead token or a failing call concerns that grant only. A grant is declared dead for one reason alone: Meta says so of the
//! token that is stored.

use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use futures_util::stream::{self, Stream, StreamExt};
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use threads_graph::{AccessToken, ErrorKind, LongLivedToken, ReauthorizationCause};
use tokio::time::Instant;

use crate::connect::{expiry, new_grant, persist};
use crate::grant::{Cause, Grant, PendingToken, SealedToken};
use crate::schedule;
use crate::seal::{Purpose, SealError, random, random_text};
use crate::secrets::SecretsError;
use crate::store::{DueKey, Lease, LeaseOutcome, Refreshed, StoreError, Written};
use crate::vault::Vault;
use crate::{ThreadsAuth, error_chain};

/// A lease outlives the slowest grant: two calls to Meta and the writes.
const LEASE_SECONDS: i64 = 120;

/// No grant is begun when less than this is left: enough for two calls to Meta, each at its timeout, and the write.
const RESERVE: Duration = Duration::from_secs(15);

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
            Self::Refreshed | Self::Completed | Self::NeedsReauthorization(_) => Some(false),
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

/// What every grant of one sweep shares.
struct Sweep<'a> {
    service: &'a ThreadsAuth,
    vault: Vault,
    owner: String,
    now: Timestamp,
    began: Instant,
    deadline: Instant,
}

impl ThreadsAuth {
    /// Looks at every grant that is due at `now`, for at most `budget`.
    ///
    /// # Errors
    /// When there are no secrets to do it with, or nothing could be read. What concerns single grants is in the report.
    pub async fn sweep(&self, now: Timestamp, budget: Duration) -> Result<SweepReport, SweepError> {
        let began = Instant::now();
        let sweep = Sweep {
            service: self,
            vault: self.vault(now).await?,
            owner: random_text::<16>()?,
            now,
            began,
            deadline: began + budget,
        };
        let mut report = SweepReport::default();
        let last_start = began + budget.saturating_sub(RESERVE);
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
                    Ok(key) => Some(sweep.one(&key).await),
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
        }
        drop(swept);
        report.stopped = stopped.get().copied();
        report.oldest_overdue_seconds = self.oldest_overdue_seconds(sweep.time()).await;
        if report.unreadable_shards >= u32::from(schedule::DUE_SHARDS) {
            return Err(SweepError::Unreadable);
        }
        Ok(report)
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

impl Sweep<'_> {
    /// Now, while the sweep goes on.
    fn time(&self) -> Timestamp {
        schedule::add(
            self.now,
            i64::try_from(self.began.elapsed().as_secs()).unwrap_or(0),
        )
    }

    async fn one(&self, key: &DueKey) -> Swept {
        let now = self.time();
        let lease = Lease {
            owner: &self.owner,
            until: schedule::add(now, LEASE_SECONDS),
        };
        let outcome = match self.service.store.lease(key, lease, now).await {
            Ok(LeaseOutcome::Leased(grant)) => self.refresh(&grant, lease).await,
            Ok(LeaseOutcome::NotOurs) => Ok(Swept::NotOurs),
            Ok(LeaseOutcome::Broken(inconsistency)) => {
                tracing::error!(error = %inconsistency, "a row is broken; the sweep goes on");
                let later = schedule::add(now, UNREADABLE_SECONDS);
                let put_off = self
                    .service
                    .store
                    .defer(key, lease, later, 1, Some("broken_row"))
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

    async fn refresh(&self, grant: &Grant, lease: Lease<'_>) -> Result<Swept, StoreError> {
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
        if now >= token.expires_at {
            return self.mark(grant, lease, ReauthorizationCause::Expired).await;
        }
        let old_enough = token.issued_at.saturating_add(schedule::MIN_AGE).unwrap_or(now);
        if now < old_enough {
            let key = DueKey::of(&grant.user_id);
            self.service
                .store
                .defer(&key, lease, old_enough, grant.failures, None)
                .await?;
            return Ok(Swept::TooYoung);
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
        let mut error = match self.service.graph.refresh(&current).await {
            Ok(new) => return self.store(grant, &current, &new, now).await,
            Err(error) => error,
        };
        // Meta may never have made the current token valid; the one before it is kept for this.
        if *error.kind() == ErrorKind::NeedsReauthorization(ReauthorizationCause::Invalid)
            && let Some(previous) = self.previous(grant)
        {
            match self.service.graph.refresh(&previous).await {
                Ok(new) => return self.store(grant, &previous, &new, now).await,
                // No answer about the previous token must not bury both.
                Err(second) if second.kind().is_retryable() => error = second,
                Err(_) => {}
            }
        }
        self.failed(grant, token, lease, &error).await
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
            ErrorKind::NeedsReauthorization(cause) => return self.mark(grant, lease, *cause).await,
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
        let username = match &grant.username {
            Some(known) => Some(known.clone()),
            None => service
                .graph
                .me(&long.access_token)
                .await
                .ok()
                .and_then(|profile| profile.username),
        };
        let Ok(grant_id) = random_text::<16>() else {
            return Ok(Swept::StoreFailed);
        };
        let (scopes, username) = (pending.scopes.to_string(), username.as_deref());
        let Ok(new) = new_grant(
            &self.vault,
            &grant.user_id,
            &grant_id,
            &long,
            &scopes,
            username,
            now,
        ) else {
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
        let due_at = alive.map(|token| schedule::due_at(&grant.user_id, token.issued_at, token.expires_at));
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
        let due_at = schedule::due_at(user_id, issued_at, expires_at);
        let refreshed = Refreshed {
            sealed: &sealed,
            previous: &previous,
            issued_at,
            expires_at,
            due_at,
        };
        let write = || self.service.store.store_refreshed(grant, refreshed, self.time());
        Ok(written(persist(self.deadline, write).await?, Swept::Refreshed))
    }

    async fn mark(
        &self,
        grant: &Grant,
        lease: Lease<'_>,
        cause: ReauthorizationCause,
    ) -> Result<Swept, StoreError> {
        let cause = Cause::Threads(cause);
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
        let key = DueKey::of(&grant.user_id);
        let result = self
            .service
            .store
            .defer(&key, lease, until, grant.failures + 1, Some(class))
            .await?;
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
