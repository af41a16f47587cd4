//! Connect sessions: how an app's backend sends one of *its* users through a connect, and learns who came back.
//!
//! Whoever opens a session's URL may be anybody, the victim of a trick included. So the account is not told to whoever asks for
//! the session, but to the backend that presents the completion code, which only the browser that finished was given; and that
//! backend knows which of its users it is talking to.

use jiff::{SignedDuration, Timestamp};
use threads_graph::{Scopes, UserId};

use crate::ThreadsAuth;
use crate::flow::state_hash;
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
            expires_at: crate::schedule::add(now, new.lifetime.as_secs()),
            status: SessionStatus::Open,
            connected_user_id: None,
        };
        self.store.create_session(&session).await?;
        Ok(session)
    }

    /// The URL by which a person enters a session.
    #[must_use]
    pub fn session_url(&self, session: &Session) -> String {
        format!("{}authorize?session={}", self.config.public_url, session.id)
    }

    /// Redeems a completion code, once: the session with the account that connected, or nothing if the code is not the
    /// session's, was redeemed before, or came too late.
    ///
    /// # Errors
    /// When DynamoDB fails, or the row does not make sense.
    pub async fn complete_session(
        &self,
        id: &str,
        completion: &str,
        now: Timestamp,
    ) -> Result<Option<Session>, StoreError> {
        self.store
            .complete_session(id, &state_hash(completion), now)
            .await
    }
}
