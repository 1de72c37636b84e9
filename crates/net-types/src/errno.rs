use std::fmt;
use std::io;

/// The kernel's reason for a refusal, as in `errno(3)`.
///
/// Unlike [`std::io::Error`] it can be compared, copied and kept in a value.
///
/// ```
/// use linkspan_net_types::Errno;
///
/// assert_eq!(Errno::EEXIST.to_string(), "File exists");
/// assert_eq!(Errno::new(17), Errno::EEXIST);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Errno(i32);

impl Errno {
    /// Not permitted.
    pub const EPERM: Self = Self(1);
    /// No such thing: a table, a set, an element.
    pub const ENOENT: Self = Self(2);
    /// Interrupted by a signal.
    pub const EINTR: Self = Self(4);
    /// Would block: nothing to receive.
    pub const EAGAIN: Self = Self(11);
    /// Busy.
    pub const EBUSY: Self = Self(16);
    /// Already there.
    pub const EEXIST: Self = Self(17);
    /// No such link.
    pub const ENODEV: Self = Self(19);
    /// Not a value the kernel takes.
    pub const EINVAL: Self = Self(22);
    /// A bridge holds no more ports.
    pub const EXFULL: Self = Self(54);
    /// A message is larger than the socket sends.
    pub const EMSGSIZE: Self = Self(90);
    /// The kernel lacks the feature.
    pub const EOPNOTSUPP: Self = Self(95);
    /// The address is in use.
    pub const EADDRINUSE: Self = Self(98);
    /// The address is not there.
    pub const EADDRNOTAVAIL: Self = Self(99);
    /// Messages were lost because the socket's buffer was full.
    pub const ENOBUFS: Self = Self(105);
    /// No such route or process.
    pub const ESRCH: Self = Self(3);

    /// The reason with this number, positive as in `errno.h`.
    pub const fn new(number: i32) -> Self {
        Self(number)
    }

    /// Its number.
    pub const fn get(self) -> i32 {
        self.0
    }
}

impl From<Errno> for io::Error {
    fn from(errno: Errno) -> Self {
        Self::from_raw_os_error(errno.0)
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = io::Error::from_raw_os_error(self.0).to_string();
        // std appends the number to the C library's words, which says nothing to an operator.
        f.write_str(text.split(" (os error").next().unwrap_or(&text))
    }
}

impl fmt::Debug for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Errno({}: {self})", self.0)
    }
}

impl std::error::Error for Errno {}
