//! Fixtures that the tests share: a stack at a known moment, and a browser.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use axum::body::{Body, Bytes};
use axum::http::{Response, Uri};
use axum::serve::ListenerExt;
use devstack::{Clock, Stack, StackOptions};
use jiff::Timestamp;
use reqwest::header::{CONTENT_TYPE, COOKIE, HeaderMap, HeaderValue, LOCATION, SET_COOKIE};
use reqwest::{Client, Method, StatusCode};
use threads_auth::ThreadsAuth;
use threads_auth_model::Grant;
use threads_auth_model::seal::Purpose;
use threads_auth_store::Item;
use threads_auth_web::HttpRequest;
use threads_graph::{AccessToken, Graph, HttpClient, HttpTimeouts, UserId};
use threads_sandbox::{Fault, FaultAction, NewAccount, SandboxCall};
use url::Url;

pub(crate) const DAY: Duration = Duration::from_hours(24);

/// Start of every test: far ahead of the machine's clock, by which the DynamoDB of
/// `TEST_DYNAMODB_URL` removes expired items.
pub(crate) const START: &str = "2041-01-01T00:00:00Z";

/// By then a lease is over.
pub(crate) const LEASE: Duration = Duration::from_mins(41);

/// With these, a test that waits until the service gives up does so for ten seconds.
pub(crate) const SHORT_WAIT: [(&str, &str); 1] = [("REQUEST_SECONDS", "60")];

/// Meta does not answer before [`threads_sandbox::Sandbox::clear_faults`].
pub(crate) const HOLD: FaultAction = FaultAction::Delay { millis: 3_600_000 };

/// A stack in memory, at a moment of its own.
pub(crate) async fn stack() -> Stack {
    stack_with(&[]).await
}

/// A stack with other values for some of the functions' variables.
pub(crate) async fn stack_with(variables: &[(&str, &str)]) -> Stack {
    Stack::start(options(START.parse().unwrap(), variables)).await.unwrap()
}

/// Returns the options of a stack that starts at `start`.
pub(crate) fn options(start: Timestamp, variables: &[(&str, &str)]) -> StackOptions {
    // A busy machine is not an outage.
    let patient = ("REQUEST_SECONDS".to_owned(), "600".to_owned());
    let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    StackOptions {
        clock: Some(Clock::frozen(start)),
        variables: [patient]
            .into_iter()
            .chain(elsewhere("TEST_DYNAMODB_URL", "AWS_ENDPOINT_URL_DYNAMODB"))
            .chain(variables)
            .collect(),
        ..StackOptions::default()
    }
}

/// A client that waits for as long as a busy machine takes.
pub(crate) fn http() -> HttpClient {
    HttpClient::new(HttpTimeouts { connect: Duration::from_mins(10), request: Duration::from_mins(10) })
        .unwrap()
}

/// With an address in `setting` a service is there and not in the stack: at an emulator that takes
/// twelve digits for an account, so that each stack has one of its own. `infra/rehearse` runs tests
/// with it.
#[expect(clippy::disallowed_methods, reason = "the tests' only settings")]
pub(crate) fn elsewhere(setting: &str, endpoint: &str) -> Vec<(String, String)> {
    let Ok(url) = std::env::var(setting) else {
        return Vec::new();
    };
    let random = u64::from_le_bytes(threads_auth_model::seal::random().unwrap());
    let account = format!("{:012}", random % 1_000_000_000_000);
    [(endpoint, url), ("AWS_ACCESS_KEY_ID", account)].map(|(name, value)| (name.to_owned(), value)).into()
}

/// A browser: it keeps cookies for our service, and follows no redirect by itself.
#[derive(Clone)]
pub(crate) struct Browser {
    http: Client,
    pub(crate) jar: BTreeMap<String, String>,
}

/// A response to a browser.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Reply {
    pub(crate) fn location(&self) -> Url {
        let text =
            self.headers.get(LOCATION).unwrap_or_else(|| panic!("no redirect: {self:?}")).to_str().unwrap();
        Url::parse(text)
            .unwrap_or_else(|_| Url::parse("http://relative.invalid").unwrap().join(text).unwrap())
    }

    /// The stable name that every page of ours carries for developers.
    pub(crate) fn is_page(&self, name: &str) -> bool {
        self.body.contains(&format!("<code>{name}</code>"))
    }
}

impl Browser {
    pub(crate) fn new() -> Self {
        let http = http().inner().clone();
        Self { http, jar: BTreeMap::new() }
    }

    #[expect(clippy::disallowed_methods, reason = "a test's own requests")]
    pub(crate) async fn send(&self, method: Method, url: &str, headers: HeaderMap, body: String) -> Reply {
        let mut request = self.http.request(method.clone(), url).headers(headers).body(body);
        if !self.jar.is_empty() {
            let cookies: Vec<_> = self.jar.iter().map(|(name, value)| format!("{name}={value}")).collect();
            request = request.header(COOKIE, cookies.join("; "));
        }
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status(), response.headers().clone());
        let body = response.text().await.unwrap();
        crate::contract::assert_lists(&method, url, status, &body);
        Reply { status, headers, body }
    }

    /// Gets a page, and keeps the cookies that come with it.
    pub(crate) async fn get(&mut self, url: &str) -> Reply {
        let reply = self.send(Method::GET, url, HeaderMap::new(), String::new()).await;
        keep_cookies(&mut self.jar, &reply.headers);
        reply
    }

    /// Opens `/authorize?query` and lets `user_id` press Allow: the URL by which Meta sends the
    /// person back.
    pub(crate) async fn consent(&mut self, stack: &Stack, query: &str, user_id: &str) -> Url {
        let started = self.get(&format!("{}/authorize?{query}", stack.urls().service_url)).await;
        assert_eq!(started.status, StatusCode::FOUND, "{started:?}");
        let mut at_meta = started.location();
        at_meta.query_pairs_mut().append_pair("auto_approve", user_id);
        // Meta is another site: our cookies do not go there.
        let mut back = Self { jar: BTreeMap::new(), ..self.clone() }.get(at_meta.as_str()).await.location();
        back.set_fragment(None);
        back
    }

    /// A whole connect.
    pub(crate) async fn connect(&mut self, stack: &Stack, user_id: &str) -> Reply {
        let back = self.consent(stack, "", user_id).await;
        self.get(back.as_str()).await
    }
}

/// Invokes the function of a request's path in this process.
pub(crate) async fn invoke_function(service: &ThreadsAuth, now: Timestamp, request: &HttpRequest) -> Reply {
    // In boxes, because the compiler lays such deep futures out no further.
    let response = match request.path.split('/').nth(1) {
        Some("authorize") => Box::pin(authorize::handle(service, request, now)).await,
        Some("deauthorize") => Box::pin(deauthorize::handle(service, request, now)).await,
        Some("data-deletion") => Box::pin(deletion::handle(service, request, now)).await,
        Some("sessions") => Box::pin(sessions::handle(service, request, now)).await,
        Some("users") => Box::pin(token::handle(service, request, now)).await,
        _ => Box::pin(callback::handle(service, request, now)).await,
    };
    let (parts, body) = response.into_parts();
    Reply { status: parts.status, headers: parts.headers, body }
}

/// Keeps the cookies that come with a response, and drops those that end.
pub(crate) fn keep_cookies(jar: &mut BTreeMap<String, String>, headers: &HeaderMap) {
    for set in headers.get_all(SET_COOKIE) {
        let text = set.to_str().unwrap();
        let (pair, attributes) = text.split_once(';').unwrap();
        let (name, value) = pair.split_once('=').unwrap();
        if attributes.contains("Max-Age=0") {
            jar.remove(name);
        } else {
            jar.insert(name.to_owned(), value.to_owned());
        }
    }
}

/// The user id of one of the sandbox's two accounts: `ada` or `grace`.
pub(crate) fn account(stack: &Stack, username: &str) -> String {
    let accounts = stack.sandbox().unwrap().accounts();
    accounts.into_iter().find(|account| account.username == username).unwrap().user_id
}

/// A stack, and the user id of its sandbox's account `ada`.
pub(crate) async fn stack_of_ada() -> (Stack, String) {
    let stack = stack().await;
    let ada = account(&stack, "ada");
    (stack, ada)
}

/// The same after she has connected.
pub(crate) async fn connected_ada() -> (Stack, String) {
    let (stack, ada) = stack_of_ada().await;
    Browser::new().connect(&stack, &ada).await;
    (stack, ada)
}

/// Connects a person whose profile is private, and returns their user id: access to their data ends
/// after 90 days.
pub(crate) async fn connect_private(stack: &Stack) -> String {
    let account = stack
        .sandbox()
        .unwrap()
        .add_account(NewAccount { private: true, ..NewAccount::new("private", "17841400000000042") });
    Browser::new().connect(stack, &account.user_id).await;
    account.user_id
}

/// Connects so many people at once, and returns their user ids.
pub(crate) async fn connect_people(stack: &Stack, count: u64) -> Vec<String> {
    let mut people = Vec::new();
    for n in 0..count {
        let user_id = (17_841_400_000_000_000 + n).to_string();
        stack.sandbox().unwrap().add_account(NewAccount::new(format!("person{n}"), user_id.clone()));
        let connected = Browser::new().connect(stack, &user_id).await;
        assert_eq!(connected.status, StatusCode::SEE_OTHER, "{connected:?}");
        people.push(user_id);
    }
    people
}

/// Returns the parameter `wanted` of `url`'s query.
pub(crate) fn parameter(url: &Url, wanted: &str) -> String {
    let found = url.query_pairs().find(|(name, _)| name == wanted);
    found.unwrap_or_else(|| panic!("{url}")).1.into_owned()
}

/// Posts a signed request to one of our callbacks, as Meta does.
pub(crate) async fn post_signed(stack: &Stack, path: &str, signed_request: &str) -> Reply {
    let form = url::form_urlencoded::Serializer::new(String::new())
        .append_pair("signed_request", signed_request)
        .finish();
    post_form(stack, path, form).await
}

/// Posts a form to one of our callbacks.
pub(crate) async fn post_form(stack: &Stack, path: &str, form: String) -> Reply {
    let url = format!("{}{path}", stack.urls().service_url);
    let kind = HeaderValue::from_static("application/x-www-form-urlencoded");
    let headers = HeaderMap::from_iter([(CONTENT_TYPE, kind)]);
    Browser::new().send(Method::POST, &url, headers, form).await
}

/// A person's request to be deleted, as Meta posts it.
pub(crate) async fn delete_data(stack: &Stack, user_id: &str) -> serde_json::Value {
    let wish = stack.sandbox().unwrap().signed_request(user_id);
    let reply = post_signed(stack, "/data-deletion", &wish).await;
    assert_eq!(reply.status, StatusCode::OK);
    serde_json::from_str(&reply.body).unwrap()
}

/// The grant of a user, who must have one.
pub(crate) async fn grant(stack: &Stack, user_id: &str) -> Grant {
    find_grant(stack, user_id).await.unwrap()
}

/// The grant of a user, if there is one.
pub(crate) async fn find_grant(stack: &Stack, user_id: &str) -> Option<Grant> {
    let user_id: UserId = user_id.parse().unwrap();
    stack.service().find_grant(&user_id).await.unwrap()
}

/// Returns the number of calls that the sandbox got, with or without success.
pub(crate) fn calls(stack: &Stack) -> usize {
    stack
        .sandbox()
        .unwrap()
        .calls()
        .iter()
        .filter(|call| call.call != threads_sandbox::SandboxCall::Authorize)
        .count()
}

/// Returns the number of calls of one kind that the sandbox got, with or without success.
pub(crate) fn calls_of(stack: &Stack, call: SandboxCall) -> usize {
    let calls = stack.sandbox().unwrap().calls();
    calls.iter().filter(|made| made.call == call).count()
}

/// Lets the next `times` calls of one kind fail.
pub(crate) fn fail(stack: &Stack, call: SandboxCall, times: u32, action: FaultAction) {
    let fault = Fault { call: Some(call), times, after: 0, action, user_id: None };
    stack.sandbox().unwrap().inject(fault);
}

/// Waits until every fault has struck: under [`HOLD`], until the call is at Meta.
pub(crate) async fn faults_struck(stack: &Stack) {
    while !stack.sandbox().unwrap().faults().is_empty() {
        tokio::task::yield_now().await;
    }
}

/// Serves until the test ends, and returns the address.
pub(crate) async fn serve(router: axum::Router) -> String {
    serve_counting(router, Arc::default()).await
}

/// The same, and counts the connections.
pub(crate) async fn serve_counting(router: axum::Router, connections: Arc<AtomicUsize>) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let listener = listener.tap_io(move |_| _ = connections.fetch_add(1, Ordering::Relaxed));
    tokio::spawn(async move { axum::serve(listener, router).await });
    url
}

/// Passes a request on to `upstream`, and returns its response. What verifies signatures needs the
/// host that was signed.
#[expect(clippy::disallowed_methods, reason = "a test's own requests")]
pub(crate) async fn pass_on(
    client: &Client,
    upstream: &str,
    is_signed: bool,
    method: Method,
    uri: &Uri,
    mut headers: HeaderMap,
    body: Bytes,
) -> Response<Body> {
    if !is_signed {
        headers.remove("host");
    }
    let url = format!("{upstream}{}", uri.path_and_query().unwrap());
    let sent = client.request(method, url).headers(headers).body(body).send().await.unwrap();
    let (status, mut headers) = (sent.status(), sent.headers().clone());
    headers.remove("transfer-encoding");
    let mut response = Response::new(Body::from(sent.bytes().await.unwrap()));
    (*response.status_mut(), *response.headers_mut()) = (status, headers);
    response
}

/// Fails with a body and status of the test's own.
pub(crate) fn respond(status: u16, body: impl Into<String>) -> FaultAction {
    FaultAction::Respond { status, body: body.into(), headers: Vec::new() }
}

/// All rows of both tables.
pub(crate) async fn rows(stack: &Stack) -> Vec<Item> {
    let client = threads_auth_store::aws::dynamodb(&stack.service().config().aws, &http());
    let mut rows = Vec::new();
    for table in [&stack.urls().grants_table, &stack.urls().short_lived_table] {
        let mut pages = client.scan().table_name(table).consistent_read(true).into_paginator().items().send();
        while let Some(row) = pages.try_next().await.unwrap() {
            rows.push(row);
        }
    }
    rows
}

/// Gives a user's row in the grants table an attribute that it should not have.
pub(crate) async fn set_attribute(stack: &Stack, user_id: &str, name: &str, value: AttributeValue) {
    set_attribute_in(stack, &stack.urls().grants_table, user_id, name, value).await;
}

/// The same in another table.
pub(crate) async fn set_attribute_in(
    stack: &Stack,
    table: &str,
    user_id: &str,
    name: &str,
    value: AttributeValue,
) {
    let client = threads_auth_store::aws::dynamodb(&stack.service().config().aws, &http());
    let pk = AttributeValue::S(format!("user#{user_id}"));
    let update = client.update_item().table_name(table).key("pk", pk).update_expression("SET #name = :value");
    let update =
        update.expression_attribute_names("#name", name).expression_attribute_values(":value", value);
    update.send().await.unwrap();
}

/// A record of the grants table's stream as Lambda hands it on: that the row of a user was written,
/// at so many seconds after 1970.
pub(crate) async fn record(stack: &Stack, user_id: &str, number: &str, at: i64) -> serde_json::Value {
    let key = format!("user#{user_id}");
    let is_theirs = |row: &Item| row.get("pk").and_then(|pk| pk.as_s().ok()) == Some(&key);
    let row = rows(stack).await.into_iter().find(is_theirs).unwrap();
    let image: serde_json::Map<_, _> = row
        .into_iter()
        .map(|(name, value)| (name, serde_json::to_value(serde_dynamo::AttributeValue::from(value)).unwrap()))
        .collect();
    serde_json::json!({"eventID": format!("e{number}"), "eventName": "INSERT", "eventSource": "aws:dynamodb",
        "dynamodb": {"ApproximateCreationDateTime": at, "Keys": {"pk": image["pk"]}, "NewImage": image,
            "SequenceNumber": number, "SizeBytes": 500, "StreamViewType": "NEW_AND_OLD_IMAGES"}})
}

/// The text of a secret.
pub(crate) async fn secret_text(stack: &Stack, id: &str) -> String {
    let client = threads_auth_store::aws::secrets_manager(&stack.service().config().aws, &http());
    client.get_secret_value().secret_id(id).send().await.unwrap().secret_string.unwrap()
}

/// Opens a value of a user's row that was sealed for this purpose.
pub(crate) async fn unsealed(
    stack: &Stack,
    purpose: Purpose,
    user_id: &str,
    sealed: &[u8],
) -> Option<String> {
    let vault = stack.service().vault(stack.clock().now()).await.unwrap();
    let opened = vault.open(purpose, &user_id.parse().unwrap(), sealed).ok();
    opened.map(|token| token.expose().to_owned())
}

/// The user's long-lived token.
pub(crate) async fn token(stack: &Stack, user_id: &str) -> String {
    let grant = grant(stack, user_id).await;
    unsealed(stack, Purpose::AccessToken, user_id, &grant.live().unwrap().token).await.unwrap()
}

/// Returns true if Meta accepts a token.
pub(crate) async fn is_usable(stack: &Stack, token: &str) -> bool {
    let graph = Graph::new(http(), stack.service().config().endpoints.clone());
    graph.me(&AccessToken::new(token).unwrap()).await.is_ok()
}
