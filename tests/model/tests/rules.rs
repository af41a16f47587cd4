//! The rules in every configuration, and the effect of removing a part of a write.
#![allow(clippy::print_stdout, reason = "the helpers of tests print as tests do")]

use std::collections::{BTreeMap, BTreeSet};

use model_check::check::Start;
use model_check::mutant::{Mutant, Without};
use model_check::{Check, Scenario, history, judge, scenarios};
use stateright::{Checker, HasDiscoveries, Model};
use threads_auth_model::Attribute as A;

/// The attributes, beside the conditions, whose removal may break a rule.
const REMOVED: [A; 7] =
    [A::LeaseOwner, A::LeaseUntil, A::AskedAt, A::Token, A::TokenId, A::PendingToken, A::DueAt];
const SET: [A; 10] = [
    A::LeaseOwner,
    A::LeaseUntil,
    A::AskedAt,
    A::TokenId,
    A::DueAt,
    A::ConnectedAt,
    A::BegunAt,
    A::DeletedAt,
    A::EndedAt,
    A::DisconnectedMs,
];

/// The mutants that break no rule, each with the reason.
const HARMLESS: &[(&str, &[&str])] = &[
    (
        "the token id or the lease implies it",
        &[
            "close an appeal, whatever grant_id is",
            "mark a grant as dead, whatever grant_id is",
            "mark a grant as dead, whatever status is",
            "record an extension, whatever grant_id is",
            "store a grant's access, whatever grant_id is",
            "store a refreshed token, whatever grant_id is",
            "suspect a grant, whatever grant_id is",
            "vouch for a token, whatever grant_id is",
        ],
    ),
    (
        "the old due time stays, which only causes an early look",
        &[
            "complete a consent, without due_at",
            "drop a consent, without due_at",
            "mark a grant as dead, without due_at",
            "defer a grant, whatever grant_id is",
            "defer a grant, without due_at",
            "record an extension, without due_at",
            "rehearse a write, without due_at",
            "store a grant's access, without due_at",
            "store a refreshed token, without due_at",
            "suspect a grant, without due_at",
        ],
    ),
    (
        "the generation is new as well",
        &[
            "commit a connect, without token_id",
            "complete a consent, without token_id",
            "import a token, without token_id",
        ],
    ),
    (
        "it only decides the response to a person",
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
        "another row or the next write implies it",
        &[
            "commit a connect, whatever disconnected_ms is",
            "import a token, whatever disconnected_ms is",
            "import a token, whatever updated_at is",
            "import a token, and leave pending_token",
        ],
    ),
    (
        "it decides between consents of the same second, which are equally new in the model",
        &["commit a connect, whatever begun_at is"],
    ),
    (
        "without it the worst case is assumed: any end, or the longest flow",
        &["commit a connect, without begun_at", "import a token, without connected_at"],
    ),
    (
        "it only causes a needless look: the fence of the next write decides",
        &["lease a grant, whatever token_id is"],
    ),
    (
        "a note says no more than that Meta may have issued a token: the next refresh settles it",
        &["drop a consent, and leave asked_at", "release a lease, and leave asked_at"],
    ),
    (
        "it only stores Meta's response for the old token: a look is too early or a doubt is missed, but no token is lost",
        &[
            "record an extension, whatever token_id is",
            "suspect a grant, whatever token_id is",
            "vouch for a token, whatever token_id is",
        ],
    ),
];

/// Maximum number of states in the search for a broken rule.
const MOST: usize = 250_000;

/// Number of walks through a configuration from which its writes are collected.
const WALKS: u64 = 100;

struct Explored {
    states: usize,
    depth: usize,
    writes: BTreeMap<&'static str, [u64; 2]>,
    /// The broken rules, with the number of states on a path to each.
    broken: BTreeMap<&'static str, usize>,
}

fn explore(check: Check, most: Option<usize>) -> Explored {
    let checker = check.checker().threads(1);
    let checker = match most {
        // A broken rule is found among the first states.
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

/// Returns the shortest path on which `rule` is broken, starting from a known one of `steps`
/// states.
fn shortest(scenario: &Scenario, rule: &str, mut steps: usize) -> Vec<String> {
    let mut lines = Vec::new();
    loop {
        let checker = Check::new(scenario.clone()).checker().threads(1).target_max_depth(steps + 1);
        let checker = checker.spawn_bfs().join();
        let found = checker.discoveries().into_iter().find(|(found, _)| *found == rule);
        let Some((_, path)) = found else { return lines };
        let path = path.into_vec();
        steps = path.len() - 1;
        lines = checker.model().describe(path);
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

/// The exceptions: a configuration, and the rule that cannot hold in it.
const EXCEPTIONS: [(&str, &str); 1] = [
    // An end and a consent are concurrent, and the clocks differ: our clock does not know which was
    // first.
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
    // Only larger configurations refuse a doubt because of something newer.
    let is_refused = |operation, refused| refused > 0 || operation == "doubt a grant";
    assert!(writes.iter().all(|(operation, [made, refused])| *made > 0 && is_refused(*operation, *refused)));
}

/// Takes minutes, and runs in `.ci/full`.
#[cfg(feature = "larger")]
#[test]
fn the_rules_hold_in_larger_configurations() {
    let (states, _) = check_all(scenarios::thorough());
    assert!(states >= 1_500_000, "{states}");
}

/// Explores all configurations, prints a line for each and a table of the rules, and counts the
/// writes.
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
            println!("  broken: {rule}");
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
    // No token is lost if the old token stays valid, or lives longer.
    assert!(lost.keys().all(|behaviour| behaviour.starts_with("Dies")), "{:?}", lost.keys());
    assert!(broken.iter().all(|broken| EXCEPTIONS.contains(broken)), "{broken:?}");
    (total, writes)
}

#[test]
fn each_part_of_a_write_that_is_taken_out_is_missed() {
    let mut scenarios = scenarios::quick();
    // The small configurations find the most.
    scenarios.sort_by_key(|Scenario { workers, left, start, .. }| {
        (workers.len(), left.crashes + left.losses + left.troubles, *start != Start::Empty)
    });
    let scenarios: Vec<_> = scenarios.into_iter().map(|scenario| (mutants(&scenario), scenario)).collect();
    let all: BTreeSet<_> = scenarios.iter().flat_map(|(mutants, _)| mutants).cloned().collect();
    let harmless: BTreeMap<_, _> = HARMLESS
        .iter()
        .flat_map(|(why, mutants)| mutants.iter().map(move |mutant| (mutant.to_string(), why)))
        .collect();
    let (mut found, mut missed, mut states, mut seen) = (0, Vec::new(), 0, BTreeSet::new());
    for mutant in &all {
        let name = mutant.to_string();
        if let Some(why) = harmless.get(&name) {
            println!("  {name}: {why}");
            seen.insert(name);
            continue;
        }
        let first =
            scenarios.iter().filter(|(mutants, _)| mutants.contains(mutant)).find_map(|(_, scenario)| {
                let explored = explore(Check::with(scenario.clone(), mutant.clone()), Some(MOST));
                states += explored.states;
                let is_known = |rule| EXCEPTIONS.contains(&(scenario.name, rule)) || rule == judge::LOST;
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
        all.len() - seen.len(),
        seen.len()
    );
    assert_eq!(missed, [""; 0]);
    assert_eq!(seen.len(), harmless.len(), "{:?}", harmless.keys().filter(|name| !seen.contains(*name)));
    assert!(found >= 105, "{found}");
}
