//! The work that AWS starts by itself: sweeps by a schedule, announcements by the table's stream.

use std::time::Duration;

use crate::shared::Shared;

/// Makes a sweep `every` so often, until `stop`.
pub(crate) async fn sweep(shared: Shared, every: Duration, stop: impl Future<Output = ()>) {
    let sweeps = async {
        let mut ticks = tokio::time::interval(every);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        loop {
            ticks.tick().await;
            // Its outcome is logged by the function, and remembered for the page.
            let _ = shared.sweep().await;
        }
    };
    tokio::select! {
        () = sweeps => {}
        () = stop => {}
    }
}

/// Announces changes `every` so often, until `stop`.
pub(crate) async fn announce(shared: Shared, every: Duration, stop: impl Future<Output = ()>) {
    let batches = async {
        let mut ticks = tokio::time::interval(every);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        loop {
            ticks.tick().await;
            if let Err(error) = shared.announce().await {
                tracing::warn!(error = format!("{error:#}"), "changes wait to be announced");
            }
        }
    };
    tokio::select! {
        () = batches => {}
        () = stop => {}
    }
}
