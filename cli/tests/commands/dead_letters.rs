//! `dead-letters` on a stack on AWS. The responses of CloudFormation, SQS, EventBridge, the table's
//! stream and Lambda are written here, in AWS's form.

use std::net::Ipv4Addr;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, mpsc};

use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use devstack::Clock;
use serde_json::{Value, json};
use tokio::sync::Notify;

use crate::support::{HANG, Running, run, text};

const EVENTS: &str = "https://sqs.us-east-1.amazonaws.com/123456789012/events";
const SWEEP: &str = "https://sqs.us-east-1.amazonaws.com/123456789012/sweep";
const WEBHOOK: &str = "https://sqs.us-east-1.amazonaws.com/123456789012/webhook-dead";
const WEBHOOK_QUEUE: &str = "https://sqs.us-east-1.amazonaws.com/123456789012/webhook";
const REFRESH: &str = "/2015-03-31/functions/threads-auth-refresh/invocations";
const ANNOUNCE: &str = "/2015-03-31/functions/threads-auth-events/invocations";
/// An attribute of a row, which no letter may contain.
const SEALED: &str = "canary-sealed-token";

#[derive(Clone)]
struct Message {
    queue: &'static str,
    id: String,
    body: String,
    attributes: Value,
    /// The time until which it is hidden from others, by the clock of [`Said`].
    hidden_until: u64,
    /// Number of times it was received: a receipt is good for the last time only.
    received: u32,
}

impl Message {
    fn receipt(&self) -> String {
        format!("{}#{}", self.id, self.received)
    }
}

#[derive(Default)]
struct Said {
    /// In seconds.
    clock: u64,
    /// Duration of each request, in seconds.
    step: u64,
    messages: Vec<Message>,
    /// Letters that could be received by others while their events were put.
    exposed: Vec<String>,
    /// Told when a sweep begins, which then waits until it is let go.
    sweeping: Option<(mpsc::Sender<()>, Arc<Notify>)>,
    /// The account whose events the bus refuses.
    refused: Option<&'static str>,
    /// The letter that another command has received since.
    stolen: Option<&'static str>,
    /// Number of requests.
    requests: usize,
    /// The request that is held.
    held: Option<Held>,
    announced: Vec<Value>,
    /// The functions that were invoked, with their input.
    invoked: Vec<(String, Value)>,
    /// The answer of the refresh function.
    sweep: Value,
    /// True if the stack posts its events.
    posts: bool,
    /// The bodies that the queue of webhooks got, with the number of letters that were still there.
    sent: Vec<(String, usize)>,
}

/// A request that gets no answer, so that the command is killed there.
struct Held {
    /// Its index.
    at: usize,
    /// True if it is carried out.
    is_done: bool,
    reached: mpsc::Sender<()>,
}

struct Aws {
    url: String,
    said: Arc<Mutex<Said>>,
    folder: tempfile::TempDir,
    _runtime: tokio::runtime::Runtime,
}

impl Aws {
    fn new() -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = runtime.block_on(tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let said = Arc::new(Mutex::new(Said { sweep: json!({"outcomes": {}}), ..Said::default() }));
        let answers = Arc::clone(&said);
        let router = Router::new().fallback(move |uri: Uri, headers: HeaderMap, body: Bytes| async move {
            let sweeping = answers.lock().unwrap().sweeping.take_if(|_| uri.path() == REFRESH);
            if let Some((begins, goes_on)) = sweeping {
                begins.send(()).unwrap();
                goes_on.notified().await;
            }
            let (answer, held) = {
                let said = &mut *answers.lock().unwrap();
                let at = said.requests;
                said.requests += 1;
                let held = said.held.take_if(|held| held.at == at);
                let is_done = held.as_ref().is_none_or(|held| held.is_done);
                (is_done.then(|| answer(said, &uri, &headers, &body)), held)
            };
            match (answer, held) {
                (Some(answer), None) => answer,
                (_, held) => {
                    held.unwrap().reached.send(()).unwrap();
                    std::future::pending().await
                }
            }
        });
        runtime.spawn(async { axum::serve(listener, router).await });
        Self { url, said, folder: tempfile::tempdir().unwrap(), _runtime: runtime }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_threads-auth"));
        command.arg("dead-letters").args(arguments).env_clear().current_dir(self.folder.path());
        command
            .env("HOME", self.folder.path())
            .env("AWS_REGION", "us-east-1")
            .env("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE")
            .env("AWS_SECRET_ACCESS_KEY", "key")
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .env("AWS_ENDPOINT_URL", &self.url);
        command
    }

    fn say<T>(&self, change: impl FnOnce(&mut Said) -> T) -> T {
        change(&mut self.said.lock().unwrap())
    }

    fn put(&self, queue: &'static str, id: &str, body: &Value, attributes: Value) {
        let (id, body) = (id.to_owned(), body.to_string());
        let message = Message { queue, id, body, attributes, hidden_until: 0, received: 0 };
        self.say(|said| said.messages.push(message));
    }

    /// The letter `id` of an event, by the number of its change in the stream.
    fn event(&self, id: &str, user_id: &str, number: &str) {
        let detail = json!({"id": format!("{number}:account.refreshed"), "user_id": user_id}).to_string();
        let entry = json!({"source": "threads-auth", "detail_type": "account.refreshed",
            "resources": [user_id], "time": "2026-01-01T00:00:00Z", "detail": detail});
        let letter = json!({"given_up_at": "2026-01-01T01:00:00Z", "why": "ThrottlingException",
            "number": number, "nth": 0, "entry": entry});
        self.put(EVENTS, id, &letter, json!({}));
    }

    /// The ids of the events that the bus has taken, in this order.
    fn announced(&self) -> Vec<String> {
        self.say(|said| said.announced.iter().map(|event| text(event, "/id").to_owned()).collect())
    }

    fn place(&self, id: &str, table: &str, at: &str) {
        let place = json!({"shardId": "shard", "startSequenceNumber": "9", "endSequenceNumber": "11",
            "approximateArrivalOfFirstRecord": at, "approximateArrivalOfLastRecord": at, "batchSize": 2,
            "streamArn": format!("arn:aws:dynamodb:us-east-1:123456789012:table/{table}/stream/2026")});
        let context = json!({"condition": "RecordAgeExceeded"});
        self.put(EVENTS, id, &json!({"requestContext": context, "DDBStreamBatchInfo": place}), json!({}));
    }

    /// The ids of the letters that are there, and visible.
    fn left(&self) -> Vec<String> {
        self.say(|said| {
            let clock = said.clock;
            let visible = said.messages.iter().filter(|message| message.hidden_until <= clock);
            visible.map(|message| message.id.clone()).collect()
        })
    }
}

fn answer(said: &mut Said, uri: &Uri, headers: &HeaderMap, body: &[u8]) -> Response {
    let target = headers.get("x-amz-target").and_then(|target| target.to_str().ok()).unwrap_or_default();
    let asked: Value = serde_json::from_slice(body).unwrap_or_default();
    if uri.path().ends_with("/invocations") {
        said.invoked.push((uri.path().to_owned(), asked));
        let nothing = json!({"batchItemFailures": []});
        let answer = if uri.path() == REFRESH { said.sweep.clone() } else { nothing };
        return Json(answer).into_response();
    }
    said.clock += said.step;
    let clock = said.clock;
    // The entries of a batch whose receipts are valid, and all others. A letter whose time is over
    // can still be deleted, but not hidden any longer.
    let is_good = |entry: &Value| {
        said.messages.iter().any(|message| {
            let is_in_time = entry["VisibilityTimeout"].is_null() || message.hidden_until > clock;
            entry["ReceiptHandle"] == message.receipt() && is_in_time && said.stolen != Some(&message.id)
        })
    };
    let entries = asked["Entries"].as_array().cloned().unwrap_or_default();
    let (good, failed): (Vec<Value>, Vec<Value>) = entries.into_iter().partition(is_good);
    let is_of = |message: &Message| good.iter().any(|entry| entry["ReceiptHandle"] == message.receipt());
    let result = |entries: &[Value]| -> Vec<_> {
        entries.iter().map(|entry| json!({"Id": entry["Id"], "Code": "Old", "SenderFault": true})).collect()
    };
    let results = json!({"Successful": result(&good), "Failed": result(&failed)});
    Json(match target {
        "" => return stack(said.posts),
        "AmazonSQS.SendMessage" => send(said, &asked),
        "AmazonSQS.ReceiveMessage" => {
            let hidden = asked["VisibilityTimeout"].as_u64().unwrap();
            let wanted = |message: &&mut Message| {
                asked["QueueUrl"] == message.queue && message.hidden_until <= clock
            };
            let messages = said.messages.iter_mut().filter(wanted).take(10).map(|message| {
                (message.hidden_until, message.received) = (clock + hidden, message.received + 1);
                json!({"MessageId": message.id, "ReceiptHandle": message.receipt(), "Body": message.body,
                    "Attributes": {"SentTimestamp": "1767225600000"}, "MessageAttributes": message.attributes})
            });
            json!({"Messages": messages.collect::<Vec<_>>()})
        }
        "AmazonSQS.ChangeMessageVisibilityBatch" => {
            let seconds = asked["Entries"][0]["VisibilityTimeout"].as_u64().unwrap();
            for message in said.messages.iter_mut().filter(|message| is_of(message)) {
                message.hidden_until = clock + seconds;
            }
            results
        }
        "AmazonSQS.DeleteMessageBatch" => {
            said.messages.retain(|message| !is_of(message));
            results
        }
        "AmazonSQS.GetQueueAttributes" => {
            let count = |is_hidden: bool| {
                let of = |message: &&Message| {
                    asked["QueueUrl"] == message.queue && (message.hidden_until > clock) == is_hidden
                };
                said.messages.iter().filter(of).count().to_string()
            };
            json!({"Attributes": {"ApproximateNumberOfMessages": count(false),
                "ApproximateNumberOfMessagesNotVisible": count(true)}})
        }
        "AmazonSQS.PurgeQueue" => {
            said.messages.retain(|message| asked["QueueUrl"] != message.queue);
            json!({})
        }
        "AWSEvents.PutEvents" => {
            let entries: Vec<_> = asked["Entries"].as_array().unwrap().clone();
            let answers = entries.into_iter().map(|entry| {
                assert_eq!((&entry["EventBusName"], &entry["Source"]), (&json!("bus"), &json!("threads-auth")));
                if said.refused.is_some_and(|user_id| entry["Resources"] == json!([user_id])) {
                    return json!({"ErrorCode": "ThrottlingException", "ErrorMessage": "not now"});
                }
                let detail: Value = serde_json::from_str(entry["Detail"].as_str().unwrap()).unwrap();
                let of = |message: &&Message| {
                    message.hidden_until <= clock && message.body.contains(&format!("{}\\\"", text(&detail, "/id")))
                };
                said.exposed.extend(said.messages.iter().filter(of).map(|message| message.id.clone()));
                said.announced.push(detail);
                json!({"EventId": "1"})
            });
            json!({"FailedEntryCount": 0, "Entries": answers.collect::<Vec<_>>()})
        }
        "DynamoDBStreams_20120810.GetShardIterator" => {
            assert_eq!((&asked["SequenceNumber"], &asked["ShardId"]), (&json!("9"), &json!("shard")));
            json!({"ShardIterator": "i"})
        }
        "DynamoDBStreams_20120810.GetRecords" => {
            let record = |number: &str| {
                json!({"eventID": format!("e{number}"), "eventName": "MODIFY", "dynamodb": {
                    "ApproximateCreationDateTime": 1_767_225_600, "SequenceNumber": number,
                    "Keys": {"pk": {"S": "user#1"}}, "NewImage": {"pk": {"S": "user#1"}, "n": {"N": "7"},
                    "token": {"B": "AAEC"}, "sealed": {"S": SEALED}, "scopes": {"SS": ["a"]}}}})
            };
            let records = ["9", "10", "11", "12"].map(record);
            json!({"Records": records, "NextShardIterator": "more"})
        }
        _ => panic!("{target} {uri}"),
    })
    .into_response()
}

/// Takes a message into the queue of webhooks.
fn send(said: &mut Said, asked: &Value) -> Value {
    assert_eq!(asked["QueueUrl"], WEBHOOK_QUEUE);
    said.sent.push((text(asked, "/MessageBody").to_owned(), said.messages.len()));
    json!({"MessageId": "sent"})
}

fn stack(posts: bool) -> Response {
    let mut outputs = vec![
        ("RedirectCallbackUrl", "https://auth.example.com/callback"),
        ("GrantsTableName", "grants"),
        ("ShortLivedTableName", "short-lived"),
        ("AppSecretArn", "app"),
        ("KeyringSecretArn", "keyring"),
        ("RefreshFunctionName", "threads-auth-refresh"),
        ("EventsFunctionName", "threads-auth-events"),
        ("EventBusName", "bus"),
        ("EventsDeadLettersUrl", EVENTS),
        ("SweepDeadLettersUrl", SWEEP),
    ];
    if posts {
        outputs.extend([("WebhookDeadLettersUrl", WEBHOOK), ("WebhookQueueUrl", WEBHOOK_QUEUE)]);
    }
    let outputs: Vec<_> = outputs
        .into_iter()
        .map(|(key, value)| {
            format!("<member><OutputKey>{key}</OutputKey><OutputValue>{value}</OutputValue></member>")
        })
        .collect();
    let outputs = outputs.concat();
    let text = format!(
        "<DescribeStacksResponse><DescribeStacksResult><Stacks><member><StackName>threads-auth</StackName><CreationTime>2026-01-01T00:00:00Z</CreationTime><StackStatus>UPDATE_COMPLETE</StackStatus><Outputs>{outputs}</Outputs></member></Stacks></DescribeStacksResult></DescribeStacksResponse>"
    );
    (StatusCode::OK, text).into_response()
}

#[test]
fn letters_are_shown_and_replayed_once_each() {
    let aws = Aws::new();
    assert_eq!(run(aws.command(&["show"])).stdout, "There are no dead letters.\n");
    assert_eq!(run(aws.command(&["replay"])).stdout, "There are no dead letters.\n");
    let now = Clock::system().now().to_string();
    aws.event("later", "2", "1005");
    aws.event("first", "1", "999");
    aws.event("mine", "3", "1009");
    aws.place("place", "grants", &now);
    let cause = |name: &str, value: &str| json!({name: {"DataType": "String", "StringValue": value}});
    let mut undelivered = cause("ERROR_CODE", "AWS.Scheduler.Gone");
    undelivered["ERROR_MESSAGE"] = cause("ERROR_MESSAGE", "no such function")["ERROR_MESSAGE"].clone();
    aws.put(SWEEP, "sweep1", &json!({}), undelivered);
    let failed = json!({"requestContext": {"condition": "RetriesExhausted"},
        "responsePayload": {"errorType": "refresh::RefreshError", "errorMessage": "no index"}});
    aws.put(SWEEP, "sweep2", &failed, json!({}));

    // A look changes nothing.
    let shown = run(aws.command(&["show", "--json"])).json();
    let field = |name: &str| -> Vec<Value> {
        shown["letters"].as_array().unwrap().iter().map(|letter| letter[name].clone()).collect()
    };
    assert_eq!(
        (field("by"), field("queue")),
        (
            ["events", "events", "events", "lambda", "scheduler", "lambda"].map(Value::from).to_vec(),
            ["events", "events", "events", "events", "sweep", "sweep"].map(Value::from).to_vec()
        )
    );
    assert_eq!(text(&shown, "/letters/0/event_id"), "1005:account.refreshed");
    assert_eq!(text(&shown, "/letters/5/reason"), "refresh::RefreshError: no index");
    assert_eq!(text(&shown, "/letters/4/reason"), "AWS.Scheduler.Gone: no such function");
    let plain = run(aws.command(&["show"])).stdout;
    assert!(plain.contains("account.refreshed  2  ThrottlingException"), "{plain}");
    assert_eq!(aws.left().len(), 6);

    // The bus still refuses one.
    aws.say(|said| said.refused = Some("3"));
    let ended = run(aws.command(&["replay", "--json"]));
    ended.expect(4);
    let told: Value = serde_json::from_str(&ended.stdout).unwrap();
    let outcomes: Vec<_> =
        told["letters"].as_array().unwrap().iter().map(|letter| &letter["outcome"]).collect();
    // The place comes first: its changes were made before the others.
    assert_eq!(outcomes, ["replayed", "replayed", "replayed", "refused", "replayed", "replayed"]);
    assert_eq!((&told["left"], &told["hidden"]), (&json!(0), &json!(0)));
    assert_eq!(aws.left(), ["mine"]);
    // As they happened, and each once; the records that Lambda gave up, and no others; one sweep.
    assert_eq!(aws.announced(), ["999:account.refreshed", "1005:account.refreshed"]);
    let invoked = aws.say(|said| said.invoked.clone());
    let paths: Vec<_> = invoked.iter().map(|(path, _)| path.as_str()).collect();
    assert_eq!(paths, [ANNOUNCE, REFRESH]);
    let records = invoked[0].1["Records"].as_array().unwrap();
    let numbers: Vec<_> = records.iter().map(|record| &record["dynamodb"]["SequenceNumber"]).collect();
    assert_eq!(numbers, ["9", "10", "11"]);
    assert_eq!(records[0]["dynamodb"]["NewImage"]["token"], json!({"B": "AAEC"}));
    assert_eq!(records[0]["dynamodb"]["NewImage"]["scopes"], json!({"SS": ["a"]}));
    assert!(![ended.stdout.as_str(), &ended.stderr, &plain].iter().any(|said| said.contains(SEALED)));

    aws.say(|said| said.refused = None);
    run(aws.command(&["replay"])).says(0, &[]);
    assert!(aws.left().is_empty());
    assert_eq!(aws.announced().len(), 3);
}

/// An event that the receiver of webhooks did not take goes back into its queue, as it was and
/// before its letter goes: all of them, or one by its id.
#[test]
fn undelivered_events_are_posted_again_by_id_or_all() {
    let aws = Aws::new();
    aws.say(|said| said.posts = true);
    let event = |n: u32| {
        json!({"id": format!("e{n}:account.refreshed"), "type": "account.refreshed",
        "user_id": "7", "order": (100 - n).to_string()})
    };
    let why = |name: &str, value: &str| json!({name: {"DataType": "String", "StringValue": value}});
    aws.put(WEBHOOK, "gone", &event(1), why("why", "gone"));
    aws.put(WEBHOOK, "crashed", &event(2), json!({}));
    let mut bus = why("ERROR_CODE", "NO_PERMISSIONS");
    bus["ERROR_MESSAGE"] = why("ERROR_MESSAGE", "not allowed")["ERROR_MESSAGE"].clone();
    aws.put(WEBHOOK, "bus", &json!({"detail-type": "account.refreshed", "detail": event(3)}), bus);
    aws.put(WEBHOOK, "strange", &json!({"hello": 1}), json!({}));
    aws.event("other", "7", "5");

    let shown = run(aws.command(&["show", "--json"])).json();
    let letters = shown["letters"].as_array().unwrap();
    let told: Vec<_> = letters.iter().map(|letter| (text(letter, "/by"), text(letter, "/reason"))).collect();
    assert_eq!(
        told,
        [
            ("events", "ThrottlingException"),
            ("webhook", "gone"),
            ("sqs", "the function failed again and again"),
            ("eventbridge", "NO_PERMISSIONS: not allowed"),
            ("unknown", "not a letter of this service"),
        ]
    );
    assert_eq!(
        (&letters[1]["user_ids"], text(&letters[3], "/event_id")),
        (&json!(["7"]), "e3:account.refreshed")
    );

    // By its id one goes, and nothing else is touched.
    run(aws.command(&["replay", "--id", "e2:account.refreshed"])).expect(0);
    assert_eq!(aws.say(|said| said.sent.clone()), [(event(2).to_string(), 5)]);
    assert_eq!(aws.left(), ["gone", "bus", "strange", "other"]);
    let ended = run(aws.command(&["replay", "--id", "no-such-event"]));
    ended.expect(1);
    assert!(ended.stdout.contains("no letter"), "{}", ended.stdout);
    assert_eq!(aws.left().len(), 4);

    // The rest of that queue, by the order of the account's changes.
    run(aws.command(&["replay", "--queue", "webhook"])).expect(1);
    let sent = aws.say(|said| said.sent.clone());
    assert_eq!(sent[1..], [(event(3).to_string(), 4), (event(1).to_string(), 3)]);
    assert_eq!(aws.left(), ["strange", "other"]);
    run(aws.command(&["purge", "--yes"])).expect(0);
    assert!(aws.left().is_empty());

    // A stack that posts nothing has no such queue.
    aws.say(|said| said.posts = false);
    aws.put(WEBHOOK, "another", &event(4), json!({}));
    assert_eq!(run(aws.command(&["show"])).stdout, "There are no dead letters.\n");
    assert!(aws.say(|said| said.announced.is_empty()));
}

#[test]
fn what_cannot_be_replayed_stays_and_says_so() {
    let aws = Aws::new();
    aws.place("old", "grants", "2026-01-01T00:00:00Z");
    aws.put(EVENTS, "strange", &json!({"hello": 1}), json!({}));
    let ended = run(aws.command(&["replay"]));
    ended.expect(1);
    assert!(ended.stdout.contains("gone") && ended.stdout.contains("unknown"), "{}", ended.stdout);
    assert_eq!(aws.left().len(), 2);
    assert!(aws.say(|said| said.invoked.is_empty()));
    // Nor does a letter lead the command to another's stream.
    let aws = Aws::new();
    aws.place("foreign", "others", &Clock::system().now().to_string());
    aws.event("later", "1", "1000");
    let ended = run(aws.command(&["replay"]));
    ended.expect(1);
    assert!(ended.stdout.contains("the stream of another table"), "{}", ended.stdout);
    assert_eq!(aws.left(), ["foreign"], "and the others go on");
    // A sweep that cannot be made yet does not count.
    for (stopped, next) in [("unconfigured", "threads-auth configure"), ("paused", "threads-auth resume")] {
        let aws = Aws::new();
        aws.put(SWEEP, "sweep", &json!({"requestContext": {}}), json!({}));
        aws.say(|said| said.sweep = json!({"outcomes": {}, "stopped": stopped}));
        let ended = run(aws.command(&["replay"]));
        ended.expect(4);
        assert!(ended.stdout.contains(next), "{}", ended.stdout);
        assert_eq!(aws.left(), ["sweep"]);
    }
}

/// A place of the stream in which a letter may lie, far from sorted and each once.
fn shuffled(n: u64, of: u64) -> u64 {
    (n * 37 + 11) % of
}

/// SQS gives letters in no order, and some of them twice.
#[test]
fn an_accounts_events_are_replayed_in_the_order_of_the_stream() {
    let aws = Aws::new();
    // 60 events of four accounts, whose numbers have two digits or three.
    let all = 60;
    let user_of = |n: u64| ["1", "2", "3", "4"][usize::try_from(n % 4).unwrap()];
    for n in (0..all).map(|n| shuffled(n, all)) {
        aws.event(&format!("letter{n}"), user_of(n), &(n + 70).to_string());
    }
    aws.event("again", user_of(31), "101");
    // The bus refuses an account: its later events must not overtake.
    aws.say(|said| said.refused = Some("3"));
    let ended = run(aws.command(&["replay", "--json"]));
    ended.expect(4);
    let numbers = |user_id: &str| -> Vec<u64> {
        let events = aws.say(|said| said.announced.clone());
        let own = events.iter().filter(|event| event["user_id"] == user_id);
        own.map(|event| text(event, "/id").split_once(':').unwrap().0.parse().unwrap()).collect()
    };
    let expected = |user: u64| (0..15).map(|n| 70 + user + 4 * n).collect::<Vec<u64>>();
    assert_eq!((numbers("1"), numbers("2"), numbers("4")), (expected(0), expected(1), expected(3)));
    assert_eq!(aws.left().len(), 15);
    let told: Value = serde_json::from_str(&ended.stdout).unwrap();
    let letters = told["letters"].as_array().unwrap();
    let refused: Vec<_> = letters.iter().filter(|letter| letter["outcome"] == "refused").collect();
    assert_eq!((letters.len(), refused.len()), (61, 15));
    assert!(text(refused[0], "/error").starts_with("ThrottlingException"), "{refused:?}");
    assert!(refused[1..].iter().all(|letter| text(letter, "/error").contains("an earlier event")));
    aws.say(|said| said.refused = None);
    run(aws.command(&["replay"])).expect(0);
    assert_eq!(numbers("3"), expected(2));
    assert_eq!((aws.left(), aws.announced().len()), (Vec::new(), 60));
}

/// A place in the stream keeps its order, and does not overtake what must wait.
#[test]
fn a_place_of_the_stream_overtakes_nothing() {
    let aws = Aws::new();
    let now = Clock::system().now().to_string();
    aws.place("place", "grants", &now);
    aws.event("after", "1", "12");
    aws.event("before", "1", "8");
    aws.say(|said| said.refused = Some("1"));
    let ended = run(aws.command(&["replay"]));
    ended.expect(4);
    assert!(aws.say(|said| said.invoked.is_empty()), "{}", ended.stdout);
    assert_eq!(aws.left().len(), 3);
    aws.say(|said| said.refused = None);
    run(aws.command(&["replay"])).expect(0);
    assert_eq!(aws.announced(), ["8:account.refreshed", "12:account.refreshed"]);
    assert_eq!(aws.say(|said| said.invoked.len()), 1);
}

/// Nobody knows whose changes are in a place that another command has: all later letters wait.
#[test]
fn a_place_in_other_hands_is_overtaken_by_nothing() {
    let aws = Aws::new();
    aws.place("place", "grants", &Clock::system().now().to_string());
    aws.event("before", "2", "8");
    aws.event("after", "1", "12");
    aws.say(|said| said.stolen = Some("place"));
    let ended = run(aws.command(&["replay"]));
    ended.expect(4);
    assert_eq!(aws.announced(), ["8:account.refreshed"], "{}", ended.stdout);
    assert!(ended.stdout.contains("an earlier part of the stream"), "{}", ended.stdout);
    aws.say(|said| said.stolen = None);
    aws.say(|said| said.clock += 900);
    run(aws.command(&["replay"])).expect(0);
    assert_eq!(aws.announced(), ["8:account.refreshed", "12:account.refreshed"]);
    assert_eq!(aws.say(|said| said.invoked.len()), 1);
}

/// The command is killed before and after each of its requests: the next one loses nothing, and
/// repeats no more than the events of one call.
#[test]
fn a_replay_that_is_killed_loses_nothing() {
    let scene = || {
        let aws = Aws::new();
        for n in (0..12).map(|n| shuffled(n, 12)) {
            aws.event(
                &format!("letter{n}"),
                ["1", "2", "3"][usize::try_from(n).unwrap() % 3],
                &(n + 95).to_string(),
            );
        }
        aws
    };
    let aws = scene();
    run(aws.command(&["replay"])).expect(0);
    let (requests, all) = aws.say(|said| (said.requests, said.announced.clone()));
    assert_eq!(all.len(), 12);
    let mut repeats = 0;
    for (at, is_done) in (0..requests).flat_map(|at| [(at, false), (at, true)]) {
        let aws = scene();
        let (reached, is_reached) = mpsc::channel();
        aws.say(|said| said.held = Some(Held { at, is_done, reached }));
        let mut replay =
            aws.command(&["replay"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        is_reached.recv_timeout(HANG).unwrap();
        replay.kill().unwrap();
        replay.wait().unwrap();
        // Its letters are hidden for a quarter of an hour.
        aws.say(|said| said.clock += 900);
        run(aws.command(&["replay"])).expect(0);
        assert!(aws.left().is_empty());
        let announced = aws.announced();
        let firsts: Vec<_> =
            (0..announced.len()).filter(|n| !announced[..*n].contains(&announced[*n])).collect();
        assert_eq!(firsts.len(), 12, "{at} {announced:?}");
        for user in ["1", "2", "3"] {
            let events = aws.say(|said| said.announced.clone());
            let of_user = firsts.iter().filter(|n| events[**n]["user_id"] == user);
            let numbers: Vec<u64> =
                of_user.map(|n| announced[*n].split_once(':').unwrap().0.parse().unwrap()).collect();
            assert!(numbers.is_sorted(), "{at} {announced:?}");
        }
        // A call has at most one event of each account.
        assert!(announced.len() <= 12 + 3, "{at} {announced:?}");
        repeats += announced.len() - 12;
    }
    println!("replays: 12 letters, {} kills, 0 lost, {repeats} repeated", 2 * requests);
}

/// No other command gets a letter whose event is being put, however slow SQS and the bus are.
/// Events that could not be put in time are left to the next replay, in their order.
#[test]
fn letters_stay_hidden_while_they_are_replayed() {
    // Seconds for each request. Letters are hidden for 900.
    for step in [20, 60] {
        let aws = Aws::new();
        for n in (0..100).map(|n| shuffled(n, 100)) {
            aws.event(&format!("letter{n}"), &format!("{}", n % 10), &(n + 100).to_string());
        }
        aws.say(|said| said.step = step);
        let mut left = vec![100];
        while left.last() != Some(&0) {
            let code = run(aws.command(&["replay"])).code;
            left.push(aws.say(|said| said.messages.len()));
            assert_eq!(code, if left.last() == Some(&0) { 0 } else { 4 }, "{left:?}");
            assert!(left.is_sorted_by(|before, after| before > after), "{left:?}");
        }
        println!("letters left after each replay, {step} s for a request: {left:?}");
        assert_eq!(left.len() == 2, step == 20, "{left:?}");
        let exposed = aws.say(|said| said.exposed.clone());
        assert_eq!((exposed, aws.announced().len()), (Vec::<String>::new(), 100));
        for user in 0..10 {
            let of_user = aws.announced().into_iter().filter(|id| id.as_bytes()[2] == b'0' + user);
            assert!(of_user.is_sorted(), "{user}");
        }
    }
}

/// A letter that another command has received is left to it, and reported.
#[test]
fn a_letter_in_other_hands_is_left_to_them() {
    let aws = Aws::new();
    aws.event("one", "1", "1");
    aws.say(|said| said.messages[0].hidden_until = u64::MAX);
    for (command, code) in [("show", 0), ("replay", 4)] {
        let ended = run(aws.command(&[command]));
        ended.expect(code);
        assert!(ended.stdout.contains("About 1 more are hidden"), "{}", ended.stdout);
        assert_eq!(run_json(&aws, command)["hidden"], 1);
    }
    assert!(aws.announced().is_empty());
    // A letter that nobody else has is replayed all the same.
    aws.event("two", "2", "2");
    let told = run_json(&aws, "replay");
    assert_eq!((aws.announced(), &told["hidden"]), (vec!["2:account.refreshed".to_owned()], &json!(1)));
}

fn run_json(aws: &Aws, command: &str) -> Value {
    serde_json::from_str(&run(aws.command(&[command, "--json"])).stdout).unwrap()
}

/// The first Ctrl-C waits for the sweep in progress, and its letters are deleted then.
#[test]
fn an_interrupted_replay_ends_after_the_sweep_under_way() {
    let aws = Aws::new();
    aws.put(SWEEP, "sweep", &json!({"requestContext": {}}), json!({}));
    let ((begins, begun), goes_on) = (mpsc::channel(), Arc::new(Notify::new()));
    aws.say(|said| said.sweeping = Some((begins, Arc::clone(&goes_on))));
    let mut replay = Running::start(aws.command(&["replay"]));
    begun.recv_timeout(HANG).unwrap();
    replay.signal("INT");
    replay.line("Ending after the letters or the sweep under way");
    goes_on.notify_one();
    let ended = replay.end();
    ended.expect(130);
    assert!(ended.stdout.starts_with("replayed  a sweep"), "{ended:?}");
    assert!(aws.left().is_empty());
    assert_eq!(aws.say(|said| said.invoked.len()), 1);
}

#[test]
fn letters_are_purged_when_somebody_means_it() {
    let aws = Aws::new();
    aws.event("one", "1", "1");
    aws.put(SWEEP, "two", &json!({}), json!({}));
    run(aws.command(&["purge"])).says(2, &["--yes"]);
    assert_eq!(aws.left().len(), 2);
    let purged = run(aws.command(&["purge", "--queue", "sweep", "--yes", "--json"])).json();
    assert_eq!(purged, json!({"purged": {"sweep": 1}}));
    assert_eq!(aws.left(), ["one"]);
    let purged = "Deleted: about 1 event. SQS may show them for another minute.\n";
    assert_eq!(run(aws.command(&["purge", "--yes"])).stdout, purged);
    assert!(aws.left().is_empty());
    // Without letters there is no confirmation.
    let none = run(aws.command(&["purge"]));
    none.expect(0);
    assert_eq!(none.stdout, "There are no dead letters to delete.\n");
    assert_eq!(run(aws.command(&["purge", "--json"])).json(), json!({"purged": {"events": 0, "sweep": 0}}));
    for what in ["show", "replay", "purge"] {
        run(aws.command(&[what, "--local"])).says(2, &["no dead letters"]);
    }
}
