//! Paths and methods: with a version and without, with a slash at the end and without, and never
//! past a door.

use std::time::Duration;

use reqwest::Method;
use reqwest::header::{CONTENT_TYPE, HOST};
use serde_json::{Value, json};
use threads_sandbox::{ExchangeAnswer, SandboxCall};
use tokio::net::TcpListener;

use crate::support::{ADA, APP_ID, DAY, SECRET, Server, URI, code_form, encode, made_app_token};

const TUNNEL: &str = "tunnel.example.com";

/// The calls of one login, at paths that each begin and end so.
#[tokio::test]
async fn a_login_goes_with_a_version_and_without() {
    for (version, slash) in [("", ""), ("", "/"), ("/v1.0", ""), ("/v1.0", "/"), ("/v23.0", "")] {
        let server = Server::start().await;
        let at = |path: &str| format!("{version}/{path}{slash}");
        let ask = [
            ("client_id", APP_ID),
            ("redirect_uri", URI),
            ("response_type", "code"),
            ("scope", "threads_basic"),
            ("auto_approve", ADA),
        ];
        let back = server.get(&at("oauth/authorize"), &ask).await;
        let code = back.header("location").split_once("code=").unwrap().1.trim_end_matches("#_").to_owned();
        let short = server.post_form(&at("oauth/access_token"), &code_form(&code)).await.token();
        let params =
            [("grant_type", "th_exchange_token"), ("client_secret", SECRET), ("access_token", &*short)];
        let long = server.get(&at("access_token"), &params).await.token();
        server.advance(DAY);
        let params = [("grant_type", "th_refresh_token"), ("access_token", &*long)];
        let new = server.get(&at("refresh_access_token"), &params).await.token();
        let profile = json!({ "id": ADA, "username": "ada" });
        for who in ["me", ADA] {
            let params = [("fields", "id,username"), ("access_token", &*new)];
            assert_eq!(server.get(&at(who), &params).await.json(), profile, "{version} {slash} {who}");
        }
        let params = [("grant_type", "client_credentials"), ("client_id", APP_ID), ("client_secret", SECRET)];
        let app_token = server.get(&at("oauth/access_token"), &params).await.token();
        let params = [("input_token", &*new), ("access_token", &*app_token)];
        assert_eq!(server.get(&at("debug_token"), &params).await.json()["data"]["user_id"], ADA);
        let calls: Vec<_> = server.sandbox.calls().iter().map(|call| (call.call, call.status)).collect();
        assert_eq!(
            calls,
            [
                (SandboxCall::Authorize, 302),
                (SandboxCall::ExchangeCode, 200),
                (SandboxCall::ExchangeLongLived, 200),
                (SandboxCall::Refresh, 200),
                (SandboxCall::Me, 200),
                (SandboxCall::Me, 200),
                (SandboxCall::AppToken, 200),
                (SandboxCall::DebugToken, 200),
            ]
        );
    }
}

/// The answer is word for word the one that people report.
#[tokio::test]
async fn another_person_is_no_object_of_this_token() {
    let server = Server::start().await;
    let bea = "17841400000000001";
    let ada = server.sandbox.issue_long_lived(ADA);
    let _of_bea = server.sandbox.issue_long_lived(bea);
    for (id, token) in [(bea, &ada), ("7", &ada), (APP_ID, &ada), (ADA, &made_app_token())] {
        let got = server.get(&format!("/v1.0/{id}"), &[("fields", "id"), ("access_token", token)]).await;
        let mut error = got.json()["error"].clone();
        assert!(error["fbtrace_id"].take().is_string());
        let message = format!(
            "Unsupported get request. Object with ID '{id}' does not exist, cannot be loaded due to missing permissions, or \
             does not support this operation"
        );
        let wanted = json!({
            "message": message,
            "type": "THApiException",
            "code": 100,
            "error_subcode": 33,
            "fbtrace_id": null,
        });
        assert_eq!((got.status, error), (400, wanted));
    }
    assert_eq!(server.get(&format!("/{ADA}"), &[]).await.error(), (2500, None));
    // An error of the token comes before one of the path.
    assert!(server.sandbox.revoke(ADA));
    for id in [ADA, bea] {
        let got = server.get(&format!("/{id}"), &[("access_token", &ada)]).await;
        assert_eq!(got.error(), (190, Some(458)));
    }
}

/// The documented methods, and the other one where people are known to use it.
#[tokio::test]
async fn tokens_are_given_by_post_and_by_get_and_what_changes_others_by_get_only() {
    let server = Server::start().await;
    for method in [Method::GET, Method::POST] {
        let code = server.code();
        let path = format!("/oauth/access_token?{}", encode(&code_form(&code)));
        assert_eq!(server.send(server.request(method.clone(), &path)).await.unwrap().status, 200);
        let params = [("grant_type", "client_credentials"), ("client_id", APP_ID), ("client_secret", SECRET)];
        let path = format!("/oauth/access_token?{}", encode(&params));
        let got = server.send(server.request(method, &path)).await.unwrap();
        assert!(got.token().starts_with("TH|"));
    }
    let code = server.code();
    for method in [Method::HEAD, Method::PUT, Method::DELETE] {
        let path = format!("/oauth/access_token?{}", encode(&code_form(&code)));
        assert_eq!(server.send(server.request(method, &path)).await.unwrap().status, 400);
    }
    assert_eq!(server.exchange_code(&code).await.status, 200);
    for path in ["/access_token", "/refresh_access_token", "/debug_token", "/me", "/oauth/authorize"] {
        let posted = server.post_form(path, &[]).await;
        let error = &posted.json()["error"];
        assert_eq!((posted.status, &error["code"], &error["error_subcode"]), (400, &json!(100), &json!(33)));
    }
}

#[tokio::test]
async fn the_token_type_of_a_code_exchange_is_a_switch() {
    let server = Server::start().await;
    for (answer, token_type) in
        [(ExchangeAnswer::Documented, None), (ExchangeAnswer::WithTokenType, Some("bearer"))]
    {
        server.sandbox.set_exchange(answer);
        let got = server.exchange_code(&server.code()).await;
        let body = got.json();
        let names: Vec<&String> = body.as_object().unwrap().keys().collect();
        assert_eq!(body.get("token_type").and_then(Value::as_str), token_type);
        assert_eq!(names.len(), if token_type.is_some() { 3 } else { 2 }, "{names:?}");
        assert!(got.text.contains(&format!(r#""user_id":{ADA}"#)) && got.token().starts_with("THQVJ"));
    }
}

/// A tunnel's visitors reach the Threads side, and no spelling of a path leads them to a control or
/// lets a foreign page press the consent page's buttons.
#[tokio::test]
async fn no_spelling_of_a_path_leads_past_a_door() {
    let mut server = Server::start().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    server.origin = format!("http://{}", listener.local_addr().unwrap());
    let sandbox = server.sandbox.clone();
    tokio::spawn(sandbox.serve_as(Some(TUNNEL.to_owned()), listener, std::future::pending()));
    let before = server.sandbox.clock().offset();
    let forms = ["/v1.0/oauth/consent", "/oauth/consent/", "/v1.0/oauth/consent/"];
    let controls = [
        "/",
        "//",
        "/v1.0",
        "/v1.0/",
        "/control",
        "/control/",
        "/control/state",
        "/control/state/",
        "/control/clock",
        "/control/clock/",
        "/control/v1.0/clock",
        "/v1.0/control",
        "/v1.0/control/",
        "/v1.0/control/clock",
        "/v1.0/control/clock/",
        "//control/clock",
        "/v1.0//control/clock",
        "/CONTROL/clock",
        "/%63ontrol/clock",
        "/control%2Fclock",
    ];
    for path in controls.into_iter().chain(forms) {
        for method in [Method::GET, Method::POST] {
            let body = json!({ "advance_seconds": 60 }).to_string();
            let request =
                server.request(method, path).header(HOST, TUNNEL).header(CONTENT_TYPE, "application/json");
            let got = server.send(request.body(body)).await.unwrap();
            assert!(matches!(got.status, 403 | 404), "{path}: {got:?}");
        }
    }
    assert_eq!(server.sandbox.clock().offset(), before);
    assert_eq!(before, Duration::ZERO);
    // And the Threads side is there.
    let me = server.request(Method::GET, "/v1.0/me/").header(HOST, TUNNEL);
    assert_eq!(server.send(me).await.unwrap().error(), (2500, None));
}
