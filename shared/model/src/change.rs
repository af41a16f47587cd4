//! Changes: what is written to one row, and the condition under which the write is right. A
//! transaction makes several of them, or none.

use crate::{Attribute, Key, Row, Value};

/// A condition on a row, as DynamoDB evaluates it: a comparison with an absent attribute does
/// not hold, but for [`IsNot`](Self::IsNot).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Condition {
    /// The attribute is there.
    Exists(Attribute),
    /// The attribute is not there.
    Absent(Attribute),
    /// The attribute has this value.
    Is(Attribute, Value),
    /// The attribute has another value.
    IsNot(Attribute, Value),
    /// The attribute is less than this value.
    Below(Attribute, Value),
    /// The attribute is this value or less.
    AtMost(Attribute, Value),
    /// The attribute is more than this value.
    Above(Attribute, Value),
    /// The attribute is no number: absent, or damaged.
    NoNumber(Attribute),
    /// All of them hold. Always, if there are none.
    All(Vec<Condition>),
    /// One of them holds.
    Any(Vec<Condition>),
}

/// A write to one row.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Change {
    /// The row.
    pub key: Key,
    /// The write's name in messages: a verb and its object.
    pub operation: &'static str,
    /// The condition.
    pub when: Condition,
    /// The attributes that are set.
    pub set: Vec<(Attribute, Value)>,
    /// The attributes that are set if they are not there.
    pub set_if_absent: Vec<(Attribute, Value)>,
    /// The attributes that are removed.
    pub remove: Vec<Attribute>,
}

/// Writes and checks of several rows: all of them or none.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Transaction {
    /// The transaction's name in messages: a verb and its object.
    pub operation: &'static str,
    /// Its parts, each of another row.
    pub parts: Vec<Part>,
}

/// One row's part of a transaction.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Part {
    /// The row is changed.
    Update(Change),
    /// The row is replaced by this one, if the condition holds.
    Put(Key, Row, Condition),
    /// The row is deleted, if the condition holds.
    Delete(Key, Condition),
    /// The row stays, and the condition has to hold.
    Check(Key, Condition),
}

impl Part {
    /// The row.
    #[must_use]
    pub fn key(&self) -> &Key {
        match self {
            Self::Update(change) => &change.key,
            Self::Put(key, ..) | Self::Delete(key, _) | Self::Check(key, _) => key,
        }
    }

    /// The row after this part, or nothing if its condition does not hold. A row without attributes
    /// is not there.
    #[must_use]
    pub fn apply(&self, row: Row) -> Option<Row> {
        match self {
            Self::Update(change) => {
                let mut row = change.apply(row)?;
                row.set(Attribute::Pk, change.key.as_str());
                Some(row)
            }
            Self::Put(_, new, when) => when.holds(&row).then(|| new.clone()),
            Self::Delete(_, when) => when.holds(&row).then(Row::default),
            Self::Check(_, when) => when.holds(&row).then_some(row),
        }
    }
}

impl Condition {
    /// The condition that always holds.
    pub const NONE: Self = Self::All(Vec::new());

    /// Both hold.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        match self {
            Self::All(mut all) => {
                all.push(other);
                Self::All(all)
            }
            one => Self::All(vec![one, other]),
        }
    }

    /// Whether it holds of `row`.
    #[must_use]
    pub fn holds(&self, row: &Row) -> bool {
        let compare =
            |attribute, value: &Value, holds: fn(i64, i64) -> bool| match (row.get(attribute), value) {
                (Some(Value::Number(left)), Value::Number(right)) => holds(*left, *right),
                _ => false,
            };
        match self {
            Self::Exists(attribute) => row.get(*attribute).is_some(),
            Self::Absent(attribute) => row.get(*attribute).is_none(),
            Self::Is(attribute, value) => row.get(*attribute) == Some(value),
            Self::IsNot(attribute, value) => row.get(*attribute) != Some(value),
            Self::Below(attribute, value) => compare(*attribute, value, |left, right| left < right),
            Self::AtMost(attribute, value) => compare(*attribute, value, |left, right| left <= right),
            Self::Above(attribute, value) => compare(*attribute, value, |left, right| left > right),
            Self::NoNumber(attribute) => !matches!(row.get(*attribute), Some(Value::Number(_))),
            Self::All(all) => all.iter().all(|condition| condition.holds(row)),
            Self::Any(any) => any.iter().any(|condition| condition.holds(row)),
        }
    }
}

impl Change {
    /// A change of nothing yet.
    #[must_use]
    pub fn of(key: Key, operation: &'static str, when: Condition) -> Self {
        Self { key, operation, when, set: Vec::new(), set_if_absent: Vec::new(), remove: Vec::new() }
    }

    /// Sets an attribute.
    #[must_use]
    pub fn set(mut self, attribute: Attribute, value: impl Into<Value>) -> Self {
        self.set.push((attribute, value.into()));
        self
    }

    /// Sets an attribute, unless it is there.
    #[must_use]
    pub fn set_if_absent(mut self, attribute: Attribute, value: impl Into<Value>) -> Self {
        self.set_if_absent.push((attribute, value.into()));
        self
    }

    /// Sets an attribute, or removes it if there is no value.
    #[must_use]
    pub fn set_or_remove(self, attribute: Attribute, value: Option<impl Into<Value>>) -> Self {
        match value {
            Some(value) => self.set(attribute, value),
            None => self.remove(&[attribute]),
        }
    }

    /// Lets a number or a time that is set in `attribute` be `most` at most.
    #[must_use]
    pub fn at_most(mut self, attribute: Attribute, most: impl Into<Value>) -> Self {
        let most = most.into();
        for (set, value) in &mut self.set {
            if let (Value::Number(number), Value::Number(most)) = (&mut *value, &most)
                && *set == attribute
            {
                *number = (*number).min(*most);
            }
        }
        self
    }

    /// Removes attributes.
    #[must_use]
    pub fn remove(mut self, attributes: &[Attribute]) -> Self {
        self.remove.extend_from_slice(attributes);
        self
    }

    /// Whether `row` holds what this change sets in `attribute`: then a refused change was made
    /// before, by an attempt whose answer was lost.
    #[must_use]
    pub fn is_made_in(&self, row: &Row, attribute: Attribute) -> bool {
        self.set.iter().any(|(set, value)| *set == attribute && row.get(attribute) == Some(value))
    }

    /// The row after the change, or nothing if its condition does not hold.
    #[must_use]
    pub fn apply(&self, mut row: Row) -> Option<Row> {
        if !self.when.holds(&row) {
            return None;
        }
        for (attribute, value) in &self.set_if_absent {
            if row.get(*attribute).is_none() {
                row.set(*attribute, value.clone());
            }
        }
        for (attribute, value) in &self.set {
            row.set(*attribute, value.clone());
        }
        for attribute in &self.remove {
            row.remove(*attribute);
        }
        Some(row)
    }
}
