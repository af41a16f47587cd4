//! The accounts' cards: the status of each grant, and its next step.

use jiff::Timestamp;
use maud::{Markup, html};
use threads_auth_model::Status;

use crate::dashboard::{Dashboard, GrantView};
use crate::page::life::{Life, lifeline};
use crate::page::time::{moment, span};

pub(super) fn section(dashboard: &Dashboard) -> Markup {
    html! {
        section aria-labelledby="accounts" {
            h2 #accounts { "Accounts " span .count { (dashboard.grants.len()) } }
            ul .cards {
                @for grant in &dashboard.grants { li { (card(grant, dashboard)) } }
            }
        }
    }
}

fn card(grant: &GrantView, dashboard: &Dashboard) -> Markup {
    let (now, sandboxed) = (dashboard.now, dashboard.sandboxed);
    let standing = Standing::of(grant, now);
    let name =
        grant.username.as_ref().map_or_else(|| "Unnamed account".to_owned(), |name| format!("@{name}"));
    let heading = format!("account-{}", grant.user_id);
    html! {
        article class=(standing.tone) aria-labelledby=(heading) {
            div .top {
                div {
                    h3 id=(heading) { (name) }
                    p .soft { code { (grant.user_id) } }
                }
                p .status { (standing.label) }
            }
            @if let Some(what) = standing.what {
                p .what {
                    (what)
                    @if let Some(cause) = grant.cause { " " code { (cause) } }
                }
            }
            @if let Some(life) = Life::of(grant, now) {
                (lifeline(life, grant, &heading, standing.dead))
            }
            dl {
                div {
                    dt { "Last refresh" }
                    dd { @if let Some(at) = grant.refreshed_at { (moment(now, at)) } @else { "not yet" } }
                }
                div {
                    dt { "Next refresh" @if grant.due_at.is_some() { " " i .due-key aria-hidden="true" {} } }
                    dd {
                        @match grant.due_at {
                            Some(at) if at <= now => { strong { "due now" } ", for " (span((now.as_second() - at.as_second()).max(1))) }
                            Some(at) => (moment(now, at)),
                            None => "none",
                        }
                    }
                }
                @if grant.failures > 0 {
                    div .trouble { dt { "Failures in a row" } dd { (grant.failures) } }
                }
                @if let Some(error) = &grant.last_error {
                    div .trouble { dt { "Last error" } dd { code { (error) } } }
                }
                @if let Some(at) = grant.suspected_at {
                    div .trouble { dt { "Refused since" } dd { (moment(now, at)) } }
                }
                @if grant.pending {
                    div {
                        dt { "Pending" }
                        dd { "a new connection waits for its long-lived token" }
                    }
                }
                @if let Some(at) = grant.data_access_expires_at {
                    div {
                        dt { @if at > now { "Data access ends" } @else { "Data access ended" } }
                        dd { (moment(now, at)) }
                    }
                }
                div {
                    dt { "Connected" }
                    dd { (moment(now, grant.created_at)) }
                }
            }
            ul .scopes aria-label="Scopes" {
                @for scope in grant.scopes.iter() { li { (scope.as_str()) } }
            }
            @if standing.dead || (sandboxed && !grant.revoked_at_threads) {
                div .actions {
                    @if standing.dead { a .button.strong href=(dashboard.connect_url) { "Connect again" } }
                    @if sandboxed && !standing.dead && !grant.revoked_at_threads {
                        form method="post" action={ "/dev/accounts/" (grant.user_id) "/revoke" } {
                            button { "Revoke at Threads" span .aside { " for " (name) } }
                        }
                        p .soft { "as the person would in the app" }
                    }
                }
            }
        }
    }
}

/// The status of a grant, in words and as the tone of its card.
struct Standing {
    label: &'static str,
    tone: &'static str,
    what: Option<&'static str>,
    /// True if only the person can bring it back.
    dead: bool,
}

impl Standing {
    fn of(grant: &GrantView, now: Timestamp) -> Self {
        let (label, dead) = match grant.status {
            Status::Active => ("Active", false),
            Status::Pending => ("Pending", false),
            Status::NeedsReauthorization => ("Needs re-authorization", true),
            Status::Revoked => ("Revoked", true),
        };
        let (tone, what) = match grant.status {
            Status::Active if grant.expires_at.is_some_and(|at| at <= now) => {
                ("halt", "The token has expired; the next refresh will notice.")
            }
            Status::Active | Status::Pending if grant.revoked_at_threads => {
                ("wait", "Revoked at Threads, which notifies nobody: the next refresh will notice.")
            }
            Status::Active if grant.failures > 0 => ("wait", "The last refresh failed, and is tried again."),
            Status::Active => ("good", ""),
            Status::Pending => ("wait", "The person agreed. The long-lived token is still to come."),
            Status::NeedsReauthorization => ("halt", because(grant.cause)),
            Status::Revoked => ("over", "Ended by the person or by the app."),
        };
        Self { label, tone, what: Some(what).filter(|what| !what.is_empty()), dead }
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
        _ => "Threads no longer accepts the token.",
    }
}
