//! The last sweeps, and their outcomes.

use jiff::Timestamp;
use maud::{Markup, html};
use threads_auth::{RefreshOutcome, Stopped};

use crate::look::time::{moment, span};
use crate::shared::PastSweep;

pub(super) fn section(sweeps: &[PastSweep], now: Timestamp) -> Markup {
    html! {
        section aria-labelledby="sweeps" {
            h2 #sweeps { "Last sweeps " @if !sweeps.is_empty() { span .count { (sweeps.len()) } } }
            @if sweeps.is_empty() {
                p .soft { "None yet. A sweep refreshes every account that is due; \u{201c}Refresh now\u{201d} makes one at once." }
            } @else {
                table aria-labelledby="sweeps" {
                    thead { tr { th scope="col" { "When" } th scope="col" { "Outcome" } th scope="col" { "Oldest overdue" } } }
                    tbody { @for sweep in sweeps { (sweep_row(sweep, now)) } }
                }
            }
        }
    }
}

fn sweep_row(sweep: &PastSweep, now: Timestamp) -> Markup {
    let report = match &sweep.result {
        Ok(report) => report,
        Err(error) => {
            return html! {
                tr {
                    th scope="row" { (moment(now, sweep.at)) }
                    td colspan="2" { span .chip.halt { "failed" } " " (error) }
                }
            };
        }
    };
    html! {
        tr {
            th scope="row" { (moment(now, sweep.at)) }
            td {
                @for (outcome, count) in &report.outcomes {
                    span .chip.(outcome_tone(*outcome)) { b { (count) } " " (outcome.as_str().replace('_', " ")) } " "
                }
                @if report.outcomes.is_empty() { span .soft { "nothing was due" } }
                @if let Some(stopped) = report.stopped {
                    span .chip.halt {
                        @match stopped {
                            Stopped::Deadline => "stopped: out of time",
                            Stopped::Threads => "stopped: Threads keeps failing",
                            Stopped::Asked => "stopped: by hand",
                            Stopped::Store => "stopped: the database keeps failing",
                            Stopped::Paused => "paused",
                            Stopped::Budget => "stopped: the hour's calls are used up",
                            Stopped::Unconfigured => "not configured",
                        }
                    }
                    " "
                }
                @if report.wave { span .chip.halt { "a wave of refusals, not believed" } " " }
                @if report.unreadable_shards > 0 {
                    span .chip.halt { b { (report.unreadable_shards) } " partitions unreadable" }
                }
            }
            td {
                @match i64::try_from(report.oldest_overdue_seconds).unwrap_or(i64::MAX) {
                    0 => span .soft { "none" },
                    seconds => (span(seconds)),
                }
            }
        }
    }
}

fn outcome_tone(outcome: RefreshOutcome) -> &'static str {
    match outcome {
        RefreshOutcome::Refreshed
        | RefreshOutcome::Completed
        | RefreshOutcome::Checked
        | RefreshOutcome::DeletionFinished
        | RefreshOutcome::Recovered => "good",
        RefreshOutcome::Deferred
        | RefreshOutcome::DeletionUnfinished
        | RefreshOutcome::NotExtended
        | RefreshOutcome::Suspected
        | RefreshOutcome::TooYoung => "wait",
        RefreshOutcome::Superseded
        | RefreshOutcome::NotOurs
        | RefreshOutcome::Gone
        | RefreshOutcome::StillEnded
        | RefreshOutcome::Unclaimed => "over",
        RefreshOutcome::PendingLost
        | RefreshOutcome::Misconfigured
        | RefreshOutcome::NeedsReauthorization
        | RefreshOutcome::BrokenRow
        | RefreshOutcome::Undecryptable
        | RefreshOutcome::StoreFailed => "halt",
    }
}
