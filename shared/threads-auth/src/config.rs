//! Configuration, read once from the environment. All problems are reported together.
//! Holds no secret: it names the secrets in Secrets Manager, and has digests of the origin
//! secrets.

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use jiff::SignedDuration;
use threads_graph::{Endpoints, HttpTimeouts, RedirectUri, Scopes};
use url::Url;

use threads_auth_store::aws::{self, AwsConfig};

use crate::brand::Brand;
use crate::connect::flow::CookieKind;
use crate::connect::return_to::{self, ReturnToAllowlist};
use crate::origin::OriginSecrets;

/// Access to `/authorize`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthorizeAccess {
    /// Open to everyone: for an app with a single owner, and for development.
    Open,
    /// Requires a connect session, which the app's backend creates.
    Session,
}

threads_graph::names! {
    /// The environment variables that an operator may set. All others identify resources and are
    /// set by the deployment.
    pub enum Setting {
        AccentColor => "ACCENT_COLOR",
        AppName => "APP_NAME",
        AuthorizeAccess => "AUTHORIZE_ACCESS",
        CheckEveryDays => "CHECK_EVERY_DAYS",
        GraphCallsPerHour => "GRAPH_CALLS_PER_HOUR",
        HomeUrl => "HOME_URL",
        PrivacyUrl => "PRIVACY_URL",
        RedirectTrailingSlash => "REDIRECT_TRAILING_SLASH",
        RequestSeconds => "REQUEST_SECONDS",
        ReturnToAllowlist => "RETURN_TO_ALLOWLIST",
        SecretsTtlSeconds => "SECRETS_TTL_SECONDS",
        SupportUrl => "SUPPORT_URL",
        SweepConcurrency => "SWEEP_CONCURRENCY",
        ThreadsScopes => "THREADS_SCOPES",
        UnclaimedHours => "UNCLAIMED_HOURS",
    }
}

/// The configuration of a function. Holds no secret. Each field names its environment variable.
#[derive(Clone, Debug)]
pub struct Config {
    /// `PUBLIC_URL`, required: the public origin, such as `https://auth.example.com`. Plain http is
    /// allowed on loopback only.
    pub public_url: Url,
    /// `REDIRECT_TRAILING_SLASH`, `true` or `false` (default): true if the redirect URI ends with
    /// `/`. Meta's dashboard is known to add one.
    pub redirect_trailing_slash: bool,
    /// `THREADS_SCOPES`, default `threads_basic`: the requested scopes of flows that name none.
    /// `all` is allowed.
    pub scopes: Scopes,
    /// `RETURN_TO_ALLOWLIST`, default empty: allowed URL prefixes of `return_to`, separated by
    /// commas or spaces.
    pub return_to: ReturnToAllowlist,
    /// `AUTHORIZE_ACCESS`, `session` (default) or `open`.
    pub authorize_access: AuthorizeAccess,
    /// `APP_NAME`, `HOME_URL`, `SUPPORT_URL`, `PRIVACY_URL` and `ACCENT_COLOR`, default none: what
    /// pages show of the app.
    pub brand: Brand,
    /// `GRANTS_TABLE`, required: name of the DynamoDB table of grants.
    pub grants_table: String,
    /// `SHORT_LIVED_TABLE`, required: name of the DynamoDB table, with a TTL, of spent states and
    /// connect sessions.
    pub short_lived_table: String,
    /// `APP_SECRET_ID`, required: id of the secret that holds
    /// `{"app_id":…,"app_secret":…,"inspector":…,"previous":…}`. The last two are optional.
    pub app_secret_id: String,
    /// `KEYRING_SECRET_ID`, required: id of the secret that holds the
    /// [keyring](threads_auth_model::seal::Keyring).
    pub keyring_secret_id: String,
    /// `SECRETS_TTL_SECONDS`, default 300: time for which a secret is cached.
    pub secrets_ttl: Duration,
    /// `SWEEP_CONCURRENCY`, default 16, at most 1024: number of grants that a sweep refreshes
    /// concurrently.
    pub sweep_concurrency: usize,
    /// Number of grants that a sweep begins with: one. No variable sets it; the benchmark compares
    /// sweeps with and without the slow start.
    pub sweep_start: usize,
    /// Minimum number of refreshes of a sweep after an outage, before it leaves tokens that can
    /// wait: 250. No variable sets it; tests choose it by the number of their accounts.
    pub sweep_least: u64,
    /// `GRAPH_CALLS_PER_HOUR`, default none: hourly limit of calls to Meta, by sweeps and requests
    /// for tokens together. Sweeps stop when it is reached.
    pub graph_calls_per_hour: Option<u64>,
    /// `CHECK_EVERY_DAYS`, default none, at most 30: interval at which each account is checked with
    /// a call to Meta, even if its token is not due.
    pub check_every: Option<SignedDuration>,
    /// `UNCLAIMED_HOURS`, default 24, at most 720: time after which an account that was connected
    /// in a session ends, unless the session is completed.
    pub unclaimed_time: SignedDuration,
    /// `REQUEST_SECONDS`, default 30: the longest time of a request, which is API Gateway's limit.
    /// All timeouts are fractions of it.
    pub request_time: Duration,
    /// `METRICS_SERVICE`, default none: the metrics' `Service` dimension, which is the stack's
    /// name. Without it no metrics are printed.
    pub metrics_service: Option<String>,
    /// `ORIGIN_SECRETS`, default none: the secrets that prove that a request came through
    /// CloudFront. If set, public routes refuse all other requests.
    pub origin_secrets: Option<OriginSecrets>,
    /// `EVENT_BUS`, required by the events function only. See [`Config::event_bus`].
    event_bus: Option<String>,
    /// `EVENTS_DEAD_LETTERS`, default none: URL of the queue for events that the bus has refused
    /// for an hour. Without it they are retried until the bus accepts them.
    pub events_dead_letters: Option<String>,
    /// `WEBHOOK_URL` and the variables beside it, required by the webhook function only. See
    /// [`Config::webhook`].
    webhook: Option<WebhookConfig>,
    /// `THREADS_AUTHORIZE_URL`, `THREADS_GRAPH_URL`, `THREADS_API_VERSION`: Meta's endpoints, by
    /// default the public ones.
    pub endpoints: Endpoints,
    /// `AWS_REGION` and the other variables that Lambda sets.
    pub aws: AwsConfig,
}

/// The delivery of events by HTTP. Holds no secret.
#[derive(Clone, Debug)]
pub struct WebhookConfig {
    /// `WEBHOOK_URL`: where events are posted. Plain http is allowed on loopback only.
    pub url: Url,
    /// `WEBHOOK_SECRET_ID`: id of the secret that signs them, which holds
    /// `{"secret":…,"previous":…}`. The last is optional.
    pub secret_id: String,
    /// `WEBHOOK_QUEUE`: URL of the queue that the events come from. Development has none.
    pub queue: Option<String>,
    /// `WEBHOOK_DEAD_LETTERS`: URL of the queue for events that could not be delivered. Development
    /// has none.
    pub dead_letters: Option<String>,
}

impl WebhookConfig {
    /// Parses the URL of a receiver.
    ///
    /// # Errors
    /// Returns the expected form, without any part of the URL, which may hold a token.
    pub fn url(text: &str) -> Result<Url, &'static str> {
        let is_good = |url: &Url| {
            return_to::is_secure(url)
                && url.username().is_empty()
                && url.password().is_none()
                && url.fragment().is_none()
        };
        Url::parse(text)
            .ok()
            .filter(is_good)
            .ok_or("expected an https URL (http on loopback only) without a name, a password and a fragment")
    }
}

/// One missing or invalid variable.
#[derive(Debug, PartialEq, Eq)]
pub struct ConfigProblem {
    /// The environment variable.
    pub variable: &'static str,
    /// The problem and the expected value.
    pub problem: String,
}

/// All problems of the environment.
#[derive(Debug, PartialEq, Eq)]
pub struct ConfigError(pub Vec<ConfigProblem>);

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the configuration is incomplete or invalid:")?;
        for ConfigProblem { variable, problem } in &self.0 {
            write!(f, "\n  {variable}: {problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}

impl Config {
    /// Reads the process's environment.
    ///
    /// # Errors
    /// Returns [`ConfigError`] with every missing or invalid variable.
    pub fn from_env() -> Result<Self, ConfigError> {
        let texts =
            std::env::vars_os().filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?)));
        Self::from_vars(&texts.collect(), None)
    }

    /// Reads the variables in `vars`. If `credentials` are given, they replace those in `vars`.
    ///
    /// # Errors
    /// Returns [`ConfigError`] with every missing or invalid variable.
    pub fn from_vars(
        vars: &HashMap<String, String>,
        credentials: Option<SharedCredentialsProvider>,
    ) -> Result<Self, ConfigError> {
        let mut vars = Vars { vars, problems: Vec::new() };
        let public_url =
            vars.required("PUBLIC_URL", "an https origin such as https://auth.example.com", |text| {
                let url = Url::parse(text).ok()?;
                let is_origin = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
                (return_to::is_secure(&url)
                    && is_origin
                    && url.username().is_empty()
                    && url.password().is_none())
                .then_some(url)
            });
        let redirect_trailing_slash = vars.setting(Setting::RedirectTrailingSlash, "false", |text| {
            bool::from_str(text).map_err(|_| "expected `true` or `false`".to_owned())
        });
        let scopes = vars.setting(Setting::ThreadsScopes, "threads_basic", |text| {
            Scopes::from_str(text).map_err(|error| error.to_string())
        });
        let return_to = vars.setting(Setting::ReturnToAllowlist, "", |text| {
            ReturnToAllowlist::from_str(text).map_err(|e| e.to_string())
        });
        let authorize_access = vars.setting(Setting::AuthorizeAccess, "session", |text| match text {
            "open" => Ok(AuthorizeAccess::Open),
            "session" => Ok(AuthorizeAccess::Session),
            _ => Err("expected `open` or `session`".to_owned()),
        });
        let brand = vars.brand();
        let name = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let grants_table = vars.required("GRANTS_TABLE", "the name of the DynamoDB table of grants", name);
        let short_lived_table =
            vars.required("SHORT_LIVED_TABLE", "the name of the DynamoDB table of short-lived items", name);
        let app_secret_id =
            vars.required("APP_SECRET_ID", "the name or ARN of the secret with the app's credentials", name);
        let keyring_secret_id =
            vars.required("KEYRING_SECRET_ID", "the name or ARN of the secret with the keyring", name);
        let secrets_ttl = vars.setting(Setting::SecretsTtlSeconds, "300", |text| {
            whole_number(text, 1, 86_400).map(Duration::from_secs)
        });
        let sweep_concurrency = vars.setting(Setting::SweepConcurrency, "16", |text| {
            whole_number(text, 1, 1024).map(|n| usize::try_from(n).unwrap_or(usize::MAX))
        });
        let graph_calls_per_hour = vars.setting(Setting::GraphCallsPerHour, "", |text| match text {
            "" => Ok(None),
            text => whole_number(text, 1, 1_000_000_000).map(Some),
        });
        let check_every = vars.setting(Setting::CheckEveryDays, "", |text| match text {
            "" => Ok(None),
            text => whole_number(text, 1, 30)
                .map(|days| Some(SignedDuration::from_hours(24 * days.cast_signed()))),
        });
        let unclaimed_time = vars.setting(Setting::UnclaimedHours, "24", |text| {
            whole_number(text, 1, 720).map(|hours| SignedDuration::from_hours(hours.cast_signed()))
        });
        let request_time = vars.setting(Setting::RequestSeconds, "30", |text| {
            whole_number(text, 1, 900).map(Duration::from_secs)
        });
        let metrics_service = vars.get("METRICS_SERVICE").map(str::to_owned);
        let origin_secrets = vars.with_default("ORIGIN_SECRETS", "", |text| match text {
            "" => Ok(None),
            text => OriginSecrets::from_str(text).map(Some).map_err(|e| e.to_string()),
        });
        let event_bus = vars.get("EVENT_BUS").map(str::to_owned);
        let events_dead_letters = vars.get("EVENTS_DEAD_LETTERS").map(str::to_owned);
        let webhook = vars.webhook();
        let endpoints = vars.endpoints();
        let aws = vars.aws(request_time, credentials);
        // Every `None` has pushed a problem, except that of an absent webhook.
        let complete = (|| {
            Some(Self {
                public_url: public_url?,
                redirect_trailing_slash: redirect_trailing_slash?,
                scopes: scopes?,
                return_to: return_to?,
                authorize_access: authorize_access?,
                brand: brand?,
                grants_table: grants_table?,
                short_lived_table: short_lived_table?,
                app_secret_id: app_secret_id?,
                keyring_secret_id: keyring_secret_id?,
                secrets_ttl: secrets_ttl?,
                sweep_concurrency: sweep_concurrency?,
                sweep_start: 1,
                sweep_least: 250,
                graph_calls_per_hour: graph_calls_per_hour?,
                check_every: check_every?,
                unclaimed_time: unclaimed_time?,
                request_time: request_time?,
                metrics_service,
                origin_secrets: origin_secrets?,
                event_bus,
                events_dead_letters,
                webhook,
                endpoints: endpoints?,
                aws: aws?,
            })
        })();
        match complete {
            Some(config) if vars.problems.is_empty() => Ok(config),
            _ => Err(ConfigError(vars.problems)),
        }
    }

    /// Validates only the [`Setting`]s in `vars`, before the rest of the configuration is known.
    ///
    /// # Errors
    /// Returns [`ConfigError`] with every invalid setting.
    pub fn check_settings(vars: &HashMap<String, String>) -> Result<(), ConfigError> {
        let Err(ConfigError(mut problems)) = Self::from_vars(vars, None) else {
            return Ok(());
        };
        problems.retain(|problem| Setting::ALL.iter().any(|setting| setting.as_str() == problem.variable));
        if problems.is_empty() { Ok(()) } else { Err(ConfigError(problems)) }
    }

    /// Returns `EVENT_BUS`, the name or ARN of the EventBridge bus that receives the events.
    ///
    /// # Errors
    /// Returns [`ConfigError`] if the variable is missing.
    pub fn event_bus(&self) -> Result<&str, ConfigError> {
        self.event_bus.as_deref().ok_or_else(|| {
            ConfigError(vec![ConfigProblem {
                variable: "EVENT_BUS",
                problem: "missing: expected the name of the EventBridge bus".to_owned(),
            }])
        })
    }

    /// Returns the delivery of events by HTTP.
    ///
    /// # Errors
    /// Returns [`ConfigError`] if there is none.
    pub fn webhook(&self) -> Result<&WebhookConfig, ConfigError> {
        self.webhook.as_ref().ok_or_else(|| {
            ConfigError(vec![ConfigProblem {
                variable: "WEBHOOK_URL",
                problem: "missing: expected the URL that events are posted to".to_owned(),
            }])
        })
    }

    /// Returns the time that the receiver of a webhook has for its answer: half of
    /// `REQUEST_SECONDS`.
    #[must_use]
    pub fn webhook_timeout(&self) -> Duration {
        self.request_time / 2
    }

    /// Returns the timeouts of one call. A callback makes up to five calls to Meta.
    #[must_use]
    pub fn call_timeouts(&self) -> HttpTimeouts {
        HttpTimeouts { connect: self.request_time / 15, request: self.request_time / 6 }
    }

    /// Returns the time in which a request begins its writes. The last one may take
    /// [`Self::write_time`], and then the response still arrives in time.
    pub(crate) fn work_time(&self) -> Duration {
        self.request_time * 2 / 3
    }

    /// Returns the longest time of a write, with its retries.
    pub(crate) fn write_time(&self) -> Duration {
        aws::longest_call(self.request_time)
    }

    /// Returns the work time that must be left when an authorization code is spent: enough for that
    /// call, and for a second write if the first one finds that the account has ended.
    pub(crate) fn spending_time(&self) -> Duration {
        self.call_timeouts().request + self.write_time()
    }

    /// Returns the share of the work time in which failed calls are retried and optional calls are
    /// made.
    pub(crate) fn extras_time(&self) -> Duration {
        self.request_time * 4 / 15
    }

    /// Returns the time within which a row that was read together with the secrets is not read
    /// again.
    pub(crate) fn row_time(&self) -> Duration {
        self.request_time / 30
    }

    /// Returns the time that a caller waits for a refresh by another process.
    pub(crate) fn refresh_wait(&self) -> Duration {
        self.request_time / 6
    }

    /// Returns the kind of cookies that `PUBLIC_URL` allows.
    pub(crate) fn cookie_kind(&self) -> CookieKind {
        if self.public_url.scheme() == "https" { CookieKind::Host } else { CookieKind::Loopback }
    }

    /// Returns the URL that a person opens to enter the connect session `id`.
    #[must_use]
    pub fn session_url(&self, id: &str) -> String {
        format!("{}authorize?session={id}", self.public_url)
    }

    /// Returns the redirect URI, which must be registered at Meta exactly.
    ///
    /// # Errors
    /// Returns [`InvalidRedirectUri`](threads_graph::InvalidRedirectUri) if `public_url` is not an
    /// origin. [`Config::from_vars`] has checked that it is one.
    pub fn redirect_uri(&self) -> Result<RedirectUri, threads_graph::InvalidRedirectUri> {
        let slash = if self.redirect_trailing_slash { "/" } else { "" };
        format!("{}callback{slash}", self.public_url).parse()
    }
}

struct Vars<'a> {
    vars: &'a HashMap<String, String>,
    problems: Vec<ConfigProblem>,
}

impl Vars<'_> {
    fn get(&self, variable: &str) -> Option<&str> {
        self.vars.get(variable).map(|text| text.trim()).filter(|text| !text.is_empty())
    }

    fn required<T>(
        &mut self,
        variable: &'static str,
        expected: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Option<T> {
        let (value, word) = match self.get(variable) {
            None => (None, "missing"),
            Some(text) => (parse(text), "invalid"),
        };
        if value.is_none() {
            self.problems.push(ConfigProblem { variable, problem: format!("{word}: expected {expected}") });
        }
        value
    }

    fn with_default<T>(
        &mut self,
        variable: &'static str,
        default: &str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        match parse(self.get(variable).unwrap_or(default)) {
            Ok(value) => Some(value),
            Err(problem) => {
                self.problems.push(ConfigProblem { variable, problem });
                None
            }
        }
    }

    fn setting<T>(
        &mut self,
        setting: Setting,
        default: &str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        self.with_default(setting.as_str(), default, parse)
    }

    /// Returns the receiver of webhooks, if one is configured and valid.
    fn webhook(&mut self) -> Option<WebhookConfig> {
        let text = |text: &str| Some(text.to_owned());
        let url = self.with_default("WEBHOOK_URL", "", |text| match text {
            "" => Ok(None),
            text => WebhookConfig::url(text).map(Some).map_err(str::to_owned),
        })??;
        let secret_id =
            self.required("WEBHOOK_SECRET_ID", "the name or ARN of the secret that signs webhooks", text)?;
        let queue = self.get("WEBHOOK_QUEUE").map(str::to_owned);
        let dead_letters = self.get("WEBHOOK_DEAD_LETTERS").map(str::to_owned);
        Some(WebhookConfig { url, secret_id, queue, dead_letters })
    }

    /// Returns the value of a setting, if there is one.
    fn optional<T: FromStr<Err = String>>(&mut self, setting: Setting) -> Option<T> {
        let value = self.get(setting.as_str())?.parse();
        value
            .map_err(|problem| self.problems.push(ConfigProblem { variable: setting.as_str(), problem }))
            .ok()
    }

    fn brand(&mut self) -> Option<Brand> {
        let before = self.problems.len();
        let brand = Brand {
            name: self.optional(Setting::AppName),
            home: self.optional(Setting::HomeUrl),
            support: self.optional(Setting::SupportUrl),
            privacy: self.optional(Setting::PrivacyUrl),
            accent: self.optional(Setting::AccentColor),
        };
        (self.problems.len() == before).then_some(brand)
    }

    fn endpoints(&mut self) -> Option<Endpoints> {
        let default = Endpoints::default();
        let url = |text: &str| Url::parse(text).map_err(|_| "expected an absolute https URL".to_owned());
        let authorize = self.with_default("THREADS_AUTHORIZE_URL", default.authorize.as_str(), url)?;
        let graph = self.with_default("THREADS_GRAPH_URL", default.graph.as_str(), url)?;
        let version = self.get("THREADS_API_VERSION").unwrap_or(&default.api_version).to_owned();
        match Endpoints::new(authorize, graph, version) {
            Ok(endpoints) => Some(endpoints),
            Err(error) => {
                let variable = "THREADS_AUTHORIZE_URL, THREADS_GRAPH_URL, THREADS_API_VERSION";
                self.problems.push(ConfigProblem { variable, problem: error.to_string() });
                None
            }
        }
    }

    fn aws(
        &mut self,
        request_time: Option<Duration>,
        credentials: Option<SharedCredentialsProvider>,
    ) -> Option<AwsConfig> {
        let region =
            self.required("AWS_REGION", "the region, as Lambda sets it", |text| Some(text.to_owned()));
        let credentials = match credentials {
            Some(credentials) => Some(credentials),
            None => self.credentials(),
        };
        let endpoint =
            |service: &str| self.get(service).or_else(|| self.get("AWS_ENDPOINT_URL")).map(str::to_owned);
        Some(AwsConfig {
            dynamodb_url: endpoint("AWS_ENDPOINT_URL_DYNAMODB"),
            secrets_manager_url: endpoint("AWS_ENDPOINT_URL_SECRETS_MANAGER"),
            eventbridge_url: endpoint("AWS_ENDPOINT_URL_EVENTBRIDGE"),
            sqs_url: endpoint("AWS_ENDPOINT_URL_SQS"),
            timeouts: aws::timeouts(request_time?),
            region: region?,
            credentials: credentials?,
        })
    }

    fn credentials(&mut self) -> Option<SharedCredentialsProvider> {
        let text = |text: &str| Some(text.to_owned());
        let key_id = self.required("AWS_ACCESS_KEY_ID", "credentials, as Lambda sets them", text);
        let secret = self.required("AWS_SECRET_ACCESS_KEY", "credentials, as Lambda sets them", text);
        let session = self.get("AWS_SESSION_TOKEN").map(str::to_owned);
        let credentials = Credentials::new(key_id?, secret?, session, None, "environment");
        Some(SharedCredentialsProvider::new(credentials))
    }
}

fn whole_number(text: &str, least: u64, most: u64) -> Result<u64, String> {
    text.parse()
        .ok()
        .filter(|n| (least..=most).contains(n))
        .ok_or_else(|| format!("expected a whole number from {least} to {most}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complete() -> HashMap<String, String> {
        [
            ("PUBLIC_URL", "https://auth.example.com"),
            ("GRANTS_TABLE", "grants"),
            ("SHORT_LIVED_TABLE", "short-lived"),
            ("APP_SECRET_ID", "app"),
            ("KEYRING_SECRET_ID", "keyring"),
            ("AWS_REGION", "eu-central-1"),
            ("AWS_ACCESS_KEY_ID", "AKIA"),
            ("AWS_SECRET_ACCESS_KEY", "canary-secret-key"),
        ]
        .map(|(k, v)| (k.to_owned(), v.to_owned()))
        .into()
    }

    /// A callback that spends its code at the last moment still has time for that call and two
    /// writes, or for a second call that identifies the account and one write, before its response
    /// is due.
    #[test]
    fn the_times_of_a_callback_fit_into_its_request() {
        for seconds in 1..=900_u32 {
            let mut vars = complete();
            vars.insert("REQUEST_SECONDS".to_owned(), seconds.to_string());
            let config = Config::from_vars(&vars, None).unwrap();
            let (call, write) = (config.call_timeouts().request, config.write_time());
            let last_spent = config.work_time().saturating_sub(config.spending_time());
            let answered = config.request_time * 14 / 15;
            assert!(last_spent > config.request_time / 5, "{seconds}");
            assert!(last_spent + call + 2 * write <= answered, "{seconds}");
            assert!(last_spent + 2 * call + write <= answered, "{seconds}");
            assert!(config.work_time() + write <= answered, "{seconds}");
        }
    }

    #[test]
    fn defaults_are_the_safe_ones() {
        let config = Config::from_vars(&complete(), None).unwrap();
        assert_eq!(config.authorize_access, AuthorizeAccess::Session);
        assert_eq!(config.scopes.to_string(), "threads_basic");
        assert_eq!(config.redirect_uri().unwrap().as_str(), "https://auth.example.com/callback");
        assert_eq!(config.endpoints.graph.as_str(), "https://graph.threads.net/");
        assert!(config.origin_secrets.is_none());
        assert!(!format!("{config:?}").contains("canary"));
        let secrets = "canary-0123456789abcdefghijklmnop,-".to_owned();
        let vars = complete().into_iter().chain([("ORIGIN_SECRETS".to_owned(), secrets)]).collect();
        let config = Config::from_vars(&vars, None).unwrap();
        assert!(config.origin_secrets.is_some() && !format!("{config:?}").contains("canary"));
    }

    #[test]
    fn reports_every_problem_by_name_at_once() {
        let ConfigError(problems) = Config::from_vars(&HashMap::new(), None).unwrap_err();
        let missing: Vec<_> = problems.iter().map(|p| p.variable).collect();
        assert_eq!(
            missing,
            [
                "PUBLIC_URL",
                "GRANTS_TABLE",
                "SHORT_LIVED_TABLE",
                "APP_SECRET_ID",
                "KEYRING_SECRET_ID",
                "AWS_REGION",
                "AWS_ACCESS_KEY_ID",
                "AWS_SECRET_ACCESS_KEY"
            ]
        );
    }

    #[test]
    fn each_bad_value_is_named() {
        for (variable, value) in [
            ("PUBLIC_URL", "http://auth.example.com"),
            ("PUBLIC_URL", "https://auth.example.com/base"),
            ("PUBLIC_URL", "https://user@auth.example.com"),
            ("REDIRECT_TRAILING_SLASH", "yes"),
            ("REDIRECT_TRAILING_SLASH", "True"),
            ("THREADS_SCOPES", "threads_basic,everything"),
            ("THREADS_SCOPES", "TH|123|canary"),
            ("RETURN_TO_ALLOWLIST", "javascript:alert(1)"),
            ("AUTHORIZE_ACCESS", "closed"),
            ("APP_NAME", "one line\nand another"),
            ("HOME_URL", "http://app.example.com/"),
            ("SUPPORT_URL", "mailto:help@app.example.com"),
            ("PRIVACY_URL", "javascript:alert(1)"),
            ("ACCENT_COLOR", "blue"),
            ("SECRETS_TTL_SECONDS", "soon"),
            ("SWEEP_CONCURRENCY", "0"),
            ("GRAPH_CALLS_PER_HOUR", "0"),
            ("GRAPH_CALLS_PER_HOUR", "none"),
            ("CHECK_EVERY_DAYS", "0"),
            ("CHECK_EVERY_DAYS", "31"),
            ("UNCLAIMED_HOURS", "0"),
            ("UNCLAIMED_HOURS", "721"),
            ("REQUEST_SECONDS", "0"),
            ("THREADS_GRAPH_URL", "graph"),
            ("ORIGIN_SECRETS", "canary"),
            ("ORIGIN_SECRETS", "-,-"),
            ("WEBHOOK_URL", "http://app.example.com/canary"),
            ("WEBHOOK_URL", "https://user:canary@app.example.com/"),
            ("WEBHOOK_URL", "canary"),
        ] {
            let mut vars = complete();
            vars.insert(variable.to_owned(), value.to_owned());
            let ConfigError(problems) = Config::from_vars(&vars, None).unwrap_err();
            assert_eq!(problems.iter().map(|p| p.variable).collect::<Vec<_>>(), [variable], "{value}");
            assert!(!problems[0].problem.contains("canary"), "{value}");
        }
    }

    #[test]
    fn each_setting_is_read_and_looked_at_alone() {
        assert_eq!(Config::check_settings(&HashMap::new()), Ok(()));
        for setting in Setting::ALL {
            let vars = [(setting.as_str().to_owned(), "no such\u{7}value".to_owned())].into();
            let ConfigError(problems) = Config::check_settings(&vars).unwrap_err();
            assert_eq!(problems.iter().map(|p| p.variable).collect::<Vec<_>>(), [setting.as_str()]);
        }
    }

    #[test]
    fn the_redirect_uri_may_end_with_a_slash() {
        for (value, expected) in [("false", "callback"), ("true", "callback/"), ("", "callback")] {
            let mut vars = complete();
            vars.insert("REDIRECT_TRAILING_SLASH".to_owned(), value.to_owned());
            let uri = Config::from_vars(&vars, None).unwrap().redirect_uri().unwrap();
            assert_eq!(uri.as_str(), format!("https://auth.example.com/{expected}"), "{value}");
        }
    }

    #[test]
    fn a_scope_that_is_not_known_is_taken() {
        let mut vars = complete();
        vars.insert("THREADS_SCOPES".to_owned(), "threads_new_permission, publish".to_owned());
        let scopes = Config::from_vars(&vars, None).unwrap().scopes;
        assert_eq!(scopes.to_string(), "threads_basic,threads_content_publish,threads_new_permission");
    }

    #[test]
    fn a_services_own_endpoint_wins_over_the_general_one() {
        let mut vars = complete();
        vars.insert("AWS_ENDPOINT_URL".to_owned(), "http://127.0.0.1:1".to_owned());
        vars.insert("AWS_ENDPOINT_URL_DYNAMODB".to_owned(), "http://127.0.0.1:2".to_owned());
        let aws = Config::from_vars(&vars, None).unwrap().aws;
        assert_eq!(aws.dynamodb_url.as_deref(), Some("http://127.0.0.1:2"));
        assert_eq!(aws.secrets_manager_url.as_deref(), Some("http://127.0.0.1:1"));
    }
}
