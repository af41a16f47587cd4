//! The bodies of requests and answers, field by field as the document has them.
//!
//! Owns their form. Refuses no field that a later version adds to an answer. Those without a secret
//! can be serialized again, for an API or a log of the app's own.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::error::ReconnectNeeded;
use crate::ids::{SessionId, UserId};
use crate::secret::AccessToken;
use crate::words::{
    AccountStatus, Cause, ConnectedStatus, FailureClass, ScopesSource, SessionReason, SessionStatus,
};

/// The wish for a connect session.
///
/// ```
/// use std::time::Duration;
/// use threads_auth_client::NewSession;
///
/// let new = NewSession::new("user-7", "https://app.example.com/connected")
///     .scopes(["threads_basic", "threads_content_publish"])
///     .expires_in(Duration::from_mins(10));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NewSession {
    reference: String,
    return_to: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    scopes: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ui_locales: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_id: Option<UserId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_in: Option<u64>,
}

impl NewSession {
    /// A session for the app's user `reference`, which ends at the app's own address `return_to`.
    pub fn new(reference: impl Into<String>, return_to: impl Into<String>) -> Self {
        Self {
            reference: reference.into(),
            return_to: return_to.into(),
            scopes: None,
            ui_locales: None,
            user_id: None,
            expires_in: None,
        }
    }

    /// A session that brings an account back, with the scopes that it had.
    pub fn again(
        needed: &ReconnectNeeded,
        reference: impl Into<String>,
        return_to: impl Into<String>,
    ) -> Self {
        Self::new(reference, return_to)
            .scopes(needed.session.scopes.clone())
            .only(needed.session.user_id.clone())
    }

    /// Requests these scopes instead of the service's. `threads_basic` is always included.
    #[must_use]
    pub fn scopes<S: Into<String>>(self, scopes: impl IntoIterator<Item = S>) -> Self {
        Self { scopes: Some(scopes.into_iter().map(Into::into).collect()), ..self }
    }

    /// Shows the pages in the first of these languages that there is, such as `ja en`, instead of
    /// the browser's.
    #[must_use]
    pub fn ui_locales(self, languages: impl Into<String>) -> Self {
        Self { ui_locales: Some(languages.into()), ..self }
    }

    /// Lets only this account be connected.
    #[must_use]
    pub fn only(self, user_id: UserId) -> Self {
        Self { user_id: Some(user_id), ..self }
    }

    /// The life of the session: a minute to a day, and half an hour by default.
    #[must_use]
    pub fn expires_in(self, life: Duration) -> Self {
        Self { expires_in: Some(life.as_secs()), ..self }
    }
}

/// A new session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Session {
    /// Its id, which comes back with the person.
    pub id: SessionId,
    /// The URL for the person's browser.
    pub url: String,
    /// The end of the session.
    pub expires_at: Timestamp,
    /// Its status.
    pub status: SessionStatus,
    /// The requested scopes that the service does not know: new at Meta, or misspelt.
    pub unknown_scopes: Vec<String>,
}

/// The status of a session, without its account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SessionProgress {
    /// Its id.
    pub id: SessionId,
    /// Its status.
    pub status: SessionStatus,
    /// The reason, if it was denied or has failed.
    pub reason: Option<SessionReason>,
    /// Time after which it can no longer be used or completed.
    pub expires_at: Timestamp,
}

/// The account that was connected in a session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ConnectedAccount {
    /// Its status.
    pub status: ConnectedStatus,
    /// The person's id at Threads for this app.
    pub user_id: UserId,
    /// The person's name at Threads.
    pub username: Option<String>,
    /// The scopes that the person has granted.
    pub scopes: Vec<String>,
    /// The end of the token.
    pub expires_at: Option<Timestamp>,
}

/// An account, without its token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Account {
    /// The person's id at Threads for this app.
    pub user_id: UserId,
    /// The person's name at Threads.
    pub username: Option<String>,
    /// Its status.
    pub status: AccountStatus,
    /// The reason why the person has to connect again, or the one who disconnected it.
    pub cause: Option<Cause>,
    /// The scopes that the person has granted.
    pub scopes: Vec<String>,
    /// The source of `scopes`.
    pub scopes_source: ScopesSource,
    /// Time of the token's issue.
    pub issued_at: Option<Timestamp>,
    /// The end of the token.
    pub expires_at: Option<Timestamp>,
    /// The end of the app's access to the person's data. None for a public profile, and if unknown.
    pub data_access_expires_at: Option<Timestamp>,
    /// Time of its next refresh or check.
    pub due_at: Option<Timestamp>,
    /// Time of the last refresh.
    pub refreshed_at: Option<Timestamp>,
    /// Time of the last connect.
    pub connected_at: Timestamp,
    /// Time of the first connect.
    pub created_at: Timestamp,
    /// Number of failures since the last success.
    pub failures: u64,
    /// The class of the last of them.
    pub last_error: Option<FailureClass>,
    /// True if the long-lived token is still to come.
    pub pending: bool,
    /// The app's user who has claimed the account.
    pub reference: Option<String>,
    /// The end of the account unless it is claimed.
    pub unclaimed_until: Option<Timestamp>,
    /// Time of the first refusal that may be Meta's own fault.
    pub suspected_at: Option<Timestamp>,
}

/// A page of accounts, in no particular order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct AccountPage {
    /// The accounts. A page may be short, or empty, though more follow.
    pub users: Vec<Account>,
    /// Number of inconsistent rows, which the service's log names.
    pub unreadable: u64,
    /// The cursor for the next page. None on the last.
    pub cursor: Option<String>,
}

/// A disconnected account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Disconnected {
    /// The person's id at Threads for this app.
    pub user_id: UserId,
    /// Its status.
    pub status: AccountStatus,
}

/// A valid access token and its properties. It cannot be serialized.
#[derive(Debug, Clone, Deserialize)]
#[non_exhaustive]
pub struct VendedToken {
    /// The person's id at Threads for this app.
    pub user_id: UserId,
    /// The token.
    pub access_token: AccessToken,
    /// `bearer`.
    pub token_type: String,
    /// The end of the token.
    pub expires_at: Timestamp,
    /// The scopes that the person has granted.
    pub scopes: Vec<String>,
    /// The source of `scopes`.
    pub scopes_source: ScopesSource,
}
