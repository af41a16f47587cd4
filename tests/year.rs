//! A year of many accounts, while Meta is as unkind as it documents and people report.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::time::Duration;

use devstack::{Inspection, Stack, StackOptions};
use jiff::Timestamp;
use reqwest::StatusCode;
use serde_json::{Value, json};
use threads_auth_model::Status;
use threads_auth_store::{DUE_INDEX, aws};
use threads_sandbox::{Account, AccountStatus, BadAnswer, BadHours, NewAccount, OldToken, SandboxCall};

use crate::fixture::{
    Browser, DAY, START, calls, calls_of, find_grant, http, is_usable, options, secret_text, token,
};

const HOUR: Duration = Duration::from_hours(1);
const YEAR: Duration = Duration::from_hours(365 * 24);
const PEOPLE: usize = 120;

/// For each person, by number: the numbers of those who do not extend, have a private profile,
/// change the password, remove the app. Number 0 is the inspector, and most do none of this.
const STALLED: std::ops::Range<usize> = 1..13;
const PRIVATE: std::ops::Range<usize> = 13..25;
/// Of those, the ones who come back ten days after each end.
const RETURNING: std::ops::Range<usize> = 13..19;
/// Of those, the ones who connect so that the access ends in the middle of a day without Meta.
const LATE: std::ops::Range<usize> = 21..25;
const PASSWORD_CHANGED: std::ops::Range<usize> = 25..33;
const APP_REMOVED: std::ops::Range<usize> = 33..41;

/// Something that happens at Threads, without a notice to us.
#[derive(Clone, Copy, Debug)]
enum Happens {
    Connects(usize),
    ChangesPassword(usize),
    RemovesApp(usize),
    StopsExtending(usize),
    ExtendsAgain(usize),
    TreatsOldTokens(OldToken),
}

/// Returns the events in order, each with its hour after the start.
fn plan() -> Vec<(u32, Happens)> {
    use Happens::{ChangesPassword, Connects, ExtendsAgain, RemovesApp, StopsExtending, TreatsOldTokens};
    let at_once = (0..PEOPLE).filter(|person| !LATE.contains(person));
    let mut plan: Vec<(u32, Happens)> = at_once.map(|person| (0, Connects(person))).collect();
    plan.extend(LATE.map(|person| (20 * 24 + 21, Connects(person))));
    plan.extend(RETURNING.flat_map(|person| [100, 200].map(|day| (day * 24, Connects(person)))));
    plan.extend(STALLED.map(|person| (30 * 24, StopsExtending(person))));
    plan.extend(STALLED.map(|person| (52 * 24, ExtendsAgain(person))));
    let spread = [15, 50, 85, 120, 155, 190, 225, 260];
    plan.extend(PASSWORD_CHANGED.zip(spread).map(|(person, day)| (day * 24 + 5, ChangesPassword(person))));
    plan.extend(APP_REMOVED.zip(spread).map(|(person, day)| (day * 24 + 200, RemovesApp(person))));
    plan.push((0, TreatsOldTokens(OldToken::NewTokenOldDead)));
    plan.push((130 * 24, TreatsOldTokens(OldToken::NewTokenOldAlive)));
    plan.push((250 * 24, TreatsOldTokens(OldToken::SameTokenExtended)));
    plan.sort_by_key(|(hours, _)| *hours);
    plan
}

/// For two days before the first bad hour no sweep is made, so that many tokens wait for it.
const STANDSTILL: (u32, u32) = (35 * 24, 37 * 24);

/// From which hour until which Meta answers so.
const BAD: [(u32, u32, BadAnswer); 3] = [
    (37 * 24, 37 * 24 + 1, BadAnswer::Bare190),
    (110 * 24, 111 * 24, BadAnswer::ServerError),
    (205 * 24, 207 * 24, BadAnswer::AppBlocked),
];

/// The stack, its people, and what was heard of them.
struct Year {
    stack: Stack,
    start: Timestamp,
    people: Vec<String>,
    events: BufReader<File>,
    /// When an account's end was announced, by its user id.
    ended: BTreeMap<String, Vec<Timestamp>>,
    /// People who were warned of the end of the token.
    warned: Vec<String>,
    /// Ends that were announced of accounts that work.
    false_deaths: Vec<Value>,
    sweeps: u32,
    dynamodb: aws_sdk_dynamodb::Client,
    /// The ends of data access, and of whole accounts.
    access_ends: Vec<(usize, Timestamp)>,
    ends: Vec<(usize, Timestamp, Happens)>,
}

impl Year {
    async fn begin(folder: &std::path::Path) -> Self {
        let start: Timestamp = START.parse().unwrap();
        let events = folder.join("events.jsonl");
        let stack = Stack::start(StackOptions {
            events_file: Some(events.clone()),
            inspection: Some(Inspection::Testers),
            ..options(start, &[])
        })
        .await
        .unwrap();
        let sandbox = stack.sandbox().unwrap();
        let people: Vec<String> = (0..PEOPLE).map(|n| (17_841_400_000_000_000 + n).to_string()).collect();
        for (n, user_id) in people.iter().enumerate() {
            sandbox.add_account(NewAccount {
                username: format!("person{n}"),
                user_id: Some(user_id.clone()),
                private: PRIVATE.contains(&n),
                tester: n == 0,
            });
        }
        for (from, until, answer) in BAD {
            sandbox.add_bad_hours(BadHours {
                from: start + HOUR * from,
                until: start + HOUR * until,
                answer,
            });
        }
        appoint_inspector(&stack, &people[0]).await;
        let dynamodb = aws::dynamodb(&stack.service().config().aws, &http());
        Self {
            stack,
            start,
            people,
            events: BufReader::new(File::open(events).unwrap()),
            ended: BTreeMap::new(),
            warned: Vec::new(),
            false_deaths: Vec::new(),
            sweeps: 0,
            dynamodb,
            access_ends: Vec::new(),
            ends: Vec::new(),
        }
    }

    fn now(&self) -> Timestamp {
        self.stack.clock().now()
    }

    fn at(&self, hours: u32) -> Timestamp {
        self.start + HOUR * hours
    }

    fn account(&self, user_id: &str) -> Account {
        self.stack.sandbox().unwrap().account(user_id).unwrap()
    }

    /// Returns true if Threads accepts this account's token.
    fn is_well(&self, user_id: &str) -> bool {
        let account = self.account(user_id);
        let has_access = account.data_access_expires_at.is_some_and(|end| end > self.now());
        account.status == AccountStatus::Active && (has_access || !account.private)
    }

    async fn happens(&mut self, what: Happens) {
        let (sandbox, now) = (self.stack.sandbox().unwrap(), self.now());
        match what {
            Happens::Connects(person) => {
                let connected = Browser::new().connect(&self.stack, &self.people[person]).await;
                assert_eq!(connected.status, StatusCode::SEE_OTHER, "{connected:?}");
                if PRIVATE.contains(&person) {
                    self.access_ends.push((person, now + DAY * 90));
                }
            }
            Happens::ChangesPassword(person) => {
                assert!(sandbox.change_password(&self.people[person]));
                self.ends.push((person, now, what));
            }
            Happens::RemovesApp(person) => {
                assert!(sandbox.revoke(&self.people[person]));
                self.ends.push((person, now, what));
            }
            Happens::StopsExtending(person) => assert!(sandbox.set_extends(&self.people[person], false)),
            Happens::ExtendsAgain(person) => assert!(sandbox.set_extends(&self.people[person], true)),
            Happens::TreatsOldTokens(behaviour) => sandbox.set_old_token_behaviour(behaviour),
        }
    }

    /// The next time that a sweep finds something due. One is made each twelve hours, and more
    /// often in bad hours and after them: what a sweep finds nothing for is not worth the test's
    /// time.
    async fn next_sweep(&self) -> Timestamp {
        let now = self.now();
        if (self.at(STANDSTILL.0)..self.at(STANDSTILL.1)).contains(&now) {
            return self.at(STANDSTILL.1);
        }
        let due = self.next_due().await;
        let of_now =
            BAD.iter().find(|(from, until, _)| (self.at(*from)..self.at(*until + 24)).contains(&now));
        let every = match of_now {
            Some((_, _, BadAnswer::Bare190)) => 30 * 60,
            Some(_) => 60 * 60,
            None => 12 * 60 * 60,
        };
        // At the next one, or the one that finds what is due.
        let seconds = due.clamp(now.as_second() + 1, self.at(366 * 24).as_second());
        Timestamp::from_second((seconds + every - 1) / every * every).unwrap()
    }

    /// When the first of all accounts is due.
    async fn next_due(&self) -> i64 {
        let scan = self.dynamodb.scan().table_name(&self.stack.urls().grants_table);
        let scan = scan.index_name(DUE_INDEX).projection_expression("due_at");
        let due = scan.into_paginator().items().send().collect::<Result<Vec<_>, _>>().await.unwrap();
        let due = due.iter().map(|row| row["due_at"].as_n().unwrap().parse().unwrap());
        due.min().unwrap_or(i64::MAX)
    }

    async fn sweep(&mut self) {
        self.stack.sweep().await.unwrap();
        self.sweeps += 1;
        self.stack.announce().await.unwrap();
        let mut line = String::new();
        while self.events.read_line(&mut line).unwrap() > 0 {
            self.hear(&serde_json::from_str::<Value>(&line).unwrap()["detail"]);
            line.clear();
        }
    }

    fn hear(&mut self, event: &Value) {
        let user_id = event["user_id"].as_str().unwrap();
        match event["type"].as_str().unwrap() {
            "account.needs_reauthorization" | "account.disconnected" => {
                if self.is_well(user_id) {
                    self.false_deaths.push(event.clone());
                }
                let at = event["time"].as_str().unwrap().parse().unwrap();
                self.ended.entry(user_id.to_owned()).or_default().push(at);
            }
            "account.expiring_soon" if event["deadline"] == "token" => self.warned.push(user_id.to_owned()),
            _ => {}
        }
    }

    /// Returns the time from an account's end to its announcement.
    fn announced_after(&self, person: usize, end: Timestamp) -> Option<Duration> {
        let announced = self.ended.get(&self.people[person])?.iter().find(|at| **at >= end)?;
        Some(announced.duration_since(end).unsigned_abs())
    }

    /// The people whose accounts work at Threads and not with us.
    async fn lost(&self) -> Vec<usize> {
        let mut lost = Vec::new();
        for (person, user_id) in self.people.iter().enumerate() {
            if !self.is_well(user_id) {
                continue;
            }
            let grant = find_grant(&self.stack, user_id).await;
            let is_kept = grant.is_some_and(|grant| grant.status() == Status::Active)
                && is_usable(&self.stack, &token(&self.stack, user_id).await).await;
            if !is_kept {
                lost.push(person);
            }
        }
        lost
    }
}

/// Names the account whose token inspects the others'.
async fn appoint_inspector(stack: &Stack, user_id: &str) {
    let config = stack.service().config();
    let mut app: Value = serde_json::from_str(&secret_text(stack, &config.app_secret_id).await).unwrap();
    app["inspector"] = json!(user_id);
    let secrets = aws::secrets_manager(&config.aws, &http());
    let put = secrets.put_secret_value().secret_id(&config.app_secret_id).secret_string(app.to_string());
    put.send().await.unwrap();
}

fn days(durations: &[Duration]) -> String {
    let mut days: Vec<u64> = durations.iter().map(|after| after.as_secs() / DAY.as_secs()).collect();
    days.sort_unstable();
    days.iter().map(u64::to_string).collect::<Vec<_>>().join(" ")
}

/// Nothing that is ours to keep is lost, nobody is called dead who is not, and every end is
/// announced: that of data access within a day, and that of an account at the latest when its token
/// is looked at.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_year_of_an_unkind_meta_loses_no_account() {
    let folder = tempfile::tempdir().unwrap();
    let mut year = Year::begin(folder.path()).await;
    let end = year.start + YEAR;
    let mut plan = plan().into_iter().peekable();
    while year.now() < end {
        while let Some((_, what)) = plan.next_if(|(hours, _)| year.at(*hours) <= year.now()) {
            year.happens(what).await;
        }
        let planned = plan.peek().map_or(end, |(hours, _)| year.at(*hours));
        let next = year.next_sweep().await.min(planned).min(end);
        year.stack.clock().advance(next.duration_since(year.now()).unsigned_abs());
        if !(year.at(STANDSTILL.0)..year.at(STANDSTILL.1)).contains(&next) {
            year.sweep().await;
        }
    }
    let lost = year.lost().await;
    let late: Vec<_> = year
        .access_ends
        .iter()
        .filter(|(person, end)| year.announced_after(*person, *end).is_none_or(|after| after > DAY))
        .collect();
    let delays = |wanted: fn(&Happens) -> bool| {
        let ends = year.ends.iter().filter(move |(_, _, what)| wanted(what));
        ends.map(|(person, at, _)| year.announced_after(*person, *at)).collect::<Vec<_>>()
    };
    let passwords = delays(|what| matches!(what, Happens::ChangesPassword(_)));
    let removals = delays(|what| matches!(what, Happens::RemovesApp(_)));
    let unheard = [&passwords, &removals].into_iter().flatten().filter(|after| after.is_none()).count();
    let told = |delays: &[Option<Duration>]| days(&delays.iter().copied().flatten().collect::<Vec<_>>());
    let unwarned = STALLED.filter(|person| !year.warned.contains(&year.people[*person])).count();
    println!(
        "a year: {PEOPLE} accounts, {} sweeps, {} calls of Meta's, {} refreshes, {} inspections",
        year.sweeps,
        calls(&year.stack),
        calls_of(&year.stack, SandboxCall::Refresh),
        calls_of(&year.stack, SandboxCall::DebugToken),
    );
    println!("a year: password changes that nobody told, heard of after days: {}", told(&passwords));
    println!("a year: removals that nobody told, heard of after days: {}", told(&removals));
    println!(
        "a year: {} tokens lost {lost:?}, {} false deaths, {} of {} ends of data access late {late:?}, {unheard} of {} \
         ends unheard, {unwarned} of {} without extension unwarned",
        lost.len(),
        year.false_deaths.len(),
        late.len(),
        year.access_ends.len(),
        year.ends.len(),
        STALLED.len(),
    );
    if let Some(first) = year.false_deaths.first() {
        println!("a year: the first false death: {first}");
    }
    assert_eq!((lost.len(), year.false_deaths.len(), late.len(), unheard, unwarned), (0, 0, 0, 0, 0));
}
