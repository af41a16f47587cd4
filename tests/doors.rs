//! Development is closed to strangers: every listener, and every kind of caller.
//!
//! The requests are written byte by byte, because clients would correct malformed ones.

use std::time::SystemTime;

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use devstack::{Clock, LiveApp, Stack, StackOptions, Threads};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::fixture::{START, options};

const PUBLIC: &str = "tunnel.example.com";

/// A request to one route of a listener.
struct Route {
    name: &'static str,
    /// Its address, as host and port.
    address: String,
    method: &'static str,
    target: &'static str,
    headers: Vec<(&'static str, String)>,
    body: &'static str,
    /// The service that it is signed for, if it is.
    signed_for: Option<&'static str>,
}

/// The key that signs a request.
#[derive(Clone, Copy, PartialEq)]
enum Key {
    Right,
    Wrong,
    /// For another service.
    Other,
    None,
}

struct Answer {
    status: u16,
    head: String,
    body: String,
}

/// One request: the `Host` header and its other headers.
async fn knock(stack: &Stack, route: &Route, method: &str, key: Key, headers: &[(&str, &str)]) -> Answer {
    let mut all: Vec<(String, String)> =
        route.headers.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
    let host = headers.iter().find(|(name, _)| *name == "host").map_or("localhost", |(_, host)| *host);
    if let Some(service) = route.signed_for.filter(|_| key != Key::None) {
        let urls = stack.urls();
        let secret =
            if key == Key::Wrong { "threads-auth-development-only" } else { &urls.secret_access_key };
        let identity = Credentials::new(&urls.access_key_id, secret, None, None, "test").into();
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region(&urls.region)
            .name(if key == Key::Other { "s3" } else { service })
            .time(SystemTime::try_from(Clock::system().now()).unwrap())
            .settings(SigningSettings::default())
            .build()
            .unwrap()
            .into();
        let body = SignableBody::Bytes(route.body.as_bytes());
        let url = format!("http://{host}{}", route.target);
        let signable = all.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let signable = SignableRequest::new(method, url, signable, body).unwrap();
        let (signed, _) = sign(signable, &params).unwrap().into_parts();
        all.extend(signed.headers().map(|(name, value)| (name.to_owned(), value.to_owned())));
    }
    all.extend(headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    raw(&route.address, method, route.target, &all, route.body).await
}

async fn raw(address: &str, method: &str, target: &str, headers: &[(String, String)], body: &str) -> Answer {
    let headers: String = headers.iter().flat_map(|(name, value)| [name, ": ", value, "\r\n"]).collect();
    let length = body.len();
    let request = format!(
        "{method} {target} HTTP/1.1\r\n{headers}connection: close\r\ncontent-length: {length}\r\n\r\n{body}"
    );
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).await.unwrap();
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    Answer { status, head: head.to_ascii_lowercase(), body: body.to_owned() }
}

fn address(url: &str) -> String {
    url.trim_start_matches("http://").to_owned()
}

fn aws(
    stack_url: &str,
    name: &'static str,
    service: &'static str,
    target: &str,
    body: &'static str,
) -> Route {
    Route {
        name,
        address: address(stack_url),
        method: "POST",
        target: "/",
        headers: vec![
            ("content-type", "application/x-amz-json-1.0".to_owned()),
            ("x-amz-target", target.to_owned()),
        ],
        body,
        signed_for: Some(service),
    }
}

fn plain(url: &str, name: &'static str, method: &'static str, target: &'static str) -> Route {
    Route { name, address: address(url), method, target, headers: Vec::new(), body: "", signed_for: None }
}

/// Each listener's routes by their door.
fn routes(stack: &Stack) -> [(&'static str, Vec<Route>); 4] {
    let urls = stack.urls();
    let (service, threads) = (urls.service_url.as_str(), urls.threads_url.as_str());
    let private = |name, method, target| Route {
        signed_for: Some("execute-api"),
        ..plain(service, name, method, target)
    };
    let event = r#"{"Entries":[{"Source":"x","DetailType":"account.deleted","Detail":"{}","EventBusName":"threads-auth","Time":0}]}"#;
    let signed = vec![
        aws(
            &urls.dynamodb_url,
            "DynamoDB",
            "dynamodb",
            "DynamoDB_20120810.Scan",
            r#"{"TableName":"threads-auth-grants"}"#,
        ),
        aws(
            &urls.secrets_manager_url,
            "Secrets Manager",
            "secretsmanager",
            "secretsmanager.GetSecretValue",
            r#"{"SecretId":"threads-auth/app"}"#,
        ),
        aws(&urls.eventbridge_url, "EventBridge", "events", "AWSEvents.PutEvents", event),
        private("/users", "GET", "/users"),
        private("/users/{id}/token", "GET", "/users/17841400000000001/token"),
        private("/sessions", "POST", "/sessions"),
    ];
    let local = vec![
        plain(service, "the page", "GET", "/"),
        plain(service, "/dev/stack", "GET", "/dev/stack"),
        plain(service, "/dev/sweep", "POST", "/dev/sweep"),
        plain(service, "/dev/nothing", "GET", "/dev/nothing"),
        plain(threads, "the sandbox's page", "GET", "/"),
        plain(threads, "/control/state", "GET", "/control/state"),
        plain(threads, "/control/calls", "DELETE", "/control/calls"),
    ];
    let form = vec![plain(threads, "the consent page's form", "POST", "/oauth/consent")];
    let public = vec![
        plain(service, "/authorize", "GET", "/authorize"),
        plain(service, "/connected", "GET", "/connected"),
        plain(service, "/deauthorize", "POST", "/deauthorize"),
        plain(service, "nothing", "GET", "/nothing"),
        plain(threads, "OAuth", "GET", "/oauth/authorize?client_id=1"),
        plain(threads, "Graph", "GET", "/v1.0/me?fields=id"),
    ];
    [("signed", signed), ("local", local), ("form", form), ("public", public)]
}

/// A caller, its headers, and the doors that answer it: signed, local, form, public.
type Knock = (&'static str, Vec<(&'static str, &'static str)>, [bool; 4]);

/// Everybody who may knock.
fn knocks() -> Vec<Knock> {
    const ALL: [bool; 4] = [true; 4];
    const NONE: [bool; 4] = [false; 4];
    const ONLY_PUBLIC: [bool; 4] = [false, false, false, true];
    let here = ("host", "localhost:3000");
    let mut knocks = vec![
        ("localhost", vec![here], ALL),
        ("localhost with a dot", vec![("host", "localhost.")], ALL),
        ("an address", vec![("host", "127.0.0.1:3000")], ALL),
        ("an address of IPv6", vec![("host", "[::1]:3000")], ALL),
        ("a foreign Host", vec![("host", "evil.example")], NONE),
        ("a foreign Host that resolves to loopback", vec![("host", "127.0.0.1.evil.example:3000")], NONE),
        ("no Host", vec![], NONE),
        ("two Hosts", vec![here, ("host", "evil.example")], NONE),
        ("the public Host", vec![("host", PUBLIC)], [false, false, true, true]),
        ("a foreign Origin", vec![here, ("origin", "https://evil.example")], ONLY_PUBLIC),
        ("another port's Origin", vec![here, ("origin", "http://localhost:3001")], ONLY_PUBLIC),
        ("an Origin of null", vec![here, ("origin", "null")], ONLY_PUBLIC),
        ("a page of another site", vec![here, ("sec-fetch-site", "cross-site")], [true, false, false, true]),
        ("its own Origin", vec![here, ("origin", "http://localhost:3000")], [false, true, true, true]),
    ];
    for header in [
        "forwarded",
        "x-forwarded-for",
        "x-forwarded-host",
        "x-real-ip",
        "via",
        "cf-connecting-ip",
        "true-client-ip",
    ] {
        knocks.push((
            "a tunnel that rewrites Host",
            vec![here, (header, "203.0.113.7")],
            [true, false, true, true],
        ));
    }
    knocks
}

#[tokio::test]
async fn every_listener_answers_whom_its_door_lets_in() {
    let public_url = Some(format!("https://{PUBLIC}").parse().unwrap());
    let stack =
        Stack::start(StackOptions { public_url, ..options(START.parse().unwrap(), &[]) }).await.unwrap();
    let (mut answered, mut turned_away) = (0, 0);
    let mut check = |what: String, answer: &Answer, expected: bool| {
        let is_answered = !matches!(answer.status, 0 | 400..=403) || is_of_its_function(answer);
        assert_eq!(is_answered, expected, "{what}: {} {}", answer.status, answer.body);
        assert!(!answer.head.contains("access-control-"), "{what}: {}", answer.head);
        if is_answered { answered += 1 } else { turned_away += 1 }
    };
    for (at, (door, routes)) in routes(&stack).into_iter().enumerate() {
        for route in routes {
            for (who, headers, expected) in knocks() {
                let what = format!("{door} {} {who} {headers:?}", route.name);
                let answer = knock(&stack, &route, route.method, Key::Right, &headers).await;
                check(what, &answer, expected[at]);
            }
            let here = ("host", "localhost:3000");
            let preflight =
                [here, ("origin", "https://evil.example"), ("access-control-request-method", "POST")];
            for key in [Key::Right, Key::None] {
                let answer = knock(&stack, &route, "OPTIONS", key, &preflight).await;
                check(format!("{door} {} preflight", route.name), &answer, false);
            }
            for key in [Key::Wrong, Key::Other, Key::None] {
                let answer = knock(&stack, &route, route.method, key, &[here]).await;
                check(format!("{door} {} another key", route.name), &answer, route.signed_for.is_none());
            }
        }
    }
    // Nobody who was turned away has done anything.
    assert_eq!(stack.sandbox().unwrap().clock().offset().as_secs(), 0);
    println!("{answered} knocks were answered, {turned_away} were not, and no answer lets another site read");
}

/// Returns true if a function, the gateway or the sandbox refused it, and not the door.
fn is_of_its_function(answer: &Answer) -> bool {
    let body: Value = serde_json::from_str(&answer.body).unwrap_or_default();
    answer.status == 400 && (!answer.body.is_empty() && body["__type"].is_null())
}

/// The key is the data folder's, stays with it, and is disclosed to nobody over HTTP.
#[tokio::test]
async fn the_key_is_random_kept_and_in_a_file_of_its_owners() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    // As an earlier version left it.
    std::fs::create_dir(&data).unwrap();
    std::fs::set_permissions(&data, PermissionsExt::from_mode(0o755)).unwrap();
    std::fs::write(data.join("clock.json"), r#"{"advanced_seconds":0}"#).unwrap();
    std::fs::write(data.join("notes.txt"), "somebody's own").unwrap();
    let start = || async {
        Stack::start(StackOptions { data_dir: Some(data.clone()), ..StackOptions::default() }).await.unwrap()
    };
    let stack = start().await;
    let first = stack.urls().secret_access_key.clone();
    assert_eq!(std::fs::read_to_string(stack.key_file()).unwrap().trim(), first);
    let mode = |name: &str| std::fs::metadata(data.join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(""), 0o700);
    for entry in std::fs::read_dir(&data).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let expected = if name == "notes.txt" { 0o644 } else { 0o600 };
        assert_eq!(mode(&name), expected, "{name}");
    }
    let asks = plain(&stack.urls().service_url, "", "GET", "/dev/stack");
    let told = knock(&stack, &asks, "GET", Key::None, &[("host", "localhost")]).await;
    assert_eq!(told.status, 200);
    assert!(told.body.contains("secret-access-key") && !told.body.contains(&first), "{}", told.body);
    assert!(!format!("{:?}", stack.urls()).contains(&first));
    stack.stop().await;

    let again = start().await;
    assert_eq!(again.urls().secret_access_key, first, "clients need not be told anew after a restart");
    drop(again);
    let ephemeral = Stack::start(StackOptions::default()).await.unwrap();
    assert_ne!(ephemeral.urls().secret_access_key, first);
    let file = ephemeral.key_file().to_owned();
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    ephemeral.stop().await;
    assert!(!file.exists());
}

#[tokio::test]
async fn a_shared_folder_is_not_taken_over() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o1777)).unwrap();
    let data_dir = Some(folder.path().to_owned());
    let refused = Stack::start(StackOptions { data_dir, ..StackOptions::default() }).await;
    assert!(refused.is_err_and(|error| error.to_string().contains("--data-dir")));
    assert_eq!(std::fs::metadata(folder.path()).unwrap().permissions().mode() & 0o7777, 0o1777);
}

/// With a real app the clock is the machine's, whatever clock a sandbox in the same folder had.
#[tokio::test]
async fn nobody_moves_the_clock_of_a_live_stack() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("clock.json"), r#"{"advanced_seconds":5270400}"#).unwrap();
    let app = threads_graph::AppCredentials {
        app_id: "1234567890".parse().unwrap(),
        app_secret: threads_graph::AppSecret::new("a-secret-of-a-real-app".to_owned()).unwrap(),
    };
    let stack = Stack::start(StackOptions {
        data_dir: Some(folder.path().to_owned()),
        threads: Threads::Live(LiveApp { credentials: app }),
        public_url: Some(format!("https://{PUBLIC}").parse().unwrap()),
        ..StackOptions::default()
    })
    .await
    .unwrap();
    assert_eq!(stack.clock().offset().as_secs(), 0);
    let mut clock = plain(&stack.urls().service_url, "", "POST", "/dev/clock");
    clock.body = r#"{"advance_seconds":5270400}"#;
    let moved = knock(&stack, &clock, "POST", Key::None, &[("host", "localhost")]).await;
    assert_eq!((moved.status, stack.clock().offset().as_secs()), (403, 0), "{}", moved.body);
    let told: Value = serde_json::from_str(&moved.body).unwrap();
    assert_eq!(told["error"], json!("live"));
}
