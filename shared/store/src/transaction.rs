//! Writes of several rows: all of them or none.

use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::{
    ConditionCheck, Delete, Put, ReturnValuesOnConditionCheckFailure, TransactWriteItem, Update,
};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use threads_auth_model::{Attribute, Condition, Key, Part, Row, Transaction};

use crate::StoreError;
use crate::error::{canceled, unbuildable};
use crate::expression::Expressions;
use crate::item::{Item, item, row};
use crate::table::{Store, pk};

/// The outcome of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Committed {
    /// All parts were written.
    Done,
    /// The condition of the part with this index did not hold, for this row.
    Refused(usize, Row),
}

/// Builds one of the SDK's four kinds of items under a condition. They share their setters, but no
/// trait.
macro_rules! build {
    ($store:ident, $operation:ident, $kind:ident, $builder:expr, $key:expr, $when:expr, $expressions:ident) => {
        $builder
            .table_name($store.table($key))
            .set_condition_expression($expressions.condition($when))
            .set_expression_attribute_names($expressions.names())
            .set_expression_attribute_values($expressions.values())
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .build()
            .map(|item| TransactWriteItem::builder().$kind(item).build())
            .map_err(unbuildable($operation))
    };
}

impl Store {
    /// Writes all parts of a transaction, or none.
    ///
    /// # Errors
    /// Returns [`StoreError`] if DynamoDB fails.
    pub async fn transact(&self, transaction: &Transaction) -> Result<Committed, StoreError> {
        let Transaction { operation, parts } = transaction;
        let items: Result<Vec<_>, _> = parts.iter().map(|part| self.transact_item(operation, part)).collect();
        self.commit(operation, items?).await
    }

    /// Puts an unconverted item under a condition, if another row fulfills its own.
    pub(crate) async fn put_if(
        &self,
        operation: &'static str,
        (key, new, when): (&Key, Item, &Condition),
        other: &Part,
    ) -> Result<Committed, StoreError> {
        let put = self.put_item(operation, key, new, when)?;
        self.commit(operation, vec![put, self.transact_item(operation, other)?]).await
    }

    fn transact_item(&self, operation: &'static str, part: &Part) -> Result<TransactWriteItem, StoreError> {
        let mut expressions = Expressions::default();
        match part {
            Part::Update(change) => {
                let change = &*self.sent(change);
                let builder = Update::builder()
                    .key(Attribute::Pk.as_str(), pk(&change.key))
                    .update_expression(expressions.update(change));
                build!(self, operation, update, builder, &change.key, &change.when, expressions)
            }
            Part::Put(key, new, when) => self.put_item(operation, key, item(new.clone()), when),
            Part::Delete(key, when) => {
                let builder = Delete::builder().key(Attribute::Pk.as_str(), pk(key));
                build!(self, operation, delete, builder, key, when, expressions)
            }
            Part::Check(key, when) => {
                let builder = ConditionCheck::builder().key(Attribute::Pk.as_str(), pk(key));
                build!(self, operation, condition_check, builder, key, when, expressions)
            }
        }
    }

    fn put_item(
        &self,
        operation: &'static str,
        key: &Key,
        new: Item,
        when: &Condition,
    ) -> Result<TransactWriteItem, StoreError> {
        let mut expressions = Expressions::default();
        let builder = Put::builder().set_item(Some(new));
        build!(self, operation, put, builder, key, when, expressions)
    }

    async fn commit(
        &self,
        operation: &'static str,
        items: Vec<TransactWriteItem>,
    ) -> Result<Committed, StoreError> {
        match self.client.transact_write_items().set_transact_items(Some(items)).send().await {
            Ok(_) => Ok(Committed::Done),
            Err(error) => refused(&error).ok_or_else(|| canceled(operation, error)),
        }
    }
}

/// Returns the first row whose condition did not hold.
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
