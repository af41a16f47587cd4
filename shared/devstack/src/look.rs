//! The look that the development page and the operators' console share: the frame of a page, its
//! one style, and what both show of accounts.
//!
//! No script and no external resource: forms are plain, and pictures are drawn here. Nothing here
//! reads anything or decides about grants, and a [`Summary`](threads_auth_model::Summary) has no
//! token.

pub mod accounts;
pub mod filter;
mod life;
pub mod time;

use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use maud::{DOCTYPE, Markup, PreEscaped, html};
use threads_auth_web::headers::{content_policy, secure};

const STYLE: &str = include_str!("look/style.css");

/// A page.
pub struct Document {
    /// The title in the browser's tab, after the product's name.
    pub title: String,
    /// The line under the name.
    pub subtitle: Markup,
    /// The links to the other pages, if there are others.
    pub links: Markup,
    /// The content.
    pub main: Markup,
    /// The last line.
    pub footer: Markup,
}

impl Document {
    /// Renders the page with the headers of all our pages, except that its forms may post to this
    /// origin.
    #[must_use]
    pub fn respond(&self, status: StatusCode) -> Response {
        let mut response = secure((status, Html(self.render().into_string())).into_response());
        let policy = content_policy(STYLE, "'self'");
        response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
        response
    }

    pub(crate) fn render(&self) -> Markup {
        html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta name="color-scheme" content="light dark";
                    link rel="icon" href="data:,";
                    title { "Threads Auth, " (self.title) }
                    style { (PreEscaped(STYLE)) }
                }
                body {
                    header {
                        svg .mark viewBox="0 0 48 48" aria-hidden="true" {
                            circle .patch cx="24" cy="24" r="23" {}
                            circle .stitch cx="24" cy="24" r="18.5" {}
                            path .sign d="m16 24.5 5.5 5.5L32 19" {}
                        }
                        div { h1 { "Threads Auth" } p { (self.subtitle) } }
                    }
                    (self.links)
                    main { (self.main) }
                    footer { (self.footer) }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_style_fetches_nothing() {
        assert!(!STYLE.contains(['\r', '<']) && !STYLE.contains("url(") && !STYLE.contains("@import"));
    }
}
