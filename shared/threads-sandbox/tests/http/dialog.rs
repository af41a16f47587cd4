//! The authorize dialog: what it refuses, what it shows, and where it sends the browser.

use reqwest::Method;
use reqwest::header::{CONTENT_TYPE, HOST};
use threads_sandbox::{NewAccount, RedirectEnding, SandboxCall};
use url::Url;

use crate::support::{ADA, APP_ID, Server, URI, encode, options, with};

const ASK: [(&str, &str); 5] = [
    ("client_id", APP_ID),
    ("redirect_uri", URI),
    ("response_type", "code"),
    ("scope", "threads_basic,threads_content_publish"),
    ("state", "a state/with+odd=signs&more"),
];

const DECISION: [(&str, &str); 6] = [
    ("client_id", APP_ID),
    ("redirect_uri", URI),
    ("scope", "threads_basic"),
    ("state", "s"),
    ("user_id", ADA),
    ("action", "allow"),
];

fn query(location: &str) -> Vec<(String, String)> {
    Url::parse(location).unwrap().query_pairs().into_owned().collect()
}

#[tokio::test]
async fn the_consent_page_asks_for_the_scopes_and_offers_the_accounts() {
    let server = Server::start().await;
    let page = server.get("/oauth/authorize", &ASK).await;
    assert_eq!(page.status, 200);
    assert!(page.header("content-type").starts_with("text/html"));
    assert!(page.header("content-security-policy").contains("style-src 'sha256-"));
    // An app may have opened it in a window, and waits for the outcome.
    assert!(!page.headers.contains_key("cross-origin-opener-policy"));
    for part in [
        "a stand-in for Meta, not Threads",
        "threads_content_publish",
        "@ada",
        &format!(r#"name="user_id" value="{ADA}" checked"#),
        r#"id="allow""#,
        r#"id="deny""#,
        r#"value="a state/with+odd=signs&amp;more""#,
    ] {
        assert!(page.text.contains(part), "{part} is missing in {}", page.text);
    }
    assert!(!page.text.contains("threads_delete"));
}

#[tokio::test]
async fn what_meta_never_redirects_is_shown_as_json_with_its_code() {
    let server = Server::start_with(threads_sandbox::SandboxOptions {
        redirect_uris: vec![URI.to_owned(), "http://app.example/".to_owned()],
        ..options()
    })
    .await;
    for (name, value, code) in [
        ("client_id", "", 4_476_002),
        ("client_id", "my-app", 4_476_002),
        ("client_id", "999", 1_349_026),
        ("redirect_uri", "https://app.example/callback/", 1_349_168),
        ("redirect_uri", "", 1_349_168),
        ("redirect_uri", "http://app.example/", 1_349_187),
        ("response_type", "token", 100),
        ("scope", "threads_content_publish", 100),
        ("scope", "threads_basic,publish", 100),
        ("scope", "", 100),
    ] {
        let got = server.get("/oauth/authorize", &with(ASK, name, value)).await;
        assert_eq!((got.status, got.json()["error_code"].as_u64()), (400, Some(code)), "{name}={value}");
        assert!(got.json()["error_message"].is_string());
        assert!(!got.headers.contains_key("location"));
    }
    // Absent, it is "code".
    let got = server.get("/oauth/authorize", &[&ASK[..2], &ASK[3..]].concat()).await;
    assert!(got.status == 200 && got.text.contains(r#"id="allow""#));
}

#[tokio::test]
async fn allow_returns_a_code_the_state_and_metas_fragment() {
    let server = Server::start().await;
    let state = "a state/with+odd=signs&more";
    let got = server.post_form("/oauth/consent", &with(DECISION, "state", state)).await;
    assert_eq!(got.status, 302);
    let location = got.header("location");
    assert!(location.starts_with(&format!("{URI}?code=AQB")) && location.ends_with("#_"), "{location}");
    let query = query(location);
    assert_eq!(query[1], ("state".to_owned(), state.to_owned()));
    assert_eq!(server.exchange_code(&query[0].1).await.status, 200);
}

#[tokio::test]
async fn the_ending_can_reach_the_server_in_the_state_or_the_code() {
    let server = Server::start().await;
    for (ending, text) in [(RedirectEnding::Encoded, "#_"), (RedirectEnding::EncodedLong, "#_=_")] {
        server.sandbox.set_redirect_ending(ending);
        let posted = server.post_form("/oauth/consent", &with(DECISION, "state", "s")).await;
        let query = query(posted.header("location"));
        assert_eq!(query[1], ("state".to_owned(), format!("s{text}")));
        assert_eq!(server.exchange_code(&query[0].1).await.status, 200);
        let bare = server.get("/oauth/authorize", &[&ASK[..4], &[("auto_approve", ADA)]].concat()).await;
        assert!(self::query(bare.header("location"))[0].1.ends_with(text), "{bare:?}");
    }
}

#[tokio::test]
async fn a_slash_that_the_dashboard_has_added_is_part_of_the_redirect_uri() {
    let with_slash = "https://app.example/callback/";
    let server = Server::start_with(threads_sandbox::SandboxOptions {
        redirect_uris: vec![with_slash.to_owned()],
        ..options()
    })
    .await;
    let ask = [&ASK[..], &[("auto_approve", ADA)]].concat();
    let without = server.get("/oauth/authorize", &ask).await;
    assert_eq!((without.status, without.json()["error_code"].as_u64()), (400, Some(1_349_168)));
    let asked = [&with(ASK, "redirect_uri", with_slash)[..], &[("auto_approve", ADA)]].concat();
    let got = server.get("/oauth/authorize", &asked).await;
    assert!(got.header("location").starts_with("https://app.example/callback/?code="), "{got:?}");
}

#[tokio::test]
async fn deny_returns_no_state() {
    let server = Server::start().await;
    let wanted = format!(
        "{URI}?error=access_denied&error_reason=user_denied&error_description=The+user+denied+your+request"
    );
    let posted = server.post_form("/oauth/consent", &with(DECISION, "action", "deny")).await;
    assert_eq!((posted.status, posted.header("location")), (302, &*wanted));
    let shortcut = [&ASK[..], &[("auto_deny", "1")]].concat();
    let got = server.get("/oauth/authorize", &shortcut).await;
    assert_eq!((got.status, got.header("location")), (302, &*wanted));
}

#[tokio::test]
async fn the_shortcut_approves_at_once_and_keeps_a_query_that_was_there() {
    let server = Server::start().await;
    let asked = with(ASK, "redirect_uri", "https://app.example/callback?tenant=7");
    let got = server.get("/oauth/authorize", &[&asked[..], &[("auto_approve", ADA)]].concat()).await;
    assert_eq!(got.status, 302);
    assert!(got.header("location").starts_with("https://app.example/callback?tenant=7&code=AQB"));
    let calls = server.sandbox.calls();
    assert_eq!((calls[0].call, calls[0].user_id.as_deref()), (SandboxCall::Authorize, Some(ADA)));

    let unknown = server.get("/oauth/authorize", &[&ASK[..], &[("auto_approve", "7")]].concat()).await;
    assert_eq!((unknown.status, unknown.json()["error_code"].as_u64()), (400, Some(0)));
}

#[tokio::test]
async fn a_request_without_state_gets_none_back() {
    let server = Server::start().await;
    let got = server.get("/oauth/authorize", &[&ASK[..4], &[("auto_approve", ADA)]].concat()).await;
    assert!(!got.header("location").contains("state"), "{got:?}");
}

#[tokio::test]
async fn a_name_makes_a_new_account_or_finds_the_one_that_has_it() {
    let server = Server::start().await;
    let named = [&with(DECISION, "user_id", "")[..], &[("username", "@bea")]].concat();
    for _ in 0..2 {
        assert_eq!(server.post_form("/oauth/consent", &named).await.status, 302);
    }
    let accounts: Vec<String> =
        server.sandbox.accounts().into_iter().map(|account| account.username).collect();
    assert_eq!(accounts, ["ada", "bea"]);
    let bad = [&DECISION[..], &[("username", "no spaces")]].concat();
    assert_eq!(server.post_form("/oauth/consent", &bad).await.status, 400);
    assert_eq!(server.sandbox.accounts().len(), 2);
}

#[tokio::test]
async fn a_tester_who_has_not_accepted_cannot_authorize_until_then() {
    let server = Server::start().await;
    assert!(server.sandbox.set_tester_pending(ADA, true));
    let got = server.post_form("/oauth/consent", &DECISION).await;
    assert_eq!((got.status, got.json()["error_code"].as_u64()), (400, Some(1_349_245)));
    assert!(server.sandbox.set_tester_pending(ADA, false));
    assert_eq!(server.post_form("/oauth/consent", &DECISION).await.status, 302);
}

#[tokio::test]
async fn the_form_is_checked_again_since_anyone_may_post_it() {
    let server = Server::start_with(threads_sandbox::SandboxOptions {
        redirect_uris: vec![URI.to_owned()],
        ..options()
    })
    .await;
    for (name, value) in [
        ("client_id", "1"),
        ("redirect_uri", "https://evil.example/"),
        ("scope", "threads_delete"),
        ("user_id", "7"),
        ("action", "maybe"),
    ] {
        let got = server.post_form("/oauth/consent", &with(DECISION, name, value)).await;
        assert_eq!(got.status, 400, "{name}={value}");
        assert!(!got.headers.contains_key("location"));
    }
}

#[tokio::test]
async fn a_foreign_page_cannot_press_allow() {
    let server = Server::start().await;
    let post = || {
        let request = server.request(Method::POST, "/oauth/consent");
        request.header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(encode(&DECISION))
    };
    let cross_site = server.send(post().header("sec-fetch-site", "cross-site")).await.unwrap();
    let rebound = server.send(post().header(HOST, "evil.example")).await.unwrap();
    let foreign = server.send(post().header("origin", "https://evil.example")).await.unwrap();
    assert_eq!([cross_site.status, rebound.status, foreign.status], [403; 3]);
    let own = server.send(post().header("sec-fetch-site", "same-origin").header("origin", "null")).await;
    assert_eq!(own.unwrap().status, 302);
}

#[tokio::test]
async fn what_people_typed_is_escaped() {
    let server = Server::start().await;
    server.sandbox.add_account(NewAccount {
        username: "<script>alert(1)</script>".to_owned(),
        ..NewAccount::default()
    });
    let page = server.get("/oauth/authorize", &with(ASK, "state", "\"><script>")).await;
    let index = server.get("/", &[]).await;
    assert!(!page.text.contains("<script") && !index.text.contains("<script"));
    assert!(index.text.contains("&lt;script&gt;") && index.text.contains("@ada"));
}
