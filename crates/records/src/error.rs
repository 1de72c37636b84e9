//! What can go wrong with files that are shared.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// Says why a file or folder could not be used; every variant but [`Error::Name`] names the path.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The text is no [`FileName`](crate::FileName).
    #[error("`{}` is not a file name of 1 to 200 letters, digits, `_`, `.` or `-`", name.escape_debug())]
    Name {
        /// The text as it was given.
        name: String,
    },
    /// A symbolic link or a file stands where a folder is wanted.
    #[error("`{}` is not a folder", path.display())]
    NotAFolder {
        /// Where it stands.
        path: PathBuf,
    },
    /// A symbolic link, a folder or a device stands where a file is wanted.
    #[error("`{}` is not a regular file", path.display())]
    NotAFile {
        /// Where it stands.
        path: PathBuf,
    },
    /// The folder belongs to another user, who could change its files.
    #[error("folder `{}` belongs to user {owner}", path.display())]
    Foreign {
        /// The folder.
        path: PathBuf,
        /// The user id of its owner.
        owner: u32,
    },
    /// The folder's group or everybody may write to it.
    #[error("folder `{}` is writable by others (mode {mode:04o})", path.display())]
    Exposed {
        /// The folder.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The record is there already.
    #[error("`{}` exists", path.display())]
    Exists {
        /// Where it stands.
        path: PathBuf,
    },
    /// The file is, or would become, larger than this crate reads.
    #[error("`{}` is larger than {limit} bytes", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The largest size in bytes.
        limit: u64,
    },
    /// The document is empty or ends too early.
    #[error("`{}` is empty or torn", path.display())]
    Torn {
        /// The file.
        path: PathBuf,
    },
    /// The document or the line is not what its type reads.
    #[error("cannot understand `{}`", path.display())]
    Garbage {
        /// The file.
        path: PathBuf,
        /// What the reader of the format says.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The file was written in a version of its format that this program does not read.
    #[error("`{}` has version {found}, this program reads version {known}", path.display())]
    Version {
        /// The file.
        path: PathBuf,
        /// The version that it carries.
        found: u64,
        /// The version that this program reads.
        known: u32,
    },
    /// A line of a ledger does not have the checksum that it carries, or is no entry.
    #[error("line {line} of `{}` is corrupt", path.display())]
    Corrupt {
        /// The ledger.
        path: PathBuf,
        /// The line, counted from 1.
        line: u64,
    },
    /// The value cannot be written as a JSON object.
    #[error("cannot write this value to `{}`", path.display())]
    Unwritable {
        /// The file.
        path: PathBuf,
        /// What the writer of the format says.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The text of a ledger's entry holds a line break.
    #[error("an entry for `{}` holds a line break", path.display())]
    LineBreak {
        /// The ledger.
        path: PathBuf,
    },
    /// The system refused.
    #[error("cannot {action} `{}`", path.display())]
    Io {
        /// What was tried.
        action: Action,
        /// With which file or folder.
        path: PathBuf,
        /// Why it was refused.
        source: io::Error,
    },
}

impl Error {
    /// Whether the content of the file is not what any version wrote: it is empty, cut off, overwritten or too large.
    ///
    /// A file of another version is whole, and so is one that cannot be opened.
    #[must_use]
    pub const fn is_damage(&self) -> bool {
        matches!(
            self,
            Self::Torn { .. } | Self::Garbage { .. } | Self::Corrupt { .. } | Self::TooLarge { .. }
        )
    }
}

impl Error {
    /// The file or folder that it is about; a name that is none has no path.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::Name { .. } => None,
            Self::NotAFolder { path }
            | Self::NotAFile { path }
            | Self::Foreign { path, .. }
            | Self::Exposed { path, .. }
            | Self::Exists { path }
            | Self::TooLarge { path, .. }
            | Self::Torn { path }
            | Self::Garbage { path, .. }
            | Self::Version { path, .. }
            | Self::Corrupt { path, .. }
            | Self::Unwritable { path, .. }
            | Self::LineBreak { path }
            | Self::Io { path, .. } => Some(path),
        }
    }
}

/// Names what was tried with a file or folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Action {
    /// Making a folder or a file.
    Make,
    /// Opening what is there, or looking at it.
    Open,
    /// Reading its content.
    Read,
    /// Writing its content, or cutting it.
    Write,
    /// Bringing it to the disk.
    Sync,
    /// Giving it another name or place.
    Rename,
    /// Removing it.
    Remove,
    /// Locking it.
    Lock,
    /// Listing a folder.
    List,
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Make => "make",
            Self::Open => "open",
            Self::Read => "read",
            Self::Write => "write",
            Self::Sync => "sync",
            Self::Rename => "rename",
            Self::Remove => "remove",
            Self::Lock => "lock",
            Self::List => "list",
        })
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use super::{Action, Error};

    #[test]
    fn an_error_names_its_path_and_leaves_the_reason_to_its_source() {
        let error = Error::Io {
            action: Action::Write,
            path: "/run/x".into(),
            source: std::io::Error::from_raw_os_error(28),
        };
        assert_eq!(error.to_string(), "cannot write `/run/x`");
        assert!(error.source().unwrap().to_string().contains("No space left"));
    }

    #[test]
    fn a_name_with_control_characters_is_shown_escaped() {
        let error = Error::Name { name: "a\nb".into() };
        assert!(error.to_string().starts_with("`a\\nb` is not a file name"));
    }
}
