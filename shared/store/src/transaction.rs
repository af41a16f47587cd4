//! Writes of several rows: all of them or none.

use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::{
    ConditionCheck, Delete, Put, ReturnValuesOnConditionCheckFailure, TransactWriteItem, Update,
};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use threads_auth_model::{Attribute, Change, Condition, Key, Row};

use crate::StoreError;
use crate::error::{canceled, unbuildable};
use crate::expression::Expressions;
use crate::item::{Item, row};
use crate::table::{Store, pk};

/// A transaction in the making.
pub(crate) struct Transaction<'a> {
    store: &'a Store,
    operation: &'static str,
    items: Vec<TransactWriteItem>,
}

/// The outcome of a transaction.
pub(crate) enum Committed {
    Done,
    /// The condition of the `n`th row did not hold, and this is what lay there.
    Refused(usize, Row),
}

/// Builds one of the SDK's four kinds of items, each with the same setters, under a condition.
macro_rules! push {
    ($self:ident, $kind:ident, $builder:expr, $key:expr, $when:expr, $expressions:ident) => {{
        let item = $builder
            .table_name($self.store.table($key))
            .set_condition_expression($expressions.condition($when))
            .set_expression_attribute_names($expressions.names())
            .set_expression_attribute_values($expressions.values())
            .build()
            .map_err(unbuildable($self.operation))?;
        $self.items.push(TransactWriteItem::builder().$kind(item).build());
        Ok($self)
    }};
}

impl Store {
    pub(crate) fn transaction(&self, operation: &'static str) -> Transaction<'_> {
        Transaction { store: self, operation, items: Vec::new() }
    }
}

impl Transaction<'_> {
    /// Changes a row.
    pub(crate) fn update(mut self, change: &Change) -> Result<Self, StoreError> {
        let mut expressions = Expressions::default();
        let builder = Update::builder()
            .key(Attribute::Pk.as_str(), pk(&change.key))
            .update_expression(expressions.update(change));
        push!(self, update, builder, &change.key, &change.when, expressions)
    }

    /// Puts an item under a condition.
    pub(crate) fn put(mut self, key: &Key, item: Item, when: &Condition) -> Result<Self, StoreError> {
        let mut expressions = Expressions::default();
        let old = ReturnValuesOnConditionCheckFailure::AllOld;
        let builder = Put::builder().set_item(Some(item)).return_values_on_condition_check_failure(old);
        push!(self, put, builder, key, when, expressions)
    }

    /// Deletes a row under a condition.
    pub(crate) fn delete(mut self, key: &Key, when: &Condition) -> Result<Self, StoreError> {
        let mut expressions = Expressions::default();
        let builder = Delete::builder().key(Attribute::Pk.as_str(), pk(key));
        push!(self, delete, builder, key, when, expressions)
    }

    /// Checks a condition of a row that is not written.
    pub(crate) fn check(mut self, key: &Key, when: &Condition) -> Result<Self, StoreError> {
        let mut expressions = Expressions::default();
        let builder = ConditionCheck::builder().key(Attribute::Pk.as_str(), pk(key));
        push!(self, condition_check, builder, key, when, expressions)
    }

    pub(crate) async fn commit(self) -> Result<Committed, StoreError> {
        let request = self.store.client.transact_write_items();
        match request.set_transact_items(Some(self.items)).send().await {
            Ok(_) => Ok(Committed::Done),
            Err(error) => refused(&error).ok_or_else(|| canceled(self.operation, error)),
        }
    }
}

/// The first row whose condition did not hold.
fn refused(error: &SdkError<TransactWriteItemsError, HttpResponse>) -> Option<Committed> {
    let Some(TransactWriteItemsError::TransactionCanceledException(canceled)) = error.as_service_error()
    else {
        return None;
    };
    let reasons = canceled.cancellation_reasons().iter();
    let (n, reason) =
        reasons.enumerate().find(|(_, reason)| reason.code() == Some("ConditionalCheckFailed"))?;
    Some(Committed::Refused(n, reason.item().map(row).unwrap_or_default()))
}
