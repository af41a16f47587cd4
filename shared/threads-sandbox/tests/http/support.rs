//! A running sandbox and a client that follows no redirect and keeps no connection.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use reqwest::header::{CONTENT_TYPE, HeaderMap};
use reqwest::redirect::Policy;
use reqwest::{Client, Method, RequestBuilder};
use rustls::crypto::ring;
use rustls::{ClientConfig, RootCertStore};
use serde_json::Value;
use threads_sandbox::{Clock, NewAccount, OldToken, Sandbox, SandboxOptions};
use tokio::net::TcpListener;
use url::form_urlencoded::Serializer;

pub(crate) const APP_ID: &str = "1234567890123456";
pub(crate) const SECRET: &str = "the-secret-of-the-sandbox-app";
pub(crate) const URI: &str = "https://app.example/callback";
pub(crate) const ADA: &str = "17841405793187218";
pub(crate) const HOUR: u64 = 3600;
pub(crate) const DAY: u64 = 24 * HOUR;
/// Each behaviour at a refresh, whether the token stays the same, and whether the old one lives on.
pub(crate) const OLD_TOKENS: [(OldToken, bool, bool); 3] = [
    (OldToken::SameTokenExtended, true, true),
    (OldToken::NewTokenOldAlive, false, true),
    (OldToken::NewTokenOldDead, false, false),
];

/// An answer, read to its end.
#[derive(Debug)]
pub(crate) struct Got {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Got {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers[name].to_str().unwrap()
    }

    /// The access token of a 200.
    pub(crate) fn token(&self) -> String {
        assert_eq!(self.status, 200, "{self:?}");
        self.json()["access_token"].as_str().unwrap().to_owned()
    }

    /// The envelope's code and subcode.
    pub(crate) fn error(&self) -> (u64, Option<u64>) {
        let body = self.json();
        let error = &body["error"];
        assert!(error["fbtrace_id"].is_string() && error["is_transient"].is_boolean(), "{self:?}");
        (error["code"].as_u64().unwrap(), error["error_subcode"].as_u64())
    }
}

/// A sandbox that serves until the test ends.
pub(crate) struct Server {
    pub(crate) sandbox: Sandbox,
    pub(crate) origin: String,
    client: Client,
}

pub(crate) fn options() -> SandboxOptions {
    SandboxOptions {
        clock: Clock::frozen(Timestamp::from_second(1_800_000_000).unwrap()),
        accounts: vec![NewAccount::new("ada", ADA)],
        ..SandboxOptions::new(APP_ID, SECRET)
    }
}

impl Server {
    pub(crate) async fn start() -> Self {
        Self::start_with(options()).await
    }

    pub(crate) async fn start_with(options: SandboxOptions) -> Self {
        let sandbox = Sandbox::new(options).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(sandbox.clone().serve(listener, std::future::pending()));
        let tls = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(RootCertStore::empty())
            .with_no_client_auth();
        let client = Client::builder()
            .tls_backend_preconfigured(tls)
            .redirect(Policy::none())
            .no_proxy()
            .pool_max_idle_per_host(0)
            .build()
            .unwrap();
        Self { sandbox, origin, client }
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.origin))
    }

    /// Sends, and reads the answer; `Err` when the connection ended before that.
    #[expect(clippy::disallowed_methods, reason = "the tests' one send path")]
    pub(crate) async fn send(&self, request: RequestBuilder) -> Result<Got, reqwest::Error> {
        let response = request.send().await?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Ok(Got { status, headers, text: response.text().await? })
    }

    pub(crate) async fn get(&self, path: &str, params: &[(&str, &str)]) -> Got {
        self.try_get(path, params).await.unwrap()
    }

    pub(crate) async fn try_get(&self, path: &str, params: &[(&str, &str)]) -> Result<Got, reqwest::Error> {
        self.send(self.request(Method::GET, &format!("{path}?{}", encode(params)))).await
    }

    pub(crate) async fn post_form(&self, path: &str, params: &[(&str, &str)]) -> Got {
        self.try_post_form(path, params).await.unwrap()
    }

    pub(crate) async fn try_post_form(
        &self,
        path: &str,
        params: &[(&str, &str)],
    ) -> Result<Got, reqwest::Error> {
        let request = self.request(Method::POST, path);
        let form = request.header(CONTENT_TYPE, "application/x-www-form-urlencoded");
        self.send(form.body(encode(params))).await
    }

    pub(crate) async fn json(&self, method: Method, path: &str, body: &Value) -> Got {
        let request = self.request(method, path).header(CONTENT_TYPE, "application/json");
        self.send(request.body(body.to_string())).await.unwrap()
    }

    pub(crate) async fn control(&self, path: &str, body: Value) -> Got {
        self.json(Method::POST, &format!("/control/{path}"), &body).await
    }

    pub(crate) fn advance(&self, seconds: u64) {
        self.sandbox.clock().advance(Duration::from_secs(seconds));
    }

    pub(crate) fn code(&self) -> String {
        self.sandbox.issue_code(ADA, URI, &["threads_basic"])
    }

    pub(crate) async fn exchange_code(&self, code: &str) -> Got {
        self.post_form("/oauth/access_token", &code_form(code)).await
    }

    pub(crate) async fn exchange(&self, short: &str) -> Got {
        let params =
            [("grant_type", "th_exchange_token"), ("client_secret", SECRET), ("access_token", short)];
        self.get("/access_token", &params).await
    }

    pub(crate) async fn refresh(&self, long: &str) -> Got {
        self.try_refresh(long).await.unwrap()
    }

    pub(crate) async fn try_refresh(&self, long: &str) -> Result<Got, reqwest::Error> {
        let params = [("grant_type", "th_refresh_token"), ("access_token", long)];
        self.try_get("/refresh_access_token", &params).await
    }

    /// Inspects `input` with the token of `caller`.
    pub(crate) async fn inspect(&self, input: &str, caller: &str) -> Got {
        self.get("/v1.0/debug_token", &[("input_token", input), ("access_token", caller)]).await
    }

    pub(crate) async fn me(&self, token: &str) -> Got {
        self.get("/v1.0/me", &[("fields", "id,username"), ("access_token", token)]).await
    }
}

pub(crate) fn code_form(code: &str) -> [(&str, &str); 5] {
    [
        ("client_id", APP_ID),
        ("client_secret", SECRET),
        ("code", code),
        ("grant_type", "authorization_code"),
        ("redirect_uri", URI),
    ]
}

/// The app token that is made of id and secret.
pub(crate) fn made_app_token() -> String {
    format!("TH|{APP_ID}|{SECRET}")
}

/// The same parameters with one of them changed.
pub(crate) fn with<'a, const N: usize>(
    mut params: [(&'a str, &'a str); N],
    name: &str,
    value: &'a str,
) -> [(&'a str, &'a str); N] {
    let found = params.iter_mut().find(|(key, _)| *key == name).unwrap();
    found.1 = value;
    params
}

pub(crate) fn encode(params: &[(&str, &str)]) -> String {
    Serializer::new(String::new()).extend_pairs(params).finish()
}
