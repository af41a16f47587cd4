//! Rows from elsewhere: imported tokens, rows of a backup, and resealed values. None of them
//! replaces anything newer, or restores a deleted user.

use aws_sdk_dynamodb::types::AttributeValue;
use jiff::Timestamp;
use threads_auth_model::rules::{self, NewGrant, Resealed};
use threads_auth_model::{Attribute, Condition, Ends, Key, Part, Row, backup};
use threads_graph::UserId;

use crate::StoreError;
use crate::error::failed;
use crate::item::{Item, rewritten};
use crate::table::{Changed, Store, WriteOutcome, pk};
use crate::transaction::Committed;

/// The outcome for an imported token, or a row of a backup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransferOutcome {
    /// It is stored.
    Stored,
    /// The stored row is as good or better, and stays.
    Known,
    /// The user's data was deleted since.
    Deleted,
}

impl Store {
    /// Stores an imported token, if [`rules::import`] allows it.
    ///
    /// # Errors
    /// Returns [`StoreError`] if DynamoDB fails.
    pub async fn import(
        &self,
        grant: &NewGrant<'_>,
        tombstone: &Key,
        now: Timestamp,
    ) -> Result<TransferOutcome, StoreError> {
        let mut outcome = TransferOutcome::Known;
        for is_newest in [true, false] {
            outcome = outcome_of(&self.transact(&rules::take_over(grant, tombstone, is_newest, now)).await?);
            if outcome != TransferOutcome::Known {
                break;
            }
        }
        Ok(outcome)
    }

    /// Replaces sealed values of a row, as [`rules::reseal`] describes. Returns the current row if
    /// it was changed in the meantime.
    ///
    /// # Errors
    /// Returns [`StoreError`] if DynamoDB fails.
    pub async fn reseal(&self, key: &Key, values: &[Resealed]) -> Result<Option<Row>, StoreError> {
        Ok(match self.change(&rules::reseal(key, values)).await? {
            Changed::Refused(row) => Some(row),
            Changed::Done(_) | Changed::Gone => None,
        })
    }

    /// Restores a row of a backup, unless the user has a row. The lease is dropped, and so is an
    /// expired unclaimed mark: nobody knows if the account was claimed since.
    ///
    /// # Errors
    /// Returns [`StoreError`] if DynamoDB fails.
    pub async fn put_back(
        &self,
        user_id: &UserId,
        mut row: Item,
        tombstone: &Key,
        connected_at: Timestamp,
        now: Timestamp,
    ) -> Result<TransferOutcome, StoreError> {
        let is_over = crate::row(&row).time(Attribute::UnclaimedUntil).is_some_and(|until| until <= now);
        let dropped = if is_over { rules::UNCLAIMED } else { &[] };
        for attribute in rules::LEASE.iter().chain(dropped) {
            row.remove(attribute.as_str());
        }
        // Events take their time from this attribute, and the restore comes after the events of the
        // loss.
        row.insert(Attribute::UpdatedAt.as_str().to_owned(), AttributeValue::N(now.as_second().to_string()));
        let put = (&Key::grant(user_id), row, &Condition::Absent(Attribute::Pk));
        let alive = unless_deleted(tombstone, connected_at);
        Ok(outcome_of(&self.put_if("restore a row", put, &alive).await?))
    }

    /// Reads the unconverted row of this key in a table that is not in use.
    ///
    /// # Errors
    /// Returns [`StoreError`] if DynamoDB fails.
    pub async fn backed_up(&self, table: &str, key: &Key) -> Result<Option<Item>, StoreError> {
        let request = self.client.get_item().table_name(table).consistent_read(true);
        let answer = request.key(Attribute::Pk.as_str(), pk(key)).send().await;
        Ok(answer.map_err(failed("read a row of the backup"))?.item)
    }

    /// Reads the row of this key, which may be inconsistent. A missing row is empty.
    ///
    /// # Errors
    /// Returns [`StoreError`] if DynamoDB fails.
    pub async fn row_at(&self, key: &Key) -> Result<Row, StoreError> {
        Ok(self.read(key, "read a row").await?.unwrap_or_default())
    }

    /// Replaces the row `seen` by `new`, which was made from a backup. The write is refused if the
    /// row or the user's `ends` have changed since they were read.
    ///
    /// # Errors
    /// Returns [`StoreError`] if DynamoDB fails.
    pub async fn put_in_place(
        &self,
        (key, seen): (&Key, &Row),
        (backed_up, new): (Item, Row),
        (tombstone, ends): (&Key, &Row),
    ) -> Result<Committed, StoreError> {
        let put = (key, rewritten(backed_up, new), &backup::unchanged(seen));
        let as_seen = Part::Check(tombstone.clone(), backup::ends_unchanged(ends));
        self.put_if("replace a row from a backup", put, &as_seen).await
    }

    /// Restores the ends of a user's consents that are missing. Returns true if a deletion was
    /// among them.
    ///
    /// # Errors
    /// Returns [`StoreError`] if DynamoDB fails.
    pub async fn put_back_ends(&self, tombstone: &Key, ends: &Ends) -> Result<bool, StoreError> {
        let ended = ends.ended_at.map(|at| rules::note_end(tombstone, at));
        let disconnected = ends.disconnected_at.map(|at| rules::note_disconnect(tombstone, at));
        for note in ended.iter().chain(&disconnected) {
            self.write(note).await?;
        }
        match ends.deleted_at {
            Some(at) => Ok(self.write(&rules::note_deletion(tombstone, at)).await? == WriteOutcome::Stored),
            None => Ok(false),
        }
    }

    /// Puts the unconverted row of anything but a grant, unless its key exists. Returns true if it
    /// was put.
    ///
    /// # Errors
    /// Returns [`StoreError`] if DynamoDB fails.
    pub async fn put_back_other(&self, item: Item) -> Result<bool, StoreError> {
        self.put_if_absent(&self.grants, item, "restore a row").await
    }

    /// Deletes the grant of a deleted user, as [`rules::forget`] describes. Returns true if there
    /// was one.
    ///
    /// # Errors
    /// Returns [`StoreError`] if DynamoDB fails.
    pub async fn forget(&self, user_id: &UserId, deleted_at: Timestamp) -> Result<bool, StoreError> {
        Ok(matches!(self.transact(&rules::forget(user_id, deleted_at)).await?, Committed::Done))
    }
}

/// Returns the check that the user was not deleted at `since` or later.
fn unless_deleted(tombstone: &Key, since: Timestamp) -> Part {
    Part::Check(tombstone.clone(), rules::not_deleted_since(since))
}

fn outcome_of(committed: &Committed) -> TransferOutcome {
    match committed {
        Committed::Done => TransferOutcome::Stored,
        Committed::Refused(1, row) if Ends::of(row).deleted_at.is_some() => TransferOutcome::Deleted,
        // An account that was disconnected since counts as known, too.
        Committed::Refused(..) => TransferOutcome::Known,
    }
}
