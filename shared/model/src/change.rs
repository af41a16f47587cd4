//! Changes: a write to one row, with the condition under which it is correct. A transaction makes
//! several changes, or none.

use crate::{Attribute, Key, Row, Value};

/// A condition on a row, as DynamoDB evaluates it: a comparison with an absent attribute is false,
/// except for [`IsNot`](Self::IsNot).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Condition {
    /// The attribute is present.
    Exists(Attribute),
    /// The attribute is absent.
    Absent(Attribute),
    /// The attribute has this value.
    Is(Attribute, Value),
    /// The attribute has another value, or is absent.
    IsNot(Attribute, Value),
    /// The attribute is less than this value.
    Below(Attribute, Value),
    /// The attribute is this value or less.
    AtMost(Attribute, Value),
    /// The attribute is more than this value.
    Above(Attribute, Value),
    /// The attribute is not a number: it is absent or damaged.
    NotANumber(Attribute),
    /// All of the conditions hold. An empty list always holds.
    All(Vec<Condition>),
    /// At least one of the conditions holds.
    Any(Vec<Condition>),
}

/// A write to one row.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Change {
    /// The key of the row.
    pub key: Key,
    /// The write's name in messages: a verb and its object.
    pub operation: &'static str,
    /// The condition of the write.
    pub when: Condition,
    /// The attributes that are set.
    pub set: Vec<(Attribute, Value)>,
    /// The attributes that are set if they are absent.
    pub set_if_absent: Vec<(Attribute, Value)>,
    /// The attributes that are removed.
    pub remove: Vec<Attribute>,
}

/// Writes and checks of several rows, all of them or none.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Transaction {
    /// The transaction's name in messages: a verb and its object.
    pub operation: &'static str,
    /// Its parts, one for each row.
    pub parts: Vec<Part>,
}

/// One row's part of a transaction.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Part {
    /// The row is changed.
    Update(Change),
    /// The row is replaced by this one if the condition holds.
    Put(Key, Row, Condition),
    /// The row is deleted if the condition holds.
    Delete(Key, Condition),
    /// The row stays unchanged, and the condition must hold.
    Check(Key, Condition),
}

impl Part {
    /// Returns the key of the row.
    #[must_use]
    pub fn key(&self) -> &Key {
        match self {
            Self::Update(change) => &change.key,
            Self::Put(key, ..) | Self::Delete(key, _) | Self::Check(key, _) => key,
        }
    }

    /// Returns the row after this part, or `None` if the condition does not hold. A row without
    /// attributes does not exist.
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

    /// Returns the condition that both hold.
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

    /// Returns true if the condition holds for `row`.
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
            Self::NotANumber(attribute) => !matches!(row.get(*attribute), Some(Value::Number(_))),
            Self::All(all) => all.iter().all(|condition| condition.holds(row)),
            Self::Any(any) => any.iter().any(|condition| condition.holds(row)),
        }
    }
}

impl Change {
    /// Creates a change that writes nothing yet.
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

    /// Sets an attribute if it is absent.
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

    /// Limits the number or time that this change sets in `attribute` to at most `most`.
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

    /// Removes attributes. DynamoDB refuses a change that names one of them twice.
    #[must_use]
    pub fn remove(mut self, attributes: &[Attribute]) -> Self {
        for attribute in attributes {
            if !self.remove.contains(attribute) {
                self.remove.push(*attribute);
            }
        }
        self
    }

    /// Returns true if `row` has the token id, or the confirmation of its token, that this change
    /// sets. A refused change was then made by an earlier attempt whose response was lost.
    #[must_use]
    pub fn is_made_in(&self, row: &Row) -> bool {
        let is_proof = |attribute| attribute == Attribute::TokenId || attribute == Attribute::VouchedUntil;
        self.set.iter().any(|(set, value)| is_proof(*set) && row.get(*set) == Some(value))
    }

    /// Returns the row after the change, or `None` if the condition does not hold.
    #[must_use]
    pub fn apply(&self, row: Row) -> Option<Row> {
        self.when.holds(&row).then(|| self.made(row))
    }

    /// Returns the row after the change, whose condition held.
    #[must_use]
    pub fn made(&self, mut row: Row) -> Row {
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
        row
    }
}
