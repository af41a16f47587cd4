//! The answer to a login, and its verification.

use threads_graph::{AuthorizationCode, CallbackParams, State};

/// The person's or Meta's answer to a login.
pub(super) enum Answer {
    Code(AuthorizationCode),
    Denied,
    /// Meta ended the login, with this error code.
    Failed(Option<u64>),
}

/// Returns the answer, if it belongs to this login. One without a code may lack a state, as in
/// Meta's own sample of a denial: it can only end the login. Over the network it also has to come
/// from the browser that began the login.
pub(super) fn judge(params: CallbackParams, sent: &State) -> Option<Answer> {
    let is_ours = |returned: &State| sent.matches(returned);
    match params {
        CallbackParams::Granted { code, state } if is_ours(&state) => Some(Answer::Code(code)),
        CallbackParams::Denied { state, .. } if state.as_ref().is_none_or(is_ours) => Some(Answer::Denied),
        CallbackParams::Failed { state, code } if state.as_ref().is_none_or(is_ours) => {
            Some(Answer::Failed(code))
        }
        _ => None,
    }
}

pub(super) const NOT_OURS: &str = "it belongs to another login: the state is not the one that was sent";
