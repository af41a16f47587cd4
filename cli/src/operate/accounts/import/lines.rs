//! The lines of a file with tokens, CSV or JSON, read as it goes.

use std::io::{BufRead, BufReader, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result};
use serde::Deserialize;
use tokio::sync::mpsc;
use zeroize::Zeroizing;

use crate::shell::exit::usage;

/// A longer line holds no token.
const MAX_LINE: u64 = 64 * 1024;

/// A line, as far as it makes sense.
#[derive(Default, Deserialize)]
struct Fields {
    #[serde(alias = "token")]
    access_token: Option<Zeroizing<String>>,
    user_id: Option<Loose>,
    expires_at: Option<Loose>,
}

/// Text or a number: user ids and times are written as both.
#[derive(Deserialize)]
#[serde(untagged)]
enum Loose {
    Text(String),
    Number(u64),
}

impl Loose {
    fn text(self) -> String {
        match self {
            Self::Text(text) => text.trim().to_owned(),
            Self::Number(number) => number.to_string(),
        }
    }
}

/// One token to take over.
pub(super) struct Entry {
    pub(super) line: u64,
    pub(super) token: Zeroizing<String>,
    pub(super) user_id: Option<String>,
    pub(super) expires_at: Option<String>,
    /// The line itself, if nothing can be made of it.
    pub(super) unreadable: Option<(Zeroizing<String>, &'static str)>,
}

/// Counts what is read.
struct Counted<R> {
    inner: R,
    bytes: Arc<AtomicU64>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.bytes.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

/// Reads on a thread of its own, a few lines ahead. What ended it comes when its lines are through.
pub(super) fn reader(
    source: Box<dyn Read + Send>,
    from_line: u64,
    bytes: Arc<AtomicU64>,
    ahead: usize,
) -> (mpsc::Receiver<Entry>, mpsc::Receiver<anyhow::Error>) {
    let (send, lines) = mpsc::channel(ahead);
    let (failed, failure) = mpsc::channel(1);
    let source = BufReader::new(Counted { inner: source, bytes });
    std::thread::spawn(move || {
        // A receiver that takes no more lines has a reason of its own.
        let sends = |entry: Entry| entry.line < from_line || send.blocking_send(entry).is_ok();
        if let Err(error) = read(source, sends) {
            let _ = failed.try_send(error);
        }
        drop(failed);
        drop(send);
    });
    (lines, failure)
}

fn read(mut source: impl BufRead, sends: impl FnMut(Entry) -> bool) -> Result<()> {
    const MARK: &[u8] = b"\xef\xbb\xbf";
    if source.fill_buf().context("the lines cannot be read")?.starts_with(MARK) {
        source.consume(MARK.len());
    }
    let first = source.fill_buf().context("the lines cannot be read")?;
    if first.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'{') {
        read_json(source, sends)
    } else {
        read_csv(source, sends)
    }
}

fn read_json(mut source: impl BufRead, mut sends: impl FnMut(Entry) -> bool) -> Result<()> {
    let mut text = Zeroizing::new(Vec::new());
    for line in 1.. {
        text.clear();
        if (&mut source).take(MAX_LINE).read_until(b'\n', &mut text).context("the lines cannot be read")? == 0
        {
            return Ok(());
        }
        if text.len() as u64 == MAX_LINE && !text.ends_with(b"\n") {
            return usage(format!(
                "line {line} is longer than {MAX_LINE} bytes: this is no file of JSON lines"
            ));
        }
        if text.trim_ascii().is_empty() {
            continue;
        }
        let entry = match serde_json::from_slice::<Fields>(&text) {
            Ok(fields) => Entry {
                line,
                token: fields.access_token.as_deref().map(|text| trimmed(text)).unwrap_or_default(),
                user_id: fields.user_id.map(Loose::text).filter(|text| !text.is_empty()),
                expires_at: fields.expires_at.map(Loose::text).filter(|text| !text.is_empty()),
                unreadable: None,
            },
            Err(_) => unreadable(line, &text, "the line is no JSON object with an access_token"),
        };
        if !sends(entry) {
            return Ok(());
        }
    }
    Ok(())
}

fn trimmed(text: &str) -> Zeroizing<String> {
    Zeroizing::new(text.trim().to_owned())
}

fn unreadable(line: u64, text: &[u8], reason: &'static str) -> Entry {
    let text = Zeroizing::new(String::from_utf8_lossy(text).trim_end().to_owned());
    Entry {
        line,
        token: Zeroizing::default(),
        user_id: None,
        expires_at: None,
        unreadable: Some((text, reason)),
    }
}

fn read_csv(source: impl BufRead, mut sends: impl FnMut(Entry) -> bool) -> Result<()> {
    let mut reader = csv::ReaderBuilder::new()
        .flexible(true)
        .trim(csv::Trim::All)
        // A carriage return is trimmed. As an end it would make the numbers of lines wrong.
        .terminator(csv::Terminator::Any(b'\n'))
        .from_reader(source);
    let names = reader.byte_headers().context("the first line cannot be read")?.clone();
    let column = |wanted: &[&str]| {
        names.iter().position(|name| wanted.iter().any(|wanted| name.eq_ignore_ascii_case(wanted.as_bytes())))
    };
    let Some(token) = column(&["access_token", "token"]) else {
        let text = "the first line names no column access_token: expected CSV with names in its first line, or JSON lines";
        return usage(text);
    };
    let (user_id, expires_at) = (column(&["user_id"]), column(&["expires_at"]));
    let mut record = csv::ByteRecord::new();
    while reader.read_byte_record(&mut record).context("the lines cannot be read")? {
        if record.iter().all(<[u8]>::is_empty) {
            continue;
        }
        let line = record.position().map_or(0, csv::Position::line);
        let field = |index: Option<usize>| {
            let text = std::str::from_utf8(record.get(index?)?).ok()?;
            (!text.is_empty()).then(|| text.to_owned())
        };
        let entry = if std::str::from_utf8(record.as_slice()).is_ok() {
            Entry {
                line,
                token: Zeroizing::new(field(Some(token)).unwrap_or_default()),
                user_id: field(user_id),
                expires_at: field(expires_at),
                unreadable: None,
            }
        } else {
            unreadable(line, record.as_slice(), "the line is not UTF-8")
        };
        if !sends(entry) {
            return Ok(());
        }
    }
    Ok(())
}
