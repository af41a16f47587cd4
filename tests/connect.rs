//! Connecting: what a person and an app's backend see.

use reqwest::StatusCode;
use threads_auth::grant::Status;

use crate::fixture::{Browser, account, grant, stack};

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
