//! The development page: what the service holds, and the controls that move its world.
//!
//! Owns how the page looks and reads. One template, one style, plain forms: no script, nothing from elsewhere, and
//! nothing that is not in the [`Dashboard`], which has no token. Decides nothing about grants: it shows what
//! the rows say, and counts days.

use axum::http::header;
use axum::response::{Html, IntoResponse, Response};
use jiff::Timestamp;
use maud::{DOCTYPE, Markup, PreEscaped, html};
use serde_json::Value;
use threads_auth::pages;

use crate::dev::{Dashboard, GrantView};
use crate::stack::PastSweep;

const STYLE: &str = include_str!("page/style.css");

const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

/// The page that shows `dashboard`, with the headers of every page of ours; only its forms may go to this origin.
pub(crate) fn respond(dashboard: &Dashboard) -> Response {
    let mut response = pages::secure(Html(render(dashboard).into_string()).into_response());
    let policy = pages::content_policy(STYLE, "'self'");
    response
        .headers_mut()
        .insert(header::CONTENT_SECURITY_POLICY, policy);
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
                        (accounts(dashboard))
                    }
                    (events(&dashboard.events, dashboard.now))
                    (sweeps(&dashboard.sweeps, dashboard.now))
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
    let due = dashboard
        .grants
        .iter()
        .filter(|grant| grant.due_at.is_some_and(|at| at <= now))
        .count();
    let next = dashboard
        .grants
        .iter()
        .filter_map(|grant| grant.due_at)
        .filter(|at| *at > now)
        .min();
    html! {
        section .desk aria-labelledby="clock" {
            div .clock {
                h2 #clock { "Virtual clock" }
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
                // The first steps have the button where they tell what it does.
                @if !dashboard.grants.is_empty() { a .button.wide.strong[due == 0] href=(dashboard.connect_url) { "Connect an account" } }
                form .wide method="post" action="/dev/sweep" { button class=[(due > 0).then_some("strong")] { "Refresh now" } }
                (advance("+1 day", DAY))
                (advance("+30 days", 30 * DAY))
                @if let Some(next) = next.filter(|_| due == 0) {
                    // A second more, so that it is due on arrival.
                    (advance("Skip to the next refresh", next.as_second() - now.as_second() + 1))
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

/// What a newcomer sees.
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

fn accounts(dashboard: &Dashboard) -> Markup {
    html! {
        section aria-labelledby="accounts" {
            h2 #accounts { "Accounts " span .count { (dashboard.grants.len()) } }
            ul .cards {
                @for grant in &dashboard.grants { li { (account(grant, dashboard)) } }
            }
        }
    }
}

fn account(grant: &GrantView, dashboard: &Dashboard) -> Markup {
    let (now, sandboxed) = (dashboard.now, dashboard.sandboxed);
    let standing = Standing::of(grant, now);
    let name = grant
        .username
        .as_ref()
        .map_or_else(|| "Unnamed account".to_owned(), |name| format!("@{name}"));
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

/// How a grant stands, in words and in the tone of its card.
struct Standing {
    label: &'static str,
    tone: &'static str,
    what: Option<&'static str>,
    /// Whether only the person brings it back.
    dead: bool,
}

impl Standing {
    fn of(grant: &GrantView, now: Timestamp) -> Self {
        let (label, tone, what, dead) = match grant.status {
            "active" if grant.expires_at.is_some_and(|at| at <= now) => (
                "Active",
                "halt",
                Some("The token has expired; the next refresh will find out."),
                false,
            ),
            "active" | "pending" if grant.revoked_at_threads => {
                let what = "Revoked at Threads, which tells nobody: the next refresh will find out.";
                (
                    if grant.status == "active" {
                        "Active"
                    } else {
                        "Pending"
                    },
                    "wait",
                    Some(what),
                    false,
                )
            }
            "active" if grant.failures > 0 => (
                "Active",
                "wait",
                Some("The last refresh failed, and is tried again."),
                false,
            ),
            "active" => ("Active", "good", None, false),
            "pending" => (
                "Pending",
                "wait",
                Some("The person agreed. The long-lived token is still to come."),
                false,
            ),
            "needs_reauthorization" => ("Needs re-authorization", "halt", Some(because(grant.cause)), true),
            "revoked" => (
                "Revoked",
                "over",
                Some("Ended by the person or by the app."),
                true,
            ),
            other => (other, "over", None, false),
        };
        Self {
            label,
            tone,
            what,
            dead,
        }
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

/// A token's life, in seconds since it was issued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Life {
    issued_at: Timestamp,
    expires_at: Timestamp,
    now: Timestamp,
}

impl Life {
    fn of(grant: &GrantView, now: Timestamp) -> Option<Self> {
        Some(Self {
            issued_at: grant.issued_at?,
            expires_at: grant.expires_at?,
            now,
        })
    }

    fn total(self) -> i64 {
        (self.expires_at.as_second() - self.issued_at.as_second()).max(0)
    }

    fn left(self) -> i64 {
        (self.expires_at.as_second() - self.now.as_second()).clamp(0, self.total())
    }

    /// Whole days: what is begun does not count.
    fn days_left(self) -> i64 {
        self.left() / DAY
    }

    /// The lifetime in days, to the nearest: Meta's is a little short of 60.
    fn days_total(self) -> i64 {
        (self.total() + DAY / 2) / DAY
    }

    /// Where `at` lies between issue and expiry, as a length in SVG.
    fn place(self, at: Timestamp) -> String {
        let since = (at.as_second() - self.issued_at.as_second()).clamp(0, self.total());
        let permille = since
            .saturating_mul(1000)
            .checked_div(self.total())
            .unwrap_or(1000);
        format!("{}.{}%", permille / 10, permille % 10)
    }

    fn words(self) -> String {
        match (self.left(), self.days_left()) {
            (0, _) => "expired".to_owned(),
            (left, 0) => format!("{} left", span(left)),
            (_, 1) => format!("1 of {} days left", self.days_total()),
            (_, days) => format!("{days} of {} days left", self.days_total()),
        }
    }
}

/// The token's life as a seam: sewn up to now, thread for the days that are left, and a knot where it is due.
fn lifeline(life: Life, grant: &GrantView, heading: &str, dead: bool) -> Markup {
    let (now, label) = (life.place(life.now), format!("{heading}-life"));
    html! {
        div .life .dead[dead] {
            p #(label) .aside { "Lifetime of the token" }
            p .left {
                @if life.left() >= DAY {
                    b { (life.days_left()) }
                    " of " (life.days_total()) " days left"
                } @else if life.left() > 0 {
                    b { (span(life.left())) }
                    " left"
                } @else {
                    b { "Expired" }
                    " " (distance(life.now, life.expires_at))
                }
                @if dead && life.left() > 0 { ", of no use any more" }
            }
            div role="meter" aria-labelledby=(label) aria-valuemin="0" aria-valuemax=(life.days_total())
                aria-valuenow=(life.days_left()) aria-valuetext=(life.words()) {
                svg .bar aria-hidden="true" {
                    line .rest x1="0" x2="100%" y1="12" y2="12" {}
                    @if life.left() > 0 { line .thread x1=(now) x2="100%" y1="12" y2="12" {} }
                    @if let Some(due) = grant.due_at.filter(|at| *at < life.expires_at) {
                        circle .knot cx=(life.place(due)) cy="12" r="5" {}
                    }
                    line .needle x1=(now) x2=(now) y1="2" y2="22" {}
                }
            }
            p .ends {
                span { "issued " (stamp(life.issued_at)) }
                span { @if life.left() > 0 { "expires " } @else { "expired " } (stamp(life.expires_at)) }
            }
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

/// What the bus has got: the same events that an app's backend reacts to.
fn events(events: &[Value], now: Timestamp) -> Markup {
    html! {
        section aria-labelledby="events" {
            h2 #events { "Events " @if !events.is_empty() { span .count { (events.len()) } } }
            @if events.is_empty() {
                p .soft { "None yet. Each change of an account becomes an event on the bus, for the app\u{2019}s backend." }
            } @else {
                table aria-labelledby="events" {
                    thead { tr { th scope="col" { "When" } th scope="col" { "Event" } th scope="col" { "Account" } } }
                    tbody { @for event in events { (event_row(event, now)) } }
                }
                p .soft { "All that they hold: " a href="/dev/events" { "/dev/events" } ". " code { "--json-events FILE" } " writes them to a file." }
            }
        }
    }
}

fn event_row(event: &Value, now: Timestamp) -> Markup {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let detail = &event["detail"];
    let kind = text(&detail["type"]);
    let at: Option<Timestamp> = text(&event["time"]).parse().ok();
    let name = detail["account"]["username"]
        .as_str()
        .map_or_else(|| text(&detail["user_id"]), |name| format!("@{name}"));
    html! {
        tr {
            th scope="row" { @if let Some(at) = at { (moment(now, at)) } }
            td {
                span .chip.(event_tone(&kind)) { (kind.trim_start_matches("account.").replace('_', " ")) }
                @for more in ["cause", "by", "deadline"] {
                    @if let Some(more) = detail[more].as_str() { " " code { (more) } }
                }
                @if let Some(days) = detail["days"].as_u64() { " in less than " (days) " days" }
                @for (label, list) in [("lost ", &detail["lost"]), ("gained ", &detail["gained"])] {
                    @for scope in list.as_array().into_iter().flatten() { " " (label) code { (text(scope)) } }
                }
            }
            td { (name) }
        }
    }
}

fn event_tone(kind: &str) -> &'static str {
    match kind {
        "account.connected" | "account.refreshed" | "account.recovered" => "good",
        "account.scopes_changed" | "account.expiring_soon" => "wait",
        "account.needs_reauthorization" => "halt",
        _ => "over",
    }
}

fn sweeps(sweeps: &[PastSweep], now: Timestamp) -> Markup {
    html! {
        section aria-labelledby="sweeps" {
            h2 #sweeps { "Last sweeps " @if !sweeps.is_empty() { span .count { (sweeps.len()) } } }
            @if sweeps.is_empty() {
                p .soft { "None yet. A sweep refreshes every account that is due; \u{201c}Refresh now\u{201d} makes one at once." }
            } @else {
                table aria-labelledby="sweeps" {
                    thead { tr { th scope="col" { "When" } th scope="col" { "Outcome" } th scope="col" { "Oldest overdue" } } }
                    tbody { @for sweep in sweeps { (sweep_row(sweep, now)) } }
                }
            }
        }
    }
}

fn sweep_row(sweep: &PastSweep, now: Timestamp) -> Markup {
    let report = match &sweep.result {
        Ok(report) => report,
        Err(error) => {
            return html! {
                tr {
                    th scope="row" { (moment(now, sweep.at)) }
                    td colspan="2" { span .chip.halt { "failed" } " " (error) }
                }
            };
        }
    };
    html! {
        tr {
            th scope="row" { (moment(now, sweep.at)) }
            td {
                @for (outcome, count) in &report.outcomes {
                    span .chip.(outcome_tone(outcome)) { b { (count) } " " (outcome.replace('_', " ")) } " "
                }
                @if report.outcomes.is_empty() { span .soft { "nothing was due" } }
                @if let Some(stopped) = report.stopped {
                    span .chip.halt {
                        @match stopped {
                            threads_auth::refresh::Stopped::Deadline => "stopped: out of time",
                            threads_auth::refresh::Stopped::Threads => "stopped: Threads keeps failing",
                            threads_auth::refresh::Stopped::Asked => "stopped: by hand",
                        }
                    }
                    " "
                }
                @if report.unreadable_shards > 0 {
                    span .chip.halt { b { (report.unreadable_shards) } " partitions unreadable" }
                }
            }
            td {
                @match i64::try_from(report.oldest_overdue_seconds).unwrap_or(i64::MAX) {
                    0 => span .soft { "none" },
                    seconds => (span(seconds)),
                }
            }
        }
    }
}

fn outcome_tone(outcome: &str) -> &'static str {
    match outcome {
        "refreshed" | "completed" | "checked" => "good",
        "deferred" | "too_young" => "wait",
        "superseded" | "not_ours" | "gone" => "over",
        _ => "halt",
    }
}

/// `at`, in the words of somebody whose clock shows `now`, and on the clock or on the calendar.
fn moment(now: Timestamp, at: Timestamp) -> Markup {
    let near = (at.as_second() - now.as_second()).abs() < DAY;
    html! { (distance(now, at)) " " small { (time(at, if near { "%H:%M UTC" } else { "%-d %b %Y" })) } }
}

fn stamp(at: Timestamp) -> Markup {
    time(at, "%-d %b %Y")
}

fn time(at: Timestamp, format: &str) -> Markup {
    html! { time datetime=(at) title=(at.strftime("%-d %B %Y, %H:%M:%S UTC")) { (at.strftime(format)) } }
}

fn distance(now: Timestamp, at: Timestamp) -> String {
    match at.as_second() - now.as_second() {
        -59..=59 => "just now".to_owned(),
        seconds if seconds < 0 => format!("{} ago", span(-seconds)),
        seconds => format!("in {}", span(seconds)),
    }
}

/// A length of time in its largest unit, rounded down.
fn span(seconds: i64) -> String {
    let (count, unit) = match seconds {
        ..MINUTE => (seconds, "second"),
        MINUTE..HOUR => (seconds / MINUTE, "minute"),
        HOUR..DAY => (seconds / HOUR, "hour"),
        _ => (seconds / DAY, "day"),
    };
    format!("{count} {unit}{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use threads_auth::refresh::{Stopped, SweepReport};

    use serde_json::json;
    use threads_auth::grant::Summary;

    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + seconds).unwrap()
    }

    fn grant(user_id: &str, status: &'static str) -> GrantView {
        GrantView {
            revoked_at_threads: false,
            summary: Summary {
                user_id: user_id.parse().unwrap(),
                username: Some("ada".to_owned()),
                status,
                cause: None,
                scopes: "threads_basic,threads_content_publish".parse().unwrap(),
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
            },
        }
    }

    /// A grant that differs in something.
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

    fn life(now: i64) -> Life {
        Life {
            issued_at: at(0),
            expires_at: at(60 * DAY),
            now: at(now),
        }
    }

    #[test]
    fn days_left_are_whole_days() {
        for (now, days, words) in [
            (-5, 60, "60 of 60 days left"),
            (0, 60, "60 of 60 days left"),
            (1, 59, "59 of 60 days left"),
            (10 * DAY, 50, "50 of 60 days left"),
            (58 * DAY, 2, "2 of 60 days left"),
            (58 * DAY + 1, 1, "1 of 60 days left"),
            (59 * DAY + 1, 0, "23 hours left"),
            (60 * DAY - 1, 0, "1 second left"),
            (60 * DAY, 0, "expired"),
            (90 * DAY, 0, "expired"),
        ] {
            assert_eq!(
                (life(now).days_left(), life(now).words().as_str()),
                (days, words),
                "{now}"
            );
        }
        let short = Life {
            expires_at: at(60 * DAY - 56),
            ..life(0)
        };
        assert_eq!((short.days_left(), short.days_total()), (59, 60));
    }

    #[test]
    fn a_place_is_on_the_bar() {
        let life = life(0);
        for (seconds, place) in [
            (-9, "0.0%"),
            (0, "0.0%"),
            (6 * DAY, "10.0%"),
            (15 * DAY + DAY / 2, "25.8%"),
            (99 * DAY, "100.0%"),
        ] {
            assert_eq!(life.place(at(seconds)), place);
        }
        let none = Life {
            expires_at: at(0),
            ..life
        };
        assert_eq!(
            (none.place(at(5)).as_str(), none.days_left(), none.total()),
            ("100.0%", 0, 0)
        );
        let backwards = Life {
            expires_at: at(-DAY),
            ..life
        };
        assert_eq!(
            (backwards.days_left(), backwards.words().as_str()),
            (0, "expired")
        );
    }

    #[test]
    fn spans_and_distances_read_well() {
        for (seconds, words) in [
            (1, "1 second"),
            (61, "1 minute"),
            (7_200, "2 hours"),
            (DAY, "1 day"),
            (3 * DAY - 1, "2 days"),
        ] {
            assert_eq!(span(seconds), words);
        }
        assert_eq!(distance(at(0), at(30)), "just now");
        assert_eq!(distance(at(0), at(2 * HOUR)), "in 2 hours");
        assert_eq!(distance(at(0), at(-3 * DAY)), "3 days ago");
    }

    #[test]
    fn every_status_is_told_in_words() {
        for (status, label) in [
            ("active", "Active"),
            ("pending", "Pending"),
            ("needs_reauthorization", "Needs re-authorization"),
            ("revoked", "Revoked"),
        ] {
            let page = shown(&dashboard(vec![grant("1", status)]));
            assert!(
                page.contains(&format!(r#"<p class="status">{label}</p>"#)),
                "{status}"
            );
            assert_eq!(
                page.contains("Connect again"),
                matches!(status, "needs_reauthorization" | "revoked"),
                "{status}"
            );
        }
        let dead = but(grant("1", "needs_reauthorization"), |grant| {
            grant.cause = Some("app_removed");
        });
        let page = shown(&dashboard(vec![dead]));
        assert!(page.contains("has removed the app") && page.contains("<code>app_removed</code>"));
    }

    #[test]
    fn the_bar_is_a_meter() {
        let page = shown(&dashboard(vec![grant("1", "active")]));
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
        let without = but(grant("1", "pending"), |grant| {
            grant.issued_at = None;
            grant.expires_at = None;
        });
        assert!(!shown(&dashboard(vec![without])).contains("meter"));
    }

    #[test]
    fn the_controls_post_to_their_routes() {
        let mut dashboard = dashboard(vec![grant("17", "active")]);
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
        assert!(
            !shown(&dashboard).contains("/revoke"),
            "nobody but the person revokes at Threads itself"
        );
        dashboard.now = at(38 * DAY);
        let page = shown(&dashboard);
        assert!(page.contains("1 account is due") && !page.contains("Skip to"));
    }

    #[test]
    fn what_is_revoked_but_not_found_out_is_told() {
        let page = shown(&dashboard(vec![GrantView {
            revoked_at_threads: true,
            ..grant("1", "active")
        }]));
        assert!(page.contains("the next refresh will find out") && !page.contains("/revoke"));
    }

    #[test]
    fn a_newcomer_is_told_what_to_do_first() {
        let page = shown(&dashboard(Vec::new()));
        assert!(page.contains("No account is connected yet") && page.contains("<ol>"));
        assert_eq!(
            page.matches(r#"href="https://tunnel.example/authorize""#).count(),
            1
        );
    }

    #[test]
    fn sweeps_show_what_became_of_them() {
        let report = SweepReport {
            outcomes: BTreeMap::from([("refreshed", 12), ("needs_reauthorization", 1)]),
            oldest_overdue_seconds: 7_300,
            stopped: Some(Stopped::Threads),
            weakest_token_days: None,
            unreadable_shards: 3,
        };
        let mut dashboard = dashboard(Vec::new());
        dashboard.sweeps = vec![
            PastSweep {
                at: at(0),
                result: Ok(report),
            },
            PastSweep {
                at: at(0),
                result: Err("no <secrets>".to_owned()),
            },
            PastSweep {
                at: at(0),
                result: Ok(SweepReport::default()),
            },
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
        let hostile = but(grant("1", "active"), |grant| {
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
        let full = dashboard(vec![grant("1", "active"), grant("2", "needs_reauthorization")]);
        for dashboard in [full, dashboard(Vec::new())] {
            // A link is followed by a person, and this is the only one that leads anywhere.
            let page = shown(&dashboard)
                .to_lowercase()
                .replace(&format!("href=\"{}\"", dashboard.connect_url), "");
            for banned in [
                "<script",
                "<img",
                "<iframe",
                "javascript:",
                "://",
                "style=",
                "src=",
                " onclick",
            ] {
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
            assert!(
                policy.split("; ").any(|part| part.starts_with(directive)),
                "{directive} in {policy}"
            );
        }
        assert_eq!(header("cache-control"), "no-store");
        assert_eq!(header("referrer-policy"), "no-referrer");
        assert_eq!(header("x-content-type-options"), "nosniff");
        assert_eq!(header("content-type"), "text/html; charset=utf-8");
    }
}
