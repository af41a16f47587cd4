//! A year of many grants: the real refresh code on the development stack, the virtual clock, and
//! everything that can go wrong, from one seed.
//!
//! Owns the plan of a year (`plan.rs`), the faults of single calls (`fault.rs`), the proxies that
//! make them and record every token (`proxy.rs`), the year itself (`run.rs`) and its figures
//! (`report.rs`). The plan and the faults follow from the seed. The service's own jitter and the
//! order of concurrent calls do not, so two runs of one seed meet the same failures, and their
//! figures differ by some calls.

mod chance;
mod fault;
mod plan;
mod proxy;
mod report;
mod run;

use threads_graph::UserId;

pub use plan::Extent;
pub use report::Report;
pub use run::{Settings, run};

/// The user id of the first person.
const FIRST: u64 = 17_841_400_000_000_000;

fn user_text(person: usize) -> String {
    (FIRST + person as u64).to_string()
}

fn user_id(person: usize) -> Option<UserId> {
    user_text(person).parse().ok()
}

/// Returns the person of a user id.
fn person_of(user_id: &str) -> Option<usize> {
    usize::try_from(user_id.parse::<u64>().ok()?.checked_sub(FIRST)?).ok()
}
