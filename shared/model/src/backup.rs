//! The restore of a backup's row over the row in use: the restored row, and the conditions of the
//! write.
//!
//! 1. The restored row replaces exactly the row that was read. The write is refused if another
//!    writer changed that row since, or if its lease has not ended.
//! 2. A deletion since the backup's consent refuses the restore. Any other end since then is
//!    applied to the row before the write.
//! 3. A restored row with a token is due at once, so that the next sweep tries the token.

use jiff::Timestamp;
use threads_graph::UserId;

use crate::Attribute as A;
use crate::Condition::{Absent, All, Exists, Is};
use crate::{Condition, Ends, RevokedBy, Row, Value, rules, schedule};

/// The claim of an account. The backup's row may lack it.
const CLAIM: [A; 2] = [A::Reference, A::ClaimedAt];

/// Returns the row that replaces `seen`: the `backup` with the user's `ends` applied. With
/// `keeps_claim`, a claim that is newer than the backup stays.
#[must_use]
pub fn restored(
    user_id: &UserId,
    backup: Row,
    seen: &Row,
    ends: &Ends,
    keeps_claim: bool,
    now: Timestamp,
) -> Row {
    let mut row = backup;
    // An unclaimed mark that has expired is dropped: nobody knows if the account was claimed since.
    // An account that is claimed now must not end as unclaimed.
    let is_over = row.time(A::UnclaimedUntil).is_some_and(|until| until <= now);
    let is_claimed = seen.get(A::Pk).is_some() && seen.get(A::UnclaimedUntil).is_none();
    let dropped = if is_over || is_claimed { rules::UNCLAIMED } else { &[] };
    for attribute in rules::LEASE.iter().chain(dropped) {
        row.remove(*attribute);
    }
    let claimed_at = seen.time(A::ClaimedAt);
    // Logs since the backup contain this pseudonym.
    if let Some(pseudonym) = seen.get(A::Pseudonym) {
        row.set(A::Pseudonym, pseudonym.clone());
    }
    if keeps_claim && claimed_at > row.time(A::ClaimedAt) {
        for attribute in CLAIM {
            match seen.get(attribute) {
                Some(value) => row.set(attribute, value.clone()),
                // The account was unassigned since the backup.
                None => row.remove(attribute),
            }
        }
    }
    row.set(A::UpdatedAt, now);
    for (by, ended_at) in [(RevokedBy::App, ends.disconnected_at), (RevokedBy::Threads, ends.ended_at)] {
        let ended = ended_at.map(|at| rules::revoke(user_id, by, at, now));
        if let Some(ended) = ended.and_then(|change| change.apply(row.clone())) {
            row = ended;
        }
    }
    if row.get(A::Token).is_some() || row.get(A::PendingToken).is_some() {
        row.set(A::DueAt, now);
        row.set(A::DueShard, schedule::shard(user_id));
    } else {
        row.remove(A::DueAt);
        row.remove(A::DueShard);
    }
    row
}

/// The condition that no attribute of ours has changed since the row was read as `seen`. A damaged
/// value only has to be present: every writer of ours replaces it by a sound one.
#[must_use]
pub fn unchanged(seen: &Row) -> Condition {
    still(&A::ALL, seen)
}

/// The condition that the ends of a user have not changed since they were read.
#[must_use]
pub fn ends_unchanged(seen: &Row) -> Condition {
    still(&[A::DeletedAt, A::EndedAt, A::DisconnectedMs], seen)
}

fn still(attributes: &[A], seen: &Row) -> Condition {
    let one = |attribute: &A| match seen.get(*attribute) {
        None => Absent(*attribute),
        Some(Value::Other) => Exists(*attribute),
        Some(value) => Is(*attribute, value.clone()),
    };
    All(attributes.iter().map(one).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Status;

    fn at(day: i64) -> Timestamp {
        Timestamp::from_second(day * 86_400).unwrap()
    }

    fn user() -> UserId {
        "17841400000000001".parse().unwrap()
    }

    fn row() -> Row {
        [
            (A::Pk, "user#17841400000000001".into()),
            (A::UserId, "17841400000000001".into()),
            (A::GrantId, "first".into()),
            (A::Status, Status::Active.as_str().into()),
            (A::Token, [1_u8].as_slice().into()),
            (A::TokenId, "first".into()),
            (A::ConnectedAt, at(1).into()),
            (A::LeaseOwner, "a sweep".into()),
            (A::LeaseUntil, at(2).into()),
        ]
        .into_iter()
        .collect()
    }

    fn with(mut row: Row, attribute: A, value: impl Into<Value>) -> Row {
        row.set(attribute, value);
        row
    }

    fn back(backup: Row, seen: &Row, ends: Ends, keeps_claim: bool) -> Row {
        restored(&user(), backup, seen, &ends, keeps_claim, at(9))
    }

    #[test]
    fn a_restored_row_is_due_without_a_lease() {
        let row = back(row(), &row(), Ends::default(), true);
        assert!(rules::LEASE.iter().all(|attribute| row.get(*attribute).is_none()));
        assert_eq!((row.time(A::DueAt), row.time(A::UpdatedAt)), (Some(at(9)), Some(at(9))));
        assert_eq!(row.text(A::DueShard), Some(schedule::shard(&user()).as_str()));
    }

    #[test]
    fn an_end_since_its_consent_ends_it_and_one_before_does_not() {
        for (ends, by) in [
            (Ends { ended_at: Some(at(3)), ..Ends::default() }, Some("threads")),
            (Ends { disconnected_at: Some(at(3)), ..Ends::default() }, Some("app")),
            (Ends { ended_at: Some(at(0)), disconnected_at: Some(at(0)), ..Ends::default() }, None),
        ] {
            let row = back(row(), &Row::default(), ends, true);
            assert_eq!(row.text(A::RevokedBy), by);
            let held = [A::Token, A::TokenId, A::DueAt, A::DueShard];
            assert!(held.iter().all(|attribute| row.get(*attribute).is_some() == by.is_none()), "{row:?}");
        }
    }

    #[test]
    fn the_name_in_logs_stays() {
        let named = |pseudonym: &str| with(row(), A::Pseudonym, pseudonym);
        for (backup, seen, pseudonym) in [
            (named("p_AAAAAAAAAAAAAAAA"), named("p_BBBBBBBBBBBBBBBB"), "p_BBBBBBBBBBBBBBBB"),
            (row(), named("p_BBBBBBBBBBBBBBBB"), "p_BBBBBBBBBBBBBBBB"),
            (named("p_AAAAAAAAAAAAAAAA"), Row::default(), "p_AAAAAAAAAAAAAAAA"),
        ] {
            let restored = back(backup, &seen, Ends::default(), true);
            assert_eq!(restored.text(A::Pseudonym), Some(pseudonym));
        }
    }

    #[test]
    fn a_newer_claim_stays_on_request_and_an_expired_unclaimed_mark_is_dropped() {
        let unclaimed = with(row(), A::UnclaimedUntil, at(20));
        let claimed = with(with(row(), A::Reference, "user-7"), A::ClaimedAt, at(2));
        for (keeps, reference) in [(true, Some("user-7")), (false, None)] {
            let row = back(unclaimed.clone(), &claimed, Ends::default(), keeps);
            assert_eq!((row.get(A::UnclaimedUntil), row.text(A::Reference)), (None, reference));
        }
        // The newer claim wins, even if it is the backup's.
        let newer = with(with(row(), A::Reference, "user-8"), A::ClaimedAt, at(3));
        assert_eq!(back(newer, &claimed, Ends::default(), true).text(A::Reference), Some("user-8"));
        // An account that nobody has claimed in the meantime can still be claimed until its
        // deadline.
        let row = back(unclaimed.clone(), &unclaimed, Ends::default(), true);
        assert_eq!(row.time(A::UnclaimedUntil), Some(at(20)));
        let late = with(unclaimed.clone(), A::UnclaimedUntil, at(9));
        assert_eq!(back(late, &unclaimed, Ends::default(), true).get(A::UnclaimedUntil), None);
    }

    #[test]
    fn a_change_of_any_attribute_since_is_noticed() {
        let seen = with(row(), A::IssuedAt, Value::Other);
        let condition = unchanged(&seen);
        assert!(condition.holds(&seen));
        for attribute in A::ALL {
            let changed = with(seen.clone(), attribute, "another");
            assert_eq!(condition.holds(&changed), attribute == A::IssuedAt, "{attribute}");
            let mut gone = seen.clone();
            gone.remove(attribute);
            assert_eq!(condition.holds(&gone), seen.get(attribute).is_none(), "{attribute}");
        }
        assert!(unchanged(&Row::default()).holds(&Row::default()));
        let ends = with(Row::default(), A::EndedAt, at(1));
        assert!(ends_unchanged(&ends).holds(&ends));
        assert!(!ends_unchanged(&ends).holds(&with(ends.clone(), A::DeletedAt, at(1))));
    }
}
