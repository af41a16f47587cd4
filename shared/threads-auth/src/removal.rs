//! The end of a grant: the person removes the app or asks for their data to be deleted, or the app
//! disconnects the account.
//!
//! Owns what follows from a `signed_request`, and reads nothing of it before its signature is
//! proven. Meta may repeat a request, or deliver it late: each is idempotent, and none touches what
//! the person has consented to since it was made.

use std::time::Duration;

use jiff::Timestamp;
use threads_auth_model::{RevokedBy, State, Vault, rules, seal};
use threads_auth_store::{Deletion, SecretsError, StoreError, WriteOutcome, repeat};
use threads_graph::{SignedRequest, SignedRequestError, UserId, verify_signed_request};
use url::{Url, form_urlencoded};

use crate::clients::Clients;
use crate::stopwatch::Stopwatch;

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
    /// Its effect: none if there was no grant, or the person has connected again since.
    pub written: WriteOutcome,
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

/// Carries out a deauthorization. `form` is the request's body.
pub(crate) async fn deauthorize(
    clients: &Clients,
    form: &[u8],
    now: Timestamp,
) -> Result<Deauthorized, RemovalError> {
    let time = Stopwatch::start(now, clients.config.work_time());
    let message = signed_request(form)?;
    let request = verify(&clients.vault(now).await?, &message, now)?;
    let (user_id, issued_at) = (request.user_id, request.issued_at);
    let revoke = rules::revoke(&user_id, RevokedBy::Threads, issued_at, now);
    let written = repeat(time.deadline(), || clients.store.write(&revoke)).await?;
    Ok(Deauthorized { user_id, written })
}

/// Carries out a deletion. `form` is the request's body.
pub(crate) async fn delete_data(
    clients: &Clients,
    form: &[u8],
    now: Timestamp,
) -> Result<Deleted, RemovalError> {
    let message = signed_request(form)?;
    let vault = clients.vault(now).await?;
    let request = verify(&vault, &message, now)?;
    delete_person(clients, &vault, &request.user_id, request.issued_at, now).await
}

/// Carries out the wish of a person to be forgotten. It can be repeated.
pub(crate) async fn delete_person(
    clients: &Clients,
    vault: &Vault,
    user_id: &UserId,
    requested_at: Timestamp,
    now: Timestamp,
) -> Result<Deleted, RemovalError> {
    let time = Stopwatch::start(now, clients.config.work_time());
    let confirmation_code = vault.confirmation_code(user_id, requested_at);
    let deletion = Deletion {
        user_id,
        tombstone: &vault.tombstone(user_id),
        code_hash: &seal::hash(&confirmation_code),
        requested_at,
    };
    let all = repeat(time.deadline(), || clients.store.delete(deletion, now)).await?;
    let mut url = clients.config.public_url.clone();
    url.set_path(&format!("data-deletion/{confirmation_code}"));
    Ok(Deleted { url, confirmation_code, connected_since: !all })
}

/// Ends a grant for the app. Says whether there was one.
pub(crate) async fn disconnect(
    clients: &Clients,
    user_id: &UserId,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let store = &clients.store;
    let written = store.write(&rules::revoke(user_id, RevokedBy::App, now, now)).await?;
    if written != WriteOutcome::Superseded {
        return Ok(written == WriteOutcome::Stored);
    }
    // Revoked before; or the person has connected just now, by a clock that is ahead of ours.
    let Some(grant) = store.grant(user_id).await? else {
        return Ok(false);
    };
    if !matches!(grant.state, State::Revoked(_, None)) {
        let since = grant.connected_at.max(now);
        store.write(&rules::revoke(user_id, RevokedBy::App, since, now)).await?;
    }
    Ok(true)
}

fn verify(vault: &Vault, message: &str, now: Timestamp) -> Result<SignedRequest, SignedRequestError> {
    verify_signed_request(vault.app_secret(), message, now, MAX_AGE)
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
