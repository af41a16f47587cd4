//! Meta's answers: a call and a status, `Retry-After`, `Location`, and the body. `@token`,
//! `@secret` and `@code` in them stand for what was sent.

use std::error::Error as _;
use std::time::Duration;

use serde_json::Value;
use threads_graph::{
    AccessToken, AppCredentials, AppSecret, AuthorizationCode, Endpoints, Error, ErrorKind, Graph, HttpClient,
    HttpTimeouts,
};

use crate::loopback::{Loopback, answer};
use crate::text::{assert_hides, lines};

const TOKEN: &str = "THQVJcanaryTOKEN0123456789";
const SECRET: &str = "0123456789canarySECRETabcdef";
const CODE: &str = "AQDcanaryCODE9876543210xyz";
/// The calls by name. Any other name is a call of an open path.
const TOKEN_CALLS: [&str; 7] = ["code", "exchange", "refresh", "me", "fields", "debug", "app"];
const HUNDRED_YEARS: u64 = 100 * 366 * 24 * 3_600;

pub(crate) fn run(data: &[u8]) {
    thread_local! {
        static SERVER: (Loopback, Graph) = {
            let server = Loopback::start();
            let root = format!("http://{}", server.address);
            let http = HttpClient::new(HttpTimeouts::default()).unwrap();
            let endpoints = Endpoints::new(format!("{root}/oauth/authorize"), root, "v1.0").unwrap();
            (server, Graph::new(http, endpoints))
        };
    }
    let echoed = String::from_utf8_lossy(data)
        .replace("@token", TOKEN)
        .replace("@secret", SECRET)
        .replace("@code", CODE);
    let Some(([what, retry_after, location], body)) = lines::<3>(echoed.as_bytes()) else { return };
    let (call, status) = what.split_once(' ').unwrap_or((what, ""));
    // Answers of other statuses have no body.
    let status = status.parse().ok().filter(|status| matches!(status, 200..=203 | 206..=303 | 307..=599));
    let status = status.unwrap_or(200);
    let headers = [("retry-after", retry_after), ("location", location)];
    SERVER.with(|(server, graph)| {
        let answer = answer(status, &headers, body.as_bytes());
        let result = server.answering(answer, make(call, graph));
        let read = serde_json::from_slice::<Value>(body.as_bytes()).ok();
        match result {
            Ok(()) => {
                let read = read.expect("only JSON is a success");
                assert!((200..300).contains(&status) && read.is_object());
                assert!(!TOKEN_CALLS.contains(&call) || !says_error(&read), "{body}");
            }
            Err(error) => assert_error(call, status, read.as_ref(), &error),
        }
    });
}

/// Makes the call, and checks what it gives.
async fn make(call: &str, graph: &Graph) -> Result<(), Error> {
    let token = AccessToken::new(TOKEN).unwrap();
    let app = AppCredentials { app_id: "123".parse().unwrap(), app_secret: AppSecret::new(SECRET).unwrap() };
    match call {
        "code" => {
            let code = AuthorizationCode::new(CODE).unwrap();
            let given = graph.exchange_code(&app, &code, &"https://app.example/cb".parse().unwrap()).await?;
            assert_token(&given.access_token);
            assert!(given.user_id.is_none_or(|id| id.as_str().bytes().any(|digit| digit != b'0')));
        }
        "exchange" | "refresh" => {
            let given = if call == "refresh" {
                graph.refresh(&token).await?
            } else {
                graph.exchange_long_lived(&app.app_secret, &token).await?
            };
            assert_token(&given.access_token);
            assert!(given.expires_in.is_none_or(|life| (1..=HUNDRED_YEARS).contains(&life.as_secs())));
        }
        "me" => {
            let profile = graph.me(&token).await?;
            assert!(profile.id.as_str().bytes().any(|digit| digit != b'0'));
            assert!(profile.username.is_none_or(|name| (1..=64).contains(&name.len())));
        }
        "fields" => {
            let fields = graph.fields_of_me(&token).await?;
            assert!(fields.iter().all(|name| name.len() <= 64 && !name.contains(|c: char| c.is_ascii_uppercase())));
        }
        "debug" => {
            let found = graph.debug_token(&token, &token).await?;
            assert!(found.granted().iter().len() <= found.scopes.len());
            for time in [found.issued_at, found.expires_at, found.data_access_expires_at].into_iter().flatten() {
                assert!(time.as_second() > 0);
            }
        }
        "app" => assert_token(&graph.app_token(&app).await?),
        _ => drop(graph.get::<Value>("me/threads", &token, &[("limit", "5")]).await?),
    }
    Ok(())
}

fn assert_token(token: &AccessToken) {
    let text = token.expose();
    assert!((1..=4_096).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic()));
    assert_hides(&format!("{token:?}"), text);
}

fn says_error(body: &Value) -> bool {
    let is_said = |name: &str| body.get(name).is_some_and(|value| !value.is_null() && *value != false);
    ["error", "error_message", "error_type", "error_code"].into_iter().any(is_said)
}

fn assert_error(call: &str, status: u16, body: Option<&Value>, error: &Error) {
    let mut shown = format!("{error} {error:?}");
    let mut source = error.source();
    while let Some(cause) = source {
        shown = format!("{shown} {cause} {cause:?}");
        source = cause.source();
    }
    let sent: &[&str] = match call {
        "code" => &[CODE, SECRET],
        "exchange" => &[TOKEN, SECRET],
        "app" => &[SECRET],
        _ => &[TOKEN],
    };
    for sent in sent {
        assert_hides(&shown, sent);
    }
    if let Some(body) = body {
        for text in texts(body) {
            // The id of a trace is Meta's, and at most that long.
            if text.len() > 32 {
                assert_hides(&shown, text);
            }
        }
    }
    assert_eq!(error.status(), Some(status), "{shown}");
    let said = body.map(|body| body.get("error").filter(|error| error.is_object()).unwrap_or(body));
    let number = |names: [&str; 2]| {
        let value = names.iter().find_map(|name| said?.get(name).filter(|value| !value.is_null()))?;
        value.as_u64().or_else(|| value.as_str()?.parse().ok())
    };
    match error.kind() {
        ErrorKind::NeedsReauthorization(_) => {
            assert!(matches!(number(["code", "error_code"]), Some(102 | 190)), "{shown}");
            assert!(status < 500 && !(300..400).contains(&status) && status != 429 && status != 408);
        }
        ErrorKind::Throttled { retry_after } => {
            assert!(retry_after.is_none_or(|wait| wait <= Duration::from_hours(24)));
        }
        ErrorKind::TooYoung => assert_eq!(call, "refresh"),
        ErrorKind::CodeUnusable => assert_eq!(call, "code"),
        ErrorKind::Malformed => assert!((200..300).contains(&status)),
        _ => {}
    }
}

/// Returns the texts in a value.
fn texts(value: &Value) -> Vec<&str> {
    match value {
        Value::String(text) => vec![text],
        Value::Array(items) => items.iter().flat_map(texts).collect(),
        Value::Object(members) => members.values().flat_map(texts).collect(),
        _ => Vec::new(),
    }
}
