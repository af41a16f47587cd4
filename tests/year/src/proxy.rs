//! The proxies before DynamoDB, Secrets Manager and Meta: they make faults, kill the process
//! between two calls, and record every token that Meta has issued.
//!
//! A fault depends on the seed, the kind of the call, its person, and the number of such calls for
//! that person so far, so it does not depend on the order in which concurrent calls arrive.

use std::collections::{BTreeMap, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result};
use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{Response, StatusCode, Uri};
use axum::serve::ListenerExt as _;
use devstack::{Clock, Stack};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use jiff::Timestamp;
use serde_json::Value;
use threads_auth_model::schedule::Life;
use threads_sandbox::OldToken;
use tokio::net::TcpListener;
use tokio::sync::Notify;

use crate::chance::Chance;
use crate::fault::{self, Fault, Upstream, broken};
use crate::plan::{DAY, HOUR, Plan, SecretsTrouble, Trouble};
use crate::{person_of, user_id};

/// Faults among a million calls.
const FAULTS: u64 = 5_000;
/// A tenth of Meta's failed refreshes go on failing for up to three days.
const STREAKS: u64 = 100_000;
const LONGEST_STREAK: u64 = 72;

/// Time before its end at which a token's expiry is announced.
const WARNED_BEFORE: i64 = 14 * DAY;

/// Minimum remaining life of a token whose refresh may wait after an outage.
const CAN_WAIT: i64 = 10 * DAY;

/// A request is at most as large as one of DynamoDB's.
const MAX_BODY: usize = 16 * 1024 * 1024;

/// A kind of call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    Refresh,
    Inspect,
    Profile,
    OtherThreads,
    Lease,
    StoreToken,
    OtherWrite,
    Read,
    ReadSecret,
}

impl Call {
    const KINDS: usize = Self::ReadSecret as usize + 1;

    fn name(self) -> &'static str {
        match self {
            Self::Refresh => "refresh",
            Self::Inspect => "inspect",
            Self::Profile => "profile",
            Self::OtherThreads => "other",
            Self::Lease => "lease",
            Self::StoreToken => "store token",
            Self::OtherWrite => "write",
            Self::Read => "read",
            Self::ReadSecret => "read secret",
        }
    }
}

/// The parts of a request that faults and records depend on.
struct Asked {
    upstream: Upstream,
    call: Call,
    person: Option<usize>,
    /// True if it changes a grant's due time, and is not a lease.
    moves: bool,
}

/// The reason why a token that Meta issued was not stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Loss {
    /// Meta's answer never arrived.
    AnswerLost,
    /// The process died between the answer and the write.
    Killed,
    /// The store refused the write.
    Refused,
    /// No failure explains it.
    Dropped,
}

/// A token that Meta has issued and that is not stored yet.
#[derive(Clone, Copy)]
struct Issued {
    was_lost: bool,
    was_refused: bool,
}

/// The records of one person's token.
#[derive(Clone, Default)]
struct Books {
    /// Calls so far, by kind.
    calls: [u32; Call::KINDS],
    /// Meta goes on failing until then, in the same way.
    streak: Option<(i64, Fault)>,
    /// Time at which the damaged row was repaired.
    repaired_at: i64,
    /// Meta does not refresh or extend the token until then.
    held_until: i64,
    /// Time at which the stored token was issued, and the time at which its refresh is due.
    issued_at: i64,
    due_at: i64,
    expires_at: i64,
    is_assumed: bool,
    /// Time of the first refresh that was tried while the end was near enough to be announced.
    tried_at: Option<i64>,
    /// Refreshed tokens that were stored.
    stored: u32,
}

/// The moment at which the process dies.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kill {
    /// Before the call of this number.
    AtCall(u64),
    /// Before a new token is written, after so many others.
    AtStore(u64),
}

#[derive(Default)]
struct Kept {
    books: Vec<Books>,
    /// The people, by the hashes of their tokens.
    owners: HashMap<u64, usize>,
    behaviour: OldToken,
    issued: BTreeMap<usize, Issued>,
    kill: Option<Kill>,
    is_dead: bool,
    near: Vec<usize>,
    figures: Traffic,
    secret_reads: u64,
}

/// Counts of the calls.
#[derive(Clone, Debug, Default)]
pub(crate) struct Traffic {
    pub(crate) calls: u64,
    pub(crate) faults: u64,
    /// Refreshes that Meta was asked for, by hour.
    pub(crate) refreshes: Vec<u32>,
    /// Those of them that could have waited, by hour.
    pub(crate) patient: Vec<u32>,
    /// Longest delay of a refresh after its due time, not counting outages.
    pub(crate) latest: Delay,
    /// Longest time from a token's due time to its refresh, in seconds, including outages.
    pub(crate) late: i64,
    /// Shortest remaining life of a token when it was refreshed, in seconds.
    pub(crate) least_left: Option<i64>,
}

/// The delay of a refresh after its due time, or of an announcement after an end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Delay {
    /// Seconds in which Meta, the store and the schedule worked for this person.
    pub(crate) awake: i64,
    pub(crate) person: usize,
    pub(crate) at: i64,
}

struct Inner {
    client: Client<HttpConnector, Body>,
    clock: Clock,
    start: Timestamp,
    chance: Chance,
    plan: Arc<Plan>,
    kept: Mutex<Kept>,
    busy: AtomicUsize,
    killed: Notify,
}

/// The three proxies.
#[derive(Clone)]
pub(crate) struct Proxy(Arc<Inner>);

/// One of them.
#[derive(Clone)]
struct Door {
    proxy: Proxy,
    upstream: Upstream,
    url: Arc<str>,
}

impl Proxy {
    pub(crate) fn new(stack: &Stack, chance: Chance, plan: Arc<Plan>, people: usize) -> Self {
        let clock = stack.clock().clone();
        let start = clock.now();
        let kept = Kept { books: vec![Books::default(); people], ..Kept::default() };
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        Self(Arc::new(Inner {
            client: Client::builder(TokioExecutor::new()).build(connector),
            clock,
            start,
            chance,
            plan,
            kept: Mutex::new(kept),
            busy: AtomicUsize::new(0),
            killed: Notify::new(),
        }))
    }

    /// Opens the door to a service, and returns its URL.
    pub(crate) async fn open(&self, upstream: Upstream, url: &str) -> Result<String> {
        let door = Door { proxy: self.clone(), upstream, url: url.into() };
        let listener = TcpListener::bind("127.0.0.1:0").await.context("no port is free")?;
        let own = format!("http://{}", listener.local_addr()?);
        // An answer that waits for an acknowledgement would let a paused clock reach the time-outs.
        let listener = listener.tap_io(|stream| _ = stream.set_nodelay(true));
        let router = Router::new().fallback(pass).with_state(door);
        tokio::spawn(async move { axum::serve(listener, router).await });
        Ok(own)
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn now(&self) -> i64 {
        self.0.clock.now().as_second() - self.0.start.as_second()
    }

    pub(crate) fn treat_old_tokens(&self, behaviour: OldToken) {
        self.kept().behaviour = behaviour;
    }

    /// Records a token that the person has brought from elsewhere.
    pub(crate) fn connected(&self, person: usize, token: &str, life: Life) {
        let mut kept = self.kept();
        kept.owners.insert(hash(token), person);
        let books = &mut kept.books[person];
        books.renew(person, life, self.0.start);
    }

    /// Sets the moment at which the process dies, if it does.
    pub(crate) fn arm(&self, kill: Option<Kill>) {
        let mut kept = self.kept();
        (kept.kill, kept.is_dead) = (kill, false);
    }

    /// Returns when the process has to die.
    pub(crate) async fn killed(&self) {
        self.0.killed.notified().await;
    }

    /// Returns once no call is in flight.
    pub(crate) async fn quiet(&self) {
        while self.0.busy.load(Ordering::Acquire) > 0 {
            tokio::task::yield_now().await;
        }
    }

    /// Returns the people whose new token is lost, because no worker holds it any more, and whose
    /// old one Meta refuses.
    pub(crate) fn losses(&self, was_killed: bool) -> Vec<(usize, Loss)> {
        let mut kept = self.kept();
        let issued = std::mem::take(&mut kept.issued);
        if kept.behaviour != OldToken::NewTokenOldDead {
            return Vec::new();
        }
        let loss = |issued: Issued| match issued {
            Issued { was_lost: true, .. } => Loss::AnswerLost,
            Issued { was_refused: true, .. } => Loss::Refused,
            _ if was_killed => Loss::Killed,
            _ => Loss::Dropped,
        };
        issued.into_iter().map(|(person, issued)| (person, loss(issued))).collect()
    }

    /// Returns the people who had to be warned: their token was refreshed more than a day after a
    /// refresh was tried in its last two weeks.
    pub(crate) fn take_near(&self) -> Vec<usize> {
        std::mem::take(&mut self.kept().near)
    }

    /// Returns at most `most` people whose token is so many days old, and whose refresh is not yet
    /// due.
    pub(crate) fn of_age(&self, days: std::ops::Range<i64>, most: usize) -> Vec<usize> {
        let (kept, now) = (self.kept(), self.now());
        let is_old = |books: &Books| {
            let age = now - books.issued_at;
            (days.start * DAY..days.end * DAY).contains(&age) && now < books.due_at
        };
        let old = kept.books.iter().enumerate().skip(1).filter(|(_, books)| is_old(books));
        old.map(|(person, _)| person).take(most).collect()
    }

    /// Returns the end of the last time in which no refresh of a person's token could succeed.
    pub(crate) fn failed_until(&self, person: usize) -> i64 {
        self.kept().books[person].failed_until()
    }

    /// Records that Meta does not refresh or extend a person's token until then.
    pub(crate) fn holds(&self, person: usize, until: i64) {
        self.kept().books[person].held_until = until;
    }

    /// Returns true if a token has ended by itself, within a day of the last time in which no
    /// refresh could succeed.
    pub(crate) fn is_over(&self, person: usize, at: i64) -> bool {
        let books = &self.kept().books[person];
        books.expires_at <= at && self.0.plan.awake(books.failed_until(), books.expires_at) < DAY
    }

    /// Records that a person's damaged row was repaired.
    pub(crate) fn repaired(&self, person: usize) {
        let now = self.now();
        self.kept().books[person].repaired_at = now;
    }

    /// Returns true if the stored token's end is so near that it is announced.
    pub(crate) fn ends_soon(&self, person: usize) -> bool {
        self.kept().books[person].ends_soon(self.now())
    }

    pub(crate) fn stored(&self) -> Vec<u32> {
        self.kept().books.iter().map(|books| books.stored).collect()
    }

    pub(crate) fn traffic(&self) -> Traffic {
        self.kept().figures.clone()
    }

    /// Decides on a call. Returns `None` if the process dies here.
    #[expect(clippy::option_option, reason = "no answer, or one with or without a fault")]
    fn judge(&self, asked: &Asked) -> Option<Option<Fault>> {
        let now = self.now();
        let mut kept = self.kept();
        let kept = &mut *kept;
        let dies = match &mut kept.kill {
            Some(Kill::AtCall(0)) => true,
            Some(Kill::AtCall(left)) => {
                *left -= 1;
                false
            }
            Some(Kill::AtStore(left)) if asked.call == Call::StoreToken => {
                let is_last = *left == 0;
                *left = left.saturating_sub(1);
                is_last
            }
            Some(Kill::AtStore(_)) | None => false,
        };
        if dies {
            (kept.kill, kept.is_dead) = (None, true);
            self.0.killed.notify_one();
        }
        if kept.is_dead {
            return None;
        }
        kept.figures.calls += 1;
        let fault = self.fault(kept, asked, now);
        kept.figures.faults += u64::from(fault.is_some());
        if asked.call == Call::Refresh {
            count(&mut kept.figures.refreshes, now);
            // The end of access to a private profile's data is announced in time.
            if asked.person.is_some_and(|person| {
                !self.0.plan.private[person] && kept.books[person].expires_at - now > CAN_WAIT
            }) {
                count(&mut kept.figures.patient, now);
            }
        }
        if let (Call::Lease, Some(person)) = (asked.call, asked.person) {
            kept.books[person].note_try(now);
        }
        if asked.call == Call::StoreToken
            && fault.is_some_and(|fault| matches!(fault, Fault::Answer(..) | Fault::Gone))
            && let Some(issued) = asked.person.and_then(|person| kept.issued.get_mut(&person))
        {
            issued.was_refused = true;
        }
        Some(fault)
    }

    fn fault(&self, kept: &mut Kept, asked: &Asked, now: i64) -> Option<Fault> {
        let (chance, name) = (self.0.chance, asked.call.name());
        let person = asked.person.map_or(u64::MAX, |person| person as u64);
        let nth = if let Some(person) = asked.person {
            let calls = &mut kept.books[person].calls[asked.call as usize];
            *calls += 1;
            u64::from(*calls)
        } else {
            // Of these the number of calls in a sweep decides nothing.
            kept.secret_reads += 1;
            kept.secret_reads
        };
        for trouble in self.0.plan.trouble(now) {
            match (trouble, asked.upstream) {
                (Trouble::ThreadsGone, Upstream::Threads) => return Some(Fault::Gone),
                (Trouble::StoreDown, Upstream::DynamoDb) => {
                    return Some(chance.pick(&fault::DOWN, name, person, nth));
                }
                (Trouble::WritesDown, Upstream::DynamoDb) if asked.moves => {
                    return Some(fault::THROTTLED);
                }
                (Trouble::Secrets(trouble), Upstream::SecretsManager) => {
                    return Some(match trouble {
                        SecretsTrouble::Denied => fault::SECRETS_DENIED,
                        SecretsTrouble::Expired => fault::SECRETS_EXPIRED,
                        SecretsTrouble::Signature => fault::SECRETS_SIGNATURE,
                        SecretsTrouble::Malformed => fault::SECRETS_MALFORMED,
                        SecretsTrouble::Internal => fault::SECRETS_INTERNAL,
                    });
                }
                _ => {}
            }
        }
        if asked.call == Call::Refresh
            && let Some((until, fault)) = asked.person.and_then(|person| kept.books[person].streak)
            && now < until
        {
            return Some(fault);
        }
        if !chance.hits(FAULTS, name, person, nth) {
            return None;
        }
        let fault = asked.upstream.fault(chance, name, person, nth);
        if asked.call == Call::Refresh
            && let Some(of) = asked.person
            && matches!(fault, Fault::Answer(..) | Fault::Gone)
            && chance.hits(STREAKS, "streak", person, nth)
        {
            let hours = chance.below(LONGEST_STREAK, "streak", person, nth).cast_signed();
            kept.books[of].streak = Some((now + hours * HOUR, fault));
        }
        Some(fault)
    }

    /// Records the effect of a call.
    fn note(&self, asked: &Asked, sent: &Bytes, status: StatusCode, answered: &[u8], is_lost: bool) {
        if status != StatusCode::OK {
            return;
        }
        match (asked.call, asked.person) {
            (Call::Refresh, Some(person)) => self.refreshed(person, answered, is_lost),
            (Call::StoreToken, Some(person)) => {
                let mut kept = self.kept();
                kept.issued.remove(&person);
                if let Some(life) = life(sent) {
                    let books = &mut kept.books[person];
                    books.renew(person, life, self.0.start);
                    books.stored += 1;
                }
            }
            _ => {}
        }
    }

    fn refreshed(&self, person: usize, answered: &[u8], is_lost: bool) {
        let now = self.now();
        let Ok(answer) = serde_json::from_slice::<Value>(answered) else { return };
        let Some(token) = answer["access_token"].as_str() else { return };
        let mut kept = self.kept();
        kept.owners.insert(hash(token), person);
        kept.issued.insert(person, Issued { was_lost: is_lost, was_refused: false });
        let Books { due_at, expires_at, is_assumed, tried_at, repaired_at, .. } = kept.books[person];
        let since = due_at.max(kept.books[person].failed_until());
        // An assumed life is soon replaced by the real one, in a write that stores no token.
        if is_assumed {
            return;
        }
        let figures = &mut kept.figures;
        if due_at < now {
            figures.late = figures.late.max(now - due_at);
            figures.latest =
                figures.latest.max(Delay { awake: self.0.plan.awake(since, now), person, at: now });
        }
        let left = expires_at - now;
        // The end of the token in a damaged row is unknown.
        if tried_at.is_some_and(|at| self.0.plan.awake(at.max(repaired_at), now) > DAY) {
            kept.near.push(person);
        }
        let figures = &mut kept.figures;
        figures.least_left = Some(figures.least_left.map_or(left, |least| least.min(left)));
    }
}

impl Books {
    fn failed_until(&self) -> i64 {
        self.streak.map_or(0, |(until, _)| until).max(self.repaired_at).max(self.held_until)
    }

    fn ends_soon(&self, now: i64) -> bool {
        self.expires_at - now < WARNED_BEFORE
    }

    fn note_try(&mut self, now: i64) {
        self.tried_at = self.ends_soon(now).then(|| self.tried_at.unwrap_or(now));
    }

    fn renew(&mut self, person: usize, life: Life, start: Timestamp) {
        let since = |at: Timestamp| at.as_second() - start.as_second();
        self.issued_at = since(life.issued_at);
        self.expires_at = since(life.expires_at);
        self.is_assumed = life.is_assumed;
        self.due_at = user_id(person).map_or(self.expires_at, |user_id| since(life.due_at(&user_id)));
    }
}

fn count(hours: &mut Vec<u32>, now: i64) {
    let hour = usize::try_from(now / HOUR).unwrap_or(0);
    if hours.len() <= hour {
        hours.resize(hour + 1, 0);
    }
    hours[hour] += 1;
}

async fn pass(State(door): State<Door>, request: Request) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let Ok(body) = to_bytes(body, MAX_BODY).await else { return broken() };
    let proxy = &door.proxy;
    let asked = proxy.asked(door.upstream, &parts, &body);
    let Some(fault) = proxy.judge(&asked) else {
        // The process that asks is dropped at once.
        return std::future::pending().await;
    };
    proxy.0.busy.fetch_add(1, Ordering::AcqRel);
    // A request that was sent is carried out and noted, even if nobody waits for it any more.
    let done = tokio::spawn(async move {
        let answer = door.carry_out(&asked, fault, parts, body).await;
        door.proxy.0.busy.fetch_sub(1, Ordering::AcqRel);
        answer
    });
    done.await.unwrap_or_else(|_| broken())
}

impl Door {
    async fn carry_out(
        &self,
        asked: &Asked,
        fault: Option<Fault>,
        parts: Parts,
        body: Bytes,
    ) -> Response<Body> {
        match fault {
            Some(Fault::Answer(status, text)) => return self.upstream.answer(status, text),
            Some(Fault::Gone) => return broken(),
            Some(Fault::Twice) => {
                if let Ok((first, text)) = self.send(parts.clone(), body.clone()).await {
                    self.proxy.note(asked, &body, first.status(), &text, false);
                }
            }
            Some(Fault::Lost) | None => {}
        }
        let is_lost = fault == Some(Fault::Lost);
        let Ok((mut answer, text)) = self.send(parts, body.clone()).await else { return broken() };
        // A write that is made twice is noted once.
        if fault != Some(Fault::Twice) {
            self.proxy.note(asked, &body, answer.status(), &text, is_lost);
        }
        if is_lost {
            return broken();
        }
        *answer.body_mut() = Body::from(text);
        answer
    }

    async fn send(&self, mut parts: Parts, body: Bytes) -> Result<(Response<Body>, Bytes)> {
        let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
        parts.uri = Uri::try_from(format!("{}{path}", self.url))?;
        let answer = self.proxy.0.client.request(Request::from_parts(parts, Body::from(body))).await?;
        let (parts, body) = answer.into_parts();
        let body = to_bytes(Body::new(body), MAX_BODY).await?;
        Ok((Response::from_parts(parts, Body::empty()), body))
    }
}

impl Proxy {
    fn asked(&self, upstream: Upstream, parts: &Parts, body: &[u8]) -> Asked {
        let text = std::str::from_utf8(body).unwrap_or_default();
        let (call, person) = match upstream {
            Upstream::Threads => {
                let call = match parts.uri.path().rsplit('/').next().unwrap_or_default() {
                    "refresh_access_token" => Call::Refresh,
                    "debug_token" => Call::Inspect,
                    "me" => Call::Profile,
                    _ => Call::OtherThreads,
                };
                (call, self.owner(parts.uri.query().unwrap_or_default()))
            }
            Upstream::DynamoDb => {
                let target = parts.headers.get("x-amz-target").and_then(|target| target.to_str().ok());
                let call = match target.and_then(|target| target.rsplit('.').next()).unwrap_or_default() {
                    "UpdateItem" if text.contains("#refreshed_at = ") => Call::StoreToken,
                    "UpdateItem" if text.contains("SET #lease_owner = ") => Call::Lease,
                    "UpdateItem" | "TransactWriteItems" | "PutItem" | "DeleteItem" => Call::OtherWrite,
                    _ => Call::Read,
                };
                let known = self.kept().books.len();
                let after = text.split("\"user#").nth(1).and_then(|text| text.split('"').next());
                (call, after.and_then(person_of).filter(|person| *person < known))
            }
            Upstream::SecretsManager => (Call::ReadSecret, None),
        };
        let moves = call != Call::Lease && text.contains("#due_at = ");
        Asked { upstream, call, person, moves }
    }

    /// Returns the person whose token a query is about.
    fn owner(&self, query: &str) -> Option<usize> {
        let value = |name| query.split('&').find_map(|pair| pair.strip_prefix(name));
        let token = value("input_token=").or_else(|| value("access_token="))?;
        self.kept().owners.get(&hash(token)).copied()
    }
}

/// Returns the hash that identifies a token here.
pub(crate) fn hash(token: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    token.hash(&mut hasher);
    hasher.finish()
}

/// Returns the life of the token that an update stores.
fn life(update: &[u8]) -> Option<Life> {
    let update: Value = serde_json::from_slice(update).ok()?;
    let expression = update["UpdateExpression"].as_str()?;
    let number = |attribute: &str| {
        let placeholder = expression.split(attribute).nth(1)?.split([',', ' ']).next()?;
        update["ExpressionAttributeValues"][placeholder]["N"].as_str()?.parse::<i64>().ok()
    };
    Some(Life {
        issued_at: Timestamp::from_second(number("#issued_at = ")?).ok()?,
        expires_at: Timestamp::from_second(number("#expires_at = ")?).ok()?,
        is_assumed: number("#expiry_assumed = ").is_some(),
    })
}
