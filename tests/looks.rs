//! Looks at accounts whose tokens are not due: `CHECK_EVERY_DAYS`.

use std::time::Duration;

use devstack::Stack;
use threads_auth::Status;
use threads_sandbox::{Inspection, SandboxCall};

use crate::events::{announced, types};
use crate::fixture::{Browser, DAY, account, calls, calls_of, grant, stack_with};

/// A stack with two connected accounts, ada's and grace's, and their user ids.
async fn connected(days: &str, allow: Inspection) -> (Stack, String, String) {
    let stack = stack_with(&[("CHECK_EVERY_DAYS", days), ("AUTHORIZE_ACCESS", "open")]).await;
    stack.sandbox().unwrap().set_inspection(allow);
    let people = ["ada", "grace"].map(|name| account(&stack, name));
    for user_id in &people {
        Browser::new().connect(&stack, user_id).await;
    }
    let [ada, grace] = people;
    (stack, ada, grace)
}

/// Sweeps when the account's next look is due, which is at most so many days ahead.
async fn look(stack: &Stack, user_id: &str, days: u32) {
    let (now, due) = (stack.clock().now(), grant(stack, user_id).await.due_at.unwrap());
    let wait = Duration::try_from(due.duration_since(now)).unwrap_or_default();
    assert!(wait <= days * DAY, "{wait:?}");
    stack.clock().advance(wait);
    stack.sweep().await.unwrap();
}

/// The sandbox sends no message about it, and no backend says that its token was refused.
#[tokio::test]
async fn an_end_at_meta_is_announced_within_the_chosen_days() {
    for (days, number, allow) in [
        ("1", 1, Inspection::TestersAndApp),
        ("7", 7, Inspection::TestersAndApp),
        ("7", 7, Inspection::Nobody),
    ] {
        let (stack, ada, grace) = connected(days, allow).await;
        let mut seen = 0;
        announced(&stack, &mut seen).await;
        stack.sandbox().unwrap().revoke(&ada);
        look(&stack, &ada, number).await;
        let events = announced(&stack, &mut seen).await;
        assert_eq!(types(&events), ["account.needs_reauthorization"]);
        assert_eq!(
            (&events[0]["cause"], &events[0]["user_id"]),
            (&"app_removed".into(), &ada.as_str().into())
        );
        // The looks at another account go on, and an end between two of them is found by the next.
        for _ in 0..3 {
            look(&stack, &grace, number).await;
        }
        assert!(announced(&stack, &mut seen).await.is_empty());
        stack.sandbox().unwrap().change_password(&grace);
        look(&stack, &grace, number).await;
        let events = announced(&stack, &mut seen).await;
        assert_eq!(
            (types(&events), &events[0]["cause"]),
            (vec!["account.needs_reauthorization"], &"password_changed".into())
        );
    }
}

#[tokio::test]
async fn a_look_is_one_call_and_changes_nothing() {
    for allow in [Inspection::TestersAndApp, Inspection::Nobody] {
        let (stack, ada, grace) = connected("7", allow).await;
        let mut seen = 0;
        announced(&stack, &mut seen).await;
        let before = (calls(&stack), calls_of(&stack, SandboxCall::DebugToken));
        let token = grant(&stack, &ada).await.live().unwrap().token.clone();
        let until = stack.clock().now() + 24 * DAY;
        while stack.clock().now() < until {
            for user_id in [&ada, &grace] {
                look(&stack, user_id, 7).await;
            }
        }
        assert_eq!(calls_of(&stack, SandboxCall::Refresh), 0);
        let looks = calls(&stack) - before.0;
        let inspections = calls_of(&stack, SandboxCall::DebugToken) - before.1;
        // Three to five looks at each of two accounts, every 6.3 to 7 days. No token is due so early.
        let per_look = if allow == Inspection::Nobody { looks - inspections } else { looks };
        assert!((6..=10).contains(&per_look), "{looks} calls, {inspections} of them inspections");
        assert!(announced(&stack, &mut seen).await.is_empty());
        for user_id in [&ada, &grace] {
            assert_eq!(grant(&stack, user_id).await.status(), Status::Active);
        }
        assert_eq!(grant(&stack, &ada).await.live().unwrap().token, token);
    }
}

/// Its absence is the default: nobody is called for an account that is not due.
#[tokio::test]
async fn without_the_setting_an_end_at_meta_waits_for_the_refresh() {
    let (stack, ada, _) = connected("", Inspection::TestersAndApp).await;
    stack.sandbox().unwrap().revoke(&ada);
    let before = calls(&stack);
    for _ in 0..33 {
        stack.clock().advance(DAY);
        stack.sweep().await.unwrap();
    }
    assert_eq!((calls(&stack), grant(&stack, &ada).await.status()), (before, Status::Active));
    stack.clock().advance(7 * DAY);
    stack.sweep().await.unwrap();
    assert_eq!(grant(&stack, &ada).await.status(), Status::NeedsReauthorization);
}
