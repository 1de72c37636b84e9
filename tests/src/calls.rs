//! The system calls of the command and of the programs that it starts, and how the kernel refuses each.

/// The errors that a call may well come back with, the likeliest first.
#[rustfmt::skip]
pub(crate) const REFUSALS: [(&str, &[&str]); 58] = [
    ("access", &["EACCES", "ENOENT"]),
    ("bind", &["EADDRINUSE", "EPERM", "ENOMEM"]),
    ("chdir", &["EACCES", "ENOENT"]),
    ("chmod", &["EPERM", "EROFS"]),
    ("clock_nanosleep", &["EINTR"]),
    ("clone", &["EAGAIN", "ENOMEM"]),
    ("clone3", &["EAGAIN", "ENOMEM"]),
    ("connect", &["ECONNREFUSED", "EPERM", "EINTR"]),
    ("dup2", &["EMFILE", "EINTR"]),
    ("execve", &["EACCES", "ENOENT", "ENOMEM"]),
    ("faccessat2", &["EACCES", "ENOENT"]),
    ("fchmod", &["EPERM", "EROFS"]),
    ("fcntl", &["EINVAL", "EMFILE"]),
    ("flock", &["ENOLCK", "EINTR"]),
    ("fstatfs", &["EIO", "ENOSYS"]),
    ("fsync", &["EIO", "ENOSPC", "EINTR"]),
    ("ftruncate", &["EIO", "ENOSPC", "EINTR"]),
    ("getdents64", &["EIO", "ENOMEM"]),
    ("getpeername", &["ENOTCONN", "ENOBUFS"]),
    ("getrandom", &["ENOSYS", "EINTR"]),
    ("getsockname", &["ENOBUFS"]),
    ("getsockopt", &["ENOPROTOOPT", "ENOMEM"]),
    ("ioctl", &["EIO", "EPERM", "ENODEV"]),
    ("lseek", &["EINVAL", "ESPIPE"]),
    ("memfd_create", &["EMFILE", "ENOMEM"]),
    ("mkdir", &["ENOSPC", "EROFS"]),
    ("mkdirat", &["ENOSPC", "EROFS", "EACCES"]),
    ("mount", &["EPERM", "ENOMEM"]),
    ("newfstatat", &["EACCES", "ENOMEM"]),
    ("openat", &["EMFILE", "EACCES", "ENOSPC", "EINTR"]),
    ("openat2", &["EMFILE", "EACCES", "EAGAIN"]),
    ("pidfd_open", &["EMFILE", "ESRCH"]),
    ("pipe2", &["EMFILE", "ENFILE"]),
    ("poll", &["ENOMEM", "EINTR"]),
    ("prctl", &["EPERM", "EINVAL"]),
    ("pread64", &["EIO", "EINTR"]),
    ("prlimit64", &["EPERM"]),
    ("pselect6", &["ENOMEM", "EINTR"]),
    ("pwrite64", &["ENOSPC", "EIO", "EINTR"]),
    ("read", &["EIO", "EINTR", "EAGAIN"]),
    ("readlink", &["EACCES", "ENOENT"]),
    ("recvfrom", &["ENOBUFS", "EINTR", "EAGAIN"]),
    ("recvmsg", &["ENOBUFS", "EINTR", "ENOMEM"]),
    ("renameat", &["ENOSPC", "EROFS", "EIO"]),
    ("renameat2", &["ENOSPC", "EROFS", "EIO"]),
    ("sendmsg", &["ENOBUFS", "EPERM", "EINTR"]),
    ("sendto", &["ENOBUFS", "EPERM", "ENOMEM", "EINTR"]),
    ("setns", &["EPERM", "ENOMEM"]),
    ("setsockopt", &["ENOPROTOOPT", "ENOMEM"]),
    ("socket", &["EMFILE", "EPERM", "ENOBUFS"]),
    ("socketpair", &["EMFILE", "ENOBUFS"]),
    ("statx", &["EACCES", "ENOMEM"]),
    ("umount2", &["EBUSY", "EPERM"]),
    ("unlink", &["EBUSY", "EROFS"]),
    ("unlinkat", &["EBUSY", "EROFS", "EIO"]),
    ("unshare", &["EPERM", "ENOSPC"]),
    ("wait4", &["ECHILD", "EINTR"]),
    ("write", &["ENOSPC", "EIO", "EINTR", "EPIPE"]),
];

/// Calls that are not refused here: the kernel cannot refuse them, or they are how the C library and the
/// runtime begin and end a process and a thread and get memory, before and after any work of ours.
/// A `close` that returns an error has closed all the same, which cannot be played.
pub(crate) const BEYOND: [&str; 33] = [
    "arch_prctl",
    "brk",
    "close",
    "exit",
    "exit_group",
    "futex",
    "getegid",
    "geteuid",
    "getgid",
    "getpgrp",
    "getpid",
    "getppid",
    "getsid",
    "gettid",
    "getuid",
    "madvise",
    "mmap",
    "mprotect",
    "mremap",
    "munmap",
    "restart_syscall",
    "rseq",
    "rt_sigaction",
    "rt_sigprocmask",
    "rt_sigreturn",
    "sched_getaffinity",
    "sched_yield",
    "set_robust_list",
    "set_tid_address",
    "sigaltstack",
    "sysinfo",
    "umask",
    "uname",
];

/// What fails once and goes on failing: a full disk, no memory for messages, no descriptors, no rights.
pub(crate) const LASTING: [(&str, &str); 8] = [
    ("clone3", "EAGAIN"),
    ("openat", "EMFILE"),
    ("renameat", "ENOSPC"),
    ("sendto", "ENOBUFS"),
    ("setns", "EPERM"),
    ("socket", "EMFILE"),
    ("unlinkat", "EROFS"),
    ("write", "ENOSPC"),
];

/// The calls of attach and detach that change anything outside the process, and how it ends.
pub(crate) const CHANGING: [&str; 12] = [
    "flock",
    "fsync",
    "ftruncate",
    "ioctl",
    "mkdirat",
    "openat",
    "renameat",
    "renameat2",
    "sendto",
    "unlinkat",
    "write",
    "exit_group",
];

/// Refusals that `iptables-restore` does not tell of. Where it cannot ask the kernel which revisions of a match there
/// are, it takes the oldest, and finds the rule by its own words no more, whoever asks. Where it is interrupted while it
/// reads the kernel's answer, it sends all once more, though it is done; the kernel interrupts nobody who has no handler
/// for a signal.
pub(crate) const SWALLOWED: [(&str, &str); 4] =
    [("socket", "EMFILE"), ("socket", "EPERM"), ("socket", "ENOBUFS"), ("recvmsg", "EINTR")];

/// Whether this call is known, be it as one that is not refused.
pub(crate) fn is_known(call: &str) -> bool {
    REFUSALS.iter().any(|(known, _)| *known == call) || BEYOND.contains(&call)
}
