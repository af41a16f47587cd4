//! The API on behalf of one person.
//!
//! Owns a pair of credentials and the addresses of what a person can reach with them. Refuses to keep a token inside a URL:
//! addresses are made when a call is made, so replacing the credentials replaces them everywhere at once.

use std::convert::Infallible;

use reqwest::Method;
use serde::de::DeserializeOwned;
use url::Url;

use crate::call::Call;
use crate::endpoints::Endpoints;
use crate::error::Error;
use crate::graph::{Graph, LongLivedToken, Profile};
use crate::ids::{InvalidId, MediaId, UserId};
use crate::secret::{AccessToken, InvalidSecret};

/// Who, and the token that proves it.
#[derive(Debug, Clone)]
pub struct Credentials {
    /// The person.
    pub user_id: UserId,
    /// Their token; a long-lived one for anything that lasts.
    pub access_token: AccessToken,
}

/// Which of the two credentials is not one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidCredentials {
    /// The user id.
    #[error("the user id is not valid")]
    UserId(#[from] InvalidId),
    /// The access token.
    #[error("the access token is not valid")]
    AccessToken(#[from] InvalidSecret),
}

impl From<Infallible> for InvalidCredentials {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

impl Credentials {
    /// Takes a user id (as a number, as text or as a [`UserId`]) and a token (as text or as an [`AccessToken`]).
    ///
    /// ```
    /// use threads_graph::{Credentials, InvalidCredentials};
    ///
    /// assert!(Credentials::new(17_841_405_793_187_218_u64, "THQVJ...").is_ok());
    /// assert!(matches!(Credentials::new("me", "THQVJ..."), Err(InvalidCredentials::UserId(_))));
    /// assert!(matches!(Credentials::new(1, ""), Err(InvalidCredentials::AccessToken(_))));
    /// ```
    ///
    /// # Errors
    ///
    /// When the id is not 1 to 32 digits, or the token is not 1 to 4096 bytes of visible ASCII.
    pub fn new<U, T>(user_id: U, access_token: T) -> Result<Self, InvalidCredentials>
    where
        U: TryInto<UserId>,
        U::Error: Into<InvalidCredentials>,
        T: TryInto<AccessToken>,
        T::Error: Into<InvalidCredentials>,
    {
        Ok(Self {
            user_id: user_id.try_into().map_err(Into::into)?,
            access_token: access_token.try_into().map_err(Into::into)?,
        })
    }
}

/// What a person's token reaches.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// `/me`: the profile.
    Me,
    /// `/{user}/threads`: GET lists the posts, POST makes a media container.
    UserThreads,
    /// `/{user}/threads_publish`: POST publishes a container.
    Publish,
    /// `/{user}/threads_publishing_limit`: GET says how much of the quota is used.
    PublishingLimit,
    /// `/{user}/replies`: GET lists the replies the person wrote.
    Replies,
    /// `/{user}/threads_insights`: GET gives the account's figures.
    Insights,
    /// `/{media}`: GET gives a post, or the state of a container.
    Media(MediaId),
    /// `/{media}/replies`: GET lists the replies to a post.
    MediaReplies(MediaId),
    /// `/{media}/insights`: GET gives a post's figures.
    MediaInsights(MediaId),
}

impl Endpoint {
    /// The address, without the token: safe to log.
    #[must_use]
    pub fn url(&self, endpoints: &Endpoints, user_id: &UserId) -> Url {
        let user = user_id.as_str();
        match self {
            Self::Me => endpoints.versioned(&["me"]),
            Self::UserThreads => endpoints.versioned(&[user, "threads"]),
            Self::Publish => endpoints.versioned(&[user, "threads_publish"]),
            Self::PublishingLimit => endpoints.versioned(&[user, "threads_publishing_limit"]),
            Self::Replies => endpoints.versioned(&[user, "replies"]),
            Self::Insights => endpoints.versioned(&[user, "threads_insights"]),
            Self::Media(id) => endpoints.versioned(&[id.as_str()]),
            Self::MediaReplies(id) => endpoints.versioned(&[id.as_str(), "replies"]),
            Self::MediaInsights(id) => endpoints.versioned(&[id.as_str(), "insights"]),
        }
    }
}

/// The API on behalf of one person.
///
/// ```no_run
/// # async fn example(graph: threads_graph::Graph) -> Result<(), Box<dyn std::error::Error>> {
/// use threads_graph::{Credentials, Endpoint, ThreadsClient};
///
/// let mut client = ThreadsClient::new(graph, Credentials::new("17841405793187218", "THQVJ...")?);
/// println!("{}", client.url(&Endpoint::UserThreads)); // no token in it
///
/// let profile = client.profile().await?;
/// let token = client.refresh().await?; // in use from now on; store it
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct ThreadsClient {
    graph: Graph,
    credentials: Credentials,
}

impl ThreadsClient {
    /// Nothing is sent.
    #[must_use]
    pub fn new(graph: Graph, credentials: Credentials) -> Self {
        Self { graph, credentials }
    }

    /// The credentials in use.
    #[must_use]
    pub fn credentials(&self) -> &Credentials {
        &self.credentials
    }

    /// The person.
    #[must_use]
    pub fn user_id(&self) -> &UserId {
        &self.credentials.user_id
    }

    /// The token calls behind it.
    #[must_use]
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// Puts other credentials in use, as a whole, and gives back those before. Every later call uses the new ones.
    pub fn replace_credentials(&mut self, credentials: Credentials) -> Credentials {
        std::mem::replace(&mut self.credentials, credentials)
    }

    /// The address of an endpoint for this person, without the token: safe to log.
    #[must_use]
    pub fn url(&self, endpoint: &Endpoint) -> Url {
        endpoint.url(self.graph.endpoints(), self.user_id())
    }

    /// Reads from an endpoint. `params` go into the query; the token is added, and an `access_token` among them left out.
    ///
    /// # Errors
    ///
    /// Any [`ErrorKind`](crate::ErrorKind); [`Malformed`](crate::ErrorKind::Malformed) when the answer is not a `T`.
    pub async fn get<T: DeserializeOwned>(
        &self,
        endpoint: Endpoint,
        params: &[(&str, &str)],
    ) -> Result<T, Error> {
        self.call(Method::GET, &endpoint, params).await
    }

    /// Writes to an endpoint. `params` go into a form; the token is added, and an `access_token` among them left out.
    ///
    /// # Errors
    ///
    /// Any [`ErrorKind`](crate::ErrorKind); [`Malformed`](crate::ErrorKind::Malformed) when the answer is not a `T`.
    pub async fn post<T: DeserializeOwned>(
        &self,
        endpoint: Endpoint,
        params: &[(&str, &str)],
    ) -> Result<T, Error> {
        self.call(Method::POST, &endpoint, params).await
    }

    /// The person's profile.
    ///
    /// # Errors
    ///
    /// As [`Graph::me`].
    pub async fn profile(&self) -> Result<Profile, Error> {
        self.graph.me(&self.credentials.access_token).await
    }

    /// Extends the token and puts the new one in use. The caller stores what is returned.
    ///
    /// # Errors
    ///
    /// As [`Graph::refresh`]; the credentials are then as before.
    pub async fn refresh(&mut self) -> Result<LongLivedToken, Error> {
        let token = self.graph.refresh(&self.credentials.access_token).await?;
        self.credentials.access_token = token.access_token.clone();
        Ok(token)
    }

    async fn call<T: DeserializeOwned>(
        &self,
        method: Method,
        endpoint: &Endpoint,
        params: &[(&str, &str)],
    ) -> Result<T, Error> {
        let token = ("access_token", self.credentials.access_token.expose());
        let params: Vec<_> =
            params.iter().copied().filter(|(name, _)| *name != token.0).chain([token]).collect();
        self.graph.send(Call::Other, method, self.url(endpoint), &params).await?.deserialize()
    }
}
