//! What a person's departure does to the tables.

use aws_sdk_dynamodb::types::{AttributeValue, Delete, Put, TransactWriteItem, Update};
use jiff::Timestamp;
use threads_graph::UserId;

use super::expression::{Change, names, number, text, time};
use super::grants::{DueKey, LEASE, tombstone_key, written};
use super::{Store, StoreError, Written, refused, unavailable};
use crate::grant::{Item, RevokedBy, Status, row_key};

/// A person's wish to be forgotten.
#[derive(Clone, Copy, Debug)]
pub struct Deletion<'a> {
    /// Whose it is.
    pub user_id: &'a UserId,
    /// [`Keyring::tombstone`](crate::seal::Keyring::tombstone) of the user: it names nobody.
    pub tombstone: &'a str,
    /// The hash of the code under which the person can look up what became of it.
    pub code_hash: &'a str,
    /// When the person asked. Whatever they consented to later stays.
    pub requested_at: Timestamp,
}

impl Store {
    /// Marks a grant as revoked, and destroys its tokens, unless the person has connected again since `revoked_at` or it was
    /// revoked before.
    ///
    /// # Errors
    /// When DynamoDB fails.
    pub async fn revoke(
        &self,
        user_id: &UserId,
        by: RevokedBy,
        revoked_at: Timestamp,
        now: Timestamp,
    ) -> Result<Written, StoreError> {
        let change =
            Change::when("attribute_exists(#pk) AND #connected_at <= :revoked_at AND (#status <> :status OR attribute_exists(#pending_token))")
                .value("revoked_at", time(revoked_at))
                .set("status", text(Status::Revoked.as_str()))
                .set("revoked_by", text(by.as_str()))
                .set("failures", number(0))
                .set("updated_at", time(now))
                // Without `expires_at`, no refresh under way can store its token any more.
                .remove(&[
                    "token",
                    "previous_token",
                    "issued_at",
                    "expires_at",
                    "refreshed_at",
                ])
                .remove(&["pending_token", "pending_scopes", "pending_expires_at"])
                .remove(&["due_at", "due_shard", "cause", "last_error"])
                .remove(&["data_access_expires_at", "warned_of", "warned_days"])
                .remove(LEASE);
        let key = DueKey::of(user_id);
        Ok(written(&self.change(&key, &change, "revoke a grant").await?))
    }

    /// Deletes everything held for a user, and leaves a tombstone: a connect that began before the deletion is refused by it. Says
    /// whether there is nothing newer; what the person has consented to since is left alone.
    ///
    /// # Errors
    /// When DynamoDB fails. Trying again is safe, and keeps the time of the first deletion for the person to see.
    pub async fn delete(&self, deletion: Deletion<'_>, now: Timestamp) -> Result<bool, StoreError> {
        let operation = "delete a grant";
        let build = |error| StoreError::Unavailable {
            operation,
            code: "unbuildable".to_owned(),
            source: Box::new(error),
        };
        let not_newer = "attribute_not_exists(#pk) OR #connected_at <= :requested_at";
        let delete = Delete::builder()
            .table_name(&self.grants)
            .key("pk", text(row_key(deletion.user_id)))
            .condition_expression(not_newer)
            .set_expression_attribute_names(Some(names(not_newer)))
            .expression_attribute_values(":requested_at", time(deletion.requested_at));
        let tombstone = Put::builder()
            .table_name(&self.grants)
            .item("pk", text(tombstone_key(deletion.tombstone)))
            .item("deleted_at", time(now));
        let record = self.record(deletion, now).build().map_err(build)?;
        let answer = self
            .client
            .transact_write_items()
            .transact_items(
                TransactWriteItem::builder()
                    .delete(delete.build().map_err(build)?)
                    .build(),
            )
            .transact_items(
                TransactWriteItem::builder()
                    .put(tombstone.build().map_err(build)?)
                    .build(),
            )
            .transact_items(TransactWriteItem::builder().update(record).build())
            .send()
            .await;
        let Err(error) = answer else {
            self.forget_sessions(deletion.user_id).await?;
            return Ok(true);
        };
        let newer = refused(&error, 0).is_some();
        if !newer {
            return Err(unavailable(operation)(error));
        }
        // The connect has replaced all that the wish was about; it only remains to say so.
        let record = Change::default().set_if_absent("deleted_at", time(now));
        self.client
            .update_item()
            .table_name(&self.grants)
            .key("pk", text(deletion_key(deletion.code_hash)))
            .update_expression(record.update())
            .set_expression_attribute_names(Some(record.names()))
            .set_expression_attribute_values(record.values())
            .send()
            .await
            .map_err(unavailable("record a deletion"))?;
        Ok(false)
    }

    /// When a deletion was carried out, if there was one of this code.
    ///
    /// # Errors
    /// When DynamoDB fails.
    pub async fn deletion(&self, code_hash: &str) -> Result<Option<Timestamp>, StoreError> {
        let answer = self
            .client
            .get_item()
            .table_name(&self.grants)
            .key("pk", text(deletion_key(code_hash)))
            .consistent_read(true)
            .send()
            .await
            .map_err(unavailable("read a deletion"))?;
        let second = answer.item.and_then(|item| match item.get("deleted_at") {
            Some(AttributeValue::N(second)) => second.parse().ok(),
            _ => None,
        });
        Ok(second.and_then(|second| Timestamp::from_second(second).ok()))
    }

    fn record(
        &self,
        deletion: Deletion<'_>,
        now: Timestamp,
    ) -> aws_sdk_dynamodb::types::builders::UpdateBuilder {
        let record = Change::default().set_if_absent("deleted_at", time(now));
        Update::builder()
            .table_name(&self.grants)
            .key("pk", text(deletion_key(deletion.code_hash)))
            .update_expression(record.update())
            .set_expression_attribute_names(Some(record.names()))
            .set_expression_attribute_values(record.values())
    }

    /// Deletes the sessions that name a user. They are looked for one by one: they live for two days at most, and a deletion is
    /// rare; an index would keep one more trace of everybody.
    async fn forget_sessions(&self, user_id: &UserId) -> Result<(), StoreError> {
        let filter = "#user_id = :user_id OR #connected_user_id = :user_id";
        let mut start: Option<Item> = None;
        loop {
            let page = self
                .client
                .scan()
                .table_name(&self.short_lived)
                .consistent_read(true)
                .set_exclusive_start_key(start)
                .filter_expression(filter)
                .projection_expression("pk")
                .set_expression_attribute_names(Some(names(filter)))
                .expression_attribute_values(":user_id", text(user_id.as_str()))
                .send()
                .await
                .map_err(unavailable("look for a user's sessions"))?;
            for key in page.items.unwrap_or_default() {
                self.client
                    .delete_item()
                    .table_name(&self.short_lived)
                    .set_key(Some(key))
                    .send()
                    .await
                    .map_err(unavailable("delete a session"))?;
            }
            match page.last_evaluated_key {
                Some(key) => start = Some(key),
                None => return Ok(()),
            }
        }
    }
}

fn deletion_key(code_hash: &str) -> String {
    format!("deletion#{code_hash}")
}
