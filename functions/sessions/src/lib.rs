//! Connect sessions, for the app's backend only: `POST /sessions`, `GET /sessions/{id}` and `POST
//! /sessions/{id}/complete`.
//! Discloses the connected account only for the completion code, which only the finishing browser
//! gets, together with the `reference` of the user who is logged in.

use http::{Method, Response, StatusCode};
use jiff::{SignedDuration, Timestamp};
use threads_auth::{CompleteError, NewSession, NotAllowed, SessionError, State, ThreadsAuth, UiLocales};
use threads_auth_web::api::{self, ConnectedStatus, SessionCompletion};
use threads_auth_web::{
    BadRequest, Call, ErrorCode, HttpRequest, Query, backend, json, json_error, no_route, object, unavailable,
};
use threads_graph::{Scopes, UserId};

/// Default lifetime of a session, in seconds.
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
    body: api::NewSession,
    now: Timestamp,
) -> Result<Response<String>, BadRequest> {
    let Some(return_to) = body.return_to else {
        let what = "return_to is required: the app's page that the person returns to, with session_id and completion in \
                    its query, which are needed to complete the session. Its origin and path must be in RETURN_TO_ALLOWLIST, \
                    or be given to `threads-auth dev` with --return-to";
        return Err(BadRequest(what.to_owned()));
    };
    let user_id = body.user_id.as_deref().map(str::parse::<UserId>).transpose();
    let scopes = body.scopes.map(Scopes::try_requested).transpose();
    let ui_locales = body.ui_locales.as_deref().map(str::parse::<UiLocales>).transpose();
    let new = NewSession {
        reference: body.reference,
        scopes: scopes.map_err(|error| BadRequest(format!("scopes: {error}")))?,
        return_to,
        ui_locales: ui_locales.map_err(|error| BadRequest(error.to_string()))?,
        user_id: user_id.map_err(|error| BadRequest(format!("user_id: {error}")))?,
        lifetime: SignedDuration::from_secs(body.expires_in.unwrap_or(LIFETIME)),
    };
    let (request_id, caller) = call.who();
    Ok(match service.create_session(new, now).await {
        Ok(session) => {
            tracing::info!(request_id, caller, outcome = "session_created");
            let scopes = session.scopes.as_ref().unwrap_or(&service.config().scopes);
            let answer = api::Session {
                unknown_scopes: scopes.unknown().collect(),
                url: service.config().session_url(&session.id),
                status: session.status_at(now),
                id: session.id,
                expires_at: session.expires_at,
            };
            json(StatusCode::CREATED, &answer)
        }
        Err(error @ (SessionError::Reference(_) | SessionError::Lifetime)) => {
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
            json_error(ErrorCode::ReturnToRefused, &what)
        }
        Err(error) => unavailable(call.request, &error),
    })
}

/// Shows the public part of a session. It contains neither the connected account nor the
/// `reference`, so that nobody can link the two.
async fn show(service: &ThreadsAuth, call: &Call<'_>, id: &str, now: Timestamp) -> Response<String> {
    let (request_id, caller) = call.who();
    match service.find_session(id).await {
        Ok(Some(session)) => {
            tracing::info!(request_id, caller, outcome = "session_shown");
            let answer = api::SessionProgress {
                status: session.status_at(now),
                reason: session.reason().map(str::to_owned),
                id: session.id,
                expires_at: session.expires_at,
            };
            json(StatusCode::OK, &answer)
        }
        Ok(None) => {
            tracing::warn!(request_id, caller, outcome = "session_unknown");
            json_error(ErrorCode::SessionUnknown, "there is no session with this id")
        }
        Err(error) => unavailable(call.request, &error),
    }
}

async fn complete(
    service: &ThreadsAuth,
    call: &Call<'_>,
    id: &str,
    body: &SessionCompletion,
    now: Timestamp,
) -> Response<String> {
    let (request_id, caller) = call.who();
    let error = match service.complete_session(id, &body.completion, &body.reference, now).await {
        Ok(grant) => {
            tracing::info!(request_id, caller, outcome = "session_completed", pseudonym = grant.log_name());
            let expires_at = match &grant.state {
                State::Active(live, _) => Some(live.expires_at),
                _ => None,
            };
            let answer = api::ConnectedAccount {
                status: ConnectedStatus::from(&grant),
                user_id: grant.user_id,
                username: grant.username,
                scopes: grant.scopes,
                expires_at,
            };
            return json(StatusCode::OK, &answer);
        }
        Err(error) => error,
    };
    let code = match &error {
        CompleteError::Unknown => ErrorCode::SessionUnknown,
        CompleteError::NotConnected(_) => ErrorCode::SessionNotConnected,
        CompleteError::Completed => ErrorCode::SessionCompletedBefore,
        CompleteError::WrongReference => ErrorCode::WrongReference,
        CompleteError::WrongCode => ErrorCode::WrongCompletion,
        CompleteError::Expired => ErrorCode::SessionExpired,
        CompleteError::Gone => ErrorCode::AccountGone,
        CompleteError::Store(_) | CompleteError::Seal(_) => return unavailable(call.request, &error),
    };
    tracing::warn!(request_id, caller, outcome = code.as_str());
    json_error(code, &error.to_string())
}
