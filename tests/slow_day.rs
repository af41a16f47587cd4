//! Days on which AWS and Meta are slow: a code is not spent unless what it buys can be kept.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Method, Response, Uri};
use devstack::Stack;
use futures_util::future::join_all;
use threads_auth::{Config, ThreadsAuth};
use threads_sandbox::NewAccount;

use crate::connect::new_session;
use crate::fixture::{Browser, find_grant, http, parameter, pass_on, serve, stack};
use crate::threats::common::{cookies, invoke_at};

/// `REQUEST_SECONDS` of the services here, which are those of a deployment.
const REQUEST: Duration = Duration::from_secs(30);

/// The time after which Lambda ends the function.
const KILLED_AFTER: Duration = Duration::from_secs(29);

/// The calls of AWS that a callback makes.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Called {
    Secrets,
    Database(&'static str),
}

/// A way of being slow.
#[derive(Clone, Copy, Debug)]
struct Slow {
    /// The AWS calls that get no answer at first; none for all.
    aws: Option<Called>,
    /// The attempt that gets one.
    answered: u32,
    /// The time that Meta takes, in hundredths of its timeout.
    meta: u32,
}

/// Stands before a service, and is slow from some moment on.
#[derive(Clone)]
struct Front {
    http: reqwest::Client,
    upstream: String,
    is_meta: bool,
    slow: Arc<Mutex<Option<Slow>>>,
    exchanges: Arc<Mutex<u32>>,
}

impl Front {
    async fn start(upstream: &str, is_meta: bool, slow: &Arc<Mutex<Option<Slow>>>) -> (Self, String) {
        let front = Self {
            http: http().inner().clone(),
            upstream: upstream.to_owned(),
            is_meta,
            slow: Arc::clone(slow),
            exchanges: Arc::default(),
        };
        let url = serve(Router::new().fallback(Self::forward).with_state(front.clone())).await;
        (front, url)
    }

    async fn forward(
        State(front): State<Self>,
        method: Method,
        uri: Uri,
        headers: HeaderMap,
        body: Bytes,
    ) -> Response<Body> {
        let slow = *front.slow.lock().unwrap();
        if front.is_meta {
            let is_exchange = uri.path().ends_with("/oauth/access_token") && method == Method::POST;
            if let Some(slow) = slow {
                tokio::time::sleep(REQUEST / 6 * slow.meta / 100).await;
            }
            // Nobody who gives a call up gets as far as this.
            *front.exchanges.lock().unwrap() += u32::from(is_exchange);
        } else if let Some(slow) = slow {
            let text = |name: &str| headers.get(name).map_or("", |value| value.to_str().unwrap()).to_owned();
            let operation = text("x-amz-target").rsplit('.').next().unwrap().to_owned();
            let called = if operation == "GetSecretValue" { Called::Secrets } else { Called::Database("") };
            let is_slow = match slow.aws {
                None => true,
                Some(Called::Database(name)) => operation == name,
                Some(service) => service == called,
            };
            let attempt: u32 = text("amz-sdk-request")
                .split(';')
                .find_map(|part| part.trim().strip_prefix("attempt=")?.parse().ok())
                .unwrap();
            if is_slow && attempt < slow.answered {
                return std::future::pending().await;
            }
        }
        pass_on(&front.http, &front.upstream, !front.is_meta, method, &uri, headers, body).await
    }
}

/// The end of a callback on a slow day.
#[derive(Debug, PartialEq)]
enum End {
    /// The account has a token, or a consent that a sweep completes.
    Kept,
    /// Nothing was spent, and the same callback connected the account afterwards.
    PutOff,
    /// Nothing was spent, and the person is back in the app, which can begin again.
    Failed,
    /// The code was spent for nothing.
    Lost,
}

#[expect(clippy::print_stdout, reason = "the case that was lost")]
async fn callback(stack: &Stack, n: usize, slow: Slow, warm: bool) -> End {
    let user_id = (17_841_400_000_003_000 + n).to_string();
    stack.sandbox().unwrap().add_account(NewAccount::new(format!("slow{n}"), user_id.clone()));
    let state = Arc::default();
    let mut variables = stack.variables().clone();
    let mut meta = None;
    for (name, is_meta) in [
        ("AWS_ENDPOINT_URL_DYNAMODB", false),
        ("AWS_ENDPOINT_URL_SECRETS_MANAGER", false),
        ("THREADS_GRAPH_URL", true),
    ] {
        let (front, url) = Front::start(&variables[name], is_meta, &state).await;
        variables.insert(name.to_owned(), url);
        meta = is_meta.then_some(front).or(meta);
    }
    variables.insert("REQUEST_SECONDS".to_owned(), REQUEST.as_secs().to_string());
    let service = ThreadsAuth::new(Config::from_vars(&variables, None).unwrap()).unwrap();
    let now = stack.clock().now();
    let session = stack.service().create_session(new_session("user-1"), now).await.unwrap();
    let mut browser = Browser::new();
    let back = browser.consent(stack, &format!("session={}", session.id), &user_id).await;
    if warm {
        service.vault(now).await.unwrap();
    }
    *state.lock().unwrap() = Some(slow);
    let (query, jar) = (back.query().unwrap(), cookies(&browser));
    let reply = tokio::time::timeout(KILLED_AFTER, invoke_at(&service, now, "/callback", query, &jar)).await;
    *state.lock().unwrap() = None;
    let exchanges = *meta.unwrap().exchanges.lock().unwrap();
    if find_grant(stack, &user_id).await.is_some() {
        return End::Kept;
    }
    let reply = match reply {
        Ok(reply) if exchanges == 0 => reply,
        killed_or_spent => {
            println!("{slow:?}, warm {warm}: {exchanges} exchanges, {killed_or_spent:?}");
            return End::Lost;
        }
    };
    if !reply.is_page("unavailable") {
        assert_eq!(parameter(&reply.location(), "status"), "failed");
        return End::Failed;
    }
    assert_eq!(reply.status, 503);
    assert!(reply.headers.contains_key("retry-after") && !reply.headers.contains_key("set-cookie"));
    assert!(reply.body.contains("href=\"\""), "{}", reply.body);
    let code = back.query_pairs().find(|(name, _)| name == "code").unwrap().1;
    assert!(!reply.body.contains(&*code));
    let shown = stack.service().find_session(&session.id).await.unwrap().unwrap();
    assert_eq!(shown.reason(), None, "the attempt goes on");
    let again = invoke_at(stack.service(), now, "/callback", query, &jar).await;
    assert_eq!(again.status, 303, "{again:?}");
    assert!(find_grant(stack, &user_id).await.is_some());
    End::PutOff
}

/// Threat failed-long-lived-exchange: however slow AWS and Meta are, no code is spent for nothing.
#[tokio::test]
async fn a_code_is_not_spent_for_nothing_on_a_slow_day() {
    let stack = stack().await;
    let (secrets, reads, commit) =
        (Called::Secrets, Called::Database("GetItem"), Called::Database("TransactWriteItems"));
    let mut cases = Vec::new();
    for meta in [0, 90] {
        let slow = |aws, answered| Slow { aws, answered, meta };
        cases.extend([
            (slow(None, 1), true),
            (slow(None, 2), true),
            (slow(None, 3), true),
            (slow(None, 3), false),
            (slow(Some(secrets), 3), false),
            (slow(Some(reads), 3), true),
            (slow(Some(commit), 3), true),
        ]);
    }
    // Meta does not answer in time at all.
    cases.push((Slow { aws: None, answered: 1, meta: 150 }, true));
    let ends = cases.iter().enumerate().map(|(n, (slow, warm))| callback(&stack, n, *slow, *warm));
    let ends = join_all(ends).await;
    let count = |end: &End| ends.iter().filter(|found| *found == end).count();
    let [kept, put_off, failed, lost] =
        [End::Kept, End::PutOff, End::Failed, End::Lost].each_ref().map(count);
    println!(
        "slow days: {} callbacks, {kept} kept, {put_off} put off, {failed} failed with the code unspent, \
         {lost} codes spent for nothing or killed",
        ends.len()
    );
    let spent: Vec<_> = cases.iter().zip(&ends).filter(|(_, end)| **end == End::Lost).collect();
    assert!(spent.is_empty(), "{spent:?}");
    assert!(kept > 0 && put_off > 0);
}
