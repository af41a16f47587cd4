//! Rows: attributes and their values, independent of DynamoDB's encoding.
//!
//! Refuses an inconsistent row: the error names table, key and attribute, so that an operator finds
//! the row and a reader does not mistake it for something else.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use threads_graph::{Scope, Scopes};

use crate::{Attribute, Key, Pseudonym};

/// The value of an attribute.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum Value {
    /// Text.
    Text(String),
    /// A whole number. A time is a number of seconds since 1970.
    Number(i64),
    /// Sealed bytes.
    Bytes(Vec<u8>),
    /// A list of texts.
    List(Vec<String>),
    /// A value of a type that no attribute of ours uses.
    Other,
}

/// The attributes of one row that this crate knows. A row without any does not exist.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Row(BTreeMap<Attribute, Value>);

/// An inconsistent row.
///
/// Its text gets into logs, so it does not name a person by the Threads user id that the key of a
/// grant contains.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("table {table}, {}: attribute {attribute} is {problem}", self.place())]
pub struct Inconsistency {
    /// The table.
    pub table: String,
    /// The row's `pk`.
    pub key: String,
    /// The account's name in logs, if the row is a grant's and has one.
    pub pseudonym: Option<Pseudonym>,
    /// The attribute.
    pub attribute: Attribute,
    /// `missing` or `malformed`.
    pub problem: &'static str,
}

impl Inconsistency {
    /// Returns the error with the row's key, for an operator's screen.
    #[must_use]
    pub fn named(&self) -> String {
        let Self { table, key, attribute, problem, .. } = self;
        format!("table {table}, key {key}: attribute {attribute} is {problem}")
    }

    fn place(&self) -> String {
        match &self.pseudonym {
            Some(pseudonym) => format!("the account {pseudonym}"),
            None if self.key.starts_with(Key::USERS) => "an account without a pseudonym".to_owned(),
            None => format!("key {}", self.key),
        }
    }
}

/// Omits sealed bytes.
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
    /// Returns the value of an attribute.
    #[must_use]
    pub fn get(&self, attribute: Attribute) -> Option<&Value> {
        self.0.get(&attribute)
    }

    /// Returns the time of an attribute that holds milliseconds since 1970.
    #[must_use]
    pub fn millisecond(&self, attribute: Attribute) -> Option<Timestamp> {
        match self.get(attribute)? {
            Value::Number(number) => Timestamp::from_millisecond(*number).ok(),
            _ => None,
        }
    }

    /// Returns the text of an attribute.
    #[must_use]
    pub fn text(&self, attribute: Attribute) -> Option<&str> {
        match self.get(attribute)? {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// Returns the whole number of an attribute, if it is zero or more.
    #[must_use]
    pub fn count(&self, attribute: Attribute) -> Option<u64> {
        match self.get(attribute)? {
            Value::Number(number) => u64::try_from(*number).ok(),
            _ => None,
        }
    }

    /// Returns the time of an attribute that holds seconds since 1970.
    #[must_use]
    pub fn time(&self, attribute: Attribute) -> Option<Timestamp> {
        match self.get(attribute)? {
            Value::Number(second) => Timestamp::from_second(*second).ok(),
            _ => None,
        }
    }

    /// Returns the row's key.
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

    /// Returns a reader of this row of `table`.
    pub(crate) fn reader<'a>(&'a self, table: &'a str) -> Reader<'a> {
        Reader { table, row: self }
    }
}

/// Reads attributes, and names table and key in its errors.
pub(crate) struct Reader<'a> {
    table: &'a str,
    pub(crate) row: &'a Row,
}

impl Reader<'_> {
    /// Returns the error of an attribute that is needed.
    pub(crate) fn inconsistency(&self, attribute: Attribute) -> Inconsistency {
        Inconsistency {
            table: self.table.to_owned(),
            key: self.row.text(Attribute::Pk).unwrap_or("unknown").to_owned(),
            pseudonym: self.optional(Attribute::Pseudonym),
            attribute,
            problem: if self.row.get(attribute).is_some() { "malformed" } else { "missing" },
        }
    }

    /// Reads an attribute that the row must have.
    pub(crate) fn needed<T: FromStr>(&self, attribute: Attribute) -> Result<T, Inconsistency> {
        self.optional(attribute).ok_or_else(|| self.inconsistency(attribute))
    }

    /// Reads an attribute that the row may lack: a damaged one counts as absent.
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

    /// Reads sealed bytes. They may be absent, but any other value is damage.
    pub(crate) fn sealed(&self, attribute: Attribute) -> Result<Option<Vec<u8>>, Inconsistency> {
        match self.row.get(attribute) {
            None => Ok(None),
            Some(Value::Bytes(bytes)) => Ok(Some(bytes.clone())),
            Some(_) => Err(self.inconsistency(attribute)),
        }
    }

    /// Reads the scopes word by word, by short names or Meta's, and skips words that are not valid
    /// scopes. Parsing them as a request would add `threads_basic`.
    pub(crate) fn scopes(&self, attribute: Attribute) -> Scopes {
        let words = self.row.text(attribute).unwrap_or_default().split(',');
        words.filter_map(|word| word.parse::<Scope>().ok()).collect()
    }
}

/// Returns the text of scopes in a row: their short names. With Meta's, the row of a person who has
/// granted many scopes would exceed the kilobyte that a write unit pays for.
pub(crate) fn scopes_text(scopes: &Scopes) -> String {
    let names: Vec<_> = scopes.iter().map(|scope| scope.short_name().to_owned()).collect();
    names.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_are_read_by_the_names_of_every_version() {
        let granted: Scopes =
            Scopes::all().into_iter().chain(["threads_new_permission".parse().unwrap()]).collect();
        for text in [scopes_text(&granted), granted.to_string()] {
            let row: Row = [(Attribute::Scopes, text.as_str().into())].into_iter().collect();
            assert_eq!(row.reader("grants").scopes(Attribute::Scopes), granted, "{text}");
        }
        assert_eq!(scopes_text(&Scopes::all()).len() + 103, Scopes::all().to_string().len());
    }
}
