//! The answer to a login, and whether it belongs to it.

use threads_graph::{AuthorizationCode, CallbackParams, State};

/// How a login was answered.
pub(super) enum Answer {
    Code(AuthorizationCode),
    Denied,
    /// Meta ended it by itself, with this number.
    Failed(Option<u64>),
}

/// The answer, if it belongs to this login. One without a code may come without a state, as Meta's
/// own sample shows a denial: it can do no more than end the waiting. Over the network it also has
/// to come from the browser that began the login.
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
