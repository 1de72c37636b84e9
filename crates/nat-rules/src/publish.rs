use crate::Error;
use linkspan_net_types::{IfName, Port, Protocol};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// Where a published port leads: a container's address and port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Destination {
    address: IpAddr,
    port: Port,
}

impl Destination {
    /// This port of this address.
    pub const fn new(address: IpAddr, port: Port) -> Self {
        Self { address, port }
    }

    /// The container's address.
    pub const fn address(self) -> IpAddr {
        self.address
    }

    /// The container's port.
    pub const fn port(self) -> Port {
        self.port
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        SocketAddr::new(self.address, self.port.get()).fmt(f)
    }
}

/// One published port of one address family.
///
/// A port that is published for IPv4 and IPv6 is two of them, a range is one for each port.
///
/// ```
/// use linkspan_nat_rules::{Destination, Publish};
/// use linkspan_net_types::{Port, Protocol};
///
/// let web = Destination::new("10.88.1.2".parse()?, Port::new(80).ok_or("a port")?);
/// let publish = Publish::nat(Protocol::Tcp, Port::new(8080).ok_or("a port")?, web);
/// assert_eq!(publish.to_string(), "8080/tcp -> 10.88.1.2:80");
/// assert_eq!(publish.at("127.0.0.1".parse()?)?.to_string(), "127.0.0.1:8080/tcp -> 10.88.1.2:80");
/// assert!(publish.at("::1".parse()?).is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "Unchecked", into = "Unchecked")]
pub struct Publish {
    protocol: Protocol,
    way: Way,
    to: Destination,
}

/// By which way a published port is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Way {
    /// By a port of the host, whose address and port are translated.
    Nat {
        /// The host's address; `None` is each of them.
        at: Option<IpAddr>,
        /// The host's port.
        port: Port,
    },
    /// At the container's own address, which nothing translates: from everywhere on a network of
    /// [`Access::Routed`](crate::Access::Routed), from the links that it trusts on one of
    /// [`Access::Nat`](crate::Access::Nat).
    Routed {
        /// The bridge of the container's network.
        bridge: IfName,
    },
}

impl Publish {
    /// Leads this port of each address of the host, of the destination's family, to the destination.
    pub const fn nat(protocol: Protocol, port: Port, to: Destination) -> Self {
        Self { protocol, way: Way::Nat { at: None, port }, to }
    }

    /// Lets the destination be reached at its own address through this bridge.
    pub const fn routed(protocol: Protocol, to: Destination, bridge: IfName) -> Self {
        Self { protocol, way: Way::Routed { bridge }, to }
    }

    /// The same at this address of the host only; the unspecified address is each of them.
    ///
    /// A port at one address goes before the same port at each address, as with sockets. A routed port has
    /// no address of the host and stays as it is.
    ///
    /// # Errors
    /// [`Error::Family`] where the address is not of the destination's family; [`Error::Ipv6Loopback`] for
    /// `::1`, which the kernel cannot translate to another machine: that needs a proxy.
    pub fn at(self, address: IpAddr) -> Result<Self, Error> {
        let Way::Nat { port, .. } = self.way else { return Ok(self) };
        if address.is_ipv4() != self.to.address.is_ipv4() {
            return Err(Error::Family { at: address, to: self.to.address });
        }
        if address == IpAddr::V6(Ipv6Addr::LOCALHOST) {
            return Err(Error::Ipv6Loopback { port });
        }
        let at = Some(address).filter(|a| !a.is_unspecified());
        Ok(Self { way: Way::Nat { at, port }, ..self })
    }

    /// The transport protocol.
    pub const fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// By which way it is reached.
    pub const fn way(&self) -> Way {
        self.way
    }

    /// The container's address and port.
    pub const fn to(&self) -> Destination {
        self.to
    }

    /// What no two published ports of a host have in common.
    pub(crate) fn front(&self) -> Front {
        let v6 = self.to.address.is_ipv6();
        match self.way {
            Way::Nat { at, port } => Front::Host { v6, at, protocol: self.protocol, port },
            Way::Routed { .. } => Front::Container { protocol: self.protocol, to: self.to },
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Front {
    Host { v6: bool, at: Option<IpAddr>, protocol: Protocol, port: Port },
    Container { protocol: Protocol, to: Destination },
}

impl fmt::Display for Publish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { protocol, way, to } = self;
        match way {
            Way::Nat { at: None, port } => write!(f, "{port}/{protocol} -> {to}"),
            Way::Nat { at: Some(at), port } => {
                write!(f, "{}/{protocol} -> {to}", SocketAddr::new(*at, port.get()))
            }
            Way::Routed { bridge } => write!(f, "{to}/{protocol} by {bridge}"),
        }
    }
}

/// What is stored, before it is known to be of one family.
#[derive(Serialize, Deserialize)]
struct Unchecked {
    protocol: Protocol,
    way: Way,
    to: Destination,
}

impl TryFrom<Unchecked> for Publish {
    type Error = Error;

    fn try_from(Unchecked { protocol, way, to }: Unchecked) -> Result<Self, Error> {
        match way {
            Way::Nat { at: Some(at), port } => Self::nat(protocol, port, to).at(at),
            way => Ok(Self { protocol, way, to }),
        }
    }
}

impl From<Publish> for Unchecked {
    fn from(Publish { protocol, way, to }: Publish) -> Self {
        Self { protocol, way, to }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn publish(to: &str) -> Publish {
        let port = Port::new(80).unwrap();
        Publish::nat(Protocol::Tcp, port, Destination::new(to.parse().unwrap(), port))
    }

    fn check(to: &str, at: &str, expected: &str) {
        let shown = match publish(to).at(at.parse().unwrap()) {
            Ok(publish) => publish.to_string(),
            Err(e) => e.to_string(),
        };
        assert_eq!(shown, expected);
    }

    #[test]
    fn a_host_address_is_of_the_containers_family() {
        check("10.0.0.2", "192.0.2.1", "192.0.2.1:80/tcp -> 10.0.0.2:80");
        check("10.0.0.2", "0.0.0.0", "80/tcp -> 10.0.0.2:80");
        check("fd00::2", "::", "80/tcp -> [fd00::2]:80");
        check("fd00::2", "2001:db8::1", "[2001:db8::1]:80/tcp -> [fd00::2]:80");
        check("10.0.0.2", "::", "host address `::` and container address `10.0.0.2` are of two families");
        check("fd00::2", "::1", "port 80 at ::1 cannot be published by address translation");
    }

    #[test]
    fn a_stored_port_is_checked_when_it_is_read() {
        let stored = serde_json::to_string(&publish("10.0.0.2").at([127, 0, 0, 1].into()).unwrap()).unwrap();
        assert!(serde_json::from_str::<Publish>(&stored).is_ok());
        assert!(serde_json::from_str::<Publish>(&stored.replace("127.0.0.1", "2001:db8::1")).is_err());
    }
}
