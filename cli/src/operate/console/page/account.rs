//! One account, and the question before a change that destroys something.

use axum::response::Response;
use devstack::look::accounts::{Entry, Standing, card, name};
use jiff::Timestamp;
use maud::html;
use threads_auth_model::Summary;
use threads_graph::UserId;

use super::{button, show};
use crate::operate::console::state::Console;
use crate::operate::console::writes::Deed;

/// The word that confirms, as in the terminal.
pub(in crate::operate::console) const WORD: &str = "yes";

pub(in crate::operate::console) fn page(console: &Console, account: &Summary, now: Timestamp) -> Response {
    let of = |deed: Deed| format!("/accounts/{}/{deed}", account.user_id);
    let entry = Entry {
        account,
        standing: Standing::of(account, false, now),
        actions: html! {
            @if console.writes {
                (button(console, &of(Deed::Refresh), &html! { "Refresh now" }, &html! {}))
                a .button href=(console.href(&of(Deed::Disconnect))) { "Disconnect\u{2026}" }
                a .button href=(console.href(&of(Deed::Delete))) { "Delete the person\u{2019}s data\u{2026}" }
            }
        },
    };
    let main = html! {
        section aria-labelledby="account" {
            h2 #account .aside { "Account" }
            (card(&entry, now))
        }
    };
    show(console, "/accounts", "account", &main)
}

pub(in crate::operate::console) fn unknown(console: &Console, user_id: &str) -> Response {
    let main = html! {
        section .panel aria-labelledby="account" {
            h2 #account { "No such account" }
            p { "No account " code { (user_id) } " is connected to " (console.stack.name) "." }
            p { a href=(console.href("/accounts")) { "All accounts" } }
        }
    };
    show(console, "/accounts", "account", &main)
}

/// Renders the question before a change that cannot be undone.
pub(in crate::operate::console) fn question(console: &Console, account: &Summary, deed: Deed) -> Response {
    let (title, text) = match deed {
        Deed::Disconnect => (
            "Disconnect this account?",
            "Its token is destroyed, and only its person can come back, by connecting again.",
        ),
        Deed::Delete => (
            "Delete all that is held about this person?",
            "Nothing brings it back, and only they can connect again.",
        ),
        Deed::Refresh => ("Refresh this account now?", "It costs a call to Meta, and destroys nothing."),
    };
    let word = html! {
        label for="confirm" { "Type " b { (WORD) } }
        input #confirm name="confirm" required pattern=(WORD) autocomplete="off" autocapitalize="none" spellcheck="false";
    };
    let path = format!("/accounts/{}", account.user_id);
    let main = html! {
        section .panel.halt aria-labelledby="question" {
            h2 #question { (title) }
            p { b { (name(account)) } " " code { (account.user_id) } " of " (console.stack.name) }
            p { (text) }
            (button(console, &format!("{path}/{deed}"), &html! { (deed.label()) }, &word))
            p { a href=(console.href(&path)) { "Back, and change nothing" } }
        }
    };
    show(console, "/accounts", "question", &main)
}

/// Returns the path of an account's page.
pub(in crate::operate::console) fn path(user_id: &UserId) -> String {
    format!("/accounts/{user_id}")
}
