//! Each function at its usual work: a stack around it, and the events that it gets.

use std::collections::HashMap;
use std::pin::pin;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use axum::Router;
use axum::http::StatusCode;
use devstack::{Stack, StackOptions};
use futures_util::StreamExt as _;
use jiff::SignedDuration;
use reqwest::header::{COOKIE, LOCATION, SET_COOKIE};
use serde_json::{Value, json};
use threads_auth::NewSession;
use threads_auth_store::Item;
use threads_graph::{HttpClient, HttpTimeouts};
use threads_sandbox::NewAccount;
use tokio::net::TcpListener;
use tokio::time::sleep;
use url::{Url, form_urlencoded};

/// A function at a work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    /// A handler that does nothing.
    Empty,
    /// A handler that only redirects.
    Redirect,
    /// The calls of [`Self::AuthorizeSession`], on Node with the SDK for JavaScript. Optional.
    Node,
    /// A login that anybody may begin.
    Authorize,
    /// A login in a session.
    AuthorizeSession,
    /// The way back of a login.
    Callback,
    /// The same in a session.
    CallbackSession,
    /// A token that is not due is handed out.
    Token,
    /// The same after the secrets' time.
    TokenAfterTtl,
    /// A sweep that finds nothing due.
    Refresh,
    /// A session is made.
    Sessions,
    /// Meta's message that a person has removed the app.
    Deauthorize,
    /// Meta's request for a deletion.
    Deletion,
    /// A record of the table's stream.
    Events,
    /// An event that is posted.
    Webhook,
}

impl Work {
    pub(crate) const ALL: [Self; 15] = [
        Self::Empty,
        Self::Redirect,
        Self::Node,
        Self::Authorize,
        Self::AuthorizeSession,
        Self::Callback,
        Self::CallbackSession,
        Self::Token,
        Self::TokenAfterTtl,
        Self::Refresh,
        Self::Sessions,
        Self::Deauthorize,
        Self::Deletion,
        Self::Events,
        Self::Webhook,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::Redirect => "bare-302",
            Self::Node => "node-20",
            Self::Authorize => "authorize-open",
            Self::AuthorizeSession => "authorize-session",
            Self::Callback => "callback-open",
            Self::CallbackSession => "callback-session",
            Self::Token => "token-hit",
            Self::TokenAfterTtl => "token-after-ttl",
            Self::Refresh => "refresh-empty",
            Self::Sessions => "sessions-new",
            Self::Deauthorize => "deauthorize",
            Self::Deletion => "deletion",
            Self::Events => "events",
            Self::Webhook => "webhook",
        }
    }

    /// Returns the name of the executable.
    pub(crate) fn function(self) -> &'static str {
        match self {
            Self::Empty => "anchor-empty",
            Self::Redirect => "anchor-redirect",
            Self::Node => "anchor-node",
            Self::Authorize | Self::AuthorizeSession => "authorize",
            Self::Callback | Self::CallbackSession => "callback",
            Self::Token | Self::TokenAfterTtl => "token",
            Self::Refresh => "refresh",
            Self::Sessions => "sessions",
            Self::Deauthorize => "deauthorize",
            Self::Deletion => "deletion",
            Self::Events => "events",
            Self::Webhook => "webhook",
        }
    }

    pub(crate) fn is_anchor(self) -> bool {
        matches!(self, Self::Empty | Self::Redirect | Self::Node)
    }
}

/// The surroundings of a function.
pub(crate) struct Scene {
    work: Work,
    stack: Stack,
    http: HttpClient,
    pub(crate) variables: HashMap<String, String>,
    people: u64,
    /// The event of works whose events are all the same.
    event: Value,
}

impl Scene {
    pub(crate) async fn make(work: Work) -> Result<Self> {
        let webhook = match work {
            Work::Webhook => Some(receiver().await?),
            _ => None,
        };
        let ttl = if work == Work::TokenAfterTtl { "1" } else { "300" };
        let access = if work == Work::AuthorizeSession { "session" } else { "open" };
        // A busy machine is not an outage, and callgrind makes it one.
        let patient = ("REQUEST_SECONDS", "600");
        let own = [("SECRETS_TTL_SECONDS", ttl), ("AUTHORIZE_ACCESS", access), patient];
        let own = own.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let options = StackOptions { webhook, variables: own.into(), ..StackOptions::default() };
        let stack = Stack::start(options).await?;
        let mut variables = stack.variables().clone();
        // Not in the stack itself, which would print its own.
        variables.insert("METRICS_SERVICE".to_owned(), "bench".to_owned());
        let http = HttpClient::new(HttpTimeouts {
            connect: Duration::from_mins(1),
            request: Duration::from_mins(1),
        })?;
        let mut scene = Self { work, stack, http, variables, people: 0, event: Value::Null };
        scene.event = scene.lasting_event().await?;
        Ok(scene)
    }

    pub(crate) fn stack(&self) -> &Stack {
        &self.stack
    }

    async fn lasting_event(&mut self) -> Result<Value> {
        Ok(match self.work {
            Work::Authorize | Work::Redirect | Work::Node => request("GET", "/authorize", "", None),
            Work::AuthorizeSession => {
                let query = format!("session={}", self.session().await?);
                request("GET", "/authorize", &query, None)
            }
            Work::Token | Work::TokenAfterTtl => {
                let person = self.connected().await?;
                signed(request("GET", &format!("/users/{person}/token"), "", None))
            }
            Work::Sessions => {
                let body = json!({"reference": "user-7", "return_to": RETURN_TO}).to_string();
                signed(request("POST", "/sessions", "", Some(("application/json", body))))
            }
            Work::Events => {
                let person = self.connected().await?;
                json!({"Records": [self.record(&person).await?]})
            }
            Work::Webhook => {
                let body = r#"{"version":"1", "id":"e1:account.refreshed", "type":"account.refreshed"}"#;
                let sent_at = self.stack.clock().now().as_millisecond().to_string();
                let attributes = json!({"ApproximateReceiveCount": "1", "SentTimestamp": sent_at});
                json!({"Records": [{"messageId": "m1", "receiptHandle": "r1", "body": body,
                    "attributes": attributes, "messageAttributes": {}, "eventSource": "aws:sqs"}]})
            }
            Work::Refresh | Work::Empty => scheduled(),
            Work::Callback | Work::CallbackSession | Work::Deauthorize | Work::Deletion => Value::Null,
        })
    }

    /// Returns the next event, after the time that has to pass before it.
    pub(crate) async fn event(&mut self) -> Result<Value> {
        Ok(match self.work {
            Work::Callback => {
                let person = self.person();
                self.way_back("", &person).await?
            }
            Work::CallbackSession => {
                let (person, session) = (self.person(), self.session().await?);
                self.way_back(&format!("session={session}"), &person).await?
            }
            Work::Deauthorize => {
                let person = self.connected().await?;
                self.message("/deauthorize", &person)?
            }
            Work::Deletion => {
                let person = self.connected().await?;
                self.message("/data-deletion", &person)?
            }
            Work::TokenAfterTtl => {
                // By then the secrets' time is over.
                sleep(Duration::from_millis(1_100)).await;
                self.event.clone()
            }
            Work::Empty
            | Work::Redirect
            | Work::Node
            | Work::Authorize
            | Work::AuthorizeSession
            | Work::Token
            | Work::Refresh
            | Work::Sessions
            | Work::Events
            | Work::Webhook => self.event.clone(),
        })
    }

    /// Fails unless a response is that of the work.
    pub(crate) fn check(&self, response: &Value) -> Result<()> {
        let is_done = match self.work {
            Work::Empty => response == &json!({}),
            Work::Redirect | Work::Node | Work::Authorize | Work::AuthorizeSession => {
                response["statusCode"] == 302
            }
            Work::Callback | Work::CallbackSession => response["statusCode"] == 303,
            Work::Token | Work::TokenAfterTtl | Work::Deauthorize | Work::Deletion => {
                response["statusCode"] == 200
            }
            Work::Sessions => response["statusCode"] == 201,
            Work::Refresh => response["outcomes"] == json!({}) && response["unreadable_shards"] == 0,
            Work::Events | Work::Webhook => response == &json!({"batchItemFailures": []}),
        };
        // Not all of it: a page is long, and a body may hold a token.
        let seen = [&response["statusCode"], &response["outcomes"], &response["batchItemFailures"]];
        ensure!(is_done, "{} was answered with {seen:?}", self.work.name());
        Ok(())
    }

    /// Makes another person.
    fn person(&mut self) -> String {
        self.people += 1;
        let user_id = (17_841_400_000_000_000 + self.people).to_string();
        if let Some(sandbox) = self.stack.sandbox() {
            sandbox.add_account(NewAccount::new(format!("person{}", self.people), user_id.clone()));
        }
        user_id
    }

    async fn session(&self) -> Result<String> {
        let new = NewSession {
            reference: "user-7".to_owned(),
            scopes: None,
            return_to: RETURN_TO.to_owned(),
            ui_locales: None,
            user_id: None,
            lifetime: SignedDuration::from_hours(1),
        };
        Ok(self.stack.service().create_session(new, self.stack.clock().now()).await?.id)
    }

    /// Connects another person.
    async fn connected(&mut self) -> Result<String> {
        let person = self.person();
        let (back, cookie) = self.consent("", &person).await?;
        let (status, ..) = self.get(&back, &cookie).await?;
        ensure!(status == StatusCode::SEE_OTHER, "a login ended with {status}");
        Ok(person)
    }

    async fn way_back(&self, query: &str, person: &str) -> Result<Value> {
        let (back, cookie) = self.consent(query, person).await?;
        let mut event = request("GET", "/callback", back.query().unwrap_or_default(), None);
        event["cookies"] = json!([cookie]);
        Ok(event)
    }

    /// Opens `/authorize` and lets the person press Allow. Returns the way back, and the cookie.
    async fn consent(&self, query: &str, person: &str) -> Result<(Url, String)> {
        let url = format!("{}/authorize?{query}", self.stack.urls().service_url);
        let (_, at_meta, cookie) = self.get(&url.parse()?, "").await?;
        let mut at_meta = at_meta.context("no way to Meta")?;
        at_meta.query_pairs_mut().append_pair("auto_approve", person);
        let (_, back, _) = self.get(&at_meta, "").await?;
        let mut back = back.context("no way back")?;
        back.set_fragment(None);
        Ok((back, cookie))
    }

    #[expect(clippy::disallowed_methods, reason = "a browser's requests to the stack")]
    async fn get(&self, url: &Url, cookie: &str) -> Result<(StatusCode, Option<Url>, String)> {
        let mut request = self.http.inner().get(url.clone());
        if !cookie.is_empty() {
            request = request.header(COOKIE, cookie);
        }
        let response = request.send().await?;
        let text = |name| response.headers().get(name).and_then(|value| value.to_str().ok());
        let location = text(LOCATION).and_then(|to| url.join(to).ok());
        let cookie = text(SET_COOKIE).and_then(|set| set.split(';').next()).unwrap_or_default().to_owned();
        Ok((response.status(), location, cookie))
    }

    fn message(&self, path: &str, person: &str) -> Result<Value> {
        let sandbox = self.stack.sandbox().context("a sandbox")?;
        let signed_request = sandbox.signed_request(person);
        let form = form_urlencoded::Serializer::new(String::new())
            .append_pair("signed_request", &signed_request)
            .finish();
        Ok(request("POST", path, "", Some(("application/x-www-form-urlencoded", form))))
    }

    /// Returns the record of a person's row as the stream has it.
    async fn record(&self, person: &str) -> Result<Value> {
        let key = format!("user#{person}");
        let mut rows = pin!(self.stack.service().store().items(&self.stack.urls().grants_table, true));
        let is_theirs = |row: &Item| row.get("pk").and_then(|pk| pk.as_s().ok()) == Some(&key);
        while let Some(row) = rows.next().await {
            let row = row?;
            if !is_theirs(&row) {
                continue;
            }
            let mut image = serde_json::Map::new();
            for (name, value) in row {
                image.insert(name, serde_json::to_value(serde_dynamo::AttributeValue::from(value))?);
            }
            let at = self.stack.clock().now().as_second();
            return Ok(json!({"eventID": "e1", "eventName": "INSERT", "eventSource": "aws:dynamodb",
                "dynamodb": {"ApproximateCreationDateTime": at, "Keys": {"pk": image["pk"]},
                    "NewImage": image, "SequenceNumber": "1", "SizeBytes": 500,
                    "StreamViewType": "NEW_AND_OLD_IMAGES"}}));
        }
        anyhow::bail!("the row is missing")
    }
}

/// An address that the stack's allowlist has.
const RETURN_TO: &str = "http://127.0.0.1:4000/done";

/// Starts a receiver of webhooks.
async fn receiver() -> Result<Url> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}/", listener.local_addr()?).parse()?;
    let router = Router::new().fallback(|| async { StatusCode::NO_CONTENT });
    tokio::spawn(async move { axum::serve(listener, router).await });
    Ok(url)
}

/// Returns a request's event in payload format 2.0.
fn request(method: &str, path: &str, query: &str, body: Option<(&str, String)>) -> Value {
    let route = format!("{method} {path}");
    let mut event = json!({
        "version": "2.0",
        "routeKey": route,
        "rawPath": path,
        "rawQueryString": query,
        "cookies": [],
        "headers": {"host": "threads.example.com", "user-agent": "bench"},
        "requestContext": {
            "accountId": "123456789012",
            "apiId": "api-id",
            "domainName": "threads.example.com",
            "domainPrefix": "threads",
            "http": {"method": method, "path": path, "protocol": "HTTP/1.1", "sourceIp": "192.0.2.1", "userAgent": "bench"},
            "requestId": "request",
            "routeKey": route,
            "stage": "$default",
            "time": "01/Jan/2026:00:00:00 +0000",
            "timeEpoch": 1_767_225_600_000_i64
        },
        "isBase64Encoded": false
    });
    if let Some((kind, body)) = body {
        event["headers"]["content-type"] = json!(kind);
        event["body"] = json!(body);
    }
    event
}

/// Returns the same, by a program of the app.
fn signed(mut event: Value) -> Value {
    event["requestContext"]["authorizer"] =
        json!({"iam": {"userArn": "arn:aws:sts::123456789012:assumed-role/backend/i-1"}});
    event
}

/// Returns the event that EventBridge Scheduler sends for a target without an input of its own.
pub(crate) fn scheduled() -> Value {
    json!({
        "version": "0",
        "id": "53dc4d37-cffa-4f76-80c9-8b7d4a4d2eaa",
        "detail-type": "Scheduled Event",
        "source": "aws.scheduler",
        "account": "123456789012",
        "time": "2026-01-01T00:00:00Z",
        "region": "eu-central-1",
        "resources": ["arn:aws:scheduler:eu-central-1:123456789012:schedule/default/sweep"],
        "detail": "{}"
    })
}
