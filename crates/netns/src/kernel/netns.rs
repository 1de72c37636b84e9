//! One open network namespace.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use linkspan_netlink::{Family, Socket};
use nix::libc::O_PATH;

use super::pin::{self, Whose};
use super::procfs::{self, Me, Process, Spot};
use super::{identity, visit};
use crate::{Cookie, Error, Pid, Place};

/// Holds a network namespace open, and knows which one it is.
///
/// The namespace lives at least as long as this value, or a pin, a process or a socket inside it.
/// A value is proof that the file behind it is a network namespace and that the caller may enter it.
///
/// ```
/// use linkspan_netns::NetNs;
///
/// let here = NetNs::current()?;
/// let inside = here.run(|| NetNs::current().map(|netns| netns.cookie()))??;
/// assert_eq!(inside, here.cookie());
/// # Ok::<(), linkspan_netns::Error>(())
/// ```
#[derive(Debug)]
pub struct NetNs {
    fd: OwnedFd,
    cookie: Cookie,
    place: Option<Place>,
    /// Opened on the thread that was inside anyway, for whoever comes first.
    route: Mutex<Option<Socket>>,
}

impl NetNs {
    /// Opens the namespace that the calling thread is in.
    ///
    /// # Errors
    ///
    /// [`Error::Open`] or [`Error::Proc`] where `/proc` is not mounted, [`Error::KernelTooOld`].
    pub fn current() -> Result<Self, Error> {
        let me = Me::look()?;
        let fd = open_own()?;
        let cookie = identity::cookie_here()?;
        // Another thread, the first one included, may have been moved elsewhere.
        let place = if identity::is_at(fd.as_fd(), Path::new(procfs::PROCESS_NETNS)) {
            Process::open(me.pid)?.place()?
        } else {
            Place::Path(me.thread_netns())
        };
        Ok(Self { fd, cookie, place: Some(place), route: Mutex::default() })
    }

    /// The same without its [`place`](Self::place), which takes most of the time: for who does not tell others of it.
    ///
    /// # Errors
    ///
    /// As [`current`](Self::current).
    ///
    /// ```
    /// use linkspan_netns::NetNs;
    ///
    /// let here = NetNs::here()?;
    /// assert_eq!(here.cookie(), NetNs::current()?.cookie());
    /// assert!(here.is_here() && here.place().is_none());
    /// # Ok::<(), linkspan_netns::Error>(())
    /// ```
    pub fn here() -> Result<Self, Error> {
        let here = Self::look_here()?;
        // Going where one is moves nothing, and tells who may not: his socket would tell him too late.
        if visit::move_to(here.as_fd()).is_err() {
            drop(here.take_route());
        }
        Ok(here)
    }

    fn look_here() -> Result<Self, Error> {
        let (cookie, route) = look_around()?;
        // The socket knows its namespace, and without a way through `/proc`.
        let known = route.as_ref().and_then(|route| route.netns().ok());
        let fd = known.map_or_else(open_own, Ok)?;
        Ok(Self { fd, cookie, place: None, route: Mutex::new(route) })
    }

    /// Opens the namespace at `path`: a pin, or a link below `/proc`.
    ///
    /// A relative path, `/proc/self` and `/dev/fd` are followed as the calling thread sees them, and the
    /// [`place`](Self::place) says the same for other processes.
    ///
    /// # Errors
    ///
    /// [`Error::Open`], [`Error::NotANetNs`] for any other file, [`Error::NoProcess`] for a `/proc/PID/ns/net`
    /// of nobody, [`Error::Enter`] where the caller may not go in.
    ///
    /// ```
    /// use linkspan_netns::{Error, NetNs};
    ///
    /// let netns = NetNs::open("/proc/self/ns/net")?;
    /// assert_eq!(netns.cookie(), NetNs::current()?.cookie());
    ///
    /// assert!(matches!(NetNs::open("/proc/self/ns/uts"), Err(Error::NotANetNs { .. })));
    /// # Ok::<(), Error>(())
    /// ```
    pub fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        match Me::look()?.spot(&absolute(path.as_ref())?) {
            Spot::Process(pid) => Self::of_pid(pid),
            Spot::Path(path) => Self::identify(open_file(&path)?, Some(Place::Path(path))),
        }
    }

    /// Opens the namespace at `path` as [`open`](Self::open) does, and looks at it on the calling thread, which goes there
    /// and comes back `home`, where it is. That saves a thread: for a program that has just one, and ends where this
    /// fails.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open). Where it is [`Error::Enter`], the thread may have stayed there.
    ///
    /// ```no_run
    /// use linkspan_netns::NetNs;
    ///
    /// let home = NetNs::here()?;
    /// let web = NetNs::open_lent("/run/netns/web", &home)?;
    /// assert!(home.is_here() && !web.is_here());
    /// # Ok::<(), linkspan_netns::Error>(())
    /// ```
    pub fn open_lent(path: impl AsRef<Path>, home: &Self) -> Result<Self, Error> {
        let Spot::Path(path) = Me::look()?.spot(&absolute(path.as_ref())?) else { return Self::open(path) };
        let fd = open_file(&path)?;
        visit::move_to(fd.as_fd())?;
        let seen = look_around();
        visit::move_to(home.as_fd())?;
        let (cookie, route) = seen?;
        Ok(Self { fd, cookie, place: Some(Place::Path(path)), route: Mutex::new(route) })
    }

    /// Opens the namespace that process `pid` is in.
    ///
    /// # Errors
    ///
    /// [`Error::NoProcess`], [`Error::Open`] where the caller may not look at the process,
    /// [`Error::Enter`] where it may not go in.
    ///
    /// ```
    /// use linkspan_netns::{NetNs, Pid, Place};
    ///
    /// let pid = Pid::new(std::process::id()).expect("a running process has a number");
    /// let netns = NetNs::of_pid(pid)?;
    /// assert_eq!(netns.cookie(), NetNs::current()?.cookie());
    /// assert!(matches!(netns.place(), Some(Place::Process { pid: found, .. }) if *found == pid));
    /// # Ok::<(), linkspan_netns::Error>(())
    /// ```
    pub fn of_pid(pid: Pid) -> Result<Self, Error> {
        let process = Process::open(pid)?;
        Self::identify(process.netns()?, Some(process.place()?))
    }

    /// Takes over an open file that is a network namespace. It has no [`place`](Self::place).
    ///
    /// # Errors
    ///
    /// [`Error::NotANetNs`] for any other file, [`Error::Enter`] where the caller may not go in.
    ///
    /// ```
    /// use linkspan_netns::{Error, NetNs};
    ///
    /// let file = std::fs::File::open("/proc/self/ns/net")?;
    /// assert_eq!(NetNs::from_fd(file.into())?.cookie(), NetNs::current()?.cookie());
    ///
    /// let file = std::fs::File::open("/dev/null")?;
    /// assert!(matches!(NetNs::from_fd(file.into()), Err(Error::NotANetNs { .. })));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn from_fd(fd: OwnedFd) -> Result<Self, Error> {
        Self::identify(fd, None)
    }

    /// Makes a namespace that nothing but the returned value holds: it ends with it, unless it is pinned
    /// or a process has joined it. Its links are `lo`, which is down, and what the kernel adds everywhere.
    ///
    /// # Errors
    ///
    /// [`Error::Create`], with permission denied for an ordinary user.
    pub fn create_anonymous() -> Result<Self, Error> {
        visit::alone(Self::make_here)?
    }

    /// Moves the calling thread into a namespace that is made.
    pub(super) fn make_here() -> Result<Self, Error> {
        visit::leave_network()?;
        Self::look_here()
    }

    /// Makes a namespace and pins it at `path`, as `ip netns add` does: see [`pin`](Self::pin).
    ///
    /// # Errors
    ///
    /// [`Error::Create`], and as [`pin`](Self::pin). Whatever the error, nothing is left.
    ///
    /// ```no_run
    /// use linkspan_netns::NetNs;
    ///
    /// let netns = NetNs::create("/run/netns/web")?;
    /// assert_eq!(NetNs::open("/run/netns/web")?.cookie(), netns.cookie());
    /// NetNs::unpin("/run/netns/web")?;
    /// # Ok::<(), linkspan_netns::Error>(())
    /// ```
    pub fn create(path: impl AsRef<Path>) -> Result<Self, Error> {
        Self::create_anonymous()?.pin(path)
    }

    /// Gives the namespace a name in the file system that keeps it alive, and returns it as found there.
    ///
    /// The file must not exist; missing folders above it are made (0755). In `/run/netns`, which is shared
    /// with `ip netns`, the folder becomes a shared mount of its own first, as that program wants it. A pin
    /// elsewhere is seen from other mount namespaces only where the mount it is in is shared with them.
    ///
    /// # Errors
    ///
    /// [`Error::Exists`] where there is a file already, [`Error::FolderLocked`] where somebody else holds the lock of
    /// `/run/netns` for five seconds, [`Error::Pin`]. Whatever the error, nothing is left.
    pub fn pin(&self, path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = absolute(path.as_ref())?;
        let twin = self.try_clone()?;
        pin::pin(self.as_fd(), &path)?;
        let route = Mutex::new(self.take_route());
        Ok(Self { place: Some(Place::Path(path)), route, ..twin })
    }

    /// Removes the pin at `path`; one that is already gone is fine.
    ///
    /// The namespace lives on as long as something else holds it. What a process killed in the middle of
    /// [`pin`](Self::pin) left there, an empty file, is removed too. Folders stay.
    ///
    /// # Errors
    ///
    /// [`Error::NotAPin`] for a folder, a link or a file with contents, which is not touched, [`Error::Unpin`].
    pub fn unpin(path: impl AsRef<Path>) -> Result<(), Error> {
        pin::unpin(&absolute(path.as_ref())?, Whose::Anyones)
    }

    /// Removes the pin at `path` as [`unpin`](Self::unpin) does, where it is one of this namespace: where another is
    /// pinned there meanwhile, that one stays.
    ///
    /// # Errors
    ///
    /// As [`unpin`](Self::unpin).
    ///
    /// ```no_run
    /// use linkspan_netns::NetNs;
    ///
    /// let first = NetNs::create("/run/netns/web")?;
    /// NetNs::unpin("/run/netns/web")?;
    /// let second = NetNs::create("/run/netns/web")?;
    /// first.unpin_from("/run/netns/web")?;
    /// assert_eq!(NetNs::open("/run/netns/web")?.cookie(), second.cookie());
    /// # Ok::<(), linkspan_netns::Error>(())
    /// ```
    pub fn unpin_from(&self, path: impl AsRef<Path>) -> Result<(), Error> {
        pin::unpin(&absolute(path.as_ref())?, Whose::Of(self.as_fd()))
    }

    /// Runs `inside` in the namespace, on a thread that ends there, and waits for what it returns.
    ///
    /// The calling thread does not move. The closure may borrow from the caller. Sockets that it opens and
    /// returns stay in the namespace, so a long-lived program comes here once. A panic of the closure goes
    /// on in the caller.
    ///
    /// # Errors
    ///
    /// [`Error::Enter`], [`Error::Thread`]; `inside` has not run then.
    ///
    /// ```
    /// use linkspan_netns::NetNs;
    ///
    /// let listener = NetNs::current()?.run(|| std::net::TcpListener::bind(("127.0.0.1", 0)))??;
    /// assert!(listener.local_addr()?.ip().is_loopback());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn run<T: Send>(&self, inside: impl FnOnce() -> T + Send) -> Result<T, Error> {
        visit::alone(|| {
            visit::enter(self.as_fd())?;
            Ok(inside())
        })?
    }

    /// Tells whether the calling thread is in the namespace, and so needs no other thread to work there.
    ///
    /// ```
    /// use linkspan_netns::NetNs;
    ///
    /// let here = NetNs::current()?;
    /// assert!(here.is_here());
    /// # if let Ok(elsewhere) = NetNs::create_anonymous() { // an ordinary user may not
    /// assert!(!elsewhere.is_here());
    /// assert!(elsewhere.run(|| elsewhere.is_here())?);
    /// # }
    /// # Ok::<(), linkspan_netns::Error>(())
    /// ```
    #[must_use]
    pub fn is_here(&self) -> bool {
        identity::is_at(self.as_fd(), Path::new(procfs::THREAD_NETNS))
    }

    /// Tells whether a socket was opened in the namespace: for who opens one anyway, and would know where he is.
    ///
    /// # Errors
    ///
    /// [`Error::Cookie`], [`Error::KernelTooOld`].
    ///
    /// ```
    /// use linkspan_netns::NetNs;
    ///
    /// let socket = std::net::UdpSocket::bind(("127.0.0.1", 0))?;
    /// assert!(NetNs::current()?.holds(&socket)?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn holds(&self, socket: &impl AsFd) -> Result<bool, Error> {
        Ok(identity::cookie_of(socket)? == self.cookie)
    }

    /// Returns the namespace's identity.
    #[must_use]
    pub const fn cookie(&self) -> Cookie {
        self.cookie
    }

    /// Returns where another process finds the namespace, if that is known.
    #[must_use]
    pub const fn place(&self) -> Option<&Place> {
        self.place.as_ref()
    }

    /// Hands out the routing socket that was opened in the namespace when it was made or opened, so that nobody
    /// needs to go there for one. There is one, for whoever comes first; none for a namespace that was
    /// [found](Self::open) by a thread in it, nor for whoever may not enter where he [is](Self::here).
    #[must_use]
    pub fn take_route(&self) -> Option<Socket> {
        self.route.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Opens the same namespace once more.
    ///
    /// # Errors
    ///
    /// [`Error::Duplicate`] where the process has no descriptor left.
    pub fn try_clone(&self) -> Result<Self, Error> {
        let fd = self.fd.try_clone().map_err(|source| Error::Duplicate { source })?;
        Ok(Self { fd, cookie: self.cookie, place: self.place.clone(), route: Mutex::default() })
    }

    fn identify(fd: OwnedFd, place: Option<Place>) -> Result<Self, Error> {
        refuse_others(fd.as_fd())?;
        let (cookie, route) = if identity::is_at(fd.as_fd(), Path::new(procfs::THREAD_NETNS)) {
            (identity::cookie_here()?, None)
        } else {
            visit::alone(|| {
                visit::move_to(fd.as_fd())?;
                look_around()
            })??
        };
        Ok(Self { fd, cookie, place, route: Mutex::new(route) })
    }
}

impl AsFd for NetNs {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl From<NetNs> for OwnedFd {
    fn from(netns: NetNs) -> Self {
        netns.fd
    }
}

impl Place {
    /// Opens the network namespace that is at this place; `None` where it is gone.
    ///
    /// Gone is a path where there is nothing, or something else than a network namespace, and a process that
    /// is no more, or whose number has passed to another. Whether what is found is the namespace that once
    /// was there, its cookie tells.
    ///
    /// # Errors
    ///
    /// [`Error::Open`], [`Error::Enter`] where the caller may not look.
    ///
    /// ```
    /// use linkspan_netns::{NetNs, Place};
    ///
    /// let netns = NetNs::current()?;
    /// let (place, cookie) = (netns.place().expect("a process can be found"), netns.cookie());
    /// assert!(place.find()?.is_some_and(|found| found.cookie() == cookie));
    ///
    /// assert!(Place::Path("/nowhere".into()).find()?.is_none());
    /// # Ok::<(), linkspan_netns::Error>(())
    /// ```
    pub fn find(&self) -> Result<Option<NetNs>, Error> {
        match self.look() {
            Err(Error::NotANetNs { .. } | Error::NoProcess { .. }) => Ok(None),
            Err(Error::Open { source, .. }) if procfs::is_absence(&source) => Ok(None),
            found => found,
        }
    }

    fn look(&self) -> Result<Option<NetNs>, Error> {
        match self {
            Self::Path(path) => NetNs::open(path).map(Some),
            Self::Process { pid, .. } => {
                let process = Process::open(*pid)?;
                // First, as another user's process that has the number may not be looked into any further.
                if process.place()? != *self {
                    return Ok(None);
                }
                NetNs::identify(process.netns()?, Some(self.clone())).map(Some)
            }
        }
    }
}

/// What a thread that came to a namespace brings from there.
fn look_around() -> Result<(Cookie, Option<Socket>), Error> {
    // Without one, whoever needs it opens another, and hears why that cannot be.
    let route = Socket::open(Family::Route).ok();
    let cookie = route.as_ref().map_or_else(identity::cookie_here, identity::cookie_of)?;
    Ok((cookie, route))
}

fn absolute(path: &Path) -> Result<PathBuf, Error> {
    std::path::absolute(path).map_err(|source| Error::Open { path: path.into(), source })
}

/// Refuses a file that is no namespace; one that cannot be looked at may well be one.
fn refuse_others(file: BorrowedFd<'_>) -> Result<(), Error> {
    match identity::is_namespace(file) {
        Ok(true) => Ok(()),
        Ok(false) => Err(Error::NotANetNs { path: procfs::name_of(file) }),
        Err(source) => Err(Error::Open { path: procfs::name_of(file), source }),
    }
}

/// Opens the namespace of the calling thread.
fn open_own() -> Result<OwnedFd, Error> {
    let own = File::open(procfs::THREAD_NETNS).map(OwnedFd::from);
    let own = own.map_err(|source| Error::Open { path: procfs::THREAD_NETNS.into(), source })?;
    // Below a `/proc` that is something else, say.
    refuse_others(own.as_fd())?;
    Ok(own)
}

/// Opens a file that is a namespace, of whatever kind.
///
/// Anything else is looked at and not opened: that would wait for the other end of a pipe, rewind a tape, or set a
/// watchdog going.
fn open_file(path: &Path) -> Result<OwnedFd, Error> {
    let open = |at: &Path, flags| {
        let opened = OpenOptions::new().read(true).custom_flags(flags).open(at);
        opened.map(OwnedFd::from).map_err(|source: io::Error| Error::Open { path: path.into(), source })
    };
    let found = open(path, O_PATH)?;
    refuse_others(found.as_fd())?;
    open(&procfs::path_of(found.as_fd()), 0)
}
