//! A variable of a `.env` file that will hold a token.
//!
//! Before Meta is called, the file is locked, and its write permission and disk space are checked.
//! It stays locked until the token is in it, and is replaced as a whole at the end. A file that
//! cannot be replaced, such as a mounted one, is written in place. Refuses to begin if it could not
//! finish.

use std::collections::HashMap;
use std::fs::{File, Metadata, TryLockError};
use std::io::{self, Seek, Write};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use clap::{Args, ValueHint};
use rustix::fs::{CWD, FallocateFlags, Mode, OFlags};
use tempfile::NamedTempFile;
use threads_graph::AccessToken;

use crate::person::recovered::{Place, recover};
use crate::shell::env::Env;
use crate::shell::env_file;
use crate::shell::exit::{later, usage};
use crate::shell::inputs::Inputs;
use crate::shell::interrupt::Interrupt;
use crate::shell::output::Output;

/// The time to wait for another process that is about to change the same file: longer than Meta's
/// response to it may take.
const PATIENCE: Duration = Duration::from_secs(75);

/// The space that a token may add to a file, in bytes. A token has at most 4096 bytes, each of
/// which may need a backslash.
const ROOM: usize = 16 * 1024;

/// The maximum number of symbolic links to follow. The kernel follows 40.
const LINKS: usize = 40;

/// The place for the long-lived token.
#[derive(Args)]
pub(crate) struct Keep {
    /// The .env file to store the long-lived token in; needs --env-variable
    #[arg(long, short = 'p', visible_alias = "env_path", value_name = "FILE", value_hint = ValueHint::FilePath)]
    env_path: Option<PathBuf>,

    /// The variable in that file: changed or added, with every other byte kept
    #[arg(long, short = 'v', visible_alias = "env_variable", value_name = "NAME")]
    env_variable: Option<String>,
}

impl Keep {
    /// Returns the file and the variable, if both are given.
    fn place(&self) -> Result<Option<(&Path, &str)>> {
        match (self.env_path.as_deref(), self.env_variable.as_deref()) {
            (None, None) => Ok(None),
            // The wording of ThreadsPipe.
            (Some(_), None) => usage("You must also provide the env variable: --env-variable NAME"),
            (None, Some(_)) => usage("You must also provide the path to the .env file: --env-path FILE"),
            (Some(_), Some(name)) if !env_file::is_name(name) => {
                usage("--env-variable must be a name: a letter or _, then letters, digits, _, . or -")
            }
            (Some(path), Some(name)) => Ok(Some((path, name))),
        }
    }

    /// Returns the inputs of the command: the file may define more than the token.
    pub(crate) fn inputs<'a>(&self, env: &'a Env, output: Output) -> Result<Inputs<'a>> {
        Ok(Inputs { env_path: self.place()?.map(|(path, _)| path.to_owned()), ..Inputs::new(env, output) })
    }

    /// Reserves the place for a token.
    pub(crate) async fn reserve(&self, output: Output, interrupt: &mut Interrupt) -> Result<Option<Slot>> {
        match self.place()? {
            Some((path, name)) => interrupt.or(Slot::reserve(path, name, output)).await.map(Some),
            None => Ok(None),
        }
    }
}

/// The place for a token in a file, reserved for this process.
#[derive(Debug)]
pub(crate) struct Slot {
    /// The path as it was given.
    path: PathBuf,
    variable: String,
    /// The path with symbolic links resolved.
    target: PathBuf,
    /// The lock is held on this folder.
    folder: File,
    content: Option<Vec<u8>>,
    way: Way,
}

/// The way in which the file gets its new content.
#[derive(Debug)]
enum Way {
    /// A new file replaces it, so that it is never half written.
    Replace(NamedTempFile),
    /// The file is written in place and locked itself: a process that has it mounted elsewhere does
    /// not see our folder's lock.
    InPlace(File),
}

impl Slot {
    /// Checks that a token can be stored, before there is one. Changes nothing visible.
    async fn reserve(path: &Path, variable: &str, output: Output) -> Result<Self> {
        let unopened =
            |what: &str| format!("{what}{} cannot be opened, so Meta was not called", path.display());
        let folder = || File::open(parent(&follow(path)?));
        let folder = folder().with_context(|| unopened("the folder of "))?;
        let folder = lock(folder, path, output).await?;
        let fixed = match fixed(path).with_context(|| {
            format!("{} can neither be replaced nor written in place, so Meta was not called", path.display())
        })? {
            Some(file) => Some(lock(file, path, output).await?),
            None => None,
        };
        let slot = Self::prepare(path, variable, folder, fixed)
            .with_context(|| format!("{} cannot be written, so Meta was not called", path.display()))?;
        if matches!(slot.way, Way::InPlace(_)) {
            output.note(&format!(
                "{} cannot be replaced as a whole, so it is written in place",
                path.display()
            ));
        }
        if let Some(content) = &slot.content {
            let definitions = env_file::definitions(content, variable);
            if definitions > 1 {
                output.warn(&format!(
                    "{variable} is defined {definitions} times in {}: only the last one counts, and is changed",
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

    /// Prepares the file. `fixed` is the file itself, if it cannot be replaced.
    fn prepare(path: &Path, variable: &str, folder: File, fixed: Option<File>) -> Result<Self> {
        let target = follow(path)?;
        let content = env_file::contents(&target)?;
        // Tried with a token that any file can hold; a more difficult one is checked when it
        // arrives.
        env_file::set(content.as_deref().unwrap_or_default(), variable, "THQVJ")?;
        let size = content.as_ref().map_or(0, Vec::len) + ROOM;
        let way = if let Some(file) = fixed {
            reserve_room(&file, size)?;
            Way::InPlace(file)
        } else {
            let mut room =
                tempfile::Builder::new().prefix(".env.").suffix(".new").tempfile_in(parent(&target))?;
            dress(&room, env_file::metadata(&target)?.as_ref())?;
            // Filled with zeros, so that a full disk is noticed now, and a power failure leaves no
            // copy of a secret.
            room.write_all(&vec![0; size])?;
            room.as_file().sync_all()?;
            Way::Replace(room)
        };
        Ok(Self { path: path.to_owned(), variable: variable.to_owned(), target, folder, content, way })
    }

    /// Returns the token that is stored now.
    pub(crate) fn current(&self, variables: &HashMap<String, String>) -> Option<String> {
        env_file::get(self.content.as_deref()?, &self.variable, variables)
    }

    /// Returns the path as it was given.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the name of the variable.
    pub(crate) fn variable(&self) -> &str {
        &self.variable
    }

    /// Returns the file's folder.
    pub(crate) fn parent(&self) -> &Path {
        parent(&self.target)
    }

    /// Returns the identification of files for tokens that could not be stored here.
    pub(crate) fn place(&self) -> Place {
        let current = self.current(&HashMap::new());
        Place::new(&self.target, &self.variable, current.as_deref())
    }

    /// Stores the token. Afterwards the file holds it, or is unchanged if this fails.
    pub(crate) fn store(self, token: &AccessToken) -> Result<()> {
        // Read again, because an editor takes no lock.
        let content = env_file::contents(&self.target)?.unwrap_or_default();
        let changed = env_file::set(&content, &self.variable, token.expose())?;
        let place = self.place();
        match self.way {
            Way::Replace(mut room) => {
                dress(&room, env_file::metadata(&self.target)?.as_ref())?;
                room.rewind()?;
                room.write_all(&changed)?;
                room.as_file().set_len(changed.len() as u64)?;
                room.as_file().sync_all()?;
                if let Err(refused) = room.persist(&self.target) {
                    // The replacement can fail unforeseeably, and the old file may still be
                    // writable in place.
                    let file = open_in_place(&self.target).map_err(|_| refused.error)?;
                    write_in_place(&file, &content, &changed)?;
                }
                // The file is whole in any case. This only makes it survive a power failure.
                self.folder.sync_all().ok();
            }
            Way::InPlace(file) => {
                // If the process is killed in the middle, the next run finds the token.
                let kept = recover([parent(&self.target)], Some(&place), &self.variable, token);
                let written = write_in_place(&file, &content, &changed);
                // After a failure, the caller reports it and saves the token.
                if let Some(kept) = kept {
                    std::fs::remove_file(kept).ok();
                }
                written?;
            }
        }
        Ok(())
    }
}

/// Returns the file, if it exists and cannot be replaced, such as one that is mounted. An
/// unchangeable file is an error.
fn fixed(path: &Path) -> io::Result<Option<File>> {
    let target = follow(path)?;
    if env_file::metadata(&target)?.is_some_and(|about| about.is_file()) && is_fixed(&target) {
        open_in_place(&target).map(Some)
    } else {
        Ok(None)
    }
}

#[cfg(target_os = "linux")]
fn is_fixed(target: &Path) -> bool {
    use rustix::fs::{AtFlags, StatxAttributes, StatxFlags};
    let fixed = StatxAttributes::MOUNT_ROOT | StatxAttributes::IMMUTABLE | StatxAttributes::APPEND;
    rustix::fs::statx(CWD, target, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::BASIC_STATS)
        .is_ok_and(|about| about.stx_attributes.intersects(fixed))
}

#[cfg(not(target_os = "linux"))]
fn is_fixed(_: &Path) -> bool {
    false
}

/// Links are not followed, because they were resolved before.
fn open_in_place(target: &Path) -> io::Result<File> {
    let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(CWD, target, flags, Mode::empty())?.into())
}

/// Allocates the space, so that a full disk is noticed now. Readers see no difference.
fn reserve_room(file: &File, size: usize) -> io::Result<()> {
    match rustix::fs::fallocate(file, FallocateFlags::KEEP_SIZE, 0, size as u64) {
        Err(rustix::io::Errno::NOSPC | rustix::io::Errno::DQUOT) => {
            Err(io::Error::new(io::ErrorKind::StorageFull, "the disk is full"))
        }
        // Not every file system supports it.
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Writes the differing bytes at once. If it fails, restores the old content as far as possible.
fn write_in_place(file: &File, old: &[u8], new: &[u8]) -> io::Result<()> {
    let same = old.iter().zip(new).take_while(|(old, new)| old == new).count();
    let write = |content: &[u8]| {
        file.write_all_at(&content[same..], same as u64)?;
        file.set_len(content.len() as u64)?;
        file.sync_all()
    };
    write(new).inspect_err(|_| {
        write(old).ok();
    })
}

/// Locks the file's folder, or the file. A lock on a file that is replaced would be lost with it.
async fn lock(file: File, path: &Path, output: Output) -> Result<File> {
    match file.try_lock() {
        Ok(()) => return Ok(file),
        Err(TryLockError::WouldBlock) => {}
        Err(TryLockError::Error(error)) => {
            output.warn(&format!(
                "{} could not be locked ({error}): make sure that no other process changes it meanwhile",
                path.display()
            ));
            return Ok(file);
        }
    }
    output.note(&format!("waiting for another process that has {}", path.display()));
    let (locked, wait) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || locked.send(file.lock().map(|()| file)));
    match tokio::time::timeout(PATIENCE, wait).await {
        Ok(Ok(file)) => Ok(file?),
        Ok(Err(_)) | Err(_) => later(format!(
            "another process has had {} for {} s, so Meta was not called",
            path.display(),
            PATIENCE.as_secs()
        )),
    }
}

/// Resolves the symbolic links of a path, even if there is no file.
fn follow(path: &Path) -> io::Result<PathBuf> {
    let mut target = path.to_owned();
    for _ in 0..LINKS {
        match std::fs::read_link(&target) {
            Ok(next) => target = parent(&target).join(next),
            // Not a link, or missing.
            Err(_) => return Ok(target),
        }
    }
    Err(io::Error::new(io::ErrorKind::InvalidInput, "the symbolic links form a circle"))
}

fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    }
}

/// Gives the new file the owner and the mode of the old one. Without an old one it keeps the user
/// and mode 0600.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_written_in_place_stays_the_same_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(".env");
        for (old, new) in [
            ("A=1\nT=old\nZ=9\n", "A=1\nT=a-longer-one\nZ=9\n"),
            ("A=1\nT=a-longer-one\nZ=9\n", "A=1\nT=old\nZ=9\n"),
            ("T=old", "T=old"),
            ("", "T='new'\n"),
        ] {
            std::fs::write(&path, old).unwrap();
            let file = open_in_place(&path).unwrap();
            reserve_room(&file, ROOM).unwrap();
            let inode = path.metadata().unwrap().ino();
            write_in_place(&file, old.as_bytes(), new.as_bytes()).unwrap();
            assert_eq!(std::fs::read_to_string(&path).unwrap(), new);
            assert_eq!(path.metadata().unwrap().ino(), inode);
        }
        // The reserved space is invisible to readers.
        std::fs::write(&path, "T=old").unwrap();
        let slot = Slot::prepare(
            &path,
            "T",
            File::open(folder.path()).unwrap(),
            Some(open_in_place(&path).unwrap()),
        );
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "T=old");
        slot.unwrap().store(&AccessToken::new("THQVJnew").unwrap()).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "T=THQVJnew");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing else is left");
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert!(open_in_place(&link).is_err());
    }
}
