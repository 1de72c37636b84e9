//! Which namespace it is, and whether it is one.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixDatagram;
use std::path::Path;

use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::getsockopt;
use nix::sys::stat::{FileStat, fstat, stat};
use nix::sys::statfs::{NSFS_MAGIC, fstatfs};
// The second expands to the first, by its bare name.
use nix::{getsockopt_impl, sockopt_impl};

use crate::{Cookie, Error};

// The unsafe call is nix's own, and sound here: the kernel writes eight bytes or refuses (`sk_getsockopt`,
// `net/core/sock.c`).
sockopt_impl!(
    /// A socket's network namespace (`include/uapi/asm-generic/socket.h`).
    NetNsCookie,
    GetOnly,
    libc::SOL_SOCKET,
    libc::SO_NETNS_COOKIE,
    u64
);

/// Reads the cookie of the namespace that the calling thread is in.
pub(super) fn cookie_here() -> Result<Cookie, Error> {
    // Every kernel with namespaces has this family, and the option belongs to all of them.
    let socket = UnixDatagram::unbound().map_err(|source| Error::Cookie { source })?;
    cookie_of(&socket)
}

/// Reads the cookie of the namespace that a socket was opened in.
pub(super) fn cookie_of(socket: &impl AsFd) -> Result<Cookie, Error> {
    match getsockopt(socket, NetNsCookie) {
        Ok(cookie) => Ok(Cookie::new(cookie)),
        Err(Errno::ENOPROTOOPT) => Err(Error::KernelTooOld),
        Err(errno) => Err(Error::Cookie { source: errno.into() }),
    }
}

/// Tells whether the file is a namespace, of whatever kind.
pub(super) fn is_namespace(fd: BorrowedFd<'_>) -> io::Result<bool> {
    Ok(fstatfs(fd)?.filesystem_type() == NSFS_MAGIC)
}

/// Tells whether two open files are one namespace. Both are alive while they are open, so the inode decides.
pub(super) fn are_one(one: BorrowedFd<'_>, other: BorrowedFd<'_>) -> io::Result<bool> {
    Ok(is_same(&fstat(one)?, &fstat(other)?))
}

fn is_same(one: &FileStat, other: &FileStat) -> bool {
    (one.st_dev, one.st_ino) == (other.st_dev, other.st_ino)
}

/// Tells whether two files are one namespace. Both are alive while this looks, so the inode decides.
pub(super) fn is_at(fd: BorrowedFd<'_>, path: &Path) -> bool {
    fstat(fd).and_then(|one| Ok(is_same(&one, &stat(path)?))).unwrap_or(false)
}
