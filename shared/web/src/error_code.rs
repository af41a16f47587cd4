//! The codes by which programs know an error: one list, each with its status.

use http::StatusCode;
use threads_auth::RetryReason;

use crate::standing::Standing;

threads_graph::names! {
    /// `error.code` of an answer. `functions/openapi.yaml` says which answers have which.
    pub enum ErrorCode {
        /// The request makes no sense.
        BadRequest => "bad_request",
        /// The address to return to is not on the allowlist, can be on none, or has a
        /// parameter of ours.
        ReturnToRefused => "return_to_refused",
        /// Meta has not signed this, or not for this app.
        BadSignedRequest => "bad_signed_request",
        /// The route is deployed without IAM authorization, or a public one was asked past
        /// CloudFront.
        Forbidden => "forbidden",
        /// The completion code is not this session's.
        WrongCompletion => "wrong_completion",
        /// The session is not of the user who is logged in.
        WrongReference => "wrong_reference",
        /// There is no such route.
        NotFound => "not_found",
        /// There is no session of this id.
        SessionUnknown => "session_unknown",
        /// No account of this id is connected.
        UnknownUser => "unknown_user",
        /// Nobody has come back yet.
        SessionNotConnected => "session_not_connected",
        /// The completion code was redeemed before.
        SessionCompletedBefore => "session_completed_before",
        /// Only the person brings the account back.
        NeedsReauthorization => "needs_reauthorization",
        /// The account was disconnected.
        Revoked => "revoked",
        /// The session was not completed in time.
        SessionExpired => "session_expired",
        /// The account was deleted before the session was completed.
        AccountGone => "account_gone",
        /// The account's row makes no sense.
        Unreadable => "unreadable",
        /// [`RetryReason::Pending`].
        Pending => "pending",
        /// [`RetryReason::TooYoung`].
        TooYoung => "too_young",
        /// [`RetryReason::NotRefreshed`].
        NotRefreshed => "not_refreshed",
        /// [`RetryReason::Busy`].
        Busy => "busy",
        /// [`RetryReason::Suspected`].
        Suspected => "suspected",
        /// The store or the secrets are out of reach.
        Unavailable => "unavailable",
    }
}

impl ErrorCode {
    /// The standing of every answer with this code, with its status.
    #[must_use]
    pub const fn standing(self) -> Standing {
        match self {
            Self::BadRequest | Self::ReturnToRefused | Self::BadSignedRequest => {
                Standing::Fine(StatusCode::BAD_REQUEST)
            }
            Self::Forbidden | Self::WrongCompletion | Self::WrongReference => {
                Standing::Fine(StatusCode::FORBIDDEN)
            }
            Self::NotFound | Self::SessionUnknown | Self::UnknownUser => {
                Standing::Fine(StatusCode::NOT_FOUND)
            }
            Self::SessionNotConnected
            | Self::SessionCompletedBefore
            | Self::NeedsReauthorization
            | Self::Revoked => Standing::Fine(StatusCode::CONFLICT),
            Self::SessionExpired | Self::AccountGone => Standing::Fine(StatusCode::GONE),
            Self::Pending | Self::TooYoung | Self::NotRefreshed | Self::Busy | Self::Suspected => {
                Standing::Later
            }
            Self::Unreadable => Standing::Failed(StatusCode::INTERNAL_SERVER_ERROR),
            Self::Unavailable => Standing::Failed(StatusCode::SERVICE_UNAVAILABLE),
        }
    }
}

impl From<RetryReason> for ErrorCode {
    fn from(why: RetryReason) -> Self {
        match why {
            RetryReason::Pending => Self::Pending,
            RetryReason::TooYoung => Self::TooYoung,
            RetryReason::NotRefreshed => Self::NotRefreshed,
            RetryReason::Busy => Self::Busy,
            RetryReason::Suspected => Self::Suspected,
        }
    }
}
