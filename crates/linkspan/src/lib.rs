//! The network that Docker gives its containers, for any Linux container, sandbox or microVM.
//!
//! A [`Host`] puts a network namespace on bridge networks: a veth pair, an address, a default route, rules
//! for its published ports. It is a library first: no daemon, no async runtime, no `ip`, `nft` or
//! `iptables` run on the default path. What is wanted is on record before the first change, so that any
//! process can detach at any time, also after a crash, and a refusal leaves the host as it was.
//!
//! What it refuses to do: it starts no containers, changes no rule and no link that does not carry its
//! name, never sets a FORWARD policy, never touches bridge netfilter, and never switches forwarding off.
//!
#![cfg_attr(feature = "lab", doc = "```")]
#![cfg_attr(not(feature = "lab"), doc = "```ignore")]
//! use linkspan::{Container, Endpoint, Host, NetNs, Network, Publish};
//!
//! # let lab = linkspan::lab::Lab::enter()?;
//! # let netns = NetNs::create_anonymous()?;
//! let host = Host::open()?;
//! let web = host.ensure_network(&Network::bridge("web".parse()?).subnet("10.88.0.0/24".parse()?))?;
//! let wanted = Container::new("web-1".parse()?).on(Endpoint::of(&web)).publish(Publish::tcp(80).at(8080));
//! let attachment = host.attach(&netns, &wanted)?; // or NetNs::of_pid(..), NetNs::open(path), an OwnedFd
//! assert_eq!(attachment.endpoints()[0].address().to_string(), "10.88.0.2/24");
//! host.detach(attachment.id())?; // any process, any time, also after a crash
//! # host.remove_network(web.name())?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![cfg_attr(
    not(feature = "kernel"),
    allow(dead_code, unused_imports, reason = "what decides for the door has no caller without it")
)]

mod attachment;
mod claims;
mod container;
pub mod doctor;
mod error;
pub mod explain;
mod gc;
mod id;
mod identity;
#[cfg(feature = "kernel")]
mod kernel;
#[cfg(feature = "lab")]
pub mod lab;
mod mark;
mod name;
mod network;
mod plan;
mod publish;
mod reconciled;
mod reservation;
mod view;
mod warm;

pub use attachment::{AttachedEndpoint, Attachment, HostSide, Namespace, Published};
pub use container::{Container, Endpoint};
pub use doctor::Diagnosis;
pub use error::{Error, Left, Remedy, Residue};
pub use explain::{Answer, Explanation, Question, Sender, Target};
pub use gc::{Collected, Garbage};
pub use id::{AttachmentId, NetworkId, ParseIdError};
pub use ipnet::IpNet;
#[cfg(feature = "kernel")]
pub use kernel::{Builder, Detached, Host, Mode, Notice, Prepared};
pub use linkspan_ipam::Subnet;
pub use linkspan_nat_rules::Instance;
pub use linkspan_net_types::{IfName, Mac, Mtu, Port, Protocol};
#[cfg(feature = "kernel")]
pub use linkspan_netns::NetNs;
pub use linkspan_netns::{Cookie, Hostname, Pid, Place};
pub use name::{ContainerName, NetworkName, ParseNameError};
pub use network::{DefinedNetwork, Difference, Egress, GatewayMode, Neighbours, Network};
pub use plan::{Firewall, NetworkPlan, ParseFirewallError, Plan, RulesPlan};
pub use publish::{ParsePublishError, Publish};
pub use reconciled::{Mended, Reconciled};
pub use reservation::{Addresses, Reservation};
pub use view::View;
