//! The outcome of processing one grant.

use threads_auth_store::WriteOutcome;

threads_graph::names! {
    /// The outcome of processing one grant, for a sweep or a caller.
    pub enum RefreshOutcome {
        /// The row is inconsistent.
        BrokenRow => "broken_row",
        /// The token was not due for a refresh. It was checked at Meta and stays in use.
        Checked => "checked",
        /// The long-lived exchange of a consent succeeded.
        Completed => "completed",
        /// The refresh failed for a transient reason, and is retried.
        Deferred => "deferred",
        /// An interrupted deletion is finished.
        DeletionFinished => "deletion_finished",
        /// A deletion is still unfinished. The next sweep continues it.
        DeletionUnfinished => "deletion_unfinished",
        /// The grant was deleted concurrently.
        Gone => "gone",
        /// Meta refuses the app itself, or has moved its API. No account is at fault.
        Misconfigured => "misconfigured",
        /// Meta refuses the token, and the grant is marked as dead.
        NeedsReauthorization => "needs_reauthorization",
        /// Meta's response did not extend the token's life. It is stored.
        NotExtended => "not_extended",
        /// Another process holds the lease, or the grant is no longer due.
        NotOurs => "not_ours",
        /// The short-lived token of a consent has expired, or the consent gave another account's
        /// token.
        PendingLost => "pending_lost",
        /// Meta accepts the token of an ended account again.
        Recovered => "recovered",
        /// The token is refreshed and stored.
        Refreshed => "refreshed",
        /// Meta still refuses the token of an ended account.
        StillEnded => "still_ended",
        /// The store failed. A token that Meta has just issued is lost, and the previous one is
        /// kept.
        StoreFailed => "store_failed",
        /// A newer state was stored concurrently.
        Superseded => "superseded",
        /// Meta refused the token in a way that may be its own fault. It is checked again.
        Suspected => "suspected",
        /// The token is younger than 24 hours.
        TooYoung => "too_young",
        /// The account was not claimed in time, and is ended.
        Unclaimed => "unclaimed",
        /// The token does not open with the keyring.
        Undecryptable => "undecryptable",
    }
}

impl RefreshOutcome {
    /// Returns true if Meta was asked for a new token.
    pub(super) fn is_of_refresh(self) -> bool {
        matches!(
            self,
            Self::Deferred
                | Self::Misconfigured
                | Self::NeedsReauthorization
                | Self::NotExtended
                | Self::Refreshed
                | Self::StoreFailed
                | Self::Superseded
                | Self::Suspected
        )
    }

    /// Returns true if the check that the schedule requires is still to be done.
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

    /// Returns true if the row may still be due at its former time, because no delay was recorded.
    pub(super) fn may_stay_due(self) -> bool {
        matches!(self, Self::DeletionUnfinished | Self::NotOurs | Self::StoreFailed | Self::Superseded)
    }

    /// Returns the outcome of a write, which is `self` if it was stored.
    pub(super) fn if_stored(self, write: WriteOutcome) -> Self {
        match write {
            WriteOutcome::Stored => self,
            WriteOutcome::Superseded => Self::Superseded,
            WriteOutcome::Gone => Self::Gone,
        }
    }
}
