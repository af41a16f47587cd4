//! A running console: its stack, and what it keeps between two clicks.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::Result;
use jiff::Timestamp;
use threads_auth::DueLoad;
use tokio::sync::{Mutex as Turn, MutexGuard};

use super::entrance::Entrance;
use super::panels::metrics::Series;
use crate::operate::doctor::finding::Finding;
use crate::operate::target::StackHandle;

/// The time for which an expensive figure is cached.
const KEPT_SECONDS: i64 = 60;

/// The console of one stack.
pub(super) struct Console {
    pub(super) stack: StackHandle,
    pub(super) entrance: Entrance,
    /// True if its pages may change things.
    pub(super) writes: bool,
    pub(super) load: Kept<DueLoad>,
    pub(super) metrics: Kept<Vec<Series>>,
    /// The outcome of the last change, for the next page.
    said: Mutex<Option<String>>,
    working: Turn<()>,
}

impl Console {
    pub(super) fn new(stack: StackHandle, writes: bool) -> Result<Self> {
        Ok(Self {
            stack,
            entrance: Entrance::new()?,
            writes,
            load: Kept::default(),
            metrics: Kept::default(),
            said: Mutex::default(),
            working: Turn::default(),
        })
    }

    /// Returns the stack's time. If a development stack does not respond, its last known time
    /// counts.
    pub(super) async fn now(&self) -> Timestamp {
        self.stack.time().await.unwrap_or_else(|_| self.stack.now())
    }

    /// Returns the address of a page.
    pub(super) fn href(&self, path: &str) -> String {
        format!("{}{path}", self.entrance.base())
    }

    /// Keeps a sentence for the next page.
    pub(super) fn say(&self, text: String) {
        *self.said.lock().unwrap_or_else(PoisonError::into_inner) = Some(text);
    }

    pub(super) fn take_said(&self) -> Option<String> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Waits until no other change is under way. Changes are made one after the other.
    pub(super) async fn turn(&self) -> MutexGuard<'_, ()> {
        self.working.lock().await
    }

    pub(super) fn is_working(&self) -> bool {
        self.working.try_lock().is_err()
    }

    /// Waits for every change under way.
    pub(super) async fn idle(&self) {
        drop(self.working.lock().await);
    }
}

/// A value that is read at most once a minute. Concurrent callers share one read.
pub(super) struct Kept<T>(Turn<Option<(Timestamp, T)>>);

impl<T> Default for Kept<T> {
    fn default() -> Self {
        Self(Turn::default())
    }
}

impl<T: Clone> Kept<T> {
    /// Returns the value and the time at which it was read. A failure is not kept.
    pub(super) async fn get(
        &self,
        now: Timestamp,
        read: impl Future<Output = Result<T, Finding>>,
    ) -> Result<(Timestamp, T), Finding> {
        let mut kept = self.0.lock().await;
        if let Some((at, value)) = &*kept
            && (0..KEPT_SECONDS).contains(&(now.as_second() - at.as_second()))
        {
            return Ok((*at, value.clone()));
        }
        let value = read.await?;
        *kept = Some((now, value.clone()));
        Ok((now, value))
    }
}

/// Timeout of one part of a page, after which the rest of the page is shown.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operate::doctor::finding::warn;

    #[tokio::test]
    async fn a_value_is_read_once_a_minute_and_a_failure_each_time() {
        let at = |seconds: i64| Timestamp::from_second(1_800_000_000 + seconds).unwrap();
        let kept: Kept<u8> = Kept::default();
        assert!(kept.get(at(0), async { Err(warn("load", "no", "later")) }).await.is_err());
        for (seconds, read, expected) in
            [(0, 1, (0, 1)), (59, 2, (0, 1)), (60, 3, (60, 3)), (61, 4, (60, 3)), (59, 5, (59, 5))]
        {
            let (read_at, value) =
                kept.get(at(seconds), async { Ok(read) }).await.unwrap_or_else(|_| panic!());
            assert_eq!((read_at, value), (at(expected.0), expected.1));
        }
    }
}
