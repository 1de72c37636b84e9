//! Ports of the host: which one is taken where none is asked for, and whether a program has it.

use crate::claims::{Claim, Claims, HostPort, PortMap};
use crate::kernel::host::{Host, read};
use crate::{Container, Error, Publish};
use linkspan_net_types::{Port, Protocol};
use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrStorage, setsockopt, socket, sockopt};
use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::os::fd::{AsRawFd, OwnedFd};
use std::thread::sleep;
use std::time::Duration;

/// `Documentation/networking/ip-sysctl.rst`, as are the reserved ones.
const LOCAL_PORT_RANGE: &str = "/proc/sys/net/ipv4/ip_local_port_range";
const RESERVED_PORTS: &str = "/proc/sys/net/ipv4/ip_local_reserved_ports";
/// How long a busy port is waited for between trials.
const PAUSES: [Duration; 3] = [Duration::from_millis(1), Duration::from_millis(3), Duration::from_millis(9)];

impl Host {
    /// The ports of the host that the container's wishes come to. One that is taken where none is asked for is
    /// free of others and of programs; whether an asked one is, [`try_asked_ports`](Self::try_asked_ports) says.
    pub(crate) fn choose_ports(&self, wanted: &Container, claims: &Claims) -> Result<Vec<HostPort>, Error> {
        let (mut chosen, mut own, mut search) = (Vec::new(), PortMap::default(), None);
        for wish in wanted.published() {
            let port = match wish.host_port() {
                Some(port) => of(wish, port),
                None => {
                    let search = match &mut search {
                        Some(search) => search,
                        none => none.insert(Search::of(self.at_home(local_ports)??)),
                    };
                    self.free_port(wish, claims, &own, search)?
                }
            };
            if own.overlapping(port).next().is_some() {
                return Err(Error::PortTwice { port: port.port, protocol: port.protocol });
            }
            own.insert(port, ());
            chosen.push(port);
        }
        Ok(chosen)
    }

    fn free_port(
        &self,
        wish: &Publish,
        claims: &Claims,
        own: &PortMap<()>,
        search: &mut Search,
    ) -> Result<HostPort, Error> {
        let is_free = |port: &HostPort| {
            claims.is_free(&Claim::Port(*port))
                && own.overlapping(*port).next().is_none()
                && self.at_home(|| try_port(port, None)).is_ok_and(|tried| tried.is_ok())
        };
        let free = search.candidates(wish).map(|port| of(wish, port)).find(is_free);
        free.ok_or(Error::NoFreePort { protocol: wish.protocol() })
    }

    /// Finds out by binding them for a moment whether a program of the host has one of the asked ports. One that is
    /// busy is waited for a little, so nothing is held meanwhile that others wait for.
    pub(crate) fn try_asked_ports(&self, wanted: &Container) -> Result<(), Error> {
        let asked = |wish: &Publish| wish.host_port().map(|port| of(wish, port));
        let asked: Vec<_> = wanted.published().iter().filter_map(asked).collect();
        let Some((first, others)) = asked.split_first() else { return Ok(()) };
        // It knows where the thread is, and sooner than `/proc` does.
        let socket = open(first.protocol, first_family(first)).ok();
        let here = socket
            .as_ref()
            .map_or_else(|| self.netns.is_here(), |socket| self.netns.holds(socket).unwrap_or_default());
        if here {
            try_patiently(first, socket)?;
            others.iter().try_for_each(|port| try_patiently(port, None))
        } else {
            self.netns.run(|| asked.iter().try_for_each(|port| try_patiently(port, None)))?
        }
    }

    /// Works in the host's namespace: here where the calling thread is in it, else on a thread that ends there.
    fn at_home<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T, Error> {
        if self.netns.is_here() { Ok(work()) } else { Ok(self.netns.run(work)?) }
    }
}

/// The ports that may be taken where none is asked for. Of wishes for the same protocol and address, the next one
/// begins where the one before found its port: those below are taken.
struct Search {
    range: RangeInclusive<u16>,
    reserved: Ranges,
    left: BTreeMap<(Protocol, Option<IpAddr>), RangeInclusive<u16>>,
}

impl Search {
    fn of((range, reserved): (RangeInclusive<u16>, Ranges)) -> Self {
        Self { range, reserved, left: BTreeMap::new() }
    }

    fn candidates(&mut self, wish: &Publish) -> impl Iterator<Item = Port> + '_ {
        let left = self.left.entry((wish.protocol(), wish.host_address()));
        let left = left.or_insert_with(|| self.range.clone());
        let is_reserved = |port: &u16| self.reserved.iter().any(|range| range.contains(port));
        left.filter(move |port| !is_reserved(port)).filter_map(Port::new)
    }
}

/// Tries again what is in use: a child of this process that is between fork and exec has a copy of the socket
/// of an earlier trial for a moment.
fn try_patiently(port: &HostPort, mut socket: Option<OwnedFd>) -> Result<(), Error> {
    for pause in PAUSES {
        match try_port(port, socket.take()) {
            Err(Error::PortBusy { source, .. }) if source.kind() == io::ErrorKind::AddrInUse => sleep(pause),
            tried => return tried,
        }
    }
    try_port(port, None)
}

/// Of which family the first socket is that tries a port.
fn first_family(port: &HostPort) -> AddressFamily {
    family_of(port.address.unwrap_or(Ipv6Addr::UNSPECIFIED.into()))
}

const fn family_of(address: IpAddr) -> AddressFamily {
    if address.is_ipv6() { AddressFamily::Inet6 } else { AddressFamily::Inet }
}

/// Tries it, at first with this socket of its protocol and [first family](first_family), where there is one.
fn try_port(
    &HostPort { protocol, port, address }: &HostPort,
    mut socket: Option<OwnedFd>,
) -> Result<(), Error> {
    // One socket can stand for both families, which is half the work for a range of thousands; where it cannot
    // be bound, those of one family each say which address is the busy one.
    if address.is_none() && bind(socket.take(), protocol, Families::Both, everywhere(port)).is_ok() {
        return Ok(());
    }
    addresses(address).into_iter().try_for_each(|address| {
        bind(socket.take(), protocol, Families::One, SocketAddr::new(address, port.get()))
            .map_err(|source| Error::PortBusy { address, port, protocol, source })
    })
}

/// The port at every address.
const fn everywhere(port: Port) -> SocketAddr {
    SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), port.get())
}

/// Which packets a socket at an IPv6 address is for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Families {
    One,
    Both,
}

/// The wish at this port of the host.
fn of(wish: &Publish, port: Port) -> HostPort {
    HostPort { protocol: wish.protocol(), port, address: wish.host_address() }
}

/// What has to be bound for a port at this address; every address of both families where there is none.
fn addresses(address: Option<IpAddr>) -> Vec<IpAddr> {
    address.map_or_else(|| vec![Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()], |a| vec![a])
}

fn open(protocol: Protocol, family: AddressFamily) -> nix::Result<OwnedFd> {
    let kind = if protocol == Protocol::Udp { SockType::Datagram } else { SockType::Stream };
    socket(family, kind, SockFlag::SOCK_CLOEXEC, None)
}

/// Binds without listening: a connection that comes in this moment is refused, not accepted and then reset.
fn bind(
    socket: Option<OwnedFd>,
    protocol: Protocol,
    families: Families,
    address: SocketAddr,
) -> io::Result<()> {
    let may_lack = families == Families::One && address.ip().is_unspecified();
    let socket = match socket.map_or_else(|| open(protocol, family_of(address.ip())), Ok) {
        // A kernel without IPv6 has no IPv6 port that anyone could have.
        Err(Errno::EAFNOSUPPORT) if may_lack => {
            return Ok(());
        }
        socket => socket?,
    };
    // Connections that ended a moment ago do not keep a port from its next owner.
    setsockopt(&socket, sockopt::ReuseAddr, &(protocol != Protocol::Udp))?;
    if address.is_ipv6() {
        setsockopt(&socket, sockopt::Ipv6V6Only, &(families == Families::One))?;
    }
    match nix::sys::socket::bind(socket.as_raw_fd(), &SockaddrStorage::from(address)) {
        Err(Errno::EADDRNOTAVAIL) if may_lack && address.is_ipv6() => Ok(()),
        bound => Ok(bound?),
    }
}

type Ranges = Vec<RangeInclusive<u16>>;

fn local_ports() -> Result<(RangeInclusive<u16>, Ranges), Error> {
    let range = parse_range(&read(LOCAL_PORT_RANGE)?).unwrap_or(32_768..=60_999);
    Ok((range, parse_ranges(&read(RESERVED_PORTS)?)))
}

/// `32768\t60999`
fn parse_range(text: &str) -> Option<RangeInclusive<u16>> {
    let (first, last) = text.split_once(char::is_whitespace)?;
    Some(first.trim().parse().ok()?..=last.trim().parse().ok()?)
}

/// `8080,9148-9150`
fn parse_ranges(text: &str) -> Ranges {
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        Some(first.trim().parse().ok()?..=last.trim().parse().ok()?)
    };
    text.split(',').filter_map(range).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, UdpSocket};

    fn check(holder: &str, protocol: Protocol, busy: &str) {
        let holder: SocketAddr = holder.parse().unwrap();
        let (tcp, udp) = match protocol {
            Protocol::Udp => (None, Some(UdpSocket::bind(holder).unwrap())),
            _ => (Some(TcpListener::bind(holder).unwrap()), None),
        };
        let held = [tcp.as_ref().map(TcpListener::local_addr), udp.as_ref().map(UdpSocket::local_addr)];
        let held = held.into_iter().flatten().next().unwrap().unwrap();
        let port = HostPort { protocol, port: Port::new(held.port()).unwrap(), address: None };
        for socket in [None, open(protocol, first_family(&port)).ok()] {
            match try_port(&port, socket) {
                Err(Error::PortBusy { address, .. }) => assert_eq!(address.to_string(), busy, "{holder}"),
                tried => panic!("{holder}: {tried:?}"),
            }
        }
    }

    #[test]
    fn a_port_that_a_program_has_at_any_address_is_busy() {
        for protocol in [Protocol::Tcp, Protocol::Udp] {
            check("127.0.0.1:0", protocol, "0.0.0.0");
            check("0.0.0.0:0", protocol, "0.0.0.0");
            check("[::1]:0", protocol, "::");
        }
    }

    #[test]
    fn the_kernels_ranges_are_read() {
        assert_eq!(parse_range("32768\t60999"), Some(32_768..=60_999));
        assert_eq!(parse_range(""), None);
        assert_eq!(parse_ranges(""), []);
        assert_eq!(parse_ranges("8080,9148-9150"), [8080..=8080, 9148..=9150]);
    }
}
