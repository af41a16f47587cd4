//! The accounts that match a filter.

use axum::response::Response;
use devstack::look::accounts::{Entry, MAX_CARDS, Standing, list, trouble_first};
use devstack::look::filter::Filter;
use jiff::Timestamp;
use maud::html;

use super::show;
use crate::operate::console::find::Found;
use crate::operate::console::state::Console;

pub(in crate::operate::console) fn page(
    console: &Console,
    filter: &Filter,
    found: &Found,
    now: Timestamp,
) -> Response {
    let entry = |account| Entry {
        account,
        standing: Standing::of(account, false, now),
        actions: html! {
            a .button href=(console.href(&format!("/accounts/{}", account.user_id))) { "Open" span .aside { " " (account.user_id) } }
        },
    };
    let mut entries: Vec<_> = found.accounts.iter().map(entry).collect();
    trouble_first(&mut entries);
    let main = html! {
        section aria-labelledby="accounts" {
            h2 #accounts { "Accounts " span .count { (entries.len()) @if found.next.is_some() { " on this page" } } }
            (filter.form(&console.href("/accounts")))
            @if entries.is_empty() {
                p .soft {
                    @if found.is_cut() { "None in this part of the table." }
                    @else if filter.is_open() { "No account is connected." }
                    @else { "None of the accounts is like that." }
                }
            }
            (list(&entries, found.is_part || entries.len() > MAX_CARDS, now))
            @if let Some(next) = &found.next {
                nav .pages aria-label="Pages of accounts" {
                    @if found.is_cut() { span .soft { "A part of the table was searched, and there is more." } }
                    a .button href=(filter.query("after", next.as_str())) {
                        @if found.is_cut() { "Search further" } @else { "Next page" }
                    }
                }
            }
        }
        @if !found.broken.is_empty() {
            section .broken.halt aria-labelledby="broken" {
                h2 #broken { "Broken rows " span .count { (found.broken.len()) } }
                p { "These rows make no sense. They are left alone, and every other account goes on." }
                ul { @for row in &found.broken { li { code { (row) } } } }
            }
        }
    };
    show(console, "/accounts", "accounts", &main)
}
