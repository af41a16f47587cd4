//! The AWS clients, built from values over the process's one HTTP client.
//!
//! Owns the bridge from the SDK to [`threads_graph::HttpClient`], so that a function links one TLS
//! stack and one root store: a second one would add more to a cold start than everything else in
//! the function. Refuses to look anything up: region, credentials and endpoints come from
//! [`AwsConfig`], and a Lambda's environment always provides them.

use std::fmt;
use std::time::Duration;

use aws_credential_types::provider::SharedCredentialsProvider;
use aws_sdk_dynamodb::config::StalledStreamProtectionConfig;
use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_sdk_dynamodb::config::timeout::TimeoutConfig;
use aws_smithy_runtime_api::client::http::{
    HttpClient as SmithyHttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings,
    SharedHttpClient, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use threads_graph::HttpClient;

/// The longest first pause before a call is repeated, which is the SDK's own.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Region, credentials and endpoints of the AWS account.
#[derive(Clone)]
pub struct AwsConfig {
    /// `AWS_REGION`.
    pub region: String,
    /// `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY` and `AWS_SESSION_TOKEN`. Lambda gives each
    /// execution environment its own, which outlive it. Elsewhere, a provider that renews its
    /// credentials is used instead.
    pub credentials: SharedCredentialsProvider,
    /// `AWS_ENDPOINT_URL_DYNAMODB`, else `AWS_ENDPOINT_URL`; none for the real service.
    pub dynamodb_url: Option<String>,
    /// `AWS_ENDPOINT_URL_SECRETS_MANAGER`, else `AWS_ENDPOINT_URL`; none for the real service.
    pub secrets_manager_url: Option<String>,
    /// `AWS_ENDPOINT_URL_EVENTBRIDGE`, else `AWS_ENDPOINT_URL`; none for the real service.
    pub eventbridge_url: Option<String>,
    /// `AWS_ENDPOINT_URL_SQS`, else `AWS_ENDPOINT_URL`; none for the real service.
    pub sqs_url: Option<String>,
    /// The timeouts of one call, each a share of `REQUEST_SECONDS`.
    pub timeouts: TimeoutConfig,
}

impl fmt::Debug for AwsConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AwsConfig")
            .field("region", &self.region)
            .field("credentials", &"[redacted]")
            .field("dynamodb_url", &self.dynamodb_url)
            .field("secrets_manager_url", &self.secrets_manager_url)
            .field("eventbridge_url", &self.eventbridge_url)
            .field("sqs_url", &self.sqs_url)
            .field("timeouts", &self.timeouts)
            .finish()
    }
}

/// Returns the longest time of an AWS call with all its attempts, within a request that may take
/// `request_time`.
#[must_use]
pub fn longest_call(request_time: Duration) -> Duration {
    request_time * 4 / 15
}

/// Returns the timeouts of AWS calls within a request that may take `request_time`. AWS answers
/// within milliseconds: a call that takes longer is lost, and a retry costs less than waiting.
/// Three attempts fit well into a request's time.
#[must_use]
pub fn timeouts(request_time: Duration) -> TimeoutConfig {
    TimeoutConfig::builder()
        .connect_timeout(request_time / 15)
        .operation_attempt_timeout(request_time / 10)
        .operation_timeout(longest_call(request_time))
        .build()
}

/// Returns the retries of AWS calls with these timeouts. The SDK's own pauses, up to three seconds,
/// would leave no time for the third attempt.
fn retries(timeouts: &TimeoutConfig) -> RetryConfig {
    let pause = timeouts.operation_attempt_timeout().map_or(LONGEST_PAUSE, |attempt| attempt / 15);
    RetryConfig::standard().with_initial_backoff(pause.min(LONGEST_PAUSE))
}

/// Disables the SDK's stalled-stream protection. It aborts a call after a few seconds without a
/// byte, even if [`timeouts`] allow more, and mistakes a busy process for a stalled connection.
#[must_use]
pub fn no_stalls() -> StalledStreamProtectionConfig {
    StalledStreamProtectionConfig::disabled()
}

/// Creates the DynamoDB client for `config`, over `http`.
#[must_use]
pub fn dynamodb(config: &AwsConfig, http: &HttpClient) -> aws_sdk_dynamodb::Client {
    let mut builder = aws_sdk_dynamodb::Config::builder()
        .behavior_version(aws_sdk_dynamodb::config::BehaviorVersion::v2026_01_12())
        .region(aws_sdk_dynamodb::config::Region::new(config.region.clone()))
        .credentials_provider(config.credentials.clone())
        .timeout_config(config.timeouts.clone())
        .retry_config(retries(&config.timeouts))
        .stalled_stream_protection(no_stalls())
        .http_client(http_client(http));
    builder.set_endpoint_url(config.dynamodb_url.clone());
    aws_sdk_dynamodb::Client::from_conf(builder.build())
}

/// Creates the Secrets Manager client for `config`, over `http`.
#[must_use]
pub fn secrets_manager(config: &AwsConfig, http: &HttpClient) -> aws_sdk_secretsmanager::Client {
    let mut builder = aws_sdk_secretsmanager::Config::builder()
        .behavior_version(aws_sdk_secretsmanager::config::BehaviorVersion::v2026_01_12())
        .region(aws_sdk_secretsmanager::config::Region::new(config.region.clone()))
        .credentials_provider(config.credentials.clone())
        .timeout_config(config.timeouts.clone())
        .retry_config(retries(&config.timeouts))
        .stalled_stream_protection(no_stalls())
        .http_client(http_client(http));
    builder.set_endpoint_url(config.secrets_manager_url.clone());
    aws_sdk_secretsmanager::Client::from_conf(builder.build())
}

/// Adapts our HTTP client to the SDK.
#[must_use]
pub fn http_client(http: &HttpClient) -> SharedHttpClient {
    SharedHttpClient::new(Bridge(http.clone()))
}

/// The adapter from the SDK's HTTP client to ours.
struct Bridge(HttpClient);

impl fmt::Debug for Bridge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Bridge")
    }
}

impl SmithyHttpClient for Bridge {
    fn http_connector(
        &self,
        settings: &HttpConnectorSettings,
        _components: &RuntimeComponents,
    ) -> SharedHttpConnector {
        SharedHttpConnector::new(Connector { http: self.0.clone(), read_timeout: settings.read_timeout() })
    }
}

struct Connector {
    http: HttpClient,
    read_timeout: Option<Duration>,
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Connector")
    }
}

impl HttpConnector for Connector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let (http, read_timeout) = (self.http.clone(), self.read_timeout);
        HttpConnectorFuture::new(async move { send(&http, read_timeout, request).await })
    }
}

/// The prefixes of the targets of services whose responses all have a body. SQS has others.
const NEVER_EMPTY: [&str; 3] = ["DynamoDB_", "secretsmanager.", "AWSEvents."];

#[expect(
    clippy::disallowed_methods,
    reason = "the send path to AWS: its URLs carry no secret, and they are stripped from errors all the same"
)]
async fn send(
    http: &HttpClient,
    read_timeout: Option<Duration>,
    request: HttpRequest,
) -> Result<HttpResponse, ConnectorError> {
    let request = request.try_into_http1x().map_err(|e| ConnectorError::user(e.into()))?;
    let (parts, body) = request.into_parts();
    let target = parts.headers.get("x-amz-target").and_then(|target| target.to_str().ok());
    let has_body = target.is_some_and(|target| NEVER_EMPTY.iter().any(|name| target.starts_with(name)));
    // Every request of the services that we call holds its body in memory. Only an upload would be
    // a stream.
    let body = body
        .bytes()
        .map(<[u8]>::to_vec)
        .ok_or_else(|| ConnectorError::user("a streaming body cannot be sent".into()))?;
    let mut outgoing =
        http.inner().request(parts.method, parts.uri.to_string()).headers(parts.headers).body(body);
    if let Some(timeout) = read_timeout {
        outgoing = outgoing.timeout(timeout);
    }
    let response = outgoing.send().await.map_err(connector_error)?;
    let (status, headers) = (response.status(), response.headers().clone());
    let body = response.bytes().await.map_err(connector_error)?;
    // The SDK would read an empty body as a row that does not exist, or as a write that is done.
    if has_body && status.is_success() && body.is_empty() {
        return Err(ConnectorError::io("the response is empty".into()));
    }
    let mut answer = http::Response::new(SdkBody::from(body));
    *answer.status_mut() = status;
    *answer.headers_mut() = headers;
    HttpResponse::try_from(answer).map_err(|e| ConnectorError::other(e.into(), None))
}

fn connector_error(error: reqwest::Error) -> ConnectorError {
    let error = error.without_url();
    if error.is_timeout() {
        ConnectorError::timeout(error.into())
    } else if error.is_builder() {
        ConnectorError::user(error.into())
    } else {
        ConnectorError::io(error.into())
    }
}
