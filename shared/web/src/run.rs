//! The life of a function: it starts, and serves events until Lambda ends the process. Reads the
//! clock, once for each event.

use std::fmt;
use std::time::Duration;

use http::Response;
use jiff::Timestamp;
use lambda_http::{LambdaEvent, lambda_runtime, service_fn};
use threads_auth::{Config, StartError, ThreadsAuth, error_chain};

use crate::detour::refuse_detour;
use crate::metrics::{Metric, emit};
use crate::request::HttpRequest;
use crate::response::answer;
use crate::telemetry;

/// Why a function did not start. Prints as a sentence, because the runtime prints it with `Debug`.
pub struct Failure(String);

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<StartError> for Failure {
    fn from(error: StartError) -> Self {
        Self(error_chain(&error))
    }
}

impl From<lambda_http::Error> for Failure {
    fn from(error: lambda_http::Error) -> Self {
        Self(error_chain(error.as_ref()))
    }
}

/// Begins a function: logs and configuration, and a count of its cold starts under its `name`.
///
/// # Errors
/// When the configuration is incomplete.
#[expect(
    clippy::disallowed_methods,
    reason = "the level of logs must be known before the configuration is read"
)]
pub fn configure(name: &str) -> Result<Config, Failure> {
    telemetry::init(std::env::var(telemetry::LOG_LEVEL).ok().as_deref());
    let config = Config::from_env().map_err(StartError::from)?;
    emit(&config, now(), Some(("Function", name)), &[Metric::count("ColdStarts", 1)]);
    Ok(config)
}

/// Starts a function that works with grants: logs, configuration, clients, secrets.
///
/// # Errors
/// When the configuration is incomplete.
pub async fn start(name: &str) -> Result<ThreadsAuth, Failure> {
    let service = ThreadsAuth::new(configure(name)?)?;
    service.warm(now()).await;
    Ok(service)
}

/// Serves an HTTP function until Lambda ends the process. What has walked around CloudFront comes
/// no further than here.
///
/// # Errors
/// When the Runtime API cannot be reached.
pub async fn serve_http<F, R>(config: &Config, handle: F) -> Result<(), Failure>
where
    F: Fn(HttpRequest, Timestamp) -> R,
    R: Future<Output = Response<String>>,
{
    let handle = &handle;
    let handler = move |event: LambdaEvent<serde_json::Value>| async move {
        let request = HttpRequest::from_event(event.payload)?;
        let response = match refuse_detour(config, &request) {
            Some(refused) => refused,
            None => handle(request, now()).await,
        };
        Ok::<_, lambda_http::Error>(answer(response))
    };
    Ok(lambda_runtime::run(service_fn(handler)).await?)
}

/// Serves a function that a schedule invokes: its event as JSON, the time, and how much of it there
/// is.
///
/// # Errors
/// When the Runtime API cannot be reached.
pub async fn serve_event<F, R, T>(handle: F) -> Result<(), Failure>
where
    F: Fn(serde_json::Value, Timestamp, Duration) -> R,
    R: Future<Output = Result<T, lambda_http::Error>>,
    T: serde::Serialize,
{
    let handle = &handle;
    let handler = move |event: LambdaEvent<serde_json::Value>| async move {
        let now = now();
        let deadline = i64::try_from(event.context.deadline).unwrap_or(i64::MAX);
        let left = u64::try_from(deadline.saturating_sub(now.as_millisecond())).unwrap_or(0);
        handle(event.payload, now, Duration::from_millis(left)).await
    };
    Ok(lambda_runtime::run(service_fn(handler)).await?)
}

#[expect(
    clippy::disallowed_methods,
    reason = "this is where a function reads the clock, once for each event"
)]
fn now() -> Timestamp {
    Timestamp::now()
}
