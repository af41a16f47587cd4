//! The plan of a year: what happens at Threads, at AWS and to the people, and when. It follows from
//! the seed and the number of people alone.

use threads_sandbox::{BadAnswer, ExpiresIn, Inspection, OldToken};

use crate::chance::Chance;

pub(crate) const MINUTE: i64 = 60;
pub(crate) const HOUR: i64 = 3_600;
pub(crate) const DAY: i64 = 24 * HOUR;

/// Time over which people connect, so that the load is even from the start.
const MOVING_IN: i64 = 37 * DAY;

/// A failure that lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// Meta gives this answer to every call.
    Threads(BadAnswer),
    /// Meta closes every connection.
    ThreadsGone,
    /// DynamoDB refuses everything.
    StoreDown,
    /// DynamoDB accepts leases, but throttles the index of due grants, which each new token
    /// changes.
    WritesDown,
    /// Secrets Manager fails in this way.
    Secrets(SecretsTrouble),
    /// Nothing starts a sweep.
    SchedulerDown,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SecretsTrouble {
    Denied,
    Expired,
    Signature,
    Malformed,
    Internal,
}

impl Trouble {
    /// Returns true if no token can be refreshed in this time.
    pub(crate) fn is_outage(self) -> bool {
        !matches!(self, Self::Secrets(_))
    }
}

/// A time in which something is wrong, in seconds since the start.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window {
    pub(crate) from: i64,
    pub(crate) until: i64,
    pub(crate) trouble: Trouble,
}

/// A single thing that happens.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Happens {
    Connects(usize),
    ChangesPassword(usize),
    RemovesApp(usize),
    /// Has to pass a checkpoint, and passes it later.
    IsCheckpointed(usize),
    IsRestricted(usize),
    IsRestored(usize),
    StopsExtending(usize),
    ExtendsAgain(usize),
    /// A row is damaged, and repaired later.
    Poisons(usize, Damage),
    Repairs(usize),
    TreatsOldTokens(OldToken),
    Inspects(Inspection),
    Reports(ExpiresIn),
    /// The process dies between Meta's answer and the write, in the next sweep that has a write.
    KillsSweep,
    /// The process dies between Meta's answer and the write, in requests for so many tokens.
    KillsVends(usize),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Damage {
    IssuedAt,
    Token,
    Status,
    LeaseUntil,
}

/// A year.
pub(crate) struct Plan {
    pub(crate) windows: Vec<Window>,
    /// The events in their order, each with its time.
    pub(crate) happens: Vec<(i64, Happens)>,
    pub(crate) private: Vec<bool>,
    pub(crate) end: i64,
}

/// The contents of a year.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// One failure of each kind in four months.
    Short,
    /// All of them, in a year.
    Full,
}

impl Extent {
    fn days(self) -> i64 {
        match self {
            Self::Short => 122,
            Self::Full => 365,
        }
    }

    /// Returns the number of times at which people connect, if sweeps are so many hours apart.
    fn arrivals(self, every: i64) -> i64 {
        match self {
            Self::Short => 3,
            Self::Full => MOVING_IN / HOUR / every,
        }
    }

    /// Returns the share of people, in a million, to whom an event happens that is rare in a large
    /// year.
    fn share(self, of_a_million: u64) -> u64 {
        match self {
            Self::Short => of_a_million * 4,
            Self::Full => of_a_million,
        }
    }
}

impl Plan {
    pub(crate) fn new(chance: Chance, people: usize, extent: Extent, every: i64) -> Self {
        let share = extent.share(40_000);
        let mut plan = Self {
            windows: windows(extent),
            happens: Vec::new(),
            private: (0..people).map(|n| n > 0 && chance.hits(share, "private", n as u64, 0)).collect(),
            end: extent.days() * DAY,
        };
        plan.meta(extent);
        plan.people(chance, people, extent, every);
        let (sweeps, vends): (&[i64], &[i64]) = match extent {
            Extent::Short => (&[35, 58, 97], &[57, 101]),
            Extent::Full => {
                (&[45, 105, 133, 166, 206, 240, 303, 335], &[46, 106, 134, 167, 207, 241, 304, 336])
            }
        };
        plan.happens.extend(sweeps.iter().map(|day| (day * DAY, Happens::KillsSweep)));
        plan.happens.extend(vends.iter().map(|day| (day * DAY, Happens::KillsVends(3))));
        plan.happens.sort_by_key(|(at, _)| *at);
        plan
    }

    /// Plans changes of Meta's undocumented behaviour. The worst is in force during most faults.
    fn meta(&mut self, extent: Extent) {
        use Happens::{Inspects, Reports, TreatsOldTokens};
        use OldToken::{NewTokenOldAlive, NewTokenOldDead, SameTokenExtended};
        let (days, shapes) = match extent {
            Extent::Short => (
                vec![
                    (0, TreatsOldTokens(NewTokenOldDead)),
                    (60, TreatsOldTokens(NewTokenOldAlive)),
                    (72, TreatsOldTokens(SameTokenExtended)),
                    (79, TreatsOldTokens(NewTokenOldDead)),
                    (0, Inspects(Inspection::Testers)),
                    (60, Inspects(Inspection::Nobody)),
                    (74, Inspects(Inspection::App)),
                ],
                Vec::new(),
            ),
            Extent::Full => (
                vec![
                    (0, TreatsOldTokens(NewTokenOldDead)),
                    (102, TreatsOldTokens(NewTokenOldAlive)),
                    (130, TreatsOldTokens(SameTokenExtended)),
                    (162, TreatsOldTokens(NewTokenOldDead)),
                    (262, TreatsOldTokens(NewTokenOldAlive)),
                    (300, TreatsOldTokens(SameTokenExtended)),
                    (330, TreatsOldTokens(NewTokenOldDead)),
                    (0, Inspects(Inspection::Testers)),
                    (190, Inspects(Inspection::Nobody)),
                    (212, Inspects(Inspection::App)),
                    (262, Inspects(Inspection::Testers)),
                    (310, Inspects(Inspection::Anybody)),
                ],
                vec![
                    ExpiresIn::Missing,
                    ExpiresIn::Null,
                    ExpiresIn::Zero,
                    ExpiresIn::Negative,
                    ExpiresIn::Float,
                    ExpiresIn::Fraction,
                    ExpiresIn::Text,
                    ExpiresIn::Word,
                    ExpiresIn::Milliseconds,
                    ExpiresIn::TenYears,
                    ExpiresIn::Huge,
                    ExpiresIn::Remaining,
                    ExpiresIn::Documented,
                ],
            ),
        };
        self.happens.extend(days.into_iter().map(|(day, what)| (day * DAY, what)));
        self.happens.extend((140..).step_by(2).zip(shapes).map(|(day, shape)| (day * DAY, Reports(shape))));
    }

    fn people(&mut self, chance: Chance, people: usize, extent: Extent, every: i64) {
        use Happens::{
            ChangesPassword, Connects, ExtendsAgain, IsCheckpointed, IsRestored, IsRestricted, Poisons,
            RemovesApp, Repairs, StopsExtending,
        };
        let until = extent.days() - 60;
        let arrivals = extent.arrivals(every);
        for person in 0..people {
            let n = person as u64;
            let day = |what| {
                let hours = u64::try_from((until - 40) * 24).unwrap_or(1);
                (40 * 24 + chance.below(hours, what, n, 1).cast_signed()) * HOUR
            };
            let of = |share, what| person > 0 && chance.hits(extent.share(share), what, n, 0);
            let [nth, all] = [person, people].map(|count| i64::try_from(count).unwrap_or(i64::MAX));
            let arrival = nth * arrivals / all;
            // The inspector comes first, so that the others' tokens can be inspected.
            let arrives = MOVING_IN / arrivals * arrival + HOUR * i64::from(person > 0);
            self.happens.push((arrives, Connects(person)));
            // At most one event for each person, so that its effect can be identified.
            if of(15_000, "password") {
                self.happens.push((day("password"), ChangesPassword(person)));
            } else if of(20_000, "removal") {
                self.happens.push((day("removal"), RemovesApp(person)));
            } else if of(8_000, "checkpoint") {
                let at = day("checkpoint");
                self.happens.extend([(at, IsCheckpointed(person)), (at + 3 * DAY, IsRestored(person))]);
            } else if of(8_000, "restriction") {
                let at = day("restriction");
                self.happens.extend([(at, IsRestricted(person)), (at + 5 * DAY, IsRestored(person))]);
            } else if of(10_000, "stalled") {
                let at = day("stalled");
                self.happens.extend([(at, StopsExtending(person)), (at + 12 * DAY, ExtendsAgain(person))]);
            } else if of(20_000, "poison") {
                let at = day("poison");
                let damages = [Damage::IssuedAt, Damage::Token, Damage::Status, Damage::LeaseUntil];
                let damage = chance.pick(&damages, "damage", n, 0);
                self.happens.extend([(at, Poisons(person, damage)), (at + 5 * DAY, Repairs(person))]);
            }
        }
    }

    /// Returns the failures in force at a time.
    pub(crate) fn trouble(&self, at: i64) -> impl Iterator<Item = Trouble> {
        self.windows.iter().filter(move |window| (window.from..window.until).contains(&at)).map(|w| w.trouble)
    }

    /// Returns true if the secrets cannot be read at a time.
    pub(crate) fn are_secrets_down(&self, at: i64) -> bool {
        self.trouble(at).any(|trouble| matches!(trouble, Trouble::Secrets(_)))
    }

    pub(crate) fn is_outage(&self, at: i64) -> bool {
        self.trouble(at).any(Trouble::is_outage)
    }

    /// Returns the seconds between two times in which tokens could be refreshed.
    pub(crate) fn awake(&self, from: i64, until: i64) -> i64 {
        let outages = self.windows.iter().filter(|window| window.trouble.is_outage());
        let lost: i64 = outages.map(|window| (window.until.min(until) - window.from.max(from)).max(0)).sum();
        (until - from - lost).max(0)
    }
}

fn windows(extent: Extent) -> Vec<Window> {
    use Trouble::{SchedulerDown, Secrets, StoreDown, Threads, ThreadsGone, WritesDown};
    let window = |day: i64, lasts: i64, trouble| {
        let from = day * DAY;
        Window { from, until: from + lasts, trouble }
    };
    let secrets = |day, trouble| {
        let from = day * DAY + 10 * MINUTE;
        Window { from, until: from + 40 * MINUTE, trouble: Secrets(trouble) }
    };
    match extent {
        Extent::Short => vec![
            secrets(43, SecretsTrouble::Denied),
            secrets(44, SecretsTrouble::Malformed),
            window(46, 3 * DAY, SchedulerDown),
            // A store that takes no token for the first sweep after it.
            window(49, HOUR, WritesDown),
            window(55, DAY, Threads(BadAnswer::ServerError)),
            window(75, DAY, SchedulerDown),
            window(76, HOUR, Threads(BadAnswer::Bare190)),
            window(80, DAY, StoreDown),
            window(86, 10 * DAY, SchedulerDown),
        ],
        Extent::Full => vec![
            window(42, HOUR, Threads(BadAnswer::ServerError)),
            window(48, HOUR, ThreadsGone),
            window(52, HOUR, StoreDown),
            window(56, DAY, Threads(BadAnswer::ServerError)),
            secrets(60, SecretsTrouble::Denied),
            secrets(61, SecretsTrouble::Malformed),
            secrets(62, SecretsTrouble::Expired),
            secrets(63, SecretsTrouble::Signature),
            secrets(64, SecretsTrouble::Internal),
            window(66, HOUR, SchedulerDown),
            window(70, 10 * DAY, Threads(BadAnswer::ServerError)),
            window(90, 7 * DAY, SchedulerDown),
            window(97, HOUR, WritesDown),
            window(110, 6 * HOUR, Threads(BadAnswer::Throttled)),
            window(112, HOUR, Threads(BadAnswer::Throttled)),
            window(118, 2 * DAY, SchedulerDown),
            window(120, HOUR, Threads(BadAnswer::Bare190)),
            window(135, 2 * DAY, Threads(BadAnswer::AppBlocked)),
            window(138, 6 * HOUR, Threads(BadAnswer::Permission)),
            window(168, DAY, Threads(BadAnswer::AppDeleted)),
            window(171, 3 * HOUR, Threads(BadAnswer::AppUnknown)),
            window(175, 10 * DAY, StoreDown),
            window(200, DAY, StoreDown),
            window(215, 10 * DAY, SchedulerDown),
            secrets(240, SecretsTrouble::Denied),
            window(248, 2 * DAY, SchedulerDown),
            window(250, 3 * HOUR, WritesDown),
            window(320, DAY, ThreadsGone),
        ],
    }
}
