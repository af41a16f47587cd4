//! The rules, checked on states and writes.

use threads_auth_model::{Attribute as A, Ends, Progress, Row, State};
use threads_graph::ReauthorizationCause;

use crate::check::Check;
use crate::meta::By;
use crate::tables::Outcome;
use crate::world::{Job, Step, Then, Worker, World, Write, owner, read, tombstone_key};

/// Rule 1.
pub const END_WINS: &str = "1 an end beats every earlier consent";
/// Rule 1, the other way round.
pub const END_SPARES: &str = "1 an end does not affect a later consent";
/// Rule 2.
pub const NEWEST_WINS: &str = "2 the newest consent wins, and connected_at only grows";
/// Rule 3.
pub const TOKEN_KEPT: &str = "3 a token issued for the stored token is never dropped";
/// Rule 4.
pub const ONE_WORKER: &str = "4 at most one worker holds the lease of a row";
/// Rule 4, on writes.
pub const LEASE_RESPECTED: &str = "4 nobody takes another's lease";
/// Rule 5.
pub const DUE_FITS: &str = "5 a row has a due time if and only if it needs a look";
/// Rule 6.
pub const LEASE_GIVEN_BACK: &str = "6 a finished worker holds no lease";
/// Rule 8, on the time.
pub const TOMBSTONE_STAYS: &str = "8 a repeated delivery does not change the tombstone";
/// Rule 8, on consents.
pub const TOMBSTONE_FITS: &str = "8 a tombstone refuses only consents before the request";
/// Rule 10.
pub const TOKEN_ALIVE: &str = "10 a token that works is not marked as dead";
/// Rule 10, on a token that is lost.
pub const LOSS_KNOWN: &str = "10 a lost token is looked at within minutes, and known at the first refusal";
/// Rule 10, on the note.
pub const NOTE_FITS: &str = "10 a note ends with what settles it";
/// Required by all rules.
pub const READABLE: &str = "every row can be read";
/// Unavoidable for some behaviors of Meta.
pub const LOST: &str = "nobody has the only working token";

/// Passes the names of all rules to a macro.
macro_rules! with_rules {
    ($macro:ident) => {
        $macro![
            END_WINS,
            END_SPARES,
            NEWEST_WINS,
            TOKEN_KEPT,
            ONE_WORKER,
            LEASE_RESPECTED,
            DUE_FITS,
            LEASE_GIVEN_BACK,
            TOMBSTONE_STAYS,
            TOMBSTONE_FITS,
            TOKEN_ALIVE,
            LOSS_KNOWN,
            NOTE_FITS,
            READABLE
        ]
    };
}
pub(crate) use with_rules;

macro_rules! array {
    ($($rule:ident),+) => { [$($rule),+] };
}

/// All rules.
pub const RULES: [&str; 14] = with_rules!(array);

/// The writes that need the lease, or a row that nobody holds.
const BY_LEASE: [&str; 9] = [
    "close an appeal",
    "drop a consent",
    "mark a grant as dead",
    "defer a grant",
    "record an extension",
    "rehearse a write",
    "store a grant's access",
    "suspect a grant",
    "vouch for a token",
];

/// The writes after which the stored token is the newest, or none is stored.
const SETTLING: [&str; 8] = [
    "close an appeal",
    "complete a consent",
    "import a token",
    "mark a grant as dead",
    "record an extension",
    "revoke a grant",
    "store a refreshed token",
    "vouch for a token",
];

/// Seconds by which clocks may differ without a consequence.
const SKEW: i64 = 600;

impl Check {
    /// Judges a write.
    pub(crate) fn judge(
        &self,
        before: &World,
        world: &mut World,
        worker: usize,
        write: &Write,
        outcome: &Outcome,
    ) {
        let operation = write.transaction.operation;
        self.count(operation, *outcome == Outcome::Done);
        let now = self.now(before) + before.workers[worker].skew;
        let mut broken = Vec::new();
        let (old, new) = (before.row(), world.row());
        if let (Some(old), Some(new)) = (old, new) {
            let returned_at = |consent: usize| before.meta.consents[consent].returned_at;
            let held = [before.held(old), world.held(new)].map(|held| held.newest().map(returned_at));
            // A consent that has ended is no longer held.
            let is_dropped = operation == "drop a consent";
            let is_stale = !self.is_skewed() && !is_dropped && held[1].is_some() && held[1] < held[0];
            if new.time(A::ConnectedAt) < old.time(A::ConnectedAt) || is_stale {
                broken.push(NEWEST_WINS);
            }
            let holder = |row: &Row| row.text(A::LeaseOwner).map(ToOwned::to_owned);
            let is_running = old.time(A::LeaseUntil).is_some_and(|until| until.as_second() >= now);
            let is_anothers = holder(old).is_some_and(|holder| holder != owner(worker));
            let is_out_of_turn = *outcome == Outcome::Done && BY_LEASE.contains(&operation);
            if is_running && is_anothers && (holder(new) != holder(old) || is_out_of_turn) {
                broken.push(LEASE_RESPECTED);
            }
        }
        let end = match &write.then {
            Then::Revoked(removing) | Then::Deleted(removing) => Some(removing.end),
            Then::Answer(end) | Then::Noted(end, _) => Some(*end),
            _ => None,
        };
        if let (Some(end), Some(old)) = (end, old) {
            let newest =
                before.held(old).newest().filter(|consent| !is_ended_by_another(before, *consent, end));
            let consent = newest.map(|consent| &before.meta.consents[consent]);
            let end = &before.meta.ends[end];
            // Meta decides which consents its own end affects, and a deletion affects everybody in
            // progress. The app's end takes effect when it arrives.
            let is_newer = consent.is_some_and(|consent| match end.by {
                By::Threads => consent.at > end.at,
                By::Deletion => consent.began_at > end.at + self.tolerance(),
                By::App => false,
            });
            if is_newer && new.is_none_or(|new| world.held(new).newest().is_none()) {
                broken.push(END_SPARES);
            }
        }
        if let (Then::Refreshed(refresh, beside), Some(old)) = (&write.then, old) {
            let held = before.held(old);
            let is_made = *outcome == Outcome::Done;
            let of_stored = held.tokens.contains(&refresh.used);
            let overwrites = is_made && held.token.is_some() && !of_stored && held.token != Some(refresh.new);
            // The same write is tried again beside the change that came in between.
            let is_tried_again = (beside.lease && old.text(A::LeaseOwner) != Some(&owner(worker)))
                || (!beside.consent && old.get(A::PendingToken).is_some());
            let is_over = is_ended(before, before.meta.tokens[refresh.new].consent);
            let is_dropped = !is_made
                && held.token == Some(refresh.used)
                && refresh.new != refresh.used
                && !is_over
                && !is_tried_again;
            if overwrites || is_dropped {
                broken.push(TOKEN_KEPT);
            }
        }
        let mut is_overtaken = false;
        if *outcome == Outcome::Done
            && let (Some(old), Some(new)) = (old, new)
        {
            broken.extend(self.judge_note(before, write, old, new));
            is_overtaken = operation == "lease a grant" && old.get(A::LeaseOwner).is_some();
        }
        let deleted_at =
            |world: &World| world.rows.get(&tombstone_key()).and_then(|row| Ends::of(row).deleted_at);
        let is_repeated = end.is_some_and(|end| before.meta.ends[end].is_done);
        let is_back = deleted_at(world) < deleted_at(before);
        if is_back || (is_repeated && deleted_at(before) != deleted_at(world)) {
            broken.push(TOMBSTONE_STAYS);
        }
        world.is_overtaken |= is_overtaken;
        world.broken.extend(broken);
    }

    /// Judges a write by rule 10.
    fn judge_note(&self, before: &World, write: &Write, old: &Row, new: &Row) -> Option<&'static str> {
        let operation = write.transaction.operation;
        let token = before.held(old).token;
        let is_taken = |token: usize| before.meta.takes(token, self.now(before));
        let is_passing = new.text(A::Cause) == Some("checkpoint");
        if operation == "mark a grant as dead" && token.is_some_and(is_taken) && !is_passing {
            return Some(TOKEN_ALIVE);
        }
        let is_first = old.get(A::SuspectedAt).is_none() && !self.scenario.waves;
        if operation == "suspect a grant" && is_first && is_successor_lost(before, token) {
            return Some(LOSS_KNOWN);
        }
        let is_new = old.get(A::GrantId) != new.get(A::GrantId);
        let is_connect = operation == "commit a connect" && is_new;
        let is_look = operation == "store a grant's access" && write.then == Then::GiveBack;
        let is_settling = SETTLING.contains(&operation) || is_connect || is_look;
        (is_settling && new.get(A::AskedAt).is_some()).then_some(NOTE_FITS)
    }

    /// Judges the refusal of a consent because of an end.
    pub(crate) fn judge_refusal(&self, world: &mut World, consent: usize) {
        let began_at = world.meta.consents[consent].began_at;
        if !world.meta.ends.iter().any(|end| end.at + self.tolerance() >= began_at) {
            world.broken.push(TOMBSTONE_FITS);
        }
    }

    fn tolerance(&self) -> i64 {
        if self.is_skewed() { SKEW } else { 0 }
    }

    fn is_skewed(&self) -> bool {
        self.scenario.workers.iter().any(|(_, skew)| *skew != 0)
    }
}

/// Judges a state.
pub(crate) fn state(check: &Check, world: &mut World) {
    let mut broken = Vec::new();
    for token in world.row().map(|row| world.held(row).tokens).unwrap_or_default() {
        world.meta.tokens[token].is_known = true;
    }
    if let Some(row) = world.row() {
        let grant = read(row);
        match &grant {
            None => broken.push(READABLE),
            Some(grant) => {
                let is_looked_at = !matches!(grant.state, State::Final(_, None) | State::Revoked(_, None));
                // A consent waits for an hour only.
                let is_late = grant.consent().is_some_and(|consent| {
                    grant.due_at.is_some_and(|due| due.as_second() > consent.expires_at.as_second() + SKEW)
                });
                if grant.due_at.is_some() != is_looked_at || is_late {
                    broken.push(DUE_FITS);
                }
            }
        }
        let held = world.held(row);
        if let Some(consent) = held.newest()
            && is_carried_out(world, consent)
            && !is_in_doubt(check, world, row)
        {
            broken.push(if is_deleted(world, consent) { TOMBSTONE_FITS } else { END_WINS });
        }
        if is_lost_without_cause(check, world, row) {
            broken.push(TOKEN_KEPT);
        }
        let is_known = row.get(A::SuspectedAt).is_some() || row.get(A::PendingToken).is_some();
        let is_late = row.time(A::DueAt).is_some_and(|due| due.as_second() > check.now(world) + SKEW);
        let is_active = grant.is_some_and(|grant| matches!(grant.state, State::Active(..)));
        if is_active && is_late && !is_known && is_successor_lost(world, held.token) {
            broken.push(LOSS_KNOWN);
        }
        let holder = row.text(A::LeaseOwner);
        // A consent that waits may have refused the write that settles the note.
        let has_failed = world.left != check.scenario.left || world.is_overtaken;
        let may_wait = check.scenario.workers.iter().any(|(job, _)| *job == Job::ConnectShort);
        if row.get(A::AskedAt).is_some() && holder.is_none() && !has_failed && !may_wait {
            broken.push(NOTE_FITS);
        }
        let is_done = |step: &Step| matches!(step, Step::Done | Step::Trial(..));
        let mut workers = world.workers.iter().enumerate();
        let is_nobodys = holder.is_none() && row.get(A::LeaseUntil).is_some();
        if is_nobodys || workers.any(|(n, worker)| is_done(&worker.step) && holder == Some(&owner(n))) {
            broken.push(LEASE_GIVEN_BACK);
        }
    }
    for (_, record) in world.rows.iter().filter(|(key, _)| key.is_deletion()) {
        match Progress::from_row("grants", record) {
            Err(_) => broken.push(READABLE),
            Ok(progress) => {
                if record.get(A::DueAt).is_some() != matches!(progress, Progress::Unfinished(..)) {
                    broken.push(DUE_FITS);
                }
            }
        }
    }
    let skews = || world.workers.iter().map(|worker| worker.skew);
    let apart = skews().max().unwrap_or(0) - skews().min().unwrap_or(0);
    let now = check.now(world);
    let is_working = |worker: &&Worker| {
        matches!(worker.step, Step::Work(..) | Step::Verdict(..))
            && worker.leased_until.is_some_and(|until| now + worker.skew + apart <= until)
    };
    if world.workers.iter().filter(is_working).count() > 1 {
        broken.push(ONE_WORKER);
    }
    world.broken.extend(broken);
}

/// Returns true if the row is not trusted, and is due within minutes.
fn is_in_doubt(check: &Check, world: &World, row: &Row) -> bool {
    let is_soon = row.time(A::DueAt).is_some_and(|due| due.as_second() <= check.now(world) + SKEW);
    is_soon && (row.get(A::SuspectedAt).is_some() || row.get(A::PendingToken).is_some())
}

/// Returns true if Meta has ended the token for one that was lost.
fn is_successor_lost(world: &World, token: Option<usize>) -> bool {
    let tokens = &world.meta.tokens;
    let is_dead = |token: &usize| tokens[*token].refused == Some(ReauthorizationCause::Invalid);
    let token = token.filter(is_dead);
    token.is_some() && tokens.iter().any(|new| new.is_lost && new.parent == token)
}

/// Returns true if an end came after the consent.
fn is_ended(world: &World, consent: usize) -> bool {
    let at = world.meta.consents[consent].at;
    world.meta.ends.iter().any(|end| end.at > at)
}

fn is_ended_by_another(world: &World, consent: usize, this: usize) -> bool {
    let at = world.meta.consents[consent].at;
    world.meta.ends.iter().enumerate().any(|(n, end)| n != this && end.at > at)
}

/// Returns true if such an end was carried out.
fn is_carried_out(world: &World, consent: usize) -> bool {
    let at = world.meta.consents[consent].at;
    world.meta.ends.iter().any(|end| end.at > at && end.is_done)
}

fn is_deleted(world: &World, consent: usize) -> bool {
    let at = world.meta.consents[consent].at;
    world.meta.ends.iter().any(|end| end.at > at && end.is_done && end.by == By::Deletion)
}

/// Returns true if Meta accepts a token of the row's consent but none of those in the row, although
/// a worker could have stored it.
fn is_lost_without_cause(check: &Check, world: &World, row: &Row) -> bool {
    is_without(check, world, row, false)
}

/// Returns true if that token was lost with the only worker that had it.
pub(crate) fn is_lost(check: &Check, world: &World) -> bool {
    world.row().is_some_and(|row| is_without(check, world, row, true))
}

fn is_without(check: &Check, world: &World, row: &Row, is_lost: bool) -> bool {
    let now = check.now(world);
    let consent = match row.get(A::TokenId) {
        // The generation names the consent after the token was dropped.
        Some(_) => row.text(A::GrantId).and_then(|id| id.split('/').next()?.parse().ok()).or(Some(0)),
        None => None,
    };
    let Some(consent) = consent else { return false };
    if is_ended(world, consent) {
        return false;
    }
    let in_hand = world.workers.iter().any(|worker| {
        matches!(&worker.step, Step::Write(write) if write.token.is_some_and(|token| world.meta.takes(token, now)))
    });
    let held = world.held(row);
    let mut valid = (0..world.meta.tokens.len()).filter(|token| world.meta.takes(*token, now));
    let mut stray = valid.clone().map(|token| &world.meta.tokens[token]).filter(|token| {
        // A token that was never issued for the row nor stored in it does not belong to the row.
        token.consent == consent && token.is_lost == is_lost && (token.is_known || token.parent.is_some())
    });
    // If the successor of the row's token was lost, no other token can replace it.
    let is_of_row = |parent: Option<usize>| parent.is_some_and(|parent| held.tokens.contains(&parent));
    let has_gone = world.meta.tokens.iter().any(|token| token.is_lost && is_of_row(token.parent));
    if has_gone && !is_lost {
        return false;
    }
    // No token of a grant that is dead for good is used.
    let is_live = read(row).is_some_and(|grant| grant.live().is_some());
    !in_hand && stray.any(|_| true) && !(is_live && valid.any(|token| held.tokens.contains(&token)))
}
