//! The Graph API's operations, as functions from parameters to an answer.
//!
//! They have no access to faults, logs or connections, and accept only Meta's methods.

use axum::http::{Method, StatusCode};
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::app::App;
use crate::authorize;
use crate::bad_hours::BadAnswer;
use crate::call::SandboxCall;
use crate::graph_error::{GraphError, code_refused, exchange_refused};
use crate::inspection::debug_token;
use crate::params::{Call, Params};
use crate::reply::Reply;
use crate::switches::{ExchangeAnswer, ExpiresIn};
use crate::world::{BASIC_SCOPE, CodeFault, Issued, World};

/// The token or code that a call presents.
pub(crate) fn credential(call: SandboxCall, params: &Params) -> Option<&str> {
    match call {
        SandboxCall::Authorize | SandboxCall::AppToken => None,
        SandboxCall::ExchangeCode => params.get("code"),
        SandboxCall::DebugToken => params.get("input_token"),
        SandboxCall::ExchangeLongLived | SandboxCall::Refresh | SandboxCall::Me => params.get("access_token"),
    }
}

/// The answer of bad hours to a call, if it is one that they concern.
pub(crate) fn in_bad_hours(
    call: SandboxCall,
    world: &World,
    app: &App,
    now: Timestamp,
    params: &Params,
) -> Option<BadAnswer> {
    let answer = world.switches().bad_answer(now)?;
    let has_persons_token = match call {
        SandboxCall::Authorize => return None,
        SandboxCall::ExchangeCode | SandboxCall::AppToken => false,
        SandboxCall::ExchangeLongLived | SandboxCall::Refresh | SandboxCall::Me | SandboxCall::DebugToken => {
            !app.has_token(params.text("access_token"))
        }
    };
    (has_persons_token || !answer.is_about_tokens()).then_some(answer)
}

/// Performs an operation and answers it. `name` is that of its path.
pub(crate) fn perform(
    call: SandboxCall,
    name: &str,
    world: &mut World,
    app: &App,
    now: Timestamp,
    request: &Call,
) -> Reply {
    let takes_post = matches!(call, SandboxCall::ExchangeCode | SandboxCall::AppToken);
    if request.method != Method::GET && !(takes_post && request.method == Method::POST) {
        return GraphError::no_object(request.method.as_str(), name).into();
    }
    let params = &request.params;
    let done = match call {
        SandboxCall::Authorize => Ok(authorize::dialog(world, app, now, params)),
        SandboxCall::ExchangeCode => exchange_code(world, app, now, params),
        SandboxCall::ExchangeLongLived => exchange_long_lived(world, app, now, params),
        SandboxCall::Refresh => refresh(world, app, now, params),
        SandboxCall::Me => profile(name, world, app, now, params),
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
    let answer = world.switches().exchange;
    if answer == ExchangeAnswer::InsufficientRole {
        return Ok(exchange_refused("Insufficient developer role"));
    }
    Ok(match world.redeem(now, code, params.text("redirect_uri")) {
        Ok((token, user_id)) => {
            // An integer above 2^53, as Meta sends it. An id given to the Rust API that is not an
            // integer stays text.
            let id = user_id.parse::<u64>().map_or_else(|_| Value::from(&*user_id), Value::from);
            let body = match answer {
                ExchangeAnswer::WithoutUserId => json!({ "access_token": token }),
                ExchangeAnswer::ZeroUserId => json!({ "access_token": token, "user_id": 0 }),
                ExchangeAnswer::Wrapped => {
                    let one =
                        json!({ "access_token": token, "user_id": user_id, "permissions": BASIC_SCOPE });
                    json!({ "data": [one] })
                }
                ExchangeAnswer::WithTokenType => {
                    json!({ "access_token": token, "user_id": id, "token_type": "bearer" })
                }
                ExchangeAnswer::Documented | ExchangeAnswer::InsufficientRole => {
                    json!({ "access_token": token, "user_id": id })
                }
            };
            Reply::json(StatusCode::OK, &body).about(user_id)
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
    let token = of_a_person(app, params)?;
    let issued = world.exchange(now, token).map_err(|fault| GraphError::token(fault, now))?;
    Ok(long_lived(&issued, world.switches().expires_in, now))
}

fn refresh(world: &mut World, app: &App, now: Timestamp, params: &Params) -> Result<Reply, GraphError> {
    grant_type(params, "th_refresh_token")?;
    let token = of_a_person(app, params)?;
    let issued = world.refresh(now, token).map_err(|fault| GraphError::token(fault, now))?;
    Ok(long_lived(&issued, world.switches().expires_in, now))
}

fn long_lived(issued: &Issued, shape: ExpiresIn, now: Timestamp) -> Reply {
    let left = |end: Timestamp| end.duration_since(now).unsigned_abs();
    let mut body = json!({ "access_token": issued.text, "token_type": "bearer" });
    if let Some(expires_in) = shape.value(left(issued.expires_at), left(issued.given_expires_at)) {
        body["expires_in"] = expires_in;
    }
    Reply::json(StatusCode::OK, &body)
}

fn app_token(app: &App, params: &Params) -> Result<Reply, GraphError> {
    app.check(params)?;
    Ok(Reply::json(StatusCode::OK, &json!({ "access_token": app.token(), "token_type": "bearer" })))
}

/// The profile of the token's person, by `me` or by the person's own id. A person's token reads no
/// other profile, and the app's token none at all.
fn profile(
    name: &str,
    world: &World,
    app: &App,
    now: Timestamp,
    params: &Params,
) -> Result<Reply, GraphError> {
    let token = params.access_token().ok_or_else(GraphError::missing_token)?;
    let is_me = name == "me";
    if app.has_token(token) {
        return Err(if is_me { GraphError::missing_token() } else { GraphError::no_object("get", name) });
    }
    let (_, account) = world.live_token(now, token).map_err(|fault| GraphError::token(fault, now))?;
    if !is_me && name != account.user_id {
        return Err(GraphError::no_object("get", name));
    }
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
            "is_verified" | "is_eligible_for_geo_gating" => false.into(),
            "recently_searched_keywords" => json!([]),
            _ => {
                return Err(GraphError::oauth(100, None, "(#100) Tried accessing nonexisting field"));
            }
        };
        profile.insert(field.to_owned(), value);
    }
    Ok(Reply::json(StatusCode::OK, &profile.into()))
}

/// The presented token, which is not one of the app's own.
fn of_a_person<'a>(app: &App, params: &'a Params) -> Result<&'a str, GraphError> {
    let token = params.access_token().ok_or_else(GraphError::missing_token)?;
    if app.has_token(token) { Err(GraphError::wrong_kind()) } else { Ok(token) }
}

fn grant_type(params: &Params, wanted: &str) -> Result<(), GraphError> {
    if params.text("grant_type") == wanted {
        return Ok(());
    }
    Err(GraphError::oauth(100, None, format!("(#100) The parameter grant_type must be {wanted}")))
}
