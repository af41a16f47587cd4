//! The checks of `doctor`, when they are asked for.

use axum::response::Response;
use maud::{Markup, html};

use super::{finding, show};
use crate::operate::console::state::Console;
use crate::operate::doctor::finding::{Finding, Level};

pub(in crate::operate::console) fn page(console: &Console, findings: Option<&[Finding]>) -> Response {
    let main = html! {
        section aria-labelledby="checks" {
            h2 #checks { "Checks " @if let Some(findings) = findings { span .count { (findings.len()) } } }
            form .pages method="get" action=(console.href("/checks")) {
                button .strong[findings.is_none()] name="run" value="1" { @if findings.is_some() { "Check again" } @else { "Check the stack now" } }
                span .soft { "They change nothing, take some seconds, and ask Meta about one token, as " code { "threads-auth doctor" } " does." }
            }
            @if let Some(findings) = findings {
                table aria-labelledby="checks" {
                    thead { tr { th scope="col" { "Check" } th scope="col" { "Finding" } } }
                    tbody { @for found in in_order(findings) { (row(found)) } }
                }
            }
        }
    };
    show(console, "/checks", "checks", &main)
}

/// Sorts failures first, then warnings.
fn in_order(findings: &[Finding]) -> Vec<&Finding> {
    let mut findings: Vec<_> = findings.iter().collect();
    findings.sort_by_key(|finding| match finding.level {
        Level::Fail => 0,
        Level::Warn => 1,
        Level::Ok => 2,
    });
    findings
}

fn row(found: &Finding) -> Markup {
    html! { tr { th scope="row" { (found.check) } td { (finding(found)) } } }
}
