//! The rows of both tables, and what a write does to them.

use std::collections::BTreeMap;
use std::sync::Arc;

use threads_auth_model::{Change, Condition, Key, Part, Row, Transaction};

/// The rows of both tables.
pub type Rows = Arc<BTreeMap<Key, Row>>;

/// What a write came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is made.
    Done,
    /// The condition of the `n`th part did not hold, and this is what lay there.
    Refused(usize, Option<Row>),
}

/// A change as a transaction of one part.
#[must_use]
pub fn alone(change: Change) -> Transaction {
    Transaction { operation: change.operation, parts: vec![Part::Update(change)] }
}

/// The condition of a part.
#[must_use]
pub fn when(part: &Part) -> &Condition {
    match part {
        Part::Update(change) => &change.when,
        Part::Put(_, _, when) | Part::Delete(_, when) | Part::Check(_, when) => when,
    }
}

/// Makes all of a transaction, or nothing.
pub fn commit(transaction: &Transaction, rows: &mut Rows) -> Outcome {
    let mut written = Vec::new();
    for (n, part) in transaction.parts.iter().enumerate() {
        let row = rows.get(part.key());
        match part.apply(row.cloned().unwrap_or_default()) {
            Some(row) => written.push((part.key(), row)),
            None => return Outcome::Refused(n, row.cloned()),
        }
    }
    let rows = Arc::make_mut(rows);
    for (key, row) in written {
        if row == Row::default() {
            rows.remove(key);
        } else {
            rows.insert(key.clone(), row);
        }
    }
    Outcome::Done
}
