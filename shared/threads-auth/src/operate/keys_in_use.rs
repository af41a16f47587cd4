//! The keys that still seal values of the grants table.

use std::collections::BTreeMap;
use std::pin::pin;

use futures_util::TryStreamExt;
use threads_auth_model::{Value, seal};
use threads_auth_store::{StoreError, row};

use crate::clients::Clients;

/// Returns the ids of the keys in use in the grants table, each with the number of values it seals.
pub(crate) async fn keys_in_use(clients: &Clients) -> Result<BTreeMap<String, u64>, StoreError> {
    let store = &clients.store;
    let mut keys = BTreeMap::new();
    let mut items = pin!(store.items(store.grants_table(), true));
    while let Some(item) = items.try_next().await? {
        for (_, value) in row(&item) {
            if let Value::Bytes(sealed) = &value
                && let Some(key) = seal::key_id(sealed)
            {
                *keys.entry(key.to_owned()).or_default() += 1;
            }
        }
    }
    Ok(keys)
}
