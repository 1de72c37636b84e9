//! Who reaches a container, by which port, and how it looks outside: rules as a value.
//!
//! What is wanted is a [`Ruleset`] of [`Network`]s and [`Publish`]ed ports, and a [`Change`] of it. From what
//! was seen, pure code makes a plan: one transaction of [`nftables`], or the text for the [`iptables`]
//! programs. Both give a packet the same answers. Which tracked connections a change leaves behind is for
//! [`conntrack`] to say. The doors to the running kernel are in `kernel`, behind the default feature of that
//! name.
//!
//! What it refuses to do: it touches no table, chain or rule but its own [`Instance`]'s, sets no policy,
//! writes no sysctl, has no tracked connection forgotten but those to a port that changed its owner, and
//! knows nothing of links beyond their names. Nothing but addresses, numbers and parsed names reaches a
//! rule, so no text of a user can become one.
//!
//! ```
//! use linkspan_nat_rules::nftables::{self, Seen};
//! use linkspan_nat_rules::{Change, Destination, Instance, Network, Publish};
//! use linkspan_net_types::Protocol;
//!
//! let web = Network::new("ls-web".parse()?).with_subnet("10.88.1.0/24".parse()?);
//! let server = Destination::new("10.88.1.2".parse()?, "80".parse()?);
//! let change = Change::new().add_network(web).publish(Publish::nat(Protocol::Tcp, "8080".parse()?, server));
//!
//! let plan = nftables::plan(Instance::default(), &change, &Seen::default())?;
//! assert!(plan.to_string().contains("add element inet linkspan pub4 { tcp . 8080 : 10.88.1.2 . 80 }"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod conntrack;
mod error;
pub mod foreign;
mod instance;
pub mod iptables;
#[cfg(feature = "kernel")]
pub mod kernel;
mod netfilter;
mod network;
pub mod nftables;
mod publish;
mod ruleset;
pub mod walk;

pub use error::Error;
pub use instance::{Instance, ParseInstanceError};
pub use network::{Access, Egress, Network};
pub use publish::{Destination, Publish, Way};
pub use ruleset::{Change, Ruleset};
