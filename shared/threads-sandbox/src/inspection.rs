//! `debug_token`: its callers, and its answer about a token.

use axum::http::StatusCode;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::account::Account;
use crate::app::App;
use crate::graph_error::GraphError;
use crate::params::Params;
use crate::reply::Reply;
use crate::switches::Inspection;
use crate::world::{TokenFault, World};

/// The app's name.
const APPLICATION: &str = "Threads sandbox";

pub(crate) fn debug_token(
    world: &World,
    app: &App,
    now: Timestamp,
    params: &Params,
) -> Result<Reply, GraphError> {
    let caller = params.access_token().ok_or_else(GraphError::missing_token)?;
    let only_of = admit(world, app, now, caller)?;
    let Some(input) = params.get("input_token").filter(|input| !input.is_empty()) else {
        return Err(GraphError::oauth(100, None, "(#100) The parameter input_token is required"));
    };
    if app.has_token(input) {
        let data = json!({ "type": "APP", "application": APPLICATION, "is_valid": true, "scopes": [] });
        return Ok(Reply::json(StatusCode::OK, &json!({ "data": data })));
    }
    let Some(token) = world.token(input) else {
        let error = GraphError::token(TokenFault::Unknown, now).body();
        let data = json!({ "is_valid": false, "scopes": [], "error": inner(&error) });
        return Ok(Reply::json(StatusCode::OK, &json!({ "data": data })));
    };
    if only_of.is_some_and(|user_id| user_id != token.user_id) {
        return Err(GraphError::not_of_the_app());
    }
    let fault = world.valid_token(now, input).err();
    let data_access = world.account(&token.user_id).and_then(Account::data_access_ends);
    let mut data = json!({
        "type": "USER",
        "application": APPLICATION,
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

/// Accepts the callers that the switch allows. `Some` for one who may inspect this person's tokens
/// only.
fn admit<'a>(
    world: &'a World,
    app: &App,
    now: Timestamp,
    caller: &str,
) -> Result<Option<&'a str>, GraphError> {
    let allow = world.switches().inspection;
    if app.has_token(caller) {
        return match allow {
            Inspection::TestersAndApp | Inspection::Anybody | Inspection::App => Ok(None),
            Inspection::Testers | Inspection::Nobody => Err(GraphError::no_permission()),
        };
    }
    let (token, account) = world.live_token(now, caller).map_err(|fault| GraphError::token(fault, now))?;
    match allow {
        Inspection::TestersAndApp | Inspection::Anybody | Inspection::Testers if account.tester => Ok(None),
        Inspection::Anybody => Ok(Some(&token.user_id)),
        Inspection::App => Err(GraphError::not_of_the_app()),
        Inspection::TestersAndApp | Inspection::Testers | Inspection::Nobody => {
            Err(GraphError::no_permission())
        }
    }
}

/// The part that a token inspection repeats of the error that a call with the token would get.
fn inner(error: &Value) -> Value {
    let mut inner = json!({ "code": error["code"], "message": error["message"] });
    if let Some(subcode) = error.get("error_subcode") {
        inner["subcode"] = subcode.clone();
    }
    inner
}
