//! The waits of an operation: its calls in sequence, in rounds, and new connections.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Method, Response, Uri};
use devstack::Stack;
use jiff::SignedDuration;
use reqwest::Client;
use threads_auth::{Config, Table, ThreadsAuth, VendError};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Barrier;
use url::Url;

use crate::connect::new_session;
use crate::fixture::{Browser, SHORT_WAIT, account, grant, http, pass_on, serve, stack, stack_with, token};
use crate::iam;
use crate::proxy::{Fault, Proxy};
use crate::threats::common::{cookies, invoke_at};

/// The upstreams' variables, and true if the host's name is signed.
const UPSTREAMS: [(&str, bool); 3] = [
    ("AWS_ENDPOINT_URL_DYNAMODB", true),
    ("AWS_ENDPOINT_URL_SECRETS_MANAGER", true),
    ("THREADS_GRAPH_URL", false),
];

/// Stands before what a service calls. Nothing of a round is answered before all of it was asked,
/// so an operation that asks for less at once gets no answer in time.
#[derive(Clone, Default)]
struct Rounds(Arc<Mutex<Line>>);

#[derive(Default)]
struct Line {
    /// The rounds, each with the number of its calls.
    rounds: Vec<(usize, Arc<Barrier>)>,
    made: Vec<String>,
}

/// One upstream behind it.
#[derive(Clone)]
struct Front {
    http: Client,
    upstream: String,
    is_signed: bool,
    rounds: Rounds,
}

impl Rounds {
    /// Returns a service that calls the stack through it.
    async fn before(stack: &Stack) -> (Self, ThreadsAuth) {
        let rounds = Self::default();
        let mut variables: HashMap<_, _> = stack.variables().clone();
        for (name, is_signed) in UPSTREAMS {
            let upstream = variables[name].clone();
            let front = Front { http: http().inner().clone(), upstream, is_signed, rounds: rounds.clone() };
            let url = serve(Router::new().fallback(Front::forward).with_state(front)).await;
            variables.insert(name.to_owned(), url);
        }
        (rounds, ThreadsAuth::new(Config::from_vars(&variables, None).unwrap()).unwrap())
    }

    /// Expects these rounds from now on.
    fn expect(&self, rounds: &[&[&str]]) {
        let rounds = rounds.iter().map(|calls| (calls.len(), Arc::new(Barrier::new(calls.len()))));
        *self.0.lock().unwrap() = Line { rounds: rounds.collect(), made: Vec::new() };
    }

    /// Asserts that the calls were these, and no others.
    #[track_caller]
    fn assert_made(&self, rounds: &[&[&str]]) {
        let made = &self.0.lock().unwrap().made;
        let mut rest = made.as_slice();
        let mut seen = Vec::new();
        for calls in rounds {
            let (round, later) = rest.split_at(calls.len().min(rest.len()));
            let mut round: Vec<_> = round.iter().map(String::as_str).collect();
            round.sort_unstable();
            seen.push(round);
            rest = later;
        }
        assert_eq!((seen, rest.len()), (rounds.iter().map(|calls| calls.to_vec()).collect(), 0), "{made:?}");
    }

    /// Notes a call, and returns what it waits for.
    fn arrived(&self, call: String) -> Option<Arc<Barrier>> {
        let mut line = self.0.lock().unwrap();
        line.made.push(call);
        let (nth, mut end) = (line.made.len(), 0);
        let round = line.rounds.iter().find(|(calls, _)| {
            end += calls;
            nth <= end
        });
        round.map(|(_, all)| Arc::clone(all))
    }
}

impl Front {
    async fn forward(
        State(front): State<Self>,
        method: Method,
        uri: Uri,
        headers: HeaderMap,
        body: Bytes,
    ) -> Response<Body> {
        let target = headers.get("x-amz-target").map(|target| target.to_str().unwrap().to_owned());
        let path = uri.path().trim_start_matches("/v1.0").to_owned();
        let call = target.map_or(path, |target| target.rsplit('.').next().unwrap().to_owned());
        if let Some(all) = front.rounds.arrived(call) {
            all.wait().await;
        }
        pass_on(&front.http, &front.upstream, front.is_signed, method, &uri, headers, body).await
    }
}

/// Passes on the bytes of each connection to `upstream`, and counts the connections.
async fn counted(upstream: &str) -> (String, Arc<AtomicUsize>) {
    let mut url: Url = upstream.parse().unwrap();
    let upstream = format!("{}:{}", url.host_str().unwrap(), url.port().unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    url.set_port(Some(listener.local_addr().unwrap().port())).unwrap();
    let count = Arc::new(AtomicUsize::new(0));
    let accepted = Arc::clone(&count);
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            accepted.fetch_add(1, Ordering::Relaxed);
            let upstream = upstream.clone();
            tokio::spawn(async move {
                let mut upstream = TcpStream::connect(upstream).await.unwrap();
                tokio::io::copy_bidirectional(&mut client, &mut upstream).await.ok();
            });
        }
    });
    (url.to_string().trim_end_matches('/').to_owned(), count)
}

/// A start opens one connection to Secrets Manager and one to DynamoDB, and the first request none.
#[tokio::test]
async fn a_start_opens_the_connections_of_the_first_request() {
    let stack = stack().await;
    let mut variables = stack.variables().clone();
    let mut counts = Vec::new();
    for (name, _) in &UPSTREAMS[..2] {
        let (url, count) = counted(&variables[*name]).await;
        variables.insert((*name).to_owned(), url);
        counts.push(count);
    }
    let opened = || counts.iter().map(|count| count.load(Ordering::Relaxed)).collect::<Vec<_>>();
    let now = stack.clock().now();
    let session = stack.service().create_session(new_session("user-1"), now).await.unwrap();
    for table in [Table::ShortLived, Table::Grants] {
        let before = opened();
        let service = ThreadsAuth::new(Config::from_vars(&variables, None).unwrap()).unwrap();
        service.warm(now, table).await;
        let after: Vec<_> = before.iter().map(|count| count + 1).collect();
        assert_eq!(opened(), after);
        service.begin_connect(&format!("session={}", session.id), &[], now).await.unwrap();
        assert_eq!(opened(), after, "the first request");
    }
}

/// A callback waits for Meta twice: for the short-lived token, and for all that is asked with it.
/// The database has two rounds, before and after.
#[tokio::test]
async fn a_callback_waits_for_meta_twice() {
    const CALLBACK: [&[&str]; 4] = [
        &["GetItem"],
        &["/oauth/access_token"],
        &["/access_token", "/debug_token", "/me", "GetItem"],
        &["TransactWriteItems"],
    ];
    let stack = stack_with(&SHORT_WAIT).await;
    let (rounds, service) = Rounds::before(&stack).await;
    let (ada, now) = (account(&stack, "ada"), stack.clock().now());
    let session = stack.service().create_session(new_session("user-1"), now).await.unwrap();
    let mut browser = Browser::new();
    let back = browser.consent(&stack, &format!("session={}", session.id), &ada).await;
    service.vault(now).await.unwrap();
    rounds.expect(&CALLBACK);
    let reply = invoke_at(&service, now, "/callback", back.query().unwrap(), &cookies(&browser)).await;
    assert_eq!(reply.status, 303, "{reply:?}");
    rounds.assert_made(&CALLBACK);
    let grant = grant(&stack, &ada).await;
    assert_eq!((grant.username.as_deref(), grant.scopes_source.as_str()), (Some("ada"), "granted"));
}

/// A vend reads the row while it reads the secrets again, and the row alone while they are fresh.
#[tokio::test]
async fn a_vend_waits_for_aws_once() {
    const AGAIN: [&[&str]; 1] = [&["GetItem", "GetSecretValue", "GetSecretValue"]];
    const FRESH: [&[&str]; 1] = [&["GetItem"]];
    let stack = stack_with(&SHORT_WAIT).await;
    let (rounds, service) = Rounds::before(&stack).await;
    let ada = account(&stack, "ada");
    Browser::new().connect(&stack, &ada).await;
    service.vault(stack.clock().now()).await.unwrap();
    stack.clock().advance(service.config().secrets_ttl);
    for calls in [&AGAIN, &FRESH] {
        rounds.expect(calls);
        let user_id = ada.parse().unwrap();
        let vended = service.vend(&user_id, SignedDuration::ZERO, None, stack.clock().now()).await.unwrap();
        rounds.assert_made(calls);
        assert_eq!(vended.access_token.expose(), token(&stack, &ada).await);
    }
}

/// Secrets that are slow do not let a vend go by a row from before the account's end.
#[tokio::test]
async fn an_end_while_the_secrets_are_read_is_seen() {
    let stack = stack_with(&SHORT_WAIT).await;
    let (proxy, service) = Proxy::start(&stack).await;
    let ada = account(&stack, "ada");
    Browser::new().connect(&stack, &ada).await;
    proxy.fail_times(Fault::Held, "GetSecretValue", 0, 2);
    let user_id = ada.parse().unwrap();
    let vend = service.vend(&user_id, SignedDuration::ZERO, None, stack.clock().now());
    let end = async {
        while !proxy.calls().iter().any(|call| call == "GetItem") {
            tokio::task::yield_now().await;
        }
        iam::call(&stack, Method::DELETE, &format!("/users/{ada}"), "").await.status
    };
    let (vended, ended) = tokio::join!(vend, end);
    assert_eq!(ended, 200);
    assert!(matches!(vended.unwrap_err().error, VendError::Revoked { .. }));
}
