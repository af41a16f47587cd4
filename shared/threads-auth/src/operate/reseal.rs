//! Resealing of the grants table, so that an old key can be removed.
//! A refresh seals its token with the current key, but a dead account is never refreshed. Owns the
//! guarantee that a value is replaced only by its own resealed form: it was opened, and the row
//! still has its bytes. Can be interrupted and repeated at any time, and leaves values that do not
//! open.

use std::pin::pin;

use futures_util::TryStreamExt;
use jiff::Timestamp;
use serde::Serialize;
use threads_auth_model::rules::Resealed;
use threads_auth_model::seal::SealError;
use threads_auth_model::{Attribute, Key, Row, SEALED, Value, Vault};
use threads_auth_store::{SecretsError, StoreError, row};

use crate::clients::{Clients, OpenError};
use crate::stopwatch::Stopwatch;

/// Number of rows that are resealed concurrently.
const AT_ONCE: usize = 16;

/// The most tries for a row that changes concurrently.
const ATTEMPTS: u32 = 5;

/// The result of a reseal, in values. A row has up to three.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ResealReport {
    /// Values that were resealed.
    pub resealed: u64,
    /// Values that had the current key and format.
    pub current: u64,
    /// Values of rows that kept changing concurrently, left for the next run.
    pub changing: u64,
    /// Values that do not open, which were left.
    pub unopened: u64,
}

/// A value that does not open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unopened {
    /// The row.
    pub key: Key,
    /// The attribute.
    pub attribute: Attribute,
    /// The error of opening it.
    pub error: SealError,
}

/// Error of a reseal, which can be repeated.
#[derive(Debug, thiserror::Error)]
pub enum ResealError {
    /// A secret could not be read.
    #[error(transparent)]
    Secrets(#[from] SecretsError),
    /// DynamoDB failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Sealing failed.
    #[error(transparent)]
    Seal(SealError),
}

/// Reseals all values that do not have the current key and format. Calls `progress` after each row,
/// with its values that do not open.
pub(crate) async fn reseal(
    clients: &Clients,
    now: Timestamp,
    mut progress: impl FnMut(&ResealReport, &[Unopened]),
) -> Result<ResealReport, ResealError> {
    // Only its clock is used: the command runs until it is interrupted.
    let time = Stopwatch::start(now, clients.config.work_time());
    let mut report = ResealReport::default();
    let items = clients.store.items(clients.store.grants_table(), true).map_err(ResealError::from);
    let mut rows = pin!(
        items
            .map_ok(|item| async move { one(clients, time, row(&item)).await })
            .try_buffer_unordered(AT_ONCE)
    );
    while let Some((of_row, unopened)) = rows.try_next().await? {
        report.resealed += of_row.resealed;
        report.current += of_row.current;
        report.changing += of_row.changing;
        report.unopened += of_row.unopened;
        progress(&report, &unopened);
    }
    Ok(report)
}

async fn one(
    clients: &Clients,
    time: Stopwatch,
    mut row: Row,
) -> Result<(ResealReport, Vec<Unopened>), ResealError> {
    let Some(key) = row.key() else {
        return Ok(Default::default());
    };
    let mut report = ResealReport::default();
    for _ in 0..ATTEMPTS {
        // Read again, because a key that was rotated concurrently must not seal anything.
        let (now, user_id) = (time.now(), key.user_id());
        let vault = clients.vault(now).await?;
        let (mut values, mut unopened) = (Vec::new(), Vec::new());
        report = ResealReport::default();
        for (attribute, purpose) in SEALED {
            let Some(Value::Bytes(old)) = row.get(attribute) else { continue };
            let new = match &user_id {
                Some(user_id) => {
                    let anew = |vault: &Vault| vault.reseal(purpose, user_id, old);
                    match clients.with_newest(&vault, now, anew).await {
                        Err(OpenError::Keyring(error)) => return Err(error.into()),
                        Err(OpenError::Sealed(error)) => Err(error),
                        Ok(new) => Ok(new),
                    }
                }
                None => Err(SealError::Refused),
            };
            match new {
                Ok(None) => report.current += 1,
                Ok(Some(new)) => values.push(Resealed { attribute, old: old.clone(), new }),
                Err(SealError::NoRandomness) => return Err(ResealError::Seal(SealError::NoRandomness)),
                Err(error) => unopened.push(Unopened { key: key.clone(), attribute, error }),
            }
        }
        report.unopened = unopened.len() as u64;
        report.resealed = values.len() as u64;
        if values.is_empty() {
            return Ok((report, unopened));
        }
        match clients.store.reseal(&key, &values).await? {
            None => return Ok((report, unopened)),
            Some(changed) => row = changed,
        }
    }
    report.changing = std::mem::take(&mut report.resealed);
    Ok((report, Vec::new()))
}
