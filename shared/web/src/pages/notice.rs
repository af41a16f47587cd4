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

/// The ways to start again.
#[derive(Clone, Copy)]
pub(super) enum Again {
    Start,
    /// In this browser rather than in the one that the reader has come from.
    StartHere,
    Try,
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

    /// Returns the way to start again, if that can help.
    pub(super) fn again(self) -> Option<Again> {
        match self {
            Self::Connect(
                Connect::Denied
                | Connect::ThreadsFailed
                | Connect::Expired
                | Connect::Ended
                | Connect::Replayed
                | Connect::WrongAccount
                | Connect::BadLink
                | Connect::CodeRefused,
            ) => Some(Again::Start),
            Self::Connect(Connect::WrongBrowser) => Some(Again::StartHere),
            Self::Connect(Connect::ThreadsUnavailable | Connect::Unavailable) => Some(Again::Try),
            _ => None,
        }
    }

    /// Returns true if the sign of the page points to where the reader has come from, which depends
    /// on the direction of the text.
    pub(super) fn points_back(self) -> bool {
        self == Self::Connect(Connect::SessionRequired)
    }

    /// Returns a hint for the app's developer. It is in English, whoever reads the page: the
    /// developer may not know the reader's language.
    pub(super) fn maker(self) -> Option<&'static str> {
        Some(match self {
            Self::Connect(Connect::ThreadsFailed) => "The log has Threads\u{2019} error code.",
            Self::Connect(Connect::Ended) => {
                "The account was disconnected, or its data deleted, after this flow began."
            }
            Self::Connect(Connect::WrongBrowser) => "The cookie that was set at the start did not come back.",
            Self::Connect(Connect::BadLink) => "A parameter is missing, repeated or malformed.",
            Self::Connect(Connect::ReturnToRefused) => {
                "Add the return address to the allowlist, exactly as the app sends it."
            }
            Self::Connect(Connect::SessionRequired) => {
                "Create a connect session on your server, and open the link that it returns."
            }
            Self::Connect(Connect::SessionUnknown) => "There is no such connect session.",
            Self::Connect(Connect::Unavailable) => "The store or the secrets are unavailable.",
            Self::Connect(Connect::Misconfigured) => {
                "App id, app secret and redirect URI must belong together. See the log."
            }
            Self::Detour => "Public pages are behind CloudFront. Use the stack\u{2019}s public address.",
            _ => return None,
        })
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
