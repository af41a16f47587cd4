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
use lambda_http::{Context, LambdaEvent, service_fn};
use threads_auth::{Config, StartError, Table, ThreadsAuth, error_chain};
use tokio::time::timeout;
use tracing::Instrument;

use crate::detour::{refuse_detour, refuse_programs_detour};
use crate::failures::{Unfinished, unfinished, unfinished_page};
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

/// Starts a function that works with grants: sets up logs, configuration and clients, reads the
/// secrets, and opens a connection to DynamoDB by way of a `table` that the function may read.
///
/// # Errors
/// Returns [`Failure`] if the configuration is incomplete or invalid.
pub async fn start(name: &str, table: Table) -> Result<ThreadsAuth, Failure> {
    let service = ThreadsAuth::new(configure(name)?)?;
    service.warm(now(), table).await;
    Ok(service)
}

/// The responses in which functions with pages differ from those without.
struct Edge {
    /// Refuses a request that has bypassed CloudFront.
    refuse: fn(&Config, &HttpRequest) -> Option<Response<String>>,
    /// Answers a request whose work did not end.
    unfinished: fn(&Config, &HttpRequest, Unfinished) -> Response<String>,
}

/// The time that the answer to an unfinished request needs.
const TO_ANSWER: Duration = Duration::from_millis(300);

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
    serve_http(service, Edge { refuse: refuse_detour, unfinished: unfinished_page }, handle).await
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
        Edge { refuse: refuse_programs_detour, unfinished: |_, request, why| unfinished(request, why) },
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
        let now = now();
        let left = left(&event.context, now).saturating_sub(TO_ANSWER);
        let request = HttpRequest::from_event(event.payload).map_err(|error| Reported::from(&error))?;
        let response = if let Some(refused) = (edge.refuse)(config, &request) {
            refused
        } else {
            let unfinished = |seen: &HttpRequest, why| (edge.unfinished)(config, seen, why);
            guarded(request, left, |request| handle(request, now), unfinished).await
        };
        count(config, now, &response);
        secret_age(config, now, service.stale_for(now).await);
        Ok::<_, Reported>(answer(response))
    };
    Ok(lambda_runtime::run(service_fn(handler)).await?)
}

/// Returns the time until Lambda ends the function.
fn left(context: &Context, now: Timestamp) -> Duration {
    let deadline = i64::try_from(context.deadline).unwrap_or(i64::MAX);
    Duration::from_millis(u64::try_from(deadline.saturating_sub(now.as_millisecond())).unwrap_or(0))
}

/// Answers a request with `handle`, or with `unfinished` if that panics or takes longer than
/// `left`: API Gateway's own response to either does not help a person.
async fn guarded<R>(
    mut request: HttpRequest,
    left: Duration,
    handle: impl FnOnce(HttpRequest) -> R,
    unfinished: impl FnOnce(&HttpRequest, Unfinished) -> Response<String>,
) -> Response<String>
where
    R: Future<Output = Response<String>>,
{
    let span = request.span();
    // Everything of it except its body, which may be large.
    let body = mem::take(&mut request.body);
    let seen = request.clone();
    // Boxed, because the compiler limits the depth of the futures that it lays out.
    let handled = Box::pin(handle(HttpRequest { body, ..request }).instrument(span));
    match timeout(left, AssertUnwindSafe(handled).catch_unwind()).await {
        Ok(Ok(response)) => response,
        Ok(Err(_)) => unfinished(&seen, Unfinished::Panicked),
        Err(_) => unfinished(&seen, Unfinished::OutOfTime),
    }
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
        let left = left(&event.context, now);
        let handled = handle(event.payload, now, left).await;
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
    use crate::standing::ServerError;

    #[tokio::test]
    async fn work_that_does_not_end_is_answered() {
        let event =
            json!({"rawPath": "/x", "requestContext": {"http": {"method": "GET"}, "requestId": "id"}});
        let request = || HttpRequest::from_event(event.clone()).unwrap();
        let hour = Duration::from_hours(1);
        for answer in [
            guarded(request(), hour, async |_| panic!("canary"), unfinished).await,
            guarded(request(), Duration::ZERO, async |_| std::future::pending().await, unfinished).await,
        ] {
            assert_eq!(answer.status(), 503);
            assert_eq!(answer.headers()["retry-after"], "5");
            assert_eq!(ServerError::of(&answer), Some(ServerError::Unexpected));
            assert!(!answer.body().contains("canary"), "{answer:?}");
        }
        let answer = guarded(request(), hour, async |_| Response::new("done".to_owned()), unfinished).await;
        assert_eq!(answer.body(), "done");
    }
}
