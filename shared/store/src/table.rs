//! Reads and writes of one row.

use std::borrow::Cow;
use std::error::Error as StdError;

use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValue, ReturnValuesOnConditionCheckFailure};
use aws_smithy_async::future::pagination_stream::PaginationStream;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use futures_util::stream::{self, Stream};
use jiff::SignedDuration;
use threads_auth_model::{Attribute, Change, Key, Pseudonym, Row, schedule};
use threads_graph::UserId;

use crate::StoreError;
use crate::error::failed;
use crate::expression::Expressions;
use crate::item::{Item, row};

/// The two tables and their client.
#[derive(Clone)]
pub struct Store {
    pub(crate) client: aws_sdk_dynamodb::Client,
    pub(crate) grants: String,
    pub(crate) short_lived: String,
    look_every: Option<SignedDuration>,
}

/// One of the two tables.
#[derive(Clone, Copy, Debug)]
pub enum Table {
    /// The table of grants.
    Grants,
    /// The table of short-lived rows.
    ShortLived,
}

/// The outcome of a conditional write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteOutcome {
    /// It is stored.
    Stored,
    /// The row holds something newer, which stays.
    Superseded,
    /// The row does not exist.
    Gone,
}

/// The result of a conditional change: the row after it, or the row that refused it.
pub(crate) enum Changed {
    Done(Row),
    Refused(Row),
    Gone,
}

impl Changed {
    /// Returns the outcome of `change`. If a refusing row shows that it is made, an earlier attempt
    /// succeeded and its response was lost.
    pub(crate) fn outcome_of(&self, change: &Change) -> WriteOutcome {
        match self {
            Self::Refused(row) if !change.is_made_in(row) => WriteOutcome::Superseded,
            Self::Done(_) | Self::Refused(_) => WriteOutcome::Stored,
            Self::Gone => WriteOutcome::Gone,
        }
    }
}

impl Store {
    /// Creates the store of the tables `grants` and `short_lived`.
    #[must_use]
    pub fn new(client: aws_sdk_dynamodb::Client, grants: &str, short_lived: &str) -> Self {
        Self { client, grants: grants.to_owned(), short_lived: short_lived.to_owned(), look_every: None }
    }

    /// Sets the time within which every grant is checked once. [`schedule::look_within`] applies it
    /// to each change, whichever operation makes it.
    #[must_use]
    pub fn looking_every(self, look_every: Option<SignedDuration>) -> Self {
        Self { look_every, ..self }
    }

    /// Returns a change as it is sent.
    pub(crate) fn sent<'a>(&self, change: &'a Change) -> Cow<'a, Change> {
        match self.look_every {
            Some(every) => Cow::Owned(schedule::look_within(every, change.clone())),
            None => Cow::Borrowed(change),
        }
    }

    /// Returns the grants table's name, which tokens of the first format are bound to.
    #[must_use]
    pub fn grants_table(&self) -> &str {
        &self.grants
    }

    pub(crate) fn table(&self, key: &Key) -> &str {
        if key.is_short_lived() { &self.short_lived } else { &self.grants }
    }

    /// Opens a connection to DynamoDB with the cheapest request: a read of a row that no table has.
    ///
    /// # Errors
    /// Returns [`StoreError`] if DynamoDB fails.
    pub async fn connect(&self, table: Table) -> Result<(), StoreError> {
        let table = match table {
            Table::Grants => &self.grants,
            Table::ShortLived => &self.short_lived,
        };
        let no_row = AttributeValue::S("none".to_owned());
        let request = self.client.get_item().table_name(table).key(Attribute::Pk.as_str(), no_row);
        request.send().await.map_err(failed("open a connection"))?;
        Ok(())
    }

    /// Reads one row. The read is strongly consistent.
    pub(crate) async fn read(&self, key: &Key, operation: &'static str) -> Result<Option<Row>, StoreError> {
        Ok(self.read_item(key, operation).await?.as_ref().map(row))
    }

    /// Reads one row with the attributes that we do not know.
    pub(crate) async fn read_item(
        &self,
        key: &Key,
        operation: &'static str,
    ) -> Result<Option<Item>, StoreError> {
        let request = self.client.get_item().table_name(self.table(key)).consistent_read(true);
        let answer = request.key(Attribute::Pk.as_str(), pk(key)).send().await;
        Ok(answer.map_err(failed(operation))?.item)
    }

    /// Makes a change if its condition holds.
    ///
    /// # Errors
    /// Returns [`StoreError`] if DynamoDB fails.
    pub async fn write(&self, change: &Change) -> Result<WriteOutcome, StoreError> {
        Ok(self.change(change).await?.outcome_of(change))
    }

    /// Makes a change of a grant if its condition holds, and returns the account's name in logs
    /// with the outcome.
    ///
    /// # Errors
    /// Returns [`StoreError`] if DynamoDB fails.
    pub async fn write_named(
        &self,
        change: &Change,
    ) -> Result<(WriteOutcome, Option<Pseudonym>), StoreError> {
        let changed = self.change(change).await?;
        let pseudonym = match &changed {
            Changed::Done(row) | Changed::Refused(row) => pseudonym_of(row),
            Changed::Gone => None,
        };
        Ok((changed.outcome_of(change), pseudonym))
    }

    /// Returns an account's name in logs, if it has one.
    ///
    /// # Errors
    /// Returns [`StoreError`] if DynamoDB fails.
    pub async fn pseudonym(&self, user_id: &UserId) -> Result<Option<Pseudonym>, StoreError> {
        let row = self.read(&Key::grant(user_id), "read a grant").await?;
        Ok(row.as_ref().and_then(pseudonym_of))
    }

    pub(crate) async fn change(&self, change: &Change) -> Result<Changed, StoreError> {
        self.change_returning(change, ReturnValue::AllNew).await
    }

    /// Makes a change if its condition holds, and returns the row after it, or with
    /// [`ReturnValue::AllOld`] the row before it.
    pub(crate) async fn change_returning(
        &self,
        change: &Change,
        returned: ReturnValue,
    ) -> Result<Changed, StoreError> {
        let change = &*self.sent(change);
        let mut expressions = Expressions::default();
        let answer = self
            .client
            .update_item()
            .table_name(self.table(&change.key))
            .key(Attribute::Pk.as_str(), pk(&change.key))
            .update_expression(expressions.update(change))
            .set_condition_expression(expressions.condition(&change.when))
            .set_expression_attribute_names(expressions.names())
            .set_expression_attribute_values(expressions.values())
            .return_values(returned)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .send()
            .await;
        match answer {
            Ok(output) => Ok(Changed::Done(row(&output.attributes.unwrap_or_default()))),
            Err(error) => match error.as_service_error() {
                Some(UpdateItemError::ConditionalCheckFailedException(refused)) => {
                    let old = refused.item().filter(|item| !item.is_empty());
                    Ok(old.map_or(Changed::Gone, |item| Changed::Refused(row(item))))
                }
                _ => Err(failed(change.operation)(error)),
            },
        }
    }

    /// Puts an item unless its key exists. Returns true if it was put.
    pub(crate) async fn put_if_absent(
        &self,
        table: &str,
        item: Item,
        operation: &'static str,
    ) -> Result<bool, StoreError> {
        let request = self.client.put_item().table_name(table).set_item(Some(item));
        let absent = format!("attribute_not_exists({})", Attribute::Pk);
        match request.condition_expression(absent).send().await {
            Ok(_) => Ok(true),
            Err(error) => match error.as_service_error() {
                Some(PutItemError::ConditionalCheckFailedException(_)) => Ok(false),
                _ => Err(failed(operation)(error)),
            },
        }
    }
}

fn pseudonym_of(row: &Row) -> Option<Pseudonym> {
    row.text(Attribute::Pseudonym)?.parse().ok()
}

pub(crate) fn pk(key: &Key) -> AttributeValue {
    AttributeValue::S(key.as_str().to_owned())
}

/// Returns the items of all pages of an `operation`. The stream ends at the first failure.
pub(crate) fn stream<T, E>(
    pages: PaginationStream<Result<T, SdkError<E, HttpResponse>>>,
    operation: &'static str,
) -> impl Stream<Item = Result<T, StoreError>>
where
    E: StdError + ProvideErrorMetadata + Send + Sync + 'static,
{
    stream::unfold(pages, move |mut pages| async move {
        let next = pages.next().await?;
        Some((next.map_err(failed(operation)), pages))
    })
}
