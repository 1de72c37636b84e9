//! The door to the outside: leases in a file that several processes share.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use linkspan_records::{FileName, Folder, Ledger, Locked, State};

use crate::{Change, Error, Leases, Lessee, Owner, Subnet, Wanted};

/// The leases and reservations of one network, in a [`Ledger`].
///
/// Every call locks the file, sees what other processes did, and is done, on file, when it returns. It may be used
/// from several threads.
///
/// ```
/// use linkspan_ipam::{LeaseBook, Owner, Subnet, Wanted};
/// use linkspan_records::Folder;
///
/// # let path = std::env::temp_dir().join(format!("linkspan-ipam-doc-{}", std::process::id()));
/// let book = LeaseBook::open(&Folder::open(&path)?, &"web".parse()?);
/// let subnet = Subnet::new("10.88.0.0/24".parse()?)?;
/// let owner: Owner = "web-1".parse()?;
/// let address = book.lease(&subnet, &owner, Wanted::Any, &mut |_| true)?;
/// assert_eq!(book.addresses_of(&owner)?, [address]);
/// assert_eq!(book.release_all(&owner)?, [address]);
/// # std::fs::remove_dir_all(&path).expect("the example made it");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct LeaseBook {
    ledger: Mutex<Ledger<Leases>>,
}

impl State for Leases {
    type Entry = Change;

    const VERSION: u32 = 1;

    fn apply(&mut self, change: &Change) {
        Self::apply(self, change);
    }

    fn entries(&self) -> Vec<Change> {
        self.changes()
    }
}

impl LeaseBook {
    /// Names a lease book; nothing is opened or made before it is used.
    #[must_use]
    pub fn open(folder: &Folder, name: &FileName) -> Self {
        Self { ledger: Mutex::new(Ledger::open(folder, name)) }
    }

    /// Gives the owner an address, also one whose owner is dead.
    ///
    /// With [`Wanted::Any`] each call gives another address; wanting [`Wanted::This`] again is fine. `alive` is asked
    /// only about owners that stand in the way, as [`Leases::find_or_reclaim`] says, and while the book is locked:
    /// it must not use the book.
    ///
    /// # Errors
    ///
    /// As [`Leases::find`], or [`Error::Book`].
    pub fn lease<'a>(
        &self,
        subnet: &Subnet,
        lessee: impl Into<Lessee<'a>>,
        wanted: Wanted,
        alive: &mut dyn FnMut(&Owner) -> bool,
    ) -> Result<IpAddr, Error> {
        self.locked(|book| give(book, subnet, lessee.into(), wanted, alive))
    }

    /// As [`lease`](Self::lease), where reservations are on record elsewhere: they are read while the book is locked,
    /// and the book has the same from then on.
    ///
    /// So an address that was kept there before its lease ended here is free at no moment.
    ///
    /// # Errors
    ///
    /// As [`lease`](Self::lease), and whatever `kept` is refused with.
    pub fn lease_with<'a, E: From<Error>>(
        &self,
        kept: impl FnOnce() -> Result<BTreeMap<IpAddr, Owner>, E>,
        subnet: &Subnet,
        lessee: impl Into<Lessee<'a>>,
        wanted: Wanted,
        alive: &mut dyn FnMut(&Owner) -> bool,
    ) -> Result<IpAddr, E> {
        self.locked(|book| {
            follow(book, &kept()?)?;
            Ok(give(book, subnet, lessee.into(), wanted, alive)?)
        })
    }

    /// Makes the reservations of the book those that are on record elsewhere; they are read while the book is locked.
    ///
    /// # Errors
    ///
    /// [`Error::Book`], and whatever `kept` is refused with.
    pub fn follow<E: From<Error>>(
        &self,
        kept: impl FnOnce() -> Result<BTreeMap<IpAddr, Owner>, E>,
    ) -> Result<(), E> {
        self.locked(|book| Ok(follow(book, &kept()?)?))
    }

    /// Gives an address back if this owner has it, and says whether it had.
    ///
    /// # Errors
    ///
    /// [`Error::Book`].
    pub fn release(&self, address: IpAddr, owner: &Owner) -> Result<bool, Error> {
        self.locked(|book| {
            let had = book.state().owner_of(address) == Some(owner);
            if had {
                book.commit(&[Change::Release(address)])?;
            }
            Ok(had)
        })
    }

    /// Gives back all that an owner has, and returns it. Reservations stay.
    ///
    /// # Errors
    ///
    /// [`Error::Book`].
    pub fn release_all(&self, owner: &Owner) -> Result<Vec<IpAddr>, Error> {
        self.locked(|book| {
            let addresses: Vec<IpAddr> = book.state().addresses_of(owner).collect();
            let changes: Vec<Change> = addresses.iter().copied().map(Change::Release).collect();
            book.commit(&changes)?;
            Ok(addresses)
        })
    }

    /// Keeps an address for an owner, also after its lease ends, until [`release_reservation`](Self::release_reservation).
    ///
    /// # Errors
    ///
    /// As [`Leases::keep`], or [`Error::Book`].
    pub fn keep(&self, address: IpAddr, owner: &Owner) -> Result<(), Error> {
        self.locked(|book| {
            book.state().check_keep(address, owner)?;
            if book.state().kept_for(address) != Some(owner) {
                book.commit(&[Change::Keep(address, owner.clone())])?;
            }
            Ok(())
        })
    }

    /// Ends the reservation of an address and returns whom it was kept for. A lease of it stays.
    ///
    /// # Errors
    ///
    /// [`Error::Book`].
    pub fn release_reservation(&self, address: IpAddr) -> Result<Option<Owner>, Error> {
        self.locked(|book| {
            let owner = book.state().kept_for(address).cloned();
            if owner.is_some() {
                book.commit(&[Change::Unkeep(address)])?;
            }
            Ok(owner)
        })
    }

    /// Returns the addresses that an owner has, in ascending order.
    ///
    /// # Errors
    ///
    /// [`Error::Book`].
    pub fn addresses_of(&self, owner: &Owner) -> Result<Vec<IpAddr>, Error> {
        self.locked(|book| Ok(book.state().addresses_of(owner).collect()))
    }

    /// Returns who has the address.
    ///
    /// # Errors
    ///
    /// [`Error::Book`].
    pub fn owner_of(&self, address: IpAddr) -> Result<Option<Owner>, Error> {
        self.locked(|book| Ok(book.state().owner_of(address).cloned()))
    }

    /// Returns everybody who has an address, in the order of their names.
    ///
    /// # Errors
    ///
    /// [`Error::Book`].
    pub fn owners(&self) -> Result<Vec<Owner>, Error> {
        self.locked(|book| Ok(book.state().owners().cloned().collect()))
    }

    /// Returns all leases and reservations as they are at this moment.
    ///
    /// # Errors
    ///
    /// [`Error::Book`].
    pub fn snapshot(&self) -> Result<Leases, Error> {
        self.locked(|book| Ok(book.state().clone()))
    }

    /// Returns how many addresses are leased.
    ///
    /// # Errors
    ///
    /// [`Error::Book`].
    pub fn len(&self) -> Result<usize, Error> {
        self.locked(|book| Ok(book.state().len()))
    }

    /// Says whether no address is leased.
    ///
    /// # Errors
    ///
    /// [`Error::Book`].
    pub fn is_empty(&self) -> Result<bool, Error> {
        self.len().map(|len| len == 0)
    }

    /// Removes the book's file and its lock file: no address is leased or kept then.
    ///
    /// # Errors
    ///
    /// [`Error::Book`].
    pub fn remove(&self) -> Result<(), Error> {
        let mut ledger = self.ledger.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(ledger.lock()?.remove()?)
    }

    /// Makes these all leases and reservations, in one step, whatever is in the book's file.
    ///
    /// # Errors
    ///
    /// [`Error::Book`].
    pub fn replace(&self, leases: &Leases) -> Result<(), Error> {
        let mut ledger = self.ledger.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(ledger.replace(&leases.changes())?)
    }

    /// Removes the book's file, whatever is in it: no address is leased or kept then.
    ///
    /// # Errors
    ///
    /// [`Error::Book`].
    pub fn discard(&self) -> Result<(), Error> {
        let mut ledger = self.ledger.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(ledger.discard()?)
    }

    fn locked<T, E: From<Error>>(
        &self,
        act: impl FnOnce(&mut Locked<'_, Leases>) -> Result<T, E>,
    ) -> Result<T, E> {
        // A panic of `alive` leaves the state as it is on file: changes follow their commit.
        let mut ledger = self.ledger.lock().unwrap_or_else(PoisonError::into_inner);
        act(&mut ledger.lock().map_err(Error::from)?)
    }
}

fn give(
    book: &mut Locked<'_, Leases>,
    subnet: &Subnet,
    lessee: Lessee<'_>,
    wanted: Wanted,
    alive: &mut dyn FnMut(&Owner) -> bool,
) -> Result<IpAddr, Error> {
    let address = book.state().find_or_reclaim(subnet, lessee, wanted, alive)?;
    if book.state().owner_of(address) != Some(lessee.owner) {
        book.commit(&[Change::Lease(address, lessee.owner.clone())])?;
    }
    Ok(address)
}

fn follow(book: &mut Locked<'_, Leases>, kept: &BTreeMap<IpAddr, Owner>) -> Result<(), Error> {
    let changes = book.state().changes_to_keep(kept);
    Ok(book.commit(&changes)?)
}
