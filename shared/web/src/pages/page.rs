//! A page as a value: its notice, and the ways on that this visit has.

use std::fmt;

use jiff::Timestamp;
use url::Url;

use super::notice::Notice;

/// One notice, with the ways on that this visit has.
#[derive(Clone)]
pub struct Page {
    /// What to tell.
    pub notice: Notice,
    /// Where to start again: a path of ours with its query, already percent-encoded, such as
    /// `/authorize?session=…`. Anything but a path on this origin is left out.
    pub restart: Option<String>,
    /// The way back to the app. The caller has checked it against the allowlist.
    pub back: Option<Url>,
    /// When what it tells of happened.
    pub time: Option<Timestamp>,
}

impl Page {
    /// A page with no links.
    #[must_use]
    pub fn new(notice: impl Into<Notice>) -> Self {
        Self { notice: notice.into(), restart: None, back: None, time: None }
    }
}

/// Without the links: their queries may carry what opens a connect session.
impl fmt::Debug for Page {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Page").field("notice", &self.notice).finish_non_exhaustive()
    }
}
