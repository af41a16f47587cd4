//! One type for each body that `functions/openapi.yaml` documents. A test compares them.

#![expect(missing_docs, reason = "functions/openapi.yaml says what each field means")]

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
    /// Required: what is said of its absence is to tell more than its name.
    pub return_to: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scopes: Option<Vec<Scope>>,
    /// Text only: a number of JSON loses digits in many languages.
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

/// The answer to `POST /sessions`.
#[derive(Debug, Serialize)]
pub struct Session {
    pub id: String,
    pub url: String,
    pub expires_at: Timestamp,
    pub status: SessionStatus,
    pub unknown_scopes: Vec<Scope>,
}

/// The answer to `GET /sessions/{id}`: not who came back, and not whose session it is.
#[derive(Debug, Serialize)]
pub struct SessionProgress {
    pub id: String,
    pub status: SessionStatus,
    pub reason: Option<String>,
    pub expires_at: Timestamp,
}

/// The answer to `POST /sessions/{id}/complete`.
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
        /// It is connected.
        Connected => "connected",
        /// The long-lived token is still to come, usually within the hour.
        Pending => "pending",
        /// Only the person brings it back.
        NeedsReauthorization => "needs_reauthorization",
        /// It was disconnected meanwhile.
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

/// The answer to `GET /users`. The answer to `GET /users/{user_id}` is one [`Summary`].
#[derive(Debug, Serialize)]
pub struct AccountPage {
    pub users: Vec<Summary>,
    pub unreadable: usize,
    pub cursor: Option<String>,
}

/// The answer to `DELETE /users/{user_id}`.
#[derive(Debug, Serialize)]
pub struct Disconnected {
    pub user_id: UserId,
    pub status: Status,
}

/// The answer to `GET /users/{user_id}/token`.
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

/// The answer to `POST /deauthorize`: always the same, to tell nobody who has an account here.
#[derive(Debug, Serialize)]
pub struct Deauthorized {}

/// The answer to `POST /data-deletion`.
#[derive(Debug, Serialize)]
pub struct DeletionConfirmation {
    pub url: String,
    pub confirmation_code: String,
}

/// The answer to what failed.
#[derive(Debug, Serialize)]
pub struct Error<'a> {
    pub error: Problem<'a>,
}

/// What is wrong: a stable code for programs, and a sentence for people.
#[derive(Debug, Serialize)]
pub struct Problem<'a> {
    pub code: ErrorCode,
    pub message: &'a str,
}

/// The answer where only the person brings an account back, unless Meta takes the token again
/// (`account.recovered`).
#[derive(Debug, Serialize)]
pub struct NeedsPerson<'a> {
    pub error: PersonProblem<'a>,
    pub reconnect: Reconnect<'a>,
}

/// The cause where it was not kept who revoked an account.
pub const UNKNOWN_CAUSE: &str = "unknown";

/// A [`Problem`] that has a cause.
#[derive(Debug, Serialize)]
pub struct PersonProblem<'a> {
    pub code: ErrorCode,
    pub message: &'a str,
    pub cause: &'a str,
}

/// The request that makes a connect session, but for what only the backend knows.
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
    /// The way back for a user, with `authorize_url` where they can go without a session.
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
