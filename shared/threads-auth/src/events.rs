//! The events that a change of the grants table means, from the two images of a row.

use jiff::Timestamp;
use threads_auth_model::events::{Event, deleted, events, mended, unreadable};
use threads_auth_model::{Grant, Inconsistency, Key};
use threads_auth_store::{Item, row};

/// A change of one row, as the table's stream tells it.
#[derive(Debug)]
pub struct RowChange {
    /// The change's own id.
    pub id: String,
    /// The row's key.
    pub key: Key,
    /// Whether the row was removed.
    pub is_removed: bool,
    /// The row as it was.
    pub old: Option<Item>,
    /// The row as it is.
    pub new: Option<Item>,
}

impl RowChange {
    /// The events that it means, read at `now`. A row that does not make sense is announced once,
    /// and must not hold up the next.
    #[must_use]
    pub fn events(&self, table: &str, now: Timestamp) -> Vec<Event> {
        let Some(user_id) = self.key.user_id() else {
            return Vec::new();
        };
        let broken = |error: &Inconsistency| {
            tracing::error!(outcome = "broken_row", %error, "a change is announced in part, or not at all");
        };
        let grant = |image: &Option<Item>| {
            let image = image.as_ref();
            let grant = image.map(|item| Grant::from_row(table, &row(item))).transpose();
            grant.inspect_err(broken)
        };
        let image = |image: &Option<Item>| image.as_ref().map(row).unwrap_or_default();
        match (grant(&self.old), grant(&self.new)) {
            (Err(_), Ok(Some(new))) => mended(&self.id, &image(&self.old), &new, now),
            (Ok(None) | Err(_), Ok(None)) if self.is_removed => vec![deleted(&self.id, &user_id, now)],
            (old, Ok(new)) => events(&self.id, old.unwrap_or_default().as_ref(), new.as_ref(), now),
            (_, Err(_)) => {
                let (old, new) = (image(&self.old), image(&self.new));
                unreadable(&self.id, &user_id, &old, &new, now).into_iter().collect()
            }
        }
    }
}
