//! Why a flow did not begin or finish, and the name of each outcome.

use threads_auth_model::seal::SealError;
use threads_auth_store::{SecretsError, StoreError};
use threads_graph::{CallbackError, DenialReason, ErrorKind};

use super::flow::{Flow, NotResumed};

/// The reason why a flow did not begin or finish, and the flow that it ended, if one is known: for
/// a callback one whose sealed cookie this browser has brought along.
#[derive(Debug, thiserror::Error)]
#[error("{reason}")]
pub struct ConnectRefusal {
    /// Why.
    #[source]
    pub reason: ConnectError,
    /// The flow.
    pub flow: Option<Box<Flow>>,
    /// A flow with all that several have in common, the app's page, if any of them could be meant.
    /// It makes a way back for whoever presses a button, and no redirect.
    pub doubtful: Option<Box<Flow>>,
    /// The `Set-Cookie` headers of the answer.
    pub cookies: Vec<String>,
}

/// Why a flow did not begin or finish.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The link's query has a parameter twice, or one that does not make sense.
    #[error("the link is malformed")]
    BadLink,
    /// The destination is not on the allowlist.
    #[error("the return address is not on the allowlist")]
    ReturnTo,
    /// Only an app's backend can start a flow here.
    #[error("a connect session is required")]
    SessionRequired,
    /// There is no such session.
    #[error("the session is unknown")]
    SessionUnknown,
    /// The session was used before.
    #[error("the session is closed")]
    SessionClosed,
    /// The session's time is over.
    #[error("the session is expired")]
    SessionExpired,
    /// The callback's query is malformed or ambiguous.
    #[error("the callback is malformed")]
    Callback(#[source] CallbackError),
    /// This browser did not start the flow.
    #[error("the callback belongs to no flow of this browser")]
    WrongBrowser,
    /// The person took too long.
    #[error("the flow is expired")]
    Expired,
    /// The flow was finished before.
    #[error("the state was used before")]
    Replayed,
    /// The person refused.
    #[error("consent was denied")]
    Denied(DenialReason),
    /// Meta ended the login by itself, and may have said with which number.
    #[error("Threads ended the login{}", .0.map_or_else(String::new, |code| format!(" with error {code}")))]
    ThreadsFailed(Option<u64>),
    /// Another account came back than the one that was asked for.
    #[error("another account came back")]
    WrongAccount,
    /// The account's data was deleted while the person was at Meta.
    #[error("the account was deleted meanwhile")]
    Deleted,
    /// The account was disconnected, or the person removed the app, while the person was at Meta.
    #[error("the account was ended meanwhile")]
    Ended,
    /// Meta's answers name two accounts.
    #[error("Meta's answers contradict each other on whose token it is")]
    Contradiction,
    /// Meta refused.
    #[error("Threads refused")]
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
    /// How a connect ended: one name in logs, in metrics, in its session and on its page.
    pub enum ConnectOutcome {
        /// The account is connected.
        Connected => "connected",
        /// Threads has agreed, and the long-lived exchange is retried in the background.
        Finishing => "finishing",
        /// The person said no. Nothing was stored.
        Denied => "denied",
        /// Meta ended the login by itself. Nothing was stored.
        ThreadsFailed => "threads_failed",
        /// The account was disconnected while the person was at Threads. Nothing was stored.
        Ended => "ended",
        /// It took more than ten minutes.
        Expired => "expired",
        /// The state was spent before.
        Replayed => "replayed",
        /// The browser that came back is not known to have started.
        WrongBrowser => "wrong_browser",
        /// Another Threads account came back than the one that was expected.
        WrongAccount => "wrong_account",
        /// The link or the callback is malformed.
        BadLink => "bad_link",
        /// Threads no longer accepted its own code.
        CodeRefused => "code_refused",
        /// The address to return to is not on the allowlist.
        ReturnToRefused => "return_to_refused",
        /// A connection has to start from the app.
        SessionRequired => "session_required",
        /// There is no such connect session.
        SessionUnknown => "session_unknown",
        /// The connect session was used before.
        SessionClosed => "session_closed",
        /// The connect session is too old.
        SessionExpired => "session_expired",
        /// Meta is down or throttles us.
        ThreadsUnavailable => "threads_unavailable",
        /// Our own store or secrets are out of reach.
        Unavailable => "unavailable",
        /// The app's settings at Meta are wrong.
        Misconfigured => "misconfigured",
    }
}

impl ConnectError {
    /// How the connect ended.
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
            Self::Secrets(error) if !error.is_transient() => ConnectOutcome::Misconfigured,
            Self::Secrets(_) | Self::Store(_) | Self::Seal(_) => ConnectOutcome::Unavailable,
        }
    }

    /// The reason in one fixed word, for the flow's session and for the app's page.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Denied(reason) => reason.as_str(),
            _ => self.outcome().as_str(),
        }
    }

    /// The refusal that ends `flow`.
    pub(crate) fn in_flow(self, flow: &Flow) -> ConnectRefusal {
        ConnectRefusal { flow: Some(Box::new(flow.clone())), ..self.into() }
    }
}

impl From<ConnectError> for ConnectRefusal {
    fn from(reason: ConnectError) -> Self {
        Self { reason, flow: None, doubtful: None, cookies: Vec::new() }
    }
}

impl From<NotResumed> for ConnectRefusal {
    fn from(not_resumed: NotResumed) -> Self {
        match not_resumed {
            NotResumed::WrongBrowser => ConnectError::WrongBrowser.into(),
            NotResumed::Expired(flow) => Self { flow: Some(flow), ..ConnectError::Expired.into() },
        }
    }
}
