//! The effect of a signal on a command.
//!
//! Before Meta is asked, it ends it. From then on until the token is stored or printed, the first one waits: a token that
//! Meta has given exists nowhere else.

use std::cell::Cell;

use anyhow::{Context, Result};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::shell::exit::Stopped;
use crate::shell::output::say;

const SIGHUP: u8 = 1;
const SIGINT: u8 = 2;
const SIGTERM: u8 = 15;

/// Listens for Ctrl-C and for a request to end.
pub(crate) struct Interrupt {
    int: Signal,
    term: Signal,
}

impl Interrupt {
    pub(crate) fn listen() -> Result<Self> {
        let listen = |kind| signal(kind).context("signals cannot be listened for");
        Ok(Self { int: listen(SignalKind::interrupt())?, term: listen(SignalKind::terminate())? })
    }

    /// Waits for `work`, and gives it up at the first signal.
    pub(crate) async fn or<T>(&mut self, work: impl Future<Output = Result<T>>) -> Result<T> {
        tokio::select! {
            result = work => result,
            signal = self.next() => Err(Stopped::Interrupted(signal).into()),
        }
    }

    /// Waits for `work` in spite of a first signal, which ends the command afterwards. Only the second gives it up.
    pub(crate) async fn after<T>(&mut self, work: impl Future<Output = Result<T>>) -> Result<T> {
        let came = Cell::new(None);
        let words = "Meta has been asked. This ends as soon as its answer is safe; a second Ctrl-C gives it up, and perhaps a token with it.";
        match (self.noting(&came, words, work).await, came.get()) {
            (Ok(_), Some(signal)) => Err(Stopped::Interrupted(signal).into()),
            (result, _) => result,
        }
    }

    /// Waits for `work`, which may end early when the first signal is in `came`. Then `words` are said. Only the second gives it up.
    pub(crate) async fn noting<T>(
        &mut self,
        came: &Cell<Option<u8>>,
        words: &str,
        work: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        // Only here: a server under nohup has to survive it.
        let mut hangup = signal(SignalKind::hangup()).context("signals cannot be listened for")?;
        tokio::pin!(work);
        loop {
            let signal = tokio::select! {
                result = &mut work => return result,
                signal = self.next() => signal,
                _ = hangup.recv() => SIGHUP,
            };
            if came.replace(Some(signal)).is_some() {
                return Err(Stopped::Interrupted(signal).into());
            }
            say(words);
        }
    }

    /// Waits for a signal, and says which.
    pub(crate) async fn next(&mut self) -> u8 {
        tokio::select! {
            _ = self.int.recv() => SIGINT,
            _ = self.term.recv() => SIGTERM,
        }
    }
}
