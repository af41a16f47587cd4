//! Imports one token, with retries. The library validates its values.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use threads_auth::{FailureKind, Import, ImportError};
use threads_auth_model::error_chain;
use threads_auth_store::Backoff;
use threads_graph::{AccessToken, ErrorKind, UserId};

use super::lines::Entry;
use crate::operate::target::StackHandle;

/// The delays before each retry.
const WAITS: Backoff =
    Backoff { next: Duration::from_millis(200), factor: 5, longest: Duration::from_mins(1) };

/// The outcome of a line.
pub(super) enum Fate {
    Imported,
    Present,
    Rejected {
        reason: String,
        try_again: bool,
    },
    /// The stack failed, as it would for every other line.
    StackFailed(ImportError),
}

/// Imports one token, in at most `tries` attempts.
pub(super) async fn take_over(stack: Arc<StackHandle>, entry: Entry, tries: u8) -> (Entry, Fate) {
    let (token, user_id, expires_at) = match values(&entry) {
        Ok(values) => values,
        Err(reason) => {
            let fate = Fate::Rejected { reason, try_again: false };
            return (entry, fate);
        }
    };
    let mut waits = WAITS;
    for attempt in 1.. {
        let reference = entry.reference.as_deref();
        let import = Import { token: &token, user_id: user_id.as_ref(), expires_at, reference };
        let answer = stack.service.import(import, stack.now()).await;
        let error = match answer {
            Ok(imported) if imported.is_new => return (entry, Fate::Imported),
            Ok(_) => return (entry, Fate::Present),
            Err(error) => error,
        };
        if is_of_the_stack(&error) {
            return (entry, Fate::StackFailed(error));
        }
        let try_again = error.is_retryable();
        if !try_again || attempt >= tries {
            let reason = error_chain(&error);
            return (entry, Fate::Rejected { reason, try_again });
        }
        let asked = match &error {
            ImportError::Threads(error) => match error.kind() {
                ErrorKind::Throttled { retry_after } => retry_after,
                _ => None,
            },
            _ => None,
        };
        waits.wait(asked).await;
    }
    unreachable!("the last try returns")
}

/// Returns true if the stack failed, and a retry will not help.
fn is_of_the_stack(error: &ImportError) -> bool {
    let kind = match error {
        ImportError::Store(error) => error.kind(),
        ImportError::Secrets(error) => error.kind(),
        _ => return false,
    };
    matches!(kind, FailureKind::Missing | FailureKind::Denied | FailureKind::Broken)
}

type Values = (AccessToken, Option<UserId>, Option<Timestamp>);

fn values(entry: &Entry) -> Result<Values, String> {
    if let Some((_, reason)) = &entry.unreadable {
        return Err((*reason).to_owned());
    }
    if entry.token.is_empty() {
        return Err("the line has no access_token".to_owned());
    }
    let token = AccessToken::new(entry.token.as_str()).map_err(|error| error.to_string())?;
    let user_id = entry.user_id.as_deref().map(str::parse).transpose();
    let user_id = user_id.map_err(|_| "user_id is not a Threads user id".to_owned())?;
    let expires_at = entry.expires_at.as_deref().map(moment).transpose()?;
    Ok((token, user_id, expires_at))
}

fn moment(text: &str) -> Result<Timestamp, String> {
    let seconds = text.parse().ok().and_then(|second| Timestamp::from_second(second).ok());
    seconds.or_else(|| text.parse().ok()).ok_or_else(|| {
        "expires_at is neither a time such as 2026-11-25T08:00:00Z nor seconds since 1970".to_owned()
    })
}
