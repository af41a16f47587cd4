//! The two pages that people see: consent, and the index.
//!
//! No script, nothing loaded from elsewhere, and no way to mistake them for Meta's.

use std::sync::LazyLock;

use axum::http::header::{CONTENT_SECURITY_POLICY, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderValue, StatusCode};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use maud::{DOCTYPE, Markup, PreEscaped, html};
use ring::digest;

use crate::account::{Account, AccountStatus};
use crate::app::App;
use crate::ask::Ask;
use crate::call::CallLog;
use crate::reply::Reply;
use crate::switches::name;
use crate::world::World;

/// A longer list would not help; other accounts are reached by name.
const SHOWN: usize = 50;

const STYLE: &str = include_str!("page.css");

/// The policy allows our own style and nothing else. It has no `form-action`: browsers apply that
/// also to the redirect after a form, and ours leads to the app.
static POLICY: LazyLock<HeaderValue> = LazyLock::new(|| {
    let hash = STANDARD.encode(digest::digest(&digest::SHA256, STYLE.as_bytes()));
    let policy =
        format!("default-src 'none'; style-src 'sha256-{hash}'; base-uri 'none'; frame-ancestors 'none'");
    HeaderValue::try_from(policy).unwrap_or(HeaderValue::from_static("default-src 'none'"))
});

/// The question to the person.
pub(crate) fn consent(ask: &Ask, accounts: &[Account]) -> Reply {
    let shown = &accounts[..accounts.len().min(SHOWN)];
    page(
        "Allow access? — Threads sandbox",
        &html! {
            main.card {
                h1 { "Allow app " span.id { (ask.client_id) } " to use an account?" }
                p.to { "You will be sent back to " span.id { (host(&ask.redirect_uri)) } "." }
                form method="post" action="/oauth/consent" autocomplete="off" {
                    input type="hidden" name="client_id" value=(ask.client_id);
                    input type="hidden" name="redirect_uri" value=(ask.redirect_uri);
                    input type="hidden" name="scope" value=(ask.scope());
                    @if let Some(state) = &ask.state { input type="hidden" name="state" value=(state); }
                    section aria-labelledby="scopes" {
                        h2 #scopes { "The app asks to" }
                        ul.scopes {
                            @for (name, meaning) in &ask.scopes { li { (meaning) " " code { (name) } } }
                        }
                    }
                    fieldset {
                        legend { "As which account?" }
                        @for (at, account) in shown.iter().enumerate() { (choice(account, at == 0)) }
                        @if accounts.len() > SHOWN {
                            p.note { "and " (accounts.len() - SHOWN) " more; name one below." }
                        }
                        div.choice.new {
                            input #new type="radio" name="user_id" value="" aria-label="A new account"
                                checked[shown.is_empty()];
                            label.avatar for="new" aria-hidden="true" { "+" }
                            span.who {
                                label for="username" { "Add a new account, or name one" }
                                input #username type="text" name="username" maxlength="31" placeholder="username"
                                    autocapitalize="none" spellcheck="false" pattern="@?[A-Za-z0-9._]{1,30}"
                                    title="1 to 30 letters, digits, dots and underscores";
                            }
                        }
                    }
                    // Allow comes first in the source, because the Enter key in the name field
                    // presses the first button.
                    div.buttons {
                        button #allow.primary type="submit" name="action" value="allow" { "Allow" }
                        button #deny type="submit" name="action" value="deny" formnovalidate { "Deny" }
                    }
                }
            }
        },
    )
}

fn choice(account: &Account, checked: bool) -> Markup {
    let id = format!("account-{}", account.user_id);
    let initial = account.username.chars().next().unwrap_or('?').to_ascii_uppercase();
    html! {
        label.choice for=(id) {
            input id=(id) type="radio" name="user_id" value=(account.user_id) checked[checked];
            span.avatar aria-hidden="true" { (initial) }
            span.who {
                span.name { "@" (account.username) }
                span.detail { (account.user_id) (flags(account)) }
            }
        }
    }
}

fn flags(account: &Account) -> Markup {
    let status = match account.status {
        AccountStatus::Active => "",
        AccountStatus::Revoked => "removed the app",
        AccountStatus::Checkpoint => "checkpoint",
        AccountStatus::Unconfirmed => "not confirmed",
        AccountStatus::PasswordChanged => "password changed",
        AccountStatus::Invalidated => "session ended",
        AccountStatus::Restricted => "restricted",
    };
    html! {
        @if account.private { " " span.flag { "private" } }
        @if account.tester { " " span.flag { "tester" } }
        @if account.tester_pending { " " span.flag { "invitation not accepted" } }
        @if !account.extends { " " span.flag { "refreshes do not extend" } }
        @if !status.is_empty() { " " span.flag { (status) } }
    }
}

fn host(redirect_uri: &str) -> String {
    url::Url::parse(redirect_uri)
        .map_or_else(|_| redirect_uri.to_owned(), |url| url.origin().ascii_serialization())
}

fn to_the_second(at: Timestamp) -> Timestamp {
    Timestamp::from_second(at.as_second()).unwrap_or(at)
}

/// The index: the sandbox's addresses, accounts and latest calls.
pub(crate) fn index(world: &World, calls: &CallLog, app: &App, now: Timestamp) -> Reply {
    let accounts = world.accounts();
    let (tokens, codes) = world.counts();
    let calls: u64 = calls.counts().values().sum();
    let switches = world.switches();
    let bad_hours = switches.bad_answer(now).map_or("not now", |answer| name(&answer));
    let switches = [
        ("old-token", name(&switches.old_token)),
        ("inspection", name(&switches.inspection)),
        ("expires-in", name(&switches.expires_in)),
        ("redirect", name(&switches.redirect)),
        ("exchange", name(&switches.exchange)),
        ("bad-hours", bad_hours),
    ];
    page(
        "Threads sandbox",
        &html! {
            main.card {
                h1 { "Threads sandbox" }
                p {
                    "This server answers in the place of Meta's Threads OAuth and Graph API for app "
                    span.id { (app.id) } ". Point your app's authorize and Graph addresses at it."
                }
                dl.counters {
                    div { dt { "Tokens" } dd { (tokens) } }
                    div { dt { "Unspent codes" } dd { (codes) } }
                    div { dt { "Calls" } dd { (calls) } }
                }
                p.to { "Its clock says " span.id { (to_the_second(now)) } "." }
                section aria-labelledby="accounts" {
                    h2 #accounts { "Accounts" }
                    @if accounts.is_empty() { p.note { "None yet: the consent page can add one." } }
                    ul.accounts {
                        @for account in accounts.iter().take(SHOWN) {
                            li {
                                span.name { "@" (account.username) } " "
                                span.detail { (account.user_id) (flags(account)) }
                            }
                        }
                    }
                    @if accounts.len() > SHOWN { p.note { "and " (accounts.len() - SHOWN) " more." } }
                }
                section aria-labelledby="switches" {
                    h2 #switches { "Switches" }
                    ul.accounts {
                        @for (switch, set) in switches {
                            li { span.name { (switch) } " " span.detail { (set) } }
                        }
                    }
                }
                p { a href="/control" { "How to drive it from a test" } " · " a href="/control/state" { "state as JSON" } }
            }
        },
    )
}

fn page(title: &str, body: &Markup) -> Reply {
    let document = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta name="robots" content="noindex";
                title { (title) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                div.banner role="note" {
                    strong { "Sandbox" } " — a stand-in for Meta, not Threads. No real account is touched."
                }
                (body)
            }
        }
    };
    let mut reply = Reply::html(StatusCode::OK, document.into_string());
    reply.headers.extend([
        (CONTENT_SECURITY_POLICY, POLICY.clone()),
        (REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
        (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    ]);
    reply
}
