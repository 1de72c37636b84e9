//! What networks and published ports promise, as the packets that have to pass.

use super::sight::Sight;
use crate::{
    AttachedEndpoint, Attachment, ContainerName, DefinedNetwork, HostSide, Neighbours, NetworkName, Published,
};
use linkspan_ipam::Subnet;
use linkspan_nat_rules::walk::{Packet, Routes, Routing};
use linkspan_net_types::{IfName, Port, Protocol};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Something that a network or a published port promises.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Promise {
    /// The containers of this network reach machines outside.
    Outside(NetworkName),
    /// The containers of this network reach each other.
    Neighbours(NetworkName),
    /// The host reaches the containers of this network.
    Host(NetworkName),
    /// Machines outside reach this port.
    Port(PublishedPort),
    /// Containers of the same network reach this port by the host's address.
    PortFromInside(PublishedPort),
}

/// A published port: one of the host, or of the container itself where its network is routed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PublishedPort {
    /// Who publishes it.
    pub container: ContainerName,
    /// Its number.
    pub port: Port,
    /// Its protocol.
    pub protocol: Protocol,
}

impl fmt::Display for Promise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Outside(network) => write!(f, "the way out of network `{network}`"),
            Self::Neighbours(network) => write!(f, "neighbours on network `{network}`"),
            Self::Host(network) => write!(f, "the host's way to network `{network}`"),
            Self::Port(port) => write!(f, "published port {port} from outside"),
            Self::PortFromInside(port) => write!(f, "published port {port} from its neighbours"),
        }
    }
}

impl fmt::Display for PublishedPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { container, port, protocol } = self;
        write!(f, "{port}/{protocol} of `{container}`")
    }
}

/// A packet that has to pass, and so has its answer.
#[derive(Clone, Debug)]
pub(super) struct Flow {
    pub(super) promise: Promise,
    pub(super) packet: Packet,
}

/// Where the packets go: the host as it will be once it is what the records say.
pub(super) struct Ground<'a> {
    sight: &'a Sight,
    routes: Routes,
}

/// Another machine, and the link to it.
struct Machine {
    address: IpAddr,
    link: IfName,
}

/// What stands for all ports of containers, and of the world.
const INSIDE: Port = Port::new(80).expect("80 is a port");
const WORLD: Port = Port::new(443).expect("443 is a port");
/// Machines that nobody keeps away by accident, where the default route names none: public name servers.
const ANYWHERE: [IpAddr; 2] =
    [IpAddr::V4(Ipv4Addr::new(9, 9, 9, 9)), IpAddr::V6(Ipv6Addr::new(0x2620, 0xfe, 0, 0, 0, 0, 0, 0xfe))];

impl<'a> Ground<'a> {
    pub(super) fn of(sight: &'a Sight) -> Self {
        let links = sight.snapshot.links.iter();
        let addresses = links.flat_map(|(name, link)| link.addresses.iter().map(move |a| (name, *a)));
        let own = addresses.filter_map(|(name, address)| Some((name.parse().ok()?, address)));
        // Those of a bridge that is missing are there once it is.
        let networks = sight.networks.iter().map(|record| &record.network);
        let gateways = networks.flat_map(|network| network.gateways().map(|gateway| (network.link, gateway)));
        let routes = own
            .chain(gateways)
            .fold(Routes::new(), |routes, (link, address)| routes.with_link(link, address));
        let seen = sight.snapshot.routes.iter();
        let seen = seen.filter_map(|route| Some((route.destination, route.link.as_ref()?.parse().ok()?)));
        let routes = seen.fold(routes, |routes, (to, link)| routes.with_route(to, link));
        Self { sight, routes }
    }

    pub(super) const fn routes(&self) -> &Routes {
        &self.routes
    }

    /// All packets that have to pass.
    pub(super) fn flows(&self) -> Vec<Flow> {
        let networks = self.sight.networks.iter().flat_map(|record| self.of_network(&record.network));
        let ports = self.sight.attachments.iter().flat_map(|attachment| self.of_container(attachment));
        networks.chain(ports).collect()
    }

    fn of_network(&self, network: &DefinedNetwork) -> Vec<Flow> {
        network.subnets.iter().flat_map(|subnet| self.of_subnet(network, subnet)).collect()
    }

    fn of_subnet(&self, network: &DefinedNetwork, subnet: &Subnet) -> Vec<Flow> {
        let (bridge, [one, other]) = (network.link, self.containers(network, subnet));
        let mut flows = Vec::new();
        let mut promise = |promise: fn(NetworkName) -> Promise, packet: Option<Packet>| {
            flows.extend(packet.map(|packet| Flow { promise: promise(network.name.clone()), packet }));
        };
        if network.policy.gateway.leads_out() {
            let outside = self.outside(one.is_ipv4());
            let packet = outside.and_then(|outside| tcp(one, outside.address, WORLD));
            promise(Promise::Outside, packet.map(|packet| packet.from_link(bridge)));
        }
        if network.policy.neighbours == Neighbours::Reachable {
            let filtered = self.sight.is_filtered(bridge, one.is_ipv4());
            let packet = tcp(one, other, INSIDE);
            promise(Promise::Neighbours, packet.map(|packet| packet.from_link(bridge).bridged(filtered)));
        }
        let gateways = network.gateways().map(|gateway| gateway.addr());
        promise(Promise::Host, gateways.filter_map(|gateway| tcp(gateway, one, INSIDE)).next());
        flows
    }

    fn of_container(&self, attachment: &Attachment) -> Vec<Flow> {
        attachment.published.iter().flat_map(|published| self.of_port(attachment, published)).collect()
    }

    fn of_port(&self, attachment: &Attachment, published: &Published) -> Vec<Flow> {
        let by = published.protocol;
        let named = |port| PublishedPort { container: attachment.name.clone(), port, protocol: by };
        let mut flows = Vec::new();
        for open in published.open() {
            let outside = self.outside(open.is_ipv4());
            let packet = outside.and_then(|from| from.asks(open, by, published.port));
            flows.extend(packet.map(|packet| Flow { promise: Promise::Port(named(published.port)), packet }));
        }
        let Some(HostSide { address, port }) = published.host else { return flows };
        for to in &published.to {
            let Some(outside) = self.outside(to.is_ipv4()) else { continue };
            let at = address.or_else(|| self.routes.own(outside.link, outside.address));
            // A loopback address is for the host alone.
            let Some(at) = at.filter(|at| !at.is_loopback()) else { continue };
            let packet = outside.asks(at, by, port);
            flows.extend(packet.map(|packet| Flow { promise: Promise::Port(named(port)), packet }));
            let packet = self.neighbour(attachment, *to).and_then(|from| from.asks(at, by, port));
            flows.extend(packet.map(|packet| Flow { promise: Promise::PortFromInside(named(port)), packet }));
        }
        flows
    }

    /// Two containers of a subnet: one that is there, where one is.
    fn containers(&self, network: &DefinedNetwork, subnet: &Subnet) -> [IpAddr; 2] {
        let endpoints = self.sight.attachments.iter().flat_map(|attachment| &attachment.endpoints);
        let there = endpoints.filter(|endpoint| endpoint.network_id == network.id);
        let there = there.filter_map(|endpoint| endpoint.address_in(subnet));
        let free = subnet.net().hosts().filter(|address| *address != subnet.gateway());
        let mut addresses = there.chain(free.take(2));
        let one = addresses.next().unwrap_or_else(|| subnet.net().addr());
        [one, addresses.find(|other| *other != one).unwrap_or(one)]
    }

    /// Someone on the network of this container's address.
    fn neighbour(&self, attachment: &Attachment, of: IpAddr) -> Option<Machine> {
        let has = |endpoint: &&AttachedEndpoint| endpoint.addresses.iter().any(|own| own.addr() == of);
        let endpoint = attachment.endpoints.iter().find(has)?;
        let mut networks = self.sight.networks.iter().map(|record| &record.network);
        let network = networks.find(|network| network.id == endpoint.network_id)?;
        let [one, other] = self.containers(network, network.subnet_of(of)?);
        Some(Machine { address: if one == of { other } else { one }, link: endpoint.bridge })
    }

    /// A machine behind the default route.
    fn outside(&self, v4: bool) -> Option<Machine> {
        let defaults = self.sight.snapshot.routes.iter().filter(|route| route.is_default());
        let defaults =
            defaults.filter(|route| route.destination.addr().is_ipv4() == v4 && route.link.is_some());
        let route = defaults.min_by_key(|route| route.metric)?;
        // What is of the link alone is nobody's partner.
        let gateway =
            route.gateway.filter(|gateway| !matches!(gateway, IpAddr::V6(v6) if v6.is_unicast_link_local()));
        let anywhere = ANYWHERE.into_iter().find(|address| address.is_ipv4() == v4)?;
        Some(Machine { address: gateway.unwrap_or(anywhere), link: route.link.as_ref()?.parse().ok()? })
    }
}

impl Machine {
    fn asks(&self, target: IpAddr, by: Protocol, port: Port) -> Option<Packet> {
        Some(Packet::to_port(self.address, target, by, port)?.from_link(self.link))
    }
}

fn tcp(source: IpAddr, target: IpAddr, port: Port) -> Option<Packet> {
    Packet::to_port(source, target, Protocol::Tcp, port)
}
