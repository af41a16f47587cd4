//! The year itself: the clock, the sweeps, the people, and the reader of the events.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fs::File;
use std::io::{BufRead, BufReader, Seek};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use devstack::{Clock, Inspection, Stack, StackOptions};
use futures_util::stream::{self, StreamExt, TryStreamExt};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use threads_auth::{Config, DEFAULT_MIN_VALID, Import, ThreadsAuth, VendError, error_chain};
use threads_auth_model::schedule::Life;
use threads_auth_model::seal::Purpose;
use threads_auth_model::{Grant, State, Status};
use threads_auth_store::{DUE_INDEX, aws};
use threads_graph::{AccessToken, Graph, HttpClient, HttpTimeouts};
use threads_sandbox::{AccountStatus, BadHours, NewAccount, Sandbox};

use crate::chance::Chance;
use crate::fault::Upstream;
use crate::plan::{DAY, Damage, Extent, HOUR, Happens, MINUTE, Plan, Trouble};
use crate::proxy::{Delay, Kill, Loss, Proxy, hash};
use crate::report::Report;
use crate::{person_of, user_id, user_text};

/// Start of the year, far ahead of the machine's clock.
const START: &str = "2041-01-01T00:00:00Z";
/// A sweep's time on Lambda.
const BUDGET: Duration = Duration::from_mins(15);
/// The template's schedule.
const SCHEDULE: i64 = 15 * MINUTE;
/// `REQUEST_SECONDS`: long, because a busy machine is not an outage. The pauses of a sweep whose
/// store fails grow with it.
const PATIENT: &str = "120";
/// `REQUEST_SECONDS` with which a sweep that cannot write gives up within seconds.
const IMPATIENT: &str = "9";
const IMPATIENT_BUDGET: Duration = Duration::from_millis(7_500);
/// Kills among a million sweeps, each before one of so many calls.
const KILLS: u64 = 10_000;
const KILLED_WITHIN: u64 = 200;
/// Lambda invokes a failed function twice more.
const TRIES: usize = 3;
/// The events file is emptied beyond this size.
const LONGEST_FILE: u64 = 64 * 1024 * 1024;
/// Requests beside each other while people connect and are looked at.
const AT_ONCE: usize = 16;
/// The end of the access to a private profile's data.
const DATA_ACCESS: &str = "data access";
/// One request a day for so many people, and at least two.
const VENDED_OF: usize = 1_000;
/// A sweep of so many people refreshes one at least, and no less than a few, so that the load after
/// an outage is that of a large fleet.
const LEAST_OF: u64 = 400;
const FEW: u64 = 25;
/// A crash comes before one of so many writes of new tokens.
const KILLED_STORES: u64 = 24;

/// The size of a year.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// The seed, from which everything follows.
    pub seed: u64,
    /// The number of people.
    pub people: usize,
    /// The contents.
    pub extent: Extent,
    /// Hours between two sweeps, if nothing has just gone wrong. With one hour every sweep is made.
    /// With more, those are left out that would find nothing due.
    pub every: i64,
}

/// The known state of one person's account.
#[derive(Clone, Default)]
struct Person {
    /// The end that is not announced yet, and its time.
    ended: Option<(i64, &'static str)>,
    /// The loss that has ended the account without the person's doing, and its time.
    lost: Option<(i64, &'static str)>,
    /// The cause that was announced.
    dead: Option<String>,
    is_connected: bool,
    /// An event of its connect is still to come.
    is_expected: bool,
    refreshed: u32,
    comes_back: Option<i64>,
    /// A warning of its token's end was given.
    is_warned: bool,
    damaged: Option<(Damage, Option<AttributeValue>)>,
}

impl Person {
    /// Returns true if an end should be announced soon.
    fn waits(&self, now: i64) -> bool {
        let is_over = self.ended.is_some_and(|(at, end)| end == DATA_ACCESS && at <= now);
        self.dead.is_none() && (self.lost.is_some() || is_over)
    }
}

struct Year {
    settings: Settings,
    stack: Stack,
    sandbox: Sandbox,
    start: Timestamp,
    chance: Chance,
    plan: Arc<Plan>,
    proxy: Proxy,
    variables: HashMap<String, String>,
    service: ThreadsAuth,
    impatient: ThreadsAuth,
    dynamodb: aws_sdk_dynamodb::Client,
    people: Vec<Person>,
    events: BufReader<File>,
    heard: HashSet<u64>,
    inspection: Inspection,
    kill: Option<Kill>,
    stops: BTreeSet<i64>,
    coming: BTreeSet<(i64, usize)>,
    report: Report,
}

/// Makes a year.
///
/// # Errors
/// Returns an error if the stack itself fails. The product's faults are in the report.
pub async fn run(settings: Settings) -> Result<Report> {
    let folder = tempfile::tempdir()?;
    let mut year = Year::begin(settings, &folder.path().join("events.jsonl")).await?;
    let plan = Arc::clone(&year.plan);
    let mut happens = plan.happens.iter().copied().peekable();
    while year.now() < plan.end {
        let now = year.now();
        while let Some((_, what)) = happens.next_if(|(at, _)| *at <= now) {
            year.happens(what).await.with_context(|| format!("{what:?} at {now}"))?;
        }
        year.connect().await?;
        if year.is_sweep_due().await? {
            year.sweep().await?;
        }
        year.requests().await?;
        year.hear().await?;
        let planned = happens.peek().map_or(plan.end, |(at, _)| *at);
        let next = year.next(planned).await?.min(plan.end);
        year.go_to(next);
    }
    year.end().await
}

impl Year {
    async fn begin(settings: Settings, file: &std::path::Path) -> Result<Self> {
        let chance = Chance::new(settings.seed);
        let plan = Arc::new(Plan::new(chance, settings.people, settings.extent, settings.every));
        let start: Timestamp = START.parse()?;
        let stack = Stack::start(StackOptions {
            clock: Some(Clock::frozen(start)),
            events_file: Some(file.to_owned()),
            variables: [("REQUEST_SECONDS".to_owned(), PATIENT.to_owned())].into(),
            ..StackOptions::default()
        })
        .await?;
        let sandbox = stack.sandbox().context("a stack with a sandbox")?.clone();
        for person in 0..settings.people {
            sandbox.add_account(NewAccount {
                username: format!("person{person}"),
                user_id: Some(user_text(person)),
                private: plan.private[person],
                tester: person == 0,
            });
        }
        let at = |seconds| start + SignedDuration::from_secs(seconds);
        let mut stops = BTreeSet::new();
        for window in &plan.windows {
            if let Trouble::Threads(answer) = window.trouble {
                sandbox.add_bad_hours(BadHours { from: at(window.from), until: at(window.until), answer });
            }
            stops.extend([window.from, window.until]);
            match window.trouble {
                // The last good read is just before.
                Trouble::Secrets(_) => {
                    stops.insert(window.from - 10 * MINUTE);
                    stops.extend([5, 20, 35].map(|minutes| window.from + minutes * MINUTE));
                }
                Trouble::WritesDown => stops
                    .extend((0..window.until - window.from).step_by(1_200).map(|s| window.from + s).take(3)),
                _ => {}
            }
        }
        let proxy = Proxy::new(&stack, chance, Arc::clone(&plan), settings.people);
        let urls = stack.urls();
        let mut variables = stack.variables().clone();
        for (variable, upstream, url) in [
            ("AWS_ENDPOINT_URL_DYNAMODB", Upstream::DynamoDb, &urls.dynamodb_url),
            ("AWS_ENDPOINT_URL_SECRETS_MANAGER", Upstream::SecretsManager, &urls.secrets_manager_url),
            ("THREADS_GRAPH_URL", Upstream::Threads, &urls.threads_url),
        ] {
            variables.insert(variable.to_owned(), proxy.open(upstream, url).await?);
        }
        appoint_inspector(&stack, &user_text(0)).await?;
        let dynamodb = aws::dynamodb(&stack.service().config().aws, &http()?);
        Ok(Self {
            settings,
            sandbox,
            start,
            chance,
            proxy,
            service: service(&variables, settings.people, PATIENT)?,
            impatient: service(&variables, settings.people, IMPATIENT)?,
            variables,
            dynamodb,
            people: vec![Person::default(); settings.people],
            events: BufReader::new(File::options().read(true).write(true).open(file)?),
            heard: HashSet::new(),
            inspection: Inspection::default(),
            kill: None,
            stops,
            coming: BTreeSet::new(),
            report: Report {
                seed: settings.seed,
                people: settings.people,
                half_failures: plan.windows.iter().filter(|w| w.trouble == Trouble::WritesDown).count()
                    as u64,
                ..Report::default()
            },
            plan,
            stack,
        })
    }

    fn now(&self) -> i64 {
        self.proxy.now()
    }

    fn go_to(&self, at: i64) {
        let seconds = u64::try_from(at - self.now()).unwrap_or(0);
        self.stack.clock().advance(Duration::from_secs(seconds));
    }

    /// Returns the time of the next sweep or event.
    async fn next(&self, planned: i64) -> Result<i64> {
        let now = self.now();
        let stop = self.stops.range(now + 1..).next().copied().unwrap_or(i64::MAX);
        // Those who could not connect try again an hour later.
        let coming = self.coming.first().map_or(i64::MAX, |(at, _)| (*at).max(now + HOUR));
        let known = stop.min(coming).min(planned.max(now + 1)).max(now + 1);
        let after = |at: i64, step: i64| (at / step + 1) * step;
        let every = self.settings.every * HOUR;
        if self.plan.is_outage(now) {
            return Ok(known.min(after(now, every)));
        }
        let is_all_seen = self.settings.every == 1;
        let due = if is_all_seen {
            let left = self.stack.service().count_due(self.stack.clock().now()).await?;
            if left > 0 { now } else { now + 1 }
        } else {
            self.next_due().await?
        };
        // The next sweep of the template's schedule goes on with the rest of this one.
        if due <= now {
            return Ok(known.min(after(now, SCHEDULE)));
        }
        if is_all_seen {
            return Ok(known.min(after(now, HOUR)));
        }
        let every = if self.people.iter().any(|known| known.waits(now)) { HOUR } else { every };
        Ok(known.min(after(due, every)))
    }

    /// Returns true if the schedule starts a sweep now that is worth the time.
    async fn is_sweep_due(&self) -> Result<bool> {
        let now = self.now();
        if self.plan.trouble(now).any(|trouble| trouble == Trouble::SchedulerDown) {
            return Ok(false);
        }
        Ok(self.settings.every == 1 || self.stops.contains(&now) || self.next_due().await? <= now)
    }

    /// Returns when the first of all accounts is due.
    async fn next_due(&self) -> Result<i64> {
        let scan = self.dynamodb.scan().table_name(&self.stack.urls().grants_table);
        let scan = scan.index_name(DUE_INDEX).projection_expression("due_at");
        let due: Vec<_> = scan.into_paginator().items().send().collect::<Result<_, _>>().await?;
        let due = due.iter().filter_map(|row| row.get("due_at")?.as_n().ok()?.parse::<i64>().ok());
        Ok(due.min().map_or(i64::MAX / 2, |due| due - self.start.as_second()))
    }

    async fn happens(&mut self, what: Happens) -> Result<()> {
        let now = self.now();
        let sandbox = self.sandbox.clone();
        let mut ends = |person: usize, end: &'static str| {
            self.people[person].ended = Some((now, end));
            user_text(person)
        };
        match what {
            Happens::Connects(person) => _ = self.coming.insert((now, person)),
            Happens::ChangesPassword(person) => _ = sandbox.change_password(&ends(person, "password")),
            Happens::RemovesApp(person) => _ = sandbox.revoke(&ends(person, "removal")),
            Happens::IsCheckpointed(person) => _ = sandbox.checkpoint(&ends(person, "checkpoint")),
            Happens::IsRestricted(person) => _ = sandbox.restrict(&ends(person, "restriction")),
            Happens::IsRestored(person) => {
                self.people[person].ended = None;
                self.proxy.holds(person, now);
                sandbox.restore(&user_text(person));
            }
            Happens::StopsExtending(person) => {
                self.proxy.holds(person, i64::MAX);
                sandbox.set_extends(&user_text(person), false);
            }
            Happens::ExtendsAgain(person) => {
                self.proxy.holds(person, now);
                sandbox.set_extends(&user_text(person), true);
            }
            Happens::Poisons(person, damage) => self.damage(person, damage).await?,
            Happens::Repairs(person) => self.repair(person).await?,
            Happens::TreatsOldTokens(behaviour) => {
                sandbox.set_old_token_behaviour(behaviour);
                self.proxy.treat_old_tokens(behaviour);
            }
            Happens::Inspects(inspection) => {
                sandbox.set_inspection(inspection);
                self.inspection = inspection;
            }
            Happens::Reports(shape) => sandbox.set_expires_in(shape),
            Happens::KillsSweep => {
                let nth = self.chance.below(KILLED_STORES, "nth", now.unsigned_abs(), 0);
                self.kill = Some(Kill::AtStore(nth.min(self.people.len() as u64 / 100)));
            }
            Happens::KillsVends(count) => {
                for person in self.proxy.of_age(31..40, count) {
                    self.kill_vend(person).await?;
                }
            }
        }
        Ok(())
    }

    /// Connects the people who have arrived. They bring their tokens along, as from another tool.
    async fn connect(&mut self) -> Result<()> {
        let now = self.now();
        // Nobody connects while Meta answers nothing.
        if self.plan.trouble(now).any(|trouble| matches!(trouble, Trouble::Threads(_) | Trouble::ThreadsGone))
        {
            return Ok(());
        }
        let later = self.coming.split_off(&(now + 1, 0));
        let people = std::mem::replace(&mut self.coming, later);
        let (service, sandbox) = (self.stack.service(), &self.sandbox);
        // Meta does not say whose the token of a restricted account is.
        let is_restricted = |person| {
            let account = sandbox.account(&user_text(person));
            account.is_some_and(|account| account.status == AccountStatus::Restricted)
        };
        let (restricted, people): (Vec<_>, Vec<_>) =
            people.into_iter().partition(|(_, person)| is_restricted(*person));
        self.coming.extend(restricted);
        let at = self.stack.clock().now();
        let connected: Vec<(usize, String, Life)> = stream::iter(people)
            .map(|(_, person)| async move {
                let token = sandbox.issue_long_lived(&user_text(person));
                let brought = AccessToken::new(token.as_str())?;
                let imported = service.import(Import::of(&brought), at).await?;
                ensure!(imported.is_new, "person {person} could not connect");
                let grant = service.find_grant(&imported.user_id).await?.context("a grant")?;
                Ok((person, token, grant.live().map(Life::of).context("a token")?))
            })
            .buffer_unordered(AT_ONCE)
            .try_collect()
            .await?;
        for (person, token, life) in connected {
            self.proxy.connected(person, &token, life);
            let known = &mut self.people[person];
            *known = Person {
                is_connected: true,
                is_expected: true,
                ended: self.plan.private[person].then_some((now + 90 * DAY, DATA_ACCESS)),
                refreshed: known.refreshed,
                ..Person::default()
            };
        }
        Ok(())
    }

    async fn damage(&mut self, person: usize, damage: Damage) -> Result<()> {
        let key = AttributeValue::S(format!("user#{}", user_text(person)));
        let table = &self.stack.urls().grants_table;
        let row = self.dynamodb.get_item().table_name(table).key("pk", key.clone()).send().await?.item;
        let row = row.unwrap_or_default();
        // Only a row with a token has something to lose.
        if !row.contains_key("token") || self.people[person].lost.is_some() {
            return Ok(());
        }
        let (attribute, value) = damaged(damage);
        let update = self.dynamodb.update_item().table_name(table).key("pk", key);
        let update = update.update_expression("SET #a = :v").expression_attribute_names("#a", attribute);
        update.expression_attribute_values(":v", value).send().await?;
        self.people[person].damaged = Some((damage, row.get(attribute).cloned()));
        Ok(())
    }

    async fn repair(&mut self, person: usize) -> Result<()> {
        let Some((damage, before)) = self.people[person].damaged.take() else { return Ok(()) };
        self.proxy.repaired(person);
        let (attribute, value) = damaged(damage);
        let key = AttributeValue::S(format!("user#{}", user_text(person)));
        let update = self.dynamodb.update_item().table_name(&self.stack.urls().grants_table).key("pk", key);
        let update = update.expression_attribute_names("#a", attribute).condition_expression("#a = :damaged");
        let update = update.expression_attribute_values(":damaged", value);
        let update = match before {
            Some(before) => update.update_expression("SET #a = :v").expression_attribute_values(":v", before),
            None => update.update_expression("REMOVE #a"),
        };
        let repaired = update.send().await;
        // A writer may have replaced what was damaged.
        match repaired.map_err(aws_sdk_dynamodb::Error::from) {
            Ok(_) | Err(aws_sdk_dynamodb::Error::ConditionalCheckFailedException(_)) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    async fn sweep(&mut self) -> Result<()> {
        let now = self.now();
        let is_half_down = self.plan.trouble(now).any(|trouble| trouble == Trouble::WritesDown);
        // A new process would have no value of the secrets.
        let may_die = !self.plan.are_secrets_down(now);
        for attempt in 1..=TRIES {
            self.report.sweeps += 1;
            let sweeps = self.report.sweeps;
            let kill = self.kill.take().or_else(|| {
                let kill = may_die && self.chance.hits(KILLS, "kill", sweeps, 0);
                kill.then(|| Kill::AtCall(self.chance.below(KILLED_WITHIN, "kill", sweeps, 1)))
            });
            self.proxy.arm(kill);
            let (service, budget) =
                if is_half_down { (&self.impatient, IMPATIENT_BUDGET) } else { (&self.service, BUDGET) };
            let at = self.stack.clock().now();
            let swept = tokio::select! {
                swept = refresh::handle(service, json!({}), at, budget) => Some(swept),
                () = self.proxy.killed() => None,
            };
            self.settle(swept.is_none()).await;
            match swept {
                None => {
                    self.report.kills += 1;
                    return self.restart();
                }
                Some(Ok(_)) => {
                    // It was not its turn yet.
                    self.kill = kill.filter(|kill| matches!(kill, Kill::AtStore(_)));
                    return Ok(());
                }
                Some(Err(error)) if attempt == TRIES && !self.plan.is_outage(now) => {
                    let why = format!("day {:.2}: {}", days(now), error_chain(&error));
                    self.report.failed_sweeps.push(why);
                }
                Some(Err(_)) => self.go_to(self.now() + MINUTE),
            }
        }
        Ok(())
    }

    /// Waits for the calls in flight, and records the lost tokens.
    async fn settle(&mut self, was_killed: bool) {
        self.proxy.quiet().await;
        self.proxy.arm(None);
        let now = self.now();
        let losses = self.proxy.losses(was_killed);
        let killed = losses.iter().filter(|(_, loss)| *loss == Loss::Killed).count() as u64;
        self.report.most_killed = self.report.most_killed.max(killed);
        // There a call that takes too long on a busy machine is given up, too.
        let is_half_down = self.plan.trouble(now).any(|trouble| trouble == Trouble::WritesDown);
        for (person, loss) in losses {
            let loss = if is_half_down && loss == Loss::Dropped { Loss::Refused } else { loss };
            if loss == Loss::Dropped {
                self.report.dropped.push(format!("person {person} on day {:.2}", days(now)));
            }
            *self.report.losses.entry(loss).or_default() += 1;
            self.people[person].lost.get_or_insert((now, name(loss, self.inspection)));
        }
    }

    async fn kill_vend(&mut self, person: usize) -> Result<()> {
        if !self.is_in_use(person) {
            return Ok(());
        }
        let user_id = user_id(person).context("a user id")?;
        self.proxy.arm(Some(Kill::AtStore(0)));
        let min_valid = SignedDuration::from_hours(30 * 24);
        let at = self.stack.clock().now();
        let was_killed = tokio::select! {
            _ = self.service.vend(&user_id, min_valid, None, at) => false,
            () = self.proxy.killed() => true,
        };
        self.report.vends += 1;
        self.settle(was_killed).await;
        if was_killed {
            self.report.kills += 1;
            self.restart()?;
        }
        Ok(())
    }

    /// Restarts the service after its process was killed.
    fn restart(&mut self) -> Result<()> {
        self.service = service(&self.variables, self.settings.people, PATIENT)?;
        Ok(())
    }

    /// Returns true if a person's token can be used.
    fn is_in_use(&self, person: usize) -> bool {
        let known = &self.people[person];
        let is_free = known.lost.is_none() && known.dead.is_none() && known.damaged.is_none();
        known.is_connected && is_free && self.is_well(person)
    }

    /// Returns true if Threads accepts this account's token.
    fn is_well(&self, person: usize) -> bool {
        let Some(account) = self.sandbox.account(&user_text(person)) else { return false };
        let now = self.stack.clock().now();
        let has_access = account.data_access_expires_at.is_some_and(|end| end > now);
        account.status == AccountStatus::Active && (has_access || !account.private)
    }

    /// Requests the tokens of some people.
    async fn requests(&mut self) -> Result<()> {
        let now = self.now();
        if self.plan.is_outage(now) || !(self.plan.are_secrets_down(now) || now % DAY == 0) {
            return Ok(());
        }
        let count = (self.people.len() / VENDED_OF).max(2);
        for n in 0..count {
            let person = self.chance.below(self.people.len() as u64, "vend", now.unsigned_abs(), n as u64);
            let person = usize::try_from(person)?;
            if !self.is_in_use(person) {
                continue;
            }
            let user_id = user_id(person).context("a user id")?;
            let mut failed = None;
            for _ in 0..TRIES {
                self.report.vends += 1;
                let min_valid = SignedDuration::from_secs(DEFAULT_MIN_VALID.into());
                let at = self.stack.clock().now();
                let vended = self.service.vend(&user_id, min_valid, None, at).await;
                self.settle(false).await;
                failed = vended.err().filter(|refusal| {
                    matches!(
                        refusal.error,
                        VendError::Secrets(_) | VendError::Store(_) | VendError::Sealed(_)
                    )
                });
                if failed.is_none() {
                    break;
                }
                self.go_to(self.now() + MINUTE);
            }
            if let Some(refusal) = failed {
                self.report.failed_vends.push(format!(
                    "day {:.2}: {}",
                    days(now),
                    error_chain(&refusal.error)
                ));
            }
        }
        Ok(())
    }

    /// Reads the events since the last time.
    async fn hear(&mut self) -> Result<()> {
        let near = self.proxy.take_near();
        let unwarned = near.into_iter().filter(|person| !self.people[*person].is_warned);
        self.report.unwarned.extend(unwarned);
        self.stack.announce().await?;
        let mut line = String::new();
        while self.events.read_line(&mut line)? > 0 {
            let mut event: Value = serde_json::from_str(&line)?;
            self.take(&event["detail"].take())?;
            line.clear();
        }
        if self.events.stream_position()? > LONGEST_FILE {
            // The writer appends, and so goes on at the beginning.
            self.events.get_ref().set_len(0)?;
            self.events.rewind()?;
        }
        Ok(())
    }

    fn take(&mut self, event: &Value) -> Result<()> {
        let text = |name: &str| event[name].as_str().unwrap_or_default();
        if !self.heard.insert(hash(text("id"))) {
            self.report.repeated_events += 1;
            return Ok(());
        }
        let Some(person) = person_of(text("user_id")) else { return Ok(()) };
        let now = self.now();
        match text("type") {
            "account.refreshed" => {
                let known = &mut self.people[person];
                known.refreshed += 1;
                // The previous token may still have worked, which is as good.
                known.lost = None;
                // A token that was not extended is announced once, and so is the end of the access
                // to a private profile, which a refresh does not move.
                known.is_warned &= self.proxy.ends_soon(person) || self.plan.private[person];
            }
            // The access to a private profile's data may end before the token.
            "account.expiring_soon" if event["deadline"] == "token" || self.plan.private[person] => {
                self.people[person].is_warned = true;
            }
            "account.connected" | "account.recovered" => {
                let known = &mut self.people[person];
                (known.is_expected, known.dead) = (false, None);
            }
            "account.needs_reauthorization" | "account.disconnected" => {
                let at: Timestamp = text("time").parse()?;
                let at = at.as_second() - self.start.as_second();
                self.hear_of_end(person, at, text("cause"), event);
                let status = self.sandbox.account(&user_text(person)).map(|account| account.status);
                let waits = matches!(
                    status,
                    Some(AccountStatus::Checkpoint | AccountStatus::Restricted | AccountStatus::Unconfirmed)
                );
                if !waits && self.people[person].comes_back.is_none() {
                    let hours = self.chance.below(72, "back", person as u64, now.unsigned_abs());
                    let at = (now / HOUR + 1 + hours.cast_signed()) * HOUR;
                    self.people[person].comes_back = Some(at);
                    self.coming.insert((at, person));
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn hear_of_end(&mut self, person: usize, at: i64, cause: &str, event: &Value) {
        let is_well = self.is_well(person);
        let known = &mut self.people[person];
        if known.dead.as_deref() == Some(cause) {
            self.report.repeated_events += 1;
            return;
        }
        known.dead = Some(cause.to_owned());
        let ended = known.ended.take_if(|(since, _)| *since <= at);
        let lost = known.lost;
        // The first of several ends is the one that was announced.
        let first = [ended, lost].into_iter().flatten().min();
        match first {
            Some((since, end)) => {
                let has_witness = self.inspection != Inspection::Nobody || lost.is_none();
                let end = if has_witness { end } else { WITHOUT_WITNESS };
                let since = since.max(self.proxy.failed_until(person));
                self.report.announce(end, Delay { awake: self.plan.awake(since, at), person, at });
            }
            None if is_well && !self.proxy.is_over(person, at) => {
                self.report.false_deaths.push(format!("day {:.2}: {event}", days(at)));
            }
            None => {}
        }
    }

    async fn end(mut self) -> Result<Report> {
        self.proxy.quiet().await;
        let now = self.now();
        for (person, known) in self.people.iter().enumerate() {
            let ends = [known.ended, known.lost];
            for (since, end) in ends.into_iter().flatten() {
                if known.dead.is_none() && self.plan.awake(since, now) > Report::bound(end) {
                    let days = days(since);
                    self.report.unannounced.push(format!("{end} of person {person} on day {days:.2}"));
                }
            }
        }
        let stored = self.proxy.stored();
        let heard = self.people.iter().zip(&stored);
        self.report.missing_events = heard
            .map(|(known, stored)| {
                u64::from(known.refreshed.abs_diff(*stored)) + u64::from(known.is_expected)
            })
            .sum();
        self.report.refreshed = stored.iter().map(|stored| u64::from(*stored)).sum();
        self.report.traffic = self.proxy.traffic();
        self.report.lost = self.lost().await?;
        self.stack.stop().await;
        Ok(self.report)
    }

    /// Returns the people whose accounts work at Threads and not with us, for no known reason.
    async fn lost(&self) -> Result<Vec<usize>> {
        let stored = self.stack.service();
        let vault = stored.vault(self.stack.clock().now()).await?;
        let graph = Graph::new(http()?, stored.config().endpoints.clone());
        let grants = stored.store().all_grants().try_collect::<Vec<_>>().await?;
        let grants: HashMap<usize, Grant> = grants
            .into_iter()
            .flatten()
            .filter_map(|grant| Some((person_of(grant.user_id.as_str())?, grant)))
            .collect();
        let expected = (0..self.people.len()).filter(|person| {
            let known = &self.people[*person];
            let is_back = known.comes_back.is_none_or(|at| at > self.now()) && known.dead.is_some();
            known.is_connected
                && known.lost.is_none()
                && known.ended.is_none_or(|(at, _)| at > self.now())
                && self.is_well(*person)
                && !is_back
        });
        let lost = stream::iter(expected).map(|person| {
            let (graph, vault, grant) = (&graph, &vault, grants.get(&person));
            async move {
                let Some(grant) = grant.filter(|grant| grant.status() == Status::Active) else {
                    return Some(person);
                };
                let State::Active(live, _) = &grant.state else { return Some(person) };
                let token = vault.open(Purpose::AccessToken, &grant.user_id, &live.token);
                let Ok(token) = token else { return Some(person) };
                graph.me(&token).await.is_err().then_some(person)
            }
        });
        Ok(lost.buffer_unordered(AT_ONCE).filter_map(std::future::ready).collect().await)
    }
}

/// The loss of a token, while nobody may inspect what is left.
const WITHOUT_WITNESS: &str = "loss without a witness";

/// Returns the name of a loss. Without anybody who may inspect, there is no witness.
fn name(loss: Loss, inspection: Inspection) -> &'static str {
    match (loss, inspection) {
        (_, Inspection::Nobody) => WITHOUT_WITNESS,
        (Loss::AnswerLost, _) => "lost answer",
        (Loss::Killed, _) => "crash",
        (Loss::Refused, _) => "refused write",
        (Loss::Dropped, _) => "dropped token",
    }
}

fn damaged(damage: Damage) -> (&'static str, AttributeValue) {
    match damage {
        Damage::IssuedAt => ("issued_at", AttributeValue::S("7".to_owned())),
        Damage::Token => ("token", AttributeValue::B(Blob::new(b"\x01\x01knonsense".as_slice()))),
        Damage::Status => ("status", AttributeValue::S("unheard-of".to_owned())),
        Damage::LeaseUntil => ("lease_until", AttributeValue::S("soon".to_owned())),
    }
}

#[expect(clippy::cast_precision_loss, reason = "seconds of a year")]
fn days(seconds: i64) -> f64 {
    seconds as f64 / DAY as f64
}

/// Returns the service of a new process.
fn service(variables: &HashMap<String, String>, people: usize, request_seconds: &str) -> Result<ThreadsAuth> {
    let mut variables = variables.clone();
    variables.insert("REQUEST_SECONDS".to_owned(), request_seconds.to_owned());
    let mut config = Config::from_vars(&variables, None).map_err(|error| anyhow!("{error}"))?;
    config.sweep_least = (people as u64 / LEAST_OF).clamp(FEW, config.sweep_least);
    Ok(ThreadsAuth::new(config)?)
}

fn http() -> Result<HttpClient> {
    let long = Duration::from_mins(10);
    Ok(HttpClient::new(HttpTimeouts { connect: long, request: long })?)
}

/// Names the account whose token inspects the others'.
async fn appoint_inspector(stack: &Stack, user_id: &str) -> Result<()> {
    let config = stack.service().config();
    let secrets = aws::secrets_manager(&config.aws, &http()?);
    let secret = secrets.get_secret_value().secret_id(&config.app_secret_id).send().await?;
    let mut app: Value = serde_json::from_str(&secret.secret_string.context("a secret")?)?;
    app["inspector"] = json!(user_id);
    secrets.put_secret_value().secret_id(&config.app_secret_id).secret_string(app.to_string()).send().await?;
    Ok(())
}
