//! The end of a connect, in one transaction: the state is spent, the grant is stored, the session is closed; or nothing is.

use aws_sdk_dynamodb::types::{
    CancellationReason, ConditionCheck, Put, ReturnValuesOnConditionCheckFailure, TransactWriteItem, Update,
};
use jiff::Timestamp;
use threads_graph::UserId;

use super::expression::{Change, bytes, names, number, text, time};
use super::grants::{NewGrant, connected, tombstone_key};
use super::sessions::{SessionStatus, session_key};
use super::{Store, StoreError, refused, unavailable};
use crate::grant::{Item, Status, row_key};
use crate::schedule;

/// Spent states outlive the codes that came with them, which Meta accepts for an hour.
const SPENT_SECONDS: i64 = 2 * 3_600;

/// What a finished connect writes.
#[derive(Clone, Copy, Debug)]
pub enum Outcome<'a> {
    /// The long-lived token is there.
    Connected(&'a NewGrant<'a>),
    /// Only the short-lived one is; a sweep completes it.
    Pending(&'a NewPending<'a>),
}

/// A grant whose second exchange failed, with its short-lived token sealed.
#[derive(Clone, Debug)]
pub struct NewPending<'a> {
    /// Whose it is.
    pub user_id: &'a UserId,
    /// The generation, if there is no grant yet; an existing one stays as it is until the token is complete.
    pub grant_id: &'a str,
    /// The short-lived token, sealed for the row.
    pub sealed: Vec<u8>,
    /// What the person granted.
    pub scopes: String,
    /// When it expires.
    pub expires_at: Timestamp,
}

/// Which connect is finished.
#[derive(Clone, Copy, Debug)]
pub struct Finish<'a> {
    /// [`state_hash`](crate::flow::state_hash) of its state.
    pub state_hash: &'a str,
    /// When it began: a deletion since then refuses it.
    pub began_at: Timestamp,
    /// [`Keyring::tombstone`](crate::seal::Keyring::tombstone) of its user.
    pub tombstone: &'a str,
    /// The connect session that it closes, and the hash of the completion code that only the browser gets.
    pub session: Option<(&'a str, &'a str)>,
    /// Now.
    pub now: Timestamp,
}

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finished {
    /// Everything is stored.
    Committed,
    /// The state was spent before.
    Replayed,
    /// The user's data was deleted while the person was at Meta.
    Deleted,
    /// The session was closed or expired before.
    SessionClosed,
}

impl Outcome<'_> {
    fn user_id(&self) -> &UserId {
        match self {
            Self::Connected(grant) => grant.user_id,
            Self::Pending(pending) => pending.user_id,
        }
    }

    fn grant_id(&self) -> &str {
        match self {
            Self::Connected(grant) => grant.grant_id,
            Self::Pending(pending) => pending.grant_id,
        }
    }

    fn change(&self, now: Timestamp) -> Change {
        match self {
            Self::Connected(grant) => connected(Change::default(), grant, now).set("connected_at", time(now)),
            Self::Pending(pending) => Change::default()
                .set("user_id", text(pending.user_id.as_str()))
                .set_if_absent("grant_id", text(pending.grant_id))
                .set_if_absent("status", text(Status::Pending.as_str()))
                .set_if_absent("scopes", text(&pending.scopes))
                .set("pending_token", bytes(&pending.sealed))
                .set("pending_scopes", text(&pending.scopes))
                .set("pending_expires_at", time(pending.expires_at))
                .set("due_at", time(now))
                .set("due_shard", text(schedule::shard(pending.user_id)))
                .set("connected_at", time(now))
                .set_if_absent("created_at", time(now))
                .set("updated_at", time(now)),
        }
    }
}

impl Store {
    /// Finishes a connect: all of it or nothing.
    ///
    /// # Errors
    /// When DynamoDB fails; trying again with the same `finish` and `outcome` is safe, and finds an own earlier success.
    pub async fn finish(&self, finish: Finish<'_>, outcome: Outcome<'_>) -> Result<Finished, StoreError> {
        let operation = "finish a connect";
        let build = |error| StoreError::Unavailable {
            operation,
            code: "unbuildable".to_owned(),
            source: Box::new(error),
        };
        let spent = Put::builder()
            .table_name(&self.short_lived)
            .item("pk", text(format!("state#{}", finish.state_hash)))
            .item("grant_id", text(outcome.grant_id()))
            .item("ttl", number(finish.now.as_second() + SPENT_SECONDS))
            .condition_expression("attribute_not_exists(pk)")
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        let change = outcome.change(finish.now);
        let grant = Update::builder()
            .table_name(&self.grants)
            .key("pk", text(row_key(outcome.user_id())))
            .update_expression(change.update())
            .set_expression_attribute_names(Some(change.names()))
            .set_expression_attribute_values(change.values());
        let alive = "attribute_not_exists(#pk) OR #deleted_at < :began_at";
        let tombstone = ConditionCheck::builder()
            .table_name(&self.grants)
            .key("pk", text(tombstone_key(finish.tombstone)))
            .condition_expression(alive)
            .set_expression_attribute_names(Some(names(alive)))
            .expression_attribute_values(":began_at", time(finish.began_at));
        let mut request = self
            .client
            .transact_write_items()
            .transact_items(
                TransactWriteItem::builder()
                    .put(spent.build().map_err(build)?)
                    .build(),
            )
            .transact_items(
                TransactWriteItem::builder()
                    .update(grant.build().map_err(build)?)
                    .build(),
            )
            .transact_items(
                TransactWriteItem::builder()
                    .condition_check(tombstone.build().map_err(build)?)
                    .build(),
            );
        if let Some((session_id, completion_hash)) = finish.session {
            let change =
                Change::when("attribute_exists(#pk) AND #status <> :connected AND #expires_at > :now")
                    .value("connected", text(SessionStatus::Connected.as_str()))
                    .value("now", time(finish.now))
                    .set("status", text(SessionStatus::Connected.as_str()))
                    .set("connected_user_id", text(outcome.user_id().as_str()))
                    .set("completion_hash", text(completion_hash))
                    .remove(&["reason"]);
            let session = Update::builder()
                .table_name(&self.short_lived)
                .key("pk", text(session_key(session_id)))
                .update_expression(change.update())
                .set_condition_expression(change.condition())
                .set_expression_attribute_names(Some(change.names()))
                .set_expression_attribute_values(change.values());
            request = request.transact_items(
                TransactWriteItem::builder()
                    .update(session.build().map_err(build)?)
                    .build(),
            );
        }
        let Err(error) = request.send().await else {
            return Ok(Finished::Committed);
        };
        if let Some(reason) = refused(&error, 0) {
            // The answer to our own commit may have been lost: then what lies there is ours.
            let ours = spent_by(reason).is_some_and(|grant_id| grant_id == outcome.grant_id());
            return Ok(if ours {
                Finished::Committed
            } else {
                Finished::Replayed
            });
        }
        if refused(&error, 2).is_some() {
            return Ok(Finished::Deleted);
        }
        if refused(&error, 3).is_some() {
            return Ok(Finished::SessionClosed);
        }
        Err(unavailable(operation)(error))
    }

    /// Whether a state was spent.
    ///
    /// # Errors
    /// When DynamoDB fails.
    pub async fn is_spent(&self, state_hash: &str) -> Result<bool, StoreError> {
        let answer = self
            .client
            .get_item()
            .table_name(&self.short_lived)
            .key("pk", text(format!("state#{state_hash}")))
            .projection_expression("pk")
            .consistent_read(true)
            .send()
            .await
            .map_err(unavailable("read a state"))?;
        Ok(answer.item.is_some())
    }
}

fn spent_by(reason: &CancellationReason) -> Option<&str> {
    let item: &Item = reason.item()?;
    item.get("grant_id")?.as_s().ok().map(String::as_str)
}
