//! Attaching: claim, lease, look, plan, record, links, rules, confirm.

use crate::attachment::{AttachmentRecord, Placed, endpoints, serving};
use crate::claims::{Claim, Claims, Entry, HostPort};
use crate::kernel::home::file;
use crate::kernel::host::Host;
use crate::kernel::ports::grant;
use crate::plan::{self, Firewall, NetworkPlan, NetworkRecord, Plan};
use crate::{
    Attachment, AttachmentId, Container, ContainerName, DefinedNetwork, Error, Namespace, NetworkId,
};
use linkspan_ipam::{Owner, Wanted};
use linkspan_nat_rules::Change;
use linkspan_net_types::Mtu;
use linkspan_netns::NetNs;
use linkspan_records::{Lock, Record};
use linkspan_veth_bridge::kernel::Inside;
use linkspan_veth_bridge::{self as links, Seen};
use std::net::IpAddr;
use std::os::fd::AsFd;

impl Host {
    /// Puts a namespace on its networks.
    ///
    /// Networks that are defined but not up, after a reboot say, are brought up first. The container's
    /// links are ready when this returns, so its first connection does not wait.
    ///
    /// # Errors
    /// Names the field that was refused: [`Error::NameTaken`], [`Error::NamespaceTaken`],
    /// [`Error::OwnNamespace`], [`Error::NoSuchNetwork`], [`Error::PortTaken`], [`Error::PortBusy`],
    /// [`Error::Address`] and more. Everything begun was taken back, but for [`Error::LeftBehind`].
    pub fn attach(&self, netns: &NetNs, wanted: &Container) -> Result<Attachment, Error> {
        let here = self.enter()?;
        let done = self.attach_as(netns, wanted, None);
        self.depart(here, done)
    }

    /// Performs what was planned, and just that.
    ///
    /// # Errors
    /// [`Error::Stale`] where the host changed meanwhile; for the rest as [`attach`](Self::attach).
    pub fn apply(&self, netns: &NetNs, wanted: &Container, plan: &Plan) -> Result<Attachment, Error> {
        let here = self.enter()?;
        let done = self.attach_as(netns, wanted, Some(plan));
        self.depart(here, done)
    }

    /// Goes out after an operation; a default network that was brought up for nothing goes as well.
    pub(crate) fn depart<T>(&self, here: Lock, done: Result<T, Error>) -> Result<T, Error> {
        let retired = match &done {
            Err(_) => self.retire_default(),
            Ok(_) => Ok(()),
        };
        let left = retired.and_then(|()| self.run.leave(here));
        match done {
            Err(refused) => Err(refused.after(left)),
            Ok(value) => left.map(|()| value),
        }
    }

    fn attach_as(&self, netns: &NetNs, wanted: &Container, plan: Option<&Plan>) -> Result<Attachment, Error> {
        self.check(netns, wanted)?;
        let mut mended = false;
        loop {
            let (networks, held) = self.hold_up(wanted)?;
            let record = self.claim(netns, wanted, &networks, plan)?;
            let refused = match self.build(record, netns, wanted, &networks, plan) {
                Ok(attachment) => return Ok(attachment),
                Err((refused, record)) => {
                    refused.after(record.map_or(Ok(()), |record| self.take_back(record)))
                }
            };
            drop(held);
            // A network that is up on record but not on the host is mended once.
            if mended || !matches!(refused, Error::Links(links::Error::NoBridge { .. })) {
                return Err(refused);
            }
            self.mend_networks(&networks)?;
            mended = true;
        }
    }

    /// Refuses what needs no look at the records.
    pub(crate) fn check(&self, netns: &NetNs, wanted: &Container) -> Result<(), Error> {
        if netns.cookie() == self.netns.cookie() {
            return Err(Error::OwnNamespace);
        }
        if !wanted.published().is_empty() && self.firewall() == Firewall::None {
            return Err(Error::PublishWithoutFirewall);
        }
        match wanted.published().iter().find(|publish| publish.port().is_none()) {
            Some(publish) => Err(Error::Unpublishable { publish: *publish }),
            None => Ok(()),
        }
    }

    /// Claims all or nothing, under a record that says so first.
    fn claim(
        &self,
        netns: &NetNs,
        wanted: &Container,
        networks: &[DefinedNetwork],
        plan: Option<&Plan>,
    ) -> Result<Claimed, Error> {
        let mut ledger = self.run.claims();
        let mut claims = ledger.lock()?;
        let id = plan.map_or_else(|| self.moment().map(AttachmentId::at), |plan| Ok(plan.attachment.id))?;
        let ports = self.choose_ports(wanted, claims.state())?;
        let wishes = wishes(netns, wanted, &ports);
        let freed = self.conflicts(claims.state(), &wishes)?;
        self.try_ports(&ports)?;
        let networks: Vec<NetworkId> = networks.iter().map(DefinedNetwork::id).collect();
        let name = wanted.name().clone();
        let draft = AttachmentRecord { id, name, networks, leaving: false, attachment: None };
        let record = self.run.pending.create_record(&file(id), draft)?;
        let claimed = wishes.into_iter().map(|claim| Entry::Claimed(id, claim));
        let entries: Vec<_> = freed.into_iter().map(Entry::Freed).chain(claimed).collect();
        match claims.commit(&entries) {
            Ok(()) => Ok(Claimed { record, ports }),
            Err(refused) => Err(Error::from(refused).after(record.remove().map_err(Error::from))),
        }
    }

    /// Those without a record whose claims are in the way; one with a record is a refusal.
    fn conflicts(&self, claims: &Claims, wishes: &[Claim]) -> Result<Vec<AttachmentId>, Error> {
        let mut freed = Vec::new();
        for wish in wishes {
            match claims.holder(wish) {
                Some(holder) if self.run.is_alive(holder)? => return Err(self.taken(wish, holder)?),
                Some(holder) => freed.push(holder),
                None => {}
            }
        }
        Ok(freed)
    }

    fn taken(&self, wish: &Claim, id: AttachmentId) -> Result<Error, Error> {
        let holder = self.name_of(id)?.map_or_else(|| id.to_string(), |name| name.to_string());
        Ok(match wish {
            Claim::Name(name) => Error::NameTaken { name: name.clone(), holder: id },
            Claim::Namespace(_) => Error::NamespaceTaken { holder },
            Claim::Port(HostPort { port, protocol, .. }) => {
                Error::PortTaken { port: *port, protocol: *protocol, holder }
            }
        })
    }

    /// What an attachment is called, be it on record or on its way there.
    pub(crate) fn name_of(&self, id: AttachmentId) -> Result<Option<ContainerName>, Error> {
        let pending = self.run.pending.peek_record::<AttachmentRecord>(&file(id))?;
        let record = match pending {
            Some(record) => Some(record),
            None => self.run.attachments.peek_record(&file(id))?,
        };
        Ok(record.map(|record: AttachmentRecord| record.name))
    }

    /// From the claim to the confirmed record; a refusal hands back the record of what may have been done.
    fn build(
        &self,
        claimed: Claimed,
        netns: &NetNs,
        wanted: &Container,
        networks: &[DefinedNetwork],
        plan: Option<&Plan>,
    ) -> Result<Attachment, (Error, Option<Record<AttachmentRecord>>)> {
        let Claimed { mut record, ports } = claimed;
        match self.perform(&mut record, &ports, netns, wanted, networks, plan) {
            Ok(attachment) => Ok(attachment),
            Err(refused) => Err((refused, Some(record))),
        }
    }

    fn perform(
        &self,
        record: &mut Record<AttachmentRecord>,
        ports: &[HostPort],
        netns: &NetNs,
        wanted: &Container,
        networks: &[DefinedNetwork],
        plan: Option<&Plan>,
    ) -> Result<Attachment, Error> {
        let id = record.value().id;
        let addresses = self.lease(id, wanted, networks, plan)?;
        let mut inside = Inside::open(netns.as_fd())?;
        let seen = self.look(id, wanted, networks, &mut inside)?;
        let attachment = compose(id, netns, wanted, networks, addresses, ports, &seen)?;
        let links = plan::attach(&attachment, &seen)?;
        if plan.is_some_and(|plan| plan.attachment != attachment || plan.links != links) {
            return Err(Error::Stale);
        }
        let published = attachment.rules()?;
        record.append(AttachmentRecord { attachment: Some(attachment.clone()), ..record.value().clone() })?;
        self.links(|door| door.apply(&links, Some(&mut inside)).map_err(Error::from))?;
        let rules = self.wanted_rules(networks, published)?;
        self.change_rules(&rules)?;
        record.move_to(&self.run.attachments)?;
        Ok(attachment)
    }

    /// The rules of the ports, and of the networks where someone took those.
    fn wanted_rules(
        &self,
        networks: &[DefinedNetwork],
        published: Vec<linkspan_nat_rules::Publish>,
    ) -> Result<Change, Error> {
        let mut change = Change::new().publish_all(published);
        for network in networks {
            let record =
                self.run.up.peek_record::<NetworkRecord>(&crate::kernel::home::network_file(network.id))?;
            change = record.into_iter().fold(change, |change, record| change.add_network(record.rules));
        }
        Ok(change)
    }

    /// An address of each subnet of each network, in the order of the wishes.
    fn lease(
        &self,
        id: AttachmentId,
        wanted: &Container,
        networks: &[DefinedNetwork],
        plan: Option<&Plan>,
    ) -> Result<Vec<Vec<IpAddr>>, Error> {
        let owner = owner(id);
        let mut all = Vec::new();
        for (place, wish) in wanted.endpoints().iter().enumerate() {
            let network = of_wish(wish, networks)?;
            let planned = plan.and_then(|plan| plan.attachment.endpoints.get(place));
            let mut addresses = Vec::new();
            for subnet in &network.subnets {
                let wished = wish.wanted_address(subnet.gateway());
                let planned = planned
                    .and_then(|e| e.addresses.iter().map(|a| a.addr()).find(|a| subnet.net().contains(a)));
                let want = planned.or(wished).map_or(Wanted::Any, Wanted::This);
                let mut alive = |owner: &Owner| self.owner_lives(owner);
                addresses.push(self.run.book(network.id).lease(subnet, &owner, want, &mut alive)?);
            }
            all.push(addresses);
        }
        Ok(all)
    }

    /// A lease whose owner has no record is free; what cannot be read is not.
    fn owner_lives(&self, owner: &Owner) -> bool {
        owner.as_str().parse().map_or(true, |id| self.run.is_alive(id).unwrap_or(true))
    }

    fn look(
        &self,
        id: AttachmentId,
        wanted: &Container,
        networks: &[DefinedNetwork],
        inside: &mut Inside,
    ) -> Result<Seen, Error> {
        let hosts = (0..wanted.endpoints().len()).map(|place| id.host_end(place));
        let names = networks.iter().map(|network| network.link).chain(hosts);
        let look = names.fold(links::Look::default(), links::Look::and);
        Ok(self.links(|door| door.observe(&look, Some(inside)))?)
    }

    /// Plans what attaching would change, and changes nothing.
    ///
    /// # Errors
    /// As [`attach`](Self::attach).
    pub fn plan_attach(&self, netns: &NetNs, wanted: &Container) -> Result<Plan, Error> {
        self.check(netns, wanted)?;
        let id = AttachmentId::at(self.moment()?);
        let mut networks = Vec::new();
        for wish in wanted.endpoints() {
            let there = self.definition(wish.network())?;
            networks.push(there.ok_or_else(|| Error::NoSuchNetwork { name: wish.network().clone() })?);
        }
        let mut inside = Inside::open(netns.as_fd())?;
        let mut seen = self.look(id, wanted, &networks, &mut inside)?;
        let (mut plans, mut change) = (Vec::new(), Change::new());
        for network in &networks {
            let (plan, record) = self.plan_network(network)?;
            seen = seen.after(&plan.links);
            change = change.add_network(record.rules);
            plans.push(plan);
        }
        let ports = {
            let mut ledger = self.run.claims();
            let claims = ledger.lock()?;
            let ports = self.choose_ports(wanted, claims.state())?;
            self.conflicts(claims.state(), &wishes(netns, wanted, &ports))?;
            ports
        };
        self.try_ports(&ports)?;
        let addresses = self.peek(id, wanted, &networks)?;
        let attachment = compose(id, netns, wanted, &networks, addresses, &ports, &seen)?;
        let links = plan::attach(&attachment, &seen)?;
        plans.retain(|plan: &NetworkPlan| !plan.is_empty());
        let change = Change::new().publish_all(attachment.rules()?);
        let rules = self.rules.plan(self.netns.as_fd(), &change, || self.run.rules())?;
        Ok(Plan { networks: plans, attachment, links, rules })
    }

    /// The addresses that would be leased at this moment.
    fn peek(
        &self,
        id: AttachmentId,
        wanted: &Container,
        networks: &[DefinedNetwork],
    ) -> Result<Vec<Vec<IpAddr>>, Error> {
        let each = wanted.endpoints().iter().map(|wish| {
            let network = of_wish(wish, networks)?;
            let leases = self.run.book(network.id).snapshot()?;
            let subnets = network.subnets.iter().map(|subnet| {
                let want = wish.wanted_address(subnet.gateway()).map_or(Wanted::Any, Wanted::This);
                Ok(leases.find_or_reclaim(subnet, &owner(id), want, &mut |owner| self.owner_lives(owner))?)
            });
            subnets.collect()
        });
        each.collect()
    }
}

/// What is locked and claimed of an attachment, before anything else.
struct Claimed {
    record: Record<AttachmentRecord>,
    ports: Vec<HostPort>,
}

/// The owner that the leases of an attachment name.
pub(crate) fn owner(id: AttachmentId) -> Owner {
    id.to_string().parse().expect("16 digits are a token")
}

fn wishes(netns: &NetNs, wanted: &Container, ports: &[HostPort]) -> Vec<Claim> {
    let ports = ports.iter().copied().map(Claim::Port);
    [Claim::Name(wanted.name().clone()), Claim::Namespace(netns.cookie())].into_iter().chain(ports).collect()
}

fn of_wish<'a>(wish: &crate::Endpoint, networks: &'a [DefinedNetwork]) -> Result<&'a DefinedNetwork, Error> {
    let network = networks.iter().find(|network| network.name == *wish.network());
    let network = network.ok_or_else(|| Error::NoSuchNetwork { name: wish.network().clone() })?;
    let lacking =
        wish.addresses().find(|a| !network.subnets.iter().any(|s| s.gateway().is_ipv4() == a.is_ipv4()));
    match lacking {
        Some(address) => Err(Error::NoSubnet { network: network.name.clone(), address }),
        None => Ok(network),
    }
}

/// The attachment that comes of the wishes, the addresses and the ports; links are as large as their bridge's.
fn compose(
    id: AttachmentId,
    netns: &NetNs,
    wanted: &Container,
    networks: &[DefinedNetwork],
    addresses: Vec<Vec<IpAddr>>,
    ports: &[HostPort],
    seen: &Seen,
) -> Result<Attachment, Error> {
    let mut placed = Vec::new();
    for (wish, addresses) in wanted.endpoints().iter().zip(addresses) {
        let network = of_wish(wish, networks)?;
        let bridge = seen.host.links.get(network.link.as_str());
        let mtu = bridge.and_then(|link| Mtu::new(link.mtu)).or(network.mtu).unwrap_or_default();
        placed.push(Placed { network, mtu, addresses });
    }
    let endpoints = endpoints(id, wanted, &placed);
    let serving = serving(&endpoints);
    let granted = wanted.published().iter().zip(ports).map(|(wish, port)| grant(wish, *port, &serving));
    Ok(Attachment {
        id,
        name: wanted.name().clone(),
        namespace: Namespace { cookie: netns.cookie(), place: netns.place().cloned() },
        published: granted.collect::<Result<_, _>>()?,
        endpoints,
    })
}
