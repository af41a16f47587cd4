//! The rules in every configuration, and what becomes of them when a part of a write is taken out.
#![allow(clippy::print_stdout, reason = "the helpers of tests print as tests do")]

use std::collections::{BTreeMap, BTreeSet};

use model_check::check::Start;
use model_check::mutant::{Mutant, Without};
use model_check::{Check, Scenario, history, judge, scenarios};
use stateright::{Checker, HasDiscoveries, Model};
use threads_auth_model::Attribute as A;

/// What a rule may hang on, beside the conditions.
const REMOVED: [A; 6] = [A::LeaseOwner, A::LeaseUntil, A::Token, A::TokenId, A::PendingToken, A::DueAt];
const SET: [A; 9] = [
    A::LeaseOwner,
    A::LeaseUntil,
    A::TokenId,
    A::DueAt,
    A::ConnectedAt,
    A::BegunAt,
    A::DeletedAt,
    A::EndedAt,
    A::DisconnectedMs,
];

/// What can be taken out without a rule being broken, and why.
const SPARED: [(&str, &[&str]); 9] = [
    (
        "the name of the token, or the lease, says the same",
        &[
            "close an appeal, whatever grant_id is",
            "mark a grant, whatever grant_id is",
            "mark a grant, whatever status is",
            "record an extension, whatever grant_id is",
            "store a grant's access, whatever grant_id is",
            "store a refreshed token, whatever grant_id is",
            "suspect a grant, whatever grant_id is",
            "vouch for a token, whatever grant_id is",
        ],
    ),
    (
        "the due time that was there stays: a look too early, and no more",
        &[
            "complete a consent, without due_at",
            "drop a consent, without due_at",
            "mark a grant, without due_at",
            "put a grant off, whatever grant_id is",
            "put a grant off, without due_at",
            "record an extension, without due_at",
            "store a grant's access, without due_at",
            "store a refreshed token, without due_at",
            "suspect a grant, without due_at",
        ],
    ),
    (
        "the generation of the row is new, too",
        &[
            "commit a connect, without token_id",
            "complete a consent, without token_id",
            "import a token, without token_id",
        ],
    ),
    (
        "it decides what a person is told",
        &[
            "commit a connect, whatever pending_token is",
            "commit a connect, whatever status is",
            "finish a deletion, whatever unfinished is",
            "record a deletion, whatever deleted_at is",
            "record a deletion, whatever kept_at is",
            "revoke a grant, whatever pending_token is",
            "revoke a grant, whatever status is",
        ],
    ),
    (
        "another row, or the write that follows, says the same",
        &[
            "commit a connect, whatever disconnected_ms is",
            "import a token, whatever disconnected_ms is",
            "import a token, whatever updated_at is",
            "import a token, and leave pending_token",
        ],
    ),
    (
        "it decides between consents that came back in one second, which are as new by the model's clock",
        &["commit a connect, whatever begun_at is"],
    ),
    (
        "without it the worst is assumed: any end, or the longest flow",
        &["commit a connect, without begun_at", "import a token, without connected_at"],
    ),
    ("a look too many: the fence of what it writes decides", &["lease a grant, whatever token_id is"]),
    (
        "Meta's word on the token before: a look too early, or a doubt too few, and no token is lost",
        &[
            "record an extension, whatever token_id is",
            "suspect a grant, whatever token_id is",
            "vouch for a token, whatever token_id is",
        ],
    ),
];

/// So many steps are made in search of what a mutant breaks.
const MOST: usize = 250_000;

/// Ways through a configuration on which its writes are collected.
const WALKS: u64 = 100;

struct Explored {
    states: usize,
    depth: usize,
    writes: BTreeMap<&'static str, [u64; 2]>,
    /// The rules that speak, and on a way of how many states.
    broken: BTreeMap<&'static str, usize>,
}

fn explore(check: Check, most: Option<usize>) -> Explored {
    let checker = check.checker().threads(1);
    let checker = match most {
        // What is searched for is found among the first.
        Some(most) => checker.finish_when(HasDiscoveries::AnyFailures).target_state_count(most),
        None => checker,
    };
    let checker = checker.spawn_bfs().join();
    let discoveries = checker.discoveries().into_iter();
    let broken = discoveries.map(|(rule, path)| (rule, path.into_vec().len()));
    Explored {
        states: checker.unique_state_count(),
        depth: checker.max_depth(),
        writes: checker.model().writes(),
        broken: broken.collect(),
    }
}

/// The shortest way to where `rule` speaks, if one is known that has `steps` states.
fn shortest(scenario: &Scenario, rule: &str, mut steps: usize) -> Vec<String> {
    let mut told = Vec::new();
    loop {
        let checker = Check::new(scenario.clone()).checker().threads(1).target_max_depth(steps + 1);
        let checker = checker.spawn_bfs().join();
        let found = checker.discoveries().into_iter().find(|(found, _)| *found == rule);
        let Some((_, path)) = found else { return told };
        let path = path.into_vec();
        steps = path.len() - 1;
        told = checker.model().tell(path);
    }
}

fn mutants(scenario: &Scenario) -> BTreeSet<Mutant> {
    let mut mutants = Vec::new();
    let check = Check::new(scenario.clone());
    for seed in 0..WALKS {
        for write in history::walk(&check, seed).writes {
            Mutant::of(&write.transaction, &mut mutants);
        }
    }
    let is_wanted = |mutant: &Mutant| match mutant.without {
        Without::Condition(attribute) => attribute != A::Pk,
        Without::Remove(attribute) => REMOVED.contains(&attribute),
        Without::Set(attribute) => SET.contains(&attribute),
    };
    mutants.into_iter().filter(is_wanted).collect()
}

/// What holds in no way, and why.
const NOT_KEPT: [(&str, &str); 1] = [
    // An end and a consent at once, by clocks that differ: which was first, ours does not know.
    ("the same, clock behind", judge::END_SPARES),
];

#[test]
fn the_rules_hold_in_every_configuration() {
    let (states, writes) = check_all(scenarios::quick());
    assert!(states >= 350_000, "{states}");
    for (operation, [made, refused]) in &writes {
        println!("{operation}: {made} made, {refused} refused");
    }
    assert!(writes.len() >= 19, "{}", writes.len());
    // A doubt meets something newer in larger configurations only.
    let is_refused = |operation, refused| refused > 0 || operation == "doubt a grant";
    assert!(writes.iter().all(|(operation, [made, refused])| *made > 0 && is_refused(*operation, *refused)));
}

/// Takes minutes: `.ci/full` makes it.
#[cfg(feature = "larger")]
#[test]
fn the_rules_hold_in_larger_configurations() {
    let (states, _) = check_all(scenarios::thorough());
    assert!(states >= 1_500_000, "{states}");
}

/// Explores all, prints a line for each and a table of the rules, and counts the writes.
fn check_all(scenarios: Vec<Scenario>) -> (usize, BTreeMap<&'static str, [u64; 2]>) {
    let (mut total, mut writes, count) = (0, BTreeMap::<_, [u64; 2]>::new(), scenarios.len());
    let (mut broken, mut lost) = (BTreeSet::new(), BTreeMap::new());
    for scenario in scenarios {
        let Scenario { name, behaviour, .. } = scenario;
        let explored = explore(Check::new(scenario.clone()), None);
        total += explored.states;
        println!("{name}, {behaviour:?}: {} states, up to {} steps", explored.states, explored.depth);
        for (operation, [made, refused]) in explored.writes {
            let sum = writes.entry(operation).or_default();
            *sum = [sum[0] + made, sum[1] + refused];
        }
        for (rule, steps) in explored.broken {
            if rule == judge::LOST {
                lost.entry(format!("{behaviour:?}")).or_insert_with(|| shortest(&scenario, rule, steps));
                continue;
            }
            println!("  not kept: {rule}");
            for line in shortest(&scenario, rule, steps) {
                println!("    {line}");
            }
            broken.insert((name, rule));
        }
    }
    println!("{total} states in {count} configurations");
    for rule in judge::RULES {
        let not_in: Vec<_> =
            broken.iter().filter(|(_, broken)| *broken == rule).map(|(name, _)| *name).collect();
        let but = if not_in.is_empty() { String::new() } else { format!(", but: {}", not_in.join("; ")) };
        println!("{rule}: holds in {} of {count} configurations{but}", count - not_in.len());
    }
    for (behaviour, trace) in &lost {
        println!("cannot be avoided if the old token {behaviour}: {}", judge::LOST);
        for line in trace {
            println!("    {line}");
        }
    }
    // Where the old token stays, or the same lives on, nothing is ever lost.
    assert!(lost.keys().all(|behaviour| behaviour.starts_with("Dies")), "{:?}", lost.keys());
    assert!(broken.iter().all(|broken| NOT_KEPT.contains(broken)), "{broken:?}");
    (total, writes)
}

#[test]
fn each_part_of_a_write_that_is_taken_out_is_missed() {
    let mut scenarios = scenarios::quick();
    // The small ones find the most.
    scenarios.sort_by_key(|Scenario { workers, left, start, .. }| {
        (workers.len(), left.crashes + left.losses + left.troubles, *start != Start::Empty)
    });
    let scenarios: Vec<_> = scenarios.into_iter().map(|scenario| (mutants(&scenario), scenario)).collect();
    let all: BTreeSet<_> = scenarios.iter().flat_map(|(mutants, _)| mutants).cloned().collect();
    let spared: BTreeMap<_, _> = SPARED
        .into_iter()
        .flat_map(|(why, mutants)| mutants.iter().map(move |mutant| (mutant.to_string(), why)))
        .collect();
    let (mut found, mut missed, mut states, mut told) = (0, Vec::new(), 0, BTreeSet::new());
    for mutant in &all {
        let name = mutant.to_string();
        if let Some(why) = spared.get(&name) {
            println!("  {name}: {why}");
            told.insert(name);
            continue;
        }
        let first =
            scenarios.iter().filter(|(mutants, _)| mutants.contains(mutant)).find_map(|(_, scenario)| {
                let explored = explore(Check::with(scenario.clone(), mutant.clone()), Some(MOST));
                states += explored.states;
                let is_known = |rule| NOT_KEPT.contains(&(scenario.name, rule)) || rule == judge::LOST;
                let rule = explored.broken.into_keys().find(|rule| !is_known(*rule))?;
                Some((scenario.name, rule))
            });
        match first {
            Some((scenario, rule)) => {
                found += 1;
                println!("  {name}: breaks \"{rule}\" in \"{scenario}\"");
            }
            None => missed.push(name),
        }
    }
    println!(
        "mutants: {found} of {} found, {} change no rule, {states} states",
        all.len() - told.len(),
        told.len()
    );
    assert_eq!(missed, [""; 0]);
    assert_eq!(told.len(), spared.len(), "{:?}", spared.keys().filter(|name| !told.contains(*name)));
    assert!(found >= 80, "{found}");
}
