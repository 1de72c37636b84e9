use crate::LinkKind;
use ipnet::IpNet;
#[cfg(feature = "kernel")]
use linkspan_net_types::Errno;
use linkspan_net_types::{IfName, Mac, Mtu};
use std::net::IpAddr;

/// Why something is not planned, not seen or not done.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A link of another kind has the name of the bridge.
    #[error("`{name}` is a {kind} and not a bridge")]
    NotABridge {
        /// The wanted bridge.
        name: IfName,
        /// What has its name.
        kind: LinkKind,
    },
    /// The bridge has another MAC than the one that ours was made with: someone else made it since, or changed it.
    #[error("bridge `{name}` has {}, not {ours} as ours was made with", Has(.mac))]
    NotOurs {
        /// The wanted bridge.
        name: IfName,
        /// The MAC of the bridge that has its name.
        mac: Option<Mac>,
        /// The MAC of ours.
        ours: Mac,
    },
    /// The bridge to be joined is not there.
    #[error("there is no bridge `{name}`")]
    NoBridge {
        /// The wanted bridge.
        name: IfName,
    },
    /// The bridge has as many ports as a bridge can have.
    #[error("bridge `{name}` is full: it has {ports} ports")]
    BridgeFull {
        /// The bridge.
        name: IfName,
        /// How many ports it has.
        ports: usize,
    },
    /// A link of another kind has the name of the host end.
    #[error("`{name}` is a {kind} and not the host end of a veth pair")]
    NotAVeth {
        /// The wanted host end.
        name: IfName,
        /// What has its name.
        kind: LinkKind,
    },
    /// The container has another link of that name.
    #[error("the container has a link `{name}` already")]
    NameTaken {
        /// The wanted name in the container.
        name: IfName,
    },
    /// The host end is there, but the container has no veth of the other end's name.
    #[error("`{host}` is there, but its other end `{inside}` is not in the container")]
    Strayed {
        /// The host end.
        host: IfName,
        /// The wanted name in the container.
        inside: IfName,
    },
    /// Another link of the container has an address in the same subnet.
    #[error("address {wanted} overlaps {present} of the container's `{link}`")]
    Overlap {
        /// The wanted address.
        wanted: IpNet,
        /// The address that is there.
        present: IpNet,
        /// The link that has it.
        link: String,
    },
    /// The container has another default route of that family.
    #[error("the container has a default route{} already, so none via {gateway}", Via(.present))]
    DefaultRouteTaken {
        /// The wanted gateway.
        gateway: IpAddr,
        /// The gateway that is there; `None` where the route has none.
        present: Option<IpAddr>,
    },
    /// The gateway is in none of the subnets of the link that leads to it.
    #[error("gateway {gateway} is in no subnet of `{link}`")]
    GatewayOffLink {
        /// The wanted gateway.
        gateway: IpAddr,
        /// The link.
        link: IfName,
    },
    /// The link is to have IPv6, which needs an MTU of at least 1280 (RFC 8200, section 5).
    #[error("an MTU of {mtu} on `{link}` is below the 1280 that IPv6 needs")]
    MtuBelowIpv6 {
        /// The link.
        link: IfName,
        /// The wanted MTU, or that of an adopted bridge.
        mtu: Mtu,
    },
    /// The link is to have IPv6, which the kernel does not have.
    #[error("`{link}` cannot have IPv6, which the kernel lacks")]
    NoIpv6 {
        /// The link.
        link: IfName,
    },
    /// The plan concerns a container that was not looked at.
    #[error("the container was not looked at")]
    ContainerUnseen,

    /// The host's or the container's links, addresses, routes or settings could not be read.
    #[cfg(feature = "kernel")]
    #[error("cannot read {what}")]
    Look {
        /// What was asked for.
        what: &'static str,
        /// Why it could not be read.
        source: linkspan_netlink::Error,
    },
    /// The kernel refused a step.
    #[cfg(feature = "kernel")]
    #[error("{}", Refusal(*.errno, .words.as_deref()))]
    Refused {
        /// The reason.
        errno: Errno,
        /// The kernel's own words, where it gave any.
        words: Option<String>,
    },
    /// Steps could not be sent to the kernel, or its answer was lost.
    #[cfg(feature = "kernel")]
    #[error("the kernel did not say whether it is done")]
    Send(#[source] linkspan_netlink::Error),
    /// A socket or the namespace itself could not be opened.
    #[cfg(feature = "kernel")]
    #[error("cannot open a door to the network namespace")]
    Open(#[source] linkspan_netlink::Error),
    /// The namespace could not be entered, or held open.
    #[cfg(feature = "kernel")]
    #[error("cannot enter the host's network namespace")]
    Enter(#[source] std::io::Error),
    /// A setting below `/proc/sys/net` could not be read or written.
    #[cfg(feature = "kernel")]
    #[error("cannot use `{}`", path.display())]
    Setting {
        /// The file.
        path: std::path::PathBuf,
        /// Why it could not be used.
        source: std::io::Error,
    },
}

#[cfg(feature = "kernel")]
impl Error {
    /// Whether a container has more links, addresses or routes than are read.
    pub const fn is_endless(&self) -> bool {
        matches!(self, Self::Look { source: linkspan_netlink::Error::Endless, .. })
    }
}

struct Has<'a>(&'a Option<Mac>);

impl std::fmt::Display for Has<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Some(mac) => write!(f, "MAC {mac}"),
            None => f.write_str("no MAC"),
        }
    }
}

struct Via<'a>(&'a Option<IpAddr>);

impl std::fmt::Display for Via<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.map_or(Ok(()), |gateway| write!(f, " via {gateway}"))
    }
}

#[cfg(feature = "kernel")]
struct Refusal<'a>(Errno, Option<&'a str>);

#[cfg(feature = "kernel")]
impl std::fmt::Display for Refusal<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let words = self.1.or(match self.0 {
            Errno::EEXIST => Some("a link, address or route like it is there"),
            Errno::ENODEV => Some("there is no such link"),
            Errno::EXFULL => Some("the bridge holds no more ports"),
            Errno::EBUSY => Some("the link is a port already, or in use"),
            Errno::EINVAL => Some("the link does not take this value"),
            Errno::EPERM => Some("CAP_NET_ADMIN is needed in both namespaces"),
            _ => None,
        });
        match words {
            Some(words) => write!(f, "{}: {words}", self.0),
            None => self.0.fmt(f),
        }
    }
}
