//! How the record of a deletion lies in its row.

use jiff::Timestamp;
use threads_graph::UserId;

use crate::{Attribute, Inconsistency, Row};

/// How far a deletion has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// It is not finished.
    Unfinished(Wish),
    /// Everything was gone at this time.
    Done(Timestamp),
    /// It met a newer consent at this time, and left that alone.
    Kept(Timestamp),
}

/// A person's wish to be forgotten, as far as it was carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wish {
    /// Whose it is.
    pub user_id: UserId,
    /// When the person asked.
    pub requested_at: Timestamp,
    /// Whether the grant is gone, so that only sessions are left. A grant that is there now came
    /// later.
    pub is_grant_gone: bool,
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
        Ok(Self::Unfinished(Wish {
            user_id: row.needed(Attribute::Unfinished)?,
            requested_at: row.needed_time(Attribute::RequestedAt)?,
            is_grant_gone: row.row.get(Attribute::GrantGone).is_some(),
        }))
    }
}
