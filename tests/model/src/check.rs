//! A configuration, and what it is checked with.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use threads_auth_model::Transaction;

use crate::meta::{Behaviour, DAY, LIFE};
use crate::mutant::Mutant;
use crate::world::{Job, Left, World};

/// Before the token is due.
pub const NOW: &[i64] = &[30 * DAY, 45 * DAY];
/// The instants that most scenarios need: the token is due; a suspicion is old enough, and every
/// lease is over.
pub const DUE: &[i64] = &[45 * DAY, 45 * DAY + 1_800];
/// A day more.
pub const DAYS: &[i64] = &[45 * DAY, 45 * DAY + 1_800, 46 * DAY + 3_600];
/// The end of the token's time, after an appeal.
pub const END: &[i64] = &[45 * DAY, 46 * DAY + 3_600, LIFE + DAY];
/// The same, when the token is due no more.
pub const APPEAL: &[i64] = &[46 * DAY + 3_600, LIFE + DAY];

/// The beginning of a scenario.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// Nobody has connected yet.
    Empty,
    /// Somebody connected on the first day.
    Connected,
    /// The same, and Meta has asked for a checkpoint that they have passed since.
    Appealable,
}

/// Who works, on what, and what may go wrong.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// Its name.
    pub name: &'static str,
    /// The beginning.
    pub start: Start,
    /// What Meta does with a token that was refreshed.
    pub behaviour: Behaviour,
    /// The seconds to which the clock moves on, at any moment.
    pub instants: &'static [i64],
    /// The workers, and by how many seconds the clock of each is ahead.
    pub workers: Vec<(Job, i64)>,
    /// How often Meta delivers each message again.
    pub repeats: u8,
    /// What may go wrong.
    pub left: Left,
    /// Whether a new token is tried out.
    pub trials: bool,
    /// Whether a verdict may be held back.
    pub waves: bool,
}

/// A scenario to explore, with the rules as they are, or with one of them broken.
#[derive(Debug)]
pub struct Check {
    /// The scenario.
    pub scenario: Scenario,
    /// What is taken out.
    pub mutant: Option<Mutant>,
    writes: Mutex<BTreeMap<&'static str, [u64; 2]>>,
}

impl Check {
    /// The rules as they are.
    #[must_use]
    pub fn new(scenario: Scenario) -> Self {
        Self { scenario, mutant: None, writes: Mutex::default() }
    }

    /// With one of them broken.
    #[must_use]
    pub fn with(scenario: Scenario, mutant: Mutant) -> Self {
        Self { mutant: Some(mutant), ..Self::new(scenario) }
    }

    /// The true time.
    #[must_use]
    pub fn now(&self, world: &World) -> i64 {
        self.scenario.instants[world.tick] + world.meta.events
    }

    pub(crate) fn mutated(&self, transaction: &Transaction) -> Transaction {
        self.mutant.as_ref().map_or_else(|| transaction.clone(), |mutant| mutant.apply(transaction))
    }

    /// How often each write was made, and how often refused.
    #[must_use]
    pub fn writes(&self) -> BTreeMap<&'static str, [u64; 2]> {
        self.writes.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn count(&self, operation: &'static str, is_made: bool) {
        let mut writes = self.writes.lock().unwrap_or_else(PoisonError::into_inner);
        writes.entry(operation).or_default()[usize::from(!is_made)] += 1;
    }
}
