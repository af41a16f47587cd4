//! Lines of standard input, with or without a question.
//!
//! Turns off the terminal's echo while a secret is typed, and restores it in every case. Refuses to
//! ask if nobody sees the question.

use std::io::{self, Write};

use anyhow::{Context, Result};
use clap::Args;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use zeroize::Zeroizing;

use crate::shell::exit::usage;
use crate::shell::interrupt::Interrupt;
use crate::shell::output::{can_ask, say};

/// The maximum length of a line, in bytes.
const MAX_LINE: u64 = 64 * 1024;

/// Asks a question, and reads the answer, without echo if it is hidden. Returns `None` at the end
/// of the input.
pub(crate) async fn ask(
    question: &str,
    hidden: bool,
    interrupt: &mut Interrupt,
) -> Result<Option<Zeroizing<String>>> {
    let echo_off = hidden.then(EchoOff::new).transpose()?;
    let mut err = io::stderr();
    write!(err, "{question}: ").and_then(|()| err.flush()).context("standard error is closed")?;
    let answer = interrupt.or(line()).await;
    // The line end was not echoed either.
    if echo_off.is_some() || answer.is_err() {
        say("");
    }
    drop(echo_off);
    Ok(answer?.map(|text| Zeroizing::new(text.trim().to_owned())))
}

/// The confirmation of a change that is hard to take back.
#[derive(Args)]
pub(crate) struct Confirmation {
    /// Do not ask for confirmation
    #[arg(long)]
    pub(crate) yes: bool,
}

impl Confirmation {
    /// Asks for a yes, unless the command line has it.
    pub(crate) async fn ask(&self, question: &str) -> Result<()> {
        if self.yes { Ok(()) } else { confirm(&format!("{question} Type yes"), "yes", "--yes").await }
    }
}

/// Asks for a word as confirmation. Without a terminal, `flag` is required instead.
pub(crate) async fn confirm(question: &str, word: &str, flag: &str) -> Result<()> {
    if !can_ask() {
        return usage(format!("there is no terminal to ask for confirmation: give {flag} to confirm"));
    }
    let answer = ask(question, false, &mut Interrupt::listen()?).await?;
    if answer.is_none_or(|answer| answer.as_str() != word) {
        return usage("nothing was changed");
    }
    Ok(())
}

/// Reads the next line of standard input, without its end. Returns `None` at the end of the input.
pub(crate) async fn line() -> Result<Option<Zeroizing<String>>> {
    let (send, receive) = tokio::sync::oneshot::channel();
    // A separate thread, because a read cannot be cancelled, and the runtime would wait for its own
    // threads.
    std::thread::spawn(move || send.send(read_line()));
    receive.await.context("standard input was not read")?.context("standard input cannot be read")
}

fn read_line() -> io::Result<Option<Zeroizing<String>>> {
    use std::io::{BufRead, Read};
    let mut line = Zeroizing::new(String::new());
    let read = io::stdin().lock().take(MAX_LINE).read_line(&mut line)?;
    while line.ends_with(['\n', '\r']) {
        line.pop();
    }
    Ok((read > 0).then_some(line))
}

/// Turns off the terminal's echo while it lives.
struct EchoOff(Termios);

impl EchoOff {
    fn new() -> Result<Self> {
        let shown = tcgetattr(io::stdin()).context("the terminal's echo cannot be read")?;
        let mut hidden = shown.clone();
        hidden.local_modes.remove(LocalModes::ECHO);
        tcsetattr(io::stdin(), OptionalActions::Now, &hidden)
            .context("the terminal's echo cannot be turned off")?;
        Ok(Self(shown))
    }
}

impl Drop for EchoOff {
    fn drop(&mut self) {
        if tcsetattr(io::stdin(), OptionalActions::Now, &self.0).is_err() {
            say("The terminal's echo could not be turned on again: `stty echo` does.");
        }
    }
}
