//! The form of the words of a language.

use threads_auth::ConnectOutcome as Connect;

use crate::pages::notice::Notice;

/// The words of a language.
pub(in crate::pages) struct Words {
    /// The label of the link to the app.
    pub(in crate::pages) back: &'static str,
    /// The same with the app's name at `{app}`.
    pub(in crate::pages) back_to: &'static str,
    /// The way to start again if the page has no link for it.
    pub(in crate::pages) start_from_app: &'static str,
    /// The time of a deletion at `{time}`.
    pub(in crate::pages) done_at: &'static str,
    /// The form of that time, for `strftime`.
    pub(in crate::pages) time: &'static str,
    pub(in crate::pages) start_again: &'static str,
    pub(in crate::pages) start_again_here: &'static str,
    pub(in crate::pages) try_again: &'static str,
    pub(in crate::pages) home: &'static str,
    pub(in crate::pages) support: &'static str,
    pub(in crate::pages) privacy: &'static str,
    pub(in crate::pages) request: &'static str,
    pub(super) connected: Text,
    pub(super) finishing: Text,
    pub(super) denied: Text,
    pub(super) threads_failed: Text,
    pub(super) ended: Text,
    pub(super) expired: Text,
    pub(super) replayed: Text,
    pub(super) wrong_browser: Text,
    pub(super) wrong_account: Text,
    pub(super) bad_link: Text,
    pub(super) code_refused: Text,
    pub(super) return_to_refused: Text,
    pub(super) session_required: Text,
    pub(super) session_unknown: Text,
    pub(super) session_closed: Text,
    pub(super) session_expired: Text,
    pub(super) threads_unavailable: Text,
    pub(super) unavailable: Text,
    pub(super) misconfigured: Text,
    pub(super) deleted: Text,
    pub(super) deletion_unfinished: Text,
    pub(super) deletion_kept: Text,
    pub(super) deletion_unknown: Text,
    pub(super) prefetch: Text,
    pub(super) detour: Text,
    pub(super) not_found: Text,
}

/// The words of a notice, a line each. They are one string, because each string takes 40 bytes of a
/// function beside its text.
pub(in crate::pages) struct Text(pub(super) &'static str);

impl Text {
    /// Returns the title.
    pub(in crate::pages) fn title(&self) -> &'static str {
        self.line(0)
    }

    /// Returns the event that the page reports.
    pub(in crate::pages) fn what(&self) -> &'static str {
        self.line(1)
    }

    /// Returns the next step for the reader.
    pub(in crate::pages) fn next(&self) -> &'static str {
        self.line(2)
    }

    fn line(&self, number: usize) -> &'static str {
        self.0.lines().nth(number).unwrap_or_default()
    }
}

impl Words {
    /// Returns the words of a notice.
    pub(in crate::pages) fn text(&self, notice: Notice) -> &Text {
        match notice {
            Notice::Connect(outcome) => match outcome {
                Connect::Connected => &self.connected,
                Connect::Finishing => &self.finishing,
                Connect::Denied => &self.denied,
                Connect::ThreadsFailed => &self.threads_failed,
                Connect::Ended => &self.ended,
                Connect::Expired => &self.expired,
                Connect::Replayed => &self.replayed,
                Connect::WrongBrowser => &self.wrong_browser,
                Connect::WrongAccount => &self.wrong_account,
                Connect::BadLink => &self.bad_link,
                Connect::CodeRefused => &self.code_refused,
                Connect::ReturnToRefused => &self.return_to_refused,
                Connect::SessionRequired => &self.session_required,
                Connect::SessionUnknown => &self.session_unknown,
                Connect::SessionClosed => &self.session_closed,
                Connect::SessionExpired => &self.session_expired,
                Connect::ThreadsUnavailable => &self.threads_unavailable,
                Connect::Unavailable => &self.unavailable,
                Connect::Misconfigured => &self.misconfigured,
            },
            Notice::Deleted => &self.deleted,
            Notice::DeletionUnfinished => &self.deletion_unfinished,
            Notice::DeletionKept => &self.deletion_kept,
            Notice::DeletionUnknown => &self.deletion_unknown,
            Notice::Prefetch => &self.prefetch,
            Notice::Detour => &self.detour,
            Notice::NotFound => &self.not_found,
        }
    }
}
