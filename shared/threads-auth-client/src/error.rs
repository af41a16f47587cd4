//! The reason why a call has failed.
//!
//! Owns the reading of an answer that is no success. Refuses to hold what was sent, and the URL.

use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;

use crate::ids::UserId;
use crate::words::{Cause, ErrorCode};

type Source = Arc<dyn std::error::Error + Send + Sync>;

/// A call has failed. Each call can be made again: none of them does anything twice.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Only the person can bring the account back: send them through a session.
    #[error("the account needs its person: {}", .0.cause)]
    ReconnectNeeded(Arc<ReconnectNeeded>),
    /// The service cannot tell now, and the account may be intact: ask again later.
    #[error("the service has no answer now: {0}")]
    Unavailable(Unavailable),
    /// The service refuses the call as it is.
    #[error("the service refuses the call: {0}")]
    Refused(Refused),
    /// The answer lacks what the document says it has. It is not repeated here: it may hold a
    /// token.
    #[error("the answer (HTTP {status}) is not as the document says, at line {line}, column {column}")]
    Malformed {
        /// The status of the answer.
        status: u16,
        /// The place in the answer.
        line: usize,
        /// The place in that line.
        column: usize,
    },
    /// There was no answer, or not all of it.
    #[error("the service could not be reached")]
    Unreachable(#[source] Source),
    /// There are no credentials, or they cannot be used for a signature.
    #[error("the request could not be signed")]
    Unsigned(#[source] Source),
}

/// The account needs its person, unless Meta accepts the token again (`account.recovered`).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReconnectNeeded {
    /// `needs_reauthorization` or `revoked`.
    pub code: ErrorCode,
    /// The reason why.
    pub cause: Cause,
    /// The session for the person, for [`NewSession::again`](crate::NewSession::again).
    pub session: ReconnectBody,
    /// The URL for the person, if the service requires no session.
    pub authorize_url: Option<String>,
}

/// The session that brings an account back, without the values that only the backend knows.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct ReconnectBody {
    /// The only account that may be connected.
    pub user_id: UserId,
    /// The scopes to request.
    pub scopes: Vec<String>,
}

/// The service, or API Gateway before it, has no answer now.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Unavailable {
    /// The status of the answer: 503, 429, or 500 and above of API Gateway's own.
    pub status: u16,
    /// The service's reason, such as [`ErrorCode::Suspected`]. None if API Gateway has answered.
    pub reason: Option<ErrorCode>,
    /// The time to wait. None in most of API Gateway's own answers: back off exponentially then.
    pub retry_after: Option<Duration>,
    /// Names the request in the service's log.
    pub request_id: Option<String>,
}

/// The service, or API Gateway before it, refuses the call.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Refused {
    /// The status of the answer.
    pub status: u16,
    /// The service's error for programs. None if API Gateway has answered.
    pub code: Option<ErrorCode>,
    /// A sentence for people, which may change.
    pub message: String,
    /// Names the request in the service's log.
    pub request_id: Option<String>,
}

impl Error {
    /// The service's error for programs, if the service has answered.
    #[must_use]
    pub fn code(&self) -> Option<&ErrorCode> {
        match self {
            Self::ReconnectNeeded(needed) => Some(&needed.code),
            Self::Unavailable(unavailable) => unavailable.reason.as_ref(),
            Self::Refused(refused) => refused.code.as_ref(),
            _ => None,
        }
    }

    /// Returns true if the same call may succeed later, without anybody doing anything.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::Unreachable(_) | Self::Unsigned(_))
    }

    /// The time that the service asks to wait before the next attempt.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        if let Self::Unavailable(unavailable) = self { unavailable.retry_after } else { None }
    }

    /// Reads an answer whose status is no success.
    pub(crate) fn from_answer(
        status: u16,
        body: &[u8],
        retry_after: Option<Duration>,
        request_id: Option<String>,
    ) -> Self {
        // A proxy between may answer with anything.
        let body: Body = serde_json::from_slice(body).unwrap_or_default();
        let (code, message, cause) = match body.error {
            Some(problem) => (Some(problem.code), problem.message, problem.cause),
            None => (None, body.message.unwrap_or_default(), None),
        };
        match (code, cause, body.reconnect) {
            (Some(code), Some(cause), Some(Reconnect { body: session, authorize_url })) => {
                Self::ReconnectNeeded(Arc::new(ReconnectNeeded { code, cause, session, authorize_url }))
            }
            (code, ..) if matches!(status, 429 | 503) || status >= 500 && code.is_none() => {
                Self::Unavailable(Unavailable { status, reason: code, retry_after, request_id })
            }
            (code, ..) => Self::Refused(Refused { status, code, message, request_id }),
        }
    }
}

impl std::fmt::Display for Unavailable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "HTTP {}", self.status)?;
        self.reason.as_ref().map_or(Ok(()), |reason| write!(f, ", {reason}"))
    }
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "HTTP {}", self.status)?;
        self.code.as_ref().map_or(Ok(()), |code| write!(f, ", {code}"))?;
        if self.message.is_empty() { Ok(()) } else { write!(f, ": {}", self.message) }
    }
}

/// The service's own error, or API Gateway's.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Body {
    error: Option<Problem>,
    message: Option<String>,
    reconnect: Option<Reconnect>,
}

#[derive(Deserialize)]
struct Problem {
    code: ErrorCode,
    message: String,
    cause: Option<Cause>,
}

#[derive(Deserialize)]
struct Reconnect {
    body: ReconnectBody,
    authorize_url: Option<String>,
}
