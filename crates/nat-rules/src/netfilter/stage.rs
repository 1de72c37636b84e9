use crate::walk::{Carried, State};
use linkspan_net_types::IfName;
use std::net::IpAddr;
use std::ops::RangeInclusive;

/// Where in the kernel chains are entered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Hook {
    Ingress,
    Prerouting,
    Input,
    Forward,
    Output,
    Postrouting,
    Egress,
}

/// What a hook sees: packets, or the frames of a bridge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layer {
    Packet,
    Frame,
}

/// A link of a packet at a hook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Link {
    /// It has none here.
    Absent,
    /// It has one whose name is not known, such as the port of a bridge.
    Unknown,
    Named(IfName),
}

impl Link {
    pub(crate) const fn name(self) -> Option<IfName> {
        match self {
            Self::Named(name) => Some(name),
            Self::Absent | Self::Unknown => None,
        }
    }
}

/// A packet at a hook, as chains of some priorities see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stage {
    pub(crate) hook: Hook,
    pub(crate) layer: Layer,
    /// Of the chains that see it so: a translation in between makes two stages of one hook.
    pub(crate) priorities: RangeInclusive<i32>,
    pub(crate) input: Link,
    pub(crate) output: Link,
    /// `None` where the kernel has put an address there that is not known.
    pub(crate) source: Option<IpAddr>,
    pub(crate) target: IpAddr,
    pub(crate) carried: Carried,
    pub(crate) state: State,
    /// It goes the opposite way of the connection's first packet.
    pub(crate) answers: bool,
    /// The target of the connection's first packet was translated.
    pub(crate) published: bool,
    /// The source of the connection's first packet was translated.
    pub(crate) hidden: bool,
    /// The target is an address of the host's own.
    pub(crate) to_host: bool,
    /// The way back to its source is the link by which it came.
    pub(crate) reversed: bool,
    /// The source is an address of the host's own.
    pub(crate) from_host: bool,
    /// It comes in by the loopback link, and its connection is known since it went out.
    pub(crate) again: bool,
    /// The kernel asks chains of type `nat`: it does so once for the target and once for the source of a
    /// connection's first packet.
    pub(crate) asks_nat: bool,
}

impl Stage {
    pub(crate) const fn is_v6(&self) -> bool {
        self.target.is_ipv6()
    }

    /// The number of what it carries, of IANA's "Protocol Numbers".
    pub(crate) const fn protocol(&self) -> u8 {
        match self.carried {
            Carried::Ports { protocol, .. } => protocol.number(),
            Carried::Echo { .. } if self.is_v6() => 58,
            Carried::Neighbour { .. } => 58,
            Carried::Echo { .. } => 1,
        }
    }
}
