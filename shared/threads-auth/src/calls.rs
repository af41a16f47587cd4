//! The hourly budget of calls to Meta, shared by all functions.
//! Meta's limit applies to the app as a whole. Each process counts its own calls and adds them to
//! one shared row now and then. Sweeps stop when the hour's budget is spent. A backend's request
//! for a token is never refused, but counts. Optional calls are dropped first.

use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;
use threads_auth_model::error_chain;
use threads_auth_store::Store;
use threads_graph::Graph;

pub(crate) struct Calls {
    /// Calls allowed per hour, if there is a limit.
    limit: Option<u64>,
    counted: Mutex<Counted>,
}

#[derive(Clone, Copy, Default)]
struct Counted {
    /// The hour that is counted, in hours since 1970.
    hour: Option<i64>,
    /// Calls of all functions in this hour, as of the last write of the row.
    by_all: u64,
    /// This process's own calls that the row already includes.
    own: u64,
}

impl Calls {
    pub(crate) fn new(limit: Option<u64>) -> Self {
        Self { limit, counted: Mutex::default() }
    }

    /// Returns true if no call is left in this hour.
    pub(crate) fn are_spent(&self, graph: &Graph, now: Timestamp) -> bool {
        self.limit.is_some_and(|limit| self.made(graph, now) >= limit)
    }

    /// Returns true if less than a tenth of the calls is left. Calls that no caller waits for are
    /// dropped then.
    pub(crate) fn are_scarce(&self, graph: &Graph, now: Timestamp) -> bool {
        self.limit.is_some_and(|limit| limit.saturating_sub(self.made(graph, now)) < limit.div_ceil(10))
    }

    /// Adds this process's calls to the shared row, if there is a limit and at least `least` calls
    /// are not counted yet.
    pub(crate) async fn count(&self, least: u64, graph: &Graph, store: &Store, now: Timestamp) {
        if self.limit.is_none() || graph.calls().saturating_sub(self.counted().own) < least {
            return;
        }
        let new = self.with(|counted| {
            let made = graph.calls();
            made.saturating_sub(std::mem::replace(&mut counted.own, made))
        });
        match store.count_calls(new, now).await {
            Ok(by_all) => {
                self.with(|counted| (counted.hour, counted.by_all) = (Some(hour(now)), by_all));
            }
            Err(error) => {
                tracing::warn!(error = error_chain(&error), "calls to Meta were not counted");
                self.with(|counted| counted.own = counted.own.saturating_sub(new));
            }
        }
    }

    /// Returns the calls of this hour that this process knows of.
    fn made(&self, graph: &Graph, now: Timestamp) -> u64 {
        let this_hour = hour(now);
        self.with(|counted| {
            if counted.hour.is_some_and(|hour| hour != this_hour) {
                (counted.by_all, counted.own) = (0, graph.calls());
            }
            counted.hour = Some(this_hour);
            counted.by_all + graph.calls().saturating_sub(counted.own)
        })
    }

    fn counted(&self) -> Counted {
        self.with(|counted| *counted)
    }

    fn with<T>(&self, change: impl FnOnce(&mut Counted) -> T) -> T {
        change(&mut self.counted.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn hour(now: Timestamp) -> i64 {
    now.as_second().div_euclid(3_600)
}
