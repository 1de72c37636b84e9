//! The words that linkspan's crates share.
//!
//! A value of one of these types is valid because it exists: it was parsed once, at the edge, and
//! carries the proof. None of them is a bare integer or string, so two of them cannot be mixed up.
//!
//! The crate is pure and has no dependencies. It refuses to know what a container, a network or a
//! rule is, and never looks at the host. Feature `serde` stores each word as the text it is parsed from.
//!
//! ```
//! use linkspan_net_types::{IfName, Mac, Port, Protocol};
//!
//! let bridge: IfName = "ls-0a1b2c3d4e5f".parse()?;
//! let mac = Mac::of_address("172.17.0.2".parse()?);
//! assert_eq!(mac.to_string(), "02:42:ac:11:00:02");
//!
//! let port: Port = "8080".parse()?;
//! assert_eq!(format!("{port}/{}", Protocol::Tcp), "8080/tcp");
//! assert!("a name too long for a link".parse::<IfName>().is_err());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod errno;
mod link;
mod mac;
mod port;
#[cfg(feature = "serde")]
mod text;

pub use errno::Errno;
pub use link::{IfIndex, IfName, Mtu, ParseIfNameError, ParseMtuError};
pub use mac::{Mac, ParseMacError};
pub use port::{ParsePortError, ParseProtocolError, Port, Protocol};
