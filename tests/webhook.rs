//! Webhooks: every event reaches a backend that may be down, slow or wrong for a while, signed, and
//! what cannot be delivered is kept.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use devstack::{Stack, StackOptions};
use jiff::Timestamp;
use reqwest::Method;
use ring::hmac;
use serde_json::{Value, json};
use threads_auth::Config;
use threads_auth_model::webhook::WebhookSecret;
use threads_auth_store::aws;
use threads_auth_web::{Failed, Handled};
use tokio::net::{TcpListener, TcpSocket};
use url::Url;
use webhook::WebhookFunction;

use crate::fixture::{Browser, START, account, connect_people, http, options, secret_text};

/// The answer of a receiver to a request.
#[derive(Clone)]
pub(crate) enum Answer {
    Status(u16),
    With(u16, &'static str, String),
    Never,
}

/// A request, as the receiver got it.
#[derive(Clone, Debug)]
pub(crate) struct Post {
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Post {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    fn event(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    /// Says for each signature if the secret has made it, by Standard Webhooks' text alone.
    pub(crate) fn signed_by(&self, secret: &str) -> Vec<bool> {
        let key = BASE64_STANDARD.decode(secret.strip_prefix("whsec_").unwrap()).unwrap();
        let key = hmac::Key::new(hmac::HMAC_SHA256, &key);
        let (id, at) = (self.header("webhook-id"), self.header("webhook-timestamp"));
        let content = format!("{id}.{at}.{}", self.body);
        let is_ours = |signature: &str| {
            let (version, signature) = signature.split_once(',').unwrap();
            let signature = BASE64_STANDARD.decode(signature).unwrap();
            version == "v1" && hmac::verify(&key, content.as_bytes(), &signature).is_ok()
        };
        self.header("webhook-signature").split(' ').map(is_ours).collect()
    }
}

/// A receiver whose port is known before it listens.
pub(crate) struct Receiver {
    socket: Option<TcpSocket>,
    pub(crate) url: Url,
    answers: Arc<Mutex<VecDeque<Answer>>>,
    posts: Arc<Mutex<Vec<Post>>>,
}

impl Receiver {
    pub(crate) fn down() -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let url = format!("http://{}/threads?token=canary-token", socket.local_addr().unwrap());
        Self {
            socket: Some(socket),
            url: url.parse().unwrap(),
            answers: Arc::default(),
            posts: Arc::default(),
        }
    }

    pub(crate) fn up() -> Self {
        let mut receiver = Self::down();
        receiver.listen();
        receiver
    }

    pub(crate) fn listen(&mut self) {
        let (answers, posts) = (Arc::clone(&self.answers), Arc::clone(&self.posts));
        let router = Router::new().fallback(move |uri: Uri, headers: HeaderMap, body: Bytes| async move {
            let body = String::from_utf8(body.to_vec()).unwrap();
            posts.lock().unwrap().push(Post { path: uri.path().to_owned(), headers, body });
            let answer = answers.lock().unwrap().pop_front().unwrap_or(Answer::Status(204));
            respond(answer).await
        });
        let listener = self.socket.take().unwrap().listen(64).unwrap();
        tokio::spawn(async move { axum::serve(listener, router).await });
    }

    pub(crate) fn will(&self, answers: impl IntoIterator<Item = Answer>) {
        self.answers.lock().unwrap().extend(answers);
    }

    pub(crate) fn take(&self) -> Vec<Post> {
        std::mem::take(&mut self.posts.lock().unwrap())
    }
}

async fn respond(answer: Answer) -> Response {
    let status = |status| StatusCode::from_u16(status).unwrap();
    match answer {
        Answer::Status(code) => (status(code), "canary: nobody reads this").into_response(),
        Answer::With(code, name, value) => (status(code), [(name, value)]).into_response(),
        Answer::Never => std::future::pending().await,
    }
}

pub(crate) async fn stack_for(receiver: &Receiver, variables: &[(&str, &str)]) -> Stack {
    let options = options(START.parse().unwrap(), variables);
    Stack::start(StackOptions { webhook: Some(receiver.url.clone()), ..options }).await.unwrap()
}

/// Returns the stack's state of deliveries.
async fn deliveries(stack: &Stack) -> Value {
    let url = format!("{}/dev/webhook", stack.urls().service_url);
    serde_json::from_str(&Browser::new().get(&url).await.body).unwrap()
}

pub(crate) async fn secret(stack: &Stack) -> WebhookSecret {
    WebhookSecret::from_json(&secret_text(stack, "threads-auth/webhook").await).unwrap()
}

async fn write_secret(stack: &Stack, text: &str) {
    let client = aws::secrets_manager(&stack.service().config().aws, &http());
    let put = client.put_secret_value().secret_id("threads-auth/webhook").secret_string(text);
    put.send().await.unwrap();
}

/// A backend that is down, fails, wants time and points elsewhere gets the event all the same: the
/// same event, under the same id, signed at each attempt.
#[tokio::test]
async fn an_event_arrives_signed_however_long_the_receiver_was_wrong() {
    let mut receiver = Receiver::down();
    let stack = stack_for(&receiver, &[]).await;
    let ada = account(&stack, "ada");
    Browser::new().connect(&stack, &ada).await;
    stack.announce().await.unwrap();
    let due = async || {
        let waiting = &deliveries(&stack).await["waiting"];
        assert_eq!(waiting.as_array().unwrap().len(), 1, "{waiting}");
        let due_at: Timestamp = waiting[0]["due_at"].as_str().unwrap().parse().unwrap();
        (waiting[0]["attempts"].as_u64().unwrap(), due_at.duration_since(stack.clock().now()).as_secs())
    };
    stack.deliver().await;
    assert_eq!(due().await, (1, 1));
    // Nothing is due yet.
    stack.deliver().await;
    assert_eq!(due().await, (1, 1));

    receiver.listen();
    let elsewhere = receiver.url.join("/elsewhere").unwrap().to_string();
    receiver.will([
        Answer::Status(500),
        Answer::With(429, "retry-after", "120".to_owned()),
        Answer::With(307, "location", elsewhere),
        Answer::Status(202),
    ]);
    let mut seen = Vec::new();
    for (after, expected) in [(2, Some(2)), (3, Some(120)), (119, None), (1, Some(5)), (6, None)] {
        stack.clock().advance(std::time::Duration::from_secs(after));
        stack.deliver().await;
        let posts = receiver.take();
        if after == 119 {
            assert!(posts.is_empty(), "the receiver has asked for two minutes");
            continue;
        }
        let [post] = &posts[..] else { panic!("{posts:?}") };
        assert_eq!(post.path, "/threads", "no redirect is followed");
        assert_eq!(post.header("webhook-timestamp"), stack.clock().now().as_second().to_string());
        assert_eq!(post.signed_by(&secret(&stack).await.expose()), [true]);
        seen.push(post.clone());
        if let Some(expected) = expected {
            assert_eq!(due().await.1, expected);
        }
    }
    let state = deliveries(&stack).await;
    assert_eq!((&state["waiting"], &state["dead_letters"]), (&json!([]), &json!([])));
    let event = stack.events()[0]["detail"].clone();
    for post in &seen {
        assert_eq!((post.event(), post.header("webhook-id")), (event.clone(), event["id"].as_str().unwrap()));
        assert_eq!(post.header("content-type"), "application/json");
    }
    assert_eq!(state["delivered"], json!([{"event_id": event["id"], "attempts": 5}]));
    stack.deliver().await;
    assert!(receiver.take().is_empty(), "what was delivered is not repeated");

    // A developer asks for it again.
    let again = format!("{}/dev/webhook/replay", stack.urls().service_url);
    for (id, status) in [(event["id"].clone(), 200), (json!("another"), 404), (json!(1), 400)] {
        let body = json!({"id": id}).to_string();
        let reply = Browser::new().send(Method::POST, &again, HeaderMap::new(), body).await;
        assert_eq!(reply.status.as_u16(), status);
    }
    stack.deliver().await;
    assert_eq!(receiver.take().iter().map(Post::event).collect::<Vec<_>>(), [event]);
}

/// A receiver that never answers is given half of a request's time.
#[tokio::test]
async fn a_receiver_that_hangs_is_asked_again() {
    let receiver = Receiver::up();
    receiver.will([Answer::Never]);
    let stack = stack_for(&receiver, &[("REQUEST_SECONDS", "4")]).await;
    Browser::new().connect(&stack, &account(&stack, "ada")).await;
    stack.announce().await.unwrap();
    let mut posts = Vec::new();
    while posts.len() < 2 {
        stack.deliver().await;
        stack.clock().advance(std::time::Duration::from_secs(10));
        posts.extend(receiver.take());
    }
    assert_eq!(posts[0].header("webhook-id"), posts[1].header("webhook-id"));
    assert_eq!(deliveries(&stack).await["waiting"], json!([]));
}

/// Until the old secret has ended, a receiver with either one verifies; then the new one is alone.
#[tokio::test]
async fn two_secrets_sign_while_a_rotation_lasts() {
    let receiver = Receiver::up();
    let stack = stack_for(&receiver, &[("SECRETS_TTL_SECONDS", "1")]).await;
    let old = secret(&stack).await;
    let until = stack.clock().now().checked_add(std::time::Duration::from_secs(100)).unwrap();
    let new = old.rotated(Some(until)).unwrap();
    let mut signed = Vec::new();
    for (at, text) in [(0, None), (10, Some(new.to_json())), (89, None), (1, None)] {
        if let Some(text) = text {
            write_secret(&stack, &text).await;
        }
        stack.clock().advance(std::time::Duration::from_secs(at));
        Browser::new().connect(&stack, &account(&stack, "ada")).await;
        stack.announce().await.unwrap();
        stack.deliver().await;
        let posts = receiver.take();
        let by = |secret: &WebhookSecret| posts[0].signed_by(&secret.expose());
        signed.push((by(&old), by(&new)));
    }
    let both = (vec![false, true], vec![true, false]);
    assert_eq!(signed, [(vec![true], vec![false]), both.clone(), both, (vec![false], vec![true])]);
}

/// Nothing leaves unsigned, and nothing is lost meanwhile.
#[tokio::test]
async fn without_a_secret_nothing_is_posted_and_nothing_is_lost() {
    let receiver = Receiver::up();
    let stack = stack_for(&receiver, &[("SECRETS_TTL_SECONDS", "1")]).await;
    let good = secret(&stack).await;
    Browser::new().connect(&stack, &account(&stack, "ada")).await;
    stack.announce().await.unwrap();
    for text in ["", "canary", r#"{"secret":"canary"}"#] {
        write_secret(&stack, if text.is_empty() { "{}" } else { text }).await;
        stack.deliver().await;
        stack.clock().advance(std::time::Duration::from_mins(1));
        assert!(receiver.take().is_empty(), "{text}");
    }
    write_secret(&stack, &good.to_json()).await;
    stack.deliver().await;
    assert_eq!(receiver.take()[0].signed_by(&good.expose()), [true]);
}

/// SQS, as far as the function calls it.
#[derive(Default)]
pub(crate) struct Queues {
    calls: Mutex<Vec<(String, Value)>>,
    is_away: Mutex<bool>,
}

impl Queues {
    pub(crate) async fn start(self: &Arc<Self>) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let queues = Arc::clone(self);
        let router = Router::new().fallback(move |headers: HeaderMap, body: Bytes| async move {
            if *queues.is_away.lock().unwrap() {
                return (StatusCode::FORBIDDEN, r#"{"__type":"AccessDenied"}"#);
            }
            let name = headers["x-amz-target"].to_str().unwrap().trim_start_matches("AmazonSQS.").to_owned();
            queues.calls.lock().unwrap().push((name, serde_json::from_slice(&body).unwrap()));
            (StatusCode::OK, r#"{"MessageId":"m"}"#)
        });
        tokio::spawn(async move { axum::serve(listener, router).await });
        url
    }

    pub(crate) fn take(&self) -> Vec<(String, Value)> {
        std::mem::take(&mut self.calls.lock().unwrap())
    }
}

fn function(stack: &Stack, sqs_url: &str) -> WebhookFunction {
    let mut variables = stack.variables().clone();
    for (name, value) in
        [("AWS_ENDPOINT_URL_SQS", sqs_url), ("WEBHOOK_QUEUE", "queue"), ("WEBHOOK_DEAD_LETTERS", "letters")]
    {
        variables.insert(name.to_owned(), value.to_owned());
    }
    WebhookFunction::new(&Config::from_vars(&variables, None).unwrap()).unwrap()
}

/// A message as Lambda passes it on.
pub(crate) fn message(n: u32, body: &str, attempt: u32, sent_at: Timestamp) -> Value {
    json!({
        "messageId": format!("m{n}"), "receiptHandle": format!("r{n}"), "body": body,
        "attributes": {
            "ApproximateReceiveCount": attempt.to_string(),
            "SentTimestamp": sent_at.as_millisecond().to_string(),
        },
        "messageAttributes": {}, "eventSource": "aws:sqs",
    })
}

pub(crate) fn event(n: u32) -> String {
    format!(r#"{{"version":"1", "id":"e{n}:account.refreshed", "type":"account.refreshed"}}"#)
}

fn failed(ids: &[&str]) -> Handled {
    Handled {
        batch_item_failures: ids.iter().map(|id| Failed { item_identifier: (*id).to_owned() }).collect(),
    }
}

/// Only the failed messages of a batch come again, each after its own wait. Those that cannot
/// succeed are kept.
#[tokio::test]
async fn a_batch_with_one_failure_repeats_nothing_else() {
    let (receiver, queues) = (Receiver::up(), Arc::new(Queues::default()));
    let stack = stack_for(&receiver, &[]).await;
    let function = function(&stack, &queues.start().await);
    let now = stack.clock().now();
    let long_ago = now.checked_sub(std::time::Duration::from_hours(72)).unwrap();
    let later = long_ago.checked_add(std::time::Duration::from_mins(1)).unwrap();

    receiver.will([200, 500, 204, 500, 410, 503, 500].map(Answer::Status));
    let batch: Vec<_> = [(1, now), (1, now), (3, now), (4, now), (1, now), (9, long_ago), (9, later)]
        .iter()
        .enumerate()
        .map(|(n, (attempt, sent_at))| {
            let n = u32::try_from(n).unwrap();
            message(n, &event(n), *attempt, *sent_at)
        })
        .chain([message(7, "canary", 1, now), message(8, r#"{"id":"two\nlines"}"#, 1, now)])
        .collect();
    let handled = function.handle(&json!({"Records": batch}), now).await;
    assert_eq!(handled, failed(&["m1", "m3", "m6"]));

    let posts = receiver.take();
    let bodies: Vec<_> = posts.iter().map(|post| post.body.clone()).collect();
    assert_eq!(bodies, (0..7).map(event).collect::<Vec<_>>(), "byte for byte, and in order");
    let key = secret(&stack).await.expose();
    assert!(posts.iter().all(|post| post.signed_by(&key) == [true]));
    let calls = queues.take();
    let hidden: Vec<_> = calls.iter().filter(|(name, _)| name == "ChangeMessageVisibility").collect();
    let seconds = |n: usize| hidden[n].1["VisibilityTimeout"].as_u64().unwrap();
    assert_eq!(hidden.iter().map(|(_, call)| &call["ReceiptHandle"]).collect::<Vec<_>>(), ["r1", "r3", "r6"]);
    assert_eq!(seconds(0), 5);
    assert!((7_200..=8_100).contains(&seconds(1)) && (36_000..=40_500).contains(&seconds(2)), "{calls:?}");
    let letters: Vec<_> = calls
        .iter()
        .filter(|(name, _)| name == "SendMessage")
        .map(|(_, call)| {
            assert_eq!(call["QueueUrl"], "letters");
            let why = call["MessageAttributes"]["why"]["StringValue"].as_str().unwrap();
            (why, call["MessageBody"].as_str().unwrap().to_owned())
        })
        .collect();
    assert_eq!(
        letters,
        [
            ("gone", event(4)),
            ("tried_for_long", event(5)),
            ("malformed", "canary".to_owned()),
            ("malformed", r#"{"id":"two\nlines"}"#.to_owned())
        ]
    );
}

/// A message that SQS does not settle stays in the queue: late, and not lost.
#[tokio::test]
async fn a_queue_that_is_away_loses_nothing() {
    let (receiver, queues) = (Receiver::up(), Arc::new(Queues::default()));
    *queues.is_away.lock().unwrap() = true;
    let stack = stack_for(&receiver, &[]).await;
    let function = function(&stack, &queues.start().await);
    let now = stack.clock().now();
    receiver.will([500, 410, 200].map(Answer::Status));
    let batch: Vec<_> = (0..3).map(|n| message(n, &event(n), 1, now)).collect();
    assert_eq!(function.handle(&json!({"Records": batch}), now).await, failed(&["m0", "m1"]));
    // An input that is no batch is repeated whole.
    assert_eq!(function.handle(&json!({"Records": [{"messageId": "m"}]}), now).await, failed(&[""]));
}

/// Many events reach a receiver in the order of the bus, as long as all goes well.
#[tokio::test]
async fn events_are_posted_as_they_come() {
    let receiver = Receiver::up();
    let stack = stack_for(&receiver, &[]).await;
    connect_people(&stack, 5).await;
    stack.announce().await.unwrap();
    stack.deliver().await;
    let posted: Vec<_> = receiver.take().iter().map(Post::event).collect();
    let told: Vec<_> = stack.events().into_iter().rev().map(|event| event["detail"].clone()).collect();
    assert_eq!((posted.len(), &posted), (5, &told));
}
