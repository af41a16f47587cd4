//! By whose token Meta is asked about another.
//!
//! Meta documents that the caller is a tester of the app; people report that the app's own token is
//! taken, and some that no token of a user is. What Meta takes is remembered for a while.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};
use threads_graph::AccessToken;

/// Nobody is tried again for this long, where Meta took nobody.
const REFUSED_FOR: SignedDuration = SignedDuration::from_hours(1);
/// The inspector's token is read from its row this often.
const TOKEN_FOR: SignedDuration = SignedDuration::from_mins(5);

threads_graph::names! {
    /// By whose token Meta is asked about another.
    pub enum Caller {
        /// The app's own: its id and secret.
        App => "app",
        /// The account of the team that the app's secret names.
        Inspector => "inspector",
        /// The token that is asked about.
        Itself => "itself",
    }
}

/// The memory of the callers.
#[derive(Default)]
pub(crate) struct Callers {
    memory: Mutex<Memory>,
    refused: AtomicU64,
}

#[derive(Default)]
struct Memory {
    /// The caller that Meta took last.
    taken: Option<Caller>,
    /// Until when nobody is tried, because Meta took nobody.
    refused_until: Option<Timestamp>,
    inspector: Option<(AccessToken, Timestamp)>,
}

impl Callers {
    /// The number of inspections that Meta has refused to every caller.
    pub(crate) fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    pub(crate) fn count_refused(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    /// The callers to try: whom Meta took last comes first. Nobody, while Meta is known to take
    /// nobody.
    pub(crate) fn to_try(&self, now: Timestamp) -> Vec<Caller> {
        let (taken, refused_until) = self.with(|memory| (memory.taken, memory.refused_until));
        if refused_until.is_some_and(|until| now < until) {
            return Vec::new();
        }
        let others = Caller::ALL.into_iter().filter(|caller| Some(*caller) != taken);
        taken.into_iter().chain(others).collect()
    }

    pub(crate) fn remember(&self, taken: Caller) {
        self.with(|memory| (memory.taken, memory.refused_until) = (Some(taken), None));
    }

    pub(crate) fn remember_refusal(&self, now: Timestamp) {
        self.with(|memory| memory.refused_until = Some(after(now, REFUSED_FOR)));
    }

    /// The inspector's token, if it was read a moment ago.
    pub(crate) fn inspector(&self, now: Timestamp) -> Option<AccessToken> {
        self.with(|memory| memory.inspector.clone().filter(|(_, until)| now < *until)).map(|(token, _)| token)
    }

    pub(crate) fn remember_inspector(&self, token: &AccessToken, now: Timestamp) {
        self.with(|memory| memory.inspector = Some((token.clone(), after(now, TOKEN_FOR))));
    }

    pub(crate) fn forget_inspector(&self) {
        self.with(|memory| memory.inspector = None);
    }

    fn with<T>(&self, change: impl FnOnce(&mut Memory) -> T) -> T {
        change(&mut self.memory.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn after(now: Timestamp, lasts: SignedDuration) -> Timestamp {
    now.saturating_add(lasts).unwrap_or(now)
}
