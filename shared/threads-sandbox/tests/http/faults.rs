//! Each fault, as the client meets it, and whether the operation ran behind it.

use std::time::Duration;

use threads_sandbox::{Fault, FaultAction, OldToken, SandboxCall};

use crate::support::{ADA, DAY, Server, code_form};

fn once(call: SandboxCall, action: FaultAction) -> Fault {
    Fault { call: Some(call), times: 1, after: 0, action, user_id: None }
}

/// A server with a token that is old enough to be refreshed. A refresh ends the old token, which
/// shows if the operation ran.
async fn refreshable() -> (Server, String) {
    let server = Server::start().await;
    server.sandbox.set_old_token_behaviour(OldToken::NewTokenOldDead);
    let token = server.sandbox.issue_long_lived(ADA);
    server.advance(DAY);
    (server, token)
}

#[tokio::test]
async fn a_scripted_answer_is_sent_as_it_is_and_nothing_is_done() {
    let (server, token) = refreshable().await;
    server.sandbox.inject(once(
        SandboxCall::Refresh,
        FaultAction::Respond {
            status: 503,
            body: "not even JSON".to_owned(),
            headers: vec![
                ("content-type".to_owned(), "text/plain".to_owned()),
                ("x-fb-debug".to_owned(), "abc".to_owned()),
            ],
        },
    ));
    let got = server.refresh(&token).await;
    assert_eq!((got.status, &*got.text), (503, "not even JSON"));
    assert_eq!((got.header("content-type"), got.header("x-fb-debug")), ("text/plain", "abc"));
    assert_eq!(server.refresh(&token).await.status, 200);
}

#[tokio::test]
async fn a_graph_error_carries_any_code() {
    let (server, token) = refreshable().await;
    let action = FaultAction::GraphError {
        code: 1_349_245,
        subcode: Some(2_207_051),
        is_transient: true,
        status: 500,
    };
    server.sandbox.inject(once(SandboxCall::Refresh, action));
    let got = server.refresh(&token).await;
    assert_eq!((got.status, got.error()), (500, (1_349_245, Some(2_207_051))));
    assert_eq!(got.json()["error"]["is_transient"], true);
    assert_eq!(server.refresh(&token).await.status, 200);
}

#[tokio::test]
async fn a_throttle_says_when_to_come_back_if_told_to() {
    let (server, token) = refreshable().await;
    server.sandbox.inject(once(SandboxCall::Refresh, FaultAction::Throttle { retry_after: Some(30) }));
    server.sandbox.inject(once(SandboxCall::Refresh, FaultAction::Throttle { retry_after: None }));
    let got = server.refresh(&token).await;
    assert_eq!((got.status, got.error(), got.header("retry-after")), (429, (4, None), "30"));
    let got = server.refresh(&token).await;
    assert!(got.status == 429 && !got.headers.contains_key("retry-after"));
    assert_eq!(server.refresh(&token).await.status, 200);
}

#[tokio::test]
async fn a_dropped_call_did_nothing() {
    let (server, token) = refreshable().await;
    server.sandbox.inject(once(SandboxCall::Refresh, FaultAction::Drop));
    assert!(server.try_refresh(&token).await.unwrap_err().is_request());
    let lost = server.sandbox.calls().pop().unwrap();
    assert_eq!((lost.status, lost.acted, lost.fault), (0, false, Some("drop")));
    assert_eq!(server.refresh(&token).await.status, 200);
}

#[tokio::test]
async fn a_call_dropped_after_acting_did_it_all() {
    let (server, token) = refreshable().await;
    server.sandbox.inject(once(SandboxCall::Refresh, FaultAction::DropAfter));
    assert!(server.try_refresh(&token).await.unwrap_err().is_request());
    let lost = server.sandbox.calls().pop().unwrap();
    assert_eq!((lost.status, lost.acted, lost.fault), (0, true, Some("drop_after")));
    assert_eq!(server.refresh(&token).await.error(), (190, Some(467)));

    let code = server.code();
    server.sandbox.inject(once(SandboxCall::ExchangeCode, FaultAction::DropAfter));
    assert!(server.try_post_form("/oauth/access_token", &code_form(&code)).await.is_err());
    assert_eq!(server.exchange_code(&code).await.json()["code"], 400);
}

#[tokio::test]
async fn a_cut_answer_has_its_head_and_not_its_end() {
    let (server, token) = refreshable().await;
    server.sandbox.inject(once(SandboxCall::Refresh, FaultAction::Truncate));
    let error = server.try_refresh(&token).await.unwrap_err();
    // The head came, with its status; the body is what failed.
    assert!(!error.is_request() && (error.is_body() || error.is_decode()), "{error:?}");
    let cut = server.sandbox.calls().pop().unwrap();
    assert_eq!((cut.status, cut.acted), (200, true));
    assert_eq!(server.refresh(&token).await.error(), (190, Some(467)));
}

#[tokio::test]
async fn html_and_nothing_at_all() {
    let (server, token) = refreshable().await;
    server.sandbox.inject(once(SandboxCall::Refresh, FaultAction::Html));
    server.sandbox.inject(once(SandboxCall::Refresh, FaultAction::Empty));
    let html = server.refresh(&token).await;
    assert_eq!((html.status, html.header("content-type")), (502, "text/html; charset=utf-8"));
    assert!(html.text.starts_with("<!DOCTYPE html>"));
    let empty = server.refresh(&token).await;
    assert_eq!((empty.status, &*empty.text), (200, ""));
    assert_eq!(server.refresh(&token).await.status, 200);
}

#[tokio::test]
async fn a_late_answer_is_a_normal_one() {
    let (server, token) = refreshable().await;
    server.sandbox.inject(once(SandboxCall::Refresh, FaultAction::Delay { millis: 1 }));
    assert_eq!(server.refresh(&token).await.status, 200);
    let late = server.sandbox.calls().pop().unwrap();
    assert_eq!((late.fault, late.acted), (Some("delay"), true));
}

#[tokio::test]
async fn an_answer_is_held_back_until_the_faults_are_cleared() {
    let (server, token) = refreshable().await;
    let hour = 3_600_000;
    server.sandbox.inject(once(SandboxCall::Refresh, FaultAction::Delay { millis: hour }));
    let release = async {
        while !server.sandbox.faults().is_empty() {
            tokio::task::yield_now().await;
        }
        assert!(server.sandbox.calls().is_empty());
        server.sandbox.clear_faults();
    };
    let (answer, ()) = tokio::join!(server.refresh(&token), release);
    assert_eq!(answer.status, 200);
}

#[tokio::test]
async fn a_client_that_gives_up_on_a_late_answer_leaves_nothing_done() {
    let (server, token) = refreshable().await;
    let hour = 3_600_000;
    server.sandbox.inject(once(SandboxCall::Refresh, FaultAction::Delay { millis: hour }));
    // Waits for the call to be struck, not for a time: the fault is used up the moment it strikes.
    let struck = async {
        while !server.sandbox.faults().is_empty() {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        answer = server.try_refresh(&token) => panic!("answered: {answer:?}"),
        () = struck => {}
    }
    assert!(server.sandbox.calls().is_empty());
    assert_eq!(server.refresh(&token).await.status, 200);
}

#[tokio::test]
async fn faults_wait_their_turn_and_strike_only_whom_they_are_meant_for() {
    let (server, ada) = refreshable().await;
    let bea = server.sandbox.issue_long_lived("17841400000000001");
    server.sandbox.inject(Fault {
        call: None,
        times: 2,
        after: 1,
        action: FaultAction::Html,
        user_id: Some(ADA.to_owned()),
    });
    let mut seen = Vec::new();
    for _ in 0..4 {
        assert_eq!(server.me(&bea).await.status, 200);
        seen.push(server.me(&ada).await.status);
    }
    assert_eq!(seen, [200, 502, 502, 200]);

    server.sandbox.inject(Fault {
        times: u32::MAX,
        user_id: None,
        ..once(SandboxCall::Me, FaultAction::Html)
    });
    assert_eq!(server.me(&bea).await.status, 502);
    server.sandbox.clear_faults();
    assert_eq!(server.me(&bea).await.status, 200);
}

#[tokio::test]
async fn the_log_keeps_virtual_time_and_can_be_cleared() {
    let server = Server::start().await;
    let clock = server.sandbox.clock();
    server.me("x").await;
    let first = clock.now();
    clock.advance(Duration::from_secs(DAY));
    server.me("x").await;
    let times: Vec<_> = server.sandbox.calls().into_iter().map(|call| call.at).collect();
    assert_eq!(times, [first, clock.now()]);
    server.sandbox.clear_calls();
    assert!(server.sandbox.calls().is_empty());
}
