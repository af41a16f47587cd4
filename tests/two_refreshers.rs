//! Two systems that refresh the token of one account, as when somebody moves here and forgets to
//! stop the other: what becomes of each, whatever Meta does with the token that was refreshed.
//! `docs/MOVING.md` has the figures.

use devstack::Stack;
use threads_auth::{Import, RefreshOutcome};
use threads_auth_model::{Cause, Status};
use threads_graph::{AccessToken, Graph, ReauthorizationCause};
use threads_sandbox::OldToken;

use crate::fixture::{Browser, DAY, account, find_grant, grant, http, is_usable, stack, token};

const BEHAVIOURS: [OldToken; 3] =
    [OldToken::SameTokenExtended, OldToken::NewTokenOldAlive, OldToken::NewTokenOldDead];

/// The day on which each lost the account, if it did.
#[derive(Debug, PartialEq, Eq)]
struct Lost {
    ours: Option<u32>,
    theirs: Option<u32>,
}

/// Another system, which refreshes the token that it has as soon as it is so many days old.
struct Other {
    token: AccessToken,
    every: u32,
    refreshed: u32,
    lost: Option<u32>,
}

impl Other {
    async fn live(&mut self, graph: &Graph, day: u32) {
        if self.lost.is_some() || day < self.refreshed + self.every {
            return;
        }
        match graph.refresh(&self.token).await {
            Ok(new) => (self.token, self.refreshed) = (new.access_token, day),
            Err(_) => self.lost = Some(day),
        }
    }
}

/// Moves ada here on the fifth day of her token, and lets both go on for 70 days.
async fn both(stack: &Stack, behaviour: OldToken, every: u32) -> (Lost, String) {
    stack.sandbox().unwrap().set_old_token_behaviour(behaviour);
    let ada = account(stack, "ada");
    let token = AccessToken::new(stack.sandbox().unwrap().issue_long_lived(&ada)).unwrap();
    let graph = Graph::new(http(), stack.service().config().endpoints.clone());
    let mut other = Other { token: token.clone(), every, refreshed: 0, lost: None };
    let mut ours = None;
    for day in 1..=70 {
        stack.clock().advance(DAY);
        if day == 5 {
            stack.service().import(Import::of(&token), stack.clock().now()).await.unwrap();
        }
        // Nothing is due before, and every other day is enough.
        if day >= 30 && day % 2 == 0 {
            stack.sweep().await.unwrap();
        }
        other.live(&graph, day).await;
        let status = find_grant(stack, &ada).await.map(|grant| grant.status());
        if status == Some(Status::NeedsReauthorization) {
            ours.get_or_insert(day);
        }
    }
    (Lost { ours, theirs: other.lost }, ada)
}

#[tokio::test]
async fn the_second_to_refresh_loses_the_account_if_the_old_token_dies() {
    for behaviour in BEHAVIOURS {
        // Postiz, on day 58; a job of one's own, each month.
        for every in [58, 30] {
            let stack = stack().await;
            let (lost, ada) = both(&stack, behaviour, every).await;
            if behaviour != OldToken::NewTokenOldDead {
                assert_eq!(lost, Lost { ours: None, theirs: None }, "{behaviour:?} {every}");
            } else if every == 58 {
                // Ours was refreshed before day 40, so theirs is refused when its turn comes.
                assert_eq!(lost, Lost { ours: None, theirs: Some(58) });
            } else {
                // Theirs was refreshed on day 30. Ours is refused when its turn comes, twice.
                assert_eq!(lost.theirs, None);
                let day = lost.ours.unwrap();
                assert!((33..=42).contains(&day), "{day}");
                let marked = grant(&stack, &ada).await;
                assert_eq!(marked.cause(), Some(Cause::Threads(ReauthorizationCause::Invalid)));
                // Only the person brings it back.
                Browser::new().connect(&stack, &ada).await;
                assert_eq!(grant(&stack, &ada).await.status(), Status::Active);
            }
            assert!(is_usable(&stack, &token(&stack, &ada).await).await);
        }
    }
}

/// The other's token is imported after its refresh has killed the one that it had exported.
#[tokio::test]
async fn a_token_that_the_other_has_refreshed_since_its_export_is_refused() {
    for behaviour in BEHAVIOURS {
        let stack = stack().await;
        stack.sandbox().unwrap().set_old_token_behaviour(behaviour);
        let ada = account(&stack, "ada");
        let exported = AccessToken::new(stack.sandbox().unwrap().issue_long_lived(&ada)).unwrap();
        stack.clock().advance(2 * DAY);
        let graph = Graph::new(http(), stack.service().config().endpoints.clone());
        let newer = graph.refresh(&exported).await.unwrap().access_token;
        let import = |token| stack.service().import(Import::of(token), stack.clock().now());
        assert_eq!(import(&exported).await.is_ok(), behaviour != OldToken::NewTokenOldDead, "{behaviour:?}");
        // A newer export takes it along.
        import(&newer).await.unwrap();
        stack.clock().advance(41 * DAY);
        assert_eq!(stack.sweep().await.unwrap().count(RefreshOutcome::Refreshed), 1, "{behaviour:?}");
    }
}
