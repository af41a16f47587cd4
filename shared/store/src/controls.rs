//! What concerns a stack as a whole, for every function to see: what an operator has stopped, and
//! what is done once by one of several.

use jiff::Timestamp;
use threads_auth_model::{Attribute, Change, Condition, Key, Pause, Row, Value, schedule};

use crate::StoreError;
use crate::table::{Changed, Store, WriteOutcome};

/// After so many lost races a count is given up.
const MOST_COUNTS: u32 = 20;

impl Store {
    /// What is paused. A word of a later version pauses sweeps.
    ///
    /// # Errors
    /// When DynamoDB fails.
    pub async fn pause(&self) -> Result<Option<Pause>, StoreError> {
        let row = self.read(&Key::pause(), "read what is paused").await?;
        let word = row.as_ref().and_then(|row| row.text(Attribute::Paused));
        Ok(word.map(|word| word.parse().unwrap_or(Pause::Sweeps)))
    }

    /// Pauses, or resumes.
    ///
    /// # Errors
    /// When DynamoDB fails.
    pub async fn set_pause(&self, pause: Option<Pause>) -> Result<(), StoreError> {
        let change = Change::of(Key::pause(), "set what is paused", Condition::NONE);
        self.write(&change.set_or_remove(Attribute::Paused, pause.map(Pause::as_str))).await.map(drop)
    }

    /// Takes the turn to look for drift, which comes once a day: whether it is ours.
    ///
    /// # Errors
    /// When DynamoDB fails.
    pub async fn take_drift_turn(&self, now: Timestamp) -> Result<bool, StoreError> {
        let day_ago = schedule::add(now, -schedule::A_DAY.as_secs());
        let last = Attribute::UpdatedAt;
        let is_free = Condition::Any(vec![
            Condition::Absent(last),
            Condition::NoNumber(last),
            Condition::AtMost(last, day_ago.into()),
        ]);
        let change = Change::of(Key::drift(), "take the turn to look for drift", is_free).set(last, now);
        Ok(self.write(&change).await? == WriteOutcome::Stored)
    }

    /// Adds `calls` to Meta to those of this hour, and tells how many those are. In an hour in
    /// which none was counted it begins anew.
    ///
    /// # Errors
    /// When DynamoDB fails.
    pub async fn count_calls(&self, calls: u64, now: Timestamp) -> Result<u64, StoreError> {
        const OPERATION: &str = "count calls";
        let hour = now.as_second().div_euclid(3_600);
        let mut row = self.read(&Key::calls(), OPERATION).await?.unwrap_or_default();
        let mut total = calls;
        for _ in 0..MOST_COUNTS {
            let is_of_this_hour = row.get(Attribute::Hour) == Some(&hour.into());
            let counted = row.count(Attribute::Calls).filter(|_| is_of_this_hour).unwrap_or(0);
            total = counted.saturating_add(calls);
            if calls == 0 {
                return Ok(total);
            }
            // As it was read: whatever somebody else has written meanwhile is read first.
            let unchanged = [Attribute::Hour, Attribute::Calls].map(|attribute| match row.get(attribute) {
                Some(Value::Number(number)) => Condition::Is(attribute, (*number).into()),
                _ => Condition::NoNumber(attribute),
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
        // So many others count at once that it makes no difference.
        Ok(total)
    }
}
