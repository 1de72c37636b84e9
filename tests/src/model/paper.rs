//! The model: who is where, and what comes of a step. It knows nothing of how linkspan does it.

use super::facts::{self, hurt_by};
use super::step::{Deed, Door, Doors, Harm, Net, On, Step, Who};
use crate::world::Case;
use std::collections::{BTreeMap, BTreeSet};

/// A container that is on record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Container {
    /// Its networks in the order of its links, with the number that its addresses have there.
    pub(super) on: Vec<(Net, u16)>,
    pub(super) doors: Doors,
    /// Its namespace is there.
    pub(super) alive: bool,
}

/// Whether a network that is defined is on this host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Level {
    Up,
    Down,
}

/// A host on paper.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Paper {
    pub(super) case: Case,
    pub(super) networks: BTreeMap<Net, Level>,
    pub(super) containers: BTreeMap<Who, Container>,
    /// Those whose record someone removed: what they had is nobody's.
    pub(super) orphans: Vec<(Who, Container)>,
    /// Their addresses, which are free when there are no others.
    pub(super) stray_leases: BTreeSet<(Net, u16)>,
    /// The numbers whose addresses are kept, and for whom.
    pub(super) kept: BTreeMap<(Net, u16), Who>,
    /// What others took away and nobody has brought back for certain, as facts.
    pub(super) hurt: BTreeSet<String>,
    /// Networks with an address of others on their bridge.
    pub(super) strangers: BTreeSet<Net>,
    /// Networks in whose bridge's place another is.
    pub(super) usurped: BTreeSet<Net>,
    /// Containers with a link of others in the place of ours.
    pub(super) squatted: BTreeSet<Who>,
    /// Ports that a program of the host has.
    pub(super) busy: BTreeSet<Door>,
    /// Networks whose leases are lost, and whether the claims are.
    pub(super) lost_leases: BTreeSet<Net>,
    pub(super) lost_claims: bool,
}

/// What the command says to a deed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Done,
    /// Exit status 1, and this is in its line.
    Refused(String),
    /// Exit status 3, and this is in its line.
    Left(String),
}

/// What is said of a bridge of others in the place of ours.
const USURPED: &str = "as ours was made with";

fn refused(why: impl Into<String>) -> Verdict {
    Verdict::Refused(why.into())
}

impl Paper {
    /// A host without anything.
    pub(super) fn new(case: Case) -> Self {
        Self {
            case,
            networks: BTreeMap::new(),
            containers: BTreeMap::new(),
            orphans: Vec::new(),
            stray_leases: BTreeSet::new(),
            kept: BTreeMap::new(),
            hurt: BTreeSet::new(),
            strangers: BTreeSet::new(),
            usurped: BTreeSet::new(),
            squatted: BTreeSet::new(),
            busy: BTreeSet::new(),
            lost_leases: BTreeSet::new(),
            lost_claims: false,
        }
    }

    /// What comes of a step that comes to its end.
    pub(super) fn take(&mut self, step: Step) {
        match step {
            Step::Do(deed) | Step::Kill(deed, _) => drop(self.tell(deed)),
            Step::Break(harm) => self.suffer(harm),
        }
    }

    /// Whether the model knows what comes of it.
    pub(super) fn knows(&self, step: Step) -> bool {
        let files_lost = self.lost_claims || !self.lost_leases.is_empty();
        match step {
            Step::Do(Deed::Reconcile | Deed::Attach(..) | Deed::Create(_)) | Step::Break(_) => true,
            Step::Do(_) | Step::Kill(..) => !files_lost,
        }
    }

    /// What a deed changes, and what is said to it.
    pub(super) fn tell(&mut self, deed: Deed) -> Verdict {
        let said = match deed {
            Deed::Create(net) => self.create(net),
            Deed::Remove(net) => self.remove(net),
            Deed::Force(net) => self.force(net),
            Deed::Attach(who, on, doors) => self.attach_or_not(who, on, doors),
            Deed::Detach(who) => self.detach(&[who]),
            Deed::DetachBoth(one, other) => self.detach(&[one, other]),
            Deed::DetachAll => self.detach(&Who::ALL),
            Deed::Keep(who) => self.keep(who),
            Deed::Release(net, number) => self.let_go(net, number),
            Deed::Gc => self.gc(),
            Deed::Reconcile => return self.reconcile(),
        };
        self.settle();
        self.heal();
        said.err().unwrap_or(Verdict::Done)
    }

    /// What is gone altogether is not missing.
    fn heal(&mut self) {
        let whole = facts::whole(self);
        self.hurt.retain(|fact| whole.contains(fact));
    }

    fn create(&mut self, net: Net) -> Result<(), Verdict> {
        if net == Net::Bridge {
            return Err(refused("is reserved"));
        }
        if self.networks.contains_key(&net) {
            return Err(refused(format!("network `{net}` exists")));
        }
        self.networks.insert(net, Level::Up);
        Ok(())
    }

    /// The dead do not count.
    fn remove(&mut self, net: Net) -> Result<(), Verdict> {
        self.is_defined(net)?;
        self.containers.retain(|_, there| there.alive || !there.is_on(net));
        if self.containers.values().any(|there| there.is_on(net)) {
            return Err(refused(format!("network `{net}` is in use by")));
        }
        if self.keeps(net) {
            return Err(refused(format!("network `{net}` keeps")));
        }
        self.forget(net);
        Ok(())
    }

    fn force(&mut self, net: Net) -> Result<(), Verdict> {
        self.containers.retain(|_, there| !there.is_on(net));
        self.forget(net);
        Ok(())
    }

    /// Its addresses are kept for those of its name, also after a crash and a reboot.
    fn keep(&mut self, who: Who) -> Result<(), Verdict> {
        if let Some(there) = self.containers.remove(&who) {
            self.kept.retain(|(net, _), whom| *whom != who || !there.is_on(*net));
            self.kept.extend(there.on.into_iter().map(|address| (address, who)));
        }
        Ok(())
    }

    /// What is kept of the default network where that is not there is nothing.
    fn let_go(&mut self, net: Net, number: u16) -> Result<(), Verdict> {
        if net != Net::Bridge {
            self.is_defined(net)?;
        }
        self.kept.remove(&(net, number));
        Ok(())
    }

    fn is_defined(&self, net: Net) -> Result<(), Verdict> {
        let there = self.networks.contains_key(&net);
        there.then_some(()).ok_or_else(|| refused(format!("there is no network `{net}`")))
    }

    fn detach(&mut self, whom: &[Who]) -> Result<(), Verdict> {
        self.containers.retain(|who, _| !whom.contains(who));
        Ok(())
    }

    /// Networks that came up for a container that is refused go down again.
    fn attach_or_not(&mut self, who: Who, on: On, doors: Doors) -> Result<(), Verdict> {
        let before = self.networks.clone();
        let said = self.attach(who, on, doors);
        if said.is_err() {
            self.networks = before;
        }
        said
    }

    fn attach(&mut self, who: Who, on: On, doors: Doors) -> Result<(), Verdict> {
        self.bring_up(on)?;
        if on.list().iter().any(|net| self.lost_leases.contains(net)) {
            return Err(refused("/leases/"));
        }
        if self.lost_claims {
            return Err(refused("/claims"));
        }
        self.claim(who, doors)?;
        let on: Vec<_> = on.list().into_iter().map(|net| self.lease(net, who)).collect::<Result<_, _>>()?;
        if on.iter().any(|(net, _)| self.usurped.contains(net)) {
            return Err(refused(USURPED));
        }
        let container = Container { on, doors, alive: true };
        if doors != Doors::Shut && container.gateway().is_none() {
            return Err(refused("leads nowhere"));
        }
        if self.squatted.contains(&who) || self.orphans.iter().any(|(other, o)| *other == who && o.alive) {
            return Err(refused("`eth0`"));
        }
        self.containers.insert(who, container);
        Ok(())
    }

    /// Networks that are defined come up with the first container, in the order of their names.
    fn bring_up(&mut self, on: On) -> Result<(), Verdict> {
        let mut nets = on.list();
        nets.sort();
        for net in nets {
            if net != Net::Bridge {
                self.is_defined(net)?;
            }
            if !self.is_up(net) && self.usurped.contains(&net) {
                return Err(refused(USURPED));
            }
            self.networks.insert(net, Level::Up);
        }
        Ok(())
    }

    /// A name and a port have one owner who lives; a dead one is released.
    fn claim(&mut self, who: Who, doors: Doors) -> Result<(), Verdict> {
        self.release(|other, _| other == who, || refused(format!("container name `{who}` is taken by")))?;
        for door in doors.list() {
            let (port, by) = (door.port(), door.protocol());
            let has = |_, there: &Container| there.doors.list().contains(door);
            self.release(has, || refused(format!("host port {port}/{by} is published by")))?;
        }
        match doors.list().iter().find(|door| self.busy.contains(door)) {
            Some(door) => Err(refused(format!(":{}/{}", door.port(), door.protocol()))),
            None => Ok(()),
        }
    }

    /// Lets the dead who have something go; one who lives is in the way.
    fn release(
        &mut self,
        has: impl Fn(Who, &Container) -> bool,
        refusal: impl Fn() -> Verdict,
    ) -> Result<(), Verdict> {
        self.containers.retain(|who, there| there.alive || !has(*who, there));
        let free = !self.containers.iter().any(|(who, there)| has(*who, there));
        free.then_some(()).ok_or_else(refusal)
    }

    /// The number that is kept for it; else the lowest that nobody has and nobody else shall have; where there is none,
    /// those of the dead are free.
    fn lease(&mut self, net: Net, who: Who) -> Result<(Net, u16), Verdict> {
        let kept = self.kept.iter().find(|((on, _), whom)| *on == net && **whom == who);
        let kept = kept.map(|((_, number), _)| *number);
        if let Some(number) = kept.or_else(|| self.lowest(net)).or_else(|| self.lowest_stray(net)) {
            self.stray_leases.remove(&(net, number));
            return Ok((net, number));
        }
        self.containers.retain(|_, there| there.alive || !there.is_on(net));
        self.stray_leases.retain(|(on, _)| *on != net);
        self.lowest(net).map(|number| (net, number)).ok_or_else(|| refused("no free address in"))
    }

    fn lowest(&self, net: Net) -> Option<u16> {
        let has = |number: u16| self.containers.values().any(|there| there.on.contains(&(net, number)));
        let stray = |number: u16| self.stray_leases.contains(&(net, number));
        net.hosts()
            .find(|number| !has(*number) && !stray(*number) && !self.kept.contains_key(&(net, *number)))
    }

    fn lowest_stray(&self, net: Net) -> Option<u16> {
        let free = |address: &&(Net, u16)| address.0 == net && !self.kept.contains_key(address);
        self.stray_leases.iter().find(free).map(|(_, number)| *number)
    }

    /// Whether addresses of a network are kept for someone.
    fn keeps(&self, net: Net) -> bool {
        self.kept.keys().any(|(on, _)| *on == net)
    }

    fn gc(&mut self) -> Result<(), Verdict> {
        self.containers.retain(|_, there| there.alive);
        self.orphans.clear();
        self.stray_leases.clear();
        Ok(())
    }

    fn reconcile(&mut self) -> Verdict {
        // Nobody is put on a bridge of others.
        let others = self.usurped.iter().filter(|net| self.is_up(**net));
        self.hurt = others.flat_map(|net| facts::ports(self, *net)).collect();
        // Leases that are lost are written anew, of those who are on record.
        self.stray_leases.retain(|(net, _)| !self.lost_leases.contains(net));
        self.lost_leases.clear();
        self.lost_claims = false;
        self.settle();
        match self.usurped.iter().find(|net| self.is_up(**net)) {
            Some(net) => Verdict::Left(format!("what is missing of `{net}`")),
            None => Verdict::Done,
        }
    }

    /// The default network goes with the last one who is on it, but for its definition where addresses of it are kept;
    /// to look at a host is enough for that.
    pub(super) fn settle(&mut self) {
        if self.containers.values().any(|there| there.is_on(Net::Bridge)) {
            return;
        }
        if self.keeps(Net::Bridge) {
            self.networks.entry(Net::Bridge).and_modify(|level| *level = Level::Down);
            self.strangers.remove(&Net::Bridge);
        } else {
            self.forget(Net::Bridge);
        }
    }

    /// A network that is gone has taken with it what was on its bridge.
    fn forget(&mut self, net: Net) {
        self.networks.remove(&net);
        self.strangers.remove(&net);
        self.stray_leases.retain(|(on, _)| *on != net);
        self.kept.retain(|(on, _), _| *on != net);
        if net != Net::Bridge {
            // The next one of this name has a bridge of another name.
            self.usurped.remove(&net);
        }
    }

    /// What a harm changes.
    pub(super) fn suffer(&mut self, harm: Harm) {
        self.hurt.extend(hurt_by(self, harm));
        match harm {
            Harm::Vanish(who) => self.vanish(who),
            Harm::Reboot => self.reboot(),
            Harm::Stranger(net) if self.has_bridge(net) => drop(self.strangers.insert(net)),
            Harm::EmptyBridge(net) => drop(self.strangers.remove(&net)),
            Harm::DeleteBridge(net) if self.is_up(net) => {
                self.strangers.remove(&net);
                self.usurped.remove(&net);
            }
            Harm::Usurp(net) if self.is_up(net) => {
                self.strangers.remove(&net);
                self.usurped.insert(net);
            }
            Harm::Squat(who) if self.is_outside(who) => drop(self.squatted.insert(who)),
            Harm::Listen(door) if !self.busy.remove(&door) => drop(self.busy.insert(door)),
            Harm::LoseRecord(who) => self.lose(who),
            Harm::LoseClaims => self.lost_claims |= !self.containers.is_empty(),
            Harm::LoseLeases(net) if self.containers.values().any(|there| there.is_on(net)) => {
                self.lost_leases.insert(net);
            }
            _ => {}
        }
        self.heal();
    }

    fn lose(&mut self, who: Who) {
        let Some(there) = self.containers.remove(&who) else { return };
        self.stray_leases.extend(there.on.iter().copied());
        self.orphans.push((who, there));
        self.settle();
    }

    fn vanish(&mut self, who: Who) {
        self.squatted.remove(&who);
        if let Some(there) = self.containers.get_mut(&who) {
            there.alive = false;
        }
        self.orphans
            .iter_mut()
            .filter(|(other, _)| *other == who)
            .for_each(|(_, orphan)| orphan.alive = false);
    }

    /// Definitions are all that stays, and what is kept.
    fn reboot(&mut self) {
        let networks = self.networks.keys().map(|net| (*net, Level::Down)).collect();
        let (kept, busy) = (self.kept.clone(), self.busy.clone());
        *self = Self { networks, kept, busy, ..Self::new(self.case) };
        self.settle();
    }

    pub(super) fn is_up(&self, net: Net) -> bool {
        self.networks.get(&net) == Some(&Level::Up)
    }

    /// Whether its bridge is there for certain, and ours.
    pub(super) fn has_bridge(&self, net: Net) -> bool {
        self.is_up(net) && !self.usurped.contains(&net) && facts::bridge(net).is_disjoint(&self.hurt)
    }

    /// Whether a container has no link of ours.
    pub(super) fn is_outside(&self, who: Who) -> bool {
        !self.containers.contains_key(&who) && !self.orphans.iter().any(|(other, _)| *other == who)
    }

    /// The same host with what the orphans of another have.
    pub(super) fn with_orphans_of(&self, other: &Self) -> Self {
        let (orphans, stray_leases) = (other.orphans.clone(), other.stray_leases.clone());
        Self { orphans, stray_leases, ..self.clone() }
    }

    /// Whether all is there that should be, and nothing that should not.
    pub(super) fn is_sound(&self) -> bool {
        let files = !self.lost_claims && self.lost_leases.is_empty();
        files && self.hurt.is_empty() && self.usurped.is_empty() && self.orphans.is_empty()
    }

    /// Those that are there.
    pub(super) fn living(&self) -> impl Iterator<Item = (Who, &Container)> {
        self.containers.iter().filter(|(_, there)| there.alive).map(|(who, there)| (*who, there))
    }
}

impl Container {
    pub(super) fn is_on(&self, net: Net) -> bool {
        self.on.iter().any(|(on, _)| *on == net)
    }

    /// The network by which it goes out and is reached: not an internal one, rather one of both families, and else
    /// the first by name.
    pub(super) fn gateway(&self) -> Option<(Net, u16)> {
        let out = self.on.iter().copied().filter(|(net, _)| !net.is_internal());
        out.min_by_key(|(net, _)| (!net.has_ipv6(), *net))
    }

    /// The place of its link to a network.
    pub(super) fn place(&self, net: Net) -> usize {
        self.on.iter().position(|(on, _)| *on == net).expect("it is on the network")
    }
}
