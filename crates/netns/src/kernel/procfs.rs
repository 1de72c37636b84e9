//! What `/proc` says of processes, threads and open files.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, open, openat};
use nix::sys::stat::Mode;

use crate::{Error, Pid, Place, StartTime};

/// The network namespace of the thread that looks.
pub(super) const THREAD_NETNS: &str = "/proc/thread-self/ns/net";

/// The network namespace of the first thread of the process that looks.
pub(super) const PROCESS_NETNS: &str = "/proc/self/ns/net";

/// The calling thread, as `/proc` numbers it: that need not be the numbers of its own PID namespace.
#[derive(Clone, Copy, Debug)]
pub(super) struct Me {
    pub(super) pid: Pid,
    tid: Pid,
}

/// What a path names, said so that every process understands it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Spot {
    Process(Pid),
    Path(PathBuf),
}

impl Me {
    pub(super) fn look() -> Result<Self, Error> {
        let path = PathBuf::from("/proc/thread-self");
        let link = path.read_link().map_err(|source| Error::Proc { path: path.clone(), source })?;
        Self::of_link(&link).ok_or_else(|| Error::Proc { path, source: io::ErrorKind::InvalidData.into() })
    }

    /// Reads `PID/task/TID`.
    fn of_link(link: &Path) -> Option<Self> {
        let (pid, tid) = link.to_str()?.split_once("/task/")?;
        Some(Self { pid: pid.parse().ok()?, tid: tid.parse().ok()? })
    }

    pub(super) fn thread_netns(self) -> PathBuf {
        format!("/proc/{}/task/{}/ns/net", self.pid, self.tid).into()
    }

    /// Replaces what means something else to another process.
    pub(super) fn spot(self, path: &Path) -> Spot {
        let own = [
            ("/proc/self", format!("/proc/{}", self.pid)),
            ("/proc/thread-self", format!("/proc/{}/task/{}", self.pid, self.tid)),
            ("/dev/fd", format!("/proc/{}/fd", self.pid)),
        ];
        let path = own
            .iter()
            .find_map(|(own, theirs)| path.strip_prefix(own).ok().map(|rest| Path::new(theirs).join(rest)))
            .unwrap_or_else(|| path.to_path_buf());
        process_of(&path).map_or(Spot::Path(path), Spot::Process)
    }
}

/// Reads `/proc/PID/ns/net`.
fn process_of(path: &Path) -> Option<Pid> {
    path.to_str()?.strip_prefix("/proc/")?.strip_suffix("/ns/net")?.parse().ok()
}

/// A process's folder in `/proc`, held open: whatever number it has, what is read is of one process.
#[derive(Debug)]
pub(super) struct Process {
    pid: Pid,
    folder: OwnedFd,
}

impl Process {
    pub(super) fn open(pid: Pid) -> Result<Self, Error> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        match open(format!("/proc/{pid}").as_str(), flags, Mode::empty()) {
            Ok(folder) => Ok(Self { pid, folder }),
            Err(errno) => Err(refused(pid, "", errno.into())),
        }
    }

    pub(super) fn place(&self) -> Result<Place, Error> {
        Ok(Place::Process { pid: self.pid, start_time: self.start_time()? })
    }

    fn start_time(&self) -> Result<StartTime, Error> {
        let mut stat = Vec::new();
        File::from(self.file("stat")?)
            .read_to_end(&mut stat)
            .map_err(|source| refused(self.pid, "stat", source))?;
        StartTime::of_stat(&stat).ok_or_else(|| refused(self.pid, "stat", io::ErrorKind::InvalidData.into()))
    }

    pub(super) fn netns(&self) -> Result<OwnedFd, Error> {
        self.file("ns/net")
    }

    fn file(&self, name: &str) -> Result<OwnedFd, Error> {
        openat(&self.folder, name, OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())
            .map_err(|errno| refused(self.pid, name, errno.into()))
    }
}

fn refused(pid: Pid, name: &str, source: io::Error) -> Error {
    if is_absence(&source) {
        return Error::NoProcess { pid };
    }
    Error::Open { path: Path::new("/proc").join(pid.to_string()).join(name), source }
}

/// Tells whether the kernel says that there is no such file or process.
pub(super) fn is_absence(error: &io::Error) -> bool {
    matches!(error.raw_os_error().map(Errno::from_raw), Some(Errno::ENOENT | Errno::ENOTDIR | Errno::ESRCH))
}

/// Gives the path that leads to an open file itself, whatever has become of its name.
pub(super) fn path_of(fd: BorrowedFd<'_>) -> PathBuf {
    format!("/proc/thread-self/fd/{}", fd.as_raw_fd()).into()
}

/// Names an open file for an error message.
pub(super) fn name_of(fd: BorrowedFd<'_>) -> PathBuf {
    let path = path_of(fd);
    path.read_link().unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn me() -> Me {
        Me::of_link(Path::new("40/task/41")).unwrap()
    }

    #[track_caller]
    fn check(path: &str, expected: &str) {
        let found = match me().spot(Path::new(path)) {
            Spot::Process(pid) => format!("process {pid}"),
            Spot::Path(path) => path.display().to_string(),
        };
        assert_eq!(found, expected, "of {path}");
    }

    #[test]
    fn a_process_is_named_by_its_number() {
        check("/proc/self/ns/net", "process 40");
        check("/proc/7/ns/net", "process 7");
    }

    #[test]
    fn a_thread_and_an_open_file_are_named_for_other_processes() {
        check("/proc/thread-self/ns/net", "/proc/40/task/41/ns/net");
        check("/proc/self/task/9/ns/net", "/proc/40/task/9/ns/net");
        check("/proc/self/fd/3", "/proc/40/fd/3");
        check("/dev/fd/3", "/proc/40/fd/3");
    }

    #[test]
    fn other_paths_stay_as_they_are() {
        for path in
            ["/run/netns/web", "/proc/7/ns/uts", "/proc/0/ns/net", "/proc/selfish/ns/net", "/", "/proc"]
        {
            check(path, path);
        }
    }

    #[test]
    fn a_link_of_another_form_is_nobody() {
        for link in ["", "40", "40/task/", "/task/41", "x/task/41", "40/task/41/x"] {
            assert!(Me::of_link(Path::new(link)).is_none(), "{link}");
        }
    }
}
