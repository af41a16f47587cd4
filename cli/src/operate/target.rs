//! The stack that a command works on: one of `threads-auth dev`, or one that is deployed to AWS.
//!
//! Finds the stack's tables and secrets: the development stack serves their names and the path of
//! its key's file, and CloudFormation has the names as the stack's outputs, so nobody has to copy
//! them. Credentials are looked up as AWS's own tools do. Refuses to guess a region or a stack.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::provider::ProvideCredentials;
use aws_sdk_cloudformation::error::{ProvideErrorMetadata, SdkError};
use clap::Args;
use jiff::Timestamp;
use serde::Deserialize;
use threads_auth::{Config, FailureKind, ThreadsAuth};
use threads_auth_store::aws;
use threads_graph::{Graph, HttpClient, HttpTimeouts};
use url::Url;

use super::aws_failure::{failed, no_credentials, silence};
use crate::shell::env::Env;
use crate::shell::exit::{Stopped, usage};
use crate::shell::interrupt::Interrupt;
use crate::shell::output::Output;

/// Help text of every command that works on a stack.
pub(crate) const TARGETS: &str = "\
Which stack:
  --local selects `threads-auth dev` on this machine, at http://127.0.0.1:3000 or at the given address. Only the user who started it can \
read the file with its key. Without --local, the stack is the CloudFormation stack of --stack, or of THREADS_AUTH_STACK. Credentials and \
region are looked up as AWS's own tools do: --profile, the environment, the shared files, SSO (`aws sso login` first), a process, a role. \
AWS_ENDPOINT_URL and its variants for single services are honoured.";

/// The default name of a stack in `sam deploy`, as in `samconfig.toml`.
const DEFAULT_STACK: &str = "threads-auth";
const STACK_VARIABLE: &str = "THREADS_AUTH_STACK";

const PATIENCE: HttpTimeouts =
    HttpTimeouts { connect: Duration::from_secs(5), request: Duration::from_secs(30) };

/// The options of every command that works on a stack: its name, and the output format.
#[derive(Args, Clone)]
pub(crate) struct StackArgs {
    /// Work on `threads-auth dev`, here or at URL
    #[arg(long, value_name = "URL", num_args = 0..=1, require_equals = true,
          default_missing_value = "http://127.0.0.1:3000", conflicts_with_all = ["profile", "region", "stack"])]
    local: Option<Url>,

    /// AWS profile
    #[arg(long, value_name = "NAME")]
    profile: Option<String>,

    /// AWS region
    #[arg(long, value_name = "NAME")]
    region: Option<String>,

    // Clap must not read the variable, because it would conflict with --local.
    #[arg(long, value_name = "NAME",
          help = format!("CloudFormation stack [env: {STACK_VARIABLE}] [default: {DEFAULT_STACK}]"))]
    stack: Option<String>,

    #[command(flatten)]
    pub(crate) output: Output,
}

/// An opened stack.
pub(crate) struct StackHandle {
    pub(crate) service: Arc<ThreadsAuth>,
    pub(crate) http: HttpClient,
    /// The name that people use for it.
    pub(crate) name: String,
    /// Present for a deployed stack only.
    pub(crate) deployed: Option<Deployed>,
    local: Option<Url>,
    start: Timestamp,
    began: Instant,
}

/// A stack on AWS.
pub(crate) struct Deployed {
    pub(crate) sdk: SdkConfig,
    pub(crate) stack: String,
    /// CloudFormation's status of the stack, such as `UPDATE_COMPLETE`.
    pub(crate) status: String,
    pub(crate) outputs: HashMap<String, String>,
}

/// The response of the development stack's `/dev/stack`. The key's secret is not in it, but in a
/// file that only its owner can read.
#[derive(Deserialize)]
struct Development {
    variables: HashMap<String, String>,
    key_file: PathBuf,
    now: Timestamp,
}

/// Checked here, because the SDK reads it by itself and reports an invalid one misleadingly.
const ENDPOINT_VARIABLE: &str = "AWS_ENDPOINT_URL";

impl StackArgs {
    /// Returns true for `threads-auth dev`.
    pub(crate) fn is_local(&self) -> bool {
        self.local.is_some()
    }

    /// Listens for signals, and finds the stack unless one arrives.
    pub(crate) async fn begin(&self, env: &Env) -> Result<(Interrupt, StackHandle)> {
        let mut interrupt = Interrupt::listen()?;
        let stack = interrupt.or(self.open(env)).await?;
        Ok((interrupt, stack))
    }

    /// Finds the stack.
    pub(crate) async fn open(&self, env: &Env) -> Result<StackHandle> {
        // Boxed, because the SDK's futures are large and every command contains this one.
        Box::pin(self.find(env)).await
    }

    async fn find(&self, env: &Env) -> Result<StackHandle> {
        let http = HttpClient::new(PATIENCE).context("the HTTP client cannot be set up")?;
        let (variables, start, name, deployed) = if let Some(url) = &self.local {
            let mut development = development(&http, url).await?;
            let secret = std::fs::read_to_string(&development.key_file).with_context(|| {
                format!(
                    "the key of the development stack at {url} cannot be read; it is in {}, for the user who started the stack",
                    development.key_file.display()
                )
            })?;
            development.variables.insert("AWS_SECRET_ACCESS_KEY".to_owned(), secret.trim().to_owned());
            let name = format!("the development stack at {url}");
            (development.variables, development.now, name, None)
        } else {
            let deployed = self.deployed(&http, env).await?;
            let name = format!("the stack {}", deployed.stack);
            let variables = deployed.variables(env)?;
            (variables, env.now, name, Some(deployed))
        };
        // The SDK's provider renews its credentials: an import may outlive those of an hour.
        let credentials = deployed.as_ref().and_then(|deployed| deployed.sdk.credentials_provider());
        let config =
            Config::from_vars(&variables, credentials).with_context(|| format!("{name} is misconfigured"))?;
        let service = ThreadsAuth::new(config).with_context(|| format!("{name} is misconfigured"))?;
        Ok(StackHandle {
            service: Arc::new(service),
            http,
            name,
            deployed,
            local: self.local.clone(),
            start,
            began: Instant::now(),
        })
    }

    async fn deployed(&self, http: &HttpClient, env: &Env) -> Result<Deployed> {
        let stack = self.stack.as_deref().or_else(|| env.variable(STACK_VARIABLE));
        let name = stack.unwrap_or(DEFAULT_STACK);
        let profile = self.profile.as_deref().or_else(|| env.variable("AWS_PROFILE"));
        let mut loader =
            aws_config::defaults(BehaviorVersion::v2026_01_12()).http_client(aws::http_client(http));
        if let Some(profile) = &self.profile {
            loader = loader.profile_name(profile);
        }
        if let Some(region) = &self.region {
            loader = loader.region(Region::new(region.clone()));
        }
        let sdk = loader.load().await;
        let region = sdk.region().map_or("", Region::as_ref);
        if !region.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-') {
            return usage(format!(
                "{region:?} is not an AWS region, such as eu-central-1: look at --region, AWS_REGION and the profile"
            ));
        }
        let endpoint = env.variable(ENDPOINT_VARIABLE).map(Url::parse);
        if endpoint
            .is_some_and(|url| !url.is_ok_and(|url| url.has_host() && url.scheme().starts_with("http")))
        {
            return usage(format!(
                "{ENDPOINT_VARIABLE} is not a URL: expected https://HOST, or http://HOST:PORT"
            ));
        }
        if region.is_empty() {
            known_profile(profile, env)?;
            let text = "no AWS region is known: give --region, or AWS_REGION, or a --profile that has one (or --local for `threads-auth dev`)";
            return usage(text);
        }
        // Requested first, because its errors name the next step and those of a request do not.
        let provider = sdk.credentials_provider().context("there are no AWS credentials")?;
        if let Err(error) = provider.provide_credentials().await {
            known_profile(profile, env)?;
            return Err(no_credentials(&error, profile).into());
        }
        let client = aws_sdk_cloudformation::Client::new(&sdk);
        let answer = client.describe_stacks().stack_name(name).send().await;
        let answer = answer.map_err(|error| no_stack(name, &sdk, &error))?;
        let stack = answer
            .stacks
            .and_then(|stacks| stacks.into_iter().next())
            .with_context(|| format!("CloudFormation did not describe the stack {name}"))?;
        let status = stack.stack_status().map_or("", |status| status.as_str()).to_owned();
        let mut outputs: HashMap<_, _> = stack
            .outputs
            .unwrap_or_default()
            .into_iter()
            .filter_map(|output| Some((output.output_key?, output.output_value?)))
            .collect();
        let parameters = stack.parameters.unwrap_or_default();
        outputs.extend(
            parameters
                .into_iter()
                .filter_map(|parameter| Some((parameter.parameter_key?, parameter.parameter_value?))),
        );
        Ok(Deployed { sdk, stack: name.to_owned(), status, outputs })
    }
}

fn no_stack<E: ProvideErrorMetadata + std::error::Error + 'static>(
    stack: &str,
    sdk: &SdkConfig,
    error: &SdkError<E>,
) -> Stopped {
    let region = sdk.region().map_or("", Region::as_ref);
    if error.code() == Some("ValidationError") {
        return Stopped::Usage(format!(
            "there is no stack {stack} in {region} of this account: give --stack (or {STACK_VARIABLE}), --region and --profile as they were deployed"
        ));
    }
    if error.raw_response().is_none() {
        let why = format!("CloudFormation in {region} does not answer: {}", silence(error));
        return Stopped::Aws(FailureKind::Unreachable, why);
    }
    failed(error, &format!("CloudFormation does not describe the stack {stack}"))
}

/// Checks that the profile exists, because the SDK treats a missing one as empty.
fn known_profile(profile: Option<&str>, env: &Env) -> Result<()> {
    let Some(profile) = profile.filter(|profile| *profile != "default") else {
        return Ok(());
    };
    let file = |variable: &str, name: &str| {
        env.variable(variable).map_or_else(
            || Path::new(env.variable("HOME").unwrap_or_default()).join(".aws").join(name),
            PathBuf::from,
        )
    };
    let files = [file("AWS_CONFIG_FILE", "config"), file("AWS_SHARED_CREDENTIALS_FILE", "credentials")];
    let is_named = |line: &str| {
        let name =
            line.trim().strip_prefix('[').and_then(|rest| rest.split_once(']')).map(|(name, _)| name.trim());
        name.is_some_and(|name| name.strip_prefix("profile").unwrap_or(name).trim() == profile)
    };
    let texts = files.iter().filter_map(|file| std::fs::read_to_string(file).ok());
    if texts.into_iter().any(|text| text.lines().any(is_named)) {
        return Ok(());
    }
    let [config, credentials] = files.map(|file| file.display().to_string());
    usage(format!(
        "there is no AWS profile {profile} in {config} or {credentials}: `aws configure list-profiles` lists the profiles"
    ))
}

impl Deployed {
    /// Returns the stack's output or parameter.
    pub(crate) fn output(&self, name: &str) -> Result<&str> {
        let value = self.outputs.get(name).map(String::as_str).filter(|value| !value.is_empty());
        value.with_context(|| {
            format!(
                "the stack {} ({}) has no output {name}: is it this service's, and of this version?",
                self.stack, self.status
            )
        })
    }

    /// Returns the environment in which a function of this stack runs.
    fn variables(&self, env: &Env) -> Result<HashMap<String, String>> {
        let mut variables = HashMap::new();
        let mut set = |name: &str, value: &str| variables.insert(name.to_owned(), value.to_owned());
        for (variable, parameter) in [
            ("THREADS_AUTHORIZE_URL", "ThreadsAuthorizeUrl"),
            ("THREADS_GRAPH_URL", "ThreadsGraphUrl"),
            ("THREADS_API_VERSION", "ThreadsApiVersion"),
            ("THREADS_SCOPES", "Scopes"),
            ("GRAPH_CALLS_PER_HOUR", "GraphCallsPerHour"),
            ("CHECK_EVERY_DAYS", "CheckEveryDays"),
        ] {
            if let Ok(value) = self.output(parameter) {
                set(variable, value);
            }
        }
        for (variable, output) in [
            ("GRANTS_TABLE", "GrantsTableName"),
            ("SHORT_LIVED_TABLE", "ShortLivedTableName"),
            ("APP_SECRET_ID", "AppSecretArn"),
            ("KEYRING_SECRET_ID", "KeyringSecretArn"),
        ] {
            set(variable, self.output(output)?);
        }
        // Both are there if the stack posts its events.
        if let (Ok(url), Ok(secret)) = (self.output("WebhookUrl"), self.output("WebhookSecretArn")) {
            set("WEBHOOK_URL", url);
            set("WEBHOOK_SECRET_ID", secret);
        }
        let callback = self.output("RedirectCallbackUrl")?;
        let bare = callback.trim_end_matches('/');
        set("PUBLIC_URL", bare.strip_suffix("/callback").unwrap_or(bare));
        set("REDIRECT_TRAILING_SLASH", if bare == callback { "false" } else { "true" });
        if let Some(url) = self.sdk.endpoint_url() {
            set("AWS_ENDPOINT_URL", url);
        }
        for (name, value) in &env.variables {
            if name.starts_with("AWS_ENDPOINT_URL") {
                set(name, value);
            }
        }
        set("AWS_REGION", self.sdk.region().map_or("", Region::as_ref));
        Ok(variables)
    }
}

impl StackHandle {
    /// Returns the stack's time: the development stack's clock may have been advanced.
    pub(crate) fn now(&self) -> Timestamp {
        self.start.checked_add(self.began.elapsed()).unwrap_or(Timestamp::MAX)
    }

    /// Returns the stack's time, read anew: for commands that run until they are stopped.
    pub(crate) async fn time(&self) -> Result<Timestamp> {
        match &self.local {
            Some(url) => Ok(development(&self.http, url).await?.now),
            None => Ok(self.now()),
        }
    }

    /// Returns a client of Meta's API with this stack's endpoints.
    pub(crate) fn graph(&self) -> Graph {
        Graph::new(self.http.clone(), self.service.config().endpoints.clone())
    }

    /// Returns a client of Secrets Manager with the operator's permissions.
    pub(crate) fn secrets_manager(&self) -> aws_sdk_secretsmanager::Client {
        aws::secrets_manager(&self.service.config().aws, &self.http)
    }

    /// Returns the URL of a path of the service.
    pub(crate) fn address(&self, path: &str) -> String {
        format!("{}{path}", self.service.config().public_url)
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the send path to the development stack, which carries no secret"
)]
async fn development(http: &HttpClient, url: &Url) -> Result<Development> {
    let unreachable = || {
        Stopped::TryAgainLater(format!(
            "there is no development stack at {url}: start it with `threads-auth dev`, or give its address as --local=URL"
        ))
    };
    let address =
        url.join("/dev/stack").map_err(|_| Stopped::Usage(format!("--local={url} is not a URL")))?;
    let answer = http.inner().get(address).send().await.map_err(|_| unreachable())?;
    if !answer.status().is_success() {
        return Err(unreachable().into());
    }
    let body = answer.bytes().await.map_err(|_| unreachable())?;
    serde_json::from_slice(&body).map_err(|_| unreachable().into())
}
