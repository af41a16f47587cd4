//! The whole product on one machine: starting it, and stopping it.

use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ::events::Announcer;
use anyhow::Context;
use axum::Router;
use axum::routing::{get, post};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::json;
use threads_auth::refresh::SweepReport;
use threads_auth::seal::{Keyring, random_text};
use threads_auth::{Config, ThreadsAuth, aws};
use threads_graph::{AppCredentials, HttpClient};
use threads_sandbox::{Clock, NewAccount, Sandbox, SandboxOptions};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use url::Url;

use crate::bus::Bus;
use crate::feed::Feed;
use crate::secrets_manager::{SecretsManager, provide, write_private};
use crate::{dev, dynamodb, gateway};

/// The region that everything embedded is in.
pub(crate) const REGION: &str = "us-east-1";
pub(crate) const ACCESS_KEY_ID: &str = "AKIATHREADSAUTHDEV00";
pub(crate) const SECRET_ACCESS_KEY: &str = "threads-auth-development-only";
pub(crate) const ACCOUNT_ID: &str = "123456789012";
pub(crate) const EVENT_BUS: &str = "threads-auth";
const GRANTS_TABLE: &str = "threads-auth-grants";
const SHORT_LIVED_TABLE: &str = "threads-auth-short-lived";
const APP_SECRET_ID: &str = "threads-auth/app";
const KEYRING_SECRET_ID: &str = "threads-auth/keyring";

/// The app that the sandbox knows. Its secret opens nothing.
const SANDBOX_APP_ID: &str = "9876543210987654";
const SANDBOX_APP_SECRET: &str = "sandbox-app-secret";

/// How long a sweep may run, as on Lambda.
const SWEEP_BUDGET: Duration = Duration::from_mins(15);
const SWEEPS_REMEMBERED: usize = 20;

/// Which Threads the stack talks to.
#[derive(Clone, Debug, Default)]
pub enum Threads {
    /// Our stand-in, in the same process.
    #[default]
    Sandbox,
    /// Meta's own servers, with a real app.
    Live(LiveApp),
}

/// A real app.
#[derive(Clone, Debug)]
pub struct LiveApp {
    /// Its id and secret.
    pub credentials: AppCredentials,
}

/// How to start a stack.
#[derive(Clone, Debug)]
pub struct StackOptions {
    /// The service's port on loopback; 0 picks a free one.
    pub port: u16,
    /// Where everything is kept; `None` keeps it in memory.
    pub data_dir: Option<PathBuf>,
    /// The clock of the functions and of the sandbox. With a data folder, what it was advanced by is kept there.
    pub clock: Option<Clock>,
    /// Which Threads to talk to.
    pub threads: Threads,
    /// Where people reach the service, if not on loopback: an https origin that is forwarded here.
    pub public_url: Option<Url>,
    /// How often a sweep is made; `None` never.
    pub sweep_every: Option<Duration>,
    /// How often changes are announced; `None` only by [`Stack::announce`].
    pub announce_every: Option<Duration>,
    /// A file to which each event is appended, as a line of JSON.
    pub events_file: Option<PathBuf>,
    /// Variables of [`Config`] that differ from development's.
    pub variables: HashMap<String, String>,
}

impl Default for StackOptions {
    /// A free port, in memory, against the sandbox, with no sweeps of its own: what a test wants.
    fn default() -> Self {
        Self {
            port: 0,
            data_dir: None,
            clock: None,
            threads: Threads::Sandbox,
            public_url: None,
            sweep_every: None,
            announce_every: None,
            events_file: None,
            variables: HashMap::new(),
        }
    }
}

/// Why a stack did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StackError {
    /// The port is taken.
    #[error("port {port} cannot be used; choose another with --port, or --port 0 for a free one")]
    Port {
        /// The port.
        port: u16,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The data folder cannot be written.
    #[error("the data folder {path} cannot be used; choose another with --data-dir, or --ephemeral for none")]
    DataDir {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The file for events cannot be written.
    #[error("the file for events, {path}, cannot be written; choose another with --json-events")]
    EventsFile {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// Another stack uses the data folder.
    #[error(
        "the data folder {path} is in use by another process; stop it, or choose another folder with --data-dir"
    )]
    InUse {
        /// The folder.
        path: PathBuf,
    },
    /// A file in the data folder is not what it should be.
    #[error("{path} is damaged or not ours; move it away to start afresh without what it holds")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Something else.
    #[error("the stack did not start")]
    Other(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl From<anyhow::Error> for StackError {
    fn from(error: anyhow::Error) -> Self {
        Self::Other(error.into())
    }
}

/// Where everything is, and how to sign for it.
#[derive(Clone, Debug, Serialize)]
pub struct Urls {
    /// The service.
    pub service_url: String,
    /// The sandbox, or Meta.
    pub threads_url: String,
    /// DynamoDB.
    pub dynamodb_url: String,
    /// Secrets Manager.
    pub secrets_manager_url: String,
    /// EventBridge.
    pub eventbridge_url: String,
    /// The AWS region to sign for.
    pub region: String,
    /// The AWS access key id to sign with.
    pub access_key_id: String,
    /// The AWS secret access key to sign with. It opens nothing but this stack.
    pub secret_access_key: String,
    /// The table of grants.
    pub grants_table: String,
    /// The table of short-lived items.
    pub short_lived_table: String,
    /// The secret of the app's credentials.
    pub app_secret_id: String,
    /// The secret of the keyring.
    pub keyring_secret_id: String,
    /// The bus on which changes are announced.
    pub event_bus: String,
}

/// A sweep that was made, for the development page.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct PastSweep {
    pub(crate) at: Timestamp,
    pub(crate) result: Result<SweepReport, String>,
}

/// What the gateway, the development page and the scheduler share.
#[derive(Clone)]
pub(crate) struct Shared {
    pub(crate) service: Arc<ThreadsAuth>,
    pub(crate) clock: Clock,
    pub(crate) sandbox: Option<Sandbox>,
    pub(crate) public_url: Url,
    pub(crate) variables: Arc<HashMap<String, String>>,
    pub(crate) bus: Bus,
    feed: Arc<Feed>,
    sweeps: Arc<Mutex<VecDeque<PastSweep>>>,
    clock_file: Option<PathBuf>,
}

/// The running product. Dropping it stops everything at once; [`Stack::stop`] lets requests finish.
pub struct Stack {
    urls: Urls,
    shared: Shared,
    stop: watch::Sender<bool>,
    tasks: JoinSet<()>,
    _lock: Option<File>,
}

impl Stack {
    /// Starts everything, and returns when all of it answers.
    ///
    /// # Errors
    /// When the port is taken, the data folder unusable or damaged, or a part does not start.
    pub async fn start(options: StackOptions) -> Result<Self, StackError> {
        let data = options.data_dir.as_deref();
        let lock = data.map(lock_data_dir).transpose()?;
        let file = |name: &str| data.map(|folder| folder.join(name));
        let listener = listen(options.port).await?;
        let service_url = format!("http://{}", local(&listener)?);
        let public_url = match options.public_url {
            Some(url) => url,
            None => Url::parse(&service_url).map_err(|e| StackError::Other(e.into()))?,
        };
        let (stop, stopping) = watch::channel(false);
        let stopped = || wait(stopping.clone());
        let mut tasks = JoinSet::new();

        let database_file = file("dynamodb.sqlite");
        let database = dynamodb::open(database_file.as_deref()).map_err(|e| damaged(database_file, e))?;
        let socket = listen(0).await?;
        let dynamodb_url = format!("http://{}", local(&socket)?);
        let expires = options.clock.is_none();
        tasks.spawn(dynamodb::serve(socket, database.clone(), expires, stopped()));

        let secrets_file = file("secrets.json");
        let secrets = SecretsManager::open(secrets_file.clone())
            .await
            .map_err(|e| damaged(secrets_file, e))?;
        let secrets_listener = listen(0).await?;
        let secrets_manager_url = format!("http://{}", local(&secrets_listener)?);
        tasks.spawn(secrets.serve(secrets_listener, stopped()));

        let (bus, eventbridge_url) = start_bus(options.events_file, &mut tasks, stopped()).await?;

        let clock_file = file("clock.json");
        let machines = || read_offset(clock_file.as_deref()).map(Clock::system_with_offset);
        let clock = options.clock.map_or_else(machines, Ok)?;
        let live = match options.threads {
            Threads::Sandbox => None,
            Threads::Live(app) => Some(app),
        };
        let mut sandbox = None;
        let mut variables = defaults(&public_url);
        let threads_url = if live.is_none() {
            let (started, url) =
                start_sandbox(file("sandbox.json"), clock.clone(), &mut tasks, stopped()).await?;
            sandbox = Some(started);
            variables.insert(
                "THREADS_AUTHORIZE_URL".to_owned(),
                format!("{url}/oauth/authorize"),
            );
            variables.insert("THREADS_GRAPH_URL".to_owned(), url.clone());
            url
        } else {
            "https://threads.com".to_owned()
        };

        let urls = Urls {
            service_url,
            threads_url,
            dynamodb_url,
            secrets_manager_url,
            eventbridge_url,
            region: REGION.to_owned(),
            access_key_id: ACCESS_KEY_ID.to_owned(),
            secret_access_key: SECRET_ACCESS_KEY.to_owned(),
            grants_table: GRANTS_TABLE.to_owned(),
            short_lived_table: SHORT_LIVED_TABLE.to_owned(),
            app_secret_id: APP_SECRET_ID.to_owned(),
            keyring_secret_id: KEYRING_SECRET_ID.to_owned(),
            event_bus: EVENT_BUS.to_owned(),
        };
        variables.extend(urls.variables());
        variables.extend(options.variables);
        let config = Config::from_vars(&variables).map_err(|e| StackError::Other(e.into()))?;
        provision(&config, live.as_ref()).await?;
        let announcer = Announcer::new(&config).map_err(|e| StackError::Other(e.into()))?;
        let service = ThreadsAuth::new(config).map_err(|e| StackError::Other(e.into()))?;
        let feed_file = file("stream.json");
        let feed = Feed::open(database, announcer, GRANTS_TABLE, feed_file.clone())
            .map_err(|e| damaged(feed_file, e))?;

        let shared = Shared {
            service: Arc::new(service),
            clock,
            sandbox,
            public_url,
            variables: Arc::new(variables),
            bus,
            feed: Arc::new(feed),
            sweeps: Arc::default(),
            clock_file,
        };
        tasks.spawn(serve(listener, shared.clone(), stopped()));
        if let Some(every) = options.sweep_every {
            tasks.spawn(schedule(shared.clone(), every, stopped()));
        }
        if let Some(every) = options.announce_every {
            tasks.spawn(announce(shared.clone(), every, stopped()));
        }
        Ok(Self {
            urls,
            shared,
            stop,
            tasks,
            _lock: lock,
        })
    }

    /// Where everything is.
    #[must_use]
    pub fn urls(&self) -> &Urls {
        &self.urls
    }

    /// The environment in which a function of this stack runs.
    #[must_use]
    pub fn variables(&self) -> &HashMap<String, String> {
        &self.shared.variables
    }

    /// The service that the functions call.
    #[must_use]
    pub fn service(&self) -> &Arc<ThreadsAuth> {
        &self.shared.service
    }

    /// The clock of the functions and of the sandbox.
    #[must_use]
    pub fn clock(&self) -> &Clock {
        &self.shared.clock
    }

    /// The sandbox, unless the stack talks to Meta.
    #[must_use]
    pub fn sandbox(&self) -> Option<&Sandbox> {
        self.shared.sandbox.as_ref()
    }

    /// Invokes the refresh function as the schedule would.
    ///
    /// # Errors
    /// When the sweep could not be made at all.
    pub async fn sweep(&self) -> Result<SweepReport, refresh::RefreshError> {
        self.shared.sweep().await
    }

    /// Announces what has changed, as Lambda does by itself.
    ///
    /// # Errors
    /// When the bus does not take it: it is kept for the next time.
    pub async fn announce(&self) -> anyhow::Result<()> {
        self.shared.feed.drain(self.shared.clock.now()).await
    }

    /// The last events on the bus, newest first, as EventBridge delivers them.
    #[must_use]
    pub fn events(&self) -> Vec<serde_json::Value> {
        self.shared.bus.events()
    }

    /// Stops everything, after the requests under way.
    pub async fn stop(mut self) {
        // Nobody may be left to hear it, which is as good.
        let _ = self.stop.send(true);
        while self.tasks.join_next().await.is_some() {}
    }
}

impl Urls {
    /// The variables of [`Config`] that follow.
    fn variables(&self) -> HashMap<String, String> {
        [
            ("GRANTS_TABLE", &self.grants_table),
            ("SHORT_LIVED_TABLE", &self.short_lived_table),
            ("APP_SECRET_ID", &self.app_secret_id),
            ("KEYRING_SECRET_ID", &self.keyring_secret_id),
            ("AWS_REGION", &self.region),
            ("AWS_ACCESS_KEY_ID", &self.access_key_id),
            ("AWS_SECRET_ACCESS_KEY", &self.secret_access_key),
            ("AWS_ENDPOINT_URL_DYNAMODB", &self.dynamodb_url),
            ("AWS_ENDPOINT_URL_SECRETS_MANAGER", &self.secrets_manager_url),
            ("AWS_ENDPOINT_URL_EVENTBRIDGE", &self.eventbridge_url),
            ("EVENT_BUS", &self.event_bus),
        ]
        .map(|(name, value)| (name.to_owned(), value.clone()))
        .into()
    }
}

impl Shared {
    /// Invokes the refresh function, and remembers the sweep.
    pub(crate) async fn sweep(&self) -> Result<SweepReport, refresh::RefreshError> {
        let at = self.clock.now();
        let result = refresh::handle(&self.service, json!({}), at, SWEEP_BUDGET).await;
        if let Ok(mut sweeps) = self.sweeps.lock() {
            let result = result.as_ref().map_err(|e| threads_auth::error_chain(e));
            sweeps.push_front(PastSweep {
                at,
                result: result.cloned(),
            });
            sweeps.truncate(SWEEPS_REMEMBERED);
        }
        result
    }

    /// The last sweeps, newest first.
    pub(crate) fn sweeps(&self) -> Vec<PastSweep> {
        self.sweeps
            .lock()
            .map(|sweeps| sweeps.iter().cloned().collect())
            .unwrap_or_default()
    }

    /// Moves our clock and the sandbox's, which are one.
    pub(crate) fn advance(&self, by: Duration) -> anyhow::Result<()> {
        self.clock.advance(by);
        let Some(file) = &self.clock_file else {
            return Ok(());
        };
        let text = json!({"advanced_seconds": self.clock.offset().as_secs()}).to_string();
        write_private(file, text.as_bytes()).context("the clock could not be saved")
    }
}

/// What development does not leave to chance.
fn defaults(public_url: &Url) -> HashMap<String, String> {
    [
        ("PUBLIC_URL", public_url.as_str()),
        ("AUTHORIZE_ACCESS", "open"),
        (
            "RETURN_TO_ALLOWLIST",
            "http://127.0.0.1:4000/ http://localhost:4000/",
        ),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into()
}

/// Starts the sandbox on a port of its own, with two accounts to begin with.
async fn start_sandbox(
    state_file: Option<PathBuf>,
    clock: Clock,
    tasks: &mut JoinSet<()>,
    stop: impl Future<Output = ()> + Send + 'static,
) -> Result<(Sandbox, String), StackError> {
    let sandbox = Sandbox::new(SandboxOptions {
        app_id: SANDBOX_APP_ID.to_owned(),
        app_secret: SANDBOX_APP_SECRET.to_owned(),
        clock,
        redirect_uris: Vec::new(),
        state_file: state_file.clone(),
        accounts: ["ada", "grace"].map(account).into(),
    })
    .map_err(|e| damaged(state_file, e.into()))?;
    let listener = listen(0).await?;
    let url = format!("http://{}", local(&listener)?);
    let serving = sandbox.clone().serve(listener, stop);
    tasks.spawn(async move {
        if let Err(error) = serving.await {
            tracing::error!(%error, "the sandbox stopped");
        }
    });
    Ok((sandbox, url))
}

async fn serve(listener: TcpListener, shared: Shared, stop: impl Future<Output = ()> + Send + 'static) {
    let router = Router::new()
        .route("/", get(dev::show))
        .route("/dev/grants", get(dev::grants))
        .route(
            "/dev/openapi.yaml",
            get(include_str!("../../../functions/openapi.yaml")),
        )
        .route("/dev/stack", get(dev::stack))
        .route("/dev/events", get(dev::events))
        .route("/dev/sweep", post(dev::sweep))
        .route("/dev/clock", post(dev::clock))
        .route("/dev/accounts/{user_id}/revoke", post(dev::revoke))
        .layer(axum::middleware::from_fn(dev::guard))
        .fallback(gateway::answer)
        .with_state(shared);
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    if let Err(error) = axum::serve(listener, service).with_graceful_shutdown(stop).await {
        tracing::error!(%error, "the gateway stopped");
    }
}

async fn schedule(shared: Shared, every: Duration, stop: impl Future<Output = ()>) {
    let sweeps = async {
        let mut ticks = tokio::time::interval(every);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        loop {
            ticks.tick().await;
            // Its outcome is logged by the function, and remembered for the page.
            let _ = shared.sweep().await;
        }
    };
    tokio::select! {
        () = sweeps => {}
        () = stop => {}
    }
}

async fn announce(shared: Shared, every: Duration, stop: impl Future<Output = ()>) {
    let batches = async {
        let mut ticks = tokio::time::interval(every);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        loop {
            ticks.tick().await;
            if let Err(error) = shared.feed.drain(shared.clock.now()).await {
                tracing::warn!(error = format!("{error:#}"), "changes wait to be announced");
            }
        }
    };
    tokio::select! {
        () = batches => {}
        () = stop => {}
    }
}

/// Starts the bus on a port of its own.
async fn start_bus(
    file: Option<PathBuf>,
    tasks: &mut JoinSet<()>,
    stop: impl Future<Output = ()> + Send + 'static,
) -> Result<(Bus, String), StackError> {
    let bus = Bus::open(file.as_deref()).map_err(|source| StackError::EventsFile {
        path: file.unwrap_or_default(),
        source,
    })?;
    let listener = listen(0).await?;
    let url = format!("http://{}", local(&listener)?);
    tasks.spawn(bus.clone().serve(listener, stop));
    Ok((bus, url))
}

/// Tables and secrets, as a deployment would have made them.
async fn provision(config: &Config, live: Option<&LiveApp>) -> anyhow::Result<()> {
    let http = HttpClient::new(config.call_timeouts())?;
    let dynamodb = aws::dynamodb(&config.aws, &http);
    dynamodb::create_tables(&dynamodb, &config.grants_table, &config.short_lived_table).await?;
    let secrets = aws::secrets_manager(&config.aws, &http);
    let (app_id, app_secret) = match live {
        Some(app) => (
            app.credentials.app_id.as_str(),
            app.credentials.app_secret.expose(),
        ),
        None => (SANDBOX_APP_ID, SANDBOX_APP_SECRET),
    };
    let app = json!({"app_id": app_id, "app_secret": app_secret}).to_string();
    provide(&secrets, &config.app_secret_id, &app, true).await?;
    let key_id = format!("dev-{}", random_text::<4>()?);
    provide(
        &secrets,
        &config.keyring_secret_id,
        &Keyring::generate(&key_id)?,
        false,
    )
    .await
}

fn account(username: &str) -> NewAccount {
    NewAccount {
        username: username.to_owned(),
        user_id: None,
        private: false,
    }
}

async fn listen(port: u16) -> Result<TcpListener, StackError> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port))
        .await
        .map_err(|source| StackError::Port { port, source })
}

fn local(listener: &TcpListener) -> Result<SocketAddr, StackError> {
    listener
        .local_addr()
        .map_err(|source| StackError::Port { port: 0, source })
}

fn lock_data_dir(folder: &Path) -> Result<File, StackError> {
    let unusable = |source| StackError::DataDir {
        path: folder.to_owned(),
        source,
    };
    std::fs::create_dir_all(folder).map_err(unusable)?;
    let lock = File::create(folder.join("lock")).map_err(unusable)?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(std::fs::TryLockError::WouldBlock) => Err(StackError::InUse {
            path: folder.to_owned(),
        }),
        Err(std::fs::TryLockError::Error(source)) => Err(unusable(source)),
    }
}

fn read_offset(file: Option<&Path>) -> Result<Duration, StackError> {
    let Some(file) = file.filter(|file| file.exists()) else {
        return Ok(Duration::ZERO);
    };
    let read = || -> anyhow::Result<u64> {
        let value: serde_json::Value = serde_json::from_slice(&std::fs::read(file)?)?;
        value["advanced_seconds"]
            .as_u64()
            .context("advanced_seconds is missing")
    };
    read()
        .map(Duration::from_secs)
        .map_err(|e| damaged(Some(file.to_owned()), e))
}

fn damaged(file: Option<PathBuf>, error: anyhow::Error) -> StackError {
    match file {
        Some(path) => StackError::Damaged {
            path,
            source: error.into(),
        },
        None => StackError::Other(error.into()),
    }
}

async fn wait(mut stopping: watch::Receiver<bool>) {
    // An error means that the stack was dropped, which is a stop as well.
    let _ = stopping.wait_for(|stop| *stop).await;
}
