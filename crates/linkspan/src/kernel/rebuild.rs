//! Writing anew the files that cannot be read, from what the others say.
//!
//! Claims and leases are what the attachments say of themselves, the record of a network that is up is what its
//! definition says, and the other way round. Nothing but its own record tells of an attachment.
//!
//! Each file is put in place of the one that is there by one rename, with all that it has to say: whoever is killed leaves
//! the damage, for the next one to see, or none.

use crate::Error;
use crate::attachment::AttachmentRecord;
use crate::claims::Entry;
use crate::kernel::attach::owner;
use crate::kernel::damage::or_damage;
use crate::kernel::home::{network_file, network_of};
use crate::kernel::host::Host;
use crate::kernel::records::UsersOfNetworks;
use crate::kernel::undone::Undone;
use crate::plan::NetworkRecord;
use crate::reservation::Reservations;
use crate::{Attachment, DefinedNetwork, NetworkId, NetworkName, Residue};
use ipnet::IpNet;
use linkspan_ipam::{Leases, Wanted};
use linkspan_records::Durability;
use std::collections::BTreeSet;
use std::path::PathBuf;

impl Host {
    /// Rebuilds what is damaged, and adds what that was. Nobody else may be at work.
    ///
    /// # Errors
    /// [`Error::Records`] for what nothing else tells of: an attachment, and a network that is not up.
    pub(crate) fn rebuild(&self, rebuilt: &mut Vec<PathBuf>) -> Result<(), Error> {
        self.rebuild_definitions(rebuilt)?;
        self.rebuild_up(rebuilt)?;
        rebuilt.extend(self.rebuild_claims()?);
        self.rebuild_leases(rebuilt)
    }

    /// What a file says that is written anew cannot be known before.
    ///
    /// # Errors
    /// [`Error::Records`] or [`Error::Address`] for a file that [`rebuild`](Self::rebuild) would write anew.
    pub(crate) fn refuse_damage(&self) -> Result<(), Error> {
        self.state.all()?;
        if let Some(network) = self.undefined()?.first() {
            let path = self.state.path_of(&network.name);
            return Err(linkspan_records::Error::Torn { path }.into());
        }
        for name in self.run.up.names()? {
            self.run.up.peek_record::<NetworkRecord>(&name)?;
        }
        drop(self.unheard_of()?);
        drop(self.run.claims().lock()?);
        for network in self.networks_with_leases()? {
            self.run.book(network).len()?;
        }
        self.state.keeping()?.into_iter().try_for_each(|network| self.state.reservations(network).map(drop))
    }

    /// Rebuilds what is damaged of the addresses that are kept, and adds what that was. What was kept before a reboot
    /// nothing else tells of, which is noted: it is in the way of its network alone.
    pub(crate) fn rebuild_reservations(
        &self,
        rebuilt: &mut Vec<PathBuf>,
        undone: &mut Undone,
    ) -> Result<(), Error> {
        for network in self.state.keeping()? {
            match self.rebuild_reservations_of(network) {
                Err(Error::Records(refused)) if refused.is_damage() => {
                    undone.note(Residue::Records { of: network.to_string() }, Err(refused.into()));
                }
                done => rebuilt.extend(done?),
            }
        }
        Ok(())
    }

    /// Leases follow the reservations with each address that is wanted or kept, and an empty file is removed: where they
    /// tell of any, they tell of all.
    fn rebuild_reservations_of(&self, network: NetworkId) -> Result<Option<PathBuf>, Error> {
        let Err(damage) = or_damage(self.state.reservations(network))? else { return Ok(None) };
        let leases = self.run.book(network).snapshot()?;
        let kept = leases.reservations().map(|(address, owner)| (address, owner.clone()));
        let told = Reservations::named(kept).filter(|told| !told.is_empty());
        self.state.reserve_anew(network, &told.ok_or(Error::Records(damage))?).map(Some)
    }

    fn rebuild_definitions(&self, rebuilt: &mut Vec<PathBuf>) -> Result<(), Error> {
        for name in self.state.names()? {
            let Err(damage) = or_damage(self.state.find(&name))? else { continue };
            let network = self.up_by_name(&name)?.ok_or(Error::Records(damage))?;
            self.state.define(&network)?;
            rebuilt.push(self.state.path_of(&name));
        }
        for network in self.undefined()? {
            self.state.define(&network)?;
            rebuilt.push(self.state.path_of(&network.name));
        }
        Ok(())
    }

    /// The networks that are up, and whose definition is gone.
    pub(crate) fn undefined(&self) -> Result<Vec<DefinedNetwork>, Error> {
        let mut undefined = Vec::new();
        for network in self.readable_up()? {
            let is_gone = self.state.find(&network.name)?.is_none();
            // Somebody may have removed the network in between.
            if is_gone && self.up_by_name(&network.name)?.is_some() {
                undefined.push(network);
            }
        }
        Ok(undefined)
    }

    /// The networks whose records say that they are up, but for damaged ones and those that are on their way off.
    pub(crate) fn readable_up(&self) -> Result<Vec<DefinedNetwork>, Error> {
        let mut networks = Vec::new();
        for name in self.run.up.names()? {
            if let Ok(Some(record)) = self.run.up.peek_record::<NetworkRecord>(&name)
                && !record.leaving
            {
                networks.push(record.network);
            }
        }
        Ok(networks)
    }

    /// The network of this name that is up on record, whatever became of its definition.
    pub(crate) fn up_by_name(&self, name: &NetworkName) -> Result<Option<DefinedNetwork>, Error> {
        Ok(self.readable_up()?.into_iter().find(|network| network.name == *name))
    }

    fn rebuild_up(&self, rebuilt: &mut Vec<PathBuf>) -> Result<(), Error> {
        for name in self.run.up.names()? {
            let read = self.run.up.peek_record::<NetworkRecord>(&name);
            let Err(damage) = or_damage(read)? else { continue };
            let network = self.state.all()?.into_iter().find(|network| Some(network.id) == network_of(&name));
            self.write_up(&network.ok_or(Error::Records(damage))?)?;
            rebuilt.push(self.run.up.path().join(name.as_str()));
        }
        for network in self.lost()?.0 {
            self.write_up(&network)?;
            rebuilt.push(self.run.path_of_up(network.id));
        }
        Ok(())
    }

    /// Puts on record that a network is up, in place of whatever says so.
    pub(crate) fn write_up(&self, network: &DefinedNetwork) -> Result<NetworkRecord, Error> {
        let (record, _) = self.draft(network)?;
        self.run.up.write(&network_file(network.id), &record, Durability::Memory)?;
        Ok(record)
    }

    /// The networks that neither a record nor a definition tells of, and who is on them: what is on the host for them is
    /// wanted, and on no record.
    ///
    /// # Errors
    /// [`Error::Records`] for a record that is gone and that [`rebuild`](Self::rebuild) would write anew.
    pub(crate) fn unheard_of(&self) -> Result<UsersOfNetworks, Error> {
        let (defined, unheard_of) = self.lost()?;
        match defined.first() {
            Some(network) => {
                let path = self.run.path_of_up(network.id);
                Err(linkspan_records::Error::Torn { path }.into())
            }
            None => Ok(unheard_of),
        }
    }

    /// The networks that somebody is on, and of which no record says that they are up: those that are defined, and the
    /// others with who is on them.
    fn lost(&self) -> Result<(Vec<DefinedNetwork>, UsersOfNetworks), Error> {
        let mut unheard_of = self.run.lost()?;
        let mut defined = if unheard_of.is_empty() { Vec::new() } else { self.state.all()? };
        defined.retain(|network| unheard_of.remove(&network.id).is_some());
        Ok((defined, unheard_of))
    }

    fn rebuild_claims(&self) -> Result<Option<PathBuf>, Error> {
        let read = self.run.claims().lock().map(drop);
        let Err(_) = or_damage(read)? else { return Ok(None) };
        let all = self.every_attachment()?;
        let claimed = |attachment: &Attachment| -> Vec<_> {
            attachment.claims().map(|claim| Entry::Claimed(attachment.id, claim)).collect()
        };
        let entries: Vec<_> = all.iter().flat_map(claimed).collect();
        self.run.claim_anew(&entries).map(Some)
    }

    fn rebuild_leases(&self, rebuilt: &mut Vec<PathBuf>) -> Result<(), Error> {
        for network in self.networks_with_leases()? {
            let read = self.run.book(network).owners();
            let Err(_) = or_damage(read)? else { continue };
            rebuilt.push(self.run.lease_anew(network, &self.leases_of(network)?)?);
        }
        Ok(())
    }

    /// The networks that there are or should be leases of: a file that is gone is missed too.
    fn networks_with_leases(&self) -> Result<BTreeSet<NetworkId>, Error> {
        let mut networks: BTreeSet<_> = self.run.books_on_file()?.into_iter().collect();
        networks.extend(self.run.up.names()?.iter().filter_map(network_of));
        for record in self.every_record()? {
            networks.extend(record.networks);
        }
        Ok(networks)
    }

    /// What the attachments have of a network, and what is kept of it, as far as that can be read.
    fn leases_of(&self, network: NetworkId) -> Result<Leases, Error> {
        let mut leases = Leases::new();
        let defined = self.state.all()?.into_iter().find(|defined| defined.id == network);
        for attachment in self.every_attachment()? {
            let on_it = attachment.endpoints.iter().filter(|endpoint| endpoint.network_id == network);
            for address in on_it.flat_map(|endpoint| &endpoint.addresses).map(IpNet::addr) {
                if let Some(subnet) = defined.as_ref().and_then(|defined| defined.subnet_of(address)) {
                    leases.lease(subnet, &owner(attachment.id), Wanted::This(address))?;
                }
            }
        }
        let kept = or_damage(self.kept(network))?.unwrap_or_default();
        leases.changes_to_keep(&kept).iter().for_each(|change| leases.apply(change));
        Ok(leases)
    }

    /// Every attachment, be it confirmed or begun.
    ///
    /// # Errors
    /// [`Error::Records`] where the record of one cannot be read: what it has would be given to another.
    fn every_attachment(&self) -> Result<Vec<Attachment>, Error> {
        Ok(self.every_record()?.into_iter().filter_map(|record| record.attachment).collect())
    }

    fn every_record(&self) -> Result<Vec<AttachmentRecord>, Error> {
        let mut all = Vec::new();
        for folder in [&self.run.pending, &self.run.attachments] {
            for name in folder.names()?.iter().filter(|name| network_of(name).is_none()) {
                all.extend(self.run.peek_attachment(folder, name)?);
            }
        }
        Ok(all)
    }
}
