//! Starts the whole product on one machine.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::serve::ListenerExt as _;
use events::EventPublisher;
use serde_json::json;
use threads_auth::{Config, ThreadsAuth};
use threads_auth_model::seal::{Keyring, random_text};
use threads_auth_model::webhook::WebhookSecret;
use threads_auth_store::aws;
use threads_graph::HttpClient;
use threads_sandbox::{Clock, Inspection, NewAccount, Sandbox, SandboxOptions};
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::watch;
use tokio::task::JoinSet;
use url::Url;

use crate::bus::Bus;
use crate::data_folder::KeptValue;
use crate::doors::{Key, Listener, close};
use crate::environment::{
    ACCESS_KEY_ID, APP_SECRET_ID, EVENT_BUS, GRANTS_TABLE, KEYRING_SECRET_ID, REGION, SHORT_LIVED_TABLE,
    Urls, WEBHOOK_SECRET_ID,
};
use crate::feed::Feed;
use crate::options::{StackError, StackOptions, Threads};
use crate::secrets_manager::{SecretsManager, provide};
use crate::shared::Shared;
use crate::stack::Stack;
use crate::webhook::Webhooks;
use crate::{data_folder, dev, dynamodb, environment, gateway, schedule};

/// The app of the sandbox. Its secret opens nothing.
const SANDBOX_APP_ID: &str = "9876543210987654";
const SANDBOX_APP_SECRET: &str = "sandbox-app-secret";

impl Stack {
    /// Starts everything, and returns when all parts respond.
    ///
    /// # Errors
    /// Returns [`StackError`] if the port is taken, the data folder is unusable or damaged, or a
    /// part does not start.
    pub async fn start(options: StackOptions) -> Result<Self, StackError> {
        let data = options.data_dir.as_deref();
        let lock = data.map(data_folder::lock).transpose()?;
        let file = |name: &str| data.map(|folder| folder.join(name));
        let (listener, service_url) = listen(options.port)?;
        let public_url = match options.public_url {
            Some(url) => url,
            None => Url::parse(&service_url).map_err(|e| StackError::Other(e.into()))?,
        };
        let (stop, stopping) = watch::channel(false);
        let stopped = || wait(stopping.clone());
        let mut tasks = JoinSet::new();

        let public_host = public_url.host_str().map(str::to_owned);
        let (secret_access_key, key_file, own_key_file) = data_folder::secret(data)?;
        let key = Key { access_key_id: ACCESS_KEY_ID.to_owned(), secret_access_key };
        let functions_key = key.with(&options.variables);
        let emulator = |router, listener| close(router, listener, None, &functions_key);

        let clock_offset = KeptValue::new(file("clock.json"), "advanced_seconds");
        let is_machines_clock = options.clock.is_none();
        let clock = options.clock.map_or_else(|| clock(&options.threads, &clock_offset), Ok)?;

        let database_file = file("dynamodb.sqlite");
        let database =
            dynamodb::open(database_file.as_deref()).map_err(|e| StackError::damaged(database_file, e))?;
        let (dynamodb_listener, dynamodb_url) = listen(0)?;
        let router = emulator(dynamodb::endpoint(database.clone()), Listener::DynamoDb);
        tasks.spawn(serve(dynamodb_listener, router, stopped()));
        // By another clock, items would expire too late or never.
        if is_machines_clock {
            tasks.spawn(dynamodb::expire(database.clone(), stopped()));
        }

        let secrets_file = file("secrets.json");
        let secrets =
            SecretsManager::open(secrets_file.clone()).map_err(|e| StackError::damaged(secrets_file, e))?;
        let (secrets_listener, secrets_manager_url) = listen(0)?;
        let router = emulator(secrets.endpoint(), Listener::SecretsManager);
        tasks.spawn(serve(secrets_listener, router, stopped()));

        let bus = Bus::open(options.events_file.as_deref(), options.webhook.is_some()).map_err(|source| {
            StackError::EventsFile { path: options.events_file.unwrap_or_default(), source }
        })?;
        let (bus_listener, eventbridge_url) = listen(0)?;
        tasks.spawn(serve(bus_listener, emulator(bus.clone().endpoint(), Listener::EventBridge), stopped()));

        let (sandbox, threads_url) = match &options.threads {
            Threads::Sandbox => {
                let sandbox = sandbox(file("sandbox.json"), clock.clone(), options.inspection)?;
                let (listener, url) = listen(0)?;
                tasks.spawn(serve_sandbox(sandbox.clone(), public_host.clone(), listener, stopped()));
                (Some(sandbox), url)
            }
            Threads::Live(_) => (None, "https://threads.com".to_owned()),
        };
        let urls = Urls {
            service_url,
            threads_url,
            dynamodb_url,
            secrets_manager_url,
            eventbridge_url,
            region: REGION.to_owned(),
            access_key_id: key.access_key_id.clone(),
            secret_access_key: key.secret_access_key.clone(),
            grants_table: GRANTS_TABLE.to_owned(),
            short_lived_table: SHORT_LIVED_TABLE.to_owned(),
            app_secret_id: APP_SECRET_ID.to_owned(),
            keyring_secret_id: KEYRING_SECRET_ID.to_owned(),
            event_bus: EVENT_BUS.to_owned(),
            webhook_secret_id: options.webhook.as_ref().map(|_| WEBHOOK_SECRET_ID.to_owned()),
        };
        let mut variables = urls.variables(&public_url, sandbox.is_some());
        variables.extend(options.variables);
        environment::allow(&mut variables, &options.return_to);
        environment::post_to(&mut variables, options.webhook.as_ref());
        let config = Config::from_vars(&variables, None).map_err(|e| StackError::Other(e.into()))?;
        provision(&config, &options.threads).await?;
        let publisher = EventPublisher::new(&config).map_err(|e| StackError::Other(e.into()))?;
        let webhooks = Webhooks::of(&config).map_err(|e| StackError::Other(e.into()))?.map(Arc::new);
        let service = ThreadsAuth::new(config).map_err(|e| StackError::Other(e.into()))?;
        let position = KeptValue::new(file("stream.json"), "after");
        let feed = Feed::open(database, publisher, GRANTS_TABLE, position)?;

        let shared = Shared {
            service: Arc::new(service),
            clock,
            sandbox,
            public_url,
            variables: Arc::new(variables),
            key_file: key_file.into(),
            bus,
            feed: Arc::new(feed),
            webhooks,
            sweeps: Arc::default(),
            clock_offset,
        };
        let router = dev::routes().fallback(gateway::answer).with_state(shared.clone());
        let router = close(router, Listener::Service, public_host.as_deref(), &key);
        tasks.spawn(serve(listener, router, stopped()));
        if let Some(every) = options.sweep_every {
            tasks.spawn(schedule::sweep(shared.clone(), every, stopped()));
        }
        if let Some(every) = options.announce_every {
            tasks.spawn(schedule::announce(shared.clone(), every, stopped()));
        }
        Ok(Self { urls, shared, stop, tasks, _lock: lock, _key: own_key_file })
    }
}

/// Starts the sandbox, with two accounts.
fn sandbox(
    state_file: Option<PathBuf>,
    clock: Clock,
    inspection: Option<Inspection>,
) -> Result<Sandbox, StackError> {
    let account = |username: &str| NewAccount { username: username.to_owned(), ..NewAccount::default() };
    Sandbox::new(SandboxOptions {
        clock,
        state_file: state_file.clone(),
        accounts: ["ada", "grace"].map(account).into(),
        inspection,
        ..SandboxOptions::new(SANDBOX_APP_ID, SANDBOX_APP_SECRET)
    })
    .map_err(|e| StackError::damaged(state_file, e.into()))
}

async fn serve_sandbox(
    sandbox: Sandbox,
    public_host: Option<String>,
    listener: TcpListener,
    stop: impl Future<Output = ()> + Send + 'static,
) {
    if let Err(error) = sandbox.serve_as(public_host, listener, stop).await {
        tracing::error!(%error, "the sandbox stopped");
    }
}

/// Returns the machine's clock, advanced as before. Meta's clock cannot be advanced.
fn clock(threads: &Threads, moved: &KeptValue) -> Result<Clock, StackError> {
    match threads {
        Threads::Live(_) => Ok(Clock::system()),
        Threads::Sandbox => {
            Ok(Clock::system_with_offset(Duration::from_secs(moved.read()?.unwrap_or_default())))
        }
    }
}

async fn serve(listener: TcpListener, router: Router, stop: impl Future<Output = ()> + Send + 'static) {
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    let listener = listener.tap_io(|stream| {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "TCP_NODELAY could not be set");
        }
    });
    if let Err(error) = axum::serve(listener, service).with_graceful_shutdown(stop).await {
        tracing::error!(%error, "an endpoint of the stack stopped");
    }
}

/// Creates the tables and secrets, as a deployment does.
async fn provision(config: &Config, threads: &Threads) -> anyhow::Result<()> {
    let http = HttpClient::new(config.call_timeouts())?;
    let dynamodb = aws::dynamodb(&config.aws, &http);
    dynamodb::create_tables(&dynamodb, &config.grants_table, &config.short_lived_table).await?;
    let secrets = aws::secrets_manager(&config.aws, &http);
    let (app_id, app_secret) = match threads {
        Threads::Live(app) => (app.credentials.app_id.as_str(), app.credentials.app_secret.expose()),
        Threads::Sandbox => (SANDBOX_APP_ID, SANDBOX_APP_SECRET),
    };
    let app = json!({"app_id": app_id, "app_secret": app_secret}).to_string();
    provide(&secrets, &config.app_secret_id, &app, true).await?;
    let key_id = format!("dev-{}", random_text::<4>()?);
    provide(&secrets, &config.keyring_secret_id, &Keyring::generate(&key_id)?, false).await?;
    if let Ok(webhook) = config.webhook() {
        provide(&secrets, &webhook.secret_id, &WebhookSecret::generate()?.to_json(), false).await?;
    }
    Ok(())
}

/// Opens a listener on loopback, and returns it with its URL. Hundreds of callers may connect at
/// once, and the usual queue holds 128. A caller who finds it full retries after one second, then
/// two, four and eight.
fn listen(port: u16) -> Result<(TcpListener, String), StackError> {
    let listener = || {
        let socket = TcpSocket::new_v4()?;
        socket.set_reuseaddr(true)?;
        socket.bind((Ipv4Addr::LOCALHOST, port).into())?;
        let listener = socket.listen(4096)?;
        let url = format!("http://{}", listener.local_addr()?);
        Ok((listener, url))
    };
    listener().map_err(|source| StackError::Port { port, source })
}

async fn wait(mut stopping: watch::Receiver<bool>) {
    // An error means that the stack was dropped, which stops the server as well.
    let _ = stopping.wait_for(|stop| *stop).await;
}
