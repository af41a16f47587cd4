//! Logs: JSON lines on standard output, where Lambda picks them up.
//!
//! Owns what may be logged at all. Our own crates may say anything at the level that `LOG_LEVEL`
//! asks for, because they never hold a secret outside a redacting type; everybody else only
//! warnings, because an HTTP client that traces prints what it sends.

use tracing::Level;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// The variable that says how much our own crates log.
pub const LOG_LEVEL: &str = "LOG_LEVEL";

/// The crates whose logs follow `LOG_LEVEL`, by how their names begin: `threads_auth` is
/// `threads_auth_web` too.
const OURS: &[&str] = &[
    "authorize",
    "callback",
    "deauthorize",
    "deletion",
    "devstack",
    "events",
    "refresh",
    "sessions",
    "threads_auth",
    "threads_graph",
    "threads_sandbox",
    "token",
];

/// Which messages pass at `level`.
#[must_use]
pub fn filter(level: Level) -> Targets {
    Targets::new()
        .with_default(LevelFilter::WARN)
        .with_targets(OURS.iter().map(|target| (*target, LevelFilter::from_level(level))))
}

/// Sends the process's logs to standard output, one JSON object a line. `level` is `LOG_LEVEL`;
/// what is no level counts as `info`.
pub fn init(level: Option<&str>) {
    let level = level.and_then(|text| text.parse().ok()).unwrap_or(Level::INFO);
    let lines = tracing_subscriber::fmt::layer().json().flatten_event(true).with_current_span(false);
    // A second subscriber in one process is a test's doing, and the first one stays.
    let _ = tracing_subscriber::registry().with(lines).with(filter(level)).try_init();
}
