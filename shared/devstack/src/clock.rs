//! The clock's file: how far the clock was advanced outlives the stack.

use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use serde_json::json;
use threads_sandbox::Clock;

use crate::data_folder::write_private;
use crate::error::StackError;

/// The real time's clock, advanced as far as `file` says.
pub(crate) fn open(file: Option<&Path>) -> Result<Clock, StackError> {
    let read = |file| -> anyhow::Result<u64> {
        let value: serde_json::Value = serde_json::from_slice(&std::fs::read(file)?)?;
        value["advanced_seconds"]
            .as_u64()
            .context("advanced_seconds is missing")
    };
    let advanced = match file.filter(|file| file.exists()) {
        Some(file) => read(file).map_err(|e| StackError::damaged(Some(file.to_owned()), e))?,
        None => 0,
    };
    Ok(Clock::system_with_offset(Duration::from_secs(advanced)))
}

/// Keeps how far `clock` was advanced.
pub(crate) fn save(clock: &Clock, file: &Path) -> anyhow::Result<()> {
    let text = json!({"advanced_seconds": clock.offset().as_secs()}).to_string();
    write_private(file, text.as_bytes()).context("the clock could not be saved")
}
