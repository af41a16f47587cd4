//! All data about one person, in both tables.

use futures_util::{Stream, TryStreamExt};
use threads_auth_model::{Attribute, Condition, Key};
use threads_graph::UserId;

use crate::StoreError;
use crate::expression::Expressions;
use crate::item::Item;
use crate::table::{Store, stream};

/// The unconverted rows about one person.
#[derive(Debug)]
pub struct PersonalRows {
    /// The grant.
    pub grant: Option<Item>,
    /// The sessions that name the person.
    pub sessions: Vec<Item>,
    /// The row that outlives the grant: a tombstone, or the time of an end.
    pub tombstone: Option<Item>,
}

impl Store {
    /// Reads all data about a person.
    ///
    /// # Errors
    /// Returns [`StoreError`] if DynamoDB fails.
    pub async fn personal_rows(&self, user_id: &UserId, tombstone: &Key) -> Result<PersonalRows, StoreError> {
        Ok(PersonalRows {
            grant: self.read_item(&Key::grant(user_id), "read a grant").await?,
            sessions: self.sessions_of(user_id).try_collect().await?,
            tombstone: self.read_item(tombstone, "read a tombstone").await?,
        })
    }

    /// Reads the sessions that name a person, by a scan of the table. Such a read is rare and the
    /// rows live for days; an index would store one more trace of everybody.
    pub(crate) fn sessions_of(
        &self,
        user_id: &UserId,
    ) -> impl Stream<Item = Result<Item, StoreError>> + use<> {
        let mut expressions = Expressions::default();
        let names = |attribute| Condition::Is(attribute, user_id.as_str().into());
        let filter = Condition::Any(vec![names(Attribute::UserId), names(Attribute::ConnectedUserId)]);
        let pages = self
            .client
            .scan()
            .table_name(&self.short_lived)
            .consistent_read(true)
            .set_filter_expression(expressions.condition(&filter))
            .set_expression_attribute_names(expressions.names())
            .set_expression_attribute_values(expressions.values())
            .into_paginator()
            .items();
        stream(pages.send(), "find a user's sessions")
    }
}
