//! The pace of a sweep: how many grants may be in flight.
//! Owns the slow start and the tap, a circuit breaker for the store. A newly issued token is lost
//! if the store does not accept it, so a sweep begins with one grant, and each stored outcome
//! allows three more. A failure of the store closes the tap: no grant begins until another one has
//! shown that the store works again. A failure that concerns only one item leaves the tap open.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use threads_auth_store::FailureKind;
use tokio::sync::Notify;

use crate::config::Config;

/// The sweep ends after this many failures in a row. The pauses between them grow from a sixtieth
/// of `REQUEST_SECONDS`, so they take about half as long as one request may.
const MAX_FAILURES: u32 = 6;

/// Each stored outcome allows this many more grants in flight, so that their number grows fourfold
/// with each round trip.
const MORE: usize = 3;

/// Weight of a failure to store a new token, compared with any other failure of the store.
const FAILURES_OF_A_TOKEN: u32 = 3;

pub(crate) struct Pace {
    most: usize,
    first_pause: Duration,
    state: Mutex<State>,
    closed: Notify,
}

struct State {
    tap: Tap,
    /// Number of grants whose new token the store has not accepted yet. Each retries concurrently.
    held: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tap {
    /// At most this many grants may be in flight, not counting those that are held.
    Open { width: usize },
    /// No grant begins before this time, measured from the start of the sweep.
    Closed { until: Duration, failures: u32 },
    /// One grant is in flight to show if the store works.
    Probing { failures: u32 },
}

/// The decision about the next grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    /// The grant begins now.
    Now,
    /// The grant waits until another one ends, or for this time at most.
    Wait(Option<Duration>),
    /// The store stays down.
    Never,
}

/// The effect of a processed grant on the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stored {
    /// Its outcome is stored.
    Written,
    /// Nothing was to be stored.
    Nothing,
    /// The store failed.
    Failed(FailureKind),
}

impl Pace {
    pub(crate) fn new(config: &Config) -> Self {
        let tap = match config.sweep_start {
            0 | 1 => Tap::Closed { until: Duration::ZERO, failures: 0 },
            width => Tap::Open { width },
        };
        Self {
            most: config.sweep_concurrency,
            first_pause: config.request_time / 60,
            state: Mutex::new(State { tap, held: 0 }),
            closed: Notify::new(),
        }
    }

    /// Decides at `elapsed` if another grant is begun beside those in flight.
    pub(crate) fn admit(&self, in_flight: usize, elapsed: Duration) -> Admission {
        self.with(|state| match state.tap {
            Tap::Open { width } if in_flight.saturating_sub(state.held) < width.min(self.most) => {
                Admission::Now
            }
            Tap::Open { .. } | Tap::Probing { .. } => Admission::Wait(None),
            Tap::Closed { failures: MAX_FAILURES.., .. } => Admission::Never,
            Tap::Closed { until, failures } if until <= elapsed => {
                state.tap = Tap::Probing { failures };
                Admission::Now
            }
            Tap::Closed { until, .. } => Admission::Wait(Some(until.saturating_sub(elapsed))),
        })
    }

    /// Records the end of a grant.
    pub(crate) fn ended(&self, stored: Stored, elapsed: Duration) {
        match stored {
            Stored::Failed(kind) if kind != FailureKind::ThisItem => self.close(1, elapsed),
            Stored::Written => self.with(|state| match state.tap {
                Tap::Open { width } => state.tap = Tap::Open { width: self.most.min(width + MORE) },
                Tap::Probing { .. } => state.tap = Tap::Open { width: 1 + MORE },
                // The grant began before the failure, so it shows nothing about the store's present
                // state.
                Tap::Closed { .. } => {}
            }),
            Stored::Nothing | Stored::Failed(_) => self.with(|state| {
                if let Tap::Probing { failures } = state.tap {
                    state.tap = Tap::Closed { until: elapsed, failures };
                }
            }),
        }
    }

    /// Waits until the tap is closed.
    pub(crate) async fn closed(&self) {
        self.closed.notified().await;
    }

    /// Returns true if no write has shown yet that the store accepts a token.
    pub(crate) fn is_unproven(&self) -> bool {
        self.with(|state| !matches!(state.tap, Tap::Open { .. }))
    }

    /// Returns true if the store has failed, and has not been seen to work since.
    pub(crate) fn is_failing(&self) -> bool {
        self.with(|state| {
            matches!(state.tap, Tap::Closed { failures: 1.., .. } | Tap::Probing { failures: 1.. })
        })
    }

    fn close(&self, weight: u32, elapsed: Duration) {
        self.with(|state| {
            let failures = match state.tap {
                Tap::Open { .. } | Tap::Closed { failures: 0, .. } | Tap::Probing { failures: 0 } => 1,
                Tap::Probing { failures } => failures + weight,
                // The others that were in flight fail for the same reason.
                Tap::Closed { .. } => return,
            };
            let pause = self.first_pause * 2u32.saturating_pow(failures - 1);
            state.tap = Tap::Closed { until: elapsed + pause, failures };
        });
        self.closed.notify_one();
    }

    fn with<T>(&self, work: impl FnOnce(&mut State) -> T) -> T {
        work(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The write of a new token, which is repeated until the store takes it.
pub(crate) struct Held<'a> {
    pace: &'a Pace,
    has_failed: AtomicBool,
}

impl<'a> Held<'a> {
    pub(crate) fn new(pace: &'a Pace) -> Self {
        Self { pace, has_failed: AtomicBool::new(false) }
    }

    /// Records a failed attempt. The first one closes the tap, unless only this item fails.
    pub(crate) fn failed(&self, kind: FailureKind, elapsed: Duration) {
        if kind != FailureKind::ThisItem && !self.has_failed.swap(true, Ordering::Relaxed) {
            self.pace.with(|state| state.held += 1);
            self.pace.close(FAILURES_OF_A_TOKEN, elapsed);
        }
    }

    /// Records that the store has taken the token after all.
    pub(crate) fn stored(&self) {
        if self.has_failed.load(Ordering::Relaxed) {
            self.pace.with(|state| {
                if !matches!(state.tap, Tap::Open { .. }) {
                    state.tap = Tap::Open { width: 1 };
                }
            });
        }
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        if *self.has_failed.get_mut() {
            self.pace.with(|state| state.held -= 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: Duration = Duration::from_millis(500);

    fn pace(most: usize) -> Pace {
        let tap = Tap::Closed { until: Duration::ZERO, failures: 0 };
        let state = Mutex::new(State { tap, held: 0 });
        Pace { most, first_pause: FIRST, state, closed: Notify::new() }
    }

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// Begins as many grants as it may beside those in flight, and returns how many these are then.
    fn fill(pace: &Pace, mut in_flight: usize) -> usize {
        while pace.admit(in_flight, seconds(1_000)) == Admission::Now {
            in_flight += 1;
        }
        in_flight
    }

    #[test]
    fn a_sweep_begins_with_one_grant_and_widens_fourfold() {
        let pace = pace(20);
        let mut widths = Vec::new();
        for _ in 0..4 {
            let width = fill(&pace, 0);
            widths.push(width);
            for _ in 0..width {
                pace.ended(Stored::Written, Duration::ZERO);
            }
        }
        assert_eq!(widths, [1, 4, 16, 20]);
    }

    #[test]
    fn what_writes_nothing_does_not_widen() {
        let pace = pace(20);
        for _ in 0..100 {
            assert_eq!(fill(&pace, 0), 1);
            pace.ended(Stored::Nothing, Duration::ZERO);
            assert!(pace.is_unproven());
        }
        pace.ended(Stored::Failed(FailureKind::ThisItem), Duration::ZERO);
        assert!(!pace.is_failing());
    }

    #[test]
    fn a_failure_of_the_store_closes_the_tap_and_one_of_an_item_does_not() {
        for kind in FailureKind::ALL {
            let pace = pace(20);
            for _ in 0..19 {
                assert_eq!(pace.admit(0, Duration::ZERO), Admission::Now);
                pace.ended(Stored::Written, Duration::ZERO);
            }
            pace.ended(Stored::Failed(kind), seconds(1));
            let next = pace.admit(5, seconds(1));
            let expected =
                if kind == FailureKind::ThisItem { Admission::Now } else { Admission::Wait(Some(FIRST)) };
            assert_eq!(next, expected, "{kind}");
        }
    }

    #[test]
    fn pauses_grow_until_the_sweep_ends() {
        let pace = pace(20);
        let (mut now, mut pauses) = (Duration::ZERO, Vec::new());
        let end = loop {
            match pace.admit(0, now) {
                Admission::Now => pace.ended(Stored::Failed(FailureKind::Throttled), now),
                Admission::Wait(pause) => {
                    pauses.push(pause.unwrap());
                    now += pause.unwrap();
                }
                Admission::Never => break now,
            }
        };
        assert_eq!(
            pauses.iter().map(Duration::as_millis).collect::<Vec<_>>(),
            [500, 1_000, 2_000, 4_000, 8_000]
        );
        assert_eq!(end, pauses.iter().sum::<Duration>());
        assert!(pace.is_failing());
    }

    #[test]
    fn few_tokens_are_tried_on_a_store_that_takes_none() {
        let pace = pace(20);
        let (mut now, mut held) = (Duration::ZERO, Vec::new());
        loop {
            match pace.admit(held.len(), now) {
                Admission::Now => {
                    held.push(Held::new(&pace));
                    held.last().unwrap().failed(FailureKind::Throttled, now);
                }
                Admission::Wait(pause) => now += pause.unwrap(),
                Admission::Never => break,
            }
        }
        assert_eq!(held.len(), 3);
    }

    #[test]
    fn those_in_flight_fail_together() {
        let pace = pace(20);
        pace.ended(Stored::Written, Duration::ZERO);
        for _ in 0..16 {
            pace.ended(Stored::Failed(FailureKind::Unreachable), seconds(1));
        }
        assert_eq!(pace.admit(0, seconds(1)), Admission::Wait(Some(FIRST)));
        // A grant that began before the failure does not open the tap.
        pace.ended(Stored::Written, seconds(1));
        assert_eq!(pace.admit(0, seconds(1)), Admission::Wait(Some(FIRST)));
        // The tap opens again with a single grant.
        assert_eq!(fill(&pace, 0), 1);
        pace.ended(Stored::Written, seconds(2));
        assert_eq!(fill(&pace, 0), 4);
    }

    #[test]
    fn a_token_that_one_row_does_not_take_holds_up_nobody() {
        let pace = pace(4);
        assert_eq!(fill(&pace, 0), 1);
        let held = Held::new(&pace);
        for _ in 0..10 {
            held.failed(FailureKind::Throttled, Duration::ZERO);
        }
        assert!(pace.is_failing());
        // Another grant is tried beside it, and the others follow.
        assert_eq!(fill(&pace, 1), 2);
        pace.ended(Stored::Written, seconds(1));
        assert_eq!(fill(&pace, 1), 5);
        held.failed(FailureKind::Throttled, seconds(2));
        assert!(!pace.is_failing());
        held.stored();
        drop(held);
        assert_eq!(fill(&pace, 0), 4);
    }

    #[test]
    fn a_held_token_that_is_stored_opens_the_tap() {
        let pace = pace(4);
        let held = Held::new(&pace);
        held.failed(FailureKind::Denied, Duration::ZERO);
        assert_eq!(pace.admit(1, Duration::ZERO), Admission::Wait(Some(FIRST)));
        held.stored();
        assert_eq!(pace.admit(1, Duration::ZERO), Admission::Now);
    }

    #[tokio::test]
    async fn whoever_waits_hears_that_the_tap_is_closed() {
        let pace = pace(4);
        Held::new(&pace).failed(FailureKind::Denied, Duration::ZERO);
        pace.closed().await;
    }
}
