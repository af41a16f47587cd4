//! The data folder: one stack uses it at a time, and only its owner can read it.

use std::fs::{DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tempfile::TempPath;
use threads_auth_model::seal::random_text;

use crate::options::StackError;

/// The file with the secret of the key.
const KEY_FILE: &str = "secret-access-key";

/// The extension of a file that is not completely written.
const UNFINISHED: &str = "new";

/// The files that this stack writes. It changes the mode of no other file in the folder.
const FILES: [&str; 10] = [
    "lock",
    KEY_FILE,
    "clock.json",
    "dynamodb.sqlite",
    "dynamodb.sqlite-shm",
    "dynamodb.sqlite-wal",
    "sandbox.json",
    "sandbox.json.unfinished",
    "secrets.json",
    "stream.json",
];

/// Options for a file that only its owner can read.
pub(crate) fn private_options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.mode(0o600);
    options
}

/// Restricts the folder to its owner, and locks out every other stack while the file is held.
pub(crate) fn lock(folder: &Path) -> Result<File, StackError> {
    let unusable = |source| StackError::DataDir { path: folder.to_owned(), source };
    if let Some(parent) = folder.parent() {
        std::fs::create_dir_all(parent).map_err(unusable)?;
    }
    match DirBuilder::new().mode(0o700).create(folder) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(unusable(error)),
        _ => {}
    }
    tighten(folder).map_err(unusable)?;
    let lock = private_options().write(true).create(true).truncate(false).open(folder.join("lock"));
    let lock = lock.map_err(unusable)?;
    match lock.try_lock() {
        Ok(()) => {
            keep_out_of_git(folder).map_err(unusable)?;
            Ok(lock)
        }
        Err(TryLockError::WouldBlock) => Err(StackError::InUse { path: folder.to_owned() }),
        Err(TryLockError::Error(source)) => Err(unusable(source)),
    }
}

/// Restricts a folder that others could read, and the files that an earlier version has left in it.
fn tighten(folder: &Path) -> std::io::Result<()> {
    let mode = std::fs::metadata(folder)?.permissions().mode();
    if mode & 0o1000 != 0 {
        return Err(std::io::Error::other("it is a folder that users share, such as /tmp"));
    }
    if mode & 0o077 != 0 {
        std::fs::set_permissions(folder, Permissions::from_mode(0o700))?;
    }
    for name in FILES {
        let file = folder.join(name);
        // Links are not followed, because their targets belong to somebody else.
        let is_open =
            std::fs::symlink_metadata(&file).is_ok_and(|about| about.is_file() && about.mode() & 0o077 != 0);
        if is_open {
            std::fs::set_permissions(&file, Permissions::from_mode(0o600))?;
        }
    }
    Ok(())
}

/// Makes git ignore the folder, which holds secrets, unless there is a .gitignore already or other
/// files that may be versioned.
fn keep_out_of_git(folder: &Path) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let name = entry?.file_name();
        let is_unfinished = Path::new(&name).extension().is_some_and(|extension| extension == UNFINISHED);
        let is_ours = is_unfinished || name.to_str().is_some_and(|name| FILES.contains(&name));
        if !is_ours {
            return Ok(());
        }
    }
    private_options().write(true).create_new(true).open(folder.join(".gitignore"))?.write_all(b"*\n")
}

/// Writes a file that only its owner can read, completely or not at all.
pub(crate) fn write_private(file: &Path, text: &[u8]) -> Result<()> {
    let temporary = file.with_extension(UNFINISHED);
    // The file of a killed process may be a link, or have another mode.
    match std::fs::remove_file(&temporary) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    let mut written = private_options().write(true).create_new(true).open(&temporary)?;
    written.write_all(text)?;
    written.sync_all()?;
    Ok(std::fs::rename(&temporary, file)?)
}

/// Returns the secret of this folder's access key, and the file that holds it. Without a folder
/// both are new, and the file is deleted when the last holder drops it.
pub(crate) fn secret(folder: Option<&Path>) -> Result<(String, PathBuf, Option<TempPath>), StackError> {
    let fresh = || random_text::<30>().map_err(|error| StackError::Other(error.into()));
    let Some(folder) = folder else {
        let secret = fresh()?;
        let write = || -> std::io::Result<TempPath> {
            let mut file = tempfile::Builder::new().prefix("threads-auth-key-").tempfile()?;
            writeln!(file, "{secret}")?;
            Ok(file.into_temp_path())
        };
        let file = write().map_err(|error| StackError::Other(error.into()))?;
        return Ok((secret, file.to_path_buf(), Some(file)));
    };
    let file = std::path::absolute(folder.join(KEY_FILE)).map_err(|error| StackError::Other(error.into()))?;
    let read = || -> Result<Option<String>> {
        match std::fs::read_to_string(&file) {
            Ok(text) => {
                let text = text.trim();
                let is_whole = text.len() >= 40 && text.bytes().all(|byte| byte.is_ascii_graphic());
                if is_whole { Ok(Some(text.to_owned())) } else { bail!("it holds no secret") }
            }
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.into()),
        }
    };
    let kept = read().map_err(|error| StackError::damaged(Some(file.clone()), error))?;
    let secret = if let Some(secret) = kept {
        secret
    } else {
        let secret = fresh()?;
        write_private(&file, format!("{secret}\n").as_bytes())?;
        secret
    };
    Ok((secret, file, None))
}

/// A value that outlives the stack in a file of the data folder, under a name.
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

    /// Returns the value, if there is one.
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
