//! Secrets that cannot be read for a while: the last good ones go on, for an hour.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Method, Response, StatusCode};
use devstack::Stack;
use futures_util::future::join_all;
use futures_util::stream;
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use threads_auth::{Config, ConnectError, ConnectRefusal, RefreshOutcome, SweepError, ThreadsAuth};
use threads_auth_model::seal::{self, KeyringChange, change_keyring};
use threads_auth_store::aws;
use threads_sandbox::NewAccount;
use webhook::{Delivery, Message, Verdict, WAITS};

use crate::fixture::{
    Browser, DAY, Reply, account, connect_people, grant, http, is_usable, secret_text, serve, stack,
    token as stored_token,
};
use crate::server_errors::request;
use crate::threats::common::{cookies, invoke_at};
use crate::webhook::{Receiver, stack_for};

/// The answers of Secrets Manager to a read.
#[derive(Clone, Copy, Debug)]
enum Answer {
    /// Those of the stack's own.
    Good,
    /// A status, an error's code and its message.
    Refused(u16, &'static str, &'static str),
    /// A status and a body that is no error of AWS's.
    Other(u16, &'static str),
    /// A secret with this text.
    Text(&'static str),
    /// A secret without text.
    Binary,
    /// Half an answer.
    Cut,
    /// None.
    Never,
}

/// The ways in which a read fails while the secret exists. AWS's pages have the codes: the common
/// errors of all services, those of Secrets Manager, and those of KMS behind it.
const FAILURES: [Answer; 24] = [
    Answer::Refused(403, "ExpiredToken", "The security token included in the request is expired"),
    Answer::Refused(400, "ExpiredTokenException", "The security token included in the request is expired"),
    Answer::Refused(400, "UnrecognizedClientException", "The security token included is invalid."),
    Answer::Refused(400, "InvalidSignatureException", "Signature expired: it is now earlier than"),
    Answer::Refused(403, "SignatureDoesNotMatch", "The request signature we calculated does not match"),
    Answer::Refused(403, "RequestTimeTooSkewed", "The difference between the times is too large."),
    Answer::Refused(400, "RequestExpired", "The request reached us more than 15 minutes later"),
    Answer::Refused(400, "AccessDeniedException", "User is not authorized to perform: GetSecretValue"),
    Answer::Refused(400, "AccessDeniedException", "Access to KMS is not allowed"),
    Answer::Refused(400, "DecryptionFailure", "Secrets Manager can't decrypt with the provided KMS key."),
    Answer::Refused(400, "KMSInvalidStateException", "arn:aws:kms:key/1 is pending deletion."),
    Answer::Refused(400, "NotFoundException", "Key 'arn:aws:kms:key/1' does not exist"),
    Answer::Refused(400, "InvalidRequestException", "You can't perform this operation on the secret."),
    Answer::Refused(400, "LimitExceededException", "The request would exceed a quota."),
    Answer::Refused(400, "ThrottlingException", "Rate exceeded"),
    Answer::Refused(500, "InternalServiceError", "An error occurred on the server side."),
    Answer::Refused(503, "ServiceUnavailable", "The request has failed for a temporary failure."),
    Answer::Other(404, "<html>no such page</html>"),
    Answer::Other(200, "<html>a proxy</html>"),
    Answer::Text("canary: no JSON"),
    Answer::Text(r#"{"app_id":"1","writing":"canary"}"#),
    Answer::Text(""),
    Answer::Binary,
    Answer::Cut,
];

/// The ways in which a read fails because the secret is gone.
const DELETED: [Answer; 3] = [
    Answer::Refused(400, "ResourceNotFoundException", "Secrets Manager can't find the specified secret."),
    Answer::Refused(
        400,
        "ResourceNotFoundException",
        "Secrets Manager can't find the specified secret value for staging label: AWSCURRENT",
    ),
    Answer::Refused(
        400,
        "InvalidRequestException",
        "You can't perform this operation on the secret because it was marked for deletion.",
    ),
];

/// Stands before Secrets Manager.
#[derive(Clone)]
struct Front {
    http: reqwest::Client,
    upstream: String,
    answer: Arc<Mutex<Answer>>,
    reads: Arc<Mutex<u32>>,
}

impl Front {
    async fn start(stack: &Stack) -> (Self, ThreadsAuth) {
        Self::start_with(stack, "600").await
    }

    async fn start_with(stack: &Stack, request_seconds: &str) -> (Self, ThreadsAuth) {
        let front = Self {
            http: http().inner().clone(),
            upstream: stack.variables()["AWS_ENDPOINT_URL_SECRETS_MANAGER"].clone(),
            answer: Arc::new(Mutex::new(Answer::Good)),
            reads: Arc::default(),
        };
        let url = serve(Router::new().fallback(Self::forward).with_state(front.clone())).await;
        let mut variables = stack.variables().clone();
        variables.insert("AWS_ENDPOINT_URL_SECRETS_MANAGER".to_owned(), url);
        variables.insert("REQUEST_SECONDS".to_owned(), request_seconds.to_owned());
        let config = Config::from_vars(&variables, None).unwrap();
        (front, ThreadsAuth::new(config).unwrap())
    }

    fn will(&self, answer: Answer) {
        *self.answer.lock().unwrap() = answer;
    }

    fn take_reads(&self) -> u32 {
        std::mem::take(&mut *self.reads.lock().unwrap())
    }

    #[expect(clippy::disallowed_methods, reason = "a test's own requests")]
    async fn forward(State(front): State<Self>, headers: HeaderMap, body: Bytes) -> Response<Body> {
        *front.reads.lock().unwrap() += 1;
        let secret = |value: serde_json::Value| {
            let mut told = json!({"ARN": "arn", "Name": "name", "VersionId": "0".repeat(32)});
            told.as_object_mut().unwrap().extend(value.as_object().unwrap().clone());
            (200, Body::from(told.to_string()))
        };
        let answer = *front.answer.lock().unwrap();
        let (status, body) = match answer {
            Answer::Good => {
                let request = front.http.post(&front.upstream).headers(headers).body(body);
                let answer = request.send().await.unwrap();
                (answer.status().as_u16(), Body::from(answer.bytes().await.unwrap()))
            }
            Answer::Refused(status, code, message) => {
                (status, Body::from(json!({"__type": code, "message": message}).to_string()))
            }
            Answer::Other(status, text) => (status, Body::from(text)),
            Answer::Text(text) => secret(json!({"SecretString": text})),
            Answer::Binary => secret(json!({"SecretBinary": "Y2FuYXJ5"})),
            Answer::Cut => {
                let half = [Ok(Bytes::from_static(b"{")), Err(std::io::Error::other("cut"))];
                (200, Body::from_stream(stream::iter(half)))
            }
            Answer::Never => std::future::pending().await,
        };
        let mut response = Response::new(body);
        *response.status_mut() = StatusCode::from_u16(status).unwrap();
        response
    }
}

/// A service whose reads will fail, and the people who use it.
struct Case {
    failure: Answer,
    front: Front,
    service: ThreadsAuth,
    delivery: Delivery,
    /// Connects, and has a token.
    user: String,
    /// Leaves.
    leaver: String,
}

impl Case {
    async fn start(stack: &Stack, n: usize, failure: Answer) -> Self {
        let (front, service) = Front::start(stack).await;
        let delivery = Delivery::new(service.config(), WAITS).unwrap();
        let [user, leaver] = [0, 1].map(|which| {
            let user_id = (17_841_400_000_001_000 + 2 * n + which).to_string();
            let account = NewAccount::new(format!("person{n}of{which}"), user_id.clone());
            stack.sandbox().unwrap().add_account(account);
            user_id
        });
        Self { failure, front, service, delivery, user, leaver }
    }

    /// Sends one request to each route, and lets a sweep and a delivery run. Returns those that
    /// were put off, after checking how each was.
    async fn failed(&self, stack: &Stack) -> Vec<&'static str> {
        let (service, now) = (&self.service, stack.clock().now());
        let mut failed = Vec::new();
        let mut page = |name, reply: Reply, good: StatusCode| {
            if reply.status != good {
                assert_eq!(reply.status, 503, "{:?}: {name}: {reply:?}", self.failure);
                assert!(reply.is_page("unavailable"), "{:?}: {name}: {reply:?}", self.failure);
                assert!(reply.headers.contains_key("retry-after"), "{reply:?}");
                assert!(!reply.body.contains("canary"), "{reply:?}");
                failed.push(name);
            }
        };
        page("authorize", invoke_at(service, now, "/authorize", "", &[]).await, StatusCode::FOUND);
        let mut browser = Browser::new();
        let back = browser.consent(stack, "", &self.user).await;
        let reply = invoke_at(service, now, "/callback", back.query().unwrap(), &cookies(&browser)).await;
        page("callback", reply, StatusCode::SEE_OTHER);

        let (get, post) = (&Method::GET, &Method::POST);
        let signed = stack.sandbox().unwrap().signed_request(&self.leaver);
        let signed = format!("signed_request={signed}");
        let session = r#"{"reference":"user-1","return_to":"https://localhost/"}"#;
        let vend = request(get, &format!("/users/{}/token", self.user), "");
        let replies = [
            ("vend", token::handle(service, &vend, now).await),
            ("deauthorize", deauthorize::handle(service, &request(post, "/deauthorize", &signed), now).await),
            ("deletion", deletion::handle(service, &request(post, "/data-deletion", &signed), now).await),
            ("sessions", sessions::handle(service, &request(post, "/sessions", session), now).await),
        ];
        for (name, reply) in replies {
            if !reply.status().is_success() {
                assert_eq!(reply.status(), 503, "{:?}: {name}: {reply:?}", self.failure);
                assert!(reply.headers().contains_key("retry-after"), "{name}: {reply:?}");
                assert!(reply.body().contains(r#""code":"unavailable""#), "{name}: {reply:?}");
                assert!(!reply.body().contains("canary"), "{reply:?}");
                failed.push(name);
            }
        }
        match service.sweep(now, Duration::from_mins(15)).await {
            Ok(_) => {}
            Err(SweepError::Secrets(_)) => failed.push("sweep"),
            Err(error) => panic!("{:?}: {error:?}", self.failure),
        }
        match self.delivery.attempt(&message(now), now, now).await {
            Verdict::Delivered => {}
            Verdict::Later(_) => failed.push("webhook"),
            Verdict::Dead(death) => panic!("{:?}: {death:?}", self.failure),
        }
        failed
    }
}

fn message(now: Timestamp) -> Message {
    Message { body: r#"{"id":"event-1"}"#.to_owned(), sent_at: now, attempt: 1 }
}

/// Nobody needs a secret to begin a session.
const ALL: [&str; 7] = ["authorize", "callback", "vend", "deauthorize", "deletion", "sweep", "webhook"];

/// Threat silence: whatever prevents a read of the secrets, everything goes on with the last good
/// ones for an hour, and is put off after it; but not with a secret that was deleted.
#[tokio::test]
async fn the_last_good_secrets_go_on_for_an_hour() {
    let receiver = Receiver::up();
    let stack = stack_for(&receiver, &[]).await;
    let failures = FAILURES.into_iter().chain(DELETED).enumerate();
    let cases = join_all(failures.map(|(n, failure)| Case::start(&stack, n, failure))).await;
    let (unread, deleted) = cases.split_at(FAILURES.len());
    let round = async |cases: &[Case], expected: &[&str]| {
        let failed = join_all(cases.iter().map(|case| case.failed(&stack))).await;
        for (case, failed) in cases.iter().zip(failed) {
            assert_eq!(failed, expected, "{:?} at {}", case.failure, stack.clock().now());
        }
        cases.len() * (ALL.len() + 1)
    };
    for case in &cases {
        let now = stack.clock().now();
        case.service.vault(now).await.unwrap();
        assert_eq!(case.delivery.attempt(&message(now), now, now).await, Verdict::Delivered);
        assert_eq!(case.service.stale_for(now).await, None);
        case.front.will(case.failure);
    }
    // From here on a new read is wanted.
    stack.clock().advance(Duration::from_mins(5));
    let mut kept = round(unread, &[]).await;
    let ended = round(deleted, &ALL).await;
    // Without an answer the old value does not come back.
    stack.clock().advance(Duration::from_secs(10));
    for case in deleted {
        case.front.will(Answer::Refused(500, "InternalServiceError", ""));
    }
    round(deleted, &ALL).await;
    stack.clock().advance(Duration::from_secs(3_600 - 300 - 10 - 1));
    kept += round(unread, &[]).await;
    let now = stack.clock().now();
    for case in unread {
        assert_eq!(case.service.stale_for(now).await, Some(Duration::from_secs(3_599)), "{:?}", case.failure);
    }
    stack.clock().advance(Duration::from_secs(1));
    let put_off = round(unread, &ALL).await;
    // They are read again within ten seconds, and everything goes on.
    for case in &cases {
        case.front.will(Answer::Good);
    }
    stack.clock().advance(Duration::from_secs(10));
    round(&cases, &[]).await;
    for case in &cases {
        assert_eq!(case.service.stale_for(stack.clock().now()).await, None);
    }
    println!(
        "secrets that cannot be read: {} failures, {kept} requests within the hour, 0 put off; after it \
         {} of {put_off} requests are answered 503, and of a deleted secret {} of {ended} at once",
        FAILURES.len(),
        unread.len() * ALL.len(),
        deleted.len() * ALL.len(),
    );
}

/// No answer is a failure as others are.
#[tokio::test]
async fn a_read_without_an_answer_is_no_different() {
    let stack = stack().await;
    let (front, service) = Front::start_with(&stack, "10").await;
    let now = stack.clock().now();
    service.vault(now).await.unwrap();
    front.will(Answer::Never);
    for second in [300, 305, 309] {
        service.vault(now + SignedDuration::from_secs(second)).await.unwrap();
    }
    assert!(service.vault(now + SignedDuration::from_hours(1)).await.is_err());
    // Of an attempt for each of the two at 300 and at 3,600 seconds, and their repeats.
    assert!(front.take_reads() <= 2 + 2 * 2 * 3);
}

/// A secret that cannot be read is asked for once in ten seconds, however many use it.
#[tokio::test]
async fn a_secret_that_cannot_be_read_is_seldom_asked_for() {
    let stack = stack().await;
    let (front, service) = Front::start(&stack).await;
    let mut now = stack.clock().now();
    service.vault(now).await.unwrap();
    front.will(Answer::Refused(400, "AccessDeniedException", ""));
    assert_eq!(front.take_reads(), 2);
    now += SignedDuration::from_mins(5);
    for _ in 0..30 {
        for _ in 0..100 {
            service.vault(now).await.unwrap();
        }
        now += SignedDuration::from_secs(1);
    }
    assert_eq!(front.take_reads(), 2 * 3);
}

/// A keyring with a new key, which seals or does not seal yet.
struct Rotation {
    before: String,
    after: String,
    old: String,
}

impl Rotation {
    async fn of(stack: &Stack) -> Self {
        let before = secret_text(stack, &stack.urls().keyring_secret_id).await;
        let added = change_keyring(&before, KeyringChange::Add("new")).unwrap();
        let after = change_keyring(&added, KeyringChange::Write("new")).unwrap().to_string();
        let keyring: serde_json::Value = serde_json::from_str(&before).unwrap();
        Self { old: keyring["writing"].as_str().unwrap().to_owned(), before, after }
    }

    /// Lets a service read the keyring from before the rotation, at this time.
    async fn hide_from(&self, stack: &Stack, services: &[&ThreadsAuth], at: Timestamp) {
        put_keyring(stack, &self.before).await;
        for service in services {
            service.secrets().reread_keyring(at).await.unwrap();
            assert_eq!(service.vault(at).await.unwrap().keyring.writing(), self.old);
        }
        put_keyring(stack, &self.after).await;
    }
}

async fn put_keyring(stack: &Stack, text: &str) {
    let secrets = aws::secrets_manager(&stack.service().config().aws, &http());
    let put = secrets.put_secret_value().secret_id(&stack.urls().keyring_secret_id);
    put.secret_string(text).send().await.unwrap();
}

async fn key_of(stack: &Stack, user_id: &str) -> String {
    let grant = grant(stack, user_id).await;
    seal::key_id(&grant.live().unwrap().token).unwrap().to_owned()
}

const DENIED: Answer = Answer::Refused(400, "AccessDeniedException", "Access to KMS is not allowed");

/// A function meets a key that its keyring does not have: it reads the keyring again at once. If
/// that fails, nothing is marked, put off or refused for good, and all goes on with the next read.
#[tokio::test]
async fn a_key_of_a_newer_keyring_is_read_at_once_or_waited_for() {
    let stack = stack().await;
    let (seeing, quick) = Front::start(&stack).await;
    let (blind, service) = Front::start(&stack).await;
    let rotation = Rotation::of(&stack).await;
    put_keyring(&stack, &rotation.after).await;
    let people = connect_people(&stack, 2).await;
    let ada = &people[0];
    assert_eq!(key_of(&stack, ada).await, "new");
    stack.clock().advance(41 * DAY);
    let now = stack.clock().now();
    rotation.hide_from(&stack, &[&quick, &service], now - SignedDuration::from_secs(11)).await;

    seeing.take_reads();
    blind.take_reads();
    let vend = request(&Method::GET, &format!("/users/{ada}/token"), "");
    let mut browser = Browser::new();
    let back = browser.consent(&stack, "", &people[1]).await;
    let callback = async |now| {
        let reply = invoke_at(&service, now, "/callback", back.query().unwrap(), &cookies(&browser)).await;
        (reply.status.as_u16(), reply.is_page("unavailable"))
    };
    blind.will(DENIED);
    let answer = token::handle(&service, &vend, now).await;
    assert_eq!(answer.status(), 503, "{answer:?}");
    assert!(answer.body().contains(r#""code":"unavailable""#), "{answer:?}");
    assert_eq!(callback(now).await, (503, true));
    let report = service.sweep(now, Duration::from_mins(15)).await.unwrap();
    assert_eq!(report.outcomes, BTreeMap::from([(RefreshOutcome::Deferred, 2)]));
    assert_eq!(blind.take_reads(), 1, "no token causes a read of its own");
    let row = grant(&stack, ada).await;
    assert_eq!((row.failures, row.leased_until), (0, None), "{row:?}");

    assert_eq!(token::handle(&quick, &vend, now).await.status(), 200);
    assert_eq!(seeing.take_reads(), 1);
    let later = now + SignedDuration::from_secs(10);
    blind.will(Answer::Good);
    assert_eq!(callback(later).await, (303, false));
    assert_eq!(token::handle(&service, &vend, later).await.status(), 200);
}

/// Connects an account with this service alone, unless it puts that off.
async fn connect(service: &ThreadsAuth, user_id: &str, now: Timestamp) -> Result<(), ConnectRefusal> {
    let begun = service.begin_connect("", &[], now).await?;
    let mut at_meta = begun.location;
    at_meta.query_pairs_mut().append_pair("auto_approve", user_id);
    let back = Browser::new().get(at_meta.as_str()).await.location();
    let cookie = begun.cookies[0].split(';').next().unwrap();
    service.finish_connect(back.query().unwrap(), &[cookie], now).await.map(drop)
}

/// A function that cannot read the keyring seals with the key from before a rotation for an hour,
/// and not a second longer: `keyring prune` waits for longer than that.
#[tokio::test]
async fn a_key_from_before_a_rotation_seals_for_an_hour_at_most() {
    let stack = stack().await;
    let ada = account(&stack, "ada");
    let (front, service) = Front::start(&stack).await;
    let rotation = Rotation::of(&stack).await;
    let began = stack.clock().now();
    rotation.hide_from(&stack, &[&service], began).await;
    front.will(DENIED);
    stack.clock().advance(Duration::from_secs(3_599));
    connect(&service, &ada, stack.clock().now()).await.unwrap();
    assert_eq!(key_of(&stack, &ada).await, rotation.old);
    stack.clock().advance(Duration::from_secs(1));
    let now = stack.clock().now();
    let refused = connect(&service, &ada, now).await.unwrap_err();
    assert!(matches!(refused.reason, ConnectError::Secrets(_)), "{refused:?}");
    assert!(service.vend(&ada.parse().unwrap(), SignedDuration::ZERO, None, now).await.is_err());
    assert_eq!(now.duration_since(began).unsigned_abs(), service.secrets().usable_for());
    // The functions that read the keyring open it all the same.
    assert!(is_usable(&stack, &stored_token(&stack, &ada).await).await);
}

/// Meta signs with a new secret that a function cannot read: nobody knows whether the message is
/// good, so it is put off, and not refused.
#[tokio::test]
async fn a_signature_that_cannot_be_checked_is_put_off() {
    let stack = stack().await;
    let ada = account(&stack, "ada");
    let id = &stack.urls().app_secret_id;
    let good = secret_text(&stack, id).await;
    let mut old: serde_json::Value = serde_json::from_str(&good).unwrap();
    old["app_secret"] = json!("from-before-the-reset");
    let secrets = aws::secrets_manager(&stack.service().config().aws, &http());
    let write = async |text: &str| {
        secrets.put_secret_value().secret_id(id).secret_string(text).send().await.unwrap();
    };
    let (front, service) = Front::start(&stack).await;
    write(&old.to_string()).await;
    service.vault(stack.clock().now()).await.unwrap();
    write(&good).await;
    let signed = format!("signed_request={}", stack.sandbox().unwrap().signed_request(&ada));
    let junk = "signed_request=a.b";
    let post = async |body: &str, seconds| {
        let now = stack.clock().now() + SignedDuration::from_secs(seconds);
        deauthorize::handle(&service, &request(&Method::POST, "/deauthorize", body), now).await.status()
    };
    front.will(Answer::Refused(500, "InternalServiceError", ""));
    front.take_reads();
    let answers = [post(&signed, 1).await, post(&signed, 2).await, post(&signed, 30).await];
    assert_eq!(answers, [503; 3]);
    assert!(front.take_reads() <= 2 * 3, "three attempts each, once in ten seconds");
    assert_eq!(post(junk, 30).await, 400);
    front.will(Answer::Good);
    assert_eq!(post(&signed, 40).await, 200);
    // Strangers cause a read a minute.
    front.take_reads();
    let (name, value) = signed.split_once('=').unwrap();
    let forged = format!("{name}={}{}", if value.starts_with('A') { 'B' } else { 'A' }, &value[1..]);
    for second in 41..100 {
        assert_eq!(post(&forged, second).await, 400);
    }
    assert!(front.take_reads() <= 1);
}
