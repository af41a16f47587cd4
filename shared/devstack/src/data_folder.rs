//! The data folder: one stack uses it at a time, and only its owner can read what is written.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use crate::error::StackError;

/// Makes the folder, and keeps every other stack out of it while the file is held.
pub(crate) fn lock(folder: &Path) -> Result<File, StackError> {
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

/// Writes a file that only its owner can read, all of it or nothing.
pub(crate) fn write_private(file: &Path, text: &[u8]) -> anyhow::Result<()> {
    let temporary = file.with_extension("new");
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    let mut written = options.open(&temporary)?;
    written.write_all(text)?;
    written.sync_all()?;
    Ok(std::fs::rename(&temporary, file)?)
}
