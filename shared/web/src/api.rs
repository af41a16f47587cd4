//! The bodies of requests and answers, one type for each that `functions/openapi.yaml` documents. A test compares them.

use jiff::Timestamp;
use serde::{Deserialize, Serialize, Serializer};
use threads_auth::grant::Summary;
use threads_auth::vending::Vended;
use threads_graph::{AccessToken, Scope, Scopes, UserId};

/// The body of `POST /sessions`.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct CreateSession {
    /// The backend's own name for its user.
    pub reference: String,
    /// What to ask for, if not the usual.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scopes: Option<Vec<Scope>>,
    /// Where the person goes afterwards.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub return_to: Option<String>,
    /// The only account that may come back. Text only: a number of JSON loses digits in many languages.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_id: Option<String>,
    /// Seconds for which the session can be used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_in: Option<i64>,
}

/// The body of `POST /sessions/{id}/complete`.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct CompleteSession {
    /// The code with which the person came back.
    pub completion: String,
}

/// The answer to `POST /sessions`.
#[derive(Debug, Serialize)]
pub struct SessionCreated {
    /// Its id.
    pub id: String,
    /// Where to send the person.
    pub url: String,
    /// When it can no longer be used.
    pub expires_at: Timestamp,
    /// Where it stands.
    pub status: &'static str,
}

/// The answer to `GET /sessions/{id}`: not who came back.
#[derive(Debug, Serialize)]
pub struct SessionShown {
    /// Its id.
    pub id: String,
    /// The backend's own name for its user.
    pub reference: String,
    /// Where it stands.
    pub status: &'static str,
    /// Why it was denied, or the class of the failure.
    pub reason: Option<String>,
    /// When it can no longer be used.
    pub expires_at: Timestamp,
}

/// The answer to `POST /sessions/{id}/complete`.
#[derive(Debug, Serialize)]
pub struct SessionCompleted {
    /// `connected`; or what keeps the account from that.
    pub status: &'static str,
    /// Who came back.
    pub user_id: UserId,
    /// The profile's username, if Meta told it.
    pub username: Option<String>,
    /// What the person granted.
    pub scopes: Scopes,
    /// When the token expires, if there is one.
    pub expires_at: Option<Timestamp>,
    /// The backend's own name for its user.
    pub reference: String,
}

/// The answer to `GET /users`. The answer to `GET /users/{user_id}` is one [`Summary`].
#[derive(Debug, Serialize)]
pub struct Accounts {
    /// The accounts of this page.
    pub users: Vec<Summary>,
    /// How many rows of the page make no sense.
    pub unreadable: usize,
    /// What the next page is asked for with, if there is one.
    pub cursor: Option<String>,
}

/// The answer to `DELETE /users/{user_id}`.
#[derive(Debug, Serialize)]
pub struct Disconnected {
    /// Whose account it was.
    pub user_id: UserId,
    /// What it is now.
    pub status: &'static str,
}

/// The answer to `GET /users/{user_id}/token`.
#[derive(Debug, Serialize)]
pub struct Token {
    /// Whose it is.
    pub user_id: UserId,
    /// The token.
    #[serde(serialize_with = "exposed")]
    pub access_token: AccessToken,
    /// How it is sent.
    pub token_type: &'static str,
    /// When it expires.
    pub expires_at: Timestamp,
    /// What the person granted.
    pub scopes: Scopes,
}

impl From<Vended> for Token {
    fn from(vended: Vended) -> Self {
        Self {
            user_id: vended.user_id,
            access_token: vended.access_token,
            token_type: "bearer",
            expires_at: vended.expires_at,
            scopes: vended.scopes,
        }
    }
}

fn exposed<S: Serializer>(token: &AccessToken, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(token.expose())
}

/// The answer to `POST /deauthorize`: the same whatever there was, so it tells nobody who has an account here.
#[derive(Debug, Serialize)]
pub struct Deauthorized {}

/// The answer to `POST /data-deletion`.
#[derive(Debug, Serialize)]
pub struct DataDeleted {
    /// Where the person sees what became of it.
    pub url: String,
    /// The code in it.
    pub confirmation_code: String,
}

/// The answer to what failed.
#[derive(Debug, Serialize)]
pub struct Error<'a> {
    /// What is wrong.
    pub error: Problem<'a>,
}

/// What is wrong: a stable code for programs, and a sentence for people.
#[derive(Debug, Serialize)]
pub struct Problem<'a> {
    /// The code.
    pub code: &'a str,
    /// The sentence.
    pub message: &'a str,
}

/// The answer where only the person brings an account back.
#[derive(Debug, Serialize)]
pub struct NeedsPerson<'a> {
    /// What is wrong.
    pub error: Ended<'a>,
    /// The way back.
    pub reconnect: Reconnect<'a>,
}

/// A [`Problem`] that has a cause.
#[derive(Debug, Serialize)]
pub struct Ended<'a> {
    /// The code.
    pub code: &'a str,
    /// The sentence.
    pub message: &'a str,
    /// Why it needs the person, or who ended it.
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
    /// The way back for a user. `authorize_url` is where they can go without a session, if that is allowed.
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
