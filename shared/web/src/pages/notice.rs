//! Which outcome a person is told of, and with which status.

use http::StatusCode;
use threads_auth::ConnectOutcome as Connect;

use crate::standing::Standing;

/// What a person is told, and with which status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Notice {
    /// How a connect ended.
    Connect(Connect),
    /// A deletion that the person asked for is done.
    Deleted,
    /// A deletion that the person asked for is under way.
    DeletionUnfinished,
    /// The person has connected again since they asked for a deletion.
    DeletionKept,
    /// No deletion has this code.
    DeletionUnknown,
    /// The browser has loaded the page ahead, and nothing was done.
    Ahead,
    /// The request has walked around CloudFront.
    Detour,
    /// No such page.
    NotFound,
}

impl From<Connect> for Notice {
    fn from(outcome: Connect) -> Self {
        Self::Connect(outcome)
    }
}

impl Notice {
    /// The standing of its page, with its status.
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
            Self::Connect(Connect::ThreadsUnavailable) | Self::Ahead => Standing::Later,
            Self::Connect(Connect::Misconfigured) => Standing::Failed(StatusCode::INTERNAL_SERVER_ERROR),
            Self::Connect(Connect::Unavailable) => Standing::Failed(StatusCode::SERVICE_UNAVAILABLE),
        }
    }

    /// A stable name, in `snake_case`, for the line that the page has for the app's developer.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Connect(outcome) => outcome.as_str(),
            Self::Deleted => "deleted",
            Self::DeletionUnfinished => "deletion_unfinished",
            Self::DeletionKept => "deletion_kept",
            Self::DeletionUnknown => "deletion_unknown",
            Self::Ahead => "prefetch",
            Self::Detour => "detour",
            Self::NotFound => "not_found",
        }
    }

    /// Whether the app is the first place to look: the account may be connected already, or the
    /// person said no.
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

    /// Seconds after which it is worth trying again by itself.
    pub(super) fn retry_after(self) -> Option<u16> {
        match self {
            Self::Connect(Connect::ThreadsUnavailable) => Some(30),
            Self::Connect(Connect::Unavailable) => Some(5),
            Self::Ahead => Some(1),
            _ => None,
        }
    }
}
