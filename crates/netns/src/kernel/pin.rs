//! Names of namespaces in the file system: an empty file with the namespace mounted on it.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg, OFlag, open};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::stat::Mode;

use super::{identity, procfs};
use crate::Error;

/// Where `ip netns` and others keep their pins, as it is without symbolic links.
const SHARED_FOLDER: &str = "/run/netns";

/// How often its lock is tried: for five seconds in all. `ip netns` holds it for a mount, but whoever may read the folder
/// may hold it for ever.
const TRIES: u32 = 500;
const BETWEEN_TRIES: Duration = Duration::from_millis(10);

/// Mounts a namespace on a file made for it; on a refusal nothing is left.
pub(super) fn pin(netns: BorrowedFd<'_>, path: &Path) -> Result<(), Error> {
    let refused = |source: io::Error| Error::Pin { path: path.into(), source };
    let folder = path.parent().ok_or_else(|| Error::Exists { path: path.into() })?;

    let mut draft = Draft::default();
    draft.make_folders(folder).map_err(refused)?;
    draft.share(folder).map_err(|source| match source.kind() {
        io::ErrorKind::WouldBlock => Error::FolderLocked { path: folder.into() },
        _ => refused(source),
    })?;
    // Only then, since whoever unpins takes an empty file for what is left of a pin.
    draft.make_file(path).map_err(|source| match source.kind() {
        io::ErrorKind::AlreadyExists => Error::Exists { path: path.into() },
        _ => refused(source),
    })?;
    bind(&procfs::path_of(netns), path, MsFlags::MS_BIND).map_err(refused)?;
    draft.keep();
    Ok(())
}

/// Whose pin it is that goes.
#[derive(Clone, Copy, Debug)]
pub(super) enum Whose<'a> {
    Anyones,
    /// That of this namespace alone.
    Of(BorrowedFd<'a>),
}

impl Whose<'_> {
    fn includes(self, pinned: BorrowedFd<'_>) -> io::Result<bool> {
        match self {
            Self::Anyones => Ok(true),
            Self::Of(netns) => identity::are_one(netns, pinned),
        }
    }
}

/// Unmounts and removes a pin, or the empty file that is left of one.
pub(super) fn unpin(path: &Path, whose: Whose<'_>) -> Result<(), Error> {
    let refused = |source: io::Error| Error::Unpin { path: path.into(), source };
    // Another program's recursive bind mount of the folder may have doubled the pin.
    while let Some(there) = pinned(path).map_err(refused)? {
        if !whose.includes(there.as_fd()).map_err(refused)? {
            return Ok(());
        }
        let unmounted = umount2(path, MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW);
        // Of two that unpin at once, the second may find nothing left to unmount.
        if let Err(errno) = unmounted
            && pinned(path).map_err(refused)?.is_some()
        {
            return Err(refused(errno.into()));
        }
    }
    match path.symlink_metadata() {
        Ok(file) if file.is_file() && file.len() == 0 => {}
        Ok(_) => return Err(Error::NotAPin { path: path.into() }),
        Err(error) if procfs::is_absence(&error) => return Ok(()),
        Err(error) => return Err(refused(error)),
    }
    // Copies of the mount in other mount namespaces go with the file (detach_mounts, Linux 3.18).
    match std::fs::remove_file(path) {
        Err(error) if !procfs::is_absence(&error) => Err(refused(error)),
        _ => Ok(()),
    }
}

/// The namespace that is mounted there, if any.
fn pinned(path: &Path) -> io::Result<Option<OwnedFd>> {
    match open(path, OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC, Mode::empty()) {
        Ok(fd) => Ok(identity::is_namespace(fd.as_fd())?.then_some(fd)),
        Err(Errno::ENOENT | Errno::ENOTDIR) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}

fn bind(source: &Path, target: &Path, flags: MsFlags) -> io::Result<()> {
    mount(Some(source), target, None::<&str>, flags, None::<&str>).map_err(io::Error::from)
}

/// What was made for a pin so far. Dropped before it is kept, it takes all of that back.
#[derive(Debug, Default)]
struct Draft {
    folders: Vec<PathBuf>,
    file: Option<PathBuf>,
    mount: Option<PathBuf>,
    /// Held until the pin stands or all is taken back.
    lock: Option<Flock<File>>,
}

impl Draft {
    fn make_folders(&mut self, folder: &Path) -> io::Result<()> {
        let missing: Vec<_> = folder.ancestors().take_while(|folder| !folder.exists()).collect();
        for folder in missing.into_iter().rev() {
            match DirBuilder::new().mode(0o755).create(folder) {
                Ok(()) => self.folders.push(folder.into()),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn make_file(&mut self, path: &Path) -> io::Result<()> {
        OpenOptions::new().write(true).create_new(true).mode(0o000).open(path)?;
        self.file = Some(path.into());
        Ok(())
    }

    /// Makes the folder that `ip netns` uses the shared mount that `ip netns` makes of it.
    ///
    /// Left to that program, its recursive bind mount would double every pin that is there, and a doubled
    /// pin cannot be removed.
    fn share(&mut self, folder: &Path) -> io::Result<()> {
        if folder.canonicalize()? != Path::new(SHARED_FOLDER) {
            return Ok(());
        }
        // `ip netns` takes the same lock, so that two do not mount the folder on itself twice.
        self.lock = Some(lock(File::open(folder)?)?);
        if !make_shared(folder)? {
            bind(folder, folder, MsFlags::MS_BIND | MsFlags::MS_REC)?;
            self.mount = Some(folder.into());
            make_shared(folder)?;
        }
        Ok(())
    }

    fn keep(mut self) {
        (self.folders, self.file, self.mount) = Default::default();
    }
}

/// Takes the lock, or says that it would block for longer than anyone needs it.
fn lock(mut folder: File) -> io::Result<Flock<File>> {
    for _ in 0..TRIES {
        match Flock::lock(folder, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => return Ok(lock),
            Err((again, Errno::EWOULDBLOCK | Errno::EINTR)) => folder = again,
            Err((_, errno)) => return Err(errno.into()),
        }
        sleep(BETWEEN_TRIES);
    }
    Err(io::ErrorKind::WouldBlock.into())
}

/// Tells `false` where the folder is no mount of its own.
fn make_shared(folder: &Path) -> io::Result<bool> {
    match bind(Path::new(""), folder, MsFlags::MS_SHARED | MsFlags::MS_REC) {
        Ok(()) => Ok(true),
        Err(error) if error.raw_os_error() == Some(Errno::EINVAL as i32) => Ok(false),
        Err(error) => Err(error),
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // A folder that someone else has begun to use meanwhile stays: it is not empty.
        if let Some(folder) = &self.mount {
            let _ = umount2(folder, MntFlags::MNT_DETACH);
        }
        if let Some(file) = &self.file {
            let _ = std::fs::remove_file(file);
        }
        for folder in self.folders.iter().rev() {
            let _ = std::fs::remove_dir(folder);
        }
    }
}
