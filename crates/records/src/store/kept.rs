//! Documents that are read again and again.

use std::collections::BTreeMap;
use std::fs::{File, Metadata};
use std::os::unix::fs::MetadataExt as _;
use std::sync::{Mutex, PoisonError};

use nix::fcntl::OFlag;
use nix::sys::stat::FileStat;

use super::folder::Folder;
use super::lock::linked;
use super::record::last;
use crate::document::{self, Document, Fault};
use crate::{Error, FileName};

/// So many documents are kept at most, each with its file open.
const MANY: usize = 64;

/// What the documents of a folder said when they were last read.
///
/// One that is still the same file, and was not written to, is not read again: one look at its name says so. The file is
/// kept open, so no other can be taken for it, until another is read and this one is found removed.
///
/// ```
/// use linkspan_records::{Document, Durability, Folder};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Clone, Serialize, Deserialize, PartialEq, Debug)]
/// struct Bridge { mtu: u16 }
/// impl Document for Bridge { const VERSION: u32 = 1; }
///
/// # let path = std::env::temp_dir().join(format!("linkspan-records-kept-{}", std::process::id()));
/// let folder = Folder::open(&path)?;
/// let (kept, web) = (folder.kept::<Bridge>(), "web".parse()?);
/// for mtu in [1400, 1500] {
///     folder.write(&web, &Bridge { mtu }, Durability::Memory)?;
///     assert_eq!(kept.read(&web)?, Some(Bridge { mtu }));
///     assert_eq!(kept.read(&web)?, Some(Bridge { mtu }));
/// }
/// # std::fs::remove_dir_all(&path).expect("the example made it");
/// # Ok::<(), linkspan_records::Error>(())
/// ```
#[derive(Debug)]
pub struct Kept<T> {
    folder: Folder,
    readings: Mutex<BTreeMap<FileName, Reading<T>>>,
}

#[derive(Debug)]
struct Reading<T> {
    stamp: Stamp,
    value: T,
    /// As long as it is open, no other file has its number.
    file: File,
}

/// What a look at a name tells of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl From<&Metadata> for Stamp {
    fn from(found: &Metadata) -> Self {
        let modified = (found.mtime(), found.mtime_nsec());
        let changed = (found.ctime(), found.ctime_nsec());
        Self { device: found.dev(), inode: found.ino(), size: found.size(), modified, changed }
    }
}

impl From<&FileStat> for Stamp {
    fn from(found: &FileStat) -> Self {
        let modified = (found.st_mtime, found.st_mtime_nsec);
        let changed = (found.st_ctime, found.st_ctime_nsec);
        Self {
            device: found.st_dev,
            inode: found.st_ino,
            size: found.st_size.unsigned_abs(),
            modified,
            changed,
        }
    }
}

impl Folder {
    /// Reads the documents of this folder, and keeps what they say.
    #[must_use]
    pub fn kept<T: Document + Clone>(&self) -> Kept<T> {
        Kept { folder: self.clone(), readings: Mutex::default() }
    }
}

impl<T: Document + Clone> Kept<T> {
    /// Reads a document, as [`Folder::read`].
    ///
    /// # Errors
    ///
    /// As [`Folder::read`].
    pub fn read(&self, name: &FileName) -> Result<Option<T>, Error> {
        self.read_with(name, document::decode)
    }

    /// Reads what a record says at this moment, as [`Folder::peek_record`].
    ///
    /// # Errors
    ///
    /// As [`Folder::read`].
    pub fn peek_record(&self, name: &FileName) -> Result<Option<T>, Error> {
        self.read_with(name, |bytes| last(bytes).and_then(|(line, _)| document::decode(line)))
    }

    fn read_with(
        &self,
        name: &FileName,
        decode: impl FnOnce(&[u8]) -> Result<T, Fault>,
    ) -> Result<Option<T>, Error> {
        let mut readings = self.readings.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(reading) = readings.get(name)
            && self.folder.stat(name.as_str())?.is_some_and(|there| Stamp::from(&there) == reading.stamp)
        {
            return Ok(Some(reading.value.clone()));
        }
        readings.remove(name);
        let Some((file, found)) = self.folder.open_found(name.as_str(), OFlag::O_RDONLY)? else {
            return Ok(None);
        };
        let (stamp, bytes) = (Stamp::from(&found), self.folder.read_bounded(name, &file)?);
        let read = decode(&bytes).map_err(|fault| fault.at(self.folder.path_of(name.as_str())))?;
        // A line that is being written, or was not written to its end, is cut off by the next writer, who may write
        // another that is as long.
        if stamp.size == bytes.len() as u64 && bytes.ends_with(b"\n") {
            // Names that come mostly follow on names that went.
            readings.retain(|_, reading| linked(&reading.file).is_ok_and(|linked| linked));
            if readings.len() >= MANY {
                readings.clear();
            }
            readings.insert(name.clone(), Reading { stamp, value: read.clone(), file });
        }
        Ok(Some(read))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Durability, Taken};
    use serde::{Deserialize, Serialize};
    use std::io::Write as _;

    #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
    struct Said {
        what: u32,
    }

    impl Document for Said {
        const VERSION: u32 = 1;
    }

    fn check(test: &str, body: impl FnOnce(&Folder, &Kept<Said>)) {
        let path = std::env::temp_dir().join(format!("linkspan-records-{test}-{}", std::process::id()));
        let folder = Folder::open(&path).unwrap();
        body(&folder, &folder.kept());
        std::fs::remove_dir_all(&path).unwrap();
    }

    #[test]
    fn whatever_becomes_of_a_file_what_it_says_is_what_is_read() {
        check("kept-file", |folder, kept| {
            let name = "web".parse().unwrap();
            let agree = |what: Option<u32>| {
                for _ in 0..2 {
                    assert_eq!(kept.read(&name).unwrap().map(|said| said.what), what);
                }
            };
            agree(None);
            // Each of one length, and some of one moment.
            for what in 10..30 {
                folder.write(&name, &Said { what }, Durability::Memory).unwrap();
                agree(Some(what));
            }
            assert!(folder.remove(&name).unwrap());
            agree(None);
            folder.write(&name, &Said { what: 29 }, Durability::Memory).unwrap();
            agree(Some(29));
            std::fs::write(folder.path().join("web"), "{").unwrap();
            for _ in 0..2 {
                kept.read(&name).unwrap_err();
            }
        });
    }

    #[test]
    fn a_record_that_goes_on_is_read_again() {
        check("kept-record", |folder, kept| {
            let name = "web".parse().unwrap();
            let mut record = folder.create_record(&name, Said { what: 1 }).unwrap();
            for what in 2..9 {
                assert_eq!(kept.peek_record(&name).unwrap(), Some(record.value().clone()));
                record.append(Said { what }).unwrap();
            }
            // A line of which only a part was written, and then another of its length in its place.
            let mut file = std::fs::OpenOptions::new().append(true).open(folder.path().join("web")).unwrap();
            file.write_all(b"{\"version\":1,\"what\":7}").unwrap();
            assert_eq!(kept.peek_record(&name).unwrap(), Some(Said { what: 8 }));
            drop(record);
            let Taken::Here(mut record) = folder.take_record(&name).unwrap() else { unreachable!() };
            record.append(Said { what: 9 }).unwrap();
            assert_eq!(kept.peek_record(&name).unwrap(), Some(Said { what: 9 }));
        });
    }

    #[test]
    fn a_file_that_was_removed_is_not_kept_open_for_long() {
        check("kept-removed", |folder, kept| {
            for what in 0..9 {
                let name = format!("n{what}").parse().unwrap();
                folder.write(&name, &Said { what }, Durability::Memory).unwrap();
                assert_eq!(kept.read(&name).unwrap(), Some(Said { what }));
                assert_eq!(kept.readings.lock().unwrap().len(), 1);
                assert!(folder.remove(&name).unwrap());
            }
        });
    }

    #[test]
    fn no_more_files_are_kept_open_than_many() {
        check("kept-many", |folder, kept| {
            for what in 0..200 {
                let name = format!("n{what}").parse().unwrap();
                folder.write(&name, &Said { what }, Durability::Memory).unwrap();
                assert_eq!(kept.read(&name).unwrap(), Some(Said { what }));
                assert!(kept.readings.lock().unwrap().len() <= MANY);
            }
        });
    }
}
