//! The model that stateright explores: the steps that are possible in a state, and the rules.

use std::sync::Arc;

use stateright::{Model, Property};
use threads_auth_model::{Attribute as A, Cause, Row, Suspicion, Transaction, rules};
use threads_graph::ReauthorizationCause;

use crate::check::{Check, Scenario, Start};
use crate::judge;
use crate::meta::{DAY, Meta};
use crate::steps::{Event, Stepper, new_grant};
use crate::tables::{Outcome, alone, commit};
use crate::world::{Job, Step, Worker, World, at, grant_key, read, sealed};

/// A step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// The clock advances.
    Tick,
    /// A worker makes its next step.
    Step(usize, Event),
    /// A worker is killed.
    Crash(usize),
    /// A token that was replaced dies.
    Dies(usize),
}

impl Check {
    /// Returns the transaction of an action that writes.
    #[must_use]
    pub fn written(&self, world: &World, action: Action) -> Option<Transaction> {
        match action {
            Action::Step(worker, _) => match &world.workers[worker].step {
                Step::Write(write) => Some(self.mutated(&write.transaction)),
                _ => None,
            },
            _ => None,
        }
    }

    fn events(&self, world: &World, worker: usize, events: &mut Vec<Event>) {
        let Worker { job, step, .. } = &world.workers[worker];
        let left = world.left;
        events.push(Event::Success);
        match step {
            Step::Write(_) if left.losses > 0 => events.push(Event::ResponseLost),
            Step::Work(..) => {
                if left.troubles > 0 {
                    events.push(Event::NoResponse);
                }
                if left.losses > 0 && *job != Job::Doubt {
                    events.push(Event::ResponseLost);
                }
            }
            Step::Ended(_) | Step::Refused(_) if left.troubles > 0 => events.push(Event::NoResponse),
            Step::Verdict(..) if self.scenario.waves => events.push(Event::HeldBack),
            _ => {}
        }
    }
}

impl Model for Check {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        let Scenario { start, behaviour, workers, repeats, left, .. } = &self.scenario;
        let meta = Meta {
            behaviour: *behaviour,
            events: 0,
            tokens: Vec::new(),
            consents: Vec::new(),
            ends: Vec::new(),
            is_checked: false,
        };
        let workers = workers.iter().map(|(job, skew)| Worker {
            job: *job,
            skew: *skew,
            repeats: if matches!(job, Job::Deauthorize | Job::Delete) { *repeats } else { 0 },
            step: Step::Ready,
            leased_until: None,
            began_at: 0,
        });
        let mut world = World {
            tick: 0,
            meta,
            rows: Arc::default(),
            workers: workers.collect(),
            left: *left,
            is_overtaken: false,
            broken: Vec::new(),
        };
        if *start != Start::Empty {
            let consent = world.meta.consent(0, 0, 1);
            world.meta.consents[consent].returned_at = Some(2);
            world.meta.events = 0;
            let token = world.meta.issue(consent, None, 2);
            let grant = new_grant("0/first", token, at(2), Some(at(0)));
            commit(&alone(rules::connect(&grant, None, at(2))), &mut world.rows);
        }
        if matches!(start, Start::Appealable | Start::Suspected)
            && let Some(grant) = world.row().and_then(read)
            && let Some(live) = grant.live()
        {
            let now = at(45 * DAY);
            let lease = rules::Lease { owner: "before", until: now };
            let leased = rules::lease(&grant_key(), rules::LeaseReason::Due, lease, now);
            let judged = if *start == Start::Appealable {
                let cause = Cause::Threads(ReauthorizationCause::Checkpoint);
                rules::end(&grant, live, lease, cause, now)
            } else {
                let reason = ReauthorizationCause::PasswordChanged;
                world.meta.refuse(reason);
                let suspicion = Suspicion { cause: Cause::Threads(reason), since: now };
                rules::suspect(&grant, live, suspicion, now, rules::Right::Done(lease), now)
            };
            for change in [leased, judged] {
                commit(&alone(change), &mut world.rows);
            }
        }
        vec![world]
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        if !world.broken.is_empty() {
            return;
        }
        if world.tick + 1 < self.scenario.instants.len() {
            actions.push(Action::Tick);
        }
        let mut events = Vec::new();
        for (n, worker) in world.workers.iter().enumerate() {
            match worker.step {
                Step::Done | Step::Crashed => continue,
                Step::Ready if worker.job == Job::Sweep && !self.is_due(world, worker) => continue,
                Step::Ready if worker.job == Job::FinishDeletion && !is_unfinished(world) => continue,
                _ => {}
            }
            events.clear();
            self.events(world, n, &mut events);
            actions.extend(events.iter().map(|event| Action::Step(n, *event)));
            let is_ours =
                !matches!(worker.step, Step::Ready | Step::Away | Step::Back(_) | Step::Notified(_));
            if world.left.crashes > 0 && is_ours {
                actions.push(Action::Crash(n));
            }
        }
        for (n, token) in world.meta.tokens.iter().enumerate() {
            if token.is_replaced && token.refused.is_none() {
                actions.push(Action::Dies(n));
            }
        }
    }

    fn next_state(&self, last: &World, action: Action) -> Option<World> {
        let mut world = last.clone();
        match action {
            Action::Tick => world.tick += 1,
            Action::Step(worker, event) => {
                match event {
                    Event::ResponseLost => world.left.losses -= 1,
                    Event::NoResponse => world.left.troubles -= 1,
                    Event::Success | Event::HeldBack => {}
                }
                Stepper { check: self, world: &mut world, worker, event }.step();
                // A write that neither changes anything nor gets a response is left out.
                if event == Event::ResponseLost && world.rows == last.rows && world.meta == last.meta {
                    return None;
                }
            }
            Action::Crash(n) => {
                world.left.crashes -= 1;
                let worker = &mut world.workers[n];
                if let Step::Write(write) = &worker.step
                    && let Some(token) = write.token
                {
                    world.meta.tokens[token].is_lost = true;
                }
                worker.leased_until = None;
                worker.step = Step::Crashed;
            }
            Action::Dies(token) => {
                world.meta.tokens[token].refused = Some(ReauthorizationCause::Invalid);
            }
        }
        judge::state(self, &mut world);
        Some(world)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        macro_rules! always {
            ($($rule:ident),+) => {
                vec![$(Property::always(judge::$rule, |_, world: &World| !world.broken.contains(&judge::$rule))),+]
            };
        }
        let mut properties = judge::with_rules!(always);
        properties.push(Property::sometimes(judge::LOST, judge::is_lost));
        properties
    }
}

impl Check {
    /// Describes a path through the model, step by step.
    #[must_use]
    pub fn describe(&self, path: Vec<(World, Option<Action>)>) -> Vec<String> {
        let mut lines = Vec::new();
        for (world, action) in path {
            lines.push(format!("  {}", short(world.row())));
            let Some(action) = action else { break };
            lines.push(match action {
                Action::Tick => "the clock advances".to_owned(),
                Action::Crash(worker) => format!("{} is killed", self.name(worker)),
                Action::Dies(token) => format!("token {token} dies"),
                Action::Step(worker, event) => {
                    let name = self.name(worker);
                    let written = self.written(&world, action).map(|transaction| {
                        let outcome = commit(&transaction, &mut world.rows.clone());
                        let refused = if outcome == Outcome::Done { "" } else { " (refused)" };
                        format!("{}{refused}", transaction.operation)
                    });
                    let step = written.unwrap_or_else(|| match &world.workers[worker].step {
                        Step::Ready => "begins".to_owned(),
                        Step::Read(_) => "has read the row".to_owned(),
                        Step::Work(..) => "works on the row that it has leased".to_owned(),
                        Step::Verdict(..) => "decides on a verdict".to_owned(),
                        Step::Trial(_) => "tries the new token".to_owned(),
                        Step::Away => "consents at Meta".to_owned(),
                        Step::Back(_) => "returns, and Meta issues a token".to_owned(),
                        Step::Ended(_) | Step::Refused(_) => {
                            "calls Meta to find out which is newer".to_owned()
                        }
                        Step::Notified(_) => "is delivered".to_owned(),
                        Step::Write(_) | Step::Done | Step::Crashed => String::new(),
                    });
                    let event = match event {
                        Event::Success => "",
                        Event::ResponseLost => "; the response is lost",
                        Event::NoResponse => "; Meta does not respond",
                        Event::HeldBack => "; too many verdicts at once",
                    };
                    format!("{name}: {step}{event}")
                }
            });
        }
        lines
    }

    fn name(&self, worker: usize) -> String {
        format!("{:?} {worker}", self.scenario.workers[worker].0).to_lowercase()
    }
}

/// Returns true if a deletion is unfinished.
fn is_unfinished(world: &World) -> bool {
    world.rows.values().any(|row| row.get(A::Unfinished).is_some())
}

impl Check {
    fn is_due(&self, world: &World, worker: &Worker) -> bool {
        let due_at = world.row().and_then(|row| row.time(A::DueAt));
        due_at.is_some_and(|due| due <= at(self.now(world) + worker.skew))
    }
}

/// Describes a row in short.
#[must_use]
pub fn short(row: Option<&Row>) -> String {
    let Some(row) = row else { return "no row".to_owned() };
    let text = |attribute| row.text(attribute).unwrap_or("-").to_owned();
    let day = |attribute| row.time(attribute).map_or("-".to_owned(), |time| time.as_second().to_string());
    let token = sealed(row, A::Token).map_or("-".to_owned(), |token| token.to_string());
    let pending = if row.get(A::PendingToken).is_some() { ", a consent waits" } else { "" };
    format!(
        "{}, token {token}, due {}, leased by {}{pending}",
        text(A::Status),
        day(A::DueAt),
        text(A::LeaseOwner)
    )
}
