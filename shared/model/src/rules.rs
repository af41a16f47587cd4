//! The writes of a grant, each with the condition under which it is correct.
//!
//! 1. An end beats a connect in progress. An end has no effect on a flow that began after it, and
//!    ends a grant that was committed before it. In between, Meta's response to the new token
//!    decides ([`Ends`]).
//! 2. The newest consent wins, and `connected_at` only grows.
//! 3. A token that Meta issued for the stored one is stored even without the lease: it may be the
//!    only one that still works. The fence alone decides: the generation is unchanged, and the
//!    stored token is still the one that was sent to Meta. It does not matter which of the two
//!    lives longer.
//! 4. One worker per row: every other write that follows from a lease needs that lease, and nobody
//!    takes another's lease. A lease ends by its time, or its holder releases it.
//! 5. Only a grant that can be refreshed, completed or appealed has a due time. A consent that came
//!    since the lease was taken keeps its own due time.
//! 6. A worker whose write is superseded releases its lease ([`release`]).
//! 7. An end or a deletion also applies to a row whose times are damaged.
//! 8. A tombstone refuses consents that are older than the deletion request, and no others. Only a
//!    newer request changes the tombstone's time.
//!
//! Rule 9 is about sessions: [`Session::note`](crate::Session::note).
//!
//! 10. A lease notes ahead that Meta is about to be asked. The note stays until a write settles
//!     which token is the newest.
//!
//! A verdict on a token is not an end: a token that Meta issued in the meantime disproves it.

use jiff::Timestamp;
use threads_graph::{ErrorClass, Scopes, UserId};

use crate::Attribute as A;
use crate::Condition::{Above, Absent, All, Any, AtMost, Below, Exists, Is, IsNot, NotANumber};
use crate::row::scopes_text;
use crate::schedule::{self, DataAccess, Life};
use crate::{
    Access, Cause, Change, Condition, Ends, FailureClass, Grant, Key, Live, Part, Pseudonym, RevokedBy, Row,
    State, Status, Suspicion, Transaction, Vouch, Warning, doubtful_from,
};

/// Lifetime of a spent state, in seconds. It outlives the code that came with it, which Meta
/// accepts for an hour.
const SPENT_SECONDS: i64 = 2 * 3_600;

/// The earliest possible time of a deletion. A smaller value in a row means none.
const FIRST_DELETION: Timestamp = Timestamp::constant(1, 0);

/// The attributes that mark an unclaimed account.
pub const UNCLAIMED: &[A] = &[A::UnclaimedUntil, A::UnclaimedWarned];

/// The attributes of a lease.
pub const LEASE: &[A] = &[A::LeaseOwner, A::LeaseUntil];

const TOKENS: &[A] = &[A::Token, A::PreviousToken];
const CONSENT: &[A] = &[A::PendingToken, A::PendingScopes, A::PendingExpiresAt];
const DUE: &[A] = &[A::DueAt, A::DueShard];
const WARNING: &[A] = &[A::WarnedOf, A::WarnedDays];
const UNFINISHED: &[A] = &[A::Unfinished, A::RequestedAt, A::GrantGone];
/// Meta's responses about the token that is replaced.
const DOUBTS: &[A] = &[A::SuspectedCause, A::SuspectedAt, A::VouchedUntil, A::Vouches];

/// The exclusive right to work on one row for a limited time.
#[derive(Clone, Copy, Debug)]
pub struct Lease<'a> {
    /// The holder's name: random, and new for every sweep.
    pub owner: &'a str,
    /// End of the lease, unless it is released before.
    pub until: Timestamp,
}

/// The reason for taking a lease, which restricts the rows that can be leased.
#[derive(Clone, Copy, Debug)]
pub enum LeaseReason<'a> {
    /// The grant is due, and a sweep works on it.
    Due,
    /// A caller needs a token that lives longer than this one, even if the grant is not due.
    Expiring(&'a Grant, &'a Live),
    /// A caller reports that Meta refuses this token.
    Doubted(&'a Live),
}

impl LeaseReason<'_> {
    /// Returns true if the schedule is the reason.
    #[must_use]
    pub fn is_due(self) -> bool {
        matches!(self, Self::Due)
    }
}

/// The right by which a worker writes anything but a token that Meta issued.
#[derive(Clone, Copy, Debug)]
pub enum Right<'a> {
    /// The worker holds the lease, and the write releases it. The stored token is the newest.
    Done(Lease<'a>),
    /// The same, but Meta may have issued a newer token: the note stays.
    Unsettled(Lease<'a>),
    /// The worker holds the lease, and keeps it.
    Held(Lease<'a>),
    /// Nobody holds a lease at this time.
    Free(Timestamp),
    /// Meta reported an end, which needs no lease.
    End,
}

impl<'a> Right<'a> {
    /// Returns the right to finish. Unless it `is_settled` that the stored token is the newest, the
    /// note stays.
    #[must_use]
    pub fn finish(lease: Lease<'a>, is_settled: bool) -> Self {
        if is_settled { Self::Done(lease) } else { Self::Unsettled(lease) }
    }
}

/// The state of the row beside the token that is replaced, when it was last read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Beside {
    /// True if the writer still holds its lease.
    pub lease: bool,
    /// True if a consent is waiting for its long-lived token.
    pub consent: bool,
}

/// The deferral of a leased grant.
#[derive(Clone, Copy, Debug)]
pub struct Deferral<'a> {
    /// The generation that was leased, if the row names one.
    pub grant_id: Option<&'a str>,
    /// The new due time.
    pub due_at: Timestamp,
    /// Consecutive failures.
    pub failures: u32,
    /// The class of the failure, if there was one.
    pub class: Option<FailureClass>,
    /// A warning that was not given before.
    pub warning: Option<Warning>,
    /// True if the grant had a pending consent when it was leased.
    pub had_consent: bool,
    /// True if Meta cannot have issued a newer token than the stored one.
    pub is_settled: bool,
}

/// A refreshed token, sealed.
#[derive(Clone, Copy, Debug)]
pub struct Refreshed<'a> {
    /// The new token.
    pub sealed: &'a [u8],
    /// Its new random id.
    pub token_id: &'a str,
    /// The token that it replaces, if that has not expired.
    pub previous: Option<&'a [u8]>,
    /// The account's name in logs, for a row of an older version that has none.
    pub pseudonym: &'a str,
    /// Its times.
    pub life: Life,
    /// Time of the next try, if it does not live longer than the token that it replaces. The
    /// refresh then counts as a failure.
    pub retry_at: Option<Timestamp>,
}

/// A grant with its first long-lived token, sealed.
#[derive(Clone, Debug)]
pub struct NewGrant<'a> {
    /// The Threads user id.
    pub user_id: &'a UserId,
    /// The new generation.
    pub grant_id: &'a str,
    /// Start of the person's flow; none for an imported token.
    pub begun_at: Option<Timestamp>,
    /// The token, sealed for the row.
    pub sealed: Vec<u8>,
    /// The granted scopes and the end of data access.
    pub access: Access,
    /// The profile's username, if Meta reported it.
    pub username: Option<String>,
    /// The account's name in logs, unless the row has one.
    pub pseudonym: Pseudonym,
    /// The token's times.
    pub life: Life,
}

/// A consent whose long-lived exchange failed, with its short-lived token sealed.
#[derive(Clone, Debug)]
pub struct NewConsent<'a> {
    /// The Threads user id.
    pub user_id: &'a UserId,
    /// The generation, if there is no grant yet. An existing grant keeps its own until the exchange
    /// succeeds.
    pub grant_id: &'a str,
    /// The account's name in logs, unless the row has one.
    pub pseudonym: Pseudonym,
    /// Start of the person's flow.
    pub begun_at: Timestamp,
    /// The short-lived token, sealed for the row.
    pub sealed: Vec<u8>,
    /// The requested scopes.
    pub scopes: &'a Scopes,
    /// Expiry of the short-lived token.
    pub expires_at: Timestamp,
}

/// A sealed value, and its replacement.
#[derive(Clone, Debug)]
pub struct Resealed {
    /// The attribute that holds it.
    pub attribute: A,
    /// The bytes in the row now.
    pub old: Vec<u8>,
    /// The bytes that replace them.
    pub new: Vec<u8>,
}

/// Takes the lease of a row that nobody holds, and notes ahead that Meta is about to be asked. The
/// time of an earlier note that was never settled stays. A grant that is refreshed before it is due
/// becomes due when the lease ends, in case its holder is killed.
#[must_use]
pub fn lease(key: &Key, reason: LeaseReason<'_>, lease: Lease<'_>, now: Timestamp) -> Change {
    let wanted = match reason {
        LeaseReason::Due => AtMost(A::DueAt, now.into()),
        LeaseReason::Expiring(_, live) | LeaseReason::Doubted(live) => fence(live),
    };
    let change = Change::of(key.clone(), "lease a grant", All(vec![Exists(A::DueAt), free(now), wanted]))
        .set(A::LeaseOwner, lease.owner)
        .set(A::LeaseUntil, lease.until)
        .set_if_absent(A::AskedAt, now);
    match reason {
        LeaseReason::Expiring(grant, _) if grant.due_at.is_some_and(|due| due > lease.until) => {
            change.set(A::DueAt, lease.until)
        }
        _ => change,
    }
}

/// Releases a lease without any other change.
#[must_use]
pub fn release(key: &Key, right: Right<'_>) -> Change {
    with_right(Change::of(key.clone(), "release a lease", Condition::NONE), right)
}

/// Writes the attributes of a new token before there is one, to show that the row and its index
/// accept them. The stored token stays, and the due time moves by a second. It stays in the past,
/// because callers assume that nobody is about to replace the token of a grant that is not due.
#[must_use]
pub fn rehearse(grant: &Grant, live: &Live, lease: Lease<'_>) -> Change {
    let token = live.token.as_slice();
    let still = All(vec![Exists(A::DueAt), owned(lease), Is(A::Token, token.into())]);
    change_of(&grant.user_id, "rehearse a write", still)
        .set(A::Token, token)
        .set(A::IssuedAt, live.issued_at)
        .set(A::ExpiresAt, live.expires_at)
        .set(A::DueAt, schedule::add(grant.due_at.unwrap_or(lease.until), -1))
}

/// Stores the token of a refresh with the token `used`. The grant gets a new due time from the
/// token's life, unless a pending consent has set its own.
#[must_use]
pub fn store_refreshed(
    grant: &Grant,
    used: &Live,
    refreshed: Refreshed<'_>,
    lease: Lease<'_>,
    beside: Beside,
    now: Timestamp,
) -> Change {
    let Life { issued_at, expires_at, is_assumed } = refreshed.life;
    let gained = refreshed.retry_at.is_none();
    let mut change =
        change_of(&grant.user_id, "store a refreshed token", same_generation(grant).and(fence(used)))
            .set(A::Token, refreshed.sealed)
            .set(A::TokenId, refreshed.token_id)
            .set_or_remove(A::PreviousToken, refreshed.previous)
            .set(A::Status, Status::Active.as_str())
            .set(A::IssuedAt, issued_at)
            .set(A::ExpiresAt, expires_at)
            .set_or_remove(A::ExpiryAssumed, is_assumed.then_some(1))
            .set(A::RefreshedAt, issued_at)
            .set(A::Failures, if gained { 0 } else { i64::from(grant.failures) + 1 })
            .set_or_remove(A::LastError, (!gained).then_some(FailureClass::NotExtended.as_str()))
            .set(A::UpdatedAt, now)
            .set_if_absent(A::Pseudonym, refreshed.pseudonym)
            .remove(DOUBTS)
            .remove(&[A::Cause, A::AskedAt]);
    if beside.lease {
        change = with_right(change, Right::Done(lease));
    }
    if !beside.consent {
        let token_due = refreshed.retry_at.unwrap_or_else(|| refreshed.life.due_at(&grant.user_id));
        let due_at = schedule::next_look(token_due, DataAccess::of(grant), issued_at);
        change = limit_due_time(grant, unless_consented(due(change, &grant.user_id, due_at), false));
    }
    warned(change, schedule::warning(expires_at, used.data_access_expires_at, issued_at))
}

/// Stores the access that Meta reported for a grant whose token works, if the row still holds that
/// token. A dead grant becomes active again, under the lease with which it was tried.
#[must_use]
pub fn store_access(grant: &Grant, live: &Live, access: &Access, right: Right<'_>, now: Timestamp) -> Change {
    let end = access.data_access_expires_at;
    let looks = DataAccess::new(end, access.source, grant.connected_at);
    let due_at = schedule::next_look(schedule::token_due(&grant.user_id, live), looks, now);
    let still = same_generation(grant).and(fence(live));
    let change = change_of(&grant.user_id, "store a grant's access", still)
        .set(A::Status, Status::Active.as_str())
        .set(A::UpdatedAt, now)
        .set(A::Failures, 0)
        .remove(&[A::Cause, A::LastError, A::SuspectedCause, A::SuspectedAt])
        // Meta accepts the current token, so the previous one is no longer needed.
        .remove(&[A::PreviousToken]);
    let change =
        with_right(warned(granted(change, access), schedule::warning(live.expires_at, end, now)), right);
    limit_due_time(grant, unless_consented(due(change, &grant.user_id, due_at), grant.consent().is_some()))
}

/// Stores the access and the expiry that Meta reported for a token that was just stored. The caller
/// no longer holds a lease.
#[must_use]
pub fn store_life(grant: &Grant, live: &Live, access: &Access, found: Life, now: Timestamp) -> Change {
    let live = Live { expires_at: found.expires_at, expiry_assumed: found.is_assumed, ..live.clone() };
    let mut change = store_access(grant, &live, access, Right::Free(now), now)
        .set(A::ExpiresAt, found.expires_at)
        .set_or_remove(A::ExpiryAssumed, found.is_assumed.then_some(1));
    change.when = change.when.and(is_active());
    change
}

/// Records that Meta calls a token too young although it is old enough by our record: an earlier
/// refresh extended it, and its response was lost. The next refresh finds its true life.
#[must_use]
pub fn assume_extended(grant: &Grant, live: &Live, lease: Lease<'_>, now: Timestamp) -> Change {
    let assumed = Life::new(now, None);
    let still = same_generation(grant).and(fence(live));
    let change = change_of(&grant.user_id, "record an extension", still)
        .set(A::IssuedAt, assumed.issued_at)
        .set(A::ExpiresAt, assumed.expires_at)
        .set(A::ExpiryAssumed, 1)
        .set(A::Failures, 0)
        .set(A::UpdatedAt, now)
        .remove(&[A::LastError, A::SuspectedCause, A::SuspectedAt]);
    let change = with_right(change, Right::Done(lease));
    let due_at = schedule::next_look(assumed.due_at(&grant.user_id), DataAccess::of(grant), now);
    limit_due_time(grant, unless_consented(due(change, &grant.user_id, due_at), grant.consent().is_some()))
}

/// Records that Meta accepted a token that a caller doubted, and releases the lease.
#[must_use]
pub fn vouch(grant: &Grant, live: &Live, lease: Lease<'_>, now: Timestamp) -> Change {
    let times = live.vouch.map_or(0, |vouch| vouch.times).saturating_add(1);
    let Vouch { until, times } = Vouch { until: schedule::vouched_until(now, times), times };
    let change = change_of(&grant.user_id, "vouch for a token", same_generation(grant).and(fence(live)))
        .set(A::VouchedUntil, until)
        .set(A::Vouches, i64::from(times))
        .remove(&[A::PreviousToken]);
    with_right(change, Right::Done(lease))
}

/// Records a refusal of a token by Meta that is not confirmed yet. The token is tried again at
/// `look_at`, and not handed out until then.
#[must_use]
pub fn suspect(
    grant: &Grant,
    live: &Live,
    suspicion: Suspicion,
    look_at: Timestamp,
    right: Right<'_>,
    now: Timestamp,
) -> Change {
    let warning = schedule::warning(live.expires_at, live.data_access_expires_at, now);
    let change =
        suspected(grant, live, suspicion, look_at, right).set(A::Failures, i64::from(grant.failures) + 1);
    match warning.filter(|warning| live.warning != Some(*warning)) {
        Some(warning) => warned(change, Some(warning)).set(A::UpdatedAt, now),
        None => change,
    }
}

/// Like [`suspect`], without counting a failure: the next step is not decided yet, or Meta was not
/// called at all.
#[must_use]
pub fn suspected(
    grant: &Grant,
    live: &Live,
    suspicion: Suspicion,
    look_at: Timestamp,
    right: Right<'_>,
) -> Change {
    let still = same_generation(grant).and(fence(live)).and(is_active());
    let operation = if matches!(right, Right::End) { "doubt a grant" } else { "suspect a grant" };
    let change = change_of(&grant.user_id, operation, still)
        .set(A::SuspectedCause, suspicion.cause.as_str())
        .set(A::SuspectedAt, suspicion.since)
        .set(A::LastError, FailureClass::Suspected.as_str());
    let change = with_right(due(change, &grant.user_id, look_at), right);
    limit_due_time(grant, unless_consented(change, grant.consent().is_some()))
}

/// Stores the long-lived token of a pending consent, identified by its short-lived token. The row
/// becomes the same as after a connect. Like every token that Meta has issued, it can be stored
/// without a lease.
#[must_use]
pub fn complete_consent(
    grant: &NewGrant<'_>,
    pending: &[u8],
    lease: Option<Lease<'_>>,
    now: Timestamp,
) -> Change {
    let change = change_of(grant.user_id, "complete a consent", has_pending(pending));
    let change = connected(change, grant, None, now);
    match lease {
        Some(lease) => with_right(change, Right::Done(lease)),
        None => change,
    }
}

/// Drops a consent that can no longer be completed. The grant continues as before, or needs the
/// person's consent again.
#[must_use]
pub fn drop_consent(grant: &Grant, pending: &[u8], lease: Lease<'_>, now: Timestamp) -> Change {
    let change = change_of(&grant.user_id, "drop a consent", has_pending(pending))
        .set(A::UpdatedAt, now)
        .set(A::Failures, 0)
        .remove(CONSENT);
    let change = with_right(change, Right::finish(lease, grant.is_settled()));
    match &grant.state {
        // Otherwise nobody would look at it before its token is due.
        State::Active(live, _) if live.suspicion.is_some() => change.set(A::DueAt, now),
        State::Active(live, _) => {
            let token_due = schedule::token_due(&grant.user_id, live);
            let due_at = schedule::next_look(token_due, DataAccess::of(grant), now);
            limit_due_time(grant, change.set(A::DueAt, due_at))
        }
        State::Appealable(..) => {
            limit_due_time(grant, change.set(A::DueAt, schedule::add(now, schedule::A_DAY.as_secs())))
        }
        State::Final(..) => change.remove(DUE),
        State::New(_) | State::Revoked(..) => change
            .set(A::Status, Status::NeedsReauthorization.as_str())
            .set(A::Cause, Cause::NotCompleted.as_str())
            .remove(DUE),
    }
}

/// Defers a leased row, and releases the lease.
#[must_use]
pub fn defer(key: &Key, lease: Lease<'_>, deferral: Deferral<'_>, now: Timestamp) -> Change {
    // A grant that has ended in the meantime has no due time, and must not get one.
    let mut change = Change::of(key.clone(), "defer a grant", Exists(A::DueAt))
        .set(A::DueAt, deferral.due_at)
        .set(A::Failures, i64::from(deferral.failures));
    change = with_right(change, Right::finish(lease, deferral.is_settled));
    if let Some(grant_id) = deferral.grant_id {
        change.when = change.when.and(generation(grant_id));
    }
    if let Some(class) = deferral.class {
        change = change.set(A::LastError, class.as_str());
    }
    if deferral.warning.is_some() {
        // The warning's event takes its time from the row.
        change = warned(change, deferral.warning).set(A::UpdatedAt, now);
    }
    unless_consented(change, deferral.had_consent)
}

/// Marks a grant as dead for `cause`, if its token is still the one that was refused, and nobody
/// has confirmed it since. A token that is dead for good is dropped. Its times and its id stay, so
/// that a late refresh can still store its token. A token that Meta may accept again is tried the
/// next day.
#[must_use]
pub fn end(grant: &Grant, refused: &Live, lease: Lease<'_>, cause: Cause, now: Timestamp) -> Change {
    let still = same_generation(grant).and(fence(refused)).and(is_active());
    let change = change_of(&grant.user_id, "mark a grant as dead", still)
        .set(A::Status, Status::NeedsReauthorization.as_str())
        .set(A::Cause, cause.as_str())
        .set(A::LastError, FailureClass::Threads(ErrorClass::NeedsReauthorization).as_str())
        .set(A::UpdatedAt, now)
        .remove(DOUBTS);
    let change = with_right(change, Right::Done(lease));
    let change = if cause.is_appealable() && now < Life::of(refused).own_end() {
        limit_due_time(grant, due(change, &grant.user_id, schedule::add(now, schedule::A_DAY.as_secs())))
    } else {
        change.remove(TOKENS).remove(DUE)
    };
    unless_consented(change, grant.consent().is_some())
}

/// Drops the token of a dead grant whose time is over, if the row still holds it: a late refresh
/// may have stored another.
#[must_use]
pub fn close_appeal(grant: &Grant, ended: &Live, lease: Lease<'_>) -> Change {
    let still = same_generation(grant).and(fence(ended));
    let change = change_of(&grant.user_id, "close an appeal", still).remove(TOKENS).remove(DUE);
    unless_consented(with_right(change, Right::Done(lease)), grant.consent().is_some())
}

/// Ends a grant, unless the person has consented again since `revoked_at`, or it has already ended.
/// The token's id is removed, so that no refresh in progress can store its token.
#[must_use]
pub fn revoke(user_id: &UserId, by: RevokedBy, revoked_at: Timestamp, now: Timestamp) -> Change {
    let lives = Any(vec![IsNot(A::Status, Status::Revoked.as_str().into()), Exists(A::PendingToken)]);
    let when = All(vec![Exists(A::Pk), consented_until(revoked_at), lives]);
    change_of(user_id, "revoke a grant", when)
        .set(A::Status, Status::Revoked.as_str())
        .set(A::RevokedBy, by.as_str())
        .set(A::Failures, 0)
        .set(A::UpdatedAt, now)
        .remove(TOKENS)
        .remove(&[A::TokenId, A::IssuedAt, A::ExpiresAt, A::RefreshedAt, A::AskedAt])
        .remove(DOUBTS)
        .remove(CONSENT)
        .remove(DUE)
        .remove(&[A::Cause, A::LastError, A::DataAccessExpiresAt])
        .remove(WARNING)
}

/// Stores a grant that a person has just consented to. With `doubt` the token is suspected and
/// tried at that time: an end came in the meantime, and Meta did not report if it concerns this
/// consent.
#[must_use]
pub fn connect(grant: &NewGrant<'_>, doubt: Option<Timestamp>, now: Timestamp) -> Change {
    let change = change_of(grant.user_id, "commit a connect", is_newest(grant.begun_at, now));
    connected(change, grant, doubt, now).set(A::ConnectedAt, now).set_or_remove(A::BegunAt, grant.begun_at)
}

/// Stores a consent whose long-lived exchange is pending.
#[must_use]
pub fn consent(consent: &NewConsent<'_>, now: Timestamp) -> Change {
    let scopes = scopes_text(consent.scopes);
    let change = change_of(consent.user_id, "commit a connect", is_newest(Some(consent.begun_at), now))
        .set(A::UserId, consent.user_id.as_str())
        .set_if_absent(A::GrantId, consent.grant_id)
        .set_if_absent(A::Status, Status::Pending.as_str())
        .set_if_absent(A::Scopes, scopes.as_str())
        .set(A::PendingToken, consent.sealed.as_slice())
        .set(A::PendingScopes, scopes)
        .set(A::PendingExpiresAt, consent.expires_at)
        .set(A::ConnectedAt, now)
        .set(A::BegunAt, consent.begun_at)
        .set_if_absent(A::CreatedAt, now)
        .set_if_absent(A::Pseudonym, consent.pseudonym.as_str())
        .set(A::UpdatedAt, now);
    due(change, consent.user_id, now)
}

/// The condition that the row holds a newer consent than that of the flow which began at `begun_at`
/// and is committed `now`, and that the newer one has not ended.
#[must_use]
pub fn consented_since(begun_at: Timestamp, now: Timestamp) -> Condition {
    let lives = Any(vec![is_active(), Exists(A::PendingToken)]);
    let same_second = Is(A::ConnectedAt, now.into()).and(Above(A::BegunAt, begun_at.into()));
    All(vec![Any(vec![newer_than(now), same_second]), lives])
}

/// Stores an imported token. It is refused if the row holds an active grant that lives as long, a
/// grant that ended since the token was issued, or a pending consent. A token of unknown age only
/// replaces a dead grant. With `is_newest`, nothing was consented to since the token was issued;
/// otherwise the time of the last consent stays.
#[must_use]
pub fn import(grant: &NewGrant<'_>, is_newest: bool, now: Timestamp) -> Change {
    let is = |status: Status| Is(A::Status, status.as_str().into());
    let mut worse = vec![is(Status::NeedsReauthorization)];
    let Life { issued_at, expires_at, is_assumed } = grant.life;
    if !is_assumed {
        worse.push(is(Status::Revoked).and(Below(A::UpdatedAt, issued_at.into())));
        worse.push(is(Status::Active).and(Below(A::ExpiresAt, expires_at.into())));
    }
    let replaceable = Absent(A::PendingToken).and(Any(worse));
    let when = Any(vec![Absent(A::Pk), replaceable]);
    let change = connected(change_of(grant.user_id, "import a token", when), grant, None, now);
    let change = without_session(change);
    if is_newest {
        let mut change = change.set(A::ConnectedAt, issued_at).remove(&[A::BegunAt]);
        change.when = change.when.and(consented_until(issued_at));
        return change;
    }
    change
}

/// A connect or an import without a session. There is no session to complete, so the account counts
/// as claimed.
#[must_use]
pub fn without_session(change: Change) -> Change {
    change.remove(&[A::SessionId]).remove(UNCLAIMED)
}

/// Imports a token, if [`import`] allows it and no end since its issue forbids it.
#[must_use]
pub fn take_over(grant: &NewGrant<'_>, tombstone: &Key, is_newest: bool, now: Timestamp) -> Transaction {
    let Life { issued_at, is_assumed, .. } = grant.life;
    // Meta has just accepted a token of unknown age, so only an end of this moment concerns it. It
    // may be older than any deletion, however.
    let (deleted_since, ended_since) =
        if is_assumed { (FIRST_DELETION, doubtful_from(now)) } else { (issued_at, issued_at) };
    let alive = not_deleted_since(deleted_since)
        .and(earlier(A::EndedAt, ended_since.as_second()))
        .and(earlier(A::DisconnectedMs, ended_since.as_millisecond()));
    let parts = vec![Part::Update(import(grant, is_newest, now)), Part::Check(tombstone.clone(), alive)];
    Transaction { operation: "import a token", parts }
}

/// The facts of a connect that is committed, besides its grant.
#[derive(Clone, Copy, Debug)]
pub struct Commit<'a> {
    /// The new generation.
    pub grant_id: &'a str,
    /// The [hash](crate::seal::hash) of its state.
    pub state_hash: &'a str,
    /// Start of the flow.
    pub begun_at: Timestamp,
    /// The key of the row that outlives the user's grant.
    pub tombstone: &'a Key,
    /// The ends for which Meta has confirmed the new token.
    pub seen: Option<&'a Ends>,
    /// The change that closes its connect session.
    pub session: Option<&'a Change>,
    /// The current time.
    pub now: Timestamp,
}

/// Commits a connect: stores the grant, checks that no end forbids it, and closes the session. A
/// connect without a session spends its state instead. Without a `grant`, the row must hold a newer
/// consent, which stays.
#[must_use]
pub fn commit(commit: Commit<'_>, user_id: &UserId, grant: Option<Change>) -> Transaction {
    let mut parts = Vec::new();
    if commit.session.is_none() {
        let state = Key::state(commit.state_hash);
        let spent: Row = [
            (A::Pk, state.as_str().into()),
            (A::GrantId, commit.grant_id.into()),
            (A::Ttl, (commit.now.as_second() + SPENT_SECONDS).into()),
        ]
        .into_iter()
        .collect();
        parts.push(Part::Put(state, spent, Absent(A::Pk)));
    }
    parts.extend([
        grant.map_or_else(
            || Part::Check(Key::grant(user_id), consented_since(commit.begun_at, commit.now)),
            Part::Update,
        ),
        Part::Check(commit.tombstone.clone(), Ends::no_other(commit.seen, commit.begun_at)),
    ]);
    parts.extend(commit.session.cloned().map(Part::Update));
    Transaction { operation: "commit a connect", parts }
}

/// Records an end of a user's consents in the row that outlives the grant, unless a later one is
/// recorded there.
#[must_use]
pub fn note_end(tombstone: &Key, ended_at: Timestamp) -> Change {
    never_deleted(latest(tombstone, A::EndedAt, ended_at.as_second()))
}

/// Records that the app's backend disconnected an account. This ends every flow that began before.
#[must_use]
pub fn note_disconnect(tombstone: &Key, ended_at: Timestamp) -> Change {
    never_deleted(latest(tombstone, A::DisconnectedMs, ended_at.as_millisecond()))
}

/// Version 0.1.0 reads a missing time of deletion as a deletion for all times, and would refuse
/// every consent.
fn never_deleted(change: Change) -> Change {
    change.set_if_absent(A::DeletedAt, 0)
}

/// Records a deletion request.
#[must_use]
pub fn note_deletion(tombstone: &Key, requested_at: Timestamp) -> Change {
    latest(tombstone, A::DeletedAt, requested_at.as_second())
}

/// Sets a time in the row that outlives a grant, unless it holds a later one.
fn latest(tombstone: &Key, attribute: A, time: i64) -> Change {
    let older = Any(vec![NotANumber(attribute), AtMost(attribute, time.into())]);
    Change::of(tombstone.clone(), "record an end", older).set(attribute, time)
}

/// A person's deletion request.
#[derive(Clone, Copy, Debug)]
pub struct Deletion<'a> {
    /// The person's Threads user id.
    pub user_id: &'a UserId,
    /// The key of the row that outlives the grant.
    pub tombstone: &'a Key,
    /// The key of the record with which the person can look up the progress.
    pub record: &'a Key,
    /// Time of the request.
    pub requested_at: Timestamp,
}

/// The effect of a deletion request on the grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fate {
    /// The grant is deleted, unless there is a consent after this time. The person's sessions are
    /// deleted later.
    Gone(Timestamp),
    /// The person has consented again since the request, and the grant stays.
    Kept,
    /// Meta has yet to confirm if the request concerns the last consent.
    Doubtful,
}

/// Carries out a deletion request, except for the sessions: the grant is deleted, the tombstone
/// refuses older consents, and a record holds the progress. With `is_newest`, no later request has
/// set the tombstone.
#[must_use]
pub fn delete(deletion: Deletion<'_>, fate: Fate, is_newest: bool, now: Timestamp) -> Transaction {
    let Deletion { user_id, tombstone, record, requested_at } = deletion;
    let key = Key::grant(user_id);
    let grant = match fate {
        Fate::Gone(until) => Part::Delete(key, consented_until(until)),
        Fate::Kept | Fate::Doubtful => Part::Check(key, newer_than(requested_at)),
    };
    let decided = All(vec![Absent(A::DeletedAt), Absent(A::KeptAt)]);
    let record = Change::of(record.clone(), "record a deletion", decided);
    let record = match fate {
        Fate::Kept => record.set(A::KeptAt, now).remove(UNFINISHED).remove(DUE),
        Fate::Gone(_) => unfinished(record, deletion, now).set(A::GrantGone, 1),
        Fate::Doubtful => unfinished(record, deletion, now),
    };
    let mut parts = vec![grant, Part::Update(record)];
    if is_newest {
        parts.push(Part::Update(note_deletion(tombstone, requested_at)));
    }
    Transaction { operation: "delete a grant", parts }
}

/// Makes the deletion due from now on, in its own partition, which every sweep reads first.
fn unfinished(record: Change, deletion: Deletion<'_>, now: Timestamp) -> Change {
    record
        .set(A::Unfinished, deletion.user_id.as_str())
        .set(A::RequestedAt, deletion.requested_at)
        .set(A::DueShard, schedule::DELETIONS)
        .set_if_absent(A::DueAt, now)
}

/// Records that a deletion is finished, including the last session.
#[must_use]
pub fn finish_deletion(record: &Key, now: Timestamp) -> Change {
    Change::of(record.clone(), "finish a deletion", Exists(A::Unfinished))
        .set(A::DeletedAt, now)
        .remove(UNFINISHED)
        .remove(DUE)
}

/// The condition that the tombstone, if there is one, is older than a consent at `since`.
#[must_use]
pub fn not_deleted_since(since: Timestamp) -> Condition {
    earlier(A::DeletedAt, since.as_second())
}

fn earlier(end: A, since: i64) -> Condition {
    Any(vec![Absent(end), Below(end, since.into())])
}

/// Deletes the grant of a user who was deleted at `deleted_at`, unless there is a consent since.
#[must_use]
pub fn forget(user_id: &UserId, deleted_at: Timestamp) -> Transaction {
    let until = Exists(A::Pk).and(consented_until(deleted_at));
    let parts = vec![Part::Delete(Key::grant(user_id), until)];
    Transaction { operation: "forget a grant", parts }
}

/// Replaces sealed values of a row, if each still has the bytes that were opened. The token is the
/// same and keeps its id, so a refresh in progress can still store its token.
#[must_use]
pub fn reseal(key: &Key, values: &[Resealed]) -> Change {
    let still = values.iter().map(|value| Is(value.attribute, value.old.as_slice().into())).collect();
    let change = Change::of(key.clone(), "reseal a grant", All(still));
    values.iter().fold(change, |change, value| change.set(value.attribute, value.new.as_slice()))
}

fn change_of(user_id: &UserId, operation: &'static str, when: Condition) -> Change {
    Change::of(Key::grant(user_id), operation, when)
}

/// The row after a connect. Everything of the former grant is replaced, except the time of the
/// first connect and the lease of a worker in progress.
fn connected(change: Change, grant: &NewGrant<'_>, doubt: Option<Timestamp>, now: Timestamp) -> Change {
    let Life { issued_at, expires_at, is_assumed } = grant.life;
    let change = change
        .set(A::UserId, grant.user_id.as_str())
        .set(A::GrantId, grant.grant_id)
        .set(A::Status, Status::Active.as_str())
        .set(A::Token, grant.sealed.as_slice())
        // The generation is random, so it also serves as the id of the first token.
        .set(A::TokenId, grant.grant_id)
        .set(A::IssuedAt, issued_at)
        .set(A::ExpiresAt, expires_at)
        .set(A::Failures, 0)
        .set_if_absent(A::CreatedAt, now)
        .set_if_absent(A::Pseudonym, grant.pseudonym.as_str())
        .set(A::UpdatedAt, now)
        .set_or_remove(A::ExpiryAssumed, is_assumed.then_some(1))
        .set_or_remove(A::LastError, doubt.map(|_| FailureClass::Suspected.as_str()))
        .set_or_remove(A::SuspectedAt, doubt.map(|_| now))
        .set_or_remove(A::SuspectedCause, doubt.map(|_| Cause::DOUBT.as_str()))
        .remove(&[A::VouchedUntil, A::Vouches])
        .remove(&[A::Cause, A::PreviousToken, A::RefreshedAt, A::RevokedBy, A::AskedAt])
        .remove(CONSENT);
    let change = match &grant.username {
        Some(username) => change.set(A::Username, username.as_str()),
        None => change,
    };
    let Access { source, data_access_expires_at: end, .. } = grant.access;
    let access = DataAccess::new(end, source, issued_at);
    let change = warned(granted(change, &grant.access), None);
    let next = schedule::next_look(grant.life.due_at(grant.user_id), access, now);
    due(change, grant.user_id, doubt.unwrap_or(next))
}

/// Limits the due time that `change` sets, so that an unclaimed account is announced and ended in
/// time.
#[must_use]
pub fn limit_due_time(grant: &Grant, change: Change) -> Change {
    match schedule::claim_look(grant) {
        Some(look) => change.at_most(A::DueAt, look),
        None => change,
    }
}

fn due(change: Change, user_id: &UserId, due_at: Timestamp) -> Change {
    change.set(A::DueAt, due_at).set(A::DueShard, schedule::shard(user_id))
}

fn granted(change: Change, access: &Access) -> Change {
    change
        .set(A::Scopes, scopes_text(&access.scopes))
        .set(A::ScopesSource, access.source.as_str())
        .set_or_remove(A::DataAccessExpiresAt, access.data_access_expires_at)
}

fn warned(change: Change, warning: Option<Warning>) -> Change {
    change
        .set_or_remove(A::WarnedOf, warning.map(|warning| warning.of.as_str()))
        .set_or_remove(A::WarnedDays, warning.map(|warning| i64::from(warning.days)))
}

/// The condition that the row still has the grant's generation.
fn same_generation(grant: &Grant) -> Condition {
    Exists(A::Pk).and(generation(&grant.grant_id))
}

fn generation(grant_id: &str) -> Condition {
    Is(A::GrantId, grant_id.into())
}

/// The condition that no consent came after `time`. A row whose own time is missing or damaged
/// counts as older.
fn consented_until(time: Timestamp) -> Condition {
    let is_no_time = Above(A::ConnectedAt, Timestamp::MAX.into());
    Any(vec![NotANumber(A::ConnectedAt), AtMost(A::ConnectedAt, time.into()), is_no_time])
}

/// The condition that the stored token is still this one.
fn fence(live: &Live) -> Condition {
    match &live.token_id {
        Some(id) => Is(A::TokenId, id.as_str().into()),
        // Rows of the first release have no token id. Every later writer of a token sets one.
        None => Absent(A::TokenId).and(Is(A::ExpiresAt, live.expires_at.into())),
    }
}

/// The condition that the row holds no newer consent. Of two consents in the same second, the
/// flow that began last is newer.
fn is_newest(begun_at: Option<Timestamp>, now: Timestamp) -> Condition {
    let Some(begun_at) = begun_at else { return consented_until(now) };
    let older = Any(vec![
        IsNot(A::ConnectedAt, now.into()),
        NotANumber(A::BegunAt),
        AtMost(A::BegunAt, begun_at.into()),
    ]);
    All(vec![consented_until(now), older])
}

fn newer_than(time: Timestamp) -> Condition {
    Above(A::ConnectedAt, time.into()).and(AtMost(A::ConnectedAt, Timestamp::MAX.into()))
}

fn is_active() -> Condition {
    Is(A::Status, Status::Active.as_str().into())
}

fn owned(lease: Lease<'_>) -> Condition {
    Is(A::LeaseOwner, lease.owner.into())
}

/// The condition that nobody holds the lease. A damaged lease is free.
fn free(now: Timestamp) -> Condition {
    Any(vec![Absent(A::LeaseUntil), NotANumber(A::LeaseUntil), Below(A::LeaseUntil, now.into())])
}

/// Restricts a change to this right.
pub(crate) fn with_right(mut change: Change, right: Right<'_>) -> Change {
    let (when, removed): (_, &[&[A]]) = match right {
        Right::Done(lease) => (owned(lease), &[LEASE, &[A::AskedAt]]),
        Right::Unsettled(lease) => (owned(lease), &[LEASE]),
        Right::Held(lease) => (owned(lease), &[]),
        Right::Free(now) => (free(now), &[]),
        Right::End => return change,
    };
    change.when = change.when.and(when);
    removed.iter().fold(change, |change, attributes| change.remove(attributes))
}

fn has_pending(pending: &[u8]) -> Condition {
    Exists(A::Pk).and(Is(A::PendingToken, pending.into()))
}

/// Refuses a row that got a consent since it was leased: the consent's due time must stay.
fn unless_consented(mut change: Change, had_consent: bool) -> Change {
    if !had_consent {
        change.when = change.when.and(Absent(A::PendingToken));
    }
    change
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Deadline, Row, ScopesSource, Value};
    use threads_graph::ReauthorizationCause;

    const LEASED: Lease<'static> = Lease { owner: "me", until: Timestamp::UNIX_EPOCH };
    const DAY: i64 = 86_400;

    fn at(day: i64) -> Timestamp {
        Timestamp::from_second(day * DAY).unwrap()
    }

    fn user() -> UserId {
        "17841400000000001".parse().unwrap()
    }

    fn key() -> Key {
        Key::grant(&user())
    }

    fn read(row: &Row) -> Grant {
        Grant::from_row("grants", row).unwrap()
    }

    fn new_grant(user_id: &UserId) -> NewGrant<'_> {
        NewGrant {
            user_id,
            grant_id: "first",
            begun_at: Some(at(0)),
            sealed: vec![1],
            access: Access {
                scopes: Scopes::requested([]),
                source: ScopesSource::Granted,
                data_access_expires_at: None,
            },
            username: None,
            pseudonym: "p_AAAAAAAAAAAAAAAA".parse().unwrap(),
            life: Life { issued_at: at(0), expires_at: at(60), is_assumed: false },
        }
    }

    fn connected_row() -> Row {
        let user_id = user();
        let grant = new_grant(&user_id);
        let mut row = connect(&grant, None, at(0)).apply(Row::default()).unwrap();
        row.set(A::Pk, key().as_str());
        row
    }

    fn deferral(grant: &Grant) -> Deferral<'_> {
        Deferral {
            grant_id: Some(&grant.grant_id),
            due_at: at(41),
            failures: 1,
            class: None,
            warning: None,
            had_consent: false,
            is_settled: true,
        }
    }

    fn access(grant: &Grant) -> Access {
        Access { scopes: grant.scopes.clone(), source: grant.scopes_source, data_access_expires_at: None }
    }

    fn leased(row: Row, now: Timestamp) -> Row {
        lease(&key(), LeaseReason::Due, LEASED, now).apply(row).unwrap()
    }

    fn with_consent(row: Row, now: Timestamp) -> Row {
        let (user_id, scopes) = (user(), Scopes::requested([]));
        let new = NewConsent {
            user_id: &user_id,
            grant_id: "second",
            pseudonym: "p_BBBBBBBBBBBBBBBB".parse().unwrap(),
            begun_at: now,
            sealed: vec![9],
            scopes: &scopes,
            expires_at: now,
        };
        consent(&new, now).apply(row).unwrap()
    }

    fn refreshed(token_id: &str, expires_at: Timestamp) -> Refreshed<'_> {
        let life = Life { issued_at: at(40), expires_at, is_assumed: false };
        let pseudonym = "p_CCCCCCCCCCCCCCCC";
        Refreshed { sealed: &[2], token_id, previous: Some(&[1]), pseudonym, life, retry_at: None }
    }

    /// Stores a refreshed token as a worker that has lost its lease.
    fn store(grant: &Grant, refreshed: Refreshed<'_>) -> Change {
        store_beside(grant, refreshed, Beside { lease: false, consent: false })
    }

    fn store_beside(grant: &Grant, refreshed: Refreshed<'_>, beside: Beside) -> Change {
        store_refreshed(grant, grant.live().unwrap(), refreshed, LEASED, beside, at(40))
    }

    #[test]
    fn an_account_keeps_its_pseudonym() {
        let first = connected_row();
        let pseudonym = |row: &Row| row.text(A::Pseudonym).map(str::to_owned);
        assert_eq!(pseudonym(&first).as_deref(), Some("p_AAAAAAAAAAAAAAAA"));
        let again = with_consent(first.clone(), at(1));
        let refreshed = store(&read(&first), refreshed("next", at(90))).apply(first.clone()).unwrap();
        assert_eq!((pseudonym(&again), pseudonym(&refreshed)), (pseudonym(&first), pseudonym(&first)));
        // A row of an older version gets one with its next token, or with the person's consent.
        let mut old = first;
        old.remove(A::Pseudonym);
        let with_token = store(&read(&old), self::refreshed("next", at(90))).apply(old.clone()).unwrap();
        assert_eq!(pseudonym(&with_token).as_deref(), Some("p_CCCCCCCCCCCCCCCC"));
        assert_eq!(pseudonym(&with_consent(old, at(1))).as_deref(), Some("p_BBBBBBBBBBBBBBBB"));
    }

    #[test]
    fn one_lease_at_a_time_and_only_of_what_is_due() {
        let row = connected_row();
        assert_eq!(lease(&key(), LeaseReason::Due, LEASED, at(1)).apply(row.clone()), None);
        let other = Lease { owner: "other", until: at(41) };
        let taken = lease(&key(), LeaseReason::Due, other, at(40)).apply(row).unwrap();
        assert_eq!(lease(&key(), LeaseReason::Due, LEASED, at(40)).apply(taken.clone()), None);
        assert_eq!(release(&key(), Right::Done(LEASED)).apply(taken.clone()), None);
        assert!(lease(&key(), LeaseReason::Due, LEASED, at(42)).apply(taken).is_some());
    }

    #[test]
    fn a_refreshed_token_needs_no_lease_but_the_generation_and_the_token_that_was_used() {
        let row = connected_row();
        let mut first_release = row.clone();
        first_release.remove(A::TokenId);
        for row in [row, first_release] {
            let grant = read(&row);
            // A life that ends no later must be stored too: the old token may be dead.
            for expires_at in [at(100), at(60), at(50)] {
                let stored = store(&grant, refreshed("next", expires_at)).apply(row.clone()).unwrap();
                let State::Active(live, None) = read(&stored).state else {
                    panic!("not active");
                };
                assert_eq!((live.token, live.previous), (vec![2], Some(vec![1])));
                assert_eq!((live.token_id.as_deref(), live.expires_at), (Some("next"), expires_at));
                assert_eq!(store(&grant, refreshed("late", at(200))).apply(stored), None);
            }
            let mut resealed = row.clone();
            resealed.set(A::Token, [7_u8].as_slice());
            assert!(store(&grant, refreshed("next", at(100))).apply(resealed).is_some());
            let mut newer = row;
            newer.set(A::GrantId, "newer");
            assert_eq!(store(&grant, refreshed("next", at(100))).apply(newer), None);
            assert_eq!(store(&grant, refreshed("next", at(100))).apply(Row::default()), None);
        }
    }

    #[test]
    fn a_refresh_that_gained_nothing_counts_as_a_failure_and_warns_in_time() {
        let row = connected_row();
        let grant = read(&row);
        let mut new = refreshed("next", at(50));
        new.retry_at = Some(at(41));
        let stored = store(&grant, new).apply(row).unwrap();
        let stored = read(&stored);
        assert_eq!((stored.failures, stored.last_error.as_deref()), (1, Some("not_extended")));
        assert_eq!(stored.due_at, Some(at(41)));
        assert_eq!(stored.live().unwrap().warning, Some(Warning { of: Deadline::Token, days: 14 }));
    }

    #[test]
    fn a_suspicion_keeps_the_token_and_ends_with_the_next_one() {
        let row = leased(connected_row(), at(40));
        let grant = read(&row);
        let live = grant.live().unwrap();
        let suspicion = Suspicion { cause: Cause::Threads(ReauthorizationCause::Invalid), since: at(40) };
        let right = Right::Done(LEASED);
        let row = suspect(&grant, live, suspicion, at(41), right, at(40)).apply(row).unwrap();
        let suspected = read(&row);
        assert_eq!(suspected.live().unwrap().suspicion, Some(suspicion));
        assert_eq!((suspected.status(), suspected.due_at), (Status::Active, Some(at(41))));
        assert_eq!(row.get(A::LeaseOwner), None);
        let stored = store(&suspected, refreshed("next", at(100))).apply(row).unwrap();
        assert_eq!(read(&stored).live().unwrap().suspicion, None);
    }

    #[test]
    fn a_lease_notes_ahead_and_what_settles_the_note_removes_it() {
        let (row, other) = (connected_row(), Lease { owner: "other", until: at(42) });
        // A caller's lease makes the row due at its end, and a sweep's leaves the due time.
        let grant = read(&row);
        let live = grant.live().unwrap();
        let early = |until| {
            let lease = Lease { owner: "me", until };
            let reason = LeaseReason::Expiring(&grant, live);
            super::lease(&key(), reason, lease, at(30)).apply(row.clone()).unwrap()
        };
        let due_at = row.time(A::DueAt);
        assert_eq!((early(at(31)).time(A::DueAt), early(at(59)).time(A::DueAt)), (Some(at(31)), due_at));
        let noted = leased(row, at(40));
        assert_eq!((noted.time(A::AskedAt), noted.time(A::DueAt)), (Some(at(40)), due_at));
        // The next worker's lease leaves the time of the first.
        let again = lease(&key(), LeaseReason::Due, other, at(41)).apply(noted.clone()).unwrap();
        assert_eq!(read(&again).live().unwrap().asked_at, Some(at(40)));
        let grant = read(&noted);
        let (live, access) = (grant.live().unwrap(), access(&grant));
        let suspicion = Suspicion { cause: Cause::DOUBT, since: at(40) };
        let (done, unsettled) = (Right::Done(LEASED), Right::Unsettled(LEASED));
        for (change, is_kept) in [
            (release(&key(), done), false),
            (release(&key(), unsettled), true),
            (suspect(&grant, live, suspicion, at(41), done, at(40)), false),
            (suspect(&grant, live, suspicion, at(41), unsettled, at(40)), true),
            (suspected(&grant, live, suspicion, at(41), Right::Held(LEASED)), true),
            (defer(&key(), LEASED, deferral(&grant), at(40)), false),
            (defer(&key(), LEASED, Deferral { is_settled: false, ..deferral(&grant) }, at(40)), true),
            (store_access(&grant, live, &access, done, at(40)), false),
            (assume_extended(&grant, live, LEASED, at(40)), false),
            (vouch(&grant, live, LEASED, at(40)), false),
            (end(&grant, live, LEASED, Cause::TokenLost, at(40)), false),
            (store(&grant, refreshed("next", at(100))), false),
            (connect(&new_grant(&user()), None, at(40)), false),
            (revoke(&user(), RevokedBy::App, at(40), at(40)), false),
        ] {
            let left = change.apply(noted.clone()).unwrap();
            assert_eq!(left.get(A::AskedAt).is_some(), is_kept, "{}", change.operation);
            let mut names = change.remove.clone();
            names.sort_unstable();
            assert!(names.windows(2).all(|pair| pair[0] != pair[1]), "{}", change.operation);
        }
    }

    #[test]
    fn each_confirmation_of_a_doubted_token_is_valid_for_longer() {
        let mut row = connected_row();
        let mut waits = Vec::new();
        for _ in 0..8 {
            row = lease(&key(), LeaseReason::Doubted(read(&row).live().unwrap()), LEASED, at(1))
                .apply(row)
                .unwrap();
            let grant = read(&row);
            row = vouch(&grant, grant.live().unwrap(), LEASED, at(1)).apply(row).unwrap();
            let until = read(&row).live().unwrap().vouch.unwrap().until;
            waits.push((until.as_second() - DAY) / 60);
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60]);
    }

    #[test]
    fn a_damaged_lease_is_free() {
        let mut row = connected_row();
        row.set(A::LeaseUntil, "soon");
        assert!(lease(&key(), LeaseReason::Due, LEASED, at(40)).apply(row).is_some());
    }

    #[test]
    fn a_consent_during_a_refresh_keeps_its_due_time() {
        let row = leased(connected_row(), at(40));
        let grant = read(&row);
        let consented = with_consent(row, at(40));
        let due = consented.time(A::DueAt);
        let new = refreshed("next", at(100));
        assert_eq!(store(&grant, new).apply(consented.clone()), None);
        let beside = Beside { lease: true, consent: true };
        let stored = store_beside(&grant, new, beside).apply(consented.clone()).unwrap();
        assert_eq!((stored.time(A::DueAt), stored.get(A::LeaseOwner)), (due, None));
        let deferral = deferral(&grant);
        assert_eq!(defer(&key(), LEASED, deferral, at(40)).apply(consented), None);
    }

    #[test]
    fn a_verdict_drops_a_dead_token_and_a_late_refresh_is_still_stored() {
        for cause in
            ReauthorizationCause::ALL.map(Cause::Threads).into_iter().chain([Cause::DataAccessExpired])
        {
            let row = leased(connected_row(), at(40));
            let grant = read(&row);
            let ended = end(&grant, grant.live().unwrap(), LEASED, cause, at(40)).apply(row).unwrap();
            let kept = read(&ended);
            assert_eq!((kept.status(), kept.cause()), (Status::NeedsReauthorization, Some(cause)));
            assert_eq!(kept.live().is_some(), cause.is_appealable(), "{cause:?}");
            let due_at = cause.is_appealable().then_some(at(41));
            assert_eq!((kept.due_at, kept.has_granted()), (due_at, true));
            let late = store(&grant, refreshed("next", at(100))).apply(ended).unwrap();
            assert_eq!(read(&late).status(), Status::Active);
        }
    }

    #[test]
    fn an_ended_grant_whose_token_works_again_is_active_until_its_time_is_over() {
        let row = leased(connected_row(), at(40));
        let grant = read(&row);
        let cause = Cause::Threads(ReauthorizationCause::Checkpoint);
        let ended = end(&grant, grant.live().unwrap(), LEASED, cause, at(40)).apply(row).unwrap();
        let appealed = leased(ended, at(41));
        let grant = read(&appealed);
        let access = access(&grant);
        let right = Right::Done(LEASED);
        let back =
            store_access(&grant, grant.live().unwrap(), &access, right, at(41)).apply(appealed.clone());
        let back = read(&back.unwrap());
        assert_eq!((back.status(), back.cause()), (Status::Active, None));
        assert!(back.due_at.unwrap() <= at(41));
        let close = close_appeal(&grant, grant.live().unwrap(), LEASED);
        let closed = read(&close.apply(appealed.clone()).unwrap());
        assert_eq!((closed.cause(), closed.live().is_some(), closed.due_at), (Some(cause), false, None));
        // The late refresh leaves the lease alone, and its token must not be dropped.
        let late = store(&grant, refreshed("next", at(100))).apply(appealed).unwrap();
        assert_eq!(close.apply(late), None);
    }

    #[test]
    fn an_imported_token_is_refused_after_an_end() {
        let user_id = user();
        let tombstone = Key::tombstone("nobody");
        let took = |is_assumed, ends: &[Change], now| {
            let life = Life { issued_at: at(20), expires_at: at(80), is_assumed };
            let grant = NewGrant { life, ..new_grant(&user_id) };
            let row = ends.iter().fold(Row::default(), |row, end| end.apply(row).unwrap());
            let transaction = take_over(&grant, &tombstone, true, now);
            transaction.parts.iter().all(|part| {
                let row = if *part.key() == tombstone { row.clone() } else { Row::default() };
                part.apply(row).is_some()
            })
        };
        for note in [note_end, note_disconnect] {
            assert!(!took(false, &[note(&tombstone, at(30))], at(40)));
            assert!(took(false, &[note(&tombstone, at(19))], at(40)));
            // A token of unknown age is newer than the end: Meta has just accepted it.
            assert!(took(true, &[note(&tombstone, at(39))], at(40)));
            assert!(!took(true, &[note(&tombstone, at(40))], at(40)));
        }
        let deleted = note_deletion(&tombstone, at(19));
        assert!(took(false, std::slice::from_ref(&deleted), at(40)));
        assert!(!took(true, &[deleted], at(40)));
    }

    #[test]
    fn a_dropped_consent_leaves_the_grant_as_it_was_or_needs_the_person() {
        let alone = with_consent(Row::default(), at(0));
        let mut alone: Row = alone;
        alone.set(A::Pk, key().as_str());
        let active = with_consent(connected_row(), at(1));
        let revoked = revoke(&user(), RevokedBy::App, at(1), at(1)).apply(connected_row()).unwrap();
        let revoked = with_consent(revoked, at(2));
        for (row, status, cause) in [
            (alone, Status::NeedsReauthorization, Some(Cause::NotCompleted)),
            (active, Status::Active, None),
            (revoked, Status::NeedsReauthorization, Some(Cause::NotCompleted)),
        ] {
            let grant = read(&row);
            let mut row = row;
            row.set(A::LeaseOwner, LEASED.owner);
            let left = read(&drop_consent(&grant, &[9], LEASED, at(3)).apply(row).unwrap());
            assert_eq!((left.status(), left.cause(), left.consent().is_some()), (status, cause, false));
            assert_eq!(left.due_at.is_some(), status == Status::Active);
        }
    }

    #[test]
    fn an_end_affects_earlier_consents_only() {
        let row = connected_row();
        assert_eq!(revoke(&user(), RevokedBy::Threads, at(-1), at(1)).apply(row.clone()), None);
        assert!(!consented_until(at(-1)).holds(&row) && consented_until(at(0)).holds(&row));
        assert!(consented_until(at(0)).holds(&Row::default()));
        let revoked = revoke(&user(), RevokedBy::Threads, at(0), at(1)).apply(row).unwrap();
        assert_eq!(revoke(&user(), RevokedBy::App, at(2), at(2)).apply(revoked.clone()), None);
        let late = Grant { grant_id: "first".to_owned(), ..read(&revoked) };
        let used = read(&connected_row());
        let beside = Beside { lease: false, consent: false };
        let new = refreshed("next", at(100));
        let change = store_refreshed(&late, used.live().unwrap(), new, LEASED, beside, at(2));
        assert_eq!(change.apply(revoked), None);
    }

    #[test]
    fn a_reseal_changes_nothing_but_the_bytes_and_replaces_only_what_was_opened() {
        let (row, token) = (leased(connected_row(), at(50)), (A::Token, vec![1], vec![7]));
        let anew = |(attribute, old, new): (A, Vec<u8>, Vec<u8>)| Resealed { attribute, old, new };
        let change = reseal(&key(), &[anew(token.clone())]);
        let resealed = change.apply(row.clone()).unwrap();
        let mut expected = row.clone();
        expected.set(A::Token, [7_u8].as_slice());
        assert_eq!(resealed, expected);
        // A refresh in progress can store its token, and a second reseal cannot replace that token.
        let stored = store(&read(&row), refreshed("new", at(100))).apply(resealed).unwrap();
        assert!(change.apply(stored).is_none());
        // The reseal changes all values of the row or none, and does not recreate a deleted row.
        let consented = with_consent(row, at(50));
        let both =
            |pending| reseal(&key(), &[anew(token.clone()), anew((A::PendingToken, pending, vec![8]))]);
        assert!(both(vec![5]).apply(consented.clone()).is_none());
        assert!(both(vec![9]).apply(consented).is_some());
        assert!(change.apply(Row::default()).is_none());
    }

    /// A missing or damaged time must not count as a consent in the future.
    #[test]
    fn an_end_applies_to_a_row_whose_times_are_damaged() {
        let damages = [Value::from("soon"), Value::Other, i64::MAX.into(), i64::MIN.into()];
        for damage in std::iter::once(None).chain(damages.map(Some)) {
            let mut row = connected_row();
            row.remove(A::ConnectedAt);
            if let Some(damage) = damage {
                row.set(A::ConnectedAt, damage);
            }
            assert!(consented_until(at(1)).holds(&row) && !newer_than(at(1)).holds(&row), "{row:?}");
            let revoked = revoke(&user(), RevokedBy::App, at(1), at(1)).apply(row).unwrap();
            assert_eq!(read(&revoked).status(), Status::Revoked);
        }
    }

    #[test]
    fn the_newest_consent_wins() {
        let row = connected_row();
        let again = |day| {
            let user_id = user();
            let new = NewGrant { grant_id: "again", ..new_grant(&user_id) };
            connect(&new, None, at(day)).apply(row.clone())
        };
        assert_eq!(again(-1), None);
        for day in [0, 1] {
            assert_eq!(read(&again(day).unwrap()).connected_at, at(day));
        }
    }

    /// Every write that follows from a lease needs it, except a token that Meta issued. The lease
    /// stays with its holder.
    #[test]
    fn nobody_takes_anothers_lease() {
        let mut row = connected_row();
        row.set(A::LeaseOwner, "other");
        row.set(A::LeaseUntil, at(50));
        let grant = read(&row);
        let live = grant.live().unwrap();
        let right = Right::Done(LEASED);
        let access = access(&grant);
        let suspicion = Suspicion { cause: Cause::DOUBT, since: at(40) };
        let deferral = deferral(&grant);
        for refused in [
            store_access(&grant, live, &access, right, at(40)),
            store_life(&grant, live, &access, Life::of(live), at(40)),
            assume_extended(&grant, live, LEASED, at(40)),
            vouch(&grant, live, LEASED, at(40)),
            suspect(&grant, live, suspicion, at(41), right, at(40)),
            suspected(&grant, live, suspicion, at(41), Right::Held(LEASED)),
            suspected(&grant, live, suspicion, at(41), Right::Free(at(40))),
            defer(&key(), LEASED, deferral, at(40)),
            end(&grant, live, LEASED, Cause::EXPIRED, at(40)),
            close_appeal(&grant, grant.live().unwrap(), LEASED),
            release(&key(), Right::Done(LEASED)),
        ] {
            assert_eq!(refused.apply(row.clone()), None, "{}", refused.operation);
        }
        let user_id = user();
        for made in [
            suspected(&grant, live, suspicion, at(41), Right::End),
            store(&grant, refreshed("next", at(100))),
            connect(&new_grant(&user_id), None, at(40)),
            revoke(&user_id, RevokedBy::App, at(40), at(40)),
        ] {
            let left = made.apply(row.clone()).unwrap();
            assert_eq!(left.text(A::LeaseOwner), Some("other"), "{}", made.operation);
            // The holder notices that it is superseded, and releases the lease.
            let other = Lease { owner: "other", until: at(50) };
            assert!(release(&key(), Right::Done(other)).apply(left).is_some());
        }
    }

    /// A sweep that meets an end restores neither the due time nor the grant.
    #[test]
    fn a_grant_that_has_ended_is_not_due_again() {
        let row = leased(connected_row(), at(40));
        let grant = read(&row);
        let live = grant.live().unwrap().clone();
        let deferral = deferral(&grant);
        let revoked = revoke(&user(), RevokedBy::App, at(40), at(40)).apply(row.clone()).unwrap();
        assert_eq!(defer(&key(), LEASED, deferral, at(40)).apply(revoked), None);
        let dead = end(&grant, &live, LEASED, Cause::EXPIRED, at(40)).apply(row).unwrap();
        let access = access(&grant);
        for right in [Right::Done(LEASED), Right::Held(LEASED)] {
            assert_eq!(store_access(&grant, &live, &access, right, at(40)).apply(dead.clone()), None);
        }
        assert_eq!(store_life(&grant, &live, &access, Life::of(&live), at(40)).apply(dead), None);
    }
}
