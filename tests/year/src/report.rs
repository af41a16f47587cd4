//! The figures of a year, and what they must be.

use std::collections::BTreeMap;
use std::fmt;

use crate::plan::{DAY, HOUR};
use crate::proxy::{Delay, Loss, Traffic};

/// Lost tokens that one failure of the store may cost: those in flight when it is noticed.
const LOST_BY_STORE: u64 = 2;
/// Maximum hours until the loss of a token in a crash is announced, not counting outages.
const CRASH_ANNOUNCED: i64 = 3;
/// Maximum hours until the end of data access is announced.
const ACCESS_ANNOUNCED: i64 = 24;
/// Maximum hours until an unreported end is detected: a token's longest rest, and a day.
const END_ANNOUNCED: i64 = 41 * 24;
/// Maximum hours that a due token waits, not counting outages.
const LATE: i64 = 72;
/// Maximum load of the busiest hour, as a multiple of the mean, by tokens that can wait: they live
/// for longer than ten days, and their person's profile is not private.
const LOAD: f64 = 12.0;
/// Minimum hourly mean at which chance does not decide the load.
const LEAST_MEAN: f64 = 12.0;

/// The figures of a year.
#[derive(Clone, Debug, Default)]
pub struct Report {
    pub(crate) seed: u64,
    pub(crate) people: usize,
    pub(crate) sweeps: u64,
    pub(crate) kills: u64,
    pub(crate) vends: u64,
    pub(crate) traffic: Traffic,
    pub(crate) refreshed: u64,
    /// Lost tokens by reason: Meta has issued them, nobody holds them, and the old ones were dead.
    pub(crate) losses: BTreeMap<Loss, u64>,
    /// Those for no known reason.
    pub(crate) dropped: Vec<String>,
    /// Failures of the store in which it accepted leases but no tokens.
    pub(crate) half_failures: u64,
    /// People whose account works at Threads but not with us, for none of these reasons.
    pub(crate) lost: Vec<usize>,
    /// Announced ends of accounts that work.
    pub(crate) false_deaths: Vec<String>,
    /// Longest time from an end to its announcement, in seconds and not counting outages, by its
    /// kind.
    pub(crate) announced: BTreeMap<&'static str, Delays>,
    /// Ends that were not announced in time.
    pub(crate) unannounced: Vec<String>,
    /// People who were not warned of their token's end.
    pub(crate) unwarned: Vec<usize>,
    /// Maximum number of tokens that one kill has lost.
    pub(crate) most_killed: u64,
    pub(crate) missing_events: u64,
    pub(crate) repeated_events: u64,
    /// Sweeps that could not run although nothing but the secrets had failed.
    pub(crate) failed_sweeps: Vec<String>,
    /// Tokens that were not handed out although nothing but the secrets had failed.
    pub(crate) failed_vends: Vec<String>,
}

/// The times that announcements took.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Delays {
    pub(crate) count: u64,
    pub(crate) longest: Delay,
}

impl Report {
    /// Returns the maximum seconds until an end is announced, not counting outages.
    pub(crate) fn bound(of: &str) -> i64 {
        HOUR * match of {
            "crash" | "refused write" | "dropped token" => CRASH_ANNOUNCED,
            // After an outage it waits like the others.
            "lost answer" => LATE,
            "data access" => ACCESS_ANNOUNCED,
            _ => END_ANNOUNCED,
        }
    }

    pub(crate) fn announce(&mut self, of: &'static str, delay: Delay) {
        let delays = self.announced.entry(of).or_default();
        delays.count += 1;
        delays.longest = delays.longest.max(delay);
    }

    fn load(&self) -> Load {
        let Traffic { refreshes, patient, .. } = &self.traffic;
        let total: u32 = refreshes.iter().sum();
        #[expect(clippy::cast_precision_loss, reason = "the hours of a year")]
        let mean = f64::from(total) / refreshes.len().max(1) as f64;
        let busiest = |hours: &[u32]| {
            let (count, hour) = hours.iter().zip(0..).max().map_or((0, 0), |(count, hour)| (*count, hour));
            (f64::from(count) / mean.max(f64::MIN_POSITIVE), hour)
        };
        let ((most, _), (patient, hour)) = (busiest(refreshes), busiest(patient));
        Load { most, patient, hour, mean }
    }

    fn losses_by(&self, loss: Loss) -> u64 {
        self.losses.get(&loss).copied().unwrap_or(0)
    }

    /// Returns the seed of the year.
    #[must_use]
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// Returns each figure that violates its bound.
    #[must_use]
    pub fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        let mut check = |is_right: bool, what: String| {
            if !is_right {
                faults.push(what);
            }
        };
        let shown = |list: &[String]| list.iter().take(3).cloned().collect::<Vec<_>>().join("; ");
        check(self.lost.is_empty(), format!("{} lost that were ours: {:?}", self.lost.len(), self.lost));
        check(
            self.dropped.is_empty(),
            format!("{} tokens dropped for no reason: {}", self.dropped.len(), shown(&self.dropped)),
        );
        let (refused, may) = (self.losses_by(Loss::Refused), LOST_BY_STORE * self.half_failures);
        check(refused <= may, format!("{refused} tokens lost to a failing store, and {may} may be"));
        check(
            self.false_deaths.is_empty(),
            format!("{} false deaths: {}", self.false_deaths.len(), shown(&self.false_deaths)),
        );
        check(
            self.unannounced.is_empty(),
            format!("{} ends unannounced: {}", self.unannounced.len(), shown(&self.unannounced)),
        );
        check(self.unwarned.is_empty(), format!("not warned: {:?}", self.unwarned));
        for (of, delays) in &self.announced {
            let bound = Self::bound(of);
            let Delay { awake, person, at } = delays.longest;
            let (hours, most, day) = (awake / HOUR, bound / HOUR, at / DAY);
            check(
                awake <= bound,
                format!("{of} of person {person} announced on day {day} after {hours} h, {most} at most"),
            );
        }
        check(self.missing_events == 0, format!("{} events missing", self.missing_events));
        check(self.repeated_events == 0, format!("{} events repeated", self.repeated_events));
        check(
            self.failed_sweeps.is_empty(),
            format!("{} sweeps failed: {}", self.failed_sweeps.len(), shown(&self.failed_sweeps)),
        );
        check(
            self.failed_vends.is_empty(),
            format!("{} requests failed: {}", self.failed_vends.len(), shown(&self.failed_vends)),
        );
        let Delay { awake, person, at } = self.traffic.latest;
        let (late, day) = (awake / HOUR, at / DAY);
        check(
            late <= LATE,
            format!("a refresh of person {person} on day {day} {late} h late, outages left out"),
        );
        let Load { patient, hour, mean, .. } = self.load();
        let (is_right, day) = (patient <= LOAD || mean < LEAST_MEAN, hour / 24);
        check(
            is_right,
            format!("in an hour of day {day}, {patient:.1} times the mean was refreshed of what can wait"),
        );
        faults
    }
}

/// The load of Meta by refreshes.
struct Load {
    /// Load of the busiest hour, as a multiple of the mean.
    most: f64,
    /// The same of tokens that can wait, and its hour.
    patient: f64,
    hour: i64,
    /// Refreshes in an hour.
    mean: f64,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, people, sweeps, kills, vends, traffic, .. } = self;
        let Traffic { calls, faults, latest, late, least_left, .. } = traffic;
        let Load { most, patient, mean, .. } = self.load();
        writeln!(
            f,
            "year {seed}: {people} people, {sweeps} sweeps, {vends} requests, {} refreshes, {calls} calls, {faults} of \
             them failed, {kills} kills",
            self.refreshed,
        )?;
        writeln!(
            f,
            "year {seed}: {} lost that were ours, {} false deaths, {} unannounced, {} unwarned, {} events missing, {} \
             repeated, {} sweeps and {} requests failed",
            self.lost.len(),
            self.false_deaths.len(),
            self.unannounced.len(),
            self.unwarned.len(),
            self.missing_events,
            self.repeated_events,
            self.failed_sweeps.len(),
            self.failed_vends.len(),
        )?;
        writeln!(
            f,
            "year {seed}: with the old token dead at once, {} lost in {kills} kills, {} in one at most, {} with Meta's \
             answer, {} in {} failures of the store",
            self.losses_by(Loss::Killed),
            self.most_killed,
            self.losses_by(Loss::AnswerLost),
            self.losses_by(Loss::Refused),
            self.half_failures,
        )?;
        for (of, Delays { count, longest }) in &self.announced {
            let longest = hours(longest.awake);
            writeln!(f, "year {seed}: {count} times {of}, announced after {longest:.1} h at most")?;
        }
        write!(
            f,
            "year {seed}: latest refresh {:.1} h after it was due, {:.1} h without outages; least life left {:.1} \
             days; load of the busiest hour {most:.1} times the mean, {mean:.1}, and {patient:.1} times of what can wait",
            hours(*late),
            hours(latest.awake),
            hours(least_left.unwrap_or(0)) / 24.0,
        )
    }
}

#[expect(clippy::cast_precision_loss, reason = "seconds of a year")]
fn hours(seconds: i64) -> f64 {
    seconds as f64 / HOUR as f64
}
