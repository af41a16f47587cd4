//! The life of a function: it starts, and serves events until Lambda ends the process. Reads the
//! clock once for each event.

use std::error::Error;
use std::fmt;
use std::mem;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::FutureExt;
use http::Response;
use jiff::Timestamp;
use lambda_http::lambda_runtime::{self, Diagnostic};
use lambda_http::{LambdaEvent, service_fn};
use threads_auth::{Config, StartError, ThreadsAuth, error_chain};
use tracing::Instrument;

use crate::detour::{refuse_detour, refuse_programs_detour};
use crate::failures::{page_panicked, program_panicked};
use crate::metrics::{Metric, emit, secret_age};
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

/// The responses in which functions with pages differ from those without.
struct Edge {
    /// Refuses a request that has bypassed CloudFront.
    refuse: fn(&Config, &HttpRequest) -> Option<Response<String>>,
    /// Answers a request during which the function panicked.
    panicked: fn(&Config, &HttpRequest) -> Response<String>,
}

/// Serves an HTTP function that shows pages until Lambda ends the process, and counts its responses
/// of 500 and above. Requests that have bypassed CloudFront are refused here.
///
/// # Errors
/// Returns [`Failure`] if the Runtime API cannot be reached.
pub async fn serve_pages<F, R>(service: &ThreadsAuth, handle: F) -> Result<(), Failure>
where
    F: Fn(HttpRequest, Timestamp) -> R,
    R: Future<Output = Response<String>>,
{
    serve_http(service, Edge { refuse: refuse_detour, panicked: page_panicked }, handle).await
}

/// Serves an HTTP function that only programs call. It links no page.
///
/// # Errors
/// Returns [`Failure`] if the Runtime API cannot be reached.
pub async fn serve_programs<F, R>(service: &ThreadsAuth, handle: F) -> Result<(), Failure>
where
    F: Fn(HttpRequest, Timestamp) -> R,
    R: Future<Output = Response<String>>,
{
    serve_http(
        service,
        Edge { refuse: refuse_programs_detour, panicked: |_, request| program_panicked(request) },
        handle,
    )
    .await
}

/// Each line that is logged for a request has its id: its own lines as `request_id`, and those of
/// deeper layers in the `span`.
async fn serve_http<F, R>(service: &ThreadsAuth, edge: Edge, handle: F) -> Result<(), Failure>
where
    F: Fn(HttpRequest, Timestamp) -> R,
    R: Future<Output = Response<String>>,
{
    let (config, edge, handle) = (service.config(), &edge, &handle);
    let handler = move |event: LambdaEvent<serde_json::Value>| async move {
        let request = HttpRequest::from_event(event.payload).map_err(|error| Reported::from(&error))?;
        let now = now();
        let response = match (edge.refuse)(config, &request) {
            Some(refused) => refused,
            None => {
                guarded(request, |request| handle(request, now), |seen| (edge.panicked)(config, seen)).await
            }
        };
        count(config, now, &response);
        secret_age(config, now, service.stale_for(now).await);
        Ok::<_, Reported>(answer(response))
    };
    Ok(lambda_runtime::run(service_fn(handler)).await?)
}

/// Answers a request with `handle`, or with `panicked` if that panics: API Gateway's own response
/// to a crash tells a person nothing.
async fn guarded<R>(
    mut request: HttpRequest,
    handle: impl FnOnce(HttpRequest) -> R,
    panicked: impl FnOnce(&HttpRequest) -> Response<String>,
) -> Response<String>
where
    R: Future<Output = Response<String>>,
{
    let span = request.span();
    // Everything of it except its body, which may be large.
    let body = mem::take(&mut request.body);
    let seen = request.clone();
    // In a box, because the compiler lays such deep futures out no further.
    let handled = Box::pin(handle(HttpRequest { body, ..request }).instrument(span));
    let handled = AssertUnwindSafe(handled).catch_unwind().await;
    handled.unwrap_or_else(|_| panicked(&seen))
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::failures::program_panicked;
    use crate::standing::ServerError;

    #[test]
    fn a_panic_is_answered() {
        let event =
            json!({"rawPath": "/x", "requestContext": {"http": {"method": "GET"}, "requestId": "id"}});
        let request = HttpRequest::from_event(event).unwrap();
        let panics = async |_| panic!("canary");
        let answer = guarded(request, panics, program_panicked).now_or_never().unwrap();
        assert_eq!(answer.status(), 503);
        assert_eq!(answer.headers()["retry-after"], "5");
        assert_eq!(ServerError::of(&answer), Some(ServerError::Unexpected));
        assert!(!answer.body().contains("canary"), "{answer:?}");
    }
}
