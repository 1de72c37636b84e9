use super::Family;
use super::chain::{Chain, Table};
use super::seen::{Loaded, Seen};
use super::text::Rules;
use crate::{Error, Instance, Ruleset};
use std::fmt;

/// What to feed to `iptables-restore --noflush` and to `ip6tables-restore --noflush`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    v4: String,
    v6: String,
}

impl Plan {
    /// The text for the program of this family; empty where there is nothing to do.
    pub fn script(&self, family: Family) -> &str {
        match family {
            Family::V4 => &self.v4,
            Family::V6 => &self.v6,
        }
    }

    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.v4.is_empty() && self.v6.is_empty()
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (program, script) in [("iptables-restore", &self.v4), ("ip6tables-restore", &self.v6)] {
            if !script.is_empty() {
                write!(f, "{program} --noflush\n{script}")?;
            }
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
/// # Errors
/// [`Error::NoIpv6`] where IPv6 rules are wanted and that family is missing.
pub fn plan(instance: Instance, rules: &Ruleset, seen: &Seen) -> Result<Plan, Error> {
    let script = |family| match (Rules::of(rules, family), seen.of(family)) {
        (None, None) => Ok(String::new()),
        (Some(_), None) => Err(Error::NoIpv6),
        (Some(wanted), Some(loaded)) => Ok(Script { instance, loaded }.write(&wanted)),
        (None, Some(loaded)) => Ok(Script { instance, loaded }.remove()),
    };
    Ok(Plan { v4: script(Family::V4)?, v6: script(Family::V6)? })
}

struct Script<'a> {
    instance: Instance,
    loaded: &'a Loaded,
}

impl Script<'_> {
    fn write(&self, wanted: &Rules) -> String {
        let stale = Table::ALL.into_iter().filter(|table| !self.holds(*table, wanted));
        stale.map(|table| self.table(table, self.written(table, wanted))).collect()
    }

    /// What publishes goes before what forbids.
    fn remove(&self) -> String {
        let tables = Table::ALL.into_iter().rev().map(|table| (table, self.removed(table)));
        tables.filter(|(_, lines)| !lines.is_empty()).map(|(table, lines)| self.table(table, lines)).collect()
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
        // Each jump in `nat` is in a chain of its own, so only its number counts.
        let mut jumps: Vec<_> = self.loaded.jumps(table).collect();
        if !table.comes_first() {
            jumps.sort_unstable();
        }
        jumps == table.chains()
    }

    fn written(&self, table: Table, wanted: &Rules) -> Vec<String> {
        let fresh = |chain: &&Chain| **chain != Chain::User || !self.loaded.chains.contains_key(chain);
        let mut lines: Vec<_> = table.chains().iter().filter(fresh).map(|c| self.emptied(*c)).collect();
        if !self.jumps_stand(table) {
            lines.extend(self.loaded.jumps(table).map(|chain| self.without_jump(chain)));
            lines.extend(self.jumps(table));
        }
        let rules = wanted.of_table(table, self.instance).map(|rule| rule.trim_end().to_owned());
        lines.into_iter().chain(rules).collect()
    }

    fn jumps(&self, table: Table) -> Vec<String> {
        let jump = |chain: &Chain| chain.of(self.instance).jump();
        match table.comes_first() {
            // The last one that is put first is first.
            true => table.chains().iter().rev().map(|chain| format!("-I {}", jump(chain))).collect(),
            false => table.chains().iter().map(|chain| format!("-A {}", jump(chain))).collect(),
        }
    }

    fn removed(&self, table: Table) -> Vec<String> {
        let there = |chain: &Chain| self.loaded.chains.contains_key(chain);
        let stays = |chain: &Chain| *chain == Chain::User && !self.loaded.rules(Chain::User).is_empty();
        let goes: Vec<_> = table.chains().iter().copied().filter(|c| there(c) && !stays(c)).collect();
        let emptied = goes.iter().filter(|c| !self.loaded.rules(**c).is_empty()).map(|c| self.emptied(*c));
        let jumps = self.loaded.jumps(table).filter(|c| !stays(c)).map(|c| self.without_jump(c));
        let unheld = goes.iter().filter(|c| !self.loaded.held.contains(c));
        emptied.chain(jumps).chain(unheld.map(|c| format!("-X {}", c.of(self.instance)))).collect()
    }

    /// Makes the chain, or empties it.
    fn emptied(&self, chain: Chain) -> String {
        format!(":{} - [0:0]", chain.of(self.instance))
    }

    fn without_jump(&self, chain: Chain) -> String {
        format!("-D {}", chain.of(self.instance).jump())
    }
}
