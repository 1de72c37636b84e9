use super::Family;
use super::chain::{Chain, Table};
use super::difference::Difference;
use super::jumps::Rejoined;
use super::seen::{Loaded, Seen};
use super::text::{self, Rules};
use crate::{Error, Instance, Publish, Ruleset};
use std::collections::BTreeSet;
use std::fmt;

/// What to feed to `iptables-restore --noflush` and to `ip6tables-restore --noflush`.
///
/// A table that differs is written whole, as those programs want it; the `Display` names only the
/// difference, one line for each chain and rule, in the words of `iptables`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    v4: Work,
    v6: Work,
    withdrawn: Vec<Publish>,
}

/// What is to be done for one family.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Work {
    script: String,
    /// The commands that would do the same, one by one.
    difference: Vec<String>,
}

impl Plan {
    /// The text for the program of this family; empty where there is nothing to do.
    pub fn script(&self, family: Family) -> &str {
        match family {
            Family::V4 => &self.v4.script,
            Family::V6 => &self.v6.script,
        }
    }

    /// The ports that lead nowhere any more, of those that were seen and are published by address translation.
    pub fn withdrawn(&self) -> &[Publish] {
        &self.withdrawn
    }

    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.v4.script.is_empty() && self.v6.script.is_empty()
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (program, work) in [("iptables", &self.v4), ("ip6tables", &self.v6)] {
            work.difference.iter().try_for_each(|command| writeln!(f, "{program} {command}"))?;
        }
        Ok(())
    }
}

/// Decides how the chains are made to hold just these rules where this was seen.
///
/// A table that holds them already is not written. Without rules the chains go, and their jumps; the user's
/// chain stays, with its jump, as long as it holds rules, and so does, empty, a chain that a rule of someone
/// else jumps to.
///
/// Where `ip6tables` is missing, or the kernel's IPv6, networks without IPv6 have rules of IPv4 alone.
///
/// # Errors
/// [`Error::NoIpv6`] where a network or a port is of IPv6, and that family is missing.
pub fn plan(instance: Instance, rules: &Ruleset, seen: &Seen) -> Result<Plan, Error> {
    let work = |family: Family| match seen.of(family) {
        None if family.is_needed(rules) => Err(Error::NoIpv6),
        None => Ok(Work::default()),
        Some(loaded) if rules.is_empty() => Ok(Script { instance, loaded }.remove()),
        Some(loaded) => Ok(Script { instance, loaded }.write(&Rules::of(rules, family))),
    };
    let wanted: BTreeSet<_> = rules.published().copied().collect();
    let there: BTreeSet<_> =
        [Family::V4, Family::V6].into_iter().filter_map(|f| seen.of(f)).flat_map(published).collect();
    let withdrawn = there.difference(&wanted).copied().collect();
    Ok(Plan { v4: work(Family::V4)?, v6: work(Family::V6)?, withdrawn })
}

/// What the chains that publish lead to containers.
fn published(loaded: &Loaded) -> impl Iterator<Item = Publish> {
    let rules = [Chain::Dnat, Chain::DnatOut].into_iter().flat_map(|chain| loaded.rules(chain));
    rules.flat_map(|rule| text::published(rule))
}

impl Work {
    fn name(&mut self, table: Table, commands: impl IntoIterator<Item = String>) {
        self.difference.extend(commands.into_iter().map(|command| format!("-t {} {command}", table.name())));
    }
}

/// What goes of a table.
struct Removed {
    emptied: Vec<Chain>,
    jumps: Vec<Chain>,
    chains: Vec<Chain>,
}

struct Script<'a> {
    instance: Instance,
    loaded: &'a Loaded,
}

impl Script<'_> {
    fn write(&self, wanted: &Rules) -> Work {
        let mut work = Work::default();
        for table in Table::ALL.into_iter().filter(|table| !self.holds(*table, wanted)) {
            work.script += &self.table(table, self.written(table, wanted));
            work.name(table, self.difference(table, wanted));
        }
        work
    }

    /// What publishes goes before what forbids.
    fn remove(&self) -> Work {
        let mut work = Work::default();
        for table in Table::ALL.into_iter().rev() {
            let Removed { emptied, jumps, chains } = self.removed(table);
            let named =
                |command: &'static str| move |chain: &Chain| format!("{command} {}", chain.of(self.instance));
            let taken = || jumps.iter().map(|c| self.without_jump(*c)).chain(chains.iter().map(named("-X")));
            let lines: Vec<_> = emptied.iter().map(|c| self.emptied(*c)).chain(taken()).collect();
            if !lines.is_empty() {
                work.script += &self.table(table, lines);
                work.name(table, emptied.iter().map(named("-F")).chain(taken()));
            }
        }
        work
    }

    fn table(&self, table: Table, lines: Vec<String>) -> String {
        let lines = lines.into_iter().map(|line| line + "\n");
        [format!("*{}\n", table.name())].into_iter().chain(lines).chain(["COMMIT\n".to_owned()]).collect()
    }

    fn holds(&self, table: Table, wanted: &Rules) -> bool {
        let holds = |&chain: &Chain| {
            self.loaded
                .chains
                .get(&chain)
                .is_some_and(|rules| chain == Chain::User || *rules == wanted.of_chain(chain))
        };
        table.chains().iter().all(holds) && self.jumps_stand(table)
    }

    fn jumps_stand(&self, table: Table) -> bool {
        self.rejoined(table).is_empty()
    }

    fn written(&self, table: Table, wanted: &Rules) -> Vec<String> {
        let fresh = |chain: &&Chain| **chain != Chain::User || !self.loaded.chains.contains_key(chain);
        let mut lines: Vec<_> = table.chains().iter().filter(fresh).map(|c| self.emptied(*c)).collect();
        lines.extend(self.rejoined(table));
        let rules = wanted.of_table(table, self.instance).map(|rule| rule.trim_end().to_owned());
        lines.into_iter().chain(rules).collect()
    }

    /// What makes a table hold what is wanted, command by command.
    fn difference(&self, table: Table, wanted: &Rules) -> Vec<String> {
        let fresh = |chain: &&Chain| !self.loaded.chains.contains_key(chain);
        let made = table.chains().iter().filter(fresh).map(|chain| format!("-N {}", chain.of(self.instance)));
        let own = table.chains().iter().filter(|chain| **chain != Chain::User);
        let rules = own.flat_map(|&chain| {
            let difference = Difference::between(self.loaded.rules(chain), wanted.of_chain(chain));
            difference.commands(&chain.of(self.instance).to_string())
        });
        made.chain(self.rejoined(table)).chain(rules).collect()
    }

    /// The jumps that go and come.
    fn rejoined(&self, table: Table) -> Vec<String> {
        let jump = |chain: Chain| chain.of(self.instance).jump();
        let there: Vec<_> = self.loaded.jumps(table).collect();
        if table.comes_first() {
            let Rejoined { gone, come } = Rejoined::of(&there, table.chains());
            let put = |(place, chain): (usize, Chain)| {
                let jump = jump(chain);
                let (entrance, act) = jump.split_once(' ').unwrap_or((&jump, ""));
                format!("-I {entrance} {place} {act}")
            };
            return gone
                .into_iter()
                .map(|chain| self.without_jump(chain))
                .chain(come.into_iter().map(put))
                .collect();
        }
        // Each jump is in a chain of its own, so only its number counts.
        let of = |chain: &Chain| there.iter().filter(|(_, other)| other == chain).count();
        let surplus = |chain: &Chain| vec![self.without_jump(*chain); of(chain).saturating_sub(1)];
        let missing = |chain: &Chain| (of(chain) == 0).then(|| format!("-A {}", jump(*chain)));
        let (gone, come) =
            (table.chains().iter().flat_map(surplus), table.chains().iter().filter_map(missing));
        gone.chain(come).collect()
    }

    fn removed(&self, table: Table) -> Removed {
        let there = |chain: &Chain| self.loaded.chains.contains_key(chain);
        let stays = |chain: &Chain| *chain == Chain::User && !self.loaded.rules(Chain::User).is_empty();
        let goes: Vec<_> = table.chains().iter().copied().filter(|c| there(c) && !stays(c)).collect();
        Removed {
            emptied: goes.iter().copied().filter(|c| !self.loaded.rules(*c).is_empty()).collect(),
            jumps: self.loaded.jumps(table).map(|(_, chain)| chain).filter(|c| !stays(c)).collect(),
            chains: goes.into_iter().filter(|c| !self.loaded.held.contains(c)).collect(),
        }
    }

    /// Makes the chain, or empties it.
    fn emptied(&self, chain: Chain) -> String {
        format!(":{} - [0:0]", chain.of(self.instance))
    }

    fn without_jump(&self, chain: Chain) -> String {
        format!("-D {}", chain.of(self.instance).jump())
    }
}
