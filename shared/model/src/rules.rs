//! The writes of a grant: each states the condition under which it is right.
//!
//! 1. A refreshed token is stored whoever holds the lease: its writer may hold the only token that
//!    still works. The generation decides, and that a token never replaces one that lives longer.
//! 2. Everything else that follows from a lease needs the lease, or the token that it was taken
//!    for.
//! 3. A consent that came since the lease was taken keeps its own due time.
//! 4. Only a grant that can be refreshed or completed has a due time.
//! 5. An end concerns only what was consented to before it.

use jiff::Timestamp;
use threads_graph::{Scopes, UserId};

use crate::Attribute as A;
use crate::Condition::{Absent, All, Any, AtMost, Below, Exists, Is, IsNot};
use crate::{
    Access, Cause, Change, Condition, Grant, Key, Live, RevokedBy, State, Status, Warning, schedule,
};

/// The attributes that say who works on a grant.
pub const LEASE: &[A] = &[A::LeaseOwner, A::LeaseUntil];

const TOKENS: &[A] = &[A::Token, A::PreviousToken];
const CONSENT: &[A] = &[A::PendingToken, A::PendingScopes, A::PendingExpiresAt];
const DUE: &[A] = &[A::DueAt, A::DueShard];
const WARNING: &[A] = &[A::WarnedOf, A::WarnedDays];

/// The right to work on one row for a while.
#[derive(Clone, Copy, Debug)]
pub struct Lease<'a> {
    /// The holder: random, and different for every sweep.
    pub owner: &'a str,
    /// When it ends by itself.
    pub until: Timestamp,
}

/// Why a lease is taken, which says of which rows it may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaseReason {
    /// The grant is due: what a sweep looks for.
    Due,
    /// Somebody needs a token that lives longer than the one that expires at this time, due or not.
    Expiring(Timestamp),
    /// Somebody says that Meta refuses the token that expires at this time.
    Doubted(Timestamp),
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
    /// The token that it replaces.
    pub previous: &'a [u8],
    /// When Meta issued it.
    pub issued_at: Timestamp,
    /// When it expires.
    pub expires_at: Timestamp,
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
    /// When Meta issued the token.
    pub issued_at: Timestamp,
    /// When it expires.
    pub expires_at: Timestamp,
    /// Whether Meta told neither the token's age nor its end: both are assumed.
    pub expiry_assumed: bool,
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
pub fn lease(key: &Key, reason: LeaseReason, lease: Lease<'_>, now: Timestamp) -> Change {
    let wanted = match reason {
        LeaseReason::Due => AtMost(A::DueAt, now.into()),
        LeaseReason::Expiring(at) | LeaseReason::Doubted(at) => Is(A::ExpiresAt, at.into()),
    };
    let free = Any(vec![Absent(A::LeaseUntil), Below(A::LeaseUntil, now.into())]);
    Change::of(key.clone(), "lease a grant", All(vec![Exists(A::DueAt), free, wanted]))
        .set(A::LeaseOwner, lease.owner)
        .set(A::LeaseUntil, lease.until)
}

/// Gives a lease back, with nothing done.
#[must_use]
pub fn release(key: &Key, lease: Lease<'_>) -> Change {
    Change::of(key.clone(), "give a lease back", owned(lease)).remove(LEASE)
}

/// Stores a refreshed token. [`and_due`] says when it is due again, which a consent that came
/// meanwhile forbids.
#[must_use]
pub fn store_refreshed(grant: &Grant, refreshed: Refreshed<'_>, now: Timestamp) -> Change {
    let Refreshed { issued_at, expires_at, .. } = refreshed;
    let shorter = Below(A::ExpiresAt, expires_at.into());
    let change = change_of(&grant.user_id, "store a refreshed token", same(grant).and(shorter))
        .set(A::Token, refreshed.sealed)
        .set(A::PreviousToken, refreshed.previous)
        .set(A::Status, Status::Active.as_str())
        .set(A::IssuedAt, issued_at)
        .set(A::ExpiresAt, expires_at)
        .set(A::RefreshedAt, issued_at)
        .set(A::Failures, 0)
        .set(A::UpdatedAt, now)
        .remove(LEASE)
        .remove(&[A::Cause, A::LastError, A::ExpiryAssumed]);
    let end = grant.live().and_then(|live| live.data_access_expires_at);
    warned(change, schedule::warning(expires_at, end, issued_at))
}

/// The same, and when it is due again. It is refused if a consent came meanwhile.
#[must_use]
pub fn and_due(change: &Change, grant: &Grant, refreshed: Refreshed<'_>) -> Change {
    let Refreshed { issued_at, expires_at, .. } = refreshed;
    let token_due = schedule::due_at(&grant.user_id, issued_at, expires_at);
    let end = grant.live().and_then(|live| live.data_access_expires_at);
    let due_at = schedule::next_look(token_due, end, issued_at);
    unless_consented(due(change.clone(), &grant.user_id, due_at), false)
}

/// Stores what Meta told of a grant beside its token, if that is still the one of these times.
#[must_use]
pub fn store_access(
    grant: &Grant,
    (issued_at, expires_at): (Timestamp, Timestamp),
    access: &Access,
    now: Timestamp,
) -> Change {
    let end = access.data_access_expires_at;
    let due_at = schedule::next_look(schedule::due_at(&grant.user_id, issued_at, expires_at), end, now);
    let still = same(grant).and(Is(A::ExpiresAt, expires_at.into()));
    let change = change_of(&grant.user_id, "store a grant's access", still)
        .set(A::UpdatedAt, now)
        .set(A::Failures, 0)
        .remove(&[A::LastError])
        .remove(LEASE);
    let change = warned(granted(change, access), schedule::warning(expires_at, end, now));
    unless_consented(due(change, &grant.user_id, due_at), grant.consent().is_some())
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
        State::Active(live, _) => change.set(A::DueAt, schedule::next_look_of(&grant.user_id, live, now)),
        State::Final(..) | State::Appealable(..) => change.remove(DUE),
        State::New(_) | State::Revoked(..) => needs_reauthorization(change, Cause::NotCompleted),
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

/// Marks a leased grant as dead for `cause`, if its token is still the one that was refused. A
/// token that is dead for good is dropped; its times stay, so that a refresher who was fenced out
/// can still store what Meta has issued.
#[must_use]
pub fn end(grant: &Grant, refused: &Live, lease: Lease<'_>, cause: Cause, now: Timestamp) -> Change {
    // Our own clock is no witness: a token that it alone calls expired is kept.
    let is_kept = cause.is_appealable() || (cause == Cause::EXPIRED && now >= refused.expires_at);
    let still = Is(A::ExpiresAt, refused.expires_at.into());
    let change = change_of(&grant.user_id, "mark a grant", same(grant).and(owned(lease)).and(still))
        .set(A::LastError, Status::NeedsReauthorization.as_str())
        .set(A::UpdatedAt, now)
        .remove(LEASE)
        .remove(if is_kept { &[] } else { TOKENS });
    unless_consented(needs_reauthorization(change, cause), grant.consent().is_some())
}

/// Ends a grant, unless the person has consented again since `revoked_at` or it was ended before.
/// Without `expires_at`, no refresh under way can store its token any more.
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
        .remove(&[A::IssuedAt, A::ExpiresAt, A::RefreshedAt])
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
    if !grant.expiry_assumed {
        worse.push(is(Status::Revoked).and(Below(A::UpdatedAt, grant.issued_at.into())));
        worse.push(is(Status::Active).and(Below(A::ExpiresAt, grant.expires_at.into())));
    }
    let replaceable = Absent(A::PendingToken).and(Any(worse));
    let when = Any(vec![Absent(A::Pk), replaceable]);
    let change = change_of(grant.user_id, "import a token", when);
    connected(change, grant, now).set(A::ConnectedAt, grant.issued_at)
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
    let change = change
        .set(A::UserId, grant.user_id.as_str())
        .set(A::GrantId, grant.grant_id)
        .set(A::Status, Status::Active.as_str())
        .set(A::Token, grant.sealed.as_slice())
        .set(A::IssuedAt, grant.issued_at)
        .set(A::ExpiresAt, grant.expires_at)
        .set(A::Failures, 0)
        .set_if_absent(A::CreatedAt, now)
        .set(A::UpdatedAt, now)
        .set_or_remove(A::ExpiryAssumed, grant.expiry_assumed.then_some(1))
        .remove(LEASE)
        .remove(&[A::Cause, A::LastError, A::PreviousToken, A::RefreshedAt, A::RevokedBy])
        .remove(CONSENT);
    let change = match &grant.username {
        Some(username) => change.set(A::Username, username.as_str()),
        None => change,
    };
    let end = grant.access.data_access_expires_at;
    let token_due = schedule::due_at(grant.user_id, grant.issued_at, grant.expires_at);
    let change = warned(granted(change, &grant.access), None);
    due(change, grant.user_id, schedule::next_look(token_due, end, now))
}

fn needs_reauthorization(change: Change, cause: Cause) -> Change {
    change.set(A::Status, Status::NeedsReauthorization.as_str()).set(A::Cause, cause.as_str()).remove(DUE)
}

fn due(change: Change, user_id: &UserId, due_at: Timestamp) -> Change {
    change.set(A::DueAt, due_at).set(A::DueShard, schedule::shard(user_id))
}

fn granted(change: Change, access: &Access) -> Change {
    change
        .set(A::Scopes, access.scopes.to_string())
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
    use crate::Row;
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
            access: Access { scopes: Scopes::requested([]), data_access_expires_at: None },
            username: None,
            issued_at: at(0),
            expires_at: at(60),
            expiry_assumed: false,
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

    fn refreshed(expires_at: Timestamp) -> Refreshed<'static> {
        Refreshed { sealed: &[2], previous: &[1], issued_at: at(40), expires_at }
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
    fn a_refreshed_token_needs_no_lease_but_the_generation_and_a_longer_life() {
        let row = connected_row();
        let grant = read(&row);
        let stored = store_refreshed(&grant, refreshed(at(100)), at(40)).apply(row.clone());
        let State::Active(live, None) = read(&stored.unwrap()).state else {
            panic!("not active");
        };
        assert_eq!((live.token, live.previous), (vec![2], Some(vec![1])));
        assert_eq!(store_refreshed(&grant, refreshed(at(60)), at(40)).apply(row.clone()), None);
        let mut newer = row;
        newer.set(A::GrantId, "newer");
        assert_eq!(store_refreshed(&grant, refreshed(at(100)), at(40)).apply(newer), None);
        assert_eq!(store_refreshed(&grant, refreshed(at(100)), at(40)).apply(Row::default()), None);
    }

    #[test]
    fn a_consent_that_came_meanwhile_keeps_its_due_time() {
        let row = leased(connected_row(), at(40));
        let grant = read(&row);
        let consented = with_consent(row, at(40));
        let due = consented.time(A::DueAt);
        let change = store_refreshed(&grant, refreshed(at(100)), at(40));
        assert_eq!(and_due(&change, &grant, refreshed(at(100))).apply(consented.clone()), None);
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
            assert_eq!((kept.due_at, kept.has_granted()), (None, true));
            let late = store_refreshed(&grant, refreshed(at(100)), at(41)).apply(ended).unwrap();
            assert_eq!(read(&late).status(), Status::Active);
        }
    }

    #[test]
    fn our_own_clock_drops_no_token() {
        let row = leased(connected_row(), at(61));
        let grant = read(&row);
        let ended = end(&grant, grant.live().unwrap(), LEASED, Cause::EXPIRED, at(61)).apply(row);
        let kept = read(&ended.unwrap());
        assert_eq!((kept.cause(), kept.live().is_some()), (Some(Cause::EXPIRED), true));
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
        assert_eq!(store_refreshed(&late, refreshed(at(100)), at(2)).apply(revoked), None);
    }
}
