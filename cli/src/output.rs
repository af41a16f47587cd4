//! What is said to whom: results on standard output, everything else on standard error.
//!
//! Colour is for terminals: anstream leaves it out where there is none, and where `NO_COLOR` is set.

use std::io::{self, IsTerminal, Write};

use anstyle::{AnsiColor, Style};
use serde_json::Value;

pub(crate) const LABEL: Style = Style::new().bold();
const WARNING: Style = AnsiColor::Yellow.on_default().bold();
const ERROR: Style = AnsiColor::Red.on_default().bold();

/// How a command speaks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    /// Results as JSON, for programs.
    pub(crate) json: bool,
    /// Neither notes nor warnings.
    pub(crate) silent: bool,
}

impl Output {
    /// The result: one of the two.
    ///
    /// # Errors
    /// When standard output cannot be written, in which case nobody has the result.
    pub(crate) fn result(self, json: &Value, plain: &str) -> io::Result<()> {
        let mut out = anstream::stdout();
        if self.json {
            writeln!(out, "{json}")?;
        } else {
            writeln!(out, "{}", plain.trim_end())?;
        }
        out.flush()
    }

    /// Tells how it goes.
    pub(crate) fn note(self, text: &str) {
        if !self.silent {
            say(text);
        }
    }

    /// Tells what is not as it should be.
    pub(crate) fn warn(self, text: &str) {
        if !self.silent {
            say(&format!("{WARNING}warning:{WARNING:#} {text}"));
        }
    }
}

/// What has to be said in any case. That standard error is closed is nothing that could be told to anybody.
pub(crate) fn say(text: &str) {
    let _ = writeln!(anstream::stderr(), "{text}");
}

/// Says why a command failed.
pub(crate) fn complain(text: &str) {
    say(&format!("{ERROR}threads-auth:{ERROR:#} {text}"));
}

/// Whether a person can be asked: they see the question on standard error, and answer on standard input.
pub(crate) fn can_ask() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

/// Lines of a label and a text each, the texts below each other.
pub(crate) fn table(rows: &[(&str, String)]) -> String {
    let width = rows.iter().map(|(label, _)| label.len()).max().unwrap_or(0);
    let lines: Vec<_> = rows
        .iter()
        .map(|(label, text)| format!("{LABEL}{label:width$}{LABEL:#}  {text}"))
        .collect();
    lines.join("\n")
}

/// How many columns standard output has, if it is a terminal.
pub(crate) fn terminal_width() -> Option<u16> {
    let size = rustix::termios::tcgetwinsize(io::stdout()).ok()?;
    (size.ws_col > 0).then_some(size.ws_col)
}
