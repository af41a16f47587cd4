//! The load of the coming days: the number of grants that come due on each, from the due index.

use std::pin::pin;

use futures_util::{TryStreamExt, stream};
use jiff::Timestamp;
use threads_auth_model::schedule;
use threads_auth_store::StoreError;

use crate::clients::Clients;

const DAY_SECONDS: i64 = 86_400;

/// The numbers of due grants, by their due times.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DueLoad {
    /// Grants that are due already.
    pub overdue: u64,
    /// Grants that come due on each day from now on.
    pub days: Vec<u64>,
    /// Grants that come due after these days.
    pub later: u64,
}

impl DueLoad {
    fn add(&mut self, due: Timestamp, now: Timestamp) {
        let seconds = due.as_second() - now.as_second();
        let count = match usize::try_from(seconds / DAY_SECONDS) {
            Ok(day) if seconds > 0 => self.days.get_mut(day).unwrap_or(&mut self.later),
            _ => &mut self.overdue,
        };
        *count += 1;
    }
}

/// Counts the grants that come due on each of the coming `days`. Reads the partitions of the index
/// concurrently, each of them in full.
pub(crate) async fn due_load(clients: &Clients, now: Timestamp, days: usize) -> Result<DueLoad, StoreError> {
    let mut load = DueLoad { days: vec![0; days], ..DueLoad::default() };
    let shards = schedule::shards().map(|shard| Box::pin(clients.store.due_times(&shard)));
    let mut times = pin!(stream::select_all(shards));
    while let Some(due) = times.try_next().await? {
        load.add(due, now);
    }
    Ok(load)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_time_falls_on_its_day() {
        let at = |seconds| Timestamp::from_second(1_800_000_000 + seconds).unwrap();
        let mut load = DueLoad { days: vec![0; 3], ..DueLoad::default() };
        for seconds in
            [-DAY_SECONDS, 0, 1, DAY_SECONDS - 1, DAY_SECONDS, 3 * DAY_SECONDS - 1, 3 * DAY_SECONDS]
        {
            load.add(at(seconds), at(0));
        }
        assert_eq!(load, DueLoad { overdue: 2, days: vec![2, 1, 1], later: 1 });
    }
}
