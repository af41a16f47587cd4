//! `POST /deauthorize`: Meta says that a person has removed the app.

use http::{Method, Response, StatusCode};
use jiff::Timestamp;
use serde_json::json;
use threads_auth::removal::RemovalError;
use threads_auth::store::Written;
use threads_auth::{ThreadsAuth, error_chain};
use threads_auth_web::pages::{self, Notice, Page};
use threads_auth_web::{HttpRequest, json, json_error, unavailable};

/// Answers one request.
pub async fn handle(service: &ThreadsAuth, request: &HttpRequest, now: Timestamp) -> Response<String> {
    if (&request.method, request.path.as_str()) != (&Method::POST, "/deauthorize") {
        return pages::respond(&Page::new(Notice::NotFound));
    }
    let request_id = &request.request_id;
    match service.deauthorize(&request.body, now).await {
        Ok(done) => {
            let outcome = match done.written {
                Written::Stored => "deauthorized",
                Written::Superseded | Written::Gone => "nothing_to_deauthorize",
            };
            tracing::info!(request_id, outcome, user.id = %done.user_id);
            // The same answer whatever there was: it tells nobody who has an account here.
            json(StatusCode::OK, &json!({}))
        }
        Err(error @ (RemovalError::Form | RemovalError::SignedRequest(_))) => {
            tracing::warn!(request_id, outcome = "refused", error = error_chain(&error));
            json_error(StatusCode::BAD_REQUEST, "bad_signed_request", &error.to_string())
        }
        Err(error) => unavailable(request, &error),
    }
}
