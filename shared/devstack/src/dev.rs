//! The development page's routes and controls. None of this exists in production. `doors.rs`
//! defines who may call them.

use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Json, Redirect, Response};
use axum::routing::{get, post};
use serde::Deserialize;
use serde_json::json;

use crate::dashboard::Dashboard;
use crate::environment::SECRET_VARIABLE;
use crate::page;
use crate::shared::Shared;

/// The maximum step of the clock: the longest span that anybody tests.
const MAX_ADVANCE: u64 = 10 * 365 * 86_400;

pub(crate) fn routes() -> Router<Shared> {
    Router::new()
        .route("/", get(show))
        .route("/dev/grants", get(grants))
        .route("/dev/openapi.yaml", get(include_str!("../../../functions/openapi.yaml")))
        .route("/dev/stack", get(stack))
        .route("/dev/events", get(events))
        .route("/dev/webhook", get(webhook))
        .route("/dev/webhook/replay", post(replay))
        .route("/dev/sweep", post(sweep))
        .route("/dev/clock", post(clock))
        .route("/dev/accounts/{user_id}/revoke", post(revoke))
}

/// Returns true if a path belongs to this module, even if it has no route.
pub(crate) fn is_development(path: &str) -> bool {
    path == "/" || path == "/dev" || path.starts_with("/dev/")
}

async fn show(State(shared): State<Shared>, RawQuery(query): RawQuery) -> Response {
    match Dashboard::read(&shared).await {
        Ok(dashboard) => page::respond(&dashboard, &page::Part::of(query.as_deref())),
        Err(error) => failure(&error),
    }
}

async fn grants(State(shared): State<Shared>) -> Response {
    match Dashboard::read(&shared).await {
        Ok(dashboard) => Json(dashboard).into_response(),
        Err(error) => failure(&error),
    }
}

/// Returns the environment in which the functions run here, for commands on this machine. The key's
/// secret is not in it, but in a file that only the stack's owner can read, because any process on
/// the machine can call this.
async fn stack(State(shared): State<Shared>) -> Response {
    let mut variables = (*shared.variables).clone();
    variables.remove(SECRET_VARIABLE);
    Json(json!({"variables": variables, "key_file": *shared.key_file, "now": shared.clock.now()}))
        .into_response()
}

async fn events(State(shared): State<Shared>) -> Response {
    Json(json!({"events": shared.bus.events()})).into_response()
}

/// Returns the waiting and the abandoned deliveries, and the place of the secret.
async fn webhook(State(shared): State<Shared>) -> Response {
    match &shared.webhooks {
        Some(webhooks) => Json(webhooks.state()).into_response(),
        None => no_webhook(),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Replay {
    id: String,
}

/// Posts an event again, delivered or not: one of those that `/dev/events` shows.
async fn replay(State(shared): State<Shared>, headers: HeaderMap, body: Bytes) -> Response {
    let Some(webhooks) = &shared.webhooks else {
        return no_webhook();
    };
    let Ok(Replay { id }) = serde_json::from_slice(&body) else {
        return refusal(StatusCode::BAD_REQUEST, "bad_request", "expected {\"id\":\"the event's id\"}");
    };
    let events = shared.bus.events();
    let Some(event) = events.iter().map(|event| &event["detail"]).find(|event| event["id"] == *id) else {
        let why = "no event of the last thousand has this id: /dev/events shows them";
        return refusal(StatusCode::NOT_FOUND, "not_found", why);
    };
    webhooks.queue(event.to_string(), shared.clock.now());
    done(&headers, Json(json!({"replayed": id})))
}

fn no_webhook() -> Response {
    refusal(StatusCode::NOT_FOUND, "no_webhook", "start with --webhook URL to have events posted there")
}

async fn sweep(State(shared): State<Shared>, headers: HeaderMap) -> Response {
    match shared.sweep().await {
        Ok(report) => done(&headers, Json(report)),
        Err(error) => failure(&error.into()),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Advance {
    advance_seconds: u64,
}

async fn clock(State(shared): State<Shared>, headers: HeaderMap, body: Bytes) -> Response {
    let is_form = headers
        .get(header::CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"application/x-www-form-urlencoded"));
    let advance = if is_form {
        let fields = url::form_urlencoded::parse(&body);
        fields
            .into_iter()
            .find(|(name, _)| name == "advance_seconds")
            .and_then(|(_, value)| value.parse().ok())
    } else {
        serde_json::from_slice::<Advance>(&body).ok().map(|advance| advance.advance_seconds)
    };
    let Some(seconds) = advance.filter(|seconds| *seconds <= MAX_ADVANCE) else {
        let why = format!("expected {{\"advance_seconds\":N}} with N from 0 to {MAX_ADVANCE}");
        return refusal(StatusCode::BAD_REQUEST, "bad_request", &why);
    };
    if shared.sandbox.is_none() {
        let why = "Meta's clock is the only one here: it cannot be moved";
        return refusal(StatusCode::FORBIDDEN, "live", why);
    }
    match shared.advance(Duration::from_secs(seconds)) {
        Ok(()) => done(&headers, Json(json!({"now": shared.clock.now()}))),
        Err(error) => failure(&error),
    }
}

/// Removes the app at the sandbox, as the person would in Threads. Our grant changes only when Meta
/// reports it.
async fn revoke(
    State(shared): State<Shared>,
    user_id: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
) -> Response {
    if let (Some(sandbox), Ok(Path(user_id))) = (&shared.sandbox, user_id)
        && sandbox.revoke(&user_id)
    {
        return done(&headers, Json(json!({"revoked": user_id})));
    }
    refusal(StatusCode::NOT_FOUND, "not_found", "the sandbox has no such account")
}

/// A browser that pressed a button returns to the page; a script gets the response.
fn done(headers: &HeaderMap, answer: impl IntoResponse) -> Response {
    let wants_page = headers
        .get(header::ACCEPT)
        .and_then(|accept| accept.to_str().ok())
        .is_some_and(|accept| accept.contains("text/html"));
    if wants_page { Redirect::to("/").into_response() } else { answer.into_response() }
}

fn failure(error: &anyhow::Error) -> Response {
    let why = format!("{error:#}");
    tracing::error!(error = why, "a development control failed");
    refusal(StatusCode::INTERNAL_SERVER_ERROR, "failed", &why)
}

fn refusal(status: StatusCode, error: &str, message: &str) -> Response {
    (status, Json(json!({"error": error, "message": message}))).into_response()
}
