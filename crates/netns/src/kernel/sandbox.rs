//! A thread that lives in namespaces of its own.

use std::io;
use std::os::fd::AsFd;
use std::process::{Child, Command};

use super::visit;
use super::worker::Worker;
use crate::{Error, Hostname, NetNs};

/// Runs code and starts programs in namespaces of its own, on one thread that lives as long as it does.
///
/// A program started here is in the namespaces from its first instruction on, so that its network can be
/// made ready before it runs. The namespaces outlive the sandbox as long as such a program runs.
///
/// ```
/// use std::process::{Command, Stdio};
/// use linkspan_netns::{Isolation, NetNs, Sandbox};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # if NetNs::create_anonymous().is_err() { return Ok(()) } // an ordinary user may not
/// let sandbox = Sandbox::start(Isolation::own_network().hostname("web-1".parse()?))?;
///
/// let mut command = Command::new("uname");
/// command.arg("-n").stdout(Stdio::piped());
/// let output = sandbox.spawn(command)?.wait_with_output()?;
/// assert_eq!(output.stdout, b"web-1\n");
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Sandbox {
    netns: NetNs,
    worker: Worker,
}

impl Sandbox {
    /// Starts the thread and moves it where `isolation` says.
    ///
    /// # Errors
    ///
    /// [`Error::Create`] and [`Error::Enter`], with permission denied for an ordinary user,
    /// [`Error::SetHostname`], [`Error::Thread`]. Nothing is left then.
    pub fn start(isolation: Isolation) -> Result<Self, Error> {
        let worker = Worker::start("sandbox")?;
        let netns = worker.run(move || isolation.take_effect())??;
        Ok(Self { netns, worker })
    }

    /// Returns the network namespace that the sandbox is in.
    ///
    /// The place of one of its own is the sandbox's thread, so it is found while the sandbox lives.
    #[must_use]
    pub const fn netns(&self) -> &NetNs {
        &self.netns
    }

    /// Runs `job` in the sandbox and waits for what it returns.
    ///
    /// One job runs at a time. A panic of the job goes on in the caller and leaves the sandbox as it was.
    ///
    /// # Errors
    ///
    /// [`Error::Ended`] where the job ended the sandbox's thread by means of its own.
    ///
    /// ```
    /// use linkspan_netns::{Isolation, NetNs, Sandbox};
    ///
    /// let sandbox = Sandbox::start(Isolation::shared_network())?;
    /// let inside = sandbox.run(NetNs::current)??;
    /// assert_eq!(inside.cookie(), sandbox.netns().cookie());
    /// # Ok::<(), linkspan_netns::Error>(())
    /// ```
    pub fn run<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> Result<T, Error> {
        self.worker.run(job)
    }

    /// Starts a program in the sandbox.
    ///
    /// Any thread may wait for it. A program that asks to be killed with its parent (`PR_SET_PDEATHSIG`)
    /// is killed when the sandbox is dropped: its parent, to the kernel, is the sandbox's thread.
    ///
    /// # Errors
    ///
    /// Those of [`Command::spawn`].
    pub fn spawn(&self, mut command: Command) -> io::Result<Child> {
        self.run(move || command.spawn()).map_err(io::Error::other)?
    }
}

/// Says which namespaces a [`Sandbox`] has of its own.
///
/// ```
/// use linkspan_netns::{Isolation, NetNs};
///
/// let stranger = Isolation::own_network().hostname("web-1".parse()?);
/// let guest = Isolation::joined(NetNs::current()?);
/// # Ok::<(), linkspan_netns::Error>(())
/// ```
#[derive(Debug)]
pub struct Isolation {
    network: Network,
    hostname: Option<Hostname>,
}

#[derive(Debug)]
enum Network {
    Own,
    Joined(NetNs),
    Shared,
}

impl Isolation {
    /// Gives a network namespace made for the sandbox.
    #[must_use]
    pub const fn own_network() -> Self {
        Self { network: Network::Own, hostname: None }
    }

    /// Lets the sandbox join a network namespace that exists.
    #[must_use]
    pub const fn joined(netns: NetNs) -> Self {
        Self { network: Network::Joined(netns), hostname: None }
    }

    /// Leaves the sandbox in the network namespace of the thread that starts it.
    #[must_use]
    pub const fn shared_network() -> Self {
        Self { network: Network::Shared, hostname: None }
    }

    /// Gives a UTS namespace of its own in which the host has this name. Without it the UTS namespace is
    /// that of the thread that starts the sandbox.
    #[must_use]
    pub fn hostname(self, hostname: Hostname) -> Self {
        Self { hostname: Some(hostname), ..self }
    }

    fn take_effect(self) -> Result<NetNs, Error> {
        let netns = match self.network {
            Network::Own => visit::leave_network().and_then(|()| NetNs::current())?,
            Network::Joined(netns) => visit::enter(netns.as_fd()).map(|()| netns)?,
            Network::Shared => NetNs::current()?,
        };
        self.hostname.as_ref().map_or(Ok(()), visit::leave_uts)?;
        Ok(netns)
    }
}
