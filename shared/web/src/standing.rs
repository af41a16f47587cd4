//! The standing of an answer, its meaning for the service itself: one list of kinds, and the metric
//! of those that are not fine.
//!
//! Owns which answers of 500 and more are there by design. [`ErrorCode`](crate::ErrorCode) and
//! [`Notice`](crate::pages::Notice) say of which kind each of theirs is, and have their status from
//! here.

use http::{Response, StatusCode};
use jiff::Timestamp;
use threads_auth::Config;

use crate::metrics::{Metric, emit};

/// The meaning of an answer for the service itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Nothing is wrong with it: the request is answered, or it is its sender's to change.
    Fine(StatusCode),
    /// By design it is not to be had now: 503 with `Retry-After`.
    Later,
    /// Something of ours has failed that should not.
    Failed(StatusCode),
}

threads_graph::names! {
    /// `Outcome` of the metric `ServerErrors`, which counts the answers of 500 and more.
    pub enum ServerError {
        /// [`Standing::Later`]. No alarm: ask again.
        Later => "later",
        /// [`Standing::Failed`], or any other answer of 500 and more.
        Unexpected => "unexpected",
    }
}

impl Standing {
    /// The status of the answer.
    #[must_use]
    pub const fn status(self) -> StatusCode {
        match self {
            Self::Fine(status) | Self::Failed(status) => status,
            Self::Later => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// Marks an answer as one of this standing, and gives it its status.
    pub(crate) fn mark<B>(self, response: &mut Response<B>) {
        *response.status_mut() = self.status();
        if self == Self::Later {
            response.extensions_mut().insert(ServerError::Later);
        }
    }
}

impl ServerError {
    /// The outcome of an answer, if its status is 500 or more. Without a mark it is unexpected.
    #[must_use]
    pub fn of<B>(response: &Response<B>) -> Option<Self> {
        let marked = response.extensions().get().copied().unwrap_or(Self::Unexpected);
        response.status().is_server_error().then_some(marked)
    }
}

/// Counts an answer of 500 and more.
pub(crate) fn count<B>(config: &Config, now: Timestamp, response: &Response<B>) {
    if let Some(outcome) = ServerError::of(response) {
        emit(config, now, Some(("Outcome", outcome.as_str())), &[Metric::count("ServerErrors", 1)]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error_code::ErrorCode;
    use crate::json::{json_error, json_later};
    use crate::pages::{Notice, Page, respond};
    use threads_auth::ConnectOutcome;

    #[test]
    fn every_error_of_500_and_more_is_later_or_unexpected() {
        let later = ["pending", "too_young", "not_refreshed", "busy", "suspected"];
        let unexpected = ["unreadable", "unavailable"];
        for code in ErrorCode::ALL {
            let name = code.as_str();
            let expected = if later.contains(&name) {
                Some(ServerError::Later)
            } else {
                unexpected.contains(&name).then_some(ServerError::Unexpected)
            };
            for answer in [json_error(code, "text"), json_later(code, "text", 5)] {
                assert_eq!(ServerError::of(&answer), expected, "{code}");
                assert_eq!(answer.status(), code.standing().status(), "{code}");
            }
        }
    }

    #[test]
    fn every_page_of_500_and_more_is_later_or_unexpected() {
        let of_flows = ConnectOutcome::ALL.map(Notice::Connect);
        let others = [
            Notice::Deleted,
            Notice::DeletionUnfinished,
            Notice::DeletionKept,
            Notice::DeletionUnknown,
            Notice::Ahead,
            Notice::Detour,
            Notice::NotFound,
        ];
        for notice in of_flows.into_iter().chain(others) {
            let page = respond(&Page::new(notice));
            let expected = match notice.as_str() {
                "prefetch" | "threads_unavailable" => Some(ServerError::Later),
                "unavailable" | "misconfigured" => Some(ServerError::Unexpected),
                _ => None,
            };
            assert_eq!(ServerError::of(&page), expected, "{notice:?}");
            // By design means that it says when.
            let is_later = expected == Some(ServerError::Later);
            assert!(!is_later || page.headers().contains_key("retry-after"), "{notice:?}");
            assert!(!is_later || page.status() == 503, "{notice:?}");
        }
    }

    #[test]
    fn an_answer_that_nobody_has_marked_is_unexpected() {
        let answer = |status: u16| Response::builder().status(status).body(()).unwrap();
        assert_eq!(ServerError::of(&answer(500)), Some(ServerError::Unexpected));
        assert_eq!(ServerError::of(&answer(503)), Some(ServerError::Unexpected));
        for fine in [200, 303, 404, 429] {
            assert_eq!(ServerError::of(&answer(fine)), None);
        }
    }
}
