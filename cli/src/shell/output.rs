//! The way a command speaks: results on standard output, everything else on standard error.
//!
//! Colour is for terminals: anstream leaves it out where there is none, and where `NO_COLOR` is set.

use std::io::{self, IsTerminal, Write};

use anstyle::{AnsiColor, Style};
use anyhow::Result;
use clap::Args;
use serde_json::Value;
use threads_graph::redacted;

pub(crate) const LABEL: Style = Style::new().bold();
const WARNING: Style = AnsiColor::Yellow.on_default().bold();
const ERROR: Style = AnsiColor::Red.on_default().bold();

/// How a command speaks.
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

    /// The result: one of the two. Whoever reads it may stop when they have seen enough.
    pub(crate) fn result(self, json: &Value, plain: &str) -> Result<()> {
        match self.print(json, plain) {
            Err(error) if is_unread(&error) => Ok(()),
            printed => printed,
        }
    }

    /// The same, for what has to arrive, or is printed for as long as somebody reads.
    pub(crate) fn print(self, json: &Value, plain: &str) -> Result<()> {
        let mut out = Printed(anstream::stdout());
        if self.json {
            writeln!(out, "{json}")?;
        } else {
            writeln!(out, "{}", plain.trim_end())?;
        }
        Ok(out.flush()?)
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

/// Nobody reads standard output any more, as after `| head`. A connection that breaks is the same
/// error to the system, and something else to a person.
#[derive(Debug, thiserror::Error)]
#[error("nobody reads the output any more")]
struct Unread;

/// Standard output in one form or another, which tells when nobody reads it.
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

/// Says if something failed only because nobody reads standard output any more.
pub(crate) fn is_unread(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        let failed: Option<&io::Error> = cause.downcast_ref();
        let inner = failed.and_then(io::Error::get_ref);
        matches!(inner.map(|inner| inner.downcast_ref()), Some(Some(Unread)))
    })
}

/// Says it in any case, without what may hold the app's secret. Nobody could be told that standard
/// error is closed.
pub(crate) fn say(text: &str) {
    let _ = writeln!(anstream::stderr(), "{}", redacted(text));
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
    let lines: Vec<_> =
        rows.iter().map(|(label, text)| format!("{LABEL}{label:width$}{LABEL:#}  {text}")).collect();
    lines.join("\n")
}

/// How many columns and rows standard output has, if it is a terminal.
pub(crate) fn terminal_size() -> Option<(u16, u16)> {
    let size = rustix::termios::tcgetwinsize(io::stdout()).ok()?;
    (size.ws_col > 0).then_some((size.ws_col, size.ws_row))
}

/// The terminal's second screen, for what is drawn again and again. What was there before comes back when this goes.
///
/// These sequences are no colours, so they are written past what leaves colours out.
pub(crate) struct Screen(io::Stdout);

impl Screen {
    pub(crate) fn open() -> io::Result<Self> {
        // Without a cursor, and lines end where the screen does.
        let mut out = io::stdout();
        write!(out, "\u{1b}[?1049h\u{1b}[?25l\u{1b}[?7l")?;
        Ok(Self(out))
    }

    /// Draws `text` over what is there. Of what is longer than the screen it leaves out the middle: the last line counts the others.
    pub(crate) fn draw(&self, text: &str) -> io::Result<()> {
        let rows = terminal_size().map_or(usize::MAX, |(_, rows)| rows.into());
        let mut lines: Vec<_> = text.lines().collect();
        let excess = lines.len().saturating_sub(rows);
        if excess > 0 && rows > 2 {
            lines.splice(rows - 2..lines.len() - 1, ["…"]);
        }
        let mut out = self.0.lock();
        // Each line is ended where it ends, and what is below is taken away: nothing flickers.
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
