//! What an operator has stopped, for every function to see.

use threads_auth_model::{Attribute, Change, Condition, Key, Pause};

use crate::StoreError;
use crate::table::Store;

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
}
