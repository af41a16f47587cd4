//! What Meta posts to us when a person removes the app, or asks for their data to be deleted.
//!
//! Owns what follows from a `signed_request`, and reads nothing of it before its signature is proven. Meta may repeat a request, or
//! deliver it late: each is idempotent, and none touches what the person has consented to since it was made.

use std::time::Duration;

use jiff::Timestamp;
use threads_graph::{SignedRequest, SignedRequestError, UserId, verify_signed_request};
use tokio::time::Instant;
use url::{Url, form_urlencoded};

use crate::ThreadsAuth;
use crate::connect::persist;
use crate::flow::state_hash;
use crate::grant::RevokedBy;
use crate::secrets::SecretsError;
use crate::store::{Deletion, StoreError, Written};
use crate::vault::Vault;

/// How late Meta may deliver a request. It does not say for how long it tries.
const MAX_AGE: Duration = Duration::from_hours(24);

/// Meta's requests have about 300 bytes.
const MAX_BODY: usize = 8_192;

/// Why a request of Meta's was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum RemovalError {
    /// There is no form with one `signed_request`.
    #[error("expected a form with one signed_request")]
    Form,
    /// It is not Meta's, or not of today.
    #[error(transparent)]
    SignedRequest(#[from] SignedRequestError),
    /// The app's secret cannot be read.
    #[error(transparent)]
    Secrets(#[from] SecretsError),
    /// DynamoDB failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A deauthorization that was carried out.
#[derive(Debug)]
pub struct Deauthorized {
    /// Who removed the app.
    pub user_id: UserId,
    /// What it changed: nothing if there was no grant, or the person has connected again since.
    pub written: Written,
}

/// A deletion that was carried out, in the terms of Meta's answer.
#[derive(Debug)]
pub struct Deleted {
    /// Where the person can see what became of it.
    pub url: Url,
    /// The code in it.
    pub confirmation_code: String,
    /// Whether the person has connected again since they asked, and that was left alone.
    pub connected_since: bool,
}

impl ThreadsAuth {
    /// Carries out a deauthorization: the grant is revoked and its tokens are destroyed. `form` is the request's body.
    ///
    /// # Errors
    /// When the request is not Meta's, or the secrets or the store fail.
    pub async fn deauthorize(&self, form: &[u8], now: Timestamp) -> Result<Deauthorized, RemovalError> {
        let began = Instant::now();
        let message = signed_request(form)?;
        let vault = self.vault(now).await?;
        let request = verify(&vault, &message, now)?;
        let revoke = || {
            self.store
                .revoke(&request.user_id, RevokedBy::Threads, request.issued_at, now)
        };
        let written = persist(began + self.config.work_time(), revoke).await?;
        Ok(Deauthorized {
            user_id: request.user_id,
            written,
        })
    }

    /// Carries out a deletion: everything about the person is erased, but for a keyed hash that stops a connect under way. `form`
    /// is the request's body.
    ///
    /// # Errors
    /// When the request is not Meta's, or the secrets or the store fail.
    pub async fn delete_data(&self, form: &[u8], now: Timestamp) -> Result<Deleted, RemovalError> {
        let began = Instant::now();
        let message = signed_request(form)?;
        let vault = self.vault(now).await?;
        let request = verify(&vault, &message, now)?;
        let confirmation_code =
            vault
                .keyring
                .confirmation_code(&vault.app.app_id, &request.user_id, request.issued_at);
        let tombstone = vault.tombstone(&request.user_id);
        let code_hash = state_hash(&confirmation_code);
        let deletion = Deletion {
            user_id: &request.user_id,
            tombstone: &tombstone,
            code_hash: &code_hash,
            requested_at: request.issued_at,
        };
        let all = persist(began + self.config.work_time(), || {
            self.store.delete(deletion, now)
        })
        .await?;
        let mut url = self.config.public_url.clone();
        url.set_path(&format!("data-deletion/{confirmation_code}"));
        Ok(Deleted {
            url,
            confirmation_code,
            connected_since: !all,
        })
    }

    /// When the deletion of this code was carried out, if there was one.
    ///
    /// # Errors
    /// When DynamoDB fails.
    pub async fn deletion(&self, confirmation_code: &str) -> Result<Option<Timestamp>, StoreError> {
        self.store.deletion(&state_hash(confirmation_code)).await
    }
}

fn verify(vault: &Vault, message: &str, now: Timestamp) -> Result<SignedRequest, SignedRequestError> {
    verify_signed_request(&vault.app.app_secret, message, now, MAX_AGE)
}

fn signed_request(form: &[u8]) -> Result<String, RemovalError> {
    if form.len() > MAX_BODY {
        return Err(RemovalError::Form);
    }
    let mut values = form_urlencoded::parse(form)
        .filter(|(name, _)| name == "signed_request")
        .map(|(_, value)| value.into_owned());
    match (values.next(), values.next()) {
        (Some(message), None) => Ok(message),
        _ => Err(RemovalError::Form),
    }
}
