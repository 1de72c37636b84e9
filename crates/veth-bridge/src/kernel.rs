//! The door to the running kernel: sees and performs, and holds no opinion.
//!
//! [`Links`] works in one host namespace from whatever thread it is used on, and keeps its socket open.
//! [`Inside`] does the same for one container's namespace.

mod apply;
mod device;
mod home;
mod neighbours;
mod observe;
mod read;
mod survey;
mod uapi;
mod write;

pub use apply::ApplyError;

use crate::survey::Survey;
use crate::{Error, Look, Plan, Seen, Snapshot, Space};
use home::{Home, Settings};
use linkspan_netlink::{Family, Socket};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// The links of a host's namespace.
///
/// Closing it costs next to nothing; a long-lived process keeps one for each thread that attaches.
///
/// ```no_run
/// use linkspan_veth_bridge::{Bridge, Look, Mac, Mtu, kernel::Links, plan};
///
/// let mut links = Links::open()?;
/// let bridge = Bridge::new("br-web".parse()?, Mac::of_address("10.88.0.1".parse()?), Mtu::ETHERNET)
///     .with_address("10.88.0.1/24".parse()?);
/// let seen = links.observe(&Look::at_bridge(&bridge), None)?;
/// let plan = plan::bridge(&bridge, &seen)?;
/// print!("{plan}");
/// links.apply(&plan, None)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Links {
    route: Socket,
    home: Home,
    settings: Settings,
}

impl Links {
    /// Opens the namespace that the calling thread is in.
    ///
    /// # Errors
    /// [`Error::Open`], [`Error::Enter`].
    pub fn open() -> Result<Self, Error> {
        let home = Home::here()?;
        let route = Socket::open(Family::Route).map_err(Error::Open)?;
        Ok(Self { route, home, settings: Settings::default() })
    }

    /// Opens this namespace.
    ///
    /// # Errors
    /// [`Error::Open`], [`Error::Enter`].
    pub fn open_in(host: BorrowedFd<'_>) -> Result<Self, Error> {
        let home = Home::of(host)?;
        let route = Socket::open_in(host, Family::Route).map_err(Error::Open)?;
        Ok(Self { route, home, settings: Settings::default() })
    }

    /// Opens this namespace with a routing socket that was opened in it.
    ///
    /// # Errors
    /// [`Error::Enter`].
    pub fn with(host: BorrowedFd<'_>, route: Socket) -> Result<Self, Error> {
        Ok(Self { route, home: Home::of(host)?, settings: Settings::default() })
    }

    /// Looks at just what a plan needs: a few links of the host, and all of the container.
    ///
    /// # Errors
    /// [`Error::Look`], [`Error::Enter`].
    pub fn observe(&mut self, look: &Look, container: Option<&mut Inside>) -> Result<Seen, Error> {
        observe::seen(self, look, container)
    }

    /// Performs the plan, in as few system calls as the kernel allows.
    ///
    /// The steps of one namespace that follow each other leave together. The kernel goes on after a refusal
    /// among them, but nothing that comes after them is begun. Whoever wants back what was before looks
    /// again, and plans the opposite.
    ///
    /// The links are ready when this returns: the first packet is not held up.
    ///
    /// # Errors
    /// [`ApplyError`] names the first step that was refused.
    pub fn apply(&mut self, plan: &Plan, container: Option<&mut Inside>) -> Result<(), ApplyError> {
        apply::apply(self, plan, container)
    }

    /// Reads all of the host's links, addresses and routes, whose number it grows with.
    ///
    /// # Errors
    /// [`Error::Look`].
    pub fn snapshot(&mut self) -> Result<Snapshot, Error> {
        observe::snapshot(&mut self.route)
    }

    /// Reads all that decides where the host's packets go.
    ///
    /// # Errors
    /// [`Error::Look`], [`Error::Enter`].
    pub fn survey(&mut self) -> Result<Survey, Error> {
        survey::survey(&mut self.route, &self.home)
    }
}

/// So many bytes tell of all that a container may have, such as a hundred thousand routes; one with more is not looked
/// at.
const LONGEST: usize = 16 * 1024 * 1024;

/// The links of a container's namespace.
#[derive(Debug)]
pub struct Inside {
    route: Socket,
    netns: OwnedFd,
}

impl Inside {
    /// Opens this namespace, which lives at least as long as the value does.
    ///
    /// # Errors
    /// [`Error::Open`], [`Error::Enter`].
    pub fn open(netns: BorrowedFd<'_>) -> Result<Self, Error> {
        Self::with(netns, Socket::open_in(netns, Family::Route).map_err(Error::Open)?)
    }

    /// Opens this namespace with a routing socket that was opened in it, which takes no thread.
    ///
    /// # Errors
    /// [`Error::Enter`].
    pub fn with(netns: BorrowedFd<'_>, route: Socket) -> Result<Self, Error> {
        let netns = netns.try_clone_to_owned().map_err(Error::Enter)?;
        Ok(Self { route: route.within(LONGEST), netns })
    }

    /// Opens the namespace that the calling thread is in, which takes no further thread.
    ///
    /// # Errors
    /// [`Error::Open`], [`Error::Enter`].
    pub fn open_here() -> Result<Self, Error> {
        let route = Socket::open(Family::Route).map_err(Error::Open)?.within(LONGEST);
        Ok(Self { route, netns: home::own()?.into() })
    }

    /// Looks at just what a plan needs, as [`Links::observe`]: for who looks at the host while a namespace is made.
    ///
    /// # Errors
    /// [`Error::Look`].
    pub fn observe(&mut self) -> Result<Space, Error> {
        observe::space(&mut self.route)
    }

    /// Reads all of the container's links, addresses and routes.
    ///
    /// # Errors
    /// [`Error::Look`].
    pub fn snapshot(&mut self) -> Result<Snapshot, Error> {
        observe::snapshot(&mut self.route)
    }

    /// Reads all that decides where the container's packets go.
    ///
    /// # Errors
    /// [`Error::Look`], [`Error::Enter`].
    pub fn survey(&mut self) -> Result<Survey, Error> {
        survey::survey(&mut self.route, &Home::of(self.netns.as_fd())?)
    }
}

impl AsFd for Inside {
    /// The namespace.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.netns.as_fd()
    }
}
