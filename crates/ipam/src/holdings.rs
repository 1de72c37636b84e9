//! Which owner has which addresses, from either side.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::ops::RangeInclusive;

use crate::{Owner, number};

/// Addresses with their owners; each address has one. A mapped address is the one that it maps to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Holdings {
    by_address: BTreeMap<u128, Owner>,
    by_owner: HashMap<Owner, BTreeSet<u128>>,
}

impl Holdings {
    /// Gives the address to this owner, whoever had it before.
    pub(crate) fn insert(&mut self, address: IpAddr, owner: &Owner) {
        let number = number::of(address);
        if let Some(before) = self.by_address.insert(number, owner.clone()) {
            self.forget(number, &before);
        }
        match self.by_owner.get_mut(owner) {
            Some(numbers) => drop(numbers.insert(number)),
            None => drop(self.by_owner.insert(owner.clone(), BTreeSet::from([number]))),
        }
    }

    /// Says whether anybody had the address.
    pub(crate) fn remove(&mut self, address: IpAddr) -> bool {
        let number = number::of(address);
        let Some(owner) = self.by_address.remove(&number) else { return false };
        self.forget(number, &owner);
        true
    }

    fn forget(&mut self, number: u128, owner: &Owner) {
        let Some(numbers) = self.by_owner.get_mut(owner) else { return };
        numbers.remove(&number);
        if numbers.is_empty() {
            self.by_owner.remove(owner);
        }
    }

    pub(crate) fn owner_of(&self, address: IpAddr) -> Option<&Owner> {
        self.by_address.get(&number::of(address))
    }

    pub(crate) fn of(&self, owner: &Owner) -> impl Iterator<Item = IpAddr> {
        let numbers = (!self.by_owner.is_empty()).then(|| self.by_owner.get(owner)).flatten();
        numbers.into_iter().flatten().copied().map(number::canonical)
    }

    /// Returns the owners in the order of their names: a hash has none.
    pub(crate) fn owners(&self) -> impl Iterator<Item = &Owner> {
        self.by_owner.keys().collect::<BTreeSet<_>>().into_iter()
    }

    /// Returns the addresses between two numbers, in ascending order.
    pub(crate) fn within(&self, span: RangeInclusive<u128>) -> impl Iterator<Item = (IpAddr, &Owner)> {
        // An empty range is none that BTreeMap takes.
        let span = (!span.is_empty()).then(|| self.by_address.range(span));
        span.into_iter().flatten().map(|(number, owner)| (number::canonical(*number), owner))
    }

    /// Returns the IPv4 addresses, then the IPv6 ones, each in ascending order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (IpAddr, &Owner)> {
        let all = || self.by_address.iter().map(|(number, owner)| (number::canonical(*number), owner));
        all().filter(|(address, _)| address.is_ipv4()).chain(all().filter(|(address, _)| address.is_ipv6()))
    }

    pub(crate) fn len(&self) -> usize {
        self.by_address.len()
    }
}
