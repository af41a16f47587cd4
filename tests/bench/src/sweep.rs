//! Sweeps over many due grants, with a table and a Graph API in memory that cost next to nothing:
//! the stack's own database would be the slowest part.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use axum::Router;
use axum::body::Bytes;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Json, Response};
use base64::prelude::{BASE64_STANDARD, Engine as _};
use devstack::Stack;
use futures_util::StreamExt as _;
use rustls::ServerConfig;
use serde_json::{Map, Value, json};
use threads_auth_model::schedule;
use threads_auth_model::seal::Purpose;
use threads_graph::{AccessToken, UserId};
use tokio::net::TcpSocket;
use tokio::time::Instant;

use crate::lambda::{Function, Under};
use crate::process;
use crate::scene::{Scene, Work, scheduled};
use crate::wire::{Pace, Wire};

const DAY: i64 = 24 * 60 * 60;
/// Age and rest of the due tokens in days. Those that live for longer than ten days more would wait
/// for a later sweep.
const AGE: i64 = 52;
const LEFT: i64 = 8;
/// Every token of the Graph API here: this, and its person's id.
const TOKEN: &str = "THQVJbenchmark";
/// Keys of a page without a limit, as of a megabyte of DynamoDB's.
const PAGE: usize = 17_000;

type Row = Map<String, Value>;

/// The figures of one sweep, or of several until nothing is due.
pub(crate) struct Swept {
    pub(crate) due: u64,
    pub(crate) invocations: u64,
    pub(crate) took: Duration,
    /// Refreshes in a second, between the first tenth of them and the last.
    pub(crate) rate: f64,
    /// Nanoseconds of CPU of all of it.
    pub(crate) cpu: u64,
    /// Kibibytes at most.
    pub(crate) memory: u64,
    pub(crate) connections: u64,
    pub(crate) calls: u64,
}

/// The table of grants: rows by key, as JSON, of which a million have room in memory, and the due
/// index.
#[derive(Default)]
struct Table {
    rows: HashMap<String, Box<str>>,
    due: BTreeSet<(String, i64, String)>,
}

/// Returns the entry of a row in the due index.
fn due(key: &str, row: &Row) -> Option<(String, i64, String)> {
    let shard = row.get("due_shard")?["S"].as_str()?;
    let at = row.get("due_at")?["N"].as_str()?.parse().ok()?;
    Some((shard.to_owned(), at, key.to_owned()))
}

impl Table {
    fn put(&mut self, key: &str, row: Row) {
        self.remove(key);
        self.due.extend(due(key, &row));
        self.rows.insert(key.to_owned(), Value::Object(row).to_string().into());
    }

    fn get(&self, key: &str) -> Option<Row> {
        serde_json::from_str(self.rows.get(key)?).ok()
    }

    fn remove(&mut self, key: &str) {
        if let Some(entry) = self.get(key).and_then(|row| due(key, &row)) {
            self.due.remove(&entry);
        }
        self.rows.remove(key);
    }

    /// Applies an update without its condition: one process is alone here.
    fn update(&mut self, request: &Value) -> Option<(Row, Row)> {
        let key = request["Key"]["pk"]["S"].as_str()?;
        let old = self.get(key).unwrap_or_default();
        let mut new = old.clone();
        new.insert("pk".to_owned(), json!({"S": key}));
        let expression = request["UpdateExpression"].as_str().unwrap_or_default();
        let (set, remove) = match expression.split_once("REMOVE ") {
            Some((set, remove)) => (set, remove),
            None => (expression, ""),
        };
        let name = |placeholder: &str| {
            let name = &request["ExpressionAttributeNames"]
                [format!("#{}", placeholder.trim().trim_start_matches('#'))];
            name.as_str().map(str::to_owned)
        };
        for part in set.trim().trim_start_matches("SET ").split(", #").filter(|part| !part.is_empty()) {
            let (target, value) = part.split_once(" = ")?;
            let target = name(target)?;
            let value = match value.strip_prefix("if_not_exists(") {
                Some(_) if new.contains_key(&target) => continue,
                Some(choice) => choice.trim_end_matches(')').rsplit(", ").next()?,
                None => value,
            };
            new.insert(target, request["ExpressionAttributeValues"][value.trim()].clone());
        }
        for part in remove.split(',').filter(|part| !part.trim().is_empty()) {
            new.remove(&name(part)?);
        }
        self.put(key, new.clone());
        Some((old, new))
    }

    /// Answers a query of the due index: a shard, and a time up to which grants are due.
    fn query(&self, request: &Value) -> Option<Value> {
        let condition = request["KeyConditionExpression"].as_str()?;
        let values = &request["ExpressionAttributeValues"];
        let mut placeholders = condition.split(' ').filter(|word| word.starts_with(':'));
        let shard = values[placeholders.next()?]["S"].as_str()?;
        let until: i64 = values[placeholders.next()?]["N"].as_str()?.parse().ok()?;
        let start = &request["ExclusiveStartKey"];
        let after = start["due_at"]["N"].as_str().and_then(|at| at.parse().ok()).unwrap_or(i64::MIN);
        let after = (shard.to_owned(), after, start["pk"]["S"].as_str().unwrap_or_default().to_owned());
        let limit = request["Limit"].as_u64().and_then(|limit| usize::try_from(limit).ok()).unwrap_or(PAGE);
        let entries = self.due.range(after.clone()..).filter(|entry| **entry != after);
        let mut entries =
            entries.take_while(|(of, at, _)| of == shard && *at <= until).take(limit.saturating_add(1));
        let key = |(shard, at, pk): &(String, i64, String)| json!({"pk": {"S": pk}, "due_shard": {"S": shard}, "due_at": {"N": at.to_string()}});
        let items: Vec<Value> = entries.by_ref().take(limit).map(key).collect();
        let mut answer = json!({"Count": items.len(), "ScannedCount": items.len()});
        if entries.next().is_some() {
            answer["LastEvaluatedKey"] = items.last()?.clone();
        }
        if request["Select"] != "COUNT" {
            answer["Items"] = Value::Array(items);
        }
        Some(answer)
    }

    fn answer(&mut self, operation: &str, request: &Value) -> Option<Value> {
        let key = || request["Key"]["pk"]["S"].as_str();
        match operation {
            "GetItem" => Some(self.get(key()?).map_or_else(|| json!({}), |row| json!({"Item": row}))),
            "PutItem" => {
                let row = request["Item"].as_object()?.clone();
                let key = row.get("pk")?["S"].as_str()?.to_owned();
                self.put(&key, row);
                Some(json!({}))
            }
            "UpdateItem" => {
                let (old, new) = self.update(request)?;
                Some(match request["ReturnValues"].as_str() {
                    Some("ALL_OLD") => json!({"Attributes": old}),
                    Some("ALL_NEW") => json!({"Attributes": new}),
                    _ => json!({}),
                })
            }
            "DeleteItem" => {
                self.remove(key()?);
                Some(json!({}))
            }
            "TransactWriteItems" => {
                for item in request["TransactItems"].as_array()? {
                    for (operation, of) in item.as_object()? {
                        let operation = format!("{operation}Item");
                        self.answer(&operation, of);
                    }
                }
                Some(json!({}))
            }
            "Query" => self.query(request),
            _ => None,
        }
    }
}

/// Both stand-ins.
struct Stub {
    table: Mutex<Table>,
    refreshed: Mutex<Vec<Instant>>,
    scopes: Value,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn dynamodb(State(stub): State<Arc<Stub>>, headers: HeaderMap, body: Bytes) -> Response {
    let target = headers.get("x-amz-target").and_then(|target| target.to_str().ok()).unwrap_or_default();
    let operation = target.rsplit('.').next().unwrap_or_default();
    let request: Value = serde_json::from_slice(&body).unwrap_or_default();
    let answer = locked(&stub.table).answer(operation, &request);
    if let Some(answer) = answer {
        return Json(answer).into_response();
    }
    let unknown = json!({"__type": "ValidationException", "message": "unknown here"});
    (StatusCode::BAD_REQUEST, Json(unknown)).into_response()
}

async fn graph(
    State(stub): State<Arc<Stub>>,
    uri: Uri,
    Query(query): Query<HashMap<String, String>>,
) -> Json<Value> {
    let presented = query.get("input_token").or_else(|| query.get("access_token"));
    let user_id = presented.and_then(|token| token.strip_prefix(TOKEN)).unwrap_or_default();
    let now = devstack::Clock::system().now().as_second();
    Json(match uri.path().rsplit('/').next() {
        Some("refresh_access_token") => {
            locked(&stub.refreshed).push(Instant::now());
            json!({"access_token": format!("{TOKEN}{user_id}"), "token_type": "bearer", "expires_in": 60 * DAY})
        }
        Some("debug_token") => json!({"data": {
            "type": "USER", "application": "bench", "data_access_expires_at": 0, "is_valid": true,
            "expires_at": now + 60 * DAY, "issued_at": now, "scopes": stub.scopes, "user_id": user_id}}),
        _ => json!({"id": user_id, "username": "bench"}),
    })
}

fn serve(router: Router) -> Result<String> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(([127, 0, 0, 1], 0).into())?;
    let listener = socket.listen(4096)?;
    let url = format!("http://{}", listener.local_addr()?);
    tokio::spawn(async move { axum::serve(listener, router).await });
    Ok(url)
}

/// Makes sweeps until so many due grants are refreshed, so many at once. An invocation has 15
/// minutes.
pub(crate) async fn sweep(
    executable: &Path,
    tls: &Arc<ServerConfig>,
    at_once: u64,
    count: u64,
    pace: Pace,
) -> Result<Swept> {
    let scene = Scene::make(Work::Token).await?;
    let stub = Arc::new(stub(scene.stack(), count).await?);
    let table = Router::new().fallback(dynamodb).with_state(Arc::clone(&stub));
    let meta = Router::new().fallback(graph).with_state(Arc::clone(&stub));
    let mut variables = scene.variables.clone();
    variables.insert("AWS_ENDPOINT_URL_DYNAMODB".to_owned(), serve(table)?);
    variables.insert("THREADS_GRAPH_URL".to_owned(), serve(meta)?);
    variables.insert("SWEEP_CONCURRENCY".to_owned(), at_once.to_string());
    let wire = Wire::start(&variables, Some(tls), pace)?;
    let mut function = Function::start(executable, &wire.variables, Under::Nothing).await?;
    function.asked().await?;
    let before = (process::cpu(function.id()), wire.counts());
    let (mut refreshed, mut invocations, mut took) = (0, 0, Duration::ZERO);
    while refreshed < count {
        let done = function.invoke(scheduled()).await?;
        let more = done.response["outcomes"]["refreshed"].as_u64().unwrap_or(0);
        refreshed += more;
        let is_cut = more > 0 && done.response["stopped"] == "deadline";
        ensure!(refreshed == count || is_cut, "{}", done.response);
        invocations += 1;
        took += done.took;
    }
    let cpu = process::cpu(function.id()) - before.0;
    let counts = wire.counts() - before.1;
    let memory = process::memory(function.id())?;
    function.end().await?;
    let moments = locked(&stub.refreshed).clone();
    ensure!(moments.len() as u64 == count, "{} refreshes", moments.len());
    let (from, to) = (moments.len() / 10, moments.len() * 9 / 10);
    #[expect(clippy::cast_precision_loss, reason = "a rate")]
    let rate = (to - from) as f64 / (moments[to] - moments[from]).as_secs_f64();
    Ok(Swept {
        due: count,
        invocations,
        took,
        rate,
        cpu,
        memory,
        connections: counts.connections,
        calls: counts.calls,
    })
}

/// Returns the stand-ins with so many due grants, each made after the one grant of a stack.
async fn stub(stack: &Stack, count: u64) -> Result<Stub> {
    let mut rows = pin!(stack.service().store().items(&stack.urls().grants_table, true));
    let one = rows.next().await.context("the stack has no grant")??;
    let mut model = Row::new();
    for (name, value) in one {
        model.insert(name, serde_json::to_value(serde_dynamo::AttributeValue::from(value))?);
    }
    let now = stack.clock().now();
    let vault = stack.service().vault(now).await?;
    let now = now.as_second();
    let mut table = Table::default();
    for n in 0..count {
        let user_id: UserId = (17_841_500_000_000_000 + n).to_string().parse()?;
        let token = AccessToken::new(format!("{TOKEN}{}", user_id.as_str()))?;
        let sealed = vault.seal(Purpose::AccessToken, &user_id, &token)?;
        let key = format!("user#{}", user_id.as_str());
        let mut row = model.clone();
        let mut number =
            |name: &str, value: i64| row.insert(name.to_owned(), json!({"N": value.to_string()}));
        number("issued_at", now - AGE * DAY);
        number("expires_at", now + LEFT * DAY);
        number("due_at", now - 60);
        row.insert("pk".to_owned(), json!({"S": key}));
        if let Some(text) = row.get_mut("user_id") {
            *text = json!({"S": user_id.as_str()});
        }
        row.insert("due_shard".to_owned(), json!({"S": schedule::shard(&user_id)}));
        row.insert("token".to_owned(), json!({"B": BASE64_STANDARD.encode(sealed)}));
        table.put(&key, row);
    }
    let scopes = model.get("scopes").and_then(|scopes| scopes.get("SS").or_else(|| scopes.get("S")));
    let scopes = match scopes {
        Some(Value::String(text)) => json!(text.split([' ', ',']).collect::<Vec<_>>()),
        Some(list) => list.clone(),
        None => json!(["threads_basic"]),
    };
    Ok(Stub { table: Mutex::new(table), refreshed: Mutex::default(), scopes })
}
