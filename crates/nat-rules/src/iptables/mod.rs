//! The rules of an instance as text for `iptables-restore --noflush` and `ip6tables-restore --noflush`.
//!
//! iptables has no maps: a network and a port are rules, and a change writes the chains of a table anew.
//! Each table is one transaction. Only chains of the instance's own are written, with one jump to each from
//! the chain of the kernel that it hangs on; the rules of the user's chain are left alone.
//!
//! ```
//! use linkspan_nat_rules::iptables::{self, Family, Seen};
//! use linkspan_nat_rules::{Change, Instance, Network, Ruleset};
//!
//! let web = Network::new("ls-web".parse()?).with_subnet("10.88.1.0/24".parse()?);
//! let rules = Ruleset::new().after(&Change::new().add_network(web))?;
//! let seen = Seen::read(Instance::default(), "", Some(""));
//! let plan = iptables::plan(Instance::default(), &rules, &seen)?;
//! assert!(plan.script(Family::V4).contains("-A LINKSPAN-POST -s 10.88.1.0/24 ! -o ls-web -j MASQUERADE\n"));
//! assert_eq!(plan.script(Family::V6), "");
//!
//! // What is there is not written again.
//! let seen = Seen::read(Instance::default(), &iptables::text(Instance::default(), &rules, Family::V4), None);
//! assert!(iptables::plan(Instance::default(), &rules, &seen)?.is_empty());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod chain;
mod difference;
mod line;
mod plan;
mod seen;
mod text;

pub use plan::{Plan, plan};
pub use seen::Seen;
pub use text::text;

/// An address family, each of which has tables and programs of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// `iptables`.
    V4,
    /// `ip6tables`.
    V6,
}
