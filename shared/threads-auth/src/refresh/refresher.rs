//! One grant at a time: a lease, a call to Meta, and a write.
//!
//! Owns what follows from each answer of Meta's. A grant is declared dead for one reason alone:
//! Meta says so of the token that is stored.

use std::sync::atomic::{AtomicI64, Ordering};

use jiff::{SignedDuration, Timestamp};
use threads_auth_model::rules::{self, Deferral, Lease, LeaseReason, Refreshed};
use threads_auth_model::seal::{Purpose, SealError, random, random_text};
use threads_auth_model::{Access, Cause, Consent, Grant, Key, Live, State, Vault, error_chain, schedule};
use threads_auth_store::{LeaseOutcome, StoreError, WriteOutcome, persist};
use threads_graph::{AccessToken, ErrorKind, LongLivedToken, ReauthorizationCause};

use super::outcome::RefreshOutcome;
use crate::clients::Clients;
use crate::inspection::{self, Inspection};
use crate::new_grant::new_grant;
use crate::stopwatch::Stopwatch;

/// A row or token that we cannot read is looked at again this much later.
const UNREADABLE_SECONDS: i64 = 6 * 3_600;

/// Meta's "too young" puts a token off for as long as Meta's rule says.
const TOO_YOUNG: SignedDuration = SignedDuration::from_hours(24);

/// Works on grants, each under a lease of its own: for a sweep, or for one caller who needs a
/// token.
pub(crate) struct Refresher<'a> {
    clients: &'a Clients,
    pub(crate) vault: Vault,
    owner: String,
    pub(crate) time: Stopwatch,
    /// The seconds that are left to the token that ends first.
    weakest: AtomicI64,
}

/// The outcome for one grant, and what it says of Meta: a failure of Meta's, a success, or nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Attempt {
    pub(crate) outcome: RefreshOutcome,
    pub(crate) is_metas_failure: Option<bool>,
}

impl From<RefreshOutcome> for Attempt {
    fn from(outcome: RefreshOutcome) -> Self {
        let has_answered = matches!(
            outcome,
            RefreshOutcome::Refreshed
                | RefreshOutcome::Completed
                | RefreshOutcome::Checked
                | RefreshOutcome::NeedsReauthorization
        );
        Self { outcome, is_metas_failure: has_answered.then_some(false) }
    }
}

impl Attempt {
    /// Deferred because a call to Meta failed in this way.
    fn deferred(kind: &ErrorKind, write: WriteOutcome) -> Self {
        let outcome = RefreshOutcome::Deferred.if_stored(write);
        let is_metas = matches!(kind, ErrorKind::Transient | ErrorKind::Throttled { .. });
        Self { outcome, is_metas_failure: (outcome == RefreshOutcome::Deferred).then_some(is_metas) }
    }
}

/// A leased grant.
#[derive(Clone, Copy)]
struct Leased<'a> {
    grant: &'a Grant,
    reason: LeaseReason,
    lease: Lease<'a>,
}

impl<'a> Refresher<'a> {
    /// Works for as long as `time` allows.
    pub(crate) fn new(clients: &'a Clients, vault: Vault, time: Stopwatch) -> Result<Self, SealError> {
        Ok(Self { clients, vault, owner: random_text::<16>()?, time, weakest: AtomicI64::new(i64::MAX) })
    }

    /// Whole days until the first of the tokens ends that were looked at and live on.
    pub(crate) fn weakest_days(&self) -> Option<u64> {
        let left = self.weakest.load(Ordering::Relaxed);
        (left < i64::MAX).then(|| u64::try_from(left / 86_400).unwrap_or(0))
    }

    fn lives_until(&self, expires_at: Timestamp) {
        let left = expires_at.as_second() - self.time.now().as_second();
        self.weakest.fetch_min(left, Ordering::Relaxed);
    }

    /// Takes the row of `key`, if `reason` still fits it, and does what it needs.
    pub(crate) async fn one(&self, key: &Key, reason: LeaseReason) -> Attempt {
        let now = self.time.now();
        // A lease outlives the slowest grant: two calls to Meta and the writes.
        let lasts = self.clients.config.request_time * 4;
        let lease = Lease { owner: &self.owner, until: now.saturating_add(lasts).unwrap_or(now) };
        let store = &self.clients.store;
        let attempt = match store.lease(key, reason, lease, now).await {
            Ok(LeaseOutcome::Leased(grant)) => {
                let grant = &grant;
                self.work(Leased { grant, reason, lease }).await
            }
            Ok(LeaseOutcome::NotOurs) => Ok(RefreshOutcome::NotOurs.into()),
            Ok(LeaseOutcome::Broken(inconsistency)) => {
                tracing::error!(error = %inconsistency, "a row is broken; the others go on");
                let deferral = Deferral {
                    due_at: schedule::add(now, UNREADABLE_SECONDS),
                    failures: 1,
                    class: Some(RefreshOutcome::BrokenRow.as_str()),
                    warning: None,
                    had_consent: true,
                };
                let put_off = store.write(&rules::defer(key, lease, deferral, now)).await;
                put_off.map(|_| RefreshOutcome::BrokenRow.into())
            }
            Err(error) => Err(error),
        };
        attempt.unwrap_or_else(|error| {
            tracing::error!(%key, error = error_chain(&error), "the store failed for a grant");
            RefreshOutcome::StoreFailed.into()
        })
    }

    async fn work(&self, leased: Leased<'_>) -> Result<Attempt, StoreError> {
        let grant = leased.grant;
        if let Some(consent) = grant.consent() {
            return self.complete(leased, consent).await;
        }
        let State::Active(live, None) = &grant.state else {
            // Nothing is left to refresh.
            self.release(leased).await?;
            return Ok(RefreshOutcome::NotOurs.into());
        };
        let now = self.time.now();
        if now >= live.expires_at && !live.expiry_assumed {
            return self.end(leased, live, Cause::EXPIRED).await;
        }
        let opened = self.vault.open(Purpose::AccessToken, &grant.user_id, &live.token);
        let Ok(current) = opened else {
            tracing::error!(user.id = %grant.user_id, "a token does not open with the keyring");
            let outcome = RefreshOutcome::Undecryptable;
            let later = schedule::add(now, UNREADABLE_SECONDS);
            let written = self.put_off(leased, later, outcome.as_str()).await?;
            return Ok(outcome.if_stored(written).into());
        };
        if let LeaseReason::Doubted(_) = leased.reason {
            return self.confirm(leased, live, &current).await;
        }
        let ended = live.data_access_expires_at.is_some_and(|end| end <= now);
        let token_due = schedule::due_at(&grant.user_id, live.issued_at, live.expires_at);
        if ended || (leased.reason == LeaseReason::Due && now < token_due) {
            return self.check(leased, live, &current).await;
        }
        let old_enough = schedule::old_enough_at(live.issued_at);
        if now < old_enough {
            if leased.reason == LeaseReason::Due {
                let deferral = Deferral {
                    due_at: old_enough,
                    failures: grant.failures,
                    class: None,
                    warning: None,
                    had_consent: false,
                };
                let key = Key::grant(&grant.user_id);
                self.clients.store.write(&rules::defer(&key, leased.lease, deferral, now)).await?;
            } else {
                self.release(leased).await?;
            }
            return Ok(RefreshOutcome::TooYoung.into());
        }
        match self.clients.graph.refresh(&current).await {
            Ok(new) => self.store(grant, &current, &new, now).await,
            Err(error) => self.refused(leased, live, error).await,
        }
    }

    /// Asks Meta about a token of which somebody says that Meta refuses it. Their word alone
    /// changes nothing.
    async fn confirm(
        &self,
        leased: Leased<'_>,
        live: &Live,
        current: &AccessToken,
    ) -> Result<Attempt, StoreError> {
        match self.clients.graph.me(current).await {
            Ok(_) => {
                let written = self.release(leased).await?;
                Ok(RefreshOutcome::Checked.if_stored(written).into())
            }
            Err(error) if matches!(error.kind(), ErrorKind::NeedsReauthorization(_)) => {
                self.refused(leased, live, error).await
            }
            Err(error) => {
                let user_id = &leased.grant.user_id;
                tracing::warn!(user.id = %user_id, error = error_chain(&error), "a doubted token could not be looked at");
                Ok(Attempt::deferred(error.kind(), self.release(leased).await?))
            }
        }
    }

    /// Meta refused the current token, or failed.
    async fn refused(
        &self,
        leased: Leased<'_>,
        live: &Live,
        mut error: threads_graph::Error,
    ) -> Result<Attempt, StoreError> {
        // Meta may never have made the current token valid; the one before it is kept for this.
        if *error.kind() == ErrorKind::NeedsReauthorization(ReauthorizationCause::Invalid)
            && let Some(previous) = self.previous(leased.grant, live)
        {
            let asked_at = self.time.now();
            match self.clients.graph.refresh(&previous).await {
                Ok(new) => return self.store(leased.grant, &previous, &new, asked_at).await,
                // No answer about the previous token must not bury both.
                Err(second) if second.kind().is_retryable() => error = second,
                Err(_) => {}
            }
        }
        self.failed(leased, live, &error).await
    }

    /// Looks at the end of data access: it moved, it comes near, or it is there. Only Meta's word
    /// ends a grant.
    async fn check(
        &self,
        leased: Leased<'_>,
        live: &Live,
        current: &AccessToken,
    ) -> Result<Attempt, StoreError> {
        let (graph, now) = (&self.clients.graph, self.time.now());
        let is_over = |end: Option<Timestamp>| end.is_some_and(|end| end <= now);
        let access = match inspection::access(graph, current).await {
            Some(access) if is_over(access.data_access_expires_at) => {
                return self.end(leased, live, Cause::DataAccessExpired).await;
            }
            Some(access) => access,
            None => {
                // Without an answer, a call with the token tells: whether it is refused for this,
                // or is answered after all.
                if is_over(live.data_access_expires_at)
                    && let Err(error) = graph.me(current).await
                {
                    if *error.kind() == ErrorKind::Permission {
                        return self.end(leased, live, Cause::DataAccessExpired).await;
                    }
                    return self.failed(leased, live, &error).await;
                }
                Access {
                    scopes: leased.grant.scopes.clone(),
                    // An end that Meta's own answer has just disproved is forgotten.
                    data_access_expires_at: live.data_access_expires_at.filter(|end| *end > now),
                }
            }
        };
        let times = (live.issued_at, live.expires_at);
        let store = &self.clients.store;
        let written =
            store.write(&rules::store_access(leased.grant, times, &access, self.time.now())).await?;
        self.lives_until(live.expires_at);
        Ok(RefreshOutcome::Checked.if_stored(written).into())
    }

    /// Meta refused for good, or for now.
    async fn failed(
        &self,
        leased: Leased<'_>,
        live: &Live,
        error: &threads_graph::Error,
    ) -> Result<Attempt, StoreError> {
        let grant = leased.grant;
        tracing::warn!(user.id = %grant.user_id, failures = grant.failures, error = error_chain(error), "a token was not refreshed");
        let now = self.time.now();
        let class = error.kind().as_str();
        let retry_after = match error.kind() {
            ErrorKind::NeedsReauthorization(cause) => {
                return self.end(leased, live, Cause::Threads(*cause)).await;
            }
            ErrorKind::TooYoung => {
                let later = now.saturating_add(TOO_YOUNG).unwrap_or(now).min(live.expires_at);
                let written = self.put_off(leased, later, class).await?;
                return Ok(RefreshOutcome::TooYoung.if_stored(written).into());
            }
            ErrorKind::Throttled { retry_after } => *retry_after,
            ErrorKind::Transient
            | ErrorKind::Malformed
            | ErrorKind::Permission
            | ErrorKind::Configuration(_)
            | ErrorKind::CodeUnusable
            | ErrorKind::Rejected => None,
        };
        let failures = grant.failures + 1;
        let later = schedule::retry_at(now, live.expires_at, failures, retry_after, random_number());
        Ok(Attempt::deferred(error.kind(), self.put_off(leased, later, class).await?))
    }

    /// Exchanges the short-lived token of a consent.
    async fn complete(&self, leased: Leased<'_>, consent: &Consent) -> Result<Attempt, StoreError> {
        let (grant, now) = (leased.grant, self.time.now());
        let user_id = &grant.user_id;
        let opened = self.vault.open(Purpose::PendingToken, user_id, &consent.token);
        let (Ok(short), true) = (opened, now < consent.expires_at) else {
            return self.drop_consent(grant, consent, now).await;
        };
        let graph = &self.clients.graph;
        let long = match graph.exchange_long_lived(&self.vault.app.app_secret, &short).await {
            Ok(long) => long,
            Err(error) if matches!(error.kind(), ErrorKind::NeedsReauthorization(_)) => {
                tracing::warn!(user.id = %user_id, error = error_chain(&error), "a consent is lost");
                return self.drop_consent(grant, consent, now).await;
            }
            Err(error) => {
                tracing::warn!(user.id = %user_id, error = error_chain(&error), "a consent is not complete yet");
                let later = schedule::retry_pending_at(now, random_number());
                let written = self.put_off(leased, later, error.kind().as_str()).await?;
                return Ok(Attempt::deferred(error.kind(), written));
            }
        };
        let inspection = Inspection::of(graph, &long.access_token, &consent.scopes).await;
        let new = random_text::<16>();
        let new =
            new.as_ref().map(|grant_id| new_grant(&self.vault, user_id, grant_id, &long, inspection, now));
        let Ok(Ok(new)) = new else {
            return Ok(RefreshOutcome::StoreFailed.into());
        };
        let store = &self.clients.store;
        let change = rules::complete_consent(&new, &consent.token, self.time.now());
        let written = persist(self.time.deadline(), || store.write(&change)).await?;
        Ok(RefreshOutcome::Completed.if_stored(written).into())
    }

    async fn drop_consent(
        &self,
        grant: &Grant,
        consent: &Consent,
        now: Timestamp,
    ) -> Result<Attempt, StoreError> {
        let written = self.clients.store.write(&rules::drop_consent(grant, &consent.token, now)).await?;
        Ok(RefreshOutcome::PendingLost.if_stored(written).into())
    }

    /// Stores a token that Meta has just issued, until it is stored or the function's time is over.
    async fn store(
        &self,
        grant: &Grant,
        used: &AccessToken,
        new: &LongLivedToken,
        issued_at: Timestamp,
    ) -> Result<Attempt, StoreError> {
        let (user_id, store) = (&grant.user_id, &self.clients.store);
        let sealed = self.vault.seal(Purpose::AccessToken, user_id, &new.access_token);
        let previous = self.vault.seal(Purpose::PreviousToken, user_id, used);
        let (Ok(sealed), Ok(previous)) = (sealed, previous) else {
            return Ok(RefreshOutcome::StoreFailed.into());
        };
        let expires_at = schedule::expiry(issued_at, new.expires_in.unwrap_or(schedule::ASSUMED_LIFE));
        let refreshed = Refreshed { sealed: &sealed, previous: &previous, issued_at, expires_at };
        let write = || store.store_refreshed(grant, refreshed, self.time.now());
        let written = persist(self.time.deadline(), write).await?;
        self.lives_until(expires_at);
        // The token is safe. Its access can wait, if it must.
        let known = grant.live().and_then(|live| live.data_access_expires_at);
        if written == WriteOutcome::Stored
            && self.time.leaves(self.clients.config.extras_time())
            && let Some(access) = inspection::access(&self.clients.graph, &new.access_token).await
            && (access.scopes != grant.scopes || access.data_access_expires_at != known)
        {
            let times = (issued_at, expires_at);
            let stored = store.write(&rules::store_access(grant, times, &access, self.time.now())).await;
            if let Err(error) = stored {
                tracing::warn!(user.id = %user_id, error = error_chain(&error), "the access of a grant was not stored");
            }
        }
        Ok(RefreshOutcome::Refreshed.if_stored(written).into())
    }

    async fn end(&self, leased: Leased<'_>, refused: &Live, cause: Cause) -> Result<Attempt, StoreError> {
        let (store, now) = (&self.clients.store, self.time.now());
        let written = store.write(&rules::end(leased.grant, refused, leased.lease, cause, now)).await?;
        Ok(RefreshOutcome::NeedsReauthorization.if_stored(written).into())
    }

    async fn release(&self, leased: Leased<'_>) -> Result<WriteOutcome, StoreError> {
        let key = Key::grant(&leased.grant.user_id);
        self.clients.store.write(&rules::release(&key, leased.lease)).await
    }

    async fn put_off(
        &self,
        leased: Leased<'_>,
        until: Timestamp,
        class: &str,
    ) -> Result<WriteOutcome, StoreError> {
        let (grant, now) = (leased.grant, self.time.now());
        let warning = grant.live().and_then(|live| {
            self.lives_until(live.expires_at);
            let warning = schedule::warning(live.expires_at, live.data_access_expires_at, now);
            warning.filter(|warning| live.warning != Some(*warning))
        });
        let deferral = Deferral {
            due_at: until,
            failures: grant.failures + 1,
            class: Some(class),
            warning,
            had_consent: grant.consent().is_some(),
        };
        let key = Key::grant(&grant.user_id);
        self.clients.store.write(&rules::defer(&key, leased.lease, deferral, now)).await
    }

    fn previous(&self, grant: &Grant, live: &Live) -> Option<AccessToken> {
        let sealed = live.previous.as_deref()?;
        self.vault.open(Purpose::PreviousToken, &grant.user_id, sealed).ok()
    }
}

/// Jitter. Without randomness it is none, and the backoff alone spreads the load.
fn random_number() -> u64 {
    random::<8>().map_or(0, u64::from_be_bytes)
}
