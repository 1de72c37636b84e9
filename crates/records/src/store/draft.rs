//! Files that are written under a dot name before anybody sees them.

use std::fs::File;
use std::io::{self, Write as _};

use nix::fcntl::{FlockArg, renameat};

use super::folder::Folder;
use super::lock::{Held, hold};
use crate::{Action, Error, FileName};

/// Says what becomes of a file that has the name already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Existing {
    Replaced,
    Refused,
}

/// A file that is about to get its name; dropped before that, it is removed.
///
/// It is locked, so that two writers of one name take turns, and so that what a killed writer left is known by
/// being unlocked: the next writer of the name starts over in it, and [`Folder::sweep`] removes it.
#[derive(Debug)]
pub(crate) struct Draft<'a> {
    folder: &'a Folder,
    name: &'a FileName,
    // Above the file, so that it is removed while it is locked.
    remains: Remains<'a>,
    file: Held,
}

/// The dot name, which goes when this is dropped.
#[derive(Debug)]
struct Remains<'a> {
    folder: &'a Folder,
    name: String,
    published: bool,
}

pub(crate) const DRAFT_SUFFIX: &str = ".draft";

impl<'a> Draft<'a> {
    pub(crate) fn create(folder: &'a Folder, name: &'a FileName) -> Result<Self, Error> {
        let draft = format!(".{name}{DRAFT_SUFFIX}");
        loop {
            // A refusal leaves nothing, whoever has the file besides: he finds it gone, and is refused.
            let mut remains = Remains { folder, name: draft.clone(), published: false };
            let file = folder.make_file(&draft)?;
            let held = hold(file, FlockArg::LockExclusive).map_err(folder.fault(Action::Lock, &draft))?;
            if let Some(file) = held
                && folder.holds(&draft, &file)?
            {
                file.set_len(0).map_err(folder.fault(Action::Write, &draft))?;
                return Ok(Self { folder, name, remains, file });
            }
            // Another writer published or removed it while this one waited.
            remains.published = true;
        }
    }

    pub(crate) fn fill(&self, bytes: &[u8]) -> Result<(), Error> {
        (&*self.file).write_all(bytes).map_err(self.folder.fault(Action::Write, &self.remains.name))
    }

    pub(crate) fn sync(&self) -> Result<(), Error> {
        self.file.sync_all().map_err(self.folder.fault(Action::Sync, &self.remains.name))
    }

    /// Opens the file once more, for use after it has its name.
    pub(crate) fn duplicate(&self) -> io::Result<File> {
        self.file.try_clone()
    }

    /// Gives the file its name and hands it over, still locked.
    pub(crate) fn publish(mut self, existing: Existing) -> Result<Held, Error> {
        rename(self.folder, &self.remains.name, self.folder, self.name, existing)?;
        self.remains.published = true;
        Ok(self.file)
    }
}

impl Drop for Remains<'_> {
    fn drop(&mut self) {
        if !self.published {
            // What cannot be removed is overwritten by the next writer of the name, or swept.
            let _ = self.folder.unlink(&self.name);
        }
    }
}

/// Gives a file another name or place; others see it in the one or the other.
///
/// An existing file is refused by a look before, which nobody comes between who has a [`Draft`] of the name.
/// `renameat2` would do both in one step, but has no wrapper where the C library is musl.
pub(crate) fn rename(
    from: &Folder,
    old: &str,
    to: &Folder,
    new: &FileName,
    existing: Existing,
) -> Result<(), Error> {
    if existing == Existing::Refused && to.stat(new.as_str())?.is_some() {
        return Err(Error::Exists { path: to.path_of(new.as_str()) });
    }
    renameat(from.fd(), old, to.fd(), new.as_str()).map_err(to.fault(Action::Rename, new.as_str()))
}
