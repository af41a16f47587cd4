//! The end of a grant: the person removes the app or asks for their data to be deleted, or the app
//! disconnects the account.
//!
//! Owns what follows from a `signed_request`, and reads nothing of it before its signature is
//! proven. Meta may repeat a request, or deliver it late: each is idempotent, and none touches what
//! the person has consented to since it was made. Where the clocks do not tell whether a consent is
//! older, Meta is asked with its token.

use std::time::Duration;

use jiff::Timestamp;
use threads_auth_model::rules::{self, Deletion, Fate, Right};
use threads_auth_model::seal::{self, Purpose};
use threads_auth_model::{
    Cause, Grant, Key, Progress, RevokedBy, State, Suspicion, Vault, Wish, doubtful_from, error_chain,
    schedule,
};
use threads_auth_store::{SecretsError, StoreError, WriteOutcome, repeat};
use threads_graph::{SignedRequest, SignedRequestError, UserId, verify_signed_request};
use url::{Url, form_urlencoded};

use crate::clients::Clients;
use crate::connect::flow;
use crate::inspection::is_taken;
use crate::stopwatch::Stopwatch;

/// How late Meta may deliver a request. It does not say for how long it tries.
const MAX_AGE: Duration = Duration::from_hours(24);

/// Meta's requests have about 300 bytes.
const MAX_BODY: usize = 8_192;

/// A write is decided again if the row has changed since it was read. It changes by persons, so
/// this often is more than enough.
const MOST_TRIES: usize = 4;

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
    /// Whether there was a grant that it ended: not if the person has connected again since.
    pub has_ended: bool,
    /// Whether Meta has signed with the app secret before the present one.
    pub by_previous_secret: bool,
}

/// A deletion, in the terms of Meta's answer.
#[derive(Debug)]
pub struct Deleted {
    /// Where the person can see what became of it.
    pub url: Url,
    /// The code in it.
    pub confirmation_code: String,
    /// How far it has come. The next sweep goes on with what is unfinished.
    pub progress: Progress,
    /// Whether Meta has signed the wish with the app secret before the present one.
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
    let Proven { request, vault, by_previous_secret } = prove(clients, &message, now).await?;
    let SignedRequest { user_id, issued_at, .. } = request;
    let ended_at = issued_at.min(now);
    let (store, by) = (&clients.store, RevokedBy::Threads);
    let note = rules::note_end(&vault.tombstone(&user_id), ended_at);
    repeat(time.deadline(), || store.write(&note)).await?;
    let revoke = rules::revoke(&user_id, by, ended_at, now);
    let has_ended = match repeat(time.deadline(), || store.write(&revoke)).await? {
        WriteOutcome::Stored => true,
        WriteOutcome::Gone => false,
        WriteOutcome::Superseded => end_newer(clients, &vault, &user_id, ended_at, now).await?,
    };
    Ok(Deauthorized { user_id, has_ended, by_previous_secret })
}

/// Ends what was consented to after `ended_at` by our clock, if Meta refuses its token. Says
/// whether it did.
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
            // A consent that waits for its token is looked at soon in any case.
            if let State::Active(live, None) = &grant.state {
                let suspicion = Suspicion { cause: Cause::DOUBT, since: now };
                let soon = schedule::doubted_at(now);
                store.write(&rules::suspected(&grant, live, suspicion, soon, Right::End)).await?;
            }
            Ok(false)
        }
    }
}

/// Whether a consent is newer than an end: by the clocks, or else by Meta's word on its token.
/// None, if Meta does not say.
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
    // Of a grant from before flows had times, the longest flow is assumed.
    let begun_at =
        grant.begun_at.unwrap_or_else(|| schedule::add(grant.connected_at, -flow::LIFETIME_SECONDS));
    if ended_at < doubtful_from(begun_at) {
        return Some(true);
    }
    let (purpose, sealed) = match (grant.consent(), grant.live()) {
        (Some(consent), _) => (Purpose::PendingToken, &consent.token),
        (None, Some(live)) => (Purpose::AccessToken, &live.token),
        // What has no token has ended.
        (None, None) => return Some(false),
    };
    match clients.open(vault, purpose, &grant.user_id, sealed, now).await {
        Ok(token) => is_taken(clients, &token).await,
        Err(error) => {
            tracing::error!(user.id = %grant.user_id, error = error_chain(&error), "a token does not open with the keyring");
            None
        }
    }
}

/// Carries out a deletion. `form` is the request's body.
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

/// Carries out the wish of a person to be forgotten. It can be repeated.
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
    let wish = Wish { user_id: user_id.clone(), requested_at, is_grant_gone: false };
    let progress = repeat(time.deadline(), || carry_out(clients, vault, &record, &wish, now)).await?;
    let mut url = clients.config.public_url.clone();
    url.set_path(&format!("data-deletion/{confirmation_code}"));
    Ok(Deleted { url, confirmation_code, progress, by_previous_secret: false })
}

/// Goes on with an unfinished deletion. Says whether it is finished now.
pub(crate) async fn go_on(
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

/// How far the deletion of this code has come, if there was one.
pub(crate) async fn find(clients: &Clients, confirmation_code: &str) -> Result<Option<Progress>, StoreError> {
    clients.store.deletion(&record(confirmation_code)).await
}

fn record(confirmation_code: &str) -> Key {
    Key::deletion(&seal::hash(confirmation_code))
}

/// The row goes in one transaction with its tombstone and an unfinished record; then the sessions;
/// then the record is finished. Cut off anywhere, it can go on: a grant that has come since the row
/// went is newer, and stays. `wish` is what was asked for, if there is no record of it yet.
async fn carry_out(
    clients: &Clients,
    vault: &Vault,
    record: &Key,
    wish: &Wish,
    now: Timestamp,
) -> Result<Progress, StoreError> {
    let store = &clients.store;
    let wish = match store.deletion(record).await? {
        Some(Progress::Unfinished(begun)) => begun,
        Some(decided) => return Ok(decided),
        None => wish.clone(),
    };
    let Wish { user_id, requested_at, is_grant_gone } = &wish;
    let (tombstone, requested_at) = (vault.tombstone(user_id), *requested_at);
    let deletion = Deletion { user_id, tombstone: &tombstone, record, requested_at };
    let mut fate = Fate::Gone(requested_at);
    for _ in 0..MOST_TRIES {
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
    // Somebody else has decided meanwhile, or is about to.
    Ok(store.deletion(record).await?.unwrap_or(Progress::Unfinished(wish)))
}

async fn forget_sessions(
    clients: &Clients,
    record: &Key,
    user_id: &UserId,
    now: Timestamp,
) -> Result<Progress, StoreError> {
    let store = &clients.store;
    // Only a grant that came after the wish can be there.
    let newer = match store.grant(user_id).await {
        Err(StoreError::Inconsistent(_)) => None,
        grant => grant?.and_then(|grant| grant.session_id),
    };
    store.forget_sessions(user_id, newer.as_deref()).await?;
    store.write(&rules::finish_deletion(record, now)).await?;
    Ok(Progress::Done(now))
}

/// Ends a grant for the app. Says whether there was one.
pub(crate) async fn disconnect(
    clients: &Clients,
    user_id: &UserId,
    now: Timestamp,
) -> Result<bool, RemovalError> {
    let (store, by) = (&clients.store, RevokedBy::App);
    let tombstone = clients.vault(now).await?.tombstone(user_id);
    // A connect under way whose flow began before is refused by the first of these.
    for note in [rules::note_disconnect(&tombstone, now), rules::note_end(&tombstone, now)] {
        store.write(&note).await?;
    }
    let mut ended_at = now;
    for _ in 0..MOST_TRIES {
        match store.write(&rules::revoke(user_id, by, ended_at, now)).await? {
            WriteOutcome::Stored => return Ok(true),
            WriteOutcome::Gone => return Ok(false),
            WriteOutcome::Superseded => {}
        }
        // Revoked before; or the person has connected just now, by a clock that is ahead of ours.
        match store.grant(user_id).await? {
            None => return Ok(false),
            Some(grant) if matches!(grant.state, State::Revoked(_, None)) => return Ok(true),
            Some(grant) => ended_at = grant.connected_at.max(now),
        }
    }
    Err(StoreError::busy("revoke a grant").into())
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
