//! The writes of a grant: each states the condition under which it is right.
//!
//! 1. A refreshed token is stored whoever holds the lease: its writer may hold the only token that
//!    still works. What decides is the fence: the generation, and that the stored token is still
//!    the one that Meta was asked with, whichever of the two lives longer.
//! 2. Everything else that follows from a lease needs the lease, or the token that it was taken
//!    for.
//! 3. A consent that came since the lease was taken keeps its own due time.
//! 4. Only a grant that can be refreshed, completed or appealed has a due time.
//! 5. An end concerns only what was consented to before it, and lets no token be stored any more.
//!    A verdict is no end: a token that Meta has issued meanwhile disproves it.

use jiff::Timestamp;
use threads_graph::{Scopes, UserId};

use crate::Attribute as A;
use crate::Condition::{Absent, All, Any, AtMost, Below, Exists, Is, IsNot, NoNumber};
use crate::schedule::{self, DataAccess, Life};
use crate::{
    Access, Cause, Change, Condition, Grant, Key, Live, RevokedBy, State, Status, Suspicion, Vouch, Warning,
};

/// The attributes that say who works on a grant.
pub const LEASE: &[A] = &[A::LeaseOwner, A::LeaseUntil];

const TOKENS: &[A] = &[A::Token, A::PreviousToken];
const CONSENT: &[A] = &[A::PendingToken, A::PendingScopes, A::PendingExpiresAt];
const DUE: &[A] = &[A::DueAt, A::DueShard];
const WARNING: &[A] = &[A::WarnedOf, A::WarnedDays];
/// Meta's word on the token that is replaced.
const DOUBTS: &[A] = &[A::SuspectedCause, A::SuspectedAt, A::VouchedUntil, A::Vouches];

/// The class of a row that does not make sense.
pub const BROKEN_ROW: &str = "broken_row";
/// The class of a refresh by which the token did not live longer.
pub const NOT_EXTENDED: &str = "not_extended";
/// The class of a refusal that is not believed yet.
pub const SUSPECTED: &str = "suspected";

/// The right to work on one row for a while.
#[derive(Clone, Copy, Debug)]
pub struct Lease<'a> {
    /// The holder: random, and different for every sweep.
    pub owner: &'a str,
    /// When it ends by itself.
    pub until: Timestamp,
}

/// Why a lease is taken, which says of which rows it may be.
#[derive(Clone, Copy, Debug)]
pub enum LeaseReason<'a> {
    /// The grant is due: what a sweep looks for.
    Due,
    /// Somebody needs a token that lives longer than this one, due or not.
    Expiring(&'a Live),
    /// Somebody says that Meta refuses this token.
    Doubted(&'a Live),
}

impl LeaseReason<'_> {
    /// Whether it is the schedule that wants a look.
    #[must_use]
    pub fn is_due(self) -> bool {
        matches!(self, Self::Due)
    }
}

/// How a leased grant is put off.
#[derive(Clone, Copy, Debug)]
pub struct Deferral<'a> {
    /// Until when.
    pub due_at: Timestamp,
    /// Failures in a row.
    pub failures: u32,
    /// The class of what went wrong.
    pub class: Option<&'a str>,
    /// A warning that was not given before.
    pub warning: Option<Warning>,
    /// Whether the grant had a consent when it was leased.
    pub had_consent: bool,
}

/// A refreshed token, sealed.
#[derive(Clone, Copy, Debug)]
pub struct Refreshed<'a> {
    /// The new token.
    pub sealed: &'a [u8],
    /// Its new, random name.
    pub token_id: &'a str,
    /// The token that it replaces, if that has not expired.
    pub previous: Option<&'a [u8]>,
    /// Its times.
    pub life: Life,
    /// When it is tried again, if it lives no longer than the token that it replaces. Failures in a
    /// row count on then.
    pub retry_at: Option<Timestamp>,
}

/// A grant with its first long-lived token, sealed.
#[derive(Clone, Debug)]
pub struct NewGrant<'a> {
    /// Whose it is.
    pub user_id: &'a UserId,
    /// The new generation.
    pub grant_id: &'a str,
    /// The token, sealed for the row.
    pub sealed: Vec<u8>,
    /// The granted scopes and the end of data access.
    pub access: Access,
    /// The profile's username, if Meta told it.
    pub username: Option<String>,
    /// The token's times.
    pub life: Life,
}

/// A consent whose long-lived exchange failed, with its short-lived token sealed.
#[derive(Clone, Debug)]
pub struct NewConsent<'a> {
    /// Whose it is.
    pub user_id: &'a UserId,
    /// The generation, if there is no grant yet; an existing one stays as it is until the token is
    /// complete.
    pub grant_id: &'a str,
    /// The short-lived token, sealed for the row.
    pub sealed: Vec<u8>,
    /// The requested scopes.
    pub scopes: &'a Scopes,
    /// When it expires.
    pub expires_at: Timestamp,
}

/// Takes the lease of a row that nobody else is at.
#[must_use]
pub fn lease(key: &Key, reason: LeaseReason<'_>, lease: Lease<'_>, now: Timestamp) -> Change {
    let wanted = match reason {
        LeaseReason::Due => AtMost(A::DueAt, now.into()),
        LeaseReason::Expiring(live) | LeaseReason::Doubted(live) => fence(live),
    };
    // A damaged lease is nobody's.
    let free = Any(vec![Absent(A::LeaseUntil), NoNumber(A::LeaseUntil), Below(A::LeaseUntil, now.into())]);
    Change::of(key.clone(), "lease a grant", All(vec![Exists(A::DueAt), free, wanted]))
        .set(A::LeaseOwner, lease.owner)
        .set(A::LeaseUntil, lease.until)
}

/// Gives a lease back, with nothing done.
#[must_use]
pub fn release(key: &Key, lease: Lease<'_>) -> Change {
    Change::of(key.clone(), "give a lease back", owned(lease)).remove(LEASE)
}

/// Stores what a refresh with the token `used` gave. [`and_due`] says when it is due again, which a
/// consent that came meanwhile forbids.
#[must_use]
pub fn store_refreshed(grant: &Grant, used: &Live, refreshed: Refreshed<'_>, now: Timestamp) -> Change {
    let Life { issued_at, expires_at, is_assumed } = refreshed.life;
    let gained = refreshed.retry_at.is_none();
    let change = change_of(&grant.user_id, "store a refreshed token", same(grant).and(fence(used)))
        .set(A::Token, refreshed.sealed)
        .set(A::TokenId, refreshed.token_id)
        .set_or_remove(A::PreviousToken, refreshed.previous)
        .set(A::Status, Status::Active.as_str())
        .set(A::IssuedAt, issued_at)
        .set(A::ExpiresAt, expires_at)
        .set_or_remove(A::ExpiryAssumed, is_assumed.then_some(1))
        .set(A::RefreshedAt, issued_at)
        .set(A::Failures, if gained { 0 } else { i64::from(grant.failures) + 1 })
        .set_or_remove(A::LastError, (!gained).then_some(NOT_EXTENDED))
        .set(A::UpdatedAt, now)
        .remove(LEASE)
        .remove(DOUBTS)
        .remove(&[A::Cause]);
    warned(change, schedule::warning(expires_at, used.data_access_expires_at, issued_at))
}

/// The same, and when it is due again. It is refused if a consent came meanwhile.
#[must_use]
pub fn and_due(change: &Change, grant: &Grant, refreshed: Refreshed<'_>) -> Change {
    let Refreshed { life, retry_at, .. } = refreshed;
    let token_due = retry_at.unwrap_or_else(|| life.due_at(&grant.user_id));
    let due_at = schedule::next_look(token_due, DataAccess::of(grant), life.issued_at);
    heed_claim(grant, unless_consented(due(change.clone(), &grant.user_id, due_at), false))
}

/// Stores what Meta told of a grant whose token works, if that is still this one. A grant that had
/// ended for a reason that has passed is active again.
#[must_use]
pub fn store_access(grant: &Grant, live: &Live, access: &Access, now: Timestamp) -> Change {
    let end = access.data_access_expires_at;
    let looks = DataAccess::new(end, access.source, grant.connected_at);
    let due_at = schedule::next_look(schedule::token_due(&grant.user_id, live), looks, now);
    let still = same(grant).and(fence(live));
    let change = change_of(&grant.user_id, "store a grant's access", still)
        .set(A::Status, Status::Active.as_str())
        .set(A::UpdatedAt, now)
        .set(A::Failures, 0)
        .remove(&[A::Cause, A::LastError, A::SuspectedCause, A::SuspectedAt])
        // Meta takes the present one.
        .remove(&[A::PreviousToken])
        .remove(LEASE);
    let change = warned(granted(change, access), schedule::warning(live.expires_at, end, now));
    heed_claim(grant, unless_consented(due(change, &grant.user_id, due_at), grant.consent().is_some()))
}

/// The same, with the end that Meta told of a token whose life was only assumed.
#[must_use]
pub fn store_life(grant: &Grant, live: &Live, access: &Access, found: Life, now: Timestamp) -> Change {
    let live = Live { expires_at: found.expires_at, expiry_assumed: found.is_assumed, ..live.clone() };
    store_access(grant, &live, access, now)
        .set(A::ExpiresAt, found.expires_at)
        .set_or_remove(A::ExpiryAssumed, found.is_assumed.then_some(1))
}

/// Records that Meta calls a token too young which is older by our record: it was extended, and the
/// answer was lost. Its true life is found out with the next refresh.
#[must_use]
pub fn assume_extended(grant: &Grant, live: &Live, now: Timestamp) -> Change {
    let assumed = Life::new(now, None);
    let still = same(grant).and(fence(live));
    let change = change_of(&grant.user_id, "record an extension", still)
        .set(A::IssuedAt, assumed.issued_at)
        .set(A::ExpiresAt, assumed.expires_at)
        .set(A::ExpiryAssumed, 1)
        .set(A::Failures, 0)
        .set(A::UpdatedAt, now)
        .remove(&[A::LastError, A::SuspectedCause, A::SuspectedAt])
        .remove(LEASE);
    let due_at = schedule::next_look(assumed.due_at(&grant.user_id), DataAccess::of(grant), now);
    heed_claim(grant, unless_consented(due(change, &grant.user_id, due_at), grant.consent().is_some()))
}

/// Records that Meta took a token that a caller doubted, and gives the lease back.
#[must_use]
pub fn vouch(grant: &Grant, live: &Live, lease: Lease<'_>, now: Timestamp) -> Change {
    let times = live.vouch.map_or(0, |vouch| vouch.times).saturating_add(1);
    let Vouch { until, times } = Vouch { until: schedule::vouched_until(now, times), times };
    let still = same(grant).and(owned(lease)).and(fence(live));
    change_of(&grant.user_id, "vouch for a token", still)
        .set(A::VouchedUntil, until)
        .set(A::Vouches, i64::from(times))
        .remove(&[A::PreviousToken])
        .remove(LEASE)
}

/// Records that Meta refused a token, in a way that is not believed yet: it is looked at again at
/// `look_at`, and not handed out meanwhile. The lease is given back.
#[must_use]
pub fn suspect(
    grant: &Grant,
    live: &Live,
    suspicion: Suspicion,
    look_at: Timestamp,
    now: Timestamp,
) -> Change {
    let warning = schedule::warning(live.expires_at, live.data_access_expires_at, now);
    let mut change = suspected(grant, live, suspicion, look_at)
        .set(A::Failures, i64::from(grant.failures) + 1)
        .remove(LEASE);
    if let Some(warning) = warning.filter(|warning| live.warning != Some(*warning)) {
        change = warned(change, Some(warning)).set(A::UpdatedAt, now);
    }
    change
}

/// A change that is right only as long as nobody else has taken the lease.
#[must_use]
pub fn while_held(mut change: Change, lease: Lease<'_>) -> Change {
    change.when = change.when.and(owned(lease));
    change
}

/// The same while the lease is held, and what follows is still to be decided.
#[must_use]
pub fn suspected(grant: &Grant, live: &Live, suspicion: Suspicion, look_at: Timestamp) -> Change {
    let still = same(grant).and(fence(live)).and(is_active());
    let change = change_of(&grant.user_id, "suspect a grant", still)
        .set(A::SuspectedCause, suspicion.cause.as_str())
        .set(A::SuspectedAt, suspicion.since)
        .set(A::LastError, SUSPECTED);
    heed_claim(grant, unless_consented(due(change, &grant.user_id, look_at), grant.consent().is_some()))
}

/// Stores the long-lived token that the consent with this short-lived one was waiting for: the same
/// as a connect.
#[must_use]
pub fn complete_consent(grant: &NewGrant<'_>, pending: &[u8], now: Timestamp) -> Change {
    connected(change_of(grant.user_id, "complete a consent", waits_with(pending)), grant, now)
}

/// Forgets a consent that can no longer be completed. The grant goes on as it was before, or needs
/// the person again.
#[must_use]
pub fn drop_consent(grant: &Grant, pending: &[u8], now: Timestamp) -> Change {
    let change = change_of(&grant.user_id, "drop a consent", waits_with(pending))
        .set(A::UpdatedAt, now)
        .set(A::Failures, 0)
        .remove(LEASE)
        .remove(CONSENT);
    match &grant.state {
        // Nobody else would look at it before its token is due.
        State::Active(live, _) if live.suspicion.is_some() => change.set(A::DueAt, now),
        State::Active(live, _) => {
            let token_due = schedule::token_due(&grant.user_id, live);
            let due_at = schedule::next_look(token_due, DataAccess::of(grant), now);
            heed_claim(grant, change.set(A::DueAt, due_at))
        }
        State::Appealable(..) => change.set(A::DueAt, schedule::add(now, schedule::A_DAY.as_secs())),
        State::Final(..) => change.remove(DUE),
        State::New(_) | State::Revoked(..) => change
            .set(A::Status, Status::NeedsReauthorization.as_str())
            .set(A::Cause, Cause::NotCompleted.as_str())
            .remove(DUE),
    }
}

/// Puts a leased row off, and gives the lease back.
#[must_use]
pub fn defer(key: &Key, lease: Lease<'_>, deferral: Deferral<'_>, now: Timestamp) -> Change {
    let mut change = Change::of(key.clone(), "put a grant off", Exists(A::Pk).and(owned(lease)))
        .set(A::DueAt, deferral.due_at)
        .set(A::Failures, i64::from(deferral.failures))
        .remove(LEASE);
    if let Some(class) = deferral.class {
        change = change.set(A::LastError, class);
    }
    if deferral.warning.is_some() {
        // The event of it has the row's time.
        change = warned(change, deferral.warning).set(A::UpdatedAt, now);
    }
    unless_consented(change, deferral.had_consent)
}

/// Marks a grant as dead for `cause`, if its token is still the one that was refused, and nobody
/// else has looked at it since. A token that
/// is dead for good is dropped, but its times and its name stay, so that a refresher who was late
/// can still store what Meta has issued. One that Meta may take again is looked at the next day.
#[must_use]
pub fn end(grant: &Grant, refused: &Live, lease: Lease<'_>, cause: Cause, now: Timestamp) -> Change {
    let still = same(grant).and(fence(refused)).and(owned(lease)).and(is_active());
    let change = change_of(&grant.user_id, "mark a grant", still)
        .set(A::Status, Status::NeedsReauthorization.as_str())
        .set(A::Cause, cause.as_str())
        .set(A::LastError, Status::NeedsReauthorization.as_str())
        .set(A::UpdatedAt, now)
        .remove(DOUBTS)
        .remove(LEASE);
    let change = if cause.is_appealable() && now < Life::of(refused).own_end() {
        due(change, &grant.user_id, schedule::add(now, schedule::A_DAY.as_secs()))
    } else {
        change.remove(TOKENS).remove(DUE)
    };
    unless_consented(change, grant.consent().is_some())
}

/// Gives up the token of an ended grant whose time is over.
#[must_use]
pub fn close_appeal(grant: &Grant, lease: Lease<'_>) -> Change {
    let change = change_of(&grant.user_id, "close an appeal", same(grant).and(owned(lease)));
    unless_consented(change.remove(TOKENS).remove(DUE).remove(LEASE), grant.consent().is_some())
}

/// Ends a grant, unless the person has consented again since `revoked_at` or it was ended before.
/// Without the name of its token, no refresh under way can store another any more.
#[must_use]
pub fn revoke(user_id: &UserId, by: RevokedBy, revoked_at: Timestamp, now: Timestamp) -> Change {
    let lives = Any(vec![IsNot(A::Status, Status::Revoked.as_str().into()), Exists(A::PendingToken)]);
    let when = All(vec![Exists(A::Pk), AtMost(A::ConnectedAt, revoked_at.into()), lives]);
    change_of(user_id, "revoke a grant", when)
        .set(A::Status, Status::Revoked.as_str())
        .set(A::RevokedBy, by.as_str())
        .set(A::Failures, 0)
        .set(A::UpdatedAt, now)
        .remove(TOKENS)
        .remove(&[A::TokenId, A::IssuedAt, A::ExpiresAt, A::RefreshedAt])
        .remove(DOUBTS)
        .remove(CONSENT)
        .remove(DUE)
        .remove(&[A::Cause, A::LastError, A::DataAccessExpiresAt])
        .remove(WARNING)
        .remove(LEASE)
}

/// Stores a grant that a person has just consented to.
#[must_use]
pub fn connect(grant: &NewGrant<'_>, now: Timestamp) -> Change {
    connected(change_of(grant.user_id, "commit a connect", Condition::NONE), grant, now)
        .set(A::ConnectedAt, now)
}

/// Stores a consent whose long-lived token is still to come.
#[must_use]
pub fn consent(consent: &NewConsent<'_>, now: Timestamp) -> Change {
    let scopes = consent.scopes.to_string();
    let change = change_of(consent.user_id, "commit a connect", Condition::NONE)
        .set(A::UserId, consent.user_id.as_str())
        .set_if_absent(A::GrantId, consent.grant_id)
        .set_if_absent(A::Status, Status::Pending.as_str())
        .set_if_absent(A::Scopes, scopes.as_str())
        .set(A::PendingToken, consent.sealed.as_slice())
        .set(A::PendingScopes, scopes)
        .set(A::PendingExpiresAt, consent.expires_at)
        .set(A::ConnectedAt, now)
        .set_if_absent(A::CreatedAt, now)
        .set(A::UpdatedAt, now);
    due(change, consent.user_id, now)
}

/// Stores a token that was got elsewhere, unless there is an active grant that lives as long, one
/// that was ended since the token was issued, or a consent under way. Of a token of unknown age,
/// only a dead grant is worse.
#[must_use]
pub fn import(grant: &NewGrant<'_>, now: Timestamp) -> Change {
    let is = |status: Status| Is(A::Status, status.as_str().into());
    let mut worse = vec![is(Status::NeedsReauthorization)];
    let Life { issued_at, expires_at, is_assumed } = grant.life;
    if !is_assumed {
        worse.push(is(Status::Revoked).and(Below(A::UpdatedAt, issued_at.into())));
        worse.push(is(Status::Active).and(Below(A::ExpiresAt, expires_at.into())));
    }
    let replaceable = Absent(A::PendingToken).and(Any(worse));
    let when = Any(vec![Absent(A::Pk), replaceable]);
    let change = change_of(grant.user_id, "import a token", when);
    connected(change, grant, now).set(A::ConnectedAt, issued_at)
}

/// Whether a row holds nothing that was consented to after `requested_at`: then a deletion may have
/// it.
#[must_use]
pub fn deletable(requested_at: Timestamp) -> Condition {
    Any(vec![Absent(A::Pk), AtMost(A::ConnectedAt, requested_at.into())])
}

/// Whether a tombstone, if there is one, is older than what was consented to at `since`.
#[must_use]
pub fn not_deleted_since(since: Timestamp) -> Condition {
    Any(vec![Absent(A::Pk), Below(A::DeletedAt, since.into())])
}

/// Records when a deletion was carried out. Repeating it keeps the first time.
#[must_use]
pub fn record_deletion(code_hash: &str, now: Timestamp) -> Change {
    Change::of(Key::deletion(code_hash), "record a deletion", Condition::NONE)
        .set_if_absent(A::DeletedAt, now)
}

fn change_of(user_id: &UserId, operation: &'static str, when: Condition) -> Change {
    Change::of(Key::grant(user_id), operation, when)
}

/// The row after a connect: everything of the former grant is replaced, but since when the user is
/// known.
fn connected(change: Change, grant: &NewGrant<'_>, now: Timestamp) -> Change {
    let Life { issued_at, expires_at, is_assumed } = grant.life;
    let change = change
        .set(A::UserId, grant.user_id.as_str())
        .set(A::GrantId, grant.grant_id)
        .set(A::Status, Status::Active.as_str())
        .set(A::Token, grant.sealed.as_slice())
        // The generation is random, and names its first token as well.
        .set(A::TokenId, grant.grant_id)
        .set(A::IssuedAt, issued_at)
        .set(A::ExpiresAt, expires_at)
        .set(A::Failures, 0)
        .set_if_absent(A::CreatedAt, now)
        .set(A::UpdatedAt, now)
        .set_or_remove(A::ExpiryAssumed, is_assumed.then_some(1))
        .remove(LEASE)
        .remove(DOUBTS)
        .remove(&[A::Cause, A::LastError, A::PreviousToken, A::RefreshedAt, A::RevokedBy])
        .remove(CONSENT);
    let change = match &grant.username {
        Some(username) => change.set(A::Username, username.as_str()),
        None => change,
    };
    let Access { source, data_access_expires_at: end, .. } = grant.access;
    let access = DataAccess::new(end, source, issued_at);
    let change = warned(granted(change, &grant.access), None);
    due(change, grant.user_id, schedule::next_look(grant.life.due_at(grant.user_id), access, now))
}

/// A change of a grant, which makes it due in time for the look that it needs if nobody has claimed
/// it.
#[must_use]
pub fn heed_claim(grant: &Grant, change: Change) -> Change {
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
        .set(A::Scopes, access.scopes.to_string())
        .set(A::ScopesSource, access.source.as_str())
        .set_or_remove(A::DataAccessExpiresAt, access.data_access_expires_at)
}

fn warned(change: Change, warning: Option<Warning>) -> Change {
    change
        .set_or_remove(A::WarnedOf, warning.map(|warning| warning.of.as_str()))
        .set_or_remove(A::WarnedDays, warning.map(|warning| i64::from(warning.days)))
}

/// The row is still of the grant's generation.
fn same(grant: &Grant) -> Condition {
    Exists(A::Pk).and(Is(A::GrantId, grant.grant_id.as_str().into()))
}

/// The stored token is still this one.
fn fence(live: &Live) -> Condition {
    match &live.token_id {
        Some(id) => Is(A::TokenId, id.as_str().into()),
        // A row of the first release: whoever writes a token names it.
        None => Absent(A::TokenId).and(Is(A::ExpiresAt, live.expires_at.into())),
    }
}

fn is_active() -> Condition {
    Is(A::Status, Status::Active.as_str().into())
}

fn owned(lease: Lease<'_>) -> Condition {
    Is(A::LeaseOwner, lease.owner.into())
}

fn waits_with(pending: &[u8]) -> Condition {
    Exists(A::Pk).and(Is(A::PendingToken, pending.into()))
}

/// Refuses a row to which a consent came since it was leased: its own due time must stay.
fn unless_consented(mut change: Change, had_consent: bool) -> Change {
    if !had_consent {
        change.when = change.when.and(Absent(A::PendingToken));
    }
    change
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Deadline, Row, ScopesSource};
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

    fn connected_row() -> Row {
        let user_id = user();
        let grant = NewGrant {
            user_id: &user_id,
            grant_id: "first",
            sealed: vec![1],
            access: Access {
                scopes: Scopes::requested([]),
                source: ScopesSource::Granted,
                data_access_expires_at: None,
            },
            username: None,
            life: Life { issued_at: at(0), expires_at: at(60), is_assumed: false },
        };
        let mut row = connect(&grant, at(0)).apply(Row::default()).unwrap();
        row.set(A::Pk, key().as_str());
        row
    }

    fn leased(row: Row, now: Timestamp) -> Row {
        lease(&key(), LeaseReason::Due, LEASED, now).apply(row).unwrap()
    }

    fn with_consent(row: Row, now: Timestamp) -> Row {
        let (user_id, scopes) = (user(), Scopes::requested([]));
        let new = NewConsent {
            user_id: &user_id,
            grant_id: "second",
            sealed: vec![9],
            scopes: &scopes,
            expires_at: now,
        };
        consent(&new, now).apply(row).unwrap()
    }

    fn refreshed(token_id: &str, expires_at: Timestamp) -> Refreshed<'_> {
        let life = Life { issued_at: at(40), expires_at, is_assumed: false };
        Refreshed { sealed: &[2], token_id, previous: Some(&[1]), life, retry_at: None }
    }

    fn store(grant: &Grant, refreshed: Refreshed<'_>) -> Change {
        store_refreshed(grant, grant.live().unwrap(), refreshed, at(40))
    }

    #[test]
    fn one_lease_at_a_time_and_only_of_what_is_due() {
        let row = connected_row();
        assert_eq!(lease(&key(), LeaseReason::Due, LEASED, at(1)).apply(row.clone()), None);
        let other = Lease { owner: "other", until: at(41) };
        let taken = lease(&key(), LeaseReason::Due, other, at(40)).apply(row).unwrap();
        assert_eq!(lease(&key(), LeaseReason::Due, LEASED, at(40)).apply(taken.clone()), None);
        assert_eq!(release(&key(), LEASED).apply(taken.clone()), None);
        assert!(lease(&key(), LeaseReason::Due, LEASED, at(42)).apply(taken).is_some());
    }

    #[test]
    fn a_refreshed_token_needs_no_lease_but_the_generation_and_the_token_that_was_used() {
        let row = connected_row();
        let mut first_release = row.clone();
        first_release.remove(A::TokenId);
        for row in [row, first_release] {
            let grant = read(&row);
            // A life that ends no later is as good a reason to store: the old token may be dead.
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
        let stored = and_due(&store(&grant, new), &grant, new).apply(row).unwrap();
        let stored = read(&stored);
        assert_eq!((stored.failures, stored.last_error.as_deref()), (1, Some(NOT_EXTENDED)));
        assert_eq!(stored.due_at, Some(at(41)));
        assert_eq!(stored.live().unwrap().warning, Some(Warning { of: Deadline::Token, days: 14 }));
    }

    #[test]
    fn a_suspicion_keeps_the_token_and_goes_with_the_next_one() {
        let row = leased(connected_row(), at(40));
        let grant = read(&row);
        let live = grant.live().unwrap();
        let suspicion = Suspicion { cause: Cause::Threads(ReauthorizationCause::Invalid), since: at(40) };
        let row = suspect(&grant, live, suspicion, at(41), at(40)).apply(row).unwrap();
        let suspected = read(&row);
        assert_eq!(suspected.live().unwrap().suspicion, Some(suspicion));
        assert_eq!((suspected.status(), suspected.due_at), (Status::Active, Some(at(41))));
        assert_eq!(row.get(A::LeaseOwner), None);
        let stored = store(&suspected, refreshed("next", at(100))).apply(row).unwrap();
        assert_eq!(read(&stored).live().unwrap().suspicion, None);
    }

    #[test]
    fn metas_word_for_a_doubted_token_lasts_longer_each_time() {
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
    fn a_damaged_lease_is_nobodys() {
        let mut row = connected_row();
        row.set(A::LeaseUntil, "soon");
        assert!(lease(&key(), LeaseReason::Due, LEASED, at(40)).apply(row).is_some());
    }

    #[test]
    fn a_consent_that_came_meanwhile_keeps_its_due_time() {
        let row = leased(connected_row(), at(40));
        let grant = read(&row);
        let consented = with_consent(row, at(40));
        let due = consented.time(A::DueAt);
        let new = refreshed("next", at(100));
        let change = store(&grant, new);
        assert_eq!(and_due(&change, &grant, new).apply(consented.clone()), None);
        assert_eq!(change.apply(consented.clone()).unwrap().time(A::DueAt), due);
        let deferral =
            Deferral { due_at: at(41), failures: 1, class: None, warning: None, had_consent: false };
        assert_eq!(defer(&key(), LEASED, deferral, at(40)).apply(consented), None);
    }

    #[test]
    fn an_end_drops_what_is_dead_for_good_and_a_late_refresh_still_fits() {
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
        let access = Access {
            scopes: grant.scopes.clone(),
            source: grant.scopes_source,
            data_access_expires_at: None,
        };
        let back = store_access(&grant, grant.live().unwrap(), &access, at(41)).apply(appealed.clone());
        let back = read(&back.unwrap());
        assert_eq!((back.status(), back.cause()), (Status::Active, None));
        assert!(back.due_at.unwrap() <= at(41));
        let closed = read(&close_appeal(&grant, LEASED).apply(appealed).unwrap());
        assert_eq!((closed.cause(), closed.live().is_some(), closed.due_at), (Some(cause), false, None));
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
            let left = read(&drop_consent(&grant, &[9], at(3)).apply(row).unwrap());
            assert_eq!((left.status(), left.cause(), left.consent().is_some()), (status, cause, false));
            assert_eq!(left.due_at.is_some(), status == Status::Active);
        }
    }

    #[test]
    fn an_end_concerns_what_was_consented_to_before_it() {
        let row = connected_row();
        assert_eq!(revoke(&user(), RevokedBy::Threads, at(-1), at(1)).apply(row.clone()), None);
        assert!(!deletable(at(-1)).holds(&row) && deletable(at(0)).holds(&row));
        assert!(deletable(at(0)).holds(&Row::default()));
        let revoked = revoke(&user(), RevokedBy::Threads, at(0), at(1)).apply(row).unwrap();
        assert_eq!(revoke(&user(), RevokedBy::App, at(2), at(2)).apply(revoked.clone()), None);
        let late = Grant { grant_id: "first".to_owned(), ..read(&revoked) };
        let used = read(&connected_row());
        let change = store_refreshed(&late, used.live().unwrap(), refreshed("next", at(100)), at(2));
        assert_eq!(change.apply(revoked), None);
    }
}
