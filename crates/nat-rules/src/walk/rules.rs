use super::layout::{End, Loaded};
use super::{RuleRef, Verdict, everything};
use crate::foreign::Foreign;
use crate::iptables::{self, Family};
use crate::netfilter::{self, Care, Layer, Nat, Run, Stage, Table};
use crate::nftables::{Seen, elements_of};
use crate::{Instance, Ruleset};
use linkspan_net_types::IfName;
use std::collections::{BTreeMap, BTreeSet};

/// Our own rules as one of the firewalls has them, made ready for walks.
#[derive(Clone, Debug)]
pub struct Rules {
    instance: Instance,
    bridges: BTreeSet<IfName>,
    loaded: Backend,
}

#[derive(Clone, Debug)]
enum Backend {
    None,
    Nftables(Loaded),
    /// All that is loaded, ours and others'.
    Everything(Foreign),
    Iptables {
        v4: Vec<Table>,
        v6: Vec<Table>,
    },
}

impl Rules {
    /// A host without rules of ours; the networks say which bridges are ours all the same.
    pub fn none(instance: Instance, rules: &Ruleset) -> Self {
        Self { instance, bridges: bridges(rules), loaded: Backend::None }
    }

    /// These rules as [`crate::nftables`] loads them.
    pub fn nftables(instance: Instance, rules: &Ruleset) -> Self {
        let loaded = Loaded::new(instance, elements_of(rules));
        Self { instance, bridges: bridges(rules), loaded: Backend::Nftables(loaded) }
    }

    /// What was seen of the table: the elements that are there, with the layout's chains.
    pub fn seen(instance: Instance, seen: &Seen) -> Self {
        let loaded = Loaded::new(instance, seen.elements());
        Self { instance, bridges: seen.bridges().collect(), loaded: Backend::Nftables(loaded) }
    }

    /// These rules as [`crate::iptables`] loads them: the same lines, read again.
    pub fn iptables(instance: Instance, rules: &Ruleset) -> Self {
        let of = |family| netfilter::Family::of(family, false);
        let lines = |family| netfilter::read_saved(&iptables::text(instance, rules, family), of(family));
        let (v4, v6) = (lines(Family::V4), lines(Family::V6));
        Self { instance, bridges: bridges(rules), loaded: Backend::Iptables { v4, v6 } }
    }

    /// All rules that are loaded on a machine, ours and others', as they are: the kernel asks them in one order,
    /// and so does the walk. Of the links, these are bridges of ours.
    ///
    /// What then stops a packet may be anybody's rule ([`RuleRef::is_of`]), and so may be the rule that cannot be
    /// told; one that stops it for certain is named before one of which nobody can tell.
    pub fn everything(seen: Foreign, bridges: impl IntoIterator<Item = IfName>) -> Self {
        let (instance, bridges) = (seen.instance(), bridges.into_iter().collect());
        Self { instance, bridges, loaded: Backend::Everything(seen) }
    }

    /// The same with the rules that someone wrote into the chain for the user's own (`INSTANCE-user`), taken
    /// from what else was seen on the host.
    #[must_use]
    pub fn with_user_rules(mut self, foreign: &Foreign) -> Self {
        self.loaded = match self.loaded {
            Backend::None => Backend::None,
            // They are there already.
            Backend::Everything(seen) => Backend::Everything(seen),
            Backend::Nftables(loaded) => Backend::Nftables(match foreign.own_table() {
                Some(table) => loaded.with_dump(table.clone()),
                None => loaded,
            }),
            Backend::Iptables { mut v4, mut v6 } => {
                let user = format!("{}-user", self.instance);
                v4.iter_mut().chain(&mut v6).for_each(|table| adopt(table, foreign, &user));
                Backend::Iptables { v4, v6 }
            }
        };
        self
    }

    /// Whose rules they are.
    pub const fn instance(&self) -> Instance {
        self.instance
    }

    /// Whether this is the bridge of one of the networks.
    pub(crate) fn has_bridge(&self, link: IfName) -> bool {
        self.bridges.contains(&link)
    }

    /// What the rules do at a stage: nothing, or a translation.
    pub(super) fn at(
        &self,
        stage: &Stage,
        trace: &mut Vec<RuleRef>,
        doubt: &mut Option<RuleRef>,
    ) -> Result<Option<Nat>, Verdict> {
        match &self.loaded {
            Backend::None => Ok(None),
            Backend::Everything(seen) => everything::ask(seen, stage, trace, doubt),
            _ if stage.layer == Layer::Frame => Ok(None),
            Backend::Nftables(loaded) => by_layout(loaded, stage, trace),
            Backend::Iptables { v4, v6 } => by_lines(if stage.is_v6() { v6 } else { v4 }, stage, trace),
        }
    }
}

fn bridges(rules: &Ruleset) -> BTreeSet<IfName> {
    rules.networks().map(crate::Network::bridge).collect()
}

/// Puts into a table of ours the user's chain and every chain of others that it may jump to.
fn adopt(table: &mut Table, foreign: &Foreign, user: &str) {
    let same = |other: &&Table| other.family == table.family && other.name == table.name;
    for (name, chain) in foreign.tables().find(same).into_iter().flat_map(|other| &other.chains) {
        if name == user || (chain.base.is_none() && !table.chains.contains_key(name)) {
            table.chains.insert(name.clone(), chain.clone());
        }
    }
}

fn by_layout(loaded: &Loaded, stage: &Stage, trace: &mut Vec<RuleRef>) -> Result<Option<Nat>, Verdict> {
    for chain in Loaded::entered(stage) {
        match loaded.run(chain, stage, trace) {
            End::Through | End::Accepted => {}
            End::Translated(nat) => return Ok(Some(nat)),
            End::Dropped(rule) => return Err(Verdict::StoppedBy(rule)),
            End::Unknown(rule) => return Err(Verdict::CannotTell(rule)),
        }
    }
    Ok(None)
}

fn by_lines(tables: &[Table], stage: &Stage, trace: &mut Vec<RuleRef>) -> Result<Option<Nat>, Verdict> {
    let entered =
        tables.iter().flat_map(|table| table.entered(stage).map(move |(name, base)| (table, name, base)));
    let mut entered: Vec<_> = entered.collect();
    entered.sort_by_key(|(_, _, base)| base.priority);
    for (table, name, base) in entered {
        match Run::base(table, (name, base), stage, &BTreeMap::new(), Care::Way) {
            netfilter::End::Accepted(Some(at)) => trace.push(at.rule()),
            netfilter::End::Accepted(None) | netfilter::End::Returned => {}
            netfilter::End::Translated(at, nat) => {
                trace.push(at.rule());
                return Ok(Some(nat));
            }
            netfilter::End::Dropped(at) => {
                trace.push(at.rule());
                return Err(Verdict::StoppedBy(at.rule()));
            }
            netfilter::End::Unknown(at) => return Err(Verdict::CannotTell(at.rule())),
        }
    }
    Ok(None)
}
