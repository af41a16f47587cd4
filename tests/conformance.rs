//! The model and the store agree: histories of the model, written by the real store.
//!
//! `tests/model` explores what the rules' values do to rows in memory. Here the same values go to
//! DynamoDB, which must come to the same verdict and leave the same rows, write by write.

use std::collections::{BTreeMap, BTreeSet};

use model_check::history::{HistoryWrite, walk};
use model_check::tables::{Outcome, Rows};
use model_check::{Check, scenarios};
use threads_auth_model::{Condition, Key, Part, Row, Transaction};
use threads_auth_store::{Committed, Store, WriteOutcome, aws, row};

use crate::fixture::{http, rows, stack};

/// Ways through each configuration.
const WALKS: u64 = 8;

#[tokio::test]
async fn the_store_decides_as_the_model_does() {
    let stack = stack().await;
    let urls = stack.urls();
    let client = aws::dynamodb(&stack.service().config().aws, &http());
    let store = Store::new(client, &urls.grants_table, &urls.short_lived_table);
    let mut known = BTreeSet::new();
    let mut verdicts = BTreeMap::<&str, [u32; 2]>::new();
    let mut written = 0;
    for scenario in scenarios::quick() {
        let check = Check::new(scenario.clone());
        for seed in 0..WALKS {
            let history = walk(&check, seed);
            // Two ways may differ only in what is not written.
            let writes: Vec<_> = history.writes.iter().map(|write| write.transaction.clone()).collect();
            if !known.insert(format!("{:?} {writes:?}", scenario.start)) {
                continue;
            }
            empty(&store, &stack).await;
            fill(&store, &history.start).await;
            for HistoryWrite { transaction, outcome, rows: expected } in &history.writes {
                let verdict = write(&store, transaction).await;
                assert_eq!(verdict, expectation(transaction, outcome), "{}: {transaction:?}", scenario.name);
                assert_eq!(&present(&stack).await, &**expected, "{}: {transaction:?}", scenario.name);
                verdicts.entry(transaction.operation).or_default()[usize::from(*outcome != Outcome::Done)] +=
                    1;
                written += 1;
            }
        }
    }
    for (operation, [made, refused]) in &verdicts {
        println!("{operation}: {made} made, {refused} refused");
    }
    println!(
        "conformance: {} histories, {written} writes, each with the model's verdict and rows",
        known.len()
    );
    assert!(known.len() >= 250 && written >= 1_000);
    assert!(verdicts.len() >= 18 && verdicts.values().filter(|verdict| verdict[1] > 0).count() >= 12);
}

/// The outcome of a write in the store.
#[derive(Debug, PartialEq)]
enum StoreVerdict {
    Alone(WriteOutcome),
    Together(Committed),
}

async fn write(store: &Store, transaction: &Transaction) -> StoreVerdict {
    match &transaction.parts[..] {
        [Part::Update(change)] => StoreVerdict::Alone(store.write(change).await.unwrap()),
        _ => StoreVerdict::Together(store.transact(transaction).await.unwrap()),
    }
}

/// Returns the expected outcome in the store, from the outcome in the model.
fn expectation(transaction: &Transaction, outcome: &Outcome) -> StoreVerdict {
    match (&transaction.parts[..], outcome) {
        ([Part::Update(_)], Outcome::Done) => StoreVerdict::Alone(WriteOutcome::Stored),
        ([Part::Update(_)], Outcome::Refused(_, None)) => StoreVerdict::Alone(WriteOutcome::Gone),
        ([Part::Update(change)], Outcome::Refused(_, Some(found))) => {
            let is_ours = change.is_made_in(found);
            StoreVerdict::Alone(if is_ours { WriteOutcome::Stored } else { WriteOutcome::Superseded })
        }
        (_, Outcome::Done) => StoreVerdict::Together(Committed::Done),
        (_, Outcome::Refused(n, found)) => {
            StoreVerdict::Together(Committed::Refused(*n, found.clone().unwrap_or_default()))
        }
    }
}

/// All rows but those that are about the stack as a whole.
async fn present(stack: &devstack::Stack) -> BTreeMap<Key, Row> {
    let rows = rows(stack).await.into_iter().map(|item| row(&item));
    rows.map(|row| (row.key().unwrap(), row)).filter(|(key, _)| !key.is_control()).collect()
}

async fn empty(store: &Store, stack: &devstack::Stack) {
    let parts = present(stack).await.into_keys().map(|key| Part::Delete(key, Condition::NONE)).collect();
    all(store, parts).await;
}

async fn fill(store: &Store, rows: &Rows) {
    let put = |(key, row): (&Key, &Row)| Part::Put(key.clone(), row.clone(), Condition::NONE);
    all(store, rows.iter().map(put).collect()).await;
}

async fn all(store: &Store, parts: Vec<Part>) {
    if !parts.is_empty() {
        let operation = "prepare a history";
        assert_eq!(store.transact(&Transaction { operation, parts }).await.unwrap(), Committed::Done);
    }
}
