//! The callers that each listener and route accepts, in one table for development.
//!
//! - [`Door::Signed`]: `DynamoDb`, `SecretsManager`, `EventBridge`, and the routes of `Service`
//!   with IAM authorization. For programs that sign with the data folder's key: loopback `Host`, no
//!   `Origin`, no preflight.
//! - [`Door::Local`]: `/` and `/dev/…` of `Service`, `/` and `/control…` of the sandbox. For this
//!   machine: loopback `Host`, no header of a proxy or a tunnel, own `Origin` or none.
//! - [`Door::Form`]: the form of the sandbox's consent page. Loopback or public `Host`, own
//!   `Origin` or none.
//! - [`Door::Public`]: all other routes of `Service`, OAuth and Graph of the sandbox. Loopback or
//!   public `Host`, navigations from anywhere, no CORS.
//!
//! The sandbox implements its doors in its own crate, because it also runs alone.

use std::collections::HashMap;
use std::sync::Arc;

use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{Method, StatusCode};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Json, Response};
use axum::{Router, http};
use serde_json::json;
use threads_auth_web::headers::secure;
use threads_sandbox::{Clock, Door, TurnedAway};

use crate::environment::{KEY_ID_VARIABLE, REGION, SECRET_VARIABLE};
use crate::sigv4::{Refused, Signer};
use crate::{dev, dynamodb, gateway};

/// A listener of the stack, except the sandbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Listener {
    Service,
    DynamoDb,
    SecretsManager,
    EventBridge,
}

impl Listener {
    fn door(self, method: &Method, path: &str) -> Door {
        match self {
            Self::DynamoDb | Self::SecretsManager | Self::EventBridge => Door::Signed,
            Self::Service if dev::is_development(path) => Door::Local,
            Self::Service if gateway::is_private(method, path) => Door::Signed,
            Self::Service => Door::Public,
        }
    }

    /// Returns the service that a signature must be for.
    const fn signing_name(self) -> &'static str {
        match self {
            Self::Service => "execute-api",
            Self::DynamoDb => "dynamodb",
            Self::SecretsManager => "secretsmanager",
            Self::EventBridge => "events",
        }
    }

    /// Returns the maximum length of a body that is read before its signature is checked.
    const fn max_body(self) -> usize {
        match self {
            Self::Service => gateway::MAX_BODY,
            Self::DynamoDb => dynamodb::MAX_BODY,
            Self::SecretsManager | Self::EventBridge => 1024 * 1024,
        }
    }

    fn refuse(self, parts: &http::request::Parts, reason: &Refused) -> Response {
        match self {
            Self::Service => gateway::forbidden(&parts.method, reason),
            Self::DynamoDb | Self::SecretsManager | Self::EventBridge => {
                tracing::warn!(listener = ?self, %reason, "a request was refused for its signature");
                let why = json!({"__type": "InvalidSignatureException", "message": reason.to_string()});
                (StatusCode::FORBIDDEN, Json(why)).into_response()
            }
        }
    }
}

/// The access key of development, which opens only this stack.
#[derive(Clone)]
pub(crate) struct Key {
    pub(crate) access_key_id: String,
    pub(crate) secret_access_key: String,
}

impl Key {
    /// Returns the key that the functions sign with, whose variables may differ.
    pub(crate) fn with(&self, variables: &HashMap<String, String>) -> Self {
        let variable = |name: &str, ours: &str| variables.get(name).map_or(ours, String::as_str).to_owned();
        Self {
            access_key_id: variable(KEY_ID_VARIABLE, &self.access_key_id),
            secret_access_key: variable(SECRET_VARIABLE, &self.secret_access_key),
        }
    }
}

/// Adds its doors in front of a listener's routes.
pub(crate) fn close(router: Router, listener: Listener, public_host: Option<&str>, key: &Key) -> Router {
    let public_host = public_host.map(str::to_owned);
    let doors = Arc::new(Doors { listener, public_host, key: key.clone() });
    router.layer(from_fn_with_state(doors, keep))
}

/// Adds [`Door::Local`] in front of every route of a listener that is not the stack's.
pub fn for_this_machine(router: Router) -> Router {
    router.layer(from_fn(async |request: Request, next: Next| {
        let (parts, body) = request.into_parts();
        match Door::Local.check(&parts, None) {
            Ok(()) => next.run(Request::from_parts(parts, body)).await,
            Err(turned_away) => refuse(turned_away),
        }
    }))
}

fn refuse(turned_away: TurnedAway) -> Response {
    tracing::warn!(reason = turned_away.reason(), "a request was turned away");
    secure(turned_away.into_response())
}

struct Doors {
    listener: Listener,
    public_host: Option<String>,
    key: Key,
}

async fn keep(State(doors): State<Arc<Doors>>, request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    let listener = doors.listener;
    let door = listener.door(&parts.method, parts.uri.path());
    if let Err(turned_away) = door.check(&parts, doors.public_host.as_deref()) {
        return refuse(turned_away);
    }
    if door != Door::Signed {
        return next.run(Request::from_parts(parts, body)).await;
    }
    let Ok(body) = to_bytes(body, listener.max_body()).await else {
        return secure(StatusCode::PAYLOAD_TOO_LARGE.into_response());
    };
    let signer = Signer {
        access_key_id: &doors.key.access_key_id,
        secret_access_key: &doors.key.secret_access_key,
        region: REGION,
        service: listener.signing_name(),
    };
    // Clients sign with the real time, even if our clock was moved.
    match signer.verify(&parts, &body, Clock::system().now()) {
        Ok(()) => next.run(Request::from_parts(parts, Body::from(body))).await,
        Err(reason) => listener.refuse(&parts, &reason),
    }
}
