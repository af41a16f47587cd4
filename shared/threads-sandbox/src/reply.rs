//! An answer before it is sent, so that a fault can still lose it or cut it.

use std::io;

use axum::body::{Body, Bytes};
use axum::http::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, LOCATION};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::Response;
use futures_util::stream::{self, StreamExt as _};
use serde_json::Value;

/// Status, headers, a whole body, and the person that it is about.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
    pub(crate) body: String,
    pub(crate) user_id: Option<String>,
}

impl Reply {
    pub(crate) fn new(status: StatusCode, content_type: &'static str, body: String) -> Self {
        let headers = vec![(CONTENT_TYPE, HeaderValue::from_static(content_type))];
        Self { status, headers, body, user_id: None }
    }

    pub(crate) fn json(status: StatusCode, body: &Value) -> Self {
        Self::new(status, "application/json; charset=UTF-8", body.to_string())
    }

    pub(crate) fn html(status: StatusCode, page: String) -> Self {
        Self::new(status, "text/html; charset=utf-8", page)
    }

    /// 302. `location` must have been checked to be printable ASCII.
    pub(crate) fn redirect(location: &str) -> Self {
        let mut reply = Self::new(StatusCode::FOUND, "text/plain; charset=utf-8", "Redirecting\n".to_owned());
        match HeaderValue::try_from(location) {
            Ok(location) => reply.headers.push((LOCATION, location)),
            Err(_) => reply.status = StatusCode::INTERNAL_SERVER_ERROR,
        }
        reply
    }

    pub(crate) fn about(mut self, user_id: impl Into<String>) -> Self {
        self.user_id = Some(user_id.into());
        self
    }

    /// The whole answer.
    pub(crate) fn send(self) -> Response {
        let (body, response) = self.start();
        response(Body::from(body))
    }

    /// The whole answer's length, half of its body, and the end of the connection.
    pub(crate) fn send_half(mut self) -> Response {
        self.headers.push((CONTENT_LENGTH, HeaderValue::from(self.body.len())));
        let (body, response) = self.start();
        let half = Bytes::copy_from_slice(&body.as_bytes()[..body.len() / 2]);
        let sent = stream::once(async { Ok::<_, io::Error>(half) });
        // The pause lets the server flush the half before the error makes it close the connection.
        let cut = stream::once(async {
            tokio::task::yield_now().await;
            Err(io::Error::other("cut by a fault"))
        });
        response(Body::from_stream(sent.chain(cut)))
    }

    fn start(self) -> (String, impl FnOnce(Body) -> Response) {
        let Self { status, headers, body, .. } = self;
        let respond = move |body| {
            let mut response = Response::new(body);
            *response.status_mut() = status;
            response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
            for (name, value) in headers {
                response.headers_mut().insert(name, value);
            }
            response
        };
        (body, respond)
    }
}

/// Closes the connection without an answer: the HTTP/1 server gives up a response whose body fails
/// before the head was flushed. Going through the body keeps this working under any axum server
/// that the router is mounted on.
pub(crate) fn hang_up() -> Response {
    let failed = stream::once(async { Err::<Bytes, _>(io::Error::other("dropped by a fault")) });
    Response::new(Body::from_stream(failed))
}
