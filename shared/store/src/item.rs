//! The conversion between rows and DynamoDB's items.

use std::collections::HashMap;

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use threads_auth_model::{Attribute, Row, Value};

/// A DynamoDB item.
pub type Item = HashMap<String, AttributeValue>;

/// Returns the attributes of an item that we know, as a row.
#[must_use]
pub fn row(item: &Item) -> Row {
    item.iter().filter_map(|(name, value)| Some((name.parse().ok()?, value_of(value)))).collect()
}

/// Returns the item of a row.
pub(crate) fn item(row: Row) -> Item {
    row.into_iter()
        .map(|(attribute, value)| (attribute.as_str().to_owned(), attribute_value(&value)))
        .collect()
}

/// Replaces the attributes of an item by those of `row`. Attributes that we do not know stay, and
/// so do values of a type that ours never have.
pub(crate) fn rewritten(mut item: Item, row: Row) -> Item {
    for attribute in Attribute::ALL {
        if row.get(attribute).is_none() {
            item.remove(attribute.as_str());
        }
    }
    let ours = row.into_iter().filter(|(_, value)| *value != Value::Other);
    item.extend(ours.map(|(attribute, value)| (attribute.as_str().to_owned(), attribute_value(&value))));
    item
}

pub(crate) fn attribute_value(value: &Value) -> AttributeValue {
    match value {
        Value::Text(text) => AttributeValue::S(text.clone()),
        Value::Number(number) => AttributeValue::N(number.to_string()),
        Value::Bytes(bytes) => AttributeValue::B(Blob::new(bytes.as_slice())),
        Value::List(texts) => AttributeValue::L(texts.iter().cloned().map(AttributeValue::S).collect()),
        Value::Other => AttributeValue::Null(true),
    }
}

fn value_of(value: &AttributeValue) -> Value {
    match value {
        AttributeValue::S(text) => Value::Text(text.clone()),
        AttributeValue::N(number) => number.parse().map_or(Value::Other, Value::Number),
        AttributeValue::B(bytes) => Value::Bytes(bytes.as_ref().to_vec()),
        AttributeValue::L(list) => list
            .iter()
            .map(|value| value.as_s().ok().cloned())
            .collect::<Option<_>>()
            .map_or(Value::Other, Value::List),
        _ => Value::Other,
    }
}
