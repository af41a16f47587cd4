//! The rows of both tables, and the effect of a write on them.

use std::collections::BTreeMap;
use std::sync::Arc;

use threads_auth_model::{Change, Condition, Key, Part, Row, Transaction};

/// The rows of both tables.
pub type Rows = Arc<BTreeMap<Key, Row>>;

/// The outcome of a write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The write was made.
    Done,
    /// The condition of the part with this index did not hold, for this row.
    Refused(usize, Option<Row>),
}

/// Wraps a change in a transaction with one part.
#[must_use]
pub fn alone(change: Change) -> Transaction {
    Transaction { operation: change.operation, parts: vec![Part::Update(change)] }
}

/// Returns the condition of a part.
#[must_use]
pub fn when(part: &Part) -> &Condition {
    match part {
        Part::Update(change) => &change.when,
        Part::Put(_, _, when) | Part::Delete(_, when) | Part::Check(_, when) => when,
    }
}

/// Makes all parts of a transaction, or none.
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
