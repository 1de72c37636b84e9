use super::layout::Chain;
use crate::network::Source;
use crate::{Access, Destination, Network, Publish, Way};
use ipnet::IpNet;
use linkspan_net_types::{IfName, Port, Protocol};
use std::fmt;
use std::net::IpAddr;

/// A set or map of the table. The number in a name is the address family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Set {
    /// The bridges.
    Bridges,
    /// The bridges of internal networks, isolated ones among them.
    Internal,
    /// The bridges of isolated networks.
    Isolated,
    /// Each subnet with its bridge.
    Own4,
    /// The subnets whose containers cannot be reached from outside by their own addresses.
    Guard4,
    /// Each subnet with a link of the host from which published ports are reached at the containers' own
    /// addresses.
    Trusted4,
    /// The subnets that are masqueraded.
    Masq4,
    /// The published ports that are reached at the containers' own addresses: on routed networks, and on others
    /// from trusted links.
    Open4,
    /// Where a port of each address of the host leads.
    Pub4,
    /// Where a port of one address of the host leads.
    Pub4At,
    /// The subnets with a fixed source, and that source.
    Snat4,
    /// Each subnet with its bridge.
    Own6,
    /// The subnets whose containers cannot be reached from outside by their own addresses.
    Guard6,
    /// Each subnet with a link of the host from which published ports are reached at the containers' own
    /// addresses.
    Trusted6,
    /// The subnets that are masqueraded.
    Masq6,
    /// The published ports that are reached at the containers' own addresses: on routed networks, and on others
    /// from trusted links.
    Open6,
    /// Where a port of each address of the host leads.
    Pub6,
    /// Where a port of one address of the host leads.
    Pub6At,
    /// The subnets with a fixed source, and that source.
    Snat6,
    /// What becomes of a packet from a bridge to itself.
    Same,
    /// What becomes of a packet to a bridge.
    To,
}

impl Set {
    /// Its name in the table.
    pub const fn as_str(self) -> &'static str {
        self.shape().name
    }

    /// Whether its elements are published ports.
    pub(crate) const fn holds_ports(self) -> bool {
        matches!(self, Self::Open4 | Self::Open6 | Self::Pub4 | Self::Pub4At | Self::Pub6 | Self::Pub6At)
    }
}

/// One element of a set or map, as it stands in the kernel.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Element {
    pub(crate) slot: Slot,
    pub(crate) value: Value,
}

/// The place of an element: its set and its key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Slot {
    pub(crate) set: Set,
    pub(crate) key: Vec<Cell>,
}

/// A part of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Cell {
    Link(IfName),
    Address(IpAddr),
    Subnet(IpNet),
    Protocol(Protocol),
    Port(Port),
}

/// What an element leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Value {
    /// It is one of a set.
    Member,
    Accept,
    Goto(Chain),
    Address(IpAddr),
    To(Destination),
}

impl Element {
    /// The set or map that it is in.
    pub const fn set(&self) -> Set {
        self.slot.set
    }

    /// The port that it publishes by address translation, where it does.
    pub fn published(&self) -> Option<Publish> {
        let Value::To(to) = self.value else { return None };
        match *self.slot.key {
            [Cell::Protocol(protocol), Cell::Port(port)] => Some(Publish::nat(protocol, port, to)),
            [Cell::Address(at), Cell::Protocol(protocol), Cell::Port(port)] => {
                Publish::nat(protocol, port, to).at(at).ok()
            }
            _ => None,
        }
    }

    /// What a network adds.
    pub(crate) fn of_network(network: &Network) -> Vec<Self> {
        let bridge = Cell::Link(network.bridge());
        let mut all = vec![
            member(Set::Bridges, &[bridge]),
            leads(Set::Same, &[bridge, bridge], same(network.neighbours())),
        ];
        match to(network.access()) {
            Some(chain) => all.push(leads(Set::To, &[bridge], Value::Goto(chain))),
            None => all.push(member(Set::Internal, &[bridge])),
        }
        if network.access() == Access::Isolated {
            all.push(member(Set::Isolated, &[bridge]));
        }
        network.subnets().for_each(|subnet| of_subnet(network, subnet, &mut all));
        all
    }

    /// Where something can be that speaks of this network, but for sets whose keys begin with a subnet and go on
    /// with a link.
    #[cfg(feature = "kernel")]
    pub(crate) fn places_of(network: &Network) -> Vec<Slot> {
        let bridge = Cell::Link(network.bridge());
        let slot = |set: Set, key: &[Cell]| Slot { set, key: key.to_vec() };
        let mut places = vec![slot(Set::Same, &[bridge, bridge])];
        places.extend([Set::Bridges, Set::Internal, Set::Isolated, Set::To].map(|set| slot(set, &[bridge])));
        for subnet in network.subnets() {
            let of = |four, six| if subnet.addr().is_ipv4() { four } else { six };
            let sets = [of(Set::Guard4, Set::Guard6), of(Set::Masq4, Set::Masq6), of(Set::Snat4, Set::Snat6)];
            places.extend(sets.map(|set| slot(set, &[Cell::Subnet(subnet)])));
        }
        places
    }

    /// What a published port adds.
    pub(crate) fn of_publish(publish: &Publish) -> Self {
        let (to, protocol) = (publish.to(), Cell::Protocol(publish.protocol()));
        let v4 = to.address().is_ipv4();
        let of = |four, six| if v4 { four } else { six };
        match publish.way() {
            Way::Nat { at: None, port } => {
                leads(of(Set::Pub4, Set::Pub6), &[protocol, Cell::Port(port)], Value::To(to))
            }
            Way::Nat { at: Some(at), port } => {
                let key = [Cell::Address(at), protocol, Cell::Port(port)];
                leads(of(Set::Pub4At, Set::Pub6At), &key, Value::To(to))
            }
            Way::Routed { .. } => {
                let key = [Cell::Address(to.address()), protocol, Cell::Port(to.port())];
                member(of(Set::Open4, Set::Open6), &key)
            }
        }
    }
}

impl Slot {
    /// The subnet and the bridge that it joins, where it is of [`Set::Own4`] or [`Set::Own6`].
    pub(crate) fn owned(&self) -> Option<(IpNet, IfName)> {
        match (self.set, &*self.key) {
            (Set::Own4 | Set::Own6, &[Cell::Subnet(subnet), Cell::Link(bridge)]) => Some((subnet, bridge)),
            _ => None,
        }
    }

    /// The link that the key begins with.
    pub(crate) fn link(&self) -> Option<IfName> {
        match self.key.first() {
            Some(&Cell::Link(name)) => Some(name),
            _ => None,
        }
    }

    const fn is_trust(&self) -> bool {
        matches!(self.set, Set::Trusted4 | Set::Trusted6)
    }

    /// Whether it speaks of this network's bridge or of one of its subnets.
    pub(crate) fn concerns(&self, network: &Network) -> bool {
        self.key.iter().any(|cell| match cell {
            // A link that another network trusts may be this one's bridge.
            Cell::Link(name) => *name == network.bridge() && !self.is_trust(),
            Cell::Subnet(subnet) => network.subnets().any(|own| own == *subnet),
            _ => false,
        })
    }
}

const fn same(neighbours: bool) -> Value {
    if neighbours { Value::Accept } else { Value::Goto(Chain::DnatOnly) }
}

const fn to(access: Access) -> Option<Chain> {
    match access {
        Access::Nat => Some(Chain::ToNat),
        Access::Unprotected => Some(Chain::ToOpen),
        Access::Routed => Some(Chain::ToRouted),
        Access::Internal | Access::Isolated => None,
    }
}

fn of_subnet(network: &Network, subnet: IpNet, all: &mut Vec<Element>) {
    let of = |four, six| if subnet.addr().is_ipv4() { four } else { six };
    let cell = Cell::Subnet(subnet);
    all.push(member(of(Set::Own4, Set::Own6), &[cell, Cell::Link(network.bridge())]));
    if network.is_guarded() {
        all.push(member(of(Set::Guard4, Set::Guard6), &[cell]));
    }
    let trusted = network.trusted().map(|link| [cell, Cell::Link(link)]);
    all.extend(trusted.map(|key| member(of(Set::Trusted4, Set::Trusted6), &key)));
    match network.source(subnet) {
        Some(Source::Masqueraded) => all.push(member(of(Set::Masq4, Set::Masq6), &[cell])),
        Some(Source::Fixed(to)) => all.push(leads(of(Set::Snat4, Set::Snat6), &[cell], Value::Address(to))),
        None => {}
    }
}

fn member(set: Set, key: &[Cell]) -> Element {
    leads(set, key, Value::Member)
}

fn leads(set: Set, key: &[Cell], value: Value) -> Element {
    Element { slot: Slot { set, key: key.to_vec() }, value }
}

impl fmt::Display for Element {
    /// As in nft: `tcp . 8080 : 10.88.1.2 . 80`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.slot.fmt(f)?;
        match self.value {
            Value::Member => Ok(()),
            Value::Accept => f.write_str(" : accept"),
            Value::Goto(chain) => write!(f, " : goto {}", chain.fixed_name()),
            Value::Address(address) => write!(f, " : {address}"),
            Value::To(to) => write!(f, " : {} . {}", to.address(), to.port()),
        }
    }
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, cell) in self.key.iter().enumerate() {
            write!(f, "{}{cell}", if i == 0 { "" } else { " . " })?;
        }
        Ok(())
    }
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Link(name) => write!(f, "\"{name}\""),
            Self::Address(address) => address.fmt(f),
            Self::Subnet(subnet) if subnet.prefix_len() == subnet.max_prefix_len() => subnet.addr().fmt(f),
            Self::Subnet(subnet) => subnet.fmt(f),
            Self::Protocol(protocol) => protocol.fmt(f),
            Self::Port(port) => port.fmt(f),
        }
    }
}
