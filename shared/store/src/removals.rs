//! Deletions: the row goes, a tombstone and a record stay.

use futures_util::TryStreamExt;
use jiff::Timestamp;
use threads_auth_model::{Attribute, Condition, Key, Row, rules};
use threads_graph::UserId;

use crate::StoreError;
use crate::error::failed;
use crate::expression::Expressions;
use crate::item::item;
use crate::table::{Store, stream};
use crate::transaction::Committed;

/// A person's wish to be forgotten.
#[derive(Clone, Copy, Debug)]
pub struct Deletion<'a> {
    /// Whose it is.
    pub user_id: &'a UserId,
    /// The tombstone of the user: it names nobody.
    pub tombstone: &'a Key,
    /// The hash of the code under which the person can look up what became of it.
    pub code_hash: &'a str,
    /// When the person asked. A later consent stays.
    pub requested_at: Timestamp,
}

impl Store {
    /// Deletes everything held for a user, and leaves a tombstone: a connect that began before the
    /// deletion is refused by it. Says whether there is nothing newer; a consent since the wish is
    /// left alone.
    ///
    /// # Errors
    /// When DynamoDB fails. Trying again is safe, and keeps the time of the first deletion for the
    /// person to see.
    pub async fn delete(&self, deletion: Deletion<'_>, now: Timestamp) -> Result<bool, StoreError> {
        let tombstone: Row =
            [(Attribute::Pk, deletion.tombstone.as_str().into()), (Attribute::DeletedAt, now.into())]
                .into_iter()
                .collect();
        let record = rules::record_deletion(deletion.code_hash, now);
        let committed = self
            .transaction("delete a grant")
            .delete(&Key::grant(deletion.user_id), &rules::deletable(deletion.requested_at))?
            .put(deletion.tombstone, item(tombstone), &Condition::NONE)?
            .update(&record)?
            .commit()
            .await?;
        match committed {
            Committed::Done => self.forget_sessions(deletion.user_id).await.map(|()| true),
            // The newer consent has replaced all that the wish was about; it only remains to say
            // so.
            Committed::Refused(..) => self.write(&record).await.map(|_| false),
        }
    }

    /// When a deletion was carried out, if there was one of this code.
    ///
    /// # Errors
    /// When DynamoDB fails.
    pub async fn deletion(&self, code_hash: &str) -> Result<Option<Timestamp>, StoreError> {
        let row = self.read(&Key::deletion(code_hash), "read a deletion").await?;
        Ok(row.and_then(|row| row.time(Attribute::DeletedAt)))
    }

    /// Deletes the sessions that name a user. They are looked for one by one: they live for a
    /// few days, and a deletion is rare; an index would keep one more trace of everybody.
    async fn forget_sessions(&self, user_id: &UserId) -> Result<(), StoreError> {
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
