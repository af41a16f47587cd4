//! The calls, one method each.
//!
//! Owns nothing but their form. Refuses to retry and to keep anything: [`Tokens`](crate::Tokens)
//! keeps tokens.

use std::sync::Arc;
use std::time::Duration;

use aws_credential_types::provider::ProvideCredentials;
use reqwest::Method;
use serde::Serialize;

use crate::error::Error;
use crate::http::{Request, SetupError, Transport};
use crate::ids::{SessionId, UserId};
use crate::secret::{AccessToken, Digest};
use crate::types::{
    Account, AccountPage, ConnectedAccount, Disconnected, NewSession, Session, SessionProgress, VendedToken,
};
use crate::words::AccountStatus;

/// A client of one stack. Clones share its connections and credentials.
#[derive(Clone)]
pub struct Client {
    transport: Arc<Transport>,
    timeout: Option<Duration>,
}

impl Client {
    /// A client for the stack at `url` (its output `ApiUrl`) in `region`. Nothing is sent.
    ///
    /// Credentials are those of the place where the backend runs: the provider of `aws-config`, or
    /// [`Credentials`](aws_credential_types::Credentials) themselves. They are kept until shortly
    /// before they expire.
    ///
    /// # Errors
    ///
    /// If the URL is none, or would send tokens in the clear.
    pub fn new(
        url: &str,
        region: impl Into<String>,
        credentials: impl ProvideCredentials + 'static,
    ) -> Result<Self, SetupError> {
        let transport = Transport::new(url, region.into(), credentials)?;
        Ok(Self { transport: Arc::new(transport), timeout: None })
    }

    /// Lets a call take this long. It is 30 seconds by default, API Gateway's own limit.
    #[must_use]
    pub fn timeout(self, timeout: Duration) -> Self {
        Self { timeout: Some(timeout), ..self }
    }

    /// Creates a session for one of the app's users: send the person to its `url`.
    ///
    /// # Errors
    ///
    /// Those of every call; [`ErrorCode::ReturnToRefused`](crate::ErrorCode::ReturnToRefused).
    pub async fn start_session(&self, new: &NewSession) -> Result<Session, Error> {
        self.send(Request::new(Method::POST, "/sessions").json(new)).await
    }

    /// Redeems the completion code that came back with a person: the account is now that of
    /// `reference`, the user who is logged in *now*, by the app's own session with that browser.
    ///
    /// The same call gets the same answer for ten minutes, in case an answer is lost.
    ///
    /// # Errors
    ///
    /// Those of every call; the codes of `completeSession`, such as
    /// [`ErrorCode::WrongReference`](crate::ErrorCode::WrongReference).
    pub async fn complete(
        &self,
        id: &SessionId,
        completion: &str,
        reference: &str,
    ) -> Result<ConnectedAccount, Error> {
        #[derive(Serialize)]
        struct Completion<'a> {
            completion: &'a str,
            reference: &'a str,
        }
        let path = format!("/sessions/{id}/complete");
        self.send(Request::new(Method::POST, path).json(&Completion { completion, reference })).await
    }

    /// Shows how a session went, without its account.
    ///
    /// # Errors
    ///
    /// Those of every call; [`ErrorCode::SessionUnknown`](crate::ErrorCode::SessionUnknown).
    pub async fn session(&self, id: &SessionId) -> Result<SessionProgress, Error> {
        self.send(Request::new(Method::GET, format!("/sessions/{id}"))).await
    }

    /// Lists accounts, page by page.
    ///
    /// ```no_run
    /// # use threads_auth_client::{Client, Error};
    /// # async fn example(client: Client) -> Result<(), Error> {
    /// let mut users = client.users().status("active".into());
    /// while let Some(page) = users.next_page().await? {
    ///     for account in page.users {
    ///         println!("{} is {:?}'s", account.user_id, account.reference);
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn users(&self) -> Users {
        Users { client: self.clone(), status: None, reference: None, limit: None, next: Next::First }
    }

    /// Shows an account as it is stored, without a call to Meta.
    ///
    /// # Errors
    ///
    /// Those of every call; [`ErrorCode::UnknownUser`](crate::ErrorCode::UnknownUser).
    pub async fn user(&self, user_id: &UserId) -> Result<Account, Error> {
        self.send(Request::new(Method::GET, format!("/users/{user_id}"))).await
    }

    /// Makes an account that of the app's user `reference`, or nobody's: one that was imported, or
    /// that changes hands in the app.
    ///
    /// # Errors
    ///
    /// Those of every call; [`ErrorCode::UnknownUser`](crate::ErrorCode::UnknownUser);
    /// [`ErrorCode::AccountUnclaimed`](crate::ErrorCode::AccountUnclaimed).
    pub async fn set_reference(&self, user_id: &UserId, reference: Option<&str>) -> Result<Account, Error> {
        #[derive(Serialize)]
        struct AccountChange<'a> {
            reference: Option<&'a str>,
        }
        let path = format!("/users/{user_id}");
        self.send(Request::new(Method::PATCH, path).json(&AccountChange { reference })).await
    }

    /// Disconnects an account: its tokens are destroyed.
    ///
    /// # Errors
    ///
    /// Those of every call; [`ErrorCode::UnknownUser`](crate::ErrorCode::UnknownUser).
    pub async fn delete_user(&self, user_id: &UserId) -> Result<Disconnected, Error> {
        self.send(Request::new(Method::DELETE, format!("/users/{user_id}"))).await
    }

    /// Returns a token that lives for `min_valid` at least, which is 30 days at most. If Meta has
    /// just refused a token with its error 190, that is `refused`, and Meta takes the returned one.
    ///
    /// Each call asks the service: [`Tokens`](crate::Tokens) keeps what it has got.
    ///
    /// # Errors
    ///
    /// Those of every call; [`Error::ReconnectNeeded`];
    /// [`ErrorCode::UnknownUser`](crate::ErrorCode::UnknownUser).
    pub async fn token(
        &self,
        user_id: &UserId,
        min_valid: Duration,
        refused: Option<&AccessToken>,
    ) -> Result<VendedToken, Error> {
        self.vend(user_id, min_valid, refused.map(AccessToken::digest)).await
    }

    pub(crate) async fn vend(
        &self,
        user_id: &UserId,
        min_valid: Duration,
        refused: Option<Digest>,
    ) -> Result<VendedToken, Error> {
        let request = Request::new(Method::GET, format!("/users/{user_id}/token"))
            .query("min_valid", Some(min_valid.as_secs().to_string()))
            .query("refused", refused.map(|digest| digest.to_string()));
        self.send(request).await
    }

    async fn send<T: serde::de::DeserializeOwned>(&self, request: Request) -> Result<T, Error> {
        self.transport.send(request, self.timeout).await
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Transport { url, region, .. } = &*self.transport;
        f.debug_struct("Client").field("url", url).field("region", region).finish_non_exhaustive()
    }
}

/// A list of accounts, page by page: see [`Client::users`].
#[derive(Debug, Clone)]
pub struct Users {
    client: Client,
    status: Option<AccountStatus>,
    reference: Option<String>,
    limit: Option<u16>,
    next: Next,
}

#[derive(Debug, Clone)]
enum Next {
    First,
    After(String),
    None,
}

impl Users {
    /// Only accounts with this status.
    #[must_use]
    pub fn status(self, status: AccountStatus) -> Self {
        Self { status: Some(status), ..self }
    }

    /// Only accounts of this user of the app. One that was completed just now may be missing.
    #[must_use]
    pub fn reference(self, reference: impl Into<String>) -> Self {
        Self { reference: Some(reference.into()), ..self }
    }

    /// At most so many accounts a page: 1 to 1000, and 500 by default.
    #[must_use]
    pub fn limit(self, limit: u16) -> Self {
        Self { limit: Some(limit), ..self }
    }

    /// Continues after a page, by its cursor.
    #[must_use]
    pub fn after(self, cursor: impl Into<String>) -> Self {
        Self { next: Next::After(cursor.into()), ..self }
    }

    /// Returns the next page, which may be empty though more follow, or `None` after the last.
    /// After an error the same page can be asked for again.
    ///
    /// # Errors
    ///
    /// Those of every call.
    pub async fn next_page(&mut self) -> Result<Option<AccountPage>, Error> {
        let cursor = match &self.next {
            Next::First => None,
            Next::After(cursor) => Some(cursor.clone()),
            Next::None => return Ok(None),
        };
        let request = Request::new(Method::GET, "/users")
            .query("status", self.status.as_ref().map(ToString::to_string))
            .query("reference", self.reference.clone())
            .query("limit", self.limit.map(|limit| limit.to_string()))
            .query("cursor", cursor);
        let page: AccountPage = self.client.send(request).await?;
        self.next = page.cursor.clone().map_or(Next::None, Next::After);
        Ok(Some(page))
    }
}
