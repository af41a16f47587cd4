//! The writes that claim or assign an account, or end one that nobody has claimed.

use jiff::Timestamp;
use threads_graph::UserId;

use crate::Attribute as A;
use crate::Condition::{Absent, All, Any, Exists, Is, IsNot};
use crate::rules::{self, Lease, Right};
use crate::schedule::{self, DataAccess};
use crate::{Change, Condition, Grant, Key, RevokedBy, Session, State, Status};

/// A connect in a session that leaves the account unclaimed: the account's first connect, one of an
/// account that is still unclaimed, or one of a revoked account in another user's session, since a
/// new consent does not renew the former owner's claim. The account must be claimed before `until`.
#[must_use]
pub fn connect_unclaimed(mut change: Change, session: &Session, until: Timestamp, now: Timestamp) -> Change {
    let is_free = All(vec![is_revoked(), IsNot(A::Reference, session.reference.as_str().into())]);
    change.when = change.when.and(Any(vec![Absent(A::Pk), Exists(A::UnclaimedUntil), is_free]));
    change
        .set(A::SessionId, session.id.as_str())
        .set(A::UnclaimedUntil, until)
        .remove(&[A::UnclaimedWarned, A::Reference, A::ClaimedAt])
        .at_most(A::DueAt, schedule::notice_at(now, until))
}

/// A connect in a session of a claimed account. The claim stays.
#[must_use]
pub fn connect_claimed(mut change: Change, session: &Session) -> Change {
    let is_owners = Is(A::Reference, session.reference.as_str().into());
    let keeps = Any(vec![IsNot(A::Status, Status::Revoked.as_str().into()), is_owners]);
    change.when = change.when.and(Exists(A::Pk)).and(Absent(A::UnclaimedUntil)).and(keeps);
    change.set(A::SessionId, session.id.as_str())
}

fn is_revoked() -> Condition {
    Is(A::Status, Status::Revoked.as_str().into())
}

/// Gives an account to the user whom the app calls `reference`.
#[must_use]
pub fn claim(grant: &Grant, reference: &str, now: Timestamp) -> Change {
    Change::of(Key::grant(&grant.user_id), "claim a grant", Exists(A::Pk))
        .set(A::Reference, reference)
        .set(A::ClaimedAt, now)
        .set(A::UpdatedAt, now)
        .remove(rules::UNCLAIMED)
}

/// Gives a claimed account to the user whom the app calls `reference`, or to none, as an import
/// leaves it. An unclaimed account is refused: only the completion of its session shows whose it
/// is.
#[must_use]
pub fn assign(user_id: &UserId, reference: Option<&str>, now: Timestamp) -> Change {
    let when = Exists(A::Pk).and(Absent(A::UnclaimedUntil));
    Change::of(Key::grant(user_id), "assign a grant", when)
        .set_or_remove(A::Reference, reference)
        // Without an owner, the time since which there is none: a restored backup may name an
        // earlier one.
        .set(A::ClaimedAt, now)
        .set(A::UpdatedAt, now)
}

/// Like [`claim`], for a grant that is due only because it is unclaimed: the claim removes the need
/// for that look. The change is refused if another writer has changed the due time.
#[must_use]
pub fn claim_and_settle(grant: &Grant, reference: &str, now: Timestamp) -> Option<Change> {
    let look = schedule::claim_look(grant)?;
    let State::Active(live, None) = &grant.state else {
        return None;
    };
    if grant.due_at != Some(look) || live.suspicion.is_some() {
        return None;
    }
    let mut change = claim(grant, reference, now);
    change.when =
        change.when.and(Is(A::GrantId, grant.grant_id.as_str().into())).and(Is(A::DueAt, look.into()));
    let token_due = schedule::token_due(&grant.user_id, live);
    Some(change.set(A::DueAt, schedule::next_look(token_due, DataAccess::of(grant), now)))
}

/// Records that the end of an unclaimed account was announced.
#[must_use]
pub fn announce_end(grant: &Grant, lease: Lease<'_>, now: Timestamp) -> Change {
    let change =
        Change::of(Key::grant(&grant.user_id), "announce the end of a grant", still_unclaimed(grant));
    rules::with_right(change.set(A::UnclaimedWarned, 1).set(A::UpdatedAt, now), Right::Held(lease))
}

/// Ends an account that nobody has claimed.
#[must_use]
pub fn end_unclaimed(grant: &Grant, lease: Lease<'_>, now: Timestamp) -> Change {
    let mut change = rules::revoke(&grant.user_id, RevokedBy::Unclaimed, grant.connected_at, now);
    change.when = change.when.and(still_unclaimed(grant));
    rules::with_right(change, Right::Done(lease))
}

fn still_unclaimed(grant: &Grant) -> Condition {
    let mark = match grant.claim.until() {
        Some(until) => Is(A::UnclaimedUntil, until.into()),
        None => Exists(A::UnclaimedUntil),
    };
    mark.and(Is(A::GrantId, grant.grant_id.as_str().into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::NewGrant;
    use crate::schedule::Life;
    use crate::{Access, Claim, Row, ScopesSource};

    const HOUR: i64 = 3_600;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn connect(now: i64) -> Change {
        let user_id = "17841400000000001".parse().unwrap();
        let access = Access {
            scopes: "threads_basic".parse().unwrap(),
            source: ScopesSource::Granted,
            data_access_expires_at: None,
        };
        let (sealed, life) = (vec![7], Life::new(at(now), Some(std::time::Duration::from_hours(24 * 60))));
        let grant_id = &format!("at {now}");
        let begun_at = Some(at(now));
        let pseudonym = "p_AAAAAAAAAAAAAAAA".parse().unwrap();
        let username = None;
        let new =
            NewGrant { user_id: &user_id, grant_id, begun_at, sealed, access, username, pseudonym, life };
        rules::connect(&new, None, at(now))
    }

    fn first(now: i64) -> Row {
        let change =
            connect_unclaimed(connect(now), &session("session", "user-7"), at(now + 24 * HOUR), at(now));
        with_key(change.apply(Row::default()).unwrap())
    }

    fn session(id: &str, reference: &str) -> Session {
        Session {
            id: id.to_owned(),
            reference: reference.to_owned(),
            scopes: None,
            return_to: None,
            user_id: None,
            ui_locales: None,
            expires_at: at(HOUR),
            failures: 0,
            state: crate::SessionState::Open,
        }
    }

    fn with_key(mut row: Row) -> Row {
        row.set(A::Pk, Key::grant(&"17841400000000001".parse().unwrap()).as_str());
        row
    }

    fn read(row: &Row) -> Grant {
        Grant::from_row("grants", row).unwrap()
    }

    #[test]
    fn a_first_connect_in_a_session_is_unclaimed_and_due_for_that() {
        let grant = read(&first(0));
        assert_eq!(grant.claim, Claim::Unclaimed { until: at(24 * HOUR), is_announced: false });
        assert_eq!(grant.due_at, Some(at(12 * HOUR)));
        assert_eq!(grant.session_id.as_deref(), Some("session"));
        assert_eq!(schedule::notice_at(at(0), at(240 * HOUR)), at(216 * HOUR), "a day ahead at most");
    }

    #[test]
    fn a_reconnect_keeps_the_claim() {
        // An unclaimed account stays unclaimed, with a new deadline.
        let unclaimed = first(0);
        assert_eq!(
            connect_claimed(connect(HOUR), &session("second", "user-7")).apply(unclaimed.clone()),
            None
        );
        let again = connect_unclaimed(connect(HOUR), &session("second", "user-7"), at(25 * HOUR), at(HOUR))
            .apply(unclaimed.clone());
        assert_eq!(read(&again.unwrap()).claim.until(), Some(at(25 * HOUR)));
        // A claimed account cannot be taken by another session.
        let claimed = claim(&read(&unclaimed), "user-7", at(60)).apply(unclaimed).unwrap();
        let owner = read(&claimed).claim;
        assert_eq!(owner.owner().map(|owner| owner.reference.as_str()), Some("user-7"));
        let lured = connect_unclaimed(connect(HOUR), &session("attacker", "user-8"), at(25 * HOUR), at(HOUR));
        assert_eq!(lured.apply(claimed.clone()), None);
        let kept =
            read(&connect_claimed(connect(HOUR), &session("attacker", "user-8")).apply(claimed).unwrap());
        assert_eq!((kept.claim, kept.session_id.as_deref()), (owner, Some("attacker")));
        // A row without the mark is claimed, and a connect without a session claims it.
        let mut old = first(0);
        old.remove(A::UnclaimedUntil);
        assert!(
            connect_unclaimed(connect(HOUR), &session("s", "user-7"), at(25 * HOUR), at(HOUR))
                .apply(old.clone())
                .is_none()
        );
        assert_eq!(read(&old).claim, Claim::Claimed(None));
        let openly = read(&rules::without_session(connect(HOUR)).apply(first(0)).unwrap());
        assert_eq!((openly.claim, openly.session_id), (Claim::Claimed(None), None));
    }

    #[test]
    fn a_revoked_account_is_nobodys_in_a_session_of_another_user() {
        let claimed = claim(&read(&first(0)), "user-7", at(60)).apply(first(0)).unwrap();
        let user_id = "17841400000000001".parse().unwrap();
        let revoked = rules::revoke(&user_id, RevokedBy::App, at(90), at(90)).apply(claimed).unwrap();
        let until = at(25 * HOUR);
        for (reference, is_owner) in [("user-7", true), ("user-8", false)] {
            let session = session("second", reference);
            let anew = connect_unclaimed(connect(HOUR), &session, until, at(HOUR)).apply(revoked.clone());
            let kept = connect_claimed(connect(HOUR), &session).apply(revoked.clone());
            assert_eq!((anew.is_some(), kept.is_some()), (!is_owner, is_owner), "{reference}");
            let grant = read(&anew.or(kept).unwrap());
            assert_eq!(grant.claim.owner().is_some(), is_owner);
            assert_eq!(grant.claim.until(), (!is_owner).then_some(until));
        }
    }

    #[test]
    fn only_a_claimed_account_is_assigned() {
        let user_id = "17841400000000001".parse().unwrap();
        let assign = |reference, row: &Row| assign(&user_id, reference, at(90)).apply(row.clone());
        let owner = |row: &Row| read(row).claim.owner().map(|owner| owner.reference.clone());
        let unclaimed = first(0);
        assert_eq!(assign(Some("user-8"), &unclaimed), None);
        assert_eq!(assign(Some("user-8"), &Row::default()), None);
        let claimed = claim(&read(&unclaimed), "user-7", at(60)).apply(unclaimed.clone()).unwrap();
        let moved = assign(Some("user-8"), &claimed).unwrap();
        assert_eq!(owner(&moved).as_deref(), Some("user-8"));
        assert_eq!(moved.time(A::ClaimedAt), Some(at(90)));
        let free = assign(None, &moved).unwrap();
        assert_eq!(read(&free).claim, Claim::Claimed(None));
        assert_eq!((free.get(A::Reference), free.time(A::ClaimedAt)), (None, Some(at(90))));
        // An imported account belongs to nobody yet.
        let imported = rules::without_session(connect(0)).apply(Row::default()).unwrap();
        let imported = with_key(imported);
        assert_eq!(owner(&assign(Some("user-9"), &imported).unwrap()).as_deref(), Some("user-9"));
    }

    #[test]
    fn only_what_is_still_unclaimed_ends() {
        let lease = Lease { owner: "sweep", until: at(0) };
        let mut row = first(0);
        row.set(A::LeaseOwner, "sweep");
        let seen = read(&row);
        let end = end_unclaimed(&seen, lease, at(24 * HOUR));
        let ended = read(&end.apply(row.clone()).unwrap());
        assert!(matches!(ended.state, State::Revoked(Some(RevokedBy::Unclaimed), None)));
        assert_eq!((ended.due_at, ended.claim.until()), (None, Some(at(24 * HOUR))));
        let claimed = claim(&seen, "user-7", at(60)).apply(row.clone()).unwrap();
        assert_eq!(end.apply(claimed), None);
        let again = connect_unclaimed(connect(HOUR), &session("second", "user-7"), at(25 * HOUR), at(HOUR))
            .apply(row.clone());
        assert_eq!(end.apply(again.unwrap()), None);
        let announced = announce_end(&seen, lease, at(12 * HOUR)).apply(row.clone()).unwrap();
        assert_eq!(schedule::claim_look(&read(&announced)), Some(at(24 * HOUR)));
        row.set(A::LeaseOwner, "another");
        assert_eq!(end.apply(row), None);
    }

    #[test]
    fn a_claimed_grant_is_next_due_for_its_token() {
        let row = first(0);
        let grant = read(&row);
        let settled = claim_and_settle(&grant, "user-7", at(60)).unwrap();
        let due = read(&settled.apply(row.clone()).unwrap()).due_at.unwrap();
        assert!(due > at(30 * 24 * HOUR), "{due}");
        let mut busy = row;
        busy.set(A::DueAt, 5_i64);
        assert_eq!(settled.apply(busy.clone()), None);
        let other = read(&claim(&grant, "user-7", at(60)).apply(busy).unwrap());
        assert_eq!(other.due_at, Some(at(5)));
    }
}
