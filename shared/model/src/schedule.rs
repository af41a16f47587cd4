//! When a token is due: pure rules over timestamps.
//!
//! Owns every number about 24 hours and 60 days. Refuses to read a clock.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use threads_graph::UserId;

use crate::{Deadline, Live, Warning};

/// Meta refuses to refresh a token that is younger than 24 hours; the margin covers clocks that
/// disagree.
const MIN_AGE: SignedDuration = SignedDuration::from_hours(25);

/// How many partitions the index of due grants has. One takes about 1,000 writes a second, and a
/// refresh costs two.
pub const DUE_SHARDS: u8 = 16;

/// How many days ahead it is said that an access is about to end.
const WARN_DAYS: [u8; 2] = [3, 14];
const DAY_SECONDS: i64 = 86_400;

const FIRST_BACKOFF: Duration = Duration::from_mins(5);
const MAX_BACKOFF: Duration = Duration::from_hours(12);
const PENDING_BACKOFF: Duration = Duration::from_mins(1);

/// The life of a token of which Meta does not tell how long it lives.
pub const ASSUMED_LIFE: Duration = Duration::from_hours(60 * 24);

/// When a token expires that was asked for at `asked_at` and lives for `expires_in`: Meta's own
/// figure, never a constant.
#[must_use]
pub fn expiry(asked_at: Timestamp, expires_in: Duration) -> Timestamp {
    add(asked_at, i64::try_from(expires_in.as_secs()).unwrap_or(i64::MAX))
}

/// When a long-lived token is refreshed: a tenth of its lifetime, different for each user and
/// token, before two thirds of its lifetime. Accounts that were connected in the same minute are
/// spread over six days, and twenty are left for trouble.
#[must_use]
pub fn due_at(user_id: &UserId, issued_at: Timestamp, expires_at: Timestamp) -> Timestamp {
    let lifetime = expires_at.as_second().saturating_sub(issued_at.as_second()).max(0);
    let spread = (u128::from(hash(user_id, issued_at)) * u128::from(lifetime.unsigned_abs() / 10)) >> 64;
    let offset = lifetime / 3 * 2 - i64::try_from(spread).unwrap_or(0);
    add(issued_at, offset).max(old_enough_at(issued_at)).min(expires_at)
}

/// When a token can be refreshed at the earliest.
#[must_use]
pub fn old_enough_at(issued_at: Timestamp) -> Timestamp {
    add(issued_at, MIN_AGE.as_secs())
}

/// When a grant is looked at next: when its token is due, or earlier when the end of data access
/// comes near or is there.
#[must_use]
pub fn next_look(
    token_due: Timestamp,
    data_access_expires_at: Option<Timestamp>,
    now: Timestamp,
) -> Timestamp {
    let Some(end) = data_access_expires_at else {
        return token_due;
    };
    // The first second in which the warning is due.
    let warnings = WARN_DAYS.map(|days| add(end, 1 - i64::from(days) * DAY_SECONDS));
    warnings.into_iter().chain([end]).filter(|at| *at > now).fold(token_due, Timestamp::min)
}

/// When the grant of this token is looked at next.
#[must_use]
pub fn next_look_of(user_id: &UserId, live: &Live, now: Timestamp) -> Timestamp {
    let token_due = due_at(user_id, live.issued_at, live.expires_at);
    next_look(token_due, live.data_access_expires_at, now)
}

/// The warning that is due at `now` about the first deadline, if that is near.
#[must_use]
pub fn warning(
    token_expires_at: Timestamp,
    data_access_expires_at: Option<Timestamp>,
    now: Timestamp,
) -> Option<Warning> {
    let (end, of) = match data_access_expires_at {
        Some(end) if end < token_expires_at => (end, Deadline::DataAccess),
        _ => (token_expires_at, Deadline::Token),
    };
    let left = end.as_second() - now.as_second();
    WARN_DAYS.into_iter().find(|days| left < i64::from(*days) * DAY_SECONDS).map(|days| Warning { of, days })
}

/// The partition of the due index in which a user's grant lies.
#[must_use]
pub fn shard(user_id: &UserId) -> String {
    shard_name(u8::try_from(hash(user_id, Timestamp::UNIX_EPOCH) % u64::from(DUE_SHARDS)).unwrap_or(0))
}

/// All partitions of the due index.
pub fn shards() -> impl Iterator<Item = String> {
    (0..DUE_SHARDS).map(shard_name)
}

/// When to try again after the `failures`th failure in a row: exponential with full jitter, and
/// never so late that the rest of the token's life would not see several more tries. `random` is
/// any random number.
#[must_use]
pub fn retry_at(
    now: Timestamp,
    expires_at: Timestamp,
    failures: u32,
    at_least: Option<Duration>,
    random: u64,
) -> Timestamp {
    let remaining = u64::try_from(expires_at.as_second().saturating_sub(now.as_second())).unwrap_or(0);
    let exponential = FIRST_BACKOFF.saturating_mul(2u32.saturating_pow(failures.saturating_sub(1).min(20)));
    let ceiling = exponential.min(MAX_BACKOFF).as_secs().min(remaining / 8).max(PENDING_BACKOFF.as_secs());
    // At least a second, so that a sweep does not meet the same grant twice.
    let jittered = 1 + random % ceiling;
    let wait = at_least.map_or(jittered, |least| least.as_secs().min(ceiling.max(3_600)).max(jittered));
    add(now, i64::try_from(wait).unwrap_or(i64::MAX))
}

/// When to try again to complete a pending grant, whose short-lived token lives for an hour.
#[must_use]
pub fn retry_pending_at(now: Timestamp, random: u64) -> Timestamp {
    add(now, 1 + i64::try_from(random % PENDING_BACKOFF.as_secs()).unwrap_or(0))
}

/// `timestamp` moved by `seconds`, at the end of time if that is beyond it.
#[must_use]
pub fn add(timestamp: Timestamp, seconds: i64) -> Timestamp {
    timestamp.saturating_add(SignedDuration::from_secs(seconds)).unwrap_or(Timestamp::MAX)
}

fn shard_name(shard: u8) -> String {
    format!("due-{shard:02}")
}

fn hash(user_id: &UserId, at: Timestamp) -> u64 {
    let text = format!("{user_id}/{}", at.as_second());
    let digest = ring::digest::digest(&ring::digest::SHA256, text.as_bytes());
    digest.as_ref().first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 86_400;
    const LIFETIME: i64 = 5_183_944;

    fn user(n: u64) -> UserId {
        n.to_string().parse().unwrap()
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn due_between_34_and_40_days_and_never_within_25_hours() {
        for n in 0..2_000 {
            let due = due_at(&user(n), at(0), at(LIFETIME)).as_second();
            assert!((33 * DAY..=40 * DAY).contains(&due), "{due}");
            let short = due_at(&user(n), at(0), at(26 * 3_600)).as_second();
            assert_eq!(short, 25 * 3_600);
            assert_eq!(due_at(&user(n), at(0), at(3_600)).as_second(), 3_600);
        }
    }

    #[test]
    fn looks_in_time_for_each_warning_and_for_the_end() {
        let (due, end) = (at(40 * DAY), at(30 * DAY));
        assert_eq!(next_look(due, None, at(0)), due);
        assert_eq!(next_look(due, Some(at(90 * DAY)), at(0)), due);
        let mut now = at(0);
        let mut said = Vec::new();
        while now < end {
            now = next_look(due, Some(end), now);
            said.push((now.as_second(), warning(at(60 * DAY), Some(end), now)));
        }
        let warn = |days| Some(Warning { of: Deadline::DataAccess, days });
        assert_eq!(said, [(16 * DAY + 1, warn(14)), (27 * DAY + 1, warn(3)), (30 * DAY, warn(3))]);
        // What is past is not looked for again.
        assert_eq!(next_look(due, Some(end), at(31 * DAY)), due);
        assert_eq!(warning(at(60 * DAY), Some(at(46 * DAY)), at(32 * DAY)), None);
        let token = |days| Some(Warning { of: Deadline::Token, days });
        assert_eq!(warning(at(60 * DAY), Some(at(61 * DAY)), at(46 * DAY + 1)), token(14));
    }

    /// Threat 19: a million tokens imported in one minute.
    #[test]
    fn a_million_tokens_of_one_minute_do_not_come_due_together() {
        let mut hours = std::collections::BTreeMap::<i64, u32>::new();
        let tokens = 1_000_000;
        for n in 0..tokens {
            let issued = i64::try_from(n % 60).unwrap();
            let due = due_at(&user(17_841_400_000_000_000 + n), at(issued), at(issued + LIFETIME));
            *hours.entry(due.as_second() / 3_600).or_default() += 1;
        }
        let (max, mean) = (
            f64::from(*hours.values().max().unwrap()),
            1_000_000.0 / f64::from(u32::try_from(hours.len()).unwrap()),
        );
        println!("due: {} hours, max/mean hourly load {:.2}", hours.len(), max / mean);
        assert!(max / mean < 1.1, "{}", max / mean);
    }

    #[test]
    fn shards_are_even() {
        let mut count = std::collections::HashMap::<String, u32>::new();
        for n in 0..16_000 {
            *count.entry(shard(&user(n))).or_default() += 1;
        }
        assert_eq!(count.len(), usize::from(DUE_SHARDS));
        assert!(shards().all(|name| (800..1_200).contains(&count[&name])));
    }

    #[test]
    fn backs_off_exponentially_with_full_jitter_and_many_tries_before_the_end() {
        let end = at(60 * DAY);
        assert_eq!(retry_at(at(0), end, 1, None, 0), at(1));
        assert_eq!(retry_at(at(0), end, 1, None, 299), at(300));
        assert_eq!(retry_at(at(0), end, 3, None, 1_199), at(1_200));
        assert_eq!(retry_at(at(0), end, 60, None, 12 * 3_600 - 1), at(12 * 3_600));
        // An eighth of what is left, so that the last days see ever more tries.
        assert_eq!(retry_at(at(60 * DAY - 800), end, 60, None, 99), at(60 * DAY - 700));
        // Meta's own word counts, within reason.
        assert_eq!(retry_at(at(0), end, 1, Some(Duration::from_mins(15)), 5), at(900));
    }
}
