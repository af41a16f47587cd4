//! The look of a page: one template, one style, no script, and a tone and a sign for each notice.
//! Never shows text of the request. A page consists of fixed texts, the configured brand, a path of
//! ours, a link that the allowlist has accepted, and API Gateway's id of the request.

use http::Response;
use http::header::{self, HeaderValue};
use maud::{DOCTYPE, Markup, PreEscaped, html};
use threads_auth::{Brand, ConnectOutcome as Connect, Language};

use super::accent;
use super::notice::{Again, Notice};
use super::page::Page;
use super::reader::Reader;
use super::words::{self, Words};
use crate::headers::{content_policy, secure};

/// The style sheet of our pages.
pub(super) const STYLE: &str = include_str!("style.css");

/// Returns the page as a response, with the status of its notice and all security headers.
#[must_use]
pub fn respond(page: &Page, reader: &Reader<'_>) -> Response<String> {
    let style = style(reader.brand);
    let mut response = Response::new(render(page, reader, &style).into_string());
    page.notice.standing().mark(&mut response);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(header::CONTENT_LANGUAGE, HeaderValue::from_static(reader.language.as_str()));
    headers.insert(header::VARY, HeaderValue::from_static("accept-language"));
    if let Some(seconds) = page.notice.retry_after() {
        headers.insert(header::RETRY_AFTER, seconds.into());
    }
    let mut response = secure(response);
    response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, content_policy(&style, "'none'"));
    response
}

/// Returns the style of pages for an app. The accent is a part of it, so that the policy's hash
/// covers it.
fn style(brand: &Brand) -> String {
    [STYLE, &brand.accent.map(accent::rules).unwrap_or_default()].concat()
}

/// The tone of a page, drawn as a closed seam, one still being sewn, or one with a loose end.
#[derive(Clone, Copy)]
enum Tone {
    Good,
    Wait,
    Halt,
}

impl Tone {
    fn class(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Wait => "wait",
            Self::Halt => "halt",
        }
    }

    /// Returns the right half of the seam, behind the patch, as an SVG path.
    fn far_seam(self) -> &'static str {
        match self {
            Self::Good | Self::Wait => "M206 44h204",
            Self::Halt => "M206 44c22 0 26 20 44 20s22-22 8-22-10 26 16 28",
        }
    }
}

impl Notice {
    fn tone(self) -> Tone {
        match self {
            Self::Connect(Connect::Connected) | Self::Deleted | Self::DeletionKept => Tone::Good,
            Self::Connect(
                Connect::Finishing
                | Connect::Expired
                | Connect::Replayed
                | Connect::SessionClosed
                | Connect::SessionExpired
                | Connect::ThreadsUnavailable
                | Connect::Unavailable,
            )
            | Self::DeletionUnfinished
            | Self::Prefetch => Tone::Wait,
            _ => Tone::Halt,
        }
    }

    /// Returns the sign on the patch, as an SVG path around (160, 44), at most 24 units wide.
    fn sign(self) -> &'static str {
        match self {
            Self::Connect(Connect::Connected) | Self::Deleted | Self::DeletionKept => {
                "M149 45l7.5 7.5L172 37"
            }
            Self::Connect(Connect::Finishing | Connect::ThreadsUnavailable | Connect::Unavailable)
            | Self::DeletionUnfinished
            | Self::Prefetch => "M148 44h4M158 44h4M168 44h4",
            Self::Connect(Connect::Expired | Connect::SessionExpired) => "M160 33v12l7.5 4.5",
            Self::Connect(Connect::Replayed | Connect::SessionClosed) => {
                "M170 38.5a11.5 11.5 0 1 0 1.5 7M171.5 31.5v8h-8"
            }
            Self::Connect(Connect::WrongBrowser) => "M149 36.5h22v16h-22zM149 42h22",
            Self::Connect(Connect::WrongAccount) => {
                "M155 38.5a5 5 0 1 0 10 0a5 5 0 1 0-10 0M150 55c1-9 19-9 20 0"
            }
            Self::Connect(Connect::SessionRequired) => "M171 44h-21M157.5 36l-8 8 8 8",
            Self::Connect(Connect::BadLink | Connect::SessionUnknown)
            | Self::DeletionUnknown
            | Self::Detour
            | Self::NotFound => "M153.5 39.5c0-9 13.5-8.5 13.5 0 0 5-7 5-7 10M160 56h.01",
            Self::Connect(Connect::Denied | Connect::Ended) => "M150 44h20",
            Self::Connect(
                Connect::ThreadsFailed
                | Connect::CodeRefused
                | Connect::ReturnToRefused
                | Connect::Misconfigured,
            ) => "M160 32v14M160 55h.01",
        }
    }
}

fn direction(language: Language) -> &'static str {
    if language == Language::Arabic { "rtl" } else { "ltr" }
}

/// Returns the label of a way to start again.
fn label(words: &Words, again: Again) -> &'static str {
    match again {
        Again::Start => words.start_again,
        Again::StartHere => words.start_again_here,
        Again::Try => words.try_again,
    }
}

pub(super) fn render(page: &Page, reader: &Reader<'_>, style: &str) -> Markup {
    let words = words::of(reader.language);
    let title = words.text(page.notice).title();
    let tone = page.notice.tone();
    html! {
        (DOCTYPE)
        html lang=(reader.language) dir=(direction(reader.language)) {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                link rel="icon" href="data:,";
                title {
                    (title)
                    // Unicode isolates around the name, because a title cannot contain elements.
                    @if let Some(name) = &reader.brand.name { " \u{b7} \u{2068}" (name.as_str()) "\u{2069}" }
                }
                style { (PreEscaped(style)) }
            }
            body class=(tone.class()) {
                @if let Some(name) = &reader.brand.name {
                    header { bdi { (name.as_str()) } }
                }
                main {
                    svg viewBox="0 0 320 88" aria-hidden="true" {
                        path .stitch d="M114 44H-90" {}
                        path .stitch .far[!matches!(tone, Tone::Good)] d=(tone.far_seam()) {}
                        circle .patch cx="160" cy="44" r="40" {}
                        circle .stitch cx="160" cy="44" r="33" {}
                        path .sign .turns[page.notice.points_back()] pathLength="1" d=(page.notice.sign()) {}
                    }
                    (story(page, reader, words))
                    @if !page.notice.standing().status().is_success() {
                        (particulars(page.notice, reader, words))
                    }
                }
                (footer(reader.brand, words))
            }
        }
    }
}

/// Returns the explanation, the next step and the links.
fn story(page: &Page, reader: &Reader<'_>, words: &Words) -> Markup {
    let text = words.text(page.notice);
    let again = page.notice.again();
    let restart = page.restart.as_deref().filter(|path| is_own_path(path)).zip(again);
    let name = reader.brand.name.as_ref().map(|name| format!("\u{2068}{}\u{2069}", name.as_str()));
    let back = name.map_or_else(|| words.back.to_owned(), |name| words.back_to.replace("{app}", &name));
    let mut ways: Vec<(&str, &str)> = Vec::new();
    ways.extend(restart.map(|(path, again)| (path, label(words, again))));
    ways.extend(page.back.as_ref().map(|link| (link.as_str(), back.as_str())));
    if page.notice.is_settled_in_app() {
        ways.reverse();
    }
    html! {
        div .words {
            h1 { (text.title()) }
            p .what { (text.what()) }
            @if let Some((time, (before, after))) = page.time.zip(words.done_at.split_once("{time}")) {
                p {
                    (before)
                    time datetime=(time) dir="ltr" { (time.strftime(words.time)) }
                    (after)
                }
            }
            p {
                (text.next())
                @if again.is_some() && ways.is_empty() { " " (words.start_from_app) }
            }
            @for (href, label) in ways {
                a href=(href) { (label) }
            }
        }
    }
}

/// Returns the details for those who help the person: the name of the notice and a hint, both in
/// English for the app's developer, and the request's id in the log.
fn particulars(notice: Notice, reader: &Reader<'_>, words: &Words) -> Markup {
    html! {
        div .maker {
            p lang="en" dir="ltr" {
                "For developers: " code { (notice.as_str()) }
                @if let Some(maker) = notice.maker() { br; (maker) }
            }
            @if !reader.request_id.is_empty() {
                p { (words.request) ": " code .id dir="ltr" { (reader.request_id) } }
            }
        }
    }
}

fn footer(brand: &Brand, words: &Words) -> Markup {
    let links = [(&brand.home, words.home), (&brand.support, words.support), (&brand.privacy, words.privacy)];
    let links: Vec<_> = links.into_iter().filter_map(|(link, label)| Some((link.as_ref()?, label))).collect();
    html! {
        @if brand.name.is_none() || !links.is_empty() {
            footer {
                @if brand.name.is_none() { bdi { "Threads Auth" } }
                @for (link, label) in links {
                    a href=(link.as_str()) { (label) }
                }
            }
        }
    }
}

/// The reference that loads the same address again. A callback's own has a code, which no page may
/// contain.
pub(super) const SAME_PAGE: &str = "";

/// Returns true if `path` stays on this origin. Browsers drop tabs and treat `\\` as `/`, so
/// `/\t/host` would leave it.
fn is_own_path(path: &str) -> bool {
    let is_local = path.starts_with('/') && !path.starts_with("//");
    (is_local || path == SAME_PAGE) && path.bytes().all(|b| b.is_ascii_graphic() && b != b'\\')
}
