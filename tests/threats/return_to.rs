//! A person is sent back to listed addresses only.

use devstack::Stack;
use reqwest::StatusCode;
use reqwest::header::{LOCATION, SET_COOKIE};
use url::Url;

use crate::fixture::{Browser, stack, stack_with};

/// Sends a person to each of these addresses, and sees that nobody goes.
async fn nobody_goes(stack: &Stack, hostile: &[&str]) {
    let service = &stack.urls().service_url;
    for return_to in hostile {
        let mut url = Url::parse(&format!("{service}/authorize")).unwrap();
        url.query_pairs_mut().append_pair("return_to", return_to);
        let reply = Browser::new().get(url.as_str()).await;
        assert_eq!(reply.status, StatusCode::BAD_REQUEST, "{return_to:?}: {reply:?}");
        assert!(reply.is_page("return_to_refused"), "{return_to:?}: {reply:?}");
        assert!(reply.headers.get(LOCATION).is_none() && reply.headers.get(SET_COOKIE).is_none());
        assert!(!reply.body.contains("evil"));
    }
}

#[tokio::test]
async fn threat_open_redirects() {
    let listed = stack_with(&[("RETURN_TO_ALLOWLIST", "http://127.0.0.1:4000/")]).await;
    let hostile = [
        "https://evil.example/",
        "//evil.example/",
        "/\\evil.example",
        "http:evil.example",
        "http://127.0.0.1:4000@evil.example/",
        "http://127.0.0.1:4000.evil.example/",
        "http://127.0.0.1:40000/",
        "http://127.0.0.1/",
        "https://127.0.0.1:4000/",
        "http://127.0.0.1:4000\\@evil.example/",
        "http://user@127.0.0.1:4000/",
        "http://127.0.0.1:4000/#x",
        "http://127.0.0.1:4000/..%2f",
        "http://127.0.0.1:4000/%2e%2e/",
        "http://127.0.0.1:4000//evil.example",
        "http://127.0.0.1:4000/\r\nLocation: https://evil.example",
        "http://127.0.0.1:4000/\u{0}",
        "http://127.0.0.1:4000\t/",
        " http://127.0.0.1:4000/",
        "http://127.1:4000/",
        "http://0x7f000001:4000/",
        "http://2130706433:4000/",
        "http://localhost.:4000/",
        "http://[::1]:4000/",
        "http://１２７.0.0.1:4000/",
        "javascript:alert(1)",
        "data:text/html,x",
        "",
    ];
    nobody_goes(&listed, &hostile).await;
    // Development's own list has every port of this machine, and nothing else.
    let elsewhere = [
        "https://evil.example/",
        "http://evil.example:5173/",
        "http://localhost:5173@evil.example/",
        "http://localhost:5173.evil.example/",
        "http://localhost.evil.example:5173/",
        "http://localhost:*/",
        "http://localhost:5173\\@evil.example/",
        "http://localhost.:5173/",
        "http://evil.localhost:5173/",
        "http://127.0.0.2:5173/",
        "http://127.1:5173/",
        "http://2130706433:5173/",
        "http://0.0.0.0:5173/",
        "http://[::ffff:127.0.0.1]:5173/",
        "http://[::]:5173/",
        "http://192.168.0.1:5173/",
    ];
    nobody_goes(&stack().await, &elsewhere).await;
    let tried = hostile.len() + elsewhere.len();
    println!("threat open-redirect: {tried} hostile destinations over HTTP, 0 left the lists");
}
