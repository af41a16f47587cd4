//! Connect sessions, for the app's backend only: `POST /sessions`, `GET /sessions/{id}` and `POST /sessions/{id}/complete`.
//!
//! Tells nobody which account came back but whoever presents the completion code, which only the
//! browser that finished has, and says which user is logged in.

use http::{Method, Response, StatusCode};
use jiff::{SignedDuration, Timestamp};
use threads_auth::{
    CompleteError, ConnectOutcome, NewSession, NotAllowed, SessionError, State, Status, ThreadsAuth,
};
use threads_auth_web::api::{self, CompleteSession, CreateSession};
use threads_auth_web::{
    BadRequest, Call, HttpRequest, Query, backend, json, json_error, no_route, object, unavailable,
};
use threads_graph::{Scopes, UserId};

/// How long a session can be used when the backend does not say, in seconds.
const LIFETIME: i64 = 1_800;

/// Answers one request.
pub async fn handle(service: &ThreadsAuth, request: &HttpRequest, now: Timestamp) -> Response<String> {
    backend(request, |call| async move {
        Query::of(request, &[])?;
        match call.route() {
            (&Method::POST, ["sessions"]) => create(service, &call, object(request)?, now).await,
            (&Method::GET, ["sessions", id]) => Ok(show(service, &call, id, now).await),
            (&Method::POST, ["sessions", id, "complete"]) => {
                Ok(complete(service, &call, id, &object(request)?, now).await)
            }
            _ => Ok(no_route()),
        }
    })
    .await
}

async fn create(
    service: &ThreadsAuth,
    call: &Call<'_>,
    body: CreateSession,
    now: Timestamp,
) -> Result<Response<String>, BadRequest> {
    let Some(return_to) = body.return_to else {
        let what = "return_to is required: the page of the app that the person comes back to, with session_id and completion in \
                    its query, without which nobody can complete the session. Its origin and path must be in RETURN_TO_ALLOWLIST, \
                    or be given to `threads-auth dev` with --return-to";
        return Err(BadRequest(what.to_owned()));
    };
    let user_id = body.user_id.as_deref().map(str::parse::<UserId>).transpose();
    let scopes = body.scopes.map(Scopes::try_requested).transpose();
    let new = NewSession {
        reference: body.reference,
        scopes: scopes.map_err(|error| BadRequest(format!("scopes: {error}")))?,
        return_to,
        user_id: user_id.map_err(|error| BadRequest(format!("user_id: {error}")))?,
        lifetime: SignedDuration::from_secs(body.expires_in.unwrap_or(LIFETIME)),
    };
    let (request_id, caller) = call.who();
    Ok(match service.create_session(new, now).await {
        Ok(session) => {
            tracing::info!(request_id, caller, outcome = "session_created");
            let scopes = session.scopes.as_ref().unwrap_or(&service.config().scopes);
            let answer = api::SessionCreated {
                unknown_scopes: scopes.unknown().collect(),
                url: service.config().session_url(&session.id),
                status: session.status_at(now),
                id: session.id,
                expires_at: session.expires_at,
            };
            json(StatusCode::CREATED, &answer)
        }
        Err(error @ (SessionError::Reference | SessionError::Lifetime)) => {
            return Err(BadRequest(error.to_string()));
        }
        Err(SessionError::ReturnTo(refused)) => {
            tracing::warn!(request_id, caller, outcome = "return_to_refused");
            let what = match refused {
                NotAllowed::Outside => {
                    "return_to is not on the allowlist: add its origin and path to RETURN_TO_ALLOWLIST, the parameter \
                     ReturnToAllowlist of a deployment; `threads-auth dev` takes the variable too, or --return-to URL"
                        .to_owned()
                }
                NotAllowed::Unusable | NotAllowed::Ours => refused.to_string(),
            };
            json_error(StatusCode::BAD_REQUEST, "return_to_refused", &what)
        }
        Err(error) => unavailable(call.request, &error),
    })
}

/// Shows what everybody who knows its id may know of a session: not who came back, and not whose it
/// is, so that nobody links the one with the other.
async fn show(service: &ThreadsAuth, call: &Call<'_>, id: &str, now: Timestamp) -> Response<String> {
    let (request_id, caller) = call.who();
    match service.find_session(id).await {
        Ok(Some(session)) => {
            tracing::info!(request_id, caller, outcome = "session_shown");
            let answer = api::SessionShown {
                status: session.status_at(now),
                reason: session.reason().map(str::to_owned),
                id: session.id,
                expires_at: session.expires_at,
            };
            json(StatusCode::OK, &answer)
        }
        Ok(None) => {
            tracing::warn!(request_id, caller, outcome = "session_unknown");
            json_error(StatusCode::NOT_FOUND, "session_unknown", "there is no session of this id")
        }
        Err(error) => unavailable(call.request, &error),
    }
}

async fn complete(
    service: &ThreadsAuth,
    call: &Call<'_>,
    id: &str,
    body: &CompleteSession,
    now: Timestamp,
) -> Response<String> {
    let (request_id, caller) = call.who();
    let error = match service.complete_session(id, &body.completion, &body.reference, now).await {
        Ok(grant) => {
            tracing::info!(request_id, caller, outcome = "session_completed", user.id = %grant.user_id);
            // Where the long-lived token is still to come, it says so: it is connected within the hour, or an event tells.
            let (status, expires_at) = match &grant.state {
                State::Active(live, _) => (ConnectOutcome::Connected.as_str(), Some(live.expires_at)),
                _ if grant.consent().is_some() => (Status::Pending.as_str(), None),
                _ => (grant.status().as_str(), None),
            };
            let answer = api::SessionCompleted {
                status,
                user_id: grant.user_id,
                username: grant.username,
                scopes: grant.scopes,
                expires_at,
            };
            return json(StatusCode::OK, &answer);
        }
        Err(error) => error,
    };
    let (status, outcome) = match &error {
        CompleteError::Unknown => (StatusCode::NOT_FOUND, "session_unknown"),
        CompleteError::NotConnected(_) => (StatusCode::CONFLICT, "session_not_connected"),
        CompleteError::Completed => (StatusCode::CONFLICT, "session_completed_before"),
        CompleteError::WrongReference => (StatusCode::FORBIDDEN, "wrong_reference"),
        CompleteError::WrongCode => (StatusCode::FORBIDDEN, "wrong_completion"),
        CompleteError::Expired => (StatusCode::GONE, "session_expired"),
        CompleteError::Gone => (StatusCode::GONE, "account_gone"),
        CompleteError::Store(_) | CompleteError::Seal(_) => return unavailable(call.request, &error),
    };
    tracing::warn!(request_id, caller, outcome);
    json_error(status, outcome, &error.to_string())
}
