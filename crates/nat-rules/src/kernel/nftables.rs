use super::element;
use super::table::{self, named};
use super::{HEADER, inet};
use crate::nftables::text::Named;
use crate::nftables::{Chain, Element, LAYOUT, Plan, Seen, Set, Slot, Step, Table, Value, plan, reconcile};
use crate::{Change, Error, Instance, Ruleset};
use linkspan_net_types::Errno;
use linkspan_netlink::{Batch, Family, Flags, Kind, Refusal, Reply, Socket};
use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::BorrowedFd;

const NEW_ELEMENTS: Kind = Kind::nftables(12);
const GET_ELEMENTS: Kind = Kind::nftables(13);
const DELETE_ELEMENTS: Kind = Kind::nftables(14);
const GET_GENERATION: Kind = Kind::nftables(16);
/// `NFTA_GEN_ID`.
const GENERATION: u16 = 1;
/// `NFNL_BATCH_GENID` of `linux/netfilter/nfnetlink.h`.
const BATCH_GENERATION: u16 = 1;
/// `struct nfgenmsg` of the edges of a batch, with `NFNL_SUBSYS_NFTABLES` in network order.
const EDGE: [u8; 4] = [0, 0, 0, 10];

/// The length of an attribute has 16 bits, and an element takes at most 100 bytes.
const ELEMENTS_A_MESSAGE: usize = 600;
/// Asking for more places of a set than this costs more than listing the set.
const QUESTIONS: usize = 64;
/// Each lost race is one that another process has won.
const ATTEMPTS: usize = 100;

/// The table of an instance in the nftables of a network namespace.
///
/// Closing it after a removal waits for an RCU grace period of the kernel, so a long-lived process keeps it.
#[derive(Debug)]
pub struct Nftables {
    instance: Instance,
    socket: Socket,
    /// The table was ours at the last look, and nothing was refused since.
    stands: bool,
}

impl Nftables {
    /// Opens the nftables of the calling thread's network namespace; changes nothing.
    ///
    /// # Errors
    /// [`Error::Netlink`].
    pub fn open(instance: Instance) -> Result<Self, Error> {
        Ok(Self { instance, socket: Socket::open(Family::Netfilter)?, stands: false })
    }

    /// Opens the nftables of this network namespace; changes nothing.
    ///
    /// # Errors
    /// [`Error::Netlink`].
    pub fn open_in(instance: Instance, namespace: BorrowedFd<'_>) -> Result<Self, Error> {
        Ok(Self { instance, socket: Socket::open_in(namespace, Family::Netfilter)?, stands: false })
    }

    /// Sees just what concerns a change. Of ports it asks one by one, so what else is published does not
    /// matter, until they are so many that the list is cheaper. A change of ports only takes a table that was
    /// seen before for one that is still there: if it is not, the transaction is refused.
    ///
    /// # Errors
    /// [`Error::Netlink`].
    pub fn look(&mut self, change: &Change) -> Result<Seen, Error> {
        let networks = !change.added().is_empty() || !change.removed().is_empty();
        let generation = self.generation(networks)?;
        let table = if self.stands && !networks { OURS } else { self.table(networks)? };
        let mut seen = Seen { table, generation, ..Seen::default() };
        if !matches!(seen.table(), Table::Ours { .. }) {
            return Ok(seen);
        }
        if networks {
            let of_networks = Set::ALL.into_iter().filter(|set| !set.holds_ports());
            of_networks.into_iter().try_for_each(|set| self.list(set, &mut seen.elements))?;
        }
        let mut asked: BTreeMap<Set, BTreeSet<Slot>> = BTreeMap::new();
        for publish in change.published().iter().chain(change.withdrawn()) {
            let slot = Element::of_publish(publish).slot;
            asked.entry(slot.set).or_default().insert(slot);
        }
        for (set, slots) in asked {
            match slots.len() {
                0..=QUESTIONS => slots.iter().try_for_each(|slot| self.ask(slot, &mut seen.elements))?,
                _ => self.list(set, &mut seen.elements)?,
            }
        }
        Ok(seen)
    }

    /// Sees the whole table.
    ///
    /// # Errors
    /// [`Error::Netlink`].
    pub fn look_at_all(&mut self) -> Result<Seen, Error> {
        let generation = self.generation(true)?;
        let mut seen = Seen { table: self.table(true)?, generation, ..Seen::default() };
        if matches!(seen.table(), Table::Ours { .. }) {
            Set::ALL.into_iter().try_for_each(|set| self.list(set, &mut seen.elements))?;
            seen.damaged = self.damaged()?;
        }
        Ok(seen)
    }

    /// Carries out a plan as one transaction: the whole of it, or nothing.
    ///
    /// # Errors
    /// [`Error::Refused`] with the step; [`Error::is_overtaken`] tells whether the reason may be that the
    /// table changed since the look.
    pub fn apply(&mut self, plan: &Plan) -> Result<(), Error> {
        if plan.is_empty() {
            return Ok(());
        }
        let (mut batch, steps) = transaction(plan);
        match self.socket.send(&mut batch) {
            Ok(()) => Ok(()),
            Err(linkspan_netlink::Error::Refused(refusals)) => {
                self.stands = false;
                Err(refused(refusals, plan, &steps))
            }
            Err(e) => Err(e.into()),
        }
    }

    /// Makes a change: looks, plans and applies, again where another process was faster. Returns what was
    /// done.
    ///
    /// # Errors
    /// As [`plan`] and [`Self::apply`]; nothing was done then.
    pub fn change(&mut self, change: &Change) -> Result<Plan, Error> {
        self.until_current(|door| plan(door.instance, change, &door.look(change)?))
    }

    /// Makes the table hold just these rules. Returns the difference that was mended; the plan is empty
    /// where there was none.
    ///
    /// # Errors
    /// As [`reconcile`] and [`Self::apply`]; nothing was done then.
    pub fn reconcile(&mut self, rules: &Ruleset) -> Result<Plan, Error> {
        self.until_current(|door| reconcile(door.instance, rules, &door.look_at_all()?))
    }

    fn until_current(
        &mut self,
        mut decide: impl FnMut(&mut Self) -> Result<Plan, Error>,
    ) -> Result<Plan, Error> {
        let mut attempt = 1;
        loop {
            let plan = decide(self)?;
            match self.apply(&plan) {
                Err(e) if e.is_overtaken() && attempt < ATTEMPTS => attempt += 1,
                done => return done.map(|()| plan),
            }
        }
    }

    /// The number of the kernel's latest transaction, where it is wanted.
    fn generation(&mut self, wanted: bool) -> Result<Option<u32>, Error> {
        if !wanted {
            return Ok(None);
        }
        let replies = self.question(GET_GENERATION, Flags::NONE, |body| body.bytes(&[0; HEADER]))?;
        Ok(replies.iter().find_map(|reply| reply.attributes(HEADER).get(GENERATION)?.be32()))
    }

    fn table(&mut self, with_user_rules: bool) -> Result<Table, Error> {
        let instance = self.instance;
        let table = match self.question(table::GET_TABLE, Flags::NONE, |body| named(body, instance)) {
            Ok(replies) => match replies.first().and_then(table::layout) {
                Some(layout) => Table::Ours { layout, user_rules: with_user_rules && self.has_user_rules()? },
                None => Table::Foreign,
            },
            Err(e) if e.errno() == Some(Errno::ENOENT) => Table::Absent,
            Err(e) => return Err(e.into()),
        };
        self.stands = matches!(table, Table::Ours { layout: LAYOUT, .. });
        Ok(table)
    }

    fn has_user_rules(&mut self) -> Result<bool, Error> {
        Ok(self.rules(Some(Chain::User))?.values().any(|&rules| rules > 0))
    }

    /// How many rules the chains of the table hold, by their names.
    fn rules(&mut self, of: Option<Chain>) -> Result<BTreeMap<String, usize>, Error> {
        let instance = self.instance;
        let replies = self.question(table::GET_RULE, Flags::DUMP, |body| {
            named(body, instance);
            if let Some(chain) = of {
                body.text(table::RULE_CHAIN, &Named { chain, instance }.to_string());
            }
        })?;
        let mut rules = BTreeMap::new();
        for name in replies.iter().filter_map(|reply| reply.attributes(HEADER).get(table::RULE_CHAIN)) {
            *rules.entry(name.text().unwrap_or_default().to_owned()).or_default() += 1;
        }
        Ok(rules)
    }

    /// The chains that are missing or hold another number of rules than the layout has.
    fn damaged(&mut self) -> Result<BTreeSet<Chain>, Error> {
        let instance = self.instance;
        let rules = self.rules(None)?;
        let replies = self.question(table::GET_CHAIN, Flags::DUMP, inet)?;
        let ours = |reply: &&Reply| {
            reply.attributes(HEADER).get(table::TABLE).and_then(|t| t.text()) == Some(instance.as_str())
        };
        let name = |reply: &Reply| Some(reply.attributes(HEADER).get(table::CHAIN_NAME)?.text()?.to_owned());
        let chains: BTreeSet<_> = replies.iter().filter(ours).filter_map(name).collect();
        let sound = |chain: Chain| {
            let name = Named { chain, instance }.to_string();
            let count = rules.get(&name).copied().unwrap_or(0);
            chains.contains(&name) && (chain == Chain::User || count == chain.rules().len())
        };
        Ok(Chain::ALL.into_iter().filter(|chain| !sound(*chain)).collect())
    }

    /// Adds the elements of a set to what was seen.
    fn list(&mut self, set: Set, seen: &mut BTreeMap<Slot, Value>) -> Result<(), Error> {
        let instance = self.instance;
        let replies = self.question(GET_ELEMENTS, Flags::DUMP, |body| element::of_set(body, instance, set));
        seen.extend(element::read(set, &present(replies)?));
        Ok(())
    }

    /// Adds the element at one place to what was seen.
    fn ask(&mut self, slot: &Slot, seen: &mut BTreeMap<Slot, Value>) -> Result<(), Error> {
        let instance = self.instance;
        let replies = self.question(GET_ELEMENTS, Flags::NONE, |body| element::ask(body, instance, slot));
        seen.extend(element::read(slot.set, &present(replies)?));
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

impl Set {
    /// Whether its elements are published ports.
    const fn holds_ports(self) -> bool {
        use Set::{Open4, Open6, Pub4, Pub4At, Pub6, Pub6At};
        matches!(self, Open4 | Open6 | Pub4 | Pub4At | Pub6 | Pub6At)
    }
}

/// Absence is an empty answer.
fn present(replies: Result<Vec<Reply>, linkspan_netlink::Error>) -> Result<Vec<Reply>, Error> {
    match replies {
        Err(e) if e.errno() == Some(Errno::ENOENT) => Ok(Vec::new()),
        replies => Ok(replies?),
    }
}

/// The messages of a plan, and for each of them the place of its first step.
fn transaction(plan: &Plan) -> (Batch, Vec<usize>) {
    let mut batch = Batch::new();
    let mut steps = Vec::new();
    batch.push(Kind::BATCH_BEGIN, Flags::NONE, |body| {
        body.bytes(&EDGE);
        if let Some(generation) = plan.generation {
            body.be32(BATCH_GENERATION, generation);
        }
    });
    steps.resize(batch.len(), 0);
    let mut first = 0;
    for run in plan.steps.chunk_by(alike).flat_map(|run| run.chunks(ELEMENTS_A_MESSAGE)) {
        perform(&mut batch, plan.instance, run);
        steps.resize(batch.len(), first);
        first += run.len();
    }
    batch.push(Kind::BATCH_END, Flags::NONE, |body| body.bytes(&EDGE));
    (batch, steps)
}

/// Whether two steps can be one message.
fn alike(a: &Step, b: &Step) -> bool {
    match (a, b) {
        (Step::Add(a), Step::Add(b)) | (Step::Remove(a), Step::Remove(b)) => a.set() == b.set(),
        _ => false,
    }
}

/// Writes the messages of steps that are alike.
fn perform(batch: &mut Batch, instance: Instance, run: &[Step]) {
    let elements = run.iter().filter_map(|step| match step {
        Step::Add(element) | Step::Remove(element) => Some(element),
        _ => None,
    });
    match run.first() {
        None => {}
        Some(Step::MakeTable) => table::make(batch, instance),
        Some(Step::DropTable) => {
            batch.push(table::DELETE_TABLE, Flags::NONE, |body| named(body, instance));
        }
        Some(Step::Rewrite(chain)) => table::rewrite(batch, instance, *chain),
        Some(Step::Add(first)) => batch.push(NEW_ELEMENTS, Flags::CREATE, |body| {
            element::write(body, instance, first.set(), elements);
        }),
        Some(Step::Remove(first)) => batch.push(DELETE_ELEMENTS, Flags::NONE, |body| {
            element::write(body, instance, first.set(), elements);
        }),
    }
}

/// Names the step whose message was refused.
fn refused(refusals: Vec<Refusal>, plan: &Plan, steps: &[usize]) -> Error {
    let Some(Refusal { message, errno, text, .. }) = refusals.into_iter().next() else {
        return linkspan_netlink::Error::Malformed.into();
    };
    if errno == Error::RESTART {
        return Error::Overtaken { instance: plan.instance, source: errno };
    }
    let first = steps.get(message).copied().unwrap_or(0);
    let run = plan.steps.get(first..).and_then(|rest| rest.chunk_by(alike).next()).unwrap_or_default();
    let step = run.first().map(|step| step.of(plan.instance).to_string()).unwrap_or_default();
    let others = run.len().min(ELEMENTS_A_MESSAGE).saturating_sub(1);
    let step = if others == 0 { step } else { format!("{step} with {others} others") };
    Error::Refused { step, text, source: errno }
}
