//! Rows that come from elsewhere: tokens of another system, a backup, and what lies there, sealed
//! anew. None replaces anything newer, nor brings back the deleted.

use jiff::Timestamp;
use threads_auth_model::rules::{self, NewGrant, Resealed};
use threads_auth_model::{Attribute, Condition, Ends, Key, Part, Row, backup};
use threads_graph::UserId;

use crate::StoreError;
use crate::error::failed;
use crate::item::{Item, rewritten};
use crate::table::{Changed, Store, WriteOutcome, pk};
use crate::transaction::Committed;

/// The outcome for a row from elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// It is stored.
    Stored,
    /// The row there is as good or better.
    Known,
    /// The person had their data deleted since.
    Deleted,
}

impl Store {
    /// Stores a token that was got elsewhere, where [`rules::import`] allows it.
    ///
    /// # Errors
    /// When DynamoDB fails.
    pub async fn import(
        &self,
        grant: &NewGrant<'_>,
        tombstone: &Key,
        now: Timestamp,
    ) -> Result<Taken, StoreError> {
        let mut taken = Taken::Known;
        for is_newest in [true, false] {
            taken = of(&self.transact(&rules::take_over(grant, tombstone, is_newest, now)).await?);
            if taken != Taken::Known {
                break;
            }
        }
        Ok(taken)
    }

    /// Seals values of a row anew, as [`rules::reseal`] says: the row as it is, if it was changed
    /// meanwhile.
    ///
    /// # Errors
    /// When DynamoDB fails.
    pub async fn reseal(&self, key: &Key, values: &[Resealed]) -> Result<Option<Row>, StoreError> {
        Ok(match self.change(&rules::reseal(key, values)).await? {
            Changed::Refused(row) => Some(row),
            Changed::Done(_) | Changed::Gone => None,
        })
    }

    /// Puts a row of a backup back, unless there is one: without its lease, and without the mark of
    /// an account that nobody had claimed whose time is over, since nobody can say any more that it
    /// was not claimed since.
    ///
    /// # Errors
    /// When DynamoDB fails.
    pub async fn put_back(
        &self,
        user_id: &UserId,
        mut row: Item,
        tombstone: &Key,
        connected_at: Timestamp,
        now: Timestamp,
    ) -> Result<Taken, StoreError> {
        let is_over = crate::row(&row).time(Attribute::UnclaimedUntil).is_some_and(|until| until <= now);
        let dropped = if is_over { rules::UNCLAIMED } else { &[] };
        for attribute in rules::LEASE.iter().chain(dropped) {
            row.remove(attribute.as_str());
        }
        let put = (&Key::grant(user_id), row, &Condition::Absent(Attribute::Pk));
        let alive = unless_deleted(tombstone, connected_at);
        Ok(of(&self.put_if("put a row back", put, &alive).await?))
    }

    /// The row of this key in a table that is not in use, as it is.
    ///
    /// # Errors
    /// When DynamoDB fails.
    pub async fn backed_up(&self, table: &str, key: &Key) -> Result<Option<Item>, StoreError> {
        let request = self.client.get_item().table_name(table).consistent_read(true);
        let answer = request.key(Attribute::Pk.as_str(), pk(key)).send().await;
        Ok(answer.map_err(failed("read a row of the backup"))?.item)
    }

    /// The row of this key, with or without sense.
    ///
    /// # Errors
    /// When DynamoDB fails.
    pub async fn lying_at(&self, key: &Key) -> Result<Row, StoreError> {
        Ok(self.read(key, "read a row").await?.unwrap_or_default())
    }

    /// Puts a row of a backup, which has become `new`, in the place of `seen`, if that still lies
    /// there and the user's ends are still `ends`, each read before.
    ///
    /// # Errors
    /// When DynamoDB fails.
    pub async fn put_in_place(
        &self,
        (key, seen): (&Key, &Row),
        (backed_up, new): (Item, Row),
        (tombstone, ends): (&Key, &Row),
    ) -> Result<Committed, StoreError> {
        let put = (key, rewritten(backed_up, new), &backup::unchanged(seen));
        let as_seen = Part::Check(tombstone.clone(), backup::ends_unchanged(ends));
        self.put_if("put a row of a backup in place", put, &as_seen).await
    }

    /// Brings back the ends of a user's consents that the row lacks: whether a deletion was among
    /// them.
    ///
    /// # Errors
    /// When DynamoDB fails.
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

    /// Puts a row that is no grant as it is, unless there is one: whether it did.
    ///
    /// # Errors
    /// When DynamoDB fails.
    pub async fn put_back_other(&self, item: Item) -> Result<bool, StoreError> {
        self.put_if_absent(&self.grants, item, "put a row back").await
    }

    /// Deletes the grant of a user who was deleted, as [`rules::forget`] says: whether there was
    /// one.
    ///
    /// # Errors
    /// When DynamoDB fails.
    pub async fn forget(&self, user_id: &UserId, deleted_at: Timestamp) -> Result<bool, StoreError> {
        Ok(matches!(self.transact(&rules::forget(user_id, deleted_at)).await?, Committed::Done))
    }
}

/// The user was not deleted at `since` or later.
fn unless_deleted(tombstone: &Key, since: Timestamp) -> Part {
    Part::Check(tombstone.clone(), rules::not_deleted_since(since))
}

fn of(committed: &Committed) -> Taken {
    match committed {
        Committed::Done => Taken::Stored,
        Committed::Refused(1, row) if Ends::of(row).deleted_at.is_some() => Taken::Deleted,
        // An account that was disconnected since is known, too.
        Committed::Refused(..) => Taken::Known,
    }
}
