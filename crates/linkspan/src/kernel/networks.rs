//! Networks: defining and forgetting them, bringing them up and taking them down.

use crate::kernel::home::{network_file, network_of};
use crate::kernel::host::{Host, read};
use crate::network::{Surroundings, decide, nameservers};
use crate::plan::{self, NetworkPlan, NetworkRecord};
use crate::{
    Container, ContainerName, DefinedNetwork, Error, Left, Network, NetworkId, NetworkName, Residue,
};
use linkspan_nat_rules::Change;
use linkspan_net_types::{IfName, Mtu};
use linkspan_records::{Access, FileName, Lock, Record, Taken};
use linkspan_veth_bridge::{self as links, Look, Seen, Snapshot};
use std::os::fd::AsFd;
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
        self.make(|| {
            self.define(wanted, |there| match wanted.difference(there) {
                None => Ok(()),
                Some(what) => Err(Error::NetworkDiffers { name: there.name.clone(), what }),
            })
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
        suits: impl FnOnce(&DefinedNetwork) -> Result<(), Error>,
    ) -> Result<DefinedNetwork, Error> {
        let _defining = self.state.lock()?;
        let (network, forget) = match self.state.find(wanted.name())? {
            Some(there) => (suits(&there).map(|()| there)?, false),
            None => (self.decide(wanted)?, true),
        };
        let _alone = self.run.lock_network(network.id, Access::Exclusive)?;
        self.bring_up(&network, forget)?;
        Ok(network)
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
            on_link: on_link(&self.snapshot_links()?),
            nameservers: std::fs::read_to_string(RESOLV_CONF)
                .map(|text| nameservers(&text))
                .unwrap_or_default(),
            machine_id: if wanted.has_ipv6() { machine_id()? } else { Vec::new() },
        };
        decide(wanted, id, self.default_link(), &around)
    }

    fn snapshot_links(&self) -> Result<Snapshot, Error> {
        Ok(self.links(links::kernel::Links::snapshot)?)
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
    /// [`Error::NoSuchNetwork`], [`Error::NetworkReserved`], [`Error::NetworkInUse`],
    /// [`Error::LeftBehind`].
    pub fn remove_network(&self, name: &NetworkName) -> Result<(), Error> {
        self.remove(|| self.remove_unused(name))
    }

    /// Removes a network with every attachment on it.
    ///
    /// # Errors
    /// As [`remove_network`](Self::remove_network); what can be detached is, whatever else is refused.
    pub fn remove_network_and_attachments(&self, name: &NetworkName) -> Result<(), Error> {
        let on_it = |attachment: &crate::Attachment| attachment.endpoints.iter().any(|e| e.network == *name);
        for attachment in self.attachments()?.into_iter().filter(on_it) {
            self.detach(attachment.id)?;
        }
        match self.remove_network(name) {
            // The default network goes with its last attachment.
            Err(Error::NoSuchNetwork { .. }) if name.is_default_bridge() => Ok(()),
            done => done,
        }
    }

    fn remove_unused(&self, name: &NetworkName) -> Result<(), Error> {
        if name.is_reserved() && !name.is_default_bridge() {
            return Err(Error::NetworkReserved { name: name.clone() });
        }
        let _defining = self.state.lock()?;
        let there = self.state.find(name)?;
        let network = there.ok_or_else(|| Error::NoSuchNetwork { name: name.clone() })?;
        let _alone = self.run.lock_network(network.id, Access::Exclusive)?;
        self.release_dead_users(network.id)?;
        let by = self.users(network.id)?;
        if !by.is_empty() {
            return Err(Error::NetworkInUse { name: name.clone(), by });
        }
        let record = match self.run.up.take_record(&network_file(network.id))? {
            Taken::Here(record) => record,
            _ => {
                let (record, _) = self.draft(&network)?;
                self.run.pending.create_record(&network_file(network.id), record)?
            }
        };
        self.take_down(record, true)
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

    /// What the network is on this host, and what of it is seen.
    fn draft(&self, network: &DefinedNetwork) -> Result<(NetworkRecord, Seen), Error> {
        let seen = self.links(|links| links.observe(&Look::at(network.link), None))?;
        let uplink = match network.mtu {
            Some(_) => None,
            None => self.snapshot_links()?.uplink_mtu().and_then(Mtu::new),
        };
        Ok((plan::network(network, self.firewall(), uplink, &seen)?, seen))
    }

    /// Plans what is missing of the network.
    pub(crate) fn plan_network(&self, network: &DefinedNetwork) -> Result<NetworkPlan, Error> {
        let (draft, seen) = self.draft(network)?;
        let record = self.run.up.peek_record(&network_file(network.id))?.unwrap_or(draft);
        let change = Change::new().add_network(record.rules.clone());
        let rules = self.rules.plan(self.netns.as_fd(), &change, || self.run.rules())?;
        let links = plan::bring_up(&record, self.settings.forwarding, &seen)?;
        Ok(NetworkPlan { network: network.clone(), rules, links })
    }

    /// Makes what is missing of the network; whoever calls it has the network alone.
    fn bring_up(&self, network: &DefinedNetwork, forget: bool) -> Result<(), Error> {
        let name = network_file(network.id);
        self.take_back_network(network.id)?;
        if let Taken::Here(record) = self.run.up.take_record::<NetworkRecord>(&name)? {
            return self.make_network(record.value());
        }
        // Programs that are missing are found out before there is anything to take back.
        self.rules.probe(self.netns.as_fd())?;
        let (draft, _) = self.draft(network)?;
        let mut record = self.run.pending.create_record(&name, NetworkRecord { forget, ..draft })?;
        let define = if forget { self.state.define(network) } else { Ok(()) };
        let made = define.and_then(|()| self.make_network(record.value()));
        match made.and_then(|()| Ok(record.move_to(&self.run.up)?)) {
            Ok(()) => Ok(()),
            Err(refused) => Err(refused.after(self.take_down(record, forget))),
        }
    }

    /// Rules first: what keeps the network apart is there before its link.
    fn make_network(&self, record: &NetworkRecord) -> Result<(), Error> {
        self.change_rules(&Change::new().add_network(record.rules.clone()))?;
        let seen = self.links(|links| links.observe(&Look::at_bridge(&record.bridge), None))?;
        let plan = plan::bring_up(record, self.settings.forwarding, &seen)?;
        self.links(|links| links.apply(&plan, None).map_err(Error::from))?;
        self.notice(&plan);
        Ok(())
    }

    /// Changes the rules; iptables is rewritten whole, one at a time.
    pub(crate) fn change_rules(&self, change: &Change) -> Result<(), Error> {
        let _one_at_a_time = match self.firewall() {
            plan::Firewall::Iptables => Some(self.run.lock_rules()?),
            _ => None,
        };
        self.rules.change(self.netns.as_fd(), change, || self.run.rules())
    }

    /// Takes back what a dead process left of a network; whoever calls it has the network alone.
    pub(crate) fn take_back_network(&self, network: NetworkId) -> Result<(), Error> {
        match self.run.pending.take_record::<NetworkRecord>(&network_file(network))? {
            Taken::Here(record) => {
                let forget = record.value().forget;
                self.take_down(record, forget)
            }
            _ => Ok(()),
        }
    }

    /// The opposite of bringing up, from what is seen; it goes on after a failure and says what stayed.
    fn take_down(&self, mut record: Record<NetworkRecord>, forget: bool) -> Result<(), Error> {
        let wanted = record.value().clone();
        let of = || wanted.network.name.to_string();
        let _ = record.move_to(&self.run.pending);
        // A record that cannot be written, on a full disk say, is no reason to leave the rest.
        let _ = record.append(NetworkRecord { leaving: true, forget, ..wanted.clone() });
        let mut undone = Undone::default();
        undone.note(Residue::Link(wanted.network.link), self.remove_bridge(&wanted));
        let change = Change::new().remove_network(wanted.rules.clone());
        undone.note(Residue::Rules { of: of() }, self.change_rules(&change));
        if undone.is_whole() && forget {
            let forgotten = self.state.forget(&wanted.network);
            let forgotten = forgotten.and_then(|()| self.run.forget_book(wanted.network.id));
            undone.note(Residue::Records { of: of() }, forgotten);
        }
        if undone.is_whole() {
            undone.note(Residue::Records { of: of() }, record.remove().map_err(Error::from));
        }
        undone.finish()
    }

    fn remove_bridge(&self, record: &NetworkRecord) -> Result<(), Error> {
        let seen = self.links(|links| links.observe(&Look::at_bridge(&record.bridge), None))?;
        let plan = links::plan::remove_bridge(&record.bridge, &seen);
        self.links(|links| links.apply(&plan, None).map_err(Error::from))
    }

    /// Brings the networks up where they are not, and keeps them so until the locks go; both are in the
    /// order of the names.
    pub(crate) fn hold_up(&self, wanted: &Container) -> Result<(Vec<DefinedNetwork>, Vec<Lock>), Error> {
        let mut names: Vec<_> =
            wanted.endpoints().iter().map(|endpoint| endpoint.network().clone()).collect();
        // In one order everywhere, so that two who want the same two do not wait for each other.
        names.sort();
        if let Some(twice) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(Error::TwiceOn { network: twice[0].clone() });
        }
        let held: Result<Vec<_>, _> = names.iter().map(|name| self.hold_one_up(name)).collect();
        Ok(held?.into_iter().unzip())
    }

    fn hold_one_up(&self, name: &NetworkName) -> Result<(DefinedNetwork, Lock), Error> {
        loop {
            let Some(network) = self.state.find(name)? else {
                if !name.is_default_bridge() {
                    return Err(Error::NoSuchNetwork { name: name.clone() });
                }
                self.define(&Network::bridge(name.clone()), |_| Ok(()))?;
                continue;
            };
            let shared = self.run.lock_network(network.id, Access::Shared)?;
            if self.run.up.peek_record::<NetworkRecord>(&network_file(network.id))?.is_some() {
                return Ok((network, shared));
            }
            drop(shared);
            let _defining = self.state.lock()?;
            if self.state.find(name)?.is_some_and(|there| there.id == network.id) {
                let _alone = self.run.lock_network(network.id, Access::Exclusive)?;
                self.bring_up(&network, false)?;
            }
        }
    }

    /// Makes whole again what someone else took of networks that are up.
    pub(crate) fn mend_networks(&self, networks: &[DefinedNetwork]) -> Result<(), Error> {
        for network in networks {
            let _alone = self.run.lock_network(network.id, Access::Exclusive)?;
            self.bring_up(network, false)?;
        }
        Ok(())
    }

    /// Lets the default network go with its last attachment.
    pub(crate) fn retire_default(&self) -> Result<(), Error> {
        let name = NetworkName::default_bridge();
        let Some(network) = self.state.find(&name)? else { return Ok(()) };
        let Some(_alone) = self.run.try_lock_network(network.id)? else { return Ok(()) };
        if !self.users(network.id)?.is_empty() {
            return Ok(());
        }
        match self.run.up.take_record(&network_file(network.id))? {
            Taken::Here(record) => self.take_down(record, true),
            _ => Ok(()),
        }
    }

    /// Takes back what dead processes left of networks.
    pub(crate) fn repair_networks(&self, pending: &[FileName]) -> Result<(), Error> {
        for network in pending.iter().filter_map(network_of) {
            // Whoever works on a network has it alone for so long.
            if let Some(_alone) = self.run.try_lock_network(network)? {
                let _ = self.take_back_network(network);
            }
        }
        Ok(())
    }
}

/// What could not be undone of something.
#[derive(Debug, Default)]
pub(crate) struct Undone {
    left: Vec<Left>,
}

impl Undone {
    pub(crate) fn note(&mut self, what: Residue, done: Result<(), Error>) {
        if let Err(source) = done {
            self.left.push(Left { what, source: Box::new(source) });
        }
    }

    pub(crate) const fn is_whole(&self) -> bool {
        self.left.is_empty()
    }

    /// Everything that stayed, where anything did.
    pub(crate) fn finish(self) -> Result<(), Error> {
        if self.left.is_empty() {
            return Ok(());
        }
        Err(Error::LeftBehind { left: self.left, refused: None })
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
        Ok(id) => Ok(id.into_bytes()),
        Err(Error::Read { path, source }) => Err(Error::MachineId { path, source }),
        Err(other) => Err(other),
    }
}
