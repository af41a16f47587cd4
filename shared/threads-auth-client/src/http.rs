//! The one send path to the service: it signs, sends, and reads the answer.
//!
//! Owns TLS (`ring`, Mozilla's roots compiled in), the signature and the limits of waiting. Refuses
//! redirects, proxies and retries.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_credential_types::provider::ProvideCredentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use reqwest::Method;
use reqwest::header::{CONTENT_TYPE, HeaderMap};
use rustls::{ClientConfig, RootCertStore};
use serde::Serialize;
use serde::de::DeserializeOwned;
use url::Url;
use zeroize::Zeroizing;

use crate::credentials::Kept;
use crate::error::Error;

/// The limit of a connection, TLS included.
const CONNECT: Duration = Duration::from_secs(5);
/// API Gateway's own limit of a request: 30 seconds.
const REQUEST: Duration = Duration::from_secs(30);

/// The client could not be set up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SetupError {
    /// It is no URL, or has a user, a query or a fragment.
    #[error(
        "the service's URL is not an address such as https://a1b2c3d4e5.execute-api.eu-central-1.amazonaws.com"
    )]
    Url,
    /// Tokens would travel in the clear.
    #[error("the service's URL must begin with https:// unless it is on this machine")]
    InTheClear,
    /// TLS could not be set up, which is a defect of the build and not of the network.
    #[error("TLS could not be set up")]
    Tls(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// A request before it is signed.
pub(crate) struct Request {
    method: Method,
    path: String,
    query: Vec<(&'static str, String)>,
    body: Option<String>,
}

impl Request {
    pub(crate) fn new(method: Method, path: impl Into<String>) -> Self {
        Self { method, path: path.into(), query: Vec::new(), body: None }
    }

    pub(crate) fn query(mut self, name: &'static str, value: Option<String>) -> Self {
        self.query.extend(value.map(|value| (name, value)));
        self
    }

    pub(crate) fn json(self, body: &impl Serialize) -> Self {
        // Our own types always serialize.
        Self { body: Some(serde_json::to_string(body).unwrap_or_default()), ..self }
    }

    /// Returns the path and query. A space is `%20`, as signatures want it, and not a plus sign.
    fn target(&self) -> String {
        let encoded = |text: &str| {
            url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>().replace('+', "%20")
        };
        let pairs: Vec<String> =
            self.query.iter().map(|(name, value)| format!("{name}={}", encoded(value))).collect();
        let mark = if pairs.is_empty() { "" } else { "?" };
        format!("{}{mark}{}", self.path, pairs.join("&"))
    }
}

pub(crate) struct Transport {
    http: reqwest::Client,
    /// Without a slash at its end.
    pub(crate) url: String,
    pub(crate) region: String,
    credentials: Kept,
}

impl Transport {
    pub(crate) fn new(
        url: &str,
        region: String,
        credentials: impl ProvideCredentials + 'static,
    ) -> Result<Self, SetupError> {
        Ok(Self { http: client()?, url: checked(url)?, region, credentials: Kept::new(credentials) })
    }

    /// Sends a request. `timeout` replaces the limit of its whole duration.
    #[expect(clippy::disallowed_methods, reason = "the send path; AWS judges a signature by the real time")]
    pub(crate) async fn send<T: DeserializeOwned>(
        &self,
        request: Request,
        timeout: Option<Duration>,
    ) -> Result<T, Error> {
        let now = SystemTime::now();
        let credentials = self.credentials.at(now).await.map_err(|error| Error::Unsigned(Arc::new(error)))?;
        let url = format!("{}{}", self.url, request.target());
        let body = request.body.unwrap_or_default();
        let headers = signed(&request.method, &url, &body, &self.region, credentials, now)
            .map_err(|error| Error::Unsigned(error.into()))?;
        let mut sent = self.http.request(request.method, url).headers(headers);
        if !body.is_empty() {
            sent = sent.header(CONTENT_TYPE, "application/json").body(body);
        }
        if let Some(timeout) = timeout {
            sent = sent.timeout(timeout);
        }
        let unreachable = |error: reqwest::Error| Error::Unreachable(Arc::new(error.without_url()));
        let answer = sent.send().await.map_err(unreachable)?;
        let status = answer.status();
        let header = |name: &str| Some(answer.headers().get(name)?.to_str().ok()?.to_owned());
        let retry_after =
            header("retry-after").and_then(|text| Some(Duration::from_secs(text.parse().ok()?)));
        let request_id = header("apigw-requestid");
        // The body may hold a token.
        let body = Zeroizing::new(Vec::from(answer.bytes().await.map_err(unreachable)?));
        if status.is_success() {
            serde_json::from_slice(&body).map_err(|error| Error::Malformed {
                status: status.as_u16(),
                line: error.line(),
                column: error.column(),
            })
        } else {
            Err(Error::from_answer(status.as_u16(), &body, retry_after, request_id))
        }
    }
}

/// Returns the headers that sign a request.
fn signed(
    method: &Method,
    url: &str,
    body: &str,
    region: &str,
    credentials: Credentials,
    now: SystemTime,
) -> Result<HeaderMap, Box<dyn std::error::Error + Send + Sync>> {
    let identity = credentials.into();
    let params = v4::SigningParams::builder()
        .identity(&identity)
        .region(region)
        .name("execute-api")
        .time(now)
        .settings(SigningSettings::default())
        .build()?
        .into();
    let body = SignableBody::Bytes(body.as_bytes());
    let signable = SignableRequest::new(method.as_str(), url, std::iter::empty(), body)?;
    let (signed, _) = sign(signable, &params)?.into_parts();
    signed.headers().map(|(name, value)| Ok((name.parse()?, value.parse()?))).collect()
}

fn client() -> Result<reqwest::Client, SetupError> {
    let mut tls = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| SetupError::Tls(error.into()))?
        .with_root_certificates(RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() })
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
        .connect_timeout(CONNECT)
        .timeout(REQUEST)
        // A process that was frozen between requests wakes up with connections that the other side
        // has closed.
        .pool_idle_timeout(Duration::from_secs(20))
        .build()
        .map_err(|error| SetupError::Tls(error.without_url().into()))
}

/// Returns the URL without a slash at its end, if a request can be signed for it.
fn checked(url: &str) -> Result<String, SetupError> {
    let parsed = Url::parse(url).map_err(|_| SetupError::Url)?;
    let is_plain = parsed.username().is_empty() && parsed.password().is_none() && !url.contains(['?', '#']);
    let is_here = matches!(parsed.host_str(), Some("localhost" | "127.0.0.1" | "[::1]"));
    match parsed.scheme() {
        "https" | "http" if !is_plain => Err(SetupError::Url),
        "http" if !is_here => Err(SetupError::InTheClear),
        "https" | "http" => Ok(url.trim_end_matches('/').to_owned()),
        _ => Err(SetupError::Url),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_is_https_or_on_this_machine() {
        for (url, expected) in [
            ("https://a.example", "https://a.example"),
            ("https://a.example/", "https://a.example"),
            ("https://a.example/stage/", "https://a.example/stage"),
            ("http://127.0.0.1:3000", "http://127.0.0.1:3000"),
            ("http://localhost:3000/", "http://localhost:3000"),
            ("http://[::1]:3000", "http://[::1]:3000"),
        ] {
            assert_eq!(checked(url).unwrap(), expected);
        }
        for url in [
            "",
            "a.example",
            "ftp://a.example",
            "https://a.example?x",
            "https://a.example/#x",
            "https://u:p@a",
        ] {
            assert!(matches!(checked(url), Err(SetupError::Url)), "{url}");
        }
        for url in ["http://a.example", "http://127.0.0.1.example", "http://localhost.example"] {
            assert!(matches!(checked(url), Err(SetupError::InTheClear)), "{url}");
        }
    }

    #[test]
    fn a_query_is_encoded_as_signatures_want_it() {
        let request = Request::new(Method::GET, "/users")
            .query("status", None)
            .query("reference", Some("a b+c/ü&=~".to_owned()))
            .query("limit", Some("1".to_owned()));
        assert_eq!(request.target(), "/users?reference=a%20b%2Bc%2F%C3%BC%26%3D%7E&limit=1");
    }

    #[test]
    fn a_session_token_is_sent_and_signed() {
        let sign = |token: Option<&str>| {
            let credentials = Credentials::new("key", "CANARY", token.map(str::to_owned), None, "test");
            let now = SystemTime::UNIX_EPOCH;
            signed(&Method::GET, "https://a.example/users", "", "eu-central-1", credentials, now).unwrap()
        };
        let (without, with) = (sign(None), sign(Some("a-token")));
        assert!(!without.contains_key("x-amz-security-token"));
        assert_eq!(with["x-amz-security-token"], "a-token");
        let text = with["authorization"].to_str().unwrap();
        assert!(text.contains("SignedHeaders=host;x-amz-date;x-amz-security-token"), "{text}");
        assert!(text.contains("Credential=key/19700101/eu-central-1/execute-api/aws4_request"), "{text}");
        assert!(!format!("{with:?}").contains("CANARY"));
    }
}
