//! The clock's file: how far the clock was advanced outlives the stack.

use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use serde_json::json;
use threads_sandbox::Clock;

use crate::data_folder::write_private;
use crate::error::StackError;

pub(crate) fn read_offset(file: Option<&Path>) -> Result<Duration, StackError> {
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
        .map_err(|e| StackError::damaged(Some(file.to_owned()), e))
}

/// Keeps how far `clock` was advanced.
pub(crate) fn save(clock: &Clock, file: &Path) -> anyhow::Result<()> {
    let text = json!({"advanced_seconds": clock.offset().as_secs()}).to_string();
    write_private(file, text.as_bytes()).context("the clock could not be saved")
}
