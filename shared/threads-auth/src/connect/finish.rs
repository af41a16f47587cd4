//! The end of a connect: from Meta's callback to a stored grant.
//! Owns the order of the steps. Meta is called only for a callback that belongs to a flow of the
//! same browser. Nothing is written before Meta has accepted the code, and then everything in one
//! transaction. A failure is recorded in its session only. Never repeats free text of Meta or of
//! the browser.

use std::time::Duration;

use futures_util::future::try_join;
use jiff::Timestamp;
use threads_auth_model::rules::{Commit, NewConsent, NewGrant};
use threads_auth_model::schedule::Life;
use threads_auth_model::seal::{self, Keyring, Purpose, random_text};
use threads_auth_model::{
    Attempt, Effect, Pseudonym, Session, SessionState, SessionStatus, Vault, error_chain, schedule,
};
use threads_auth_store::{Backoff, ClosedSession, CommitOutcome, Connected as Stored, StoreError, persist};
use threads_graph::{
    AccessToken, AuthorizationCode, CallbackParams, ErrorKind, LongLivedToken, Scopes, ShortLivedToken,
    State, UserId, parse_callback,
};

use super::error::{ConnectError, ConnectOutcome, ConnectRefusal};
use super::flow::{Flow, ResumeError};
use super::session::{admit, read};
use super::way_back::{self, location};
use crate::clients::Clients;
use crate::inspection::{Inspection, inspect, is_accepted};
use crate::new_grant::new_grant;
use crate::stopwatch::Stopwatch;

/// Lifetime of a short-lived token, in seconds. Meta's response does not contain it.
const SHORT_LIVED_SECONDS: i64 = 3_600;

/// Polls for the end of another callback of the same flow: six times within three seconds.
const CONCURRENT_CALLBACK: Backoff =
    Backoff { next: Duration::from_millis(100), factor: 2, longest: Duration::from_millis(3_200) };

/// Maximum number of ends that one connect checks at Meta. After more, the account counts as ended.
const MAX_END_CHECKS: usize = 3;

/// The redirect that ends a flow.
#[derive(Debug)]
pub struct Connected {
    /// The app's page from the allowlist, or our own. Never contains an authorization code.
    pub location: String,
    /// Id of the connected account.
    pub user_id: UserId,
    /// Name of the account in logs.
    pub pseudonym: Option<Pseudonym>,
    /// [`ConnectOutcome::Connected`]; [`ConnectOutcome::Finishing`] if the long-lived exchange is
    /// still to be done; or [`ConnectOutcome::Replayed`] if the same browser has repeated its
    /// callback.
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
    let mut finished = handle_callback(clients, raw_query, cookies, now).await;
    if let Err(refusal) = &mut finished
        && !refusal.is_repeatable()
        && let ConnectRefusal { flow: Some(flow), cookies, .. } = refusal
        && flow.is_alive(now)
        && let Ok(vault) = clients.vault(now).await
    {
        let cookie = flow.show_end(clients.config.cookie_kind(), &vault.keyring, vault.app_id(), now);
        // Without this cookie, a later denial could belong to either of two flows.
        cookies.extend(cookie);
    }
    finished
}

async fn handle_callback(
    clients: &Clients,
    raw_query: &str,
    cookies: &[&str],
    now: Timestamp,
) -> Result<Connected, ConnectRefusal> {
    let watch = Stopwatch::start(now, clients.config.work_time());
    let params = parse_callback(raw_query).map_err(ConnectError::Callback)?;
    let vault = clients.vault(now).await.map_err(ConnectError::Secrets)?;
    let (kind, keyring, app_id) = (clients.config.cookie_kind(), &vault.keyring, vault.app_id());
    let with = |keyring: &Keyring, state: &State| Flow::resume(kind, keyring, app_id, cookies, state, now);
    let resume = async |state: &State| {
        let mut resumed = with(keyring, state);
        if let Err(ResumeError::UnknownKey) = resumed {
            // The key may be newer than the cached keyring.
            let newest = clients.secrets.reread_keyring(now).await.map_err(ConnectError::Secrets)?;
            resumed = with(&newest, state);
        }
        match resumed {
            // A repeated callback of a finished flow is a replay, not a late arrival.
            Err(ResumeError::Expired(flow)) if has_connected(clients, &vault, &flow).await => {
                Err(ConnectError::Replayed.in_flow(&flow))
            }
            resumed => resumed.map_err(ConnectRefusal::from),
        }
    };
    let (reason, state) = match params {
        CallbackParams::Denied { state, reason } => (ConnectError::Denied(reason), state),
        CallbackParams::Failed { state, code } => (ConnectError::ThreadsFailed(code), state),
        CallbackParams::Granted { code, state } => {
            let flow = match resume(&state).await {
                Err(ConnectRefusal { reason: ConnectError::Replayed, flow: Some(flow), .. }) => {
                    let known = repeat_redirect(clients, &vault, &flow, watch).await;
                    return known.map_err(|reason| reason.in_flow(&flow));
                }
                resumed => resumed?,
            };
            let granted = match connect_account(clients, &vault, &flow, &code, watch).await {
                // A concurrent callback of this flow may have finished at any moment.
                Err(reason @ (ConnectError::Replayed | ConnectError::SessionClosed)) => {
                    match repeat_redirect(clients, &vault, &flow, watch).await {
                        Err(ConnectError::Replayed) => Err(reason),
                        known => known,
                    }
                }
                granted => granted,
            };
            return match granted {
                Ok(connected) => {
                    // After a failure nothing is written: its calls are counted with the next
                    // success.
                    let write_time = clients.config.write_time();
                    watch.within(write_time, clients.count_calls(1, now)).await;
                    Ok(connected)
                }
                Err(reason) => {
                    record_failure(clients, &flow, &reason, watch).await;
                    Err(reason.in_flow(&flow))
                }
            };
        }
    };
    let Some(state) = state else {
        // Meta is known to omit the state of a denial. But any page can send a browser here without
        // one, so the denial only leads back to the app, and is recorded in no session.
        let alive = Flow::alive(kind, keyring, app_id, cookies, now);
        let open = watch.within(clients.config.write_time(), open_flows(clients, &vault, alive)).await;
        return Err(match open.flatten() {
            Some(OpenFlows::One(flow)) => reason.in_flow(&flow),
            Some(OpenFlows::Several(common)) => {
                ConnectRefusal { doubtful: Some(Box::new(common)), ..reason.into() }
            }
            None => reason.into(),
        });
    };
    let flow = resume(&state).await?;
    record_failure(clients, &flow, &reason, watch).await;
    Err(reason.in_flow(&flow))
}

/// The open flows of a browser.
enum OpenFlows {
    /// The only flow, or the newest if all belong to one session.
    One(Flow),
    /// Several flows that share the app's page only.
    Several(Flow),
}

/// Returns the flows to which a callback without a state can belong: none that is finished, and one
/// whose end was shown only if there is no other.
async fn open_flows(
    clients: &Clients,
    vault: &Vault,
    alive: impl Iterator<Item = Flow>,
) -> Option<OpenFlows> {
    let (mut shown, mut open) = (Vec::new(), Vec::new());
    for flow in alive {
        if !has_connected(clients, vault, &flow).await {
            if flow.is_end_shown { &mut shown } else { &mut open }.push(flow);
        }
    }
    let mut others = if open.is_empty() { shown } else { open };
    others.sort_by_key(|flow| flow.began_at);
    let mut newest = others.pop()?;
    let is_same = |flow: &Flow| newest.session_id.is_some() && flow.session_id == newest.session_id;
    if others.iter().all(is_same) {
        return Some(OpenFlows::One(newest));
    }
    let is_alike = others.iter().all(|flow| flow.return_to == newest.return_to);
    (newest.session_id, newest.user_id) = (None, None);
    is_alike.then_some(OpenFlows::Several(newest))
}

/// Returns true if the flow has connected an account, and false if the store cannot be read.
async fn has_connected(clients: &Clients, vault: &Vault, flow: &Flow) -> bool {
    is_spent(clients, vault, flow).await.unwrap_or(false)
}

/// Returns true if the flow has connected an account. A flow in a session has closed it then.
async fn is_spent(clients: &Clients, vault: &Vault, flow: &Flow) -> Result<bool, StoreError> {
    let Some(id) = &flow.session_id else {
        return clients.store.is_spent(&seal::hash(flow.state.as_str())).await;
    };
    let session = clients.store.session(id).await?;
    Ok(session.is_some_and(|session| is_closed_by(vault, &session, flow)))
}

/// Returns true if this flow has connected the account of the session.
fn is_closed_by(vault: &Vault, session: &Session, flow: &Flow) -> bool {
    let completion = vault.completion_code(&session.id, flow.state.as_str());
    session.completion_hash() == Some(&*seal::hash(&completion))
}

/// Returns the record of a failed attempt, if `reason` is recorded in its session.
fn failed_attempt(reason: &ConnectError) -> Option<Attempt<'static>> {
    let status = match reason {
        ConnectError::Late => return None,
        ConnectError::Denied(_) => SessionStatus::Denied,
        _ if reason.outcome().speaks_for_session() => SessionStatus::Failed,
        _ => return None,
    };
    let is_failed_exchange = matches!(reason, ConnectError::Threads(_));
    Some(Attempt { status, reason: reason.word(), is_failed_exchange })
}

/// Records in the flow's session, for the app's backend, how an attempt ended. A failure is only
/// logged, since the person sees the outcome in any case.
async fn record_failure(clients: &Clients, flow: &Flow, reason: &ConnectError, watch: Stopwatch) {
    if let (Some(id), Some(attempt)) = (&flow.session_id, failed_attempt(reason))
        && let noted = clients.store.note_attempt(id, attempt)
        && let Some(Err(error)) = watch.within(clients.config.write_time(), noted).await
    {
        tracing::warn!(error = error_chain(&error), "the outcome of an attempt could not be recorded");
    }
}

/// Answers a repeated callback of the same browser, after a reload or a prefetch. Until the
/// completion code is redeemed, it gets the same redirect again, without a call to Meta.
async fn repeat_redirect(
    clients: &Clients,
    vault: &Vault,
    flow: &Flow,
    watch: Stopwatch,
) -> Result<Connected, ConnectError> {
    let now = watch.started_at();
    let return_to = way_back::of(&clients.config.return_to, flow);
    let (Some(id), Some(return_to)) = (&flow.session_id, return_to) else {
        return Err(ConnectError::Replayed);
    };
    let completion = vault.completion_code(id, flow.state.as_str());
    let session = watch.within(clients.config.write_time(), clients.store.session(id)).await;
    match session.transpose()?.flatten() {
        Some(Session { state: SessionState::Connected { user_id, completion_hash }, expires_at, .. })
            if completion_hash == seal::hash(&completion) && now < expires_at =>
        {
            let location = location(return_to.with(&[("session_id", id), ("completion", &completion)]));
            let pseudonym = pseudonym(clients, &user_id, watch).await;
            Ok(Connected { location, user_id, pseudonym, outcome: ConnectOutcome::Replayed })
        }
        _ => Err(ConnectError::Replayed),
    }
}

/// Returns the account's name in logs, or `None` if reading it would delay the response too long.
async fn pseudonym(clients: &Clients, user_id: &UserId, watch: Stopwatch) -> Option<Pseudonym> {
    let name = watch.within(clients.config.write_time(), clients.store.pseudonym(user_id)).await;
    name.and_then(Result::ok).flatten()
}

async fn connect_account(
    clients: &Clients,
    vault: &Vault,
    flow: &Flow,
    code: &AuthorizationCode,
    watch: Stopwatch,
) -> Result<Connected, ConnectError> {
    let (state_hash, now) = (seal::hash(flow.state.as_str()), watch.started_at());
    // Checked before the code is spent at Meta.
    let session = match &flow.session_id {
        Some(id) => {
            let session = read(clients, id).await?;
            if is_closed_by(vault, &session, flow) {
                return Err(ConnectError::Replayed);
            }
            admit(clients, &session, now)?;
            Some(session)
        }
        None if clients.store.is_spent(&state_hash).await? => return Err(ConnectError::Replayed),
        None => None,
    };
    if !watch.leaves(clients.config.spending_time()) {
        return Err(ConnectError::Late);
    }
    let may_be_concurrent = session.as_ref().is_some_and(|session| session.failures == 0);
    let short = exchange_code(clients, vault, flow, code, may_be_concurrent, watch).await?;
    let ask = || clients.graph.me(&short.access_token);
    let user_id = &match short.user_id {
        Some(user_id) => user_id,
        // The code is spent, so only a call with the token can identify the account.
        None => twice(clients, watch, ask).await.map_err(ConnectError::Threads)?.id,
    };
    if flow.user_id.as_ref().is_some_and(|expected| expected != user_id) {
        return Err(ConnectError::WrongAccount);
    }
    let grant_id = random_text::<16>()?;
    let completion = flow.session_id.as_deref().map(|id| vault.completion_code(id, flow.state.as_str()));
    let completion = completion.unwrap_or_default();
    let completion_hash = seal::hash(&completion);
    let tombstone = vault.tombstone(user_id);
    let commit = Commit {
        grant_id: &grant_id,
        state_hash: &state_hash,
        begun_at: flow.began_at,
        tombstone: &tombstone,
        seen: None,
        session: None,
        now,
    };
    let closed = session.as_ref().map(|session| ClosedSession {
        session,
        completion_hash: &completion_hash,
        unclaimed_until: unclaimed_until(clients, session, now),
    });
    let exchange = Box::pin(exchange_and_inspect(clients, vault, &short.access_token, &flow.scopes, watch));
    let name = Box::pin(clients.store.pseudonym(user_id));
    let name = watch.leaving(clients.config.write_time(), name);
    let exchanged = try_join(exchange, async { Ok(name.await.and_then(Result::ok)) }).await;
    let (committed, outcome, name) = if let Ok(((long, inspection), name)) = exchanged {
        if inspection.user_id.as_ref().is_some_and(|found| found != user_id) {
            return Err(ConnectError::Contradiction);
        }
        let begun_at = Some(flow.began_at);
        let grant = NewGrant { begun_at, ..new_grant(vault, user_id, &grant_id, &long, inspection, now)? };
        let stored = |doubt| Stored::Grant(&grant, doubt);
        let committed = store(clients, (commit, closed), stored, &long.access_token, watch).await?;
        // A row that has a name keeps it.
        let name = name.map(|known| known.unwrap_or_else(|| grant.pseudonym.clone()));
        (committed, ConnectOutcome::Connected, name)
    } else {
        let consent = NewConsent {
            user_id,
            grant_id: &grant_id,
            pseudonym: Pseudonym::random()?,
            begun_at: flow.began_at,
            sealed: vault.seal(Purpose::PendingToken, user_id, &short.access_token)?,
            scopes: &flow.scopes,
            expires_at: schedule::add(now, SHORT_LIVED_SECONDS),
        };
        // The next sweep makes the long-lived exchange in any case.
        let stored = |_| Stored::Consent(&consent);
        let committed = store(clients, (commit, closed), stored, &short.access_token, watch).await?;
        (committed, ConnectOutcome::Finishing, None)
    };
    match committed {
        CommitOutcome::Committed => Ok(Connected {
            location: destination(clients, flow, &completion, outcome),
            user_id: user_id.clone(),
            pseudonym: match name {
                Some(name) => Some(name),
                None => pseudonym(clients, user_id, watch).await,
            },
            outcome,
        }),
        CommitOutcome::Replayed => Err(ConnectError::Replayed),
        CommitOutcome::Ended(ends) if ends.on(flow.began_at) == Effect::Deleted => Err(ConnectError::Deleted),
        CommitOutcome::Ended(_) | CommitOutcome::Superseded => Err(ConnectError::Ended),
        CommitOutcome::SessionClosed => Err(ConnectError::SessionClosed),
    }
}

/// There is no long-lived token yet. A sweep makes the exchange.
struct NotExchanged;

/// Makes the long-lived exchange, and inspects the short-lived token meanwhile: both tokens are of
/// the same person, with the same access. A failed exchange does not wait for the inspection.
async fn exchange_and_inspect(
    clients: &Clients,
    vault: &Vault,
    short: &AccessToken,
    requested: &Scopes,
    watch: Stopwatch,
) -> Result<(LongLivedToken, Inspection), NotExchanged> {
    // Boxed, because concurrent calls take much of a thread's stack.
    let inspection = Box::pin(Inspection::of(clients, vault, short, requested, watch.started_at()));
    let inspection = async { Ok(optional(clients, watch, inspection).await) };
    let exchange = Box::pin(exchange_long_lived(clients, vault, short, watch));
    let (long, inspection) = try_join(exchange, inspection).await?;
    // The inspection reports the end of the short-lived token.
    let expires_at = unreported_end(clients, vault, &long, watch).await;
    let inspection = inspection.unwrap_or_else(|| Inspection::assumed(requested));
    Ok((long, Inspection { expires_at, ..inspection }))
}

/// Makes optional calls to Meta if there is time for them, and reserves the time for two writes.
async fn optional<T>(clients: &Clients, watch: Stopwatch, calls: impl Future<Output = T>) -> Option<T> {
    if watch.elapsed() < clients.config.extras_time() {
        watch.leaving(clients.config.write_time(), calls).await
    } else {
        None
    }
}

/// Returns the expiry of a long-lived token whose lifetime the exchange did not report.
async fn unreported_end(
    clients: &Clients,
    vault: &Vault,
    long: &LongLivedToken,
    watch: Stopwatch,
) -> Option<Timestamp> {
    let now = watch.started_at();
    if !Life::new(now, long.expires_in).is_assumed {
        return None;
    }
    let inspected = optional(clients, watch, inspect(clients, vault, &long.access_token, now)).await;
    inspected.flatten()?.info.expires_at
}

/// Makes the long-lived exchange, and reserves the time for two writes.
async fn exchange_long_lived(
    clients: &Clients,
    vault: &Vault,
    short: &AccessToken,
    watch: Stopwatch,
) -> Result<LongLivedToken, NotExchanged> {
    let exchange = || clients.graph.exchange_long_lived(vault.app_secret(), short);
    match watch.leaving(clients.config.write_time(), twice(clients, watch, exchange)).await {
        Some(Ok(long)) => Ok(long),
        Some(Err(error)) => {
            tracing::warn!(error = error_chain(&error), "the long-lived exchange failed; a sweep retries it");
            Err(NotExchanged)
        }
        None => {
            tracing::warn!("there was no time for the long-lived exchange; a sweep makes it");
            Err(NotExchanged)
        }
    }
}

/// Returns the time at which the account ends if it is not claimed, never while its session can
/// still be completed. `None` for a session without a return address, which nobody can complete.
fn unclaimed_until(clients: &Clients, session: &Session, now: Timestamp) -> Option<Timestamp> {
    session.return_to.as_ref()?;
    let until = schedule::add(now, clients.config.unclaimed_time.as_secs());
    Some(until.max(session.completable_until(now)))
}

/// Commits a connect. Once the code is spent, the token must not be lost, so the write is retried.
/// If an end of the account came during the flow, a call with `token` decides: if Meta does not
/// respond, the token is stored and checked again soon.
async fn store<'a>(
    clients: &Clients,
    (commit, closed): (Commit<'_>, Option<ClosedSession<'_>>),
    stored: impl Fn(Option<Timestamp>) -> Stored<'a>,
    token: &AccessToken,
    watch: Stopwatch,
) -> Result<CommitOutcome, StoreError> {
    let first = async || clients.store.commit_connect(commit, stored(None), closed).await;
    let mut outcome = persist(watch.deadline(), first).await?;
    // Another end may arrive during each check.
    for _ in 0..MAX_END_CHECKS {
        let CommitOutcome::Ended(ends) = outcome else { break };
        if ends.on(commit.begun_at) != Effect::Doubtful {
            break;
        }
        let reserved = clients.config.write_time();
        let is_accepted = watch.leaving(reserved, is_accepted(clients, token)).await.flatten();
        if is_accepted == Some(false) {
            break;
        }
        let doubt = is_accepted.is_none().then(|| schedule::doubted_at(commit.now));
        let commit = Commit { seen: Some(&ends), ..commit };
        let again = async || clients.store.commit_connect(commit, stored(doubt), closed).await;
        outcome = persist(watch.deadline(), again).await?;
    }
    Ok(outcome)
}

/// Exchanges a code. If another callback of the flow `may_be_concurrent`, waits for its end.
async fn exchange_code(
    clients: &Clients,
    vault: &Vault,
    flow: &Flow,
    code: &AuthorizationCode,
    may_be_concurrent: bool,
    watch: Stopwatch,
) -> Result<ShortLivedToken, ConnectError> {
    let exchange = || clients.graph.exchange_code(&vault.app.credentials, code, &clients.redirect_uri);
    let mut first = exchange().await;
    // If only the response was lost, Meta now refuses the code as used. The first error is kept,
    // since Threads was unreachable in either case. After a malformed response the code is spent,
    // and is not sent again.
    if let Err(error) = &first
        && matches!(error.kind(), ErrorKind::Transient | ErrorKind::Throttled { .. })
        && watch.leaves(clients.config.spending_time())
        && let Ok(short) = exchange().await
    {
        first = Ok(short);
    }
    match first {
        Ok(short) => Ok(short),
        // A concurrent callback of the flow, such as a reload, has spent the code.
        Err(error) if error.kind() == ErrorKind::CodeUnusable => {
            let spent = becomes_spent(clients, vault, flow, may_be_concurrent);
            match watch.within(clients.config.write_time(), spent).await.transpose()? {
                Some(true) => Err(ConnectError::Replayed),
                Some(false) | None => Err(ConnectError::Threads(error)),
            }
        }
        Err(error) => Err(ConnectError::Threads(error)),
    }
}

/// Returns true if the flow has connected its account. If a callback `may_be_concurrent`, waits for
/// it.
async fn becomes_spent(
    clients: &Clients,
    vault: &Vault,
    flow: &Flow,
    may_be_concurrent: bool,
) -> Result<bool, StoreError> {
    let mut pause = CONCURRENT_CALLBACK;
    loop {
        if is_spent(clients, vault, flow).await? {
            return Ok(true);
        }
        if !may_be_concurrent || pause.next >= CONCURRENT_CALLBACK.longest {
            return Ok(false);
        }
        pause.wait(None).await;
    }
}

/// Makes a call to Meta, and once more after a transient failure if there is time.
async fn twice<T, Answer>(
    clients: &Clients,
    watch: Stopwatch,
    call: impl Fn() -> Answer,
) -> Result<T, threads_graph::Error>
where
    Answer: Future<Output = Result<T, threads_graph::Error>>,
{
    match call().await {
        Err(error) if error.kind().is_retryable() && watch.elapsed() < clients.config.extras_time() => {
            call().await
        }
        first => first,
    }
}

fn destination(clients: &Clients, flow: &Flow, completion: &str, outcome: ConnectOutcome) -> String {
    let return_to = way_back::of(&clients.config.return_to, flow);
    match (return_to, &flow.session_id, outcome.return_status()) {
        (Some(url), Some(id), _) => location(url.with(&[("session_id", id), ("completion", completion)])),
        (Some(url), None, Some(status)) => location(url.with(&[("status", status.as_str())])),
        _ => match flow.language {
            Some(language) => format!("/{outcome}?ui_locales={language}"),
            None => format!("/{outcome}"),
        },
    }
}
