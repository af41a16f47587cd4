//! The grants table: one row per user, and what a sweep does to it.

use aws_sdk_dynamodb::operation::query::QueryOutput;
use aws_sdk_dynamodb::operation::query::builders::QueryFluentBuilder;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValue, ReturnValuesOnConditionCheckFailure, Select};
use jiff::Timestamp;
use threads_graph::{Scopes, UserId};

use super::expression::{Change, bytes, names, number, text, time};
use super::{Store, StoreError, unavailable};
use crate::grant::{Cause, Grant, GrantRow, Inconsistency, Item, Status, Warning, row_key};
use crate::schedule;

/// The index of due grants: partition `due_shard`, sort key `due_at`, keys only. Only refreshable grants have these attributes.
pub const DUE_INDEX: &str = "due";

/// The attributes that say when a refreshable grant is due and who is at it.
pub(super) const LEASE: &[&str] = &["lease_owner", "lease_until"];

/// The key of a due row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DueKey(String);

/// A page of due keys, and where the next begins.
pub struct DuePage {
    /// The keys, oldest first.
    pub keys: Vec<DueKey>,
    /// Where the next page begins, if there is one.
    pub next: Option<Item>,
}

/// The right to work on one row for a while.
#[derive(Clone, Copy, Debug)]
pub struct Lease<'a> {
    /// Who holds it: random, and different for every sweep.
    pub owner: &'a str,
    /// When it ends by itself.
    pub until: Timestamp,
}

/// Which rows may be leased.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// One that is due: what a sweep looks for.
    Due,
    /// The one whose token expires at this time, due or not: somebody needs a token that lives longer.
    Expiring(Timestamp),
    /// The one whose token expires at this time: somebody says that Meta refuses it.
    Doubted(Timestamp),
}

/// How a leased row is put off.
#[derive(Clone, Copy, Debug)]
pub struct Deferral<'a> {
    /// Until when.
    pub due_at: Timestamp,
    /// Failures in a row.
    pub failures: u32,
    /// The class of what went wrong.
    pub class: Option<&'a str>,
    /// A warning that was not given before.
    pub warning: Option<Warning>,
    /// Whether the row had a pending token when it was leased: one that came since wants to be looked at before.
    pub had_pending: bool,
}

/// What Meta told of a grant beside its token.
#[derive(Clone, Debug)]
pub struct Access {
    /// What the person grants now.
    pub scopes: Scopes,
    /// When the app loses access to the person's data.
    pub data_access_expires_at: Option<Timestamp>,
}

/// What came of asking for a lease.
#[derive(Debug)]
pub enum LeaseOutcome {
    /// It is ours, and this is the grant.
    Leased(Box<Grant>),
    /// It is ours, and the row does not make sense.
    Broken(Inconsistency),
    /// Somebody else is at it, or it is no longer due, or gone.
    NotOurs,
}

/// What came of a conditional write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// It is stored.
    Stored,
    /// Something newer lies there, and stays.
    Superseded,
    /// The row is gone.
    Gone,
}

/// A refreshed token, sealed.
#[derive(Clone, Copy, Debug)]
pub struct Refreshed<'a> {
    /// The new token.
    pub sealed: &'a [u8],
    /// The token that it replaces.
    pub previous: &'a [u8],
    /// When Meta issued it.
    pub issued_at: Timestamp,
    /// When it expires.
    pub expires_at: Timestamp,
    /// When it is looked at again.
    pub due_at: Timestamp,
    /// What is to be said of the deadline that is next.
    pub warning: Option<Warning>,
}

impl DueKey {
    /// The row's key, for messages.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The key of a user's row.
    #[must_use]
    pub fn of(user_id: &UserId) -> Self {
        Self(row_key(user_id))
    }
}

impl Store {
    /// The grant of a user, as it is now.
    ///
    /// # Errors
    /// When DynamoDB fails, or the row does not make sense.
    pub async fn get(&self, user_id: &UserId) -> Result<Option<Grant>, StoreError> {
        let answer = self
            .client
            .get_item()
            .table_name(&self.grants)
            .key("pk", text(row_key(user_id)))
            .consistent_read(true)
            .send()
            .await
            .map_err(unavailable("read a grant"))?;
        Ok(answer.item.map(|item| self.grant(item)).transpose()?)
    }

    /// A page of all grants, or of those with one status, in no order: each, or what is wrong with it. `limit` rows are looked at,
    /// so a page can hold fewer, and the next page begins after the key that comes with it.
    ///
    /// # Errors
    /// When DynamoDB fails.
    pub async fn scan(
        &self,
        status: Option<&str>,
        limit: Option<i32>,
        after: Option<String>,
    ) -> Result<(Vec<Result<Grant, Inconsistency>>, Option<String>), StoreError> {
        let filter = match status {
            None => "begins_with(#pk, :users)",
            Some(_) => "begins_with(#pk, :users) AND #status = :status",
        };
        let mut request = self
            .client
            .scan()
            .table_name(&self.grants)
            .set_limit(limit)
            .filter_expression(filter)
            .set_expression_attribute_names(Some(names(filter)))
            .expression_attribute_values(":users", text("user#"));
        if let Some(status) = status {
            request = request.expression_attribute_values(":status", text(status));
        }
        if let Some(after) = after {
            request = request.exclusive_start_key("pk", text(after));
        }
        let answer = request.send().await.map_err(unavailable("list grants"))?;
        let rows = answer
            .items
            .unwrap_or_default()
            .into_iter()
            .map(|item| self.grant(item))
            .collect();
        let last = answer
            .last_evaluated_key
            .and_then(|mut key| match key.remove("pk") {
                Some(AttributeValue::S(pk)) => Some(pk),
                _ => None,
            });
        Ok((rows, last))
    }

    /// A page of the keys in `shard` that are due at `now`, oldest first.
    ///
    /// # Errors
    /// When DynamoDB fails.
    pub async fn due(
        &self,
        shard: &str,
        now: Timestamp,
        limit: i32,
        start: Option<Item>,
    ) -> Result<DuePage, StoreError> {
        let answer = self.query_due(shard, now, limit, start).await?;
        let key = |item: Item| match item.get("pk") {
            Some(AttributeValue::S(key)) => Some(DueKey(key.clone())),
            _ => None,
        };
        Ok(DuePage {
            keys: answer
                .items
                .unwrap_or_default()
                .into_iter()
                .filter_map(key)
                .collect(),
            next: answer.last_evaluated_key,
        })
    }

    /// Since when the longest waiting grant of `shard` has been due, if any is.
    ///
    /// # Errors
    /// When DynamoDB fails.
    pub async fn oldest_due(&self, shard: &str, now: Timestamp) -> Result<Option<Timestamp>, StoreError> {
        let answer = self.query_due(shard, now, 1, None).await?;
        let due = answer
            .items
            .unwrap_or_default()
            .into_iter()
            .next()
            .and_then(|item| match item.get("due_at") {
                Some(AttributeValue::N(second)) => Timestamp::from_second(second.parse().ok()?).ok(),
                _ => None,
            });
        Ok(due)
    }

    /// How many keys of `shard` are due at `now`. What comes back is the count alone.
    ///
    /// # Errors
    /// When DynamoDB fails.
    pub async fn count_due(&self, shard: &str, now: Timestamp) -> Result<u64, StoreError> {
        let mut pages = self
            .due_query(shard, now)
            .select(Select::Count)
            .into_paginator()
            .send();
        let mut sum = 0;
        while let Some(page) = pages.next().await {
            let page = page.map_err(unavailable("count what is due"))?;
            sum += u64::try_from(page.count).unwrap_or(0);
        }
        Ok(sum)
    }

    async fn query_due(
        &self,
        shard: &str,
        now: Timestamp,
        limit: i32,
        start: Option<Item>,
    ) -> Result<QueryOutput, StoreError> {
        self.due_query(shard, now)
            .limit(limit)
            .set_exclusive_start_key(start)
            .send()
            .await
            .map_err(unavailable("read the due index"))
    }

    fn due_query(&self, shard: &str, now: Timestamp) -> QueryFluentBuilder {
        let condition = "#due_shard = :shard AND #due_at <= :now";
        self.client
            .query()
            .table_name(&self.grants)
            .index_name(DUE_INDEX)
            .key_condition_expression(condition)
            .set_expression_attribute_names(Some(names(condition)))
            .expression_attribute_values(":shard", text(shard))
            .expression_attribute_values(":now", time(now))
    }

    /// Takes the lease of a row that is wanted and that nobody else is at.
    ///
    /// # Errors
    /// When DynamoDB fails.
    pub async fn lease(
        &self,
        key: &DueKey,
        wanted: Wanted,
        lease: Lease<'_>,
        now: Timestamp,
    ) -> Result<LeaseOutcome, StoreError> {
        let free =
            "attribute_exists(#due_at) AND (attribute_not_exists(#lease_until) OR #lease_until < :now)";
        let change = match wanted {
            Wanted::Due => Change::when(&format!("{free} AND #due_at <= :now")),
            Wanted::Expiring(at) | Wanted::Doubted(at) => {
                Change::when(&format!("{free} AND #expires_at = :expiring")).value("expiring", time(at))
            }
        }
        .value("now", time(now))
        .set("lease_owner", text(lease.owner))
        .set("lease_until", time(lease.until));
        let item = match self.change(key, &change, "lease a grant").await? {
            Ok(item) => item,
            // The answer to our own first attempt was lost.
            Err(Some(old)) if owned_by(&old, lease.owner) => old,
            Err(_) => return Ok(LeaseOutcome::NotOurs),
        };
        Ok(match self.grant(item) {
            Ok(grant) => LeaseOutcome::Leased(Box::new(grant)),
            Err(inconsistency) => LeaseOutcome::Broken(inconsistency),
        })
    }

    /// Stores a refreshed token. Not bound to the lease: a writer that lost it may hold the only token that still works. What
    /// decides is the generation, and that a token never replaces one that lives longer. A pending token that came meanwhile
    /// stays due.
    ///
    /// # Errors
    /// When DynamoDB fails.
    pub async fn store_refreshed(
        &self,
        grant: &Grant,
        refreshed: Refreshed<'_>,
        now: Timestamp,
    ) -> Result<Written, StoreError> {
        let ours = "attribute_exists(#pk) AND #grant_id = :grant_id AND #expires_at < :expires_at";
        let change = |condition: &str| {
            let change = Change::when(condition)
                .value("grant_id", text(&grant.grant_id))
                .set("token", bytes(refreshed.sealed))
                .set("previous_token", bytes(refreshed.previous))
                .set("status", text(Status::Active.as_str()))
                .set("issued_at", time(refreshed.issued_at))
                .set("expires_at", time(refreshed.expires_at))
                .set("refreshed_at", time(refreshed.issued_at))
                .set("failures", number(0))
                .set("updated_at", time(now))
                .remove(LEASE)
                .remove(&["cause", "last_error", "expiry_assumed"]);
            warned(change, refreshed.warning)
        };
        let key = DueKey::of(&grant.user_id);
        let operation = "store a refreshed token";
        let scheduled = change(&unless_pending(ours, false))
            .set("due_at", time(refreshed.due_at))
            .set("due_shard", text(schedule::shard(&grant.user_id)));
        let mut result = self.change(&key, &scheduled, operation).await?;
        if let Err(Some(old)) = &result
            && old.contains_key("pending_token")
        {
            result = self.change(&key, &change(ours), operation).await?;
        }
        Ok(match result {
            Ok(_) => Written::Stored,
            Err(None) => Written::Gone,
            Err(Some(old)) if holds(&old, "token", refreshed.sealed) => Written::Stored,
            Err(Some(_)) => Written::Superseded,
        })
    }

    /// Stores the long-lived token that a pending grant was waiting for: the same as a connect.
    ///
    /// # Errors
    /// When DynamoDB fails.
    pub async fn complete_pending(
        &self,
        grant: &NewGrant<'_>,
        pending: &[u8],
        now: Timestamp,
    ) -> Result<Written, StoreError> {
        let change = connected(
            Change::when("attribute_exists(#pk) AND #pending_token = :pending")
                .value("pending", bytes(pending)),
            grant,
            now,
        );
        Ok(
            match self
                .change(&DueKey::of(grant.user_id), &change, "complete a pending grant")
                .await?
            {
                Ok(_) => Written::Stored,
                Err(None) => Written::Gone,
                Err(Some(old)) if holds(&old, "token", &grant.sealed) => Written::Stored,
                Err(Some(_)) => Written::Superseded,
            },
        )
    }

    /// Stores what Meta told of a grant beside its token, if that is still the one with `expires_at`.
    ///
    /// # Errors
    /// When DynamoDB fails.
    pub async fn store_access(
        &self,
        grant: &Grant,
        expires_at: Timestamp,
        access: &Access,
        due_at: Timestamp,
        warning: Option<Warning>,
        now: Timestamp,
    ) -> Result<Written, StoreError> {
        let change = Change::when(&unless_pending(
            "attribute_exists(#pk) AND #grant_id = :grant_id AND #expires_at = :known",
            grant.pending.is_some(),
        ))
        .value("grant_id", text(&grant.grant_id))
        .value("known", time(expires_at))
        .set("scopes", text(access.scopes.to_string()))
        .set("due_at", time(due_at))
        .set("due_shard", text(schedule::shard(&grant.user_id)))
        .set("updated_at", time(now))
        .set("failures", number(0))
        .remove(&["last_error"])
        .remove(LEASE);
        let change = warned(data_access(change, access.data_access_expires_at), warning);
        let key = DueKey::of(&grant.user_id);
        Ok(written(
            &self.change(&key, &change, "store a grant's access").await?,
        ))
    }

    /// Gives a lease back, with nothing done.
    ///
    /// # Errors
    /// When DynamoDB fails.
    pub async fn release(&self, key: &DueKey, lease: Lease<'_>) -> Result<Written, StoreError> {
        let change = Change::when("#lease_owner = :owner")
            .value("owner", text(lease.owner))
            .remove(LEASE);
        Ok(written(&self.change(key, &change, "give a lease back").await?))
    }

    /// Forgets a pending token that can no longer be completed; the grant goes on as it was before, or needs the person again.
    ///
    /// # Errors
    /// When DynamoDB fails.
    pub async fn drop_pending(
        &self,
        grant: &Grant,
        pending: &[u8],
        due_at: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<Written, StoreError> {
        let change = Change::when("attribute_exists(#pk) AND #pending_token = :pending")
            .value("pending", bytes(pending))
            .set("updated_at", time(now))
            .set("failures", number(0))
            .remove(LEASE)
            .remove(&["pending_token", "pending_scopes", "pending_expires_at"]);
        let change = match due_at {
            Some(due_at) => change.set("due_at", time(due_at)),
            None => change.remove(&["due_at", "due_shard"]),
        };
        let change = if grant.token.is_some() {
            change
        } else {
            change
                .set(
                    "status",
                    text(Status::NeedsReauthorization(Cause::NotCompleted).as_str()),
                )
                .set("cause", text(Cause::NotCompleted.as_str()))
        };
        let key = DueKey::of(&grant.user_id);
        Ok(written(
            &self.change(&key, &change, "drop a pending token").await?,
        ))
    }

    /// Puts a leased row off, and gives the lease back.
    ///
    /// # Errors
    /// When DynamoDB fails.
    pub async fn defer(
        &self,
        key: &DueKey,
        lease: Lease<'_>,
        deferral: Deferral<'_>,
        now: Timestamp,
    ) -> Result<Written, StoreError> {
        let change = Change::when(&unless_pending(
            "attribute_exists(#pk) AND #lease_owner = :owner",
            deferral.had_pending,
        ))
        .value("owner", text(lease.owner))
        .set("due_at", time(deferral.due_at))
        .set("failures", number(deferral.failures))
        .remove(LEASE);
        let change = match deferral.class {
            Some(class) => change.set("last_error", text(class)),
            None => change,
        };
        let change = match deferral.warning {
            // The event of it has the row's time.
            Some(_) => warned(change, deferral.warning).set("updated_at", time(now)),
            None => change,
        };
        // A lost answer to our own write looks the same as another owner: in both cases the row is not ours to touch.
        Ok(written(&self.change(key, &change, "put a grant off").await?))
    }

    /// Marks a leased grant as dead for `cause`, if its token is still the one that Meta refused.
    ///
    /// # Errors
    /// When DynamoDB fails.
    pub async fn needs_reauthorization(
        &self,
        grant: &Grant,
        lease: Lease<'_>,
        cause: Cause,
        now: Timestamp,
    ) -> Result<Written, StoreError> {
        let expires_at = grant
            .token
            .as_ref()
            .map_or(Timestamp::UNIX_EPOCH, |token| token.expires_at);
        let change = Change::when(&unless_pending(
            "attribute_exists(#pk) AND #grant_id = :grant_id AND #lease_owner = :owner AND #expires_at = :refused",
            grant.pending.is_some(),
        ))
        .value("grant_id", text(&grant.grant_id))
        .value("owner", text(lease.owner))
        .value("refused", time(expires_at))
        .set("status", text(Status::NeedsReauthorization(cause).as_str()))
        .set("cause", text(cause.as_str()))
        .set("last_error", text("needs_reauthorization"))
        .set("updated_at", time(now))
        .remove(LEASE)
        .remove(&["due_at", "due_shard"]);
        let key = DueKey::of(&grant.user_id);
        Ok(written(&self.change(&key, &change, "mark a grant").await?))
    }

    pub(super) fn grant(&self, item: Item) -> Result<Grant, Inconsistency> {
        GrantRow {
            table: &self.grants,
            item,
        }
        .try_into()
    }

    /// Makes one conditional change: the row afterwards, or the row that did not meet the condition (none: it is not there).
    pub(super) async fn change(
        &self,
        key: &DueKey,
        change: &Change,
        operation: &'static str,
    ) -> Result<Result<Item, Option<Item>>, StoreError> {
        let answer = self
            .client
            .update_item()
            .table_name(&self.grants)
            .key("pk", text(&key.0))
            .update_expression(change.update())
            .set_condition_expression(change.condition())
            .set_expression_attribute_names(Some(change.names()))
            .set_expression_attribute_values(change.values())
            .return_values(ReturnValue::AllNew)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .send()
            .await;
        match answer {
            Ok(output) => Ok(Ok(output.attributes.unwrap_or_default())),
            Err(error) => match error.as_service_error() {
                Some(UpdateItemError::ConditionalCheckFailedException(failed)) => {
                    Ok(Err(failed.item().filter(|item| !item.is_empty()).cloned()))
                }
                _ => Err(unavailable(operation)(error)),
            },
        }
    }
}

/// A grant with its first long-lived token, sealed.
#[derive(Clone, Debug)]
pub struct NewGrant<'a> {
    /// Whose it is.
    pub user_id: &'a UserId,
    /// The new generation.
    pub grant_id: &'a str,
    /// The token, sealed for the row.
    pub sealed: Vec<u8>,
    /// What the person granted.
    pub scopes: String,
    /// The profile's username, if Meta told it.
    pub username: Option<&'a str>,
    /// When Meta issued the token.
    pub issued_at: Timestamp,
    /// When it expires.
    pub expires_at: Timestamp,
    /// When the app loses access to the person's data, if Meta told it.
    pub data_access_expires_at: Option<Timestamp>,
    /// Whether Meta told neither how old the token is nor when it expires: both are assumed.
    pub expiry_assumed: bool,
    /// When it is first looked at again.
    pub due_at: Timestamp,
}

/// The row after a connect: everything of the former grant is replaced, but since when the user is known.
pub(super) fn connected(change: Change, grant: &NewGrant<'_>, now: Timestamp) -> Change {
    let change = change
        .set("user_id", text(grant.user_id.as_str()))
        .set("grant_id", text(grant.grant_id))
        .set("status", text(Status::Active.as_str()))
        .set("token", bytes(&grant.sealed))
        .set("scopes", text(&grant.scopes))
        .set("issued_at", time(grant.issued_at))
        .set("expires_at", time(grant.expires_at))
        .set("due_at", time(grant.due_at))
        .set("due_shard", text(schedule::shard(grant.user_id)))
        .set("failures", number(0))
        .set_if_absent("created_at", time(now))
        .set("updated_at", time(now))
        .remove(LEASE)
        .remove(&[
            "cause",
            "last_error",
            "previous_token",
            "refreshed_at",
            "revoked_by",
        ])
        .remove(&["pending_token", "pending_scopes", "pending_expires_at"]);
    let change = warned(data_access(change, grant.data_access_expires_at), None);
    let change = if grant.expiry_assumed {
        change.set("expiry_assumed", number(1))
    } else {
        change.remove(&["expiry_assumed"])
    };
    match grant.username {
        Some(username) => change.set("username", text(username)),
        None => change,
    }
}

/// A condition that also refuses a row to which a pending token came since it was leased: its own due time must stay.
fn unless_pending(condition: &str, had_pending: bool) -> String {
    if had_pending {
        condition.to_owned()
    } else {
        format!("{condition} AND attribute_not_exists(#pending_token)")
    }
}

fn data_access(change: Change, expires_at: Option<Timestamp>) -> Change {
    match expires_at {
        Some(expires_at) => change.set("data_access_expires_at", time(expires_at)),
        None => change.remove(&["data_access_expires_at"]),
    }
}

fn warned(change: Change, warning: Option<Warning>) -> Change {
    match warning {
        Some(Warning { of, days }) => change
            .set("warned_of", text(of.as_str()))
            .set("warned_days", number(days)),
        None => change.remove(&["warned_of", "warned_days"]),
    }
}

/// What came of a change that is bound to a condition only.
pub(super) fn written(changed: &Result<Item, Option<Item>>) -> Written {
    match changed {
        Ok(_) => Written::Stored,
        Err(None) => Written::Gone,
        Err(Some(_)) => Written::Superseded,
    }
}

pub(super) fn tombstone_key(tombstone: &str) -> String {
    format!("tombstone#{tombstone}")
}

pub(super) fn holds(item: &Item, attribute: &str, value: &[u8]) -> bool {
    matches!(item.get(attribute), Some(AttributeValue::B(blob)) if blob.as_ref() == value)
}

fn owned_by(item: &Item, owner: &str) -> bool {
    matches!(item.get("lease_owner"), Some(AttributeValue::S(holder)) if holder == owner)
}
