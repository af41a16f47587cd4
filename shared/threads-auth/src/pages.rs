//! Pages: what a person reads in the browser, and the headers that every response of ours carries.
//!
//! Owns the words, the status and the look of each outcome (one template, one style, no script), the redirects of
//! the flow, and [`secure`]. Refuses to show anything that came with the request: a page is made of fixed texts, of
//! a path of ours and of a link that the allowlist has already accepted. Nothing here decides *which* outcome it was.

use std::fmt;
use std::sync::LazyLock;

use base64::prelude::{BASE64_STANDARD, Engine};
use http::header::{self, HeaderName, HeaderValue};
use http::{Response, StatusCode};
use jiff::Timestamp;
use maud::{DOCTYPE, Markup, PreEscaped, html};
use ring::digest;
use url::Url;

const STYLE: &str = include_str!("pages/style.css");

/// People-facing pages have no form.
static POLICY: LazyLock<HeaderValue> = LazyLock::new(|| content_policy(STYLE, "'none'"));

/// The content security policy of a page with one inline `style`, whose forms go to `form_action` only.
///
/// The hash is taken from the style itself, so the two cannot drift apart. `img-src` is for the empty icon, which
/// spares us the browser's request for one. Were this no valid header, the pages would lose their style, not their
/// protection.
#[must_use]
pub fn content_policy(style: &str, form_action: &'static str) -> HeaderValue {
    let hash = BASE64_STANDARD.encode(digest::digest(&digest::SHA256, style.as_bytes()));
    HeaderValue::try_from(format!(
        "default-src 'none'; style-src 'sha256-{hash}'; img-src data:; \
         base-uri 'none'; form-action {form_action}; frame-ancestors 'none'"
    ))
    .unwrap_or(HeaderValue::from_static(
        "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ))
}

/// What a person is told, and with which status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Notice {
    /// The account is connected; shown under a clean URL.
    Connected,
    /// Threads has agreed, and the last step is being retried in the background.
    Finishing,
    /// The person, or Meta, said no. Nothing was stored.
    Denied,
    /// It took more than ten minutes.
    Expired,
    /// The state was spent before.
    Replayed,
    /// The browser that came back is not known to have started.
    WrongBrowser,
    /// Another Threads account came back than the one that was expected.
    WrongAccount,
    /// The callback is malformed.
    BadLink,
    /// Threads no longer accepted its own code.
    CodeRefused,
    /// The address to return to is not on the allowlist.
    ReturnToRefused,
    /// A connection has to start from the app.
    SessionRequired,
    /// No such connect session.
    SessionUnknown,
    /// The connect session was used before.
    SessionClosed,
    /// The connect session is too old.
    SessionExpired,
    /// Meta is down or throttles us.
    ThreadsUnavailable,
    /// Our own store or secrets are out of reach.
    Unavailable,
    /// The app's settings at Meta are wrong.
    Misconfigured,
    /// A deletion that the person asked for is done.
    Deleted,
    /// No deletion has this code.
    DeletionUnknown,
    /// No such page.
    NotFound,
}

impl Notice {
    /// The status that its page is answered with.
    #[must_use]
    pub fn status(self) -> StatusCode {
        match self {
            Self::Connected | Self::Deleted => StatusCode::OK,
            Self::Finishing => StatusCode::ACCEPTED,
            Self::WrongBrowser | Self::BadLink | Self::CodeRefused | Self::ReturnToRefused => {
                StatusCode::BAD_REQUEST
            }
            Self::Denied | Self::WrongAccount | Self::SessionRequired => StatusCode::FORBIDDEN,
            Self::SessionUnknown | Self::DeletionUnknown | Self::NotFound => StatusCode::NOT_FOUND,
            Self::Replayed | Self::SessionClosed => StatusCode::CONFLICT,
            Self::Expired | Self::SessionExpired => StatusCode::GONE,
            Self::Misconfigured => StatusCode::INTERNAL_SERVER_ERROR,
            Self::ThreadsUnavailable | Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// A stable name, in `snake_case`, for logs, metrics and the line that the page has for the app's developer.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Connected => "connected",
            Self::Finishing => "finishing",
            Self::Denied => "denied",
            Self::Expired => "expired",
            Self::Replayed => "replayed",
            Self::WrongBrowser => "wrong_browser",
            Self::WrongAccount => "wrong_account",
            Self::BadLink => "bad_link",
            Self::CodeRefused => "code_refused",
            Self::ReturnToRefused => "return_to_refused",
            Self::SessionRequired => "session_required",
            Self::SessionUnknown => "session_unknown",
            Self::SessionClosed => "session_closed",
            Self::SessionExpired => "session_expired",
            Self::ThreadsUnavailable => "threads_unavailable",
            Self::Unavailable => "unavailable",
            Self::Misconfigured => "misconfigured",
            Self::Deleted => "deleted",
            Self::DeletionUnknown => "deletion_unknown",
            Self::NotFound => "not_found",
        }
    }

    /// Whether the app is the first place to look: the account may be connected already, or the person said no.
    fn is_settled_in_app(self) -> bool {
        matches!(
            self,
            Self::Connected | Self::Finishing | Self::Denied | Self::Replayed | Self::SessionClosed
        )
    }

    /// Seconds after which it is worth trying again by itself.
    fn retry_after(self) -> Option<u16> {
        match self {
            Self::ThreadsUnavailable => Some(30),
            Self::Unavailable => Some(5),
            _ => None,
        }
    }

    fn tone(self) -> Tone {
        match self {
            Self::Connected | Self::Deleted => Tone::Good,
            Self::Finishing
            | Self::Expired
            | Self::Replayed
            | Self::SessionClosed
            | Self::SessionExpired
            | Self::ThreadsUnavailable
            | Self::Unavailable => Tone::Wait,
            _ => Tone::Halt,
        }
    }

    /// The sign on the patch, as an SVG path around (160, 44), at most 24 units wide.
    fn sign(self) -> &'static str {
        match self {
            Self::Connected | Self::Deleted => "M149 45l7.5 7.5L172 37",
            Self::Finishing | Self::ThreadsUnavailable | Self::Unavailable => "M148 44h4M158 44h4M168 44h4",
            Self::Expired | Self::SessionExpired => "M160 33v12l7.5 4.5",
            Self::Replayed | Self::SessionClosed => "M170 38.5a11.5 11.5 0 1 0 1.5 7M171.5 31.5v8h-8",
            Self::WrongBrowser => "M149 36.5h22v16h-22zM149 42h22",
            Self::WrongAccount => "M155 38.5a5 5 0 1 0 10 0a5 5 0 1 0-10 0M150 55c1-9 19-9 20 0",
            Self::SessionRequired => "M171 44h-21M157.5 36l-8 8 8 8",
            Self::BadLink | Self::SessionUnknown | Self::DeletionUnknown | Self::NotFound => {
                "M153.5 39.5c0-9 13.5-8.5 13.5 0 0 5-7 5-7 10M160 56h.01"
            }
            Self::Denied => "M150 44h20",
            Self::CodeRefused | Self::ReturnToRefused | Self::Misconfigured => "M160 32v14M160 55h.01",
        }
    }

    #[expect(
        clippy::too_many_lines,
        reason = "a table of texts, which reads best in one place"
    )]
    fn words(self) -> Words {
        match self {
            Self::Connected => Words {
                title: "Your Threads account is connected",
                what: "Everything went well. The app can now use your account in the ways you agreed to.",
                next: "You may close this window.",
                again: None,
                maker: None,
            },
            Self::Finishing => Words {
                title: "Almost there",
                what: "Threads has said yes. One last step is still running and completes by itself, usually \
                       within the hour.",
                next: "There is nothing more for you to do. You may close this window.",
                again: None,
                maker: None,
            },
            Self::Denied => Words {
                title: "Your account was not connected",
                what: "Threads did not give the app permission, perhaps because you chose not to. We have \
                       stored nothing.",
                next: "If that is what you wanted, you may close this window. If you change your mind, you \
                       can start again at any time.",
                again: Some("Start again"),
                maker: None,
            },
            Self::Expired => Words {
                title: "That took a little too long",
                what: "To keep you safe, a connection has to be finished within ten minutes. Nothing was \
                       connected.",
                next: "Start again whenever you are ready. It only takes a moment.",
                again: Some("Start again"),
                maker: None,
            },
            Self::Replayed => Words {
                title: "This step is already done",
                what: "The page you came from works only once, and it was used before. Your account may well \
                       be connected already.",
                next: "Have a look in the app first. If your account is not there, start again.",
                again: Some("Start again"),
                maker: None,
            },
            Self::WrongBrowser => Words {
                title: "Please finish in the browser you started in",
                what: "Threads may have opened in another app or on another device, cookies may be blocked, \
                       or too many tabs were open. Nothing was connected.",
                next: "Start again, and stay in this browser until the end. Inside another app, switch to \
                       your usual browser first.",
                again: Some("Start again here"),
                maker: Some("The cookie that was set at the start did not come back."),
            },
            Self::WrongAccount => Words {
                title: "That is a different Threads account",
                what: "The app was expecting another account than the one you just used. Nothing was \
                       changed.",
                next: "Switch to the right account in Threads, then start again.",
                again: Some("Start again"),
                maker: None,
            },
            Self::BadLink => Words {
                title: "This link is not complete",
                what: "A part of it is missing, or was changed on the way, so we did not follow it. Nothing \
                       was connected.",
                next: "Start again, and let each page open the next one by itself.",
                again: Some("Start again"),
                maker: Some("A parameter is missing, repeated or malformed."),
            },
            Self::CodeRefused => Words {
                title: "Threads wants to ask you once more",
                what: "You said yes, but Threads no longer accepts it: it was used before, or is more than \
                       an hour old.",
                next: "Please start again, and approve the app afresh.",
                again: Some("Start again"),
                maker: None,
            },
            Self::ReturnToRefused => Words {
                title: "We cannot send you back to the app",
                what: "The app asked us to return you to an address that is not on its list of safe ones, so \
                       we stopped before anything was connected.",
                next: "Please tell the people who make the app. They can put this right.",
                again: None,
                maker: Some("Add the return address to the allowlist, exactly as the app sends it."),
            },
            Self::SessionRequired => Words {
                title: "Please start from the app",
                what: "To keep you safe, connecting a Threads account has to begin inside the app.",
                next: "Open the app, and choose to connect Threads there.",
                again: None,
                maker: Some("Create a connect session on your server, and open the link that it returns."),
            },
            Self::SessionUnknown => Words {
                title: "We do not know this link",
                what: "It may have been shortened on its way to you, or belong to another app.",
                next: "Go back to the app, and choose to connect Threads once more.",
                again: None,
                maker: Some("There is no such connect session."),
            },
            Self::SessionClosed => Words {
                title: "This link was already used",
                what: "Each link from the app connects one account, once. Yours may well be connected \
                       already.",
                next: "Have a look in the app. If your account is not there, choose to connect Threads once \
                       more.",
                again: None,
                maker: None,
            },
            Self::SessionExpired => Words {
                title: "This link has run out",
                what: "A link from the app is good for a short time only. Nothing was connected.",
                next: "Go back to the app for a new one. It only takes a moment.",
                again: None,
                maker: None,
            },
            Self::ThreadsUnavailable => Words {
                title: "Threads is not answering right now",
                what: "It seems to be very busy. You did nothing wrong, and nothing is lost.",
                next: "Wait about half a minute, then try again.",
                again: Some("Try again"),
                maker: None,
            },
            Self::Unavailable => Words {
                title: "We need a few seconds",
                what: "Something on our side is not answering. It is not your doing, and it rarely lasts.",
                next: "Wait a few seconds, then try again.",
                again: Some("Try again"),
                maker: Some("The store or the secrets are out of reach."),
            },
            Self::Misconfigured => Words {
                title: "The app is not set up correctly",
                what: "Threads turned us away because of the app\u{2019}s own settings. It is not your \
                       doing, and nothing you can fix.",
                next: "Please tell the people who make the app. They can put this right.",
                again: None,
                maker: Some("App id, app secret and redirect URI must belong together. See the log."),
            },
            Self::Deleted => Words {
                title: "Your data was deleted",
                what: "Everything that we had about your Threads account when you asked is gone: the access to it, \
                       its name and its number, and what you had agreed to.",
                next: "There is nothing more for you to do. What the app itself keeps is up to its makers.",
                again: None,
                maker: None,
            },
            Self::DeletionUnknown => Words {
                title: "We do not know this code",
                what: "No deletion was asked for under it. Perhaps a part is missing.",
                next: "Open the link once more, exactly as Threads shows it to you.",
                again: None,
                maker: None,
            },
            Self::NotFound => Words {
                title: "There is nothing here",
                what: "This address leads nowhere. It may have been mistyped.",
                next: "To connect a Threads account, open the app and start from there.",
                again: None,
                maker: None,
            },
        }
    }
}

/// One notice, with the ways on that this visit has.
#[derive(Clone)]
pub struct Page {
    /// What to tell.
    pub notice: Notice,
    /// Where to start again: a path of ours with its query, already percent-encoded, such as `/authorize?session=…`.
    /// Anything but a path on this origin is left out.
    pub restart: Option<String>,
    /// The way back to the app. The caller has checked it against the allowlist.
    pub back: Option<Url>,
    /// When what it tells of happened.
    pub time: Option<Timestamp>,
}

impl Page {
    /// A page with no links.
    #[must_use]
    pub fn new(notice: Notice) -> Self {
        Self {
            notice,
            restart: None,
            back: None,
            time: None,
        }
    }

    /// Says when it happened.
    #[must_use]
    pub fn with_time(self, time: Timestamp) -> Self {
        Self {
            time: Some(time),
            ..self
        }
    }

    /// Offers to start again at `path`.
    #[must_use]
    pub fn with_restart(self, path: impl Into<String>) -> Self {
        Self {
            restart: Some(path.into()),
            ..self
        }
    }

    /// Offers the way back to the app.
    #[must_use]
    pub fn with_back(self, link: Url) -> Self {
        Self {
            back: Some(link),
            ..self
        }
    }
}

/// Without the links: their queries may carry what opens a connect session.
impl fmt::Debug for Page {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Page")
            .field("notice", &self.notice)
            .finish_non_exhaustive()
    }
}

/// The page as a response, with the status of its notice and every security header.
#[must_use]
pub fn respond(page: &Page) -> Response<String> {
    let mut response = Response::new(render(page).into_string());
    *response.status_mut() = page.notice.status();
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/html; charset=utf-8"),
    );
    if let Some(seconds) = page.notice.retry_after() {
        headers.insert(header::RETRY_AFTER, seconds.into());
    }
    secure(response)
}

/// Sends the browser to `location` with an empty body: 302 towards Threads, 303 towards a clean URL.
///
/// A location that a header cannot carry is a fault of ours and becomes [`Notice::Unavailable`].
#[must_use]
pub fn redirect(status: StatusCode, location: &str) -> Response<String> {
    let location = match HeaderValue::from_str(location) {
        // A `HeaderValue` takes any UTF-8; `to_str`, which is how the Lambda runtime reads it, takes ASCII only.
        Ok(location) if location.to_str().is_ok() => location,
        _ => return respond(&Page::new(Notice::Unavailable)),
    };
    let mut response = Response::new(String::new());
    *response.status_mut() = status;
    response.headers_mut().insert(header::LOCATION, location);
    secure(response)
}

/// Puts the security headers on a response, in place of any that it has of the same name.
#[must_use]
pub fn secure<B>(mut response: Response<B>) -> Response<B> {
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CACHE_CONTROL, "no-store"),
        (header::REFERRER_POLICY, "no-referrer"),
        (
            header::STRICT_TRANSPORT_SECURITY,
            "max-age=63072000; includeSubDomains",
        ),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (
            HeaderName::from_static("cross-origin-opener-policy"),
            "same-origin",
        ),
        (
            HeaderName::from_static("permissions-policy"),
            "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()",
        ),
        (HeaderName::from_static("x-robots-tag"), "noindex"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.insert(header::CONTENT_SECURITY_POLICY, POLICY.clone());
    response
}

struct Words {
    title: &'static str,
    /// What happened.
    what: &'static str,
    /// What to do now.
    next: &'static str,
    /// What the button says where starting again is the way on.
    again: Option<&'static str>,
    /// A hint for the app's developer.
    maker: Option<&'static str>,
}

/// How the page looks: a seam that holds, one still being sewn, or one with a loose end.
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

    /// The right half of the seam: how it goes on behind the patch.
    fn far_seam(self) -> &'static str {
        match self {
            Self::Good | Self::Wait => "M206 44h204",
            Self::Halt => "M206 44c22 0 26 20 44 20s22-22 8-22-10 26 16 28",
        }
    }
}

fn render(page: &Page) -> Markup {
    let Words {
        title,
        what,
        next,
        again,
        maker,
    } = page.notice.words();
    let tone = page.notice.tone();
    let restart = page.restart.as_deref().filter(|path| is_own_path(path));
    let mut ways: Vec<(&str, &str)> = Vec::new();
    ways.extend(restart.map(|path| (path, again.unwrap_or("Start again"))));
    ways.extend(
        page.back
            .as_ref()
            .map(|link| (link.as_str(), "Go back to the app")),
    );
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
                    @if !page.notice.status().is_success() {
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

/// Whether `path` stays on this origin. Browsers drop tabs and take `\\` for `/`, so `/\t/host` would leave it.
fn is_own_path(path: &str) -> bool {
    path.starts_with('/')
        && !path.starts_with("//")
        && path.bytes().all(|b| b.is_ascii_graphic() && b != b'\\')
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::iter::successors;

    use super::*;

    /// Every notice. The match has no wildcard, so that a new one has to be put in line.
    fn notices() -> impl Iterator<Item = Notice> {
        successors(Some(Notice::Connected), |notice| match notice {
            Notice::Connected => Some(Notice::Finishing),
            Notice::Finishing => Some(Notice::Denied),
            Notice::Denied => Some(Notice::Expired),
            Notice::Expired => Some(Notice::Replayed),
            Notice::Replayed => Some(Notice::WrongBrowser),
            Notice::WrongBrowser => Some(Notice::WrongAccount),
            Notice::WrongAccount => Some(Notice::BadLink),
            Notice::BadLink => Some(Notice::CodeRefused),
            Notice::CodeRefused => Some(Notice::ReturnToRefused),
            Notice::ReturnToRefused => Some(Notice::SessionRequired),
            Notice::SessionRequired => Some(Notice::SessionUnknown),
            Notice::SessionUnknown => Some(Notice::SessionClosed),
            Notice::SessionClosed => Some(Notice::SessionExpired),
            Notice::SessionExpired => Some(Notice::ThreadsUnavailable),
            Notice::ThreadsUnavailable => Some(Notice::Unavailable),
            Notice::Unavailable => Some(Notice::Misconfigured),
            Notice::Misconfigured => Some(Notice::Deleted),
            Notice::Deleted => Some(Notice::DeletionUnknown),
            Notice::DeletionUnknown => Some(Notice::NotFound),
            Notice::NotFound => None,
        })
    }

    /// With every link that it can have.
    fn full(notice: Notice) -> Page {
        let back = Url::parse("https://app.example/settings?tab=threads&ref=7").unwrap();
        Page::new(notice)
            .with_restart("/authorize?session=abc&x=1")
            .with_back(back)
    }

    fn header<'a, B>(response: &'a Response<B>, name: &str) -> Option<&'a str> {
        let mut values = response.headers().get_all(name).iter();
        let value = values.next().map(|value| value.to_str().unwrap());
        assert_eq!(values.next(), None, "{name} twice");
        value
    }

    fn between<'a>(text: &'a str, start: &str, end: &str) -> &'a str {
        let (_, rest) = text.split_once(start).unwrap();
        rest.split_once(end).unwrap().0
    }

    fn assert_secure<B>(response: &Response<B>) {
        for (name, expected) in [
            ("cache-control", "no-store"),
            ("referrer-policy", "no-referrer"),
            ("strict-transport-security", "max-age=63072000; includeSubDomains"),
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "DENY"),
            ("cross-origin-opener-policy", "same-origin"),
            ("x-robots-tag", "noindex"),
        ] {
            assert_eq!(header(response, name), Some(expected), "{name}");
        }
        assert!(
            header(response, "permissions-policy")
                .unwrap()
                .contains("camera=()")
        );
        let policy = header(response, "content-security-policy").unwrap();
        for directive in [
            "default-src 'none'",
            "img-src data:",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        ] {
            assert!(
                policy.split("; ").any(|part| part == directive),
                "{directive} in {policy}"
            );
        }
        assert!(!policy.contains("unsafe"));
    }

    #[test]
    fn every_notice_has_its_status_and_every_header() {
        for notice in notices() {
            let (status, retry_after) = match notice {
                Notice::Connected | Notice::Deleted => (200, None),
                Notice::Finishing => (202, None),
                Notice::WrongBrowser | Notice::BadLink | Notice::CodeRefused | Notice::ReturnToRefused => {
                    (400, None)
                }
                Notice::Denied | Notice::WrongAccount | Notice::SessionRequired => (403, None),
                Notice::SessionUnknown | Notice::DeletionUnknown | Notice::NotFound => (404, None),
                Notice::Replayed | Notice::SessionClosed => (409, None),
                Notice::Expired | Notice::SessionExpired => (410, None),
                Notice::Misconfigured => (500, None),
                Notice::ThreadsUnavailable => (503, Some("30")),
                Notice::Unavailable => (503, Some("5")),
            };
            for page in [Page::new(notice), full(notice)] {
                let response = respond(&page);
                assert_eq!(response.status(), status, "{notice:?}");
                assert_eq!(header(&response, "retry-after"), retry_after, "{notice:?}");
                assert_eq!(
                    header(&response, "content-type"),
                    Some("text/html; charset=utf-8")
                );
                assert_secure(&response);
                assert!(
                    response.body().len() < 6 * 1024,
                    "{notice:?}: {} bytes",
                    response.body().len()
                );
            }
        }
    }

    #[test]
    fn every_notice_says_something_of_its_own() {
        let (mut names, mut titles, mut texts) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        for notice in notices() {
            let Words {
                title, what, next, ..
            } = notice.words();
            for text in [title, what, next] {
                assert!(!text.is_empty() && !text.contains("  "), "{notice:?}: {text:?}");
            }
            assert!(names.insert(notice.as_str()), "{notice:?}");
            assert!(titles.insert(title), "{notice:?}");
            assert!(texts.insert(what), "{notice:?}");

            let body = render(&Page::new(notice)).into_string();
            assert_eq!(body.matches("<h1>").count(), 1);
            assert!(
                body.contains(&format!("<h1>{title}</h1>"))
                    && body.contains(&format!("<title>{title}</title>"))
            );
            assert!(body.contains(what) && body.contains(next), "{notice:?}");
            assert_eq!(
                body.contains(&format!("<code>{}</code>", notice.as_str())),
                !notice.status().is_success()
            );
        }
    }

    #[test]
    fn a_page_without_links_still_tells_where_to_start_again() {
        let hint = "You can always start from the app.";
        for notice in notices().filter(|notice| notice.words().again.is_some()) {
            assert!(
                render(&Page::new(notice)).into_string().contains(hint),
                "{notice:?}"
            );
            assert!(!render(&full(notice)).into_string().contains(hint), "{notice:?}");
        }
    }

    #[test]
    fn the_policy_allows_the_style_of_the_page_and_nothing_else() {
        for notice in notices() {
            let response = respond(&full(notice));
            let style = between(response.body(), "<style>", "</style>");
            let hash = BASE64_STANDARD.encode(digest::digest(&digest::SHA256, style.as_bytes()));
            let policy = header(&response, "content-security-policy").unwrap();
            assert!(
                policy.contains(&format!("style-src 'sha256-{hash}';")),
                "{policy}"
            );
            assert_eq!(response.body().matches("<style").count(), 1);
            assert!(!response.body().contains("style="), "inline styles are blocked");
            assert!(!style.contains(['\r', '<']) && !style.contains("url(") && !style.contains("@import"));
        }
    }

    #[test]
    fn nothing_is_scripted_or_fetched_from_elsewhere() {
        for notice in notices() {
            let body = render(&full(notice)).into_string().to_lowercase();
            for banned in ["<script", "<img", "<iframe", "<form", "javascript:", "http://"] {
                assert!(!body.contains(banned), "{notice:?}: {banned}");
            }
            assert_eq!(
                body.matches("https://").count(),
                1,
                "only the way back: {notice:?}"
            );
            assert_eq!(body.matches("src=").count(), 0, "{notice:?}");
        }
    }

    #[test]
    fn links_are_escaped() {
        let back = Url::parse("https://app.example/?a=1&b=%22%3E#'<\">").unwrap();
        let page = Page::new(Notice::Denied)
            .with_restart("/authorize?a=1&b=\"><b>")
            .with_back(back);
        let body = render(&page).into_string();
        assert!(
            body.contains(r#"href="/authorize?a=1&amp;b=&quot;&gt;&lt;b&gt;""#),
            "{body}"
        );
        assert!(
            body.contains(r#"href="https://app.example/?a=1&amp;b=%22%3E#"#),
            "{body}"
        );
        assert!(!body.contains("\"><b>"));
        assert_eq!(body.matches("<a ").count(), 2);
    }

    #[test]
    fn a_restart_stays_on_this_origin() {
        for hostile in [
            "",
            "authorize",
            "//evil.example",
            "/\\evil.example",
            "/\t/evil.example",
            "/\n/evil.example",
            "https://evil.example",
            "javascript:alert(1)",
            "/é",
        ] {
            let body = render(&Page::new(Notice::Expired).with_restart(hostile)).into_string();
            assert!(!body.contains("<a "), "{hostile:?}");
        }
        assert!(
            render(&Page::new(Notice::Expired).with_restart("/authorize"))
                .into_string()
                .contains("<a ")
        );
    }

    #[test]
    fn the_app_comes_first_where_the_answer_lies_there() {
        let first = |notice| between(&render(&full(notice)).into_string(), "<a href=\"", "\"").to_owned();
        assert!(first(Notice::Replayed).starts_with("https://app.example/"));
        assert!(first(Notice::Expired).starts_with("/authorize"));
    }

    #[test]
    fn a_redirect_is_empty_and_as_secure() {
        for status in [StatusCode::FOUND, StatusCode::SEE_OTHER] {
            let response = redirect(status, "/connected?x=%0A");
            assert_eq!(response.status(), status);
            assert_eq!(header(&response, "location"), Some("/connected?x=%0A"));
            assert_eq!(response.body(), "");
            assert_secure(&response);
        }
    }

    #[test]
    fn a_redirect_that_no_header_can_carry_goes_nowhere() {
        for broken in ["/a\r\nset-cookie: a=b", "/\0", "/ü"] {
            let response = redirect(StatusCode::FOUND, broken);
            assert_eq!(response.status(), 503, "{broken:?}");
            assert_eq!(header(&response, "location"), None);
            assert_secure(&response);
        }
    }

    #[test]
    fn secure_replaces_what_is_weaker_and_keeps_the_rest() {
        let response = Response::builder()
            .header("cache-control", "public")
            .header("cache-control", "max-age=60")
            .header("set-cookie", "a=1")
            .header("set-cookie", "b=2")
            .body(7_u8)
            .unwrap();
        let response = secure(response);
        assert_secure(&response);
        assert_eq!(response.headers().get_all("set-cookie").iter().count(), 2);
        assert_eq!(response.body(), &7);
    }

    #[test]
    fn debug_shows_no_links() {
        let shown = format!("{:?}", full(Notice::Denied));
        assert!(
            shown.contains("Denied") && !shown.contains("abc") && !shown.contains("app.example"),
            "{shown}"
        );
    }
}
