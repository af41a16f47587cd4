//! Configuration: data, read once from the environment, with every problem reported at once.
//!
//! Refuses to hold a secret: the app's secret and the keyring are in Secrets Manager, and only
//! their names are here; of the origin secrets there are digests.

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

use crate::connect::flow::CookieKind;
use crate::connect::return_to::{self, ReturnToAllowlist};
use crate::origin::OriginSecrets;

/// Who may open `/authorize`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthorizeAccess {
    /// Anybody: for an app with a single owner, and for development.
    Open,
    /// Only a person whom the app's backend sent with a connect session.
    Session,
}

threads_graph::names! {
    /// The variables that are an operator's to set: how the service behaves. All others say where
    /// it is, and what it is made of.
    pub enum Setting {
        AuthorizeAccess => "AUTHORIZE_ACCESS",
        GraphCallsPerHour => "GRAPH_CALLS_PER_HOUR",
        RedirectTrailingSlash => "REDIRECT_TRAILING_SLASH",
        RequestSeconds => "REQUEST_SECONDS",
        ReturnToAllowlist => "RETURN_TO_ALLOWLIST",
        SecretsTtlSeconds => "SECRETS_TTL_SECONDS",
        SweepConcurrency => "SWEEP_CONCURRENCY",
        ThreadsScopes => "THREADS_SCOPES",
        UnclaimedHours => "UNCLAIMED_HOURS",
    }
}

/// Everything that a function needs to know, and no secret. Each field names its environment
/// variable.
#[derive(Clone, Debug)]
pub struct Config {
    /// `PUBLIC_URL`, required: where people reach us, an origin such as `https://auth.example.com`.
    /// Plain http only on loopback.
    pub public_url: Url,
    /// `REDIRECT_TRAILING_SLASH`, `true` or `false` (default): whether the redirect URI that Meta
    /// knows ends with `/`. Its dashboard is known to have added one.
    pub redirect_trailing_slash: bool,
    /// `THREADS_SCOPES`, default `threads_basic`: what is asked of the person when the flow does
    /// not say. `all` is allowed.
    pub scopes: Scopes,
    /// `RETURN_TO_ALLOWLIST`, default empty: URL prefixes, separated by commas or spaces, to which
    /// a person may be sent back.
    pub return_to: ReturnToAllowlist,
    /// `AUTHORIZE_ACCESS`, `session` (default) or `open`.
    pub authorize_access: AuthorizeAccess,
    /// `GRANTS_TABLE`, required: the DynamoDB table of grants.
    pub grants_table: String,
    /// `SHORT_LIVED_TABLE`, required: the DynamoDB table, with a TTL, of spent states and connect
    /// sessions.
    pub short_lived_table: String,
    /// `APP_SECRET_ID`, required: the secret that holds
    /// `{"app_id":…,"app_secret":…,"inspector":…,"previous":…}`, the last two of which are optional.
    pub app_secret_id: String,
    /// `KEYRING_SECRET_ID`, required: the secret that holds the
    /// [keyring](threads_auth_model::seal::Keyring).
    pub keyring_secret_id: String,
    /// `SECRETS_TTL_SECONDS`, default 300: how long a secret is used before it is read again.
    pub secrets_ttl: Duration,
    /// `SWEEP_CONCURRENCY`, default 64, at most 1024: how many tokens a sweep has in flight.
    pub sweep_concurrency: usize,
    /// `GRAPH_CALLS_PER_HOUR`, default none: after so many calls to Meta in an hour, by sweeps and
    /// requests for tokens together, sweeps wait for the next.
    pub graph_calls_per_hour: Option<u64>,
    /// `UNCLAIMED_HOURS`, default 24, at most 720: when an account ends that was connected in a
    /// session, and that nobody claims by completing it.
    pub unclaimed_time: SignedDuration,
    /// `REQUEST_SECONDS`, default 30, API Gateway's: how long a request may take. Each wait in it
    /// gets a share.
    pub request_time: Duration,
    /// `METRICS_SERVICE`, default none: the name under which metrics are printed, which is the
    /// stack's; without it none are.
    pub metrics_service: Option<String>,
    /// `ORIGIN_SECRETS`, default none: the secrets by which CloudFront shows that a request came
    /// through it. With them, public routes answer nothing else.
    pub origin_secrets: Option<OriginSecrets>,
    /// `EVENT_BUS`, required by the events function only: [`Config::event_bus`].
    event_bus: Option<String>,
    /// `EVENTS_DEAD_LETTERS`, default none: the URL of the queue for events that the bus did not
    /// take for an hour. Without it they wait for the bus.
    pub events_dead_letters: Option<String>,
    /// `THREADS_AUTHORIZE_URL`, `THREADS_GRAPH_URL`, `THREADS_API_VERSION`: Meta's hosts, if not
    /// the usual ones.
    pub endpoints: Endpoints,
    /// `AWS_REGION` and the other variables that Lambda sets.
    pub aws: AwsConfig,
}

/// One variable that is missing or bad.
#[derive(Debug, PartialEq, Eq)]
pub struct ConfigProblem {
    /// The environment variable.
    pub variable: &'static str,
    /// What is wrong, and what is expected.
    pub problem: String,
}

/// All that is wrong with the environment.
#[derive(Debug, PartialEq, Eq)]
pub struct ConfigError(pub Vec<ConfigProblem>);

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the configuration is incomplete:")?;
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
    /// When variables are missing or bad: all of them, by name.
    pub fn from_env() -> Result<Self, ConfigError> {
        let texts =
            std::env::vars_os().filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?)));
        Self::from_vars(&texts.collect(), None)
    }

    /// Reads the variables in `vars`. Where `credentials` are given, they hold none.
    ///
    /// # Errors
    /// When variables are missing or bad: all of them, by name.
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
        let redirect_trailing_slash =
            vars.setting(Setting::RedirectTrailingSlash, "false", |text| match text {
                "true" => Ok(true),
                "false" => Ok(false),
                _ => Err("expected `true` or `false`".to_owned()),
            });
        let scopes = vars.setting(Setting::ThreadsScopes, "threads_basic", |text| {
            Scopes::from_str(text).map_err(|e| e.to_string())
        });
        let return_to = vars.setting(Setting::ReturnToAllowlist, "", |text| {
            ReturnToAllowlist::from_str(text).map_err(|e| e.to_string())
        });
        let authorize_access = vars.setting(Setting::AuthorizeAccess, "session", |text| match text {
            "open" => Ok(AuthorizeAccess::Open),
            "session" => Ok(AuthorizeAccess::Session),
            _ => Err("expected `open` or `session`".to_owned()),
        });
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
        let sweep_concurrency = vars.setting(Setting::SweepConcurrency, "64", |text| {
            whole_number(text, 1, 1024).map(|n| usize::try_from(n).unwrap_or(usize::MAX))
        });
        let graph_calls_per_hour = vars.setting(Setting::GraphCallsPerHour, "", |text| match text {
            "" => Ok(None),
            text => whole_number(text, 1, 1_000_000_000).map(Some),
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
        let endpoints = vars.endpoints();
        let aws = vars.aws(request_time, credentials);
        // Every `None` has left a problem behind.
        let complete = (|| {
            Some(Self {
                public_url: public_url?,
                redirect_trailing_slash: redirect_trailing_slash?,
                scopes: scopes?,
                return_to: return_to?,
                authorize_access: authorize_access?,
                grants_table: grants_table?,
                short_lived_table: short_lived_table?,
                app_secret_id: app_secret_id?,
                keyring_secret_id: keyring_secret_id?,
                secrets_ttl: secrets_ttl?,
                sweep_concurrency: sweep_concurrency?,
                graph_calls_per_hour: graph_calls_per_hour?,
                unclaimed_time: unclaimed_time?,
                request_time: request_time?,
                metrics_service,
                origin_secrets: origin_secrets?,
                event_bus,
                events_dead_letters,
                endpoints: endpoints?,
                aws: aws?,
            })
        })();
        complete.ok_or(ConfigError(vars.problems))
    }

    /// Looks at the [`Setting`]s in `vars` alone, before all the rest is known.
    ///
    /// # Errors
    /// When some are bad: all of them, by name.
    pub fn check_settings(vars: &HashMap<String, String>) -> Result<(), ConfigError> {
        let Err(ConfigError(mut problems)) = Self::from_vars(vars, None) else {
            return Ok(());
        };
        problems.retain(|problem| Setting::ALL.iter().any(|setting| setting.as_str() == problem.variable));
        if problems.is_empty() { Ok(()) } else { Err(ConfigError(problems)) }
    }

    /// `EVENT_BUS`: the name or ARN of the EventBridge bus on which changes are announced.
    ///
    /// # Errors
    /// When the variable is missing.
    pub fn event_bus(&self) -> Result<&str, ConfigError> {
        self.event_bus.as_deref().ok_or_else(|| {
            ConfigError(vec![ConfigProblem {
                variable: "EVENT_BUS",
                problem: "missing: expected the name of the EventBridge bus".to_owned(),
            }])
        })
    }

    /// How long a call may take: a callback makes up to five of them to Meta.
    #[must_use]
    pub fn call_timeouts(&self) -> HttpTimeouts {
        HttpTimeouts { connect: self.request_time / 15, request: self.request_time / 6 }
    }

    /// How long a request may go on working, so that its answer is in time.
    pub(crate) fn work_time(&self) -> Duration {
        self.request_time * 2 / 3
    }

    /// How much of that is for a second try at a failed call, and for answers that are good to
    /// have.
    pub(crate) fn extras_time(&self) -> Duration {
        self.request_time * 4 / 15
    }

    /// How long a caller waits for a refresh that somebody else makes.
    pub(crate) fn patience(&self) -> Duration {
        self.request_time / 6
    }

    /// The form of the cookies that `PUBLIC_URL` allows.
    pub(crate) fn cookie_kind(&self) -> CookieKind {
        if self.public_url.scheme() == "https" { CookieKind::Host } else { CookieKind::Loopback }
    }

    /// The URL by which a person enters the connect session of this id.
    #[must_use]
    pub fn session_url(&self, id: &str) -> String {
        format!("{}authorize?session={id}", self.public_url)
    }

    /// The redirect URI that Meta must know, letter for letter.
    ///
    /// # Errors
    /// Never for a [`Config`] that was read from variables: `public_url` is an origin.
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
            Some(text) => (parse(text), "bad"),
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
            ("SECRETS_TTL_SECONDS", "soon"),
            ("SWEEP_CONCURRENCY", "0"),
            ("GRAPH_CALLS_PER_HOUR", "0"),
            ("GRAPH_CALLS_PER_HOUR", "none"),
            ("UNCLAIMED_HOURS", "0"),
            ("UNCLAIMED_HOURS", "721"),
            ("REQUEST_SECONDS", "0"),
            ("THREADS_GRAPH_URL", "graph"),
            ("ORIGIN_SECRETS", "canary"),
            ("ORIGIN_SECRETS", "-,-"),
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
            let vars = [(setting.as_str().to_owned(), "no such value".to_owned())].into();
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
