//! Rows that come from elsewhere: tokens of another system, and a backup. Neither replaces anything
//! newer, nor brings back the deleted.

use jiff::Timestamp;
use threads_auth_model::rules::{self, NewGrant};
use threads_auth_model::{Attribute, Condition, Key, claiming};
use threads_graph::UserId;

use crate::StoreError;
use crate::item::Item;
use crate::table::Store;
use crate::transaction::{Committed, Transaction};

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
        // Of a token of unknown age, nobody can say that it was consented to after a deletion.
        let since = if grant.life.is_assumed { Timestamp::UNIX_EPOCH } else { grant.life.issued_at };
        let row = self
            .transaction("import a token")
            .update(&claiming::without_session(rules::import(grant, now)))?;
        self.unless_deleted(row, tombstone, since).await
    }

    /// Puts a row of a backup back, without its lease, unless there is one.
    ///
    /// # Errors
    /// When DynamoDB fails.
    pub async fn put_back(
        &self,
        user_id: &UserId,
        mut row: Item,
        tombstone: &Key,
        connected_at: Timestamp,
    ) -> Result<Taken, StoreError> {
        for attribute in rules::LEASE {
            row.remove(attribute.as_str());
        }
        let absent = Condition::Absent(Attribute::Pk);
        let put = self.transaction("put a row back").put(&Key::grant(user_id), row, &absent)?;
        self.unless_deleted(put, tombstone, connected_at).await
    }

    /// Puts a row that is no grant as it is, unless there is one: whether it did.
    ///
    /// # Errors
    /// When DynamoDB fails.
    pub async fn put_back_other(&self, item: Item) -> Result<bool, StoreError> {
        self.put_if_absent(&self.grants, item, "put a row back").await
    }

    /// Writes a user's row, unless the user was deleted at `since` or later.
    async fn unless_deleted(
        &self,
        row: Transaction<'_>,
        tombstone: &Key,
        since: Timestamp,
    ) -> Result<Taken, StoreError> {
        let alive = rules::not_deleted_since(since);
        Ok(match row.check(tombstone, &alive)?.commit().await? {
            Committed::Done => Taken::Stored,
            Committed::Refused(0, _) => Taken::Known,
            Committed::Refused(..) => Taken::Deleted,
        })
    }
}
