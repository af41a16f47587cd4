//! `dead-letters` on a stack on AWS. What CloudFormation, SQS, EventBridge, the table's stream and
//! Lambda say is written here, in the form in which AWS sends it.

use std::net::Ipv4Addr;
use std::process::Command;
use std::sync::{Arc, Mutex};

use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use devstack::Clock;
use serde_json::{Value, json};

use crate::support::{run, text};

const EVENTS: &str = "https://sqs.us-east-1.amazonaws.com/123456789012/events";
const SWEEP: &str = "https://sqs.us-east-1.amazonaws.com/123456789012/sweep";
const REFRESH: &str = "/2015-03-31/functions/threads-auth-refresh/invocations";
const ANNOUNCE: &str = "/2015-03-31/functions/threads-auth-events/invocations";
/// Of a row, and nobody's business here.
const SEALED: &str = "canary-sealed-token";

#[derive(Clone)]
struct Message {
    queue: &'static str,
    id: String,
    body: String,
    attributes: Value,
    is_hidden: bool,
}

#[derive(Default)]
struct Said {
    messages: Vec<Message>,
    /// Whose events the bus refuses.
    refused: Option<&'static str>,
    announced: Vec<Value>,
    /// Which functions were invoked, with what.
    invoked: Vec<(String, Value)>,
    /// The answer of the refresh function.
    sweep: Value,
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
            answer(&mut answers.lock().unwrap(), &uri, &headers, &body)
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
        let message =
            Message { queue, id: id.to_owned(), body: body.to_string(), attributes, is_hidden: false };
        self.say(|said| said.messages.push(message));
    }

    fn event(&self, id: &str, user_id: &str, time: &str) {
        let detail = json!({"id": format!("{id}:account.refreshed"), "user_id": user_id}).to_string();
        let entry = json!({"source": "threads-auth", "detail_type": "account.refreshed",
            "resources": [user_id], "time": time, "detail": detail});
        let letter =
            json!({"given_up_at": "2026-01-01T01:00:00Z", "why": "ThrottlingException", "entry": entry});
        self.put(EVENTS, id, &letter, json!({}));
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
            let visible = said.messages.iter().filter(|message| !message.is_hidden);
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
    let receipt = asked["ReceiptHandle"].as_str().unwrap_or_default();
    Json(match target {
        "" => return stack(),
        "AmazonSQS.ReceiveMessage" => {
            let wanted = |message: &&mut Message| asked["QueueUrl"] == message.queue && !message.is_hidden;
            let messages = said.messages.iter_mut().filter(wanted).take(10).map(|message| {
                message.is_hidden = true;
                json!({"MessageId": message.id, "ReceiptHandle": message.id, "Body": message.body,
                    "Attributes": {"SentTimestamp": "1767225600000"}, "MessageAttributes": message.attributes})
            });
            json!({"Messages": messages.collect::<Vec<_>>()})
        }
        "AmazonSQS.ChangeMessageVisibility" => {
            assert_eq!(asked["VisibilityTimeout"], 0);
            let of = |message: &&mut Message| message.id == receipt;
            said.messages.iter_mut().find(of).unwrap().is_hidden = false;
            json!({})
        }
        "AmazonSQS.DeleteMessage" => {
            said.messages.retain(|message| message.id != receipt);
            json!({})
        }
        "AmazonSQS.GetQueueAttributes" => {
            let there = said.messages.iter().filter(|message| asked["QueueUrl"] == message.queue).count();
            json!({"Attributes": {"ApproximateNumberOfMessages": there.to_string(),
                "ApproximateNumberOfMessagesNotVisible": "0"}})
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
                said.announced.push(serde_json::from_str(entry["Detail"].as_str().unwrap()).unwrap());
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

fn stack() -> Response {
    let outputs = [
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
    ]
    .map(|(key, value)| {
        format!("<member><OutputKey>{key}</OutputKey><OutputValue>{value}</OutputValue></member>")
    })
    .concat();
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
    aws.event("later", "2", "2026-01-01T00:00:05Z");
    aws.event("first", "1", "2026-01-01T00:00:00Z");
    aws.event("mine", "3", "2026-01-01T00:00:09Z");
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
    assert_eq!(text(&shown, "/letters/0/event_id"), "later:account.refreshed");
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
    assert_eq!(outcomes, ["replayed", "replayed", "refused", "replayed", "replayed", "replayed"]);
    assert_eq!(aws.left(), ["mine"]);
    // As they happened, and each once; the records that Lambda gave up, and no others; one sweep.
    let ids = |said: &mut Said| said.announced.iter().map(|event| event["id"].clone()).collect::<Vec<_>>();
    assert_eq!(aws.say(ids), ["first:account.refreshed", "later:account.refreshed"]);
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
    assert_eq!(aws.say(ids).len(), 3);
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
    // Nor does a letter make us read what is not ours.
    let aws = Aws::new();
    aws.place("foreign", "others", &Clock::system().now().to_string());
    run(aws.command(&["replay"])).says(1, &["the stream of another table"]);
    assert_eq!(aws.left(), ["foreign"]);
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

#[test]
fn letters_are_purged_when_somebody_means_it() {
    let aws = Aws::new();
    aws.event("one", "1", "2026-01-01T00:00:00Z");
    aws.put(SWEEP, "two", &json!({}), json!({}));
    run(aws.command(&["purge"])).says(2, &["--yes"]);
    assert_eq!(aws.left().len(), 2);
    let purged = run(aws.command(&["purge", "--queue", "sweep", "--yes", "--json"])).json();
    assert_eq!(purged, json!({"purged": {"sweep": 1}}));
    assert_eq!(aws.left(), ["one"]);
    assert_eq!(run(aws.command(&["purge", "--yes"])).stdout, "Deleted: 1 of events and 0 of sweep\n");
    assert!(aws.left().is_empty());
    for what in ["show", "replay", "purge"] {
        run(aws.command(&[what, "--local"])).says(2, &["no dead letters"]);
    }
}
