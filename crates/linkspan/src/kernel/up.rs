//! Networks on this host: bringing them up, keeping them so, taking them down.
//!
//! Whoever changes one holds the definitions, so no two do at once. Those at work on a network hold it shared as long
//! as they need it up, and are in nobody's way who mends it or brings it up; who takes it down holds it alone.

use crate::kernel::defining::{Defining, Turn};
use crate::kernel::firewall::RulesLock;
use crate::kernel::home::{Readable, network_file};
use crate::kernel::host::Host;
use crate::kernel::records::WantedRules;
use crate::kernel::undone::Undone;
use crate::network::Adopted;
use crate::plan::{self, Firewall, NetworkPlan, NetworkRecord};
use crate::{Container, DefinedNetwork, Error, Network, NetworkId, NetworkName, Residue};
use linkspan_nat_rules::{self as rules, Change, Ruleset};
use linkspan_net_types::Mtu;
use linkspan_records::{Access, Lock, Record, Taken};
use linkspan_veth_bridge::kernel::Links;
use linkspan_veth_bridge::{self as links, Look, Ownership, Seen};
use std::os::fd::AsFd;

/// Whether a network that is brought up is defined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Known {
    OnRecord,
    /// It was decided a moment ago, and its definition comes and goes with its first bringing up.
    Undefined,
}

/// What becomes of the definition of a network that is taken down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Definition {
    Stays,
    Goes,
}

impl Definition {
    /// As a record says it.
    pub(crate) const fn of(forget: bool) -> Self {
        if forget { Self::Goes } else { Self::Stays }
    }
}

/// What a network was before it was brought up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Before {
    Up,
    Down,
}

/// The networks of a container, up and kept so until the locks go.
pub(crate) struct Held {
    pub(crate) networks: Vec<DefinedNetwork>,
    /// Their rules, as they are on record until then.
    pub(crate) rules: Vec<rules::Network>,
    _locks: Vec<Lock>,
}

/// A network and its rules.
type OnHost = (DefinedNetwork, rules::Network);

impl Host {
    /// What the network is on this host, and what of it is seen.
    pub(crate) fn draft(&self, network: &DefinedNetwork) -> Result<(NetworkRecord, Seen), Error> {
        let seen = self.links(|links| links.observe(&Look::at(network.link), None))?;
        let uplink = match network.mtu {
            Some(_) => None,
            None => self.links(Links::snapshot)?.uplink_mtu().and_then(Mtu::new),
        };
        Ok((self.draft_of(network, uplink, &seen)?, seen))
    }

    fn draft_of(
        &self,
        network: &DefinedNetwork,
        uplink: Option<Mtu>,
        seen: &Seen,
    ) -> Result<NetworkRecord, Error> {
        let network = self.of_this_boot(network);
        let mut record = plan::network(self.instance(), &network, self.firewall(), uplink, seen)?;
        record.network.adopted = match record.bridge.ownership() {
            Ownership::Adopted(before) => {
                Some(Adopted { boot: self.identity.boot.clone(), original: before.clone() })
            }
            Ownership::Ours => None,
        };
        Ok(record)
    }

    /// The network without what its bridge had in an older boot.
    fn of_this_boot(&self, network: &DefinedNetwork) -> DefinedNetwork {
        let adopted = network.adopted.clone().filter(|before| before.boot == self.identity.boot);
        DefinedNetwork { adopted, ..network.clone() }
    }

    /// Plans what is missing of the network; its rules are planned by whoever knows what else changes.
    pub(crate) fn plan_up(&self, network: &DefinedNetwork) -> Result<(NetworkRecord, links::Plan), Error> {
        let (record, seen) = match self.up_record(network.id)? {
            Some(record) => (record, self.links(|links| links.observe(&Look::at(network.link), None))?),
            None => self.draft(network)?,
        };
        let links = plan::bring_up(&record, self.settings.forwarding, &seen)?;
        Ok((record, links))
    }

    /// Plans what is missing of the network.
    pub(crate) fn plan_network(&self, network: &DefinedNetwork) -> Result<NetworkPlan, Error> {
        let (record, links) = self.plan_up(network)?;
        let change = Change::new().add_network(record.rules);
        let rules = self.rules.plan(self.netns.as_fd(), &change, || self.wanted_rules())?;
        Ok(NetworkPlan { network: network.clone(), rules, links })
    }

    /// Makes what is missing of the network, and says whether it was up.
    pub(crate) fn bring_up(
        &self,
        defining: &Defining,
        network: &DefinedNetwork,
        known: Known,
    ) -> Result<Turn<Before>, Error> {
        if let Some(busy) = self.under_way(defining, network.id)? {
            return Ok(Turn::Busy(busy));
        }
        if let Some(record) = self.up_in_use(network, known)? {
            if known == Known::Undefined {
                // Its definition is gone, and the network is there.
                self.state.define(&record.network)?;
            }
            return self.make_network(&record).map(|()| Turn::Done(Before::Up));
        }
        // Programs that are missing are found out before there is anything to take back.
        self.rules.probe(self.netns.as_fd())?;
        self.probe_rules()?;
        let (draft, _) = self.draft(network)?;
        let forget = known == Known::Undefined;
        let name = network_file(network.id);
        let mut record = self.run.pending.create_record(&name, NetworkRecord { forget, ..draft })?;
        let wanted = &record.value().network;
        let define = match forget {
            true => self.state.define(wanted),
            false if *wanted != *network => self.state.redefine(wanted),
            false => Ok(()),
        };
        let made = define.and_then(|()| self.make_network(record.value()));
        match made.and_then(|()| Ok(record.move_to(&self.run.up)?)) {
            Ok(()) => Ok(Turn::Done(Before::Down)),
            Err(refused) => {
                let definition = Definition::of(forget);
                Err(refused.after(self.take_down(defining, None, record, definition)))
            }
        }
    }

    /// The record of a network that is up, written anew where it is gone and the network in use: it was not brought up
    /// by whoever finds that, and is not his to take down.
    fn up_in_use(&self, network: &DefinedNetwork, known: Known) -> Result<Option<NetworkRecord>, Error> {
        match self.up_record(network.id)? {
            None if known == Known::OnRecord && self.run.lost()?.contains_key(&network.id) => {
                self.write_up(network).map(Some)
            }
            there => Ok(there),
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

    /// All rules that are wanted by the records, and by the definition of a network whose record is gone.
    ///
    /// # Errors
    /// [`Error::NetworkLost`] where a network has neither: a rule set without its rules would open it.
    pub(crate) fn wanted_rules(&self) -> Result<Ruleset, Error> {
        let WantedRules { mut change, mut lost } = self.run.wanted(Readable::All)?;
        let defined = if lost.is_empty() { Vec::new() } else { self.state.all()? };
        for network in &defined {
            if lost.remove(&network.id).is_some() {
                change = change.add_network(plan::rules_of(network));
            }
        }
        if lost.is_empty() {
            return Ok(Ruleset::new().after(&change)?);
        }
        Err(Error::NetworkLost { by: lost.into_values().flatten().collect() })
    }

    /// Finds out what is in the way of rules that are written whole, before there is anything to take back.
    pub(crate) fn probe_rules(&self) -> Result<(), Error> {
        match self.firewall() {
            Firewall::Iptables => self.wanted_rules().map(drop),
            Firewall::Nftables | Firewall::None => Ok(()),
        }
    }

    /// Waits for the turn to change the rules.
    pub(crate) fn lock_rules(&self) -> Result<RulesLock, Error> {
        Ok(match self.firewall() {
            Firewall::Iptables => RulesLock::of_iptables(self.run.lock_rules()?),
            Firewall::Nftables | Firewall::None => RulesLock::NONE,
        })
    }

    pub(crate) fn change_rules(&self, change: &Change) -> Result<(), Error> {
        let lock = self.lock_rules()?;
        let made = self.rules.change(self.netns.as_fd(), &lock, change, || self.wanted_rules())?;
        Ok(self.rules.forget_flows(self.netns.as_fd(), &made)?)
    }

    /// Removes rules; where the table of our name is someone else's, there are none of ours.
    pub(crate) fn remove_rules(&self, change: &Change) -> Result<(), Error> {
        match self.change_rules(change) {
            Err(Error::Rules(rules::Error::ForeignTable { .. })) => Ok(()),
            done => done,
        }
    }

    /// Takes a network down, and its definition away.
    pub(crate) fn forget(
        &self,
        defining: &Defining,
        alone: Lock,
        network: &DefinedNetwork,
    ) -> Result<(), Error> {
        let name = network_file(network.id);
        let record = match self.run.up.take_record::<NetworkRecord>(&name)? {
            Taken::Here(mut record) => {
                // One that was brought up from its definition says that this stays: who takes it back for us would keep
                // it. It goes on a full disk all the same.
                let _ = record.append(NetworkRecord { forget: true, ..record.value().clone() });
                record
            }
            // It is not up, after a reboot say: the record is there for the next one, should we die.
            _ => {
                let draft = match self.draft(network) {
                    // Nothing of ours has its name.
                    Err(Error::Links(links::Error::NotABridge { .. })) => {
                        self.draft_of(network, None, &Seen::default())?
                    }
                    draft => draft?.0,
                };
                self.run.pending.create_record(&name, NetworkRecord { forget: true, ..draft })?
            }
        };
        self.take_down(defining, Some(alone), record, Definition::Goes)
    }

    /// The opposite of bringing up, from what is seen; it goes on after a failure and says what stayed. Where it was up
    /// for others to see, the network is held alone.
    pub(crate) fn take_down(
        &self,
        _defining: &Defining,
        alone: Option<Lock>,
        mut record: Record<NetworkRecord>,
        definition: Definition,
    ) -> Result<(), Error> {
        let forget = definition == Definition::Goes;
        let wanted = record.value().clone();
        let of = || wanted.network.name.to_string();
        let _ = record.move_to(&self.run.pending);
        // A record that cannot be written, on a full disk say, is no reason to leave the rest.
        let _ = record.append(NetworkRecord { leaving: true, forget, ..wanted.clone() });
        let mut undone = Undone::default();
        undone.note(Residue::Link(wanted.network.link), self.remove_bridge(&wanted));
        if undone.is_whole() {
            // While the link stays, so do the rules that make it safe.
            let change = Change::new().remove_network(wanted.rules.clone());
            undone.note(Residue::Rules { of: of() }, self.remove_rules(&change));
        }
        if undone.is_whole() && !forget && wanted.network.adopted.is_some() {
            undone.note(Residue::Records { of: of() }, self.state.give_back(&wanted.network));
        }
        if undone.is_whole() && forget {
            let forgotten = self.state.forget(&wanted.network);
            let forgotten = forgotten.and_then(|()| self.run.forget_book(wanted.network.id));
            undone.note(Residue::Records { of: of() }, forgotten);
        }
        if undone.is_whole() {
            undone.note(Residue::Records { of: of() }, record.remove().map_err(Error::from));
        }
        if undone.is_whole() && forget {
            // One that stays is in nobody's way, and goes with the next gc.
            let _ = self.run.forget_lock(wanted.network.id, alone);
        }
        undone.finish()
    }

    fn remove_bridge(&self, record: &NetworkRecord) -> Result<(), Error> {
        let seen = self.links(|links| links.observe(&Look::at_bridge(&record.bridge), None))?;
        let plan = links::plan::remove_bridge(&record.bridge, &seen);
        self.links(|links| links.apply(&plan, None).map_err(Error::from))
    }

    /// Keeps the networks of a container up, having brought up those that were not; their names are noted.
    pub(crate) fn hold_up(&self, wanted: &Container, raised: &mut Vec<NetworkName>) -> Result<Held, Error> {
        let names = network_names(wanted)?;
        loop {
            let held: Vec<_> = names.iter().map(|name| self.hold(name)).collect::<Result<_, _>>()?;
            if let Some(held) = held.into_iter().collect::<Option<Vec<_>>>() {
                let (records, locks): (Vec<_>, _) = held.into_iter().unzip();
                let (networks, rules) = records.into_iter().unzip();
                return Ok(Held { networks, rules, _locks: locks });
            }
            // Nothing is held while a network is brought up, since whoever holds the definitions may be waiting
            // for one of ours.
            names.iter().try_for_each(|name| self.ensure_up(name, raised))?;
        }
    }

    /// Takes networks down again that were brought up for a container that is refused, unless somebody else is on
    /// them or about to be. The default one goes by itself.
    pub(crate) fn lower_again(&self, raised: &[NetworkName]) -> Result<(), Error> {
        let mut undone = Undone::default();
        for name in raised.iter().filter(|name| !name.is_default_bridge()) {
            undone.note(Residue::Records { of: name.to_string() }, self.lower_unused(name));
        }
        undone.finish()
    }

    fn lower_unused(&self, name: &NetworkName) -> Result<(), Error> {
        let defining = self.define_alone()?;
        let Some(network) = self.state.find(name)? else { return Ok(()) };
        if self.under_way(&defining, network.id)?.is_some() {
            return Ok(());
        }
        let Some(alone) = self.run.try_lock_network(network.id)? else { return Ok(()) };
        match self.has_users(network.id)? || self.run.is_waited_on(network.id)? {
            true => Ok(()),
            false => self.lower(&defining, alone, &network),
        }
    }

    /// Keeps a network up, where it is.
    fn hold(&self, name: &NetworkName) -> Result<Option<(OnHost, Lock)>, Error> {
        let Some(network) = self.state.find(name)? else { return Ok(None) };
        let shared = self.run.lock_network(network.id, Access::Shared)?;
        let record = self.up_record(network.id)?;
        Ok(record.map(|record| ((record.network, record.rules), shared)))
    }

    /// The record of a network that is up.
    fn up_record(&self, network: NetworkId) -> Result<Option<NetworkRecord>, Error> {
        Ok(self.run.networks.peek_record(&network_file(network))?)
    }

    fn ensure_up(&self, name: &NetworkName, raised: &mut Vec<NetworkName>) -> Result<(), Error> {
        if let Some(network) = self.state.find(name)?
            && self.up_record(network.id)?.is_some()
        {
            return Ok(());
        }
        if self.mend(name)? == Before::Down {
            raised.push(name.clone());
        }
        Ok(())
    }

    /// Makes whole what is missing of a network, whether or not it is up on record, which it returns.
    ///
    /// One that is closed is as good as gone; only the default network, which is made again, is waited for.
    pub(crate) fn mend(&self, name: &NetworkName) -> Result<Before, Error> {
        let absent = || Error::NoSuchNetwork { name: name.clone() };
        self.defining(|defining| match self.state.find(name)? {
            Some(network) => match self.bring_up(defining, &network, Known::OnRecord)? {
                Turn::Busy(_) if !name.is_default_bridge() && self.is_closed(network.id)? => Err(absent()),
                turn => Ok(turn),
            },
            None => {
                let network = match self.up_by_name(name)? {
                    Some(up) => up,
                    None if name.is_default_bridge() => self.decide(&Network::bridge(name.clone()))?,
                    None => return Err(absent()),
                };
                self.bring_up(defining, &network, Known::Undefined)
            }
        })
    }

    /// The network, where it is up and nothing of it is missing. It is held by nobody: what is true of it at one moment
    /// is all that can be said.
    pub(crate) fn whole(&self, name: &NetworkName) -> Result<Option<DefinedNetwork>, Error> {
        let Some(network) = self.state.find(name)? else { return Ok(None) };
        let whole = self.up_record(network.id)?.is_some() && self.plan_network(&network)?.is_empty();
        Ok(whole.then_some(network))
    }

    /// Lets the default network go with its last attachment; where addresses of it are kept, its definition stays. Who
    /// is at work on it sees to that himself.
    pub(crate) fn retire_default(&self) -> Result<(), Error> {
        let name = NetworkName::default_bridge();
        match self.state.find(&name)? {
            Some(network) if self.is_there_for_nobody(network.id)? => {}
            _ => return Ok(()),
        }
        let defining = self.define_alone()?;
        let Some(network) = self.state.find(&name)? else { return Ok(()) };
        if self.under_way(&defining, network.id)?.is_some() {
            return Ok(());
        }
        let Some(alone) = self.run.try_lock_network(network.id)? else { return Ok(()) };
        match self.is_there_for_nobody(network.id)? {
            true if self.state.keeps_addresses(network.id)? => self.lower(&defining, alone, &network),
            true => self.forget(&defining, alone, &network),
            false => Ok(()),
        }
    }

    /// Whether a network has no users, and is more than a definition that addresses are kept of.
    fn is_there_for_nobody(&self, network: NetworkId) -> Result<bool, Error> {
        let is_kept = self.state.keeps_addresses(network)? && self.up_record(network)?.is_none();
        Ok(!is_kept && !self.has_users(network)? && !self.run.is_waited_on(network)?)
    }

    /// Takes a network down where it is up, and leaves its definition.
    fn lower(&self, defining: &Defining, alone: Lock, network: &DefinedNetwork) -> Result<(), Error> {
        match self.run.up.take_record::<NetworkRecord>(&network_file(network.id))? {
            Taken::Here(mut record) => {
                // As long as it says that its definition goes with it, who takes it back for us would let it go.
                record.append(NetworkRecord { forget: false, ..record.value().clone() })?;
                self.take_down(defining, Some(alone), record, Definition::Stays)
            }
            Taken::Busy | Taken::Absent => Ok(()),
        }
    }
}

/// The networks of the endpoints, in the one order in which everybody locks them.
pub(crate) fn network_names(wanted: &Container) -> Result<Vec<NetworkName>, Error> {
    let mut names: Vec<_> = wanted.endpoints().iter().map(|endpoint| endpoint.network().clone()).collect();
    names.sort();
    match names.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(twice) => Err(Error::TwiceOn { network: twice[0].clone() }),
        None => Ok(names),
    }
}
