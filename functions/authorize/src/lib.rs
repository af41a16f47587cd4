//! `GET /authorize`: sends a person to Threads to consent.
//! Parses and stores nothing itself: maps the result of [`ThreadsAuth::begin_connect`] to a
//! response, and logs it once.

use http::{Response, StatusCode};
use jiff::Timestamp;
use threads_auth::ThreadsAuth;
use threads_auth_web::pages::{self, Reader};
use threads_auth_web::{HttpRequest, redirect, with_cookies};

/// Answers one request.
pub async fn handle(service: &ThreadsAuth, request: &HttpRequest, now: Timestamp) -> Response<String> {
    if let Some(refused) = pages::refuse_prefetch(service.config(), request) {
        return refused;
    }
    match service.begin_connect(&request.raw_query, &request.cookies(), now).await {
        Ok(started) => {
            tracing::info!(request_id = request.request_id, outcome = "started");
            let reader = Reader::of(service.config(), request);
            with_cookies(redirect(&reader, StatusCode::FOUND, started.location.as_str()), &started.cookies)
        }
        Err(refused) => pages::refuse(service.config(), request, &refused),
    }
}
