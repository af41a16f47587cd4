//! Who may ask Meta about tokens, as an operator wants to know it.

use devstack::Stack;
use threads_auth::{Caller, Inspections};
use threads_sandbox::{FaultAction, Inspection, SandboxCall};

use crate::fixture::{Browser, account, fail, stack};

async fn inspections(stack: &Stack) -> Inspections {
    stack.service().inspections(stack.clock().now()).await
}

#[tokio::test]
async fn it_is_told_who_may_ask_meta() {
    let asked = async |allow| {
        let stack = stack().await;
        let ada = account(&stack, "ada");
        assert_eq!(inspections(&stack).await, Inspections::NothingToAsk);
        stack.sandbox().unwrap().set_inspection(allow);
        Browser::new().connect(&stack, &ada).await;
        inspections(&stack).await
    };
    assert_eq!(asked(Inspection::App).await, Inspections::TakenBy(Caller::App));
    assert_eq!(asked(Inspection::Nobody).await, Inspections::RefusedToAll);
    // Nobody has named the tester.
    assert_eq!(asked(Inspection::Testers).await, Inspections::RefusedToAll);
}

/// What is Meta's own trouble is no refusal.
#[tokio::test]
async fn an_outage_does_not_tell_who_may_ask() {
    let stack = stack().await;
    let ada = account(&stack, "ada");
    Browser::new().connect(&stack, &ada).await;
    fail(&stack, SandboxCall::DebugToken, u32::MAX, FaultAction::Html);
    assert_eq!(inspections(&stack).await, Inspections::Unknown);
    stack.sandbox().unwrap().clear_faults();
    assert_eq!(inspections(&stack).await, Inspections::TakenBy(Caller::App));
}
