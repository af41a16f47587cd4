//! Sweeps by the deployed function, for operators who may invoke it but not open the secrets.
//!
//! Interprets each response of Lambda's. Invokes once and never retries: a second concurrent sweep
//! would use the function's last concurrent execution, which the schedule needs.

use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use aws_sdk_lambda::Client;
use aws_sdk_lambda::config::retry::RetryConfig;
use aws_sdk_lambda::config::timeout::TimeoutConfig;
use aws_sdk_lambda::config::{Builder, StalledStreamProtectionConfig};
use aws_sdk_lambda::error::SdkError;
use aws_sdk_lambda::operation::invoke::{InvokeError, InvokeOutput};
use aws_sdk_lambda::primitives::Blob;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};
use threads_auth::{FailureKind, SweepReport};

use super::progress::Progress;
use crate::operate::aws_failure::silence;
use crate::operate::target::{Deployed, StackHandle};
use crate::shell::exit::{Stopped, later};
use crate::shell::failure::is_denied;
use crate::shell::interrupt::Interrupt;
use crate::shell::output::say;

/// A function runs for at most 15 minutes.
const LONGEST: Duration = Duration::from_mins(16);

/// The interval at which the remaining tokens are counted.
const LOOK: Duration = Duration::from_secs(2);

/// Lambda's response for a function that failed.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Failure {
    error_type: String,
    error_message: String,
}

/// Returns the report of the function's sweep, unless a signal arrives.
pub(super) async fn until_interrupted(
    deployed: &Deployed,
    sweep: impl Future<Output = Result<SweepReport>>,
    interrupt: &mut Interrupt,
) -> Result<SweepReport> {
    let result = interrupt.or(sweep).await;
    if let Err(error) = &result
        && let Some(Stopped::Interrupted(_)) = error.downcast_ref()
    {
        let function = deployed.output("RefreshFunctionName")?;
        say(&format!("{function} continues by itself. Its log has the result."));
    }
    result
}

/// Invokes the function, and returns the report of its sweep.
pub(super) async fn invoke(
    stack: &StackHandle,
    deployed: &Deployed,
    budget: Option<u32>,
    now: Timestamp,
    progress: &Progress,
) -> Result<SweepReport> {
    let function = deployed.output("RefreshFunctionName")?;
    let event = budget.map_or_else(|| json!({}), |seconds| json!({"max_seconds": seconds}));
    let answer =
        client(deployed).invoke().function_name(function).payload(Blob::new(event.to_string())).send();
    tokio::pin!(answer);
    let answer = loop {
        tokio::select! {
            answer = &mut answer => break answer,
            () = tokio::time::sleep(LOOK), if progress.due.is_some() => {
                // The number of tokens that were due at the beginning only falls.
                if let Ok(left) = stack.service.count_due(now).await {
                    progress.left(left);
                }
            }
        }
    };
    match answer {
        Ok(answer) => report(function, &answer),
        Err(error) => not_invoked(function, &error),
    }
}

fn client(deployed: &Deployed) -> Client {
    let timeouts = TimeoutConfig::builder().read_timeout(LONGEST).operation_timeout(LONGEST).build();
    let config = Builder::from(&deployed.sdk)
        .retry_config(RetryConfig::disabled())
        .timeout_config(timeouts)
        // A function reports nothing until it is done.
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled());
    Client::from_conf(config.build())
}

fn report(function: &str, answer: &InvokeOutput) -> Result<SweepReport> {
    let payload = answer.payload().map(Blob::as_ref).unwrap_or_default();
    if answer.function_error().is_none() {
        let report: Value = serde_json::from_slice(payload).map_err(|_| {
            anyhow!("{function} answered without a report: is it this service's refresh function?")
        })?;
        return SweepReport::deserialize(report).context("the sweep's report is malformed");
    }
    let Failure { error_type, error_message } = serde_json::from_slice(payload).unwrap_or_default();
    if error_type == "Sandbox.Timedout" || error_message.contains("Task timed out") {
        let text = format!(
            "{function} was cut off at its timeout while it swept: the rest waits for the next sweep"
        );
        return later(text);
    }
    Err(anyhow!("{error_message}")
        .context(format!("{function} failed; its log has the cause, and `threads-auth doctor` looks for it")))
}

fn not_invoked(function: &str, error: &SdkError<InvokeError>) -> Result<SweepReport> {
    let SdkError::ServiceError(refused) = error else {
        let why = format!(
            "Lambda does not answer, and {function} may be sweeping all the same: {}",
            silence(error)
        );
        return Err(Stopped::Aws(FailureKind::Unreachable, why).into());
    };
    let (status, refusal) = (refused.raw().status().as_u16(), refused.err());
    let code = refusal.meta().code().unwrap_or("no reason given");
    let message = refusal.meta().message().unwrap_or_default();
    if status == 429 {
        return later(format!("{function} is busy: the maximum of concurrent sweeps is under way ({code})"));
    }
    if status >= 500 {
        return later(format!("Lambda could not invoke {function} ({code}): {message}"));
    }
    let next = if is_denied(code) {
        "; your credentials need lambda:InvokeFunction on it"
    } else if code.contains("NotFound") {
        "; deploy the stack again"
    } else {
        ""
    };
    bail!("Lambda does not invoke {function} ({code}): {message}{next}")
}
