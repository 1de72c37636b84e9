//! The namespace of a socket.

use nix::errno::Errno;
use nix::libc;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// Of `linux/sockios.h`.
const SIOCGSKNS: libc::Ioctl = 0x894c;

#[allow(unsafe_code)]
pub(crate) fn of(socket: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    // SAFETY: SIOCGSKNS has no argument and touches no memory; `socket` is open for the call.
    let opened = unsafe { libc::ioctl(socket.as_raw_fd(), SIOCGSKNS) };
    let opened = Errno::result(opened)?;
    // SAFETY: the kernel made the descriptor for this call alone (`open_related_ns`), with close-on-exec.
    Ok(unsafe { OwnedFd::from_raw_fd(opened) })
}
