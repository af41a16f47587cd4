//! The grants table: one row per user, with the reads and writes of a sweep.

use aws_sdk_dynamodb::operation::query::builders::QueryFluentBuilder;
use aws_sdk_dynamodb::operation::scan::ScanOutput;
use aws_sdk_dynamodb::types::{KeysAndAttributes, ReturnValue, Select};
use futures_util::stream::{self, Stream, StreamExt, TryStreamExt};
use jiff::Timestamp;
use threads_auth_model::rules::{self, Beside, Lease, LeaseReason, Refreshed, Right};
use threads_auth_model::schedule::Part;
use threads_auth_model::{Attribute, Condition, Grant, Inconsistency, Key, Live, Status, schedule};
use threads_graph::UserId;
use tokio::time::Instant;

use crate::StoreError;
use crate::error::{failed, unbuildable};
use crate::expression::Expressions;
use crate::item::{Item, row};
use crate::table::{Changed, Store, WriteOutcome, pk, stream};

/// The index of due grants: partition `due_shard`, sort key `due_at`, keys only.
pub const DUE_INDEX: &str = "due";

const DUE_PAGE: i32 = 100;

/// Maximum number of concurrent queries of the due index while few grants may be due. Each needs a
/// connection, and a handshake costs more than waiting for the previous query.
pub const QUERIES_AT_ONCE: usize = 4;

/// The request for a page of grants, with limits for the work.
#[derive(Debug)]
pub struct PageRequest {
    /// Only grants with this status.
    pub status: Option<Status>,
    /// The maximum number of grants.
    pub grants: u32,
    /// The key after which the page begins.
    pub after: Option<Key>,
    /// The maximum number of rows to read.
    pub rows: u32,
    /// The time after which no further read starts.
    pub until: Instant,
}

/// One page of a list.
pub struct Page<T> {
    /// The items of the page.
    pub items: Vec<T>,
    /// The key after which the next page begins, if there is one.
    pub next: Option<Key>,
}

/// The outcome of a request for a lease.
#[derive(Debug)]
pub enum LeaseOutcome {
    /// The lease is ours, and this is the grant.
    Leased(Box<Grant>),
    /// The lease is ours, but the row is inconsistent. The second value is its generation, if the
    /// row has one.
    Broken(Inconsistency, Option<String>),
    /// Another worker holds the lease, or the grant is no longer due, or deleted.
    NotOurs,
}

impl Store {
    /// Reads the grant of a user. The read is strongly consistent.
    ///
    /// # Errors
    /// Returns [`StoreError`] if DynamoDB fails, or the row is inconsistent.
    pub async fn grant(&self, user_id: &UserId) -> Result<Option<Grant>, StoreError> {
        self.grant_at(&Key::grant(user_id)).await
    }

    /// Reads the grant of a key that was found in an index.
    ///
    /// # Errors
    /// Returns [`StoreError`] if DynamoDB fails, or the row is inconsistent.
    pub async fn grant_at(&self, key: &Key) -> Result<Option<Grant>, StoreError> {
        let row = self.read(key, "read a grant").await?;
        Ok(row.map(|row| Grant::from_row(&self.grants, &row)).transpose()?)
    }

    /// Reads the grants of up to 100 keys that were found in an index, in no particular order. Rows
    /// that are gone or inconsistent, and those that DynamoDB left unprocessed, are missing.
    ///
    /// # Errors
    /// Returns [`StoreError`] if DynamoDB fails.
    pub async fn grants_at(&self, keys: &[Key]) -> Result<Vec<Grant>, StoreError> {
        const OPERATION: &str = "read grants";
        let keys = keys.iter().map(|key| [(Attribute::Pk.as_str().to_owned(), pk(key))].into()).collect();
        let keys = KeysAndAttributes::builder().set_keys(Some(keys)).consistent_read(true).build();
        let request = self.client.batch_get_item();
        let request = request.request_items(&self.grants, keys.map_err(unbuildable(OPERATION))?);
        let answer = request.send().await.map_err(failed(OPERATION))?;
        let items = answer.responses.unwrap_or_default().remove(&self.grants).unwrap_or_default();
        let grants = items.iter().map(|item| Grant::from_row(&self.grants, &row(item)));
        Ok(grants.filter_map(Result::ok).collect())
    }

    /// Reads a page of grants in no particular order, each as a grant or as its inconsistency.
    /// Inconsistent rows do not count towards the number of grants.
    ///
    /// # Errors
    /// Returns [`StoreError`] if DynamoDB fails.
    pub async fn grants(
        &self,
        request: PageRequest,
    ) -> Result<Page<Result<Grant, Inconsistency>>, StoreError> {
        let mut page = Page { items: Vec::new(), next: request.after };
        let (mut grants, mut looked_at) = (0, 0);
        // One more grant than requested shows if there is a next page. One read is usually enough,
        // since most rows are grants. If it is not, each further read is larger.
        let mut at_once = request.grants.saturating_add(1);
        loop {
            let rows_left = request.rows.saturating_sub(looked_at);
            let answer = self.scan(request.status, at_once.min(rows_left), page.next.clone()).await?;
            looked_at += answer.scanned_count.unsigned_abs();
            at_once = at_once.saturating_mul(4);
            for item in answer.items.unwrap_or_default() {
                let row = row(&item);
                let grant = Grant::from_row(&self.grants, &row);
                if grant.is_ok() && grants == request.grants {
                    return Ok(page);
                }
                grants += u32::from(grant.is_ok());
                page.items.push(grant);
                page.next = row.key();
            }
            page.next = answer.last_evaluated_key.and_then(|key| row(&key).key());
            if page.next.is_none() || looked_at >= request.rows || request.until <= Instant::now() {
                return Ok(page);
            }
        }
    }

    /// Reads up to `limit` rows after a key, and returns those that are grants with the status.
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

    /// Reads all grants in no particular order, each as a grant or as its inconsistency.
    pub fn all_grants(&self) -> impl Stream<Item = Result<Result<Grant, Inconsistency>, StoreError>> + '_ {
        let rows = self.items(&self.grants, true);
        rows.map_ok(|item| Grant::from_row(&self.grants, &row(&item)))
    }

    /// Reads the unconverted rows of `table`: the grants, or all others.
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

    /// Reads the keys in `shard` that are due at `now`, oldest first. The stream ends at the first
    /// failure.
    pub fn due(&self, shard: &str, now: Timestamp) -> impl Stream<Item = Result<Key, StoreError>> + use<> {
        self.due_pages(shard, now).map_ok(|keys| stream::iter(keys.into_iter().map(Ok))).try_flatten()
    }

    /// Reads the keys of grants that are due at `now` from all partitions of `part` in turn, one
    /// key from each, so that none starves behind a long one. Within a partition the oldest comes
    /// first. A partition ends at its first failure. The first pages are read with few concurrent
    /// queries, since most sweeps find little; further pages are read all at once, since then a
    /// sweep waits for them.
    pub fn due_in_turn(
        &self,
        part: Part,
        now: Timestamp,
    ) -> impl Stream<Item = Result<Key, StoreError>> + use<> {
        let shards: Vec<_> = part.shards().map(|shard| Box::pin(self.due_pages(&shard, now))).collect();
        let rounds = stream::unfold((shards, QUERIES_AT_ONCE), |(shards, at_once)| async move {
            let pages = stream::iter(shards).map(|mut shard| async move { (shard.next().await, shard) });
            let (mut keys, mut unread) = (Vec::new(), Vec::new());
            for (page, shard) in pages.buffered(at_once).collect::<Vec<_>>().await {
                match page {
                    Some(Ok(page)) => {
                        keys.extend(page.into_iter().map(Ok).enumerate());
                        unread.push(shard);
                    }
                    Some(Err(error)) => keys.push((0, Err(error))),
                    None => {}
                }
            }
            if keys.is_empty() && unread.is_empty() {
                return None;
            }
            keys.sort_by_key(|(turn, _)| *turn);
            let keys = stream::iter(keys.into_iter().map(|(_, key)| key));
            Some((keys, (unread, usize::from(schedule::DUE_SHARDS))))
        });
        rounds.flatten()
    }

    /// Reads the pages of the keys in `shard` that are due at `now`.
    fn due_pages(
        &self,
        shard: &str,
        now: Timestamp,
    ) -> impl Stream<Item = Result<Vec<Key>, StoreError>> + use<> {
        let pages = self.due_query(shard, now).limit(DUE_PAGE).into_paginator();
        stream(pages.send(), "read the due index")
            .map_ok(|page| page.items().iter().filter_map(|item| row(item).key()).collect())
    }

    /// Returns the due time of the grant in `shard` that has waited longest, if any is due.
    ///
    /// # Errors
    /// Returns [`StoreError`] if DynamoDB fails.
    pub async fn oldest_due(&self, shard: &str, now: Timestamp) -> Result<Option<Timestamp>, StoreError> {
        let request = self.due_query(shard, now).limit(1);
        let answer = request.send().await.map_err(failed("read the due index"))?;
        let oldest = answer.items().first();
        Ok(oldest.and_then(|item| row(item).time(Attribute::DueAt)))
    }

    /// Counts the keys of `shard` that are due at `now`.
    ///
    /// # Errors
    /// Returns [`StoreError`] if DynamoDB fails.
    pub async fn count_due(&self, shard: &str, now: Timestamp) -> Result<u64, StoreError> {
        let pages = self.due_query(shard, now).select(Select::Count).into_paginator();
        stream(pages.send(), "count due grants")
            .try_fold(0, |sum, page| std::future::ready(Ok(sum + u64::try_from(page.count).unwrap_or(0))))
            .await
    }

    /// Reads the due times of the grants in `shard`, oldest first. Each read of 1 MB has about
    /// 17,000 of them.
    pub fn due_times(&self, shard: &str) -> impl Stream<Item = Result<Timestamp, StoreError>> + use<> {
        let query = self.due_query(shard, Timestamp::MAX).projection_expression(Attribute::DueAt.as_str());
        stream(query.into_paginator().items().send(), "read the due index")
            .try_filter_map(|item| std::future::ready(Ok(row(&item).time(Attribute::DueAt))))
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

    /// Takes the lease of a row, if it fits the reason and nobody holds the lease.
    ///
    /// # Errors
    /// Returns [`StoreError`] if DynamoDB fails.
    pub async fn lease(
        &self,
        key: &Key,
        reason: LeaseReason<'_>,
        lease: Lease<'_>,
        now: Timestamp,
    ) -> Result<LeaseOutcome, StoreError> {
        let change = rules::lease(key, reason, lease, now);
        let (mut row, is_noted) = match self.change_returning(&change, ReturnValue::AllOld).await? {
            Changed::Done(before) => {
                let is_noted = before.get(Attribute::AskedAt).is_some();
                (change.made(before), is_noted)
            }
            // The response to our own first attempt was lost.
            Changed::Refused(row) if row.text(Attribute::LeaseOwner) == Some(lease.owner) => {
                let Some(asked_at) = row.time(Attribute::AskedAt) else {
                    // Another writer has replaced the token since, and our note with it.
                    self.write(&rules::release(key, Right::Done(lease))).await?;
                    return Ok(LeaseOutcome::NotOurs);
                };
                (row, asked_at.as_second() < now.as_second())
            }
            Changed::Refused(_) | Changed::Gone => return Ok(LeaseOutcome::NotOurs),
        };
        // A note that only this lease has written is no evidence of an earlier call to Meta.
        if !is_noted {
            row.remove(Attribute::AskedAt);
        }
        Ok(match Grant::from_row(&self.grants, &row) {
            Ok(grant) => LeaseOutcome::Leased(Box::new(grant)),
            Err(inconsistency) => {
                LeaseOutcome::Broken(inconsistency, row.text(Attribute::GrantId).map(str::to_owned))
            }
        })
    }

    /// Stores a refreshed token. A consent that came in the meantime keeps its due time, and
    /// another worker keeps its lease.
    ///
    /// # Errors
    /// Returns [`StoreError`] if DynamoDB fails.
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
                // Each can change only once: a lost lease stays lost, and a pending consent is
                // accepted once seen.
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
