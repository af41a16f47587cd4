//! The token calls.
//!
//! Owns each request and what is taken from its answer, and the one place from which anything is sent to Meta. Refuses to
//! retry, to store and to decide: it makes one call and says how it ended.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use reqwest::Method;
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderName, LOCATION, RETRY_AFTER};
use serde::Deserialize as _;
use serde_json::Value;
use url::{Url, form_urlencoded};
use zeroize::Zeroizing;

use crate::call::Call;
use crate::classify::{page_moved_to, redirect_host, retry_after, says_error};
use crate::endpoints::{Endpoints, authorization_url};
use crate::error::Error;
use crate::error_kind::{ConfigurationProblem, ErrorKind};
use crate::http::HttpClient;
use crate::ids::{AppId, RedirectUri, UserId};
use crate::json::{Json, integer, lifetime};
use crate::scope::Scopes;
use crate::secret::{AccessToken, AppCredentials, AppSecret, AuthorizationCode};

/// The longest answer that is read, in bytes. Token answers have a few hundred; a page of posts can have more.
const MAX_TOKEN_BODY: usize = 64 * 1024;
const MAX_OTHER_BODY: usize = 1024 * 1024;

/// The Threads API, as far as tokens go. Cheap to clone; clones share connections.
///
/// Each call is made once, with the timeouts of its [`HttpClient`]. It holds no credentials: they are passed to the calls
/// that need them.
#[derive(Debug, Clone)]
pub struct Graph {
    http: HttpClient,
    endpoints: Endpoints,
    calls: Arc<AtomicU64>,
}

/// What an authorization code is exchanged for.
#[derive(Debug, Clone)]
pub struct ShortLivedToken {
    /// Lives for 1 hour; Meta does not say so in the answer.
    pub access_token: AccessToken,
    /// Whose it is, if Meta says so: people report answers without it, and answers with 0.
    /// [`Graph::me`] tells then.
    pub user_id: Option<UserId>,
}

/// What a short-lived token is exchanged for, and what a refresh gives.
#[derive(Debug, Clone)]
pub struct LongLivedToken {
    /// It may or may not be a different text than before: Meta does not document whether a refresh replaces it.
    pub access_token: AccessToken,
    /// How long it lives from Meta's answer on, if the answer has a number of seconds that can be
    /// one: from one second to a hundred years. About 60 days in practice. A token without it is as
    /// good as any other.
    pub expires_in: Option<Duration>,
}

/// A person, as the app sees them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    /// The Threads user id.
    pub id: UserId,
    /// The user name, without `@`. Absent when Meta gives none, or something that cannot be one.
    pub username: Option<String>,
    /// The address of the profile picture (`https` only). It expires after some days.
    pub picture_url: Option<Url>,
}

/// What Meta knows about a token. Meta writes 0 for "no time", which is `None` here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenInfo {
    /// Whether the token can be used.
    pub is_valid: bool,
    /// Whose it is.
    pub user_id: Option<UserId>,
    /// The granted permissions by Meta's names, unknown ones included.
    pub scopes: Vec<String>,
    /// When it was made.
    pub issued_at: Option<Timestamp>,
    /// When the token ends.
    pub expires_at: Option<Timestamp>,
    /// When the *grant* ends, whatever happens to the token: after 90 days for private profiles.
    pub data_access_expires_at: Option<Timestamp>,
}

impl TokenInfo {
    /// The granted permissions, but for names that cannot be Meta's.
    #[must_use]
    pub fn granted(&self) -> Scopes {
        self.scopes.iter().filter_map(|name| name.parse().ok()).collect()
    }
}

impl Graph {
    /// The API at these addresses. Nothing is sent.
    #[must_use]
    pub fn new(http: HttpClient, endpoints: Endpoints) -> Self {
        Self { http, endpoints, calls: Arc::default() }
    }

    /// The number of calls that this and its clones have made, answered or not.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.calls.load(Ordering::Relaxed)
    }

    /// The addresses.
    #[must_use]
    pub fn endpoints(&self) -> &Endpoints {
        &self.endpoints
    }

    /// The client that sends, for other upstreams.
    #[must_use]
    pub fn http(&self) -> &HttpClient {
        &self.http
    }

    /// The URL to send a person's browser to: [`authorization_url`] with these addresses.
    #[must_use]
    pub fn authorization_url(
        &self,
        app_id: &AppId,
        redirect_uri: &RedirectUri,
        scopes: &Scopes,
        state: &str,
    ) -> Url {
        authorization_url(&self.endpoints, app_id, redirect_uri, scopes, state)
    }

    /// Exchanges an authorization code for a short-lived token: `POST /oauth/access_token`.
    ///
    /// The code is spent even when the answer is lost on its way, so do not send it twice: a second attempt that ends in
    /// [`CodeUnusable`](ErrorKind::CodeUnusable) does not tell which of the two failed.
    ///
    /// Source: Meta, "Get access tokens and permissions".
    ///
    /// # Errors
    ///
    /// Any [`ErrorKind`]; here above all [`CodeUnusable`](ErrorKind::CodeUnusable) and
    /// [`Configuration`](ErrorKind::Configuration).
    pub async fn exchange_code(
        &self,
        app: &AppCredentials,
        code: &AuthorizationCode,
        redirect_uri: &RedirectUri,
    ) -> Result<ShortLivedToken, Error> {
        let call = Call::ExchangeCode;
        let url = self.endpoints.unversioned(&["oauth", "access_token"]);
        let form = [
            ("client_id", app.app_id.as_str()),
            ("client_secret", app.app_secret.expose()),
            ("grant_type", "authorization_code"),
            ("redirect_uri", redirect_uri.as_str()),
            ("code", code.expose()),
        ];
        let answer = self.send(call, Method::POST, url, &form).await?;
        Ok(ShortLivedToken {
            access_token: answer.access_token()?,
            user_id: answer.get("user_id").and_then(user_id),
        })
    }

    /// Exchanges a short-lived token for a long-lived one: `GET /access_token`.
    ///
    /// Source: Meta, "Long-lived access tokens".
    ///
    /// # Errors
    ///
    /// Any [`ErrorKind`].
    pub async fn exchange_long_lived(
        &self,
        secret: &AppSecret,
        short: &AccessToken,
    ) -> Result<LongLivedToken, Error> {
        let url = self.endpoints.unversioned(&["access_token"]);
        let query = [
            ("grant_type", "th_exchange_token"),
            ("client_secret", secret.expose()),
            ("access_token", short.expose()),
        ];
        self.send(Call::ExchangeLongLived, Method::GET, url, &query).await?.long_lived()
    }

    /// Extends a long-lived token: `GET /refresh_access_token`.
    ///
    /// The token must be at least 24 hours old and not expired, and `threads_basic` still granted. Whether the old token
    /// lives on is documented nowhere: store the new one before anything else.
    ///
    /// Source: Meta, "Long-lived access tokens".
    ///
    /// # Errors
    ///
    /// Any [`ErrorKind`]; only [`NeedsReauthorization`](ErrorKind::NeedsReauthorization) says that the token is dead.
    pub async fn refresh(&self, token: &AccessToken) -> Result<LongLivedToken, Error> {
        let url = self.endpoints.unversioned(&["refresh_access_token"]);
        let query = [("grant_type", "th_refresh_token"), ("access_token", token.expose())];
        self.send(Call::Refresh, Method::GET, url, &query).await?.long_lived()
    }

    /// Whose token it is: `GET /v1.0/me`.
    ///
    /// Source: Meta, "Retrieve a user's profile".
    ///
    /// # Errors
    ///
    /// Any [`ErrorKind`].
    pub async fn me(&self, token: &AccessToken) -> Result<Profile, Error> {
        let answer = self.ask_me(token).await?;
        let text = |name| answer.get(name).and_then(Value::as_str);
        Ok(Profile {
            id: answer.get("id").and_then(user_id).ok_or_else(|| answer.malformed())?,
            username: text("username")
                .filter(|name| (1..=64).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_graphic()))
                .map(str::to_owned),
            picture_url: text("threads_profile_picture_url")
                .and_then(|address| Url::parse(address).ok())
                .filter(|address| address.scheme() == "https"),
        })
    }

    /// The names of the fields in Meta's answer to [`me`](Self::me), without what is in them.
    ///
    /// # Errors
    ///
    /// As [`me`](Self::me).
    pub async fn fields_of_me(&self, token: &AccessToken) -> Result<BTreeSet<String>, Error> {
        Ok(self.ask_me(token).await?.fields())
    }

    async fn ask_me(&self, token: &AccessToken) -> Result<Answer, Error> {
        let url = self.endpoints.versioned(&["me"]);
        let query = [("fields", "id,username,threads_profile_picture_url"), ("access_token", token.expose())];
        self.send(Call::Me, Method::GET, url, &query).await
    }

    /// What Meta knows about `input`: `GET /v1.0/debug_token`.
    ///
    /// Meta documents that `caller` is the token of a tester of the app; people report that the
    /// app's own token is taken. Treat a failure as "not known", not as news about `input`.
    ///
    /// # Errors
    ///
    /// Any [`ErrorKind`], about `caller` rather than about `input`.
    pub async fn debug_token(&self, input: &AccessToken, caller: &AccessToken) -> Result<TokenInfo, Error> {
        let answer = self.ask_about(input, caller).await?;
        let time = |name| {
            let seconds = answer.get(name).and_then(integer).filter(|seconds| *seconds > 0)?;
            Timestamp::from_second(i64::try_from(seconds).ok()?).ok()
        };
        Ok(TokenInfo {
            is_valid: answer.get("is_valid").and_then(Value::as_bool).ok_or_else(|| answer.malformed())?,
            user_id: answer.get("user_id").and_then(user_id),
            scopes: answer
                .get("scopes")
                .and_then(Value::as_array)
                .map(|names| names.iter().filter_map(Value::as_str).map(str::to_owned).collect())
                .unwrap_or_default(),
            issued_at: time("issued_at"),
            expires_at: time("expires_at"),
            data_access_expires_at: time("data_access_expires_at"),
        })
    }

    /// The names of the fields in Meta's answer to [`debug_token`](Self::debug_token), without what
    /// is in them.
    ///
    /// # Errors
    ///
    /// As [`debug_token`](Self::debug_token).
    pub async fn fields_of_debug_token(
        &self,
        input: &AccessToken,
        caller: &AccessToken,
    ) -> Result<BTreeSet<String>, Error> {
        Ok(self.ask_about(input, caller).await?.fields())
    }

    async fn ask_about(&self, input: &AccessToken, caller: &AccessToken) -> Result<Answer, Error> {
        let url = self.endpoints.versioned(&["debug_token"]);
        let query = [("input_token", input.expose()), ("access_token", caller.expose())];
        self.send(Call::DebugToken, Method::GET, url, &query).await
    }

    /// Opens an [`authorization_url`](Self::authorization_url) as a browser in which nobody is
    /// logged in, and follows nothing.
    ///
    /// # Errors
    ///
    /// [`Transient`](ErrorKind::Transient) if nobody answers, or a server that fails;
    /// [`Moved`](ConfigurationProblem::Moved) as [`page_moved_to`] has it. Any other answer is one.
    #[expect(clippy::disallowed_methods, reason = "Meta's public page: its address carries no secret")]
    pub async fn authorization_page(&self, url: Url) -> Result<(), Error> {
        let call = Call::AuthorizationPage;
        self.calls.fetch_add(1, Ordering::Relaxed);
        let answer = self.http.inner().get(url.clone()).header(ACCEPT, "text/html").send().await;
        let answer = answer.map_err(|error| Error::unanswered(call, error))?;
        let status = answer.status();
        let location = answer.headers().get(LOCATION).and_then(|location| location.to_str().ok());
        if let Some(host) = page_moved_to(&url, status.as_u16(), location) {
            let moved = ErrorKind::Configuration(ConfigurationProblem::Moved);
            return Err(Error::answered(call, moved, status.as_u16()).redirected_to(Some(host)));
        }
        if status.is_server_error() {
            return Err(Error::answered(call, ErrorKind::Transient, status.as_u16()));
        }
        Ok(())
    }

    /// A token of the app itself: `GET /oauth/access_token` with `grant_type=client_credentials`.
    ///
    /// Its success proves that the app id and the secret belong together.
    ///
    /// # Errors
    ///
    /// Any [`ErrorKind`]; here above all [`Configuration`](ErrorKind::Configuration).
    pub async fn app_token(&self, app: &AppCredentials) -> Result<AccessToken, Error> {
        let url = self.endpoints.unversioned(&["oauth", "access_token"]);
        let query = [
            ("grant_type", "client_credentials"),
            ("client_id", app.app_id.as_str()),
            ("client_secret", app.app_secret.expose()),
        ];
        self.send(Call::AppToken, Method::GET, url, &query).await?.access_token()
    }

    /// The one place from which anything is sent to Meta. `params` go into the query of a GET and the body of a POST.
    #[tracing::instrument(name = "threads_graph", level = "debug", skip_all, fields(call = call.as_str()))]
    #[expect(clippy::disallowed_methods, reason = "this is Meta's one send path")]
    pub(crate) async fn send(
        &self,
        call: Call,
        method: Method,
        mut url: Url,
        params: &[(&str, &str)],
    ) -> Result<Answer, Error> {
        let client = self.http.inner();
        let request = if method == Method::GET {
            url.query_pairs_mut().extend_pairs(params);
            client.get(url)
        } else {
            let form = form_urlencoded::Serializer::new(String::new()).extend_pairs(params).finish();
            client.request(method, url).header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(form)
        };
        self.calls.fetch_add(1, Ordering::Relaxed);
        let result = request.header(ACCEPT, "application/json").send().await;
        let mut response = result.map_err(|error| {
            tracing::debug!(timeout = error.is_timeout(), connect = error.is_connect(), "no answer");
            Error::unanswered(call, error)
        })?;

        let status = response.status();
        tracing::debug!(status = status.as_u16(), "answered");
        let header = |name: HeaderName| response.headers().get(name).and_then(|value| value.to_str().ok());
        let wait = header(RETRY_AFTER).and_then(retry_after);
        let sent: Vec<&str> = params.iter().map(|(_, value)| *value).collect();
        let moved_to = header(LOCATION).and_then(|location| redirect_host(response.url(), location, &sent));
        let refusal = |body: Option<&Json>| {
            Error::from_answer(call, status.as_u16(), wait, body, &sent).redirected_to(moved_to.clone())
        };

        let limit = if call == Call::Other { MAX_OTHER_BODY } else { MAX_TOKEN_BODY };
        // As large as a token's body can be from the start, since growing would leave copies behind.
        let mut body = Zeroizing::new(Vec::with_capacity(MAX_TOKEN_BODY));
        while let Some(chunk) = response.chunk().await.map_err(|error| refusal(None).caused_by(error))? {
            if body.len() + chunk.len() > limit {
                return Err(refusal(None));
            }
            body.extend_from_slice(&chunk);
        }
        match Json::parse(&body) {
            Some(json) if status.is_success() && !says_error(call, json.value()) => {
                Ok(Answer { call, status: status.as_u16(), json })
            }
            json => Err(refusal(json.as_ref())),
        }
    }
}

/// A success, as far as HTTP and the envelope go.
pub(crate) struct Answer {
    call: Call,
    status: u16,
    json: Json,
}

impl Answer {
    pub(crate) fn deserialize<T: serde::de::DeserializeOwned>(&self) -> Result<T, Error> {
        // The parser's own error quotes the body.
        T::deserialize(self.json.value()).map_err(|_| self.malformed())
    }

    /// A member of the answer, or of the one object that the answer wraps as `{"data":{…}}` or
    /// `{"data":[{…}]}`. Meta documents the first for `debug_token`, and its Instagram API wraps
    /// the code exchange in the second.
    fn get(&self, name: &str) -> Option<&Value> {
        self.json.value().get(name).or_else(|| self.wrapped()?.get(name))
    }

    fn wrapped(&self) -> Option<&Value> {
        match self.json.value().get("data")? {
            Value::Array(items) => match items.as_slice() {
                [only] => Some(only),
                _ => None,
            },
            data => Some(data),
        }
    }

    /// The names of the members, as far as they are names.
    fn fields(&self) -> BTreeSet<String> {
        let is_name = |name: &str| {
            name.len() <= 64
                && name.bytes().all(|byte| byte.is_ascii_lowercase() || b"_0123456789".contains(&byte))
        };
        let members = self.wrapped().unwrap_or(self.json.value()).as_object();
        let names = members.into_iter().flat_map(serde_json::Map::keys);
        names.filter(|name| is_name(name)).cloned().collect()
    }

    fn malformed(&self) -> Error {
        Error::answered(self.call, ErrorKind::Malformed, self.status)
    }

    fn access_token(&self) -> Result<AccessToken, Error> {
        self.get("access_token")
            .and_then(Value::as_str)
            .and_then(|token| AccessToken::new(token).ok())
            .ok_or_else(|| self.malformed())
    }

    fn long_lived(&self) -> Result<LongLivedToken, Error> {
        Ok(LongLivedToken {
            access_token: self.access_token()?,
            expires_in: self.get("expires_in").and_then(lifetime),
        })
    }
}

/// Meta writes 0 for nobody.
fn user_id(value: &Value) -> Option<UserId> {
    UserId::deserialize(value).ok().filter(|id| id.as_str().bytes().any(|digit| digit != b'0'))
}
