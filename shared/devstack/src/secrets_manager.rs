//! A Secrets Manager endpoint, with its secrets in a file.
//!
//! Owns the listener and the file: one request at a time, and a change that is not saved has not
//! happened. `operations.rs` parses the requests; `secret.rs` has AWS's rules of versions and
//! labels.

mod operations;
mod secret;

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result, anyhow};
use aws_sdk_secretsmanager::Client;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::{Router, routing::post};
use jiff::Timestamp;
use serde_json::{Value, json};
use threads_sandbox::Clock;
use tokio::sync::Mutex;

use crate::data_folder::write_private;
use operations::{Secrets, perform};
use secret::{Kind, Refused};

/// The service, and the file of its secrets.
#[derive(Clone)]
pub(crate) struct SecretsManager {
    secrets: Arc<Mutex<Secrets>>,
    file: Option<PathBuf>,
}

impl SecretsManager {
    /// Opens the service with the secrets in `file`, if it exists.
    pub(crate) fn open(file: Option<PathBuf>) -> Result<Self> {
        let secrets = match file.as_ref().filter(|path| path.exists()) {
            // Only the position: serde's message quotes the file's content, which may be a secret.
            Some(path) => serde_json::from_slice(&std::fs::read(path)?)
                .map_err(|e| anyhow!("it does not hold secrets: line {} column {}", e.line(), e.column()))?,
            None => Secrets::default(),
        };
        Ok(Self { secrets: Arc::new(Mutex::new(secrets)), file })
    }

    pub(crate) fn endpoint(self) -> Router {
        Router::new().route("/", post(answer)).with_state(self)
    }

    async fn perform(&self, operation: &str, body: &[u8], now: Timestamp) -> Result<Value, Refused> {
        let mut secrets = self.secrets.lock().await;
        let mut changed = secrets.clone();
        let answer = perform(&mut changed, operation, body, now)?;
        if changed != *secrets {
            self.save(&changed).map_err(|error| {
                tracing::error!(%error, "the secrets could not be saved");
                Refused::new(Kind::Internal, "the secrets could not be saved")
            })?;
            *secrets = changed;
        }
        Ok(answer)
    }

    fn save(&self, secrets: &Secrets) -> Result<()> {
        let Some(file) = &self.file else { return Ok(()) };
        write_private(file, &serde_json::to_vec(secrets)?)
    }
}

async fn answer(State(service): State<SecretsManager>, headers: HeaderMap, body: Bytes) -> Response {
    let target = headers.get("x-amz-target").and_then(|target| target.to_str().ok()).unwrap_or_default();
    let operation = target.strip_prefix("secretsmanager.").unwrap_or_default();
    // AWS uses the real time, even if our clock was moved.
    let (status, told) = match service.perform(operation, &body, Clock::system().now()).await {
        Ok(told) => (StatusCode::OK, told),
        Err(Refused { kind, message }) => {
            (kind.status(), json!({"__type": kind.as_str(), "Message": message}))
        }
    };
    (status, [(CONTENT_TYPE, "application/x-amz-json-1.1")], told.to_string()).into_response()
}

/// Creates the secret `id` with `text`, or replaces its value if `replace` is set.
pub(crate) async fn provide(client: &Client, id: &str, text: &str, replace: bool) -> Result<()> {
    if client.describe_secret().secret_id(id).send().await.is_err() {
        let created = client.create_secret().name(id).secret_string(text).send().await;
        created.with_context(|| format!("the secret {id} could not be created"))?;
    } else if replace {
        let put = client.put_secret_value().secret_id(id).secret_string(text).send().await;
        put.with_context(|| format!("the secret {id} could not be changed"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
