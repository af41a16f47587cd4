//! `/control/…`: the sandbox's control by a test in any language, JSON in and out.
//!
//! Reports exactly the error in a request, and refuses unknown fields: a test with a misspelt fault
//! would otherwise pass for the wrong reason. Shows no token, code or secret.

use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{FromRequestParts, Path, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::Response;
use axum::routing::{MethodRouter, any, get, patch, post};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::account::{Account, AccountStatus};
use crate::bad_hours::BadHours;
use crate::fault::Fault;
use crate::options::NewAccount;
use crate::reply::Reply;
use crate::sandbox::Sandbox;
use crate::switches::Switches;
use crate::world::BASIC_SCOPE;

/// Ten years. More is probably a typing mistake, and cannot be undone.
const MAX_ADVANCE: u64 = 10 * 366 * 24 * 3600;

/// The documentation that `GET /control` shows.
const HELP: &str = include_str!("../README.md");

pub(crate) fn router() -> Router<Sandbox> {
    Router::new()
        .route("/control", get(help))
        .route("/control/state", shown(state))
        .route("/control/accounts", shown(accounts).post(add_account))
        .route("/control/accounts/{user_id}", patch(change_account))
        .route("/control/accounts/{user_id}/signed-request", get(signed_request))
        .route("/control/accounts/{user_id}/withdraw", post(withdraw))
        .route("/control/accounts/{user_id}/{action}", post(act_on_account))
        .route("/control/clock", shown(clock).post(advance_clock))
        .route("/control/faults", list(faults, Sandbox::clear_faults).post(add_faults))
        .route("/control/calls", list(calls, Sandbox::clear_calls))
        .route("/control/old-token", switch("behaviour", |switches| &mut switches.old_token))
        .route("/control/inspection", switch("allow", |switches| &mut switches.inspection))
        .route("/control/expires-in", switch("shape", |switches| &mut switches.expires_in))
        .route("/control/redirect", switch("ending", |switches| &mut switches.redirect))
        .route("/control/exchange", switch("answer", |switches| &mut switches.exchange))
        .route("/control/bad-hours", list(bad_hours, Sandbox::clear_bad_hours).post(add_bad_hours))
        .route("/control/{*rest}", any(unknown))
        .method_not_allowed_fallback(wrong_method)
}

/// A refused control request: an HTTP status, and a text with the correction.
struct Refused(StatusCode, String);

type Outcome = Result<(StatusCode, Value), Refused>;

fn finish(outcome: Outcome) -> Response {
    match outcome {
        Ok((status, body)) => Reply::json(status, &body),
        Err(Refused(status, error)) => Reply::json(status, &json!({ "error": error })),
    }
    .send()
}

fn bad_request(error: String) -> Refused {
    Refused(StatusCode::BAD_REQUEST, error)
}

/// The variable segments of a path. Segments that are not text get a refusal like any other.
struct Segments<T>(T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Segments<T> {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Response> {
        match Path::from_request_parts(parts, state).await {
            Ok(Path(segments)) => Ok(Self(segments)),
            Err(rejection) => Err(finish(Err(bad_request(rejection.body_text())))),
        }
    }
}

fn no_account() -> Refused {
    Refused(StatusCode::NOT_FOUND, "there is no account with this user_id".to_owned())
}

fn read<T: DeserializeOwned>(body: &Bytes) -> Result<T, Refused> {
    serde_json::from_slice(body).map_err(|error| bad_request(error.to_string()))
}

/// A part of the sandbox that can be read.
fn shown(show: fn(&Sandbox) -> Value) -> MethodRouter<Sandbox> {
    get(move |State(sandbox): State<Sandbox>| async move { finish(Ok((StatusCode::OK, show(&sandbox)))) })
}

/// A list that can be read and emptied.
fn list(show: fn(&Sandbox) -> Value, clear: fn(&Sandbox)) -> MethodRouter<Sandbox> {
    shown(show).delete(move |State(sandbox): State<Sandbox>| async move {
        clear(&sandbox);
        finish(Ok((StatusCode::OK, show(&sandbox))))
    })
}

async fn help() -> Response {
    Reply::new(StatusCode::OK, "text/markdown; charset=utf-8", HELP.to_owned()).send()
}

async fn unknown() -> Response {
    finish(Err(Refused(StatusCode::NOT_FOUND, "no such control; GET /control lists them".to_owned())))
}

async fn wrong_method() -> Response {
    let error = "this control does not take this method; GET /control lists them".to_owned();
    finish(Err(Refused(StatusCode::METHOD_NOT_ALLOWED, error)))
}

fn show(account: &Account) -> Value {
    json!({
        "user_id": account.user_id,
        "username": account.username,
        "private": account.private,
        "tester": account.tester,
        "tester_pending": account.tester_pending,
        "extends": account.extends,
        "status": account.status,
        "authorized_at": account.authorized_at,
        "data_access_expires_at": account.data_access_ends(),
    })
}

fn show_changed(account: Option<Account>) -> Outcome {
    let account = account.ok_or_else(no_account)?;
    Ok((StatusCode::OK, show(&account)))
}

fn state(sandbox: &Sandbox) -> Value {
    let now = sandbox.now();
    let offset = sandbox.clock().offset();
    sandbox.read(|state| {
        let (tokens, codes) = state.world.counts();
        let switches = state.world.switches();
        json!({
            "app_id": sandbox.app().id,
            "now": now,
            "clock_offset_seconds": offset.as_secs(),
            "old_token": switches.old_token,
            "inspection": switches.inspection,
            "expires_in": switches.expires_in,
            "redirect": switches.redirect,
            "exchange": switches.exchange,
            "bad_hours": switches.bad_hours,
            "accounts": state.world.accounts().iter().map(show).collect::<Vec<_>>(),
            "tokens": tokens,
            "unspent_codes": codes,
            "calls": state.calls.counts(),
            "faults": state.faults.waiting().len(),
        })
    })
}

fn accounts(sandbox: &Sandbox) -> Value {
    let accounts: Vec<Value> = sandbox.accounts().iter().map(show).collect();
    json!({ "accounts": accounts })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AccountRequest {
    username: String,
    #[serde(default)]
    user_id: Option<String>,
    #[serde(default)]
    private: bool,
    #[serde(default)]
    tester: bool,
    tester_pending: Option<bool>,
    extends: Option<bool>,
}

async fn add_account(State(sandbox): State<Sandbox>, body: Bytes) -> Response {
    finish(try_add_account(&sandbox, &body))
}

fn try_add_account(sandbox: &Sandbox, body: &Bytes) -> Outcome {
    let AccountRequest { username, user_id, private, tester, tester_pending, extends } = read(body)?;
    let new = NewAccount { username, user_id, private, tester };
    new.check().map_err(bad_request)?;
    let rest = AccountChange { tester_pending, extends, ..AccountChange::default() };
    let (account, created) = sandbox.change(|state| {
        let (account, created) = state.world.ensure_account(new);
        if !created {
            return (account, created);
        }
        let changed = state.world.change(&account.user_id, |account| rest.apply(account));
        (changed.unwrap_or(account), created)
    });
    Ok((if created { StatusCode::CREATED } else { StatusCode::OK }, show(&account)))
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct AccountChange {
    private: Option<bool>,
    tester: Option<bool>,
    tester_pending: Option<bool>,
    extends: Option<bool>,
}

impl AccountChange {
    fn apply(&self, account: &mut Account) {
        account.private = self.private.unwrap_or(account.private);
        account.tester = self.tester.unwrap_or(account.tester);
        account.tester_pending = self.tester_pending.unwrap_or(account.tester_pending);
        account.extends = self.extends.unwrap_or(account.extends);
    }
}

async fn change_account(
    State(sandbox): State<Sandbox>,
    Segments(user_id): Segments<String>,
    body: Bytes,
) -> Response {
    finish(read(&body).and_then(|change: AccountChange| {
        show_changed(sandbox.change_account(&user_id, |account| change.apply(account)))
    }))
}

async fn act_on_account(
    State(sandbox): State<Sandbox>,
    Segments((user_id, action)): Segments<(String, String)>,
) -> Response {
    let status = match &*action {
        "revoke" => AccountStatus::Revoked,
        "change-password" => AccountStatus::PasswordChanged,
        "checkpoint" => AccountStatus::Checkpoint,
        "unconfirm" => AccountStatus::Unconfirmed,
        "invalidate" => AccountStatus::Invalidated,
        "restrict" => AccountStatus::Restricted,
        "restore" => AccountStatus::Active,
        _ => return unknown().await,
    };
    let changed = sandbox.change_account(&user_id, |account| account.status = status);
    finish(show_changed(changed))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Withdraw {
    scope: String,
}

async fn withdraw(
    State(sandbox): State<Sandbox>,
    Segments(user_id): Segments<String>,
    body: Bytes,
) -> Response {
    finish(read(&body).and_then(|Withdraw { scope }| {
        if scope == BASIC_SCOPE {
            return Err(bad_request(format!(
                "{BASIC_SCOPE} goes with the whole app only: use /control/accounts/{{user_id}}/revoke"
            )));
        }
        if !sandbox.withdraw(&user_id, &scope) {
            return Err(no_account());
        }
        Ok((StatusCode::OK, json!({ "withdrawn": scope })))
    }))
}

async fn signed_request(State(sandbox): State<Sandbox>, Segments(user_id): Segments<String>) -> Response {
    finish(match sandbox.account(&user_id) {
        Some(_) => Ok((StatusCode::OK, json!({ "signed_request": sandbox.signed_request(&user_id) }))),
        None => Err(no_account()),
    })
}

fn clock(sandbox: &Sandbox) -> Value {
    let offset = sandbox.clock().offset().as_secs();
    json!({ "now": sandbox.now(), "offset_seconds": offset })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Advance {
    advance_seconds: u64,
}

async fn advance_clock(State(sandbox): State<Sandbox>, body: Bytes) -> Response {
    finish(read(&body).and_then(|Advance { advance_seconds }| {
        if advance_seconds > MAX_ADVANCE {
            return Err(bad_request(format!("advance_seconds: at most {MAX_ADVANCE}, ten years")));
        }
        sandbox.advance(Duration::from_secs(advance_seconds));
        Ok((StatusCode::OK, clock(&sandbox)))
    }))
}

fn faults(sandbox: &Sandbox) -> Value {
    json!({ "faults": sandbox.faults() })
}

async fn add_faults(State(sandbox): State<Sandbox>, body: Bytes) -> Response {
    finish(read::<Fault>(&body).and_then(|fault| {
        fault.check().map_err(bad_request)?;
        sandbox.inject(fault);
        Ok((StatusCode::CREATED, faults(&sandbox)))
    }))
}

fn calls(sandbox: &Sandbox) -> Value {
    json!({ "calls": sandbox.calls() })
}

/// A switch that is read and set as the field `name`.
fn switch<T>(name: &'static str, of: fn(&mut Switches) -> &mut T) -> MethodRouter<Sandbox>
where
    T: Serialize + DeserializeOwned + 'static,
{
    let show = move |sandbox: &Sandbox| {
        let mut switches = sandbox.read(|state| state.world.switches().clone());
        (StatusCode::OK, json!({ name: of(&mut switches) }))
    };
    let set = move |sandbox: &Sandbox, body: &Bytes| -> Outcome {
        let value = read_field(name, body)?;
        sandbox.change(|state| *of(state.world.switches_mut()) = value);
        Ok(show(sandbox))
    };
    get(move |State(sandbox): State<Sandbox>| async move { finish(Ok(show(&sandbox))) })
        .post(move |State(sandbox): State<Sandbox>, body: Bytes| async move { finish(set(&sandbox, &body)) })
}

/// The value of an object's only field.
fn read_field<T: DeserializeOwned>(name: &str, body: &Bytes) -> Result<T, Refused> {
    let mut fields: Map<String, Value> = read(body)?;
    let value = fields.remove(name);
    if let Some(other) = fields.keys().next() {
        return Err(bad_request(format!("unknown field `{other}`, expected `{name}`")));
    }
    let value = value.ok_or_else(|| bad_request(format!("missing field `{name}`")))?;
    serde_json::from_value(value).map_err(|error| bad_request(format!("{name}: {error}")))
}

fn bad_hours(sandbox: &Sandbox) -> Value {
    sandbox.read(|state| json!({ "bad_hours": state.world.switches().bad_hours }))
}

async fn add_bad_hours(State(sandbox): State<Sandbox>, body: Bytes) -> Response {
    finish(read::<BadHours>(&body).and_then(|hours| {
        hours.check().map_err(bad_request)?;
        sandbox.add_bad_hours(hours);
        Ok((StatusCode::CREATED, bad_hours(&sandbox)))
    }))
}
