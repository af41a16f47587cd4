//! The end of a command: the one place that maps an error to an exit code, to advice and to JSON.

use std::ffi::OsString;

use clap::error::ErrorKind as Misuse;
use serde_json::{Value, json};
use threads_auth::{FailureKind, Remedy};
use threads_auth_model::error_chain;
use threads_graph::{Call, ErrorKind, redacted};

use crate::shell::failure::{failure_kind, may_pass, next_step};
use crate::shell::output::{complain, is_unread, say};

/// Help text about the exit codes.
pub(crate) const CODES: &str = "\
Exit codes:
  0  done
  1  failed
  2  wrong usage: Meta was not called
  3  a person has to authorize the app, or to do so again
  4  try again later
  5  Meta issued a token, but it could not be stored as requested: standard error names its place
  128 and more  ended by a signal";

/// The `kind` of wrong usage in JSON.
const USAGE: &str = "usage";

/// The end of a command, except by a failed call to Meta.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Stopped {
    /// A value cannot be used. Meta was not called.
    #[error("{0}")]
    Usage(String),
    /// A person did not agree, or has to agree first.
    #[error("{0}")]
    Unauthorized(String),
    /// The command has to be repeated later, unchanged.
    #[error("{0}")]
    TryAgainLater(String),
    /// Meta issued a token, but it could not be stored as requested.
    #[error("{0}")]
    NotStored(String),
    /// An AWS call failed.
    #[error("{1}")]
    Aws(FailureKind, String),
    /// The result reports everything. This is the exit code.
    #[error("some items failed")]
    Reported(u8),
    /// A signal arrived, with this number.
    #[error("stopped")]
    Interrupted(u8),
}

/// A step that was completed before the command failed. The failure is its cause.
#[derive(Debug, thiserror::Error)]
#[error("{said}")]
pub(crate) struct DoneBefore {
    pub(crate) said: String,
    /// The JSON field that reports it.
    pub(crate) field: &'static str,
}

impl Stopped {
    /// Ends with this exit code, after the result has reported everything.
    pub(crate) fn reported(code: u8) -> anyhow::Result<()> {
        match code {
            0 => Ok(()),
            code => Err(Self::Reported(code).into()),
        }
    }

    fn code_and_kind(&self) -> (u8, &'static str) {
        match self {
            Self::Usage(_) => (2, USAGE),
            Self::Unauthorized(_) => (3, "unauthorized"),
            Self::TryAgainLater(_) => (4, "try_again_later"),
            Self::NotStored(_) => (5, "not_stored"),
            Self::Aws(kind, _) => (if kind.is_transient() { 4 } else { 1 }, kind.as_str()),
            Self::Reported(code) => (*code, "told"),
            Self::Interrupted(signal) => (128 + signal, "interrupted"),
        }
    }
}

/// Ends a command that was used wrongly.
pub(crate) fn usage<T>(text: impl Into<String>) -> anyhow::Result<T> {
    Err(Stopped::Usage(text.into()).into())
}

/// Ends a command that somebody should try again later.
pub(crate) fn later<T>(text: impl Into<String>) -> anyhow::Result<T> {
    Err(Stopped::TryAgainLater(text.into()).into())
}

/// Ends a command that a failure or a signal has stopped early, after its result was printed.
pub(crate) fn stopped_early(failure: Option<anyhow::Error>, signal: Option<u8>) -> anyhow::Result<()> {
    match (failure, signal) {
        (Some(error), _) => {
            report(&error);
            Stopped::reported(code(&error))
        }
        (None, Some(signal)) => Err(Stopped::Interrupted(signal).into()),
        (None, None) => Ok(()),
    }
}

/// Returns the exit code.
pub(crate) fn code(error: &anyhow::Error) -> u8 {
    if let Some(stopped) = error.downcast_ref::<Stopped>() {
        return stopped.code_and_kind().0;
    }
    if is_unread(error) {
        return 0;
    }
    if may_pass(error) {
        return 4;
    }
    match error.downcast_ref().map(threads_graph::Error::kind) {
        Some(ErrorKind::NeedsReauthorization(_) | ErrorKind::CodeUnusable | ErrorKind::Permission) => 3,
        Some(kind) if kind.is_retryable() => 4,
        Some(_) | None => 1,
    }
}

/// Prints the reason of a failure, and the next step.
pub(crate) fn report(error: &anyhow::Error) {
    complain(&error_chain(error.as_ref()));
    if let Some(advice) = advice(error) {
        say(&advice);
    }
}

/// Returns true if nothing is to be printed: the result was printed, a signal arrived, or nobody
/// reads the output.
pub(crate) fn is_silent(error: &anyhow::Error) -> bool {
    match error.downcast_ref() {
        Some(Stopped::Interrupted(_) | Stopped::Reported(_)) => true,
        Some(_) => false,
        None => is_unread(error),
    }
}

/// Returns the next step, if there is more to say than the error does.
pub(crate) fn advice(error: &anyhow::Error) -> Option<String> {
    if let Some(Stopped::Aws(kind, _)) = error.downcast_ref() {
        return next_step(*kind).map(str::to_owned);
    }
    let Some(error) = error.downcast_ref::<threads_graph::Error>() else {
        return next_step(failure_kind(error)?).map(str::to_owned);
    };
    let advice = match error.kind() {
        ErrorKind::NeedsReauthorization(_) => {
            "Only its person can bring the account back: run `threads-auth login`."
        }
        ErrorKind::CodeUnusable => {
            "A code works once, for an hour. Get a new one: `threads-auth login` does it all."
        }
        ErrorKind::Permission => {
            "The person has to grant it: `threads-auth login --scope …`. If they did, Meta has to allow it to the app first."
        }
        ErrorKind::Throttled { retry_after: Some(wait) } => {
            return Some(format!("Try again in {} s.", wait.as_secs()));
        }
        ErrorKind::Transient | ErrorKind::Malformed if error.call() == Call::ExchangeCode => {
            "Try again. If the code is refused then, it was spent on this attempt: get a new one with `threads-auth login`."
        }
        ErrorKind::Transient | ErrorKind::Throttled { .. } | ErrorKind::Malformed => {
            "Nothing is known to be wrong with the token. Try again later."
        }
        kind @ (ErrorKind::TooYoung | ErrorKind::Configuration(_)) => Remedy::of(kind).operator,
        ErrorKind::Rejected => return None,
    };
    Some(advice.to_owned())
}

/// Returns the error as JSON: `{"message", "error"}`, as in ThreadsPipe.
pub(crate) fn json(error: &anyhow::Error) -> Value {
    let message = redacted(&error.to_string()).into_owned();
    let whole = error_chain(error.as_ref());
    let cause = whole.strip_prefix(&message).unwrap_or(&whole).trim_start_matches(": ");
    let mut detail = if let Some(meta) = error.downcast_ref::<threads_graph::Error>() {
        json!({
            "kind": meta.kind().class().as_str(),
            "message": meta.kind().to_string(),
            "call": meta.call().as_str(),
            "status": meta.status(),
            "code": meta.code(),
            "error_subcode": meta.subcode(),
            "fbtrace_id": meta.trace_id(),
        })
    } else {
        let stopped: Option<&Stopped> = error.downcast_ref();
        let kind = match stopped {
            Some(stopped) => stopped.code_and_kind().1,
            None => failure_kind(error).map_or("failed", FailureKind::as_str),
        };
        let text = if cause.is_empty() { &message } else { cause };
        json!({"kind": kind, "message": text})
    };
    if let Some(next) = advice(error) {
        detail["next"] = json!(next);
    }
    let mut told = json!({"message": message, "error": detail});
    if let Some(done) = error.downcast_ref::<DoneBefore>() {
        told[done.field] = json!(true);
    }
    told
}

/// Returns true if these arguments request JSON, even if others are wrong.
pub(crate) fn ask_for_json(arguments: &[OsString]) -> bool {
    arguments.iter().skip(1).take_while(|argument| *argument != "--").any(|argument| {
        // The flag's value may be wrong too.
        argument == "--json" || argument.as_encoded_bytes().starts_with(b"--json=")
    })
}

/// Returns [`json`] for arguments that clap refuses.
pub(crate) fn misuse_json(error: &clap::Error) -> Value {
    let text = error.render().to_string();
    let text = redacted(&text);
    let in_a_line = |text: &str| text.lines().map(str::trim).collect::<Vec<_>>().join(" ");
    let (message, next) = if error.kind() == Misuse::DisplayHelpOnMissingArgumentOrSubcommand {
        // The help text is the message for people.
        let usage = text.lines().find(|line| line.starts_with("Usage:"));
        ("a command is missing".to_owned(), usage.unwrap_or_default().to_owned())
    } else {
        let (message, rest) = text.split_once("\n\n").unwrap_or((&text, ""));
        let next: Vec<_> = rest.split("\n\n").map(in_a_line).filter(|text| !text.is_empty()).collect();
        (in_a_line(message.trim_start_matches("error: ")), next.join("\n"))
    };
    json!({"message": message, "error": {"kind": USAGE, "message": message, "next": next}})
}
