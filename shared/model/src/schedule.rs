//! The schedule: pure functions that compute the due time of a grant.
//!
//! Owns every constant that depends on Meta's 24 hours and 60 days. Refuses to read a clock.

use std::ops::RangeInclusive;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use threads_graph::UserId;

use crate::{Attribute, Change, Claim, Deadline, Grant, Live, ScopesSource, Suspicion, Value, Warning};

/// Minimum age of a token that Meta refreshes.
const MIN_AGE: SignedDuration = SignedDuration::from_hours(24);

/// Safety margin on top of that, for clocks that disagree.
const MARGIN: SignedDuration = SignedDuration::from_hours(1);

/// Assumed life of a long-lived token if Meta does not report it.
const USUAL_LIFE: Duration = Duration::from_hours(60 * 24);

/// Range in which a life reported by Meta is accepted. A token that expires before it can be
/// refreshed does not come from an exchange or a refresh, and no token lives longer than 60 days.
/// The extra day allows for a life that is counted from a later time.
const PLAUSIBLE_LIFE: RangeInclusive<Duration> = Duration::from_hours(24)..=Duration::from_hours(61 * 24);

/// Life below which a token was not extended, or Meta's response was wrong.
const SHORT_LIFE: SignedDuration = SignedDuration::from_hours(30 * 24);

/// Maximum time from a token's issue to its next refresh, in seconds, even if Meta reports a longer
/// life.
const LONGEST_REST: i64 = 40 * DAY_SECONDS;

/// Minimum gain in seconds by which a refresh counts as an extension.
const LEAST_GAIN: i64 = 3_600;

/// Days after the consent on which data access is probed if Meta does not report its end. It ends
/// after 90 days for private profiles.
const PROBE_DAYS: RangeInclusive<i64> = 88..=93;

/// Minimum wait before a suspected token is tried again.
pub const SECOND_LOOK: SignedDuration = SignedDuration::from_mins(15);

/// Wait after Meta's "too young", as its rule demands, and between two tries of a dead grant's
/// token.
pub const A_DAY: SignedDuration = SignedDuration::from_hours(24);

/// Time by which the end of an unclaimed account is announced ahead, or half of its time if that is
/// less.
const NOTICE: SignedDuration = A_DAY;

/// Validity of Meta's first confirmation of a doubted token. It doubles with each further one, up
/// to the longest.
const FIRST_VOUCH: Duration = Duration::from_mins(1);
const LONGEST_VOUCH: Duration = Duration::from_hours(1);

/// Number of partitions of the index of due grants. A partition takes about 1,000 writes a second,
/// and a refresh costs two.
pub const DUE_SHARDS: u8 = 16;

/// The partition of the due index that holds unfinished deletions.
pub const DELETIONS: &str = "deletions";

/// Wait in seconds before a doubtful token is tried.
const DOUBT_SECONDS: i64 = 300;

/// Days before an end of access at which a warning is given.
const WARN_DAYS: [u8; 2] = [3, 14];
const DAY_SECONDS: i64 = 86_400;

const FIRST_BACKOFF: Duration = Duration::from_mins(5);
const MAX_BACKOFF: Duration = Duration::from_hours(12);
const PENDING_BACKOFF: Duration = Duration::from_mins(1);

/// The times of a long-lived token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Life {
    /// Time of the request to Meta that issued the token.
    pub issued_at: Timestamp,
    /// Expiry of the token.
    pub expires_at: Timestamp,
    /// True if `expires_at` is assumed.
    pub is_assumed: bool,
}

impl Life {
    /// Returns the life of a token that was requested at `asked_at`: as Meta reported it, or the
    /// usual life if the reported one is missing or implausible.
    #[must_use]
    pub fn new(asked_at: Timestamp, reported: Option<Duration>) -> Self {
        let reported = reported.filter(|reported| PLAUSIBLE_LIFE.contains(reported));
        let seconds = i64::try_from(reported.unwrap_or(USUAL_LIFE).as_secs()).unwrap_or(i64::MAX);
        Self { issued_at: asked_at, expires_at: add(asked_at, seconds), is_assumed: reported.is_none() }
    }

    /// Returns the life of the token that a refresh of this one returned. A token that expires when
    /// this one does was not extended, even if the rest of its life is implausibly short.
    #[must_use]
    pub fn refreshed(&self, asked_at: Timestamp, reported: Option<Duration>) -> Self {
        let left = self.expires_at.as_second().saturating_sub(asked_at.as_second());
        let reported_left = reported.and_then(|reported| i64::try_from(reported.as_secs()).ok());
        match reported_left {
            Some(reported) if !self.is_assumed && reported.abs_diff(left) < LEAST_GAIN.unsigned_abs() => {
                Self { issued_at: asked_at, expires_at: add(asked_at, reported), is_assumed: false }
            }
            _ => Self::new(asked_at, reported),
        }
    }

    /// Returns the time at which the token has certainly expired, unless Meta extends it.
    #[must_use]
    pub fn own_end(&self) -> Timestamp {
        let longest = i64::try_from(USUAL_LIFE.as_secs()).unwrap_or(i64::MAX);
        if self.is_assumed { self.expires_at.max(add(self.issued_at, longest)) } else { self.expires_at }
    }

    /// Returns the same life with the expiry that an inspection reported, if the expiry was only
    /// assumed.
    #[must_use]
    pub fn found(self, expires_at: Option<Timestamp>) -> Self {
        let reported = expires_at.and_then(|at| Duration::try_from(at.duration_since(self.issued_at)).ok());
        let found = Self::new(self.issued_at, reported);
        if self.is_assumed { found } else { self }
    }

    /// Returns the life of a stored token.
    #[must_use]
    pub fn of(live: &Live) -> Self {
        Self { issued_at: live.issued_at, expires_at: live.expires_at, is_assumed: live.expiry_assumed }
    }

    /// Returns the earliest time at which the token can be refreshed: shortly after Meta's 24
    /// hours, or sooner if the token does not live long enough.
    #[must_use]
    pub fn old_enough_at(&self) -> Timestamp {
        let beyond = (self.seconds() - MIN_AGE.as_secs()) / 2;
        add(self.issued_at, MIN_AGE.as_secs() + beyond.clamp(0, MARGIN.as_secs()))
    }

    fn seconds(&self) -> i64 {
        self.expires_at.as_second().saturating_sub(self.issued_at.as_second()).max(0)
    }

    /// Returns the due time of the token's refresh: within the last tenth of its lifetime before
    /// two thirds of it, spread by user and token. Accounts that connect in the same minute are
    /// spread over six days, and twenty days are left for retries. A token whose life is assumed,
    /// or shorter than a refresh gives, is refreshed as early as possible: the refresh reports its
    /// true life.
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

    /// Returns true if a refresh returned a token that lives longer than this one.
    #[must_use]
    pub fn is_extended_by(&self, new: &Self) -> bool {
        self.is_assumed || new.is_assumed || new.expires_at >= add(self.expires_at, LEAST_GAIN)
    }
}

/// The end of data access, as far as it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DataAccess {
    /// Meta reported this end.
    Until(Timestamp),
    /// Meta reported no end: the profile is public.
    Endless,
    /// Meta did not report it. The person consented at this time.
    Unknown(Timestamp),
}

impl DataAccess {
    /// Interprets Meta's report about a person who consented at `connected_at`.
    #[must_use]
    pub fn new(end: Option<Timestamp>, source: ScopesSource, connected_at: Timestamp) -> Self {
        match (end, source) {
            (Some(end), _) => Self::Until(end),
            (None, ScopesSource::Granted) => Self::Endless,
            (None, ScopesSource::Requested) => Self::Unknown(connected_at),
        }
    }

    /// Returns the data access of a grant.
    #[must_use]
    pub fn of(grant: &Grant) -> Self {
        let end = grant.live().and_then(|live| live.data_access_expires_at);
        Self::new(end, grant.scopes_source, grant.connected_at)
    }

    /// Returns the end, if Meta reported one.
    #[must_use]
    pub fn end(self) -> Option<Timestamp> {
        match self {
            Self::Until(end) => Some(end),
            Self::Endless | Self::Unknown(_) => None,
        }
    }

    /// Returns true if a call to Meta is needed at `now` to find out if it has ended.
    #[must_use]
    pub fn is_doubtful(self, now: Timestamp) -> bool {
        match self {
            Self::Until(end) => end <= now,
            Self::Endless => false,
            Self::Unknown(since) => now >= add(since, PROBE_DAYS.start() * DAY_SECONDS),
        }
    }
}

/// Returns the time of a grant's next look: the token's due time, or earlier if the end of data
/// access needs a warning, is reached, or has to be probed.
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

/// Limits the due time that a change of a grant sets, so that the grant is looked at once in
/// `every`, even if nothing is due: the look detects an account that its person has ended at Meta.
/// The looks are spread over the last tenth of that time, by user and by look. A change without a
/// due time, or without a time of its own, stays as it is.
#[must_use]
pub fn look_within(every: SignedDuration, change: Change) -> Change {
    let updated_at = change.set.iter().find_map(|(attribute, value)| match value {
        Value::Number(second) if *attribute == Attribute::UpdatedAt => Timestamp::from_second(*second).ok(),
        _ => None,
    });
    let (Some(user_id), Some(at)) = (change.key.user_id(), updated_at) else {
        return change;
    };
    change.at_most(Attribute::DueAt, look_at(every, &user_id, at))
}

/// Returns the time of the next look at a grant that was looked at now, if each is looked at once
/// in `every`.
#[must_use]
pub fn look_at(every: SignedDuration, user_id: &UserId, now: Timestamp) -> Timestamp {
    let tenth = every.as_secs().unsigned_abs() / 10;
    let spread = i64::try_from((u128::from(hash(user_id, now)) * u128::from(tenth)) >> 64).unwrap_or(0);
    add(now, every.as_secs() - spread)
}

/// Returns the time at which an unclaimed grant needs a look: first to announce its end, then to
/// end it.
#[must_use]
pub fn claim_look(grant: &Grant) -> Option<Timestamp> {
    match grant.claim {
        Claim::Claimed(_) => None,
        Claim::Unclaimed { until, is_announced: true } => Some(until),
        Claim::Unclaimed { until, is_announced: false } => Some(notice_at(grant.connected_at, until)),
    }
}

/// Returns the time at which the end of an unclaimed account is announced. It was connected at
/// `since` and ends at `until`.
#[must_use]
pub fn notice_at(since: Timestamp, until: Timestamp) -> Timestamp {
    let seconds = until.as_second().saturating_sub(since.as_second()).max(0);
    add(until, -(seconds / 2).min(NOTICE.as_secs()))
}

/// Returns the due time of a grant's token.
#[must_use]
pub fn token_due(user_id: &UserId, live: &Live) -> Timestamp {
    Life::of(live).due_at(user_id)
}

/// Returns the time at which a suspected grant is tried again: at least 15 minutes later, then at
/// growing intervals, but no later than its token's own end, which settles it. `random` is any
/// random number.
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

/// Returns the time until which Meta's confirmation of a doubted token is valid, after it has
/// confirmed the token `times` times.
#[must_use]
pub fn vouched_until(now: Timestamp, times: u32) -> Timestamp {
    let rest = FIRST_VOUCH.saturating_mul(2u32.saturating_pow(times.saturating_sub(1).min(20)));
    add(now, i64::try_from(rest.min(LONGEST_VOUCH).as_secs()).unwrap_or(0))
}

/// Returns the warning that is due at `now` for the first deadline, if it is near.
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

/// Returns the partition of the due index for a user's grant.
#[must_use]
pub fn shard(user_id: &UserId) -> String {
    shard_name(u8::try_from(hash(user_id, Timestamp::UNIX_EPOCH) % u64::from(DUE_SHARDS)).unwrap_or(0))
}

/// Returns all partitions of the due index for grants.
pub fn shards() -> impl Iterator<Item = String> {
    Part::WHOLE.shards()
}

/// A part of the due index. The second of four has the second partition, the sixth and so on.
/// Sweeps of different parts never meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    nth: u8,
    of: u8,
}

impl Part {
    /// The whole index.
    pub const WHOLE: Self = Self { nth: 0, of: 1 };

    /// Returns part `nth`, counted from 0, of `of` parts. Returns `None` if there is no such part,
    /// or if it would have no partition.
    #[must_use]
    pub fn new(nth: u8, of: u8) -> Option<Self> {
        (nth < of && of <= DUE_SHARDS).then_some(Self { nth, of })
    }

    /// Returns true if this is the whole index.
    #[must_use]
    pub fn is_whole(self) -> bool {
        self == Self::WHOLE
    }

    /// Returns its partitions.
    pub fn shards(self) -> impl Iterator<Item = String> {
        (self.nth..DUE_SHARDS).step_by(self.of.into()).map(shard_name)
    }
}

/// Returns the time of the retry after the `failures`th consecutive failure: exponential backoff
/// with full jitter, limited so that several more tries fit into the rest of the token's life.
/// `random` is any random number.
#[must_use]
pub fn retry_at(
    now: Timestamp,
    expires_at: Timestamp,
    failures: u32,
    at_least: Option<Duration>,
    random: u64,
) -> Timestamp {
    let remaining = u64::try_from(expires_at.as_second().saturating_sub(now.as_second())).unwrap_or(0);
    // Our clock may be wrong about an expired token, but there is no reason to hurry.
    let share = if remaining == 0 { u64::MAX } else { remaining / 8 };
    let exponential = FIRST_BACKOFF.saturating_mul(2u32.saturating_pow(failures.saturating_sub(1).min(20)));
    let ceiling = exponential.min(MAX_BACKOFF).as_secs().min(share).max(PENDING_BACKOFF.as_secs());
    // The wait is at least a second, so that a sweep does not see the same grant twice.
    let jittered = 1 + random % ceiling;
    let wait = at_least.map_or(jittered, |least| least.as_secs().min(ceiling.max(3_600)).max(jittered));
    add(now, i64::try_from(wait).unwrap_or(i64::MAX))
}

/// Returns the time at which a token is tried if Meta did not report whether an end concerns it.
#[must_use]
pub fn doubted_at(now: Timestamp) -> Timestamp {
    add(now, DOUBT_SECONDS)
}

/// Returns the time of the retry of a pending exchange, whose short-lived token lives for an hour.
#[must_use]
pub fn retry_pending_at(now: Timestamp, random: u64) -> Timestamp {
    add(now, 1 + i64::try_from(random % PENDING_BACKOFF.as_secs()).unwrap_or(0))
}

/// Returns `timestamp` moved by `seconds`, limited to the largest timestamp.
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
    use crate::{Cause, Condition, Key, Row};

    const DAY: i64 = 86_400;
    const LIFETIME: i64 = 5_183_944;

    fn user(n: u64) -> UserId {
        n.to_string().parse().unwrap()
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn life(reported: i64) -> Life {
        Life::new(at(0), Some(Duration::from_secs(reported.unsigned_abs())))
    }

    #[test]
    fn due_between_34_and_40_days_and_never_within_25_hours() {
        for n in 0..2_000 {
            let due = |reported| life(reported).due_at(&user(n)).as_second();
            let usual = due(LIFETIME);
            assert!((33 * DAY..=40 * DAY).contains(&usual), "{usual}");
            assert_eq!(due(26 * 3_600), 25 * 3_600);
            // The due time is between Meta's 24 hours and the expiry.
            assert_eq!((due(25 * 3_600), due(24 * 3_600)), (24 * 3_600 + 1_800, 24 * 3_600));
        }
    }

    #[test]
    fn a_life_that_no_long_lived_token_has_is_assumed_and_found_out_the_next_day() {
        let usual = Life { issued_at: at(0), expires_at: at(60 * DAY), is_assumed: true };
        for reported in [0, 1, 3_600, 24 * 3_600 - 1, 62 * DAY, 10 * 365 * DAY, 5_183_944_000] {
            assert_eq!(
                Life::new(at(0), Some(Duration::from_secs(reported.unsigned_abs()))),
                usual,
                "{reported}"
            );
        }
        assert_eq!(Life::new(at(0), None), usual);
        assert_eq!(usual.due_at(&user(1)), at(25 * 3_600));
        // An inspection finds the true life sooner.
        assert_eq!(usual.found(Some(at(59 * DAY))), life(59 * DAY));
        assert_eq!(usual.found(Some(at(3_600))), usual);
        // An expiry before the token's issue is ignored.
        assert_eq!(usual.found(Some(at(-59 * DAY))), usual);
        assert_eq!(life(50 * DAY).found(Some(at(59 * DAY))), life(50 * DAY));
        // A short reported life is due as early.
        assert_eq!(life(10 * DAY).due_at(&user(1)), at(25 * 3_600));
        let longest = life(61 * DAY);
        assert!(!longest.is_assumed && longest.due_at(&user(1)) <= at(40 * DAY));
    }

    #[test]
    fn a_refresh_that_gains_nothing_is_recognized() {
        let (old, later) = (life(60 * DAY), at(42 * DAY));
        let reported = |seconds: i64| Some(Duration::from_secs(seconds.unsigned_abs()));
        for (gain, is_extended) in [(-2, false), (0, false), (3_599, false), (3_600, true), (40 * DAY, true)]
        {
            let new = old.refreshed(later, reported(18 * DAY + gain));
            assert_eq!((old.is_extended_by(&new), new.is_assumed), (is_extended, false), "{gain}");
        }
        assert!(old.is_extended_by(&old.refreshed(later, None)));
        // The token is extended until its last hour.
        let last = old.refreshed(at(60 * DAY - 7_200), reported(7_200));
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
            asked_at: None,
        };
        let suspicion = Suspicion { cause: Cause::EXPIRED, since: at(0) };
        let looks = |now| second_look(&live, suspicion, at(now), 0).as_second() - now;
        assert_eq!([0, 900, 1_800, 3_600].map(looks), [900, 900, 1_800, 3_600]);
        assert_eq!(looks(10 * DAY), 12 * 3_600);
        assert_eq!(looks(60 * DAY - 3_600), 3_600);
    }

    #[test]
    fn an_unknown_end_of_data_access_is_probed_around_day_90() {
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
        let mut warnings = Vec::new();
        while now < end {
            now = next_look(due, until(end), now);
            warnings.push((now.as_second(), warning(at(60 * DAY), Some(end), now)));
        }
        let warn = |days| Some(Warning { of: Deadline::DataAccess, days });
        assert_eq!(warnings, [(16 * DAY + 1, warn(14)), (27 * DAY + 1, warn(3)), (30 * DAY, warn(3))]);
        // A deadline in the past causes no further look.
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
    fn a_grant_is_looked_at_once_in_the_chosen_time_and_never_later_than_due() {
        let every = SignedDuration::from_hours(7 * 24);
        let change = |user: u64, due: i64| {
            Change::of(Key::grant(&self::user(user)), "a change", Condition::NONE)
                .set(Attribute::DueAt, at(due * DAY))
                .set(Attribute::UpdatedAt, at(DAY))
        };
        let due =
            |change: Change| look_within(every, change).apply(Row::default()).unwrap().time(Attribute::DueAt);
        let mut days = std::collections::BTreeMap::<i64, u32>::new();
        for n in 0..7_000 {
            assert_eq!(due(change(n, 3)), Some(at(3 * DAY)));
            let look = due(change(n, 38)).unwrap();
            assert!(look > at(7 * DAY) && look <= at(8 * DAY), "{look}");
            *days.entry(look.as_second() / 3_600).or_default() += 1;
        }
        // Spread over the last tenth: 16.8 hours.
        assert_eq!(days.len(), 17);
        // A change without a time of its own, and one of another row, stay.
        let deferred = Change { set: vec![(Attribute::DueAt, at(38 * DAY).into())], ..change(1, 38) };
        assert_eq!(due(deferred), Some(at(38 * DAY)));
        let other = Change { key: Key::pause(), ..change(1, 38) };
        assert_eq!(due(other), Some(at(38 * DAY)));
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
    fn parts_share_all_partitions() {
        for of in 1..=DUE_SHARDS {
            let parts = (0..of).map(|nth| Part::new(nth, of).unwrap());
            let mut all: Vec<_> = parts.flat_map(Part::shards).collect();
            all.sort();
            assert!(all.iter().eq(shards().collect::<Vec<_>>().iter()), "{of}");
        }
        for (nth, of) in [(0, 0), (1, 1), (4, 4), (0, DUE_SHARDS + 1)] {
            assert_eq!(Part::new(nth, of), None);
        }
    }

    #[test]
    fn backs_off_exponentially_with_full_jitter_and_many_tries_before_the_end() {
        let end = at(60 * DAY);
        assert_eq!(retry_at(at(0), end, 1, None, 0), at(1));
        assert_eq!(retry_at(at(0), end, 1, None, 299), at(300));
        assert_eq!(retry_at(at(0), end, 3, None, 1_199), at(1_200));
        assert_eq!(retry_at(at(0), end, 60, None, 12 * 3_600 - 1), at(12 * 3_600));
        // The wait is an eighth of the remaining life, so that the last days see ever more tries.
        for (random, wait) in [(99, 100), (100, 1), (1_250, 51)] {
            let now = at(60 * DAY - 800);
            assert_eq!(retry_at(now, end, 60, None, random), add(now, wait), "{random}");
        }
        // A wait that Meta demands counts, within limits.
        assert_eq!(retry_at(at(0), end, 1, Some(Duration::from_mins(15)), 5), at(900));
    }
}
