//! The load after an outage: which due grants wait, so that a sweep does not refresh days at once.
//! Owns the number of refreshes after which a sweep leaves tokens that live long enough. Their rows
//! stay due, and later sweeps find them in the index's own order: those that have waited longest
//! come first.

use std::collections::HashSet;

use jiff::Timestamp;
use threads_auth_model::schedule::{self, DataAccess, Part};
use threads_auth_model::{Claim, Grant, Key, State, error_chain};

use crate::clients::Clients;

/// Hours of average load that a sweep refreshes before it leaves tokens that can wait.
const HOURS_AT_ONCE: u64 = 2;

/// Hours from a token's refresh to the next: between 34 and 40 days.
const HOURS_BETWEEN: u64 = 37 * 24;

/// Minimum remaining life of a token whose refresh is left to a later sweep, in seconds.
const LONG_ENOUGH: i64 = 10 * 86_400;

/// Returns the number of refreshes after which a sweep of `part` leaves tokens that can wait. The
/// accounts are estimated from the first partition, since users are spread evenly. If it cannot be
/// counted, the sweep makes the minimum: the tokens that it leaves live for days.
pub(crate) async fn quota(clients: &Clients, part: Part) -> u64 {
    let Some(shard) = part.shards().next() else { return u64::MAX };
    let counted = clients.store.count_due(&shard, Timestamp::MAX).await;
    let rows = counted.unwrap_or_else(|error| {
        tracing::warn!(error = error_chain(&error), "the accounts could not be counted: few are refreshed");
        0
    });
    quota_of(rows * part.shards().count() as u64).max(clients.config.sweep_least)
}

fn quota_of(accounts: u64) -> u64 {
    (accounts * HOURS_AT_ONCE).div_ceil(HOURS_BETWEEN)
}

/// The result of reading due rows together.
pub(crate) struct Looked {
    /// Number of grants that are left to later sweeps.
    pub(crate) left: u64,
    /// Keys of the other rows, and of those that could not be read. Each is read again by itself.
    pub(crate) urgent: Vec<Key>,
}

/// Reads due rows in one request, and leaves those that can wait. After an outage there are many.
pub(crate) async fn look(clients: &Clients, keys: Vec<Key>, now: Timestamp) -> Looked {
    let grants = clients.store.grants_at(&keys).await.unwrap_or_else(|error| {
        tracing::warn!(error = error_chain(&error), "due rows could not be read together");
        Vec::new()
    });
    let waiting = grants.iter().filter(|grant| may_wait(grant, now)).map(|grant| Key::grant(&grant.user_id));
    let waiting: HashSet<Key> = waiting.collect();
    let all = keys.len();
    let urgent: Vec<_> = keys.into_iter().filter(|key| !waiting.contains(key)).collect();
    Looked { left: (all - urgent.len()) as u64, urgent }
}

/// Returns true if a due grant needs nothing but a refresh, which can wait.
pub(crate) fn may_wait(grant: &Grant, now: Timestamp) -> bool {
    let State::Active(live, None) = &grant.state else { return false };
    let until = schedule::add(now, LONG_ENOUGH);
    // Sweeps announce the end of data access 14 days ahead.
    let has_access = match DataAccess::of(grant) {
        DataAccess::Until(end) => end > schedule::add(now, 14 * 86_400),
        DataAccess::Endless => true,
        access @ DataAccess::Unknown(_) => !access.is_doubtful(now),
    };
    let is_token_due = schedule::token_due(&grant.user_id, live) <= now;
    // The holder of the lease was killed. After an outage of Meta, every note comes from a failed
    // call instead, whose worker has released the lease.
    let was_cut_off = !grant.is_settled() && grant.leased_until.is_some();
    is_token_due
        && !was_cut_off
        && live.expires_at > until
        && live.suspicion.is_none()
        && has_access
        && matches!(grant.claim, Claim::Claimed(_))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sweep_refreshes_what_comes_due_in_two_hours() {
        let quotas = [0, 100, 4_440, 8_880, 100_000, 1_000_000].map(quota_of);
        assert_eq!(quotas, [0, 1, 10, 20, 226, 2_253]);
    }
}
