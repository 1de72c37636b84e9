//! Folders that are held open, and the documents in them.

use std::fs::{File, Metadata};
use std::io::{self, Read as _};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag, openat};
use nix::sys::stat::{FileStat, Mode, fstatat, mkdirat};
use nix::unistd::{UnlinkatFlags, geteuid, unlinkat};

use super::draft::{Draft, Existing};
use super::lock::Idles;
use crate::document::{self, Document, MAX_DOCUMENT};
use crate::unknown::Unknown;
use crate::{Action, Error, FileName};

/// A record of an attachment with a few ports, in its two phases.
const USUAL_DOCUMENT: usize = 4096;

/// A folder that is held open, so that it stays the same one whatever becomes of its path.
///
/// It belongs to the caller's user and nobody else may write to it; files in it are made with mode 0600, and no
/// symbolic link in it is followed. Cloning is cheap and shares the descriptor.
///
/// ```
/// use linkspan_records::{Folder, FileName};
///
/// # let path = std::env::temp_dir().join(format!("linkspan-records-folder-{}", std::process::id()));
/// let run = Folder::open(&path)?;
/// let networks = run.folder(&"networks".parse()?)?;
/// assert_eq!(run.folders()?, ["networks".parse::<FileName>()?]);
/// assert!(networks.is_empty()?);
/// assert!(run.remove_folder_if_empty(&"networks".parse()?)?);
/// # std::fs::remove_dir_all(&path).expect("the example made it");
/// # Ok::<(), linkspan_records::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Folder {
    opened: Arc<Opened>,
}

#[derive(Debug)]
struct Opened {
    fd: OwnedFd,
    path: PathBuf,
    idle: Idles,
}

/// Says what a write is to survive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// The end of any process, as on a tmpfs: nothing is synced.
    Memory,
    /// Also a power failure: the file and its folder are synced.
    Disk,
}

impl Folder {
    /// Opens the folder at this path and makes it, and its parents, where it is missing. What is made outlasts a power
    /// failure once this returns.
    ///
    /// The folder itself is made with mode 0700, parents as the umask has it. Only the last part of the path is
    /// guarded against links: name a path whose parents nobody else can change.
    ///
    /// # Errors
    ///
    /// [`Error::NotAFolder`] for a file or symbolic link, [`Error::Foreign`] for another user's folder,
    /// [`Error::Exposed`] for one that others may write to, [`Error::Io`] where the system refuses.
    pub fn open(path: &Path) -> Result<Self, Error> {
        if let Some(parent) = path.parent() {
            make_parents(parent)?;
        }
        Self::make(AT_FDCWD, path, path)
    }

    /// Opens the folder at this path if it is there, and makes nothing.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub fn find(path: &Path) -> Result<Option<Self>, Error> {
        Self::enter(AT_FDCWD, path, path)
    }

    /// Opens a subfolder and makes it, with mode 0700, where it is missing; one that is made outlasts a power failure
    /// once this returns.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub fn folder(&self, name: &FileName) -> Result<Self, Error> {
        Self::make(self.fd(), Path::new(name.as_str()), &self.path_of(name.as_str()))
    }

    /// Opens a subfolder if it is there, and makes nothing.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub fn find_folder(&self, name: &FileName) -> Result<Option<Self>, Error> {
        Self::enter(self.fd(), Path::new(name.as_str()), &self.path_of(name.as_str()))
    }

    /// Returns the path that the folder was opened by.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.opened.path
    }

    /// Reads a document; `None` where there is no such file.
    ///
    /// # Errors
    ///
    /// [`Error::Torn`], [`Error::Garbage`] or [`Error::Version`] for a file that is no document of this type,
    /// [`Error::TooLarge`] above [`MAX_DOCUMENT`], [`Error::NotAFile`] for anything but a file, [`Error::Io`]
    /// where the system refuses.
    pub fn read<T: Document>(&self, name: &FileName) -> Result<Option<T>, Error> {
        let Some(file) = self.open_file(name.as_str(), OFlag::O_RDONLY)? else { return Ok(None) };
        let bytes = self.read_bounded(name, &file)?;
        document::decode(&bytes).map(Some).map_err(|fault| fault.at(self.path_of(name.as_str())))
    }

    /// Writes a document in place of the one that is there, if any: others see the one or the other, whole.
    ///
    /// # Errors
    ///
    /// [`Error::Unwritable`] for a value that is no JSON object, [`Error::TooLarge`] above [`MAX_DOCUMENT`],
    /// [`Error::Io`] where the system refuses. The document that was there stays, but for a failure to sync the
    /// folder, which says that a power failure may bring it back.
    pub fn write<T: Document>(
        &self,
        name: &FileName,
        value: &T,
        durability: Durability,
    ) -> Result<(), Error> {
        self.put(name, &self.encode(name, value)?, durability)
    }

    /// Writes a document as [`write`](Self::write), with the members of the one that is there which its type does not
    /// know: a newer program put them there.
    ///
    /// What another writes between is lost: hold a lock that keeps other writers out.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read) where the one that is there cannot be read, and as [`write`](Self::write).
    pub fn rewrite<T: Document>(
        &self,
        name: &FileName,
        value: &T,
        durability: Durability,
    ) -> Result<(), Error> {
        let bytes = document::encode_with(value, &self.unknown::<T>(name)?);
        let bytes = bytes.map_err(|fault| fault.at(self.path_of(name.as_str())))?;
        self.put(name, &self.bounded(name, bytes, MAX_DOCUMENT)?, durability)
    }

    /// Writes a document of which nothing is left to say as [`rewrite`](Self::rewrite) does, and removes it where what is
    /// there says nothing either that its type does not know. Returns whether there is none.
    ///
    /// # Errors
    ///
    /// As [`rewrite`](Self::rewrite).
    pub fn rewrite_or_remove<T: Document>(
        &self,
        name: &FileName,
        nothing: &T,
        durability: Durability,
    ) -> Result<bool, Error> {
        let bytes = document::encode_with(nothing, &self.unknown::<T>(name)?);
        let bytes = bytes.map_err(|fault| fault.at(self.path_of(name.as_str())))?;
        let left = document::left_of(&bytes, nothing);
        if !left.map_err(|fault| fault.at(self.path_of(name.as_str())))?.is_nothing() {
            return self.put(name, &self.bounded(name, bytes, MAX_DOCUMENT)?, durability).map(|()| false);
        }
        if self.remove(name)? && durability == Durability::Disk {
            self.sync()?;
        }
        Ok(true)
    }

    /// What the document that is there says beside what its type knows.
    fn unknown<T: Document>(&self, name: &FileName) -> Result<Unknown, Error> {
        let Some(file) = self.open_file(name.as_str(), OFlag::O_RDONLY)? else {
            return Ok(Unknown::default());
        };
        let bytes = self.read_bounded(name, &file)?;
        let there = document::decode::<T>(&bytes).and_then(|there| document::left_of(&bytes, &there));
        there.map_err(|fault| fault.at(self.path_of(name.as_str())))
    }

    fn put(&self, name: &FileName, bytes: &[u8], durability: Durability) -> Result<(), Error> {
        let draft = Draft::create(self, name)?;
        draft.fill(bytes)?;
        if durability == Durability::Disk {
            draft.sync()?;
        }
        draft.publish(Existing::Replaced)?;
        if durability == Durability::Disk { self.sync() } else { Ok(()) }
    }

    /// Removes a file and says whether it was there.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] where the system refuses.
    pub fn remove(&self, name: &FileName) -> Result<bool, Error> {
        self.unlink(name.as_str())
    }

    /// Brings the names in this folder to the disk: after it, a removal or a rename outlasts a power failure.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] where the system refuses.
    pub fn sync(&self) -> Result<(), Error> {
        nix::unistd::fsync(self.fd()).map_err(|errno| fault(Action::Sync, self.path(), errno))
    }

    fn make(dir: BorrowedFd<'_>, relative: &Path, path: &Path) -> Result<Self, Error> {
        if let Some(found) = Self::enter(dir, relative, path)? {
            return Ok(found);
        }
        match mkdirat(dir, relative, Mode::S_IRWXU) {
            Ok(()) => sync_made(dir, relative, path)?,
            Err(Errno::EEXIST) => {}
            Err(errno) => return Err(fault(Action::Make, path, errno)),
        }
        Self::enter(dir, relative, path)?.ok_or_else(|| fault(Action::Open, path, Errno::ENOENT))
    }

    fn enter(dir: BorrowedFd<'_>, relative: &Path, path: &Path) -> Result<Option<Self>, Error> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let fd = match openat(dir, relative, flags, Mode::empty()) {
            Ok(fd) => fd,
            Err(Errno::ENOENT) => return Ok(None),
            Err(Errno::ENOTDIR | Errno::ELOOP) => return Err(Error::NotAFolder { path: path.to_owned() }),
            Err(errno) => return Err(fault(Action::Open, path, errno)),
        };
        let folder = Self { opened: Arc::new(Opened { fd, path: path.to_owned(), idle: Idles::default() }) };
        folder.trusted()?;
        Ok(Some(folder))
    }

    /// Refuses a folder whose files somebody else can replace.
    fn trusted(&self) -> Result<(), Error> {
        let stat =
            nix::sys::stat::fstat(self.fd()).map_err(|errno| fault(Action::Open, self.path(), errno))?;
        let path = || self.path().to_owned();
        if stat.st_uid != geteuid().as_raw() {
            return Err(Error::Foreign { path: path(), owner: stat.st_uid });
        }
        let mode = stat.st_mode & 0o7777;
        if mode & 0o022 == 0 { Ok(()) } else { Err(Error::Exposed { path: path(), mode }) }
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.opened.fd.as_fd()
    }

    /// The files of its locks that nobody holds.
    pub(crate) fn idle(&self) -> &Idles {
        &self.opened.idle
    }

    pub(crate) fn path_of(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    /// Words a refusal that concerns a file of this folder.
    pub(crate) fn fault<E: Into<io::Error>>(&self, action: Action, name: &str) -> impl FnOnce(E) -> Error {
        move |source| fault(action, &self.path_of(name), source)
    }

    /// Opens a regular file; `None` where it is missing.
    pub(crate) fn open_file(&self, name: &str, flags: OFlag) -> Result<Option<File>, Error> {
        Ok(self.open_found(name, flags)?.map(|(file, _)| file))
    }

    /// The same with what a look at the file tells.
    pub(crate) fn open_found(&self, name: &str, flags: OFlag) -> Result<Option<(File, Metadata)>, Error> {
        // Without O_NONBLOCK a FIFO would keep the caller waiting for its other end.
        let flags = flags | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK;
        let file = match openat(self.fd(), name, flags, Mode::S_IRUSR | Mode::S_IWUSR) {
            Ok(fd) => File::from(fd),
            Err(Errno::ENOENT) if !flags.contains(OFlag::O_CREAT) => return Ok(None),
            Err(Errno::ELOOP | Errno::EISDIR | Errno::ENXIO) => {
                return Err(Error::NotAFile { path: self.path_of(name) });
            }
            Err(errno) => return Err(fault(Action::Open, &self.path_of(name), errno)),
        };
        let found = file.metadata().map_err(self.fault(Action::Open, name))?;
        if found.is_file() {
            Ok(Some((file, found)))
        } else {
            Err(Error::NotAFile { path: self.path_of(name) })
        }
    }

    /// Opens a regular file for appending, and makes it where it is missing.
    pub(crate) fn make_file(&self, name: &str) -> Result<File, Error> {
        self.open_file(name, OFlag::O_RDWR | OFlag::O_APPEND | OFlag::O_CREAT)?
            .ok_or_else(|| fault(Action::Make, &self.path_of(name), Errno::ENOENT))
    }

    /// Says what stands under a name, if anything.
    pub(crate) fn stat(&self, name: &str) -> Result<Option<FileStat>, Error> {
        match fstatat(self.fd(), name, AtFlags::AT_SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(stat)),
            Err(Errno::ENOENT) => Ok(None),
            Err(errno) => Err(fault(Action::Open, &self.path_of(name), errno)),
        }
    }

    /// Says whether the name still leads to this file, which another process may have renamed or removed.
    pub(crate) fn holds(&self, name: &str, file: &File) -> Result<bool, Error> {
        let ours = file.metadata().map_err(self.fault(Action::Open, name))?;
        let there = self.stat(name)?;
        Ok(there.is_some_and(|there| (there.st_dev, there.st_ino) == (ours.dev(), ours.ino())))
    }

    pub(crate) fn unlink(&self, name: &str) -> Result<bool, Error> {
        match unlinkat(self.fd(), name, UnlinkatFlags::NoRemoveDir) {
            Ok(()) => Ok(true),
            Err(Errno::ENOENT) => Ok(false),
            Err(errno) => Err(fault(Action::Remove, &self.path_of(name), errno)),
        }
    }

    pub(crate) fn encode<T: Document>(&self, name: &FileName, value: &T) -> Result<Vec<u8>, Error> {
        let bytes = document::encode(value).map_err(|fault| fault.at(self.path_of(name.as_str())))?;
        self.bounded(name, bytes, MAX_DOCUMENT)
    }

    pub(crate) fn bounded(&self, name: &FileName, bytes: Vec<u8>, limit: u64) -> Result<Vec<u8>, Error> {
        if bytes.len() as u64 <= limit { Ok(bytes) } else { Err(self.too_large(name, limit)) }
    }

    pub(crate) fn read_bounded(&self, name: &FileName, file: &File) -> Result<Vec<u8>, Error> {
        // Room for most documents, which are then read at once: a vector that grows is filled in small parts.
        let mut bytes = Vec::with_capacity(USUAL_DOCUMENT);
        file.take(MAX_DOCUMENT + 1)
            .read_to_end(&mut bytes)
            .map_err(self.fault(Action::Read, name.as_str()))?;
        self.bounded(name, bytes, MAX_DOCUMENT)
    }

    pub(crate) fn too_large(&self, name: &FileName, limit: u64) -> Error {
        Error::TooLarge { path: self.path_of(name.as_str()), limit }
    }
}

/// Makes the folders that are missing of a path, from the top.
fn make_parents(path: &Path) -> Result<(), Error> {
    let missing: Vec<_> = path.ancestors().take_while(|folder| !is_folder(folder)).collect();
    for folder in missing.into_iter().rev() {
        match mkdirat(AT_FDCWD, folder, Mode::S_IRWXU | Mode::S_IRWXG | Mode::S_IRWXO) {
            Ok(()) => sync_made(AT_FDCWD, folder, folder)?,
            // Another made it, or the one below it is refused with the reason.
            Err(Errno::EEXIST) => {}
            Err(errno) => return Err(fault(Action::Make, folder, errno)),
        }
    }
    Ok(())
}

/// The empty path is the folder that one is in.
fn is_folder(path: &Path) -> bool {
    path.as_os_str().is_empty() || path.is_dir()
}

/// Brings the name of a folder that was made to the disk. Where that is refused, the folder goes: whoever finds it
/// later takes it for one that is on the disk.
fn sync_made(dir: BorrowedFd<'_>, relative: &Path, path: &Path) -> Result<(), Error> {
    let parent = relative.parent().filter(|parent| !parent.as_os_str().is_empty());
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let opened = openat(dir, parent.unwrap_or(Path::new(".")), flags, Mode::empty());
    let synced = opened.and_then(nix::unistd::fsync);
    // Some file systems have nothing to sync of a folder.
    let refused = synced.err().filter(|errno| !matches!(errno, Errno::EINVAL | Errno::EOPNOTSUPP));
    refused.map_or(Ok(()), |errno| {
        let _ = unlinkat(dir, relative, UnlinkatFlags::RemoveDir);
        Err(fault(Action::Sync, path.parent().unwrap_or(path), errno))
    })
}

pub(crate) fn fault(action: Action, path: &Path, source: impl Into<io::Error>) -> Error {
    Error::Io { action, path: path.to_owned(), source: source.into() }
}
