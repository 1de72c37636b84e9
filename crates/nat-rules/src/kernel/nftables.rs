use super::element;
use super::listed::{self, Listed};
use super::table::{self, named};
use super::transaction::{Unless, refused, transaction};
use super::{HEADER, inet};
use crate::nftables::text::{Named, marker, read_marker};
use crate::nftables::{
    Chain, Element, LAYOUT, Plan, Seen, Set, Slot, Table, Value, plan, prune, reconcile, remembered,
};
use crate::{Change, Error, Instance, Network, Ruleset};
use linkspan_net_types::Errno;
use linkspan_netlink::{Batch, Family, Flags, Kind, Refusal, Reply, Socket};
use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::BorrowedFd;

const GET_ELEMENTS: Kind = Kind::nftables(13);
const GET_GENERATION: Kind = Kind::nftables(16);
/// `NFTA_GEN_ID`.
const GENERATION: u16 = 1;

/// A question for one place costs what some ten elements of a list do.
const MANY: usize = 1000;

/// Each lost race is one that another process has won, so many in a row are lost to somebody who never stops.
const ATTEMPTS: usize = 100;

/// The table of an instance in the nftables of a network namespace.
///
/// Closing it after a removal waits for an RCU grace period of the kernel, so a long-lived process keeps it.
#[derive(Debug)]
pub struct Nftables {
    instance: Instance,
    socket: Socket,
    /// At the last look the table had the chain that says this layout. Transactions are void without it, so
    /// a table that was seen once need not be looked at again.
    marked: bool,
    /// The number of the kernel's latest transaction before the last look; `None` where the kernel did not say.
    looked_at: Option<u32>,
    /// What is known of the table as long as nobody else writes, which the kernel tells by that number.
    known: Option<Seen>,
}

impl Nftables {
    /// Opens the nftables of the calling thread's network namespace; changes nothing.
    ///
    /// # Errors
    /// [`Error::Netlink`].
    pub fn open(instance: Instance) -> Result<Self, Error> {
        Ok(Self::of(instance, Socket::open(Family::Netfilter)?))
    }

    /// Opens the nftables of this network namespace; changes nothing.
    ///
    /// # Errors
    /// [`Error::Netlink`].
    pub fn open_in(instance: Instance, namespace: BorrowedFd<'_>) -> Result<Self, Error> {
        Ok(Self::of(instance, Socket::open_in(namespace, Family::Netfilter)?))
    }

    const fn of(instance: Instance, socket: Socket) -> Self {
        Self { instance, socket, marked: false, looked_at: None, known: None }
    }

    /// Sees just what concerns a change, by questions for its own elements: how many other networks and ports
    /// there are does not matter. Only where a network comes that is not there whole, the subnets of the others
    /// are listed, and where one goes, their bridges. A table that was seen before is taken for one that is still
    /// there: if it is not, the transaction is refused.
    ///
    /// Of a network that is there whole, nothing else is asked: elements of it that someone added, to a set that
    /// it does not belong in say, are for [`Self::reconcile`] to find.
    ///
    /// # Errors
    /// [`Error::Netlink`].
    pub fn look(&mut self, change: &Change) -> Result<Seen, Error> {
        let goes = !change.removed().is_empty();
        let known = self.marked && !goes;
        let mut seen = if known { self.trust_the_table()? } else { self.look_at_table(goes)? };
        match seen.table() {
            Table::Ours { layout, .. } if layout > LAYOUT => return Ok(seen),
            Table::Ours { layout, .. } if layout < LAYOUT => self.look_at_chains(&mut seen)?,
            Table::Ours { .. } => {}
            _ => return Ok(seen),
        }
        let own: Vec<_> = change.added().iter().flat_map(Element::of_network).collect();
        self.ask(own.iter().map(|element| element.slot.clone()), &mut seen.elements)?;
        let whole = own.iter().all(|element| seen.has(element));
        if !whole && known {
            self.marked = false;
            return self.look(change);
        }
        if !whole {
            self.look_around(change.added(), &mut seen.elements)?;
        }
        if goes {
            self.list(Set::Bridges, &mut seen.elements)?;
        }
        let removed = change.removed().iter().flat_map(Element::of_network);
        let ports = change.published().iter().chain(change.withdrawn()).map(Element::of_publish);
        self.ask(removed.chain(ports).map(|element| element.slot), &mut seen.elements)?;
        Ok(seen)
    }

    /// Sees what networks that come may contradict: the subnets of all others, and whatever is said of their own
    /// bridges and subnets.
    fn look_around(&mut self, come: &[Network], seen: &mut BTreeMap<Slot, Value>) -> Result<(), Error> {
        let subnets: Vec<_> = come.iter().flat_map(Network::subnets).collect();
        let of_family = |v4: bool| subnets.iter().any(|subnet| subnet.addr().is_ipv4() == v4);
        for (v4, sets) in [(true, [Set::Own4, Set::Trusted4]), (false, [Set::Own6, Set::Trusted6])] {
            if of_family(v4) {
                sets.into_iter().try_for_each(|set| self.list(set, seen))?;
            }
        }
        self.ask(come.iter().flat_map(Element::places_of), seen)
    }

    /// Sees the whole table.
    ///
    /// # Errors
    /// [`Error::Netlink`].
    pub fn look_at_all(&mut self) -> Result<Seen, Error> {
        let mut seen = self.look_at_table(true)?;
        if matches!(seen.table(), Table::Ours { layout, .. } if layout <= LAYOUT) {
            Set::ALL.into_iter().try_for_each(|set| self.list(set, &mut seen.elements))?;
            self.look_at_chains(&mut seen)?;
        }
        Ok(seen)
    }

    /// Carries out a plan as one transaction: the whole of it, or nothing.
    ///
    /// # Errors
    /// [`Error::Refused`] with the step; [`Error::is_overtaken`] tells whether the reason may be that the
    /// table changed since the look.
    pub fn apply(&mut self, plan: &Plan) -> Result<(), Error> {
        self.transact(plan, Unless::Planned)
    }

    fn transact(&mut self, plan: &Plan, unless: Unless) -> Result<(), Error> {
        if plan.is_empty() {
            return Ok(());
        }
        let (mut batch, steps) = transaction(plan, unless);
        match self.socket.send(&mut batch) {
            Ok(()) => Ok(()),
            Err(linkspan_netlink::Error::Refused(refusals)) => {
                self.marked = false;
                Err(refused(refusals, plan, &steps))
            }
            Err(e) => Err(e.into()),
        }
    }

    /// Makes a change: looks, plans and applies, again where another process was faster. Returns what was
    /// done.
    ///
    /// As long as nobody else writes to the tables of the host, ports come and go without a look: the transaction
    /// names the one before it that was its own, and is void if there was another since.
    ///
    /// # Errors
    /// As [`plan`] and [`Self::apply`]; [`Error::Unsettled`] where others were faster a hundred times. Nothing was
    /// done then.
    pub fn change(&mut self, change: &Change) -> Result<Plan, Error> {
        match self.change_known(change)? {
            Some(plan) => Ok(plan),
            None => self.until_current(|door| plan(door.instance, change, &door.look(change)?)),
        }
    }

    /// Makes a change of ports, if all that it takes for granted is known; `None` where it was not made.
    fn change_known(&mut self, change: &Change) -> Result<Option<Plan>, Error> {
        if change.published().is_empty() && change.withdrawn().is_empty() || !change.removed().is_empty() {
            return Ok(None);
        }
        let mut known = self.known.take().unwrap_or_default();
        let mut decided = remembered(self.instance, change, &known);
        if decided.is_none() {
            // Whether a port is free the transaction itself finds out.
            known = known.with(self.look(&change.without_published())?);
            decided = remembered(self.instance, change, &known);
        }
        // With nothing to send, the kernel would not tell whether anyone wrote.
        let decided = decided.filter(|plan| !plan.is_empty());
        let (Some(plan), Some(since)) = (decided, known.generation) else { return Ok(None) };
        if self.transact(&plan, Unless::AllKnown { since }).is_err() {
            // A look tells what was in the way, and whether anything was.
            return Ok(None);
        }
        known.follow(&plan);
        self.known = Some(known);
        Ok(Some(plan))
    }

    /// Makes the table hold just these rules. Returns the difference that was mended; the plan is empty
    /// where there was none.
    ///
    /// # Errors
    /// As [`reconcile`] and [`Self::apply`]; [`Error::Unsettled`] where others were faster a hundred times. Nothing
    /// was done then.
    pub fn reconcile(&mut self, rules: &Ruleset) -> Result<Plan, Error> {
        self.until_current(|door| reconcile(door.instance, rules, &door.look_at_all()?))
    }

    /// Takes out of the table what none of these rules wants. Returns what that was.
    ///
    /// # Errors
    /// As [`prune`] and [`Self::apply`]; nothing was done then.
    pub fn prune(&mut self, rules: &Ruleset) -> Result<Plan, Error> {
        self.until_current(|door| prune(door.instance, rules, &door.look_at_all()?))
    }

    fn until_current(
        &mut self,
        mut decide: impl FnMut(&mut Self) -> Result<Plan, Error>,
    ) -> Result<Plan, Error> {
        for _ in 0..ATTEMPTS {
            match decide(self).and_then(|plan| self.apply(&plan).map(|()| plan)) {
                Err(e) if e.is_overtaken() && self.others_wrote()? => {}
                done => return done,
            }
        }
        Err(Error::Unsettled { instance: self.instance, attempts: ATTEMPTS })
    }

    /// Whether there was a transaction since the last look, which else would show the same once more.
    fn others_wrote(&mut self) -> Result<bool, Error> {
        Ok(self.looked_at.is_none() || self.generation()? != self.looked_at)
    }

    /// The number of the kernel's latest transaction.
    fn generation(&mut self) -> Result<Option<u32>, Error> {
        let replies = self.question(GET_GENERATION, Flags::NONE, |body| body.bytes(&[0; HEADER]))?;
        Ok(replies.iter().find_map(|reply| reply.attributes(HEADER).get(GENERATION)?.be32()))
    }

    /// What a table that was seen before is taken for.
    fn trust_the_table(&mut self) -> Result<Seen, Error> {
        self.looked_at = self.generation()?;
        Ok(Seen { table: OURS, marked: true, generation: self.looked_at, ..Seen::default() })
    }

    /// Sees whose the table is, and its layout.
    fn look_at_table(&mut self, with_user_rules: bool) -> Result<Seen, Error> {
        let instance = self.instance;
        self.marked = false;
        self.looked_at = self.generation()?;
        let mut seen = Seen { generation: self.looked_at, ..Seen::default() };
        let replies = self.question(table::GET_TABLE, Flags::NONE, |body| named(body, instance));
        let replies = present(replies)?;
        let Some(there) = replies.first() else { return Ok(seen) };
        if !table::is_ours(there) {
            return Ok(Seen { table: Table::Foreign, ..seen });
        }
        seen.asleep = table::is_asleep(&there.attributes(HEADER));
        let layout = self.layout()?;
        let user_rules = with_user_rules && !self.rules(Some(Chain::User))?.is_empty();
        seen.table = Table::Ours { layout, user_rules };
        seen.marked = self.marked;
        Ok(seen)
    }

    /// The layout that the table says it has: the newest one, and 0 where it says nothing.
    fn layout(&mut self) -> Result<u32, Error> {
        let instance = self.instance;
        let replies = self.question(table::GET_CHAIN, Flags::NONE, |body| {
            named(body, instance);
            body.text(table::CHAIN_NAME, &marker(LAYOUT));
        });
        self.marked = !present(replies)?.is_empty();
        if self.marked {
            return Ok(LAYOUT);
        }
        let replies = self.question(table::GET_CHAIN, Flags::DUMP, inet)?;
        let chains = replies.iter().filter_map(|reply| Listed::read(reply, instance));
        Ok(chains.filter_map(|chain| read_marker(chain.name())).max().unwrap_or(0))
    }

    /// The rules of the table, or of one of its chains, in their order.
    fn rules(&mut self, of: Option<Chain>) -> Result<Vec<Reply>, Error> {
        let instance = self.instance;
        present(self.question(table::GET_RULE, Flags::DUMP, |body| {
            named(body, instance);
            if let Some(chain) = of {
                body.text(table::RULE_CHAIN, &Named { chain, instance }.to_string());
            }
        }))
    }

    /// Sees which chains are not those of the layout.
    fn look_at_chains(&mut self, seen: &mut Seen) -> Result<(), Error> {
        let instance = self.instance;
        let mut rules: BTreeMap<String, Vec<Reply>> = BTreeMap::new();
        for rule in self.rules(None)? {
            let chain = rule.attributes(HEADER).get(table::RULE_CHAIN).and_then(|chain| chain.text());
            let chain = chain.unwrap_or_default().to_owned();
            rules.entry(chain).or_default().push(rule);
        }
        let replies = self.question(table::GET_CHAIN, Flags::DUMP, inet)?;
        let chains: Vec<_> = replies.iter().filter_map(|reply| Listed::read(reply, instance)).collect();
        for chain in Chain::ALL {
            let name = Named { chain, instance }.to_string();
            let held = rules.remove(&name).unwrap_or_default();
            let written = |held: &[Reply]| {
                let is = |(held, rule): (&Reply, _)| listed::is(&held.attributes(HEADER), rule, instance);
                held.len() == chain.rules().len() && held.iter().zip(chain.rules()).all(is)
            };
            match chains.iter().find(|listed| listed.name() == name) {
                Some(_) if chain == Chain::User => {}
                Some(listed) if !listed.stands_at(chain.hook()) => _ = seen.misplaced.insert(chain),
                Some(listed) if listed.accepts() && written(&held) => {}
                _ => _ = seen.damaged.insert(chain),
            }
        }
        Ok(())
    }

    /// Adds the elements of a set to what was seen.
    fn list(&mut self, set: Set, seen: &mut BTreeMap<Slot, Value>) -> Result<(), Error> {
        let instance = self.instance;
        let replies = self.question(GET_ELEMENTS, Flags::DUMP, |body| element::of_set(body, instance, set));
        seen.extend(element::read(set, &present(replies)?));
        Ok(())
    }

    /// Adds the elements at these places to what was seen.
    ///
    /// An answer holds whatever others do meanwhile. A list of a set does not: it comes in parts, and the
    /// kernel finds where the next one begins by counting, so it may lack what was there all the time. What is in it
    /// was there; so of many places of one set, just those that it lacks are asked for.
    fn ask(
        &mut self,
        places: impl Iterator<Item = Slot>,
        seen: &mut BTreeMap<Slot, Value>,
    ) -> Result<(), Error> {
        let mut left: Vec<_> = places.filter(|slot| !seen.contains_key(slot)).collect();
        for set in crowded(&left) {
            let mut listed = BTreeMap::new();
            self.list(set, &mut listed)?;
            let there = left.iter().filter_map(|slot| listed.remove_entry(slot));
            seen.extend(there);
            left.retain(|slot| !seen.contains_key(slot));
        }
        while !left.is_empty() {
            let mut batch = Batch::new();
            for slot in &left {
                batch.push(GET_ELEMENTS, Flags::NONE, |body| element::ask(body, self.instance, slot));
            }
            let absent = match self.socket.request(&mut batch) {
                Ok(replies) => {
                    seen.extend(element::read_all(replies));
                    return Ok(());
                }
                Err(linkspan_netlink::Error::Refused(refusals)) if are_of_absence(&refusals) => refusals,
                Err(e) => return Err(e.into()),
            };
            let absent: BTreeSet<_> = absent.iter().map(|refusal| refusal.message).collect();
            left =
                (0..).zip(left).filter(|(place, _)| !absent.contains(place)).map(|(_, slot)| slot).collect();
        }
        Ok(())
    }

    fn question(
        &mut self,
        kind: Kind,
        flags: Flags,
        body: impl FnOnce(&mut linkspan_netlink::Body<'_>),
    ) -> Result<Vec<Reply>, linkspan_netlink::Error> {
        let mut batch = Batch::new();
        batch.push(kind, flags, body);
        self.socket.request(&mut batch)
    }
}

const OURS: Table = Table::Ours { layout: LAYOUT, user_rules: false };

/// The sets that so many places are of that a list of all that is there is cheaper than a question for each.
fn crowded(places: &[Slot]) -> Vec<Set> {
    let mut counts = BTreeMap::new();
    places.iter().for_each(|slot| *counts.entry(slot.set).or_insert(0) += 1);
    counts.into_iter().filter(|(_, count)| *count > MANY).map(|(set, _)| set).collect()
}

fn are_of_absence(refusals: &[Refusal]) -> bool {
    !refusals.is_empty() && refusals.iter().all(|refusal| refusal.errno == Errno::ENOENT)
}

/// Absence is an empty answer.
fn present(replies: Result<Vec<Reply>, linkspan_netlink::Error>) -> Result<Vec<Reply>, Error> {
    match replies {
        Err(e) if e.errno() == Some(Errno::ENOENT) => Ok(Vec::new()),
        replies => Ok(replies?),
    }
}
