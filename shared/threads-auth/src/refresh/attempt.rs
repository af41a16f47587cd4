//! The result of processing one grant, and the work that remains.

use threads_auth_model::{Access, Cause, Grant, Live};
use threads_auth_store::{FailureKind, WriteOutcome};
use threads_graph::{AccessToken, ErrorKind};

use super::outcome::RefreshOutcome;
use super::pace::Stored;

/// The result of processing one grant.
pub(crate) struct Attempt {
    pub(crate) outcome: RefreshOutcome,
    pub(crate) answer: Answer,
    /// The verdict that is still to be written.
    pub(crate) verdict: Option<Box<Verdict>>,
    /// The new token that is still to be tried.
    pub(crate) trial: Option<Box<Trial>>,
    /// The kind of the store's failure, if it failed.
    pub(crate) failure: Option<FailureKind>,
}

/// The state of Meta as one grant's calls show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Nothing new: no call was made, or it confirmed a known state.
    Nothing,
    /// Meta works as expected.
    Healthy,
    /// Meta refused a token. A single refusal concerns the grant; many at once concern Meta.
    Refused,
    /// Meta failed, throttled, or refused the whole app.
    Trouble,
}

/// The decision that a grant is dead, and its cause.
pub(crate) struct Verdict {
    pub(crate) grant: Grant,
    pub(crate) live: Live,
    pub(crate) cause: Cause,
    pub(crate) proof: Proof,
}

/// The evidence for a verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Proof {
    /// A second witness has agreed, or the refusals have lasted for too long for a bad hour.
    Confirmed,
    /// Meta gives a reason, or a note gives one and a witness agrees. It does not count in a wave
    /// of refusals.
    Reason,
    /// A note gives the reason, Meta has refused twice, and there is no witness. It counts only
    /// while Meta accepts the tokens of others.
    NoteAlone,
}

/// Meta's treatment of all tokens at the moment, as a sweep sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trend {
    /// Most tokens are accepted.
    Accepting,
    /// A wave of refusals.
    Refusing,
    /// Too few tokens were tried.
    Unknown,
}

impl Verdict {
    /// Returns true if the verdict counts under this trend.
    pub(crate) fn counts(&self, trend: Trend) -> bool {
        match self.proof {
            Proof::Confirmed => true,
            Proof::Reason => trend != Trend::Refusing,
            Proof::NoteAlone => trend == Trend::Accepting,
        }
    }
}

/// A token that Meta has just issued and that has not been used yet.
pub(crate) struct Trial {
    /// The leased grant.
    pub(crate) grant: Grant,
    /// The new token as stored.
    pub(crate) live: Live,
    pub(crate) token: AccessToken,
    /// Its access as last known.
    pub(crate) known: Access,
}

impl Attempt {
    /// Returns the attempt that ended with this write.
    pub(crate) fn written(outcome: RefreshOutcome, write: WriteOutcome, answer: Answer) -> Self {
        Self { answer, ..outcome.if_stored(write).into() }
    }

    /// Returns the attempt that is deferred because a call to Meta failed with `kind`.
    pub(crate) fn deferred(kind: ErrorKind, write: WriteOutcome) -> Self {
        let (outcome, answer) = match kind {
            ErrorKind::Configuration(_) => (RefreshOutcome::Misconfigured, Answer::Trouble),
            ErrorKind::Transient | ErrorKind::Throttled { .. } => (RefreshOutcome::Deferred, Answer::Trouble),
            _ => (RefreshOutcome::Deferred, Answer::Healthy),
        };
        Self::written(outcome, write, answer)
    }

    /// Returns the attempt in which Meta issued a token that could not be stored.
    pub(crate) fn not_stored(kind: FailureKind) -> Self {
        Self { answer: Answer::Healthy, ..Self::store_failed(kind) }
    }

    /// Returns the attempt in which the store failed before Meta was called.
    pub(crate) fn store_failed(kind: FailureKind) -> Self {
        Self { failure: Some(kind), ..RefreshOutcome::StoreFailed.into() }
    }

    /// Returns the effect on the store.
    pub(crate) fn stored(&self) -> Stored {
        match (self.failure, self.outcome) {
            (Some(kind), _) => Stored::Failed(kind),
            (None, RefreshOutcome::NotOurs | RefreshOutcome::Superseded | RefreshOutcome::Gone) => {
                Stored::Nothing
            }
            (None, _) => Stored::Written,
        }
    }

    /// Returns true if Meta has just replaced or refused the token and the row does not show it.
    pub(crate) fn is_unrecorded(&self) -> bool {
        let is_refused = self.answer == Answer::Refused || self.verdict.is_some();
        match self.outcome {
            RefreshOutcome::StoreFailed => is_refused || self.answer == Answer::Healthy,
            RefreshOutcome::Superseded => is_refused,
            _ => false,
        }
    }

    pub(crate) fn verdict(verdict: Verdict) -> Self {
        // The refusal of a suspected token does not count for a wave again.
        let is_news = verdict.proof != Proof::Confirmed && verdict.live.suspicion.is_none();
        let answer = if is_news { Answer::Refused } else { Answer::Nothing };
        Self {
            outcome: RefreshOutcome::NeedsReauthorization,
            answer,
            verdict: Some(Box::new(verdict)),
            trial: None,
            failure: None,
        }
    }
}

/// An attempt without a call to Meta.
impl From<RefreshOutcome> for Attempt {
    fn from(outcome: RefreshOutcome) -> Self {
        Self { outcome, answer: Answer::Nothing, verdict: None, trial: None, failure: None }
    }
}
