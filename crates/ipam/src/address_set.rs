//! Which addresses are taken.

use std::net::IpAddr;

use crate::page::Page;
use crate::subnet::Open;
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
    /// In the order of their numbers. Most sets have one or two.
    pages: Vec<(u128, Box<Page>)>,
}

impl AddressSet {
    /// Makes an empty set.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Says whether the address is taken.
    #[must_use]
    #[inline]
    pub fn contains(&self, address: IpAddr) -> bool {
        self.contains_number(number::of(address))
    }

    /// Takes the address and says whether it was free.
    #[inline]
    pub fn insert(&mut self, address: IpAddr) -> bool {
        self.insert_number(number::of(address))
    }

    /// Gives the address back and says whether it was taken.
    #[inline]
    pub fn remove(&mut self, address: IpAddr) -> bool {
        self.remove_number(number::of(address))
    }

    /// Finds the lowest address of the subnet, or of its range where it has one, that is free and not reserved.
    ///
    /// # Errors
    ///
    /// [`Error::Exhausted`] where there is none.
    #[inline]
    pub fn lowest_free(&self, subnet: &Subnet) -> Result<IpAddr, Error> {
        match self.lowest_free_number(subnet.open()) {
            Some(number) => Ok(number::address(number, &subnet.net())),
            None => Err(Error::Exhausted { subnet: subnet.net() }),
        }
    }

    /// Finds the lowest free address as [`lowest_free`](Self::lowest_free) does, and takes it.
    ///
    /// # Errors
    ///
    /// [`Error::Exhausted`] where there is none.
    #[inline]
    pub fn take_lowest(&mut self, subnet: &Subnet) -> Result<IpAddr, Error> {
        match self.take_lowest_number(subnet.open()) {
            Some(number) => Ok(number::address(number, &subnet.net())),
            None => Err(Error::Exhausted { subnet: subnet.net() }),
        }
    }

    fn take_lowest_number(&mut self, open: &Open) -> Option<u128> {
        let number = self.lowest_free_number(open)?;
        self.insert_number(number);
        Some(number)
    }

    fn lowest_free_number(&self, open: &Open) -> Option<u128> {
        let mut free = self.lowest_from(open.first)?;
        while open.is_hole(free) {
            free = self.lowest_from(free + 1)?;
        }
        (free <= open.last).then_some(free)
    }

    fn lowest_from(&self, from: u128) -> Option<u128> {
        let (mut page, mut low) = split(from);
        let next = self.place_of(page).unwrap_or_else(|next| next);
        // Only full pages are passed by: each stands for 65,536 addresses that are taken.
        for (number, there) in &self.pages[next..] {
            if *number != page {
                break;
            }
            if let Some(clear) = there.lowest_clear(low) {
                return Some(page << 16 | u128::from(clear));
            }
            (page, low) = (page + 1, 0);
        }
        (page <= u128::MAX >> 16).then_some(page << 16 | u128::from(low))
    }

    fn contains_number(&self, number: u128) -> bool {
        let (number, low) = split(number);
        self.place_of(number).is_ok_and(|at| self.pages[at].1.contains(low))
    }

    fn insert_number(&mut self, number: u128) -> bool {
        let (number, low) = split(number);
        let at = self.place_of(number).unwrap_or_else(|at| {
            self.pages.insert(at, (number, Box::default()));
            at
        });
        self.pages[at].1.insert(low)
    }

    fn remove_number(&mut self, number: u128) -> bool {
        let (number, low) = split(number);
        let Ok(at) = self.place_of(number) else { return false };
        let page = &mut self.pages[at].1;
        let removed = page.remove(low);
        if page.is_empty() {
            self.pages.remove(at);
        }
        removed
    }

    fn place_of(&self, page: u128) -> Result<usize, usize> {
        self.pages.binary_search_by_key(&page, |(number, _)| *number)
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
