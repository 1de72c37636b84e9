use crate::{Bridge, Group, Veth};
use ipnet::IpNet;
use linkspan_net_types::{IfName, Mac};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;

/// What to look at on the host, so that the cost of looking does not grow with the host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Look {
    links: Vec<IfName>,
    counts_ports: bool,
    skips_addresses: bool,
    is_alone: bool,
}

impl Look {
    /// At the link of this name.
    pub fn at(link: IfName) -> Self {
        Self::default().and(link)
    }

    /// At a bridge that is wanted.
    pub fn at_bridge(wanted: &Bridge) -> Self {
        Self::at(*wanted.name())
    }

    /// At the host end of a pair that is wanted, and at its bridge.
    pub fn at_veth(wanted: &Veth) -> Self {
        let bridge = wanted.host().bridge_port().map(|port| *port.bridge());
        bridge.into_iter().chain([*wanted.host().name()]).fold(Self::default(), Self::and)
    }

    /// Looks at the link of this name as well.
    #[must_use]
    pub fn and(mut self, link: IfName) -> Self {
        self.links.push(link);
        self
    }

    /// Counts the ports of the bridges, which takes longer the more links the host has.
    ///
    /// A bridge holds 1023 ports: whoever knows of far fewer need not count.
    #[must_use]
    pub const fn counting_ports(mut self) -> Self {
        self.counts_ports = true;
        self
    }

    /// Leaves the addresses of the host's links out, which cost a question each; those of the container are seen.
    ///
    /// For plans that put none on the host, such as those of an endpoint whose host end is the port of a bridge.
    #[must_use]
    pub const fn without_addresses(mut self) -> Self {
        self.skips_addresses = true;
        self
    }

    /// Leaves out all that takes more than one question for each link of the host: addresses, the names of masters, and
    /// the host's settings, which are as if everything were off.
    ///
    /// For plans that take links away.
    #[must_use]
    pub const fn alone(mut self) -> Self {
        self.is_alone = true;
        self.without_addresses()
    }

    /// The names of the links to look at.
    pub fn links(&self) -> &[IfName] {
        &self.links
    }

    /// Whether the ports of bridges are to be counted.
    pub const fn counts_ports(&self) -> bool {
        self.counts_ports
    }

    /// Whether all but the links themselves is to be left out.
    pub const fn is_alone(&self) -> bool {
        self.is_alone
    }

    /// Whether the addresses of the host's links are to be left out.
    pub const fn skips_addresses(&self) -> bool {
        self.skips_addresses
    }
}

/// What was seen of the host and a container: what plans are made from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// The links that were looked at in the host's namespace, as far as they are there; no routes.
    pub host: Space,
    /// All links and default routes of the container's namespace; `None` where it was not looked at.
    pub container: Option<Space>,
    /// Whether the host forwards packets.
    pub forwarding: Forwarding,
    /// Whether the host's packet filter sees what its bridges forward.
    pub bridge_netfilter: BridgeNetfilter,
}

impl Seen {
    /// Whether the packet filter sees IPv4 or IPv6 packets that this bridge forwards, by the host's setting
    /// or by the bridge's own (`IFLA_BR_NF_CALL_IPTABLES`).
    pub fn calls_iptables(&self, bridge: &IfName) -> bool {
        let own = match self.host.links.get(bridge.as_str()).map(|link| &link.kind) {
            Some(LinkKind::Bridge(facts)) => facts.calls_iptables,
            _ => false,
        };
        let host = self.bridge_netfilter;
        own || host.iptables == Some(true) || host.ip6tables == Some(true)
    }

    /// Whether the kernel has IPv6.
    pub const fn has_ipv6(&self) -> bool {
        self.forwarding.v6.is_some()
    }
}

/// Links and default routes of one network namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Space {
    /// The links by name, as the kernel gives it: other programs use names that [`IfName`] refuses.
    pub links: BTreeMap<String, Link>,
    /// The default routes of the main table.
    pub default_routes: BTreeSet<Route>,
}

/// One link.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// What it is.
    pub kind: LinkKind,
    /// Its MAC; `None` for a link without one, such as `lo`.
    pub mac: Option<Mac>,
    /// Its MTU in bytes; that of `lo` is 65536.
    pub mtu: u32,
    /// Whether it is switched on (`IFF_UP`), which says nothing about a carrier.
    pub up: bool,
    /// Its group of links, where it was put into one.
    pub group: Option<Group>,
    /// The name of the link that it is a port of.
    pub master: Option<String>,
    /// Its flags as a port, where its master is a bridge.
    pub port: Option<PortFlags>,
    /// Its addresses, those that the kernel made itself included.
    pub addresses: BTreeSet<IpNet>,
    /// Whether packets from and to 127.0.0.0/8 may cross it.
    pub route_localnet: bool,
    /// How IPv6 is set up on it; `None` where it has no IPv6: the kernel has none, or the MTU is below 1280.
    pub ipv6: Option<Ipv6Setup>,
}

/// What a link is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum LinkKind {
    /// A bridge.
    Bridge(BridgeFacts),
    /// One end of a veth pair.
    Veth,
    /// Another kind that the kernel names, such as `vxlan`.
    Other(String),
    /// A device without a kind: `lo` or hardware.
    #[default]
    Device,
}

impl fmt::Display for LinkKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bridge(_) => f.write_str("bridge"),
            Self::Veth => f.write_str("veth"),
            Self::Other(kind) => f.write_str(kind),
            Self::Device => f.write_str("device"),
        }
    }
}

/// What is special about a bridge.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BridgeFacts {
    /// Whether it shows what it forwards to the packet filter, whatever the host's setting.
    pub calls_iptables: bool,
    /// How many ports it has; `None` where they were not counted.
    pub ports: Option<usize>,
}

/// The flags of a bridge's port that matter here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortFlags {
    /// Packets may leave by the port that they came in by (`IFLA_BRPORT_MODE`).
    pub hairpin: bool,
    /// No frames to or from other isolated ports (`IFLA_BRPORT_ISOLATED`).
    pub isolated: bool,
}

/// How IPv6 is set up on a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ipv6Setup {
    /// Whether routers' advertisements are heard (`accept_ra` is not 0).
    pub hears_routers: bool,
    /// Where the link's own address comes from when it is switched on.
    pub generation: AddressGeneration,
}

impl Ipv6Setup {
    /// What the kernel gives a link that it has just made, unless someone changed `conf/default`.
    pub const DEFAULT: Self = Self { hears_routers: true, generation: AddressGeneration::Eui64 };
}

/// Where a link's own IPv6 address comes from (`IN6_ADDR_GEN_MODE_*` of `linux/if_link.h`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AddressGeneration {
    /// From its MAC.
    Eui64,
    /// From nowhere: it gets none by itself.
    None,
    /// In another way, with this number.
    Other(i32),
}

/// A route.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Route {
    /// Where it leads; a default route has the prefix length 0.
    pub destination: IpNet,
    /// The next hop; `None` where the destination is on the link, or there are several next hops.
    pub gateway: Option<IpAddr>,
    /// The name of the link that it uses; `None` where there are several or it leads nowhere.
    pub link: Option<String>,
    /// Its metric: the lowest one wins.
    pub metric: u32,
}

impl Route {
    /// Whether it is a default route.
    pub fn is_default(&self) -> bool {
        self.destination.prefix_len() == 0
    }
}

/// Whether the host forwards packets between its links.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Forwarding {
    /// `net.ipv4.ip_forward`.
    pub v4: bool,
    /// `net.ipv6.conf.all.forwarding`; `None` where the kernel has no IPv6.
    pub v6: Option<bool>,
}

/// Whether the host's packet filter sees what its bridges forward (`net.bridge.bridge-nf-call-*`);
/// `None` where bridge netfilter is absent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BridgeNetfilter {
    /// `bridge-nf-call-iptables`.
    pub iptables: Option<bool>,
    /// `bridge-nf-call-ip6tables`.
    pub ip6tables: Option<bool>,
}

/// Everything of one namespace: to compare before and after, and to find what overlaps a subnet.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// All links by name.
    pub links: BTreeMap<String, Link>,
    /// All unicast routes of the main table.
    pub routes: BTreeSet<Route>,
}

impl Snapshot {
    /// The default route that wins: IPv4 before IPv6, then the lowest metric.
    pub fn default_route(&self) -> Option<&Route> {
        let defaults = self.routes.iter().filter(|route| route.is_default() && route.link.is_some());
        defaults.min_by_key(|route| (route.destination.addr().is_ipv6(), route.metric))
    }

    /// The MTU in bytes of the link that the winning default route uses.
    pub fn uplink_mtu(&self) -> Option<u32> {
        let link = self.default_route()?.link.as_ref()?;
        self.links.get(link).map(|link| link.mtu)
    }
}
