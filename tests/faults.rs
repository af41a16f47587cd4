//! Faults of our own side: malformed rows, and lost responses of DynamoDB.

use std::time::Duration;

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use jiff::SignedDuration;
use threads_auth::{
    CompleteError, Config, ConnectError, ConnectOutcome, FailureKind, Progress, RefreshOutcome, StoreError,
    ThreadsAuth, VendError,
};
use threads_auth_model::rules::{Lease, LeaseReason};
use threads_auth_model::{Key, Pause, Status, schedule};
use threads_auth_store::{LeaseOutcome, aws};
use threads_sandbox::OldToken;
use tokio::net::TcpListener;

use crate::backend::{finished, new, refused};
use crate::fixture::{
    Browser, DAY, LEASE, SHORT_WAIT, account, connect_people, connected_ada, find_grant, grant, http,
    is_usable, parameter, rows, secret_text, set_attribute, stack, stack_of_ada, stack_with, token,
};
use crate::proxy::{Fault, Proxy};

const PEOPLE: u64 = 200;

/// The SDK sends a request so many times.
const SDK_ATTEMPTS: usize = 3;

/// Threat poison-row: one grant in a hundred cannot be read or opened; the others are refreshed,
/// again and again.
#[tokio::test]
async fn poison_items_stop_nobody_else() {
    let stack = stack().await;
    let people = connect_people(&stack, PEOPLE).await;
    set_attribute(&stack, &people[0], "issued_at", AttributeValue::S("7".to_owned())).await;
    set_attribute(&stack, &people[1], "token", AttributeValue::B(Blob::new(b"\x01\x01knonsense".as_slice())))
        .await;
    stack.clock().advance(41 * DAY);
    let report = stack.sweep().await.unwrap();
    println!(
        "poison: {} of {PEOPLE} refreshed, {:?}",
        report.count(RefreshOutcome::Refreshed),
        report.outcomes
    );
    assert_eq!(report.count(RefreshOutcome::Refreshed), PEOPLE - 2);
    assert_eq!(
        (report.count(RefreshOutcome::BrokenRow), report.count(RefreshOutcome::Undecryptable)),
        (1, 1)
    );
    // They are put off, not forgotten, and nothing is declared dead for them.
    assert!(stack.sweep().await.unwrap().outcomes.is_empty());
    assert_eq!(grant(&stack, &people[1]).await.status(), Status::Active);
    stack.clock().advance(DAY);
    let later = stack.sweep().await.unwrap();
    assert_eq!((later.count(RefreshOutcome::BrokenRow), later.count(RefreshOutcome::Undecryptable)), (1, 1));
}

/// Threat lost-answer: each write of a connect and of a sweep loses its answer once.
#[tokio::test]
async fn a_lost_answer_of_the_database_is_no_failure() {
    let mut false_failures = 0;
    for (operation, after) in [("TransactWriteItems", 0), ("UpdateItem", 0), ("UpdateItem", 1)] {
        let stack = stack().await;
        let ada = account(&stack, "ada");
        let (lossy, service) = Proxy::start(&stack).await;
        lossy.fail(Fault::AnswerLost, operation, after);
        let mut browser = Browser::new();
        let back = browser.consent(&stack, "", &ada).await;
        let cookies: Vec<_> = browser.jar.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let cookies: Vec<_> = cookies.iter().map(String::as_str).collect();
        let now = stack.clock().now();
        let connected = service.finish_connect(back.query().unwrap(), &cookies, now).await;
        false_failures += u32::from(connected.is_err());
        stack.clock().advance(41 * DAY);
        let report = service.sweep(stack.clock().now(), Duration::from_mins(15)).await.unwrap();
        false_failures += u32::from(report.count(RefreshOutcome::Refreshed) != 1);
        assert!(lossy.has_failed(), "{operation} {after}: no answer was lost");
        assert!(grant(&stack, &ada).await.live().unwrap().expires_at > stack.clock().now() + 50 * DAY);
    }
    println!("lost answers: {false_failures} false failures");
    assert_eq!(false_failures, 0);
}

/// DynamoDB loses every answer of a request until the SDK gives it up. The next request has another
/// idempotency token, so only the row shows that it was made before.
#[tokio::test]
async fn a_write_whose_every_answer_is_lost_is_known_again() {
    let (stack, ada) = stack_of_ada().await;
    let (lossy, service) = Proxy::start(&stack).await;
    lossy.fail_times(Fault::AnswerLost, "TransactWriteItems", 0, SDK_ATTEMPTS);
    let mut browser = Browser::new();
    let back = browser.consent(&stack, "", &ada).await;
    let cookies: Vec<_> = browser.jar.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let cookies: Vec<_> = cookies.iter().map(String::as_str).collect();
    let now = stack.clock().now();
    let connected = service.finish_connect(back.query().unwrap(), &cookies, now).await.unwrap();
    assert_eq!(connected.outcome, ConnectOutcome::Connected);
    assert!(lossy.has_failed());
    stack.clock().advance(41 * DAY);
    // The lease is the first write of a sweep, its rehearsal the second, and the token the third.
    for after in [0, 2] {
        lossy.fail_times(Fault::AnswerLost, "UpdateItem", after, SDK_ATTEMPTS);
        let report = service.sweep(stack.clock().now(), Duration::from_mins(15)).await.unwrap();
        assert!(lossy.has_failed());
        let expected = if after == 0 { RefreshOutcome::StoreFailed } else { RefreshOutcome::Refreshed };
        assert_eq!(report.count(expected), 1, "{report:?}");
        stack.clock().advance(LEASE);
    }
    assert!(is_usable(&stack, &token(&stack, &ada).await).await);
}

/// Meta refuses a token, and the verdict cannot be written: the row still holds the token, which is
/// not handed out.
#[tokio::test]
async fn a_token_whose_refusal_is_not_written_is_not_handed_out() {
    let (stack, ada) = stack_of_ada().await;
    Browser::new().connect(&stack, &ada).await;
    stack.sandbox().unwrap().change_password(&ada);
    let (failing, service) = Proxy::start(&stack).await;
    stack.clock().advance(41 * DAY);
    // The lease and the rehearsal are written.
    failing.fail(Fault::DENIED, "UpdateItem", 2);
    let user_id = ada.parse().unwrap();
    let vended = service.vend(&user_id, SignedDuration::ZERO, None, stack.clock().now()).await;
    assert!(failing.has_failed());
    let refused = vended.err().unwrap().error;
    assert!(matches!(refused, VendError::Retry { .. }), "{refused:?}");
    assert_eq!(grant(&stack, &ada).await.status(), Status::Active);
}

/// Nobody listens at the table's address: that passes, and is no fault of the item.
#[tokio::test]
async fn a_table_that_cannot_be_reached_is_told_from_one_that_refuses() {
    let (stack, ada) = stack_of_ada().await;
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let mut variables = stack.variables().clone();
    variables.insert("AWS_ENDPOINT_URL_DYNAMODB".to_owned(), format!("http://{closed}"));
    let service = ThreadsAuth::new(Config::from_vars(&variables, None).unwrap()).unwrap();
    let error = service.find_grant(&ada.parse().unwrap()).await.unwrap_err();
    assert_eq!(error.kind(), FailureKind::Unreachable, "{error}");
}

/// The table refuses a write for a moment in which it denies everything: Meta's answer is not
/// dropped for it.
#[tokio::test]
async fn a_token_is_kept_until_the_table_takes_it() {
    let (stack, ada) = stack_of_ada().await;
    Browser::new().connect(&stack, &ada).await;
    let sandbox = stack.sandbox().unwrap();
    sandbox.set_old_token_behaviour(OldToken::NewTokenOldDead);
    let (failing, service) = Proxy::start(&stack).await;
    stack.clock().advance(41 * DAY);
    failing.fail_times(Fault::DENIED, "UpdateItem", 2, 3);
    let report = service.sweep(stack.clock().now(), Duration::from_mins(15)).await.unwrap();
    assert!(failing.has_failed());
    assert_eq!(report.count(RefreshOutcome::Refreshed), 1, "{report:?}");
    assert!(is_usable(&stack, &token(&stack, &ada).await).await);
}

/// A deletion that is cut off between the grant and the sessions is shown as unfinished, and the
/// next sweep continues it.
#[tokio::test]
async fn a_deletion_that_is_cut_off_is_finished_by_a_sweep() {
    let (stack, ada) = stack_of_ada().await;
    finished(&stack, new("user-1"), &ada).await;
    stack.clock().advance(Duration::from_mins(1));
    let (lossy, service) = Proxy::start(&stack).await;
    let wish = stack.sandbox().unwrap().signed_request(&ada);
    let wish =
        url::form_urlencoded::Serializer::new(String::new()).append_pair("signed_request", &wish).finish();
    lossy.fail(Fault::DENIED, "Scan", 0);
    let killed = async {
        while !lossy.has_failed() {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        done = service.delete_data(wish.as_bytes(), stack.clock().now()) => panic!("{done:?}"),
        () = killed => {}
    }
    // The grant is gone, the tombstone is there, and no page shows that all is deleted.
    let traces = async || format!("{:?}", rows(&stack).await).matches(&ada).count();
    assert!(find_grant(&stack, &ada).await.is_none());
    assert!(traces().await > 0);
    let record = rows(&stack).await.into_iter().find(|row| row.contains_key("unfinished")).unwrap();
    assert!(!record.contains_key("deleted_at"), "{record:?}");
    // A person who comes back meanwhile has a new grant, to which the old request does not apply.
    stack.clock().advance(Duration::from_mins(1));
    let (again, _) = finished(&stack, new("user-1"), &ada).await;
    stack.service().store().set_pause(Some(Pause::Sweeps)).await.unwrap();
    let report = stack.sweep().await.unwrap();
    assert_eq!(report.count(RefreshOutcome::DeletionFinished), 1, "a wish heeds no pause: {report:?}");
    assert!(is_usable(&stack, &token(&stack, &ada).await).await);
    assert!(stack.service().store().session(&again).await.unwrap().is_some());
    // All that names the person is of the new grant.
    assert_eq!(traces().await, 3, "{:?}", rows(&stack).await);
    assert!(stack.sweep().await.unwrap().outcomes.is_empty());
    // Meta repeats the request: it is done, and stays done.
    let again = service.delete_data(wish.as_bytes(), stack.clock().now()).await.unwrap();
    assert!(matches!(again.progress, Progress::Done(at) if at == stack.clock().now()), "{again:?}");
}

/// Hundreds may wait for one token: their failing writes would delay the write that they wait for.
#[tokio::test]
async fn a_caller_who_waits_for_a_token_does_not_write() {
    let stack = stack_with(&SHORT_WAIT).await;
    let ada = account(&stack, "ada");
    let (watched, service) = Proxy::start(&stack).await;
    Browser::new().connect(&stack, &ada).await;
    stack.clock().advance(DAY * 41);
    let now = stack.clock().now();
    let lease = Lease { owner: "somebody else", until: now + Duration::from_mins(2) };
    let user_id = ada.parse().unwrap();
    let leased = stack.service().store().lease(&Key::grant(&user_id), LeaseReason::Due, lease, now).await;
    assert!(matches!(leased, Ok(LeaseOutcome::Leased(_))));
    watched.fail(Fault::AnswerLost, "UpdateItem", 0);
    let vended = service.vend(&user_id, SignedDuration::ZERO, None, now).await.unwrap();
    assert_eq!(vended.access_token.expose(), token(&stack, &ada).await);
    assert!(!watched.has_failed(), "it wrote");
}

/// A caller says that a token is refused, and the answer of the write that vouches for it is lost:
/// the caller gets the token.
#[tokio::test]
async fn a_vouch_whose_answer_is_lost_is_no_failure() {
    let (stack, ada) = connected_ada().await;
    let (watched, service) = Proxy::start(&stack).await;
    let held = token(&stack, &ada).await;
    stack.clock().advance(DAY);
    let now = stack.clock().now();
    // The first is the lease.
    watched.fail(Fault::AnswerLost, "UpdateItem", 1);
    let doubted = refused(&held).split_once('=').unwrap().1.parse().unwrap();
    let user_id = ada.parse().unwrap();
    let vended = service.vend(&user_id, SignedDuration::ZERO, Some(&doubted), now).await.unwrap();
    assert!(watched.has_failed());
    assert_eq!(vended.access_token.expose(), held);
}

/// A single refusal that concerns the item may be an accident: a new token is written again.
#[tokio::test]
async fn an_item_that_is_refused_once_loses_no_token() {
    let (stack, ada) = connected_ada().await;
    stack.sandbox().unwrap().set_old_token_behaviour(OldToken::NewTokenOldDead);
    let (watched, service) = Proxy::start(&stack).await;
    stack.clock().advance(41 * DAY);
    // The lease and the rehearsal are before it.
    watched.fail(Fault::Aws(400, "ValidationException"), "UpdateItem", 2);
    let report = service.sweep(stack.clock().now(), Duration::from_mins(15)).await.unwrap();
    assert!(watched.has_failed());
    assert_eq!(report.count(RefreshOutcome::Refreshed), 1, "{report:?}");
    assert!(is_usable(&stack, &token(&stack, &ada).await).await);
}

/// The database redeems a completion code, and its answer is lost: the code is not spent in vain.
#[tokio::test]
async fn a_completion_whose_answer_is_lost_is_no_failure() {
    let (stack, ada) = stack_of_ada().await;
    let (watched, service) = Proxy::start(&stack).await;
    let now = stack.clock().now();
    let session = service.create_session(crate::connect::new_session("user-1"), now).await.unwrap();
    let mut browser = Browser::new();
    let back = browser.consent(&stack, &format!("session={}", session.id), &ada).await;
    let location = browser.get(back.as_str()).await.location();
    let completion = parameter(&location, "completion");
    watched.fail(Fault::AnswerLost, "TransactWriteItems", 0);
    let completed = service.complete_session(&session.id, &completion, "user-1", now).await.unwrap();
    assert!(watched.has_failed());
    assert_eq!(completed.user_id.as_str(), ada);
    assert_eq!(grant(&stack, &ada).await.claim.owner().unwrap().reference, "user-1");
}

/// The database fails at each step of a completion: the code is as good as before.
#[tokio::test]
async fn a_failing_store_does_not_spend_a_completion_code() {
    let (stack, ada) = stack_of_ada().await;
    let (failing, service) = Proxy::start(&stack).await;
    let (id, completion) = finished(&stack, new("r"), &ada).await;
    let now = stack.clock().now();
    // It reads the session and the account.
    for (operation, after) in [("GetItem", 0), ("GetItem", 1), ("TransactWriteItems", 0)] {
        failing.fail(Fault::DENIED, operation, after);
        let failed = service.complete_session(&id, &completion, "r", now).await;
        assert!(
            matches!(&failed, Err(CompleteError::Store(StoreError::DynamoDb(error))) if error.kind == FailureKind::Denied),
            "{operation} {after}: {failed:?}"
        );
        assert!(failing.has_failed(), "{operation} {after}");
    }
    let completed = service.complete_session(&id, &completion, "r", now).await.unwrap();
    assert_eq!(completed.user_id.as_str(), ada);
}

/// One partition of the due index cannot be read: the others are swept, and it is counted.
#[tokio::test]
async fn a_partition_that_cannot_be_read_is_counted() {
    let stack = stack().await;
    let people = connect_people(&stack, PEOPLE).await;
    let (failing, service) = Proxy::start(&stack).await;
    stack.clock().advance(41 * DAY);
    // The first is for the deletions that are unfinished.
    failing.fail(Fault::DENIED, "Query", 1);
    let report = service.sweep(stack.clock().now(), Duration::from_mins(15)).await.unwrap();
    assert!(failing.has_failed());
    assert_eq!(report.unreadable_shards, 1);
    let refreshed = report.count(RefreshOutcome::Refreshed);
    assert!((1..PEOPLE).contains(&refreshed), "{report:?}");
    // Its tokens are still due, and the report has their age.
    assert!(report.oldest_overdue_seconds >= 86_400, "{report:?}");
    let rest = service.sweep(stack.clock().now(), Duration::from_mins(15)).await.unwrap();
    assert_eq!(refreshed + rest.count(RefreshOutcome::Refreshed), people.len() as u64);
}

/// Nobody knows how old the tokens of a partition are that cannot be read: the worst is assumed.
#[tokio::test]
async fn a_partition_that_cannot_be_looked_into_is_overdue() {
    let (stack, _) = stack_of_ada().await;
    let (failing, service) = Proxy::start(&stack).await;
    // The deletions and each partition are read for what is due: the last one fails, and so does
    // each that is read for the oldest that is still due.
    failing.fail_on(Fault::DENIED, "Query", usize::from(schedule::DUE_SHARDS));
    let report = service.sweep(stack.clock().now(), Duration::from_mins(15)).await.unwrap();
    assert!(failing.struck() > 1);
    assert_eq!((report.unreadable_shards, report.oldest_overdue_seconds), (1, 60 * 86_400));
}

/// The secrets of a stack with accounts have lost their values: that is no stack that nobody has
/// configured yet.
#[tokio::test]
async fn a_stack_that_has_lost_its_secrets_is_not_a_new_one() {
    let (stack, ada) = stack_of_ada().await;
    let client = aws::secrets_manager(&stack.service().config().aws, &http());
    client.create_secret().name("empty").send().await.unwrap();
    let mut variables = stack.variables().clone();
    variables.insert("KEYRING_SECRET_ID".to_owned(), "empty".to_owned());
    let service = ThreadsAuth::new(Config::from_vars(&variables, None).unwrap()).unwrap();
    let now = stack.clock().now();
    let swept = async || service.sweep(now, Duration::from_mins(15)).await.unwrap_err();
    assert!(swept().await.is_unconfigured());
    Browser::new().connect(&stack, &ada).await;
    assert!(!swept().await.is_unconfigured());
}

/// Strangers call a stack that has no secrets yet: each secret is requested once in five seconds,
/// and found soon after it was written.
#[tokio::test]
async fn a_failure_to_read_a_secret_is_not_repeated_for_everybody() {
    let stack = stack().await;
    let ids = ["APP_SECRET_ID", "KEYRING_SECRET_ID"].map(|name| {
        let old = stack.variables()[name].clone();
        let new = format!("{old}-new");
        (name, old, new)
    });
    let renamed = ids.each_ref().map(|(name, _, new)| (*name, new.as_str()));
    let (proxy, config) = Proxy::before(&stack, &renamed).await;
    let service = ThreadsAuth::new(config).unwrap();
    let reads = || proxy.calls().iter().filter(|call| *call == "GetSecretValue").count();
    let now = stack.clock().now();
    for _ in 0..100 {
        let refused = service.begin_connect("", &[], now).await.err().unwrap();
        assert!(matches!(refused.reason, ConnectError::Secrets(_)), "{refused:?}");
        assert!(service.deauthorize(b"signed_request=a.b", now).await.is_err());
    }
    let asked = reads();
    println!("secrets: 200 requests to a stack without any, {asked} reads");
    assert_eq!(asked, 2);

    // One is written, and one is nonsense: that is not read again and again either.
    let client = aws::secrets_manager(&stack.service().config().aws, &http());
    let keyring = secret_text(&stack, &ids[1].1).await;
    client.create_secret().name(&ids[0].2).secret_string("{}").send().await.unwrap();
    client.create_secret().name(&ids[1].2).secret_string(keyring).send().await.unwrap();
    let later = now + SignedDuration::from_secs(5);
    for _ in 0..100 {
        assert!(service.begin_connect("", &[], later).await.is_err());
    }
    assert!((3..=4).contains(&reads()));
    let app = secret_text(&stack, &ids[0].1).await;
    client.put_secret_value().secret_id(&ids[0].2).secret_string(app).send().await.unwrap();
    assert!(service.begin_connect("", &[], later + SignedDuration::from_secs(4)).await.is_err());
    service.begin_connect("", &[], later + SignedDuration::from_secs(5)).await.unwrap();
    // A clock that was put right does not make a failure last.
    assert!(reads() <= 6);
}
