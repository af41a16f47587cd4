//! Tokens that could not be stored where they belong, in files of their own, and the next run that
//! takes them up.
//!
//! Owns the names of such files, by which a run knows its own: which variable of which file the
//! token is for, and the value that it had then. Refuses a file that somebody else could have put
//! there.

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

/// No such file is longer: it holds one line with one token.
const LONGEST: u64 = 64 * 1024;

/// A token that is younger has nothing to gain from a refresh, and Meta refuses it.
const DAY: SignedDuration = SignedDuration::from_hours(24);

/// Where a token belongs: the variable of a file, while it has its value.
pub(crate) struct Place {
    variable: String,
    /// Of the file and the variable.
    of: String,
    value: Option<String>,
}

impl Place {
    pub(crate) fn new(file: &Path, variable: &str, value: Option<&str>) -> Self {
        // A folder has one name, whatever way leads to it.
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

    /// Whether a file of this name is for this place: the variable has the value that it had then,
    /// or none by now.
    fn is_of(&self, name: &str) -> bool {
        let ours = format!("{PREFIX}{}-", self.of);
        name.ends_with(SUFFIX)
            && if self.value.is_some() { name.starts_with(&self.prefix()) } else { name.starts_with(&ours) }
    }
}

/// Enough to tell files apart, and too little to find a token by.
fn short(bytes: &[u8]) -> String {
    let digest = digest(&SHA256, bytes);
    let beginning = digest.as_ref().first_chunk().copied().unwrap_or_default();
    format!("{:016x}", u64::from_be_bytes(beginning))
}

/// A token that an earlier run has left.
pub(crate) struct Recovered {
    pub(crate) token: AccessToken,
    pub(crate) file: PathBuf,
    /// Whether it is a day old, so that Meta would refresh it.
    pub(crate) is_old: bool,
}

impl Recovered {
    /// The newest of those that earlier runs have left for a place: in the file's folder, or where
    /// they could.
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

/// The token in such a file, and when it was written. None in one that others could have written,
/// or that holds anything else.
fn read(path: &Path, variable: &str) -> Option<(Timestamp, AccessToken)> {
    let about = std::fs::symlink_metadata(path).ok()?;
    let is_ours = about.is_file()
        && about.uid() == rustix::process::geteuid().as_raw()
        && about.mode() & 0o777 == 0o600
        && about.len() <= LONGEST;
    let content = Zeroizing::new(is_ours.then(|| std::fs::read(path).ok()).flatten()?);
    let token = env_file::get(&content, variable, &std::collections::HashMap::new())?;
    // Some tokens are told to people in a form that would be read otherwise.
    (env_file::line(variable, &token) == *content).then_some(())?;
    let written = Timestamp::new(about.mtime(), 0).ok()?;
    Some((written, AccessToken::new(token).ok()?))
}

/// Writes a file of its own, mode 0600, for a token that could not be stored where it belongs.
/// Tries one folder after the other.
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
