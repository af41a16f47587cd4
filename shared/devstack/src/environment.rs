//! The environment of the functions: names, addresses and the access key.

use std::collections::HashMap;
use std::fmt;

use serde::Serialize;
use threads_auth::Setting;
use url::Url;

/// The region of everything embedded.
pub(crate) const REGION: &str = "us-east-1";
pub(crate) const ACCESS_KEY_ID: &str = "AKIATHREADSAUTHDEV00";
/// The variables in which a function looks for its access key and that key's secret.
pub(crate) const KEY_ID_VARIABLE: &str = "AWS_ACCESS_KEY_ID";
pub(crate) const SECRET_VARIABLE: &str = "AWS_SECRET_ACCESS_KEY";
pub(crate) const ACCOUNT_ID: &str = "123456789012";
pub(crate) const EVENT_BUS: &str = "threads-auth";
pub(crate) const GRANTS_TABLE: &str = "threads-auth-grants";
pub(crate) const SHORT_LIVED_TABLE: &str = "threads-auth-short-lived";
pub(crate) const APP_SECRET_ID: &str = "threads-auth/app";
pub(crate) const KEYRING_SECRET_ID: &str = "threads-auth/keyring";
pub(crate) const WEBHOOK_SECRET_ID: &str = "threads-auth/webhook";

/// All addresses, and the key to sign with.
#[derive(Clone, Serialize)]
pub struct Urls {
    /// URL of the service.
    pub service_url: String,
    /// URL of the sandbox, or of Meta.
    pub threads_url: String,
    /// URL of DynamoDB.
    pub dynamodb_url: String,
    /// URL of Secrets Manager.
    pub secrets_manager_url: String,
    /// URL of EventBridge.
    pub eventbridge_url: String,
    /// The AWS region to sign for.
    pub region: String,
    /// The AWS access key id to sign with.
    pub access_key_id: String,
    /// The AWS secret access key to sign with: random, and valid for this data folder alone.
    pub secret_access_key: String,
    /// The name of the table of grants.
    pub grants_table: String,
    /// The name of the table of short-lived items.
    pub short_lived_table: String,
    /// The name of the secret with the app's credentials.
    pub app_secret_id: String,
    /// The name of the secret with the keyring.
    pub keyring_secret_id: String,
    /// The name of the event bus.
    pub event_bus: String,
    /// The name of the secret that signs webhooks, if there are any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub webhook_secret_id: Option<String>,
}

impl fmt::Debug for Urls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { service_url, threads_url, .. } = self;
        f.debug_struct("Urls")
            .field("service_url", service_url)
            .field("threads_url", threads_url)
            .finish_non_exhaustive()
    }
}

impl Urls {
    /// Returns the variables of [`Config`](threads_auth::Config) for this stack, including those
    /// that development fixes.
    pub(crate) fn variables(&self, public_url: &Url, is_sandboxed: bool) -> HashMap<String, String> {
        let variables: [(&str, &str); 13] = [
            ("GRANTS_TABLE", &self.grants_table),
            ("SHORT_LIVED_TABLE", &self.short_lived_table),
            ("APP_SECRET_ID", &self.app_secret_id),
            ("KEYRING_SECRET_ID", &self.keyring_secret_id),
            ("AWS_REGION", &self.region),
            (KEY_ID_VARIABLE, &self.access_key_id),
            (SECRET_VARIABLE, &self.secret_access_key),
            ("AWS_ENDPOINT_URL_DYNAMODB", &self.dynamodb_url),
            ("AWS_ENDPOINT_URL_SECRETS_MANAGER", &self.secrets_manager_url),
            ("AWS_ENDPOINT_URL_EVENTBRIDGE", &self.eventbridge_url),
            ("EVENT_BUS", &self.event_bus),
            ("PUBLIC_URL", public_url.as_str()),
            (Setting::AuthorizeAccess.as_str(), "open"),
        ];
        let authorize_url = format!("{}/oauth/authorize", self.threads_url);
        let sandboxed: [(&str, &str); 3] = [
            ("THREADS_AUTHORIZE_URL", &authorize_url),
            ("THREADS_GRAPH_URL", &self.threads_url),
            // No real person returns here, and an app in development may listen at any port.
            (
                Setting::ReturnToAllowlist.as_str(),
                "http://localhost:*/ http://127.0.0.1:*/ http://[::1]:*/ https://localhost:*/ https://127.0.0.1:*/ https://[::1]:*/",
            ),
        ];
        let sandboxed = sandboxed.into_iter().filter(|_| is_sandboxed);
        variables
            .into_iter()
            .chain(sandboxed)
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect()
    }
}

/// Adds the receiver of webhooks, if there is one.
pub(crate) fn post_to(variables: &mut HashMap<String, String>, url: Option<&Url>) {
    if let Some(url) = url {
        variables.insert("WEBHOOK_URL".to_owned(), url.to_string());
        variables.insert("WEBHOOK_SECRET_ID".to_owned(), WEBHOOK_SECRET_ID.to_owned());
    }
}

/// Adds entries to the effective allowlist of return addresses.
pub(crate) fn allow(variables: &mut HashMap<String, String>, return_to: &[String]) {
    let list = variables.entry(Setting::ReturnToAllowlist.to_string()).or_default();
    for address in return_to {
        list.push(' ');
        list.push_str(address);
    }
}
