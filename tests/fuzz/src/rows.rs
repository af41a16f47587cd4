//! Rows of the tables: any attributes with any values of DynamoDB's, and the writes of a row.

use std::collections::HashMap;

use arbitrary::{Result, Unstructured};
use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use jiff::{SignedDuration, Timestamp};
use threads_auth_client::Event;
use threads_auth_model::events::{self, ChangeId};
use threads_auth_model::rules::{self, Beside, Deferral, Lease, LeaseReason, NewConsent, NewGrant, Refreshed, Right};
use threads_auth_model::schedule::{self, DataAccess, Life};
use threads_auth_model::{
    Access, Attempt, Attribute as A, Cause, Change, Claim, Effect, Ends, FailureClass, Grant, Inconsistency, Key,
    Live, Progress, Pseudonym, RevokedBy, Row, ScopesSource, Session, SessionState, SessionStatus, State, Summary,
    Suspicion, Value, backup, claiming,
};
use threads_auth_store::{Item, row};
use threads_graph::{ReauthorizationCause, Scopes, UserId};

const USER: &str = "17841400000000001";
const OWNER: &str = "a-worker";
const NOW: i64 = 1_760_000_000;
const DAY: i64 = 86_400;

const TEXTS: [&str; 31] = [
    "", "1", "2", "user-7", "pending", "active", "needs_reauthorization", "revoked", "open", "connected", "denied",
    "failed", "expired", "granted", "requested", "threads", "app", "unclaimed", "token", "data_access", "app_removed",
    "not_completed", "data_access_expired", "threads_basic,threads_delete", "threads_basic,?,,", "p_AAAAAAAAAAAAAAAA",
    "broken_row", "due-00", "due-15", OWNER, USER,
];

pub(crate) fn run(data: &[u8]) {
    // An input that is too short is none.
    let _ = check(&mut Unstructured::new(data));
}

fn check(u: &mut Unstructured<'_>) -> Result<()> {
    let now = at(NOW + u.int_in_range(-400 * DAY..=400 * DAY)?);
    let random = u.arbitrary()?;
    let old = row(&item(u, &sound())?);
    let new = row(&item(u, &sound())?);
    let short = row(&item(u, &session())?);
    ends(&old, now);
    events_of(&old, &new, now);
    restored(&old, &new, now);
    sessions(&short, now);
    let _ = Progress::from_row("grants", &old).map_err(|error| assert_names(&error, &old));
    match Grant::from_row("grants", &old) {
        Ok(grant) => {
            schedules(&grant, now, random);
            writes(&grant, &old, now, random);
        }
        Err(error) => assert_names(&error, &old),
    }
    connects(&old, now);
    Ok(())
}

// Rows.

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn user() -> UserId {
    USER.parse().unwrap()
}

fn text(text: &str) -> AttributeValue {
    AttributeValue::S(text.to_owned())
}

fn number(number: i64) -> AttributeValue {
    AttributeValue::N(number.to_string())
}

fn bytes(bytes: &[u8]) -> AttributeValue {
    AttributeValue::B(Blob::new(bytes))
}

/// A grant that is active and leased.
fn sound() -> Item {
    named([
        (A::Pk, text(Key::grant(&user()).as_str())),
        (A::UserId, text(USER)),
        (A::GrantId, text("a-generation")),
        (A::Status, text("active")),
        (A::Token, bytes(b"sealed")),
        (A::TokenId, text("a-token")),
        (A::IssuedAt, number(NOW - 30 * DAY)),
        (A::ExpiresAt, number(NOW + 30 * DAY)),
        (A::DueAt, number(NOW)),
        (A::DueShard, text(&schedule::shard(&user()))),
        (A::LeaseOwner, text(OWNER)),
        (A::LeaseUntil, number(NOW + 100)),
        (A::CreatedAt, number(NOW - 90 * DAY)),
        (A::ConnectedAt, number(NOW - 90 * DAY)),
        (A::UpdatedAt, number(NOW - 30 * DAY)),
        (A::Scopes, text("threads_basic,threads_delete")),
    ])
}

/// A session that is open.
fn session() -> Item {
    named([
        (A::Pk, text("session#an-id")),
        (A::Id, text("an-id")),
        (A::Reference, text("user-7")),
        (A::Status, text("open")),
        (A::ExpiresAt, number(NOW + 600)),
        (A::Ttl, number(NOW + DAY)),
    ])
}

fn named<const N: usize>(attributes: [(A, AttributeValue); N]) -> Item {
    HashMap::from(attributes.map(|(attribute, value)| (attribute.as_str().to_owned(), value)))
}

/// Returns an item: this one after some changes, or any other.
fn item(u: &mut Unstructured<'_>, base: &Item) -> Result<Item> {
    let mut item = if u.ratio(7, 8)? { base.clone() } else { Item::new() };
    for _ in 0..u.int_in_range(0..=8)? {
        let attribute = u.choose(&A::ALL)?.as_str().to_owned();
        if u.ratio(1, 4)? {
            item.remove(&attribute);
        } else {
            item.insert(attribute, value(u)?);
        }
    }
    if u.ratio(1, 16)? {
        item.insert(u.arbitrary()?, value(u)?);
    }
    Ok(item)
}

fn value(u: &mut Unstructured<'_>) -> Result<AttributeValue> {
    Ok(match u.int_in_range(0..=9)? {
        0..=2 => text(u.choose(&TEXTS)?),
        3 => text(u.arbitrary()?),
        4 | 5 => number(NOW + u.int_in_range(-100 * DAY..=100 * DAY)?),
        6 => number(*u.choose(&[0, 1, -1, 3, 14, i64::from(u32::MAX), i64::MAX, i64::MIN, 253_402_207_200, 253_402_207_201])?),
        7 => bytes(u.arbitrary()?),
        8 => AttributeValue::L(u.arbitrary::<Vec<String>>()?.into_iter().map(AttributeValue::S).collect()),
        _ => match u.int_in_range(0..=6)? {
            0 => AttributeValue::N((*u.choose(&["", "1.5", "1E+3", "-0", "9223372036854775808", " 1", "+1"])?).to_owned()),
            1 => AttributeValue::Null(true),
            2 => AttributeValue::Bool(u.arbitrary()?),
            3 => AttributeValue::M(HashMap::new()),
            4 => AttributeValue::Ss(vec!["active".to_owned()]),
            5 => AttributeValue::L(vec![text("threads_basic"), number(1)]),
            _ => number(u.arbitrary()?),
        },
    })
}

// Properties.

/// An error names what is wrong, and no person.
fn assert_names(error: &Inconsistency, row: &Row) {
    let problem = if row.get(error.attribute).is_some() { "malformed" } else { "missing" };
    assert_eq!(error.problem, problem, "{error}");
    if let Some(person) = row.text(A::Pk).and_then(|key| key.strip_prefix(Key::USERS)).filter(|id| id.len() > 8) {
        assert!(!error.to_string().contains(person), "{error}");
    }
}

fn ends(row: &Row, now: Timestamp) {
    let ends = Ends::of(row);
    let effect = ends.on(now);
    // Ends that the condition lets pass have no effect. A damaged time lets nothing pass.
    assert!(effect == Effect::None || !Ends::no_other(None, now).holds(row));
}

fn sessions(row: &Row, now: Timestamp) {
    let session = match Session::from_row("short-lived", row) {
        Ok(session) => session,
        Err(error) => return assert_names(&error, row),
    };
    assert_eq!(session.status_at(now) == SessionStatus::Expired, session.expires_at <= now
        && matches!(session.state, SessionState::Open | SessionState::Connected { .. }));
    let fresh = Session { state: SessionState::Open, failures: 0, ..session.clone() };
    let again = Session::from_row("short-lived", &fresh.to_row()).unwrap();
    assert_eq!(format!("{again:?}"), format!("{fresh:?}"), "what is written is read back");
    for status in [SessionStatus::Denied, SessionStatus::Failed] {
        let note = session.note(Attempt { status, reason: "a_reason", is_failed_exchange: true });
        if let Some(after) = note.and_then(|change| change.apply(row.clone())) {
            let after = Session::from_row("short-lived", &after).unwrap();
            assert_eq!((after.state.status(), after.failures), (status, session.failures.saturating_add(1)));
        }
    }
    let connect = session.connect(&user(), "a-hash", None, now);
    let Some(connected) = connect.apply(row.clone()) else { return };
    let after = Session::from_row("short-lived", &connected).unwrap();
    assert!(after.is_closed() && after.expires_at >= schedule::add(now, 600).min(after.expires_at));
    let complete = SessionState::complete(&session.id, "a-hash", "a-call", now);
    if let Some(completed) = complete.apply(connected) {
        let after = Session::from_row("short-lived", &completed).unwrap();
        assert!(matches!(after.state, SessionState::Completed { at, .. } if at.as_second() == now.as_second()));
    }
}

fn schedules(grant: &Grant, now: Timestamp, random: u64) {
    let access = DataAccess::of(grant);
    let _ = (schedule::claim_look(grant), access.is_doubtful(now), access.end());
    assert!(serde_json::to_string(&Summary::from(grant.clone())).is_ok());
    let Some(live) = grant.live() else { return };
    let times = Life::of(live);
    let due = schedule::token_due(&grant.user_id, live);
    assert!(due <= times.expires_at);
    let look = schedule::next_look(due, access, now);
    assert!(look <= due && (look == due || look > now));
    let _ = schedule::warning(live.expires_at, live.data_access_expires_at, now);
    let cause = Cause::Threads(ReauthorizationCause::Invalid);
    let suspicion = live.suspicion.unwrap_or(Suspicion { cause, since: now });
    assert!(schedule::second_look(live, suspicion, now, random) > now);
    for failures in [0, grant.failures, u32::MAX] {
        let retry = schedule::retry_at(now, live.expires_at, failures, None, random);
        assert!(retry > now && retry <= schedule::add(now, DAY));
        assert!(schedule::vouched_until(now, failures) > now);
    }
    for reported in [0, 1, 5_184_000, u64::MAX / 2] {
        let reported = std::time::Duration::from_secs(reported);
        let new = times.refreshed(now, Some(reported));
        assert!(new.issued_at == now && new.expires_at > now || reported.is_zero(), "{new:?}");
        assert!(new.due_at(&grant.user_id) <= new.expires_at);
    }
    // The reported end is taken, or nothing is.
    let reported = schedule::add(now, i64::try_from(random % (200 * DAY.unsigned_abs())).unwrap() - 100 * DAY);
    let found = times.found(Some(reported));
    assert!(found == times || found.is_assumed || found.expires_at == reported, "{times:?} {found:?} {reported}");
}

/// No write makes a row unreadable that was not.
fn writes(grant: &Grant, row: &Row, now: Timestamp, random: u64) {
    let key = Key::grant(&grant.user_id);
    let lease = Lease { owner: OWNER, until: schedule::add(now, 120) };
    let access = Access {
        scopes: Scopes::default(),
        source: ScopesSource::Granted,
        data_access_expires_at: Some(schedule::add(now, 90 * DAY)),
    };
    let deferral = Deferral {
        grant_id: Some(&grant.grant_id),
        due_at: schedule::add(now, 300),
        failures: grant.failures,
        class: Some(FailureClass::BrokenRow),
        warning: None,
        had_consent: grant.consent().is_some(),
        is_settled: grant.is_settled(),
    };
    let mut changes = vec![
        rules::lease(&key, LeaseReason::Due, lease, now),
        rules::release(&key, Right::Done(lease)),
        rules::defer(&key, lease, deferral, now),
        rules::revoke(&grant.user_id, RevokedBy::App, now, now),
        claiming::claim(grant, "user-7", now),
        claiming::assign(&grant.user_id, None, now),
        claiming::announce_end(grant, lease, now),
        claiming::end_unclaimed(grant, lease, now),
    ];
    changes.extend(claiming::claim_and_settle(grant, "user-7", now));
    if let Some(consent) = grant.consent() {
        changes.push(rules::drop_consent(grant, &consent.token, lease, now));
        changes.push(rules::complete_consent(&new_grant(&grant.user_id, now), &consent.token, Some(lease), now));
    }
    if let Some(live) = grant.live() {
        changes.extend(writes_of_a_token(grant, live, lease, &access, now, random));
        if let State::Appealable(..) = grant.state {
            changes.push(rules::close_appeal(grant, live, lease));
        }
    }
    for change in changes {
        if let Some(after) = change.apply(row.clone()) {
            assert_read(&change, &after);
        }
    }
}

fn writes_of_a_token(
    grant: &Grant,
    live: &Live,
    lease: Lease<'_>,
    access: &Access,
    now: Timestamp,
    random: u64,
) -> Vec<Change> {
    let cause = Cause::Threads(ReauthorizationCause::Invalid);
    let suspicion = Suspicion { cause, since: now };
    let refreshed = Refreshed {
        sealed: b"new",
        token_id: "a-new-token",
        previous: Some(&live.token),
        pseudonym: "p_AAAAAAAAAAAAAAAA",
        life: Life::of(live).refreshed(now, None),
        retry_at: random.is_multiple_of(2).then(|| schedule::add(now, 300)),
    };
    let beside = Beside { lease: random.is_multiple_of(3), consent: grant.consent().is_some() };
    vec![
        rules::store_refreshed(grant, live, refreshed, lease, beside, now),
        rules::store_access(grant, live, access, Right::Done(lease), now),
        rules::store_life(grant, live, access, Life::new(now, None), now),
        rules::assume_extended(grant, live, lease, now),
        rules::vouch(grant, live, lease, now),
        rules::suspect(grant, live, suspicion, schedule::add(now, 900), Right::Held(lease), now),
        rules::suspected(grant, live, suspicion, schedule::add(now, 900), Right::End),
        rules::end(grant, live, lease, cause, now),
        rules::end(grant, live, lease, Cause::Threads(ReauthorizationCause::AppRemoved), now),
    ]
}

fn assert_read(change: &Change, after: &Row) {
    let read = Grant::from_row("grants", after);
    let grant = read.unwrap_or_else(|error| panic!("{} makes a row unreadable: {error}", change.operation));
    // An account that a write has ended is not looked at.
    let sets_status = change.set.iter().any(|(attribute, _)| *attribute == A::Status);
    if let State::Revoked(_, None) | State::Final(_, None) = grant.state {
        assert!(!sets_status || grant.due_at.is_none(), "{}", change.operation);
    }
}

/// A connect heals a row, whatever it was.
fn connects(row: &Row, now: Timestamp) {
    let user_id = user();
    let new = new_grant(&user_id, now);
    if let Some(mut after) = rules::connect(&new, None, now).apply(row.clone()) {
        after.set(A::Pk, Key::grant(&user_id).as_str());
        let grant = Grant::from_row("grants", &after).unwrap();
        assert!(matches!(&grant.state, State::Active(live, None) if live.token == b"first"));
        assert_eq!((grant.user_id.as_str(), grant.connected_at.as_second()), (USER, now.as_second()));
        assert!(grant.due_at.is_some());
    }
    let consent = NewConsent {
        user_id: &user_id,
        grant_id: "a-new-generation",
        pseudonym: "p_AAAAAAAAAAAAAAAA".parse::<Pseudonym>().unwrap(),
        begun_at: now,
        sealed: b"short".to_vec(),
        scopes: &Scopes::default(),
        expires_at: schedule::add(now, 3_600),
    };
    let is_sound = row == &Row::default() || Grant::from_row("grants", row).is_ok();
    if let Some(mut after) = rules::consent(&consent, now).apply(row.clone()).filter(|_| is_sound) {
        after.set(A::Pk, Key::grant(&user_id).as_str());
        let grant = Grant::from_row("grants", &after).unwrap();
        assert!(grant.consent().is_some_and(|consent| consent.token == b"short"));
    }
}

fn new_grant(user_id: &UserId, now: Timestamp) -> NewGrant<'_> {
    NewGrant {
        user_id,
        grant_id: "a-new-generation",
        begun_at: Some(now.checked_sub(SignedDuration::from_secs(60)).unwrap()),
        sealed: b"first".to_vec(),
        access: Access { scopes: Scopes::default(), source: ScopesSource::Requested, data_access_expires_at: None },
        username: Some("ada".to_owned()),
        pseudonym: "p_AAAAAAAAAAAAAAAA".parse::<Pseudonym>().unwrap(),
        life: Life::new(now, None),
    }
}

fn events_of(old: &Row, new: &Row, now: Timestamp) {
    let change = ChangeId { id: "a-change", number: "00012" };
    let [was, is] = [old, new].map(|row| Grant::from_row("grants", row).ok());
    let mut announced = events::events(change, was.as_ref(), is.as_ref(), now);
    if let Some(is) = &is {
        announced.extend(events::mended(change, old, is, now));
    }
    announced.push(events::deleted(change, &user(), old, now));
    announced.extend(events::unreadable(change, &user(), old, new, now));
    for event in announced {
        let text = serde_json::to_vec(&event).unwrap();
        let read = Event::parse(&text).unwrap_or_else(|error| panic!("{error} in {event:?}"));
        assert_eq!((read.id.as_str(), read.user_id.as_str()), (event.id.as_str(), event.user_id.as_str()));
        assert_eq!((read.order.unwrap().as_str(), read.reference), ("12", event.reference));
        assert_eq!(read.time, event.time);
    }
}

/// A backup that can be read is one after its restore, too.
fn restored(backup: &Row, seen: &Row, now: Timestamp) {
    let _ = Claim::of(seen);
    assert!(backup::unchanged(seen).holds(seen) && backup::ends_unchanged(seen).holds(seen));
    if Grant::from_row("grants", backup).is_err() {
        return;
    }
    for keeps_claim in [true, false] {
        let row = backup::restored(&user(), backup.clone(), seen, &Ends::of(seen), keeps_claim, now);
        let grant = Grant::from_row("grants", &row).unwrap();
        assert_eq!(grant.due_at.is_some(), row.get(A::Token).is_some() || row.get(A::PendingToken).is_some());
        assert!(row.get(A::LeaseOwner).is_none() && !matches!(row.get(A::DueAt), Some(Value::Other)));
    }
}
