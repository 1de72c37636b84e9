use ipnet::IpNet;
use linkspan_net_types::IfName;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What the rules have to know of a network: its bridge, its subnets, and who may pass.
///
/// ```
/// use linkspan_nat_rules::{Access, Egress, Network};
///
/// let network = Network::new("ls-web".parse()?)
///     .with_subnet("10.88.1.0/24".parse()?)
///     .with_access(Access::Nat)
///     .with_egress(Egress::Masquerade)
///     .with_neighbours(false);
/// assert_eq!(network.subnets().count(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Network {
    bridge: IfName,
    subnets: Vec<IpNet>,
    access: Access,
    neighbours: bool,
    egress: Egress,
    #[serde(default)]
    trusted: BTreeSet<IfName>,
}

impl Network {
    /// The network of this bridge: no subnets, [`Access::Nat`], [`Egress::Masquerade`], neighbours that
    /// reach each other, no link that is trusted.
    pub const fn new(bridge: IfName) -> Self {
        Self {
            bridge,
            subnets: Vec::new(),
            access: Access::Nat,
            neighbours: true,
            egress: Egress::Masquerade,
            trusted: BTreeSet::new(),
        }
    }

    /// The same with one more subnet; host bits are dropped.
    #[must_use]
    pub fn with_subnet(mut self, subnet: IpNet) -> Self {
        self.subnets.push(subnet);
        self
    }

    /// The same with this way in.
    #[must_use]
    pub const fn with_access(mut self, access: Access) -> Self {
        self.access = access;
        self
    }

    /// The same with containers that reach each other, or only each other's published ports (`icc=false`).
    #[must_use]
    pub const fn with_neighbours(mut self, neighbours: bool) -> Self {
        self.neighbours = neighbours;
        self
    }

    /// The same with this way out.
    #[must_use]
    pub const fn with_egress(mut self, egress: Egress) -> Self {
        self.egress = egress;
        self
    }

    /// The same with one more link of the host from which published ports are reached at the container's own
    /// address and port as well, without translation: Docker's `trusted_host_interfaces`.
    ///
    /// Such a port is published by [`Publish::routed`](crate::Publish::routed) beside
    /// [`Publish::nat`](crate::Publish::nat). It means something for [`Access::Nat`]: the others open what they
    /// open to every link.
    #[must_use]
    pub fn with_trusted(mut self, link: IfName) -> Self {
        self.trusted.insert(link);
        self
    }

    /// Its bridge, which is what identifies it.
    pub const fn bridge(&self) -> IfName {
        self.bridge
    }

    /// Its subnets, without host bits.
    pub fn subnets(&self) -> impl Iterator<Item = IpNet> + '_ {
        self.subnets.iter().map(IpNet::trunc)
    }

    /// Who may come in.
    pub const fn access(&self) -> Access {
        self.access
    }

    /// Whether its containers reach each other.
    pub const fn neighbours(&self) -> bool {
        self.neighbours
    }

    /// How its containers look from outside.
    pub const fn egress(&self) -> Egress {
        self.egress
    }

    /// The links of the host from which published ports are reached at the containers' own addresses.
    pub fn trusted(&self) -> impl Iterator<Item = IfName> + '_ {
        self.trusted.iter().copied().filter(|_| self.access == Access::Nat)
    }

    /// What becomes of the source address of a packet that leaves this subnet; `None` where it is kept.
    pub(crate) fn source(&self, subnet: IpNet) -> Option<Source> {
        if matches!(self.access, Access::Routed | Access::Internal | Access::Isolated) {
            return None;
        }
        match (self.egress, subnet) {
            (Egress::Keep, _) => None,
            (Egress::Fixed { v4: Some(v4), .. }, IpNet::V4(_)) => Some(Source::Fixed(v4.into())),
            (Egress::Fixed { v6: Some(v6), .. }, IpNet::V6(_)) => Some(Source::Fixed(v6.into())),
            _ => Some(Source::Masqueraded),
        }
    }

    /// Whether a packet from outside to a container's own address is dropped before connection tracking.
    ///
    /// Not where containers keep their address on the way out: answers come back to it, and nothing tells
    /// an answer before connection tracking. There the forward chain decides.
    pub(crate) fn is_guarded(&self) -> bool {
        match self.access {
            Access::Internal | Access::Isolated => true,
            Access::Nat => self.egress != Egress::Keep,
            Access::Unprotected | Access::Routed => false,
        }
    }
}

/// Who reaches the containers of a network from outside it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Access {
    /// Published ports only, by address translation (gateway mode `nat`).
    #[default]
    Nat,
    /// Published ports by address translation, and every port by the container's own address
    /// (gateway mode `nat-unprotected`).
    Unprotected,
    /// Published ports and ICMP by the container's own address, without translation (gateway mode `routed`).
    Routed,
    /// Nobody but the host, and the containers reach nobody outside (`internal`).
    Internal,
    /// As [`Internal`](Self::Internal), and the containers do not reach the host either (gateway mode
    /// `isolated`).
    Isolated,
}

/// Which source address the packets of a network's containers have outside; it holds for
/// [`Access::Nat`] and [`Access::Unprotected`], since the others translate nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Egress {
    /// That of the link by which they leave.
    #[default]
    Masquerade,
    /// These; a family without one is masqueraded.
    Fixed {
        /// Of IPv4.
        v4: Option<Ipv4Addr>,
        /// Of IPv6.
        v6: Option<Ipv6Addr>,
    },
    /// Their own.
    Keep,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    Masqueraded,
    Fixed(IpAddr),
}
