//! Mutants: writes of the rules, each with one of its parts removed.

use std::fmt;

use threads_auth_model::{Attribute, Change, Condition, Part, Transaction};

use crate::tables::when;

/// A write without one of its parts.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mutant {
    /// The write.
    pub operation: &'static str,
    /// The part.
    pub without: Without,
}

/// A part of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Without {
    /// The condition on an attribute.
    Condition(Attribute),
    /// The removal of an attribute.
    Remove(Attribute),
    /// The setting of an attribute.
    Set(Attribute),
}

impl fmt::Display for Mutant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let operation = self.operation;
        match self.without {
            Without::Condition(attribute) => write!(f, "{operation}, whatever {attribute} is"),
            Without::Remove(attribute) => write!(f, "{operation}, and leave {attribute}"),
            Without::Set(attribute) => write!(f, "{operation}, without {attribute}"),
        }
    }
}

impl Mutant {
    /// Returns the write without that part.
    #[must_use]
    pub fn apply(&self, transaction: &Transaction) -> Transaction {
        let mut transaction = transaction.clone();
        for part in &mut transaction.parts {
            let is_meant = match part {
                Part::Update(change) => [change.operation, transaction.operation].contains(&self.operation),
                _ => transaction.operation == self.operation,
            };
            if !is_meant {
                continue;
            }
            match self.without {
                Without::Condition(attribute) => {
                    let when = match part {
                        Part::Update(change) => &mut change.when,
                        Part::Put(_, _, when) | Part::Delete(_, when) | Part::Check(_, when) => when,
                    };
                    *when = without(when, attribute);
                }
                Without::Remove(attribute) => {
                    if let Part::Update(change) = part {
                        change.remove.retain(|removed| *removed != attribute);
                    }
                }
                Without::Set(attribute) => {
                    if let Part::Update(change) = part {
                        change.set.retain(|(set, _)| *set != attribute);
                        change.set_if_absent.retain(|(set, _)| *set != attribute);
                    }
                }
            }
        }
        transaction
    }

    /// Adds all mutants of a write.
    pub fn of(transaction: &Transaction, mutants: &mut Vec<Self>) {
        for part in &transaction.parts {
            let operation = match part {
                Part::Update(Change { operation, .. }) => operation,
                _ => transaction.operation,
            };
            let mut attributes = Vec::new();
            named(when(part), &mut attributes);
            let mut without: Vec<_> = attributes.into_iter().map(Without::Condition).collect();
            if let Part::Update(change) = part {
                without.extend(change.remove.iter().copied().map(Without::Remove));
                let set = change.set.iter().chain(&change.set_if_absent);
                without.extend(set.map(|(attribute, _)| Without::Set(*attribute)));
            }
            mutants.extend(without.into_iter().map(|without| Self { operation, without }));
        }
        mutants.sort_unstable();
        mutants.dedup();
    }
}

/// Returns the condition without its demands on an attribute.
fn without(condition: &Condition, attribute: Attribute) -> Condition {
    let parts = |parts: &[Condition]| parts.iter().map(|part| without(part, attribute)).collect();
    match condition {
        Condition::All(all) => Condition::All(parts(all)),
        Condition::Any(any) => Condition::Any(parts(any)),
        other if of(other) == Some(attribute) => Condition::NONE,
        other => other.clone(),
    }
}

fn named(condition: &Condition, attributes: &mut Vec<Attribute>) {
    match condition {
        Condition::All(parts) | Condition::Any(parts) => {
            for part in parts {
                named(part, attributes);
            }
        }
        other => attributes.extend(of(other)),
    }
}

fn of(condition: &Condition) -> Option<Attribute> {
    match condition {
        Condition::Exists(attribute)
        | Condition::Absent(attribute)
        | Condition::NotANumber(attribute)
        | Condition::Is(attribute, _)
        | Condition::IsNot(attribute, _)
        | Condition::Below(attribute, _)
        | Condition::AtMost(attribute, _)
        | Condition::Above(attribute, _) => Some(*attribute),
        Condition::All(_) | Condition::Any(_) => None,
    }
}
