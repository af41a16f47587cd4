//! Sealing anew what the table holds, so that a key that seals no more can go.
//!
//! A refresh seals its token anew by itself, but a dead account is never refreshed. Owns that each
//! value is replaced only by itself: it was opened, and its bytes still lie there. Can be stopped
//! and repeated at any time, and leaves what does not open as it is.

use std::pin::pin;

use futures_util::TryStreamExt;
use jiff::Timestamp;
use serde::Serialize;
use threads_auth_model::rules::Resealed;
use threads_auth_model::seal::SealError;
use threads_auth_model::{Attribute, Key, Row, SEALED, Value, Vault};
use threads_auth_store::{SecretsError, StoreError, row};

use crate::clients::Clients;
use crate::stopwatch::Stopwatch;

/// How many rows are under way at once.
const AT_ONCE: usize = 16;

/// How often a row is tried that somebody else changes meanwhile.
const ATTEMPTS: u32 = 5;

/// The result of a reseal, in values. A row has up to three.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ResealReport {
    /// Values that were sealed anew.
    pub resealed: u64,
    /// Values that had the key and the format that are written.
    pub current: u64,
    /// Values of rows that others kept changing, for the next time.
    pub changing: u64,
    /// Values that do not open, and were left as they are.
    pub unopened: u64,
}

/// A value that does not open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unopened {
    /// The row.
    pub key: Key,
    /// The attribute.
    pub attribute: Attribute,
    /// Why.
    pub error: SealError,
}

/// Why a reseal ended early. It can be repeated.
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

/// Seals with the writing key, and in the format that is written, whatever is sealed otherwise.
/// `progress` is told after each row, with what of it does not open.
pub(crate) async fn reseal(
    clients: &Clients,
    now: Timestamp,
    mut progress: impl FnMut(&ResealReport, &[Unopened]),
) -> Result<ResealReport, ResealError> {
    // Its budget is not asked for: whoever wants it to end stops it.
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
        // Asked for anew: a key that somebody has rotated away meanwhile must seal nothing.
        let (now, user_id) = (time.now(), key.user_id());
        let vault = clients.vault(now).await?;
        let (mut values, mut unopened) = (Vec::new(), Vec::new());
        report = ResealReport::default();
        for (attribute, purpose) in SEALED {
            let Some(Value::Bytes(old)) = row.get(attribute) else { continue };
            let new = match &user_id {
                Some(user_id) => {
                    let anew = |vault: &Vault| vault.reseal(purpose, user_id, old);
                    clients.with_newest(&vault, now, anew).await
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
