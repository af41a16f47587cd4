//! The state file: the world as JSON, replaced as a whole, readable by its owner only.
//!
//! It never holds a token, a code or the app's secret: the world has only their hashes. An
//! unreadable file is an error at the start, and is not overwritten.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::options::SandboxError;
use crate::world::World;

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
enum Version {
    #[serde(rename = "1")]
    One,
}

#[derive(Serialize)]
struct Saving<'a> {
    version: Version,
    clock_offset: Duration,
    world: &'a World,
}

/// A state file's contents.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Saved {
    /// Read for its refusal of other versions.
    #[serde(rename = "version")]
    _version: Version,
    /// The distance by which the clock was advanced. Without it tokens would be younger after a
    /// restart.
    pub(crate) clock_offset: Duration,
    pub(crate) world: World,
}

/// Reads the file; `None` when there is none yet.
pub(crate) fn load(path: &Path) -> Result<Option<Saved>, SandboxError> {
    let text = match fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => {
            return Err(SandboxError::ReadState { path: path.to_owned(), source });
        }
    };
    serde_json::from_slice(&text).map(Some).map_err(|error| SandboxError::ParseState {
        path: path.to_owned(),
        line: error.line(),
        column: error.column(),
    })
}

/// Replaces the file. A process that dies in the middle leaves the old one; a power cut may lose
/// the latest changes, which is acceptable in development, and saves an `fsync` in each call.
pub(crate) fn save(path: &Path, clock_offset: Duration, world: &World) -> io::Result<()> {
    let text = serde_json::to_vec(&Saving { version: Version::One, clock_offset, world })?;
    let unfinished = beside(path);
    // A left-over from a killed process may have another mode, which opening it would keep.
    match fs::remove_file(&unfinished) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(&unfinished)?.write_all(&text)?;
    fs::rename(&unfinished, path)
}

/// A name in the same directory, since a rename is atomic only within one file system.
fn beside(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".unfinished");
    path.with_file_name(name)
}
