//! What is held about one person, for that person: all of it but what opens an account.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value as Json, json};
use threads_auth_model::{Attribute, Value};
use threads_auth_store::{Item, SecretsError, StoreError, row};
use threads_graph::UserId;

use crate::clients::Clients;

/// These are texts, and let somebody act: as the session's browser or as its backend.
const SECRETS: [Attribute; 4] =
    [Attribute::Id, Attribute::SessionId, Attribute::CompletionHash, Attribute::CompletedBy];

/// All that is held about one person.
#[derive(Debug, Serialize)]
pub struct PersonalData {
    /// Who it is.
    pub user_id: UserId,
    /// The account, if it was ever connected.
    pub account: Option<Record>,
    /// The connect sessions that are still kept and name the person.
    pub sessions: Vec<Record>,
    /// The trace of ends and of a deletion: that there were some, and when.
    pub ends: Option<Record>,
}

/// One row.
#[derive(Debug, Serialize)]
pub struct Record {
    /// Its attributes, by their names in the table.
    #[serde(flatten)]
    pub held: BTreeMap<Attribute, Json>,
    /// The names of those that are left out: sealed tokens, what lets somebody act, and what this
    /// version does not know.
    pub withheld: Vec<String>,
}

/// Why what is held about a person could not be told.
#[derive(Debug, thiserror::Error)]
pub enum PersonalDataError {
    /// The keyring, which names the tombstone, could not be read.
    #[error(transparent)]
    Secrets(#[from] SecretsError),
    /// DynamoDB failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// All that is held about a person; nothing, if that is so.
pub(crate) async fn personal_data(
    clients: &Clients,
    user_id: &UserId,
    now: Timestamp,
) -> Result<Option<PersonalData>, PersonalDataError> {
    let tombstone = clients.vault(now).await?.tombstone(user_id);
    let held = clients.store.personal_rows(user_id, &tombstone).await?;
    if held.grant.is_none() && held.sessions.is_empty() && held.tombstone.is_none() {
        return Ok(None);
    }
    Ok(Some(PersonalData {
        user_id: user_id.clone(),
        account: held.grant.as_ref().map(record),
        sessions: held.sessions.iter().map(record).collect(),
        ends: held.tombstone.as_ref().map(record),
    }))
}

fn record(item: &Item) -> Record {
    let mut held = BTreeMap::new();
    for (attribute, value) in row(item) {
        if SECRETS.contains(&attribute) || attribute == Attribute::Pk {
            continue;
        }
        let told = match value {
            Value::Text(text) => json!(text),
            Value::Number(number) => moment(attribute, number).unwrap_or_else(|| json!(number)),
            Value::List(texts) => json!(texts),
            Value::Bytes(_) | Value::Other => continue,
        };
        held.insert(attribute, told);
    }
    let is_told =
        |name: &str| name.parse().is_ok_and(|name| name == Attribute::Pk || held.contains_key(&name));
    let mut withheld: Vec<_> = item.keys().filter(|name| !is_told(name)).cloned().collect();
    withheld.sort();
    Record { held, withheld }
}

/// A number as the time that it is.
fn moment(attribute: Attribute, second: i64) -> Option<Json> {
    let name = attribute.as_str();
    let is_time = name.ends_with("_at") || name.ends_with("_until") || attribute == Attribute::Ttl;
    if attribute == Attribute::DisconnectedMs {
        return Timestamp::from_millisecond(second).ok().map(|time| json!(time));
    }
    let time = Timestamp::from_second(second).ok().filter(|_| is_time)?;
    Some(json!(time))
}
