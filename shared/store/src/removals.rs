//! Deletions: the grant's row is deleted, a tombstone and a record stay.

use futures_util::TryStreamExt;
use jiff::Timestamp;
use threads_auth_model::rules::{self, Deletion, Fate};
use threads_auth_model::{Attribute, Key, Progress};
use threads_graph::UserId;

use crate::StoreError;
use crate::error::failed;
use crate::item::row;
use crate::table::Store;
use crate::transaction::Committed;

impl Store {
    /// Carries out a deletion request except for the sessions. Returns false if the row is not as
    /// `fate` requires.
    ///
    /// # Errors
    /// Returns [`StoreError`] if DynamoDB fails. A retry is safe.
    pub async fn delete(
        &self,
        deletion: Deletion<'_>,
        fate: Fate,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        // A later request of the same person may have set the tombstone already.
        for is_newest in [true, false] {
            match self.transact(&rules::delete(deletion, fate, is_newest, now)).await? {
                Committed::Done => return Ok(true),
                Committed::Refused(2, _) => {}
                Committed::Refused(..) => return Ok(false),
            }
        }
        Ok(false)
    }

    /// Reads the progress of the deletion with this record's key, if there is one.
    ///
    /// # Errors
    /// Returns [`StoreError`] if DynamoDB fails, or the record is inconsistent.
    pub async fn deletion(&self, key: &Key) -> Result<Option<Progress>, StoreError> {
        let row = self.read(key, "read a deletion").await?;
        Ok(row.map(|row| Progress::from_row(&self.grants, &row)).transpose()?)
    }

    /// Deletes the sessions that name a user, except the one through which a newer grant came.
    ///
    /// # Errors
    /// Returns [`StoreError`] if DynamoDB fails.
    pub async fn forget_sessions(&self, user_id: &UserId, newer: Option<&str>) -> Result<(), StoreError> {
        self.sessions_of(user_id)
            .try_filter(|session| {
                std::future::ready(row(session).text(Attribute::Id) != newer || newer.is_none())
            })
            .try_for_each(|session| async move {
                let request = self.client.delete_item().table_name(&self.short_lived);
                let key = session.into_iter().filter(|(name, _)| name == Attribute::Pk.as_str());
                let deleted = request.set_key(Some(key.collect())).send().await;
                deleted.map(drop).map_err(failed("delete a session"))
            })
            .await
    }
}
