//! The control endpoint does what the handle does, and describes its refusals clearly.

use reqwest::Method;
use reqwest::header::HOST;
use serde_json::{Value, json};

use crate::support::{ADA, DAY, Server};

const DAWN: &str = "2041-01-01T06:00:00Z";

#[tokio::test]
async fn accounts_are_added_once_changed_and_listed() {
    let server = Server::start().await;
    let bea = json!({ "username": "bea", "user_id": "17841400000000001", "private": true });
    let added = server.control("accounts", bea.clone()).await;
    assert_eq!((added.status, &added.json()["private"]), (201, &json!(true)));
    assert_eq!(server.control("accounts", bea).await.status, 200);
    let of_bea = |account: &Value| {
        ["private", "tester", "tester_pending", "extends"].map(|name| account[name].as_bool().unwrap())
    };
    assert_eq!(of_bea(&added.json()), [true, false, false, true]);
    let change = json!({ "private": false, "tester": true, "tester_pending": true, "extends": false });
    let path = "/control/accounts/17841400000000001";
    let changed = server.json(Method::PATCH, path, &change).await.json();
    assert_eq!(of_bea(&changed), [false, true, true, false]);
    let changed = server.json(Method::PATCH, path, &json!({ "extends": true })).await.json();
    assert_eq!(of_bea(&changed), [false, true, true, true]);
    let listed = server.get("/control/accounts", &[]).await.json();
    assert_eq!(listed["accounts"].as_array().unwrap().len(), 2);
    let state = server.get("/control/state", &[]).await.json();
    assert_eq!((&state["accounts"], &state["faults"]), (&listed["accounts"], &json!(0)));
}

#[tokio::test]
async fn what_a_person_does_happens_through_it_too() {
    let server = Server::start().await;
    let token = server.sandbox.issue_long_lived(ADA);
    for (action, subcode, status) in [
        ("revoke", 458, "revoked"),
        ("checkpoint", 459, "checkpoint"),
        ("unconfirm", 464, "unconfirmed"),
        ("change-password", 460, "password_changed"),
        ("invalidate", 467, "invalidated"),
    ] {
        let done = server.control(&format!("accounts/{ADA}/{action}"), Value::Null).await;
        assert_eq!((done.status, &done.json()["status"]), (200, &json!(status)));
        assert_eq!(server.me(&token).await.error(), (190, Some(subcode)));
    }
    assert_eq!(server.control(&format!("accounts/{ADA}/restore"), Value::Null).await.status, 200);
    assert_eq!(server.me(&token).await.status, 200);
    assert_eq!(server.control("accounts/7/revoke", Value::Null).await.status, 404);
    assert_eq!(server.control(&format!("accounts/{ADA}/ban"), Value::Null).await.status, 404);
}

#[tokio::test]
async fn the_clock_moves_forward_and_only_so_far() {
    let server = Server::start().await;
    let before = server.sandbox.clock().now().as_second();
    let moved = server.control("clock", json!({ "advance_seconds": DAY })).await;
    assert_eq!(moved.json()["offset_seconds"], DAY);
    assert_eq!(server.sandbox.clock().now().as_second() - before, 86_400);
    for body in
        [json!({ "advance_seconds": -1 }), json!({ "advance_seconds": u64::MAX }), json!({}), json!([])]
    {
        let refused = server.control("clock", body.clone()).await;
        assert_eq!(refused.status, 400, "{body}");
        assert!(refused.json()["error"].is_string());
    }
    assert_eq!(server.get("/control/clock", &[]).await.json(), moved.json());
}

#[tokio::test]
async fn faults_come_in_every_shape_and_go() {
    let server = Server::start().await;
    let actions = [
        json!({ "respond": { "status": 503 } }),
        json!({ "graph_error": { "code": 190 } }),
        json!({ "throttle": {} }),
        json!({ "delay": { "millis": 5 } }),
        json!("drop"),
        json!("drop_after"),
        json!("truncate"),
        json!("html"),
        json!("empty"),
    ];
    for action in &actions {
        let added = server.control("faults", json!({ "action": action })).await;
        assert_eq!(added.status, 201, "{added:?}");
    }
    let listed = server.get("/control/faults", &[]).await.json();
    assert_eq!(listed["faults"].as_array().unwrap().len(), actions.len());
    assert_eq!(listed["faults"][1]["action"]["graph_error"]["status"], 400);
    assert_eq!(server.me("x").await.status, 503);
    let cleared = server.send(server.request(Method::DELETE, "/control/faults")).await.unwrap();
    assert_eq!(cleared.json(), json!({ "faults": [] }));
    assert_eq!(server.me("x").await.error(), (190, None));

    let calls = server.get("/control/calls", &[]).await.json();
    assert_eq!(calls["calls"][0]["call"], "me");
    assert_eq!(calls["calls"][0]["fault"], "respond");
    assert_eq!(server.send(server.request(Method::DELETE, "/control/calls")).await.unwrap().status, 200);
    assert_eq!(server.get("/control/calls", &[]).await.json(), json!({ "calls": [] }));
}

#[tokio::test]
async fn switches_are_set_by_name_and_shown() {
    let server = Server::start().await;
    for (switch, field, in_state, names) in [
        (
            "old-token",
            "behaviour",
            "old_token",
            &["new_token_old_alive", "same_token_extended", "new_token_old_dead"][..],
        ),
        ("inspection", "allow", "inspection", &["testers_and_app", "anybody", "testers", "app", "nobody"]),
        (
            "expires-in",
            "shape",
            "expires_in",
            &[
                "documented",
                "missing",
                "null",
                "zero",
                "negative",
                "float",
                "fraction",
                "text",
                "word",
                "milliseconds",
                "ten_years",
                "huge",
                "remaining",
            ],
        ),
        ("redirect", "ending", "redirect", &["fragment", "encoded", "encoded_long"]),
        (
            "exchange",
            "answer",
            "exchange",
            &[
                "documented",
                "with_token_type",
                "without_user_id",
                "zero_user_id",
                "wrapped",
                "insufficient_role",
            ],
        ),
    ] {
        let path = format!("/control/{switch}");
        assert_eq!(server.get(&path, &[]).await.json(), json!({ field: names[0] }));
        // The default comes last, so that it is seen to be set.
        for name in names.iter().rev() {
            let wanted = json!({ field: name });
            let set = server.control(switch, wanted.clone()).await;
            assert_eq!((set.status, set.json()), (200, wanted.clone()));
            assert_eq!(server.get(&path, &[]).await.json(), wanted);
            assert_eq!(server.get("/control/state", &[]).await.json()[in_state], *name);
            assert!(server.get("/", &[]).await.text.contains(name));
        }
    }
}

#[tokio::test]
async fn bad_hours_are_told_by_the_clock_and_forgotten() {
    let server = Server::start().await;
    let one = json!({
        "from": "2041-01-01T00:00:00Z", "until": "2041-01-01T01:00:00Z", "answer": "bare_190",
    });
    let told = server.control("bad-hours", one.clone()).await;
    assert_eq!((told.status, told.json()), (201, json!({ "bad_hours": [one] })));
    assert_eq!(server.get("/control/bad-hours", &[]).await.json(), told.json());
    assert_eq!(server.get("/control/state", &[]).await.json()["bad_hours"], json!([one]));
    let cleared = server.send(server.request(Method::DELETE, "/control/bad-hours")).await.unwrap();
    assert_eq!(cleared.json(), json!({ "bad_hours": [] }));
}

#[tokio::test]
async fn what_is_misspelt_is_refused_by_name_and_changes_nothing() {
    let server = Server::start().await;
    let before = server.get("/control/state", &[]).await.json();
    for (path, body, named) in [
        ("accounts", json!({ "username": "bea", "privat": true }), "privat"),
        ("accounts", json!({ "username": "bea", "testers": true }), "testers"),
        ("accounts", json!({ "username": "b e a" }), "username"),
        ("accounts", json!({ "username": "bea", "user_id": "x" }), "user_id"),
        ("accounts", json!({}), "username"),
        ("clock", json!({ "advance_seconds": 1, "by": 2 }), "by"),
        ("faults", json!({ "action": "explode" }), "explode"),
        ("faults", json!({ "action": "drop", "time": 2 }), "time"),
        ("faults", json!({ "action": "drop", "times": 0 }), "times"),
        ("faults", json!({ "action": { "delay": { "seconds": 1 } } }), "seconds"),
        ("faults", json!({ "action": { "respond": { "status": 99 } } }), "status"),
        ("faults", json!({ "action": "drop", "call": "Refresh" }), "Refresh"),
        ("old-token", json!({ "behaviour": "both" }), "both"),
        ("old-token", json!({ "behavior": "new_token_old_dead" }), "behavior"),
        ("old-token", json!({}), "behaviour"),
        ("inspection", json!({ "allow": "everybody" }), "everybody"),
        ("inspection", json!({ "allow": "app", "from": 0 }), "from"),
        ("expires-in", json!({ "shape": "never" }), "never"),
        ("redirect", json!({ "ending": "/" }), "ending"),
        ("exchange", json!({ "answer": "nothing" }), "nothing"),
        ("bad-hours", json!({ "from": DAWN, "until": DAWN, "answer": "bare_190" }), "until"),
        ("bad-hours", json!({ "from": DAWN, "until": "later", "answer": "bare_190" }), "year"),
        ("bad-hours", json!({ "from": DAWN, "until": DAWN, "answer": "rain" }), "rain"),
    ] {
        let refused = server.control(path, body.clone()).await;
        assert_eq!(refused.status, 400, "{path} {body}");
        let error = refused.json()["error"].as_str().unwrap().to_owned();
        assert!(error.contains(named), "{path} {body}: {error}");
    }
    assert_eq!(server.get("/control/state", &[]).await.json(), before);
    assert_eq!(server.get("/control/nothing", &[]).await.status, 404);
    assert_eq!(server.control("state", json!({})).await.status, 405);
}

#[tokio::test]
async fn only_this_machine_may_use_it_and_no_web_page() {
    let server = Server::start().await;
    for (name, value) in [
        (HOST.as_str(), "sandbox.example"),
        ("sec-fetch-site", "cross-site"),
        ("origin", "https://evil.example"),
        // A tunnel may rewrite the host.
        ("x-forwarded-host", "sandbox.example"),
        ("cf-connecting-ip", "203.0.113.7"),
    ] {
        for path in ["/", "/control", "/control/state", "/control/nothing"] {
            let got = server.send(server.request(Method::GET, path).header(name, value)).await.unwrap();
            assert_eq!(got.status, 403, "{name} {path}");
            assert!(got.json()["error"].is_string());
        }
    }
    let help = server.get("/control", &[]).await;
    assert!(help.text.contains("/control/old-token"));
}

#[tokio::test]
async fn a_signed_request_is_there_for_the_callbacks() {
    let server = Server::start().await;
    let got = server.get(&format!("/control/accounts/{ADA}/signed-request"), &[]).await.json();
    let request = got["signed_request"].as_str().unwrap();
    assert_eq!(request, server.sandbox.signed_request(ADA));
    assert_eq!(server.get("/control/accounts/7/signed-request", &[]).await.status, 404);
}
