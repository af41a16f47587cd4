//! The outcome for one grant.

use threads_auth_store::WriteOutcome;

threads_graph::names! {
    /// The outcome for one grant that a sweep or a caller looked at.
    pub enum RefreshOutcome {
        /// The row does not make sense.
        BrokenRow => "broken_row",
        /// Its token is not due; Meta was asked about it, and it goes on.
        Checked => "checked",
        /// A consent has its long-lived token.
        Completed => "completed",
        /// It failed for a reason that may pass, and will be tried again.
        Deferred => "deferred",
        /// A deletion that was cut off is finished.
        DeletionFinished => "deletion_finished",
        /// A deletion is not finished yet, and goes on with the next sweep.
        DeletionUnfinished => "deletion_unfinished",
        /// It was deleted meanwhile.
        Gone => "gone",
        /// Meta refuses the app itself, or has moved: no account's fault.
        Misconfigured => "misconfigured",
        /// Meta says that the token is dead, and the grant is marked.
        NeedsReauthorization => "needs_reauthorization",
        /// Meta answered, but the token does not live longer. What it answered is stored.
        NotExtended => "not_extended",
        /// Somebody else is at it, or it is no longer due.
        NotOurs => "not_ours",
        /// The hour of a consent is over, or its token is another account's.
        PendingLost => "pending_lost",
        /// An account that had ended works again, without its person.
        Recovered => "recovered",
        /// The token is refreshed and stored.
        Refreshed => "refreshed",
        /// An account that has ended was looked at again, and Meta still refuses its token.
        StillEnded => "still_ended",
        /// The store failed. If Meta had answered, only the previous token is kept.
        StoreFailed => "store_failed",
        /// Something newer was stored meanwhile.
        Superseded => "superseded",
        /// Meta refused the token in a way that may be Meta's own trouble. It is looked at again.
        Suspected => "suspected",
        /// The token is younger than 24 hours.
        TooYoung => "too_young",
        /// Nobody has claimed the account in time, and it is ended.
        Unclaimed => "unclaimed",
        /// The token does not open with the keyring.
        Undecryptable => "undecryptable",
    }
}

impl RefreshOutcome {
    /// Whether the look that the schedule wanted is still to come.
    pub(super) fn is_unmet(self) -> bool {
        matches!(
            self,
            Self::BrokenRow
                | Self::Deferred
                | Self::Misconfigured
                | Self::NotExtended
                | Self::StoreFailed
                | Self::TooYoung
                | Self::Undecryptable
        )
    }

    /// The outcome of a write, which is `self` if it was made.
    pub(super) fn if_stored(self, write: WriteOutcome) -> Self {
        match write {
            WriteOutcome::Stored => self,
            WriteOutcome::Superseded => Self::Superseded,
            WriteOutcome::Gone => Self::Gone,
        }
    }
}
