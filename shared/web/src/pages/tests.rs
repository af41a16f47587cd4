use std::collections::BTreeSet;
use std::iter::successors;

use base64::prelude::{BASE64_STANDARD, Engine};
use jiff::Timestamp;
use ring::digest;
use threads_auth::{Brand, ConnectOutcome as Connect, Language};
use url::Url;

use super::look::SAME_PAGE;
use super::words::{self, Words};
use super::{Notice, Page, Reader, respond};
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

fn in_language(language: Language) -> Reader<'static> {
    Reader { language, request_id: "JKJaXmPLvHcESHA=", ..Reader::default() }
}

fn html(page: &Page) -> String {
    respond(page, &Reader::default()).into_body()
}

/// Returns the policy's hash of a page's style, and the style.
fn assert_allowed(response: &http::Response<String>) -> String {
    let style = between(response.body(), "<style>", "</style>");
    let hash = BASE64_STANDARD.encode(digest::digest(&digest::SHA256, style.as_bytes()));
    let policy = header(response, "content-security-policy").unwrap();
    assert!(policy.contains(&format!("style-src 'sha256-{hash}';")), "{policy}");
    assert_eq!(response.body().matches("<style").count(), 1);
    assert!(!response.body().contains("style="), "inline styles are blocked");
    assert!(!style.contains(['\r', '<']) && !style.contains("url(") && !style.contains("@import"));
    style.to_owned()
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
            let response = respond(&page, &Reader::default());
            assert_eq!(response.status(), status, "{notice:?}");
            assert_eq!(header(&response, "retry-after"), retry_after, "{notice:?}");
            assert_eq!(header(&response, "content-type"), Some("text/html; charset=utf-8"));
            assert_secure(&response);
            for language in Language::ALL {
                let length = respond(&page, &in_language(language)).body().len();
                assert!(length < 8 * 1024, "{notice:?} in {language}: {length} bytes");
            }
        }
    }
}

#[test]
fn every_language_says_something_of_its_own_for_every_notice() {
    let english = words::of(Language::English);
    for language in Language::ALL {
        let words = words::of(language);
        let (mut names, mut titles, mut whats) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        for notice in notices() {
            let text = words.text(notice);
            let (title, what, next) = (text.title(), text.what(), text.next());
            let foreign = english.text(notice);
            let foreign = [foreign.title(), foreign.what(), foreign.next()];
            for text in [title, what, next] {
                assert!(!text.is_empty() && text.trim() == text, "{language} {notice:?}: {text:?}");
                assert!(!text.contains("  ") && !text.contains(['{', '}', '<', '&']), "{language}: {text:?}");
                assert_eq!(foreign.contains(&text), language == Language::English, "{language}: {text:?}");
            }
            assert!(names.insert(notice.as_str()), "{notice:?}");
            assert!(titles.insert(title), "{language} {notice:?}");
            assert!(whats.insert(what), "{language} {notice:?}");

            let response = respond(&Page::new(notice), &in_language(language));
            let body = response.body();
            assert_eq!(header(&response, "content-language"), Some(language.as_str()));
            assert_eq!(header(&response, "vary"), Some("accept-language"));
            let direction = if language == Language::Arabic { "rtl" } else { "ltr" };
            assert!(body.contains(&format!("<html lang=\"{language}\" dir=\"{direction}\">")), "{body}");
            assert_eq!(body.matches("<h1>").count(), 1);
            assert!(body.contains(&format!("<h1>{title}</h1>")), "{language} {notice:?}");
            assert!(body.contains(&format!("<title>{title}</title>")), "{language} {notice:?}");
            assert!(body.contains(what) && body.contains(next), "{language} {notice:?}");
            let is_error = !notice.standing().status().is_success();
            assert_eq!(body.contains(&format!("<code>{}</code>", notice.as_str())), is_error);
            let id = "<code class=\"id\" dir=\"ltr\">JKJaXmPLvHcESHA=</code>";
            assert_eq!(body.contains(id), is_error, "{language} {notice:?}");
        }
    }
}

/// The places of the words that a page fills in.
fn places(text: &str) -> BTreeSet<&str> {
    text.split('{').skip(1).map(|part| part.split('}').next().unwrap()).collect()
}

#[test]
fn every_language_has_each_word_with_the_same_places() {
    let all = |words: &Words| {
        let Words { back, back_to, start_from_app, done_at, time, .. } = *words;
        let Words { start_again, start_again_here, try_again, home, support, privacy, request, .. } = *words;
        let labels = [start_again, start_again_here, try_again, home, support, privacy, request];
        [[back, back_to, start_from_app, done_at, time].as_slice(), &labels].concat()
    };
    let english = all(words::of(Language::English));
    let at = Timestamp::from_second(1_795_867_200).unwrap();
    for language in Language::ALL {
        let words = all(words::of(language));
        for (word, foreign) in words.iter().zip(&english) {
            assert!(!word.is_empty() && word.trim() == *word && !word.contains(['<', '&']), "{word:?}");
            assert_eq!(places(word), places(foreign), "{language}: {word}");
        }
        // The time, an id and a name are no part of the text around them.
        let page = Page { time: Some(at), ..Page::new(Notice::Deleted) };
        let body = respond(&page, &in_language(language)).into_body();
        let shown = between(&body, "<time datetime=\"2026-11-28T12:00:00Z\" dir=\"ltr\">", "</time>");
        assert!(shown.contains("2026") && shown.contains("28") && shown.contains("UTC"), "{shown}");
    }
    assert_eq!(Language::ALL.len(), 11);
}

fn brand() -> Brand {
    Brand {
        name: Some("A <b>\"Planner\"</b> & \u{645}\u{62e}\u{637}\u{637}".parse().unwrap()),
        home: Some("https://app.example/?a=1&b=2".parse().unwrap()),
        support: Some("https://help.example/threads".parse().unwrap()),
        privacy: Some("https://app.example/privacy".parse().unwrap()),
        accent: Some("#ffcc00".parse().unwrap()),
    }
}

#[test]
fn a_page_names_the_app_and_leads_to_its_pages() {
    let brand = brand();
    for language in Language::ALL {
        let reader = Reader { brand: &brand, ..in_language(language) };
        let response = respond(&full(Connect::Expired), &reader);
        let body = response.body();
        let name = "A &lt;b&gt;&quot;Planner&quot;&lt;/b&gt; &amp; \u{645}\u{62e}\u{637}\u{637}";
        assert!(body.contains(&format!("<bdi>{name}</bdi>")), "{body}");
        assert!(body.contains(&format!(" \u{b7} \u{2068}{name}\u{2069}</title>")), "{body}");
        let back = words::of(language).back_to.replace("{app}", &format!("\u{2068}{name}\u{2069}"));
        assert!(body.contains(&back) && !body.contains("Threads Auth"), "{body}");
        let words = words::of(language);
        for (link, label) in [
            ("https://app.example/?a=1&amp;b=2", words.home),
            ("https://help.example/threads", words.support),
            ("https://app.example/privacy", words.privacy),
        ] {
            assert!(body.contains(&format!("<a href=\"{link}\">{label}</a>")), "{body}");
        }
        assert!(!body.contains("<b>"));
        let style = assert_allowed(&response);
        assert!(
            style.contains(":root{--accent:#") && style.ends_with("{:root{--accent:#ffcc00}}"),
            "{style}"
        );
        assert_secure(&response);
    }
}

#[test]
fn a_page_without_a_brand_is_ours() {
    let body = html(&full(Connect::Expired));
    assert!(
        body.contains("<footer><bdi>Threads Auth</bdi></footer>") && !body.contains("<header>"),
        "{body}"
    );
    let brand = Brand { name: Some("Planner".parse().unwrap()), ..Brand::default() };
    let body = respond(&full(Connect::Expired), &Reader { brand: &brand, ..Reader::default() }).into_body();
    assert!(!body.contains("<footer>") && body.contains("<header><bdi>Planner</bdi></header>"), "{body}");
}

#[test]
fn a_request_id_is_shown_as_text() {
    let reader = Reader { request_id: "\"><b>", ..Reader::default() };
    let body = respond(&Page::new(Connect::Expired), &reader).into_body();
    assert!(body.contains("&quot;&gt;&lt;b&gt;") && !body.contains("<b>"), "{body}");
    assert!(!html(&Page::new(Connect::Expired)).contains("Request id"), "there is none to show");
}

#[test]
fn a_page_without_links_still_tells_where_to_start_again() {
    let hint = "You can always start from the app.";
    for notice in notices().filter(|notice| notice.again().is_some()) {
        assert!(html(&Page::new(notice)).contains(hint), "{notice:?}");
        assert!(!html(&full(notice)).contains(hint), "{notice:?}");
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
    let offered = |notice| html(&restarting(notice, "/authorize")).contains("<a ");
    let [can_help, cannot]: [Vec<_>; 2] =
        [true, false].map(|is_offered| notices().filter(|notice| offered(*notice) == is_offered).collect());
    let can_help: Vec<_> = can_help.into_iter().map(Notice::as_str).collect();
    assert_eq!(can_help, RESTARTABLE);
    assert!(cannot.contains(&Connect::Misconfigured.into()));
}

#[test]
fn the_policy_allows_the_style_of_the_page_and_nothing_else() {
    for notice in notices() {
        let style = assert_allowed(&respond(&full(notice), &Reader::default()));
        assert!(style.ends_with("}\n") && style.contains("--accent:var(--ink)"), "{style}");
    }
}

#[test]
fn nothing_is_scripted_or_fetched_from_elsewhere() {
    for notice in notices() {
        let body = html(&full(notice)).to_lowercase();
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
    let body = html(&page);
    assert!(body.contains(r#"href="/authorize?a=1&amp;b=&quot;&gt;&lt;b&gt;""#), "{body}");
    assert!(body.contains(r#"href="https://app.example/?a=1&amp;b=%22%3E#"#), "{body}");
    assert!(!body.contains("\"><b>"));
    assert_eq!(body.matches("<a ").count(), 2);
}

#[test]
fn a_restart_stays_on_this_origin() {
    for hostile in [
        "authorize",
        "//evil.example",
        "/\\evil.example",
        "/\t/evil.example",
        "/\n/evil.example",
        "https://evil.example",
        "javascript:alert(1)",
        "/é",
    ] {
        let body = html(&restarting(Connect::Expired, hostile));
        assert!(!body.contains("<a "), "{hostile:?}");
    }
    assert!(html(&restarting(Connect::Expired, "/authorize")).contains("<a "));
    // The same address again.
    assert!(html(&restarting(Connect::Unavailable, SAME_PAGE)).contains("href=\"\""));
}

#[test]
fn the_app_comes_first_where_the_answer_lies_there() {
    let first = |notice| between(&html(&full(notice)), "<a href=\"", "\"").to_owned();
    assert!(first(Connect::Replayed).starts_with("https://app.example/"));
    assert!(first(Connect::Expired).starts_with("/authorize"));
}

#[test]
fn debug_shows_no_links() {
    let shown = format!("{:?}", full(Connect::Denied));
    assert!(shown.contains("Denied") && !shown.contains("abc") && !shown.contains("app.example"), "{shown}");
}
