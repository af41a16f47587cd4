//! Meta as people report it, and as it documents but nobody expects: the callers of `debug_token`,
//! the life of a token, and hours in which nothing works.

use std::time::Duration;

use serde_json::{Value, json};
use threads_sandbox::{BadAnswer, BadHours, ExpiresIn, Fault, FaultAction, Inspection, NewAccount, OldToken};

use crate::support::{ADA, APP_ID, DAY, HOUR, OLD_TOKENS, SECRET, Server, made_app_token};

const LONG: u64 = 5_183_944;
const BEA: &str = "17841400000000001";

/// A server with a token of ada's, and one of bea's, who is a tester.
async fn ada_and_a_tester() -> (Server, String, String) {
    let server = Server::start().await;
    let ada = server.sandbox.issue_long_lived(ADA);
    server.sandbox.add_account(NewAccount { tester: true, ..NewAccount::new("bea", BEA) });
    let bea = server.sandbox.issue_long_lived(BEA);
    (server, ada, bea)
}

#[tokio::test]
async fn a_token_is_inspected_by_a_tester_or_by_the_app() {
    let (server, ada, tester) = ada_and_a_tester().await;
    let other = server.sandbox.issue_long_lived("17841400000000002");
    let self_inspection = server.inspect(&ada, &ada).await;
    assert_eq!((self_inspection.status, self_inspection.error()), (400, (10, None)));
    let error = &self_inspection.json()["error"];
    assert_eq!(error["message"], "(#10) Application does not have permission for this action");
    assert_eq!(error["type"], "OAuthException");
    assert_eq!(server.inspect(&ada, &other).await.error(), (10, None));
    for caller in [&tester, &made_app_token()] {
        let told = server.inspect(&ada, caller).await.json();
        assert_eq!((&told["data"]["is_valid"], &told["data"]["user_id"]), (&json!(true), &json!(ADA)));
    }
    assert!(server.sandbox.set_tester(BEA, false));
    assert_eq!(server.inspect(&ada, &tester).await.error(), (10, None));
    assert!(server.sandbox.set_tester(BEA, true));
    assert_eq!(server.inspect(&ada, &tester).await.status, 200);
    // A tester's own token has to be alive.
    assert!(server.sandbox.change_password(BEA));
    assert_eq!(server.inspect(&ada, &tester).await.error(), (190, Some(460)));
}

#[tokio::test]
async fn who_may_inspect_is_a_switch() {
    let (server, ada, tester) = ada_and_a_tester().await;
    let other = server.sandbox.issue_long_lived("17841400000000002");
    let app = made_app_token();
    for (allow, of_itself, of_another, of_a_tester, of_the_app) in [
        (Inspection::TestersAndApp, Err(10), Err(10), Ok(()), Ok(())),
        (Inspection::Anybody, Ok(()), Err(100), Ok(()), Ok(())),
        (Inspection::Testers, Err(10), Err(10), Ok(()), Err(10)),
        (Inspection::App, Err(100), Err(100), Err(100), Ok(())),
        (Inspection::Nobody, Err(10), Err(10), Err(10), Err(10)),
    ] {
        server.sandbox.set_inspection(allow);
        for (caller, wanted) in
            [(&ada, of_itself), (&other, of_another), (&tester, of_a_tester), (&app, of_the_app)]
        {
            let got = server.inspect(&ada, caller).await;
            let answered = if got.status == 200 { Ok(()) } else { Err(got.error().0) };
            assert_eq!(answered, wanted, "{allow:?} {caller:.9}");
        }
    }
}

/// The next one is refreshed as well, whatever its reported age.
#[tokio::test]
async fn a_refresh_may_extend_nothing() {
    for (behaviour, same, old_lives) in OLD_TOKENS {
        let server = Server::start().await;
        server.sandbox.set_old_token_behaviour(behaviour);
        assert!(server.sandbox.set_extends(ADA, false));
        let first = server.sandbox.issue_long_lived(ADA);
        let mut token = first.clone();
        for day in [40, 45] {
            let passed = if day == 40 { 40 } else { 5 };
            server.advance(passed * DAY);
            let got = server.refresh(&token).await;
            assert_eq!(got.json()["expires_in"], LONG - day * DAY, "{behaviour:?}");
            assert_eq!(got.token() == token, same, "{behaviour:?}");
            assert_eq!(server.me(&token).await.status == 200, old_lives, "{behaviour:?}");
            token = got.token();
            assert_eq!(server.me(&token).await.status, 200, "{behaviour:?}");
        }
        server.advance(LONG - 45 * DAY - 1);
        assert_eq!(server.me(&token).await.status, 200, "{behaviour:?}");
        // Once refreshes extend again, they extend from then on.
        assert!(server.sandbox.set_extends(ADA, true));
        let got = server.refresh(&token).await;
        assert_eq!(got.json()["expires_in"], LONG, "{behaviour:?}");
        server.advance(1);
        assert_eq!(server.me(&first).await.status == 200, same, "{behaviour:?}");
        assert_eq!(server.me(&got.token()).await.status, 200, "{behaviour:?}");
    }
}

#[tokio::test]
async fn the_lifetime_comes_in_every_shape_and_is_the_same() {
    let server = Server::start().await;
    for (shape, wanted) in [
        (ExpiresIn::Documented, Some(json!(LONG))),
        (ExpiresIn::Missing, None),
        (ExpiresIn::Null, Some(Value::Null)),
        (ExpiresIn::Zero, Some(json!(0))),
        (ExpiresIn::Negative, Some(json!(-5))),
        (ExpiresIn::Float, Some(json!(5_183_944.0))),
        (ExpiresIn::Fraction, Some(json!(5_183_944.5))),
        (ExpiresIn::Text, Some(json!("5183944"))),
        (ExpiresIn::Word, Some(json!("soon"))),
        (ExpiresIn::Milliseconds, Some(json!(5_183_944_000_u64))),
        (ExpiresIn::TenYears, Some(json!(315_360_000))),
        (ExpiresIn::Huge, Some(json!(1e30))),
        (ExpiresIn::Remaining, Some(json!(LONG - 2 * DAY))),
    ] {
        let given = server.sandbox.issue_long_lived(ADA);
        server.advance(2 * DAY);
        server.sandbox.set_expires_in(shape);
        let refreshed = server.refresh(&given).await;
        assert_eq!(refreshed.json().get("expires_in"), wanted.as_ref(), "{shape:?}");
        let short = server.exchange_code(&server.code()).await.token();
        let exchanged = server.exchange(&short).await;
        let wanted = if shape == ExpiresIn::Remaining { Some(json!(HOUR)) } else { wanted };
        assert_eq!(exchanged.json().get("expires_in"), wanted.as_ref(), "{shape:?}");
        for token in [refreshed.token(), exchanged.token()] {
            let told = server.inspect(&token, &made_app_token()).await.json();
            let now = server.sandbox.clock().now().as_second();
            assert_eq!(told["data"]["expires_at"], now + 5_183_944, "{shape:?}");
        }
    }
}

#[tokio::test]
async fn a_restricted_account_reads_nothing_and_is_refreshed() {
    let server = Server::start().await;
    let token = server.sandbox.issue_long_lived(ADA);
    server.advance(DAY);
    let done = server.control(&format!("accounts/{ADA}/restrict"), Value::Null).await;
    assert_eq!((done.status, &done.json()["status"]), (200, &json!("restricted")));
    let refused = server.me(&token).await;
    assert_eq!(
        (refused.error(), &refused.json()["error"]["type"]),
        ((10, Some(4_279_013)), &json!("THApiException"))
    );
    let told = server.inspect(&token, &made_app_token()).await.json();
    assert_eq!(told["data"]["is_valid"], true);
    let refreshed = server.refresh(&token).await.token();
    assert!(server.sandbox.restore(ADA));
    assert_eq!(server.me(&refreshed).await.status, 200);
}

fn bad_hours(server: &Server, answer: BadAnswer) -> BadHours {
    let now = server.sandbox.clock().now();
    BadHours { from: now + Duration::from_secs(HOUR), until: now + Duration::from_secs(3 * HOUR), answer }
}

#[tokio::test]
async fn bad_hours_begin_and_end_by_the_clock_and_change_nothing() {
    let server = Server::start().await;
    server.sandbox.set_old_token_behaviour(OldToken::NewTokenOldDead);
    let token = server.sandbox.issue_long_lived(ADA);
    server.advance(DAY);
    server.sandbox.add_bad_hours(bad_hours(&server, BadAnswer::Bare190));
    for (passed, is_bad) in [(HOUR - 1, false), (1, true), (2 * HOUR - 1, true), (1, false)] {
        server.advance(passed);
        let got = server.me(&token).await;
        assert_eq!(got.status, if is_bad { 400 } else { 200 });
        if is_bad {
            let mut error = got.json()["error"].clone();
            assert!(error["fbtrace_id"].take().is_string());
            assert_eq!(
                error,
                json!({
                    "message": "Invalid OAuth access token - Cannot parse access token",
                    "type": "OAuthException",
                    "code": 190,
                    "fbtrace_id": null,
                })
            );
            assert_eq!(server.refresh(&token).await.json()["error"]["code"], 190);
        }
    }
    let struck = server.sandbox.calls().into_iter().filter(|call| call.fault == Some("bad_hours"));
    assert!(
        struck.count() == 4 && server.sandbox.calls().iter().all(|call| call.acted == call.fault.is_none())
    );
    assert_eq!(server.refresh(&token).await.status, 200);
}

#[tokio::test]
async fn bad_hours_concern_peoples_tokens_or_every_call() {
    for (answer, status, code, spares_the_app) in [
        (BadAnswer::Bare190, 400, 190, true),
        (BadAnswer::Permission, 400, 10, true),
        (BadAnswer::ServerError, 500, 1, false),
        (BadAnswer::Throttled, 429, 4, false),
        (BadAnswer::AppBlocked, 400, 200, false),
        (BadAnswer::AppDeleted, 400, 190, false),
        (BadAnswer::AppUnknown, 400, 101, false),
    ] {
        let (server, ada, tester) = ada_and_a_tester().await;
        let short = server.exchange_code(&server.code()).await.token();
        server.advance(DAY - HOUR);
        server.sandbox.add_bad_hours(bad_hours(&server, answer));
        server.advance(HOUR);
        let app_token =
            [("grant_type", "client_credentials"), ("client_id", APP_ID), ("client_secret", SECRET)];
        let of_people = [
            server.me(&ada).await,
            server.refresh(&ada).await,
            server.exchange(&short).await,
            server.inspect(&ada, &tester).await,
        ];
        let of_the_app = [
            server.inspect(&ada, &made_app_token()).await,
            server.get("/oauth/access_token", &app_token).await,
            server.exchange_code(&server.code()).await,
        ];
        for got in of_people {
            assert_eq!((got.status, &got.json()["error"]["code"]), (status, &json!(code)), "{answer:?}");
        }
        for got in of_the_app {
            assert_eq!(got.status, if spares_the_app { 200 } else { status }, "{answer:?} {got:?}");
        }
        // A scripted fault comes first.
        let action = FaultAction::Html;
        server.sandbox.inject(Fault { call: None, times: 1, after: 0, action, user_id: None });
        assert_eq!(server.me(&ada).await.status, 502);
        server.sandbox.clear_bad_hours();
        assert_eq!(server.me(&ada).await.status, 200, "{answer:?}");
    }
}
