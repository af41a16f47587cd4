//! Faults: scripted failures, and the calls that they strike.
//!
//! Faults are scripted, never random: a test that fails must fail again.

use axum::http::{HeaderName, HeaderValue, StatusCode};
use serde::{Deserialize, Serialize};
use serde_variant::to_variant_name;

use crate::call::SandboxCall;

/// One scripted failure. Several may wait at once: each call takes the first that matches it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// The operation that it strikes. `None`: any but [`SandboxCall::Authorize`].
    #[serde(default)]
    pub call: Option<SandboxCall>,
    /// The number of calls that it strikes before it is used up. `u32::MAX` means for ever.
    #[serde(default = "once")]
    pub times: u32,
    /// The number of matching calls that it lets through first.
    #[serde(default)]
    pub after: u32,
    /// The effect on a call.
    pub action: FaultAction,
    /// Strikes only calls that present a token or code of this account.
    #[serde(default)]
    pub user_id: Option<String>,
}

const fn once() -> u32 {
    1
}

/// The effect of a fault on a call. Only `Delay`, `DropAfter` and `Truncate` let the operation run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum FaultAction {
    /// Answers with exactly this.
    Respond {
        /// The HTTP status, from 200 to 599.
        status: u16,
        /// The body, sent as it is; `content-type: application/json` unless `headers` say
        /// otherwise.
        #[serde(default)]
        body: String,
        /// The headers, as pairs of name and value.
        #[serde(default)]
        headers: Vec<(String, String)>,
    },
    /// Answers with the Graph API's error envelope.
    GraphError {
        /// Meta's `code`.
        code: u64,
        /// Meta's `error_subcode`.
        #[serde(default)]
        subcode: Option<u64>,
        /// Meta's `is_transient`.
        #[serde(default)]
        is_transient: bool,
        /// The HTTP status, from 200 to 599.
        #[serde(default = "bad_request")]
        status: u16,
    },
    /// 429 with code 4, and a `Retry-After` of so many seconds if given.
    Throttle {
        /// The `Retry-After`, in seconds.
        #[serde(default)]
        retry_after: Option<u64>,
    },
    /// Waits in real time or until the faults are cleared, then acts and answers normally. If a
    /// client gives up first, nothing is done.
    Delay {
        /// The wait, in milliseconds.
        millis: u64,
    },
    /// Closes the connection without an answer, before acting.
    Drop,
    /// Acts (a token issued or refreshed, a code spent), then closes the connection without an
    /// answer.
    DropAfter,
    /// Acts, announces the whole answer's length, sends half of it and closes the connection.
    Truncate,
    /// 502 with an HTML page, without acting.
    Html,
    /// 200 with no body at all, without acting.
    Empty,
}

const fn bad_request() -> u16 {
    400
}

impl FaultAction {
    /// The name that the control endpoint uses.
    pub(crate) fn name(&self) -> &'static str {
        // Fails only for a value that is not a variant of an enum.
        to_variant_name(self).unwrap_or_default()
    }
}

impl Fault {
    /// Refuses a fault that could never be sent or would never strike.
    pub(crate) fn check(&self) -> Result<(), String> {
        if self.times == 0 {
            return Err("times: at least 1 is needed".to_owned());
        }
        let (FaultAction::Respond { status, .. } | FaultAction::GraphError { status, .. }) = &self.action
        else {
            return Ok(());
        };
        if !(200..=599).contains(status) {
            return Err("status: 200 to 599 is needed".to_owned());
        }
        if let FaultAction::Respond { headers, .. } = &self.action {
            for (name, value) in headers {
                if header(name, value).is_none() {
                    return Err(format!("headers: {name:?} is not a header that can be sent"));
                }
            }
        }
        Ok(())
    }
}

/// A header that may be sent: well-formed, and not one that frames the message, which is the
/// server's task.
pub(crate) fn header(name: &str, value: &str) -> Option<(HeaderName, HeaderValue)> {
    let name = HeaderName::try_from(name).ok()?;
    if ["content-length", "transfer-encoding", "connection"].contains(&name.as_str()) {
        return None;
    }
    Some((name, HeaderValue::try_from(value).ok()?))
}

/// A status that may be sent; anything else becomes 500.
pub(crate) fn status(code: u16) -> StatusCode {
    match StatusCode::from_u16(code) {
        Ok(status) if (200..=599).contains(&code) => status,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// The faults that still wait, in the order they were given.
#[derive(Debug, Default)]
pub(crate) struct FaultPlan(Vec<Fault>);

impl FaultPlan {
    /// A fault for no call at all is not kept.
    pub(crate) fn add(&mut self, fault: Fault) {
        if fault.times > 0 {
            self.0.push(fault);
        }
    }

    pub(crate) fn waiting(&self) -> &[Fault] {
        &self.0
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    /// The action that strikes this call, if there is one. A fault that still lets calls through
    /// counts this one and leaves it to the next fault in line.
    pub(crate) fn strike(&mut self, call: SandboxCall, user_id: Option<&str>) -> Option<FaultAction> {
        for at in 0..self.0.len() {
            let fault = &mut self.0[at];
            let call_matches = match fault.call {
                Some(wanted) => wanted == call,
                None => call != SandboxCall::Authorize,
            };
            let user_matches = fault.user_id.is_none() || fault.user_id.as_deref() == user_id;
            if !(call_matches && user_matches) {
                continue;
            }
            if fault.after > 0 {
                fault.after -= 1;
                continue;
            }
            let action = fault.action.clone();
            fault.times -= 1;
            if fault.times == 0 {
                self.0.remove(at);
            }
            return Some(action);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(call: Option<SandboxCall>, times: u32, after: u32, user_id: Option<&str>) -> Fault {
        Fault { call, times, after, action: FaultAction::Drop, user_id: user_id.map(str::to_owned) }
    }

    #[test]
    fn a_fault_lets_calls_through_then_strikes_then_is_gone() {
        let mut plan = FaultPlan::default();
        plan.add(fault(Some(SandboxCall::Refresh), 2, 1, None));
        let struck: Vec<bool> = (0..4).map(|_| plan.strike(SandboxCall::Refresh, None).is_some()).collect();
        assert_eq!(struck, [false, true, true, false]);
        assert!(plan.waiting().is_empty());
    }

    #[test]
    fn other_calls_and_other_people_neither_suffer_nor_count() {
        let mut plan = FaultPlan::default();
        plan.add(fault(Some(SandboxCall::Refresh), 1, 1, Some("7")));
        assert_eq!(plan.strike(SandboxCall::Me, Some("7")), None);
        assert_eq!(plan.strike(SandboxCall::Refresh, Some("8")), None);
        assert_eq!(plan.strike(SandboxCall::Refresh, None), None);
        assert_eq!(plan.waiting()[0].after, 1);
    }

    #[test]
    fn any_call_means_any_graph_call() {
        let mut plan = FaultPlan::default();
        plan.add(fault(None, 1, 0, None));
        assert_eq!(plan.strike(SandboxCall::Authorize, None), None);
        assert_eq!(plan.strike(SandboxCall::AppToken, None), Some(FaultAction::Drop));
    }

    #[test]
    fn faults_that_could_not_be_sent_are_refused() {
        let respond = |status, name: &str, value: &str| Fault {
            call: None,
            times: 1,
            after: 0,
            user_id: None,
            action: FaultAction::Respond {
                status,
                body: String::new(),
                headers: vec![(name.to_owned(), value.to_owned())],
            },
        };
        assert_eq!(respond(503, "x-a", "b").check(), Ok(()));
        assert!(respond(101, "x-a", "b").check().is_err());
        assert!(respond(503, "x a", "b").check().is_err());
        assert!(respond(503, "x-a", "b\r\nx: y").check().is_err());
        assert!(respond(503, "content-length", "9").check().is_err());
        assert!(fault(None, 0, 0, None).check().is_err());
    }
}
