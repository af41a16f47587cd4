//! Logs: JSON lines on standard output, which Lambda collects.
//! Owns the filter of logs. Our own crates log at the level of `LOG_LEVEL`, because they hold
//! secrets in redacting types only. All others log warnings only, because a tracing HTTP client
//! prints its requests.

use tracing::Level;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// The environment variable with the log level of our own crates.
pub const LOG_LEVEL: &str = "LOG_LEVEL";

/// Prefixes of the names of crates whose logs follow `LOG_LEVEL`: `threads_auth` includes
/// `threads_auth_web`.
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

/// Returns the filter for `level`.
#[must_use]
pub fn filter(level: Level) -> Targets {
    Targets::new()
        .with_default(LevelFilter::WARN)
        .with_targets(OURS.iter().map(|target| (*target, LevelFilter::from_level(level))))
}

/// Sends the process's logs to standard output, one JSON object per line. `level` is the value of
/// `LOG_LEVEL`; an invalid one counts as `info`.
pub fn init(level: Option<&str>) {
    let level = level.and_then(|text| text.parse().ok()).unwrap_or(Level::INFO);
    let lines = tracing_subscriber::fmt::layer().json().flatten_event(true).with_span_list(false);
    // Only tests initialize twice in one process: the first subscriber stays.
    let _ = tracing_subscriber::registry().with(lines).with(filter(level)).try_init();
}
