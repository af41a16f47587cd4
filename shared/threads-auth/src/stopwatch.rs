//! The time of one operation: its `now` moves on while it works, and what is left of its budget
//! runs out.

use std::time::Duration;

use jiff::Timestamp;
use threads_auth_model::schedule;
use tokio::time::Instant;

/// An operation that began at a moment, and may take so long.
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

    /// When it started.
    pub(crate) fn started_at(&self) -> Timestamp {
        self.started_at
    }

    /// Now.
    pub(crate) fn now(&self) -> Timestamp {
        let seconds = i64::try_from(self.elapsed().as_secs()).unwrap_or(0);
        schedule::add(self.started_at, seconds)
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    /// When the budget is used up.
    pub(crate) fn deadline(&self) -> Instant {
        self.began + self.budget
    }

    /// Whether more than `needed` is left.
    pub(crate) fn leaves(&self, needed: Duration) -> bool {
        self.elapsed() + needed < self.budget
    }
}
