//! Rows: attributes and their values, apart from how a database spells them.
//!
//! Refuses a row that does not make sense: the error names table, key and attribute, so that one
//! broken row is found and never mistaken for something else.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use threads_graph::{Scope, Scopes};

use crate::{Attribute, Key};

/// A value.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum Value {
    /// Text.
    Text(String),
    /// A whole number. A time is its second.
    Number(i64),
    /// Bytes: something sealed.
    Bytes(Vec<u8>),
    /// Texts in order.
    List(Vec<String>),
    /// A value that no attribute of ours holds.
    Other,
}

/// The attributes of one row that are ours. A row without any is not there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Row(BTreeMap<Attribute, Value>);

/// A row that does not make sense.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("table {table}, key {key}: attribute {attribute} is {problem}")]
pub struct Inconsistency {
    /// The table.
    pub table: String,
    /// The row's `pk`.
    pub key: String,
    /// The attribute.
    pub attribute: Attribute,
    /// `missing` or `malformed`.
    pub problem: &'static str,
}

/// Without sealed bytes.
impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => write!(f, "{text:?}"),
            Self::Number(number) => write!(f, "{number}"),
            Self::Bytes(bytes) => write!(f, "{} bytes", bytes.len()),
            Self::List(list) => write!(f, "{list:?}"),
            Self::Other => f.write_str("other"),
        }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<&[u8]> for Value {
    fn from(bytes: &[u8]) -> Self {
        Self::Bytes(bytes.to_vec())
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Number(number)
    }
}

impl From<Timestamp> for Value {
    fn from(time: Timestamp) -> Self {
        Self::Number(time.as_second())
    }
}

impl FromIterator<(Attribute, Value)> for Row {
    fn from_iter<I: IntoIterator<Item = (Attribute, Value)>>(attributes: I) -> Self {
        Self(attributes.into_iter().collect())
    }
}

impl IntoIterator for Row {
    type Item = (Attribute, Value);
    type IntoIter = std::collections::btree_map::IntoIter<Attribute, Value>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl Row {
    /// The value of an attribute.
    #[must_use]
    pub fn get(&self, attribute: Attribute) -> Option<&Value> {
        self.0.get(&attribute)
    }

    /// The time of an attribute that counts milliseconds.
    #[must_use]
    pub fn millisecond(&self, attribute: Attribute) -> Option<Timestamp> {
        match self.get(attribute)? {
            Value::Number(number) => Timestamp::from_millisecond(*number).ok(),
            _ => None,
        }
    }

    /// The text of an attribute.
    #[must_use]
    pub fn text(&self, attribute: Attribute) -> Option<&str> {
        match self.get(attribute)? {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The whole number in an attribute, if it is none below zero.
    #[must_use]
    pub fn count(&self, attribute: Attribute) -> Option<u64> {
        match self.get(attribute)? {
            Value::Number(number) => u64::try_from(*number).ok(),
            _ => None,
        }
    }

    /// The time in an attribute.
    #[must_use]
    pub fn time(&self, attribute: Attribute) -> Option<Timestamp> {
        match self.get(attribute)? {
            Value::Number(second) => Timestamp::from_second(*second).ok(),
            _ => None,
        }
    }

    /// The row's key.
    #[must_use]
    pub fn key(&self) -> Option<Key> {
        self.text(Attribute::Pk).map(|key| key.to_owned().into())
    }

    /// Sets an attribute, as a [`Change`](crate::Change) does.
    pub fn set(&mut self, attribute: Attribute, value: impl Into<Value>) {
        self.0.insert(attribute, value.into());
    }

    /// Removes an attribute.
    pub fn remove(&mut self, attribute: Attribute) {
        self.0.remove(&attribute);
    }

    /// Reads this row of `table`.
    pub(crate) fn reader<'a>(&'a self, table: &'a str) -> Reader<'a> {
        Reader { table, row: self }
    }
}

/// Reads attributes, and knows where it is when one does not make sense.
pub(crate) struct Reader<'a> {
    table: &'a str,
    pub(crate) row: &'a Row,
}

impl Reader<'_> {
    /// The error of a needed attribute.
    pub(crate) fn inconsistency(&self, attribute: Attribute) -> Inconsistency {
        Inconsistency {
            table: self.table.to_owned(),
            key: self.row.text(Attribute::Pk).unwrap_or("unknown").to_owned(),
            attribute,
            problem: if self.row.get(attribute).is_some() { "malformed" } else { "missing" },
        }
    }

    /// An attribute without which the row is of no use.
    pub(crate) fn needed<T: FromStr>(&self, attribute: Attribute) -> Result<T, Inconsistency> {
        self.optional(attribute).ok_or_else(|| self.inconsistency(attribute))
    }

    /// An attribute that the row can do without: a damaged one counts as absent.
    pub(crate) fn optional<T: FromStr>(&self, attribute: Attribute) -> Option<T> {
        match self.row.get(attribute)? {
            Value::Text(text) => text.parse().ok(),
            Value::Number(number) => number.to_string().parse().ok(),
            _ => None,
        }
    }

    pub(crate) fn time(&self, attribute: Attribute) -> Option<Timestamp> {
        self.row.time(attribute)
    }

    pub(crate) fn needed_time(&self, attribute: Attribute) -> Result<Timestamp, Inconsistency> {
        self.time(attribute).ok_or_else(|| self.inconsistency(attribute))
    }

    /// Sealed bytes. Absent is a state, but bytes that are none are damage.
    pub(crate) fn sealed(&self, attribute: Attribute) -> Result<Option<Vec<u8>>, Inconsistency> {
        match self.row.get(attribute) {
            None => Ok(None),
            Some(Value::Bytes(bytes)) => Ok(Some(bytes.clone())),
            Some(_) => Err(self.inconsistency(attribute)),
        }
    }

    /// The scopes that are written, but for words that cannot be Meta's: to parse them as a request
    /// would add the basic one.
    pub(crate) fn scopes(&self, attribute: Attribute) -> Scopes {
        let words = self.row.text(attribute).unwrap_or_default().split(',');
        words.filter_map(|word| word.parse::<Scope>().ok()).collect()
    }
}
