//! The work that AWS starts by itself: scheduled sweeps, announcements from the table's stream, and
//! deliveries from the webhooks' queue.

use std::time::Duration;

use tokio::time::{Interval, MissedTickBehavior, interval};

use crate::shared::Shared;

/// Sweeps each `period`, until `stop`.
pub(crate) async fn sweep(shared: Shared, period: Duration, stop: impl Future<Output = ()>) {
    let mut ticks = ticks(period);
    let sweeps = async {
        loop {
            ticks.tick().await;
            // The function logs the outcome, and the page shows it.
            let _ = shared.sweep().await;
        }
    };
    tokio::select! {
        () = sweeps => {}
        () = stop => {}
    }
}

/// Announces changes, and posts the events that are due, each `period` until `stop`. Both run
/// concurrently, because a receiver may be slow.
pub(crate) async fn announce(shared: Shared, period: Duration, stop: impl Future<Output = ()>) {
    let batches = async {
        let mut ticks = ticks(period);
        loop {
            ticks.tick().await;
            if let Err(error) = shared.announce().await {
                tracing::warn!(error = format!("{error:#}"), "changes wait to be announced");
            }
        }
    };
    let deliveries = async {
        let mut ticks = ticks(period);
        loop {
            ticks.tick().await;
            shared.deliver().await;
        }
    };
    tokio::select! {
        () = batches => {}
        () = deliveries => {}
        () = stop => {}
    }
}

fn ticks(period: Duration) -> Interval {
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    ticks
}
