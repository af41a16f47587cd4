//! The steps of the workers, which follow `threads-auth` call by call and write by write.
//!
//! The calls to Meta and their consequences are repeated here in short. The writes come from the
//! model's rules, as the same values that the store sends to DynamoDB.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use threads_auth_model::rules::{
    self, Beside, Commit, Deferral, Deletion, Fate, Lease, LeaseReason, NewConsent, NewGrant, Refreshed,
    Resealed, Right,
};
use threads_auth_model::schedule::{self, DataAccess, Life, SECOND_LOOK};
use threads_auth_model::{
    Access, Attribute as A, Cause, Change, Effect, Ends, FailureClass, Grant, Key, Live, Part, Pseudonym,
    RevokedBy, Row, ScopesSource, State, Suspicion, Transaction, doubtful_from,
};
use threads_graph::{ErrorClass, ReauthorizationCause, Scopes, UserId};

use crate::check::Check;
use crate::meta::{By, HOUR, LIFE, Refusal};
use crate::tables::{self, Outcome, alone};
use crate::world::{
    Committing, Job, Refresh, Removing, Step, Then, USER, World, Write, at, grant_key, opened, owner, read,
    seal, tombstone_key,
};

/// Duration of a lease, in seconds.
pub const LEASE: i64 = 120;

/// Maximum number of ends that one connect resolves with Meta.
const MOST_ENDS: u8 = 3;
/// Maximum number of decisions about one end.
const MOST_TRIES: u8 = 4;
/// Time in seconds that a person may spend at Meta.
const LONGEST_FLOW: i64 = 600;

/// The outcome of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Event {
    /// The step succeeds.
    Success,
    /// The step takes effect, but the worker gets no response.
    ResponseLost,
    /// Meta does not respond.
    NoResponse,
    /// A verdict is held back, because too many came at once.
    HeldBack,
}

/// One worker at its next step.
pub(crate) struct Stepper<'a> {
    pub(crate) check: &'a Check,
    pub(crate) world: &'a mut World,
    pub(crate) worker: usize,
    pub(crate) event: Event,
}

impl Stepper<'_> {
    /// The worker's clock.
    fn now(&self) -> Timestamp {
        at(self.true_now() + self.skew())
    }

    fn skew(&self) -> i64 {
        self.world.workers[self.worker].skew
    }

    fn true_now(&self) -> i64 {
        self.check.now(self.world)
    }

    fn job(&self) -> Job {
        self.world.workers[self.worker].job
    }

    fn owner(&self) -> String {
        owner(self.worker)
    }

    fn go(&mut self, step: Step) {
        let worker = &mut self.world.workers[self.worker];
        if !matches!(step, Step::Work(..) | Step::Verdict(..) | Step::Write(_)) {
            worker.leased_until = None;
        }
        worker.step = step;
    }

    fn write(&mut self, transaction: Transaction, then: Then, token: Option<usize>) {
        self.go(Step::Write(Arc::new(Write { transaction, then, token })));
    }

    /// Writes under a lease. A worker that is superseded releases it.
    fn finish(&mut self, change: Change) {
        self.write(alone(change), Then::GiveBack, None);
    }

    /// Makes the next step.
    pub(crate) fn step(&mut self) {
        match self.world.workers[self.worker].step.clone() {
            Step::Ready => self.begin(),
            Step::Read(row) => self.has_read(&row),
            Step::Work(row, is_rehearsed) => self.work(&row, is_rehearsed),
            Step::Verdict(row, cause, is_marked) => self.verdict(&row, cause, is_marked),
            Step::Trial(refresh) => self.trial(&refresh),
            Step::Away => {
                let now = self.true_now();
                let skew = self.skew();
                let began_at = self.world.workers[self.worker].began_at;
                let consent = self.world.meta.consent(began_at, skew, now);
                self.go(Step::Back(consent));
            }
            Step::Back(consent) => self.connect(consent),
            Step::Ended(committing) => self.asked(&committing),
            Step::Notified(end) => self.end(end),
            Step::Refused(removing) => self.decide(&removing),
            Step::Write(write) => self.commit(&write),
            Step::Done | Step::Crashed => {}
        }
    }

    fn begin(&mut self) {
        match self.job() {
            Job::Sweep => self.lease(LeaseReason::Due),
            Job::Vend | Job::Doubt | Job::Reseal => match self.world.row().cloned() {
                Some(row) => self.go(Step::Read(Arc::new(row))),
                None => self.go(Step::Done),
            },
            Job::Connect | Job::ConnectShort => {
                self.world.workers[self.worker].began_at = self.true_now();
                self.go(Step::Away);
            }
            Job::Deauthorize => self.ended(By::Threads),
            // The app's end affects the grant that exists when it arrives.
            Job::Disconnect => {
                let now = self.true_now();
                let end = self.world.meta.end(By::App, now);
                self.end(end);
            }
            Job::Delete => self.ended(By::Deletion),
            Job::FinishDeletion => match self.unfinished() {
                Some(end) => self.go(Step::Notified(end)),
                None => self.go(Step::Done),
            },
            Job::Import => self.import(),
            Job::Password => {
                self.world.meta.events += 1;
                self.world.meta.refuse(ReauthorizationCause::PasswordChanged);
                self.go(Step::Done);
            }
            Job::Checkpoint => {
                self.world.meta.is_checked = true;
                self.go(Step::Notified(usize::MAX));
            }
        }
    }

    fn unfinished(&self) -> Option<usize> {
        let is_unfinished = |end: &usize| {
            let record = self.world.rows.get(&record_key(*end));
            record.is_some_and(|record| record.get(A::Unfinished).is_some())
        };
        (0..self.world.meta.ends.len()).find(is_unfinished)
    }

    fn ended(&mut self, by: By) {
        let now = self.true_now();
        let end = self.world.meta.end(by, now);
        self.go(Step::Notified(end));
    }

    fn has_read(&mut self, row: &Arc<Row>) {
        let Some(grant) = read(row) else { return self.go(Step::Done) };
        match self.job() {
            Job::Reseal => match reseal(&grant) {
                Some(change) => self.write(alone(change), Then::Nothing, None),
                None => self.go(Step::Done),
            },
            Job::Doubt => match &grant.state {
                State::Active(live, None) => self.lease(LeaseReason::Doubted(live)),
                _ => self.go(Step::Done),
            },
            _ => match grant.live() {
                Some(live) if grant.due_at.is_none_or(|due| due > self.now()) => {
                    self.lease(LeaseReason::Expiring(&grant, live));
                }
                _ => self.lease(LeaseReason::Due),
            },
        }
    }

    fn lease(&mut self, reason: LeaseReason<'_>) {
        let (owner, now) = (self.owner(), self.now());
        let lease = Lease { owner: &owner, until: schedule::add(now, LEASE) };
        self.write(alone(rules::lease(&grant_key(), reason, lease, now)), Then::Work, None);
    }

    fn work(&mut self, row: &Arc<Row>, is_rehearsed: bool) {
        let (owner, now) = (self.owner(), self.now());
        let lease = Lease { owner: &owner, until: now };
        let Some(grant) = read(row) else {
            let (grant_id, class) = (row.text(A::GrantId), Some(FailureClass::BrokenRow));
            let due_at = schedule::add(now, 6 * HOUR);
            let deferral = Deferral {
                grant_id,
                due_at,
                failures: 1,
                class,
                warning: None,
                had_consent: true,
                is_settled: false,
            };
            return self.finish(rules::defer(&grant_key(), lease, deferral, now));
        };
        if let Some(consent) = grant.consent() {
            return self.complete(row, &grant, &consent.token, consent.expires_at);
        }
        let (State::Active(live, None) | State::Appealable(_, live, None)) = &grant.state else {
            let release = rules::release(&grant_key(), Right::Done(lease));
            return self.write(alone(release), Then::Nothing, None);
        };
        if let State::Appealable(..) = grant.state {
            return self.appeal(&grant, live, lease);
        }
        if self.job() == Job::Doubt {
            return match self.call(live) {
                Ok(()) => self.finish(rules::vouch(&grant, live, lease, now)),
                Err(Some(refusal)) => self.refused(row, &grant, live, refusal),
                Err(None) => {
                    let right = Right::finish(lease, grant.is_settled());
                    self.finish(rules::release(&grant_key(), right));
                }
            };
        }
        let is_due = grant.due_at.is_some_and(|due| due <= now);
        let times = Life::of(live);
        let is_early = is_due && now < times.due_at(&grant.user_id);
        let is_young = now < times.old_enough_at() && now < live.expires_at;
        if is_early && (is_young || grant.is_settled()) {
            return self.look(row, &grant, live);
        }
        if is_young {
            let look = if is_due { times.old_enough_at() } else { times.due_at(&grant.user_id) };
            return self.put_off(&grant, look, false, grant.is_settled());
        }
        if self.check.scenario.rehearses && !is_rehearsed {
            let lease = Lease { until: schedule::add(now, LEASE), ..lease };
            let change = rules::rehearse(&grant, live, lease);
            return self.write(alone(change), Then::Rehearsed(row.clone()), None);
        }
        let used = opened(&live.token);
        match self.refresh(used) {
            Ok(new) => self.store(row, used, new),
            Err(Some(refusal)) => self.refused(row, &grant, live, refusal),
            Err(None) => self.put_off(&grant, schedule::add(now, 1), true, false),
        }
    }

    /// Uses a token. A missing response is not a refusal.
    fn call(&mut self, live: &Live) -> Result<(), Option<Refusal>> {
        if self.event != Event::Success {
            return Err(None);
        }
        self.world.meta.call(opened(&live.token), self.true_now()).map_err(Some)
    }

    fn refresh(&mut self, used: usize) -> Result<usize, Option<Refusal>> {
        let now = self.true_now();
        match self.event {
            Event::NoResponse => Err(None),
            Event::ResponseLost => {
                if let Ok(new) = self.world.meta.refresh(used, now)
                    && new != used
                {
                    self.world.meta.tokens[new].is_lost = true;
                }
                Err(None)
            }
            Event::Success | Event::HeldBack => self.world.meta.refresh(used, now).map_err(Some),
        }
    }

    fn store(&mut self, row: &Arc<Row>, used: usize, new: usize) {
        let asked_at = self.now();
        let refresh = Arc::new(Refresh { row: row.clone(), used, new, asked_at });
        self.store_beside(refresh, Beside { lease: true, consent: false });
    }

    fn store_beside(&mut self, refresh: Arc<Refresh>, beside: Beside) {
        let (owner, now) = (self.owner(), self.now());
        let Some(grant) = read(&refresh.row) else { return self.go(Step::Done) };
        let Some(used) = grant.live() else { return self.go(Step::Done) };
        let (life, is_extended) = refresh.life(used);
        let token_id = refresh.token_id(&owner);
        let (sealed, previous) = (seal(refresh.new, 0), seal(refresh.used, 0));
        let refreshed = Refreshed {
            sealed: &sealed,
            token_id: &token_id,
            previous: (now < used.expires_at).then_some(&previous),
            pseudonym: PSEUDONYM,
            life,
            retry_at: (!is_extended).then(|| life.old_enough_at().min(life.expires_at)),
        };
        let lease = Lease { owner: &owner, until: now };
        let change = rules::store_refreshed(&grant, used, refreshed, lease, beside, now);
        let new = refresh.new;
        self.write(alone(change), Then::Refreshed(refresh, beside), Some(new));
    }

    /// Handles a refusal by Meta.
    fn refused(&mut self, row: &Arc<Row>, grant: &Grant, live: &Live, refusal: Refusal) {
        let (owner, now) = (self.owner(), self.now());
        let lease = Lease { owner: &owner, until: now };
        let Refusal::Dead(cause) = refusal else {
            return if now >= Life::of(live).old_enough_at() {
                self.finish(rules::assume_extended(grant, live, lease, now));
            } else {
                let tomorrow = schedule::add(now, schedule::A_DAY.as_secs());
                self.put_off(grant, tomorrow.min(live.expires_at), true, true);
            };
        };
        if cause == ReauthorizationCause::Invalid
            && let Some(previous) = live.previous.as_deref().map(opened)
            && let Ok(new) = self.refresh(previous)
        {
            return self.store(row, previous, new);
        }
        let known = live.suspicion.filter(|known| known.cause != Cause::DataAccessExpired);
        let was_held_back =
            known.is_some_and(|known| matches!(known.cause, Cause::Threads(cause) if cause.is_telling()));
        if cause.is_telling() && !was_held_back {
            return self.go(Step::Verdict(row.clone(), Cause::Threads(cause), false));
        }
        let is_noted = !grant.is_settled() && !cause.is_telling();
        let cause = Cause::Threads(cause);
        let is_second = known.is_some_and(|known| known.has_lasted(SECOND_LOOK, now));
        // A witness agrees with a second refusal, or with the first if a note explains it.
        let is_dead = !self.world.meta.takes(opened(&live.token), self.true_now());
        if (is_second || is_noted) && is_dead {
            let cause = if is_noted { Cause::TokenLost } else { cause };
            return self.go(Step::Verdict(row.clone(), cause, false));
        }
        let (suspicion, look_at) = suspicion(live, cause, known, now);
        let right = Right::finish(lease, grant.is_settled());
        self.finish(rules::suspect(grant, live, suspicion, look_at, right, now));
    }

    fn verdict(&mut self, row: &Arc<Row>, cause: Cause, is_marked: bool) {
        let (owner, now) = (self.owner(), self.now());
        let lease = Lease { owner: &owner, until: now };
        let Some(grant) = read(row) else { return self.go(Step::Done) };
        let Some(live) = grant.live() else { return self.go(Step::Done) };
        if self.event != Event::HeldBack {
            return self.finish(rules::end(&grant, live, lease, cause, now));
        }
        let (suspicion, look_at) = suspicion(live, cause, live.suspicion, now);
        if is_marked {
            let right = Right::finish(lease, grant.is_settled());
            self.finish(rules::suspect(&grant, live, suspicion, look_at, right, now));
        } else {
            let change = rules::suspected(&grant, live, suspicion, look_at, Right::Held(lease));
            self.write(alone(change), Then::Marked(row.clone(), cause), None);
        }
    }

    /// Tries a suspected token before it is due.
    fn look(&mut self, row: &Arc<Row>, grant: &Grant, live: &Live) {
        let (owner, now) = (self.owner(), self.now());
        let lease = Lease { owner: &owner, until: now };
        if live.suspicion.is_some() || !grant.is_settled() {
            match self.call(live) {
                Ok(()) => {}
                Err(Some(refusal)) => return self.refused(row, grant, live, refusal),
                Err(None) => return self.put_off(grant, schedule::add(now, 1), true, false),
            }
        }
        self.finish(rules::store_access(grant, live, &access(grant), Right::Done(lease), now));
    }

    fn appeal(&mut self, grant: &Grant, live: &Live, lease: Lease<'_>) {
        let now = self.now();
        if now >= Life::of(live).own_end() {
            return self.finish(rules::close_appeal(grant, live, lease));
        }
        if self.call(live).is_ok() {
            self.finish(rules::store_access(grant, live, &access(grant), Right::Done(lease), now));
        } else {
            let tomorrow = schedule::add(now, schedule::A_DAY.as_secs());
            self.put_off(grant, tomorrow, false, grant.is_settled());
        }
    }

    fn complete(&mut self, row: &Arc<Row>, grant: &Grant, pending: &[u8], expires_at: Timestamp) {
        let (owner, now, true_now) = (self.owner(), self.now(), self.true_now());
        let exchanged = match self.event {
            Event::Success => self.world.meta.exchange(opened(pending), true_now).ok(),
            _ => None,
        };
        match exchanged {
            Some(token) => self.completed(row, token, now, true),
            None if now >= expires_at => {
                let lease = Lease { owner: &owner, until: now };
                self.finish(rules::drop_consent(grant, pending, lease, now));
            }
            None => self.put_off(grant, schedule::retry_pending_at(now, 0), true, grant.is_settled()),
        }
    }

    fn completed(&mut self, row: &Arc<Row>, token: usize, issued_at: Timestamp, is_leased: bool) {
        let (owner, now) = (self.owner(), self.now());
        let Some(grant) = read(row) else { return self.go(Step::Done) };
        let Some(consent) = grant.consent() else { return self.go(Step::Done) };
        let grant_id = format!("{}/{owner}", opened(&consent.token));
        let new = new_grant(&grant_id, token, issued_at, None);
        let lease = is_leased.then_some(Lease { owner: &owner, until: now });
        let change = rules::complete_consent(&new, &consent.token, lease, now);
        let then = if is_leased { Then::Completed(row.clone(), issued_at) } else { Then::GiveBack };
        self.write(alone(change), then, Some(token));
    }

    fn put_off(&mut self, grant: &Grant, due_at: Timestamp, is_failure: bool, is_settled: bool) {
        let (owner, now) = (self.owner(), self.now());
        let deferral = Deferral {
            grant_id: Some(&grant.grant_id),
            due_at,
            failures: grant.failures + u32::from(is_failure),
            class: is_failure.then_some(FailureClass::Threads(ErrorClass::Transient)),
            warning: None,
            had_consent: is_failure && grant.consent().is_some(),
            is_settled,
        };
        self.finish(rules::defer(&grant_key(), Lease { owner: &owner, until: now }, deferral, now));
    }

    /// Uses a new token once.
    fn trial(&mut self, refresh: &Refresh) {
        let now = self.now();
        let Some(grant) = read(&refresh.row) else { return self.go(Step::Done) };
        let Some(old) = grant.live() else { return self.go(Step::Done) };
        let (life, _) = refresh.life(old);
        let new = Live {
            token: seal(refresh.new, 0),
            token_id: Some(refresh.token_id(&self.owner())),
            previous: Some(seal(refresh.used, 0)),
            issued_at: life.issued_at,
            expires_at: life.expires_at,
            expiry_assumed: life.is_assumed,
            suspicion: None,
            vouch: None,
            asked_at: None,
            ..old.clone()
        };
        let change = match self.call(&new) {
            Ok(()) => rules::store_life(&grant, &new, &access(&grant), life, now),
            Err(Some(Refusal::Dead(cause))) => {
                let (suspicion, look_at) = suspicion(&new, Cause::Threads(cause), None, now);
                rules::suspect(&grant, &new, suspicion, look_at, Right::Free(now), now)
            }
            Err(_) => return self.go(Step::Done),
        };
        self.write(alone(change), Then::Nothing, None);
    }

    fn connect(&mut self, consent: usize) {
        let (now, true_now) = (self.now(), self.true_now());
        self.world.meta.consents[consent].returned_at = Some(true_now);
        let token = match self.job() {
            Job::ConnectShort if self.world.meta.is_removed(consent) => return self.go(Step::Done),
            Job::ConnectShort => None,
            _ => match self.world.meta.exchange(consent, true_now) {
                Ok(token) => Some(token),
                Err(_) => return self.go(Step::Done),
            },
        };
        let committing =
            Committing { consent, token, now, seen: None, doubt: None, tries: 0, is_newest: true };
        self.try_commit(committing);
    }

    fn try_commit(&mut self, committing: Committing) {
        let Committing { consent, token, now, doubt, is_newest, .. } = committing;
        let begun_at = at(self.world.meta.consents[consent].begun_at);
        let grant_id = format!("{consent}/{}", self.owner());
        let change = if let Some(token) = token {
            rules::connect(&new_grant(&grant_id, token, now, Some(begun_at)), doubt, now)
        } else {
            let new = NewConsent {
                user_id: user(),
                grant_id: &grant_id,
                pseudonym: pseudonym(),
                begun_at,
                sealed: seal(consent, 0),
                scopes: &scopes(),
                expires_at: schedule::add(now, HOUR),
            };
            rules::consent(&new, now)
        };
        let seen = committing.seen.as_deref().map(Ends::of);
        let commit = Commit {
            grant_id: &grant_id,
            state_hash: &consent.to_string(),
            begun_at,
            tombstone: &tombstone_key(),
            seen: seen.as_ref(),
            session: None,
            now,
        };
        let transaction = rules::commit(commit, user(), is_newest.then_some(change));
        self.write(transaction, Then::Connected(Arc::new(committing)), token);
    }

    /// Resolves an end that came in the meantime with a call to Meta.
    fn asked(&mut self, committing: &Committing) {
        let row = self.world.rows.get(&tombstone_key()).cloned().unwrap_or_default();
        let consent = &self.world.meta.consents[committing.consent];
        if Ends::of(&row).on(at(consent.begun_at)) != Effect::Doubtful || committing.tries >= MOST_ENDS {
            return self.refuse(committing.consent);
        }
        let is_taken = self.is_taken(committing.token, committing.consent);
        if is_taken == Some(false) {
            return self.go(Step::Done);
        }
        let doubt = match (is_taken, committing.token) {
            (None, Some(_)) => Some(schedule::doubted_at(committing.now)),
            _ => None,
        };
        let tries = committing.tries + 1;
        let seen = Some(Arc::new(row));
        self.try_commit(Committing { seen, doubt, tries, is_newest: true, ..committing.clone() });
    }

    /// Ends the flow: the person learns that the account has ended in the meantime.
    fn refuse(&mut self, consent: usize) {
        self.check.judge_refusal(self.world, consent);
        self.go(Step::Done);
    }

    fn is_taken(&self, token: Option<usize>, consent: usize) -> Option<bool> {
        if self.event != Event::Success {
            return None;
        }
        let (meta, now) = (&self.world.meta, self.true_now());
        Some(token.map_or(!meta.is_removed(consent), |token| meta.call(token, now).is_ok()))
    }

    fn import(&mut self) {
        let true_now = self.true_now();
        // The token has half of its life left.
        let issued_at = true_now - LIFE / 2;
        if self.world.meta.consents.is_empty() {
            self.world.meta.consent(0, 0, 0);
        }
        if self.world.meta.is_removed(0) {
            return self.go(Step::Done);
        }
        let token = self.world.meta.issue(0, None, issued_at);
        self.import_beside(token, true);
    }

    fn import_beside(&mut self, token: usize, is_newest: bool) {
        let issued_at = at(self.world.meta.tokens[token].issued_at);
        let new = new_grant("imported", token, issued_at, None);
        let transaction = rules::take_over(&new, &tombstone_key(), is_newest, self.now());
        self.write(transaction, Then::Imported(token, is_newest), None);
    }

    fn end(&mut self, end: usize) {
        let now = self.now();
        let Some(notice) = self.world.meta.ends.get(end) else {
            self.world.meta.is_checked = false;
            return self.go(Step::Done);
        };
        let ended_at = at(notice.at).min(now);
        let tombstone = tombstone_key();
        match notice.by {
            By::Threads => {
                let note = rules::note_end(&tombstone, ended_at);
                self.write(alone(note), Then::Noted(end, ended_at), None);
            }
            By::App => {
                let heard_at = at(notice.at + self.skew());
                let note = rules::note_disconnect(&tombstone, heard_at);
                self.write(alone(note), Then::Disconnected(end, heard_at), None);
            }
            By::Deletion => {
                let record = self.world.rows.get(&record_key(end));
                if record.is_some_and(|record| record.get(A::Unfinished).is_none()) {
                    return self.answer(end, true);
                }
                let asked = record.and_then(|record| record.time(A::RequestedAt)).unwrap_or(ended_at);
                self.delete(Removing {
                    end,
                    ended_at: asked,
                    fate: Fate::Gone(asked),
                    is_newest: true,
                    tries: 0,
                });
            }
        }
    }

    fn revoke(&mut self, removing: Removing) {
        let by = match self.world.meta.ends[removing.end].by {
            By::App => RevokedBy::App,
            _ => RevokedBy::Threads,
        };
        let change = rules::revoke(user(), by, removing.ended_at, self.now());
        self.write(alone(change), Then::Revoked(removing), None);
    }

    fn delete(&mut self, removing: Removing) {
        let Removing { end, fate, is_newest, .. } = removing;
        let deletion = Deletion {
            user_id: user(),
            tombstone: &tombstone_key(),
            record: &record_key(end),
            requested_at: removing.ended_at,
        };
        let transaction = rules::delete(deletion, fate, is_newest, self.now());
        self.write(transaction, Then::Deleted(removing), None);
    }

    /// Handles an end that met a consent that may be newer.
    fn decide(&mut self, removing: &Removing) {
        let now = self.now();
        let end = removing.end;
        let by = self.world.meta.ends[end].by;
        let tries = removing.tries + 1;
        if tries > MOST_TRIES {
            return self.go(Step::Done);
        }
        let Some(grant) = self.world.row().and_then(read) else {
            return match by {
                By::Deletion => {
                    self.delete(Removing {
                        fate: Fate::Gone(removing.ended_at),
                        is_newest: true,
                        tries,
                        ..*removing
                    });
                }
                By::App | By::Threads => self.answer(end, true),
            };
        };
        if by == By::App {
            return if matches!(grant.state, State::Revoked(_, None)) {
                self.answer(end, true);
            } else {
                self.revoke(Removing { ended_at: grant.connected_at.max(now), tries, ..*removing });
            };
        }
        let is_newer = self.is_newer(&grant, removing.ended_at);
        if by == By::Deletion {
            let fate = match is_newer {
                Some(true) => Fate::Kept,
                Some(false) => Fate::Gone(grant.connected_at),
                None => Fate::Doubtful,
            };
            return self.delete(Removing { fate, is_newest: true, tries, ..*removing });
        }
        match (is_newer, &grant.state) {
            // The second time, whatever the row holds is newer.
            (Some(false), _) => {
                let change = rules::revoke(user(), RevokedBy::Threads, grant.connected_at, now);
                self.write(alone(change), Then::Answer(end), None);
            }
            (None, State::Active(live, None)) => {
                let suspicion = Suspicion { cause: Cause::DOUBT, since: now };
                let soon = schedule::doubted_at(now);
                let change = rules::suspected(&grant, live, suspicion, soon, Right::End);
                self.write(alone(change), Then::Answer(end), None);
            }
            _ => self.answer(end, true),
        }
    }

    fn is_newer(&self, grant: &Grant, ended_at: Timestamp) -> Option<bool> {
        if grant.connected_at <= ended_at {
            return Some(false);
        }
        let longest = || schedule::add(grant.connected_at, -LONGEST_FLOW);
        if ended_at < doubtful_from(grant.begun_at.unwrap_or_else(longest)) {
            return Some(true);
        }
        match (grant.consent(), grant.live()) {
            (Some(consent), _) => self.is_taken(None, opened(&consent.token)),
            (None, Some(live)) => self.is_taken(Some(opened(&live.token)), 0),
            (None, None) => Some(false),
        }
    }

    /// Responds to Meta, or to the app.
    fn answer(&mut self, end: usize, is_done: bool) {
        self.world.meta.ends[end].is_done |= is_done;
        let worker = &mut self.world.workers[self.worker];
        if worker.repeats > 0 {
            worker.repeats -= 1;
            self.go(Step::Notified(end));
        } else {
            self.go(Step::Done);
        }
    }

    fn commit(&mut self, write: &Arc<Write>) {
        let before = self.world.clone();
        let transaction = self.check.mutated(&write.transaction);
        let outcome = tables::commit(&transaction, &mut self.world.rows);
        self.check.judge(&before, self.world, self.worker, write, &outcome);
        if self.event != Event::ResponseLost {
            self.follow(write, &outcome, before.row());
        }
    }

    fn follow(&mut self, write: &Write, outcome: &Outcome, before: Option<&Row>) {
        let is_done = *outcome == Outcome::Done;
        let found = match outcome {
            Outcome::Done => None,
            Outcome::Refused(_, row) => row.as_ref(),
        };
        match &write.then {
            Then::Work => {
                let owner = self.owner();
                let ours = found.filter(|row| row.text(A::LeaseOwner) == Some(&owner));
                let row = if is_done { self.world.row() } else { ours };
                let Some(mut row) = row.cloned() else { return self.go(Step::Done) };
                let until = row.time(A::LeaseUntil).unwrap_or_else(|| schedule::add(self.now(), LEASE));
                let asked_at = before.and_then(|row| row.time(A::AskedAt));
                if !is_done && asked_at.is_none() {
                    // Another writer has replaced the token since, and this worker's note with it.
                    let lease = Lease { owner: &owner, until };
                    let release = rules::release(&grant_key(), Right::Done(lease));
                    return self.write(alone(release), Then::Nothing, None);
                }
                let leased_at = schedule::add(until, -LEASE);
                if asked_at.is_none_or(|at| !is_done && at >= leased_at) {
                    row.remove(A::AskedAt);
                }
                self.go(Step::Work(Arc::new(row), false));
                self.world.workers[self.worker].leased_until = Some(until.as_second());
            }
            Then::Rehearsed(row) => match found {
                _ if is_done => self.go(Step::Work(row.clone(), true)),
                Some(_) => {
                    let (owner, until) = (self.owner(), self.now());
                    let is_settled = read(row).is_none_or(|grant| grant.is_settled());
                    let right = Right::finish(Lease { owner: &owner, until }, is_settled);
                    self.write(alone(rules::release(&grant_key(), right)), Then::Nothing, None);
                }
                None => self.go(Step::Done),
            },
            Then::Refreshed(refresh, beside) => {
                let seen = found.map_or(*beside, |row| Beside {
                    lease: beside.lease && row.text(A::LeaseOwner) == Some(&self.owner()),
                    consent: beside.consent || row.get(A::PendingToken).is_some(),
                });
                if seen != *beside {
                    return self.store_beside(refresh.clone(), seen);
                }
                let token_id = refresh.token_id(&self.owner());
                let is_ours = found.is_some_and(|row| row.text(A::TokenId) == Some(&token_id));
                if is_done || is_ours {
                    self.go(if self.check.scenario.trials {
                        Step::Trial(refresh.clone())
                    } else {
                        Step::Done
                    });
                } else {
                    self.give_back(found);
                }
            }
            Then::Completed(row, issued_at) => match (found, write.token) {
                (Some(there), Some(token)) if !is_made_in(write, there) => {
                    self.completed(row, token, *issued_at, false);
                }
                _ => self.go(Step::Done),
            },
            Then::GiveBack => match found {
                Some(there) if !is_made_in(write, there) => self.give_back(found),
                _ => self.go(Step::Done),
            },
            Then::Marked(row, cause) => self.go(Step::Verdict(row.clone(), *cause, true)),
            Then::Connected(committing) => self.connected(committing, outcome),
            Then::Imported(token, is_newest) => match outcome {
                Outcome::Refused(0, _) if *is_newest => self.import_beside(*token, false),
                _ => self.go(Step::Done),
            },
            Then::Disconnected(end, ended_at) => {
                let note = rules::note_end(&tombstone_key(), *ended_at);
                self.write(alone(note), Then::Noted(*end, *ended_at), None);
            }
            Then::Noted(end, ended_at) => {
                let (end, ended_at, fate) = (*end, *ended_at, Fate::Gone(*ended_at));
                self.revoke(Removing { end, ended_at, fate, is_newest: true, tries: 0 });
            }
            Then::Revoked(removing) => match found {
                Some(_) => self.go(Step::Refused(*removing)),
                None => self.answer(removing.end, true),
            },
            Then::Deleted(removing) => self.deleted(removing, outcome),
            Then::Answer(end) => self.answer(*end, true),
            Then::Nothing => self.go(Step::Done),
        }
    }

    fn give_back(&mut self, found: Option<&Row>) {
        let owner = self.owner();
        match found {
            Some(_) => {
                let lease = Lease { owner: &owner, until: self.now() };
                let release = rules::release(&grant_key(), Right::Unsettled(lease));
                self.write(alone(release), Then::Nothing, None);
            }
            None => self.go(Step::Done),
        }
    }

    fn connected(&mut self, committing: &Arc<Committing>, outcome: &Outcome) {
        match outcome {
            Outcome::Refused(1, _) if committing.is_newest => {
                self.try_commit(Committing { is_newest: false, ..Committing::clone(committing) });
            }
            Outcome::Refused(2, _) => self.go(Step::Ended(committing.clone())),
            // It is stored, by this attempt or by one whose response was lost; or the state was
            // spent.
            Outcome::Done | Outcome::Refused(..) => self.go(Step::Done),
        }
    }

    fn deleted(&mut self, removing: &Removing, outcome: &Outcome) {
        let end = removing.end;
        match (outcome, removing.fate) {
            (Outcome::Done, Fate::Gone(_)) => {
                let finish = rules::finish_deletion(&record_key(end), self.now());
                self.write(alone(finish), Then::Answer(end), None);
            }
            (Outcome::Done, Fate::Kept) => self.answer(end, true),
            (Outcome::Done, Fate::Doubtful) => self.answer(end, false),
            (Outcome::Refused(2, _), _) if removing.is_newest => {
                self.delete(Removing { is_newest: false, ..*removing });
            }
            (Outcome::Refused(..), _) => self.go(Step::Refused(*removing)),
        }
    }
}

impl Refresh {
    /// Returns the id of the new token.
    fn token_id(&self, owner: &str) -> String {
        format!("{}/{owner}", self.new)
    }

    /// Returns the times of the new token, and true if it lives longer than the used one.
    fn life(&self, used: &Live) -> (Life, bool) {
        let reported = u64::try_from(LIFE).map(Duration::from_secs).ok();
        let life = Life::of(used).refreshed(self.asked_at, reported);
        (life, Life::of(used).is_extended_by(&life))
    }
}

/// Returns true if a refused write was made before, and its response lost.
fn is_made_in(write: &Write, row: &Row) -> bool {
    let is_made = |part: &Part| matches!(part, Part::Update(change) if change.is_made_in(row));
    write.transaction.parts.iter().any(is_made)
}

/// Returns a suspicion at `now`, and the time at which it is tried again.
fn suspicion(live: &Live, cause: Cause, known: Option<Suspicion>, now: Timestamp) -> (Suspicion, Timestamp) {
    let suspicion = Suspicion { cause, since: known.map_or(now, |known| known.since) };
    (suspicion, schedule::second_look(live, suspicion, now, 0))
}

fn user() -> &'static UserId {
    &USER
}

fn record_key(end: usize) -> Key {
    Key::deletion(&end.to_string())
}

fn scopes() -> Scopes {
    Scopes::requested([])
}

/// Returns the access of a grant unchanged.
fn access(grant: &Grant) -> Access {
    let end = DataAccess::of(grant).end();
    Access { scopes: grant.scopes.clone(), source: grant.scopes_source, data_access_expires_at: end }
}

/// Returns a grant with a token that was requested at `issued_at`.
pub(crate) fn new_grant(
    grant_id: &str,
    token: usize,
    issued_at: Timestamp,
    begun_at: Option<Timestamp>,
) -> NewGrant<'_> {
    NewGrant {
        user_id: user(),
        grant_id,
        begun_at,
        sealed: seal(token, 0),
        access: Access { scopes: scopes(), source: ScopesSource::Granted, data_access_expires_at: None },
        username: None,
        pseudonym: pseudonym(),
        life: Life { issued_at, expires_at: schedule::add(issued_at, LIFE), is_assumed: false },
    }
}

/// Decides nothing, so all rows have the same.
const PSEUDONYM: &str = "p_AAAAAAAAAAAAAAAA";

fn pseudonym() -> Pseudonym {
    PSEUDONYM.parse().unwrap_or_else(|error| panic!("{error}"))
}

/// Returns a sealed value of a row with another key, if the row still holds it.
fn reseal(grant: &Grant) -> Option<Change> {
    let old = grant.live()?.token.clone();
    let new = seal(opened(&old), 1);
    Some(rules::reseal(&grant_key(), &[Resealed { attribute: A::Token, old, new }]))
}
