//! The controls of the sandbox: a method and a path, and a body in JSON.

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode};
use serde_json::Value;
use threads_sandbox::{NewAccount, Sandbox, SandboxOptions};
use tokio::runtime::{Builder, Runtime};
use tower_service::Service as _;

use crate::text::lines;

const SECRET: &str = "the-secret-of-the-app";

pub(crate) fn run(data: &[u8]) {
    thread_local! {
        static RUNTIME: Runtime = Builder::new_current_thread().build().unwrap();
    }
    let Some(([target], body)) = lines::<1>(data) else { return };
    // Every other path is one of Meta's.
    let (method, path) = target.split_once(' ').unwrap_or(("POST", target));
    if !path.is_empty() && !path.starts_with('/') {
        return;
    }
    let sandbox = Sandbox::new(SandboxOptions {
        accounts: vec![NewAccount::new("ada", "17841400000000001")],
        ..SandboxOptions::new("123", SECRET)
    });
    let router = sandbox.unwrap().router(None);
    RUNTIME.with(|runtime| {
        let Some((status, answer)) = runtime.block_on(ask(&router, method, &format!("/control{path}"), body)) else {
            return;
        };
        assert!(status.is_success() || status.is_client_error(), "{status} for {target}");
        assert!(!answer.contains(SECRET), "{answer}");
        if status.is_client_error() {
            let answer: Value = serde_json::from_str(&answer).unwrap();
            assert!(answer.get("error").is_some(), "{answer}");
        }
        // The sandbox goes on after each of them.
        let (status, state) = runtime.block_on(ask(&router, "GET", "/control/state", "")).unwrap();
        assert_eq!(status, StatusCode::OK, "{state}");
        assert!(serde_json::from_str::<Value>(&state).unwrap()["accounts"].is_array());
    });
}

/// Returns the answer, or `None` if this is no request.
async fn ask(router: &Router, method: &str, path: &str, body: &str) -> Option<(StatusCode, String)> {
    let request = Request::builder().method(method).uri(path).header("host", "localhost");
    let request = request.body(Body::from(body.to_owned())).ok()?;
    let answer = router.clone().call(request).await.unwrap();
    let status = answer.status();
    let body = to_bytes(answer.into_body(), usize::MAX).await.unwrap();
    Some((status, String::from_utf8(body.to_vec()).unwrap()))
}
