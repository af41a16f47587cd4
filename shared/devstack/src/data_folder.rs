//! The data folder: one stack uses it at a time, and only its owner can read what is written.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::options::StackError;

/// Makes the folder, and keeps every other stack out of it while the file is held.
pub(crate) fn lock(folder: &Path) -> Result<File, StackError> {
    let unusable = |source| StackError::DataDir { path: folder.to_owned(), source };
    std::fs::create_dir_all(folder).map_err(unusable)?;
    let lock = File::create(folder.join("lock")).map_err(unusable)?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(StackError::InUse { path: folder.to_owned() }),
        Err(TryLockError::Error(source)) => Err(unusable(source)),
    }
}

/// Writes a file that only its owner can read, all of it or nothing.
pub(crate) fn write_private(file: &Path, text: &[u8]) -> Result<()> {
    let temporary = file.with_extension("new");
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    let mut written = options.open(&temporary)?;
    written.write_all(text)?;
    written.sync_all()?;
    Ok(std::fs::rename(&temporary, file)?)
}

/// One value that outlives the stack: a file of the data folder has it under a name.
#[derive(Clone)]
pub(crate) struct KeptValue {
    file: Option<PathBuf>,
    name: &'static str,
}

impl KeptValue {
    /// Without a file, nothing is kept.
    pub(crate) fn new(file: Option<PathBuf>, name: &'static str) -> Self {
        Self { file, name }
    }

    /// The value, if there is one.
    pub(crate) fn read<T: DeserializeOwned>(&self) -> Result<Option<T>, StackError> {
        let Some(file) = self.file.as_ref().filter(|file| file.exists()) else {
            return Ok(None);
        };
        let read = || -> Result<T> {
            let mut object: Value = serde_json::from_slice(&std::fs::read(file)?)?;
            let value = object.get_mut(self.name).map(Value::take);
            value
                .and_then(|value| serde_json::from_value(value).ok())
                .with_context(|| format!("{} is missing", self.name))
        };
        read().map(Some).map_err(|e| StackError::damaged(self.file.clone(), e))
    }

    pub(crate) fn write(&self, value: impl Serialize) -> Result<()> {
        match &self.file {
            Some(file) => write_private(file, json!({self.name: value}).to_string().as_bytes()),
            None => Ok(()),
        }
    }
}
