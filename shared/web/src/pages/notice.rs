//! The notices of the pages, each with its status.

use http::StatusCode;
use threads_auth::ConnectOutcome as Connect;

use crate::standing::Standing;

/// The notice of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Notice {
    /// The outcome of a connect.
    Connect(Connect),
    /// The requested deletion is finished.
    Deleted,
    /// The requested deletion is still running.
    DeletionUnfinished,
    /// The person has connected again, so the deletion did not apply.
    DeletionKept,
    /// No deletion has this code.
    DeletionUnknown,
    /// The browser has prefetched the page, and nothing was done.
    Prefetch,
    /// The request has bypassed CloudFront.
    Detour,
    /// The page does not exist.
    NotFound,
}

impl From<Connect> for Notice {
    fn from(outcome: Connect) -> Self {
        Self::Connect(outcome)
    }
}

impl Notice {
    /// Returns the standing of the page.
    #[must_use]
    pub fn standing(self) -> Standing {
        match self {
            Self::Connect(Connect::Connected) | Self::Deleted | Self::DeletionKept => {
                Standing::Fine(StatusCode::OK)
            }
            Self::Connect(Connect::Finishing) | Self::DeletionUnfinished => {
                Standing::Fine(StatusCode::ACCEPTED)
            }
            Self::Connect(
                Connect::ThreadsFailed
                | Connect::WrongBrowser
                | Connect::BadLink
                | Connect::CodeRefused
                | Connect::ReturnToRefused,
            ) => Standing::Fine(StatusCode::BAD_REQUEST),
            Self::Connect(Connect::Denied | Connect::WrongAccount | Connect::SessionRequired)
            | Self::Detour => Standing::Fine(StatusCode::FORBIDDEN),
            Self::Connect(Connect::SessionUnknown) | Self::DeletionUnknown | Self::NotFound => {
                Standing::Fine(StatusCode::NOT_FOUND)
            }
            Self::Connect(Connect::Replayed | Connect::SessionClosed) => Standing::Fine(StatusCode::CONFLICT),
            Self::Connect(Connect::Ended | Connect::Expired | Connect::SessionExpired) => {
                Standing::Fine(StatusCode::GONE)
            }
            Self::Connect(Connect::ThreadsUnavailable) | Self::Prefetch => Standing::Later,
            Self::Connect(Connect::Misconfigured) => Standing::Failed(StatusCode::INTERNAL_SERVER_ERROR),
            Self::Connect(Connect::Unavailable) => Standing::Failed(StatusCode::SERVICE_UNAVAILABLE),
        }
    }

    /// Returns a stable name in `snake_case`, which the page shows to the app's developer.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Connect(outcome) => outcome.as_str(),
            Self::Deleted => "deleted",
            Self::DeletionUnfinished => "deletion_unfinished",
            Self::DeletionKept => "deletion_kept",
            Self::DeletionUnknown => "deletion_unknown",
            Self::Prefetch => "prefetch",
            Self::Detour => "detour",
            Self::NotFound => "not_found",
        }
    }

    /// Returns true if the way back to the app comes first: the account may be connected already,
    /// or the person has denied consent.
    pub(super) fn is_settled_in_app(self) -> bool {
        matches!(
            self,
            Self::Connect(
                Connect::Connected
                    | Connect::Finishing
                    | Connect::Denied
                    | Connect::Replayed
                    | Connect::SessionClosed
            )
        )
    }

    /// Returns the value of `Retry-After`, in seconds.
    pub(super) fn retry_after(self) -> Option<u16> {
        match self {
            Self::Connect(Connect::ThreadsUnavailable) => Some(30),
            Self::Connect(Connect::Unavailable) => Some(5),
            Self::Prefetch => Some(1),
            _ => None,
        }
    }
}
