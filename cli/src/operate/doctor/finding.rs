//! A check's finding, as JSON and as text.

use anstyle::{AnsiColor, Style};
use aws_sdk_scheduler::error::{ProvideErrorMetadata, SdkError};
use serde::Serialize;
use threads_auth::FailureKind;
use threads_auth_model::error_chain;
use threads_auth_store::{AwsError, StoreError};

use crate::shell::failure::is_denied;

/// The result of a check.
#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::operate) enum Level {
    Ok,
    Warn,
    Fail,
}

/// One check.
#[derive(Serialize)]
pub(in crate::operate) struct Finding {
    pub(in crate::operate) check: &'static str,
    pub(in crate::operate) level: Level,
    pub(in crate::operate) detail: String,
    /// The next step for the operator.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::operate) next: Option<String>,
}

pub(super) fn ok(check: &'static str, detail: impl Into<String>) -> Finding {
    Finding { check, level: Level::Ok, detail: detail.into(), next: None }
}

pub(in crate::operate) fn warn(
    check: &'static str,
    detail: impl Into<String>,
    next: impl Into<String>,
) -> Finding {
    Finding { level: Level::Warn, next: Some(next.into()), ..ok(check, detail) }
}

pub(super) fn fail(check: &'static str, detail: impl Into<String>, next: impl Into<String>) -> Finding {
    Finding { level: Level::Fail, ..warn(check, detail, next) }
}

pub(super) fn denied(check: &'static str, code: &str, permission: &str) -> Finding {
    let next = format!("Try again with credentials that have {permission}.");
    warn(check, format!("your credentials may not read this ({code})"), next)
}

/// Returns the finding for a table that cannot be read. `action` is the permission that it takes.
pub(super) fn unreadable(check: &'static str, error: &AwsError, table: &str, action: &str) -> Finding {
    let next = match error.kind {
        FailureKind::Denied => return denied(check, &error.code, &format!("{action} on the table {table}")),
        FailureKind::Missing => {
            let detail = format!("there is no table {table} ({})", error.code);
            let next = "Deploy the stack again, or start `threads-auth dev` anew: both create it. `threads-auth restore` brings the accounts of a backup back.";
            return fail(check, detail, next);
        }
        _ if error.kind.is_transient() => "Try again later.",
        _ => "Check that the table exists, and that your credentials reach it.",
    };
    fail(check, error_chain(error), next)
}

/// Returns the finding for a failure of the store, while it reads `table`.
pub(in crate::operate) fn of_store(
    check: &'static str,
    error: &StoreError,
    table: &str,
    action: &str,
) -> Finding {
    match error {
        StoreError::DynamoDb(error) => unreadable(check, error, table, action),
        error @ StoreError::Inconsistent(_) => warn(check, error_chain(error), "Try again later."),
    }
}

impl Finding {
    pub(super) fn plain(&self) -> String {
        let (word, colour) = match self.level {
            Level::Ok => ("ok  ", AnsiColor::Green),
            Level::Warn => ("warn", AnsiColor::Yellow),
            Level::Fail => ("FAIL", AnsiColor::Red),
        };
        let style: Style = colour.on_default().bold();
        let next = self.next.as_ref().map_or_else(String::new, |next| format!("\n      -> {next}"));
        format!("{style}{word}{style:#}  {}: {}{next}", self.check, self.detail)
    }
}

/// Returns the finding for a response without the field that the check needs: no problem is known.
pub(super) fn unreported(check: &'static str, what: &str) -> Finding {
    warn(check, format!("AWS did not report {what}"), "Try again later, or look at it in AWS's console.")
}

/// Returns the finding for a stack without the output that the check needs.
pub(super) fn unnamed(check: &'static str, error: &anyhow::Error) -> Finding {
    warn(check, format!("is unknown: {error:#}"), "Deploy this version of the stack.")
}

/// Returns the finding for a call that AWS refused: no problem is known, unless the resource is
/// missing.
pub(in crate::operate) fn unseen<E: ProvideErrorMetadata>(
    check: &'static str,
    error: &SdkError<E>,
    permission: &str,
) -> Finding {
    match error.code() {
        // SQS has codes of its own.
        Some(code) if ["NotFound", "NonExistent", "DoesNotExist"].iter().any(|word| code.contains(word)) => {
            fail(check, "it does not exist", "Deploy the stack again.")
        }
        Some(code) if is_denied(code) => denied(check, code, permission),
        Some(code) => warn(check, format!("AWS refused ({code})"), "Try again later."),
        None => match error.raw_response() {
            Some(answer) => warn(
                check,
                format!("AWS answers {}, and gives no reason", answer.status().as_u16()),
                "Try again later.",
            ),
            None => warn(check, "AWS does not answer", "Try again later."),
        },
    }
}
