//! Which addresses are taken.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::page::Page;
use crate::{Error, Subnet, number};

/// A set of addresses, in which the lowest free one of a subnet is found in constant time.
///
/// It is a bitmap of pages of 65,536 addresses that are made when they are needed, so a /64 is no larger than what is
/// taken in it. It knows no owners: [`Leases`](crate::Leases) does.
///
/// ```
/// use linkspan_ipam::{AddressSet, Subnet};
///
/// let subnet = Subnet::new("fd00::/64".parse()?)?;
/// let mut taken = AddressSet::new();
/// assert_eq!(taken.take_lowest(&subnet)?.to_string(), "fd00::2");
/// assert_eq!(taken.take_lowest(&subnet)?.to_string(), "fd00::3");
/// assert!(taken.remove("fd00::2".parse()?));
/// assert_eq!(taken.take_lowest(&subnet)?.to_string(), "fd00::2");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AddressSet {
    pages: BTreeMap<u128, Page>,
}

impl AddressSet {
    /// Makes an empty set.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Says whether the address is taken.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let (page, low) = split(number::of(address));
        self.pages.get(&page).is_some_and(|page| page.contains(low))
    }

    /// Takes the address and says whether it was free.
    pub fn insert(&mut self, address: IpAddr) -> bool {
        let (page, low) = split(number::of(address));
        self.pages.entry(page).or_default().insert(low)
    }

    /// Gives the address back and says whether it was taken.
    pub fn remove(&mut self, address: IpAddr) -> bool {
        let (at, low) = split(number::of(address));
        let Some(page) = self.pages.get_mut(&at) else { return false };
        let removed = page.remove(low);
        if page.is_empty() {
            self.pages.remove(&at);
        }
        removed
    }

    /// Finds the lowest address of the subnet, or of its range where it has one, that is free and not reserved.
    ///
    /// # Errors
    ///
    /// [`Error::Exhausted`] where there is none.
    pub fn lowest_free(&self, subnet: &Subnet) -> Result<IpAddr, Error> {
        let (mut from, last) = subnet.span();
        while let Some(free) = self.lowest_from(from).filter(|free| *free <= last) {
            if !subnet.reserves(free) {
                return Ok(number::address(free, &subnet.net()));
            }
            let Some(next) = free.checked_add(1) else { break };
            from = next;
        }
        Err(Error::Exhausted { subnet: subnet.net() })
    }

    /// Finds the lowest free address as [`lowest_free`](Self::lowest_free) does, and takes it.
    ///
    /// # Errors
    ///
    /// [`Error::Exhausted`] where there is none.
    pub fn take_lowest(&mut self, subnet: &Subnet) -> Result<IpAddr, Error> {
        let address = self.lowest_free(subnet)?;
        self.insert(address);
        Ok(address)
    }

    fn lowest_from(&self, from: u128) -> Option<u128> {
        let (mut page, mut low) = split(from);
        // Only full pages are passed by: each stands for 65,536 addresses that are taken.
        while let Some(there) = self.pages.get(&page) {
            match there.lowest_clear(low) {
                Some(clear) => {
                    low = clear;
                    break;
                }
                None => (page, low) = (page + 1, 0),
            }
        }
        (page <= u128::MAX >> 16).then_some(page << 16 | u128::from(low))
    }
}

/// Splits a number into its page and its place in that.
fn split(number: u128) -> (u128, u16) {
    let [low, high, ..] = number.to_le_bytes();
    (number >> 16, u16::from_le_bytes([low, high]))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::net::IpAddr;

    use proptest::prelude::{any, prop, proptest};

    use super::AddressSet;
    use crate::Subnet;

    /// Takes addresses and tells which one is the lowest free.
    fn check(subnet: &str, taken: &str, expected: &str) {
        let subnet = Subnet::new(subnet.parse().unwrap()).unwrap();
        let mut set = AddressSet::new();
        for address in taken.split_whitespace() {
            assert!(set.insert(address.parse().unwrap()));
        }
        let found =
            set.lowest_free(&subnet).map_or_else(|error| error.to_string(), |address| address.to_string());
        assert_eq!(found, expected);
    }

    #[test]
    fn network_gateway_and_broadcast_are_passed_by() {
        check("10.0.0.0/30", "", "10.0.0.2");
        check("10.0.0.0/30", "10.0.0.2", "no free address in 10.0.0.0/30");
        check("10.0.0.0/31", "", "10.0.0.1");
        check("10.0.0.0/24", "10.0.0.2 10.0.0.3 10.0.0.5", "10.0.0.4");
        check("fd00::/64", "fd00::3", "fd00::2");
        check("fd00::/127", "", "fd00::1");
        check("fd00::/126", "fd00::2 fd00::3", "no free address in fd00::/126");
        check("255.255.255.252/30", "255.255.255.254", "no free address in 255.255.255.252/30");
    }

    #[test]
    fn a_slash_8_goes_on_past_full_pages() {
        let subnet = Subnet::new("10.0.0.0/8".parse().unwrap()).unwrap();
        let mut set = AddressSet::new();
        for _ in 0..200_000 {
            set.take_lowest(&subnet).unwrap();
        }
        assert_eq!(set.lowest_free(&subnet).unwrap().to_string(), "10.3.13.66");
        assert!(set.remove("10.1.0.0".parse().unwrap()));
        assert_eq!(set.lowest_free(&subnet).unwrap().to_string(), "10.1.0.0");
    }

    #[test]
    fn the_last_addresses_of_the_family_can_be_had_and_nothing_after_them() {
        let subnet = Subnet::new("fdff:ffff:ffff:ffff:ffff:ffff:ffff:fff0/124".parse().unwrap()).unwrap();
        let mut set = AddressSet::new();
        let taken = std::iter::from_fn(|| set.take_lowest(&subnet).ok()).count();
        assert_eq!(taken, 14);
    }

    #[test]
    fn far_apart_addresses_cost_no_more_than_their_pages() {
        let mut set = AddressSet::new();
        for far in ["fd00::1", "fd00::ffff:ffff:ffff:1", "fdff::1", "10.0.0.1"] {
            assert!(set.insert(far.parse().unwrap()) && !set.insert(far.parse().unwrap()));
        }
        assert_eq!(set.pages.len(), 4);
        assert!(set.remove("fdff::1".parse().unwrap()) && !set.remove("fdff::1".parse().unwrap()));
        assert_eq!(set.pages.len(), 3, "what is empty is let go");
    }

    proptest! {
        #[test]
        fn it_is_a_set_of_addresses(changes in prop::collection::vec((any::<bool>(), any::<IpAddr>()), 0..60)) {
            // Addresses that map to each other are one number: subnets refuse them.
            let plain = |address: &IpAddr| !matches!(address, IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some());
            let (mut ours, mut set) = (AddressSet::new(), BTreeSet::new());
            for (insert, address) in changes.into_iter().filter(|(_, address)| plain(address)) {
                if insert {
                    assert_eq!(ours.insert(address), set.insert(address));
                } else {
                    assert_eq!(ours.remove(address), set.remove(&address));
                }
            }
            assert!(set.iter().all(|address| ours.contains(*address)));
        }
    }
}
