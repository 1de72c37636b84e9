//! Rules of others: on the host of every test, and byte for byte the same at its end.

use crate::private::{in_private_with, lacks};
use crate::program::{feed, tool};
use crate::snapshot::{is_rule, tables};
use linkspan::Firewall;

const NFTABLES: &str = include_str!("../fixtures/beside.nft");
const IPTABLES: &str = include_str!("../fixtures/beside.rules");

/// What others have loaded on the host of the calling thread.
///
/// Left out are our own table and chains, counters, and the empty chains that `iptables` leaves for ever. A rule
/// of nftables has its number with it, so that one that went and came back is another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Theirs(Vec<String>);

impl Theirs {
    /// Loads what every host has beside our rules; in iptables too, where those carry ours.
    pub(crate) fn load(firewall: Firewall) -> Self {
        if lacks(&["nft"]).is_none() {
            feed("nft -f -", NFTABLES);
        }
        if firewall == Firewall::Iptables {
            ["iptables-restore", "ip6tables-restore"].into_iter().for_each(|restore| {
                feed(&format!("{restore} --noflush"), IPTABLES);
            });
        }
        Self::look()
    }

    /// Looks at what is there.
    pub(crate) fn look() -> Self {
        let mut lines = Vec::new();
        if lacks(&["nft"]).is_none() {
            let ruleset = tool("nft -s -a list ruleset");
            let others = tables(&ruleset).into_iter().filter(|(name, _)| *name != "inet linkspan");
            lines.extend(others.flat_map(|(_, lines)| lines).map(str::to_owned));
        }
        let there = |save: &&str| lacks(&[save]).is_none();
        lines.extend(["iptables-save", "ip6tables-save"].into_iter().filter(there).flat_map(saved));
        Self(lines)
    }

    /// Looks again, and shows what differs.
    #[track_caller]
    pub(crate) fn assert_unchanged(&self, after: &str) {
        let there = Self::look();
        if there == *self {
            return;
        }
        let without = |a: &Self, b: &Self| {
            a.0.iter().filter(|line| !b.0.contains(line)).cloned().collect::<Vec<_>>().join("\n")
        };
        let (gone, came) = (without(self, &there), without(&there, self));
        panic!("rules of others are not as they were, after {after}\ngone:\n{gone}\ncame:\n{came}");
    }
}

/// The rules of all tables but ours, each with its program and table.
fn saved(save: &str) -> Vec<String> {
    let text = tool(save);
    let mut table = "";
    let mut lines = Vec::new();
    for line in text.lines() {
        match line.strip_prefix('*') {
            Some(name) => table = name,
            None if is_rule(line) && !is_ours(line) => {
                let uncounted = line.split(" [").next().unwrap_or(line);
                lines.push(format!("{save} {table} {uncounted}"));
            }
            None => {}
        }
    }
    lines
}

/// Whether a chain of ours is made, written to or jumped to.
fn is_ours(line: &str) -> bool {
    line.to_ascii_lowercase().contains("linkspan")
}

#[test]
fn rules_of_others_that_went_and_came_back_are_others() {
    in_private_with(&["nft"], || {
        let theirs = Theirs::load(Firewall::Nftables);
        theirs.assert_unchanged("nothing");
        feed("nft -f -", &format!("delete table inet beside\ndelete table ip linkspan\n{NFTABLES}"));
        assert_ne!(Theirs::look(), theirs);
    });
}
