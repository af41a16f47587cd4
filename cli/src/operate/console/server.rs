//! The routes and their access checks: a caller on this machine, the cookie, and for a change the
//! key of a form.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use anyhow::Error;
use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, FromRequestParts, Path, RawQuery, Request, State};
use axum::http::request::Parts;
use axum::http::{Method, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use devstack::for_this_machine;
use devstack::look::filter::{Filter, parameter};
use serde::de::DeserializeOwned;
use threads_auth::{Key, Pause};
use threads_auth_model::Summary;
use threads_auth_web::headers::secure;
use threads_graph::UserId;
use url::form_urlencoded;

use super::entrance::OPEN;
use super::page::{account, accounts, checks, closed, failed, letters, overview};
use super::state::{Console, PATIENCE};
use super::writes::{self, Change, Deed};
use super::{find, panels};
use crate::operate::{dead_letters, doctor};

/// The longest form, in bytes.
const MAX_FORM: usize = 16 * 1024;

type Shared = State<Arc<Console>>;

/// Returns the whole site.
pub(super) fn routes(console: Arc<Console>) -> Router {
    let inside = Router::new()
        .route("/", get(show_overview))
        .route("/accounts", get(show_accounts))
        .route("/accounts/{user_id}", get(show_account))
        .route("/accounts/{user_id}/{deed}", get(ask).post(change))
        .route("/pause", post(set_pause))
        .route("/checks", get(show_checks))
        .route("/letters", get(show_letters))
        .fallback(nowhere)
        .layer(DefaultBodyLimit::max(MAX_FORM))
        .layer(from_fn_with_state(Arc::clone(&console), admit));
    let site = Router::new()
        .route(&format!("{OPEN}{{secret}}"), get(open))
        .nest(console.entrance.base(), inside)
        .fallback(nowhere)
        .with_state(console);
    for_this_machine(site)
}

/// Exchanges the link for the cookie.
async fn open(State(console): Shared, method: Method, Segments(secret): Segments<String>) -> Response {
    // A program that only checks the link must not use it up.
    let cookie = (method == Method::GET).then(|| console.entrance.open(&secret)).flatten();
    let Some(cookie) = cookie else {
        let text =
            "It has been opened already, in this browser or in another one, or it is of an earlier run.";
        return closed(StatusCode::FORBIDDEN, "This link opens nothing any more", text);
    };
    let home = Redirect::to(console.entrance.base());
    secure(([(header::SET_COOKIE, cookie)], home).into_response())
}

/// The variable segments of a path. A path whose segments are not text matches no page.
struct Segments<T>(T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Segments<T> {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Response> {
        match Path::from_request_parts(parts, state).await {
            Ok(Path(segments)) => Ok(Self(segments)),
            Err(_) => Err(nowhere().await),
        }
    }
}

async fn nowhere() -> Response {
    closed(StatusCode::NOT_FOUND, "There is nothing here", "The console of this machine lies elsewhere.")
}

/// Admits only browsers that have opened the link.
async fn admit(State(console): Shared, request: Request, next: Next) -> Response {
    if console.entrance.admits(request.headers()) {
        return next.run(request).await;
    }
    closed(StatusCode::FORBIDDEN, "This console is closed", "It opens for the browser that took its link.")
}

async fn show_overview(State(console): Shared) -> Response {
    let now = console.now().await;
    let on_aws = async {
        match &console.stack.deployed {
            Some(deployed) => Some(Box::pin(panels::on_aws(&console, deployed, now)).await),
            None => None,
        }
    };
    let (pause, load, on_aws) =
        tokio::join!(doctor::pause(&console.stack), panels::load(&console, now), on_aws);
    overview::page(&console, &overview::Seen { now, pause, load, on_aws })
}

async fn show_accounts(State(console): Shared, RawQuery(query): RawQuery) -> Response {
    let (filter, now) = (Filter::of(query.as_deref()), console.now().await);
    let after = parameter(query.as_deref(), "after").map(|key| Key::from(key.into_owned()));
    match find::find(&console.stack, &filter, after, now).await {
        Ok(found) => accounts::page(&console, &filter, &found, now),
        Err(error) => failed(&console, &error.into()),
    }
}

async fn show_account(State(console): Shared, Segments(user_id): Segments<String>) -> Response {
    let now = console.now().await;
    match account_of(&console, &user_id).await {
        Ok(Some(found)) => account::page(&console, &found, now),
        Ok(None) => account::unknown(&console, &user_id),
        Err(error) => failed(&console, &error),
    }
}

async fn account_of(console: &Console, user_id: &str) -> Result<Option<Summary>, Error> {
    let Ok(user_id) = user_id.parse::<UserId>() else {
        return Ok(None);
    };
    Ok(console.stack.service.find_grant(&user_id).await?.map(Summary::from))
}

async fn ask(State(console): Shared, Segments((user_id, deed)): Segments<(String, String)>) -> Response {
    let Some(deed) = deed.parse().ok().filter(|_| console.writes) else {
        return nowhere().await;
    };
    match account_of(&console, &user_id).await {
        Ok(Some(found)) => account::question(&console, &found, deed),
        Ok(None) => account::unknown(&console, &user_id),
        Err(error) => failed(&console, &error),
    }
}

async fn change(
    State(console): Shared,
    Segments((user_id, deed)): Segments<(String, String)>,
    body: Bytes,
) -> Result<Response, Refused> {
    let form = own_form(&console, &body)?;
    let (Ok(user_id), Ok(deed)) = (user_id.parse::<UserId>(), deed.parse::<Deed>()) else {
        return Ok(nowhere().await);
    };
    if deed.destroys() && form.get("confirm").map(String::as_str) != Some(account::WORD) {
        console.say(format!("Nothing was changed: it takes the word {}", account::WORD));
        return Ok(secure(Redirect::to(&console.href(&account::path(&user_id))).into_response()));
    }
    let path = account::path(&user_id);
    Ok(finish(console, &path, Change::Account(user_id, deed)).await)
}

async fn set_pause(State(console): Shared, body: Bytes) -> Result<Response, Refused> {
    let form = own_form(&console, &body)?;
    let what = match form.get("what").map(String::as_str) {
        Some("nothing") => None,
        Some(name) if name.parse::<Pause>().is_ok() => name.parse().ok(),
        _ => return Ok(nowhere().await),
    };
    Ok(finish(console, "", Change::Pause(what)).await)
}

/// The reason for refusing a form.
#[derive(Clone, Copy)]
enum Refused {
    /// The console is read-only.
    ReadOnly,
    /// Another page or another program has sent the form.
    Foreign,
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let text = match self {
            Self::ReadOnly => "This console only looks. Start it with --write to change things.",
            Self::Foreign => "This form is not of this console. Load the page again.",
        };
        closed(StatusCode::FORBIDDEN, "Nothing was changed", text)
    }
}

/// Reads a form of ours, and refuses every other one.
fn own_form(console: &Console, body: &[u8]) -> Result<HashMap<String, String>, Refused> {
    if !console.writes {
        return Err(Refused::ReadOnly);
    }
    let form: HashMap<_, _> = form_urlencoded::parse(body).into_owned().collect();
    if form.get("key").is_some_and(|key| console.entrance.is_own_form(key)) {
        return Ok(form);
    }
    tracing::warn!("a form that is not of this console was refused");
    Err(Refused::Foreign)
}

/// Makes a change, and redirects to `path`, which shows its outcome.
async fn finish(console: Arc<Console>, path: &str, change: Change) -> Response {
    match writes::make(Arc::clone(&console), change).await {
        Ok(said) => {
            console.say(said);
            secure(Redirect::to(&console.href(path)).into_response())
        }
        Err(error) => failed(&console, &error),
    }
}

async fn show_checks(State(console): Shared, RawQuery(query): RawQuery) -> Response {
    if parameter(query.as_deref(), "run").is_none() {
        return checks::page(&console, None);
    }
    let findings = Box::pin(doctor::examine(&console.stack, false)).await;
    checks::page(&console, Some(&findings))
}

/// Reads all letters even if the browser disconnects: letters that were received are hidden from
/// others until they are given back.
async fn show_letters(State(console): Shared) -> Response {
    let shared = Arc::clone(&console);
    let work = tokio::spawn(async move {
        let deployed = shared.stack.deployed.as_ref()?;
        let began = Instant::now();
        let stops = || began.elapsed() > PATIENCE;
        let seen = Box::pin(dead_letters::look(deployed, shared.now().await, stops)).await;
        Some((seen, stops()))
    });
    match work.await {
        Ok(None) => letters::page(&console, None, false),
        Ok(Some((seen, is_cut))) => letters::page(&console, Some(&seen), is_cut),
        Err(error) => failed(&console, &error.into()),
    }
}
