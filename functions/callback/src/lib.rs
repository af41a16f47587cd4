//! `GET /callback`: finishes a connect, and shows its outcome.
//! A flow ends at a clean URL, the app's or one of `GET /connected` and `GET /finishing`, so that
//! no code stays in the address bar, the history or a `Referer`. Requests that match no other route
//! arrive here too.

use http::{Method, Response, StatusCode};
use jiff::Timestamp;
use threads_auth::{ConnectOutcome, Pseudonym, ThreadsAuth};
use threads_auth_web::pages::{self, Page, Reader};
use threads_auth_web::{HttpRequest, Metric, emit, nowhere, redirect, redirect_back};

/// Answers one request.
pub async fn handle(service: &ThreadsAuth, request: &HttpRequest, now: Timestamp) -> Response<String> {
    let reader = Reader::of(service.config(), request);
    match (&request.method, request.path.as_str()) {
        // The redirect URI registered at Meta may end with a slash.
        (&Method::GET, "/callback" | "/callback/") => finish(service, request, now).await,
        (&Method::GET, "/connected") => pages::respond(&Page::new(ConnectOutcome::Connected), &reader),
        (&Method::GET, "/finishing") => pages::respond(&Page::new(ConnectOutcome::Finishing), &reader),
        _ => nowhere(service.config(), request),
    }
}

async fn finish(service: &ThreadsAuth, request: &HttpRequest, now: Timestamp) -> Response<String> {
    if let Some(refused) = pages::refuse_prefetch(service.config(), request) {
        return refused;
    }
    let calls = service.graph_calls();
    let finished = service.finish_connect(&request.raw_query, &request.cookies(), now).await;
    let outcome = match &finished {
        Ok(connected) => connected.outcome,
        Err(refused) => refused.reason.outcome(),
    };
    let outcome = outcome.as_str();
    let metrics = [Metric::count("Connects", 1)];
    emit(service.config(), now, Some(("Outcome", outcome)), &metrics);
    let calls = service.graph_calls() - calls;
    if calls > 0 {
        emit(service.config(), now, None, &[Metric::count("GraphCalls", calls)]);
    }
    match finished {
        Ok(connected) => {
            let pseudonym = connected.pseudonym.as_ref().map(Pseudonym::as_str);
            tracing::info!(request_id = request.request_id, outcome, pseudonym);
            redirect(&Reader::of(service.config(), request), StatusCode::SEE_OTHER, &connected.location)
        }
        Err(refused) => redirect_back(service.config(), request, &refused),
    }
}
