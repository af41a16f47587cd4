//! `docs/ERRORS.md`: generated from the errors that `threads-graph` knows, and from their remedies.
//!
//! `THREADS_AUTH_WRITE_PAGES=1 cargo test --workspace --test integration errors_page` writes it.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;

use threads_auth::{Party, Remedy};
use threads_graph::{Call, DialogError, ErrorKind, KNOWN_ERRORS, KnownError};

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/ERRORS.md");
const WIDTH: usize = 100;

const OPENING: &str = "\
# Meta's errors, and what helps

<!-- Written by tests/errors_page.rs: change the words there, in
shared/threads-graph/src/known_error.rs or in shared/threads-auth/src/remedy.rs. -->

What Meta answers when something fails, what it means, and what follows from it: for the service,
for whoever runs it, for the app's backend and for the person. About the app's setup and a token
that is too young, `doctor` and the command line say the same, because they have it from the same
table. A log's line of an error has the sentence that opens its part below, with Meta's code and
subcode. In a command's `--json`, `error.kind` is the class, and `error.next` tells whoever runs the
command what helps, if anything does.

Nothing here was tried at Meta. The last column says who reports it; where it names Meta's pages,
they are those of August 2026. Most of what the dialog refuses never comes back to the service: the
person sees Meta's page, with the number. A person who says no is no error: see [how people come
back](API.md#how-people-come-back).

## By what Meta answers

Of several rows that fit, the first counts. A subcode alone says nothing, unless a row has no code
beside it; codes and subcodes can have seven digits and more. A row fits by its numbers *or* its
words, in any case of letters.

";

const BETWEEN: &str = "
## By what it means
";

/// The name of a kind, and of what is in it.
fn name(kind: ErrorKind, dialog: Option<DialogError>) -> String {
    let class = kind.class();
    match (kind, dialog) {
        (ErrorKind::NeedsReauthorization(cause), _) => format!("{class}, {cause}"),
        (ErrorKind::Configuration(_), Some(DialogError::UnlistedRedirect)) => {
            format!("{class}, unlisted redirect")
        }
        (ErrorKind::Configuration(_), Some(DialogError::InsecureRedirect)) => {
            format!("{class}, insecure redirect")
        }
        (ErrorKind::Configuration(problem), _) => format!("{class}, {problem}"),
        _ => class.to_string(),
    }
}

fn anchor(name: &str) -> String {
    name.replace(',', "").replace(' ', "-")
}

fn range<T: PartialEq + ToString>(start: &T, end: &T) -> String {
    if start == end { start.to_string() } else { format!("{}–{}", start.to_string(), end.to_string()) }
}

fn answer(row: &KnownError) -> String {
    let list = |items: Vec<String>| items.join(", ");
    let mut parts = Vec::new();
    if !row.statuses.is_empty() {
        let statuses = row.statuses.iter().map(|statuses| range(statuses.start(), statuses.end()));
        parts.push(format!("HTTP {}", list(statuses.collect())));
    }
    let codes = list(row.codes.iter().map(|codes| range(codes.start(), codes.end())).collect());
    let subcodes = list(row.subcodes.iter().map(u64::to_string).collect());
    match (codes.is_empty(), subcodes.is_empty()) {
        (true, true) => {}
        (false, true) => parts.push(format!("code {codes}")),
        (true, false) => parts.push(format!("subcode {subcodes}")),
        (false, false) => parts.push(format!("code {codes} with subcode {subcodes}")),
    }
    if !row.words.is_empty() {
        parts.push(list(row.words.iter().map(|words| format!("\"{words}\"")).collect()));
    }
    let joined = parts.join("; or ");
    match (joined.is_empty(), row.beside) {
        (true, beside) => beside.to_owned(),
        (false, "") => joined,
        (false, beside) if beside.starts_with("without") => format!("{joined}, {beside}"),
        (false, beside) => format!("{joined}; {beside}"),
    }
}

fn place(calls: &[Call]) -> String {
    if calls.is_empty() {
        return "any call".to_owned();
    }
    let name = |call: &Call| match call {
        Call::AuthorizationPage => "the dialog".to_owned(),
        call => format!("`{call}`"),
    };
    calls.iter().map(name).collect::<Vec<_>>().join(", ")
}

/// Breaks lines at spaces, but not within code.
fn wrapped(first: &str, text: &str) -> String {
    let mut lines = vec![first.to_owned()];
    let mut is_code = false;
    let is_break = |c: char| {
        is_code ^= c == '`';
        c == ' ' && !is_code
    };
    for word in text.split(is_break) {
        let last = lines.last_mut().unwrap();
        if last.chars().count() + 1 + word.chars().count() > WIDTH {
            lines.push(format!("  {word}"));
        } else {
            if !last.ends_with(' ') {
                last.push(' ');
            }
            last.push_str(word);
        }
    }
    lines.join("\n")
}

fn page() -> String {
    let mut page = OPENING.to_owned();
    page.push_str("| call | Meta's answer | means | class | source |\n|---|---|---|---|---|\n");
    let mut sections = String::new();
    let mut named = BTreeSet::new();
    for row in KNOWN_ERRORS {
        let name = name(row.kind, row.dialog);
        let (calls, answer, link) = (place(row.calls), answer(row), anchor(&name));
        writeln!(page, "| {calls} | {answer} | {} | [{name}](#{link}) | {} |", row.meaning, row.source)
            .unwrap();
        if !named.insert(name.clone()) {
            continue;
        }
        let remedy = match row.dialog {
            Some(_) => Remedy::of_dialog(row.dialog),
            None => Remedy::of(row.kind),
        };
        let kind = row.kind.to_string();
        let told = kind[..1].to_uppercase() + &kind[1..];
        let whose = match remedy.of {
            Party::Operator => "the operator's",
            Party::Person => "the person's",
            Party::Meta => "Meta's",
            Party::Nobody => "nobody's",
        };
        writeln!(sections, "\n### {name}\n").unwrap();
        writeln!(sections, "{}", wrapped("", &format!("{told}. Mostly {whose} doing.")).trim_start())
            .unwrap();
        sections.push('\n');
        for (who, words) in [
            ("- *Service:*", remedy.service),
            ("- *Operator:*", remedy.operator),
            ("- *Backend:*", remedy.backend),
            ("- *Person:*", remedy.person),
        ] {
            writeln!(sections, "{}", wrapped(who, words)).unwrap();
        }
    }
    page + BETWEEN + &sections
}

#[test]
fn the_page_of_errors_is_what_the_table_says() {
    let path = Path::new(PAGE);
    if std::env::var_os("THREADS_AUTH_WRITE_PAGES").is_some() {
        std::fs::write(path, page()).unwrap();
    }
    let kept = std::fs::read_to_string(path).unwrap_or_default();
    for (number, (kept, made)) in kept.lines().zip(page().lines()).enumerate() {
        assert_eq!(kept, made, "line {}: THREADS_AUTH_WRITE_PAGES=1 writes docs/ERRORS.md anew", number + 1);
    }
    assert!(kept == page(), "THREADS_AUTH_WRITE_PAGES=1 writes docs/ERRORS.md anew");
}
