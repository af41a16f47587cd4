//! Connect sessions: how an app's backend sends one of *its* users through a connect, and learns
//! who came back.
//!
//! Whoever opens a session's URL may be anybody, the victim of a trick included. So the account is
//! not told to whoever asks for the session, but to the backend that presents the completion code,
//! which only the browser that finished was given; and that backend knows which of its users it is
//! talking to.

use jiff::{SignedDuration, Timestamp};
use subtle::ConstantTimeEq;
use threads_auth_model::seal::{self, SealError, random_text};
use threads_auth_model::{Grant, Session, SessionState, SessionStatus};
use threads_auth_store::StoreError;
use threads_graph::{Scopes, UserId};

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
    /// Where the person goes afterwards; must be on the allowlist.
    pub return_to: Option<String>,
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
    /// The return address is not on the allowlist.
    #[error(transparent)]
    ReturnTo(#[from] NotAllowed),
    /// The system has no randomness to give.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// DynamoDB failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A session whose completion code was redeemed.
#[derive(Debug)]
pub struct Completed {
    /// The session.
    pub session: Session,
    /// The account that came back.
    pub grant: Grant,
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
    if let Some(return_to) = &new.return_to {
        clients.config.return_to.check(return_to)?;
    }
    let session = Session {
        id: random_text::<24>()?,
        reference: new.reference,
        scopes: new.scopes,
        return_to: new.return_to,
        user_id: new.user_id,
        // As the table keeps it: without a fraction.
        expires_at: Timestamp::from_second(now.as_second() + new.lifetime.as_secs()).unwrap_or(now),
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

/// Redeems a completion code, once. A failure before the account is known leaves the code as good
/// as it was.
pub(crate) async fn complete(
    clients: &Clients,
    id: &str,
    completion: &str,
    now: Timestamp,
) -> Result<Completed, CompleteError> {
    let session = find(clients, id).await?.ok_or(CompleteError::Unknown)?;
    let connected = match &session.state {
        SessionState::Completed { .. } => return Err(CompleteError::Completed),
        SessionState::Connected { user_id, completion_hash } => Some((user_id, completion_hash)),
        SessionState::Open | SessionState::Denied(_) | SessionState::Failed(_) => None,
    };
    if session.expires_at <= now {
        return Err(CompleteError::Expired);
    }
    let status = session.state.status();
    let (user_id, expected) = connected.ok_or(CompleteError::NotConnected(status))?;
    let hash = seal::hash(completion);
    if !bool::from(hash.as_bytes().ct_eq(expected.as_bytes())) {
        return Err(CompleteError::WrongCode);
    }
    let grant = clients.store.grant(user_id).await?.ok_or(CompleteError::Gone)?;
    let call = random_text::<16>()?;
    if clients.store.complete_session(id, &hash, &call, now).await? {
        Ok(Completed { session, grant })
    } else {
        Err(CompleteError::Completed)
    }
}

/// Whether `text` could be a session's id.
pub(super) fn is_session_id(text: &str) -> bool {
    text.len() == 32 && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}
