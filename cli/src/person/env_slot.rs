//! A variable of a `.env` file that is to hold a token.
//!
//! Owns the file from before Meta is asked until the token is in it: it is locked, proven to be writable and given room
//! first, and replaced as a whole at the end. Refuses to begin where it could not finish.

use std::collections::HashMap;
use std::fs::{File, Metadata, TryLockError};
use std::io::{self, Seek, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;
use tempfile::NamedTempFile;
use threads_graph::AccessToken;

use crate::shell::env_file;
use crate::shell::exit::{later, usage};
use crate::shell::inputs::Inputs;
use crate::shell::interrupt::Interrupt;
use crate::shell::output::Output;
use crate::shell::surroundings::Surroundings;

/// How long to wait for another process that is about to change the same file: longer than Meta may take to answer it.
const PATIENCE: Duration = Duration::from_secs(75);

/// How much longer a file may become. A token has at most 4096 bytes, each of which may need a backslash.
const ROOM: usize = 16 * 1024;

/// How many symbolic links are followed. The kernel follows 40.
const LINKS: usize = 40;

/// Where the long-lived token goes.
#[derive(Args)]
pub(crate) struct Keep {
    /// The .env file to store the long-lived token in; needs --env-variable
    #[arg(long, short = 'p', visible_alias = "env_path", value_name = "FILE")]
    env_path: Option<PathBuf>,

    /// The variable of that file: changed or added, with every other byte kept
    #[arg(long, short = 'v', visible_alias = "env_variable", value_name = "NAME")]
    env_variable: Option<String>,
}

impl Keep {
    /// The file and the variable, if there are both.
    fn place(&self) -> Result<Option<(&Path, &str)>> {
        match (self.env_path.as_deref(), self.env_variable.as_deref()) {
            (None, None) => Ok(None),
            // ThreadsPipe's words.
            (Some(_), None) => usage("You must also provide the env variable: --env-variable NAME"),
            (None, Some(_)) => usage("You must also provide the path to the .env file: --env-path FILE"),
            (Some(_), Some(name)) if !env_file::is_name(name) => {
                usage("--env-variable must be a name: a letter or _, then letters, digits, _, . or -")
            }
            (Some(path), Some(name)) => Ok(Some((path, name))),
        }
    }

    /// The command's values: the file may define more than the token.
    pub(crate) fn inputs<'a>(&self, surroundings: &'a Surroundings, output: Output) -> Result<Inputs<'a>> {
        Ok(Inputs {
            env_path: self.place()?.map(|(path, _)| path.to_owned()),
            ..Inputs::new(surroundings, output)
        })
    }

    /// Holds the place for a token.
    pub(crate) async fn reserve(&self, output: Output, interrupt: &mut Interrupt) -> Result<Option<Slot>> {
        match self.place()? {
            Some((path, name)) => interrupt.or(Slot::reserve(path, name, output)).await.map(Some),
            None => Ok(None),
        }
    }
}

/// The place for a token in a file, held for this process.
#[derive(Debug)]
pub(crate) struct Slot {
    /// As it was given.
    path: PathBuf,
    variable: String,
    /// Where the links lead to.
    target: PathBuf,
    folder: File,
    content: Option<Vec<u8>>,
    room: NamedTempFile,
}

impl Slot {
    /// Makes sure that a token can be stored, before there is one. Otherwise it changes nothing.
    async fn reserve(path: &Path, variable: &str, output: Output) -> Result<Self> {
        let folder = lock(path, PATIENCE, output).await?;
        let slot = Self::prepare(path, variable, folder)
            .with_context(|| format!("{} cannot be written, so Meta was not asked", path.display()))?;
        if let Some(content) = &slot.content {
            let definitions = env_file::definitions(content, variable);
            if definitions > 1 {
                output.warn(&format!(
                    "{variable} is defined {definitions} times in {}: the last one counts, and is the one that is changed",
                    path.display()
                ));
            }
            let mode = slot.target.metadata().map_or(0, |metadata| metadata.mode());
            if mode & 0o077 != 0 {
                output.warn(&format!(
                    "{0} is open to other users of this machine (mode {1:o}): `chmod 600 {0}` closes it",
                    path.display(),
                    mode & 0o777
                ));
            }
        }
        Ok(slot)
    }

    fn prepare(path: &Path, variable: &str, folder: File) -> Result<Self> {
        let target = follow(path)?;
        let content = env_file::contents(&target)?;
        // With a token that any file can hold; one that is more difficult is judged when it is there.
        env_file::set(content.as_deref().unwrap_or_default(), variable, "THQVJ")?;
        let mut room =
            tempfile::Builder::new().prefix(".env.").suffix(".new").tempfile_in(parent(&target))?;
        dress(&room, env_file::metadata(&target)?.as_ref())?;
        // Zeros in place of what is to come: a full disk shows now, and a power failure leaves no copy of a secret behind.
        room.write_all(&vec![0; content.as_ref().map_or(0, Vec::len) + ROOM])?;
        room.as_file().sync_all()?;
        Ok(Self { path: path.to_owned(), variable: variable.to_owned(), target, folder, content, room })
    }

    /// The token that is there now.
    pub(crate) fn current(&self, variables: &HashMap<String, String>) -> Option<String> {
        env_file::get(self.content.as_deref()?, &self.variable, variables)
    }

    /// The file, as it was given.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The variable.
    pub(crate) fn variable(&self) -> &str {
        &self.variable
    }

    /// The folder that the file is in.
    pub(crate) fn parent(&self) -> &Path {
        parent(&self.target)
    }

    /// Stores the token: the file holds it when this returns, or is as it was before.
    pub(crate) fn store(mut self, token: &AccessToken) -> Result<()> {
        // Read again, because an editor asks for no lock.
        let content = env_file::contents(&self.target)?.unwrap_or_default();
        let changed = env_file::set(&content, &self.variable, token.expose())?;
        dress(&self.room, env_file::metadata(&self.target)?.as_ref())?;
        self.room.rewind()?;
        self.room.write_all(&changed)?;
        self.room.as_file().set_len(changed.len() as u64)?;
        self.room.as_file().sync_all()?;
        self.room.persist(&self.target)?;
        // The file is whole either way; this is about whether a power failure forgets it.
        self.folder.sync_all().ok();
        Ok(())
    }
}

/// Locks the file's folder. A lock on the file itself would go with the file, which is replaced.
async fn lock(path: &Path, patience: Duration, output: Output) -> Result<File> {
    let open = || File::open(parent(&follow(path)?));
    let folder = open().with_context(|| {
        format!("the folder of {} cannot be opened, so Meta was not asked", path.display())
    })?;
    match folder.try_lock() {
        Ok(()) => return Ok(folder),
        Err(TryLockError::WouldBlock) => {}
        Err(TryLockError::Error(error)) => {
            output.warn(&format!(
                "{} could not be locked ({error}): let no second process change it meanwhile",
                path.display()
            ));
            return Ok(folder);
        }
    }
    output.note(&format!("waiting for another process that has {}", path.display()));
    let (locked, wait) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || locked.send(folder.lock().map(|()| folder)));
    match tokio::time::timeout(patience, wait).await {
        Ok(Ok(folder)) => Ok(folder?),
        Ok(Err(_)) | Err(_) => later(format!(
            "another process has had {} for {} s, so Meta was not asked",
            path.display(),
            patience.as_secs()
        )),
    }
}

/// Where a path leads to, whether or not there is a file.
fn follow(path: &Path) -> io::Result<PathBuf> {
    let mut target = path.to_owned();
    for _ in 0..LINKS {
        match std::fs::read_link(&target) {
            Ok(next) => target = parent(&target).join(next),
            // Not a link, or not there yet.
            Err(_) => return Ok(target),
        }
    }
    Err(io::Error::new(io::ErrorKind::InvalidInput, "it is a circle of links"))
}

fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    }
}

/// Gives the new file the owner and the mode of the old one. Without an old one it stays as it was made: the user's, 0600.
fn dress(new: &NamedTempFile, old: Option<&Metadata>) -> Result<()> {
    let Some(old) = old else { return Ok(()) };
    let now = new.as_file().metadata()?;
    if (now.uid(), now.gid()) != (old.uid(), old.gid()) {
        fchown(new.as_file(), Some(old.uid()), Some(old.gid())).context(
            "its owner and group could not be kept; do this as its owner, and as a member of the group",
        )?;
    }
    let mode = std::fs::Permissions::from_mode(old.mode() & 0o7777);
    Ok(new.as_file().set_permissions(mode)?)
}

/// Writes a file of its own, mode 0600, for a token that could not be stored where it belongs. Tries one folder after the
/// other.
pub(crate) fn recover<'a>(
    folders: impl IntoIterator<Item = &'a Path>,
    name: &str,
    token: &AccessToken,
) -> Option<PathBuf> {
    folders.into_iter().find_map(|folder| {
        let mut file = tempfile::Builder::new()
            .prefix("threads-auth-recovered-")
            .suffix(".env")
            .tempfile_in(folder)
            .ok()?;
        file.write_all(&env_file::line(name, token.expose())).ok()?;
        file.as_file().sync_all().ok()?;
        let (_, path) = file.keep().ok()?;
        Some(path)
    })
}
