//! Each call that the service makes to others, and each fault of it, one at a time: no token is
//! lost, no response is false, no secret is shown, and everything recovers once the fault is gone.
//!
//! `cargo test` takes a share of all pairs. With `FAULTS=all` it takes all of them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::{self, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use devstack::{Stack, StackOptions};
use events::EventPublisher;
use futures_util::stream::{self, StreamExt};
use http::HeaderMap;
use http::header::{LOCATION, SET_COOKIE};
use jiff::Timestamp;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use threads_auth::{Config, RefreshOutcome, ThreadsAuth};
use threads_auth_model::{Grant, Status};
use threads_auth_web::{HttpRequest, telemetry};
use threads_sandbox::{FaultAction, OldToken, SandboxCall};
use tracing::Level;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use webhook::{Delivery, Message, Verdict, WAITS};

use crate::backend::{new, refused};
use crate::fixture::{
    DAY, Reply, START, account, connect_people, fail, find_grant, invoke_function, is_usable, keep_cookies,
    options, parameter, record, rows, secret_text, stack, token,
};
use crate::proxy::{Fault, Peer, Proxy};
use crate::server_errors::request;
use crate::webhook::Receiver;

/// `cargo test` takes so many pairs of each group of tasks.
const TAKEN: usize = 40;

/// The number of stacks at once: most of them wait.
const AT_ONCE: usize = 12;

/// `REQUEST_SECONDS` with which a time-out takes a second or two.
const IMPATIENT: &str = "9";

/// The work that a fault strikes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Task {
    Connect,
    ConnectInSession,
    Complete,
    Vend,
    /// A vend of a token that Meta refuses, as the backend reports.
    Doubt,
    Sweep,
    /// A sweep that completes a consent.
    Finish,
    Disconnect,
    Deauthorize,
    Delete,
    Announce,
    Deliver,
}

impl Task {
    /// Returns the behaviours of Meta that make a difference.
    fn behaviours(self) -> &'static [OldToken] {
        match self {
            Self::Vend | Self::Doubt | Self::Sweep => {
                &[OldToken::NewTokenOldDead, OldToken::NewTokenOldAlive, OldToken::SameTokenExtended]
            }
            _ => &[OldToken::NewTokenOldAlive],
        }
    }
}

/// A fault of one call.
#[derive(Clone, Debug)]
struct Case {
    task: Task,
    old_token: OldToken,
    operation: String,
    /// The number of calls of this operation before it.
    after: usize,
    fault: Fault,
    /// True if every call from then on fails.
    is_lasting: bool,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { task, old_token, operation, after, fault, is_lasting } = self;
        let for_how_long = if *is_lasting { "from then on" } else { "once" };
        write!(f, "{task:?} under {old_token:?}, {operation} after {after}, {fault:?} {for_how_long}")
    }
}

impl Case {
    /// Returns true if AWS's client repeats the call by itself, so that nobody notices.
    fn is_repeated(&self) -> bool {
        let is_aws = !self.operation.starts_with('/');
        let is_transient = match self.fault {
            Fault::ResetBefore
            | Fault::ResetAfter
            | Fault::AnswerLost
            | Fault::Truncated
            | Fault::Garbage
            | Fault::Twice
            | Fault::Echo
            | Fault::Page(502)
            | Fault::Empty(_) => true,
            Fault::Aws(status, code) => {
                status >= 500 || code == "ThrottlingException" || code.contains("Throughput")
            }
            _ => false,
        };
        is_aws && !self.is_lasting && is_transient
    }

    /// Returns true if no code of ours could have kept the token: Meta has replaced it, and its
    /// answer never came or could not be stored for as long as there was time.
    fn is_beyond_us(&self) -> bool {
        let is_unanswered = self.operation == "/refresh_access_token" && self.fault.is_done();
        let is_unstored = self.operation == "UpdateItem" && (self.is_lasting || self.fault.is_silent());
        self.old_token == OldToken::NewTokenOldDead && (is_unanswered || is_unstored)
    }
}

/// The course of one case.
struct Seen {
    /// The operations of all calls while the fault was armed.
    calls: Vec<String>,
    has_struck: bool,
    /// The status of the response to the caller, if there is one.
    told: Option<StatusCode>,
    is_success: bool,
    /// The faults of the replies.
    wrong: Vec<String>,
    /// The state of the account, once all is over.
    end: End,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum End {
    AsItShouldBe,
    /// Meta reported the end, and the service believed it.
    Believed,
    /// The token is lost, and it could not be kept.
    BeyondUs,
    /// It is not as it should be.
    Lost,
}

/// One stack with a fault before it.
struct Scene<'a> {
    case: &'a Case,
    log: &'a Log,
    stack: Stack,
    ada: String,
    proxy: Proxy,
    /// The configuration of what calls through the proxy.
    config: Config,
    receiver: Option<Receiver>,
    /// A person's cookies.
    jar: BTreeMap<String, String>,
    /// The path with which Meta sends the person back.
    back: Option<String>,
    /// The session of a task that has one, and its completion code once it is known.
    session: Option<(String, Option<String>)>,
    /// A message of Meta's, a batch of the stream, or an event.
    message: String,
}

impl<'a> Scene<'a> {
    async fn set(case: &'a Case, log: &'a Log) -> Self {
        let receiver = (case.task == Task::Deliver).then(Receiver::up);
        let webhook = receiver.as_ref().map(|receiver| receiver.url.clone());
        let stack = Stack::start(StackOptions { webhook, ..options(START.parse().unwrap(), &[]) });
        let stack = stack.await.unwrap();
        let sandbox = stack.sandbox().unwrap();
        sandbox.set_old_token_behaviour(case.old_token);
        let ada = account(&stack, "ada");
        let is_impatient = case.is_lasting || case.fault.is_silent();
        let seconds = if is_impatient { IMPATIENT } else { "600" };
        let (proxy, config) = Proxy::before(&stack, &[("REQUEST_SECONDS", seconds)]).await;
        log.plant(&stack).await;
        let mut scene = Self {
            case,
            log,
            stack,
            ada,
            proxy,
            config,
            receiver,
            jar: BTreeMap::new(),
            back: None,
            session: None,
            message: String::new(),
        };
        scene.prepare().await;
        scene
    }

    fn now(&self) -> Timestamp {
        self.stack.clock().now()
    }

    /// Brings the account to where the task begins.
    async fn prepare(&mut self) {
        let (service, sandbox) = (Arc::clone(self.stack.service()), self.stack.sandbox().unwrap().clone());
        match self.case.task {
            Task::Connect => return,
            Task::ConnectInSession => {
                self.session = Some((self.new_session(&service).await.unwrap(), None));
                return;
            }
            Task::Complete => {
                self.session = Some((self.new_session(&service).await.unwrap(), None));
                assert!(self.connect(&service).await.1);
                return;
            }
            Task::Finish => {
                fail(&self.stack, SandboxCall::ExchangeLongLived, 2, FaultAction::Html);
                assert!(self.connect(&service).await.1);
                sandbox.clear_faults();
                self.stack.clock().advance(Duration::from_mins(6));
                return;
            }
            _ => assert!(self.connect(&service).await.1),
        }
        let days = match self.case.task {
            Task::Vend | Task::Sweep => 41,
            _ => 1,
        };
        self.stack.clock().advance(DAY * days);
        match self.case.task {
            Task::Deauthorize | Task::Delete => {
                self.message = format!("signed_request={}", sandbox.signed_request(&self.ada));
            }
            Task::Announce => {
                let record = record(&self.stack, &self.ada, "1", self.now().as_second()).await;
                self.message = json!({"Records": [record]}).to_string();
            }
            Task::Deliver => {
                self.stack.announce().await.unwrap();
                self.message = self.stack.events()[0].to_string();
            }
            _ => {}
        }
    }

    /// Does the task. Returns the answer, and true if it is a success.
    async fn act(&mut self, service: &ThreadsAuth) -> (Option<Reply>, bool) {
        let user = format!("/users/{}", self.ada);
        let ok = |reply: Reply| {
            let is_success = reply.status.is_success();
            (Some(reply), is_success)
        };
        match self.case.task {
            Task::Connect | Task::ConnectInSession => self.connect(service).await,
            Task::Complete => ok(self.complete(service).await),
            Task::Vend => ok(self.ask(service, Method::GET, &format!("{user}/token"), "").await),
            Task::Doubt => {
                let query = refused(&token(&self.stack, &self.ada).await);
                ok(self.ask(service, Method::GET, &format!("{user}/token{query}"), "").await)
            }
            Task::Sweep | Task::Finish => {
                let patience = service.config().call_timeouts().request * 8;
                let swept = service.sweep(self.now(), patience).await;
                let wanted = [RefreshOutcome::Refreshed, RefreshOutcome::Completed];
                (None, swept.is_ok_and(|report| wanted.iter().any(|outcome| report.count(*outcome) == 1)))
            }
            Task::Disconnect => ok(self.ask(service, Method::DELETE, &user, "").await),
            Task::Deauthorize => ok(self.ask(service, Method::POST, "/deauthorize", &self.message).await),
            Task::Delete => ok(self.ask(service, Method::POST, "/data-deletion", &self.message).await),
            Task::Announce | Task::Deliver => (None, self.pass_on(service.config()).await),
        }
    }

    /// Puts the event on the bus, or posts it.
    async fn pass_on(&self, config: &Config) -> bool {
        if self.case.task == Task::Announce {
            let batch: Value = serde_json::from_str(&self.message).unwrap();
            let handled = EventPublisher::new(config).unwrap().handle(&batch, self.now()).await;
            handled.batch_item_failures.is_empty()
        } else {
            let message = Message { body: self.message.clone(), sent_at: self.now(), attempt: 1 };
            let delivery = Delivery::new(config, WAITS).unwrap();
            match delivery.attempt(&message, self.now(), self.now()).await {
                Verdict::Delivered => true,
                Verdict::Later(_) => false,
                Verdict::Dead(death) => panic!("{}: {death:?}", self.case),
            }
        }
    }

    /// Sends a request to the function of its path.
    async fn ask(&self, service: &ThreadsAuth, method: Method, url: &str, body: &str) -> Reply {
        let (path, raw_query) = url.split_once('?').unwrap_or((url, ""));
        let cookies = self.jar.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let request =
            HttpRequest { raw_query: raw_query.to_owned(), cookies, ..request(&method, path, body) };
        let reply = invoke_function(service, self.now(), &request).await;
        if !path.ends_with("/token") && !path.ends_with("/complete") {
            self.log.look("a reply", &format!("{:?} {}", shown(&reply), reply.body));
        }
        reply
    }

    async fn new_session(&self, service: &ThreadsAuth) -> Option<String> {
        let reply = self.ask(service, Method::POST, "/sessions", &new("user-1").to_string()).await;
        serde_json::from_str::<Value>(&reply.body).unwrap()["id"].as_str().map(str::to_owned)
    }

    async fn complete(&self, service: &ThreadsAuth) -> Reply {
        let (id, completion) = self.session.as_ref().unwrap();
        let body = json!({"completion": completion, "reference": "user-1"}).to_string();
        self.ask(service, Method::POST, &format!("/sessions/{id}/complete"), &body).await
    }

    /// A login from its start, or from Meta's answer on if the person has come so far.
    async fn connect(&mut self, service: &ThreadsAuth) -> (Option<Reply>, bool) {
        if self.back.is_none() {
            let query = self.session.as_ref().map(|(id, _)| format!("?session={id}")).unwrap_or_default();
            let started = self.ask(service, Method::GET, &format!("/authorize{query}"), "").await;
            keep_cookies(&mut self.jar, &started.headers);
            if started.status != StatusCode::FOUND {
                return (Some(started), false);
            }
            let to = started.location();
            let state = parameter(&to, "state");
            let sandbox = self.stack.sandbox().unwrap();
            let code = sandbox.issue_code(&self.ada, &parameter(&to, "redirect_uri"), &[]);
            self.log.hide("a code", &code);
            self.log.hide("a state", &state);
            self.back = Some(format!("/callback?code={code}&state={state}"));
        }
        let back = self.back.clone().unwrap();
        let reply = self.ask(service, Method::GET, &back, "").await;
        keep_cookies(&mut self.jar, &reply.headers);
        if reply.status != StatusCode::SEE_OTHER {
            return (Some(reply), false);
        }
        let location = reply.location();
        let completion = location.query_pairs().find(|(name, _)| name == "completion");
        let completion = completion.map(|(_, value)| value.into_owned());
        let is_success = match &mut self.session {
            Some((_, known)) => {
                *known = completion;
                known.is_some()
            }
            None => ["/connected", "/finishing"].contains(&location.path()),
        };
        (Some(reply), is_success)
    }

    /// Lets all callers retry while the clock advances, until everything should have recovered.
    async fn recover(&mut self, is_success: bool) {
        let service = Arc::clone(self.stack.service());
        match self.case.task {
            Task::Connect | Task::ConnectInSession => {
                let mut is_success = is_success;
                // A reload, and then another try from the start.
                for _ in 0..3 {
                    if is_success {
                        break;
                    }
                    is_success = self.connect(&service).await.1;
                    if !is_success {
                        self.back = None;
                    }
                }
                if is_success && self.session.is_some() {
                    let completed = self.complete(&service).await;
                    assert!(completed.status.is_success(), "{}: {completed:?}", self.case);
                }
                self.go_on(&[6, 25]).await;
            }
            Task::Finish => self.go_on(&[6, 25]).await,
            Task::Vend | Task::Doubt | Task::Sweep => {
                self.go_on(&[1_440, 1_440]).await;
            }
            Task::Complete | Task::Disconnect | Task::Deauthorize | Task::Delete => {
                for _ in 0..3 {
                    self.stack.clock().advance(Duration::from_secs(30));
                    if self.act(&service).await.1 {
                        break;
                    }
                }
                self.go_on(&[60]).await;
            }
            Task::Announce | Task::Deliver => {
                if !is_success {
                    let config = service.config().clone();
                    assert!(self.pass_on(&config).await, "{}", self.case);
                }
            }
        }
    }

    /// Sweeps after so many minutes each.
    async fn go_on(&self, minutes: &[u32]) {
        for minutes in minutes {
            self.stack.clock().advance(Duration::from_mins(1) * *minutes);
            self.stack.sweep().await.unwrap();
        }
    }

    /// Returns the problem of the final state, if there is one.
    async fn problem(&mut self) -> Option<String> {
        let grant = match self.case.task {
            Task::Announce | Task::Deliver => None,
            _ => find_grant(&self.stack, &self.ada).await,
        };
        match self.case.task {
            Task::Connect | Task::Vend | Task::Doubt | Task::Sweep | Task::Finish => {
                self.unusable(grant).await
            }
            Task::ConnectInSession | Task::Complete => {
                let owner = grant.as_ref().and_then(|grant| grant.claim.owner());
                if owner.is_none_or(|owner| owner.reference != "user-1") {
                    return Some("the account is not its user's".to_owned());
                }
                self.unusable(grant).await
            }
            Task::Disconnect | Task::Deauthorize => {
                let grant = grant.unwrap();
                let is_ended = grant.status() == Status::Revoked && grant.live().is_none();
                (!is_ended).then(|| format!("it goes on: {:?}", grant.status()))
            }
            Task::Delete => {
                let traces = format!("{:?}", rows(&self.stack).await).matches(&self.ada).count();
                (traces > 0 || grant.is_some()).then(|| format!("{traces} traces are left"))
            }
            Task::Announce => {
                let ids: Vec<_> =
                    self.stack.events().iter().map(|event| event["detail"]["id"].to_string()).collect();
                let different: BTreeSet<_> = ids.iter().collect();
                (different.len() != 1).then(|| format!("{} different events", different.len()))
            }
            Task::Deliver => {
                let posts = self.receiver.as_ref().unwrap().take();
                let ids: BTreeSet<_> =
                    posts.iter().map(|post| post.header("webhook-id").to_owned()).collect();
                (ids.len() != 1).then(|| format!("{} different events", ids.len()))
            }
        }
    }

    async fn unusable(&self, grant: Option<Grant>) -> Option<String> {
        let Some(grant) = grant else { return Some("there is no account".to_owned()) };
        if grant.status() != Status::Active {
            return Some(format!("it is {:?}, because {:?}", grant.status(), grant.cause()));
        }
        if !is_usable(&self.stack, &token(&self.stack, &self.ada).await).await {
            return Some("its token does not work".to_owned());
        }
        let vended = format!("/users/{}/token", self.ada);
        let vended = self.ask(self.stack.service(), Method::GET, &vended, "").await;
        (vended.status != StatusCode::OK).then(|| format!("it is not vended: {vended:?}"))
    }

    /// Returns the faults of an answer.
    async fn wrong(&self, reply: Option<&Reply>, is_success: bool) -> Vec<String> {
        let mut wrong = Vec::new();
        let Case { task, fault, .. } = self.case;
        if let Some(reply) = reply {
            let status = reply.status.as_u16();
            let is_apps = status == 500 && reply.is_page("misconfigured") && fault.is_about_the_app();
            if status >= 500 && status != 503 && !is_apps {
                wrong.push(format!("{status} is told: {}", title(&reply.body)));
            }
            if *task == Task::Vend && is_success {
                let body: Value = serde_json::from_str(&reply.body).unwrap();
                let vended = body["access_token"].as_str().unwrap();
                let is_excused = fault.is_metas_word() || self.case.is_beyond_us();
                if !is_excused && !is_usable(&self.stack, vended).await {
                    wrong.push("a dead token is handed out".to_owned());
                }
            }
        }
        if !is_success && self.case.is_repeated() {
            wrong.push("a failure is told that was none".to_owned());
        }
        wrong
    }
}

/// Plays one case. Without a fault its operation is empty.
async fn play(case: &Case, log: &Log) -> Seen {
    // In boxes, because the compiler lays such deep futures out no further.
    let mut scene = Box::pin(Scene::set(case, log)).await;
    let before = scene.proxy.calls().len();
    if case.is_lasting {
        scene.proxy.fail_on(case.fault, &case.operation, case.after);
    } else {
        scene.proxy.fail(case.fault, &case.operation, case.after);
    }
    let service = ThreadsAuth::new(scene.config.clone()).unwrap();
    let (reply, is_success) = Box::pin(scene.act(&service)).await;
    let (has_struck, calls) = (scene.proxy.has_failed(), scene.proxy.calls().split_off(before));
    scene.proxy.clear();
    let mut wrong = if has_struck { scene.wrong(reply.as_ref(), is_success).await } else { Vec::new() };
    Box::pin(scene.recover(is_success)).await;
    let problem = Box::pin(scene.problem()).await;
    let end = match problem {
        None => End::AsItShouldBe,
        Some(_) if case.fault.is_metas_word() => End::Believed,
        Some(_) if case.is_beyond_us() => End::BeyondUs,
        Some(problem) => {
            wrong.push(problem);
            End::Lost
        }
    };
    log.forget();
    Seen { calls, has_struck, told: reply.map(|reply| reply.status), is_success, wrong, end }
}

/// Returns the headers that may hold no secret.
fn shown(reply: &Reply) -> HeaderMap {
    let mut headers = reply.headers.clone();
    headers.remove(SET_COOKIE);
    headers.remove(LOCATION);
    headers
}

fn title(page: &str) -> &str {
    let title = page.split_once("<code>").and_then(|(_, rest)| rest.split_once("</code>"));
    title.map_or(page, |(title, _)| title)
}

/// The log of a test, at TRACE, in which secrets are looked for as it is written.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Lines>>);

#[derive(Default)]
struct Lines {
    hidden: BTreeMap<String, &'static str>,
    found: BTreeSet<String>,
    bytes: usize,
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.look("the log", &String::from_utf8_lossy(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Log {
    /// Looks for a secret from now on.
    fn hide(&self, what: &'static str, secret: &str) {
        self.0.lock().unwrap().hidden.insert(secret.to_owned(), what);
    }

    /// Looks for what is secret in every stack, and in this one.
    async fn plant(&self, stack: &Stack) {
        // Every token of the sandbox's begins so.
        self.hide("a token", "THQVJ");
        self.hide("an app's token", "TH|");
        self.hide("the app secret", "sandbox-app-secret");
        let keyring = secret_text(stack, &stack.urls().keyring_secret_id).await;
        let keyring: Value = serde_json::from_str(&keyring).unwrap();
        for key in keyring["keys"].as_object().unwrap().values().chain([&keyring["tombstone"]]) {
            self.hide("a key", key.as_str().unwrap());
        }
    }

    /// Keeps the number of secrets small: those of past cases do not come again.
    fn forget(&self) {
        let mut lines = self.0.lock().unwrap();
        if lines.hidden.len() > 200 {
            lines.hidden.retain(|secret, _| secret.len() < 20);
        }
    }

    fn look(&self, place: &str, text: &str) {
        let mut lines = self.0.lock().unwrap();
        lines.bytes += text.len();
        let found = lines.hidden.iter().filter(|(secret, _)| text.contains(secret.as_str()));
        let found: Vec<_> = found.map(|(_, what)| format!("{what} in {place}: {text}")).collect();
        lines.found.extend(found);
    }
}

#[expect(clippy::disallowed_methods, reason = "the tests' only settings")]
fn takes_all() -> bool {
    std::env::var("FAULTS").is_ok_and(|share| share == "all")
}

/// Returns every pair of a call that the task makes and a fault of that call.
async fn cases(task: Task, log: &Log) -> Vec<Case> {
    let [old_token, ..] = *task.behaviours() else { return Vec::new() };
    let well =
        Case { task, old_token, operation: String::new(), after: 0, fault: Fault::Twice, is_lasting: false };
    let seen = play(&well, log).await;
    assert!(seen.is_success && seen.wrong.is_empty(), "{well}: {:?} {:?}", seen.told, seen.wrong);
    let (mut cases, mut counts) = (Vec::new(), BTreeMap::<&str, usize>::new());
    for operation in &seen.calls {
        let before = counts.entry(operation).or_default();
        let after = *before;
        *before += 1;
        // A sweep reads sixteen partitions, each in the same way, twice.
        if operation == "Query" && ![0, 1, 17].contains(&after) {
            continue;
        }
        let case = Case { operation: operation.clone(), after, ..well.clone() };
        for &fault in Fault::of(Peer::of(operation)) {
            if matches!(fault, Fault::Canceled(_)) && operation != "TransactWriteItems" {
                continue;
            }
            for &old_token in task.behaviours() {
                cases.push(Case { old_token, fault, ..case.clone() });
                if is_lasting(fault) {
                    cases.push(Case { old_token, fault, is_lasting: true, ..case.clone() });
                }
            }
        }
    }
    cases
}

/// Returns true for one fault of each kind, which also strikes for a longer time.
fn is_lasting(fault: Fault) -> bool {
    matches!(
        fault,
        Fault::DENIED
            | Fault::Held
            | Fault::Page(502)
            | Fault::Empty(503)
            | Fault::AnswerLost
            | Fault::Aws(400, "ThrottlingException" | "ValidationException" | "ResourceNotFoundException")
            | Fault::Graph(429 | 500, ..)
    )
}

/// Plays the cases of some tasks, and asserts that nothing is lost, wrong or shown.
#[expect(clippy::print_stdout, reason = "the figures of a test")]
async fn survive(tasks: &[Task]) {
    let log = Log::default();
    let writer = log.clone();
    let lines = tracing_subscriber::fmt::layer().json().with_writer(move || writer.clone());
    let _lines =
        tracing_subscriber::registry().with(lines).with(telemetry::filter(Level::TRACE)).set_default();
    let mut all = Vec::new();
    for &task in tasks {
        all.extend(cases(task, &log).await);
    }
    let total = all.len();
    if !takes_all() {
        let step = total.div_ceil(TAKEN);
        all = all.into_iter().step_by(step).collect();
    }
    let taken = all.len();
    let log = &log;
    let played = stream::iter(&all).map(|case| async move { (case, play(case, log).await) });
    let (mut struck, mut unnoticed, mut wrong) = (0, 0, Vec::new());
    let (mut told, mut ends): (BTreeMap<_, usize>, BTreeMap<_, usize>) = Default::default();
    let mut played = std::pin::pin!(played.buffer_unordered(AT_ONCE));
    while let Some((case, seen)) = played.next().await {
        struck += usize::from(seen.has_struck);
        unnoticed += usize::from(seen.is_success);
        if let Some(status) = seen.told {
            *told.entry(status.as_u16()).or_default() += 1;
        }
        *ends.entry(seen.end).or_default() += 1;
        wrong.extend(seen.wrong.iter().map(|wrong| format!("{case}: {wrong}")));
    }
    let lines = log.0.lock().unwrap();
    let of = |end| ends.get(&end).copied().unwrap_or(0);
    println!(
        "each fault of {tasks:?}: {taken} of {total} pairs of a call and a fault, {struck} struck, {unnoticed} unnoticed, \
         told {told:?}; {} as it should be, {} ended by Meta's word, {} beyond us, {} lost; {} wrong; {} secrets in {} bytes of logs",
        of(End::AsItShouldBe),
        of(End::Believed),
        of(End::BeyondUs),
        of(End::Lost),
        wrong.len(),
        lines.found.len(),
        lines.bytes,
    );
    assert_eq!((wrong, &lines.found), (Vec::new(), &BTreeSet::new()));
    // A few calls are made in some runs only.
    assert!(struck * 4 >= taken * 3, "{struck} of {taken} faults have struck");
}

#[tokio::test]
async fn a_connect_survives_each_fault() {
    survive(&[Task::Connect, Task::ConnectInSession, Task::Complete]).await;
}

#[tokio::test]
async fn a_vend_survives_each_fault() {
    survive(&[Task::Vend, Task::Doubt]).await;
}

#[tokio::test]
async fn a_sweep_survives_each_fault() {
    survive(&[Task::Sweep, Task::Finish]).await;
}

#[tokio::test]
async fn an_end_survives_each_fault() {
    survive(&[Task::Disconnect, Task::Deauthorize, Task::Delete]).await;
}

#[tokio::test]
async fn an_event_survives_each_fault() {
    survive(&[Task::Announce, Task::Deliver]).await;
}

/// One call in twenty fails for ten days in which all tokens are due, and then none.
#[tokio::test]
async fn random_faults_lose_no_token() {
    let stack = stack().await;
    let people = connect_people(&stack, 8).await;
    let (proxy, config) = Proxy::before(&stack, &[("REQUEST_SECONDS", IMPATIENT)]).await;
    let service = ThreadsAuth::new(config).unwrap();
    let budget = service.config().call_timeouts().request * 8;
    stack.clock().advance(38 * DAY);
    proxy.fail_at_random(20, 20);
    let mut failed = 0;
    for _ in 0..10 {
        stack.clock().advance(DAY);
        failed += usize::from(service.sweep(stack.clock().now(), budget).await.is_err());
    }
    let struck = proxy.struck();
    proxy.clear();
    stack.clock().advance(2 * DAY);
    stack.sweep().await.unwrap();
    let mut lost = 0;
    for user_id in &people {
        let grant = find_grant(&stack, user_id).await.unwrap();
        let is_kept =
            grant.status() == Status::Active && is_usable(&stack, &token(&stack, user_id).await).await;
        lost += usize::from(!is_kept);
    }
    println!(
        "random faults: {struck} of {} calls, {failed} of 10 sweeps failed, {lost} of 8 lost",
        proxy.calls().len()
    );
    assert!(struck > 10);
    assert_eq!(lost, 0);
}
