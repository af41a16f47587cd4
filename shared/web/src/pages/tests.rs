use std::collections::BTreeSet;
use std::iter::successors;

use base64::prelude::{BASE64_STANDARD, Engine};
use ring::digest;
use threads_auth::ConnectOutcome as Connect;
use url::Url;

use super::look::render;
use super::words::Words;
use super::{Notice, Page, respond};
use crate::headers::tests::{assert_secure, header};

/// Returns every notice. The match has no wildcard, so that a new notice cannot be forgotten.
fn notices() -> impl Iterator<Item = Notice> {
    successors(Some(Connect::Connected.into()), |notice| match notice {
        Notice::Connect(outcome) => Some(match outcome {
            Connect::Connected => Connect::Finishing.into(),
            Connect::Finishing => Connect::Denied.into(),
            Connect::Denied => Connect::ThreadsFailed.into(),
            Connect::ThreadsFailed => Connect::Ended.into(),
            Connect::Ended => Connect::Expired.into(),
            Connect::Expired => Connect::Replayed.into(),
            Connect::Replayed => Connect::WrongBrowser.into(),
            Connect::WrongBrowser => Connect::WrongAccount.into(),
            Connect::WrongAccount => Connect::BadLink.into(),
            Connect::BadLink => Connect::CodeRefused.into(),
            Connect::CodeRefused => Connect::ReturnToRefused.into(),
            Connect::ReturnToRefused => Connect::SessionRequired.into(),
            Connect::SessionRequired => Connect::SessionUnknown.into(),
            Connect::SessionUnknown => Connect::SessionClosed.into(),
            Connect::SessionClosed => Connect::SessionExpired.into(),
            Connect::SessionExpired => Connect::ThreadsUnavailable.into(),
            Connect::ThreadsUnavailable => Connect::Unavailable.into(),
            Connect::Unavailable => Connect::Misconfigured.into(),
            Connect::Misconfigured => Notice::Deleted,
        }),
        Notice::Deleted => Some(Notice::DeletionUnfinished),
        Notice::DeletionUnfinished => Some(Notice::DeletionKept),
        Notice::DeletionKept => Some(Notice::DeletionUnknown),
        Notice::DeletionUnknown => Some(Notice::Prefetch),
        Notice::Prefetch => Some(Notice::Detour),
        Notice::Detour => Some(Notice::NotFound),
        Notice::NotFound => None,
    })
}

fn restarting(notice: impl Into<Notice>, path: &str) -> Page {
    Page { restart: Some(path.to_owned()), ..Page::new(notice) }
}

/// Returns the page with all possible links.
fn full(notice: impl Into<Notice>) -> Page {
    let back = Url::parse("https://app.example/settings?tab=threads&ref=7").unwrap();
    Page { back: Some(back), ..restarting(notice, "/authorize?session=abc&x=1") }
}

fn between<'a>(text: &'a str, start: &str, end: &str) -> &'a str {
    let (_, rest) = text.split_once(start).unwrap();
    rest.split_once(end).unwrap().0
}

#[test]
fn every_notice_has_its_status_and_every_header() {
    for notice in notices() {
        let (status, retry_after) = match notice {
            Notice::Connect(Connect::Connected) | Notice::Deleted | Notice::DeletionKept => (200, None),
            Notice::Connect(Connect::Finishing) | Notice::DeletionUnfinished => (202, None),
            Notice::Connect(
                Connect::ThreadsFailed
                | Connect::WrongBrowser
                | Connect::BadLink
                | Connect::CodeRefused
                | Connect::ReturnToRefused,
            ) => (400, None),
            Notice::Connect(Connect::Denied | Connect::WrongAccount | Connect::SessionRequired)
            | Notice::Detour => (403, None),
            Notice::Connect(Connect::SessionUnknown) | Notice::DeletionUnknown | Notice::NotFound => {
                (404, None)
            }
            Notice::Connect(Connect::Replayed | Connect::SessionClosed) => (409, None),
            Notice::Connect(Connect::Ended | Connect::Expired | Connect::SessionExpired) => (410, None),
            Notice::Connect(Connect::Misconfigured) => (500, None),
            Notice::Connect(Connect::ThreadsUnavailable) => (503, Some("30")),
            Notice::Connect(Connect::Unavailable) => (503, Some("5")),
            Notice::Prefetch => (503, Some("1")),
        };
        for page in [Page::new(notice), full(notice)] {
            let response = respond(&page);
            assert_eq!(response.status(), status, "{notice:?}");
            assert_eq!(header(&response, "retry-after"), retry_after, "{notice:?}");
            assert_eq!(header(&response, "content-type"), Some("text/html; charset=utf-8"));
            assert_secure(&response);
            assert!(response.body().len() < 6 * 1024, "{notice:?}: {} bytes", response.body().len());
        }
    }
}

#[test]
fn every_notice_says_something_of_its_own() {
    let (mut names, mut titles, mut texts) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for notice in notices() {
        let Words { title, what, next, .. } = notice.words();
        for text in [title, what, next] {
            assert!(!text.is_empty() && !text.contains("  "), "{notice:?}: {text:?}");
        }
        assert!(names.insert(notice.as_str()), "{notice:?}");
        assert!(titles.insert(title), "{notice:?}");
        assert!(texts.insert(what), "{notice:?}");

        let body = render(&Page::new(notice)).into_string();
        assert_eq!(body.matches("<h1>").count(), 1);
        assert!(
            body.contains(&format!("<h1>{title}</h1>")) && body.contains(&format!("<title>{title}</title>"))
        );
        assert!(body.contains(what) && body.contains(next), "{notice:?}");
        assert_eq!(
            body.contains(&format!("<code>{}</code>", notice.as_str())),
            !notice.standing().status().is_success()
        );
    }
}

#[test]
fn a_page_without_links_still_tells_where_to_start_again() {
    let hint = "You can always start from the app.";
    for notice in notices().filter(|notice| notice.words().again.is_some()) {
        assert!(render(&Page::new(notice)).into_string().contains(hint), "{notice:?}");
        assert!(!render(&full(notice)).into_string().contains(hint), "{notice:?}");
    }
}

/// The outcomes whose page can have a button to start again.
pub(super) const RESTARTABLE: [&str; 11] = [
    "denied",
    "threads_failed",
    "ended",
    "expired",
    "replayed",
    "wrong_browser",
    "wrong_account",
    "bad_link",
    "code_refused",
    "threads_unavailable",
    "unavailable",
];

#[test]
fn a_start_that_cannot_help_is_not_offered() {
    let offered = |notice| render(&restarting(notice, "/authorize")).into_string().contains("<a ");
    let [can_help, cannot]: [Vec<_>; 2] =
        [true, false].map(|is_offered| notices().filter(|notice| offered(*notice) == is_offered).collect());
    let can_help: Vec<_> = can_help.into_iter().map(Notice::as_str).collect();
    assert_eq!(can_help, RESTARTABLE);
    assert!(cannot.contains(&Connect::Misconfigured.into()));
}

#[test]
fn the_policy_allows_the_style_of_the_page_and_nothing_else() {
    for notice in notices() {
        let response = respond(&full(notice));
        let style = between(response.body(), "<style>", "</style>");
        let hash = BASE64_STANDARD.encode(digest::digest(&digest::SHA256, style.as_bytes()));
        let policy = header(&response, "content-security-policy").unwrap();
        assert!(policy.contains(&format!("style-src 'sha256-{hash}';")), "{policy}");
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
        assert_eq!(body.matches("https://").count(), 1, "only the way back: {notice:?}");
        assert_eq!(body.matches("src=").count(), 0, "{notice:?}");
    }
}

#[test]
fn links_are_escaped() {
    let back = Url::parse("https://app.example/?a=1&b=%22%3E#'<\">").unwrap();
    let page = Page { back: Some(back), ..restarting(Connect::Denied, "/authorize?a=1&b=\"><b>") };
    let body = render(&page).into_string();
    assert!(body.contains(r#"href="/authorize?a=1&amp;b=&quot;&gt;&lt;b&gt;""#), "{body}");
    assert!(body.contains(r#"href="https://app.example/?a=1&amp;b=%22%3E#"#), "{body}");
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
        let body = render(&restarting(Connect::Expired, hostile)).into_string();
        assert!(!body.contains("<a "), "{hostile:?}");
    }
    assert!(render(&restarting(Connect::Expired, "/authorize")).into_string().contains("<a "));
}

#[test]
fn the_app_comes_first_where_the_answer_lies_there() {
    let first = |notice| between(&render(&full(notice)).into_string(), "<a href=\"", "\"").to_owned();
    assert!(first(Connect::Replayed).starts_with("https://app.example/"));
    assert!(first(Connect::Expired).starts_with("/authorize"));
}

#[test]
fn debug_shows_no_links() {
    let shown = format!("{:?}", full(Connect::Denied));
    assert!(shown.contains("Denied") && !shown.contains("abc") && !shown.contains("app.example"), "{shown}");
}
