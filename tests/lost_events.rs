//! Events while functions are killed, the bus fails and the stream repeats itself.
//!
//! None is lost, a repeat has the id and the text of its first delivery, and the first deliveries
//! of an account come in the order of its changes.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::{HeaderName, HeaderValue, StatusCode as Status};
use axum::response::{IntoResponse, Response};
use devstack::Stack;
use events::EventPublisher;
use futures_util::future::join_all;
use futures_util::stream;
use reqwest::Method;
use serde_json::{Value, json};
use threads_auth::Config;

use crate::bootstraps::{EVENTS, Function, HANG, Outcome, WEBHOOK, now};
use crate::client::client;
use crate::dice::Dice;
use crate::fixture::{Browser, DAY, connect_people, delete_data, http, options, serve};
use crate::holding::{Holding, Window, windows};
use crate::iam;
use crate::webhook::{Answer, Queues, Receiver, event, message, stack_for};

/// The batches of a deployment have up to a hundred changes.
const BATCH: usize = 100;

/// A failure of the bus in one call.
#[derive(Clone, Copy, Debug)]
enum Trouble {
    /// The entries of these indexes are refused.
    Refused(u64),
    /// The call is throttled.
    Throttled,
    /// The bus fails.
    Down,
    /// The entries are taken, and the answer gets lost.
    Lost,
}

/// A bus that remembers all deliveries.
#[derive(Clone, Default)]
struct Bus {
    troubles: Arc<Mutex<VecDeque<Trouble>>>,
    taken: Arc<Mutex<Vec<Value>>>,
}

impl Bus {
    async fn start(&self) -> String {
        let bus = self.clone();
        serve(Router::new().fallback(move |body: Bytes| async move { bus.put(&body) })).await
    }

    fn put(&self, body: &[u8]) -> Response {
        let put: Value = serde_json::from_slice(body).unwrap();
        let trouble = self.troubles.lock().unwrap().pop_front();
        let refused = match trouble {
            Some(Trouble::Throttled) => {
                return (Status::BAD_REQUEST, r#"{"__type":"ThrottlingException"}"#).into_response();
            }
            Some(Trouble::Down) => return Status::INTERNAL_SERVER_ERROR.into_response(),
            Some(Trouble::Refused(refused)) => refused,
            Some(Trouble::Lost) | None => 0,
        };
        let entries = put["Entries"].as_array().unwrap();
        assert!((1..=10).contains(&entries.len()), "{}", entries.len());
        let answers: Vec<_> = entries
            .iter()
            .enumerate()
            .map(|(n, entry)| {
                if refused >> n & 1 == 1 {
                    return json!({"ErrorCode": "InternalFailure", "ErrorMessage": "not now"});
                }
                let event: Value = serde_json::from_str(entry["Detail"].as_str().unwrap()).unwrap();
                self.taken.lock().unwrap().push(event);
                json!({"EventId": "1"})
            })
            .collect();
        if matches!(trouble, Some(Trouble::Lost)) {
            let cut = stream::iter([Ok(Bytes::from_static(b"{")), Err(std::io::Error::other("lost"))]);
            return Body::from_stream(cut).into_response();
        }
        let failed = answers.iter().filter(|answer| answer.get("ErrorCode").is_some()).count();
        json!({"FailedEntryCount": failed, "Entries": answers}).to_string().into_response()
    }

    fn taken(&self) -> Vec<Value> {
        self.taken.lock().unwrap().clone()
    }
}

/// Reads the stream of the grants table, as Lambda does.
#[expect(clippy::disallowed_methods, reason = "a test's own requests")]
async fn changes(stack: &Stack) -> Vec<Value> {
    let url = &stack.urls().dynamodb_url;
    let ask = async |operation: &str, body: Value| {
        let target = format!("DynamoDBStreams_20120810.{operation}");
        let body = body.to_string();
        let signed = [("x-amz-target", target.as_str())];
        let mut headers = iam::signed(stack.urls(), "dynamodb", &Method::POST, url, &signed, &body, now());
        let name = HeaderName::from_static("x-amz-target");
        headers.insert(name, HeaderValue::from_str(&target).unwrap());
        let answer = http().inner().post(url).headers(headers).body(body).send().await.unwrap();
        serde_json::from_str::<Value>(&answer.text().await.unwrap()).unwrap()
    };
    let streams = ask("ListStreams", json!({"TableName": stack.urls().grants_table})).await;
    let arn = &streams["Streams"][0]["StreamArn"];
    let described = ask("DescribeStream", json!({"StreamArn": arn})).await;
    let shard = &described["StreamDescription"]["Shards"][0]["ShardId"];
    let wanted = json!({"StreamArn": arn, "ShardId": shard, "ShardIteratorType": "TRIM_HORIZON"});
    let iterator = ask("GetShardIterator", wanted).await;
    let read = ask("GetRecords", json!({"ShardIterator": iterator["ShardIterator"], "Limit": 1_000})).await;
    read["Records"].as_array().unwrap().clone()
}

/// A stack with the changes of six people's lives, some of which have ended.
async fn lives() -> (Stack, Vec<Value>) {
    let stack = Stack::start(options(now(), &[])).await.unwrap();
    let people = connect_people(&stack, 6).await;
    stack.clock().advance(41 * DAY);
    stack.sweep().await.unwrap();
    Browser::new().connect(&stack, &people[0]).await;
    client(&stack).delete_user(&people[1].parse().unwrap()).await.unwrap();
    Browser::new().connect(&stack, &people[1]).await;
    delete_data(&stack, &people[2]).await;
    Browser::new().connect(&stack, &people[2]).await;
    let changes = changes(&stack).await;
    (stack, changes)
}

fn id(event: &Value) -> &str {
    event["id"].as_str().unwrap()
}

/// Returns the ids of each account's events in the order of their first deliveries.
fn first_deliveries(taken: &[Value]) -> BTreeMap<&str, Vec<&str>> {
    let mut firsts = BTreeMap::<_, Vec<_>>::new();
    for event in taken {
        let of_account = firsts.entry(event["user_id"].as_str().unwrap()).or_default();
        if !of_account.contains(&id(event)) {
            of_account.push(id(event));
        }
    }
    firsts
}

/// Asserts that of the events of `all`, which were delivered without any trouble, none is lost,
/// changed or overtaken, and each was delivered at most so many times. Returns the number of
/// repeats.
fn assert_complete(all: &[Value], taken: &[Value], at_most: usize) -> usize {
    assert_eq!(first_deliveries(all), first_deliveries(taken));
    let mut greatest = BTreeMap::new();
    let mut seen = BTreeMap::<_, Vec<_>>::new();
    let mut followed = 0;
    for event in taken {
        let deliveries = seen.entry(id(event)).or_default();
        deliveries.push(event);
        assert_eq!(deliveries[0], event);
        assert!(deliveries.len() <= at_most, "{event}");
        // An app that follows the order and remembers ids misses nothing.
        let order = event["order"].as_str().unwrap();
        let newest = greatest.entry(event["user_id"].as_str().unwrap()).or_insert((0, ""));
        if deliveries.len() == 1 && (order.len(), order) >= *newest {
            *newest = (order.len(), order);
            followed += 1;
        }
    }
    assert_eq!(followed, all.len());
    taken.len() - all.len()
}

fn publisher(stack: &Stack, url: &str) -> EventPublisher {
    let mut variables = stack.variables().clone();
    variables.insert("AWS_ENDPOINT_URL_EVENTBRIDGE".to_owned(), url.to_owned());
    EventPublisher::new(&Config::from_vars(&variables, None).unwrap()).unwrap()
}

/// The events of these changes, as they are delivered without any trouble.
async fn events_of(stack: &Stack, changes: &[Value]) -> Vec<Value> {
    let bus = Bus::default();
    let handled = publisher(stack, &bus.start().await).handle(&json!({"Records": changes}), now()).await;
    assert!(handled.batch_item_failures.is_empty());
    let all = bus.taken();
    for kind in ["connected", "refreshed", "disconnected", "deleted"] {
        assert!(all.iter().any(|event| event["type"] == format!("account.{kind}")), "{kind}");
    }
    all
}

/// Kills a function in a window of its work on `event`.
async fn kill(executable: &str, stack: &Stack, holding: &Holding, window: Window, event: &Value) {
    let function = start(executable, stack, holding, Some(window)).await;
    function.begin(event.clone()).await;
    tokio::time::timeout(HANG, holding.reached()).await.unwrap();
    function.kill().await;
    holding.settle().await;
}

async fn start(executable: &str, stack: &Stack, holding: &Holding, window: Option<Window>) -> Function {
    holding.arm(window);
    let mut variables = holding.variables();
    variables.extend([
        ("LOG_LEVEL", "warn"),
        ("WEBHOOK_QUEUE", "queue"),
        ("WEBHOOK_DEAD_LETTERS", "letters"),
    ]);
    Function::start_with(executable, stack, &variables).await
}

/// Threat lost-event: the events function is killed before and after each of its calls, and
/// Lambda repeats the batch.
#[tokio::test]
async fn events_survive_a_kill_in_each_window() {
    let (stack, changes) = lives().await;
    let batch = json!({"Records": changes});
    let all = events_of(&stack, &changes).await;
    let done = Outcome::Response(json!({"batchItemFailures": []}));
    let scene = async || {
        let bus = Bus::default();
        let mut variables = stack.variables().clone();
        variables.insert("AWS_ENDPOINT_URL_EVENTBRIDGE".to_owned(), bus.start().await);
        (bus, Holding::start(&variables).await)
    };
    let (_, holding) = scene().await;
    let mut function = start(EVENTS, &stack, &holding, None).await;
    assert_eq!(function.invoke(batch.clone()).await, done);
    let windows = windows(&holding.seen());
    let (kills, mut repeats) = (windows.len(), 0);
    for window in windows {
        let (bus, holding) = scene().await;
        kill(EVENTS, &stack, &holding, window, &batch).await;
        let mut function = start(EVENTS, &stack, &holding, None).await;
        assert_eq!(function.invoke(batch.clone()).await, done);
        repeats += assert_complete(&all, &bus.taken(), 2);
    }
    println!("events: {} of 6 accounts, {kills} kills, 0 lost, {repeats} repeated", all.len());
}

fn trouble(dice: &mut Dice) -> Trouble {
    match dice.roll(8) {
        0 => Trouble::Throttled,
        1 => Trouble::Down,
        2 => Trouble::Lost,
        _ => Trouble::Refused(dice.roll(1 << 10)),
    }
}

/// Threat lost-event: the bus refuses some events, throttles, fails, and loses answers after it has
/// taken the events; the function starts anew in between; the stream hands a batch out again.
#[tokio::test]
async fn events_survive_a_failing_bus() {
    const RUNS: u64 = 40;
    let (stack, changes) = lives().await;
    let all = events_of(&stack, &changes).await;
    let run = async |seed: u64| {
        let (mut dice, bus) = (Dice(seed), Bus::default());
        let url = bus.start().await;
        let troubles: VecDeque<_> = (0..12).map(|_| trouble(&mut dice)).collect();
        let mut disturbed = troubles.len();
        *bus.troubles.lock().unwrap() = troubles;
        let (mut function, mut done) = (publisher(&stack, &url), 0);
        while done < changes.len() {
            let size = usize::try_from(dice.roll(30) + 1).unwrap();
            let batch = &changes[done..changes.len().min(done + size.min(BATCH))];
            let records = json!({"Records": batch});
            let handled = function.handle(&records, now()).await;
            let number = |change: &Value| change["dynamodb"]["SequenceNumber"].as_str().unwrap().to_owned();
            done += match handled.batch_item_failures.first() {
                None => batch.len(),
                Some(first) => {
                    batch.iter().position(|change| number(change) == first.item_identifier).unwrap()
                }
            };
            match dice.roll(4) {
                0 => function = publisher(&stack, &url),
                1 => {
                    function.handle(&records, now()).await;
                }
                _ => continue,
            }
            disturbed += 1;
        }
        assert_complete(&all, &bus.taken(), disturbed + 1)
    };
    let repeats: usize = join_all((0..RUNS).map(run)).await.into_iter().sum();
    println!(
        "events: {} of 6 accounts, {RUNS} runs of 12 failures, 0 lost, 0 overtaken, {repeats} repeated",
        all.len()
    );
}

/// Threat lost-event: the webhook function is killed before and after each of its calls, and SQS
/// hands its messages out again.
#[tokio::test]
async fn deliveries_survive_a_kill_in_each_window() {
    let batch: Vec<_> = (0..3).map(|n| message(n, &event(n), 1, now())).collect();
    let batch = json!({"Records": batch});
    let answers = || [204, 500, 204].map(Answer::Status);
    let scene = async || {
        let (receiver, queues) = (Receiver::up(), Arc::new(Queues::default()));
        let stack = stack_for(&receiver, &[]).await;
        let mut variables = stack.variables().clone();
        variables.insert("AWS_ENDPOINT_URL_SQS".to_owned(), queues.start().await);
        (receiver, queues, Holding::start(&variables).await, stack)
    };
    let failed = |id: &str| Outcome::Response(json!({"batchItemFailures": [{"itemIdentifier": id}]}));
    let (receiver, _queues, holding, stack) = scene().await;
    receiver.will(answers());
    let mut function = start(WEBHOOK, &stack, &holding, None).await;
    assert_eq!(function.invoke(batch.clone()).await, failed("m1"));
    let windows = windows(&holding.seen());
    let (kills, mut repeats) = (windows.len(), 0);
    for window in windows {
        let (receiver, queues, holding, stack) = scene().await;
        receiver.will(answers());
        kill(WEBHOOK, &stack, &holding, window.clone(), &batch).await;
        let before = receiver.take();
        queues.take();
        let mut function = start(WEBHOOK, &stack, &holding, None).await;
        let outcome = function.invoke(batch.clone()).await;
        assert!(matches!(outcome, Outcome::Response(_)), "{window}: {outcome:?}");
        let after = receiver.take();
        // A message is handed out again as a whole, under the same id.
        let told = |post: &crate::webhook::Post| (post.header("webhook-id").to_owned(), post.body.clone());
        let again: Vec<_> = after.iter().map(told).collect();
        let expected: Vec<_> = (0..3).map(|n| (format!("e{n}:account.refreshed"), event(n))).collect();
        assert_eq!(again, expected, "{window}");
        assert!(before.iter().map(told).eq(expected[..before.len()].iter().cloned()), "{window}");
        repeats += before.len();
    }
    println!("webhooks: 3 of a batch, {kills} kills, 0 lost, {repeats} posted twice");
}
