//! The clock of one operation: the current time, and the time that is left of its budget.

use std::time::Duration;

use jiff::Timestamp;
use threads_auth_model::schedule;
use tokio::time::{Instant, timeout_at};

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

    /// Runs optional `work` while more than `reserved` of the budget is left. Returns `None` if it
    /// is not finished by then.
    pub(crate) async fn leaving<T>(&self, reserved: Duration, work: impl Future<Output = T>) -> Option<T> {
        if !self.leaves(reserved) {
            return None;
        }
        timeout_at(self.deadline() - reserved, work).await.ok()
    }

    /// Runs optional `work` until `more` has passed since the end of the budget. Returns `None` if
    /// it is not finished by then.
    pub(crate) async fn within<T>(&self, more: Duration, work: impl Future<Output = T>) -> Option<T> {
        timeout_at(self.deadline() + more, work).await.ok()
    }

    /// Returns true if more than `needed` is left.
    pub(crate) fn leaves(&self, needed: Duration) -> bool {
        self.elapsed() + needed < self.budget
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn optional_work_without_time_is_not_begun() {
        let watch = Stopwatch::start(Timestamp::UNIX_EPOCH, Duration::from_hours(1));
        assert_eq!(watch.leaving(Duration::from_mins(59), async { 7 }).await, Some(7));
        let never = async || panic!("it was begun");
        assert_eq!(watch.leaving(Duration::from_hours(1), never()).await, None::<()>);
        let over = Stopwatch::start(Timestamp::UNIX_EPOCH, Duration::ZERO);
        assert_eq!(over.within(Duration::ZERO, std::future::pending::<()>()).await, None);
    }
}
