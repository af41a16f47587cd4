//! The way back to the app: where a flow ends, and the words by which the app's page is told how.
//!
//! Owns these words. Anybody can send a browser to such an address, so they are hints, which move
//! nothing: `complete` and `GET /sessions/{id}` tell how a session stands. Checks the destination
//! against the allowlist each time.

use url::Url;

use super::error::{ConnectOutcome, ConnectRefusal};
use super::flow::Flow;
use super::return_to::{ReturnTo, ReturnToAllowlist};

threads_graph::names! {
    /// The end of a flow, as the parameter `status` of the way back tells it.
    pub enum ReturnStatus {
        /// The account is connected, perhaps since an earlier visit.
        Connected => "connected",
        /// Threads has agreed, and the long-lived exchange is retried in the background.
        Finishing => "finishing",
        /// The person said no.
        Denied => "denied",
        /// It failed. The reason says how.
        Failed => "failed",
        /// It took too long.
        Expired => "expired",
    }
}

impl ConnectOutcome {
    /// The `status` for the app's page. `None`: no flow is known, or its page is not allowed.
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

    /// Says if a failed session gives this outcome as its reason: all that the app's page is told
    /// of as failed, but for sessions that are closed or gone.
    #[must_use]
    pub fn speaks_for_session(self) -> bool {
        self.return_status() == Some(ReturnStatus::Failed)
            && !matches!(self, Self::SessionClosed | Self::SessionUnknown)
    }
}

impl ConnectRefusal {
    /// The app's page for a link, with `session_id`, `status` and `reason`: if the flow has one
    /// that is still allowed.
    #[must_use]
    pub fn way_back(&self, allowed: &ReturnToAllowlist) -> Option<Url> {
        let flow = self.flow.as_deref().or(self.doubtful.as_deref())?;
        let status = self.reason.outcome().return_status()?;
        let session = flow.session_id.as_deref().map(|id| ("session_id", id));
        let how = [("status", status.as_str()), ("reason", self.reason.word())];
        let parameters: Vec<_> = session.into_iter().chain(how).collect();
        Some(of(allowed, flow)?.with(&parameters))
    }

    /// The same for a redirect.
    #[must_use]
    pub fn location(&self, allowed: &ReturnToAllowlist) -> Option<String> {
        self.flow.as_ref().and_then(|_| self.way_back(allowed)).map(location)
    }
}

/// The app's page of a flow, if it is still allowed.
pub(super) fn of(allowed: &ReturnToAllowlist, flow: &Flow) -> Option<ReturnTo> {
    flow.return_to.as_deref().and_then(|url| allowed.check(url).ok())
}

/// The text of a `Location` that leads to the app. A browser carries the fragment of the address
/// before over to one that has none, and Meta's `#_` is no news for the app's router. So it gets an
/// empty one.
pub(super) fn location(mut url: Url) -> String {
    url.set_fragment(Some(""));
    url.into()
}
