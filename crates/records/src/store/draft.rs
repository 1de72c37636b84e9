//! Files that are written under a dot name before anybody sees them.

use std::fs::File;
use std::io::{self, Write as _};

use nix::errno::Errno;
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
    /// Only then may it be removed: the name is the locked file's.
    is_ours: bool,
}

pub(crate) const DRAFT_SUFFIX: &str = ".draft";

impl<'a> Draft<'a> {
    pub(crate) fn create(folder: &'a Folder, name: &'a FileName) -> Result<Self, Error> {
        let draft = format!(".{name}{DRAFT_SUFFIX}");
        loop {
            let held = hold_draft(folder, &draft).inspect_err(|_| {
                // It may be this one's, made and never locked; another writer's is locked, and is left alone.
                let _ = folder.remove_if_unlocked(&draft);
            })?;
            // If not, another writer published or removed it while this one waited.
            if let Some(file) = held {
                let remains = Remains { folder, name: draft, is_ours: true };
                file.set_len(0).map_err(folder.fault(Action::Write, &remains.name))?;
                return Ok(Self { folder, name, remains, file });
            }
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
        // Someone may have removed it by hand, and another be writing under its name.
        self.remains.is_ours = self.folder.holds(&self.remains.name, &self.file)?;
        if !self.remains.is_ours {
            return Err(self.folder.fault(Action::Rename, &self.remains.name)(Errno::ENOENT));
        }
        rename(self.folder, &self.remains.name, self.folder, self.name, existing)?;
        self.remains.is_ours = false;
        Ok(self.file)
    }
}

/// Makes or finds the file of a draft and waits for its lock; `None` where the name does not lead to it any longer.
fn hold_draft(folder: &Folder, draft: &str) -> Result<Option<Held>, Error> {
    let file = folder.make_file(draft)?;
    match hold(file, FlockArg::LockExclusive).map_err(folder.fault(Action::Lock, draft))? {
        Some(file) if folder.holds(draft, &file)? => Ok(Some(file)),
        _ => Ok(None),
    }
}

impl Drop for Remains<'_> {
    fn drop(&mut self) {
        if self.is_ours {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_draft_whose_name_another_writer_has_is_not_published_and_the_others_stays() {
        let path = std::env::temp_dir().join(format!("linkspan-records-draft-{}", std::process::id()));
        let folder = Folder::open(&path).unwrap();
        let name = "web".parse().unwrap();
        let first = Draft::create(&folder, &name).unwrap();
        folder.unlink(".web.draft").unwrap();
        let second = Draft::create(&folder, &name).unwrap();
        second.fill(b"half").unwrap();
        let refused = first.publish(Existing::Replaced).unwrap_err();
        let there = folder.stat("web").unwrap();
        second.fill(b" and whole").unwrap();
        second.publish(Existing::Replaced).unwrap();
        let written = std::fs::read(path.join("web")).unwrap();
        std::fs::remove_dir_all(&path).unwrap();
        assert!(matches!(refused, Error::Io { action: Action::Rename, .. }), "{refused}");
        assert!(there.is_none());
        assert_eq!(written, b"half and whole");
    }
}
