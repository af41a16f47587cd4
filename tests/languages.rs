//! The language of pages: by the session, by the link, by the browser, and to the end of a flow.

use devstack::Stack;
use reqwest::header::{ACCEPT_LANGUAGE, HeaderMap, HeaderValue};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use threads_auth_model::Attribute;

use crate::connect::new_session;
use crate::fixture::{Browser, Reply, account, delete_data, fail, parameter, respond, rows, stack};
use crate::iam;
use threads_sandbox::SandboxCall;

/// Returns the language of a page, which its headers and its root say alike.
#[track_caller]
fn language(reply: &Reply) -> String {
    let language = reply.headers["content-language"].to_str().unwrap().to_owned();
    let direction = if language == "ar" { "rtl" } else { "ltr" };
    let root = format!("<html lang=\"{language}\" dir=\"{direction}\">");
    assert!(reply.body.contains(&root), "{language}: {reply:?}");
    assert_eq!(reply.headers["vary"], "accept-language");
    language
}

/// Gets a page of ours as a browser that prefers `languages`.
async fn ask(stack: &Stack, browser: &Browser, path: &str, languages: &str) -> Reply {
    let mut headers = HeaderMap::new();
    headers.insert(ACCEPT_LANGUAGE, HeaderValue::from_str(languages).unwrap());
    let url = format!("{}{path}", stack.urls().service_url);
    browser.send(Method::GET, &url, headers, String::new()).await
}

#[tokio::test]
async fn each_page_speaks_the_language_of_its_browser_or_its_link() {
    let stack = stack().await;
    let browser = Browser::new();
    let deletion = delete_data(&stack, &account(&stack, "ada")).await;
    let deleted = deletion["url"].as_str().unwrap().strip_prefix(&stack.urls().service_url).unwrap();
    for path in
        ["/connected", "/finishing", "/callback", "/authorize?x", "/nowhere", "/data-deletion/a", deleted]
    {
        assert_eq!(language(&ask(&stack, &browser, path, "").await), "en", "{path}");
        let header = "xx, zh-CN, zh-TW;q=0.9, en;q=0.8";
        assert_eq!(language(&ask(&stack, &browser, path, header).await), "zh-Hant", "{path}");
        let separator = if path.contains('?') { '&' } else { '?' };
        let linked = format!("{path}{separator}ui_locales=xx+ar-EG");
        assert_eq!(language(&ask(&stack, &browser, &linked, header).await), "ar", "{path}");
        let unknown = format!("{path}{separator}ui_locales=tlh");
        assert_eq!(language(&ask(&stack, &browser, &unknown, header).await), "zh-Hant", "{path}");
    }
    for (query, status) in [
        ("ui_locales=tlh", StatusCode::FOUND),
        ("ui_locales=", StatusCode::FOUND),
        ("ui_locales=ja;q=1", StatusCode::BAD_REQUEST),
        ("ui_locales=ja&ui_locales=ko", StatusCode::BAD_REQUEST),
    ] {
        let reply = ask(&stack, &browser, &format!("/authorize?{query}"), "").await;
        assert_eq!(reply.status, status, "{query}");
    }
}

/// The browser prefers another language all the way.
#[tokio::test]
async fn a_flow_keeps_the_language_of_its_link() {
    let stack = stack().await;
    let ada = account(&stack, "ada");
    let mut browser = Browser::new();
    let back = browser.consent(&stack, "ui_locales=sv+ko-KR", &ada).await;
    let denied = format!("/callback?error=access_denied&state={}", parameter(&back, "state"));
    let denied = ask(&stack, &browser, &denied, "fr").await;
    assert!(denied.is_page("denied") && language(&denied) == "ko", "{denied:?}");
    assert!(denied.body.contains("ui_locales=ko\""), "and so does another start: {denied:?}");

    for (failures, path) in [(0, "/connected"), (2, "/finishing")] {
        fail(&stack, SandboxCall::ExchangeLongLived, failures, respond(500, ""));
        let back = browser.consent(&stack, "ui_locales=th", &ada).await;
        let landed = browser.get(back.as_str()).await.location();
        assert_eq!((landed.path(), landed.query()), (path, Some("ui_locales=th")));
        let last = ask(&stack, &browser, &format!("{path}?{}", landed.query().unwrap()), "fr").await;
        assert_eq!(language(&last), "th");
    }
    assert_eq!(browser.connect(&stack, &ada).await.location().query(), None, "nobody has asked for one");
}

#[tokio::test]
async fn a_session_says_which_languages_its_person_reads() {
    let stack = stack().await;
    let create = async |ui_locales: Value| {
        let body = json!({"reference": "user-7", "return_to": "http://127.0.0.1:4000/done", "ui_locales": ui_locales});
        iam::call(&stack, Method::POST, "/sessions", &body.to_string()).await
    };
    let created = create(json!("sv ja-JP en")).await;
    assert_eq!(created.status, StatusCode::CREATED, "{created:?}");
    let id = serde_json::from_str::<Value>(&created.body).unwrap()["id"].as_str().unwrap().to_owned();
    let attribute = Attribute::UiLocales.as_str();
    let stored: Vec<_> = rows(&stack).await.iter().filter_map(|row| row.get(attribute).cloned()).collect();
    assert_eq!(stored.len(), 1);
    assert_eq!(stored[0].as_s().unwrap(), "sv ja-JP en");
    let mut browser = Browser::new();
    // A link may say what its session does not, and what the session says comes first.
    let ada = account(&stack, "ada");
    let flow = browser.consent(&stack, &format!("session={id}&ui_locales=de"), &ada).await;
    assert_eq!(browser.get(flow.as_str()).await.status, StatusCode::SEE_OTHER);
    let used = ask(&stack, &browser, &format!("/authorize?session={id}&ui_locales=de"), "fr").await;
    assert!(used.is_page("session_closed") && language(&used) == "ja", "{used:?}");

    for none in [json!(null), json!(""), json!("tlh")] {
        let created: Value = serde_json::from_str(&create(none.clone()).await.body).unwrap();
        stack.clock().advance(std::time::Duration::from_secs(1_801));
        let path = format!("/authorize?session={}", created["id"].as_str().unwrap());
        assert_eq!(language(&ask(&stack, &browser, &path, "fr").await), "fr", "{none}");
    }
    for bad in [json!("ja,en"), json!("日本語"), json!("a".repeat(129)), json!(["ja"]), json!(7)] {
        let refused = create(bad.clone()).await;
        assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{bad}: {refused:?}");
        assert!(!bad.is_string() || refused.body.contains("ui_locales has to be"), "{refused:?}");
    }
}

/// Its row is the same as that of the version before.
#[tokio::test]
async fn a_session_without_a_list_is_one_of_before() {
    let stack = stack().await;
    let now = stack.clock().now();
    let session = stack.service().create_session(new_session("user-7"), now).await.unwrap();
    assert_eq!(session.ui_locales, None);
    let attribute = Attribute::UiLocales.as_str();
    assert!(rows(&stack).await.iter().all(|row| !row.contains_key(attribute)));
}
