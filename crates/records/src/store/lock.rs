//! Locks that the kernel releases when their holder ends.

use std::collections::BTreeMap;
use std::fs::File;
use std::ops::Deref;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd};
use std::sync::{Mutex, PoisonError};

use nix::errno::Errno;
use nix::fcntl::FlockArg;
#[expect(deprecated, reason = "its successor panics where the kernel refuses to unlock")]
use nix::fcntl::flock;

use super::folder::Folder;
use crate::{Action, Error, FileName};

/// Says whom a lock keeps out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Only exclusive holders: for looking.
    Shared,
    /// Everybody else: for changing.
    Exclusive,
}

/// A lock that is held until it is dropped, or until the process ends in whatever way, and whoever keeps a copy of its
/// descriptor.
///
/// It is an flock(2) on a dot file of the name, so a document of that name can be replaced under it. Two locks of
/// one process keep each other out too.
#[derive(Debug)]
#[must_use = "a lock that is dropped is released"]
pub struct Lock {
    folder: Folder,
    name: String,
    // In the way of nothing but being moved out when this is dropped.
    held: Option<Held>,
}

impl AsFd for Lock {
    /// The file that is locked: a program that keeps it open holds the lock as well, should this process be killed.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.held.as_ref().expect("only dropping it takes it out").0.as_fd()
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        if let Some(idle) = self.held.take().and_then(Held::release) {
            self.folder.idle().keep(&self.name, idle);
        }
    }
}

/// The files of locks that nobody holds, open for who locks them next. One that was removed meanwhile is found to be so
/// once it is locked, or when there are twice as many as there were when all were looked at.
#[derive(Debug, Default)]
pub(crate) struct Idles(Mutex<Files>);

#[derive(Debug, Default)]
struct Files {
    open: BTreeMap<String, Idle>,
    /// How many were left when all were looked at.
    seen: usize,
}

impl Idles {
    /// So few are kept without a look.
    const FEW: usize = 8;
    /// So many are kept at most.
    const MANY: usize = 64;

    fn keep(&self, name: &str, idle: Idle) {
        let mut files = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if files.open.len() >= (2 * files.seen).clamp(Self::FEW, Self::MANY) {
            // Names that come mostly follow on names that went.
            files.open.retain(|_, Idle(held)| linked(held).is_ok_and(|linked| linked));
            if files.open.len() >= Self::MANY {
                files.open.clear();
            }
            files.seen = files.open.len();
        }
        files.open.insert(name.to_owned(), idle);
    }

    fn take(&self, name: &str) -> Option<Idle> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).open.remove(name)
    }
}

impl Folder {
    /// Takes the lock of this name and waits for it.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] where the system refuses.
    pub fn lock(&self, name: &FileName, access: Access) -> Result<Lock, Error> {
        let arg = match access {
            Access::Shared => FlockArg::LockShared,
            Access::Exclusive => FlockArg::LockExclusive,
        };
        let name = lock_file(name);
        loop {
            if let Attempt::Held(held) = self.hold_lock_file(&name, arg)? {
                return Ok(Lock { folder: self.clone(), name, held: Some(held) });
            }
        }
    }

    /// Takes the lock of this name if that needs no waiting; `None` where somebody else keeps it.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] where the system refuses.
    pub fn try_lock(&self, name: &FileName, access: Access) -> Result<Option<Lock>, Error> {
        let arg = match access {
            Access::Shared => FlockArg::LockSharedNonblock,
            Access::Exclusive => FlockArg::LockExclusiveNonblock,
        };
        let name = lock_file(name);
        loop {
            match self.hold_lock_file(&name, arg)? {
                Attempt::Held(held) => {
                    return Ok(Some(Lock { folder: self.clone(), name, held: Some(held) }));
                }
                Attempt::Busy => return Ok(None),
                Attempt::Unlinked => {}
            }
        }
    }

    /// Gives a lock back together with its file, so that names that are used once leave nothing. Whoever waits for it
    /// finds the file gone, and makes another.
    ///
    /// Nothing is removed for a lock of another name, nor for one that is shared with somebody.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] where the system refuses.
    pub fn remove_lock(&self, name: &FileName, mut lock: Lock) -> Result<(), Error> {
        let name = lock_file(name);
        let Some(held) = lock.held.take() else { return Ok(()) };
        match held.hold(FlockArg::LockExclusiveNonblock).map_err(self.fault(Action::Lock, &name))? {
            Some(held) if self.holds(&name, &held)? => self.unlink(&name).map(drop),
            _ => Ok(()),
        }
    }

    fn hold_lock_file(&self, name: &str, arg: FlockArg) -> Result<Attempt, Error> {
        let held = match self.idle().take(name) {
            Some(idle) => idle.hold(arg),
            None => hold(self.make_file(name)?, arg),
        };
        match held.map_err(self.fault(Action::Lock, name))? {
            None => Ok(Attempt::Busy),
            Some(held) if linked(&held).map_err(self.fault(Action::Lock, name))? => Ok(Attempt::Held(held)),
            Some(_) => Ok(Attempt::Unlinked),
        }
    }
}

/// What came of one try.
enum Attempt {
    Held(Held),
    Busy,
    /// The file was removed between opening and locking: there may be another of its name.
    Unlinked,
}

/// Returns the name of the file that a name's lock is on.
pub(crate) fn lock_file(name: &FileName) -> String {
    format!(".{name}{LOCK_SUFFIX}")
}

pub(crate) const LOCK_SUFFIX: &str = ".lock";

/// A file that is locked until this is dropped.
///
/// Closing it would not do: the lock belongs to the open file, which a child that another thread forked holds too
/// until it executes a program (flock(2)).
#[derive(Debug)]
pub(crate) struct Held(File);

/// A file that was locked, kept open for the next time.
#[derive(Debug)]
pub(crate) struct Idle(Held);

impl Held {
    /// Unlocks the file and keeps it open; where that is refused, it is closed.
    pub(crate) fn release(self) -> Option<Idle> {
        lock(&self.0, FlockArg::Unlock).ok().map(|()| Idle(self))
    }

    fn hold(self, arg: FlockArg) -> Result<Option<Self>, Errno> {
        loop {
            match lock(&self.0, arg) {
                Ok(()) => return Ok(Some(self)),
                Err(Errno::EINTR) => {}
                Err(Errno::EWOULDBLOCK) => return Ok(None),
                Err(errno) => return Err(errno),
            }
        }
    }
}

impl Idle {
    /// Locks the file again; `None` where the lock is not to be waited for and another holds it.
    pub(crate) fn hold(self, arg: FlockArg) -> Result<Option<Held>, Errno> {
        self.0.hold(arg)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // Where the kernel refuses, closing the file unlocks it, but for such a child.
        let _ = lock(&self.0, FlockArg::Unlock);
    }
}

impl Deref for Held {
    type Target = File;

    fn deref(&self) -> &File {
        &self.0
    }
}

/// Locks a file; `None` where the lock is not to be waited for and another holds it.
pub(crate) fn hold(file: File, arg: FlockArg) -> Result<Option<Held>, Errno> {
    Held(file).hold(arg)
}

fn lock(file: &File, arg: FlockArg) -> Result<(), Errno> {
    #[expect(deprecated, reason = "as above")]
    flock(file.as_raw_fd(), arg)
}

/// Says whether a file still has a name. Only a holder of its lock takes the name away, so the answer lasts.
pub(crate) fn linked(file: &File) -> Result<bool, Errno> {
    Ok(nix::sys::stat::fstat(file)?.st_nlink > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_ends_with_its_holder_though_a_forked_child_has_the_file_open() {
        let path = std::env::temp_dir().join(format!("linkspan-records-lock-{}", std::process::id()));
        let folder = Folder::open(&path).unwrap();
        let name = "web".parse().unwrap();
        let lock = folder.lock(&name, Access::Exclusive).unwrap();
        let childs = lock.held.as_ref().unwrap().try_clone().unwrap();
        assert!(folder.try_lock(&name, Access::Shared).unwrap().is_none());
        drop(lock);
        let next = folder.try_lock(&name, Access::Exclusive).unwrap();
        drop(childs);
        std::fs::remove_dir_all(&path).unwrap();
        assert!(next.is_some());
    }

    #[test]
    fn the_file_of_a_lock_that_another_removed_is_not_kept_open_for_long() {
        let path = std::env::temp_dir().join(format!("linkspan-records-idle-{}", std::process::id()));
        let folder = Folder::open(&path).unwrap();
        for number in 0..99 {
            let name = format!("n{number}").parse().unwrap();
            drop(folder.lock(&name, Access::Exclusive).unwrap());
            assert!(folder.idle().0.lock().unwrap().open.len() <= Idles::FEW);
            std::fs::remove_file(path.join(lock_file(&name))).unwrap();
        }
        std::fs::remove_dir_all(&path).unwrap();
    }
}
