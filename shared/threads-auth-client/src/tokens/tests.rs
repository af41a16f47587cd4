//! The cache against a service whose every answer is given by the test, in an order of its choice.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;

use aws_credential_types::Credentials;
use axum::Router;
use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use futures_util::future::join_all;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};

use super::*;

/// A request of the cache, which waits for its answer.
struct Asked {
    user: String,
    /// The query without `min_valid`.
    refused: Option<String>,
    answer: oneshot::Sender<Response>,
}

impl Asked {
    fn vends(self, token: &str, expires_at: &str) {
        let body = json!({"user_id": self.user, "access_token": token, "token_type": "bearer",
            "expires_at": expires_at, "scopes": ["threads_basic"], "scopes_source": "granted"});
        self.says(200, &body, None);
    }

    fn fails(self, status: u16, code: &str) {
        self.says(status, &json!({"error": {"code": code, "message": "a text"}}), Some("60"));
    }

    fn needs_person(self) {
        let body = json!({"error": {"code": "revoked", "message": "a text", "cause": "app"},
            "reconnect": {"method": "POST", "path": "/sessions", "add": ["reference", "return_to"],
                "body": {"user_id": self.user, "scopes": ["threads_basic"]}}});
        self.says(409, &body, None);
    }

    fn says(self, status: u16, body: &serde_json::Value, retry_after: Option<&'static str>) {
        let status = StatusCode::from_u16(status).unwrap();
        let mut response = (status, body.to_string()).into_response();
        if let Some(seconds) = retry_after {
            response.headers_mut().insert("retry-after", seconds.parse().unwrap());
        }
        // Nobody may wait any more.
        drop(self.answer.send(response));
    }
}

struct Service {
    tokens: Tokens,
    asked: mpsc::UnboundedReceiver<Asked>,
}

async fn answer(
    State(sender): State<mpsc::UnboundedSender<Asked>>,
    Path(user): Path<String>,
    RawQuery(query): RawQuery,
) -> Response {
    let query = query.unwrap_or_default();
    let refused = query.split_once("&refused=").map(|(_, digest)| digest.to_owned());
    let (answer, answered) = oneshot::channel();
    sender.send(Asked { user, refused, answer }).unwrap();
    answered.await.unwrap()
}

impl Service {
    async fn start() -> Self {
        let (sender, asked) = mpsc::unbounded_channel();
        let router =
            Router::new().route("/users/{user}/token", axum::routing::get(answer)).with_state(sender);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(axum::serve(listener, router).into_future());
        let credentials = Credentials::new("key", "secret", None, None, "test");
        let client = Client::new(&url, "eu-central-1", credentials).unwrap().timeout(Duration::from_mins(10));
        Self { tokens: Tokens::new(client), asked }
    }

    /// Returns the next request, while the callers go on.
    async fn asked(&mut self, callers: &mut (impl Future<Output: fmt::Debug> + Unpin)) -> Asked {
        tokio::select! {
            biased;
            done = callers => panic!("they were not to have an answer yet: {done:?}"),
            asked = self.asked.recv() => asked.unwrap(),
        }
    }

    fn has_no_request(&mut self) {
        assert!(self.asked.try_recv().is_err());
    }
}

fn ada() -> UserId {
    "1".parse().unwrap()
}

fn at(minutes: i64) -> Timestamp {
    Timestamp::from_second(4_000_000_000 + 60 * minutes).unwrap()
}

fn days(count: i64) -> String {
    at(count * 24 * 60).to_string()
}

fn text(answer: &Answer) -> String {
    match answer {
        Ok(token) => token.access_token.expose().to_owned(),
        Err(error) => error.to_string(),
    }
}

fn digest(token: &str) -> String {
    AccessToken::from(token.to_owned()).digest().to_string()
}

/// Lets a caller come as far as it comes without waiting.
async fn begin(caller: &mut (impl Future<Output: fmt::Debug> + Unpin)) {
    poll_fn(|context| {
        let begun = Pin::new(&mut *caller).poll(context);
        assert!(begun.is_pending(), "{begun:?}");
        Poll::Ready(())
    })
    .await;
}

/// A caller without a request of its own to answer.
macro_rules! call {
    ($service:ident, get $minute:expr) => {{
        let (tokens, ada) = ($service.tokens.clone(), ada());
        Box::pin(async move { text(&tokens.get(&ada, at($minute)).await) })
    }};
    ($service:ident, refused $token:literal, $minute:expr) => {{
        let (tokens, ada) = ($service.tokens.clone(), ada());
        let token = AccessToken::from($token.to_owned());
        Box::pin(async move { text(&tokens.refused(&ada, &token, at($minute)).await) })
    }};
}

/// Fills the cache with token `A` at minute 0, for 60 days.
async fn filled() -> Service {
    let mut service = Service::start().await;
    let mut caller = call!(service, get 0);
    service.asked(&mut caller).await.vends("A", &days(60));
    assert_eq!(caller.await, "A");
    service
}

#[tokio::test]
async fn a_hundred_callers_of_each_of_two_users_cause_one_request_each() {
    let mut service = Service::start().await;
    let users: Vec<UserId> = ["1", "2"].map(|user| user.parse().unwrap()).into();
    let tokens = service.tokens.clone();
    let callers = (0..200).map(|n| {
        let (tokens, user) = (tokens.clone(), users[n % 2].clone());
        async move { text(&tokens.get(&user, at(0)).await) }
    });
    let mut callers = Box::pin(join_all(callers));
    for _ in 0..2 {
        let asked = service.asked(&mut callers).await;
        let token = format!("of {}", asked.user);
        asked.vends(&token, &days(60));
    }
    let answers = callers.await;
    assert!(
        answers.iter().enumerate().all(|(n, token)| *token == format!("of {}", n % 2 + 1)),
        "{answers:?}"
    );
    service.has_no_request();
}

#[tokio::test]
async fn a_token_is_kept_for_an_hour_and_while_it_lives_long_enough() {
    let mut service = filled().await;
    assert_eq!(call!(service, get 59).await, "A");
    let mut caller = call!(service, get 60);
    service.asked(&mut caller).await.vends("B", &at(150).to_string());
    assert_eq!(caller.await, "B");
    // It ends at minute 150, and is to live for an hour.
    assert_eq!(call!(service, get 90).await, "B");
    let mut caller = call!(service, get 91);
    // The service's clock is the one that counts: it is handed out, and not asked for in a circle.
    service.asked(&mut caller).await.vends("B", &at(150).to_string());
    assert_eq!(caller.await, "B");
    service.has_no_request();
}

#[tokio::test]
async fn without_an_answer_a_token_does_that_lives_long_enough() {
    let mut service = filled().await;
    for (minute, status, code) in [(60, 503, "unavailable"), (120, 503, "busy"), (180, 500, "")] {
        let mut caller = call!(service, get minute);
        let asked = service.asked(&mut caller).await;
        if code.is_empty() {
            asked.says(status, &json!({"message": "Internal Server Error"}), None);
        } else {
            asked.fails(status, code);
        }
        assert_eq!(caller.await, "A");
        // The service has asked for a minute.
        let pause = if code.is_empty() { 0 } else { 59 };
        let (tokens, now) = (service.tokens.clone(), at(minute) + Duration::from_secs(pause));
        assert_eq!(text(&tokens.get(&ada(), now).await), "A");
        service.has_no_request();
    }
    // Meta has refused it, so it is handed out to nobody, and comes back once Meta takes it.
    let mut caller = call!(service, get 240);
    service.asked(&mut caller).await.fails(503, "suspected");
    assert_eq!(caller.await, "the service has no answer now: HTTP 503, suspected");
    let mut caller = call!(service, get 241);
    service.asked(&mut caller).await.vends("A", &days(60));
    assert_eq!(caller.await, "A");
    // It does not live long enough any more.
    let minute = 60 * 24 * 60 - 59;
    let mut caller = call!(service, get minute);
    service.asked(&mut caller).await.fails(503, "unavailable");
    assert_eq!(caller.await, "the service has no answer now: HTTP 503, unavailable");
}

#[tokio::test]
async fn a_failure_is_shared_and_not_kept() {
    let mut service = Service::start().await;
    let mut callers = Box::pin(join_all((0..100).map(|_| call!(service, get 0))));
    service.asked(&mut callers).await.fails(503, "pending");
    assert!(callers.await.iter().all(|text| text.ends_with("pending")));
    service.has_no_request();
    let mut caller = call!(service, get 0);
    service.asked(&mut caller).await.vends("A", &days(60));
    assert_eq!(caller.await, "A");
}

#[tokio::test]
async fn an_account_that_needs_its_person_is_asked_for_each_time() {
    let mut service = filled().await;
    let mut caller = call!(service, get 60);
    service.asked(&mut caller).await.needs_person();
    assert_eq!(caller.await, "the account needs its person: app");
    // Not even an outage brings its token back.
    let mut caller = call!(service, get 61);
    service.asked(&mut caller).await.fails(503, "unavailable");
    assert!(caller.await.ends_with("unavailable"));
    let mut caller = call!(service, get 61);
    service.asked(&mut caller).await.vends("B", &days(60));
    assert_eq!(caller.await, "B");
}

#[tokio::test]
async fn callers_who_report_the_same_token_cause_one_request() {
    let mut service = filled().await;
    let mut callers = Box::pin(join_all((0..100).map(|_| call!(service, refused "A", 1))));
    let mut others = Box::pin(join_all((0..100).map(|_| call!(service, get 1))));
    let asked = service.asked(&mut callers).await;
    // Those who ask meanwhile do not get it either.
    begin(&mut others).await;
    assert_eq!(asked.refused, Some(digest("A")));
    asked.vends("B", &days(60));
    assert!(callers.await.iter().chain(&others.await).all(|token| token == "B"));
    // Late reports of the old token cost nothing.
    assert_eq!(call!(service, refused "A", 2).await, "B");
    service.has_no_request();
    // Meta takes it again.
    let mut caller = call!(service, refused "B", 3);
    let asked = service.asked(&mut caller).await;
    assert_eq!(asked.refused, Some(digest("B")));
    asked.vends("B", &days(60));
    assert_eq!(caller.await, "B");
    assert_eq!(call!(service, get 4).await, "B");
    service.has_no_request();
}

#[tokio::test]
async fn what_was_asked_before_a_refusal_is_not_kept_after_it() {
    let mut service = filled().await;
    let mut before = call!(service, get 60);
    let old = service.asked(&mut before).await;
    let mut reporter = call!(service, refused "A", 60);
    let new = service.asked(&mut reporter).await;
    assert_eq!((old.refused.as_ref(), new.refused.as_ref()), (None, Some(&digest("A"))));
    new.vends("B", &days(60));
    assert_eq!(reporter.await, "B");
    // The old answer comes last, and its caller gets the new token.
    old.vends("A", &days(60));
    assert_eq!(before.await, "B");
    assert_eq!(call!(service, get 61).await, "B");
    service.has_no_request();
}

#[tokio::test]
async fn what_was_asked_before_a_refusal_waits_for_its_end() {
    let mut service = filled().await;
    let mut before = call!(service, get 60);
    let old = service.asked(&mut before).await;
    let mut reporter = call!(service, refused "A", 60);
    let new = service.asked(&mut reporter).await;
    // The old answer comes first.
    old.vends("A", &days(60));
    let mut both = Box::pin(async { (before.await, reporter.await) });
    begin(&mut both).await;
    new.needs_person();
    let needed = "the account needs its person: app".to_owned();
    assert_eq!(both.await, (needed.clone(), needed));
    service.has_no_request();
}

#[tokio::test]
async fn what_was_asked_before_an_end_is_asked_again_after_it() {
    let mut service = filled().await;
    let mut before = call!(service, get 60);
    let old = service.asked(&mut before).await;
    let mut reporter = call!(service, refused "A", 60);
    service.asked(&mut reporter).await.needs_person();
    assert_eq!(reporter.await, "the account needs its person: app");
    // The account has ended meanwhile: its token is handed out to nobody.
    old.vends("A", &days(60));
    let again = service.asked(&mut before).await;
    assert_eq!(again.refused, None);
    again.needs_person();
    assert_eq!(before.await, "the account needs its person: app");
}

#[tokio::test]
async fn a_doubt_outlives_a_failure() {
    let mut service = filled().await;
    let mut reporter = call!(service, refused "A", 1);
    service.asked(&mut reporter).await.fails(503, "unavailable");
    assert!(reporter.await.ends_with("unavailable"));
    let mut caller = call!(service, get 2);
    let asked = service.asked(&mut caller).await;
    assert_eq!(asked.refused, Some(digest("A")));
    asked.vends("B", &days(60));
    assert_eq!(caller.await, "B");
}

#[tokio::test]
async fn a_doubt_is_not_replaced_by_another() {
    let mut service = filled().await;
    let mut reporter = call!(service, refused "A", 1);
    service.asked(&mut reporter).await.fails(503, "unavailable");
    assert!(reporter.await.ends_with("unavailable"));
    // Somebody reports an older one. What is in doubt stays so.
    let mut late = call!(service, refused "older", 2);
    let asked = service.asked(&mut late).await;
    assert_eq!(asked.refused, Some(digest("A")));
    // It was not that old: it is the one that is stored, and Meta is asked about it too.
    asked.vends("older", &days(60));
    let asked = service.asked(&mut late).await;
    assert_eq!(asked.refused, Some(digest("older")));
    asked.vends("older", &days(60));
    assert_eq!(late.await, "older");
    assert_eq!(call!(service, get 3).await, "older");
}

#[tokio::test]
async fn a_request_that_nobody_waits_for_holds_up_nobody() {
    let mut service = Service::start().await;
    let mut first = call!(service, get 0);
    let mut second = call!(service, get 0);
    let asked = service.asked(&mut first).await;
    begin(&mut second).await;
    // The one who began it is gone, and the other goes on.
    drop(first);
    asked.vends("A", &days(60));
    assert_eq!(second.await, "A");
    let mut alone = call!(service, get 60);
    let lost = service.asked(&mut alone).await;
    drop(alone);
    let mut next = call!(service, get 60);
    service.asked(&mut next).await.vends("B", &days(60));
    assert_eq!(next.await, "B");
    lost.vends("A", &days(60));
    assert_eq!(call!(service, get 60).await, "B");
}

#[tokio::test]
async fn a_clock_that_goes_back_costs_one_request() {
    let mut service = filled().await;
    let mut caller = call!(service, get - 1_000_000);
    service.asked(&mut caller).await.vends("A", &days(60));
    assert_eq!(caller.await, "A");
    assert_eq!(call!(service, get - 999_941).await, "A");
    service.has_no_request();
    // It goes on where it was.
    let mut caller = call!(service, get 1);
    service.asked(&mut caller).await.vends("A", &days(60));
    assert_eq!(caller.await, "A");
    for edge in [Timestamp::MIN, Timestamp::MAX] {
        let (tokens, ada) = (service.tokens.clone(), ada());
        let mut caller = Box::pin(async move { text(&tokens.get(&ada, edge).await) });
        service.asked(&mut caller).await.vends("A", &Timestamp::MAX.to_string());
        assert_eq!(caller.await, "A");
    }
}

#[tokio::test]
async fn a_token_is_forgotten_although_it_is_being_fetched() {
    let mut service = filled().await;
    service.tokens.forget(&ada());
    let mut caller = call!(service, get 1);
    let asked = service.asked(&mut caller).await;
    service.tokens.forget(&ada());
    asked.vends("A", &days(60));
    service.asked(&mut caller).await.vends("B", &days(60));
    assert_eq!(caller.await, "B");
    assert_eq!(call!(service, get 2).await, "B");
    service.tokens.forget(&"2".parse().unwrap());
    assert_eq!(service.tokens.lock().by_id.len(), 1);
}

#[tokio::test]
async fn those_who_were_asked_for_longest_ago_make_room() {
    let mut service = Service::start().await;
    service.tokens = service.tokens.capacity(80);
    let get = |n: usize| {
        let tokens = service.tokens.clone();
        async move { text(&tokens.get(&n.to_string().parse().unwrap(), at(0)).await) }
    };
    let mut asked = service.asked;
    let answered = tokio::spawn(async move {
        let mut requests = 0;
        while let Some(one) = asked.recv().await {
            requests += 1;
            one.vends("A", &days(60));
        }
        requests
    });
    for n in 0..1_000 {
        get(n).await;
        // This one is asked for all the time.
        get(0).await;
        assert!(service.tokens.lock().by_id.len() <= 80);
    }
    assert!(service.tokens.lock().by_id.len() >= 70);
    assert!(!answered.is_finished());
    assert!(format!("{:?}", service.tokens).contains("count: 7"), "{:?}", service.tokens);
}
