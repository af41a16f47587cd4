//! Histories: single paths through the model, with their writes.

use stateright::Model;
use threads_auth_model::Transaction;

use crate::check::Check;
use crate::model::Action;
use crate::tables::{Outcome, Rows, commit};
use crate::world::World;

/// A write of a history.
#[derive(Clone, Debug)]
pub struct HistoryWrite {
    /// The write.
    pub transaction: Transaction,
    /// Its outcome.
    pub outcome: Outcome,
    /// All rows after the write.
    pub rows: Rows,
}

/// A history.
#[derive(Clone, Debug)]
pub struct History {
    /// The rows at the beginning.
    pub start: Rows,
    /// The writes.
    pub writes: Vec<HistoryWrite>,
    /// The steps.
    pub actions: Vec<Action>,
    /// The broken rules.
    pub broken: Vec<&'static str>,
}

/// Walks through the model until nothing is left to do. The `seed` selects the path.
#[must_use]
pub fn walk(check: &Check, seed: u64) -> History {
    let mut world: World = check.init_states().remove(0);
    let mut history =
        History { start: world.rows.clone(), writes: Vec::new(), actions: Vec::new(), broken: Vec::new() };
    // The generator is SplitMix, whose only state is a number.
    let mut number = seed;
    loop {
        let mut actions = Vec::new();
        check.actions(&world, &mut actions);
        if actions.is_empty() {
            break;
        }
        number = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let count = u64::try_from(actions.len()).unwrap_or(1);
        let action = actions[usize::try_from((mixed ^ (mixed >> 31)) % count).unwrap_or(0)];
        let written = check.written(&world, action);
        let Some(next) = check.next_state(&world, action) else { continue };
        if let Some(transaction) = written {
            let outcome = commit(&transaction, &mut world.rows.clone());
            history.writes.push(HistoryWrite { transaction, outcome, rows: next.rows.clone() });
        }
        history.actions.push(action);
        world = next;
    }
    history.broken = world.broken;
    history
}
