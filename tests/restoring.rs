//! A backup whose rows replace those in use: unusable rows, and accounts that an operator names. No
//! concurrent write is lost, and no end since is undone.

use std::collections::BTreeMap;

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use devstack::Stack;
use threads_auth::{
    Comparison, EventKind, Item, Left, Loss, RefreshOutcome, Replaced, RestoreReport, RowChange, Spoilt,
    Verdict,
};
use threads_auth_model::{Key, RevokedBy, State, Status};
use threads_sandbox::{FaultAction, SandboxCall};

use crate::faults::{Failure, Lossy};
use crate::fixture::{
    Browser, DAY, connect_people, delete_data, fail, find_grant, grant, is_usable, rows, set_attribute,
    set_attribute_in, stack, token,
};
use crate::formats::copied;
use crate::operations::dynamodb;

const BACKUP: &str = "backup";

fn pk(user_id: &str) -> AttributeValue {
    AttributeValue::S(format!("user#{user_id}"))
}

async fn row(stack: &Stack, user_id: &str) -> Item {
    rows(stack).await.into_iter().find(|row| row["pk"] == pk(user_id)).unwrap()
}

/// A row that is no account, such as the record of a deletion, replaces none that is there.
#[tokio::test]
async fn other_rows_of_a_backup_replace_nothing() {
    let stack = stack().await;
    let row = |deleted_at: &str| -> Item {
        let key = AttributeValue::S("deletion#x".to_owned());
        let time = AttributeValue::N(deleted_at.to_owned());
        [("pk".to_owned(), key), ("deleted_at".to_owned(), time)].into()
    };
    let store = stack.service().store();
    for (at, is_put) in [("2", true), ("1", false)] {
        assert_eq!(store.put_back_other(row(at)).await.unwrap(), is_put);
    }
    assert_eq!(rows(&stack).await, [row("2")]);
}

async fn restore(stack: &Stack, replaces: bool) -> (RestoreReport, BTreeMap<Key, Left>) {
    let mut left = BTreeMap::new();
    let told = |_: &RestoreReport, one: Option<&Left>| {
        left.extend(one.map(|one| (one.key.clone(), one.clone())));
    };
    let report = stack.service().restore(BACKUP, replaces, stack.clock().now(), told).await.unwrap();
    (report, left)
}

async fn compare(stack: &Stack, user_id: &str) -> Comparison {
    let user_id = user_id.parse().unwrap();
    stack.service().compare_with_backup(BACKUP, &user_id, stack.clock().now()).await.unwrap()
}

async fn replace(stack: &Stack, compared: &Comparison) -> Replaced {
    stack.service().replace_from_backup(compared, stack.clock().now()).await.unwrap()
}

/// The events of a change from one image of a row to another.
fn events(old: &Item, new: &Item) -> Vec<EventKind> {
    let key = Key::from(old["pk"].as_s().unwrap().clone());
    let change = RowChange {
        id: "1".to_owned(),
        number: "1".to_owned(),
        key,
        is_removed: false,
        old: Some(old.clone()),
        new: Some(new.clone()),
    };
    change.events("grants", jiff::Timestamp::UNIX_EPOCH).iter().map(|event| event.kind).collect()
}

#[tokio::test]
async fn rows_of_no_use_become_the_backups_and_what_stays_is_told() {
    let stack = stack().await;
    let people = connect_people(&stack, 9).await;
    copied(&stack, BACKUP).await;
    stack.clock().advance(DAY);
    let table = stack.urls().grants_table.clone();
    let (damage, garbage) = (AttributeValue::Bool(true), AttributeValue::B(Blob::new([1, 2, 3])));
    let before = token(&stack, &people[0]).await;
    // Unusable here: a damaged time; a token that does not open; one that is in use by somebody …
    set_attribute(&stack, &people[0], "issued_at", damage.clone()).await;
    set_attribute(&stack, &people[1], "token", garbage.clone()).await;
    set_attribute(&stack, &people[4], "status", damage.clone()).await;
    let soon = AttributeValue::N((stack.clock().now().as_second() + 60).to_string());
    set_attribute(&stack, &people[4], "lease_until", soon).await;
    // … one that is unusable in the backup too, and one that the backup lacks …
    for table in [table.as_str(), BACKUP] {
        set_attribute_in(&stack, table, &people[2], "expires_at", damage.clone()).await;
    }
    set_attribute(&stack, &people[3], "token", garbage).await;
    dynamodb(&stack).delete_item().table_name(BACKUP).key("pk", pk(&people[3])).send().await.unwrap();
    // … and one that has ended since, and one who was deleted since.
    stack.service().disconnect(&people[5].parse().unwrap(), stack.clock().now()).await.unwrap();
    set_attribute(&stack, &people[5], "user_id", damage.clone()).await;
    delete_data(&stack, &people[6]).await;
    set_attribute(&stack, &people[6], "status", damage.clone()).await;
    // Somebody has claimed this one since; and this one is usable, and newer.
    for (name, value) in [
        ("reference", AttributeValue::S("user-7".to_owned())),
        ("claimed_at", AttributeValue::N(stack.clock().now().as_second().to_string())),
        ("status", damage),
    ] {
        set_attribute(&stack, &people[7], name, value).await;
    }
    Browser::new().connect(&stack, &people[8]).await;
    let newer = token(&stack, &people[8]).await;

    let expected = RestoreReport { spoilt: 8, present: 1, unreadable: 1, ..RestoreReport::default() };
    let (report, left) = restore(&stack, false).await;
    assert_eq!(report, expected);
    let verdict = |left: &BTreeMap<Key, Left>, person: usize| {
        left[&Key::grant(&people[person].parse().unwrap())].verdict.clone().unwrap()
    };
    assert_eq!(verdict(&left, 0), Verdict::Replaceable);
    let spoilt = row(&stack, &people[0]).await;

    let (report, left) = restore(&stack, true).await;
    assert_eq!(report, RestoreReport { replaced: 4, spoilt: 4, ..expected });
    assert!(matches!(verdict(&left, 2), Verdict::BackupSpoilt(Spoilt::MakesNoSense(_))));
    assert_eq!(verdict(&left, 3), Verdict::NotInBackup);
    assert!(verdict(&left, 4).may_pass(), "{:?}", verdict(&left, 4));
    assert_eq!(verdict(&left, 6), Verdict::Deleted);
    assert_eq!(token(&stack, &people[0]).await, before);
    assert!(is_usable(&stack, &token(&stack, &people[1]).await).await);
    assert!(matches!(grant(&stack, &people[5]).await.state, State::Revoked(Some(RevokedBy::App), None)));
    let owner = grant(&stack, &people[7]).await.claim;
    assert_eq!(owner.owner().unwrap().reference, "user-7");
    assert_eq!(token(&stack, &people[8]).await, newer);
    // Nobody has connected: the account works again.
    assert_eq!(events(&spoilt, &row(&stack, &people[0]).await), [EventKind::Recovered]);
    // The next sweep tries what was brought back, and nothing else is due so early.
    let swept = stack.sweep().await.unwrap();
    assert_eq!(swept.count(RefreshOutcome::Checked), 3, "{:?}", swept.outcomes);

    // Later nobody is at the one any more, and again changes nothing else.
    stack.clock().advance(DAY);
    let (report, left) = restore(&stack, true).await;
    assert_eq!((report.replaced, report.spoilt, left.len()), (1, 3, 3));
}

#[tokio::test]
async fn a_named_account_becomes_the_backups_after_it_is_told_what_goes() {
    let stack = stack().await;
    let people = connect_people(&stack, 3).await;
    copied(&stack, BACKUP).await;
    let old = token(&stack, &people[0]).await;
    assert_eq!(compare(&stack, &people[0]).await.verdict, Verdict::Same);
    stack.clock().advance(2 * DAY);
    Browser::new().connect(&stack, &people[0]).await;
    let newer = row(&stack, &people[0]).await;
    let compared = compare(&stack, &people[0]).await;
    assert_eq!(compared.verdict, Verdict::Replaceable);
    assert!(matches!(compared.losses().as_slice(), [Loss::Token(..), Loss::Consent(..)]));
    assert_eq!(replace(&stack, &compared).await, Replaced::Done);
    assert_eq!(token(&stack, &people[0]).await, old);
    assert_eq!(events(&newer, &row(&stack, &people[0]).await), [EventKind::Connected]);
    // A second time it is not what was compared any more.
    assert_eq!(replace(&stack, &compared).await, Replaced::Changed);
    // The next sweep tries it.
    let swept = stack.sweep().await.unwrap();
    assert_eq!(swept.count(RefreshOutcome::Checked), 1, "{:?}", swept.outcomes);

    // A row that is gone comes back.
    let (client, table) = (dynamodb(&stack), &stack.urls().grants_table);
    client.delete_item().table_name(table).key("pk", pk(&people[1])).send().await.unwrap();
    let compared = compare(&stack, &people[1]).await;
    assert!(compared.present.is_none() && compared.losses().is_empty());
    assert_eq!(replace(&stack, &compared).await, Replaced::Done);
    assert!(is_usable(&stack, &token(&stack, &people[1]).await).await);

    // An end that only the other table has counts here.
    let tombstone =
        stack.service().vault(stack.clock().now()).await.unwrap().tombstone(&people[2].parse().unwrap());
    let ended = AttributeValue::N(stack.clock().now().as_second().to_string());
    let item = [("pk", AttributeValue::S(tombstone.to_string())), ("ended_at", ended)];
    let item = item.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    client.put_item().table_name(BACKUP).set_item(Some(item)).send().await.unwrap();
    let compared = compare(&stack, &people[2]).await;
    assert_eq!(compared.verdict, Verdict::EndedSince);
    assert_eq!(replace(&stack, &compared).await, Replaced::Ended);
    assert!(matches!(grant(&stack, &people[2]).await.state, State::Revoked(Some(RevokedBy::Threads), None)));
}

/// A row whose key is missing is newer than the backup's once the key is back: only an operator who
/// names the account replaces it, and first sees that the lost row is newer.
#[tokio::test]
async fn a_row_whose_key_is_missing_waits_for_it() {
    let stack = stack().await;
    let people = connect_people(&stack, 1).await;
    copied(&stack, BACKUP).await;
    stack.clock().advance(2 * DAY);
    Browser::new().connect(&stack, &people[0]).await;
    let newer = row(&stack, &people[0]).await;
    let mut sealed = newer["token"].as_b().unwrap().clone().into_inner();
    // The first letter of the key's id.
    sealed[2] ^= 1;
    set_attribute(&stack, &people[0], "token", AttributeValue::B(Blob::new(sealed))).await;
    let spoilt = row(&stack, &people[0]).await;

    let (report, left) = restore(&stack, true).await;
    assert_eq!((report.replaced, report.spoilt), (0, 1));
    let verdicts: Vec<_> = left.values().map(|one| one.verdict.clone()).collect();
    assert_eq!(verdicts, [Some(Verdict::KeyIsMissing)]);
    assert_eq!(row(&stack, &people[0]).await, spoilt);

    let compared = compare(&stack, &people[0]).await;
    assert_eq!(compared.verdict, Verdict::Replaceable);
    assert!(matches!(compared.losses().as_slice(), [Loss::Token(..), Loss::Consent(..)]));
}

/// A consent that waits for its token repairs the row at the next sweep, so the row is usable.
#[tokio::test]
async fn a_row_whose_consent_opens_is_of_use() {
    let stack = stack().await;
    let people = connect_people(&stack, 1).await;
    copied(&stack, BACKUP).await;
    fail(&stack, SandboxCall::ExchangeLongLived, u32::MAX, FaultAction::Html);
    Browser::new().connect(&stack, &people[0]).await;
    assert!(grant(&stack, &people[0]).await.consent().is_some());
    set_attribute(&stack, &people[0], "token", AttributeValue::B(Blob::new([1, 2, 3]))).await;
    let (report, left) = restore(&stack, true).await;
    assert_eq!((report.replaced, report.spoilt, left.len()), (0, 0, 0));
    stack.sandbox().unwrap().clear_faults();
    stack.sweep().await.unwrap();
    assert!(is_usable(&stack, &token(&stack, &people[0]).await).await);
}

/// A writer of the row between the comparison and the replacement goes first.
#[tokio::test]
async fn whoever_writes_meanwhile_goes_first() {
    let stack = stack().await;
    let people = connect_people(&stack, 5).await;
    copied(&stack, BACKUP).await;
    stack.clock().advance(2 * DAY);
    let now = stack.clock().now();
    for person in &people {
        // Something to replace.
        stack.service().refresh_now(&person.parse().unwrap(), now).await.unwrap();
    }
    stack.clock().advance(2 * DAY);
    let mut kept = 0;
    for (person, writer) in people.iter().zip(["refresh", "connect", "disconnect", "delete", "lease"]) {
        let compared = compare(&stack, person).await;
        assert_eq!(compared.verdict, Verdict::Replaceable, "{writer}");
        let (user_id, now) = (person.parse().unwrap(), stack.clock().now());
        match writer {
            "refresh" => {
                let refreshed = stack.service().refresh_now(&user_id, now).await.unwrap();
                assert_eq!(refreshed, RefreshOutcome::Refreshed);
            }
            "connect" => _ = Browser::new().connect(&stack, person).await,
            "disconnect" => stack.service().disconnect(&user_id, now).await.map(drop).unwrap(),
            "delete" => _ = delete_data(&stack, person).await,
            _ => {
                let until = AttributeValue::N((now.as_second() + 60).to_string());
                set_attribute(&stack, person, "lease_until", until).await;
            }
        }
        let before = find_grant(&stack, person).await;
        let expected = if writer == "delete" { Replaced::Deleted } else { Replaced::Changed };
        assert_eq!(replace(&stack, &compared).await, expected, "{writer}");
        let after = find_grant(&stack, person).await;
        assert_eq!(format!("{before:?}"), format!("{after:?}"), "{writer}");
        let verdict = compare(&stack, person).await.verdict;
        let as_expected = match writer {
            "disconnect" => verdict == Verdict::Ended,
            "delete" => verdict == Verdict::Deleted,
            "lease" => matches!(verdict, Verdict::Leased(_)),
            _ => verdict == Verdict::Replaceable,
        };
        assert!(as_expected, "{writer} {verdict:?}");
        kept += 1;
    }
    assert_eq!(find_grant(&stack, &people[2]).await.unwrap().status(), Status::Revoked);
    println!("a backup's row beside {kept} writers: none of them lost anything");
}

/// A restore is cut off between a row and its end, which only the table in use knows: a repeated
/// one ends the account, although its row is there.
#[tokio::test]
async fn a_restore_that_is_cut_off_revives_nobody_once_it_is_repeated() {
    let stack = stack().await;
    let people = connect_people(&stack, 2).await;
    copied(&stack, BACKUP).await;
    stack.clock().advance(DAY);
    let now = stack.clock().now();
    stack.service().disconnect(&people[0].parse().unwrap(), now).await.unwrap();
    let table = &stack.urls().grants_table;
    dynamodb(&stack).delete_item().table_name(table).key("pk", pk(&people[0])).send().await.unwrap();
    let (failing, service) = Lossy::start(&stack).await;
    // The first read of an end is that of the row that was put back, or of the other.
    for reads in 0..2 {
        failing.fail(Failure::Denied, "GetItem", reads);
        service.restore(BACKUP, false, now, |_, _| ()).await.ok();
    }
    let (report, _) = restore(&stack, false).await;
    assert_eq!((report.restored, report.present), (0, 2), "{report:?}");
    let ended = grant(&stack, &people[0]).await;
    assert!(matches!(ended.state, State::Revoked(Some(RevokedBy::App), None)), "{ended:?}");
    assert_eq!(grant(&stack, &people[1]).await.status(), Status::Active);
}
