//! The loopback listener that Meta redirects the browser to.
//!
//! Creates a certificate that lives as long as the command. Refuses requests that do not come from
//! the browser that began this login with this login's state, and continues to wait: any process on
//! the machine can call this address.

use std::fmt::Write;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, Result};
use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::serve::Listener;
use jiff::tz::Offset;
use jiff::{SignedDuration, Timestamp};
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, date_time_ymd};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use threads_graph::parse_callback;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::answer::{Answer, NOT_OURS, judge};
use super::page::{headers, page};
use super::start::Pass;
use crate::shell::output::{Output, complain};

/// The time for the browser to fetch the last page, before the command continues without it.
const LAST_PAGE: Duration = Duration::from_secs(10);

const OTHER_BROWSER: &str =
    "it is not from the browser in which this login began, or that browser keeps no cookies";

/// The last pages: the end of the address, the title and the text.
const LAST_PAGES: [(&str, &str, &str); 3] = [
    (AGREED, "Back to the terminal", "Your answer has arrived, and the terminal continues with it."),
    (DENIED, "Nothing was connected", "You did not agree, so there is no token."),
    (FAILED, "Nothing was connected", "Meta ended the login. The terminal shows its error."),
];
const AGREED: &str = "agreed";
const DENIED: &str = "denied";
const FAILED: &str = "failed";

/// The timeout of a TLS handshake.
const HANDSHAKE: Duration = Duration::from_secs(20);

/// The listener for the browser's return.
pub(super) struct Callback {
    listener: TcpListener,
    tls: Option<Tls>,
}

struct Tls {
    config: Arc<ServerConfig>,
    fingerprint: String,
}

impl Callback {
    /// Listens, with a new certificate if TLS is required.
    pub(super) async fn listen(address: SocketAddr, is_secure: bool, now: Timestamp) -> Result<Self> {
        let listener = TcpListener::bind(address).await.with_context(|| {
            format!(
                "cannot listen on port {}; choose another with --port (and list its address in Meta's \
                 dashboard), or use --paste",
                address.port()
            )
        })?;
        let tls = is_secure.then(|| Tls::new(now)).transpose().context("no certificate can be created")?;
        Ok(Self { listener, tls })
    }

    pub(super) fn port(&self) -> io::Result<u16> {
        self.listener.local_addr().map(|address| address.port())
    }

    /// Returns the certificate's fingerprint, as browsers show it.
    pub(super) fn fingerprint(&self) -> Option<&str> {
        self.tls.as_ref().map(|tls| tls.fingerprint.as_str())
    }

    /// Serves browsers until one brings this login's answer.
    pub(super) async fn answer(
        self,
        path: &str,
        state: &threads_graph::State,
        pass: Pass,
        output: Output,
    ) -> Result<Answer> {
        let (answer, answered) = oneshot::channel();
        let seen = Arc::new(Notify::new());
        let site = Site {
            path: path.to_owned(),
            state: state.clone(),
            pass,
            answer: Mutex::new(Some(answer)),
            seen: seen.clone(),
            output,
        };
        let router = Router::new().fallback(respond).with_state(Arc::new(site));
        let serving = async {
            match self.tls {
                Some(tls) => axum::serve(TlsListener::new(self.listener, tls.config)?, router).await,
                None => axum::serve(self.listener, router).await,
            }
        };
        let answered = async {
            let answer = answered.await;
            // A browser that does not fetch the page must not delay the person.
            let _ = tokio::time::timeout(LAST_PAGE, seen.notified()).await;
            answer
        };
        tokio::select! {
            answer = answered => answer.context("the listener has stopped"),
            served = serving => Err(served.err().unwrap_or_else(|| io::ErrorKind::BrokenPipe.into()).into()),
        }
    }
}

impl Tls {
    fn new(now: Timestamp) -> Result<Self> {
        let key = KeyPair::generate()?;
        let names = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
        let mut params = CertificateParams::new(names)?;
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, "threads-auth login, on this machine");
        let day = |hours| {
            let date = Offset::UTC.to_datetime(now + SignedDuration::from_hours(hours)).date();
            let [month, day] = [date.month(), date.day()].map(i8::unsigned_abs);
            date_time_ymd(date.year().into(), month, day)
        };
        // A day of margin on each side, for clocks that differ.
        (params.not_before, params.not_after) = (day(-24), day(48));
        let certificate = params.self_signed(&key)?;
        let digest = ring::digest::digest(&ring::digest::SHA256, certificate.der());
        let mut fingerprint = String::new();
        for byte in digest.as_ref() {
            let colon = if fingerprint.is_empty() { "" } else { ":" };
            write!(fingerprint, "{colon}{byte:02X}")?;
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(
                vec![certificate.der().clone()],
                PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der())),
            )?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self { config: Arc::new(config), fingerprint })
    }
}

/// The state that the pages share.
struct Site {
    path: String,
    state: threads_graph::State,
    pass: Pass,
    answer: Mutex<Option<oneshot::Sender<Answer>>>,
    /// Notified when the last page was requested.
    seen: Arc<Notify>,
    output: Output,
}

async fn respond(State(site): State<Arc<Site>>, request: Request) -> Response {
    let (method, uri) = (request.method(), request.uri());
    let path = uri.path();
    if method != Method::GET {
        page(StatusCode::METHOD_NOT_ALLOWED, "Method not allowed", "Only GET is supported here.")
    } else if path == site.path {
        site.judge(uri.query().unwrap_or_default(), request.headers())
    } else if let Some((_, title, text)) = LAST_PAGES.into_iter().find(|(word, ..)| path == site.last(word)) {
        site.seen.notify_one();
        page(StatusCode::OK, title, &format!("{text} You can close this window."))
    } else {
        page(
            StatusCode::NOT_FOUND,
            "There is nothing here",
            "This address waits for one login, and only for that.",
        )
    }
}

impl Site {
    /// Returns the final URL for the browser, without the code.
    fn last(&self, word: &str) -> String {
        format!("{}/{word}", self.path.trim_end_matches('/'))
    }

    fn judge(&self, query: &str, headers_sent: &HeaderMap) -> Response {
        let problem = match parse_callback(query).map(|params| judge(params, &self.state)) {
            Ok(Some(_)) if !self.pass.is_in(headers_sent) => OTHER_BROWSER.to_owned(),
            Ok(Some(answer)) => {
                let next = match answer {
                    Answer::Code(_) => self.last(AGREED),
                    Answer::Denied => self.last(DENIED),
                    Answer::Failed(_) => self.last(FAILED),
                };
                if let Ok(mut waiting) = self.answer.lock()
                    && let Some(waiting) = waiting.take()
                {
                    // The waiting command may have given up.
                    let _ = waiting.send(answer);
                }
                return (StatusCode::SEE_OTHER, headers([(header::LOCATION, &next)])).into_response();
            }
            Ok(None) => NOT_OURS.to_owned(),
            Err(error) => error.to_string(),
        };
        if !self.output.silent {
            complain(&format!("a browser brought an answer that cannot be used: {problem}. Still waiting."));
        }
        page(
            StatusCode::BAD_REQUEST,
            "This answer cannot be used",
            "It does not belong to the login that the terminal waits for. Open the address that the terminal shows.",
        )
    }
}

/// Accepts connections and completes their TLS handshakes. A slow one, such as a browser's spare
/// connection, delays no other.
struct TlsListener {
    ready: mpsc::Receiver<(TlsStream<TcpStream>, SocketAddr)>,
    address: SocketAddr,
    _tasks: JoinSet<()>,
}

impl TlsListener {
    fn new(listener: TcpListener, config: Arc<ServerConfig>) -> io::Result<Self> {
        let address = listener.local_addr()?;
        let (done, ready) = mpsc::channel(16);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut listener = listener;
            let acceptor = TlsAcceptor::from(config);
            let mut handshakes = JoinSet::new();
            loop {
                // The trait's accept retries after failures such as too many open files.
                let (stream, peer) = Listener::accept(&mut listener).await;
                let handshake = tokio::time::timeout(HANDSHAKE, acceptor.accept(stream));
                let done = done.clone();
                handshakes.spawn(async move {
                    if let Ok(Ok(stream)) = handshake.await {
                        // At the command's end the receiver is gone.
                        let _ = done.send((stream, peer)).await;
                    }
                });
                while handshakes.try_join_next().is_some() {}
            }
        });
        Ok(Self { ready, address, _tasks: tasks })
    }
}

impl Listener for TlsListener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        match self.ready.recv().await {
            Some(ready) => ready,
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.address)
    }
}
