//! Connect sessions: how an app's backend sends one of *its* users through a connect, and learns who came back.
//!
//! Whoever opens a session's URL may be anybody, the victim of a trick included. So the account is not told to whoever asks for
//! the session, but to the backend that presents the completion code, which only the browser that finished was given; and that
//! backend knows which of its users it is talking to.

use jiff::{SignedDuration, Timestamp};
use subtle::ConstantTimeEq;
use threads_graph::{Scopes, UserId};

use crate::ThreadsAuth;
use crate::flow::state_hash;
use crate::grant::Grant;
use crate::return_to::NotAllowed;
use crate::seal::{SealError, random_text};
use crate::store::{Session, SessionStatus, StoreError};

/// The longest `reference`, in bytes.
const MAX_REFERENCE: usize = 256;

/// What the backend asks for.
#[derive(Clone, Debug)]
pub struct NewSession {
    /// The backend's own name for its user: 1 to 256 bytes.
    pub reference: String,
    /// What is asked of the person, if not the usual scopes.
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

impl ThreadsAuth {
    /// Creates a session. The person is to open [`session_url`](Self::session_url).
    ///
    /// # Errors
    /// When what is asked for is not possible, or DynamoDB fails.
    pub async fn create_session(&self, new: NewSession, now: Timestamp) -> Result<Session, SessionError> {
        if new.reference.is_empty() || new.reference.len() > MAX_REFERENCE {
            return Err(SessionError::Reference);
        }
        if new.lifetime < SignedDuration::from_mins(1) || new.lifetime > SignedDuration::from_hours(24) {
            return Err(SessionError::Lifetime);
        }
        if let Some(return_to) = &new.return_to {
            self.config.return_to.check(return_to)?;
        }
        let session = Session {
            id: random_text::<24>()?,
            reference: new.reference,
            scopes: new.scopes,
            return_to: new.return_to,
            user_id: new.user_id,
            // As the table keeps it: without a fraction.
            expires_at: Timestamp::from_second(now.as_second() + new.lifetime.as_secs()).unwrap_or(now),
            status: SessionStatus::Open,
            connected_user_id: None,
            reason: None,
            completion_hash: None,
            completed_by: None,
            completed_at: None,
        };
        self.store.create_session(&session).await?;
        Ok(session)
    }

    /// The URL by which a person enters a session.
    #[must_use]
    pub fn session_url(&self, session: &Session) -> String {
        format!("{}authorize?session={}", self.config.public_url, session.id)
    }

    /// A session, if there is one of that id.
    ///
    /// # Errors
    /// When DynamoDB fails, or the row does not make sense.
    pub async fn session(&self, id: &str) -> Result<Option<Session>, StoreError> {
        // What is no id is not looked up: a key that is too long is DynamoDB's to refuse, and would look like an outage.
        if !is_session_id(id) {
            return Ok(None);
        }
        self.store.session(id).await
    }

    /// Redeems a completion code, once. What fails before the account is known leaves the code as good as it was.
    ///
    /// # Errors
    /// When the code is not that session's, was redeemed before, or comes too late; when the account is gone; when DynamoDB fails.
    pub async fn complete_session(
        &self,
        id: &str,
        completion: &str,
        now: Timestamp,
    ) -> Result<Completed, CompleteError> {
        let session = self.session(id).await?.ok_or(CompleteError::Unknown)?;
        if session.completed_at.is_some() {
            return Err(CompleteError::Completed);
        }
        if session.expires_at <= now {
            return Err(CompleteError::Expired);
        }
        let (Some(user_id), Some(expected)) = (&session.connected_user_id, &session.completion_hash) else {
            return Err(CompleteError::NotConnected(session.status));
        };
        let hash = state_hash(completion);
        if !bool::from(hash.as_bytes().ct_eq(expected.as_bytes())) {
            return Err(CompleteError::WrongCode);
        }
        let grant = self.store.get(user_id).await?.ok_or(CompleteError::Gone)?;
        let call = random_text::<16>()?;
        match self.store.complete_session(id, &hash, &call, now).await? {
            Some(session) => Ok(Completed { session, grant }),
            None => Err(CompleteError::Completed),
        }
    }
}

/// Whether `text` could be a session's id.
pub(crate) fn is_session_id(text: &str) -> bool {
    text.len() == 32
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

impl Session {
    /// Where it stands at `now`, by the name that programs see: a session that nobody can use any more is `expired`.
    #[must_use]
    pub fn status_at(&self, now: Timestamp) -> &'static str {
        let is_settled = match self.status {
            SessionStatus::Open => false,
            SessionStatus::Connected => self.completed_at.is_some(),
            SessionStatus::Denied | SessionStatus::Failed => true,
        };
        if self.expires_at <= now && !is_settled {
            "expired"
        } else {
            self.status.as_str()
        }
    }
}
