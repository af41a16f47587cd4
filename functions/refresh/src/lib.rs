//! The scheduled function: one sweep over all due grants.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;
use threads_auth::{Part, RefreshOutcome, Stopped, SweepReport, ThreadsAuth, error_chain};
use threads_auth_web::{Metric, emit, secret_age};

/// The schedule's event. Other fields belong to the scheduler and are ignored.
#[derive(Debug, Default, Deserialize)]
struct SweepEvent {
    /// Budget of the sweep, in seconds, if it is shorter than the function's remaining time.
    max_seconds: Option<u32>,
    /// The part of all accounts that this schedule sweeps, counted from 0. Required with `parts`.
    part: Option<u8>,
    /// The number of schedules that share the accounts, at most 16.
    parts: Option<u8>,
}

impl SweepEvent {
    fn part(&self) -> Option<Part> {
        match (self.part, self.parts) {
            (None, None) => Some(Part::WHOLE),
            (Some(part), Some(parts)) => Part::new(part, parts),
            _ => None,
        }
    }
}

/// Error of a sweep as a whole, after which the scheduler retries. Failures of single grants are in
/// the report.
#[derive(Debug, thiserror::Error)]
pub enum RefreshError {
    /// The event has the wrong form.
    #[error(
        "expected an event such as {{}}, {{\"max_seconds\":60}}, or {{\"part\":0,\"parts\":4}} with at most 16 parts"
    )]
    Event,
    /// The sweep failed.
    #[error(transparent)]
    Sweep(#[from] threads_auth::SweepError),
}

/// Makes one sweep within `left`, the function's remaining time. Before the stack is configured
/// there is nothing to refresh or retry: the report has `stopped` set to `unconfigured`. This does
/// not count as a sweep, so the alarm on missed sweeps rings if it persists.
///
/// # Errors
/// - Returns [`RefreshError::Event`] if the event is malformed.
/// - Returns [`RefreshError::Sweep`] if the sweep failed as a whole.
pub async fn handle(
    service: &ThreadsAuth,
    event: Value,
    now: Timestamp,
    left: Duration,
) -> Result<SweepReport, RefreshError> {
    let swept = async {
        // Required because serde would accept a list as the fields in order.
        let event = event.as_object().ok_or(RefreshError::Event)?;
        let event = SweepEvent::deserialize(event).map_err(|_| RefreshError::Event)?;
        let budget = event.max_seconds.map_or(left, |seconds| left.min(Duration::from_secs(seconds.into())));
        let part = event.part().ok_or(RefreshError::Event)?;
        match service.sweep_part(part, now, budget).await {
            Err(error) if error.is_unconfigured() => {
                Ok(SweepReport { stopped: Some(Stopped::Unconfigured), ..SweepReport::default() })
            }
            swept => Ok(swept?),
        }
    };
    let (began, calls) = (Instant::now(), service.graph_calls());
    let result = swept.await;
    match &result {
        Ok(report) if report.stopped == Some(Stopped::Unconfigured) => {
            emit(service.config(), now, None, &[Metric::count("Unconfigured", 1)]);
            tracing::warn!(
                outcome = "unconfigured",
                "the secrets have no value yet: `threads-auth configure` writes them"
            );
        }
        Ok(report) => {
            measure(service, report, began.elapsed(), service.graph_calls() - calls, now);
            tracing::info!(
            outcome = "swept",
            outcomes = ?report.outcomes,
            oldest_overdue_seconds = report.oldest_overdue_seconds,
            left = report.left,
            stopped = ?report.stopped,
            unreadable_shards = report.unreadable_shards,
            );
        }
        Err(error) => tracing::error!(outcome = "failed", error = error_chain(error)),
    }
    secret_age(service.config(), now, service.stale_for(now).await);
    result
}

fn measure(service: &ThreadsAuth, report: &SweepReport, took: Duration, calls: u64, now: Timestamp) {
    let config = service.config();
    for (outcome, count) in &report.outcomes {
        let metrics = [Metric::count("Refreshes", *count)];
        emit(config, now, Some(("Outcome", outcome.as_str())), &metrics);
    }
    let overdue = Metric::of("OldestOverdueSeconds", "Seconds", report.oldest_overdue_seconds);
    let mut metrics = vec![Metric::of("SweepSeconds", "Seconds", took.as_secs()), overdue];
    metrics.extend(report.weakest_token_days.map(|days| Metric::of("WeakestTokenDays", "None", days)));
    let counts = [
        ("BrokenRows", report.count(RefreshOutcome::BrokenRow)),
        ("UnreadableShards", report.unreadable_shards.into()),
        ("RefusedInspections", report.refused_inspections.unwrap_or(0)),
        ("LeftForLater", report.left),
        ("StoreFailing", (report.stopped == Some(Stopped::Store)).into()),
        ("GraphCalls", calls),
        ("Drift", report.drift.len() as u64),
        ("Wave", report.wave.into()),
        ("Paused", report.paused.is_some().into()),
    ];
    metrics.extend(counts.map(|(name, count)| Metric::count(name, count)));
    let undecryptable = report.count(RefreshOutcome::Undecryptable);
    metrics.extend((undecryptable > 0).then(|| Metric::count("DecryptFailures", undecryptable)));
    emit(config, now, None, &metrics);
}
