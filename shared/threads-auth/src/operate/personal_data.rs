//! The stored data of one person, for that person, without secrets.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value as Json, json};
use threads_auth_model::{Attribute, Value};
use threads_auth_store::{Item, SecretsError, StoreError, row};
use threads_graph::{Scope, UserId};

use crate::clients::Clients;

/// Attributes that would let their reader act as a session's browser or backend.
const SECRETS: [Attribute; 4] =
    [Attribute::Id, Attribute::SessionId, Attribute::CompletionHash, Attribute::CompletedBy];

/// Attributes whose text is short names of scopes.
const SCOPES: [Attribute; 2] = [Attribute::Scopes, Attribute::PendingScopes];

/// All stored data of one person.
#[derive(Debug, Serialize)]
pub struct PersonalData {
    /// Id of the person.
    pub user_id: UserId,
    /// The account, if it was ever connected.
    pub account: Option<Record>,
    /// The stored connect sessions that name the person.
    pub sessions: Vec<Record>,
    /// The tombstone: times of disconnects and of a deletion.
    pub ends: Option<Record>,
}

/// One row.
#[derive(Debug, Serialize)]
pub struct Record {
    /// Attributes by their names in the table.
    #[serde(flatten)]
    pub held: BTreeMap<Attribute, Json>,
    /// Names of the omitted attributes: sealed tokens, secrets, and those unknown to this version.
    pub withheld: Vec<String>,
}

/// Error of reading a person's data.
#[derive(Debug, thiserror::Error)]
pub enum PersonalDataError {
    /// The keyring, from which the tombstone's key is derived, could not be read.
    #[error(transparent)]
    Secrets(#[from] SecretsError),
    /// DynamoDB failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Returns all stored data of a person, or `None` if there is none.
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
        let json = match value {
            Value::Text(text) if SCOPES.contains(&attribute) => json!(by_metas_names(&text)),
            Value::Text(text) => json!(text),
            Value::Number(number) => moment(attribute, number).unwrap_or_else(|| json!(number)),
            Value::List(texts) => json!(texts),
            Value::Bytes(_) | Value::Other => continue,
        };
        held.insert(attribute, json);
    }
    let is_shown =
        |name: &str| name.parse().is_ok_and(|name| name == Attribute::Pk || held.contains_key(&name));
    let mut withheld: Vec<_> = item.keys().filter(|name| !is_shown(name)).cloned().collect();
    withheld.sort();
    Record { held, withheld }
}

/// Returns the scopes of a row by Meta's names.
fn by_metas_names(scopes: &str) -> String {
    let names = scopes.split(',').map(|word| match word.parse::<Scope>() {
        Ok(scope) => scope.to_string(),
        Err(_) => word.to_owned(),
    });
    names.collect::<Vec<_>>().join(",")
}

/// Returns the time that a number stands for, if its attribute is a time.
fn moment(attribute: Attribute, second: i64) -> Option<Json> {
    let name = attribute.as_str();
    let is_time = name.ends_with("_at") || name.ends_with("_until") || attribute == Attribute::Ttl;
    if attribute == Attribute::DisconnectedMs {
        return Timestamp::from_millisecond(second).ok().map(|time| json!(time));
    }
    let time = Timestamp::from_second(second).ok().filter(|_| is_time)?;
    Some(json!(time))
}
