//! The effect of signals on a command.
//!
//! Before Meta is called, a signal ends the command. From then on until the token is stored or
//! printed, the first signal waits, because the token in Meta's response exists nowhere else.

use std::cell::Cell;

use anyhow::{Context, Result};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::shell::exit::Stopped;
use crate::shell::output::say;

const SIGHUP: u8 = 1;
const SIGINT: u8 = 2;
const SIGTERM: u8 = 15;

/// Listens for SIGINT (Ctrl-C) and SIGTERM.
pub(crate) struct Interrupt {
    int: Signal,
    term: Signal,
}

impl Interrupt {
    pub(crate) fn listen() -> Result<Self> {
        let listen = |kind| signal(kind).context("the signal handler cannot be installed");
        Ok(Self { int: listen(SignalKind::interrupt())?, term: listen(SignalKind::terminate())? })
    }

    /// Runs `work`, and drops it at the first signal.
    pub(crate) async fn or<T>(&mut self, work: impl Future<Output = Result<T>>) -> Result<T> {
        tokio::select! {
            result = work => result,
            signal = self.next() => Err(Stopped::Interrupted(signal).into()),
        }
    }

    /// Runs `work` to its end in spite of a first signal, and then ends the command. A second
    /// signal drops the work.
    pub(crate) async fn after<T>(&mut self, work: impl Future<Output = Result<T>>) -> Result<T> {
        let came = Cell::new(None);
        let words = "Meta has been called. This ends as soon as its response is safe; a second Ctrl-C gives it up, and perhaps a token with it.";
        match (self.noting(&came, words, work).await, came.get()) {
            (Ok(_), Some(signal)) => Err(Stopped::Interrupted(signal).into()),
            (result, _) => result,
        }
    }

    /// Runs `work`, which may end early if the first signal is in `came`. That signal prints
    /// `words`. A second signal drops the work.
    pub(crate) async fn noting<T>(
        &mut self,
        came: &Cell<Option<u8>>,
        words: &str,
        work: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        // SIGHUP is handled only here, because a server under nohup has to survive it.
        let mut hangup = signal(SignalKind::hangup()).context("the signal handler cannot be installed")?;
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

    /// Waits for a signal, and returns its number.
    pub(crate) async fn next(&mut self) -> u8 {
        tokio::select! {
            _ = self.int.recv() => SIGINT,
            _ = self.term.recv() => SIGTERM,
        }
    }
}
