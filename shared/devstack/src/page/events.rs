//! The events on the bus, which an app's backend receives.

use jiff::Timestamp;
use maud::{Markup, html};
use serde_json::Value;

use crate::look::time::moment;

pub(super) fn section(events: &[Value], now: Timestamp) -> Markup {
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
