//! The types of all bodies that `functions/openapi.yaml` documents. A test compares the two.

#![expect(missing_docs, reason = "functions/openapi.yaml documents each field")]

use jiff::Timestamp;
use serde::{Deserialize, Serialize, Serializer};
use threads_auth::{Grant, ScopesSource, SessionStatus, Status, Summary, Vended};
use threads_graph::{AccessToken, Scope, Scopes, UserId};

use crate::error_code::ErrorCode;

/// The body of `POST /sessions`.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct NewSession {
    pub reference: String,
    /// Required. Optional here only so that the error for its absence can explain it.
    pub return_to: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scopes: Option<Vec<Scope>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ui_locales: Option<String>,
    /// A string, because a JSON number loses digits in many languages.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_in: Option<i64>,
}

/// The body of `POST /sessions/{id}/complete`.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct SessionCompletion {
    pub completion: String,
    pub reference: String,
}

/// The body of `PATCH /users/{user_id}`.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct AccountChange {
    /// Required, but may be null. Without the attribute, serde would take a missing field for null.
    #[serde(deserialize_with = "Option::deserialize")]
    pub reference: Option<String>,
}

/// The response to `POST /sessions`.
#[derive(Debug, Serialize)]
pub struct Session {
    pub id: String,
    pub url: String,
    pub expires_at: Timestamp,
    pub status: SessionStatus,
    pub unknown_scopes: Vec<Scope>,
}

/// The response to `GET /sessions/{id}`, without the connected account and the `reference`.
#[derive(Debug, Serialize)]
pub struct SessionProgress {
    pub id: String,
    pub status: SessionStatus,
    pub reason: Option<String>,
    pub expires_at: Timestamp,
}

/// The response to `POST /sessions/{id}/complete`.
#[derive(Debug, Serialize)]
pub struct ConnectedAccount {
    pub status: ConnectedStatus,
    pub user_id: UserId,
    pub username: Option<String>,
    pub scopes: Scopes,
    pub expires_at: Option<Timestamp>,
}

threads_graph::names! {
    /// The status of an account for the user who has just claimed it.
    pub enum ConnectedStatus {
        /// The account is connected.
        Connected => "connected",
        /// The long-lived exchange has not succeeded yet. Usually it does within the hour.
        Pending => "pending",
        /// The person has to connect again.
        NeedsReauthorization => "needs_reauthorization",
        /// The account was disconnected before the completion.
        Revoked => "revoked",
    }
}

impl From<&Grant> for ConnectedStatus {
    fn from(grant: &Grant) -> Self {
        match grant.status() {
            Status::Active => Self::Connected,
            Status::NeedsReauthorization if grant.consent().is_none() => Self::NeedsReauthorization,
            Status::Revoked if grant.consent().is_none() => Self::Revoked,
            Status::Pending | Status::NeedsReauthorization | Status::Revoked => Self::Pending,
        }
    }
}

/// The response to `GET /users`. The response to `GET` and `PATCH
/// /users/{user_id}` is one [`Summary`].
#[derive(Debug, Serialize)]
pub struct AccountPage {
    pub users: Vec<Summary>,
    pub unreadable: usize,
    pub cursor: Option<String>,
}

/// The response to `DELETE /users/{user_id}`.
#[derive(Debug, Serialize)]
pub struct Disconnected {
    pub user_id: UserId,
    pub status: Status,
}

/// The response to `GET /users/{user_id}/token`.
#[derive(Debug, Serialize)]
pub struct VendedToken {
    pub user_id: UserId,
    #[serde(serialize_with = "exposed")]
    pub access_token: AccessToken,
    pub token_type: &'static str,
    pub expires_at: Timestamp,
    pub scopes: Scopes,
    pub scopes_source: ScopesSource,
}

impl From<Vended> for VendedToken {
    fn from(vended: Vended) -> Self {
        Self {
            user_id: vended.user_id,
            access_token: vended.access_token,
            token_type: "bearer",
            expires_at: vended.expires_at,
            scopes: vended.scopes,
            scopes_source: vended.scopes_source,
        }
    }
}

fn exposed<S: Serializer>(token: &AccessToken, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(token.expose())
}

/// The response to `POST /deauthorize`: always the same, so that it does not disclose who has an
/// account.
#[derive(Debug, Serialize)]
pub struct Deauthorized {}

/// The response to `POST /data-deletion`.
#[derive(Debug, Serialize)]
pub struct DeletionConfirmation {
    pub url: String,
    pub confirmation_code: String,
}

/// The body of an error.
#[derive(Debug, Serialize)]
pub struct Error<'a> {
    pub error: Problem<'a>,
}

/// An error: a stable code for programs, and a sentence for people.
#[derive(Debug, Serialize)]
pub struct Problem<'a> {
    pub code: ErrorCode,
    pub message: &'a str,
}

/// The body of an error after which the person has to connect again, unless Meta accepts the token
/// again (`account.recovered`).
#[derive(Debug, Serialize)]
pub struct NeedsPerson<'a> {
    pub error: PersonProblem<'a>,
    pub reconnect: Reconnect<'a>,
}

/// The cause of a revoked account whose row does not contain it.
pub const UNKNOWN_CAUSE: &str = "unknown";

/// A [`Problem`] with a cause.
#[derive(Debug, Serialize)]
pub struct PersonProblem<'a> {
    pub code: ErrorCode,
    pub message: &'a str,
    pub cause: &'a str,
}

/// The request that creates a connect session, except for the values that only the backend knows.
#[derive(Debug, Serialize)]
pub struct Reconnect<'a> {
    method: &'static str,
    path: &'static str,
    body: ReconnectBody<'a>,
    add: [&'static str; 2],
    #[serde(skip_serializing_if = "Option::is_none")]
    authorize_url: Option<String>,
}

#[derive(Debug, Serialize)]
struct ReconnectBody<'a> {
    user_id: &'a UserId,
    scopes: &'a Scopes,
}

impl<'a> Reconnect<'a> {
    /// Returns the request for a user, with `authorize_url` if no session is required.
    #[must_use]
    pub fn new(user_id: &'a UserId, scopes: &'a Scopes, authorize_url: Option<String>) -> Self {
        Self {
            method: "POST",
            path: "/sessions",
            body: ReconnectBody { user_id, scopes },
            add: ["reference", "return_to"],
            authorize_url,
        }
    }
}
