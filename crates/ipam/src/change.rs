//! One change of leases, as a value and as a line of text.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use crate::{Error, Owner};

/// One change of [`Leases`](crate::Leases), which can be written down and read again.
///
/// ```
/// use linkspan_ipam::Change;
///
/// let change: Change = "lease 10.88.0.2 web".parse()?;
/// assert_eq!(change, Change::Lease("10.88.0.2".parse()?, "web".parse()?));
/// assert_eq!(change.to_string(), "lease 10.88.0.2 web");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// The owner has the address.
    Lease(IpAddr, Owner),
    /// Nobody has the address.
    Release(IpAddr),
    /// The address is for this owner alone, leased or not.
    Keep(IpAddr, Owner),
    /// The address is for anybody.
    Unkeep(IpAddr),
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lease(address, owner) => write!(f, "lease {address} {owner}"),
            Self::Release(address) => write!(f, "release {address}"),
            Self::Keep(address, owner) => write!(f, "keep {address} {owner}"),
            Self::Unkeep(address) => write!(f, "unkeep {address}"),
        }
    }
}

impl FromStr for Change {
    type Err = Error;

    /// Reads what `Display` writes.
    ///
    /// # Errors
    ///
    /// [`Error::Change`] for anything else.
    fn from_str(text: &str) -> Result<Self, Error> {
        read(text).ok_or_else(|| Error::Change { text: text.to_owned() })
    }
}

fn read(text: &str) -> Option<Change> {
    let (verb, rest) = text.split_once(' ')?;
    let (address, owner) =
        rest.split_once(' ').map_or((rest, None), |(address, owner)| (address, Some(owner)));
    let address = address.parse().ok()?;
    let owner = owner.map(str::parse::<Owner>).transpose().ok()?;
    match (verb, owner) {
        ("lease", Some(owner)) => Some(Change::Lease(address, owner)),
        ("release", None) => Some(Change::Release(address)),
        ("keep", Some(owner)) => Some(Change::Keep(address, owner)),
        ("unkeep", None) => Some(Change::Unkeep(address)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use proptest::prelude::{any, proptest};

    use super::Change;
    use crate::Owner;

    #[test]
    fn other_texts_are_refused() {
        for text in [
            "",
            "lease",
            "lease 10.0.0.1",
            "lease x y",
            "release 10.0.0.1 web",
            "lend 10.0.0.1 web",
            "unkeep ",
        ] {
            assert_eq!(
                text.parse::<Change>().unwrap_err().to_string(),
                format!("`{text}` is not a change of leases")
            );
        }
    }

    proptest! {
        #[test]
        fn a_change_is_read_as_it_was_written(address: IpAddr, owner in "[A-Za-z0-9_.-]{1,64}", verb in 0..4) {
            let owner: Owner = owner.parse().unwrap();
            let change = match verb {
                0 => Change::Lease(address, owner),
                1 => Change::Release(address),
                2 => Change::Keep(address, owner),
                _ => Change::Unkeep(address),
            };
            assert_eq!(change.to_string().parse::<Change>().unwrap(), change);
        }

        #[test]
        fn arbitrary_text_never_panics(text in any::<String>()) {
            let _ = text.parse::<Change>();
        }
    }
}
