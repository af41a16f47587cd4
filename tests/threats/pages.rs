//! Every page has its headers, and repeats nothing of a hostile query.

use std::collections::BTreeSet;
use std::time::Duration;

use reqwest::header::HeaderMap;
use reqwest::{Method, StatusCode};
use threads_sandbox::{FaultAction, SandboxCall};

use super::common::{assert_untouched, cookies, invoke};
use crate::fixture::{Browser, Reply, account, fail, parameter, stack, stack_of_ada};

fn assert_secure(reply: &Reply) {
    // A redirect keeps a window with who has opened it; a page of ours does not.
    let is_redirect = reply.status.is_redirection();
    let opener = reply.headers.get("cross-origin-opener-policy").map(|policy| policy.to_str().unwrap());
    assert_eq!(opener, (!is_redirect).then_some("same-origin"), "{reply:?}");
    for (name, expected) in [
        ("cache-control", "no-store"),
        ("referrer-policy", "no-referrer"),
        ("strict-transport-security", "max-age=63072000; includeSubDomains"),
        ("x-content-type-options", "nosniff"),
        ("x-frame-options", "DENY"),
    ] {
        let values: Vec<_> = reply.headers.get_all(name).iter().collect();
        assert_eq!(values, [expected], "{name}: {reply:?}");
    }
    let policy = reply.headers["content-security-policy"].to_str().unwrap();
    assert!(
        policy.starts_with("default-src 'none';") && policy.contains("frame-ancestors 'none'"),
        "{policy}"
    );
    assert!(!policy.contains("unsafe"));
}

#[tokio::test]
async fn threat_headers_on_every_response() {
    let stack = stack().await;
    let (service, ada) = (stack.urls().service_url.clone(), account(&stack, "ada"));
    let mut browser = Browser::new();
    let mut replies = Vec::new();
    for path in [
        "/authorize",
        "/authorize?return_to=https://evil.example",
        "/authorize?session=abcdefghijklmnopqrstuvwxyz012345",
        "/authorize?x",
        "/callback",
        "/callback?code=a&state=b",
        "/callback?error=access_denied",
        "/connected",
        "/finishing",
        "/nowhere",
        "/favicon.ico",
        "/robots.txt",
        "/authorize/",
        "//callback",
    ] {
        replies.push(browser.get(&format!("{service}{path}")).await);
    }
    for method in [Method::POST, Method::PUT, Method::DELETE, Method::OPTIONS, Method::HEAD] {
        for path in ["/authorize", "/callback"] {
            replies.push(
                browser
                    .send(method.clone(), &format!("{service}{path}"), HeaderMap::new(), String::new())
                    .await,
            );
        }
    }
    let back = browser.consent(&stack, "", &ada).await;
    replies.push(browser.get(back.as_str()).await);
    replies.push(browser.get(back.as_str()).await);
    let late = browser.consent(&stack, "", &ada).await;
    stack.clock().advance(Duration::from_mins(11));
    replies.push(browser.get(late.as_str()).await);
    fail(&stack, SandboxCall::ExchangeCode, 2, FaultAction::Html);
    replies.push(browser.connect(&stack, &ada).await);
    let mut huge = HeaderMap::new();
    huge.insert("x-padding", "x".repeat(11_000).parse().unwrap());
    replies.push(browser.send(Method::GET, &format!("{service}/callback"), huge, String::new()).await);
    replies.iter().for_each(assert_secure);
    let statuses: BTreeSet<_> = replies.iter().map(|reply| reply.status.as_u16()).collect();
    println!(
        "threat leaked-code: {0} of {0} responses with all headers, statuses {statuses:?}",
        replies.len()
    );
    for status in [200, 302, 303, 400, 403, 404, 409, 410, 431, 503] {
        assert!(statuses.contains(&status), "{status} is not among {statuses:?}");
    }
}

#[tokio::test]
async fn threat_hostile_errors_are_not_reflected() {
    let (stack, ada) = stack_of_ada().await;
    let mut browser = Browser::new();
    let back = browser.consent(&stack, "", &ada).await;
    let (state, jar) = (parameter(&back, "state"), cookies(&browser));
    let hostile = [
        "zq9x",
        "<script>zq9x</script>",
        "\"><img src=x onerror=zq9x>",
        "'-alert(zq9x)-'",
        "javascript:zq9x",
        "{{zq9x}}",
        "zq9x\r\nSet-Cookie: zq9x=1",
        "</style><b>zq9x",
        "%3Cb%3Ezq9x",
        "access_denied zq9x",
        "\u{202e}zq9x",
        "zq9x https://evil.example",
    ];
    let (mut tried, mut reflected) = (0, 0);
    for text in hostile {
        for name in [
            "error",
            "error_reason",
            "error_description",
            "error_code",
            "error_message",
            "code",
            "state",
            "x",
        ] {
            for own in [None, Some(&state)] {
                let mut query = url::form_urlencoded::Serializer::new(String::new());
                if name != "error" && name != "code" {
                    query.append_pair("error", "access_denied");
                }
                query.append_pair(name, text);
                if let Some(state) = own.filter(|_| name != "state" && name != "code") {
                    query.append_pair("state", state);
                }
                let query = query.finish();
                let jar = if own.is_some() { jar.as_slice() } else { &[] };
                for path in ["/callback", "/authorize"] {
                    let reply = invoke(&stack, path, &query, jar).await;
                    assert!(reply.status.is_client_error(), "{query}: {reply:?}");
                    tried += 1;
                    reflected += usize::from(format!("{reply:?}").contains("zq9x"));
                }
            }
        }
    }
    println!("threat reflected-text: {tried} hostile errors, {reflected} reflected");
    assert_eq!(reflected, 0);
    assert_untouched(&stack).await;
    // A forged denial ends nothing: the flow is still good.
    assert_eq!(invoke(&stack, "/callback", back.query().unwrap(), &jar).await.status, StatusCode::SEE_OTHER);
}
