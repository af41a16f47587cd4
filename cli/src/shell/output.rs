//! A command's output: results on standard output, everything else on standard error.
//!
//! anstream removes colours where there is no terminal, and where `NO_COLOR` is set.

use std::io::{self, IsTerminal, Write};

use anstyle::{AnsiColor, Style};
use anyhow::Result;
use clap::Args;
use serde_json::Value;
use threads_graph::redacted;

pub(crate) const LABEL: Style = Style::new().bold();
const WARNING: Style = AnsiColor::Yellow.on_default().bold();
const ERROR: Style = AnsiColor::Red.on_default().bold();

/// The output options of a command.
#[derive(Args, Debug, Default, Clone, Copy)]
pub(crate) struct Output {
    /// Print the result as JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// Neither notes nor warnings.
    #[arg(skip)]
    pub(crate) silent: bool,
}

impl Output {
    pub(crate) fn new(json: bool) -> Self {
        Self { json, silent: false }
    }

    /// Prints the result, as JSON or as text. A reader may close standard output early.
    pub(crate) fn result(self, json: &Value, plain: &str) -> Result<()> {
        match self.print(json, plain) {
            Err(error) if is_unread(&error) => Ok(()),
            printed => printed,
        }
    }

    /// Prints the result, and fails if standard output is closed.
    pub(crate) fn print(self, json: &Value, plain: &str) -> Result<()> {
        let mut out = Printed(anstream::stdout());
        if self.json {
            writeln!(out, "{json}")?;
        } else {
            writeln!(out, "{}", plain.trim_end())?;
        }
        Ok(out.flush()?)
    }

    /// Prints a note about progress.
    pub(crate) fn note(self, text: &str) {
        if !self.silent {
            say(text);
        }
    }

    /// Prints a warning.
    pub(crate) fn warn(self, text: &str) {
        if !self.silent {
            say(&format!("{WARNING}warning:{WARNING:#} {text}"));
        }
    }
}

/// Standard output was closed, as by `| head`. The system reports the same error for a broken
/// connection.
#[derive(Debug, thiserror::Error)]
#[error("standard output was closed")]
struct Unread;

/// A standard output that marks the error of a closed reader.
pub(crate) struct Printed<W>(pub(crate) W);

impl<W: Write> Write for Printed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes).map_err(unread)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush().map_err(unread)
    }
}

fn unread(error: io::Error) -> io::Error {
    let kind = error.kind();
    if kind == io::ErrorKind::BrokenPipe { io::Error::new(kind, Unread) } else { error }
}

/// Returns true if the only failure is that standard output was closed.
pub(crate) fn is_unread(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        let failed: Option<&io::Error> = cause.downcast_ref();
        let inner = failed.and_then(io::Error::get_ref);
        matches!(inner.map(|inner| inner.downcast_ref()), Some(Some(Unread)))
    })
}

/// Prints to standard error, with secrets redacted. An error is ignored, because there is nowhere
/// to report it.
pub(crate) fn say(text: &str) {
    let _ = writeln!(anstream::stderr(), "{}", redacted(text));
}

/// Prints the reason of a failure.
pub(crate) fn complain(text: &str) {
    say(&format!("{ERROR}threads-auth:{ERROR:#} {text}"));
}

/// Returns true if a person can be asked: the question is visible on standard error, and standard
/// input is a terminal.
pub(crate) fn can_ask() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

/// Formats rows of a label and a text, with the texts aligned.
pub(crate) fn table(rows: &[(&str, String)]) -> String {
    let width = rows.iter().map(|(label, _)| label.len()).max().unwrap_or(0);
    let lines: Vec<_> =
        rows.iter().map(|(label, text)| format!("{LABEL}{label:width$}{LABEL:#}  {text}")).collect();
    lines.join("\n")
}

/// Returns the columns and rows of standard output, if it is a terminal.
pub(crate) fn terminal_size() -> Option<(u16, u16)> {
    let size = rustix::termios::tcgetwinsize(io::stdout()).ok()?;
    (size.ws_col > 0).then_some((size.ws_col, size.ws_row))
}

/// The terminal's alternate screen, for output that is redrawn. The previous content returns when
/// this is dropped.
///
/// These sequences are not colours, so they bypass anstream.
pub(crate) struct Screen(io::Stdout);

impl Screen {
    pub(crate) fn open() -> io::Result<Self> {
        // Hides the cursor and disables line wrapping.
        let mut out = io::stdout();
        write!(out, "\u{1b}[?1049h\u{1b}[?25l\u{1b}[?7l")?;
        Ok(Self(out))
    }

    /// Draws `text` over the previous content. If it has more lines than the screen, its middle is
    /// omitted: the last line has the count.
    pub(crate) fn draw(&self, text: &str) -> io::Result<()> {
        let rows = terminal_size().map_or(usize::MAX, |(_, rows)| rows.into());
        let mut lines: Vec<_> = text.lines().collect();
        let excess = lines.len().saturating_sub(rows);
        if excess > 0 && rows > 2 {
            lines.splice(rows - 2..lines.len() - 1, ["…"]);
        }
        let mut out = self.0.lock();
        // Clears the rest of each line and the lines below, instead of the whole screen, which
        // would flicker.
        write!(out, "\u{1b}[H{}\u{1b}[K\u{1b}[J", lines.join("\u{1b}[K\r\n"))?;
        out.flush()
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        let mut out = self.0.lock();
        let _ = write!(out, "\u{1b}[?7h\u{1b}[?25h\u{1b}[?1049l").and_then(|()| out.flush());
    }
}
