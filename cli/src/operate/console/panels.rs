//! The parts of the first page. Each is read separately: if one fails, its finding is shown
//! instead.

pub(super) mod metrics;

use aws_sdk_cloudwatch::types::MetricAlarm;
use jiff::Timestamp;
use threads_auth::DueLoad;
use tokio::time::timeout;

use super::state::{Console, PATIENCE};
use crate::operate::doctor::finding::{Finding, of_store, warn};
use crate::operate::doctor::resources::Resources;
use crate::operate::doctor::{alarms, aws, delivery};
use crate::operate::target::Deployed;

/// Number of days in the chart of the coming refreshes. A token lives for 60.
pub(super) const DAYS: usize = 63;

/// The parts that only a stack on AWS has.
pub(super) struct OnAws {
    pub(super) schedule: Finding,
    pub(super) alarms: Finding,
    pub(super) each: Vec<MetricAlarm>,
    pub(super) letters: Finding,
    pub(super) metrics: Result<(Timestamp, Vec<metrics::Series>), Finding>,
}

/// Counts the coming refreshes.
pub(super) async fn load(console: &Console, now: Timestamp) -> Result<(Timestamp, DueLoad), Finding> {
    const CHECK: &str = "coming refreshes";
    let read = async {
        let load = console.stack.service.due_load(now, DAYS).await;
        let table = console.stack.service.store().grants_table();
        load.map_err(|error| of_store(CHECK, &error, table, "dynamodb:Query on the index \"due\" of"))
    };
    in_time(CHECK, console.load.get(now, read)).await
}

/// Reads what AWS watches of a stack.
pub(super) async fn on_aws(console: &Console, deployed: &Deployed, now: Timestamp) -> OnAws {
    let resources = Box::pin(async {
        let resources = Resources::of(deployed).await;
        let (alarms, letters) =
            tokio::join!(alarms::alarms(deployed, &resources), delivery::letters(deployed, &resources));
        Ok((alarms, letters))
    });
    let metrics = Box::pin(console.metrics.get(now, metrics::read(deployed, now)));
    let (watched, schedule, metrics) = tokio::join!(
        in_time("alarms", resources),
        in_time("schedule", async { Ok(aws::schedule(deployed).await) }),
        in_time("metrics", metrics),
    );
    let schedule = schedule.unwrap_or_else(|finding| finding);
    let ((alarms, each), letters) =
        watched.unwrap_or_else(|finding| ((finding, Vec::new()), silent("dead letters")));
    OnAws { schedule, alarms, each, letters, metrics }
}

/// Abandons a part that takes too long.
async fn in_time<T>(
    check: &'static str,
    work: impl Future<Output = Result<T, Finding>>,
) -> Result<T, Finding> {
    timeout(PATIENCE, work).await.unwrap_or_else(|_| Err(silent(check)))
}

fn silent(check: &'static str) -> Finding {
    warn(check, "AWS does not answer in time", "Load this page again later.")
}
