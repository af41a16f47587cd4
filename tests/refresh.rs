//! Refreshing: what a sweep does to every kind of grant.

use threads_auth::grant::Status;

use crate::fixture::{Browser, DAY, account, grant, stack};

#[tokio::test]
async fn two_accounts_live_for_years() {
    let stack = stack().await;
    let people = [account(&stack, "ada"), account(&stack, "grace")];
    for person in &people {
        Browser::new().connect(&stack, person).await;
    }
    stack.clock().advance(41 * DAY);
    let report = stack.sweep().await.unwrap();
    assert_eq!(report.count("refreshed"), 2, "{report:?}");
    for _ in 0..2 * 52 {
        stack.clock().advance(7 * DAY);
        stack.sweep().await.unwrap();
    }
    for person in &people {
        let grant = grant(&stack, person).await;
        assert_eq!(grant.status, Status::Active);
        assert!(grant.token.unwrap().expires_at > stack.clock().now());
    }
}
