//! The calls the sandbox answers, and the log of them that tests read.
//!
//! The log refuses secrets: no query, no body, and of the headers only the media type.

use std::collections::{BTreeMap, VecDeque};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Maximum number of records that are kept: enough for several sweeps of 10,000 tokens, and still a
/// bound for a server that is left running.
const KEPT: usize = 100_000;

/// One of Meta's operations. Each is called with a version before its path too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SandboxCall {
    /// `GET /oauth/authorize`, by a browser.
    Authorize,
    /// `POST` or `GET /oauth/access_token`: a code for a short-lived token.
    ExchangeCode,
    /// `GET /access_token`: a short-lived token for a long-lived one.
    ExchangeLongLived,
    /// `GET /refresh_access_token`.
    Refresh,
    /// `GET /me`, or the id of the token's own person.
    Me,
    /// `GET /debug_token`.
    DebugToken,
    /// `GET` or `POST /oauth/access_token` with `client_credentials`.
    AppToken,
}

/// The log's record of one call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct CallRecord {
    /// The operation.
    pub call: SandboxCall,
    /// The time, by the sandbox's clock.
    pub at: Timestamp,
    /// The HTTP status that was sent, or 0 if the connection was closed without an answer.
    pub status: u16,
    /// The user id of the presented token or code, or of the person that the answer was about.
    pub user_id: Option<String>,
    /// The HTTP method.
    pub method: String,
    /// The request's media type without its parameters.
    pub content_type: Option<String>,
    /// The first six characters of the presented token's or code's hash: enough to distinguish two,
    /// useless otherwise.
    pub credential_tag: Option<String>,
    /// The fault that was applied, by its name on the control endpoint, or `bad_hours`.
    pub fault: Option<&'static str>,
    /// The operation ran, even if its answer was lost or cut.
    pub acted: bool,
}

/// The latest records, and the number of all.
#[derive(Debug, Default)]
pub(crate) struct CallLog {
    records: VecDeque<CallRecord>,
    counts: BTreeMap<SandboxCall, u64>,
}

impl CallLog {
    pub(crate) fn push(&mut self, record: CallRecord) {
        *self.counts.entry(record.call).or_default() += 1;
        if self.records.len() == KEPT {
            self.records.pop_front();
        }
        self.records.push_back(record);
    }

    pub(crate) fn records(&self) -> Vec<CallRecord> {
        self.records.iter().cloned().collect()
    }

    pub(crate) fn counts(&self) -> &BTreeMap<SandboxCall, u64> {
        &self.counts
    }

    pub(crate) fn clear(&mut self) {
        self.counts.clear();
        self.records.clear();
    }
}
