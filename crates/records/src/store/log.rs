//! The file of a ledger: a header with the version, then the entries.

use std::fmt::{self, Display};
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt as _;

use nix::sys::stat::FileStat;

use super::tail::Tail;
use crate::line::{LineBreak, push_commit};

/// Below this size, in bytes, a ledger is not worth compacting.
const LONG: u64 = 32 << 10;

/// A ledger is compacted when it has more than this many lines for each that its state needs.
const LINES_PER_LIVE: u64 = 4;

/// How the first line begins; the version follows.
const HEADER: &str = "ledger ";

/// An open ledger file, as far as it was read.
#[derive(Debug)]
pub(crate) struct Log {
    pub(crate) file: File,
    pub(crate) tail: Tail,
    /// Whole lines before the tail's end, the header included.
    pub(crate) lines: u64,
    /// With fewer lines than this, it need not be asked again whether the file is long.
    look_again_at: u64,
    device_inode: (u64, u64),
}

impl Log {
    /// Begins to read a file.
    pub(crate) fn of(file: File) -> io::Result<Self> {
        let found = file.metadata()?;
        let device_inode = (found.dev(), found.ino());
        Ok(Self { file, tail: Tail::at(0), lines: 0, look_again_at: 0, device_inode })
    }

    /// Says whether what is there is this file, as it was read or with more in it.
    ///
    /// A compaction puts another inode there: this one is held open, so its number is not used again. A file that
    /// is smaller than what was read is not one that any process of ours left.
    pub(crate) fn grew_to(&self, there: &FileStat) -> bool {
        let same = (there.st_dev, there.st_ino) == self.device_inode;
        same && u64::try_from(there.st_size).is_ok_and(|size| size >= self.tail.end)
    }

    /// Says whether it is worth asking the state how long the file need be.
    pub(crate) fn may_be_long(&self) -> bool {
        self.tail.end > LONG && self.lines >= self.look_again_at
    }

    /// Says whether the file is long for a state of so many entries, and remembers when it cannot be.
    pub(crate) fn is_long_for(&mut self, live: u64) -> bool {
        self.look_again_at = LINES_PER_LIVE * (live + 1) + 1;
        self.lines >= self.look_again_at
    }
}

/// One line of a ledger.
enum Line<'a, E> {
    Header(u32),
    Entry(&'a E),
}

impl<E: Display> Display for Line<'_, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Header(version) => write!(f, "{HEADER}{version}"),
            Self::Entry(entry) => entry.fmt(f),
        }
    }
}

/// Writes one commit, after a header where the file has none yet.
pub(crate) fn encode<E: Display>(header: Option<u32>, entries: &[E]) -> Result<String, LineBreak> {
    let mut text = String::new();
    let header = header.map(Line::Header).into_iter();
    push_commit(&mut text, header.chain(entries.iter().map(Line::Entry)))?;
    Ok(text)
}

/// What a file begins with.
pub(crate) enum Start {
    Version(u64),
    /// Possibly a ledger whose first commit was not written to its end.
    Torn,
    Foreign,
}

/// Reads the beginning of a file, from its first whole line or, where it has none, from its bytes.
pub(crate) fn start(first: Option<&str>, bytes: &[u8]) -> Start {
    let Some(text) = first else {
        let begun = bytes.iter().zip(HEADER.as_bytes()).all(|(found, known)| found == known);
        return if begun { Start::Torn } else { Start::Foreign };
    };
    let version = text.strip_prefix(HEADER).and_then(|version| version.parse().ok());
    version.map_or(Start::Foreign, Start::Version)
}
