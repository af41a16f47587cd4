//! A Secrets Manager endpoint, with its secrets in a file.
//!
//! Owns what the emulator within does otherwise than AWS: versions without a label stay, one
//! version is the previous one, and a label is taken from nowhere but where it is.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result};
use aws_sdk_secretsmanager::Client;
use axum::body::Bytes;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::{Router, extract::State};
use serde::Deserialize;
use winterbaume_core::{MockRequest, MockResponse, MockService, StatefulService};
use winterbaume_secretsmanager::SecretsManagerService;
use winterbaume_secretsmanager::views::SecretsmanagerStateView;

use crate::data_folder::write_private;
use crate::environment::{ACCOUNT_ID, REGION};

/// The service, and where it keeps its secrets.
#[derive(Clone)]
pub(crate) struct SecretsManager {
    service: Arc<SecretsManagerService>,
    file: Option<PathBuf>,
    /// One change at a time.
    changes: Arc<tokio::sync::Mutex<()>>,
}

/// AWS keeps so many versions that have no label.
const UNLABELLED: usize = 100;

/// A request that moves a label.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Move {
    secret_id: String,
    version_stage: String,
    remove_from_version_id: Option<String>,
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
        Ok(Self { service: Arc::new(service), file, changes: Arc::default() })
    }

    pub(crate) fn endpoint(self) -> Router {
        Router::new().fallback(answer).with_state(self)
    }

    async fn change(&self, target: &str, request: MockRequest) -> MockResponse {
        let _one_at_a_time = self.changes.lock().await;
        let before = self.service.snapshot(ACCOUNT_ID, REGION).await;
        if target.ends_with(".UpdateSecretVersionStage") && !is_where_it_is_taken_from(&before, &request.body)
        {
            let why = r#"{"__type":"InvalidParameterException","Message":"the label is attached to another version"}"#;
            return MockResponse::json(400, why);
        }
        let answer = self.service.handle(request).await;
        let mut after = self.service.snapshot(ACCOUNT_ID, REGION).await;
        if keep_versions(&before, &mut after)
            && let Err(error) = self.service.restore(ACCOUNT_ID, REGION, after).await
        {
            tracing::error!(?error, "versions of a secret are lost");
        }
        answer
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
    let target = headers.get("x-amz-target").and_then(|value| value.to_str().ok());
    let target = &target.unwrap_or_default().to_owned();
    let reads =
        ["GetSecretValue", "DescribeSecret", "ListSecrets", "ListSecretVersionIds", "BatchGetSecretValue"];
    let changes = !reads.iter().any(|read| target.ends_with(&format!(".{read}")));
    let request = MockRequest {
        method: method.to_string(),
        uri: format!("https://secretsmanager.{REGION}.amazonaws.com{uri}"),
        headers,
        body,
    };
    let answer =
        if changes { secrets.change(target, request).await } else { secrets.service.handle(request).await };
    if changes && let Err(error) = secrets.save().await {
        tracing::error!(%error, "the secrets could not be saved");
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    }
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (status, answer.headers, answer.body).into_response()
}

fn is_where_it_is_taken_from(before: &SecretsmanagerStateView, body: &[u8]) -> bool {
    let Ok(asked) = serde_json::from_slice::<Move>(body) else { return true };
    let secret =
        before.secrets.values().find(|secret| [&secret.name, &secret.arn].contains(&&asked.secret_id));
    let Some(secret) = secret else { return true };
    let has = |stages: &[String]| stages.contains(&asked.version_stage);
    let holder = secret.versions.iter().find(|(_, version)| has(&version.version_stages));
    holder.map(|(id, _)| id) == asked.remove_from_version_id.as_ref()
}

/// Lets versions stay that the emulator drops: whether there is anything to be put back.
fn keep_versions(before: &SecretsmanagerStateView, after: &mut SecretsmanagerStateView) -> bool {
    let mut is_changed = false;
    for (name, secret) in &mut after.secrets {
        let Some(old) = before.secrets.get(name) else { continue };
        for (id, version) in &old.versions {
            if !secret.versions.contains_key(id) {
                let mut version = version.clone();
                version.version_stages.clear();
                secret.versions.insert(id.clone(), version);
                is_changed = true;
            }
        }
        let is = |stages: &[String], label: &str| stages.iter().any(|stage| stage == label);
        let replaced = |id: &String| old.current_version_id.as_ref() == Some(id);
        let previous = secret.versions.values().filter(|one| is(&one.version_stages, "AWSPREVIOUS")).count();
        for (id, version) in &mut secret.versions {
            if previous > 1 && !replaced(id) && is(&version.version_stages, "AWSPREVIOUS") {
                version.version_stages.retain(|stage| stage != "AWSPREVIOUS");
                is_changed = true;
            }
        }
        let unlabelled = secret.versions.iter().filter(|(_, version)| version.version_stages.is_empty());
        let mut unlabelled: Vec<_> =
            unlabelled.map(|(id, version)| (version.created_date.clone(), id.clone())).collect();
        unlabelled.sort_by(|one, other| other.cmp(one));
        for (_, id) in unlabelled.drain(..).skip(UNLABELLED) {
            secret.versions.remove(&id);
            is_changed = true;
        }
    }
    is_changed
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
