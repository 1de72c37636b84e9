//! Who has which address: pools of subnets, subnets, gateways, leases and reservations.
//!
//! The pure part decides: [`Pools::choose`] finds a free subnet, [`Subnet`] says which of its addresses can be had,
//! [`Leases`] hands out the lowest free one. The door, [`LeaseBook`], keeps leases in a file that several processes
//! share; it is behind the default feature `kernel`, without which this crate touches nothing outside.
//!
//! # What it refuses to do
//!
//! It looks at no interface, no route and no resolver: the caller says which prefixes are taken. It puts no address
//! on any link, knows no time, so that no lease expires, and asks whether an owner lives only when an address is
//! wanted that this owner has.
//!
//! # Ten lines that work
//!
//! ```
//! use linkspan_ipam::{Leases, Owner, Pools, Subnet, Wanted};
//!
//! let net = Pools::default().choose(&["172.17.0.0/16".parse()?])?;
//! assert_eq!(net.to_string(), "172.18.0.0/16");
//! let subnet = Subnet::new(net)?;
//! let (web, db): (Owner, Owner) = ("web".parse()?, "db".parse()?);
//!
//! let mut leases = Leases::new();
//! assert_eq!(leases.lease(&subnet, &web, Wanted::Any)?.to_string(), "172.18.0.2");
//! assert_eq!(leases.lease(&subnet, &db, Wanted::Any)?.to_string(), "172.18.0.3");
//! leases.release_all(&web);
//! assert_eq!(leases.lease(&subnet, &db, Wanted::Any)?.to_string(), "172.18.0.2");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![forbid(unsafe_code)]

mod address_set;
mod change;
mod error;
mod holdings;
mod leases;
mod lessee;
mod number;
mod owner;
mod page;
mod pools;
mod sha1;
#[cfg(feature = "kernel")]
mod store;
mod subnet;
mod ula;

pub use address_set::AddressSet;
pub use change::Change;
pub use error::Error;
pub use leases::{Leases, Wanted};
pub use lessee::Lessee;
pub use owner::Owner;
pub use pools::{Pool, Pools};
#[cfg(feature = "kernel")]
pub use store::LeaseBook;
pub use subnet::{Reserve, Subnet, refuse_overlap};
pub use ula::ula_subnet;
