//! The clock of one operation: the current time, and the time that is left of its budget.

use std::time::Duration;

use jiff::Timestamp;
use threads_auth_model::schedule;
use tokio::time::Instant;

/// An operation's start and its time budget.
#[derive(Clone, Copy)]
pub(crate) struct Stopwatch {
    started_at: Timestamp,
    began: Instant,
    budget: Duration,
}

impl Stopwatch {
    /// Starts at `now`, for at most `budget`.
    pub(crate) fn start(now: Timestamp, budget: Duration) -> Self {
        Self { started_at: now, began: Instant::now(), budget }
    }

    /// Returns the start.
    pub(crate) fn started_at(&self) -> Timestamp {
        self.started_at
    }

    /// Returns the current time, to the second.
    pub(crate) fn now(&self) -> Timestamp {
        let seconds = i64::try_from(self.elapsed().as_secs()).unwrap_or(0);
        schedule::add(self.started_at, seconds)
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    /// Returns the end of the budget.
    pub(crate) fn deadline(&self) -> Instant {
        self.began + self.budget
    }

    /// Returns true if more than `needed` is left.
    pub(crate) fn leaves(&self, needed: Duration) -> bool {
        self.elapsed() + needed < self.budget
    }
}
