//! One grant at a time: a lease, a call to Meta, and a write.
//! Owns the consequences of each successful call. Those of a refusal are in `refusal.rs`.

use std::sync::atomic::{AtomicI64, Ordering};

use jiff::Timestamp;
use threads_auth_model::rules::{self, Deferral, Lease, LeaseReason, Refreshed, Right};
use threads_auth_model::schedule::{self, DataAccess, Life};
use threads_auth_model::seal::{Purpose, SealError, random, random_text};
use threads_auth_model::{
    Access, Cause, Claim, Consent, FailureClass, Grant, Key, Live, Pseudonym, ScopesSource, Session,
    SessionState, State, Suspicion, Vault, claiming, error_chain,
};
use threads_auth_store::{FailureKind, LeaseOutcome, SecretsError, StoreError, WriteOutcome, persist};
use threads_graph::{AccessToken, ErrorKind, LongLivedToken, UserId};

use super::attempt::{Answer, Attempt, Proof, Trend, Trial, Verdict};
use super::outcome::RefreshOutcome;
use super::pace::{Held, Pace};
use crate::clients::{Clients, OpenError};
use crate::inspection::{Inspected, Inspection, inspect};
use crate::new_grant::new_grant;
use crate::removal;
use crate::stopwatch::Stopwatch;

/// Number of random bytes in the name of a lease's owner or of a token, which must be unique within
/// one row. Each character adds to the row, which should stay below a write unit's kilobyte.
const NAME_BYTES: usize = 8;

/// Pause before an unreadable row or token is tried again, in seconds.
const UNREADABLE_SECONDS: i64 = 6 * 3_600;

/// Assumed delay of an unreadable row, in seconds: the whole life of a token.
pub(crate) const UNKNOWN_OVERDUE_SECONDS: i64 = 60 * 86_400;

/// Processes grants, each under its own lease, for a sweep or for one caller who needs a token.
pub(crate) struct Refresher<'a> {
    pub(crate) clients: &'a Clients,
    pub(crate) vault: Vault,
    owner: String,
    /// True if unclaimed grants are ended, as in a sweep.
    pub(crate) ends_unclaimed: bool,
    pub(crate) time: Stopwatch,
    pub(crate) pace: Pace,
    /// Remaining life of the token that expires first, in seconds.
    weakest: AtomicI64,
    /// Longest delay of a due refresh, in seconds.
    overdue: AtomicI64,
}

/// A leased grant.
#[derive(Clone, Copy)]
pub(crate) struct Leased<'a> {
    pub(crate) grant: &'a Grant,
    pub(crate) reason: LeaseReason<'a>,
    pub(crate) lease: Lease<'a>,
}

/// The result of checking an unclaimed grant.
enum ClaimCheck {
    /// The grant is ended, or a concurrent write was faster.
    Over(Attempt),
    /// The grant stays, in this new state.
    GoesOn(Box<Grant>),
}

impl<'a> Refresher<'a> {
    /// Creates a refresher that works for as long as `time` allows.
    pub(crate) fn new(clients: &'a Clients, vault: Vault, time: Stopwatch) -> Result<Self, SealError> {
        Ok(Self {
            clients,
            vault,
            owner: random_text::<NAME_BYTES>()?,
            ends_unclaimed: false,
            time,
            pace: Pace::new(&clients.config),
            weakest: AtomicI64::new(i64::MAX),
            overdue: AtomicI64::new(0),
        })
    }

    /// Returns the whole days until the first token expires, of those processed and still alive.
    pub(crate) fn weakest_days(&self) -> Option<u64> {
        let left = self.weakest.load(Ordering::Relaxed);
        (left < i64::MAX).then(|| u64::try_from(left / 86_400).unwrap_or(0))
    }

    /// Returns the longest delay of a processed grant, in seconds.
    pub(crate) fn overdue_seconds(&self) -> u64 {
        self.overdue.load(Ordering::Relaxed).max(0).unsigned_abs()
    }

    /// Returns the lease by its owner, which is all that conditions compare.
    pub(crate) fn lease(&self) -> Lease<'_> {
        Lease { owner: &self.owner, until: self.time.started_at() }
    }

    pub(crate) fn record_expiry(&self, expires_at: Timestamp) {
        let left = expires_at.as_second() - self.time.now().as_second();
        self.weakest.fetch_min(left, Ordering::Relaxed);
    }

    /// Records the delay of a grant whose check did not succeed. It counts from the schedule, not
    /// from the later time to which a failure has deferred the grant.
    fn record_delay(&self, grant: &Grant, now: Timestamp) {
        let wanted_at = match &grant.state {
            State::Active(live, None) => schedule::token_due(&grant.user_id, live),
            _ => now,
        };
        let wanted_at = wanted_at.min(grant.due_at.unwrap_or(now));
        self.overdue.fetch_max(now.as_second() - wanted_at.as_second(), Ordering::Relaxed);
    }

    /// Processes one grant like [`Self::one`], for a single caller, and also carries out the
    /// verdict and the trial.
    pub(crate) async fn one_now(&self, key: &Key, reason: LeaseReason<'_>) -> Attempt {
        let mut attempt = self.one(key, reason).await;
        if let Some(trial) = &attempt.trial
            && !self.clients.are_calls_scarce(self.time.now())
            && self.time.leaves(self.clients.config.extras_time())
        {
            self.try_out(trial).await;
        }
        if let Some(verdict) = &attempt.verdict {
            attempt.outcome = self.decide(verdict, Trend::Unknown).await;
        }
        self.clients.count_calls(1, self.time.now()).await;
        attempt
    }

    /// Leases the row of `key`, if `reason` still applies, and processes it. The verdict and the
    /// trial of a new token are left to the caller.
    pub(crate) async fn one(&self, key: &Key, reason: LeaseReason<'_>) -> Attempt {
        let now = self.time.now();
        // The lease outlasts the slowest grant: up to five calls to Meta and the writes.
        let lasts = self.clients.config.request_time * 4;
        let lease = Lease { until: now.saturating_add(lasts).unwrap_or(now), ..self.lease() };
        let store = &self.clients.store;
        let attempt = match store.lease(key, reason, lease, now).await {
            Ok(LeaseOutcome::Leased(grant)) => {
                let grant = &grant;
                let attempt = self.work(Leased { grant, reason, lease }).await;
                if attempt.as_ref().map_or(true, |attempt| attempt.outcome.is_unmet()) {
                    self.record_delay(grant, now);
                }
                if let Ok(Attempt { outcome: RefreshOutcome::Superseded, .. }) = &attempt {
                    self.give_back(grant).await;
                }
                // Meta may have been called without its response being stored.
                attempt.or_else(|error| {
                    tracing::error!(
                        pseudonym = grant.log_name(),
                        error = error_chain(&error),
                        "the store failed after a lease"
                    );
                    Ok(Attempt::not_stored(error.kind()))
                })
            }
            Ok(LeaseOutcome::NotOurs) => Ok(RefreshOutcome::NotOurs.into()),
            Ok(LeaseOutcome::Broken(inconsistency, grant_id)) => {
                tracing::error!(error = %inconsistency, "a row is broken; the others go on");
                self.overdue.fetch_max(UNKNOWN_OVERDUE_SECONDS, Ordering::Relaxed);
                let deferral = Deferral {
                    grant_id: grant_id.as_deref(),
                    due_at: schedule::add(now, UNREADABLE_SECONDS),
                    failures: 1,
                    class: Some(FailureClass::BrokenRow),
                    warning: None,
                    had_consent: true,
                    is_settled: false,
                };
                let put_off = store.write(&rules::defer(key, lease, deferral, now)).await;
                put_off.map(|_| RefreshOutcome::BrokenRow.into())
            }
            Err(error) => Err(error),
        };
        attempt.unwrap_or_else(|error| {
            // The key would identify the person, and only the row has the pseudonym.
            tracing::error!(error = error_chain(&error), "the store failed for a grant");
            Attempt::store_failed(error.kind())
        })
    }

    /// Continues an interrupted deletion.
    pub(crate) async fn deletion(&self, key: &Key, now: Timestamp) -> RefreshOutcome {
        match removal::resume_deletion(self.clients, &self.vault, key, now).await {
            Ok(true) => RefreshOutcome::DeletionFinished,
            Ok(false) => RefreshOutcome::DeletionUnfinished,
            Err(error) => {
                tracing::error!(%key, error = error_chain(&error), "the store failed for a deletion");
                RefreshOutcome::StoreFailed
            }
        }
    }

    async fn work(&self, leased: Leased<'_>) -> Result<Attempt, StoreError> {
        let checked = if self.ends_unclaimed { self.check_claim(leased).await? } else { None };
        let known = match checked {
            Some(ClaimCheck::Over(attempt)) => return Ok(attempt),
            Some(ClaimCheck::GoesOn(grant)) => Some(grant),
            None => None,
        };
        let is_claim_settled = known.is_some();
        let leased = Leased { grant: known.as_deref().unwrap_or(leased.grant), ..leased };
        let grant = leased.grant;
        if let Some(consent) = grant.consent() {
            return self.complete(leased, consent).await;
        }
        let (State::Active(live, None) | State::Appealable(_, live, None)) = &grant.state else {
            // Nothing is left to refresh.
            self.release(leased).await?;
            return Ok(RefreshOutcome::NotOurs.into());
        };
        let now = self.time.now();
        let current = match self.open(Purpose::AccessToken, grant, &live.token).await {
            Ok(current) => current,
            Err(OpenError::Keyring(error)) => return self.without_key(leased, &error).await,
            Err(OpenError::Sealed(_)) => {
                tracing::error!(pseudonym = grant.log_name(), "a token does not open with the keyring");
                return self.undecryptable(leased, schedule::add(now, UNREADABLE_SECONDS)).await;
            }
        };
        if let State::Appealable(..) = grant.state {
            return self.appeal(leased, live, &current).await;
        }
        if let LeaseReason::Doubted(_) = leased.reason {
            return self.confirm(leased, live, &current).await;
        }
        let ended = live.data_access_expires_at.is_some_and(|end| end <= now);
        let times = Life::of(live);
        let is_early = leased.reason.is_due() && now < times.due_at(&grant.user_id);
        if is_claim_settled && is_early && !ended && live.suspicion.is_none() && grant.is_settled() {
            // Nothing else was due.
            let next = schedule::next_look(times.due_at(&grant.user_id), DataAccess::of(grant), now);
            let written = self.postpone(leased, next).await?;
            return Ok(Attempt::written(RefreshOutcome::Checked, written, Answer::Nothing));
        }
        let old_enough = times.old_enough_at();
        // By our clock alone a token does not count as expired: Meta decides.
        let is_young = now < old_enough && now < live.expires_at;
        // A refresh that may have been cut off is made again at once.
        if ended || (is_early && (is_young || grant.is_settled())) {
            return self.check(leased, live, &current).await;
        }
        if is_young {
            let look = if leased.reason.is_due() {
                old_enough
            } else {
                schedule::next_look(times.due_at(&grant.user_id), DataAccess::of(grant), now)
            };
            self.postpone(leased, look).await?;
            return Ok(RefreshOutcome::TooYoung.into());
        }
        if self.pace.is_unproven()
            && let Some(attempt) = self.rehearse(leased, live).await
        {
            return Ok(attempt);
        }
        // The new token must still be stored.
        if !self.time.leaves(self.clients.config.call_timeouts().request) {
            let written = self.release(leased).await?;
            return Ok(Attempt::written(RefreshOutcome::Deferred, written, Answer::Nothing));
        }
        match self.clients.graph.refresh(&current).await {
            Ok(new) => {
                // An expired token is not worth keeping as the previous one.
                let previous = Some(&current).filter(|_| now < live.expires_at);
                self.store(leased, live, previous, &new, now).await
            }
            Err(error) if is_worth_another_call(grant, live, error.kind(), now) => {
                match self.clients.graph.me(&current).await {
                    Err(refused) if is_refusal(refused.kind()) => {
                        self.call_refused(leased, live, refused).await
                    }
                    _ => self.refused(leased, live, error).await,
                }
            }
            Err(error) => self.refused(leased, live, error).await,
        }
    }

    /// Rehearses the write of a new token before Meta is asked for one, so that a failing store
    /// costs no token. Returns the attempt if the rehearsal ends it.
    async fn rehearse(&self, leased: Leased<'_>, live: &Live) -> Option<Attempt> {
        let change = rules::rehearse(leased.grant, live, leased.lease);
        match self.clients.store.write(&change).await {
            Ok(WriteOutcome::Stored) => None,
            Ok(_) => {
                self.release_or_warn(leased).await;
                Some(RefreshOutcome::NotOurs.into())
            }
            Err(error) => {
                tracing::error!(
                    pseudonym = leased.grant.log_name(),
                    error = error_chain(&error),
                    "the store would not take a new token: Meta is not asked"
                );
                if error.kind() == FailureKind::ThisItem {
                    self.put_off_unwritable(leased, live, leased.grant.is_settled()).await;
                } else {
                    self.release_or_warn(leased).await;
                }
                Some(Attempt::store_failed(error.kind()))
            }
        }
    }

    /// Retries the write of a newly issued token until the function's time is over. No other grant
    /// begins while the store does not accept it.
    async fn persist<T, F>(&self, mut write: impl FnMut() -> F) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, StoreError>>,
    {
        let held = &Held::new(&self.pace);
        let attempt = || {
            let write = write();
            async move { write.await.inspect_err(|error| held.failed(error.kind(), self.time.elapsed())) }
        };
        let written = persist(self.time.deadline(), attempt).await;
        if written.is_ok() {
            held.stored();
        }
        written
    }

    /// Defers a grant whose row does not accept a new token, so that not every sweep refreshes it
    /// in vain.
    async fn put_off_unwritable(&self, leased: Leased<'_>, live: &Live, is_settled: bool) {
        let (grant, now) = (leased.grant, self.time.now());
        let failures = grant.failures + 1;
        let deferral = Deferral {
            grant_id: Some(&grant.grant_id),
            due_at: schedule::retry_at(now, live.expires_at, failures, None, random_number()),
            failures,
            class: None,
            warning: None,
            had_consent: false,
            is_settled,
        };
        if let Err(error) = self.defer(leased, deferral, now).await {
            tracing::error!(
                pseudonym = leased.grant.log_name(),
                error = error_chain(&error),
                "a row takes neither a token nor a deferral"
            );
        }
    }

    /// Checks the claim of a grant that came through a session. While it is unclaimed, its end is
    /// first announced and then carried out.
    async fn check_claim(&self, leased: Leased<'_>) -> Result<Option<ClaimCheck>, StoreError> {
        let (Leased { grant, lease, .. }, now) = (leased, self.time.now());
        let Claim::Unclaimed { until, is_announced } = grant.claim else {
            return Ok(None);
        };
        if schedule::claim_look(grant).is_some_and(|look| now < look) {
            return Ok(None);
        }
        let known = |claim| ClaimCheck::GoesOn(Box::new(Grant { claim, ..grant.clone() }));
        let store = &self.clients.store;
        // A session that an older version completed has not claimed its account.
        let session = match &grant.session_id {
            Some(id) => match store.session(id).await {
                // An inconsistent session is treated as absent.
                Err(StoreError::Inconsistent(_)) => None,
                session => session?,
            },
            None => None,
        };
        if let Some(Session { state: SessionState::Completed { .. }, reference, .. }) = session {
            store.write(&claiming::claim(grant, &reference, now)).await?;
            return Ok(Some(known(Claim::Claimed(None))));
        }
        if !is_announced {
            store.write(&claiming::announce_end(grant, lease, now)).await?;
        }
        if now < until {
            return Ok(Some(known(Claim::Unclaimed { until, is_announced: true })));
        }
        let written = store.write(&claiming::end_unclaimed(grant, lease, now)).await?;
        Ok(Some(ClaimCheck::Over(Attempt::written(RefreshOutcome::Unclaimed, written, Answer::Nothing))))
    }

    /// Checks a token at Meta that a caller has reported as refused. The report alone changes
    /// nothing.
    async fn confirm(
        &self,
        leased: Leased<'_>,
        live: &Live,
        current: &AccessToken,
    ) -> Result<Attempt, StoreError> {
        match self.clients.graph.me(current).await {
            Ok(_) => {
                let vouch = rules::vouch(leased.grant, live, leased.lease, self.time.now());
                let written = self.clients.store.write(&vouch).await?;
                Ok(Attempt::written(RefreshOutcome::Checked, written, Answer::Healthy))
            }
            Err(error) if is_refusal(error.kind()) => self.call_refused(leased, live, error).await,
            Err(error) => {
                tracing::warn!(
                    pseudonym = leased.grant.log_name(),
                    error = error_chain(&error),
                    "a doubted token could not be checked"
                );
                Ok(Attempt::deferred(error.kind(), self.release(leased).await?))
            }
        }
    }

    /// Checks the end of data access, and a suspected token before it is due.
    async fn check(
        &self,
        leased: Leased<'_>,
        live: &Live,
        current: &AccessToken,
    ) -> Result<Attempt, StoreError> {
        let (grant, now) = (leased.grant, self.time.now());
        let known = DataAccess::of(grant);
        let inspected = inspect(self.clients, &self.vault, current, now).await;
        let is_valid = inspected.as_ref().is_some_and(|inspected| inspected.info.is_valid);
        let access = inspected.and_then(|inspected| inspected.access());
        if access.as_ref().is_some_and(|access| access.is_over(now)) {
            let (grant, live) = (grant.clone(), live.clone());
            let (cause, proof) = (Cause::DataAccessExpired, Proof::Confirmed);
            return Ok(Attempt::verdict(Verdict { grant, live, cause, proof }));
        }
        // Without an inspection, a call with the token shows if its data access has ended, and in a
        // regular look if the account has.
        let is_look = self.clients.config.check_every.is_some() && !is_valid;
        let must_ask = is_look || (access.is_none() && known.is_doubtful(now));
        let must_ask = must_ask || live.suspicion.is_some() || !grant.is_settled();
        if must_ask && let Err(error) = self.clients.graph.me(current).await {
            return self.call_refused(leased, live, error).await;
        }
        // Meta may not have been asked at all.
        let answer = if must_ask || access.is_some() { Answer::Healthy } else { Answer::Nothing };
        let access = access.unwrap_or_else(|| known_access(grant, live, now));
        let right = Right::Done(leased.lease);
        let stored = rules::store_access(grant, live, &access, right, self.time.now());
        let written = self.clients.store.write(&stored).await?;
        self.record_expiry(live.expires_at);
        Ok(Attempt::written(RefreshOutcome::Checked, written, answer))
    }

    /// Checks an account again that has ended for a reversible reason.
    async fn appeal(
        &self,
        leased: Leased<'_>,
        live: &Live,
        current: &AccessToken,
    ) -> Result<Attempt, StoreError> {
        let (grant, store, now) = (leased.grant, &self.clients.store, self.time.now());
        if now >= Life::of(live).own_end() {
            let written = store.write(&rules::close_appeal(grant, live, leased.lease)).await?;
            return Ok(Attempt::written(RefreshOutcome::StillEnded, written, Answer::Nothing));
        }
        let is_taken = self.clients.graph.me(current).await.is_ok();
        let access = if is_taken { inspect(self.clients, &self.vault, current, now).await } else { None };
        let access = access.and_then(|inspected| inspected.access());
        if !is_taken || access.as_ref().is_some_and(|access| access.is_over(now)) {
            let tomorrow = schedule::add(now, schedule::A_DAY.as_secs());
            let written = self.postpone(leased, tomorrow).await?;
            return Ok(Attempt::written(RefreshOutcome::StillEnded, written, Answer::Nothing));
        }
        let access = access.unwrap_or_else(|| known_access(grant, live, now));
        let right = Right::Done(leased.lease);
        let written = store.write(&rules::store_access(grant, live, &access, right, now)).await?;
        Ok(Attempt::written(RefreshOutcome::Recovered, written, Answer::Healthy))
    }

    /// Makes the long-lived exchange of a consent. The consent is dropped only once its short-lived
    /// token has expired.
    async fn complete(&self, leased: Leased<'_>, consent: &Consent) -> Result<Attempt, StoreError> {
        let (grant, now) = (leased.grant, self.time.now());
        let (user_id, graph) = (&grant.user_id, &self.clients.graph);
        let is_over = now >= consent.expires_at;
        let short = match self.open(Purpose::PendingToken, grant, &consent.token).await {
            Ok(short) => short,
            Err(OpenError::Keyring(error)) => return self.without_key(leased, &error).await,
            Err(OpenError::Sealed(_)) => {
                tracing::error!(pseudonym = grant.log_name(), "a consent does not open with the keyring");
                if is_over {
                    return self.drop_consent(leased, consent, now).await;
                }
                return self.undecryptable(leased, schedule::retry_pending_at(now, random_number())).await;
            }
        };
        let long = match graph.exchange_long_lived(self.vault.app_secret(), &short).await {
            Ok(long) => long,
            Err(error) if is_over => {
                tracing::warn!(
                    pseudonym = grant.log_name(),
                    error = error_chain(&error),
                    "a consent is lost"
                );
                return self.drop_consent(leased, consent, now).await;
            }
            Err(error) => {
                tracing::warn!(
                    pseudonym = grant.log_name(),
                    error = error_chain(&error),
                    "a consent is not complete yet"
                );
                let later = schedule::retry_pending_at(now, random_number());
                let class = FailureClass::Threads(error.kind().class());
                let written = self.put_off(leased, later, class, grant.is_settled()).await?;
                return Ok(Attempt::deferred(error.kind(), written));
            }
        };
        let token = &long.access_token;
        let inspection = Inspection::of(self.clients, &self.vault, token, &consent.scopes, now).await;
        if inspection.user_id.as_ref().is_some_and(|found| found != user_id) {
            tracing::error!(
                pseudonym = grant.log_name(),
                "a consent gave the token of another account, and is dropped"
            );
            return self.drop_consent(leased, consent, now).await;
        }
        let new = random_text::<16>();
        let new =
            new.as_ref().map(|grant_id| new_grant(&self.vault, user_id, grant_id, &long, inspection, now));
        let Ok(Ok(new)) = new else {
            return Ok(Attempt::store_failed(FailureKind::Broken));
        };
        let complete = async |sealed: &[u8]| {
            let mut written = WriteOutcome::Superseded;
            for lease in [Some(leased.lease), None] {
                let change = rules::complete_consent(&new, sealed, lease, self.time.now());
                let change = rules::limit_due_time(grant, change);
                written = self.persist(|| self.clients.store.write(&change)).await?;
                if written != WriteOutcome::Superseded {
                    break;
                }
            }
            Ok::<_, StoreError>(written)
        };
        let mut written = complete(&consent.token).await?;
        if written == WriteOutcome::Superseded
            && let Some(resealed) = self.resealed(user_id, &short).await?
        {
            written = complete(&resealed).await?;
        }
        Ok(Attempt::written(RefreshOutcome::Completed, written, Answer::Healthy))
    }

    /// Returns the sealed token of the stored consent, if it is this token, resealed concurrently.
    async fn resealed(&self, user_id: &UserId, short: &AccessToken) -> Result<Option<Vec<u8>>, StoreError> {
        let Some(grant) = self.clients.store.grant(user_id).await? else { return Ok(None) };
        let Some(consent) = grant.consent() else { return Ok(None) };
        let opened = self.open(Purpose::PendingToken, &grant, &consent.token).await;
        Ok(opened.ok().filter(|token| token.expose() == short.expose()).map(|_| consent.token.clone()))
    }

    async fn drop_consent(
        &self,
        leased: Leased<'_>,
        consent: &Consent,
        now: Timestamp,
    ) -> Result<Attempt, StoreError> {
        let change = rules::drop_consent(leased.grant, &consent.token, leased.lease, now);
        let written = self.clients.store.write(&change).await?;
        Ok(Attempt::written(RefreshOutcome::PendingLost, written, Answer::Nothing))
    }

    /// Stores a token that Meta has just issued, and retries until the function's time is over.
    /// `previous` is the token that was refreshed, if it is worth keeping.
    pub(crate) async fn store(
        &self,
        leased: Leased<'_>,
        used: &Live,
        previous: Option<&AccessToken>,
        new: &LongLivedToken,
        asked_at: Timestamp,
    ) -> Result<Attempt, StoreError> {
        let (grant, store) = (leased.grant, &self.clients.store);
        let seal = |purpose, token| self.vault.seal(purpose, &grant.user_id, token);
        let sealed = seal(Purpose::AccessToken, &new.access_token);
        let previous = previous.map(|token| seal(Purpose::PreviousToken, token)).transpose();
        let pseudonym = grant.pseudonym.clone().map_or_else(Pseudonym::random, Ok);
        let (Ok(sealed), Ok(previous), Ok(token_id), Ok(pseudonym)) =
            (sealed, previous, random_text::<NAME_BYTES>(), pseudonym)
        else {
            return Ok(Attempt::not_stored(FailureKind::Broken));
        };
        let life = Life::of(used).refreshed(asked_at, new.expires_in);
        let is_extended = Life::of(used).is_extended_by(&life);
        let refreshed = Refreshed {
            sealed: &sealed,
            token_id: &token_id,
            previous: previous.as_deref(),
            pseudonym: pseudonym.as_str(),
            life,
            retry_at: (!is_extended).then(|| life.old_enough_at().min(life.expires_at)),
        };
        let write = || store.store_refreshed(grant, used, refreshed, leased.lease, self.time.now());
        let written = match self.persist(write).await {
            Ok(written) => written,
            Err(error) => {
                tracing::error!(
                    pseudonym = grant.log_name(),
                    error = error_chain(&error),
                    "a new token was not stored"
                );
                if error.kind() == FailureKind::ThisItem {
                    self.put_off_unwritable(leased, used, false).await;
                }
                return Ok(Attempt::not_stored(error.kind()));
            }
        };
        if written == WriteOutcome::Superseded {
            tracing::warn!(pseudonym = grant.log_name(), "another process has stored another token");
        }
        self.record_expiry(life.expires_at);
        let outcome = if is_extended { RefreshOutcome::Refreshed } else { RefreshOutcome::NotExtended };
        let mut attempt = Attempt::written(outcome, written, Answer::Healthy);
        if written == WriteOutcome::Stored {
            let stored = Live {
                token: sealed,
                token_id: Some(token_id),
                previous,
                issued_at: life.issued_at,
                expires_at: life.expires_at,
                expiry_assumed: life.is_assumed,
                suspicion: None,
                vouch: None,
                asked_at: None,
                ..used.clone()
            };
            let known = Access {
                scopes: grant.scopes.clone(),
                source: grant.scopes_source,
                data_access_expires_at: used.data_access_expires_at,
            };
            let (grant, token) = (grant.clone(), new.access_token.clone());
            attempt.trial = Some(Box::new(Trial { grant, live: stored, token, known }));
        }
        Ok(attempt)
    }

    /// Tries a new token once, while its predecessor is still valid. Success writes nothing, unless
    /// Meta returns a new access, or the expiry where it was assumed.
    pub(crate) async fn try_out(&self, trial: &Trial) {
        let Trial { grant, live, token, known } = trial;
        let now = self.time.now();
        let inspected = inspect(self.clients, &self.vault, token, now).await;
        let access = inspected.as_ref().and_then(Inspected::access);
        let is_over = access.as_ref().is_some_and(|access| access.is_over(now));
        let info = inspected.map(|inspected| inspected.info).filter(|info| info.is_valid);
        let is_valid = info.is_some();
        let life = Life::of(live).found(info.and_then(|info| info.expires_at));
        let tried = if is_valid { Ok(()) } else { self.clients.graph.me(token).await.map(drop) };
        let cause = match &tried {
            Err(error) => match error.kind() {
                ErrorKind::NeedsReauthorization(cause) => Some(Cause::Threads(cause)),
                ErrorKind::Permission => Some(Cause::DataAccessExpired),
                _ => None,
            },
            Ok(()) => is_over.then_some(Cause::DataAccessExpired),
        };
        let change = if let Some(cause) = cause {
            tracing::warn!(
                pseudonym = grant.log_name(),
                cause = cause.as_str(),
                "Meta does not accept a new token yet"
            );
            let (suspicion, look_at) = suspicion(live, cause, None, now);
            rules::suspect(grant, live, suspicion, look_at, Right::Free(now), now)
        } else {
            let access = access.unwrap_or_else(|| known.clone());
            if access == *known && life == Life::of(live) {
                return;
            }
            rules::store_life(grant, live, &access, life, now)
        };
        if let Err(error) = self.clients.store.write(&change).await {
            tracing::warn!(
                pseudonym = grant.log_name(),
                error = error_chain(&error),
                "the trial of a token was not stored"
            );
        }
    }

    /// Releases the lease without having asked Meta for a token.
    async fn release(&self, leased: Leased<'_>) -> Result<WriteOutcome, StoreError> {
        let Leased { grant, lease, .. } = leased;
        let release = rules::release(&Key::grant(&grant.user_id), Right::finish(lease, grant.is_settled()));
        self.clients.store.write(&release).await
    }

    /// Releases the lease, and logs a failure: an unreleased lease expires by itself.
    async fn release_or_warn(&self, leased: Leased<'_>) {
        if let Err(error) = self.release(leased).await {
            tracing::warn!(
                pseudonym = leased.grant.log_name(),
                error = error_chain(&error),
                "a lease was not released; it expires by itself"
            );
        }
    }

    /// Releases the lease after a concurrent write has won. That write has removed the note if it
    /// has replaced the token.
    pub(crate) async fn give_back(&self, grant: &Grant) {
        let release = rules::release(&Key::grant(&grant.user_id), Right::Unsettled(self.lease()));
        if let Err(error) = self.clients.store.write(&release).await {
            tracing::warn!(
                pseudonym = grant.log_name(),
                error = error_chain(&error),
                "a lease was not released; it expires by itself"
            );
        }
    }

    /// Defers the grant without a failure.
    async fn postpone(&self, leased: Leased<'_>, until: Timestamp) -> Result<WriteOutcome, StoreError> {
        let (grant, now) = (leased.grant, self.time.now());
        let look = self.clients.config.check_every.map(|every| schedule::look_at(every, &grant.user_id, now));
        let deferral = Deferral {
            grant_id: Some(&grant.grant_id),
            due_at: look.map_or(until, |look| look.min(until)),
            failures: grant.failures,
            class: None,
            warning: None,
            had_consent: false,
            is_settled: grant.is_settled(),
        };
        self.defer(leased, deferral, now).await
    }

    pub(crate) async fn put_off(
        &self,
        leased: Leased<'_>,
        until: Timestamp,
        class: FailureClass,
        is_settled: bool,
    ) -> Result<WriteOutcome, StoreError> {
        let (grant, now) = (leased.grant, self.time.now());
        let warning = grant.live().and_then(|live| {
            self.record_expiry(live.expires_at);
            let warning = schedule::warning(live.expires_at, live.data_access_expires_at, now);
            warning.filter(|warning| live.warning != Some(*warning))
        });
        let deferral = Deferral {
            grant_id: Some(&grant.grant_id),
            due_at: until,
            failures: grant.failures.saturating_add(1),
            class: Some(class),
            warning,
            had_consent: grant.consent().is_some(),
            is_settled,
        };
        self.defer(leased, deferral, now).await
    }

    async fn defer(
        &self,
        Leased { grant, lease, .. }: Leased<'_>,
        deferral: Deferral<'_>,
        now: Timestamp,
    ) -> Result<WriteOutcome, StoreError> {
        let change = rules::defer(&Key::grant(&grant.user_id), lease, deferral, now);
        self.clients.store.write(&rules::limit_due_time(grant, change)).await
    }

    async fn undecryptable(&self, leased: Leased<'_>, later: Timestamp) -> Result<Attempt, StoreError> {
        let is_settled = leased.grant.is_settled();
        let written = self.put_off(leased, later, FailureClass::Undecryptable, is_settled).await?;
        Ok(Attempt::written(RefreshOutcome::Undecryptable, written, Answer::Nothing))
    }

    /// Leaves a grant to the next sweep: its key is not in the keyring in use, and the keyring
    /// cannot be read.
    async fn without_key(&self, leased: Leased<'_>, error: &SecretsError) -> Result<Attempt, StoreError> {
        tracing::error!(
            pseudonym = leased.grant.log_name(),
            error = error_chain(error),
            "a token waits for a key of the newest keyring"
        );
        let written = self.release(leased).await?;
        Ok(Attempt::written(RefreshOutcome::Deferred, written, Answer::Nothing))
    }

    pub(crate) async fn open(
        &self,
        purpose: Purpose,
        grant: &Grant,
        sealed: &[u8],
    ) -> Result<AccessToken, OpenError> {
        self.clients.open(&self.vault, purpose, &grant.user_id, sealed, self.time.now()).await
    }
}

/// Returns true if Meta refuses the token or its access, rather than failing itself.
fn is_refusal(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::Permission | ErrorKind::NeedsReauthorization(_))
}

/// Returns true if another call may show the cause of a failed refresh: the token has expired by
/// our clock, or Meta refuses a permission when data access may have ended.
fn is_worth_another_call(grant: &Grant, live: &Live, refused: ErrorKind, now: Timestamp) -> bool {
    let is_over = now >= live.expires_at && !refused.is_about_token();
    is_over || (refused == ErrorKind::Permission && DataAccess::of(grant).is_doubtful(now))
}

/// Returns the known access, without an end that Meta's response has just disproved.
fn known_access(grant: &Grant, live: &Live, now: Timestamp) -> Access {
    let end = live.data_access_expires_at.filter(|end| *end > now);
    let is_disproved = end != live.data_access_expires_at;
    Access {
        scopes: grant.scopes.clone(),
        source: if is_disproved { ScopesSource::Requested } else { grant.scopes_source },
        data_access_expires_at: end,
    }
}

/// Returns the suspicion for a refusal at `now`, dated from the first of its kind, and the time of
/// the next check.
pub(crate) fn suspicion(
    live: &Live,
    cause: Cause,
    known: Option<Suspicion>,
    now: Timestamp,
) -> (Suspicion, Timestamp) {
    let suspicion = Suspicion { cause, since: known.map_or(now, |known| known.since) };
    (suspicion, schedule::second_look(live, suspicion, now, random_number()))
}

/// Returns a random number for jitter, or 0 if the random generator fails: then the backoff alone
/// spreads the load.
pub(crate) fn random_number() -> u64 {
    random::<8>().map_or(0, u64::from_be_bytes)
}
