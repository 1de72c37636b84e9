use crate::{AttachmentId, ContainerName, Difference, NetworkName, Publish, Reservation};
use ipnet::IpNet;
use linkspan_ipam as ipam;
use linkspan_nat_rules as rules;
use linkspan_net_types::{IfName, Port, Protocol};
use linkspan_netns as netns;
use linkspan_records as records;
use linkspan_veth_bridge as links;
use std::fmt;
use std::io;
use std::net::IpAddr;
use std::path::PathBuf;

/// Why something was refused.
///
/// Nothing was changed, or what was begun was taken back, but for [`Error::LeftBehind`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Something was refused, and not all of what was begun could be taken back.
    ///
    /// The next call of any process tries again to take it back.
    #[error("{}", Residues(.left))]
    LeftBehind {
        /// What stayed, and why.
        left: Vec<Left>,
        /// What was refused in the first place; `None` where it was the removal itself.
        #[source]
        refused: Option<Box<Self>>,
    },
    /// There is no network of this name.
    #[error("there is no network `{name}`")]
    NoSuchNetwork {
        /// The name.
        name: NetworkName,
    },
    /// There is a network of this name already.
    #[error("network `{name}` exists")]
    NetworkExists {
        /// The name.
        name: NetworkName,
    },
    /// The network of this name is another than the one wanted.
    #[error("network `{name}` exists with other {what}")]
    NetworkDiffers {
        /// The name.
        name: NetworkName,
        /// In what it differs.
        what: Difference,
    },
    /// `bridge`, `host` and `none` exist always, and are not made or removed as others are.
    #[error("network name `{name}` is reserved")]
    NetworkReserved {
        /// The name.
        name: NetworkName,
    },
    /// Containers are attached to the network.
    #[error("network `{name}` is in use by {}", Names(.by))]
    NetworkInUse {
        /// The name.
        name: NetworkName,
        /// The containers; none where one that is being attached has no record yet.
        by: Vec<ContainerName>,
    },
    /// Containers are on a network of which no file tells any more, so that nobody knows which rules there should be:
    /// those that are there stay.
    #[error("no file tells of the network that is used by {}", Names(.by))]
    NetworkLost {
        /// The containers.
        by: Vec<ContainerName>,
    },
    /// Addresses of the network are kept for containers.
    #[error("network `{name}` keeps {}", Each(.kept))]
    NetworkKeeps {
        /// The name.
        name: NetworkName,
        /// The addresses, and whom they are kept for.
        kept: Vec<Reservation>,
    },
    /// The wanted subnet overlaps that of another network.
    #[error("subnet {subnet} overlaps {other} of network `{holder}`")]
    SubnetOverlap {
        /// The wanted subnet.
        subnet: IpNet,
        /// The subnet that is there.
        other: IpNet,
        /// The network that has it.
        holder: NetworkName,
    },
    /// Another network has a bridge of that name.
    #[error("bridge `{link}` belongs to network `{holder}`")]
    LinkTaken {
        /// The wanted name of the bridge.
        link: IfName,
        /// The network that has it.
        holder: NetworkName,
    },
    /// An IPv6 subnet from the pool needs the machine's id.
    #[error("cannot read the machine's id from {}", path.display())]
    MachineId {
        /// The file.
        path: PathBuf,
        /// The kernel's reason.
        source: io::Error,
    },
    /// There is no attachment of this name or id.
    #[error("there is no container `{wanted}`")]
    NoSuchAttachment {
        /// The name, or the id, or its beginning.
        wanted: String,
    },
    /// Several attachments have an id that begins like this.
    #[error("`{wanted}` begins the ids of {count} containers")]
    Ambiguous {
        /// The beginning.
        wanted: String,
        /// How many there are.
        count: usize,
    },
    /// Another container has the name.
    #[error("container name `{name}` is taken by {holder}")]
    NameTaken {
        /// The name.
        name: ContainerName,
        /// Who has it.
        holder: AttachmentId,
    },
    /// Another container has the address.
    #[error("ip {address} is taken by `{holder}`")]
    AddressTaken {
        /// The wanted address.
        address: IpAddr,
        /// The container that has it.
        holder: String,
    },
    /// The address is kept for the containers of another name.
    #[error("ip {address} is kept for `{holder}`")]
    AddressKept {
        /// The wanted address.
        address: IpAddr,
        /// The name that it is kept for.
        holder: ContainerName,
    },
    /// The namespace is attached already.
    #[error("the network namespace is attached already, as `{holder}`")]
    NamespaceTaken {
        /// The container that it is attached as.
        holder: String,
    },
    /// The namespace is the host's own.
    #[error("the network namespace is the host's own")]
    OwnNamespace,
    /// The namespace of a container is gone, or cannot be found again.
    #[error("the network namespace of `{name}` cannot be found")]
    NamespaceLost {
        /// The container.
        name: ContainerName,
    },
    /// What is handed over is another namespace than the one that was attached.
    #[error("that is not the network namespace of `{name}`")]
    OtherNamespace {
        /// The container.
        name: ContainerName,
    },
    /// Another container has published the port.
    #[error("host port {port}/{protocol} is published by `{holder}`")]
    PortTaken {
        /// The port of the host.
        port: Port,
        /// Its protocol.
        protocol: Protocol,
        /// The container that has it.
        holder: String,
    },
    /// One container publishes the port twice.
    #[error("host port {port}/{protocol} is given twice")]
    PortTwice {
        /// The port of the host.
        port: Port,
        /// Its protocol.
        protocol: Protocol,
    },
    /// A program on the host has the port, or the host lacks the address.
    #[error("cannot publish at host port {}", At { address: *address, port: *port, protocol: *protocol })]
    PortBusy {
        /// The address of the host.
        address: IpAddr,
        /// The port of the host.
        port: Port,
        /// Its protocol.
        protocol: Protocol,
        /// The kernel's reason.
        source: io::Error,
    },
    /// No port of `net.ipv4.ip_local_port_range` is free.
    #[error("no {protocol} port of the host is free")]
    NoFreePort {
        /// The protocol.
        protocol: Protocol,
    },
    /// The container's port is 0, or its protocol cannot be published.
    #[error("port `{publish}` cannot be published: {}", match .publish.port() { None => "a port is 1 to 65535", Some(_) => "this kernel's rules do not carry its protocol" })]
    Unpublishable {
        /// The wish.
        publish: Publish,
    },
    /// No network of the container has a way in for this family.
    #[error("port `{publish}` leads nowhere: the container has no default route of that family")]
    LeadsNowhere {
        /// The wish.
        publish: Publish,
    },
    /// Ports are published by rules, which the host's policy forbids.
    #[error("ports cannot be published without a firewall")]
    PublishWithoutFirewall,
    /// The mode has no published ports of its own.
    #[error("ports cannot be published in {mode} mode")]
    PublishInMode {
        /// `host`, `none` or `container`.
        mode: &'static str,
    },
    /// The mode has no MAC address of its own.
    #[error("a mac cannot be given in {mode} mode")]
    MacInMode {
        /// `host`, `none` or `container`.
        mode: &'static str,
    },
    /// The mode has no hostname of its own.
    #[error("a hostname cannot be given in {mode} mode")]
    HostnameInMode {
        /// `host` or `container`.
        mode: &'static str,
    },
    /// The mode has no networks.
    #[error("network `{network}` cannot be joined in {mode} mode")]
    NetworkInMode {
        /// The network.
        network: NetworkName,
        /// `host`, `none` or `container`.
        mode: &'static str,
    },
    /// A container has one endpoint on each of its networks.
    #[error("network `{network}` is given twice")]
    TwiceOn {
        /// The network.
        network: NetworkName,
    },
    /// What was asked about has no address, so that nothing can be sent to it.
    #[error("`{of}` has no address")]
    NoAddress {
        /// The target.
        of: String,
    },
    /// What was asked about is of two families, so that nothing goes from the one to the other.
    #[error("{from} and {to} are of two families")]
    Families {
        /// The source.
        from: IpAddr,
        /// The target.
        to: IpAddr,
    },
    /// The network has no subnet of the address's family.
    #[error("network `{network}` has no subnet for ip {address}")]
    NoSubnet {
        /// The network.
        network: NetworkName,
        /// The wanted address.
        address: IpAddr,
    },
    /// The run folder belongs to another instance, namespace or firewall.
    #[error("run folder {} belongs to another {what}: {there}, not {wanted}", path.display())]
    RunFolder {
        /// The folder.
        path: PathBuf,
        /// In what it differs: `instance`, `network namespace` or `firewall`.
        what: &'static str,
        /// What it says.
        there: String,
        /// What was expected.
        wanted: String,
    },
    /// The host changed since the plan was made.
    #[error("the host changed since the plan was made")]
    Stale,
    /// Records, leases or claims could not be read or written.
    #[error("cannot use the records")]
    Records(#[from] records::Error),
    /// A subnet, an address or a lease was refused.
    #[error("cannot give the address")]
    Address(#[from] ipam::Error),
    /// A namespace was refused.
    #[error("cannot use the network namespace")]
    Namespace(#[from] netns::Error),
    /// What is wanted of the links cannot be had.
    #[error("cannot plan the links")]
    Links(#[from] links::Error),
    /// The kernel refused a change of the links.
    #[cfg(feature = "kernel")]
    #[error("cannot change the links")]
    ChangeLinks(#[from] links::kernel::ApplyError),
    /// What is wanted of the rules cannot be had, or the kernel refused it.
    #[error("cannot set the rules")]
    Rules(#[from] rules::Error),
    /// The host could not be asked about itself.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The kernel's reason.
        source: io::Error,
    },
}

/// Something that could not be taken back.
#[derive(Debug)]
pub struct Left {
    /// What it is.
    pub what: Residue,
    /// Why it could not be taken back.
    pub source: Box<Error>,
}

/// What can stay behind.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Residue {
    /// The rules of a container's published ports, or of a network.
    Rules {
        /// The container or network.
        of: String,
    },
    /// A link of the host.
    Link(IfName),
    /// Links of the host, of one container.
    Links {
        /// Their names.
        names: String,
    },
    /// Leases, claims or records.
    Records {
        /// The container or network.
        of: String,
    },
    /// The pin of a namespace that was to end.
    Namespace {
        /// Where it is.
        pin: PathBuf,
    },
    /// What is missing of a container or a network, and could not be brought back.
    Missing {
        /// The container or network.
        of: String,
    },
    /// Whatever was begun: it could not even be looked at.
    Unknown,
}

impl fmt::Display for Residue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rules { of } => write!(f, "the rules of `{of}`"),
            Self::Link(name) => write!(f, "link `{name}`"),
            Self::Links { names } => write!(f, "links `{names}`"),
            Self::Records { of } => write!(f, "the records of `{of}`"),
            Self::Namespace { pin } => write!(f, "the namespace at `{}`", pin.display()),
            Self::Missing { of } => write!(f, "what is missing of `{of}`"),
            Self::Unknown => f.write_str("whatever was begun"),
        }
    }
}

impl Error {
    /// What can be done about it, where that is known: what mends a file that cannot be read, or frees an address.
    ///
    /// Files are damaged by others, or by a disk: linkspan replaces a file as a whole, or appends to it and passes over
    /// what was not written to its end. What cannot be read is never begun anew without being told, since it may say
    /// who has an address.
    pub fn remedy(&self) -> Option<Remedy> {
        match self {
            Self::Records(refused) => Remedy::of(refused),
            #[cfg(feature = "kernel")]
            Self::Address(ipam::Error::Book(refused)) => Remedy::of(refused),
            Self::Address(ipam::Error::Exhausted { .. }) => Some(Remedy::FreeAddress),
            Self::AddressKept { .. } => Some(Remedy::ReleaseAddress),
            Self::NetworkKeeps { .. } => Some(Remedy::ReleaseOrForce),
            Self::NetworkLost { .. } => Some(Remedy::Detach),
            Self::LeftBehind { left, refused } => {
                let left = left.iter().find_map(|left| left.source.remedy());
                left.or_else(|| refused.as_ref().and_then(|refused| refused.remedy()))
            }
            _ => None,
        }
    }

    /// What stayed behind; empty where everything is as it was.
    pub fn left_behind(&self) -> &[Left] {
        match self {
            Self::LeftBehind { left, .. } => left,
            _ => &[],
        }
    }

    /// That these things stayed.
    pub(crate) const fn left(left: Vec<Left>) -> Self {
        Self::LeftBehind { left, refused: None }
    }

    /// This error of an operation that was done but for this.
    pub(crate) fn leaving(self, what: Residue) -> Self {
        match self {
            Self::LeftBehind { .. } => self,
            source => Self::LeftBehind { left: vec![Left { what, source: Box::new(source) }], refused: None },
        }
    }

    /// This error, after what was begun was taken back, or not.
    pub(crate) fn after(self, taken_back: Result<(), Self>) -> Self {
        let stayed = match taken_back {
            Ok(()) => return self,
            Err(Self::LeftBehind { left, .. }) => left,
            Err(other) => vec![Left { what: Residue::Unknown, source: Box::new(other) }],
        };
        match self {
            Self::LeftBehind { mut left, refused } => {
                left.extend(stayed);
                Self::LeftBehind { left, refused }
            }
            refused => Self::LeftBehind { left: stayed, refused: Some(Box::new(refused)) },
        }
    }
}

/// What can be done about a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Remedy {
    /// `Host::reconcile` writes it anew from what the others say.
    Reconcile,
    /// `Host::reconcile` writes it anew where the network is defined; `Host::gc` removes it where it is not.
    ReconcileOrCollect,
    /// `Host::gc` removes it, with the links and rules that it stood for.
    Collect,
    /// `Host::reconcile` writes it anew where the network is up; `Host::remove_network` removes it, and
    /// `Host::remove_network_and_attachments` where addresses are kept of it.
    RemoveNetwork,
    /// `Host::reconcile` writes it anew where the leases tell of it; `Host::remove_network_and_attachments` removes it
    /// with its network.
    RemoveNetworkByForce,
    /// Something that linkspan did not make stands in its place, and is in nobody's hands but the user's:
    /// `Host::reconcile` and `Host::gc` do the rest once it is gone.
    RemoveByHand,
    /// `Host::detach` of each of them, and `Host::gc` removes what is left of their network.
    Detach,
    /// `Host::release_address` lets go of an address that is kept, and detaching frees one that is not.
    FreeAddress,
    /// `Host::release_address` lets go of it.
    ReleaseAddress,
    /// `Host::release_address` lets go of each; `Host::remove_network_and_attachments` of all, with the network.
    ReleaseOrForce,
}

impl Remedy {
    pub(crate) fn of(refused: &records::Error) -> Option<Self> {
        if matches!(refused, records::Error::NotAFile { .. } | records::Error::NotAFolder { .. }) {
            return Some(Self::RemoveByHand);
        }
        let folder = refused.path().filter(|_| refused.is_damage())?.parent()?.file_name()?;
        Some(match folder.to_str()? {
            "attachments" | "pending" | "warm" => Self::Collect,
            "up" => Self::ReconcileOrCollect,
            "networks" => Self::RemoveNetwork,
            "reservations" => Self::RemoveNetworkByForce,
            _ => Self::Reconcile,
        })
    }
}

impl fmt::Display for Remedy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Reconcile => "reconcile writes it anew from what the other files say",
            Self::ReconcileOrCollect => {
                "reconcile writes it anew where the network is defined, gc removes it where it is not"
            }
            Self::Collect => "gc removes it, with the links and rules that it stood for",
            Self::RemoveNetwork => {
                "reconcile writes it anew where the network is up, network rm removes it, \
                 with --force where addresses are kept"
            }
            Self::RemoveNetworkByForce => {
                "reconcile writes it anew where the leases tell of it, network rm --force removes it with its network"
            }
            Self::Detach => "detach each of them, and gc removes what is left of it",
            Self::FreeAddress => "detach frees one, and network release one that is kept",
            Self::ReleaseAddress => "network release lets go of it",
            Self::ReleaseOrForce => {
                "network release lets go of an address, network rm --force of all with the network"
            }
            Self::RemoveByHand => "it is not linkspan's: remove it, and reconcile and gc do the rest",
        })
    }
}

struct Residues<'a>(&'a [Left]);

impl fmt::Display for Residues<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let things: Vec<_> = self.0.iter().map(|left| left.what.to_string()).collect();
        write!(f, "left behind: {}", things.join(", "))
    }
}

struct Each<'a>(&'a [Reservation]);

impl fmt::Display for Each<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let each: Vec<_> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&each.join(", "))
    }
}

struct Names<'a>(&'a [ContainerName]);

impl fmt::Display for Names<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("a container that is being attached");
        }
        let names: Vec<_> = self.0.iter().map(|name| format!("`{name}`")).collect();
        f.write_str(&names.join(", "))
    }
}

struct At {
    address: IpAddr,
    port: Port,
    protocol: Protocol,
}

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", std::net::SocketAddr::new(self.address, self.port.get()), self.protocol)
    }
}

/// An error and what is behind it, in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    error.source().map_or_else(|| error.to_string(), |source| format!("{error}: {}", chain(source)))
}
