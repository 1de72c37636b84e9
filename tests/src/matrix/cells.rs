//! Every question that the promise answers, for everyone who asks.

use super::ask::By;
use super::place::{HIDDEN, OPEN, Place, Role};
use super::promise::{Asker, Face, Promise, Service, by_the_host, directly, elsewhere};
use super::quarter::{At, LOCALHOSTS, PUBLISHED, Quarter, UNPUBLISHED, neighbour};
use crate::world::Family;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// One question, and what is promised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cell {
    pub(crate) from: String,
    pub(crate) by: By,
    pub(crate) to: SocketAddr,
    pub(crate) what: String,
    pub(crate) promised: Promised,
}

/// What is promised, with the names and addresses of this place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Promised {
    Nothing,
    /// An answer of this server, that sees one of these.
    Answer {
        server: String,
        sees: Vec<IpAddr>,
    },
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { from, by, to, what, .. } = self;
        write!(f, "{from} -> {what} {to} {by}")
    }
}

impl fmt::Display for Promised {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => f.write_str("nothing"),
            Self::Answer { server, sees } => write!(f, "{server} sees {sees:?}"),
        }
    }
}

/// All that one machine asks: a container that serves asks everyone, a neighbour of it asks it alone.
pub(crate) fn of_role(place: &Place<'_>, role: Role<'_>) -> Vec<Cell> {
    let each = place.quarters.iter().filter(|quarter| role.asks(quarter));
    let families = each.flat_map(|q| Family::BOTH.into_iter().filter(|f| q.has(*f)).map(move |f| (q, f)));
    let containers = families.flat_map(|(of, family)| Questions { place, role, family }.of_container(of));
    let others = Family::BOTH.into_iter().flat_map(|family| Questions { place, role, family }.of_others());
    containers.chain(others).collect()
}

/// What one machine asks containers at their own addresses, and containers the host at 127.0.0.1, with nothing but
/// rules between it and an answer: the host has an address on the networks of both, and no bridge keeps them apart.
pub(crate) fn shut_by_rules(place: &Place<'_>, role: Role<'_>) -> Vec<Cell> {
    let leads = |family: &Family| match role {
        Role::Neighbour(_) => false,
        _ => role.quarter().is_none_or(|own| own.gateway(*family).is_some()),
    };
    let shut = |family| {
        let questions = Questions { place, role, family };
        let gates = place.quarters.iter().filter(move |of| role.asks(of) && of.gateway(family).is_some());
        let containers =
            gates.flat_map(move |of| questions.directly(of).into_iter().chain(questions.round(of)));
        let loopback = questions.of_others().into_iter().filter(|cell| {
            matches!(role, Role::Server(_)) && cell.to.ip() == IpAddr::V4(Ipv4Addr::LOCALHOST)
        });
        containers.chain(loopback).collect::<Vec<_>>()
    };
    let cells = Family::BOTH.into_iter().filter(leads).flat_map(shut);
    cells.filter(|cell| cell.promised == Promised::Nothing).collect()
}

/// The questions of one machine in one family.
#[derive(Clone, Copy)]
struct Questions<'a> {
    place: &'a Place<'a>,
    role: Role<'a>,
    family: Family,
}

impl Questions<'_> {
    fn of_container(&self, of: &Quarter) -> Vec<Cell> {
        self.directly(of).into_iter().chain(self.round(of)).chain(self.by_the_host(of)).collect()
    }

    /// By the gateway to one's neighbour, who is on the same link.
    fn round(&self, of: &Quarter) -> Vec<Cell> {
        let own = matches!(self.role, Role::Server(own) if own.number == of.number);
        let ways = [(By::Tcp, UNPUBLISHED), (By::Udp, UNPUBLISHED), (By::Ping, 0)];
        let cell = |(by, port)| {
            let promise = directly(Asker::Neighbour, of.kind, Service::Unpublished);
            let to = SocketAddr::new(of.neighbour.address(self.family), port);
            let promised = self.promised(promise, &neighbour(of.name), of.gateway(self.family));
            self.cell(by, to, "neighbour by the gateway".to_owned(), promised)
        };
        let there = own && of.gateway(self.family).is_some();
        ways.into_iter().filter(|_| there).map(cell).collect()
    }

    fn directly(&self, of: &Quarter) -> Vec<Cell> {
        let at = of.server.address(self.family);
        let services = [
            (By::Tcp, PUBLISHED, Service::Published),
            (By::Udp, PUBLISHED, Service::Published),
            (By::Tcp, UNPUBLISHED, Service::Unpublished),
            (By::Udp, UNPUBLISHED, Service::Unpublished),
            (By::Ping, 0, Service::Ping),
        ];
        let cell = |(by, port, service): (By, u16, Service)| {
            let promise = directly(self.asker(of), of.kind, service);
            let what = format!("{} itself", of.name);
            self.cell(by, SocketAddr::new(at, port), what, self.by_container(promise, of))
        };
        services.into_iter().map(cell).collect()
    }

    fn by_the_host(&self, of: &Quarter) -> Vec<Cell> {
        let each = At::ALL.into_iter().flat_map(|at| self.spots(of).into_iter().map(move |spot| (at, spot)));
        let cells = |(at, (asked, address)): (At, (&str, IpAddr))| {
            let promise = by_the_host(self.asker(of), of.kind, at.word(), asked);
            let what = format!("{} published at {} by {asked}", of.name, at.word());
            let to = SocketAddr::new(address, at.port(of.number));
            [By::Tcp, By::Udp].map(|by| self.cell(by, to, what.clone(), self.by_container(promise, of)))
        };
        each.flat_map(cells).collect()
    }

    /// The host's addresses at which ports of a network are asked for.
    fn spots(&self, of: &Quarter) -> Vec<(&'static str, IpAddr)> {
        let own = self.role.quarter().filter(|own| own.number != of.number);
        let gateways = [Some(of), own].into_iter().flatten().filter_map(|q| q.gateway(self.family));
        let uplink = ("uplink", self.place.world.host_address(self.family));
        let [first, second] = LOCALHOSTS;
        let localhosts = [("127.0.0.1", first), ("127.0.0.2", second)];
        let localhosts = localhosts.into_iter().filter(|_| self.family == Family::V4);
        [uplink].into_iter().chain(gateways.map(|g| ("gateway", g))).chain(localhosts).collect()
    }

    /// Servers that are no containers.
    fn of_others(&self) -> Vec<Cell> {
        let world = self.place.world;
        let localhost = match self.family {
            Family::V4 => IpAddr::V4(Ipv4Addr::LOCALHOST),
            Family::V6 => IpAddr::V6(Ipv6Addr::LOCALHOST),
        };
        let outside = Some(("outside", world.remote_address(self.family), OPEN));
        let uplink = Some(("uplink", world.host_address(self.family), OPEN));
        let gateway = self.role.quarter().and_then(|q| q.gateway(self.family));
        let gateway = gateway.map(|address| ("gateway", address, OPEN));
        let loopback = Some(("loopback", localhost, HIDDEN));
        let targets = match self.role {
            Role::Host | Role::Neighbour(_) => Vec::new(),
            Role::Outside | Role::Trusted => vec![uplink, loopback],
            Role::Server(_) => vec![outside, uplink, gateway, loopback],
        };
        targets.into_iter().flatten().flat_map(|target| self.elsewhere(target)).collect()
    }

    fn elsewhere(&self, (target, address, port): (&str, IpAddr, u16)) -> Vec<Cell> {
        let promise = elsewhere(self.role.quarter().map(|quarter| quarter.kind), target);
        let (server, link) = match target {
            "outside" => ("outside", Some(self.place.world.host_address(self.family))),
            _ => ("host", None),
        };
        // The loopback address of one's own answers pings, whoever else does.
        let ping = Some((By::Ping, 0)).filter(|_| target != "loopback");
        let ways = [(By::Tcp, port), (By::Udp, port)].into_iter().chain(ping);
        ways.map(|(by, port)| {
            let promised = self.promised(promise, server, link);
            self.cell(by, SocketAddr::new(address, port), format!("{target} of {server}"), promised)
        })
        .collect()
    }

    fn asker(&self, of: &Quarter) -> Asker {
        match self.role {
            Role::Outside => Asker::Outside,
            Role::Trusted => Asker::Trusted,
            Role::Host => Asker::Host,
            Role::Server(own) if own.number == of.number => Asker::Itself,
            Role::Server(own) => Asker::Other(own.kind),
            Role::Neighbour(_) => Asker::Neighbour,
        }
    }

    fn by_container(&self, promise: Promise, of: &Quarter) -> Promised {
        self.promised(promise, of.name, of.gateway(self.family))
    }

    /// With names and addresses; `link` is the host's towards the server.
    fn promised(&self, promise: Promise, server: &str, link: Option<IpAddr>) -> Promised {
        let Promise::Answer(face) = promise else { return Promised::Nothing };
        // Who has no address of the family reaches nobody by it.
        let Some(own) = self.own() else { return Promised::Nothing };
        let sees = match face {
            Face::Own => vec![own],
            Face::Link => link.into_iter().collect(),
            Face::Host => self.place.host_addresses(self.family),
            Face::Snat => vec![self.place.snat(self.family)],
        };
        Promised::Answer { server: server.to_owned(), sees }
    }

    fn own(&self) -> Option<IpAddr> {
        match self.role {
            Role::Outside => Some(self.place.world.remote_address(self.family)),
            Role::Trusted => Some(self.place.trusted_address(self.family)),
            Role::Host => Some(self.place.world.host_address(self.family)),
            Role::Server(q) => q.has(self.family).then(|| q.server.address(self.family)),
            Role::Neighbour(q) => q.has(self.family).then(|| q.neighbour.address(self.family)),
        }
    }

    fn cell(&self, by: By, to: SocketAddr, what: String, promised: Promised) -> Cell {
        Cell { from: self.role.name(), by, to, what, promised }
    }
}
