//! Restores grants from a backup, except those of deleted people.
//!
//! A DynamoDB backup becomes a table of another name. Either its rows are copied into the table in
//! use, where that lacks them; or it becomes the table in use, and rows are copied from the
//! previous one. Owns the order: first every tombstone of both, then the end of every grant here
//! that had ended there, then every grant of the other table that no tombstone forbids, and last
//! the unusable rows here: each is replaced, if that is requested and the other table has a usable
//! one, or reported.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;

use futures_util::TryStreamExt;
use jiff::Timestamp;
use serde::Serialize;
use threads_auth_model::{Ends, Grant, Key, RevokedBy, rules};
use threads_auth_store::{Store, StoreError, TransferOutcome, row};
use threads_graph::UserId;

use super::replace::{Replaced, RestoreError, Spoilt, Verdict, compare, read, replace};
use crate::clients::Clients;

/// Maximum number of attempts for a row that changes concurrently.
const ATTEMPTS: u32 = 5;

/// The result of a restore.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RestoreReport {
    /// Grants that were restored.
    pub restored: u64,
    /// Grants that the table in use already has.
    pub present: u64,
    /// Unusable rows of the table in use that were replaced.
    pub replaced: u64,
    /// Unusable rows of the table in use that were left.
    pub spoilt: u64,
    /// Grants of people whose data was deleted since, and who stay deleted.
    pub deleted: u64,
    /// Malformed rows of the backup, which were left out.
    pub unreadable: u64,
    /// Tombstones and records of deletions that were restored.
    pub tombstones: u64,
}

/// An unusable row of the table in use that was left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Left {
    /// The row's key.
    pub key: Key,
    /// The reason why it is unusable.
    pub spoilt: Spoilt,
    /// The decision about the backup's row. `None` if the key names no user.
    pub verdict: Option<Verdict>,
}

/// Copies the rows that the table in use lacks from the backup table `from`, and replaces unusable
/// rows if `replaces`. Calls `progress` after each row, with the row if it was left.
pub(crate) async fn restore(
    clients: &Clients,
    from: &str,
    replaces: bool,
    now: Timestamp,
    mut progress: impl FnMut(&RestoreReport, Option<&Left>),
) -> Result<RestoreReport, RestoreError> {
    let (vault, store) = (clients.vault(now).await?, &clients.store);
    let mut report = RestoreReport::default();
    let mut restored = BTreeSet::new();
    let mut ends = BTreeMap::<Key, Ends>::new();
    for users in [false, true] {
        if users && !ends.is_empty() {
            report.deleted += end(clients, &ends, now).await?;
        }
        let mut items = pin!(store.items(from, users));
        while let Some(item) = items.try_next().await? {
            if row(&item).key().is_some_and(|key| key.is_control()) {
                continue;
            }
            if users {
                match Grant::from_row(from, &row(&item)) {
                    Ok(grant) => {
                        let tombstone = vault.tombstone(&grant.user_id);
                        let connected_at = grant.connected_at;
                        let put = store.put_back(&grant.user_id, item, &tombstone, connected_at, now).await?;
                        match put {
                            TransferOutcome::Stored => {
                                report.restored += 1;
                                restored.insert(Key::grant(&grant.user_id));
                            }
                            TransferOutcome::Known => report.present += 1,
                            TransferOutcome::Deleted => report.deleted += 1,
                        }
                        // An existing row may come from a restore that was interrupted before this
                        // step.
                        if put != TransferOutcome::Deleted {
                            let ends = store.ends(&tombstone).await?;
                            end_as(store, &grant.user_id, &ends, now).await?;
                        }
                    }
                    Err(_) => report.unreadable += 1,
                }
            } else {
                let is_new = match row(&item).key().filter(Key::is_tombstone) {
                    Some(key) => {
                        let of_user = Ends::of(&row(&item));
                        let is_new = store.put_back_ends(&key, &of_user).await?;
                        ends.insert(key, of_user);
                        is_new
                    }
                    None => store.put_back_other(item).await?,
                };
                report.tombstones += u64::from(is_new);
            }
            progress(&report, None);
        }
    }
    let mut items = pin!(store.items(store.grants_table(), true));
    while let Some(item) = items.try_next().await? {
        let row = row(&item);
        let Some(key) = row.key() else { continue };
        let Err(spoilt) = read(clients, &vault, store.grants_table(), (&key, &row), now).await? else {
            continue;
        };
        let seen = Seen { key: &key, spoilt, counts: !restored.contains(&key) };
        let left = mend(clients, from, replaces, seen, &mut report, now).await?;
        progress(&report, left.as_ref());
    }
    Ok(report)
}

/// An unusable row as it was found. `counts` is true if this restore did not write it.
struct Seen<'a> {
    key: &'a Key,
    spoilt: Spoilt,
    counts: bool,
}

/// Replaces an unusable row, or returns it with the reason why it was left.
async fn mend(
    clients: &Clients,
    from: &str,
    replaces: bool,
    seen: Seen<'_>,
    report: &mut RestoreReport,
    now: Timestamp,
) -> Result<Option<Left>, RestoreError> {
    let Seen { key, mut spoilt, counts } = seen;
    let mut verdict = None;
    if let Some(user_id) = key.user_id() {
        let mut may_count = counts;
        for _ in 0..ATTEMPTS {
            let compared = compare(clients, from, &user_id, now).await?;
            let in_backup = !matches!(compared.backup, None | Some(Err(Spoilt::MakesNoSense(_))));
            match compared.present {
                Some(Err(ref still)) => spoilt = still.clone(),
                // Another process has repaired or deleted it.
                Some(Ok(_)) | None => return Ok(None),
            }
            if std::mem::take(&mut may_count) && in_backup {
                report.present = report.present.saturating_sub(1);
            }
            let judged = compared.unnamed();
            let goes = replaces && judged.is_replaceable();
            verdict = Some(judged);
            if !goes {
                break;
            }
            match replace(clients, &compared, true, now).await? {
                Replaced::Done | Replaced::Ended => {
                    report.replaced += 1;
                    return Ok(None);
                }
                Replaced::Deleted => verdict = Some(Verdict::Deleted),
                Replaced::Changed => verdict = Some(Verdict::Changing),
            }
        }
    }
    report.spoilt += 1;
    Ok(Some(Left { key: key.clone(), spoilt, verdict }))
}

/// Applies `ends` to the grants of the table in use, which may have been restored from an older
/// backup. Returns the number of deleted grants.
async fn end(clients: &Clients, ends: &BTreeMap<Key, Ends>, now: Timestamp) -> Result<u64, RestoreError> {
    let (vault, store) = (clients.vault(now).await?, &clients.store);
    let mut deleted = 0;
    let mut items = pin!(store.items(store.grants_table(), true));
    while let Some(item) = items.try_next().await? {
        let Some(user_id) = row(&item).key().and_then(|key| key.user_id()) else { continue };
        let Some(ends) = ends.get(&vault.tombstone(&user_id)) else { continue };
        if let Some(deleted_at) = ends.deleted_at
            && store.forget(&user_id, deleted_at).await?
        {
            deleted += 1;
            continue;
        }
        end_as(store, &user_id, ends, now).await?;
    }
    Ok(deleted)
}

/// Ends a grant that has ended since it was written.
async fn end_as(store: &Store, user_id: &UserId, ends: &Ends, now: Timestamp) -> Result<(), StoreError> {
    for (by, ended_at) in [(RevokedBy::App, ends.disconnected_at), (RevokedBy::Threads, ends.ended_at)] {
        if let Some(ended_at) = ended_at {
            store.write(&rules::revoke(user_id, by, ended_at, now)).await?;
        }
    }
    Ok(())
}
