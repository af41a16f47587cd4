//! Bringing grants back from a backup, without bringing back the deleted.
//!
//! A backup of DynamoDB becomes a table of another name, in which no token opens: each is sealed for the table that it was written
//! to. So its rows are copied into the table in use, where that has nothing newer. Owns the order: first every tombstone of both, then every
//! grant that no tombstone forbids.

use std::collections::{BTreeMap, HashMap};

use jiff::Timestamp;
use serde::Serialize;

use crate::ThreadsAuth;
use crate::grant::{Grant, GrantRow};
use crate::secrets::SecretsError;
use crate::store::{StoreError, Taken};

/// What a restore did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RestoreReport {
    /// Grants that were brought back.
    pub restored: u64,
    /// Grants that the table in use has already.
    pub present: u64,
    /// Grants of people who had their data deleted since, and who stay forgotten.
    pub deleted: u64,
    /// Rows that make no sense, and were left out.
    pub unreadable: u64,
    /// Tombstones and records of deletions that were brought back.
    pub tombstones: u64,
}

/// Why a restore ended early. It can be repeated.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The keyring names the deleted.
    #[error(transparent)]
    Secrets(#[from] SecretsError),
    /// DynamoDB failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl ThreadsAuth {
    /// Copies what the table in use lacks from the table `from`, a backup of it. `progress` is told after each page.
    ///
    /// # Errors
    /// When the keyring cannot be read, or DynamoDB fails.
    pub async fn restore(
        &self,
        from: &str,
        now: Timestamp,
        mut progress: impl FnMut(&RestoreReport),
    ) -> Result<RestoreReport, RestoreError> {
        let vault = self.vault(now).await?;
        let mut report = RestoreReport::default();
        for users in [false, true] {
            let mut after = None;
            loop {
                let (rows, next) = self.store.raw_page(from, users, after).await?;
                for row in rows {
                    if !users {
                        report.tombstones += u64::from(self.store.put_if_absent(row).await?);
                        continue;
                    }
                    let grant = GrantRow {
                        table: from,
                        item: row.clone(),
                    };
                    let Ok(Grant {
                        user_id,
                        connected_at,
                        ..
                    }) = Grant::try_from(grant)
                    else {
                        report.unreadable += 1;
                        continue;
                    };
                    let tombstone = vault.tombstone(&user_id);
                    match self.store.put_back(row, &tombstone, connected_at).await? {
                        Taken::Stored => report.restored += 1,
                        Taken::Known => report.present += 1,
                        Taken::Deleted => report.deleted += 1,
                    }
                }
                progress(&report);
                match next {
                    Some(key) => after = Some(key),
                    None => break,
                }
            }
        }
        Ok(report)
    }

    /// The ids of the keys that seal anything in the table, each with how many values it seals. A key that is not among them
    /// can leave the keyring, once the cookies of the last ten minutes are over.
    ///
    /// # Errors
    /// When DynamoDB fails.
    pub async fn keys_in_use(&self) -> Result<BTreeMap<String, u64>, StoreError> {
        let mut keys = BTreeMap::new();
        let mut after = None;
        loop {
            let (rows, next) = self
                .store
                .raw_page(self.store.grants_table(), true, after)
                .await?;
            for value in rows.iter().flat_map(HashMap::values) {
                if let Ok(sealed) = value.as_b()
                    && let Some(key) = crate::seal::key_id(sealed.as_ref())
                {
                    *keys.entry(key.to_owned()).or_default() += 1;
                }
            }
            match next {
                Some(key) => after = Some(key),
                None => return Ok(keys),
            }
        }
    }
}
