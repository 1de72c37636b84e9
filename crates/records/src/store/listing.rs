//! What stands in a folder, and the removal of what nobody uses.

use nix::dir::{Dir, Type};
use nix::errno::Errno;
use nix::fcntl::{FlockArg, OFlag};
use nix::sys::stat::{Mode, SFlag};
use nix::unistd::{UnlinkatFlags, unlinkat};

use super::draft::DRAFT_SUFFIX;
use super::folder::{Folder, fault};
use super::lock::{LOCK_SUFFIX, hold};
use crate::{Action, Error, FileName};

impl Folder {
    /// Returns the names of what stands in this folder, sorted, be it a file or not: who opens what is none is told so,
    /// and does not take what it stands in place of for what was never there.
    ///
    /// This crate's own dot files are left out, and so is whatever has no [`FileName`]: it cannot be one of ours.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] where the system refuses.
    pub fn names(&self) -> Result<Vec<FileName>, Error> {
        Ok(sorted(self.entries()?.iter()))
    }

    /// Returns the names of the subfolders, sorted.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] where the system refuses.
    pub fn folders(&self) -> Result<Vec<FileName>, Error> {
        Ok(sorted(self.entries()?.iter().filter(|entry| entry.folder)))
    }

    /// Says whether the folder holds neither files nor subfolders, dot files aside.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] where the system refuses.
    pub fn is_empty(&self) -> Result<bool, Error> {
        Ok(self.entries()?.iter().all(|entry| entry.name.starts_with('.')))
    }

    /// Removes the drafts that killed writers left and says how many there were.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] where the system refuses.
    pub fn sweep(&self) -> Result<usize, Error> {
        self.remove_unlocked(&[DRAFT_SUFFIX])
    }

    /// Removes the lock files that nobody holds, and says how many there were.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] where the system refuses.
    pub fn sweep_locks(&self) -> Result<usize, Error> {
        self.remove_unlocked(&[LOCK_SUFFIX])
    }

    /// Removes a subfolder if nothing but unused lock files and drafts is in it, and says whether it is gone.
    ///
    /// A process that opened the folder before finds that it can make nothing in it any more: keep such
    /// processes out by a lock in this folder.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub fn remove_folder_if_empty(&self, name: &FileName) -> Result<bool, Error> {
        let Some(folder) = self.find_folder(name)? else { return Ok(true) };
        if !folder.is_empty()? {
            return Ok(false);
        }
        folder.remove_unlocked(&[DRAFT_SUFFIX, LOCK_SUFFIX])?;
        match unlinkat(self.fd(), name.as_str(), UnlinkatFlags::RemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => Ok(true),
            Err(Errno::ENOTEMPTY | Errno::EEXIST) => Ok(false),
            Err(errno) => Err(fault(Action::Remove, folder.path(), errno)),
        }
    }

    /// The names of what stands in this folder, as [`names`](Self::names), with one look; on the way the drafts that
    /// killed writers left are removed.
    ///
    /// A draft that cannot be removed stays for the next one who looks.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] where the system refuses the look.
    pub fn names_swept(&self) -> Result<Vec<FileName>, Error> {
        let entries = self.entries()?;
        for Entry { name, .. } in entries.iter().filter(|entry| entry.is_of(&[DRAFT_SUFFIX])) {
            let _ = self.remove_if_unlocked(name);
        }
        Ok(sorted(entries.iter()))
    }

    fn remove_unlocked(&self, suffixes: &[&str]) -> Result<usize, Error> {
        let mut removed = 0;
        for entry in self.entries()? {
            if entry.is_of(suffixes) && !entry.folder && self.remove_if_unlocked(&entry.name)? {
                removed += 1;
            }
        }
        Ok(removed)
    }

    /// Removes a dot file that nobody has locked, and says whether it did.
    pub(crate) fn remove_if_unlocked(&self, name: &str) -> Result<bool, Error> {
        let Some(file) = self.open_file(name, OFlag::O_RDWR)? else { return Ok(false) };
        let held = hold(file, FlockArg::LockExclusiveNonblock);
        match held.map_err(self.fault(Action::Lock, name))? {
            Some(file) if self.holds(name, &file)? => self.unlink(name),
            _ => Ok(false),
        }
    }

    fn entries(&self) -> Result<Vec<Entry>, Error> {
        let failed = |errno: Errno| fault(Action::List, self.path(), errno);
        // A descriptor of its own: the position in a directory is shared by all copies of one.
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let mut dir = Dir::openat(self.fd(), ".", flags, Mode::empty()).map_err(failed)?;
        let mut entries = Vec::new();
        for found in dir.iter() {
            let found = found.map_err(failed)?;
            let Ok(name) = found.file_name().to_str() else { continue };
            if name != "." && name != ".." {
                entries
                    .push(Entry { name: name.to_owned(), folder: self.is_folder(name, found.file_type())? });
            }
        }
        Ok(entries)
    }

    fn is_folder(&self, name: &str, kind: Option<Type>) -> Result<bool, Error> {
        if let Some(kind) = kind {
            return Ok(kind == Type::Directory);
        }
        let stat = self.stat(name)?;
        Ok(stat.is_some_and(|stat| stat.st_mode & SFlag::S_IFMT.bits() == SFlag::S_IFDIR.bits()))
    }
}

/// The names of ours among these.
fn sorted<'a>(entries: impl Iterator<Item = &'a Entry>) -> Vec<FileName> {
    let mut names: Vec<_> = entries.filter_map(|entry| entry.name.parse().ok()).collect();
    names.sort_unstable();
    names
}

struct Entry {
    name: String,
    folder: bool,
}

impl Entry {
    /// Whether it is a dot file of ours with one of these endings.
    fn is_of(&self, suffixes: &[&str]) -> bool {
        self.name.starts_with('.') && suffixes.iter().any(|suffix| self.name.ends_with(suffix))
    }
}
