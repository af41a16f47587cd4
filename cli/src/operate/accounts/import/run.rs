//! A running import: limits the concurrent lines, and decides when to stop.

use std::collections::BTreeSet;
use std::sync::Arc;

use anyhow::{Context, Result};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::lines::Entry;
use super::record::Record;
use super::take_over::{Fate, take_over};
use crate::operate::target::StackHandle;
use crate::shell::exit::{self, Stopped};
use crate::shell::interrupt::Interrupt;
use crate::shell::output::{Output, complain, say};

/// Circuit breaker: after this many consecutive transient failures, stop the import.
const BREAKER: u64 = 100;

/// A running import.
pub(super) struct Run {
    stack: Arc<StackHandle>,
    record: Record,
    in_flight: BTreeSet<u64>,
    /// The last line that was started.
    last: u64,
    /// Consecutive lines that failed for a transient reason.
    failing: u64,
}

/// The reason why no more lines are started.
enum Ended {
    AtTheEnd,
    Failing,
    /// The stack failed in a way that would repeat for every other line.
    StackFailed(anyhow::Error),
    Signal(u8),
}

impl Run {
    /// Starts at this line of the file.
    pub(super) fn new(stack: StackHandle, record: Record, from_line: u64) -> Self {
        Self {
            stack: Arc::new(stack),
            record,
            in_flight: BTreeSet::new(),
            last: from_line.saturating_sub(1),
            failing: 0,
        }
    }

    /// Imports the lines, at most `most` at once, and prints the result.
    pub(super) async fn finish(
        mut self,
        (lines, mut failure): (mpsc::Receiver<Entry>, mpsc::Receiver<anyhow::Error>),
        most: usize,
        tries: u8,
        output: Output,
    ) -> Result<()> {
        let ended = self.work(lines, most, tries).await;
        self.record.bar.finish_and_clear();
        let next = self.in_flight.first().copied().unwrap_or(self.last + 1);
        let ended = match ended? {
            Ended::StackFailed(error) if self.record.tally.read == 0 => return Err(error),
            ended => ended,
        };
        // The reader ends before its lines do. Its error waits in this channel.
        let failure = failure.try_recv().ok();
        let failure = match failure {
            Some(error) if self.record.tally.read == 0 => return Err(error),
            failure => failure,
        };
        let next_line = (!matches!(ended, Ended::AtTheEnd)).then_some(next);
        self.record.print(next_line, output)?;
        if let Some(error) = failure {
            return Err(error.context(format!("stopped after line {}", self.last)));
        }
        match ended {
            Ended::StackFailed(error) => {
                exit::report(&error);
                say(&format!("Stopped. --from-line {next} goes on."));
                Err(Stopped::Reported(exit::code(&error)).into())
            }
            Ended::Signal(signal) => {
                say(&format!("Stopped. --from-line {next} goes on."));
                Err(Stopped::Interrupted(signal).into())
            }
            Ended::Failing => {
                complain(&format!(
                    "{BREAKER} lines in a row failed for a transient reason, so the rest was left alone. Try again later, with --from-line {next}, and with the lines of the rejected file"
                ));
                Err(Stopped::Reported(4).into())
            }
            Ended::AtTheEnd if self.record.tally.rejected > 0 => Err(Stopped::Reported(1).into()),
            Ended::AtTheEnd if self.record.tally.failed > 0 => Err(Stopped::Reported(4).into()),
            Ended::AtTheEnd => Ok(()),
        }
    }

    async fn work(&mut self, mut lines: mpsc::Receiver<Entry>, most: usize, tries: u8) -> Result<Ended> {
        let mut interrupt = Interrupt::listen()?;
        let mut tasks: JoinSet<(Entry, Fate)> = JoinSet::new();
        let mut ended = None;
        loop {
            tokio::select! {
                Some(done) = tasks.join_next() => {
                    let (entry, fate) = done.context("a line was given up")?;
                    match fate {
                        // The line stays in flight, so that the next run starts with it.
                        Fate::StackFailed(error) => match ended {
                            None | Some(Ended::AtTheEnd | Ended::Failing) => {
                                ended = Some(Ended::StackFailed(error.into()));
                            }
                            Some(_) => {}
                        },
                        fate => self.settle(&entry, fate)?,
                    }
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
        self.failing = match &fate {
            Fate::Rejected { try_again: true, .. } => self.failing + 1,
            _ => 0,
        };
        self.record.add(entry, fate)
    }
}
