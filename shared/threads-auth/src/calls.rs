//! The budget of calls to Meta: how many an hour may have, for all functions together.
//!
//! Meta limits an app, not a function. Each process counts its own calls, and adds them to one row
//! now and then. Sweeps stop when the hour is used up; who asks for a token is not refused, and
//! counts. What is good to have is left out first.

use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;
use threads_auth_model::error_chain;
use threads_auth_store::Store;
use threads_graph::Graph;

pub(crate) struct Calls {
    /// How many an hour may have, if there is a limit.
    most: Option<u64>,
    counted: Mutex<Counted>,
}

#[derive(Clone, Copy, Default)]
struct Counted {
    /// Which hour, counted from 1970.
    hour: Option<i64>,
    /// The calls of the hour by all functions, as the row last said.
    by_all: u64,
    /// Of this process's own calls, how many the row knows.
    own: u64,
}

impl Calls {
    pub(crate) fn new(most: Option<u64>) -> Self {
        Self { most, counted: Mutex::default() }
    }

    /// Whether no call is left in this hour.
    pub(crate) fn are_spent(&self, graph: &Graph, now: Timestamp) -> bool {
        self.most.is_some_and(|most| self.made(graph, now) >= most)
    }

    /// Whether less than a tenth of them is left, for what nobody waits for.
    pub(crate) fn are_scarce(&self, graph: &Graph, now: Timestamp) -> bool {
        self.most.is_some_and(|most| most.saturating_sub(self.made(graph, now)) < most.div_ceil(10))
    }

    /// Counts this process's calls with those of all others, if there is a limit and at least so
    /// many are not counted yet.
    pub(crate) async fn count(&self, least: u64, graph: &Graph, store: &Store, now: Timestamp) {
        if self.most.is_none() || graph.calls().saturating_sub(self.counted().own) < least {
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

    /// The calls of the hour, as far as they are known here.
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
