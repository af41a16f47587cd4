//! The way back to the app: the destination of a finished flow, and the words that describe its
//! outcome to the app's page.
//! Owns these words. They are hints only, since anybody can send a browser to such an address:
//! `complete` and `GET /sessions/{id}` return the state of a session. The destination is checked
//! against the allowlist each time.

use url::Url;

use super::error::{ConnectOutcome, ConnectRefusal};
use super::flow::Flow;
use super::return_to::{ReturnTo, ReturnToAllowlist};

threads_graph::names! {
    /// The outcome of a flow as the parameter `status` of the way back.
    pub enum ReturnStatus {
        /// The account is connected, perhaps since an earlier visit.
        Connected => "connected",
        /// The person consented, and the long-lived exchange is retried in the background.
        Finishing => "finishing",
        /// The person denied consent.
        Denied => "denied",
        /// The flow failed. The parameter `reason` names the cause.
        Failed => "failed",
        /// The flow or its session has expired.
        Expired => "expired",
    }
}

impl ConnectOutcome {
    /// Returns the `status` for the app's page, or `None` if no flow is known or its page is not
    /// allowed.
    #[must_use]
    pub fn return_status(self) -> Option<ReturnStatus> {
        match self {
            Self::Connected | Self::Replayed => Some(ReturnStatus::Connected),
            Self::Finishing => Some(ReturnStatus::Finishing),
            Self::Denied => Some(ReturnStatus::Denied),
            Self::Expired | Self::SessionExpired => Some(ReturnStatus::Expired),
            Self::ThreadsFailed
            | Self::Ended
            | Self::WrongAccount
            | Self::CodeRefused
            | Self::SessionUnknown
            | Self::SessionClosed
            | Self::ThreadsUnavailable
            | Self::Unavailable
            | Self::Misconfigured => Some(ReturnStatus::Failed),
            Self::WrongBrowser | Self::BadLink | Self::ReturnToRefused | Self::SessionRequired => None,
        }
    }

    /// Returns true if the outcome becomes the reason of a failed session: all that have the status
    /// `failed`, except those of sessions that are closed or unknown.
    #[must_use]
    pub fn speaks_for_session(self) -> bool {
        self.return_status() == Some(ReturnStatus::Failed)
            && !matches!(self, Self::SessionClosed | Self::SessionUnknown)
    }
}

impl ConnectRefusal {
    /// Returns the app's page, with `session_id`, `status` and `reason`, for a link. `None` if the
    /// flow has no page that is still allowed, or has not ended.
    #[must_use]
    pub fn way_back(&self, allowed: &ReturnToAllowlist) -> Option<Url> {
        if self.is_repeatable() {
            return None;
        }
        let flow = self.flow.as_deref().or(self.doubtful.as_deref())?;
        let status = self.reason.outcome().return_status()?;
        let session = flow.session_id.as_deref().map(|id| ("session_id", id));
        let how = [("status", status.as_str()), ("reason", self.reason.word())];
        let parameters: Vec<_> = session.into_iter().chain(how).collect();
        Some(of(allowed, flow)?.with(&parameters))
    }

    /// Returns the same as the target of a redirect. `None` if the flow is doubtful.
    #[must_use]
    pub fn location(&self, allowed: &ReturnToAllowlist) -> Option<String> {
        self.flow.as_ref().and_then(|_| self.way_back(allowed)).map(location)
    }
}

/// Returns the app's page of a flow, if it is still allowed.
pub(super) fn of(allowed: &ReturnToAllowlist, flow: &Flow) -> Option<ReturnTo> {
    flow.return_to.as_deref().and_then(|url| allowed.check(url).ok())
}

/// Returns the value of a `Location` header that leads to the app. Its fragment is empty, because a
/// browser would otherwise carry over Meta's `#_`, which could confuse the app's router.
pub(super) fn location(mut url: Url) -> String {
    url.set_fragment(Some(""));
    url.into()
}
