//! The pages of a login.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use threads_auth_web::headers::content_policy;

const STYLE: &str = include_str!("page.css");

/// Returns a page for a person. It looks like the service's own pages.
pub(super) fn page(status: StatusCode, title: &str, text: &str) -> Response {
    let tone = if status.is_success() { "told" } else { "halt" };
    let html = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title}</title>\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"><meta name=\"color-scheme\" content=\"light dark\">\
         <link rel=\"icon\" href=\"data:,\"><style>{STYLE}</style></head>\
         <body class=\"{tone}\"><main><h1>{title}</h1><p>{text}</p></main><footer>threads-auth login, on this machine</footer></body></html>\n"
    );
    let kind = (header::CONTENT_TYPE, "text/html; charset=utf-8");
    (status, headers([kind]), html).into_response()
}

/// Adds the headers that every response has, because the URL holds a code.
pub(super) fn headers(given: [(header::HeaderName, &str); 1]) -> header::HeaderMap {
    let always = [
        (header::CACHE_CONTROL, "no-store"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    let policy = (header::CONTENT_SECURITY_POLICY, content_policy(STYLE, "'none'"));
    given
        .into_iter()
        .chain(always)
        .filter_map(|(name, value)| Some((name, HeaderValue::from_str(value).ok()?)))
        .chain([policy])
        .collect()
}
