use crate::{Group, PortFlags};
use ipnet::IpNet;
use linkspan_net_types::{IfName, Mac, Mtu};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::IpAddr;

/// Which of the two namespaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Side {
    /// The host's.
    Host,
    /// The container's.
    Container,
}

/// A link of one of the two namespaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Place {
    /// The namespace.
    pub side: Side,
    /// The link's name there.
    pub link: IfName,
}

impl Place {
    /// The link of this name on the host.
    pub const fn host(link: IfName) -> Self {
        Self { side: Side::Host, link }
    }

    /// The link of this name in the container.
    pub const fn container(link: IfName) -> Self {
        Self { side: Side::Container, link }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.side {
            Side::Host => self.link.fmt(f),
            Side::Container => write!(f, "{} in the container", self.link),
        }
    }
}

/// A family of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// The family of this address.
    pub const fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        })
    }
}

/// One change of the host or the container; its text is one readable line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Step {
    /// Makes a bridge with an MTU of 1500 bytes, down and without addresses.
    CreateBridge {
        /// Its name.
        name: IfName,
        /// Its MAC.
        mac: Mac,
        /// Its group of links.
        group: Option<Group>,
    },
    /// Makes a veth pair across the namespaces, both ends down.
    CreateVeth {
        /// The name of the host end.
        host: IfName,
        /// The MAC of the host end.
        host_mac: Mac,
        /// The name of the end in the container.
        inside: IfName,
        /// The MAC of the end in the container.
        inside_mac: Mac,
        /// The MTU of both.
        mtu: Mtu,
        /// The host end's group of links.
        group: Option<Group>,
        /// The bridge that the host end is a port of.
        bridge: Option<IfName>,
    },
    /// Deletes a bridge of the host; absence is success.
    DeleteBridge {
        /// Its name.
        name: IfName,
    },
    /// Deletes both ends of a pair, from the host's side; absence is success.
    DeleteVeth {
        /// The name of the host end.
        host: IfName,
        /// The name of the end in the container.
        inside: IfName,
    },
    /// Deletes every link of the host that is in the group; absence is success.
    DeleteGroup {
        /// The group.
        group: Group,
    },
    /// Puts a link into a group.
    SetGroup {
        /// The link.
        at: Place,
        /// The group.
        group: Group,
    },
    /// Gives a link its MAC.
    SetMac {
        /// The link.
        at: Place,
        /// The MAC.
        mac: Mac,
    },
    /// Gives a link its MTU.
    SetMtu {
        /// The link.
        at: Place,
        /// The MTU.
        mtu: Mtu,
    },
    /// Switches a link on.
    SetUp {
        /// The link.
        at: Place,
    },
    /// Switches a link off.
    SetDown {
        /// The link.
        at: Place,
    },
    /// Makes a link of the host a port of a bridge.
    Join {
        /// The link.
        port: IfName,
        /// The bridge.
        bridge: IfName,
    },
    /// Gives a bridge's port its flags.
    SetPort {
        /// The port.
        port: IfName,
        /// Its flags.
        flags: PortFlags,
    },
    /// Lets packets from and to 127.0.0.0/8 cross a link of the host, or not.
    SetRouteLocalnet {
        /// The link.
        link: IfName,
        /// Whether they may.
        on: bool,
    },
    /// Lets a link get no IPv6 address by itself, not even a link-local one.
    ///
    /// It has to come before the link is switched on, in a message of its own.
    StopAutomaticIpv6 {
        /// The link.
        at: Place,
    },
    /// Makes a link of the host deaf to routers' advertisements.
    IgnoreRouters {
        /// The link.
        link: IfName,
    },
    /// Adds an address that is usable at once: no duplicate is looked for.
    AddAddress {
        /// The link.
        at: Place,
        /// The address, with the length of its subnet's prefix.
        address: IpNet,
    },
    /// Removes an address; absence is success.
    RemoveAddress {
        /// The link.
        at: Place,
        /// The address, with the length of its subnet's prefix.
        address: IpNet,
    },
    /// Adds the container's default route of the gateway's family.
    AddDefaultRoute {
        /// The link that it uses.
        link: IfName,
        /// The gateway.
        gateway: IpAddr,
    },
    /// Puts a default route in the place of the container's own of the same family and metric.
    ReplaceDefaultRoute {
        /// The link that it uses.
        link: IfName,
        /// The gateway.
        gateway: IpAddr,
    },
    /// Makes the host forward packets of a family. It is never switched off again.
    EnableForwarding {
        /// The family.
        family: Family,
    },
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CreateBridge { name, mac, group } => {
                write!(f, "create bridge {name} mac {mac}{}", Grouped(*group))
            }
            Self::CreateVeth { host, host_mac, inside, inside_mac, mtu, group, bridge } => {
                write!(f, "create veth {host} mac {host_mac} to {inside} in the container mac {inside_mac}")?;
                write!(f, " mtu {mtu}{}", Grouped(*group))?;
                bridge.map_or(Ok(()), |bridge| write!(f, " master {bridge}"))
            }
            Self::DeleteBridge { name } => write!(f, "delete bridge {name}"),
            Self::DeleteVeth { host, inside } => {
                write!(f, "delete veth {host} with {inside} in the container")
            }
            Self::DeleteGroup { group } => write!(f, "delete every link of group {group}"),
            Self::SetGroup { at, group } => write!(f, "put {at} into group {group}"),
            Self::SetMac { at, mac } => write!(f, "set {at} mac {mac}"),
            Self::SetMtu { at, mtu } => write!(f, "set {at} mtu {mtu}"),
            Self::SetUp { at } => write!(f, "set {at} up"),
            Self::SetDown { at } => write!(f, "set {at} down"),
            Self::Join { port, bridge } => write!(f, "set {port} master {bridge}"),
            Self::SetPort { port, flags } => write!(
                f,
                "set port {port} hairpin {} isolated {}",
                on_off(flags.hairpin),
                on_off(flags.isolated)
            ),
            Self::SetRouteLocalnet { link, on } => write!(f, "set {link} route_localnet {}", on_off(*on)),
            Self::StopAutomaticIpv6 { at } => write!(f, "set {at} addrgenmode none"),
            Self::IgnoreRouters { link } => write!(f, "set {link} accept_ra off"),
            Self::AddAddress { at, address } => write!(f, "add address {address} to {at}"),
            Self::RemoveAddress { at, address } => write!(f, "remove address {address} from {at}"),
            Self::AddDefaultRoute { link, gateway } => {
                write!(f, "add default route via {gateway} dev {link} in the container")
            }
            Self::ReplaceDefaultRoute { link, gateway } => {
                write!(f, "replace default route via {gateway} dev {link} in the container")
            }
            Self::EnableForwarding { family } => write!(f, "switch {family} forwarding on"),
        }
    }
}

const fn on_off(on: bool) -> &'static str {
    if on { "on" } else { "off" }
}

struct Grouped(Option<Group>);

impl fmt::Display for Grouped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |group| write!(f, " group {group}"))
    }
}

/// Steps in their order: what would be done, as a value to print, to compare and to perform.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Plan {
    steps: Vec<Step>,
}

impl Plan {
    /// The steps, first one first.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// Whether there is nothing to do.
    pub const fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// These steps, and then the other plan's.
    #[must_use]
    pub fn then(mut self, next: Self) -> Self {
        self.steps.extend(next.steps);
        self
    }
}

impl From<Vec<Step>> for Plan {
    fn from(steps: Vec<Step>) -> Self {
        Self { steps }
    }
}

impl fmt::Display for Plan {
    /// One step on each line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.steps.iter().try_for_each(|step| writeln!(f, "{step}"))
    }
}
