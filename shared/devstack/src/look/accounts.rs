//! Accounts as cards, or as rows that open if there are many: the status of each grant, its life on
//! a line, and its next step.

use jiff::Timestamp;
use maud::{Markup, html};
use threads_auth_model::{Status, Summary};

use crate::look::life::{Life, lifeline};
use crate::look::time::{DAY, moment, span};

/// Maximum number of accounts that are shown as cards, without a filter.
pub const MAX_CARDS: usize = 12;

/// Maximum number of accounts per page.
pub const PER_PAGE: usize = 50;

/// An account of a list.
pub struct Entry<'a> {
    /// Everything but its tokens.
    pub account: &'a Summary,
    /// Its status for people.
    pub standing: Standing,
    /// The links and forms below it.
    pub actions: Markup,
}

/// Sorts accounts with trouble first, and ended ones last. The others keep their order.
pub fn trouble_first(entries: &mut [Entry<'_>]) {
    entries.sort_by_key(|entry| entry.standing.tone);
}

/// Renders a list as cards, or as rows if it is long. A row takes one line, and expands to the
/// card.
#[must_use]
pub fn list(entries: &[Entry<'_>], is_long: bool, now: Timestamp) -> Markup {
    html! {
        @if is_long {
            ul .rows { @for entry in entries { li { (row(entry, now)) } } }
        } @else {
            ul .cards { @for entry in entries { li { (card(entry, now)) } } }
        }
    }
}

/// Renders a card.
#[must_use]
pub fn card(entry: &Entry<'_>, now: Timestamp) -> Markup {
    let heading = heading(entry.account);
    html! {
        article class=(entry.standing.tone.as_str()) aria-labelledby=(heading) {
            div .top {
                div {
                    h3 id=(heading) { (name(entry.account)) }
                    p .soft { code { (entry.account.user_id) } }
                }
                p .status { (entry.standing.label) }
            }
            (inside(entry, &heading, now))
        }
    }
}

fn row(entry: &Entry<'_>, now: Timestamp) -> Markup {
    let heading = heading(entry.account);
    html! {
        details class=(entry.standing.tone.as_str()) {
            summary {
                span .who id=(heading) { b { (name(entry.account)) } " " code { (entry.account.user_id) } }
                span .status { (entry.standing.label) }
                @if let Some(life) = Life::of(entry.account, now).filter(|_| !entry.standing.dead) {
                    span .rest { (life.words()) }
                }
            }
            div .inside { (inside(entry, &heading, now)) }
        }
    }
}

fn heading(account: &Summary) -> String {
    format!("account-{}", account.user_id)
}

/// Renders an account's name, which may be written from right to left.
#[must_use]
pub fn name(account: &Summary) -> Markup {
    html! {
        @match &account.username {
            Some(name) => bdi { "@" (name) },
            None => "Unnamed account",
        }
    }
}

fn inside(entry: &Entry<'_>, heading: &str, now: Timestamp) -> Markup {
    let Entry { account, standing, actions } = entry;
    html! {
        @if let Some(what) = standing.what {
            p .what {
                (what)
                @if let Some(cause) = account.cause { " " code { (cause) } }
            }
        }
        @if let Some(life) = Life::of(account, now) { (lifeline(life, account, heading, standing.dead)) }
        (facts(account, now))
        ul .scopes aria-label="Scopes" {
            @for scope in account.scopes.iter() { li { (scope.as_str()) } }
        }
        @if !actions.0.is_empty() { div .actions { (actions) } }
    }
}

fn facts(account: &Summary, now: Timestamp) -> Markup {
    html! {
        dl {
            div {
                dt { "Last refresh" }
                dd { @if let Some(at) = account.refreshed_at { (moment(now, at)) } @else { "not yet" } }
            }
            div {
                dt { "Next refresh" @if account.due_at.is_some() { " " i .due-key aria-hidden="true" {} } }
                dd {
                    @match account.due_at {
                        Some(at) if at <= now => { strong { "due now" } ", for " (span((now.as_second() - at.as_second()).max(1))) }
                        Some(at) => (moment(now, at)),
                        None => "none",
                    }
                }
            }
            @if account.failures > 0 {
                div .trouble { dt { "Failures in a row" } dd { (account.failures) } }
            }
            @if let Some(error) = &account.last_error {
                div .trouble { dt { "Last error" } dd { code { (error) } } }
            }
            @if let Some(at) = account.suspected_at {
                div .trouble { dt { "Refused since" } dd { (moment(now, at)) } }
            }
            @if account.pending {
                div {
                    dt { "Pending" }
                    dd { "a new connection waits for its long-lived token" }
                }
            }
            @if let Some(at) = account.data_access_expires_at {
                div {
                    dt { @if at > now { "Data access ends" } @else { "Data access ended" } }
                    dd { (moment(now, at)) }
                }
            }
            @if let Some(reference) = &account.reference {
                div { dt { "Belongs to" } dd { bdi { (reference) } } }
            }
            @if let Some(at) = account.unclaimed_until {
                div { dt { "Ends unclaimed" } dd { (moment(now, at)) } }
            }
            div {
                dt { "Connected" }
                dd { (moment(now, account.created_at)) }
            }
        }
    }
}

threads_graph::names! {
    /// The colour of an account, the most urgent first. The style has a class for each.
    pub enum Tone {
        /// Only a person can help.
        Halt => "halt",
        /// A problem that may resolve itself.
        Wait => "wait",
        /// The account works.
        Good => "good",
        /// The account was ended deliberately.
        Over => "over",
    }
}

/// The status of a grant, in words and as a tone.
pub struct Standing {
    label: &'static str,
    tone: Tone,
    what: Option<&'static str>,
    /// True if only the person can bring it back.
    pub dead: bool,
}

impl Standing {
    /// Judges an account. `is_revoked_at_threads` is known of a sandbox only.
    #[must_use]
    pub fn of(account: &Summary, is_revoked_at_threads: bool, now: Timestamp) -> Self {
        let (label, dead) = match account.status {
            Status::Active => ("Active", false),
            Status::Pending => ("Pending", false),
            Status::NeedsReauthorization => ("Needs re-authorization", true),
            Status::Revoked => ("Revoked", true),
        };
        let overdue = account.due_at.is_some_and(|at| now.as_second() - at.as_second() >= DAY);
        let (tone, what) = match account.status {
            Status::Active if account.expires_at.is_some_and(|at| at <= now) => {
                (Tone::Halt, "The token has expired; the next refresh will notice.")
            }
            Status::Active | Status::Pending if is_revoked_at_threads => {
                (Tone::Wait, "Revoked at Threads, which notifies nobody: the next refresh will notice.")
            }
            Status::Active if account.failures > 0 => {
                (Tone::Wait, "The last refresh failed, and is tried again.")
            }
            Status::Active if overdue => (Tone::Wait, "Its refresh has been due for a day or more."),
            Status::Active => (Tone::Good, ""),
            Status::Pending => (Tone::Wait, "The person agreed. The long-lived token is still to come."),
            Status::NeedsReauthorization => (Tone::Halt, because(account.cause)),
            Status::Revoked => (Tone::Over, "Ended by the person or by the app."),
        };
        Self { label, tone, what: Some(what).filter(|what| !what.is_empty()), dead }
    }

    /// Returns true if somebody should look at it.
    #[must_use]
    pub fn is_trouble(&self) -> bool {
        matches!(self.tone, Tone::Halt | Tone::Wait)
    }
}

fn because(cause: Option<&str>) -> &'static str {
    match cause {
        Some("expired") => "The token has expired.",
        Some("password_changed") => "The person has changed the password.",
        Some("app_removed") => "The person has removed the app at Threads.",
        Some("checkpoint") => "The person has to pass a checkpoint at Meta first.",
        Some("unconfirmed") => "The person's account is not confirmed.",
        Some("session_invalid") => "The person's session is not valid any more.",
        Some("data_access_expired") => {
            "Threads gives the app no access to the person\u{2019}s data any more."
        }
        Some("not_completed") => "The connection was never completed.",
        Some("token_lost") => "A refresh was cut off, and its new token was lost.",
        _ => "Threads no longer accepts the token.",
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use threads_auth_model::ScopesSource;

    use super::*;
    use crate::look::time::tests::at;

    pub(crate) fn summary(user_id: &str, status: Status) -> Summary {
        Summary {
            user_id: user_id.parse().unwrap(),
            username: Some("ada".to_owned()),
            status,
            cause: None,
            scopes: "threads_basic,threads_content_publish".parse().unwrap(),
            scopes_source: ScopesSource::Granted,
            issued_at: Some(at(0)),
            expires_at: Some(at(60 * DAY)),
            data_access_expires_at: None,
            due_at: Some(at(38 * DAY)),
            refreshed_at: None,
            connected_at: at(0),
            created_at: at(0),
            failures: 0,
            last_error: None,
            pending: false,
            reference: None,
            unclaimed_until: None,
            suspected_at: None,
        }
    }

    /// Builds an account with some differences.
    pub(crate) fn but(mut account: Summary, change: impl FnOnce(&mut Summary)) -> Summary {
        change(&mut account);
        account
    }

    fn entries(accounts: &[Summary], now: Timestamp) -> Vec<Entry<'_>> {
        let entry =
            |account| Entry { account, standing: Standing::of(account, false, now), actions: html! {} };
        accounts.iter().map(entry).collect()
    }

    #[test]
    fn trouble_comes_first_and_what_has_ended_last() {
        let accounts = [
            summary("1", Status::Active),
            summary("2", Status::Revoked),
            but(summary("3", Status::Active), |account| account.failures = 2),
            summary("4", Status::NeedsReauthorization),
            but(summary("5", Status::Active), |account| account.due_at = Some(at(-DAY))),
            summary("6", Status::Active),
            but(summary("7", Status::Active), |account| account.due_at = Some(at(1 - DAY))),
        ];
        let mut entries = entries(&accounts, at(0));
        trouble_first(&mut entries);
        let order: Vec<_> = entries.iter().map(|entry| entry.account.user_id.as_str()).collect();
        assert_eq!(order, ["4", "3", "5", "1", "6", "7", "2"]);
    }

    #[test]
    fn a_row_holds_all_that_a_card_does() {
        let accounts = ["1", "2", "3"].map(|id| summary(id, Status::Active));
        for (is_long, cards, rows) in [(false, 3, 0), (true, 0, 3)] {
            let page = list(&entries(&accounts, at(0)), is_long, at(0)).into_string();
            assert_eq!((page.matches("<article").count(), page.matches("<details").count()), (cards, rows));
            assert_eq!((page.matches(r#"role="meter""#).count(), page.matches("<dl").count()), (3, 3));
        }
    }

    #[test]
    fn names_of_any_direction_stand_for_themselves() {
        let account = but(summary("1", Status::Active), |account| {
            account.username = None;
            account.reference = Some("<حساب>".to_owned());
        });
        let page = card(&entries(&[account], at(0))[0], at(0)).into_string();
        assert!(page.contains("<bdi>&lt;حساب&gt;</bdi>") && page.contains("Unnamed account"), "{page}");
    }
}
