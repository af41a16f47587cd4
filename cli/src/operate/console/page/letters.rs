//! The dead letters of a stack on AWS.

use anyhow::Result;
use axum::response::Response;
use maud::{Markup, html};

use super::{reason, show};
use crate::operate::console::state::Console;
use crate::operate::dead_letters::Seen;

/// Renders the letters, or the reason why they could not be read. `seen` is `None` for a
/// development stack, and `is_cut` is true if there was no time to read them all.
pub(in crate::operate::console) fn page(
    console: &Console,
    seen: Option<&Result<(Vec<Seen>, u64)>>,
    is_cut: bool,
) -> Response {
    let main = html! {
        section aria-labelledby="letters" {
            h2 #letters { "Dead letters " @if let Some(Ok((letters, _))) = seen { span .count { (letters.len()) } } }
            @match seen {
                None => div .panel { p { "Only a stack on AWS has these queues. A development stack lists the events that it could not deliver at /dev/webhook." } },
                Some(Err(error)) => div .panel { (reason(error)) },
                Some(Ok((letters, hidden))) => {
                    @if letters.is_empty() { p .soft { "There are none." } } @else {
                        table aria-labelledby="letters" {
                            thead { tr { th scope="col" { "Queue" } th scope="col" { "Letter" } th scope="col" { "Reason" } } }
                            tbody { @for letter in letters { (row(letter)) } }
                        }
                    }
                    @if is_cut { p .soft { "There may be more than could be read in the time for a page: " code { "threads-auth dead-letters show" } " reads all of them." } }
                    @if *hidden > 0 { p .soft { (hidden) " more are hidden for up to 15 minutes, because another command has received them." } }
                    p .soft { code { "threads-auth dead-letters replay" } " announces or makes up what they hold, and " code { "purge" } " deletes them." }
                }
            }
        }
    };
    show(console, "/letters", "dead letters", &main)
}

fn row(letter: &Seen) -> Markup {
    html! {
        tr {
            th scope="row" { (letter.which.as_str()) " " small { (letter.age) } }
            td { (letter.what) @for whose in &letter.whose { " " code { (whose) } } }
            td { (letter.why) }
        }
    }
}
