//! The grants table: one row per user, and what a sweep does to it.

use aws_sdk_dynamodb::operation::query::builders::QueryFluentBuilder;
use aws_sdk_dynamodb::operation::scan::ScanOutput;
use aws_sdk_dynamodb::types::Select;
use futures_util::stream::{Stream, TryStreamExt};
use jiff::Timestamp;
use threads_auth_model::rules::{self, Beside, Lease, LeaseReason, Refreshed};
use threads_auth_model::{Attribute, Condition, Grant, Inconsistency, Key, Live, Status};
use threads_graph::UserId;
use tokio::time::Instant;

use crate::StoreError;
use crate::error::failed;
use crate::expression::Expressions;
use crate::item::{Item, row};
use crate::table::{Changed, Store, WriteOutcome, pk, stream};

/// The index of due grants: partition `due_shard`, sort key `due_at`, keys only.
pub const DUE_INDEX: &str = "due";

const DUE_PAGE: i32 = 100;

/// The grants that a page is to hold, and the most work that it may take.
#[derive(Debug)]
pub struct Wanted {
    /// Only grants with this status.
    pub status: Option<Status>,
    /// The number of grants.
    pub grants: u32,
    /// The key after which the page begins.
    pub after: Option<Key>,
    /// The most rows to look at.
    pub rows: u32,
    /// The time from which no further read begins.
    pub until: Instant,
}

/// A part of a list, and the key after which the next part begins, if there is one.
pub struct Page<T> {
    /// The part.
    pub items: Vec<T>,
    /// Where to go on.
    pub next: Option<Key>,
}

/// The outcome of asking for a lease.
#[derive(Debug)]
pub enum LeaseOutcome {
    /// It is ours, and this is the grant.
    Leased(Box<Grant>),
    /// It is ours, and the row does not make sense. This is its generation, if it names one.
    Broken(Inconsistency, Option<String>),
    /// Somebody else is at it, or it is no longer due, or gone.
    NotOurs,
}

impl Store {
    /// The grant of a user, as it is now.
    ///
    /// # Errors
    /// When DynamoDB fails, or the row does not make sense.
    pub async fn grant(&self, user_id: &UserId) -> Result<Option<Grant>, StoreError> {
        let row = self.read(&Key::grant(user_id), "read a grant").await?;
        Ok(row.map(|row| Grant::from_row(&self.grants, &row)).transpose()?)
    }

    /// A page of grants, in no order: each, or what is wrong with it. It holds as many grants as
    /// are wanted, if there are so many, and beside them whatever rows on the way make no sense.
    ///
    /// # Errors
    /// When DynamoDB fails.
    pub async fn grants(&self, wanted: Wanted) -> Result<Page<Result<Grant, Inconsistency>>, StoreError> {
        let mut page = Page { items: Vec::new(), next: wanted.after };
        let (mut grants, mut looked_at) = (0, 0);
        // One more than is wanted, to tell whether there are more. Most rows are grants, so that
        // one read does; where they are not, each read is a larger one.
        let mut at_once = wanted.grants.saturating_add(1);
        loop {
            let rows_left = wanted.rows.saturating_sub(looked_at);
            let answer = self.scan(wanted.status, at_once.min(rows_left), page.next.clone()).await?;
            looked_at += answer.scanned_count.unsigned_abs();
            at_once = at_once.saturating_mul(4);
            for item in answer.items.unwrap_or_default() {
                let row = row(&item);
                let grant = Grant::from_row(&self.grants, &row);
                if grant.is_ok() && grants == wanted.grants {
                    return Ok(page);
                }
                grants += u32::from(grant.is_ok());
                page.items.push(grant);
                page.next = row.key();
            }
            page.next = answer.last_evaluated_key.and_then(|key| row(&key).key());
            if page.next.is_none() || looked_at >= wanted.rows || wanted.until <= Instant::now() {
                return Ok(page);
            }
        }
    }

    /// The next `limit` rows after a key, but for those that are no grants, or not of the status.
    async fn scan(
        &self,
        status: Option<Status>,
        limit: u32,
        after: Option<Key>,
    ) -> Result<ScanOutput, StoreError> {
        let mut expressions = Expressions::default();
        let mut filter = begins_with_users(&mut expressions);
        if let Some(status) = status {
            let status = Condition::Is(Attribute::Status, status.as_str().into());
            filter.push_str(" AND ");
            filter.push_str(&expressions.condition(&status).unwrap_or_default());
        }
        let mut request = self
            .client
            .scan()
            .table_name(&self.grants)
            .set_limit(i32::try_from(limit).ok())
            .filter_expression(filter)
            .set_expression_attribute_names(expressions.names())
            .set_expression_attribute_values(expressions.values());
        if let Some(after) = after {
            request = request.exclusive_start_key(Attribute::Pk.as_str(), pk(&after));
        }
        request.send().await.map_err(failed("list grants"))
    }

    /// All grants, in no order: each, or what is wrong with it.
    pub fn all_grants(&self) -> impl Stream<Item = Result<Result<Grant, Inconsistency>, StoreError>> + '_ {
        let rows = self.items(&self.grants, true);
        rows.map_ok(|item| Grant::from_row(&self.grants, &row(&item)))
    }

    /// The rows of `table` as they are: the users' or all others.
    pub fn items(&self, table: &str, users: bool) -> impl Stream<Item = Result<Item, StoreError>> + use<> {
        let mut expressions = Expressions::default();
        let of_users = begins_with_users(&mut expressions);
        let pages = self
            .client
            .scan()
            .table_name(table)
            .consistent_read(true)
            .filter_expression(if users { of_users } else { format!("NOT {of_users}") })
            .set_expression_attribute_names(expressions.names())
            .set_expression_attribute_values(expressions.values())
            .into_paginator()
            .items();
        stream(pages.send(), "read a table")
    }

    /// The keys in `shard` that are due at `now`, oldest first. The stream ends with the first
    /// failure.
    pub fn due(&self, shard: &str, now: Timestamp) -> impl Stream<Item = Result<Key, StoreError>> + use<> {
        let pages = self.due_query(shard, now).limit(DUE_PAGE).into_paginator().items();
        stream(pages.send(), "read the due index")
            .try_filter_map(|item| std::future::ready(Ok(row(&item).key())))
    }

    /// Since when the longest waiting grant of `shard` has been due, if any is.
    ///
    /// # Errors
    /// When DynamoDB fails.
    pub async fn oldest_due(&self, shard: &str, now: Timestamp) -> Result<Option<Timestamp>, StoreError> {
        let request = self.due_query(shard, now).limit(1);
        let answer = request.send().await.map_err(failed("read the due index"))?;
        let oldest = answer.items().first();
        Ok(oldest.and_then(|item| row(item).time(Attribute::DueAt)))
    }

    /// How many keys of `shard` are due at `now`.
    ///
    /// # Errors
    /// When DynamoDB fails.
    pub async fn count_due(&self, shard: &str, now: Timestamp) -> Result<u64, StoreError> {
        let pages = self.due_query(shard, now).select(Select::Count).into_paginator();
        stream(pages.send(), "count due grants")
            .try_fold(0, |sum, page| std::future::ready(Ok(sum + u64::try_from(page.count).unwrap_or(0))))
            .await
    }

    fn due_query(&self, shard: &str, now: Timestamp) -> QueryFluentBuilder {
        let mut expressions = Expressions::default();
        let due = Condition::Is(Attribute::DueShard, shard.into())
            .and(Condition::AtMost(Attribute::DueAt, now.into()));
        self.client
            .query()
            .table_name(&self.grants)
            .index_name(DUE_INDEX)
            .set_key_condition_expression(expressions.condition(&due))
            .set_expression_attribute_names(expressions.names())
            .set_expression_attribute_values(expressions.values())
    }

    /// Takes the lease of a row, if the reason fits it and nobody else is at it.
    ///
    /// # Errors
    /// When DynamoDB fails.
    pub async fn lease(
        &self,
        key: &Key,
        reason: LeaseReason<'_>,
        lease: Lease<'_>,
        now: Timestamp,
    ) -> Result<LeaseOutcome, StoreError> {
        let row = match self.change(&rules::lease(key, reason, lease, now)).await? {
            Changed::Done(row) => row,
            // The answer to our own first attempt was lost.
            Changed::Refused(row) if row.text(Attribute::LeaseOwner) == Some(lease.owner) => row,
            Changed::Refused(_) | Changed::Gone => return Ok(LeaseOutcome::NotOurs),
        };
        Ok(match Grant::from_row(&self.grants, &row) {
            Ok(grant) => LeaseOutcome::Leased(Box::new(grant)),
            Err(inconsistency) => {
                LeaseOutcome::Broken(inconsistency, row.text(Attribute::GrantId).map(str::to_owned))
            }
        })
    }

    /// Stores a refreshed token. A consent that came meanwhile stays due, and the lease of somebody
    /// else stays theirs.
    ///
    /// # Errors
    /// When DynamoDB fails.
    pub async fn store_refreshed(
        &self,
        grant: &Grant,
        used: &Live,
        refreshed: Refreshed<'_>,
        lease: Lease<'_>,
        now: Timestamp,
    ) -> Result<WriteOutcome, StoreError> {
        let mut beside = Beside { lease: true, consent: false };
        loop {
            let change = rules::store_refreshed(grant, used, refreshed, lease, beside, now);
            let changed = self.change(&change).await?;
            let seen = match &changed {
                // Each can change once: a lease that is lost stays lost, and a consent is not in
                // the way twice.
                Changed::Refused(row) => Beside {
                    lease: beside.lease && row.text(Attribute::LeaseOwner) == Some(lease.owner),
                    consent: beside.consent || row.get(Attribute::PendingToken).is_some(),
                },
                Changed::Done(_) | Changed::Gone => beside,
            };
            if seen == beside {
                return Ok(changed.outcome_of(&change));
            }
            beside = seen;
        }
    }
}

fn begins_with_users(expressions: &mut Expressions) -> String {
    let (name, prefix) = (expressions.name(Attribute::Pk), expressions.value(&Key::USERS.into()));
    format!("begins_with({name}, {prefix})")
}
