use super::element::{Element, Slot, Value};
use super::layout::LAYOUT;
use super::{Chain, Plan, Set, Step, elements_of};
use crate::{Change, Publish, Ruleset};
use linkspan_net_types::IfName;
use std::collections::{BTreeMap, BTreeSet};

/// What is there of a table, as far as a change or a comparison needs to know.
///
/// The default is a host without the table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    pub(crate) table: Table,
    /// The kernel passes its chains by (`NFT_TABLE_F_DORMANT`).
    pub(crate) asleep: bool,
    pub(crate) elements: BTreeMap<Slot, Value>,
    /// The chains that are missing, or whose rules or policy are not those of the layout.
    pub(crate) damaged: BTreeSet<Chain>,
    /// The chains that stand at another place of the kernel than the layout says.
    pub(crate) misplaced: BTreeSet<Chain>,
    /// The number of the kernel's latest transaction before the look.
    pub(crate) generation: Option<u32>,
    /// The table has the chain that says that it has this layout.
    pub(crate) marked: bool,
}

/// Whether the table is there, and whose it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Table {
    /// There is none of that name.
    #[default]
    Absent,
    /// It was made by someone else.
    Foreign,
    /// It is ours.
    Ours {
        /// The version of its layout.
        layout: u32,
        /// The user's chain holds rules.
        user_rules: bool,
    },
}

impl Seen {
    /// What would be seen of a table that holds just these rules.
    pub fn of(rules: &Ruleset) -> Self {
        let elements = elements_of(rules).into_iter().map(|e| (e.slot, e.value)).collect();
        Self { table: OURS, elements, ..Self::default() }
    }

    /// Whether the table is there, and whose it is.
    pub const fn table(&self) -> Table {
        self.table
    }

    /// The elements that were seen.
    pub fn elements(&self) -> impl Iterator<Item = Element> + '_ {
        self.elements.iter().map(|(slot, &value)| Element { slot: slot.clone(), value })
    }

    /// The ports that are published by address translation.
    pub fn published(&self) -> impl Iterator<Item = Publish> + '_ {
        self.elements().filter_map(|element| element.published())
    }

    /// The ports that a change publishes and that lead elsewhere: in its way, unless it withdraws them.
    ///
    /// ```
    /// use linkspan_nat_rules::nftables::{self, Seen};
    /// use linkspan_nat_rules::{Change, Destination, Instance, Publish, Ruleset};
    /// use linkspan_net_types::{Port, Protocol};
    ///
    /// let port = Port::new(80).ok_or("a port")?;
    /// let to = |address: &str| address.parse().map(|a| Publish::nat(Protocol::Tcp, port, Destination::new(a, port)));
    /// let seen = Seen::of(&Ruleset::new().after(&Change::new().publish(to("10.88.1.2")?))?);
    ///
    /// let taken = Change::new().publish(to("10.88.1.3")?);
    /// assert_eq!(seen.in_the_way(&taken).collect::<Vec<_>>(), [to("10.88.1.2")?]);
    /// let cleared = taken.clone().withdraw_all(seen.in_the_way(&taken));
    /// assert!(nftables::plan(Instance::default(), &cleared, &seen).is_ok());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn in_the_way<'a>(&'a self, change: &'a Change) -> impl Iterator<Item = Publish> + 'a {
        change.published().iter().map(Element::of_publish).filter_map(|wanted| {
            let value = *self.elements.get(&wanted.slot).filter(|value| **value != wanted.value)?;
            Element { value, ..wanted }.published()
        })
    }

    /// The bridges whose networks are in the table.
    pub fn bridges(&self) -> impl Iterator<Item = IfName> + '_ {
        self.elements.keys().filter(|slot| slot.set == Set::Bridges).filter_map(Slot::link)
    }

    /// The chains that are not as the layout has them.
    pub fn damaged(&self) -> impl Iterator<Item = Chain> + '_ {
        self.damaged.union(&self.misplaced).copied()
    }

    /// What would be seen once the plan is carried out.
    #[must_use]
    pub fn after(&self, plan: &Plan) -> Self {
        let mut seen = self.clone();
        plan.steps().iter().for_each(|step| seen.take(step));
        seen
    }

    /// What another look saw, and also this one where the kernel carried out nothing between them.
    #[cfg(feature = "kernel")]
    pub(crate) fn with(mut self, other: Self) -> Self {
        if self.generation.is_none() || self.generation != other.generation {
            return other;
        }
        self.elements.extend(other.elements);
        Self { elements: self.elements, ..other }
    }

    /// Follows a plan that the kernel's next transaction carried out.
    #[cfg(feature = "kernel")]
    pub(crate) fn follow(&mut self, plan: &Plan) {
        plan.steps().iter().for_each(|step| self.take(step));
        if !plan.is_empty() {
            self.generation = self.generation.map(|generation| generation.wrapping_add(1));
        }
    }

    fn take(&mut self, step: &Step) {
        match step {
            Step::MakeTable => *self = Self { table: OURS, ..Self::default() },
            Step::Wake => self.asleep = false,
            Step::DropTable => *self = Self::default(),
            Step::Swap { .. } => {
                self.table = Table::Ours { layout: LAYOUT, user_rules: self.has_user_rules() }
            }
            Step::Rewrite(chain) => _ = self.damaged.remove(chain),
            Step::Remake(chain) => _ = self.misplaced.remove(chain),
            Step::Add(element) => _ = self.elements.insert(element.slot.clone(), element.value),
            Step::Remove(element) => _ = self.elements.remove(&element.slot),
        }
    }

    /// Whether the user's chain holds rules.
    pub(crate) const fn has_user_rules(&self) -> bool {
        matches!(self.table, Table::Ours { user_rules: true, .. })
    }

    /// Whether just this element is there.
    pub(crate) fn has(&self, element: &Element) -> bool {
        self.elements.get(&element.slot) == Some(&element.value)
    }
}

const OURS: Table = Table::Ours { layout: LAYOUT, user_rules: false };
