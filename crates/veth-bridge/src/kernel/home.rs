//! The host's namespace itself, and its settings below `/proc/sys/net`.

use crate::{BridgeNetfilter, Error, Family, Forwarding};
use linkspan_net_types::IfName;
use nix::sched::{CloneFlags, setns};
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

/// The network namespace of the calling thread.
const OWN: &str = "/proc/thread-self/ns/net";
/// The settings of that namespace.
pub(super) const ALL: &str = "/proc/sys/net";
const FORWARDING_V4: &str = "ipv4/ip_forward";
const FORWARDING_V6: &str = "ipv6/conf/all/forwarding";
const NAMES: [&str; 4] =
    [FORWARDING_V4, FORWARDING_V6, "bridge/bridge-nf-call-iptables", "bridge/bridge-nf-call-ip6tables"];

/// A network namespace that is held open, with what tells it from others while it is.
#[derive(Debug)]
pub(super) struct Home {
    netns: File,
    identity: (u64, u64),
}

impl Home {
    pub(super) fn here() -> Result<Self, Error> {
        own().and_then(Self::of_file)
    }

    pub(super) fn of(netns: BorrowedFd<'_>) -> Result<Self, Error> {
        netns.try_clone_to_owned().map_err(Error::Enter).and_then(|netns| Self::of_file(netns.into()))
    }

    fn of_file(netns: File) -> Result<Self, Error> {
        let metadata = netns.metadata().map_err(Error::Enter)?;
        Ok(Self { identity: (metadata.dev(), metadata.ino()), netns })
    }

    /// Works in this namespace: here where the thread is in it, else on a thread that ends there.
    pub(super) fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T, Error> {
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

    pub(super) fn enable_forwarding(&self, family: Family) -> Result<(), Error> {
        let setting = match family {
            Family::V4 => FORWARDING_V4,
            Family::V6 => FORWARDING_V6,
        };
        self.write(Path::new(ALL).join(setting), "1")
    }

    /// Netlink tells of this setting, but does not change it.
    pub(super) fn ignore_routers(&self, link: &IfName) -> Result<(), Error> {
        self.write(Path::new(ALL).join("ipv6/conf").join(link.as_str()).join("accept_ra"), "0")
    }
}

/// Opens the network namespace of the calling thread.
pub(super) fn own() -> Result<File, Error> {
    File::open(OWN).map_err(Error::Enter)
}

/// The settings of a namespace that matter here, as files that are held open.
///
/// A file below `/proc/sys/net` belongs to the namespace it was opened in, so it can be read from any thread,
/// and as often as wanted in a microsecond.
#[derive(Debug, Default)]
pub(super) struct Settings {
    held: [Option<File>; 4],
}

impl Settings {
    pub(super) fn read(&mut self, home: &Home) -> Result<(Forwarding, BridgeNetfilter), Error> {
        let [v4, v6, iptables, ip6tables] = match self.values() {
            Ok(values) if !values.contains(&None) => values,
            // Never opened, not there, or closed by the kernel because its module was taken out since.
            _ => {
                self.held = home.run(opened)??;
                self.values()?
            }
        };
        Ok((Forwarding { v4: v4.unwrap_or_default(), v6 }, BridgeNetfilter { iptables, ip6tables }))
    }

    fn values(&self) -> Result<[Option<bool>; 4], Error> {
        let mut values = [None; 4];
        for ((value, held), name) in values.iter_mut().zip(&self.held).zip(NAMES) {
            *value = held.as_ref().map_or(Ok(None), |file| where_there(name, is_on(file)))?;
        }
        Ok(values)
    }
}

fn opened() -> Result<[Option<File>; 4], Error> {
    let mut held = [const { None }; 4];
    for (file, name) in held.iter_mut().zip(NAMES) {
        *file = where_there(name, File::open(Path::new(ALL).join(name)))?;
    }
    Ok(held)
}

/// What came of a setting below `/proc/sys/net`; `None` where the kernel does not have it.
pub(super) fn where_there<T>(name: &str, done: io::Result<T>) -> Result<Option<T>, Error> {
    match done {
        Err(refused) if refused.kind() == io::ErrorKind::NotFound => Ok(None),
        done => done.map(Some).map_err(|source| Error::Setting { path: Path::new(ALL).join(name), source }),
    }
}

fn is_on(file: &File) -> io::Result<bool> {
    let mut text = [0; 12];
    let length = file.read_at(&mut text, 0)?;
    Ok(text[..length].trim_ascii() != b"0")
}
