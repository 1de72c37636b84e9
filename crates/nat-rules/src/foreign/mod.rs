//! What rules of others make of our packets: tables of nftables and of iptables that are on the host, read
//! and never changed.
//!
//! The kernel asks every table that hangs on a hook, and one that drops is enough: nothing that our own
//! table accepts helps there. So such a rule is found, named, and the command given that mends it where it
//! stands. What is read of a rule is interfaces, addresses, protocols, ports, states and sets of them; where
//! one looks at something else, and the answer hangs on it, the answer is that nobody can tell.
//!
//! ```
//! use linkspan_nat_rules::foreign::{Foreign, judge};
//! use linkspan_nat_rules::iptables::Family;
//! use linkspan_nat_rules::walk::{Packet, Routes, Rules, walk};
//! use linkspan_nat_rules::{Change, Instance, Network, Ruleset};
//! use linkspan_net_types::{Port, Protocol};
//!
//! let web = Network::new("ls-web".parse()?).with_subnet("10.88.1.0/24".parse()?);
//! let rules = Ruleset::new().after(&Change::new().add_network(web))?;
//! let routes = Routes::new()
//!     .with_link("ls-web".parse()?, "10.88.1.1/24".parse()?)
//!     .with_link("eth0".parse()?, "192.0.2.1/24".parse()?);
//! let port = Port::new(443).ok_or("a port")?;
//! let out = Packet::to_port("10.88.1.2".parse()?, "192.0.2.9".parse()?, Protocol::Tcp, port)
//!     .ok_or("one family")?
//!     .from_link("ls-web".parse()?);
//!
//! let docker = "*filter\n:FORWARD DROP [0:0]\n:DOCKER-USER - [0:0]\n-A FORWARD -j DOCKER-USER\nCOMMIT\n";
//! let foreign = Foreign::new(Instance::default()).with_saved(Family::V4, docker);
//!
//! let walked = walk(&Rules::nftables(Instance::default(), &rules), &out, &routes);
//! assert_eq!(
//!     judge(&foreign, &walked).to_string(),
//!     "stopped by `-P FORWARD DROP` in chain `FORWARD` of table `iptables filter`; \
//!      mended by: iptables -I DOCKER-USER -i ls-web -j ACCEPT"
//! );
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod mend;
mod opening;

use crate::Instance;
use crate::iptables;
use crate::netfilter::{Base, Care, End, Family, Run, Stage, Table, read_saved};
use crate::nftables::Chain;
use crate::walk::{RuleRef, Walk};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// The tables that were seen on a host, those of one instance's own set apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Foreign {
    instance: Instance,
    tables: Vec<Table>,
    own: Option<Table>,
    links: BTreeMap<u32, String>,
    unlisted: Vec<iptables::Family>,
}

impl Foreign {
    /// A host without tables, seen by this instance.
    pub const fn new(instance: Instance) -> Self {
        Self { instance, tables: Vec::new(), own: None, links: BTreeMap::new(), unlisted: Vec::new() }
    }

    /// The same with what `iptables-save` or `ip6tables-save` printed; the instance's own chains may be in
    /// it, and are followed with the others. No text makes it fail.
    #[must_use]
    pub fn with_saved(self, family: iptables::Family, text: &str) -> Self {
        self.with_tables(Family::of(family, false), text)
    }

    fn with_tables(mut self, family: Family, text: &str) -> Self {
        self.tables.extend(read_saved(text, family));
        self
    }

    /// The same with what the program of the legacy variant printed, where that is not the host's own.
    #[cfg(feature = "kernel")]
    pub(crate) fn with_legacy(self, family: iptables::Family, text: &str) -> Self {
        self.with_tables(Family::of(family, true), text)
    }

    /// The same with a table that was dumped.
    #[cfg(feature = "kernel")]
    pub(crate) fn with_table(mut self, table: Table) -> Self {
        match table.family == Family::Inet && table.name == self.instance.as_str() {
            true => self.own = Some(table),
            false => self.tables.push(table),
        }
        self
    }

    /// The same with a table of legacy iptables of which no more than the name is known.
    #[cfg(feature = "kernel")]
    pub(crate) fn with_unread(self, family: iptables::Family, name: &str) -> Self {
        let hooks = ["PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"];
        let unread = |hook| format!(":{hook} ACCEPT [0:0]\n-A {hook} -j UNREAD\n");
        let mut foreign = self.with_legacy(family, &format!("*{name}\n{}", hooks.map(unread).concat()));
        let chains = foreign.tables.last_mut().into_iter().flat_map(|table| table.chains.values_mut());
        for rule in chains.flat_map(|chain| &mut chain.rules) {
            "all of it, which cannot be read without its program".clone_into(&mut rule.text);
        }
        foreign
    }

    /// The same with the host's links by their numbers.
    #[cfg(feature = "kernel")]
    pub(crate) fn with_links(self, links: BTreeMap<u32, String>) -> Self {
        Self { links, ..self }
    }

    /// The same where it could not be known whether there are legacy tables of a family.
    #[cfg(feature = "kernel")]
    pub(crate) fn with_unlisted(mut self, family: iptables::Family) -> Self {
        self.unlisted.push(family);
        self
    }

    /// The families of which it could not be known whether there are tables of legacy iptables, because only
    /// the root of the initial user namespace may ask. They are judged as if there were none.
    pub fn unlisted(&self) -> impl Iterator<Item = iptables::Family> {
        self.unlisted.iter().copied()
    }

    /// The tables of others, with their families: `inet firewalld`, `iptables filter`.
    pub fn names(&self) -> impl Iterator<Item = String> {
        self.tables.iter().map(Table::label)
    }

    pub(crate) fn tables(&self) -> impl Iterator<Item = &Table> {
        self.tables.iter()
    }

    pub(crate) const fn own_table(&self) -> Option<&Table> {
        self.own.as_ref()
    }

    pub(crate) const fn instance(&self) -> Instance {
        self.instance
    }

    pub(crate) const fn links(&self) -> &BTreeMap<u32, String> {
        &self.links
    }

    /// Whether the instance's own table of nftables is there.
    pub const fn has_own_table(&self) -> bool {
        self.own.is_some()
    }

    /// All chains that the kernel enters at this stage, ours with others', in their order.
    pub(crate) fn all_entered(&self, stage: &Stage) -> Vec<(&Table, &str, &Base)> {
        let of = |table| Table::entered(table, stage).map(move |(name, base)| (table, name, base));
        let mut entered: Vec<_> = self.own.iter().chain(&self.tables).flat_map(of).collect();
        entered.sort_by_key(|(_, _, base)| base.priority);
        entered
    }

    /// The chains of others that the kernel enters at this stage, in their order.
    fn entered(&self, stage: &Stage) -> Vec<(&Table, &str, &Base)> {
        let of = |table| Table::entered(table, stage).map(move |(name, base)| (table, name, base));
        let others = self.tables.iter().flat_map(of);
        // Chains that someone hung into our table are not ours.
        let own = |name: &str| Chain::ALL.iter().any(|chain| chain.fixed_name() == name);
        let guests = self.own.iter().flat_map(of).filter(|(_, name, _)| !own(name));
        let mut entered: Vec<_> = others.chain(guests).collect();
        entered.sort_by_key(|(_, _, base)| base.priority);
        entered
    }
}

/// What others' rules make of a packet.
///
/// Its `Display` is one line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Judgement {
    /// None of them stops it.
    Passes,
    /// This one stops it, whatever our own rules say.
    StoppedBy {
        /// The rule, or the policy of the chain.
        #[serde(flatten)]
        rule: RuleRef,
        /// The command that lets the packet pass there, for a shell; `None` where none is known that would.
        /// It opens that table only: where our own rules forbid the packet, they do so still.
        mend: Option<String>,
    },
    /// This one decides by something that is not known, or leads the packet elsewhere.
    CannotTell(RuleRef),
}

impl fmt::Display for Judgement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Passes => f.write_str("passes"),
            Self::StoppedBy { rule, mend: None } => write!(f, "stopped by {rule}"),
            Self::StoppedBy { rule, mend: Some(mend) } => write!(f, "stopped by {rule}; mended by: {mend}"),
            Self::CannotTell(rule) => write!(f, "cannot tell what {rule} does"),
        }
    }
}

/// Judges what others' rules make of a packet on the way that it was found to go.
///
/// A rule that stops it for certain is named before one of which nobody can tell. Of a packet that our own
/// rules stop, the way up to there is judged.
pub fn judge(foreign: &Foreign, walk: &Walk) -> Judgement {
    let mut doubt = Judgement::Passes;
    for objection in objections(foreign, walk) {
        match (&objection, &doubt) {
            (Judgement::StoppedBy { .. }, _) => return objection,
            (_, Judgement::Passes) => doubt = objection,
            _ => {}
        }
    }
    doubt
}

/// Everything that stops the packet or may, in the order in which the kernel would come to it: who mends one
/// meets the next.
///
/// Nothing where others' rules let it pass. Of a packet that our own rules stop, the way up to there is judged.
pub fn objections(foreign: &Foreign, walk: &Walk) -> impl Iterator<Item = Judgement> {
    let entered = |stage| foreign.entered(stage).into_iter().map(move |chain| (stage, chain));
    walk.stages().iter().flat_map(entered).filter_map(|(stage, (table, name, base))| {
        match Run::base(table, (name, base), stage, &foreign.links, Care::Way) {
            End::Dropped(at) => {
                let mend = mend::command(foreign, walk, stage, (table, name, base));
                Some(Judgement::StoppedBy { rule: at.rule(), mend })
            }
            End::Unknown(at) => Some(Judgement::CannotTell(at.rule())),
            End::Translated(at, nat) if nat.leads_elsewhere(walk) => Some(Judgement::CannotTell(at.rule())),
            End::Accepted(_) | End::Returned | End::Translated(..) => None,
        }
    })
}

impl crate::netfilter::Nat {
    /// Whether it gives the packet another target than it was found to have.
    fn leads_elsewhere(self, walk: &Walk) -> bool {
        match self {
            Self::Target(Some((address, port))) => {
                address != walk.target() || port.is_some_and(|port| Some(port) != walk.port())
            }
            Self::Target(None) => true,
            Self::Source(_) | Self::Masquerade => false,
        }
    }
}
