//! A Secrets Manager endpoint, with its secrets in a file.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result};
use aws_sdk_secretsmanager::Client;
use axum::body::Bytes;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::{Router, extract::State};
use winterbaume_core::{MockRequest, MockService, StatefulService};
use winterbaume_secretsmanager::SecretsManagerService;

use crate::data_folder::write_private;
use crate::environment::{ACCOUNT_ID, REGION};

/// The service, and where it keeps its secrets.
#[derive(Clone)]
pub(crate) struct SecretsManager {
    service: Arc<SecretsManagerService>,
    file: Option<PathBuf>,
}

impl SecretsManager {
    /// Opens the service with the secrets in `file`, if it exists.
    pub(crate) async fn open(file: Option<PathBuf>) -> Result<Self> {
        let service = SecretsManagerService::new();
        if let Some(path) = file.as_ref().filter(|path| path.exists()) {
            let text = std::fs::read(path)?;
            // Where, but not what: serde's own words quote the file, which may be a secret.
            let secrets = serde_json::from_slice(&text).map_err(|e| {
                anyhow::anyhow!("it does not hold secrets: line {} column {}", e.line(), e.column())
            })?;
            service.restore(ACCOUNT_ID, REGION, secrets).await.map_err(|e| anyhow::anyhow!("{e:?}"))?;
        }
        Ok(Self { service: Arc::new(service), file })
    }

    pub(crate) fn endpoint(self) -> Router {
        Router::new().fallback(answer).with_state(self)
    }

    async fn save(&self) -> Result<()> {
        let Some(file) = &self.file else { return Ok(()) };
        let text = serde_json::to_vec(&self.service.snapshot(ACCOUNT_ID, REGION).await)?;
        write_private(file, &text)
    }
}

async fn answer(
    State(secrets): State<SecretsManager>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let target = headers.get("x-amz-target").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let reads =
        ["GetSecretValue", "DescribeSecret", "ListSecrets", "ListSecretVersionIds", "BatchGetSecretValue"];
    let changes = !reads.iter().any(|read| target.ends_with(&format!(".{read}")));
    let request = MockRequest {
        method: method.to_string(),
        uri: format!("https://secretsmanager.{REGION}.amazonaws.com{uri}"),
        headers,
        body,
    };
    let answer = secrets.service.handle(request).await;
    if changes && let Err(error) = secrets.save().await {
        tracing::error!(%error, "the secrets could not be saved");
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    }
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (status, answer.headers, answer.body).into_response()
}

/// Creates the secret `id` with `text`, or gives it `text` as its new value when `replace` is set.
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
