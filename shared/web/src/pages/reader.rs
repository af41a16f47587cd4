//! The reader of a page: their language, the app that has sent them, and the id of their request.

use threads_auth::{Brand, Config, Flow, Language, UiLocales};
use url::form_urlencoded;

use crate::request::HttpRequest;

static NO_BRAND: Brand = Brand { name: None, home: None, support: None, privacy: None, accent: None };

/// The reader of a page.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    pub(super) brand: &'a Brand,
    pub(super) language: Language,
    pub(super) request_id: &'a str,
}

/// A reader of whom nothing is known.
impl Default for Reader<'_> {
    fn default() -> Self {
        Self { brand: &NO_BRAND, language: Language::English, request_id: "" }
    }
}

impl<'a> Reader<'a> {
    /// Returns the sender of a request. Their language is the preferred one, among those that pages
    /// have, of the parameter `ui_locales`, or else of the header `Accept-Language`.
    #[must_use]
    pub fn of(config: &'a Config, request: &'a HttpRequest) -> Self {
        let mut parameters = form_urlencoded::parse(request.raw_query.as_bytes());
        let wanted = parameters
            .find(|(name, _)| name == "ui_locales")
            .and_then(|(_, list)| list.parse::<UiLocales>().ok()?.language());
        let language = wanted.or_else(|| Language::of_accept_language(&request.accept_language));
        let language = language.unwrap_or(Language::English);
        Self { brand: &config.brand, language, request_id: &request.request_id }
    }

    /// Returns the same reader within a flow, whose language comes first.
    #[must_use]
    pub(super) fn in_flow(self, flow: Option<&Flow>) -> Self {
        let language = flow.and_then(|flow| flow.language).unwrap_or(self.language);
        Self { language, ..self }
    }
}
