use super::element::{Element, Slot, Value};
use super::layout::{Chain, LAYOUT};
use super::text::{Named, marker};
use super::{Seen, Set, Table, elements_of};
use crate::ruleset::refuse_overlap;
use crate::{Change, Error, Instance, Network, Publish, Ruleset, Way};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// One step of a plan; its `Display` names the element as nft does.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Step {
    /// Makes the table with its sets, chains and rules.
    MakeTable,
    /// Wakes the table, whose chains the kernel passes by as long as it sleeps.
    Wake,
    /// Makes the table one of this layout; the steps behind it write what that layout has otherwise.
    Swap {
        /// The layout that it has, older than [`LAYOUT`].
        from: u32,
    },
    /// Puts the rules of a chain back in place of what is there, and the chain where it is missing.
    Rewrite(Chain),
    /// Puts a chain back that stands at another place of the kernel than the layout says.
    Remake(Chain),
    /// Takes an element out.
    Remove(Element),
    /// Puts an element in.
    Add(Element),
    /// Removes the table with all that is in it.
    DropTable,
}

/// The steps that a change needs where just this was seen.
///
/// Its `Display` has one line for each step, in the words of nft.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    pub(crate) instance: Instance,
    pub(crate) steps: Vec<Step>,
    /// The kernel's latest transaction, where another one makes the plan void.
    pub(crate) generation: Option<u32>,
    /// Without the chain that says that the table has this layout, the plan is void.
    pub(crate) marked: bool,
    withdrawn: Vec<Publish>,
}

impl Plan {
    fn of(instance: Instance, steps: Vec<Step>, seen: &Seen) -> Self {
        let withdrawn = steps.iter().flat_map(|step| step.withdrawn(seen)).collect();
        Self { instance, steps, generation: seen.generation, marked: seen.marked, withdrawn }
    }

    /// The ports that lead nowhere any more, of those that were seen and are published by address translation.
    pub fn withdrawn(&self) -> &[Publish] {
        &self.withdrawn
    }

    /// Whose table it is about.
    pub const fn instance(&self) -> Instance {
        self.instance
    }

    /// Its steps, in their order.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }
}

/// Decides how a change is made where this was seen.
///
/// What is there already is not added, what is absent is not removed; an element that leads elsewhere than
/// the change says belongs to another and stays. The table comes with its first element and goes with the
/// last network, unless the user's chain holds rules.
///
/// # Errors
/// [`Error::PortTaken`], [`Error::BridgeTaken`] and [`Error::Overlap`] where what comes contradicts what is
/// there; [`Error::ForeignTable`] and [`Error::Layout`] where the table is not one to write to. A table of
/// an older layout is made one of this layout by the same plan.
///
/// ```
/// use linkspan_nat_rules::nftables::{self, Seen};
/// use linkspan_nat_rules::{Change, Destination, Instance, Publish, Ruleset};
/// use linkspan_net_types::{Port, Protocol};
///
/// let (http, alt) = (Port::new(80).ok_or("a port")?, Port::new(8080).ok_or("a port")?);
/// let to = |address: &str| address.parse().map(|a| Publish::nat(Protocol::Tcp, alt, Destination::new(a, http)));
/// let seen = Seen::of(&Ruleset::new().after(&Change::new().publish(to("10.88.1.2")?))?);
///
/// let moved = Change::new().withdraw(to("10.88.1.2")?).publish(to("10.88.1.3")?);
/// let plan = nftables::plan(Instance::default(), &moved, &seen)?;
/// assert_eq!(plan.to_string(), "\
/// delete element inet linkspan pub4 { tcp . 8080 : 10.88.1.2 . 80 }
/// add element inet linkspan pub4 { tcp . 8080 : 10.88.1.3 . 80 }
/// ");
/// let stolen = Change::new().publish(to("10.88.1.4")?);
/// assert!(nftables::plan(Instance::default(), &stolen, &seen).is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn plan(instance: Instance, change: &Change, seen: &Seen) -> Result<Plan, Error> {
    let here = is_here(instance, seen)?;
    let withdrawn = change.withdrawn().iter().map(Element::of_publish);
    let gone: BTreeSet<_> = change.removed().iter().flat_map(Element::of_network).chain(withdrawn).collect();
    let left = Left { seen, gone: &gone };
    change.added().iter().try_for_each(|network| left.takes(network))?;
    change.published().iter().try_for_each(|publish| left.leads(publish))?;

    let published = change.published().iter().map(Element::of_publish);
    let come: BTreeSet<_> = change.added().iter().flat_map(Element::of_network).chain(published).collect();
    let last = !change.removed().is_empty() && change.added().is_empty() && !left.has_network();
    if here && last && !seen.has_user_rules() {
        return Ok(Plan::of(instance, vec![Step::DropTable], seen));
    }
    let mut steps = mending(seen);
    steps.extend(difference(here, seen, gone.difference(&come).filter(|e| seen.has(e)), &come));
    let plan = Plan::of(instance, steps, seen);
    // A port is decided by its own place alone, but a network by all the others: whether it overlaps one,
    // and whether it is the last.
    let generation = plan.generation.filter(|_| !plan.steps.iter().all(Step::is_about_a_port));
    Ok(Plan { generation, ..plan })
}

/// Decides how a change of ports is made by what is remembered of the table; `None` where only a look can tell.
///
/// What is not remembered is taken for absent, and what is added must be, or the kernel refuses it: so whoever carries
/// the plan out knows what is there then. It is void once anyone else wrote to the tables of the host.
#[cfg(feature = "kernel")]
pub(crate) fn remembered(instance: Instance, change: &Change, seen: &Seen) -> Option<Plan> {
    if !seen.marked || !change.removed().is_empty() {
        return None;
    }
    let gone: BTreeSet<_> = change.withdrawn().iter().map(Element::of_publish).collect();
    let come: BTreeSet<_> = change.published().iter().map(Element::of_publish).collect();
    let networks = change.added().iter().flat_map(Element::of_network);
    let is_known = networks.chain(gone.iter().cloned()).all(|element| seen.has(&element));
    let left = Left { seen, gone: &gone };
    let is_free = change.published().iter().all(|publish| left.leads(publish).is_ok());
    if !(is_known && is_free) {
        return None;
    }
    let steps = difference(true, seen, gone.difference(&come), &come);
    Some(Plan::of(instance, steps, seen))
}

/// Decides how the table is made to hold just these rules.
///
/// The steps name the difference; where there is none the plan is empty. The user's chain is left alone.
///
/// # Errors
/// [`Error::ForeignTable`] and [`Error::Layout`] where the table is not one to write to.
pub fn reconcile(instance: Instance, rules: &Ruleset, seen: &Seen) -> Result<Plan, Error> {
    let here = is_here(instance, seen)?;
    let wanted = elements_of(rules);
    let keep = !wanted.is_empty() || seen.has_user_rules();
    let mut steps = Vec::new();
    if here && keep {
        steps = mending(seen);
        let surplus: Vec<_> = seen.elements().filter(|element| !wanted.contains(element)).collect();
        steps.extend(difference(here, seen, surplus.iter(), &wanted));
    } else if here {
        steps.push(Step::DropTable);
    } else {
        steps.extend(difference(here, seen, [].iter(), &wanted));
    }
    Ok(Plan::of(instance, steps, seen))
}

/// Decides what of the table goes because none of these rules wants it; what is missing of them stays missing.
///
/// # Errors
/// [`Error::ForeignTable`] and [`Error::Layout`] where the table is not one to write to.
pub fn prune(instance: Instance, rules: &Ruleset, seen: &Seen) -> Result<Plan, Error> {
    let here = is_here(instance, seen)?;
    let wanted = elements_of(rules);
    let steps = if here && wanted.is_empty() && !seen.has_user_rules() {
        vec![Step::DropTable]
    } else {
        seen.elements().filter(|element| !wanted.contains(element)).map(Step::Remove).collect()
    };
    Ok(Plan::of(instance, steps, seen))
}

/// What makes the chains those of the layout.
fn mending(seen: &Seen) -> Vec<Step> {
    let swap = match seen.table {
        Table::Ours { layout, .. } if layout != LAYOUT => Some(Step::Swap { from: layout }),
        _ => None,
    };
    let wake = seen.asleep.then_some(Step::Wake);
    let misplaced = seen.misplaced.iter().copied().map(Step::Remake);
    wake.into_iter()
        .chain(swap)
        .chain(misplaced)
        .chain(seen.damaged.iter().copied().map(Step::Rewrite))
        .collect()
}

fn is_here(instance: Instance, seen: &Seen) -> Result<bool, Error> {
    match seen.table {
        Table::Absent => Ok(false),
        Table::Foreign => Err(Error::ForeignTable { instance }),
        Table::Ours { layout, .. } if layout > LAYOUT => Err(Error::Layout { instance, seen: layout }),
        Table::Ours { .. } => Ok(true),
    }
}

fn difference<'a>(
    here: bool,
    seen: &Seen,
    gone: impl Iterator<Item = &'a Element>,
    come: &BTreeSet<Element>,
) -> Vec<Step> {
    let make = Some(Step::MakeTable).filter(|_| !here && !come.is_empty());
    let gone = gone.cloned().map(Step::Remove);
    let come = come.iter().filter(|element| !seen.has(element)).cloned().map(Step::Add);
    make.into_iter().chain(gone).chain(come).collect()
}

/// What is left of what was seen once some of it is gone.
struct Left<'a> {
    seen: &'a Seen,
    gone: &'a BTreeSet<Element>,
}

impl Left<'_> {
    fn stays(&self, slot: &Slot, value: Value) -> bool {
        !self.gone.contains(&Element { slot: slot.clone(), value })
    }

    fn elements(&self) -> impl Iterator<Item = (&Slot, Value)> {
        self.seen.elements.iter().map(|(slot, &value)| (slot, value)).filter(|(s, v)| self.stays(s, *v))
    }

    fn has_network(&self) -> bool {
        self.elements().any(|(slot, _)| slot.set == Set::Bridges)
    }

    /// Refuses a network where what is left says something else of its bridge or its subnets.
    fn takes(&self, network: &Network) -> Result<(), Error> {
        let bridge = network.bridge();
        let held: Vec<_> = self.elements().filter_map(|(slot, _)| slot.owned()).collect();
        let others: Vec<_> = held.into_iter().filter(|(_, holder)| *holder != bridge).collect();
        network.subnets().try_for_each(|subnet| refuse_overlap(subnet, bridge, &others))?;

        let own: BTreeMap<_, _> =
            Element::of_network(network).into_iter().map(|e| (e.slot, e.value)).collect();
        let contradicts = |slot: &Slot, value| slot.concerns(network) && own.get(slot) != Some(&value);
        match self.elements().any(|(slot, value)| contradicts(slot, value)) {
            true => Err(Error::BridgeTaken { bridge }),
            false => Ok(()),
        }
    }

    /// Refuses a port where what is left leads it elsewhere.
    fn leads(&self, publish: &Publish) -> Result<(), Error> {
        let wanted = Element::of_publish(publish);
        let there =
            self.seen.elements.get_key_value(&wanted.slot).filter(|(_, value)| **value != wanted.value);
        match (there, publish.way()) {
            (Some((slot, &value @ Value::To(holder))), Way::Nat { at, port }) if self.stays(slot, value) => {
                Err(Error::PortTaken { protocol: publish.protocol(), at, port, holder })
            }
            _ => Ok(()),
        }
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.steps.iter().try_for_each(|step| writeln!(f, "{}", step.of(self.instance)))
    }
}

impl Step {
    const fn is_about_a_port(&self) -> bool {
        matches!(self, Self::Add(element) | Self::Remove(element) if element.set().holds_ports())
    }

    /// The ports that lead nowhere after it.
    fn withdrawn(&self, seen: &Seen) -> Vec<Publish> {
        match self {
            Self::Remove(element) => element.published().into_iter().collect(),
            Self::DropTable => seen.published().collect(),
            _ => Vec::new(),
        }
    }

    /// The step in the words of nft, for the table of this instance.
    pub fn of(&self, instance: Instance) -> impl fmt::Display + '_ {
        Worded { step: self, instance }
    }
}

struct Worded<'a> {
    step: &'a Step,
    instance: Instance,
}

impl fmt::Display for Worded<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let table = self.instance;
        match self.step {
            Step::MakeTable | Step::Wake => write!(f, "add table inet {table}"),
            Step::DropTable => write!(f, "delete table inet {table}"),
            Step::Swap { from } => {
                write!(f, "rename chain inet {table} {} {}", marker(*from), marker(LAYOUT))
            }
            Step::Rewrite(chain) => {
                write!(f, "flush chain inet {table} {}", Named { chain: *chain, instance: table })
            }
            Step::Remake(chain) => {
                write!(f, "delete chain inet {table} {}", Named { chain: *chain, instance: table })
            }
            Step::Add(e) => write!(f, "add element inet {table} {} {{ {e} }}", e.set().as_str()),
            Step::Remove(e) => write!(f, "delete element inet {table} {} {{ {e} }}", e.set().as_str()),
        }
    }
}
