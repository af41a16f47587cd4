//! The result of a look at one grant, and the work that it leaves.

use threads_auth_model::{Access, Cause, Grant, Live};
use threads_auth_store::WriteOutcome;
use threads_graph::{AccessToken, ErrorKind};

use super::outcome::RefreshOutcome;

/// A look at one grant.
pub(crate) struct Attempt {
    pub(crate) outcome: RefreshOutcome,
    pub(crate) answer: Answer,
    /// The verdict that stands to be written.
    pub(crate) verdict: Option<Box<Verdict>>,
    /// The new token that stands to be tried.
    pub(crate) trial: Option<Box<Trial>>,
}

/// The news of Meta as a whole that one look brings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Nothing: Meta was not asked, or only confirmed what was known.
    Nothing,
    /// Meta works.
    Well,
    /// Meta refused a token. For one grant that is news of the grant; for many at once, of Meta.
    Refused,
    /// Meta failed, throttled, or keeps the whole app out.
    Trouble,
}

/// Meta's refusal counts: the grant is dead for this cause.
pub(crate) struct Verdict {
    pub(crate) grant: Grant,
    pub(crate) live: Live,
    pub(crate) cause: Cause,
    /// Whether a second witness has agreed, so that no wave of refusals casts doubt on it.
    pub(crate) is_confirmed: bool,
}

/// A token that Meta has just issued, and that has not been used yet.
pub(crate) struct Trial {
    /// The grant as it was leased.
    pub(crate) grant: Grant,
    /// The new token, as it is stored.
    pub(crate) live: Live,
    pub(crate) token: AccessToken,
    /// Its access, as far as it was known.
    pub(crate) known: Access,
}

impl Attempt {
    /// The outcome of a write that `answer` led to.
    pub(crate) fn written(outcome: RefreshOutcome, write: WriteOutcome, answer: Answer) -> Self {
        let outcome = outcome.if_stored(write);
        Self { outcome, answer, verdict: None, trial: None }
    }

    /// Deferred because a call to Meta failed in this way.
    pub(crate) fn deferred(kind: ErrorKind, write: WriteOutcome) -> Self {
        let (outcome, answer) = match kind {
            ErrorKind::Configuration(_) => (RefreshOutcome::Misconfigured, Answer::Trouble),
            ErrorKind::Transient | ErrorKind::Throttled { .. } => (RefreshOutcome::Deferred, Answer::Trouble),
            _ => (RefreshOutcome::Deferred, Answer::Well),
        };
        Self::written(outcome, write, answer)
    }

    /// Meta has issued a token, and it could not be kept.
    pub(crate) fn not_stored() -> Self {
        Self { answer: Answer::Well, ..RefreshOutcome::StoreFailed.into() }
    }

    /// Whether Meta has just replaced or refused the token, and the row does not say so.
    pub(crate) fn is_unrecorded(&self) -> bool {
        let is_refused = self.answer == Answer::Refused || self.verdict.is_some();
        match self.outcome {
            RefreshOutcome::StoreFailed => is_refused || self.answer == Answer::Well,
            RefreshOutcome::Superseded => is_refused,
            _ => false,
        }
    }

    pub(crate) fn verdict(verdict: Verdict) -> Self {
        // A known suspicion is no news of Meta.
        let is_news = !verdict.is_confirmed && verdict.live.suspicion.is_none();
        let answer = if is_news { Answer::Refused } else { Answer::Nothing };
        Self {
            outcome: RefreshOutcome::NeedsReauthorization,
            answer,
            verdict: Some(Box::new(verdict)),
            trial: None,
        }
    }
}

/// Nothing was asked of Meta.
impl From<RefreshOutcome> for Attempt {
    fn from(outcome: RefreshOutcome) -> Self {
        Self { outcome, answer: Answer::Nothing, verdict: None, trial: None }
    }
}
