use super::field::{Part, Range, Test};
use super::{Hook, Layer, Stage, field};
use crate::iptables;
use crate::netfilter::Truth;
use linkspan_net_types::Port;
use std::collections::BTreeMap;
use std::net::IpAddr;

/// A table with its chains.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Table {
    pub(crate) family: Family,
    pub(crate) name: String,
    pub(crate) chains: BTreeMap<String, Chain>,
}

/// What a table is of, and what its chains see.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Family {
    Iptables,
    Ip6tables,
    /// Beside those of the other variant.
    LegacyIptables,
    LegacyIp6tables,
    Ip,
    Ip6,
    Inet,
    Bridge,
    Netdev,
}

impl Family {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Iptables => "iptables",
            Self::Ip6tables => "ip6tables",
            Self::LegacyIptables => "iptables-legacy",
            Self::LegacyIp6tables => "ip6tables-legacy",
            Self::Ip => "ip",
            Self::Ip6 => "ip6",
            Self::Inet => "inet",
            Self::Bridge => "bridge",
            Self::Netdev => "netdev",
        }
    }

    fn sees(self, stage: &Stage) -> bool {
        match self {
            Self::Bridge => stage.layer == Layer::Frame,
            Self::Inet => stage.layer == Layer::Packet && stage.hook != Hook::Egress,
            Self::Netdev => matches!(stage.hook, Hook::Ingress | Hook::Egress),
            _ => {
                let routed =
                    stage.layer == Layer::Packet && !matches!(stage.hook, Hook::Ingress | Hook::Egress);
                routed && stage.is_v6() == self.is_v6()
            }
        }
    }

    /// The tables of a variant of iptables.
    pub(crate) const fn of(family: iptables::Family, legacy: bool) -> Self {
        match (family, legacy) {
            (iptables::Family::V4, false) => Self::Iptables,
            (iptables::Family::V6, false) => Self::Ip6tables,
            (iptables::Family::V4, true) => Self::LegacyIptables,
            (iptables::Family::V6, true) => Self::LegacyIp6tables,
        }
    }

    /// Whether it sees IPv6 only.
    pub(crate) const fn is_v6(self) -> bool {
        matches!(self, Self::Ip6 | Self::Ip6tables | Self::LegacyIp6tables)
    }
}

impl Table {
    /// Its name with its family.
    pub(crate) fn label(&self) -> String {
        format!("{} {}", self.family.name(), self.name)
    }

    /// The chains that the kernel enters at this stage, by their names.
    pub(crate) fn entered(&self, stage: &Stage) -> impl Iterator<Item = (&str, &Base)> {
        let seen = self.family.sees(stage);
        let bases =
            self.chains.iter().filter_map(|(name, chain)| Some((name.as_str(), chain.base.as_ref()?)));
        bases.filter(move |(_, base)| seen && base.is_entered(stage))
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Chain {
    /// How the kernel enters it, where it does.
    pub(crate) base: Option<Base>,
    pub(crate) rules: Vec<Rule>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Base {
    pub(crate) kind: Kind,
    pub(crate) hook: Hook,
    pub(crate) priority: i32,
    /// The links that it is bound to; at ingress and egress only.
    pub(crate) links: Vec<String>,
    /// What reaches its end is dropped.
    pub(crate) drops: bool,
    /// How its policy is written.
    pub(crate) policy: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Filter,
    Nat,
}

impl Base {
    fn is_entered(&self, stage: &Stage) -> bool {
        let on = |link: &String| {
            [stage.input, stage.output].iter().filter_map(|l| l.name()).any(|name| name.as_str() == link)
        };
        let bound = matches!(self.hook, Hook::Ingress | Hook::Egress);
        // Whatever its priority, the kernel asks a chain that translates where it translates.
        let asked = match self.kind {
            Kind::Filter => stage.priorities.contains(&self.priority),
            Kind::Nat => stage.asks_nat,
        };
        self.hook == stage.hook && asked && (!bound || self.links.iter().any(on))
    }
}

/// One rule: it acts where all of its tests hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rule {
    /// In the words of its firewall.
    pub(crate) text: String,
    pub(crate) tests: Vec<Test>,
    pub(crate) act: Act,
}

/// What a rule does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    /// It changes nothing that is looked at here, and the next rule is asked.
    Continue,
    Accept,
    Drop,
    Return,
    Jump(String),
    Goto(String),
    Nat(Nat),
    /// What a map says of the key; the next rule is asked where it says nothing.
    Decide(Decision),
    /// Something whose end is not known here.
    Unknown,
}

/// A translation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Nat {
    /// The target; `None` where it is not known what it becomes.
    Target(Option<(IpAddr, Option<Port>)>),
    Source(Option<IpAddr>),
    Masquerade,
}

impl Nat {
    /// Whether the packet is of the family of the address that it is to get.
    pub(crate) fn suits(self, stage: &Stage) -> bool {
        let to = match self {
            Self::Target(to) => to.map(|(address, _)| address),
            Self::Source(to) => to,
            Self::Masquerade => None,
        };
        to.is_none_or(|address| address.is_ipv6() == stage.is_v6())
    }
}

/// A map of keys to verdicts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Decision {
    pub(crate) key: Vec<Part>,
    pub(crate) ranges: Vec<Range>,
    pub(crate) acts: Vec<Act>,
    /// Where no range holds.
    pub(crate) otherwise: Option<Box<Act>>,
}

impl Decision {
    /// `Ok(None)` where the map says nothing.
    pub(crate) fn decide(&self, sight: &field::Sight<'_>) -> Result<Option<&Act>, field::Doubt> {
        let found = field::find(&self.key, &self.ranges, sight)?;
        Ok(found.and_then(|i| self.acts.get(i)).or(self.otherwise.as_deref()))
    }
}

impl Rule {
    pub(crate) fn holds(&self, sight: &field::Sight<'_>) -> Truth {
        let mut holds = Truth::Yes;
        for test in &self.tests {
            match test.holds(sight) {
                Truth::No => return Truth::No,
                Truth::Unknown => holds = Truth::Unknown,
                Truth::Yes => {}
            }
        }
        holds
    }
}
