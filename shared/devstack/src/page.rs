//! The development page: the service's data, and the controls of its clock and accounts.
//!
//! Owns the page's layout and texts. One template, one style, plain forms: no script, no external
//! resource, and nothing but the [`Dashboard`], which has no token. Makes no decision about grants:
//! it shows their rows and counts days.

mod accounts;
mod events;
mod life;
mod sweeps;
mod time;

use axum::http::header;
use axum::response::{Html, IntoResponse, Response};
use maud::{DOCTYPE, Markup, PreEscaped, html};
use threads_auth_web::headers::{content_policy, secure};

use self::time::{DAY, distance};
use crate::dashboard::Dashboard;

const STYLE: &str = include_str!("page/style.css");

/// Renders `dashboard` with the headers of all our pages, except that its forms may post to this
/// origin.
pub(crate) fn respond(dashboard: &Dashboard) -> Response {
    let mut response = secure(Html(render(dashboard).into_string()).into_response());
    let policy = content_policy(STYLE, "'self'");
    response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
    response
}

fn render(dashboard: &Dashboard) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                link rel="icon" href="data:,";
                title { "Threads Auth, development" }
                style { (PreEscaped(STYLE)) }
            }
            body {
                (masthead(dashboard))
                main {
                    (controls(dashboard))
                    @if !dashboard.broken_rows.is_empty() { (broken_rows(&dashboard.broken_rows)) }
                    @if dashboard.grants.is_empty() {
                        (first_steps(dashboard))
                    } @else {
                        (accounts::section(dashboard))
                    }
                    (events::section(&dashboard.events, dashboard.now))
                    (sweeps::section(&dashboard.sweeps, dashboard.now))
                }
                footer {
                    "The same as JSON: " a href="/dev/grants" { "/dev/grants" }
                    ". None of this page exists in production."
                }
            }
        }
    }
}

fn masthead(dashboard: &Dashboard) -> Markup {
    html! {
        header {
            svg .mark viewBox="0 0 48 48" aria-hidden="true" {
                circle .patch cx="24" cy="24" r="23" {}
                circle .stitch cx="24" cy="24" r="18.5" {}
                path .sign d="m16 24.5 5.5 5.5L32 19" {}
            }
            div {
                h1 { "Threads Auth" }
                p {
                    "Development, "
                    @if dashboard.sandboxed { "with a sandbox in place of Threads" } @else { "with Threads itself" }
                }
            }
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
    use threads_auth_model::{ScopesSource, Status, Summary};

    use super::*;
    use crate::dashboard::GrantView;
    use crate::page::time::tests::at;
    use crate::shared::PastSweep;

    fn grant(user_id: &str, status: Status) -> GrantView {
        GrantView {
            revoked_at_threads: false,
            summary: Summary {
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
            },
        }
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
        render(dashboard).into_string()
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
        assert!(!STYLE.contains(['\r', '<']) && !STYLE.contains("url(") && !STYLE.contains("@import"));
    }

    #[test]
    fn the_headers_allow_its_style_and_its_forms_and_nothing_else() {
        let response = respond(&dashboard(Vec::new()));
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
