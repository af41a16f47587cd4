//! A file that may hold tokens.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use anyhow::{Context, Result};

/// A fresh file that nobody else can read.
pub(super) fn private(path: &Path) -> Result<File> {
    let refused = || format!("{} cannot be written", path.display());
    let mut options = OpenOptions::new();
    let file =
        options.write(true).create(true).truncate(true).mode(0o600).open(path).with_context(refused)?;
    // It may have been there, with another mode.
    file.set_permissions(std::fs::Permissions::from_mode(0o600)).with_context(refused)?;
    Ok(file)
}
