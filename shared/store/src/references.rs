//! Accounts by the app's own name for their user: found through an index, and assigned.

use aws_sdk_dynamodb::types::AttributeValue;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use jiff::Timestamp;
use threads_auth_model::{Attribute, Claim, Condition, Grant, Inconsistency, Key, Row, claiming};
use threads_graph::UserId;
use tokio::time::Instant;

use crate::error::failed;
use crate::expression::Expressions;
use crate::grants::{Page, PageRequest};
use crate::item::row;
use crate::table::{Changed, Store, pk};
use crate::{FailureKind, StoreError};

/// The index of claimed grants: partition `reference`, no sort key, keys only.
pub const REFERENCE_INDEX: &str = "reference";

/// Maximum number of keys in one query of the index.
const KEYS: usize = 100;

/// The number of rows that are read concurrently.
const READS: usize = 16;

/// Error of finding accounts by their reference.
#[derive(Debug, thiserror::Error)]
pub enum LookupError {
    /// The grants table has no such index: the stack of the data is older than this version, or the
    /// index is still being built.
    #[error("the index `{REFERENCE_INDEX}` of the grants table is missing or still being built")]
    NoIndex,
    /// DynamoDB failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The outcome of assigning an account.
#[derive(Debug)]
pub enum AssignOutcome {
    /// The account belongs to the user now.
    Assigned(Box<Grant>),
    /// The account is unclaimed.
    Unclaimed,
    /// There is no such account.
    Gone,
}

impl Store {
    /// Reads a page of the grants that belong to `reference`, in no particular order. The index
    /// only suggests rows, since it may be behind: each is read consistently, and left out if it
    /// belongs to somebody else by now.
    ///
    /// # Errors
    /// Returns [`LookupError`] if the index is missing, or DynamoDB fails.
    pub async fn grants_of(
        &self,
        reference: &str,
        request: PageRequest,
    ) -> Result<Page<Result<Grant, Inconsistency>>, LookupError> {
        let mut page = Page { items: Vec::new(), next: request.after };
        let (most, mut looked_at) = (usize::try_from(request.grants).unwrap_or(usize::MAX), 0);
        loop {
            let left = most.saturating_sub(page.items.len()).min(KEYS);
            let (keys, next) = self.keys_of(reference, left, page.next.take()).await?;
            looked_at += u32::try_from(keys.len()).unwrap_or(u32::MAX);
            let rows: Vec<Option<Row>> = stream::iter(keys)
                .map(|key| async move { self.read(&key, "read a grant").await })
                .buffered(READS)
                .try_collect()
                .await?;
            let owned = rows.into_iter().flatten().filter(|row| belongs_to(row, reference));
            let grants = owned.map(|row| Grant::from_row(&self.grants, &row));
            page.items.extend(grants.filter(|grant| match (grant, request.status) {
                (_, None) => true,
                (Ok(grant), Some(status)) => grant.status() == status,
                (Err(_), Some(_)) => false,
            }));
            page.next = next;
            let is_over = looked_at >= request.rows || request.until <= Instant::now();
            if page.next.is_none() || page.items.len() >= most || is_over {
                return Ok(page);
            }
        }
    }

    /// Reads up to `limit` keys of the index after a key, and the key after which there may be
    /// more.
    async fn keys_of(
        &self,
        reference: &str,
        limit: usize,
        after: Option<Key>,
    ) -> Result<(Vec<Key>, Option<Key>), LookupError> {
        let mut expressions = Expressions::default();
        let is_theirs = Condition::Is(Attribute::Reference, reference.into());
        let mut query = self
            .client
            .query()
            .table_name(&self.grants)
            .index_name(REFERENCE_INDEX)
            .set_limit(i32::try_from(limit).ok())
            .set_key_condition_expression(expressions.condition(&is_theirs))
            .set_expression_attribute_names(expressions.names())
            .set_expression_attribute_values(expressions.values());
        if let Some(after) = after {
            let reference = AttributeValue::S(reference.to_owned());
            query = query
                .exclusive_start_key(Attribute::Pk.as_str(), pk(&after))
                .exclusive_start_key(Attribute::Reference.as_str(), reference);
        }
        let answer = query.send().await.map_err(failed("read the index of references"));
        let answer =
            answer.map_err(|error| if is_no_index(&error) { LookupError::NoIndex } else { error.into() })?;
        let keys = answer.items().iter().filter_map(|item| row(item).key()).collect();
        Ok((keys, answer.last_evaluated_key.and_then(|key| row(&key).key())))
    }

    /// Assigns a claimed account to the user whom the app calls `reference`, or to none, as
    /// [`claiming::assign`] describes.
    ///
    /// # Errors
    /// Returns [`StoreError`] if DynamoDB fails, or the row is inconsistent. A retry is safe.
    pub async fn assign(
        &self,
        user_id: &UserId,
        reference: Option<&str>,
        now: Timestamp,
    ) -> Result<AssignOutcome, StoreError> {
        Ok(match self.change(&claiming::assign(user_id, reference, now)).await? {
            Changed::Done(row) => AssignOutcome::Assigned(Box::new(Grant::from_row(&self.grants, &row)?)),
            Changed::Refused(_) => AssignOutcome::Unclaimed,
            Changed::Gone => AssignOutcome::Gone,
        })
    }
}

fn belongs_to(row: &Row, reference: &str) -> bool {
    Claim::of(row).owner().is_some_and(|owner| owner.reference == reference)
}

/// Returns true if DynamoDB refused because of the index. It uses one code for that and for any
/// other invalid request, so the message decides: "The table does not have the specified index", or
/// "Cannot read from backfilling global secondary index".
fn is_no_index(error: &StoreError) -> bool {
    let StoreError::DynamoDb(error) = error else {
        return false;
    };
    let is_refused = matches!(error.kind, FailureKind::ThisItem | FailureKind::Missing);
    is_refused && error.source.to_string().contains("index")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::AwsError;

    #[test]
    fn a_missing_index_is_told_from_other_refusals() {
        let error = |code: &str, message: &'static str| {
            let source: Box<dyn std::error::Error + Send + Sync> = message.into();
            StoreError::DynamoDb(AwsError {
                service: "DynamoDB",
                operation: "read".into(),
                kind: FailureKind::of(code, 400),
                code: code.to_owned(),
                source: source.into(),
            })
        };
        // DynamoDB's own messages.
        for message in [
            "The table does not have the specified index: reference",
            "Cannot read from backfilling global secondary index: reference",
        ] {
            assert!(is_no_index(&error("ValidationException", message)), "{message}");
        }
        assert!(!is_no_index(&error("ValidationException", "The provided starting key is invalid")));
        assert!(!is_no_index(&error("AccessDeniedException", "not authorized on index/reference")));
        assert!(!is_no_index(&error("ResourceNotFoundException", "Requested resource not found")));
    }
}
