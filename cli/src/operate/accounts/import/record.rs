//! An import's record: each line is counted, shown on a terminal, and kept if it was rejected.

use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result};
use indicatif::ProgressBar;
use serde::Serialize;
use serde_json::json;
use zeroize::Zeroizing;

use super::lines::Entry;
use super::take_over::Fate;
use crate::operate::accounts::private_file::private_again;
use crate::shell::output::Output;
use crate::shell::progress::{SHARE, bar};

/// A line of the file of rejected lines.
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
    reference: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'a str>,
}

/// The counts of an import.
#[derive(Default, Serialize)]
pub(super) struct Tally {
    /// Lines that were read.
    pub(super) read: u64,
    /// Tokens that were imported.
    pub(super) imported: u64,
    /// Accounts that were connected already, with a token that lives at least as long.
    pub(super) present: u64,
    /// Lines that can never be imported as they are.
    pub(super) rejected: u64,
    /// Lines that failed for a transient reason.
    pub(super) failed: u64,
}

pub(super) struct Record {
    pub(super) tally: Tally,
    pub(super) bar: ProgressBar,
    /// The number of bytes read so far.
    bytes: Arc<AtomicU64>,
    /// The file of rejected lines, which is created with the first of them.
    path: PathBuf,
    file: Option<File>,
}

impl Record {
    /// Starts a record for a file of `length` bytes, if the length is known.
    pub(super) fn new(length: Option<u64>, bytes: Arc<AtomicU64>, rejected: PathBuf) -> Self {
        Self { tally: Tally::default(), bar: bar(length, SHARE), bytes, path: rejected, file: None }
    }

    pub(super) fn add(&mut self, entry: &Entry, fate: Fate) -> Result<()> {
        self.tally.read += 1;
        match fate {
            Fate::Imported => self.tally.imported += 1,
            Fate::Present => self.tally.present += 1,
            // The failure is the stack's, not the line's.
            Fate::StackFailed(_) => {}
            Fate::Rejected { reason, try_again } => {
                if try_again {
                    self.tally.failed += 1;
                } else {
                    self.tally.rejected += 1;
                }
                self.keep(entry, &reason, try_again)?;
            }
        }
        self.show();
        Ok(())
    }

    fn keep(&mut self, entry: &Entry, reason: &str, try_again: bool) -> Result<()> {
        let file = match &mut self.file {
            Some(file) => file,
            None => self.file.insert(private_again(&self.path)?),
        };
        let rejected = Rejected {
            line: entry.line,
            reason,
            try_again,
            access_token: &entry.token,
            user_id: entry.user_id.as_deref(),
            expires_at: entry.expires_at.as_deref(),
            reference: entry.reference.as_deref(),
            text: entry.unreadable.as_ref().map(|(text, _)| text.as_str()),
        };
        let mut line = Zeroizing::new(serde_json::to_string(&rejected)?);
        line.push('\n');
        // Flushed at once, so that a killed process loses no line.
        file.write_all(line.as_bytes()).with_context(|| format!("{} cannot be written", self.path.display()))
    }

    fn show(&self) {
        if self.bar.is_hidden() {
            return;
        }
        self.bar.set_position(self.bytes.load(Ordering::Relaxed));
        self.bar.set_message(format!(
            "{} taken over, {} connected already, {} not",
            self.tally.imported,
            self.tally.present,
            self.tally.rejected + self.tally.failed
        ));
    }

    /// Prints the counts, and the next line if the import ended early.
    pub(super) fn print(&self, next_line: Option<u64>, output: Output) -> Result<()> {
        let tally = &self.tally;
        let file = self.file.as_ref().map(|_| self.path.display().to_string());
        let mut json = json!(tally);
        json["rejected_file"] = json!(file);
        json["next_line"] = json!(next_line);
        let plain = format!(
            "{} lines: {} taken over, {} connected already, {} rejected, {} to be tried again",
            tally.read, tally.imported, tally.present, tally.rejected, tally.failed
        );
        output.result(&json, &plain)?;
        if let Some(file) = file {
            output.warn(&format!(
                "{file} has the lines that were not taken over, each with its reason. It holds tokens: delete it when you are done"
            ));
        }
        Ok(())
    }
}
