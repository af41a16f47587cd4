//! Tokens that could not be stored at their place, in separate files, and their recovery by the
//! next run.
//!
//! The file name identifies the place of the token: the file, the variable, and its value at that
//! time. Refuses a file that another user could have written.

use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use jiff::{SignedDuration, Timestamp};
use ring::digest::{SHA256, digest};
use threads_graph::AccessToken;
use zeroize::Zeroizing;

use crate::shell::env_file;

const PREFIX: &str = "threads-auth-recovered-";
const SUFFIX: &str = ".env";

/// The maximum length of such a file, which holds one line with one token.
const LONGEST: u64 = 64 * 1024;

/// The minimum age for a refresh: Meta refuses to refresh a younger token.
const DAY: SignedDuration = SignedDuration::from_hours(24);

/// The place of a token: a variable of a file, with its present value.
pub(crate) struct Place {
    variable: String,
    /// A hash of the file's path and the variable.
    of: String,
    value: Option<String>,
}

impl Place {
    pub(crate) fn new(file: &Path, variable: &str, value: Option<&str>) -> Self {
        // A folder is identified by its canonical path.
        let folder = file.parent().filter(|folder| *folder != Path::new("")).unwrap_or(Path::new("."));
        let folder = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
        let file = folder.join(file.file_name().unwrap_or_default());
        let of = [file.as_os_str().as_encoded_bytes(), b"\0", variable.as_bytes()].concat();
        Self {
            variable: variable.to_owned(),
            of: short(&of),
            value: value.map(|value| short(value.as_bytes())),
        }
    }

    fn prefix(&self) -> String {
        format!("{PREFIX}{}-{}-", self.of, self.value.as_deref().unwrap_or("none"))
    }

    /// Returns true if a file of this name is for this place: the variable still has the same
    /// value, or has none now.
    fn is_of(&self, name: &str) -> bool {
        let ours = format!("{PREFIX}{}-", self.of);
        name.ends_with(SUFFIX)
            && if self.value.is_some() { name.starts_with(&self.prefix()) } else { name.starts_with(&ours) }
    }
}

/// Returns a hash that distinguishes files, and is too short to identify a token.
fn short(bytes: &[u8]) -> String {
    let digest = digest(&SHA256, bytes);
    let beginning = digest.as_ref().first_chunk().copied().unwrap_or_default();
    format!("{:016x}", u64::from_be_bytes(beginning))
}

/// A token that an earlier run has saved.
pub(crate) struct Recovered {
    pub(crate) token: AccessToken,
    pub(crate) file: PathBuf,
    /// True if it is at least a day old, so that Meta would refresh it.
    pub(crate) is_old: bool,
}

impl Recovered {
    /// Finds the newest token that earlier runs have saved for a place, in the file's folder or a
    /// fallback folder.
    pub(crate) fn find(place: &Place, folder: &Path, now: Timestamp) -> Option<Self> {
        let elsewhere = std::env::temp_dir();
        let found = [folder, Path::new("."), &elsewhere].into_iter().flat_map(|folder| {
            let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
            entries.filter(|entry| entry.file_name().to_str().is_some_and(|name| place.is_of(name)))
        });
        let (written, file, token) = found
            .filter_map(|entry| {
                let (written, token) = read(&entry.path(), &place.variable)?;
                Some((written, entry.path(), token))
            })
            .max_by_key(|(written, ..)| *written)?;
        Some(Self { token, file, is_old: now.duration_since(written) >= DAY })
    }
}

/// Returns the token in such a file, and the time of its writing. Returns `None` if others could
/// have written the file, or if it holds anything else.
fn read(path: &Path, variable: &str) -> Option<(Timestamp, AccessToken)> {
    let about = std::fs::symlink_metadata(path).ok()?;
    let is_ours = about.is_file()
        && about.uid() == rustix::process::geteuid().as_raw()
        && about.mode() & 0o777 == 0o600
        && about.len() <= LONGEST;
    let content = Zeroizing::new(is_ours.then(|| std::fs::read(path).ok()).flatten()?);
    let token = env_file::get(&content, variable, &std::collections::HashMap::new())?;
    // Some tokens are written for people, in a form that parses differently.
    (env_file::line(variable, &token) == *content).then_some(())?;
    let written = Timestamp::new(about.mtime(), 0).ok()?;
    Some((written, AccessToken::new(token).ok()?))
}

/// Writes a token that could not be stored at its place to a new file of mode 0600. Tries one
/// folder after the other.
pub(crate) fn recover<'a>(
    folders: impl IntoIterator<Item = &'a Path>,
    place: Option<&Place>,
    name: &str,
    token: &AccessToken,
) -> Option<PathBuf> {
    let prefix = place.map_or_else(|| PREFIX.to_owned(), Place::prefix);
    folders.into_iter().find_map(|folder| {
        let mut file = tempfile::Builder::new().prefix(&prefix).suffix(SUFFIX).tempfile_in(folder).ok()?;
        file.write_all(&env_file::line(name, token.expose())).ok()?;
        file.as_file().sync_all().ok()?;
        let (_, path) = file.keep().ok()?;
        Some(path)
    })
}
