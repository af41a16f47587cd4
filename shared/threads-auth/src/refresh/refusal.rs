//! The consequences of a refused token.
//! Owns the decision that a grant is dead. One refusal is enough if it names a cause: the app was
//! removed, the password changed, the token expired. A refusal that may be Meta's own fault makes
//! the grant suspected. It is checked again, and is dead only if a second witness agrees or the
//! token has expired. If a note says that a refresh was cut off, the refusal has a reason: the
//! witness decides at once.

use jiff::SignedDuration;
use threads_auth_model::rules::{self, LeaseReason, Right};
use threads_auth_model::schedule::{self, DataAccess, Life, SECOND_LOOK};
use threads_auth_model::seal::Purpose;
use threads_auth_model::{Cause, Change, FailureClass, Live, Pause, error_chain};
use threads_auth_store::{FailureKind, StoreError, WriteOutcome};
use threads_graph::{AccessToken, ErrorKind, ReauthorizationCause};

use super::attempt::{Answer, Attempt, Proof, Trend, Verdict};
use super::outcome::RefreshOutcome;
use super::refresher::{Leased, Refresher, random_number, suspicion};
use crate::inspection::inspect;

/// Maximum duration of a wave of refusals that is Meta's own fault. Reported waves ended within
/// hours.
const WAVE_ENDS: SignedDuration = SignedDuration::from_hours(12);

impl Refresher<'_> {
    /// Handles a failed refresh of the current token.
    pub(crate) async fn refused(
        &self,
        leased: Leased<'_>,
        live: &Live,
        error: threads_graph::Error,
    ) -> Result<Attempt, StoreError> {
        // Meta may never have activated the current token: its predecessor is kept for this case.
        if error.kind() == ErrorKind::NeedsReauthorization(ReauthorizationCause::Invalid)
            && let Some(previous) = self.previous(leased, live).await
        {
            // A doubt does not make the grant due, and this process may die before it has stored
            // the new token.
            if let LeaseReason::Doubted(_) = leased.reason {
                let now = self.time.now();
                let (suspicion, look_at) = suspicion(live, Cause::DOUBT, live.suspicion, now);
                let right = Right::Held(leased.lease);
                let ahead = rules::suspected(leased.grant, live, suspicion, look_at, right);
                let written = self.clients.store.write(&ahead).await?;
                if written != WriteOutcome::Stored {
                    return Ok(Attempt::written(RefreshOutcome::Suspected, written, Answer::Refused));
                }
            }
            let asked_at = self.time.now();
            match self.clients.graph.refresh(&previous).await {
                Ok(new) => return self.store(leased, live, Some(&previous), &new, asked_at).await,
                // The previous token may still be valid, so the grant is not dead yet.
                Err(second) if second.kind().is_retryable() => {
                    let cause = Cause::Threads(ReauthorizationCause::Invalid);
                    return self.suspect(leased, live, cause).await;
                }
                Err(_) => {}
            }
        }
        self.failed(leased, live, &error).await
    }

    /// Handles a refused call other than a refresh.
    pub(crate) async fn call_refused(
        &self,
        leased: Leased<'_>,
        live: &Live,
        error: threads_graph::Error,
    ) -> Result<Attempt, StoreError> {
        match error.kind() {
            ErrorKind::Permission => self.access_refused(leased, live).await,
            _ => self.refused(leased, live, error).await,
        }
    }

    /// Handles a failed call by the kind of its error.
    async fn failed(
        &self,
        leased: Leased<'_>,
        live: &Live,
        error: &threads_graph::Error,
    ) -> Result<Attempt, StoreError> {
        let (grant, now) = (leased.grant, self.time.now());
        // A response was lost or cannot be read, so Meta may have issued a token.
        let is_lost = matches!(error.kind(), ErrorKind::Transient | ErrorKind::Malformed);
        let is_settled = grant.is_settled() && !is_lost;
        tracing::warn!(
            pseudonym = grant.log_name(),
            failures = grant.failures,
            error = error_chain(error),
            "a token was not refreshed"
        );
        let class = FailureClass::Threads(error.kind().class());
        let retry_after = match error.kind() {
            ErrorKind::NeedsReauthorization(cause) => return self.token_refused(leased, live, cause).await,
            // By our record the token is old enough, so Meta has extended it and the response was
            // lost.
            ErrorKind::TooYoung if now >= Life::of(live).old_enough_at() => {
                let written =
                    self.clients.store.write(&rules::assume_extended(grant, live, leased.lease, now)).await?;
                return Ok(Attempt::written(RefreshOutcome::Checked, written, Answer::Healthy));
            }
            ErrorKind::TooYoung => {
                let later = schedule::add(now, schedule::A_DAY.as_secs()).min(live.expires_at);
                // Meta knows the token, and it lives.
                let written = self.put_off(leased, later, class, true).await?;
                return Ok(Attempt::written(RefreshOutcome::TooYoung, written, Answer::Healthy));
            }
            ErrorKind::Throttled { retry_after } => retry_after,
            ErrorKind::Transient
            | ErrorKind::Malformed
            | ErrorKind::Permission
            | ErrorKind::Configuration(_)
            | ErrorKind::CodeUnusable
            | ErrorKind::Rejected => None,
        };
        let failures = grant.failures.saturating_add(1);
        let later = schedule::retry_at(now, live.expires_at, failures, retry_after, random_number());
        Ok(Attempt::deferred(error.kind(), self.put_off(leased, later, class, is_settled).await?))
    }

    /// Handles a refusal that calls the token dead.
    async fn token_refused(
        &self,
        leased: Leased<'_>,
        live: &Live,
        cause: ReauthorizationCause,
    ) -> Result<Attempt, StoreError> {
        let now = self.time.now();
        let is_over = now >= Life::of(live).own_end();
        let of_token = live.suspicion.filter(|suspicion| suspicion.cause != Cause::DataAccessExpired);
        // A refusal with a cause was suspected before only in a wave.
        let was_held_back = of_token
            .is_some_and(|suspicion| matches!(suspicion.cause, Cause::Threads(cause) if cause.is_telling()));
        if cause.is_telling() && !was_held_back {
            return Ok(verdict(leased, live, Cause::Threads(cause), Proof::Reason));
        }
        let has_lasted = |least| of_token.is_some_and(|known| known.has_lasted(least, now));
        let is_second_look = has_lasted(SECOND_LOOK);
        let proof = if is_second_look { Proof::Confirmed } else { Proof::Reason };
        // The token may be the one before a token that was lost.
        let is_noted = !leased.grant.is_settled() && !cause.is_telling();
        let named = if is_noted { Cause::TokenLost } else { Cause::Threads(cause) };
        let witness = if is_second_look || is_noted { self.witness(leased, live).await } else { None };
        match witness {
            Some(true) => Ok(verdict(leased, live, named, proof)),
            None if is_over => Ok(verdict(leased, live, Cause::EXPIRED, proof)),
            // There is no witness, but no wave lasts so long.
            None if was_held_back && cause.is_telling() && has_lasted(WAVE_ENDS) => {
                Ok(verdict(leased, live, named, Proof::Confirmed))
            }
            None if is_noted && is_second_look => Ok(verdict(leased, live, named, Proof::NoteAlone)),
            Some(false) | None => self.suspect(leased, live, Cause::Threads(cause)).await,
        }
    }

    /// Handles the refusal of the person's data. Data access has ended if its known end has passed,
    /// or if Meta refuses twice.
    async fn access_refused(&self, leased: Leased<'_>, live: &Live) -> Result<Attempt, StoreError> {
        let (cause, now) = (Cause::DataAccessExpired, self.time.now());
        let is_expected = DataAccess::of(leased.grant).end().is_some_and(|end| end <= now);
        let has_lasted = |least| live.suspicion.is_some_and(|known| known.has_lasted(least, now));
        let is_same = live.suspicion.is_some_and(|known| known.cause == cause);
        if is_expected || (is_same && has_lasted(SECOND_LOOK)) {
            let is_confirmed = is_expected || has_lasted(WAVE_ENDS);
            let proof = if is_confirmed { Proof::Confirmed } else { Proof::Reason };
            return Ok(verdict(leased, live, cause, proof));
        }
        self.suspect(leased, live, cause).await
    }

    async fn suspect(&self, leased: Leased<'_>, live: &Live, cause: Cause) -> Result<Attempt, StoreError> {
        let (grant, now) = (leased.grant, self.time.now());
        self.record_expiry(live.expires_at);
        let is_of_access = |cause| cause == Cause::DataAccessExpired;
        let known = live.suspicion.filter(|known| is_of_access(known.cause) == is_of_access(cause));
        let (suspicion, look_at) = suspicion(live, cause, known, now);
        let right = Right::finish(leased.lease, grant.is_settled());
        let change = rules::suspect(grant, live, suspicion, look_at, right, now);
        let written = self.clients.store.write(&change).await?;
        let answer = if known.is_some() { Answer::Nothing } else { Answer::Refused };
        Ok(Attempt::written(RefreshOutcome::Suspected, written, answer))
    }

    /// Carries out a verdict, unless the trend does not let it count, or verdicts are paused.
    pub(crate) async fn decide(&self, verdict: &Verdict, trend: Trend) -> RefreshOutcome {
        if !verdict.counts(trend) {
            return self.hold_back(verdict).await;
        }
        let Verdict { grant, live, cause, .. } = verdict;
        match self.clients.store.pause().await {
            Ok(Some(Pause::Verdicts)) => return self.hold_back(verdict).await,
            Ok(_) => {}
            Err(error) => return failed_for(verdict, &error),
        }
        let change = rules::end(grant, live, self.lease(), *cause, self.time.now());
        self.decided(verdict, RefreshOutcome::NeedsReauthorization, &change).await
    }

    /// Marks the token as suspected, so that it is not handed out while its verdict is pending.
    pub(crate) async fn mark(&self, verdict: &Verdict) -> Result<(), FailureKind> {
        let Verdict { grant, live, cause, .. } = verdict;
        let now = self.time.now();
        let (suspicion, look_at) = suspicion(live, *cause, live.suspicion, now);
        let change = rules::suspected(grant, live, suspicion, look_at, Right::Held(self.lease()));
        let written = self.clients.store.write(&change).await;
        written.map(drop).map_err(|error| {
            failed_for(verdict, &error);
            error.kind()
        })
    }

    /// Turns a verdict into a suspicion, so that the token is checked again.
    async fn hold_back(&self, verdict: &Verdict) -> RefreshOutcome {
        let Verdict { grant, live, cause, .. } = verdict;
        let now = self.time.now();
        let (suspicion, look_at) = suspicion(live, *cause, live.suspicion, now);
        let right = Right::finish(self.lease(), grant.is_settled());
        let change = rules::suspect(grant, live, suspicion, look_at, right, now);
        self.decided(verdict, RefreshOutcome::Suspected, &change).await
    }

    async fn decided(&self, verdict: &Verdict, outcome: RefreshOutcome, change: &Change) -> RefreshOutcome {
        match self.clients.store.write(change).await {
            Ok(WriteOutcome::Superseded) => {
                self.give_back(&verdict.grant).await;
                RefreshOutcome::Superseded
            }
            Ok(written) => outcome.if_stored(written),
            Err(error) => failed_for(verdict, &error),
        }
    }

    /// Inspects the token with another caller. Returns true if the token is dead, or `None` if Meta
    /// accepts no other caller.
    async fn witness(&self, leased: Leased<'_>, live: &Live) -> Option<bool> {
        let token = self.open(Purpose::AccessToken, leased.grant, &live.token).await.ok()?;
        let inspected = inspect(self.clients, &self.vault, &token, self.time.now()).await?;
        inspected.is_witness().then_some(!inspected.info.is_valid)
    }

    async fn previous(&self, leased: Leased<'_>, live: &Live) -> Option<AccessToken> {
        let sealed = live.previous.as_deref()?;
        self.open(Purpose::PreviousToken, leased.grant, sealed).await.ok()
    }
}

fn verdict(leased: Leased<'_>, live: &Live, cause: Cause, proof: Proof) -> Attempt {
    Attempt::verdict(Verdict { grant: leased.grant.clone(), live: live.clone(), cause, proof })
}

fn failed_for(verdict: &Verdict, error: &StoreError) -> RefreshOutcome {
    tracing::error!(
        pseudonym = verdict.grant.log_name(),
        error = error_chain(error),
        "the store failed for a verdict"
    );
    RefreshOutcome::StoreFailed
}
