//! SIGKILL: the built functions are killed before and after each of their calls, and what they
//! leave behind is continued by others.
//!
//! A round makes a scene, kills the process in one window, lets a new process or the next sweeps go
//! on, and looks at the fate of the account. Each window of each function has a round, under each
//! of Meta's three behaviours where the function refreshes a token.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use devstack::Stack;
use futures_util::{StreamExt, stream};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use threads_auth_model::{Grant, Status};
use threads_sandbox::{FaultAction, OldToken, SandboxCall};
use url::Url;

use crate::backend::{completion, finished, new};
use crate::bootstraps::{
    CALLBACK, DEAUTHORIZE, DELETION, Function, HANG, Outcome, REFRESH, SESSIONS, TOKEN, event, now, scheduled,
};
use crate::dice::Dice;
use crate::fixture::{
    Browser, DAY, account, fail, find_grant, grant, is_usable, options, parameter, rows, token,
};
use crate::holding::{Holding, Place, Side, Window, windows};
use crate::iam;

/// The time between two sweeps of a deployment.
const SWEEPS: Duration = Duration::from_mins(15);

/// Two years of sweeps that have something to do.
const MAX_SWEEPS: usize = 100;

/// As short as a busy machine bears: a lease lasts four times as long.
const REQUEST_SECONDS: &str = "120";

/// A lost token is announced by so many minutes after the kill: with the first sweep after the
/// lease.
const TOLD_WITHIN: u64 = 15;

/// Rounds that run side by side.
const TOGETHER: usize = 4;

/// The user of the app to whom the account belongs.
const REFERENCE: &str = "user-7";

/// A function at work, as it is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Work {
    /// A callback of an open link.
    Callback,
    /// A callback in a session.
    CallbackInSession,
    /// The completion of a session.
    Complete,
    /// A vend of a token that is due.
    Vend,
    /// A vend of a token that is not due, for longer than it lives.
    VendForLong,
    /// A sweep that refreshes.
    Sweep,
    /// A sweep that completes a consent.
    SweepOfConsent,
    /// A sweep that finishes a deletion that was killed.
    SweepOfDeletion,
    /// A deauthorization that Meta repeats.
    Deauthorize,
    /// A deauthorization that Meta does not repeat.
    DeauthorizeOnce,
    /// A deletion that Meta repeats.
    Deletion,
    /// A deletion that Meta does not repeat.
    DeletionOnce,
}

impl Work {
    const ALL: [Self; 12] = [
        Self::Callback,
        Self::CallbackInSession,
        Self::Complete,
        Self::Vend,
        Self::VendForLong,
        Self::Sweep,
        Self::SweepOfConsent,
        Self::SweepOfDeletion,
        Self::Deauthorize,
        Self::DeauthorizeOnce,
        Self::Deletion,
        Self::DeletionOnce,
    ];

    fn executable(self) -> &'static str {
        match self {
            Self::Callback | Self::CallbackInSession => CALLBACK,
            Self::Complete => SESSIONS,
            Self::Vend | Self::VendForLong => TOKEN,
            Self::Sweep | Self::SweepOfConsent | Self::SweepOfDeletion => REFRESH,
            Self::Deauthorize | Self::DeauthorizeOnce => DEAUTHORIZE,
            Self::Deletion | Self::DeletionOnce => DELETION,
        }
    }

    /// Returns true if its event is handed to another process soon after a kill. A caller would
    /// wait for the end of a dead process's lease.
    fn is_repeated(self) -> bool {
        !matches!(self, Self::Vend | Self::VendForLong | Self::DeauthorizeOnce | Self::DeletionOnce)
    }

    /// The behaviours of Meta's that can matter to it.
    fn behaviours(self) -> &'static [OldToken] {
        match self {
            Self::Vend | Self::VendForLong | Self::Sweep => {
                &[OldToken::SameTokenExtended, OldToken::NewTokenOldAlive, OldToken::NewTokenOldDead]
            }
            _ => &[OldToken::NewTokenOldDead],
        }
    }
}

/// The fate of an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// Nobody has noticed anything.
    Kept,
    /// The person had to press Allow once more.
    Again,
    /// Its only working token is gone, which was announced so many minutes after the kill.
    Lost(u64),
    /// It has ended as its person wished, by so many minutes after the kill.
    Ended(u64),
}

impl fmt::Display for Fate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Self::Kept => "kept".to_owned(),
            Self::Again => "again".to_owned(),
            Self::Lost(minutes) => format!("LOST, told after {minutes} min"),
            Self::Ended(minutes) => format!("ended after {minutes} min"),
        };
        f.pad(&text)
    }
}

/// A stack, and the event at which a process is killed.
struct Scene {
    work: Work,
    behaviour: OldToken,
    stack: Stack,
    holding: Holding,
    user_id: String,
    event: Value,
    /// The browser of the person.
    browser: Browser,
    /// The query of the person's way to Meta.
    query: String,
    /// The way back of another flow of the same person, which began before they left.
    rival: Option<(Browser, Url)>,
    /// The row before.
    before: Option<Grant>,
}

/// A request's event with a body.
#[expect(clippy::needless_pass_by_value, reason = "callers make the body for it")]
fn posted(path: &str, kind: &str, body: String) -> Value {
    let mut event = event(path, "", &[]);
    let route = format!("POST {path}");
    event["headers"]["content-type"] = json!(kind);
    event["requestContext"]["http"]["method"] = json!("POST");
    event["requestContext"]["routeKey"] = json!(route);
    event["routeKey"] = json!(route);
    event["body"] = json!(body);
    event
}

/// The same by a program of the app.
fn signed(mut event: Value) -> Value {
    event["requestContext"]["authorizer"] =
        json!({"iam": {"userArn": "arn:aws:sts::123456789012:assumed-role/backend/i-1"}});
    event
}

fn message(stack: &Stack, path: &str, user_id: &str) -> Value {
    let message = stack.sandbox().unwrap().signed_request(user_id);
    let form =
        url::form_urlencoded::Serializer::new(String::new()).append_pair("signed_request", &message).finish();
    posted(path, "application/x-www-form-urlencoded", form)
}

fn returned(browser: &Browser, back: &Url) -> Value {
    let cookies: Vec<_> = browser.jar.iter().map(|(name, value)| format!("{name}={value}")).collect();
    event("/callback", back.query().unwrap(), &cookies)
}

impl Scene {
    /// Makes everything that is there before the process starts.
    async fn of(work: Work, behaviour: OldToken) -> Self {
        // A process goes by the machine's clock, so what it finds was made before.
        let age = match work {
            Work::Callback | Work::CallbackInSession | Work::Complete => Duration::ZERO,
            Work::Vend | Work::Sweep => 41 * DAY,
            // Thirty days are asked for, and 27 are left.
            Work::VendForLong => 33 * DAY,
            Work::SweepOfConsent => Duration::from_mins(20),
            _ => Duration::from_hours(1),
        };
        let options = options(now() - age, &[("REQUEST_SECONDS", REQUEST_SECONDS)]);
        let stack = Stack::start(options).await.unwrap();
        stack.sandbox().unwrap().set_old_token_behaviour(behaviour);
        let holding = Holding::start(stack.variables()).await;
        let user_id = account(&stack, "ada");
        let (browser, query, event) = (Browser::new(), String::new(), scheduled());
        let mut scene = Self {
            work,
            behaviour,
            stack,
            holding,
            user_id,
            event,
            browser,
            query,
            rival: None,
            before: None,
        };
        scene.set(age).await;
        scene.before = find_grant(&scene.stack, &scene.user_id).await;
        scene.stack.sandbox().unwrap().clear_calls();
        scene
    }

    async fn set(&mut self, age: Duration) {
        let stack = &self.stack;
        let person = self.user_id.as_str();
        match self.work {
            Work::Callback => {
                let back = self.browser.consent(stack, "", person).await;
                self.event = returned(&self.browser, &back);
            }
            Work::CallbackInSession => {
                let reply = iam::call(stack, Method::POST, "/sessions", &new(REFERENCE).to_string()).await;
                let session: Value = serde_json::from_str(&reply.body).unwrap();
                self.query = format!("session={}", session["id"].as_str().unwrap());
                let back = self.browser.consent(stack, &self.query, person).await;
                self.event = returned(&self.browser, &back);
            }
            Work::Complete => {
                let (id, code) = finished(stack, new(REFERENCE), person).await;
                let path = format!("/sessions/{id}/complete");
                let body = completion(&code, REFERENCE).to_string();
                self.event = signed(posted(&path, "application/json", body));
            }
            Work::Vend | Work::VendForLong => {
                self.browser.connect(stack, person).await;
                let query = if self.work == Work::Vend { "" } else { "min_valid=2592000" };
                self.event = signed(event(&format!("/users/{person}/token"), query, &[]));
            }
            Work::Sweep => _ = self.browser.connect(stack, person).await,
            Work::SweepOfConsent => {
                fail(stack, SandboxCall::ExchangeLongLived, 2, FaultAction::Html);
                self.browser.connect(stack, person).await;
                assert_eq!(grant(stack, person).await.status(), Status::Pending);
            }
            Work::Deauthorize | Work::DeauthorizeOnce => {
                self.browser.connect(stack, person).await;
                stack.clock().advance(age);
                assert!(stack.sandbox().unwrap().revoke(person));
                self.event = message(stack, "/deauthorize", person);
                return;
            }
            Work::Deletion | Work::DeletionOnce | Work::SweepOfDeletion => {
                let (id, code) = finished(stack, new(REFERENCE), person).await;
                self.complete(&id, &code).await;
                stack.clock().advance(age.saturating_sub(Duration::from_mins(1)));
                let mut rival = Browser::new();
                let back = rival.consent(stack, "", person).await;
                self.rival = Some((rival, back));
                stack.clock().advance(Duration::from_mins(1));
                self.event = message(stack, "/data-deletion", person);
                if self.work == Work::SweepOfDeletion {
                    let place = Place { call: "TransactWriteItems".to_owned(), nth: 1 };
                    let killed = self.kill(DELETION, Window { place, side: Side::After }).await;
                    assert_eq!(killed, None);
                    self.event = scheduled();
                }
                return;
            }
        }
        self.stack.clock().advance(age);
    }

    async fn start(&self, executable: &str, window: Option<Window>) -> Function {
        self.holding.arm(window);
        let mut variables = self.holding.variables();
        variables.push(("LOG_LEVEL", "warn"));
        Function::start_with(executable, &self.stack, &variables).await
    }

    /// Kills a process in this window. Returns its answer if it does not come there.
    async fn kill(&self, executable: &str, window: Window) -> Option<Outcome> {
        let mut function = self.start(executable, Some(window)).await;
        function.begin(self.event.clone()).await;
        let answered = tokio::time::timeout(HANG, async {
            tokio::select! {
                () = self.holding.reached() => None,
                answer = function.outcome() => Some(answer),
            }
        });
        let answered = answered.await.unwrap();
        function.kill().await;
        self.holding.settle().await;
        self.catch_up();
        answered
    }

    /// Repeats the event with a new process, and returns its answer.
    async fn repeat(&self) -> Value {
        let mut function = self.start(self.work.executable(), None).await;
        let answer = function.request(self.event.clone()).await;
        function.kill().await;
        self.catch_up();
        answer
    }

    /// Returns the calls of a process that is not killed.
    async fn places(&self) -> Vec<Place> {
        let mut function = self.start(self.work.executable(), None).await;
        let outcome = function.invoke(self.event.clone()).await;
        assert!(matches!(outcome, Outcome::Response(_)), "{:?}: {outcome:?}", self.work);
        self.holding.settle().await;
        self.holding.seen()
    }

    /// Moves the stack's clock to the machine's, which is a little ahead.
    fn catch_up(&self) {
        let behind = now().duration_since(self.stack.clock().now());
        self.stack.clock().advance(Duration::try_from(behind).unwrap_or_default());
    }

    /// Completes the person's session, as the app's backend does.
    async fn complete(&self, id: &str, code: &str) {
        let path = format!("/sessions/{id}/complete");
        let completed =
            iam::call(&self.stack, Method::POST, &path, &completion(code, REFERENCE).to_string()).await;
        assert_eq!(completed.status, StatusCode::OK, "{completed:?}");
    }

    /// Returns the types of the events that were announced, in their order. No id is there twice.
    async fn told(&self) -> Vec<String> {
        self.stack.announce().await.unwrap();
        let events = self.stack.events();
        let ids: BTreeSet<_> = events.iter().map(|event| event["detail"]["id"].to_string()).collect();
        assert_eq!(ids.len(), events.len(), "{events:?}");
        events.iter().rev().map(|event| event["detail-type"].as_str().unwrap().to_owned()).collect()
    }

    async fn assert_told(&self, kind: &str, times: usize) {
        let told = self.told().await;
        assert_eq!(told.iter().filter(|told| *told == kind).count(), times, "{kind}: {told:?}");
    }

    /// Returns true if Meta has acted on a call since the scene was made.
    fn has_acted(&self, call: SandboxCall) -> bool {
        self.stack.sandbox().unwrap().calls().iter().any(|made| made.call == call && made.acted)
    }

    /// Looks at what became of the account, after the process was killed.
    async fn fate(&mut self) -> Fate {
        match self.work {
            Work::Callback | Work::CallbackInSession => self.fate_of_callback().await,
            Work::Complete => {
                let answer = self.repeat().await;
                assert_eq!(answer["statusCode"], 200, "{answer}");
                let grant = grant(&self.stack, &self.user_id).await;
                assert_eq!(grant.claim.owner().unwrap().reference, REFERENCE);
                self.assert_told("account.claimed", 1).await;
                self.lives().await;
                Fate::Kept
            }
            Work::Vend | Work::VendForLong | Work::Sweep => self.fate_of_refresh().await,
            Work::SweepOfConsent => {
                let fate = self.sweep_on().await;
                self.assert_told("account.connected", 1).await;
                fate
            }
            Work::Deauthorize => {
                let answer = self.repeat().await;
                assert_eq!(answer["statusCode"], 200, "{answer}");
                self.ended(0).await
            }
            Work::DeauthorizeOnce => {
                let fate = self.sweep_on().await;
                let Fate::Ended(minutes) = fate else { panic!("{fate:?}") };
                self.ended(minutes).await
            }
            Work::Deletion | Work::DeletionOnce | Work::SweepOfDeletion => self.fate_of_deletion().await,
        }
    }

    /// The person reloads the page that did not come.
    async fn fate_of_callback(&mut self) -> Fate {
        let committed = find_grant(&self.stack, &self.user_id).await;
        let is_spent = self.has_acted(SandboxCall::ExchangeCode);
        let answer = self.repeat().await;
        assert_is_for_a_person(&answer);
        let found = find_grant(&self.stack, &self.user_id).await;
        // Only the code that Meta has taken cannot be used again.
        assert_eq!(found.is_some(), committed.is_some() || !is_spent, "{answer}");
        let location = answer["headers"]["location"].as_str().unwrap_or_default().to_owned();
        let fate = if found.is_some() { Fate::Kept } else { Fate::Again };
        let completion = if fate == Fate::Kept {
            let id = |grant: &Option<Grant>| grant.as_ref().map(|grant| grant.grant_id.clone());
            assert!(committed.is_none() || id(&committed) == id(&found), "connected twice");
            location
        } else {
            let (query, user_id) = (self.query.clone(), self.user_id.clone());
            let back = self.browser.consent(&self.stack, &query, &user_id).await;
            let reply = self.browser.get(back.as_str()).await;
            assert_eq!(reply.status, StatusCode::SEE_OTHER, "{reply:?}");
            reply.location().to_string()
        };
        if self.work == Work::CallbackInSession {
            let url: Url = completion.parse().unwrap();
            self.complete(&parameter(&url, "session_id"), &parameter(&url, "completion")).await;
            self.assert_told("account.claimed", 1).await;
        }
        self.assert_told("account.connected", 1).await;
        self.lives().await;
        fate
    }

    /// A token that Meta has issued is lost only if it was not stored, and Meta has ended its
    /// predecessor.
    async fn fate_of_refresh(&mut self) -> Fate {
        let was_asked = self.has_acted(SandboxCall::Refresh);
        let before = self.before.clone().unwrap();
        let of = |grant: &Grant| grant.live().and_then(|live| live.token_id.clone());
        let is_stored = of(&grant(&self.stack, &self.user_id).await) != of(&before);
        let fate = self.sweep_on().await;
        let is_lost = matches!(fate, Fate::Lost(_));
        let is_unavoidable = self.behaviour == OldToken::NewTokenOldDead && was_asked && !is_stored;
        assert_eq!(is_lost, is_unavoidable, "{fate:?}");
        self.assert_told("account.needs_reauthorization", usize::from(is_lost)).await;
        fate
    }

    async fn fate_of_deletion(&mut self) -> Fate {
        let is_begun = find_grant(&self.stack, &self.user_id).await.is_none();
        let mut fate = Fate::Ended(0);
        match self.work {
            Work::DeletionOnce if !is_begun => {
                // Nobody was told that anything was deleted, and nothing was.
                assert!(is_usable(&self.stack, &token(&self.stack, &self.user_id).await).await);
                fate = Fate::Kept;
                let answer = self.repeat().await;
                assert_eq!(answer["statusCode"], 200, "{answer}");
            }
            Work::Deletion => {
                let answer = self.repeat().await;
                assert_eq!(answer["statusCode"], 200, "{answer}");
            }
            _ => {}
        }
        // The person's other tab comes back.
        let (mut rival, back) = self.rival.take().unwrap();
        let refused = rival.get(back.as_str()).await;
        assert!(refused.is_page("ended"), "{refused:?}");
        assert!(find_grant(&self.stack, &self.user_id).await.is_none(), "resurrected");
        let mut minutes = 0;
        while self.traces().await > 0 {
            assert!(minutes < 60, "{:?}", rows(&self.stack).await);
            self.stack.clock().advance(SWEEPS);
            minutes += 15;
            self.stack.sweep().await.unwrap();
            fate = Fate::Ended(minutes);
        }
        self.assert_told("account.deleted", 1).await;
        fate
    }

    async fn traces(&self) -> usize {
        format!("{:?}", rows(&self.stack).await).matches(&self.user_id).count()
    }

    /// Asserts that the account has ended, and that this was announced once.
    async fn ended(&self, minutes: u64) -> Fate {
        let grant = grant(&self.stack, &self.user_id).await;
        assert!(grant.live().is_none(), "{grant:?}");
        let told = self.told().await;
        let ends = ["account.disconnected", "account.needs_reauthorization"];
        let ends = told.iter().filter(|told| ends.contains(&told.as_str())).count();
        assert_eq!(ends, 1, "{told:?}");
        Fate::Ended(minutes)
    }

    /// Sweeps as the schedule does until the account lives or has ended.
    async fn sweep_on(&self) -> Fate {
        let clock = self.stack.clock();
        let killed_at = clock.now();
        for _ in 0..MAX_SWEEPS {
            clock.advance(SWEEPS);
            self.stack.sweep().await.unwrap();
            let grant = grant(&self.stack, &self.user_id).await;
            let told = self.told().await;
            let minutes = clock.now().duration_since(killed_at).as_secs().unsigned_abs() / 60;
            match grant.status() {
                Status::NeedsReauthorization => {
                    assert!(told.iter().any(|told| told == "account.needs_reauthorization"), "{told:?}");
                    let is_wished = self.work == Work::DeauthorizeOnce;
                    return if is_wished { Fate::Ended(minutes) } else { Fate::Lost(minutes) };
                }
                Status::Revoked => return Fate::Ended(minutes),
                Status::Active | Status::Pending => {}
            }
            let is_due = grant.due_at.is_none_or(|due| due <= clock.now());
            if grant.status() == Status::Active && !is_due {
                let token = token(&self.stack, &self.user_id).await;
                if is_usable(&self.stack, &token).await {
                    return Fate::Kept;
                }
            }
            // The sweeps until then find nothing to do.
            while grant.due_at.is_some_and(|due| due > clock.now() + SWEEPS) {
                clock.advance(SWEEPS);
            }
        }
        panic!("{:?}: {:?}", self.work, grant(&self.stack, &self.user_id).await);
    }

    /// Asserts that the account has a token that works.
    async fn lives(&self) {
        let grant = grant(&self.stack, &self.user_id).await;
        assert_eq!(grant.status(), Status::Active, "{grant:?}");
        assert!(is_usable(&self.stack, &token(&self.stack, &self.user_id).await).await);
    }
}

/// Asserts that an answer is a page or leads to one, and is no error of a gateway's.
#[track_caller]
fn assert_is_for_a_person(answer: &Value) {
    let status = answer["statusCode"].as_u64().unwrap();
    let is_page = answer["body"].as_str().unwrap_or_default().starts_with("<!DOCTYPE html>");
    assert!(status == 303 || (is_page && (status < 500 || status == 503)), "{answer}");
}

/// A process that is killed in each of these windows in turn, and again if the event is repeated.
struct Round {
    work: Work,
    behaviour: OldToken,
    windows: Vec<Window>,
}

/// Makes the rounds, prints what became of each account, and returns their fates.
#[expect(clippy::print_stdout, reason = "a table of what was seen")]
async fn play(rounds: Vec<Round>) -> Vec<(Round, Fate)> {
    let fates = stream::iter(rounds).map(|round| {
        tokio::spawn(async move {
            let mut scene = Scene::of(round.work, round.behaviour).await;
            for (nth, window) in round.windows.iter().enumerate() {
                let answered = scene.kill(round.work.executable(), window.clone()).await;
                // The first process meets what its window was found with.
                assert!(nth > 0 || answered.is_none(), "{:?}: {window} was not reached", round.work);
            }
            let fate = scene.fate().await;
            (round, fate)
        })
    });
    let fates: Vec<_> = fates.buffered(TOGETHER).map(Result::unwrap).collect().await;
    for (Round { work, behaviour, windows }, fate) in &fates {
        let windows: Vec<_> = windows.iter().map(Window::to_string).collect();
        let (work, behaviour) = (format!("{work:?}"), format!("{behaviour:?}"));
        println!("{work:<18} {behaviour:<18} {fate:<28} {}", windows.join(", "));
    }
    let count = |is: fn(&Fate) -> bool| fates.iter().filter(|(_, fate)| is(fate)).count();
    println!(
        "{} accounts, {} kills: {} kept, {} ended as wished, {} pressed Allow again, {} lost to a dead predecessor",
        fates.len(),
        fates.iter().map(|(round, _)| round.windows.len()).sum::<usize>(),
        count(|fate| *fate == Fate::Kept),
        count(|fate| matches!(fate, Fate::Ended(_))),
        count(|fate| *fate == Fate::Again),
        count(|fate| matches!(fate, Fate::Lost(_))),
    );
    for (round, fate) in &fates {
        let Fate::Lost(minutes) = fate else { continue };
        assert!(*minutes <= TOLD_WITHIN, "{:?}: {fate}", round.work);
    }
    fates
}

/// Threat killed-refresh: each function dies before and after each of its calls, under each of
/// Meta's behaviours. Nothing is lost but the token whose predecessor Meta has ended, between
/// Meta's answer and our write.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_function_is_killed_in_each_window() {
    let mut rounds = Vec::new();
    for work in Work::ALL {
        let places = Scene::of(work, OldToken::default()).await.places().await;
        for window in windows(&places) {
            let windows = vec![window];
            let round = |behaviour| Round { work, behaviour, windows: windows.clone() };
            rounds.extend(work.behaviours().iter().copied().map(round));
        }
    }
    let fates = play(rounds).await;
    for work in Work::ALL {
        for behaviour in work.behaviours() {
            let of_these =
                fates.iter().filter(|(round, _)| round.work == work && round.behaviour == *behaviour);
            let lost = of_these.filter(|(_, fate)| matches!(fate, Fate::Lost(_))).count();
            let is_unkind = *behaviour == OldToken::NewTokenOldDead && work.behaviours().len() > 1;
            assert_eq!(lost, if is_unkind { 2 } else { 0 }, "{work:?} {behaviour:?}");
        }
    }
}

/// The same with windows that dice choose, of all calls, and up to three processes one after the
/// other. `KILLS` is the number of accounts.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[expect(clippy::disallowed_methods, reason = "a test's own setting")]
async fn processes_are_killed_again_and_again() {
    const SEED: u64 = 1;
    let rounds = std::env::var("KILLS").map_or(12, |rounds| rounds.parse().unwrap());
    let mut dice = Dice(SEED);
    let mut all = Vec::new();
    for work in Work::ALL {
        all.push((work, Scene::of(work, OldToken::default()).await.places().await));
    }
    let rounds = (0..rounds).map(|_| {
        let (work, places) = dice.choose(&all).clone();
        let kills = if work.is_repeated() { dice.roll(3) + 1 } else { 1 };
        let windows = (0..kills).map(|_| {
            let side = *dice.choose(&[Side::Before, Side::After]);
            Window { place: dice.choose(&places).clone(), side }
        });
        let windows = windows.collect();
        Round { work, behaviour: *dice.choose(work.behaviours()), windows }
    });
    play(rounds.collect()).await;
}
