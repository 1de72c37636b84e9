//! Records of operations under way, each kept locked by whoever does the operation.

use std::fs::File;

use nix::fcntl::{FlockArg, OFlag};

use super::draft::{Draft, Existing, rename};
use super::folder::Folder;
use super::lock::{Held, hold};
use super::tail::{Extent, Tail};
use crate::document::{self, Document, Fault, MAX_DOCUMENT, MAX_PHASE};
use crate::unknown::Unknown;
use crate::{Action, Error, FileName};

/// A file that its owner keeps locked: one JSON line per phase, of which the last whole one holds.
///
/// Dropping it unlocks it and leaves the file: whoever [takes](Folder::take_record) it next sees how far the
/// operation came.
///
/// ```
/// use linkspan_records::{Document, Folder, Taken};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize)]
/// struct Attach { phase: String }
/// impl Document for Attach { const VERSION: u32 = 1; }
///
/// # let path = std::env::temp_dir().join(format!("linkspan-records-record-{}", std::process::id()));
/// let folder = Folder::open(&path)?;
/// let web = "web".parse()?;
/// let mut record = folder.create_record(&web, Attach { phase: "claimed".into() })?;
/// record.append(Attach { phase: "linked".into() })?;
/// assert!(matches!(folder.take_record::<Attach>(&web)?, Taken::Busy));
///
/// drop(record); // as if the process had been killed
/// let Taken::Here(record) = folder.take_record::<Attach>(&web)? else { unreachable!() };
/// assert_eq!(record.value().phase, "linked");
/// record.remove()?;
/// # std::fs::remove_dir_all(&path).expect("the example made it");
/// # Ok::<(), linkspan_records::Error>(())
/// ```
#[derive(Debug)]
#[must_use = "a record that is dropped is unlocked"]
pub struct Record<T> {
    folder: Folder,
    name: FileName,
    file: Held,
    tail: Tail,
    value: T,
    /// What the record says besides, that a newer program put there.
    left: Unknown,
}

/// What [`Folder::take_record`] found.
#[derive(Debug)]
pub enum Taken<T> {
    /// There is no record of this name.
    Absent,
    /// Its owner is at work.
    Busy,
    /// It is there and belongs to the caller.
    Here(Record<T>),
}

impl Folder {
    /// Makes a record, locked from the moment that others can see it.
    ///
    /// # Errors
    ///
    /// [`Error::Exists`] where there is one of this name, locked or not, [`Error::TooLarge`] above [`MAX_PHASE`];
    /// otherwise as [`write`](Self::write).
    pub fn create_record<T: Document>(&self, name: &FileName, value: T) -> Result<Record<T>, Error> {
        let line = self.bounded(name, self.encode(name, &value)?, MAX_PHASE)?;
        let draft = Draft::create(self, name)?;
        draft.fill(&line)?;
        let file = draft.publish(Existing::Refused)?;
        let tail = Tail::at(line.len() as u64);
        Ok(Record { folder: self.clone(), name: name.clone(), file, tail, value, left: Unknown::default() })
    }

    /// Takes over a record whose owner ended or let go of it, without waiting.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read).
    pub fn take_record<T: Document>(&self, name: &FileName) -> Result<Taken<T>, Error> {
        loop {
            let Some(file) = self.open_record(name, OFlag::O_RDWR | OFlag::O_APPEND)? else {
                return Ok(Taken::Absent);
            };
            let held = hold(file, FlockArg::LockExclusiveNonblock);
            let Some(file) = held.map_err(self.fault(Action::Lock, name.as_str()))? else {
                return Ok(Taken::Busy);
            };
            if self.holds(name.as_str(), &file)? {
                return Record::resume(self, name, file).map(Taken::Here);
            }
        }
    }

    /// Takes over a record and waits until its owner ends or lets go of it; `None` where it is, or goes, away.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read).
    pub fn wait_record<T: Document>(&self, name: &FileName) -> Result<Option<Record<T>>, Error> {
        loop {
            let Some(file) = self.open_record(name, OFlag::O_RDWR | OFlag::O_APPEND)? else {
                return Ok(None);
            };
            let held = hold(file, FlockArg::LockExclusive);
            let Some(file) = held.map_err(self.fault(Action::Lock, name.as_str()))? else { continue };
            if self.holds(name.as_str(), &file)? {
                return Record::resume(self, name, file).map(Some);
            }
        }
    }

    /// Reads what a record says at this moment, whoever owns it; `None` where there is none.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read).
    pub fn peek_record<T: Document>(&self, name: &FileName) -> Result<Option<T>, Error> {
        let Some(file) = self.open_record(name, OFlag::O_RDONLY)? else { return Ok(None) };
        let bytes = self.read_bounded(name, &file)?;
        let read = last(&bytes).and_then(|(line, _)| document::decode(line));
        Ok(Some(read.map_err(|fault| fault.at(self.path_of(name.as_str())))?))
    }

    /// Reads what a record says whose owner ended or let go of it; `None` where somebody owns it, or there is none.
    ///
    /// Nobody can take it over during the look, which leaves it as it is.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read).
    pub fn peek_free<T: Document>(&self, name: &FileName) -> Result<Option<T>, Error> {
        let Some(file) = self.open_record(name, OFlag::O_RDONLY)? else { return Ok(None) };
        let held = hold(file, FlockArg::LockSharedNonblock);
        match held.map_err(self.fault(Action::Lock, name.as_str()))? {
            Some(_held) => self.peek_record(name),
            None => Ok(None),
        }
    }

    fn open_record(&self, name: &FileName, flags: OFlag) -> Result<Option<File>, Error> {
        self.open_file(name.as_str(), flags)
    }
}

impl<T: Document> Record<T> {
    /// Appends the next phase, which holds from then on. Members that a newer program wrote are kept.
    ///
    /// # Errors
    ///
    /// [`Error::TooLarge`] above [`MAX_PHASE`], or where all phases come to more than [`MAX_DOCUMENT`]; otherwise as
    /// [`Folder::write`]. The phase before still holds then.
    pub fn append(&mut self, value: T) -> Result<(), Error> {
        let line = document::encode_with(&value, &self.left);
        let line = line.map_err(|fault| fault.at(self.folder.path_of(self.name.as_str())))?;
        let line = self.folder.bounded(&self.name, line, MAX_PHASE)?;
        if self.tail.end + line.len() as u64 > MAX_DOCUMENT {
            return Err(self.folder.too_large(&self.name, MAX_DOCUMENT));
        }
        let name = self.name.as_str();
        self.tail.append(&self.file, &line).map_err(self.folder.fault(Action::Write, name))?;
        self.value = value;
        Ok(())
    }

    fn resume(folder: &Folder, name: &FileName, file: Held) -> Result<Self, Error> {
        let bytes = folder.read_bounded(name, &file)?;
        let read = last(&bytes).and_then(|(line, end)| {
            let value = document::decode(line)?;
            let left = document::left_of(line, &value)?;
            Ok((value, left, end))
        });
        let (value, left, end) = read.map_err(|fault| fault.at(folder.path_of(name.as_str())))?;
        let extent = Extent { whole: end as u64, size: bytes.len() as u64 };
        let tail = Tail::cut(&file, extent).map_err(folder.fault(Action::Write, name.as_str()))?;
        Ok(Self { folder: folder.clone(), name: name.clone(), file, tail, value, left })
    }
}

impl<T> Record<T> {
    /// Returns what the record says.
    #[must_use]
    pub fn value(&self) -> &T {
        &self.value
    }

    /// Returns the record's name.
    #[must_use]
    pub fn name(&self) -> &FileName {
        &self.name
    }

    /// Says whether the record is in this folder.
    #[must_use]
    pub fn is_in(&self, folder: &Folder) -> bool {
        self.folder.path() == folder.path()
    }

    /// Moves the record to another folder of the same file system, under its name; it stays locked.
    ///
    /// The name must be this record's in both folders: one that is made over there at the same moment is lost.
    ///
    /// # Errors
    ///
    /// [`Error::Exists`] where that folder has one of this name, [`Error::Io`] where the system refuses. The
    /// record stays where it was then.
    pub fn move_to(&mut self, folder: &Folder) -> Result<(), Error> {
        rename(&self.folder, self.name.as_str(), folder, &self.name, Existing::Refused)?;
        self.folder = folder.clone();
        Ok(())
    }

    /// Removes the record: whoever waits for it finds it gone.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] where the system refuses.
    pub fn remove(self) -> Result<(), Error> {
        self.folder.remove(&self.name).map(drop)
    }
}

/// The last whole line, and where it ends.
pub(super) fn last(bytes: &[u8]) -> Result<(&[u8], usize), Fault> {
    let Some(end) = bytes.iter().rposition(|&byte| byte == b'\n') else { return Err(Fault::Torn) };
    let start = bytes[..end].iter().rposition(|&byte| byte == b'\n').map_or(0, |before| before + 1);
    Ok((&bytes[start..end], end + 1))
}
