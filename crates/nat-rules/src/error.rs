#[cfg(feature = "kernel")]
use crate::conntrack::Flow;
use crate::{Destination, Instance};
use ipnet::IpNet;
#[cfg(feature = "kernel")]
use linkspan_net_types::Errno;
use linkspan_net_types::{IfName, Port, Protocol};
use std::net::IpAddr;

/// What keeps rules from being written, planned or loaded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A port cannot be published at an address of the other family.
    #[error("host address `{at}` and container address `{to}` are of two families")]
    Family {
        /// The host's address.
        at: IpAddr,
        /// The container's address.
        to: IpAddr,
    },
    /// The kernel translates nothing that comes from `::1`.
    #[error("port {port} at ::1 cannot be published by address translation")]
    Ipv6Loopback {
        /// The host's port.
        port: Port,
    },
    /// The port of the host leads to another container already.
    #[error("port {port}/{protocol} at {} leads to {holder} already", At(.at))]
    PortTaken {
        /// The transport protocol.
        protocol: Protocol,
        /// The host's address; `None` is each of them.
        at: Option<IpAddr>,
        /// The host's port.
        port: Port,
        /// Where it leads.
        holder: Destination,
    },
    /// The bridge is there with other rules.
    #[error("bridge `{bridge}` has other rules already")]
    BridgeTaken {
        /// The bridge.
        bridge: IfName,
    },
    /// Two networks claim the same addresses.
    #[error("subnet {subnet} of `{bridge}` overlaps {other} of `{holder}`")]
    Overlap {
        /// The subnet that is refused.
        subnet: IpNet,
        /// Its bridge.
        bridge: IfName,
        /// The subnet that is there.
        other: IpNet,
        /// The bridge of that one.
        holder: IfName,
    },
    /// A table of this name was made by someone else.
    #[error("table `inet {instance}` is not ours")]
    ForeignTable {
        /// The name.
        instance: Instance,
    },
    /// The table was written by a newer version, with rules that this one does not know.
    #[error("table `inet {instance}` has layout {seen}, which is newer than {}", crate::nftables::LAYOUT)]
    Layout {
        /// The name of the table.
        instance: Instance,
        /// The layout it has.
        seen: u32,
    },
    /// Rules for IPv6 are wanted where IPv6 or `ip6tables` is missing.
    #[error("IPv6 rules are wanted, but IPv6 or ip6tables is missing")]
    NoIpv6,
    /// The kernel refused a step; of its transaction nothing was done.
    #[cfg(feature = "kernel")]
    #[error("cannot {step}{}", Said(.text.as_deref()))]
    Refused {
        /// The step, and how many others left with it.
        step: String,
        /// The kernel's own words, where it gave any.
        text: Option<String>,
        /// The reason.
        source: Errno,
    },
    /// The kernel lacks a part that the rules are made of; of the transaction nothing was done.
    #[cfg(feature = "kernel")]
    #[error("kernel lacks what it takes to {step}")]
    Unsupported {
        /// What was to be made, in the words of nft.
        step: String,
        /// The reason.
        source: Errno,
    },
    /// Another transaction came between the look and the change that followed from it; nothing was done.
    #[cfg(feature = "kernel")]
    #[error("table `inet {instance}` may have changed since it was looked at")]
    Overtaken {
        /// The name of the table.
        instance: Instance,
        /// The refusal.
        source: Errno,
    },
    /// Other transactions came in between each time; nothing was done.
    #[cfg(feature = "kernel")]
    #[error(
        "the rules of this host changed during each of {attempts} attempts to change table `inet {instance}`"
    )]
    Unsettled {
        /// The name of the table.
        instance: Instance,
        /// How often it was looked at.
        attempts: usize,
    },
    /// The kernel could not be asked.
    #[cfg(feature = "kernel")]
    #[error("cannot speak with nftables")]
    Netlink(#[from] linkspan_netlink::Error),
    /// The kernel could not be asked for the connections that it tracks.
    #[cfg(feature = "kernel")]
    #[error("cannot ask for tracked connections")]
    Conntrack(#[source] linkspan_netlink::Error),
    /// The kernel keeps a tracked connection that a change of the rules left behind.
    #[cfg(feature = "kernel")]
    #[error("cannot make the kernel forget {flow}")]
    Flow {
        /// The connection.
        flow: Flow,
        /// The reason.
        source: Errno,
    },
    /// A program could not be started, or not be spoken with.
    #[cfg(feature = "kernel")]
    #[error("cannot run `{program}`")]
    Run {
        /// Its name.
        program: &'static str,
        /// Why.
        source: std::io::Error,
    },
    /// A program listed fewer rules than the kernel has, and did not say so.
    #[cfg(feature = "kernel")]
    #[error("`{program}` leaves out rules of chain `{chain}` in table `{table}`")]
    LeftOut {
        /// Its name.
        program: &'static str,
        /// The table.
        table: String,
        /// The first chain that it leaves rules of out.
        chain: String,
    },
    /// A program refused.
    #[cfg(feature = "kernel")]
    #[error("`{program}` failed: {}", .said.trim())]
    Failed {
        /// Its name.
        program: &'static str,
        /// The line of the text that it refused, where it named one.
        line: Option<String>,
        /// What it wrote to its standard error.
        said: String,
    },
}

#[cfg(feature = "kernel")]
impl Error {
    /// `ERESTART` of `linux/errno.h`, by which the kernel refuses a transaction that follows from a look at
    /// an older generation.
    pub(crate) const RESTART: Errno = Errno::new(85);

    /// Whether there is more to read than is taken ([`Others::within`](crate::kernel::Others::within)).
    pub const fn is_endless(&self) -> bool {
        matches!(self, Self::Netlink(linkspan_netlink::Error::Endless))
    }

    /// Whether the reason may be that the table changed between the look and the change, so that another
    /// look may help.
    pub fn is_overtaken(&self) -> bool {
        match self {
            Self::Overtaken { .. }
            | Self::Unsettled { .. }
            | Self::Netlink(linkspan_netlink::Error::Unsteady) => true,
            Self::Refused { source, .. } => {
                matches!(*source, Errno::ENOENT | Errno::EEXIST | Errno::EBUSY)
            }
            _ => false,
        }
    }
}

struct At<'a>(&'a Option<IpAddr>);

impl std::fmt::Display for At<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Some(at) => at.fmt(f),
            None => f.write_str("any address"),
        }
    }
}

#[cfg(feature = "kernel")]
struct Said<'a>(Option<&'a str>);

#[cfg(feature = "kernel")]
impl std::fmt::Display for Said<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.map_or(Ok(()), |text| write!(f, " ({text})"))
    }
}
