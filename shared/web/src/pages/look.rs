//! The look of a page: one template, one style, no script, and a tone and a sign for each notice.
//! Never shows text of the request: a page consists of fixed texts, a path of ours, and a link that
//! the allowlist has accepted.

use http::Response;
use http::header::{self, HeaderValue};
use maud::{DOCTYPE, Markup, PreEscaped, html};
use threads_auth::ConnectOutcome as Connect;

use super::notice::Notice;
use super::page::Page;
use super::words::Words;
use crate::headers::{STYLE, secure};

/// Returns the page as a response, with the status of its notice and all security headers.
#[must_use]
pub fn respond(page: &Page) -> Response<String> {
    let mut response = Response::new(render(page).into_string());
    page.notice.standing().mark(&mut response);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    if let Some(seconds) = page.notice.retry_after() {
        headers.insert(header::RETRY_AFTER, seconds.into());
    }
    secure(response)
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

pub(super) fn render(page: &Page) -> Markup {
    let Words { title, what, next, again, maker } = page.notice.words();
    let tone = page.notice.tone();
    let restart = page.restart.as_deref().filter(|path| is_own_path(path)).zip(again);
    let mut ways: Vec<(&str, &str)> = Vec::new();
    ways.extend(restart);
    ways.extend(page.back.as_ref().map(|link| (link.as_str(), "Go back to the app")));
    if page.notice.is_settled_in_app() {
        ways.reverse();
    }
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                link rel="icon" href="data:,";
                title { (title) }
                style { (PreEscaped(STYLE)) }
            }
            body class=(tone.class()) {
                main {
                    svg viewBox="0 0 320 88" aria-hidden="true" {
                        path .stitch d="M114 44H-90" {}
                        path .stitch .far[!matches!(tone, Tone::Good)] d=(tone.far_seam()) {}
                        circle .patch cx="160" cy="44" r="40" {}
                        circle .stitch cx="160" cy="44" r="33" {}
                        path .sign pathLength="1" d=(page.notice.sign()) {}
                    }
                    div .words {
                        h1 { (title) }
                        p .what { (what) }
                        @if let Some(time) = page.time {
                            p { "Done on " time datetime=(time) { (time.strftime("%-d %B %Y at %H:%M UTC")) } "." }
                        }
                        p {
                            (next)
                            @if again.is_some() && ways.is_empty() { " You can always start from the app." }
                        }
                        @for (href, label) in ways {
                            a href=(href) { (label) }
                        }
                    }
                    @if !page.notice.standing().status().is_success() {
                        p .maker {
                            "For developers: " code { (page.notice.as_str()) }
                            @if let Some(maker) = maker { br; (maker) }
                        }
                    }
                }
                footer { "Threads Auth" }
            }
        }
    }
}

/// Returns true if `path` stays on this origin. Browsers drop tabs and treat `\\` as `/`, so
/// `/\t/host` would leave it.
fn is_own_path(path: &str) -> bool {
    path.starts_with('/')
        && !path.starts_with("//")
        && path.bytes().all(|b| b.is_ascii_graphic() && b != b'\\')
}
