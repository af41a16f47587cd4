//! A page as a value: its notice and its links.

use std::fmt;

use jiff::Timestamp;
use url::Url;

use super::notice::Notice;

/// A notice with its links.
#[derive(Clone)]
pub struct Page {
    /// The notice.
    pub notice: Notice,
    /// The link to start again: a path of ours with its query, percent-encoded, such as
    /// `/authorize?session=…`. Any other link is omitted.
    pub restart: Option<String>,
    /// The link back to the app. The caller has checked it against the allowlist.
    pub back: Option<Url>,
    /// Time of the event in the notice.
    pub time: Option<Timestamp>,
}

impl Page {
    /// Returns a page without links.
    #[must_use]
    pub fn new(notice: impl Into<Notice>) -> Self {
        Self { notice: notice.into(), restart: None, back: None, time: None }
    }
}

/// Omits the links, whose queries may contain the id of a connect session.
impl fmt::Debug for Page {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Page").field("notice", &self.notice).finish_non_exhaustive()
    }
}
