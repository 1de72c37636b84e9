//! All that decides where the packets of one network namespace go.

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt::{self, Write};
use std::net::IpAddr;

/// Links, addresses, routes of every table, rules of routing and settings: what the kernel asks on the way of a packet.
///
/// Reading it takes longer the more of them there are; nothing that is done often needs it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Survey {
    /// The links by name.
    pub links: BTreeMap<String, SurveyedLink>,
    /// The addresses, in the order in which the kernel has them.
    pub addresses: Vec<LinkAddress>,
    /// The routes of every table.
    pub routes: Vec<TableRoute>,
    /// The rules that choose a table, in the order in which the kernel asks them.
    pub rules: Vec<PolicyRule>,
    /// What holds for all links.
    pub settings: Settings,
}

/// One link, as far as packets are concerned.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SurveyedLink {
    /// Its number.
    pub index: u32,
    /// Whether it is switched on (`IFF_UP`).
    pub up: bool,
    /// Whether it is a loopback link (`IFF_LOOPBACK`).
    pub loopback: bool,
    /// What its own frames are shown to, where it is a bridge.
    pub bridge: Option<CallsNetfilter>,
    /// The name of the link that it is a port of.
    pub master: Option<String>,
    /// How it is a port, where its master is a bridge.
    pub port: Option<BridgePort>,
    /// Whether it passes IPv4 packets on that arrive by it (`conf/LINK/forwarding`).
    pub forwarding: bool,
    /// `conf/LINK/rp_filter`: 0 off, 1 strict, 2 loose (RFC 3704).
    pub rp_filter: u32,
    /// `conf/LINK/accept_local`.
    pub accept_local: bool,
    /// `conf/LINK/route_localnet`.
    pub route_localnet: bool,
}

/// A port of a bridge.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BridgePort {
    /// Whether it forwards frames (`BR_STATE_FORWARDING`): its other end is up, and no spanning tree has it wait.
    pub forwards: bool,
    /// Whether frames may leave by the port that they came in by.
    pub hairpin: bool,
    /// Whether it is kept from other such ports.
    pub isolated: bool,
}

/// Whether the packet filter sees frames, for each family.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallsNetfilter {
    /// Those of IPv4.
    pub v4: bool,
    /// Those of IPv6.
    pub v6: bool,
}

/// An address of a link.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkAddress {
    /// The link.
    pub link: String,
    /// The address itself.
    pub address: IpAddr,
    /// What is reached by it: its own subnet, or the other end's.
    pub reaches: IpNet,
    /// `RT_SCOPE_*`: 0 everywhere, 253 on this link, 254 on this machine.
    pub scope: u8,
    /// An IPv4 address that stands behind another of its subnet (`IFA_F_SECONDARY`).
    pub secondary: bool,
    /// An IPv6 address that is not to be used for what begins (`IFA_F_DEPRECATED`).
    pub deprecated: bool,
    /// An IPv6 address that is not known to be unique yet, or not unique (`IFA_F_TENTATIVE`, `IFA_F_DADFAILED`).
    pub tentative: bool,
}

/// A route of any table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableRoute {
    /// The number of its table.
    pub table: u32,
    /// What it does.
    pub kind: RouteKind,
    /// Where it leads.
    pub destination: IpNet,
    /// The next hop; `None` where the destination is on the link.
    pub gateway: Option<IpAddr>,
    /// The name of its link.
    pub link: Option<String>,
    /// Its metric: the lowest one wins.
    pub metric: u32,
    /// The source address that it prefers.
    pub source: Option<IpAddr>,
    /// It hangs on something else than the target: a type of service, a source, several next hops, a tunnel.
    pub conditional: bool,
}

/// What a route does (`RTN_*` of `linux/rtnetlink.h`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RouteKind {
    /// It leads to the next hop.
    Unicast,
    /// The address is the machine's own.
    Local,
    /// The address is one of several machines, of which this is one.
    Anycast,
    /// All on the link.
    Broadcast,
    /// A group.
    Multicast,
    /// Packets vanish.
    Blackhole,
    /// Packets are refused.
    Unreachable,
    /// Packets are forbidden.
    Prohibit,
    /// The next table is asked.
    Throw,
    /// Another, with this number.
    Other(u8),
}

/// A rule that chooses a table for a packet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyRule {
    /// Whether it is of IPv6.
    pub v6: bool,
    /// Its place: the lowest is asked first.
    pub priority: u32,
    /// The sources that it is for.
    pub from: Option<IpNet>,
    /// The targets that it is for.
    pub to: Option<IpNet>,
    /// The link by which the packet arrives; `lo` where the machine itself sends it.
    pub input: Option<String>,
    /// What is asked.
    pub lookup: Lookup,
    /// It looks at something else as well, or is for all but what it names.
    pub conditional: bool,
}

/// What a rule has asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Lookup {
    /// The table of this number.
    Table(u32),
    /// Something else: another rule, or the packet is refused. The number is `FR_ACT_*`.
    Other(u8),
}

/// What holds for all links of a namespace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// `net.ipv4.ip_forward`; what arrives by a link is passed on as the link's own setting says.
    pub forwarding_v4: bool,
    /// `net.ipv6.conf.all.forwarding`.
    pub forwarding_v6: bool,
    /// `net.ipv4.conf.all.rp_filter`; the greater of it and the link's own holds.
    pub rp_filter: u32,
    /// `net.ipv4.conf.all.accept_local`.
    pub accept_local: bool,
    /// `net.ipv4.conf.all.route_localnet`.
    pub route_localnet: bool,
    /// `net.bridge.bridge-nf-call-iptables` and `-ip6tables`.
    pub calls_netfilter: CallsNetfilter,
}

impl CallsNetfilter {
    /// Whether frames of this address's family are shown.
    pub const fn of(self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(_) => self.v4,
            IpAddr::V6(_) => self.v6,
        }
    }
}

impl RouteKind {
    /// Its word in `ip route`.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Unicast => "unicast",
            Self::Local => "local",
            Self::Anycast => "anycast",
            Self::Broadcast => "broadcast",
            Self::Multicast => "multicast",
            Self::Blackhole => "blackhole",
            Self::Unreachable => "unreachable",
            Self::Prohibit => "prohibit",
            Self::Throw => "throw",
            Self::Other(_) => "other",
        }
    }
}

/// A name of a link that a container chose, in which what could break a line or steer a terminal is escaped.
struct Plain<'a>(&'a str);

impl fmt::Display for Plain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|c| match c.is_control() {
            true => c.escape_default().fmt(f),
            false => f.write_char(c),
        })
    }
}

/// As `ip route` has it, less what says nothing about where it leads.
impl fmt::Display for TableRoute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.kind != RouteKind::Unicast {
            write!(f, "{} ", self.kind.word())?;
        }
        match self.destination.prefix_len() {
            0 => f.write_str("default")?,
            _ => self.destination.fmt(f)?,
        }
        self.gateway.map_or(Ok(()), |gateway| write!(f, " via {gateway}"))?;
        self.link.as_ref().map_or(Ok(()), |link| write!(f, " dev {}", Plain(link)))
    }
}

/// As `ip rule` has it.
impl fmt::Display for PolicyRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: from ", self.priority)?;
        match self.from {
            None => f.write_str("all")?,
            Some(from) => from.fmt(f)?,
        }
        self.to.map_or(Ok(()), |to| write!(f, " to {to}"))?;
        self.input.as_ref().map_or(Ok(()), |link| write!(f, " iif {}", Plain(link)))?;
        if self.conditional {
            f.write_str(" ...")?;
        }
        match self.lookup {
            Lookup::Table(253) => f.write_str(" lookup default"),
            Lookup::Table(254) => f.write_str(" lookup main"),
            Lookup::Table(255) => f.write_str(" lookup local"),
            Lookup::Table(table) => write!(f, " lookup {table}"),
            Lookup::Other(6) => f.write_str(" blackhole"),
            Lookup::Other(7) => f.write_str(" unreachable"),
            Lookup::Other(8) => f.write_str(" prohibit"),
            Lookup::Other(_) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_and_rules_are_told_as_ip_tells_them() {
        let route = TableRoute {
            table: 254,
            kind: RouteKind::Unicast,
            destination: "0.0.0.0/0".parse().unwrap(),
            gateway: Some("10.0.0.1".parse().unwrap()),
            link: Some("eth0".to_owned()),
            metric: 0,
            source: None,
            conditional: false,
        };
        assert_eq!(route.to_string(), "default via 10.0.0.1 dev eth0");
        let odd = TableRoute { link: Some("a\u{1b}]2;x\u{7}".to_owned()), ..route.clone() };
        assert_eq!(odd.to_string(), "default via 10.0.0.1 dev a\\u{1b}]2;x\\u{7}");
        let destination = "10.0.0.0/8".parse().unwrap();
        let closed =
            TableRoute { kind: RouteKind::Unreachable, destination, gateway: None, link: None, ..route };
        assert_eq!(closed.to_string(), "unreachable 10.0.0.0/8");

        let rule = PolicyRule {
            v6: false,
            priority: 100,
            from: None,
            to: Some(destination),
            input: Some("lo".to_owned()),
            lookup: Lookup::Table(254),
            conditional: false,
        };
        assert_eq!(rule.to_string(), "100: from all to 10.0.0.0/8 iif lo lookup main");
        let marked = PolicyRule {
            from: Some(destination),
            to: None,
            input: None,
            lookup: Lookup::Other(7),
            conditional: true,
            ..rule
        };
        assert_eq!(marked.to_string(), "100: from 10.0.0.0/8 ... unreachable");
    }
}
