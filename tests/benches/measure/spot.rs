//! Where a thread stands.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use nix::sched::{CloneFlags, setns};

/// A network namespace that the calling thread can stand in.
#[derive(Debug)]
pub(crate) struct Spot(OwnedFd);

impl Spot {
    /// Where the calling thread is.
    pub(crate) fn here() -> io::Result<Self> {
        Ok(Self(File::open("/proc/thread-self/ns/net")?.into()))
    }

    /// Moves the calling thread here.
    pub(crate) fn enter(&self) -> io::Result<()> {
        Ok(setns(&self.0, CloneFlags::CLONE_NEWNET)?)
    }
}

impl From<OwnedFd> for Spot {
    fn from(fd: OwnedFd) -> Self {
        Self(fd)
    }
}

impl From<File> for Spot {
    fn from(file: File) -> Self {
        Self(file.into())
    }
}

impl AsRawFd for Spot {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}
