use ipnet::IpNet;
use linkspan_net_types::{IfName, Mac, Mtu};
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::Group;

/// A pair of Ethernet links, one end on the host and one in a container's namespace, as it is wanted.
///
/// ```
/// use linkspan_veth_bridge::{HostEnd, InsideEnd, Mac, Mtu, Port, Veth};
///
/// let mac = Mac::of_address("10.88.0.2".parse()?);
/// let host = HostEnd::port("vethls0".parse()?, "02:11:22:33:44:55".parse()?, Port::of("br-web".parse()?));
/// let inside = InsideEnd::new("eth0".parse()?, mac)
///     .with_address("10.88.0.2/24".parse()?)
///     .with_gateway("10.88.0.1".parse()?);
/// let veth = Veth::new(host, inside, Mtu::ETHERNET);
/// assert_eq!(veth.inside().gateways().count(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Veth {
    host: HostEnd,
    inside: InsideEnd,
    mtu: Mtu,
    group: Option<Group>,
}

impl Veth {
    /// A pair with these ends; both have the MTU.
    pub const fn new(host: HostEnd, inside: InsideEnd, mtu: Mtu) -> Self {
        Self { host, inside, mtu, group: None }
    }

    /// Puts the host end into a group of links.
    #[must_use]
    pub const fn with_group(mut self, group: Group) -> Self {
        self.group = Some(group);
        self
    }

    /// The end on the host.
    pub const fn host(&self) -> &HostEnd {
        &self.host
    }

    /// The end in the container.
    pub const fn inside(&self) -> &InsideEnd {
        &self.inside
    }

    /// The MTU of both ends in bytes.
    pub const fn mtu(&self) -> Mtu {
        self.mtu
    }

    /// The host end's group of links.
    pub const fn group(&self) -> Option<Group> {
        self.group
    }

    /// Whether an end has an IPv6 address.
    pub fn has_ipv6(&self) -> bool {
        self.inside.has_ipv6() || self.host.addresses().iter().any(|a| matches!(a, IpNet::V6(_)))
    }
}

/// The end of a pair that is on the host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostEnd {
    name: IfName,
    mac: Mac,
    side: HostSide,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum HostSide {
    Port(Port),
    Addresses(Vec<IpNet>),
}

impl HostEnd {
    /// An end that is a port of a bridge.
    ///
    /// Its name must not be used again before a reboot: a dying link keeps it for a while. Its MAC is given
    /// so that no policy of the host (udev's `MACAddressPolicy`) changes it later; one that begins with `fe:`
    /// is never the lowest, which a bridge without a MAC of its own takes.
    pub const fn port(name: IfName, mac: Mac, port: Port) -> Self {
        Self { name, mac, side: HostSide::Port(port) }
    }

    /// An end with addresses of its own: a point-to-point link without a bridge.
    pub const fn point_to_point(name: IfName, mac: Mac, addresses: Vec<IpNet>) -> Self {
        Self { name, mac, side: HostSide::Addresses(addresses) }
    }

    /// Its name.
    pub const fn name(&self) -> &IfName {
        &self.name
    }

    /// Its MAC.
    pub const fn mac(&self) -> Mac {
        self.mac
    }

    /// The bridge that it is a port of, and how; `None` on a point-to-point link.
    pub const fn bridge_port(&self) -> Option<&Port> {
        match &self.side {
            HostSide::Port(port) => Some(port),
            HostSide::Addresses(_) => None,
        }
    }

    /// The host's addresses on it; a port of a bridge has none.
    pub fn addresses(&self) -> &[IpNet] {
        match &self.side {
            HostSide::Port(_) => &[],
            HostSide::Addresses(addresses) => addresses,
        }
    }
}

/// A bridge's port, as it is wanted.
///
/// Whether the port reflects packets to where they came from (hairpin) is no wish: it follows from what is
/// seen of bridge netfilter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Port {
    bridge: IfName,
    isolated: bool,
}

impl Port {
    /// A port of this bridge that talks to its neighbours.
    pub const fn of(bridge: IfName) -> Self {
        Self { bridge, isolated: false }
    }

    /// Asks for the port not to exchange frames with other isolated ports (`IFLA_BRPORT_ISOLATED`).
    ///
    /// Where bridge netfilter is on, the flag would also cut off published ports, so it is left off there
    /// and a packet filter has to do it alone.
    #[must_use]
    pub const fn isolated(mut self) -> Self {
        self.isolated = true;
        self
    }

    /// The name of its bridge.
    pub const fn bridge(&self) -> &IfName {
        &self.bridge
    }

    /// Whether isolation from its neighbours is asked for.
    pub const fn is_isolated(&self) -> bool {
        self.isolated
    }
}

/// The end of a pair that is in the container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InsideEnd {
    name: IfName,
    mac: Mac,
    addresses: Vec<IpNet>,
    gateway_v4: Option<Ipv4Addr>,
    gateway_v6: Option<Ipv6Addr>,
}

impl InsideEnd {
    /// An end without addresses.
    pub const fn new(name: IfName, mac: Mac) -> Self {
        Self { name, mac, addresses: Vec::new(), gateway_v4: None, gateway_v6: None }
    }

    /// Adds an address of the container, with the length of its subnet's prefix; one that is there already is
    /// not added twice.
    #[must_use]
    pub fn with_address(mut self, address: IpNet) -> Self {
        if !self.addresses.contains(&address) {
            self.addresses.push(address);
        }
        self
    }

    /// Routes everything else of the gateway's family by this gateway; a later one replaces an earlier one.
    #[must_use]
    pub const fn with_gateway(mut self, gateway: IpAddr) -> Self {
        match gateway {
            IpAddr::V4(v4) => self.gateway_v4 = Some(v4),
            IpAddr::V6(v6) => self.gateway_v6 = Some(v6),
        }
        self
    }

    /// Its name in the container, such as `eth0`.
    pub const fn name(&self) -> &IfName {
        &self.name
    }

    /// Its MAC.
    pub const fn mac(&self) -> Mac {
        self.mac
    }

    /// The container's addresses on it.
    pub fn addresses(&self) -> &[IpNet] {
        &self.addresses
    }

    /// The gateways of its default routes, at most one for each family.
    pub fn gateways(&self) -> impl Iterator<Item = IpAddr> {
        self.gateway_v4.map(IpAddr::V4).into_iter().chain(self.gateway_v6.map(IpAddr::V6))
    }

    fn has_ipv6(&self) -> bool {
        self.gateway_v6.is_some() || self.addresses.iter().any(|a| matches!(a, IpNet::V6(_)))
    }
}
