//! `POST /deauthorize`: Meta's notification that a person has removed the app.

use http::{Method, Response, StatusCode};
use jiff::Timestamp;
use threads_auth::{Pseudonym, ThreadsAuth};
use threads_auth_web::{HttpRequest, api, json, no_route, previous_secret_used, removal_failed};

/// Answers one request.
pub async fn handle(service: &ThreadsAuth, request: &HttpRequest, now: Timestamp) -> Response<String> {
    if (&request.method, request.path.as_str()) != (&Method::POST, "/deauthorize") {
        return no_route();
    }
    let request_id = &request.request_id;
    match service.deauthorize(&request.body, now).await {
        Ok(done) => {
            if done.by_previous_secret {
                previous_secret_used(service.config(), request_id, now);
            }
            let outcome = if done.has_ended { "deauthorized" } else { "nothing_to_deauthorize" };
            let pseudonym = done.pseudonym.as_ref().map(Pseudonym::as_str);
            tracing::info!(request_id, outcome, pseudonym);
            json(StatusCode::OK, &api::Deauthorized {})
        }
        Err(error) => removal_failed(request, &error),
    }
}
