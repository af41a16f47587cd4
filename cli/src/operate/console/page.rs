//! The frame of all pages, and the parts that they share.

pub(super) mod account;
pub(super) mod accounts;
pub(super) mod checks;
pub(super) mod letters;
pub(super) mod overview;

use anyhow::Error;
use axum::http::StatusCode;
use axum::response::Response;
use devstack::look::Document;
use maud::{Markup, html};
use threads_auth_model::error_chain;
use threads_graph::redacted;

use super::state::Console;
use crate::operate::doctor::finding::{Finding, Level};
use crate::shell::exit::advice;

/// The pages that every page links to, by their paths.
const PLACES: [(&str, &str); 4] =
    [("", "Overview"), ("/accounts", "Accounts"), ("/checks", "Checks"), ("/letters", "Dead letters")];

/// Renders a page of the console.
fn show(console: &Console, path: &str, title: &str, main: &Markup) -> Response {
    document(console, path, title, main).respond(StatusCode::OK)
}

fn document(console: &Console, path: &str, title: &str, main: &Markup) -> Document {
    let said = console.take_said();
    Document {
        title: title.to_owned(),
        subtitle: html! { "Console of " (console.stack.name) },
        links: html! {
            nav .links aria-label="Pages" {
                @for (to, name) in PLACES {
                    a href=(console.href(to)) aria-current=[(to == path).then_some("page")] { (name) }
                }
            }
        },
        main: html! {
            @if let Some(said) = said { p .panel.told role="status" { (said) } }
            (main)
        },
        footer: html! {
            @if console.writes {
                "This console may change things. "
            } @else {
                "This console only looks; " code { "--write" } " lets it change things. "
            }
            "No page shows a token. Ctrl-C in the terminal ends it."
        },
    }
}

/// Renders a page for a failure of the stack.
pub(super) fn failed(console: &Console, error: &Error) -> Response {
    let main = html! {
        section .panel aria-labelledby="failed" { h2 #failed { "The stack did not do it" } (reason(error)) }
    };
    document(console, "/failed", "failure", &main).respond(StatusCode::BAD_GATEWAY)
}

/// Renders a failure with the text of the terminal and the next step.
fn reason(error: &Error) -> Markup {
    html! {
        p { span .chip.halt { "failed" } " " (redacted(&error_chain(error.as_ref()))) }
        @if let Some(next) = advice(error) { p .soft { (in_code(&next)) } }
    }
}

/// Renders a page for somebody who has not opened the link.
pub(super) fn closed(status: StatusCode, title: &str, text: &str) -> Response {
    Document {
        title: "console".to_owned(),
        subtitle: html! { "Console" },
        links: html! {},
        main: html! {
            section .panel aria-labelledby="closed" {
                h2 #closed { (title) }
                p { (text) }
                p .soft {
                    "The terminal in which " code { "threads-auth console" }
                    " runs has the link. It works once. For another one, end the command with Ctrl-C and start it again."
                }
            }
        },
        footer: html! { "threads-auth console, on this machine" },
    }
    .respond(status)
}

/// Renders a finding of `doctor`.
fn finding(finding: &Finding) -> Markup {
    let (tone, word) = match finding.level {
        Level::Ok => ("good", "ok"),
        Level::Warn => ("wait", "warning"),
        Level::Fail => ("halt", "failed"),
    };
    html! {
        p { span .chip.(tone) { (word) } " " (in_code(&finding.detail)) }
        @if let Some(next) = &finding.next { p .soft { (in_code(next)) } }
    }
}

/// Renders a text, with the commands between its backquotes as code.
fn in_code(text: &str) -> Markup {
    html! {
        @for (n, part) in text.split('`').enumerate() {
            @if n % 2 == 1 { code { (part) } } @else { (part) }
        }
    }
}

/// Renders a form with one button.
fn button(console: &Console, action: &str, label: &Markup, fields: &Markup) -> Markup {
    html! {
        form method="post" action=(console.href(action)) {
            input type="hidden" name="key" value=(console.entrance.form_key());
            (fields)
            button { (label) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_stand_out_and_nothing_is_markup() {
        let text = in_code("Run `threads-auth <x>`, then & `aws`.").into_string();
        assert_eq!(text, "Run <code>threads-auth &lt;x&gt;</code>, then &amp; <code>aws</code>.");
    }
}
