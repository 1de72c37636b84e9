//! What can go wrong with a namespace.

use std::io;
use std::path::PathBuf;

use crate::{Hostname, Pid};

/// Tells why a namespace could not be had, or a name not be taken.
///
/// Paths are the ones that were given, made absolute; a namespace without one is named as
/// `/proc/self/fd` does, such as `net:[4026531840]`.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The file could not be opened.
    #[error("cannot open network namespace `{}`", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// The kernel's reason.
        source: io::Error,
    },
    /// The file is something else than a network namespace.
    #[error("`{}` is not a network namespace", path.display())]
    NotANetNs {
        /// The file.
        path: PathBuf,
    },
    /// No process has this number, or the one that has it is exiting.
    #[error("there is no process {pid}")]
    NoProcess {
        /// The number.
        pid: Pid,
    },
    /// The caller may not enter the namespace, or the kernel could not let it.
    #[error("cannot enter network namespace `{}`", netns.display())]
    Enter {
        /// The namespace.
        netns: PathBuf,
        /// The kernel's reason; permission is denied without `CAP_SYS_ADMIN` there and here.
        source: io::Error,
    },
    /// The kernel made no namespace.
    #[error("cannot make a {kind} namespace")]
    Create {
        /// Which kind: `network` or `UTS`.
        kind: &'static str,
        /// The kernel's reason; permission is denied without `CAP_SYS_ADMIN`.
        source: io::Error,
    },
    /// There is something at the path already, and it was not touched.
    #[error("`{}` exists", path.display())]
    Exists {
        /// The path.
        path: PathBuf,
    },
    /// The namespace could not be pinned. Nothing is left of the attempt.
    #[error("cannot pin a network namespace at `{}`", path.display())]
    Pin {
        /// Where it was to be pinned.
        path: PathBuf,
        /// The kernel's reason.
        source: io::Error,
    },
    /// Somebody else holds the lock of the folder that is shared with `ip netns`, longer than a mount takes. Nothing is
    /// left of the attempt to pin.
    #[error("somebody else holds the lock of `{}`", path.display())]
    FolderLocked {
        /// The folder: `/run/netns`, as it was named.
        path: PathBuf,
    },
    /// The pin could not be removed.
    #[error("cannot unpin the network namespace at `{}`", path.display())]
    Unpin {
        /// The pin.
        path: PathBuf,
        /// The kernel's reason.
        source: io::Error,
    },
    /// What is at the path is neither a pinned namespace nor what is left of one, and it was not touched.
    #[error("`{}` is not a pin", path.display())]
    NotAPin {
        /// The path.
        path: PathBuf,
    },
    /// The namespace's identity could not be read.
    #[error("cannot read the cookie of a network namespace")]
    Cookie {
        /// The kernel's reason.
        source: io::Error,
    },
    /// The running kernel gives a network namespace no identity.
    #[error("the kernel has no network namespace cookies, Linux 5.14 or newer is needed")]
    KernelTooOld,
    /// `/proc` did not say what every kernel says there.
    #[error("cannot read `{}`", path.display())]
    Proc {
        /// The file below `/proc`.
        path: PathBuf,
        /// The kernel's reason.
        source: io::Error,
    },
    /// A file descriptor could not be duplicated.
    #[error("cannot duplicate the descriptor of a network namespace")]
    Duplicate {
        /// The kernel's reason.
        source: io::Error,
    },
    /// The thread that was to go inside could not be started.
    #[error("cannot start a thread")]
    Thread {
        /// The kernel's reason.
        source: io::Error,
    },
    /// The sandbox's thread is gone.
    #[error("the sandbox has ended")]
    Ended,
    /// The hostname could not be set.
    #[error("cannot set hostname `{hostname}`")]
    SetHostname {
        /// The name.
        hostname: Hostname,
        /// The kernel's reason.
        source: io::Error,
    },
    /// The text has more bytes than the kernel keeps of a hostname.
    #[error("hostname {hostname:?} has {} bytes, more than {}", hostname.len(), Hostname::MAX_BYTES)]
    HostnameTooLong {
        /// The text.
        hostname: String,
    },
    /// A part of the text between two dots is no label of RFC 1123.
    #[error(
        "hostname {hostname:?} has the label {label:?}, which is not 1 to 63 letters, digits and inner hyphens"
    )]
    HostnameLabel {
        /// The text.
        hostname: String,
        /// The first part that is no label.
        label: String,
    },
    /// The text is no number of a process.
    #[error("process number {text:?} is not within 1 to 2147483647")]
    NotAPid {
        /// The text.
        text: String,
    },
}
