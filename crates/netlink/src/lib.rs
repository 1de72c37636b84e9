//! One synchronous netlink socket.
//!
//! A [`Batch`] of messages is built as bytes, leaves in one `sendmsg`, and comes back as nothing or as
//! the [`Refusal`] of each message that the kernel refused, with the kernel's own words where it gives
//! them. Messages are matched by sequence number. A [`Socket`] can be opened in any network namespace
//! and used from anywhere; it works in the namespace that it was opened in.
//!
//! What it refuses to do: it knows no links and no rules, holds no thread and no runtime, follows no
//! events, and never retries a change. Families other than route and netfilter are absent.
//!
//! ```
//! use linkspan_netlink::{Batch, Family, Flags, Kind, Socket};
//!
//! const RTM_GETLINK: Kind = Kind::new(18);
//! const IFLA_IFNAME: u16 = 3;
//!
//! let mut socket = Socket::open(Family::Route)?;
//! let mut question = Batch::new();
//! question.push(RTM_GETLINK, Flags::NONE, |body| {
//!     body.bytes(&[0; 16]); // struct ifinfomsg
//!     body.text(IFLA_IFNAME, "lo");
//! });
//! let replies = socket.request(&mut question)?;
//! let name = replies[0].attributes(16).find(|a| a.kind() == IFLA_IFNAME).expect("a link has a name");
//! assert_eq!(name.text(), Some("lo"));
//! # Ok::<(), linkspan_netlink::Error>(())
//! ```

mod attributes;
mod batch;
mod error;
mod home;
mod reply;
mod socket;

pub use attributes::{Attribute, Attributes};
pub use batch::{Batch, Body, Flags, Kind};
pub use error::{Error, Refusal};
pub use linkspan_net_types::Errno;
pub use reply::Reply;
pub use socket::{Family, Socket};
