//! The words of pages: a file for each language, with one value of [`Words`], so that the compiler
//! finds what a language lacks. Owns no words itself.

/// The title of a page, the event that it reports, and the reader's next step.
macro_rules! text {
    ($title:literal, $what:literal, $next:literal $(,)?) => {
        Text(concat!($title, "\n", $what, "\n", $next))
    };
}

mod arabic;
mod english;
mod french;
mod german;
mod indonesian;
mod japanese;
mod korean;
mod portuguese;
mod spanish;
mod thai;
mod traditional_chinese;

use threads_auth::{ConnectOutcome as Connect, Language};

use super::notice::Notice;

/// The words of a language.
pub(super) struct Words {
    /// The label of the link to the app.
    pub(super) back: &'static str,
    /// The same with the app's name at `{app}`.
    pub(super) back_to: &'static str,
    /// Where to start again if the page has no link for it.
    pub(super) start_from_app: &'static str,
    /// The time of a deletion at `{time}`.
    pub(super) done_at: &'static str,
    /// The form of that time, for `strftime`.
    pub(super) time: &'static str,
    pub(super) start_again: &'static str,
    pub(super) start_again_here: &'static str,
    pub(super) try_again: &'static str,
    pub(super) home: &'static str,
    pub(super) support: &'static str,
    pub(super) privacy: &'static str,
    pub(super) request: &'static str,
    connected: Text,
    finishing: Text,
    denied: Text,
    threads_failed: Text,
    ended: Text,
    expired: Text,
    replayed: Text,
    wrong_browser: Text,
    wrong_account: Text,
    bad_link: Text,
    code_refused: Text,
    return_to_refused: Text,
    session_required: Text,
    session_unknown: Text,
    session_closed: Text,
    session_expired: Text,
    threads_unavailable: Text,
    unavailable: Text,
    misconfigured: Text,
    deleted: Text,
    deletion_unfinished: Text,
    deletion_kept: Text,
    deletion_unknown: Text,
    prefetch: Text,
    detour: Text,
    not_found: Text,
}

/// The words of a notice, a line each. They are one string, because each string takes 40 bytes of a
/// function beside its text.
pub(super) struct Text(&'static str);

impl Text {
    /// Returns the title.
    pub(super) fn title(&self) -> &'static str {
        self.line(0)
    }

    /// Returns the event that the page reports.
    pub(super) fn what(&self) -> &'static str {
        self.line(1)
    }

    /// Returns the next step for the reader.
    pub(super) fn next(&self) -> &'static str {
        self.line(2)
    }

    fn line(&self, number: usize) -> &'static str {
        self.0.lines().nth(number).unwrap_or_default()
    }
}

impl Words {
    /// Returns the words of a language.
    pub(super) fn of(language: Language) -> &'static Self {
        match language {
            Language::English => &english::ENGLISH,
            Language::Portuguese => &portuguese::PORTUGUESE,
            Language::Spanish => &spanish::SPANISH,
            Language::Arabic => &arabic::ARABIC,
            Language::German => &german::GERMAN,
            Language::French => &french::FRENCH,
            Language::Indonesian => &indonesian::INDONESIAN,
            Language::Japanese => &japanese::JAPANESE,
            Language::TraditionalChinese => &traditional_chinese::TRADITIONAL_CHINESE,
            Language::Korean => &korean::KOREAN,
            Language::Thai => &thai::THAI,
        }
    }

    /// Returns the words of a notice.
    pub(super) fn text(&self, notice: Notice) -> &Text {
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
