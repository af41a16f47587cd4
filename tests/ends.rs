//! Ends, and the consents around them: a person leaves, or the app lets go, while a connect is
//! under way, before it, or after.

use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use devstack::Stack;
use jiff::Timestamp;
use reqwest::{Method, StatusCode};
use serde_json::Value;
use threads_auth::RefreshOutcome;
use threads_auth_model::{Attribute, Grant, Status};
use threads_auth_store::{Item, aws};
use threads_sandbox::{FaultAction, SandboxCall};
use url::Url;

use crate::fixture::{
    Browser, DAY, HOLD, Reply, START, account, calls_of, connected_ada, delete_data, fail, faults_struck,
    find_grant, grant, http, options, post_signed, respond, rows, set_attribute, stack, stack_of_ada, token,
};
use crate::iam;

const MINUTE: Duration = Duration::from_mins(1);

/// Meta's answer for a token whose person has removed the app.
const REMOVED: FaultAction =
    FaultAction::GraphError { code: 190, subcode: Some(458), is_transient: false, status: 400 };

/// A way in which an account ends.
#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    Deauthorization,
    Deletion,
    Disconnect,
}

impl End {
    const ALL: [Self; 3] = [Self::Deauthorization, Self::Deletion, Self::Disconnect];

    /// The request that ends an account, as it would be sent now.
    fn of(self, stack: &Stack, user_id: &str) -> Ending {
        let message = stack.sandbox().unwrap().signed_request(user_id);
        Ending { end: self, user_id: user_id.to_owned(), message }
    }
}

/// A request that ends an account, and that may arrive late.
struct Ending {
    end: End,
    user_id: String,
    message: String,
}

impl Ending {
    async fn arrive(&self, stack: &Stack) -> Reply {
        match self.end {
            End::Deauthorization => post_signed(stack, "/deauthorize", &self.message).await,
            End::Deletion => post_signed(stack, "/data-deletion", &self.message).await,
            End::Disconnect => {
                iam::call(stack, Method::DELETE, &format!("/users/{}", self.user_id), "").await
            }
        }
    }
}

async fn is_active(stack: &Stack, user_id: &str) -> bool {
    find_grant(stack, user_id).await.is_some_and(|grant| grant.status() == Status::Active)
}

fn is_suspected(grant: &Grant) -> bool {
    grant.live().is_some_and(|live| live.suspicion.is_some())
}

async fn vend(stack: &Stack, user_id: &str) -> StatusCode {
    iam::call(stack, Method::GET, &format!("/users/{user_id}/token"), "").await.status
}

/// Finishes a connect. While Meta takes its time for the long-lived token, `meanwhile` happens; and
/// `then`, before Meta's next response.
async fn connect_while(
    stack: &Stack,
    browser: &mut Browser,
    back: &Url,
    meanwhile: impl Future<Output = ()>,
    then: impl FnOnce(),
) -> Reply {
    fail(stack, SandboxCall::ExchangeLongLived, 1, HOLD);
    let ending = async {
        faults_struck(stack).await;
        meanwhile.await;
        stack.sandbox().unwrap().clear_faults();
        then();
    };
    let (reply, ()) = tokio::join!(browser.get(back.as_str()), ending);
    reply
}

/// Threat end-during-connect: each end, at each step of a connect, of a person who is known and of
/// one who is not.
#[tokio::test]
async fn threat_an_end_beats_a_connect_under_way() {
    let (mut ended, mut active) = (0, 0);
    for end in End::ALL {
        for is_known in [false, true] {
            for is_at_meta in [false, true] {
                let stack = stack().await;
                let ada = account(&stack, "ada");
                if is_known {
                    Browser::new().connect(&stack, &ada).await;
                    stack.clock().advance(DAY);
                }
                let mut browser = Browser::new();
                let back = browser.consent(&stack, "", &ada).await;
                stack.clock().advance(MINUTE);
                let ending = end.of(&stack, &ada);
                let arrives = async {
                    let answer = ending.arrive(&stack).await;
                    let is_unknown = end == End::Disconnect && !is_known;
                    let status = if is_unknown { StatusCode::NOT_FOUND } else { StatusCode::OK };
                    assert_eq!(answer.status, status, "{end:?}: {answer:?}");
                };
                // Meta refuses the token of a person who removes the app. It does not see a
                // deletion by the app.
                let refuse = || {
                    if end == End::Deauthorization {
                        fail(&stack, SandboxCall::Me, u32::MAX, REMOVED);
                    }
                };
                let reply = if is_at_meta {
                    arrives.await;
                    refuse();
                    browser.get(back.as_str()).await
                } else {
                    connect_while(&stack, &mut browser, &back, arrives, refuse).await
                };
                let case = format!("{end:?}, known: {is_known}, at Meta: {is_at_meta}");
                ended += 1;
                active += u32::from(is_active(&stack, &ada).await);
                assert!(reply.is_page("ended"), "{case}: {reply:?}");
                assert_eq!(reply.status, StatusCode::GONE, "{case}");
                assert_ne!(vend(&stack, &ada).await, StatusCode::OK, "{case}");
                // A flow that begins after it is a new consent.
                stack.sandbox().unwrap().clear_faults();
                stack.clock().advance(MINUTE);
                Browser::new().connect(&stack, &ada).await;
                assert_eq!(grant(&stack, &ada).await.status(), Status::Active, "{case}");
            }
        }
    }
    println!(
        "threat end-during-connect: {ended} ends while a connect was under way: {active} accounts active after their end"
    );
    assert_eq!((ended, active), (12, 0));
}

/// The row that outlives a grant, if there is one.
async fn find_end(stack: &Stack) -> Option<Item> {
    let rows = rows(stack).await;
    rows.into_iter().find(|row| row["pk"].as_s().unwrap().starts_with("tombstone#"))
}

/// Meta's answer decides where the clocks cannot. Without it the token is kept, and checked soon.
#[tokio::test]
async fn metas_word_decides_where_the_clocks_do_not() {
    // Minutes from the start of the flow to the end, and true if Meta is asked.
    for (minutes, is_asked) in [(-11, false), (-10, true), (-1, true), (1, true)] {
        for word in [Some(true), Some(false), None] {
            let stack = stack().await;
            let ada = account(&stack, "ada");
            stack.clock().advance(DAY);
            let mut browser = Browser::new();
            let (back, ending);
            if minutes < 0 {
                ending = End::Deauthorization.of(&stack, &ada);
                stack.clock().advance(MINUTE * u32::try_from(-minutes).unwrap());
                back = browser.consent(&stack, "", &ada).await;
            } else {
                back = browser.consent(&stack, "", &ada).await;
                stack.clock().advance(MINUTE);
                ending = End::Deauthorization.of(&stack, &ada);
            }
            ending.arrive(&stack).await;
            stack.clock().advance(MINUTE);
            match word {
                Some(true) => {}
                Some(false) => fail(&stack, SandboxCall::Me, u32::MAX, REMOVED),
                None => fail(&stack, SandboxCall::Me, u32::MAX, respond(500, "")),
            }
            let reply = browser.get(back.as_str()).await;
            stack.sandbox().unwrap().clear_faults();
            let case = format!("{minutes} minutes, Meta: {word:?}");
            let is_refused = is_asked && word == Some(false);
            assert_eq!(reply.status == StatusCode::SEE_OTHER, !is_refused, "{case}: {reply:?}");
            assert_eq!(is_active(&stack, &ada).await, !is_refused, "{case}");
            if is_refused {
                continue;
            }
            let is_doubtful = is_asked && word.is_none();
            assert_eq!(is_suspected(&grant(&stack, &ada).await), is_doubtful, "{case}");
            // Only a doubtful grant is due before its time.
            stack.clock().advance(MINUTE * 5);
            let report = stack.sweep().await.unwrap();
            assert_eq!(report.outcomes.values().sum::<u64>(), u64::from(is_doubtful), "{case}: {report:?}");
            assert!(!is_suspected(&grant(&stack, &ada).await), "{case}");
            assert_eq!(vend(&stack, &ada).await, StatusCode::OK, "{case}");
        }
    }
}

/// Meta's message about an end between the beginning and the end of a flow arrives after all is
/// stored.
#[tokio::test]
async fn a_late_end_is_decided_by_metas_word() {
    for end in [End::Deauthorization, End::Deletion] {
        for word in [Some(true), Some(false), None] {
            let stack = stack().await;
            let ada = account(&stack, "ada");
            let mut browser = Browser::new();
            let back = browser.consent(&stack, "", &ada).await;
            stack.clock().advance(MINUTE);
            let ending = end.of(&stack, &ada);
            stack.clock().advance(MINUTE);
            assert_eq!(browser.get(back.as_str()).await.status, StatusCode::SEE_OTHER);
            match word {
                Some(true) => {}
                Some(false) => fail(&stack, SandboxCall::Me, u32::MAX, REMOVED),
                None => fail(&stack, SandboxCall::Me, u32::MAX, respond(500, "")),
            }
            let answer = ending.arrive(&stack).await;
            assert_eq!(answer.status, StatusCode::OK);
            let case = format!("{end:?}, Meta: {word:?}");
            assert_eq!(is_active(&stack, &ada).await, word != Some(false), "{case}");
            if word.is_some() {
                let page = page_of(&answer).await;
                let told = if word == Some(true) { "deletion_kept" } else { "deleted" };
                assert!(page.is_none_or(|page| says(&page, told)), "{case}");
                continue;
            }
            // An undecided deletion is not reported as done, and the next sweep tries again.
            assert!(page_of(&answer).await.is_none_or(|page| page.status == StatusCode::ACCEPTED), "{case}");
            let report = stack.sweep().await.unwrap();
            let unfinished = u64::from(end == End::Deletion);
            assert_eq!(report.count(RefreshOutcome::DeletionUnfinished), unfinished, "{case}: {report:?}");
            assert_eq!(report.count(RefreshOutcome::DeletionFinished), 0, "{case}");
            stack.sandbox().unwrap().clear_faults();
            fail(&stack, SandboxCall::Me, u32::MAX, REMOVED);
            stack.clock().advance(MINUTE * 5);
            stack.sweep().await.unwrap();
            assert!(!is_active(&stack, &ada).await, "{case}");
            assert!(page_of(&answer).await.is_none_or(|page| says(&page, "deleted")), "{case}");
        }
    }
}

/// The page of a deletion, by Meta's answer; none of a deauthorization.
async fn page_of(answer: &Reply) -> Option<Reply> {
    let answer: Value = serde_json::from_str(&answer.body).unwrap();
    Some(Browser::new().get(answer["url"].as_str()?).await)
}

/// A page of success names itself by its title only.
fn says(page: &Reply, name: &str) -> bool {
    let title = match name {
        "deleted" => "Your data was deleted",
        "deletion_kept" => "You have connected again since",
        _ => "Your data is being deleted",
    };
    page.body.contains(title)
}

/// Threat older-consent-stored-last: two tabs, in both orders.
#[tokio::test]
async fn threat_the_newest_consent_wins() {
    let (mut orders, mut backwards) = (0, 0);
    // They come back in one second, or a minute apart.
    for (older_is_last, apart) in [(false, 0), (false, 1), (true, 0), (true, 1)] {
        let stack = stack().await;
        let ada = account(&stack, "ada");
        let (mut older, mut newer) = (Browser::new(), Browser::new());
        let narrow = older.consent(&stack, "scopes=threads_basic", &ada).await;
        stack.clock().advance(MINUTE);
        let wide = newer.consent(&stack, "scopes=threads_basic,threads_content_publish", &ada).await;
        if older_is_last {
            let overtaking = async {
                stack.clock().advance(MINUTE * apart);
                assert_eq!(newer.get(wide.as_str()).await.status, StatusCode::SEE_OTHER);
            };
            let reply = connect_while(&stack, &mut older, &narrow, overtaking, || ()).await;
            assert_eq!(reply.status, StatusCode::SEE_OTHER, "the person has connected: {reply:?}");
        } else {
            older.get(narrow.as_str()).await;
            stack.clock().advance(MINUTE * apart);
            newer.get(wide.as_str()).await;
        }
        let left = grant(&stack, &ada).await;
        orders += 1;
        backwards += u32::from(left.connected_at != stack.clock().now());
        assert_eq!(left.scopes.to_string(), "threads_basic,threads_content_publish", "{older_is_last}");
        assert_eq!(vend(&stack, &ada).await, StatusCode::OK);
        // Its state is spent all the same.
        assert_eq!(older.get(narrow.as_str()).await.status, StatusCode::CONFLICT);
    }
    println!(
        "threat older-consent-stored-last: two consents stored in {orders} orders: {backwards} times the older one won"
    );
    assert_eq!((orders, backwards), (4, 0));
}

/// Within one second: the milliseconds decide which came first.
#[tokio::test]
async fn a_backend_lets_its_user_connect_anew_at_once() {
    let half = Duration::from_millis(500);
    for disconnects_first in [true, false] {
        let start = START.parse::<Timestamp>().unwrap() + Duration::from_millis(200);
        let stack = Stack::start(options(start, &[])).await.unwrap();
        let ada = account(&stack, "ada");
        let (mut browser, ending) = (Browser::new(), End::Disconnect.of(&stack, &ada));
        let reply = if disconnects_first {
            ending.arrive(&stack).await;
            stack.clock().advance(half);
            browser.connect(&stack, &ada).await
        } else {
            let back = browser.consent(&stack, "", &ada).await;
            stack.clock().advance(half);
            ending.arrive(&stack).await;
            browser.get(back.as_str()).await
        };
        assert_eq!(reply.status == StatusCode::SEE_OTHER, disconnects_first, "{reply:?}");
        assert_eq!(is_active(&stack, &ada).await, disconnects_first);
    }
}

/// A person who removes the app and requests deletion causes two messages, in any order. With the
/// clocks in doubt both are decided alike.
#[tokio::test]
async fn two_late_ends_leave_nothing() {
    for order in [[End::Deauthorization, End::Deletion], [End::Deletion, End::Deauthorization]] {
        let stack = stack().await;
        let ada = account(&stack, "ada");
        let mut browser = Browser::new();
        let back = browser.consent(&stack, "", &ada).await;
        stack.clock().advance(MINUTE);
        let endings = order.map(|end| end.of(&stack, &ada));
        stack.clock().advance(MINUTE);
        assert_eq!(browser.get(back.as_str()).await.status, StatusCode::SEE_OTHER);
        fail(&stack, SandboxCall::Me, u32::MAX, REMOVED);
        for ending in &endings {
            let answer = ending.arrive(&stack).await;
            assert_eq!(answer.status, StatusCode::OK);
            assert!(page_of(&answer).await.is_none_or(|page| says(&page, "deleted")), "{order:?}");
        }
        assert!(find_grant(&stack, &ada).await.is_none(), "{order:?}");
    }
}

async fn change_row(stack: &Stack, user_id: &str, attribute: Attribute, value: Option<AttributeValue>) {
    if let Some(value) = value {
        return set_attribute(stack, user_id, attribute.as_str(), value).await;
    }
    let client = aws::dynamodb(&stack.service().config().aws, &http());
    let pk = AttributeValue::S(format!("user#{user_id}"));
    let update = client.update_item().table_name(&stack.urls().grants_table).key("pk", pk);
    let update = update.expression_attribute_names("#attribute", attribute.as_str());
    update.update_expression("REMOVE #attribute").send().await.unwrap();
}

#[tokio::test]
async fn an_end_decides_for_a_row_whose_times_are_damaged() {
    let damages =
        [None, Some(AttributeValue::S("soon".to_owned())), Some(AttributeValue::N("9e17".to_owned()))];
    for end in End::ALL {
        for damage in &damages {
            let stack = stack().await;
            let ada = account(&stack, "ada");
            Browser::new().connect(&stack, &ada).await;
            change_row(&stack, &ada, Attribute::ConnectedAt, damage.clone()).await;
            stack.clock().advance(MINUTE);
            let answer = end.of(&stack, &ada).arrive(&stack).await;
            assert_eq!(answer.status, StatusCode::OK, "{end:?} {damage:?}: {answer:?}");
            assert!(!is_active(&stack, &ada).await, "{end:?} {damage:?}");
            assert_ne!(vend(&stack, &ada).await, StatusCode::OK, "{end:?} {damage:?}");
            if end == End::Deletion {
                assert!(find_grant(&stack, &ada).await.is_none(), "{damage:?}");
                assert!(page_of(&answer).await.is_some_and(|page| says(&page, "deleted")));
            }
        }
    }
}

#[tokio::test]
async fn a_repeated_deletion_does_not_move_the_tombstone() {
    let (stack, ada) = connected_ada().await;
    stack.clock().advance(DAY);
    let wish = End::Deletion.of(&stack, &ada);
    let first = wish.arrive(&stack).await;
    let tombstone = find_end(&stack).await.unwrap();
    stack.clock().advance(Duration::from_mins(15));
    let mut browser = Browser::new();
    let back = browser.consent(&stack, "", &ada).await;
    stack.clock().advance(MINUTE);
    let again = wish.arrive(&stack).await;
    assert_eq!(again.body, first.body);
    assert_eq!(find_end(&stack).await.unwrap(), tombstone);
    assert_eq!(browser.get(back.as_str()).await.status, StatusCode::SEE_OTHER);
    assert!(is_active(&stack, &ada).await);
    // The end stays, and the later grant is left alone.
    wish.arrive(&stack).await;
    assert!(is_active(&stack, &ada).await);
    assert!(page_of(&first).await.is_some_and(|page| says(&page, "deleted")));
}

#[tokio::test]
async fn a_deletion_that_meets_a_newer_consent_says_so_and_blocks_older_flows() {
    let (stack, ada) = connected_ada().await;
    stack.clock().advance(DAY);
    let mut older = Browser::new();
    let before_the_wish = older.consent(&stack, "", &ada).await;
    stack.clock().advance(MINUTE);
    let wish = End::Deletion.of(&stack, &ada);
    stack.clock().advance(MINUTE);
    Browser::new().connect(&stack, &ada).await;
    let connected = token(&stack, &ada).await;
    stack.clock().advance(MINUTE);
    let answer = wish.arrive(&stack).await;
    assert!(page_of(&answer).await.is_some_and(|page| says(&page, "deletion_kept")), "{answer:?}");
    assert_eq!(token(&stack, &ada).await, connected);
    let refused = older.get(before_the_wish.as_str()).await;
    assert!(refused.is_page("ended"), "{refused:?}");
    assert_eq!(token(&stack, &ada).await, connected);
    // A later request has its own code, and an older one that arrives after it changes nothing.
    stack.clock().advance(MINUTE);
    let later = delete_data(&stack, &ada).await;
    assert!(find_grant(&stack, &ada).await.is_none());
    assert_eq!(wish.arrive(&stack).await.body, answer.body);
    assert_ne!(later["url"], serde_json::from_str::<Value>(&answer.body).unwrap()["url"]);
}

/// An end without a grant is kept without the person's id, and is not a deletion.
#[tokio::test]
async fn an_end_of_nobody_names_nobody() {
    for end in [End::Deauthorization, End::Disconnect] {
        let stack = stack().await;
        let ada = account(&stack, "ada");
        end.of(&stack, &ada).arrive(&stack).await;
        let kept = rows(&stack).await;
        assert_eq!(kept.len(), 1, "{kept:?}");
        assert!(!format!("{kept:?}").contains(&ada));
        assert!(kept[0].contains_key(Attribute::EndedAt.as_str()));
        assert_eq!(kept[0][Attribute::DeletedAt.as_str()].as_n().unwrap(), "0", "never");
    }
}

/// Nobody calls Meta for an end that is plainly older or newer than the consent.
#[tokio::test]
async fn an_end_long_before_costs_no_call() {
    let (stack, ada) = stack_of_ada().await;
    End::Deauthorization.of(&stack, &ada).arrive(&stack).await;
    stack.clock().advance(MINUTE * 11);
    Browser::new().connect(&stack, &ada).await;
    let without = {
        let other = crate::fixture::stack().await;
        Browser::new().connect(&other, &account(&other, "ada")).await;
        calls_of(&other, SandboxCall::Me)
    };
    assert_eq!(calls_of(&stack, SandboxCall::Me), without);
}
