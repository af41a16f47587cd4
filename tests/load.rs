//! Load: 64 people log in at once, and their backend asks for 200 tokens a second. Errors are
//! counted, and never seconds.
//!
//! `cargo test` makes a second of it, with the stack in this process. With `LOAD=PROGRAM` a minute
//! is made, and the memory of `PROGRAM dev` is watched.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Stdio;

use devstack::{Clock, Stack, Urls};
use futures_util::stream::{self, StreamExt};
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use url::Url;

use crate::fixture::{Browser, stack};
use crate::iam;

const PEOPLE: usize = 64;
const VENDS_A_SECOND: usize = 200;
const SECONDS: usize = 60;

/// By so much, in kilobytes, the memory may grow from the first tenth of the load to its end.
const GROWTH: u64 = 16 * 1024;

/// The service under load.
struct Target {
    urls: Urls,
    run: Run,
    /// Cloned for every request, so that all share the connections.
    browser: Browser,
}

/// The place of the service.
enum Run {
    Here { _stack: Box<Stack> },
    Process(Child),
}

impl Target {
    #[expect(clippy::disallowed_methods, reason = "the tests' only settings")]
    async fn start() -> Self {
        let browser = Browser::new();
        let Ok(program) = std::env::var("LOAD") else {
            let stack = Box::new(stack().await);
            return Self { urls: stack.urls().clone(), run: Run::Here { _stack: stack }, browser };
        };
        let mut child = Command::new(program)
            .args(["dev", "--ephemeral", "--port", "0", "--json"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let told: Value = serde_json::from_str(&lines.next_line().await.unwrap().unwrap()).unwrap();
        let text = |name: &str| told[name].as_str().unwrap().to_owned();
        let urls = Urls {
            service_url: text("service_url"),
            threads_url: text("threads_url"),
            dynamodb_url: text("dynamodb_url"),
            secrets_manager_url: text("secrets_manager_url"),
            eventbridge_url: text("eventbridge_url"),
            region: text("region"),
            access_key_id: text("access_key_id"),
            secret_access_key: text("secret_access_key"),
            grants_table: text("grants_table"),
            short_lived_table: text("short_lived_table"),
            app_secret_id: text("app_secret_id"),
            keyring_secret_id: text("keyring_secret_id"),
            event_bus: text("event_bus"),
            webhook_secret_id: None,
        };
        Self { urls, run: Run::Process(child), browser }
    }

    fn vends(&self) -> usize {
        match self.run {
            Run::Here { .. } => VENDS_A_SECOND,
            Run::Process(_) => VENDS_A_SECOND * SECONDS,
        }
    }

    /// Returns the memory of the process, in kilobytes, if it is not this one.
    fn memory(&self) -> Option<u64> {
        let Run::Process(child) = &self.run else { return None };
        let status = std::fs::read_to_string(format!("/proc/{}/status", child.id()?)).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().ok()
    }

    /// Lets a person whom the sandbox knows log in. Returns the status of the last answer.
    async fn login(&self, user_id: &str) -> StatusCode {
        let mut browser = self.browser.clone();
        let started = browser.get(&format!("{}/authorize", self.urls.service_url)).await;
        if started.status != StatusCode::FOUND {
            return started.status;
        }
        let mut at_meta = started.location();
        at_meta.query_pairs_mut().append_pair("auto_approve", user_id);
        // Meta is another site: our cookies do not go there.
        let mut back = self.browser.clone().get(at_meta.as_str()).await.location();
        back.set_fragment(None);
        browser.get(back.as_str()).await.status
    }

    /// Asks for a person's token. Returns the status, and the token with the account that is named
    /// beside it.
    async fn vend(&self, user_id: &str) -> (StatusCode, Option<(String, String)>) {
        let url = format!("{}/users/{user_id}/token", self.urls.service_url);
        let now = Clock::system().now();
        let headers = iam::signed(&self.urls, "execute-api", &Method::GET, &url, &[], "", now);
        let reply = self.browser.send(Method::GET, &url, headers, String::new()).await;
        let body: Value = serde_json::from_str(&reply.body).unwrap_or_default();
        let text = |name: &str| body[name].as_str().map(str::to_owned);
        (reply.status, text("user_id").zip(text("access_token")))
    }

    /// Returns the account to which a token belongs, by Meta's word.
    async fn owner(&self, token: &str) -> Option<String> {
        let url = format!("{}/v1.0/me", self.urls.threads_url);
        let url = Url::parse_with_params(&url, [("access_token", token)]).unwrap();
        let body: Value = serde_json::from_str(&self.browser.clone().get(url.as_str()).await.body).unwrap();
        body["id"].as_str().map(str::to_owned)
    }
}

#[tokio::test]
async fn many_logins_and_vends_at_once_lose_nothing() {
    let target = &Target::start().await;
    let people: Vec<String> = (0..PEOPLE).map(|n| (17_841_400_000_000_000 + n).to_string()).collect();
    for (n, user_id) in people.iter().enumerate() {
        let account = json!({"username": format!("person{n}"), "user_id": user_id}).to_string();
        let json = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("application/json"))]);
        let url = format!("{}/control/accounts", target.urls.threads_url);
        let added = target.browser.send(Method::POST, &url, json, account).await;
        assert!(added.status.is_success(), "{added:?}");
    }
    let logins = futures_util::future::join_all(people.iter().map(|user_id| target.login(user_id))).await;
    let mut statuses = BTreeMap::<u16, usize>::new();
    for status in &logins {
        *statuses.entry(status.as_u16()).or_default() += 1;
    }
    let vends = target.vends();
    let asked = people.iter().cycle().take(vends);
    let mut vended =
        stream::iter(asked).map(|id| async move { (id, target.vend(id).await) }).buffer_unordered(PEOPLE);
    let (mut tokens, mut wrong, mut done, mut warm) = (BTreeSet::new(), 0, 0, None);
    while let Some((asked, (status, token))) = vended.next().await {
        *statuses.entry(status.as_u16()).or_default() += 1;
        match token {
            Some((user_id, token)) if user_id == *asked => _ = tokens.insert((user_id, token)),
            _ => wrong += 1,
        }
        done += 1;
        if done == vends / 10 {
            warm = target.memory();
        }
    }
    let memory = target.memory();
    let mut kept = BTreeSet::new();
    for (user_id, token) in &tokens {
        if target.owner(token).await.as_ref() == Some(user_id) {
            kept.insert(user_id);
        } else {
            wrong += 1;
        }
    }
    let lost = PEOPLE - kept.len();
    println!(
        "load: {PEOPLE} logins at once and {vends} vends by {PEOPLE} callers, answers {statuses:?}: {lost} lost, {wrong} wrong, \
         {warm:?} kB of memory after a tenth and {memory:?} at the end"
    );
    assert_eq!(statuses, BTreeMap::from([(200, vends), (303, PEOPLE)]));
    assert_eq!((lost, wrong), (0, 0));
    assert!(memory <= warm.map(|warm| warm + GROWTH), "{warm:?} {memory:?}");
}
