//! When a token is due: pure rules over timestamps.
//!
//! Owns every number about 24 hours and 60 days. Refuses to read a clock.

use std::ops::RangeInclusive;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use threads_graph::UserId;

use crate::{Claim, Deadline, Grant, Live, ScopesSource, Suspicion, Warning};

/// Meta refuses to refresh a token that is younger than 24 hours.
const MIN_AGE: SignedDuration = SignedDuration::from_hours(24);

/// The wait beyond that, for clocks that disagree.
const MARGIN: SignedDuration = SignedDuration::from_hours(1);

/// How long a long-lived token lives if Meta does not tell.
const USUAL_LIFE: Duration = Duration::from_hours(60 * 24);

/// Meta's word on a life is taken within these bounds: a token that cannot be refreshed before it
/// ends is none that an exchange or a refresh gives, and no token lives longer than 60 days. The
/// margin is for an answer that counts from somewhat later.
const PLAUSIBLE_LIFE: RangeInclusive<Duration> = Duration::from_hours(24)..=Duration::from_hours(61 * 24);

/// A token that lives for less was not extended, or its answer was odd.
const SHORT_LIFE: SignedDuration = SignedDuration::from_hours(30 * 24);

/// No token is left alone for longer after its issue, whatever Meta said of its life.
const LONGEST_REST: i64 = 40 * DAY_SECONDS;

/// A refresh by which a token gains less than this did not extend it.
const LEAST_GAIN: i64 = 3_600;

/// Data access of private profiles ends 90 days after the consent. Where Meta does not tell, an
/// account is probed on these days.
const PROBE_DAYS: RangeInclusive<i64> = 88..=93;

/// A refusal that may be Meta's own trouble is looked at again this much later at the earliest.
pub const SECOND_LOOK: SignedDuration = SignedDuration::from_mins(15);

/// Meta's "too young" puts a token off for as long as Meta's rule says. An ended account is looked
/// at again as often.
pub const A_DAY: SignedDuration = SignedDuration::from_hours(24);

/// It is announced this much ahead that an unclaimed account ends, or half of its time ahead.
const NOTICE: SignedDuration = A_DAY;

/// After Meta has vouched for a doubted token, it is not asked again for this long: doubled with
/// each time, up to the longest.
const FIRST_VOUCH: Duration = Duration::from_mins(1);
const LONGEST_VOUCH: Duration = Duration::from_hours(1);

/// How many partitions the index of due grants has. One takes about 1,000 writes a second, and a
/// refresh costs two.
pub const DUE_SHARDS: u8 = 16;

/// The partition of the index of due rows in which deletions wait that are unfinished.
pub const DELETIONS: &str = "deletions";

/// A doubtful token is looked at after so many seconds.
const DOUBT_SECONDS: i64 = 300;

/// How many days ahead it is said that an access is about to end.
const WARN_DAYS: [u8; 2] = [3, 14];
const DAY_SECONDS: i64 = 86_400;

const FIRST_BACKOFF: Duration = Duration::from_mins(5);
const MAX_BACKOFF: Duration = Duration::from_hours(12);
const PENDING_BACKOFF: Duration = Duration::from_mins(1);

/// The times of a long-lived token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Life {
    /// When Meta was asked for it.
    pub issued_at: Timestamp,
    /// When it expires.
    pub expires_at: Timestamp,
    /// Whether `expires_at` is assumed.
    pub is_assumed: bool,
}

impl Life {
    /// The life of a token that was asked for at `asked_at`: what Meta told, or the usual one if it
    /// told none that a long-lived token can have.
    #[must_use]
    pub fn new(asked_at: Timestamp, told: Option<Duration>) -> Self {
        let told = told.filter(|told| PLAUSIBLE_LIFE.contains(told));
        let seconds = i64::try_from(told.unwrap_or(USUAL_LIFE).as_secs()).unwrap_or(i64::MAX);
        Self { issued_at: asked_at, expires_at: add(asked_at, seconds), is_assumed: told.is_none() }
    }

    /// The life of the token that a refresh of this one gave. One that ends when this one does was
    /// not extended, however little is left of it.
    #[must_use]
    pub fn refreshed(&self, asked_at: Timestamp, told: Option<Duration>) -> Self {
        let left = self.expires_at.as_second().saturating_sub(asked_at.as_second());
        let told_left = told.and_then(|told| i64::try_from(told.as_secs()).ok());
        match told_left {
            Some(told) if !self.is_assumed && told.abs_diff(left) < LEAST_GAIN.unsigned_abs() => {
                Self { issued_at: asked_at, expires_at: add(asked_at, told), is_assumed: false }
            }
            _ => Self::new(asked_at, told),
        }
    }

    /// When the token is over for certain, if Meta does not extend it.
    #[must_use]
    pub fn own_end(&self) -> Timestamp {
        let longest = i64::try_from(USUAL_LIFE.as_secs()).unwrap_or(i64::MAX);
        if self.is_assumed { self.expires_at.max(add(self.issued_at, longest)) } else { self.expires_at }
    }

    /// The same with the end that an inspection told, if it is only assumed so far.
    #[must_use]
    pub fn found(self, expires_at: Option<Timestamp>) -> Self {
        let told = expires_at.map(|at| at.duration_since(self.issued_at).unsigned_abs());
        let found = Self::new(self.issued_at, told);
        if self.is_assumed { found } else { self }
    }

    /// The life of a stored token.
    #[must_use]
    pub fn of(live: &Live) -> Self {
        Self { issued_at: live.issued_at, expires_at: live.expires_at, is_assumed: live.expiry_assumed }
    }

    /// When the token can be refreshed at the earliest: a little after Meta's 24 hours, but sooner
    /// if there is not so much time.
    #[must_use]
    pub fn old_enough_at(&self) -> Timestamp {
        let beyond = (self.seconds() - MIN_AGE.as_secs()) / 2;
        add(self.issued_at, MIN_AGE.as_secs() + beyond.clamp(0, MARGIN.as_secs()))
    }

    fn seconds(&self) -> i64 {
        self.expires_at.as_second().saturating_sub(self.issued_at.as_second()).max(0)
    }

    /// When the token is refreshed: a tenth of its lifetime, different for each user and token,
    /// before two thirds of its lifetime. Accounts that were connected in the same minute are
    /// spread over six days, and twenty are left for trouble. A token whose life is only assumed,
    /// or shorter than a refresh gives, is refreshed as soon as it can be: the refresh tells more.
    #[must_use]
    pub fn due_at(&self, user_id: &UserId) -> Timestamp {
        let lifetime = self.seconds();
        if self.is_assumed || lifetime < SHORT_LIFE.as_secs() {
            return self.old_enough_at().min(self.expires_at);
        }
        let hash = u128::from(hash(user_id, self.issued_at));
        let spread = (hash * u128::from(lifetime.unsigned_abs() / 10)) >> 64;
        let offset = (lifetime / 3 * 2).min(LONGEST_REST) - i64::try_from(spread).unwrap_or(0);
        add(self.issued_at, offset).max(self.old_enough_at()).min(self.expires_at)
    }

    /// Whether a refresh gave a token that lives longer than this one did.
    #[must_use]
    pub fn is_extended_by(&self, new: &Self) -> bool {
        self.is_assumed || new.is_assumed || new.expires_at >= add(self.expires_at, LEAST_GAIN)
    }
}

/// The end of data access, as far as it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DataAccess {
    /// Meta told when it ends.
    Until(Timestamp),
    /// Meta told of no end: a public profile.
    Endless,
    /// Meta did not tell. The person consented at this time.
    Unknown(Timestamp),
}

impl DataAccess {
    /// From what Meta told, of a person who consented at `connected_at`.
    #[must_use]
    pub fn new(end: Option<Timestamp>, source: ScopesSource, connected_at: Timestamp) -> Self {
        match (end, source) {
            (Some(end), _) => Self::Until(end),
            (None, ScopesSource::Granted) => Self::Endless,
            (None, ScopesSource::Requested) => Self::Unknown(connected_at),
        }
    }

    /// Of a grant.
    #[must_use]
    pub fn of(grant: &Grant) -> Self {
        let end = grant.live().and_then(|live| live.data_access_expires_at);
        Self::new(end, grant.scopes_source, grant.connected_at)
    }

    /// When it ends, if Meta told.
    #[must_use]
    pub fn end(self) -> Option<Timestamp> {
        match self {
            Self::Until(end) => Some(end),
            Self::Endless | Self::Unknown(_) => None,
        }
    }

    /// Whether a call has to find out at `now` whether it has ended.
    #[must_use]
    pub fn is_doubtful(self, now: Timestamp) -> bool {
        match self {
            Self::Until(end) => end <= now,
            Self::Endless => false,
            Self::Unknown(since) => now >= add(since, PROBE_DAYS.start() * DAY_SECONDS),
        }
    }
}

/// When a grant is looked at next: when its token is due, or earlier when the end of data access
/// comes near, is there, or has to be probed for.
#[must_use]
pub fn next_look(token_due: Timestamp, access: DataAccess, now: Timestamp) -> Timestamp {
    let looks: Vec<Timestamp> = match access {
        // The first second in which a warning is due.
        DataAccess::Until(end) => {
            WARN_DAYS.iter().map(|days| add(end, 1 - i64::from(*days) * DAY_SECONDS)).chain([end]).collect()
        }
        DataAccess::Endless => Vec::new(),
        DataAccess::Unknown(since) => PROBE_DAYS.map(|day| add(since, day * DAY_SECONDS)).collect(),
    };
    looks.into_iter().filter(|at| *at > now).fold(token_due, Timestamp::min)
}

/// When a grant has to be looked at because nobody has claimed it: to announce its end, and to end
/// it.
#[must_use]
pub fn claim_look(grant: &Grant) -> Option<Timestamp> {
    match grant.claim {
        Claim::Claimed(_) => None,
        Claim::Unclaimed { until, is_announced: true } => Some(until),
        Claim::Unclaimed { until, is_announced: false } => Some(notice_at(grant.connected_at, until)),
    }
}

/// When it is announced that an account ends at `until` which was connected at `since`.
#[must_use]
pub fn notice_at(since: Timestamp, until: Timestamp) -> Timestamp {
    let seconds = until.as_second().saturating_sub(since.as_second()).max(0);
    add(until, -(seconds / 2).min(NOTICE.as_secs()))
}

/// When the token of a grant is due.
#[must_use]
pub fn token_due(user_id: &UserId, live: &Live) -> Timestamp {
    Life::of(live).due_at(user_id)
}

/// When a suspected grant is looked at again: at least 15 minutes later, then ever less often, but
/// not later than its token's own end, which settles it. `random` is any random number.
#[must_use]
pub fn second_look(live: &Live, suspicion: Suspicion, now: Timestamp, random: u64) -> Timestamp {
    let least = SECOND_LOOK.as_secs();
    let most = i64::try_from(MAX_BACKOFF.as_secs()).unwrap_or(i64::MAX);
    let since = now.as_second().saturating_sub(suspicion.since.as_second()).clamp(least, most);
    let jitter = i64::try_from(random % 300).unwrap_or(0);
    let look = add(now, since + jitter);
    let end = Life::of(live).own_end();
    if end > add(now, least) { look.min(end) } else { look }
}

/// When the next doubt in a token is brought before Meta again, after it has vouched `times` times.
#[must_use]
pub fn vouched_until(now: Timestamp, times: u32) -> Timestamp {
    let rest = FIRST_VOUCH.saturating_mul(2u32.saturating_pow(times.saturating_sub(1).min(20)));
    add(now, i64::try_from(rest.min(LONGEST_VOUCH).as_secs()).unwrap_or(0))
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
    // Our clock may be wrong about a token that is over, but then nothing is left to hurry for.
    let share = if remaining == 0 { u64::MAX } else { remaining / 8 };
    let exponential = FIRST_BACKOFF.saturating_mul(2u32.saturating_pow(failures.saturating_sub(1).min(20)));
    let ceiling = exponential.min(MAX_BACKOFF).as_secs().min(share).max(PENDING_BACKOFF.as_secs());
    // At least a second, so that a sweep does not meet the same grant twice.
    let jittered = 1 + random % ceiling;
    let wait = at_least.map_or(jittered, |least| least.as_secs().min(ceiling.max(3_600)).max(jittered));
    add(now, i64::try_from(wait).unwrap_or(i64::MAX))
}

/// When a token is looked at of which Meta did not say whether an end concerns it.
#[must_use]
pub fn doubted_at(now: Timestamp) -> Timestamp {
    add(now, DOUBT_SECONDS)
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
    use crate::Cause;

    const DAY: i64 = 86_400;
    const LIFETIME: i64 = 5_183_944;

    fn user(n: u64) -> UserId {
        n.to_string().parse().unwrap()
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn life(told: i64) -> Life {
        Life::new(at(0), Some(Duration::from_secs(told.unsigned_abs())))
    }

    #[test]
    fn due_between_34_and_40_days_and_never_within_25_hours() {
        for n in 0..2_000 {
            let due = |told| life(told).due_at(&user(n)).as_second();
            let usual = due(LIFETIME);
            assert!((33 * DAY..=40 * DAY).contains(&usual), "{usual}");
            assert_eq!(due(26 * 3_600), 25 * 3_600);
            // Between Meta's 24 hours and the end.
            assert_eq!((due(25 * 3_600), due(24 * 3_600)), (24 * 3_600 + 1_800, 24 * 3_600));
        }
    }

    #[test]
    fn a_life_that_no_long_lived_token_has_is_assumed_and_found_out_the_next_day() {
        let usual = Life { issued_at: at(0), expires_at: at(60 * DAY), is_assumed: true };
        for told in [0, 1, 3_600, 24 * 3_600 - 1, 62 * DAY, 10 * 365 * DAY, 5_183_944_000] {
            assert_eq!(Life::new(at(0), Some(Duration::from_secs(told.unsigned_abs()))), usual, "{told}");
        }
        assert_eq!(Life::new(at(0), None), usual);
        assert_eq!(usual.due_at(&user(1)), at(25 * 3_600));
        // An inspection tells it sooner.
        assert_eq!(usual.found(Some(at(59 * DAY))), life(59 * DAY));
        assert_eq!(usual.found(Some(at(3_600))), usual);
        assert_eq!(life(50 * DAY).found(Some(at(59 * DAY))), life(50 * DAY));
        // A short life that is told is looked at as soon.
        assert_eq!(life(10 * DAY).due_at(&user(1)), at(25 * 3_600));
        let longest = life(61 * DAY);
        assert!(!longest.is_assumed && longest.due_at(&user(1)) <= at(40 * DAY));
    }

    #[test]
    fn a_refresh_that_gains_nothing_is_told_apart() {
        let (old, later) = (life(60 * DAY), at(42 * DAY));
        let told = |seconds: i64| Some(Duration::from_secs(seconds.unsigned_abs()));
        for (gain, is_extended) in [(-2, false), (0, false), (3_599, false), (3_600, true), (40 * DAY, true)]
        {
            let new = old.refreshed(later, told(18 * DAY + gain));
            assert_eq!((old.is_extended_by(&new), new.is_assumed), (is_extended, false), "{gain}");
        }
        assert!(old.is_extended_by(&old.refreshed(later, None)));
        // To its last hour.
        let last = old.refreshed(at(60 * DAY - 7_200), told(7_200));
        assert_eq!((last.expires_at, last.is_assumed), (at(60 * DAY), false));
        assert!(!old.is_extended_by(&last) && last.due_at(&user(1)) == at(60 * DAY));
    }

    #[test]
    fn a_suspected_grant_is_looked_at_ever_less_often_and_at_its_own_end() {
        let live = Live {
            token: vec![],
            token_id: None,
            previous: None,
            issued_at: at(0),
            expires_at: at(60 * DAY),
            expiry_assumed: false,
            refreshed_at: None,
            data_access_expires_at: None,
            warning: None,
            suspicion: None,
            vouch: None,
        };
        let suspicion = Suspicion { cause: Cause::EXPIRED, since: at(0) };
        let looks = |now| second_look(&live, suspicion, at(now), 0).as_second() - now;
        assert_eq!([0, 900, 1_800, 3_600].map(looks), [900, 900, 1_800, 3_600]);
        assert_eq!(looks(10 * DAY), 12 * 3_600);
        assert_eq!(looks(60 * DAY - 3_600), 3_600);
    }

    #[test]
    fn an_unknown_end_of_data_access_is_probed_for_where_a_private_profile_has_it() {
        let (due, unknown) = (at(130 * DAY), DataAccess::Unknown(at(0)));
        let mut now = at(0);
        let mut looks = Vec::new();
        while now < due {
            now = next_look(due, unknown, now);
            looks.push(now.as_second() / DAY);
            assert!(unknown.is_doubtful(now));
        }
        assert_eq!(looks, [88, 89, 90, 91, 92, 93, 130]);
        assert!(!unknown.is_doubtful(at(88 * DAY - 1)) && !DataAccess::Endless.is_doubtful(due));
        assert_eq!(next_look(due, DataAccess::Endless, at(0)), due);
    }

    #[test]
    fn looks_in_time_for_each_warning_and_for_the_end() {
        let (due, end) = (at(40 * DAY), at(30 * DAY));
        let until = DataAccess::Until;
        assert_eq!(next_look(due, until(at(90 * DAY)), at(0)), due);
        let mut now = at(0);
        let mut said = Vec::new();
        while now < end {
            now = next_look(due, until(end), now);
            said.push((now.as_second(), warning(at(60 * DAY), Some(end), now)));
        }
        let warn = |days| Some(Warning { of: Deadline::DataAccess, days });
        assert_eq!(said, [(16 * DAY + 1, warn(14)), (27 * DAY + 1, warn(3)), (30 * DAY, warn(3))]);
        // What is past is not looked for again.
        assert_eq!(next_look(due, until(end), at(31 * DAY)), due);
        assert_eq!(warning(at(60 * DAY), Some(at(46 * DAY)), at(32 * DAY)), None);
        let token = |days| Some(Warning { of: Deadline::Token, days });
        assert_eq!(warning(at(60 * DAY), Some(at(61 * DAY)), at(46 * DAY + 1)), token(14));
    }

    /// A million tokens imported in one minute are spread over days.
    #[test]
    fn a_million_tokens_of_one_minute_do_not_come_due_together() {
        let mut hours = std::collections::BTreeMap::<i64, u32>::new();
        let tokens = 1_000_000;
        for n in 0..tokens {
            let issued = i64::try_from(n % 60).unwrap();
            let life = Life { issued_at: at(issued), expires_at: at(issued + LIFETIME), is_assumed: false };
            let due = life.due_at(&user(17_841_400_000_000_000 + n));
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
