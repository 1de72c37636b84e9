//! Addresses that are kept for containers while they are not there.

use crate::ContainerName;
use linkspan_ipam::Owner;
use linkspan_records::Document;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;

/// What becomes of the addresses of a container that is detached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Addresses {
    /// Anybody may have them.
    #[default]
    Free,
    /// They are kept for the containers of that name that come after it, also after a reboot, until somebody lets go
    /// of them: `Host::release_address`, or the forced removal of the network.
    ///
    /// That such a container comes does not end it, so that neither its crash nor a reboot costs it its address. What
    /// was kept for the name on that network before is let go of.
    Keep,
}

/// An address of a network that is kept for the containers of one name.
///
/// Its text is `ADDRESS for NAME`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Reservation {
    address: IpAddr,
    container: ContainerName,
}

impl Reservation {
    /// The address.
    pub const fn address(&self) -> IpAddr {
        self.address
    }

    /// Whom it is kept for.
    pub const fn container(&self) -> &ContainerName {
        &self.container
    }
}

impl fmt::Display for Reservation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} for `{}`", self.address, self.container)
    }
}

/// The reservations of one network, in the state folder.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Reservations {
    kept: BTreeMap<IpAddr, Kept>,
}

/// A struct of one member, so that another version can say more of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Kept {
    container: ContainerName,
}

impl Document for Reservations {
    const VERSION: u32 = 1;
}

impl Reservations {
    /// Those that the leases name, where all of them are of containers.
    pub(crate) fn named(kept: impl IntoIterator<Item = (IpAddr, Owner)>) -> Option<Self> {
        let of = |(address, owner): (IpAddr, Owner)| {
            Some((address, Kept { container: owner.as_str().parse().ok()? }))
        };
        Some(Self { kept: kept.into_iter().map(of).collect::<Option<_>>()? })
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    /// Keeps these addresses for the container, and none that was kept for it before.
    pub(crate) fn keep(&mut self, container: &ContainerName, addresses: impl IntoIterator<Item = IpAddr>) {
        let addresses: BTreeSet<_> = addresses.into_iter().map(|address| address.to_canonical()).collect();
        // Another's hand may have written an address in its mapped form.
        self.kept.retain(|at, kept| kept.container != *container && !addresses.contains(&at.to_canonical()));
        let kept = || Kept { container: container.clone() };
        self.kept.extend(addresses.into_iter().map(|address| (address, kept())));
    }

    /// Lets go of an address, and returns whom it was kept for.
    pub(crate) fn release(&mut self, address: IpAddr) -> Option<ContainerName> {
        let mut released = None;
        self.kept.retain(|at, kept| {
            let stays = at.to_canonical() != address.to_canonical();
            if !stays {
                released = Some(kept.container.clone());
            }
            stays
        });
        released
    }

    /// All of them, IPv4 first.
    pub(crate) fn list(&self) -> Vec<Reservation> {
        let each = self.kept.iter();
        each.map(|(address, Kept { container })| Reservation {
            address: address.to_canonical(),
            container: container.clone(),
        })
        .collect()
    }

    /// As leases know them.
    pub(crate) fn owners(&self) -> BTreeMap<IpAddr, Owner> {
        self.kept.iter().map(|(address, kept)| (address.to_canonical(), kept_as(&kept.container))).collect()
    }
}

/// Whom leases keep the addresses of a container for: each of its attachments is another owner.
pub(crate) fn kept_as(name: &ContainerName) -> Owner {
    name.as_str().parse().expect("a container's name is at most 128 letters, digits, `_`, `.` and `-`")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{any, prop, proptest};

    fn name(text: &str) -> ContainerName {
        text.parse().unwrap()
    }

    fn texts(reservations: &Reservations) -> Vec<String> {
        reservations.list().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_was_kept_for_a_name_before_is_let_go_of() {
        let at = |text: &str| text.parse::<IpAddr>().unwrap();
        let mut kept = Reservations::default();
        kept.keep(&name("a"), [at("fd00::2"), at("10.0.0.2")]);
        kept.keep(&name("b"), [at("10.0.0.3")]);
        kept.keep(&name("a"), [at("::ffff:10.0.0.4")]);
        assert_eq!(texts(&kept), ["10.0.0.3 for `b`", "10.0.0.4 for `a`"]);
        assert_eq!(kept.release(at("10.0.0.4")), Some(name("a")));
        assert_eq!(kept.release(at("10.0.0.4")), None);
        assert!(!kept.is_empty());
    }

    #[test]
    fn a_mapped_address_on_file_is_the_address_that_it_maps_to() {
        let at = |text: &str| text.parse::<IpAddr>().unwrap();
        let on_file = || serde_json::from_str(r#"{"kept":{"::ffff:10.9.0.3":{"container":"a"}}}"#).unwrap();
        let mut kept: Reservations = on_file();
        assert_eq!(texts(&kept), ["10.9.0.3 for `a`"]);
        assert_eq!(kept.release(at("10.9.0.3")), Some(name("a")));
        assert!(kept.is_empty());
        let mut kept: Reservations = on_file();
        kept.keep(&name("b"), [at("10.9.0.3")]);
        assert_eq!(texts(&kept), ["10.9.0.3 for `b`"]);
    }

    #[test]
    fn the_longest_name_is_an_owner_of_leases() {
        assert_eq!(kept_as(&name(&"x".repeat(128))).as_str().len(), 128);
    }

    proptest! {
        #[test]
        fn leases_tell_the_reservations_that_they_follow(kept in prop::collection::btree_map(any::<IpAddr>(), "[a-z0-9][a-z0-9_.-]{0,127}", 0..9)) {
            let mut reservations = Reservations::default();
            for (address, text) in kept {
                reservations.keep(&name(&text), [address]);
            }
            assert_eq!(Reservations::named(reservations.owners()), Some(reservations));
        }
    }
}
