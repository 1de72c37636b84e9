//! Networks: defining, removing and listing them.

use crate::kernel::home::{network_file, network_of};
use crate::kernel::host::{Host, read};
use crate::kernel::up::{Defining, Known, Turn};
use crate::network::{Surroundings, decide, nameservers};
use crate::plan::{NetworkPlan, NetworkRecord};
use crate::{
    Addresses, Attachment, Container, ContainerName, DefinedNetwork, Error, Network, NetworkId, NetworkName,
    Residue,
};
use linkspan_net_types::IfName;
use linkspan_veth_bridge::Snapshot;
use linkspan_veth_bridge::kernel::Links;
use std::io;
use std::path::PathBuf;

/// `machine-id(5)`.
const MACHINE_ID: &str = "/etc/machine-id";
/// `resolv.conf(5)`.
const RESOLV_CONF: &str = "/etc/resolv.conf";

impl Host {
    /// Makes sure that there is such a network, and that it is up.
    ///
    /// Where one of that name is on record, it has to grant every wish, and is returned as it is.
    ///
    /// # Errors
    /// [`Error::NetworkDiffers`]; for the rest as [`create_network`](Self::create_network).
    pub fn ensure_network(&self, wanted: &Network) -> Result<DefinedNetwork, Error> {
        let suits = |there: &DefinedNetwork| match wanted.difference(there) {
            None => Ok(()),
            Some(what) => Err(Error::NetworkDiffers { name: there.name.clone(), what }),
        };
        self.make(|| match self.whole(wanted.name())? {
            Some(there) => suits(&there).map(|()| there),
            None => self.define(wanted, suits),
        })
    }

    /// Makes a network that was not there, and brings it up.
    ///
    /// # Errors
    /// [`Error::NetworkExists`], [`Error::NetworkReserved`], [`Error::SubnetOverlap`],
    /// [`Error::LinkTaken`], [`Error::Links`] where the name of its bridge is another link's.
    pub fn create_network(&self, wanted: &Network) -> Result<DefinedNetwork, Error> {
        if wanted.name().is_reserved() {
            return Err(Error::NetworkReserved { name: wanted.name().clone() });
        }
        let exists = |there: &DefinedNetwork| Err(Error::NetworkExists { name: there.name.clone() });
        self.make(|| self.define(wanted, exists))
    }

    fn define(
        &self,
        wanted: &Network,
        suits: impl Fn(&DefinedNetwork) -> Result<(), Error>,
    ) -> Result<DefinedNetwork, Error> {
        self.defining(|defining| {
            let (network, known) = match self.state.find(wanted.name())? {
                Some(there) => (suits(&there).map(|()| there)?, Known::OnRecord),
                None => (self.decide(wanted)?, Known::Undefined),
            };
            Ok(match self.bring_up(defining, &network, known)? {
                Turn::Done(_) => Turn::Done(network),
                Turn::Busy(busy) => Turn::Busy(busy),
            })
        })
    }

    /// What the network would be if it were defined at this moment.
    pub(crate) fn decide(&self, wanted: &Network) -> Result<DefinedNetwork, Error> {
        let name = wanted.name();
        if name.is_reserved() && !name.is_default_bridge() {
            return Err(Error::NetworkReserved { name: name.clone() });
        }
        let id = match name.is_default_bridge() {
            true => NetworkId::of_default(self.settings.instance.as_str()),
            false => NetworkId::at(self.moment()?, name.as_str()),
        };
        let around = Surroundings {
            others: self.state.all()?,
            on_link: on_link(&self.links(Links::snapshot)?),
            nameservers: std::fs::read_to_string(RESOLV_CONF)
                .map(|text| nameservers(&text))
                .unwrap_or_default(),
            machine_id: if wanted.needs_machine_id() { machine_id()? } else { Vec::new() },
        };
        decide(wanted, id, self.default_link(), &around)
    }

    /// The bridge of the default network: the instance's name and 0.
    fn default_link(&self) -> IfName {
        let name = format!("{}0", self.settings.instance);
        name.parse().expect("an instance is at most 12 letters, digits and dashes")
    }

    /// The networks of the endpoints as they are on record; the default one can always be had.
    pub(crate) fn definitions(&self, wanted: &Container) -> Result<Vec<DefinedNetwork>, Error> {
        let of = |name: &NetworkName| match self.state.find(name)? {
            Some(there) => Ok(there),
            None if name.is_default_bridge() => self.decide(&Network::bridge(name.clone())),
            None => Err(Error::NoSuchNetwork { name: name.clone() }),
        };
        wanted.endpoints().iter().map(|endpoint| of(endpoint.network())).collect()
    }

    /// Plans what making this network would change, and changes nothing.
    ///
    /// # Errors
    /// As [`create_network`](Self::create_network).
    pub fn plan_create_network(&self, wanted: &Network) -> Result<NetworkPlan, Error> {
        if let Some(there) = self.state.find(wanted.name())? {
            return Err(Error::NetworkExists { name: there.name });
        }
        self.plan_network(&self.decide(wanted)?)
    }

    /// Removes a network that nobody is attached to: its bridge, its rules, its definition.
    ///
    /// # Errors
    /// [`Error::NoSuchNetwork`], [`Error::NetworkReserved`], [`Error::NetworkInUse`], [`Error::NetworkKeeps`],
    /// [`Error::LeftBehind`].
    pub fn remove_network(&self, name: &NetworkName) -> Result<(), Error> {
        self.remove_network_with(name, Addresses::Keep)
    }

    fn remove_network_with(&self, name: &NetworkName, addresses: Addresses) -> Result<(), Error> {
        let begun = self.is_being_removed(name)?;
        match self.remove(|_| self.remove_unused(name, addresses)) {
            // What an earlier call left of it was taken back on the way, and that was all.
            Err(Error::NoSuchNetwork { .. }) if begun => Ok(()),
            done => done,
        }
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

    /// Removes a network with every attachment on it, and with every address of it that is kept.
    ///
    /// # Errors
    /// As [`remove_network`](Self::remove_network); what can be detached is, whatever else is refused.
    pub fn remove_network_and_attachments(&self, name: &NetworkName) -> Result<(), Error> {
        let begun = self.is_being_removed(name)?;
        self.refuse_unusable(name)?;
        let on_it = |attachment: &Attachment| attachment.endpoints.iter().any(|e| e.network == *name);
        let ids: Vec<_> = self.attachments()?.iter().filter(|a| on_it(a)).map(Attachment::id).collect();
        self.detach_all(&ids)?;
        match self.remove_network_with(name, Addresses::Free) {
            // The default network goes with its last attachment, and one that was half removed with any call.
            Err(Error::NoSuchNetwork { .. }) if begun || name.is_default_bridge() => Ok(()),
            // Its containers are off it, so this is no refusal that changed nothing.
            Err(refused) if !ids.is_empty() => {
                Err(refused.leaving(Residue::Records { of: name.to_string() }))
            }
            done => done,
        }
    }

    /// Refuses what would stop the removal after its containers were detached.
    ///
    /// # Errors
    /// [`Error::Records`] or [`Error::Address`] for a record or a lock that cannot be used; the definition and what is
    /// kept may be damaged, and are removed all the same.
    fn refuse_unusable(&self, name: &NetworkName) -> Result<(), Error> {
        drop(self.state.try_lock()?);
        drop(self.run.claims().lock()?);
        for file in self.run.pending.names()?.iter().filter(|file| network_of(file).is_some()) {
            self.run.pending.peek_record::<NetworkRecord>(file)?;
        }
        let there = match self.state.find(name) {
            Err(Error::Records(refused)) if refused.is_damage() => None,
            there => there?,
        };
        let Some(DefinedNetwork { id, .. }) = there else { return Ok(()) };
        drop(self.run.try_lock_network(id)?);
        self.run.up.peek_record::<NetworkRecord>(&network_file(id))?;
        match self.state.reservations(id) {
            Err(Error::Records(refused)) if refused.is_damage() => {}
            kept => drop(kept?),
        }
        Ok(self.run.book(id).len().map(drop)?)
    }

    fn remove_unused(&self, name: &NetworkName, addresses: Addresses) -> Result<(), Error> {
        if name.is_reserved() && !name.is_default_bridge() {
            return Err(Error::NetworkReserved { name: name.clone() });
        }
        self.defining(|defining| self.remove_defined(defining, name, addresses))
    }

    fn remove_defined(
        &self,
        defining: &Defining,
        name: &NetworkName,
        addresses: Addresses,
    ) -> Result<Turn<()>, Error> {
        let there = match self.state.find(name) {
            Err(Error::Records(refused)) if refused.is_damage() => match self.take_name_off(name)? {
                Some(up) => Some(up),
                None => return Ok(Turn::Done(())),
            },
            there => there?,
        };
        let network = there.ok_or_else(|| Error::NoSuchNetwork { name: name.clone() })?;
        let Some(alone) = self.run.try_lock_network(network.id)? else { return Ok(Turn::Busy(network.id)) };
        self.release_dead_users(network.id)?;
        let by = self.users(network.id)?;
        if !by.is_empty() {
            return Err(Error::NetworkInUse { name: name.clone(), by });
        }
        let kept = match addresses {
            Addresses::Free => Vec::new(),
            Addresses::Keep => self.reservations(name)?,
        };
        if !kept.is_empty() {
            return Err(Error::NetworkKeeps { name: name.clone(), kept });
        }
        self.forget(defining, alone, &network).map(Turn::Done)
    }

    fn release_dead_users(&self, network: NetworkId) -> Result<(), Error> {
        let owners = self.run.book(network).owners()?;
        let ids = owners.iter().filter_map(|owner| owner.as_str().parse().ok());
        ids.into_iter().try_for_each(|id| self.release_dead(id).map(drop))
    }

    /// The containers on a network, but for those whose records are gone.
    fn users(&self, network: NetworkId) -> Result<Vec<ContainerName>, Error> {
        let mut names = Vec::new();
        for owner in self.run.book(network).owners()? {
            let Ok(id) = owner.as_str().parse() else { continue };
            names.extend(self.name_of(id)?);
        }
        names.sort();
        names.dedup();
        Ok(names)
    }

    /// Whether anyone is on a network, but for those whose records are gone.
    pub(crate) fn has_users(&self, network: NetworkId) -> Result<bool, Error> {
        for owner in self.run.book(network).owners()? {
            let Ok(id) = owner.as_str().parse() else { continue };
            if self.run.is_on_record(id)? {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// What the host reaches without a gateway.
fn on_link(snapshot: &Snapshot) -> Vec<ipnet::IpNet> {
    let direct = snapshot.routes.iter().filter(|route| route.gateway.is_none() && !route.is_default());
    direct.map(|route| route.destination).collect()
}

fn machine_id() -> Result<Vec<u8>, Error> {
    let path = PathBuf::from(MACHINE_ID);
    match read(&path) {
        // An image that never ran has an empty one, which all its hosts would share.
        Ok(id) if id.is_empty() => Err(Error::MachineId { path, source: io::ErrorKind::InvalidData.into() }),
        Ok(id) => Ok(id.into_bytes()),
        Err(Error::Read { path, source }) => Err(Error::MachineId { path, source }),
        Err(other) => Err(other),
    }
}
