//! Accounts and their tokens, for the app's backend only: `GET /users`, `GET`, `PATCH` and `DELETE
//! /users/{user_id}`, and `GET /users/{user_id}/token`.
//! The token is in the last route's response only: in no log, list or error.

use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine};
use http::{Method, Response, StatusCode};
use jiff::{SignedDuration, Timestamp};
use threads_auth::{
    AssignError, AuthorizeAccess, DEFAULT_MIN_VALID, Key, LONGEST_REFERENCE, LookupError, MAX_MIN_VALID,
    Pseudonym, RetryReason, RevokedBy, Status, StoreError, Summary, ThreadsAuth, TokenHash, VendError,
    VendRefusal,
};
use threads_auth_web::{
    BadRequest, Call, ErrorCode, HttpRequest, Metric, Query, api, backend, emit, json, json_error,
    json_later, no_route, object, unavailable,
};
use threads_graph::{Scopes, UserId};

/// Default number of accounts per page.
const PAGE: u32 = 500;
/// Maximum number of accounts per page.
const MAX_PAGE: u32 = 1_000;
/// Value of `Retry-After`, in seconds, while the index of references is missing.
const INDEX_RETRY_AFTER: u32 = 60;

/// Answers one request.
pub async fn handle(service: &ThreadsAuth, request: &HttpRequest, now: Timestamp) -> Response<String> {
    backend(request, |call| async move {
        match call.route() {
            (&Method::GET, ["users"]) => list(service, &call).await,
            (&Method::GET, ["users", id]) => show(service, &call, id).await,
            (&Method::PATCH, ["users", id]) => assign(service, &call, id, now).await,
            (&Method::DELETE, ["users", id]) => disconnect(service, &call, id, now).await,
            (&Method::GET, ["users", id, "token"]) => vend(service, &call, id, now).await,
            _ => Ok(no_route()),
        }
    })
    .await
}

async fn vend(
    service: &ThreadsAuth,
    call: &Call<'_>,
    id: &str,
    now: Timestamp,
) -> Result<Response<String>, BadRequest> {
    let query = Query::of(call.request, &["min_valid", "refused"])?;
    let min_valid = query.number("min_valid", DEFAULT_MIN_VALID, 0, MAX_MIN_VALID)?;
    let refused = query
        .get("refused")
        .map(str::parse::<TokenHash>)
        .transpose()
        .map_err(|error| BadRequest(format!("refused: {error}")))?;
    let user_id = user_id(id)?;
    let (request_id, caller) = call.who();
    let min_valid = SignedDuration::from_secs(min_valid.into());
    let calls = service.graph_calls();
    let vended = service.vend(&user_id, min_valid, refused.as_ref(), now).await;
    let calls = service.graph_calls() - calls;
    if calls > 0 {
        emit(service.config(), now, None, &[Metric::count("GraphCalls", calls)]);
    }
    let VendRefusal { error, pseudonym } = match vended {
        Ok(vended) => {
            tracing::info!(
                request_id,
                caller,
                outcome = "vended",
                pseudonym = name(vended.pseudonym.as_ref())
            );
            return Ok(json(StatusCode::OK, &api::VendedToken::from(vended)));
        }
        Err(refusal) => refusal,
    };
    let pseudonym = name(pseudonym.as_ref());
    if let VendError::Sealed(_) = error {
        emit(service.config(), now, None, &[Metric::count("DecryptFailures", 1)]);
    }
    Ok(match error {
        VendError::Unknown => unknown(call),
        VendError::NeedsReauthorization { cause, scopes } => {
            let cause = cause.as_str();
            tracing::warn!(request_id, caller, outcome = "needs_reauthorization", cause, pseudonym);
            let what = "only the person can bring this account back: send them through a connect session";
            reconnect(service, ErrorCode::NeedsReauthorization, what, cause, &user_id, &scopes)
        }
        VendError::Revoked { by, scopes } => {
            let cause = by.map_or(api::UNKNOWN_CAUSE, RevokedBy::as_str);
            tracing::warn!(request_id, caller, outcome = "revoked", cause, pseudonym);
            let what =
                "the account was disconnected; the person can connect it again through a connect session";
            reconnect(service, ErrorCode::Revoked, what, cause, &user_id, &scopes)
        }
        VendError::Retry { reason, retry_after } => {
            tracing::warn!(request_id, caller, outcome = reason.as_str(), retry_after, pseudonym);
            let what = match reason {
                RetryReason::Pending => "the person has consented, but there is no long-lived token yet",
                RetryReason::TooYoung => {
                    "the token expires before min_valid, and Meta extends no token younger than 24 hours"
                }
                RetryReason::NotRefreshed => "Meta has not extended the token; it is retried",
                RetryReason::Busy => "another refresh of the token is still running",
                RetryReason::Suspected => {
                    "Meta has just refused the token; it is checked again before that counts"
                }
            };
            json_later(reason.into(), what, retry_after)
        }
        VendError::Sealed(_) | VendError::Store(StoreError::Inconsistent(_)) => {
            call.unreadable(pseudonym, &error)
        }
        VendError::Secrets(_) | VendError::Store(_) => unavailable(call.request, &error),
    })
}

async fn list(service: &ThreadsAuth, call: &Call<'_>) -> Result<Response<String>, BadRequest> {
    let query = Query::of(call.request, &["reference", "status", "limit", "cursor"])?;
    let reference = query.get("reference");
    if reference.is_some_and(|text| !(1..=LONGEST_REFERENCE).contains(&text.len())) {
        return Err(BadRequest(format!("reference must be 1 to {LONGEST_REFERENCE} bytes long")));
    }
    let status = query.get("status").map(str::parse::<Status>).transpose();
    let status =
        status.map_err(|error| BadRequest(format!("status must be one of {}", error.known.join(", "))))?;
    let limit = query.number("limit", PAGE, 1, MAX_PAGE)?;
    let after = query.get("cursor").map(read_cursor).transpose()?;
    let (request_id, caller) = call.who();
    let page = match reference {
        Some(reference) => service.find_by_reference(reference, status, limit, after).await,
        None => service.list_grants(status, limit, after).await.map_err(LookupError::from),
    };
    let page = match page {
        Ok(page) => page,
        Err(LookupError::Store(error)) => return Ok(unavailable(call.request, &error)),
        Err(error @ LookupError::NoIndex) => {
            let code = ErrorCode::NoReferenceIndex;
            tracing::error!(request_id, caller, outcome = code.as_str(), error = %error);
            let what = "accounts cannot be found by their reference yet, because the grants table has no index \
                        `reference`, or it is still being built: deploy the data's stack of this version, as \
                        UPGRADING.md says, and wait until the index is active. All else works";
            return Ok(json_later(code, what, INDEX_RETRY_AFTER));
        }
    };
    let (mut users, mut unreadable) = (Vec::new(), 0);
    for row in page.items {
        match row {
            Ok(grant) => users.push(Summary::from(grant)),
            Err(inconsistency) => {
                tracing::error!(request_id, error = %inconsistency, "a row is broken; the list continues without it");
                unreadable += 1;
            }
        }
    }
    tracing::info!(request_id, caller, outcome = "listed", users = users.len());
    let cursor = page.next.map(|key| BASE64_URL_SAFE_NO_PAD.encode(key.as_str()));
    let answer = api::AccountPage { users, unreadable, cursor };
    Ok(json(StatusCode::OK, &answer))
}

async fn show(service: &ThreadsAuth, call: &Call<'_>, id: &str) -> Result<Response<String>, BadRequest> {
    let user_id = lone_user_id(call, id)?;
    let (request_id, caller) = call.who();
    Ok(match service.find_grant(&user_id).await {
        Ok(Some(grant)) => {
            tracing::info!(request_id, caller, outcome = "shown", pseudonym = grant.log_name());
            json(StatusCode::OK, &Summary::from(grant))
        }
        Ok(None) => unknown(call),
        Err(error) => call.failed(&error),
    })
}

/// Assigns an account to a user of the app, or to none. Idempotent.
async fn assign(
    service: &ThreadsAuth,
    call: &Call<'_>,
    id: &str,
    now: Timestamp,
) -> Result<Response<String>, BadRequest> {
    let user_id = lone_user_id(call, id)?;
    let api::AccountChange { reference } = object(call.request)?;
    let (request_id, caller) = call.who();
    Ok(match service.assign(&user_id, reference.as_deref(), now).await {
        Ok(grant) => {
            tracing::info!(request_id, caller, outcome = "assigned", pseudonym = grant.log_name());
            json(StatusCode::OK, &Summary::from(grant))
        }
        Err(AssignError::Reference(error)) => return Err(BadRequest(error.to_string())),
        Err(AssignError::Unknown) => unknown(call),
        Err(error @ AssignError::Unclaimed) => {
            let code = ErrorCode::AccountUnclaimed;
            tracing::warn!(request_id, caller, outcome = code.as_str());
            json_error(code, &error.to_string())
        }
        Err(AssignError::Store(error)) => call.failed(&error),
    })
}

async fn disconnect(
    service: &ThreadsAuth,
    call: &Call<'_>,
    id: &str,
    now: Timestamp,
) -> Result<Response<String>, BadRequest> {
    let user_id = lone_user_id(call, id)?;
    let (request_id, caller) = call.who();
    Ok(match service.disconnect(&user_id, now).await {
        Ok(Some(done)) => {
            let pseudonym = name(done.pseudonym.as_ref());
            tracing::info!(request_id, caller, outcome = "disconnected", pseudonym);
            let status = Status::Revoked;
            json(StatusCode::OK, &api::Disconnected { user_id, status })
        }
        Ok(None) => unknown(call),
        Err(error) => call.disconnect_failed(&error),
    })
}

/// Returns the response for an account whose person has to connect again. It contains the request
/// that creates a connect session, except for the values that only the backend knows.
fn reconnect(
    service: &ThreadsAuth,
    code: ErrorCode,
    message: &str,
    cause: &str,
    user_id: &UserId,
    scopes: &Scopes,
) -> Response<String> {
    let config = service.config();
    let is_open = config.authorize_access == AuthorizeAccess::Open;
    let authorize_url = is_open.then(|| format!("{}authorize", config.public_url));
    let answer = api::NeedsPerson {
        error: api::PersonProblem { code, message, cause },
        reconnect: api::Reconnect::new(user_id, scopes, authorize_url),
    };
    json(StatusCode::CONFLICT, &answer)
}

/// Answers a request for an unknown account. Without a row it has no name in logs.
fn unknown(call: &Call<'_>) -> Response<String> {
    let (request_id, caller) = call.who();
    tracing::warn!(request_id, caller, outcome = "unknown_user");
    json_error(ErrorCode::UnknownUser, "no account with this id is connected")
}

fn name(pseudonym: Option<&Pseudonym>) -> Option<&str> {
    pseudonym.map(Pseudonym::as_str)
}

/// Returns the user id of a route that takes no parameters.
fn lone_user_id(call: &Call<'_>, id: &str) -> Result<UserId, BadRequest> {
    Query::of(call.request, &[])?;
    user_id(id)
}

fn user_id(text: &str) -> Result<UserId, BadRequest> {
    text.parse().map_err(|_| BadRequest("a user id is 1 to 32 digits".to_owned()))
}

fn read_cursor(text: &str) -> Result<Key, BadRequest> {
    BASE64_URL_SAFE_NO_PAD
        .decode(text)
        .ok()
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .filter(|key| (1..=200).contains(&key.len()))
        .map(Key::from)
        .ok_or_else(|| BadRequest("cursor must be the cursor of the previous page".to_owned()))
}
