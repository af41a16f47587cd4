//! `threads-auth accounts import`: tokens that were got elsewhere, taken over by the stack.
//!
//! Owns that a file of any length is read as it goes, that so many lines are at Meta at once and no more, and that no line is lost:
//! what is not taken over is written to a file with the reason. The library decides what is believed of a token.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;
use indicatif::ProgressBar;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::json;
use threads_auth::error_chain;
use threads_auth::import::ImportError;
use threads_graph::{AccessToken, ErrorKind, UserId};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use zeroize::Zeroizing;

use super::private_file::private;
use crate::operate::target::{Opened, TARGETS, Target};
use crate::shell::exit::Stopped;
use crate::shell::interrupt::Interrupt;
use crate::shell::output::{Output, complain, say};
use crate::shell::progress::{SHARE, bar};
use crate::shell::surroundings::Surroundings;

/// Take over tokens that were got elsewhere, from a CSV file or a file of JSON lines.
#[derive(Args)]
#[command(after_help = format!("Examples:
  threads-auth accounts import tokens.csv --local
  threads-auth accounts import tokens.jsonl --profile prod --stack threads-auth-prod
  my-export | threads-auth accounts import - --rejected rejected.jsonl --json

A CSV file has a first line with names: access_token (or token) and, if they are known, user_id and expires_at. A JSON line is an object with
the same names. expires_at is a time such as 2026-11-25T08:00:00Z, or seconds since 1970. Meta is asked of each token whose it is and how
old. It can be repeated: an account that is connected already keeps its token, unless the new one lives longer.

Lines that are not taken over are written to FILE.rejected with the reason, as JSON lines. That file HOLDS TOKENS: only you can read
it, and it should be deleted. It can be imported in its turn, and each run on FILE begins it anew.

Exit codes: 1 if a line was rejected for good, 4 if lines are to be tried again later.

{TARGETS}"))]
pub(super) struct Import {
    /// The file, or - for standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,

    /// Where rejected lines go [default: FILE.rejected]
    #[arg(long, value_name = "FILE")]
    rejected: Option<PathBuf>,

    /// Begin at this line of the file, where an earlier run ended
    #[arg(long, value_name = "N", default_value_t = 1)]
    from_line: u64,

    /// How many tokens are at Meta at once
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=1024))]
    concurrency: u16,

    /// How often a token is tried when Meta or AWS fails
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u8).range(1..=10))]
    tries: u8,

    #[command(flatten)]
    target: Target,

    #[command(flatten)]
    output: Output,
}

/// A longer line holds no token.
const MAX_LINE: u64 = 64 * 1024;

/// The first wait before another try; each further one is five times as long.
const FIRST_WAIT: Duration = Duration::from_millis(200);
const LONGEST_WAIT: Duration = Duration::from_mins(1);

/// So many lines in a row that failed for a reason that may pass, and the rest is left for another time.
const BREAKER: u64 = 100;

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
struct Entry {
    line: u64,
    token: Zeroizing<String>,
    user_id: Option<String>,
    expires_at: Option<String>,
    /// The line itself, if nothing can be made of it.
    unreadable: Option<(Zeroizing<String>, &'static str)>,
}

/// A line of the file of rejected ones.
#[derive(Serialize)]
struct Rejected<'a> {
    line: u64,
    reason: &'a str,
    try_again: bool,
    #[serde(skip_serializing_if = "str::is_empty")]
    access_token: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'a str>,
}

/// What became of a line.
enum Fate {
    Imported,
    Present,
    Rejected { reason: String, try_again: bool },
}

/// What an import did.
#[derive(Default, Serialize)]
struct Tally {
    /// Lines that were looked at.
    read: u64,
    /// Tokens that were taken over.
    imported: u64,
    /// Accounts that are connected already, with a token that lives as long.
    present: u64,
    /// Lines that will never be taken over as they are.
    rejected: u64,
    /// Lines that failed for a reason that may pass.
    failed: u64,
}

impl Import {
    pub(super) async fn run(self, surroundings: &Surroundings) -> Result<()> {
        let from_stdin = self.file.as_os_str() == "-";
        let rejected = match (&self.rejected, from_stdin) {
            (Some(path), _) => path.clone(),
            (None, true) => {
                let text = "with standard input --rejected says where rejected lines go: they hold tokens";
                return Err(Stopped::Usage(text.to_owned()).into());
            }
            (None, false) => {
                let mut name = self.file.clone().into_os_string();
                name.push(".rejected");
                name.into()
            }
        };
        if rejected == self.file {
            return Err(Stopped::Usage("--rejected is the file that is read".to_owned()).into());
        }
        // Standard input is read once, so what an earlier run rejected of it is nowhere else.
        if from_stdin && rejected.exists() {
            let text = format!(
                "{} exists: move it away, or name another file with --rejected",
                rejected.display()
            );
            return Err(Stopped::Usage(text).into());
        }
        let (source, length) = self.source(from_stdin)?;
        let stack = self.target.open(surroundings).await?;
        // Otherwise every line would say it.
        stack
            .service
            .secrets()
            .app(stack.now())
            .await
            .and(stack.service.secrets().keyring(stack.now()).await)
            .with_context(|| {
                format!(
                    "the secrets of {} are not ready; `threads-auth configure` writes them",
                    stack.name
                )
            })?;
        let progress = Progress::new(length);
        let (lines, failure) = reader(source, self.from_line, &progress, usize::from(self.concurrency));
        let mut run = Run {
            stack: Arc::new(stack),
            tally: Tally::default(),
            sink: Sink {
                path: rejected,
                file: None,
            },
            in_flight: BTreeSet::new(),
            last: self.from_line.saturating_sub(1),
            failing: 0,
            progress,
        };
        let ended = run.work(lines, usize::from(self.concurrency), self.tries).await;
        run.progress.bar.finish_and_clear();
        run.finish(ended, failure, self.output)
    }

    fn source(&self, from_stdin: bool) -> Result<(Box<dyn Read + Send>, Option<u64>)> {
        if from_stdin {
            return Ok((Box::new(std::io::stdin()), None));
        }
        let unreadable = |error| Stopped::Usage(format!("{} cannot be read: {error}", self.file.display()));
        let file = File::open(&self.file).map_err(unreadable)?;
        let about = file.metadata().map_err(unreadable)?;
        if about.is_dir() {
            return Err(Stopped::Usage(format!("{} is a folder", self.file.display())).into());
        }
        Ok((Box::new(file), about.is_file().then_some(about.len())))
    }
}

/// An import under way.
struct Run {
    stack: Arc<Opened>,
    tally: Tally,
    sink: Sink,
    in_flight: BTreeSet<u64>,
    /// The last line that was begun.
    last: u64,
    /// Lines in a row that failed for a reason that may pass.
    failing: u64,
    progress: Progress,
}

/// Why no more lines were begun.
enum Ended {
    AtTheEnd,
    Failing,
    Signal(u8),
}

impl Run {
    async fn work(&mut self, mut lines: mpsc::Receiver<Entry>, most: usize, tries: u8) -> Result<Ended> {
        let mut interrupt = Interrupt::listen()?;
        let mut tasks: JoinSet<(Entry, Fate)> = JoinSet::new();
        let mut ended = None;
        loop {
            tokio::select! {
                Some(done) = tasks.join_next() => {
                    let (entry, fate) = done.context("a line was given up")?;
                    self.settle(&entry, fate)?;
                    if self.failing >= BREAKER && ended.is_none() {
                        ended = Some(Ended::Failing);
                    }
                }
                line = lines.recv(), if ended.is_none() && tasks.len() < most => match line {
                    Some(entry) => {
                        self.in_flight.insert(entry.line);
                        self.last = entry.line;
                        tasks.spawn(take_over(Arc::clone(&self.stack), entry, tries));
                    }
                    None => ended = Some(Ended::AtTheEnd),
                },
                signal = interrupt.next() => {
                    if matches!(ended, Some(Ended::Signal(_))) {
                        return Ok(Ended::Signal(signal));
                    }
                    say("Ending after the lines that are under way; a second Ctrl-C gives them up.");
                    ended = Some(Ended::Signal(signal));
                }
                else => {}
            }
            if tasks.is_empty()
                && let Some(ended) = ended.take()
            {
                return Ok(ended);
            }
        }
    }

    fn settle(&mut self, entry: &Entry, fate: Fate) -> Result<()> {
        self.in_flight.remove(&entry.line);
        self.tally.read += 1;
        self.failing = match &fate {
            Fate::Rejected { try_again: true, .. } => self.failing + 1,
            _ => 0,
        };
        match fate {
            Fate::Imported => self.tally.imported += 1,
            Fate::Present => self.tally.present += 1,
            Fate::Rejected { reason, try_again } => {
                if try_again {
                    self.tally.failed += 1;
                } else {
                    self.tally.rejected += 1;
                }
                self.sink.write(entry, &reason, try_again)?;
            }
        }
        self.progress.show(&self.tally);
        Ok(())
    }

    fn finish(
        self,
        ended: Result<Ended>,
        mut failure: mpsc::Receiver<anyhow::Error>,
        output: Output,
    ) -> Result<()> {
        let next = self.in_flight.first().copied().unwrap_or(self.last + 1);
        let ended = ended?;
        // The reader ends before its lines do, and leaves here what has ended it.
        let failure = failure.try_recv().ok();
        let failure = match failure {
            Some(error) if self.tally.read == 0 => return Err(error),
            failure => failure,
        };
        let next_line = (!matches!(ended, Ended::AtTheEnd)).then_some(next);
        let Tally {
            read,
            imported,
            present,
            rejected,
            failed,
        } = self.tally;
        let file = self
            .sink
            .file
            .is_some()
            .then(|| self.sink.path.display().to_string());
        let json = json!({
            "read": read, "imported": imported, "present": present, "rejected": rejected, "failed": failed,
            "rejected_file": file, "next_line": next_line,
        });
        let plain = format!(
            "{read} lines: {imported} taken over, {present} connected already, {rejected} rejected, {failed} to be tried again"
        );
        output.result(&json, &plain)?;
        if let Some(file) = file {
            output.warn(&format!(
                "{file} has the lines that were not taken over, each with its reason. It holds tokens: delete it when you are done"
            ));
        }
        if let Some(error) = failure {
            return Err(error.context(format!("stopped after line {}", self.last)));
        }
        match ended {
            Ended::Signal(signal) => {
                say(&format!("Stopped. --from-line {next} goes on."));
                Err(Stopped::Interrupted(signal).into())
            }
            Ended::Failing => {
                complain(&format!(
                    "{BREAKER} lines in a row failed for a reason that may pass, so the rest was left alone. Try again later, with --from-line {next}, and with the lines of the rejected file"
                ));
                Err(Stopped::Told(4).into())
            }
            Ended::AtTheEnd if rejected > 0 => Err(Stopped::Told(1).into()),
            Ended::AtTheEnd if failed > 0 => Err(Stopped::Told(4).into()),
            Ended::AtTheEnd => Ok(()),
        }
    }
}

/// Takes over one token, with as many tries.
async fn take_over(stack: Arc<Opened>, entry: Entry, tries: u8) -> (Entry, Fate) {
    let (token, user_id, expires_at) = match values(&entry) {
        Ok(values) => values,
        Err(reason) => {
            let fate = Fate::Rejected {
                reason,
                try_again: false,
            };
            return (entry, fate);
        }
    };
    let mut wait = FIRST_WAIT;
    for attempt in 1.. {
        let answer = stack
            .service
            .import(&token, user_id.as_ref(), expires_at, stack.now())
            .await;
        let error = match answer {
            Ok(imported) if imported.is_new => return (entry, Fate::Imported),
            Ok(_) => return (entry, Fate::Present),
            Err(error) => error,
        };
        let try_again = error.is_retryable();
        if !try_again || attempt >= tries {
            let reason = error_chain(&error);
            return (entry, Fate::Rejected { reason, try_again });
        }
        let asked = match &error {
            ImportError::Threads(error) => match error.kind() {
                ErrorKind::Throttled { retry_after } => *retry_after,
                _ => None,
            },
            _ => None,
        };
        tokio::time::sleep(asked.unwrap_or_default().max(wait).min(LONGEST_WAIT)).await;
        wait *= 5;
    }
    unreachable!("the last try returns")
}

type Values = (AccessToken, Option<UserId>, Option<Timestamp>);

fn values(entry: &Entry) -> Result<Values, String> {
    if let Some((_, reason)) = &entry.unreadable {
        return Err((*reason).to_owned());
    }
    if entry.token.is_empty() {
        return Err("the line has no access_token".to_owned());
    }
    let token = AccessToken::new(entry.token.as_str()).map_err(|error| error.to_string())?;
    let user_id = entry.user_id.as_deref().map(str::parse).transpose();
    let user_id = user_id.map_err(|_| "user_id is no Threads user id".to_owned())?;
    let expires_at = entry.expires_at.as_deref().map(moment).transpose()?;
    Ok((token, user_id, expires_at))
}

fn moment(text: &str) -> Result<Timestamp, String> {
    let seconds = text
        .parse()
        .ok()
        .and_then(|second| Timestamp::from_second(second).ok());
    seconds.or_else(|| text.parse().ok()).ok_or_else(|| {
        "expires_at is neither a time such as 2026-11-25T08:00:00Z nor seconds since 1970".to_owned()
    })
}

/// The file of rejected lines, which is made when there is one.
struct Sink {
    path: PathBuf,
    file: Option<File>,
}

impl Sink {
    fn write(&mut self, entry: &Entry, reason: &str, try_again: bool) -> Result<()> {
        let file = match &mut self.file {
            Some(file) => file,
            None => self.file.insert(private(&self.path)?),
        };
        let rejected = Rejected {
            line: entry.line,
            reason,
            try_again,
            access_token: &entry.token,
            user_id: entry.user_id.as_deref(),
            expires_at: entry.expires_at.as_deref(),
            text: entry.unreadable.as_ref().map(|(text, _)| text.as_str()),
        };
        let mut line = Zeroizing::new(serde_json::to_string(&rejected)?);
        line.push('\n');
        // At once, so that a process that is killed has lost none.
        file.write_all(line.as_bytes())
            .with_context(|| format!("{} cannot be written", self.path.display()))
    }
}

/// How far it is, on a terminal.
struct Progress {
    bar: ProgressBar,
    bytes: Arc<AtomicU64>,
}

impl Progress {
    fn new(length: Option<u64>) -> Self {
        Self {
            bar: bar(length, SHARE),
            bytes: Arc::default(),
        }
    }

    fn show(&self, tally: &Tally) {
        if self.bar.is_hidden() {
            return;
        }
        self.bar.set_position(self.bytes.load(Ordering::Relaxed));
        self.bar.set_message(format!(
            "{} taken over, {} connected already, {} not",
            tally.imported,
            tally.present,
            tally.rejected + tally.failed
        ));
    }
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
fn reader(
    source: Box<dyn Read + Send>,
    from_line: u64,
    progress: &Progress,
    ahead: usize,
) -> (mpsc::Receiver<Entry>, mpsc::Receiver<anyhow::Error>) {
    let (send, lines) = mpsc::channel(ahead);
    let (failed, failure) = mpsc::channel(1);
    let source = BufReader::new(Counted {
        inner: source,
        bytes: Arc::clone(&progress.bytes),
    });
    std::thread::spawn(move || {
        // Whoever takes no more lines has a reason of their own.
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
    if source
        .fill_buf()
        .context("the lines cannot be read")?
        .starts_with(MARK)
    {
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
        if (&mut source)
            .take(MAX_LINE)
            .read_until(b'\n', &mut text)
            .context("the lines cannot be read")?
            == 0
        {
            return Ok(());
        }
        if text.len() as u64 == MAX_LINE && !text.ends_with(b"\n") {
            return Err(Stopped::Usage(format!(
                "line {line} is longer than {MAX_LINE} bytes: this is no file of JSON lines"
            ))
            .into());
        }
        if text.trim_ascii().is_empty() {
            continue;
        }
        let entry = match serde_json::from_slice::<Fields>(&text) {
            Ok(fields) => Entry {
                line,
                token: fields
                    .access_token
                    .as_deref()
                    .map(|text| trimmed(text))
                    .unwrap_or_default(),
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
    let names = reader
        .byte_headers()
        .context("the first line cannot be read")?
        .clone();
    let column = |wanted: &[&str]| {
        names.iter().position(|name| {
            wanted
                .iter()
                .any(|wanted| name.eq_ignore_ascii_case(wanted.as_bytes()))
        })
    };
    let Some(token) = column(&["access_token", "token"]) else {
        let text = "the first line names no column access_token: expected CSV with names in its first line, or JSON lines";
        return Err(Stopped::Usage(text.to_owned()).into());
    };
    let (user_id, expires_at) = (column(&["user_id"]), column(&["expires_at"]));
    let mut record = csv::ByteRecord::new();
    while reader
        .read_byte_record(&mut record)
        .context("the lines cannot be read")?
    {
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
