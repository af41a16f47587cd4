//! The error codes for programs, each with its status.

use http::StatusCode;
use threads_auth::RetryReason;

use crate::standing::Standing;

threads_graph::names! {
    /// `error.code` of a response. `functions/openapi.yaml` lists the codes of each response.
    pub enum ErrorCode {
        /// The request is invalid.
        BadRequest => "bad_request",
        /// The return address is invalid, not on the allowlist, or has a reserved parameter.
        ReturnToRefused => "return_to_refused",
        /// The request is not signed by Meta for this app.
        BadSignedRequest => "bad_signed_request",
        /// The route is deployed without IAM authorization, or a request for a public one has
        /// bypassed CloudFront.
        Forbidden => "forbidden",
        /// The completion code belongs to another session.
        WrongCompletion => "wrong_completion",
        /// The session belongs to another user.
        WrongReference => "wrong_reference",
        /// The route does not exist.
        NotFound => "not_found",
        /// No session has this id.
        SessionUnknown => "session_unknown",
        /// No account with this id is connected.
        UnknownUser => "unknown_user",
        /// No account was connected in this session.
        SessionNotConnected => "session_not_connected",
        /// The completion code was already redeemed.
        SessionCompletedBefore => "session_completed_before",
        /// The person has to connect again.
        NeedsReauthorization => "needs_reauthorization",
        /// The account was disconnected.
        Revoked => "revoked",
        /// Only the completion of its session can claim the account.
        AccountUnclaimed => "account_unclaimed",
        /// The session was not completed in time.
        SessionExpired => "session_expired",
        /// The account was deleted before the session was completed.
        AccountGone => "account_gone",
        /// The account's row is inconsistent.
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
        /// The index of references is missing, or still being built.
        NoReferenceIndex => "no_reference_index",
        /// The store or the secrets are unavailable.
        Unavailable => "unavailable",
    }
}

impl ErrorCode {
    /// Returns the standing of all responses with this code.
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
            | Self::Revoked
            | Self::AccountUnclaimed => Standing::Fine(StatusCode::CONFLICT),
            Self::SessionExpired | Self::AccountGone => Standing::Fine(StatusCode::GONE),
            Self::Pending
            | Self::TooYoung
            | Self::NotRefreshed
            | Self::Busy
            | Self::Suspected
            | Self::NoReferenceIndex => Standing::Later,
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
