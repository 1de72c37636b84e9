//! Tables, chains and rules of any origin as the kernel runs them, for a packet of which some is known.
//!
//! A test of a rule holds, does not hold, or cannot be told. Where it cannot, both ways are followed, and
//! only where they end differently the answer is that nobody can tell.

#[cfg_attr(not(feature = "kernel"), allow(dead_code, reason = "some of it only dumps of a kernel name"))]
mod field;
mod run;
mod saved;
mod stage;
#[cfg_attr(not(feature = "kernel"), allow(dead_code, reason = "some of it only dumps of a kernel name"))]
mod table;

#[cfg(feature = "kernel")]
pub(crate) use field::Part;
pub(crate) use field::{Field, Range, Test, Truth};
pub(crate) use run::{Care, End, Run};
pub(crate) use saved::read as read_saved;
pub(crate) use stage::{Hook, Layer, Link, Stage};
#[cfg(feature = "kernel")]
pub(crate) use table::Decision;
pub(crate) use table::{Act, Base, Chain, Family, Kind, Nat, Rule, Table};

/// `NF_IP_PRI_*` of `linux/netfilter_ipv4.h`.
pub(crate) mod priority {
    pub(crate) const RAW: i32 = -300;
    pub(crate) const CONNECTIONS: i32 = -200;
    pub(crate) const MANGLE: i32 = -150;
    pub(crate) const TARGET: i32 = -100;
    pub(crate) const FILTER: i32 = 0;
    pub(crate) const SECURITY: i32 = 50;
    pub(crate) const SOURCE: i32 = 100;
}
