//! Network namespaces: open, create, pin and identify them, and run code inside.
//!
//! # What it is for
//!
//! A [`NetNs`] is an open namespace together with its identity. It is found by path, by process or by
//! file descriptor, or made here; code runs inside it with [`NetNs::run`]; a [`Sandbox`] is a thread that
//! lives in namespaces of its own and starts programs there. A [`Place`] is what a record keeps in order
//! to find a namespace again from another process, and a [`Cookie`] is what tells whether it is still the
//! same one: the kernel gives a dead namespace's inode number to the next at once, its cookie never.
//!
#![cfg_attr(feature = "kernel", doc = "```")]
#![cfg_attr(not(feature = "kernel"), doc = "```ignore")]
//! use linkspan_netns::{Hostname, Isolation, NetNs, Sandbox};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # if NetNs::create_anonymous().is_err() { return Ok(()) } // an ordinary user may not
//! let here = NetNs::current()?;
//! let hostname: Hostname = "web-1".parse()?;
//! let sandbox = Sandbox::start(Isolation::own_network().hostname(hostname))?;
//! assert_ne!(sandbox.netns().cookie(), here.cookie());
//!
//! let links = sandbox.run(|| std::fs::read_to_string("/proc/thread-self/net/dev"))??;
//! assert_eq!(links.lines().count(), 3, "two lines of headings, and lo");
//! assert_eq!(NetNs::current()?.cookie(), here.cookie(), "the caller's thread stayed where it was");
//! # Ok(())
//! # }
//! ```
//!
//! # What it refuses to do
//!
//! - It never moves the caller's thread into another namespace, not even for a moment, unless it is lent for that
//!   ([`NetNs::open_lent`]): work inside is done on a thread that ends there, so neither an early return nor a panic can
//!   strand the caller.
//! - It touches no link, address, route or rule: that is for the crates that are handed the namespace.
//! - It decides nothing about whose namespace it is, and ends no process.
//! - It runs nothing between `fork` and `exec`: a program inherits the namespaces of the [`Sandbox`] thread
//!   that starts it.
//!
//! # Features
//!
//! `kernel` (on by default) is the door to the running kernel, [`NetNs`], [`Maker`] and [`Sandbox`]. Without it only
//! the words remain: [`Cookie`], [`Place`], [`Pid`], [`StartTime`] and [`Hostname`].
//!
//! Linux 5.14 or newer is needed: older kernels have no cookie.

#![forbid(unsafe_code)]

mod cookie;
mod error;
mod hostname;
#[cfg(feature = "kernel")]
mod kernel;
mod place;
mod process;

pub use cookie::Cookie;
pub use error::Error;
pub use hostname::Hostname;
#[cfg(feature = "kernel")]
pub use kernel::{Isolation, Maker, Making, NetNs, Sandbox};
pub use place::Place;
pub use process::{Pid, StartTime};
