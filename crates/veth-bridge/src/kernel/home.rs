//! The host's namespace itself, and its settings below `/proc/sys/net`.

use crate::{BridgeNetfilter, Error, Family};
use linkspan_net_types::IfName;
use nix::sched::{CloneFlags, setns};
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

/// The network namespace of the calling thread.
const OWN: &str = "/proc/thread-self/ns/net";

/// A network namespace that is held open, with what tells it from others while it is.
#[derive(Debug)]
pub(super) struct Home {
    netns: File,
    identity: (u64, u64),
}

impl Home {
    pub(super) fn here() -> Result<Self, Error> {
        Self::held(File::open(OWN))
    }

    pub(super) fn of(netns: BorrowedFd<'_>) -> Result<Self, Error> {
        Self::held(netns.try_clone_to_owned().map(File::from))
    }

    fn held(netns: io::Result<File>) -> Result<Self, Error> {
        let held = netns.and_then(|netns| Ok((netns.metadata()?, netns)));
        let (metadata, netns) = held.map_err(Error::Enter)?;
        Ok(Self { identity: (metadata.dev(), metadata.ino()), netns })
    }

    /// Works in this namespace: here where the thread is in it, else on a thread that ends there.
    fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T, Error> {
        let own = fs::metadata(OWN).map_err(Error::Enter)?;
        if (own.dev(), own.ino()) == self.identity {
            return Ok(work());
        }
        let enter = || setns(self.netns.as_fd(), CloneFlags::CLONE_NEWNET).map_err(io::Error::from);
        std::thread::scope(|scope| {
            let thread = std::thread::Builder::new().spawn_scoped(scope, || enter().map(|()| work()));
            let done = thread.map_err(Error::Enter)?.join();
            done.unwrap_or_else(|panic| std::panic::resume_unwind(panic)).map_err(Error::Enter)
        })
    }

    fn write(&self, path: PathBuf, value: &str) -> Result<(), Error> {
        let written = self.run(|| fs::write(&path, value))?;
        written.map_err(|source| Error::Setting { path, source })
    }

    /// Netlink tells of this setting, but does not change it.
    pub(super) fn enable_forwarding(&self, family: Family) -> Result<(), Error> {
        let path = match family {
            Family::V4 => "/proc/sys/net/ipv4/ip_forward",
            Family::V6 => "/proc/sys/net/ipv6/conf/all/forwarding",
        };
        self.write(path.into(), "1")
    }

    /// Netlink tells of this setting, but does not change it.
    pub(super) fn ignore_routers(&self, link: &IfName) -> Result<(), Error> {
        self.write(Path::new("/proc/sys/net/ipv6/conf").join(link.as_str()).join("accept_ra"), "0")
    }
}

/// The two settings of bridge netfilter, which only files tell.
///
/// A file below `/proc/sys/net` belongs to the namespace it was opened in, so one that is held open can be
/// read from any thread.
#[derive(Debug, Default)]
pub(super) struct BridgeNetfilterFiles {
    held: Option<[File; 2]>,
}

impl BridgeNetfilterFiles {
    pub(super) fn read(&mut self, home: &Home) -> Result<BridgeNetfilter, Error> {
        let seen = self.held.as_ref().and_then(|files| both(files).ok());
        if let Some(seen) = seen {
            return Ok(seen);
        }
        // Never opened, or closed by the kernel because its module was taken out since.
        self.held = home.run(open)?;
        Ok(self.held.as_ref().and_then(|files| both(files).ok()).unwrap_or_default())
    }
}

fn open() -> Option<[File; 2]> {
    let iptables = File::open("/proc/sys/net/bridge/bridge-nf-call-iptables").ok()?;
    let ip6tables = File::open("/proc/sys/net/bridge/bridge-nf-call-ip6tables").ok()?;
    Some([iptables, ip6tables])
}

fn both([iptables, ip6tables]: &[File; 2]) -> io::Result<BridgeNetfilter> {
    Ok(BridgeNetfilter { iptables: Some(is_on(iptables)?), ip6tables: Some(is_on(ip6tables)?) })
}

fn is_on(file: &File) -> io::Result<bool> {
    let mut text = [0; 12];
    let length = file.read_at(&mut text, 0)?;
    Ok(text[..length].trim_ascii() != b"0")
}
