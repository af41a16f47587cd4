//! The caller whose token authorizes a `debug_token` request.
//! Meta documents that the caller must be a tester of the app. In practice Meta may also accept the
//! app's own token, or no caller at all. The last accepted caller, or a refusal of all, is cached.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};
use threads_graph::AccessToken;

/// Pause after Meta has refused every caller.
const REFUSED_FOR: SignedDuration = SignedDuration::from_hours(1);
/// Time for which the inspector's token is cached.
const TOKEN_FOR: SignedDuration = SignedDuration::from_mins(5);

threads_graph::names! {
    /// The caller whose token authorizes a `debug_token` request.
    pub enum Caller {
        /// The app, by its id and secret.
        App => "app",
        /// The team's account that the app's secret names as `inspector`.
        Inspector => "inspector",
        /// The inspected token itself.
        Itself => "itself",
    }
}

/// Cache of the accepted caller and of the inspector's token.
#[derive(Default)]
pub(crate) struct Callers {
    memory: Mutex<Memory>,
    refused: AtomicU64,
}

#[derive(Default)]
struct Memory {
    /// The caller that Meta accepted last.
    accepted: Option<Caller>,
    /// End of the pause after Meta has refused every caller.
    refused_until: Option<Timestamp>,
    inspector: Option<(AccessToken, Timestamp)>,
}

impl Callers {
    /// Returns the number of inspections that Meta has refused to every caller.
    pub(crate) fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    pub(crate) fn count_refused(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    /// Returns the callers to try, the one accepted last first. Empty during the pause after Meta
    /// has refused every caller.
    pub(crate) fn to_try(&self, now: Timestamp) -> Vec<Caller> {
        let (accepted, refused_until) = self.with(|memory| (memory.accepted, memory.refused_until));
        if refused_until.is_some_and(|until| now < until) {
            return Vec::new();
        }
        let others = Caller::ALL.into_iter().filter(|caller| Some(*caller) != accepted);
        accepted.into_iter().chain(others).collect()
    }

    pub(crate) fn remember(&self, accepted: Caller) {
        self.with(|memory| (memory.accepted, memory.refused_until) = (Some(accepted), None));
    }

    pub(crate) fn remember_refusal(&self, now: Timestamp) {
        self.with(|memory| memory.refused_until = Some(after(now, REFUSED_FOR)));
    }

    /// Returns the inspector's token, if it is cached.
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
