//! A file that may hold tokens: new, readable by its owner alone, and never behind a link.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::{Context, Result};

use crate::shell::exit::{Stopped, usage};

/// Creates a file that only its owner can read. Fails if the path exists, even as a dangling link.
pub(super) fn private(path: &Path) -> Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o600).open(path).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => {
            Stopped::Usage(format!("{} exists: choose another name", path.display())).into()
        }
        _ => anyhow::Error::new(error).context(format!("{} cannot be written", path.display())),
    })
}

/// Refuses a path at which there is anything but a regular file of an earlier run.
pub(super) fn check_replaceable(path: &Path) -> Result<()> {
    match std::fs::symlink_metadata(path) {
        Ok(about) if !about.is_file() => usage(format!(
            "{} is not a regular file: what is written there holds tokens, so name a file of its own",
            path.display()
        )),
        // Other problems show when the file is written.
        Ok(_) | Err(_) => Ok(()),
    }
}

/// Creates such a file in the place of the one that an earlier run has left.
pub(super) fn private_again(path: &Path) -> Result<File> {
    check_replaceable(path)?;
    let replaced = || -> Result<File> {
        let folder = path.parent().filter(|folder| *folder != Path::new("")).unwrap_or(Path::new("."));
        let new = tempfile::Builder::new().prefix(".threads-auth-").tempfile_in(folder)?;
        Ok(new.persist(path)?)
    };
    replaced().with_context(|| format!("{} cannot be written", path.display()))
}
