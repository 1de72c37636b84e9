//! The state folder: the definitions of networks, and what is kept of them.

use crate::kernel::home::file;
use crate::reservation::Reservations;
use crate::{DefinedNetwork, Error, NetworkId, NetworkName, Residue};
use linkspan_records::{Access, Durability, Folder, Kept, Lock};
use std::path::{Path, PathBuf};

/// The state folder, which outlives a reboot: the definitions of networks, and the addresses of them that are kept.
#[derive(Debug)]
pub(crate) struct State {
    networks: Folder,
    definitions: Kept<DefinedNetwork>,
    reservations: Folder,
    root: Folder,
}

/// What may be of networks whose definitions cannot be read.
#[derive(Debug)]
pub(crate) struct Unclaimed {
    /// Those networks.
    pub(crate) unreadable: Vec<NetworkName>,
    /// The networks of which addresses are kept.
    pub(crate) keeping: Vec<NetworkId>,
}

impl State {
    pub(crate) fn open(path: &Path) -> Result<Self, Error> {
        let root = Folder::open(path)?;
        let folder = |name| root.folder(&file(name));
        let networks = folder("networks")?;
        let definitions = networks.kept();
        Ok(Self { networks, definitions, reservations: folder("reservations")?, root })
    }

    /// Held by whoever defines or forgets a network.
    pub(crate) fn lock(&self) -> Result<Lock, Error> {
        Ok(self.root.lock(&file("networks.lock"), Access::Exclusive)?)
    }

    /// The same, where nobody has it.
    pub(crate) fn try_lock(&self) -> Result<Option<Lock>, Error> {
        Ok(self.root.try_lock(&file("networks.lock"), Access::Exclusive)?)
    }

    /// The names of the networks that are defined, readable or not.
    pub(crate) fn names(&self) -> Result<Vec<NetworkName>, Error> {
        Ok(self.networks.names()?.iter().filter_map(|name| name.as_str().parse().ok()).collect())
    }

    /// Where a network is defined.
    pub(crate) fn path_of(&self, name: &NetworkName) -> PathBuf {
        self.networks.path().join(name.as_str())
    }

    /// Removes a definition, whatever it says.
    pub(crate) fn remove(&self, name: &NetworkName) -> Result<(), Error> {
        self.networks.remove(&file(name))?;
        let stays = |refused| Error::from(refused).leaving(Residue::Records { of: name.to_string() });
        self.networks.sync().map_err(stays)
    }

    pub(crate) fn find(&self, name: &NetworkName) -> Result<Option<DefinedNetwork>, Error> {
        Ok(self.definitions.read(&file(name))?)
    }

    pub(crate) fn all(&self) -> Result<Vec<DefinedNetwork>, Error> {
        let read = |name| self.networks.read(name).transpose();
        Ok(self.networks.names()?.iter().filter_map(read).collect::<Result<_, _>>()?)
    }

    /// What is kept of networks that no definition tells of which can be read.
    pub(crate) fn unclaimed(&self) -> Result<Unclaimed, Error> {
        let (mut unreadable, mut keeping) = (Vec::new(), self.keeping()?);
        for name in self.names()? {
            match self.find(&name) {
                Ok(network) => keeping.retain(|keeping| network.as_ref().is_none_or(|n| n.id != *keeping)),
                Err(_) => unreadable.push(name),
            }
        }
        Ok(Unclaimed { unreadable, keeping })
    }

    /// Removes what killed writers left.
    pub(crate) fn sweep(&self) -> Result<(), Error> {
        [&self.networks, &self.reservations].iter().try_for_each(|folder| Ok(folder.sweep().map(drop)?))
    }

    pub(crate) fn define(&self, network: &DefinedNetwork) -> Result<(), Error> {
        Ok(self.networks.write(&file(&network.name), network, Durability::Disk)?)
    }

    /// Writes a definition that is there anew; what a newer version said in it stays.
    pub(crate) fn redefine(&self, network: &DefinedNetwork) -> Result<(), Error> {
        Ok(self.networks.rewrite(&file(&network.name), network, Durability::Disk)?)
    }

    /// Notes that nothing of the network is on its bridge any more.
    pub(crate) fn give_back(&self, network: &DefinedNetwork) -> Result<(), Error> {
        match self.find(&network.name)?.filter(|there| there.id == network.id && there.adopted.is_some()) {
            Some(there) => self.redefine(&DefinedNetwork { adopted: None, ..there }),
            None => Ok(()),
        }
    }

    pub(crate) fn forget(&self, network: &DefinedNetwork) -> Result<(), Error> {
        self.sweep()?;
        // Another of the same name may have been defined since.
        if self.find(&network.name)?.is_some_and(|there| there.id == network.id) {
            self.networks.remove(&file(&network.name))?;
            self.networks.sync()?;
        }
        self.forget_reservations(network.id)
    }

    /// Held by whoever changes what is kept; whoever looks sees what was before or what is after.
    pub(crate) fn lock_reservations(&self) -> Result<Lock, Error> {
        Ok(self.root.lock(&file("reservations.lock"), Access::Exclusive)?)
    }

    /// The addresses of a network that are kept; `None` where none are.
    pub(crate) fn reservations(&self, network: NetworkId) -> Result<Option<Reservations>, Error> {
        Ok(self.reservations.read(&file(network))?)
    }

    /// Notes which addresses of a network are kept.
    pub(crate) fn reserve(&self, network: NetworkId, reservations: &Reservations) -> Result<(), Error> {
        let (name, to) = (file(network), Durability::Disk);
        match reservations.is_empty() {
            true => Ok(self.reservations.rewrite_or_remove(&name, reservations, to).map(drop)?),
            false => Ok(self.reservations.rewrite(&name, reservations, to)?),
        }
    }

    /// Whether addresses of a network are kept; where a file says so that cannot be understood, they may be.
    pub(crate) fn keeps_addresses(&self, network: NetworkId) -> Result<bool, Error> {
        match self.reservations(network) {
            Err(Error::Records(refused @ linkspan_records::Error::Io { .. })) => Err(refused.into()),
            Err(_) => Ok(true),
            Ok(kept) => Ok(kept.is_some_and(|kept| !kept.is_empty())),
        }
    }

    /// Removes what is kept of a network that is no more, whatever is in its file.
    pub(crate) fn forget_reservations(&self, network: NetworkId) -> Result<(), Error> {
        // Where nothing is kept, nobody can be at work on it who is worth being waited for.
        if !self.keeping()?.contains(&network) {
            return Ok(());
        }
        let _changing = self.lock_reservations()?;
        self.remove_reservations(network)
    }

    fn remove_reservations(&self, network: NetworkId) -> Result<(), Error> {
        match self.reservations.remove(&file(network))? {
            true => Ok(self.reservations.sync()?),
            false => Ok(()),
        }
    }

    /// Writes what is kept of a network in place of a file that cannot be read, and says where that is.
    pub(crate) fn reserve_anew(
        &self,
        network: NetworkId,
        reservations: &Reservations,
    ) -> Result<PathBuf, Error> {
        self.reservations.write(&file(network), reservations, Durability::Disk)?;
        Ok(self.reservations.path().join(network.to_string()))
    }

    /// The networks of which addresses are kept, be the file readable or not.
    pub(crate) fn keeping(&self) -> Result<Vec<NetworkId>, Error> {
        Ok(self.reservations.names()?.iter().filter_map(|name| name.as_str().parse().ok()).collect())
    }
}
