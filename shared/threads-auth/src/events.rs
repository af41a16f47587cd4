//! Derives events from a change of the grants table, by the row's old and new image.

use jiff::Timestamp;
use threads_auth_model::events::{ChangeId, Event, deleted, events, mended, unreadable};
use threads_auth_model::{Grant, Inconsistency, Key};
use threads_auth_store::{Item, row};

/// A change of one row, as a record of the table's stream.
#[derive(Debug)]
pub struct RowChange {
    /// Id of the change.
    pub id: String,
    /// Sequence number of the change in the stream.
    pub number: String,
    /// Key of the row.
    pub key: Key,
    /// True if the row was removed.
    pub is_removed: bool,
    /// The row before the change.
    pub old: Option<Item>,
    /// The row after the change.
    pub new: Option<Item>,
}

impl RowChange {
    /// Returns the events of the change, read at `now`. An inconsistent row yields one event, and
    /// does not hold up the rows after it.
    #[must_use]
    pub fn events(&self, table: &str, now: Timestamp) -> Vec<Event> {
        let Some(user_id) = self.key.user_id() else {
            return Vec::new();
        };
        let broken = |error: &Inconsistency| {
            tracing::error!(outcome = "broken_row", %error, "an inconsistent row: some or all events of its change are missing");
        };
        let grant = |image: &Option<Item>| {
            let image = image.as_ref();
            let grant = image.map(|item| Grant::from_row(table, &row(item))).transpose();
            grant.inspect_err(broken)
        };
        let image = |image: &Option<Item>| image.as_ref().map(row).unwrap_or_default();
        let change = ChangeId { id: &self.id, number: &self.number };
        match (grant(&self.old), grant(&self.new)) {
            (Err(_), Ok(Some(new))) => mended(change, &image(&self.old), &new, now),
            (Ok(None) | Err(_), Ok(None)) if self.is_removed => {
                vec![deleted(change, &user_id, &image(&self.old), now)]
            }
            (old, Ok(new)) => events(change, old.unwrap_or_default().as_ref(), new.as_ref(), now),
            (_, Err(_)) => {
                let (old, new) = (image(&self.old), image(&self.new));
                unreadable(change, &user_id, &old, &new, now).into_iter().collect()
            }
        }
    }
}
