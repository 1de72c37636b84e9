//! The command that lets a packet pass where a rule of someone else stops it. Each is tried on paper.

use super::Foreign;
use super::opening::Opening;
use crate::netfilter::{Act, Base, Care, Chain, End, Family, Hook, Rule, Run, Stage, Table};
use crate::walk::Walk;
use linkspan_net_types::IfName;

/// A command, and the rules that it puts into a chain.
struct Candidate<'a> {
    command: String,
    chain: &'a str,
    at: usize,
    rules: Vec<Rule>,
}

/// A base chain that stops a packet.
struct Stopping<'a> {
    foreign: &'a Foreign,
    table: &'a Table,
    name: &'a str,
    base: &'a Base,
    opening: Opening,
}

/// The first command that is known to let the packet of this stage pass the chain.
pub(super) fn command(
    foreign: &Foreign,
    walk: &Walk,
    stage: &Stage,
    (table, name, base): (&Table, &str, &Base),
) -> Option<String> {
    let opening = Opening::of(walk, stage, base.priority);
    let stopping = Stopping { foreign, table, name, base, opening };
    if is_firewalld(table) {
        return firewalld(&stopping.opening);
    }
    let accepted = |candidate: &Candidate<'_>| {
        let mended = candidate.on_paper(table);
        matches!(Run::base(&mended, (name, base), stage, &foreign.links, Care::Way), End::Accepted(_))
    };
    stopping.candidates().into_iter().find(accepted).map(|candidate| candidate.command)
}

impl Candidate<'_> {
    fn on_paper(&self, table: &Table) -> Table {
        let mut mended = table.clone();
        if let Some(Chain { rules, .. }) = mended.chains.get_mut(self.chain) {
            let at = self.at.min(rules.len());
            rules.splice(at..at, self.rules.iter().cloned());
        }
        mended
    }
}

impl<'a> Stopping<'a> {
    fn candidates(&self) -> Vec<Candidate<'a>> {
        let Some(program) = self.table.family.program() else {
            let command = self.opening.nft(self.table, self.name);
            return command.into_iter().map(|command| self.accepts(command, self.name, 0)).collect();
        };
        let own = self.own_chains();
        match own.is_empty() {
            true => self.of_iptables(program),
            false => self.beside_ours(program, &own),
        }
    }

    /// A rule that accepts, at this place of a chain.
    fn accepts(&self, command: String, chain: &'a str, at: usize) -> Candidate<'a> {
        let rules = vec![Rule { text: command.clone(), tests: self.opening.tests(), act: Act::Accept }];
        Candidate { command, chain, at, rules }
    }

    fn has(&self, chain: &str) -> Option<&'a str> {
        self.table.chains.get_key_value(chain).map(|(name, _)| name.as_str())
    }

    /// Whoever else keeps rules there has a place for those of others, which outlasts a reload.
    fn of_iptables(&self, program: &str) -> Vec<Candidate<'a>> {
        let first = |chain: &'a str| {
            let command = self.opening.iptables(program, &self.table.name, (chain, None))?;
            Some(self.accepts(command, chain, 0))
        };
        let docker = self.has("DOCKER-USER").filter(|_| self.base.hook == Hook::Forward).and_then(first);
        let ufw = |chain| Some(self.accepts(self.opening.ufw()?, chain, usize::MAX));
        let ufw = self.ufw_chain().and_then(ufw);
        [docker, ufw, first(self.name)].into_iter().flatten().collect()
    }

    fn ufw_chain(&self) -> Option<&'a str> {
        match (self.base.hook, self.table.family.is_v6()) {
            (Hook::Input, false) => self.has("ufw-user-input"),
            (Hook::Input, true) => self.has("ufw6-user-input"),
            (_, false) => self.has("ufw-user-forward"),
            (_, true) => self.has("ufw6-user-forward"),
        }
    }

    /// The chains of ours that hang on this base chain, or should: the user's first.
    fn own_chains(&self) -> Vec<&'a str> {
        let instance = self.foreign.instance;
        let upper = instance.as_str().to_ascii_uppercase();
        let names = match (self.table.name.as_str(), self.base.hook) {
            ("filter", Hook::Forward) => vec![format!("{instance}-user"), format!("{upper}-FORWARD")],
            ("raw", Hook::Prerouting) => vec![format!("{upper}-PRE")],
            _ => Vec::new(),
        };
        names.iter().filter_map(|name| self.has(name)).collect()
    }

    /// Where chains of ours hang, a rule that accepts before them would open what they forbid. So they go
    /// before what stops, where they accept; else a rule that accepts goes behind them.
    fn beside_ours(&self, program: &str, own: &[&'a str]) -> Vec<Candidate<'a>> {
        let mut candidates = Vec::new();
        if self.table.name == "filter" {
            let command = self.moves(program, own);
            let jump = |own: &&str| Rule {
                text: command.clone(),
                tests: Vec::new(),
                act: Act::Jump((*own).to_owned()),
            };
            let rules = own.iter().map(jump).collect();
            candidates.push(Candidate { command: command.clone(), chain: self.name, at: 0, rules });
        }
        let rules = self.table.chains.get(self.name).map_or(&[][..], |chain| &chain.rules);
        let ours = |rule: &Rule| matches!(&rule.act, Act::Jump(name) if own.contains(&name.as_str()));
        if let Some(last) = rules.iter().rposition(ours) {
            let place = (self.name, Some(last + 2));
            let command = self.opening.iptables(program, &self.table.name, place);
            candidates.extend(command.map(|command| self.accepts(command, self.name, last + 1)));
        }
        candidates
    }
}

impl Stopping<'_> {
    /// Puts our jumps first, in one transaction: what they keep apart is never without them.
    fn moves(&self, program: &str, own: &[&str]) -> String {
        let rules = self.table.chains.get(self.name).map_or(&[][..], |chain| &chain.rules);
        let jumps = |rule: &Rule, own: &str| rule.tests.is_empty() && rule.act == Act::Jump(own.to_owned());
        let there = own.iter().filter(|own| rules.iter().any(|rule| jumps(rule, own)));
        let away = there.map(|own| format!(" '-D {} -j {own}'", self.name));
        // The last one that is put first is first.
        let first = own.iter().rev().map(|own| format!(" '-I {} -j {own}'", self.name));
        let lines = away.chain(first).collect::<String>();
        format!("printf '%s\\n' '*{}'{lines} COMMIT | {program}-restore -w --noflush", self.table.name)
    }
}

impl Family {
    /// The program that writes such a table; nftables has one for all.
    const fn program(self) -> Option<&'static str> {
        match self {
            Self::Iptables | Self::Ip6tables | Self::LegacyIptables | Self::LegacyIp6tables => {
                Some(self.name())
            }
            Self::Ip | Self::Ip6 | Self::Inet | Self::Bridge | Self::Netdev => None,
        }
    }
}

/// Its own table, or the chains that it makes with the iptables backend.
fn is_firewalld(table: &Table) -> bool {
    let chains = ["FORWARD_direct", "INPUT_direct"];
    table.name == "firewalld" || chains.iter().any(|chain| table.chains.contains_key(*chain))
}

/// firewalld makes its rules anew when it is reloaded, so they are mended by its zones: what comes from an
/// interface of zone `trusted` is accepted, and what goes there by a policy.
fn firewalld(opening: &Opening) -> Option<String> {
    let trust = |bridge: IfName| format!("firewall-cmd --permanent --zone=trusted --add-interface={bridge}");
    let reload = "firewall-cmd --reload";
    if let Some(bridge) = opening.bridge_in() {
        return Some(format!("{} && {reload}", trust(bridge)));
    }
    let policy = "firewall-cmd --permanent --policy=to-trusted";
    let known = "firewall-cmd --permanent --info-policy=to-trusted >/dev/null 2>&1";
    // A policy that another network was mended by is there already.
    Some(format!(
        "{} && {{ {known} || firewall-cmd --permanent --new-policy=to-trusted; }} && \
         {policy} --add-ingress-zone=ANY && {policy} --add-egress-zone=trusted && \
         {policy} --set-target=ACCEPT && {reload}",
        trust(opening.bridge_out()?)
    ))
}
