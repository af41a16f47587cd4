//! The virtual clock: the only place in this crate that reads the real time.
//!
//! It refuses to go back, because a token that was issued must never become younger.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;

/// A clock that every clone shares. All of the sandbox's lifetimes are measured by it.
#[derive(Debug, Clone)]
pub struct Clock {
    /// The time of a frozen clock before any advance; `None` for one that follows the real time.
    frozen_at: Option<Timestamp>,
    offset: Arc<Mutex<Duration>>,
}

impl Clock {
    /// The real time, plus the distance by which it is advanced.
    #[must_use]
    pub fn system() -> Self {
        Self::system_with_offset(Duration::ZERO)
    }

    /// The real time plus `offset`, for a process that continues an earlier one's clock.
    #[must_use]
    pub fn system_with_offset(offset: Duration) -> Self {
        Self { frozen_at: None, offset: Arc::new(Mutex::new(offset)) }
    }

    /// Stands still at `now` until it is advanced.
    #[must_use]
    pub fn frozen(now: Timestamp) -> Self {
        Self { frozen_at: Some(now), offset: Arc::new(Mutex::new(Duration::ZERO)) }
    }

    /// The virtual time. It stops at jiff's last timestamp, in the year 9999, rather than wrap.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        later(self.frozen_at.unwrap_or_else(real_now), self.offset())
    }

    /// The time of other programs: the real time, whatever the advance. A frozen clock returns its
    /// own.
    #[must_use]
    pub fn unmoved(&self) -> Timestamp {
        self.frozen_at.map_or_else(real_now, |_| self.now())
    }

    /// Moves every clone of this clock forward.
    pub fn advance(&self, by: Duration) {
        let mut offset = self.locked();
        *offset = offset.saturating_add(by);
    }

    /// The distance by which the clock was advanced, an offset given at the start included.
    #[must_use]
    pub fn offset(&self) -> Duration {
        *self.locked()
    }

    /// Raises the offset of a clock that follows the real time to at least `offset`. A frozen one
    /// stays: its owner decides its time.
    pub(crate) fn catch_up(&self, offset: Duration) {
        if self.frozen_at.is_none() {
            let mut current = self.locked();
            *current = (*current).max(offset);
        }
    }

    fn locked(&self) -> MutexGuard<'_, Duration> {
        self.offset.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// `start` plus `by`, stopping at the last representable timestamp.
pub(crate) fn later(start: Timestamp, by: Duration) -> Timestamp {
    start.checked_add(by).unwrap_or(Timestamp::MAX)
}

#[expect(clippy::disallowed_methods, reason = "this is the development clock that the ban points to")]
fn real_now() -> Timestamp {
    Timestamp::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frozen_clock_moves_only_when_advanced_and_clones_move_with_it() {
        let clock = Clock::frozen(Timestamp::UNIX_EPOCH);
        let twin = clock.clone();
        assert_eq!(clock.now(), Timestamp::UNIX_EPOCH);
        twin.advance(Duration::from_hours(1));
        assert_eq!(clock.now().as_second(), 3600);
        assert_eq!(clock.offset(), Duration::from_hours(1));
    }

    #[test]
    fn the_end_of_time_does_not_panic() {
        let clock = Clock::frozen(Timestamp::UNIX_EPOCH);
        clock.advance(Duration::MAX);
        clock.advance(Duration::MAX);
        assert_eq!(clock.now(), Timestamp::MAX);
    }

    #[test]
    fn a_system_clock_starts_at_its_offset_and_only_catches_up_forward() {
        let clock = Clock::system_with_offset(Duration::from_secs(50));
        clock.catch_up(Duration::from_secs(20));
        assert_eq!(clock.offset(), Duration::from_secs(50));
        clock.catch_up(Duration::from_secs(80));
        assert_eq!(clock.offset(), Duration::from_secs(80));
        let frozen = Clock::frozen(Timestamp::UNIX_EPOCH);
        frozen.catch_up(Duration::from_secs(80));
        assert_eq!(frozen.now(), Timestamp::UNIX_EPOCH);
    }

    #[test]
    fn other_programs_do_not_see_an_advance() {
        let clock = Clock::system_with_offset(Duration::from_hours(24));
        let (unmoved, moved) = (clock.unmoved(), clock.now());
        assert!(moved.duration_since(unmoved).as_hours() >= 24, "{unmoved} {moved}");
        let frozen = Clock::frozen(Timestamp::UNIX_EPOCH);
        frozen.advance(Duration::from_hours(1));
        assert_eq!(frozen.unmoved().as_second(), 3600);
    }
}
