//! Connecting an account: from a person's wish to a stored grant.
//!
//! Owns the order of things. [`start`](ThreadsAuth::start) writes nothing. [`finish`](ThreadsAuth::finish) calls Meta only for a
//! callback that belongs to a flow of the same browser, writes only after Meta has vouched for the code, and then stores
//! everything in one transaction. Refuses to repeat anything that Meta or the browser says in free text.

use std::time::Duration;

use jiff::Timestamp;
use threads_graph::{
    AccessToken, AuthorizationCode, CallbackError, CallbackParams, DenialReason, ErrorKind, LongLivedToken,
    Scopes, ShortLivedToken, UserId, parse_callback,
};
use tokio::time::Instant;
use url::{Url, form_urlencoded};

use crate::ThreadsAuth;
use crate::config::AuthorizeAccess;
use crate::flow::{Flow, NoFlow, state_hash};
use crate::schedule;
use crate::seal::{Purpose, SealError, random_text};
use crate::secrets::SecretsError;
use crate::sessions::is_session_id;
use crate::store::{Access, Finish, Finished, NewGrant, NewPending, Outcome, SessionStatus, StoreError};
use crate::vault::Vault;

/// Meta's short-lived tokens live for an hour, which its answer does not say.
const SHORT_LIVED_SECONDS: i64 = 3_600;

/// Where a started flow goes.
#[derive(Debug)]
pub struct Started {
    /// Meta's authorization page.
    pub location: Url,
    /// The `Set-Cookie` headers.
    pub cookies: Vec<String>,
}

/// Where a finished flow goes.
#[derive(Debug)]
pub struct Connected {
    /// The app's page from the allowlist, or ours: never a URL that holds a code.
    pub location: String,
    /// Whose account it is.
    pub user_id: UserId,
    /// Whether only the short-lived token is there so far.
    pub pending: bool,
}

/// Why a flow did not start or finish, and how the person gets back.
#[derive(Debug, thiserror::Error)]
#[error("{reason}")]
pub struct Refused {
    /// Why.
    #[source]
    pub reason: Reason,
    /// The flow that it ended, if there was one.
    pub flow: Option<Box<Flow>>,
}

/// Why a flow did not start or finish.
#[derive(Debug, thiserror::Error)]
pub enum Reason {
    /// The link's query has a parameter twice, or one that does not make sense.
    #[error("the link is malformed")]
    BadLink,
    /// The destination is not on the allowlist.
    #[error("the return address is not on the allowlist")]
    ReturnTo,
    /// Only an app's backend can start a flow here.
    #[error("a connect session is required")]
    SessionRequired,
    /// There is no such session.
    #[error("the session is unknown")]
    SessionUnknown,
    /// The session was used before.
    #[error("the session is closed")]
    SessionClosed,
    /// The session's time is over.
    #[error("the session is expired")]
    SessionExpired,
    /// The callback's query is malformed or ambiguous.
    #[error("the callback is malformed")]
    Callback(#[source] CallbackError),
    /// This browser did not start the flow.
    #[error("the callback belongs to no flow of this browser")]
    WrongBrowser,
    /// The person took too long.
    #[error("the flow is expired")]
    Expired,
    /// The flow was finished before.
    #[error("the state was used before")]
    Replayed,
    /// The person refused, or Meta did.
    #[error("consent was denied")]
    Denied,
    /// Another account came back than the one that was asked for.
    #[error("another account came back")]
    WrongAccount,
    /// The account's data was deleted while the person was at Meta.
    #[error("the account was deleted meanwhile")]
    Deleted,
    /// Meta refused.
    #[error("Threads refused")]
    Threads(#[source] threads_graph::Error),
    /// The secrets are not to be had.
    #[error("secrets are not available")]
    Secrets(#[from] SecretsError),
    /// The store failed.
    #[error("the store failed")]
    Store(#[from] StoreError),
    /// Sealing failed.
    #[error("sealing failed")]
    Seal(#[from] SealError),
}

/// How a connect ended: one name in logs, in metrics, in its session and on its page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ConnectOutcome {
    /// The account is connected.
    Connected,
    /// Threads has agreed, and the last step is being retried in the background.
    Finishing,
    /// The person, or Meta, said no. Nothing was stored.
    Denied,
    /// It took more than ten minutes.
    Expired,
    /// The state was spent before.
    Replayed,
    /// The browser that came back is not known to have started.
    WrongBrowser,
    /// Another Threads account came back than the one that was expected.
    WrongAccount,
    /// The link or the callback is malformed.
    BadLink,
    /// Threads no longer accepted its own code.
    CodeRefused,
    /// The address to return to is not on the allowlist.
    ReturnToRefused,
    /// A connection has to start from the app.
    SessionRequired,
    /// No such connect session.
    SessionUnknown,
    /// The connect session was used before.
    SessionClosed,
    /// The connect session is too old.
    SessionExpired,
    /// Meta is down or throttles us.
    ThreadsUnavailable,
    /// Our own store or secrets are out of reach.
    Unavailable,
    /// The app's settings at Meta are wrong.
    Misconfigured,
}

impl ConnectOutcome {
    /// A stable name, in `snake_case`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Connected => "connected",
            Self::Finishing => "finishing",
            Self::Denied => "denied",
            Self::Expired => "expired",
            Self::Replayed => "replayed",
            Self::WrongBrowser => "wrong_browser",
            Self::WrongAccount => "wrong_account",
            Self::BadLink => "bad_link",
            Self::CodeRefused => "code_refused",
            Self::ReturnToRefused => "return_to_refused",
            Self::SessionRequired => "session_required",
            Self::SessionUnknown => "session_unknown",
            Self::SessionClosed => "session_closed",
            Self::SessionExpired => "session_expired",
            Self::ThreadsUnavailable => "threads_unavailable",
            Self::Unavailable => "unavailable",
            Self::Misconfigured => "misconfigured",
        }
    }
}

impl Connected {
    /// How the connect ended.
    #[must_use]
    pub fn outcome(&self) -> ConnectOutcome {
        if self.pending {
            ConnectOutcome::Finishing
        } else {
            ConnectOutcome::Connected
        }
    }
}

impl Reason {
    /// How the connect ended.
    #[must_use]
    pub fn outcome(&self) -> ConnectOutcome {
        match self {
            Self::BadLink | Self::Callback(_) => ConnectOutcome::BadLink,
            Self::ReturnTo => ConnectOutcome::ReturnToRefused,
            Self::SessionRequired => ConnectOutcome::SessionRequired,
            Self::SessionUnknown => ConnectOutcome::SessionUnknown,
            Self::SessionClosed => ConnectOutcome::SessionClosed,
            Self::SessionExpired => ConnectOutcome::SessionExpired,
            Self::WrongBrowser => ConnectOutcome::WrongBrowser,
            Self::Expired | Self::Deleted => ConnectOutcome::Expired,
            Self::Replayed => ConnectOutcome::Replayed,
            Self::Denied => ConnectOutcome::Denied,
            Self::WrongAccount => ConnectOutcome::WrongAccount,
            Self::Threads(error) => match error.kind() {
                ErrorKind::Transient | ErrorKind::Throttled { .. } | ErrorKind::Malformed => {
                    ConnectOutcome::ThreadsUnavailable
                }
                ErrorKind::Configuration(_) => ConnectOutcome::Misconfigured,
                ErrorKind::CodeUnusable
                | ErrorKind::NeedsReauthorization(_)
                | ErrorKind::Permission
                | ErrorKind::TooYoung
                | ErrorKind::Rejected => ConnectOutcome::CodeRefused,
            },
            Self::Secrets(SecretsError::Unreachable { .. }) | Self::Store(_) | Self::Seal(_) => {
                ConnectOutcome::Unavailable
            }
            Self::Secrets(_) => ConnectOutcome::Misconfigured,
        }
    }
}

impl From<Reason> for Refused {
    fn from(reason: Reason) -> Self {
        Self { reason, flow: None }
    }
}

impl Reason {
    fn in_flow(self, flow: &Flow) -> Refused {
        Refused {
            reason: self,
            flow: Some(Box::new(flow.clone())),
        }
    }
}

/// The parameters of `/authorize`.
#[derive(Debug, Default)]
struct StartParams {
    session: Option<String>,
    return_to: Option<String>,
    scopes: Option<Scopes>,
}

impl StartParams {
    /// Each parameter at most once; what is unknown is refused, because a misspelt `return_to` should not go unnoticed.
    fn parse(raw_query: &str) -> Result<Self, Reason> {
        let mut params = Self::default();
        for (name, value) in form_urlencoded::parse(raw_query.as_bytes()) {
            let value = value.into_owned();
            let repeated = match name.as_ref() {
                "session" if is_session_id(&value) => params.session.replace(value).is_some(),
                "return_to" => params.return_to.replace(value).is_some(),
                "scopes" => params
                    .scopes
                    .replace(value.parse().map_err(|_| Reason::BadLink)?)
                    .is_some(),
                _ => return Err(Reason::BadLink),
            };
            if repeated {
                return Err(Reason::BadLink);
            }
        }
        // A session says all of it: whoever holds its URL must not be able to bend it.
        if params.session.is_some() && (params.return_to.is_some() || params.scopes.is_some()) {
            return Err(Reason::BadLink);
        }
        Ok(params)
    }
}

impl ThreadsAuth {
    /// Starts a flow: the request `GET /authorize?raw_query` from a browser with these `Cookie` headers.
    ///
    /// # Errors
    /// When the request is malformed or not allowed, or the secrets or the store are not available.
    pub async fn start(&self, raw_query: &str, cookies: &[&str], now: Timestamp) -> Result<Started, Refused> {
        let params = StartParams::parse(raw_query)?;
        if params.session.is_none() && self.config.authorize_access == AuthorizeAccess::Session {
            return Err(Reason::SessionRequired.into());
        }
        if let Some(return_to) = &params.return_to {
            self.config
                .return_to
                .check(return_to)
                .map_err(|_| Reason::ReturnTo)?;
        }
        let mut flow = Flow::begin(params.scopes.unwrap_or_else(|| self.config.scopes.clone()), now)
            .map_err(Reason::Seal)?;
        flow.return_to = params.return_to;
        if let Some(id) = params.session {
            let session = self
                .store
                .session(&id)
                .await
                .map_err(Reason::Store)?
                .ok_or(Reason::SessionUnknown)?;
            if session.status == SessionStatus::Connected {
                return Err(Reason::SessionClosed.into());
            }
            if session.expires_at <= now {
                return Err(Reason::SessionExpired.into());
            }
            flow.scopes = session.scopes.unwrap_or(flow.scopes);
            flow.return_to = session.return_to;
            flow.user_id = session.user_id;
            flow.session_id = Some(id);
        }
        let vault = self.vault(now).await.map_err(Reason::Secrets)?;
        let cookies = flow
            .set_cookies(self.cookie_kind(), &vault.keyring, &vault.app.app_id, cookies)
            .map_err(Reason::Seal)?;
        let location =
            self.graph
                .authorization_url(&vault.app.app_id, &self.redirect_uri, &flow.scopes, &flow.state);
        Ok(Started { location, cookies })
    }

    /// Finishes a flow: the request `GET /callback?raw_query` from a browser with these `Cookie` headers.
    ///
    /// # Errors
    /// When the callback is malformed, foreign, late or repeated, consent was denied, or Meta, the secrets or the store fail.
    pub async fn finish(
        &self,
        raw_query: &str,
        cookies: &[&str],
        now: Timestamp,
    ) -> Result<Connected, Refused> {
        let began = Instant::now();
        let params = parse_callback(raw_query).map_err(Reason::Callback)?;
        let vault = self.vault(now).await.map_err(Reason::Secrets)?;
        let resume = |state: &str| {
            let flow = Flow::resume(
                self.cookie_kind(),
                &vault.keyring,
                &vault.app.app_id,
                cookies,
                state,
                now,
            );
            flow.map_err(|no_flow| match no_flow {
                NoFlow::WrongBrowser => Reason::WrongBrowser,
                NoFlow::Expired => Reason::Expired,
            })
        };
        match params {
            CallbackParams::Denied {
                state: Some(state),
                reason,
            } => Err(self.denied(resume(&state)?, reason).await),
            // Meta is known to leave the state out of a denial. Nothing hangs on it: a denied session can still be
            // connected, so a forged denial changes nothing.
            CallbackParams::Denied { state: None, reason } => {
                match Flow::only(
                    self.cookie_kind(),
                    &vault.keyring,
                    &vault.app.app_id,
                    cookies,
                    now,
                ) {
                    Some(flow) => Err(self.denied(flow, reason).await),
                    None => Err(Reason::Denied.into()),
                }
            }
            CallbackParams::Granted { code, state } => {
                let flow = resume(&state)?;
                match self.granted(&vault, &flow, &code, now, began).await {
                    Ok(connected) => Ok(connected),
                    Err(reason) => {
                        // Whoever comes after a success does not speak for the session any more.
                        if !matches!(reason, Reason::Replayed | Reason::SessionClosed) {
                            let class = reason.outcome().as_str();
                            self.note(&flow, SessionStatus::Failed, class).await;
                        }
                        Err(reason.in_flow(&flow))
                    }
                }
            }
        }
    }

    async fn denied(&self, flow: Flow, reason: DenialReason) -> Refused {
        self.note(&flow, SessionStatus::Denied, reason.as_str()).await;
        Reason::Denied.in_flow(&flow)
    }

    /// Lets the app's backend know how an attempt in its session ended. The person is told in any case.
    async fn note(&self, flow: &Flow, status: SessionStatus, reason: &str) {
        if let Some(id) = &flow.session_id
            && let Err(error) = self.store.note_session(id, status, reason).await
        {
            tracing::warn!(
                error = crate::error_chain(&error),
                "the end of an attempt could not be noted"
            );
        }
    }

    async fn granted(
        &self,
        vault: &Vault,
        flow: &Flow,
        code: &AuthorizationCode,
        now: Timestamp,
        began: Instant,
    ) -> Result<Connected, Reason> {
        let state_hash = state_hash(&flow.state);
        if self.store.is_spent(&state_hash).await? {
            return Err(Reason::Replayed);
        }
        let short = self.exchange_code(vault, code, &state_hash, began).await?;
        let user_id = &short.user_id;
        if flow.user_id.as_ref().is_some_and(|expected| expected != user_id) {
            return Err(Reason::WrongAccount);
        }
        let tombstone = vault.tombstone(user_id);
        let grant_id = random_text::<16>()?;
        let completion = random_text::<32>()?;
        let completion_hash = crate::flow::state_hash(&completion);
        let finish = Finish {
            state_hash: &state_hash,
            began_at: flow.began_at,
            tombstone: &tombstone,
            session: flow
                .session_id
                .as_deref()
                .map(|id| (id, completion_hash.as_str())),
            now,
        };
        let long = self.exchange_long_lived(vault, &short.access_token, began).await;
        let pending = long.is_err();
        let finished = match long {
            Ok(long) => {
                let told = if began.elapsed() < self.config.extras_time() {
                    self.told(&long.access_token, &flow.scopes).await
                } else {
                    Told::nothing_but(&flow.scopes)
                };
                let grant = new_grant(vault, user_id, &grant_id, &long, &told, now)?;
                self.store_finish(finish, Outcome::Connected(&grant), began)
                    .await?
            }
            Err(error) => {
                tracing::warn!(user.id = %user_id, error = crate::error_chain(&error), "the second exchange failed; a sweep completes it");
                let grant = NewPending {
                    user_id,
                    grant_id: &grant_id,
                    sealed: vault.seal(Purpose::PendingToken, user_id, &short.access_token)?,
                    scopes: flow.scopes.to_string(),
                    expires_at: schedule::add(now, SHORT_LIVED_SECONDS),
                };
                self.store_finish(finish, Outcome::Pending(&grant), began).await?
            }
        };
        match finished {
            Finished::Committed => {}
            Finished::Replayed => return Err(Reason::Replayed),
            Finished::Deleted => return Err(Reason::Deleted),
            Finished::SessionClosed => return Err(Reason::SessionClosed),
        }
        let location = self.destination(flow, &completion, pending);
        Ok(Connected {
            location,
            user_id: short.user_id,
            pending,
        })
    }

    async fn exchange_code(
        &self,
        vault: &Vault,
        code: &AuthorizationCode,
        state_hash: &str,
        began: Instant,
    ) -> Result<ShortLivedToken, Reason> {
        let exchange = || self.graph.exchange_code(&vault.app, code, &self.redirect_uri);
        let mut first = exchange().await;
        // If it was only the answer that got lost, Meta now says that the code was used; the person is told what is true
        // either way, that Threads was not reachable.
        if let Err(error) = &first
            && error.kind().is_retryable()
            && began.elapsed() < self.config.extras_time()
            && let Ok(short) = exchange().await
        {
            first = Ok(short);
        }
        match first {
            Ok(short) => Ok(short),
            // Two callbacks of one flow at once: the other one was first.
            Err(error)
                if *error.kind() == ErrorKind::CodeUnusable && self.store.is_spent(state_hash).await? =>
            {
                Err(Reason::Replayed)
            }
            Err(error) => Err(Reason::Threads(error)),
        }
    }

    async fn exchange_long_lived(
        &self,
        vault: &Vault,
        short: &AccessToken,
        began: Instant,
    ) -> Result<LongLivedToken, threads_graph::Error> {
        let first = self.graph.exchange_long_lived(&vault.app.app_secret, short).await;
        match first {
            Err(error) if error.kind().is_retryable() && began.elapsed() < self.config.extras_time() => {
                self.graph.exchange_long_lived(&vault.app.app_secret, short).await
            }
            first => first,
        }
    }

    /// What Meta tells of a new token beside it. All of it is good to have, and a connect never fails for it.
    pub(crate) async fn told(&self, token: &AccessToken, asked: &Scopes) -> Told {
        let (profile, access) = futures_util::future::join(self.graph.me(token), self.access(token)).await;
        let username = match profile {
            Ok(profile) => profile.username,
            Err(error) => {
                tracing::warn!(
                    error = crate::error_chain(&error),
                    "the profile could not be read"
                );
                None
            }
        };
        Told {
            username,
            access: access.unwrap_or_else(|| Told::nothing_but(asked).access),
        }
    }

    /// What Meta tells of a token's grant: nothing, if it does not, or if it says that the token is no good, which is for a
    /// refresh to find out.
    pub(crate) async fn access(&self, token: &AccessToken) -> Option<Access> {
        let info = match self.graph.debug_token(token, token).await {
            Ok(info) => info,
            Err(error) => {
                tracing::warn!(
                    error = crate::error_chain(&error),
                    "a token could not be inspected"
                );
                return None;
            }
        };
        let scopes = info.granted();
        let told = !scopes.is_empty() && (info.is_valid || info.data_access_expires_at.is_some());
        told.then_some(Access {
            scopes,
            data_access_expires_at: info.data_access_expires_at,
        })
    }

    async fn store_finish(
        &self,
        finish: Finish<'_>,
        outcome: Outcome<'_>,
        began: Instant,
    ) -> Result<Finished, StoreError> {
        // From the moment that a code is spent, nothing matters more than keeping what it bought.
        persist(began + self.config.work_time(), || {
            self.store.finish(finish, outcome)
        })
        .await
    }

    fn destination(&self, flow: &Flow, completion: &str, pending: bool) -> String {
        let status = if pending { "finishing" } else { "connected" };
        let return_to = flow
            .return_to
            .as_deref()
            .and_then(|url| self.config.return_to.check(url).ok());
        match (return_to, &flow.session_id) {
            (Some(url), Some(id)) => url.with(&[("session_id", id), ("completion", completion)]).into(),
            (Some(url), None) => url.with(&[("status", status)]).into(),
            (None, _) => format!("/{status}"),
        }
    }
}

/// What Meta told of a new token beside it.
pub(crate) struct Told {
    username: Option<String>,
    access: Access,
}

impl Told {
    fn nothing_but(scopes: &Scopes) -> Self {
        Self {
            username: None,
            access: Access {
                scopes: scopes.clone(),
                data_access_expires_at: None,
            },
        }
    }
}

/// A grant as a connect stores it.
pub(crate) fn new_grant<'a>(
    vault: &Vault,
    user_id: &'a UserId,
    grant_id: &'a str,
    token: &LongLivedToken,
    told: &'a Told,
    issued_at: Timestamp,
) -> Result<NewGrant<'a>, SealError> {
    let expires_at = expiry(issued_at, token);
    let data_access_expires_at = told.access.data_access_expires_at;
    let token_due = schedule::due_at(user_id, issued_at, expires_at);
    Ok(NewGrant {
        user_id,
        grant_id,
        sealed: vault.seal(Purpose::AccessToken, user_id, &token.access_token)?,
        scopes: told.access.scopes.to_string(),
        username: told.username.as_deref(),
        issued_at,
        expires_at,
        data_access_expires_at,
        expiry_assumed: false,
        due_at: schedule::next_look(token_due, data_access_expires_at, issued_at),
    })
}

/// When a token expires that was asked for at `asked_at`: Meta's own figure, never a constant.
pub(crate) fn expiry(asked_at: Timestamp, token: &LongLivedToken) -> Timestamp {
    schedule::add(
        asked_at,
        i64::try_from(token.expires_in.as_secs()).unwrap_or(i64::MAX),
    )
}

/// Writes until it is written or `deadline` comes: what Meta has issued exists only here.
pub(crate) async fn persist<T, F>(deadline: Instant, mut write: impl FnMut() -> F) -> Result<T, StoreError>
where
    F: Future<Output = Result<T, StoreError>>,
{
    let mut pause = Duration::from_millis(50);
    loop {
        match write().await {
            Err(StoreError::Unavailable { code, operation, .. }) if Instant::now() + pause < deadline => {
                tracing::warn!(code, operation, "DynamoDB failed; trying again");
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(Duration::from_secs(2));
            }
            result => return result,
        }
    }
}
