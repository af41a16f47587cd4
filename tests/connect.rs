//! Connecting: what a person and an app's backend see.

use reqwest::StatusCode;
use threads_auth::grant::Status;

use crate::fixture::{Browser, account, calls, find_grant, grant, stack};

#[tokio::test]
async fn a_person_connects() {
    let stack = stack().await;
    let ada = account(&stack, "ada");
    let reply = Browser::new().connect(&stack, &ada).await;
    assert_eq!(reply.status, StatusCode::SEE_OTHER, "{reply:?}");
    assert_eq!(reply.location().path(), "/connected");
    assert_eq!(reply.location().query(), None);
    let grant = grant(&stack, &ada).await;
    assert_eq!(grant.status, Status::Active);
    assert_eq!(grant.username.as_deref(), Some("ada"));
}

#[tokio::test]
async fn another_browser_gets_a_page_and_meta_no_call() {
    let stack = stack().await;
    let ada = account(&stack, "ada");
    let back = Browser::new().consent(&stack, "", &ada).await;
    let reply = Browser::new().get(back.as_str()).await;
    assert_eq!(reply.status, StatusCode::BAD_REQUEST);
    assert!(reply.is_page("wrong_browser"), "{}", reply.body);
    assert!(reply.body.contains("href=\"/authorize\""));
    assert_eq!(calls(&stack), 0);
    assert!(find_grant(&stack, &ada).await.is_none());
}

#[tokio::test]
async fn a_callback_works_once() {
    let stack = stack().await;
    let ada = account(&stack, "ada");
    let mut browser = Browser::new();
    let back = browser.consent(&stack, "", &ada).await;
    assert_eq!(browser.get(back.as_str()).await.status, StatusCode::SEE_OTHER);
    let again = browser.get(back.as_str()).await;
    assert_eq!(again.status, StatusCode::CONFLICT);
    assert!(again.is_page("replayed"));
}
