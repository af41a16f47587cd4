//! The lines of a file with tokens, CSV or JSON, read as a stream.
//!
//! A malformed line affects only itself: it is reported, and the next one is read. At most one
//! record of the maximum length is held in memory, whatever the length of the input.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result};
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::mpsc;
use zeroize::Zeroizing;

use crate::shell::exit::usage;

/// The maximum length of a line or of a CSV record. A longer one holds no token.
const MAX_RECORD: usize = 64 * 1024;

const OF_ANOTHER: &str = "the connection is not one of Threads: its provider is another";
const TOO_LONG: &str = "the line is longer than 65536 bytes";

/// The fields of a line of JSON: our names for them, or a connection of Nango's as its API answers.
#[derive(Default, Deserialize)]
struct Fields {
    #[serde(alias = "token")]
    access_token: Option<Zeroizing<String>>,
    user_id: Option<Loose>,
    expires_at: Option<Loose>,
    reference: Option<Loose>,
    #[serde(default)]
    credentials: Option<Credentials>,
    /// The provider of a connection of Nango's. Elsewhere the word has other meanings.
    #[serde(default)]
    provider: Value,
    #[serde(default)]
    tags: Value,
    #[serde(default)]
    end_user: Value,
}

/// The part of a connection of Nango's that holds its token. `raw`, Meta's response, is not used:
/// Nango reads its `user_id` as a JavaScript number, which loses digits.
#[derive(Deserialize)]
struct Credentials {
    access_token: Option<Zeroizing<String>>,
    expires_at: Option<Loose>,
}

impl Fields {
    /// Returns true for another provider's token, which must not be sent to Meta.
    fn is_of_another(&self) -> bool {
        self.credentials.is_some() && self.provider.as_str().is_some_and(|provider| provider != "threads")
    }

    fn entry(self, line: u64) -> Entry {
        let text = |value: Option<Loose>| value.map(Loose::text).filter(|text| !text.is_empty());
        let token =
            |token: Option<Zeroizing<String>>| token.as_deref().map(|text| trimmed(text)).unwrap_or_default();
        let Some(credentials) = self.credentials else {
            return Entry {
                line,
                token: token(self.access_token),
                user_id: text(self.user_id),
                expires_at: text(self.expires_at),
                reference: text(self.reference),
                unreadable: None,
            };
        };
        // Nango's names for the user of the app: a tag, or the field from before there were tags.
        let named = [&self.tags["end_user_id"], &self.end_user["id"]].into_iter().find_map(Value::as_str);
        Entry {
            line,
            token: token(credentials.access_token),
            user_id: None,
            expires_at: text(credentials.expires_at),
            reference: text(self.reference).or_else(|| named.map(str::to_owned)),
            unreadable: None,
        }
    }
}

/// Text or a number: user ids and times occur in both forms.
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

/// One token to import.
pub(super) struct Entry {
    pub(super) line: u64,
    pub(super) token: Zeroizing<String>,
    pub(super) user_id: Option<String>,
    pub(super) expires_at: Option<String>,
    pub(super) reference: Option<String>,
    /// The line itself and the reason, if the line cannot be parsed.
    pub(super) unreadable: Option<(Zeroizing<String>, &'static str)>,
}

/// Counts the bytes that are read.
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

/// Reads on a separate thread, a few lines ahead. The error that ended it arrives after its lines.
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
        // A receiver that was closed had its own reason.
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

/// A line without its end, or `None` if it is too long.
type Line = Option<Zeroizing<Vec<u8>>>;

/// The lines of a source with their numbers. Lines may be peeked at before their turn.
struct Lines<R> {
    source: R,
    read: u64,
    ahead: VecDeque<(u64, Line)>,
}

impl<R: BufRead> Lines<R> {
    fn new(source: R) -> Self {
        Self { source, read: 0, ahead: VecDeque::new() }
    }

    fn next(&mut self) -> Result<Option<(u64, Line)>> {
        match self.ahead.pop_front() {
            Some(line) => Ok(Some(line)),
            None => self.read(),
        }
    }

    /// Returns the line that is `after` lines behind the next one, without taking it.
    fn peek(&mut self, after: usize) -> Result<Option<&Line>> {
        while self.ahead.len() <= after {
            let Some(line) = self.read()? else { return Ok(None) };
            self.ahead.push_back(line);
        }
        Ok(self.ahead.get(after).map(|(_, line)| line))
    }

    fn read(&mut self) -> Result<Option<(u64, Line)>> {
        let mut text = Zeroizing::new(Vec::new());
        let most = MAX_RECORD as u64 + 1;
        (&mut self.source).take(most).read_until(b'\n', &mut text).context("the lines cannot be read")?;
        if text.is_empty() {
            return Ok(None);
        }
        self.read += 1;
        if text.last() == Some(&b'\n') {
            text.pop();
        } else if text.len() > MAX_RECORD {
            self.source.skip_until(b'\n').context("the lines cannot be read")?;
            return Ok(Some((self.read, None)));
        }
        Ok(Some((self.read, Some(text))))
    }
}

fn read_json(source: impl BufRead, mut sends: impl FnMut(Entry) -> bool) -> Result<()> {
    let mut lines = Lines::new(source);
    while let Some((line, text)) = lines.next()? {
        let entry = match text {
            None if line == 1 => {
                return usage(format!(
                    "line 1 is longer than {MAX_RECORD} bytes: this is not a file of JSON lines"
                ));
            }
            None => unreadable(line, b"", TOO_LONG),
            Some(text) if text.trim_ascii().is_empty() => continue,
            Some(text) => match serde_json::from_slice::<Fields>(&text) {
                Ok(fields) if fields.is_of_another() => unreadable(line, &text, OF_ANOTHER),
                Ok(fields) => fields.entry(line),
                Err(_) => unreadable(line, &text, "the line is not a JSON object with an access_token"),
            },
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
        reference: None,
        unreadable: Some((text, reason)),
    }
}

/// The index of each column, and the number of columns.
struct Columns {
    token: usize,
    user_id: Option<usize>,
    expires_at: Option<usize>,
    reference: Option<usize>,
    count: usize,
}

impl Columns {
    fn of(names: &csv::ByteRecord) -> Result<Self> {
        let column = |wanted: &[&str]| {
            let is_wanted =
                |name: &[u8]| wanted.iter().any(|wanted| name.eq_ignore_ascii_case(wanted.as_bytes()));
            names.iter().position(is_wanted)
        };
        let Some(token) = column(&["access_token", "token"]) else {
            let text = "the first line names no column access_token: expected CSV with names in its first line, or JSON lines";
            return usage(text);
        };
        let [user_id, expires_at, reference] =
            ["user_id", "expires_at", "reference"].map(|name| column(&[name]));
        Ok(Self { token, user_id, expires_at, reference, count: names.len() })
    }

    /// Returns true if these fields are one record of several lines, and not the effect of a stray
    /// quote.
    fn fit(&self, record: &csv::ByteRecord) -> bool {
        let ours = [Some(self.token), self.user_id, self.expires_at, self.reference];
        let is_of_one_line = |column: usize| record.get(column).is_none_or(|field| !field.contains(&b'\n'));
        record.len() == self.count && ours.into_iter().flatten().all(is_of_one_line)
    }

    fn entry(&self, line: u64, text: &[u8], record: &csv::ByteRecord) -> Entry {
        if std::str::from_utf8(text).is_err() {
            return unreadable(line, text, "the line is not UTF-8");
        }
        let field = |index: Option<usize>| {
            let text = std::str::from_utf8(record.get(index?)?).ok()?;
            (!text.is_empty()).then(|| text.to_owned())
        };
        Entry {
            line,
            token: Zeroizing::new(field(Some(self.token)).unwrap_or_default()),
            user_id: field(self.user_id),
            expires_at: field(self.expires_at),
            reference: field(self.reference),
            unreadable: None,
        }
    }
}

fn read_csv(source: impl BufRead, mut sends: impl FnMut(Entry) -> bool) -> Result<()> {
    let mut lines = Lines::new(source);
    let Some((_, first)) = lines.next()? else { return Ok(()) };
    let Some(first) = first else {
        return usage(format!("the first line is longer than {MAX_RECORD} bytes: it names the columns"));
    };
    let columns = Columns::of(&fields(&first))?;
    while let Some((line, text)) = lines.next()? {
        let entry = match text {
            None => unreadable(line, b"", TOO_LONG),
            Some(text) if is_closed(&text) && fields(&text).iter().all(<[u8]>::is_empty) => continue,
            Some(text) if is_closed(&text) => columns.entry(line, &text, &fields(&text)),
            Some(text) => match together(&mut lines, &text, &columns)? {
                Some((text, record)) => columns.entry(line, &text, &record),
                None => unreadable(line, &text, "a quote in the line is never closed"),
            },
        };
        if !sends(entry) {
            return Ok(());
        }
    }
    Ok(())
}

/// Returns the record that continues over the next lines because of a quote, if they are one
/// record. Otherwise each line is a record of its own.
fn together(
    lines: &mut Lines<impl BufRead>,
    first: &[u8],
    columns: &Columns,
) -> Result<Option<(Zeroizing<Vec<u8>>, csv::ByteRecord)>> {
    let mut text = Zeroizing::new(first.to_vec());
    let mut quotes = Quotes::default();
    quotes.read(first);
    for after in 0.. {
        let Some(Some(next)) = lines.peek(after)? else { break };
        if text.len() + 1 + next.len() > MAX_RECORD {
            break;
        }
        quotes.read(b"\n");
        quotes.read(next);
        text.push(b'\n');
        text.extend_from_slice(next);
        if quotes.are_odd {
            break;
        }
        if quotes.are_closed() {
            let record = fields(&text);
            if !columns.fit(&record) {
                break;
            }
            lines.ahead.drain(..=after);
            return Ok(Some((text, record)));
        }
    }
    Ok(None)
}

/// The fields of one record.
fn fields(text: &[u8]) -> csv::ByteRecord {
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .trim(csv::Trim::All)
        .buffer_capacity(text.len().max(64))
        .from_reader(text);
    let mut record = csv::ByteRecord::new();
    // Memory cannot fail to be read.
    let _ = reader.read_byte_record(&mut record);
    record
}

fn is_closed(text: &[u8]) -> bool {
    let mut quotes = Quotes::default();
    quotes.read(text);
    quotes.are_closed()
}

/// The state of quoting after the text that was read so far.
#[derive(Default)]
struct Quotes {
    place: Place,
    /// True if text follows a closing quote: one of the quotes is a stray.
    are_odd: bool,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Place {
    #[default]
    FieldStart,
    /// In a field without quotes, where a quote is an ordinary character.
    Field,
    Quoted,
    /// After a quote in a quoted field: the closing quote, or the first of an escaped pair.
    Quote,
}

impl Quotes {
    fn read(&mut self, text: &[u8]) {
        for byte in text {
            self.are_odd |=
                self.place == Place::Quote && !matches!(byte, b'"' | b',' | b' ' | b'\t' | b'\r' | b'\n');
            self.place = match (self.place, byte) {
                (Place::FieldStart | Place::Quote, b'"') | (Place::Quoted, 0..=b'!' | b'#'..) => {
                    Place::Quoted
                }
                (Place::Quoted, b'"') => Place::Quote,
                (_, b',' | b'\n') => Place::FieldStart,
                (_, _) => Place::Field,
            };
        }
    }

    fn are_closed(&self) -> bool {
        self.place != Place::Quoted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the entries' line numbers, each with its token or its error.
    fn entries(text: &[u8]) -> Vec<(u64, String)> {
        let mut entries = Vec::new();
        read(text, |entry| {
            let told = match &entry.unreadable {
                Some((_, reason)) => (*reason).to_owned(),
                None => format!("{} {}", *entry.token, entry.user_id.unwrap_or_default()),
            };
            entries.push((entry.line, told));
            true
        })
        .unwrap();
        entries
    }

    #[test]
    fn a_stray_quote_spoils_its_line_and_no_other() {
        const OPEN: &str = "a quote in the line is never closed";
        for (stray, expected) in [
            ("\"T2,2,b", OPEN),
            ("T2,\"2,b", OPEN),
            ("T2,2,\"b", OPEN),
            ("T2,2,\"", OPEN),
            ("\"", OPEN),
            ("\"T2\"\",2,b", OPEN),
            // Within a field a quote is an ordinary character.
            ("T2\",2,b", "T2\" 2"),
        ] {
            let text = format!("token,user_id,name\nT1,1,a\n{stray}\nT3,3,c\n\nT5,5,\"e\"\nT6,6,f");
            let expected = [(2, "T1 1"), (3, expected), (4, "T3 3"), (6, "T5 5"), (7, "T6 6")]
                .map(|(line, told)| (line, told.to_owned()));
            assert_eq!(entries(text.as_bytes()), expected, "{stray}");
        }
        // Two stray quotes do not join.
        let two = b"token,user_id,name\nT1,1,\"a\nT2,2,b\nT3,3,\"c\nT4,4,d\n";
        let lines: Vec<_> = entries(two).into_iter().map(|(line, told)| (line, told == OPEN)).collect();
        assert_eq!(lines, [(2, true), (3, false), (4, true), (5, false)]);
    }

    #[test]
    fn a_field_of_several_lines_is_one_field() {
        let text = b"name,token,user_id\r\n\"a\r\n\"\"b\"\"\r\n\r\n,c\",T1,1\r\nx,T2,2\r\n";
        assert_eq!(entries(text), [(2, "T1 1".to_owned()), (6, "T2 2".to_owned())]);
    }

    #[test]
    fn what_is_too_long_is_told_and_passed() {
        let long = "x".repeat(MAX_RECORD + 1);
        let most = "x".repeat(MAX_RECORD - 5);
        for (text, lines) in [
            (format!("token,n\nT1,1\nT2,{long}\nT3,3\n"), vec![2, 3, 4]),
            (format!("token,n\nT1,1\nT2,\"{long}\"\nT3,3"), vec![2, 3, 4]),
            (format!("{{\"token\":\"T1\"}}\n{{\"x\":\"{long}\"}}\n{{\"token\":\"T3\"}}"), vec![1, 2, 3]),
            (format!("token,n\nT1,{most}\nT2,2"), vec![2, 3]),
        ] {
            let entries = entries(text.as_bytes());
            assert_eq!(entries.iter().map(|(line, _)| *line).collect::<Vec<_>>(), lines);
            assert_eq!(entries.iter().filter(|(_, told)| told == TOO_LONG).count(), lines.len() - 2);
        }
    }

    /// A source that is generated as it is read: 200 MB in quotes, and then a token.
    struct Endless(u64);

    impl Read for Endless {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            let length = buffer.len().min(usize::try_from(self.0).unwrap_or(usize::MAX));
            buffer[..length].fill(b'x');
            self.0 -= length as u64;
            Ok(length)
        }
    }

    #[test]
    fn a_field_of_two_hundred_megabytes_takes_no_memory() {
        let field = Endless(200_000_000);
        let source = (&b"token,n\nT1,1\n\""[..]).chain(field).chain(&b"\"\nT3,3\n"[..]);
        let mut lines = Lines::new(BufReader::new(source));
        let mut most = 0;
        let mut tokens = 0;
        while let Some((_, line)) = lines.next().unwrap() {
            let line = line.unwrap_or_default();
            most = most.max(line.capacity());
            tokens += u32::from(line.starts_with(b"T"));
        }
        assert_eq!(tokens, 2);
        assert!(most <= 2 * MAX_RECORD, "{most}");
    }
}
