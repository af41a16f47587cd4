//! Deletions: the row goes, a tombstone and a record stay.

use futures_util::TryStreamExt;
use jiff::Timestamp;
use threads_auth_model::rules::{self, Deletion, Fate};
use threads_auth_model::{Attribute, Condition, Key, Progress};
use threads_graph::UserId;

use crate::StoreError;
use crate::error::failed;
use crate::expression::Expressions;
use crate::table::{Store, stream};
use crate::transaction::Committed;

impl Store {
    /// Carries out a wish as far as the sessions, if the row is as `fate` says: whether it did.
    ///
    /// # Errors
    /// When DynamoDB fails. Trying again is safe.
    pub async fn delete(
        &self,
        deletion: Deletion<'_>,
        fate: Fate,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        // A later wish of the same person has left its tombstone before.
        for is_newest in [true, false] {
            match self.transact(&rules::delete(deletion, fate, is_newest, now)).await? {
                Committed::Done => return Ok(true),
                Committed::Refused(2, _) => {}
                Committed::Refused(..) => return Ok(false),
            }
        }
        Ok(false)
    }

    /// How far the deletion of this record has come, if there was one.
    ///
    /// # Errors
    /// When DynamoDB fails, or the record does not make sense.
    pub async fn deletion(&self, key: &Key) -> Result<Option<Progress>, StoreError> {
        let row = self.read(key, "read a deletion").await?;
        Ok(row.map(|row| Progress::from_row(&self.grants, &row)).transpose()?)
    }

    /// Deletes the sessions that name a user. They are looked for one by one: they live for two
    /// days at most, and a deletion is rare; an index would keep one more trace of everybody.
    ///
    /// # Errors
    /// When DynamoDB fails.
    pub async fn forget_sessions(&self, user_id: &UserId) -> Result<(), StoreError> {
        let mut expressions = Expressions::default();
        let names = |attribute| Condition::Is(attribute, user_id.as_str().into());
        let filter = Condition::Any(vec![names(Attribute::UserId), names(Attribute::ConnectedUserId)]);
        let pages = self
            .client
            .scan()
            .table_name(&self.short_lived)
            .consistent_read(true)
            .set_filter_expression(expressions.condition(&filter))
            .projection_expression(Attribute::Pk.as_str())
            .set_expression_attribute_names(expressions.names())
            .set_expression_attribute_values(expressions.values())
            .into_paginator()
            .items();
        stream(pages.send(), "look for a user's sessions")
            .try_for_each(|key| async {
                let request = self.client.delete_item().table_name(&self.short_lived);
                let deleted = request.set_key(Some(key)).send().await;
                deleted.map(drop).map_err(failed("delete a session"))
            })
            .await
    }
}
