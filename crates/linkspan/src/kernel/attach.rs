//! Attaching: claim, lease, look, plan, record, links, rules, confirm.

use crate::attachment::{Asked, AttachmentRecord, Granted, needs_host_ports};
use crate::claims::{Claim, Claims, Entry, HostPort};
use crate::kernel::home::file;
use crate::kernel::host::Host;
use crate::kernel::target::Target;
use crate::kernel::up::{Held, network_names};
use crate::plan::{self, Firewall, NetworkPlan, Plan, RulesPlan, Spent};
use crate::reservation::kept_as;
use crate::{Attachment, AttachmentId, Container, ContainerName, DefinedNetwork, Error, Namespace};
use linkspan_ipam::{self as ipam, LeaseBook, Lessee, Owner, Subnet, Wanted};
use linkspan_nat_rules::{Change, Instance, Network};
use linkspan_net_types::IfName;
use linkspan_netns::NetNs;
use linkspan_records::Record;
use linkspan_veth_bridge::kernel::Inside;
use linkspan_veth_bridge::{self as links, Seen, Space};
use std::cell::RefCell;
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::slice;

/// How many leases make it worth counting the ports of a bridge, of which it can have 1023.
const CROWD: usize = 1000;

impl Host {
    /// Puts a namespace on its networks.
    ///
    /// Networks that are defined but not up, after a reboot say, are brought up first. The container's
    /// links are ready when this returns, so its first connection does not wait.
    ///
    /// # Errors
    /// Names the field that was refused: [`Error::NameTaken`], [`Error::NamespaceTaken`],
    /// [`Error::OwnNamespace`], [`Error::NoSuchNetwork`], [`Error::PortTaken`], [`Error::PortBusy`],
    /// [`Error::Address`] and more. Everything begun was taken back, but for [`Error::LeftBehind`]; a network
    /// that had to be brought up is taken down again, unless somebody else is on it.
    pub fn attach(&self, netns: &NetNs, wanted: &Container) -> Result<Attachment, Error> {
        self.make(|| self.attach_mending(Target::There(netns), wanted, None, &RefCell::default()))
    }

    /// Performs what was planned for this namespace and container, and just that.
    ///
    /// A plan is good for one attempt: its id and the names of its links are never given again.
    ///
    /// # Errors
    /// [`Error::Stale`] where the host changed meanwhile, or the plan was applied before; for the rest as [`attach`](Self::attach).
    pub fn apply(&self, netns: &NetNs, wanted: &Container, plan: &Plan) -> Result<Attachment, Error> {
        if plan.spent.spend() {
            return Err(Error::Stale);
        }
        self.make(|| self.attach_mending(Target::There(netns), wanted, Some(plan), &RefCell::default()))
    }

    /// Attaches to networks that are kept up meanwhile, with what of it was made ahead.
    pub(crate) fn attach_mending(
        &self,
        target: Target<'_>,
        wanted: &Container,
        plan: Option<&Plan>,
        ahead: &RefCell<Ahead>,
    ) -> Result<Attachment, Error> {
        self.check(target, wanted)?;
        self.probe_rules()?;
        self.on_networks(wanted, |held| {
            let (networks, rules) = (&held.networks[..], &held.rules[..]);
            // Leases that cannot be read are found out before there is anything to take back.
            let ports = self.ports_to_count(networks)?;
            self.attach_once(&Attempt { target, wanted, networks, rules, ports, plan, ahead })
        })
    }

    /// Does work while the networks of a container are kept up; one that is up on record but not on the host is mended
    /// once.
    pub(crate) fn on_networks<T>(
        &self,
        wanted: &Container,
        work: impl Fn(&Held) -> Result<T, Error>,
    ) -> Result<T, Error> {
        match self.on_held(wanted, &work) {
            Err(Error::Links(links::Error::NoBridge { .. })) => {}
            done => return done,
        }
        wanted.endpoints().iter().try_for_each(|endpoint| self.mend(endpoint.network()).map(drop))?;
        self.on_held(wanted, &work)
    }

    /// The same; networks that were brought up for a container that is refused go down again.
    fn on_held<T>(&self, wanted: &Container, work: impl Fn(&Held) -> Result<T, Error>) -> Result<T, Error> {
        let mut raised = Vec::new();
        let done = self.hold_up(wanted, &mut raised).and_then(|held| work(&held));
        done.map_err(|refused| refused.after(self.lower_again(&raised)))
    }

    /// Refuses what needs no look at the records.
    pub(crate) fn check(&self, target: Target<'_>, wanted: &Container) -> Result<(), Error> {
        // One that is only being made is another.
        if let Target::There(netns) = target
            && netns.cookie() == self.netns.cookie()
        {
            return Err(Error::OwnNamespace);
        }
        if !wanted.published().is_empty() && self.firewall() == Firewall::None {
            return Err(Error::PublishWithoutFirewall);
        }
        network_names(wanted)?;
        match wanted.published().iter().find(|publish| !publish.is_carried()) {
            Some(publish) => Err(Error::Unpublishable { publish: *publish }),
            None => Ok(()),
        }
    }

    fn attach_once(&self, attempt: &Attempt<'_>) -> Result<Attachment, Error> {
        let (mut record, ports) = self.claim(attempt)?;
        match self.perform(attempt, &mut record, &ports) {
            Ok(attachment) => Ok(attachment),
            Err(refused) => Err(refused.after(self.take_back(record))),
        }
    }

    /// Claims all or nothing, but for a namespace that is coming; what a dead container holds of it is released first.
    fn claim(&self, attempt: &Attempt<'_>) -> Result<Claimed, Error> {
        self.insist(|| self.try_claim(attempt))
    }

    fn insist<T>(&self, claim: impl Fn() -> Result<Tried<T>, Error>) -> Result<T, Error> {
        loop {
            match claim()? {
                Ok(claimed) => return Ok(claimed),
                Err((_, holder)) if self.release_dead(holder)? => {}
                Err((wish, holder)) => return Err(self.taken(&wish, holder)?),
            }
        }
    }

    /// Claims under a record that is there first and locked, since a claim without one is free; or says what
    /// is held by whom.
    fn try_claim(&self, attempt: &Attempt<'_>) -> Result<Tried<Claimed>, Error> {
        let Attempt { wanted, networks, .. } = attempt;
        let tried = self.try_ports(attempt);
        let mut ledger = self.run.claims();
        let mut claims = ledger.lock()?;
        let id = attempt.id().map_or_else(|| self.moment().map(AttachmentId::at), Ok)?;
        let ports = self.ports_for(attempt, claims.state())?;
        let wishes = attempt.claims(&ports);
        let freed = match self.conflicts(claims.state(), &wishes)? {
            Ok(freed) => freed,
            Err(held) => return Ok(Err(held)),
        };
        tried?;
        let networks = networks.iter().map(DefinedNetwork::id).collect();
        let name = wanted.name().clone();
        let draft = AttachmentRecord { id, name, networks, leaving: false, attachment: None };
        let record = self.begin(attempt, draft)?;
        let claimed = wishes.into_iter().map(|claim| Entry::Claimed(id, claim));
        let entries: Vec<_> = freed.into_iter().map(Entry::Freed).chain(claimed).collect();
        match claims.commit(&entries) {
            Ok(()) => Ok(Ok((record, ports))),
            Err(refused) => Err(Error::from(refused).after(record.remove().map_err(Error::from))),
        }
    }

    /// The namespace; one that was coming is claimed now, before its place tells others of it.
    fn arrive<'a>(&self, attempt: &Attempt<'a>, id: AttachmentId) -> Result<&'a NetNs, Error> {
        if let Target::Coming(coming) = attempt.target {
            let wish = Claim::Namespace(coming.made()?.cookie());
            self.insist(|| self.try_claim_also(id, &wish))?;
        }
        attempt.target.netns()
    }

    fn try_claim_also(&self, id: AttachmentId, wish: &Claim) -> Result<Tried<()>, Error> {
        let mut ledger = self.run.claims();
        let mut claims = ledger.lock()?;
        let freed = match self.conflicts(claims.state(), slice::from_ref(wish))? {
            Ok(freed) => freed,
            Err(held) => return Ok(Err(held)),
        };
        let claimed = Entry::Claimed(id, wish.clone());
        claims.commit(&freed.into_iter().map(Entry::Freed).chain([claimed]).collect::<Vec<_>>())?;
        Ok(Ok(()))
    }

    /// The record of an attach, which nobody else can take meanwhile. One that was begun ahead comes with its links;
    /// where it cannot be used, they go with their namespace, which nothing else holds.
    fn begin(
        &self,
        attempt: &Attempt<'_>,
        draft: AttachmentRecord,
    ) -> Result<Record<AttachmentRecord>, Error> {
        let ahead = attempt.ahead.borrow_mut().record.take();
        let Some(mut record) = ahead else {
            return Ok(self.run.pending.create_record(&file(draft.id), draft)?);
        };
        let attachment = record.value().attachment.clone();
        let moved = record.move_to(&self.run.pending);
        match moved.and_then(|()| record.append(AttachmentRecord { attachment, ..draft })) {
            Ok(()) => Ok(record),
            Err(refused) => Err(Error::from(refused).after(record.remove().map_err(Error::from))),
        }
    }

    /// The ports of the host that are needed; none where the container is reached at its own address.
    fn ports_for(&self, attempt: &Attempt<'_>, claims: &Claims) -> Result<Vec<HostPort>, Error> {
        match attempt.needs_host_ports()? {
            true => self.choose_ports(attempt.wanted, claims),
            false => Ok(Vec::new()),
        }
    }

    /// Whether a program of the host has a port that is needed and asked for.
    fn try_ports(&self, attempt: &Attempt<'_>) -> Result<(), Error> {
        if attempt.needs_host_ports()? { self.try_asked_ports(attempt.wanted) } else { Ok(()) }
    }

    /// Those without a record whose claims are in the way; or the first claim of one that has a record.
    fn conflicts(&self, claims: &Claims, wishes: &[Claim]) -> Result<Tried<Vec<AttachmentId>>, Error> {
        let mut freed = Vec::new();
        for wish in wishes {
            for holder in claims.holders(wish) {
                if self.run.is_on_record(holder)? {
                    return Ok(Err((wish.clone(), holder)));
                }
                freed.push(holder);
            }
        }
        Ok(Ok(freed))
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

    /// What an attachment is called, be it on record or on its way there or away.
    pub(crate) fn name_of(&self, id: AttachmentId) -> Result<Option<ContainerName>, Error> {
        for folder in [&self.run.attachments, &self.run.pending, &self.run.attachments] {
            // Looked at twice, since a record that is confirmed moves from the one to the other.
            if let Some(record) = folder.peek_record::<AttachmentRecord>(&file(id))? {
                return Ok(Some(record.name));
            }
        }
        Ok(None)
    }

    /// From the claim to the confirmed record.
    fn perform(
        &self,
        attempt: &Attempt<'_>,
        record: &mut Record<AttachmentRecord>,
        ports: &[HostPort],
    ) -> Result<Attachment, Error> {
        let id = record.value().id;
        let (owner, name) = (owner(id), kept_as(attempt.wanted.name()));
        let lessee = Lessee::of(&owner).named(&name);
        let leased = attempt.addresses(|network, subnet, wanted| self.lease(lessee, network, subnet, wanted));
        let addresses = match leased {
            Err(Error::AddressTaken { .. } | Error::AddressKept { .. }) if attempt.plan.is_some() => {
                return Err(Error::Stale);
            }
            leased => leased?,
        };
        let outside = self.look_outside(attempt, id)?;
        plan::recognise(self.instance(), attempt.networks, &outside)?;
        let granted = attempt.asked(self.instance(), id, ports).granted(addresses, &outside)?;
        let rules = attempt.rules(&granted)?;
        let netns = self.arrive(attempt, id)?;
        let mut inside = attempt.inside(netns)?;
        let seen = Seen { container: Some(attempt.look_inside(&mut inside, &outside, id)?), ..outside };
        let attachment = granted.within(namespace(netns));
        let links = plan::attach(&attachment, &seen)?;
        if attempt.plan.is_some_and(|plan| plan.attachment != attachment || plan.links != links) {
            return Err(Error::Stale);
        }
        record.append(AttachmentRecord { attachment: Some(attachment.clone()), ..record.value().clone() })?;
        self.links(|door| door.apply(&links, Some(&mut inside)).map_err(Error::from))?;
        self.change_rules(&rules)?;
        record.move_to(&self.run.attachments)?;
        Ok(attachment)
    }

    /// Leases an address; a dead container that has the wanted one, or the last one, is detached first.
    fn lease(
        &self,
        lessee: Lessee<'_>,
        network: &DefinedNetwork,
        subnet: &Subnet,
        wanted: Wanted,
    ) -> Result<IpAddr, Error> {
        let book = self.run.book(network.id);
        loop {
            let kept = || self.kept(network.id);
            let alive = &mut |owner: &Owner| self.owner_is_on_record(owner);
            let leased = book.lease_with(kept, subnet, lessee, wanted, alive);
            let holders = match &leased {
                Err(Error::Address(ipam::Error::Taken { owner, .. })) => vec![owner.clone()],
                Err(Error::Address(ipam::Error::Exhausted { .. })) => book.owners()?,
                _ => Vec::new(),
            };
            let released =
                holders.iter().map(|holder| self.end_leases(&book, holder)).collect::<Result<Vec<_>, _>>()?;
            match leased {
                _ if released.contains(&true) => {}
                Err(Error::Address(ipam::Error::Taken { address, owner })) => {
                    return Err(self.leased_to(address, &owner)?);
                }
                leased => return leased.map_err(by_name),
            }
        }
    }

    /// Ends the leases of a dead owner, and says whether it was one. Whoever tries again then meets one owner less.
    fn end_leases(&self, book: &LeaseBook, owner: &Owner) -> Result<bool, Error> {
        let Ok(id) = owner.as_str().parse() else { return Ok(false) };
        let dead = self.release_dead(id)?;
        if dead {
            // One without a record has nothing that says where its leases are.
            book.release_all(owner)?;
        }
        Ok(dead)
    }

    /// Says who has an address by the name that people call him.
    fn leased_to(&self, address: IpAddr, owner: &Owner) -> Result<Error, Error> {
        let id = owner.as_str().parse().ok();
        let name = id.map_or(Ok(None), |id| self.name_of(id))?;
        let holder = name.map_or_else(|| owner.to_string(), |name| name.to_string());
        Ok(Error::AddressTaken { address, holder })
    }

    /// A lease whose owner has no record is free; what cannot be read is not.
    fn owner_is_on_record(&self, owner: &Owner) -> bool {
        owner.as_str().parse().map_or(true, |id| self.run.is_on_record(id).unwrap_or(true))
    }

    /// For a plan, which releases nobody: what a dead container has is as good as free.
    fn owner_lives(&self, owner: &Owner) -> bool {
        owner.as_str().parse().map_or(true, |id| self.is_alive(id).unwrap_or(true))
    }

    /// Looks at the bridges, at the names of the host ends, and into the container.
    pub(crate) fn look(
        &self,
        attempt: &Attempt<'_>,
        id: AttachmentId,
        inside: &mut Inside,
    ) -> Result<Seen, Error> {
        let outside = self.look_outside(attempt, id)?;
        Ok(Seen { container: Some(attempt.look_inside(inside, &outside, id)?), ..outside })
    }

    fn look_outside(&self, attempt: &Attempt<'_>, id: AttachmentId) -> Result<Seen, Error> {
        let ends = attempt.host_ends(id);
        let bridges = attempt.networks.iter().map(|network| network.link);
        let look = ends.chain(bridges).fold(links::Look::default(), links::Look::and).without_addresses();
        let look = match attempt.ports {
            PortsToCount::All => look.counting_ports(),
            PortsToCount::None => look,
        };
        Ok(self.links(|door| door.observe(&look, None))?)
    }

    /// A bridge may be full, which is worth counting its ports before anything is changed.
    pub(crate) fn ports_to_count(&self, networks: &[DefinedNetwork]) -> Result<PortsToCount, Error> {
        let mut ports = PortsToCount::None;
        for network in networks {
            if self.run.book(network.id).len()? >= CROWD {
                ports = PortsToCount::All;
            }
        }
        Ok(ports)
    }

    /// Plans what attaching would change, and changes nothing.
    ///
    /// # Errors
    /// As [`attach`](Self::attach).
    pub fn plan_attach(&self, netns: &NetNs, wanted: &Container) -> Result<Plan, Error> {
        let target = Target::There(netns);
        self.check(target, wanted)?;
        self.forget_older_boots()?;
        let id = AttachmentId::at(self.moment()?);
        let networks = self.definitions(wanted)?;
        let ports = self.ports_to_count(&networks)?;
        let ahead = &RefCell::default();
        let attempt = Attempt { target, wanted, networks: &networks, rules: &[], ports, plan: None, ahead };
        let mut seen = self.look(&attempt, id, &mut attempt.inside(netns)?)?;
        let (mut plans, mut change) = (Vec::new(), Change::new());
        for network in &networks {
            let (record, links) = self.plan_up(network)?;
            seen = seen.after(&links);
            change = change.add_network(record.rules);
            plans.push(NetworkPlan { network: network.clone(), rules: RulesPlan::None, links });
        }
        plans.retain(|plan| !plan.is_empty());
        let ports = self.look_for_ports(&attempt)?;
        let wanted_name = wanted.name();
        let addresses = attempt.addresses(|network, subnet, wanted| {
            let (owner, name) = (owner(id), kept_as(wanted_name));
            let lessee = Lessee::of(&owner).named(&name);
            let mut leases = self.run.book(network.id).snapshot()?;
            let kept = leases.changes_to_keep(&self.kept(network.id)?);
            kept.iter().for_each(|change| leases.apply(change));
            let found = leases.find_or_reclaim(subnet, lessee, wanted, &mut |owner| self.owner_lives(owner));
            found.map_err(|refused| by_name(refused.into()))
        })?;
        let granted = attempt.asked(self.instance(), id, &ports).granted(addresses, &seen)?;
        let attachment = granted.within(namespace(netns));
        let links = plan::attach(&attachment, &seen)?;
        let change = change.publish_all(attachment.rules()?);
        let rules = self.rules.plan(self.netns.as_fd(), &change, || self.wanted_rules())?;
        Ok(Plan { networks: plans, attachment, links, rules, spent: Spent::default() })
    }

    /// The ports that would be claimed at this moment.
    fn look_for_ports(&self, attempt: &Attempt<'_>) -> Result<Vec<HostPort>, Error> {
        let tried = self.try_ports(attempt);
        let mut ledger = self.run.claims();
        let claims = ledger.lock()?;
        let ports = self.ports_for(attempt, claims.state())?;
        for wish in attempt.claims(&ports) {
            for holder in claims.state().holders(&wish) {
                if self.is_alive(holder)? {
                    return Err(self.taken(&wish, holder)?);
                }
            }
        }
        tried.map(|()| ports)
    }
}

/// A record that is locked, and the ports of the host that were claimed under it.
type Claimed = (Record<AttachmentRecord>, Vec<HostPort>);

/// What came of a claim, or which of its wishes is held by whom.
type Tried<T> = Result<T, (Claim, AttachmentId)>;

/// Of which bridges it is asked how many ports they have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PortsToCount {
    None,
    All,
}

/// What of an attach is done when it begins: the record with its links, the door to the container, the look at what is
/// there.
#[derive(Debug, Default)]
pub(crate) struct Ahead {
    pub(crate) record: Option<Record<AttachmentRecord>>,
    pub(crate) inside: Option<Inside>,
    pub(crate) seen: Option<Space>,
}

/// One attach under way.
#[derive(Clone, Copy)]
pub(crate) struct Attempt<'a> {
    pub(crate) target: Target<'a>,
    pub(crate) wanted: &'a Container,
    /// Those of the endpoints, in whatever order.
    pub(crate) networks: &'a [DefinedNetwork],
    /// Of those that are kept up.
    pub(crate) rules: &'a [Network],
    pub(crate) ports: PortsToCount,
    /// What was planned, where it is to be just that.
    pub(crate) plan: Option<&'a Plan>,
    /// What is taken out of it is used.
    pub(crate) ahead: &'a RefCell<Ahead>,
}

impl<'a> Attempt<'a> {
    /// The id that it was given before.
    fn id(&self) -> Option<AttachmentId> {
        let ahead = || self.ahead.borrow().record.as_ref().map(|record| record.value().id);
        self.plan.map(|plan| plan.attachment.id).or_else(ahead)
    }

    /// The door to the container.
    pub(crate) fn inside(&self, netns: &NetNs) -> Result<Inside, links::Error> {
        self.ahead.borrow_mut().inside.take().map_or_else(|| inside(netns), Ok)
    }

    fn host_ends(&self, id: AttachmentId) -> impl Iterator<Item = IfName> {
        (0..self.wanted.endpoints().len()).map(move |place| id.host_end(place))
    }

    /// Looks into the container; where that was done ahead, nothing has come there since but by its host ends, and from
    /// routers of IPv6.
    fn look_inside(
        &self,
        inside: &mut Inside,
        outside: &Seen,
        id: AttachmentId,
    ) -> Result<Space, links::Error> {
        let is_there = |end: IfName| outside.host.links.contains_key(end.as_str());
        let stands = self.host_ends(id).all(is_there) && !self.networks.iter().any(DefinedNetwork::has_ipv6);
        let seen = self.ahead.borrow_mut().seen.take().filter(|_| stands);
        seen.map_or_else(|| inside.observe(), Ok)
    }

    /// The rules of the ports, and those of the networks wherever someone took them.
    fn rules(&self, granted: &Granted) -> Result<Change, Error> {
        let ports = Change::new().publish_all(granted.rules()?);
        Ok(self.rules.iter().cloned().fold(ports, Change::add_network))
    }

    /// What is claimed before anything is changed; a namespace that is coming is claimed when it is there.
    fn claims(&self, ports: &[HostPort]) -> Vec<Claim> {
        let namespace = match self.target {
            Target::There(netns) => Some(Claim::Namespace(netns.cookie())),
            Target::Coming(_) => None,
        };
        let own = [Claim::Name(self.wanted.name().clone())].into_iter().chain(namespace);
        own.chain(ports.iter().copied().map(Claim::Port)).collect()
    }

    fn needs_host_ports(&self) -> Result<bool, Error> {
        let networks = self.wanted.endpoints().iter().map(|wish| wish.network_among(self.networks));
        Ok(needs_host_ports(&networks.collect::<Result<Vec<_>, _>>()?))
    }

    pub(crate) fn asked(&self, instance: Instance, id: AttachmentId, ports: &'a [HostPort]) -> Asked<'a> {
        Asked { instance, id, wanted: self.wanted, networks: self.networks, ports }
    }

    /// An address of each subnet of each network, in the order of the wishes, had by `get`.
    fn addresses(
        &self,
        mut get: impl FnMut(&DefinedNetwork, &Subnet, Wanted) -> Result<IpAddr, Error>,
    ) -> Result<Vec<Vec<IpAddr>>, Error> {
        let mut all = Vec::new();
        for (place, wish) in self.wanted.endpoints().iter().enumerate() {
            let network = wish.network_among(self.networks)?;
            let planned = self.plan.and_then(|plan| plan.attachment.endpoints.get(place));
            let each = network.subnets.iter().map(|subnet| {
                let planned = planned.and_then(|endpoint| endpoint.address_in(subnet));
                let wished = planned.or_else(|| wish.wanted_address(subnet.gateway()));
                get(network, subnet, wished.map_or(Wanted::Any, Wanted::This))
            });
            all.push(each.collect::<Result<_, _>>()?);
        }
        Ok(all)
    }
}

/// Says whom an address is kept for by the name that people call him.
fn by_name(refused: Error) -> Error {
    match refused {
        Error::Address(ipam::Error::Kept { address, owner }) => match owner.as_str().parse() {
            Ok(holder) => Error::AddressKept { address, holder },
            Err(_) => Error::Address(ipam::Error::Kept { address, owner }),
        },
        refused => refused,
    }
}

/// Looks into a namespace with the socket that came with it, where that is still to be had.
fn inside(netns: &NetNs) -> Result<Inside, links::Error> {
    match netns.take_route() {
        Some(route) => Inside::with(netns.as_fd(), route),
        None => Inside::open(netns.as_fd()),
    }
}

/// What is on record of a namespace.
pub(crate) fn namespace(netns: &NetNs) -> Namespace {
    Namespace { cookie: netns.cookie(), place: netns.place().cloned() }
}

/// The owner that the leases of an attachment name.
pub(crate) fn owner(id: AttachmentId) -> Owner {
    id.to_string().parse().expect("16 digits are a token")
}
