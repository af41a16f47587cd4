//! DynamoDB expressions, built so that no attribute name is ever taken for a reserved word.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;
use jiff::Timestamp;

/// An update and the condition under which it is made. In a condition, `#name` is an attribute and `:name` a value given with
/// [`Change::value`] or one that the change sets.
#[derive(Default)]
pub(super) struct Change {
    set: Vec<String>,
    remove: Vec<String>,
    condition: String,
    values: HashMap<String, AttributeValue>,
}

impl Change {
    pub(super) fn when(condition: &str) -> Self {
        Self {
            condition: condition.to_owned(),
            ..Self::default()
        }
    }

    pub(super) fn value(mut self, name: &str, value: AttributeValue) -> Self {
        self.values.insert(format!(":{name}"), value);
        self
    }

    pub(super) fn set(mut self, name: &str, value: AttributeValue) -> Self {
        self.set.push(format!("#{name} = :{name}"));
        self.value(name, value)
    }

    pub(super) fn set_if_absent(mut self, name: &str, value: AttributeValue) -> Self {
        self.set
            .push(format!("#{name} = if_not_exists(#{name}, :{name})"));
        self.value(name, value)
    }

    pub(super) fn remove(mut self, names: &[&str]) -> Self {
        self.remove.extend(names.iter().map(|name| format!("#{name}")));
        self
    }

    pub(super) fn update(&self) -> String {
        let mut clauses = Vec::new();
        if !self.set.is_empty() {
            clauses.push(format!("SET {}", self.set.join(", ")));
        }
        if !self.remove.is_empty() {
            clauses.push(format!("REMOVE {}", self.remove.join(", ")));
        }
        clauses.join(" ")
    }

    pub(super) fn condition(&self) -> Option<String> {
        (!self.condition.is_empty()).then(|| self.condition.clone())
    }

    pub(super) fn names(&self) -> HashMap<String, String> {
        names(&format!("{} {}", self.update(), self.condition))
    }

    pub(super) fn values(&self) -> Option<HashMap<String, AttributeValue>> {
        (!self.values.is_empty()).then(|| self.values.clone())
    }
}

/// The `#name` placeholders of an expression, each for the attribute of that name.
pub(super) fn names(expression: &str) -> HashMap<String, String> {
    let ends_name = |c: char| !(c.is_ascii_alphanumeric() || c == '_');
    expression
        .split('#')
        .skip(1)
        .filter_map(|rest| rest.split(ends_name).next())
        .map(|name| (format!("#{name}"), name.to_owned()))
        .collect()
}

pub(super) fn text(value: impl Into<String>) -> AttributeValue {
    AttributeValue::S(value.into())
}

pub(super) fn bytes(value: &[u8]) -> AttributeValue {
    AttributeValue::B(aws_sdk_dynamodb::primitives::Blob::new(value))
}

pub(super) fn number(value: impl std::fmt::Display) -> AttributeValue {
    AttributeValue::N(value.to_string())
}

pub(super) fn time(value: Timestamp) -> AttributeValue {
    number(value.as_second())
}
