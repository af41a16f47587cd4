//! Codes and tokens: the way from one to the other, their lives and their deaths.

use reqwest::Method;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE};
use serde_json::json;
use threads_sandbox::{Account, Sandbox, SandboxCall};

use crate::support::{
    ADA, APP_ID, DAY, HOUR, OLD_TOKENS, SECRET, Server, URI, code_form, encode, made_app_token, with,
};

const LONG: u64 = 5_183_944;

#[tokio::test]
async fn from_code_to_refreshed_token() {
    let server = Server::start().await;
    let got = server.exchange_code(&server.code()).await;
    let short = got.token();
    assert!(short.starts_with("THQVJ"));
    // The text, since a JSON reader that goes through doubles would hide a wrong last digit.
    assert!(got.text.contains(&format!(r#""user_id":{ADA}"#)), "{}", got.text);

    let got = server.exchange(&short).await;
    let long = got.token();
    assert_ne!(long, short);
    assert_eq!(
        (got.json()["token_type"].as_str(), got.json()["expires_in"].as_u64()),
        (Some("bearer"), Some(LONG))
    );
    assert_eq!(server.me(&long).await.json(), json!({ "id": ADA, "username": "ada" }));

    server.advance(DAY);
    let got = server.refresh(&long).await;
    assert_ne!(got.token(), long);
    assert_eq!(got.json()["expires_in"].as_u64(), Some(LONG));
    let calls: Vec<_> = server.sandbox.calls().into_iter().map(|call| (call.call, call.status)).collect();
    assert_eq!(
        calls,
        [
            (SandboxCall::ExchangeCode, 200),
            (SandboxCall::ExchangeLongLived, 200),
            (SandboxCall::Me, 200),
            (SandboxCall::Refresh, 200)
        ]
    );
    assert!(server.sandbox.calls().iter().all(|call| call.user_id.as_deref() == Some(ADA)));
}

#[tokio::test]
async fn the_code_is_taken_from_forms_from_json_and_from_the_query() {
    let server = Server::start().await;
    assert_eq!(server.exchange_code(&server.code()).await.status, 200);

    let body = json!({
        "client_id": APP_ID.parse::<u64>().unwrap(),
        "client_secret": SECRET,
        "code": server.code(),
        "grant_type": "authorization_code",
        "redirect_uri": URI,
    });
    assert_eq!(server.json(Method::POST, "/oauth/access_token", &body).await.status, 200);

    let code = server.code();
    let path = format!("/oauth/access_token?{}", encode(&code_form(&code)));
    assert_eq!(server.send(server.request(Method::POST, &path)).await.unwrap().status, 200);

    // As curl sends Meta's own example, with `-F`.
    let code = server.code();
    let part = |(name, value)| {
        format!("--a boundary\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
    };
    let body = code_form(&code).map(part).concat() + "--a boundary--\r\n";
    let multipart = |body: String| {
        let request = server.request(Method::POST, "/oauth/access_token");
        server.send(request.header(CONTENT_TYPE, "multipart/form-data; boundary=\"a boundary\"").body(body))
    };
    let cut = multipart(body[..body.len() / 2].to_owned()).await.unwrap();
    assert_eq!(cut.status, 400);
    assert_eq!(multipart(body).await.unwrap().status, 200);

    let types: Vec<_> = server.sandbox.calls().into_iter().map(|call| call.content_type).collect();
    let [form, json, multipart] =
        ["application/x-www-form-urlencoded", "application/json", "multipart/form-data"]
            .map(|media_type| Some(media_type.to_owned()));
    assert_eq!(types, [form, json, None, multipart.clone(), multipart]);
}

#[tokio::test]
async fn a_code_works_once_and_for_an_hour() {
    let server = Server::start().await;
    let refused = json!({
        "error_type": "OAuthException",
        "code": 400,
        "error_message": "Matching code was not found or was already used",
    });
    let code = server.code();
    assert_eq!(server.exchange_code(&code).await.status, 200);
    let again = server.exchange_code(&code).await;
    assert_eq!((again.status, again.json()), (400, refused.clone()));

    let (kept, late) = (server.code(), server.code());
    server.advance(HOUR - 1);
    assert_eq!(server.exchange_code(&kept).await.status, 200);
    server.advance(1);
    let expired = server.exchange_code(&late).await;
    assert_eq!((expired.status, expired.json()), (400, refused.clone()));
    assert_eq!(server.exchange_code("AQBnever-issued").await.json(), refused);
}

#[tokio::test]
async fn a_wrong_app_secret_or_redirect_is_refused_and_does_not_spend_the_code() {
    let server = Server::start().await;
    let code = server.code();
    for (name, value, error) in [
        ("client_id", "999", (101, None)),
        ("client_id", "", (101, None)),
        ("client_secret", "wrong", (1, None)),
        ("client_secret", "", (1, None)),
        ("redirect_uri", "https://app.example/callback/", (100, Some(36008))),
        ("grant_type", "password", (100, None)),
    ] {
        let got = server.post_form("/oauth/access_token", &with(code_form(&code), name, value)).await;
        assert_eq!((got.status, got.error()), (400, error), "{name}={value}");
        assert!(!got.text.contains(SECRET) && !got.text.contains(&code));
    }
    assert_eq!(server.exchange_code(&code).await.status, 200);
}

/// Meta documents parameters, and nobody reports that it reads this header.
#[tokio::test]
async fn http_basic_presents_neither_id_nor_secret() {
    let server = Server::start().await;
    let code = server.code();
    let form = code_form(&code);
    for (shown, error) in [(&form[2..], (101, None)), (&[&form[..1], &form[2..]].concat(), (1, None))] {
        let request = server.request(Method::POST, "/oauth/access_token").basic_auth(APP_ID, Some(SECRET));
        let request = request.header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(encode(shown));
        assert_eq!(server.send(request).await.unwrap().error(), error);
    }
    assert_eq!(server.exchange_code(&code).await.status, 200);
}

#[tokio::test]
async fn a_short_lived_token_lives_an_hour_and_needs_the_secret_to_grow() {
    let server = Server::start().await;
    let short = server.exchange_code(&server.code()).await.token();
    let wrong = [("grant_type", "th_exchange_token"), ("client_secret", "wrong"), ("access_token", &*short)];
    assert_eq!(server.get("/access_token", &wrong).await.error(), (1, None));
    // A lost response may be requested again.
    let (first, second) = (server.exchange(&short).await.token(), server.exchange(&short).await.token());
    assert_ne!(first, second);
    assert_eq!(server.exchange(&first).await.error(), (452, None));
    assert_eq!(server.refresh(&short).await.error(), (452, None));
    server.advance(HOUR);
    assert_eq!(server.exchange(&short).await.error(), (190, Some(463)));
}

#[tokio::test]
async fn a_token_younger_than_a_day_is_not_refreshed_and_not_hurt() {
    let server = Server::start().await;
    let long = server.sandbox.issue_long_lived(ADA);
    server.advance(DAY - 1);
    let young = server.refresh(&long).await;
    assert_eq!((young.status, young.error()), (400, (100, None)));
    assert!(young.text.contains("24 hours"));
    assert_eq!(server.me(&long).await.status, 200);
    server.advance(1);
    assert_eq!(server.refresh(&long).await.status, 200);
}

#[tokio::test]
async fn an_expired_token_is_never_refreshed() {
    let server = Server::start().await;
    let long = server.sandbox.issue_long_lived(ADA);
    server.advance(LONG - 1);
    assert_eq!(server.me(&long).await.status, 200);
    server.advance(1);
    assert_eq!(server.me(&long).await.error(), (190, Some(463)));
    assert_eq!(server.refresh(&long).await.error(), (190, Some(463)));
}

#[tokio::test]
async fn the_old_token_does_what_it_was_told_to() {
    for (behaviour, same, old_lives) in OLD_TOKENS {
        let server = Server::start().await;
        server.sandbox.set_old_token_behaviour(behaviour);
        let old = server.sandbox.issue_long_lived(ADA);
        server.advance(30 * DAY);
        let new = server.refresh(&old).await.token();
        assert_eq!(new == old, same, "{behaviour:?}");
        let again = server.me(&old).await;
        assert_eq!(again.status == 200, old_lives, "{behaviour:?}");
        if !old_lives {
            assert_eq!(again.error(), (190, Some(467)));
        }
        // Past the old token's first end, within the new one's.
        server.advance(40 * DAY);
        assert_eq!(server.me(&new).await.status, 200, "{behaviour:?}");
        assert_eq!(server.me(&old).await.status == 200, same, "{behaviour:?}");
    }
}

#[tokio::test]
async fn each_thing_a_person_does_has_its_subcode_and_can_be_undone() {
    type Does = fn(&Sandbox, &str) -> bool;
    let cases: [(Does, u64); 5] = [
        (Sandbox::revoke, 458),
        (Sandbox::checkpoint, 459),
        (Sandbox::change_password, 460),
        (Sandbox::unconfirm, 464),
        (Sandbox::invalidate, 467),
    ];
    for (happen, subcode) in cases {
        let server = Server::start().await;
        let short = server.exchange_code(&server.code()).await.token();
        let long = server.sandbox.issue_long_lived(ADA);
        server.advance(DAY);
        let other = server.sandbox.issue_long_lived("17841400000000001");
        assert!(happen(&server.sandbox, ADA));
        assert!(!happen(&server.sandbox, "7"));
        let dead = (190, Some(subcode));
        assert_eq!(server.me(&long).await.error(), dead);
        assert_eq!(server.refresh(&long).await.error(), dead);
        assert_eq!(server.me(&other).await.status, 200);
        // The hour is over before the person's doing matters.
        assert_eq!(server.exchange(&short).await.error(), (190, Some(463)));
        assert!(server.sandbox.restore(ADA));
        assert_eq!(server.refresh(&long).await.status, 200);
    }
}

#[tokio::test]
async fn authorizing_again_after_a_removal_gives_tokens_that_work() {
    let server = Server::start().await;
    let old = server.sandbox.issue_long_lived(ADA);
    assert!(server.sandbox.revoke(ADA));
    let short = server.exchange_code(&server.code()).await.token();
    let new = server.exchange(&short).await.token();
    assert_eq!(server.me(&new).await.status, 200);
    assert_eq!(server.me(&old).await.error(), (190, Some(458)));
}

#[tokio::test]
async fn tokens_are_taken_from_the_header_too_and_missed_when_absent() {
    let server = Server::start().await;
    let long = server.sandbox.issue_long_lived(ADA);
    let request = server.request(Method::GET, "/v23.0/me").header(AUTHORIZATION, format!("Bearer {long}"));
    let got = server.send(request).await.unwrap();
    assert_eq!((got.status, got.json()), (200, json!({ "id": ADA })));
    assert_eq!(server.get("/v1.0/me", &[]).await.error(), (2500, None));
    assert_eq!(server.me("THQVJnever-issued").await.error(), (190, None));
    let odd = server.get("/v1.0/me", &[("access_token", &long), ("fields", "id,password")]).await;
    assert_eq!(odd.error(), (100, None));
}

#[tokio::test]
async fn the_app_token_proves_the_secret_and_inspects_any_token() {
    let server = Server::start().await;
    let ask = [("grant_type", "client_credentials"), ("client_id", APP_ID), ("client_secret", SECRET)];
    let got = server.get("/oauth/access_token", &ask).await;
    let app_token = got.token();
    assert!(app_token.starts_with(&format!("TH|{APP_ID}|")));
    assert_eq!(got.json()["token_type"], "bearer");
    assert!(!app_token.contains(SECRET));
    let wrong = server.get("/oauth/access_token", &with(ask, "client_secret", "wrong")).await;
    assert_eq!(wrong.error(), (1, None));

    let now = server.sandbox.clock().now().as_second();
    let ada = server.sandbox.issue_long_lived(ADA);
    let wanted = json!({ "data": {
        "type": "USER",
        "application": "Threads sandbox",
        "data_access_expires_at": 0,
        "expires_at": now + 5_183_944,
        "is_valid": true,
        "issued_at": now,
        "scopes": ["threads_basic", "threads_content_publish"],
        "user_id": ADA,
    }});
    for caller in [&app_token, &made_app_token()] {
        assert_eq!(server.inspect(&ada, caller).await.json(), wanted);
    }
    // A token is found at every place, and in every encoding.
    let [plain, encoded] = [made_app_token(), made_app_token().replace('|', "%7C")];
    let path = format!("/debug_token?input_token={ada}");
    let bearer = server.request(Method::GET, &path).header(AUTHORIZATION, format!("Bearer {plain}"));
    let form = server.request(Method::GET, &path).header(CONTENT_TYPE, "application/x-www-form-urlencoded");
    for request in [
        server.request(Method::GET, &format!("{path}&access_token={plain}")),
        server.request(Method::GET, &format!("{path}&access_token={encoded}")),
        form.body(format!("access_token={encoded}")),
        bearer,
    ] {
        assert_eq!(server.send(request).await.unwrap().json(), wanted);
    }
    // It is valid itself, and nobody's.
    let of_the_app =
        json!({ "type": "APP", "application": "Threads sandbox", "is_valid": true, "scopes": [] });
    for token in [&app_token, &plain] {
        assert_eq!(server.inspect(token, &plain).await.json(), json!({ "data": of_the_app }));
        assert_eq!(server.me(token).await.error(), (2500, None));
        assert_eq!(server.refresh(token).await.error(), (452, None));
        assert_eq!(server.exchange(token).await.error(), (452, None));
    }
    for wrong in [format!("TH|{APP_ID}|wrong"), format!("TH|999|{SECRET}"), format!("TH|{APP_ID}|")] {
        let refused = server.inspect(&ada, &wrong).await;
        assert_eq!((refused.status, refused.error()), (400, (190, None)));
        assert!(!refused.text.contains(SECRET));
    }

    assert!(server.sandbox.revoke(ADA));
    for (input, subcode) in [(&*ada, json!(458)), ("THQVJnever-issued", json!(null))] {
        let dead = server.inspect(input, &app_token).await;
        let data = &dead.json()["data"];
        assert_eq!((dead.status, &data["is_valid"]), (200, &json!(false)));
        assert_eq!((&data["error"]["code"], &data["error"]["subcode"]), (&json!(190), &subcode));
    }
}

/// The end of data access is reported for private profiles, and is not the token's end.
#[tokio::test]
async fn a_token_outlives_the_access_to_a_private_profile() {
    let server = Server::start().await;
    assert!(server.sandbox.set_private(ADA, true));
    let end = server.sandbox.clock().now().as_second() + 90 * 86_400;
    let mut token = server.sandbox.issue_long_lived(ADA);
    for (days, status) in [(40, 200), (40, 200), (10, 400), (40, 400)] {
        server.advance(days * DAY);
        assert_eq!(server.me(&token).await.status, status);
        token = server.refresh(&token).await.token();
        let told = server.inspect(&token, &made_app_token()).await.json();
        assert_eq!(
            (&told["data"]["data_access_expires_at"], &told["data"]["is_valid"]),
            (&json!(end), &json!(true))
        );
    }
    assert_eq!(server.me(&token).await.error(), (10, None));
    // A person who authorizes again renews it, and so does one whose profile becomes public.
    let again = server.sandbox.issue_long_lived(ADA);
    assert_eq!(server.me(&again).await.status, 200);
    server.advance(91 * DAY);
    assert!(server.sandbox.set_private(ADA, false));
    let told = server.inspect(&again, &made_app_token()).await.json();
    assert_eq!(told["data"]["data_access_expires_at"], 0);
}

#[tokio::test]
async fn a_withdrawn_permission_shows_in_an_inspection_only() {
    let server = Server::start().await;
    let token = server.sandbox.issue_long_lived(ADA);
    assert!(server.sandbox.withdraw(ADA, "threads_content_publish"));
    server.advance(DAY);
    assert_eq!(server.me(&token).await.status, 200);
    let refreshed = server.refresh(&token).await.token();
    for token in [token, refreshed] {
        let told = server.inspect(&token, &made_app_token()).await.json();
        assert_eq!(told["data"]["scopes"], json!(["threads_basic"]));
    }
}

#[tokio::test]
async fn other_methods_and_paths_are_metas_errors_and_do_nothing() {
    let server = Server::start().await;
    let long = server.sandbox.issue_long_lived(ADA);
    server.advance(DAY);
    let params = [("grant_type", "th_refresh_token"), ("access_token", &*long)];
    let posted = server.post_form("/refresh_access_token", &params).await;
    assert_eq!((posted.status, posted.json()["error"]["error_subcode"].as_u64()), (400, Some(33)));
    assert!(posted.text.contains("Unsupported post request. Object with ID 'refresh_access_token' does"));
    let head = server.request(Method::HEAD, &format!("/refresh_access_token?{}", encode(&params)));
    assert_eq!(server.send(head).await.unwrap().status, 400);
    for path in ["/me//", "/v1/me", "/vx.y/me", "/v1.0/me/threads", "/nothing"] {
        let got = server.get(path, &params).await;
        assert_eq!((got.status, got.error()), (404, (2500, None)), "{path}");
    }
    let state = server.get("/control/state", &[]).await.json();
    assert_eq!(state["tokens"], 1);
}

#[tokio::test]
async fn the_call_log_and_the_state_hold_no_secret() {
    let server = Server::start().await;
    let code = server.code();
    let form = server.request(Method::POST, "/oauth/access_token");
    let form = form.header(CONTENT_TYPE, format!("application/x-www-form-urlencoded; note={SECRET}"));
    let short = server.send(form.body(encode(&code_form(&code)))).await.unwrap().token();
    let long = server.exchange(&short).await.token();
    server.me(&long).await;
    let shown = [
        server.get("/control/calls", &[]).await.text,
        server.get("/control/state", &[]).await.text,
        server.get("/", &[]).await.text,
        format!("{:?} {:?}", server.sandbox.calls(), server.sandbox),
    ];
    for text in &shown {
        for secret in [SECRET, &code, &short, &long] {
            assert!(!text.contains(secret), "{text}");
        }
    }
    let tags: Vec<_> = server.sandbox.calls().into_iter().filter_map(|call| call.credential_tag).collect();
    assert!(tags.len() == 3 && tags.iter().all(|tag| tag.len() == 6) && tags[1] != tags[2], "{tags:?}");
}

#[tokio::test]
async fn made_up_user_ids_do_not_fit_a_double() {
    let server = Server::start().await;
    let Account { user_id, .. } = server
        .sandbox
        .add_account(threads_sandbox::NewAccount { username: "bea".to_owned(), ..Default::default() });
    assert!(user_id.parse::<u64>().unwrap() > 1 << 53);
    let code = server.sandbox.issue_code(&user_id, URI, &[]);
    let got = server.exchange_code(&code).await;
    assert!(got.text.contains(&format!(r#""user_id":{user_id}"#)));
}
