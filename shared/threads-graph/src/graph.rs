//! The calls to the Threads API: those of tokens by name, and an open path for others.
//!
//! Owns each request, the reading of its answer, and the one send path to Meta. Refuses to retry,
//! to store and to decide: it makes one call and returns its result.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use reqwest::Method;
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderName, LOCATION, RETRY_AFTER};
use serde::Deserialize as _;
use serde::de::DeserializeOwned;
use serde_json::Value;
use url::{Url, form_urlencoded};
use zeroize::Zeroizing;

use crate::call::Call;
use crate::classify::{page_moved_to, redirect_host, retry_after, says_error};
use crate::dialog::DialogRefusal;
use crate::endpoints::{Endpoints, authorization_url};
use crate::error::Error;
use crate::error_kind::{ConfigurationProblem, ErrorKind};
use crate::http::HttpClient;
use crate::ids::{AppId, RedirectUri, UserId};
use crate::json::{Json, integer, lifetime};
use crate::scope::Scopes;
use crate::secret::{AccessToken, AppCredentials, AppSecret, AuthorizationCode};
use crate::state::State;

/// The longest answer of a token call that is read, in bytes. Meta's have a few hundred.
const MAX_TOKEN_BODY: usize = 64 * 1024;

/// The longest answer of another call, in bytes: a page of posts, or Meta's authorization page.
const MAX_OTHER_BODY: usize = 1024 * 1024;

/// The Threads API. Cheap to clone; clones share connections.
///
/// Each call is made once, with the timeouts of the [`HttpClient`]. A `Graph` holds no credentials:
/// they are arguments of the calls that need them, so a refreshed token is in use as soon as it is
/// passed.
#[derive(Debug, Clone)]
pub struct Graph {
    http: HttpClient,
    endpoints: Endpoints,
    calls: Arc<AtomicU64>,
}

/// The token that an authorization code is exchanged for.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ShortLivedToken {
    /// The token. It lives for 1 hour, which Meta's response does not contain.
    pub access_token: AccessToken,
    /// The person, if the answer names one: people report responses without it, and responses with
    /// 0. Then [`Graph::me`] returns it.
    pub user_id: Option<UserId>,
}

/// The token that a short-lived one is exchanged for, and that a refresh gives.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct LongLivedToken {
    /// The token. Meta does not document if a refresh returns a different text.
    pub access_token: AccessToken,
    /// The rest of its life from Meta's answer on, if the answer has a plausible number of seconds:
    /// from one second to a hundred years. About 60 days in practice. A token without it is as
    /// valid as any other.
    pub expires_in: Option<Duration>,
}

impl LongLivedToken {
    /// A token that came from elsewhere, such as a file.
    #[must_use]
    pub const fn new(access_token: AccessToken, expires_in: Option<Duration>) -> Self {
        Self { access_token, expires_in }
    }
}

/// A person, as the app sees them.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Profile {
    /// The Threads user id.
    pub id: UserId,
    /// The user name: 1 to 64 visible ASCII characters, without `@`. Absent if Meta gives none, or
    /// something else.
    pub username: Option<String>,
}

/// Meta's record of a token. Meta writes 0 for "no time", which is `None` here.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TokenInfo {
    /// The token can be used.
    pub is_valid: bool,
    /// The person, if it is a person's.
    pub user_id: Option<UserId>,
    /// The granted permissions by Meta's names, unknown ones included.
    pub scopes: Vec<String>,
    /// The time of issue.
    pub issued_at: Option<Timestamp>,
    /// The end of the token.
    pub expires_at: Option<Timestamp>,
    /// The end of the *grant*, whatever happens to the token: 90 days for private profiles.
    pub data_access_expires_at: Option<Timestamp>,
}

impl TokenInfo {
    /// The granted permissions, without names that cannot be Meta's.
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

    /// The HTTP client, for other upstreams.
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
        state: &State,
    ) -> Url {
        authorization_url(&self.endpoints, app_id, redirect_uri, scopes, state)
    }

    /// Exchanges an authorization code for a short-lived token: `POST /oauth/access_token`.
    ///
    /// The code is spent even when the answer is lost on its way, so do not send it twice: a second
    /// attempt that ends in [`CodeUnusable`](ErrorKind::CodeUnusable) does not show which of the
    /// two failed.
    ///
    /// Source: Meta, "Get access tokens and permissions".
    ///
    /// # Errors
    ///
    /// Returns an [`Error`] of any [`ErrorKind`] if the call fails, here above all
    /// [`CodeUnusable`](ErrorKind::CodeUnusable) and [`Configuration`](ErrorKind::Configuration).
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

    /// Exchanges a short-lived token for a long-lived one: `GET /access_token`. Meta requires only
    /// the app's secret here, without its id.
    ///
    /// Source: Meta, "Long-lived access tokens".
    ///
    /// # Errors
    ///
    /// Returns an [`Error`] of any [`ErrorKind`] if the call fails.
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
    /// The token must be at least 24 hours old and not expired, and `threads_basic` still granted.
    /// Meta does not document if the old token stays valid: store the new one before anything else.
    ///
    /// Source: Meta, "Long-lived access tokens".
    ///
    /// # Errors
    ///
    /// Returns an [`Error`] of any [`ErrorKind`] if the call fails; only
    /// [`NeedsReauthorization`](ErrorKind::NeedsReauthorization) means that the token is dead.
    pub async fn refresh(&self, token: &AccessToken) -> Result<LongLivedToken, Error> {
        let url = self.endpoints.unversioned(&["refresh_access_token"]);
        let query = [("grant_type", "th_refresh_token"), ("access_token", token.expose())];
        self.send(Call::Refresh, Method::GET, url, &query).await?.long_lived()
    }

    /// The person to whom a token belongs: `GET /v1.0/me`, with the fields `id` and `username`.
    ///
    /// Source: Meta, "Retrieve a user's profile".
    ///
    /// # Errors
    ///
    /// Returns an [`Error`] of any [`ErrorKind`] if the call fails.
    pub async fn me(&self, token: &AccessToken) -> Result<Profile, Error> {
        let answer = self.ask_me(token).await?;
        let text = |name| answer.get(name).and_then(Value::as_str);
        Ok(Profile {
            id: answer.get("id").and_then(user_id).ok_or_else(|| answer.malformed())?,
            username: text("username")
                .filter(|name| (1..=64).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_graphic()))
                .map(str::to_owned),
        })
    }

    /// The names of the fields in Meta's answer to [`me`](Self::me), without their values.
    ///
    /// # Errors
    ///
    /// Returns the same errors as [`me`](Self::me).
    pub async fn fields_of_me(&self, token: &AccessToken) -> Result<BTreeSet<String>, Error> {
        Ok(self.ask_me(token).await?.fields())
    }

    async fn ask_me(&self, token: &AccessToken) -> Result<Answer, Error> {
        let url = self.endpoints.versioned(&["me"]);
        let query = [("fields", "id,username"), ("access_token", token.expose())];
        self.send(Call::Me, Method::GET, url, &query).await
    }

    /// Meta's record of the token `input`: `GET /v1.0/debug_token`.
    ///
    /// Meta documents that `caller` is the token of a tester of the app; people report that Meta
    /// accepts the app's own token. Treat a failure as "not known", not as a statement about
    /// `input`.
    ///
    /// Source: Meta, "Debug an access token".
    ///
    /// # Errors
    ///
    /// Returns an [`Error`] of any [`ErrorKind`] if the call fails, about `caller` rather than
    /// about `input`.
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

    /// The names of the fields in Meta's answer to [`debug_token`](Self::debug_token), without
    /// their values.
    ///
    /// # Errors
    ///
    /// Returns the same errors as [`debug_token`](Self::debug_token).
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
    /// logged in, and follows no redirect. Returns the error page, if Meta shows one; some of its
    /// errors appear only after a person has logged in.
    ///
    /// # Errors
    ///
    /// Returns [`Transient`](ErrorKind::Transient) if Meta does not answer, or with HTTP 5xx;
    /// [`Rejected`](ErrorKind::Rejected) for HTTP 4xx without one of Meta's error pages;
    /// [`Moved`](ConfigurationProblem::Moved) if the page redirects permanently (HTTP 301 or 308)
    /// to a host that is not one of Meta's known ones, which [`Error::moved_to`] names.
    #[expect(clippy::disallowed_methods, reason = "Meta's public page: its address carries no secret")]
    pub async fn authorization_page(&self, url: Url) -> Result<Option<DialogRefusal>, Error> {
        let call = Call::AuthorizationPage;
        self.calls.fetch_add(1, Ordering::Relaxed);
        let answer = self.http.inner().get(url.clone()).header(ACCEPT, "text/html").send().await;
        let mut answer = answer.map_err(|error| Error::unanswered(call, error))?;
        let status = answer.status();
        let location = answer.headers().get(LOCATION).and_then(|location| location.to_str().ok());
        if let Some(host) = page_moved_to(&url, status.as_u16(), location) {
            let moved = ErrorKind::Configuration(ConfigurationProblem::Moved);
            return Err(Error::answered(call, moved, status.as_u16()).redirected_to(Some(host)));
        }
        if status.is_server_error() {
            return Err(Error::answered(call, ErrorKind::Transient, status.as_u16()));
        }
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(|error| Error::unanswered(call, error))? {
            body.extend_from_slice(&chunk);
            if body.len() > MAX_OTHER_BODY {
                break;
            }
        }
        match DialogRefusal::parse(&String::from_utf8_lossy(&body)) {
            None if status.is_client_error() => {
                Err(Error::answered(call, ErrorKind::Rejected, status.as_u16()))
            }
            refusal => Ok(refusal),
        }
    }

    /// A token of the app itself: `GET /oauth/access_token` with `grant_type=client_credentials`.
    ///
    /// Its success proves that the app id and the secret belong together.
    ///
    /// # Errors
    ///
    /// Returns an [`Error`] of any [`ErrorKind`] if the call fails, here above all
    /// [`Configuration`](ErrorKind::Configuration).
    pub async fn app_token(&self, app: &AppCredentials) -> Result<AccessToken, Error> {
        let url = self.endpoints.unversioned(&["oauth", "access_token"]);
        let query = [
            ("grant_type", "client_credentials"),
            ("client_id", app.app_id.as_str()),
            ("client_secret", app.app_secret.expose()),
        ];
        self.send(Call::AppToken, Method::GET, url, &query).await?.access_token()
    }

    /// Reads from a path of the API that has no method here: `GET /v1.0/{path}`.
    ///
    /// `path` is relative to the version, such as `me/threads` or `17841405793187218/replies`. Its
    /// parts are percent-encoded, so none of them reaches the query or climbs with `..`. `params`
    /// go into the query, without an `access_token` among them: that is `token`'s place. The answer
    /// is a JSON object of at most 1 MiB, read as a `T`; [`serde_json::Value`] takes any.
    ///
    /// ```no_run
    /// # async fn example(
    /// #     graph: threads_graph::Graph,
    /// #     token: threads_graph::AccessToken,
    /// # ) -> Result<(), threads_graph::Error> {
    /// let params = [("fields", "id,permalink"), ("limit", "5")];
    /// let posts: serde_json::Value = graph.get("me/threads", &token, &params).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Returns an [`Error`] of any [`ErrorKind`] if the call fails:
    /// [`Malformed`](ErrorKind::Malformed) if the response is not a `T`.
    pub async fn get<T: DeserializeOwned>(
        &self,
        path: &str,
        token: &AccessToken,
        params: &[(&str, &str)],
    ) -> Result<T, Error> {
        self.other(Method::GET, path, token, params).await
    }

    /// Writes to a path of the API: `POST /v1.0/{path}`. As [`get`](Self::get), but `params` and
    /// the token go into a form.
    ///
    /// # Errors
    ///
    /// Returns the same errors as [`get`](Self::get). After [`Transient`](ErrorKind::Transient)
    /// Meta may have carried it out, and only the response may be lost.
    pub async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        token: &AccessToken,
        params: &[(&str, &str)],
    ) -> Result<T, Error> {
        self.other(Method::POST, path, token, params).await
    }

    /// Deletes the object at a path of the API: `DELETE /v1.0/{path}`. As [`get`](Self::get).
    ///
    /// # Errors
    ///
    /// Returns the same errors as [`get`](Self::get).
    pub async fn delete<T: DeserializeOwned>(
        &self,
        path: &str,
        token: &AccessToken,
        params: &[(&str, &str)],
    ) -> Result<T, Error> {
        self.other(Method::DELETE, path, token, params).await
    }

    async fn other<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        token: &AccessToken,
        params: &[(&str, &str)],
    ) -> Result<T, Error> {
        // `url` ignores these, and would then see `..` where there was none.
        let path = path.replace(['\t', '\n', '\r'], "");
        let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        let token = ("access_token", token.expose());
        let params: Vec<_> =
            params.iter().copied().filter(|(name, _)| *name != token.0).chain([token]).collect();
        self.send(Call::Other, method, self.endpoints.versioned(&parts), &params).await?.deserialize()
    }

    /// The one send path to Meta. `params` go into the body of a POST, and else into the query.
    #[tracing::instrument(name = "threads_graph", level = "debug", skip_all, fields(call = call.as_str()))]
    #[expect(clippy::disallowed_methods, reason = "this is Meta's one send path")]
    async fn send(
        &self,
        call: Call,
        method: Method,
        mut url: Url,
        params: &[(&str, &str)],
    ) -> Result<Answer, Error> {
        let client = self.http.inner();
        let request = if method == Method::POST {
            let form = form_urlencoded::Serializer::new(String::new()).extend_pairs(params).finish();
            client.post(url).header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(form)
        } else {
            url.query_pairs_mut().extend_pairs(params);
            client.request(method, url)
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
        // Allocated for the largest token response at once, because growing would leave copies.
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

/// A success by the HTTP status and the envelope.
struct Answer {
    call: Call,
    status: u16,
    json: Json,
}

impl Answer {
    fn deserialize<T: DeserializeOwned>(&self) -> Result<T, Error> {
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

    /// The names of the members, except those that are not plausible names.
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
