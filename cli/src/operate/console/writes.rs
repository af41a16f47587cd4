//! The changes that the pages can make, with `--write` only. They are those of the commands
//! `accounts refresh`, `disconnect` and `delete`, `pause` and `resume`.

use std::sync::Arc;

use anyhow::Result;
use threads_auth::Pause;
use threads_graph::UserId;

use super::state::Console;
use crate::operate::accounts::{ended, outcome, told_of_deletion};

threads_graph::names! {
    /// A change of one account.
    pub(super) enum Deed {
        /// Refreshes its token.
        Refresh => "refresh",
        /// Destroys its token.
        Disconnect => "disconnect",
        /// Deletes all that is held about its person.
        Delete => "delete",
    }
}

impl Deed {
    /// Returns true if the change cannot be undone.
    pub(super) fn destroys(self) -> bool {
        self != Self::Refresh
    }

    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Refresh => "Refresh now",
            Self::Disconnect => "Disconnect for good",
            Self::Delete => "Delete for good",
        }
    }
}

/// A change that a form asks for.
pub(super) enum Change {
    Account(UserId, Deed),
    /// Pauses sweeps or verdicts, or lets both go on.
    Pause(Option<Pause>),
}

/// Makes a change after those that are under way, and returns its outcome. It is completed even if
/// the browser disconnects, because Meta's response may hold a token.
pub(super) async fn make(console: Arc<Console>, change: Change) -> Result<String> {
    let work = tokio::spawn(async move {
        let _turn = console.turn().await;
        match change {
            Change::Account(user_id, deed) => change_account(&console, &user_id, deed).await,
            Change::Pause(pause) => set_pause(&console, pause).await,
        }
    });
    work.await?
}

async fn change_account(console: &Console, user_id: &UserId, deed: Deed) -> Result<String> {
    let (service, now) = (&console.stack.service, console.now().await);
    Ok(match deed {
        Deed::Refresh => {
            if let Some(text) = service.find_grant(user_id).await?.as_ref().and_then(ended) {
                return Ok(text);
            }
            let swept = Box::pin(service.refresh_now(user_id, now)).await?;
            format!("{user_id}: {}", outcome(swept).1)
        }
        Deed::Disconnect => {
            let was_there = Box::pin(service.disconnect(user_id, now)).await?.is_some();
            let words = if was_there { "disconnected, and its token is destroyed" } else { "not connected" };
            format!("{user_id} is {words}")
        }
        Deed::Delete => {
            let deleted = Box::pin(service.delete_person(user_id, None, now)).await?;
            told_of_deletion(user_id, &deleted).1
        }
    })
}

async fn set_pause(console: &Console, pause: Option<Pause>) -> Result<String> {
    console.stack.service.store().set_pause(pause).await?;
    Ok(match pause {
        Some(pause) => format!("The {pause} are paused, until somebody resumes them"),
        None => "Nothing is paused".to_owned(),
    })
}
