//! The end of a connect: from Meta's callback to a stored grant.
//!
//! Owns the order of things. Meta is called only for a callback that belongs to a flow of the same
//! browser. Nothing is written before Meta has vouched for the code, and then everything in one
//! transaction. Of a failure, only its session learns. Refuses to repeat anything that Meta or the
//! browser says in free text.

use std::time::Duration;

use jiff::Timestamp;
use threads_auth_model::rules::{Commit, NewConsent, NewGrant};
use threads_auth_model::seal::{self, Purpose, random_text};
use threads_auth_model::{
    Attempt, Effect, Session, SessionState, SessionStatus, Vault, error_chain, schedule,
};
use threads_auth_store::{Backoff, ClosedSession, CommitOutcome, Connected as Stored, StoreError, persist};
use threads_graph::{
    AccessToken, AuthorizationCode, CallbackParams, ErrorKind, LongLivedToken, ShortLivedToken, State,
    UserId, parse_callback,
};

use super::error::{ConnectError, ConnectOutcome, ConnectRefusal};
use super::flow::{Flow, NotResumed};
use super::session::{admit, read};
use super::way_back::{self, location};
use crate::clients::Clients;
use crate::inspection::{Inspection, is_taken};
use crate::new_grant::new_grant;
use crate::stopwatch::Stopwatch;

/// Meta's short-lived tokens live for an hour, which its answer does not say.
const SHORT_LIVED_SECONDS: i64 = 3_600;

/// How often it is looked whether another callback of the same flow has come to its end: six times,
/// for three seconds.
const ANOTHER_AT_IT: Backoff =
    Backoff { next: Duration::from_millis(100), factor: 2, longest: Duration::from_millis(3_200) };
/// So many ends are asked about in one connect; then it counts as ended.
const MOST_ENDS: usize = 3;

/// Where a finished flow goes.
#[derive(Debug)]
pub struct Connected {
    /// The app's page from the allowlist, or ours: never a URL that holds a code.
    pub location: String,
    /// Whose account it is.
    pub user_id: UserId,
    /// [`ConnectOutcome::Connected`]; [`ConnectOutcome::Finishing`] if only the short-lived token
    /// is there so far; or [`ConnectOutcome::Replayed`] if the same browser has come back once
    /// more.
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
    let mut finished = come_back(clients, raw_query, cookies, now).await;
    if let Err(ConnectRefusal { flow: Some(flow), cookies, .. }) = &mut finished
        && flow.is_alive(now)
        && let Ok(vault) = clients.vault(now).await
    {
        let told = flow.tell(clients.config.cookie_kind(), &vault.keyring, vault.app_id(), now);
        // Without it, a later denial may have two flows that it could be about.
        cookies.extend(told);
    }
    finished
}

async fn come_back(
    clients: &Clients,
    raw_query: &str,
    cookies: &[&str],
    now: Timestamp,
) -> Result<Connected, ConnectRefusal> {
    let watch = Stopwatch::start(now, clients.config.work_time());
    let params = parse_callback(raw_query).map_err(ConnectError::Callback)?;
    let vault = clients.vault(now).await.map_err(ConnectError::Secrets)?;
    let (kind, keyring, app_id) = (clients.config.cookie_kind(), &vault.keyring, vault.app_id());
    let resume = async |state: &State| match Flow::resume(kind, keyring, app_id, cookies, state, now) {
        // Nobody who has connected is told hours later that it took too long.
        Err(NotResumed::Expired(flow)) if is_spent(clients, state).await => {
            Err(ConnectError::Replayed.in_flow(&flow))
        }
        resumed => resumed.map_err(ConnectRefusal::from),
    };
    let (reason, state) = match params {
        CallbackParams::Denied { state, reason } => (ConnectError::Denied(reason), state),
        CallbackParams::Failed { state, code } => (ConnectError::ThreadsFailed(code), state),
        CallbackParams::Granted { code, state } => {
            let flow = match resume(&state).await {
                Err(ConnectRefusal { reason: ConnectError::Replayed, flow: Some(flow), .. }) => {
                    let known = repeated(clients, &vault, &flow, now).await;
                    return known.map_err(|reason| reason.in_flow(&flow));
                }
                resumed => resumed?,
            };
            let granted = match granted(clients, &vault, &flow, &code, watch).await {
                // The other callback of this flow may have come to its end at any moment.
                Err(reason @ (ConnectError::Replayed | ConnectError::SessionClosed)) => {
                    match repeated(clients, &vault, &flow, now).await {
                        Err(ConnectError::Replayed) => Err(reason),
                        known => known,
                    }
                }
                granted => granted,
            };
            return match granted {
                Ok(connected) => {
                    // A failure is counted with the next success: it is to write nothing.
                    clients.count_calls(1, now).await;
                    Ok(connected)
                }
                Err(reason) => {
                    note(clients, &flow, &reason).await;
                    Err(reason.in_flow(&flow))
                }
            };
        }
    };
    let Some(state) = state else {
        // Meta is known to leave the state out of a denial. But any page can send a browser here
        // without one, so it leads back to the app, and speaks for no session.
        let alive = Flow::alive(kind, keyring, app_id, cookies, now);
        return Err(match under_way(clients, alive).await {
            Some(UnderWay::One(flow)) => reason.in_flow(&flow),
            Some(UnderWay::Several(common)) => {
                ConnectRefusal { doubtful: Some(Box::new(common)), ..reason.into() }
            }
            None => reason.into(),
        });
    };
    let flow = resume(&state).await?;
    note(clients, &flow, &reason).await;
    Err(reason.in_flow(&flow))
}

/// The flows of a browser that are under way.
enum UnderWay {
    /// There is one, or all are of one session: the newest.
    One(Flow),
    /// They have nothing in common but the app's page.
    Several(Flow),
}

/// The flows to which a callback without a state can belong. Who has connected one account, and
/// says no to another, comes from the second, and so does who says no again.
async fn under_way(clients: &Clients, alive: impl Iterator<Item = Flow>) -> Option<UnderWay> {
    let (mut told, mut untold) = (Vec::new(), Vec::new());
    for flow in alive {
        if !is_spent(clients, &flow.state).await {
            if flow.is_told { &mut told } else { &mut untold }.push(flow);
        }
    }
    let mut others = if untold.is_empty() { told } else { untold };
    others.sort_by_key(|flow| flow.began_at);
    let mut newest = others.pop()?;
    let is_same = |flow: &Flow| newest.session_id.is_some() && flow.session_id == newest.session_id;
    if others.iter().all(is_same) {
        return Some(UnderWay::One(newest));
    }
    let is_alike = others.iter().all(|flow| flow.return_to == newest.return_to);
    (newest.session_id, newest.user_id) = (None, None);
    is_alike.then_some(UnderWay::Several(newest))
}

/// Says if a flow came to a good end. A state that cannot be read counts as not spent.
async fn is_spent(clients: &Clients, state: &State) -> bool {
    clients.store.is_spent(&seal::hash(state.as_str())).await.unwrap_or(false)
}

/// The note of an attempt that ended for `reason`, if that speaks for its session.
fn attempt(reason: &ConnectError) -> Option<Attempt<'static>> {
    let status = match reason {
        ConnectError::Denied(_) => SessionStatus::Denied,
        _ if reason.outcome().speaks_for_session() => SessionStatus::Failed,
        _ => return None,
    };
    let is_failed_exchange = matches!(reason, ConnectError::Threads(_));
    Some(Attempt { status, reason: reason.word(), is_failed_exchange })
}

/// Lets the app's backend know how an attempt in its session ended. The person is told in any case.
async fn note(clients: &Clients, flow: &Flow, reason: &ConnectError) {
    if let (Some(id), Some(attempt)) = (&flow.session_id, attempt(reason))
        && let Err(error) = clients.store.note_attempt(id, attempt).await
    {
        tracing::warn!(error = error_chain(&error), "the end of an attempt could not be noted");
    }
}

/// The same browser comes back with a state that is spent: the page was loaded again, or loaded
/// ahead. As long as nobody has redeemed its code, it is led where it was led before, and Meta is
/// not asked.
async fn repeated(
    clients: &Clients,
    vault: &Vault,
    flow: &Flow,
    now: Timestamp,
) -> Result<Connected, ConnectError> {
    let return_to = way_back::of(&clients.config.return_to, flow);
    let (Some(id), Some(return_to)) = (&flow.session_id, return_to) else {
        return Err(ConnectError::Replayed);
    };
    let completion = vault.completion_code(id, flow.state.as_str());
    match clients.store.session(id).await? {
        Some(Session { state: SessionState::Connected { user_id, completion_hash }, expires_at, .. })
            if completion_hash == seal::hash(&completion) && now < expires_at =>
        {
            let location = location(return_to.with(&[("session_id", id), ("completion", &completion)]));
            Ok(Connected { location, user_id, outcome: ConnectOutcome::Replayed })
        }
        _ => Err(ConnectError::Replayed),
    }
}

async fn granted(
    clients: &Clients,
    vault: &Vault,
    flow: &Flow,
    code: &AuthorizationCode,
    watch: Stopwatch,
) -> Result<Connected, ConnectError> {
    let (state_hash, now) = (seal::hash(flow.state.as_str()), watch.started_at());
    if clients.store.is_spent(&state_hash).await? {
        return Err(ConnectError::Replayed);
    }
    // Whatever would be refused in the end is refused before Meta is asked.
    let session = match &flow.session_id {
        Some(id) => {
            let session = read(clients, id).await?;
            admit(clients, &session, now)?;
            Some(session)
        }
        None => None,
    };
    let may_be_twice = session.as_ref().is_some_and(|session| session.failures == 0);
    let short = exchange_code(clients, vault, code, &state_hash, may_be_twice, watch).await?;
    let user_id = &match short.user_id {
        Some(user_id) => user_id,
        // The token knows whose it is, and the code is spent: no other answer is to be had.
        None => whose(clients, &short.access_token, watch).await.map_err(ConnectError::Threads)?,
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
            let committed = store(clients, (commit, closed), stored, &long.access_token, watch).await?;
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
            let committed = store(clients, (commit, closed), stored, &short.access_token, watch).await?;
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

/// When an account ends that nobody claims: never while its session can still be completed. A
/// session without a way back can never be, and its backend knows.
fn unclaimed_until(clients: &Clients, session: &Session, now: Timestamp) -> Option<Timestamp> {
    session.return_to.as_ref()?;
    let until = schedule::add(now, clients.config.unclaimed_time.as_secs());
    Some(until.max(session.completable_until(now)))
}

/// Commits a connect. From the moment that a code is spent, nothing matters more than keeping what
/// it bought; but an end that came meanwhile is asked about, and Meta's word on `token` decides. If
/// Meta gives none, the token is kept and looked at soon.
async fn store<'a>(
    clients: &Clients,
    (commit, closed): (Commit<'_>, Option<ClosedSession<'_>>),
    stored: impl Fn(Option<Timestamp>) -> Stored<'a>,
    token: &AccessToken,
    watch: Stopwatch,
) -> Result<CommitOutcome, StoreError> {
    let first = async || clients.store.commit_connect(commit, stored(None), closed).await;
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
        let again = async || clients.store.commit_connect(commit, stored(doubt), closed).await;
        outcome = persist(watch.deadline(), again).await?;
    }
    Ok(outcome)
}

/// Exchanges a code. If it `may_be_twice` that one callback is under way, the other one's end is
/// waited for.
async fn exchange_code(
    clients: &Clients,
    vault: &Vault,
    code: &AuthorizationCode,
    state_hash: &str,
    may_be_twice: bool,
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
        // Two callbacks of one flow at once, such as a page that is loaded again while it loads:
        // the other one was first.
        Err(error) if error.kind() == ErrorKind::CodeUnusable => {
            let mut pause = ANOTHER_AT_IT;
            loop {
                if clients.store.is_spent(state_hash).await? {
                    return Err(ConnectError::Replayed);
                }
                if !may_be_twice || pause.next >= ANOTHER_AT_IT.longest {
                    return Err(ConnectError::Threads(error));
                }
                pause.wait(None).await;
            }
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
    let return_to = way_back::of(&clients.config.return_to, flow);
    match (return_to, &flow.session_id, outcome.return_status()) {
        (Some(url), Some(id), _) => location(url.with(&[("session_id", id), ("completion", completion)])),
        (Some(url), None, Some(status)) => location(url.with(&[("status", status.as_str())])),
        _ => format!("/{outcome}"),
    }
}
