//! A function's process under a Runtime API of ours, over plain HTTP as Lambda's.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path as Parts, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use devstack::Clock;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::NamedTempFile;
use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use crate::process;

/// A guard against functions that never answer, not a measure of anything.
const HANG: Duration = Duration::from_mins(17);
/// Lambda's longest time.
const DEADLINE: Duration = Duration::from_mins(15);
/// The time after which a process sleeps once it has asked for an event.
const SETTLES: Duration = Duration::from_millis(100);

/// One function's process, which waits for an event.
pub(crate) struct Function {
    child: Child,
    id: u32,
    events: mpsc::Sender<Value>,
    /// A message each time that it asks for an event.
    asked: mpsc::Receiver<Instant>,
    outcomes: mpsc::Receiver<(Instant, Result<Value, Value>)>,
    api: JoinHandle<()>,
    /// The file into which valgrind writes.
    counted: Option<NamedTempFile>,
}

/// The response to an event, and the time from the event to it.
pub(crate) struct Done {
    pub(crate) response: Value,
    pub(crate) took: Duration,
}

struct RuntimeApi {
    asked: mpsc::Sender<Instant>,
    events: Mutex<mpsc::Receiver<Value>>,
    outcomes: mpsc::Sender<(Instant, Result<Value, Value>)>,
}

async fn next(State(api): State<Arc<RuntimeApi>>) -> Response {
    // Nobody may wait for it any more.
    let _ = api.asked.send(Instant::now()).await;
    let Some(event) = api.events.lock().await.recv().await else {
        return StatusCode::GONE.into_response();
    };
    let deadline = Clock::system().now() + DEADLINE;
    let headers = [
        ("lambda-runtime-aws-request-id", "8476a536-e9f4-11e8-9739-2dfe598c3fcd".to_owned()),
        ("lambda-runtime-deadline-ms", deadline.as_millisecond().to_string()),
        (
            "lambda-runtime-invoked-function-arn",
            "arn:aws:lambda:eu-central-1:123456789012:function:threads-auth".to_owned(),
        ),
        ("lambda-runtime-trace-id", "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700".to_owned()),
    ];
    (headers, event.to_string()).into_response()
}

async fn ended(
    State(api): State<Arc<RuntimeApi>>,
    Parts((_, kind)): Parts<(String, String)>,
    body: Bytes,
) -> StatusCode {
    let at = Instant::now();
    let body = serde_json::from_slice(&body).unwrap_or_default();
    let outcome = if kind == "response" { Ok(body) } else { Err(body) };
    let _ = api.outcomes.send((at, outcome)).await;
    StatusCode::ACCEPTED
}

/// The program that runs the executable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Under {
    Nothing,
    /// It counts instructions, and takes fifty times as long.
    Callgrind,
}

impl Function {
    /// Starts an executable.
    pub(crate) async fn start(
        executable: &Path,
        variables: &HashMap<String, String>,
        under: Under,
    ) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?.to_string();
        let (events, queue) = mpsc::channel(1);
        let (asks, asked) = mpsc::channel(8);
        let (results, outcomes) = mpsc::channel(8);
        let api = RuntimeApi { asked: asks, events: Mutex::new(queue), outcomes: results };
        let router = Router::new()
            .route("/2018-06-01/runtime/invocation/next", get(next))
            .route("/2018-06-01/runtime/invocation/{id}/{kind}", post(ended))
            .with_state(Arc::new(api));
        let api = tokio::spawn(async move {
            // An error would show as a function that never asks.
            let _ = axum::serve(listener, router).await;
        });
        let counted = match under {
            Under::Nothing => None,
            Under::Callgrind => Some(NamedTempFile::new()?),
        };
        let child = command(executable, counted.as_ref().map(NamedTempFile::path))
            .envs(variables)
            .env("AWS_LAMBDA_RUNTIME_API", address)
            .spawn()
            .with_context(|| format!("{} cannot be started", executable.display()))?;
        let id = child.id().context("the process has ended")?;
        Ok(Self { child, id, events, asked, outcomes, api, counted })
    }

    /// Returns the process's id.
    pub(crate) fn id(&self) -> u32 {
        self.id
    }

    /// Invokes it, and returns when it has answered and asks for another event.
    pub(crate) async fn invoke(&mut self, event: Value) -> Result<Done> {
        let begun = Instant::now();
        self.events.send(event).await?;
        let outcome = tokio::select! {
            outcome = timeout(HANG, self.outcomes.recv()) => outcome?.context("the Runtime API has ended")?,
            status = self.child.wait() => bail!("the function has ended: {}", status?),
        };
        self.asked().await?;
        match outcome {
            (at, Ok(response)) => Ok(Done { response, took: at - begun }),
            (_, Err(error)) => bail!("the function has failed: {error}"),
        }
    }

    /// Waits until it asks for an event and sleeps.
    pub(crate) async fn asked(&mut self) -> Result<()> {
        tokio::select! {
            asked = timeout(HANG, self.asked.recv()) => asked?.context("the Runtime API has ended")?,
            status = self.child.wait() => bail!("the function has ended: {}", status?),
        };
        let begun = Instant::now();
        while !process::is_asleep(self.id) && begun.elapsed() < SETTLES {
            sleep(Duration::from_micros(200)).await;
        }
        Ok(())
    }

    /// Ends it as Lambda does, and returns the number of its instructions, if they were counted.
    pub(crate) async fn end(mut self) -> Result<Option<u64>> {
        let id = Pid::from_raw(self.id.cast_signed()).context("a process has an id")?;
        kill_process(id, Signal::TERM)?;
        timeout(HANG, self.child.wait()).await??;
        self.api.abort();
        self.counted.map(|file| instructions(file.path())).transpose()
    }
}

fn command(executable: &Path, counted: Option<&Path>) -> Command {
    let mut command = match counted {
        None => Command::new(executable),
        Some(file) => {
            let mut command = Command::new("valgrind");
            let mut out = OsString::from("--callgrind-out-file=");
            out.push(file);
            command.arg("--quiet").arg("--tool=callgrind").arg(out).arg(executable);
            command
        }
    };
    command
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("AWS_LAMBDA_FUNCTION_NAME", "threads-auth")
        .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256")
        .env("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST")
        .env("AWS_LAMBDA_LOG_GROUP_NAME", "/aws/lambda/threads-auth")
        .env("AWS_LAMBDA_LOG_STREAM_NAME", "2026/01/01/[$LATEST]0")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::inherit())
        .kill_on_drop(true);
    command
}

/// Returns the total that callgrind has written.
fn instructions(file: &Path) -> Result<u64> {
    let text = fs::read_to_string(file)?;
    let total = text.lines().rev().find_map(|line| line.strip_prefix("totals: "));
    Ok(total.context("callgrind has written no total")?.trim().parse()?)
}

/// Returns the executable of a function: `FOLDER/NAME`, or as `infra/package` leaves it.
pub(crate) fn executable(folder: &Path, function: &str) -> Result<PathBuf> {
    let mut name: String = function.to_owned();
    if let Some(first) = name.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    let all = [folder.join(function), folder.join(format!("{name}Function")).join("bootstrap")];
    let found = all.iter().find(|file| file.is_file());
    Ok(found.with_context(|| format!("{} has no {function}", folder.display()))?.clone())
}
