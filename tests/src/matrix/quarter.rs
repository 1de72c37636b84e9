//! The networks of the place, one of every kind, and the containers on each.

use super::promise::{Kind, Out};
use crate::world::{Family, Member, World, container, gateway};
use linkspan::{DefinedNetwork, Egress, Endpoint, GatewayMode, Neighbours, Network, Protocol, Publish};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The networks, each with its name.
pub(crate) const KINDS: [(&str, Kind); 14] = [
    ("nat", Kind::new(GatewayMode::Nat)),
    ("nat-quiet", Kind::quiet(GatewayMode::Nat)),
    ("unprotected", Kind::new(GatewayMode::NatUnprotected)),
    ("unprotected-quiet", Kind::quiet(GatewayMode::NatUnprotected)),
    ("routed", Kind::new(GatewayMode::Routed)),
    ("routed-quiet", Kind::quiet(GatewayMode::Routed)),
    ("internal", Kind::new(GatewayMode::Internal)),
    ("internal-quiet", Kind::quiet(GatewayMode::Internal)),
    ("isolated", Kind::new(GatewayMode::Isolated)),
    ("isolated-quiet", Kind::quiet(GatewayMode::Isolated)),
    ("no-masquerade", Kind { out: Out::NoMasquerade, ..Kind::new(GatewayMode::Nat) }),
    ("snat", Kind { out: Out::Snat, ..Kind::new(GatewayMode::Nat) }),
    ("trusting", Kind { trusting: true, ..Kind::new(GatewayMode::Nat) }),
    ("ipv4-only", Kind { ipv6: false, ..Kind::new(GatewayMode::Nat) }),
];

/// Published, and served.
pub(crate) const PUBLISHED: u16 = 80;
/// Served, and not published.
pub(crate) const UNPUBLISHED: u16 = 81;

pub(crate) const LOCALHOSTS: [IpAddr; 2] =
    [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2))];

/// More addresses of the host, behind which the containers of one network go out.
pub(crate) const SNAT: (Ipv4Addr, Ipv6Addr) =
    (Ipv4Addr::new(203, 0, 113, 9), Ipv6Addr::new(0x2001, 0xdb8, 9, 0, 0, 0, 0, 9));

/// The link of the host that one network trusts.
pub(crate) const TRUSTED: &str = "trusted";

/// Where a port is published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum At {
    Anywhere,
    Uplink,
    Localhost(usize),
}

impl At {
    pub(crate) const ALL: [Self; 4] = [Self::Anywhere, Self::Uplink, Self::Localhost(0), Self::Localhost(1)];

    /// The word of the promise for it.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Anywhere => "anywhere",
            Self::Uplink => "uplink",
            Self::Localhost(0) => "127.0.0.1",
            Self::Localhost(_) => "127.0.0.2",
        }
    }

    /// The port of the host that leads to the containers of a network, by the number of the network.
    pub(crate) const fn port(self, network: u8) -> u16 {
        let first = match self {
            Self::Anywhere => 8000,
            Self::Uplink => 8100,
            Self::Localhost(0) => 8200,
            Self::Localhost(_) => 8300,
        };
        first + network as u16
    }

    /// The addresses of the host where a port is published; `None` for all of them.
    fn addresses(self, world: &World, kind: Kind) -> Vec<Option<IpAddr>> {
        let families = Family::BOTH.into_iter().filter(|family| kind.ipv6 || *family == Family::V4);
        match self {
            Self::Anywhere => vec![None],
            Self::Uplink => families.map(|family| Some(world.host_address(family))).collect(),
            Self::Localhost(index) => vec![Some(LOCALHOSTS[index])],
        }
    }
}

/// A network with two containers: one serves, publishes and asks everyone, its neighbour asks that one.
pub(crate) struct Quarter {
    pub(crate) number: u8,
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    network: DefinedNetwork,
    pub(crate) server: Member,
    pub(crate) neighbour: Member,
}

impl Quarter {
    pub(crate) fn new(world: &World, number: u8, (name, kind): (&'static str, Kind)) -> Self {
        let network = world.host.ensure_network(&wanted(number, name, kind)).unwrap();
        let publishing = ports(world, number, kind).into_iter();
        let server = container(name).on(Endpoint::of(&network));
        let server = world.container(&publishing.fold(server, linkspan::Container::publish));
        let neighbour = world.member(&neighbour(name), &network);
        let quarter = Self { number, name, kind, network, server, neighbour };
        quarter.route();
        quarter
    }

    pub(crate) fn has(&self, family: Family) -> bool {
        self.kind.ipv6 || family == Family::V4
    }

    /// The host's address on it.
    pub(crate) fn gateway(&self, family: Family) -> Option<IpAddr> {
        let there = self.has(family) && self.kind.mode != GatewayMode::Isolated;
        there.then(|| gateway(&self.network, family))
    }

    /// Routes that nobody gave it: out of closed networks, to its neighbour by the gateway, to the host's loopback.
    fn route(&self) {
        for family in Family::BOTH.into_iter().filter(|family| self.has(*family)) {
            let (option, localhost) = match family {
                Family::V4 => ("-4", "127.0.0.0/8"),
                Family::V6 => ("-6", "::1"),
            };
            let gateway = self.gateway(family);
            let by = gateway.map_or("dev eth0".to_owned(), |gateway| format!("via {gateway}"));
            if self.kind.is_closed() {
                self.server.tool(&format!("ip {option} route add default {by}"));
            }
            if gateway.is_some() {
                self.server.tool(&format!("ip {option} route add {} {by}", self.neighbour.address(family)));
            }
            // One's own address is never sent out.
            self.server.tool(&format!("ip {option} address flush dev lo"));
            self.server.tool(&format!("ip {option} route add {localhost} {by}"));
        }
        self.server.tool("sysctl -q net.ipv4.conf.all.route_localnet=1");
    }
}

fn wanted(number: u8, name: &str, kind: Kind) -> Network {
    let neighbours = if kind.neighbours { Neighbours::Reachable } else { Neighbours::PublishedOnly };
    let egress = match kind.out {
        Out::Masquerade => Egress::Masquerade,
        Out::NoMasquerade => Egress::Keep,
        Out::Snat => Egress::Fixed { ipv4: Some(SNAT.0), ipv6: Some(SNAT.1) },
    };
    let network = Network::bridge(name.parse().unwrap()).gateway_mode(kind.mode).neighbours(neighbours);
    let network = network.egress(egress).subnet(format!("10.88.{number}.0/24").parse().unwrap());
    let network = if kind.trusting { network.trust(TRUSTED.parse().unwrap()) } else { network };
    match kind.ipv6 {
        true => network.subnet(format!("fd88:{number}::/64").parse().unwrap()),
        false => network,
    }
}

/// What a container of this network publishes: a closed one has nowhere to.
fn ports(world: &World, number: u8, kind: Kind) -> Vec<Publish> {
    let at = |at: At| at.addresses(world, kind).into_iter().map(move |address| (at.port(number), address));
    let wishes: Vec<_> = match kind.mode {
        _ if kind.is_closed() => Vec::new(),
        GatewayMode::Routed => at(At::Anywhere).collect(),
        _ => At::ALL.into_iter().flat_map(at).collect(),
    };
    let publish = |(port, address): (u16, Option<IpAddr>)| {
        [Protocol::Tcp, Protocol::Udp].map(|protocol| {
            let publish = Publish::new(protocol, PUBLISHED).at(port);
            address.map_or(publish, |address| publish.on(address))
        })
    };
    wishes.into_iter().flat_map(publish).collect()
}

/// The name of the other container on a network.
pub(crate) fn neighbour(network: &str) -> String {
    format!("{network}.neighbour")
}
