//! The HTTP client.
//!
//! Owns TLS (`ring`, Mozilla's roots compiled in), timeouts and the connection pool. Refuses
//! redirects, proxies, cookies and automatic retries: each of them could send a secret elsewhere,
//! or spend a single-use code twice.

use std::sync::Arc;
use std::time::Duration;

use rustls::{ClientConfig, RootCertStore};

/// The limits of every wait. There is no way to wait forever.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HttpTimeouts {
    /// For a connection, TLS included. 3 seconds by default.
    pub connect: Duration,
    /// For a whole request, from its start to the last byte of the answer. 8 seconds by default, so
    /// that three calls in a row fit under the 30 seconds that API gateways commonly allow.
    pub request: Duration,
}

impl Default for HttpTimeouts {
    fn default() -> Self {
        Self { connect: Duration::from_secs(3), request: Duration::from_secs(8) }
    }
}

/// Mozilla's roots.
#[cfg(not(bench_root))]
fn roots() -> RootCertStore {
    RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() }
}

/// Mozilla's roots and the root of the benchmark's stub. Only `tests/bench/rustc` compiles this in,
/// so a shipped executable cannot be made to trust the stub. `infra/package` and `infra/release`
/// refuse such an executable.
#[cfg(bench_root)]
fn roots() -> RootCertStore {
    let mut store = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    let stub = rustls::pki_types::CertificateDer::from(&include_bytes!(env!("BENCH_ROOT"))[..]);
    store.add_parsable_certificates([stub]);
    store
}

/// The client could not be built, because TLS could not be set up.
#[derive(Debug, thiserror::Error)]
#[error("the HTTP client could not be set up")]
pub struct HttpClientError(#[source] Box<dyn std::error::Error + Send + Sync>);

/// A pooled HTTP/1.1 client. Clones share the pool.
#[derive(Debug, Clone)]
pub struct HttpClient(reqwest::Client);

impl HttpClient {
    /// Builds a client. Nothing is sent.
    ///
    /// # Errors
    ///
    /// Returns [`HttpClientError`] if TLS cannot be set up, which is a defect of the build and not
    /// of the network.
    pub fn new(timeouts: HttpTimeouts) -> Result<Self, HttpClientError> {
        // Handed over ready-made: the platform's verifier reads certificate files at start, which
        // costs a cold start, and needs them to exist in the container.
        let mut tls = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| HttpClientError(error.into()))?
            .with_root_certificates(roots())
            .with_no_client_auth();
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];

        reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .http1_only()
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .no_proxy()
            .referer(false)
            .user_agent(concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(timeouts.connect)
            .timeout(timeouts.request)
            // A process that was frozen between requests wakes up with connections the other side
            // has closed. A short idle life makes it less likely that a single-use code is written
            // into one of them.
            .pool_idle_timeout(Duration::from_secs(20))
            .build()
            .map(Self)
            .map_err(|error| HttpClientError(error.without_url().into()))
    }

    /// Takes a client of yours, for a proxy, another TLS or a pool that you share.
    ///
    /// The calls put tokens and the app's secret into URLs and bodies, and an authorization code
    /// works once. So the client must have
    ///
    /// - no redirects ([`Policy::none`](reqwest::redirect::Policy::none)): a redirect would carry a
    ///   token to another host;
    /// - no automatic retries ([`retry::never`](reqwest::retry::never)): a retry would spend a code
    ///   twice;
    /// - a [timeout](reqwest::ClientBuilder::timeout): none is set for a single call;
    /// - no `referer`, and no logging of URLs by a middleware or a proxy.
    ///
    /// ```no_run
    /// use std::time::Duration;
    ///
    /// let client = reqwest::Client::builder()
    ///     .redirect(reqwest::redirect::Policy::none())
    ///     .retry(reqwest::retry::never())
    ///     .referer(false)
    ///     .timeout(Duration::from_secs(8))
    ///     .build()?;
    /// let http = threads_graph::HttpClient::from_client(client);
    /// # Ok::<(), reqwest::Error>(())
    /// ```
    #[cfg(any(test, feature = "custom-client"))]
    #[must_use]
    pub fn from_client(client: reqwest::Client) -> Self {
        Self(client)
    }

    /// The client inside, for other upstreams that should share its pool and its rules.
    #[must_use]
    pub fn inner(&self) -> &reqwest::Client {
        &self.0
    }
}
