//! Bridges, veth pairs, addresses and routes: planned as values, performed by netlink.
//!
//! What is wanted ([`Bridge`], [`Veth`]) and what is [`Seen`] become a [`Plan`]: its [`Step`]s can be
//! printed, compared, stored and tried on paper ([`Seen::after`]). With feature `kernel`, which is on by
//! default, `kernel::Links` sees and performs. Undoing is the opposite plan from what is seen then: a
//! removal needs the host's side alone.
//!
//! What it refuses to do: it has no packet filter, hands out no addresses, keeps no records, and deletes
//! nothing that it did not make. It never switches forwarding off, never writes `bridge-nf-call-*`, never
//! moves a link between namespaces, and never lists the host's links to attach a container.
//!
//! ```
//! use linkspan_veth_bridge::{Bridge, HostEnd, InsideEnd, Mac, Mtu, Port, Seen, Space, Veth, plan};
//!
//! let bridge = Bridge::new("br-web".parse()?, Mac::of_address("10.88.0.1".parse()?), Mtu::ETHERNET)
//!     .with_address("10.88.0.1/24".parse()?);
//! let inside = InsideEnd::new("eth0".parse()?, Mac::of_address("10.88.0.2".parse()?))
//!     .with_address("10.88.0.2/24".parse()?)
//!     .with_gateway("10.88.0.1".parse()?);
//! let host = HostEnd::port("vethls0".parse()?, "02:aa:00:00:00:01".parse()?, Port::of("br-web".parse()?));
//! let veth = Veth::new(host, inside, Mtu::ETHERNET);
//!
//! // `kernel::Links::observe` reports this; an empty host and an empty container do as well.
//! let before = Seen { container: Some(Space::default()), ..Seen::default() };
//! let with_bridge = before.after(&plan::bridge(&bridge, &before)?);
//! let attach = plan::attach(&veth, &with_bridge)?;
//! assert_eq!(attach.steps().last().unwrap().to_string(),
//!     "add default route via 10.88.0.1 dev eth0 in the container");
//!
//! let attached = with_bridge.after(&attach);
//! assert!(plan::attach(&veth, &attached)?.is_empty());
//! assert_eq!(attached.after(&plan::detach(&veth, &attached)), with_bridge);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod address;
mod bridge;
mod draft;
mod error;
#[cfg(feature = "kernel")]
pub mod kernel;
mod paper;
pub mod plan;
mod seen;
mod step;
pub mod survey;
mod veth;

pub use bridge::{Bridge, Group, Original, Ownership};
pub use error::Error;
pub use ipnet::IpNet;
pub use linkspan_net_types::{Errno, IfName, Mac, Mtu};
pub use seen::{
    AddressGeneration, BridgeFacts, BridgeNetfilter, Forwarding, Ipv6Setup, Link, LinkKind, Look, PortFlags,
    Route, Seen, Snapshot, Space,
};
pub use step::{Family, Place, Plan, Side, Step};
pub use veth::{HostEnd, InsideEnd, Port, Veth};
