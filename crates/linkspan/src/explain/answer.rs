use crate::ContainerName;
use linkspan_nat_rules::walk::RuleRef;
use linkspan_net_types::IfName;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::IpAddr;

/// What becomes of a connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Answer {
    /// The first packet arrives, and its answer comes back. Whether a program listens is not said.
    Passes {
        /// Where it comes out.
        to: Arrival,
    },
    /// The first packet, or its answer, ends before.
    StoppedBy {
        /// What it ends at.
        by: Obstacle,
        /// The command that lets it pass there, for a shell; `None` where none is known, or where it is as wanted.
        mend: Option<String>,
    },
    /// It hangs on something that is not known.
    CannotTell {
        /// What that is.
        by: Doubt,
    },
}

/// Where a packet comes out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Arrival {
    /// The host itself takes it.
    Host,
    /// This container takes it.
    Container(ContainerName),
    /// It leaves the host by this link, to another machine, which is taken to be there and to answer by the way the
    /// packet came. A bridge with ports that are not on record is such a link.
    Link(IfName),
}

/// One of the machines that packets pass: the host, or a container with its own routes and rules.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Place {
    /// The host.
    Host,
    /// A container.
    Container(ContainerName),
}

/// What stops a packet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Obstacle {
    /// A rule of ours on the host.
    Rule(RuleRef),
    /// A rule of someone else.
    Foreign {
        /// Where it is loaded.
        at: Place,
        /// The rule, or the policy of the chain.
        rule: RuleRef,
    },
    /// There is no route to the address.
    NoRoute {
        /// Who has none.
        at: Place,
        /// The address.
        to: IpAddr,
    },
    /// A route says that the address is not to be reached.
    Unreachable {
        /// Who has the route.
        at: Place,
        /// The route, such as `unreachable 10.0.0.0/8`.
        route: String,
    },
    /// A machine passes nothing on between its links: `net.ipv4.ip_forward` or `net.ipv6.conf.all.forwarding`, or
    /// that of the link by which the packet arrives.
    ForwardingOff {
        /// Which machine.
        at: Place,
        /// The setting that is 0.
        setting: String,
    },
    /// The address never arrives by a link: a loopback address (RFC 1122), or the receiver's own as a source.
    Martian {
        /// Who does not take it.
        at: Place,
        /// The link.
        link: String,
        /// The address.
        address: IpAddr,
    },
    /// The way back to the source does not go by the link by which the packet arrives: `rp_filter`.
    ReversePath {
        /// Who does not take it.
        at: Place,
        /// The link.
        link: String,
        /// The source.
        source: IpAddr,
    },
    /// A link is switched off.
    LinkDown {
        /// Whose it is.
        at: Place,
        /// The link.
        link: String,
    },
    /// A link that is on record is not there, or is no port of its bridge.
    LinkMissing {
        /// Whose it is.
        at: Place,
        /// The link.
        link: String,
    },
    /// A port of a bridge forwards nothing: its other end is down, or the spanning tree has it wait.
    PortBlocked {
        /// The port.
        port: String,
    },
    /// The ports of two neighbours are kept apart by their flag `isolated`.
    Isolated {
        /// The bridge.
        bridge: String,
        /// The ports.
        ports: [String; 2],
    },
    /// The frame would have to leave by the port by which it came, whose flag `hairpin` is off.
    Hairpin {
        /// The port.
        port: String,
    },
    /// Nobody on the link has the address.
    Nobody {
        /// Who looks for it.
        at: Place,
        /// The link.
        link: String,
        /// The address.
        address: IpAddr,
    },
    /// A link has no IPv6 address from which its machine could ask for its neighbours (RFC 4861): neither a
    /// link-local one nor the packet's source.
    Unaddressed {
        /// Whose it is.
        at: Place,
        /// The link.
        link: String,
    },
    /// It is led back to the machine that sent it, which takes nothing that comes from itself.
    BackToSource {
        /// The link by which it leaves.
        link: String,
        /// The address of that machine.
        address: IpAddr,
    },
    /// It comes out elsewhere than where the address is that it has by then.
    Elsewhere {
        /// Where it comes out.
        to: Arrival,
    },
    /// The answer comes from an address that was not asked, so that the asker does not know it.
    AnswerFrom {
        /// The address.
        address: IpAddr,
    },
}

/// Why nobody can tell.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Doubt {
    /// A rule decides by something that is not known of the packet, or leads it elsewhere.
    Rule {
        /// Where it is loaded.
        at: Place,
        /// The rule.
        rule: RuleRef,
    },
    /// Routing by policy: a rule of `ip rule` beyond the usual ones may have a say.
    Policy {
        /// Who has it.
        at: Place,
        /// The rule, as `ip rule` has it.
        rule: String,
    },
    /// A route with several next hops, or by a link of which nothing is known.
    Route {
        /// Who has it.
        at: Place,
        /// The route.
        route: String,
    },
    /// The network namespace of a container is gone, or has more in it than is read.
    Namespace {
        /// The container.
        of: ContainerName,
    },
    /// A link of a container that is not on record.
    Link {
        /// The container.
        of: ContainerName,
        /// The link.
        link: String,
    },
    /// The packet goes from one machine to the next, and on and on.
    Circle,
}

impl Obstacle {
    /// The command that takes it away, where it is not as it is because someone wants it so.
    pub(crate) fn mend(&self) -> Option<String> {
        match self {
            Self::ForwardingOff { at: Place::Host, setting } => Some(format!("sysctl -w {setting}=1")),
            Self::LinkDown { at: Place::Host, link } => Some(format!("ip link set {link} up")),
            Self::ReversePath { at: Place::Host, link, .. } => {
                Some(format!("sysctl -w net.ipv4.conf.{link}.rp_filter=2"))
            }
            Self::Hairpin { port } => Some(format!("bridge link set dev {port} hairpin on")),
            _ => None,
        }
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Passes { to } => write!(f, "passes, {to}"),
            Self::StoppedBy { by, .. } => write!(f, "stopped by {by}"),
            Self::CannotTell { by } => write!(f, "cannot tell: {by}"),
        }
    }
}

impl fmt::Display for Arrival {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host => f.write_str("to the host"),
            Self::Container(name) => write!(f, "to container `{name}`"),
            Self::Link(link) => write!(f, "out by link `{link}`"),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host => f.write_str("the host"),
            Self::Container(name) => write!(f, "container `{name}`"),
        }
    }
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rule(rule) => write!(f, "our rule {rule}"),
            Self::Foreign { at: Place::Host, rule } => write!(f, "foreign rule {rule}"),
            Self::Foreign { at, rule } => write!(f, "rule {rule} inside {at}"),
            Self::NoRoute { at, to } => write!(f, "the routes of {at}: none leads to {to}"),
            Self::Unreachable { at, route } => write!(f, "route `{route}` of {at}"),
            Self::ForwardingOff { at, setting } => write!(f, "{at}, which passes nothing on: {setting} is 0"),
            Self::Martian { at, link, address } => {
                write!(f, "the routes of {at}: {address} never arrives by link `{link}`")
            }
            Self::ReversePath { at, link, source } => {
                write!(f, "rp_filter of {at}: the way back to {source} is not by link `{link}`")
            }
            Self::LinkDown { at, link } => write!(f, "link `{link}` of {at}, which is down"),
            Self::LinkMissing { at, link } => write!(f, "link `{link}` of {at}, which is missing"),
            Self::PortBlocked { port } => write!(f, "bridge port `{port}`, which does not forward"),
            Self::Isolated { bridge, ports: [one, other] } => {
                write!(f, "flag `isolated` of ports `{one}` and `{other}` of bridge `{bridge}`")
            }
            Self::Hairpin { port } => write!(f, "bridge port `{port}`, whose flag `hairpin` is off"),
            Self::Nobody { at, link, address } => {
                write!(f, "link `{link}` of {at}: nobody there has {address}")
            }
            Self::Unaddressed { at, link } => {
                write!(f, "link `{link}` of {at}, which has no address to ask for neighbours from")
            }
            Self::BackToSource { link, address } => {
                write!(f, "{address} behind link `{link}`, which takes nothing from itself")
            }
            Self::Elsewhere { to } => write!(f, "its route, which leads elsewhere: {to}"),
            Self::AnswerFrom { address } => write!(f, "the asker, who does not know {address} that answers"),
        }
    }
}

impl fmt::Display for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rule { at: Place::Host, rule } => write!(f, "what {rule} does is not known"),
            Self::Rule { at, rule } => write!(f, "what {rule} inside {at} does is not known"),
            Self::Policy { at, rule } => write!(f, "{at} routes by policy: `{rule}`"),
            Self::Route { at, route } => write!(f, "where route `{route}` of {at} leads is not known"),
            Self::Namespace { of } => {
                write!(f, "the network namespace of container `{of}` cannot be looked at")
            }
            Self::Link { of, link } => write!(f, "link `{link}` of container `{of}` is not on record"),
            Self::Circle => f.write_str("the routes lead in a circle"),
        }
    }
}
