//! A proxy before each upstream of a function. It can hold one call: before it is sent on, or after
//! the upstream has answered and before the answer is passed on. A process that is killed then dies
//! in a window between two of its steps.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Method, Response, Uri};
use reqwest::Client;
use serde_json::Value;
use tokio::sync::{Notify, RwLock};
use url::{Url, form_urlencoded};

use crate::fixture::{http, serve};

/// The variables that name a function's upstreams.
const UPSTREAMS: [&str; 6] = [
    "AWS_ENDPOINT_URL_DYNAMODB",
    "AWS_ENDPOINT_URL_EVENTBRIDGE",
    "AWS_ENDPOINT_URL_SECRETS_MANAGER",
    "AWS_ENDPOINT_URL_SQS",
    "THREADS_GRAPH_URL",
    "WEBHOOK_URL",
];

/// A side of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// The call has not reached its upstream.
    Before,
    /// The upstream has acted, and its answer has not reached the function.
    After,
}

/// The place of a call among those of one process: the `nth` of its kind, from one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) call: String,
    pub(crate) nth: usize,
}

/// A moment at which a process can be killed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Window {
    pub(crate) place: Place,
    pub(crate) side: Side,
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let side = match self.side {
            Side::Before => "before",
            Side::After => "after",
        };
        write!(f, "{side} {}", self.place.call)?;
        if self.place.nth > 1 { write!(f, " ({})", self.place.nth) } else { Ok(()) }
    }
}

/// Returns every window of a process that makes these calls. Of many calls of one kind the first
/// and the last are taken.
pub(crate) fn windows(places: &[Place]) -> Vec<Window> {
    let mut counts = BTreeMap::new();
    for place in places {
        counts.insert(place.call.as_str(), place.nth);
    }
    let is_taken = |place: &&Place| {
        counts[place.call.as_str()] <= 4 || place.nth == 1 || place.nth == counts[place.call.as_str()]
    };
    let taken = places.iter().filter(is_taken);
    taken
        .flat_map(|place| [Side::Before, Side::After].map(|side| Window { place: place.clone(), side }))
        .collect()
}

/// The proxies of one function's environment.
pub(crate) struct Holding {
    line: Arc<Line>,
    variables: Vec<(&'static str, String)>,
}

/// The calls of all proxies.
struct Line {
    http: Client,
    calls: Mutex<Calls>,
    reached: Notify,
    /// Read by each call that is at its upstream.
    busy: RwLock<()>,
}

#[derive(Default)]
struct Calls {
    counts: BTreeMap<String, usize>,
    seen: Vec<Place>,
    armed: Option<Window>,
}

impl Holding {
    /// Starts a proxy before each upstream that the environment names.
    pub(crate) async fn start(environment: &HashMap<String, String>) -> Self {
        let http = http().inner().clone();
        let line = Line { http, calls: Mutex::default(), reached: Notify::new(), busy: RwLock::default() };
        let line = Arc::new(line);
        let mut variables = Vec::new();
        for name in UPSTREAMS {
            let Some(upstream) = environment.get(name) else { continue };
            let upstream: Url = upstream.parse().unwrap();
            let origin = upstream.origin().ascii_serialization();
            let proxy = Router::new().fallback(forward).with_state((Arc::clone(&line), origin));
            let mut url: Url = serve(proxy).await.parse().unwrap();
            url.set_path(upstream.path());
            url.set_query(upstream.query());
            variables.push((name, url.as_str().trim_end_matches('/').to_owned()));
        }
        Self { line, variables }
    }

    /// Returns the variables under which a function reaches the proxies.
    pub(crate) fn variables(&self) -> Vec<(&str, &str)> {
        self.variables.iter().map(|(name, value)| (*name, value.as_str())).collect()
    }

    /// Begins with another process, one of whose calls may be held.
    pub(crate) fn arm(&self, window: Option<Window>) {
        *self.line.calls.lock().unwrap() = Calls { armed: window, ..Calls::default() };
    }

    /// Waits until the call is held.
    pub(crate) async fn reached(&self) {
        self.line.reached.notified().await;
    }

    /// Waits until no call is at its upstream.
    pub(crate) async fn settle(&self) {
        drop(self.line.busy.write().await);
    }

    /// Returns the calls of the process, in their order.
    pub(crate) fn seen(&self) -> Vec<Place> {
        self.line.calls.lock().unwrap().seen.clone()
    }
}

impl Line {
    /// Notes a call, and returns the side on which it is held, if it is.
    fn arrived(&self, call: String) -> Option<Side> {
        let mut calls = self.calls.lock().unwrap();
        let nth = calls.counts.entry(call.clone()).or_default();
        *nth += 1;
        let place = Place { call, nth: *nth };
        calls.seen.push(place.clone());
        calls.armed.take_if(|window| window.place == place).map(|window| window.side)
    }

    #[expect(clippy::disallowed_methods, reason = "a test's own requests")]
    async fn send(&self, method: Method, url: &str, headers: HeaderMap, body: Bytes) -> Response<Body> {
        let _busy = self.busy.read().await;
        let answer = self.http.request(method, url).headers(headers).body(body).send().await.unwrap();
        let (status, headers) = (answer.status(), answer.headers().clone());
        let mut response = Response::new(Body::from(answer.bytes().await.unwrap()));
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        response
    }

    async fn hold(&self) -> ! {
        self.reached.notify_one();
        std::future::pending().await
    }
}

async fn forward(
    State((line, origin)): State<(Arc<Line>, String)>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response<Body> {
    let held = line.arrived(name(&uri, &headers, &body));
    if held == Some(Side::Before) {
        line.hold().await;
    }
    let url = format!("{origin}{}", uri.path_and_query().unwrap());
    // In a task of its own, because a call that is under way ends though its caller is dead.
    let response = tokio::spawn({
        let line = Arc::clone(&line);
        async move { line.send(method, &url, headers, body).await }
    });
    let response = response.await.unwrap();
    if held == Some(Side::After) {
        line.hold().await;
    }
    response
}

/// The name of a call: the operation, and the kind of row, secret or grant that it is about.
fn name(uri: &Uri, headers: &HeaderMap, body: &[u8]) -> String {
    if let Some(target) = headers.get("x-amz-target") {
        let operation = target.to_str().unwrap().rsplit('.').next().unwrap_or_default();
        let asked: Value = serde_json::from_slice(body).unwrap_or_default();
        let key = [&asked["Key"]["pk"]["S"], &asked["Item"]["pk"]["S"], &asked["SecretId"]];
        let subject = key.into_iter().find_map(Value::as_str).unwrap_or_default();
        // A key ends with what is random.
        let subject = match subject.split_once('#') {
            Some(("control", which)) => which,
            Some((kind, _)) => kind,
            None => subject.rsplit('/').next().unwrap_or_default(),
        };
        return format!("{operation} {subject}").trim_end().to_owned();
    }
    let query = uri.query().unwrap_or_default().as_bytes();
    let parameters = form_urlencoded::parse(query).chain(form_urlencoded::parse(body));
    let kind = parameters.into_iter().find(|(name, _)| name == "grant_type");
    match kind {
        Some((_, kind)) => kind.into_owned(),
        None => uri.path().rsplit('/').next().unwrap_or_default().to_owned(),
    }
}
