//! The rules of an instance as text for `iptables-restore --noflush` and `ip6tables-restore --noflush`.
//!
//! iptables has no maps: a network and a port are rules, and a change writes the chains of a table anew.
//! Each table is one transaction. Only chains of the instance's own are written, with one jump to each from
//! the chain of the kernel that it hangs on; the rules of the user's chain are left alone.
//!
//! **What a user puts into one of the other chains goes** with the next change of that table, and so does
//! what stands there twice or in another order: those chains are the instance's, as [`Plan`] says line by
//! line. `INSTANCE-user` is the place for rules of one's own. A user's chain that jumps to one of ours
//! stays, and so does the chain that it jumps to.
//!
//! **Jumps** come before all rules that are there at the time, but in `nat`, where they come last. A rule that
//! somebody puts above one later stays there: it may drop what ours would let through. A jump that is missing comes
//! back beside the other one.
//!
//! **Counters** of rules that stay begin at zero again when their table is written; those of other chains and
//! of the kernel's own are not touched. A table that holds what is wanted is not written, so its counters go on.
//!
//! **Both families** have rules of every network: a bridge without a subnet of IPv6 is closed to it, as link-local
//! addresses would else pass it. Where `ip6tables` or the kernel's IPv6 is missing, networks without IPv6 do
//! without those rules; if the kernel has IPv6 and `ip6tables` is what is missing, nothing keeps IPv6 packets
//! from being forwarded to a bridge, if the host forwards IPv6 at all.
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
//! assert!(plan.script(Family::V6).contains("-A LINKSPAN-FORWARD -o ls-web -j DROP\n"));
//!
//! // What is there is not written again.
//! let text = |family| iptables::text(Instance::default(), &rules, family);
//! let seen = Seen::read(Instance::default(), &text(Family::V4), Some(&text(Family::V6)));
//! assert!(iptables::plan(Instance::default(), &rules, &seen)?.is_empty());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod chain;
mod difference;
mod jumps;
mod line;
mod plan;
mod seen;
#[cfg(feature = "kernel")]
pub(crate) mod shortfall;
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
