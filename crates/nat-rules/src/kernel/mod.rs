//! The doors to the rules of a running kernel: [`Nftables`] by netlink, [`Iptables`] by its programs; and to
//! the connections that it tracks, [`Conntrack`].
//!
//! They look and they carry out plans; what is decided is decided in [`crate::nftables`],
//! [`crate::iptables`] and [`crate::conntrack`]. Each works in the network namespace that it was opened in,
//! from any thread.
//!
//! ```no_run
//! use linkspan_nat_rules::kernel::Nftables;
//! use linkspan_nat_rules::{Change, Instance, Network};
//!
//! let web = Network::new("ls-web".parse()?).with_subnet("10.88.1.0/24".parse()?);
//! let mut nftables = Nftables::open(Instance::default())?;
//! let made = nftables.change(&Change::new().add_network(web))?;
//! print!("{made}");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod conntrack;
mod element;
mod expression;
mod foreign;
mod iptables;
mod listed;
mod nftables;
mod table;
mod transaction;

pub use conntrack::Conntrack;
pub use foreign::Others;
pub use iptables::Iptables;
pub use nftables::Nftables;

use linkspan_netlink::Body;

/// `NFPROTO_INET` of `linux/netfilter.h`.
const INET: u8 = 1;
/// The size of `struct nfgenmsg` of `linux/netfilter/nfnetlink.h`.
const HEADER: usize = 4;
/// `NFTA_LIST_ELEM` of `linux/netfilter/nf_tables.h`, where all the numbers of this door come from.
const LIST_ELEM: u16 = 1;

/// Writes `struct nfgenmsg` for a table of family `inet`.
fn inet(body: &mut Body<'_>) {
    body.bytes(&[INET, 0, 0, 0]);
}
