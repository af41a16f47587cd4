//! The state of a stack as a whole, which all functions share: an operator's pause, and work that
//! only one function does.

use jiff::Timestamp;
use threads_auth_model::{Attribute, Change, Condition, Key, Pause, Row, Value, schedule};

use crate::StoreError;
use crate::table::{Changed, Store, WriteOutcome};

/// Number of lost races after which a count is abandoned.
const MAX_COUNT_TRIES: u32 = 20;

impl Store {
    /// Returns the pause, if there is one. A value of a later version pauses sweeps.
    ///
    /// # Errors
    /// Returns [`StoreError`] if DynamoDB fails.
    pub async fn pause(&self) -> Result<Option<Pause>, StoreError> {
        let row = self.read(&Key::pause(), "read the pause").await?;
        let word = row.as_ref().and_then(|row| row.text(Attribute::Paused));
        Ok(word.map(|word| word.parse().unwrap_or(Pause::Sweeps)))
    }

    /// Sets the pause, or removes it.
    ///
    /// # Errors
    /// Returns [`StoreError`] if DynamoDB fails.
    pub async fn set_pause(&self, pause: Option<Pause>) -> Result<(), StoreError> {
        let change = Change::of(Key::pause(), "set the pause", Condition::NONE);
        self.write(&change.set_or_remove(Attribute::Paused, pause.map(Pause::as_str))).await.map(drop)
    }

    /// Starts the daily check for drift. Returns true if this caller should do it now.
    ///
    /// # Errors
    /// Returns [`StoreError`] if DynamoDB fails.
    pub async fn take_drift_turn(&self, now: Timestamp) -> Result<bool, StoreError> {
        let day_ago = schedule::add(now, -schedule::A_DAY.as_secs());
        let last = Attribute::UpdatedAt;
        let is_free = Condition::Any(vec![
            Condition::Absent(last),
            Condition::NotANumber(last),
            Condition::AtMost(last, day_ago.into()),
        ]);
        let change = Change::of(Key::drift(), "start a drift check", is_free).set(last, now);
        Ok(self.write(&change).await? == WriteOutcome::Stored)
    }

    /// Adds `calls` to the number of calls to Meta in this hour, and returns the sum. It starts at
    /// zero each hour.
    ///
    /// # Errors
    /// Returns [`StoreError`] if DynamoDB fails.
    pub async fn count_calls(&self, calls: u64, now: Timestamp) -> Result<u64, StoreError> {
        const OPERATION: &str = "count calls";
        let hour = now.as_second().div_euclid(3_600);
        let mut row = self.read(&Key::calls(), OPERATION).await?.unwrap_or_default();
        let mut total = calls;
        for _ in 0..MAX_COUNT_TRIES {
            let is_of_this_hour = row.get(Attribute::Hour) == Some(&hour.into());
            let counted = row.count(Attribute::Calls).filter(|_| is_of_this_hour).unwrap_or(0);
            total = counted.saturating_add(calls);
            if calls == 0 {
                return Ok(total);
            }
            // The condition that nobody else has counted since the row was read. If somebody has,
            // the row is read again.
            let unchanged = [Attribute::Hour, Attribute::Calls].map(|attribute| match row.get(attribute) {
                Some(Value::Number(number)) => Condition::Is(attribute, (*number).into()),
                _ => Condition::NotANumber(attribute),
            });
            let change = Change::of(Key::calls(), OPERATION, Condition::All(unchanged.into()))
                .set(Attribute::Hour, hour)
                .set(Attribute::Calls, i64::try_from(total).unwrap_or(i64::MAX));
            match self.change(&change).await? {
                Changed::Done(_) => return Ok(total),
                Changed::Refused(newer) => row = newer,
                Changed::Gone => row = Row::default(),
            }
        }
        // With so many concurrent counts, a missing one makes no difference.
        Ok(total)
    }
}
