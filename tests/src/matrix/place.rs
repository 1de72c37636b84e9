//! Where the questions are asked: a host with a network of every kind, and nobody who keeps to default routes.

use super::quarter::{KINDS, PUBLISHED, Quarter, SNAT, TRUSTED, UNPUBLISHED, neighbour};
use super::witness::Book;
use crate::program::tool;
use crate::publishing::route_localhost;
use crate::traffic::allow_ping;
use crate::world::{Family, World};
use linkspan::NetNs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Served by machines that are no containers, at all their addresses.
pub(crate) const OPEN: u16 = 7000;
/// Served by the host on its loopback addresses only.
pub(crate) const HIDDEN: u16 = 7001;

/// The cable to the machine behind the trusted link, the host's end first.
const CABLE: [[&str; 2]; 2] = [["10.99.0.1/24", "fd99::1/64"], ["10.99.0.2/24", "fd99::2/64"]];

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
