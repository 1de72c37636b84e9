//! A thread of its own, and what moves it: nothing here runs on a caller's thread.

use std::os::fd::BorrowedFd;
use std::panic::resume_unwind;
use std::path::Path;
use std::thread;

use nix::errno::Errno;
use nix::sched::{CloneFlags, setns, unshare};
use nix::unistd::sethostname;

use super::{identity, procfs};
use crate::{Error, Hostname};

/// Runs `work` on a thread that ends with it, and passes a panic on.
pub(super) fn alone<T: Send>(work: impl FnOnce() -> T + Send) -> Result<T, Error> {
    thread::scope(|scope| {
        let visitor = thread::Builder::new()
            .name("netns".to_owned())
            .spawn_scoped(scope, work)
            .map_err(|source| Error::Thread { source })?;
        visitor.join().map_or_else(|panic| resume_unwind(panic), Ok)
    })
}

/// Moves the calling thread into a namespace. Staying where it is needs no privilege.
pub(super) fn enter(netns: BorrowedFd<'_>) -> Result<(), Error> {
    if identity::is_at(netns, Path::new(procfs::THREAD_NETNS)) {
        return Ok(());
    }
    move_to(netns)
}

/// Moves the calling thread into a namespace that it is not in.
pub(super) fn move_to(netns: BorrowedFd<'_>) -> Result<(), Error> {
    setns(netns, CloneFlags::CLONE_NEWNET).map_err(|errno| match errno {
        // The kernel compares the kind before it asks for the privilege (setns(2)).
        Errno::EINVAL => Error::NotANetNs { path: procfs::name_of(netns) },
        errno => Error::Enter { netns: procfs::name_of(netns), source: errno.into() },
    })
}

/// Moves the calling thread into a network namespace made for it.
pub(super) fn leave_network() -> Result<(), Error> {
    unshare(CloneFlags::CLONE_NEWNET).map_err(|errno| Error::Create { kind: "network", source: errno.into() })
}

/// Moves the calling thread into a UTS namespace made for it, and names the host there.
pub(super) fn leave_uts(hostname: &Hostname) -> Result<(), Error> {
    unshare(CloneFlags::CLONE_NEWUTS).map_err(|errno| Error::Create { kind: "UTS", source: errno.into() })?;
    sethostname(hostname.as_str())
        .map_err(|errno| Error::SetHostname { hostname: hostname.clone(), source: errno.into() })
}
