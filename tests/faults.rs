//! Faults of our own side: rows that make no sense, and answers of DynamoDB that get lost.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Response};
use devstack::Stack;
use futures_util::stream;
use jiff::SignedDuration;
use reqwest::Client;
use threads_auth::grant::Status;
use threads_auth::store::{DueKey, Lease, LeaseOutcome, Wanted};
use threads_auth::{Config, ThreadsAuth, aws};
use tokio::net::TcpListener;

use crate::fixture::{
    Browser, DAY, SHORT_WAIT, account, connect_people, grant, http, parameter, stack, stack_with, token,
};

const PEOPLE: u64 = 200;

/// Threat 22: one grant in a hundred cannot be read or opened; the others are refreshed, again and again.
#[tokio::test]
async fn poison_items_stop_nobody_else() {
    let stack = stack().await;
    let people = connect_people(&stack, PEOPLE).await;
    poison(&stack, &people[0], "scopes", AttributeValue::N("7".to_owned())).await;
    poison(
        &stack,
        &people[1],
        "token",
        AttributeValue::B(Blob::new(b"\x01\x01knonsense".as_slice())),
    )
    .await;
    stack.clock().advance(41 * DAY);
    let report = stack.sweep().await.unwrap();
    println!(
        "poison: {} of {PEOPLE} refreshed, {:?}",
        report.count("refreshed"),
        report.outcomes
    );
    assert_eq!(report.count("refreshed"), PEOPLE - 2);
    assert_eq!(
        (report.count("broken_row"), report.count("undecryptable")),
        (1, 1)
    );
    // They are put off, not forgotten, and nothing is declared dead for them.
    assert!(stack.sweep().await.unwrap().outcomes.is_empty());
    assert_eq!(grant(&stack, &people[1]).await.status, Status::Active);
    stack.clock().advance(DAY);
    let later = stack.sweep().await.unwrap();
    assert_eq!((later.count("broken_row"), later.count("undecryptable")), (1, 1));
}

async fn poison(stack: &Stack, user_id: &str, attribute: &str, value: AttributeValue) {
    let config = Config::from_vars(stack.variables()).unwrap();
    aws::dynamodb(&config.aws, &http())
        .update_item()
        .table_name(&config.grants_table)
        .key("pk", AttributeValue::S(format!("user#{user_id}")))
        .update_expression("SET #attribute = :value")
        .expression_attribute_names("#attribute", attribute)
        .expression_attribute_values(":value", value)
        .send()
        .await
        .unwrap();
}

/// Stands before DynamoDB, and loses answers after the write is committed.
#[derive(Clone)]
struct Lossy {
    http: Client,
    upstream: String,
    /// Which answers to lose: an operation, and how many answers of it to let through first.
    lose: Arc<Mutex<Option<(&'static str, u32)>>>,
}

impl Lossy {
    async fn start(stack: &Stack) -> (Self, ThreadsAuth) {
        let lossy = Self {
            http: http().inner().clone(),
            upstream: stack.variables()["AWS_ENDPOINT_URL_DYNAMODB"].clone(),
            lose: Arc::default(),
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().fallback(Self::forward).with_state(lossy.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        let mut variables: HashMap<_, _> = stack.variables().clone();
        variables.insert("AWS_ENDPOINT_URL_DYNAMODB".to_owned(), url);
        (
            lossy,
            ThreadsAuth::new(Config::from_vars(&variables).unwrap()).unwrap(),
        )
    }

    fn lose(&self, operation: &'static str, after: u32) {
        *self.lose.lock().unwrap() = Some((operation, after));
    }

    fn has_lost(&self) -> bool {
        self.lose.lock().unwrap().is_none()
    }

    #[expect(clippy::disallowed_methods, reason = "a test's own requests")]
    async fn forward(State(lossy): State<Self>, headers: HeaderMap, body: Bytes) -> Response<Body> {
        let target = headers["x-amz-target"].to_str().unwrap().to_owned();
        let answer = lossy
            .http
            .post(&lossy.upstream)
            .headers(headers)
            .body(body)
            .send()
            .await
            .unwrap();
        let (status, headers) = (answer.status(), answer.headers().clone());
        let bytes = answer.bytes().await.unwrap();
        let body = if lossy.is_to_be_lost(&target) {
            // Announced at full length and cut: an answer that never arrives.
            Body::from_stream(stream::iter([
                Ok(bytes.slice(..1)),
                Err(std::io::Error::other("lost")),
            ]))
        } else {
            Body::from(bytes)
        };
        let mut response = Response::new(body);
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        response
    }

    fn is_to_be_lost(&self, target: &str) -> bool {
        let mut armed = self.lose.lock().unwrap();
        match &mut *armed {
            Some((operation, after)) if target.ends_with(&format!(".{operation}")) => {
                if *after == 0 {
                    *armed = None;
                    return true;
                }
                *after -= 1;
                false
            }
            _ => false,
        }
    }
}

/// Threat 15: each write of a connect and of a sweep loses its answer once.
#[tokio::test]
async fn a_lost_answer_of_the_database_is_no_failure() {
    let mut false_failures = 0;
    for (operation, after) in [("TransactWriteItems", 0), ("UpdateItem", 0), ("UpdateItem", 1)] {
        let stack = stack().await;
        let ada = account(&stack, "ada");
        let (lossy, service) = Lossy::start(&stack).await;
        lossy.lose(operation, after);
        let mut browser = Browser::new();
        let back = browser.consent(&stack, "", &ada).await;
        let cookies: Vec<_> = browser
            .jar
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let cookies: Vec<_> = cookies.iter().map(String::as_str).collect();
        let now = stack.clock().now();
        let connected = service.finish(back.query().unwrap(), &cookies, now).await;
        false_failures += u32::from(connected.is_err());
        stack.clock().advance(41 * DAY);
        let report = service
            .sweep(stack.clock().now(), Duration::from_mins(15))
            .await
            .unwrap();
        false_failures += u32::from(report.count("refreshed") != 1);
        assert!(lossy.has_lost(), "{operation} {after}: no answer was lost");
        assert!(grant(&stack, &ada).await.token.unwrap().expires_at > stack.clock().now() + 50 * DAY);
    }
    println!("lost answers: {false_failures} false failures");
    assert_eq!(false_failures, 0);
}

/// Hundreds may wait for one token: what they write in vain would hold up the write that they wait for.
#[tokio::test]
async fn a_caller_who_waits_for_a_token_does_not_write() {
    let stack = stack_with(&SHORT_WAIT).await;
    let ada = account(&stack, "ada");
    let (watched, service) = Lossy::start(&stack).await;
    Browser::new().connect(&stack, &ada).await;
    stack.clock().advance(DAY * 41);
    let now = stack.clock().now();
    let lease = Lease {
        owner: "somebody else",
        until: now + Duration::from_mins(2),
    };
    let user_id = ada.parse().unwrap();
    let leased = stack
        .service()
        .store()
        .lease(&DueKey::of(&user_id), Wanted::Due, lease, now)
        .await;
    assert!(matches!(leased, Ok(LeaseOutcome::Leased(_))));
    watched.lose("UpdateItem", 0);
    let vended = service
        .vend(&user_id, SignedDuration::ZERO, None, now)
        .await
        .unwrap();
    assert_eq!(vended.access_token.expose(), token(&stack, &ada).await);
    assert!(!watched.has_lost(), "it wrote");
}

/// The database redeems a completion code, and its answer is lost: the code is not spent in vain.
#[tokio::test]
async fn a_completion_whose_answer_is_lost_is_no_failure() {
    let stack = stack().await;
    let ada = account(&stack, "ada");
    let (watched, service) = Lossy::start(&stack).await;
    let now = stack.clock().now();
    let session = service
        .create_session(crate::connect::new_session("user-1"), now)
        .await
        .unwrap();
    let mut browser = Browser::new();
    let back = browser
        .consent(&stack, &format!("session={}", session.id), &ada)
        .await;
    let location = browser.get(back.as_str()).await.location();
    let completion = parameter(&location, "completion");
    watched.lose("UpdateItem", 0);
    let completed = service
        .complete_session(&session.id, &completion, now)
        .await
        .unwrap();
    assert!(watched.has_lost());
    assert_eq!(completed.grant.user_id.as_str(), ada);
    assert!(
        service
            .complete_session(&session.id, &completion, now)
            .await
            .is_err()
    );
}
