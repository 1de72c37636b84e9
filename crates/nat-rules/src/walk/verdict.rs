use crate::Instance;
use crate::nftables::Chain;
use linkspan_net_types::IfName;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::IpAddr;

/// One rule, or the policy of a chain, by what a person finds it with.
///
/// Names that were read from a running kernel may hold any character; here those that would break a line
/// are escaped.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RuleRef {
    table: String,
    chain: String,
    rule: String,
}

impl RuleRef {
    pub(crate) fn new(table: &str, chain: &str, rule: &str) -> Self {
        Self { table: one_line(table), chain: one_line(chain), rule: one_line(rule) }
    }

    /// The table with its family, such as `inet linkspan`, `iptables filter` or `ip6tables nat`.
    pub fn table(&self) -> &str {
        &self.table
    }

    /// The chain.
    pub fn chain(&self) -> &str {
        &self.chain
    }

    /// Whether it is one of the rules that this instance writes itself. Those in the chain for the user's own
    /// (`INSTANCE-user`) are the user's.
    pub fn is_of(&self, instance: Instance) -> bool {
        let upper = instance.as_str().to_ascii_uppercase();
        let of_iptables = |chain: &str| {
            ["PRE", "FORWARD", "DNAT", "DNAT-OUT", "POST"].iter().any(|own| format!("{upper}-{own}") == chain)
        };
        let of_nftables = |chain: &str| {
            let fixed = Chain::ALL.iter().filter(|own| **own != Chain::User);
            fixed.map(|own| own.fixed_name()).any(|own| own == chain)
        };
        match self.table.split_once(' ') {
            Some(("iptables" | "ip6tables", _)) => of_iptables(&self.chain),
            Some(("inet", name)) => name == instance.as_str() && of_nftables(&self.chain),
            _ => false,
        }
    }

    /// The rule in the words of its firewall: `oifname vmap @to`, `policy drop`, `-A FORWARD -j DROP`.
    pub fn rule(&self) -> &str {
        &self.rule
    }
}

fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for c in text.chars() {
        match c.is_control() {
            true => line.extend(c.escape_default()),
            false => line.push(c),
        }
    }
    line
}

impl fmt::Display for RuleRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` in chain `{}` of table `{}`", self.rule, self.chain, self.table)
    }
}

/// What becomes of a packet by our own rules and the routes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Verdict {
    /// No rule of ours stops it.
    Passes(Exit),
    /// This rule stops it: one of ours, or one that someone wrote into the chain for the user's own.
    StoppedBy(RuleRef),
    /// The host has no route to this address; a loopback address that arrives by a link has none.
    NoRoute(IpAddr),
    /// A rule in the chain for the user's own decides by something that is not known of the packet.
    CannotTell(RuleRef),
}

/// Where a packet that passes comes out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Exit {
    /// The host itself takes it.
    Host,
    /// It leaves by this link.
    Link(IfName),
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Passes(exit) => write!(f, "passes {exit}"),
            Self::StoppedBy(rule) => write!(f, "stopped by {rule}"),
            Self::NoRoute(target) => write!(f, "no route to {target}"),
            Self::CannotTell(rule) => write!(f, "cannot tell what {rule} does"),
        }
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host => f.write_str("to the host"),
            Self::Link(link) => write!(f, "by {link}"),
        }
    }
}

/// What a packet's source is when it comes out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// What it was.
    Kept(IpAddr),
    /// This address, which a network has as its fixed source or which a known connection had before.
    Translated(IpAddr),
    /// The host's own on the link by which it leaves.
    Masqueraded,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kept(source) | Self::Translated(source) => source.fmt(f),
            Self::Masqueraded => f.write_str("masqueraded"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_is_one_line_whatever_its_names_hold() {
        let rule = RuleRef::new("inet a\nb", "c\u{1b}[2J", "drop");
        assert_eq!(rule.to_string(), "`drop` in chain `c\\u{1b}[2J` of table `inet a\\nb`");
    }
}
