//! The end of a grant: the person removes the app or requests deletion, or the app disconnects the
//! account.
//! Owns the consequences of a `signed_request`, and reads nothing of it before its signature is
//! verified. Meta may repeat or delay a request: each is idempotent, and leaves alone what the
//! person has consented to since. If the clocks are too close to show which came first, a call with
//! the consent's token decides.

use std::time::Duration;

use jiff::Timestamp;
use threads_auth_model::rules::{self, Deletion, Fate, Right};
use threads_auth_model::seal::{self, Purpose};
use threads_auth_model::{
    Cause, DeletionRequest, Grant, Key, Progress, Pseudonym, RevokedBy, State, Suspicion, Vault,
    doubtful_from, error_chain, schedule,
};
use threads_auth_store::{SecretsError, StoreError, WriteOutcome, repeat};
use threads_graph::{SignedRequest, SignedRequestError, UserId, verify_signed_request};
use url::{Url, form_urlencoded};

use crate::clients::Clients;
use crate::connect::flow;
use crate::inspection::is_accepted;
use crate::stopwatch::Stopwatch;

/// Maximum age of a request. Meta does not document how long it retries.
const MAX_AGE: Duration = Duration::from_hours(24);

/// Maximum size of a request's body, in bytes. Meta's have about 300.
const MAX_BODY: usize = 8_192;

/// Maximum number of attempts of a write whose row has changed since it was read. Only a person's
/// actions change it, so a few suffice.
const MAX_TRIES: usize = 4;

/// Error of a request by Meta, or of a disconnect.
#[derive(Debug, thiserror::Error)]
pub enum RemovalError {
    /// The body is not a form with exactly one `signed_request`.
    #[error("expected a form with exactly one signed_request")]
    Form,
    /// The `signed_request` is not signed by Meta for this app, or is older than a day.
    #[error(transparent)]
    SignedRequest(#[from] SignedRequestError),
    /// The secrets could not be read.
    #[error(transparent)]
    Secrets(#[from] SecretsError),
    /// DynamoDB failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The result of a deauthorization.
#[derive(Debug)]
pub struct Deauthorized {
    /// Name of the account in logs, if the person has one.
    pub pseudonym: Option<Pseudonym>,
    /// True if it has ended a grant. False if there was none, or the person has connected again
    /// since.
    pub has_ended: bool,
    /// True if the request was signed with the app's previous secret.
    pub by_previous_secret: bool,
}

/// The result of a disconnect.
#[derive(Debug)]
pub struct Disconnected {
    /// Name of the account in logs.
    pub pseudonym: Option<Pseudonym>,
}

/// The result of a deletion, as in the response to Meta.
#[derive(Debug)]
pub struct Deleted {
    /// Page on which the person can see the progress.
    pub url: Url,
    /// The code in `url`.
    pub confirmation_code: String,
    /// The progress. The next sweep continues an unfinished deletion.
    pub progress: Progress,
    /// True if the request was signed with the app's previous secret.
    pub by_previous_secret: bool,
}

/// A request with a valid signature.
struct Proven {
    request: SignedRequest,
    vault: Vault,
    by_previous_secret: bool,
}

/// Carries out a deauthorization. `form` is the body of the request.
pub(crate) async fn deauthorize(
    clients: &Clients,
    form: &[u8],
    now: Timestamp,
) -> Result<Deauthorized, RemovalError> {
    let time = Stopwatch::start(now, clients.config.work_time());
    let message = signed_request(form)?;
    let Proven { request, vault, by_previous_secret } = prove(clients, &message, now).await?;
    let SignedRequest { user_id, issued_at, .. } = request;
    let ended_at = issued_at.min(now);
    let (store, by) = (&clients.store, RevokedBy::Threads);
    let note = rules::note_end(&vault.tombstone(&user_id), ended_at);
    repeat(time.deadline(), || store.write(&note)).await?;
    let revoke = rules::revoke(&user_id, by, ended_at, now);
    let (written, pseudonym) = repeat(time.deadline(), || store.write_named(&revoke)).await?;
    let has_ended = match written {
        WriteOutcome::Stored => true,
        WriteOutcome::Gone => false,
        WriteOutcome::Superseded => end_newer(clients, &vault, &user_id, ended_at, now).await?,
    };
    Ok(Deauthorized { pseudonym, has_ended, by_previous_secret })
}

/// Ends a grant that is newer than `ended_at` by our clock, if Meta refuses its token. Returns true
/// if it did.
async fn end_newer(
    clients: &Clients,
    vault: &Vault,
    user_id: &UserId,
    ended_at: Timestamp,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let store = &clients.store;
    let Some(grant) = store.grant(user_id).await? else { return Ok(false) };
    match is_newer(clients, vault, &grant, ended_at, now).await {
        Some(true) => Ok(false),
        Some(false) => {
            let revoke = rules::revoke(user_id, RevokedBy::Threads, grant.connected_at, now);
            Ok(store.write(&revoke).await? == WriteOutcome::Stored)
        }
        None => {
            // A consent without its long-lived token is processed soon in any case.
            if let State::Active(live, None) = &grant.state {
                let suspicion = Suspicion { cause: Cause::DOUBT, since: now };
                let soon = schedule::doubted_at(now);
                store.write(&rules::suspected(&grant, live, suspicion, soon, Right::End)).await?;
            }
            Ok(false)
        }
    }
}

/// Returns true if a consent is newer than an end, by the clocks or else by a call with its token.
/// Returns `None` if that call fails.
async fn is_newer(
    clients: &Clients,
    vault: &Vault,
    grant: &Grant,
    ended_at: Timestamp,
    now: Timestamp,
) -> Option<bool> {
    if grant.connected_at <= ended_at {
        return Some(false);
    }
    // Grants of older versions lack the flow's start: the longest flow is assumed.
    let begun_at =
        grant.begun_at.unwrap_or_else(|| schedule::add(grant.connected_at, -flow::LIFETIME_SECONDS));
    if ended_at < doubtful_from(begun_at) {
        return Some(true);
    }
    let (purpose, sealed) = match (grant.consent(), grant.live()) {
        (Some(consent), _) => (Purpose::PendingToken, &consent.token),
        (None, Some(live)) => (Purpose::AccessToken, &live.token),
        // A grant without a token has ended.
        (None, None) => return Some(false),
    };
    match clients.open(vault, purpose, &grant.user_id, sealed, now).await {
        Ok(token) => is_accepted(clients, &token).await,
        Err(error) => {
            tracing::error!(
                pseudonym = grant.log_name(),
                error = error_chain(&error),
                "a token does not open with the keyring"
            );
            None
        }
    }
}

/// Carries out a deletion. `form` is the body of the request.
pub(crate) async fn delete_data(
    clients: &Clients,
    form: &[u8],
    now: Timestamp,
) -> Result<Deleted, RemovalError> {
    let message = signed_request(form)?;
    let Proven { request, vault, by_previous_secret } = prove(clients, &message, now).await?;
    let deleted = delete_person(clients, &vault, &request.user_id, request.issued_at, now).await?;
    Ok(Deleted { by_previous_secret, ..deleted })
}

/// Deletes the data of a person. Idempotent.
pub(crate) async fn delete_person(
    clients: &Clients,
    vault: &Vault,
    user_id: &UserId,
    issued_at: Timestamp,
    now: Timestamp,
) -> Result<Deleted, RemovalError> {
    let time = Stopwatch::start(now, clients.config.work_time());
    let confirmation_code = vault.confirmation_code(user_id, issued_at);
    let record = record(&confirmation_code);
    let requested_at = issued_at.min(now);
    let wish = DeletionRequest { user_id: user_id.clone(), requested_at, is_grant_gone: false };
    let progress = repeat(time.deadline(), || carry_out(clients, vault, &record, &wish, now)).await?;
    let mut url = clients.config.public_url.clone();
    url.set_path(&format!("data-deletion/{confirmation_code}"));
    Ok(Deleted { url, confirmation_code, progress, by_previous_secret: false })
}

/// Continues an unfinished deletion. Returns true if it is finished now.
pub(crate) async fn resume_deletion(
    clients: &Clients,
    vault: &Vault,
    record: &Key,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let Some(Progress::Unfinished(wish)) = clients.store.deletion(record).await? else {
        return Ok(true);
    };
    let progress = carry_out(clients, vault, record, &wish, now).await?;
    Ok(!matches!(progress, Progress::Unfinished(_)))
}

/// Returns the progress of the deletion with this code, if there is one.
pub(crate) async fn find(clients: &Clients, confirmation_code: &str) -> Result<Option<Progress>, StoreError> {
    clients.store.deletion(&record(confirmation_code)).await
}

fn record(confirmation_code: &str) -> Key {
    Key::deletion(&seal::hash(confirmation_code))
}

/// Deletes the row, and writes its tombstone and an unfinished record, in one transaction; then
/// deletes the sessions; then finishes the record. It can be continued after any interruption: a
/// grant that was created in between is newer, and stays. `wish` is the request, if there is no
/// record of it yet.
async fn carry_out(
    clients: &Clients,
    vault: &Vault,
    record: &Key,
    wish: &DeletionRequest,
    now: Timestamp,
) -> Result<Progress, StoreError> {
    let store = &clients.store;
    let wish = match store.deletion(record).await? {
        Some(Progress::Unfinished(begun)) => begun,
        Some(decided) => return Ok(decided),
        None => wish.clone(),
    };
    let DeletionRequest { user_id, requested_at, is_grant_gone } = &wish;
    let (tombstone, requested_at) = (vault.tombstone(user_id), *requested_at);
    let deletion = Deletion { user_id, tombstone: &tombstone, record, requested_at };
    let mut fate = Fate::Gone(requested_at);
    for _ in 0..MAX_TRIES {
        if !is_grant_gone && !store.delete(deletion, fate, now).await? {
            fate = match store.grant(user_id).await? {
                None => Fate::Gone(requested_at),
                Some(grant) => match is_newer(clients, vault, &grant, requested_at, now).await {
                    Some(true) => Fate::Kept,
                    Some(false) => Fate::Gone(grant.connected_at),
                    None => Fate::Doubtful,
                },
            };
            continue;
        }
        return match fate {
            Fate::Kept => Ok(Progress::Kept(now)),
            Fate::Doubtful => Ok(Progress::Unfinished(wish)),
            Fate::Gone(_) => forget_sessions(clients, record, user_id, now).await,
        };
    }
    // Concurrent writes kept winning: their record decides.
    Ok(store.deletion(record).await?.unwrap_or(Progress::Unfinished(wish)))
}

async fn forget_sessions(
    clients: &Clients,
    record: &Key,
    user_id: &UserId,
    now: Timestamp,
) -> Result<Progress, StoreError> {
    let store = &clients.store;
    // A grant that is still there is newer than the request.
    let newer = match store.grant(user_id).await {
        Err(StoreError::Inconsistent(_)) => None,
        grant => grant?.and_then(|grant| grant.session_id),
    };
    store.forget_sessions(user_id, newer.as_deref()).await?;
    store.write(&rules::finish_deletion(record, now)).await?;
    Ok(Progress::Done(now))
}

/// Ends a grant for the app. Returns `None` if there is none.
pub(crate) async fn disconnect(
    clients: &Clients,
    user_id: &UserId,
    now: Timestamp,
) -> Result<Option<Disconnected>, RemovalError> {
    let (store, by) = (&clients.store, RevokedBy::App);
    let tombstone = clients.vault(now).await?.tombstone(user_id);
    // The first note refuses a connect whose flow began before now.
    for note in [rules::note_disconnect(&tombstone, now), rules::note_end(&tombstone, now)] {
        store.write(&note).await?;
    }
    let mut ended_at = now;
    for _ in 0..MAX_TRIES {
        let (written, pseudonym) = store.write_named(&rules::revoke(user_id, by, ended_at, now)).await?;
        match written {
            WriteOutcome::Stored => return Ok(Some(Disconnected { pseudonym })),
            WriteOutcome::Gone => return Ok(None),
            WriteOutcome::Superseded => {}
        }
        // The grant was revoked before, or its connect is newer by a clock that is ahead of ours.
        match store.grant(user_id).await? {
            None => return Ok(None),
            Some(grant) if matches!(grant.state, State::Revoked(_, None)) => {
                return Ok(Some(Disconnected { pseudonym: grant.pseudonym }));
            }
            Some(grant) => ended_at = grant.connected_at.max(now),
        }
    }
    Err(StoreError::busy("revoke a grant").into())
}

/// Verifies the signature. The cached app secret may be outdated after a reset at Meta, so it is
/// read again before a signature counts as invalid.
async fn prove(clients: &Clients, message: &str, now: Timestamp) -> Result<Proven, RemovalError> {
    let mut vault = clients.vault(now).await?;
    let mut verified = verify(&vault, message, now);
    if matches!(verified, Err(SignedRequestError::Signature)) {
        vault.app = clients.secrets.reread_app(now).await?;
        verified = verify(&vault, message, now);
    }
    let (request, by_previous_secret) = verified?;
    Ok(Proven { request, vault, by_previous_secret })
}

/// Returns the request, and true if it was signed with the app's previous secret.
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
