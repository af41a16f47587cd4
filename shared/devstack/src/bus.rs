//! An EventBridge endpoint that stores what it receives: for the development page, for tests, and
//! in a file.
//!
//! It accepts `PutEvents` for one bus, and formats each event as EventBridge delivers it. Its one
//! rule passes events on to webhooks, if there are any.

use std::collections::VecDeque;
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Json, Response};
use axum::{Router, routing::post};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};
use threads_auth_model::seal::random_text;

use crate::environment::{ACCOUNT_ID, EVENT_BUS, REGION};

const REMEMBERED: usize = 1_000;

/// The bus, and the destinations of its events.
#[derive(Clone, Default)]
pub(crate) struct Bus(Arc<Mutex<Kept>>);

#[derive(Default)]
struct Kept {
    /// The newest first.
    events: VecDeque<Value>,
    file: Option<File>,
    /// The events that the webhooks' queue has not taken yet, oldest first; `None` without
    /// webhooks.
    outgoing: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct PutEvents {
    entries: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    source: String,
    detail_type: String,
    detail: String,
    event_bus_name: String,
    #[serde(default)]
    resources: Vec<String>,
    time: f64,
}

impl Bus {
    /// Creates a bus that also appends each event to `file`, as one line of JSON, and passes it on
    /// to webhooks if there are any.
    pub(crate) fn open(file: Option<&Path>, has_webhook: bool) -> std::io::Result<Self> {
        let open = |path| File::options().create(true).append(true).open(path);
        let file = file.map(open).transpose()?;
        let events = VecDeque::new();
        let outgoing = has_webhook.then(Vec::new);
        Ok(Self(Arc::new(Mutex::new(Kept { events, file, outgoing }))))
    }

    /// Returns the last events, newest first.
    pub(crate) fn events(&self) -> Vec<Value> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.events.iter().cloned().collect()
    }

    /// Returns the events since the last call, oldest first, for webhooks.
    pub(crate) fn outgoing(&self) -> Vec<String> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.outgoing.as_mut().map(std::mem::take).unwrap_or_default()
    }

    pub(crate) fn endpoint(self) -> Router {
        Router::new().route("/", post(put_events)).with_state(self)
    }

    fn take(&self, entry: &Entry) -> Result<String, &'static str> {
        if entry.event_bus_name != EVENT_BUS {
            return Err("ResourceNotFoundException");
        }
        let detail: Value = serde_json::from_str(&entry.detail).map_err(|_| "MalformedDetail")?;
        #[expect(clippy::cast_possible_truncation, reason = "the protocol has whole seconds as a float")]
        let time = Timestamp::from_second(entry.time as i64).map_err(|_| "InvalidArgument")?;
        let id = random_text::<12>().map_err(|_| "InternalFailure")?;
        let event = json!({
            "version": "0",
            "id": id,
            "detail-type": entry.detail_type,
            "source": entry.source,
            "account": ACCOUNT_ID,
            "time": time,
            "region": REGION,
            "resources": entry.resources,
            "detail": detail,
        });
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(file) = &mut kept.file {
            // One write per line, for readers that follow the file. An event that fails here is
            // delivered again.
            let line = format!("{event}\n");
            file.write_all(line.as_bytes()).map_err(|_| "InternalFailure")?;
        }
        if let Some(outgoing) = &mut kept.outgoing {
            outgoing.push(entry.detail.clone());
        }
        kept.events.push_front(event);
        kept.events.truncate(REMEMBERED);
        Ok(id)
    }
}

async fn put_events(State(bus): State<Bus>, headers: HeaderMap, body: Bytes) -> Response {
    let is_put = headers.get("x-amz-target").is_some_and(|target| target == "AWSEvents.PutEvents");
    let Some(PutEvents { entries }) = serde_json::from_slice(&body).ok().filter(|_| is_put) else {
        let error = json!({"__type": "ValidationException", "message": "only PutEvents, whole"});
        return (StatusCode::BAD_REQUEST, Json(error)).into_response();
    };
    let entries: Vec<Value> = entries
        .iter()
        .map(|entry| match bus.take(entry) {
            Ok(id) => json!({"EventId": id}),
            Err(code) => json!({"ErrorCode": code, "ErrorMessage": code}),
        })
        .collect();
    let failed = entries.iter().filter(|entry| entry.get("ErrorCode").is_some()).count();
    Json(json!({"FailedEntryCount": failed, "Entries": entries})).into_response()
}
