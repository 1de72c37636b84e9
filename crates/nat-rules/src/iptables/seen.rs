use super::Family;
use super::chain::{Chain, Table};
use crate::Instance;
use std::collections::{BTreeMap, BTreeSet};

/// What `iptables-save` and `ip6tables-save` showed of an instance's chains.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    v4: Loaded,
    v6: Option<Loaded>,
}

impl Seen {
    /// Reads what the programs printed; without a text for IPv6, that family is missing on this host.
    ///
    /// Chains and rules of others are passed over. No text makes it fail.
    pub fn read(instance: Instance, v4: &str, v6: Option<&str>) -> Self {
        Self { v4: Loaded::read(instance, v4), v6: v6.map(|text| Loaded::read(instance, text)) }
    }

    /// Whether a chain of the instance is there, in either family.
    pub fn has_chains(&self) -> bool {
        [Some(&self.v4), self.v6.as_ref()].into_iter().flatten().any(|loaded| !loaded.chains.is_empty())
    }

    pub(super) const fn of(&self, family: Family) -> Option<&Loaded> {
        match family {
            Family::V4 => Some(&self.v4),
            Family::V6 => self.v6.as_ref(),
        }
    }
}

/// What is there of one family.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Loaded {
    /// The rules of each chain of ours that is there, without command and chain.
    pub(super) chains: BTreeMap<Chain, Vec<String>>,
    /// Our own jumps, in their order, each as often as it is there, with its place among all rules of the chain
    /// that it is in, counted from 1.
    pub(super) jumps: Vec<(usize, Chain)>,
    /// The chains of ours that rules of others jump to.
    pub(super) held: BTreeSet<Chain>,
}

impl Loaded {
    fn read(instance: Instance, text: &str) -> Self {
        let mut loaded = Self::default();
        let mut table = None;
        // How many rules each chain has so far. A table that a text has twice goes on where it ended.
        let mut rules: BTreeMap<(Table, &str), usize> = BTreeMap::new();
        for line in text.lines() {
            if let Some(name) = line.strip_prefix('*') {
                table = Table::ALL.into_iter().find(|table| table.name() == name);
            } else if let Some(table) = table {
                let of = line.strip_prefix("-A ").map(|rule| rule.split(' ').next().unwrap_or(rule));
                let place = of.map(|chain| rules.entry((table, chain)).and_modify(|n| *n += 1).or_insert(1));
                loaded.take(instance, table, line, place.map_or(0, |place| *place));
            }
        }
        loaded
    }

    /// Takes a line; a rule has this place in its chain.
    fn take(&mut self, instance: Instance, table: Table, line: &str, place: usize) {
        let ours = |name: &str| table.chains().iter().copied().find(|c| c.of(instance).to_string() == name);
        if let Some(declared) = line.strip_prefix(':') {
            let name = declared.split(' ').next().unwrap_or_default();
            self.chains.extend(ours(name).map(|chain| (chain, Vec::new())));
        } else if let Some(rule) = line.strip_prefix("-A ") {
            let (chain, rest) = rule.split_once(' ').unwrap_or((rule, ""));
            if let Some(chain) = ours(chain) {
                self.chains.entry(chain).or_default().push(rest.to_owned());
            } else if let Some(chain) = table.chains().iter().find(|c| c.of(instance).jump() == rule) {
                self.jumps.push((place, *chain));
            } else {
                let mut words = rest.split(' ').skip_while(|word| !matches!(*word, "-j" | "-g")).skip(1);
                self.held.extend(words.next().and_then(ours));
            }
        }
    }

    pub(super) fn rules(&self, chain: Chain) -> &[String] {
        self.chains.get(&chain).map_or(&[], Vec::as_slice)
    }

    pub(super) fn jumps(&self, table: Table) -> impl Iterator<Item = (usize, Chain)> {
        self.jumps.iter().copied().filter(move |(_, chain)| table.chains().contains(chain))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_rules_of_a_chain_have_one_place() {
        let table = "*filter\n-A FORWARD -j linkspan-user\n-A FORWARD -j LINKSPAN-FORWARD\nCOMMIT\n";
        let seen = Loaded::read(Instance::default(), &table.repeat(2));
        let jumps: Vec<_> = seen.jumps(Table::Filter).collect();
        assert_eq!(jumps, [(1, Chain::User), (2, Chain::Forward), (3, Chain::User), (4, Chain::Forward)]);
    }
}
