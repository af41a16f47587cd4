//! The life of a function: it starts, and serves events until Lambda ends the process. Reads the
//! clock once for each event.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use http::Response;
use jiff::Timestamp;
use lambda_http::lambda_runtime::{self, Diagnostic};
use lambda_http::{LambdaEvent, service_fn};
use threads_auth::{Config, StartError, ThreadsAuth, error_chain};
use tracing::Instrument;

use crate::detour::{refuse_detour, refuse_programs_detour};
use crate::metrics::{Metric, emit};
use crate::request::HttpRequest;
use crate::response::answer;
use crate::standing::count;
use crate::telemetry;

/// Error of starting a function. Its `Debug` is a sentence, because the runtime prints that.
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

/// The error of an event, as Lambda reports it to the caller, in the log and in a dead letter. A
/// boxed error would lose its type's name and all but the first cause.
#[derive(Debug)]
struct Reported {
    name: &'static str,
    chain: String,
}

impl<E: Error + 'static> From<&E> for Reported {
    fn from(error: &E) -> Self {
        Self { name: std::any::type_name::<E>(), chain: error_chain(error) }
    }
}

impl From<Reported> for Diagnostic {
    fn from(reported: Reported) -> Self {
        Self { error_type: reported.name.to_owned(), error_message: reported.chain }
    }
}

/// Sets up the logs and the configuration of the function `name`, and counts its cold start.
///
/// # Errors
/// Returns [`Failure`] if the configuration is incomplete or invalid.
#[expect(clippy::disallowed_methods, reason = "the log level must be known before the configuration is read")]
pub fn configure(name: &str) -> Result<Config, Failure> {
    telemetry::init(std::env::var(telemetry::LOG_LEVEL).ok().as_deref());
    let config = Config::from_env().map_err(StartError::from)?;
    emit(&config, now(), Some(("Function", name)), &[Metric::count("ColdStarts", 1)]);
    Ok(config)
}

/// Starts a function that works with grants: sets up logs, configuration and clients, and reads the
/// secrets.
///
/// # Errors
/// Returns [`Failure`] if the configuration is incomplete or invalid.
pub async fn start(name: &str) -> Result<ThreadsAuth, Failure> {
    let service = ThreadsAuth::new(configure(name)?)?;
    service.warm(now()).await;
    Ok(service)
}

/// Serves an HTTP function that shows pages until Lambda ends the process, and counts its responses
/// of 500 and above. Requests that have bypassed CloudFront are refused here.
///
/// # Errors
/// Returns [`Failure`] if the Runtime API cannot be reached.
pub async fn serve_pages<F, R>(config: &Config, handle: F) -> Result<(), Failure>
where
    F: Fn(HttpRequest, Timestamp) -> R,
    R: Future<Output = Response<String>>,
{
    serve_http(config, refuse_detour, handle).await
}

/// Serves an HTTP function that only programs call. It links no page.
///
/// # Errors
/// Returns [`Failure`] if the Runtime API cannot be reached.
pub async fn serve_programs<F, R>(config: &Config, handle: F) -> Result<(), Failure>
where
    F: Fn(HttpRequest, Timestamp) -> R,
    R: Future<Output = Response<String>>,
{
    serve_http(config, refuse_programs_detour, handle).await
}

/// Each line that is logged for a request has its id: its own lines as `request_id`, and those of
/// deeper layers in the `span`.
async fn serve_http<F, R>(
    config: &Config,
    refuse: impl Fn(&Config, &HttpRequest) -> Option<Response<String>>,
    handle: F,
) -> Result<(), Failure>
where
    F: Fn(HttpRequest, Timestamp) -> R,
    R: Future<Output = Response<String>>,
{
    let (refuse, handle) = (&refuse, &handle);
    let handler = move |event: LambdaEvent<serde_json::Value>| async move {
        let request = HttpRequest::from_event(event.payload).map_err(|error| Reported::from(&error))?;
        let now = now();
        let span = request.span();
        let response = match refuse(config, &request) {
            Some(refused) => refused,
            None => handle(request, now).instrument(span).await,
        };
        count(config, now, &response);
        Ok::<_, Reported>(answer(response))
    };
    Ok(lambda_runtime::run(service_fn(handler)).await?)
}

/// Serves a function that a schedule invokes. `handle` receives the event as JSON, the time, and
/// the time that is left.
///
/// # Errors
/// Returns [`Failure`] if the Runtime API cannot be reached.
pub async fn serve_event<F, R, T, E>(handle: F) -> Result<(), Failure>
where
    F: Fn(serde_json::Value, Timestamp, Duration) -> R,
    R: Future<Output = Result<T, E>>,
    T: serde::Serialize,
    E: Error + 'static,
{
    let handle = &handle;
    let handler = move |event: LambdaEvent<serde_json::Value>| async move {
        let now = now();
        let deadline = i64::try_from(event.context.deadline).unwrap_or(i64::MAX);
        let left = u64::try_from(deadline.saturating_sub(now.as_millisecond())).unwrap_or(0);
        let handled = handle(event.payload, now, Duration::from_millis(left)).await;
        handled.map_err(|error| Reported::from(&error))
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
