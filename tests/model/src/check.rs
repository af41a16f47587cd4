//! A scenario, and the check that explores it.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use threads_auth_model::Transaction;

use crate::meta::{Behaviour, DAY, LIFE};
use crate::mutant::Mutant;
use crate::world::{Job, Left, World};

/// Instants before the token is due.
pub const NOW: &[i64] = &[30 * DAY, 45 * DAY];
/// The same, with one after every lease in between.
pub const EARLY: &[i64] = &[30 * DAY, 30 * DAY + 1_800, 45 * DAY];
/// Instants for most scenarios: the token is due, then a suspicion is old enough and every lease is
/// over.
pub const DUE: &[i64] = &[45 * DAY, 45 * DAY + 1_800];
/// The same, and a day later.
pub const DAYS: &[i64] = &[45 * DAY, 45 * DAY + 1_800, 46 * DAY + 3_600];
/// Instants up to the end of the token's time, for an appeal.
pub const END: &[i64] = &[45 * DAY, 46 * DAY + 3_600, LIFE + DAY];
/// The same without the instant at which the token is due.
pub const APPEAL: &[i64] = &[46 * DAY + 3_600, LIFE + DAY];

/// The initial state of a scenario.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// Nobody has connected yet.
    Empty,
    /// Somebody connected on the first day.
    Connected,
    /// Somebody connected, and Meta demanded a checkpoint that the person has passed since.
    Appealable,
    /// Somebody connected and changed the password, and the verdict was held back.
    Suspected,
}

/// The workers of a scenario, and the failures that may occur.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// Its name.
    pub name: &'static str,
    /// The initial state.
    pub start: Start,
    /// Meta's treatment of a token that was refreshed.
    pub behaviour: Behaviour,
    /// The instants in seconds. The clock may advance to the next one at any moment.
    pub instants: &'static [i64],
    /// The workers, with the seconds by which each clock is ahead.
    pub workers: Vec<(Job, i64)>,
    /// Number of times that Meta repeats each message.
    pub repeats: u8,
    /// The failures that may occur.
    pub left: Left,
    /// True if each new token is tried once.
    pub trials: bool,
    /// True if a verdict may be held back.
    pub waves: bool,
    /// True if the write of a new token is rehearsed before Meta is asked, as by every caller and
    /// at the start of a sweep.
    pub rehearses: bool,
}

/// A scenario to explore, with the rules intact or with one of them broken.
#[derive(Debug)]
pub struct Check {
    /// The scenario.
    pub scenario: Scenario,
    /// The part of a rule that is removed.
    pub mutant: Option<Mutant>,
    writes: Mutex<BTreeMap<&'static str, [u64; 2]>>,
}

impl Check {
    /// A check with the rules intact.
    #[must_use]
    pub fn new(scenario: Scenario) -> Self {
        Self { scenario, mutant: None, writes: Mutex::default() }
    }

    /// A check with one of the rules broken.
    #[must_use]
    pub fn with(scenario: Scenario, mutant: Mutant) -> Self {
        Self { mutant: Some(mutant), ..Self::new(scenario) }
    }

    /// Returns the true time in seconds.
    #[must_use]
    pub fn now(&self, world: &World) -> i64 {
        self.scenario.instants[world.tick] + world.meta.events
    }

    pub(crate) fn mutated(&self, transaction: &Transaction) -> Transaction {
        self.mutant.as_ref().map_or_else(|| transaction.clone(), |mutant| mutant.apply(transaction))
    }

    /// Returns the number of times that each write was made, and refused.
    #[must_use]
    pub fn writes(&self) -> BTreeMap<&'static str, [u64; 2]> {
        self.writes.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn count(&self, operation: &'static str, is_made: bool) {
        let mut writes = self.writes.lock().unwrap_or_else(PoisonError::into_inner);
        writes.entry(operation).or_default()[usize::from(!is_made)] += 1;
    }
}
