//! The common parts of a server: it logs, prints its addresses, and ends.

use std::io::Write;
use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::net::TcpListener;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::shell::output::Printed;

/// The time for running requests to end. A client that never ends its request must not keep the
/// server alive.
const GRACE: Duration = Duration::from_secs(5);

pub(crate) fn log_to_stderr(level: tracing::Level) {
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).compact();
    let ours = threads_auth_web::telemetry::filter(level);
    tracing_subscriber::registry().with(lines).with(ours).init();
}

/// Listens on loopback.
pub(crate) async fn listen(port: u16) -> Result<TcpListener> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.with_context(|| {
        format!("port {port} cannot be used; choose another with --port, or --port 0 for a free one")
    })
}

/// Prints the server's addresses, once it is ready.
pub(crate) fn announce(text: &str) -> Result<()> {
    let mut out = Printed(anstream::stdout());
    writeln!(out, "{text}").and_then(|()| out.flush()).context("standard output is closed")
}

/// Waits for running requests, but not for ever.
pub(crate) async fn wind_down<T>(ending: impl Future<Output = T>) -> Option<T> {
    tracing::info!("stopping");
    let ended = tokio::time::timeout(GRACE, ending).await.ok();
    if ended.is_none() {
        tracing::warn!("requests that did not end were cut off");
    }
    ended
}
