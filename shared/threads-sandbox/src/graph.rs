//! The Graph API's operations, as functions from parameters to an answer.
//!
//! They know nothing of faults, logs or connections, and only the paths and methods that Meta documents.

use axum::http::{Method, StatusCode};
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::app::App;
use crate::authorize;
use crate::call::SandboxCall;
use crate::graph_error::{GraphError, code_refused};
use crate::mint;
use crate::params::{Call, Params};
use crate::reply::Reply;
use crate::world::{CodeFault, LONG_LIFE, TokenFault, World};

/// The token or code that a call presents.
pub(crate) fn credential(call: SandboxCall, params: &Params) -> Option<&str> {
    match call {
        SandboxCall::Authorize | SandboxCall::AppToken => None,
        SandboxCall::ExchangeCode => params.get("code"),
        SandboxCall::DebugToken => params.get("input_token"),
        SandboxCall::ExchangeLongLived | SandboxCall::Refresh | SandboxCall::Me => params.get("access_token"),
    }
}

/// Performs an operation and answers it.
pub(crate) fn perform(
    call: SandboxCall,
    world: &mut World,
    app: &App,
    now: Timestamp,
    request: &Call,
) -> Reply {
    let expected = if call == SandboxCall::ExchangeCode { Method::POST } else { Method::GET };
    if request.method != expected {
        return GraphError::unsupported_method(request.method.as_str(), &request.path).into();
    }
    let params = &request.params;
    let done = match call {
        SandboxCall::Authorize => Ok(authorize::dialog(world, app, now, params)),
        SandboxCall::ExchangeCode => exchange_code(world, app, now, params),
        SandboxCall::ExchangeLongLived => exchange_long_lived(world, app, now, params),
        SandboxCall::Refresh => refresh(world, now, params),
        SandboxCall::Me => me(world, now, params),
        SandboxCall::DebugToken => debug_token(world, app, now, params),
        SandboxCall::AppToken => app_token(app, params),
    };
    done.unwrap_or_else(Reply::from)
}

fn exchange_code(world: &mut World, app: &App, now: Timestamp, params: &Params) -> Result<Reply, GraphError> {
    app.check(params)?;
    grant_type(params, "authorization_code")?;
    let Some(code) = params.get("code") else {
        return Ok(code_refused(CodeFault::NotFound));
    };
    Ok(match world.redeem(now, code, params.text("redirect_uri")) {
        Ok((token, user_id)) => {
            // An integer above 2^53, as Meta sends it. An id given to the Rust API that is no integer stays text.
            let id = user_id.parse::<u64>().map_or_else(|_| Value::from(&*user_id), Value::from);
            Reply::json(StatusCode::OK, &json!({ "access_token": token, "user_id": id })).about(user_id)
        }
        Err(fault) => code_refused(fault),
    })
}

fn exchange_long_lived(
    world: &mut World,
    app: &App,
    now: Timestamp,
    params: &Params,
) -> Result<Reply, GraphError> {
    grant_type(params, "th_exchange_token")?;
    if !app.has_secret(params.text("client_secret")) {
        return Err(GraphError::wrong_secret());
    }
    let token = presented(params)?;
    let issued = world.exchange(now, token).map_err(|fault| GraphError::token(fault, now))?;
    Ok(long_lived(&issued))
}

fn refresh(world: &mut World, now: Timestamp, params: &Params) -> Result<Reply, GraphError> {
    grant_type(params, "th_refresh_token")?;
    let token = presented(params)?;
    let issued = world.refresh(now, token).map_err(|fault| GraphError::token(fault, now))?;
    Ok(long_lived(&issued))
}

fn long_lived(token: &str) -> Reply {
    let body = json!({ "access_token": token, "token_type": "bearer", "expires_in": LONG_LIFE.as_secs() });
    Reply::json(StatusCode::OK, &body)
}

fn app_token(app: &App, params: &Params) -> Result<Reply, GraphError> {
    grant_type(params, "client_credentials")?;
    app.check(params)?;
    Ok(Reply::json(StatusCode::OK, &json!({ "access_token": app.token(), "token_type": "bearer" })))
}

fn me(world: &World, now: Timestamp, params: &Params) -> Result<Reply, GraphError> {
    let (_, account) =
        world.live_token(now, presented(params)?).map_err(|fault| GraphError::token(fault, now))?;
    let mut profile = Map::new();
    profile.insert("id".to_owned(), account.user_id.clone().into());
    for field in params.text("fields").split(',').map(str::trim).filter(|field| !field.is_empty()) {
        let value: Value = match field {
            "id" => continue,
            "username" | "name" => account.username.clone().into(),
            "threads_biography" => "An account of the Threads sandbox".into(),
            "threads_profile_picture_url" => {
                format!("https://threads-sandbox.invalid/pictures/{}.jpg", account.user_id).into()
            }
            "is_verified" => false.into(),
            _ => {
                return Err(GraphError::oauth(100, None, "(#100) Tried accessing nonexisting field"));
            }
        };
        profile.insert(field.to_owned(), value);
    }
    Ok(Reply::json(StatusCode::OK, &profile.into()))
}

/// The caller may be the app, the inspected token itself, or another live token of the same person.
fn debug_token(world: &World, app: &App, now: Timestamp, params: &Params) -> Result<Reply, GraphError> {
    let caller = presented(params)?;
    let by_app = mint::hash(caller) == mint::hash(&app.token());
    let caller_owner = if by_app {
        None
    } else {
        let (token, _) = world.live_token(now, caller).map_err(|fault| GraphError::token(fault, now))?;
        Some(&*token.user_id)
    };
    let Some(input) = params.get("input_token").filter(|input| !input.is_empty()) else {
        return Err(GraphError::oauth(100, None, "(#100) The parameter input_token is required"));
    };
    let Some(token) = world.token(input) else {
        let error = GraphError::token(TokenFault::Unknown, now).body();
        let data = json!({ "is_valid": false, "scopes": [], "error": inner(&error) });
        return Ok(Reply::json(StatusCode::OK, &json!({ "data": data })));
    };
    if caller_owner.is_some_and(|owner| owner != token.user_id) {
        return Err(GraphError::oauth(
            100,
            None,
            "(#100) You must provide an app access token, or a user access token that is an owner or developer of the app",
        ));
    }
    let fault = world.live_token(now, input).err();
    let data_access = world.account(&token.user_id).and_then(|account| account.data_access_expires_at);
    let mut data = json!({
        "type": "USER",
        "application": "Threads sandbox",
        "data_access_expires_at": data_access.map_or(0, Timestamp::as_second),
        "expires_at": token.expires_at.as_second(),
        "is_valid": fault.is_none(),
        "issued_at": token.issued_at.as_second(),
        "scopes": token.scope.split(',').collect::<Vec<_>>(),
        "user_id": token.user_id,
    });
    if let Some(fault) = fault {
        data["error"] = inner(&GraphError::token(fault, now).body());
    }
    Ok(Reply::json(StatusCode::OK, &json!({ "data": data })))
}

/// What a token inspection repeats of the error that a call with the token would get.
fn inner(error: &Value) -> Value {
    let mut inner = json!({ "code": error["code"], "message": error["message"] });
    if let Some(subcode) = error.get("error_subcode") {
        inner["subcode"] = subcode.clone();
    }
    inner
}

fn presented(params: &Params) -> Result<&str, GraphError> {
    params.get("access_token").filter(|token| !token.is_empty()).ok_or_else(GraphError::missing_token)
}

fn grant_type(params: &Params, wanted: &str) -> Result<(), GraphError> {
    if params.text("grant_type") == wanted {
        return Ok(());
    }
    Err(GraphError::oauth(100, None, format!("(#100) The parameter grant_type must be {wanted}")))
}
