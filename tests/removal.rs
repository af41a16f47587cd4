//! A person leaves: Meta's messages when they remove the app or request deletion.

use std::time::Duration;

use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine};
use devstack::Stack;
use reqwest::StatusCode;
use ring::hmac;
use serde_json::{Value, json};
use threads_auth::{NewSession, Progress, RefreshOutcome};
use threads_auth_model::Status;
use threads_sandbox::{Fault, FaultAction, SandboxCall};

use crate::fixture::{
    Browser, DAY, HOLD, START, account, connected_ada, delete_data, faults_struck, find_grant, grant, http,
    parameter, post_form, post_signed, rows, secret_text, stack, stack_of_ada, token,
};

const PATHS: [&str; 2] = ["/deauthorize", "/data-deletion"];

fn signed(secret: &str, payload: &Value) -> String {
    let payload = BASE64_URL_SAFE_NO_PAD.encode(payload.to_string());
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    let signature = BASE64_URL_SAFE_NO_PAD.encode(hmac::sign(&key, payload.as_bytes()));
    format!("{signature}.{payload}")
}

#[tokio::test]
async fn deauthorizing_destroys_the_token_and_can_be_repeated() {
    let (stack, ada) = connected_ada().await;
    stack.clock().advance(DAY * 41);
    stack.sweep().await.unwrap();
    let message = stack.sandbox().unwrap().signed_request(&ada);
    for _ in 0..2 {
        let reply = post_signed(&stack, "/deauthorize", &message).await;
        assert_eq!((reply.status, reply.body.as_str()), (StatusCode::OK, "{}"));
        let left = grant(&stack, &ada).await;
        assert_eq!(left.status(), Status::Revoked);
        assert!(left.live().is_none() && left.consent().is_none());
        assert_eq!(left.due_at, None);
        let sealed = rows(&stack).await;
        assert!(!sealed.iter().flatten().any(|(_, value)| value.is_b()));
    }
    stack.clock().advance(DAY * 41);
    assert!(stack.sweep().await.unwrap().outcomes.is_empty());
    let nobody = stack.sandbox().unwrap().signed_request("17841499999999999");
    let reply = post_signed(&stack, "/deauthorize", &nobody).await;
    assert_eq!((reply.status, reply.body.as_str()), (StatusCode::OK, "{}"));
    assert!(find_grant(&stack, "17841499999999999").await.is_none());
}

/// Meta repeats itself, or an attacker does: nothing that the person consented to later is touched.
#[tokio::test]
async fn an_old_message_leaves_a_new_connection_alone() {
    for path in PATHS {
        let (stack, ada) = connected_ada().await;
        stack.clock().advance(DAY);
        let message = stack.sandbox().unwrap().signed_request(&ada);
        let first = post_signed(&stack, path, &message).await;
        assert_eq!(first.status, StatusCode::OK);
        stack.clock().advance(Duration::from_mins(10));
        Browser::new().connect(&stack, &ada).await;
        let connected = token(&stack, &ada).await;
        let again = post_signed(&stack, path, &message).await;
        assert_eq!((again.status, &again.body), (StatusCode::OK, &first.body), "{path}");
        assert_eq!(grant(&stack, &ada).await.status(), Status::Active, "{path}");
        assert_eq!(token(&stack, &ada).await, connected, "{path}");
        // Only a new message ends what is new.
        let message = stack.sandbox().unwrap().signed_request(&ada);
        post_signed(&stack, path, &message).await;
        let left = find_grant(&stack, &ada).await;
        assert!(left.is_none_or(|grant| grant.live().is_none()), "{path}");
    }
}

/// A message of long before a connect has nothing to do with it: Meta is not even called.
#[tokio::test]
async fn a_message_of_long_before_costs_no_call() {
    for path in PATHS {
        let (stack, ada) = connected_ada().await;
        stack.clock().advance(DAY);
        let message = stack.sandbox().unwrap().signed_request(&ada);
        stack.clock().advance(Duration::from_mins(11));
        Browser::new().connect(&stack, &ada).await;
        stack.sandbox().unwrap().clear_calls();
        assert_eq!(post_signed(&stack, path, &message).await.status, StatusCode::OK);
        assert_eq!(grant(&stack, &ada).await.status(), Status::Active, "{path}");
        assert_eq!(crate::fixture::calls(&stack), 0, "{path}");
    }
}

/// Of two functions with clocks of their own, the one that disconnects is behind the one that has
/// connected.
#[tokio::test]
async fn a_disconnect_of_a_clock_that_is_behind_ends_what_is_there() {
    let (stack, ada) = connected_ada().await;
    let behind = stack.clock().now() - Duration::from_secs(3);
    let done = stack.service().disconnect(&ada.parse().unwrap(), behind).await.unwrap();
    assert!(done.is_some());
    assert_eq!(grant(&stack, &ada).await.status(), Status::Revoked);
}

/// Our clock is ten minutes behind Meta's: a message ends what is there now, and no later connect.
#[tokio::test]
async fn messages_of_a_clock_that_is_ahead_end_what_is_there() {
    let (stack, ada) = connected_ada().await;
    let app: Value = serde_json::from_str(&secret_text(&stack, &stack.urls().app_secret_id).await).unwrap();
    let secret = app["app_secret"].as_str().unwrap();
    for path in PATHS {
        let issued_at = stack.clock().now().as_second() + 600;
        let payload = json!({"algorithm": "HMAC-SHA256", "issued_at": issued_at, "user_id": ada});
        let message = signed(secret, &payload);
        assert_eq!(post_signed(&stack, path, &message).await.status, StatusCode::OK, "{path}");
        let left = find_grant(&stack, &ada).await;
        assert!(left.is_none_or(|grant| grant.live().is_none()), "{path}");
        // The end is of now, and not of Meta's time.
        for row in rows(&stack).await {
            for end in ["ended_at", "deleted_at"].iter().filter_map(|name| row.get(*name)) {
                let at: i64 = end.as_n().unwrap().parse().unwrap();
                assert!(at <= stack.clock().now().as_second(), "{path}: {row:?}");
            }
        }
        stack.clock().advance(Duration::from_secs(1));
        Browser::new().connect(&stack, &ada).await;
        assert_eq!(grant(&stack, &ada).await.status(), Status::Active, "{path}");
        stack.clock().advance(Duration::from_hours(1));
    }
}

/// Threat forged-message.
#[tokio::test]
async fn no_forged_message_changes_anything() {
    let (stack, ada) = connected_ada().await;
    let now = stack.clock().now().as_second();
    let app: Value = serde_json::from_str(&secret_text(&stack, &stack.urls().app_secret_id).await).unwrap();
    let secret = app["app_secret"].as_str().unwrap();
    let payload = json!({"algorithm": "HMAC-SHA256", "issued_at": now, "user_id": ada});
    let with = |name: &str, value: Value| {
        let mut payload = payload.clone();
        payload[name] = value;
        signed(secret, &payload)
    };
    let good = signed(secret, &payload);
    let (signature, encoded) = good.split_once('.').unwrap();
    let mut bad = vec![
        String::new(),
        ".".to_owned(),
        encoded.to_owned(),
        format!(".{encoded}"),
        format!("{signature}."),
        format!("{signature}.{encoded}="),
        format!("{signature}=.{encoded}"),
        format!("{good}.{encoded}"),
        signed("another-secret", &payload),
        signed("", &payload),
        with("algorithm", json!("none")),
        with("algorithm", json!("HMAC-SHA1")),
        with("issued_at", json!(now - 86_401)),
        with("issued_at", json!(now + 3_601)),
        with("issued_at", json!("soon")),
        with("user_id", Value::Null),
        with("user_id", json!("../user")),
        "x".repeat(5_000),
    ];
    for n in 0..good.len() {
        let mut flipped = good.clone().into_bytes();
        flipped[n] = if flipped[n] == b'A' { b'B' } else { b'A' };
        bad.push(String::from_utf8(flipped).unwrap());
    }
    let before = rows(&stack).await;
    for path in PATHS {
        for message in &bad {
            let reply = post_signed(&stack, path, message).await;
            assert_eq!(reply.status, StatusCode::BAD_REQUEST, "{path} {message}");
            assert!(reply.body.contains("bad_signed_request"), "{}", reply.body);
        }
        let twice = format!("signed_request={good}&signed_request={good}");
        for form in [
            String::new(),
            format!("signed={good}"),
            twice,
            format!("signed_request={good}&{}", "x".repeat(9_000)),
        ] {
            let reply = post_form(&stack, path, form).await;
            assert_eq!(reply.status, StatusCode::BAD_REQUEST, "{path}");
        }
    }
    assert_eq!(rows(&stack).await, before);
    println!("threat forged-message: {} forged messages, 0 accepted", bad.len() * 2);
    // The number that Meta's own documents show is as good as the string.
    let number = with("user_id", json!(ada.parse::<u64>().unwrap()));
    assert_eq!(post_signed(&stack, "/data-deletion", &number).await.status, StatusCode::OK);
    assert!(find_grant(&stack, &ada).await.is_none());
}

/// Puts another text into the secret of the app, as `configure` does after a reset at Meta.
async fn put_app(stack: &Stack, app: &Value) {
    let client = threads_auth_store::aws::secrets_manager(&stack.service().config().aws, &http());
    let put = client.put_secret_value().secret_id(&stack.urls().app_secret_id).secret_string(app.to_string());
    put.send().await.unwrap();
}

/// The app's secret is reset: no request of Meta's is refused that was signed with either, for as
/// long as one may be on its way.
#[tokio::test]
async fn after_a_reset_of_the_app_secret_both_are_accepted_for_a_day() {
    let (stack, ada) = stack_of_ada().await;
    let text = secret_text(&stack, &stack.urls().app_secret_id).await;
    let mut app: Value = serde_json::from_str(&text).unwrap();
    let old = app["app_secret"].as_str().unwrap().to_owned();
    let post = async |path, secret: &str| {
        let now = stack.clock().now().as_second();
        let payload = json!({"algorithm": "HMAC-SHA256", "issued_at": now, "user_id": ada});
        post_signed(&stack, path, &signed(secret, &payload)).await.status
    };
    for path in PATHS {
        // Each function has read the secret just now.
        put_app(&stack, &serde_json::from_str(&text).unwrap()).await;
        stack.clock().advance(Duration::from_secs(301));
        Browser::new().connect(&stack, &ada).await;
        assert_eq!(post(path, &old).await, StatusCode::OK);
        let until = stack.clock().now() + jiff::SignedDuration::from_hours(24);
        app["app_secret"] = json!("the-secret-after-a-reset");
        app["previous"] = json!({"app_secret": old, "until": until});
        put_app(&stack, &app).await;
        for secret in ["the-secret-after-a-reset", &old] {
            Browser::new().connect(&stack, &ada).await;
            assert_eq!(post(path, secret).await, StatusCode::OK, "{path}");
            assert!(find_grant(&stack, &ada).await.is_none_or(|grant| grant.live().is_none()), "{path}");
        }
        assert_eq!(post(path, "another-secret").await, StatusCode::BAD_REQUEST);
        stack.clock().advance(Duration::from_secs(86_399));
        assert_eq!(post(path, &old).await, StatusCode::OK, "{path}");
        stack.clock().advance(Duration::from_secs(1));
        assert_eq!(post(path, &old).await, StatusCode::BAD_REQUEST, "{path}");
        assert_eq!(post(path, "the-secret-after-a-reset").await, StatusCode::OK, "{path}");
        // After a leak none is kept, nor is one without an end time.
        for previous in [Value::Null, json!({"app_secret": old}), json!("a later version's")] {
            app["previous"] = previous;
            put_app(&stack, &app).await;
            stack.clock().advance(Duration::from_secs(301));
            assert_eq!(post(path, &old).await, StatusCode::BAD_REQUEST, "{path}");
            assert_eq!(post(path, "the-secret-after-a-reset").await, StatusCode::OK, "{path}");
        }
    }
}

/// Anybody can send a wrong signature: the secret is read for it once a minute at most.
#[tokio::test]
async fn wrong_signatures_read_the_secret_once_a_minute() {
    let stack = stack().await;
    let secrets = stack.service().secrets();
    let app = async || {
        let app = secrets.reread_app(stack.clock().now()).await.unwrap();
        app.credentials.app_secret.expose().to_owned()
    };
    let mut text: Value =
        serde_json::from_str(&secret_text(&stack, &stack.urls().app_secret_id).await).unwrap();
    let mut seen = Vec::new();
    for second in 0..150 {
        text["app_secret"] = json!(format!("secret-of-second-{second}"));
        put_app(&stack, &text).await;
        let now = app().await;
        if seen.last() != Some(&now) {
            seen.push(now);
        }
        stack.clock().advance(Duration::from_secs(1));
    }
    println!("150 wrong signatures in 150 seconds: {} reads of the secret", seen.len());
    assert_eq!(seen, ["secret-of-second-0", "secret-of-second-60", "secret-of-second-120"]);
}

/// Threat remains-of-a-person.
#[tokio::test]
async fn a_deletion_leaves_no_trace_but_the_page_that_says_so() {
    let stack = stack().await;
    let (ada, grace) = (account(&stack, "ada"), account(&stack, "grace"));
    Browser::new().connect(&stack, &grace).await;
    let session = |reference: &str, user_id: Option<&str>| NewSession {
        reference: reference.to_owned(),
        scopes: None,
        return_to: "http://127.0.0.1:4000/done".to_owned(),
        ui_locales: None,
        user_id: user_id.map(|id| id.parse().unwrap()),
        lifetime: jiff::SignedDuration::from_mins(30),
    };
    let (service, now) = (stack.service(), stack.clock().now());
    let others = service.create_session(session("grace's", None), now).await.unwrap();
    let used = service.create_session(session("ada's", None), now).await.unwrap();
    service.create_session(session("ada's", Some(&ada)), now).await.unwrap();
    let mut browser = Browser::new();
    let back = browser.consent(&stack, &format!("session={}", used.id), &ada).await;
    let completion = parameter(&browser.get(back.as_str()).await.location(), "completion");
    service.complete_session(&used.id, &completion, "ada's", stack.clock().now()).await.unwrap();
    // Refreshed, and with a second connection pending.
    stack.clock().advance(DAY * 41);
    stack.sweep().await.unwrap();
    for _ in 0..2 {
        stack.sandbox().unwrap().inject(Fault {
            call: Some(SandboxCall::ExchangeLongLived),
            times: 1,
            after: 0,
            action: FaultAction::Respond { status: 500, body: String::new(), headers: Vec::new() },
            user_id: None,
        });
    }
    Browser::new().connect(&stack, &ada).await;
    assert!(grant(&stack, &ada).await.consent().is_some());
    let traces = |rows: &[threads_auth_store::Item]| {
        let text = format!("{rows:?}");
        text.matches(&ada).count() + text.matches("\"ada").count()
    };
    assert!(traces(&rows(&stack).await) > 4);

    stack.clock().advance(Duration::from_mins(1));
    let message = stack.sandbox().unwrap().signed_request(&ada);
    let answer = delete_data(&stack, &ada).await;
    let left = rows(&stack).await;
    assert_eq!(traces(&left), 0, "{left:?}");
    assert!(find_grant(&stack, &grace).await.is_some());
    assert!(service.store().session(&others.id).await.unwrap().is_some());
    let (url, code) = (answer["url"].as_str().unwrap(), &answer["confirmation_code"]);
    let code = code.as_str().unwrap();
    assert!(code.len() == 32 && code.bytes().all(|b| b.is_ascii_alphanumeric()));
    assert_eq!(url, format!("{}/data-deletion/{code}", stack.urls().service_url));
    let page = Browser::new().get(url).await;
    assert_eq!(page.status, StatusCode::OK);
    let date = stack.clock().now().strftime("%-d %B %Y at %H:%M UTC").to_string();
    assert!(page.body.contains(&date), "{}", page.body);
    assert!(!page.body.contains(&ada));

    // Meta repeats the request, later: the same code, and the time of the first.
    stack.clock().advance(Duration::from_hours(3));
    let again = post_signed(&stack, "/data-deletion", &message).await;
    assert_eq!(serde_json::from_str::<Value>(&again.body).unwrap(), answer);
    assert!(Browser::new().get(url).await.body.contains(&date));
    let unknown = url.replace(code, "0123456789abcdef0123456789abcdef");
    let unknown = Browser::new().get(&unknown).await;
    assert_eq!(unknown.status, StatusCode::NOT_FOUND);
    assert!(unknown.is_page("deletion_unknown"));
}

/// An operator deletes as Meta does: nothing is left, a connect under way is refused, and only a
/// new request ends a consent that came after the last one.
#[tokio::test]
async fn an_operator_deletes_as_meta_does() {
    let stack = stack().await;
    let (ada, grace) = (account(&stack, "ada"), account(&stack, "grace"));
    let user_id = ada.parse().unwrap();
    let delete = || async {
        let now = stack.clock().now();
        stack.service().delete_person(&user_id, None, now).await.unwrap()
    };
    Browser::new().connect(&stack, &grace).await;
    let before = rows(&stack).await.len();
    Browser::new().connect(&stack, &ada).await;
    stack.clock().advance(Duration::from_mins(1));
    let mut browser = Browser::new();
    let under_way = browser.consent(&stack, "", &ada).await;
    let first = delete().await;
    assert!(first.was_known && find_grant(&stack, &ada).await.is_none());
    assert!(!format!("{:?}", rows(&stack).await).contains(&ada));
    assert_eq!(browser.get(under_way.as_str()).await.status, StatusCode::GONE);
    assert!(find_grant(&stack, &ada).await.is_none());

    // Processed again, later: nothing changes.
    stack.clock().advance(Duration::from_mins(10));
    let left = rows(&stack).await;
    let again = delete().await;
    assert_eq!((again.was_known, &again.deleted.url), (false, &first.deleted.url));
    assert_eq!(rows(&stack).await.len(), left.len());
    // Nor for a person who has come back since their request.
    stack.clock().advance(Duration::from_mins(1));
    Browser::new().connect(&stack, &ada).await;
    let old =
        stack.service().delete_person(&user_id, Some(START.parse().unwrap()), stack.clock().now()).await;
    assert!(matches!(old.unwrap().deleted.progress, Progress::Kept(_)));
    assert!(find_grant(&stack, &ada).await.is_some());
    stack.clock().advance(Duration::from_mins(1));
    let anew = delete().await;
    assert!(anew.was_known && anew.deleted.url != first.deleted.url);
    assert!(find_grant(&stack, &ada).await.is_none() && find_grant(&stack, &grace).await.is_some());
    let left = rows(&stack).await.len() - before;
    println!("an operator's deletion: 0 traces of the person, {left} rows that name nobody");
}

/// Meta's message comes while a sweep waits for Meta's answer about the same account.
#[tokio::test]
async fn a_deauthorization_wins_over_a_refresh_under_way() {
    let (stack, ada) = connected_ada().await;
    stack.clock().advance(DAY * 41);
    stack.sandbox().unwrap().inject(Fault {
        call: Some(SandboxCall::Refresh),
        times: 1,
        after: 0,
        action: HOLD,
        user_id: None,
    });
    let leaving = async {
        faults_struck(&stack).await;
        let message = stack.sandbox().unwrap().signed_request(&ada);
        let left = post_signed(&stack, "/deauthorize", &message).await;
        stack.sandbox().unwrap().clear_faults();
        left
    };
    let (report, reply) = tokio::join!(stack.sweep(), leaving);
    assert_eq!(reply.status, StatusCode::OK);
    assert_eq!(report.unwrap().count(RefreshOutcome::Superseded), 1);
    let left = grant(&stack, &ada).await;
    assert_eq!(left.status(), Status::Revoked);
    assert!(left.live().is_none());
}
