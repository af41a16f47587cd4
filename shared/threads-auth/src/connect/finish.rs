//! The end of a connect: from Meta's callback to a stored grant.
//!
//! Owns the order of things. Meta is called only for a callback that belongs to a flow of the same
//! browser. Nothing is written before Meta has vouched for the code, and then everything in one
//! transaction. Refuses to repeat anything that Meta or the browser says in free text.

use jiff::Timestamp;
use threads_auth_model::rules::{Commit, NewConsent, NewGrant};
use threads_auth_model::seal::{self, Purpose, random_text};
use threads_auth_model::{Effect, SessionState, SessionStatus, Vault, error_chain, schedule};
use threads_auth_store::{CommitOutcome, Connected as Stored, StoreError, persist};
use threads_graph::{
    AccessToken, AuthorizationCode, CallbackParams, DenialReason, ErrorKind, LongLivedToken, ShortLivedToken,
    UserId, parse_callback,
};

use super::error::{ConnectError, ConnectOutcome, ConnectRefusal};
use super::flow::{Flow, NoFlow};
use crate::clients::Clients;
use crate::inspection::{Inspection, is_taken};
use crate::new_grant::new_grant;
use crate::stopwatch::Stopwatch;

/// Meta's short-lived tokens live for an hour, which its answer does not say.
const SHORT_LIVED_SECONDS: i64 = 3_600;

/// So many ends are asked about in one connect; then it counts as ended.
const MOST_ENDS: usize = 3;

/// Where a finished flow goes.
#[derive(Debug)]
pub struct Connected {
    /// The app's page from the allowlist, or ours: never a URL that holds a code.
    pub location: String,
    /// Whose account it is.
    pub user_id: UserId,
    /// [`ConnectOutcome::Connected`], or [`ConnectOutcome::Finishing`] if only the short-lived
    /// token is there so far.
    pub outcome: ConnectOutcome,
}

/// Finishes a flow: the request `GET /callback?raw_query` from a browser with these `Cookie`
/// headers.
pub(crate) async fn finish(
    clients: &Clients,
    raw_query: &str,
    cookies: &[&str],
    now: Timestamp,
) -> Result<Connected, ConnectRefusal> {
    let watch = Stopwatch::start(now, clients.config.work_time());
    let params = parse_callback(raw_query).map_err(ConnectError::Callback)?;
    let vault = clients.vault(now).await.map_err(ConnectError::Secrets)?;
    let (kind, keyring, app_id) = (clients.config.cookie_kind(), &vault.keyring, vault.app_id());
    let resume = |state: &str| {
        let flow = Flow::resume(kind, keyring, app_id, cookies, state, now);
        flow.map_err(|no_flow| match no_flow {
            NoFlow::WrongBrowser => ConnectError::WrongBrowser,
            NoFlow::Expired => ConnectError::Expired,
        })
    };
    match params {
        CallbackParams::Denied { state: Some(state), reason } => {
            Err(denied(clients, &resume(&state)?, reason).await)
        }
        // Meta is known to leave the state out of a denial. Nothing hangs on it: a denied session
        // can still be connected, so a forged denial changes nothing.
        CallbackParams::Denied { state: None, reason } => {
            match Flow::only(kind, keyring, app_id, cookies, now) {
                Some(flow) => Err(denied(clients, &flow, reason).await),
                None => Err(ConnectError::Denied.into()),
            }
        }
        CallbackParams::Failed { state, code } => {
            let flow = match &state {
                Some(state) => Some(resume(state)?),
                None => Flow::only(kind, keyring, app_id, cookies, now),
            };
            let reason = ConnectError::ThreadsFailed(code);
            let Some(flow) = flow else {
                return Err(reason.into());
            };
            note(clients, &flow, SessionStatus::Failed, reason.outcome().as_str()).await;
            Err(reason.in_flow(&flow))
        }
        CallbackParams::Granted { code, state } => {
            let flow = resume(&state)?;
            let granted = granted(clients, &vault, &flow, &code, watch).await;
            clients.count_calls(1, now).await;
            if let Err(reason) = &granted
                // Whoever comes after a success does not speak for the session any more.
                && !matches!(reason, ConnectError::Replayed | ConnectError::SessionClosed)
            {
                note(clients, &flow, SessionStatus::Failed, reason.outcome().as_str()).await;
            }
            granted.map_err(|reason| reason.in_flow(&flow))
        }
    }
}

async fn denied(clients: &Clients, flow: &Flow, reason: DenialReason) -> ConnectRefusal {
    note(clients, flow, SessionStatus::Denied, reason.as_str()).await;
    ConnectError::Denied.in_flow(flow)
}

/// Lets the app's backend know how an attempt in its session ended. The person is told in any case.
async fn note(clients: &Clients, flow: &Flow, status: SessionStatus, reason: &str) {
    if let Some(id) = &flow.session_id
        && let Err(error) = clients.store.write(&SessionState::note(id, status, reason)).await
    {
        tracing::warn!(error = error_chain(&error), "the end of an attempt could not be noted");
    }
}

async fn granted(
    clients: &Clients,
    vault: &Vault,
    flow: &Flow,
    code: &AuthorizationCode,
    watch: Stopwatch,
) -> Result<Connected, ConnectError> {
    let (state_hash, now) = (seal::hash(&flow.state), watch.started_at());
    if clients.store.is_spent(&state_hash).await? {
        return Err(ConnectError::Replayed);
    }
    let short = exchange_code(clients, vault, code, &state_hash, watch).await?;
    let user_id = &match short.user_id {
        Some(user_id) => user_id,
        // The token knows whose it is, and the code is spent: no other answer is to be had.
        None => whose(clients, &short.access_token, watch).await.map_err(ConnectError::Threads)?,
    };
    if flow.user_id.as_ref().is_some_and(|expected| expected != user_id) {
        return Err(ConnectError::WrongAccount);
    }
    let grant_id = random_text::<16>()?;
    let completion = random_text::<32>()?;
    let completion_hash = seal::hash(&completion);
    let session = flow.session_id.as_deref();
    let close = session.map(|id| SessionState::connect(id, user_id, &completion_hash, now));
    let tombstone = vault.tombstone(user_id);
    let commit = Commit {
        grant_id: &grant_id,
        state_hash: &state_hash,
        begun_at: flow.began_at,
        tombstone: &tombstone,
        seen: None,
        session: close.as_ref(),
        now,
    };
    let (committed, outcome) = match exchange_long_lived(clients, vault, &short.access_token, watch).await {
        Ok(long) => {
            let inspection = if watch.elapsed() < clients.config.extras_time() {
                Inspection::of(clients, vault, &long.access_token, &flow.scopes, now).await
            } else {
                Inspection::assumed(&flow.scopes)
            };
            if inspection.user_id.as_ref().is_some_and(|told| told != user_id) {
                return Err(ConnectError::Contradiction);
            }
            let begun_at = Some(flow.began_at);
            let grant =
                NewGrant { begun_at, ..new_grant(vault, user_id, &grant_id, &long, inspection, now)? };
            let stored = |doubt| Stored::Grant(&grant, doubt);
            let committed = store(clients, commit, stored, &long.access_token, watch).await?;
            (committed, ConnectOutcome::Connected)
        }
        Err(error) => {
            tracing::warn!(user.id = %user_id, error = error_chain(&error), "the second exchange failed; a sweep completes it");
            let consent = NewConsent {
                user_id,
                grant_id: &grant_id,
                begun_at: flow.began_at,
                sealed: vault.seal(Purpose::PendingToken, user_id, &short.access_token)?,
                scopes: &flow.scopes,
                expires_at: schedule::add(now, SHORT_LIVED_SECONDS),
            };
            // The next sweep asks Meta for the long-lived token in any case.
            let stored = |_| Stored::Consent(&consent);
            let committed = store(clients, commit, stored, &short.access_token, watch).await?;
            (committed, ConnectOutcome::Finishing)
        }
    };
    match committed {
        CommitOutcome::Committed => Ok(Connected {
            location: destination(clients, flow, &completion, outcome),
            user_id: user_id.clone(),
            outcome,
        }),
        CommitOutcome::Replayed => Err(ConnectError::Replayed),
        CommitOutcome::Ended(ends) if ends.on(flow.began_at) == Effect::Deleted => Err(ConnectError::Deleted),
        CommitOutcome::Ended(_) | CommitOutcome::Superseded => Err(ConnectError::Ended),
        CommitOutcome::SessionClosed => Err(ConnectError::SessionClosed),
    }
}

/// Commits a connect. From the moment that a code is spent, nothing matters more than keeping what
/// it bought; but an end that came meanwhile is asked about, and Meta's word on `token` decides. If
/// Meta gives none, the token is kept and looked at soon.
async fn store<'a>(
    clients: &Clients,
    commit: Commit<'_>,
    stored: impl Fn(Option<Timestamp>) -> Stored<'a>,
    token: &AccessToken,
    watch: Stopwatch,
) -> Result<CommitOutcome, StoreError> {
    let first = async || clients.store.commit_connect(commit, stored(None)).await;
    let mut outcome = persist(watch.deadline(), first).await?;
    // Each end that comes while Meta is asked about another is asked about once more.
    for _ in 0..MOST_ENDS {
        let CommitOutcome::Ended(ends) = outcome else { break };
        if ends.on(commit.begun_at) != Effect::Doubtful {
            break;
        }
        let is_taken = is_taken(clients, token).await;
        if is_taken == Some(false) {
            break;
        }
        let doubt = is_taken.is_none().then(|| schedule::doubted_at(commit.now));
        let commit = Commit { seen: Some(&ends), ..commit };
        let again = async || clients.store.commit_connect(commit, stored(doubt)).await;
        outcome = persist(watch.deadline(), again).await?;
    }
    Ok(outcome)
}

async fn exchange_code(
    clients: &Clients,
    vault: &Vault,
    code: &AuthorizationCode,
    state_hash: &str,
    watch: Stopwatch,
) -> Result<ShortLivedToken, ConnectError> {
    let exchange = || clients.graph.exchange_code(&vault.app.credentials, code, &clients.redirect_uri);
    let mut first = exchange().await;
    // If it was only the answer that got lost, Meta now says that the code was used; the person is
    // told what is true either way, that Threads was not reachable. After an answer that makes no
    // sense the code is spent, and is not sent again.
    if let Err(error) = &first
        && matches!(error.kind(), ErrorKind::Transient | ErrorKind::Throttled { .. })
        && watch.elapsed() < clients.config.extras_time()
        && let Ok(short) = exchange().await
    {
        first = Ok(short);
    }
    match first {
        Ok(short) => Ok(short),
        // Two callbacks of one flow at once: the other one was first.
        Err(error)
            if *error.kind() == ErrorKind::CodeUnusable && clients.store.is_spent(state_hash).await? =>
        {
            Err(ConnectError::Replayed)
        }
        Err(error) => Err(ConnectError::Threads(error)),
    }
}

/// Whose token it is, by Meta's answer to a call with it.
async fn whose(
    clients: &Clients,
    token: &AccessToken,
    watch: Stopwatch,
) -> Result<UserId, threads_graph::Error> {
    let profile = match clients.graph.me(token).await {
        Err(error) if error.kind().is_retryable() && watch.elapsed() < clients.config.extras_time() => {
            clients.graph.me(token).await
        }
        first => first,
    };
    profile.map(|profile| profile.id)
}

async fn exchange_long_lived(
    clients: &Clients,
    vault: &Vault,
    short: &AccessToken,
    watch: Stopwatch,
) -> Result<LongLivedToken, threads_graph::Error> {
    let exchange = || clients.graph.exchange_long_lived(vault.app_secret(), short);
    match exchange().await {
        Err(error) if error.kind().is_retryable() && watch.elapsed() < clients.config.extras_time() => {
            exchange().await
        }
        first => first,
    }
}

fn destination(clients: &Clients, flow: &Flow, completion: &str, outcome: ConnectOutcome) -> String {
    let return_to = flow.return_to.as_deref();
    let return_to = return_to.and_then(|url| clients.config.return_to.check(url).ok());
    match (return_to, &flow.session_id) {
        (Some(url), Some(id)) => url.with(&[("session_id", id), ("completion", completion)]).into(),
        (Some(url), None) => url.with(&[("status", outcome.as_str())]).into(),
        (None, _) => format!("/{outcome}"),
    }
}
