//! A sweep's progress bar on a terminal.

use std::collections::BTreeMap;

use indicatif::ProgressBar;
use jiff::Timestamp;
use threads_auth::RefreshOutcome;

use crate::operate::target::StackHandle;
use crate::shell::progress::{COUNT, known, spinner};

/// The bar and its counters.
pub(super) struct Progress {
    pub(super) bar: ProgressBar,
    /// The number of tokens due at the beginning, if it could be counted.
    pub(super) due: Option<u64>,
    outcomes: BTreeMap<RefreshOutcome, u64>,
}

impl Progress {
    pub(super) async fn begin(stack: &StackHandle, now: Timestamp, hidden: bool) -> Self {
        let bar = if hidden { ProgressBar::hidden() } else { spinner("looking at every token that is due") };
        // Without a visible bar, the count is not needed.
        let due = if bar.is_hidden() { None } else { stack.service.count_due(now).await.ok() };
        if let Some(due) = due {
            known(&bar, due, COUNT);
            bar.set_message("");
        }
        Self { bar, due, outcomes: BTreeMap::new() }
    }

    pub(super) fn saw(&mut self, outcome: RefreshOutcome) {
        *self.outcomes.entry(outcome).or_default() += 1;
        if self.bar.is_hidden() {
            return;
        }
        self.bar.inc(1);
        // More tokens become due while it runs.
        if self.bar.length().is_some_and(|length| length < self.bar.position()) {
            self.bar.inc_length(1);
        }
        let parts: Vec<_> =
            self.outcomes.iter().map(|(outcome, count)| format!("{count} {outcome}")).collect();
        self.bar.set_message(parts.join(", "));
    }

    /// Sets the number of those that are still due.
    pub(super) fn left(&self, left: u64) {
        if let Some(due) = self.due {
            self.bar.set_position(due.saturating_sub(left));
        }
    }
}
