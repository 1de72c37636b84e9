//! The time of a connection, from another machine through a published port.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener};
use std::os::fd::AsRawFd;
use std::time::Duration;

use nix::libc;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrIn, connect, setsockopt, socket, sockopt};

use crate::contest::timed;
use crate::spot::Spot;
use crate::world::{Trouble, World};

/// The port of the container.
const INSIDE: u16 = 80;

/// A server in a container.
#[derive(Debug)]
pub(crate) struct Server(TcpListener);

impl Server {
    /// Listens in this namespace; the calling thread is on the host afterwards.
    pub(crate) fn start(container: &Spot, host: &Spot) -> io::Result<Self> {
        container.enter()?;
        let server = TcpListener::bind((Ipv4Addr::UNSPECIFIED, INSIDE));
        host.enter()?;
        Ok(Self(server?))
    }

    /// Connects from the remote machine to a port of the host, and closes the connection, which is not timed.
    pub(crate) fn connect(&self, world: &World, port: u16) -> Result<Duration, Trouble> {
        let [address, _] = world.lab.host_addresses();
        let SocketAddr::V4(to) = SocketAddr::new(address, port) else { return Err("no IPv4 address".into()) };
        world.remote.enter()?;
        let connected = self.connect_from_here(to);
        world.host.enter()?;
        Ok(connected?)
    }

    fn connect_from_here(&self, to: SocketAddrV4) -> io::Result<Duration> {
        let client = socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
        // Closed without a farewell, so that thousands of connections leave no port waiting.
        setsockopt(&client, sockopt::Linger, &libc::linger { l_onoff: 1, l_linger: 0 })?;
        let (time, ()) = timed(|| connect(client.as_raw_fd(), &SockaddrIn::from(to)))?;
        let _served = self.0.accept()?;
        Ok(time)
    }
}
