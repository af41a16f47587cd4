//! All versions that a secret still has, including those without a label, and the sealed values of
//! a stack to try them on.

use std::collections::BTreeSet;
use std::pin::pin;
use std::sync::Arc;

use anyhow::{Context, Result};
use aws_sdk_secretsmanager::Client;
use futures_util::TryStreamExt;
use jiff::Timestamp;
use threads_auth_model::seal::{Keyring, Purpose, key_id};
use threads_auth_model::{App, SEALED, Value, Vault};
use threads_auth_store::row;
use threads_graph::{AppCredentials, UserId};
use zeroize::Zeroizing;

use super::aws_failure::failed;
use super::secrets::{CURRENT, refused};
use crate::operate::target::StackHandle;
use crate::shell::exit::later;

/// A secret with its versions, the newest first.
pub(super) struct Versions {
    /// True if the secret is scheduled for deletion.
    pub(super) deleted: bool,
    pub(super) all: Vec<Version>,
}

/// One version.
pub(super) struct Version {
    pub(super) id: String,
    pub(super) labels: Vec<String>,
    pub(super) made_at: Timestamp,
    /// The content, or the reason why AWS did not return it.
    pub(super) text: Result<Zeroizing<String>, String>,
}

impl Version {
    pub(super) fn is_current(&self) -> bool {
        self.labels.iter().any(|label| label == CURRENT)
    }
}

impl Versions {
    /// Reads all versions. Of a secret that is scheduled for deletion, only the schedule can be
    /// read.
    pub(super) async fn of(client: &Client, id: &str) -> Result<Self> {
        let told = client.describe_secret().secret_id(id).send().await;
        let told = told.map_err(|error| refused(&error, "find", id))?;
        let listed = client.list_secret_version_ids().secret_id(id).include_deprecated(true);
        let mut pages = listed.into_paginator().send();
        let mut listed = Vec::new();
        while let Some(page) =
            pages.try_next().await.map_err(|error| refused(&error, "list the versions of", id))?
        {
            listed.extend(page.versions.unwrap_or_default());
        }
        let mut all = Vec::new();
        for version in listed {
            let Some(version_id) = version.version_id else { continue };
            let read = client.get_secret_value().secret_id(id).version_id(&version_id).send().await;
            let text = match read {
                // Binary content is malformed, just as empty content is.
                Ok(answer) => Ok(Zeroizing::new(answer.secret_string.unwrap_or_default())),
                Err(error) => Err(failed(&error, "Secrets Manager did not read it").to_string()),
            };
            let made_at = version.created_date.map_or(0, |date| date.secs());
            all.push(Version {
                id: version_id,
                labels: version.version_stages.unwrap_or_default(),
                made_at: Timestamp::from_second(made_at).unwrap_or(Timestamp::MAX),
                text,
            });
        }
        // Of the same second, the current version is the newest.
        all.sort_by_key(|version| std::cmp::Reverse((version.made_at, version.is_current())));
        Ok(Self { deleted: told.deleted_date.is_some(), all })
    }

    pub(super) fn current(&self) -> Option<&Version> {
        self.all.iter().find(|version| version.is_current())
    }

    /// Refuses to replace a current version whose content is unknown. A secret whose deletion was
    /// just cancelled may be unreadable for a moment.
    pub(super) fn know_current(&self) -> Result<()> {
        match self.current().map(|version| &version.text) {
            Some(Err(why)) => later(format!(
                "the current version could not be read, and it stays: it is unknown what would be lost with it ({why})"
            )),
            _ => Ok(()),
        }
    }
}

/// All sealed values of a stack.
pub(super) struct SealedValues {
    table: String,
    values: Vec<(UserId, Purpose, Vec<u8>)>,
}

impl SealedValues {
    /// Reads all of them.
    pub(super) async fn of(stack: &StackHandle) -> Result<Self> {
        let store = stack.service.store();
        let mut items = pin!(store.items(store.grants_table(), true));
        let mut values = Vec::new();
        while let Some(item) = items.try_next().await.context("the sealed tokens could not be read")? {
            let row = row(&item);
            let Some(user_id) = row.key().and_then(|key| key.user_id()) else { continue };
            for (attribute, purpose) in SEALED {
                if let Some(Value::Bytes(sealed)) = row.get(attribute) {
                    values.push((user_id.clone(), purpose, sealed.clone()));
                }
            }
        }
        Ok(Self { table: store.grants_table().to_owned(), values })
    }

    pub(super) fn count(&self) -> usize {
        self.values.len()
    }

    /// Returns the ids of the keys that have sealed the values.
    pub(super) fn key_ids(&self) -> BTreeSet<&str> {
        self.values.iter().filter_map(|(_, _, sealed)| key_id(sealed)).collect()
    }

    /// Returns the values that open with this keyring, for this app.
    pub(super) fn opened(&self, app: &AppCredentials, keyring: &Arc<Keyring>) -> Opens {
        let app = App { credentials: app.clone(), inspector: None, previous: None };
        let vault = Vault { app: Arc::new(app), keyring: Arc::clone(keyring), table: self.table.clone() };
        let opens = |(user_id, purpose, sealed): &(UserId, Purpose, Vec<u8>)| {
            vault.open(*purpose, user_id, sealed).is_ok()
        };
        Opens(self.values.iter().map(opens).collect())
    }
}

/// For each value, true if it opens.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Opens(Vec<bool>);

impl Opens {
    pub(super) fn count(&self) -> usize {
        self.0.iter().filter(|opens| **opens).count()
    }

    /// Returns the union with `other`.
    pub(super) fn and(self, other: &Self) -> Self {
        Self(self.0.iter().zip(&other.0).map(|(one, other)| *one || *other).collect())
    }

    /// Returns true if every value that `other` opens is among these.
    pub(super) fn has_all_of(&self, other: &Self) -> bool {
        self.0.iter().zip(&other.0).all(|(opens, needed)| *opens || !needed)
    }
}
