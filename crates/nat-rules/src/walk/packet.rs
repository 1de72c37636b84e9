use linkspan_net_types::{IfName, Port, Protocol};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

/// One packet as it arrives at the host, or as the host sends it.
///
/// ```
/// use linkspan_nat_rules::walk::Packet;
/// use linkspan_net_types::{Port, Protocol};
///
/// let port = Port::new(8080).ok_or("a port")?;
/// let packet = Packet::to_port("198.51.100.7".parse()?, "192.0.2.1".parse()?, Protocol::Tcp, port)
///     .ok_or("one family")?
///     .from_link("eth0".parse()?);
/// assert_eq!(packet.to_string(), "tcp 198.51.100.7 -> 192.0.2.1:8080 from eth0");
/// assert!(Packet::ping("198.51.100.7".parse()?, "2001:db8::1".parse()?).is_none());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet {
    pub(crate) source: IpAddr,
    pub(crate) target: IpAddr,
    pub(crate) carried: Carried,
    /// The link by which it arrives; `None` where the host sends it.
    pub(crate) from: Option<IfName>,
    pub(crate) way: Way,
    pub(crate) connection: Connection,
}

/// What a packet carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Carried {
    /// Ports; the one that the sender's kernel chose is not known.
    Ports { protocol: Protocol, source: Option<Port>, target: Option<Port> },
    /// An ICMP echo request, or its reply.
    Echo { reply: bool },
    /// A neighbour solicitation, or the advertisement that answers it (RFC 4861), of which the kernel tracks no
    /// connection (`nf_conntrack_icmpv6_error` of `net/netfilter/nf_conntrack_proto_icmpv6.c`).
    Neighbour { reply: bool },
}

/// Whether a packet is the host's to pass on; with bridge netfilter, the rules of packets see it while it is a
/// frame of the bridge by which it arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Routed {
        filtered: bool,
    },
    /// A frame to a neighbour on the same bridge.
    Bridged {
        filtered: bool,
    },
}

/// Where connection tracking has a packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// It begins a connection.
    #[default]
    New,
    /// It belongs to a connection that was answered.
    Established,
    /// It begins or reports on something that belongs to a connection, such as an ICMP error.
    Related,
}

/// What connection tracking knows of a packet's connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Connection {
    pub(crate) state: State,
    /// It goes the opposite way of the connection's first packet.
    pub(crate) answers: bool,
    /// What the translation that is on record makes of the source and the target.
    pub(crate) source: Option<IpAddr>,
    pub(crate) target: Option<IpAddr>,
    /// The target of the connection's first packet was translated.
    pub(crate) published: bool,
    /// The source of the connection's first packet was translated.
    pub(crate) hidden: bool,
    /// The first packet passed before, and what becomes of source and target was decided then.
    pub(crate) decided: bool,
}

impl Packet {
    /// The first packet to this port, sent by the host itself until [`Self::from_link`] says otherwise;
    /// `None` where the addresses are of two families.
    pub fn to_port(source: IpAddr, target: IpAddr, protocol: Protocol, port: Port) -> Option<Self> {
        Self::carrying(source, target, Carried::Ports { protocol, source: None, target: Some(port) })
    }

    /// An ICMP or ICMPv6 echo request, sent by the host itself until [`Self::from_link`] says otherwise;
    /// `None` where the addresses are of two families.
    pub fn ping(source: IpAddr, target: IpAddr) -> Option<Self> {
        Self::carrying(source, target, Carried::Echo { reply: false })
    }

    /// The neighbour solicitation (RFC 4861) by which the sender asks who has an address, sent to all that may have
    /// it, as if the host sent it until [`Self::from_link`] says otherwise.
    ///
    /// ```
    /// use linkspan_nat_rules::walk::Packet;
    ///
    /// let asked = Packet::solicitation("fd00:1::3".parse()?, "fd00:1::2".parse()?);
    /// assert_eq!(asked.to_string(), "solicitation fd00:1::3 -> ff02::1:ff00:2");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn solicitation(source: Ipv6Addr, of: Ipv6Addr) -> Self {
        let [.., a, b, c] = of.octets();
        let [all, low] = [0xff00 | u16::from(a), u16::from_be_bytes([b, c])];
        let target = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, all, low);
        Self::of(source.into(), target.into(), Carried::Neighbour { reply: false })
    }

    /// The advertisement (RFC 4861) that answers a solicitation, from the address that was asked for.
    pub fn advertisement(source: Ipv6Addr, to: Ipv6Addr) -> Self {
        Self::of(source.into(), to.into(), Carried::Neighbour { reply: true })
    }

    /// The same arriving by this link; for a container it is the bridge of its network.
    #[must_use]
    pub const fn from_link(self, link: IfName) -> Self {
        Self { from: Some(link), ..self }
    }

    /// The same as a frame to a neighbour's own MAC on the bridge by which it arrives. `filtered` says
    /// whether bridge netfilter shows it to the rules: `net.bridge.bridge-nf-call-iptables` for IPv4 and
    /// `bridge-nf-call-ip6tables` for IPv6.
    #[must_use]
    pub const fn bridged(self, filtered: bool) -> Self {
        Self { way: Way::Bridged { filtered }, ..self }
    }

    /// The same as a frame to the host's own MAC, which is what a packet is until something else is said.
    ///
    /// Where `filtered` is as for [`Self::bridged`], a target that is translated to one behind the same bridge
    /// stays on the bridge, forwarding or not.
    #[must_use]
    pub const fn routed(self, filtered: bool) -> Self {
        Self { way: Way::Routed { filtered }, ..self }
    }

    /// The same arriving as the other one does: by its link, as its frame.
    #[must_use]
    pub const fn coming_as(self, other: &Self) -> Self {
        Self { from: other.from, way: other.way, ..self }
    }

    /// The same in this state of its connection, of which nothing is translated.
    ///
    /// The answer to a packet, with its translations taken back, is [`Walk::answer`](super::Walk::answer).
    #[must_use]
    pub fn in_state(self, state: State) -> Self {
        Self { connection: Connection { state, ..Connection::default() }, ..self }
    }

    /// The same where the host has let it pass before, and it comes again by way of another machine: it still begins its
    /// connection, and its source and target are translated no more (`nf_nat_inet_fn` of `net/netfilter/nf_nat_core.c`).
    #[must_use]
    pub const fn repeated(self) -> Self {
        Self { connection: Connection { decided: true, ..self.connection }, ..self }
    }

    /// Where it comes from.
    pub const fn source(&self) -> IpAddr {
        self.source
    }

    /// Where it is sent to.
    pub const fn target(&self) -> IpAddr {
        self.target
    }

    /// The link by which it arrives; `None` where the host sends it.
    pub const fn link(&self) -> Option<IfName> {
        self.from
    }

    pub(crate) fn carrying(source: IpAddr, target: IpAddr, carried: Carried) -> Option<Self> {
        (source.is_ipv4() == target.is_ipv4()).then(|| Self::of(source, target, carried))
    }

    fn of(source: IpAddr, target: IpAddr, carried: Carried) -> Self {
        // What has no connection is not translated.
        let connection = Connection { decided: carried.is_untracked(), ..Connection::default() };
        Self { source, target, carried, from: None, way: Way::Routed { filtered: false }, connection }
    }
}

impl Carried {
    pub(crate) const fn target_port(self) -> Option<Port> {
        match self {
            Self::Ports { target, .. } => target,
            Self::Echo { .. } | Self::Neighbour { .. } => None,
        }
    }

    /// The protocol that has ports; ICMP has none.
    pub(crate) const fn protocol(self) -> Option<Protocol> {
        match self {
            Self::Ports { protocol, .. } => Some(protocol),
            Self::Echo { .. } | Self::Neighbour { .. } => None,
        }
    }

    /// Connection tracking passes it over.
    pub(crate) const fn is_untracked(self) -> bool {
        matches!(self, Self::Neighbour { .. })
    }

    /// The same to another port.
    pub(crate) const fn to(self, port: Port) -> Self {
        match self {
            Self::Ports { protocol, source, .. } => Self::Ports { protocol, source, target: Some(port) },
            Self::Echo { .. } | Self::Neighbour { .. } => self,
        }
    }

    /// What answers it.
    pub(crate) const fn answer(self) -> Self {
        match self {
            Self::Ports { protocol, source, target } => {
                Self::Ports { protocol, source: target, target: source }
            }
            Self::Echo { reply } => Self::Echo { reply: !reply },
            Self::Neighbour { reply } => Self::Neighbour { reply: !reply },
        }
    }
}

impl fmt::Display for Packet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { source, target, .. } = self;
        match self.carried {
            Carried::Ports { protocol, source: from, target: to } => {
                write!(f, "{protocol} {} -> {}", At(*source, from), At(*target, to))?;
            }
            Carried::Echo { reply } => {
                write!(f, "{} {source} -> {target}", if reply { "pong" } else { "ping" })?;
            }
            Carried::Neighbour { reply } => {
                let word = if reply { "advertisement" } else { "solicitation" };
                write!(f, "{word} {source} -> {target}")?;
            }
        }
        self.from.map_or(Ok(()), |link| write!(f, " from {link}"))
    }
}

/// An address with a port, where that is known.
struct At(IpAddr, Option<Port>);

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.0, self.1) {
            (address, None) => address.fmt(f),
            (IpAddr::V4(address), Some(port)) => write!(f, "{address}:{port}"),
            (IpAddr::V6(address), Some(port)) => write!(f, "[{address}]:{port}"),
        }
    }
}
