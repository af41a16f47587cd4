//! The standing of a response: its meaning for the service's health, and the metric of those that
//! are not fine.
//! Owns the distinction between responses of 500 and above by design and unexpected ones.
//! [`ErrorCode`](crate::ErrorCode) and [`Notice`](crate::pages::Notice) give each of theirs a
//! standing, which determines the status.

use http::{Response, StatusCode};
use jiff::Timestamp;
use threads_auth::Config;

use crate::metrics::{Metric, emit};

/// The meaning of a response for the service's health.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// The service works: the request succeeded, or its sender has to change it.
    Fine(StatusCode),
    /// Unavailable for now, by design: 503 with `Retry-After`.
    Later,
    /// The service itself has failed.
    Failed(StatusCode),
}

threads_graph::names! {
    /// `Outcome` of the metric `ServerErrors`, which counts the responses of 500 and above.
    pub enum ServerError {
        /// [`Standing::Later`]. Raises no alarm.
        Later => "later",
        /// [`Standing::Failed`], or any other response of 500 and above.
        Unexpected => "unexpected",
    }
}

impl Standing {
    /// Returns the status of the response.
    #[must_use]
    pub const fn status(self) -> StatusCode {
        match self {
            Self::Fine(status) | Self::Failed(status) => status,
            Self::Later => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// Sets the status of a response, and marks it if it is unavailable by design.
    pub(crate) fn mark<B>(self, response: &mut Response<B>) {
        *response.status_mut() = self.status();
        if self == Self::Later {
            response.extensions_mut().insert(ServerError::Later);
        }
    }
}

impl ServerError {
    /// Returns the outcome of a response of 500 or above. Without a mark it is unexpected.
    #[must_use]
    pub fn of<B>(response: &Response<B>) -> Option<Self> {
        let marked = response.extensions().get().copied().unwrap_or(Self::Unexpected);
        response.status().is_server_error().then_some(marked)
    }
}

/// Counts a response of 500 or above.
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
    use crate::pages::{Notice, Page, Reader, respond};
    use threads_auth::ConnectOutcome;

    #[test]
    fn every_error_of_500_and_more_is_later_or_unexpected() {
        let later = ["pending", "too_young", "not_refreshed", "busy", "suspected", "no_reference_index"];
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
            Notice::Detour,
            Notice::Prefetch,
            Notice::NotFound,
        ];
        for notice in of_flows.into_iter().chain(others) {
            let page = respond(&Page::new(notice), &Reader::default());
            let expected = match notice.as_str() {
                "prefetch" | "threads_unavailable" => Some(ServerError::Later),
                "unavailable" | "misconfigured" => Some(ServerError::Unexpected),
                _ => None,
            };
            assert_eq!(ServerError::of(&page), expected, "{notice:?}");
            // Unavailable by design requires a `Retry-After`.
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
