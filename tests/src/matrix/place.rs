//! Where the questions are asked: a host with a network of every kind, and nobody who keeps to default routes.

use super::promise::{Kind, Out};
use super::witness::Book;
use crate::program::tool;
use crate::publishing::route_localhost;
use crate::traffic::allow_ping;
use crate::world::{Family, Member, World, container, gateway};
use linkspan::{
    DefinedNetwork, Egress, Endpoint, GatewayMode, Neighbours, NetNs, Network, Protocol, Publish,
};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The networks, each with its name.
const KINDS: [(&str, Kind); 14] = [
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
/// Served by machines that are no containers, at all their addresses.
pub(crate) const OPEN: u16 = 7000;
/// Served by the host on its loopback addresses only.
pub(crate) const HIDDEN: u16 = 7001;

pub(crate) const LOCALHOSTS: [IpAddr; 2] =
    [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2))];

/// More addresses of the host, behind which the containers of one network go out.
const SNAT: (Ipv4Addr, Ipv6Addr) =
    (Ipv4Addr::new(203, 0, 113, 9), Ipv6Addr::new(0x2001, 0xdb8, 9, 0, 0, 0, 0, 9));

/// The cable that one network trusts, to another machine than the remote one: its ends are the host's first.
const TRUSTED: &str = "trusted";
const CABLE: [[&str; 2]; 2] = [["10.99.0.1/24", "fd99::1/64"], ["10.99.0.2/24", "fd99::2/64"]];

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
    fn new(world: &World, number: u8, (name, kind): (&'static str, Kind)) -> Self {
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

/// All of it.
pub(crate) struct Place<'a> {
    pub(crate) world: &'a World,
    pub(crate) quarters: Vec<Quarter>,
    pub(crate) book: Book,
    trusted: NetNs,
}

impl<'a> Place<'a> {
    pub(crate) fn new(world: &'a World) -> Self {
        let (v4, v6) = SNAT;
        tool(&format!("ip address add {v4} dev lo"));
        tool(&format!("ip address add {v6} dev lo"));
        let quarters = (1..).zip(KINDS).map(|(number, kind)| Quarter::new(world, number, kind)).collect();
        let place = Self { world, quarters, book: Book::default(), trusted: trusted(world) };
        place.route();
        place.serve();
        place.machines().iter().for_each(|machine| machine.netns.run(allow_ping).unwrap().unwrap());
        place
    }

    /// Outside, the host is the way to everything.
    fn route(&self) {
        let near = Family::BOTH.map(|family| self.world.host_address(family));
        self.world.remote().run(|| route_everything(near)).unwrap();
        let near = Family::BOTH.map(|family| family.of(CABLE[0].map(address)));
        self.trusted.run(|| route_everything(near)).unwrap();
    }

    fn serve(&self) {
        let anywhere = |port| SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), port);
        let serve = |netns, name: &str, at| self.book.serve(netns, name, at);
        serve(self.world.remote(), "outside", anywhere(OPEN));
        // At one address each: a datagram's answer has to come from where it was asked.
        for address in Family::BOTH.into_iter().flat_map(|family| self.host_addresses(family)) {
            serve(&self.world.here, "host", SocketAddr::new(address, OPEN));
        }
        let localhosts: [IpAddr; 2] = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
        for localhost in localhosts {
            serve(&self.world.here, "host", SocketAddr::new(localhost, HIDDEN));
        }
        for quarter in &self.quarters {
            serve(quarter.server.netns(), quarter.name, anywhere(PUBLISHED));
            serve(quarter.server.netns(), quarter.name, anywhere(UNPUBLISHED));
            serve(quarter.neighbour.netns(), &neighbour(quarter.name), anywhere(UNPUBLISHED));
        }
    }

    /// Everyone who asks.
    pub(crate) fn machines(&self) -> Vec<Machine<'_>> {
        let outside = Machine { role: Role::Outside, netns: self.world.remote() };
        let host = Machine { role: Role::Host, netns: &self.world.here };
        let trusted = Machine { role: Role::Trusted, netns: &self.trusted };
        let containers = self.quarters.iter().flat_map(|quarter| {
            [
                (Role::Server(quarter), quarter.server.netns()),
                (Role::Neighbour(quarter), quarter.neighbour.netns()),
            ]
            .map(|(role, netns)| Machine { role, netns })
        });
        [outside, trusted, host].into_iter().chain(containers).collect()
    }

    /// Every address of the host that is none of loopback.
    pub(crate) fn host_addresses(&self, family: Family) -> Vec<IpAddr> {
        let gateways = self.quarters.iter().filter_map(|quarter| quarter.gateway(family));
        let outer = [self.world.host_address(family), self.snat(family), family.of(CABLE[0].map(address))];
        outer.into_iter().chain(gateways).collect()
    }

    pub(crate) fn trusted_address(&self, family: Family) -> IpAddr {
        family.of(CABLE[1].map(address))
    }

    pub(crate) fn snat(&self, family: Family) -> IpAddr {
        family.of([SNAT.0.into(), SNAT.1.into()])
    }
}

/// Someone who asks.
pub(crate) struct Machine<'a> {
    pub(crate) role: Role<'a>,
    pub(crate) netns: &'a NetNs,
}

#[derive(Clone, Copy)]
pub(crate) enum Role<'a> {
    Outside,
    Trusted,
    Host,
    Server(&'a Quarter),
    Neighbour(&'a Quarter),
}

impl Role<'_> {
    pub(crate) fn name(self) -> String {
        match self {
            Self::Outside => "outside".to_owned(),
            Self::Trusted => TRUSTED.to_owned(),
            Self::Host => "host".to_owned(),
            Self::Server(quarter) => quarter.name.to_owned(),
            Self::Neighbour(quarter) => neighbour(quarter.name),
        }
    }

    /// A neighbour asks nobody but its neighbour; the others stand for how everyone asks elsewhere.
    pub(crate) fn asks(&self, of: &Quarter) -> bool {
        match self {
            Self::Neighbour(own) => own.number == of.number,
            _ => true,
        }
    }

    /// The network of a container.
    pub(crate) const fn quarter(&self) -> Option<&Quarter> {
        match self {
            Self::Outside | Self::Trusted | Self::Host => None,
            Self::Server(quarter) | Self::Neighbour(quarter) => Some(quarter),
        }
    }
}

/// The machine behind the link that one network trusts.
fn trusted(world: &World) -> NetNs {
    let machine = world.machine(TRUSTED);
    let give = |link: &str, addresses: [&str; 2]| {
        for address in addresses {
            tool(&format!("ip address add {address} dev {link} nodad"));
        }
    };
    machine.run(|| give("eth0", CABLE[1])).unwrap();
    give(TRUSTED, CABLE[0]);
    machine
}

/// Takes the machine of these addresses for the way to everything, its loopback addresses included.
fn route_everything([v4, v6]: [IpAddr; 2]) {
    route_localhost(v4);
    tool(&format!("ip route add default via {v4}"));
    tool(&format!("ip -6 route add default via {v6}"));
}

fn address(with_prefix: &str) -> IpAddr {
    with_prefix.split('/').next().unwrap().parse().unwrap()
}
