//! The errors of a connect, and the name of each outcome.

use threads_auth_model::seal::SealError;
use threads_auth_store::{SecretsError, StoreError};
use threads_graph::{CallbackError, DenialReason, ErrorKind};

use super::flow::{Flow, ResumeError};

/// A refused connect: the error, and the flow that it ended, if one is known. A callback's flow is
/// known if this browser has sent its sealed cookie.
#[derive(Debug, thiserror::Error)]
#[error("{reason}")]
pub struct ConnectRefusal {
    /// The error.
    #[source]
    pub reason: ConnectError,
    /// The flow, if it is known.
    pub flow: Option<Box<Flow>>,
    /// A flow that holds only the app's page, if the callback may belong to any of several flows
    /// with that page. It allows a button that leads back, but no redirect.
    pub doubtful: Option<Box<Flow>>,
    /// The `Set-Cookie` headers of the response.
    pub cookies: Vec<String>,
}

/// Error of a connect.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The link's query has a repeated or invalid parameter.
    #[error("the link is malformed")]
    BadLink,
    /// The return address is not on the allowlist.
    #[error("the return address is not on the allowlist")]
    ReturnTo,
    /// A flow requires a connect session, which the app's backend creates.
    #[error("a connect session is required")]
    SessionRequired,
    /// No session has this id.
    #[error("the session is unknown")]
    SessionUnknown,
    /// The session is closed: it was used, or too many attempts failed.
    #[error("the session is closed")]
    SessionClosed,
    /// The session has expired.
    #[error("the session has expired")]
    SessionExpired,
    /// The callback's query is malformed or ambiguous.
    #[error("the callback is malformed")]
    Callback(#[source] CallbackError),
    /// This browser did not start the flow.
    #[error("the callback belongs to no flow of this browser")]
    WrongBrowser,
    /// The flow has expired: the person took more than ten minutes.
    #[error("the flow has expired")]
    Expired,
    /// The flow was finished before.
    #[error("the state was already used")]
    Replayed,
    /// The person denied consent.
    #[error("consent was denied")]
    Denied(DenialReason),
    /// Meta ended the login with an error, whose number is given if Meta sent one.
    #[error("Threads ended the login{}", .0.map_or_else(String::new, |code| format!(" with error {code}")))]
    ThreadsFailed(Option<u64>),
    /// The person logged in with another account than the requested one.
    #[error("the login was for another account than the requested one")]
    WrongAccount,
    /// The account's data was deleted while the person was at Meta.
    #[error("the account was deleted during the flow")]
    Deleted,
    /// The account was disconnected, or the person removed the app, while the person was at Meta.
    #[error("the account was disconnected during the flow")]
    Ended,
    /// Meta's responses name different accounts.
    #[error("Meta's responses name different accounts for one token")]
    Contradiction,
    /// Too little time is left to store the token that the code would buy. The code is not spent.
    #[error("the request took so long that the code was not spent")]
    Late,
    /// A call to Meta failed.
    #[error("a call to Threads failed")]
    Threads(#[source] threads_graph::Error),
    /// The secrets could not be read.
    #[error(transparent)]
    Secrets(#[from] SecretsError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Sealing failed.
    #[error("sealing failed")]
    Seal(#[from] SealError),
}

threads_graph::names! {
    /// The outcome of a connect: one name in logs, metrics, its session and its page.
    pub enum ConnectOutcome {
        /// The account is connected.
        Connected => "connected",
        /// The person consented, and the long-lived exchange is retried in the background.
        Finishing => "finishing",
        /// The person denied consent. Nothing was stored.
        Denied => "denied",
        /// Meta ended the login with an error. Nothing was stored.
        ThreadsFailed => "threads_failed",
        /// The account was disconnected while the person was at Threads. Nothing was stored.
        Ended => "ended",
        /// The flow took more than ten minutes.
        Expired => "expired",
        /// The state was already used.
        Replayed => "replayed",
        /// The browser did not start this flow.
        WrongBrowser => "wrong_browser",
        /// The person logged in with another Threads account than the requested one.
        WrongAccount => "wrong_account",
        /// The link or the callback is malformed.
        BadLink => "bad_link",
        /// Threads refused its own authorization code.
        CodeRefused => "code_refused",
        /// The return address is not on the allowlist.
        ReturnToRefused => "return_to_refused",
        /// The flow requires a connect session.
        SessionRequired => "session_required",
        /// No connect session has this id.
        SessionUnknown => "session_unknown",
        /// The connect session is closed.
        SessionClosed => "session_closed",
        /// The connect session has expired.
        SessionExpired => "session_expired",
        /// Meta is unavailable or throttles the app.
        ThreadsUnavailable => "threads_unavailable",
        /// The store or the secrets are unavailable.
        Unavailable => "unavailable",
        /// The app's settings at Meta are wrong.
        Misconfigured => "misconfigured",
    }
}

impl ConnectError {
    /// Returns the outcome.
    #[must_use]
    pub fn outcome(&self) -> ConnectOutcome {
        match self {
            Self::BadLink | Self::Callback(_) => ConnectOutcome::BadLink,
            Self::ReturnTo => ConnectOutcome::ReturnToRefused,
            Self::SessionRequired => ConnectOutcome::SessionRequired,
            Self::SessionUnknown => ConnectOutcome::SessionUnknown,
            Self::SessionClosed => ConnectOutcome::SessionClosed,
            Self::SessionExpired => ConnectOutcome::SessionExpired,
            Self::WrongBrowser => ConnectOutcome::WrongBrowser,
            Self::Expired => ConnectOutcome::Expired,
            Self::Ended | Self::Deleted => ConnectOutcome::Ended,
            Self::Replayed => ConnectOutcome::Replayed,
            Self::Denied(_) => ConnectOutcome::Denied,
            Self::ThreadsFailed(_) => ConnectOutcome::ThreadsFailed,
            Self::WrongAccount => ConnectOutcome::WrongAccount,
            Self::Contradiction => ConnectOutcome::ThreadsUnavailable,
            Self::Threads(error) => match error.kind() {
                ErrorKind::Transient | ErrorKind::Throttled { .. } | ErrorKind::Malformed => {
                    ConnectOutcome::ThreadsUnavailable
                }
                ErrorKind::Configuration(_) => ConnectOutcome::Misconfigured,
                ErrorKind::CodeUnusable
                | ErrorKind::NeedsReauthorization(_)
                | ErrorKind::Permission
                | ErrorKind::TooYoung
                | ErrorKind::Rejected => ConnectOutcome::CodeRefused,
            },
            Self::Late | Self::Secrets(_) | Self::Store(_) | Self::Seal(_) => ConnectOutcome::Unavailable,
        }
    }

    /// Returns the reason as one fixed word, for the flow's session and the app's page.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Denied(reason) => reason.as_str(),
            _ => self.outcome().as_str(),
        }
    }

    /// Returns the refusal that ends `flow`.
    pub(crate) fn in_flow(self, flow: &Flow) -> ConnectRefusal {
        ConnectRefusal { flow: Some(Box::new(flow.clone())), ..self.into() }
    }
}

impl ConnectRefusal {
    /// Returns true if the callback can be loaded again as it is: its code and its state are not
    /// spent. Without the secrets its flow is unknown.
    #[must_use]
    pub fn is_repeatable(&self) -> bool {
        match self.reason {
            ConnectError::Late => true,
            ConnectError::Secrets(_) => self.flow.is_none(),
            _ => false,
        }
    }
}

impl From<ConnectError> for ConnectRefusal {
    fn from(reason: ConnectError) -> Self {
        Self { reason, flow: None, doubtful: None, cookies: Vec::new() }
    }
}

impl From<ResumeError> for ConnectRefusal {
    fn from(error: ResumeError) -> Self {
        match error {
            ResumeError::WrongBrowser | ResumeError::UnknownKey => ConnectError::WrongBrowser.into(),
            ResumeError::Expired(flow) => Self { flow: Some(flow), ..ConnectError::Expired.into() },
        }
    }
}
