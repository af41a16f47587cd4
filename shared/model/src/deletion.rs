//! The record of a deletion, as it is stored in its row.

use jiff::Timestamp;
use threads_graph::UserId;

use crate::{Attribute, Inconsistency, Row};

/// The progress of a deletion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// The deletion is not finished.
    Unfinished(DeletionRequest),
    /// Everything was deleted by this time.
    Done(Timestamp),
    /// The deletion found a newer consent at this time, and kept it.
    Kept(Timestamp),
}

/// A person's deletion request, and its progress.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeletionRequest {
    /// The person's Threads user id.
    pub user_id: UserId,
    /// Time of the request.
    pub requested_at: Timestamp,
    /// True if the grant is deleted and only sessions are left. A grant that exists now is newer.
    pub is_grant_gone: bool,
}

impl Progress {
    /// Reads a record of `table`.
    ///
    /// # Errors
    /// Returns [`Inconsistency`] if an attribute that an unfinished deletion needs is missing or
    /// malformed.
    pub fn from_row(table: &str, row: &Row) -> Result<Self, Inconsistency> {
        if let Some(at) = row.time(Attribute::DeletedAt) {
            return Ok(Self::Done(at));
        }
        if let Some(at) = row.time(Attribute::KeptAt) {
            return Ok(Self::Kept(at));
        }
        let row = row.reader(table);
        Ok(Self::Unfinished(DeletionRequest {
            user_id: row.needed(Attribute::Unfinished)?,
            requested_at: row.needed_time(Attribute::RequestedAt)?,
            is_grant_gone: row.row.get(Attribute::GrantGone).is_some(),
        }))
    }
}
