//! Connect sessions, for the app's backend only: `POST /sessions`, `GET /sessions/{id}` and `POST /sessions/{id}/complete`.
//!
//! Tells nobody which account came back but whoever presents the completion code, which only the browser that finished has.

use http::{Method, Response, StatusCode};
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::json;
use threads_auth::ThreadsAuth;
use threads_auth::grant::Status;
use threads_auth::sessions::{CompleteError, Completed, NewSession, SessionError};
use threads_auth::store::Session;
use threads_auth_web::{BadRequest, HttpRequest, Query, json, json_error, object, unavailable, unsigned};
use threads_graph::{Scope, Scopes, UserId};

/// How long a session can be used when the backend does not say, in seconds.
const LIFETIME: i64 = 1_800;

/// The body of `POST /sessions`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Create {
    reference: String,
    scopes: Option<Vec<Scope>>,
    return_to: Option<String>,
    /// Text only: a number of JSON loses digits in many languages.
    user_id: Option<String>,
    expires_in: Option<i64>,
}

/// The body of `POST /sessions/{id}/complete`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Complete {
    completion: String,
}

/// Answers one request.
pub async fn handle(service: &ThreadsAuth, request: &HttpRequest, now: Timestamp) -> Response<String> {
    let Some(caller) = &request.caller else {
        return unsigned(request);
    };
    if let Err(bad) = Query::of(request, &[]) {
        return refuse(request, caller, &bad);
    }
    let path: Vec<&str> = request.path.split('/').skip(1).collect();
    match (&request.method, path.as_slice()) {
        (&Method::POST, ["sessions"]) => match object(request) {
            Ok(body) => create(service, request, caller, body, now).await,
            Err(bad) => refuse(request, caller, &bad),
        },
        (&Method::GET, ["sessions", id]) => show(service, request, caller, id, now).await,
        (&Method::POST, ["sessions", id, "complete"]) => match object(request) {
            Ok(body) => complete(service, request, caller, id, &body, now).await,
            Err(bad) => refuse(request, caller, &bad),
        },
        _ => json_error(StatusCode::NOT_FOUND, "not_found", "there is no such route"),
    }
}

async fn create(
    service: &ThreadsAuth,
    request: &HttpRequest,
    caller: &str,
    body: Create,
    now: Timestamp,
) -> Response<String> {
    let user_id = match body.user_id.as_deref().map(str::parse::<UserId>).transpose() {
        Ok(user_id) => user_id,
        Err(error) => return refuse(request, caller, &BadRequest(format!("user_id: {error}"))),
    };
    let new = NewSession {
        reference: body.reference,
        scopes: body.scopes.map(Scopes::requested),
        return_to: body.return_to,
        user_id,
        lifetime: SignedDuration::from_secs(body.expires_in.unwrap_or(LIFETIME)),
    };
    let request_id = &request.request_id;
    match service.create_session(new, now).await {
        Ok(session) => {
            tracing::info!(request_id, caller, outcome = "session_created");
            let answer = json!({
                "id": session.id,
                "url": service.session_url(&session),
                "expires_at": session.expires_at,
                "status": session.status_at(now),
            });
            json(StatusCode::CREATED, &answer)
        }
        Err(error @ (SessionError::Reference | SessionError::Lifetime)) => {
            refuse(request, caller, &BadRequest(error.to_string()))
        }
        Err(SessionError::ReturnTo(_)) => {
            tracing::warn!(request_id, caller, outcome = "return_to_refused");
            let what = "return_to is not on the allowlist: add its origin and path to RETURN_TO_ALLOWLIST";
            json_error(StatusCode::BAD_REQUEST, "return_to_refused", what)
        }
        Err(error) => unavailable(request, &error),
    }
}

async fn show(
    service: &ThreadsAuth,
    request: &HttpRequest,
    caller: &str,
    id: &str,
    now: Timestamp,
) -> Response<String> {
    let request_id = &request.request_id;
    match service.session(id).await {
        Ok(Some(session)) => {
            tracing::info!(request_id, caller, outcome = "session_shown");
            json(StatusCode::OK, &view(&session, now))
        }
        Ok(None) => {
            tracing::warn!(request_id, caller, outcome = "session_unknown");
            unknown()
        }
        Err(error) => unavailable(request, &error),
    }
}

async fn complete(
    service: &ThreadsAuth,
    request: &HttpRequest,
    caller: &str,
    id: &str,
    body: &Complete,
    now: Timestamp,
) -> Response<String> {
    let request_id = &request.request_id;
    let error = match service.complete_session(id, &body.completion, now).await {
        Ok(Completed { session, grant }) => {
            tracing::info!(request_id, caller, outcome = "session_completed", user.id = %grant.user_id);
            // Where the long-lived token is still to come, it says so: it is connected within the hour, or an event tells.
            let (status, expires_at) = match grant.status {
                Status::Active => ("connected", grant.token.as_ref().map(|token| token.expires_at)),
                _ if grant.pending.is_some() => ("pending", None),
                other => (other.as_str(), None),
            };
            let answer = json!({
                "status": status,
                "user_id": grant.user_id,
                "username": grant.username,
                "scopes": grant.scopes,
                "expires_at": expires_at,
                "reference": session.reference,
            });
            return json(StatusCode::OK, &answer);
        }
        Err(error) => error,
    };
    let (status, outcome) = match &error {
        CompleteError::Unknown => (StatusCode::NOT_FOUND, "session_unknown"),
        CompleteError::NotConnected(_) => (StatusCode::CONFLICT, "session_not_connected"),
        CompleteError::Completed => (StatusCode::CONFLICT, "session_completed_before"),
        CompleteError::WrongCode => (StatusCode::FORBIDDEN, "wrong_completion"),
        CompleteError::Expired => (StatusCode::GONE, "session_expired"),
        CompleteError::Gone => (StatusCode::GONE, "account_gone"),
        CompleteError::Store(_) | CompleteError::Seal(_) => return unavailable(request, &error),
    };
    tracing::warn!(request_id, caller, outcome);
    json_error(status, outcome, &error.to_string())
}

/// What everybody who knows its id may know of a session: not who came back.
fn view(session: &Session, now: Timestamp) -> serde_json::Value {
    json!({
        "id": session.id,
        "reference": session.reference,
        "status": session.status_at(now),
        "reason": session.reason,
        "expires_at": session.expires_at,
    })
}

fn unknown() -> Response<String> {
    json_error(
        StatusCode::NOT_FOUND,
        "session_unknown",
        "there is no session of this id",
    )
}

fn refuse(request: &HttpRequest, caller: &str, bad: &BadRequest) -> Response<String> {
    tracing::warn!(request_id = request.request_id, caller, outcome = "bad_request", error = %bad);
    bad.respond()
}
