//! Which owner has which addresses, from either side.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::ops::RangeInclusive;

use crate::Owner;

/// Addresses with their owners; each address has one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Holdings {
    by_address: BTreeMap<IpAddr, Owner>,
    by_owner: BTreeMap<Owner, BTreeSet<IpAddr>>,
}

impl Holdings {
    /// Gives the address to this owner, whoever had it before.
    pub(crate) fn insert(&mut self, address: IpAddr, owner: &Owner) {
        self.remove(address);
        self.by_address.insert(address, owner.clone());
        self.by_owner.entry(owner.clone()).or_default().insert(address);
    }

    pub(crate) fn remove(&mut self, address: IpAddr) -> Option<Owner> {
        let owner = self.by_address.remove(&address)?;
        if let Some(addresses) = self.by_owner.get_mut(&owner) {
            addresses.remove(&address);
            if addresses.is_empty() {
                self.by_owner.remove(&owner);
            }
        }
        Some(owner)
    }

    pub(crate) fn owner_of(&self, address: IpAddr) -> Option<&Owner> {
        self.by_address.get(&address)
    }

    pub(crate) fn of(&self, owner: &Owner) -> impl Iterator<Item = IpAddr> {
        self.by_owner.get(owner).into_iter().flatten().copied()
    }

    pub(crate) fn owners(&self) -> impl Iterator<Item = &Owner> {
        self.by_owner.keys()
    }

    pub(crate) fn within(&self, span: RangeInclusive<IpAddr>) -> impl Iterator<Item = (IpAddr, &Owner)> {
        self.by_address.range(span).map(|(address, owner)| (*address, owner))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (IpAddr, &Owner)> {
        self.by_address.iter().map(|(address, owner)| (*address, owner))
    }

    pub(crate) fn len(&self) -> usize {
        self.by_address.len()
    }
}
