//! How the record of a deletion lies in its row.

use jiff::Timestamp;
use threads_graph::UserId;

use crate::{Attribute, Inconsistency, Row};

/// How far a deletion has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// It is not finished: whose it is, and when they asked.
    Unfinished(UserId, Timestamp),
    /// Everything was gone at this time.
    Done(Timestamp),
    /// It met a newer consent at this time, and left that alone.
    Kept(Timestamp),
}

impl Progress {
    /// Reads a record of `table`.
    ///
    /// # Errors
    /// When something that an unfinished deletion needs is missing or malformed.
    pub fn from_row(table: &str, row: &Row) -> Result<Self, Inconsistency> {
        if let Some(at) = row.time(Attribute::DeletedAt) {
            return Ok(Self::Done(at));
        }
        if let Some(at) = row.time(Attribute::KeptAt) {
            return Ok(Self::Kept(at));
        }
        let row = row.reader(table);
        let requested_at = row.needed_time(Attribute::RequestedAt)?;
        Ok(Self::Unfinished(row.needed(Attribute::Unfinished)?, requested_at))
    }
}
