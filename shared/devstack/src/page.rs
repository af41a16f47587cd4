//! The development page: the service's data, and the controls of its clock and accounts.
//!
//! Owns the page's layout and texts, beside what it shares with the console ([`crate::look`]).
//! Shows nothing but the [`Dashboard`], which has no token. Makes no decision about grants: it
//! shows their rows and counts days.

mod events;
mod sweeps;

use axum::http::StatusCode;
use axum::response::Response;
use maud::{Markup, html};

use crate::dashboard::{Dashboard, GrantView};
use crate::look::Document;
use crate::look::accounts::{Entry, MAX_CARDS, PER_PAGE, Standing, list, name, trouble_first};
use crate::look::filter::{Filter, parameter};
use crate::look::time::{DAY, distance};

/// The part of the accounts that a request asks for.
#[derive(Default)]
pub(crate) struct Part {
    filter: Filter,
    /// The number of accounts before it.
    from: usize,
}

impl Part {
    pub(crate) fn of(query: Option<&str>) -> Self {
        let from = parameter(query, "from").and_then(|text| text.parse().ok()).unwrap_or_default();
        Self { filter: Filter::of(query), from }
    }
}

/// Renders `dashboard`.
pub(crate) fn respond(dashboard: &Dashboard, part: &Part) -> Response {
    document(dashboard, part).respond(StatusCode::OK)
}

fn document(dashboard: &Dashboard, part: &Part) -> Document {
    let threads = if dashboard.sandboxed { "a sandbox in place of Threads" } else { "Threads itself" };
    Document {
        title: "development".to_owned(),
        subtitle: html! { "Development, with " (threads) },
        links: html! {},
        main: html! {
            (controls(dashboard))
            @if !dashboard.broken_rows.is_empty() { (broken_rows(&dashboard.broken_rows)) }
            @if dashboard.grants.is_empty() {
                (first_steps(dashboard))
            } @else {
                (accounts(dashboard, part))
            }
            (events::section(&dashboard.events, dashboard.now))
            (sweeps::section(&dashboard.sweeps, dashboard.now))
        },
        footer: html! {
            "The same as JSON: " a href="/dev/grants" { "/dev/grants" }
            ". None of this page exists in production."
        },
    }
}

fn accounts(dashboard: &Dashboard, Part { filter, from }: &Part) -> Markup {
    let all = dashboard.grants.iter().map(|grant| {
        let standing = Standing::of(grant, grant.revoked_at_threads, dashboard.now);
        Entry { account: grant, actions: actions(grant, &standing, dashboard), standing }
    });
    let mut entries: Vec<_> = all.filter(|entry| filter.takes(entry.account, &entry.standing)).collect();
    trouble_first(&mut entries);
    let end = from.saturating_add(PER_PAGE).min(entries.len());
    let shown = entries.get(*from..end).unwrap_or_default();
    html! {
        section aria-labelledby="accounts" {
            h2 #accounts { "Accounts " span .count { (dashboard.grants.len()) } }
            @if dashboard.grants.len() > MAX_CARDS { (filter.form("/")) }
            @if shown.is_empty() { p .soft { "None of them is like that." } }
            (list(shown, entries.len() > MAX_CARDS, dashboard.now))
            @if entries.len() > shown.len() {
                nav .pages aria-label="Pages of accounts" {
                    span .soft { (from.saturating_add(1)) " to " (end) " of " (entries.len()) }
                    @if *from > 0 {
                        a .button href=(filter.query("from", &from.saturating_sub(PER_PAGE).to_string())) { "Before" }
                    }
                    @if end < entries.len() { a .button href=(filter.query("from", &end.to_string())) { "Next" } }
                }
            }
        }
    }
}

/// The button of an account's next step.
fn actions(grant: &GrantView, standing: &Standing, dashboard: &Dashboard) -> Markup {
    html! {
        @if standing.dead {
            a .button.strong href=(dashboard.connect_url) { "Connect again" }
        } @else if dashboard.sandboxed && !grant.revoked_at_threads {
            form method="post" action={ "/dev/accounts/" (grant.user_id) "/revoke" } {
                button { "Revoke at Threads" span .aside { " for " (name(grant)) } }
            }
            p .soft { "as the person would in the app" }
        }
    }
}

fn controls(dashboard: &Dashboard) -> Markup {
    let now = dashboard.now;
    let due = dashboard.grants.iter().filter(|grant| grant.due_at.is_some_and(|at| at <= now)).count();
    let next = dashboard.grants.iter().filter_map(|grant| grant.due_at).filter(|at| *at > now).min();
    html! {
        section .desk aria-labelledby="clock" {
            div .clock {
                h2 #clock { @if dashboard.sandboxed { "Virtual clock" } @else { "Clock" } }
                p .now { time datetime=(now) { b { (now.strftime("%-d %B %Y")) } " " span { (now.strftime("%H:%M:%S UTC")) } } }
                p .soft {
                    @if due > 0 {
                        (due) @if due == 1 { " account is" } @else { " accounts are" } " due: refresh now."
                    } @else if let Some(next) = next {
                        "Nothing is due. The next refresh is " (distance(now, next)) "."
                    } @else {
                        "Nothing is due."
                    }
                }
            }
            div .buttons {
                // The first steps show this button beside their text.
                @if !dashboard.grants.is_empty() { a .button.wide.strong[due == 0] href=(dashboard.connect_url) { "Connect an account" } }
                form .wide method="post" action="/dev/sweep" { button class=[(due > 0).then_some("strong")] { "Refresh now" } }
                // Meta's own clock cannot be moved, and a clock ahead of it would end living
                // grants.
                @if dashboard.sandboxed {
                    (advance("+1 day", DAY))
                    (advance("+30 days", 30 * DAY))
                    @if let Some(next) = next.filter(|_| due == 0) {
                        // One second more, so that it is due on arrival.
                        (advance("Skip to the next refresh", next.as_second() - now.as_second() + 1))
                    }
                }
            }
        }
    }
}

fn advance(label: &str, seconds: i64) -> Markup {
    html! {
        form method="post" action="/dev/clock" {
            button name="advance_seconds" value=(seconds) { (label) }
        }
    }
}

/// The introduction for a newcomer without accounts.
fn first_steps(dashboard: &Dashboard) -> Markup {
    let sandboxed = dashboard.sandboxed;
    html! {
        section .empty aria-labelledby="accounts" {
            svg .seam viewBox="0 0 320 88" aria-hidden="true" {
                path .stitch d="M114 44H-90" {}
                path .stitch.far d="M206 44h204" {}
                circle .patch cx="160" cy="44" r="40" {}
                circle .stitch cx="160" cy="44" r="33" {}
                path .sign d="M160 31v26M147 44h26" {}
            }
            h2 #accounts { "No account is connected yet" }
            p .soft { "Three steps show all that this service does." }
            ol {
                li {
                    b { "Connect an account. " }
                    @if sandboxed {
                        "The sandbox asks for consent as Threads would; be ada or grace, and allow it."
                    } @else {
                        "Threads asks you for consent. The account has to be a tester of your app."
                    }
                }
                li {
                    b { "Skip to the next refresh. " }
                    "A token lives for 60 days, and is due before two thirds of them are over. The button for it comes with the first account."
                }
                li {
                    b { "Refresh now. " }
                    "The token is exchanged for one that lives 60 days more. "
                    @if sandboxed { "Then revoke an account at Threads, and watch how it asks for its person." }
                }
            }
            a .button.strong href=(dashboard.connect_url) { "Connect an account" }
        }
    }
}

fn broken_rows(rows: &[String]) -> Markup {
    html! {
        section .broken.halt aria-labelledby="broken" {
            h2 #broken { "Broken rows " span .count { (rows.len()) } }
            p { "These rows of the grants table do not make sense. They are left alone, and every other account goes on." }
            ul { @for row in rows { li { code { (row) } } } }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use threads_auth::{RefreshOutcome, Stopped, SweepReport};

    use serde_json::json;
    use threads_auth_model::{Status, Summary};

    use super::*;
    use crate::look::accounts::tests::summary;
    use crate::look::time::tests::at;
    use crate::shared::PastSweep;

    fn grant(user_id: &str, status: Status) -> GrantView {
        GrantView { revoked_at_threads: false, summary: summary(user_id, status) }
    }

    /// Builds a grant with some differences.
    fn but(mut grant: GrantView, change: impl FnOnce(&mut Summary)) -> GrantView {
        change(&mut grant.summary);
        grant
    }

    fn dashboard(grants: Vec<GrantView>) -> Dashboard {
        Dashboard {
            now: at(10 * DAY),
            grants,
            broken_rows: Vec::new(),
            sweeps: Vec::new(),
            events: Vec::new(),
            sandboxed: true,
            connect_url: "https://tunnel.example/authorize".to_owned(),
        }
    }

    fn shown(dashboard: &Dashboard) -> String {
        document(dashboard, &Part::default()).render().into_string()
    }

    #[test]
    fn every_status_is_told_in_words() {
        for (status, label) in [
            (Status::Active, "Active"),
            (Status::Pending, "Pending"),
            (Status::NeedsReauthorization, "Needs re-authorization"),
            (Status::Revoked, "Revoked"),
        ] {
            let page = shown(&dashboard(vec![grant("1", status)]));
            assert!(page.contains(&format!(r#"<p class="status">{label}</p>"#)), "{status}");
            assert_eq!(
                page.contains("Connect again"),
                matches!(status, Status::NeedsReauthorization | Status::Revoked),
                "{status}"
            );
        }
        let dead = but(grant("1", Status::NeedsReauthorization), |grant| {
            grant.cause = Some("app_removed");
        });
        let page = shown(&dashboard(vec![dead]));
        assert!(page.contains("has removed the app") && page.contains("<code>app_removed</code>"));
    }

    #[test]
    fn the_bar_is_a_meter() {
        let page = shown(&dashboard(vec![grant("1", Status::Active)]));
        for part in [
            r#"role="meter""#,
            r#"aria-valuemax="60""#,
            r#"aria-valuenow="50""#,
            r#"aria-valuetext="50 of 60 days left""#,
            r#"x1="16.6%""#,
            r#"cx="63.3%""#,
        ] {
            assert!(page.contains(part), "{part}");
        }
        let without = but(grant("1", Status::Pending), |grant| {
            grant.issued_at = None;
            grant.expires_at = None;
        });
        assert!(!shown(&dashboard(vec![without])).contains("meter"));
    }

    #[test]
    fn the_controls_post_to_their_routes() {
        let mut dashboard = dashboard(vec![grant("17", Status::Active)]);
        let page = shown(&dashboard);
        for part in [
            r#"href="https://tunnel.example/authorize""#,
            r#"method="post" action="/dev/sweep">"#,
            r#"<button name="advance_seconds" value="86400">+1 day"#,
            r#"<button name="advance_seconds" value="2592000">+30 days"#,
            r#"<button name="advance_seconds" value="2419201">Skip"#,
            r#"<form method="post" action="/dev/accounts/17/revoke">"#,
        ] {
            assert!(page.contains(part), "{part}");
        }
        dashboard.sandboxed = false;
        let page = shown(&dashboard);
        assert!(!page.contains("/revoke"), "nobody but the person revokes at Threads itself");
        assert!(!page.contains("/dev/clock"), "Meta's clock cannot be moved");
        dashboard.now = at(38 * DAY);
        let page = shown(&dashboard);
        assert!(page.contains("1 account is due") && !page.contains("Skip to"));
    }

    #[test]
    fn many_accounts_are_paged_and_filtered() {
        let account = |n: u32| {
            let status = if n % 20 == 7 { Status::NeedsReauthorization } else { Status::Active };
            but(grant(&n.to_string(), status), |grant| grant.username = Some(format!("person{n}")))
        };
        let dashboard = dashboard((1..=60).map(account).collect());
        let of = |query: &str| document(&dashboard, &Part::of(Some(query))).render().into_string();
        for (query, rows, parts) in [
            ("", 50, &["1 to 50 of 60", ">Next<"][..]),
            ("from=50", 10, &["51 to 60 of 60", ">Before<"]),
            ("from=60", 0, &["None of them"]),
            ("show=trouble", 0, &["@person7<", "@person27<", "@person47<", "Show all"]),
            ("q=person1", 0, &["@person1<", "@person19<"]),
            ("q=nobody", 0, &["None of them is like that."]),
        ] {
            let page = of(query);
            assert_eq!(page.matches("<details").count(), rows, "{query}");
            for part in parts {
                assert!(page.contains(part), "{part} for {query}");
            }
        }
        let (dead, well) = (of("").find("@person47<").unwrap(), of("").find("@person1<").unwrap());
        assert!(dead < well, "trouble comes first");
    }

    #[test]
    fn what_is_revoked_but_not_found_out_is_told() {
        let page =
            shown(&dashboard(vec![GrantView { revoked_at_threads: true, ..grant("1", Status::Active) }]));
        assert!(page.contains("the next refresh will notice") && !page.contains("/revoke"));
    }

    #[test]
    fn a_newcomer_is_told_what_to_do_first() {
        let page = shown(&dashboard(Vec::new()));
        assert!(page.contains("No account is connected yet") && page.contains("<ol>"));
        assert_eq!(page.matches(r#"href="https://tunnel.example/authorize""#).count(), 1);
    }

    #[test]
    fn sweeps_show_what_became_of_them() {
        let report = SweepReport {
            outcomes: BTreeMap::from([
                (RefreshOutcome::Refreshed, 12),
                (RefreshOutcome::NeedsReauthorization, 1),
            ]),
            oldest_overdue_seconds: 7_300,
            stopped: Some(Stopped::Threads),
            unreadable_shards: 3,
            ..SweepReport::default()
        };
        let mut dashboard = dashboard(Vec::new());
        dashboard.sweeps = vec![
            PastSweep { at: at(0), result: Ok(report) },
            PastSweep { at: at(0), result: Err("no <secrets>".to_owned()) },
            PastSweep { at: at(0), result: Ok(SweepReport::default()) },
        ];
        let page = shown(&dashboard);
        for part in [
            "<b>12</b> refreshed",
            "<b>1</b> needs reauthorization",
            "<td>2 hours</td>",
            "Threads keeps failing",
            "<b>3</b> partitions unreadable",
            "no &lt;secrets&gt;",
            "nothing was due",
        ] {
            assert!(page.contains(part), "{part}");
        }
    }

    #[test]
    fn what_others_wrote_is_escaped() {
        let evil = "\"><script>alert(1)</script>";
        let hostile = but(grant("1", Status::Active), |grant| {
            grant.username = Some(evil.to_owned());
            grant.last_error = Some(evil.to_owned());
            grant.failures = 2;
        });
        let mut dashboard = dashboard(vec![hostile]);
        dashboard.broken_rows = vec![evil.to_owned()];
        let detail = json!({"type": evil, "cause": evil, "lost": [evil], "account": {"username": evil}});
        dashboard.events = vec![json!({"time": evil, "detail": detail})];
        let page = shown(&dashboard);
        assert!(!page.contains("<script") && !page.contains(evil), "{page}");
        assert!(page.contains("@&quot;&gt;&lt;script&gt;") && page.contains("Broken rows"));
    }

    #[test]
    fn nothing_is_scripted_or_fetched_from_elsewhere() {
        let full = dashboard(vec![grant("1", Status::Active), grant("2", Status::NeedsReauthorization)]);
        for dashboard in [full, dashboard(Vec::new())] {
            // A person follows a link, and this is the only external one.
            let page =
                shown(&dashboard).to_lowercase().replace(&format!("href=\"{}\"", dashboard.connect_url), "");
            for banned in ["<script", "<img", "<iframe", "javascript:", "://", "style=", "src=", " onclick"] {
                assert!(!page.contains(banned), "{banned}");
            }
        }
    }

    #[test]
    fn the_headers_allow_its_style_and_its_forms_and_nothing_else() {
        let response = respond(&dashboard(Vec::new()), &Part::default());
        let header = |name: &str| response.headers().get(name).unwrap().to_str().unwrap().to_owned();
        let policy = header("content-security-policy");
        for directive in [
            "default-src 'none'",
            "style-src 'sha256-",
            "img-src data:",
            "form-action 'self'",
            "frame-ancestors 'none'",
            "base-uri 'none'",
        ] {
            assert!(policy.split("; ").any(|part| part.starts_with(directive)), "{directive} in {policy}");
        }
        assert_eq!(header("cache-control"), "no-store");
        assert_eq!(header("referrer-policy"), "no-referrer");
        assert_eq!(header("x-content-type-options"), "nosniff");
        assert_eq!(header("content-type"), "text/html; charset=utf-8");
    }
}
