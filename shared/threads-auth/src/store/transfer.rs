//! Rows that come from elsewhere: tokens of another system, and a backup. Neither replaces what is newer, nor brings back the deleted.

use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::types::{AttributeValue, ConditionCheck, Put, TransactWriteItem, Update};
use jiff::Timestamp;

use super::expression::{Change, names, text, time};
use super::grants::{LEASE, NewGrant, connected, tombstone_key};
use super::{Store, StoreError, refused, unavailable};
use crate::grant::{Item, Status, row_key};

/// What came of a row from elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// It is stored.
    Stored,
    /// What lies there is as good or better.
    Known,
    /// The person had their data deleted since.
    Deleted,
}

impl Store {
    /// Stores a token that was got elsewhere, unless there is an active grant that lives as long, one that was ended since the token
    /// was issued, or a consent that is under way. Where the age is not known, only a dead grant is worse.
    ///
    /// # Errors
    /// When DynamoDB fails.
    pub async fn take(
        &self,
        grant: &NewGrant<'_>,
        tombstone: &str,
        now: Timestamp,
    ) -> Result<Taken, StoreError> {
        let dead = "#status = :dead";
        let condition = if grant.expiry_assumed {
            dead.to_owned()
        } else {
            format!(
                "{dead} OR (#status = :revoked AND #updated_at < :issued_at) OR (#status = :active AND #expires_at < :expires_at)"
            )
        };
        let worse =
            format!("attribute_not_exists(#pk) OR (attribute_not_exists(#pending_token) AND ({condition}))");
        let change = connected(Change::when(&worse), grant, now)
            .value("dead", text("needs_reauthorization"))
            .set("connected_at", time(grant.issued_at));
        let change = if grant.expiry_assumed {
            change
        } else {
            change
                .value("active", text(Status::Active.as_str()))
                .value("revoked", text(Status::Revoked.as_str()))
        };
        let update = Update::builder()
            .table_name(&self.grants)
            .key("pk", text(row_key(grant.user_id)))
            .update_expression(change.update())
            .set_condition_expression(change.condition())
            .set_expression_attribute_names(Some(change.names()))
            .set_expression_attribute_values(change.values())
            .build()
            .map_err(unbuildable)?;
        // Of a token whose age is not known, nobody can say that it was consented to after a deletion.
        let since = if grant.expiry_assumed {
            Timestamp::UNIX_EPOCH
        } else {
            grant.issued_at
        };
        let row = TransactWriteItem::builder().update(update).build();
        self.with_tombstone(row, tombstone, since).await
    }

    /// Puts a row of a backup back, unless there is one.
    ///
    /// # Errors
    /// When DynamoDB fails.
    pub async fn put_back(
        &self,
        mut row: Item,
        tombstone: &str,
        connected_at: Timestamp,
    ) -> Result<Taken, StoreError> {
        row.retain(|name, _| !LEASE.contains(&name.as_str()));
        let put = Put::builder()
            .table_name(&self.grants)
            .set_item(Some(row))
            .condition_expression("attribute_not_exists(pk)")
            .build()
            .map_err(unbuildable)?;
        let row = TransactWriteItem::builder().put(put).build();
        self.with_tombstone(row, tombstone, connected_at).await
    }

    /// Puts a row as it is, unless there is one: whether it did.
    ///
    /// # Errors
    /// When DynamoDB fails.
    pub async fn put_if_absent(&self, row: Item) -> Result<bool, StoreError> {
        let answer = self
            .client
            .put_item()
            .table_name(&self.grants)
            .set_item(Some(row))
            .condition_expression("attribute_not_exists(pk)")
            .send()
            .await;
        match answer {
            Ok(_) => Ok(true),
            Err(error)
                if matches!(
                    error.as_service_error(),
                    Some(PutItemError::ConditionalCheckFailedException(_))
                ) =>
            {
                Ok(false)
            }
            Err(error) => Err(unavailable("put a row back")(error)),
        }
    }

    /// A page of the rows of `table` as they are: the users' or all others, and the key after which the next page begins.
    ///
    /// # Errors
    /// When DynamoDB fails.
    pub async fn raw_page(
        &self,
        table: &str,
        users: bool,
        after: Option<Item>,
    ) -> Result<(Vec<Item>, Option<Item>), StoreError> {
        let filter = if users {
            "begins_with(#pk, :users)"
        } else {
            "NOT begins_with(#pk, :users)"
        };
        let answer = self
            .client
            .scan()
            .table_name(table)
            .consistent_read(true)
            .set_exclusive_start_key(after)
            .filter_expression(filter)
            .set_expression_attribute_names(Some(names(filter)))
            .expression_attribute_values(":users", AttributeValue::S("user#".to_owned()))
            .send()
            .await
            .map_err(unavailable("read a table"))?;
        Ok((answer.items.unwrap_or_default(), answer.last_evaluated_key))
    }

    /// Writes a user's row, unless the user was deleted at `since` or later.
    async fn with_tombstone(
        &self,
        row: TransactWriteItem,
        tombstone: &str,
        since: Timestamp,
    ) -> Result<Taken, StoreError> {
        let alive = "attribute_not_exists(#pk) OR #deleted_at < :since";
        let check = ConditionCheck::builder()
            .table_name(&self.grants)
            .key("pk", text(tombstone_key(tombstone)))
            .condition_expression(alive)
            .set_expression_attribute_names(Some(names(alive)))
            .expression_attribute_values(":since", time(since))
            .build()
            .map_err(unbuildable)?;
        let answer = self
            .client
            .transact_write_items()
            .transact_items(row)
            .transact_items(TransactWriteItem::builder().condition_check(check).build())
            .send()
            .await;
        let Err(error) = answer else {
            return Ok(Taken::Stored);
        };
        if refused(&error, 0).is_some() {
            Ok(Taken::Known)
        } else if refused(&error, 1).is_some() {
            Ok(Taken::Deleted)
        } else {
            Err(unavailable("store a row from elsewhere")(error))
        }
    }
}

fn unbuildable(error: aws_sdk_dynamodb::error::BuildError) -> StoreError {
    StoreError::Unavailable {
        operation: "store a row from elsewhere",
        code: "unbuildable".to_owned(),
        source: Box::new(error),
    }
}
