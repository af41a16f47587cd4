//! The permission to inspect tokens at Meta, and the further findings of the inspector's account.

use std::time::Duration;

use devstack::Stack;
use serde_json::{Value, json};
use threads_auth::{Caller, Inspections};
use threads_sandbox::{FaultAction, Inspection, SandboxCall};

use crate::fixture::{
    Browser, DAY, account, calls_of, connected_ada, fail, grant, http, respond, secret_text, stack,
    stack_with,
};

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

/// A failure of Meta's is not a refusal.
#[tokio::test]
async fn an_outage_does_not_tell_who_may_ask() {
    let (stack, _) = connected_ada().await;
    fail(&stack, SandboxCall::DebugToken, u32::MAX, FaultAction::Html);
    assert_eq!(inspections(&stack).await, Inspections::Unknown);
    stack.sandbox().unwrap().clear_faults();
    assert_eq!(inspections(&stack).await, Inspections::TakenBy(Caller::App));
}

/// A stack whose inspector is ada, and her user id. She is a tester, and only testers may ask.
async fn inspected() -> (Stack, String) {
    let stack = stack_with(&[("SECRETS_TTL_SECONDS", "1")]).await;
    let ada = account(&stack, "ada");
    let sandbox = stack.sandbox().unwrap();
    sandbox.set_inspection(Inspection::Testers);
    Browser::new().connect(&stack, &ada).await;
    sandbox.set_tester(&ada, true);
    let id = &stack.urls().app_secret_id;
    let mut secret: Value = serde_json::from_str(&secret_text(&stack, id).await).unwrap();
    secret["inspector"] = json!(ada);
    let client = threads_auth_store::aws::secrets_manager(&stack.service().config().aws, &http());
    client.put_secret_value().secret_id(id).secret_string(secret.to_string()).send().await.unwrap();
    // By then the cached refusal of every caller has expired.
    stack.clock().advance(Duration::from_hours(1));
    sandbox.clear_calls();
    (stack, ada)
}

fn asked(stack: &Stack) -> [usize; 3] {
    [SandboxCall::Authorize, SandboxCall::Me, SandboxCall::DebugToken].map(|call| calls_of(stack, call))
}

#[tokio::test]
async fn an_inspector_is_the_caller_whom_meta_takes() {
    let (stack, ada) = inspected().await;
    assert_eq!(inspections(&stack).await, Inspections::TakenBy(Caller::Inspector));
    let grace = account(&stack, "grace");
    Browser::new().connect(&stack, &grace).await;
    assert_eq!(grant(&stack, &grace).await.scopes_source, threads_auth::ScopesSource::Granted);
    stack.service().disconnect(&ada.parse().unwrap(), stack.clock().now()).await.unwrap();
    assert_eq!(inspections(&stack).await, Inspections::EndedInspector(ada.parse().unwrap()));
}

#[tokio::test]
async fn drift_is_looked_for_once_a_day() {
    let (stack, _) = inspected().await;
    for (hours, looks) in [(0, 1), (1, 1), (22, 1), (1, 2), (12, 2), (12, 3)] {
        stack.clock().advance(Duration::from_hours(hours));
        let report = stack.sweep().await.unwrap();
        assert_eq!(report.drift, [""; 0]);
        // Without drift the report has no such field.
        assert!(serde_json::to_value(&report).unwrap().get("drift").is_none());
        assert_eq!(asked(&stack), [looks; 3], "{hours}");
    }
    // Of several concurrent sweeps, one makes the check.
    stack.clock().advance(DAY);
    let sweeps = futures_util::future::join_all((0..5).map(|_| stack.sweep())).await;
    assert!(sweeps.iter().all(Result::is_ok));
    assert_eq!(asked(&stack), [4; 3]);
    // A single failure of the page is no drift.
    stack.clock().advance(DAY);
    fail(&stack, SandboxCall::Authorize, 1, respond(503, "no"));
    assert_eq!(stack.sweep().await.unwrap().drift, [""; 0]);
    assert_eq!(asked(&stack), [6, 5, 5]);
    // An operator can check at any time, which does not replace the check by the sweeps.
    let now = stack.clock().now();
    assert_eq!(stack.service().drift(now).await.unwrap(), Some(Vec::new()));
    assert_eq!(asked(&stack), [7, 6, 6]);
}

#[tokio::test]
async fn without_an_inspector_drift_costs_nothing() {
    let (stack, _) = connected_ada().await;
    stack.sandbox().unwrap().clear_calls();
    let before = crate::fixture::rows(&stack).await.len();
    assert_eq!(stack.sweep().await.unwrap().drift, [""; 0]);
    assert_eq!(asked(&stack), [0; 3]);
    assert_eq!(crate::fixture::rows(&stack).await.len(), before);
    assert_eq!(stack.service().drift(stack.clock().now()).await.unwrap(), None);
}

#[tokio::test]
async fn what_an_app_lives_on_is_drift_when_it_is_gone() {
    let (stack, _) = inspected().await;
    let location = ("location".to_owned(), "https://new.example/?access_token=CANARY".to_owned());
    let moved =
        |status| FaultAction::Respond { status, body: String::new(), headers: vec![location.clone()] };
    let info =
        r#"{"data":{"is_valid":true,"scopes":["threads_basic"],"user_id":"1","issued_at":1,"brand_new":1}}"#;
    let refused = r#"{"error":{"message":"(#100) no","type":"OAuthException","code":100}}"#;
    let unknown = r#"{"error":{"message":"Unknown path components","type":"OAuthException","code":2500}}"#;
    let to_new = "Meta has moved: it redirects to the host new.example";
    for (call, action, expected) in [
        (SandboxCall::Authorize, moved(301), vec![to_new]),
        (SandboxCall::Authorize, moved(302), vec![]),
        (SandboxCall::Authorize, respond(404, "gone"), vec![]),
        (SandboxCall::Authorize, respond(503, "no"), vec!["authorization_page: "]),
        (SandboxCall::Authorize, FaultAction::Drop, vec!["authorization_page: "]),
        (SandboxCall::Me, moved(308), vec![to_new]),
        (SandboxCall::Me, respond(200, r#"{"id":"1"}"#), vec!["me: the answer lacks username"]),
        (SandboxCall::Me, respond(400, unknown), vec!["me: Meta refused the request"]),
        (SandboxCall::Me, FaultAction::Html, vec![]),
        (SandboxCall::DebugToken, moved(301), vec![to_new]),
        (
            SandboxCall::DebugToken,
            respond(200, info),
            vec![
                "debug_token: the answer lacks data_access_expires_at",
                "debug_token: the answer lacks expires_at",
            ],
        ),
        // The permission to inspect is another matter.
        (SandboxCall::DebugToken, respond(400, refused), vec![]),
    ] {
        stack.clock().advance(DAY);
        // A failure is checked twice, and so is a refusal of the caller.
        fail(&stack, call, 2, action.clone());
        let report = stack.sweep().await.unwrap();
        assert_eq!(report.drift.len(), expected.len(), "{action:?}: {:?}", report.drift);
        for (found, expected) in report.drift.iter().zip(expected) {
            assert!(found.contains(expected) && !found.contains("CANARY"), "{found}");
        }
        stack.sandbox().unwrap().clear_faults();
    }
}
