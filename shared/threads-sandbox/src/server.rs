//! The routes, and the way of a call through them: read, let a fault strike, act, log, answer.
//!
//! `graph` and `authorize` decide the effect of an operation.

use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{Method, StatusCode};
use axum::middleware::from_fn_with_state;
use axum::response::Response;
use axum::routing::{get, post};
use axum::serve::ListenerExt as _;
use tokio::net::TcpListener;

use crate::call::{CallRecord, SandboxCall};
use crate::doors::{Door, Doors};
use crate::fault::{self, FaultAction};
use crate::graph_error::GraphError;
use crate::params::Call;
use crate::path::Target;
use crate::reply::{Reply, hang_up};
use crate::sandbox::Sandbox;
use crate::{authorize, control, graph, mint, page};

/// The page of an overloaded proxy in front of Meta.
const BAD_GATEWAY: &str = "<!DOCTYPE html>\n<html><head><title>502 Bad Gateway</title></head>\n\
                           <body><h1>502 Bad Gateway</h1><p>Sorry, something went wrong.</p></body></html>\n";

/// The callers that each route accepts. The paths behind a door are exactly these, and the Threads
/// side, which accepts several spellings of a path, has none of them.
fn door(_: &Method, path: &str) -> Door {
    match path {
        "/" | "/control" => Door::Local,
        "/oauth/consent" => Door::Form,
        _ if path.starts_with("/control/") => Door::Local,
        _ => Door::Public,
    }
}

impl Sandbox {
    /// All routes: authorize site, Graph API, control endpoint and pages, on one origin. All but
    /// the control endpoint also answer to `public_host`, the name of a tunnel that ends here.
    pub fn router(&self, public_host: Option<String>) -> Router {
        Router::new()
            .route("/", get(index))
            .route("/oauth/consent", post(consent))
            .merge(control::router())
            .fallback(threads)
            .layer(from_fn_with_state(Doors { door, public_host }, Doors::keep))
            .with_state(self.clone())
    }

    /// Serves HTTP on `listener` until `shutdown` ends and the open requests are answered.
    ///
    /// # Errors
    ///
    /// Returns the listener's error if it fails permanently.
    pub async fn serve(
        self,
        listener: TcpListener,
        shutdown: impl Future<Output = ()> + Send + 'static,
    ) -> std::io::Result<()> {
        self.serve_as(None, listener, shutdown).await
    }

    /// The same under a public name too, that of a tunnel which ends here.
    ///
    /// # Errors
    ///
    /// Returns the listener's error if it fails permanently.
    pub async fn serve_as(
        self,
        public_host: Option<String>,
        listener: TcpListener,
        shutdown: impl Future<Output = ()> + Send + 'static,
    ) -> std::io::Result<()> {
        // Small answers on kept-alive connections would otherwise wait for the client's delayed
        // acknowledgement.
        let listener = listener.tap_io(|stream| {
            if let Err(error) = stream.set_nodelay(true) {
                tracing::debug!(%error, "TCP_NODELAY could not be set");
            }
        });
        axum::serve(listener, self.router(public_host)).with_graceful_shutdown(shutdown).await
    }
}

async fn index(State(sandbox): State<Sandbox>) -> Response {
    let now = sandbox.now();
    sandbox.read(|state| page::index(&state.world, &state.calls, sandbox.app(), now)).send()
}

/// The Threads side: every path that is neither a page nor a control.
async fn threads(State(sandbox): State<Sandbox>, request: Request) -> Response {
    let path = request.uri().path().to_owned();
    let Some(target) = Target::find(&path) else {
        return Reply::from(GraphError::unknown_path()).send();
    };
    let Ok(request) = Call::read(request).await else {
        return Reply::from(GraphError::too_large()).send();
    };
    answer(sandbox, target, request).await
}

/// The person's decision. It is not one of Meta's calls, so neither faults nor the log include it.
async fn consent(State(sandbox): State<Sandbox>, request: Request) -> Response {
    let Ok(call) = Call::read(request).await else {
        return Reply::from(GraphError::too_large()).send();
    };
    let now = sandbox.now();
    sandbox.change(|state| authorize::consent(&mut state.world, sandbox.app(), now, &call.params)).send()
}

/// The way in which an answer leaves.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Delivery {
    Whole,
    Half,
    Lost,
}

async fn answer(sandbox: Sandbox, target: Target<'_>, request: Call) -> Response {
    let call = target.endpoint.call(&request.params);
    let credential = graph::credential(call, &request.params);
    let cleared = sandbox.cleared();
    let now = sandbox.now();
    let (owner, fault, bad_answer) = sandbox.change(|state| {
        let owner = match call {
            SandboxCall::Authorize => request.params.get("auto_approve"),
            _ => credential.and_then(|credential| state.world.owner(credential)),
        };
        let owner = owner.map(str::to_owned);
        let fault = state.faults.strike(call, owner.as_deref());
        let bad = graph::in_bad_hours(call, &state.world, sandbox.app(), now, &request.params);
        let bad_answer = bad.filter(|_| fault.is_none());
        (owner, fault, bad_answer)
    });
    let name = fault.as_ref().map(FaultAction::name).or(bad_answer.map(|_| "bad_hours"));
    if let Some(FaultAction::Delay { millis }) = fault {
        // Either ends the wait.
        let _ = tokio::time::timeout(Duration::from_millis(millis), cleared).await;
    }
    let (instead, delivery) = match fault {
        None | Some(FaultAction::Delay { .. }) => {
            (bad_answer.map(|answer| GraphError::of_bad_hours(answer).into()), Delivery::Whole)
        }
        Some(FaultAction::DropAfter) => (None, Delivery::Lost),
        Some(FaultAction::Truncate) => (None, Delivery::Half),
        Some(FaultAction::Drop) => (Some(Reply::new(StatusCode::OK, "", String::new())), Delivery::Lost),
        Some(action) => (Some(stand_in(action)), Delivery::Whole),
    };
    let acted = instead.is_none();
    let now = sandbox.now();
    let reply = sandbox.change(|state| {
        let reply = instead.unwrap_or_else(|| {
            graph::perform(call, target.name, &mut state.world, sandbox.app(), now, &request)
        });
        let status = if delivery == Delivery::Lost { 0 } else { reply.status.as_u16() };
        let user_id = owner.or_else(|| reply.user_id.clone());
        tracing::debug!(?call, status, user_id, fault = name, "call");
        state.calls.push(CallRecord {
            call,
            at: now,
            status,
            user_id,
            method: request.method.to_string(),
            content_type: request.content_type.clone(),
            credential_tag: credential.map(|credential| mint::hash(credential)[..6].to_owned()),
            fault: name,
            acted,
        });
        reply
    });
    match delivery {
        Delivery::Whole => reply.send(),
        Delivery::Half => reply.send_half(),
        Delivery::Lost => hang_up(),
    }
}

/// The answer in the operation's place.
fn stand_in(action: FaultAction) -> Reply {
    match action {
        FaultAction::Respond { status, body, headers } => {
            let mut reply = Reply::new(fault::status(status), "application/json; charset=UTF-8", body);
            let headers = headers.iter().filter_map(|(name, value)| fault::header(name, value));
            reply.headers.extend(headers);
            reply
        }
        FaultAction::GraphError { code, subcode, is_transient, status } => {
            GraphError::injected(code, subcode, is_transient, fault::status(status)).into()
        }
        FaultAction::Throttle { retry_after } => {
            let mut reply = Reply::from(GraphError::throttled());
            let header = retry_after.and_then(|seconds| fault::header("retry-after", &seconds.to_string()));
            reply.headers.extend(header);
            reply
        }
        FaultAction::Html => Reply::html(StatusCode::BAD_GATEWAY, BAD_GATEWAY.to_owned()),
        FaultAction::Empty
        | FaultAction::Delay { .. }
        | FaultAction::Drop
        | FaultAction::DropAfter
        | FaultAction::Truncate => {
            Reply::new(StatusCode::OK, "application/json; charset=UTF-8", String::new())
        }
    }
}
