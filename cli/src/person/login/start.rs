//! The single-use URL at which a login begins.
//!
//! A program gets a URL in its arguments, which everybody on the machine can read. The browser's
//! URL therefore does not contain the state: it leads here, and the first visitor gets a cookie and
//! a redirect to Meta. Only that browser can bring the answer back.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result};
use axum::Router;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::header::{COOKIE, HeaderMap, LOCATION, SET_COOKIE};
use axum::http::{HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use subtle::ConstantTimeEq;
use threads_auth_model::seal::random_text;
use tokio::net::TcpListener;
use url::Url;

use super::page::{headers, page};
use super::peer;

/// The cookie that identifies the browser of this login. Its name is random too: two logins in one
/// browser share a host, and cookies ignore the port.
#[derive(Clone)]
pub(super) struct Pass {
    name: String,
    value: String,
}

impl Pass {
    fn new() -> Result<Self> {
        let random = random_text::<8>().and_then(|name| Ok((name, random_text::<32>()?)));
        let (name, value) = random.context("no random cookie can be created")?;
        Ok(Self { name: format!("threads-auth-login-{name}"), value })
    }

    /// `HttpOnly`; `SameSite=Lax`, because Meta's redirect is a navigation from another site; not
    /// Secure, because this address is http.
    fn cookie(&self) -> String {
        format!("{}={}; Path=/; HttpOnly; SameSite=Lax", self.name, self.value)
    }

    /// Returns true if the request carries the cookie.
    pub(super) fn is_in(&self, headers: &HeaderMap) -> bool {
        let cookies = headers.get_all(COOKIE).iter().filter_map(|header| header.to_str().ok());
        cookies.flat_map(|header| header.split(';')).filter_map(|cookie| cookie.trim().split_once('=')).any(
            |(name, value)| name == self.name && bool::from(value.as_bytes().ct_eq(self.value.as_bytes())),
        )
    }
}

/// The listener for the browser's first visit.
pub(super) struct Start {
    listener: TcpListener,
    address: String,
    path: String,
    pass: Pass,
}

struct Site {
    path: String,
    pass: Pass,
    /// Meta's URL.
    next: String,
    is_used: AtomicBool,
}

impl Start {
    /// Listens on a port of its own. `host` is the host of the redirect URI, because cookies belong
    /// to a host.
    pub(super) async fn listen(host: &str, address: IpAddr) -> Result<Self> {
        let listener = TcpListener::bind(SocketAddr::from((address, 0)))
            .await
            .context("cannot listen on a port for the browser's first visit")?;
        let path = format!("/{}", random_text::<32>().context("no random address can be created")?);
        let address = format!("http://{host}:{}{path}", listener.local_addr()?.port());
        Ok(Self { listener, address, path, pass: Pass::new()? })
    }

    pub(super) fn address(&self) -> &str {
        &self.address
    }

    pub(super) fn pass(&self) -> Pass {
        self.pass.clone()
    }

    /// Redirects the browser to Meta, until it is dropped.
    pub(super) async fn send_on(self, next: &Url) -> Result<()> {
        let (path, pass) = (self.path, self.pass);
        let site = Arc::new(Site { path, pass, next: next.to_string(), is_used: AtomicBool::new(false) });
        let router = Router::new().fallback(respond).with_state(site);
        let service = router.into_make_service_with_connect_info::<SocketAddr>();
        axum::serve(self.listener, service).await.context("the listener has stopped")
    }
}

async fn respond(
    State(site): State<Arc<Site>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request,
) -> Response {
    if request.method() != Method::GET || request.uri().path() != site.path {
        return page(
            StatusCode::NOT_FOUND,
            "There is nothing here",
            "This address waits for one login, and only for that.",
        );
    }
    if peer::is_somebody_else(peer) {
        return page(
            StatusCode::FORBIDDEN,
            "This is another user's login",
            "Only the user who began the login can continue it.",
        );
    }
    // A prefetch does not count: it may never become a visit, and another visitor could come first.
    let is_ahead =
        ["sec-purpose", "purpose", "x-moz"].iter().any(|name| request.headers().contains_key(*name));
    if is_ahead {
        return page(StatusCode::SERVICE_UNAVAILABLE, "Not yet", "Open this address, and the login begins.");
    }
    if !site.pass.is_in(request.headers()) && site.is_used.swap(true, Ordering::Relaxed) {
        return page(
            StatusCode::GONE,
            "This address was used",
            "A login begins once, in one browser. If it was not yours, end the command and run it again.",
        );
    }
    let cookie = HeaderValue::from_str(&site.pass.cookie()).map(|cookie| [(SET_COOKIE, cookie)]);
    match cookie {
        Ok(cookie) => (StatusCode::SEE_OTHER, headers([(LOCATION, &site.next)]), cookie).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}
