//! No secret is seen in a page, a row, an error or a log, and nobody's name in a log.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::sync::{Arc, Mutex, OnceLock};

use aws_sdk_dynamodb::types::AttributeValue;
use devstack::Stack;
use reqwest::header::{LOCATION, SET_COOKIE};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use threads_auth_web::telemetry;
use threads_sandbox::{FaultAction, NewAccount, SandboxCall};
use tracing::Level;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use super::common::{cookies, session};
use crate::backend::refused;
use crate::fixture::{
    Browser, DAY, Reply, delete_data, fail, grant, parameter, post_signed, respond, rows, secret_text, stack,
    stack_of_ada,
};
use crate::iam;
use crate::operations::dynamodb;

/// The whole test process's log, at TRACE.
#[derive(Clone)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn log() -> &'static Log {
    static LOG: OnceLock<Log> = OnceLock::new();
    LOG.get_or_init(|| {
        let log = Log(Arc::default());
        let writer = log.clone();
        let lines = tracing_subscriber::fmt::layer().json().with_writer(move || writer.clone());
        tracing_subscriber::registry().with(lines).with(telemetry::filter(Level::TRACE)).init();
        log
    })
}

/// Texts that must not be seen, each with its place.
#[derive(Default)]
struct Canaries {
    planted: BTreeMap<String, &'static str>,
    found: Vec<String>,
    scanned: usize,
}

impl Canaries {
    /// The stack's own secrets, planted.
    async fn of(stack: &Stack) -> Self {
        let mut canaries = Self::default();
        let (app, keyring) = (&stack.urls().app_secret_id, &stack.urls().keyring_secret_id);
        let [app, keyring] = [secret_text(stack, app).await, secret_text(stack, keyring).await]
            .map(|text| serde_json::from_str::<serde_json::Value>(&text).unwrap());
        canaries.plant("the app secret", app["app_secret"].as_str().unwrap());
        canaries.plant("an app's token", &format!("TH|{}", app["app_id"].as_str().unwrap()));
        canaries.plant("the tombstone key", keyring["tombstone"].as_str().unwrap());
        for key in keyring["keys"].as_object().unwrap().values() {
            canaries.plant("a sealing key", key.as_str().unwrap());
        }
        canaries
    }

    fn plant(&mut self, what: &'static str, secret: &str) {
        assert!(secret.len() >= 8, "{what} is too short to look for");
        self.planted.insert(secret.to_owned(), what);
    }

    fn look(&mut self, place: &str, text: &str) {
        self.scanned += text.len();
        for (secret, what) in &self.planted {
            if text.contains(secret.as_str()) {
                self.found.push(format!("{what} in {place}"));
            }
        }
    }

    /// Everything of an answer but the cookie, and the way to Meta or to the app, which carry the
    /// state and the completion code.
    fn look_at(&mut self, place: &str, reply: &Reply) {
        let mut headers = reply.headers.clone();
        headers.remove(SET_COOKIE);
        if reply.status == StatusCode::FOUND {
            headers.remove(LOCATION);
        }
        self.look(place, &format!("{headers:?} {}", reply.body));
    }

    async fn look_at_rows(&mut self, stack: &Stack) {
        for row in rows(stack).await {
            for (name, value) in row {
                // A blob's Debug is numbers: it is looked at as text.
                let blob = value.as_b().map(|blob| String::from_utf8_lossy(blob.as_ref()).into_owned());
                let text = blob.unwrap_or_else(|_| format!("{value:?}"));
                self.look(&format!("the row's {name}"), &text);
            }
        }
    }
}

/// Every way a connection can go: well, and each kind of failure at each of the three calls to
/// Meta.
fn ways_to_connect(
    short: &str,
    long: &str,
    ada: &str,
) -> Vec<(&'static str, Vec<(SandboxCall, FaultAction)>)> {
    let code_answer = || respond(200, format!(r#"{{"access_token":"{short}","user_id":{ada}}}"#));
    let long_answer =
        || respond(200, format!(r#"{{"access_token":"{long}","token_type":"bearer","expires_in":5184000}}"#));
    let echo = |status| {
        let text = format!("client_secret=sandbox-app-secret TH|9876543210987654|x {short} {long}");
        let body = serde_json::json!({"error": {"message": text, "type": text, "code": 190, "error_subcode": 1, "fbtrace_id": short},
            "access_token": short, "error_message": text, "error_type": text});
        respond(status, body.to_string())
    };
    let cut = |token: &str| respond(200, format!(r#"{{"access_token":"{token}","user_id":"#));
    let redirect = FaultAction::Respond {
        status: 302,
        body: String::new(),
        headers: vec![("location".to_owned(), format!("http://127.0.0.1:1/?access_token={short}"))],
    };
    let mut paths: Vec<(&str, Vec<(SandboxCall, FaultAction)>)> = vec![
        (
            "success",
            vec![
                (SandboxCall::ExchangeCode, code_answer()),
                (SandboxCall::ExchangeLongLived, long_answer()),
                (SandboxCall::Me, respond(200, format!(r#"{{"id":"{ada}","username":"ada"}}"#))),
            ],
        ),
        ("really", vec![]),
    ];
    let failures = || {
        let graph =
            |code, status| FaultAction::GraphError { code, subcode: None, is_transient: false, status };
        [
            FaultAction::Html,
            FaultAction::Drop,
            FaultAction::DropAfter,
            FaultAction::Truncate,
            FaultAction::Empty,
            FaultAction::Throttle { retry_after: Some(5) },
            graph(190, 400),
            graph(1, 400),
            graph(101, 400),
            graph(200, 403),
            graph(2, 500),
            echo(200),
            echo(400),
            echo(500),
            cut(short),
            redirect.clone(),
        ]
    };
    for action in failures() {
        paths.push(("code", vec![(SandboxCall::ExchangeCode, action)]));
    }
    for action in failures() {
        paths.push((
            "long-lived",
            vec![(SandboxCall::ExchangeCode, code_answer()), (SandboxCall::ExchangeLongLived, action)],
        ));
    }
    for action in failures() {
        paths.push((
            "profile",
            vec![
                (SandboxCall::ExchangeCode, code_answer()),
                (SandboxCall::ExchangeLongLived, long_answer()),
                (SandboxCall::Me, action),
            ],
        ));
    }
    paths
}

/// The backend's calls: a session with its completion code, and a token, which is seen in the one
/// answer that is for it.
async fn vend_under_watch(stack: &Stack, ada: &str, canaries: &mut Canaries) {
    let session = session(stack, "user-1").await;
    let mut browser = Browser::new();
    let back = browser.consent(stack, &format!("session={}", session.id), ada).await;
    let completion = parameter(&browser.get(back.as_str()).await.location(), "completion");
    canaries.plant("a completion code", &completion);
    let body = json!({"completion": completion, "reference": "user-1"}).to_string();
    for body in [&body, &body.replace('"', ""), &body] {
        let path = format!("/sessions/{}/complete", session.id);
        let reply = iam::call(stack, Method::POST, &path, body).await;
        canaries.look_at("a completion", &reply);
    }
    let path = format!("/users/{ada}/token");
    let vended = iam::call(stack, Method::GET, &path, "").await;
    let vended: Value = serde_json::from_str(&vended.body).unwrap();
    canaries.plant("a vended token", vended["access_token"].as_str().unwrap());
    let key = stack.urls().secret_access_key.clone();
    canaries.plant("the key that requests are signed with", &key);
    for path in ["/users".to_owned(), format!("/users/{ada}"), format!("{path}?min_valid=no")] {
        let reply = iam::call(stack, Method::GET, &path, "").await;
        canaries.look_at("the backend's API", &reply);
    }
    stack.announce().await.unwrap();
    canaries.look("the events", &format!("{:?}", stack.events()));
}

#[tokio::test]
async fn threat_canaries() {
    let captured = log();
    let (stack, ada) = stack_of_ada().await;
    let mut canaries = Canaries::of(&stack).await;
    let (short, long) = ("THQVJcanaryShort0123456789abcdefghijk", "THQVJcanaryLong0123456789abcdefghijkl");
    canaries.plant("a short-lived token", short);
    canaries.plant("a long-lived token", long);
    let paths = ways_to_connect(short, long, &ada);

    let mut outcomes = BTreeSet::new();
    for (name, faults) in &paths {
        // Over HTTP for what people and logs see, and as a call for what an error's Debug would
        // show.
        for over_http in [true, false] {
            let mut browser = Browser::new();
            let back = browser.consent(&stack, "", &ada).await;
            canaries.plant("a code", &parameter(&back, "code"));
            canaries.plant("a state", &parameter(&back, "state"));
            for value in browser.jar.values() {
                canaries.plant("a cookie", value);
            }
            for (call, action) in faults {
                fail(&stack, *call, u32::MAX, action.clone());
            }
            if over_http {
                let reply = browser.get(back.as_str()).await;
                outcomes.insert(reply.status.as_u16());
                canaries.look_at(name, &reply);
                let replayed = browser.get(back.as_str()).await;
                canaries.look_at("a replay", &replayed);
                canaries.look_at("another browser", &Browser::new().get(back.as_str()).await);
                canaries.look_at("a denial", &browser.get(&format!("{back}&error=access_denied")).await);
            } else {
                let jar = cookies(&browser);
                let jar: Vec<&str> = jar.iter().map(String::as_str).collect();
                let result =
                    stack.service().finish_connect(back.query().unwrap(), &jar, stack.clock().now()).await;
                canaries.look("Debug", &format!("{result:?} {result:#?}"));
                if let Err(error) = result {
                    canaries.look(
                        "an error's text",
                        &format!("{error} {}", threads_auth_model::error_chain(&error)),
                    );
                }
            }
            stack.sandbox().unwrap().clear_faults();
        }
    }
    vend_under_watch(&stack, &ada, &mut canaries).await;
    let sweep = stack.sweep().await;
    canaries.look("a sweep's report", &format!("{sweep:?}"));
    let now = stack.clock().now();
    let (app, keyring) =
        (stack.service().secrets().app(now).await, stack.service().secrets().keyring(now).await);
    canaries.look("Debug of the secrets", &format!("{app:?} {keyring:?} {:?}", stack.service().config()));
    canaries.look_at_rows(&stack).await;
    let logged = String::from_utf8(captured.0.lock().unwrap().clone()).unwrap();
    canaries.look("the log", &logged);

    // The search finds what is there, and the log has what it should.
    assert!(
        logged.contains(r#""outcome":"connected""#) && logged.contains("the long-lived exchange failed"),
        "no log"
    );
    let caller = r#""caller":"arn:aws:iam::123456789012:user/development""#;
    assert!(logged.contains(caller), "who called is in the log");
    assert!(outcomes.is_superset(&BTreeSet::from([303, 400, 500, 503])), "{outcomes:?}");
    let mut check = Canaries::default();
    check.plant("a line", "the long-lived exchange failed");
    check.look("the log", &logged);
    assert_eq!(check.found.len(), 1);
    println!(
        "threat secret-in-a-log: {} canaries through {} paths, {} bytes of pages, rows, errors and TRACE logs: {} occurrences",
        canaries.planted.len(),
        paths.len() * 2,
        canaries.scanned,
        canaries.found.len()
    );
    assert_eq!(canaries.found, Vec::<String>::new());
}

/// Makes a row inconsistent, or whole again.
async fn set_status(stack: &Stack, user_id: &str, status: &str) {
    let update = dynamodb(stack).update_item().table_name(&stack.urls().grants_table);
    let update = update.key("pk", AttributeValue::S(format!("user#{user_id}")));
    let update = update.update_expression("SET #s = :s").expression_attribute_names("#s", "status");
    let update = update.expression_attribute_values(":s", AttributeValue::S(status.to_owned()));
    update.send().await.unwrap();
}

/// A person's whole life, with all that an operator would have to look for in the log: logins and
/// failures, sessions, tokens, refusals, a broken row, ends and strangers.
async fn live(stack: &Stack, user_id: &str, reference: &str) {
    let call = async |method, path: &str, body: Value| {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        iam::call(stack, method, path, &body).await
    };
    let get = async |path: &str| call(Method::GET, path, Value::Null).await;
    let sandbox = stack.sandbox().unwrap();
    let (account, token) = (format!("/users/{user_id}"), format!("/users/{user_id}/token"));
    fail(stack, SandboxCall::ExchangeLongLived, 2, FaultAction::Html);
    let session = session(stack, reference).await;
    let mut browser = Browser::new();
    let back = browser.consent(stack, &format!("session={}", session.id), user_id).await;
    let code = parameter(&browser.get(back.as_str()).await.location(), "completion");
    browser.get(back.as_str()).await;
    call(Method::PATCH, &account, json!({"reference": reference})).await;
    let path = format!("/sessions/{}/complete", session.id);
    let mut body = json!({"completion": code, "reference": reference});
    call(Method::POST, &path, body.clone()).await;
    body["reference"] = json!([reference]);
    call(Method::POST, &path, body).await;
    call(Method::PATCH, &account, json!({"reference": {reference: user_id}})).await;
    call(Method::PATCH, &account, json!({"reference": reference})).await;
    get(&token).await;
    sandbox.clear_faults();
    stack.sweep().await.unwrap();
    for path in [&account, &token, &format!("{token}?min_valid=2000000"), &"/users".to_owned()] {
        get(path).await;
    }
    get(&format!("/users?reference={reference}")).await;
    let vended: Value = serde_json::from_str(&get(&token).await.body).unwrap();
    let query = refused(vended["access_token"].as_str().unwrap());
    get(&format!("{token}{query}")).await;
    // Meta refuses it with and without a cause, fails, and takes it again.
    for action in [
        FaultAction::Html,
        FaultAction::GraphError { code: 190, subcode: None, is_transient: false, status: 400 },
        FaultAction::Throttle { retry_after: Some(5) },
    ] {
        for call in [SandboxCall::Refresh, SandboxCall::Me, SandboxCall::DebugToken] {
            fail(stack, call, 3, action.clone());
        }
        stack.clock().advance(41 * DAY);
        for _ in 0..3 {
            stack.sweep().await.unwrap();
            get(&token).await;
            stack.clock().advance(std::time::Duration::from_hours(1));
        }
        sandbox.clear_faults();
        Browser::new().connect(stack, user_id).await;
    }
    set_status(stack, user_id, "unheard of").await;
    for path in [&account, &token, &"/users".to_owned(), &format!("/users?reference={reference}")] {
        get(path).await;
    }
    stack.clock().advance(60 * DAY);
    stack.sweep().await.unwrap();
    call(Method::PATCH, &account, json!({"reference": "another"})).await;
    stack.announce().await.unwrap();
    set_status(stack, user_id, "active").await;
    sandbox.change_password(user_id);
    for _ in 0..3 {
        stack.clock().advance(DAY);
        stack.sweep().await.unwrap();
        get(&token).await;
    }
    Browser::new().connect(stack, user_id).await;
    call(Method::DELETE, &account, Value::Null).await;
    get(&token).await;
    Browser::new().connect(stack, user_id).await;
    for route in ["/deauthorize", "/deauthorize", "/data-deletion", "/data-deletion"] {
        post_signed(stack, route, &sandbox.signed_request(user_id)).await;
    }
    for (method, path) in [(Method::GET, &account), (Method::GET, &token), (Method::DELETE, &account)] {
        call(method, path, Value::Null).await;
    }
    post_signed(stack, "/deauthorize", &sandbox.signed_request(user_id)).await;
    stack.announce().await.unwrap();
}

/// Logs outlive a deletion: they name an account by its pseudonym, which only the row leads to.
#[tokio::test]
async fn threat_a_person_in_a_log() {
    let captured = log();
    let stack = stack().await;
    let mut canaries = Canaries::default();
    let (username, reference) = ("canary.of.a.person", "canary-of-a-reference");
    let person = NewAccount { username: username.to_owned(), ..NewAccount::default() };
    let user_id = stack.sandbox().unwrap().add_account(person).user_id;
    Browser::new().connect(&stack, &user_id).await;
    let pseudonym = grant(&stack, &user_id).await.pseudonym.unwrap();
    delete_data(&stack, &user_id).await;
    stack.clock().advance(DAY);
    for (what, name) in
        [("a user id", user_id.as_str()), ("a username", username), ("a reference", reference)]
    {
        canaries.plant(what, name);
    }
    live(&stack, &user_id, reference).await;

    let logged = String::from_utf8(captured.0.lock().unwrap().clone()).unwrap();
    // The sandbox is Meta's part, and its people are made up.
    let ours = |line: &&str| !line.contains(r#""target":"threads_sandbox"#);
    let lines: Vec<&str> = logged.lines().filter(ours).collect();
    for line in &lines {
        canaries.look(line, line);
    }
    // The log says all that happened, and to whom.
    for outcome in ["vended", "shown", "disconnected", "deauthorized", "session_completed", "assigned"] {
        let named = |line: &&&str| {
            line.contains(&format!(r#""outcome":"{outcome}""#)) && line.contains(r#""pseudonym":"p_"#)
        };
        assert!(lines.iter().find(named).is_some(), "{outcome}");
    }
    for line in ["a token was not refreshed", "a row is broken", "unknown_user", "nothing_to_deauthorize"] {
        assert!(logged.contains(line), "{line}");
    }
    assert!(logged.contains(pseudonym.as_str()));
    println!(
        "threat person-in-a-log: {} lines at TRACE, {} with a user id, a username or a reference",
        lines.len(),
        canaries.found.len()
    );
    assert_eq!(canaries.found, Vec::<String>::new());
}
