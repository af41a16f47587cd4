//! The end of a grant: the person removes the app or asks for their data to be deleted, or the app
//! disconnects the account.
//!
//! Owns what follows from a `signed_request`, and reads nothing of it before its signature is
//! proven. Meta may repeat a request, or deliver it late: each is idempotent, and none touches what
//! the person has consented to since it was made.

use std::time::Duration;

use jiff::Timestamp;
use threads_auth_model::{RevokedBy, State, Vault, rules, seal};
use threads_auth_store::{Deletion, SecretsError, StoreError, WriteOutcome, persist};
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
    /// Whether Meta has signed with the app secret before the present one.
    pub by_previous_secret: bool,
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
    /// Whether Meta has signed with the app secret before the present one.
    pub by_previous_secret: bool,
}

/// A request whose signature is proven, and whoever it was that signed.
struct Proven {
    request: SignedRequest,
    vault: Vault,
    by_previous_secret: bool,
}

/// Carries out a deauthorization. `form` is the request's body.
pub(crate) async fn deauthorize(
    clients: &Clients,
    form: &[u8],
    now: Timestamp,
) -> Result<Deauthorized, RemovalError> {
    let time = Stopwatch::start(now, clients.config.work_time());
    let message = signed_request(form)?;
    let Proven { request, by_previous_secret, .. } = prove(clients, &message, now).await?;
    let (user_id, issued_at) = (request.user_id, request.issued_at);
    let revoke = rules::revoke(&user_id, RevokedBy::Threads, issued_at, now);
    let written = persist(time.deadline(), || clients.store.write(&revoke)).await?;
    Ok(Deauthorized { user_id, written, by_previous_secret })
}

/// Carries out a deletion. `form` is the request's body.
pub(crate) async fn delete_data(
    clients: &Clients,
    form: &[u8],
    now: Timestamp,
) -> Result<Deleted, RemovalError> {
    let time = Stopwatch::start(now, clients.config.work_time());
    let message = signed_request(form)?;
    let Proven { request, vault, by_previous_secret } = prove(clients, &message, now).await?;
    let confirmation_code = vault.confirmation_code(&request.user_id, request.issued_at);
    let deletion = Deletion {
        user_id: &request.user_id,
        tombstone: &vault.tombstone(&request.user_id),
        code_hash: &seal::hash(&confirmation_code),
        requested_at: request.issued_at,
    };
    let all = persist(time.deadline(), || clients.store.delete(deletion, now)).await?;
    let mut url = clients.config.public_url.clone();
    url.set_path(&format!("data-deletion/{confirmation_code}"));
    Ok(Deleted { url, confirmation_code, connected_since: !all, by_previous_secret })
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

/// Proves the signature. After a reset at Meta, the app's secret that was read a while ago may not
/// be the one that Meta signs with, so it is read once more before a signature counts as wrong.
async fn prove(clients: &Clients, message: &str, now: Timestamp) -> Result<Proven, RemovalError> {
    let mut vault = clients.vault(now).await?;
    let mut verified = verify(&vault, message, now);
    if matches!(verified, Err(SignedRequestError::Signature)) {
        vault.app = clients.secrets.app_again(now).await?;
        verified = verify(&vault, message, now);
    }
    let (request, by_previous_secret) = verified?;
    Ok(Proven { request, vault, by_previous_secret })
}

/// The request, and whether the app's previous secret has signed it.
fn verify(vault: &Vault, message: &str, now: Timestamp) -> Result<(SignedRequest, bool), SignedRequestError> {
    let by = |secret| verify_signed_request(secret, message, now, MAX_AGE);
    match (by(vault.app_secret()), vault.app.previous(now)) {
        (Err(SignedRequestError::Signature), Some(previous)) => by(previous).map(|request| (request, true)),
        (verified, _) => verified.map(|request| (request, false)),
    }
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
