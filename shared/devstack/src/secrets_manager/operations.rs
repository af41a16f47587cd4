//! The operations that our code calls, from a request's JSON to the response's.
//!
//! Ignores AWS's parameters that nobody here sends, such as tags, but refuses unknown operations.

use std::collections::BTreeMap;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use threads_auth_model::seal::random;

use super::secret::{CURRENT, Content, Kind, LONGEST_RECOVERY, Refused, Secret, Version};
use crate::environment::{ACCOUNT_ID, REGION};

/// AWS's limits for the length of a token.
const TOKEN: std::ops::RangeInclusive<usize> = 32..=64;
const LONGEST_VALUE: usize = 65_536;
const PAGE: usize = 100;

/// All secrets by name, as in the file.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Secrets {
    secrets: BTreeMap<String, Secret>,
}

/// Serves one request.
pub(super) fn perform(
    secrets: &mut Secrets,
    operation: &str,
    body: &[u8],
    now: Timestamp,
) -> Result<Value, Refused> {
    secrets.secrets.retain(|_, secret| secret.gone_at().is_none_or(|gone_at| now < gone_at));
    match operation {
        "CreateSecret" => secrets.create(read(body)?, now),
        "DeleteSecret" => secrets.delete(&read(body)?, now),
        "DescribeSecret" => secrets.find(&read::<Named>(body)?.secret_id).map(|secret| described(secret)),
        "GetSecretValue" => secrets.value(&read(body)?),
        "ListSecretVersionIds" => secrets.versions(&read(body)?),
        "ListSecrets" => secrets.list(&read(body)?),
        "PutSecretValue" => secrets.put(read(body)?, now),
        "RestoreSecret" => secrets.restore(&read(body)?),
        "UpdateSecretVersionStage" => secrets.move_label(&read(body)?, now),
        _ => Err(Refused::new(Kind::UnknownOperation, "there is no such operation here")),
    }
}

/// Parses a request. Its text may be a secret, which serde's message would quote.
fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refused> {
    serde_json::from_slice(body).map_err(|error| {
        let message = format!("the request is malformed in line {} column {}", error.line(), error.column());
        Refused::new(Kind::Serialization, message)
    })
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Named {
    secret_id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct CreateSecret {
    name: String,
    #[serde(default)]
    description: String,
    #[serde(flatten)]
    given: Given,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct PutSecretValue {
    secret_id: String,
    version_stages: Option<Vec<String>>,
    #[serde(flatten)]
    given: Given,
}

/// The value of a new version, and the token that becomes its id.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Given {
    client_request_token: Option<String>,
    secret_string: Option<String>,
    secret_binary: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct GetSecretValue {
    secret_id: String,
    version_id: Option<String>,
    version_stage: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct UpdateSecretVersionStage {
    secret_id: String,
    version_stage: String,
    remove_from_version_id: Option<String>,
    move_to_version_id: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ListSecretVersionIds {
    secret_id: String,
    #[serde(default)]
    include_deprecated: bool,
    #[serde(flatten)]
    page: Page,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ListSecrets {
    #[serde(default)]
    include_planned_deletion: bool,
    #[serde(default)]
    filters: Vec<Value>,
    #[serde(flatten)]
    page: Page,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Page {
    max_results: Option<usize>,
    next_token: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DeleteSecret {
    secret_id: String,
    recovery_window_in_days: Option<i64>,
    #[serde(default)]
    force_delete_without_recovery: bool,
}

impl Given {
    /// Returns the token and the value, if there is a value.
    fn version(self) -> Result<Option<(String, Content)>, Refused> {
        let binary = self.secret_binary.map(|text| from_base64(&text)).transpose()?;
        let content = Content { secret_string: self.secret_string, secret_binary: binary };
        let length = match (&content.secret_string, &content.secret_binary) {
            (None, None) => return Ok(None),
            (Some(_), Some(_)) => {
                let both = "SecretString and SecretBinary exclude each other";
                return Err(Refused::new(Kind::InvalidParameter, both));
            }
            (Some(text), None) => text.len(),
            (None, Some(hexadecimal)) => hexadecimal.len() / 2,
        };
        if !(1..=LONGEST_VALUE).contains(&length) {
            return Err(Refused::new(Kind::Validation, "a value has from 1 to 65536 bytes"));
        }
        let Some(token) = self.client_request_token else {
            return Err(Refused::new(Kind::InvalidRequest, "a value needs a ClientRequestToken"));
        };
        if !TOKEN.contains(&token.len()) {
            return Err(Refused::new(Kind::Validation, "ClientRequestToken has from 32 to 64 characters"));
        }
        Ok(Some((token, content)))
    }
}

impl Page {
    /// Returns the requested page of a list, and the token for the next one: the last name of this
    /// page.
    fn of<'a>(&self, all: impl Iterator<Item = (&'a String, Value)>) -> (Vec<Value>, Option<String>) {
        let most = self.max_results.unwrap_or(PAGE).clamp(1, PAGE);
        let mut rest = all.skip_while(|(name, _)| self.next_token.as_ref() >= Some(*name)).peekable();
        let (names, page): (Vec<_>, Vec<_>) = rest.by_ref().take(most).unzip();
        let next = rest.peek().and(names.last()).map(|last| (*last).clone());
        (page, next)
    }
}

impl Secrets {
    fn create(&mut self, asked: CreateSecret, now: Timestamp) -> Result<Value, Refused> {
        let name = asked.name;
        let is_valid = |byte: u8| byte.is_ascii_alphanumeric() || b"/_+=.@-".contains(&byte);
        if !(1..=512).contains(&name.len()) || !name.bytes().all(is_valid) {
            let rule = "a name has from 1 to 512 characters, which are letters, digits and /_+=.@-";
            return Err(Refused::new(Kind::Validation, rule));
        }
        let version = asked.given.version()?;
        if let Some(secret) = self.secrets.get(&name) {
            if secret.deleted_date.is_some() {
                let why = "a secret of this name is scheduled for deletion already";
                return Err(Refused::new(Kind::InvalidRequest, why));
            }
            let is_repeated = version.as_ref().is_some_and(|(token, content)| {
                secret.versions.get(token).is_some_and(|made| made.content == *content)
            });
            if !is_repeated {
                return Err(Refused::new(Kind::Exists, format!("there is a secret {name} already")));
            }
        } else {
            let mut secret = Secret {
                arn: format!("arn:aws:secretsmanager:{REGION}:{ACCOUNT_ID}:secret:{name}-{}", suffix()?),
                name: name.clone(),
                description: asked.description,
                created_date: now,
                last_changed_date: now,
                versions: BTreeMap::new(),
                deleted_date: None,
                recovery_window_in_days: LONGEST_RECOVERY,
            };
            if let Some((token, content)) = version.clone() {
                secret.put(&token, content, &[], now)?;
            }
            self.secrets.insert(name.clone(), secret);
        }
        let mut told = named(self.find(&name)?);
        if let Some((token, _)) = version {
            told["VersionId"] = json!(token);
        }
        Ok(told)
    }

    fn put(&mut self, asked: PutSecretValue, now: Timestamp) -> Result<Value, Refused> {
        let secret = self.find_in_use(&asked.secret_id)?;
        let Some((token, content)) = asked.given.version()? else {
            return Err(Refused::new(Kind::InvalidParameter, "SecretString or SecretBinary is needed"));
        };
        let labels = asked.version_stages.unwrap_or_else(|| vec![CURRENT.to_owned()]);
        if labels.is_empty() {
            return Err(Refused::new(Kind::Validation, "VersionStages has at least one label"));
        }
        secret.put(&token, content, &labels, now)?;
        let mut told = named(secret);
        told["VersionStages"] = json!(secret.versions.get(&token).map(|version| &version.labels));
        told["VersionId"] = json!(token);
        Ok(told)
    }

    fn value(&mut self, asked: &GetSecretValue) -> Result<Value, Refused> {
        let secret = self.find_in_use(&asked.secret_id)?;
        let by_label = asked.version_stage.as_deref();
        let id = match &asked.version_id {
            Some(id) => Some(id.as_str()),
            None => secret.holder(by_label.unwrap_or(CURRENT)),
        };
        let Some((id, version)) = id.and_then(|id| secret.versions.get_key_value(id)) else {
            // AWS's wording. A missing secret has another message with the same code.
            let which = match &asked.version_id {
                Some(id) => format!("VersionId: {id}"),
                None => format!("staging label: {}", by_label.unwrap_or(CURRENT)),
            };
            let why = format!("Secrets Manager can't find the specified secret value for {which}");
            return Err(Refused::new(Kind::NotFound, why));
        };
        if by_label.is_some_and(|label| secret.holder(label) != Some(id)) {
            let why = "VersionStage and VersionId do not name the same version";
            return Err(Refused::new(Kind::InvalidRequest, why));
        }
        let mut told = named(secret);
        told["VersionId"] = json!(id);
        told["VersionStages"] = json!(version.labels);
        told["CreatedDate"] = seconds(version.created_date);
        if let Some(text) = &version.content.secret_string {
            told["SecretString"] = json!(text);
        }
        if let Some(hexadecimal) = &version.content.secret_binary {
            told["SecretBinary"] = json!(to_base64(hexadecimal));
        }
        Ok(told)
    }

    fn move_label(&mut self, asked: &UpdateSecretVersionStage, now: Timestamp) -> Result<Value, Refused> {
        let secret = self.find_in_use(&asked.secret_id)?;
        let (from, to) = (asked.remove_from_version_id.as_deref(), asked.move_to_version_id.as_deref());
        secret.move_label(&asked.version_stage, from, to, now)?;
        Ok(named(secret))
    }

    fn versions(&mut self, asked: &ListSecretVersionIds) -> Result<Value, Refused> {
        let secret = self.find(&asked.secret_id)?;
        let is_listed = |version: &Version| asked.include_deprecated || !version.labels.is_empty();
        let listed = secret.versions.iter().filter(|(_, version)| is_listed(version)).map(|(id, version)| {
            let (labels, made_at) = (&version.labels, seconds(version.created_date));
            (id, json!({"VersionId": id, "VersionStages": labels, "CreatedDate": made_at}))
        });
        let (page, next) = asked.page.of(listed);
        let mut told = named(secret);
        told["Versions"] = Value::Array(page);
        Ok(with_next(told, next))
    }

    fn list(&mut self, asked: &ListSecrets) -> Result<Value, Refused> {
        if !asked.filters.is_empty() {
            return Err(Refused::new(Kind::InvalidParameter, "there are no filters here"));
        }
        let is_listed = |secret: &Secret| asked.include_planned_deletion || secret.deleted_date.is_none();
        let listed = self.secrets.iter().filter(|(_, secret)| is_listed(secret)).map(|(name, secret)| {
            let mut told = described(secret);
            told["SecretVersionsToStages"] = told["VersionIdsToStages"].take();
            (name, told)
        });
        let (page, next) = asked.page.of(listed);
        Ok(with_next(json!({"SecretList": page}), next))
    }

    fn delete(&mut self, asked: &DeleteSecret, now: Timestamp) -> Result<Value, Refused> {
        let (force, window) = (asked.force_delete_without_recovery, asked.recovery_window_in_days);
        if force && window.is_some() {
            let both = "ForceDeleteWithoutRecovery and RecoveryWindowInDays exclude each other";
            return Err(Refused::new(Kind::InvalidParameter, both));
        }
        let days = window.unwrap_or(LONGEST_RECOVERY);
        if !(7..=LONGEST_RECOVERY).contains(&days) {
            return Err(Refused::new(Kind::InvalidParameter, "a recovery window has from 7 to 30 days"));
        }
        let secret = match self.find(&asked.secret_id) {
            Err(_) if force => return Ok(json!({"Name": asked.secret_id, "DeletionDate": seconds(now)})),
            found => found?,
        };
        let mut told = named(secret);
        if force {
            let name = secret.name.clone();
            self.secrets.remove(&name);
            told["DeletionDate"] = seconds(now);
            return Ok(told);
        }
        let secret = self.find_in_use(&asked.secret_id)?;
        (secret.deleted_date, secret.recovery_window_in_days) = (Some(now), days);
        told["DeletionDate"] = json!(secret.gone_at().map(seconds));
        Ok(told)
    }

    /// A secret that is not deleted stays unchanged.
    fn restore(&mut self, asked: &Named) -> Result<Value, Refused> {
        let secret = self.find(&asked.secret_id)?;
        secret.deleted_date = None;
        Ok(named(secret))
    }

    /// Finds a secret by its name, or by its ARN with or without AWS's random suffix.
    fn find(&mut self, id: &str) -> Result<&mut Secret, Refused> {
        let is_named = |secret: &Secret| {
            secret.name == id
                || secret.arn == id
                || secret.arn.rsplit_once('-').is_some_and(|(partial, _)| partial == id)
        };
        let found = self.secrets.values_mut().find(|secret| is_named(secret));
        found.ok_or_else(|| Refused::new(Kind::NotFound, "Secrets Manager can't find the specified secret."))
    }

    /// Finds a secret that is not scheduled for deletion.
    fn find_in_use(&mut self, id: &str) -> Result<&mut Secret, Refused> {
        let secret = self.find(id)?;
        if secret.deleted_date.is_some() {
            // Only AWS's words distinguish it from other invalid requests.
            let why = "You can't perform this operation on the secret because it was marked for deletion.";
            return Err(Refused::new(Kind::InvalidRequest, why));
        }
        Ok(secret)
    }
}

fn named(secret: &Secret) -> Value {
    json!({"ARN": secret.arn, "Name": secret.name})
}

fn described(secret: &Secret) -> Value {
    let labelled = secret.versions.iter().filter(|(_, version)| !version.labels.is_empty());
    let labels: BTreeMap<_, _> = labelled.map(|(id, version)| (id, &version.labels)).collect();
    let mut told = named(secret);
    told["Description"] = json!(secret.description);
    told["CreatedDate"] = seconds(secret.created_date);
    told["LastChangedDate"] = seconds(secret.last_changed_date);
    told["VersionIdsToStages"] = json!(labels);
    if let Some(gone_at) = secret.gone_at() {
        told["DeletedDate"] = seconds(gone_at);
    }
    told
}

fn with_next(mut told: Value, next: Option<String>) -> Value {
    if let Some(next) = next {
        told["NextToken"] = json!(next);
    }
    told
}

/// Formats a time as the protocol does.
fn seconds(at: Timestamp) -> Value {
    json!(at.as_duration().as_secs_f64())
}

/// Returns the six random characters at the end of an ARN, without the hyphen before them.
fn suffix() -> Result<String, Refused> {
    const LETTERS: &[u8] = b"abcdefghijklmnopqrstuvwxyzABCDEF";
    let random = random::<6>().map_err(|_| Refused::new(Kind::Internal, "there is no randomness"))?;
    Ok(random.iter().map(|byte| char::from(LETTERS[usize::from(byte % 32)])).collect())
}

fn from_base64(text: &str) -> Result<String, Refused> {
    let bytes = BASE64_STANDARD.decode(text);
    let bytes = bytes.map_err(|_| Refused::new(Kind::Serialization, "SecretBinary is not Base64"))?;
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    Ok(digits.filter_map(|digit| char::from_digit(digit.into(), 16)).collect())
}

fn to_base64(hexadecimal: &str) -> String {
    let digits = hexadecimal.as_bytes().chunks(2).filter_map(|pair| std::str::from_utf8(pair).ok());
    let bytes: Vec<u8> = digits.filter_map(|pair| u8::from_str_radix(pair, 16).ok()).collect();
    BASE64_STANDARD.encode(bytes)
}
