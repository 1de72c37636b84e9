//! The identity of a namespace.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Identifies a network namespace from the start of the machine until its end.
///
/// The kernel counts these up (`SO_NETNS_COOKIE`, `include/uapi/asm-generic/socket.h`, Linux 5.14) and
/// never gives one twice before a reboot. An inode number is no identity: it goes to the next namespace as
/// soon as its owner dies.
///
/// Stored as a number. It means nothing after a reboot, so a record keeps it beside the boot's id.
///
/// ```
/// use linkspan_netns::Cookie;
///
/// let cookie = Cookie::new(4097);
/// assert_eq!(cookie.get(), 4097);
/// assert_eq!(cookie.to_string(), "4097");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Cookie(u64);

impl Cookie {
    /// Takes a number that the kernel gave as a cookie.
    #[must_use]
    pub const fn new(cookie: u64) -> Self {
        Self(cookie)
    }

    /// Returns the kernel's number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Cookie {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
