//! Removing networks, with those who are on them or without.

use crate::attachment::AttachmentRecord;
use crate::kernel::damage::{or_damage, undamaged};
use crate::kernel::defining::{Busy, Defining, Turn};
use crate::kernel::home::{Readable, file, network_file, network_of};
use crate::kernel::host::Host;
use crate::plan::NetworkRecord;
use crate::{
    Attachment, AttachmentId, ContainerName, DefinedNetwork, Error, NetworkId, NetworkName, Residue,
};
use linkspan_records::Taken;
use std::cell::Cell;

/// What may go with a network that is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Removal {
    /// Nothing: who is on it, and what is kept of it, is in the way.
    OfUnused,
    /// Every attachment on it, and every address of it that is kept.
    WithAll,
}

/// How far a removal by force has come.
#[derive(Default)]
struct Progress {
    /// Somebody may be off the network, or kept from it.
    begun: Cell<bool>,
    /// The network that it closed: whoever then works on networks may come to its end, and make another of the name.
    closed: Cell<Option<NetworkId>>,
}

/// Who is on a network.
#[derive(Default)]
struct Users {
    names: Vec<ContainerName>,
    /// Those whose records somebody has in hand.
    at_work: Vec<AttachmentId>,
}

impl Host {
    /// Removes a network that nobody is attached to: its bridge, its rules, its definition.
    ///
    /// Where somebody else removes it first, that is as good.
    ///
    /// # Errors
    /// [`Error::NoSuchNetwork`] where it was not there to begin with; [`Error::NetworkReserved`],
    /// [`Error::NetworkInUse`], also by a container that is being attached at this moment; [`Error::NetworkKeeps`],
    /// [`Error::LeftBehind`].
    pub fn remove_network(&self, name: &NetworkName) -> Result<(), Error> {
        let was_there = self.is_known(name)?;
        gone(was_there, self.remove_network_with(name, Removal::OfUnused))
    }

    /// Removes a network with every attachment on it, and with every address of it that is kept.
    ///
    /// From the moment that nobody comes to it any more, those are waited for who are at work on it. Where this ends
    /// before it is done, whoever works on networks next goes on with it.
    ///
    /// # Errors
    /// As [`remove_network`](Self::remove_network), but for those who are on it and what is kept; what can be detached
    /// is, whatever else is refused.
    pub fn remove_network_and_attachments(&self, name: &NetworkName) -> Result<(), Error> {
        let was_there = self.is_known(name)?;
        self.refuse_unusable(name)?;
        let on_it = self.attachments_on(name, Readable::Legible)?;
        let ids: Vec<_> = on_it.iter().map(Attachment::id).collect();
        self.detach_all(&ids)?;
        // The default network goes with its last attachment.
        let was_there = was_there || !ids.is_empty() || name.is_default_bridge();
        gone(was_there, self.remove_network_with(name, Removal::WithAll)).map_err(|refused| match ids.len() {
            0 => refused,
            // Its containers are off it, so this is no refusal that changed nothing.
            _ => refused.leaving(Residue::Records { of: name.to_string() }),
        })
    }

    /// The attachments on a network, as far as these records tell.
    fn attachments_on(&self, name: &NetworkName, which: Readable) -> Result<Vec<Attachment>, Error> {
        let on_it = |attachment: &Attachment| attachment.endpoints.iter().any(|e| e.network == *name);
        Ok(self.attachments_of(which)?.into_iter().filter(on_it).collect())
    }

    /// Whether there is such a network, be it readable or half removed.
    fn is_known(&self, name: &NetworkName) -> Result<bool, Error> {
        Ok(!matches!(self.network(name), Ok(None)) || self.is_being_removed(name)?)
    }

    /// Whether somebody began to remove the network, and did not come to the end of it.
    fn is_being_removed(&self, name: &NetworkName) -> Result<bool, Error> {
        for file in self.run.pending.names()?.iter().filter(|file| network_of(file).is_some()) {
            let record = self.run.pending.peek_record::<NetworkRecord>(file);
            if record.ok().flatten().is_some_and(|record| record.network.name == *name && record.forget) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Refuses what would stop the removal after its containers were detached.
    ///
    /// # Errors
    /// [`Error::Records`] or [`Error::Address`] for a record or a lock that cannot be used; the definition and what is
    /// kept may be damaged, and are removed all the same.
    fn refuse_unusable(&self, name: &NetworkName) -> Result<(), Error> {
        drop(self.state.try_lock()?);
        drop(self.run.claims().lock()?);
        let Some(DefinedNetwork { id, .. }) = undamaged(self.network(name))? else { return Ok(()) };
        drop(self.run.try_lock_network(id)?);
        for folder in [&self.run.pending, &self.run.up] {
            folder.peek_record::<NetworkRecord>(&network_file(id))?;
        }
        undamaged(self.state.reservations(id))?;
        self.owners(id)?.into_iter().try_for_each(|owner| self.run.is_on_record(owner).map(drop))
    }

    fn remove_network_with(&self, name: &NetworkName, removal: Removal) -> Result<(), Error> {
        if name.is_reserved() && !name.is_default_bridge() {
            return Err(Error::NetworkReserved { name: name.clone() });
        }
        let progress = Progress::default();
        let removed = self
            .remove(|_| self.defining(|defining| self.remove_defined(defining, name, removal, &progress)));
        removed.map_err(|refused| match refused {
            // The next one who works on networks goes on with it.
            refused if progress.begun.get() && !matches!(refused, Error::NoSuchNetwork { .. }) => {
                refused.leaving(Residue::Records { of: name.to_string() })
            }
            refused => refused,
        })
    }

    fn remove_defined(
        &self,
        defining: &Defining,
        name: &NetworkName,
        removal: Removal,
        progress: &Progress,
    ) -> Result<Turn<()>, Error> {
        if let Some(closed) = progress.closed.get() {
            return Ok(self.under_way(defining, closed)?.map_or(Turn::Done(()), Turn::Busy));
        }
        let there = match or_damage(self.network(name))? {
            Ok(there) => there,
            Err(_) => match self.take_name_off(name, removal)? {
                Some(up) => Some(up),
                None => return Ok(Turn::Done(())),
            },
        };
        let network = there.ok_or_else(|| Error::NoSuchNetwork { name: name.clone() })?;
        if let Some(busy) = self.under_way(defining, network.id)? {
            return Ok(Turn::Busy(busy));
        }
        match removal {
            Removal::OfUnused => self.remove_unused(defining, &network),
            Removal::WithAll => match self.remove_alone(defining, &network, &progress.begun)? {
                // Whoever comes at this moment, and the next one: there would always be somebody.
                Turn::Busy(busy) => {
                    progress.begun.set(true);
                    progress.closed.set(self.close(&network)?);
                    Ok(Turn::Busy(busy))
                }
                done => Ok(done),
            },
        }
    }

    /// Makes a definition that cannot be read one of what is up of its network, or removes it where nothing is.
    ///
    /// # Errors
    /// [`Error::NetworkInUse`] where only attachments tell of the network: they go first. [`Error::NetworkKeeps`] where
    /// addresses are kept that may be of it, and are not to go.
    fn take_name_off(&self, name: &NetworkName, removal: Removal) -> Result<Option<DefinedNetwork>, Error> {
        if let Some(up) = self.up_by_name(name)? {
            return self.state.define(&up).map(|()| Some(up));
        }
        let on_it = self.attachments_on(name, Readable::Undamaged)?;
        let by: Vec<_> = on_it.into_iter().map(|attachment| attachment.name).collect();
        if !by.is_empty() {
            return Err(Error::NetworkInUse { name: name.clone(), by });
        }
        let is_kept = self.let_go_of_the_unknown(name, removal)?;
        self.state.remove(name).map(|()| None).map_err(|refused| match is_kept {
            true => refused,
            false => refused.leaving(Residue::Records { of: name.to_string() }),
        })
    }

    /// Lets go of what is kept of a network whose definition cannot be read: whatever no other network keeps. Where
    /// another cannot be read either, it stays for `gc`, since it may be that one's. Says whether all is as it was.
    fn let_go_of_the_unknown(&self, name: &NetworkName, removal: Removal) -> Result<bool, Error> {
        let mut unclaimed = self.state.unclaimed()?;
        let up = self.readable_up()?;
        unclaimed.keeping.retain(|keeping| up.iter().all(|network| network.id != *keeping));
        match removal {
            Removal::OfUnused => {
                let mut kept = Vec::new();
                for network in &unclaimed.keeping {
                    kept.extend(self.state.reservations(*network)?.unwrap_or_default().list());
                }
                if kept.is_empty() { Ok(true) } else { Err(Error::NetworkKeeps { name: name.clone(), kept }) }
            }
            Removal::WithAll if unclaimed.unreadable == [name.clone()] => {
                unclaimed.keeping.iter().try_for_each(|network| self.state.forget_reservations(*network))?;
                Ok(unclaimed.keeping.is_empty())
            }
            Removal::WithAll => Ok(true),
        }
    }

    /// Nobody is waited for but those who take away the last who are on it.
    fn remove_unused(&self, defining: &Defining, network: &DefinedNetwork) -> Result<Turn<()>, Error> {
        let in_use = |by| Err(Error::NetworkInUse { name: network.name.clone(), by });
        let Some(alone) = self.run.try_lock_network(network.id)? else {
            return in_use(self.guests(network.id)?);
        };
        let Users { names, at_work } = self.users(network.id)?;
        if !names.is_empty() {
            return in_use(names);
        }
        if let Some(id) = at_work.first() {
            return Ok(Turn::Busy(Busy::Attachment(*id)));
        }
        let kept = self.reservations_of(network)?;
        if !kept.is_empty() {
            return Err(Error::NetworkKeeps { name: network.name.clone(), kept });
        }
        self.forget(defining, alone, network).map(Turn::Done)
    }

    fn remove_alone(
        &self,
        defining: &Defining,
        network: &DefinedNetwork,
        begun: &Cell<bool>,
    ) -> Result<Turn<()>, Error> {
        let Some(alone) = self.run.try_lock_network(network.id)? else {
            return Ok(Turn::Busy(Busy::Network(network.id)));
        };
        begun.set(begun.get() || !self.owners(network.id)?.is_empty());
        match self.detach_users(network.id)? {
            Turn::Done(()) => self.forget(defining, alone, network).map(Turn::Done),
            busy => Ok(busy),
        }
    }

    /// Closes a network that is up, and returns which: nobody comes to it from here on, and it is taken back once those
    /// have left who are at work on it.
    fn close(&self, network: &DefinedNetwork) -> Result<Option<NetworkId>, Error> {
        match self.run.up.take_record::<NetworkRecord>(&network_file(network.id))? {
            Taken::Here(mut record) => {
                record.append(NetworkRecord { forget: true, ..record.value().clone() })?;
                record.move_to(&self.run.pending)?;
                Ok(Some(network.id))
            }
            Taken::Busy | Taken::Absent => Ok(None),
        }
    }

    /// Detaches all who are on a network that nobody is at work on.
    pub(crate) fn detach_users(&self, network: NetworkId) -> Result<Turn<()>, Error> {
        let mut records = Vec::new();
        for id in self.owners(network)? {
            match self.take_attachment(id)? {
                Taken::Here(record) => records.push(record),
                Taken::Busy => return Ok(Turn::Busy(Busy::Attachment(id))),
                Taken::Absent => {}
            }
        }
        self.take_back_all(records).map(Turn::Done)
    }

    /// Who is on a network once the dead are off it, but for those whose records are gone.
    fn users(&self, network: NetworkId) -> Result<Users, Error> {
        let mut users = Users::default();
        for id in self.owners(network)? {
            let record = match self.take_attachment(id)? {
                Taken::Here(record) => record,
                Taken::Busy => {
                    users.at_work.push(id);
                    continue;
                }
                Taken::Absent => continue,
            };
            let name = record.value().name.clone();
            match &record.value().attachment {
                Some(attachment) if self.is_dead(attachment)? => self.take_back(record)?,
                // Nobody else has it, so whoever was at work on it is dead.
                _ if record.value().leaving || record.is_in(&self.run.pending) => self.take_back(record)?,
                _ => users.names.push(name),
            }
        }
        users.names.sort();
        Ok(users)
    }

    /// Who is on a network or about to be, while somebody is at work on it.
    fn guests(&self, network: NetworkId) -> Result<Vec<ContainerName>, Error> {
        let mut names = Vec::new();
        for id in self.owners(network)? {
            names.extend(self.name_of(id)?);
        }
        for file in self.run.pending.names()?.iter().filter(|file| network_of(file).is_none()) {
            let record = self.run.pending.peek_record::<AttachmentRecord>(file);
            let comes = record.ok().flatten().filter(|record| record.networks.contains(&network));
            names.extend(comes.map(|record| record.name));
        }
        names.sort();
        names.dedup();
        Ok(names)
    }

    /// Takes the record of an attachment, wherever it lies: who takes it away moves it from the one folder to the other.
    fn take_attachment(&self, id: AttachmentId) -> Result<Taken<AttachmentRecord>, Error> {
        match self.run.take_confirmed(&file(id))? {
            Taken::Absent => Ok(self.run.pending.take_record(&file(id))?),
            taken => Ok(taken),
        }
    }

    /// Whose leases there are of a network.
    fn owners(&self, network: NetworkId) -> Result<Vec<AttachmentId>, Error> {
        let owners = self.run.book(network).owners()?;
        Ok(owners.iter().filter_map(|owner| owner.as_str().parse().ok()).collect())
    }

    /// Whether anyone is on a network, but for those whose records are gone.
    pub(crate) fn has_users(&self, network: NetworkId) -> Result<bool, Error> {
        for id in self.owners(network)? {
            if self.run.is_on_record(id)? {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// A network that is gone was removed, whoever did it, where it was there to begin with.
fn gone(was_there: bool, removed: Result<(), Error>) -> Result<(), Error> {
    match removed {
        Err(Error::NoSuchNetwork { .. }) if was_there => Ok(()),
        removed => removed,
    }
}
