//! Packets that have to pass, and packets that have to be stopped.

use super::paper::{Container, Paper};
use super::step::{Door, Net, Who};
use crate::traffic::{DOUBT, PATIENCE};
use crate::world::{Family, World};
use linkspan::{NetNs, Protocol};
use nix::libc::linger;
use nix::sys::socket::{setsockopt, sockopt};
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

/// Where every container serves.
const SERVED: u16 = 80;

/// Who sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sender {
    Remote,
    Host,
    Container(Who),
}

/// One question, and who it is for.
#[derive(Clone, Copy)]
pub(super) struct Way {
    from: Sender,
    by: Protocol,
    to: SocketAddr,
    server: Option<Who>,
}

impl fmt::Debug for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} to {}/{} for {:?}", self.from, self.to, self.by, self.server)
    }
}

/// The ways that lead there, and those that must not.
pub(super) fn of(paper: &Paper, world: &World) -> (Vec<Way>, Vec<Way>) {
    let (mut passing, mut stopped) = (Vec::new(), Vec::new());
    for (who, there) in paper.living() {
        passing.extend(published(who, there, world));
        stopped.extend(to_all(Sender::Remote, who, &there.on));
        for (other, neighbour) in paper.living().filter(|(other, _)| *other != who) {
            let (shared, apart): (Vec<_>, Vec<_>) =
                neighbour.on.iter().partition(|(net, _)| there.is_on(*net));
            passing.extend(to_all(Sender::Container(who), other, &shared));
            passing.extend(by_the_host(who, there, other, neighbour, world));
            stopped.extend(to_all(Sender::Container(who), other, &apart));
        }
    }
    let shut = Door::ALL.iter().filter(|door| is_shut(**door, paper));
    stopped.extend(shut.map(|door| way_to(*door, None, world, Family::V4)));
    (passing, stopped)
}

/// Whether neither a container nor a program has a port.
fn is_shut(door: Door, paper: &Paper) -> bool {
    let published = paper.containers.values().any(|there| there.doors.list().contains(&door));
    !published && !paper.busy.contains(&door)
}

/// Published ports, from where they are published to.
fn published(who: Who, there: &Container, world: &World) -> Vec<Way> {
    let Some((net, _)) = there.gateway() else { return Vec::new() };
    let each = there.doors.list().iter();
    let by_v4 = each.clone().map(|door| way_to(*door, Some(who), world, Family::V4));
    let with_v6 = each.filter(|door| net.has_ipv6() && door.host_address().is_none());
    by_v4.chain(with_v6.map(|door| way_to(*door, Some(who), world, Family::V6))).collect()
}

fn way_to(door: Door, server: Option<Who>, world: &World, family: Family) -> Way {
    let by = if door.protocol() == "udp" { Protocol::Udp } else { Protocol::Tcp };
    let (from, to) = match door {
        Door::Local => (Sender::Host, Ipv4Addr::LOCALHOST.into()),
        Door::Web | Door::Dns => (Sender::Remote, world.host_address(family)),
    };
    Way { from, by, to: SocketAddr::new(to, door.port()), server }
}

/// A neighbour's published port, by the host's address.
fn by_the_host(who: Who, there: &Container, other: Who, neighbour: &Container, world: &World) -> Option<Way> {
    there.gateway().filter(|_| neighbour.doors.list().contains(&Door::Web))?;
    Some(Way { from: Sender::Container(who), ..way_to(Door::Web, Some(other), world, Family::V4) })
}

/// A container's own addresses on these networks.
fn to_all(from: Sender, server: Who, on: &[(Net, u16)]) -> Vec<Way> {
    let to = |address: IpAddr| {
        let by = if address.is_ipv4() { Protocol::Tcp } else { Protocol::Udp };
        Way { from, by, to: SocketAddr::new(address, SERVED), server: Some(server) }
    };
    let addresses = on.iter().flat_map(|(net, number)| net.addresses(*number));
    addresses.map(|(address, _)| to(address)).collect()
}

impl Way {
    /// Whether a packet comes to whom it is for; only one that should is waited for.
    pub(super) fn comes_through(
        &self,
        world: &World,
        namespace_of: impl Fn(Who) -> Option<NetNs>,
        expected: bool,
    ) -> bool {
        let find = |who| namespace_of(who).expect("who lives has a namespace");
        let container;
        let from = match self.from {
            Sender::Remote => world.remote(),
            Sender::Host => &world.here,
            Sender::Container(who) => {
                container = find(who);
                &container
            }
        };
        let patience = if expected { PATIENCE } else { DOUBT };
        let server = self.server.map(find);
        let came = match self.by {
            Protocol::Udp => datagram(from, self.to, server.as_ref(), patience),
            _ => connection(from, self.to, server.as_ref(), patience),
        };
        came.is_ok()
    }
}

/// Connects to the server; without a server, to anyone.
fn connection(from: &NetNs, to: SocketAddr, server: Option<&NetNs>, patience: Duration) -> io::Result<()> {
    let listen = || TcpListener::bind((Ipv6Addr::UNSPECIFIED, SERVED));
    let listener = server.map(|server| server.run(listen).unwrap()).transpose()?;
    let client = from.run(|| TcpStream::connect_timeout(&to, patience)).unwrap()?;
    forget_at_once(&client)?;
    let Some(listener) = listener else { return Ok(()) };
    // Who was connected to has it in its queue.
    listener.set_nonblocking(true)?;
    forget_at_once(&listener.accept()?.0)
}

/// A socket that waits for its last words keeps the namespace of a container that is gone.
fn forget_at_once(stream: &TcpStream) -> io::Result<()> {
    Ok(setsockopt(stream, sockopt::Linger, &linger { l_onoff: 1, l_linger: 0 })?)
}

/// Sends a datagram to the server, and its answer back; without a server, to anyone.
fn datagram(from: &NetNs, to: SocketAddr, server: Option<&NetNs>, patience: Duration) -> io::Result<()> {
    let bind = |at: (IpAddr, u16)| {
        let socket = UdpSocket::bind(at)?;
        socket.set_read_timeout(Some(patience)).map(|()| socket)
    };
    let serve = || bind((Ipv6Addr::UNSPECIFIED.into(), SERVED));
    let server = server.map(|server| server.run(serve).unwrap()).transpose()?;
    let any = if to.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let client = from.run(|| bind((any, 0))).unwrap()?;
    client.connect(to)?;
    client.send(b"?")?;
    if let Some(server) = server {
        let (_, peer) = server.recv_from(&mut [0; 8])?;
        server.send_to(b"!", peer)?;
    }
    client.recv(&mut [0; 8]).map(drop)
}
