//! Secrets, read and written with an operator's permissions, which functions lack.

use anyhow::{Context, Result};
use aws_sdk_secretsmanager::Client;
use aws_sdk_secretsmanager::error::{ProvideErrorMetadata, SdkError};
use jiff::Timestamp;
use serde_json::{Map, Value as Json};
use threads_graph::{AppCredentials, AppSecret};
use zeroize::Zeroizing;

use super::aws_failure::failed;

/// The label of a version that is about to become the current one.
const NEXT: &str = "THREADS_AUTH_NEXT";

/// The label of the version that functions read.
pub(super) const CURRENT: &str = "AWSCURRENT";

/// The content of a secret.
pub(super) struct Value {
    pub(super) text: Zeroizing<String>,
    /// The id of the current version, and its creation time.
    pub(super) version: String,
    pub(super) made_at: Timestamp,
}

/// Returns the app's id and secret from their secret's text, if it has them.
pub(super) fn stored(secret: &Map<String, Json>) -> Option<AppCredentials> {
    let text = |name| secret.get(name).and_then(Json::as_str);
    Some(AppCredentials {
        app_id: text("app_id")?.parse().ok()?,
        app_secret: AppSecret::new(text("app_secret")?).ok()?,
    })
}

/// Reads a secret's value, if it has one yet.
pub(super) async fn value(client: &Client, id: &str) -> Result<Option<Value>> {
    match client.get_secret_value().secret_id(id).send().await {
        Ok(answer) => {
            let Some(text) = answer.secret_string.map(Zeroizing::new) else {
                return Ok(None);
            };
            let made_at = answer.created_date.map_or(0, |date| date.secs());
            Ok(Some(Value {
                text,
                version: answer.version_id.unwrap_or_default(),
                made_at: Timestamp::from_second(made_at).unwrap_or(Timestamp::MAX),
            }))
        }
        Err(error) if error.code() == Some("ResourceNotFoundException") => {
            // A secret without a value is "not found" too.
            let there = client.describe_secret().secret_id(id).send().await;
            there.map_err(|error| refused(&error, "find", id))?;
            Ok(None)
        }
        Err(error) => Err(refused(&error, "read", id)),
    }
}

/// Writes a new value to a secret.
pub(super) async fn put(client: &Client, id: &str, text: &str, once: Option<&str>) -> Result<()> {
    let put = client
        .put_secret_value()
        .secret_id(id)
        .secret_string(text)
        .set_client_request_token(once.map(str::to_owned))
        .send()
        .await;
    put.map_err(|error| refused(&error, "write", id))?;
    Ok(())
}

/// Makes `text` the value of a secret, if its current version is still `version`, or if there is
/// none. Returns false if somebody else has changed it.
pub(super) async fn replace(client: &Client, id: &str, version: Option<&str>, text: &str) -> Result<bool> {
    let put = client.put_secret_value().secret_id(id).secret_string(text).version_stages(NEXT);
    let put = put.send().await.map_err(|error| refused(&error, "write", id))?;
    let next = put.version_id.context("Secrets Manager did not name the version that it made")?;
    make_current(client, id, version, &next).await
}

/// Makes the version `to` of a secret the current one, if `from` still is, or if none is. Only a
/// move of the current version's label is a compare-and-swap: Secrets Manager refuses it if the
/// label is not at `from`. Returns true if the label is at `to`, so that a lost response is not
/// mistaken for a conflict.
pub(super) async fn make_current(client: &Client, id: &str, from: Option<&str>, to: &str) -> Result<bool> {
    let moved = client
        .update_secret_version_stage()
        .secret_id(id)
        .version_stage(CURRENT)
        .set_remove_from_version_id(from.map(str::to_owned))
        .move_to_version_id(to)
        .send()
        .await;
    let Err(error) = moved else { return Ok(true) };
    if value(client, id).await?.is_some_and(|value| value.version == to) {
        return Ok(true);
    }
    match error.code() {
        // The label is elsewhere, or somebody else's version has become the current one.
        Some("InvalidParameterException" | "InvalidRequestException" | "ResourceNotFoundException") => {
            Ok(false)
        }
        _ => Err(refused(&error, "write", id)),
    }
}

/// Returns the error for a request that Secrets Manager refused.
pub(super) fn refused<E>(error: &SdkError<E>, verb: &str, id: &str) -> anyhow::Error
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    failed(error, &format!("Secrets Manager did not {verb} the secret {id}")).into()
}
