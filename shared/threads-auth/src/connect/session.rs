//! Connect sessions: how an app's backend sends one of *its* users through a connect, and learns
//! who came back.
//!
//! Whoever opens a session's URL may be anybody, the victim of a trick included. So the account is
//! not told to whoever asks for the session, but to the backend that presents the completion code,
//! which only the browser that finished was given; and that backend knows which of its users it is
//! talking to: it says which one is logged in, and the account becomes that user's only if the
//! session is.

use jiff::{SignedDuration, Timestamp};
use subtle::ConstantTimeEq;
use threads_auth_model::seal::{self, SealError, random_text};
use threads_auth_model::session::TIME_TO_COMPLETE;
use threads_auth_model::{Grant, Session, SessionState, SessionStatus, claiming};
use threads_auth_store::{CompletionOutcome, StoreError};
use threads_graph::{Scopes, UserId};

use super::error::ConnectError;
use super::return_to::NotAllowed;
use crate::clients::Clients;

/// The longest `reference`, in bytes.
const MAX_REFERENCE: usize = 256;

/// A backend's request for a session.
#[derive(Clone, Debug)]
pub struct NewSession {
    /// The backend's own name for its user: 1 to 256 bytes.
    pub reference: String,
    /// The requested scopes, if not the usual ones.
    pub scopes: Option<Scopes>,
    /// Where the person goes afterwards, with the completion code; must be on the allowlist.
    pub return_to: String,
    /// The only account that may come back.
    pub user_id: Option<UserId>,
    /// How long the session can be used: at most a day.
    pub lifetime: SignedDuration,
}

/// Why a session was not created.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// The reference is empty or too long.
    #[error("reference must be 1 to {MAX_REFERENCE} bytes long")]
    Reference,
    /// The lifetime is none.
    #[error("a session lives from one minute to one day")]
    Lifetime,
    /// The return address is not allowed.
    #[error(transparent)]
    ReturnTo(#[from] NotAllowed),
    /// The system has no randomness to give.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// DynamoDB failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why a completion code was not redeemed.
#[derive(Debug, thiserror::Error)]
pub enum CompleteError {
    /// There is no such session.
    #[error("there is no session of this id")]
    Unknown,
    /// Nobody has come back yet, or not with an account.
    #[error("no account was connected in this session")]
    NotConnected(SessionStatus),
    /// The code was redeemed before.
    #[error("the session was completed before")]
    Completed,
    /// The session's time is over.
    #[error("the session is expired")]
    Expired,
    /// The code is not this session's.
    #[error("the completion code is not this session's")]
    WrongCode,
    /// The session is another user's. The code is as good as it was.
    #[error(
        "the session is not of the user who is logged in: nothing was linked, and the code is as good as it was"
    )]
    WrongReference,
    /// The account was deleted since.
    #[error("the account that was connected is gone")]
    Gone,
    /// The system has no randomness to give.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// DynamoDB failed, or a row does not make sense.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Creates a session.
pub(crate) async fn create(
    clients: &Clients,
    new: NewSession,
    now: Timestamp,
) -> Result<Session, SessionError> {
    if new.reference.is_empty() || new.reference.len() > MAX_REFERENCE {
        return Err(SessionError::Reference);
    }
    if new.lifetime < SignedDuration::from_mins(1) || new.lifetime > SignedDuration::from_hours(24) {
        return Err(SessionError::Lifetime);
    }
    clients.config.return_to.check(&new.return_to)?;
    let session = Session {
        id: random_text::<24>()?,
        reference: new.reference,
        scopes: new.scopes,
        return_to: Some(new.return_to),
        user_id: new.user_id,
        // As the table keeps it: without a fraction.
        expires_at: Timestamp::from_second(now.as_second() + new.lifetime.as_secs()).unwrap_or(now),
        failures: 0,
        state: SessionState::Open,
    };
    clients.store.create_session(&session).await?;
    Ok(session)
}

/// A session, if there is one of that id.
pub(crate) async fn find(clients: &Clients, id: &str) -> Result<Option<Session>, StoreError> {
    // Another text is not looked up: a key that is too long is DynamoDB's to refuse, and would
    // look like an outage.
    if !is_session_id(id) {
        return Ok(None);
    }
    clients.store.session(id).await
}

/// The session of this id, for a person who comes with it.
pub(super) async fn read(clients: &Clients, id: &str) -> Result<Session, ConnectError> {
    clients.store.session(id).await?.ok_or(ConnectError::SessionUnknown)
}

/// Refuses a session that is closed or expired, or whose return address is not allowed any more.
pub(super) fn admit(clients: &Clients, session: &Session, now: Timestamp) -> Result<(), ConnectError> {
    if session.is_closed() {
        return Err(ConnectError::SessionClosed);
    }
    if session.expires_at <= now {
        return Err(ConnectError::SessionExpired);
    }
    // Without a way back nobody could complete it. A session of the first release may have none,
    // and its backend learns from an event.
    if let Some(return_to) = &session.return_to {
        clients.config.return_to.check(return_to).map_err(|_| ConnectError::ReturnTo)?;
    }
    Ok(())
}

/// Redeems a completion code for the user of the app who is called `reference`, and claims the
/// account for that user. A failure before the account is known leaves the code as good as it was.
/// An answer may be lost: for ten minutes the same call has the same answer.
pub(crate) async fn complete(
    clients: &Clients,
    id: &str,
    completion: &str,
    reference: &str,
    now: Timestamp,
) -> Result<Grant, CompleteError> {
    let session = find(clients, id).await?.ok_or(CompleteError::Unknown)?;
    let redeemable = redeemable(&session, now)?;
    let hash = seal::hash(completion);
    if !bool::from(hash.as_bytes().ct_eq(redeemable.hash.as_bytes())) {
        return Err(CompleteError::WrongCode);
    }
    if session.reference != reference {
        return Err(CompleteError::WrongReference);
    }
    let grant = clients.store.grant(redeemable.user_id).await?.ok_or(CompleteError::Gone)?;
    if redeemable.is_redeemed {
        return Ok(grant);
    }
    let mut claims: Vec<_> = claiming::claim_and_settle(&grant, reference, now).into_iter().collect();
    claims.push(claiming::claim(&grant, reference, now));
    let call = random_text::<16>()?;
    match clients.store.complete_session(id, &hash, &call, &claims, now).await? {
        CompletionOutcome::Completed => Ok(grant),
        CompletionOutcome::Gone => Err(CompleteError::Gone),
        // The same call came twice at once, or the answer to our own first attempt was lost.
        CompletionOutcome::NotOpen => {
            let session = find(clients, id).await?.ok_or(CompleteError::Unknown)?;
            match redeemable_again(&session, now) {
                Some(again) if again.hash == hash => Ok(grant),
                _ => Err(CompleteError::Completed),
            }
        }
    }
}

/// A code that can be redeemed, or was redeemed a moment ago.
struct Redeemable<'a> {
    user_id: &'a UserId,
    hash: &'a str,
    is_redeemed: bool,
}

fn redeemable(session: &Session, now: Timestamp) -> Result<Redeemable<'_>, CompleteError> {
    match &session.state {
        SessionState::Completed { .. } => redeemable_again(session, now).ok_or(CompleteError::Completed),
        _ if session.expires_at <= now => Err(CompleteError::Expired),
        SessionState::Connected { user_id, completion_hash: hash } => {
            Ok(Redeemable { user_id, hash, is_redeemed: false })
        }
        SessionState::Open | SessionState::Denied(_) | SessionState::Failed(_) => {
            Err(CompleteError::NotConnected(session.state.status()))
        }
    }
}

fn redeemable_again(session: &Session, now: Timestamp) -> Option<Redeemable<'_>> {
    match &session.state {
        SessionState::Completed { user_id, completion_hash: Some(hash), at, .. }
            if now.duration_since(*at) < TIME_TO_COMPLETE =>
        {
            Some(Redeemable { user_id, hash, is_redeemed: true })
        }
        _ => None,
    }
}

/// Whether `text` could be a session's id.
pub(super) fn is_session_id(text: &str) -> bool {
    text.len() == 32 && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}
